//! Checks of rules: which candidate, which OVAL document, with which values.
//!
//! The same document stands for as many instances as rules disagree about the value of one of its variables, and no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::values::Values;
use crate::limits::Limits;
use crate::oval::model::Content;
use crate::xccdf::datastream::{Body, Found, View};
use crate::xccdf::model::{Baseline, Check, ContentRef, Instance, PlatformLogic};
use crate::xccdf::read::{Budget, CheckNode, Problem, RuleNode, Simple, Spent};

pub(super) const OVAL: &str = "http://oval.mitre.org/XMLSchema/oval-definitions-5";
const SCE: &str = "http://open-scap.org/page/SCE";
const OCIL: &str = "http://scap.nist.gov/schema/ocil/2";

pub(super) struct Checks<'s> {
    view: &'s View<'s>,
    values: &'s Values<'s>,
    most: usize,
    contents: Vec<Arc<Content>>,
    instances: Vec<Instance>,
    /// The instance of each document that was asked last: who gives no values gets those that are there, as with OpenSCAP.
    latest: BTreeMap<u32, usize>,
    /// Why, and how often.
    notes: BTreeMap<String, usize>,
}

impl<'s> Checks<'s> {
    pub(super) fn new(view: &'s View<'s>, values: &'s Values<'s>, limits: &Limits) -> Checks<'s> {
        let most = limits.content_instances;
        Checks { view, values, most, contents: Vec::new(), instances: Vec::new(), latest: BTreeMap::new(), notes: BTreeMap::new() }
    }

    /// The check of a rule: a complex one, or of the candidates the last that can be evaluated.
    pub(super) fn of(&mut self, rule: &RuleNode, selector: Option<&str>, budget: &mut Budget) -> Result<Option<Check>, Spent> {
        if let Some(complex) = &rule.complex {
            return self.node(complex, budget).map(Some);
        }
        let wanted = selector.unwrap_or_default();
        let has = |selector: &str| rule.checks.iter().any(|c| c.selector == selector);
        let wanted = if has(wanted) { wanted } else { "" };
        let candidates = || rule.checks.iter().filter(|c| c.selector == wanted);
        let Some(taken) = candidates().rfind(|c| c.system == OVAL).or_else(|| candidates().next()) else { return Ok(None) };
        self.simple(taken, true, budget).map(Some)
    }

    /// Depth is bounded: the document passed [`crate::xml::check`].
    fn node(&mut self, node: &CheckNode, budget: &mut Budget) -> Result<Check, Spent> {
        match node {
            CheckNode::Simple(simple) => self.simple(simple, false, budget),
            CheckNode::Complex { operator, negate, of } => {
                let of = of.iter().map(|c| self.node(c, budget)).collect::<Result<_, _>>()?;
                Ok(Check::Complex { operator: *operator, negate: *negate, of })
            }
        }
    }

    fn simple(&mut self, check: &Simple, alone: bool, budget: &mut Budget) -> Result<Check, Spent> {
        budget.step(1 + check.exports.len() + check.refs.len() * (1 + self.view.rewrites()))?;
        let reference = |n: usize| {
            let (href, name) = check.refs.get(n).cloned().unwrap_or_default();
            ContentRef { system: check.system.clone(), href, name: name.unwrap_or_default(), exports: check.exports.clone() }
        };
        if check.system != OVAL {
            return Ok(self.unsupported(check, other_system(check), reference(0)));
        }
        let mut bindings: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (id, name) in &check.exports {
            match self.values.get(id) {
                Ok(values) => {
                    let bound = bindings.entry(name).or_default();
                    for value in values {
                        budget.text(value.len())?;
                        budget.step(1 + bound.len())?;
                        if !bound.contains(value) {
                            bound.push(value.clone());
                        }
                    }
                }
                Err(why) => return Ok(Check::Unbound { why, reference: reference(0) }),
            }
        }
        let mut spare = None;
        let mut why = "none of its check-content-ref elements can be resolved".to_owned();
        for (n, (href, name)) in check.refs.iter().enumerate() {
            let content = match self.content(self.view.own(), href) {
                Ok(content) => content,
                Err(reason) => {
                    why = reason;
                    continue;
                }
            };
            if let Some(name) = name.as_deref().filter(|name| content.definition(name).is_none()) {
                why = format!("`{href}` has no definition `{name}`");
                continue;
            }
            let Some(instance) = self.instance(&content, href, &bindings, budget)? else {
                why = format!("`{href}` is asked with other values more than {} times (limits.content_instances)", self.most);
                continue;
            };
            let (negate, reference) = (check.negate, reference(n));
            let Some(name) = name else {
                return Ok(Check::Document { instance, negate, multi: check.multi && alone, reference });
            };
            let found = Check::Definition { instance, definition: name.clone(), negate, reference };
            // Without criteria it is not evaluated, and the next alternative is asked.
            if content.definition(name).and_then(|id| content.definitions.get(id.index())).is_some_and(|d| d.criteria.is_some()) {
                return Ok(found);
            }
            spare.get_or_insert(found);
        }
        if let Some(spare) = spare {
            return Ok(spare);
        }
        Ok(self.unsupported(check, why, reference(0)))
    }

    fn unsupported(&mut self, check: &Simple, why: String, reference: ContentRef) -> Check {
        *self.notes.entry(format!("{why} ({})", check.system)).or_default() += 1;
        Check::Unsupported { system: check.system.clone(), why, reference }
    }

    fn content(&self, from: usize, href: &str) -> Result<Arc<Content>, String> {
        match self.view.find(from, href) {
            Found::Component(component) => match &component.body {
                Body::Oval(Ok(content)) => Ok(Arc::clone(content)),
                Body::Oval(Err(why)) => Err(format!("`{href}` cannot be read: {why}")),
                _ => Err(format!("`{href}` is not OVAL")),
            },
            Found::Remote(at) => Err(format!("`{href}` is at {at}; nothing is fetched, put its content into the data stream")),
            Found::Nothing => Err(format!("`{href}` is not in the data stream")),
        }
    }

    /// An instance of a document that these values do not contradict, or a new one. Variables that it does not have do not count.
    fn instance(
        &mut self,
        content: &Arc<Content>,
        href: &str,
        bindings: &BTreeMap<&str, Vec<String>>,
        budget: &mut Budget,
    ) -> Result<Option<u32>, Spent> {
        let number = match self.contents.iter().position(|c| Arc::ptr_eq(c, content)) {
            Some(n) => n,
            None => {
                self.contents.push(Arc::clone(content));
                self.contents.len() - 1
            }
        };
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let known: Vec<(&&str, &Vec<String>)> = bindings.iter().filter(|(name, _)| content.variable(name).is_some()).collect();
        budget.step(self.contents.len() + self.instances.len() * (1 + known.len()))?;
        let fits = |i: &Instance| {
            i.content == number && known.iter().all(|(name, values)| i.bindings.get(**name).is_none_or(|bound| bound == *values))
        };
        let latest = self.latest.get(&number).copied().filter(|at| self.instances.get(*at).is_some_and(fits));
        let at = match latest.or_else(|| self.instances.iter().position(fits)) {
            Some(at) => at,
            None if self.instances.iter().filter(|i| i.content == number).count() >= self.most => return Ok(None),
            None => {
                self.instances.push(Instance { content: number, bindings: BTreeMap::new(), href: href.to_owned() });
                self.instances.len() - 1
            }
        };
        self.latest.insert(number, at);
        if let Some(instance) = self.instances.get_mut(at) {
            for (name, values) in known {
                instance.bindings.entry((*name).to_owned()).or_insert_with(|| values.clone());
            }
        }
        Ok(u32::try_from(at).ok())
    }

    /// A definition that decides a platform. The names are those of the component that asks.
    pub(super) fn platform(&mut self, from: usize, href: &str, id: &str) -> Option<PlatformLogic> {
        let content = self.content(from, href).ok()?;
        content.definition(id)?;
        // Platforms are few, and give no values: no budget is needed.
        let mut free = Budget::new(&Limits::default());
        let instance = self.instance(&content, href, &BTreeMap::new(), &mut free).ok()??;
        Some(PlatformLogic::Oval { instance, definition: id.to_owned() })
    }

    pub(super) fn into_baseline(self, out: &mut Baseline, problems: &mut Vec<Problem>) {
        out.contents = self.contents;
        out.instances = self.instances;
        for (why, times) in self.notes {
            let what = format!("{times} {} not checked: {why}", if times == 1 { "check is" } else { "checks are" });
            out.notes.push(what.clone());
            problems.push(Problem { line: 0, what });
        }
    }
}

fn other_system(check: &Simple) -> String {
    match check.system.as_str() {
        SCE => "a script (SCE) would have to run on the endpoint".to_owned(),
        OCIL => "a questionnaire (OCIL) asks a person".to_owned(),
        _ if check.inline => "the check stands within the benchmark, in a language that is not OVAL".to_owned(),
        _ => "the checking system is not OVAL".to_owned(),
    }
}
