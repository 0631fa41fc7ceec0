//! Runs of verdicts: `verdict vector -> the numbers of its runs`, each distinct run once.
//!
//! A fleet that deviates much has a class for every second endpoint, and most differ from others in a few verdicts. A run of 32 verdicts takes 16 bytes; where others have it too, its number
//! takes four.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::{HashMap, HashTable};

/// Verdicts of a run, four bits each, the first one lowest.
type Run = u128;
const RUN: usize = 32;
const BITS: usize = 4;

/// What follows the last verdict in the last run; and what a verdict is held as that there is not.
const END: u8 = 15;
const NONSENSE: u8 = 14;

/// The lowest bit of each verdict of a run.
const EACH: Run = Run::MAX / 15;

/// Some of the rules.
#[derive(Clone, Debug, Default)]
pub struct Mask(Box<[Run]>);

impl Mask {
    /// Says of each rule whether it is one of them.
    pub fn of(rules: impl IntoIterator<Item = bool>) -> Mask {
        let rules: Vec<bool> = rules.into_iter().collect();
        let of_run = |run: &[bool]| (0..).zip(run).filter(|(_, is)| **is).fold(0, |mask, (at, _): (usize, _)| mask | 1 << (BITS * at));
        Mask(rules.chunks(RUN).map(of_run).collect())
    }
}

/// A verdict vector, as the numbers of its runs. INVARIANT: two of the same [`Runs`] are equal if and only if their verdicts are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Vector(Box<[u32]>);

#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    /// In how many places of vectors each is. INVARIANT: those in none are in `free` and not in `by_run`.
    places: Vec<u32>,
    free: Vec<u32>,
    by_run: HashTable<u32>,
    hasher: RandomState,
    /// The vector that was taken last: the next one often has its runs.
    last: Vec<u32>,
}

/// Vectors, counted run by run: by the place in the vector and the number of the run that is there.
#[derive(Debug, Default)]
pub(super) struct Tally(HashMap<(usize, u32), u32>);

impl Tally {
    pub(super) fn add(&mut self, vector: &Vector, count: u32) {
        vector.0.iter().enumerate().for_each(|(place, run)| *self.0.entry((place, *run)).or_default() += count);
    }
}

fn pack(verdicts: &[u8]) -> impl Iterator<Item = Run> {
    verdicts.chunks(RUN).map(|run| {
        let (mut all, mut packed) = ([END; RUN], [0; RUN / 2]);
        all.iter_mut().zip(run).for_each(|(place, verdict)| *place = (*verdict).min(NONSENSE));
        packed.iter_mut().zip(all.as_chunks::<2>().0).for_each(|(byte, [low, high])| *byte = low | high << BITS);
        Run::from_le_bytes(packed)
    })
}

fn verdict(run: Run, at: usize) -> Option<u8> {
    let [two, ..] = (run >> (BITS * at)).to_le_bytes();
    let verdict = two & END;
    (verdict != END).then_some(verdict)
}

impl Runs {
    /// A vector, if all its runs are there.
    pub(super) fn find(&self, verdicts: &[u8]) -> Option<Vector> {
        pack(verdicts).map(|run| self.number(run)).collect::<Option<_>>().map(Vector)
    }

    /// A vector, whose runs are kept until it is let go.
    pub(super) fn take(&mut self, verdicts: &[u8]) -> Vector {
        let vector: Box<[u32]> = pack(verdicts).enumerate().map(|(at, run)| self.take_run(at, run)).collect();
        self.last.clear();
        self.last.extend(&vector);
        Vector(vector)
    }

    pub(super) fn release(&mut self, vector: &Vector) {
        for number in &vector.0 {
            let Some(places) = self.places.get_mut(*number as usize) else { continue };
            *places = places.saturating_sub(1);
            if *places == 0 {
                let hash = self.hasher.hash_one(self.run(*number));
                if let Ok(found) = self.by_run.find_entry(hash, |other| other == number) {
                    found.remove();
                }
                self.free.push(*number);
            }
        }
    }

    /// One byte a rule.
    pub(super) fn verdicts(&self, vector: &Vector) -> Vec<u8> {
        let mut verdicts = vec![END; RUN * vector.0.len()];
        for (run, number) in verdicts.as_chunks_mut::<RUN>().0.iter_mut().zip(&vector.0) {
            let packed = self.run(*number).to_le_bytes();
            run.as_chunks_mut::<2>().0.iter_mut().zip(packed).for_each(|(two, byte)| *two = [byte & END, byte >> BITS]);
        }
        verdicts.truncate(self.len(vector));
        verdicts
    }

    /// By their runs, so that those with the same ones in front are together. It does not depend on the numbers, which are others after a start.
    pub(super) fn order(&self, a: &Vector, b: &Vector) -> Ordering {
        let differ = a.0.iter().zip(&b.0).find(|(a, b)| a != b);
        differ.map_or_else(|| a.0.len().cmp(&b.0.len()), |(a, b)| self.run(*a).cmp(&self.run(*b)))
    }

    /// For each verdict, how many of these rules have it.
    pub(super) fn count<const N: usize>(&self, vector: &Vector, asked: [(u8, &Mask); N]) -> [u32; N] {
        let mut counts = [0; N];
        for (place, number) in vector.0.iter().enumerate() {
            let run = self.run(*number);
            for (count, (verdict, among)) in counts.iter_mut().zip(asked) {
                let differs = run ^ (EACH * Run::from(verdict));
                let differs = differs | differs >> 1;
                let equal = !(differs | differs >> 2) & among.0.get(place).copied().unwrap_or_default();
                *count += equal.count_ones();
            }
        }
        counts
    }

    pub(super) fn get(&self, vector: &Vector, at: usize) -> Option<u8> {
        verdict(self.run(*vector.0.get(at / RUN)?), at % RUN)
    }

    pub(super) fn len(&self, vector: &Vector) -> usize {
        let last = vector.0.last().map_or(0, |last| (0..RUN).map_while(|at| verdict(self.run(*last), at)).count());
        RUN * vector.0.len().saturating_sub(1) + last
    }

    /// Each verdict of each rule that was tallied, and of how many.
    pub(super) fn tallied(&self, tally: &Tally) -> impl Iterator<Item = (usize, u8, u32)> {
        tally.0.iter().flat_map(|((place, number), count)| {
            let run = self.run(*number);
            (0..RUN).map_while(move |at| Some((RUN * place + at, verdict(run, at)?, *count)))
        })
    }

    fn run(&self, number: u32) -> Run {
        self.runs.get(number as usize).copied().unwrap_or(Run::MAX)
    }

    fn number(&self, run: Run) -> Option<u32> {
        self.by_run.find(self.hasher.hash_one(run), |number| self.run(*number) == run).copied()
    }

    fn take_run(&mut self, at: usize, run: Run) -> u32 {
        let as_last = self.last.get(at).copied().filter(|number| self.run(*number) == run && self.places[*number as usize] > 0);
        let number = as_last.or_else(|| self.number(run)).unwrap_or_else(|| self.add(run));
        self.places[number as usize] += 1;
        number
    }

    fn add(&mut self, run: Run) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.runs.push(run);
            self.places.push(0);
            // INVARIANT: fewer than u32::MAX runs; so many would take 64 GB.
            u32::try_from(self.runs.len() - 1).unwrap_or(u32::MAX)
        });
        self.runs[number as usize] = run;
        let Runs { runs, by_run, hasher, .. } = self;
        by_run.insert_unique(hasher.hash_one(run), number, |other| hasher.hash_one(runs[*other as usize]));
        number
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::judge::Verdict;

    #[test]
    fn verdicts_are_those_that_went_in() {
        let mut runs = Runs::default();
        for verdicts in [&[][..], &[0], &[8], &[0, 8], &[1; 31], &[2; 32], &[3; 33], &[8; 1001]] {
            let vector = runs.take(verdicts);
            assert_eq!((runs.verdicts(&vector).as_slice(), runs.len(&vector)), (verdicts, verdicts.len()));
            let each: Vec<_> = (0..=verdicts.len()).map(|at| runs.get(&vector, at)).collect();
            assert_eq!(each, verdicts.iter().copied().map(Some).chain([None]).collect::<Vec<_>>());
        }
        let odd = runs.take(&[200, 15]);
        assert_eq!(runs.verdicts(&odd), [NONSENSE, NONSENSE]);
        assert!(Verdict::ALL.len() < usize::from(NONSENSE));
    }

    #[test]
    fn a_run_is_there_once_and_as_long_as_somebody_has_it() {
        let mut runs = Runs::default();
        let same = [1; 2 * RUN];
        let other = [&[1; RUN][..], &[0; RUN]].concat();
        let (a, b) = (runs.take(&same), runs.take(&other));
        assert_eq!((runs.by_run.len(), a.0[0] == b.0[0], a.0[0] == a.0[1]), (2, true, true));
        runs.release(&a);
        assert_eq!((runs.find(&same), runs.find(&other)), (Some(a), Some(b.clone())));
        runs.release(&b);
        assert_eq!((runs.by_run.len(), runs.find(&other)), (0, None));
        // A number that is free is no run, even if it was one of the vector before.
        let again = runs.take(&other);
        assert_eq!((runs.runs.len(), runs.by_run.len(), runs.find(&other)), (2, 2, Some(again)));
    }

    proptest! {
        #[test]
        fn vectors_are_equal_where_their_verdicts_are(all in vec((vec(0u8..3, 0..70), any::<bool>()), 1..40)) {
            let mut runs = Runs::default();
            let mut held: Vec<(Vec<u8>, Vector)> = Vec::new();
            for (verdicts, stays) in all {
                let vector = runs.take(&verdicts);
                held.push((verdicts, vector));
                if !stays {
                    let (_, gone) = held.swap_remove(held.len() / 2);
                    runs.release(&gone);
                }
                for (verdicts, vector) in &held {
                    prop_assert_eq!(&runs.verdicts(vector), verdicts);
                    let found = runs.find(verdicts);
                    prop_assert_eq!(found.as_ref(), Some(vector));
                    prop_assert!(held.iter().all(|(v, other)| (v == verdicts) == (other == vector)));
                }
                prop_assert_eq!(runs.by_run.len() + runs.free.len(), runs.runs.len());
            }
        }

        #[test]
        fn counts_are_those_of_the_rules_that_are_meant(rules in vec((0u8..9, any::<bool>()), 0..100)) {
            let (verdicts, meant): (Vec<u8>, Vec<bool>) = rules.iter().copied().unzip();
            let mut runs = Runs::default();
            let (vector, mask) = (runs.take(&verdicts), Mask::of(meant));
            for verdict in 0..9 {
                let count = rules.iter().filter(|(v, meant)| *v == verdict && *meant).count();
                prop_assert_eq!(runs.count(&vector, [(verdict, &mask), (9, &mask)]), [u32::try_from(count).expect("few"), 0]);
            }
        }
    }
}
