//! Judging by SCAP: what a row says to its terms, what an endpoint's rows come to, the definition of a verdict.

use super::{Own, Scap, Way};
use crate::judge::Verdict;
use crate::judge::truth::Truth;
use crate::limits::Limits;
use crate::oval::eval::{Evaluation, Prepared, Tally};
use crate::oval::facts::Flag;
use crate::oval::model::{ObjectId, OvalResult, TestId};
use crate::oval::native::{Collection, Native, Plan, Scope, Tables};
use crate::oval::uploaded::{Scanned, is_native, of_row};
use crate::pack::program::{TableStates, Tallies};
use crate::pack::wire::index;
use crate::pack::{Pack, Term, TermKind};
use crate::scan::table::TableId;
use crate::scan::{Row, Scan};

/// What the endpoint-level parts of a pack say of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Of programs that join rows.
    pub truths: Vec<Truth>,
    /// Of OVAL tests that rows do not answer one by one.
    pub results: Vec<OvalResult>,
}

/// What rows of our own tables say to a test beside counts: in the bits above those of [`Tally`].
const PARTLY: u32 = 1 << 28;
const UNSEEN: u32 = 1 << 29;
const FAILED: u32 = 1 << 30;
const ABOVE: u32 = PARTLY | UNSEEN | FAILED;

/// The answers of two rows to one test.
pub(in crate::pack) fn add(a: u32, b: u32) -> u32 {
    Tally(a & !ABOVE).add(Tally(b & !ABOVE)).0 | (a | b) & ABOVE
}

impl Scap {
    fn part(&self, code: (u32, u32)) -> Option<(&Prepared, &Native)> {
        self.opened.get(index(code.0 >> 16))?.profile.part(code.0 & 0xffff)
    }

    /// What a row says to a term; nothing where it is not one that the term is about.
    pub(in crate::pack) fn ask(&self, pack: &Pack, term: &Term, row: &Row) -> Option<u32> {
        let (prepared, native) = self.part(term.code)?;
        let uploaded = row.table.name() == "oval_object";
        if uploaded && !row.key().iter().zip(pack.term_key(term)).all(|(have, want)| have.as_str() == Some(want)) {
            return None;
        }
        match term.kind {
            TermKind::Collected => {
                let test = TestId(term.code.1);
                let collected = of_row(row);
                Some(prepared.result(test, Some(collected.flag), prepared.tally(test, &collected.items)) as u32)
            }
            TermKind::Test => {
                let test = TestId(term.code.1);
                let object = prepared.content().tests.get(test.index())?.object?;
                let found = native.items_of_row(prepared, object, row);
                let above = match found.flag {
                    None => 0,
                    Some((Flag::Error, _)) => FAILED,
                    Some((Flag::NotCollected, _)) => UNSEEN,
                    Some(_) => PARTLY,
                };
                let answer = prepared.tally(test, &found.items).0 | above;
                (answer != 0).then_some(answer)
            }
            TermKind::Concerns if uploaded => Some(1),
            TermKind::Concerns => {
                let object = ObjectId(term.code.1);
                let by_row = matches!(native.plan(object), Plan::Rows { .. });
                let concerns = !by_row || native.items_of_row(prepared, object, row) != Default::default();
                concerns.then_some(1)
            }
            TermKind::Exists | TermKind::All | TermKind::Count(..) | TermKind::Keyed => None,
        }
    }

    /// The results of the tests that need an endpoint's rows together. `scan` holds at least the rows that concern their objects.
    pub(in crate::pack) fn run(&self, scan: &Scan, now_s: i64) -> Vec<OvalResult> {
        let mut results = vec![OvalResult::Error; self.endpoint_tests];
        for opened in &self.opened {
            for (instance, ways) in (0..).zip(&opened.instances) {
                let Some((prepared, native)) = opened.profile.part(instance) else { continue };
                let mut wanted =
                    ways.ways.iter().filter_map(|(t, w)| if let Way::Endpoint(n) = w { Some((*t, *n)) } else { None }).peekable();
                if wanted.peek().is_none() {
                    continue;
                }
                let facts = facts(prepared, native, scan, &self.limits);
                let mut evaluation = Evaluation::new(prepared, &facts, now_s);
                wanted.for_each(|(test, number)| results[number] = evaluation.test(test));
            }
        }
        results
    }

    /// The verdict of a rule for the endpoint whose rows were added up.
    pub(in crate::pack) fn judge(&self, place: (u32, u32), tallies: &mut Tallies, states: &TableStates, joined: &Joined) -> Verdict {
        let Some(opened) = self.opened.get(index(place.0)) else { return Verdict::Error };
        let mut memo = std::mem::take(&mut tallies.definitions);
        memo.resize(self.definitions, None);
        let verdict = opened.profile.judge.verdict(place.1, &mut |instance, definition| {
            let (Some((prepared, native)), Some(ways)) = (opened.profile.part(instance), opened.instances.get(index(instance))) else {
                return OvalResult::Error;
            };
            let end = ways.first + prepared.content().definitions.len();
            let memo = memo.get_mut(ways.first..end).unwrap_or_default();
            prepared.definition_by(definition, memo, &mut |test| match ways.ways.get(&test) {
                Some(Way::Endpoint(number)) => joined.results.get(*number).copied().unwrap_or(OvalResult::Error),
                Some(Way::Rows { own, collected }) => match tallies.said(*collected).checked_sub(1) {
                    Some(result) => result_from(result),
                    None => by_rows(prepared, native, test, own, tallies, states),
                },
                None => OvalResult::Error,
            })
        });
        tallies.definitions = memo;
        verdict
    }
}

fn result_from(n: u32) -> OvalResult {
    OvalResult::ALL.into_iter().find(|r| *r as u32 == n).unwrap_or(OvalResult::Error)
}

/// A test by rows of our own tables.
fn by_rows(prepared: &Prepared, native: &Native, test: TestId, own: &Own, tallies: &Tallies, states: &TableStates) -> OvalResult {
    if !is_native(TableId::all().filter(|t| states.get(*t) != Truth::NotCollected)) {
        return prepared.result(test, None, Tally::default());
    }
    let (term, object, table, scopes) = match own {
        Own::Never(result) => return *result,
        Own::Term { term, object, table, scopes } => (*term, *object, *table, scopes),
    };
    let answer = tallies.said(term);
    let collection = match states.get(table) {
        Truth::True => Collection::Rows,
        Truth::NotCollected => Collection::Absent,
        _ => Collection::Failed(""),
    };
    let asked = native.asked(object).map(|(_, items)| items).unwrap_or_default();
    let scope = |item: &str| {
        let term = asked.iter().position(|i| i == item).and_then(|at| scopes.get(at));
        match term.map(|t| tallies.said_keyed(*t)) {
            Some(Some(Truth::True)) => Scope::Looked,
            Some(Some(_)) => Scope::Failed(""),
            Some(None) | None => Scope::Unasked,
        }
    };
    let rows = [(FAILED, Flag::Error), (UNSEEN, Flag::NotCollected), (PARTLY, Flag::Incomplete)];
    let rows = rows.iter().find(|(bit, _)| answer & bit != 0).map(|(_, flag)| (*flag, "".into()));
    let tally = Tally(answer & !ABOVE);
    let (flag, _) = native.flag(object, collection, scope, tally != Tally::default(), rows);
    prepared.result(test, Some(flag), tally)
}

/// An endpoint's facts: uploaded objects, and our own tables where there are any.
pub(super) fn facts<'s>(prepared: &'s Prepared, native: &'s Native, scan: &'s Scan, limits: &'s Limits) -> Scanned<'s> {
    let tables = is_native(scan.tables.keys().copied()).then(|| Tables::new(prepared, native, scan, limits));
    Scanned::new(prepared.content(), scan, tables)
}
