//! A new catalog meets all endpoints: what a [`CatalogLane`] has made ready takes the place of what is there, and what feeds published is told once a feed and once a patch
//! that somebody must look at; never once an endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::marks::Mark;
use super::{CatalogLane, PatchId, Weight};
use crate::fleet::EndpointId;
use crate::history::PatchTurn;
use crate::patch::catalog::Catalog;
use crate::shard::{Applied, Progress, Refusal, Shard, Spent};
use crate::state::Space;

/// Patches that an event about a feed names of each kind; the counts are of all.
const NAMED_MAX: usize = 100;
/// Patches that are told by themselves at one swap; further ones are counted in `feed.updated`.
const PUBLISHED_MAX: usize = 100;

/// What became of one feed when it was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedNews {
    pub feed: String,
    /// Ids of patches.
    pub added: Vec<Box<str>>,
    pub changed: Vec<Box<str>>,
    pub withdrawn: Vec<Box<str>>,
    /// Patches that the feed has now.
    pub entries: usize,
    /// Of its segments.
    pub digest: String,
    /// Why it could not be taken; what was there before stays.
    pub error: Option<String>,
}

/// A patch that somebody must look at since this catalog.
struct Fresh {
    patch: PatchId,
    weight: Weight,
    why: &'static str,
    missing: u32,
}

impl Shard {
    /// The catalog to begin with, before anything is applied: asks what was loaded, and tells nobody.
    pub fn set_catalog(&mut self, catalog: Arc<Catalog>) {
        self.catalog = catalog;
        self.patches.digest = self.catalog.digest();
        self.fleet.note_all(&self.catalog, &self.limits);
        self.stand_all();
        self.begin_catalog();
    }

    /// What else follows of the catalog to begin with.
    pub(in crate::shard) fn begin_catalog(&mut self) {
        self.renumbered();
        self.resolve_items();
        self.watch_all();
        self.catalog_at_start();
    }

    /// A whole swap at once: at the start, and where nobody waits.
    pub(in crate::shard) fn swap_catalog(&mut self, catalog: Arc<Catalog>, news: Vec<FeedNews>, now_ms: i64, out: &mut Applied) {
        let watching = (catalog.digest() != self.patches.digest).then(|| self.watching());
        let mut lane = CatalogLane::begin(self, watching, catalog, news);
        while !matches!(lane.step(self), Progress::Caught(0) | Progress::Lost) {}
        let quiet = lane.is_quiet();
        // INVARIANT: nothing else was applied between, so that it is never refused.
        if self.finish_catalog(lane, now_ms, out).is_ok() && !quiet {
            while self.settle(now_ms, out) > 0 {}
        }
    }

    /// Switches to what a lane has made ready. Refused if something else came between; it has changed nothing then.
    pub(in crate::shard) fn finish_catalog(&mut self, mut lane: CatalogLane, now_ms: i64, out: &mut Applied) -> Result<Spent, Refusal> {
        while lane.is_caught() && lane.is_of(self) && !matches!(lane.catch_up(self, usize::MAX), Progress::Caught(0) | Progress::Lost) {}
        if !lane.is_caught() || !lane.is_of(self) || lane.catch_up(self, usize::MAX) != Progress::Caught(0) {
            return Err(Refusal::Stale);
        }
        // The process was away, not the catalog.
        let known = self.patches.stored.take().is_some_and(|stored| stored == lane.digest);
        let (news, mut fresh) = (std::mem::take(&mut lane.news), Vec::new());
        self.catalog = lane.catalog.clone();
        if lane.is_quiet() {
            self.tell_news(&news, &fresh, now_ms, out);
            return Ok(Spent::of_catalog(lane));
        }
        self.fleet.unwatch();
        let missing = self.switch_catalog(&mut lane, now_ms, out);
        if !known {
            fresh = self.fresh(&lane, &missing);
        }
        self.tell_news(&news, &fresh, now_ms, out);
        self.watch_counted(&missing);
        self.settle_alerts(&news, now_ms, out);
        self.publish(fresh, now_ms, out);
        self.settle_also(&lane.due, out);
        Ok(Spent::of_catalog(lane))
    }

    /// Puts what a lane has made ready in the place of what is there. How many endpoints miss the patches that somebody must look at.
    fn switch_catalog(&mut self, lane: &mut CatalogLane, now_ms: i64, out: &mut Applied) -> BTreeMap<PatchId, u32> {
        let before = std::mem::replace(&mut self.patches.digest, lane.digest.clone());
        let record = self.catalog_turns(&before, &lane.digest, now_ms);
        out.batch.put(Space::Meta, "catalog", lane.digest.as_str());
        self.renumbered();
        lane.aside.rows = self.fleet.rows.replace_notes(std::mem::take(&mut lane.aside.rows));
        for (image, notes) in &mut lane.aside.images {
            *notes = self.fleet.images.replace_notes(*image, std::mem::take(notes));
        }
        std::mem::swap(&mut self.patches.weights, &mut lane.weights);
        std::mem::swap(&mut self.patches.postures, &mut lane.postures);
        self.patches.totals = lane.totals;
        self.trends.doubt();
        let (mut missing, mut turns) = (BTreeMap::new(), Vec::new());
        for (mark, endpoints) in lane.marked() {
            match mark {
                Mark::Missing(patch) => drop(missing.insert(patch, u32::try_from(endpoints.len()).unwrap_or(u32::MAX))),
                Mark::Turned { patch, from, to } => turns.extend(lane.places.name(patch).map(|(patch, feed)| PatchTurn {
                    feed: feed.into(),
                    patch: patch.into(),
                    from,
                    to,
                    endpoints,
                })),
            }
        }
        if record {
            self.record_patch_turns(&turns, now_ms, out);
        }
        self.resolve_items();
        missing
    }

    /// Patches that are critical or exploited and new, or were neither under the catalog before. Those that most endpoints miss come first.
    fn fresh(&self, lane: &CatalogLane, missing: &BTreeMap<PatchId, u32>) -> Vec<Fresh> {
        let counted = |patch: &PatchId| missing.get(patch).copied().unwrap_or(0);
        let of =
            |(patch, why): (&PatchId, &&'static str)| Fresh { patch: *patch, weight: self.weight(*patch), why, missing: counted(patch) };
        let mut fresh: Vec<Fresh> = lane.fresh.iter().map(of).collect();
        fresh.sort_by_key(|f| (std::cmp::Reverse(f.missing), !f.weight.exploited, std::cmp::Reverse(f.weight.level), f.patch));
        fresh
    }

    fn tell_news(&mut self, news: &[FeedNews], fresh: &[Fresh], now_ms: i64, out: &mut Applied) {
        let told = fresh.get(..PUBLISHED_MAX).unwrap_or(fresh);
        for n in news {
            if let Some(error) = &n.error {
                self.event("feed.failed", None, json!({"feed": n.feed, "error": error}), now_ms, true, out);
                continue;
            }
            if n.added.is_empty() && n.changed.is_empty() && n.withdrawn.is_empty() {
                continue;
            }
            let of_feed = |all: &[Fresh]| all.iter().filter(|f| self.catalog.id(f.patch).is_some_and(|(_, feed)| *feed == *n.feed)).count();
            let (alarming, told) = (of_feed(fresh), of_feed(told));
            let data = json!({"feed": n.feed, "entries": n.entries, "digest": n.digest, "alarming": alarming, "published": told,
                "counts": {"added": n.added.len(), "changed": n.changed.len(), "withdrawn": n.withdrawn.len()},
                "added": first(&n.added), "changed": first(&n.changed), "withdrawn": first(&n.withdrawn)});
            self.event("feed.updated", None, data, now_ms, true, out);
        }
    }

    fn publish(&mut self, fresh: Vec<Fresh>, now_ms: i64, out: &mut Applied) {
        for f in fresh.into_iter().take(PUBLISHED_MAX) {
            // What nobody misses has nothing to resolve.
            let alert = if f.missing > 0 { self.open_alert(f.patch, f.weight, f.missing, now_ms, out) } else { None };
            let data = self.published(&f, alert);
            self.event("patch.published", None, data, now_ms, true, out);
        }
    }

    fn published(&self, f: &Fresh, alert: Option<String>) -> Value {
        let (id, feed) = self.catalog.id(f.patch).unwrap_or_default();
        let (definition, rank) = (self.catalog.definition(f.patch), self.catalog.rank(f.patch));
        let first_cves = definition.as_ref().map(|d| first(&d.cves));
        json!({
            "alert": alert,
            "patch": id,
            "feed": feed,
            "why": f.why,
            "title": definition.as_ref().map(|d| &d.title),
            "cves": first_cves,
            "severity": f.weight.level,
            "exploited": f.weight.exploited,
            "priority": rank.as_ref().map(|r| r.priority),
            "band": rank.as_ref().map(|r| r.band),
            "due": rank.as_ref().and_then(|r| r.due.as_ref()),
            "missing": f.missing,
        })
    }

    /// Holds what baselines require of patches against the endpoints that these baselines are about.
    pub(in crate::shard) fn check_patches(&mut self, baseline: impl Fn(&crate::policy::Baseline) -> bool, now_ms: i64, out: &mut Applied) {
        let policy = &self.policy;
        let about: Vec<usize> = (0..policy.policy.baselines.len())
            .filter(|i| policy.policy.baselines.get(*i).is_some_and(|b| (!b.patches.is_empty() || !b.lists.is_empty()) && baseline(b)))
            .collect();
        if about.is_empty() {
            return;
        }
        let is_in = |e: &crate::fleet::Endpoint| {
            about.iter().any(|i| policy.policy.baselines.get(*i).is_some_and(|b| policy.policy.is_about(b, e)))
        };
        let all: Vec<(EndpointId, String)> = self.fleet.iter().filter(|(_, e)| is_in(e)).map(|(at, e)| (at, e.id.to_string())).collect();
        for (at, id) in all {
            self.check_baselines(at, &id, false, now_ms, out);
        }
    }
}

fn first(names: &[Box<str>]) -> &[Box<str>] {
    names.get(..NAMED_MAX).unwrap_or(names)
}
