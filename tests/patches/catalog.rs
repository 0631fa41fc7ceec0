//! The catalog against the definition, over random advisories and rows, and over real feeds and real lists of packages.

use std::path::Path;
use std::sync::Arc;

use muster::feed::model::{
    Advisory, Affected, End, Fix, FixState, Module, Package, PackageKind, Platform, Range, Source, Start, Target, Versions,
};
use muster::feed::{Batch, Sink, debian, msrc, osv};
use muster::limits::Limits;
use muster::patch::catalog::{Catalog, Part, Segment, compile, verify};
use muster::patch::define::{Definition, define};
use muster::patch::{Says, explain};
use muster::scan::Row;
use muster::scan::table::TableId;
use muster::version::Scheme;
use proptest::prelude::*;

use crate::advisories;
use crate::generate::Bytes;

/// What a row says: id, say, superseded.
type Said<'a> = Vec<(&'a str, Says, bool)>;

fn open(bytes: Vec<u8>) -> Arc<Segment> {
    verify("test", &bytes).unwrap();
    Arc::new(Segment::from_bytes("test", bytes).unwrap())
}

fn catalog(segments: Vec<Arc<Segment>>) -> Catalog {
    Catalog::new(vec![Part::new("test", segments).unwrap()], Arc::default())
}

fn asked<'c>(catalog: &'c Catalog, row: &Row, fully: bool) -> Said<'c> {
    let notes = if fully { catalog.ask_fully(row) } else { catalog.ask(row).into_vec() };
    assert!(notes.is_sorted() && notes.windows(2).all(|w| w[0].patch() != w[1].patch()), "one note a patch, sorted: {notes:?}");
    let mut out: Said = notes.iter().map(|n| (catalog.id(n.patch()).unwrap().0, n.says(), n.superseded())).collect();
    out.sort();
    out
}

fn explained<'d>(definitions: &'d [Arc<Definition>], row: &Row, fully: bool) -> Said<'d> {
    let mut out: Said =
        explain::notes(definitions, row, fully).into_iter().map(|(at, s, under)| (&*definitions[at].id, s, under)).collect();
    out.sort();
    out
}

/// `MUSTER_CASES` asks for more.
#[expect(clippy::disallowed_methods, reason = "how long to test is not configuration")]
fn cases() -> u32 {
    std::env::var("MUSTER_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is said of a random row by random advisories: asked by the index, and by the definition; through a base, and through a base with a delta.
    #[test]
    fn the_index_says_what_the_definition_says(bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
        let mut choices = Bytes::new(&bytes);
        let rows: Vec<Row> = (0..6).map(|_| advisories::row(&mut choices)).collect();
        let first = advisories::feed(&mut choices, 14);
        let mut reversed = first.clone();
        reversed.reverse();
        let before = advisories::definitions(first.clone());
        prop_assert_eq!(&advisories::definitions(reversed), &before, "the order of advisories shows");
        let base = compile(&before, &[]);
        prop_assert!(!base.delta && base.added.len() == before.len());
        let base = open(base.bytes);
        // The feed's next edition: one gone, one changed, one new.
        let mut second = first;
        let at = choices.below(second.len());
        second.remove(at);
        if let Some(one) = second.first_mut() {
            one.summary = "changed".into();
        }
        second.push(advisories::advisory(&mut choices));
        let after = advisories::definitions(second);
        let next = compile(&after, std::slice::from_ref(&base));
        let delta = next.delta;
        let next = open(next.bytes);
        let whole = catalog(vec![open(compile(&after, &[]).bytes)]);
        let present = if delta { catalog(vec![base.clone(), next]) } else { catalog(vec![next]) };
        let base = catalog(vec![base]);
        prop_assert_eq!((present.len(), whole.len()), (after.len(), after.len()));
        for definition in &after {
            let found = present.find(&definition.id);
            prop_assert_eq!(found.len(), 1);
            let read = present.definition(found[0]);
            prop_assert_eq!(read.as_ref(), Some(&**definition));
        }
        for row in &rows {
            for fully in [false, true] {
                prop_assert_eq!(asked(&base, row, fully), explained(&before, row, fully), "{}", row);
                let said = explained(&after, row, fully);
                prop_assert_eq!(asked(&whole, row, fully), said.clone(), "{}", row);
                prop_assert_eq!(asked(&present, row, fully), said, "{}, {}", row, if delta { "delta" } else { "base" });
            }
        }
    }

    /// A damaged file is refused when it is opened, or answers something, soon.
    #[test]
    fn damage_is_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600), flips in proptest::collection::vec(any::<(u32, u8)>(), 1..6)) {
        let mut choices = Bytes::new(&bytes);
        let rows: Vec<Row> = (0..4).map(|_| advisories::row(&mut choices)).collect();
        let mut file = compile(&advisories::definitions(advisories::feed(&mut choices, 10)), &[]).bytes;
        for (at, with) in flips {
            let at = usize::try_from(at).unwrap() % file.len();
            file[at] ^= with;
        }
        let whole = verify("test", &file).is_ok();
        if let Ok(segment) = Segment::from_bytes("test", file) {
            let catalog = Catalog::new(vec![Part { feed: "test".into(), segments: vec![Arc::new(segment)] }], Arc::default());
            for row in &rows {
                let notes = catalog.ask_fully(row);
                prop_assert!(!whole || notes.iter().all(|n| catalog.id(n.patch()).is_some()));
            }
            for patch in catalog.patches() {
                drop((catalog.id(patch), catalog.definition(patch)));
            }
        }
    }
}

/// How often each say comes up: a property over rows that say nothing would prove nothing.
#[test]
fn the_vocabulary_meets_itself() {
    let mut counts = std::collections::BTreeMap::new();
    let mut seed = 1u64;
    for _ in 0..4_000 {
        let bytes: Vec<u8> = (0..900)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed.to_le_bytes()[6]
            })
            .collect();
        let mut choices = Bytes::new(&bytes);
        let rows: Vec<Row> = (0..6).map(|_| advisories::row(&mut choices)).collect();
        let definitions = advisories::definitions(advisories::feed(&mut choices, 14));
        for row in &rows {
            for (_, says, superseded) in explained(&definitions, row, false) {
                *counts.entry((row.table.name(), says, superseded)).or_insert(0) += 1;
            }
        }
    }
    for (table, says, superseded) in [
        ("package", Says::Lacks, false),
        ("package", Says::Lacks, true),
        ("package", Says::Wants, false),
        ("package", Says::Has, false),
        ("package", Says::NoFix, false),
        ("package", Says::WillNotFix, false),
        ("package", Says::Investigating, false),
        ("update", Says::Offers, false),
        ("os", Says::Old, false),
        ("os", Says::Old, true),
        ("os", Says::Wants, false),
        ("os", Says::Wants, true),
        ("os", Says::Has, false),
        ("hotfix", Says::Has, false),
    ] {
        let count = counts.get(&(table, says, superseded)).copied().unwrap_or(0);
        assert!(count >= 2, "{table} {says:?} {superseded}: {count}; {counts:?}");
    }
}

// ---- real data

/// A file of the real data, or a line on stderr that says what was skipped.
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
fn data(path: &str) -> Option<Vec<u8>> {
    let Some(folder) = std::env::var_os("MUSTER_DATA") else {
        eprintln!("without real data: MUSTER_DATA is not set, {path} is not read");
        return None;
    };
    Some(std::fs::read(Path::new(&folder).join(path)).unwrap())
}

fn read(reader: impl Fn(&str, &[u8], &Limits, &mut dyn Sink), bytes: &[u8]) -> Vec<Arc<Definition>> {
    let limits = Limits::default();
    let mut batch = Batch::new(&limits);
    reader("feed", bytes, &limits, &mut batch);
    define(batch.advisories, &limits).unwrap().definitions
}

fn row(table: &str, columns: &[(&str, &str)]) -> Row {
    columns.iter().fold(Row::new(TableId::by_name(table).unwrap()), |row, (column, value)| row.with(column, *value))
}

/// Asks about all rows, gives how many notes there were, and holds a sample of the rows against the definition: of those with notes, and of the others.
fn same(definitions: &[Arc<Definition>], rows: &[Row], sample: usize) -> usize {
    let compiled = compile(definitions, &[]);
    let catalog = catalog(vec![open(compiled.bytes)]);
    let all: Vec<(&Row, Said)> = rows.iter().map(|row| (row, asked(&catalog, row, false))).collect();
    let (with, without): (Vec<_>, Vec<_>) = all.iter().partition(|(_, said)| !said.is_empty());
    for some in [with, without] {
        for (row, said) in some.iter().step_by(some.len().div_ceil(sample).max(1)) {
            assert_eq!(*said, explained(definitions, row, false), "{row}");
        }
    }
    all.iter().map(|(_, said)| said.len()).sum()
}

#[test]
fn debian_lists_over_real_packages() {
    let (Some(feed), Some(list), Some(status)) = (
        data("feeds/debian-dsa-dla.tar.gz"),
        data("inventories/debian-bookworm-707.dpkg-l.txt"),
        data("inventories/ubuntu-bionic-357.dpkg-status"),
    ) else {
        return;
    };
    let definitions = read(debian::read_list, &feed);
    assert_eq!(definitions.len(), 8_940);
    let mut rows = Vec::new();
    for line in String::from_utf8_lossy(&list).lines().filter(|l| l.starts_with("ii ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words[1].split(':').next().unwrap();
        for release in ["debian:12", "debian:13"] {
            let columns = [("name", name), ("version", words[2]), ("arch", words[3]), ("format", "deb"), ("release", release)];
            rows.push(row("package", &columns));
        }
    }
    for stanza in String::from_utf8_lossy(&status).split("\n\n") {
        let field = |name: &str| stanza.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned());
        let (Some(name), Some(version)) = (field("Package:"), field("Version:")) else { continue };
        let source = field("Source:").unwrap_or_else(|| name.clone());
        // As if it were a Debian of about that age.
        let columns = [("name", &*name), ("version", &version), ("source", source.split(' ').next().unwrap()), ("format", "deb")];
        rows.push(row("package", &[&columns[..], &[("release", "debian:10")]].concat()));
    }
    assert!(rows.len() > 1_500);
    assert!(same(&definitions, &rows, 25) > 50);
}

#[test]
fn almalinux_over_its_own_versions() {
    let Some(feed) = data("feeds/alma-osv.tar.gz") else { return };
    let definitions = read(osv::read, &feed);
    // 43 of the 5,680 are there for two releases, under one name.
    assert_eq!(definitions.len(), 5_637);
    // Each sampled package as one of the advisories left it: some later fixes are missing.
    let mut rows = Vec::new();
    for definition in definitions.iter().step_by(97) {
        for entry in definition.entries.iter().step_by(5) {
            let muster::feed::model::Target::Package(package) = &entry.target else { continue };
            let release = format!("almalinux:{}.4", package.platform.as_ref().unwrap().version);
            let columns =
                [("name", &*package.name), ("version", &entry.fixed), ("arch", "x86_64"), ("format", "rpm"), ("release", &release)];
            rows.push(row("package", &columns));
        }
    }
    let kernel = [("id", "almalinux"), ("version", "8.4"), ("kernel", "4.18.0-305.el8.x86_64"), ("arch", "x86_64")];
    rows.push(row("os", &kernel));
    assert!(same(&definitions, &rows, 40) > 100, "{}", rows.len());
}

#[test]
fn microsoft_over_systems_and_hotfixes() {
    let Some(feed) = data("windows/wesng-definitions.zip") else { return };
    let limits = Limits::default();
    let mut batch = Batch::new(&limits);
    msrc::read_wesng("wes-ng", &feed, &limits, &mut batch);
    let defined = define(batch.advisories, &limits).unwrap();
    assert_eq!(defined.cycles.len(), 6);
    let kbs = defined.definitions.iter().filter(|d| d.id.starts_with("KB")).count();
    assert!(kbs > 7_500, "{kbs}");
    let os = |name: &str, build: &str, version: &str| {
        let columns = [("family", "windows"), ("name", name), ("version", version), ("build", build), ("arch", "x86_64")];
        row("os", &columns)
    };
    let mut rows = vec![
        os("Microsoft Windows Server 2019 Standard", "10.0.17763.100", "1809"),
        os("Microsoft Windows 10 Pro", "10.0.17763.100", "1809"),
        os("Microsoft Windows 7 Professional", "6.1.7601", ""),
    ];
    for definition in defined.definitions.iter().filter(|d| d.id.starts_with("KB")).step_by(900) {
        rows.push(row("hotfix", &[("id", &definition.id)]));
    }
    assert!(same(&defined.definitions, &rows, 3) > 100);
}

/// Found by fuzzing: the definition kept fixes of a module without a name apart from those of no module.
#[test]
fn fixes_of_a_module_without_a_name_are_compared_with_those_of_none() {
    let advisory = |id: &str, module: Option<Module>, fixed: &str| {
        let package = Package {
            ecosystem: "deb".into(),
            platform: Some(Platform::new("debian", "12", "")),
            kind: PackageKind::Binary,
            name: "a".into(),
            arches: Vec::new(),
            module,
        };
        let below = Range { start: Start::Open, end: End::Before(fixed.into()) };
        let versions = Versions { scheme: Some(Scheme::Dpkg), ranges: vec![below], exact: Vec::new(), text: "".into() };
        let mut affected = Affected::new(Target::Package(package), versions, FixState::Fixed);
        affected.fixes.push(Fix { version: fixed.into(), ..Fix::default() });
        let mut out = Advisory::new(Source::Osv, "test", id);
        out.affected.push(affected);
        out
    };
    let named = Module { name: "m".into(), stream: "2".into() };
    let feed = vec![
        advisory("DSA-1", None, "2"),
        advisory("DSA-2", Some(Module::unnamed()), "3"),
        advisory("DSA-3", Some(Module { name: "".into(), stream: "2".into() }), "4"),
        advisory("DSA-4", Some(named), "1.5"),
    ];
    let definitions = advisories::definitions(feed);
    let installed = row("package", &[("name", "a"), ("version", "1"), ("format", "deb"), ("release", "debian:12")]);
    let said = explained(&definitions, &installed, false);
    let superseded: Vec<bool> = said.iter().map(|(_, says, under)| (*says == Says::Lacks) && *under).collect();
    assert_eq!(superseded, [true, true, false, false], "{said:?}");
    assert_eq!(asked(&catalog(vec![open(compile(&definitions, &[]).bytes)]), &installed, false), said);
}
