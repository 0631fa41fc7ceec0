//! The definition of a verdict: interprets a rule over a parsed scan, slowly, and records which rows decided and why.
//!
//! `(rule, scan) -> (verdict, reason, evidence)`. Everything faster must agree with this file.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Verdict;
use super::truth::{Truth, verdict};
use crate::rule::check::compile_pattern;
use crate::rule::ir::{Arith, Cmp, Func, Ir, Quantifier};
use crate::rule::pattern::pattern_matches;
use crate::scan::row::parse_mode;
use crate::scan::table::{Extent, TableId};
use crate::scan::{Row, Scan, TableData, Value};
use crate::version::Scheme;

/// Rows shown for one condition at most: enough to act on, not the whole table.
const EVIDENCE_MAX: usize = 5;

/// What a rule needs for a verdict; both sources of rules (a folder, a compiled pack) give it.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'r> {
    pub applies: &'r Ir,
    pub check: &'r Ir,
    pub missing: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub verdict: Verdict,
    /// Why, where the verdict is not simply the outcome of the check.
    pub reason: Option<String>,
    /// The rows that decided, in canonical form behind their table's name; or the absence that did.
    pub evidence: Vec<String>,
}

/// Why a value cannot be had.
#[derive(Clone, Debug)]
struct Abnormal {
    truth: Truth,
    why: String,
}

#[derive(Clone, Debug)]
enum Val<'s> {
    Bool(bool),
    Int(i64),
    Str(Cow<'s, str>),
    StrList(Vec<Cow<'s, str>>),
    IntList(Vec<i64>),
    Version(Scheme, Cow<'s, str>),
}

type Eval<'s> = Result<Val<'s>, Abnormal>;

/// Rows of tables that a scan leaves out, since they say nothing to what is asked: how many.
pub type Unread = BTreeMap<TableId, usize>;

/// One verdict, explained.
pub fn explain(rule: Judged<'_>, scan: &Scan) -> Explanation {
    explain_part(rule, scan, &Unread::new())
}

/// The same over a part of a scan. What it leaves out must be rows that no condition is about: a quantifier's body is false of them, or true of a universal's,
/// and no key is theirs. Of a table that a quantifier asks for some items of, nothing may be left out.
pub fn explain_part(rule: Judged<'_>, scan: &Scan, unread: &Unread) -> Explanation {
    let interpreter = Interpreter { scan, unread };
    let applies = interpreter.decide(rule.applies, &mut Vec::new());
    if applies.truth != Truth::True {
        let reason = applies.why.unwrap_or_else(|| "does not apply to this endpoint".to_owned());
        return Explanation {
            verdict: verdict(applies.truth, Truth::True, rule.missing),
            reason: Some(reason),
            evidence: applies.evidence,
        };
    }
    let check = interpreter.decide(rule.check, &mut Vec::new());
    let mut evidence = check.evidence;
    let mut seen = std::collections::BTreeSet::new();
    evidence.retain(|e| seen.insert(e.clone()));
    Explanation { verdict: verdict(Truth::True, check.truth, rule.missing), reason: check.why, evidence }
}

/// The truth of one condition over a scan; what endpoint-level programs of a pack run.
pub fn truth(condition: &Ir, scan: &Scan) -> Truth {
    Interpreter { scan, unread: &Unread::new() }.decide(condition, &mut Vec::new()).truth
}

/// Whether a value without any rows cannot be had: `int("x")`, `1 / 0`.
pub fn is_abnormal(constant: &Ir) -> bool {
    Interpreter { scan: &Scan::default(), unread: &Unread::new() }.value(constant, &mut Vec::new()).is_err()
}

struct Interpreter<'s> {
    scan: &'s Scan,
    unread: &'s Unread,
}

/// A condition's outcome with what led to it.
struct Decision {
    truth: Truth,
    why: Option<String>,
    evidence: Vec<String>,
}

impl Decision {
    fn plain(truth: Truth) -> Decision {
        Decision { truth, why: None, evidence: Vec::new() }
    }

    fn abnormal(a: Abnormal) -> Decision {
        Decision { truth: a.truth, why: Some(a.why), evidence: Vec::new() }
    }
}

fn abnormal<T>(truth: Truth, why: impl Into<String>) -> Result<T, Abnormal> {
    Err(Abnormal { truth, why: why.into() })
}

/// Operands are evaluated before they are used, and the worse of two abnormal ones wins.
fn both<A, B>(a: Result<A, Abnormal>, b: Result<B, Abnormal>) -> Result<(A, B), Abnormal> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(if b.truth > a.truth { b } else { a }),
        (Err(e), Ok(_)) | (Ok(_), Err(e)) => Err(e),
    }
}

impl<'s> Interpreter<'s> {
    /// A Bool expression, with the evidence for its outcome.
    fn decide(&self, ir: &Ir, rows: &mut Vec<&'s Row>) -> Decision {
        match ir {
            Ir::Not(a) => {
                let inner = self.decide(a, rows);
                Decision { truth: !inner.truth, ..inner }
            }
            Ir::And(items) => self.fold(items, rows, Truth::True, Truth::and),
            Ir::Or(items) => self.fold(items, rows, Truth::False, Truth::or),
            Ir::Select(condition, then, otherwise) => {
                let first = self.decide(condition, rows);
                let mut chosen = match first.truth {
                    Truth::True => self.decide(then, rows),
                    Truth::False => self.decide(otherwise, rows),
                    _ => return first,
                };
                chosen.evidence.splice(0..0, first.evidence);
                chosen
            }
            Ir::Quant { quantifier, table, only, body, .. } => self.quantify(*quantifier, *table, only, body, rows),
            leaf => {
                let mut evidence = Vec::new();
                self.evidence(leaf, rows, &mut evidence);
                let mut decision = match self.value(leaf, rows) {
                    Ok(Val::Bool(b)) => Decision::plain(Truth::of(b)),
                    Ok(_) => Decision::abnormal(Abnormal { truth: Truth::Error, why: "not a condition".to_owned() }),
                    Err(a) => Decision::abnormal(a),
                };
                decision.evidence = evidence;
                decision
            }
        }
    }

    /// `&&` and `||`: only the operands that the outcome rests on are evidence.
    fn fold(&self, items: &[Ir], rows: &mut Vec<&'s Row>, unit: Truth, join: fn(Truth, Truth) -> Truth) -> Decision {
        let decisions: Vec<Decision> = items.iter().map(|i| self.decide(i, rows)).collect();
        let truth = decisions.iter().fold(unit, |t, d| join(t, d.truth));
        let mut out = Decision::plain(truth);
        for d in decisions {
            if d.truth == truth {
                out.evidence.extend(d.evidence);
                out.why = out.why.or(d.why);
            }
        }
        out
    }

    fn quantify(&self, quantifier: Quantifier, table: TableId, only: &[Box<str>], body: &Ir, rows: &mut Vec<&'s Row>) -> Decision {
        let candidates = match self.candidates(table, only) {
            Ok(c) => c,
            Err(a) => return Decision::abnormal(a),
        };
        if quantifier == Quantifier::ExistsOne {
            return match self.matching(&candidates, body, rows) {
                Err(a) => Decision::abnormal(a),
                Ok(matching) => {
                    Decision { evidence: shown(&matching, table, "matches"), ..Decision::plain(Truth::of(matching.len() == 1)) }
                }
            };
        }
        let all = quantifier == Quantifier::All;
        let mut truth = if all { Truth::True } else { Truth::False };
        let mut outcomes = Vec::new();
        for row in &candidates {
            rows.push(row);
            let decision = self.decide(body, rows);
            rows.pop();
            truth = if all { truth.and(decision.truth) } else { truth.or(decision.truth) };
            outcomes.push((*row, decision));
        }
        // The rows that brought the outcome; a universal that holds, or an existential that does not, rests on all of them.
        let deciding: Vec<&Row> = outcomes.iter().filter(|(_, d)| d.truth == truth).map(|(r, _)| *r).collect();
        let why = outcomes.iter().find(|(_, d)| d.truth == truth && truth.is_abnormal()).and_then(|(_, d)| d.why.clone());
        let rests_on_all = (all && truth == Truth::True) || (!all && truth == Truth::False);
        let evidence = if rests_on_all {
            let rows = candidates.len() + self.unread.get(&table).copied().unwrap_or(0);
            vec![format!("{}: none of {rows} rows {}", table.name(), if all { "violates it" } else { "matches" })]
        } else {
            shown(&deciding, table, "decides")
        };
        Decision { truth, why, evidence }
    }

    /// The rows that a quantifier ranges over.
    fn candidates(&self, table: TableId, only: &[Box<str>]) -> Result<Vec<&'s Row>, Abnormal> {
        let rows = self.rows(table)?;
        if only.is_empty() {
            return Ok(rows.iter().collect());
        }
        let mut worst: Option<Abnormal> = None;
        for pattern in only {
            if let Err(a) = self.asked(table, pattern)
                && worst.as_ref().is_none_or(|w| a.truth > w.truth)
            {
                worst = Some(a);
            }
        }
        if let Some(a) = worst {
            return Err(a);
        }
        Ok(rows.iter().filter(|r| r.values[0].as_str().is_some_and(|p| only.iter().any(|o| pattern_matches(o, p)))).collect())
    }

    /// The rows for which the body is true; abnormal if it is for any.
    fn matching(&self, candidates: &[&'s Row], body: &Ir, rows: &mut Vec<&'s Row>) -> Result<Vec<&'s Row>, Abnormal> {
        let mut matching = Vec::new();
        let mut worst: Option<Abnormal> = None;
        for row in candidates {
            rows.push(row);
            let d = self.decide(body, rows);
            rows.pop();
            match d.truth {
                Truth::True => matching.push(*row),
                Truth::False => {}
                truth if worst.as_ref().is_none_or(|w| truth > w.truth) => {
                    worst = Some(Abnormal { truth, why: d.why.unwrap_or_default() });
                }
                _ => {}
            }
        }
        worst.map_or(Ok(matching), Err)
    }

    fn rows(&self, table: TableId) -> Result<&'s [Row], Abnormal> {
        match self.scan.tables.get(&table) {
            None => abnormal(Truth::NotCollected, format!("table `{}` was not collected", table.name())),
            Some(TableData::Failed(why)) => abnormal(Truth::Error, format!("table `{}` could not be collected: {why}", table.name())),
            Some(TableData::Rows(rows)) => Ok(rows),
        }
    }

    /// INVARIANT: not collected is not compliant. Fine only if the scan says that the item was looked at.
    fn asked(&self, table: TableId, item: &str) -> Result<(), Abnormal> {
        let Some(scope) = TableId::by_name("scope") else { return Ok(()) };
        let key = [Cow::Borrowed(table.name()), Cow::Owned(item.to_owned())];
        let Some(row) = self.find(scope, &key)? else {
            return abnormal(Truth::NotCollected, format!("`{item}` was not looked at for table `{}`", table.name()));
        };
        match row.get("state").as_str() {
            Some("error") => {
                let why = row.get("message").as_str().unwrap_or("no reason given");
                abnormal(Truth::Unknown, format!("`{item}` could not be read: {why}"))
            }
            None if row.error.is_some() => abnormal(Truth::Unknown, format!("{row} could not be read")),
            _ => Ok(()),
        }
    }

    fn key(&self, key: &[Ir], rows: &mut Vec<&'s Row>) -> Result<Vec<Cow<'s, str>>, Abnormal> {
        let mut parts = Ok(Vec::new());
        for part in key {
            parts = both(parts, self.string(part, rows)).map(|(mut all, s)| {
                all.push(s);
                all
            });
        }
        parts
    }

    /// The row with a key: `Ok(None)` when it is known not to be there.
    fn find(&self, table: TableId, key: &[Cow<'s, str>]) -> Result<Option<&'s Row>, Abnormal> {
        let spec = table.table();
        let rows = self.rows(table)?;
        let same = |r: &&Row| {
            r.key().iter().zip(key).all(|(have, want)| match have.as_str() {
                Some(have) if spec.fold_case => have == want.to_lowercase(),
                Some(have) => have == want,
                None => false,
            })
        };
        let mut found = rows.iter().filter(same);
        match (found.next(), found.next()) {
            (Some(row), None) => Ok(Some(row)),
            (Some(_), Some(_)) => abnormal(Truth::Error, format!("several rows of table `{}` have the key {}", spec.name, key.join(", "))),
            (None, _) => {
                if let (Extent::Asked, Some(item)) = (spec.extent, key.first()) {
                    let item = if spec.fold_case { Cow::Owned(item.to_lowercase()) } else { item.clone() };
                    self.asked(table, &item)?;
                }
                Ok(None)
            }
        }
    }

    fn cell(row: &'s Row, column: u8) -> Eval<'s> {
        match &row.values[usize::from(column)] {
            Value::Str(s) => Ok(Val::Str(Cow::Borrowed(s))),
            Value::Int(n) => Ok(Val::Int(*n)),
            Value::Bool(b) => Ok(Val::Bool(*b)),
            Value::Null => {
                let name = row.table.table().columns[usize::from(column)].name;
                match &row.error {
                    Some(why) => abnormal(Truth::Unknown, format!("column `{name}` of {row} could not be read: {why}")),
                    None => abnormal(Truth::Missing, format!("{row} has no `{name}`")),
                }
            }
        }
    }

    fn has_cell(row: &Row, column: u8) -> Eval<'s> {
        match (&row.values[usize::from(column)], &row.error) {
            (Value::Null, Some(why)) => abnormal(Truth::Unknown, format!("{row} could not be read: {why}")),
            (value, _) => Ok(Val::Bool(*value != Value::Null)),
        }
    }

    fn slot(rows: &[&'s Row], slot: u8) -> Result<&'s Row, Abnormal> {
        rows.get(usize::from(slot)).copied().ok_or_else(|| Abnormal { truth: Truth::Error, why: "no such row variable".to_owned() })
    }

    fn string(&self, ir: &Ir, rows: &mut Vec<&'s Row>) -> Result<Cow<'s, str>, Abnormal> {
        match self.value(ir, rows)? {
            Val::Str(s) => Ok(s),
            _ => abnormal(Truth::Error, "not a string"),
        }
    }

    fn value(&self, ir: &Ir, rows: &mut Vec<&'s Row>) -> Eval<'s> {
        match ir {
            Ir::Bool(b) => Ok(Val::Bool(*b)),
            Ir::Int(n) => Ok(Val::Int(*n)),
            Ir::Str(s) => Ok(Val::Str(Cow::Owned(s.to_string()))),
            Ir::List(items) => self.list(items, rows),
            Ir::Column { slot, column, .. } => Self::cell(Self::slot(rows, *slot)?, *column),
            Ir::HasColumn { slot, column, .. } => Self::has_cell(Self::slot(rows, *slot)?, *column),
            Ir::Lookup { table, key, column } => {
                let key = self.key(key, rows)?;
                match self.find(*table, &key)? {
                    Some(row) => Self::cell(row, *column),
                    None => abnormal(Truth::Missing, format!("{} is not there", name_key(*table, &key))),
                }
            }
            Ir::HasRow { table, key } => Ok(Val::Bool(self.find(*table, &self.key(key, rows)?)?.is_some())),
            Ir::HasCell { table, key, column } => match self.find(*table, &self.key(key, rows)?)? {
                Some(row) => Self::has_cell(row, *column),
                None => Ok(Val::Bool(false)),
            },
            Ir::Compare(op, a, b) => {
                let (a, b) = both(self.value(a, rows), self.value(b, rows))?;
                compare(*op, &a, &b)
            }
            Ir::In(item, list) => {
                let (item, list) = both(self.value(item, rows), self.value(list, rows))?;
                member(&item, &list)
            }
            Ir::Arith(op, a, b) => {
                let (a, b) = both(self.value(a, rows), self.value(b, rows))?;
                arithmetic(*op, &a, &b)
            }
            Ir::Negate(a) => match self.value(a, rows)? {
                Val::Int(n) => n.checked_neg().map(Val::Int).map_or_else(|| abnormal(Truth::Error, "integer overflow"), Ok),
                _ => abnormal(Truth::Error, "not a number"),
            },
            Ir::Call(func, args) => self.call(*func, args, rows),
            Ir::Matches(text, pattern) => {
                let text = self.string(text, rows)?;
                match compile_pattern(pattern) {
                    Ok(regex) => Ok(Val::Bool(regex.is_match(text.as_bytes()))),
                    Err(why) => abnormal(Truth::Error, why),
                }
            }
            Ir::Version(scheme, text) => Ok(Val::Version(*scheme, self.string(text, rows)?)),
            Ir::Count { table, only, body, .. } => {
                let candidates = self.candidates(*table, only)?;
                let n = self.matching(&candidates, body, rows)?.len();
                Ok(Val::Int(i64::try_from(n).unwrap_or(i64::MAX)))
            }
            Ir::Select(condition, then, otherwise) => match self.value(condition, rows)? {
                Val::Bool(true) => self.value(then, rows),
                Val::Bool(false) => self.value(otherwise, rows),
                _ => abnormal(Truth::Error, "not a condition"),
            },
            Ir::Not(_) | Ir::And(_) | Ir::Or(_) | Ir::Quant { .. } => {
                let d = self.decide(ir, rows);
                match d.truth {
                    Truth::True => Ok(Val::Bool(true)),
                    Truth::False => Ok(Val::Bool(false)),
                    truth => abnormal(truth, d.why.unwrap_or_default()),
                }
            }
        }
    }

    fn list(&self, items: &[Ir], rows: &mut Vec<&'s Row>) -> Eval<'s> {
        let mut strings = Vec::new();
        let mut ints = Vec::new();
        for item in items {
            match self.value(item, rows)? {
                Val::Str(s) => strings.push(s),
                Val::Int(n) => ints.push(n),
                _ => return abnormal(Truth::Error, "a list of something else than strings or numbers"),
            }
        }
        Ok(if ints.is_empty() { Val::StrList(strings) } else { Val::IntList(ints) })
    }

    fn call(&self, func: Func, args: &[Ir], rows: &mut Vec<&'s Row>) -> Eval<'s> {
        let (a, b) = match args {
            [a] => (self.value(a, rows)?, None),
            [a, b] => {
                let (a, b) = both(self.value(a, rows), self.value(b, rows))?;
                (a, Some(b))
            }
            _ => return abnormal(Truth::Error, "wrong number of arguments"),
        };
        Ok(match (func, a, b) {
            (Func::StartsWith, Val::Str(a), Some(Val::Str(b))) => Val::Bool(a.starts_with(&*b)),
            (Func::EndsWith, Val::Str(a), Some(Val::Str(b))) => Val::Bool(a.ends_with(&*b)),
            (Func::Contains, Val::Str(a), Some(Val::Str(b))) => Val::Bool(a.contains(&*b)),
            (Func::Lower, Val::Str(a), None) => Val::Str(a.to_ascii_lowercase().into()),
            (Func::Trim, Val::Str(a), None) => Val::Str(a.trim().to_owned().into()),
            (Func::Concat, Val::Str(a), Some(Val::Str(b))) => Val::Str(format!("{a}{b}").into()),
            (Func::StrSize, Val::Str(a), None) => Val::Int(i64::try_from(a.chars().count()).unwrap_or(i64::MAX)),
            (Func::ListSize, Val::StrList(a), None) => Val::Int(i64::try_from(a.len()).unwrap_or(i64::MAX)),
            (Func::ListSize, Val::IntList(a), None) => Val::Int(i64::try_from(a.len()).unwrap_or(i64::MAX)),
            (Func::Split, Val::Str(a), Some(Val::Str(b))) => Val::StrList(split(&a, &b).map(|s| Cow::Owned(s.to_owned())).collect()),
            (Func::AtMost, Val::Int(a), Some(Val::Int(b))) => Val::Bool(a & !b == 0),
            (Func::ModeOf, Val::Str(a), None) => match parse_mode(a.trim()) {
                Some(mode) => Val::Int(mode),
                None => return abnormal(Truth::Error, format!("`{a}` is not an octal mode")),
            },
            (Func::IntOf, Val::Str(a), None) => match a.trim().parse() {
                Ok(n) => Val::Int(n),
                Err(_) => return abnormal(Truth::Error, format!("`{a}` is not a number")),
            },
            _ => return abnormal(Truth::Error, "wrong type of argument"),
        })
    }

    /// The rows that a leaf reads by key.
    fn evidence(&self, leaf: &Ir, rows: &[&'s Row], out: &mut Vec<String>) {
        let mut lookups = BTreeMap::new();
        leaf.walk(&mut |node| {
            if let Ir::Lookup { table, key, .. } | Ir::HasRow { table, key } | Ir::HasCell { table, key, .. } = node
                && let Ok(key) = self.key(key, &mut rows.to_vec())
                && let Ok(found) = self.find(*table, &key)
            {
                let said = found.map_or_else(|| format!("{}: not there", name_key(*table, &key)), Row::to_string);
                lookups.insert((*table, key), said);
            }
            // Those inside a body of their own have rows that are not at hand here.
            if let Ir::Count { table, only, body, slot } = node
                && usize::from(*slot) == rows.len()
                && let Ok(candidates) = self.candidates(*table, only)
                && let Ok(matching) = self.matching(&candidates, body, &mut rows.to_vec())
            {
                out.extend(shown(&matching, *table, "counts"));
            }
        });
        out.extend(lookups.into_values());
    }
}

/// The parts of a string between separators; an empty separator splits nothing.
pub fn split<'a>(text: &'a str, separator: &'a str) -> impl Iterator<Item = &'a str> {
    let whole = separator.is_empty().then_some(text);
    let parts = (!separator.is_empty()).then(|| text.split(separator));
    whole.into_iter().chain(parts.into_iter().flatten())
}

fn name_key(table: TableId, key: &[Cow<'_, str>]) -> String {
    let parts: Vec<String> = key.iter().map(|k| format!("[\"{k}\"]")).collect();
    format!("{}{}", table.name(), parts.concat())
}

fn shown(rows: &[&Row], table: TableId, what: &str) -> Vec<String> {
    let mut out: Vec<String> = rows.iter().take(EVIDENCE_MAX).map(|r| r.to_string()).collect();
    if rows.is_empty() {
        out.push(format!("{}: no row {what}", table.name()));
    } else if rows.len() > EVIDENCE_MAX {
        out.push(format!("{}: and {} more", table.name(), rows.len() - EVIDENCE_MAX));
    }
    out
}

fn compare<'s>(op: Cmp, a: &Val<'s>, b: &Val<'s>) -> Eval<'s> {
    let ordering = match (a, b) {
        (Val::Int(a), Val::Int(b)) => a.cmp(b),
        (Val::Str(a), Val::Str(b)) => a.cmp(b),
        (Val::Bool(a), Val::Bool(b)) => a.cmp(b),
        (Val::Version(scheme, a), Val::Version(other, b)) if scheme == other => scheme.compare(a, b),
        _ => return abnormal(Truth::Error, "values of different types"),
    };
    Ok(Val::Bool(holds(op, ordering)))
}

/// Whether a comparison holds for operands in this order.
pub fn holds(op: Cmp, ordering: Ordering) -> bool {
    match op {
        Cmp::Eq => ordering.is_eq(),
        Cmp::Ne => ordering.is_ne(),
        Cmp::Lt => ordering.is_lt(),
        Cmp::Le => ordering.is_le(),
        Cmp::Gt => ordering.is_gt(),
        Cmp::Ge => ordering.is_ge(),
    }
}

fn member<'s>(item: &Val<'s>, list: &Val<'s>) -> Eval<'s> {
    Ok(Val::Bool(match (item, list) {
        (Val::Str(s), Val::StrList(list)) => list.contains(s),
        (Val::Int(n), Val::IntList(list)) => list.contains(n),
        // An empty literal list has no type of its own.
        (_, Val::StrList(list)) => !list.is_empty() && return abnormal(Truth::Error, "values of different types"),
        _ => return abnormal(Truth::Error, "values of different types"),
    }))
}

/// Checked integer arithmetic, `None` for overflow and division by zero.
pub fn checked(op: Arith, a: i64, b: i64) -> Option<i64> {
    match op {
        Arith::Add => a.checked_add(b),
        Arith::Sub => a.checked_sub(b),
        Arith::Mul => a.checked_mul(b),
        Arith::Div => a.checked_div(b),
        Arith::Rem => a.checked_rem(b),
    }
}

fn arithmetic<'s>(op: Arith, a: &Val<'s>, b: &Val<'s>) -> Eval<'s> {
    let (Val::Int(a), Val::Int(b)) = (a, b) else { return abnormal(Truth::Error, "not a number") };
    checked(op, *a, *b).map(Val::Int).map_or_else(|| abnormal(Truth::Error, format!("{a} and {b}: overflow or division by zero")), Ok)
}
