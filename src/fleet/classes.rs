//! Verdict classes: endpoints with the same verdicts share one vector, and counts are kept as endpoints move between them.
//!
//! INVARIANT: there is no row per endpoint and rule, in memory or on disk.

use std::collections::BTreeMap;

use crate::judge::Verdict;
use crate::pack::RuleId;

pub type ClassId = u32;

#[derive(Clone, Debug)]
struct Class {
    /// One byte a rule: a [`Verdict`].
    verdicts: Box<[u8]>,
    /// How many rules have each verdict: asked with every upload, so counted once.
    summary: [u32; Verdict::ALL.len()],
    endpoints: u32,
}

#[derive(Debug, Default)]
pub struct Classes {
    classes: BTreeMap<ClassId, Class>,
    by_verdicts: BTreeMap<Box<[u8]>, ClassId>,
    next: ClassId,
    /// The rules that summaries leave out.
    left_out: Vec<bool>,
    /// For each rule, how many endpoints have each verdict.
    counts: Vec<[u32; Verdict::ALL.len()]>,
}

impl Classes {
    /// Forgets everything; verdicts are of these rules from now on. Says of each whether summaries leave it out.
    pub fn reset(&mut self, left_out: Vec<bool>) {
        let counts = vec![Default::default(); left_out.len()];
        *self = Classes { next: self.next, counts, left_out, ..Classes::default() };
    }

    /// The class of a verdict vector, and whether it is new. An endpoint joins it with [`Classes::join`].
    pub fn intern(&mut self, verdicts: &[u8]) -> (ClassId, bool) {
        if let Some(id) = self.by_verdicts.get(verdicts) {
            return (*id, false);
        }
        let id = self.next;
        self.insert(id, verdicts);
        (id, true)
    }

    /// Puts a stored class back.
    pub fn insert(&mut self, id: ClassId, verdicts: &[u8]) {
        self.next = self.next.max(id + 1);
        self.by_verdicts.insert(verdicts.into(), id);
        let mut summary = [0; Verdict::ALL.len()];
        for (verdict, _) in verdicts.iter().zip(&self.left_out).filter(|(_, left_out)| !**left_out) {
            if let Some(count) = summary.get_mut(usize::from(*verdict)) {
                *count += 1;
            }
        }
        self.classes.insert(id, Class { verdicts: verdicts.into(), summary, endpoints: 0 });
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
        if empty && let Some(class) = self.classes.remove(&id) {
            self.by_verdicts.remove(&class.verdicts);
        }
        empty
    }

    fn count(&mut self, id: ClassId, by: i32) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        class.endpoints = class.endpoints.saturating_add_signed(by);
        for (counts, verdict) in self.counts.iter_mut().zip(&class.verdicts) {
            if let Some(count) = counts.get_mut(usize::from(*verdict)) {
                *count = count.saturating_add_signed(by);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.classes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    pub fn contains(&self, id: ClassId) -> bool {
        self.classes.contains_key(&id)
    }

    pub fn verdicts(&self, id: ClassId) -> &[u8] {
        self.classes.get(&id).map_or(&[], |c| &c.verdicts)
    }

    /// How many rules have each verdict, in the order of [`Verdict::ALL`].
    pub fn summary(&self, id: ClassId) -> [u32; Verdict::ALL.len()] {
        self.classes.get(&id).map_or_else(Default::default, |c| c.summary)
    }

    pub fn verdict(&self, id: ClassId, rule: RuleId) -> Verdict {
        let byte = self.verdicts(id).get(rule.index()).copied();
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
        let mut classes = Classes::default();
        classes.reset(vec![false, true]);
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
}
