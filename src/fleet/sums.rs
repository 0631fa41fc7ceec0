//! What rows say of patches, added up: `image's notes - notes of its rows that an endpoint lacks + notes of the rows that it has beside`.
//!
//! An image keeps the notes of its rows as one sorted list (`notes`), so the sum of one patch is a look at a few neighbours, whatever the fleet's size and however many
//! patches there are. Nothing is kept for an endpoint and a patch.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::image::{Image, ImageId};
use super::notes::Notes;
use super::rows::{RowId, Rows};
use super::{Fleet, Held};
use crate::patch::stand::{Sum, sums};
use crate::patch::{Note, PatchId};
use crate::scan::table::TableId;

/// Tables whose rows say something of patches.
pub fn tells_of_patches(table: TableId) -> bool {
    static TABLES: LazyLock<Vec<TableId>> =
        LazyLock::new(|| ["os", "package", "update", "hotfix"].into_iter().filter_map(TableId::by_name).collect());
    TABLES.contains(&table)
}

/// The notes of a row about one patch.
pub fn about(notes: &[Note], patch: PatchId) -> &[Note] {
    let from = notes.partition_point(|n| n.patch() < patch);
    let rest = notes.get(from..).unwrap_or_default();
    rest.get(..rest.partition_point(|n| n.patch() == patch)).unwrap_or_default()
}

/// Patches that these rows say something of; sorted, each once.
pub fn patches_of<'r>(rows: &Rows, ids: impl Iterator<Item = &'r RowId>) -> Vec<PatchId> {
    let (mut out, mut last): (Vec<PatchId>, &[Note]) = (Vec::new(), &[]);
    for row in ids {
        let notes = rows.notes(*row);
        // Packages that are built from one source, which mostly come and go together, are affected alike.
        if notes != last {
            out.extend(notes.iter().map(|n| n.patch()));
            last = notes;
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// Calls for each of these sorted notes that is about one of these sorted patches, with its place among them.
fn among(notes: &[Note], patches: &[PatchId], mut each: impl FnMut(usize, Note)) {
    let mut at = 0;
    for note in notes {
        while patches.get(at).is_some_and(|p| *p < note.patch()) {
            at += 1;
        }
        match patches.get(at) {
            None => break,
            Some(patch) if *patch == note.patch() => each(at, *note),
            Some(_) => {}
        }
    }
}

/// Takes the notes about a patch from the front.
fn next<'n>(notes: &mut &'n [Note], patch: PatchId) -> &'n [Note] {
    let (these, rest) = notes.split_at(notes.iter().take_while(|n| n.patch() == patch).count());
    *notes = rest;
    these
}

/// What an image's notes say of a patch.
fn sum_of(image: Option<&Notes>, patch: PatchId) -> Sum {
    let mut sum = Sum::default();
    image.into_iter().flat_map(|notes| notes.about(patch)).for_each(|note| sum.add(note));
    sum
}

/// Sorted notes without those of the list; each of those takes one away.
fn without<'n>(all: impl Iterator<Item = Note> + 'n, gone: &'n [Note]) -> impl Iterator<Item = Note> + 'n {
    let mut gone = gone.iter().copied().peekable();
    all.filter(move |note| {
        while gone.next_if(|g| g < note).is_some() {}
        gone.next_if_eq(note).is_none()
    })
}

/// Notes that are kept aside until they take the place of the present ones.
#[derive(Debug, Default)]
pub struct Aside {
    /// By row.
    pub rows: Vec<Box<[Note]>>,
    pub images: BTreeMap<ImageId, Notes>,
}

impl Aside {
    pub fn row(&self, id: RowId) -> &[Note] {
        self.rows.get(id as usize).map_or(&[], |notes| notes)
    }

    pub fn put(&mut self, id: RowId, notes: Box<[Note]>) {
        let slot = id as usize;
        if self.rows.len() <= slot {
            self.rows.resize_with(slot + 1, Box::default);
        }
        self.rows[slot] = notes;
    }
}

/// What the fleet says of patches, under the present catalog or under one that is made ready.
#[derive(Clone, Copy, Debug)]
pub struct Noted<'f> {
    fleet: &'f Fleet,
    aside: Option<&'f Aside>,
}

impl<'f> Noted<'f> {
    pub fn row(self, id: RowId) -> &'f [Note] {
        self.aside.map_or_else(|| self.fleet.rows.notes(id), |aside| aside.row(id))
    }

    fn image(self, id: ImageId) -> Option<&'f Notes> {
        match self.aside {
            None => self.fleet.images.get(id).map(Image::notes),
            Some(aside) => aside.images.get(&id),
        }
    }

    /// What an image's rows say of one patch.
    fn image_about(self, id: ImageId, patch: PatchId) -> impl Iterator<Item = Note> + 'f {
        self.image(id).into_iter().flat_map(move |notes| notes.about(patch))
    }

    fn of_rows(self, rows: &[RowId]) -> Vec<Note> {
        let mut out: Vec<Note> = rows.iter().flat_map(|r| self.row(*r)).copied().collect();
        out.sort_unstable();
        out
    }

    /// The sums of all patches that some row of an endpoint notes, by patch.
    pub fn sums(self, held: &Held) -> Vec<(PatchId, Sum)> {
        let minus = self.of_rows(&held.minus);
        sums(without(self.image(held.image).into_iter().flat_map(Notes::iter), &minus).chain(self.of_rows(&held.plus)))
    }

    /// The sums of these patches, which are sorted: one for each.
    pub fn sums_of(self, held: &Held, patches: &[PatchId]) -> Vec<Sum> {
        let image = self.image(held.image);
        let mut sums: Vec<Sum> = patches.iter().map(|patch| sum_of(image, *patch)).collect();
        self.step(&mut sums, patches, &held.minus, &held.plus);
        sums
    }

    /// Takes rows that go off the sums of these sorted patches, and adds those that come.
    pub fn step(self, sums: &mut [Sum], patches: &[PatchId], gone: &[RowId], come: &[RowId]) {
        gone.iter().for_each(|row| among(self.row(*row), patches, |at, note| sums[at].take(note)));
        come.iter().for_each(|row| among(self.row(*row), patches, |at, note| sums[at].add(note)));
    }

    /// The sum of one patch at an image.
    pub fn sum_at(self, image: ImageId, patch: PatchId) -> Sum {
        sum_of(self.image(image), patch)
    }

    /// The patches of which an endpoint's own rows say something: the sum at its image, and at the endpoint.
    pub fn apart(self, held: &Held, mut each: impl FnMut(PatchId, Sum, Sum)) {
        let (plus, minus) = (self.of_rows(&held.plus), self.of_rows(&held.minus));
        let (mut plus, mut minus) = (plus.as_slice(), minus.as_slice());
        while let Some(patch) = plus.first().into_iter().chain(minus.first()).map(|n| n.patch()).min() {
            let (mut there, mut here) = (Sum::default(), Sum::default());
            let gone = next(&mut minus, patch);
            self.image_about(held.image, patch).for_each(|n| there.add(n));
            without(self.image_about(held.image, patch), gone).for_each(|n| here.add(n));
            next(&mut plus, patch).iter().for_each(|n| here.add(*n));
            each(patch, there, here);
        }
    }

    /// Patches that the rows by which an endpoint deviates from its image note; sorted.
    pub fn deviating(self, held: &Held) -> Vec<PatchId> {
        let mut out: Vec<PatchId> = held.plus.iter().chain(&held.minus).flat_map(|row| self.row(*row)).map(|n| n.patch()).collect();
        out.sort_unstable();
        out.dedup();
        out
    }
}

impl Fleet {
    /// What the fleet says of the patches of the present catalog.
    pub fn noted_now(&self) -> Noted<'_> {
        Noted { fleet: self, aside: None }
    }

    /// And by notes that are kept aside.
    pub fn noted_by<'f>(&'f self, aside: &'f Aside) -> Noted<'f> {
        Noted { fleet: self, aside: Some(aside) }
    }

    /// The sums of these patches, which are sorted, at an endpoint: one for each.
    pub fn sums_of(&self, held: &Held, patches: &[PatchId]) -> Vec<Sum> {
        self.noted_now().sums_of(held, patches)
    }

    /// The sums of all patches that some row of an endpoint notes, by patch.
    pub fn sums(&self, held: &Held) -> Vec<(PatchId, Sum)> {
        self.noted_now().sums(held)
    }

    /// Patches that some row of the fleet notes; sorted.
    pub fn noted(&self) -> Vec<PatchId> {
        let mut out: Vec<PatchId> = Vec::new();
        for notes in self.rows.all_notes() {
            out.extend(notes.iter().map(|n| n.patch()));
            // Most rows repeat what others note.
            if out.len() > 1 << 22 {
                out.sort_unstable();
                out.dedup();
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    /// The rows and images that note one of these patches, both sorted: an endpoint beside all of them has nothing to say.
    pub fn noting(&self, patches: &[PatchId]) -> (Vec<RowId>, Vec<ImageId>) {
        let says = |notes: &[Note]| patches.iter().any(|p| !about(notes, *p).is_empty());
        let rows = self.rows.iter().map(|(id, ..)| id).filter(|id| says(self.rows.notes(*id))).collect();
        let told = |notes: &Notes| patches.iter().any(|p| notes.about(*p).next().is_some());
        (rows, self.images.iter().filter(|(_, i)| told(i.notes())).map(|(id, _)| id).collect())
    }

    /// Rows of an endpoint in one table: few tables are looked at one by one, and those have few rows.
    pub fn rows_in(&self, held: &Held, table: TableId) -> Vec<RowId> {
        let image = self.images.get(held.image).map_or(&[][..], |i| i.part(table));
        let mut out: Vec<RowId> = image.iter().filter(|r| held.minus.binary_search(r).is_err()).copied().collect();
        out.extend(held.plus.iter().filter(|r| self.rows.table(**r) == Some(table)));
        out.sort_unstable();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::Says;

    #[test]
    fn each_note_that_goes_takes_one_away() {
        let note = |p, says| Note::new(p, says, false);
        let all = [note(1, Says::Lacks), note(2, Says::Lacks), note(2, Says::Lacks), note(2, Says::Has), note(9, Says::NoFix)];
        let gone = [note(1, Says::Offers), note(2, Says::Lacks), note(9, Says::NoFix)];
        let left: Vec<Note> = without(all.into_iter(), &gone).collect();
        assert_eq!(left, [note(1, Says::Lacks), note(2, Says::Lacks), note(2, Says::Has)]);
        assert_eq!(about(&all, 2).len(), 3);
        assert!(about(&all, 3).is_empty() && about(&[], 1).is_empty());
        let mut rest = all.as_slice();
        assert_eq!((next(&mut rest, 1).len(), next(&mut rest, 2).len(), next(&mut rest, 5).len(), rest.len()), (1, 3, 0, 1));
    }
}
