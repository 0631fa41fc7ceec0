//! What two catalogs have in common: `old, new -> feeds that say the same`, whose notes are carried over under other positions, and the feeds that rows are asked anew.
//!
//! INVARIANT: what a feed says of a row depends on its own segments alone, so that the notes of a feed with the same segments are the same but for their positions.

use super::{Catalog, Note, PatchId, ask, wire};
use crate::scan::Row;

/// What of a catalog's notes another one says too.
#[derive(Debug, Default)]
pub struct Common {
    /// Positions in the one, how many, and where they are in the other; sorted.
    ranges: Vec<(PatchId, u32, PatchId)>,
    /// By part of the other: whether rows are asked.
    asked: Vec<bool>,
}

impl Common {
    pub fn new(old: &Catalog, new: &Catalog) -> Common {
        let mut common = Common { ranges: Vec::new(), asked: vec![true; new.parts.len()] };
        for (number, part) in new.parts.iter().enumerate() {
            let of = |catalog: &Catalog| {
                let mut named = (0..).zip(&catalog.parts).filter(|(_, p)| p.feed == part.feed).map(|(n, _)| n);
                named.next().filter(|_| named.next().is_none())
            };
            let (Some(before), Some(_)) = (of(old), of(new)) else { continue };
            let slots = |catalog: &Catalog, part: usize| {
                let of = catalog.slots.iter().filter(|s| s.part == part);
                of.map(|s| (s.segment.digest().to_owned(), s.first, wire::word(s.segment.len()))).collect::<Vec<_>>()
            };
            let (from, to) = (slots(old, before), slots(new, number));
            if from.iter().map(|s| &s.0).ne(to.iter().map(|s| &s.0)) {
                continue;
            }
            common.ranges.extend(from.iter().zip(&to).map(|(from, to)| (from.1, from.2, to.1)));
            if let Some(asked) = common.asked.get_mut(number) {
                *asked = false;
            }
        }
        common.ranges.sort_unstable();
        common
    }

    /// Where a patch is that is of a feed which both have alike.
    pub fn place(&self, patch: PatchId) -> Option<PatchId> {
        let at = self.ranges.partition_point(|(first, ..)| *first <= patch).checked_sub(1)?;
        let (first, count, to) = *self.ranges.get(at)?;
        let offset = patch - first;
        (offset < count).then_some(to + offset)
    }

    /// The notes that are the same, under their new positions.
    pub fn carry(&self, notes: &[Note]) -> Vec<Note> {
        notes.iter().filter_map(|n| Some(Note::new(self.place(n.patch())?, n.says(), n.superseded()))).collect()
    }

    /// Whether there is any feed to ask.
    pub fn asks(&self) -> bool {
        self.asked.contains(&true)
    }

    /// Adds to carried notes what a row says of the other feeds: then they are what [`Catalog::ask`] gives.
    pub fn ask(&self, catalog: &Catalog, row: &Row, carried: Vec<Note>) -> Box<[Note]> {
        let mut out = carried;
        for feed in catalog.slots.chunk_by(|a, b| a.part == b.part) {
            if feed.first().is_some_and(|s| self.asked.get(s.part).copied().unwrap_or(true)) {
                ask::ask(feed, row, false, &mut out);
            }
        }
        out.sort_unstable();
        out.into()
    }
}
