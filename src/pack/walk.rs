//! A rule's programs for people: `rule -> its leaves, each with the condition it stands for and how it is answered`.

use super::code::Reader;
use super::program::op;
use super::wire::{self, Section, stable_hash, u32_at, u64_at};
use super::{Pack, Plan, RuleId, Term, TermId};
use crate::rule::ir::Ir;
use crate::scan::table::TableId;

/// One leaf of a program.
#[derive(Debug)]
pub struct Part<'p> {
    /// What it asks, typed.
    pub condition: &'p Ir,
    pub answer: Answer,
}

#[derive(Debug)]
pub enum Answer {
    /// By a term, if the terms under `scopes` say that its items were looked at.
    Term { id: TermId, scopes: Vec<TermId> },
    /// By running the condition over the whole scan of each endpoint.
    Endpoint,
}

/// The leaves of both programs of a rule, in order; constants are left out.
#[derive(Debug)]
pub struct Parts<'p> {
    pub applies: Vec<Part<'p>>,
    pub check: Vec<Part<'p>>,
}

impl<'p> Parts<'p> {
    pub fn all(&self) -> impl Iterator<Item = &Part<'p>> {
        self.applies.iter().chain(&self.check)
    }
}

impl Pack {
    /// The parts of a rule's programs.
    pub fn parts(&self, rule: RuleId) -> Parts<'_> {
        let (r, meta) = (self.rule(rule), self.meta(rule));
        Parts { applies: self.program_parts(r.applies, &meta.applies_ir), check: self.program_parts(r.check, &meta.check_ir) }
    }

    fn program_parts<'p>(&self, code: (u32, u32), condition: &'p Ir) -> Vec<Part<'p>> {
        let mut conditions = Vec::new();
        leaves(condition, &mut conditions);
        let answers = answers(self.code(code)).unwrap_or_default();
        // The compiler makes one step of each leaf, in order.
        conditions.into_iter().zip(answers).map(|(condition, answer)| Part { condition, answer }).collect()
    }

    /// The values or the literal that a term's plan looks for; none for the other plans.
    pub fn plan_values(&self, id: TermId) -> Vec<&str> {
        let term = self.term(id);
        match term.plan {
            Plan::Key | Plan::Each => Vec::new(),
            Plan::Literal(_) => {
                let records = self.section(Section::Literals).chunks_exact(12);
                records.filter(|r| u32_at(r, 8) == id).map(|r| self.string(u32_at(r, 4))).collect()
            }
            Plan::Equal(_) => {
                // The index holds hashes; the values themselves are among the strings, as the predicate compares them.
                let records = self.section(Section::Index).chunks_exact(16).filter(|r| u32_at(r, 4) == id);
                let hashes: Vec<u64> = records.map(|r| u64_at(r, 8)).collect();
                let strings = (0u32..).take(self.count(Section::StringEnds) - 1).map(|s| self.string(s));
                strings.filter(|s| hashes.contains(&stable_hash([*s]))).collect()
            }
        }
    }

    /// How the rows of a term are found, in words.
    pub fn plan_words(&self, id: TermId) -> String {
        let term = self.term(id);
        let (table, column) = (term.table.name(), |c: u8| term.table.table().columns.get(usize::from(c)).map_or("?", |c| c.name));
        let values = || self.plan_values(id).iter().map(|v| format!("\"{v}\"")).collect::<Vec<_>>();
        match term.plan {
            Plan::Key if self.term_key(&term).is_empty() => format!("the one row of `{table}`"),
            Plan::Key => "by key".to_owned(),
            Plan::Equal(c) => match values().as_slice() {
                [value] => format!("by {} = {value}", column(c)),
                values => format!("by {} in {}", column(c), values.join(", ")),
            },
            Plan::Literal(c) => format!("by literal {} in {}, all literals in one pass", values().join(", "), column(c)),
            Plan::Each => format!("every new row of `{table}`"),
        }
    }

    /// How the rows of a table are found to which some of these terms have something to say: those with such a value in a column, or such a key
    /// ([`super::WHOLE_KEY`]), and those without a value there. The values are hashes, as [`super::hash_of`] makes them. `None`: any row may be one.
    pub fn finds(&self, table: TableId, wanted: impl Fn(TermId) -> bool) -> Option<Vec<(u8, u64)>> {
        let of_table = |slot: u32| slot.to_le_bytes()[1] == table.0;
        let each = self.section(Section::Each).chunks_exact(8).any(|r| u32_at(r, 0) == u32::from(table.0) && wanted(u32_at(r, 4)));
        let literal = self.section(Section::Literals).chunks_exact(12).any(|r| of_table(u32_at(r, 0)) && wanted(u32_at(r, 8)));
        if each || literal {
            return None;
        }
        let records = self.section(Section::Index).chunks_exact(16).filter(|r| of_table(u32_at(r, 0)) && wanted(u32_at(r, 4)));
        let mut found: Vec<(u8, u64)> = records.map(|r| (u32_at(r, 0).to_le_bytes()[0], u64_at(r, 8))).collect();
        found.sort_unstable();
        found.dedup();
        Some(found)
    }

    pub fn join_count(&self) -> usize {
        self.count(Section::Joins)
    }

    pub fn terms(&self) -> impl Iterator<Item = (TermId, Term)> + '_ {
        (0..TermId::try_from(self.term_count()).unwrap_or(wire::NONE)).map(|id| (id, self.term(id)))
    }
}

/// The leaves of a condition as `compile` cuts it.
fn leaves<'i>(ir: &'i Ir, out: &mut Vec<&'i Ir>) {
    match ir {
        Ir::Bool(_) => {}
        Ir::Not(a) => leaves(a, out),
        Ir::And(items) | Ir::Or(items) => items.iter().for_each(|i| leaves(i, out)),
        Ir::Select(a, b, c) => [a, b, c].into_iter().for_each(|i| leaves(i, out)),
        leaf => out.push(leaf),
    }
}

/// The leaf steps of a program, in order.
fn answers(code: &[u8]) -> Option<Vec<Answer>> {
    let mut reader = Reader::new(code);
    let mut out = Vec::new();
    while !reader.is_done() {
        match reader.u8()? {
            op::CONST => drop(reader.u8()?),
            op::TERM => out.push(Answer::Term { id: reader.u32()?, scopes: Vec::new() }),
            op::ASKED => {
                let (id, scope, _) = (reader.u32()?, reader.u32()?, reader.u8()?);
                out.push(Answer::Term { id, scopes: vec![scope] });
            }
            op::KEYED => {
                let (id, _) = (reader.u32()?, reader.u8()?);
                out.push(Answer::Term { id, scopes: Vec::new() });
            }
            op::GUARDED => {
                let (id, n) = (reader.u32()?, reader.u16()?);
                let scopes = (0..n).map(|_| reader.u32()).collect::<Option<Vec<_>>>()?;
                out.push(Answer::Term { id, scopes });
            }
            op::JOIN => {
                reader.u32()?;
                out.push(Answer::Endpoint);
            }
            op::NOT | op::AND | op::OR | op::SELECT => {}
            _ => return None,
        }
    }
    Some(out)
}
