//! Episodes as they are kept: `a step of an episode -> the record, the event, what sinks are told and when`.

pub(super) mod kept;

use serde_json::{Value, json};

use super::{Applied, Kept, Shard};
use crate::drift::{self, Cause, Change, Episode, Flip};
use crate::fleet::{EndpointId, Held};
use crate::judge::Verdict;
use crate::pack::RuleId;
use crate::state::{Space, pair_key};

impl Shard {
    /// One step of a rule's episode at an endpoint.
    pub(super) fn observe(&mut self, at: EndpointId, id: &str, rule: RuleId, turned: (Verdict, Verdict), now_ms: i64, out: &mut Applied) {
        let rule_id = self.pack.rule_id(rule).to_owned();
        let evidence = self.explain(at, rule).map(|e| e.evidence).unwrap_or_default();
        let new_id = self.episodes.id(self.next_seq);
        let since_ms = self.fleet.get(at).map_or(now_ms, |e| e.enrolled_ms);
        let seen = drift::Observation {
            from: turned.0,
            to: turned.1,
            cause: Cause::EndpointChanged,
            evidence: &evidence,
            new_id: &new_id,
            since_ms,
            now_ms,
        };
        let before = self.episodes.get(at, &rule_id).map(|k| k.episode);
        if let Some((episode, change)) = drift::step(before.as_ref(), &seen, self.policy.policy.drift) {
            self.keep_episode(at, id, &rule_id, episode, change, Some(turned), now_ms, out);
        }
    }

    /// An open episode may have other evidence now, if its rule is one of those that what came or went can turn, or a table that the rule reads is collected now, fails or is
    /// left out. Otherwise nobody looks: that there are more rows which do not decide is no news.
    #[expect(clippy::too_many_arguments, reason = "the two states and where the changes go")]
    pub(super) fn observe_open(
        &mut self,
        at: EndpointId,
        id: &str,
        (before, held): (&Held, &Held),
        affected: &[RuleId],
        flips: &[Flip],
        now_ms: i64,
        out: &mut Applied,
    ) {
        let open: Vec<RuleId> = self.open_episodes_of(at).filter_map(|(rule, _)| self.pack.find(rule)).collect();
        if open.is_empty() {
            return;
        }
        let tables = held.tables.otherwise(&before.tables);
        for rule in open {
            let concerned =
                affected.binary_search(&rule).is_ok() || (!tables.is_empty() && !self.pack.tables_of(rule).is_disjoint(&tables));
            if concerned && flips.iter().all(|f| f.rule != rule) {
                let verdict = self.fleet.classes.verdict(held.class, rule);
                self.observe(at, id, rule, (verdict, verdict), now_ms, out);
            }
        }
    }

    /// Ends an open episode without a scan.
    pub(super) fn close_episode(&mut self, at: EndpointId, id: &str, rule: &str, cause: Cause, now_ms: i64, out: &mut Applied) {
        let Some(kept) = self.episodes.get(at, rule) else { return };
        let ended = Episode { open: false, cause, changed_ms: now_ms, tell_ms: None, ..kept.episode };
        self.keep_episode(at, id, rule, ended, Some(Change::Resolved), None, now_ms, out);
    }

    /// Keeps an episode after a change, writes the event and tells it, now or when it has lasted.
    #[expect(clippy::too_many_arguments, reason = "one place where everything about a change comes together")]
    pub(super) fn keep_episode(
        &mut self,
        at: EndpointId,
        id: &str,
        rule: &str,
        episode: Episode,
        change: Option<Change>,
        turned: Option<(Verdict, Verdict)>,
        now_ms: i64,
        out: &mut Applied,
    ) {
        let before = self.episodes.get(at, rule);
        match (&before, change) {
            (None, Some(Change::Resolved)) => self.trend_unwritten(at, episode.opened_ms, now_ms),
            _ => self.trend_episode(at, before.as_ref().is_some_and(|k| k.episode.open), &episode, now_ms),
        }
        let mut kept = Kept { episode, event: before.as_ref().map_or((0, 0), |k| k.event) };
        if let Some(change) = change {
            self.count(change);
            let begins = matches!(change, Change::Opened | Change::Reopened);
            // A flap that sinks never heard of ends without a word.
            let told = kept.episode.told && !(begins && self.policy.policy.drift.hold_ms > 0);
            let tell_now = if begins { self.policy.policy.drift.hold_ms <= 0 } else { told };
            let event = self.event(change.event(), Some(id), self.drift_data(rule, &kept.episode, turned), now_ms, tell_now, out);
            if begins {
                kept.event = event;
                kept.episode.told = tell_now;
                kept.episode.tell_ms = (!tell_now).then_some(now_ms + self.policy.policy.drift.hold_ms);
            }
        }
        self.store_episode(at, rule, &kept, out);
        self.episodes.put(at, rule, &kept);
    }

    /// Episodes that can no longer be opened again leave memory; what they were is in the events. A second looks at some of them: it is no matter when one goes.
    pub(super) fn forget_episodes(&mut self, now_ms: i64, out: &mut Applied) {
        const LOOKED_AT: usize = 1024;
        let last_ms = now_ms.saturating_sub(self.policy.policy.drift.reopen_ms);
        let (old, last) = self.episodes.ended_before(last_ms, self.forgotten_to.as_ref(), LOOKED_AT);
        self.forgotten_to = last;
        for (at, rule) in old {
            self.episodes.remove(at, &rule);
            if let Some(endpoint) = self.fleet.get(at) {
                out.batch.delete(Space::Episodes, pair_key(&endpoint.id, rule.as_bytes()));
            }
        }
    }

    pub(super) fn count(&mut self, change: Change) {
        match change {
            Change::Opened => self.totals.opened += 1,
            Change::Updated => self.totals.updated += 1,
            Change::Resolved => self.totals.resolved += 1,
            Change::Reopened => self.totals.reopened += 1,
        }
    }

    fn drift_data(&self, rule: &str, e: &Episode, turned: Option<(Verdict, Verdict)>) -> Value {
        let meta = self.pack.find(rule).map(|r| self.pack.meta(r));
        let time = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        json!({
            "episode": e.id,
            "rule": rule,
            "title": meta.map(|m| m.title.as_str()),
            "severity": meta.map(|m| m.severity),
            "controls": meta.map(|m| &m.controls),
            "remediation": meta.map(|m| m.remediation.as_str()),
            "from": turned.map(|t| t.0),
            "to": turned.map(|t| t.1),
            "cause": e.cause,
            "opened": time(e.opened_ms),
            "reopened": e.reopened,
            "evidence": e.evidence,
        })
    }
}
