//! Random fleets, uploads, catalogs and decisions: what is kept is what a look at all rows gives.

use std::collections::BTreeMap;

use muster::feed::model::{Advisory, FixState};
use muster::patch::list::Scope;
use muster::policy::Policy;
use muster::scan::native;
use muster::shard::Input;
use muster::simulate::Random;
use proptest::prelude::*;

use super::*;

const IDS: [&str; 4] = ["a", "b", "c", "d"];

/// Names of packages that patches are about; the last two stand beside others of their kind.
fn name(random: &mut Random) -> String {
    match random.below(10) {
        8 => "linux-image-6.1.0-13-amd64".to_owned(),
        9 => "linux-image-6.1.0-18-amd64".to_owned(),
        n => format!("p{n}"),
    }
}

pub(crate) fn advisories(random: &mut Random) -> Vec<Advisory> {
    let mut out = Vec::new();
    for number in 0..12 {
        if random.percent(20) {
            continue;
        }
        let mut of: BTreeMap<String, Result<String, FixState>> = BTreeMap::new();
        for _ in 0..=random.below(3) {
            let fix = match random.below(8) {
                0 => Err(FixState::NoFix),
                1 => Err(FixState::WillNotFix),
                2 => Err(FixState::UnderInvestigation),
                n => Ok(n.to_string()),
            };
            of.insert(name(random), fix);
        }
        let of: Vec<(&str, Result<&str, FixState>)> = of.iter().map(|(n, f)| (n.as_str(), f.as_deref().map_err(|s| *s))).collect();
        let severity = ["critical", "high", "medium", "low", ""][random.below(5)];
        let kind = if random.percent(50) { "DSA" } else { "CVE" };
        out.push(says(&format!("{kind}-2026-{number}"), severity, random.percent(20), &of));
    }
    for kb in ["kb5000001", "kb5000002"] {
        if random.percent(60) {
            out.push(update_of_windows(kb, "Windows Server 2022"));
        }
    }
    out
}

fn machine(random: &mut Random) -> Machine {
    let mut machine = Machine { windows: random.percent(20), ..Machine::default() };
    if random.percent(85) {
        let mut packages = BTreeMap::new();
        for _ in 0..random.below(8) {
            packages.insert(name(random), random.below(9).to_string());
        }
        // Far from the others, so that images are founded and left.
        if random.percent(30) {
            let of = random.below(3);
            packages.extend((0..150).map(|n| (format!("filler-{of}-{n}"), "1".to_owned())));
        }
        machine.packages = Some(packages);
    }
    if random.percent(50) {
        machine.updates = Some((0..random.below(4)).map(|_| (name(random), random.below(9).to_string())).collect());
    }
    if machine.windows && random.percent(70) {
        machine.hotfixes = Some(["kb5000001", "kb5000002"].into_iter().filter(|_| random.percent(50)).map(str::to_owned).collect());
    }
    machine
}

/// Few of them change much.
fn changed(machine: &Machine, random: &mut Random) -> Machine {
    if random.percent(25) {
        return self::machine(random);
    }
    let mut machine = machine.clone();
    let packages = machine.packages.get_or_insert_default();
    for _ in 0..=random.below(3) {
        let name = name(random);
        if random.percent(30) {
            packages.remove(&name);
        } else {
            packages.insert(name, random.below(9).to_string());
        }
    }
    machine
}

pub(crate) fn news_between(old: &Catalog, new: &Catalog) -> FeedNews {
    let ids = |c: &Catalog| -> BTreeSet<String> { c.patches().filter_map(|p| Some(c.id(p)?.0.to_owned())).collect() };
    let (before, after) = (ids(old), ids(new));
    let boxed = |of: Vec<&String>| of.into_iter().map(|id| Box::from(id.as_str())).collect();
    let differs = |id: &&String| {
        let whole = |c: &Catalog| c.definition(one(c, id));
        whole(old) != whole(new)
    };
    FeedNews {
        feed: "debian".into(),
        added: boxed(after.difference(&before).collect()),
        changed: boxed(after.intersection(&before).filter(differs).collect()),
        withdrawn: boxed(before.difference(&after).collect()),
        ..FeedNews::default()
    }
}

pub(super) struct Play {
    pub(super) home: Home,
    pub(super) random: Random,
    machines: BTreeMap<&'static str, Machine>,
    pub(super) ticked_ms: i64,
}

impl Play {
    pub(super) fn new(seed: u64, policy: Policy) -> Play {
        let mut random = Random::new(seed);
        let home = Home::new(policy, advisories(&mut random));
        Play { home, random, machines: BTreeMap::new(), ticked_ms: 0 }
    }

    fn step(&mut self) {
        let what = self.random.below(20);
        self.happen(what);
        self.check();
    }

    pub(super) fn check(&self) {
        model::check(&self.home.daemon.shard, self.ticked_ms);
    }

    /// Something that goes on beside a lane; somebody decides something only if that may be.
    pub(super) fn happen_beside(&mut self, decides: bool) {
        let all: &[usize] = if decides { &[0, 1, 2, 3, 4, 9, 10, 13, 15, 16] } else { &[0, 1, 2, 9, 10] };
        let what = all[self.random.below(all.len())];
        self.happen(what);
    }

    pub(super) fn attempt_stale(&mut self, input: Input) -> Refusal {
        self.home.attempt(input).expect_err("refused")
    }

    fn happen(&mut self, what: usize) {
        let id = IDS[self.random.below(IDS.len())];
        match what {
            0..=8 => self.upload(id),
            9 => self.reenroll(id),
            10 => {
                if self.machines.remove(id).is_some() {
                    self.home.daemon.apply(Input::Remove { endpoint: id.to_owned() });
                }
            }
            11..=12 => {
                let advisories = advisories(&mut self.random);
                let news = news_between(&self.home.daemon.shard.catalog, &catalog(advisories.clone()));
                self.home.swap(advisories, news);
            }
            13..=14 => self.decide(id),
            15 => {
                let all: Vec<String> = self.home.daemon.shard.decisions.exemptions.keys().cloned().collect();
                if !all.is_empty() {
                    let id = all[self.random.below(all.len())].clone();
                    self.home.attempt(Input::EndExemption { id, by: "me".into() }).unwrap();
                }
            }
            16 => {
                self.home.daemon.now_ms += 1000 * i64::try_from(self.random.below(60)).unwrap();
                self.home.daemon.apply(Input::Tick);
                self.ticked_ms = self.home.daemon.now_ms;
            }
            17 => drop(self.home.daemon.shard.fleet.sweep()),
            18 => {
                // Other groups.
                let mut policy = self.home.policy.clone();
                policy.groups[0].labels.insert("role".to_owned(), ["web", "db"][self.random.below(2)].to_owned());
                self.home.policy = policy;
                let (pack, policy) = (self.home.pack.clone(), Box::new(self.home.policy.clone()) as Box<Policy>);
                self.home.daemon.apply(Input::Swap { pack, policy });
            }
            _ => {
                // Rows are freed without the store here, so it may know more of them.
                self.home.restart();
                self.home.daemon.apply(Input::Tick);
                self.ticked_ms = self.home.daemon.now_ms;
            }
        }
    }

    fn reenroll(&mut self, id: &'static str) {
        let role = ["web", "db"][self.random.below(2)];
        self.home.enroll(id, &[("role", role)]);
    }

    /// A whole scan, or only what changed since the last.
    fn upload(&mut self, id: &'static str) {
        if !self.machines.contains_key(id) {
            self.reenroll(id);
        }
        let before = self.machines.get(id).cloned();
        let after = match &before {
            Some(before) => changed(before, &mut self.random),
            None => machine(&mut self.random),
        };
        let scan = after.scan(id);
        let old = before.map(|m| m.scan(id)).filter(|old| old.tables.keys().all(|t| scan.tables.contains_key(t)));
        let document = match old.filter(|_| self.random.percent(50)) {
            Some(old) => {
                let base = muster::scan::digest::Digest::of_scan(&old).to_string();
                native::encode(&scan, Some(&base), |t| scan.tables.get(&t) != old.tables.get(&t))
            }
            None => native::encode(&scan, None, |_| true),
        };
        self.home.daemon.upload(id, &document);
        self.machines.insert(id, after);
    }

    fn decide(&mut self, id: &str) {
        let scope = match self.random.below(3) {
            0 if self.machines.contains_key(id) => Scope::Endpoint(id.to_owned()),
            1 => Scope::Everywhere,
            _ => Scope::Group("web".into()),
        };
        let pattern = ["DSA-*", "CVE-2026-1*", "*", "DSA-2026-3", "CVE-2026-5"][self.random.below(5)];
        let for_ms = 1 + 1000 * i64::try_from(self.random.below(60)).unwrap();
        let expires = self.random.percent(50).then(|| self.home.daemon.now_ms + 10 + for_ms);
        self.home.exempt(scope, &[pattern], expires);
    }
}

/// `MUSTER_CASES` asks for more.
#[expect(clippy::disallowed_methods, reason = "how long to test is not configuration")]
pub(super) fn cases() -> u32 {
    std::env::var("MUSTER_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_what_all_rows_say(seed in any::<u64>()) {
        let mut play = Play::new(seed, policy());
        for _ in 0..40 {
            play.step();
        }
    }
}
