//! How groups came along: `what turns, as it turns -> gauges and flows -> a roll-up an hour and a day`.
//!
//! A gauge is how things stand (endpoints, failing rules, missing patches), a flow what happened in the time (episodes opened, patches installed). All are sums and
//! counts, so that shares and means of longer times and of several groups come of adding up. Memory is a few hundred bytes a group, whatever the fleet's size.

use serde::{Deserialize, Serialize};

use crate::feed::model::Level;
use crate::policy::Group;
use crate::rule::Severity;
use crate::shard::Posture;

pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// How long a roll-up is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Hour = 0,
    Day = 1,
}

impl Step {
    pub const ALL: [Step; 2] = [Step::Hour, Step::Day];

    pub fn name(self) -> &'static str {
        match self {
            Step::Hour => "hour",
            Step::Day => "day",
        }
    }

    pub fn by_name(name: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|s| s.name() == name)
    }

    pub fn ms(self) -> i64 {
        match self {
            Step::Hour => HOUR_MS,
            Step::Day => DAY_MS,
        }
    }

    /// How many are kept: two weeks of hours, five years of days.
    pub fn kept(self) -> u32 {
        match self {
            Step::Hour => 14 * 24,
            Step::Day => 5 * 366,
        }
    }

    /// The number of the time that an instant lies in.
    pub fn number(self, at_ms: i64) -> u32 {
        u32::try_from(at_ms.max(0) / self.ms()).unwrap_or(u32::MAX)
    }
}

/// The key of a roll-up; `""` is the whole fleet.
pub fn key(step: Step, group: &str, number: u32) -> Vec<u8> {
    [&[step as u8][..], group.as_bytes(), &[0], &number.to_be_bytes()].concat()
}

/// The number of the time in a key of this step and group.
pub fn read_key(step: Step, group: &str, key: &[u8]) -> Option<u32> {
    let rest = key.strip_prefix(&[step as u8])?.strip_prefix(group.as_bytes())?.strip_prefix(&[0])?;
    rest.try_into().map(u32::from_be_bytes).ok()
}

/// How things stand, over the endpoints of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauges {
    pub endpoints: u64,
    /// That have sent a scan.
    pub scanned: u64,
    /// That were heard of lately, of those.
    pub covered: u64,
    /// That fail no rule of high or critical severity, of the scanned.
    pub compliant: u64,
    /// Verdicts over endpoints and rules.
    pub passing: u64,
    /// By [`Severity`].
    pub failing: [u64; Severity::ALL.len()],
    /// By [`Level`].
    pub missing: [u64; Level::ALL.len()],
    pub missing_exploited: u64,
    pub endpoints_missing_exploited: u64,
    pub not_collected: u64,
    pub open_episodes: u64,
}

/// What happened in a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    pub opened: u64,
    /// Episodes that a change at the endpoint ended, and for how long they had been open, together.
    pub remediated: u64,
    pub remediate_ms: u64,
    /// Patches that were missing and are installed, and how long that took, together.
    pub patched: u64,
    pub patch_ms: u64,
}

impl Flows {
    pub fn add(&mut self, other: &Flows) {
        let Flows { opened, remediated, remediate_ms, patched, patch_ms } = other;
        let both = [
            (&mut self.opened, opened),
            (&mut self.remediated, remediated),
            (&mut self.remediate_ms, remediate_ms),
            (&mut self.patched, patched),
            (&mut self.patch_ms, patch_ms),
        ];
        both.into_iter().for_each(|(sum, n)| *sum = sum.saturating_add(*n));
    }
}

/// A stored roll-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollup {
    /// Which endpoints the group meant; a group of the same name that means others is another one.
    pub definition: u64,
    /// When the gauges stood so.
    pub at_ms: i64,
    pub gauges: Gauges,
    pub flows: Flows,
}

/// What an endpoint's verdicts add to the gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfVerdicts {
    pub passing: u32,
    pub failing: [u32; Severity::ALL.len()],
}

impl OfVerdicts {
    pub fn is_compliant(&self) -> bool {
        self.failing[Severity::High as usize] == 0 && self.failing[Severity::Critical as usize] == 0
    }
}

fn step(sum: &mut u64, n: u64, more: bool) {
    *sum = if more { sum.saturating_add(n) } else { sum.saturating_sub(n) };
}

impl Gauges {
    /// Takes an endpoint's verdicts in, or out.
    pub fn verdicts(&mut self, of: &OfVerdicts, more: bool) {
        step(&mut self.scanned, 1, more);
        step(&mut self.compliant, u64::from(of.is_compliant()), more);
        step(&mut self.passing, of.passing.into(), more);
        self.failing.iter_mut().zip(of.failing).for_each(|(sum, n)| step(sum, n.into(), more));
    }

    pub fn posture(&mut self, of: &Posture, more: bool) {
        self.missing.iter_mut().zip(of.missing).for_each(|(sum, n)| step(sum, n.into(), more));
        step(&mut self.missing_exploited, of.missing_exploited.into(), more);
        step(&mut self.endpoints_missing_exploited, u64::from(of.missing_exploited > 0), more);
        step(&mut self.not_collected, u64::from(of.not_collected), more);
    }

    pub fn endpoint(&mut self, more: bool) {
        step(&mut self.endpoints, 1, more);
    }

    pub fn episode(&mut self, more: bool) {
        step(&mut self.open_episodes, 1, more);
    }
}

/// A group that is followed.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    /// `None`: the whole fleet.
    pub group: Option<Group>,
    pub definition: u64,
    pub gauges: Gauges,
    /// Whether they were counted at all: they are of nothing before.
    pub counted: bool,
    /// The same while they are counted anew, of the endpoints that were.
    pub anew: Gauges,
    /// In the present hour, and in the present day.
    pub hour: Flows,
    pub day: Flows,
    /// They are not stored as they are.
    pub changed: bool,
}

impl Followed {
    pub fn new(group: Option<Group>) -> Followed {
        let definition = group.as_ref().map_or(0, definition);
        Followed { group, definition, ..Followed::default() }
    }

    /// `""` is the whole fleet.
    pub fn name(&self) -> &str {
        self.group.as_ref().map_or("", |g| &g.name)
    }

    pub fn flow(&mut self, flows: &Flows) {
        self.hour.add(flows);
        self.day.add(flows);
        self.changed = true;
    }
}

fn definition(group: &Group) -> u64 {
    let bytes = postcard::to_allocvec(group).unwrap_or_default();
    blake3::hash(&bytes).as_bytes().first_chunk::<8>().map_or(1, |b| u64::from_le_bytes(*b).max(1))
}

/// What has happened in the present hour and day, as it is stored after every batch in which something did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub definition: u64,
    pub hour_number: u32,
    pub hour: Flows,
    pub day: Flows,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_time_within_a_group() {
        let keys =
            [key(Step::Hour, "", 7), key(Step::Hour, "", 300), key(Step::Hour, "a", 1), key(Step::Hour, "ab", 0), key(Step::Day, "", 0)];
        assert!(keys.is_sorted());
        assert_eq!(read_key(Step::Hour, "", &keys[1]), Some(300));
        assert_eq!((read_key(Step::Hour, "", &keys[2]), read_key(Step::Hour, "a", &keys[3])), (None, None));
        assert_eq!(Step::Day.number(DAY_MS * 3 - 1), 2);
    }

    #[test]
    fn gauges_go_back_as_they_came() {
        let of = OfVerdicts { passing: 1, failing: [0, 0, 1, 1, 0] };
        assert!(!of.is_compliant());
        let posture = Posture { missing: [0, 1, 2, 0, 4], missing_exploited: 3, not_collected: true, ..Posture::default() };
        let mut gauges = Gauges::default();
        gauges.verdicts(&of, true);
        gauges.posture(&posture, true);
        assert_eq!((gauges.missing, gauges.endpoints_missing_exploited, gauges.scanned), ([0, 1, 2, 0, 4], 1, 1));
        gauges.verdicts(&of, false);
        gauges.posture(&posture, false);
        assert_eq!(gauges, Gauges::default());
    }
}
