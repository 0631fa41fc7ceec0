//! Patches through the shard: uploads, new catalogs, exemptions, lists and baselines.

mod lane;
pub(crate) mod model;
pub(crate) mod random;
mod required;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster::event::Event;
use muster::feed::model::{Advisory, Affected, Fix, FixState, Package, PackageKind, Platform, Severity, Source, Target, Versions, Windows};
use muster::limits::Limits;
use muster::pack::{Pack, compile as compile_rules};
use muster::patch::catalog::{Catalog, Part, Segment, Threats, compile};
use muster::patch::define::define;
use muster::patch::list::{Exemption, PatchList, Scope};
use muster::patch::{PatchId, State};
use muster::policy::{Group, Policy, Subscription};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, TableData, native};
use muster::shard::{FeedNews, Input, Posture, Refusal, Reply};
use muster::state::Store;
use muster::state::memory::MemoryStore;
use muster::version::Scheme;

use crate::engines::Daemon;

/// What one advisory says of one package of Debian 12: the version that has the fix, or why there is none.
fn says(id: &str, severity: &str, exploited: bool, of: &[(&str, Result<&str, FixState>)]) -> Advisory {
    let mut advisory = Advisory::new(Source::Osv, "Debian", id);
    advisory.severity = Severity::of(severity);
    advisory.exploitation.exploited = exploited.then_some(true);
    advisory.title = format!("about {id}").into();
    for (name, fix) in of {
        let platform = Some(Platform::new("debian", "12", ""));
        let package = Package {
            ecosystem: "Debian:12".into(),
            platform,
            kind: PackageKind::Binary,
            name: (*name).into(),
            arches: Vec::new(),
            module: None,
        };
        let affected = match fix {
            Ok(version) => {
                let mut affected = Affected::new(Target::Package(package), Versions::before(Scheme::Dpkg, version), FixState::Fixed);
                affected.fixes = vec![Fix { version: (*version).into(), ..Fix::default() }];
                affected
            }
            Err(state) => Affected::new(Target::Package(package), Versions::all(Some(Scheme::Dpkg)), *state),
        };
        advisory.affected.push(affected);
    }
    advisory
}

/// An update of Windows.
fn update_of_windows(kb: &str, product: &str) -> Advisory {
    let mut advisory = Advisory::new(Source::Msrc, "Microsoft", &format!("CVE-of-{kb}"));
    advisory.severity = Severity::of("Important");
    let target = Target::Windows(Windows { products: vec![product.into()], component: "".into() });
    let mut affected = Affected::new(target, Versions::all(None), FixState::Fixed);
    affected.fixes = vec![Fix { kb: kb.into(), ..Fix::default() }];
    advisory.affected.push(affected);
    advisory
}

/// A catalog of one feed.
pub(crate) fn catalog(advisories: Vec<Advisory>) -> Arc<Catalog> {
    let defined = define(advisories, &Limits::default()).unwrap();
    let compiled = compile(&defined.definitions, &[]);
    let segment = Arc::new(Segment::from_bytes("test", compiled.bytes).unwrap());
    let part = Part { feed: "debian".into(), segments: vec![segment] };
    Arc::new(Catalog::new(vec![part], Arc::new(Threats::default())))
}

fn one(catalog: &Catalog, id: &str) -> PatchId {
    let found = catalog.find(id);
    assert_eq!(found.len(), 1, "{id}");
    found[0]
}

fn news(added: &[&str], changed: &[&str], withdrawn: &[&str]) -> FeedNews {
    let boxed = |ids: &[&str]| ids.iter().map(|id| Box::from(*id)).collect();
    FeedNews { feed: "debian".into(), added: boxed(added), changed: boxed(changed), withdrawn: boxed(withdrawn), ..FeedNews::default() }
}

/// What an endpoint reports. `None`: the table was not collected.
#[derive(Clone, Debug, Default)]
struct Machine {
    windows: bool,
    packages: Option<BTreeMap<String, String>>,
    updates: Option<BTreeMap<String, String>>,
    hotfixes: Option<BTreeSet<String>>,
}

fn table(name: &str) -> TableId {
    TableId::by_name(name).unwrap()
}

impl Machine {
    fn linux(packages: &[(&str, &str)]) -> Machine {
        let packages = packages.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Machine { packages: Some(packages), ..Machine::default() }
    }

    fn with(mut self, name: &str, version: &str) -> Machine {
        self.packages.get_or_insert_default().insert(name.to_owned(), version.to_owned());
        self
    }

    fn offered(mut self, name: &str, version: &str) -> Machine {
        self.updates.get_or_insert_default().insert(name.to_owned(), version.to_owned());
        self
    }

    fn scan(&self, id: &str) -> Scan {
        let mut scan = Scan { endpoint: id.to_owned(), ..Scan::default() };
        let os = Row::new(table("os"));
        scan.push(if self.windows {
            os.with("family", "windows")
                .with("name", "Microsoft Windows Server 2022 Standard")
                .with("build", "10.0.20348.100")
                .with("arch", "x86_64")
        } else {
            os.with("family", "linux").with("id", "debian").with("version", "12")
        });
        for (of, rows) in [("package", &self.packages), ("update", &self.updates)] {
            let Some(rows) = rows else { continue };
            scan.tables.insert(table(of), TableData::Rows(Vec::new()));
            for (name, version) in rows {
                let row = Row::new(table(of)).with("name", name.as_str()).with("version", version.as_str()).with("release", "debian:12");
                scan.push(if of == "package" { row.with("format", "deb") } else { row });
            }
        }
        if let Some(hotfixes) = &self.hotfixes {
            scan.tables.insert(table("hotfix"), TableData::Rows(Vec::new()));
            hotfixes.iter().for_each(|kb| scan.push(Row::new(table("hotfix")).with("id", kb.as_str())));
        }
        scan.normalise();
        scan
    }
}

/// A daemon, with what it was started with.
struct Home {
    daemon: Daemon,
    pack: Arc<Pack>,
    policy: Policy,
}

impl Home {
    fn new(policy: Policy, advisories: Vec<Advisory>) -> Home {
        let pack = Arc::new(Pack::from_bytes(compile_rules(&[], &policy.requirements())).unwrap());
        let mut home = Home { daemon: Daemon::start(MemoryStore::default(), &pack), pack, policy };
        let (pack, policy) = (home.pack.clone(), Box::new(home.policy.clone()));
        home.daemon.apply(Input::Swap { pack, policy });
        home.daemon.shard.set_catalog(catalog(advisories));
        home
    }

    /// The process ends and starts again.
    fn restart(&mut self) {
        let catalog = self.daemon.shard.catalog.clone();
        let mut daemon = Daemon::start(self.daemon.store.reopen(), &self.pack);
        daemon.now_ms = self.daemon.now_ms;
        daemon.shard.set_catalog(catalog);
        if let Some(policy) = daemon.shard.resume(&self.pack, self.policy.clone()) {
            daemon.apply(Input::Swap { pack: self.pack.clone(), policy: Box::new(policy) });
        }
        self.daemon = daemon;
    }

    fn enroll(&mut self, id: &str, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.daemon.apply(Input::Enroll { id: id.to_owned(), hostname: id.to_owned(), labels, key_hash: [0; 32] });
    }

    fn upload(&mut self, id: &str, machine: &Machine) {
        self.daemon.upload(id, &native::encode(&machine.scan(id), None, |_| true));
    }

    fn swap(&mut self, advisories: Vec<Advisory>, news: FeedNews) {
        self.daemon.apply(Input::Catalog { catalog: catalog(advisories), news: vec![news] });
    }

    /// An input that may be refused; what is refused changes nothing.
    fn attempt(&mut self, input: Input) -> Result<Reply, Refusal> {
        self.daemon.now_ms += 1;
        let mut applied = self.daemon.shard.apply(vec![input], self.daemon.now_ms);
        let reply = applied.replies.remove(0);
        assert!(reply.is_ok() || applied.batch.is_empty());
        self.daemon.store.commit(&applied.batch).unwrap();
        reply
    }

    fn exempt(&mut self, scope: Scope, patches: &[&str], expires_ms: Option<i64>) -> Exemption {
        let patches = patches.iter().map(|p| (*p).to_owned()).collect();
        match self.attempt(Input::Exempt(exemption(scope, patches, expires_ms))) {
            Ok(Reply::Exempted(exemption)) => *exemption,
            other => panic!("{other:?}"),
        }
    }

    fn state(&self, id: &str, patch: &str) -> State {
        let at = self.daemon.shard.fleet.find(id).unwrap();
        self.daemon.shard.patch_stand(at, one(&self.daemon.shard.catalog, patch)).state
    }

    fn posture(&self, id: &str) -> Posture {
        self.daemon.shard.posture(self.daemon.shard.fleet.find(id).unwrap())
    }

    fn counts(&self, patch: &str) -> BTreeMap<State, u32> {
        self.daemon.shard.patch_counts(one(&self.daemon.shard.catalog, patch))
    }

    fn history(&self, kind: &str) -> Vec<Event> {
        let events = self.daemon.store.reader().events(0, 100_000).unwrap();
        events.iter().map(|(_, v)| serde_json::from_slice::<Event>(v).unwrap()).filter(|e| e.kind == kind).collect()
    }
}

fn exemption(scope: Scope, patches: Vec<String>, expires_ms: Option<i64>) -> Exemption {
    Exemption {
        id: String::new(),
        scope,
        patches,
        reason: "breaks the cash desk".into(),
        approver: "a. person".into(),
        created_ms: 0,
        expires_ms,
    }
}

fn list(name: &str, version: u32, patches: &[&str]) -> PatchList {
    PatchList {
        name: name.into(),
        version,
        filter: String::new(),
        patches: patches.iter().map(|p| (*p).to_owned()).collect(),
        author: "a. person".into(),
        note: String::new(),
        at_ms: 0,
    }
}

fn policy() -> Policy {
    let groups = vec![Group { name: "web".into(), endpoints: Vec::new(), labels: BTreeMap::from([("role".to_owned(), "web".to_owned())]) }];
    let subscriptions = vec![Subscription { sink: "tickets".into(), events: vec!["patch.*".into()] }];
    Policy { groups, subscriptions, ..Policy::default() }
}
