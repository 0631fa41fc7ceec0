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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(super) use compile::{compile, metas};
pub use judge::Joined;
pub(super) use judge::add;

use super::wire::{self, PackError, Section, index};
use super::{Pack, PackInfo, TermId, TermKind};
use crate::limits::Limits;
use crate::oval::eval::{Compat, Tally};
use crate::oval::facts::Flag;
use crate::oval::model::{OvalResult, TestId};
use crate::oval::native;
use crate::scan::table::TableId;
use crate::xccdf::judge::Judge;
use crate::xccdf::model::Baseline;
use compile::{reached, row_level, tests_by_instance, tests_of, uploaded_table};

/// A profile of SCAP content, as a source of rules.
#[derive(Clone, Debug)]
pub struct ScapPack {
    pub info: PackInfo,
    pub baseline: Arc<Baseline>,
    pub compat: Compat,
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
    Rows { native: Native, collected: TermId },
    /// The evaluator, for each endpoint: the number of its result.
    Endpoint(usize),
}

#[derive(Debug)]
enum Native {
    /// The terms under `scopes` say whether what the object asks was looked at.
    Term { term: TermId, table: TableId, scopes: Vec<TermId> },
    /// No table of ours can show such an object.
    Never(OvalResult),
}

/// The baselines of a pack, opened.
#[derive(Default)]
pub(super) struct Scap {
    opened: Vec<Opened>,
    /// How many results [`Scap::run`] gives.
    endpoint_tests: usize,
    /// How many definitions all instances have.
    definitions: usize,
    /// The terms that say which rows concern an object.
    concerns: BTreeMap<(u32, u32), Vec<TermId>>,
}

struct Opened {
    stored: Stored,
    judge: Judge,
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

impl Stored {
    fn judge(&self) -> Judge {
        Judge::new(self.baseline.clone(), self.compat, &Limits::default())
    }
}

impl Scap {
    /// Opens the baselines of a file. INVARIANT: every place that rules and terms name is there, every content holds together.
    pub(super) fn open(pack: &Pack) -> Result<Scap, PackError> {
        let damaged = |what: String| PackError::Damaged(what);
        let mut scap = Scap::default();
        let mut terms = BTreeMap::new();
        for (id, term) in pack.terms() {
            if matches!(term.kind, TermKind::Test | TermKind::Collected | TermKind::Concerns) {
                terms.insert((term.code, order(term.kind), term.table), id);
            }
            if term.kind == TermKind::Concerns {
                scap.concerns.entry(term.code).or_default().push(id);
            }
        }
        let scopes = scope_terms(pack);
        let mut first = 0;
        for number in 0..pack.count(Section::Baselines) {
            let stored: Stored = wire::parse_json(pack.string(pack.u32_at(Section::Baselines, number)), "SCAP baseline")?;
            stored.baseline.check().map_err(damaged)?;
            let judge = stored.judge();
            let mut opened = Opened { judge, instances: Vec::new(), stored };
            let tests = tests_by_instance(&opened.judge);
            for instance in 0..u32::try_from(opened.stored.baseline.instances.len()).unwrap_or(0) {
                let Some(prepared) = opened.judge.prepared(instance) else { continue };
                let mut ways = Ways { ways: BTreeMap::new(), first };
                first += prepared.content().definitions.len();
                for test in tests.get(&instance).into_iter().flatten() {
                    let place = code(number, instance, test.0);
                    let way = match row_level(prepared, *test) {
                        Some((object, wanted)) => {
                            let find = |kind: TermKind, table| terms.get(&(place, order(kind), table)).copied();
                            let missing = || damaged(format!("test {} of baseline {number} has no term", test.0));
                            let collected = find(TermKind::Collected, uploaded_table()).ok_or_else(missing)?;
                            let native = match wanted {
                                None => Native::Never(prepared.result(*test, Some(Flag::NotCollected), Tally::default())),
                                Some((table, _, _)) => {
                                    let asked = native::asks_of(prepared, object);
                                    let of = |(t, item): (TableId, String)| scopes.get(&(t.name().to_owned(), item)).copied();
                                    let scopes = asked.into_iter().map(of).collect::<Option<_>>().ok_or_else(missing)?;
                                    Native::Term { term: find(TermKind::Test, table).ok_or_else(missing)?, table, scopes }
                                }
                            };
                            Way::Rows { native, collected }
                        }
                        None => {
                            scap.endpoint_tests += 1;
                            Way::Endpoint(scap.endpoint_tests - 1)
                        }
                    };
                    ways.ways.insert(*test, way);
                }
                opened.instances.push(ways);
            }
            scap.opened.push(opened);
        }
        scap.definitions = first;
        scap.check_places(pack)?;
        Ok(scap)
    }

    /// Terms and rules may name only what is there.
    fn check_places(&self, pack: &Pack) -> Result<(), PackError> {
        for (id, term) in pack.terms() {
            let place = || {
                let (baseline, instance) = (index(term.code.0 >> 16), term.code.0 & 0xffff);
                self.opened.get(baseline)?.judge.prepared(instance).map(|p| p.content().clone())
            };
            let fine = match term.kind {
                TermKind::Test | TermKind::Collected => place().is_some_and(|c| {
                    c.tests.get(index(term.code.1)).is_some_and(|t| t.object.is_some())
                }),
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
        for (instance, definitions) in reached(&opened.judge, std::iter::once(place.1)) {
            let Some(prepared) = opened.judge.prepared(instance) else { continue };
            for test in tests_of(prepared.content(), definitions) {
                match opened.instances.get(index(instance)).and_then(|w| w.ways.get(&test)) {
                    Some(Way::Rows { native, collected }) => {
                        terms.push(*collected);
                        if let Native::Term { term, scopes, .. } = native {
                            terms.push(*term);
                            terms.extend(scopes);
                        }
                    }
                    Some(Way::Endpoint(_)) => {
                        endpoint = true;
                        for object in prepared.object_dependencies(test) {
                            terms.extend(self.concerns.get(&code(index(place.0), instance, object.0)).into_iter().flatten());
                        }
                    }
                    None => {}
                }
            }
        }
        endpoint
    }
}

fn order(kind: TermKind) -> u8 {
    match kind {
        TermKind::Test => 0,
        TermKind::Collected => 1,
        _ => 2,
    }
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
