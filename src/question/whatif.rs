//! What would be, were the rules others: `rules -> pack -> verdicts of each rule, now and then -> what would turn, and what that would open, end, tell and have done`.
//!
//! Nothing is written. Each rule is answered under one lock, so its numbers are of one instant; two rules may be of instants a little apart, as scans come in meanwhile.

mod effect;
mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use roaring::RoaringBitmap;
use serde::Serialize;

use super::scope::{self, of_group};
use super::{Asking, InScope, Look, QuestionError, rules_of};
use crate::drift::{Stand, stand};
use crate::fleet::EndpointId;
use crate::judge::Verdict;
use crate::judge::inverted::{Answer, Asked, Turn, turned};
use crate::limits::Limits;
use crate::pack::{Pack, RuleId};
use crate::rule::Severity;
use crate::shard::Shard;
use effect::{Effect, Open, Policies};

pub use read::{Body, RuleText};

/// Endpoints that are named for one turn.
const EXAMPLES: usize = 10;
/// Rules of the answer when nobody says, and at most.
const RULES: usize = 1000;
const RULES_MAX: usize = 65_000;

/// Everything that would turn.
#[derive(Clone, Debug, Serialize)]
pub struct WhatIf {
    /// Digests of the packs: as they are, and the rules that were given.
    pub present: String,
    pub given: String,
    /// The given rules are all that there would be.
    pub replace: bool,
    pub endpoints: InScope,
    pub summary: Summary,
    /// By group of the configuration.
    pub groups: BTreeMap<String, OfGroup>,
    /// Those that open most first.
    pub rules: Vec<OfRule>,
    /// Rules that are as they were: nothing of them turns.
    pub unchanged: usize,
    /// Rules that are not listed, past `limit`; they are in the summary.
    pub left_out: usize,
    /// Why the configuration would not be taken with these rules.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Endpoints at which some rule would begin to fail.
    pub endpoints_failing_anew: u64,
    /// Over all rules: failing and did not, or the rule is new.
    pub opens: u64,
    /// Failing now and no longer then.
    pub resolves: u64,
    /// Open episodes that would end.
    pub episodes_end: u64,
    pub tasks_queued: u64,
    pub tasks_ended: u64,
    /// Events in history: one for each rule of which something turns, one for each task.
    pub events: u64,
    /// Events by sink that would be told.
    pub sinks: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OfGroup {
    pub opens: u64,
    pub resolves: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    New,
    Changed,
    Gone,
}

/// What would become of one rule.
#[derive(Clone, Debug, Serialize)]
pub struct OfRule {
    pub rule: String,
    pub title: String,
    pub severity: Severity,
    pub change: Kind,
    /// Verdicts as they would be; none of a rule that is gone.
    pub counts: BTreeMap<&'static str, u64>,
    pub turned: Vec<Turned>,
    pub opens: u64,
    pub resolves: u64,
    pub episodes_end: u64,
    pub tasks_queued: u64,
    pub tasks_ended: u64,
    /// Why it could not be answered.
    pub unanswered: Option<String>,
}

/// Endpoints that would turn from one verdict to another.
#[derive(Clone, Debug, Serialize)]
pub struct Turned {
    /// `None`: the rule is new.
    pub from: Option<Verdict>,
    pub to: Option<Verdict>,
    pub count: u64,
    pub groups: BTreeMap<String, u64>,
    pub examples: Vec<String>,
}

/// A rule as it is and as it would be.
#[derive(Clone, Copy, Debug)]
struct Pair {
    old: Option<RuleId>,
    new: Option<RuleId>,
}

/// Both packs, the rules that differ, and the state that they are asked in.
struct Run<'l, L> {
    look: &'l L,
    present: Arc<Pack>,
    given: Arc<Pack>,
    before: Asking<'l, L>,
    after: Asking<'l, L>,
    policies: Policies,
    open: Open,
    groups: Vec<(String, RoaringBitmap)>,
    among: Option<RoaringBitmap>,
}

/// One rule's outcome and the endpoints at which it opens.
type Outcome = (OfRule, RoaringBitmap, BTreeMap<String, OfGroup>, Effect);

/// Answers what would be.
pub fn whatif<L: Look>(look: &L, body: &Body, now_ms: i64) -> Result<WhatIf, QuestionError> {
    let limits = look.look(|shard| shard.limits().clone());
    let most = body.limit.unwrap_or(RULES);
    if !(1..=RULES_MAX).contains(&most) {
        return Err(QuestionError::Bad(format!("`limit` is a number from 1 to {RULES_MAX}, not {most}")));
    }
    let given = Arc::new(body.pack(&limits)?);
    let (present, policies) = look.look(|shard| (shard.pack.clone(), Policies::of(shard)));
    let scope = scope::resolve(look, &body.scope(), now_ms)?;
    let (pairs, unchanged) = pairs(&present, &given, body.replace);
    let of = |side: fn(&Pair) -> Option<RuleId>| pairs.iter().filter_map(side).collect::<Vec<RuleId>>();
    let ids = pairs.iter().filter_map(|p| p.new.map(|r| given.rule_id(r)).or(p.old.map(|r| present.rule_id(r))));
    let open = Open::of(look, ids, scope.endpoints.as_ref());
    let groups = policies.groups.iter().map(|g| (g.name.clone(), of_group(look, g))).collect();
    let run = Run {
        look,
        before: Asking::new(look, Asked::kept(present.clone(), &of(|p| p.old)), &limits),
        after: Asking::new(look, Asked::new(given.clone(), &of(|p| p.new)), &limits),
        present,
        given,
        policies,
        open,
        groups,
        among: scope.endpoints.clone(),
    };
    // Rows are asked first, so that the locks under which rules are answered are short.
    run.before.ready(|_, _| ())?;
    run.after.ready(|_, _| ())?;
    let (joined, plain): (Vec<&Pair>, Vec<&Pair>) = pairs.iter().partition(|p| run.joins(p));
    let mut outcomes = plain.into_par_iter().map(|pair| run.plain(*pair)).collect::<Result<Vec<Outcome>, _>>()?;
    outcomes.extend(run.joined(&joined)?);
    let asked = look.look(|shard| {
        let held = shard.fleet.index().held();
        run.among.as_ref().map_or(held.len(), |a| a.intersection_len(&held))
    });
    Ok(run.sum(outcomes, body, &scope.counts(asked), unchanged, most))
}

/// The rules that differ, and how many do not.
fn pairs(present: &Pack, given: &Pack, replace: bool) -> (Vec<Pair>, usize) {
    let mut out = Vec::new();
    let mut unchanged = 0;
    for new in rules_of(given) {
        let old = present.find(given.rule_id(new)).filter(|old| !present.rule(*old).requirement);
        if old.is_some_and(|old| same(present, old, given, new)) {
            unchanged += 1;
        } else {
            out.push(Pair { old, new: Some(new) });
        }
    }
    for old in rules_of(present).filter(|old| given.find(present.rule_id(*old)).is_none()) {
        if replace {
            out.push(Pair { old: Some(old), new: None });
        } else {
            unchanged += 1;
        }
    }
    (out, unchanged)
}

/// Whether two rules have the same verdicts whatever an endpoint is. Of SCAP that is not looked into: such rules are asked.
fn same(present: &Pack, old: RuleId, given: &Pack, new: RuleId) -> bool {
    let (a, b) = (present.meta(old), given.meta(new));
    let told = (a.severity, &a.fix, &a.title) == (b.severity, &b.fix, &b.title);
    told && a.scap.is_none() && b.scap.is_none() && a.missing == b.missing && a.applies_ir == b.applies_ir && a.check_ir == b.check_ir
}

/// Turns that are told: whatever differs. Of a new rule those to failing, of one that is gone those from it; the others are in the counts.
fn is_told(turn: Turn) -> bool {
    match turn {
        (Some(from), Some(to)) => from != to,
        (None, Some(only)) | (Some(only), None) => stand(only) == Stand::Failing,
        (None, None) => false,
    }
}

/// As a swap counts them.
fn opens(turn: Turn) -> bool {
    turn.0.map(stand) != Some(Stand::Failing) && turn.1.map(stand) == Some(Stand::Failing)
}

fn resolves(turn: Turn) -> bool {
    turn.0.map(stand) == Some(Stand::Failing) && turn.1.is_none_or(|to| stand(to) == Stand::Clear)
}

impl<L: Look> Run<'_, L> {
    fn joins(&self, pair: &Pair) -> bool {
        pair.old.is_some_and(|r| self.present.needs_joins(r)) || pair.new.is_some_and(|r| self.given.needs_joins(r))
    }

    fn rule_id(&self, pair: Pair) -> &str {
        pair.new.map(|r| self.given.rule_id(r)).or(pair.old.map(|r| self.present.rule_id(r))).unwrap_or_default()
    }

    fn among(&self) -> Option<&RoaringBitmap> {
        self.among.as_ref()
    }

    /// A rule that every endpoint's rows answer one by one: both answers under one lock.
    fn plain(&self, pair: Pair) -> Result<Outcome, QuestionError> {
        use crate::judge::inverted::answer;
        loop {
            // Both must be caught up with under the same lock. The one that is not goes on under one of its own.
            let outcome = self.before.ready(|shard, before| {
                let old = pair.old.map(|rule| answer(before, rule, &shard.fleet, self.among()));
                self.after.if_ready(shard, |after| {
                    let new = pair.new.map(|rule| answer(after, rule, &shard.fleet, self.among()));
                    self.outcome(shard, pair, old, new)
                })
            })?;
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
            self.after.ready(|_, _| ())?;
        }
    }

    /// Rules that join rows: all of them in one walk over the endpoints, before and after.
    fn joined(&self, pairs: &[&Pair]) -> Result<Vec<Outcome>, QuestionError> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let walk = |asking: &Asking<'_, L>, rules: Vec<RuleId>| match asking.walk(rules, self.among()) {
            Ok(answers) => Ok(Ok(answers.into_iter().collect::<BTreeMap<RuleId, Answer>>())),
            Err(e @ QuestionError::TooManyJoins(_)) => Ok(Err(e.to_string())),
            Err(e) => Err(e),
        };
        let before = walk(&self.before, pairs.iter().filter_map(|p| p.old).collect())?;
        let after = walk(&self.after, pairs.iter().filter_map(|p| p.new).collect())?;
        let outcome = |pair: &&Pair| {
            let (before, after) = match (&before, &after) {
                (Ok(before), Ok(after)) => (before, after),
                (Err(why), _) | (_, Err(why)) => return self.unanswered(**pair, why),
            };
            let (old, new) = (pair.old.and_then(|r| before.get(&r)), pair.new.and_then(|r| after.get(&r)));
            self.look.look(|shard| self.outcome(shard, **pair, old.cloned(), new.cloned()))
        };
        Ok(pairs.iter().map(outcome).collect())
    }

    fn blank(&self, pair: Pair) -> OfRule {
        let meta = pair.new.map(|r| self.given.meta(r)).or(pair.old.map(|r| self.present.meta(r)));
        let change = match (pair.old, pair.new) {
            (None, _) => Kind::New,
            (_, None) => Kind::Gone,
            _ => Kind::Changed,
        };
        OfRule {
            rule: self.rule_id(pair).to_owned(),
            title: meta.map(|m| m.title.clone()).unwrap_or_default(),
            severity: meta.map_or(Severity::Info, |m| m.severity),
            change,
            counts: BTreeMap::new(),
            turned: Vec::new(),
            opens: 0,
            resolves: 0,
            episodes_end: 0,
            tasks_queued: 0,
            tasks_ended: 0,
            unanswered: None,
        }
    }

    fn unanswered(&self, pair: Pair, why: &str) -> Outcome {
        let rule = OfRule { unanswered: Some(why.to_owned()), ..self.blank(pair) };
        (rule, RoaringBitmap::new(), BTreeMap::new(), Effect::default())
    }

    /// What two answers of the fleet as it is come to.
    fn outcome(&self, shard: &Shard, pair: Pair, old: Option<Answer>, new: Option<Answer>) -> Outcome {
        let (index, mut rule) = (shard.fleet.index(), self.blank(pair));
        let excluded = self.policies.excluded.contains(&rule.rule);
        let uniform = |answer: Option<Answer>| match answer {
            Some(_) if excluded => Some(Answer::uniform(Verdict::NotSelected, index, self.among())),
            other => other,
        };
        let (old, new) = (uniform(old), uniform(new));
        if let Some(new) = &new {
            rule.counts = Verdict::ALL.into_iter().map(|v| (v.name(), new.counts[v as usize])).collect();
        }
        let (mut opened, mut groups) = (RoaringBitmap::new(), BTreeMap::<String, OfGroup>::new());
        for (turn, endpoints) in turned(index, old.as_ref(), new.as_ref(), self.among(), is_told) {
            let by_group: BTreeMap<String, u64> = self
                .groups
                .iter()
                .map(|(name, group)| (name.clone(), group.intersection_len(&endpoints)))
                .filter(|(_, count)| *count > 0)
                .collect();
            for (name, count) in &by_group {
                let of = groups.entry(name.clone()).or_default();
                of.opens += if opens(turn) { *count } else { 0 };
                of.resolves += if resolves(turn) { *count } else { 0 };
            }
            rule.opens += if opens(turn) { endpoints.len() } else { 0 };
            rule.resolves += if resolves(turn) { endpoints.len() } else { 0 };
            let named = endpoints.iter().filter_map(|at| shard.fleet.get(EndpointId(at))).take(EXAMPLES).map(|e| e.id.to_string());
            let (from, to) = turn;
            rule.turned.push(Turned { from, to, count: endpoints.len(), groups: by_group, examples: named.collect() });
            if opens(turn) {
                opened |= endpoints;
            }
        }
        let fix = pair.new.is_some_and(|r| self.given.meta(r).fix.is_some());
        let effect = self.policies.effect(shard, &self.open, &rule.rule, new.as_ref(), fix, self.among(), &self.groups);
        (rule.episodes_end, rule.tasks_queued, rule.tasks_ended) = (effect.episodes_end, effect.tasks_queued, effect.tasks_ended());
        (rule, opened, groups, effect)
    }

    fn sum(&self, outcomes: Vec<Outcome>, body: &Body, endpoints: &InScope, unchanged: usize, most: usize) -> WhatIf {
        let (mut summary, mut groups) = (Summary::default(), BTreeMap::<String, OfGroup>::new());
        let (mut failing, mut rules) = (RoaringBitmap::new(), Vec::with_capacity(outcomes.len()));
        for (rule, opened, of_groups, effect) in outcomes {
            failing |= opened;
            for (name, of) in of_groups {
                let sum = groups.entry(name).or_default();
                sum.opens += of.opens;
                sum.resolves += of.resolves;
            }
            summary.opens += rule.opens;
            summary.resolves += rule.resolves;
            summary.episodes_end += rule.episodes_end;
            summary.tasks_queued += rule.tasks_queued;
            summary.tasks_ended += rule.tasks_ended;
            // As a swap tells it: of a rule that is gone nothing turned, its open episodes end.
            let turned = if rule.change == Kind::Gone { rule.episodes_end > 0 } else { rule.opens + rule.resolves + rule.episodes_end > 0 };
            self.policies.tell(&mut summary, turned, &effect);
            rules.push(rule);
        }
        summary.endpoints_failing_anew = failing.len();
        rules.sort_by(|a, b| (b.opens, b.resolves, &a.rule).cmp(&(a.opens, a.resolves, &b.rule)));
        let left_out = rules.len().saturating_sub(most);
        rules.truncate(most);
        WhatIf {
            present: self.present.digest().to_owned(),
            given: self.given.digest().to_owned(),
            replace: body.replace,
            endpoints: *endpoints,
            summary,
            groups,
            rules,
            unchanged,
            left_out,
            problems: self.policies.problems(&self.present, &self.given, body.replace),
        }
    }
}

impl Body {
    /// What is wrong with it whatever the fleet is.
    pub fn check(&self, limits: &Limits) -> Result<(), QuestionError> {
        self.pack(limits).map(|_| ())
    }
}
