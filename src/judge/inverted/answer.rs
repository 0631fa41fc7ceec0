//! One rule over the fleet: `what rows say -> what images come to -> endpoints that deviate in it -> verdicts`.
//!
//! Rows that say the same are of one **kind**. An image is the kinds of its rows, an endpoint those of its image and what it deviates by; who has the same kinds has the same
//! verdict, so the rule's program runs once for each such mixture, of which there are few.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use roaring::{MultiOps, RoaringBitmap};

use super::{Asked, place};
use crate::fleet::Fleet;
use crate::fleet::image::ImageId;
use crate::fleet::index::{ClusterId, Index, NONE};
use crate::fleet::rows::RowId;
use crate::judge::Verdict;
use crate::pack::predicate::Hit;
use crate::pack::program::{TableStates, Tallies};
use crate::pack::{Joined, Pack, RuleId};
use crate::scan::table::TableId;

/// Endpoints with each verdict, in the order of [`Verdict::ALL`].
pub type Counts = [u64; Verdict::ALL.len()];

/// The verdicts of one rule. Holds for the fleet as it was when it was given: use it under the same lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub counts: Counts,
    /// By cluster: the verdict of its endpoints.
    bases: Vec<Option<Verdict>>,
    /// Endpoints that have another one than their cluster; ascending.
    others: Vec<(u32, Verdict)>,
}

impl Answer {
    /// Of a walk over all endpoints.
    pub(super) fn walked(others: Vec<(u32, Verdict)>) -> Answer {
        let mut counts = Counts::default();
        others.iter().for_each(|(_, verdict)| counts[*verdict as usize] += 1);
        Answer { counts, bases: Vec::new(), others }
    }

    /// One verdict for all: of a rule that is not selected.
    pub fn uniform(verdict: Verdict, index: &Index, among: Option<&RoaringBitmap>) -> Answer {
        let mut counts = Counts::default();
        let mut bases = vec![None; index.cluster_places()];
        for (id, cluster) in index.clusters() {
            bases[place(id)] = Some(verdict);
            counts[verdict as usize] += among.map_or(cluster.endpoints.len(), |a| a.intersection_len(&cluster.endpoints));
        }
        Answer { counts, bases, others: Vec::new() }
    }

    pub(super) fn base(&self, cluster: ClusterId) -> Option<Verdict> {
        self.bases.get(place(cluster)).copied().flatten()
    }

    pub(super) fn others(&self) -> &[(u32, Verdict)] {
        &self.others
    }

    /// By cluster the verdict of its endpoints, and those that have another one.
    pub(crate) fn into_parts(self) -> (Vec<Option<Verdict>>, Vec<(u32, Verdict)>) {
        (self.bases, self.others)
    }

    /// The verdict of an endpoint that was asked.
    pub fn verdict_of(&self, index: &Index, endpoint: u32) -> Option<Verdict> {
        match self.others.binary_search_by_key(&endpoint, |(at, _)| *at) {
            Ok(at) => self.others.get(at).map(|(_, verdict)| *verdict),
            Err(_) => self.base(index.cluster_of(endpoint)),
        }
    }

    /// The endpoints with certain verdicts.
    pub fn members(&self, index: &Index, wanted: impl Fn(Verdict) -> bool, among: Option<&RoaringBitmap>) -> RoaringBitmap {
        let clusters = index.clusters().filter(|(id, _)| self.base(*id).is_some_and(&wanted));
        let mut members: RoaringBitmap = clusters.map(|(_, c)| &c.endpoints).union();
        if let Some(among) = among {
            members &= among;
        }
        for (at, verdict) in &self.others {
            if wanted(*verdict) {
                members.insert(*at);
            } else {
                members.remove(*at);
            }
        }
        members
    }
}

/// The verdicts of a rule that needs no endpoint-level programs, of all endpoints or of some. INVARIANT: every row was asked ([`Asked::is_ready`]).
pub fn answer(asked: &Asked, rule: RuleId, fleet: &Fleet, among: Option<&RoaringBitmap>) -> Answer {
    let index = fleet.index();
    let kinds = Kinds::of(asked, rule);
    let mut judge =
        Judge { pack: asked.pack(), rule, kinds: &kinds, tallies: Tallies::default(), joined: Joined::default(), said: Vec::new() };
    let signatures = Signatures::of(&kinds, index);
    let groups = Groups::of(&signatures, index, asked.pack(), rule, &mut judge);
    let mut counts = Counts::default();
    let mut bases = vec![None; index.cluster_places()];
    for (id, cluster) in index.clusters() {
        let verdict = groups.group_of(id).map_or(Verdict::Error, |g| g.verdict);
        bases[place(id)] = Some(verdict);
        counts[verdict as usize] += among.map_or(cluster.endpoints.len(), |a| a.intersection_len(&cluster.endpoints));
    }
    let others = deviating(&kinds, index, among, &signatures, &groups, &mut judge);
    for (at, verdict) in &others {
        if let Some(base) = bases.get(place(index.cluster_of(*at))).copied().flatten() {
            counts[base as usize] -= 1;
        }
        counts[*verdict as usize] += 1;
    }
    Answer { counts, bases, others }
}

/// Rows by what they say to one rule.
pub(super) struct Kinds {
    /// What rows of a kind say.
    says: Vec<Box<[Hit]>>,
    /// Rows that say something, ascending.
    rows: Vec<(RowId, u32)>,
}

impl Kinds {
    pub(super) fn of(asked: &Asked, rule: RuleId) -> Kinds {
        let terms = asked.pack().read_by(rule);
        let hit = |term: u32| asked.said(term).iter().map(move |(row, answer)| (*row, Hit { term, answer: *answer }));
        let mut said: Vec<(RowId, Hit)> = terms.iter().flat_map(|term| hit(*term)).collect();
        said.sort_unstable_by_key(|(row, hit)| (*row, hit.term));
        let mut numbers: HashMap<Box<[Hit]>, u32> = HashMap::new();
        let mut kinds = Kinds { says: Vec::new(), rows: Vec::new() };
        let mut hits = Vec::new();
        for own in said.chunk_by(|a, b| a.0 == b.0) {
            hits.clear();
            hits.extend(own.iter().map(|(_, hit)| *hit));
            let Some((row, _)) = own.first() else { continue };
            let kind = numbers.get(hits.as_slice()).copied().unwrap_or_else(|| {
                // INVARIANT: no more kinds than rows, which are numbered by u32, the top bit of which is never set.
                let kind = u32::try_from(kinds.says.len()).unwrap_or(u32::MAX >> 1);
                kinds.says.push(hits.as_slice().into());
                numbers.insert(hits.as_slice().into(), kind);
                kind
            });
            kinds.rows.push((*row, kind));
        }
        kinds
    }

    /// The kind of a row that says something.
    pub(super) fn of_row(&self, row: RowId) -> Option<u32> {
        self.rows.binary_search_by_key(&row, |(id, _)| *id).ok().and_then(|at| self.rows.get(at)).map(|(_, kind)| *kind)
    }

    pub(super) fn hits(&self, kind: u32) -> &[Hit] {
        self.says.get(place(kind)).map_or(&[], |h| h)
    }
}

/// What an endpoint deviates by, as one number: the kind of the row, and whether it lacks it.
fn delta(kind: u32, lacks: bool) -> u32 {
    kind << 1 | u32::from(lacks)
}

/// Runs the rule's programs over mixtures of kinds.
struct Judge<'a> {
    pack: &'a Pack,
    rule: RuleId,
    kinds: &'a Kinds,
    tallies: Tallies,
    joined: Joined,
    /// Scratch: the kinds that are lacking.
    said: Vec<u32>,
}

impl Judge<'_> {
    /// The verdict of an image's kinds with deviations.
    fn verdict(&mut self, image: &[u32], deltas: &[u32], states: &TableStates) -> Verdict {
        self.tallies.reset(self.pack);
        let mut lacking = std::mem::take(&mut self.said);
        lacking.clear();
        lacking.extend(deltas.iter().filter(|d| **d & 1 == 1).map(|d| d >> 1));
        for kind in image {
            match lacking.iter().position(|l| l == kind) {
                Some(at) => drop(lacking.swap_remove(at)),
                None => self.add(*kind),
            }
        }
        deltas.iter().filter(|d| **d & 1 == 0).for_each(|d| self.add(d >> 1));
        self.said = lacking;
        self.tallies.judge(self.pack, self.rule, states, &self.joined)
    }

    fn add(&mut self, kind: u32) {
        self.kinds.hits(kind).iter().for_each(|hit| self.tallies.add(self.pack, *hit));
    }
}

/// The kinds of each image's rows; images with the same share a number.
struct Signatures {
    /// Sorted kinds, one for each row.
    kinds: Vec<Box<[u32]>>,
    /// Images that have any, ascending.
    images: Vec<(ImageId, u32)>,
}

impl Signatures {
    fn of(kinds: &Kinds, index: &Index) -> Signatures {
        let mut pairs: Vec<(ImageId, u32)> = Vec::new();
        for (row, kind) in &kinds.rows {
            pairs.extend(index.images_with(*row).map(|image| (image, *kind)));
        }
        pairs.sort_unstable();
        // The first is that of the images that say nothing.
        let mut signatures = Signatures { kinds: vec![Box::default()], images: Vec::new() };
        let mut numbers: HashMap<Box<[u32]>, u32> = HashMap::new();
        for own in pairs.chunk_by(|a, b| a.0 == b.0) {
            let Some((image, _)) = own.first() else { continue };
            let kinds: Box<[u32]> = own.iter().map(|(_, kind)| *kind).collect();
            let number = *numbers.entry(kinds).or_insert_with_key(|kinds| {
                signatures.kinds.push(kinds.clone());
                // INVARIANT: no more signatures than images, which are numbered by u32.
                u32::try_from(signatures.kinds.len() - 1).unwrap_or(0)
            });
            signatures.images.push((*image, number));
        }
        signatures
    }

    fn of_image(&self, image: ImageId) -> u32 {
        self.images.binary_search_by_key(&image, |(id, _)| *id).ok().and_then(|at| self.images.get(at)).map_or(0, |(_, n)| *n)
    }

    fn kinds(&self, signature: u32) -> &[u32] {
        self.kinds.get(place(signature)).map_or(&[], |k| k)
    }
}

/// Clusters that a rule cannot tell apart.
struct Group {
    signature: u32,
    states: TableStates,
    verdict: Verdict,
}

struct Groups {
    groups: Vec<Group>,
    /// By cluster.
    of: Vec<u32>,
}

impl Groups {
    fn of(signatures: &Signatures, index: &Index, pack: &Pack, rule: RuleId, judge: &mut Judge<'_>) -> Groups {
        let read = Read::of(pack, rule);
        let mut groups = Groups { groups: Vec::new(), of: vec![NONE; index.cluster_places()] };
        let mut numbers: HashMap<(u32, TableStates), u32> = HashMap::new();
        for (id, cluster) in index.clusters() {
            let key = (signatures.of_image(cluster.image), read.project(&cluster.states));
            groups.of[place(id)] = *numbers.entry(key).or_insert_with(|| {
                let (signature, states) = key;
                let verdict = judge.verdict(signatures.kinds(signature), &[], &states);
                groups.groups.push(Group { signature, states, verdict });
                // INVARIANT: no more groups than clusters, which are numbered by u32.
                u32::try_from(groups.groups.len() - 1).unwrap_or(NONE)
            });
        }
        groups
    }

    fn number(&self, cluster: ClusterId) -> Option<u32> {
        self.of.get(place(cluster)).copied().filter(|n| *n != NONE)
    }

    fn group_of(&self, cluster: ClusterId) -> Option<&Group> {
        self.groups.get(place(self.number(cluster)?))
    }
}

/// The tables whose collection a rule can tell; none: all.
struct Read(Option<BTreeSet<TableId>>);

impl Read {
    fn of(pack: &Pack, rule: RuleId) -> Read {
        // Whether an endpoint is one of our own is told by all of its tables.
        if pack.rule(rule).scap.is_some() {
            return Read(None);
        }
        Read(Some(pack.read_by(rule).iter().map(|term| pack.term(*term).table).collect()))
    }

    fn project(&self, states: &TableStates) -> TableStates {
        let Some(tables) = &self.0 else { return *states };
        let mut out = TableStates::default();
        tables.iter().for_each(|t| out.set(*t, states.get(*t)));
        out
    }
}

/// Endpoints that deviate from their image in rows that say something, with their verdicts where those are others than their cluster's; ascending.
fn deviating(
    kinds: &Kinds,
    index: &Index,
    among: Option<&RoaringBitmap>,
    signatures: &Signatures,
    groups: &Groups,
    judge: &mut Judge<'_>,
) -> Vec<(u32, Verdict)> {
    let mut deltas: Vec<(u32, u32)> = Vec::new();
    for (row, kind) in &kinds.rows {
        deltas.extend(index.plus(*row).map(|at| (at, delta(*kind, false))));
        deltas.extend(index.minus(*row).map(|at| (at, delta(*kind, true))));
    }
    if let Some(among) = among {
        deltas.retain(|(at, _)| among.contains(*at));
    }
    deltas.sort_unstable();
    let mut others = Vec::new();
    // Most deviate in one row only.
    let mut by_one: HashMap<(u32, u32), Verdict> = HashMap::new();
    let mut by_several: HashMap<Box<[u32]>, Verdict> = HashMap::new();
    let mut key: Vec<u32> = Vec::new();
    for own in deltas.chunk_by(|a, b| a.0 == b.0) {
        let Some((at, first)) = own.first().copied() else { continue };
        let cluster = index.cluster_of(at);
        let (Some(number), Some(group)) = (groups.number(cluster), groups.group_of(cluster)) else { continue };
        let verdict = if own.len() == 1 {
            *by_one.entry((number, first)).or_insert_with(|| judge.verdict(signatures.kinds(group.signature), &[first], &group.states))
        } else {
            key.clear();
            key.push(number);
            key.extend(own.iter().map(|(_, delta)| *delta));
            match by_several.get(key.as_slice()) {
                Some(verdict) => *verdict,
                None => {
                    let verdict = judge.verdict(signatures.kinds(group.signature), key.get(1..).unwrap_or_default(), &group.states);
                    by_several.insert(key.as_slice().into(), verdict);
                    verdict
                }
            }
        };
        if verdict != group.verdict {
            others.push((at, verdict));
        }
    }
    others
}
