//! What cannot be stored compiled: automata, rebuilt from their sources when a pack is opened.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;
use rayon::prelude::*;
use regex::bytes::Regex;

use super::wire::{PackError, u32_at};
use super::{Pack, Section, TermId};
use crate::rule::check::compile_pattern;
use crate::scan::table::TableId;
use crate::scan::{Row, Value};

/// Regular expressions by number, and for each column all the literals that predicates require in it.
#[derive(Default)]
pub(super) struct Matcher {
    patterns: Vec<Regex>,
    /// The columns of each table that have literals.
    literals: BTreeMap<TableId, Vec<(usize, Literals)>>,
    /// The slots of each table that the index knows.
    indexed: BTreeMap<TableId, Vec<u32>>,
}

struct Literals {
    automaton: AhoCorasick,
    /// The term of each literal.
    terms: Vec<TermId>,
}

impl Matcher {
    pub(super) fn build(pack: &Pack) -> Result<Matcher, PackError> {
        let damaged = |e: String| PackError::Damaged(e);
        let sources: Vec<&str> = (0..pack.count(Section::Patterns)).map(|i| pack.string(pack.u32_at(Section::Patterns, i))).collect();
        let patterns = sources.par_iter().map(|p| compile_pattern(p)).collect::<Result<_, _>>().map_err(damaged)?;
        let mut by_slot: BTreeMap<u32, (Vec<&str>, Vec<TermId>)> = BTreeMap::new();
        for r in pack.section(Section::Literals).chunks_exact(12) {
            let (texts, terms) = by_slot.entry(u32_at(r, 0)).or_default();
            texts.push(pack.string(u32_at(r, 4)));
            terms.push(u32_at(r, 8));
        }
        let mut literals: BTreeMap<TableId, Vec<(usize, Literals)>> = BTreeMap::new();
        for (slot, (texts, terms)) in by_slot {
            let automaton = AhoCorasick::new(texts).map_err(|e| damaged(e.to_string()))?;
            let [column, table, _, _] = slot.to_le_bytes();
            literals.entry(TableId(table)).or_default().push((usize::from(column), Literals { automaton, terms }));
        }
        let mut indexed: BTreeMap<TableId, Vec<u32>> = BTreeMap::new();
        for r in pack.section(Section::Index).chunks_exact(16) {
            let slot = u32_at(r, 0);
            let slots = indexed.entry(TableId(slot.to_le_bytes()[1])).or_default();
            if slots.last() != Some(&slot) {
                slots.push(slot);
            }
        }
        Ok(Matcher { patterns, literals, indexed })
    }

    /// The slots of a table that the index has terms for.
    pub(super) fn indexed(&self, table: TableId) -> &[u32] {
        self.indexed.get(&table).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_match(&self, pattern: usize, text: &str) -> bool {
        self.patterns.get(pattern).is_some_and(|p| p.is_match(text.as_bytes()))
    }

    /// Adds the terms whose literal is in a column of the row; all of the column's when it is absent, as that makes them abnormal.
    pub(super) fn find(&self, row: &Row, out: &mut Vec<TermId>) {
        for (column, literals) in self.literals.get(&row.table).into_iter().flatten() {
            match row.values.get(*column).and_then(Value::as_str) {
                Some(text) => out.extend(literals.automaton.find_overlapping_iter(text).map(|m| literals.terms[m.pattern().as_usize()])),
                None => out.extend(&literals.terms),
            }
        }
    }
}
