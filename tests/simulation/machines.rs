//! Small believable machines, and what they are held against: golden images, deviations, patch waves; packs, policies and catalogs of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::drift::DriftPolicy;
use muster::pack::{Pack, Requirement, compile};
use muster::patch::catalog::Catalog;
use muster::policy::{Baseline, FreshnessPolicy, Group, Policy, Subscription};
use muster::rule::{Fix, FixState};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, TableData};
use muster::simulate::Random;
use muster::version::Scheme;

use crate::generate::Bytes;
use crate::patches::decided::{catalog, random::advisories};

fn table(name: &str) -> TableId {
    TableId::by_name(name).unwrap()
}

pub(super) fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
}

/// What everything is chosen from: made once a seed, so that later choices meet again what was there before.
pub(super) struct World {
    images: Vec<Scan>,
    packs: Vec<Vec<u8>>,
    policies: Vec<Policy>,
    catalogs: Vec<Arc<Catalog>>,
    /// By the numbers of rules and policy.
    compiled: BTreeMap<(usize, usize), Arc<Pack>>,
}

pub(super) const PACKS: usize = 3;
pub(super) const POLICIES: usize = 3;
pub(super) const CATALOGS: usize = 3;
pub(super) const SINKS: [&str; 2] = ["tickets", "everything"];

impl World {
    pub(super) fn new(random: &mut Random) -> World {
        let images = (0..3).map(|n| image(n, random)).collect();
        let packs = (0..PACKS).map(|_| noise(random, 600)).collect();
        let policies = (0..POLICIES).map(|n| policy(n, random)).collect();
        let catalogs = (0..CATALOGS).map(|_| catalog(advisories(random))).collect();
        World { images, packs, policies, catalogs, compiled: BTreeMap::new() }
    }

    pub(super) fn catalog(&self, n: usize) -> Arc<Catalog> {
        self.catalogs[n].clone()
    }

    /// For how long an endpoint must at least be silent to be removed.
    pub(super) fn culled_after_ms(&self) -> i64 {
        self.policies.iter().map(|p| p.freshness.cull_ms).filter(|ms| *ms > 0).min().unwrap()
    }

    pub(super) fn policy(&self, n: usize) -> &Policy {
        &self.policies[n]
    }

    /// Rules and requirements as a daemon with this configuration compiles them.
    pub(super) fn pack(&mut self, rules: usize, policy: usize) -> Arc<Pack> {
        let (noise, requirements) = (&self.packs[rules], self.policies[policy].requirements());
        let make = || {
            let mut pack = Bytes::new(noise).pack(6);
            for rule in &mut pack.rules {
                rule.fix = Some(Fix { package: "p1".into(), state: FixState::Installed });
            }
            Arc::new(Pack::from_bytes(compile(&[pack], &requirements)).unwrap())
        };
        self.compiled.entry((rules, policy)).or_insert_with(make).clone()
    }

    /// A compiled pack that lies in the data folder.
    pub(super) fn compiled(&self, digest: &str) -> Option<Arc<Pack>> {
        self.compiled.values().find(|p| p.digest() == digest).cloned()
    }

    /// A machine as it is delivered: its image, and what it has of its own.
    pub(super) fn machine(&self, id: &str, random: &mut Random) -> Scan {
        if random.percent(10) {
            // Nothing like any other.
            let mut scan = Bytes::new(&noise(random, 400)).scan();
            id.clone_into(&mut scan.endpoint);
            return scan;
        }
        // Most are of the first one.
        let image = random.below(self.images.len()) * usize::from(random.percent(35));
        let mut scan = self.images[image].clone();
        id.clone_into(&mut scan.endpoint);
        if random.percent(40) {
            scan.push(Row::new(table("sysctl")).with("key", format!("own.{id}")).with("value", random.below(5).to_string()));
        }
        for _ in 0..random.below(4) {
            self.deviate(&mut scan, random);
        }
        scan.normalise();
        scan
    }

    /// One thing changes.
    fn deviate(&self, scan: &mut Scan, random: &mut Random) {
        match random.below(12) {
            0..=5 => install(scan, &format!("p{}", random.below(8)), &random.below(9).to_string()),
            6 => remove(scan, &format!("p{}", random.below(8))),
            7 => install(scan, &format!("extra-{}", random.below(6)), "1"),
            8 => {
                let only = Bytes::new(&noise(random, 300)).scan();
                let tables: Vec<TableId> = only.tables.keys().copied().filter(|t| *t != table("package")).collect();
                if let Some(table) = tables.get(random.below(tables.len())) {
                    scan.tables.insert(*table, only.tables[table].clone());
                }
            }
            9 => {
                let rows = (0..random.below(4)).map(|_| package("update", &format!("p{}", random.below(8)), &random.below(9).to_string()));
                scan.tables.insert(table("update"), TableData::Rows(rows.collect()));
            }
            10 => {
                let name = ["sysctl", "file", "user", "package"][random.below(4)];
                scan.tables.insert(table(name), TableData::Failed("denied".into()));
            }
            _ => {
                let key = ["a", "b", "1", "/etc/a"][random.below(4)];
                if let Some(TableData::Rows(rows)) = scan.tables.get_mut(&table("sysctl")) {
                    rows.retain(|r| r.get("key").as_str() != Some(key));
                    rows.push(Row::new(table("sysctl")).with("key", key).with("value", random.below(3).to_string()));
                }
            }
        }
    }

    /// What a machine has some time later.
    pub(super) fn later(&self, before: &Scan, random: &mut Random) -> Scan {
        if random.percent(8) {
            return self.machine(&before.endpoint, random);
        }
        let mut scan = before.clone();
        // And another release half of what the image is of, with what each has of its own: so much at once that another image may be nearer.
        if random.percent(35) {
            let (of, release) = (random.below(self.images.len()), (1 + random.below(2)).to_string());
            let half: Vec<String> = (0..BASE / 2).map(|n| base(of, n)).filter(|name| has(&scan, name)).collect();
            half.iter().for_each(|name| install(&mut scan, name, &release));
            (0..3).for_each(|n| install(&mut scan, &format!("own-{n}"), &random.below(99).to_string()));
        }
        // A patch wave brings everything to one level.
        if random.percent(15) {
            let level = random.below(9).to_string();
            (0..8).filter(|_| random.percent(70)).for_each(|n| install(&mut scan, &format!("p{n}"), &level));
        }
        for _ in 0..random.below(3) {
            self.deviate(&mut scan, random);
        }
        scan.normalise();
        scan
    }
}

fn package(of: &str, name: &str, version: &str) -> Row {
    let row = Row::new(table(of)).with("name", name).with("version", version).with("release", "debian:12");
    if of == "package" { row.with("format", "deb") } else { row }
}

/// Packages that an image has and no other.
const BASE: usize = 30;

fn base(image: usize, n: usize) -> String {
    format!("base-{image}-{n}")
}

fn has(scan: &Scan, name: &str) -> bool {
    scan.rows(table("package")).iter().any(|r| r.get("name").as_str() == Some(name))
}

fn remove(scan: &mut Scan, name: &str) {
    if let Some(TableData::Rows(rows)) = scan.tables.get_mut(&table("package")) {
        rows.retain(|r| r.get("name").as_str() != Some(name));
    }
}

fn install(scan: &mut Scan, name: &str, version: &str) {
    remove(scan, name);
    scan.tables.entry(table("package")).or_insert_with(|| TableData::Rows(Vec::new()));
    scan.push(package("package", name, version));
}

/// A golden image: packages of its kind, those that patches are about, and what rules ask.
fn image(number: usize, random: &mut Random) -> Scan {
    let mut scan = Bytes::new(&noise(random, 400)).scan();
    let os = Row::new(table("os")).with("family", "linux").with("id", "debian").with("version", "12");
    scan.tables.insert(table("os"), TableData::Rows(vec![os]));
    scan.tables.insert(table("package"), TableData::Rows(Vec::new()));
    (0..BASE).for_each(|n| install(&mut scan, &base(number, n), "0"));
    (0..8).for_each(|n| install(&mut scan, &format!("p{n}"), "3"));
    scan.normalise();
    scan
}

/// Rows that nobody has shown and nobody will show again.
pub(super) fn flood(id: &str, turn: usize, rows: usize) -> Scan {
    let mut scan = Scan { endpoint: id.to_owned(), ..Scan::default() };
    for n in 0..rows {
        scan.push(Row::new(table("sysctl")).with("key", format!("flood.{n}")).with("value", format!("{id} {turn} {n}")));
    }
    scan.normalise();
    scan
}

fn policy(number: usize, random: &mut Random) -> Policy {
    const HOUR_MS: i64 = 3_600_000;
    let group = |name: &str, role: &str| Group {
        name: name.into(),
        endpoints: Vec::new(),
        labels: BTreeMap::from([("role".to_owned(), role.to_owned())]),
    };
    let package = |name: &str, minimum: &str| Requirement { package: name.into(), minimum: Some((Scheme::Dpkg, minimum.into())) };
    let all = Baseline {
        name: "all".into(),
        packages: vec![package("p2", "4")],
        rules: vec![format!("rule-{number}")],
        lists: vec!["october".into()],
        ..Baseline::default()
    };
    let web = Baseline { name: "web".into(), group: Some("web".into()), packages: vec![package("extra-1", "1")], ..Baseline::default() };
    let everything = Subscription { sink: SINKS[1].into(), events: vec!["*".into()] };
    let tickets = Subscription { sink: SINKS[0].into(), events: vec!["drift.*".into(), "task.*".into(), "patch.*".into()] };
    let rest = Policy { refuse_again: random.percent(20), ..Policy::default() };
    let days = |stale: i64, silent: i64, cull: i64| FreshnessPolicy {
        stale_ms: stale * 24 * HOUR_MS,
        silent_ms: silent * 24 * HOUR_MS,
        cull_ms: cull * 24 * HOUR_MS,
    };
    Policy {
        // One of them means another set of endpoints under another policy.
        groups: vec![group("web", ["web", "db"][random.below(2)]), group("db", "db")],
        baselines: if number == 0 { vec![all] } else { vec![all, web] },
        subscriptions: if number == 1 { vec![everything] } else { vec![tickets, everything] },
        drift: DriftPolicy { hold_ms: [0, HOUR_MS][random.below(2)], reopen_ms: 24 * HOUR_MS },
        excluded: if number == 2 { ["rule-5".to_owned()].into() } else { Default::default() },
        freshness: [days(1, 3, 25), days(1, 7, 0), days(2, 20, 40)][number],
        history_ms: [20, 400][random.below(2)] * 24 * HOUR_MS,
        retention_ms: (5 + 20 * i64::try_from(random.below(3)).unwrap()) * 24 * HOUR_MS,
        ..rest
    }
}
