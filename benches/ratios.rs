//! `cargo bench`: prints ratios against an anchor measured in the same run, never times alone, and at the end one table of all goals. benches/README.md
//! says how to read it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::string_slice,
    reason = "a benchmark that cannot go on should stop and say so"
)]

mod anchor;
mod catalogs;
mod corpus;
mod engines;
mod http;
mod inverted;
mod million;
mod patch;
mod rego;
mod report;
mod scanners;
mod scap;
mod stages;
mod store;
mod swap;

use std::path::Path;
use std::time::{Duration, Instant};

use corpus::Corpus;
use report::Report;

/// The daemon's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Part = fn(&Corpus, &mut Report);

const PARTS: [(&str, Part); 8] = [
    ("stages", stages::run),
    ("store", store::run),
    ("http", http::run),
    ("scap", scap::run),
    ("inverted", inverted::run),
    ("patch", patch::run),
    ("engines", engines::run),
    ("scanners", scanners::run),
];

fn main() {
    // `cargo bench` passes flags that are meant for the standard harness.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let all = wanted.is_empty() || wanted.iter().any(|w| w == "table");
    let mut report = Report::default();
    if wanted.iter().any(|w| w == "million") {
        million::run(&mut report);
    }
    let parts: Vec<_> = PARTS.iter().filter(|(name, _)| all || wanted.iter().any(|w| name.contains(w.as_str()))).collect();
    if !parts.is_empty() {
        Report::head();
        let corpus = Corpus::collect();
        parts.iter().for_each(|(_, run)| run(&corpus, &mut report));
        if all {
            million::remembered(&mut report);
        }
    }
    let table = report.table(all);
    println!("\n{table}");
    if let Some(path) = std::env::var_os("MUSTER_TABLE") {
        report::write(Path::new(&path), &table);
    }
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
