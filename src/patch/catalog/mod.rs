//! Definitions compiled: immutable segments, shared and memory-mapped, one or two a feed, and what is known of CVEs beside them.
//!
//! A feed has a **base** segment; an update that changes little adds a **delta**, whose patches stand in the place of the base's and which names those that are
//! gone. So an update compiles what changed.

mod ask;
mod common;
mod compile;
mod key;
mod wire;

use std::sync::{Arc, OnceLock};

use super::define::Definition;
use super::rank::{self, Rank};
use super::{Note, PATCHES_MAX, PatchId};
use crate::scan::Row;

pub use common::Common;
pub use compile::compile;
pub use wire::{Segment, verify, write_file};

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("cannot read `{}`: {source}", path.display())]
    Io { path: std::path::PathBuf, source: std::io::Error },
    #[error("`{0}` is no compiled catalog: {1}")]
    NotACatalog(String, String),
    #[error("`{0}` was compiled by another version of muster; it is compiled again from its feed")]
    OtherVersion(String),
    #[error("segment {0} of feed `{1}` does not stand upon the one before it; it is compiled again from its feed")]
    OtherBase(usize, String),
}

/// What compiling a feed came to.
#[derive(Debug, Default)]
pub struct Compiled {
    /// The segment's bytes. A delta takes the place of the delta that was there; a base that of all.
    pub bytes: Vec<u8>,
    /// It stands upon the base that was given; else it is a base itself.
    pub delta: bool,
    /// Against what was there, sorted. Nothing in any of the three: what was there may stay.
    pub added: Vec<Box<str>>,
    pub changed: Vec<Box<str>>,
    pub removed: Vec<Box<str>>,
}

/// One feed in a catalog: its name and its segments, the base first.
#[derive(Clone, Debug)]
pub struct Part {
    pub feed: Arc<str>,
    pub segments: Vec<Arc<Segment>>,
}

impl Part {
    /// Sees to it that each delta stands upon the base.
    pub fn new(feed: &str, segments: Vec<Arc<Segment>>) -> Result<Part, CatalogError> {
        let base = segments.first().map(|s| s.digest());
        let wrong = segments.iter().enumerate().find(|(at, s)| s.base() != base.filter(|_| *at > 0));
        match wrong {
            Some((at, _)) => Err(CatalogError::OtherBase(at, feed.to_owned())),
            None => Ok(Part { feed: feed.into(), segments }),
        }
    }
}

/// What is published of CVEs whatever the product: KEV and EPSS.
#[derive(Clone, Debug, Default)]
pub struct Threats {
    pub kev: crate::feed::kev::Catalog,
    pub epss: crate::feed::epss::Scores,
}

impl Threats {
    fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        // Everything in both can be written, and a length stands before every list.
        let mut add = |bytes: postcard::Result<Vec<u8>>| {
            hasher.update(&bytes.unwrap_or_default());
        };
        add(postcard::to_stdvec(&self.kev));
        add(postcard::to_stdvec(&self.epss));
        hasher.finalize()
    }
}

/// A segment in its place.
#[derive(Debug)]
struct Slot {
    part: usize,
    segment: Arc<Segment>,
    /// The position of its first definition.
    first: PatchId,
    /// One bit for each definition that a later segment replaces or removes; nothing if there is none.
    dead: Vec<u64>,
    gone: usize,
}

impl Slot {
    fn is_alive(&self, at: u32) -> bool {
        let (word, bit) = (wire::index(at / 64), at % 64);
        wire::index(at) < self.segment.len() && self.dead.get(word).is_none_or(|w| w >> bit & 1 == 0)
    }

    fn kill(&mut self, id: &str) {
        let Some(at) = self.segment.position(id) else { return };
        if self.dead.is_empty() {
            self.dead = vec![0; self.segment.len().div_ceil(64)];
        }
        if let Some(word) = self.dead.get_mut(wire::index(at / 64))
            && *word >> (at % 64) & 1 == 0
        {
            *word |= 1 << (at % 64);
            self.gone += 1;
        }
    }
}

/// All that is known of patches.
#[derive(Debug, Default)]
pub struct Catalog {
    parts: Vec<Part>,
    /// All segments, those of a part together.
    slots: Vec<Slot>,
    threats: Arc<Threats>,
    digest: OnceLock<String>,
}

impl Catalog {
    /// Segments past [`PATCHES_MAX`] patches are left out; limits of feeds are far below.
    pub fn new(parts: Vec<Part>, threats: Arc<Threats>) -> Catalog {
        let mut slots: Vec<Slot> = Vec::new();
        let mut first = 0u32;
        for (number, part) in parts.iter().enumerate() {
            let own = slots.len();
            for segment in &part.segments {
                let Some(next) = first.checked_add(wire::word(segment.len())).filter(|n| *n <= PATCHES_MAX) else { break };
                for earlier in slots.iter_mut().skip(own) {
                    segment.removed().for_each(|id| earlier.kill(id));
                    (0..wire::word(segment.len())).filter_map(|at| segment.id(at)).for_each(|id| earlier.kill(id));
                }
                slots.push(Slot { part: number, segment: segment.clone(), first, dead: Vec::new(), gone: 0 });
                first = next;
            }
        }
        Catalog { parts, slots, threats, digest: OnceLock::new() }
    }

    /// The same for the same segments and threats.
    pub fn digest(&self) -> String {
        let digest = self.digest.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            for part in &self.parts {
                for text in std::iter::once(&*part.feed).chain(part.segments.iter().map(|s| s.digest())) {
                    hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
                }
                hasher.update(&(part.segments.len() as u64).to_le_bytes());
            }
            hasher.update(self.threats.digest().as_bytes());
            hasher.finalize().to_hex().to_string()
        });
        digest.clone()
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub fn threats(&self) -> &Threats {
        &self.threats
    }

    /// Patches that count.
    pub fn len(&self) -> usize {
        self.slots.iter().map(|s| s.segment.len().saturating_sub(s.gone)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All patches that count, in the order of their positions. Positions of patches that a delta replaced are skipped.
    pub fn patches(&self) -> impl Iterator<Item = PatchId> + '_ {
        self.slots.iter().flat_map(|s| (0..wire::word(s.segment.len())).filter(|at| s.is_alive(*at)).map(|at| s.first + at))
    }

    /// The patches of this id: one a feed that has it. KBs in any case.
    pub fn find(&self, id: &str) -> Vec<PatchId> {
        let all = |id: &str| -> Vec<PatchId> {
            let own = |slot: &Slot| slot.segment.position(id).filter(|at| slot.is_alive(*at)).map(|at| slot.first + at);
            self.slots.iter().filter_map(own).collect()
        };
        let exact = all(id);
        if exact.is_empty() { all(&id.to_uppercase()) } else { exact }
    }

    /// The segment of a patch, and where it stands there; `None` for one that does not count.
    fn place(&self, patch: PatchId) -> Option<(&Slot, u32)> {
        let slot = self.slots.get(self.slots.partition_point(|s| s.first <= patch).checked_sub(1)?)?;
        let at = patch - slot.first;
        slot.is_alive(at).then_some((slot, at))
    }

    /// Id of a patch, and the feed that it is of.
    pub fn id(&self, patch: PatchId) -> Option<(&str, &str)> {
        let (slot, at) = self.place(patch)?;
        Some((slot.segment.id(at)?, self.parts.get(slot.part).map(|p| &*p.feed)?))
    }

    /// Everything about it, read from the segment.
    pub fn definition(&self, patch: PatchId) -> Option<Definition> {
        let (slot, at) = self.place(patch)?;
        postcard::from_bytes(slot.segment.definition_bytes(at)?).ok()
    }

    pub fn rank(&self, patch: PatchId) -> Option<Rank> {
        Some(rank::rank(&self.definition(patch)?, &self.threats))
    }

    /// What a row says of all patches, to be kept with it: sorted. Ordinary packages that are fixed are silent.
    pub fn ask(&self, row: &Row) -> Box<[Note]> {
        self.asked(row, false).into()
    }

    /// The same, and [`super::Says::Has`] also of every patch that a package has already.
    pub fn ask_fully(&self, row: &Row) -> Vec<Note> {
        self.asked(row, true)
    }

    fn asked(&self, row: &Row, fully: bool) -> Vec<Note> {
        let mut out = Vec::new();
        for feed in self.slots.chunk_by(|a, b| a.part == b.part) {
            ask::ask(feed, row, fully, &mut out);
        }
        out.sort_unstable();
        out
    }
}

#[cfg(test)]
mod tests;
