//! Asking under a lock that others want too: in slices, beside the lock where it takes long, caught up and answered under one lock.

use std::sync::{PoisonError, RwLock};

use roaring::RoaringBitmap;

use super::{Look, QuestionError};
use crate::judge::inverted::{Answer, Asked, Progress, Walk, answer};
use crate::limits::Limits;
use crate::pack::RuleId;
use crate::shard::Shard;

/// Rules of one pack that are being asked of a fleet. May be shared by threads that answer one rule each.
pub struct Asking<'l, L> {
    look: &'l L,
    asked: RwLock<Asked>,
    limits: &'l Limits,
}

/// What came of one look.
enum Looked<T> {
    Done(T),
    Behind(crate::judge::inverted::Slice),
    More,
    Swapped,
}

impl<'l, L: Look> Asking<'l, L> {
    pub fn new(look: &'l L, asked: Asked, limits: &'l Limits) -> Asking<'l, L> {
        Asking { look, asked: RwLock::new(asked), limits }
    }

    /// Calls it under a lock in which every row was asked.
    ///
    /// INVARIANT: nothing is computed in parallel, and no slice asked, while either lock is held: the threads of the common pool wait for them.
    pub fn ready<T>(&self, with: impl FnOnce(&Shard, &Asked) -> T) -> Result<T, QuestionError> {
        let mut with = Some(with);
        loop {
            let looked = self.look.look(|shard| self.looked(shard, &mut with));
            match looked {
                Looked::Done(value) => return Ok(value),
                Looked::More => {}
                Looked::Swapped => return Err(QuestionError::Swapped),
                Looked::Behind(slice) => {
                    let pack = self.asked.read().unwrap_or_else(PoisonError::into_inner).pack().clone();
                    let told = slice.ask(&pack, self.limits);
                    self.asked.write().unwrap_or_else(PoisonError::into_inner).take(told);
                }
            }
        }
    }

    fn looked<T>(&self, shard: &Shard, with: &mut Option<impl FnOnce(&Shard, &Asked) -> T>) -> Looked<T> {
        let asked = self.asked.read().unwrap_or_else(PoisonError::into_inner);
        if asked.is_kept() && asked.pack().digest() != shard.pack.digest() {
            return Looked::Swapped;
        }
        let asked = if asked.is_ready(&shard.fleet) {
            asked
        } else {
            drop(asked);
            let mut asked = self.asked.write().unwrap_or_else(PoisonError::into_inner);
            match asked.advance(&shard.fleet, self.limits) {
                Progress::Ready => {}
                Progress::Behind(slice) => return Looked::Behind(slice),
                Progress::More => return Looked::More,
            }
            drop(asked);
            // The fleet is locked: it is as ready now as it was.
            self.asked.read().unwrap_or_else(PoisonError::into_inner)
        };
        match with.take() {
            Some(with) => Looked::Done(with(shard, &asked)),
            // INVARIANT: it is taken once, and what it gave is returned at once.
            None => Looked::More,
        }
    }

    /// Calls it if every row was asked of the fleet as it is under the caller's lock.
    pub(super) fn if_ready<T>(&self, shard: &Shard, with: impl FnOnce(&Asked) -> T) -> Option<T> {
        let asked = self.asked.read().unwrap_or_else(PoisonError::into_inner);
        asked.is_ready(&shard.fleet).then(|| with(&asked))
    }

    /// The answer to one rule, and what is made of it under the same lock. A rule that joins rows of an endpoint is walked: its answer is of several instants.
    pub fn answer<T>(
        &self,
        rule: RuleId,
        among: Option<&RoaringBitmap>,
        with: impl FnOnce(&Shard, &Answer) -> T,
    ) -> Result<T, QuestionError> {
        let pack = self.asked.read().unwrap_or_else(PoisonError::into_inner).pack().clone();
        if !pack.needs_joins(rule) {
            return self.ready(|shard, asked| with(shard, &answer(asked, rule, &shard.fleet, among)));
        }
        let answers = self.walk(vec![rule], among)?;
        let answer = answers.into_iter().next().map(|(_, answer)| answer);
        let answer = answer.ok_or(QuestionError::Swapped)?;
        Ok(self.look.look(|shard| with(shard, &answer)))
    }

    /// The answers to rules that join rows, in one walk over all endpoints.
    pub fn walk(&self, rules: Vec<RuleId>, among: Option<&RoaringBitmap>) -> Result<Vec<(RuleId, Answer)>, QuestionError> {
        let mut walk = Walk::new(rules);
        while !self.ready(|shard, asked| walk.step(asked, &shard.fleet, among, self.limits))?? {}
        Ok(walk.answers())
    }
}
