//! Images: row sets that many endpoints share. They are found, not given.
//!
//! An endpoint is an image and its deviations. When an endpoint's rows drift too far from its image, the nearest known image
//! takes it, or its rows become a new one. Nearness is looked up by min-hashes of the row set: two sets that share most
//! rows share most of their min-hashes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use rayon::prelude::*;

use super::follow::Way;
use super::notes::Notes;
use super::rows::{RowId, Rows};
use super::template::Template;
use crate::pack::TermId;
use crate::pack::predicate::Hit;
use crate::patch::Note;
use crate::scan::table::TableId;

pub type ImageId = u32;

/// What rows say to terms, by term, with the row that says it.
pub type Says = Box<[(Hit, RowId)]>;

/// What rows without `minus` say to one term, each with the row.
pub fn said_to<'i>(says: &'i [(Hit, RowId)], term: TermId, minus: &'i [RowId]) -> impl Iterator<Item = (Hit, RowId)> + 'i {
    let from = says.partition_point(|(hit, _)| hit.term < term);
    let these = says[from..].iter().take_while(move |(hit, _)| hit.term == term);
    these.filter(|(_, row)| minus.binary_search(row).is_err()).copied()
}

#[derive(Debug)]
pub struct Image {
    /// Sorted.
    pub rows: Box<[RowId]>,
    /// Each once, table after table, within one as the endpoint that founded the image sent them: what is likely next in an upload.
    pub order: Box<[RowId]>,
    /// Where each of `rows` is in `order`.
    places: Places,
    /// Where each table is in `order`.
    pub(super) tables: Vec<(TableId, Range<usize>)>,
    /// What the rows say to the terms of the present pack, by term: judging an endpoint looks at no row of its image.
    says: Says,
    /// What they say of patches: the sum of one patch is that of a few neighbours.
    notes: Notes,
    /// What tells the text of `order`, once an upload came for it.
    template: OnceLock<Template>,
    pub endpoints: u32,
}

/// Numbers below a length, in as few bytes as that takes: a large fleet has thousands of images.
#[derive(Debug)]
enum Places {
    Few(Box<[u16]>),
    Many(Box<[u32]>),
}

impl Places {
    fn of(places: Vec<u32>) -> Places {
        match places.iter().map(|place| u16::try_from(*place)).collect() {
            Ok(few) => Places::Few(few),
            Err(_) => Places::Many(places.into()),
        }
    }

    fn get(&self, at: usize) -> Option<usize> {
        match self {
            Places::Few(few) => few.get(at).map(|place| usize::from(*place)),
            Places::Many(many) => many.get(at).map(|place| *place as usize),
        }
    }
}

impl Image {
    pub(super) fn new(order: Vec<RowId>, rows: &Rows) -> Image {
        let mut order = order;
        let mut seen = hashbrown::HashSet::with_capacity(order.len());
        order.retain(|row| seen.insert(*row));
        order.sort_by_cached_key(|row| rows.table(*row));
        let mut tables: Vec<(TableId, Range<usize>)> = Vec::new();
        for (at, row) in order.iter().enumerate() {
            let Some(table) = rows.table(*row) else { continue };
            match tables.last_mut() {
                Some((last, part)) if *last == table => part.end = at + 1,
                _ => tables.push((table, at..at + 1)),
            }
        }
        let mut placed: Vec<(RowId, u32)> = order.iter().copied().zip(0..).collect();
        placed.sort_unstable();
        let (sorted, places): (Vec<_>, Vec<_>) = placed.into_iter().unzip();
        let (says, notes, template) = (Box::default(), Notes::default(), OnceLock::new());
        let (sorted, order, places) = (sorted.into(), order.into(), Places::of(places));
        let mut image = Image { rows: sorted, order, places, tables, says, notes, template, endpoints: 0 };
        image.ask(rows);
        image.note(rows);
        image
    }

    /// Takes what the rows say of patches now.
    fn note(&mut self, rows: &Rows) {
        self.notes = self.noted_by(|row| rows.notes(row));
    }

    /// What the rows say of patches together, if this is what each says.
    pub fn noted_by<'n>(&self, notes: impl Fn(RowId) -> &'n [Note]) -> Notes {
        let mut all: Vec<Note> = self.rows.iter().flat_map(|row| notes(*row)).copied().collect();
        all.sort_unstable();
        Notes::of(&all)
    }

    /// What tells that an upload goes on as the image does.
    pub(super) fn template(&self, rows: &Rows) -> &Template {
        self.template.get_or_init(|| Template::of(&self.order, &self.tables, rows))
    }

    /// What the image's rows say of patches.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Bytes that it takes, about, with its rows' places in the index.
    pub fn bytes(&self) -> usize {
        let places = match &self.places {
            Places::Few(few) => size_of_val(&**few),
            Places::Many(many) => size_of_val(&**many),
        };
        3 * size_of_val(&*self.rows) + places + size_of_val(&*self.says) + self.notes.bytes()
    }

    /// The rows of one table.
    pub fn part(&self, table: TableId) -> &[RowId] {
        let part = self.tables.iter().find(|(t, _)| *t == table);
        part.and_then(|(_, part)| self.order.get(part.clone())).unwrap_or_default()
    }

    /// Takes what the rows say now.
    fn ask(&mut self, rows: &Rows) {
        self.says = self.said_by(|row| rows.hits(row));
    }

    /// What the rows say together, if this is what each says.
    pub fn said_by<'h>(&self, hits: impl Fn(RowId) -> &'h [Hit]) -> Says {
        let mut says: Vec<(Hit, RowId)> = self.rows.iter().flat_map(|row| hits(*row).iter().map(|hit| (*hit, *row))).collect();
        says.sort_by_key(|(hit, _)| hit.term);
        says.into()
    }

    /// What the image's rows without `minus` say to all terms.
    pub fn says<'i>(&'i self, minus: &'i [RowId]) -> impl Iterator<Item = Hit> + 'i {
        self.says.iter().filter(|(_, row)| minus.binary_search(row).is_err()).map(|(hit, _)| *hit)
    }

    /// What they say to one.
    pub fn says_to<'i>(&'i self, term: TermId, minus: &'i [RowId]) -> impl Iterator<Item = (Hit, RowId)> + 'i {
        said_to(&self.says, term, minus)
    }

    /// Where a row is in `order`.
    pub(super) fn place(&self, row: RowId) -> Option<usize> {
        self.places.get(self.rows.binary_search(&row).ok()?)
    }

    /// The deviations of a scan that left the way of this image like this and brought `new` rows beside: what it has more, and what it lacks.
    pub fn deviations(&self, way: Way, new: &[RowId]) -> (Vec<RowId>, Vec<RowId>) {
        let Way { mut strays, skipped: mut minus, .. } = way;
        strays.extend(new);
        strays.sort_unstable();
        strays.dedup();
        // Rows may be passed over and come later, come twice, or be new spellings of the image's.
        minus.retain(|row| strays.binary_search(row).is_err());
        strays.retain(|row| self.place(*row).is_none());
        (strays, minus)
    }
}

/// Min-hashes a set has; images that share one are candidates.
const HASHES: usize = 8;

#[derive(Debug, Default)]
pub struct Images {
    images: BTreeMap<ImageId, Image>,
    next: ImageId,
    by_hash: BTreeMap<(usize, u32), Vec<ImageId>>,
    /// The image that took an endpoint last: the guess for one that is not known yet.
    latest: Option<ImageId>,
}

impl Images {
    pub fn len(&self) -> usize {
        self.images.len()
    }

    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    pub fn get(&self, id: ImageId) -> Option<&Image> {
        self.images.get(&id)
    }

    pub fn latest(&self) -> Option<ImageId> {
        self.latest
    }

    pub fn iter(&self) -> impl Iterator<Item = (ImageId, &Image)> {
        self.images.iter().map(|(id, i)| (*id, i))
    }

    /// Those after one, by id. INVARIANT: an id is not used again, and those of later images are higher.
    pub fn after(&self, id: Option<ImageId>) -> impl Iterator<Item = (ImageId, &Image)> {
        use std::ops::Bound;
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.images.range((from, Bound::Unbounded)).map(|(id, i)| (*id, i))
    }

    /// Puts what an image's rows say to another pack in the place of what they say now, and gives that.
    pub fn replace_says(&mut self, id: ImageId, says: Says) -> Says {
        self.images.get_mut(&id).map(|image| std::mem::replace(&mut image.says, says)).unwrap_or_default()
    }

    /// The same with what they say of the patches of another catalog.
    pub fn replace_notes(&mut self, id: ImageId, notes: Notes) -> Notes {
        self.images.get_mut(&id).map(|image| std::mem::replace(&mut image.notes, notes)).unwrap_or_default()
    }

    /// The image that is nearest to a sorted row set, if it is near enough to keep few deviations.
    pub fn nearest(&self, rows: &[RowId]) -> Option<ImageId> {
        self.nearest_of(rows, |_| true).map(|(_, id)| id)
    }

    /// The same of some images, with how far it is.
    pub fn nearest_of(&self, rows: &[RowId], among: impl Fn(ImageId) -> bool) -> Option<(usize, ImageId)> {
        let keys = min_hashes(rows).into_iter().enumerate();
        let mut votes: Vec<ImageId> = keys.filter_map(|key| self.by_hash.get(&key)).flatten().copied().filter(|id| among(*id)).collect();
        votes.sort_unstable();
        let counted = votes.chunk_by(|a, b| a == b).filter_map(|same| Some((same.len(), *same.first()?)));
        let mut candidates: Vec<(usize, ImageId)> = counted.collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        let measured = candidates.iter().take(4).filter_map(|(_, id)| Some((distance(&self.get(*id)?.rows, rows), *id)));
        measured.min().filter(|(d, _)| is_near(*d, rows.len()))
    }

    /// Takes a row set as a new image; it holds its rows.
    pub fn found(&mut self, order: Vec<RowId>, rows: &mut Rows) -> ImageId {
        let id = self.next;
        let image = Image::new(order, rows);
        self.restore(id, image, rows);
        id
    }

    /// Puts an image to its number.
    pub(super) fn restore(&mut self, id: ImageId, image: Image, rows: &mut Rows) {
        self.next = self.next.max(id + 1);
        image.rows.iter().for_each(|r| rows.retain(*r));
        for (_, part) in &image.tables {
            image.order[part.clone()].windows(2).for_each(|two| rows.set_next(two[0], two[1]));
        }
        for key in min_hashes(&image.rows).into_iter().enumerate() {
            self.by_hash.entry(key).or_default().push(id);
        }
        self.images.insert(id, image);
    }

    /// Takes what the rows say to a new pack.
    pub fn ask_all(&mut self, rows: &Rows) {
        self.images.par_iter_mut().for_each(|(_, image)| image.ask(rows));
    }

    /// Takes what the rows say of the patches of a new catalog.
    pub fn note_all(&mut self, rows: &Rows) {
        self.images.par_iter_mut().for_each(|(_, image)| image.note(rows));
    }

    pub(super) fn join_many(&mut self, id: ImageId, endpoints: u32) {
        if let Some(image) = self.images.get_mut(&id) {
            image.endpoints += endpoints;
            self.latest = self.latest.max(Some(id));
        }
    }

    pub fn join(&mut self, id: ImageId) {
        if let Some(image) = self.images.get_mut(&id) {
            image.endpoints += 1;
            self.latest = Some(id);
        }
    }

    /// An endpoint left. Whether that was the last one, and the image is gone.
    pub fn leave(&mut self, id: ImageId, rows: &mut Rows) -> bool {
        let Some(image) = self.images.get_mut(&id) else { return false };
        image.endpoints = image.endpoints.saturating_sub(1);
        if image.endpoints > 0 {
            return false;
        }
        for key in min_hashes(&image.rows).into_iter().enumerate() {
            if let Some(ids) = self.by_hash.get_mut(&key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_hash.remove(&key);
                }
            }
        }
        if let Some(image) = self.images.remove(&id) {
            image.rows.iter().for_each(|r| rows.release(*r));
        }
        if self.latest == Some(id) {
            self.latest = self.images.keys().next_back().copied();
        }
        true
    }
}

/// Few enough deviations to keep an endpoint at an image: a third of its rows, and always 64. An image takes as much memory as ten thousand deviations, so one of its own pays only for
/// who has little in common with any; those who deviate alike get one by [`Fleet::gather`](super::Fleet::gather).
pub fn is_near(distance: usize, rows: usize) -> bool {
    distance <= (rows / 3).max(64)
}

/// For each of a few hash functions the smallest hash over the set.
fn min_hashes(rows: &[RowId]) -> [u32; HASHES] {
    let mut least = [u32::MAX; HASHES];
    for row in rows {
        let mixed = (u64::from(*row) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for (i, slot) in (0u32..).zip(least.iter_mut()) {
            let h = (mixed.rotate_left(i * 8) ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32;
            *slot = (*slot).min(u32::try_from(h).unwrap_or(u32::MAX));
        }
    }
    least
}

/// How many rows one of two sorted sets has and the other has not.
fn distance(a: &[RowId], b: &[RowId]) -> usize {
    let (added, removed) = difference(a, b);
    added.len() + removed.len()
}

/// What the sorted set `to` has that `from` has not, and the other way round.
pub fn difference(from: &[RowId], to: &[RowId]) -> (Vec<RowId>, Vec<RowId>) {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let (mut i, mut j) = (0, 0);
    while i < from.len() && j < to.len() {
        match from[i].cmp(&to[j]) {
            std::cmp::Ordering::Equal => {
                i += 1;
                j += 1;
            }
            std::cmp::Ordering::Less => {
                removed.push(from[i]);
                i += 1;
            }
            std::cmp::Ordering::Greater => {
                added.push(to[j]);
                j += 1;
            }
        }
    }
    removed.extend_from_slice(&from[i..]);
    added.extend_from_slice(&to[j..]);
    (added, removed)
}

/// The sorted set `from` with `plus` and without `minus`, all sorted.
pub fn apply(from: &[RowId], plus: &[RowId], minus: &[RowId]) -> Vec<RowId> {
    let mut out = Vec::with_capacity(from.len() + plus.len());
    let (mut p, mut m) = (plus.iter().peekable(), minus.iter().peekable());
    for row in from {
        while let Some(added) = p.next_if(|added| **added < *row) {
            out.push(*added);
        }
        if m.next_if_eq(&row).is_none() {
            out.push(*row);
        }
    }
    out.extend(p);
    out
}

/// What two sets that deviate from one image, each by `(plus, minus)`, differ by: what the second has more, and what it lacks.
pub fn turn(from: (&[RowId], &[RowId]), to: (&[RowId], &[RowId])) -> (Vec<RowId>, Vec<RowId>) {
    let (mut added, mut removed) = difference(from.0, to.0);
    let (lost, back) = difference(from.1, to.1);
    added.extend(back);
    removed.extend(lost);
    added.sort_unstable();
    removed.sort_unstable();
    (added, removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_difference_applied_gives_the_other_set(a in prop::collection::btree_set(0u32..200, 0..80), b in prop::collection::btree_set(0u32..200, 0..80)) {
            let (a, b): (Vec<_>, Vec<_>) = (a.into_iter().collect(), b.into_iter().collect());
            let (plus, minus) = difference(&a, &b);
            prop_assert_eq!(apply(&a, &plus, &minus), b);
        }
    }

    proptest! {
        #[test]
        fn two_sets_of_deviations_differ_as_the_rows_do(
            image in prop::collection::btree_set(0u32..60, 0..50),
            a in prop::collection::btree_set(0u32..90, 0..60),
            b in prop::collection::btree_set(0u32..90, 0..60),
        ) {
            let [image, a, b] = [image, a, b].map(|set| set.into_iter().collect::<Vec<RowId>>());
            let (from, to) = (difference(&image, &a), difference(&image, &b));
            prop_assert_eq!(turn((&from.0, &from.1), (&to.0, &to.1)), difference(&a, &b));
        }
    }

    #[test]
    fn an_image_of_any_size_knows_where_its_rows_are() {
        for size in [1, 1000, 65_536, 65_537] {
            // From the last on.
            let image = Image::new((0..size).rev().collect(), &Rows::default());
            let places = [0, size / 2, size - 1].map(|row| image.place(row));
            assert_eq!(places, [size - 1, size - 1 - size / 2, 0].map(|place| Some(place as usize)));
            assert_eq!(image.place(size), None);
        }
    }

    #[test]
    fn near_sets_find_their_image_and_far_ones_do_not() {
        let mut rows = Rows::default();
        let mut images = Images::default();
        let first = images.found((0..3000).collect(), &mut rows);
        let second = images.found((10_000..13_000).collect(), &mut rows);
        let mut near: Vec<RowId> = (0..3000).filter(|i| i % 50 != 0).collect();
        near.extend(50_000..50_020);
        assert_eq!(images.nearest(&near), Some(first));
        assert_eq!(images.nearest(&(10_005..13_000).collect::<Vec<_>>()), Some(second));
        assert_eq!(images.nearest(&(20_000..23_000).collect::<Vec<_>>()), None);
        assert_eq!(images.nearest(&[]), None);
        images.join(first);
        assert!(images.leave(first, &mut rows));
        assert_eq!(images.nearest(&near), None);
    }
}
