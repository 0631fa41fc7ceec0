//! What turned. `(previous verdict, next verdict, episode) -> episode, change`; pure.
//!
//! A failing rule at an endpoint is an **episode** with a life: opened, updated while its evidence changes, resolved, and reopened under the
//! same id when it fails again soon. A rule that fails from an endpoint's first scan on, or since it was introduced, has an episode that
//! nobody wrote down (INVARIANT: no row per endpoint and rule); it is written when it turns.

use serde::{Deserialize, Serialize};

use crate::judge::Verdict;
use crate::pack::RuleId;

/// Why a verdict turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    EndpointChanged,
    RuleChanged,
    WaiverChanged,
    EndpointRemoved,
}

/// One verdict that differs between two vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    pub rule: RuleId,
    pub from: Verdict,
    pub to: Verdict,
}

/// What turned between two verdict vectors of one pack.
pub fn diff(previous: &[u8], next: &[u8]) -> Vec<Flip> {
    let verdict = |byte: u8| Verdict::from_u8(byte).unwrap_or(Verdict::NotChecked);
    let pairs = previous.iter().zip(next).enumerate().filter(|(_, (a, b))| a != b);
    // INVARIANT: at most u16::MAX rules.
    pairs.filter_map(|(i, (a, b))| Some(Flip { rule: RuleId(u16::try_from(i).ok()?), from: verdict(*a), to: verdict(*b) })).collect()
}

/// What a verdict means for an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    Failing,
    Clear,
    /// Error, unknown, not checked: neither opens nor closes anything. Not collected is not compliant.
    Unclear,
}

pub fn stand(verdict: Verdict) -> Stand {
    match verdict {
        Verdict::Fail => Stand::Failing,
        Verdict::Error | Verdict::Unknown | Verdict::NotChecked => Stand::Unclear,
        Verdict::Pass | Verdict::NotApplicable | Verdict::NotSelected | Verdict::Informational | Verdict::Fixed => Stand::Clear,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// Stable for its whole life, over reopening too: what a ticket is keyed by.
    pub id: String,
    pub open: bool,
    pub cause: Cause,
    pub opened_ms: i64,
    pub changed_ms: i64,
    /// Times that it was opened again.
    pub reopened: u32,
    pub evidence: Vec<String>,
    /// When sinks hear of it, if it still is open then; `None` once they have.
    pub tell_ms: Option<i64>,
    /// Sinks have heard of it.
    pub told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Opened,
    Updated,
    Resolved,
    Reopened,
}

impl Change {
    pub fn event(self) -> &'static str {
        match self {
            Change::Opened => "drift.opened",
            Change::Updated => "drift.updated",
            Change::Resolved => "drift.resolved",
            Change::Reopened => "drift.reopened",
        }
    }
}

/// How drift is told. From the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriftPolicy {
    /// How long a rule must fail before sinks hear of it: one flap opens no ticket.
    pub hold_ms: i64,
    /// How long after it was resolved an episode opens again under its id.
    pub reopen_ms: i64,
}

/// What was seen of one rule at one endpoint.
#[derive(Clone, Debug)]
pub struct Observation<'o> {
    pub from: Verdict,
    pub to: Verdict,
    pub cause: Cause,
    pub evidence: &'o [String],
    /// The id of an episode that begins now.
    pub new_id: &'o str,
    /// Since when a failure that nobody wrote down has lasted.
    pub since_ms: i64,
    pub now_ms: i64,
}

/// The episode after an observation and what changed, or `None` when nothing did.
pub fn step(episode: Option<&Episode>, seen: &Observation<'_>, policy: DriftPolicy) -> Option<(Episode, Option<Change>)> {
    let now_ms = seen.now_ms;
    let begun = |opened_ms: i64, tell_ms: Option<i64>| Episode {
        id: seen.new_id.to_owned(),
        open: true,
        cause: seen.cause,
        opened_ms,
        changed_ms: now_ms,
        reopened: 0,
        evidence: seen.evidence.to_vec(),
        tell_ms,
        told: tell_ms.is_none(),
    };
    let tell_ms = Some(now_ms + policy.hold_ms);
    match (episode, stand(seen.to)) {
        (None, Stand::Failing) if stand(seen.from) == Stand::Failing => None,
        (None, Stand::Failing) => Some((begun(now_ms, tell_ms), Some(Change::Opened))),
        // A failure that nobody wrote down ends, or becomes unclear and may end later.
        (None, Stand::Clear) if seen.from == Verdict::Fail => {
            let ended = Episode { open: false, ..begun(seen.since_ms, None) };
            Some((ended, Some(Change::Resolved)))
        }
        (None, Stand::Unclear) if seen.from == Verdict::Fail => Some((begun(seen.since_ms, None), None)),
        (None, _) => None,
        (Some(e), Stand::Failing) if e.open => {
            if e.evidence == seen.evidence {
                return None;
            }
            let updated = Episode { evidence: seen.evidence.to_vec(), changed_ms: now_ms, cause: seen.cause, ..e.clone() };
            Some((updated, Some(Change::Updated)))
        }
        (Some(e), Stand::Failing) if now_ms - e.changed_ms <= policy.reopen_ms => {
            let again = Episode {
                open: true,
                cause: seen.cause,
                changed_ms: now_ms,
                reopened: e.reopened + 1,
                evidence: seen.evidence.to_vec(),
                tell_ms,
                ..e.clone()
            };
            Some((again, Some(Change::Reopened)))
        }
        (Some(_), Stand::Failing) => Some((begun(now_ms, tell_ms), Some(Change::Opened))),
        (Some(e), Stand::Clear) if e.open => {
            let ended = Episode {
                open: false,
                cause: seen.cause,
                changed_ms: now_ms,
                evidence: seen.evidence.to_vec(),
                tell_ms: None,
                ..e.clone()
            };
            Some((ended, Some(Change::Resolved)))
        }
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: DriftPolicy = DriftPolicy { hold_ms: 600, reopen_ms: 1000 };

    /// Plays verdicts at times and gives what changed, and the last episode.
    fn play(verdicts: &[(i64, Verdict)]) -> (Vec<(i64, Option<Change>)>, Option<Episode>) {
        let (mut episode, mut from, mut out) = (None, Verdict::Pass, Vec::new());
        for (now_ms, to) in verdicts {
            let id = format!("ep-{now_ms}");
            let seen =
                Observation { from, to: *to, cause: Cause::EndpointChanged, evidence: &[], new_id: &id, since_ms: 0, now_ms: *now_ms };
            if let Some((next, change)) = step(episode.as_ref(), &seen, POLICY) {
                out.push((*now_ms, change));
                episode = Some(next);
            }
            from = *to;
        }
        (out, episode)
    }

    #[test]
    fn an_episode_lives() {
        let (changes, episode) = play(&[
            (10, Verdict::Fail),
            (20, Verdict::Fail),
            (30, Verdict::Unknown),
            (40, Verdict::Fail),
            (50, Verdict::Pass),
            (60, Verdict::Fail),
            (70, Verdict::NotApplicable),
            (2000, Verdict::Fail),
        ]);
        let expect = [
            (10, Some(Change::Opened)),
            (50, Some(Change::Resolved)),
            (60, Some(Change::Reopened)),
            (70, Some(Change::Resolved)),
            (2000, Some(Change::Opened)),
        ];
        assert_eq!(changes, expect);
        assert_eq!(episode.map(|e| (e.id, e.tell_ms)), Some(("ep-2000".to_owned(), Some(2600))));
    }

    #[test]
    fn a_failure_that_nobody_wrote_down_is_resolved_even_after_it_was_unclear() {
        let seen =
            |from, to| Observation { from, to, cause: Cause::EndpointChanged, evidence: &[], new_id: "ep-x", since_ms: 5, now_ms: 100 };
        let resolved = step(None, &seen(Verdict::Fail, Verdict::Pass), POLICY);
        assert!(matches!(&resolved, Some((e, Some(Change::Resolved))) if e.opened_ms == 5 && !e.open));
        let Some((unclear, None)) = step(None, &seen(Verdict::Fail, Verdict::Error), POLICY) else { panic!("written down silently") };
        let resolved = step(Some(&unclear), &seen(Verdict::Error, Verdict::Pass), POLICY);
        assert!(matches!(&resolved, Some((e, Some(Change::Resolved))) if e.id == "ep-x"));
        assert_eq!(step(None, &seen(Verdict::Unknown, Verdict::Pass), POLICY), None);
    }

    #[test]
    fn diff_finds_what_turned() {
        let flips = diff(&[0, 1, 4], &[1, 1, 0]);
        assert_eq!(flips.len(), 2);
        assert_eq!((flips[0].rule, flips[0].from, flips[0].to), (RuleId(0), Verdict::Pass, Verdict::Fail));
        assert!(diff(&[0, 1], &[0, 1]).is_empty());
    }
}
