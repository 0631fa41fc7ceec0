//! The embedded store: fjall, a log-structured store in pure Rust. docs/ARCHITECTURE.md says why this one.
//!
//! One writer commits batches and waits for the disk; readers of history work beside it. A failed write poisons the store
//! (INVARIANT: after that the page cache cannot be trusted, see "Can Applications Recover from fsync Failures?", Rebello 2020).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use fjall::compaction::Leveled;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Batch, Entries, Entry, Reader, Space, Store, StoreError, Take, Visit, segment};

/// Memory for blocks of the cold that were read lately: a start reads everything once, and after that the system's cache is near.
const CACHE_BYTES: u64 = 8 << 20;
/// Memory that recent writes of one space take before they are sorted to disk. This and the next two are kept with a space when it is made: one that was made
/// before has what was here then.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// So many tables of recent writes are merged at once with the level below, which has room for as many of [`TABLE_BYTES`]. The more at once, the fewer bytes are
/// written again.
const MERGED_AT_ONCE: u8 = 8;
const TABLE_BYTES: u64 = 32 << 20;
const JOURNAL_BYTES: u64 = 128 << 20;

/// Those of events and of history.
type Segments = Arc<RwLock<BTreeMap<Space, Keyspace>>>;

fn segment_named(name: &str) -> Option<Space> {
    let number = |prefix: &str| name.strip_prefix(prefix)?.parse().ok();
    number("events-").map(Space::Events).or_else(|| number("history-").map(Space::History))
}

pub struct EmbeddedStore {
    db: Database,
    fixed: Arc<BTreeMap<Space, Keyspace>>,
    segments: Segments,
    folder: PathBuf,
    reserve: u64,
    poisoned: Option<String>,
}

fn options() -> KeyspaceCreateOptions {
    let levels = Leveled::default().with_l0_threshold(MERGED_AT_ONCE).with_table_target_size(TABLE_BYTES);
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES).compaction_strategy(Arc::new(levels))
}

impl EmbeddedStore {
    /// Opens the store in a folder, or makes it. What a crash left half written is cut off, as every commit is one unit.
    pub fn open(folder: &Path, reserve: u64) -> Result<EmbeddedStore, StoreError> {
        let open = |why: String| StoreError::Open { path: folder.to_owned(), why };
        std::fs::create_dir_all(folder).map_err(|e| open(e.to_string()))?;
        let db = Database::builder(folder).cache_size(CACHE_BYTES).max_journaling_size(JOURNAL_BYTES).worker_threads(1).open();
        let db = db.map_err(|e| match e {
            fjall::Error::Locked => StoreError::InUse { path: folder.to_owned() },
            other => open(other.to_string()),
        })?;
        let mut fixed = BTreeMap::new();
        for space in Space::FIXED {
            fixed.insert(space, db.keyspace(&space.name(), options).map_err(|e| open(e.to_string()))?);
        }
        let mut segments = BTreeMap::new();
        for name in db.list_keyspace_names() {
            if let Some(space) = segment_named(&name) {
                segments.insert(space, db.keyspace(&name, options).map_err(|e| open(e.to_string()))?);
            }
        }
        let (fixed, segments) = (Arc::new(fixed), Arc::new(RwLock::new(segments)));
        Ok(EmbeddedStore { db, fixed, segments, folder: folder.to_owned(), reserve, poisoned: None })
    }

    fn keyspace(&self, space: Space) -> Result<Keyspace, StoreError> {
        if !matches!(space, Space::Events(_) | Space::History(_)) {
            return self.fixed.get(&space).cloned().ok_or_else(|| StoreError::Read(format!("no space {}", space.name())));
        }
        if let Some(found) = self.segments.read().unwrap_or_else(PoisonError::into_inner).get(&space) {
            return Ok(found.clone());
        }
        let made = self.db.keyspace(&space.name(), options).map_err(|e| StoreError::Poisoned(e.to_string()))?;
        self.segments.write().unwrap_or_else(PoisonError::into_inner).insert(space, made.clone());
        Ok(made)
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let failed = |e: fjall::Error| StoreError::Poisoned(e.to_string());
        // The data of an append-only file and its length are what a commit needs; times may lag.
        let mut write = fjall::OwnedWriteBatch::with_capacity(self.db.clone(), batch.changes.len()).durability(Some(PersistMode::SyncData));
        // Changes of a space mostly follow one another.
        for run in batch.changes.chunk_by(|a, b| a.0 == b.0) {
            let Some((space, ..)) = run.first() else { continue };
            let keyspace = self.keyspace(*space)?;
            for (_, key, value) in run {
                match value {
                    Some(value) => write.insert(&keyspace, key.as_slice(), value.as_slice()),
                    None => write.remove(&keyspace, key.as_slice()),
                }
            }
        }
        write.commit().map_err(failed)?;
        let history = batch.drop_history.iter().map(|n| Space::History(*n));
        for space in batch.drop_segments.iter().map(|n| Space::Events(*n)).chain(history) {
            let dropped = self.segments.write().unwrap_or_else(PoisonError::into_inner).remove(&space);
            if let Some(keyspace) = dropped {
                self.db.delete_keyspace(keyspace).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Bytes that this user may still write to the file system of a folder, and its size.
pub(crate) fn space_left(folder: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

impl Store for EmbeddedStore {
    fn each(&self, space: Space, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        for entry in self.keyspace(space)?.iter() {
            let (key, value) = entry.into_inner().map_err(|e| StoreError::Read(e.to_string()))?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn last(&self, space: Space) -> Result<Option<Vec<u8>>, StoreError> {
        let last = self.keyspace(space)?.last_key_value().map(fjall::Guard::key);
        last.transpose().map(|key| key.map(|k| k.to_vec())).map_err(|e| StoreError::Read(e.to_string()))
    }

    fn segments(&self) -> Vec<u32> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.keys().filter_map(|s| if let Space::Events(n) = s { Some(*n) } else { None }).collect()
    }

    fn room(&self, bytes: u64) -> Result<(), StoreError> {
        if let Some(why) = &self.poisoned {
            return Err(StoreError::Poisoned(why.clone()));
        }
        // A file system that cannot be asked is not a reason to refuse; a write that fails will be.
        let Some((free, size)) = space_left(&self.folder) else { return Ok(()) };
        // What is written comes to the disk twice, in the journal and sorted; what was written lately is still to be sorted.
        let coming = bytes.saturating_mul(2).saturating_add(self.db.write_buffer_size());
        let reserve = self.reserve.min(size / 20).saturating_add(coming);
        if free < reserve { Err(StoreError::Full { free, reserve }) } else { Ok(()) }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if let Some(why) = &self.poisoned {
            return Err(StoreError::Poisoned(why.clone()));
        }
        let result = self.write(batch);
        if let Err(e) = &result {
            self.poisoned = Some(e.to_string());
        }
        result
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(EmbeddedReader { fixed: self.fixed.clone(), segments: self.segments.clone() })
    }
}

/// The next entry of a range.
fn next(run: &mut fjall::Iter) -> Result<Option<Entry>, StoreError> {
    let entry = run.next().map(fjall::Guard::into_inner).transpose().map_err(|e| StoreError::Read(e.to_string()))?;
    Ok(entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
}

struct EmbeddedReader {
    fixed: Arc<BTreeMap<Space, Keyspace>>,
    segments: Segments,
}

impl Reader for EmbeddedReader {
    fn events(&self, from: u64, limit: usize) -> Result<Entries, StoreError> {
        let segments: Vec<Keyspace> = {
            let all = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter(|(space, _)| matches!(space, Space::Events(_))).map(|(_, k)| k.clone()).collect()
        };
        let mut runs = Vec::with_capacity(segments.len());
        for keyspace in &segments {
            let mut run = keyspace.range(from.to_be_bytes()..);
            if let Some(first) = next(&mut run)? {
                runs.push((first, run));
            }
        }
        let mut out = Entries::new();
        while out.len() < limit
            && let Some(at) = (0..runs.len()).min_by(|a, b| runs[*a].0.0.cmp(&runs[*b].0.0))
        {
            match next(&mut runs[at].1)? {
                Some(following) => out.push(std::mem::replace(&mut runs[at].0, following)),
                None => out.push(runs.swap_remove(at).0),
            }
        }
        Ok(out)
    }

    fn event(&self, seq: u64, at_ms: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let keyspace = self.segments.read().unwrap_or_else(PoisonError::into_inner).get(&Space::Events(segment(at_ms))).cloned();
        let Some(keyspace) = keyspace else { return Ok(None) };
        keyspace.get(seq.to_be_bytes()).map(|v| v.map(|v| v.to_vec())).map_err(|e| StoreError::Read(e.to_string()))
    }

    fn range(&self, space: Space, from: &[u8], take: &mut Take<'_>) -> Result<(), StoreError> {
        let segment = || self.segments.read().unwrap_or_else(PoisonError::into_inner).get(&space).cloned();
        let Some(keyspace) = self.fixed.get(&space).cloned().or_else(segment) else { return Ok(()) };
        for entry in keyspace.range(from..) {
            let (key, value) = entry.into_inner().map_err(|e| StoreError::Read(e.to_string()))?;
            if !take(&key, &value)? {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_there_after_reopening_and_segments_are_dropped_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let mut store = EmbeddedStore::open(folder.path(), 0).expect("open");
        let mut batch = Batch::default();
        batch.put(Space::Meta, "a", "1");
        batch.put(Space::Events(1), 7u64.to_be_bytes(), "seven");
        batch.put(Space::Events(2), 8u64.to_be_bytes(), "eight");
        store.commit(&batch).expect("commit");
        assert!(matches!(EmbeddedStore::open(folder.path(), 0), Err(StoreError::InUse { .. })));
        drop(store);
        let mut store = EmbeddedStore::open(folder.path(), 0).expect("reopen");
        let mut seen = Vec::new();
        store
            .each(Space::Meta, &mut |k, v| {
                seen.push((k.to_vec(), v.to_vec()));
                Ok(())
            })
            .expect("each");
        assert_eq!(seen, [(b"a".to_vec(), b"1".to_vec())]);
        let reader = store.reader();
        assert_eq!(reader.events(0, 10).expect("events").len(), 2);
        assert_eq!(reader.events(8, 10).expect("events").len(), 1);
        assert_eq!(reader.events(0, 1).expect("events").len(), 1);
        assert_eq!(store.last(Space::Events(2)).expect("last"), Some(8u64.to_be_bytes().to_vec()));
        assert_eq!(store.last(Space::Tasks).expect("last"), None);
        let mut set_back = Batch::default();
        set_back.put(Space::Events(1), 9u64.to_be_bytes(), "nine");
        store.commit(&set_back).expect("commit");
        let numbers = |of: Entries| of.iter().map(|(k, _)| k[7]).collect::<Vec<u8>>();
        assert_eq!(numbers(reader.events(0, 10).expect("events")), [7, 8, 9], "by number, although the clock was set back");
        assert_eq!(numbers(reader.events(8, 1).expect("events")), [8]);
        store.commit(&Batch { drop_segments: vec![1], ..Batch::default() }).expect("drop");
        assert_eq!(store.segments(), [2]);
        assert_eq!(reader.events(0, 10).expect("events").len(), 1);
    }

    #[test]
    fn a_reserve_larger_than_the_disk_is_cut_to_a_twentieth() {
        let folder = tempfile::tempdir().expect("folder");
        let store = EmbeddedStore::open(folder.path(), u64::MAX).expect("open");
        let (free, size) = space_left(folder.path()).expect("statvfs");
        assert_eq!(store.room(0).is_ok(), free >= size / 20);
        assert!(matches!(store.room(free), Err(StoreError::Full { .. })));
    }
}
