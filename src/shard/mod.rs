//! The state of a part of the fleet, and the one function that changes it.
//!
//! `apply(inputs, now) -> replies + batch`: deterministic, and idempotent by endpoint and digest: an upload that was applied already
//! changes nothing. One writer calls it; everybody else reads. What it gives is durable only when the caller has committed the batch,
//! and only then may a reply leave the process (INVARIANT: ack means durable).

mod behind;
mod bounds;
mod episodes;
mod explain;
mod freshness;
mod history;
mod ids;
mod input;
mod judge;
mod load;
mod outbox;
mod patches;
mod pool;
mod stored;
mod swap;
mod tasks;
mod trends;
mod upload;

pub use freshness::{Freshness, FreshnessCounts, ROUND_MS};
pub use input::{Applied, Input, Refusal, Reply};
pub use load::LoadError;
pub use outbox::{Attempt, Pending};
pub use patches::{Alert, AlertCause, CatalogLane, FeedNews, PatchStand, PatchTotals, Posture};
pub use swap::{Lane, Progress, Spent, Watching};
pub use upload::{BodyHash, Prepared, PreparedRow, Uploaded};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::episodes::kept::Episodes;
use self::tasks::kept::Tasks;
use crate::drift::{Cause, Episode};
use crate::event::{Event, subscribed};
use crate::fleet::classes::ClassId;
use crate::fleet::rows::Rows;
use crate::fleet::shared::{self, Labels, Shared};
use crate::fleet::{Endpoint, EndpointId, Fleet, Tables};
use crate::history::book::Book;
use crate::history::record::Who;
use crate::judge::joins::Joins;
use crate::limits::Limits;
use crate::pack::Pack;
use crate::pack::program::Tallies;
use crate::patch::catalog::Catalog;
use crate::patch::list::Decisions;
use crate::policy::{Policy, Resolved};
use crate::state::{Batch, Space, pair_key, segment};

/// An episode and the event that began it, by number and time, as long as that is to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub episode: Episode,
    pub event: (u64, i64),
}

type Of = (EndpointId, Arc<str>);

#[derive(Debug)]
pub struct Shard {
    pub fleet: Fleet,
    pub pack: Arc<Pack>,
    pub policy: Resolved,
    pub catalog: Arc<Catalog>,
    pub decisions: Decisions,
    patches: patches::Patches,
    /// What identifies this store in the ids that it gives out.
    store_id: String,
    limits: Limits,
    episodes: Episodes,
    /// The last one that was looked at for being forgotten; `None`: the next look begins with the first.
    forgotten_to: Option<Of>,
    tasks: Tasks,
    pub outbox: outbox::Outbox,
    next_seq: u64,
    /// Batches applied since the start.
    applied: u64,
    /// What the stored verdicts were judged with beside the pack.
    stored_policy: Option<String>,
    tallies: Tallies,
    /// Answers of endpoint-level programs by what they read. Forgotten when ids or programs change their meaning.
    joins: Joins,
    live: Vec<Live>,
    hearing: freshness::Hearing,
    /// An upload was refused because there are too many rows: those that nobody has are freed soon.
    short_of_rows: bool,
    swept_ms: i64,
    pub totals: Totals,
    /// Counts the swaps that changed classes.
    generation: u32,
    /// Keys of [`Space::Generation`].
    generation_keys: BTreeSet<Vec<u8>>,
    /// Endpoints whose own record says another class.
    moved: RoaringBitmap,
    /// Records of classes of former generations.
    stale_classes: BTreeSet<ClassId>,
    /// Endpoints that a swap left to be held against the baselines.
    settling: RoaringBitmap,
    history: Book,
    /// Patch states before the next batch cannot be told.
    catalog_unknown: bool,
    trends: trends::Trends,
}

/// Counts since the process started, for metrics and the demo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub opened: u64,
    pub updated: u64,
    pub resolved: u64,
    pub reopened: u64,
    pub tasks_queued: u64,
    pub tasks_confirmed: u64,
    pub outbox_dropped: u64,
}

/// Steps of [`crate::fleet::thin`] that a second takes however much there is to do, each some milliseconds.
const THIN_STEPS: u32 = 8;

/// What is known of an endpoint only while the process lives.
#[derive(Debug, Default)]
struct Live {
    seen_ms: std::sync::atomic::AtomicI64,
    /// The batch that its last body was applied in.
    batch: u64,
    body: u64,
    length: u32,
    /// The scan that it brought: the low half of [`crate::fleet::Held::sequence`]. 0: there was none, or it has gone round.
    sequence: u32,
}

impl Live {
    /// Keeps what the body that was applied last is recognised by.
    fn keep(&mut self, body: &BodyHash, sequence: u64, batch: u64) {
        (self.body, self.length) = (body.hash, body.length);
        (self.sequence, self.batch) = (low(sequence), batch);
    }

    /// Whether a body is the last one, which brought the scan of this number, and its batch is on the disk.
    fn knows(&self, body: &BodyHash, sequence: u64, durable: u64) -> bool {
        self.sequence != 0
            && body.length != 0
            && (self.body, self.length) == (body.hash, body.length)
            && self.sequence == low(sequence)
            && self.batch <= durable
    }
}

fn low(sequence: u64) -> u32 {
    u32::try_from(sequence & u64::from(u32::MAX)).unwrap_or(0)
}

impl Shard {
    pub fn rows(&self) -> &Rows {
        &self.fleet.rows
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What identifies this store in the ids that it gives out.
    pub fn store_id(&self) -> &str {
        &self.store_id
    }

    /// Goes on with the stored verdicts if they were judged with this pack and policy; else gives the policy back, for an [`Input::Swap`].
    pub fn resume(&mut self, pack: &Pack, policy: Policy) -> Option<Policy> {
        if self.pack.digest() != pack.digest() || self.stored_policy.as_ref() != Some(&policy.fingerprint()) {
            return Some(policy);
        }
        self.policy = policy.resolve(&self.pack);
        self.resolve_items();
        if self.has_exemptions() {
            self.stand_all();
            self.watch_all();
        }
        None
    }

    /// Number of the newest event.
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    pub fn apply(&mut self, inputs: Vec<Input>, now_ms: i64) -> Applied {
        self.applied += 1;
        let mut out = Applied { number: self.applied, ..Applied::default() };
        self.begin_history(now_ms);
        for input in inputs {
            let reply = match input {
                Input::Enroll { id, hostname, labels, key_hash } => self.enroll(id, hostname, labels, key_hash, now_ms, &mut out),
                Input::Upload { endpoint, prepared } => self.upload(&endpoint, *prepared, now_ms, &mut out).map(Reply::Uploaded),
                Input::Report { task, endpoint, ok, message } => self.report(&task, &endpoint, ok, &message, now_ms, &mut out),
                Input::Remove { endpoint } => self.remove(&endpoint, now_ms, &mut out),
                Input::Delivered { sink, seq, attempt } => {
                    self.outbox.record(&sink, seq, attempt, now_ms, &mut out.batch);
                    Ok(Reply::Done)
                }
                Input::Redeliver { sink } => {
                    out.wake_sinks = true;
                    Ok(Reply::Redelivered(self.outbox.revive(&sink, now_ms, &mut out.batch)))
                }
                swap @ (Input::Swap { .. }
                | Input::Watch
                | Input::Unwatch
                | Input::Finish(_)
                | Input::FinishCatalog(_)
                | Input::Catalog { .. }
                | Input::Settle) => self.apply_swap(swap, now_ms, &mut out),
                Input::KeepList(list) => self.keep_list(list, now_ms, &mut out),
                Input::Exempt(exemption) => self.exempt(exemption, now_ms, &mut out),
                Input::EndExemption { id, by } => self.end_exemption(&id, &by, now_ms, &mut out),
                Input::Limited { endpoint, name, limit, after_s } => {
                    self.name_limited(&endpoint, name, limit, after_s, now_ms, &mut out);
                    Ok(Reply::Done)
                }
                Input::Stop => {
                    self.write_all_seen(now_ms, &mut out);
                    Ok(Reply::Done)
                }
                Input::Tick => {
                    self.tick(now_ms, &mut out);
                    Ok(Reply::Done)
                }
                Input::Thin => {
                    self.thin(&mut out);
                    Ok(Reply::Done)
                }
            };
            out.replies.push(reply);
        }
        self.store_flows(&mut out);
        self.history.flush(now_ms, &mut out.batch);
        out
    }

    fn enroll(
        &mut self,
        id: String,
        hostname: String,
        labels: BTreeMap<String, String>,
        key_hash: [u8; 32],
        now_ms: i64,
        out: &mut Applied,
    ) -> Result<Reply, Refusal> {
        let known = self.fleet.find(&id);
        if known.is_none() && self.fleet.len() >= self.limits.endpoints {
            return Err(Refusal::EndpointsFull(self.limits.endpoints));
        }
        let again = known.is_some();
        if again && self.policy.policy.refuse_again {
            return Err(Refusal::AlreadyEnrolled(id));
        }
        let (hostname, labels) = (hostname.into_boxed_str(), self.share_labels(&labels, out));
        let at = match known {
            // The same machine installed again, or one that lost its key: it keeps its history and gets a new key.
            Some(at) => {
                // Other labels, other groups; other exemptions.
                self.trend_whole(at, false);
                let stood = self.has_exemptions().then(|| self.all_states(at));
                let before = self.fleet.get(at).map(|e| e.labels.clone()).filter(|before| *before != labels);
                if let Some(before) = before {
                    self.history.who(Who::Labelled { number: at.0, before: Labels::clone(&before) });
                }
                self.fleet.describe(at, hostname, labels, key_hash);
                self.trend_whole(at, true);
                if let Some(stood) = stood {
                    self.turn_all(at, stood, AlertCause::Exempt, now_ms, out);
                }
                at
            }
            None => {
                let endpoint = Endpoint { id: id.as_str().into(), hostname, labels, key_hash, enrolled_ms: now_ms, held: None };
                let at = self.fleet.insert(endpoint);
                self.history.who(Who::Enrolled { number: at.0 });
                self.trend_whole(at, true);
                at
            }
        };
        self.heard(at, &id, now_ms, out);
        self.store_endpoint(at, out);
        let hostname = self.fleet.get(at).map(|e| e.hostname.clone());
        self.event("endpoint.enrolled", Some(&id), json!({"hostname": hostname, "again": again}), now_ms, true, out);
        Ok(Reply::Enrolled { again })
    }

    fn remove(&mut self, id: &str, now_ms: i64, out: &mut Applied) -> Result<Reply, Refusal> {
        let at = self.fleet.find(id).ok_or_else(|| Refusal::UnknownEndpoint(id.to_owned()))?;
        self.erase(at, id, now_ms, out);
        self.event("endpoint.removed", Some(id), json!({}), now_ms, true, out);
        Ok(Reply::Removed)
    }

    /// Takes an endpoint out, and ends what is open at it.
    fn erase(&mut self, at: EndpointId, id: &str, now_ms: i64, out: &mut Applied) {
        let rules: Vec<Box<str>> = self.open_episodes_of(at).map(|(rule, _)| rule.into()).collect();
        for rule in rules {
            self.close_episode(at, id, &rule, Cause::EndpointRemoved, now_ms, out);
        }
        self.withdraw_all(at, id, now_ms, out);
        for rule in self.episodes_of(at).map(|(r, _)| Box::from(r)).collect::<Vec<Box<str>>>() {
            self.episodes.remove(at, &rule);
            out.batch.delete(Space::Episodes, pair_key(id, rule.as_bytes()));
        }
        let (stood, last) = (self.all_states(at), self.last_of(at, &mut out.batch));
        self.trend_whole(at, false);
        if let Some((endpoint, moved)) = self.fleet.remove(at) {
            let of = (&*endpoint.id, &*endpoint.hostname, &*endpoint.labels);
            self.history.removed(at.0, of, last.as_ref(), now_ms, &mut out.batch);
            if let Some(image) = moved.abandoned {
                out.batch.delete(Space::Images, image.to_be_bytes());
            }
            if let Some(class) = endpoint.held.map(|h| h.class).filter(|c| !self.fleet.classes.contains(*c)) {
                self.drop_class(class, out);
            }
            out.batch.delete(Space::Endpoints, id);
            // Also where its own record was written since: who has its number later sends scans of the same numbers.
            if self.moved.remove(at.0) || self.generation_keys.contains(&swap::stored::move_key(at)) {
                let key = swap::stored::gone_key(at);
                out.batch.put_record(Space::Generation, key.clone(), &());
                self.generation_keys.insert(key);
            }
        }
        // Its number is given to another one.
        *self.live_mut(at) = Live::default();
        self.hearing.forget(at);
        self.turn_all(at, stood, AlertCause::EndpointRemoved, now_ms, out);
    }

    /// Time passes.
    fn tick(&mut self, now_ms: i64, out: &mut Applied) {
        while let Some((endpoint, rule)) = self.episodes.due(now_ms)
            && let Some(mut kept) = self.episodes.get(endpoint, &rule)
        {
            (kept.episode.tell_ms, kept.episode.told) = (None, true);
            let kind = if kept.episode.reopened > 0 { "drift.reopened" } else { "drift.opened" };
            self.tell(kind, kept.event.0, kept.event.1, out);
            self.store_episode(endpoint, &rule, &kept, out);
            self.episodes.put(endpoint, &rule, &kept);
        }
        self.settle_after_load(now_ms, out);
        self.expire_exemptions(now_ms, out);
        self.tick_trends(now_ms, out);
        self.forget_episodes(now_ms, out);
        self.settle(now_ms, out);
        let history_ms = self.policy.policy.history_ms;
        self.history.expire(history_ms, now_ms, &mut out.batch);
        self.age(now_ms, out);
        // Those of a store that was written before, too, and those that became too many while nothing came.
        for _ in 0..THIN_STEPS {
            self.thin(out);
        }
        self.sweep(now_ms, out);
    }

    /// Drops the segments of events that are older than they are kept. Numbers go on counting where they were.
    pub fn expire(&self, segments: &[u32], now_ms: i64, batch: &mut Batch) {
        let oldest = segment(now_ms - self.policy.policy.retention_ms);
        batch.drop_segments = segments.iter().copied().filter(|s| *s < oldest).collect();
        if !batch.drop_segments.is_empty() {
            batch.put(Space::Meta, "seq", self.last_seq().to_string());
        }
    }

    fn live_mut(&mut self, at: EndpointId) -> &mut Live {
        let index = at.0 as usize;
        if self.live.len() <= index {
            self.live.resize_with(index + 1, Live::default);
        }
        &mut self.live[index]
    }

    /// The labels that endpoints with the same ones have in common.
    fn share_labels(&mut self, labels: &Labels, out: &mut Applied) -> Shared<Labels> {
        let (shared, fresh) = self.fleet.sharing.labels(labels);
        if fresh {
            out.batch.put_record(Space::Shared, shared.id().to_be_bytes(), &shared::Stored::Labels(labels.clone()));
        }
        shared
    }

    fn share_tables(&mut self, tables: &Tables, out: &mut Applied) -> Shared<Tables> {
        let (shared, fresh) = self.fleet.sharing.tables(tables);
        if fresh {
            out.batch.put_record(Space::Shared, shared.id().to_be_bytes(), &shared::Stored::Tables(tables.clone()));
        }
        shared
    }

    fn store_endpoint(&mut self, at: EndpointId, out: &mut Applied) {
        self.moved.remove(at.0);
        if let Some(endpoint) = self.fleet.get(at) {
            out.batch.put(Space::Endpoints, endpoint.id.as_bytes(), stored::record(at, endpoint));
        }
    }

    fn store_episode(&self, at: EndpointId, rule: &str, kept: &Kept, out: &mut Applied) {
        if let Some(endpoint) = self.fleet.get(at) {
            out.batch.put_record(Space::Episodes, pair_key(&endpoint.id, rule.as_bytes()), kept);
        }
    }

    /// Episodes of one endpoint, by rule.
    pub fn episodes_of(&self, at: EndpointId) -> impl Iterator<Item = (&str, Kept)> {
        self.episodes.of(at)
    }

    /// The open ones of one endpoint, by rule, and when they opened.
    pub fn open_episodes_of(&self, at: EndpointId) -> impl Iterator<Item = (&str, i64)> {
        self.open_episodes(at.0..at.0.saturating_add(1)).map(|(_, rule, opened_ms)| (rule, opened_ms))
    }

    /// The open ones of some endpoints, by endpoint and rule, and when they opened.
    pub fn open_episodes(&self, endpoints: std::ops::Range<u32>) -> impl Iterator<Item = (EndpointId, &str, i64)> {
        self.episodes.open_of(endpoints)
    }

    /// Writes an event into history, and into the outbox of the sinks that want it unless it is to be told later. Its number and time.
    fn event(&mut self, kind: &str, endpoint: Option<&str>, data: Value, now_ms: i64, tell: bool, out: &mut Applied) -> (u64, i64) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let time = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
        let id = format!("evt_{}_{seq}", self.store_id);
        let event = Event { seq, id, kind: kind.to_owned(), time, endpoint: endpoint.map(str::to_owned), data };
        // Events hold free-form JSON and are read by people: stored as they are shown.
        out.batch.put(Space::Events(segment(now_ms)), seq.to_be_bytes(), serde_json::to_vec(&event).unwrap_or_default());
        if tell {
            self.tell(kind, seq, now_ms, out);
        }
        (seq, now_ms)
    }

    /// Puts an event into the outbox of the sinks that want it.
    fn tell(&mut self, kind: &str, seq: u64, at_ms: i64, out: &mut Applied) {
        let wanted = self.policy.policy.subscriptions.iter().filter(|s| subscribed(&s.events, kind));
        for sink in wanted {
            if self.outbox.len() >= self.limits.outbox {
                self.totals.outbox_dropped += 1;
                continue;
            }
            self.outbox.push(&sink.sink, seq, at_ms, &mut out.batch);
            out.wake_sinks = true;
        }
    }
}
