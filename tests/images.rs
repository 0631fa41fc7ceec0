//! What becomes of images through the whole shard: its store and a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::pack::{Pack, compile};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, TableData, native};
use muster::shard::{Input, Shard};
use muster::state::memory::MemoryStore;

use crate::engines::Daemon;

/// An endpoint's `sysctl` rows: numbers, each a row.
fn numbered(id: &str, rows: impl Iterator<Item = u32>) -> Vec<u8> {
    let table = TableId::by_name("sysctl").expect("sysctl");
    let rows = rows.map(|n| Row::new(table).with("key", format!("k{n:06}")).with("value", "1")).collect();
    let mut scan = Scan { endpoint: id.to_owned(), ..Scan::default() };
    scan.tables.insert(table, TableData::Rows(rows));
    scan.normalise();
    native::encode(&scan, None, |_| true)
}

#[test]
fn images_that_are_given_up_are_gone_from_the_store_and_nobody_is_with_them() {
    given_up(|| Input::Tick);
    given_up(|| Input::Thin);
}

fn given_up(step: fn() -> Input) {
    let pack = Arc::new(Pack::from_bytes(compile(&[], &[])).expect("empty pack"));
    let mut daemon = Daemon::start(MemoryStore::default(), &pack);
    let mut sent: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut send = |daemon: &mut Daemon, id: String, document: Vec<u8>| {
        daemon.enroll(&id);
        daemon.upload(&id, &document);
        sent.insert(id, document);
    };
    // Two of one kind, which found its image, and eight of another, which get one that is near to it.
    (0..2).for_each(|n| send(&mut daemon, format!("a{n}"), numbered("", 0..300)));
    (0..8).for_each(|n| send(&mut daemon, format!("b{n}"), numbered("", 20..320)));
    assert_eq!(daemon.shard.fleet.images.len(), 2);
    // And so many that have nothing in common that images are gone through.
    (0..62).for_each(|n| send(&mut daemon, format!("c{n}"), numbered("", 1000 * (n + 1)..1000 * (n + 1) + 100)));
    (0..64).for_each(|_| drop(daemon.apply(step())));
    assert!(!daemon.shard.fleet.is_thinning());
    let images = |shard: &Shard| shard.fleet.images.iter().map(|(id, i)| (id, i.endpoints)).collect::<Vec<_>>();
    assert_eq!(images(&daemon.shard).iter().map(|(_, n)| *n).max(), Some(10), "both kinds are at one image");
    assert_eq!(images(&daemon.shard).len(), 63);
    assert_eq!(daemon.shard.fleet.index().difference(&daemon.shard.fleet.index_anew()), None);
    let again = Daemon::start(daemon.store.reopen(), &pack);
    assert_eq!(images(&again.shard), images(&daemon.shard), "as it was stored");
    for (id, document) in &sent {
        let endpoint = again.shard.fleet.get(again.shard.fleet.find(id).expect("enrolled")).expect("there");
        let mut scan = again.shard.fleet.scan_of(endpoint, again.shard.limits());
        scan.endpoint.clear();
        assert_eq!(native::encode(&scan, None, |_| true), *document, "{id}");
    }
}
