//! The records of history, as they are stored: what turned and who came and went, one record of each kind for a batch.
//!
//! Rules and patches are named by numbers of [`super::book::Names`], endpoints by theirs.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::Stood;
use crate::judge::Verdict;
use crate::policy::Group;
use crate::rule::Severity;
use crate::state::{Space, StoreError};

/// Where a record is: its time, and which one of that time it is. Never goes back, whatever the clock does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct At {
    pub ms: i64,
    pub n: u32,
}

/// What a segment holds. Who came and went is found without reading what turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Who = 0,
    Turns = 1,
    /// What removed endpoints had at last, by the hash of it: many have the same.
    Last = 2,
}

/// The key of a record.
pub fn key(lane: Lane, at: At) -> Vec<u8> {
    let ms = u64::try_from(at.ms).unwrap_or(0);
    [&[lane as u8][..], &ms.to_be_bytes(), &at.n.to_be_bytes()].concat()
}

/// The key of what a removed endpoint had at last.
pub fn last_key(hash: &[u8; 16]) -> Vec<u8> {
    [&[Lane::Last as u8][..], hash].concat()
}

/// Where a key of a lane is, or `None` if it is of another one.
pub fn read_key(lane: Lane, key: &[u8]) -> Option<At> {
    let (first, rest) = key.split_first()?;
    let (ms, n) = rest.split_first_chunk::<8>()?;
    let at = At { ms: i64::try_from(u64::from_be_bytes(*ms)).ok()?, n: u32::from_be_bytes(n.try_into().ok()?) };
    (*first == lane as u8).then_some(at)
}

/// From one verdict to another in a byte; `None`: there is no such rule.
pub fn verdict_turn(from: Option<Verdict>, to: Option<Verdict>) -> u8 {
    let code = |v: Option<Verdict>| v.map_or(0, |v| v as u8 + 1);
    code(from) * 10 + code(to)
}

pub fn read_verdict_turn(turn: u8) -> (Option<Verdict>, Option<Verdict>) {
    let verdict = |code: u8| code.checked_sub(1).and_then(Verdict::from_u8);
    (verdict(turn / 10), verdict(turn % 10))
}

pub fn patch_turn(from: Stood, to: Stood) -> u16 {
    u16::from(from.code()) * u16::from(Stood::CODES) + u16::from(to.code())
}

pub fn read_patch_turn(turn: u16) -> (Stood, Stood) {
    let stood = |code: u16| u8::try_from(code).ok().and_then(Stood::from_code).unwrap_or(Stood::NOTHING);
    (stood(turn / u16::from(Stood::CODES)), stood(turn % u16::from(Stood::CODES)))
}

/// What turned, at one endpoint or at many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Turned {
    Endpoint {
        number: u32,
        /// Rule, and its turn.
        verdicts: Vec<(u32, u8)>,
        /// Patch, and its turn. Patch 0 is what decides most of them: it stands as under investigation where it was not collected.
        patches: Vec<(u32, u16)>,
    },
    /// The bitmap as roaring serialises it.
    Rule {
        rule: u32,
        turn: u8,
        endpoints: Vec<u8>,
    },
    Patch {
        patch: u32,
        turn: u16,
        endpoints: Vec<u8>,
    },
}

/// The number that stands for what decides most patches of an endpoint, and how it stands where that was not collected.
pub const COLLECTED: u32 = 0;

pub fn not_collected(is: bool) -> Stood {
    use crate::feed::model::Level;
    use crate::patch::State;
    if is { Stood::new(State::UnderInvestigation, Level::None, false) } else { Stood::NOTHING }
}

pub fn bytes_of(endpoints: &RoaringBitmap) -> Vec<u8> {
    let mut out = Vec::with_capacity(endpoints.serialized_size());
    // A Vec takes what is written.
    endpoints.serialize_into(&mut out).map_or_else(|_| Vec::new(), |()| out)
}

pub fn endpoints_of(bytes: &[u8]) -> Result<RoaringBitmap, StoreError> {
    RoaringBitmap::deserialize_from(bytes).map_err(|e| StoreError::Damaged {
        space: Space::History(0).name(),
        key: "a set of endpoints".to_owned(),
        why: e.to_string(),
    })
}

/// Who came, went, or became something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    Enrolled {
        number: u32,
    },
    /// Its first scan. What it showed is not written down: it is what the endpoint has later, less what turned.
    Scanned {
        number: u32,
    },
    /// The labels that it had before.
    Labelled {
        number: u32,
        before: BTreeMap<String, String>,
    },
    Removed {
        number: u32,
        id: String,
        hostname: String,
        labels: BTreeMap<String, String>,
        /// What it had at last, by the hash under which it lies in the segment; `None`: it never sent a scan.
        last: Option<[u8; 16]>,
    },
    Policy {
        before: Box<PolicyThen>,
    },
    /// Severities that rules had before, of those that have another one now. `None`: there was no such rule.
    Severities {
        before: Vec<(u32, Option<Severity>)>,
    },
}

/// What a removed endpoint had at last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// By rule: the verdict.
    pub verdicts: Vec<(u32, u8)>,
    /// By patch: how it stood, [`Stood::code`].
    pub patches: Vec<(u32, u8)>,
}

/// What the fleet was held against.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyThen {
    /// Since when it was this one.
    pub since_ms: i64,
    /// Digest of the compiled pack, and what it was of: id and version.
    pub pack: String,
    pub packs: Vec<(String, String)>,
    /// Digest of the catalog of patches.
    pub catalog: String,
    pub groups: Vec<Group>,
    pub excluded: Vec<String>,
    pub baselines: Vec<String>,
}

impl PolicyThen {
    /// Whether it is the same but for when it began.
    pub fn same(&self, other: &PolicyThen) -> bool {
        let PolicyThen { since_ms: _, pack, packs, catalog, groups, excluded, baselines } = self;
        (pack, packs, catalog, groups, excluded, baselines)
            == (&other.pack, &other.packs, &other.catalog, &other.groups, &other.excluded, &other.baselines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{decode, encode};

    #[test]
    fn keys_sort_as_time_does() {
        let ats = [At { ms: 0, n: 0 }, At { ms: 0, n: 7 }, At { ms: 255, n: 0 }, At { ms: 256, n: u32::MAX }, At { ms: 1 << 40, n: 1 }];
        let keys: Vec<Vec<u8>> = ats.iter().map(|at| key(Lane::Turns, *at)).collect();
        assert!(keys.is_sorted());
        assert!(keys.iter().zip(ats).all(|(k, at)| read_key(Lane::Turns, k) == Some(at) && read_key(Lane::Who, k).is_none()));
        assert_eq!(read_key(Lane::Last, &last_key(&[2; 16])), None);
    }

    #[test]
    fn turns_are_read_as_they_were_written() {
        let verdicts = || Verdict::ALL.into_iter().map(Some).chain([None]);
        for (from, to) in verdicts().flat_map(|from| verdicts().map(move |to| (from, to))) {
            assert_eq!(read_verdict_turn(verdict_turn(from, to)), (from, to));
        }
        for (from, to) in (0..Stood::CODES).flat_map(|from| (0..Stood::CODES).map(move |to| (from, to))) {
            let (from, to) = (Stood::from_code(from).unwrap(), Stood::from_code(to).unwrap());
            assert_eq!(read_patch_turn(patch_turn(from, to)), (from, to));
        }
        let endpoints: RoaringBitmap = (0..9000).filter(|n| n % 3 != 1).collect();
        assert_eq!(endpoints_of(&bytes_of(&endpoints)).unwrap(), endpoints);
        assert!(endpoints_of(b"no bitmap at all").is_err());
    }

    /// What docs/REPORTS.md says of sizes.
    #[test]
    fn a_million_flips_take_a_few_megabytes() {
        // A batch of 100 uploads, of which each turned ten patches and one verdict in a fleet of a million.
        let turned = |n: u32| Turned::Endpoint {
            number: n * 9_973 % 1_000_000,
            verdicts: vec![(n % 350, verdict_turn(Some(Verdict::Fail), Some(Verdict::Pass)))],
            patches: (0..10).map(|p| (2_000 + n * 37 % 10_000 + p, patch_turn(Stood::from_code(7).unwrap(), Stood::NOTHING))).collect(),
        };
        let batch: Vec<Turned> = (0..100).map(turned).collect();
        let bytes = encode(Space::History(0), &batch);
        let flips = 100 * 11;
        let a_million = bytes.len() * 1_000_000 / flips;
        assert!((3_000_000..6_000_000).contains(&a_million), "{a_million} bytes for a million flips");
        assert_eq!(decode::<Vec<Turned>>(Space::History(0), b"k", &bytes).unwrap(), batch);
        let first: Vec<Who> =
            (0..1000).flat_map(|n| [Who::Enrolled { number: 900_000 + n }, Who::Scanned { number: 900_000 + n }]).collect();
        assert!(encode(Space::History(0), &first).len() <= 8 * 1000 + 16);
    }
}
