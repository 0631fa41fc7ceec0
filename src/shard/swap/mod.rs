//! A new pack or policy meets all endpoints: `pack, policy -> lane (aside, in slices) -> one switch, one batch`.
//!
//! Only rows that changed terms are about are asked, only changed rules are judged, over the whole fleet at once ([`crate::judge::inverted`]), and only what changed is written. What
//! turned is told once a rule, not once an endpoint. While a [`Lane`] is under way everything goes on under the old generation; the switch is one input among others, so
//! readers see one generation or the other.

mod anew;
mod change;
mod due;
mod lane;
mod parts;
pub(super) mod stored;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::{MultiOps, RoaringBitmap};
use serde_json::json;

use super::{Applied, CatalogLane, Input, Of, Refusal, Reply, Shard};
use crate::drift::{Cause, Change as Drift, Episode, Stand, stand};
use crate::fleet::EndpointId;
use crate::fleet::classes::Classes;
use crate::fleet::image::Says;
use crate::history::RuleTurn;
use crate::pack::Pack;
use crate::pack::predicate::Hit;
use crate::policy::Policy;
use crate::state::Space;

pub use lane::{Lane, Progress, Watching};

/// Endpoints and episodes that an event about a rule names; the counts are of all.
const NAMED_MAX: usize = 100;
/// Endpoints that are held against the baselines by one [`Input::Settle`], and records of classes that are dropped by one.
const SETTLED: usize = 256;
const DROPPED: usize = 4096;

/// What a switch put out of use. It is large: whoever applied the switch drops it where nobody waits.
#[derive(Debug, Default)]
pub struct Spent {
    hits: Vec<Box<[Hit]>>,
    says: Vec<Says>,
    classes: Classes,
    lane: Option<Box<Lane>>,
    catalog: Option<Box<CatalogLane>>,
}

impl Spent {
    /// What was there before is in the lane now.
    pub(super) fn of_catalog(lane: CatalogLane) -> Spent {
        let mut spent = Spent::default();
        drop(spent.catalog.replace(Box::new(lane)));
        spent
    }
}

impl Shard {
    /// A whole swap at once: at the start, and where nobody waits.
    pub(super) fn swap(&mut self, pack: Arc<Pack>, policy: Policy, now_ms: i64, out: &mut Applied) {
        let watching = self.watching();
        let mut lane = Lane::begin(self, watching, pack, policy);
        while !matches!(lane.step(self), Progress::Caught(0) | Progress::Lost) {}
        // INVARIANT: nothing else was applied between, so that it is never refused.
        if self.finish(lane, now_ms, out).is_ok() {
            while self.settle(now_ms, out) > 0 {}
        }
    }

    /// Notes from now on what a lane must take up. A lane that began before this is lost.
    pub(super) fn watching(&mut self) -> Watching {
        Watching { watch: self.fleet.watch(), first: self.fleet.classes.next_id() }
    }

    /// Switches to what a lane has made ready. Refused if it is not the one that is under way; it has changed nothing then.
    pub(super) fn finish(&mut self, mut lane: Lane, now_ms: i64, out: &mut Applied) -> Result<Spent, Refusal> {
        loop {
            let (progress, touched) = lane.catch_up(self, usize::MAX);
            lane.take_touched(touched);
            match progress {
                Progress::Lost => return Err(Refusal::Stale),
                Progress::Caught(0) => break,
                Progress::Caught(_) | Progress::Working(_) => {}
            }
        }
        if !lane.is_caught() {
            return Err(Refusal::Stale);
        }
        self.fleet.unwatch();
        let mut spent = Spent::default();
        // Groups are what exemptions are about.
        let regrouped = self.has_exemptions() && self.policy.policy.groups != lane.policy.policy.groups;
        let stood = (regrouped && self.has_known_catalog()).then(|| self.standing(out));
        let fingerprint = std::mem::take(&mut lane.fingerprint);
        out.batch.put(Space::Meta, "policy", fingerprint.as_str());
        self.stored_policy = Some(fingerprint);
        self.policy = lane.take_policy();
        if !lane.is_quiet() {
            self.switch(&mut lane, &mut spent, out);
            self.tell_turned(&mut lane, now_ms, out);
        }
        self.resolve_items();
        if regrouped {
            self.stand_all();
            match &stood {
                Some(stood) => self.record_standing(stood, out),
                None => self.history_mut().lose_patches(now_ms),
            }
            self.watch_anew(now_ms, out);
        }
        self.trends.doubt();
        self.record_policy(now_ms);
        self.begin_settling(&lane, out);
        spent.lane = Some(Box::new(lane));
        Ok(spent)
    }

    /// Puts the new generation in the place of the old one, and into the batch.
    fn switch(&mut self, lane: &mut Lane, spent: &mut Spent, out: &mut Applied) {
        let old = std::mem::replace(&mut self.pack, lane.pack().clone());
        if old.digest() != self.pack.digest() {
            out.batch.put(Space::Meta, "pack", self.pack.digest());
            self.record_pack(&old, out);
        }
        self.joins.forget();
        spent.hits = self.fleet.rows.replace_hits(std::mem::take(&mut lane.anew.hits));
        for (image, says) in std::mem::take(&mut lane.anew.says) {
            spent.says.push(self.fleet.images.replace_says(image, says));
        }
        self.generation += 1;
        out.batch.put(Space::Meta, "generation", self.generation.to_string());
        let class_of = std::mem::take(&mut lane.class_of);
        let mut records = std::mem::take(&mut lane.snapshot.records);
        records.extend(lane.moves.finish(self, &class_of));
        spent.classes = std::mem::replace(&mut self.fleet.classes, lane.take_classes());
        // Records of single classes are of the old generation now, and no start reads them any more.
        self.stale_classes.extend(spent.classes.recorded());
        let later: Vec<(u32, Vec<u8>)> = self.fleet.classes.after(lane.snapshot.last).collect();
        later.into_iter().for_each(|(id, verdicts)| self.store_class(id, &verdicts, out));
        self.moved = std::mem::take(&mut lane.moves.endpoints);
        for at in &self.moved {
            let class = class_of.get(at as usize).copied();
            if let Some((held, class)) = self.fleet.get_mut(EndpointId(at)).and_then(|e| e.held.as_mut()).zip(class) {
                held.class = class;
            }
        }
        let keys: BTreeSet<Vec<u8>> = records.iter().map(|(key, _)| key.clone()).collect();
        for gone in std::mem::replace(&mut self.generation_keys, keys).difference(&self.generation_keys) {
            out.batch.delete(Space::Generation, gone.clone());
        }
        records.into_iter().for_each(|(key, record)| out.batch.put(Space::Generation, key, record));
    }

    /// One event for each rule that turned anywhere, and with it the end of the episodes that it ends.
    fn tell_turned(&mut self, lane: &mut Lane, now_ms: i64, out: &mut Applied) {
        self.record_swap(lane, now_ms, out);
        let ended = self.ended(lane);
        let turns = std::mem::take(&mut lane.turns.by_rule);
        let mut by_rule: BTreeMap<&str, Vec<Of>> = BTreeMap::new();
        let ids: Vec<Arc<str>> = ended.iter().map(|(_, rule)| rule.clone()).collect();
        for (of, rule) in ended.into_iter().zip(&ids) {
            by_rule.entry(rule).or_default().push(of);
        }
        for (turning, turns) in lane.change.turning.iter().zip(&turns) {
            let ended = by_rule.remove(&*turning.id).unwrap_or_default();
            let failing = |v: Option<crate::judge::Verdict>| v.map(stand) == Some(Stand::Failing);
            let opened = turns.iter().filter(|((from, to), _)| failing(*to) && !failing(*from));
            let resolved = turns.iter().filter(|((from, to), _)| failing(*from) && to.map(stand) == Some(Stand::Clear));
            let requirement = turning.new.is_some_and(|rule| self.pack.rule(rule).requirement);
            let (opened, mut resolved): (Vec<&RoaringBitmap>, Vec<&RoaringBitmap>) = match turning.new {
                Some(_) if !requirement => (opened.map(|(_, e)| e).collect(), resolved.map(|(_, e)| e).collect()),
                _ => Default::default(),
            };
            let count = |sets: &[&RoaringBitmap]| sets.iter().map(|e| e.len()).sum::<u64>();
            // A rule that is gone has no verdict that turned; its open episodes are what is resolved.
            let gone = if turning.new.is_none() { ended.len() as u64 } else { 0 };
            let counts = (count(&opened), count(&resolved) + gone);
            if counts == (0, 0) && ended.is_empty() {
                continue;
            }
            resolved.extend(opened);
            let all: RoaringBitmap = resolved.into_iter().union();
            let named: Vec<String> =
                all.iter().take(NAMED_MAX).filter_map(|at| Some(self.fleet.get(EndpointId(at))?.id.to_string())).collect();
            let episodes = self.end_episodes(ended, now_ms, out);
            let severity = turning.new.map(|rule| self.pack.rule(rule).severity);
            let data = json!({"rule": turning.id, "severity": severity, "cause": Cause::RuleChanged, "opened": counts.0, "resolved": counts.1,
                "endpoints": named, "episodes_resolved": episodes, "pack": self.pack.digest()});
            self.event("drift.rule_changed", None, data, now_ms, true, out);
        }
    }

    /// Writes what turned into history. Without the pack that the verdicts before were of, they cannot be told.
    fn record_swap(&mut self, lane: &Lane, now_ms: i64, out: &mut Applied) {
        let (known, old) = (&self.history().head.policy.pack, &lane.change.old);
        if !self.fleet.index().held().is_empty() && !known.is_empty() && known != old.digest() {
            self.history_mut().lose_verdicts(now_ms);
            return;
        }
        for (turning, turns) in lane.change.turning.iter().zip(&lane.turns.by_rule) {
            let requirement =
                turning.new.map(|r| self.pack.rule(r)).or_else(|| turning.old.map(|r| old.rule(r))).is_some_and(|r| r.requirement);
            let turn = |((from, to), endpoints): (&turns::Turn, &RoaringBitmap)| RuleTurn {
                rule: turning.id.clone(),
                from: *from,
                to: *to,
                endpoints: endpoints.clone(),
            };
            let turned: Vec<RuleTurn> = turns.iter().filter(|(_, e)| !requirement && !e.is_empty()).map(turn).collect();
            self.record_turns(&turned, now_ms, out);
        }
    }

    /// Open episodes of rules that are gone or hold now, in the order of endpoints.
    fn ended(&self, lane: &mut Lane) -> BTreeSet<Of> {
        let mut candidates = std::mem::take(&mut lane.due.episodes);
        for at in &lane.due.touched {
            candidates.extend(self.open_episodes_of(EndpointId(at)).map(|(rule, _)| (EndpointId(at), rule.into())));
        }
        candidates.retain(|of| {
            let class = self.fleet.get(of.0).and_then(|e| e.held.as_ref()).map(|h| h.class);
            let now = self.pack.find(&of.1).zip(class).map(|(rule, class)| self.fleet.classes.verdict(class, rule));
            self.episodes.is_open(of.0, &of.1) && lane.change.turns_id(&of.1) && now.is_none_or(|v| stand(v) == Stand::Clear)
        });
        candidates
    }

    /// Ends them; the tickets that the rule's one event names.
    fn end_episodes(&mut self, ended: Vec<Of>, now_ms: i64, out: &mut Applied) -> Vec<String> {
        let mut named = Vec::new();
        for (at, rule) in ended {
            let Some(mut kept) = self.episodes.get(at, &rule) else { continue };
            kept.episode = Episode { open: false, cause: Cause::RuleChanged, changed_ms: now_ms, tell_ms: None, ..kept.episode };
            self.count(Drift::Resolved);
            if named.len() < NAMED_MAX {
                named.push(kept.episode.id.clone());
            }
            self.store_episode(at, &rule, &kept, out);
            self.episodes.put(at, &rule, &kept);
        }
        named
    }

    /// So many endpoints more.
    pub(super) fn settle_also(&mut self, endpoints: &RoaringBitmap, out: &mut Applied) {
        self.settling |= endpoints;
        if !self.settling.is_empty() {
            out.batch.put(Space::Meta, "settling", "1");
        }
    }

    /// Tasks may be many, and need not be in the batch of the switch: they follow in batches of their own, and a start goes on with them.
    fn begin_settling(&mut self, lane: &Lane, out: &mut Applied) {
        if lane.is_idle() {
            return;
        }
        self.settle_also(&(&lane.due.endpoints | &lane.due.touched), out);
    }

    /// Goes on with what a swap left: endpoints that are to be held against the baselines, records of classes, trends. How much is left, about.
    pub(super) fn settle(&mut self, now_ms: i64, out: &mut Applied) -> u64 {
        let now: Vec<u32> = self.settling.iter().take(SETTLED).collect();
        for at in &now {
            self.settling.remove(*at);
            let id = self.fleet.get(EndpointId(*at)).map(|e| e.id.to_string());
            if let Some(id) = id {
                self.check_baselines(EndpointId(*at), &id, false, now_ms, out);
            }
        }
        if !now.is_empty() && self.settling.is_empty() {
            out.batch.delete(Space::Meta, "settling");
        }
        for _ in 0..DROPPED {
            let Some(id) = self.stale_classes.pop_first() else { break };
            out.batch.delete(Space::Classes, id.to_be_bytes());
        }
        let count = self.count_trends(now_ms);
        self.settling.len() + u64::from(!self.stale_classes.is_empty()) + u64::from(count)
    }

    /// A class gets a record of its own, until the next swap.
    pub(super) fn store_class(&mut self, id: u32, verdicts: &[u8], out: &mut Applied) {
        self.stale_classes.remove(&id);
        self.fleet.classes.record(id);
        out.batch.put(Space::Classes, id.to_be_bytes(), super::stored::class_record(self.generation, verdicts));
    }

    /// The last endpoint left a class.
    pub(super) fn drop_class(&mut self, id: u32, out: &mut Applied) {
        if self.fleet.classes.unrecord(id) {
            out.batch.delete(Space::Classes, id.to_be_bytes());
        }
    }

    /// What a swap asks of the writer, one input after the other.
    pub(super) fn apply_swap(&mut self, input: Input, now_ms: i64, out: &mut Applied) -> Result<Reply, Refusal> {
        match input {
            Input::Swap { pack, policy } => self.swap(pack, *policy, now_ms, out),
            Input::Watch => return Ok(Reply::Watching(self.watching())),
            Input::Unwatch => self.fleet.unwatch(),
            Input::Finish(lane) => return self.finish(*lane, now_ms, out).map(|spent| Reply::Switched(Box::new(spent))),
            Input::FinishCatalog(lane) => return self.finish_catalog(*lane, now_ms, out).map(|spent| Reply::Switched(Box::new(spent))),
            Input::Catalog { catalog, news } => self.swap_catalog(catalog, news, now_ms, out),
            Input::Settle => return Ok(Reply::Settled { left: self.settle(now_ms, out) }),
            _ => return Ok(Reply::Done),
        }
        Ok(Reply::Swapped)
    }
}
