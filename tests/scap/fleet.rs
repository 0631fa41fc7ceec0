//! SCAP in a pack: rows added up against the evaluator over the whole scan, for random content and random scans, and through a fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::judge::{Verdict, forward};
use muster::pack::Pack;
use muster::policy::Policy;
use muster::scan::digest::Digest;
use muster::scan::{Scan, native};
use muster::shard::Input;
use muster::state::memory::MemoryStore;
use proptest::prelude::*;

use crate::content::{file, scan};
use crate::engines::Daemon;
use crate::generate::Bytes;

fn pack(bytes: &mut Bytes<'_>) -> Arc<Pack> {
    let pack = Pack::from_bytes(file(bytes)).expect("a compiled pack opens");
    assert_eq!(pack.rule_count(), 10);
    Arc::new(pack)
}

fn defined(pack: &Pack, scan: &Scan) -> Vec<Verdict> {
    pack.rules().map(|r| pack.explain(r, scan, 0).verdict).collect()
}

fn told(pack: &Pack, defined: &[Verdict], got: &[Verdict], scan: &Scan) -> String {
    let wrong = pack.rules().zip(defined.iter().zip(got)).find(|(_, (a, b))| a != b);
    let Some((rule, (a, b))) = wrong else { return "the same".to_owned() };
    let text = String::from_utf8(native::encode(scan, None, |_| true)).expect("utf-8");
    format!("{}: definition {a}, engine {b}\n{:#?}\n{:#?}\n{text}", pack.rule_id(rule), pack.test_ways(rule), pack.explain(rule, scan, 0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_added_up_are_what_the_evaluator_says(noise in prop::collection::vec(any::<u8>(), 200..900)) {
        let mut bytes = Bytes::new(&noise);
        let pack = pack(&mut bytes);
        for _ in 0..3 {
            let scan = scan(&mut bytes, &pack);
            let (defined, got) = (defined(&pack, &scan), forward::judge_scan(&pack, &scan, 0));
            prop_assert_eq!(&got, &defined, "{}", told(&pack, &defined, &got, &scan));
        }
    }

    /// Whole and partial uploads of several endpoints, then other content.
    #[test]
    fn the_fleet_says_what_the_evaluator_says(noise in prop::collection::vec(any::<u8>(), 400..1800)) {
        let mut bytes = Bytes::new(&noise);
        let (pack, next) = (pack(&mut bytes), pack(&mut bytes));
        let mut daemon = Daemon::start(MemoryStore::default(), &pack);
        let mut scans: BTreeMap<&str, Scan> = BTreeMap::new();
        ["a", "b"].iter().for_each(|id| daemon.enroll(id));
        for turn in 0..6 {
            let id = ["a", "b"][turn % 2];
            let mut scan = scan(&mut bytes, &pack);
            scan.endpoint = id.to_owned();
            match scans.get(id).filter(|_| bytes.below(2) == 0).cloned() {
                Some(before) => {
                    let (changed, kept): (Vec<_>, Vec<_>) = scan.tables.keys().copied().partition(|_| bytes.below(2) == 0);
                    for table in kept {
                        match before.tables.get(&table) {
                            Some(data) => drop(scan.tables.insert(table, data.clone())),
                            None => drop(scan.tables.remove(&table)),
                        }
                    }
                    for (table, data) in &before.tables {
                        if !scan.tables.contains_key(table) {
                            scan.tables.insert(*table, data.clone());
                        }
                    }
                    let digest = Digest::of_scan(&before).to_string();
                    daemon.upload(id, &native::encode(&scan, Some(&digest), |t| changed.contains(&t)));
                }
                None => drop(daemon.upload(id, &native::encode(&scan, None, |_| true))),
            }
            scans.insert(id, scan);
            for (id, scan) in &scans {
                let (defined, got) = (defined(&pack, scan), daemon.verdicts(id));
                prop_assert_eq!(&got, &defined, "turn {}, forward {:?}: {}", turn, forward::judge_scan(&pack, scan, 0), told(&pack, &defined, &got, scan));
            }
            if turn == 4 {
                crate::inverted::holds(&daemon.shard, &pack, true)?;
                crate::inverted::holds(&daemon.shard, &next, false)?;
            }
        }
        daemon.apply(Input::Swap { pack: next.clone(), policy: Box::new(Policy::default()) });
        for (id, scan) in &scans {
            let (defined, got) = (defined(&next, scan), daemon.verdicts(id));
            prop_assert_eq!(&got, &defined, "{}", told(&next, &defined, &got, scan));
        }
    }
}
