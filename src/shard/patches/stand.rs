//! Postures of all endpoints from the start: for other groups and decisions, and when the process starts.
//!
//! `rows of the fleet -> parts -> the posture of an image, and what an endpoint's own rows make of it`. Rows that note a patch in common are in one part, mostly the versions of one package. So a
//! posture is the sum of what each part comes to, and where a part is one row, that is known of the row: a million endpoints are added up without a look at what their rows note.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use rayon::prelude::*;

use super::{Ground, PatchTotals, Patches, Posture, Weight, undecided};
use crate::fleet::image::{Image, ImageId};
use crate::fleet::rows::RowId;
use crate::fleet::{Endpoint, EndpointId, Held};
use crate::patch::Note;
use crate::patch::stand::sums;
use crate::scan::table::TableId;
use crate::shard::Shard;

/// Rows of an image in one part at most; from more the notes of an endpoint's own rows are the shorter way.
const PART_MAX: usize = 64;

/// Sets of rows whose posture is kept, at most: endpoints of an image mostly deviate as others of it do.
const KNOWN: usize = 1 << 16;

/// Endpoints of an image that one thread takes at a time: images are of very different sizes.
const TOGETHER: usize = 8192;

type PartId = u32;

/// Rows that note nothing are in none.
const NO_PART: PartId = PartId::MAX;

/// What rows have to do with each other, and come to alone; by row.
struct Parts<'s> {
    shard: &'s Shard,
    of: Vec<PartId>,
    alone: Vec<Posture>,
}

/// What was asked of sets of rows before.
#[derive(Default)]
struct Asked {
    known: HashMap<Box<[RowId]>, Posture>,
    /// Those that are asked about now, and those by which the endpoint deviates.
    rows: Vec<RowId>,
    own: Vec<Own>,
}

/// An image's rows that note something, by part, and what they come to.
struct Parted {
    rows: Vec<(PartId, RowId)>,
    posture: Posture,
}

/// A row by which an endpoint deviates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Own {
    part: PartId,
    row: RowId,
    has: bool,
}

impl Shard {
    /// Postures of all endpoints.
    pub(in crate::shard) fn stand_all(&mut self) {
        self.stand_beside(|| ());
    }

    /// The same while something goes on that has nothing to do with it.
    pub(in crate::shard) fn stand_beside<T: Send>(&mut self, other: impl FnOnce() -> T + Send) -> T {
        let catalog = &self.catalog;
        self.patches.weights =
            self.fleet.noted().into_par_iter().map(|patch| (patch, Weight::of(catalog, patch))).collect::<Vec<_>>().into_iter().collect();
        self.patches.postures.clear();
        self.trends.doubt();
        self.patches.totals = PatchTotals::default();
        let (by_image, other) = rayon::join(|| self.stand(), other);
        let Patches { postures, totals, .. } = &mut self.patches;
        postures.resize(self.fleet.places() as usize, Posture::default());
        for (endpoints, sum) in by_image {
            totals.join(&sum);
            endpoints.into_iter().for_each(|(at, posture)| postures[at.0 as usize] = posture);
        }
        other
    }

    /// By image, some at a time, with their sum.
    fn stand(&self) -> Vec<(Vec<(EndpointId, Posture)>, PatchTotals)> {
        let os = TableId::by_name("os").map(|os| self.fleet.index().rows(os)).unwrap_or_default();
        let windows: HashSet<RowId> = os.iter().copied().filter(|row| self.is_windows(*row)).collect();
        let parts = Parts::of(self);
        let mut by_image: BTreeMap<ImageId, Vec<EndpointId>> = BTreeMap::new();
        for (_, cluster) in self.fleet.index().clusters() {
            by_image.entry(cluster.image).or_default().extend(cluster.endpoints.iter().map(EndpointId));
        }
        let of_image = |(id, endpoints): (ImageId, Vec<EndpointId>)| {
            let Some(image) = self.fleet.images.get(id) else { return Vec::new() };
            let parted = parts.of_image(image, &mut Asked::default());
            let systems: Vec<RowId> = image.rows.iter().copied().filter(|row| windows.contains(row)).collect();
            let posture = |at: EndpointId, asked: &mut Asked| {
                let endpoint = self.fleet.get(at)?;
                let held = endpoint.held.as_ref()?;
                let is_windows = !windows.is_empty()
                    && (systems.iter().any(|os| held.minus.binary_search(os).is_err())
                        || held.plus.iter().any(|row| windows.contains(row)));
                Some((at, parts.posture_from(endpoint, held, undecided(held, is_windows), &parted, asked)))
            };
            let some = |endpoints: &[EndpointId]| {
                let mut asked = Asked::default();
                let postures: Vec<_> = endpoints.iter().filter_map(|at| posture(*at, &mut asked)).collect();
                let mut totals = PatchTotals::default();
                postures.iter().for_each(|(_, posture)| totals.step(posture, true));
                (postures, totals)
            };
            endpoints.par_chunks(TOGETHER).map(some).collect::<Vec<_>>()
        };
        by_image.into_par_iter().flat_map_iter(of_image).collect()
    }

    fn posture_of_notes(&self, notes: &[Note]) -> Posture {
        let mut posture = Posture::default();
        for (patch, sum) in sums(notes.iter().copied()) {
            posture.step(sum.state(), self.weight(patch), true);
        }
        posture
    }
}

impl Parts<'_> {
    fn of(shard: &Shard) -> Parts<'_> {
        let rows = &shard.fleet.rows;
        let places: usize = rows.iter().last().map_or(0, |(id, ..)| id as usize + 1);
        let mut of = vec![NO_PART; places];
        // Of each patch, a row that notes it.
        let mut noting: Vec<RowId> = Vec::new();
        for (row, ..) in rows.iter().filter(|(row, ..)| !rows.notes(*row).is_empty()) {
            of[row as usize] = row;
            for note in rows.notes(row) {
                let patch = note.patch() as usize;
                if noting.len() <= patch {
                    noting.resize(patch + 1, NO_PART);
                }
                match noting[patch] {
                    NO_PART => noting[patch] = row,
                    other => unite(&mut of, other, row),
                }
            }
        }
        for row in 0..places {
            if of[row] != NO_PART {
                of[row] = root(&mut of, u32::try_from(row).unwrap_or(NO_PART));
            }
        }
        let alone =
            (0..places).into_par_iter().map(|row| shard.posture_of_notes(rows.notes(u32::try_from(row).unwrap_or(NO_PART)))).collect();
        Parts { shard, of, alone }
    }

    fn part(&self, row: RowId) -> Option<PartId> {
        self.of.get(row as usize).copied().filter(|part| *part != NO_PART)
    }

    fn of_image(&self, image: &Image, asked: &mut Asked) -> Parted {
        let mut rows: Vec<(PartId, RowId)> = image.rows.iter().filter_map(|row| Some((self.part(*row)?, *row))).collect();
        rows.sort_unstable();
        let mut posture = Posture::default();
        for part in rows.chunk_by(|a, b| a.0 == b.0) {
            posture.join(&self.posture(part.iter().map(|(_, row)| *row), asked), true);
        }
        Parted { rows, posture }
    }

    /// What rows of one part come to.
    fn posture(&self, rows: impl Iterator<Item = RowId>, asked: &mut Asked) -> Posture {
        asked.rows.clear();
        asked.rows.extend(rows);
        match asked.rows.as_slice() {
            [] => Posture::default(),
            [one] => self.alone.get(*one as usize).copied().unwrap_or_default(),
            several => {
                if let Some(known) = asked.known.get(several) {
                    return *known;
                }
                let mut notes: Vec<Note> = several.iter().flat_map(|row| self.shard.fleet.rows.notes(*row)).copied().collect();
                notes.sort_unstable();
                let posture = self.shard.posture_of_notes(&notes);
                if asked.known.len() == KNOWN {
                    asked.known.clear();
                }
                asked.known.insert(several.into(), posture);
                posture
            }
        }
    }

    /// An endpoint's posture: its image's, but for the parts that its own rows are of; patch by patch where something else decides.
    fn posture_from(&self, endpoint: &Endpoint, held: &Held, not_collected: bool, image: &Parted, asked: &mut Asked) -> Posture {
        let ground = Ground::by(self.shard, self.shard.fleet.noted_now(), &self.shard.catalog, (endpoint, held), not_collected);
        if ground.is_special() {
            return ground.posture_by(&ground.states(), |patch| self.shard.weight(patch));
        }
        let own = |has: bool| move |row: &RowId| Some(Own { part: self.part(*row)?, row: *row, has });
        let deviations = held.plus.iter().filter_map(own(true)).chain(held.minus.iter().filter_map(own(false)));
        let mut own = std::mem::take(&mut asked.own);
        own.clear();
        own.extend(deviations);
        own.sort_unstable();
        let mut posture = image.posture;
        for own in own.chunk_by(|a, b| a.part == b.part) {
            let part = own.first().map_or(NO_PART, |o| o.part);
            let from = image.rows.partition_point(|(p, _)| *p < part);
            let there = image.rows.get(from..).unwrap_or_default();
            let there = there.get(..there.partition_point(|(p, _)| *p == part)).unwrap_or_default();
            if there.len() > PART_MAX {
                return self.posture_apart(&ground, image.posture);
            }
            let gone = |row: RowId| own.binary_search(&Own { part, row, has: false }).is_ok();
            let stays = there.iter().map(|(_, row)| *row).filter(|row| !gone(*row));
            let here = stays.chain(own.iter().filter(|o| o.has).map(|o| o.row));
            posture.join(&self.posture(there.iter().map(|(_, row)| *row), asked), false);
            posture.join(&self.posture(here, asked), true);
        }
        asked.own = own;
        posture
    }

    /// The same by what its own rows note.
    fn posture_apart(&self, ground: &Ground<'_>, mut posture: Posture) -> Posture {
        ground.noted.apart(ground.held, |patch, there, here| {
            let (from, to) = (there.state(), here.state());
            if from != to {
                let weight = self.shard.weight(patch);
                posture.step(from, weight, false);
                posture.step(to, weight, true);
            }
        });
        posture
    }
}

impl Posture {
    /// Takes the counts of other patches in, or out.
    fn join(&mut self, other: &Posture, more: bool) {
        let step = |n: &mut u32, by: u32| *n = if more { n.saturating_add(by) } else { n.saturating_sub(by) };
        self.missing.iter_mut().zip(other.missing).for_each(|(n, by)| step(n, by));
        step(&mut self.missing_exploited, other.missing_exploited);
        step(&mut self.superseded, other.superseded);
        step(&mut self.exempt, other.exempt);
        step(&mut self.pending_reboot, other.pending_reboot);
        step(&mut self.no_fix, other.no_fix);
        step(&mut self.will_not_fix, other.will_not_fix);
        step(&mut self.under_investigation, other.under_investigation);
    }
}

/// The row that stands for all of its part. On the way there steps get shorter: whoever uploads decides in which order rows meet.
fn root(of: &mut [PartId], row: RowId) -> PartId {
    let mut at = row as usize;
    while of[at] as usize != at {
        of[at] = of[of[at] as usize];
        at = of[at] as usize;
    }
    of[at]
}

/// Makes one part of two.
fn unite(of: &mut [PartId], a: RowId, b: RowId) {
    let (a, b) = (root(of, a), root(of, b));
    of[a.max(b) as usize] = a.min(b);
}
