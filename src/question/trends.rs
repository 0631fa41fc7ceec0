//! How a group came along: `group, time, step -> roll-ups, with the shares and means that come of their sums`.

use jiff::Timestamp;
use serde::Serialize;

use super::{Look, QuestionError};
use crate::history::trend::{Rollup, Step, key, read_key};
use crate::rule::Severity;
use crate::rule::check::suggest::hint;
use crate::state::{Reader, Space, decode};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// `None`: the whole fleet.
    pub group: Option<String>,
    pub step: Step,
    /// `None`: as long as is kept.
    pub from_ms: Option<i64>,
    /// Before this; `None`: up to now.
    pub to_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    pub group: Option<String>,
    pub step: &'static str,
    pub items: Vec<Item>,
}

/// An hour or a day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// When it began.
    pub from: Timestamp,
    /// When the gauges stood so: soon after its end, or now.
    pub at: Timestamp,
    /// It is not over yet.
    pub open: bool,
    pub endpoints: u64,
    pub scanned: u64,
    pub covered: u64,
    pub coverage: Option<f64>,
    pub compliant: u64,
    pub compliant_share: Option<f64>,
    pub passing: u64,
    pub failing: u64,
    pub pass_share: Option<f64>,
    pub failing_by_severity: std::collections::BTreeMap<&'static str, u64>,
    pub missing: u64,
    pub missing_by_severity: std::collections::BTreeMap<&'static str, u64>,
    pub missing_exploited: u64,
    pub endpoints_missing_exploited: u64,
    pub endpoints_not_collected: u64,
    pub open_episodes: u64,
    pub opened: u64,
    pub remediated: u64,
    pub seconds_to_remediate: u64,
    pub mean_seconds_to_remediate: Option<u64>,
    pub patched: u64,
    pub seconds_to_patch: u64,
    pub mean_seconds_to_patch: Option<u64>,
}

/// Answers from the stored roll-ups and the open one. Those of another definition of the group are another group's.
pub fn trends<L: Look>(look: &L, reader: &dyn Reader, question: &Question, now_ms: i64) -> Result<Told, QuestionError> {
    let (step, name) = (question.step, question.group.as_deref().unwrap_or_default());
    let (open, followed, groups) = look.look(|shard| {
        let groups: Vec<String> = shard.policy.policy.groups.iter().map(|g| g.name.clone()).collect();
        (shard.trend_now(name, step, now_ms), shard.follows_trend(name), groups)
    });
    if !name.is_empty() && !groups.iter().any(|g| g == name) {
        return Err(QuestionError::Bad(format!("no group `{name}` in the configuration{}", hint(name, groups.iter().map(String::as_str)))));
    }
    let now = step.number(now_ms);
    let from = question.from_ms.map_or(0, |ms| step.number(ms));
    let to = question.to_ms.map_or(u32::MAX, |ms| step.number(ms.saturating_add(step.ms() - 1)));
    let mut items = Vec::new();
    if !followed {
        return Err(QuestionError::Bad(format!("no trend of `{name}` is kept: there are more groups than `limits.trend_groups`")));
    }
    let open = open.ok_or(QuestionError::Counting)?;
    reader.range(Space::Trends, &key(step, name, from), &mut |k, v| {
        let Some(number) = read_key(step, name, k).filter(|n| *n < to) else { return Ok(false) };
        let rollup: Rollup = decode(Space::Trends, k, v)?;
        if rollup.definition == open.definition && number < now {
            items.push(Item::new(step, number, &rollup, false));
        }
        Ok(true)
    })?;
    if (from..to).contains(&now) {
        items.push(Item::new(step, now, &open, true));
    }
    Ok(Told { group: question.group.clone(), step: step.name(), items })
}

/// A share, rounded to a tenth of a thousandth.
fn share(part: u64, of: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share is shown with four digits")]
    (of > 0).then(|| (part as f64 / of as f64 * 10_000.0).round() / 10_000.0)
}

impl Item {
    fn new(step: Step, number: u32, rollup: &Rollup, open: bool) -> Item {
        let Rollup { at_ms, gauges: g, flows: f, .. } = rollup;
        let time = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default();
        let failing: u64 = g.failing.iter().sum();
        let mean = |ms: u64, n: u64| ms.checked_div(n).map(|ms| ms / 1000);
        Item {
            from: time(i64::from(number).saturating_mul(step.ms())),
            at: time(*at_ms),
            open,
            endpoints: g.endpoints,
            scanned: g.scanned,
            covered: g.covered,
            coverage: share(g.covered, g.endpoints),
            compliant: g.compliant,
            compliant_share: share(g.compliant, g.scanned),
            passing: g.passing,
            failing,
            pass_share: share(g.passing, g.passing + failing),
            failing_by_severity: Severity::ALL.into_iter().map(|s| (s.name(), g.failing[s as usize])).collect(),
            missing: g.missing.iter().sum(),
            missing_by_severity: crate::feed::model::Level::ALL.into_iter().map(|l| (l.name(), g.missing[l as usize])).collect(),
            missing_exploited: g.missing_exploited,
            endpoints_missing_exploited: g.endpoints_missing_exploited,
            endpoints_not_collected: g.not_collected,
            open_episodes: g.open_episodes,
            opened: f.opened,
            remediated: f.remediated,
            seconds_to_remediate: f.remediate_ms / 1000,
            mean_seconds_to_remediate: mean(f.remediate_ms, f.remediated),
            patched: f.patched,
            seconds_to_patch: f.patch_ms / 1000,
            mean_seconds_to_patch: mean(f.patch_ms, f.patched),
        }
    }
}
