//! Rule results: `Baseline + results of OVAL definitions -> pass, fail, notapplicable, ...`, in the order that XCCDF and OpenSCAP ask in:
//! selected? checked at all? for this platform? is there a check? what does it say? is it scored?

mod plan;
mod table;

use std::sync::Arc;

use plan::{Logic, Plan, Planner};

use super::model::{Baseline, Instance, Item, Role, RuleBody};
use crate::judge::Verdict;
use crate::limits::Limits;
use crate::oval::eval::Prepared;
use crate::oval::model::{Class, DefinitionId, OvalResult};
use crate::oval::truth::Compat;

/// One rule-result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleResult {
    /// Position in [`Baseline::items`].
    pub item: u32,
    pub verdict: Verdict,
    /// Why, where the verdict alone does not say.
    pub message: Option<String>,
    /// Of a check with `multi-check`: the definition that this result is of.
    pub definition: Option<String>,
}

/// A baseline with its names looked up.
pub struct Judge {
    baseline: Arc<Baseline>,
    compat: Compat,
    /// By instance.
    prepared: Vec<Prepared>,
    platforms: Vec<Logic>,
    /// By item; `None` for groups.
    plans: Vec<Option<Plan>>,
}

/// Asks for the result of a definition of an instance.
pub type Definitions<'d> = dyn FnMut(u32, DefinitionId) -> OvalResult + 'd;

const NO_CHECK: &str = "No candidate or applicable check found.";

impl Judge {
    pub fn new(baseline: Arc<Baseline>, compat: Compat, limits: &Limits) -> Judge {
        let content = |i: &Instance| baseline.contents.get(at(i.content)).cloned().unwrap_or_default();
        let prepared = baseline.instances.iter().map(|i| Prepared::new(content(i), &i.bindings, compat, limits)).collect();
        let planner = Planner::new(&baseline);
        let platforms = baseline.platform_checks.iter().map(|p| planner.logic(&p.logic)).collect();
        let plans = baseline.items.iter().map(|i| i.rule.as_ref().map(|r| planner.rule(r))).collect();
        Judge { baseline, compat, prepared, platforms, plans }
    }

    pub fn baseline(&self) -> &Arc<Baseline> {
        &self.baseline
    }

    /// What evaluates each instance.
    pub fn prepared(&self) -> &[Prepared] {
        &self.prepared
    }

    pub fn compat(&self) -> Compat {
        self.compat
    }

    /// Every rule with its position, selected or not.
    pub fn rules(&self) -> impl Iterator<Item = (u32, &Item, &RuleBody)> {
        (0u32..).zip(&self.baseline.items).filter_map(|(n, item)| Some((n, item, item.rule.as_ref()?)))
    }

    /// All rules, in document order.
    pub fn judge(&self, definition: &mut Definitions) -> Vec<RuleResult> {
        let mut asked = Asked::new(self, definition);
        self.rules().flat_map(|(n, item, rule)| asked.rule(n, item, rule)).collect()
    }

    /// One rule. More than one result only where a check has `multi-check`; none if the position is not a rule's.
    pub fn judge_one(&self, item: u32, definition: &mut Definitions) -> Vec<RuleResult> {
        let found = self.baseline.items.get(at(item)).and_then(|i| Some((i, i.rule.as_ref()?)));
        found.map(|(i, rule)| Asked::new(self, definition).rule(item, i, rule)).unwrap_or_default()
    }

    /// One verdict for a rule: several results are combined as by AND.
    pub fn verdict(&self, item: u32, definition: &mut Definitions) -> Verdict {
        let results = self.judge_one(item, definition);
        table::and(results.iter().map(|r| r.verdict), self.compat).unwrap_or(Verdict::NotSelected)
    }

    /// The definitions whose results a rule may depend on, its platforms' among them; sorted, each once.
    pub fn definitions(&self, item: u32) -> Vec<(u32, DefinitionId)> {
        let mut out = Vec::new();
        for id in self.platforms_of(item) {
            if let Some(logic) = self.platforms.get(id) {
                logic.collect(&mut out);
            }
        }
        if let Some(Some(plan)) = self.plans.get(at(item)) {
            plan.collect(&mut out);
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    fn platforms_of(&self, item: u32) -> Vec<usize> {
        let mut out: Vec<usize> = self.baseline.platforms.iter().map(|p| at(p.0)).collect();
        for item in self.up(item) {
            out.extend(item.platforms.iter().map(|p| at(p.0)));
        }
        out
    }

    /// The item and the groups above it.
    fn up(&self, item: u32) -> impl Iterator<Item = &Item> {
        let items = &self.baseline.items;
        let mut next = Some(item);
        std::iter::from_fn(move || {
            let own = next?;
            let found = items.get(at(own))?;
            // Parents stand before their children: a pack that says otherwise must not make us go in circles.
            next = found.parent.filter(|p| *p < own);
            Some(found)
        })
    }
}

fn at(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Two results of one rule as one, by AND.
pub fn both(a: Verdict, b: Verdict) -> Verdict {
    table::and([a, b], Compat::Specification).unwrap_or(a)
}

/// Whether a single rule was about this endpoint. Without one there is no evidence: nothing may call it compliant.
pub fn any_applied(results: &[RuleResult]) -> bool {
    let says = |v| matches!(v, Verdict::Pass | Verdict::Fail | Verdict::Error | Verdict::Unknown | Verdict::Informational | Verdict::Fixed);
    results.iter().any(|r| says(r.verdict))
}

/// One round of questions; what was answered for platforms is kept.
struct Asked<'j, 'd, 'f> {
    judge: &'j Judge,
    definition: &'d mut Definitions<'f>,
    platforms: Vec<Option<bool>>,
}

impl<'j, 'd, 'f> Asked<'j, 'd, 'f> {
    fn new(judge: &'j Judge, definition: &'d mut Definitions<'f>) -> Asked<'j, 'd, 'f> {
        Asked { judge, definition, platforms: vec![None; judge.platforms.len()] }
    }

    fn rule(&mut self, n: u32, item: &Item, rule: &RuleBody) -> Vec<RuleResult> {
        let one = |verdict, message: Option<String>| vec![RuleResult { item: n, verdict, message, definition: None }];
        if !item.selected {
            return one(Verdict::NotSelected, None);
        }
        let role = rule.role(self.judge.compat);
        if role == Role::Unchecked {
            return one(Verdict::NotChecked, None);
        }
        if !self.applies(n) {
            return one(Verdict::NotApplicable, None);
        }
        let judge = self.judge;
        let Some(Some(plan)) = judge.plans.get(at(n)) else { return one(Verdict::NotChecked, Some(NO_CHECK.to_owned())) };
        match plan {
            Plan::None => one(Verdict::NotChecked, Some(NO_CHECK.to_owned())),
            Plan::Other(why) => one(Verdict::NotChecked, Some(why.clone())),
            Plan::Unbound(why) => one(Verdict::Unknown, Some(why.clone())),
            Plan::Complex { .. } => one(self.plan(plan), None),
            Plan::Document { instance, negate, multi: true, of } => {
                if of.is_empty() {
                    return one(Verdict::Unknown, Some("No definitions found for @multi-check.".to_owned()));
                }
                let results = of.iter().map(|(id, class)| {
                    let verdict = table::negate(self.one(*instance, *id, *class), *negate);
                    RuleResult { item: n, verdict, message: None, definition: judge.name(*instance, *id) }
                });
                results.collect()
            }
            Plan::Unresolved(_) | Plan::Definition { .. } | Plan::Document { .. } => {
                let message = if let Plan::Unresolved(why) = plan { Some(why.clone()) } else { None };
                let verdict = self.plan(plan);
                one(if role == Role::Unscored { Verdict::Informational } else { verdict }, message)
            }
        }
    }

    fn plan(&mut self, plan: &Plan) -> Verdict {
        match plan {
            Plan::None | Plan::Other(_) | Plan::Unresolved(_) => Verdict::NotChecked,
            Plan::Unbound(_) => Verdict::Unknown,
            Plan::Definition { instance, id, class, negate } => table::negate(self.one(*instance, *id, *class), *negate),
            Plan::Document { instance, negate, of, .. } => {
                let all: Vec<Verdict> = of.iter().map(|(id, class)| self.one(*instance, *id, *class)).collect();
                // A document without definitions says nothing: that is an error of the content.
                table::negate(table::and(all, self.judge.compat).unwrap_or(Verdict::Error), *negate)
            }
            Plan::Complex { or, negate, of } => {
                let all: Vec<Verdict> = of.iter().map(|p| self.plan(p)).collect();
                let compat = self.judge.compat;
                let result = if *or { table::or(all, compat) } else { table::and(all, compat) };
                table::negate(result.unwrap_or(Verdict::NotChecked), *negate)
            }
        }
    }

    fn one(&mut self, instance: u32, id: DefinitionId, class: Class) -> Verdict {
        table::verdict((self.definition)(instance, id), class)
    }

    /// The benchmark, every group above the rule and the rule itself: each has no platform, or one that holds.
    fn applies(&mut self, n: u32) -> bool {
        let judge = self.judge;
        let levels = std::iter::once(&judge.baseline.platforms).chain(judge.up(n).map(|i| &i.platforms));
        let mut applies = true;
        for level in levels {
            applies = applies && (level.is_empty() || level.iter().any(|p| self.platform(at(p.0))));
        }
        applies
    }

    fn platform(&mut self, n: usize) -> bool {
        if let Some(Some(known)) = self.platforms.get(n) {
            return *known;
        }
        let judge = self.judge;
        let holds = judge.platforms.get(n).is_some_and(|logic| self.logic(logic));
        if let Some(slot) = self.platforms.get_mut(n) {
            *slot = Some(holds);
        }
        holds
    }

    /// What is not known to be true does not hold.
    fn logic(&mut self, logic: &Logic) -> bool {
        match logic {
            Logic::And { negate, of } => of.iter().all(|l| self.logic(l)) != *negate,
            Logic::Or { negate, of } => of.iter().any(|l| self.logic(l)) != *negate,
            Logic::Oval(instance, id) => (self.definition)(*instance, *id) == OvalResult::True,
            Logic::No => false,
        }
    }
}

impl Judge {
    fn name(&self, instance: u32, id: DefinitionId) -> Option<String> {
        let content = self.baseline.instances.get(at(instance)).and_then(|i| self.baseline.contents.get(at(i.content)))?;
        content.definitions.get(id.index()).map(|d| d.id.to_string())
    }
}
