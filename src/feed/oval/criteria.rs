//! Criteria taken apart: AND and OR over tests in, alternatives out, each of them conditions on one row ([`Way`]).

use std::collections::BTreeMap;
use std::rc::Rc;

use super::platform::Place;
use super::test::{self, Installed};
use super::{Content, Definition, Limits, Module};
use crate::oval::model::{Criteria, DefinitionId, Node, Operator};

/// One way to fulfil a piece of criteria.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    pub(super) place: Option<Place>,
    pub(super) arches: Option<Rc<[Box<str>]>>,
    pub(super) module: Option<Rc<Module>>,
    pub(super) package: Option<Rc<Installed>>,
}

/// What a piece of criteria comes to.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// Nothing that a row could decide: it is taken as fulfilled.
    Always,
    /// Not on a system that the content is for.
    Never,
    Ways(Vec<Way>),
}

/// Why it does not come to ways.
#[derive(Clone, Debug)]
pub(super) enum Odd {
    Unfit(String),
    Limit,
}

/// Tests that were taken as fulfilled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) signatures: usize,
    pub(super) kernels: usize,
}

pub(super) struct Apart<'c> {
    content: &'c Content,
    /// Ways that may still be made in this document: alternatives multiply.
    left: usize,
    extended: BTreeMap<DefinitionId, Result<Said, Odd>>,
    /// Alternatives that were left out.
    odd: Vec<String>,
    pub(super) seen: Seen,
}

impl<'c> Apart<'c> {
    pub(super) fn new(content: &'c Content, limits: &Limits) -> Apart<'c> {
        Apart { content, left: limits.feed_rows, extended: BTreeMap::new(), odd: Vec::new(), seen: Seen::default() }
    }

    pub(super) fn take_odd(&mut self) -> Vec<String> {
        let mut odd = std::mem::take(&mut self.odd);
        odd.sort();
        odd.dedup();
        odd
    }

    pub(super) fn definition(&mut self, definition: &Definition) -> Result<Said, Odd> {
        match &definition.criteria {
            Some(criteria) => self.criteria(criteria),
            None => unfit("has no criteria"),
        }
    }

    fn criteria(&mut self, criteria: &Criteria) -> Result<Said, Odd> {
        if criteria.negate {
            return unfit(format!("`{}` is negated: what is not there is no condition on a package", criteria.comment));
        }
        match (criteria.operator, &*criteria.children) {
            (_, []) => unfit("has empty criteria"),
            (_, [only]) => self.node(only),
            (Operator::And, children) => self.all(children),
            (Operator::Or, children) => self.any(children),
            (Operator::One | Operator::Xor, _) => unfit("counts its criteria (ONE, XOR), which is no condition on a package"),
        }
    }

    fn node(&mut self, node: &Node) -> Result<Said, Odd> {
        match node {
            Node::Criteria(criteria) => self.criteria(criteria),
            Node::Test { negate: true, comment, .. } | Node::Extend { negate: true, comment, .. } => {
                unfit(format!("`{comment}` is negated: what is not there is no condition on a package"))
            }
            Node::Test { test, comment, .. } => {
                let said = test::said(self.content, *test, comment, &mut self.seen).map_err(Odd::Unfit)?;
                self.pay(&said)?;
                Ok(said)
            }
            Node::Extend { definition, .. } => self.extend(*definition),
        }
    }

    fn extend(&mut self, id: DefinitionId) -> Result<Said, Odd> {
        if !self.extended.contains_key(&id) {
            let content = self.content;
            let said = match content.definitions.get(id.index()) {
                Some(definition) => self.definition(definition),
                None => unfit("extends a definition that is not there"),
            };
            self.extended.insert(id, said);
        }
        let said = self.extended.get(&id).cloned().unwrap_or(Err(Odd::Limit))?;
        self.pay(&said)?;
        Ok(said)
    }

    /// INVARIANT: memory and time are bounded by the ways that are made, names of packages counted.
    fn pay(&mut self, said: &Said) -> Result<(), Odd> {
        let Said::Ways(ways) = said else { return Ok(()) };
        let cost: usize = ways.iter().map(|w| w.package.as_ref().map_or(1, |p| p.names.len())).sum();
        self.left = self.left.checked_sub(cost).ok_or(Odd::Limit)?;
        Ok(())
    }

    fn any(&mut self, children: &[Node]) -> Result<Said, Odd> {
        let (mut ways, mut always) = (Vec::new(), false);
        let mut odd = Vec::new();
        for child in children {
            match self.node(child) {
                Ok(Said::Always) => always = true,
                Ok(Said::Never) => {}
                Ok(Said::Ways(more)) => ways.extend(more),
                Err(Odd::Unfit(why)) => odd.push(why),
                Err(Odd::Limit) => return Err(Odd::Limit),
            }
        }
        if ways.is_empty() && !always && !odd.is_empty() {
            return Err(Odd::Unfit(odd.swap_remove(0)));
        }
        self.odd.append(&mut odd);
        match (always, ways.is_empty()) {
            (true, true) => Ok(Said::Always),
            (true, false) => unfit("beside packages it names an alternative that no package decides"),
            (false, true) => Ok(Said::Never),
            (false, false) => Ok(Said::Ways(ways)),
        }
    }

    fn all(&mut self, children: &[Node]) -> Result<Said, Odd> {
        let mut ways: Option<Vec<Way>> = None;
        for child in children {
            let more = match self.node(child)? {
                Said::Always => continue,
                Said::Never => return Ok(Said::Never),
                Said::Ways(more) => more,
            };
            ways = Some(match ways {
                None => more,
                Some(ways) => self.product(&ways, &more)?,
            });
        }
        Ok(match ways {
            None => Said::Always,
            Some(ways) if ways.is_empty() => Said::Never,
            Some(ways) => Said::Ways(ways),
        })
    }

    fn product(&mut self, left: &[Way], right: &[Way]) -> Result<Vec<Way>, Odd> {
        let mut ways = Vec::new();
        for a in left {
            for b in right {
                // Those that contradict each other cost as much as the others.
                self.left = self.left.checked_sub(1).ok_or(Odd::Limit)?;
                if let Some(way) = both(a, b).map_err(Odd::Unfit)? {
                    ways.push(way);
                }
            }
        }
        let ways = Said::Ways(ways);
        self.pay(&ways)?;
        let Said::Ways(ways) = ways else { return Ok(Vec::new()) };
        Ok(ways)
    }
}

fn unfit<T>(why: impl Into<String>) -> Result<T, Odd> {
    Err(Odd::Unfit(why.into()))
}

/// Both at once; `None` if they exclude each other.
fn both(a: &Way, b: &Way) -> Result<Option<Way>, String> {
    let place = match (&a.place, &b.place) {
        (Some(a), Some(b)) => match a.and(b) {
            Some(place) => Some(place),
            None => return Ok(None),
        },
        (a, b) => a.as_ref().or(b.as_ref()).cloned(),
    };
    let arches = match (&a.arches, &b.arches) {
        (Some(a), Some(b)) => {
            let common: Rc<[Box<str>]> = a.iter().filter(|x| b.contains(x)).cloned().collect();
            if common.is_empty() {
                return Ok(None);
            }
            Some(common)
        }
        (a, b) => a.as_ref().or(b.as_ref()).cloned(),
    };
    let module = match (&a.module, &b.module) {
        (Some(a), Some(b)) if a != b => return Err("needs two modules at once".into()),
        (a, b) => a.as_ref().or(b.as_ref()).cloned(),
    };
    let package = match (&a.package, &b.package) {
        (Some(a), Some(b)) => Some(Rc::new(a.and(b)?)),
        (a, b) => a.as_ref().or(b.as_ref()).cloned(),
    };
    Ok(Some(Way { place, arches, module, package }))
}
