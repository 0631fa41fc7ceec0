//! Verdict classes: endpoints with the same verdicts share one vector, and counts are kept as endpoints move between them.
//!
//! INVARIANT: there is no row per endpoint and rule, in memory or on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::ops::Bound;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::judge::Verdict;
use crate::pack::RuleId;

mod runs;

pub use runs::Mask;
use runs::{Runs, Tally, Vector};

pub type ClassId = u32;

#[derive(Clone, Debug)]
struct Class {
    verdicts: Vector,
    endpoints: u32,
}

#[derive(Debug, Default)]
pub struct Classes {
    classes: BTreeMap<ClassId, Class>,
    runs: Runs,
    /// By verdicts. A swap may leave several classes with the same ones, so that endpoints can stay where they are; one of them is here.
    by_verdicts: HashTable<ClassId>,
    hasher: RandomState,
    next: ClassId,
    /// The rules that summaries count.
    counted: Mask,
    /// For each rule, how many endpoints have each verdict.
    counts: Vec<[u32; Verdict::ALL.len()]>,
    /// Classes that have a record of their own in the store.
    recorded: BTreeSet<ClassId>,
}

impl Classes {
    /// None yet, of these rules: says of each whether summaries leave it out. Ids begin at `first`.
    pub fn new(left_out: Vec<bool>, first: ClassId) -> Classes {
        let counts = vec![Default::default(); left_out.len()];
        let counted = Mask::of(left_out.into_iter().map(|left_out| !left_out));
        Classes { next: first, counts, counted, ..Classes::default() }
    }

    /// The class of a verdict vector, and whether it is new. An endpoint joins it with [`Classes::join`].
    pub fn intern(&mut self, verdicts: &[u8]) -> (ClassId, bool) {
        if let Some(id) = self.find(verdicts) {
            return (id, false);
        }
        let id = self.next;
        self.insert(id, verdicts);
        (id, true)
    }

    /// A class of a verdict vector.
    pub fn find(&self, verdicts: &[u8]) -> Option<ClassId> {
        self.find_vector(&self.runs.find(verdicts)?)
    }

    fn find_vector(&self, verdicts: &Vector) -> Option<ClassId> {
        let same = |id: &ClassId| self.classes.get(id).is_some_and(|c| c.verdicts == *verdicts);
        self.by_verdicts.find(self.hasher.hash_one(verdicts), same).copied()
    }

    /// Puts a class under an id, beside others of the same verdicts if there are any.
    pub fn insert(&mut self, id: ClassId, verdicts: &[u8]) {
        self.next = self.next.max(id.saturating_add(1));
        let verdicts = self.runs.take(verdicts);
        let known = self.find_vector(&verdicts).is_some();
        if let Some(replaced) = self.classes.insert(id, Class { verdicts, endpoints: 0 }) {
            self.runs.release(&replaced.verdicts);
        }
        if !known {
            let Classes { classes, by_verdicts, hasher, .. } = self;
            let hash = |id: &ClassId| classes.get(id).map_or(0, |c| hasher.hash_one(&c.verdicts));
            by_verdicts.insert_unique(hash(&id), id, hash);
        }
    }

    pub fn join(&mut self, id: ClassId) {
        self.count(id, 1);
    }

    /// So many endpoints each, of the whole fleet: one class at a time, each would count every rule.
    pub fn join_all(&mut self, joined: impl IntoIterator<Item = (ClassId, u32)>) {
        let Classes { classes, runs, counts, .. } = self;
        let mut tally = Tally::default();
        for (id, endpoints) in joined {
            let Some(class) = classes.get_mut(&id) else { continue };
            class.endpoints = class.endpoints.saturating_add(endpoints);
            tally.add(&class.verdicts, endpoints);
        }
        for (rule, verdict, endpoints) in runs.tallied(&tally) {
            if let Some(count) = counts.get_mut(rule).and_then(|c| c.get_mut(usize::from(verdict))) {
                *count = count.saturating_add(endpoints);
            }
        }
    }

    /// Whether the last endpoint left, and the class is gone.
    pub fn leave(&mut self, id: ClassId) -> bool {
        self.count(id, -1);
        let empty = self.classes.get(&id).is_some_and(|c| c.endpoints == 0);
        if empty {
            self.remove(id);
        }
        empty
    }

    fn remove(&mut self, id: ClassId) {
        let Some(class) = self.classes.remove(&id) else { return };
        if let Ok(found) = self.by_verdicts.find_entry(self.hasher.hash_one(&class.verdicts), |other| *other == id) {
            found.remove();
        }
        self.runs.release(&class.verdicts);
    }

    /// Forgets the classes that nobody is in.
    pub fn forget_empty(&mut self) {
        let empty: Vec<ClassId> = self.classes.iter().filter(|(_, c)| c.endpoints == 0).map(|(id, _)| *id).collect();
        empty.into_iter().for_each(|id| self.remove(id));
    }

    fn count(&mut self, id: ClassId, by: i32) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        class.endpoints = class.endpoints.saturating_add_signed(by);
        for (counts, verdict) in self.counts.iter_mut().zip(self.runs.verdicts(&class.verdicts)) {
            if let Some(count) = counts.get_mut(usize::from(verdict)) {
                *count = count.saturating_add_signed(by);
            }
        }
    }

    /// The id that the next class gets, and all ids that were given are lower.
    pub fn next_id(&self) -> ClassId {
        self.next
    }

    /// Notes that a class has a record of its own.
    pub fn record(&mut self, id: ClassId) {
        self.recorded.insert(id);
    }

    /// Whether it had one, which is gone now.
    pub fn unrecord(&mut self, id: ClassId) -> bool {
        self.recorded.remove(&id)
    }

    /// The classes with records of their own.
    pub fn recorded(&self) -> &BTreeSet<ClassId> {
        &self.recorded
    }

    /// All classes, in an order in which most differ little from the one before them.
    pub fn by_likeness(&self) -> impl Iterator<Item = (ClassId, Vec<u8>)> {
        let mut all: Vec<(ClassId, &Vector)> = self.classes.iter().map(|(id, c)| (*id, &c.verdicts)).collect();
        all.sort_by(|(_, a), (_, b)| self.runs.order(a, b));
        all.into_iter().map(|(id, vector)| (id, self.runs.verdicts(vector)))
    }

    /// The classes with a higher id, or all.
    pub fn after(&self, last: Option<ClassId>) -> impl Iterator<Item = (ClassId, Vec<u8>)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.classes.range((from, Bound::Unbounded)).map(|(id, c)| (*id, self.runs.verdicts(&c.verdicts)))
    }

    /// The highest id.
    pub fn last(&self) -> Option<ClassId> {
        self.classes.last_key_value().map(|(id, _)| *id)
    }

    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// How many of them have verdicts that no other one has before them.
    pub fn distinct(&self) -> usize {
        self.by_verdicts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    pub fn contains(&self, id: ClassId) -> bool {
        self.classes.contains_key(&id)
    }

    /// One byte a rule: a [`Verdict`].
    pub fn verdicts(&self, id: ClassId) -> Vec<u8> {
        self.classes.get(&id).map(|c| self.runs.verdicts(&c.verdicts)).unwrap_or_default()
    }

    /// Of how many rules a class has verdicts.
    pub fn rules(&self, id: ClassId) -> usize {
        self.classes.get(&id).map_or(0, |c| self.runs.len(&c.verdicts))
    }

    /// How many rules have each verdict, in the order of [`Verdict::ALL`].
    pub fn summary(&self, id: ClassId) -> [u32; Verdict::ALL.len()] {
        self.count_of(id, Verdict::ALL.map(|verdict| (verdict, &self.counted)))
    }

    /// For each verdict, how many of these rules have it.
    pub fn count_of<const N: usize>(&self, id: ClassId, asked: [(Verdict, &Mask); N]) -> [u32; N] {
        let asked = asked.map(|(verdict, among)| (verdict as u8, among));
        self.classes.get(&id).map_or([0; N], |c| self.runs.count(&c.verdicts, asked))
    }

    pub fn verdict(&self, id: ClassId, rule: RuleId) -> Verdict {
        let byte = self.classes.get(&id).and_then(|c| self.runs.get(&c.verdicts, rule.index()));
        byte.and_then(Verdict::from_u8).unwrap_or(Verdict::NotChecked)
    }

    /// How many endpoints are in any class.
    pub fn held(&self) -> usize {
        self.classes.values().map(|c| c.endpoints as usize).sum()
    }

    /// How many endpoints have this verdict of a rule.
    pub fn endpoints(&self, rule: RuleId, verdict: Verdict) -> u32 {
        self.counts.get(rule.index()).map_or(0, |c| c[verdict as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_the_endpoints() {
        let mut classes = Classes::new(vec![false, true], 0);
        let (a, fresh) = classes.intern(&[0, 1]);
        assert!(fresh);
        let (b, _) = classes.intern(&[1, 1]);
        classes.join_all([(a, 2), (b, 1), (77, 1)]);
        assert_eq!((classes.summary(a)[0], classes.summary(a).iter().sum::<u32>()), (1, 1));
        assert_eq!(classes.intern(&[0, 1]), (a, false));
        assert_eq!(classes.endpoints(RuleId(0), Verdict::Pass), 2);
        assert_eq!(classes.endpoints(RuleId(1), Verdict::Fail), 3);
        assert!(!classes.leave(a));
        assert!(classes.leave(a));
        assert_eq!(classes.endpoints(RuleId(0), Verdict::Pass), 0);
        assert_eq!(classes.endpoints(RuleId(0), Verdict::Fail), 1);
        assert_eq!(classes.verdict(b, RuleId(1)), Verdict::Fail);
    }

    #[test]
    fn classes_with_the_same_verdicts_may_stand_side_by_side() {
        let mut classes = Classes::new(vec![false], 3);
        classes.insert(1, &[1]);
        classes.insert(2, &[1]);
        classes.join(1);
        classes.join(2);
        assert_eq!((classes.len(), classes.distinct(), classes.intern(&[1])), (2, 1, (1, false)));
        assert_eq!(classes.next_id(), 3);
        assert_eq!(classes.intern(&[0]), (3, true));
        assert!(classes.leave(1));
        assert_eq!((classes.endpoints(RuleId(0), Verdict::Fail), classes.verdict(2, RuleId(0))), (1, Verdict::Fail));
        classes.forget_empty();
        assert_eq!(classes.after(None).map(|(id, _)| id).collect::<Vec<_>>(), [2]);
        assert_eq!((classes.after(Some(2)).count(), classes.last()), (0, Some(2)));
    }

    #[test]
    fn classes_with_like_verdicts_follow_each_other() {
        let mut classes = Classes::new(vec![false; 40], 0);
        for verdicts in [[0; 40], [1; 40], [0; 40], [1; 40]] {
            classes.insert(classes.next_id(), &verdicts);
        }
        let mut other = [0; 40];
        other[39] = 2;
        classes.insert(4, &other);
        let order: Vec<ClassId> = classes.by_likeness().map(|(id, _)| id).collect();
        assert_eq!(order, [0, 2, 4, 1, 3]);
        assert!(classes.by_likeness().all(|(id, verdicts)| verdicts == classes.verdicts(id)));
    }
}
