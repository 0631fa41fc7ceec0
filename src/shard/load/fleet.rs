//! The stored fleet, back to memory: read by one thread, decoded by all.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::LoadError;
use crate::fleet::classes::{ClassId, Classes};
use crate::fleet::{Endpoint, EndpointId};
use crate::pack::Pack;
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
        self.load_images_and_classes(store, known_pack)?;
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

    /// Beside each other: each takes one thread about as long as the other.
    fn load_images_and_classes(&mut self, store: &dyn Store, known_pack: bool) -> Result<(), LoadError> {
        let (images, of_swap, own) = (records(store, Space::Images)?, records(store, Space::Generation)?, records(store, Space::Classes)?);
        let Shard { fleet, pack, .. } = self;
        let present = self.generation;
        let (images, classes) = rayon::join(
            || -> Result<(), StoreError> {
                let decoded = |(k, v): &Record| Ok((number(Space::Images, k)?, decode(Space::Images, k, v)?));
                fleet.restore_images(images.iter().map(decoded).collect::<Result<_, StoreError>>()?);
                Ok(())
            },
            || read_classes(pack, known_pack, present, &of_swap, &own),
        );
        images?;
        (self.fleet.classes, self.stale_classes) = classes?;
        self.generation_keys.extend(of_swap.into_iter().map(|(k, _)| k));
        Ok(())
    }

    /// Endpoints that the last swap put into another class than their own records say.
    fn load_moves(&mut self, store: &dyn Store, all: &mut [Option<Endpoint>]) -> Result<(), LoadError> {
        store.each(Space::Generation, &mut |k, v| {
            if k.first() != Some(&generation::MOVE_KEY) {
                return Ok(());
            }
            for Moved { number, sequence, class } in generation::moved(k, v)? {
                if self.generation_keys.contains(&generation::gone_key(number)) {
                    continue;
                }
                let held = all.get_mut(number.0 as usize).and_then(|e| e.as_mut()?.held.as_mut());
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
        let mut all = by_number(read_endpoints(store, &Known::of(&self.fleet.sharing), &mut old)?)?;
        self.convert(store, old, &mut all)?;
        self.load_moves(store, &mut all)?;
        self.fleet.restore_endpoints(all);
        Ok(())
    }

    /// Endpoints of an earlier version are written anew, so that their numbers are kept.
    fn convert(&mut self, store: &mut dyn Store, old: Vec<OldEndpoint>, all: &mut Vec<Option<Endpoint>>) -> Result<(), LoadError> {
        let mut next = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let mut old = old.into_iter().peekable();
        while old.peek().is_some() {
            let mut batch = Batch::default();
            for endpoint in old.by_ref().take(PART) {
                all.push(Some(endpoint.convert(EndpointId(next), &mut self.fleet.sharing, &mut batch)));
                next += 1;
            }
            store.commit(&batch)?;
        }
        Ok(())
    }
}

pub(super) type Record = (Vec<u8>, Vec<u8>);

/// All records of a kind.
pub(super) fn records(store: &dyn Store, space: Space) -> Result<Vec<Record>, StoreError> {
    let mut all = Vec::new();
    store.each(space, &mut |k, v| {
        all.push((k.to_vec(), v.to_vec()));
        Ok(())
    })?;
    Ok(all)
}

/// The classes of the last swap, and those that were made since; beside them the records that are of neither. Without the pack that they are verdicts of, classes say nothing; the swap that
/// follows makes new ones.
fn read_classes(
    pack: &Pack,
    known_pack: bool,
    present: u32,
    of_swap: &[Record],
    own: &[Record],
) -> Result<(Classes, BTreeSet<ClassId>), StoreError> {
    let (mut classes, mut stale) = (Classes::new(pack.rules().map(|r| pack.rule(r).requirement).collect(), 0), BTreeSet::new());
    let say = |verdicts: &[u8]| if known_pack { verdicts.to_vec() } else { Vec::new() };
    for (k, v) in of_swap.iter().filter(|(k, _)| k.first() == Some(&generation::CLASS_KEY)) {
        generation::classes(k, v, |id, verdicts| classes.insert(id, &say(verdicts)))?;
    }
    for (k, v) in own {
        let (id, (made_in, verdicts)) = (number(Space::Classes, k)?, class(v));
        if made_in == present {
            classes.insert(id, &say(verdicts));
            classes.record(id);
        } else {
            stale.insert(id);
        }
    }
    Ok((classes, stale))
}

/// Endpoints in the places of their numbers.
fn by_number(parts: Vec<Part>) -> Result<Vec<Option<Endpoint>>, StoreError> {
    let places = parts.iter().flatten().map(|(at, _)| at.0 as usize + 1).max().unwrap_or(0);
    let mut all = Vec::with_capacity(places);
    all.resize_with(places, || None);
    for (at, endpoint) in parts.into_iter().flatten() {
        if let Some(other) = all[at.0 as usize].replace(endpoint) {
            return Err(damaged(Space::Endpoints, other.id.as_bytes(), "another endpoint has its number"));
        }
    }
    Ok(all)
}

/// Every stored endpoint, in no order. Reading takes as long as decoding, so they go on beside each other.
fn read_endpoints(store: &dyn Store, known: &Known, old: &mut Vec<OldEndpoint>) -> Result<Vec<Part>, StoreError> {
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
    decoded.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
}

fn damaged(space: Space, key: &[u8], why: &str) -> StoreError {
    StoreError::Damaged { space: space.name(), key: String::from_utf8_lossy(key).into_owned(), why: why.to_owned() }
}

fn number(space: Space, key: &[u8]) -> Result<u32, StoreError> {
    key.try_into().map(u32::from_be_bytes).map_err(|_| damaged(space, key, "its key is not a number"))
}
