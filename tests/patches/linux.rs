//! Linux: real feeds and real package lists against evaluators that we did not write.
//!
//! Every question is put twice: to the catalog, and to [`straight`], which reads the advisories one by one; both must say what the peer says. Real data is looked
//! for through `MUSTER_DATA`; a peer that is not installed is skipped with a line on stderr, or fails if `MUSTER_REQUIRE_PEERS` is set.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "the allowance for tests stops at helper functions of an integration test")]

mod bionic;
mod fixtures;
mod lists;
mod redhat;
mod straight;
mod trivy;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use muster::feed::model::Advisory;
use muster::feed::{Batch, Sink};
use muster::limits::Limits;
use muster::patch::catalog::{Catalog, Part, Segment, Threats, compile};
use muster::patch::define::define;
use muster::patch::stand::sums;
use muster::patch::{Note, Says};
use muster::scan::Row;
use muster::scan::table::TableId;

/// A folder of the real data.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("MUSTER_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("without real data: MUSTER_DATA is not set");
    }
    folder
}

fn bytes(data: &Path, path: &str) -> Vec<u8> {
    let path = data.join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Whether a program is there.
fn peer(program: &str) -> bool {
    let run = Command::new(program).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if run.is_ok() {
        return true;
    }
    assert!(std::env::var_os("MUSTER_REQUIRE_PEERS").is_none(), "MUSTER_REQUIRE_PEERS is set: {program} is not installed");
    eprintln!("skipped: {program} is not installed");
    false
}

fn peers(programs: &[&str]) -> bool {
    programs.iter().all(|p| peer(p))
}

/// What a script beside this file prints.
fn script(name: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/patches/linux").join(name);
    let output = Command::new("python3").arg(path).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

type Reader = fn(&str, &[u8], &Limits, &mut dyn Sink);

fn read(reader: Reader, file: &str, bytes: &[u8]) -> Batch {
    let limits = Limits::default();
    let mut batch = Batch::new(&limits);
    reader(file, bytes, &limits, &mut batch);
    batch
}

fn row(table: &str) -> Row {
    Row::new(TableId::by_name(table).unwrap())
}

/// A package as a line of a list that scripts read too.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Installed {
    name: String,
    version: String,
    arch: String,
    source: String,
    source_version: String,
    release: String,
    module: String,
}

impl Installed {
    fn row(&self, format: &str) -> Row {
        let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
        row("package")
            .with("name", self.name.as_str())
            .with("version", self.version.as_str())
            .with("arch", some(&self.arch))
            .with("source", some(&self.source))
            .with("source_version", some(&self.source_version))
            .with("release", some(&self.release))
            .with("module", some(&self.module))
            .with("format", format)
    }

    fn line(&self) -> String {
        [&self.name, &self.version, &self.arch, &self.source, &self.source_version, &self.release, &self.module]
            .map(String::as_str)
            .join("\t")
    }

    fn parse(line: &str) -> Installed {
        let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let [name, version, arch, source, source_version, release, module] = <[String; 7]>::try_from(fields).unwrap();
        Installed { name, version, arch, source, source_version, release, module }
    }
}

/// One feed, compiled.
fn catalog(advisories: &[Advisory]) -> Catalog {
    let defined = define(advisories.to_vec(), &Limits::default()).unwrap();
    let compiled = compile(&defined.definitions, &[]);
    let segment = Segment::from_bytes("test", compiled.bytes).unwrap();
    Catalog::new(vec![Part { feed: Arc::from("test"), segments: vec![Arc::new(segment)] }], Arc::new(Threats::default()))
}

/// Advisory and package: what a row is affected by.
type Found = BTreeSet<(String, String)>;

fn is_affected(says: Says) -> bool {
    !matches!(says, Says::Has | Says::Offers)
}

fn asked(catalog: &Catalog, rows: &[Row]) -> Found {
    let name = |row: &Row| row.get("name").as_str().unwrap_or_default().to_owned();
    let note = |note: &Note| catalog.id(note.patch()).unwrap().0.to_owned();
    rows.iter()
        .flat_map(|row| catalog.ask(row).iter().filter(|n| is_affected(n.says())).map(|n| (note(n), name(row))).collect::<Vec<_>>())
        .collect()
}

/// The patches that an endpoint with these rows is affected by.
fn endpoint(catalog: &Catalog, rows: &[Row]) -> BTreeSet<String> {
    let sums = sums(rows.iter().flat_map(|row| catalog.ask(row).into_vec()));
    sums.into_iter().filter(|(_, sum)| sum.state().is_affected()).map(|(patch, _)| catalog.id(patch).unwrap().0.to_owned()).collect()
}

fn pairs(lines: &str) -> Found {
    lines.lines().map(|l| l.split_once('\t').unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// The first differences of two sets, and how many there are.
fn differences<T: Ord + std::fmt::Debug>(ours: &BTreeSet<T>, theirs: &BTreeSet<T>) -> Vec<String> {
    let (more, less): (Vec<_>, Vec<_>) = (ours.difference(theirs).collect(), theirs.difference(ours).collect());
    let told = |what: &str, list: &[&T]| list.iter().take(5).map(|x| format!("{what} {} {x:?}", list.len())).collect::<Vec<_>>();
    [told("only ours", &more), told("only theirs", &less)].concat()
}

/// A small random number generator, so that lists are the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(n).unwrap()).unwrap()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Packages and the versions that fix them, by name.
type Fixed = BTreeMap<String, Vec<String>>;
