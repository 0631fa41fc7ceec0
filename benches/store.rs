//! The embedded store's group commit, against appending the same bytes to a file and `fdatasync`.

use std::io::Write;
use std::time::Instant;

use muster::state::embedded::EmbeddedStore;
use muster::state::{Batch, Space, Store};

use crate::corpus::Corpus;
use crate::pair;

pub(crate) fn run(_: &Corpus) {
    for batch_size in [1u32, 16, 64, 256] {
        let folder = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
        let mut store = EmbeddedStore::open(&folder.path().join("store"), 0).unwrap();
        let mut log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut key = 0u32;
        // What a changed upload writes: its endpoint and an event.
        let value: Vec<u8> = (0..600u32).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();
        let goal = if batch_size >= 16 { "<= 2x (>= 0.5x the puts)" } else { "" };
        let value_log = value.clone();
        pair(
            &format!("group commit, {batch_size} uploads of 600 bytes in a batch"),
            goal,
            || {
                let start = Instant::now();
                for _ in 0..10 {
                    let mut batch = Batch::default();
                    for _ in 0..batch_size {
                        key = key.wrapping_add(7919);
                        batch.put(Space::Endpoints, (key % 100_000).to_be_bytes(), value.clone());
                    }
                    store.commit(&batch).unwrap();
                }
                start.elapsed() / (10 * batch_size)
            },
            || {
                let start = Instant::now();
                for _ in 0..10 {
                    let mut frame = Vec::new();
                    for _ in 0..batch_size {
                        frame.extend_from_slice(&value_log);
                    }
                    log.write_all(&frame).unwrap();
                    log.sync_data().unwrap();
                }
                start.elapsed() / (10 * batch_size)
            },
        );
    }
}
