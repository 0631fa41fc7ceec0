//! A new catalog meets all endpoints: every distinct row is asked again, postures are made anew, and what feeds published is told once a feed and once a patch that
//! somebody must look at; never once an endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::{Value, json};

use super::{PatchId, Weight};
use crate::fleet::EndpointId;
use crate::patch::State;
use crate::patch::catalog::Catalog;
use crate::shard::{Applied, Shard};
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
        self.renumbered();
        self.patches.digest = self.catalog.digest();
        self.fleet.note_all(&self.catalog, &self.limits);
        self.stand_all();
        self.resolve_items();
        self.watch_all();
        self.catalog_at_start();
    }

    pub(in crate::shard) fn swap_catalog(&mut self, catalog: Arc<Catalog>, news: &[FeedNews], now_ms: i64, out: &mut Applied) {
        let digest = catalog.digest();
        let turned = digest != self.patches.digest;
        let present = self.patches.digest.clone();
        let before = (turned && self.catalog_turns(&present, &digest, now_ms)).then(|| self.standing(out));
        let old = std::mem::replace(&mut self.catalog, catalog);
        // The process was away, not the catalog.
        let known = self.patches.stored.take().is_some_and(|stored| stored == digest);
        let mut fresh = Vec::new();
        if turned {
            out.batch.put(Space::Meta, "catalog", digest.as_str());
            self.patches.digest = digest;
            self.renumbered();
            self.fleet.note_all(&self.catalog, &self.limits);
            self.stand_all();
            if let Some(before) = before {
                self.record_standing(&before, out);
            }
            self.resolve_items();
            fresh = if known { Vec::new() } else { self.fresh(&old, news) };
        }
        self.tell_news(news, &fresh, now_ms, out);
        if turned {
            self.settle_alerts(news, now_ms, out);
            self.publish(fresh, now_ms, out);
            self.check_patches(|_| true, now_ms, out);
        }
    }

    /// Patches that are critical or exploited and new, or were neither under the catalog before. Those that most endpoints miss come first.
    fn fresh(&self, old: &Catalog, news: &[FeedNews]) -> Vec<Fresh> {
        let mut found: BTreeMap<PatchId, &'static str> = BTreeMap::new();
        let alarmed = |feed: &str, id: &str| {
            let before = old.find(id).into_iter().find(|p| old.id(*p).is_some_and(|(_, of)| of == feed));
            before.map(|p| Weight::of(old, p).alarms())
        };
        for feed in news.iter().filter(|n| n.error.is_none()) {
            let named: Vec<&Box<str>> = feed.added.iter().chain(&feed.changed).collect();
            let alarming = named.into_par_iter().filter_map(|id| {
                let patch = self.patch_of_feed(&feed.feed, id).filter(|p| Weight::of(&self.catalog, *p).alarms())?;
                match alarmed(&feed.feed, id) {
                    None => Some((patch, "new")),
                    Some(false) => Some((patch, "changed")),
                    Some(true) => None,
                }
            });
            found.extend(alarming.collect::<Vec<_>>());
        }
        // What is known of a CVE may have changed without a word of the feed: it is attacked now.
        for patch in self.fleet.noted().into_iter().filter(|p| self.weight(*p).alarms()) {
            if let Some((id, feed)) = self.catalog.id(patch)
                && alarmed(feed, id) == Some(false)
            {
                found.insert(patch, "changed");
            }
        }
        let patches: Vec<PatchId> = found.keys().copied().collect();
        let counted = if patches.is_empty() { Vec::new() } else { self.tally(patches) };
        let mut fresh: Vec<Fresh> = found
            .into_iter()
            .zip(counted)
            .map(|((patch, why), counts)| Fresh { patch, weight: self.weight(patch), why, missing: counts[State::Missing as usize] })
            .collect();
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
