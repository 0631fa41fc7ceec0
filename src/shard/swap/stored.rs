//! A generation of classes as it is stored: `all classes, who moved -> a few large records -> the same`.
//!
//! A swap changes every vector and the class of many endpoints. Were each written under its own key, a swap of a large fleet would be a million small records, and half of a
//! swap would have to be told from a whole one after a crash. So a swap writes all vectors into a few records, each as what differs from the one before it, and the endpoints
//! that are in another class than their own record says into others. That is a few megabytes, which fit into the one batch that names the pack: after a crash
//! there is all of it or nothing. An endpoint's record that is written later says its class itself; a move counts only for the scan that it was made for.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::parts::NONE;
use crate::fleet::EndpointId;
use crate::fleet::classes::{ClassId, Classes};
use crate::shard::Shard;
use crate::state::{Space, StoreError, decode, encode};

/// Classes of one record, endpoints that one record may be about, and how many endpoints are looked at in one look.
const CLASSES: usize = 1024;
const ENDPOINTS: u32 = 1024;
const LOOKED: u32 = 8 * ENDPOINTS;

/// What a key in [`Space::Generation`] begins with.
pub(in crate::shard) const CLASS_KEY: u8 = b'c';
pub(in crate::shard) const MOVE_KEY: u8 = b'm';
/// An endpoint that may have moved and was removed: what has its number later is another one.
pub(in crate::shard) const GONE_KEY: u8 = b'x';

/// One record of classes: for each its id, and where it differs from the one before it.
#[derive(Serialize, Deserialize)]
struct StoredClasses {
    rules: u16,
    classes: Vec<(ClassId, Vec<(u16, u8)>)>,
}

/// An endpoint, the scan that it is about, and its class since the swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::shard) struct Moved {
    pub(in crate::shard) number: EndpointId,
    pub(in crate::shard) sequence: u64,
    pub(in crate::shard) class: ClassId,
}

fn key(kind: u8, number: u32) -> Vec<u8> {
    [&[kind][..], &number.to_be_bytes()].concat()
}

pub(in crate::shard) fn gone_key(at: EndpointId) -> Vec<u8> {
    key(GONE_KEY, at.0)
}

/// The record that says of an endpoint that it moved, if it did.
pub(in crate::shard) fn move_key(at: EndpointId) -> Vec<u8> {
    key(MOVE_KEY, at.0 / ENDPOINTS)
}

/// All classes of a generation.
#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) records: Vec<(Vec<u8>, Vec<u8>)>,
    /// Classes that were made later have higher ids.
    pub(super) last: Option<ClassId>,
}

impl Snapshot {
    pub(super) fn of(classes: &Classes) -> Snapshot {
        let mut snapshot = Snapshot { last: classes.last(), ..Snapshot::default() };
        let mut part = StoredClasses { rules: 0, classes: Vec::with_capacity(CLASSES) };
        let mut before: Vec<u8> = Vec::new();
        for (id, verdicts) in classes.by_likeness() {
            before.resize(verdicts.len(), 0);
            // INVARIANT: at most u16::MAX rules.
            part.rules = u16::try_from(verdicts.len()).unwrap_or(u16::MAX);
            let differing = (0u16..).zip(before.iter().zip(&verdicts)).filter(|(_, (a, b))| a != b);
            part.classes.push((id, differing.map(|(rule, (_, verdict))| (rule, *verdict)).collect()));
            before.copy_from_slice(&verdicts);
            if part.classes.len() >= CLASSES {
                snapshot.put(&mut part);
                before.clear();
            }
        }
        if !part.classes.is_empty() {
            snapshot.put(&mut part);
        }
        snapshot
    }

    fn put(&mut self, part: &mut StoredClasses) {
        let number = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        self.records.push((key(CLASS_KEY, number), encode(Space::Generation, part)));
        part.classes.clear();
    }
}

/// Reads a record of classes. Nonsense in it is an error, never another verdict.
pub(in crate::shard) fn classes(key: &[u8], value: &[u8], mut each: impl FnMut(ClassId, &[u8])) -> Result<(), StoreError> {
    let StoredClasses { rules, classes } = decode(Space::Generation, key, value)?;
    let mut verdicts = vec![0u8; usize::from(rules)];
    for (id, differing) in classes {
        for (rule, verdict) in differing {
            let place = verdicts.get_mut(usize::from(rule)).ok_or_else(|| StoreError::Damaged {
                space: Space::Generation.name(),
                key: String::from_utf8_lossy(key).into_owned(),
                why: format!("it has {rules} rules and names number {rule}"),
            })?;
            *place = verdict;
        }
        each(id, &verdicts);
    }
    Ok(())
}

/// Reads a record of endpoints that moved.
pub(in crate::shard) fn moved(key: &[u8], value: &[u8]) -> Result<Vec<Moved>, StoreError> {
    decode(Space::Generation, key, value)
}

/// Endpoints that are in another class than their records say, in parts by their numbers.
#[derive(Default)]
pub(super) struct Moves {
    records: BTreeMap<u32, Vec<u8>>,
    /// All of them.
    pub(super) endpoints: RoaringBitmap,
    /// Parts that somebody was touched in since they were looked at.
    dirty: BTreeSet<u32>,
    next: u32,
}

impl Moves {
    /// Goes on. Whether all endpoints were looked at.
    pub(super) fn look(&mut self, shard: &Shard, class_of: &[ClassId]) -> bool {
        let places = shard.fleet.places();
        let last = self.next.saturating_add(LOOKED).min(places);
        while self.next < last {
            self.look_at(shard, class_of, self.next / ENDPOINTS);
            self.next += ENDPOINTS;
        }
        self.next >= places
    }

    fn look_at(&mut self, shard: &Shard, class_of: &[ClassId], part: u32) {
        let range = part * ENDPOINTS..(part + 1) * ENDPOINTS;
        self.endpoints.remove_range(range.clone());
        let mut moved = Vec::new();
        for at in range {
            let Some(held) = shard.fleet.get(EndpointId(at)).and_then(|e| e.held.as_ref()) else { continue };
            let class = class_of.get(at as usize).copied().unwrap_or(NONE);
            if class != NONE && (class != held.class || shard.moved.contains(at)) {
                moved.push(Moved { number: EndpointId(at), sequence: held.sequence, class });
                self.endpoints.insert(at);
            }
        }
        if moved.is_empty() {
            self.records.remove(&part);
        } else {
            self.records.insert(part, encode(Space::Generation, &moved));
        }
    }

    pub(super) fn touched(&mut self, at: EndpointId) {
        self.dirty.insert(at.0 / ENDPOINTS);
    }

    pub(super) fn bytes(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }

    /// Parts to look at again.
    pub(super) fn behind(&self) -> usize {
        self.dirty.len()
    }

    /// After the last endpoint was touched: the records.
    pub(super) fn finish(&mut self, shard: &Shard, class_of: &[ClassId]) -> Vec<(Vec<u8>, Vec<u8>)> {
        for part in std::mem::take(&mut self.dirty) {
            self.look_at(shard, class_of, part);
        }
        std::mem::take(&mut self.records).into_iter().map(|(part, record)| (key(MOVE_KEY, part), record)).collect()
    }

    /// Looks again at parts that somebody was touched in, a few at a time.
    pub(super) fn refresh(&mut self, shard: &Shard, class_of: &[ClassId]) {
        for _ in 0..2 * LOOKED / ENDPOINTS {
            let Some(part) = self.dirty.pop_first() else { return };
            self.look_at(shard, class_of, part);
        }
    }
}
