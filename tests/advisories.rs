//! Random advisories and random rows out of a string of bytes, for the property test and for libFuzzer. The vocabulary is small, so that rows meet advisories,
//! advisories meet each other, and every say comes up often.

use std::sync::Arc;

use muster::feed::model::{
    Advisory, Affected, End, Fix, FixState, Module, Package, PackageKind, Platform, Product, Range, Severity, Source, Start, Target,
    Versions, Windows,
};
use muster::limits::Limits;
use muster::patch::define::{Definition, define};
use muster::scan::Row;
use muster::scan::table::TableId;
use muster::version::Scheme;

use crate::generate::Bytes;

const IDS: [&str; 10] =
    ["DSA-1", "DSA-2", "RHSA-1", "RHSA-2", "GHSA-1", "CVE-2024-1", "CVE-2024-2", "CVE-2024-3", "kb1000001", "KB1000002"];
const CVES: [&str; 3] = ["CVE-2024-1", "CVE-2024-2", "CVE-2024-3"];
const NAMES: [&str; 12] = [
    "a",
    "a",
    "a",
    "a",
    "linux",
    "linux",
    "kernel",
    "kernel-core",
    "linux-image-6.1-amd64",
    "Flask_Login",
    "flask-login",
    "Cloudflare WARP",
];
const VERSIONS: [&str; 14] =
    ["1", "1.0", "1.9", "2", "2.0-1", "2.0-2", "1:1.0-1", "2.0-1.module_el8", "2.1-1.module_el8", "3~rc1", "3", "23.9", "2022.3.1", "x"];
const BUILDS: [&str; 6] = ["10.0.17763.100", "10.0.17763.200", "10.0.17763.300", "10.0.19045.100", "10.0.17763", ""];
const KBS: [&str; 4] = ["kb1000001", "kb1000002", "kb1000003", "sp81x86"];
const SYSTEMS: [&str; 5] = [
    "Windows 10 Version 1809 for x64-based Systems",
    "Windows Server 2019",
    "Internet Explorer 11 on Windows 10 Version 1809 for x64-based Systems",
    "Microsoft Office 2016 (64-bit edition)",
    "Cloudflare WARP",
];
const CHANNELS: [&str; 3] = ["", "", "pro"];

fn pick<T: Copy>(choices: &mut Bytes, from: &[T]) -> T {
    from[choices.below(from.len())]
}

fn some(choices: &mut Bytes, from: &[&str], most: usize) -> Vec<Box<str>> {
    let mut out: Vec<Box<str>> = (0..choices.below(most + 1)).map(|_| pick(choices, from).into()).collect();
    out.sort();
    out.dedup();
    out
}

pub(crate) fn feed(choices: &mut Bytes, most: usize) -> Vec<Advisory> {
    (0..choices.below(most) + 1).map(|_| advisory(choices)).collect()
}

pub(crate) fn advisory(choices: &mut Bytes) -> Advisory {
    let id = pick(choices, &IDS);
    let mut out = Advisory::new(Source::Osv, "test", id);
    out.aliases = some(choices, &CVES, 2);
    out.aliases.retain(|a| **a != *id);
    out.title = pick(choices, &["", "a title", "Latest Servicing Stack Updates", "Service Pack 1"]).into();
    out.severity = Severity::of(pick(choices, &["", "low", "critical"]));
    out.withdrawn = (choices.below(12) == 11).then(Default::default);
    out.affected = (0..choices.below(4)).map(|_| affected(choices)).collect();
    out
}

fn versions(choices: &mut Bytes) -> Versions {
    let scheme = pick(choices, &[Some(Scheme::Dpkg), Some(Scheme::Rpm), Some(Scheme::Rpm), Some(Scheme::Pep440), None]);
    let mut version = || -> Box<str> { pick(choices, &VERSIONS).into() };
    let (a, b, c, d) = (version(), version(), version(), version());
    let range = |start, end| Range { start, end };
    let (ranges, exact) = match choices.below(8) {
        0 => (vec![range(Start::Open, End::Open)], vec![]),
        1 => (vec![], vec![a, b]),
        2 => (vec![range(Start::At(a), End::Before(b))], vec![c]),
        3 => (vec![range(Start::Open, End::Before(a)), range(Start::At(b), End::Before(c))], vec![d]),
        4 => (vec![range(Start::After(a), End::Through(b)), range(Start::Open, End::Before(c))], vec![]),
        5 => (vec![], vec![]),
        _ => (vec![range(Start::Open, End::Before(a))], vec![]),
    };
    Versions { scheme, ranges, exact, text: "".into() }
}

fn affected(choices: &mut Bytes) -> Affected {
    let target = match choices.below(6) {
        0 => Target::Windows(Windows {
            products: some(choices, &SYSTEMS, 3).into_iter().map(Arc::from).collect(),
            component: pick(choices, &["", "Microsoft Edge"]).into(),
        }),
        1 => Target::Product(Product {
            vendor: pick(choices, &["", "Cloudflare", "Acme"]).into(),
            name: pick(choices, &NAMES).into(),
            cpe: "".into(),
            purl: "".into(),
            platform: "".into(),
            arches: some(choices, &["x86_64"], 1),
        }),
        _ => Target::Package(package(choices)),
    };
    let state = pick(
        choices,
        &[
            FixState::Fixed,
            FixState::Fixed,
            FixState::Fixed,
            FixState::NoFix,
            FixState::WillNotFix,
            FixState::NotAffected,
            FixState::UnderInvestigation,
        ],
    );
    let mut out = Affected::new(target, versions(choices), state);
    out.about = if choices.below(3) == 0 { some(choices, &CVES, 2) } else { Vec::new() };
    for _ in 0..choices.below(3) {
        let mut fix = Fix { version: pick(choices, &VERSIONS).into(), ..Fix::default() };
        if choices.below(3) == 0 || matches!(out.target, Target::Windows(_)) {
            fix.kb = pick(choices, &KBS).into();
            fix.build = pick(choices, &BUILDS).into();
            fix.supersedes = some(choices, &KBS, 2);
        }
        out.fixes.push(fix);
    }
    out
}

fn package(choices: &mut Bytes) -> Package {
    let platforms = [
        ("debian", ""),
        ("debian", "12"),
        ("debian", "12"),
        ("debian", "12.5"),
        ("almalinux", "8"),
        ("almalinux", "8.4"),
        ("ubuntu", "22.04"),
    ];
    let platform = (choices.below(5) > 0).then(|| {
        let (id, version) = pick(choices, &platforms);
        Platform::new(id, version, pick(choices, &CHANNELS))
    });
    let module = Module { name: pick(choices, &["m", "m", "n", ""]).into(), stream: pick(choices, &["2", "2.1", "rhel8"]).into() };
    Package {
        ecosystem: pick(choices, &["PyPI", "npm", "deb", "windows"]).into(),
        platform,
        kind: pick(choices, &[PackageKind::Binary, PackageKind::Source, PackageKind::Either]),
        name: pick(choices, &NAMES).into(),
        arches: if choices.below(4) == 0 { some(choices, &["x86_64", "amd64", "noarch"], 2) } else { Vec::new() },
        module: (choices.below(6) == 0).then_some(module),
    }
}

fn set(choices: &mut Bytes, row: Row, column: &str, values: &[&str]) -> Row {
    match pick(choices, values) {
        "" => row,
        value => row.with(column, value),
    }
}

pub(crate) fn row(choices: &mut Bytes) -> Row {
    let table = pick(choices, &["package", "package", "package", "package", "update", "os", "hotfix"]);
    let row = Row::new(TableId::by_name(table).expect("a table"));
    let releases =
        ["debian:12", "debian:12", "debian:12.5", "debian:12.5", "almalinux:8.4", "almalinux:8.4", "almalinux:8.10", "debian", ""];
    match table {
        "hotfix" => set(choices, row, "id", &KBS),
        "os" if choices.below(2) == 0 => {
            let row = row.with("family", "windows").with("arch", "x86_64");
            let row = set(choices, row, "name", &["Microsoft Windows 10 Enterprise LTSC", "Microsoft Windows Server 2019 Standard"]);
            set(choices, row.with("version", "1809"), "build", &BUILDS)
        }
        "os" => {
            let row = set(choices, row, "id", &["debian", "almalinux", "ubuntu"]);
            let row = set(choices, row, "version", &["12", "8.4", "22.04", ""]);
            let row = set(choices, row, "kernel", &["6.1-amd64", "2.0-1.x86_64", "2.0-2.x86_64+rt", "5.4.0-1-generic", ""]);
            let row = set(choices, row, "kernel_version", &VERSIONS);
            set(choices, row, "arch", &["x86_64", ""])
        }
        _ => {
            let row = set(choices, row, "name", &NAMES);
            let row = set(choices, row, "version", &VERSIONS);
            let row = set(choices, row, "arch", &["amd64", "x86_64", "noarch", ""]);
            let row = set(choices, row, "source", &["a", "linux", "linux-signed-amd64", "", "", "flask-login"]);
            let row = set(choices, row, "release", &releases);
            if table == "update" {
                return row;
            }
            let row = set(choices, row, "source_version", &["", "", "2", "1:1.0-1"]);
            let row = set(choices, row, "format", &["deb", "rpm", "pypi", "npm", "msi", ""]);
            let row = set(choices, row, "module", &["", "", "m:2", "m:rhel8", "n:2"]);
            set(choices, row, "vendor", &["", "Cloudflare, Inc.", "Acme"])
        }
    }
}

pub(crate) fn definitions(advisories: Vec<Advisory>) -> Vec<Arc<Definition>> {
    define(advisories, &Limits::default()).expect("few enough").definitions
}
