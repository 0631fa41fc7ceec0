//! A whole new baseline over a million endpoints, through the lane: until every count is exact, until it is switched, and how long anybody waited for the lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use muster::fleet::Fleet;
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::policy::Policy;
use muster::question::Look;
use muster::shard::{Input, Lane, Progress, Reply, Shard};
use muster::state::memory::MemoryStore;

/// Notes the longest look.
struct Timed<'s> {
    shard: &'s Shard,
    longest: AtomicU64,
}

impl Look for Timed<'_> {
    fn look<T>(&self, with: impl FnOnce(&Shard) -> T) -> T {
        let start = Instant::now();
        let value = with(self.shard);
        self.longest.fetch_max(u64::try_from(start.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
        value
    }
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// Swaps from no rules to these, and back, and to them again.
pub(crate) fn run(mut fleet: Fleet, pack: &Arc<Pack>) {
    let empty = Arc::new(Pack::from_bytes(compile(&[], &[])).unwrap());
    let mut shard = Shard::load(&mut MemoryStore::default(), Limits::default(), "bench", |_| None, empty.clone()).unwrap();
    fleet.classes.insert(0, &[]);
    fleet.classes.join_all([(0, fleet.places())]);
    shard.fleet = fleet;
    for (name, pack) in [("a new baseline", pack), ("no rules any more", &empty), ("the baseline again", pack)] {
        let (start, mut counted) = (Instant::now(), None);
        let Some(Ok(Reply::Watching(watching))) = shard.apply(vec![Input::Watch], 1).replies.pop() else { panic!("a watch") };
        let timed = Timed { shard: &shard, longest: AtomicU64::new(0) };
        let mut lane = Lane::begin(&timed, watching, pack.clone(), Policy::default());
        let mut stages: Vec<(f64, Duration)> = Vec::new();
        loop {
            let begun = Instant::now();
            let progress = lane.step(&timed);
            if lane.is_counted() {
                counted.get_or_insert_with(|| start.elapsed());
            }
            match progress {
                Progress::Working(share) => {
                    let share = (share * 20.0).floor() / 20.0;
                    match stages.last_mut() {
                        Some((last, took)) if *last == share => *took += begun.elapsed(),
                        _ => stages.push((share, begun.elapsed())),
                    }
                }
                Progress::Caught(0) => break,
                Progress::Caught(_) => {}
                Progress::Lost => panic!("lost"),
            }
        }
        let (ready, longest) = (start.elapsed(), Duration::from_micros(timed.longest.into_inner()));
        let switching = Instant::now();
        let applied = shard.apply(vec![Input::Finish(Box::new(lane))], 2);
        let switch = switching.elapsed();
        let bytes: usize = applied.batch.changes.iter().map(|(_, k, v)| k.len() + v.as_ref().map_or(0, Vec::len)).sum();
        println!(
            "  {name}: counts exact after {}, ready after {}; longest look {}, switch {}; {} records of {} kB in its batch; {} classes",
            ms(counted.unwrap_or(ready)),
            ms(ready),
            ms(longest),
            ms(switch),
            applied.batch.changes.len(),
            bytes >> 10,
            shard.fleet.classes.len(),
        );
        for (share, took) in stages {
            println!("    at {share:.2}: {}", ms(took));
        }
    }
}
