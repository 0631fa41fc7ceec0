//! Images: row sets that many endpoints share. They are found, not given.
//!
//! An endpoint is an image and its deviations. When an endpoint's rows drift too far from its image, the nearest known image
//! takes it, or its rows become a new one. Nearness is looked up by min-hashes of the row set: two sets that share most
//! rows share most of their min-hashes.

use std::collections::BTreeMap;

use super::rows::{RowId, Rows};
use crate::scan::table::TableId;

pub type ImageId = u32;

#[derive(Clone, Debug)]
pub struct Image {
    /// Sorted.
    pub rows: Box<[RowId]>,
    /// As the endpoint that founded it sent them: what is likely next in an upload.
    pub order: Box<[RowId]>,
    /// Where each table begins in `order`.
    starts: Vec<(TableId, usize)>,
    pub endpoints: u32,
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

    pub fn latest(&self) -> Option<&Image> {
        self.get(self.latest?)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ImageId, &Image)> {
        self.images.iter().map(|(id, i)| (*id, i))
    }

    /// The image that is nearest to a sorted row set, if it is near enough to keep few deviations.
    pub fn nearest(&self, rows: &[RowId]) -> Option<ImageId> {
        let mut votes: BTreeMap<ImageId, usize> = BTreeMap::new();
        for key in min_hashes(rows).into_iter().enumerate() {
            for id in self.by_hash.get(&key).into_iter().flatten() {
                *votes.entry(*id).or_default() += 1;
            }
        }
        let mut candidates: Vec<(usize, ImageId)> = votes.into_iter().map(|(id, n)| (n, id)).collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        let measured = candidates.iter().take(4).filter_map(|(_, id)| Some((distance(&self.get(*id)?.rows, rows), *id)));
        measured.min().filter(|(d, _)| is_near(*d, rows.len())).map(|(_, id)| id)
    }

    /// Takes a row set as a new image; it holds its rows.
    pub fn found(&mut self, order: Vec<RowId>, rows: &mut Rows) -> ImageId {
        let id = self.next;
        self.insert(id, order, rows);
        id
    }

    /// Puts a stored image back.
    pub fn insert(&mut self, id: ImageId, order: Vec<RowId>, rows: &mut Rows) {
        self.next = self.next.max(id + 1);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.iter().for_each(|r| rows.retain(*r));
        let mut starts: Vec<(TableId, usize)> = Vec::new();
        for (at, row) in order.iter().enumerate() {
            if let Some(table) = rows.table(*row)
                && starts.last().is_none_or(|(t, _)| *t != table)
            {
                starts.push((table, at));
            }
        }
        for key in min_hashes(&sorted).into_iter().enumerate() {
            self.by_hash.entry(key).or_default().push(id);
        }
        self.images.insert(id, Image { rows: sorted.into(), order: order.into(), starts, endpoints: 0 });
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

/// Few enough deviations to keep an endpoint at an image: a sixteenth of its rows, and always 64.
pub fn is_near(distance: usize, rows: usize) -> bool {
    distance <= (rows / 16).max(64)
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

/// Follows an upload along the order of an image: most rows are the one that is expected next.
#[derive(Debug)]
pub struct Follower<'f> {
    rows: &'f Rows,
    image: Option<&'f Image>,
    table: Option<TableId>,
    at: usize,
}

/// How far ahead of a mismatch to look before the row is looked up by its hash.
const AHEAD: usize = 3;

impl<'f> Follower<'f> {
    pub fn new(rows: &'f Rows, image: Option<&'f Image>) -> Follower<'f> {
        Follower { rows, image, table: None, at: 0 }
    }
}

impl crate::scan::native::Known for Follower<'_> {
    fn expect(&mut self, table: TableId, rest: &[u8]) -> Option<(RowId, usize)> {
        let image = self.image?;
        if self.table != Some(table) {
            self.table = Some(table);
            self.at = image.starts.iter().find(|(t, _)| *t == table).map_or(image.order.len(), |(_, at)| *at);
        }
        let ahead = image.order.get(self.at..image.order.len().min(self.at + AHEAD))?;
        for (skipped, id) in ahead.iter().enumerate() {
            if let Some(len) = self.rows.begins(*id, table, rest) {
                self.at += skipped + 1;
                return Some((*id, len));
            }
        }
        None
    }

    fn find(&mut self, table: TableId, raw: &[u8]) -> Option<RowId> {
        let id = self.rows.find(table, raw)?;
        // Back on the way, if the image has the row further on.
        if let Some(rest) = self.image.and_then(|i| i.order.get(self.at..))
            && let Some(ahead) = rest.iter().position(|r| *r == id)
        {
            self.at += ahead + 1;
        }
        Some(id)
    }
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
