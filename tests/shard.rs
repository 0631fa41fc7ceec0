//! What sinks hear, and when: a flap is not told, a changed rule is told once, old history goes in whole weeks.

use std::sync::Arc;

use muster::drift::DriftPolicy;
use muster::event::Event;
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::policy::{Policy, Subscription};
use muster::rule::{Source, SourceFile, read_pack};
use muster::shard::Input;
use muster::state::memory::MemoryStore;
use muster::state::{Batch, SEGMENT_MS, Store, segment};

use crate::engines::Daemon;

const HOLD_MS: i64 = 600_000;

/// One rule: the number is the one that is wanted.
fn pack(wanted: &str) -> Arc<Pack> {
    let head = "id: p\ntitle: t\nversion: 1.0.0\ndescription: d\n".to_owned();
    let rule = format!(
        "id: number\ntitle: The number is right\nseverity: high\nplatforms: [linux]\nrationale: it is a test\ncheck: sysctl[\"test.n\"] == \"{wanted}\"\n\
         missing: fail\nremediation: change it\ntests:\n  - {{pass: {{sysctl: [{{key: test.n, value: \"{wanted}\"}}]}}}}\n  - {{fail: {{sysctl: []}}}}\n"
    );
    let file = |path: &str, text: String| SourceFile { path: path.to_owned(), text };
    let source = Source { pack: file("p/pack.yaml", head), rules: vec![file("p/number.yaml", rule)] };
    let (pack, problems) = read_pack(&source, &Limits::default());
    Arc::new(Pack::from_bytes(compile(&[pack.unwrap_or_else(|| panic!("{problems:?}"))], &[])).unwrap())
}

fn policy() -> Policy {
    let subscriptions = vec![Subscription { sink: "tickets".into(), events: vec!["drift.*".into()] }];
    Policy { subscriptions, drift: DriftPolicy { hold_ms: HOLD_MS, reopen_ms: 10 * HOLD_MS }, ..Policy::default() }
}

fn daemon(pack: &Arc<Pack>) -> Daemon {
    let mut daemon = Daemon::start(MemoryStore::default(), pack);
    daemon.apply(Input::Swap { pack: pack.clone(), policy: Box::new(policy()) });
    daemon
}

fn scan(number: u32) -> String {
    format!(r#"{{"format":"muster.scan/1","tables":{{"os":[{{"family":"linux"}}],"sysctl":[{{"key":"test.n","value":"{number}"}}]}}}}"#)
}

fn history(daemon: &Daemon, kind: &str) -> Vec<Event> {
    let events = daemon.store.reader().events(0, 10_000).unwrap();
    events.iter().map(|(_, v)| serde_json::from_slice::<Event>(v).unwrap()).filter(|e| e.kind == kind).collect()
}

#[test]
fn a_flap_opens_no_ticket_and_what_lasts_opens_one() {
    let mut daemon = daemon(&pack("1"));
    daemon.enroll("a");
    for number in [1, 2, 1] {
        daemon.upload("a", scan(number).as_bytes());
    }
    daemon.now_ms += 2 * HOLD_MS;
    daemon.apply(Input::Tick);
    assert_eq!(daemon.shard.outbox.len(), 0, "it flapped");
    assert_eq!((history(&daemon, "drift.opened").len(), history(&daemon, "drift.resolved").len()), (1, 1), "history has it");
    daemon.upload("a", scan(2).as_bytes());
    daemon.apply(Input::Tick);
    assert_eq!(daemon.shard.outbox.len(), 0, "it has not lasted yet");
    daemon.now_ms += HOLD_MS;
    daemon.apply(Input::Tick);
    daemon.apply(Input::Tick);
    assert_eq!(daemon.shard.outbox.len(), 1, "it lasted, and is told once");
    daemon.upload("a", scan(1).as_bytes());
    assert_eq!(daemon.shard.outbox.len(), 2, "what was told is resolved at once");
    assert_eq!(history(&daemon, "drift.reopened")[0].data["episode"], history(&daemon, "drift.opened")[0].data["episode"]);
}

#[test]
fn a_changed_rule_is_one_event_however_many_endpoints_turn() {
    let mut daemon = daemon(&pack("1"));
    for i in 0..300 {
        daemon.enroll(&format!("e{i}"));
        daemon.upload(&format!("e{i}"), scan(1).as_bytes());
    }
    let waiting = daemon.shard.outbox.len();
    daemon.apply(Input::Swap { pack: pack("2"), policy: Box::new(policy()) });
    let changed = history(&daemon, "drift.rule_changed");
    let last = changed.last().unwrap();
    assert_eq!((last.data["opened"].as_u64(), last.data["cause"].as_str()), (Some(300), Some("rule_changed")));
    assert_eq!(daemon.shard.outbox.len(), waiting + 1);
    assert!(history(&daemon, "drift.opened").is_empty());
}

#[test]
fn what_a_swap_wrote_of_an_endpoint_is_not_said_of_who_has_its_number_later() {
    let mut daemon = daemon(&pack("1"));
    for (id, number) in [("a", 2), ("b", 3)] {
        daemon.enroll(id);
        daemon.upload(id, scan(number).as_bytes());
    }
    // They were in one class; now one of them is in another than its record says, for its first scan.
    let next = pack("2");
    daemon.apply(Input::Swap { pack: next.clone(), policy: Box::new(policy()) });
    for (id, later, number) in [("a", "a-2", 3), ("b", "b-2", 2)] {
        let at = daemon.shard.fleet.find(id);
        daemon.upload(id, scan(number).as_bytes());
        daemon.apply(Input::Remove { endpoint: id.to_owned() });
        daemon.enroll(later);
        assert_eq!(daemon.shard.fleet.find(later), at);
        daemon.upload(later, scan(number).as_bytes());
    }
    let again = Daemon::start(daemon.store.reopen(), &next);
    for id in ["a-2", "b-2"] {
        assert_eq!(again.verdicts(id), daemon.verdicts(id), "{id}");
    }
}

#[test]
fn history_goes_in_whole_weeks_and_numbers_go_on() {
    let pack = pack("1");
    let mut daemon = daemon(&pack);
    daemon.enroll("a");
    let last = daemon.shard.last_seq();
    let old = daemon.store.segments();
    assert_eq!(old, [segment(daemon.now_ms)]);
    let mut batch = Batch::default();
    daemon.shard.expire(&old, daemon.now_ms, &mut batch);
    assert!(batch.is_empty(), "it is still kept");
    daemon.shard.expire(&old, daemon.now_ms + policy().retention_ms + SEGMENT_MS, &mut batch);
    assert_eq!(batch.drop_segments, old);
    daemon.store.commit(&batch).unwrap();
    assert!(daemon.store.segments().is_empty());
    let again = Daemon::start(daemon.store.reopen(), &pack);
    assert_eq!(again.shard.last_seq(), last);
}
