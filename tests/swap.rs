//! Swaps in a lane against swaps at once and against a fleet that never knew anything else, with uploads between the lane's steps, and killed between any two batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::event::Event;
use muster::judge::Verdict;
use muster::pack::{Pack, compile};
use muster::policy::{Baseline, Policy, Subscription};
use muster::rule::{Fix, FixState, RulePack};
use muster::scan::native;
use muster::shard::{Input, Lane, Progress, Refusal, Reply, Shard};
use muster::state::Store;
use muster::state::memory::MemoryStore;
use proptest::prelude::*;

use crate::engines::Daemon;
use crate::generate::Bytes;

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Rules with fixes, so that baselines can require them.
fn rules(bytes: &mut Bytes<'_>, rules: usize) -> RulePack {
    let mut pack = bytes.pack(rules);
    for rule in &mut pack.rules {
        rule.fix = Some(Fix { package: "chrony".into(), state: FixState::Installed });
    }
    pack
}

fn opened(pack: &RulePack) -> Arc<Pack> {
    Arc::new(Pack::from_bytes(compile(std::slice::from_ref(pack), &[])).expect("a compiled pack opens"))
}

/// Some rules of the one and some of the other: what a new version of a pack is.
fn mixed(bytes: &mut Bytes<'_>, old: &RulePack, new: &RulePack) -> RulePack {
    let mut mixed = old.clone();
    mixed.rules.clear();
    for (at, (a, b)) in old.rules.iter().zip(&new.rules).enumerate() {
        match bytes.below(5) {
            // The same, the same with other words, another one under its id, gone, and one more.
            0 | 1 => mixed.rules.push(a.clone()),
            2 => {
                let mut other = a.clone();
                other.title = format!("{} again", a.title);
                mixed.rules.push(other);
            }
            3 => {
                let mut other = b.clone();
                other.id.clone_from(&a.id);
                mixed.rules.push(other);
            }
            _ => {
                let mut other = b.clone();
                other.id = format!("new-{at}");
                mixed.rules.insert(0, other);
            }
        }
    }
    mixed
}

fn policy(bytes: &mut Bytes<'_>, pack: &Pack) -> Policy {
    let ids: Vec<String> = pack.rules().map(|r| pack.rule_id(r).to_owned()).collect();
    let mut some = || ids.iter().filter(|_| bytes.below(3) == 0).cloned().collect::<Vec<String>>();
    let (required, excluded) = (some(), some());
    Policy {
        baselines: vec![Baseline { name: "must".into(), rules: required, ..Baseline::default() }],
        subscriptions: vec![Subscription { sink: "tickets".into(), events: vec!["*".into()] }],
        excluded: excluded.into_iter().collect(),
        ..Policy::default()
    }
}

/// One thing that happens to a fleet.
#[derive(Clone, Debug)]
enum Happens {
    Upload(&'static str, Vec<u8>),
    Remove(&'static str),
    Enroll(&'static str),
    Tick,
}

fn happens(bytes: &mut Bytes<'_>) -> Happens {
    let id = IDS[bytes.below(IDS.len())];
    match bytes.below(10) {
        0 => Happens::Remove(id),
        1 => Happens::Enroll(id),
        2 => Happens::Tick,
        _ => {
            let mut scan = bytes.scan();
            scan.endpoint = id.to_owned();
            Happens::Upload(id, native::encode(&scan, None, |_| true))
        }
    }
}

fn happen(daemon: &mut Daemon, what: &Happens) {
    let known = |daemon: &Daemon, id: &str| daemon.shard.fleet.find(id).is_some();
    match what {
        Happens::Upload(id, document) if known(daemon, id) => drop(daemon.upload(id, document)),
        Happens::Remove(id) if known(daemon, id) => drop(daemon.apply(Input::Remove { endpoint: (*id).to_owned() })),
        Happens::Enroll(id) => daemon.enroll(id),
        Happens::Tick => drop(daemon.apply(Input::Tick)),
        Happens::Upload(..) | Happens::Remove(_) => {}
    }
}

fn events(store: &MemoryStore) -> Vec<(String, Option<String>, serde_json::Value)> {
    let events = store.reader().events(0, 100_000).expect("events");
    let read = |v: &[u8]| serde_json::from_slice::<Event>(v).expect("an event");
    events.iter().map(|(_, v)| read(v)).map(|e| (e.kind, e.endpoint, e.data)).collect()
}

fn open_tasks(shard: &Shard) -> Vec<(u32, String)> {
    let mut open: Vec<_> = shard.tasks().filter(|(_, t)| t.state.is_open()).map(|(at, t)| (at.0, t.item.clone())).collect();
    open.sort();
    open
}

/// A fleet that was judged by nothing else: the same rows and endpoints, the new pack from the start.
fn fresh(daemon: &Daemon, pack: &Arc<Pack>, policy: &Policy) -> Daemon {
    let mut fresh = Daemon::start(MemoryStore::default(), pack);
    fresh.apply(Input::Swap { pack: pack.clone(), policy: Box::new(policy.clone()) });
    for (_, endpoint) in daemon.shard.fleet.iter() {
        fresh.enroll(&endpoint.id);
        if endpoint.held.is_some() {
            let scan = daemon.shard.fleet.scan_of(endpoint, daemon.shard.limits());
            fresh.upload(&endpoint.id, &native::encode(&scan, None, |_| true));
        }
    }
    fresh
}

fn verdicts(daemon: &Daemon) -> BTreeMap<String, Vec<Verdict>> {
    let held = daemon.shard.fleet.iter().filter(|(_, e)| e.held.is_some());
    held.map(|(_, e)| (e.id.to_string(), daemon.verdicts(&e.id))).collect()
}

fn same_as_fresh(daemon: &Daemon, pack: &Arc<Pack>, policy: &Policy) -> Result<(), TestCaseError> {
    let fresh = fresh(daemon, pack, policy);
    prop_assert_eq!(daemon.shard.pack.digest(), pack.digest());
    prop_assert_eq!(verdicts(daemon), verdicts(&fresh));
    let (a, b) = (&daemon.shard.fleet, &fresh.shard.fleet);
    for rule in pack.rules() {
        let of = |fleet: &muster::fleet::Fleet| Verdict::ALL.map(|v| fleet.classes.endpoints(rule, v));
        prop_assert_eq!(of(a), of(b), "counts of {}", pack.rule_id(rule));
    }
    prop_assert_eq!(a.classes.held(), b.classes.held());
    for (id, table, bytes) in a.rows.iter() {
        let hits = muster::fleet::rows::ask(pack, table, bytes, daemon.shard.limits());
        prop_assert_eq!(a.rows.hits(id), &*hits, "what a row of {} says", table.name());
    }
    for (_, endpoint) in a.iter() {
        let Some(held) = &endpoint.held else { continue };
        let mut hits: Vec<_> = a.hits_of(held).map(|h| (h.term, h.answer)).collect();
        let mut rows: Vec<_> = a.rows_of(held).iter().flat_map(|r| a.rows.hits(*r)).map(|h| (h.term, h.answer)).collect();
        hits.sort_unstable();
        rows.sort_unstable();
        prop_assert_eq!(hits, rows);
    }
    prop_assert_eq!(a.index().difference(&a.index_anew()), None);
    Ok(())
}

/// Drives a lane with something happening between its steps, as the daemon does. Its batches go to the store one by one.
fn swap_in_lane(daemon: &mut Daemon, pack: &Arc<Pack>, policy: &Policy, between: &mut dyn FnMut(&mut Daemon)) {
    let Reply::Watching(watching) = daemon.apply(Input::Watch) else { panic!("a watch") };
    let mut lane = Lane::begin(&daemon.shard, watching, pack.clone(), policy.clone());
    let mut steps = 0;
    loop {
        between(daemon);
        steps += 1;
        match lane.step(&daemon.shard) {
            Progress::Working(share) => assert!((0.0..1.0).contains(&share)),
            Progress::Caught(left) => {
                if left == 0 || steps > 60 {
                    break;
                }
            }
            Progress::Lost => panic!("lost"),
        }
    }
    (0..4).for_each(|_| between(daemon));
    assert!(matches!(daemon.apply(Input::Finish(Box::new(lane))), Reply::Switched(_)));
    while let Reply::Settled { left: 1.. } = daemon.apply(Input::Settle) {}
}

/// A daemon with some history, its pack, and what comes next.
fn begun(bytes: &mut Bytes<'_>) -> (Daemon, RulePack, RulePack) {
    let (old, new) = (rules(bytes, 5), rules(bytes, 5));
    let first = opened(&old);
    let mut daemon = Daemon::start(MemoryStore::default(), &first);
    let policy = policy(bytes, &first);
    daemon.apply(Input::Swap { pack: first, policy: Box::new(policy) });
    IDS.iter().take(4).for_each(|id| daemon.enroll(id));
    for _ in 0..8 {
        let what = happens(bytes);
        happen(&mut daemon, &what);
    }
    let next = mixed(bytes, &old, &new);
    (daemon, old, next)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::engines::cases() / 10, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_comes_to_what_a_fresh_fleet_is(noise in prop::collection::vec(any::<u8>(), 600..6000)) {
        let mut bytes = Bytes::new(&noise);
        let (mut daemon, old, next) = begun(&mut bytes);
        for pack in [&next, &old, &next] {
            let pack = opened(pack);
            let policy = policy(&mut bytes, &pack);
            swap_in_lane(&mut daemon, &pack, &policy, &mut |daemon| {
                if bytes.below(2) == 0 {
                    let what = happens(&mut bytes);
                    happen(daemon, &what);
                }
            });
            same_as_fresh(&daemon, &pack, &policy)?;
            // What is stored is what is there.
            let again = Daemon::start(daemon.store.reopen(), &pack);
            prop_assert_eq!(verdicts(&again), verdicts(&daemon));
            prop_assert_eq!(open_tasks(&again.shard), open_tasks(&daemon.shard));
            // And goes on to be.
            for _ in 0..3 {
                let what = happens(&mut bytes);
                happen(&mut daemon, &what);
            }
            let again = Daemon::start(daemon.store.reopen(), &pack);
            prop_assert_eq!(verdicts(&again), verdicts(&daemon));
            same_as_fresh(&again, &pack, &policy)?;
        }
    }

    #[test]
    fn a_lane_tells_what_a_swap_at_once_does(noise in prop::collection::vec(any::<u8>(), 600..4000)) {
        let mut bytes = Bytes::new(&noise);
        let (mut lane, _, next) = begun(&mut bytes);
        let mut bytes = Bytes::new(&noise);
        let (mut whole, ..) = begun(&mut bytes);
        prop_assert_eq!(events(&lane.store), events(&whole.store), "the same history");
        let pack = opened(&next);
        let policy = policy(&mut bytes, &pack);
        let between: Vec<Happens> = (0..4).map(|_| happens(&mut bytes)).collect();
        // All that happens before the switch happens under the old generation, wherever the lane is.
        let mut left = between.clone().into_iter();
        swap_in_lane(&mut lane, &pack, &policy, &mut |daemon| left.by_ref().next().iter().for_each(|what| happen(daemon, what)));
        prop_assert!(left.next().is_none(), "something did not happen");
        between.iter().for_each(|what| happen(&mut whole, what));
        whole.apply(Input::Swap { pack: pack.clone(), policy: Box::new(policy.clone()) });
        prop_assert_eq!(verdicts(&lane), verdicts(&whole));
        prop_assert_eq!(open_tasks(&lane.shard), open_tasks(&whole.shard));
        let data = |mut e: (String, Option<String>, serde_json::Value)| {
            // Tasks and episodes are named by the number of the event that comes next; times differ.
            if let Some(task) = e.2.get_mut("task").and_then(|t| t.as_object_mut()) {
                ["created_at", "changed_at"].iter().for_each(|k| drop(task.remove(*k)));
            }
            if let Some(data) = e.2.as_object_mut().filter(|d| d.get("opened").is_some_and(serde_json::Value::is_string)) {
                data.remove("opened");
            }
            e
        };
        let told = |d: &Daemon| events(&d.store).into_iter().map(data).collect::<Vec<_>>();
        prop_assert_eq!(told(&lane), told(&whole));
    }

    /// The process dies between any two batches: what is there is the old generation or the new one, and a start goes on with either.
    #[test]
    fn killed_between_batches(noise in prop::collection::vec(any::<u8>(), 600..3000)) {
        let mut bytes = Bytes::new(&noise);
        let (mut daemon, old, next) = begun(&mut bytes);
        let (before, pack) = (opened(&old), opened(&next));
        let policy = policy(&mut bytes, &pack);
        let old_verdicts = verdicts(&daemon);
        let Reply::Watching(watching) = daemon.apply(Input::Watch) else { panic!("a watch") };
        let mut lane = Lane::begin(&daemon.shard, watching, pack.clone(), policy.clone());
        while lane.step(&daemon.shard) != Progress::Caught(0) {}
        let at = |daemon: &Daemon, pack: &Arc<Pack>| verdicts(&Daemon::start(daemon.store.copy(), pack));
        prop_assert_eq!(at(&daemon, &before), old_verdicts, "nothing is written before the switch");
        daemon.apply(Input::Finish(Box::new(lane)));
        let new_verdicts = verdicts(&daemon);
        let mut after = Vec::new();
        loop {
            let mut again = Daemon::start(daemon.store.copy(), &pack);
            prop_assert_eq!(verdicts(&again), new_verdicts.clone());
            // A start goes on with what the swap left.
            again.apply(Input::Swap { pack: pack.clone(), policy: Box::new(policy.clone()) });
            while let Reply::Settled { left: 1.. } = again.apply(Input::Settle) {}
            after.push(open_tasks(&again.shard));
            if !matches!(daemon.apply(Input::Settle), Reply::Settled { left: 1.. }) {
                break;
            }
        }
        after.into_iter().try_for_each(|tasks| {
            prop_assert_eq!(tasks, open_tasks(&daemon.shard));
            Ok(())
        })?;
        same_as_fresh(&daemon, &pack, &policy)?;
    }
}

/// A start under another policy does not know the one before: what was left out by it is judged, what is left out now is not.
#[test]
fn a_policy_that_changed_while_the_process_was_away() {
    let noise: Vec<u8> = (0..=255).cycle().take(6000).map(|b: u8| b.wrapping_mul(83)).collect();
    let mut bytes = Bytes::new(&noise);
    let (mut daemon, _, next) = begun(&mut bytes);
    let pack = opened(&next);
    let ids: Vec<String> = pack.rules().map(|r| pack.rule_id(r).to_owned()).collect();
    let without = |n: usize| Policy { excluded: ids.iter().skip(n).take(2).cloned().collect(), ..Policy::default() };
    daemon.apply(Input::Swap { pack: pack.clone(), policy: Box::new(without(0)) });
    let mut again = Daemon::start(daemon.store.reopen(), &pack);
    assert!(again.shard.resume(&pack, without(1)).is_some());
    again.apply(Input::Swap { pack: pack.clone(), policy: Box::new(without(1)) });
    same_as_fresh(&again, &pack, &without(1)).expect("judged by the new policy");
}

#[test]
fn a_lane_that_was_overtaken_changes_nothing() {
    let noise: Vec<u8> = (0..=255).cycle().take(6000).map(|b: u8| b.wrapping_mul(151)).collect();
    let mut bytes = Bytes::new(&noise);
    let (mut daemon, old, next) = begun(&mut bytes);
    let (before, pack) = (opened(&old), opened(&next));
    let Reply::Watching(watching) = daemon.apply(Input::Watch) else { panic!("a watch") };
    let mut lane = Lane::begin(&daemon.shard, watching, pack.clone(), Policy::default());
    daemon.apply(Input::Swap { pack: before.clone(), policy: Box::new(Policy::default()) });
    while !matches!(lane.step(&daemon.shard), Progress::Lost | Progress::Caught(0)) {}
    let applied = daemon.shard.apply(vec![Input::Finish(Box::new(lane))], daemon.now_ms);
    assert!(matches!(applied.replies[0], Err(Refusal::Stale)) && applied.batch.is_empty());
    same_as_fresh(&daemon, &before, &Policy::default()).expect("as it was");
}
