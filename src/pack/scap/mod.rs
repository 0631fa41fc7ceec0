//! SCAP in a pack: profiles of data streams beside written rules, judged by the same rows and the same tallies.
//!
//! `Baseline x n -> terms -> what rows say, added up -> results of tests -> definitions -> rule results`.
//!
//! A test whose object, filters and states hold constants only is a question that each row answers by itself: a **test** term adds up
//! small counts of items ([`Tally`]), a **collected** term is the result that one uploaded object gives. The other tests (sets, variables
//! that come of other objects) are run for each endpoint over the rows that **concern** their objects, by the evaluator itself.

mod compile;
mod explain;
mod judge;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(super) use compile::{compile, metas};
pub use explain::TestWay;
pub use judge::Joined;
pub(super) use judge::add;

use super::wire::{self, PackError, Section, index};
use super::{Pack, PackInfo, TermId, TermKind};
use crate::limits::Limits;
use crate::oval::eval::{Compat, Tally};
use crate::oval::facts::Flag;
use crate::oval::model::{ObjectId, OvalResult, TestId};
use crate::oval::native::Native;
use crate::scan::table::TableId;
use crate::xccdf::model::Baseline;
use compile::{Profile, tests_of};

/// A profile of SCAP content, as a source of rules.
#[derive(Clone, Debug)]
pub struct ScapPack {
    pub info: PackInfo,
    pub baseline: Arc<Baseline>,
    pub compat: Compat,
    /// What our own tables cannot show, beside what the baseline itself notes.
    pub notes: Vec<String>,
}

/// What the file holds of it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) compat: Compat,
    pub(super) baseline: Arc<Baseline>,
}

/// The rule of a profile, in a pack's [`super::RuleMeta`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScapRule {
    /// Which of the pack's baselines, and which of its items.
    pub baseline: u32,
    pub item: u32,
    pub benchmark: String,
    pub profile: String,
    /// The id as published.
    pub rule: String,
    /// (system, value): CCE and the like.
    pub idents: Vec<(String, String)>,
}

/// What answers a test.
#[derive(Debug)]
enum Way {
    /// Rows, added up: of our own tables, or one uploaded object.
    Rows { own: Own, collected: TermId },
    /// The evaluator, for each endpoint: the number of its result.
    Endpoint(usize),
}

#[derive(Debug)]
enum Own {
    /// The terms under `scopes`, in the order of what the object asks, say whether it was looked at.
    Term { term: TermId, object: ObjectId, table: TableId, scopes: Vec<TermId> },
    /// No table of ours can show such an object.
    Never(OvalResult),
}

/// The baselines of a pack, opened.
#[derive(Default)]
pub(super) struct Scap {
    opened: Vec<Opened>,
    limits: Limits,
    /// How many results [`Scap::run`] gives.
    endpoint_tests: usize,
    /// How many definitions all instances have.
    definitions: usize,
    /// The terms that say which rows concern an object.
    concerns: BTreeMap<(u32, u32), Vec<TermId>>,
    /// The terms that say whether what an object asks was looked at, by baseline and instance.
    scopes: BTreeMap<(u32, u32, ObjectId), Vec<TermId>>,
}

struct Opened {
    stored: Stored,
    profile: Profile,
    /// By instance.
    instances: Vec<Ways>,
}

/// The tests of one instance that rules reach.
struct Ways {
    /// By test.
    ways: BTreeMap<TestId, Way>,
    /// Where its definitions begin in a memo over all.
    first: usize,
}

/// Both numbers of a term's code: the instance, counted over all baselines, and the test or object.
fn code(baseline: usize, instance: u32, number: u32) -> (u32, u32) {
    let baseline = u32::try_from(baseline).unwrap_or(wire::NONE);
    (baseline << 16 | instance, number)
}

impl Scap {
    /// Opens the baselines of a file. INVARIANT: every place that rules and terms name is there, every content holds together.
    pub(super) fn open(pack: &Pack) -> Result<Scap, PackError> {
        let mut scap = Scap::default();
        let mut terms = Terms { scopes: scope_terms(pack), ..Terms::default() };
        for (id, term) in pack.terms() {
            match term.kind {
                TermKind::Test => drop(terms.tests.insert(term.code, id)),
                TermKind::Collected => drop(terms.collected.insert(term.code, id)),
                TermKind::Concerns => scap.concerns.entry(term.code).or_default().push(id),
                TermKind::Exists | TermKind::All | TermKind::Count(..) | TermKind::Keyed => {}
            }
        }
        for number in 0..pack.count(Section::Baselines) {
            let stored: Stored = wire::parse_json(pack.string(pack.u32_at(Section::Baselines, number)), "SCAP baseline")?;
            stored.baseline.check().map_err(PackError::Damaged)?;
            let profile = Profile::new(&stored, &scap.limits);
            let mut instances = Vec::new();
            for (instance, tests) in profile.tests_by_instance() {
                let mut ways = BTreeMap::new();
                for test in tests {
                    ways.insert(test, scap.way(&profile, &terms, number, instance, test)?);
                }
                instances.push(Ways { ways, first: scap.definitions });
                scap.definitions += profile.prepared(instance).map_or(0, |p| p.content().definitions.len());
            }
            scap.opened.push(Opened { stored, profile, instances });
        }
        scap.check_places(pack)?;
        Ok(scap)
    }

    fn way(&mut self, profile: &Profile, terms: &Terms, number: usize, instance: u32, test: TestId) -> Result<Way, PackError> {
        let missing = || PackError::Damaged(format!("test {} of baseline {number} has no term", test.0));
        let scopes = |native: &Native, object| {
            let (table, items) = native.asked(object).map_or(("", &[][..]), |(table, items)| (table.name(), items));
            let of = |item: &String| terms.scopes.get(&(table.to_owned(), item.clone())).copied();
            items.iter().map(of).collect::<Option<Vec<TermId>>>().ok_or_else(missing)
        };
        let Some((object, wanted)) = profile.row_level(instance, test) else {
            let Some((prepared, native)) = profile.part(instance) else { return Err(missing()) };
            for object in prepared.object_dependencies(test) {
                let baseline = u32::try_from(number).unwrap_or(wire::NONE);
                self.scopes.insert((baseline, instance, *object), scopes(native, *object)?);
            }
            self.endpoint_tests += 1;
            return Ok(Way::Endpoint(self.endpoint_tests - 1));
        };
        let place = code(number, instance, test.0);
        let collected = terms.collected.get(&place).copied().ok_or_else(missing)?;
        let Some((prepared, native)) = profile.part(instance) else { return Err(missing()) };
        let own = match wanted {
            None => Own::Never(prepared.result(test, Some(Flag::NotCollected), Tally::default())),
            Some((table, _)) => {
                let scopes = scopes(native, object)?;
                Own::Term { term: terms.tests.get(&place).copied().ok_or_else(missing)?, object, table, scopes }
            }
        };
        Ok(Way::Rows { own, collected })
    }

    /// Terms and rules may name only what is there.
    fn check_places(&self, pack: &Pack) -> Result<(), PackError> {
        for (id, term) in pack.terms() {
            let place = || {
                let (baseline, instance) = (index(term.code.0 >> 16), term.code.0 & 0xffff);
                self.opened.get(baseline)?.profile.prepared(instance).map(|p| p.content().clone())
            };
            let fine = match term.kind {
                TermKind::Test | TermKind::Collected => {
                    place().is_some_and(|c| c.tests.get(index(term.code.1)).is_some_and(|t| t.object.is_some()))
                }
                TermKind::Concerns => place().is_some_and(|c| index(term.code.1) < c.objects.len()),
                TermKind::Exists | TermKind::All | TermKind::Count(..) | TermKind::Keyed => true,
            };
            if !fine {
                return Err(PackError::Damaged(format!("term {id}")));
            }
        }
        let there = |(baseline, item): (u32, u32)| {
            let items = self.opened.get(index(baseline)).map(|o| &o.stored.baseline.items);
            items.and_then(|i| i.get(index(item))).is_some_and(|i| i.rule.is_some())
        };
        match pack.rules().find(|r| pack.rule(*r).scap.is_some_and(|place| !there(place))) {
            Some(rule) => Err(PackError::Damaged(format!("rule {}", rule.0))),
            None => Ok(()),
        }
    }

    pub(super) fn has_endpoint_tests(&self) -> bool {
        self.endpoint_tests > 0
    }

    pub(super) fn stored(&self) -> impl Iterator<Item = Stored> + '_ {
        self.opened.iter().map(|o| o.stored.clone())
    }

    /// The terms that a rule reads, and whether it reads results that are found for each endpoint.
    pub(super) fn reads(&self, place: (u32, u32), terms: &mut Vec<TermId>) -> bool {
        let Some(opened) = self.opened.get(index(place.0)) else { return false };
        let mut endpoint = false;
        for (instance, definitions) in opened.profile.reached(std::iter::once(place.1)) {
            let Some(prepared) = opened.profile.prepared(instance) else { continue };
            for test in tests_of(prepared.content(), definitions) {
                match opened.instances.get(index(instance)).and_then(|w| w.ways.get(&test)) {
                    Some(Way::Rows { own, collected }) => {
                        terms.push(*collected);
                        if let Own::Term { term, scopes, .. } = own {
                            terms.push(*term);
                            terms.extend(scopes);
                        }
                    }
                    Some(Way::Endpoint(_)) => {
                        endpoint = true;
                        for object in prepared.object_dependencies(test) {
                            terms.extend(self.concerns.get(&code(index(place.0), instance, object.0)).into_iter().flatten());
                            terms.extend(self.scopes.get(&(place.0, instance, *object)).into_iter().flatten());
                        }
                    }
                    None => {}
                }
            }
        }
        endpoint
    }
}

/// The terms of a pack's file by what they are for.
#[derive(Default)]
struct Terms {
    tests: BTreeMap<(u32, u32), TermId>,
    collected: BTreeMap<(u32, u32), TermId>,
    /// (table, item)
    scopes: BTreeMap<(String, String), TermId>,
}

/// The terms that say whether something asked was looked at.
fn scope_terms(pack: &Pack) -> BTreeMap<(String, String), TermId> {
    let scope = TableId::by_name("scope");
    let keyed = pack.terms().filter(|(_, t)| t.kind == TermKind::Keyed && Some(t.table) == scope);
    let key = |(id, term): (TermId, super::Term)| match pack.term_key(&term).as_slice() {
        [table, item] => Some((((*table).to_owned(), (*item).to_owned()), id)),
        _ => None,
    };
    keyed.filter_map(key).collect()
}
