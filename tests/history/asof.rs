//! A random life of a shard. At random instants everything that can be asked is found out of the state itself and kept; later it is asked of history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster::feed::model::{Advisory, Affected, Fix, FixState, Level, Package, PackageKind, Platform, Severity, Source, Target, Versions};
use muster::judge::Verdict;
use muster::limits::Limits;
use muster::pack::{Pack, compile as compile_rules};
use muster::patch::State;
use muster::patch::catalog::{Catalog, Part, Segment, Threats, compile};
use muster::patch::define::define;
use muster::patch::list::{Exemption, Scope};
use muster::policy::{Group, Policy};
use muster::question::QuestionError;
use muster::question::asof::{Answer, Endpoint, EndpointPatch, EndpointVerdict, Endpoints, Item, Patches, Question, Rule, asof};
use muster::rule::{Source as Rules, SourceFile, read_pack};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, TableData, native};
use muster::shard::{CatalogLane, Input, PatchTotals, Progress, Reply, Shard};
use muster::simulate::Random;
use muster::state::memory::MemoryStore;
use muster::state::{SEGMENT_MS, Store};
use muster::version::Scheme;
use proptest::prelude::*;

use crate::engines::Daemon;

pub(super) const IDS: [&str; 6] = ["web-1", "web-2", "db-1", "db-2", "x", "y"];
const KEYS: usize = 6;

fn pack(random: &mut Random) -> Arc<Pack> {
    let file = |path: String, text: String| SourceFile { path, text };
    let head = file("p/pack.yaml".into(), format!("id: p\ntitle: t\nversion: 1.{}.0\ndescription: d\n", random.below(9)));
    let mut rules = Vec::new();
    for key in 0..KEYS {
        if random.percent(20) {
            continue;
        }
        let (wanted, severity) = (random.below(2), ["low", "medium", "high", "critical"][random.below(4)]);
        let text = format!(
            "id: rule-{key}\ntitle: It is right\nseverity: {severity}\nplatforms: [linux]\nrationale: it is a test\ncheck: sysctl[\"k{key}\"] == \"{wanted}\"\n\
             missing: fail\nremediation: change it\ntests:\n  - {{pass: {{sysctl: [{{key: k{key}, value: \"{wanted}\"}}]}}}}\n  - {{fail: {{sysctl: []}}}}\n"
        );
        rules.push(file(format!("p/rule-{key}.yaml"), text));
    }
    let (pack, problems) = read_pack(&Rules { pack: head, rules }, &Limits::default());
    Arc::new(Pack::from_bytes(compile_rules(&[pack.unwrap_or_else(|| panic!("{problems:?}"))], &[])).unwrap())
}

fn advisory(id: &str, severity: &str, exploited: bool, name: &str, fix: Result<String, FixState>) -> Advisory {
    let mut advisory = Advisory::new(Source::Osv, "Debian", id);
    advisory.severity = Severity::of(severity);
    advisory.exploitation.exploited = exploited.then_some(true);
    let package = Package {
        ecosystem: "Debian:12".into(),
        platform: Some(Platform::new("debian", "12", "")),
        kind: PackageKind::Binary,
        name: name.into(),
        arches: Vec::new(),
        module: None,
    };
    advisory.affected.push(match fix {
        Ok(version) => {
            let mut affected = Affected::new(Target::Package(package), Versions::before(Scheme::Dpkg, &version), FixState::Fixed);
            affected.fixes = vec![Fix { version: version.into(), ..Fix::default() }];
            affected
        }
        Err(state) => Affected::new(Target::Package(package), Versions::all(Some(Scheme::Dpkg)), state),
    });
    advisory
}

fn catalog(random: &mut Random) -> Arc<Catalog> {
    let mut advisories = Vec::new();
    for number in 0..10 {
        if random.percent(20) {
            continue;
        }
        let fix = match random.below(8) {
            0 => Err(FixState::NoFix),
            1 => Err(FixState::WillNotFix),
            n => Ok(n.to_string()),
        };
        let severity = ["critical", "high", "medium", "low", ""][random.below(5)];
        let kind = if random.percent(50) { "DSA" } else { "CVE" };
        let name = format!("p{}", random.below(6));
        advisories.push(advisory(&format!("{kind}-2026-{number}"), severity, random.percent(20), &name, fix));
    }
    let compiled = compile(&define(advisories, &Limits::default()).unwrap().definitions, &[]);
    let segment = Arc::new(Segment::from_bytes("test", compiled.bytes).unwrap());
    Arc::new(Catalog::new(vec![Part { feed: "debian".into(), segments: vec![segment] }], Arc::new(Threats::default())))
}

fn policy(random: &mut Random) -> Policy {
    let label = |value: &str| BTreeMap::from([("role".to_owned(), value.to_owned())]);
    let mut groups = vec![Group { name: "role".into(), endpoints: Vec::new(), labels: label(["a", "b"][random.below(2)]) }];
    if random.percent(70) {
        let labels = if random.percent(30) { label("a") } else { BTreeMap::new() };
        groups.push(Group { name: "named".into(), endpoints: vec![["web-*", "*-1", "x"][random.below(3)].to_owned()], labels });
    }
    let excluded = (0..KEYS).filter(|_| random.percent(10)).map(|n| format!("rule-{n}")).collect();
    Policy { groups, excluded, ..Policy::default() }
}

pub(super) fn scan(id: &str, random: &mut Random) -> Vec<u8> {
    let mut scan = Scan { endpoint: id.to_owned(), ..Scan::default() };
    let table = |name: &str| TableId::by_name(name).unwrap();
    scan.push(Row::new(table("os")).with("family", "linux").with("id", "debian").with("version", "12"));
    if random.percent(90) {
        scan.tables.insert(table("sysctl"), TableData::Rows(Vec::new()));
        for key in 0..KEYS {
            scan.push(
                Row::new(table("sysctl")).with("key", format!("k{key}").as_str()).with("value", random.below(2).to_string().as_str()),
            );
        }
    }
    if random.percent(85) {
        scan.tables.insert(table("package"), TableData::Rows(Vec::new()));
        for name in (0..6).filter(|_| random.percent(70)).collect::<Vec<_>>() {
            let version = random.below(9).to_string();
            let row = Row::new(table("package")).with("name", format!("p{name}").as_str()).with("version", version.as_str());
            scan.push(row.with("release", "debian:12").with("format", "deb"));
        }
    }
    scan.normalise();
    native::encode(&scan, None, |_| true)
}

/// Everything of one instant, out of the state itself.
#[derive(Debug, PartialEq)]
struct Instant {
    at_ms: i64,
    pack: String,
    groups: BTreeMap<Option<String>, OfGroup>,
    endpoints: BTreeMap<&'static str, Endpoint>,
}

#[derive(Debug, PartialEq)]
pub(super) struct OfGroup {
    pub(super) endpoints: Endpoints,
    rules: Vec<Rule>,
    pub(super) patches: Patches,
    failing: BTreeMap<String, BTreeSet<String>>,
}

pub(super) fn endpoint(shard: &Shard, id: &str) -> Option<Endpoint> {
    let at = shard.fleet.find(id)?;
    let endpoint = shard.fleet.get(at)?;
    let groups = shard.policy.policy.groups.iter().filter(|g| g.holds(endpoint)).map(|g| g.name.clone()).collect();
    let mut out =
        Endpoint { id: id.to_owned(), labels: (*endpoint.labels).clone(), groups, patches: Some(Vec::new()), ..Endpoint::default() };
    let Some(held) = &endpoint.held else { return Some(out) };
    out.scanned = true;
    for rule in shard.pack.rules() {
        let verdict = shard.fleet.classes.verdict(held.class, rule);
        out.verdicts.push(EndpointVerdict {
            rule: shard.pack.rule_id(rule).into(),
            severity: Some(shard.pack.rule(rule).severity),
            verdict,
        });
    }
    out.verdicts.sort_by(|a, b| a.rule.cmp(&b.rule));
    let mut patches = Vec::new();
    for stand in shard.patch_states(at).into_iter().filter(|s| PatchTotals::STATES.contains(&s.state)) {
        let (patch, feed) = shard.catalog.id(stand.patch).unwrap();
        let rank = shard.catalog.rank(stand.patch).filter(|_| stand.state == State::Missing);
        patches.push(EndpointPatch {
            feed: feed.to_owned(),
            patch: patch.to_owned(),
            state: stand.state.name(),
            severity: rank.as_ref().map(|r| r.level),
            exploited: rank.as_ref().map(|r| r.exploited),
        });
    }
    patches.sort();
    out.patches = Some(patches);
    out.patches_not_collected = shard.not_collected(at);
    Some(out)
}

pub(super) fn of_group(all: &BTreeMap<&'static str, Endpoint>, group: Option<&str>) -> OfGroup {
    let members: Vec<&Endpoint> = all.values().filter(|e| group.is_none_or(|g| e.groups.iter().any(|of| of == g))).collect();
    let scanned: Vec<&&Endpoint> = members.iter().filter(|e| e.scanned).collect();
    let severe = |v: &EndpointVerdict| v.verdict == Verdict::Fail && v.severity >= Some(muster::rule::Severity::High);
    let compliant = scanned.iter().filter(|e| !e.verdicts.iter().any(severe)).count() as u64;
    let endpoints = Endpoints { members: members.len() as u64, scanned: scanned.len() as u64, compliant: Some(compliant) };
    let mut rules: BTreeMap<Arc<str>, Rule> = BTreeMap::new();
    let mut failing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (e, v) in scanned.iter().flat_map(|e| e.verdicts.iter().map(move |v| (e, v))) {
        let rule = rules.entry(v.rule.clone());
        let rule = rule.or_insert_with(|| Rule { rule: v.rule.clone(), severity: v.severity, counts: BTreeMap::new() });
        *rule.counts.entry(v.verdict.name()).or_default() += 1;
        let named = failing.entry(v.rule.to_string()).or_default();
        if v.verdict == Verdict::Fail {
            named.insert(e.id.clone());
        }
    }
    let mut patches = Patches {
        missing_by_severity: Level::ALL.into_iter().map(|l| (l.name(), 0)).collect(),
        states: PatchTotals::STATES.into_iter().map(|s| (s.name(), 0)).collect(),
        ..Patches::default()
    };
    for patch in scanned.iter().flat_map(|e| e.patches.iter().flatten()) {
        *patches.states.get_mut(patch.state).unwrap() += 1;
        if let Some(level) = patch.severity {
            *patches.missing_by_severity.get_mut(level.name()).unwrap() += 1;
            patches.missing += 1;
            patches.missing_exploited += i64::from(patch.exploited == Some(true));
        }
    }
    patches.endpoints_not_collected = scanned.iter().filter(|e| e.patches_not_collected).count() as i64;
    OfGroup { endpoints, rules: rules.into_values().collect(), patches, failing }
}

/// Fleets are small: trends are counted in several steps all the same.
fn limits() -> Limits {
    Limits { trend_counted: 2, ..Limits::default() }
}

pub(super) struct Life {
    pub(super) daemon: Daemon,
    pub(super) pack: Arc<Pack>,
    pub(super) policy: Policy,
    pub(super) random: Random,
    kept: Vec<Instant>,
}

impl Life {
    pub(super) fn new(seed: u64) -> Life {
        let mut random = Random::new(seed);
        let (pack, policy) = (pack(&mut random), policy(&mut random));
        let mut daemon = Daemon::start_within(limits(), MemoryStore::default(), &pack);
        daemon.apply(Input::Swap { pack: pack.clone(), policy: Box::new(policy.clone()) });
        daemon.apply(Input::Catalog { catalog: catalog(&mut random), news: Vec::new() });
        Life { daemon, pack, policy, random, kept: Vec::new() }
    }

    fn id(&mut self) -> &'static str {
        IDS[self.random.below(IDS.len())]
    }

    fn enrolled(&self, id: &str) -> bool {
        self.daemon.shard.fleet.find(id).is_some()
    }

    pub(super) fn apply(&mut self, input: Input) {
        // Days pass, so that segments follow one another.
        if self.random.percent(10) {
            self.daemon.now_ms += SEGMENT_MS / 3;
        }
        self.daemon.apply(input);
    }

    /// Whether it may have turned everything at once.
    pub(super) fn step(&mut self) -> bool {
        let (id, what) = (self.id(), self.random.below(20));
        match what {
            0..=2 => {
                let labels = BTreeMap::from([("role".to_owned(), ["a", "b", "c"][self.random.below(3)].to_owned())]);
                self.apply(Input::Enroll { id: id.into(), hostname: format!("host-{id}"), labels, key_hash: [0; 32] });
            }
            3..=10 if self.enrolled(id) => {
                let document = scan(id, &mut self.random);
                self.daemon.upload(id, &document);
            }
            11 | 12 if self.enrolled(id) => self.apply(Input::Remove { endpoint: id.into() }),
            13 => {
                self.pack = pack(&mut self.random);
                self.swap();
            }
            14 => {
                self.policy = policy(&mut self.random);
                self.swap();
            }
            15 => {
                let catalog = catalog(&mut self.random);
                if self.random.percent(50) {
                    self.apply(Input::Catalog { catalog, news: Vec::new() });
                } else {
                    self.swap_catalog_beside(catalog);
                }
            }
            16 => self.exempt(id),
            17 => {
                let ids: Vec<String> = self.daemon.shard.decisions.exemptions.keys().cloned().collect();
                if let Some(id) = ids.get(self.random.below(ids.len())).cloned() {
                    self.apply(Input::EndExemption { id, by: "a. person".into() });
                }
            }
            18 => self.apply(Input::Tick),
            19 => self.restart(),
            _ => {}
        }
        matches!(what, 13..=15 | 19)
    }

    pub(super) fn swap(&mut self) {
        self.apply(Input::Swap { pack: self.pack.clone(), policy: Box::new(self.policy.clone()) });
    }

    /// With uploads and removals between the steps of the lane.
    fn swap_catalog_beside(&mut self, catalog: Arc<Catalog>) {
        let Reply::Watching(watching) = self.daemon.apply(Input::Watch) else { panic!("a watch") };
        let watching = (catalog.digest() != self.daemon.shard.catalog_digest()).then_some(watching);
        let mut lane = CatalogLane::begin(&self.daemon.shard, watching, catalog, Vec::new());
        for left in (0..6).rev() {
            let id = self.id();
            if !self.enrolled(id) {
                self.apply(Input::Enroll { id: id.into(), hostname: format!("host-{id}"), labels: BTreeMap::new(), key_hash: [0; 32] });
            } else if self.random.percent(80) {
                let document = scan(id, &mut self.random);
                self.daemon.upload(id, &document);
            } else {
                self.apply(Input::Remove { endpoint: id.into() });
            }
            while left < 3 && matches!(lane.step(&self.daemon.shard), Progress::Working(_)) {}
        }
        self.apply(Input::FinishCatalog(Box::new(lane)));
    }

    fn exempt(&mut self, id: &str) {
        let scope = match self.random.below(3) {
            0 if self.enrolled(id) => Scope::Endpoint(id.to_owned()),
            1 => Scope::Group("role".to_owned()),
            _ => Scope::Everywhere,
        };
        let patches = vec![["*-2026-1", "DSA-*", "CVE-2026-?"][self.random.below(3)].to_owned()];
        let expires_ms = self.random.percent(50).then_some(self.daemon.now_ms + 20_000 + SEGMENT_MS);
        let (reason, approver) = ("it is a test".to_owned(), "a. person".to_owned());
        self.apply(Input::Exempt(Exemption { id: String::new(), scope, patches, reason, approver, created_ms: 0, expires_ms }));
    }

    pub(super) fn restart(&mut self) {
        let catalog = self.daemon.shard.catalog.clone();
        let mut daemon = Daemon::start_within(limits(), self.daemon.store.reopen(), &self.pack);
        daemon.now_ms = self.daemon.now_ms;
        if let Some(policy) = daemon.shard.resume(&self.pack, self.policy.clone()) {
            daemon.apply(Input::Swap { pack: self.pack.clone(), policy: Box::new(policy) });
        }
        daemon.apply(Input::Catalog { catalog, news: Vec::new() });
        self.daemon = daemon;
    }

    fn keep(&mut self) {
        let shard = &self.daemon.shard;
        let endpoints: BTreeMap<&'static str, Endpoint> = IDS.iter().filter_map(|id| Some((*id, endpoint(shard, id)?))).collect();
        let names = std::iter::once(None).chain(shard.policy.policy.groups.iter().map(|g| Some(g.name.clone())));
        let groups = names.map(|name| (name.clone(), of_group(&endpoints, name.as_deref()))).collect();
        self.kept.push(Instant { at_ms: self.daemon.now_ms, pack: self.pack.digest().to_owned(), groups, endpoints });
    }

    /// What history tells of an instant.
    fn told(&self, at_ms: i64, kept: &Instant) -> Instant {
        let reader = self.daemon.store.reader();
        let ask = |question: Question| asof(&self.daemon.shard, &*reader, &Question { at_ms, ..question }, self.daemon.now_ms);
        let endpoints = IDS.iter().filter_map(|id| match ask(Question { endpoint: Some((*id).into()), ..Question::default() }) {
            Ok(told) => match told.answer {
                Answer::Endpoint { endpoint } => Some((*id, *endpoint)),
                other => panic!("{other:?}"),
            },
            Err(QuestionError::Bad(_)) => None,
            Err(other) => panic!("{other}"),
        });
        let endpoints = endpoints.collect();
        let (mut groups, mut pack) = (BTreeMap::new(), String::new());
        for (name, of) in &kept.groups {
            let told = ask(Question { group: name.clone(), ..Question::default() }).unwrap();
            pack = told.policy["pack"].as_str().unwrap().to_owned();
            assert_eq!(told.patches_unknown, None);
            let Answer::Fleet { endpoints, rules, patches } = told.answer else { panic!("of the fleet") };
            let failing = of.failing.keys().map(|rule| (rule.clone(), self.failing(&ask, name.as_deref(), rule))).collect();
            groups.insert(name.clone(), OfGroup { endpoints, rules, patches: patches.unwrap(), failing });
        }
        Instant { at_ms, pack, groups, endpoints }
    }

    /// Page by page.
    fn failing<E: std::fmt::Debug>(
        &self,
        ask: &impl Fn(Question) -> Result<muster::question::asof::Told, E>,
        group: Option<&str>,
        rule: &str,
    ) -> BTreeSet<String> {
        let (mut out, mut cursor) = (BTreeSet::new(), None);
        loop {
            let question =
                Question { group: group.map(str::to_owned), rule: Some(rule.to_owned()), limit: Some(2), cursor, ..Question::default() };
            let Answer::Rule { items, next_cursor, .. } = ask(question).unwrap().answer else { panic!("of a rule") };
            for Item { id, hostname, verdict } in items {
                assert_eq!((hostname, verdict), (format!("host-{id}"), "fail"));
                assert!(out.insert(id), "once");
            }
            match next_cursor {
                Some(next) => cursor = Some(next),
                None => return out,
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::engines::cases() / 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_of_an_instant_is_what_was(seed in any::<u64>()) {
        let mut life = Life::new(seed);
        for _ in 0..60 {
            life.step();
            if life.random.percent(25) {
                life.keep();
                // What happens next is later.
                life.daemon.now_ms += 1;
            }
        }
        for round in 0..2 {
            for kept in &life.kept {
                let told = life.told(kept.at_ms, kept);
                prop_assert_eq!(&told, kept, "in round {}", round);
            }
            life.restart();
        }
    }
}

#[test]
fn how_patches_stood_is_not_told_where_nobody_can_know() {
    let mut life = Life::new(11);
    life.apply(Input::Enroll { id: "x".into(), hostname: "host-x".into(), labels: BTreeMap::new(), key_hash: [0; 32] });
    let document = scan("x", &mut life.random);
    life.daemon.upload("x", &document);
    let then = life.daemon.now_ms;
    let unknown = |life: &Life, at_ms: i64| {
        let question = Question { at_ms, ..Question::default() };
        let told = asof(&life.daemon.shard, &*life.daemon.store.reader(), &question, life.daemon.now_ms).unwrap();
        let Answer::Fleet { patches, .. } = told.answer else { panic!("of the fleet") };
        assert_eq!(patches.is_none(), told.patches_unknown.is_some());
        patches.is_none()
    };
    life.restart();
    assert!(!unknown(&life, then), "it came back to its catalog");
    // The process ends, and comes back to another catalog.
    let mut daemon = Daemon::start(life.daemon.store.reopen(), &life.pack);
    daemon.now_ms = life.daemon.now_ms;
    assert!(daemon.shard.resume(&life.pack, life.policy.clone()).is_none());
    daemon.apply(Input::Catalog { catalog: catalog(&mut life.random), news: Vec::new() });
    life.daemon = daemon;
    assert!(unknown(&life, then) && !unknown(&life, life.daemon.now_ms));
}

#[test]
fn before_history_began_nothing_is_told_and_of_the_future_neither() {
    let mut life = Life::new(7);
    life.apply(Input::Enroll { id: "x".into(), hostname: "host-x".into(), labels: BTreeMap::new(), key_hash: [0; 32] });
    let reader = life.daemon.store.reader();
    let ask = |at_ms| asof(&life.daemon.shard, &*reader, &Question { at_ms, ..Question::default() }, life.daemon.now_ms);
    let QuestionError::TooEarly { reach } = ask(0).unwrap_err() else { panic!("too early") };
    assert!(ask(reach.as_millisecond()).is_ok());
    assert!(matches!(ask(life.daemon.now_ms + 1), Err(QuestionError::Bad(_))));
    // Weeks that are not kept any more.
    life.daemon.now_ms += life.policy.history_ms + 3 * SEGMENT_MS;
    life.apply(Input::Tick);
    let reader = life.daemon.store.reader();
    let now_ms = life.daemon.now_ms;
    let ask = |at_ms| asof(&life.daemon.shard, &*reader, &Question { at_ms, ..Question::default() }, now_ms);
    let QuestionError::TooEarly { reach } = ask(reach.as_millisecond()).unwrap_err() else { panic!("dropped") };
    assert!(reach.as_millisecond() <= now_ms - life.policy.history_ms);
    let Answer::Fleet { endpoints, .. } = ask(reach.as_millisecond()).unwrap().answer else { panic!("of the fleet") };
    assert_eq!(endpoints.members, 1);
}
