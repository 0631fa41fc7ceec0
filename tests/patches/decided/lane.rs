//! Catalogs in a lane of their own against catalogs at once and against all rows asked again, with uploads, removals, decisions and ticks between the lane's steps, and killed
//! between any two batches.

use muster::policy::Baseline;
use muster::shard::{CatalogLane, Progress, Shard, Watching};
use muster::simulate::Random;
use proptest::prelude::*;
use serde_json::Value;

use super::random::{Play, advisories, news_between};
use super::*;

/// Baselines require patches, of all and of some.
fn required() -> Policy {
    let of = |name: &str, patches: &[&str], group: Option<&str>| Baseline {
        name: name.into(),
        patches: patches.iter().map(|p| (*p).to_owned()).collect(),
        group: group.map(str::to_owned),
        ..Baseline::default()
    };
    let baselines = vec![
        of("all", &["DSA-2026-1", "CVE-2026-1", "DSA-2026-2", "CVE-2026-2"], None),
        of("web", &["DSA-2026-3", "CVE-2026-3", "CVE-2026-7", "DSA-2026-7"], Some("web")),
    ];
    Policy { baselines, ..policy() }
}

/// Beside a feed that stays as it is, and whose patches have other positions each time.
fn feeds(advisories: Vec<Advisory>) -> Arc<Catalog> {
    let part = |feed: &str, of: &Catalog| Part { feed: feed.into(), segments: of.parts()[0].segments.clone() };
    let same = catalog(vec![
        says("SAME-1", "critical", false, &[("p1", Ok("3")), ("p2", Err(FixState::NoFix))]),
        says("SAME-2", "low", true, &[("p1", Ok("6"))]),
        says("SAME-3", "high", false, &[("p4", Ok("2")), ("p5", Ok("7"))]),
        update_of_windows("kb5000003", "Windows Server 2022"),
    ]);
    Arc::new(Catalog::new(vec![part("debian", &catalog(advisories)), part("same", &same)], Arc::new(Threats::default())))
}

/// A fleet with some history, and the catalog that comes next.
fn begun(seed: u64) -> (Play, Arc<Catalog>, FeedNews) {
    let mut play = Play::new(seed, required());
    (0..7).for_each(|_| play.happen_beside(true));
    let first = feeds(advisories(&mut play.random));
    play.home.daemon.apply(Input::Catalog { catalog: first, news: Vec::new() });
    (0..7).for_each(|_| play.happen_beside(true));
    let next = feeds(advisories(&mut play.random));
    let news = news_between(&play.home.daemon.shard.catalog, &next);
    (play, next, news)
}

fn watch(play: &mut Play) -> Watching {
    match play.home.daemon.apply(Input::Watch) {
        Reply::Watching(watching) => watching,
        other => panic!("{other:?}"),
    }
}

fn settle(play: &mut Play) {
    while let Reply::Settled { left: 1.. } = play.home.daemon.apply(Input::Settle) {}
}

/// As the daemon drives it. Some things happen between its steps, some after the last.
fn in_lane(play: &mut Play, (next, news): (Arc<Catalog>, FeedNews), (between, after): (usize, usize), when: &mut Random) {
    let watching = watch(play);
    let mut lane = CatalogLane::begin(&play.home.daemon.shard, Some(watching), next, vec![news]);
    let mut left = between;
    loop {
        while left > 0 && when.percent(50) {
            play.happen_beside(true);
            left -= 1;
        }
        match lane.step(&play.home.daemon.shard) {
            Progress::Working(share) => assert!((0.0..1.0).contains(&share)),
            Progress::Caught(0) if left == 0 => break,
            Progress::Caught(_) => {}
            Progress::Lost => panic!("lost"),
        }
    }
    (0..after).for_each(|_| play.happen_beside(false));
    assert!(matches!(play.home.daemon.apply(Input::FinishCatalog(Box::new(lane))), Reply::Switched(_)));
}

/// Open tasks, by endpoint.
fn tasks(shard: &Shard) -> Vec<(u32, String)> {
    let mut open: Vec<_> = shard.tasks().filter(|(_, t)| t.state.is_open()).map(|(at, t)| (at.0, t.item.clone())).collect();
    open.sort();
    open
}

fn told(play: &Play) -> Vec<(String, Option<String>, Value)> {
    let events = play.home.daemon.store.reader().events(0, 100_000).unwrap();
    let event = |v: &[u8]| serde_json::from_slice::<Event>(v).unwrap();
    let data = |mut e: Event| {
        // Tasks are queued in a batch of their own: later.
        if let Some(task) = e.data.get_mut("task").and_then(Value::as_object_mut) {
            ["created_at", "changed_at"].iter().for_each(|k| drop(task.remove(*k)));
        }
        (e.kind, e.endpoint, e.data)
    };
    events.iter().map(|(_, v)| data(event(v))).collect()
}

type Stood = (Vec<(String, Posture)>, Vec<(String, u32, bool)>, Vec<(u32, String)>, muster::shard::PatchTotals);

/// What a shard says of patches without a look at rows.
fn stood(shard: &Shard) -> Stood {
    let postures = shard.fleet.iter().map(|(at, e)| (e.id.to_string(), shard.posture(at))).collect();
    let alerts = shard.alerts().map(|(a, missing)| (a.id.clone(), missing, a.unclear)).collect();
    (postures, alerts, tasks(shard), *shard.patch_totals())
}

/// The process starts on what a store holds, with this catalog.
fn started(play: &Play, store: MemoryStore, catalog: &Arc<Catalog>) -> Play {
    let mut again = Play::new(0, required());
    again.home.daemon = Daemon::start(store, &play.home.pack);
    again.home.daemon.shard.set_catalog(catalog.clone());
    assert!(again.home.daemon.shard.resume(&play.home.pack, play.home.policy.clone()).is_none());
    again.home.daemon.now_ms = play.home.daemon.now_ms;
    again.ticked_ms = play.ticked_ms;
    again
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::random::cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_comes_to_what_all_rows_say(seed in any::<u64>(), when in any::<u64>()) {
        let (mut play, mut next, mut news) = begun(seed);
        let mut when = Random::new(when);
        for _ in 0..3 {
            in_lane(&mut play, (next, news), (6, 3), &mut when);
            settle(&mut play);
            play.check();
            (0..3).for_each(|_| play.happen_beside(true));
            play.check();
            next = feeds(advisories(&mut play.random));
            news = news_between(&play.home.daemon.shard.catalog, &next);
        }
    }

    #[test]
    fn a_lane_tells_what_a_catalog_at_once_does(seed in any::<u64>(), when in any::<u64>()) {
        let (mut lane, next, news) = begun(seed);
        let (mut whole, ..) = begun(seed);
        in_lane(&mut lane, (next.clone(), news.clone()), (6, 3), &mut Random::new(when));
        settle(&mut lane);
        watch(&mut whole);
        (0..6).for_each(|_| whole.happen_beside(true));
        (0..3).for_each(|_| whole.happen_beside(false));
        whole.home.daemon.apply(Input::Catalog { catalog: next, news: vec![news] });
        whole.check();
        prop_assert_eq!(stood(&lane.home.daemon.shard), stood(&whole.home.daemon.shard));
        prop_assert_eq!(told(&lane), told(&whole));
        let states = |play: &Play| {
            let shard = &play.home.daemon.shard;
            shard.fleet.iter().map(|(at, _)| shard.patch_states(at)).collect::<Vec<_>>()
        };
        prop_assert_eq!(states(&lane), states(&whole));
    }

    /// The process dies between any two batches: what is there is held against the old catalog or the new one, and a start goes on with either.
    #[test]
    fn killed_between_batches(seed in any::<u64>()) {
        let (mut play, next, news) = begun(seed);
        let (old, before) = (play.home.daemon.shard.catalog.clone(), stood(&play.home.daemon.shard));
        let watching = watch(&mut play);
        let mut lane = CatalogLane::begin(&play.home.daemon.shard, Some(watching), next.clone(), vec![news]);
        while lane.step(&play.home.daemon.shard) != Progress::Caught(0) {}
        let again = started(&play, play.home.daemon.store.copy(), &old);
        prop_assert_eq!(stood(&again.home.daemon.shard), before, "nothing is written before the switch");
        play.home.daemon.apply(Input::FinishCatalog(Box::new(lane)));
        let mut after = Vec::new();
        loop {
            let mut again = started(&play, play.home.daemon.store.copy(), &next);
            settle(&mut again);
            again.check();
            after.push(stood(&again.home.daemon.shard));
            if !matches!(play.home.daemon.apply(Input::Settle), Reply::Settled { left: 1.. }) {
                break;
            }
        }
        for after in after {
            prop_assert_eq!(after, stood(&play.home.daemon.shard));
        }
    }
}

#[test]
fn a_lane_that_was_overtaken_changes_nothing() {
    let (mut play, next, news) = begun(3);
    let other = catalog(vec![says("DSA-2026-1", "critical", false, &[("p1", Ok("5"))])]);
    let watching = watch(&mut play);
    let mut lane = CatalogLane::begin(&play.home.daemon.shard, Some(watching), next, vec![news]);
    while lane.step(&play.home.daemon.shard) != Progress::Caught(0) {}
    play.home.daemon.apply(Input::Catalog { catalog: other.clone(), news: Vec::new() });
    assert_eq!(lane.step(&play.home.daemon.shard), Progress::Lost);
    assert_eq!(play.attempt_stale(Input::FinishCatalog(Box::new(lane))), Refusal::Stale);
    assert_eq!(play.home.daemon.shard.catalog_digest(), other.digest());
    play.check();
}

/// What is decided after the last look is in no count of the lane.
#[test]
fn a_decision_after_the_last_look_is_not_lost() {
    let (mut play, next, news) = begun(5);
    play.home.enroll("z", &[]);
    play.home.upload("z", &Machine::linux(&[("p1", "0")]));
    let watching = watch(&mut play);
    let mut lane = CatalogLane::begin(&play.home.daemon.shard, Some(watching), next, vec![news]);
    while lane.step(&play.home.daemon.shard) != Progress::Caught(0) {}
    play.home.exempt(Scope::Everywhere, &["*"], None);
    assert!(matches!(lane.step(&play.home.daemon.shard), Progress::Working(_)), "it looks again");
    while lane.step(&play.home.daemon.shard) != Progress::Caught(0) {}
    play.home.exempt(Scope::Endpoint("z".into()), &["DSA-*"], None);
    assert_eq!(play.attempt_stale(Input::FinishCatalog(Box::new(lane))), Refusal::Stale);
}
