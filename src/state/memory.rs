//! A store that forgets, for tests and simulations; can be told to fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Batch, Entries, Reader, Space, Store, StoreError, Take, Visit, segment};

type Contents = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

/// What the next calls do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Commits until one fails, as a failed fsync does.
    pub fail_commit_in: Option<u32>,
    pub full: bool,
}

#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    contents: Arc<Mutex<Contents>>,
    pub faults: Arc<Mutex<Faults>>,
    poisoned: bool,
}

impl MemoryStore {
    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with what is on this one now.
    #[must_use]
    pub fn copy(&self) -> MemoryStore {
        MemoryStore { contents: Arc::new(Mutex::new(self.contents().clone())), faults: Arc::default(), poisoned: false }
    }

    /// The same disk after the process died.
    #[must_use]
    pub fn reopen(&self) -> MemoryStore {
        MemoryStore { contents: self.contents.clone(), faults: Arc::default(), poisoned: false }
    }
}

impl Store for MemoryStore {
    fn each(&self, space: Space, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.contents().iter().filter(|((s, _), _)| *s == space).try_for_each(|((_, k), v)| visit(k, v))
    }

    fn last(&self, space: Space) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.contents().keys().rev().find(|(s, _)| *s == space).map(|(_, k)| k.clone()))
    }

    fn segments(&self) -> Vec<u32> {
        let mut out: Vec<u32> =
            self.contents().keys().filter_map(|(s, _)| if let Space::Events(n) = s { Some(*n) } else { None }).collect();
        out.dedup();
        out
    }

    fn room(&self, _: u64) -> Result<(), StoreError> {
        let full = self.faults.lock().unwrap_or_else(PoisonError::into_inner).full;
        if full { Err(StoreError::Full { free: 0, reserve: 1 }) } else { Ok(()) }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut faults.fail_commit_in {
            Some(0) => self.poisoned = true,
            Some(n) => *n -= 1,
            None => {}
        }
        drop(faults);
        if self.poisoned {
            return Err(StoreError::Poisoned("told to fail".to_owned()));
        }
        let mut contents = self.contents();
        for (space, key, value) in &batch.changes {
            match value {
                Some(value) => contents.insert((*space, key.clone()), value.clone()),
                None => contents.remove(&(*space, key.clone())),
            };
        }
        contents.retain(|(s, _), _| match s {
            Space::Events(n) => !batch.drop_segments.contains(n),
            Space::History(n) => !batch.drop_history.contains(n),
            _ => true,
        });
        Ok(())
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

impl Reader for MemoryStore {
    fn events(&self, from: u64, limit: usize) -> Result<Entries, StoreError> {
        let contents = self.contents();
        let events = contents.iter().filter(|((s, k), _)| matches!(s, Space::Events(_)) && k.as_slice() >= from.to_be_bytes().as_slice());
        let mut events: Entries = events.map(|((_, k), v)| (k.clone(), v.clone())).collect();
        events.sort_unstable();
        events.truncate(limit);
        Ok(events)
    }

    fn event(&self, seq: u64, at_ms: i64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.contents().get(&(Space::Events(segment(at_ms)), seq.to_be_bytes().to_vec())).cloned())
    }

    fn range(&self, space: Space, from: &[u8], take: &mut Take<'_>) -> Result<(), StoreError> {
        let found: Entries = {
            let contents = self.contents();
            let all = contents.range((space, from.to_vec())..).take_while(|((s, _), _)| *s == space);
            all.map(|((_, k), v)| (k.clone(), v.clone())).collect()
        };
        for (key, value) in found {
            if !take(&key, &value)? {
                break;
            }
        }
        Ok(())
    }
}
