//! Postures of all endpoints from the start: for other groups and decisions, and when the process starts.
//!
//! `rows of the fleet -> parts -> the posture of an image, and what an endpoint's own rows make of it`. Rows that note a patch in common are in one part, mostly the versions of one package. So a
//! posture is the sum of what each part comes to, and where a part is one row, that is known of the row: a million endpoints are added up without a look at what their rows note.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use rayon::prelude::*;

use super::{Ground, Posture, Weight, undecided};
use crate::fleet::image::{Image, ImageId};
use crate::fleet::rows::RowId;
use crate::fleet::{Endpoint, EndpointId, Held};
use crate::patch::Note;
use crate::patch::stand::sums;
use crate::scan::table::TableId;
use crate::shard::Shard;

/// Rows of an image in one part at most; from more the notes of an endpoint's own rows are the shorter way.
const PART_MAX: usize = 64;

type PartId = u32;

/// Rows that note nothing are in none.
const NO_PART: PartId = PartId::MAX;

/// What rows have to do with each other, and come to alone; by row.
struct Parts<'s> {
    shard: &'s Shard,
    of: Vec<PartId>,
    alone: Vec<Posture>,
}

/// An image's rows that note something, by part.
type Parted = Vec<(PartId, RowId)>;

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
        self.patches.totals = super::PatchTotals::default();
        let (postures, other) = rayon::join(|| self.stand(), other);
        self.patches.postures.reserve(self.fleet.places() as usize);
        postures.into_iter().flatten().for_each(|(at, posture)| self.set_posture(at, posture));
        other
    }

    /// By image.
    fn stand(&self) -> Vec<Vec<(EndpointId, Posture)>> {
        let os = TableId::by_name("os").map(|os| self.fleet.index().rows(os)).unwrap_or_default();
        let windows: HashSet<RowId> = os.iter().copied().filter(|row| self.is_windows(*row)).collect();
        let parts = Parts::of(self);
        let mut by_image: BTreeMap<ImageId, Vec<EndpointId>> = BTreeMap::new();
        for (_, cluster) in self.fleet.index().clusters() {
            by_image.entry(cluster.image).or_default().extend(cluster.endpoints.iter().map(EndpointId));
        }
        let of_image = |(id, endpoints): (ImageId, Vec<EndpointId>)| {
            let Some(image) = self.fleet.images.get(id) else { return Vec::new() };
            let parted = parts.of_image(image);
            let whole = parts.posture_of_parts(&parted);
            let systems: Vec<RowId> = image.rows.iter().copied().filter(|row| windows.contains(row)).collect();
            let posture = |at: EndpointId| {
                let endpoint = self.fleet.get(at)?;
                let held = endpoint.held.as_ref()?;
                let is_windows = !windows.is_empty()
                    && (systems.iter().any(|os| held.minus.binary_search(os).is_err())
                        || held.plus.iter().any(|row| windows.contains(row)));
                Some((at, parts.posture_from(endpoint, held, undecided(held, is_windows), whole, &parted)))
            };
            endpoints.into_iter().filter_map(posture).collect()
        };
        by_image.into_par_iter().map(of_image).collect()
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

    fn of_image(&self, image: &Image) -> Parted {
        let mut parted: Parted = image.rows.iter().filter_map(|row| Some((self.part(*row)?, *row))).collect();
        parted.sort_unstable();
        parted
    }

    fn posture_of_parts(&self, parted: &[(PartId, RowId)]) -> Posture {
        let mut posture = Posture::default();
        for part in parted.chunk_by(|a, b| a.0 == b.0) {
            posture.join(&self.posture(part.iter().map(|(_, row)| *row)), true);
        }
        posture
    }

    /// What rows of one part come to.
    fn posture(&self, mut rows: impl Iterator<Item = RowId>) -> Posture {
        let Some(first) = rows.next() else { return Posture::default() };
        let Some(second) = rows.next() else { return self.alone.get(first as usize).copied().unwrap_or_default() };
        let all = [first, second].into_iter().chain(rows);
        let mut notes: Vec<Note> = all.flat_map(|row| self.shard.fleet.rows.notes(row)).copied().collect();
        notes.sort_unstable();
        self.shard.posture_of_notes(&notes)
    }

    /// An endpoint's posture: its image's, but for the parts that its own rows are of; patch by patch where something else decides.
    fn posture_from(&self, endpoint: &Endpoint, held: &Held, not_collected: bool, whole: Posture, image: &[(PartId, RowId)]) -> Posture {
        let ground = Ground::by(self.shard, self.shard.fleet.noted_now(), &self.shard.catalog, (endpoint, held), not_collected);
        if ground.is_special() {
            return ground.posture_by(&ground.states(), |patch| self.shard.weight(patch));
        }
        let own = |has: bool| move |row: &RowId| Some(Own { part: self.part(*row)?, row: *row, has });
        let mut own: Vec<Own> = held.plus.iter().filter_map(own(true)).chain(held.minus.iter().filter_map(own(false))).collect();
        own.sort_unstable();
        let mut posture = whole;
        for own in own.chunk_by(|a, b| a.part == b.part) {
            let part = own.first().map_or(NO_PART, |o| o.part);
            let from = image.partition_point(|(p, _)| *p < part);
            let there = image.get(from..).unwrap_or_default();
            let there = there.get(..there.partition_point(|(p, _)| *p == part)).unwrap_or_default();
            if there.len() > PART_MAX {
                return self.posture_apart(&ground, whole);
            }
            let gone = |row: RowId| own.binary_search(&Own { part, row, has: false }).is_ok();
            let stays = there.iter().map(|(_, row)| *row).filter(|row| !gone(*row));
            let here = stays.chain(own.iter().filter(|o| o.has).map(|o| o.row));
            posture.join(&self.posture(there.iter().map(|(_, row)| *row)), false);
            posture.join(&self.posture(here), true);
        }
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
