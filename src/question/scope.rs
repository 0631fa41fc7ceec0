//! Which endpoints are asked: `group, labels, platform, freshness -> a set of endpoints`.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::spec::{Scope, pack_of, rule_of};
use super::{Asking, InScope, Look, QuestionError};
use crate::fleet::EndpointId;
use crate::judge::Verdict;
use crate::judge::inverted::Asked;
use crate::limits::Limits;
use crate::pack::compile::applies;
use crate::policy::Group;
use crate::rule::Platform;
use crate::rule::check::suggest::hint;
use crate::rule::pattern::pattern_matches;
use crate::shard::Shard;

/// Endpoints that are looked at under one lock at most.
const LOOKED_AT: usize = 50_000;

/// A set of endpoints, as it was found.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// `None`: all.
    pub(super) endpoints: Option<RoaringBitmap>,
    without_scan: u64,
    unheard: u64,
    stale: u64,
}

impl Resolved {
    pub(super) fn counts(&self, asked: u64) -> InScope {
        InScope { asked, stale: self.stale, without_scan: self.without_scan, unheard: self.unheard }
    }
}

pub(super) fn resolve<L: Look>(look: &L, scope: &Scope, now_ms: i64) -> Result<Resolved, QuestionError> {
    let platform = scope.platform.as_deref().map(|p| platform(look, p)).transpose()?;
    let mut endpoints = named(look, scope)?;
    let mut unheard = 0;
    if let Some(fresh) = &scope.fresh {
        let fresh_ms = crate::config::duration(fresh).map_err(QuestionError::Bad)?;
        (endpoints, unheard) = heard_of(look, endpoints, now_ms - fresh_ms);
    }
    let without_scan = look.look(|shard| {
        let held = shard.fleet.index().held();
        match &endpoints {
            Some(endpoints) => endpoints.difference_len(&held),
            None => (shard.fleet.len() as u64).saturating_sub(held.len()),
        }
    });
    if let Some(platform) = platform {
        endpoints = Some(match endpoints {
            Some(endpoints) => endpoints & platform,
            None => platform,
        });
    }
    let stale = look.look(|shard| {
        let stale = shard.stale();
        let in_scope =
            |held: &RoaringBitmap| endpoints.as_ref().map_or(stale.intersection_len(held), |e| (stale & e).intersection_len(held));
        if stale.is_empty() { 0 } else { in_scope(&shard.fleet.index().held()) }
    });
    Ok(Resolved { endpoints, without_scan, unheard, stale })
}

/// By group and labels.
fn named<L: Look>(look: &L, scope: &Scope) -> Result<Option<RoaringBitmap>, QuestionError> {
    let mut endpoints: Option<RoaringBitmap> = None;
    if let Some(name) = &scope.group {
        let group = look.look(|shard| {
            let groups = &shard.policy.policy.groups;
            let unknown = || format!("no group `{name}` in the configuration{}", hint(name, groups.iter().map(|g| g.name.as_str())));
            groups.iter().find(|g| g.name == *name).cloned().ok_or_else(|| QuestionError::Bad(unknown()))
        })?;
        endpoints = Some(of_group(look, &group));
    }
    if !scope.labels.is_empty() {
        let labelled = look.look(|shard| of_labels(shard, &scope.labels));
        endpoints = Some(match endpoints {
            Some(endpoints) => endpoints & labelled,
            None => labelled,
        });
    }
    Ok(endpoints)
}

fn of_labels(shard: &Shard, labels: &BTreeMap<String, String>) -> RoaringBitmap {
    use roaring::MultiOps;
    let sets: Option<Vec<&RoaringBitmap>> = labels.iter().map(|(k, v)| shard.fleet.index().labelled(k, v)).collect();
    sets.map(MultiOps::intersection).unwrap_or_default()
}

/// The endpoints of a group. Patterns of ids are walked from their first letters on, in slices.
pub(super) fn of_group<L: Look>(look: &L, group: &Group) -> RoaringBitmap {
    let labelled = (!group.labels.is_empty()).then(|| look.look(|shard| of_labels(shard, &group.labels)));
    if group.endpoints.is_empty() {
        return labelled.unwrap_or_else(|| look.look(|shard| shard.fleet.iter().map(|(at, _)| at.0).collect()));
    }
    let mut named = RoaringBitmap::new();
    for pattern in &group.endpoints {
        let prefix = pattern.split(['*', '?']).next().unwrap_or_default();
        let mut after = None;
        while let Some(next) = look.look(|shard| ids(shard, pattern, prefix, after.as_deref(), &mut named)) {
            after = Some(next);
        }
    }
    match labelled {
        Some(labelled) => named & labelled,
        None => named,
    }
}

/// Takes a slice of the endpoints whose ids fit a pattern. The last id that was looked at, if there are more.
fn ids(shard: &Shard, pattern: &str, prefix: &str, after: Option<&str>, into: &mut RoaringBitmap) -> Option<String> {
    if after.is_none()
        && let Some(at) = shard.fleet.find(prefix)
        && pattern_matches(pattern, prefix)
    {
        into.insert(at.0);
    }
    for (looked_at, (at, endpoint)) in shard.fleet.after(after.unwrap_or(prefix)).enumerate() {
        if !endpoint.id.starts_with(prefix) {
            return None;
        }
        if pattern_matches(pattern, &endpoint.id) {
            into.insert(at.0);
        }
        if looked_at >= LOOKED_AT {
            return Some(endpoint.id.to_string());
        }
    }
    None
}

/// Those heard of since then, and how many were not.
fn heard_of<L: Look>(look: &L, endpoints: Option<RoaringBitmap>, since_ms: i64) -> (Option<RoaringBitmap>, u64) {
    let mut heard = RoaringBitmap::new();
    let (mut from, mut unheard) = (0u32, 0u64);
    loop {
        let end = look.look(|shard| {
            let to = shard.fleet.places().min(from.saturating_add(u32::try_from(LOOKED_AT).unwrap_or(u32::MAX)));
            for at in (from..to).filter(|at| endpoints.as_ref().is_none_or(|e| e.contains(*at))) {
                if shard.fleet.get(EndpointId(at)).is_none() {
                    continue;
                }
                if shard.seen_ms(EndpointId(at)) >= since_ms {
                    heard.insert(at);
                } else {
                    unheard += 1;
                }
            }
            from = to;
            shard.fleet.places()
        });
        if from >= end {
            return (Some(heard), unheard);
        }
    }
}

/// The endpoints that are of a platform for certain.
fn platform<L: Look>(look: &L, text: &str) -> Result<RoaringBitmap, QuestionError> {
    let (id, version) = text.split_once(':').map_or((text, None), |(id, version)| (id, Some(version.to_owned())));
    if id.is_empty() || version.as_ref().is_some_and(String::is_empty) {
        return Err(QuestionError::Bad(format!("`{text}` is no platform, write `linux`, `debian` or `debian:12`")));
    }
    let platforms = [Platform { id: id.to_owned(), version }];
    let pack = pack_of(vec![rule_of("platform", String::new(), applies(&platforms, None), Verdict::Fail)]);
    let pack = Arc::new(pack.map_err(|e| QuestionError::Bad(e.to_string()))?);
    let Some(rule) = pack.rules().next() else { return Ok(RoaringBitmap::new()) };
    let limits: Limits = look.look(|shard| shard.limits().clone());
    let asking = Asking::new(look, Asked::new(pack, &[rule]), &limits);
    asking.answer(rule, None, |shard, answer| answer.members(shard.fleet.index(), |v| v == Verdict::Pass, None))
}
