//! The state at a past instant: `the present, who came and went since, what turned since -> who was there, with which verdicts and patch states`.
//!
//! Records are taken in the order in which they were written. What a thing was at the instant is where its first turn since came from; sums need no order at all,
//! so counts are those of the present less every turn. An endpoint that sent its first scan later had nothing then, and nothing that turned of it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Stood;
use super::book::Head;
use super::record::{At, COLLECTED, Last, PolicyThen, Turned, Who, endpoints_of, not_collected, read_patch_turn, read_verdict_turn};
use crate::fleet::classes::ClassId;
use crate::judge::Verdict;
use crate::patch::State;
use crate::rule::Severity;
use crate::shard::Posture;
use crate::state::StoreError;

/// No class: an endpoint without a scan, or none.
pub const NONE: ClassId = ClassId::MAX;

/// The present, as it was under one lock.
#[derive(Clone, Debug, Default)]
pub struct Present {
    pub head: Head,
    /// Names of rules by number, those of the pack that have none yet at the end.
    pub rule_names: Vec<Arc<str>>,
    /// Of each rule of the pack in its order; `None`: it is a requirement.
    pub rules: Vec<Option<(u32, Severity)>>,
    /// By number of endpoint.
    pub classes: Vec<ClassId>,
    pub verdicts: BTreeMap<ClassId, Box<[u8]>>,
    pub postures: Vec<Posture>,
    pub alive: RoaringBitmap,
    /// Those that are of the group that is asked for, as their labels are now; `None`: all.
    pub members: Option<RoaringBitmap>,
    /// The ids of those that had other labels then.
    pub ids: BTreeMap<u32, Box<str>>,
}

impl Present {
    fn class(&self, number: u32) -> Option<ClassId> {
        self.classes.get(number as usize).copied().filter(|c| *c != NONE)
    }

    /// Verdicts of a class, by the number of the rule.
    fn of_class(&self, class: ClassId) -> impl Iterator<Item = (u32, Verdict)> {
        let verdicts = self.verdicts.get(&class).map_or(&[][..], |v| v);
        let both = self.rules.iter().zip(verdicts);
        both.filter_map(|(rule, verdict)| Some(((*rule)?.0, Verdict::from_u8(*verdict)?)))
    }
}

/// An endpoint that was removed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    pub until: At,
    pub id: String,
    pub hostname: String,
    pub labels: BTreeMap<String, String>,
    pub last: Option<[u8; 16]>,
}

/// What came of who came and went since the instant.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Numbers that no endpoint had then, or another one than later.
    absent: RoaringBitmap,
    unscanned: RoaringBitmap,
    /// Numbers whose endpoint of then is known to the end.
    closed: RoaringBitmap,
    pub labels: BTreeMap<u32, BTreeMap<String, String>>,
    pub gone: BTreeMap<u32, Gone>,
    /// `None`: it is what it was.
    pub policy: Option<PolicyThen>,
    severities: BTreeMap<u32, Option<Severity>>,
}

impl Census {
    /// Takes the next record of those since the instant.
    pub fn take(&mut self, at: At, who: Who) {
        match who {
            Who::Enrolled { number } => {
                if self.closed.insert(number) {
                    self.absent.insert(number);
                }
            }
            Who::Scanned { number } => {
                if !self.closed.contains(number) {
                    self.unscanned.insert(number);
                }
            }
            Who::Labelled { number, before } => {
                if !self.closed.contains(number) {
                    self.labels.entry(number).or_insert(before);
                }
            }
            Who::Removed { number, id, hostname, labels, last } => {
                if self.closed.insert(number) {
                    let labels = self.labels.remove(&number).unwrap_or(labels);
                    self.gone.insert(number, Gone { until: at, id, hostname, labels, last });
                }
            }
            Who::Policy { before } => {
                self.policy.get_or_insert(*before);
            }
            Who::Severities { before } => {
                before.into_iter().for_each(|(rule, severity)| {
                    self.severities.entry(rule).or_insert(severity);
                });
            }
        }
    }

    /// Whether the endpoint that has a number now is the one that had it then.
    pub fn is_present(&self, number: u32) -> bool {
        !self.absent.contains(number) && !self.gone.contains_key(&number)
    }

    pub fn was_scanned(&self, number: u32) -> bool {
        !self.unscanned.contains(number)
    }

    /// How severe the rules were taken to be then, those of now and those that turned since.
    pub fn severities(&self, present: &Present) -> BTreeMap<u32, Severity> {
        let mut out: BTreeMap<u32, Severity> = present.rules.iter().flatten().copied().collect();
        for (rule, severity) in &self.severities {
            match severity {
                Some(severity) => drop(out.insert(*rule, *severity)),
                None => drop(out.remove(rule)),
            }
        }
        out
    }

    /// The numbers of the endpoints that were there then, of those that a group meant.
    pub fn members(&self, present: &Present, means: impl Fn(&str, &BTreeMap<String, String>) -> bool) -> RoaringBitmap {
        let mut out = present.members.as_ref().map_or_else(|| present.alive.clone(), |m| m & &present.alive);
        out -= &self.absent;
        self.gone.keys().for_each(|n| {
            out.remove(*n);
        });
        for (number, labels) in &self.labels {
            let Some(id) = present.ids.get(number).filter(|_| present.alive.contains(*number) && self.is_present(*number)) else {
                continue;
            };
            if means(id, labels) {
                out.insert(*number);
            } else {
                out.remove(*number);
            }
        }
        out.extend(self.gone.iter().filter(|(_, g)| means(&g.id, &g.labels)).map(|(n, _)| *n));
        out
    }

    /// Those of them that had sent a scan.
    pub fn scanned(&self, present: &Present, members: &RoaringBitmap) -> RoaringBitmap {
        let had = |n: &u32| match self.gone.get(n) {
            Some(gone) => gone.last.is_some(),
            None => present.class(*n).is_some(),
        };
        members.iter().filter(had).filter(|n| self.was_scanned(*n)).collect()
    }
}

/// Endpoints whose turns count: each until it went.
#[derive(Clone, Debug, Default)]
struct Active {
    numbers: RoaringBitmap,
    /// By when they go, the first at the end.
    leaving: Vec<(At, u32)>,
}

impl Active {
    fn new(census: &Census, scanned: &RoaringBitmap) -> Active {
        let mut leaving: Vec<(At, u32)> =
            census.gone.iter().filter(|(n, _)| scanned.contains(**n)).map(|(n, gone)| (gone.until, *n)).collect();
        leaving.sort_unstable_by(|a, b| b.cmp(a));
        Active { numbers: scanned.clone(), leaving }
    }

    /// Records of this place come next.
    fn reach(&mut self, at: At) {
        while let Some((_, number)) = self.leaving.pop_if(|(until, _)| *until <= at) {
            self.numbers.remove(number);
        }
    }
}

/// Patches over endpoints, by how they stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchCounts {
    /// By level.
    pub missing: [i64; 5],
    pub missing_exploited: i64,
    /// By [`State`], of those that rows note.
    pub states: [i64; State::ALL.len()],
    pub endpoints_not_collected: i64,
}

impl PatchCounts {
    fn step(&mut self, patch: u32, stood: Stood, by: i64) {
        let Some(state) = stood.state() else { return };
        if patch == COLLECTED {
            self.endpoints_not_collected += by;
            return;
        }
        self.states[state as usize] += by;
        if let Some((level, exploited)) = stood.weight() {
            self.missing[level as usize] += by;
            self.missing_exploited += if exploited { by } else { 0 };
        }
    }

    fn add(&mut self, posture: &Posture) {
        for (sum, n) in self.missing.iter_mut().zip(posture.missing) {
            *sum += i64::from(n);
        }
        self.missing_exploited += i64::from(posture.missing_exploited);
        for state in crate::shard::PatchTotals::STATES {
            self.states[state as usize] += i64::from(posture.count_of(state));
        }
        self.endpoints_not_collected += i64::from(posture.not_collected);
    }
}

pub type VerdictCounts = [i64; Verdict::ALL.len()];

/// Counts over endpoints at the instant.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    active: Active,
    pub rules: BTreeMap<u32, VerdictCounts>,
    pub patches: PatchCounts,
    severe: BTreeSet<u32>,
    /// By number: rules of high and critical severity that it fails.
    fails: Vec<i32>,
}

impl Counts {
    /// Those of the present, over the endpoints that had a scan then. `last` gives what removed ones had at last.
    pub fn new(
        present: &Present,
        census: &Census,
        scanned: &RoaringBitmap,
        last: impl Fn(u32) -> Result<Last, StoreError>,
    ) -> Result<Counts, StoreError> {
        let severe = census.severities(present).into_iter().filter(|(_, s)| *s >= Severity::High).map(|(r, _)| r).collect();
        let mut out = Counts { active: Active::new(census, scanned), severe, ..Counts::default() };
        out.fails.resize(scanned.max().map_or(0, |n| n as usize + 1), 0);
        let mut classes: BTreeMap<ClassId, (i64, i32)> = BTreeMap::new();
        for number in scanned {
            if census.gone.contains_key(&number) {
                out.take_last(number, &last(number)?);
            } else if let Some(class) = present.class(number) {
                let failing = || present.of_class(class).filter(|(r, v)| *v == Verdict::Fail && out.severe.contains(r)).count();
                let of = classes.entry(class).or_insert_with(|| (0, i32::try_from(failing()).unwrap_or(i32::MAX)));
                of.0 += 1;
                out.fails[number as usize] = of.1;
                out.patches.add(&present.postures.get(number as usize).copied().unwrap_or_default());
            }
        }
        for (class, (endpoints, _)) in classes {
            present.of_class(class).for_each(|(rule, verdict)| out.rules.entry(rule).or_default()[verdict as usize] += endpoints);
        }
        Ok(out)
    }

    fn take_last(&mut self, number: u32, last: &Last) {
        for (rule, verdict) in &last.verdicts {
            let Some(verdict) = Verdict::from_u8(*verdict) else { continue };
            self.rules.entry(*rule).or_default()[verdict as usize] += 1;
            self.fails[number as usize] += i32::from(verdict == Verdict::Fail && self.severe.contains(rule));
        }
        for (patch, code) in &last.patches {
            self.patches.step(*patch, Stood::from_code(*code).unwrap_or_default(), 1);
        }
    }

    /// Takes a turn since the instant back.
    pub fn take(&mut self, at: At, turned: &Turned) -> Result<(), StoreError> {
        self.active.reach(at);
        match turned {
            Turned::Endpoint { number, verdicts, patches } => {
                if self.active.numbers.contains(*number) {
                    let one: RoaringBitmap = std::iter::once(*number).collect();
                    verdicts.iter().for_each(|(rule, turn)| self.verdict(*rule, *turn, &one));
                    patches.iter().for_each(|(patch, turn)| self.patch(*patch, *turn, 1));
                }
            }
            Turned::Rule { rule, turn, endpoints } => {
                let endpoints = endpoints_of(endpoints)? & &self.active.numbers;
                self.verdict(*rule, *turn, &endpoints);
            }
            Turned::Patch { patch, turn, endpoints } => {
                let endpoints = endpoints_of(endpoints)?.intersection_len(&self.active.numbers);
                self.patch(*patch, *turn, i64::try_from(endpoints).unwrap_or(i64::MAX));
            }
        }
        Ok(())
    }

    fn verdict(&mut self, rule: u32, turn: u8, endpoints: &RoaringBitmap) {
        let (from, to) = read_verdict_turn(turn);
        let (n, severe) = (i64::try_from(endpoints.len()).unwrap_or(i64::MAX), self.severe.contains(&rule));
        let counts = self.rules.entry(rule).or_default();
        for (verdict, by) in [(from, 1), (to, -1)] {
            let Some(verdict) = verdict else { continue };
            counts[verdict as usize] += n * i64::from(by);
            if severe && verdict == Verdict::Fail {
                endpoints.iter().for_each(|e| self.fails[e as usize] += by);
            }
        }
    }

    fn patch(&mut self, patch: u32, turn: u16, endpoints: i64) {
        let (from, to) = read_patch_turn(turn);
        self.patches.step(patch, from, endpoints);
        self.patches.step(patch, to, -endpoints);
    }

    /// How many of the endpoints failed no rule of high or critical severity.
    pub fn compliant(&self, scanned: &RoaringBitmap) -> usize {
        scanned.iter().filter(|n| self.fails.get(*n as usize) == Some(&0)).count()
    }
}

/// Who had which verdict of one rule at the instant.
#[derive(Clone, Debug)]
pub struct OfRule {
    active: Active,
    rule: u32,
    of: BTreeMap<Verdict, RoaringBitmap>,
    told: RoaringBitmap,
}

impl OfRule {
    pub fn new(rule: u32, census: &Census, scanned: &RoaringBitmap) -> OfRule {
        OfRule { active: Active::new(census, scanned), rule, of: BTreeMap::new(), told: RoaringBitmap::new() }
    }

    pub fn take(&mut self, at: At, turned: &Turned) -> Result<(), StoreError> {
        self.active.reach(at);
        let (turn, endpoints) = match turned {
            Turned::Endpoint { number, verdicts, .. } => {
                let Some((_, turn)) = verdicts.iter().find(|(rule, _)| *rule == self.rule) else { return Ok(()) };
                (*turn, std::iter::once(*number).collect())
            }
            Turned::Rule { rule, turn, endpoints } if *rule == self.rule => (*turn, endpoints_of(endpoints)?),
            _ => return Ok(()),
        };
        let first = (endpoints & &self.active.numbers) - &self.told;
        self.told |= &first;
        if let Some(from) = read_verdict_turn(turn).0 {
            *self.of.entry(from).or_default() |= first;
        }
        Ok(())
    }

    /// After the last turn: the endpoints by verdict.
    pub fn done(
        mut self,
        present: &Present,
        census: &Census,
        scanned: &RoaringBitmap,
        last: impl Fn(u32) -> Result<Last, StoreError>,
    ) -> Result<BTreeMap<Verdict, RoaringBitmap>, StoreError> {
        let mut classes: BTreeMap<ClassId, Option<Verdict>> = BTreeMap::new();
        for number in scanned - &self.told {
            let verdict = if census.gone.contains_key(&number) {
                let last = last(number)?;
                last.verdicts.iter().find(|(rule, _)| *rule == self.rule).and_then(|(_, v)| Verdict::from_u8(*v))
            } else {
                present.class(number).and_then(|class| {
                    let of = || present.of_class(class).find(|(rule, _)| *rule == self.rule).map(|(_, v)| v);
                    *classes.entry(class).or_insert_with(of)
                })
            };
            if let Some(verdict) = verdict {
                self.of.entry(verdict).or_default().insert(number);
            }
        }
        self.of.retain(|_, endpoints| !endpoints.is_empty());
        Ok(self.of)
    }
}

/// What one endpoint had at the instant, by numbers of rules and patches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfEndpoint {
    number: u32,
    until: Option<At>,
    verdicts: BTreeMap<u32, Option<Verdict>>,
    patches: BTreeMap<u32, Stood>,
}

impl OfEndpoint {
    pub fn new(number: u32, census: &Census) -> OfEndpoint {
        OfEndpoint { number, until: census.gone.get(&number).map(|g| g.until), ..OfEndpoint::default() }
    }

    pub fn take(&mut self, at: At, turned: &Turned) -> Result<(), StoreError> {
        if self.until.is_some_and(|until| until <= at) {
            return Ok(());
        }
        match turned {
            Turned::Endpoint { number, verdicts, patches } if *number == self.number => {
                for (rule, turn) in verdicts {
                    self.verdicts.entry(*rule).or_insert(read_verdict_turn(*turn).0);
                }
                for (patch, turn) in patches {
                    self.patches.entry(*patch).or_insert(read_patch_turn(*turn).0);
                }
            }
            Turned::Rule { rule, turn, endpoints } => {
                let is_first = !self.verdicts.contains_key(rule) && endpoints_of(endpoints)?.contains(self.number);
                if is_first {
                    self.verdicts.insert(*rule, read_verdict_turn(*turn).0);
                }
            }
            Turned::Patch { patch, turn, endpoints } => {
                let is_first = !self.patches.contains_key(patch) && endpoints_of(endpoints)?.contains(self.number);
                if is_first {
                    self.patches.insert(*patch, read_patch_turn(*turn).0);
                }
            }
            Turned::Endpoint { .. } => {}
        }
        Ok(())
    }

    /// After the last turn: what turned since as it was, the rest as it is, or was when the endpoint went.
    pub fn done(self, last: &Last) -> (BTreeMap<u32, Verdict>, BTreeMap<u32, Stood>) {
        let mut verdicts: BTreeMap<u32, Verdict> =
            last.verdicts.iter().filter_map(|(rule, v)| Some((*rule, Verdict::from_u8(*v)?))).collect();
        for (rule, verdict) in self.verdicts {
            match verdict {
                Some(verdict) => drop(verdicts.insert(rule, verdict)),
                None => drop(verdicts.remove(&rule)),
            }
        }
        let mut patches: BTreeMap<u32, Stood> =
            last.patches.iter().filter_map(|(patch, code)| Some((*patch, Stood::from_code(*code)?))).collect();
        patches.extend(self.patches);
        patches.retain(|_, stood| *stood != Stood::NOTHING);
        (verdicts, patches)
    }
}

/// Whether what decides most patches was not collected.
pub fn was_not_collected(patches: &BTreeMap<u32, Stood>) -> bool {
    patches.get(&COLLECTED) == Some(&not_collected(true))
}
