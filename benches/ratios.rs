//! `cargo bench`: prints ratios against an anchor measured in the same run, never times alone. benches/README.md says how to read them.
//!
//! Each line is a pair timed in turn, A B A B ..., over several rounds; the ratio is that of the medians.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark that cannot go on should stop and say so"
)]

mod anchor;
mod corpus;
mod http;
mod inverted;
mod patch;
mod scap;
mod stages;
mod store;
mod swap;

use std::time::{Duration, Instant};

/// Rounds of a pair.
const ROUNDS: usize = 15;

fn main() {
    // `cargo bench` passes flags that are meant for the standard harness.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    println!("{:<58} {:>12} {:>12} {:>8}  goal", "work", "this", "anchor", "ratio");
    let corpus = corpus::Corpus::collect();
    let parts = [
        ("stages", stages::run as fn(&corpus::Corpus)),
        ("store", store::run),
        ("http", http::run),
        ("scap", scap::run),
        ("inverted", inverted::run),
        ("patch", patch::run),
    ];
    for (name, run) in parts {
        if is_wanted(name) {
            run(&corpus);
        }
    }
}

/// Times two things in turn and prints the ratio of their medians.
fn pair(name: &str, goal: &str, mut this: impl FnMut() -> Duration, mut anchor: impl FnMut() -> Duration) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    this();
    anchor();
    for _ in 0..ROUNDS {
        a.push(this());
        b.push(anchor());
    }
    let (a, b) = (median(a), median(b));
    print(
        name,
        &format!("{:.1} us", a.as_secs_f64() * 1e6),
        &format!("{:.1} us", b.as_secs_f64() * 1e6),
        a.as_secs_f64() / b.as_secs_f64(),
        goal,
    );
}

fn print(name: &str, this: &str, anchor: &str, ratio: f64, goal: &str) {
    println!("{name:<58} {this:>12} {anchor:>12} {ratio:>8.3}  {goal}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn median_of(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// The mean of some runs of one thing.
fn each<T>(runs: u32, mut work: impl FnMut(u32) -> T) -> Duration {
    let start = Instant::now();
    for i in 0..runs {
        std::hint::black_box(work(i));
    }
    start.elapsed() / runs
}
