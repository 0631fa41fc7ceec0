//! Alerts: critical or exploited patches that were published and are missing somewhere. `published -> alert -> resolved`, one record a patch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::turn::Turn;
use super::{PatchId, Weight};
use crate::feed::model::Level;
use crate::patch::State;
use crate::shard::{Applied, FeedNews, Input, Shard};
use crate::state::{Space, pair_key};

/// A patch that sinks were told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Stable for its whole life: what a ticket is keyed by.
    pub id: String,
    pub feed: String,
    pub patch: String,
    pub level: Level,
    pub exploited: bool,
    pub opened_ms: i64,
    /// An endpoint that missed it is not collected any more: nobody can say that it is there.
    pub unclear: bool,
}

/// Why an alert ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertCause {
    /// The vendor took it back.
    Withdrawn,
    /// What the vendor says of it changed: it is not critical any more, or concerns nobody here.
    Changed,
    /// No endpoint misses it any more.
    Deployed,
    /// Where it is missing somebody decided that it is not installed.
    Exempt,
    /// The last endpoint that missed it was removed.
    EndpointRemoved,
}

#[derive(Clone, Debug)]
pub(super) struct Watch {
    of: (String, String),
    missing: u32,
}

impl Shard {
    /// Alerts that are open, by feed and patch, with the number of endpoints that miss the patch.
    pub fn alerts(&self) -> impl Iterator<Item = (&Alert, u32)> {
        let missing = |a: &Alert| {
            let found = self.patch_of_feed(&a.feed, &a.patch).and_then(|p| self.patches.watched.get(&p));
            found.map_or(0, |w| w.missing)
        };
        self.patches.alerts.values().map(move |a| (a, missing(a)))
    }

    /// Where the catalog has a feed's patch.
    pub(super) fn patch_of_feed(&self, feed: &str, patch: &str) -> Option<PatchId> {
        super::lane::patch_of_feed(&self.catalog, feed, patch)
    }

    pub(in crate::shard) fn restore_alert(&mut self, alert: Alert) {
        self.patches.alerts.insert((alert.feed.clone(), alert.patch.clone()), alert);
        self.patches.unsettled = true;
    }

    pub(super) fn open_alert(&mut self, patch: PatchId, weight: Weight, missing: u32, now_ms: i64, out: &mut Applied) -> Option<String> {
        let (name, feed) = self.catalog.id(patch)?;
        let of = (feed.to_owned(), name.to_owned());
        if let Some(open) = self.patches.alerts.get(&of) {
            return Some(open.id.clone());
        }
        let id = format!("pal_{}_{}", self.store_id, self.next_seq);
        let Weight { level, exploited } = weight;
        let alert = Alert { id: id.clone(), feed: of.0.clone(), patch: of.1.clone(), level, exploited, opened_ms: now_ms, unclear: false };
        self.patches.watched.insert(patch, Watch { of: of.clone(), missing });
        self.store_alert(&alert, out);
        self.patches.alerts.insert(of, alert);
        Some(id)
    }

    fn store_alert(&self, alert: &Alert, out: &mut Applied) {
        out.batch.put_record(Space::Alerts, pair_key(&alert.feed, alert.patch.as_bytes()), alert);
    }

    /// Counts a turn at one endpoint.
    pub(super) fn watch_turn(&mut self, turn: &Turn, out: &mut Applied) {
        let Some(watch) = self.patches.watched.get_mut(&turn.patch) else { return };
        if turn.to == State::Missing {
            watch.missing += 1;
        }
        if turn.from != State::Missing {
            return;
        }
        watch.missing = watch.missing.saturating_sub(1);
        // Not collected is not compliant.
        if turn.to == State::NotChecked {
            let of = watch.of.clone();
            if let Some(alert) = self.patches.alerts.get_mut(&of) {
                alert.unclear = true;
                let alert = alert.clone();
                self.store_alert(&alert, out);
            }
        }
    }

    /// Ends the alerts of patches that are missing nowhere any more.
    pub(super) fn end_alerts(&mut self, cause: AlertCause, now_ms: i64, out: &mut Applied) {
        let doubt = self.patches.totals.endpoints_not_collected > 0;
        let clear = |alert: &Alert| !(alert.unclear && doubt);
        let patches = &self.patches;
        let none = patches.watched.values().filter(|w| w.missing == 0 && patches.alerts.get(&w.of).is_some_and(clear));
        let ended: Vec<(String, String)> = none.map(|w| w.of.clone()).collect();
        for of in ended {
            self.end_alert(&of, cause, now_ms, out);
        }
    }

    fn end_alert(&mut self, of: &(String, String), cause: AlertCause, now_ms: i64, out: &mut Applied) {
        let Some(alert) = self.patches.alerts.remove(of) else { return };
        self.patches.watched.retain(|_, w| w.of != *of);
        out.batch.delete(Space::Alerts, pair_key(&alert.feed, alert.patch.as_bytes()));
        let opened = jiff::Timestamp::from_millisecond(alert.opened_ms).unwrap_or_default();
        let data = json!({"alert": alert.id, "patch": alert.patch, "feed": alert.feed, "severity": alert.level,
            "exploited": alert.exploited, "opened": opened, "cause": cause});
        self.event("patch.resolved", None, data, now_ms, true, out);
    }

    /// Holds all alerts against a new catalog, for which everything was counted anew. What is missing nowhere now was not deployed in this moment: what is said of it changed.
    pub(super) fn settle_alerts(&mut self, news: &[FeedNews], now_ms: i64, out: &mut Applied) {
        self.patches.unsettled = false;
        let all: Vec<(String, String)> = self.patches.alerts.keys().cloned().collect();
        for of in all {
            let withdrawn = news.iter().any(|n| n.feed == of.0 && n.withdrawn.iter().any(|w| **w == *of.1));
            match self.patch_of_feed(&of.0, &of.1).filter(|_| !withdrawn) {
                None => self.end_alert(&of, AlertCause::Withdrawn, now_ms, out),
                Some(patch) if !self.weight(patch).alarms() => self.end_alert(&of, AlertCause::Changed, now_ms, out),
                Some(_) => {}
            }
        }
        self.end_alerts(AlertCause::Changed, now_ms, out);
    }

    /// Whether to apply this computes in parallel.
    pub fn computes_in_parallel(&self, input: &Input) -> bool {
        matches!(input, Input::Swap { .. } | Input::Finish(_)) || (self.patches.unsettled && matches!(input, Input::Tick))
    }

    /// After a start: the alerts that were open, held against the catalog that is there now.
    pub(in crate::shard) fn settle_after_load(&mut self, now_ms: i64, out: &mut Applied) {
        if self.patches.unsettled && !self.catalog.is_empty() {
            self.watch_all();
            self.settle_alerts(&[], now_ms, out);
        }
    }

    /// Postures were made anew, for other groups: so are the counts.
    pub(in crate::shard) fn watch_anew(&mut self, now_ms: i64, out: &mut Applied) {
        self.watch_all();
        self.end_alerts(AlertCause::Exempt, now_ms, out);
    }

    /// Takes the counts of a new catalog's lane.
    pub(super) fn watch_counted(&mut self, missing: &BTreeMap<PatchId, u32>) {
        let places = self.alert_places().into_iter();
        self.patches.watched =
            places.map(|(patch, of)| (patch, Watch { of, missing: missing.get(&patch).copied().unwrap_or(0) })).collect();
    }

    fn alert_places(&self) -> Vec<(PatchId, (String, String))> {
        let mut places: Vec<(PatchId, (String, String))> =
            self.patches.alerts.keys().filter_map(|of| Some((self.patch_of_feed(&of.0, &of.1)?, of.clone()))).collect();
        places.sort_unstable();
        places
    }

    /// Counts the endpoints that miss the patches of the alerts.
    pub(in crate::shard) fn watch_all(&mut self) {
        let places = self.alert_places();
        let counted = if places.is_empty() { Vec::new() } else { self.tally(places.iter().map(|(p, _)| *p).collect()) };
        let watches = places.into_iter().zip(counted);
        self.patches.watched =
            watches.map(|((patch, of), counted)| (patch, Watch { of, missing: counted[State::Missing as usize] })).collect();
    }
}
