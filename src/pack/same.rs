//! What two packs have in common: `old pack, new pack -> rules that ask the same, terms of both that are one question`.
//!
//! Rules are the same when their typed forms are. The compiler makes the same programs of the same forms, so the terms that such a rule reads in the one pack and in the
//! other correspond place by place, and what rows said to the one they say to the other. Byte code is never compared: it names strings by their place in its own file.

use std::collections::BTreeMap;

use super::wire::{Section, index};
use super::{Pack, RuleId, RuleMeta, TermId, program};

/// Rules and terms of a new pack that an old one has too.
#[derive(Clone, Debug, Default)]
pub struct Same {
    /// By term of the old pack.
    terms: Vec<Option<TermId>>,
    /// By term of the new pack: whether the old one has it not.
    fresh: Vec<bool>,
    /// By rule of the new pack.
    rules: Vec<Option<RuleId>>,
}

impl Same {
    pub fn of(old: &Pack, new: &Pack) -> Same {
        let mut same =
            Same { terms: vec![None; old.term_count()], fresh: vec![true; new.term_count()], rules: vec![None; new.rule_count()] };
        if old.digest() == new.digest() {
            same.terms = (0..).map(Some).take(old.term_count()).collect();
            same.fresh.fill(false);
            same.rules = new.rules().map(Some).collect();
            return same;
        }
        for rule in new.rules() {
            let before = old.find(new.rule_id(rule)).filter(|before| asks_alike(old, *before, new, rule));
            if let Some(before) = before.filter(|before| same.take_terms(old, *before, new, rule))
                && let Some(place) = same.rules.get_mut(rule.index())
            {
                *place = Some(before);
            }
        }
        same
    }

    /// The term of the new pack that asks what one of the old pack does.
    pub fn term(&self, old: TermId) -> Option<TermId> {
        self.terms.get(index(old)).copied().flatten()
    }

    /// The rule of the old pack, of the same id, that asks what one of the new pack does.
    pub fn rule(&self, new: RuleId) -> Option<RuleId> {
        self.rules.get(new.index()).copied().flatten()
    }

    /// By term of the new pack: whether rows must be asked.
    pub fn fresh(&self) -> &[bool] {
        &self.fresh
    }

    /// Takes the terms of two rules that ask the same as the same, if that goes with what is known. INVARIANT: a term of one pack is at most one of the other:
    /// what a row said once must not be carried over twice.
    fn take_terms(&mut self, old: &Pack, before: RuleId, new: &Pack, rule: RuleId) -> bool {
        let (from, to) = (in_order(old, before), in_order(new, rule));
        if from.len() != to.len() {
            return false;
        }
        let mut pairs: BTreeMap<TermId, TermId> = BTreeMap::new();
        for (from, to) in from.into_iter().zip(to) {
            let known = self.term(from).or_else(|| pairs.get(&from).copied());
            let taken = !self.fresh.get(index(to)).copied().unwrap_or(false) || pairs.values().any(|t| *t == to);
            let fits = match known {
                Some(known) => known == to,
                None => !taken && are_alike(old, from, new, to),
            };
            if !fits {
                return false;
            }
            pairs.insert(from, to);
        }
        for (from, to) in pairs {
            if let (Some(place), Some(fresh)) = (self.terms.get_mut(index(from)), self.fresh.get_mut(index(to))) {
                (*place, *fresh) = (Some(to), false);
            }
        }
        true
    }
}

/// Whether two rules have the same verdict wherever rows say the same.
fn asks_alike(old: &Pack, before: RuleId, new: &Pack, rule: RuleId) -> bool {
    let (a, b) = (old.rule(before), new.rule(rule));
    if a.missing != b.missing || a.requirement != b.requirement {
        return false;
    }
    match (a.scap, b.scap) {
        (Some((of, item)), Some((other, same))) => item == same && baseline(old, of) == baseline(new, other),
        (None, None) => {
            let (a, b) = (old.string(a.meta), new.string(b.meta));
            let read = |text: &str| serde_json::from_str::<RuleMeta>(text).ok().map(|m| (m.applies_ir, m.check_ir));
            a == b || read(a).is_some_and(|a| read(b).is_some_and(|b| a == b))
        }
        _ => false,
    }
}

/// A SCAP baseline as it is stored.
fn baseline(pack: &Pack, number: u32) -> Option<&str> {
    (index(number) < pack.count(Section::Baselines)).then(|| pack.string(pack.u32_at(Section::Baselines, index(number))))
}

/// The terms that a rule reads, in the order in which its programs do.
fn in_order(pack: &Pack, rule: RuleId) -> Vec<TermId> {
    let (mut terms, r) = (Vec::new(), pack.rule(rule));
    program::reads(pack.code(r.applies), &mut terms);
    program::reads(pack.code(r.check), &mut terms);
    if let Some(place) = r.scap {
        pack.scap.reads(place, &mut terms);
    }
    terms
}

fn are_alike(old: &Pack, from: TermId, new: &Pack, to: TermId) -> bool {
    let (a, b) = (old.term(from), new.term(to));
    a.kind == b.kind && a.table == b.table && old.term_key(&a) == new.term_key(&b)
}
