//! A swap under way: `shard as it is, another pack and policy -> everything that changes, aside`, a slice at a time.
//!
//! Whoever drives it calls [`Lane::step`] until it has caught up, then applies [`crate::shard::Input::Finish`], which switches. Each step looks at the shard for a few milliseconds
//! at most and computes the rest beside it. What changes meanwhile is noted by the fleet ([`crate::fleet::Fleet::watch`]): rows that came are asked in full, and endpoints that were
//! touched are judged one by one, in rounds, until few are left for the moment of the switch. INVARIANT: an endpoint that was not touched has the image, the rows, the tables and
//! the class that it had when the lane began, and no row has another meaning, for nothing is swept while a lane is under way.

use std::sync::Arc;

use super::anew::{Anew, Ground, Judge};
use super::change::{Change, LeftOut};
use super::due::Due;
use super::parts::{Heirs, NONE, Parts, carried};
use super::stored::{Moves, Snapshot};
use super::turns::{Turns, before};
use crate::fleet::EndpointId;
use crate::fleet::classes::{ClassId, Classes};
use crate::judge::Verdict;
use crate::judge::inverted::{Asked, Progress as Asking, answer};
use crate::limits::Limits;
use crate::pack::{Pack, RuleId};
use crate::policy::{Policy, Resolved};
use crate::question::Look;
use crate::shard::Shard;
use crate::shard::behind::Behind;

/// Touched endpoints that are judged in one look.
const JUDGED: usize = 64;
/// Endpoints of which joined rules are judged in one look, and programs that are run in it, at most.
const WALKED: u32 = 4096;
const RUNS: usize = 8;

/// How far a lane is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// About this share of the work is done.
    Working(f64),
    /// All of it, but for what changed since the last look: so many endpoints.
    Caught(usize),
    /// The shard has forgotten this lane, or has another pack now: it is to begin again.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Ask,
    Carry,
    Images,
    Judge,
    Join,
    Group,
    Classify,
    Count,
    Before,
    Turns,
    Moves,
    Due,
    Caught,
}

/// A swap under way.
pub struct Lane {
    pub(super) change: Change,
    pub(super) policy: Resolved,
    pub(super) fingerprint: String,
    pub(super) watch: u64,
    limits: Limits,
    stage: Stage,
    asked: Asked,
    pub(super) anew: Anew,
    judge: Judge,
    parts: Parts,
    heirs: Heirs,
    /// By endpoint: its class afterwards.
    pub(super) class_of: Vec<ClassId>,
    pub(super) turns: Turns,
    pub(super) snapshot: Snapshot,
    pub(super) moves: Moves,
    pub(super) due: Due,
    next: u32,
    behind: Behind,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({} -> {}, {:?})", self.change.old.digest(), self.change.pack.digest(), self.stage)
    }
}

/// An endpoint that was touched: what the rules that turn said of it, and its verdicts under the new pack. Nothing, if it holds no scan.
pub(super) struct Touched {
    at: EndpointId,
    verdicts: Option<(Vec<u8>, Vec<u8>)>,
}

/// What a shard gives a lane to begin with: the number of its watch, and the first id for its classes.
#[derive(Clone, Debug)]
pub struct Watching {
    pub(super) watch: u64,
    pub(super) first: ClassId,
}

impl Watching {
    pub(in crate::shard) fn watch(&self) -> u64 {
        self.watch
    }
}

impl Lane {
    pub fn begin<L: Look>(look: &L, watching: Watching, pack: Arc<Pack>, policy: Policy) -> Lane {
        let fingerprint = policy.fingerprint();
        let policy = policy.resolve(&pack);
        let (old, left_out, before, places, limits) = look.look(|shard| {
            let before = shard.policy.policy.clone();
            (shard.pack.clone(), LeftOut::of(shard), before, shard.fleet.places(), shard.limits.clone())
        });
        let change = Change::new(old, &left_out, pack.clone(), &policy);
        let asked = Asked::terms(pack.clone(), change.same.fresh(), change.heard());
        let left_out = pack.rules().map(|rule| pack.rule(rule).requirement).collect();
        let quiet = change.is_quiet();
        Lane {
            due: Due::new(&change, &before, &policy),
            policy,
            fingerprint,
            watch: watching.watch,
            limits,
            stage: if quiet { Stage::Due } else { Stage::Ask },
            asked,
            anew: Anew::default(),
            judge: Judge::default(),
            parts: Parts::new(if quiet { 0 } else { places }),
            heirs: Heirs::new(Classes::new(left_out, watching.first)),
            class_of: Vec::new(),
            turns: Turns::default(),
            snapshot: Snapshot::default(),
            moves: Moves::default(),
            next: 0,
            behind: Behind::default(),
            change,
        }
    }

    /// The pack that it brings.
    pub fn pack(&self) -> &Arc<Pack> {
        &self.change.pack
    }

    /// Whether verdicts stay what they are, and the policy alone is another one.
    pub(super) fn is_quiet(&self) -> bool {
        self.change.is_quiet()
    }

    /// How many endpoints will have a verdict of a rule of the new pack, once [`Lane::is_counted`].
    pub fn count(&self, rule: RuleId, verdict: Verdict) -> u32 {
        self.heirs.classes.endpoints(rule, verdict)
    }

    /// Whether every verdict is known, of the endpoints as they were when they were looked at.
    pub fn is_counted(&self) -> bool {
        matches!(self.stage, Stage::Before | Stage::Turns | Stage::Moves | Stage::Due | Stage::Caught)
    }

    /// Goes on, with one short look.
    pub fn step<L: Look>(&mut self, look: &L) -> Progress {
        match self.stage {
            Stage::Ask => self.ask(look),
            Stage::Judge => self.judge_next(look),
            Stage::Count => self.count_all(),
            Stage::Turns => {
                if self.turns.take(&self.change, &self.parts, &self.heirs.classes) {
                    self.enter(Stage::Moves);
                }
            }
            Stage::Caught => {
                let (progress, judged) = look.look(|shard| self.catch_up(shard, JUDGED));
                self.take_touched(judged);
                return progress;
            }
            Stage::Carry | Stage::Images | Stage::Join | Stage::Group | Stage::Classify | Stage::Before | Stage::Moves | Stage::Due => {
                if let Some(next) = look.look(|shard| self.look(shard)) {
                    if self.stage == Stage::Carry {
                        self.anew.carried();
                    }
                    self.enter(next);
                }
            }
        }
        Progress::Working(self.share())
    }

    fn enter(&mut self, stage: Stage) {
        (self.stage, self.next) = (stage, 0);
    }

    /// Rules are most of the work.
    fn share(&self) -> f64 {
        let part = |n: usize, of: usize| f64::from(u32::try_from(n).unwrap_or(0)) / f64::from(u32::try_from(of.max(1)).unwrap_or(1));
        match self.stage {
            Stage::Ask => 0.0,
            Stage::Carry => 0.1,
            Stage::Images => 0.15,
            Stage::Judge => 0.2 + 0.3 * part(self.parts.judged(), self.change.plain.len()),
            Stage::Join => 0.5,
            Stage::Group => 0.55,
            Stage::Classify | Stage::Count => 0.6,
            Stage::Before | Stage::Turns => 0.65 + 0.2 * part(self.turns.by_rule.len(), self.change.turning.len()),
            Stage::Moves => 0.85,
            Stage::Due => 0.9,
            Stage::Caught => 0.95,
        }
    }

    /// The stages that look at the shard all the time. The one that is next, if this one is through.
    fn look(&mut self, shard: &Shard) -> Option<Stage> {
        let (through, next) = match self.stage {
            Stage::Carry => (self.anew.carry(&shard.fleet, &self.change, &mut self.asked, &self.limits), Stage::Images),
            // An image that was founded since has rows that came since.
            Stage::Images => {
                let rows = self.anew.carry(&shard.fleet, &self.change, &mut self.asked, &self.limits);
                (rows && self.anew.add_images(&shard.fleet), Stage::Judge)
            }
            Stage::Join => (self.join(shard), Stage::Group),
            Stage::Group => (self.parts.group(shard), Stage::Classify),
            Stage::Classify => (self.parts.classify(shard, &self.change, &mut self.heirs), Stage::Count),
            Stage::Before => (self.turns.look(shard, &self.change, &self.parts), Stage::Turns),
            Stage::Moves => (self.moves.look(shard, &self.class_of), Stage::Due),
            _ => {
                let classes = if self.is_quiet() { None } else { Some((self.class_of.as_slice(), &self.heirs.classes)) };
                (self.due.look(shard, &self.change, classes), Stage::Caught)
            }
        };
        through.then_some(next)
    }

    fn ask<L: Look>(&mut self, look: &L) {
        match look.look(|shard| self.asked.advance(&shard.fleet, &self.limits)) {
            Asking::Ready => {
                self.anew.take_fresh(&self.asked, self.change.same.fresh());
                self.enter(Stage::Carry);
            }
            Asking::Behind(slice) => self.asked.take(slice.ask_alone(&self.change.pack, &self.limits)),
            Asking::More => {}
        }
    }

    fn judge_next<L: Look>(&mut self, look: &L) {
        match self.change.plain.get(self.parts.judged()) {
            Some(rule) => {
                let answer = look.look(|shard| answer(&self.asked, *rule, &shard.fleet, None));
                self.parts.take(answer);
            }
            None => {
                self.parts.settle();
                self.enter(Stage::Join);
            }
        }
    }

    /// Goes on with the rules that join rows of an endpoint. Whether all endpoints were looked at.
    fn join(&mut self, shard: &Shard) -> bool {
        let end = self.parts.places();
        if self.change.joined.is_empty() {
            return true;
        }
        let ground = Ground { change: &self.change, anew: &self.anew, fleet: &shard.fleet, limits: &self.limits };
        let (last, runs) = (self.next.saturating_add(WALKED).min(end), self.judge.joins.runs);
        while self.next < last && self.judge.joins.runs - runs < RUNS {
            if let Some(held) = shard.fleet.get(EndpointId(self.next)).and_then(|e| e.held.as_ref()) {
                let verdicts = self.judge.verdicts(ground, held, &self.change.joined, &self.change.joined_terms);
                self.parts.take_joined(self.next, verdicts);
            }
            self.next += 1;
        }
        self.next >= end
    }

    /// Every group has its class: who is where, and what is written of it.
    fn count_all(&mut self) {
        let groups = &self.parts.groups;
        let class = |group: &u32| groups.get(*group as usize).map_or(NONE, |g| g.to);
        self.class_of = self.parts.groups_of().iter().map(class).collect();
        self.heirs.classes.join_all(groups.iter().filter(|g| g.to != NONE).map(|g| (g.to, g.endpoints)));
        self.parts.forget();
        self.snapshot = Snapshot::of(&self.heirs.classes);
        self.enter(Stage::Before);
    }

    /// Takes up what changed since: rows, images, and so many of the touched endpoints, which are judged, whatever they were judged before.
    pub(super) fn catch_up(&mut self, shard: &Shard, most: usize) -> (Progress, Vec<Touched>) {
        if shard.pack.digest() != self.change.old.digest() {
            return (Progress::Lost, Vec::new());
        }
        let Some(touched) = shard.fleet.touched(self.watch) else { return (Progress::Lost, Vec::new()) };
        let behind = self.behind.note(touched);
        if !self.is_quiet() {
            let rows = self.anew.carry(&shard.fleet, &self.change, &mut self.asked, &self.limits);
            if !rows || !self.anew.add_images(&shard.fleet) {
                return (Progress::Caught(behind.max(1)), Vec::new());
            }
        }
        self.moves.refresh(shard, &self.class_of);
        let judged = self.behind.take(most).into_iter().map(|at| self.judge_touched(shard, at)).collect();
        (Progress::Caught(self.behind.len() + self.moves.behind()), judged)
    }

    fn judge_touched(&mut self, shard: &Shard, at: EndpointId) -> Touched {
        let held = shard.fleet.get(at).and_then(|e| e.held.as_ref()).filter(|_| !self.is_quiet());
        let Some(held) = held else { return Touched { at, verdicts: None } };
        let old = shard.fleet.classes.verdicts(held.class);
        let ground = Ground { change: &self.change, anew: &self.anew, fleet: &shard.fleet, limits: &self.limits };
        let mut new = carried(&old, &self.change);
        let judged = self.judge.verdicts(ground, held, &self.change.judged, &self.change.terms);
        for (rule, verdict) in self.change.judged.iter().zip(judged) {
            if let Some(place) = new.get_mut(rule.index()) {
                *place = verdict;
            }
        }
        Touched { at, verdicts: Some((before(&old, &self.change), new)) }
    }

    /// Puts touched endpoints where they are now.
    pub(super) fn take_touched(&mut self, touched: Vec<Touched>) {
        for Touched { at, verdicts } in touched {
            self.due.touched(at);
            if self.is_quiet() {
                continue;
            }
            let place = at.0 as usize;
            if self.class_of.len() <= place {
                self.class_of.resize(place + 1, NONE);
            }
            let class = verdicts.as_ref().map_or(NONE, |(_, vector)| self.heirs.classes.intern(vector).0);
            if let Some(place) = self.class_of.get_mut(place) {
                let before = std::mem::replace(place, class);
                // It may be the same one, and must not be gone between.
                self.heirs.classes.join(class);
                self.heirs.classes.leave(before);
            }
            self.turns.retake(&self.change, at.0, verdicts.as_ref().map(|(old, new)| (old.as_slice(), new.as_slice())));
            self.moves.touched(at);
        }
    }

    /// About how much the switch makes the store write.
    pub fn bytes(&self) -> u64 {
        let records = self.snapshot.records.iter().map(|(key, record)| key.len() + record.len()).sum::<usize>() + self.moves.bytes();
        u64::try_from(records + self.turns.bytes()).unwrap_or(u64::MAX)
    }

    /// The classes that it made.
    pub(super) fn take_classes(&mut self) -> Classes {
        std::mem::take(&mut self.heirs.classes)
    }

    pub(super) fn take_policy(&mut self) -> Resolved {
        let none = Policy::default().resolve(&self.change.pack);
        std::mem::replace(&mut self.policy, none)
    }

    pub(super) fn is_caught(&self) -> bool {
        self.stage == Stage::Caught
    }

    /// Whether it can ask nothing of endpoints.
    pub(super) fn is_idle(&self) -> bool {
        self.due.is_idle(&self.change)
    }
}
