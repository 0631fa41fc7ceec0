//! Feeds: real ones held against what other programs count in them, and small ones of our own.
//!
//! The real ones are found through `MUSTER_DATA`, a folder that has `feeds/` and `windows/`; without it these tests say on stderr that they were skipped.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "the allowance for tests stops at helper functions of an integration test")]

mod csaf;
mod damage;
mod lists;
mod microsoft;
mod osv;
mod scores;

use std::path::Path;

use muster::feed::{Batch, Sink};
use muster::limits::Limits;
use sha2::Digest;

/// A file of the real data, or a line on stderr that says what was skipped.
fn data(path: &str) -> Option<Vec<u8>> {
    let Some(folder) = std::env::var_os("MUSTER_DATA") else {
        eprintln!("without real data: MUSTER_DATA is not set, {path} is not read");
        return None;
    };
    Some(std::fs::read(Path::new(&folder).join(path)).unwrap())
}

type Reader = fn(&str, &[u8], &Limits, &mut dyn Sink);

fn read(reader: Reader, file: &str, bytes: &[u8]) -> Batch {
    let limits = Limits::default();
    let mut batch = Batch::new(&limits);
    reader(file, bytes, &limits, &mut batch);
    batch
}

/// How many rows there are, and the SHA-256 of them, sorted, one a line.
fn digest(rows: impl Iterator<Item = String>) -> (usize, String) {
    let mut rows: Vec<String> = rows.collect();
    rows.sort();
    let sum = sha2::Sha256::digest(rows.join("\n"));
    (rows.len(), sum.iter().map(|b| format!("{b:02x}")).collect())
}
