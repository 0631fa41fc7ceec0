//! What the configuration wants of the fleet: groups, mandatory baselines, subscriptions, drift. Plain data, resolved against a pack.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::deploy::Action;
use crate::drift::DriftPolicy;
use crate::fleet::Endpoint;
use crate::pack::{Pack, Requirement, RuleId};
use crate::rule::FixState;
use crate::rule::pattern::pattern_matches;

/// Endpoints by id patterns, labels, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// `*` and `?`; empty: any id.
    pub endpoints: Vec<String>,
    /// All must fit.
    pub labels: BTreeMap<String, String>,
}

impl Group {
    pub fn holds(&self, endpoint: &Endpoint) -> bool {
        self.means(&endpoint.id, &endpoint.labels)
    }

    /// The same of an endpoint of this id and these labels.
    pub fn means(&self, id: &str, labels: &BTreeMap<String, String>) -> bool {
        let named = self.endpoints.is_empty() || self.endpoints.iter().any(|p| pattern_matches(p, id));
        named && self.labels.iter().all(|(k, v)| labels.get(k) == Some(v))
    }
}

/// What every endpoint of a group must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    pub name: String,
    /// `None`: all endpoints.
    pub group: Option<String>,
    pub packages: Vec<Requirement>,
    /// Rules with a fix that a task can carry out.
    pub rules: Vec<String>,
    /// Patches by id.
    pub patches: Vec<String>,
    /// Lists of patches by name; what is on them at the time is required.
    pub lists: Vec<String>,
}

/// A sink and what it wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub sink: String,
    pub events: Vec<String>,
}

/// How long an endpoint is not heard of until it is so, in milliseconds. 0: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshnessPolicy {
    /// What is known of it may not be so any more.
    pub stale_ms: i64,
    /// Somebody should look: an event says so.
    pub silent_ms: i64,
    /// It is removed.
    pub cull_ms: i64,
}

impl Default for FreshnessPolicy {
    fn default() -> FreshnessPolicy {
        const DAY_MS: i64 = 24 * 3_600_000;
        FreshnessPolicy { stale_ms: DAY_MS, silent_ms: 7 * DAY_MS, cull_ms: 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub groups: Vec<Group>,
    pub baselines: Vec<Baseline>,
    pub subscriptions: Vec<Subscription>,
    pub drift: DriftPolicy,
    pub freshness: FreshnessPolicy,
    /// Rules that are not selected.
    pub excluded: BTreeSet<String>,
    /// How long events are kept.
    pub retention_ms: i64,
    /// How long what turned is kept: how far back questions about a past instant reach.
    pub history_ms: i64,
    /// An endpoint that is enrolled is not enrolled again.
    pub refuse_again: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            groups: Vec::new(),
            baselines: Vec::new(),
            subscriptions: Vec::new(),
            drift: DriftPolicy { hold_ms: 0, reopen_ms: 24 * 3_600_000 },
            freshness: FreshnessPolicy::default(),
            excluded: BTreeSet::new(),
            retention_ms: 400 * 24 * 3_600_000,
            history_ms: 400 * 24 * 3_600_000,
            refuse_again: false,
        }
    }
}

/// One thing that a baseline requires, by the rule that judges it.
#[derive(Clone, Debug)]
pub struct Item {
    pub id: String,
    pub rule: RuleId,
    pub action: Action,
}

/// A policy and the pack it is about.
#[derive(Debug)]
pub struct Resolved {
    pub policy: Policy,
    /// For each baseline its items.
    items: Vec<Vec<Item>>,
    /// One a rule.
    pub selected: Vec<bool>,
}

impl Policy {
    /// The same for the same policy, for as long as this version of muster runs it.
    pub fn fingerprint(&self) -> String {
        blake3::hash(format!("{} {self:?}", env!("CARGO_PKG_VERSION")).as_bytes()).to_hex().to_string()
    }

    /// Whether a group of this name holds an endpoint.
    pub fn group_holds(&self, name: &str, endpoint: &Endpoint) -> bool {
        self.groups.iter().any(|g| g.name == name && g.holds(endpoint))
    }

    pub fn is_about(&self, baseline: &Baseline, endpoint: &Endpoint) -> bool {
        baseline.group.as_deref().is_none_or(|name| self.group_holds(name, endpoint))
    }

    /// The package requirements of all baselines, for the compiler.
    pub fn requirements(&self) -> Vec<Requirement> {
        self.baselines.iter().flat_map(|b| b.packages.iter().cloned()).collect()
    }

    /// Says what does not fit the pack: rules that it does not have, or that have no fix.
    pub fn problems(&self, pack: &Pack) -> Vec<String> {
        let mut out = Vec::new();
        for b in &self.baselines {
            for rule in &b.rules {
                match pack.find(rule) {
                    None => out.push(format!("baseline `{}`: no rule `{rule}` in the packs", b.name)),
                    Some(id) if pack.meta(id).fix.is_none() => {
                        out.push(format!("baseline `{}`: rule `{rule}` has no `fix` that a task could carry out", b.name));
                    }
                    Some(_) => {}
                }
            }
            if let Some(group) = &b.group
                && !self.groups.iter().any(|g| g.name == *group)
            {
                out.push(format!("baseline `{}`: no group `{group}`", b.name));
            }
        }
        out.extend(self.excluded.iter().filter(|r| pack.find(r).is_none()).map(|r| format!("`exclude`: no rule `{r}` in the packs")));
        out
    }

    pub fn resolve(self, pack: &Pack) -> Resolved {
        let by_rule = |id: &str| {
            let rule = pack.find(id)?;
            let action = Action::from(pack.meta(rule).fix.as_ref()?);
            Some(Item { id: id.to_owned(), rule, action })
        };
        let by_package = |r: &Requirement| {
            let id = r.rule_id();
            let (scheme, minimum) = r.minimum.clone().unzip();
            let action = Action { package: r.package.clone(), state: FixState::Installed, minimum, scheme, patch: None };
            Some(Item { rule: pack.find(&id)?, id, action })
        };
        let items = self
            .baselines
            .iter()
            .map(|b| b.packages.iter().filter_map(by_package).chain(b.rules.iter().filter_map(|r| by_rule(r))).collect())
            .collect();
        let selected = pack.rules().map(|r| !self.excluded.contains(pack.rule_id(r))).collect();
        Resolved { policy: self, items, selected }
    }
}

impl Resolved {
    /// The rules that baselines require to hold, some of them several times.
    pub fn required_rules(&self) -> impl Iterator<Item = RuleId> {
        self.items.iter().flatten().map(|item| item.rule)
    }

    /// What an endpoint must have, with the baselines that say so. In the order of items.
    pub fn required(&self, endpoint: &Endpoint) -> BTreeMap<&str, (&Item, Vec<String>)> {
        let mut out: BTreeMap<&str, (&Item, Vec<String>)> = BTreeMap::new();
        for (baseline, items) in self.policy.baselines.iter().zip(&self.items) {
            if !self.policy.is_about(baseline, endpoint) {
                continue;
            }
            for item in items {
                out.entry(&item.id).or_insert_with(|| (item, Vec::new())).1.push(baseline.name.clone());
            }
        }
        out
    }
}
