//! How classes part: endpoints of one class that get other verdicts of the changed rules are told apart, without judging each of them.
//!
//! What the changed rules say of an endpoint is what they say of its cluster (its image, and what was collected), but for the rules in which its own deviations
//! turn something. Those are followed as a way through a tree: each step is one rule and its verdict, rules come in one order, and so endpoints at one node have the same
//! exceptions. Old class, cluster's verdicts, node and what joined rules say: who has all four alike is one **group**, and has one verdict vector.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::change::Change;
use crate::fleet::EndpointId;
use crate::fleet::classes::{ClassId, Classes};
use crate::judge::Verdict;
use crate::judge::inverted::Answer;
use crate::pack::RuleId;
use crate::shard::Shard;

/// No class, no group, no vector.
pub(super) const NONE: u32 = u32::MAX;
/// Endpoints that are looked at, and groups that get their vector, in one look.
const ENDPOINTS: u32 = 16_384;
const GROUPS: usize = 512;

#[derive(Clone, Copy)]
struct Node {
    before: u32,
    rule: u32,
    verdict: u8,
}

/// Endpoints that are alike, before and after.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) class: ClassId,
    base: u32,
    node: u32,
    joined: u32,
    pub(super) endpoints: u32,
    /// The class after.
    pub(super) to: ClassId,
}

/// Byte vectors, each with a number.
#[derive(Default)]
pub(super) struct Vectors {
    numbers: HashMap<Box<[u8]>, u32>,
    all: Vec<Box<[u8]>>,
}

impl Vectors {
    pub(super) fn number(&mut self, vector: Vec<u8>) -> u32 {
        if let Some(known) = self.numbers.get(vector.as_slice()) {
            return *known;
        }
        // INVARIANT: no more vectors than endpoints or clusters, which are numbered by u32.
        let number = u32::try_from(self.all.len()).unwrap_or(NONE);
        let vector = vector.into_boxed_slice();
        self.all.push(vector.clone());
        self.numbers.insert(vector, number);
        number
    }

    pub(super) fn get(&self, number: u32) -> &[u8] {
        self.all.get(number as usize).map_or(&[], |v| v)
    }
}

#[derive(Default)]
pub(super) struct Parts {
    /// By endpoint: its node; then its group.
    of: Vec<u32>,
    nodes: Vec<Node>,
    /// For each plain rule, in their order, by cluster.
    answers: Vec<Vec<u8>>,
    /// What plain rules say of clusters.
    bases: Vectors,
    base_of: Vec<u32>,
    /// What joined rules say of endpoints.
    joined: Vectors,
    joined_of: Vec<u32>,
    numbers: HashMap<(ClassId, u32, u32, u32), u32>,
    pub(super) groups: Vec<Group>,
    next: u32,
}

impl Parts {
    pub(super) fn new(places: u32) -> Parts {
        // The first node is that of no exception.
        let nodes = vec![Node { before: NONE, rule: 0, verdict: 0 }];
        Parts { of: vec![0; places as usize], nodes, joined_of: vec![NONE; places as usize], ..Parts::default() }
    }

    /// Takes the verdicts of the next plain rule.
    pub(super) fn take(&mut self, answer: Answer) {
        let rule = u32::try_from(self.answers.len()).unwrap_or(NONE);
        let (bases, others) = answer.into_parts();
        self.answers.push(bases.into_iter().map(|v| v.unwrap_or(Verdict::Error) as u8).collect());
        let mut steps: HashMap<(u32, u8), u32> = HashMap::new();
        for (at, verdict) in others {
            let Some(place) = self.of.get_mut(at as usize) else { continue };
            let step = (*place, verdict as u8);
            *place = *steps.entry(step).or_insert_with(|| {
                self.nodes.push(Node { before: step.0, rule, verdict: step.1 });
                // INVARIANT: no more nodes than deviations, which are numbered by u32.
                u32::try_from(self.nodes.len() - 1).unwrap_or(0)
            });
        }
    }

    /// How many plain rules were taken.
    pub(super) fn judged(&self) -> usize {
        self.answers.len()
    }

    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.of.len()).unwrap_or(NONE)
    }

    /// Takes what the joined rules say of an endpoint.
    pub(super) fn take_joined(&mut self, at: u32, verdicts: Vec<u8>) {
        let number = self.joined.number(verdicts);
        if let Some(place) = self.joined_of.get_mut(at as usize) {
            *place = number;
        }
    }

    /// After the last plain rule: clusters of which all rules say the same have one base.
    pub(super) fn settle(&mut self) {
        let clusters = self.answers.iter().map(Vec::len).min().unwrap_or(0);
        let of = |cluster: usize| self.answers.iter().map(|rule| rule.get(cluster).copied().unwrap_or(0)).collect::<Vec<u8>>();
        self.base_of = (0..clusters).map(|cluster| self.bases.number(of(cluster))).collect();
        if self.answers.is_empty() {
            self.bases.number(Vec::new());
        }
        self.answers = Vec::new();
    }

    /// Goes on with telling endpoints apart. Whether all are.
    pub(super) fn group(&mut self, shard: &Shard) -> bool {
        let plain = !self.base_of.is_empty();
        let end = u32::try_from(self.of.len()).unwrap_or(NONE);
        let last = self.next.saturating_add(ENDPOINTS).min(end);
        for at in self.next..last {
            let group = shard.fleet.get(EndpointId(at)).and_then(|e| e.held.as_ref()).and_then(|held| {
                let cluster = shard.fleet.index().cluster_of(at) as usize;
                // An image that came since has only endpoints that were touched.
                let base = if plain { self.base_of.get(cluster).copied()? } else { 0 };
                let (node, joined) = (self.of.get(at as usize).copied()?, self.joined_of.get(at as usize).copied()?);
                Some(self.group_of((held.class, base, node, joined)))
            });
            if let Some(place) = self.of.get_mut(at as usize) {
                *place = group.unwrap_or(NONE);
            }
        }
        self.next = last;
        last == end
    }

    fn group_of(&mut self, key: (ClassId, u32, u32, u32)) -> u32 {
        let (class, base, node, joined) = key;
        let number = *self.numbers.entry(key).or_insert_with(|| {
            self.groups.push(Group { class, base, node, joined, endpoints: 0, to: NONE });
            // INVARIANT: no more groups than endpoints.
            u32::try_from(self.groups.len() - 1).unwrap_or(NONE)
        });
        if let Some(group) = self.groups.get_mut(number as usize) {
            group.endpoints += 1;
        }
        number
    }

    /// Whether every group has its class; else goes on with those of some.
    pub(super) fn classify(&mut self, shard: &Shard, change: &Change, heirs: &mut Heirs) -> bool {
        heirs.begin(&self.groups);
        let now: Vec<(usize, u32)> = heirs.order.iter().copied().enumerate().skip(heirs.next).take(GROUPS).collect();
        heirs.next += now.len();
        for (at, number) in now {
            let Some(group) = self.groups.get(number as usize).copied() else { continue };
            // Where the class has gone all of its endpoints were touched, and are judged one by one.
            if !shard.fleet.classes.contains(group.class) {
                continue;
            }
            let vector = self.vector(group, &shard.fleet.classes.verdicts(group.class), change);
            if let Some(group) = self.groups.get_mut(number as usize) {
                group.to = heirs.class(at, group.class, &vector);
            }
        }
        heirs.next >= heirs.order.len()
    }

    /// The verdicts of a group under the new pack.
    fn vector(&self, group: Group, old: &[u8], change: &Change) -> Vec<u8> {
        let mut vector = carried(old, change);
        let set = |vector: &mut Vec<u8>, rule: Option<&RuleId>, verdict: u8| {
            if let Some(place) = rule.and_then(|rule| vector.get_mut(rule.index())) {
                *place = verdict;
            }
        };
        change.plain.iter().zip(self.bases.get(group.base)).for_each(|(rule, verdict)| set(&mut vector, Some(rule), *verdict));
        change.joined.iter().zip(self.joined.get(group.joined)).for_each(|(rule, verdict)| set(&mut vector, Some(rule), *verdict));
        let mut at = group.node;
        while let Some(node) = self.nodes.get(at as usize).filter(|node| node.before != NONE) {
            set(&mut vector, change.plain.get(node.rule as usize), node.verdict);
            at = node.before;
        }
        vector
    }

    /// By endpoint: its group, or [`NONE`].
    pub(super) fn groups_of(&self) -> &[u32] {
        &self.of
    }

    /// What is needed no more once every group has its class.
    pub(super) fn forget(&mut self) {
        (self.nodes, self.base_of, self.joined_of) = Default::default();
        (self.bases, self.joined, self.numbers) = Default::default();
    }
}

/// The verdicts that are as they were, and those of rules that are not selected; the others are to be filled in.
pub(super) fn carried(old: &[u8], change: &Change) -> Vec<u8> {
    let of = |kept: &Option<RuleId>| kept.and_then(|rule| old.get(rule.index()).copied());
    change.kept.iter().map(|kept| of(kept).unwrap_or(Verdict::NotSelected as u8)).collect()
}

/// Who goes on with the id of a class: the group of most endpoints. So most of them need no other record.
pub(super) struct Heirs {
    pub(super) classes: Classes,
    /// Groups: first the largest of each class, then the others.
    order: Vec<u32>,
    heirs: usize,
    next: usize,
    begun: bool,
    merged: bool,
}

/// Classes with verdicts that others have too are put up with until they are so many; then they become one, and their endpoints get other records.
const TWINS: usize = 1024;

impl Heirs {
    pub(super) fn new(classes: Classes) -> Heirs {
        Heirs { classes, order: Vec::new(), heirs: 0, next: 0, begun: false, merged: false }
    }

    fn begin(&mut self, groups: &[Group]) {
        if self.begun {
            return;
        }
        self.begun = true;
        let mut largest: BTreeMap<ClassId, (u32, u32)> = BTreeMap::new();
        for (number, group) in (0..).zip(groups) {
            let entry = largest.entry(group.class).or_insert((0, number));
            if group.endpoints > entry.0 {
                *entry = (group.endpoints, number);
            }
        }
        self.order = largest.values().map(|(_, number)| *number).collect();
        self.heirs = self.order.len();
        let is_heir = |number: u32, group: &Group| largest.get(&group.class).is_some_and(|(_, heir)| *heir == number);
        self.order.extend((0..).zip(groups).filter(|(number, group)| !is_heir(*number, group)).map(|(number, _)| number));
    }

    fn class(&mut self, at: usize, old: ClassId, vector: &[u8]) -> ClassId {
        self.merged |= self.classes.len() > 2 * self.classes.distinct() + TWINS;
        if at < self.heirs && !(self.merged && self.classes.find(vector).is_some()) {
            self.classes.insert(old, vector);
            return old;
        }
        self.classes.intern(vector).0
    }
}
