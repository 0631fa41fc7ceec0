//! Who turned, rule by rule: for each pair of verdicts, before and after, the endpoints as a bitmap. Counts, names in events and history come of these.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::change::{Change, Turning};
use super::parts::{NONE, Parts, Vectors};
use crate::fleet::classes::Classes;
use crate::judge::Verdict;
use crate::shard::Shard;

/// From, to. Nothing: the rule is new, or gone.
pub(super) type Turn = (Option<Verdict>, Option<Verdict>);

/// Groups whose verdicts before are taken in one look.
const GROUPS: usize = 4096;
/// Rules of which a class is asked at once.
const RULES: usize = 32;

#[derive(Default)]
pub(super) struct Turns {
    /// In the order of [`Change::turning`].
    pub(super) by_rule: Vec<BTreeMap<Turn, RoaringBitmap>>,
    /// What the rules that turn said of old classes, and by group which of these it is.
    before: Vectors,
    before_of: Vec<u32>,
    /// By group: what the next rules say of it.
    after: Vec<[u8; RULES]>,
}

const ABSENT: u8 = u8::MAX;

/// What rules said under the old pack.
pub(super) fn before(verdicts: &[u8], change: &Change) -> Vec<u8> {
    let of = |turning: &Turning| turning.old.and_then(|rule| verdicts.get(rule.index()).copied()).unwrap_or(ABSENT);
    change.turning.iter().map(of).collect()
}

/// What the first rules say under the new pack.
fn after(verdicts: &[u8], rules: &[Turning]) -> [u8; RULES] {
    let mut after = [ABSENT; RULES];
    for (place, turning) in after.iter_mut().zip(rules) {
        *place = turning.new.and_then(|rule| verdicts.get(rule.index()).copied()).unwrap_or(ABSENT);
    }
    after
}

impl Turns {
    /// Whether the verdicts before are known of all groups; else takes some.
    pub(super) fn look(&mut self, shard: &Shard, change: &Change, parts: &Parts) -> bool {
        if change.turning.iter().all(|t| t.old.is_none()) {
            return true;
        }
        for group in parts.groups.iter().skip(self.before_of.len()).take(GROUPS) {
            self.before_of.push(self.before.number(before(&shard.fleet.classes.verdicts(group.class), change)));
        }
        self.before_of.len() >= parts.groups.len()
    }

    /// Takes the next rule. Whether it was the last one.
    pub(super) fn take(&mut self, change: &Change, parts: &Parts, classes: &Classes) -> bool {
        let at = self.by_rule.len();
        if at >= change.turning.len() {
            return true;
        }
        if at.is_multiple_of(RULES) {
            let next = change.turning.get(at..).unwrap_or_default();
            self.after = parts.groups.iter().map(|group| after(&classes.verdicts(group.to), next)).collect();
        }
        let mut places: BTreeMap<Turn, u8> = BTreeMap::new();
        let before = |group: usize| self.before.get(*self.before_of.get(group)?).get(at).copied();
        let of_group: Vec<u8> = parts
            .groups
            .iter()
            .zip(&self.after)
            .enumerate()
            .map(|(number, (group, after))| {
                let from = before(number).and_then(Verdict::from_u8);
                let to = after.get(at % RULES).copied().and_then(Verdict::from_u8);
                if group.to == NONE || from == to {
                    return ABSENT;
                }
                // Ten verdicts before and ten after, none among them.
                let next = u8::try_from(places.len()).unwrap_or(ABSENT);
                *places.entry((from, to)).or_insert(next)
            })
            .collect();
        let mut endpoints: Vec<RoaringBitmap> = vec![RoaringBitmap::new(); places.len()];
        if !endpoints.is_empty() {
            // Most endpoints turn as their neighbours do.
            let place = |group: &u32| of_group.get(*group as usize).copied().unwrap_or(ABSENT);
            let mut at = 0;
            for run in parts.groups_of().chunk_by(|a, b| place(a) == place(b)) {
                let end = at + u32::try_from(run.len()).unwrap_or(0);
                if let Some(bitmap) = run.first().and_then(|group| endpoints.get_mut(usize::from(place(group)))) {
                    bitmap.insert_range(at..end);
                }
                at = end;
            }
        }
        for bitmap in &mut endpoints {
            bitmap.optimize();
        }
        let mut bitmap = |place: u8| endpoints.get_mut(usize::from(place)).map(std::mem::take).unwrap_or_default();
        self.by_rule.push(places.into_iter().map(|(turn, place)| (turn, bitmap(place))).collect());
        self.by_rule.len() >= change.turning.len()
    }

    /// What history takes at most.
    pub(super) fn bytes(&self) -> usize {
        self.by_rule.iter().flat_map(BTreeMap::values).map(RoaringBitmap::serialized_size).sum()
    }

    /// An endpoint turned otherwise than its group, or not at all, or is gone: from what [`before`] gives to verdicts of the new pack.
    pub(super) fn retake(&mut self, change: &Change, at: u32, turned: Option<(&[u8], &[u8])>) {
        for (number, (turning, turns)) in change.turning.iter().zip(&mut self.by_rule).enumerate() {
            for endpoints in turns.values_mut() {
                endpoints.remove(at);
            }
            let Some((old, new)) = turned else { continue };
            let from = old.get(number).copied().and_then(Verdict::from_u8);
            let to = turning.new.and_then(|rule| new.get(rule.index()).copied()).and_then(Verdict::from_u8);
            if from != to {
                turns.entry((from, to)).or_default().insert(at);
            }
        }
    }
}
