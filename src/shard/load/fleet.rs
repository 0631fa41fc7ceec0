//! The stored fleet, back to memory: read by one thread, decoded by all.

use std::sync::{Mutex, PoisonError};

use super::LoadError;
use crate::fleet::classes::Classes;
use crate::fleet::{Endpoint, EndpointId};
use crate::scan::table::TableId;
use crate::shard::Shard;
use crate::shard::stored::{Known, OldEndpoint, class};
use crate::shard::swap::stored::{self as generation, Moved};
use crate::state::{Batch, Space, Store, StoreError, decode};

type Part = Vec<(EndpointId, Endpoint)>;

/// Records that are decoded together.
const PART: usize = 4096;

impl Shard {
    pub(super) fn load_fleet(&mut self, store: &mut dyn Store, known_pack: bool) -> Result<(), LoadError> {
        let mut rows = Vec::new();
        store.each(Space::Rows, &mut |k, v| {
            let at = v.iter().position(|b| *b == 0).ok_or_else(|| damaged(Space::Rows, k, "no table"))?;
            let name = std::str::from_utf8(&v[..at]).map_err(|_| damaged(Space::Rows, k, "no table"))?;
            let table = TableId::by_name(name).ok_or_else(|| damaged(Space::Rows, k, &format!("unknown table `{name}`")))?;
            rows.push((number(Space::Rows, k)?, table, v[at + 1..].into()));
            Ok(())
        })?;
        self.fleet.restore_rows(rows);
        // Before images, which keep what their rows say.
        self.fleet.rows.ask_all(&self.pack, &self.limits);
        self.fleet.rows.note_all(&self.catalog, &self.limits);
        let mut images = Vec::new();
        store.each(Space::Images, &mut |k, v| {
            images.push((number(Space::Images, k)?, decode(Space::Images, k, v)?));
            Ok(())
        })?;
        self.fleet.restore_images(images);
        self.load_classes(store, known_pack)?;
        store.each(Space::Shared, &mut |k, v| {
            let id = k.try_into().map(u64::from_be_bytes).map_err(|_| damaged(Space::Shared, k, "its key is not a number"))?;
            self.fleet.sharing.restore(id, decode(Space::Shared, k, v)?);
            Ok(())
        })?;
        self.load_endpoints(store)?;
        let classes = &self.fleet.classes;
        self.stale_classes.extend(classes.recorded().iter().filter(|id| !classes.contains(**id)));
        Ok(())
    }

    /// The classes of the last swap, and those that were made since.
    fn load_classes(&mut self, store: &dyn Store, known_pack: bool) -> Result<(), LoadError> {
        let mut classes = Classes::new(self.pack.rules().map(|r| self.pack.rule(r).requirement).collect(), 0);
        // Without the pack that they are verdicts of, classes say nothing; the swap that follows makes new ones.
        let say = |verdicts: &[u8]| if known_pack { verdicts.to_vec() } else { Vec::new() };
        store.each(Space::Generation, &mut |k, v| {
            self.generation_keys.insert(k.to_vec());
            if k.first() == Some(&generation::CLASS_KEY) {
                generation::classes(k, v, |id, verdicts| classes.insert(id, &say(verdicts)))?;
            }
            Ok(())
        })?;
        store.each(Space::Classes, &mut |k, v| {
            let (id, (generation, verdicts)) = (number(Space::Classes, k)?, class(v));
            if generation == self.generation {
                classes.insert(id, &say(verdicts));
                classes.record(id);
            } else {
                self.stale_classes.insert(id);
            }
            Ok(())
        })?;
        self.fleet.classes = classes;
        Ok(())
    }

    /// Endpoints that the last swap put into another class than their own records say.
    fn load_moves(&mut self, store: &dyn Store, all: &mut [(EndpointId, Endpoint)]) -> Result<(), LoadError> {
        store.each(Space::Generation, &mut |k, v| {
            if k.first() != Some(&generation::MOVE_KEY) {
                return Ok(());
            }
            for Moved { number, sequence, class } in generation::moved(k, v)? {
                if self.generation_keys.contains(&generation::gone_key(number)) {
                    continue;
                }
                let at = all.binary_search_by_key(&number, |(at, _)| *at).ok();
                let held = at.and_then(|at| all.get_mut(at)).and_then(|(_, e)| e.held.as_mut());
                if let Some(held) = held.filter(|h| h.sequence == sequence) {
                    held.class = class;
                    self.moved.insert(number.0);
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    fn load_endpoints(&mut self, store: &mut dyn Store) -> Result<(), LoadError> {
        let mut old = Vec::new();
        let mut all = read_endpoints(store, &Known::of(&self.fleet.sharing), &mut old)?;
        all.sort_unstable_by_key(|(number, _)| *number);
        if let Some(two) = all.windows(2).find(|two| two[0].0 == two[1].0) {
            return Err(damaged(Space::Endpoints, two[1].1.id.as_bytes(), "another endpoint has its number").into());
        }
        self.convert(store, old, &mut all)?;
        self.load_moves(store, &mut all)?;
        self.fleet.restore_endpoints(all);
        Ok(())
    }

    /// Endpoints of an earlier version are written anew, so that their numbers are kept.
    fn convert(&mut self, store: &mut dyn Store, old: Vec<OldEndpoint>, all: &mut Part) -> Result<(), LoadError> {
        let mut next = all.last().map_or(0, |(at, _)| at.0 + 1);
        let mut old = old.into_iter().peekable();
        while old.peek().is_some() {
            let mut batch = Batch::default();
            for endpoint in old.by_ref().take(PART) {
                all.push((EndpointId(next), endpoint.convert(EndpointId(next), &mut self.fleet.sharing, &mut batch)));
                next += 1;
            }
            store.commit(&batch)?;
        }
        Ok(())
    }
}

/// Every stored endpoint, in no order. Reading takes as long as decoding, so they go on beside each other.
fn read_endpoints(store: &dyn Store, known: &Known, old: &mut Vec<OldEndpoint>) -> Result<Part, StoreError> {
    let decoded: Mutex<Vec<Result<Part, StoreError>>> = Mutex::default();
    let decode = |part: Vec<(Vec<u8>, Vec<u8>)>| {
        let read = part.iter().map(|(k, v)| known.endpoint(k, v)).collect();
        decoded.lock().unwrap_or_else(PoisonError::into_inner).push(read);
    };
    rayon::in_place_scope(|scope| {
        let mut part = Vec::with_capacity(PART);
        let decode = &decode;
        store.each(Space::Endpoints, &mut |k, v| {
            if let Some(endpoint) = OldEndpoint::read(k, v) {
                old.push(endpoint?);
                return Ok(());
            }
            part.push((k.to_vec(), v.to_vec()));
            if part.len() == PART {
                let full = std::mem::replace(&mut part, Vec::with_capacity(PART));
                scope.spawn(move |_| decode(full));
            }
            Ok(())
        })?;
        decode(part);
        Ok::<_, StoreError>(())
    })?;
    let parts = decoded.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut all = Vec::with_capacity(parts.len() * PART);
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

fn damaged(space: Space, key: &[u8], why: &str) -> StoreError {
    StoreError::Damaged { space: space.name(), key: String::from_utf8_lossy(key).into_owned(), why: why.to_owned() }
}

fn number(space: Space, key: &[u8]) -> Result<u32, StoreError> {
    key.try_into().map(u32::from_be_bytes).map_err(|_| damaged(space, key, "its key is not a number"))
}
