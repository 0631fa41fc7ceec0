//! History as it is written: what turned is gathered while a batch is applied, and becomes its records at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::record::{At, Lane, Last, PolicyThen, Turned, Who, bytes_of, key, last_key, patch_turn, verdict_turn};
use super::{PatchTurn, RuleTurn};
use crate::patch::PatchId;
use crate::patch::catalog::Catalog;
use crate::state::{Batch, Space, StoreError, decode, encode, segment};

/// The names that numbers of one kind stand for. A number is never given to another name.
#[derive(Debug, Default)]
pub struct Names {
    of: Vec<Arc<str>>,
    numbers: BTreeMap<Arc<str>, u32>,
}

/// Which names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rule = 0,
    /// Feed, 0, patch.
    Patch = 1,
}

impl Names {
    /// The names by number.
    pub fn all(&self) -> &[Arc<str>] {
        &self.of
    }

    pub fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    fn number(&mut self, kind: Kind, name: &str, batch: &mut Batch) -> u32 {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        // INVARIANT: names are ids of rules and patches, far fewer than 2^32.
        let number = u32::try_from(self.of.len()).unwrap_or(u32::MAX);
        batch.put(Space::Names, [&[kind as u8][..], &number.to_be_bytes()].concat(), name);
        self.keep(name);
        number
    }

    fn keep(&mut self, name: &str) {
        let name: Arc<str> = name.into();
        self.numbers.insert(name.clone(), u32::try_from(self.of.len()).unwrap_or(u32::MAX));
        self.of.push(name);
    }
}

/// The name under which a feed's patch is numbered.
pub fn patch_name(feed: &str, patch: &str) -> String {
    format!("{feed}\0{patch}")
}

/// What must be known of history beside its records; stored in `meta`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Of the newest record.
    pub last: At,
    /// When this store began to write history; `None`: it has not yet.
    pub began_ms: Option<i64>,
    /// Records before this were dropped.
    pub dropped_ms: i64,
    /// Verdicts and patch states before these cannot be told: rules or catalog were others after a start, and what they said before was gone.
    pub verdicts_since_ms: i64,
    pub patches_since_ms: i64,
    pub policy: PolicyThen,
}

impl Head {
    /// How far back verdicts reach, and patch states.
    pub fn reach_ms(&self) -> (i64, i64) {
        let began = self.began_ms.unwrap_or(i64::MAX).max(self.dropped_ms);
        (began.max(self.verdicts_since_ms), began.max(self.patches_since_ms))
    }
}

const HEAD: &str = "history";

#[derive(Debug, Default)]
pub struct Book {
    pub head: Head,
    rules: Names,
    patches: Names,
    /// Numbers of patches of the present catalog that turned lately.
    of_catalog: HashMap<PatchId, u32>,
    who: Vec<Who>,
    turns: Vec<Turned>,
    /// The head differs from the stored one.
    changed: bool,
}

impl Book {
    /// Takes a stored name; they come in the order of numbers.
    fn restore_name(&mut self, key: &[u8], name: &[u8]) -> Result<(), StoreError> {
        let damaged = |why: &str| StoreError::Damaged {
            space: Space::Names.name(),
            key: String::from_utf8_lossy(name).into_owned(),
            why: why.to_owned(),
        };
        let text = std::str::from_utf8(name).map_err(|_| damaged("it is no text"))?;
        let (names, number) = match key.split_first() {
            Some((0, number)) => (&mut self.rules, number),
            Some((1, number)) => (&mut self.patches, number),
            _ => return Err(damaged("its key is of no kind")),
        };
        if number.try_into().map(u32::from_be_bytes).ok() != u32::try_from(names.of.len()).ok() {
            return Err(damaged("its number is not the next one"));
        }
        names.keep(text);
        Ok(())
    }

    /// All that is stored of it beside its records: what is in `meta`, and the names.
    pub fn restore(&mut self, head: Option<&[u8]>, names: &[(Vec<u8>, Vec<u8>)]) -> Result<(), StoreError> {
        if let Some(head) = head {
            self.restore_head(head)?;
        }
        names.iter().try_for_each(|(key, name)| self.restore_name(key, name))
    }

    /// Takes what is in `meta`.
    fn restore_head(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.head = decode(Space::Meta, HEAD.as_bytes(), bytes)?;
        Ok(())
    }

    pub fn names(&self, kind: Kind) -> &Names {
        match kind {
            Kind::Rule => &self.rules,
            Kind::Patch => &self.patches,
        }
    }

    pub fn rule(&mut self, rule: &str, batch: &mut Batch) -> u32 {
        self.rules.number(Kind::Rule, rule, batch)
    }

    pub fn patch(&mut self, feed: &str, patch: &str, batch: &mut Batch) -> u32 {
        if self.patches.of.is_empty() {
            // 0 stands for what decides most patches.
            self.patches.number(Kind::Patch, "", batch);
        }
        self.patches.number(Kind::Patch, &patch_name(feed, patch), batch)
    }

    /// The number of a patch of the present catalog.
    pub fn patch_of(&mut self, patch: PatchId, catalog: &Catalog, batch: &mut Batch) -> Option<u32> {
        if let Some(known) = self.of_catalog.get(&patch) {
            return Some(*known);
        }
        let (name, feed) = catalog.id(patch)?;
        let number = self.patch(feed, name, batch);
        self.of_catalog.insert(patch, number);
        Some(number)
    }

    /// Another catalog numbers its patches otherwise.
    pub fn renumbered(&mut self) {
        self.of_catalog.clear();
    }

    /// A batch begins.
    pub fn begin(&mut self, now_ms: i64) {
        if self.head.began_ms.is_none() {
            (self.head.began_ms, self.changed) = (Some(now_ms), true);
        }
    }

    pub fn who(&mut self, who: Who) {
        self.who.push(who);
    }

    pub fn turned(&mut self, turned: Turned) {
        self.turns.push(turned);
    }

    pub fn rule_turn(&mut self, turn: &RuleTurn, batch: &mut Batch) {
        if turn.from != turn.to && !turn.endpoints.is_empty() {
            let (rule, endpoints) = (self.rule(&turn.rule, batch), bytes_of(&turn.endpoints));
            self.turns.push(Turned::Rule { rule, turn: verdict_turn(turn.from, turn.to), endpoints });
        }
    }

    pub fn patch_turn(&mut self, turn: &PatchTurn, batch: &mut Batch) {
        if turn.from != turn.to {
            let patch = self.patch(&turn.feed, &turn.patch, batch);
            self.patch_turn_of(patch, turn.from, turn.to, &turn.endpoints);
        }
    }

    pub fn patch_turn_of(&mut self, patch: u32, from: super::Stood, to: super::Stood, endpoints: &RoaringBitmap) {
        if from != to && !endpoints.is_empty() {
            self.turns.push(Turned::Patch { patch, turn: patch_turn(from, to), endpoints: bytes_of(endpoints) });
        }
    }

    /// An endpoint goes. What turned of its number so far is of it, what turns from now on is of another one.
    pub fn removed(
        &mut self,
        number: u32,
        of: (&str, &str, &BTreeMap<String, String>),
        last: Option<&Last>,
        now_ms: i64,
        batch: &mut Batch,
    ) {
        self.flush(now_ms, batch);
        let last = last.map(|last| {
            let bytes = encode(Space::History(0), last);
            let mut hash = [0; 16];
            blake3::Hasher::new().update(&bytes).finalize_xof().fill(&mut hash);
            batch.put(Space::History(self.segment(now_ms)), last_key(&hash), bytes);
            hash
        });
        let (id, hostname, labels) = of;
        self.who.push(Who::Removed { number, id: id.to_owned(), hostname: hostname.to_owned(), labels: labels.clone(), last });
    }

    fn segment(&self, now_ms: i64) -> u32 {
        segment(now_ms.max(self.head.last.ms))
    }

    /// The fleet is held against something else.
    pub fn policy(&mut self, policy: PolicyThen) {
        if !self.head.policy.same(&policy) {
            let before = std::mem::replace(&mut self.head.policy, policy);
            self.who.push(Who::Policy { before: Box::new(before) });
        }
    }

    /// Verdicts before this instant cannot be told.
    pub fn lose_verdicts(&mut self, now_ms: i64) {
        (self.head.verdicts_since_ms, self.changed) = (now_ms.max(self.head.last.ms), true);
    }

    pub fn lose_patches(&mut self, now_ms: i64) {
        (self.head.patches_since_ms, self.changed) = (now_ms.max(self.head.last.ms), true);
    }

    /// Writes what was gathered.
    pub fn flush(&mut self, now_ms: i64, batch: &mut Batch) {
        if !self.who.is_empty() || !self.turns.is_empty() {
            let last = self.head.last;
            // INVARIANT: later records have later keys, also when the clock is set back.
            self.head.last = if now_ms > last.ms { At { ms: now_ms, n: 0 } } else { At { ms: last.ms, n: last.n.saturating_add(1) } };
            let (at, space) = (self.head.last, Space::History(segment(self.head.last.ms)));
            for (lane, bytes) in [
                (Lane::Who, (!self.who.is_empty()).then(|| encode(space, &self.who))),
                (Lane::Turns, (!self.turns.is_empty()).then(|| encode(space, &self.turns))),
            ] {
                if let Some(bytes) = bytes {
                    batch.put(space, key(lane, at), bytes);
                }
            }
            self.who.clear();
            self.turns.clear();
            self.changed = true;
        }
        if std::mem::take(&mut self.changed) {
            batch.put_record(Space::Meta, HEAD, &self.head);
        }
    }

    /// Drops the segments of which everything is older than it is kept.
    pub fn expire(&mut self, history_ms: i64, now_ms: i64, batch: &mut Batch) {
        const SEGMENTS_AT_ONCE: u32 = 512;
        let Some(began) = self.head.began_ms else { return };
        let (first, oldest) = (segment(began.max(self.head.dropped_ms)), segment(now_ms.saturating_sub(history_ms)));
        if first < oldest {
            batch.drop_history = (first.max(oldest.saturating_sub(SEGMENTS_AT_ONCE))..oldest).collect();
            self.head.dropped_ms = i64::from(oldest) * crate::state::SEGMENT_MS;
            self.changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::record::read_key;

    fn keys(batch: &Batch) -> Vec<At> {
        let of =
            |(space, key, _): &(Space, Vec<u8>, Option<Vec<u8>>)| matches!(space, Space::History(_)).then(|| read_key(Lane::Who, key))?;
        batch.changes.iter().filter_map(of).collect()
    }

    #[test]
    fn records_go_on_when_the_clock_is_set_back() {
        let (mut book, mut batch) = (Book::default(), Batch::default());
        for (number, now_ms) in [(0, 5_000), (1, 5_000), (2, 3_000), (3, 6_000)] {
            book.begin(now_ms);
            book.who(Who::Enrolled { number });
            book.flush(now_ms, &mut batch);
        }
        let at = |ms, n| At { ms, n };
        assert_eq!(keys(&batch), [at(5_000, 0), at(5_000, 1), at(5_000, 2), at(6_000, 0)]);
        assert_eq!(book.head.reach_ms(), (5_000, 5_000));
        let (_, _, head) = batch.changes.iter().rfind(|(s, ..)| *s == Space::Meta).expect("a head");
        let mut again = Book::default();
        again.restore_head(head.as_ref().expect("bytes")).expect("read");
        assert_eq!(again.head, book.head);
    }

    #[test]
    fn what_turned_before_a_removal_is_in_a_record_of_its_own() {
        let (mut book, mut batch) = (Book::default(), Batch::default());
        book.turned(Turned::Endpoint { number: 3, verdicts: Vec::new(), patches: Vec::new() });
        book.removed(3, ("e", "h", &BTreeMap::new()), Some(&Last::default()), 9, &mut batch);
        book.turned(Turned::Endpoint { number: 3, verdicts: Vec::new(), patches: Vec::new() });
        book.flush(9, &mut batch);
        let turns: Vec<At> = batch.changes.iter().filter_map(|(_, k, _)| read_key(Lane::Turns, k)).collect();
        assert_eq!((turns, keys(&batch)), (vec![At { ms: 9, n: 0 }, At { ms: 9, n: 1 }], vec![At { ms: 9, n: 1 }]));
    }

    #[test]
    fn names_keep_their_numbers() {
        let (mut book, mut batch) = (Book::default(), Batch::default());
        assert_eq!((book.rule("a", &mut batch), book.rule("b", &mut batch), book.rule("a", &mut batch)), (0, 1, 0));
        assert_eq!((book.patch("f", "a", &mut batch), book.patch("g", "a", &mut batch)), (1, 2));
        let mut again = Book::default();
        for (_, key, name) in batch.changes {
            again.restore_name(&key, &name.expect("a name")).expect("in order");
        }
        let mut none = Batch::default();
        assert_eq!((again.rule("b", &mut none), again.patch("g", "a", &mut none), none.is_empty()), (1, 2, true));
        assert!(again.restore_name(&[0, 0, 0, 0, 9], b"c").is_err());
    }

    #[test]
    fn old_segments_are_dropped_and_the_reach_moves() {
        let week = crate::state::SEGMENT_MS;
        let (mut book, mut batch) = (Book::default(), Batch::default());
        book.begin(10 * week + 5);
        book.flush(10 * week + 5, &mut batch);
        book.expire(3 * week, 13 * week, &mut batch);
        assert!(batch.drop_history.is_empty());
        book.expire(3 * week, 15 * week + 9, &mut batch);
        assert_eq!((&batch.drop_history, book.head.reach_ms().0), (&vec![10, 11], 12 * week));
    }
}
