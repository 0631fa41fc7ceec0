//! Runs a predicate over one row: what the daemon does once for each distinct fact of the fleet.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::code::{Reader, func, op, scheme_from_u8};
use super::wire::{cmp_from_u8, index};
use super::{Pack, Section, Term, TermId, TermKind, wire};
use crate::judge::explain::{checked, holds, split};
use crate::judge::truth::Truth;
use crate::rule::ir::Arith;
use crate::rule::pattern::pattern_matches;
use crate::scan::row::parse_mode;
use crate::scan::{Row, Value};

/// A value on the stack.
#[derive(Clone, Debug)]
enum Val<'a> {
    Truth(Truth),
    Int(i64),
    Str(Cow<'a, str>),
}

/// What one row says to one term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hit {
    pub term: TermId,
    /// A [`Truth`], or what the term's kind says.
    pub answer: u32,
}

impl Pack {
    /// Asks a new row everything that the rules could want to know of it. Only answers that can matter are given: a row that
    /// an existential does not match, or that does not violate a universal, is silent. Sorted by term.
    pub fn ask(&self, row: &Row) -> Vec<Hit> {
        self.ask_of(row, |_| true)
    }

    /// The same of some terms.
    pub fn ask_of(&self, row: &Row, wanted: impl Fn(TermId) -> bool) -> Vec<Hit> {
        let mut hits: Vec<Hit> = self
            .candidates(row)
            .into_iter()
            .filter(|id| wanted(*id))
            .filter_map(|id| {
                let term = self.term(id);
                if matches!(term.kind, TermKind::Test | TermKind::Collected | TermKind::Concerns) {
                    return self.scap.ask(self, &term, row).map(|answer| Hit { term: id, answer });
                }
                let truth = self.answer(&term, row)?;
                let matters = match term.kind {
                    TermKind::Exists | TermKind::Count(..) => truth != Truth::False,
                    TermKind::All => truth != Truth::True,
                    _ => true,
                };
                matters.then_some(Hit { term: id, answer: u32::from(truth as u8) })
            })
            .collect();
        hits.sort_unstable_by_key(|h| h.term);
        hits
    }

    /// The terms whose plan finds this row.
    fn candidates(&self, row: &Row) -> Vec<TermId> {
        let mut out = Vec::new();
        self.slot_terms(Section::Each, 8, u32::from(row.table.0), None, &mut out);
        for slot in self.matcher.indexed(row.table) {
            let column = slot.to_le_bytes()[0];
            if column == wire::KEY_SLOT {
                let hash = wire::stable_hash(row.key().iter().filter_map(Value::as_str));
                self.slot_terms(Section::Index, 16, *slot, Some(hash), &mut out);
            } else {
                // An absent value makes the required equality abnormal, not false: every term of the column must be asked.
                let hash = row.values[usize::from(column)].as_str().map(|s| wire::stable_hash([s]));
                self.slot_terms(Section::Index, 16, *slot, hash, &mut out);
            }
        }
        self.matcher.find(row, &mut out);
        out.sort_unstable();
        out.dedup();
        out
    }

    /// Adds the terms of one slot of an index, all or those under a hash.
    fn slot_terms(&self, section: Section, size: usize, slot: u32, hash: Option<u64>, out: &mut Vec<TermId>) {
        let bytes = self.section(section);
        let count = bytes.len() / size;
        let key = |i: usize| {
            let r = &bytes[i * size..];
            (wire::u32_at(r, 0), if size == 16 { wire::u64_at(r, 8) } else { 0 })
        };
        let from = (slot, hash.unwrap_or(0));
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            if key(middle) < from { low = middle + 1 } else { high = middle }
        }
        let same = |k: (u32, u64)| k.0 == slot && hash.is_none_or(|h| k.1 == h);
        out.extend((low..count).take_while(|i| same(key(*i))).map(|i| wire::u32_at(&bytes[i * size..], 4)));
    }

    /// A predicate's answer for a row; `None` if the row is not one that the term is about.
    pub(super) fn answer(&self, term: &Term, row: &Row) -> Option<Truth> {
        if row.table != term.table {
            return None;
        }
        if term.kind == TermKind::Keyed {
            let keys = self.term_key(term);
            if !row.key().iter().zip(keys).all(|(have, want)| have.as_str() == Some(want)) {
                return None;
            }
        }
        let mut run = Run { pack: self, row, reader: Reader::new(self.code(term.code)), stack: Vec::with_capacity(8) };
        match run.run() {
            Ok(truth) => truth,
            // INVARIANT: code was checked when the pack was opened; it cannot get stuck.
            Err(()) => Some(Truth::Error),
        }
    }
}

struct Run<'a> {
    pack: &'a Pack,
    row: &'a Row,
    reader: Reader<'a>,
    stack: Vec<Val<'a>>,
}

impl<'a> Run<'a> {
    fn run(&mut self) -> Result<Option<Truth>, ()> {
        while !self.reader.is_done() {
            if !self.step().ok_or(())? {
                return Ok(None);
            }
        }
        match self.stack.pop() {
            Some(Val::Truth(t)) => Ok(Some(t)),
            _ => Err(()),
        }
    }

    fn truth(&mut self) -> Option<Truth> {
        match self.stack.pop()? {
            Val::Truth(t) => Some(t),
            _ => None,
        }
    }

    fn push(&mut self, v: Val<'a>) -> Option<bool> {
        self.stack.push(v);
        Some(true)
    }

    fn string(&mut self) -> Option<&'a str> {
        let id = self.reader.u32()?;
        Some(self.pack.string(id))
    }

    /// One instruction; `Some(false)` when the row is not one that the term is about.
    fn step(&mut self) -> Option<bool> {
        match self.reader.u8()? {
            op::TRUTH => {
                let truth = Truth::from_u8(self.reader.u8()?)?;
                self.push(Val::Truth(truth))
            }
            op::INT => {
                let n = self.reader.i64()?;
                self.push(Val::Int(n))
            }
            op::STR => {
                let s = self.string()?;
                self.push(Val::Str(Cow::Borrowed(s)))
            }
            op::COLUMN => {
                let value = &self.row.values[usize::from(self.reader.u8()?)];
                let v = match value {
                    Value::Null => Val::Truth(self.absent()),
                    Value::Str(s) => Val::Str(Cow::Borrowed(s)),
                    Value::Int(n) => Val::Int(*n),
                    Value::Bool(b) => Val::Truth(Truth::of(*b)),
                };
                self.push(v)
            }
            op::HAS_COLUMN => {
                let is_null = self.row.values[usize::from(self.reader.u8()?)] == Value::Null;
                let truth = if is_null && self.row.error.is_some() { Truth::Unknown } else { Truth::of(!is_null) };
                self.push(Val::Truth(truth))
            }
            op::NOT => {
                let t = self.truth()?;
                self.push(Val::Truth(!t))
            }
            op::AND => {
                let (b, a) = (self.truth()?, self.truth()?);
                self.push(Val::Truth(a.and(b)))
            }
            op::OR => {
                let (b, a) = (self.truth()?, self.truth()?);
                self.push(Val::Truth(a.or(b)))
            }
            op::SELECT => {
                let (otherwise, then, condition) = (self.stack.pop()?, self.stack.pop()?, self.truth()?);
                let chosen = match condition {
                    Truth::True => then,
                    Truth::False => otherwise,
                    abnormal => Val::Truth(abnormal),
                };
                self.push(chosen)
            }
            op::BRANCH => {
                let on = Truth::of(self.reader.u8()? == 1);
                let skip = index(self.reader.u32()?);
                if matches!(self.stack.last()?, Val::Truth(t) if *t == on) {
                    self.reader.at += skip;
                }
                Some(true)
            }
            op::ONLY => {
                let path = self.row.values[0].as_str();
                let mut about = false;
                for _ in 0..self.reader.u16()? {
                    let pattern = self.string()?;
                    about |= path.is_some_and(|p| pattern_matches(pattern, p));
                }
                Some(about)
            }
            other => self.step_value(other),
        }
    }

    fn absent(&self) -> Truth {
        if self.row.error.is_some() { Truth::Unknown } else { Truth::Missing }
    }

    /// Two operands; an abnormal one goes on instead of the result, the worse of two.
    fn two(&mut self) -> Option<Result<(Val<'a>, Val<'a>), Truth>> {
        let (b, a) = (self.stack.pop()?, self.stack.pop()?);
        let worst = abnormal(&a).max(abnormal(&b));
        Some(worst.map_or(Ok((a, b)), Err))
    }

    fn one(&mut self) -> Option<Result<Val<'a>, Truth>> {
        let a = self.stack.pop()?;
        Some(abnormal(&a).map_or(Ok(a), Err))
    }

    fn step_value(&mut self, instruction: u8) -> Option<bool> {
        let result = match instruction {
            op::COMPARE => {
                let cmp = cmp_from_u8(self.reader.u8()?)?;
                self.two()?.map(|(a, b)| Val::Truth(Truth::of(holds(cmp, order(&a, &b)))))
            }
            op::COMPARE_VERSION => {
                let scheme = scheme_from_u8(self.reader.u8()?)?;
                let cmp = cmp_from_u8(self.reader.u8()?)?;
                self.two()?.map(|(a, b)| Val::Truth(Truth::of(holds(cmp, scheme.compare(text(&a), text(&b))))))
            }
            op::IN_STRINGS => {
                let list = (0..self.reader.u16()?).map(|_| self.string()).collect::<Option<Vec<_>>>()?;
                self.one()?.map(|a| Val::Truth(Truth::of(list.contains(&text(&a)))))
            }
            op::IN_INTS => {
                let list = (0..self.reader.u16()?).map(|_| self.reader.i64()).collect::<Option<Vec<_>>>()?;
                self.one()?.map(|a| Val::Truth(Truth::of(matches!(a, Val::Int(n) if list.contains(&n)))))
            }
            op::IN_SPLIT => {
                let parts = self.two()?;
                let item = self.one()?;
                match (item, parts) {
                    (Ok(item), Ok((whole, separator))) => {
                        Ok(Val::Truth(Truth::of(split(text(&whole), text(&separator)).any(|p| p == text(&item)))))
                    }
                    (Err(a), Err(b)) => Err(a.max(b)),
                    (Err(a), _) | (_, Err(a)) => Err(a),
                }
            }
            op::SPLIT_SIZE => self.two()?.map(|(a, b)| Val::Int(size(split(text(&a), text(&b)).count()))),
            op::ARITHMETIC => {
                let op = *[Arith::Add, Arith::Sub, Arith::Mul, Arith::Div, Arith::Rem].get(usize::from(self.reader.u8()?))?;
                self.two()?.and_then(|(a, b)| checked(op, int(&a), int(&b)).map(Val::Int).ok_or(Truth::Error))
            }
            op::NEGATE => self.one()?.and_then(|a| int(&a).checked_neg().map(Val::Int).ok_or(Truth::Error)),
            op::CALL => {
                let function = self.reader.u8()?;
                self.call(function)?
            }
            op::MATCHES => {
                let pattern = index(self.reader.u32()?);
                self.one()?.map(|a| Val::Truth(Truth::of(self.pack.matcher.is_match(pattern, text(&a)))))
            }
            _ => return None,
        };
        self.push(result.unwrap_or_else(Val::Truth))
    }

    fn call(&mut self, function: u8) -> Option<Result<Val<'a>, Truth>> {
        let truth = |b| Val::Truth(Truth::of(b));
        Some(match function {
            func::STARTS_WITH => self.two()?.map(|(a, b)| truth(text(&a).starts_with(text(&b)))),
            func::ENDS_WITH => self.two()?.map(|(a, b)| truth(text(&a).ends_with(text(&b)))),
            func::CONTAINS => self.two()?.map(|(a, b)| truth(text(&a).contains(text(&b)))),
            func::CONCAT => self.two()?.map(|(a, b)| Val::Str(Cow::Owned(format!("{}{}", text(&a), text(&b))))),
            func::AT_MOST => self.two()?.map(|(a, b)| truth(int(&a) & !int(&b) == 0)),
            func::LOWER => self.one()?.map(|a| Val::Str(Cow::Owned(text(&a).to_ascii_lowercase()))),
            func::TRIM => self.one()?.map(|a| Val::Str(Cow::Owned(text(&a).trim().to_owned()))),
            func::SIZE => self.one()?.map(|a| Val::Int(size(text(&a).chars().count()))),
            func::MODE_OF => self.one()?.and_then(|a| parse_mode(text(&a).trim()).map(Val::Int).ok_or(Truth::Error)),
            func::INT_OF => self.one()?.and_then(|a| text(&a).trim().parse().map(Val::Int).map_err(|_| Truth::Error)),
            _ => return None,
        })
    }
}

/// The abnormal state of a value, if it is in one. `None` sorts below all of them.
fn abnormal(v: &Val<'_>) -> Option<Truth> {
    match v {
        Val::Truth(t) if t.is_abnormal() => Some(*t),
        _ => None,
    }
}

fn text<'v>(v: &'v Val<'_>) -> &'v str {
    match v {
        Val::Str(s) => s,
        _ => "",
    }
}

fn int(v: &Val<'_>) -> i64 {
    match v {
        Val::Int(n) => *n,
        _ => 0,
    }
}

fn size(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn order(a: &Val<'_>, b: &Val<'_>) -> Ordering {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => a.cmp(b),
        (Val::Str(a), Val::Str(b)) => a.cmp(b),
        (Val::Truth(a), Val::Truth(b)) => a.cmp(b),
        // INVARIANT: operands are of one type, checked when the pack was opened.
        _ => Ordering::Equal,
    }
}
