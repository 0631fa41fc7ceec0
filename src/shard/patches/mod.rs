//! Patches at endpoints: which stand how, what turned, what was decided about them.
//!
//! `notes of an endpoint's rows -> sums -> states -> what people decided -> stands`, and sums of them over the fleet that are kept as scans come in.
//! INVARIANT: no row per endpoint and patch anywhere. An endpoint has a [`Posture`], which is a few counts, and a patch that somebody must look at has one [`Alert`].

mod alerts;
mod decide;
mod exempt;
mod having;
mod lane;
mod marks;
mod news;
mod require;
mod stand;
mod turn;

pub(super) use decide::StoredExemption;
pub(super) use require::Required;
pub(super) use turn::shown;

pub use alerts::{Alert, AlertCause};
pub use lane::CatalogLane;
pub use news::FeedNews;

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use serde::Serialize;

use super::Shard;
use crate::feed::model::Level;
use crate::fleet::rows::{RowId, parse};
use crate::fleet::sums::Noted;
use crate::fleet::{Endpoint, EndpointId, Fleet, Held};
use crate::patch::catalog::Catalog;
use crate::patch::stand::Sum;
use crate::patch::{PatchId, State};
use crate::scan::table::TableId;
use exempt::Exempting;

/// How one patch stands at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatchStand {
    pub patch: PatchId,
    pub state: State,
    /// Whether a repository of the endpoint offers what mends it. `None`: the endpoint did not tell what its repositories offer.
    pub offered: Option<bool>,
    /// The exemption that makes it [`State::Exempt`].
    pub exemption: Option<String>,
    /// What it would be if nobody had decided anything.
    pub without_exemption: State,
}

/// How an endpoint stands: counts of its patches. Kept in memory for each endpoint, never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Posture {
    /// By [`Level`].
    pub missing: [u32; 5],
    /// Of the missing, those that are exploited.
    pub missing_exploited: u32,
    pub superseded: u32,
    pub exempt: u32,
    pub pending_reboot: u32,
    pub no_fix: u32,
    pub will_not_fix: u32,
    pub under_investigation: u32,
    /// What decides most of it was not collected: that nothing is missing says nothing then.
    pub not_collected: bool,
}

impl Posture {
    pub fn missing_total(&self) -> u32 {
        self.missing.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Counts of a state; those that no row notes are not counted.
    pub fn count_of(&self, state: State) -> u32 {
        match state {
            State::Missing => self.missing_total(),
            State::Superseded => self.superseded,
            State::Exempt => self.exempt,
            State::PendingReboot => self.pending_reboot,
            State::NoFix => self.no_fix,
            State::WillNotFix => self.will_not_fix,
            State::UnderInvestigation => self.under_investigation,
            State::NotApplicable | State::Installed | State::NotChecked => 0,
        }
    }

    /// Takes one patch in this state in, or out.
    fn step(&mut self, state: State, weight: Weight, more: bool) {
        let step = |n: &mut u32| *n = if more { n.saturating_add(1) } else { n.saturating_sub(1) };
        match state {
            State::Missing => {
                step(&mut self.missing[weight.level as usize]);
                if weight.exploited {
                    step(&mut self.missing_exploited);
                }
            }
            State::Superseded => step(&mut self.superseded),
            State::Exempt => step(&mut self.exempt),
            State::PendingReboot => step(&mut self.pending_reboot),
            State::NoFix => step(&mut self.no_fix),
            State::WillNotFix => step(&mut self.will_not_fix),
            State::UnderInvestigation => step(&mut self.under_investigation),
            State::NotApplicable | State::Installed | State::NotChecked => {}
        }
    }
}

/// Postures of all endpoints together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchTotals {
    /// By [`Level`].
    pub missing: [u64; 5],
    /// By [`State`].
    pub states: [u64; State::ALL.len()],
    pub endpoints_missing_exploited: u64,
    pub endpoints_not_collected: u64,
}

impl PatchTotals {
    /// States of which there are totals: those that rows note.
    pub const STATES: [State; 7] = [
        State::Missing,
        State::Superseded,
        State::Exempt,
        State::PendingReboot,
        State::NoFix,
        State::WillNotFix,
        State::UnderInvestigation,
    ];

    fn step(&mut self, posture: &Posture, more: bool) {
        let step = |total: &mut u64, n: u64| *total = if more { total.saturating_add(n) } else { total.saturating_sub(n) };
        for (total, n) in self.missing.iter_mut().zip(posture.missing) {
            step(total, n.into());
        }
        for state in PatchTotals::STATES {
            step(&mut self.states[state as usize], posture.count_of(state).into());
        }
        step(&mut self.endpoints_missing_exploited, u64::from(posture.missing_exploited > 0));
        step(&mut self.endpoints_not_collected, u64::from(posture.not_collected));
    }

    /// Takes those of other endpoints in.
    fn join(&mut self, other: &PatchTotals) {
        self.missing.iter_mut().zip(other.missing).for_each(|(total, n)| *total += n);
        self.states.iter_mut().zip(other.states).for_each(|(total, n)| *total += n);
        self.endpoints_missing_exploited += other.endpoints_missing_exploited;
        self.endpoints_not_collected += other.endpoints_not_collected;
    }
}

/// What of a patch's rank counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weight {
    level: Level,
    exploited: bool,
}

impl Weight {
    fn of(catalog: &Catalog, patch: PatchId) -> Weight {
        catalog.rank(patch).map_or(Weight { level: Level::None, exploited: false }, |r| Weight { level: r.level, exploited: r.exploited })
    }

    /// Somebody must look at it.
    fn alarms(self) -> bool {
        self.level == Level::Critical || self.exploited
    }
}

/// What the shard keeps of patches beside the catalog and what people decided.
#[derive(Debug, Default)]
pub(super) struct Patches {
    /// The catalog's.
    digest: String,
    /// The catalog's that was there when the process ended before.
    stored: Option<String>,
    /// Of every patch that some row notes.
    weights: HashMap<PatchId, Weight>,
    postures: Vec<Posture>,
    totals: PatchTotals,
    exempting: Exempting,
    /// Counts what turned exemptions.
    decided: u64,
    /// Exemptions that are over.
    expired: BTreeSet<String>,
    /// By feed and patch.
    alerts: BTreeMap<(String, String), Alert>,
    /// The patches of the alerts, and how many endpoints miss each.
    watched: BTreeMap<PatchId, alerts::Watch>,
    /// The alerts were loaded, and not yet held against the catalog.
    unsettled: bool,
    /// Which fixes rows have that came lately.
    having: having::Having,
    /// What the baselines require, one for each baseline of the policy: ids of patches, and where the catalog has them.
    items: Vec<BTreeMap<String, Vec<PatchId>>>,
}

impl Patches {
    /// Of a catalog, or of an empty one, after one of the stored digest.
    pub(super) fn new(stored: Option<String>, catalog: Option<&Catalog>) -> Patches {
        let digest = catalog.map_or_else(|| Catalog::default().digest(), Catalog::digest);
        Patches { stored, digest, ..Patches::default() }
    }
}

/// What decides how patches stand at an endpoint, beside its rows' notes.
#[derive(Clone, Copy)]
struct Ground<'s> {
    shard: &'s Shard,
    noted: Noted<'s>,
    catalog: &'s Catalog,
    endpoint: &'s Endpoint,
    held: &'s Held,
    not_collected: bool,
    exempting: &'s Exempting,
}

impl<'s> Ground<'s> {
    /// Of an endpoint whose posture is up to date.
    fn new(shard: &'s Shard, at: EndpointId, endpoint: &'s Endpoint, held: &'s Held) -> Ground<'s> {
        let not_collected = shard.posture(at).not_collected;
        Ground::by(shard, shard.fleet.noted_now(), &shard.catalog, (endpoint, held), not_collected)
    }

    /// Of one that changed since.
    fn anew(shard: &'s Shard, endpoint: &'s Endpoint, held: &'s Held) -> Ground<'s> {
        let not_collected = undecided(held, is_windows(&shard.fleet, held, |os| shard.is_windows(os)));
        Ground::by(shard, shard.fleet.noted_now(), &shard.catalog, (endpoint, held), not_collected)
    }

    /// By the notes of some catalog.
    fn by(
        shard: &'s Shard,
        noted: Noted<'s>,
        catalog: &'s Catalog,
        (endpoint, held): (&'s Endpoint, &'s Held),
        not_collected: bool,
    ) -> Ground<'s> {
        Ground { shard, noted, catalog, endpoint, held, not_collected, exempting: &shard.patches.exempting }
    }

    /// Whether it must be looked at patch by patch: something else than its rows decides.
    fn is_special(&self) -> bool {
        self.not_collected || self.exempting.any_for(self.endpoint, &self.shard.policy.policy)
    }

    /// The posture of one whose patches stand as its image's do, but for these.
    fn posture_of(&self, image: Posture, own: &[PatchId], states: &[State], weight: impl Fn(PatchId) -> Weight) -> Posture {
        let mut posture = image;
        for (patch, to) in own.iter().zip(states) {
            let weight = weight(*patch);
            posture.step(self.noted.sum_at(self.held.image, *patch).state(), weight, false);
            posture.step(*to, weight, true);
        }
        posture
    }

    /// The posture of one that is special.
    fn posture_by(&self, states: &[(PatchId, State)], weight: impl Fn(PatchId) -> Weight) -> Posture {
        let mut posture = Posture { not_collected: self.not_collected, ..Posture::default() };
        states.iter().for_each(|(patch, state)| posture.step(*state, weight(*patch), true));
        posture
    }

    /// Before what people decided. What its own row proves holds whatever else was collected.
    fn raw(&self, sum: &Sum) -> State {
        match sum.state() {
            State::NotApplicable if self.not_collected => State::NotChecked,
            State::Missing | State::Superseded if self.not_collected && !sum.lacks() => State::NotChecked,
            state => state,
        }
    }

    fn exemption(&self, patch: PatchId, raw: State) -> Option<&'s str> {
        if !matches!(raw, State::Missing | State::Superseded) || self.exempting.is_empty() {
            return None;
        }
        let (id, _) = self.catalog.id(patch)?;
        self.exempting.of(id, self.endpoint, &self.shard.policy.policy).map(|e| e.id.as_str())
    }

    fn state(&self, patch: PatchId, sum: &Sum) -> State {
        let raw = self.raw(sum);
        if self.exemption(patch, raw).is_some() { State::Exempt } else { raw }
    }

    fn stand(&self, patch: PatchId, sum: &Sum, offers: bool) -> PatchStand {
        let raw = self.raw(sum);
        let exemption = self.exemption(patch, raw).map(str::to_owned);
        let state = if exemption.is_some() { State::Exempt } else { raw };
        PatchStand { patch, state, offered: offers.then(|| sum.offered()), exemption, without_exemption: raw }
    }

    /// States of these patches, which are sorted.
    fn states_of(&self, patches: &[PatchId]) -> Vec<State> {
        self.states_by(patches, &self.noted.sums_of(self.held, patches))
    }

    /// Of patches with these sums.
    fn states_by(&self, patches: &[PatchId], sums: &[Sum]) -> Vec<State> {
        patches.iter().zip(sums).map(|(p, sum)| self.state(*p, sum)).collect()
    }

    /// States of all patches that its rows note.
    fn states(&self) -> Vec<(PatchId, State)> {
        self.noted.sums(self.held).into_iter().map(|(p, sum)| (p, self.state(p, &sum))).collect()
    }
}

/// Whether one of the systems that an endpoint says it is is Windows.
fn is_windows(fleet: &Fleet, held: &Held, windows: impl Fn(RowId) -> bool) -> bool {
    TableId::by_name("os").is_some_and(|os| fleet.rows_in(held, os).into_iter().any(windows))
}

/// Whether what decides most patches was not collected: packages, or for Windows the installed updates.
fn undecided(held: &Held, is_windows: bool) -> bool {
    let collected = |name: &str| TableId::by_name(name).is_some_and(|t| held.tables.collected.contains(&t));
    if is_windows { !collected("hotfix") } else { !collected("package") }
}

impl Shard {
    fn ground(&self, at: EndpointId) -> Option<Ground<'_>> {
        let endpoint = self.fleet.get(at)?;
        Some(Ground::new(self, at, endpoint, endpoint.held.as_ref()?))
    }

    fn ground_anew(&self, at: EndpointId) -> Option<Ground<'_>> {
        let endpoint = self.fleet.get(at)?;
        Some(Ground::anew(self, endpoint, endpoint.held.as_ref()?))
    }

    /// Whether a row of `os` says Windows.
    fn is_windows(&self, os: RowId) -> bool {
        let row = self.fleet.rows.table(os).and_then(|t| parse(t, self.fleet.rows.bytes(os), &self.limits));
        row.is_some_and(|row| row.get("family").as_str() == Some("windows"))
    }

    /// Digest of the present catalog.
    pub fn catalog_digest(&self) -> &str {
        &self.patches.digest
    }

    /// Counts of an endpoint's patches.
    pub fn posture(&self, at: EndpointId) -> Posture {
        self.patches.postures.get(at.0 as usize).copied().unwrap_or_default()
    }

    /// The postures of all endpoints together.
    pub fn patch_totals(&self) -> &PatchTotals {
        &self.patches.totals
    }

    /// Whether what decides most patches of an endpoint was not collected. Then what no row proves is [`State::NotChecked`].
    pub fn not_collected(&self, at: EndpointId) -> bool {
        self.ground(at).is_none_or(|g| g.not_collected)
    }

    /// How every patch stands that some row of the endpoint notes, by patch. Those that none notes are not applicable, installed, or where the endpoint is
    /// not collected not checked: [`Shard::patch_stand`] tells.
    pub fn patch_states(&self, at: EndpointId) -> Vec<PatchStand> {
        let Some(ground) = self.ground(at) else { return Vec::new() };
        let offers = tells_offers(ground.held);
        self.fleet.sums(ground.held).iter().map(|(patch, sum)| ground.stand(*patch, sum, offers)).collect()
    }

    /// How one patch stands. Asks the endpoint's rows for what is silent otherwise: installed is told from not applicable.
    pub fn patch_stand(&self, at: EndpointId, patch: PatchId) -> PatchStand {
        let unknown = State::NotChecked;
        let Some(ground) = self.ground(at) else {
            return PatchStand { patch, state: unknown, offered: None, exemption: None, without_exemption: unknown };
        };
        let sum = self.fleet.sums_of(ground.held, &[patch]).into_iter().next().unwrap_or_default();
        let mut stand = ground.stand(patch, &sum, tells_offers(ground.held));
        if matches!(stand.state, State::NotApplicable | State::NotChecked)
            && !self.having(&self.fleet.rows_of(ground.held), &[patch]).is_empty()
        {
            (stand.state, stand.without_exemption) = (State::Installed, State::Installed);
        }
        stand
    }

    /// How many endpoints a patch has in each state. Endpoints whose rows say nothing of it (not applicable, or installed) are not counted, and not looked at.
    pub fn patch_counts(&self, patch: PatchId) -> BTreeMap<State, u32> {
        self.patch_counts_of(&[patch]).into_iter().next().unwrap_or_default()
    }

    /// The same of several patches, with one look at the fleet.
    pub fn patch_counts_of(&self, patches: &[PatchId]) -> Vec<BTreeMap<State, u32>> {
        self.patch_counts_among(patches, self.fleet.iter())
    }

    /// Those of the counts that are of endpoints which are stale or silent.
    pub fn stale_patch_counts_of(&self, patches: &[PatchId]) -> Vec<BTreeMap<State, u32>> {
        let stale = self.stale().iter().filter_map(|at| Some((EndpointId(at), self.fleet.get(EndpointId(at))?)));
        self.patch_counts_among(patches, stale)
    }

    fn patch_counts_among<'s>(
        &'s self,
        patches: &[PatchId],
        endpoints: impl Iterator<Item = (EndpointId, &'s Endpoint)>,
    ) -> Vec<BTreeMap<State, u32>> {
        let mut sorted = patches.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let tally = Tally::new(self, sorted.clone());
        let mut counts = tally.empty();
        endpoints.for_each(|(at, endpoint)| tally.take(at, endpoint, &mut counts));
        let counted = tally.add_images(counts);
        let named =
            |counted: &Counted| State::ALL.into_iter().zip(*counted).filter(|(s, n)| *n > 0 && *s != State::NotApplicable).collect();
        let of = |patch: &PatchId| sorted.binary_search(patch).ok().and_then(|at| counted.get(at)).map(named).unwrap_or_default();
        patches.iter().map(of).collect()
    }

    /// The endpoints after an id at which a patch is noted, in the order of ids, with its state; `""` begins with the first. Where it is not checked is among them.
    pub fn patch_endpoints<'s>(&'s self, patch: PatchId, after: &str) -> impl Iterator<Item = (EndpointId, State)> + use<'s> {
        let tally = Tally::new(self, vec![patch]);
        self.fleet.after(after).filter_map(move |(at, endpoint)| {
            let held = endpoint.held.as_ref()?;
            let ground = Ground::new(self, at, endpoint, held);
            if !ground.not_collected && !tally.touches(held) && tally.images.binary_search(&held.image).is_err() {
                return None;
            }
            let state = ground.states_of(&tally.patches).into_iter().next()?;
            (state != State::NotApplicable).then_some((at, state))
        })
    }
}

fn tells_offers(held: &Held) -> bool {
    TableId::by_name("update").is_some_and(|t| held.tables.collected.contains(&t))
}

type Counted = [u32; State::ALL.len()];

/// Counts of some patches over the fleet: most endpoints are as their image is, and are only counted.
struct Tally<'s> {
    shard: &'s Shard,
    /// Sorted.
    patches: Vec<PatchId>,
    /// Those that note any of them.
    rows: Vec<RowId>,
    images: Vec<crate::fleet::image::ImageId>,
}

#[derive(Debug, Default)]
struct Counts {
    by_patch: Vec<Counted>,
    /// Endpoints that are as their image.
    plain: BTreeMap<crate::fleet::image::ImageId, u32>,
}

impl<'s> Tally<'s> {
    fn new(shard: &'s Shard, patches: Vec<PatchId>) -> Tally<'s> {
        let (rows, images) = shard.fleet.noting(&patches);
        Tally { shard, patches, rows, images }
    }

    fn empty(&self) -> Counts {
        Counts { by_patch: vec![Counted::default(); self.patches.len()], plain: BTreeMap::new() }
    }

    /// Whether the rows by which an endpoint deviates from its image note any of them.
    fn touches(&self, held: &Held) -> bool {
        let mut own = held.plus.iter().chain(&held.minus);
        if self.rows.len() < held.plus.len() + held.minus.len() {
            self.rows.iter().any(|r| held.plus.binary_search(r).is_ok() || held.minus.binary_search(r).is_ok())
        } else {
            own.any(|r| self.rows.binary_search(r).is_ok())
        }
    }

    fn take(&self, at: EndpointId, endpoint: &Endpoint, counts: &mut Counts) {
        let Some(held) = &endpoint.held else { return };
        let ground = Ground::new(self.shard, at, endpoint, held);
        if self.touches(held) || ground.is_special() {
            for (counted, state) in counts.by_patch.iter_mut().zip(ground.states_of(&self.patches)) {
                counted[state as usize] += 1;
            }
        } else if self.images.binary_search(&held.image).is_ok() {
            *counts.plain.entry(held.image).or_default() += 1;
        }
    }

    fn merge(mut a: Counts, b: Counts) -> Counts {
        for (a, b) in a.by_patch.iter_mut().flatten().zip(b.by_patch.iter().flatten()) {
            *a += b;
        }
        for (image, n) in b.plain {
            *a.plain.entry(image).or_default() += n;
        }
        a
    }

    /// With the endpoints that are as their image.
    fn add_images(&self, mut counts: Counts) -> Vec<Counted> {
        for (image, endpoints) in std::mem::take(&mut counts.plain) {
            let Some(image) = self.shard.fleet.images.get(image) else { continue };
            for (patch, counted) in self.patches.iter().zip(&mut counts.by_patch) {
                let mut sum = Sum::default();
                image.notes().about(*patch).for_each(|n| sum.add(n));
                counted[sum.state() as usize] += endpoints;
            }
        }
        counts.by_patch
    }
}
