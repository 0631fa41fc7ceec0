//! What verdicts that turn would set in motion: episodes that end, tasks of mandatory baselines, events to sinks.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use super::Summary;
use crate::deploy::Change;
use crate::drift::{Stand, stand};
use crate::event::subscribed;
use crate::fleet::EndpointId;
use crate::judge::Verdict;
use crate::judge::inverted::Answer;
use crate::pack::Pack;
use crate::policy::{Baseline, Group, Subscription};
use crate::question::Look;
use crate::shard::Shard;

const RULE_CHANGED: &str = "drift.rule_changed";

/// What of the policy says what follows from verdicts.
#[derive(Clone, Debug)]
pub(super) struct Policies {
    pub(super) groups: Vec<Group>,
    pub(super) excluded: BTreeSet<String>,
    baselines: Vec<Baseline>,
    subscriptions: Vec<Subscription>,
}

/// What is open, by rule: as it was a moment before.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    episodes: BTreeMap<String, RoaringBitmap>,
    tasks: BTreeMap<String, RoaringBitmap>,
}

/// Endpoints that are looked at under one lock.
const LOOKED_AT: u32 = 20_000;

impl Open {
    /// Of these rules, at some endpoints or at all.
    pub(super) fn of<'r, L: Look>(look: &L, rules: impl Iterator<Item = &'r str>, among: Option<&RoaringBitmap>) -> Open {
        let none: BTreeMap<String, RoaringBitmap> = rules.map(|r| (r.to_owned(), RoaringBitmap::new())).collect();
        let mut open = Open { episodes: none.clone(), tasks: none };
        let is_asked = |at: EndpointId| among.is_none_or(|a| a.contains(at.0));
        let (mut from, mut end) = (0u32, 1);
        while from < end {
            end = look.look(|shard| {
                let to = from.saturating_add(LOOKED_AT);
                for (at, rule, _) in shard.open_episodes(from..to).filter(|(at, ..)| is_asked(*at)) {
                    if let Some(endpoints) = open.episodes.get_mut(rule) {
                        endpoints.insert(at.0);
                    }
                }
                for (at, item) in shard.open_tasks_of(from..to).filter(|(at, _)| is_asked(*at)) {
                    if let Some(endpoints) = open.tasks.get_mut(item) {
                        endpoints.insert(at.0);
                    }
                }
                from = to;
                shard.fleet.places()
            });
        }
        open
    }
}

/// Of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) episodes_end: u64,
    pub(super) tasks_queued: u64,
    pub(super) tasks_confirmed: u64,
    pub(super) tasks_withdrawn: u64,
}

impl Effect {
    pub(super) fn tasks_ended(&self) -> u64 {
        self.tasks_confirmed + self.tasks_withdrawn
    }
}

impl Policies {
    pub(super) fn of(shard: &Shard) -> Policies {
        let policy = &shard.policy.policy;
        Policies {
            groups: policy.groups.clone(),
            excluded: policy.excluded.clone(),
            baselines: policy.baselines.clone(),
            subscriptions: policy.subscriptions.clone(),
        }
    }

    /// What follows from a rule's new verdicts, or from its end. `fix`: a task can carry out what the rule wants.
    #[expect(clippy::too_many_arguments, reason = "a rule's verdicts, and what they are held against")]
    pub(super) fn effect(
        &self,
        shard: &Shard,
        open: &Open,
        rule: &str,
        new: Option<&Answer>,
        fix: bool,
        among: Option<&RoaringBitmap>,
        groups: &[(String, RoaringBitmap)],
    ) -> Effect {
        let index = shard.fleet.index();
        let mut effect = Effect::default();
        let none = RoaringBitmap::new();
        for at in open.episodes.get(rule).unwrap_or(&none) {
            let to = new.and_then(|n| n.verdict_of(index, at));
            effect.episodes_end += u64::from(to.is_none_or(|v| stand(v) == Stand::Clear));
        }
        if !self.baselines.iter().any(|b| b.rules.iter().any(|r| r == rule)) {
            return effect;
        }
        let required = self.required(shard, rule, fix && new.is_some(), groups);
        let open = open.tasks.get(rule).unwrap_or(&none);
        for at in open {
            match new.and_then(|n| n.verdict_of(index, at)).filter(|_| required.contains(at)) {
                None | Some(Verdict::NotApplicable) => effect.tasks_withdrawn += 1,
                Some(Verdict::Pass) => effect.tasks_confirmed += 1,
                Some(_) => {}
            }
        }
        let failing = new.map(|n| n.members(index, |v| v == Verdict::Fail, among)).unwrap_or_default();
        effect.tasks_queued = ((failing & required) - open).len();
        effect
    }

    /// The endpoints at which a baseline requires the rule.
    fn required(&self, shard: &Shard, rule: &str, can: bool, groups: &[(String, RoaringBitmap)]) -> RoaringBitmap {
        let mut out = RoaringBitmap::new();
        for baseline in self.baselines.iter().filter(|b| can && b.rules.iter().any(|r| r == rule)) {
            match &baseline.group {
                None => out |= shard.fleet.index().held(),
                Some(name) => groups.iter().filter(|(group, _)| group == name).for_each(|(_, endpoints)| out |= endpoints),
            }
        }
        out
    }

    /// Adds the events of one rule to the sum.
    pub(super) fn tell(&self, summary: &mut Summary, turned: bool, effect: &Effect) {
        let events = [
            (RULE_CHANGED, u64::from(turned)),
            (Change::Queued.event(), effect.tasks_queued),
            (Change::Confirmed.event(), effect.tasks_confirmed),
            (Change::Withdrawn.event(), effect.tasks_withdrawn),
        ];
        for (kind, count) in events.into_iter().filter(|(_, count)| *count > 0) {
            summary.events += count;
            for sink in self.subscriptions.iter().filter(|s| subscribed(&s.events, kind)) {
                *summary.sinks.entry(sink.sink.clone()).or_default() += count;
            }
        }
    }

    /// Why a configuration with these rules would be refused.
    pub(super) fn problems(&self, present: &Pack, given: &Pack, replace: bool) -> Vec<String> {
        let meta = |rule: &str| {
            let kept = || if replace { None } else { present.find(rule).map(|r| present.meta(r)) };
            given.find(rule).map(|r| given.meta(r)).or_else(kept)
        };
        let mut out = Vec::new();
        for baseline in &self.baselines {
            for rule in &baseline.rules {
                match meta(rule) {
                    None => out.push(format!("baseline `{}`: no rule `{rule}` in the packs", baseline.name)),
                    Some(m) if m.fix.is_none() => {
                        out.push(format!("baseline `{}`: rule `{rule}` has no `fix` that a task could carry out", baseline.name));
                    }
                    Some(_) => {}
                }
            }
        }
        out.extend(self.excluded.iter().filter(|r| meta(r).is_none()).map(|r| format!("`exclude`: no rule `{r}` in the packs")));
        out
    }
}
