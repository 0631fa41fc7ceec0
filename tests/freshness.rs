//! Endpoints that are not heard of: stale, silent, culled, back again; through restarts. And what is left of endpoints that are gone: nothing.

use std::sync::Arc;

use muster::event::Event;
use muster::pack::{Pack, compile};
use muster::policy::{FreshnessPolicy, Policy};
use muster::shard::{Freshness, FreshnessCounts, Input, ROUND_MS};
use muster::state::memory::MemoryStore;
use muster::state::{Space, Store};

use crate::engines::Daemon;

const HOUR: i64 = 3_600_000;
const AGES: FreshnessPolicy = FreshnessPolicy { stale_ms: 24 * HOUR, silent_ms: 72 * HOUR, cull_ms: 240 * HOUR };

fn policy(freshness: FreshnessPolicy) -> Input {
    Input::Swap { pack: empty(), policy: Box::new(Policy { freshness, ..Policy::default() }) }
}

fn empty() -> Arc<Pack> {
    Arc::new(Pack::from_bytes(compile(&[], &[])).unwrap())
}

fn daemon(store: MemoryStore, now_ms: i64) -> Daemon {
    let mut daemon = Daemon::start(store, &empty());
    daemon.now_ms = now_ms;
    daemon.shard.begin(AGES, now_ms);
    daemon.apply(policy(AGES));
    daemon
}

fn scan(n: usize) -> String {
    format!(r#"{{"format":"muster.scan/1","tables":{{"sysctl":[{{"key":"all","value":"1"}},{{"key":"own","value":"{n}"}}]}}}}"#)
}

/// Time goes on in steps of ten minutes, with everybody named sending each hour.
fn pass(daemon: &mut Daemon, hours: i64, sending: &[&str]) {
    for step in 0..hours * 6 {
        daemon.now_ms += ROUND_MS;
        for id in sending.iter().filter(|_| step % 6 == 5) {
            daemon.upload(id, scan(0).as_bytes());
        }
        daemon.apply(Input::Tick);
    }
}

fn history(daemon: &Daemon, kind: &str) -> Vec<Event> {
    let events = daemon.store.reader().events(0, 100_000).unwrap();
    events.iter().map(|(_, v)| serde_json::from_slice::<Event>(v).unwrap()).filter(|e| e.kind == kind).collect()
}

fn freshness(daemon: &Daemon, id: &str) -> Option<Freshness> {
    daemon.shard.fleet.find(id).map(|at| daemon.shard.freshness(at))
}

#[test]
fn who_is_not_heard_of_is_stale_then_silent_then_gone() {
    let mut daemon = daemon(MemoryStore::default(), 1_000 * HOUR);
    for id in ["sends", "rests", "leaves"] {
        daemon.enroll(id);
        daemon.upload(id, scan(0).as_bytes());
    }
    pass(&mut daemon, 23, &["sends"]);
    assert_eq!(daemon.shard.freshness_counts(), FreshnessCounts { fresh: 3, stale: 0, silent: 0 });
    pass(&mut daemon, 2, &["sends"]);
    assert_eq!(daemon.shard.freshness_counts(), FreshnessCounts { fresh: 1, stale: 2, silent: 0 });
    assert_eq!(daemon.shard.stale_classes().values().sum::<u32>(), 2);
    assert!(history(&daemon, "endpoint.silent").is_empty(), "to be stale is no event");
    pass(&mut daemon, 48, &["sends"]);
    assert_eq!(daemon.shard.freshness_counts(), FreshnessCounts { fresh: 1, stale: 0, silent: 2 });
    assert_eq!(history(&daemon, "endpoint.silent").len(), 2);
    daemon.upload("rests", scan(0).as_bytes());
    let back = history(&daemon, "endpoint.returned");
    assert_eq!(
        (back.len(), back[0].endpoint.as_deref(), back[0].data["silent_seconds"].as_i64().map(|s| s / 3600)),
        (1, Some("rests"), Some(73))
    );
    assert_eq!(freshness(&daemon, "rests"), Some(Freshness::Fresh));
    pass(&mut daemon, 168, &["sends"]);
    assert_eq!(freshness(&daemon, "leaves"), None, "culled");
    assert_eq!((freshness(&daemon, "sends"), freshness(&daemon, "rests")), (Some(Freshness::Fresh), Some(Freshness::Silent)));
    let culled = history(&daemon, "endpoint.culled");
    assert_eq!((culled.len(), culled[0].endpoint.as_deref(), culled[0].data["cause"].as_str()), (1, Some("leaves"), Some("silent")));
    assert!(history(&daemon, "endpoint.removed").is_empty());
    // The next one to have its place begins anew.
    daemon.enroll("new");
    assert_eq!(freshness(&daemon, "new"), Some(Freshness::Fresh));
    pass(&mut daemon, 25, &["sends"]);
    assert_eq!(freshness(&daemon, "new"), Some(Freshness::Stale), "who never sends is not fresh either");
}

#[test]
fn absences_of_a_clock_that_was_set_back_make_nobody_silent_and_keep_nobody_fresh() {
    let mut first = daemon(MemoryStore::default(), 1_000 * HOUR);
    first.enroll("sends");
    first.upload("sends", scan(0).as_bytes());
    pass(&mut first, 1, &["sends"]);
    // Away for a week; then it turns out that the clock was a week and more ahead.
    let mut ahead = daemon(first.store.reopen(), 1_200 * HOUR);
    pass(&mut ahead, 1, &["sends"]);
    let mut back = daemon(ahead.store.reopen(), 900 * HOUR);
    back.upload("sends", scan(1).as_bytes());
    pass(&mut back, 2, &[]);
    // The absence is yet to come, and is no silence of before.
    let mut again = daemon(back.store.reopen(), back.now_ms);
    pass(&mut again, 1, &[]);
    assert_eq!(freshness(&again, "sends"), Some(Freshness::Fresh));
    assert!(history(&again, "endpoint.silent").is_empty());
    // It was there at this hour, whatever the clock said before; now it is not, once.
    again.upload("sends", scan(2).as_bytes());
    pass(&mut again, 1, &[]);
    let mut last = daemon(again.store.reopen(), 1_300 * HOUR);
    pass(&mut last, 25, &[]);
    assert_eq!(freshness(&last, "sends"), Some(Freshness::Stale));
}

#[test]
fn a_restart_makes_nobody_stale_and_nobody_fresh() {
    let mut before = daemon(MemoryStore::default(), 1_000 * HOUR);
    for id in ["sends", "rests"] {
        before.enroll(id);
        before.upload(id, scan(0).as_bytes());
    }
    pass(&mut before, 100, &["sends"]);
    assert_eq!((freshness(&before, "sends"), freshness(&before, "rests")), (Some(Freshness::Fresh), Some(Freshness::Silent)));
    let told = history(&before, "endpoint.silent").len();
    // Killed, and back after a week: nobody can have been heard of.
    let (store, died_ms) = (before.store.reopen(), before.now_ms);
    let mut after = daemon(store, died_ms + 168 * HOUR);
    after.apply(Input::Tick);
    assert_eq!((freshness(&after, "sends"), freshness(&after, "rests")), (Some(Freshness::Fresh), Some(Freshness::Silent)));
    let at = after.shard.fleet.find("sends").unwrap();
    assert!(died_ms - after.shard.seen_ms(at) <= HOUR + 2 * ROUND_MS, "unchanged scans were remembered too");
    pass(&mut after, 22, &[]);
    assert_eq!(freshness(&after, "sends"), Some(Freshness::Fresh), "nobody is stale because the server was away");
    // A second absence is beside the first.
    let (store, died_ms) = (after.store.reopen(), after.now_ms);
    let mut after = daemon(store, died_ms + 300 * HOUR);
    pass(&mut after, 4, &[]);
    assert_eq!((freshness(&after, "sends"), freshness(&after, "rests")), (Some(Freshness::Stale), Some(Freshness::Silent)));
    assert_eq!(history(&after, "endpoint.silent").len(), told, "nothing is told twice");
    pass(&mut after, 120, &[]);
    assert_eq!(
        (freshness(&after, "sends"), freshness(&after, "rests")),
        (Some(Freshness::Silent), None),
        "240 hours of silence that was listened to"
    );
}

#[test]
fn a_shorter_age_is_told_in_the_next_tick_and_no_age_never() {
    let mut daemon = daemon(MemoryStore::default(), 1_000 * HOUR);
    daemon.enroll("rests");
    daemon.upload("rests", scan(0).as_bytes());
    pass(&mut daemon, 30, &[]);
    assert_eq!(freshness(&daemon, "rests"), Some(Freshness::Stale));
    daemon.apply(policy(FreshnessPolicy { silent_ms: 25 * HOUR, cull_ms: 0, ..AGES }));
    daemon.apply(Input::Tick);
    daemon.now_ms += 60_000;
    daemon.apply(Input::Tick);
    assert_eq!((freshness(&daemon, "rests"), history(&daemon, "endpoint.silent").len()), (Some(Freshness::Silent), 1));
    daemon.apply(policy(FreshnessPolicy { stale_ms: 0, silent_ms: 0, cull_ms: 0 }));
    pass(&mut daemon, 300, &[]);
    assert_eq!(freshness(&daemon, "rests"), Some(Freshness::Fresh));
}

#[test]
fn endpoints_that_are_gone_leave_nothing() {
    let mut daemon = daemon(MemoryStore::default(), 1_000 * HOUR);
    for round in 0..30 {
        let ids: Vec<String> = (0..8).map(|n| format!("e{}", (round * 3 + n) % 20)).collect();
        for (n, id) in ids.iter().enumerate() {
            daemon.enroll(id);
            daemon.upload(id, scan(round * 100 + n).as_bytes());
            daemon.upload(id, scan(round * 100 + n + 50).as_bytes());
        }
        daemon.now_ms += HOUR;
        daemon.apply(Input::Tick);
        for id in &ids {
            daemon.apply(Input::Remove { endpoint: id.clone() });
        }
    }
    daemon.apply(Input::Tick);
    let shard = &daemon.shard;
    assert_eq!((shard.fleet.len(), shard.rows().len(), shard.rows().aliases(), shard.rows().text_bytes()), (0, 0, 0, 0));
    assert_eq!((shard.fleet.images.len(), shard.fleet.classes.len(), shard.fleet.places().min(9)), (0, 0, shard.fleet.places()));
    assert_eq!(shard.freshness_counts(), FreshnessCounts::default());
    assert_eq!(shard.fleet.index().difference(&muster::fleet::Fleet::default().index_anew()), None);
    assert_eq!(shard.stale().len(), 0);
    for space in Space::FIXED.into_iter().filter(|s| !matches!(s, Space::Meta | Space::Seen | Space::Names | Space::Trends)) {
        let mut left = 0;
        let count = &mut |_: &[u8], _: &[u8]| {
            left += 1;
            Ok(())
        };
        daemon.store.each(space, count).unwrap();
        assert_eq!(left, 0, "{}", space.name());
    }
}
