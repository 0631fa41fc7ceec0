//! From the store to memory, when the process starts.

mod fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::episodes::kept::Episodes;
use super::patches::{Patches, StoredExemption};
use super::tasks::kept::Tasks;
use super::{Alert, Kept, Shard, Totals, outbox};
use crate::deploy::{Action, Blocked, Task, TaskState};
use crate::fleet::Fleet;
use crate::history::book::Book;
use crate::judge::joins::Joins;
use crate::limits::Limits;
use crate::pack::Pack;
use crate::pack::program::Tallies;
use crate::patch::catalog::Catalog;
use crate::patch::list::{Decisions, PatchList};
use crate::policy::Policy;
use crate::rule::FixState;
use crate::state::{Batch, Space, Store, StoreError, decode, decode_version, split_pair};
use crate::version::Scheme;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store was written with other tables: {0}")]
    Tables(String),
}

impl Shard {
    /// What is stored, under the pack that it was judged with. `new_id` names a store that is new.
    ///
    /// `old_pack` gives the compiled pack of a digest, if it is still there; without it every verdict counts as never given.
    pub fn load(
        store: &mut dyn Store,
        limits: Limits,
        new_id: &str,
        old_pack: impl FnOnce(&str) -> Option<Arc<Pack>>,
        empty: Arc<Pack>,
    ) -> Result<Shard, LoadError> {
        Shard::load_under(store, limits, new_id, old_pack, empty, |_| None)
    }

    /// The same under the catalog that the fleet was held against last, if `old_catalog` still has the one of that digest.
    pub fn load_under(
        store: &mut dyn Store,
        limits: Limits,
        new_id: &str,
        old_pack: impl FnOnce(&str) -> Option<Arc<Pack>>,
        empty: Arc<Pack>,
        old_catalog: impl FnOnce(&str) -> Option<Arc<Catalog>>,
    ) -> Result<Shard, LoadError> {
        let mut meta: BTreeMap<String, String> = BTreeMap::new();
        let (mut history, mut trends) = (None, super::trends::Trends::default());
        store.each(Space::Meta, &mut |k, v| {
            if k == b"history" {
                history = Some(v.to_vec());
                return Ok(());
            }
            if k.starts_with(super::trends::OPEN.as_bytes()) {
                return trends.restore(k, v);
            }
            meta.insert(String::from_utf8_lossy(k).into_owned(), String::from_utf8_lossy(v).into_owned());
            Ok(())
        })?;
        let store_id = own_id(store, meta.get("id"), new_id)?;
        let pack = meta.get("pack").and_then(|digest| old_pack(digest));
        let (known_pack, pack) = (pack.is_some(), pack.unwrap_or(empty));
        let catalog = meta.get("catalog").and_then(|digest| old_catalog(digest));
        let mut shard = Shard {
            fleet: Fleet::default(),
            policy: Policy::default().resolve(&pack),
            patches: Patches::new(meta.get("catalog").cloned(), catalog.as_deref()),
            catalog: catalog.clone().unwrap_or_default(),
            decisions: Decisions::default(),
            pack,
            limits,
            episodes: Episodes::new(&store_id),
            tasks: Tasks::new(&store_id),
            store_id,
            forgotten_to: None,
            outbox: outbox::Outbox::default(),
            next_seq: 1,
            applied: 0,
            stored_policy: meta.get("policy").cloned(),
            tallies: Tallies::default(),
            joins: Joins::default(),
            live: Vec::new(),
            hearing: super::freshness::Hearing::new(meta.get("listened"), meta.get("away")),
            short_of_rows: false,
            swept_ms: 0,
            totals: Totals::default(),
            generation: meta.get("generation").and_then(|n| n.parse().ok()).unwrap_or(0),
            generation_keys: BTreeSet::new(),
            moved: RoaringBitmap::new(),
            stale_classes: BTreeSet::new(),
            settling: RoaringBitmap::new(),
            history: Book::default(),
            catalog_unknown: false,
            trends,
        };
        shard.load_fleet(store, known_pack)?;
        shard.load_seen(store)?;
        if meta.contains_key("settling") {
            shard.settling.insert_range(0..shard.fleet.places());
        }
        shard.load_rest(store)?;
        shard.load_decisions(store)?;
        let names: &dyn Store = store;
        // It takes one thread long, and nobody asks for it yet.
        shard.history = shard.stand_beside(|| {
            let mut book = Book::default();
            book.restore(history.as_deref(), &fleet::records(names, Space::Names)?).map(|()| book)
        })?;
        if catalog.is_some() {
            shard.begin_catalog();
        }
        shard.live.resize_with(shard.fleet.places() as usize, Default::default);
        let dropped = meta.get("seq").and_then(|n| n.parse().ok()).unwrap_or(0);
        shard.next_seq = last_event(store)?.max(dropped) + 1;
        Ok(shard)
    }

    fn load_decisions(&mut self, store: &dyn Store) -> Result<(), LoadError> {
        store.each(Space::Lists, &mut |k, v| {
            // In the order of keys: by name, then by version.
            let list: PatchList = decode(Space::Lists, k, v)?;
            self.decisions.lists.entry(list.name.clone()).or_default().push(list);
            Ok(())
        })?;
        store.each(Space::Exemptions, &mut |k, v| {
            let stored: StoredExemption = decode(Space::Exemptions, k, v)?;
            self.restore_exemption(stored);
            Ok(())
        })?;
        self.restored_exemptions();
        store.each(Space::Alerts, &mut |k, v| {
            let alert: Alert = decode(Space::Alerts, k, v)?;
            self.restore_alert(alert);
            Ok(())
        })?;
        Ok(())
    }

    fn load_rest(&mut self, store: &dyn Store) -> Result<(), LoadError> {
        let fleet = &self.fleet;
        self.episodes.restore(|take| {
            store.each(Space::Episodes, &mut |k, v| {
                let kept: Kept = decode(Space::Episodes, k, v)?;
                if let Some((at, rule)) = split_pair(k).and_then(|(id, rule)| Some((fleet.find(id)?, std::str::from_utf8(rule).ok()?))) {
                    take(at, rule, &kept);
                }
                Ok(())
            })
        })?;
        self.tasks.restore(|take| {
            store.each(Space::Tasks, &mut |k, v| {
                let task = match v.first() {
                    Some(1) => decode_version::<OldTask>(Space::Tasks, 1, k, v)?.into(),
                    _ => decode(Space::Tasks, k, v)?,
                };
                if let Some(at) = split_pair(k).and_then(|(id, _)| fleet.find(id)) {
                    take(at, &task);
                }
                Ok(())
            })
        })?;
        store.each(Space::Outbox, &mut |k, v| {
            let pending = decode(Space::Outbox, k, v)?;
            if let Some((sink, seq)) = split_pair(k).and_then(|(sink, seq)| Some((sink, u64::from_be_bytes(seq.try_into().ok()?)))) {
                self.outbox.insert(sink, seq, pending);
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// A task as it was stored before actions could be about patches.
#[derive(Serialize, Deserialize)]
struct OldTask {
    id: String,
    item: String,
    baselines: Vec<String>,
    action: (String, FixState, Option<String>, Option<Scheme>),
    state: TaskState,
    blocked: Option<Blocked>,
    attempts: u32,
    created_ms: i64,
    changed_ms: i64,
    message: Option<String>,
}

impl From<OldTask> for Task {
    fn from(old: OldTask) -> Task {
        let OldTask { id, item, baselines, action, state, blocked, attempts, created_ms, changed_ms, message } = old;
        let (package, installed, minimum, scheme) = action;
        let action = Action { package, state: installed, minimum, scheme, patch: None };
        Task { id, item, baselines, action, state, blocked, attempts, created_ms, changed_ms, message }
    }
}

/// What identifies the store; a new one gets its id now.
fn own_id(store: &mut dyn Store, known: Option<&String>, new_id: &str) -> Result<String, StoreError> {
    if let Some(id) = known {
        return Ok(id.clone());
    }
    let mut batch = Batch::default();
    batch.put(Space::Meta, "id", new_id);
    store.commit(&batch)?;
    Ok(new_id.to_owned())
}

/// The number of the newest event, 0 if there is none. INVARIANT: of all segments, for a clock that was set back puts later numbers into earlier ones.
fn last_event(store: &dyn Store) -> Result<u64, StoreError> {
    let mut last = 0;
    for segment in store.segments() {
        let key = store.last(Space::Events(segment))?;
        last = last.max(key.and_then(|k| k.try_into().ok()).map_or(0, u64::from_be_bytes));
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{decode_version, encode};

    #[test]
    fn tasks_of_an_earlier_muster_are_read() {
        let old = OldTask {
            id: "tsk_t_1".into(),
            item: "package:chrony".into(),
            baselines: vec!["base".into()],
            action: ("chrony".into(), FixState::Installed, Some("4".into()), Some(Scheme::Dpkg)),
            state: TaskState::Failed,
            blocked: Some(Blocked::RetryExhausted),
            attempts: 5,
            created_ms: 1,
            changed_ms: 2,
            message: None,
        };
        let mut bytes = encode(Space::Tasks, &old);
        bytes[0] = 1;
        assert!(decode::<Task>(Space::Tasks, b"k", &bytes).is_err());
        let task = Task::from(decode_version::<OldTask>(Space::Tasks, 1, b"k", &bytes).unwrap());
        assert_eq!((task.action.package.as_str(), task.action.patch.is_none(), task.attempts), ("chrony", true, 5));
        assert_eq!(decode::<Task>(Space::Tasks, b"k", &encode(Space::Tasks, &task)).unwrap(), task);
    }
}
