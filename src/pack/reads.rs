//! Which rules read which terms: when few rows of an endpoint changed, only the rules that read what those rows say are judged again.

use super::{Pack, RuleId, TermId, program};

/// Made from the programs when a pack is opened.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// The terms that each rule reads.
    terms: Lists<TermId>,
    /// The rules that read each term.
    rules: Lists<RuleId>,
    /// The rules that read answers of endpoint-level programs, sorted.
    joined: Vec<RuleId>,
    /// The rules that read results of endpoint-level OVAL tests, sorted. Which rows those depend on, their terms say.
    endpoint: Vec<RuleId>,
}

impl Reads {
    pub(super) fn of(pack: &Pack) -> Reads {
        let mut reads = Reads::default();
        let mut read: Vec<(TermId, RuleId)> = Vec::new();
        for rule in pack.rules() {
            let (mut terms, r) = (Vec::new(), pack.rule(rule));
            let applies = program::reads(pack.code(r.applies), &mut terms);
            let check = program::reads(pack.code(r.check), &mut terms);
            if applies || check {
                reads.joined.push(rule);
            }
            if let Some(place) = r.scap
                && pack.scap.reads(place, &mut terms)
            {
                reads.endpoint.push(rule);
            }
            terms.sort_unstable();
            terms.dedup();
            read.extend(terms.iter().map(|term| (*term, rule)));
            reads.terms.push(terms);
        }
        read.sort_unstable();
        let mut read = read.into_iter().peekable();
        for term in (0..).take(pack.term_count()) {
            let of = std::iter::from_fn(|| read.next_if(|(t, _)| *t == term).map(|(_, rule)| rule));
            reads.rules.push(of);
        }
        reads
    }
}

impl Pack {
    /// The rules that read a term.
    pub fn readers(&self, term: TermId) -> &[RuleId] {
        self.reads.rules.get(super::wire::index(term))
    }

    /// The terms that a rule reads, sorted.
    pub fn read_by(&self, rule: RuleId) -> &[TermId] {
        self.reads.terms.get(rule.index())
    }

    /// The rules that read answers of endpoint-level programs, sorted.
    pub fn joined_rules(&self) -> &[RuleId] {
        &self.reads.joined
    }

    /// Whether a rule needs [`Pack::run_joins`].
    pub fn needs_joins(&self, rule: RuleId) -> bool {
        self.reads.joined.binary_search(&rule).is_ok() || self.reads.endpoint.binary_search(&rule).is_ok()
    }
}

/// Many short lists in one.
#[derive(Debug)]
struct Lists<T> {
    items: Vec<T>,
    ends: Vec<usize>,
}

impl<T> Default for Lists<T> {
    fn default() -> Lists<T> {
        Lists { items: Vec::new(), ends: Vec::new() }
    }
}

impl<T> Lists<T> {
    fn push(&mut self, list: impl IntoIterator<Item = T>) {
        self.items.extend(list);
        self.ends.push(self.items.len());
    }

    fn get(&self, at: usize) -> &[T] {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.items[from..self.ends[at]]
    }
}
