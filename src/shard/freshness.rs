//! When endpoints were last heard of: `uploads and the clock -> fresh, stale, silent, culled`.
//!
//! Who is due when lies in buckets of time; an upload does not touch them. A bucket that is due is gone through, and who was heard of since is put into a later one: an endpoint is looked at about once
//! in the time that makes it stale, and a tick looks at a bounded number. Who is stale, and who silent, are bitmaps, so that counts can say how much of them is of yesterday.
//!
//! Unchanged uploads write nothing, so when endpoints were heard of is written beside, block by block, all of them within [`ROUND_MS`]: what a crash may forget. Silence counts only while the server
//! listens: the times at which it was away are kept, and nobody is stale or culled for them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Applied, Shard};
use crate::fleet::EndpointId;
use crate::fleet::classes::ClassId;
use crate::policy::FreshnessPolicy;
use crate::rule::Severity;
use crate::state::{Space, Store, StoreError, decode};

/// How long ago an endpoint was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    Fresh,
    /// What is known of it may not be so any more.
    Stale,
    /// Stale, and for so long that it was told.
    Silent,
}

impl Freshness {
    pub const ALL: [Freshness; 3] = [Freshness::Fresh, Freshness::Stale, Freshness::Silent];

    pub fn name(self) -> &'static str {
        match self {
            Freshness::Fresh => "fresh",
            Freshness::Stale => "stale",
            Freshness::Silent => "silent",
        }
    }

    pub fn by_name(name: &str) -> Option<Freshness> {
        Freshness::ALL.into_iter().find(|f| f.name() == name)
    }
}

/// How many endpoints are fresh, stale and silent; those that are silent are not among the stale ones here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FreshnessCounts {
    pub fresh: u64,
    pub stale: u64,
    pub silent: u64,
}

/// Within so long everything that is known of who was heard of when is written.
pub const ROUND_MS: i64 = 10 * 60_000;
/// Endpoints of one record.
const BLOCK: u32 = 4096;
/// Records that are written in one tick at most.
const BLOCKS_A_TICK: u32 = 16;
/// Endpoints that are looked at in one tick at most; one that is culled counts for [`CULLED`].
const LOOKED_AT: usize = 20_000;
const CULLED: usize = 100;
/// A bucket is this part of the shortest age, from a second to a minute.
const STEPS: i64 = 256;
const NOT_DUE: u32 = 0;
/// Times of absence that are kept apart.
const AWAY_MAX: usize = 64;

/// What is kept of it.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    policy: FreshnessPolicy,
    /// The clock was seen.
    begun: bool,
    /// When the server was last known to listen, before it was started.
    listened_ms: Option<i64>,
    /// From when to when it did not, in order.
    away: Vec<(i64, i64)>,
    step_ms: i64,
    /// By the end of their bucket, in steps since 1970. An endpoint that is in several is due at the one that `due` names.
    queue: BTreeMap<u32, Vec<EndpointId>>,
    due: Vec<u32>,
    /// Those that are silent are among them.
    stale: RoaringBitmap,
    silent: RoaringBitmap,
    round: Round,
}

/// The going round of what is written.
#[derive(Debug, Default)]
struct Round {
    begun_ms: i64,
    /// The block that comes next.
    next: u32,
    /// When each block was written.
    written_ms: Vec<i64>,
}

/// When endpoints of a block were heard of.
#[derive(Serialize, Deserialize)]
struct StoredBlock {
    newest_ms: i64,
    /// One an endpoint: 0 for a number that nobody has, else one more than the whole minutes before `newest_ms`.
    minutes: Vec<u32>,
}

impl Hearing {
    pub(super) fn new(listened: Option<&String>, away: Option<&String>) -> Hearing {
        let pair = |text: &str| text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        let away = away.map(|text| text.split(' ').filter_map(pair).collect()).unwrap_or_default();
        Hearing { listened_ms: listened.and_then(|ms| ms.parse().ok()), away, ..Hearing::default() }
    }

    /// The clock after a start: until now nobody could be heard of.
    fn came_back(&mut self, now_ms: i64) {
        // Of a store that did not say when it listened nobody can tell who was silent.
        let from_ms = self.listened_ms.unwrap_or(0);
        // It listened then: what it knows of later absences, it has from a clock that was set back since.
        self.away.retain_mut(|(from, to)| {
            *to = from_ms.min(*to);
            from < to
        });
        if now_ms - from_ms > ROUND_MS {
            self.away.push((from_ms, now_ms));
        }
        if self.away.len() > AWAY_MAX {
            // As if it had been away in between: a little too late is better than culled too soon.
            let first = self.away.remove(0);
            if let Some(second) = self.away.first_mut() {
                second.0 = first.0;
            }
        }
        self.round.begun_ms = now_ms;
    }

    fn away_text(&self) -> String {
        self.away.iter().map(|(from, to)| format!("{from}-{to}")).collect::<Vec<_>>().join(" ")
    }

    /// For how long an endpoint was not heard of while the server listened.
    fn silence_ms(&self, seen_ms: i64, now_ms: i64) -> i64 {
        let since = self.away.iter().rev().take_while(|(_, to)| *to > seen_ms);
        // None of an absence that is yet to come, by a clock that was set back.
        let away: i64 = since.map(|(from, to)| (to.min(&now_ms) - from.max(&seen_ms)).max(0)).sum();
        (now_ms - seen_ms - away).max(0)
    }

    fn bucket(&self, at_ms: i64) -> u32 {
        u32::try_from(at_ms.max(0) / self.step_ms.max(1) + 1).unwrap_or(u32::MAX)
    }

    fn put(&mut self, at: EndpointId, bucket: u32) {
        let place = at.0 as usize;
        if self.due.len() <= place {
            self.due.resize(place + 1, NOT_DUE);
        }
        if self.due[place] != bucket {
            self.due[place] = bucket;
            self.queue.entry(bucket).or_default().push(at);
        }
    }

    fn is_due(&self, at: EndpointId, bucket: u32) -> bool {
        self.due.get(at.0 as usize) == Some(&bucket)
    }

    pub(super) fn forget(&mut self, at: EndpointId) {
        if let Some(due) = self.due.get_mut(at.0 as usize) {
            *due = NOT_DUE;
        }
        self.stale.remove(at.0);
        self.silent.remove(at.0);
    }

    /// When an endpoint should be looked at that was heard of then: at the next age that it has not reached.
    fn next_due_ms(&self, seen_ms: i64, now_ms: i64) -> Option<i64> {
        let FreshnessPolicy { stale_ms, silent_ms, cull_ms } = self.policy;
        let silence_ms = self.silence_ms(seen_ms, now_ms);
        [stale_ms, silent_ms, cull_ms].into_iter().find(|age| *age > silence_ms).map(|age| now_ms + age - silence_ms)
    }
}

impl Shard {
    /// When an endpoint was last heard of, in milliseconds since 1970.
    pub fn seen_ms(&self, at: EndpointId) -> i64 {
        let live = self.live.get(at.0 as usize).map_or(0, |l| l.seen_ms.load(Ordering::Relaxed));
        let stored = self.fleet.get(at).map_or(0, |e| e.held.as_ref().map_or(e.enrolled_ms, |h| h.received_ms));
        live.max(stored)
    }

    /// How long ago an endpoint was heard of.
    pub fn freshness(&self, at: EndpointId) -> Freshness {
        match (self.hearing.stale.contains(at.0), self.hearing.silent.contains(at.0)) {
            (_, true) => Freshness::Silent,
            (true, false) => Freshness::Stale,
            (false, false) => Freshness::Fresh,
        }
    }

    /// The endpoints that are stale; the silent ones are among them.
    pub fn stale(&self) -> &RoaringBitmap {
        &self.hearing.stale
    }

    pub fn freshness_counts(&self) -> FreshnessCounts {
        let (all, stale, silent) = (self.fleet.len() as u64, self.hearing.stale.len(), self.hearing.silent.len());
        FreshnessCounts { fresh: all.saturating_sub(stale), stale: stale - silent, silent }
    }

    /// How many of the endpoints of each class are stale. Looks at the stale ones.
    pub fn stale_classes(&self) -> BTreeMap<ClassId, u32> {
        let mut classes = BTreeMap::new();
        let held = self.hearing.stale.iter().filter_map(|at| self.fleet.get(EndpointId(at))?.held.as_ref());
        held.for_each(|held| *classes.entry(held.class).or_default() += 1);
        classes
    }

    /// Missing patches at endpoints that are stale, by severity of the patch.
    pub fn stale_missing(&self) -> [u64; 5] {
        let mut sum = [0; 5];
        for at in &self.hearing.stale {
            let posture = self.posture(EndpointId(at));
            sum.iter_mut().zip(posture.missing).for_each(|(sum, n)| *sum += u64::from(n));
        }
        sum
    }

    /// The clock, for the first time after a start or for another policy: who is stale, and who is due when. Looks at the whole fleet.
    pub fn begin(&mut self, policy: FreshnessPolicy, now_ms: i64) {
        let first = !self.hearing.begun;
        let shortest = [policy.stale_ms, policy.silent_ms, policy.cull_ms].into_iter().filter(|age| *age > 0).min();
        let hearing = &mut self.hearing;
        (hearing.policy, hearing.begun) = (policy, true);
        hearing.step_ms = (shortest.unwrap_or(0) / STEPS).clamp(1000, 60_000);
        if first {
            hearing.came_back(now_ms);
        }
        hearing.queue.clear();
        hearing.due.clear();
        let told = std::mem::take(&mut hearing.silent);
        hearing.stale.clear();
        for place in 0..self.fleet.places() {
            let at = EndpointId(place);
            if self.fleet.get(at).is_none() {
                continue;
            }
            let seen_ms = self.seen_ms(at);
            let silence_ms = self.hearing.silence_ms(seen_ms, now_ms);
            let reached = |age: i64| age > 0 && silence_ms >= age;
            if reached(policy.stale_ms) || reached(policy.silent_ms) {
                self.hearing.stale.insert(place);
            }
            // It was told before the start, or before the policy changed; who is not told yet is due now.
            let silent = reached(policy.silent_ms) && (first || told.contains(place));
            if silent {
                self.hearing.silent.insert(place);
            }
            let at_once = reached(policy.cull_ms) || (reached(policy.silent_ms) && !silent);
            let due_ms = if at_once { Some(now_ms) } else { self.hearing.next_due_ms(seen_ms, now_ms) };
            if let Some(due_ms) = due_ms {
                let bucket = self.hearing.bucket(due_ms);
                self.hearing.put(at, bucket);
            }
        }
    }

    /// An endpoint has sent a scan, or was enrolled.
    pub(super) fn heard(&mut self, at: EndpointId, id: &str, now_ms: i64, out: &mut Applied) {
        let before_ms = self.seen_ms(at);
        let silence_ms = self.hearing.silence_ms(before_ms, now_ms);
        self.live_mut(at).seen_ms.store(now_ms, Ordering::Relaxed);
        let (stale, silent) = (self.hearing.stale.remove(at.0), self.hearing.silent.remove(at.0));
        let known = self.hearing.due.get(at.0 as usize).is_some_and(|due| *due != NOT_DUE);
        if self.hearing.begun && (stale || !known) {
            self.look_again(at, now_ms, now_ms);
        }
        if silent {
            let data = json!({"seen": time(before_ms), "silent_seconds": silence_ms / 1000});
            self.event("endpoint.returned", Some(id), data, now_ms, true, out);
        }
    }

    fn look_again(&mut self, at: EndpointId, seen_ms: i64, now_ms: i64) {
        match self.hearing.next_due_ms(seen_ms, now_ms) {
            Some(due_ms) => {
                let bucket = self.hearing.bucket(due_ms);
                self.hearing.put(at, bucket);
            }
            None => {
                if let Some(due) = self.hearing.due.get_mut(at.0 as usize) {
                    *due = NOT_DUE;
                }
            }
        }
    }

    /// Time passes: who is due is looked at, a bounded number of them; what is known is written, a part of it.
    pub(super) fn age(&mut self, now_ms: i64, out: &mut Applied) {
        if !self.hearing.begun || self.hearing.policy != self.policy.policy.freshness {
            self.begin(self.policy.policy.freshness, now_ms);
        }
        let mut left = LOOKED_AT;
        while left > 0 {
            let Some(first) = self.hearing.queue.first_entry() else { break };
            let bucket = *first.key();
            if i64::from(bucket).saturating_mul(self.hearing.step_ms) > now_ms {
                break;
            }
            let mut due = first.remove();
            while left > 0
                && let Some(at) = due.pop()
            {
                left = left.saturating_sub(1);
                if self.hearing.is_due(at, bucket) && self.look_at(at, now_ms, out) {
                    left = left.saturating_sub(CULLED);
                }
            }
            if !due.is_empty() {
                self.hearing.queue.insert(bucket, due);
            }
        }
        self.write_round(now_ms, out);
    }

    /// Moves an endpoint to how fresh it is now. Whether it was culled.
    fn look_at(&mut self, at: EndpointId, now_ms: i64, out: &mut Applied) -> bool {
        let (seen_ms, policy) = (self.seen_ms(at), self.hearing.policy);
        let Some(id) = self.fleet.get(at).map(|e| e.id.to_string()) else {
            self.hearing.forget(at);
            return false;
        };
        let silence_ms = self.hearing.silence_ms(seen_ms, now_ms);
        let reached = |age: i64| age > 0 && silence_ms >= age;
        if reached(policy.cull_ms) {
            self.cull(at, &id, seen_ms, now_ms, out);
            return true;
        }
        if reached(policy.stale_ms) || reached(policy.silent_ms) {
            self.hearing.stale.insert(at.0);
        }
        if reached(policy.silent_ms) && self.hearing.silent.insert(at.0) {
            let data = json!({"seen": time(seen_ms), "silent_seconds": silence_ms / 1000});
            self.event("endpoint.silent", Some(&id), data, now_ms, true, out);
        }
        self.look_again(at, seen_ms, now_ms);
        false
    }

    fn cull(&mut self, at: EndpointId, id: &str, seen_ms: i64, now_ms: i64, out: &mut Applied) {
        let severe = self.open_by_severity(at);
        self.erase(at, id, now_ms, out);
        let silence_ms = self.hearing.silence_ms(seen_ms, now_ms);
        let data = json!({"seen": time(seen_ms), "silent_seconds": silence_ms / 1000, "cause": "silent", "resolved": severe});
        self.event("endpoint.culled", Some(id), data, now_ms, true, out);
    }

    /// How many rules failed at it, by severity: what is resolved by nobody having looked.
    fn open_by_severity(&self, at: EndpointId) -> BTreeMap<&'static str, u32> {
        let mut counts = BTreeMap::new();
        for (rule, _) in self.open_episodes_of(at) {
            let severity = self.pack.find(rule).map_or(Severity::Info, |r| self.pack.rule(r).severity);
            *counts.entry(severity.name()).or_default() += 1;
        }
        counts
    }

    /// Writes the blocks whose turn it is.
    fn write_round(&mut self, now_ms: i64, out: &mut Applied) {
        let blocks = self.fleet.places().div_ceil(BLOCK);
        let passed_ms = (now_ms - self.hearing.round.begun_ms).clamp(0, ROUND_MS);
        let turn = i64::from(blocks) * passed_ms / ROUND_MS;
        let turn = u32::try_from(turn).unwrap_or(blocks).min(self.hearing.round.next.saturating_add(BLOCKS_A_TICK));
        while self.hearing.round.next < turn {
            let block = self.hearing.round.next;
            self.write_block(block, now_ms, out);
            self.hearing.round.next += 1;
        }
        if passed_ms >= ROUND_MS && self.hearing.round.next >= blocks {
            (self.hearing.round.begun_ms, self.hearing.round.next) = (now_ms, 0);
            self.write_listened(blocks, now_ms, out);
        }
    }

    fn write_listened(&self, blocks: u32, now_ms: i64, out: &mut Applied) {
        if blocks > 0 {
            out.batch.put(Space::Meta, "listened", now_ms.to_string());
            out.batch.put(Space::Meta, "away", self.hearing.away_text());
        }
    }

    /// Everything that was not written yet, and that it was listened until now: for a server that stops.
    pub(super) fn write_all_seen(&mut self, now_ms: i64, out: &mut Applied) {
        let blocks = self.fleet.places().div_ceil(BLOCK);
        (0..blocks).for_each(|block| self.write_block(block, now_ms, out));
        if self.hearing.begun {
            self.write_listened(blocks, now_ms, out);
        }
    }

    /// Writes a block if anybody of it was heard of since.
    fn write_block(&mut self, block: u32, now_ms: i64, out: &mut Applied) {
        let first = block.saturating_mul(BLOCK);
        let places = first..first.saturating_add(BLOCK).min(self.fleet.places());
        let known = |place: u32| self.fleet.get(EndpointId(place)).map(|_| self.seen_ms(EndpointId(place)));
        let seen: Vec<Option<i64>> = places.map(known).collect();
        let newest_ms = seen.iter().copied().flatten().max().unwrap_or(0);
        let written = &mut self.hearing.round.written_ms;
        if written.len() <= block as usize {
            written.resize(block as usize + 1, 0);
        }
        if newest_ms < std::mem::replace(&mut written[block as usize], now_ms) {
            return;
        }
        let minutes = |seen_ms: i64| u32::try_from((newest_ms - seen_ms).max(0) / 60_000 + 1).unwrap_or(u32::MAX);
        let minutes = seen.into_iter().map(|seen| seen.map_or(0, minutes)).collect();
        out.batch.put_record(Space::Seen, block.to_be_bytes(), &StoredBlock { newest_ms, minutes });
    }

    /// Takes what was written. The endpoints are there already.
    pub(super) fn load_seen(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        store.each(Space::Seen, &mut |key, value| {
            let Ok(block) = key.try_into().map(u32::from_be_bytes) else { return Ok(()) };
            let StoredBlock { newest_ms, minutes } = decode(Space::Seen, key, value)?;
            for (at, minutes) in (block.saturating_mul(BLOCK)..).zip(minutes) {
                if minutes > 0 && self.fleet.get(EndpointId(at)).is_some() {
                    let seen_ms = newest_ms - i64::from(minutes - 1) * 60_000;
                    self.live_mut(EndpointId(at)).seen_ms.store(seen_ms, Ordering::Relaxed);
                }
            }
            Ok(())
        })
    }
}

/// About how many places endpoints have: up to the last block of them that was written down as heard of.
pub(super) fn places(store: &dyn Store) -> Result<usize, StoreError> {
    let last = store.last(Space::Seen)?.and_then(|key| key.try_into().ok()).map(u32::from_be_bytes);
    Ok(last.map_or(0, |block| block.saturating_add(1).saturating_mul(BLOCK) as usize))
}

fn time(ms: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default()
}
