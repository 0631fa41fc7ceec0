//! Episodes as they are kept: `a step of an episode -> the record, the event, what sinks are told and when`.

use serde_json::{Value, json};

use super::{Applied, Kept, Shard};
use crate::drift::{Cause, Change, Episode};
use crate::fleet::EndpointId;
use crate::judge::Verdict;

impl Shard {
    /// Ends an open episode without a scan.
    pub(super) fn close_episode(&mut self, at: EndpointId, id: &str, rule: &str, cause: Cause, now_ms: i64, out: &mut Applied) {
        let Some(kept) = self.episodes.get(&(at, rule.into())).cloned() else { return };
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
        let key = (at, Box::from(rule));
        let before = self.episodes.get(&key).cloned();
        if let Some(due) = before.as_ref().and_then(|k| k.episode.tell_ms) {
            self.to_tell.remove(&(due, at, rule.into()));
        }
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
        if let Some(due) = kept.episode.tell_ms {
            self.to_tell.insert((due, at, rule.into()));
        }
        self.store_episode(at, rule, &kept, out);
        self.episodes.insert(key, kept);
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
