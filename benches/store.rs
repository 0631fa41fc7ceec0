//! The embedded store's group commit, against appending the same bytes to a file and `fdatasync`.

use std::io::Write;
use std::time::Instant;

use muster::state::embedded::EmbeddedStore;
use muster::state::{Batch, Space, Store};

use crate::corpus::Corpus;
use crate::report::{Report, Unit};

pub(crate) fn run(_: &Corpus, report: &mut Report) {
    for batch_size in [1u32, 16, 64, 256] {
        let folder = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
        let mut store = EmbeddedStore::open(&folder.path().join("store"), 0).unwrap();
        let mut log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut key = 0u32;
        // What a changed upload writes: its endpoint and an event.
        let value: Vec<u8> = (0..600u32).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();
        let (mut cpu, mut cpu_log, mut rounds) = (0.0, 0.0, 0u32);
        report.pair(
            if batch_size >= 16 { "commit" } else { "" },
            &format!("group commit, {batch_size} uploads of 600 bytes in a batch"),
            || {
                let (start, before) = (Instant::now(), processor());
                for _ in 0..10 {
                    let mut batch = Batch::default();
                    for _ in 0..batch_size {
                        key = key.wrapping_add(7919);
                        batch.put(Space::Endpoints, (key % 100_000).to_be_bytes(), value.clone());
                    }
                    store.commit(&batch).unwrap();
                }
                cpu += processor() - before;
                rounds += 1;
                start.elapsed() / (10 * batch_size)
            },
            || {
                let (start, before) = (Instant::now(), processor());
                for _ in 0..10 {
                    let mut frame = Vec::new();
                    for _ in 0..batch_size {
                        frame.extend_from_slice(&value);
                    }
                    log.write_all(&frame).unwrap();
                    log.sync_data().unwrap();
                }
                cpu_log += processor() - before;
                start.elapsed() / (10 * batch_size)
            },
        );
        let puts = f64::from(rounds * 10 * batch_size);
        let key = if batch_size == 64 { "commit-cpu" } else { "" };
        report.line(key, &format!("  its processor time a put, {batch_size} in a batch"), Unit::Seconds, cpu / puts, cpu_log / puts);
    }
}

/// Seconds of processor time that the threads of this process had, those of the store's background included.
fn processor() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    threads.flatten().filter_map(of).sum::<f64>() / 1e9
}
