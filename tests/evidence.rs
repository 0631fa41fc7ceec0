//! What open episodes show: as soon as an upload says something else to their rule, and not sooner.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::drift::DriftPolicy;
use muster::event::Event;
use muster::fleet::EndpointId;
use muster::judge::Verdict;
use muster::pack::{Pack, RuleId, compile};
use muster::policy::Policy;
use muster::scan::digest::Digest;
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, TableData, native};
use muster::shard::Input;
use muster::state::Store;
use muster::state::memory::MemoryStore;
use proptest::prelude::*;

use crate::engines::Daemon;
use crate::generate::Bytes;

/// Rules with these conditions, `rule-0` and so on.
fn pack(checks: &[&str]) -> Arc<Pack> {
    let noise = [0; 64];
    let mut pack = Bytes::new(&noise).pack(checks.len());
    for (rule, check) in pack.rules.iter_mut().zip(checks) {
        rule.check = muster::rule::check::check(check, &Default::default()).unwrap_or_else(|p| panic!("{check}: {p:?}"));
        (rule.when, rule.platforms, rule.missing) = (None, Vec::new(), Verdict::Fail);
    }
    Arc::new(Pack::from_bytes(compile(&[pack], &[])).expect("a compiled pack opens"))
}

fn table(name: &str) -> TableId {
    TableId::by_name(name).expect("a table")
}

fn sysctl(key: &str, value: &str) -> Row {
    Row::new(table("sysctl")).with("key", key).with("value", value)
}

fn package(name: &str) -> Row {
    Row::new(table("package")).with("name", name).with("version", "1").with("format", "deb")
}

fn scan(rows: impl IntoIterator<Item = Row>) -> Scan {
    let mut scan = Scan { endpoint: "a".to_owned(), ..Scan::default() };
    scan.tables.insert(table("sysctl"), TableData::Rows(Vec::new()));
    scan.tables.insert(table("package"), TableData::Rows(Vec::new()));
    rows.into_iter().for_each(|row| scan.push(row));
    scan.normalise();
    scan
}

/// One endpoint that had all of this and passed.
fn daemon(checks: &[&str], first: Scan) -> Daemon {
    let mut daemon = Daemon::start(MemoryStore::default(), &pack(checks));
    daemon.enroll("a");
    send(&mut daemon, &first);
    assert!(daemon.verdicts("a").iter().all(|v| *v == Verdict::Pass), "{:?}", daemon.verdicts("a"));
    daemon
}

fn send(daemon: &mut Daemon, scan: &Scan) {
    daemon.upload(&scan.endpoint, &native::encode(scan, None, |_| true));
}

/// The drift that is in history from an event on: kind and rule, with the evidence that was told.
fn drift_since(daemon: &Daemon, from: u64) -> Vec<(String, String, Vec<String>)> {
    let events = daemon.store.reader().events(from, 10_000).expect("events");
    let events = events.iter().map(|(_, v)| serde_json::from_slice::<Event>(v).expect("an event"));
    let told = |e: &Event| serde_json::from_value(e.data["evidence"].clone()).expect("evidence");
    let drift = events.filter(|e| e.kind.starts_with("drift.") && e.kind != "drift.rule_changed");
    drift.map(|e| (e.kind.clone(), e.data["rule"].as_str().expect("a rule").to_owned(), told(&e))).collect()
}

/// What an upload brings about.
fn after(daemon: &mut Daemon, scan: &Scan) -> Vec<(String, String, Vec<String>)> {
    let from = daemon.shard.last_seq() + 1;
    send(daemon, scan);
    drift_since(daemon, from)
}

fn shown(daemon: &Daemon, rule: &str) -> Vec<String> {
    let at = daemon.shard.fleet.find("a").expect("the endpoint");
    let kept = daemon.shard.episodes_of(at).find(|(r, _)| *r == rule).expect("an episode").1;
    assert!(kept.episode.open, "{rule}");
    kept.episode.evidence.clone()
}

#[test]
fn other_evidence_updates_an_episode_once() {
    let mut daemon = daemon(&["sysctl[\"n\"] == \"1\""], scan([sysctl("n", "1")]));
    let opened = after(&mut daemon, &scan([sysctl("n", "2")]));
    assert_eq!(opened.iter().map(|(kind, ..)| kind.as_str()).collect::<Vec<_>>(), ["drift.opened"]);
    let before = shown(&daemon, "rule-0");
    for (n, value) in [(1, "3"), (2, "4")] {
        let now = scan([sysctl("n", value)]);
        let told = after(&mut daemon, &now);
        let evidence = shown(&daemon, "rule-0");
        assert_eq!(told, [("drift.updated".to_owned(), "rule-0".to_owned(), evidence.clone())]);
        assert!(evidence != before && evidence.concat().contains(value), "{evidence:?}");
        assert_eq!(daemon.shard.totals.updated, n);
        assert_eq!(after(&mut daemon, &now), [], "the same scan again says nothing new");
    }
    assert_eq!(after(&mut daemon, &scan([])).len(), 1, "that it is gone is another reason");
}

#[test]
fn what_a_rule_reads_and_does_not_rest_on_is_no_news() {
    let two = |n: &str, m: &str| scan([sysctl("n", n), sysctl("m", m)]);
    let mut daemon = daemon(&["sysctl[\"n\"] == \"1\" && sysctl[\"m\"] != \"0\""], two("1", "1"));
    assert_eq!(after(&mut daemon, &two("2", "1")).len(), 1, "it fails");
    for m in ["2", "3"] {
        assert_eq!(after(&mut daemon, &two("2", m)), [], "it was looked at, and shows the same");
    }
    let told = after(&mut daemon, &two("2", "0"));
    assert_eq!(told, [("drift.updated".to_owned(), "rule-0".to_owned(), explained(&daemon, "rule-0"))], "one reason more");
}

#[test]
fn rows_that_say_nothing_to_a_rule_leave_its_episode_alone() {
    let checks = ["sysctl[\"n\"] == \"1\"", "package.exists(p, p.name == \"wanted\")"];
    let mut daemon = daemon(&checks, scan([sysctl("n", "1"), package("wanted")]));
    let first = scan([sysctl("n", "2"), package("other")]);
    assert_eq!(after(&mut daemon, &first).len(), 2, "both fail");
    // How many packages there are beside the one that is not there is told as it was when somebody last looked: whoever looks again sees another number.
    let told = shown(&daemon, "rule-1");
    let more = |n: u32| (0..n).map(|n| package(&format!("more-{n}")));
    for n in 1..4 {
        let now = scan([sysctl("n", "2"), sysctl("beside", &n.to_string()), package("other")].into_iter().chain(more(n)));
        assert_eq!(after(&mut daemon, &now), []);
        assert_eq!(shown(&daemon, "rule-1"), told);
        assert_ne!(explained(&daemon, "rule-1"), told, "nobody would see that it was explained again");
    }
    assert_eq!(daemon.shard.totals.updated, 0);
    // One of them is told and the other one left alone, though the upload changes rows of the tables of both.
    let now = scan([sysctl("n", "3"), package("other")].into_iter().chain(more(5)));
    let rules: Vec<String> = after(&mut daemon, &now).into_iter().map(|(_, rule, _)| rule).collect();
    assert_eq!((rules, shown(&daemon, "rule-1")), (vec!["rule-0".to_owned()], told));
}

fn explained(daemon: &Daemon, rule: &str) -> Vec<String> {
    let at = daemon.shard.fleet.find("a").expect("the endpoint");
    daemon.shard.explain(at, daemon.shard.pack.find(rule).expect("a rule")).expect("an explanation").evidence
}

/// Evidence, but for how many rows there are that do not decide: that may be told as it was when something else changed last.
fn but_for_counts(evidence: &[String]) -> Vec<String> {
    let without = |line: &String| match line.split_once(": none of ") {
        Some((table, rest)) => format!("{table}: none of {}", rest.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => line.clone(),
    };
    evidence.iter().map(without).collect()
}

type Open = BTreeMap<(EndpointId, RuleId), Vec<String>>;

/// What the open episodes show.
fn open(daemon: &Daemon) -> Open {
    let pack = &daemon.shard.pack;
    let open = daemon.shard.fleet.iter().flat_map(|(at, _)| daemon.shard.episodes_of(at).map(move |(rule, kept)| (at, rule, kept)));
    let open = open.filter(|(_, _, kept)| kept.episode.open);
    open.map(|(at, rule, kept)| ((at, pack.find(rule).expect("a rule")), kept.episode.evidence.clone())).collect()
}

/// Where an upload leads: other rows in some tables, tables that come, go and fail.
fn later(before: &Scan, bytes: &mut Bytes<'_>) -> Scan {
    let other = bytes.scan();
    let mut scan = before.clone();
    for table in TableId::all() {
        match (bytes.below(4), other.tables.get(&table)) {
            (0, Some(data)) => drop(scan.tables.insert(table, data.clone())),
            // A few rows more; keys may come twice, which is an error to rules that look them up.
            (1, Some(TableData::Rows(rows))) if matches!(scan.tables.get(&table), Some(TableData::Rows(_))) => {
                rows.iter().take(2).for_each(|row| scan.push(row.clone()));
            }
            (2, None) if bytes.below(4) == 0 => drop(scan.tables.remove(&table)),
            _ => {}
        }
    }
    scan.normalise();
    scan
}

fn random_pack(bytes: &mut Bytes<'_>) -> Arc<Pack> {
    Arc::new(Pack::from_bytes(compile(&[bytes.pack(8)], &[])).expect("a compiled pack opens"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::engines::cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is uploaded: an open episode shows what the definition says now, and each upload that made it say something else was one event.
    #[test]
    fn open_episodes_show_what_is(noise in prop::collection::vec(any::<u8>(), 800..4000)) {
        let mut bytes = Bytes::new(&noise);
        let mut daemon = Daemon::start(MemoryStore::default(), &random_pack(&mut bytes));
        let drift = DriftPolicy { hold_ms: 0, reopen_ms: 10_000 };
        daemon.apply(Input::Swap { pack: daemon.shard.pack.clone(), policy: Box::new(Policy { drift, ..Policy::default() }) });
        let ids = ["a", "b"];
        ids.iter().for_each(|id| daemon.enroll(id));
        let mut scans: BTreeMap<&str, Scan> = BTreeMap::new();
        for turn in 0..16 {
            let id = ids[turn % 2];
            let last = scans.get(id).cloned();
            let mut now = if let Some(last) = &last { later(last, &mut bytes) } else { bytes.scan() };
            id.clone_into(&mut now.endpoint);
            let base = last.filter(|b| bytes.below(2) == 0 && b.tables.keys().all(|t| now.tables.contains_key(t)));
            let document = match &base {
                Some(base) => native::encode(&now, Some(&Digest::of_scan(base).to_string()), |t| now.tables.get(&t) != base.tables.get(&t)),
                None => native::encode(&now, None, |_| true),
            };
            let (before, from) = (open(&daemon), daemon.shard.last_seq() + 1);
            daemon.upload(id, &document);
            scans.insert(id, now);
            let told = drift_since(&daemon, from);
            for ((at, rule), evidence) in open(&daemon) {
                let said = daemon.shard.explain(at, rule).expect("an explanation");
                let (meta, name) = (daemon.shard.pack.meta(rule), daemon.shard.pack.rule_id(rule));
                if said.verdict == Verdict::Fail {
                    prop_assert_eq!(but_for_counts(&evidence), but_for_counts(&said.evidence), "{:?}, {:?}", meta.applies_ir, meta.check_ir);
                }
                let sent = daemon.shard.fleet.find(id) == Some(at);
                let updates = told.iter().filter(|t| sent && t.0 == "drift.updated" && t.1 == name).count();
                match before.get(&(at, rule)) {
                    Some(was) => prop_assert_eq!(updates, usize::from(*was != evidence), "{:?} {:?}", was, evidence),
                    None => prop_assert_eq!(updates, 0),
                }
            }
        }
    }
}

#[test]
fn a_table_that_comes_or_fails_may_be_another_reason() {
    let checks = ["sysctl[\"n\"] == \"1\" && package.exists(p, p.name == \"wanted\")", "sysctl[\"n\"] == \"1\""];
    let mut daemon = daemon(&checks, scan([sysctl("n", "1"), package("wanted")]));
    let failed = |mut scan: Scan| {
        scan.tables.insert(table("package"), TableData::Failed("denied".into()));
        scan
    };
    let with = scan([sysctl("n", "2"), package("other")]);
    let without = failed(with.clone());
    assert_eq!(after(&mut daemon, &without).len(), 2, "both fail");
    for now in [&with, &without, &with] {
        let told: Vec<_> = after(&mut daemon, now).into_iter().map(|(kind, rule, _)| (kind, rule)).collect();
        assert_eq!(told, [("drift.updated".to_owned(), "rule-0".to_owned())]);
        assert_eq!(shown(&daemon, "rule-0"), explained(&daemon, "rule-0"));
    }
}

/// A second looks at 1,024 episodes: it takes some of them until all that ended long ago are gone, and those that are open stay.
#[test]
fn episodes_that_ended_long_ago_are_forgotten() {
    const ENDPOINTS: usize = 1_200;
    let mut daemon = Daemon::start(MemoryStore::default(), &pack(&["sysctl[\"n\"] == \"1\""]));
    let drift = DriftPolicy { hold_ms: 0, reopen_ms: 12 * 3_600_000 };
    daemon.apply(Input::Swap { pack: daemon.shard.pack.clone(), policy: Box::new(Policy { drift, ..Policy::default() }) });
    let ids: Vec<String> = (0..ENDPOINTS).map(|n| format!("e{n}")).collect();
    for id in &ids {
        daemon.enroll(id);
        // Every tenth one fails still.
        for value in if id.ends_with('0') { ["1", "2", "3"] } else { ["1", "2", "1"] } {
            send(&mut daemon, &Scan { endpoint: id.clone(), ..scan([sysctl("n", value)]) });
        }
    }
    let kept = |daemon: &Daemon| daemon.shard.fleet.iter().map(|(at, _)| daemon.shard.episodes_of(at).count()).sum::<usize>();
    assert_eq!(kept(&daemon), ENDPOINTS);
    daemon.apply(Input::Tick);
    assert_eq!(kept(&daemon), ENDPOINTS, "they may be opened again");
    daemon.now_ms += 24 * 3_600_000;
    daemon.apply(Input::Tick);
    assert!((ENDPOINTS / 10 + 1..ENDPOINTS).contains(&kept(&daemon)), "{} of those that ended are left", kept(&daemon) - ENDPOINTS / 10);
    for _ in 0..2 {
        daemon.apply(Input::Tick);
        assert_eq!(kept(&daemon), ENDPOINTS / 10, "those that are open stay");
    }
    let again = Daemon::start(daemon.store.reopen(), &daemon.shard.pack);
    assert_eq!(kept(&again), ENDPOINTS / 10, "they are gone from the store");
}
