//! What turned, written into history in the batch that it turned in; and the present, for questions about a past instant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{Applied, Shard};
use crate::drift::Flip;
use crate::fleet::shared::Labels;
use crate::fleet::{EndpointId, Held};
use crate::history::asof::{NONE, Present};
use crate::history::book::{Book, Kind, patch_name};
use crate::history::record::{COLLECTED, Last, PolicyThen, Turned, Who, not_collected, patch_turn, verdict_turn};
use crate::history::{PatchTurn, RuleTurn, Stood};
use crate::pack::Pack;
use crate::patch::catalog::Catalog;
use crate::rule::Severity;
use crate::state::Batch;

impl Shard {
    /// What a new pack or policy turned, for all endpoints. In the batch in which readers see it.
    pub(crate) fn record_turns(&mut self, turns: &[RuleTurn], _now_ms: i64, out: &mut Applied) {
        turns.iter().for_each(|turn| self.history.rule_turn(turn, &mut out.batch));
        self.trends.doubt();
    }

    /// What a new catalog, or a decision about many endpoints, turned.
    pub(crate) fn record_patch_turns(&mut self, turns: &[PatchTurn], _now_ms: i64, out: &mut Applied) {
        turns.iter().for_each(|turn| self.history.patch_turn(turn, &mut out.batch));
        self.trends.doubt();
    }

    /// What is known of history without reading it.
    pub fn history(&self) -> &Book {
        &self.history
    }

    pub(super) fn history_mut(&mut self) -> &mut Book {
        &mut self.history
    }

    /// The verdicts of an endpoint that an upload turned; its patches follow with [`Shard::record_patches`].
    pub(super) fn record_flips(&mut self, at: EndpointId, flips: &[Flip], batch: &mut Batch) {
        let mut verdicts = Vec::with_capacity(flips.len());
        for flip in flips {
            let number = self.history.rule(self.pack.rule_id(flip.rule), batch);
            verdicts.push((number, verdict_turn(Some(flip.from), Some(flip.to))));
        }
        if !verdicts.is_empty() {
            self.history.turned(Turned::Endpoint { number: at.0, verdicts, patches: Vec::new() });
        }
    }

    /// Patches that turned at one endpoint, by the names that the present catalog has for them.
    pub(super) fn record_stood(&mut self, at: EndpointId, turned: &[(u32, Stood, Stood)]) {
        let patches: Vec<(u32, u16)> =
            turned.iter().filter(|(_, from, to)| from != to).map(|(patch, from, to)| (*patch, patch_turn(*from, *to))).collect();
        if !patches.is_empty() {
            self.history.turned(Turned::Endpoint { number: at.0, verdicts: Vec::new(), patches });
        }
    }

    /// What an endpoint has, by the numbers of history.
    pub(super) fn last_of(&mut self, at: EndpointId, batch: &mut Batch) -> Option<Last> {
        let held: Held = self.fleet.get(at)?.held.clone()?;
        let verdicts = self.fleet.classes.verdicts(held.class);
        let mut last = Last::default();
        for rule in self.pack.rules().filter(|r| !self.pack.rule(*r).requirement) {
            if let Some(verdict) = verdicts.get(rule.index()) {
                last.verdicts.push((self.history.rule(self.pack.rule_id(rule), batch), *verdict));
            }
        }
        if self.posture(at).not_collected {
            last.patches.push((COLLECTED, not_collected(true).code()));
        }
        for (feed, patch, stood) in self.stood_at(at) {
            last.patches.push((self.history.patch(&feed, &patch, batch), stood.code()));
        }
        last.verdicts.sort_unstable();
        last.patches.sort_unstable();
        Some(last)
    }

    /// How the patches stand that rows of an endpoint note: feed, patch, and how.
    pub fn stood_at(&self, at: EndpointId) -> Vec<(String, String, Stood)> {
        let named = |(patch, stood): (_, Stood)| {
            let (name, feed) = self.catalog.id(patch)?;
            (stood != Stood::NOTHING).then(|| (feed.to_owned(), name.to_owned(), stood))
        };
        self.all_stood(at).into_iter().filter_map(named).collect()
    }

    /// The fleet is held against something else from now on, or may be.
    pub(super) fn record_policy(&mut self, now_ms: i64) {
        let before = &self.history.head.policy;
        let policy = &self.policy.policy;
        let next = PolicyThen {
            since_ms: now_ms,
            pack: self.pack.digest().to_owned(),
            packs: self.pack.infos().iter().map(|i| (i.id.clone(), i.version.clone())).collect(),
            catalog: before.catalog.clone(),
            groups: policy.groups.clone(),
            excluded: policy.excluded.iter().cloned().collect(),
            baselines: policy.baselines.iter().map(|b| b.name.clone()).collect(),
        };
        self.history.policy(next);
    }

    /// The rules are others: those that are new have numbers from now on, and those whose severity turned had another one.
    pub(super) fn record_pack(&mut self, old: &Pack, out: &mut Applied) {
        let severities = |pack: &Pack| -> BTreeMap<String, Severity> {
            let rules = pack.rules().filter(|r| !pack.rule(*r).requirement);
            rules.map(|r| (pack.rule_id(r).to_owned(), pack.rule(r).severity)).collect()
        };
        let (old, new) = (severities(old), severities(&self.pack));
        let mut before = Vec::new();
        for rule in old.keys().chain(new.keys().filter(|r| !old.contains_key(*r))) {
            let number = self.history.rule(rule, &mut out.batch);
            if old.get(rule) != new.get(rule) {
                before.push((number, old.get(rule).copied()));
            }
        }
        if !before.is_empty() {
            self.history.who(Who::Severities { before });
        }
    }

    /// Another catalog: whether what turns by it is to be written down. It is not where the process only comes back to the catalog that it had.
    pub(super) fn catalog_turns(&mut self, before: &str, now: &str, now_ms: i64) -> bool {
        let known = self.history.head.policy.catalog.clone();
        let was = |digest: &str| known == digest || (known.is_empty() && digest == Catalog::default().digest());
        if !was(now) {
            let next = PolicyThen { since_ms: now_ms, catalog: now.to_owned(), ..self.history.head.policy.clone() };
            self.history.policy(next);
        }
        // The process only comes back to the catalog that it had.
        if was(now) || self.fleet.index().held().is_empty() {
            return false;
        }
        // There was none: nobody knew how patches stood. Or it changed while the process was away, and what it said before is gone.
        if !was(before) || before == Catalog::default().digest() {
            self.history.lose_patches(now_ms);
            return false;
        }
        true
    }

    /// Whether patch states in memory are those that history goes on from.
    pub(super) fn has_known_catalog(&self) -> bool {
        let known = &self.history.head.policy.catalog;
        *known == self.catalog_digest() || (known.is_empty() && self.catalog.is_empty())
    }

    /// The catalog is there before anything is applied.
    pub(super) fn catalog_at_start(&mut self) {
        let digest = self.catalog_digest().to_owned();
        if self.history.head.policy.catalog != digest {
            self.history.head.policy.catalog = digest;
            self.catalog_unknown = !self.fleet.index().held().is_empty();
        }
    }

    /// Another catalog numbers its patches otherwise.
    pub(super) fn renumbered(&mut self) {
        self.history.renumbered();
        self.trends.renumbered();
    }

    /// A batch begins.
    pub(super) fn begin_history(&mut self, now_ms: i64) {
        self.history.begin(now_ms);
        if std::mem::take(&mut self.catalog_unknown) {
            self.history.lose_patches(now_ms);
        }
    }

    /// The present for a question about a past instant: of endpoints with these labels and of these, if they are given; and the ids of some.
    pub fn present(&self, labels: &Labels, named: Option<&RoaringBitmap>, ids: impl Iterator<Item = u32>) -> Present {
        let names = self.history.names(Kind::Rule);
        let mut rule_names: Vec<Arc<str>> = names.all().to_vec();
        let mut rules = Vec::with_capacity(self.pack.rule_count());
        for rule in self.pack.rules() {
            let of = self.pack.rule(rule);
            rules.push((!of.requirement).then(|| {
                let id = self.pack.rule_id(rule);
                let number = names.find(id).unwrap_or_else(|| {
                    rule_names.push(id.into());
                    u32::try_from(rule_names.len() - 1).unwrap_or(u32::MAX)
                });
                (number, of.severity)
            }));
        }
        let mut present = Present { head: self.history.head.clone(), rule_names, rules, ..Present::default() };
        for number in 0..self.fleet.places() {
            let endpoint = self.fleet.get(EndpointId(number));
            let class = endpoint.and_then(|e| e.held.as_ref()).map_or(NONE, |h| h.class);
            if endpoint.is_some() {
                present.alive.insert(number);
            }
            if class != NONE && !present.verdicts.contains_key(&class) {
                present.verdicts.insert(class, self.fleet.classes.verdicts(class).into());
            }
            present.classes.push(class);
        }
        present.postures = (0..self.fleet.places()).map(|n| self.posture(EndpointId(n))).collect();
        let labelled = |(name, value): (&String, &String)| self.fleet.index().labelled(name, value).cloned().unwrap_or_default();
        let labelled = labels.iter().map(labelled).reduce(|a, b| a & b);
        present.members = match (labelled, named) {
            (Some(labelled), Some(named)) => Some(labelled & named),
            (labelled, named) => labelled.or_else(|| named.cloned()),
        };
        present.ids = ids.filter_map(|n| Some((n, self.fleet.get(EndpointId(n))?.id.clone()))).collect();
        present
    }

    /// What an endpoint has now, by the numbers of history; and the names of patches that have none yet.
    pub fn present_of(&self, at: EndpointId, present: &Present) -> (Last, Vec<Arc<str>>) {
        let mut names = self.history.names(Kind::Patch).all().to_vec();
        if names.is_empty() {
            names.push("".into());
        }
        let mut last = Last::default();
        if self.posture(at).not_collected {
            last.patches.push((COLLECTED, not_collected(true).code()));
        }
        for (feed, patch, stood) in self.stood_at(at) {
            let name = patch_name(&feed, &patch);
            let number = self.history.names(Kind::Patch).find(&name).unwrap_or_else(|| {
                names.push(name.as_str().into());
                u32::try_from(names.len() - 1).unwrap_or(u32::MAX)
            });
            last.patches.push((number, stood.code()));
        }
        let class = self.fleet.get(at).and_then(|e| e.held.as_ref()).map(|h| h.class);
        let verdicts = class.map(|c| self.fleet.classes.verdicts(c)).unwrap_or_default();
        let both = present.rules.iter().zip(verdicts);
        last.verdicts = both.filter_map(|(rule, verdict)| Some(((*rule)?.0, verdict))).collect();
        (last, names)
    }
}

/// How patches stand over the fleet, for what a change of everything turns: images, and what endpoints have beside theirs.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) images: BTreeMap<crate::fleet::image::ImageId, BTreeMap<u32, Stood>>,
    pub(super) endpoints: BTreeMap<u32, Own>,
}

/// What one endpoint has beside its image; or all that it has.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) image: Option<crate::fleet::image::ImageId>,
    pub(super) patches: Vec<(u32, Stood)>,
}

impl Standing {
    /// What turned from one to the other.
    pub(super) fn turns(&self, now: &Standing) -> BTreeMap<(u32, Stood, Stood), RoaringBitmap> {
        let none = BTreeMap::new();
        let mut images: BTreeMap<_, Vec<(u32, Stood, Stood)>> = BTreeMap::new();
        for (image, after) in &now.images {
            let before = self.images.get(image).unwrap_or(&none);
            let patches: BTreeSet<u32> = before.keys().chain(after.keys()).copied().collect();
            let turned = patches.into_iter().map(|p| (p, stood(before, p), stood(after, p)));
            images.insert(*image, turned.filter(|(_, from, to)| from != to).collect());
        }
        let (mut turns, nothing): (BTreeMap<_, RoaringBitmap>, _) = (BTreeMap::new(), Own::default());
        for (number, after) in &now.endpoints {
            let before = self.endpoints.get(number).unwrap_or(&nothing);
            let mut patches: BTreeSet<u32> = before.patches.iter().chain(&after.patches).map(|(p, _)| *p).collect();
            if before.image == after.image {
                patches.extend(after.image.and_then(|i| images.get(&i)).into_iter().flatten().map(|(p, ..)| *p));
            } else {
                let of = |own: &Own, standing: &Standing| {
                    own.image.and_then(|i| standing.images.get(&i)).map(|i| i.keys().copied().collect::<Vec<u32>>())
                };
                patches.extend(of(before, self).into_iter().chain(of(after, now)).flatten());
            }
            for patch in patches {
                let (from, to) = (before.stood(patch, self), after.stood(patch, now));
                if from != to {
                    turns.entry((patch, from, to)).or_default().insert(*number);
                }
            }
        }
        turns
    }
}

fn stood(of: &BTreeMap<u32, Stood>, patch: u32) -> Stood {
    of.get(&patch).copied().unwrap_or_default()
}

impl Own {
    fn stood(&self, patch: u32, standing: &Standing) -> Stood {
        match self.patches.binary_search_by_key(&patch, |(p, _)| *p) {
            Ok(at) => self.patches.get(at).map_or(Stood::NOTHING, |(_, stood)| *stood),
            Err(_) => self.image.and_then(|i| standing.images.get(&i)).map_or(Stood::NOTHING, |i| stood(i, patch)),
        }
    }
}
