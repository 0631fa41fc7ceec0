//! Random rules over random scans: the compiled engine gives the definition's verdicts, one endpoint at a time and all of them by way of their rows.
#![no_main]

#[path = "../../tests/generate.rs"]
mod generate;

use std::collections::BTreeMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use muster::ingest::prepare;
use muster::judge::forward;
use muster::judge::inverted::Asked;
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::question::Asking;
use muster::scan::{Scan, native};
use muster::shard::{BodyHash, Input, Shard};
use muster::state::Store;
use muster::state::memory::MemoryStore;

/// A fleet of these scans.
fn fleet(scans: &[Scan]) -> Shard {
    let mut store: Box<dyn Store> = Box::new(MemoryStore::default());
    let empty = Arc::new(Pack::from_bytes(compile(&[], &[])).expect("a compiled pack opens"));
    let mut shard = Shard::load(&mut *store, Limits::default(), "fuzz", |_| None, empty).expect("loaded");
    for (number, scan) in scans.iter().enumerate() {
        let id = format!("e{number}");
        let scan = Scan { endpoint: id.clone(), ..scan.clone() };
        shard.apply(vec![Input::Enroll { id: id.clone(), hostname: id.clone(), labels: BTreeMap::new(), key_hash: [0; 32] }], 0);
        let document = native::encode(&scan, None, |_| true);
        let prepared = prepare(&shard, &id, &document, BodyHash::of(&document)).expect("prepared");
        let applied = shard.apply(vec![Input::Upload { endpoint: id, prepared: Box::new(prepared) }], 0);
        applied.replies.into_iter().for_each(|reply| drop(reply.expect("taken")));
    }
    shard
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = generate::Bytes::new(bytes);
    let pack = Arc::new(Pack::from_bytes(compile(&[choices.pack(4)], &[])).expect("a compiled pack opens"));
    let scans = [choices.scan(), choices.scan(), choices.scan()];
    for scan in &scans {
        let forward = forward::judge_scan(&pack, scan, 0);
        for (rule, got) in pack.rules().zip(forward) {
            let defined = pack.explain(rule, scan, 0).verdict;
            assert_eq!(got, defined, "rule {:?}\nscan {:?}", pack.meta(rule), scan);
        }
    }
    let (shard, rules) = (fleet(&scans), pack.rules().collect::<Vec<_>>());
    let asking = Asking::new(&shard, Asked::new(pack.clone(), &rules), shard.limits());
    for rule in rules {
        let answer = asking.answer(rule, None, |_, answer| answer.clone()).expect("an answer");
        for (at, endpoint) in shard.fleet.iter() {
            let scan = shard.fleet.scan_of(endpoint, shard.limits());
            let got = answer.verdict_of(shard.fleet.index(), at.0);
            assert_eq!(got, Some(pack.explain(rule, &scan, 0).verdict), "rule {:?}\nscan {:?}", pack.meta(rule), scan);
        }
    }
    assert_eq!(shard.fleet.index().difference(&shard.fleet.index_anew()), None);
});
