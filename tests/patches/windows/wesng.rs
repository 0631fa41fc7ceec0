//! WES-NG's answers for real hosts: `windows/systeminfo/*_systeminfo.txt` and, of the same name, `windows/expected/*.csv.gz`, below `MUSTER_DATA`.
//!
//! Its table goes the whole way: reader, definitions, catalog, one question a row, sums. The set of missing updates must be WES-NG's, and so must the pairs of CVE and
//! missing update; each difference must be of one of the [`Reason`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use muster::feed::model::{FixState, Target};
use muster::feed::{Batch, msrc};
use muster::limits::Limits;
use muster::patch::catalog::{Catalog, Part, Segment, Threats, compile};
use muster::patch::define::{Definition, define};
use muster::patch::{State, stand, systeminfo, windows};
use muster::scan::table::TableId;
use muster::scan::{Row, inflate};

/// Why WES-NG says something else, and what Microsoft's data say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// It looks for the name of the system anywhere in a product's name: `Windows Server 2022` is also found in `Windows Server 2022, 23H2 Edition` and in
    /// `Windows HLK for Windows Server 2022`. Microsoft has the edition as a product of its own, with updates of its own.
    OtherSystem,
    /// It compares letter by letter: `Windows 8.1 for x64-based systems` and `Windows 11 version 21H2` are not found, nor what they supersede; the first Windows 10 is
    /// looked for as `Version 1507`, and servers before 2012 without their service pack.
    Spelling,
    /// Its table has a line without an update beside each line with one since 2017; these are listed as vulnerabilities without an update.
    LineWithoutUpdate,
    /// `Release Notes` and `Update Information` stand where the number of an update should.
    NoNumber,
    /// Of a vulnerability that has lines for Server Core, it drops every line that no Server Core line equals word by word.
    NoServerCore,
    /// An update is installed that Microsoft does not list for this system, and wherever both are listed it replaces this one. WES-NG only follows what is listed.
    ReplacedElsewhere,
    /// A line of its table has a line end within the list of what is superseded, which WES-NG takes for a part of the number.
    LineEnd,
}

fn table(name: &str) -> TableId {
    TableId::by_name(name).unwrap()
}

struct Wes {
    /// CVE, update, product as written.
    rows: BTreeSet<(String, String, String)>,
}

impl Wes {
    fn read(bytes: &[u8]) -> Wes {
        let mut text = Vec::new();
        inflate::stream(bytes, 1 << 28).unwrap().read_to_end(&mut text).unwrap();
        let mut csv = csv::ReaderBuilder::new().from_reader(text.as_slice());
        let rows = csv.byte_records().map(|r| {
            let r = r.unwrap();
            let field = |at: usize| String::from_utf8_lossy(r.get(at).unwrap()).trim().to_owned();
            (field(1), field(2), field(4))
        });
        Wes { rows: rows.collect() }
    }

    fn updates(&self) -> BTreeSet<String> {
        self.rows.iter().filter_map(|(_, kb, _)| update(kb)).collect()
    }
}

/// As definitions call it; `None` for what is no number.
fn update(bulletin: &str) -> Option<String> {
    let digits = !bulletin.is_empty() && bulletin.bytes().all(|b| b.is_ascii_digit());
    if digits { Some(format!("KB{bulletin}")) } else { bulletin.starts_with("SP").then(|| bulletin.to_owned()) }
}

/// All that is known, once for all hosts.
struct Known {
    catalog: Catalog,
    definitions: BTreeMap<Box<str>, Arc<Definition>>,
    systems: BTreeMap<Arc<str>, Option<String>>,
    /// Updates of a vulnerability.
    updates: BTreeMap<Box<str>, Vec<Box<str>>>,
}

impl Known {
    fn new(zip: &[u8]) -> Known {
        let limits = Limits::default();
        let mut batch = Batch::new(&limits);
        msrc::read_wesng("definitions.zip", zip, &limits, &mut batch);
        let defined = define(batch.advisories, &limits).unwrap();
        let compiled = compile(&defined.definitions, &[]);
        let segment = Arc::new(Segment::from_bytes("wes-ng", compiled.bytes).unwrap());
        let catalog = Catalog::new(vec![Part::new("wes-ng", vec![segment]).unwrap()], Arc::new(Threats::default()));
        let mut systems = BTreeMap::new();
        for product in defined.definitions.iter().flat_map(|d| &d.entries).flat_map(|e| products(&e.target)) {
            systems.entry(product.clone()).or_insert_with(|| windows::system_of(product));
        }
        let mut updates: BTreeMap<Box<str>, Vec<Box<str>>> = BTreeMap::new();
        for definition in defined.definitions.iter().filter(|d| update_id(&d.id)) {
            let all = definition.cves.iter().chain(&definition.advisories).collect::<BTreeSet<_>>();
            all.into_iter().for_each(|cve| updates.entry(cve.clone()).or_default().push(definition.id.clone()));
        }
        Known { catalog, updates, definitions: defined.definitions.iter().map(|d| (d.id.clone(), d.clone())).collect(), systems }
    }

    fn states(&self, rows: &[&Row]) -> BTreeMap<String, State> {
        let notes = rows.iter().flat_map(|row| self.catalog.ask(row).into_vec());
        stand::sums(notes).into_iter().map(|(patch, sum)| (self.catalog.id(patch).unwrap().0.to_owned(), sum.state())).collect()
    }

    /// Product names, as written, of this system that a definition is about, with the CVEs.
    fn here<'d>(&'d self, id: &str, system: &str) -> Vec<(&'d Arc<str>, Vec<&'d str>)> {
        let Some(definition) = self.definitions.get(id) else { return Vec::new() };
        let mut out = Vec::new();
        for entry in &definition.entries {
            let cves = if entry.about.is_empty() { &definition.cves } else { &entry.about };
            let own = products(&entry.target).iter().filter(|p| self.systems.get(*p).is_some_and(|s| s.as_deref() == Some(system)));
            out.extend(own.map(|p| (p, cves.iter().map(|c| &**c).collect())));
        }
        out
    }
}

fn products(target: &Target) -> &[Arc<str>] {
    match target {
        Target::Windows(windows) => &windows.products,
        Target::Package(_) | Target::Product(_) => &[],
    }
}

/// What WES-NG looks for, where it is not our name.
fn filter(system: &str) -> String {
    let packless = |name: &str| name.split(" Service Pack").next().unwrap_or(name).to_owned();
    if let Some(rest) = system.strip_prefix("Windows 10 for ") {
        format!("Windows 10 Version 1507 for {rest}")
    } else if system.starts_with("Windows Server 2008") || system.starts_with("Windows Server 2003") {
        packless(system)
    } else {
        system.to_owned()
    }
}

/// A host, and what both say of it.
struct Host<'k> {
    known: &'k Known,
    system: String,
    states: BTreeMap<String, State>,
    installed: BTreeSet<String>,
    wes: Wes,
}

/// What such lines are about.
const LINE_ENDS: [&str; 1] = ["KB4534251"];

impl Host<'_> {
    fn missing(&self) -> BTreeSet<String> {
        let missing = self.states.iter().filter(|(id, s)| **s == State::Missing && !id.starts_with("CVE-") && !id.starts_with("ADV"));
        missing.map(|(id, _)| id.clone()).collect()
    }

    fn is_core(product: &str) -> bool {
        product.to_lowercase().contains("server core")
    }

    /// Whether WES-NG takes one of these products for the system.
    fn seen<'p>(&self, mut products: impl Iterator<Item = &'p Arc<str>>) -> bool {
        let filter = filter(&self.system);
        let pack = format!("{filter} Service Pack");
        products.any(|p| p.contains(&filter) && (filter.contains("Service Pack") || !p.contains(&pack)))
    }

    /// WES-NG does not see any product of this update.
    fn unseen(&self, id: &str) -> bool {
        !self.seen(self.known.here(id, &self.system).iter().map(|(product, _)| *product))
    }

    /// Why it says that this is missing, and we do not.
    fn surplus(&self, id: &str) -> Option<Reason> {
        let rows: Vec<&(String, String, String)> = self.wes.rows.iter().filter(|(_, kb, _)| update(kb).as_deref() == Some(id)).collect();
        if rows.iter().all(|(_, _, p)| windows::system_of(p).as_deref() != Some(&*self.system)) {
            return Some(Reason::OtherSystem);
        }
        let definition = self.known.definitions.get(id)?;
        if LINE_ENDS.contains(&id) {
            return (self.states.get(id) == Some(&State::Superseded)).then_some(Reason::LineEnd);
        }
        let replaced = |by: &str| self.installed.contains(by) && definition.is_replaced_by(by, Some(&self.system));
        if self.states.get(id) == Some(&State::Installed) {
            let unlisted = |by: &&str| self.known.here(by, &self.system).is_empty();
            return definition.superseded_by.iter().map(|by| &**by).filter(unlisted).any(replaced).then_some(Reason::ReplacedElsewhere);
        }
        let mut later = definition.superseded_by.iter().filter(|by| definition.is_replaced_by(by, Some(&self.system)));
        (self.states.get(id) == Some(&State::Superseded) && later.any(|by| self.unseen(by))).then_some(Reason::Spelling)
    }

    /// Why it does not say that this is missing.
    fn lack(&self, id: &str) -> Option<Reason> {
        if self.unseen(id) {
            return Some(Reason::Spelling);
        }
        let here = self.known.here(id, &self.system);
        let all_dropped = here.iter().all(|(product, cves)| !Self::is_core(product) && cves.iter().all(|cve| self.has_core(cve)));
        (self.system.contains("Server") && all_dropped).then_some(Reason::NoServerCore)
    }

    /// Another update for the vulnerability has lines for Server Core on this system.
    fn has_core(&self, cve: &str) -> bool {
        let core = |id: &str| self.known.here(id, &self.system).iter().any(|(p, cves)| Self::is_core(p) && cves.contains(&cve));
        self.known.updates.get(cve).is_some_and(|ids| ids.iter().any(|id| core(id)))
    }

    fn pairs(&self) -> BTreeSet<(String, String)> {
        let missing = self.missing();
        let of = |id: &String| -> Vec<(String, String)> {
            let here = self.known.here(id, &self.system);
            let cves = here.into_iter().flat_map(|(_, cves)| cves).filter(|cve| cve.starts_with("CVE-"));
            cves.map(|cve| (cve.to_owned(), id.clone())).collect()
        };
        missing.iter().flat_map(of).collect()
    }

    /// Every difference by its reason, and those that have none.
    fn differences(&self) -> (BTreeMap<Reason, usize>, Vec<String>) {
        let mut out: BTreeMap<Reason, usize> = BTreeMap::new();
        let mut without = Vec::new();
        let mut count = |reason: Option<Reason>, what: &dyn std::fmt::Debug| match reason {
            Some(reason) => *out.entry(reason).or_default() += 1,
            None => without.push(format!("{}: {what:?}", self.system)),
        };
        let (ours, theirs) = (self.missing(), self.wes.updates());
        theirs.difference(&ours).for_each(|id| count(self.surplus(id), &("only WES-NG", id)));
        ours.difference(&theirs).for_each(|id| count(self.lack(id), &("only we", id)));

        let own = |p: &str| windows::system_of(p).as_deref() == Some(&*self.system);
        let is_pair = |(cve, kb, _): &&(String, String, String)| cve.starts_with("CVE-") && update(kb).is_some();
        let named = |row: &(String, String, String)| (row.0.clone(), update(&row.1).unwrap_or_default());
        let their_pairs: BTreeSet<_> = self.wes.rows.iter().filter(is_pair).filter(|r| own(&r.2)).map(named).collect();
        let both = |pair: &&(String, String)| ours.contains(&pair.1) && theirs.contains(&pair.1);
        let our_pairs = self.pairs();
        for pair in their_pairs.difference(&our_pairs).filter(both) {
            count(None, &("pair of WES-NG alone", pair));
        }
        for pair in our_pairs.difference(&their_pairs).filter(both) {
            let reason = if self.system.contains("Server") && self.has_core(&pair.0) {
                Some(Reason::NoServerCore)
            } else {
                let about = self.known.here(&pair.1, &self.system).into_iter().filter(|(_, cves)| cves.contains(&&*pair.0));
                (!self.seen(about.map(|(product, _)| product))).then_some(Reason::Spelling)
            };
            count(reason, &("pair of ours alone", pair));
        }
        for (cve, kb, product) in self.wes.rows.iter().filter(|(_, kb, _)| update(kb).is_none()) {
            let mut fixes = self.known.updates.get(cve.as_str()).into_iter().flatten();
            let elsewhere = |d: &Arc<Definition>| {
                d.entries.iter().any(|e| e.state == FixState::Fixed && products(&e.target).iter().any(|p| **p == **product))
            };
            let fixed = fixes.any(|id| !self.known.here(id, &self.system).is_empty())
                || self.known.definitions.get(cve.as_str()).is_some_and(elsewhere);
            let reason = match (own(product), kb.is_empty()) {
                (false, _) => Some(Reason::OtherSystem),
                (true, true) => fixed.then_some(Reason::LineWithoutUpdate),
                (true, false) => Some(Reason::NoNumber),
            };
            count(reason, &(cve, kb, product));
        }
        (out, without)
    }
}

fn update_id(id: &str) -> bool {
    id.starts_with("KB") || id.starts_with("SP")
}

#[test]
#[expect(clippy::print_stderr, reason = "says what was counted, and what was skipped")]
fn the_same_updates_are_missing() {
    let Some(folder) = std::env::var_os("MUSTER_DATA") else {
        return eprintln!("without real data: MUSTER_DATA is not set, hosts are not held against WES-NG");
    };
    let folder = Path::new(&folder).join("windows");
    let known = Known::new(&std::fs::read(folder.join("wesng-definitions.zip")).unwrap());
    let (mut hosts, mut unexplained) = (0, Vec::new());
    let mut answers: Vec<_> = std::fs::read_dir(folder.join("expected")).unwrap().map(|e| e.unwrap().path()).collect();
    answers.sort();
    for answer in answers {
        let name = answer.file_name().unwrap().to_string_lossy().replace(".csv.gz", "");
        let text = std::fs::read(folder.join("systeminfo").join(format!("{name}_systeminfo.txt"))).unwrap();
        let scan = systeminfo::read(&text, None).unwrap().scan;
        let os = scan.rows(table("os")).first().unwrap();
        let rows: Vec<&Row> = scan.rows(table("hotfix")).iter().chain([os]).collect();
        let wes = Wes::read(&std::fs::read(&answer).unwrap());
        let installed = scan.rows(table("hotfix")).iter().map(|r| r.get("id").as_str().unwrap().to_uppercase()).collect();
        let host = Host { installed, known: &known, system: windows::product(os).unwrap(), states: known.states(&rows), wes };
        let (differences, without) = host.differences();
        unexplained.extend(without);
        let (ours, theirs) = (host.missing(), host.wes.updates());
        let same = ours.intersection(&theirs).count();
        eprintln!(
            "{name}: {}: {} missing here, {} with WES-NG, {same} the same; {} superseded, {} pairs; differences {differences:?}",
            host.system,
            ours.len(),
            theirs.len(),
            host.states.values().filter(|s| **s == State::Superseded).count(),
            host.pairs().len(),
        );
        hosts += 1;
    }
    assert!(hosts > 0, "no answers of WES-NG");
    assert!(
        unexplained.is_empty(),
        "{} differences without a reason: {:#?}",
        unexplained.len(),
        unexplained.iter().take(20).collect::<Vec<_>>()
    );
}
