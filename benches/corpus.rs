//! A real scan: this host, with the packages of a larger one made from its own, and variants of it as a fleet has them.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use muster::collect::{Root, collect};
use muster::judge::Verdict;
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::rule::check::check;
use muster::rule::ir::Ir;
use muster::rule::{Collect, Rule, RulePack, Severity};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, TableData, native};

use crate::catalogs::Catalogs;

/// Checks of the pack: those of `rules/`, and made ones.
const CHECKS: usize = 1_000;

pub(crate) struct Corpus {
    pub(crate) pack: Arc<Pack>,
    pub(crate) scan: Scan,
    pub(crate) document: Vec<u8>,
    catalogs: OnceCell<Catalogs>,
}

impl Corpus {
    pub(crate) fn collect() -> Corpus {
        let limits = Limits::default();
        let mut packs: Vec<_> = ["rules/linux-server", "rules/windows-server"]
            .iter()
            .map(|folder| muster::rule::read_folder(std::path::Path::new(folder), &limits))
            .map(|(pack, problems)| pack.unwrap_or_else(|| panic!("{problems:?}")))
            .collect();
        let asks = Pack::from_bytes(compile(&packs, &[])).unwrap().asks();
        let mut scan = collect(&Root::new("/"), &asks, &limits);
        scan.endpoint = "bench".to_owned();
        grow(&mut scan, 2286);
        packs.push(made(&scan, CHECKS.saturating_sub(packs.iter().map(|p| p.rules.len()).sum())));
        let pack = Arc::new(Pack::from_bytes(compile(&packs, &[])).unwrap());
        let document = native::encode(&scan, None, |_| true);
        println!(
            "corpus: {} rows, {} bytes; pack: {} rules, {} terms",
            scan.tables.values().map(|d| if let TableData::Rows(r) = d { r.len() } else { 0 }).sum::<usize>(),
            document.len(),
            pack.rule_count(),
            pack.term_count()
        );
        Corpus { pack, scan, document, catalogs: OnceCell::new() }
    }

    /// Made when they are first wanted, for that takes a while.
    pub(crate) fn catalogs(&self) -> &Catalogs {
        self.catalogs.get_or_init(|| Catalogs::new(&self.scan))
    }

    /// The scan with some values changed, as a host drifts: about ten rows for a number above 0.
    pub(crate) fn drifted(&self, number: u32) -> Scan {
        let mut scan = self.scan.clone();
        let package = TableId::by_name("package").unwrap();
        if let Some(TableData::Rows(rows)) = scan.tables.get_mut(&package) {
            let count = u32::try_from(rows.len()).unwrap();
            for i in 0..10 {
                let at = (number.wrapping_mul(7919) + i * 211) % count;
                let row = &rows[usize::try_from(at).unwrap()];
                let version = format!("{}+drift{number}", row.get("version").as_str().unwrap_or("1"));
                rows[usize::try_from(at).unwrap()] = row.clone().with("version", version);
            }
        }
        scan
    }

    pub(crate) fn drifted_document(&self, number: u32) -> Vec<u8> {
        native::encode(&self.drifted(number), None, |_| true)
    }
}

/// Packages of a desktop or a build host: this host's own names with a suffix.
fn grow(scan: &mut Scan, packages: usize) {
    let package = TableId::by_name("package").unwrap();
    let Some(TableData::Rows(rows)) = scan.tables.get_mut(&package) else { return };
    let real: Vec<Row> = rows.clone();
    let mut round = 0;
    while rows.len() < packages && !real.is_empty() {
        round += 1;
        let more = real.iter().map(|r| r.clone().with("name", format!("{}-x{round}", r.get("name").as_str().unwrap_or("p"))));
        rows.extend(more.take(packages - rows.len()));
    }
    scan.normalise();
}

/// Checks that ask what the host has: versions of its packages, values of its settings, things that should not be there.
fn made(scan: &Scan, count: usize) -> RulePack {
    let rows = |name: &str| match TableId::by_name(name).and_then(|t| scan.tables.get(&t)) {
        Some(TableData::Rows(rows)) => rows.clone(),
        _ => Vec::new(),
    };
    let (packages, settings) = (rows("package"), rows("sysctl"));
    let text = |row: &Row, column: &str| row.get(column).as_str().unwrap_or("x").replace(['\\', '"', '\n'], "");
    let check_of = |number: usize| {
        let package = &packages[number * 37 % packages.len()];
        let text = match (number % 3, settings.get(number * 13 % settings.len().max(1))) {
            (0, Some(row)) => format!("sysctl[\"{}\"] == \"{}\"", text(row, "key"), text(row, "value")),
            (1, _) => format!("!package.exists(p, p.name == \"{}-unwanted\")", text(package, "name")),
            _ => format!(
                "package.all(p, p.name != \"{0}\" || p.version.dpkg() >= dpkg(\"{1}\"))",
                text(package, "name"),
                text(package, "version")
            ),
        };
        check(&text, &Collect::new()).unwrap_or_else(|p| panic!("{text}: {p:?}"))
    };
    RulePack {
        id: "made".into(),
        title: String::new(),
        version: "1".into(),
        description: String::new(),
        benchmarks: BTreeMap::new(),
        rules: (0..count).map(|n| rule(&format!("made-{n:04}"), check_of(n))).collect(),
    }
}

/// A rule of which only the check matters.
pub(crate) fn rule(id: &str, check: Ir) -> Rule {
    Rule {
        id: id.into(),
        title: "t".into(),
        severity: Severity::High,
        platforms: Vec::new(),
        controls: BTreeMap::new(),
        rationale: String::new(),
        remediation: String::new(),
        fix: None,
        when_text: None,
        check_text: String::new(),
        when: None,
        check,
        missing: Verdict::Fail,
        collect: Collect::new(),
        tests: Vec::new(),
    }
}
