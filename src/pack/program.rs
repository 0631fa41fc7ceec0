//! A rule's programs: boolean algebra over the answers of terms, for one endpoint.

use super::code::Reader;
use super::scap::{self, Joined};
use super::{Pack, RuleId, TermId, TermKind, predicate::Hit};
use crate::judge::Verdict;
use crate::judge::explain::holds;
use crate::judge::truth::{Truth, verdict};
use crate::oval::model::OvalResult;
use crate::scan::table::{TABLES, TableId};

/// Instructions; operands follow, little-endian.
pub(super) mod op {
    /// truth u8
    pub(crate) const CONST: u8 = 0x01;
    /// term u32
    pub(crate) const TERM: u8 = 0x02;
    /// term u32, scope term u32, u8: 1 if only the row's existence is asked. A keyed term of a table that holds what was asked.
    pub(crate) const ASKED: u8 = 0x03;
    /// term u32, u8: 1 if only the row's existence is asked. A keyed term of a table that is complete.
    pub(crate) const KEYED: u8 = 0x04;
    /// term u32, n u16, scope term u32 x n: a quantifier over asked items, if they were looked at.
    pub(crate) const GUARDED: u8 = 0x05;
    pub(crate) const NOT: u8 = 0x10;
    pub(crate) const AND: u8 = 0x11;
    pub(crate) const OR: u8 = 0x12;
    pub(crate) const SELECT: u8 = 0x13;
    /// join u32: an endpoint-level program
    pub(crate) const JOIN: u8 = 0x20;
}

/// Checks a program: it leaves one value and names only what there is.
pub(super) fn check(code: &[u8], terms: usize, joins: usize) -> Result<(), String> {
    let mut reader = Reader::new(code);
    let mut height = 0usize;
    while !reader.is_done() {
        let at = reader.at;
        let step = check_step(&mut reader, terms, joins).and_then(|(pops, pushes)| Some(height.checked_sub(pops)? + pushes));
        height = step.ok_or_else(|| format!("bad program instruction at byte {at}"))?;
    }
    if height == 1 { Ok(()) } else { Err("a program does not end with one value".to_owned()) }
}

fn check_step(reader: &mut Reader<'_>, terms: usize, joins: usize) -> Option<(usize, usize)> {
    let term = |id: u32| (super::wire::index(id) < terms).then_some(());
    match reader.u8()? {
        op::CONST => Truth::from_u8(reader.u8()?).map(|_| (0, 1)),
        op::TERM => term(reader.u32()?).map(|()| (0, 1)),
        op::ASKED => {
            term(reader.u32()?)?;
            term(reader.u32()?)?;
            (reader.u8()? <= 1).then_some((0, 1))
        }
        op::KEYED => {
            term(reader.u32()?)?;
            (reader.u8()? <= 1).then_some((0, 1))
        }
        op::GUARDED => {
            term(reader.u32()?)?;
            for _ in 0..reader.u16()? {
                term(reader.u32()?)?;
            }
            Some((0, 1))
        }
        op::NOT => Some((1, 1)),
        op::AND | op::OR => Some((2, 1)),
        op::SELECT => Some((3, 1)),
        op::JOIN => (super::wire::index(reader.u32()?) < joins).then_some((0, 1)),
        _ => None,
    }
}

/// Adds the terms that a checked program reads; whether it reads an endpoint-level program's answer.
pub(super) fn reads(code: &[u8], terms: &mut Vec<TermId>) -> bool {
    let mut reader = Reader::new(code);
    let mut joins = false;
    while !reader.is_done() {
        // INVARIANT: programs were checked when the pack was opened.
        if reads_step(&mut reader, terms, &mut joins).is_none() {
            break;
        }
    }
    joins
}

fn reads_step(reader: &mut Reader<'_>, terms: &mut Vec<TermId>, joins: &mut bool) -> Option<()> {
    match reader.u8()? {
        op::CONST => {
            reader.u8()?;
        }
        op::TERM => terms.push(reader.u32()?),
        op::ASKED => {
            terms.extend([reader.u32()?, reader.u32()?]);
            reader.u8()?;
        }
        op::KEYED => {
            terms.push(reader.u32()?);
            reader.u8()?;
        }
        op::GUARDED => {
            terms.push(reader.u32()?);
            for _ in 0..reader.u16()? {
                terms.push(reader.u32()?);
            }
        }
        op::JOIN => {
            reader.u32()?;
            *joins = true;
        }
        _ => {}
    }
    Some(())
}

/// Whether each table of a scan was collected, for one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableStates([Truth; TABLES.len()]);

impl Default for TableStates {
    /// Nothing was collected.
    fn default() -> TableStates {
        TableStates([Truth::NotCollected; TABLES.len()])
    }
}

impl TableStates {
    pub fn set(&mut self, table: TableId, state: Truth) {
        self.0[usize::from(table.0)] = state;
    }

    /// True when it was collected, `NotCollected`, or `Error` when it failed.
    pub fn get(&self, table: TableId) -> Truth {
        self.0[usize::from(table.0)]
    }
}

/// What the rows of one endpoint say to one term, added up.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Rows that decide: true for an existential or a count, false for a universal; for a key, the rows that have it.
    decisive: u32,
    /// The worst abnormal answer, 0 if none; for a key, the answer.
    state: u8,
}

/// Scratch for judging endpoints one after the other without allocating.
#[derive(Debug, Default)]
pub struct Tallies {
    tallies: Vec<Tally>,
    touched: Vec<TermId>,
    stack: Vec<Truth>,
    /// Results of OVAL definitions of the endpoint, once they are known.
    pub(super) definitions: Vec<Option<OvalResult>>,
}

impl Tallies {
    /// Starts over for a pack.
    pub fn reset(&mut self, pack: &Pack) {
        for term in self.touched.drain(..) {
            if let Some(tally) = self.tallies.get_mut(super::wire::index(term)) {
                *tally = Tally::default();
            }
        }
        self.tallies.resize(pack.term_count(), Tally::default());
        self.definitions.clear();
    }

    /// Adds what one row of the endpoint says to one term.
    pub fn add(&mut self, pack: &Pack, hit: Hit) {
        let tally = &mut self.tallies[super::wire::index(hit.term)];
        self.touched.push(hit.term);
        let kind = pack.term(hit.term).kind;
        match kind {
            TermKind::Test => return tally.decisive = scap::add(tally.decisive, hit.answer),
            // One row; 0 is none.
            TermKind::Collected | TermKind::Concerns => return tally.decisive = hit.answer + 1,
            TermKind::Exists | TermKind::All | TermKind::Count(..) | TermKind::Keyed => {}
        }
        let truth = u8::try_from(hit.answer).ok().and_then(Truth::from_u8);
        match (kind, truth) {
            (TermKind::Keyed, truth) => {
                tally.decisive += 1;
                tally.state = truth.unwrap_or(Truth::Error) as u8;
            }
            (_, Some(truth)) if truth.is_abnormal() => tally.state = tally.state.max(truth as u8),
            _ => tally.decisive += 1,
        }
    }

    /// The verdict of a rule for the endpoint whose rows were added, and whose endpoint-level programs gave `joined`.
    pub fn judge(&mut self, pack: &Pack, rule: RuleId, states: &TableStates, joined: &Joined) -> Verdict {
        let r = pack.rule(rule);
        if let Some(place) = r.scap {
            return pack.scap.judge(place, self, states, joined);
        }
        let joined = joined.truths.as_slice();
        let applies = self.run(pack, r.applies, states, joined);
        if applies != Truth::True {
            return verdict(applies, Truth::True, r.missing);
        }
        let check = self.run(pack, r.check, states, joined);
        verdict(applies, check, r.missing)
    }

    fn run(&mut self, pack: &Pack, code: (u32, u32), states: &TableStates, joined: &[Truth]) -> Truth {
        let mut reader = Reader::new(pack.code(code));
        self.stack.clear();
        while !reader.is_done() {
            if self.step(pack, &mut reader, states, joined).is_none() {
                // INVARIANT: programs were checked when the pack was opened; they cannot get stuck.
                return Truth::Error;
            }
        }
        self.stack.pop().unwrap_or(Truth::Error)
    }

    fn step(&mut self, pack: &Pack, reader: &mut Reader<'_>, states: &TableStates, joined: &[Truth]) -> Option<()> {
        let truth = match reader.u8()? {
            op::CONST => Truth::from_u8(reader.u8()?)?,
            op::TERM => self.answer(pack, reader.u32()?, states),
            op::ASKED => {
                let (term, scope, exists) = (reader.u32()?, reader.u32()?, reader.u8()? == 1);
                self.keyed(pack, term, states).unwrap_or_else(|| match self.scope(pack, scope, states) {
                    Truth::True => absent(exists),
                    abnormal => abnormal,
                })
            }
            op::KEYED => {
                let (term, exists) = (reader.u32()?, reader.u8()? == 1);
                self.keyed(pack, term, states).unwrap_or_else(|| absent(exists))
            }
            op::GUARDED => {
                let term = reader.u32()?;
                let mut guard = Truth::True;
                for _ in 0..reader.u16()? {
                    guard = guard.max(self.scope(pack, reader.u32()?, states));
                }
                let collected = states.get(pack.term(term).table);
                if collected == Truth::True && guard.is_abnormal() { guard } else { self.answer(pack, term, states) }
            }
            op::NOT => !self.stack.pop()?,
            op::AND => {
                let b = self.stack.pop()?;
                self.stack.pop()?.and(b)
            }
            op::OR => {
                let b = self.stack.pop()?;
                self.stack.pop()?.or(b)
            }
            op::SELECT => {
                let (otherwise, then, condition) = (self.stack.pop()?, self.stack.pop()?, self.stack.pop()?);
                match condition {
                    Truth::True => then,
                    Truth::False => otherwise,
                    abnormal => abnormal,
                }
            }
            op::JOIN => *joined.get(super::wire::index(reader.u32()?))?,
            _ => return None,
        };
        self.stack.push(truth);
        Some(())
    }

    /// The answer of a quantifier or count.
    fn answer(&self, pack: &Pack, id: TermId, states: &TableStates) -> Truth {
        let term = pack.term(id);
        let collected = states.get(term.table);
        if collected != Truth::True {
            return collected;
        }
        let tally = self.tallies[super::wire::index(id)];
        let abnormal = Truth::from_u8(tally.state).filter(|t| t.is_abnormal());
        match term.kind {
            TermKind::Exists if tally.decisive > 0 => Truth::True,
            TermKind::Exists => abnormal.unwrap_or(Truth::False),
            TermKind::All if tally.decisive > 0 => Truth::False,
            TermKind::All => abnormal.unwrap_or(Truth::True),
            TermKind::Count(op, n) => abnormal.unwrap_or_else(|| Truth::of(holds(op, i64::from(tally.decisive).cmp(&n)))),
            TermKind::Keyed => self.keyed(pack, id, states).unwrap_or(Truth::Missing),
            // INVARIANT: no program names a term of SCAP; those are read by `pack::scap`.
            TermKind::Test | TermKind::Collected | TermKind::Concerns => Truth::Error,
        }
    }

    /// What rows said to a term of SCAP: a test's counts, or a result and one more.
    pub(super) fn said(&self, id: TermId) -> u32 {
        self.tallies[super::wire::index(id)].decisive
    }

    /// What the one row with a term's key said.
    pub(super) fn said_keyed(&self, id: TermId) -> Option<Truth> {
        let tally = self.tallies[super::wire::index(id)];
        if tally.decisive == 0 { None } else { Truth::from_u8(tally.state) }
    }

    /// What the row with the term's key says; `None` when there is no such row.
    fn keyed(&self, pack: &Pack, id: TermId, states: &TableStates) -> Option<Truth> {
        let collected = states.get(pack.term(id).table);
        if collected != Truth::True {
            return Some(collected);
        }
        let tally = self.tallies[super::wire::index(id)];
        match tally.decisive {
            0 => None,
            1 => Truth::from_u8(tally.state),
            _ => Some(Truth::Error),
        }
    }

    /// Whether an asked item was looked at: true, or why not.
    fn scope(&self, pack: &Pack, id: TermId, states: &TableStates) -> Truth {
        self.keyed(pack, id, states).unwrap_or(Truth::NotCollected)
    }
}

fn absent(exists: bool) -> Truth {
    if exists { Truth::False } else { Truth::Missing }
}
