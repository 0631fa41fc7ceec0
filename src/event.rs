//! Events: what happened, in order, as history keeps it, the API pages through it and sinks are told it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Every type of event, with what it says. docs/API.md lists the fields of `data`.
pub const TYPES: [(&str, &str); 27] = [
    ("endpoint.enrolled", "an endpoint was enrolled"),
    ("endpoint.first_scan", "an endpoint's first scan was judged: counts, and what fails from the start"),
    ("endpoint.removed", "an endpoint was removed; what was open at it is resolved"),
    ("endpoint.silent", "an endpoint was not heard of for too long"),
    ("endpoint.returned", "an endpoint that was silent was heard of again"),
    ("endpoint.culled", "an endpoint was removed because it was not heard of; what was open at it is resolved"),
    ("endpoint.limited", "an endpoint sends more than it may, and is refused for a while"),
    ("verdicts.changed", "verdicts of an endpoint turned: the flips, for history"),
    ("drift.opened", "a rule began to fail at an endpoint"),
    ("drift.updated", "a failing rule fails for other reasons"),
    ("drift.resolved", "a rule no longer fails at an endpoint"),
    ("drift.reopened", "a rule fails again soon after it was resolved"),
    ("drift.rule_changed", "a rule was added, changed or removed: how many endpoints turned, not one event each"),
    ("task.queued", "an endpoint lacks what a mandatory baseline requires"),
    ("task.reported", "an endpoint posted the result of a task"),
    ("task.confirmed", "a scan showed that a task is done"),
    ("task.reopened", "a scan showed that a reported task is not done"),
    ("task.withdrawn", "a task is no longer required"),
    ("patches.changed", "patches of an endpoint turned: which are missing now, which were installed, for history"),
    ("patch.published", "a critical or exploited patch is new, or became so: how many endpoints miss it"),
    ("patch.resolved", "such a patch is missing nowhere any more, was withdrawn or changed"),
    ("feed.updated", "a feed has new, changed or withdrawn patches"),
    ("feed.failed", "a feed could not be taken; what was there stays"),
    ("exemption.created", "somebody decided that patches are not installed at endpoints"),
    ("exemption.ended", "somebody ended that"),
    ("exemption.expired", "its time is over"),
    ("list.changed", "a list of patches has a new version"),
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 without gaps that a reader could miss something in: the cursor of `/v1/events`.
    pub seq: u64,
    /// The same for every delivery to every sink: receivers know by it what they have.
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub time: Timestamp,
    pub endpoint: Option<String>,
    pub data: Value,
}

impl Event {
    /// The body of a webhook after Standard Webhooks; the same bytes for every attempt.
    pub fn webhook_body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'e> {
            #[serde(rename = "type")]
            kind: &'e str,
            timestamp: Timestamp,
            data: Data<'e>,
        }
        #[derive(Serialize)]
        struct Data<'e> {
            id: &'e str,
            seq: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            endpoint: Option<&'e str>,
            #[serde(flatten)]
            rest: &'e Value,
        }
        let data = Data { id: &self.id, seq: self.seq, endpoint: self.endpoint.as_deref(), rest: &self.data };
        serde_json::to_vec(&Body { kind: &self.kind, timestamp: self.time, data }).unwrap_or_default()
    }
}

/// Whether a subscription such as `drift.*`, `task.queued` or `*` means this type.
pub fn subscribed(patterns: &[String], kind: &str) -> bool {
    patterns
        .iter()
        .any(|p| p == "*" || p == kind || p.strip_suffix('*').is_some_and(|prefix| prefix.ends_with('.') && kind.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_match_whole_words() {
        let patterns = ["drift.*".to_owned(), "task.queued".to_owned()];
        assert!(subscribed(&patterns, "drift.opened") && subscribed(&patterns, "task.queued"));
        assert!(!subscribed(&patterns, "task.confirmed") && !subscribed(&patterns, "endpoint.enrolled"));
        assert!(subscribed(&["*".to_owned()], "anything"));
        assert!(!subscribed(&["dri*".to_owned()], "drift.opened"));
    }
}
