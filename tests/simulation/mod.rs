//! The whole pipeline out of one seed, in one thread: the real [`Ingest`](muster::ingest::Ingest), [`Writer`](muster::ingest::Writer) and shard, over a store, a clock, clients and
//! receivers that are made up and fail. The idea is FoundationDB's and TigerBeetle's: what happens once in a year of operation happens
//! here every second, and happens again when it is asked to.
//!
//! `MUSTER_SEED=n` plays one seed, `MUSTER_STEPS=n` the first steps of it (which finds the step that breaks it), `MUSTER_SEEDS=n` so many seeds.

mod actions;
mod counts;
mod machines;
mod oracle;
mod play;
mod silence;
mod store;
mod swaps;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use counts::Counts;
use play::Play;

/// Seeds that found something once. They are always played.
const FOUND: [u64; 2] = [51, 105];
/// How many others, and how many steps each.
const SEEDS: u64 = 40;
const STEPS: usize = 150;
/// One in so many is played twice, and must give the same bytes.
const TWICE: u64 = 10;

#[expect(clippy::disallowed_methods, reason = "how long to test is not configuration")]
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

/// Plays a seed to its end. A hash of everything that was written, and what happened.
fn play(seed: u64, steps: usize, at: &AtomicUsize) -> (String, Counts) {
    let mut play = Play::new(seed);
    for step in 0..steps {
        at.store(step, Ordering::Relaxed);
        play.step();
    }
    at.store(steps, Ordering::Relaxed);
    play.end()
}

/// Plays a seed, and says how to play it again if it fails.
fn try_seed(seed: u64, steps: usize, twice: bool) -> Result<Counts, String> {
    let at = AtomicUsize::new(0);
    let played = catch_unwind(AssertUnwindSafe(|| {
        let played = play(seed, steps, &at);
        if twice {
            assert_eq!(play(seed, steps, &at), played, "the same seed writes other bytes the second time");
        }
        played.1
    }));
    played.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        let step = at.load(Ordering::Relaxed);
        let text = text.unwrap_or_default();
        format!(
            "seed {seed} fails at step {step}: {text}\nplay it again: MUSTER_SEED={seed} MUSTER_STEPS={} cargo test --test main simulation -- --nocapture",
            steps.min(step + 1)
        )
    })
}

#[test]
fn whatever_happens_nothing_acked_is_lost_and_every_answer_is_right() {
    let steps = asked("MUSTER_STEPS").map_or(STEPS, |n| usize::try_from(n).unwrap());
    let seeds: Vec<u64> = match asked("MUSTER_SEED") {
        Some(seed) => vec![seed],
        None => FOUND.into_iter().chain(1..=asked("MUSTER_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(seeds.len());
    let played: Vec<Result<Counts, String>> = std::thread::scope(|scope| {
        let work = || {
            // What the pipeline would compute on many threads is computed on this one, when it is told to: `Play::compute`.
            let _pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap();
            let mut played = Vec::new();
            while let Some(seed) = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|n| seeds.get(n)) {
                played.push(try_seed(*seed, steps, seeds.len() == 1 || seed % TWICE == 0));
            }
            played
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });
    let mut counts = Counts::default();
    played.iter().flatten().for_each(|c| counts.add(c));
    let failed: Vec<&str> = played.iter().filter_map(|p| p.as_ref().err()).map(String::as_str).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    #[expect(clippy::print_stderr, reason = "what was done, for whoever reads the log")]
    {
        eprintln!("{} seeds: {counts:?}", seeds.len());
    }
    // A simulation in which something never happens says nothing of it.
    assert!(seeds.len() < 30 || steps < STEPS || counts.never().is_empty(), "never happened: {:?}", counts.never());
}
