//! Verdict classes: endpoints with the same verdicts share one vector, and counts are kept as endpoints move between them.
//!
//! INVARIANT: there is no row per endpoint and rule, in memory or on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::judge::Verdict;
use crate::pack::RuleId;

pub type ClassId = u32;

/// Verdicts, four bits each: a fleet that deviates much has a class for every few endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Packed(Box<[u8]>);

/// No verdict, but the end of an odd number of them; and one that there is not.
const END: u8 = 15;
const NONSENSE: u8 = 14;

impl Packed {
    fn of(verdicts: &[u8]) -> Packed {
        let bits = |verdict: &u8| (*verdict).min(NONSENSE);
        let two = |two: &[u8]| two.first().map_or(END, bits) | two.get(1).map_or(END, bits) << 4;
        Packed(verdicts.chunks(2).map(two).collect())
    }

    fn iter(&self) -> impl Iterator<Item = u8> {
        self.0.iter().flat_map(|two| [two & 15, two >> 4]).filter(|verdict| *verdict != END)
    }

    fn len(&self) -> usize {
        let odd = self.0.last().is_some_and(|two| two >> 4 == END);
        2 * self.0.len() - usize::from(odd)
    }

    fn get(&self, at: usize) -> Option<u8> {
        let two = self.0.get(at / 2)?;
        let verdict = if at.is_multiple_of(2) { two & 15 } else { two >> 4 };
        (verdict != END).then_some(verdict)
    }
}

#[derive(Clone, Debug)]
struct Class {
    verdicts: Packed,
    /// How many rules have each verdict: asked with every upload, so counted once.
    summary: [u32; Verdict::ALL.len()],
    endpoints: u32,
}

#[derive(Debug, Default)]
pub struct Classes {
    classes: BTreeMap<ClassId, Class>,
    /// By verdicts. A swap may leave several classes with the same ones, so that endpoints can stay where they are; one of them is here.
    by_verdicts: HashTable<ClassId>,
    hasher: RandomState,
    next: ClassId,
    /// The rules that summaries leave out.
    left_out: Vec<bool>,
    /// For each rule, how many endpoints have each verdict.
    counts: Vec<[u32; Verdict::ALL.len()]>,
    /// Classes that have a record of their own in the store.
    recorded: BTreeSet<ClassId>,
}

impl Classes {
    /// None yet, of these rules: says of each whether summaries leave it out. Ids begin at `first`.
    pub fn new(left_out: Vec<bool>, first: ClassId) -> Classes {
        let counts = vec![Default::default(); left_out.len()];
        Classes { next: first, counts, left_out, ..Classes::default() }
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
        self.find_packed(&Packed::of(verdicts))
    }

    fn find_packed(&self, verdicts: &Packed) -> Option<ClassId> {
        let same = |id: &ClassId| self.classes.get(id).is_some_and(|c| c.verdicts == *verdicts);
        self.by_verdicts.find(self.hasher.hash_one(verdicts), same).copied()
    }

    /// Puts a class under an id, beside others of the same verdicts if there are any.
    pub fn insert(&mut self, id: ClassId, verdicts: &[u8]) {
        self.next = self.next.max(id.saturating_add(1));
        let mut summary = [0; Verdict::ALL.len()];
        for (verdict, _) in verdicts.iter().zip(&self.left_out).filter(|(_, left_out)| !**left_out) {
            if let Some(count) = summary.get_mut(usize::from(*verdict)) {
                *count += 1;
            }
        }
        let verdicts = Packed::of(verdicts);
        let known = self.find_packed(&verdicts).is_some();
        self.classes.insert(id, Class { verdicts, summary, endpoints: 0 });
        if !known {
            let Classes { classes, by_verdicts, hasher, .. } = self;
            let hash = |id: &ClassId| classes.get(id).map_or(0, |c| hasher.hash_one(&c.verdicts));
            by_verdicts.insert_unique(hash(&id), id, hash);
        }
    }

    pub fn join(&mut self, id: ClassId) {
        self.count(id, 1);
    }

    /// So many endpoints at once: one at a time, each would count every rule.
    pub fn join_many(&mut self, id: ClassId, endpoints: u32) {
        self.count(id, i32::try_from(endpoints).unwrap_or(i32::MAX));
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
    }

    /// Forgets the classes that nobody is in.
    pub fn forget_empty(&mut self) {
        let empty: Vec<ClassId> = self.classes.iter().filter(|(_, c)| c.endpoints == 0).map(|(id, _)| *id).collect();
        empty.into_iter().for_each(|id| self.remove(id));
    }

    fn count(&mut self, id: ClassId, by: i32) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        class.endpoints = class.endpoints.saturating_add_signed(by);
        for (counts, verdict) in self.counts.iter_mut().zip(class.verdicts.iter()) {
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

    /// All classes, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ClassId, Vec<u8>)> {
        self.classes.iter().map(|(id, c)| (*id, c.verdicts.iter().collect()))
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
        self.classes.get(&id).map(|c| c.verdicts.iter().collect()).unwrap_or_default()
    }

    /// Of how many rules a class has verdicts.
    pub fn rules(&self, id: ClassId) -> usize {
        self.classes.get(&id).map_or(0, |c| c.verdicts.len())
    }

    /// How many rules have each verdict, in the order of [`Verdict::ALL`].
    pub fn summary(&self, id: ClassId) -> [u32; Verdict::ALL.len()] {
        self.classes.get(&id).map_or_else(Default::default, |c| c.summary)
    }

    pub fn verdict(&self, id: ClassId, rule: RuleId) -> Verdict {
        let byte = self.classes.get(&id).and_then(|c| c.verdicts.get(rule.index()));
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
    fn packed_verdicts_are_those_that_went_in() {
        for verdicts in [&[][..], &[0], &[8], &[0, 8], &[1, 2, 3], &[8; 1001]] {
            let packed = Packed::of(verdicts);
            assert_eq!((packed.iter().collect::<Vec<_>>().as_slice(), packed.len()), (verdicts, verdicts.len()));
            let each: Vec<_> = (0..=verdicts.len()).map(|at| packed.get(at)).collect();
            assert_eq!(each, verdicts.iter().copied().map(Some).chain([None]).collect::<Vec<_>>());
        }
        assert_eq!(Packed::of(&[200, 15]).iter().collect::<Vec<_>>(), [NONSENSE, NONSENSE]);
        assert!(Verdict::ALL.len() < usize::from(NONSENSE));
    }

    #[test]
    fn counts_follow_the_endpoints() {
        let mut classes = Classes::new(vec![false, true], 0);
        let (a, fresh) = classes.intern(&[0, 1]);
        assert!(fresh);
        classes.join_many(a, 2);
        let (b, _) = classes.intern(&[1, 1]);
        classes.join(b);
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
        assert_eq!(classes.iter().map(|(id, _)| id).collect::<Vec<_>>(), [2]);
    }
}
