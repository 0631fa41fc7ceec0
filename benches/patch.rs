//! Patches: a catalog of 300,000 advisories against one of 30,000, against building it again, and against a loop that compares every range.
//!
//! The advisories are those of AlmaLinux and Debian where `MUSTER_DATA` names a folder with `feeds/`, else made for this host's packages; multiplied with renamed
//! packages until there are enough. So both catalogs say the same of the host, and the larger one only holds more.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use muster::feed::model::{Advisory, Affected, Fix, FixState, Package, PackageKind, Platform, Source, Target, Versions};
use muster::feed::{Batch, debian, osv};
use muster::ingest::prepare;
use muster::limits::Limits;
use muster::patch::catalog::{Catalog, Part, Segment, Threats, compile, write_file};
use muster::patch::define::{Definition, Entry, define};
use muster::scan::table::TableId;
use muster::scan::{Row, TableData, native};
use muster::shard::{BodyHash, Input, Shard};
use muster::version::Scheme;

use crate::corpus::Corpus;
use crate::{each, pair, stages};

const FEW: usize = 30_000;
const MANY: usize = 300_000;

pub(crate) fn run(corpus: &Corpus) {
    let rows = packages(corpus);
    let real = advisories(&rows);
    println!("  {} advisories, multiplied to {FEW} and {MANY}; {} packages", real.len(), rows.len());
    let folder = tempfile::tempdir().unwrap();
    let few = definitions(&real, FEW);
    let built = Instant::now();
    let many = definitions(&real, MANY);
    let bytes = compile(&many, &[]).bytes;
    println!("  {MANY}: defined and compiled in {:.1} s, {} MB", built.elapsed().as_secs_f64(), bytes.len() >> 20);
    let path = write_file(folder.path(), &bytes).unwrap();
    drop(bytes);
    let few_segment = Arc::new(Segment::from_bytes("few", compile(&few, &[]).bytes).unwrap());
    let large = Arc::new(catalog(vec![Arc::new(Segment::open(&path).unwrap())]));
    let small = Arc::new(catalog(vec![few_segment.clone()]));
    let said = |c: &Catalog| rows.iter().map(|r| c.ask(r).len()).sum::<usize>();
    println!("  the host's packages lack {} of them", said(&large));
    assert_eq!(said(&large), said(&small), "the larger catalog says more");

    uploads(corpus, &small, &large);
    pair("packages never seen, asked: 300,000 against 30,000", "", || each(1, |_| said(&large)), || each(1, |_| said(&small)));
    let index = by_name(&many);
    pair(
        "300,000, asked: against hash by name and comparing",
        "",
        || each(1, |_| said(&large)),
        || each(1, |_| rows.iter().map(|r| straightforward(&index, r)).sum::<usize>()),
    );
    drop(index);
    drop(many);

    let json = serde_json::to_vec(&multiplied(&real, FEW)).unwrap();
    pair(
        "300,000 opened and asked one row, against 30,000 rebuilt",
        "<= 0.01x",
        || each(1, |_| catalog(vec![Arc::new(Segment::open(&path).unwrap())]).ask(&rows[0]).len()),
        || {
            each(1, |_| {
                let read: Vec<Advisory> = serde_json::from_slice(&json).unwrap();
                compile(&define(read, &Limits::default()).unwrap().definitions, &[]).bytes.len()
            })
        },
    );
    let mut next = few.clone();
    for at in (0..next.len()).step_by(1_000) {
        let mut changed = Definition::clone(&next[at]);
        changed.title = "changed".into();
        next[at] = Arc::new(changed);
    }
    let present = [few_segment];
    pair(
        "one in a thousand of 30,000 changed: delta against whole",
        "",
        || each(1, |_| compile(&next, &present).bytes.len()),
        || each(1, |_| compile(&next, &[]).bytes.len()),
    );
}

fn packages(corpus: &Corpus) -> Vec<Row> {
    let package = TableId::by_name("package").unwrap();
    match corpus.scan.tables.get(&package) {
        Some(TableData::Rows(rows)) => rows.clone(),
        _ => Vec::new(),
    }
}

fn catalog(segments: Vec<Arc<Segment>>) -> Catalog {
    Catalog::new(vec![Part::new("bench", segments).unwrap()], Arc::new(Threats::default()))
}

/// Real ones, or one for every third package of the host.
fn advisories(rows: &[Row]) -> Vec<Advisory> {
    let limits = Limits::default();
    let mut batch = Batch::new(&limits);
    if let Some(data) = std::env::var_os("MUSTER_DATA") {
        let read = |name: &str| std::fs::read(Path::new(&data).join("feeds").join(name)).unwrap();
        osv::read("alma", &read("alma-osv.tar.gz"), &limits, &mut batch);
        debian::read_list("debian", &read("debian-dsa-dla.tar.gz"), &limits, &mut batch);
    } else {
        println!("  without MUSTER_DATA: advisories are made for this host's packages");
    }
    // Some that this host lacks, whatever was read.
    for (number, row) in rows.iter().enumerate().step_by(3) {
        let text = |column: &str| row.get(column).as_str().unwrap_or("").to_owned();
        let (release, version) = (text("release"), text("version"));
        let (id, number_of_release) = release.split_once(':').unwrap_or((&release, ""));
        let target = Target::Package(Package {
            ecosystem: "bench".into(),
            platform: Some(Platform::new(id, number_of_release, "")),
            kind: PackageKind::Binary,
            name: text("name").into(),
            arches: Vec::new(),
            module: None,
        });
        let scheme = if text("format") == "rpm" { Scheme::Rpm } else { Scheme::Dpkg };
        for (step, end) in ["~old", "+fix1", "+fix2"].iter().enumerate() {
            let fixed = format!("{version}{end}");
            let mut advisory = Advisory::new(Source::Osv, "bench", &format!("BENCH-{number}-{step}"));
            let mut entry = Affected::new(target.clone(), Versions::before(scheme, &fixed), FixState::Fixed);
            entry.fixes.push(Fix { version: fixed.into(), ..Fix::default() });
            advisory.affected.push(entry);
            batch.advisories.push(advisory);
        }
    }
    batch.advisories
}

fn multiplied(real: &[Advisory], count: usize) -> Vec<Advisory> {
    let renamed = |(number, advisory): (usize, &Advisory)| {
        let round = number / real.len();
        let mut advisory = advisory.clone();
        if round > 0 {
            advisory.id = format!("{}-r{round}", advisory.id).into();
            for entry in &mut advisory.affected {
                if let Target::Package(package) = &mut entry.target {
                    package.name = format!("{}-r{round}", package.name).into();
                }
            }
        }
        advisory
    };
    let least = count.max(real.len());
    real.iter().cycle().take(least).enumerate().map(renamed).collect()
}

fn definitions(real: &[Advisory], count: usize) -> Vec<Arc<Definition>> {
    define(multiplied(real, count), &Limits::default()).unwrap().definitions
}

/// The same uploads, some rows new each time, into two fleets: one knows a tenth of the advisories.
fn uploads(corpus: &Corpus, small: &Arc<Catalog>, large: &Arc<Catalog>) {
    let strip = |document: Vec<u8>| String::from_utf8(document).unwrap().replacen("\"endpoint\":\"bench\",", "", 1).into_bytes();
    let documents: Vec<Vec<u8>> = (0..8).map(|n| strip(native::encode(&corpus.drifted(n), None, |_| true))).collect();
    let mut fleets = [large, small].map(|catalog| {
        let mut shard = stages::shard(corpus, 8);
        shard.apply(vec![Input::Catalog { catalog: catalog.clone(), news: Vec::new() }], 1);
        for (at, document) in (0..8).zip(&documents) {
            upload(&mut shard, at, document);
        }
        shard
    });
    let [large, small] = &mut fleets;
    let mut turns = [0usize; 2];
    let mut round = |shard: &mut Shard, which: usize| {
        turns[which] += 1;
        let turn = turns[which];
        each(64, |i| upload(shard, i % 8, &documents[(usize::try_from(i).unwrap() + turn) % 8]))
    };
    // One closure at a time may turn.
    let cell = std::cell::RefCell::new(&mut round);
    pair("changed scan under 300,000 advisories against 30,000", "<= 1.1x", || cell.borrow_mut()(large, 0), || cell.borrow_mut()(small, 1));
    let mut number = [1_000u32; 2];
    let mut fresh = |shard: &mut Shard, which: usize| {
        let documents: Vec<Vec<u8>> = (0..16).map(|n| strip(corpus.drifted_document(number[which] + n))).collect();
        number[which] += 16;
        each(16, |i| upload(shard, i % 8, &documents[usize::try_from(i).unwrap()]))
    };
    let cell = std::cell::RefCell::new(&mut fresh);
    pair("ten packages new to the fleet, the same", "<= 1.1x", || cell.borrow_mut()(large, 0), || cell.borrow_mut()(small, 1));
}

fn upload(shard: &mut Shard, endpoint: u32, document: &[u8]) {
    let id = format!("e{endpoint}");
    let prepared = prepare(shard, &id, document, BodyHash::of(b"")).unwrap();
    let applied = shard.apply(vec![Input::Upload { endpoint: id, prepared: Box::new(prepared) }], 2);
    assert!(applied.replies[0].is_ok(), "{:?}", applied.replies[0]);
}

type ByName<'d> = HashMap<&'d str, Vec<(&'d Definition, &'d Entry)>>;

fn by_name(definitions: &[Arc<Definition>]) -> ByName<'_> {
    let mut out: ByName = HashMap::new();
    for definition in definitions {
        for entry in &definition.entries {
            if let Target::Package(package) = &entry.target {
                out.entry(&package.name).or_default().push((definition, entry));
            }
        }
    }
    out
}

/// What a loop would do: find the entries of a name, then compare release and ranges.
fn straightforward(index: &ByName, row: &Row) -> usize {
    let text = |column: &str| row.get(column).as_str().unwrap_or("");
    let (name, source) = (text("name"), Some(text("source")).filter(|s| !s.is_empty()).unwrap_or(text("name")));
    let mut found = 0;
    for (key, source) in [(name, false), (source, true)] {
        for (_, entry) in index.get(key).into_iter().flatten() {
            let Target::Package(package) = &entry.target else { continue };
            let kind = match package.kind {
                PackageKind::Binary => !source,
                PackageKind::Source => source,
                PackageKind::Either => !source || key != name,
            };
            let here = package.platform.as_ref().is_some_and(|p| p.covers(text("release")));
            found += usize::from(kind && here && entry.versions.contains(text("version")) == Some(true));
        }
    }
    found
}
