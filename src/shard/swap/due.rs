//! Who must be looked at one by one after a switch: endpoints that baselines may require something else of, and open episodes of rules that turned.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use roaring::RoaringBitmap;

use super::change::Change;
use crate::fleet::EndpointId;
use crate::fleet::classes::{ClassId, Classes};
use crate::judge::Verdict;
use crate::pack::RuleId;
use crate::policy::{Policy, Resolved};
use crate::shard::{Of, Shard};

/// Endpoints that are looked at in one look.
const LOOKED: u32 = 16_384;

#[derive(Default)]
pub(super) struct Due {
    /// Groups or baselines are others.
    policy: bool,
    /// Patches are required by other ones.
    everyone: bool,
    /// Required rules whose verdict may have turned, or that may be required since.
    rules: Vec<RuleId>,
    /// By class: whether it fails one of them.
    fails: HashMap<ClassId, bool>,
    /// Endpoints to hold against the baselines.
    pub(super) endpoints: RoaringBitmap,
    /// Those that were touched since the lane began.
    pub(super) touched: RoaringBitmap,
    /// Open episodes of rules that turn.
    pub(super) episodes: BTreeSet<Of>,
    next: u32,
}

impl Due {
    pub(super) fn new(change: &Change, before: &Policy, after: &Resolved) -> Due {
        let policy = before.baselines != after.policy.baselines || before.groups != after.policy.groups;
        let patches = |p: &Policy| p.baselines.iter().any(|b| !b.patches.is_empty() || !b.lists.is_empty());
        let everyone = policy && (patches(before) || patches(&after.policy));
        let mut rules: Vec<RuleId> = after.required_rules().filter(|rule| policy || change.turns(*rule)).collect();
        rules.sort_unstable();
        rules.dedup();
        Due { policy, everyone, rules, ..Due::default() }
    }

    /// Whether a switch can ask anything of endpoints.
    pub(super) fn is_idle(&self, change: &Change) -> bool {
        !self.policy && change.turning.is_empty()
    }

    /// Goes on. `after` has the classes that endpoints will be in; nothing, if those stay that they are in. Whether all endpoints were looked at.
    pub(super) fn look(&mut self, shard: &Shard, change: &Change, after: Option<(&[ClassId], &Classes)>) -> bool {
        let end = shard.fleet.places();
        if self.is_idle(change) {
            return true;
        }
        let range = self.next..self.next.saturating_add(LOOKED).min(end);
        self.next = range.end;
        if !self.rules.is_empty() || self.everyone {
            range.clone().for_each(|at| self.look_at(shard, at, after));
        }
        let turning = |item: &str| change.turns_id(item);
        let tasks = shard.open_tasks_of(range.clone()).filter(|(_, item)| self.policy || turning(item));
        let tasks: Vec<u32> = tasks.map(|(at, _)| at.0).collect();
        self.endpoints.extend(tasks);
        let episodes = shard.open_episodes(range).filter(|(_, rule, _)| turning(rule));
        self.episodes.extend(episodes.map(|(at, rule, _)| (at, rule.into())));
        self.next >= end
    }

    fn look_at(&mut self, shard: &Shard, at: u32, after: Option<(&[ClassId], &Classes)>) {
        let Some(held) = shard.fleet.get(EndpointId(at)).and_then(|e| e.held.as_ref()) else { return };
        let (class, classes) = match after {
            Some((class_of, classes)) => (class_of.get(at as usize).copied(), classes),
            None => (Some(held.class), &shard.fleet.classes),
        };
        let rules = &self.rules;
        let fails = class.is_some_and(|class| {
            *self.fails.entry(class).or_insert_with(|| rules.iter().any(|rule| classes.verdict(class, *rule) == Verdict::Fail))
        });
        if fails || self.everyone {
            self.endpoints.insert(at);
        }
    }

    /// It was judged by the policy and the rules that are no more: everything of it is looked at.
    pub(super) fn touched(&mut self, at: EndpointId) {
        self.touched.insert(at.0);
    }
}
