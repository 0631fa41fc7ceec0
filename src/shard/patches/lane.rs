//! Another catalog, made ready beside the writer: `shard as it is, catalog -> notes, sums, postures, marks and who is due, aside`, a slice at a time.
//!
//! It goes on as a pack's [`crate::shard::Lane`] does: one short look a step, then rounds over what was touched since, then one input that switches. Rows are asked only the feeds
//! that are others than before; the notes of those that stay are carried over. INVARIANT: what is kept aside for a row is what [`Catalog::ask`] of the new catalog gives, and
//! for an endpoint that was not touched since what [`Shard::stand_all`] would give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;
use roaring::RoaringBitmap;

use super::marks::{Marked, Marks, Place, Places, Taken, Wanted};
use super::news::FeedNews;
use super::{Ground, PatchId, PatchTotals, Posture, Weight};
use crate::fleet::image::ImageId;
use crate::fleet::rows::{RowId, parse};
use crate::fleet::sums::{Aside, tells_of_patches};
use crate::fleet::{Endpoint, EndpointId, Held};
use crate::history::Stood;
use crate::limits::Limits;
use crate::patch::catalog::Catalog;
use crate::patch::stand::sums;
use crate::patch::{Note, PATCHES_MAX, State};
use crate::question::Look;
use crate::scan::table::TableId;
use crate::shard::behind::Behind;
use crate::shard::{Progress, Shard, Watching};

/// Rows that are carried over in one look; and that are asked in one, when they came after the others were.
const ROWS: usize = 4096;
const LATE_ROWS: usize = 512;
/// Rows of images that are added up in one look, about.
const IMAGE_ROWS: usize = 16_384;
/// Endpoints that are looked at in one look, and that are looked at again.
const STOOD: u32 = 256;
const STOOD_AGAIN: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Rows,
    Images,
    Stand,
    Fold,
    Caught,
}

/// A catalog under way.
pub struct CatalogLane {
    pub(super) catalog: Arc<Catalog>,
    pub(super) digest: String,
    pub(super) news: Vec<FeedNews>,
    pub(super) places: Places,
    /// Digest of the catalog that it follows.
    old: String,
    /// Nothing, if the catalog is the same one, and there is only news to be told.
    watch: Option<u64>,
    limits: Limits,
    stage: Stage,
    pub(super) aside: Aside,
    /// How many rows of each table were asked.
    asked: BTreeMap<TableId, usize>,
    image: Option<ImageId>,
    images: BTreeMap<ImageId, Posture>,
    pub(super) weights: HashMap<PatchId, Weight>,
    pub(super) postures: Vec<Posture>,
    pub(super) totals: PatchTotals,
    /// Patches that somebody must look at since, and why.
    pub(super) fresh: BTreeMap<PatchId, &'static str>,
    wanted: Wanted,
    marks: Marks,
    /// Endpoints that baselines require patches of.
    pub(super) due: RoaringBitmap,
    next: u32,
    /// How many endpoints there were at the beginning.
    end: u32,
    behind: Behind,
    /// The decisions by which endpoints were looked at.
    decided: u64,
}

impl std::fmt::Debug for CatalogLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CatalogLane({} -> {}, {:?})", self.old, self.digest, self.stage)
    }
}

/// A row that is to be asked: what it says that stays, and its table and bytes, if there is anything to ask.
struct Asked {
    row: RowId,
    carried: Vec<Note>,
    text: Option<(TableId, Box<[u8]>)>,
}

/// How an endpoint stands under the new catalog, and what is noted of it.
struct Stands {
    posture: Posture,
    taken: Taken,
    is_due: bool,
}

impl CatalogLane {
    /// Without a watch for a catalog that is the present one: then there is only news to be told.
    pub fn begin<L: Look>(look: &L, watching: Option<Watching>, catalog: Arc<Catalog>, news: Vec<FeedNews>) -> CatalogLane {
        let digest = catalog.digest();
        let watch = watching.map(|w| w.watch());
        let (old, before, end, decided, alerts, limits) = look.look(|shard| {
            let alerts: Vec<(String, String)> = shard.patches.alerts.keys().cloned().collect();
            let end = shard.fleet.places();
            (shard.patches.digest.clone(), shard.catalog.clone(), end, shard.patches.decided, alerts, shard.limits.clone())
        });
        let mut lane = CatalogLane {
            stage: if watch.is_none() { Stage::Caught } else { Stage::Rows },
            wanted: Wanted { turns: !before.is_empty(), ..Wanted::default() },
            places: Places::new(before, catalog.clone()),
            catalog,
            digest,
            news,
            old,
            watch,
            limits,
            aside: Aside::default(),
            asked: BTreeMap::new(),
            image: None,
            images: BTreeMap::new(),
            weights: HashMap::new(),
            postures: Vec::new(),
            totals: PatchTotals::default(),
            fresh: BTreeMap::new(),
            marks: Marks::default(),
            due: RoaringBitmap::new(),
            next: 0,
            end,
            behind: Behind::default(),
            decided,
        };
        if watch.is_some() {
            let alerted = alerts.iter().filter_map(|(feed, id)| patch_of_feed(&lane.catalog, feed, id));
            lane.wanted.missing = alerted.collect();
            lane.find_fresh();
        }
        lane
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Whether there is only news to be told.
    pub(super) fn is_quiet(&self) -> bool {
        self.watch.is_none()
    }

    pub(super) fn is_caught(&self) -> bool {
        self.stage == Stage::Caught
    }

    /// Whether it follows the catalog that is there, and nobody has decided anything since it looked.
    pub(super) fn is_of(&self, shard: &Shard) -> bool {
        match self.watch {
            None => self.digest == shard.patches.digest,
            Some(_) => self.old == shard.patches.digest && self.decided == shard.patches.decided,
        }
    }

    /// About how much the switch makes the store write.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.marks.bytes()).unwrap_or(u64::MAX)
    }

    pub(super) fn marked(&mut self) -> Marked {
        self.marks.finish()
    }

    /// What feeds say that they added or changed, and somebody must look at.
    fn find_fresh(&mut self) {
        for feed in self.news.iter().filter(|n| n.error.is_none()) {
            for id in feed.added.iter().chain(&feed.changed) {
                let Some(patch) = patch_of_feed(&self.catalog, &feed.feed, id) else { continue };
                if !Weight::of(&self.catalog, patch).alarms() {
                    continue;
                }
                let why = match alarmed(self.places.old(), &feed.feed, id) {
                    None => "new",
                    Some(false) => "changed",
                    Some(true) => continue,
                };
                self.fresh.insert(patch, why);
                self.wanted.missing.insert(patch);
            }
        }
    }

    /// A row notes these patches. What is known of a CVE may have changed without a word of the feed: it is attacked now.
    fn weigh(&mut self, notes: &[Note]) {
        for patch in notes.iter().map(|n| n.patch()) {
            if self.weights.contains_key(&patch) {
                continue;
            }
            let weight = Weight::of(&self.catalog, patch);
            self.weights.insert(patch, weight);
            let name = self.catalog.id(patch).filter(|_| weight.alarms());
            if name.is_some_and(|(id, feed)| alarmed(self.places.old(), feed, id) == Some(false)) {
                self.fresh.insert(patch, "changed");
                self.wanted.missing.insert(patch);
            }
        }
    }

    /// Goes on, with one short look.
    pub fn step<L: Look>(&mut self, look: &L) -> Progress {
        match self.stage {
            Stage::Rows => {
                let slice = look.look(|shard| self.slice(shard, ROWS));
                if !self.ask(slice) {
                    self.stage = Stage::Images;
                }
            }
            Stage::Images => {
                if look.look(|shard| self.catch_up_images(shard)) {
                    self.stage = Stage::Stand;
                }
            }
            Stage::Stand => {
                if look.look(|shard| self.stand(shard)) {
                    self.stage = Stage::Fold;
                }
            }
            Stage::Fold => {
                if self.marks.fold() {
                    self.stage = Stage::Caught;
                }
            }
            Stage::Caught => return look.look(|shard| self.catch_up(shard, STOOD_AGAIN)),
        }
        Progress::Working(self.share())
    }

    fn share(&self) -> f64 {
        match self.stage {
            Stage::Rows => 0.05,
            Stage::Images => 0.35,
            Stage::Stand => 0.4 + 0.5 * f64::from(self.next) / f64::from(self.end.max(1)),
            Stage::Fold | Stage::Caught => 0.95,
        }
    }

    /// The next rows.
    fn slice(&mut self, shard: &Shard, most: usize) -> Vec<Asked> {
        let mut slice = Vec::new();
        for table in TableId::all().filter(|t| tells_of_patches(*t)) {
            let rows = shard.fleet.index().rows(table);
            let asked = self.asked.entry(table).or_default();
            for row in rows.iter().skip(*asked).take(most - slice.len()) {
                let carried = self.places.common.carry(shard.fleet.rows.notes(*row));
                let asks = self.places.common.asks();
                slice.push(Asked { row: *row, carried, text: asks.then(|| (table, shard.fleet.rows.bytes(*row).into())) });
                *asked += 1;
            }
        }
        slice
    }

    /// Whether there were any.
    fn ask(&mut self, slice: Vec<Asked>) -> bool {
        let any = !slice.is_empty();
        for Asked { row: id, carried, text } in slice {
            let row = text.and_then(|(table, bytes)| parse(table, &bytes, &self.limits));
            let notes = match row {
                Some(row) => self.places.common.ask(&self.catalog, &row, carried),
                None => {
                    let mut carried = carried;
                    carried.sort_unstable();
                    carried.into()
                }
            };
            self.weigh(&notes);
            self.aside.put(id, notes);
        }
        any
    }

    /// Rows that came, and then the images that have them. Whether all are there.
    fn catch_up_images(&mut self, shard: &Shard) -> bool {
        let late = self.slice(shard, LATE_ROWS);
        !self.ask(late) && self.add_images(shard)
    }

    /// Goes on with the images. Whether all are there. INVARIANT: every row that there is was asked.
    fn add_images(&mut self, shard: &Shard) -> bool {
        let mut rows = 0;
        for (id, image) in shard.fleet.images.after(self.image) {
            if rows > IMAGE_ROWS {
                return false;
            }
            rows += image.rows.len();
            let notes = image.noted_by(|row| self.aside.row(row));
            let mut posture = Posture::default();
            let mut both: BTreeMap<Place, (Stood, Stood)> = BTreeMap::new();
            for (patch, sum) in sums(notes.iter()) {
                let weight = weight(&self.weights, &self.catalog, patch);
                posture.step(sum.state(), weight, true);
                both.insert(patch, (Stood::NOTHING, stood(sum.state(), weight)));
            }
            if self.wanted.turns {
                for (patch, sum) in sums(image.notes().iter()) {
                    both.entry(self.places.of_old(patch)).or_default().0 = stood(sum.state(), shard.weight(patch));
                }
            }
            self.images.insert(id, posture);
            self.marks.image(id, self.wanted.marks(&both));
            self.aside.images.insert(id, notes);
            self.image = Some(id);
        }
        true
    }

    /// Goes on with the endpoints. Whether all were looked at.
    fn stand(&mut self, shard: &Shard) -> bool {
        if self.decided != shard.patches.decided {
            self.stand_anew(shard);
        }
        let last = self.next.saturating_add(STOOD).min(self.end);
        for at in self.next..last {
            if let Some(stands) = self.stands(shard, EndpointId(at)) {
                self.put(EndpointId(at), stands.posture, stands.is_due);
                self.marks.take(at, stands.taken);
            }
        }
        self.next = last;
        last == self.end
    }

    /// Somebody decided something that endpoints far and wide stand by: from the first one on.
    fn stand_anew(&mut self, shard: &Shard) {
        self.decided = shard.patches.decided;
        (self.stage, self.next, self.end) = (Stage::Stand, 0, shard.fleet.places());
        (self.postures, self.totals) = Default::default();
        self.due.clear();
        self.marks.anew();
    }

    fn put(&mut self, at: EndpointId, posture: Posture, is_due: bool) {
        let slot = at.0 as usize;
        if self.postures.len() <= slot {
            self.postures.resize(slot + 1, Posture::default());
        }
        if let Some(place) = self.postures.get_mut(slot) {
            self.totals.step(place, false);
            self.totals.step(&posture, true);
            *place = posture;
        }
        if is_due {
            self.due.insert(at.0);
        } else {
            self.due.remove(at.0);
        }
    }

    fn stands(&mut self, shard: &Shard, at: EndpointId) -> Option<Stands> {
        let endpoint = shard.fleet.get(at)?;
        let held = endpoint.held.as_ref()?;
        let not_collected = shard.posture(at).not_collected;
        let before = Ground::by(shard, shard.fleet.noted_now(), &shard.catalog, (endpoint, held), not_collected);
        let (posture, image, both) = if before.is_special() { self.special(before) } else { self.plain(before) };
        let own = both.keys().copied().collect();
        let marks = self.wanted.marks(&both).map(|(_, mark)| mark).collect();
        Some(Stands { posture, taken: Taken { image, own, marks }, is_due: is_due(shard, endpoint) })
    }

    fn after<'s>(&'s self, of: Ground<'s>) -> Ground<'s> {
        let held: &'s Held = of.held;
        Ground::by(of.shard, of.shard.fleet.noted_by(&self.aside), &self.catalog, (of.endpoint, held), of.not_collected)
    }

    /// One of which everything is its own.
    fn special(&mut self, before: Ground<'_>) -> (Posture, Option<ImageId>, BTreeMap<Place, (Stood, Stood)>) {
        let after = self.after(before);
        let states = after.states();
        let weight = |patch| weight(&self.weights, &self.catalog, patch);
        let posture = after.posture_by(&states, weight);
        let mut both: BTreeMap<Place, (Stood, Stood)> =
            states.into_iter().map(|(patch, state)| (patch, (Stood::NOTHING, stood(state, weight(patch))))).collect();
        if self.wanted.turns {
            for (patch, state) in before.states() {
                both.entry(self.places.of_old(patch)).or_default().0 = stood(state, before.shard.weight(patch));
            }
        }
        (posture, None, both)
    }

    /// One that is as its image, but for the patches that its own rows note under either catalog.
    fn plain(&mut self, before: Ground<'_>) -> (Posture, Option<ImageId>, BTreeMap<Place, (Stood, Stood)>) {
        let held = before.held;
        let mut own: BTreeSet<Place> = self.after(before).noted.deviating(held).into_iter().collect();
        if self.wanted.turns {
            own.extend(before.noted.deviating(held).into_iter().map(|patch| self.places.of_old(patch)));
        }
        let present: Vec<PatchId> = own.range(..PATCHES_MAX).copied().collect();
        let after = self.after(before);
        let states = after.states_of(&present);
        let image = self.images.get(&held.image).copied().unwrap_or_default();
        let posture = after.posture_of(image, &present, &states, |patch| weight(&self.weights, &self.catalog, patch));
        let mut both: BTreeMap<Place, (Stood, Stood)> = own.iter().map(|place| (*place, Default::default())).collect();
        for (patch, state) in present.iter().zip(states) {
            both.entry(*patch).or_default().1 = stood(state, weight(&self.weights, &self.catalog, *patch));
        }
        if self.wanted.turns {
            let mut were: Vec<(PatchId, Place)> = own.iter().filter_map(|place| Some((self.places.was(*place)?, *place))).collect();
            were.sort_unstable();
            let patches: Vec<PatchId> = were.iter().map(|(patch, _)| *patch).collect();
            for ((patch, place), state) in were.iter().zip(before.states_of(&patches)) {
                both.entry(*place).or_default().0 = stood(state, before.shard.weight(*patch));
            }
        }
        (posture, Some(held.image), both)
    }

    /// Takes up what changed since: rows, images, and so many of the touched endpoints.
    pub(super) fn catch_up(&mut self, shard: &Shard, most: usize) -> Progress {
        let Some(watch) = self.watch else { return if self.is_of(shard) { Progress::Caught(0) } else { Progress::Lost } };
        let touched = shard.fleet.touched(watch).filter(|_| self.old == shard.patches.digest);
        let Some(touched) = touched else { return Progress::Lost };
        if self.decided != shard.patches.decided {
            self.stand_anew(shard);
            return Progress::Working(self.share());
        }
        let behind = self.behind.note(touched);
        if !self.catch_up_images(shard) {
            return Progress::Caught(behind.max(1));
        }
        for at in self.behind.take(most) {
            let (posture, is_due, taken) = match self.stands(shard, at) {
                Some(stands) => (stands.posture, stands.is_due, Some(stands.taken)),
                None => (Posture::default(), false, None),
            };
            self.put(at, posture, is_due);
            self.marks.retake(at.0, taken);
        }
        Progress::Caught(self.behind.len())
    }
}

/// Whether any baseline requires patches of an endpoint.
fn is_due(shard: &Shard, endpoint: &Endpoint) -> bool {
    let policy = &shard.policy.policy;
    policy.baselines.iter().any(|b| (!b.patches.is_empty() || !b.lists.is_empty()) && policy.is_about(b, endpoint))
}

fn weight(weights: &HashMap<PatchId, Weight>, catalog: &Catalog, patch: PatchId) -> Weight {
    weights.get(&patch).copied().unwrap_or_else(|| Weight::of(catalog, patch))
}

fn stood(state: State, weight: Weight) -> Stood {
    Stood::new(state, weight.level, weight.exploited)
}

/// Where a catalog has a feed's patch.
pub(super) fn patch_of_feed(catalog: &Catalog, feed: &str, patch: &str) -> Option<PatchId> {
    catalog.find(patch).into_iter().find(|p| catalog.id(*p).is_some_and(|(_, of)| of == feed))
}

/// Whether somebody had to look at a feed's patch; nothing, if the feed did not have it.
fn alarmed(old: &Catalog, feed: &str, id: &str) -> Option<bool> {
    patch_of_feed(old, feed, id).map(|p| Weight::of(old, p).alarms())
}
