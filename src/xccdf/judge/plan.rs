//! Checks and platforms with the names of definitions looked up once.

use crate::oval::model::{Class, Content, DefinitionId};
use crate::xccdf::model::{Baseline, Check, ComplexOperator, PlatformLogic, RuleBody};

pub(super) enum Plan {
    /// There is no check.
    None,
    /// Another checking system, and why it is not evaluated.
    Other(String),
    /// OVAL that is not there.
    Unresolved(String),
    /// A value that is not there.
    Unbound(String),
    Definition {
        instance: u32,
        id: DefinitionId,
        class: Class,
        negate: bool,
    },
    Document {
        instance: u32,
        negate: bool,
        multi: bool,
        of: Vec<(DefinitionId, Class)>,
    },
    Complex {
        or: bool,
        negate: bool,
        of: Vec<Plan>,
    },
}

pub(super) enum Logic {
    And { negate: bool, of: Vec<Logic> },
    Or { negate: bool, of: Vec<Logic> },
    Oval(u32, DefinitionId),
    No,
}

pub(super) struct Planner<'b> {
    baseline: &'b Baseline,
}

const OVAL: &str = "http://oval.mitre.org/XMLSchema/oval-definitions-5";

impl<'b> Planner<'b> {
    pub(super) fn new(baseline: &'b Baseline) -> Planner<'b> {
        Planner { baseline }
    }

    fn content(&self, instance: u32) -> Option<&'b Content> {
        let instance = self.baseline.instances.get(super::at(instance))?;
        self.baseline.contents.get(super::at(instance.content)).map(|c| &**c)
    }

    pub(super) fn rule(&self, rule: &RuleBody) -> Plan {
        rule.check.as_ref().map_or(Plan::None, |c| self.check(c))
    }

    fn check(&self, check: &Check) -> Plan {
        match check {
            Check::Complex { operator, negate, of } => {
                let of = of.iter().map(|c| self.check(c)).collect();
                Plan::Complex { or: *operator == ComplexOperator::Or, negate: *negate, of }
            }
            Check::Definition { instance, definition, negate, .. } => {
                let found = self.content(*instance).and_then(|c| {
                    let id = c.definition(definition)?;
                    Some((id, c.definitions.get(id.index())?.class))
                });
                match found {
                    Some((id, class)) => Plan::Definition { instance: *instance, id, class, negate: *negate },
                    None => Plan::Unresolved(format!("there is no definition `{definition}`")),
                }
            }
            Check::Document { instance, negate, multi, .. } => {
                let definitions = self.content(*instance).map(|c| c.definitions.as_slice()).unwrap_or_default();
                let of = (0u32..).zip(definitions).map(|(n, d)| (DefinitionId(n), d.class)).collect();
                Plan::Document { instance: *instance, negate: *negate, multi: *multi, of }
            }
            Check::Unbound { why, .. } => Plan::Unbound(why.clone()),
            Check::Unsupported { system, why, .. } if system == OVAL => Plan::Unresolved(why.clone()),
            Check::Unsupported { why, .. } => Plan::Other(why.clone()),
        }
    }

    pub(super) fn logic(&self, logic: &PlatformLogic) -> Logic {
        match logic {
            PlatformLogic::And { negate, of } => Logic::And { negate: *negate, of: of.iter().map(|l| self.logic(l)).collect() },
            PlatformLogic::Or { negate, of } => Logic::Or { negate: *negate, of: of.iter().map(|l| self.logic(l)).collect() },
            PlatformLogic::Oval { instance, definition } => {
                self.content(*instance).and_then(|c| c.definition(definition)).map_or(Logic::No, |id| Logic::Oval(*instance, id))
            }
            PlatformLogic::Unresolved(_) => Logic::No,
        }
    }
}

impl Plan {
    pub(super) fn collect(&self, out: &mut Vec<(u32, DefinitionId)>) {
        match self {
            Plan::None | Plan::Other(_) | Plan::Unresolved(_) | Plan::Unbound(_) => {}
            Plan::Definition { instance, id, .. } => out.push((*instance, *id)),
            Plan::Document { instance, of, .. } => out.extend(of.iter().map(|(id, _)| (*instance, *id))),
            Plan::Complex { of, .. } => of.iter().for_each(|p| p.collect(out)),
        }
    }
}

impl Logic {
    pub(super) fn collect(&self, out: &mut Vec<(u32, DefinitionId)>) {
        match self {
            Logic::And { of, .. } | Logic::Or { of, .. } => of.iter().for_each(|l| l.collect(out)),
            Logic::Oval(instance, id) => out.push((*instance, *id)),
            Logic::No => {}
        }
    }
}
