//! Trends of groups, kept as things turn: gauges step with every turn, and a roll-up is written when an hour or a day is over.
//!
//! What turns everything at once (rules, catalogs, groups, a start) makes gauges doubtful; they are counted anew, some endpoints at a time, and stay what they were until all are.
//! INVARIANT: whatever turns at an endpoint that was counted steps what is being counted; one that was not is counted as it is then.

use std::collections::BTreeMap;
use std::ops::Range;

use hashbrown::HashMap;
use roaring::RoaringBitmap;

use super::{Applied, Shard};
use crate::drift::Cause;
use crate::fleet::EndpointId;
use crate::fleet::classes::{ClassId, Mask};
use crate::history::trend::{Flows, Followed, Gauges, OfVerdicts, Open, Rollup, Step, key};
use crate::judge::Verdict;
use crate::patch::PatchId;
use crate::policy::Group;
use crate::rule::Severity;
use crate::state::{Space, StoreError, decode};

use super::patches::Posture;

/// The name under which `meta` has what happened in the present hour and day; a group's name follows.
pub(super) const OPEN: &str = "trend:";

/// An endpoint is fresh that was heard of within this time.
const FRESH_MS: i64 = 24 * 3_600_000;

/// What gauges are worth.
#[derive(Debug, Default)]
enum Count {
    /// They are to be counted anew.
    #[default]
    Doubtful,
    /// They are being counted: the endpoints before this one are, and what the verdicts of their classes add is known.
    Before(u32, HashMap<ClassId, OfVerdicts>),
    /// They are what turned one by one made of them.
    Exact,
}

#[derive(Debug, Default)]
pub(super) struct Trends {
    /// The whole fleet first.
    followed: Vec<Followed>,
    count: Count,
    /// The rules that are counted, all and by severity: requirements are not.
    counted: Mask,
    by_severity: [Mask; Severity::ALL.len()],
    hour: Option<u32>,
    day: Option<u32>,
    /// When vendors published what was installed lately, in milliseconds since 1970.
    published: HashMap<PatchId, Option<i64>>,
    /// Read at the start, until the groups are known.
    stored: BTreeMap<String, Open>,
}

impl Trends {
    pub(super) fn restore(&mut self, key: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
        let name = String::from_utf8_lossy(key.strip_prefix(OPEN.as_bytes()).unwrap_or_default()).into_owned();
        self.stored.insert(name, decode(Space::Meta, key, bytes)?);
        Ok(())
    }

    /// Something turned for everybody.
    pub(super) fn doubt(&mut self) {
        self.count = Count::Doubtful;
    }

    /// The catalog numbers its patches otherwise.
    pub(super) fn renumbered(&mut self) {
        self.published.clear();
    }
}

impl Shard {
    /// Endpoints that were heard of lately.
    pub fn fresh_endpoints(&self, now_ms: i64) -> RoaringBitmap {
        let since = now_ms.saturating_sub(FRESH_MS);
        (0..self.fleet.places()).filter(|n| self.fleet.get(EndpointId(*n)).is_some() && self.seen_ms(EndpointId(*n)) >= since).collect()
    }

    /// The endpoints of a group.
    pub fn members_of(&self, group: &Group) -> RoaringBitmap {
        self.members_among(group, 0..self.fleet.places())
    }

    fn members_among(&self, group: &Group, among: Range<u32>) -> RoaringBitmap {
        let (index, mut within) = (self.fleet.index(), RoaringBitmap::new());
        within.insert_range(among.clone());
        let labelled = group.labels.iter().map(|(k, v)| index.labelled(k, v).map(|e| &within & e).unwrap_or_default());
        let labelled = labelled.reduce(|a, b| a & b);
        if group.endpoints.is_empty()
            && let Some(labelled) = labelled
        {
            return labelled;
        }
        let named = |n: &u32| self.fleet.get(EndpointId(*n)).is_some_and(|e| group.holds(e));
        match labelled {
            Some(labelled) => labelled.iter().filter(named).collect(),
            None => among.filter(named).collect(),
        }
    }

    /// With the groups that hold an endpoint.
    fn trend(&mut self, at: EndpointId, mut with: impl FnMut(&mut Followed)) {
        let Some(endpoint) = self.fleet.get(at) else { return };
        let all = self.trends.followed.iter_mut();
        all.filter(|f| f.group.as_ref().is_none_or(|g| g.holds(endpoint))).for_each(&mut with);
    }

    fn gauge(&mut self, at: EndpointId, with: impl Fn(&mut Gauges)) {
        match self.trends.count {
            Count::Exact => self.trend(at, |followed| with(&mut followed.gauges)),
            Count::Before(next, _) if at.0 < next => self.trend(at, |followed| with(&mut followed.anew)),
            Count::Before(..) | Count::Doubtful => {}
        }
    }

    /// What the verdicts of a class add to the gauges.
    pub(super) fn of_verdicts(&self, class: ClassId) -> OfVerdicts {
        let Trends { counted, by_severity: [a, b, c, d, e], .. } = &self.trends;
        let fail = |among| (Verdict::Fail, among);
        let asked = [(Verdict::Pass, counted), fail(a), fail(b), fail(c), fail(d), fail(e)];
        let [passing, failing @ ..] = self.fleet.classes.count_of(class, asked);
        OfVerdicts { passing, failing }
    }

    /// Takes all of an endpoint out, or in: it comes, goes, or gets other labels.
    pub(super) fn trend_whole(&mut self, at: EndpointId, more: bool) {
        let class = self.fleet.get(at).and_then(|e| e.held.as_ref()).map(|h| self.of_verdicts(h.class));
        let (posture, open) = (self.posture(at), self.open_episodes_of(at).count());
        self.gauge(at, |gauges| {
            gauges.endpoint(more);
            gauges.posture(&posture, more);
            (0..open).for_each(|_| gauges.episode(more));
            if let Some(of) = &class {
                gauges.verdicts(of, more);
            }
        });
    }

    /// Its verdicts were these; what they are is taken in by the class that it has. `None`: it had none.
    pub(super) fn trend_verdicts(&mut self, at: EndpointId, before: Option<OfVerdicts>, class: ClassId) {
        let now = self.of_verdicts(class);
        if before != Some(now) {
            self.gauge(at, |gauges| {
                if let Some(before) = &before {
                    gauges.verdicts(before, false);
                }
                gauges.verdicts(&now, true);
            });
        }
    }

    pub(super) fn trend_posture(&mut self, at: EndpointId, before: &Posture, now: &Posture) {
        if before != now {
            self.gauge(at, |gauges| {
                gauges.posture(before, false);
                gauges.posture(now, true);
            });
        }
    }

    /// An episode opened or ended.
    pub(super) fn trend_episode(&mut self, at: EndpointId, was_open: bool, episode: &crate::drift::Episode, now_ms: i64) {
        if was_open == episode.open {
            return;
        }
        self.gauge(at, |gauges| gauges.episode(episode.open));
        let lasted = u64::try_from(now_ms.saturating_sub(episode.opened_ms)).unwrap_or(0);
        let flows = match (episode.open, episode.cause) {
            (true, _) => Flows { opened: 1, ..Flows::default() },
            (false, Cause::EndpointChanged) => Flows { remediated: 1, remediate_ms: lasted, ..Flows::default() },
            // The rule went, or the endpoint: nobody remedied anything.
            (false, _) => return,
        };
        self.trend(at, |followed| followed.flow(&flows));
    }

    /// A failure that nobody had written down ended.
    pub(super) fn trend_unwritten(&mut self, at: EndpointId, since_ms: i64, now_ms: i64) {
        let remediate_ms = u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0);
        self.trend(at, |followed| followed.flow(&Flows { remediated: 1, remediate_ms, ..Flows::default() }));
    }

    /// Patches that were missing are installed.
    pub(super) fn trend_patched(&mut self, at: EndpointId, patches: &[PatchId], now_ms: i64) {
        let Some(enrolled_ms) = self.fleet.get(at).map(|e| e.enrolled_ms) else { return };
        let mut flows = Flows::default();
        for patch in patches {
            let catalog = &self.catalog;
            let of = || catalog.definition(*patch).and_then(|d| d.published).map(|t| t.as_millisecond());
            if let Some(published) = *self.trends.published.entry(*patch).or_insert_with(of) {
                flows.patched += 1;
                flows.patch_ms += u64::try_from(now_ms.saturating_sub(published.max(enrolled_ms))).unwrap_or(0);
            }
        }
        if flows.patched > 0 {
            self.trend(at, |followed| followed.flow(&flows));
        }
    }

    /// Writes what happened in the present hour, of the groups at which something did.
    pub(super) fn store_flows(&mut self, out: &mut Applied) {
        let Some(hour_number) = self.trends.hour else { return };
        for followed in self.trends.followed.iter_mut().filter(|f| f.changed) {
            followed.changed = false;
            let open = Open { definition: followed.definition, hour_number, hour: followed.hour, day: followed.day };
            out.batch.put_record(Space::Meta, format!("{OPEN}{}", followed.name()), &open);
        }
    }

    /// Time passes: hours end.
    pub(super) fn tick_trends(&mut self, now_ms: i64, out: &mut Applied) {
        let (hour, day) = (Step::Hour.number(now_ms), Step::Day.number(now_ms));
        let (last_hour, last_day) = (self.trends.hour.replace(hour), self.trends.day.replace(day));
        let (last_hour, last_day) = (last_hour.filter(|last| *last < hour), last_day.filter(|last| *last < day));
        if last_hour.or(last_day).is_some() {
            // What is written says what is: it cannot wait for the rest of a count.
            while self.count_trends(now_ms) {}
        }
        if let Some(last) = last_hour {
            self.roll_up(Step::Hour, last, hour, now_ms, out);
        }
        if let Some(last) = last_day {
            self.roll_up(Step::Day, last, day, now_ms, out);
        }
    }

    /// Follows the groups of the configuration. Those that mean what they meant go on where they were.
    fn follow(&mut self, hour: u32, day: u32) {
        let groups = self.policy.policy.groups.iter().take(self.limits.trend_groups);
        let all = std::iter::once(None).chain(groups.cloned().map(Some)).map(Followed::new);
        let before = std::mem::take(&mut self.trends.followed);
        let stored = std::mem::take(&mut self.trends.stored);
        let went_on = |mut new: Followed| {
            if let Some(old) = before.iter().find(|f| f.name() == new.name() && f.definition == new.definition) {
                new = Followed { anew: Gauges::default(), ..old.clone() };
            } else if let Some(open) = stored.get(new.name()).filter(|o| o.definition == new.definition) {
                let of_day = |hour: u32| hour / 24;
                new.hour = if open.hour_number == hour { open.hour } else { Flows::default() };
                new.day = if of_day(open.hour_number) == day { open.day } else { Flows::default() };
            }
            new
        };
        self.trends.followed = all.map(went_on).collect();
    }

    /// Goes on with counting gauges that are doubtful. Whether there is more of it.
    pub(super) fn count_trends(&mut self, now_ms: i64) -> bool {
        let (from, mut classes) = match std::mem::take(&mut self.trends.count) {
            Count::Exact => {
                self.trends.count = Count::Exact;
                return false;
            }
            Count::Before(next, classes) => (next, classes),
            Count::Doubtful => {
                self.follow(Step::Hour.number(now_ms), Step::Day.number(now_ms));
                self.choose_rules();
                (0, HashMap::new())
            }
        };
        let to = from.saturating_add(self.limits.trend_counted.max(1)).min(self.fleet.places());
        self.count_among(from..to, &mut classes);
        let more = to < self.fleet.places();
        self.trends.count = if more { Count::Before(to, classes) } else { Count::Exact };
        if !more {
            self.trends.followed.iter_mut().for_each(|f| (f.gauges, f.counted) = (std::mem::take(&mut f.anew), true));
        }
        more
    }

    /// The rules that are counted, of the present pack.
    fn choose_rules(&mut self) {
        let rules = || self.pack.rules().map(|r| self.pack.rule(r));
        self.trends.counted = Mask::of(rules().map(|rule| !rule.requirement));
        self.trends.by_severity =
            Severity::ALL.map(|severity| Mask::of(rules().map(|rule| !rule.requirement && rule.severity == severity)));
    }

    /// Adds some endpoints to what is being counted.
    fn count_among(&mut self, among: Range<u32>, classes: &mut HashMap<ClassId, OfVerdicts>) {
        let mut open: BTreeMap<u32, u64> = BTreeMap::new();
        self.open_episodes(among.clone()).for_each(|(at, ..)| *open.entry(at.0).or_default() += 1);
        let mut followed = std::mem::take(&mut self.trends.followed);
        for Followed { group, anew: gauges, .. } in &mut followed {
            let mut take = |number: u32| {
                let Some(endpoint) = self.fleet.get(EndpointId(number)) else { return };
                gauges.endpoint(true);
                gauges.open_episodes += open.get(&number).copied().unwrap_or(0);
                if let Some(held) = &endpoint.held {
                    gauges.verdicts(classes.entry(held.class).or_insert_with(|| self.of_verdicts(held.class)), true);
                    gauges.posture(&self.posture(EndpointId(number)), true);
                }
            };
            match group {
                Some(group) => self.members_among(group, among.clone()).into_iter().for_each(&mut take),
                None => among.clone().for_each(&mut take),
            }
        }
        self.trends.followed = followed;
    }

    /// The gauges of each group now, with how many are fresh.
    fn gauges_now(&self, now_ms: i64) -> Vec<Gauges> {
        let held = self.fleet.index().held() & self.fresh_endpoints(now_ms);
        let covered = |followed: &Followed| match &followed.group {
            Some(group) => self.members_of(group).intersection_len(&held),
            None => held.len(),
        };
        self.trends.followed.iter().map(|f| Gauges { covered: covered(f), ..f.gauges }).collect()
    }

    fn roll_up(&mut self, step: Step, number: u32, now: u32, now_ms: i64, out: &mut Applied) {
        let gauges = self.gauges_now(now_ms);
        for (followed, gauges) in self.trends.followed.iter_mut().zip(gauges) {
            let flows = std::mem::take(match step {
                Step::Hour => &mut followed.hour,
                Step::Day => &mut followed.day,
            });
            followed.changed = true;
            let rollup = Rollup { definition: followed.definition, at_ms: now_ms, gauges, flows };
            out.batch.put_record(Space::Trends, key(step, followed.name(), number), &rollup);
            let kept = step.kept();
            let first = number.max(now.saturating_sub(kept)).saturating_sub(kept);
            (first..now.saturating_sub(kept)).for_each(|old| out.batch.delete(Space::Trends, key(step, followed.name(), old)));
        }
    }

    /// Whether the trend of a group is kept, as soon as it was counted.
    pub fn follows_trend(&self, group: &str) -> bool {
        group.is_empty() || self.policy.policy.groups.iter().take(self.limits.trend_groups).any(|g| g.name == group)
    }

    /// The present hour or day of a group as it is so far; `""` is the whole fleet. `None`: it is not followed, or not counted yet.
    pub fn trend_now(&self, group: &str, step: Step, now_ms: i64) -> Option<Rollup> {
        let at = self.trends.followed.iter().position(|f| f.name() == group && f.counted)?;
        let (followed, gauges) = (self.trends.followed.get(at)?, self.gauges_now(now_ms).get(at).copied()?);
        let flows = match step {
            Step::Hour => followed.hour,
            Step::Day => followed.day,
        };
        Some(Rollup { definition: followed.definition, at_ms: now_ms, gauges, flows })
    }

    /// Whether gauges are what is. If not they are what was before everything turned at once, for a second or two.
    pub fn trends_are_exact(&self) -> bool {
        matches!(self.trends.count, Count::Exact)
    }

    /// Gauges of the whole fleet, without how many are fresh. `None`: they are being counted after a start.
    pub fn trend_gauges(&self) -> Option<&Gauges> {
        self.trends.followed.first().filter(|f| f.counted).map(|f| &f.gauges)
    }
}
