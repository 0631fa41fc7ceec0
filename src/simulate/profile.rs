//! A golden image at a patch level: what all of its machines have in common, in the order in which a scan brings it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::packages::{Binary, RELEASES, of_image, row, updates};
use super::settings::{Spot, spots};
use super::{below, mix, permille};
use crate::scan::Row;
use crate::scan::digest::Digest;
use crate::scan::table::TableId;

/// A row as it is sent.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) table: TableId,
    pub(super) text: Box<[u8]>,
    digest: OnceLock<Digest>,
}

impl Line {
    pub(super) fn of(row: &Row) -> Line {
        Line { table: row.table, text: row.canonical().into(), digest: OnceLock::new() }
    }

    pub(super) fn digest(&self) -> &Digest {
        self.digest.get_or_init(|| Digest::of_row(self.table, &self.text))
    }

    fn order(&self) -> (TableId, &[u8]) {
        (self.table, &self.text)
    }
}

/// What an image is made of at any level.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) release: usize,
    pub(super) packages: Vec<Binary>,
    /// Spots that it has, and which of their ways.
    pub(super) spots: Vec<(u32, u8)>,
}

impl Image {
    pub(super) fn new(seed: u64, image: usize, spots: &[Spot]) -> Image {
        let count = 1500 + below(mix(&[seed, 0xc0407, image as u64]), 1001);
        let of = |n: usize, spot: &Spot| {
            let h = mix(&[seed, 0x5907, image as u64, n as u64]);
            // Most images are as they come; the rest were made so.
            let way = if permille(h, 700) { 0 } else { below(mix(&[h]), spot.ways.len()) };
            permille(mix(&[h, 1]), spot.share).then_some((u32::try_from(n).ok()?, u8::try_from(way).ok()?))
        };
        let spots = spots.iter().enumerate().filter_map(|(n, spot)| of(n, spot)).collect();
        Image { release: image % RELEASES.len(), packages: of_image(seed, image, count), spots }
    }
}

/// The rows of an image at a level, table after table, sorted within one.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) lines: Vec<Arc<Line>>,
    pub(super) tables: Vec<(TableId, Range<usize>, Digest)>,
    /// Where the packages and the spots of the image are in `lines`.
    pub(super) packages: Vec<u32>,
    pub(super) spots: Vec<u32>,
}

/// A package, its release, and its version if it is not the release's.
type Package = (Binary, usize, Option<u32>);

/// Rows by what they are made from: the same one is made once.
#[derive(Debug)]
pub(super) struct Lines {
    seed: u64,
    pub(super) spots: Vec<Spot>,
    ways: Vec<Vec<Arc<Line>>>,
    packages: Mutex<HashMap<Package, Arc<Line>>>,
}

impl Lines {
    pub(super) fn new(seed: u64) -> Lines {
        let spots = spots();
        let ways = spots.iter().map(|s| s.ways.iter().map(|row| Arc::new(Line::of(row))).collect()).collect();
        Lines { seed, spots, ways, packages: Mutex::default() }
    }

    /// A package at a level, or as backports have it.
    pub(super) fn package(&self, binary: Binary, release: usize, level: Option<u32>) -> Arc<Line> {
        let updates = level.map(|l| updates(self.seed, binary, release, l));
        let mut known = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry((binary, release, updates)).or_insert_with(|| Arc::new(Line::of(&row(binary, release, updates)))).clone()
    }

    pub(super) fn way(&self, spot: u32, way: usize) -> Option<&Arc<Line>> {
        let ways = self.ways.get(spot as usize)?;
        ways.get(way % ways.len())
    }

    pub(super) fn profile(&self, image: &Image, level: u32) -> Profile {
        let packages = image.packages.iter().map(|b| self.package(*b, image.release, Some(level)));
        let spots = image.spots.iter().filter_map(|(spot, way)| self.way(*spot, usize::from(*way)).cloned());
        let made: Vec<Arc<Line>> = packages.chain(spots).collect();
        let mut order: Vec<usize> = (0..made.len()).collect();
        order.sort_by(|a, b| made[*a].order().cmp(&made[*b].order()));
        let mut places = vec![0; made.len()];
        for (place, from) in (0u32..).zip(&order) {
            places[*from] = place;
        }
        let lines: Vec<Arc<Line>> = order.into_iter().map(|from| made[from].clone()).collect();
        let mut tables: Vec<(TableId, Range<usize>, Digest)> = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            if tables.last().is_none_or(|(table, ..)| *table != line.table) {
                tables.push((line.table, at..at, Digest::of_table(line.table, None)));
            }
            if let Some((_, part, digest)) = tables.last_mut() {
                part.end = at + 1;
                digest.add(line.digest());
            }
        }
        let spots = places.split_off(image.packages.len());
        Profile { lines, tables, packages: places, spots }
    }
}
