//! What must be true whenever the writer has nothing under way: the state is the model's, the slow definition's, and the store's.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use muster::fleet::Endpoint;
use muster::judge::Verdict;
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::policy::Policy;
use muster::scan::Scan;
use muster::shard::Shard;

use super::store::Hardware;

/// One endpoint's verdicts against the definition, asked of what the endpoint itself knows that it sent.
pub(super) fn verdicts_hold(shard: &Shard, endpoint: &Endpoint, scan: &Scan) {
    let held = endpoint.held.as_ref().unwrap();
    let received_s = held.received_ms.div_euclid(86_400_000) * 86_400;
    for rule in shard.pack.rules() {
        let selected = shard.policy.selected[rule.index()];
        let defined = if selected { shard.pack.explain(rule, scan, received_s).verdict } else { Verdict::NotSelected };
        let kept = shard.fleet.classes.verdict(held.class, rule);
        assert_eq!(kept, defined, "{} at {}: {:?}", shard.pack.rule_id(rule), endpoint.id, shard.pack.meta(rule).check_ir);
    }
}

/// The index is what it would be if it were made now, and patches stand as all rows say.
pub(super) fn derived_holds(shard: &Shard, ticked_ms: i64) {
    assert_eq!(shard.fleet.index().difference(&shard.fleet.index_anew()), None, "the index");
    let mut ids = std::collections::BTreeSet::new();
    for (_, task) in shard.tasks() {
        assert!(ids.insert(task.id.clone()), "two tasks have the id {}", task.id);
    }
    crate::patches::decided::model::check(shard, ticked_ms);
}

/// A shard that is loaded from the disk is the one in memory.
pub(super) fn stored_is_kept(shard: &Shard, hardware: &Hardware, limits: &Limits, policy: &Policy) {
    let pack = shard.pack.clone();
    let empty = Arc::new(Pack::from_bytes(compile(&[], &[])).unwrap());
    let known = pack.clone();
    let mut loaded =
        Shard::load(&mut hardware.copy(), limits.clone(), "other", move |digest| (known.digest() == digest).then_some(known), empty)
            .unwrap();
    assert_eq!(loaded.pack.digest(), pack.digest(), "the stored pack");
    assert!(loaded.resume(&pack, policy.clone()).is_none(), "the stored policy");
    loaded.set_catalog(shard.catalog.clone());
    let (kept, stored) = (dump(shard), dump(&loaded));
    for (key, value) in &kept {
        assert_eq!(Some(value), stored.get(key), "{key}: in memory, and in the store");
    }
    for key in stored.keys() {
        assert!(kept.contains_key(key), "{key} is in the store and not in memory");
    }
    assert_eq!(loaded.fleet.index().difference(&shard.fleet.index_anew()), None, "the index that was loaded");
}

/// Everything that a shard knows, by name.
pub(super) fn dump(shard: &Shard) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut put = |key: String, value: &dyn Debug| drop(out.insert(key, format!("{value:?}")));
    let fleet = &shard.fleet;
    fleet.rows.iter().for_each(|(id, table, bytes)| put(format!("row {id}"), &(table, String::from_utf8_lossy(bytes))));
    fleet.images.iter().for_each(|(id, image)| put(format!("image {id}"), &(&image.order, image.endpoints)));
    for (at, endpoint) in fleet.iter() {
        put(format!("endpoint {}", endpoint.id), &(at, described(shard, endpoint)));
        put(format!("posture {}", endpoint.id), &shard.posture(at));
        shard.episodes_of(at).for_each(|(rule, kept)| put(format!("episode {} {rule}", endpoint.id), &kept));
        shard.tasks_of(at).for_each(|task| put(format!("task {} {}", endpoint.id, task.item), &task));
    }
    shard.outbox.iter().for_each(|(sink, seq, pending)| put(format!("outbox {sink} {seq}"), pending));
    shard.alerts().for_each(|(alert, missing)| put(format!("alert {} {}", alert.feed, alert.patch), &(alert, missing)));
    let held = |id: &String| (id.clone(), shard.exemption_holds(id));
    put("exemptions that count".to_owned(), &shard.decisions.exemptions.keys().map(held).collect::<Vec<_>>());
    put("decisions".to_owned(), &shard.decisions);
    put("totals".to_owned(), shard.patch_totals());
    put("last event".to_owned(), &shard.last_seq());
    out
}

fn described(shard: &Shard, endpoint: &Endpoint) -> String {
    let Endpoint { id, hostname, labels, key_hash, enrolled_ms, held } = endpoint;
    let held = held.as_ref().map(|h| {
        let verdicts = shard.fleet.classes.verdicts(h.class);
        (h.image, &h.plus, &h.minus, format!("{:?}", *h.tables), h.digest.to_string(), (h.sequence, h.received_ms, h.class), verdicts)
    });
    format!("{id} {hostname} {:?} {key_hash:?} {enrolled_ms} {held:?}", **labels)
}
