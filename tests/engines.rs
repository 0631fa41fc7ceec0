//! One truth, several engines: the definition, the compiled predicates, and the fleet's way through interned rows must agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::judge::{Verdict, forward};
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::policy::Policy;
use muster::scan::digest::Digest;
use muster::scan::{Scan, native};
use muster::shard::{BodyHash, Input, Reply, Shard};
use muster::state::Store;
use muster::state::memory::MemoryStore;
use proptest::prelude::*;

use crate::generate::Bytes;

fn compiled(bytes: &mut Bytes<'_>, rules: usize) -> Arc<Pack> {
    let pack = bytes.pack(rules);
    let file = compile(std::slice::from_ref(&pack), &[]);
    assert_eq!(file, compile(&[pack], &[]), "the same rules give the same bytes");
    Arc::new(Pack::from_bytes(file).expect("a compiled pack opens"))
}

/// What the definition says of a scan, for all rules.
fn defined(pack: &Pack, scan: &Scan) -> Vec<Verdict> {
    pack.rules().map(|r| pack.explain(r, scan, 0).verdict).collect()
}

fn told(pack: &Pack, defined: &[Verdict], got: &[Verdict], scan: &Scan) -> String {
    let wrong = pack.rules().zip(defined.iter().zip(got)).find(|(_, (a, b))| a != b);
    let Some((rule, (a, b))) = wrong else { return "the same".to_owned() };
    let text = String::from_utf8(native::encode(scan, None, |_| true)).expect("utf-8");
    format!("definition {a}, engine {b}\napplies {:?}\ncheck {:?}\n{text}", pack.meta(rule).applies_ir, pack.meta(rule).check_ir)
}

/// A shard on a store that forgets, with a pack.
pub(crate) struct Daemon {
    pub(crate) shard: Shard,
    pub(crate) store: MemoryStore,
    pub(crate) now_ms: i64,
}

impl Daemon {
    pub(crate) fn start(store: MemoryStore, pack: &Arc<Pack>) -> Daemon {
        Daemon::start_within(Limits::default(), store, pack)
    }

    pub(crate) fn start_within(limits: Limits, store: MemoryStore, pack: &Arc<Pack>) -> Daemon {
        let mut boxed: Box<dyn Store> = Box::new(store.clone());
        let old = pack.clone();
        let find = move |digest: &str| (old.digest() == digest).then_some(old);
        let empty = Arc::new(Pack::from_bytes(compile(&[], &[])).expect("empty pack"));
        let shard = Shard::load(&mut *boxed, limits, "test", find, empty).expect("load");
        let mut daemon = Daemon { shard, store, now_ms: 1_000 };
        if daemon.shard.pack.digest() != pack.digest() {
            daemon.apply(Input::Swap { pack: pack.clone(), policy: Box::new(Policy::default()) });
        }
        daemon
    }

    pub(crate) fn apply(&mut self, input: Input) -> Reply {
        self.now_ms += 1000;
        let mut applied = self.shard.apply(vec![input], self.now_ms);
        self.store.commit(&applied.batch).expect("commit");
        applied.replies.remove(0).expect("a reply")
    }

    pub(crate) fn enroll(&mut self, id: &str) {
        self.apply(Input::Enroll { id: id.to_owned(), hostname: id.to_owned(), labels: BTreeMap::new(), key_hash: [0; 32] });
    }

    pub(crate) fn upload(&mut self, id: &str, document: &[u8]) -> bool {
        let prepared = muster::ingest::prepare(&self.shard, id, document, BodyHash::of(document)).expect("prepared");
        match self.apply(Input::Upload { endpoint: id.to_owned(), prepared: Box::new(prepared) }) {
            Reply::Uploaded(u) => u.changed,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn verdicts(&self, id: &str) -> Vec<Verdict> {
        let at = self.shard.fleet.find(id).expect("endpoint");
        let held = self.shard.fleet.get(at).and_then(|e| e.held.as_ref()).expect("held");
        self.shard.pack.rules().map(|r| self.shard.fleet.classes.verdict(held.class, r)).collect()
    }

    fn digest(&self, id: &str) -> Digest {
        let at = self.shard.fleet.find(id).expect("endpoint");
        self.shard.fleet.get(at).and_then(|e| e.held.as_ref()).expect("held").digest
    }
}

/// `MUSTER_CASES` asks for more.
#[expect(clippy::disallowed_methods, reason = "how long to test is not configuration")]
pub(crate) fn cases() -> u32 {
    std::env::var("MUSTER_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forward_is_the_definition(noise in prop::collection::vec(any::<u8>(), 64..1500)) {
        let mut bytes = Bytes::new(&noise);
        let pack = compiled(&mut bytes, 6);
        for _ in 0..4 {
            let scan = bytes.scan();
            let (defined, got) = (defined(&pack, &scan), forward::judge_scan(&pack, &scan, 0));
            prop_assert_eq!(&got, &defined, "{}", told(&pack, &defined, &got, &scan));
        }
    }

    /// Uploads of several endpoints, whole and as changes of a base, then a new pack, then a restart: always the definition's verdicts
    /// and the digest that the endpoint computes itself.
    #[test]
    fn the_fleet_is_the_definition(noise in prop::collection::vec(any::<u8>(), 200..3000)) {
        let mut bytes = Bytes::new(&noise);
        let (pack, next) = (compiled(&mut bytes, 4), compiled(&mut bytes, 4));
        let mut daemon = Daemon::start(MemoryStore::default(), &pack);
        let ids = ["a", "b", "c"];
        ids.iter().for_each(|id| daemon.enroll(id));
        let mut scans: BTreeMap<&str, Scan> = BTreeMap::new();
        for turn in 0..6 {
            let id = ids[turn % ids.len()];
            let mut scan = bytes.scan();
            scan.endpoint = id.to_owned();
            let base = scans.get(id).filter(|_| bytes.below(2) == 0).cloned();
            if let Some(before) = &base {
                // Only some tables change; the rest stays.
                for (table, data) in &before.tables {
                    if bytes.below(2) == 0 {
                        scan.tables.insert(*table, data.clone());
                    }
                }
                scan.tables.extend(before.tables.iter().filter(|(t, _)| !scan.tables.contains_key(t)).map(|(t, d)| (*t, d.clone())).collect::<Vec<_>>());
                let digest = Digest::of_scan(before).to_string();
                daemon.upload(id, &native::encode(&scan, Some(&digest), |t| scan.tables.get(&t) != before.tables.get(&t)));
            } else {
                daemon.upload(id, &native::encode(&scan, None, |_| true));
            }
            scans.insert(id, scan);
            for (id, scan) in &scans {
                prop_assert_eq!(daemon.digest(id), Digest::of_scan(scan));
                let (defined, got) = (defined(&pack, scan), daemon.verdicts(id));
                prop_assert_eq!(&got, &defined, "{}", told(&pack, &defined, &got, scan));
            }
        }
        daemon.apply(Input::Swap { pack: next.clone(), policy: Box::new(Policy::default()) });
        let again = Daemon::start(daemon.store.reopen(), &next);
        for (id, scan) in &scans {
            let (defined, got) = (defined(&next, scan), daemon.verdicts(id));
            prop_assert_eq!(&got, &defined, "{}", told(&next, &defined, &got, scan));
            prop_assert_eq!(again.verdicts(id), got);
            prop_assert_eq!(again.digest(id), Digest::of_scan(scan));
        }
        prop_assert_eq!(again.shard.fleet.rows.len(), daemon.shard.fleet.rows.len());
    }
}

#[test]
fn the_same_upload_changes_nothing() {
    let noise: Vec<u8> = (0..=255).cycle().take(4000).map(|b: u8| b.wrapping_mul(167)).collect();
    let mut bytes = Bytes::new(&noise);
    let pack = compiled(&mut bytes, 5);
    let mut daemon = Daemon::start(MemoryStore::default(), &pack);
    daemon.enroll("a");
    let document = native::encode(&bytes.scan(), None, |_| true);
    let document = String::from_utf8(document).expect("utf-8").replace("\"endpoint\":\"e\",", "").into_bytes();
    assert!(daemon.upload("a", &document));
    let seq = daemon.shard.last_seq();
    assert!(!daemon.upload("a", &document));
    // Another spelling of the same facts is the same scan.
    let spaced = String::from_utf8(document).expect("utf-8").replace("\":", "\" : ").into_bytes();
    assert!(!daemon.upload("a", &spaced));
    assert_eq!(daemon.shard.last_seq(), seq);
}
