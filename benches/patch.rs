//! Patches: a catalog of 300,000 advisories against one of 30,000, against building it again, and against a loop that compares every range.

use std::collections::HashMap;
use std::sync::Arc;

use muster::feed::model::{Advisory, PackageKind, Target};
use muster::fleet::sums::patches_of;
use muster::ingest::prepare;
use muster::limits::Limits;
use muster::patch::catalog::{Catalog, Segment, compile};
use muster::patch::define::{Definition, Entry, define};
use muster::patch::stand::Sum;
use muster::scan::{Row, native};
use muster::shard::{BodyHash, Input, Shard};

use crate::catalogs::{FEW, MANY, catalog, definitions, multiplied};
use crate::corpus::Corpus;
use crate::report::Report;
use crate::{each, stages};

pub(crate) fn run(corpus: &Corpus, report: &mut Report) {
    let all = corpus.catalogs();
    let rows = &all.rows;
    uploads(corpus, report);
    endpoints(corpus, report);
    let said = |c: &Catalog| rows.iter().map(|r| c.ask(r).len()).sum::<usize>();
    report.pair(
        "",
        "packages never seen, asked: 300,000 against 30,000",
        || each(1, |_| said(&all.large)),
        || each(1, |_| said(&all.small)),
    );
    let many = definitions(&all.real, MANY);
    let index = by_name(&many);
    let plain = || each(1, |_| rows.iter().map(|r| straightforward(&index, r)).sum::<usize>());
    report.pair("", "300,000, asked: against hash by name and comparing", || each(1, |_| said(&all.large)), plain);
    matching(corpus, report, plain);
    drop(index);
    drop(many);

    let json = serde_json::to_vec(&multiplied(&all.real, FEW)).unwrap();
    report.pair(
        "catalog",
        "300,000 opened and asked one row, against 30,000 rebuilt",
        || each(1, |_| catalog(vec![Arc::new(Segment::open(&all.path).unwrap())]).ask(&rows[0]).len()),
        || {
            each(1, |_| {
                let read: Vec<Advisory> = serde_json::from_slice(&json).unwrap();
                compile(&define(read, &Limits::default()).unwrap().definitions, &[]).bytes.len()
            })
        },
    );
    let mut next = all.few.clone();
    for at in (0..next.len()).step_by(1_000) {
        let mut changed = Definition::clone(&next[at]);
        changed.title = "changed".into();
        next[at] = Arc::new(changed);
    }
    let present = [all.few_segment.clone()];
    report.pair(
        "",
        "one in a thousand of 30,000 changed: delta against whole",
        || each(1, |_| compile(&next, &present).bytes.len()),
        || each(1, |_| compile(&next, &[]).bytes.len()),
    );
}

/// What a changed upload does about patches: those that its changed rows note are summed up, as they were and as they are.
fn matching(corpus: &Corpus, report: &mut Report, plain: impl FnMut() -> std::time::Duration) {
    let mut shard = stages::shard(corpus, 1, &corpus.catalogs().large);
    let held = |shard: &Shard| shard.fleet.get(shard.fleet.find("e0").unwrap()).unwrap().held.clone().unwrap();
    let [before, after] = [0, 1].map(|n| {
        upload(&mut shard, 0, &stages::without_id(&corpus.drifted_document(n)));
        held(&shard)
    });
    let fleet = &shard.fleet;
    let (old, new) = (fleet.rows_of(&before), fleet.rows_of(&after));
    let less = |all: &[u32], others: &[u32]| all.iter().filter(|r| !others.contains(r)).copied().collect::<Vec<u32>>();
    let (gone, come) = (less(&old, &new), less(&new, &old));
    let ours = || {
        each(1_000, |_| {
            let patches = patches_of(&fleet.rows, come.iter().chain(&gone));
            let states = |sums: &[Sum]| sums.iter().map(|s| s.state() as usize).sum::<usize>();
            let mut sums = fleet.sums_of(&before, &patches);
            let was = states(&sums);
            fleet.noted_now().step(&mut sums, &patches, &gone, &come);
            was + states(&sums)
        })
    };
    let patches = patches_of(&fleet.rows, come.iter().chain(&gone));
    println!("  {} rows changed, which note {} patches", gone.len() + come.len(), patches.len());
    report.pair("patch-loop", "changed rows matched, against a loop over the host's packages", ours, plain);
}

/// The same uploads into a fleet of ten times the endpoints, one endpoint after the other.
fn endpoints(corpus: &Corpus, report: &mut Report) {
    let documents: Vec<Vec<u8>> = (0..8).map(|n| stages::without_id(&corpus.drifted_document(n))).collect();
    let mut fleets = [20_000u32, 2_000].map(|size| {
        let mut shard = stages::shard(corpus, size, &corpus.catalogs().large);
        for i in 0..size {
            upload(&mut shard, i, &documents[usize::try_from(i % 8).unwrap()]);
        }
        (shard, size, 0u32)
    });
    let [large, small] = &mut fleets;
    let round = |(shard, size, turn): &mut (Shard, u32, u32)| {
        let from = *turn * 256;
        *turn += 1;
        each(256, |i| {
            // Endpoints that are far from each other in memory, all of them before the first one comes again; each time with another scan.
            let (endpoint, times) = ((from + i).wrapping_mul(7919) % *size, (from + i) / *size + 1);
            upload(shard, endpoint, &documents[usize::try_from((endpoint + times) % 8).unwrap()])
        })
    };
    report.pair("endpoints-x10", "changed scan in a fleet of 20,000 against 2,000", || round(large), || round(small));
}

/// The same uploads, some rows new each time, into two fleets: one knows a tenth of the advisories.
fn uploads(corpus: &Corpus, report: &mut Report) {
    let strip = |document: Vec<u8>| stages::without_id(&document);
    let documents: Vec<Vec<u8>> = (0..8).map(|n| strip(native::encode(&corpus.drifted(n), None, |_| true))).collect();
    let mut fleets = [&corpus.catalogs().large, &corpus.catalogs().small].map(|catalog| {
        let mut shard = stages::shard(corpus, 8, catalog);
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
    report.pair(
        "rules-x10",
        "changed scan under 300,000 advisories against 30,000",
        || cell.borrow_mut()(large, 0),
        || cell.borrow_mut()(small, 1),
    );
    let mut number = [1_000u32; 2];
    let mut fresh = |shard: &mut Shard, which: usize| {
        let documents: Vec<Vec<u8>> = (0..16).map(|n| strip(corpus.drifted_document(number[which] + n))).collect();
        number[which] += 16;
        each(16, |i| upload(shard, i % 8, &documents[usize::try_from(i).unwrap()]))
    };
    let cell = std::cell::RefCell::new(&mut fresh);
    report.pair("rules-x10", "ten packages new to the fleet, the same", || cell.borrow_mut()(large, 0), || cell.borrow_mut()(small, 1));
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
