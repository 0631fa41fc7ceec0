//! A new pack or policy meets all endpoints: every distinct row is asked again, every endpoint is judged again, and what turned is told
//! once a rule, not once an endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;
use roaring::RoaringBitmap;
use serde_json::json;

use super::judge::{DAY_MS, joined_rows, select};
use super::{Applied, Of, Shard};
use crate::drift::{Cause, Change, Episode, Stand, stand};
use crate::fleet::{EndpointId, Fleet, Held};
use crate::history::RuleTurn;
use crate::judge::{Verdict, forward};
use crate::limits::Limits;
use crate::pack::program::Tallies;
use crate::pack::{Pack, RuleId};
use crate::policy::{Policy, Resolved};
use crate::state::Space;

/// Endpoints and episodes that an event about a rule names; the counts are of all.
const NAMED_MAX: usize = 100;

/// What became of one rule over the fleet.
#[derive(Debug, Default)]
struct Turned {
    opened: u32,
    resolved: u32,
    endpoints: Vec<String>,
    episodes: Vec<String>,
}

impl Shard {
    pub(super) fn swap(&mut self, pack: Arc<Pack>, policy: Policy, now_ms: i64, out: &mut Applied) {
        // Groups are what exemptions are about.
        let regrouped = self.has_exemptions() && self.policy.policy.groups != policy.groups;
        let stood = (regrouped && self.has_known_catalog()).then(|| self.standing(out));
        let old_pack = std::mem::replace(&mut self.pack, pack);
        let fingerprint = policy.fingerprint();
        out.batch.put(Space::Meta, "policy", fingerprint.as_str());
        self.stored_policy = Some(fingerprint);
        let before = std::mem::replace(&mut self.policy, policy.resolve(&self.pack));
        let fresh_pack = old_pack.digest() != self.pack.digest();
        self.trends.doubt();
        if fresh_pack {
            self.joins.clear();
            self.fleet.ask_all(&self.pack, &self.limits);
            out.batch.put(Space::Meta, "pack", self.pack.digest());
            self.record_pack(&old_pack, out);
        }
        // Sinks, groups and baselines change no verdict.
        if fresh_pack || before.selected != self.policy.selected {
            self.judge_again(&old_pack, now_ms, out);
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
        self.record_policy(now_ms);
        let all: Vec<(EndpointId, String)> = self.fleet.iter().map(|(at, e)| (at, e.id.to_string())).collect();
        for (at, id) in all {
            self.check_baselines(at, &id, now_ms, out);
        }
    }

    fn judge_again(&mut self, old_pack: &Pack, now_ms: i64, out: &mut Applied) {
        let judged = judge_all(&self.fleet, &self.pack, &self.policy, &self.limits);
        let mut turned: BTreeMap<String, Turned> = BTreeMap::new();
        let old: Vec<(EndpointId, Held, Vec<u8>)> = self
            .fleet
            .iter()
            .filter_map(|(at, e)| e.held.clone().map(|h| (at, h.clone(), self.fleet.classes.verdicts(h.class).to_vec())))
            .collect();
        self.replace_classes(&old, judged, out);
        for (at, held, verdicts) in &old {
            let Some(endpoint) = self.fleet.get(*at) else { continue };
            let class = endpoint.held.as_ref().map_or(held.class, |h| h.class);
            for rule in self.pack.rules().filter(|r| !self.pack.rule(*r).requirement) {
                let rule_id = self.pack.rule_id(rule);
                let from = verdict_before(old_pack, rule_id, verdicts);
                let to = self.fleet.classes.verdict(class, rule);
                let entry = match (from.map(stand), stand(to)) {
                    (Some(Stand::Failing), Stand::Clear) => &mut turned.entry(rule_id.to_owned()).or_default().resolved,
                    (Some(Stand::Failing), Stand::Failing) => continue,
                    (_, Stand::Failing) => &mut turned.entry(rule_id.to_owned()).or_default().opened,
                    _ => continue,
                };
                *entry += 1;
                let named = turned.entry(rule_id.to_owned()).or_default();
                if named.endpoints.len() < NAMED_MAX {
                    named.endpoints.push(endpoint.id.to_string());
                }
            }
        }
        self.record_swap(old_pack, &old, now_ms, out);
        self.end_episodes(&mut turned, now_ms, out);
        for (rule, t) in turned {
            let severity = self.pack.find(&rule).map(|r| self.pack.rule(r).severity);
            let data = json!({"rule": rule, "severity": severity, "cause": Cause::RuleChanged, "opened": t.opened, "resolved": t.resolved,
                "endpoints": t.endpoints, "episodes_resolved": t.episodes, "pack": self.pack.digest()});
            self.event("drift.rule_changed", None, data, now_ms, true, out);
        }
    }

    /// Writes what turned into history. Without the pack that the verdicts before were of, they cannot be told.
    fn record_swap(&mut self, old_pack: &Pack, old: &[(EndpointId, Held, Vec<u8>)], now_ms: i64, out: &mut Applied) {
        let known = &self.history().head.policy.pack;
        if !old.is_empty() && !known.is_empty() && known != old_pack.digest() {
            self.history_mut().lose_verdicts(now_ms);
            return;
        }
        let judged = |pack: &Pack| pack.rules().filter(|r| !pack.rule(*r).requirement).map(|r| pack.rule_id(r).to_owned()).collect();
        let (mut rules, then): (BTreeSet<String>, BTreeSet<String>) = (judged(&self.pack), judged(old_pack));
        rules.extend(then.iter().cloned());
        let mut turns: Vec<RuleTurn> = Vec::new();
        for rule in rules {
            let (before, after) = (old_pack.find(&rule).filter(|_| then.contains(&rule)), self.pack.find(&rule));
            let mut of: BTreeMap<(Option<Verdict>, Option<Verdict>), RoaringBitmap> = BTreeMap::new();
            for (at, _, verdicts) in old {
                let from = before.and_then(|r| verdicts.get(r.index()).copied().and_then(Verdict::from_u8));
                let class = self.fleet.get(*at).and_then(|e| e.held.as_ref()).map(|h| h.class);
                let to = class.zip(after).map(|(class, rule)| self.fleet.classes.verdict(class, rule));
                if from != to {
                    of.entry((from, to)).or_default().insert(at.0);
                }
            }
            turns.extend(of.into_iter().map(|((from, to), endpoints)| RuleTurn { rule: rule.as_str().into(), from, to, endpoints }));
        }
        self.record_turns(&turns, now_ms, out);
    }

    /// Moves every endpoint to its class under the new pack.
    fn replace_classes(&mut self, old: &[(EndpointId, Held, Vec<u8>)], judged: Vec<(EndpointId, Vec<u8>)>, out: &mut Applied) {
        for (_, held, _) in old {
            out.batch.delete(Space::Classes, held.class.to_be_bytes());
        }
        self.fleet.classes.reset(self.pack.rules().map(|r| self.pack.rule(r).requirement).collect());
        for (at, verdicts) in judged {
            let (class, fresh) = self.fleet.classes.intern(&verdicts);
            self.fleet.classes.join(class);
            if fresh {
                out.batch.put(Space::Classes, class.to_be_bytes(), verdicts);
            }
            if let Some(held) = self.fleet.get_mut(at).and_then(|e| e.held.as_mut()) {
                held.class = class;
            }
            self.store_endpoint(at, out);
        }
    }

    /// Open episodes of rules that are gone or hold now are resolved; the tickets are named in the rule's one event.
    fn end_episodes(&mut self, turned: &mut BTreeMap<String, Turned>, now_ms: i64, out: &mut Applied) {
        let ended: Vec<Of> = self
            .episodes
            .iter()
            .filter(|((at, rule), kept)| {
                let class = self.fleet.get(*at).and_then(|e| e.held.as_ref()).map(|h| h.class);
                let now = self.pack.find(rule).zip(class).map(|(r, c)| self.fleet.classes.verdict(c, r));
                kept.episode.open && now.is_none_or(|v| stand(v) == Stand::Clear)
            })
            .map(|(of, _)| of.clone())
            .collect();
        for (at, rule) in ended {
            let Some(mut kept) = self.episodes.get(&(at, rule.clone())).cloned() else { continue };
            if let Some(due) = kept.episode.tell_ms {
                self.to_tell.remove(&(due, at, rule.clone()));
            }
            kept.episode = Episode { open: false, cause: Cause::RuleChanged, changed_ms: now_ms, tell_ms: None, ..kept.episode };
            self.count(Change::Resolved);
            let gone = self.pack.find(&rule).is_none();
            let named = turned.entry(rule.to_string()).or_default();
            // A rule that is gone has no verdict that turned; its open episodes are what is resolved.
            named.resolved += u32::from(gone);
            if named.episodes.len() < NAMED_MAX {
                named.episodes.push(kept.episode.id.clone());
            }
            self.store_episode(at, &rule, &kept, out);
            self.episodes.insert((at, rule), kept);
        }
    }
}

/// The verdict of a rule in a vector of the pack before, by the rule's id.
fn verdict_before(old: &Pack, rule: &str, verdicts: &[u8]) -> Option<Verdict> {
    let at: RuleId = old.find(rule)?;
    verdicts.get(at.index()).copied().and_then(Verdict::from_u8)
}

/// Verdicts of all endpoints, in parallel.
fn judge_all(fleet: &Fleet, pack: &Pack, policy: &Resolved, limits: &Limits) -> Vec<(EndpointId, Vec<u8>)> {
    let held: Vec<(EndpointId, &Held)> = fleet.iter().filter_map(|(at, e)| Some((at, e.held.as_ref()?))).collect();
    held.into_par_iter()
        .map_init(Tallies::default, |tallies, (at, held)| {
            let rows = joined_rows(fleet, pack, held);
            let day = held.received_ms.div_euclid(DAY_MS);
            let joined = pack.run_joins(&fleet.scan_from("", &rows, &held.tables, None, limits), day * (DAY_MS / 1000));
            let mut verdicts = Vec::new();
            forward::judge(pack, fleet.hits_of(held), &held.tables.states(), tallies, &joined, &mut verdicts);
            select(&mut verdicts, &policy.selected);
            (at, verdicts)
        })
        .collect()
}
