//! Sorted notes in little room: what an image's rows say of patches, tens of thousands of numbers that are near each other.

use crate::patch::{Note, PatchId};

/// Notes from one that can be found at once to the next.
const BLOCK: usize = 16;

/// Half of what a list of them takes, or less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The first note of each block, and where the others begin.
    heads: Box<[(Note, u32)]>,
    /// Of each block the notes after the first one, each by how much it is more than the one before: seven bits a byte, low ones first, the eighth says that more follow.
    steps: Box<[u8]>,
    len: usize,
}

impl Notes {
    /// Of sorted notes, the same one as often as it is there.
    pub fn of(sorted: &[Note]) -> Notes {
        let (mut heads, mut steps) = (Vec::with_capacity(sorted.len().div_ceil(BLOCK)), Vec::with_capacity(2 * sorted.len()));
        for block in sorted.chunks(BLOCK) {
            let Some(first) = block.first() else { continue };
            // INVARIANT: an image has far fewer than 2^30 notes of at most five bytes.
            heads.push((*first, u32::try_from(steps.len()).unwrap_or(u32::MAX)));
            block.windows(2).for_each(|two| write(two[1].bits() - two[0].bits(), &mut steps));
        }
        Notes { heads: heads.into(), steps: steps.into(), len: sorted.len() }
    }

    pub fn iter(&self) -> Iter<'_> {
        self.block(0)
    }

    /// The notes about one patch.
    pub fn about(&self, patch: PatchId) -> impl Iterator<Item = Note> + '_ {
        // Those about a patch may begin at the end of the block before the first that begins with it.
        let block = self.heads.partition_point(|(first, _)| first.patch() < patch).saturating_sub(1);
        let mut notes = self.block(block);
        notes.pass(patch);
        notes.take_while(move |n| n.patch() == patch)
    }

    /// All from the first of a block on.
    fn block(&self, block: usize) -> Iter<'_> {
        Iter { notes: self, at: block * BLOCK, step: 0, last: 0 }
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.heads) + self.steps.len()
    }
}

fn write(mut more: u32, out: &mut Vec<u8>) {
    while more > 0x7f {
        out.push((more & 0x7f) as u8 | 0x80);
        more >>= 7;
    }
    out.push((more & 0x7f) as u8);
}

/// What [`write`] wrote, and how many bytes that are.
fn read(steps: &[u8]) -> Option<(u32, usize)> {
    let (mut more, mut shift) = (0, 0);
    for (at, byte) in steps.iter().enumerate() {
        more |= u32::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some((more, at + 1));
        }
        shift += 7;
    }
    None
}

/// Notes, one after the other.
#[derive(Clone, Debug)]
pub struct Iter<'n> {
    notes: &'n Notes,
    /// How many came before.
    at: usize,
    /// Where the next one is, if it does not begin a block.
    step: usize,
    last: u32,
}

impl Iter<'_> {
    /// At the beginning of a block: passes over those of it that are about patches before this one.
    fn pass(&mut self, patch: PatchId) {
        let Some((first, steps)) = self.notes.heads.get(self.at / BLOCK).filter(|(first, _)| first.patch() < patch) else { return };
        let end = self.notes.len.min(self.at + BLOCK);
        (self.at, self.last, self.step) = (self.at + 1, first.bits(), *steps as usize);
        while self.at < end
            && let Some((more, bytes)) = self.notes.steps.get(self.step..).and_then(read)
            && Note::from_bits(self.last + more).patch() < patch
        {
            (self.at, self.last, self.step) = (self.at + 1, self.last + more, self.step + bytes);
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = Note;

    fn next(&mut self) -> Option<Note> {
        if self.at >= self.notes.len {
            return None;
        }
        if self.at.is_multiple_of(BLOCK) {
            let (first, steps) = self.notes.heads.get(self.at / BLOCK)?;
            (self.last, self.step) = (first.bits(), *steps as usize);
        } else {
            let (more, bytes) = self.notes.steps.get(self.step..).and_then(read)?;
            (self.last, self.step) = (self.last + more, self.step + bytes);
        }
        self.at += 1;
        Some(Note::from_bits(self.last))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_the_list_that_they_are_of(mut bits in prop::collection::vec(prop_oneof![0u32..2000, any::<u32>()], 0..400), patches in prop::collection::vec(0u32..200, 0..20)) {
            bits.sort_unstable();
            let list: Vec<Note> = bits.iter().map(|b| Note::from_bits(*b)).collect();
            let notes = Notes::of(&list);
            prop_assert_eq!(notes.iter().collect::<Vec<_>>(), list.clone());
            for patch in patches.into_iter().chain(list.iter().map(|n| n.patch())) {
                let wanted: Vec<Note> = list.iter().filter(|n| n.patch() == patch).copied().collect();
                prop_assert_eq!(notes.about(patch).collect::<Vec<_>>(), wanted, "{}", patch);
            }
        }
    }

    #[test]
    fn what_is_near_takes_little() {
        let list: Vec<Note> = (0..25_000).map(|n| Note::from_bits(n * 192 + 3)).collect();
        let notes = Notes::of(&list);
        assert!(notes.bytes() < size_of_val(list.as_slice()) * 6 / 10, "{}", notes.bytes());
    }
}
