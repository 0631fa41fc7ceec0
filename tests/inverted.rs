//! Questions asked of distinct rows against the definition asked of every endpoint, through everything that a fleet goes through; and what would be against what then is.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::deploy::TaskState;
use muster::event::Event;
use muster::fleet::{Endpoint, EndpointId};
use muster::judge::Verdict;
use muster::judge::inverted::{Asked, Progress};
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::policy::{Baseline, Group, Policy, Subscription};
use muster::question::{Asking, whatif};
use muster::rule::{Fix, FixState};
use muster::scan::digest::Digest;
use muster::scan::table::TableId;
use muster::scan::{Scan, TableData, native};
use muster::shard::{Input, Shard};
use muster::state::Store;
use muster::state::memory::MemoryStore;
use proptest::prelude::*;
use roaring::RoaringBitmap;

use crate::engines::Daemon;
use crate::generate::Bytes;

/// What the definition says of an endpoint's last scan.
fn defined(shard: &Shard, endpoint: &Endpoint, pack: &Pack) -> Vec<Verdict> {
    let scan = shard.fleet.scan_of(endpoint, shard.limits());
    let received_s = endpoint.held.as_ref().map_or(0, |h| h.received_ms.div_euclid(86_400_000) * 86_400);
    pack.rules().map(|r| pack.explain(r, &scan, received_s).verdict).collect()
}

/// Why a verdict is what it is, from the rows that the shard takes for it, against all rows.
fn explained(shard: &Shard) -> Result<(), TestCaseError> {
    for (at, endpoint) in shard.fleet.iter() {
        let Some(held) = &endpoint.held else { continue };
        let scan = shard.fleet.scan_of(endpoint, shard.limits());
        for rule in shard.pack.rules() {
            let whole = shard.pack.explain(rule, &scan, held.received_ms.div_euclid(86_400_000) * 86_400);
            let meta = shard.pack.meta(rule);
            prop_assert_eq!(shard.explain(at, rule), Some(whole), "{:?}, {:?}", meta.applies_ir, meta.check_ir);
        }
    }
    Ok(())
}

/// Holds all that is asked of a fleet against the definition, for all endpoints and for some.
pub(crate) fn holds(shard: &Shard, pack: &Arc<Pack>, kept: bool) -> Result<(), TestCaseError> {
    let held: Vec<(EndpointId, &Endpoint)> = shard.fleet.iter().filter(|(_, e)| e.held.is_some()).collect();
    let expected: BTreeMap<u32, Vec<Verdict>> = held.iter().map(|(at, e)| (at.0, defined(shard, e, pack))).collect();
    let rules: Vec<_> = pack.rules().collect();
    let asked = if kept { Asked::kept(pack.clone(), &rules) } else { Asked::new(pack.clone(), &rules) };
    let asking = Asking::new(shard, asked, shard.limits());
    let some: RoaringBitmap = expected.keys().copied().filter(|at| at % 2 == 0).collect();
    for among in [None, Some(&some)] {
        for rule in &rules {
            let (answer, members) = asking
                .answer(*rule, among, |shard, answer| {
                    let members = Verdict::ALL.map(|v| answer.members(shard.fleet.index(), |w| w == v, among));
                    (answer.clone(), members)
                })
                .expect("an answer");
            for verdict in Verdict::ALL {
                let wanted: Vec<u32> = expected
                    .iter()
                    .filter(|(at, verdicts)| verdicts[rule.index()] == verdict && among.is_none_or(|a| a.contains(**at)))
                    .map(|(at, _)| *at)
                    .collect();
                let got: Vec<u32> = members[verdict as usize].iter().collect();
                let meta = pack.meta(*rule);
                prop_assert_eq!(&got, &wanted, "{}: {:?} of {:?}, {:?}", verdict, among, meta.check_ir, meta.applies_ir);
                prop_assert_eq!(answer.counts[verdict as usize], wanted.len() as u64);
            }
            for (at, verdicts) in expected.iter().filter(|(at, _)| among.is_none_or(|a| a.contains(**at))) {
                prop_assert_eq!(answer.verdict_of(shard.fleet.index(), *at), Some(verdicts[rule.index()]));
            }
        }
    }
    prop_assert_eq!(shard.fleet.index().difference(&shard.fleet.index_anew()), None);
    explained(shard)?;
    columns_hold(shard)
}

/// Columns that questions made are what they would be, were they made now.
fn columns_hold(shard: &Shard) -> Result<(), TestCaseError> {
    use muster::fleet::index::column::hashed;
    for (table, column, known) in shard.fleet.index().columns() {
        let row = |id| muster::fleet::rows::parse(table, shard.fleet.rows.bytes(id), shard.limits()).expect("a row");
        let mut wanted: Vec<_> = shard.fleet.index().rows(table).iter().map(|id| (hashed(&row(*id), column), *id)).collect();
        wanted.sort_unstable();
        prop_assert_eq!(known.entries(), wanted, "column {} of {}", column, table.name());
    }
    Ok(())
}

fn compiled(bytes: &mut Bytes<'_>, rules: usize) -> Arc<Pack> {
    Arc::new(Pack::from_bytes(compile(&[bytes.pack(rules)], &[])).expect("a compiled pack opens"))
}

/// Questions whose rows are all found by a key or a value, so that the second time columns find them.
fn found(bytes: &mut Bytes<'_>) -> Arc<Pack> {
    let noise = [0; 64];
    let mut pack = Bytes::new(&noise).pack(5);
    for rule in &mut pack.rules {
        let mut text = || ["a", "b", "1", "22", "/etc/a", "a,b"][bytes.below(6)];
        let check = match text() {
            "a" => format!("sysctl[\"{}\"] == \"{}\"", text(), text()),
            "b" => format!("package.exists(p, p.name == \"{}\" && p.version == \"{}\")", text(), text()),
            "1" => format!("package.exists(p, p.arch in [\"{}\", \"{}\"])", text(), text()),
            "22" => format!("user.exists_one(u, u.shell == \"{}\") || has(config[\"/etc/a\"][\"{}\"])", text(), text()),
            "/etc/a" => format!("file[\"/etc/a\"].owner == \"{}\"", text()),
            _ => format!("package.filter(p, p.source == \"{}\").size() > 1 || os.id == \"{}\"", text(), text()),
        };
        rule.check = muster::rule::check::check(&check, &Default::default()).unwrap_or_else(|p| panic!("{check}: {p:?}"));
        (rule.when, rule.platforms) = (None, Vec::new());
    }
    Arc::new(Pack::from_bytes(compile(&[pack], &[])).expect("a compiled pack opens"))
}

/// Many rows of its own, so that an endpoint is far from the others and has an image to itself.
fn far(scan: &mut Scan, number: usize) {
    let table = TableId::by_name("sysctl").expect("sysctl");
    let rows = (0..90).map(|i| muster::scan::Row::new(table).with("key", format!("k{i}")).with("value", format!("far {number}")));
    scan.tables.insert(table, TableData::Rows(rows.collect()));
    scan.normalise();
}

fn enroll(daemon: &mut Daemon, id: &str, labels: &[(&str, &str)]) {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    daemon.apply(Input::Enroll { id: id.to_owned(), hostname: id.to_owned(), labels, key_hash: [0; 32] });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::engines::cases() / 10, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whole and partial uploads, moves between images, endpoints that go and come again with other labels, sweeps, another pack, a restart.
    #[test]
    fn questions_are_answered_as_the_definition_does(noise in prop::collection::vec(any::<u8>(), 400..4000)) {
        let mut bytes = Bytes::new(&noise);
        let (pack, next, question) = (compiled(&mut bytes, 3), compiled(&mut bytes, 3), compiled(&mut bytes, 4));
        let by_value = found(&mut bytes);
        let mut daemon = Daemon::start(MemoryStore::default(), &pack);
        let ids = ["a", "b", "c", "d", "e"];
        ids.iter().for_each(|id| enroll(&mut daemon, id, &[("env", "prod"), ("of", id)]));
        let mut scans: BTreeMap<&str, Scan> = BTreeMap::new();
        for turn in 0..14 {
            let id = ids[bytes.below(ids.len())];
            match bytes.below(12) {
                0 => {
                    daemon.apply(Input::Remove { endpoint: id.to_owned() });
                    scans.remove(id);
                    enroll(&mut daemon, id, &[("env", "test")]);
                }
                1 => enroll(&mut daemon, id, &[("env", "test"), ("more", "")]),
                2 => drop(daemon.shard.fleet.sweep()),
                _ => {
                    let mut scan = bytes.scan();
                    scan.endpoint = id.to_owned();
                    if bytes.below(4) == 0 {
                        far(&mut scan, turn);
                    }
                    match scans.get(id).filter(|_| bytes.below(2) == 0).cloned() {
                        Some(before) => {
                            for (table, data) in &before.tables {
                                scan.tables.entry(*table).or_insert_with(|| data.clone());
                            }
                            let digest = Digest::of_scan(&before).to_string();
                            daemon.upload(id, &native::encode(&scan, Some(&digest), |t| scan.tables.get(&t) != before.tables.get(&t)));
                        }
                        None => drop(daemon.upload(id, &native::encode(&scan, None, |_| true))),
                    }
                    scans.insert(id, scan);
                }
            }
            if turn % 3 == 0 {
                holds(&daemon.shard, &question, false)?;
                holds(&daemon.shard, &by_value, false)?;
                holds(&daemon.shard, &pack, true)?;
            }
        }
        // Again by the columns that were made before.
        holds(&daemon.shard, &by_value, false)?;
        prop_assert!(daemon.shard.fleet.index().columns().count() >= 1);
        holds(&daemon.shard, &question, false)?;
        holds(&daemon.shard, &question, false)?;
        daemon.apply(Input::Swap { pack: next.clone(), policy: Box::new(Policy::default()) });
        holds(&daemon.shard, &next, true)?;
        let again = Daemon::start(daemon.store.reopen(), &next);
        holds(&again.shard, &question, false)?;
        holds(&again.shard, &next, true)?;
    }

    /// What a what-if says of new rules is what they do when they are taken.
    #[test]
    fn what_would_be_is_what_then_is(noise in prop::collection::vec(any::<u8>(), 400..3000)) {
        let mut bytes = Bytes::new(&noise);
        let (pack, next) = (fixable(&mut bytes), fixable(&mut bytes));
        let mut daemon = Daemon::start(MemoryStore::default(), &pack);
        daemon.apply(Input::Swap { pack: pack.clone(), policy: Box::new(policy()) });
        let ids = ["a1", "a2", "b1", "b2"];
        ids.iter().for_each(|id| enroll(&mut daemon, id, &[]));
        for _ in 0..10 {
            let id = ids[bytes.below(ids.len())];
            let mut scan = bytes.scan();
            scan.endpoint = id.to_owned();
            daemon.upload(id, &native::encode(&scan, None, |_| true));
        }
        let body = whatif::Body { compiled: Some(base64(next.as_bytes())), replace: true, ..whatif::Body::default() };
        let told = whatif::whatif(&daemon.shard, &body, daemon.now_ms).expect("an answer");
        let seq = daemon.shard.last_seq() + 1;
        let waiting = daemon.shard.outbox.len();
        let open = |daemon: &Daemon| daemon.shard.tasks().filter(|(_, t)| t.state.is_open()).count();
        let tasks = open(&daemon);
        daemon.apply(Input::Swap { pack: next.clone(), policy: Box::new(policy()) });
        let events: Vec<Event> = daemon.store.reader().events(seq, 10_000).unwrap().iter().map(|(_, v)| serde_json::from_slice(v).unwrap()).collect();
        prop_assert_eq!(told.summary.events, events.len() as u64, "{:#?}\n{:#?}", told, events);
        prop_assert_eq!(told.summary.sinks.values().sum::<u64>(), (daemon.shard.outbox.len() - waiting) as u64);
        let queued = events.iter().filter(|e| e.kind == "task.queued").count();
        prop_assert_eq!((told.summary.tasks_queued, told.summary.tasks_ended), (queued as u64, (tasks + queued - open(&daemon)) as u64));
        for rule in &told.rules {
            let event = events.iter().find(|e| e.kind == "drift.rule_changed" && e.data["rule"] == rule.rule.as_str());
            let number = |name: &str| event.map_or(0, |e| e.data[name].as_u64().expect("a number"));
            let resolves = if rule.change == whatif::Kind::Gone { rule.episodes_end } else { rule.resolves };
            prop_assert_eq!((rule.opens, resolves), (number("opened"), number("resolved")), "{:?}", rule);
            let ended = event.map_or(0, |e| e.data["episodes_resolved"].as_array().expect("episodes").len() as u64);
            prop_assert_eq!(rule.episodes_end, ended);
            for turn in rule.turned.iter().filter(|t| t.from.is_some() && t.to.is_some()) {
                let (a, b) = (turn.groups.get("a").copied().unwrap_or(0), turn.groups.get("b").copied().unwrap_or(0));
                prop_assert_eq!((a + b, turn.examples.len() as u64), (turn.count, turn.count));
            }
        }
    }
}

/// Random rules whose failures a task could mend; of three ids, so that some are changed, some new and some gone.
fn fixable(bytes: &mut Bytes<'_>) -> Arc<Pack> {
    let mut pack = bytes.pack(5);
    for rule in &mut pack.rules {
        rule.fix = Some(Fix { package: "p".into(), state: FixState::Installed });
    }
    let gone = bytes.below(5);
    // The first two are what the baseline requires.
    if gone >= 2 {
        pack.rules.remove(gone);
    }
    Arc::new(Pack::from_bytes(compile(&[pack], &[])).expect("a compiled pack opens"))
}

fn policy() -> Policy {
    let group = |name: &str| Group { name: name.into(), endpoints: vec![format!("{name}*")], labels: BTreeMap::new() };
    let baseline = |name: &str, group: Option<&str>, rule: &str| Baseline {
        name: name.into(),
        group: group.map(str::to_owned),
        rules: vec![rule.to_owned()],
        ..Baseline::default()
    };
    Policy {
        groups: vec![group("a"), group("b")],
        baselines: vec![baseline("all", None, "rule-0"), baseline("some", Some("a"), "rule-1"), baseline("same", Some("a"), "rule-0")],
        subscriptions: vec![
            Subscription { sink: "tickets".into(), events: vec!["drift.*".into()] },
            Subscription { sink: "tasks".into(), events: vec!["task.*".into()] },
        ],
        excluded: ["rule-4".to_owned()].into(),
        ..Policy::default()
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Rows come, are freed and their ids used again between the steps of one question.
#[test]
fn a_question_that_is_overtaken_starts_over() {
    let table = TableId::by_name("package").expect("package");
    let scan = |first: usize, rows: usize| {
        let mut scan = Scan { endpoint: "a".to_owned(), ..Scan::default() };
        let row = |i: usize| muster::scan::Row::new(table).with("name", format!("p{i}")).with("version", format!("{}", i % 7));
        scan.tables.insert(table, TableData::Rows((first..first + rows).map(row).collect()));
        scan.normalise();
        native::encode(&scan, None, |_| true)
    };
    let empty = Arc::new(Pack::from_bytes(compile(&[], &[])).expect("empty pack"));
    let mut daemon = Daemon::start(MemoryStore::default(), &empty);
    daemon.enroll("a");
    daemon.upload("a", &scan(0, 20_000));
    let pack = package_question("p12");
    let rules: Vec<_> = pack.rules().collect();
    let mut asked = Asked::new(pack.clone(), &rules);
    let limits = Limits::default();
    let Progress::Behind(first) = asked.advance(&daemon.shard.fleet, &limits) else { panic!("many rows are walked") };
    asked.take(first.ask(&pack, &limits));
    let Progress::Behind(second) = asked.advance(&daemon.shard.fleet, &limits) else { panic!("many rows are walked") };
    // All rows go, and others get their ids.
    daemon.upload("a", &scan(30_000, 20_000));
    daemon.shard.fleet.sweep();
    daemon.upload("a", &scan(0, 19_000));
    asked.take(second.ask(&pack, &limits));
    let mut slices = 0;
    while let Progress::Behind(slice) = asked.advance(&daemon.shard.fleet, &limits) {
        slices += 1;
        asked.take(slice.ask(&pack, &limits));
    }
    assert!(slices >= 4, "it started over: {slices}");
    let answer = muster::judge::inverted::answer(&asked, rules[0], &daemon.shard.fleet, None);
    assert_eq!(answer.counts[Verdict::Pass as usize], 1);
    // The next one finds its rows by the column that this one made.
    assert!(daemon.shard.fleet.index().columns().count() == 1);
    assert!(matches!(Asked::new(package_question("p13"), &rules).advance(&daemon.shard.fleet, &limits), Progress::Ready));
    holds(&daemon.shard, &package_question("p18999"), false).unwrap();
    holds(&daemon.shard, &package_question("p19001"), false).unwrap();
}

fn package_question(name: &str) -> Arc<Pack> {
    let text = format!("package.exists(p, p.name == \"{name}\")");
    let ir = muster::rule::check::check(&text, &Default::default()).expect("an expression");
    let noise = [0; 64];
    let mut pack = Bytes::new(&noise).pack(1);
    pack.rules[0].check = ir;
    pack.rules[0].when = None;
    pack.rules[0].platforms.clear();
    Arc::new(Pack::from_bytes(compile(&[pack], &[])).expect("a compiled pack opens"))
}

/// Columns that would take more than they may are not kept, and answers are the same.
#[test]
fn columns_are_within_their_limit() {
    let limits = Limits { index_entries: 10, ..Limits::default() };
    let empty = Arc::new(Pack::from_bytes(compile(&[], &[])).expect("empty pack"));
    let mut daemon = Daemon::start(MemoryStore::default(), &empty);
    daemon.enroll("a");
    let rows: Vec<String> = (0..50).map(|i| format!("{{\"name\":\"p{i}\",\"version\":\"1\"}}")).collect();
    daemon.upload("a", format!("{{\"format\":\"muster.scan/1\",\"tables\":{{\"package\":[{}]}}}}", rows.join(",")).as_bytes());
    let pack = package_question("p7");
    let rules: Vec<_> = pack.rules().collect();
    let asking = Asking::new(&daemon.shard, Asked::new(pack, &rules), &limits);
    let passes = asking.answer(rules[0], None, |_, answer| answer.counts[Verdict::Pass as usize]).expect("an answer");
    assert_eq!((passes, daemon.shard.fleet.index().columns().count()), (1, 0));
    assert!(daemon.shard.tasks().all(|(_, t)| t.state != TaskState::Queued));
}
