//! One upload through the core, against reading it with serde_json, and against bare decompression.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use muster::ingest::prepare;
use muster::limits::Limits;
use muster::patch::catalog::Catalog;
use muster::policy::Policy;
use muster::scan::inflate::{Encoding, inflate};
use muster::scan::{TableData, native};
use muster::shard::{BodyHash, Input, Shard};
use muster::state::Store;
use muster::state::memory::MemoryStore;

use crate::corpus::Corpus;
use crate::report::Report;
use crate::{anchor, each};

/// A shard in memory, with the corpus' pack, a catalog and some endpoints.
pub(crate) fn shard(corpus: &Corpus, endpoints: u32, catalog: &Arc<Catalog>) -> Shard {
    let mut store: Box<dyn Store> = Box::new(MemoryStore::default());
    let empty = Arc::new(muster::pack::Pack::from_bytes(muster::pack::compile(&[], &[])).unwrap());
    let mut shard = Shard::load(&mut *store, Limits::default(), "bench", |_| None, empty).unwrap();
    shard.apply(vec![Input::Swap { pack: corpus.pack.clone(), policy: Box::new(Policy::default()) }], 1);
    shard.apply(vec![Input::Catalog { catalog: catalog.clone(), news: Vec::new() }], 1);
    (0..endpoints).for_each(|i| enroll(&mut shard, i));
    shard
}

fn enroll(shard: &mut Shard, number: u32) {
    let id = format!("e{number}");
    shard.apply(vec![Input::Enroll { id: id.clone(), hostname: id, labels: BTreeMap::new(), key_hash: [0; 32] }], 1);
}

/// A shard that knows all rows of the corpus from three endpoints, none of which is near it: each lacks another third.
fn mixed_shard(corpus: &Corpus) -> Shard {
    let mut shard = shard(corpus, 4, &corpus.catalogs().large);
    for third in 0..3u32 {
        let mut scan = corpus.scan.clone();
        for data in scan.tables.values_mut() {
            if let TableData::Rows(rows) = data {
                let mut number = 0u32;
                rows.retain(|_| {
                    number += 1;
                    // Scattered, in runs of a few rows: as on hosts with other roles.
                    (number / 4).wrapping_mul(0x9e37_79b9) % 3 != third
                });
            }
        }
        upload(&mut shard, &format!("e{third}"), &without_id(&native::encode(&scan, None, |_| true)));
    }
    shard
}

fn upload(shard: &mut Shard, id: &str, document: &[u8]) -> usize {
    let prepared = prepare(shard, id, document, BodyHash::of(b"")).unwrap();
    let applied = shard.apply(vec![Input::Upload { endpoint: id.to_owned(), prepared: Box::new(prepared) }], 2);
    assert!(applied.replies[0].is_ok(), "{:?}", applied.replies[0]);
    applied.batch.changes.iter().map(|(_, k, v)| k.len() + v.as_ref().map_or(0, Vec::len)).sum()
}

pub(crate) fn without_id(document: &[u8]) -> Vec<u8> {
    String::from_utf8(document.to_vec()).unwrap().replacen("\"endpoint\":\"bench\",", "", 1).into_bytes()
}

pub(crate) fn run(corpus: &Corpus, report: &mut Report) {
    let catalog = &corpus.catalogs().large;
    let document = without_id(&corpus.document);
    let variants: Vec<Vec<u8>> = (0..8).map(|n| without_id(&corpus.drifted_document(n))).collect();

    report.pair(
        "",
        "first upload of a fleet: every row new",
        || {
            let mut shard = shard(corpus, 1, catalog);
            let start = Instant::now();
            upload(&mut shard, "e0", &document);
            start.elapsed()
        },
        || each(20, |_| anchor::parse(&document)),
    );

    let mut known = shard(corpus, 64, catalog);
    for i in 0..64u32 {
        upload(&mut known, &format!("e{i}"), &variants[usize::try_from(i % 8).unwrap()]);
    }
    let mut mixed = mixed_shard(corpus);
    report.pair(
        "fresh-image",
        "first upload of an image never seen, rows known",
        || {
            // Its image goes with it.
            mixed.apply(vec![Input::Remove { endpoint: "e3".to_owned() }], 1);
            enroll(&mut mixed, 3);
            let start = Instant::now();
            upload(&mut mixed, "e3", &document);
            start.elapsed()
        },
        || each(20, |_| anchor::parse(&document)),
    );

    let mut turn = 0u32;
    report.pair(
        "changed",
        "changed scan, judged by all rules and advisories, image known",
        || {
            each(64, |i| {
                turn += u32::from(i == 0);
                upload(&mut known, &format!("e{i}"), &variants[usize::try_from((i + turn) % 8).unwrap()])
            })
        },
        || each(20, |_| anchor::parse(&document)),
    );

    report.pair(
        "",
        "the same scan again: decoded and found unchanged",
        || each(64, |_| upload(&mut known, "e0", &document)),
        || each(20, |_| anchor::parse(&document)),
    );
    report.pair(
        "",
        "the same bytes again: recognised before inflating",
        || each(64, |_| BodyHash::of(&document)),
        || each(20, |_| anchor::parse(&document)),
    );

    inflated(&mut known, &variants, report);
    let rows = known.rows().len();
    println!(
        "  fleet after this: {} endpoints, {rows} distinct rows, {} images, {} classes",
        known.fleet.len(),
        known.fleet.images.len(),
        known.fleet.classes.len()
    );
}

fn inflated(known: &mut Shard, variants: &[Vec<u8>], report: &mut Report) {
    let mut turn = 0u32;
    let zipped: Vec<Vec<u8>> = variants.iter().map(|v| zstd::bulk::compress(v, 3).unwrap()).collect();
    let (mut text, mut bare) = (Vec::new(), zstd::bulk::Decompressor::new().unwrap());
    let limits = Limits::default();
    let mut out = vec![0u8; variants[0].len() * 2];
    report.pair(
        "zstd",
        "changed zstd upload: inflate, parse, judge, diff, encode",
        || {
            each(64, |i| {
                turn += u32::from(i == 0);
                let body = &zipped[usize::try_from((i + turn) % 8).unwrap()];
                inflate(Encoding::Zstd, body, &limits, &mut text).unwrap();
                upload(known, &format!("e{i}"), &text)
            })
        },
        || each(64, |i| bare.decompress_to_buffer(&zipped[usize::try_from(i % 8).unwrap()], &mut out).unwrap()),
    );
}
