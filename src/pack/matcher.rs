//! What cannot be stored compiled: automata, rebuilt from their sources when a pack is opened.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;
use rayon::prelude::*;
use regex::bytes::Regex;

use super::wire::{PackError, u32_at};
use super::{Pack, Section, TermId};
use crate::rule::check::compile_pattern;

/// Regular expressions by number, and for each column all the literals that predicates require in it.
#[derive(Default)]
pub(super) struct Matcher {
    patterns: Vec<Regex>,
    literals: BTreeMap<u32, Literals>,
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
        let literals = by_slot
            .into_iter()
            .map(|(slot, (texts, terms))| {
                Ok((slot, Literals { automaton: AhoCorasick::new(texts).map_err(|e| damaged(e.to_string()))?, terms }))
            })
            .collect::<Result<_, PackError>>()?;
        Ok(Matcher { patterns, literals })
    }

    pub(super) fn is_match(&self, pattern: usize, text: &str) -> bool {
        self.patterns.get(pattern).is_some_and(|p| p.is_match(text.as_bytes()))
    }

    /// Adds the terms whose literal is in the text; all of the column's when there is no text, as that makes them abnormal.
    pub(super) fn find(&self, slot: u32, text: Option<&str>, out: &mut Vec<TermId>) {
        let Some(literals) = self.literals.get(&slot) else { return };
        match text {
            Some(text) => out.extend(literals.automaton.find_overlapping_iter(text).map(|m| literals.terms[m.pattern().as_usize()])),
            None => out.extend(&literals.terms),
        }
    }
}
