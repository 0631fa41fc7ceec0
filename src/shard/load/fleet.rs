//! The stored fleet, back to memory: read by one thread, decoded by all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::LoadError;
use crate::fleet::classes::{ClassId, Classes};
use crate::fleet::{Endpoint, EndpointId};
use crate::pack::Pack;
use crate::scan::table::TableId;
use crate::shard::stored::{Known, OldEndpoint, class};
use crate::shard::swap::stored::{self as generation, Moved};
use crate::shard::{Shard, freshness};
use crate::state::{Batch, Space, Store, StoreError, decode};

/// Endpoints that memory is asked for at once, at most.
const PLACES: usize = 1 << 23;

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
        let Shard { fleet, pack, .. } = self;
        let present = self.generation;
        let (images, classes) = rayon::join(
            || -> Result<(), StoreError> {
                let images = records(store, Space::Images)?;
                let decoded = |(k, v): &Record| Ok((number(Space::Images, k)?, decode(Space::Images, k, v)?));
                fleet.restore_images(images.iter().map(decoded).collect::<Result<_, StoreError>>()?);
                Ok(())
            },
            || {
                let (of_swap, own) = (records(store, Space::Generation)?, records(store, Space::Classes)?);
                Ok::<_, StoreError>((read_classes(pack, known_pack, present, &of_swap, &own)?, of_swap))
            },
        );
        images?;
        let (classes, of_swap) = classes?;
        (self.fleet.classes, self.stale_classes) = classes;
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
        let (mut all, mut numbers) = read_endpoints(store, &Known::of(&self.fleet.sharing), &mut old)?;
        numbers.extend(self.convert(store, old, &mut all)?);
        self.load_moves(store, &mut all)?;
        self.fleet.restore_endpoints(all, numbers);
        Ok(())
    }

    /// Endpoints of an earlier version are written anew, so that their numbers are kept: which ones they got.
    fn convert(
        &mut self,
        store: &mut dyn Store,
        old: Vec<OldEndpoint>,
        all: &mut Vec<Option<Endpoint>>,
    ) -> Result<impl Iterator<Item = EndpointId> + use<>, LoadError> {
        let first = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let mut next = first;
        let mut old = old.into_iter().peekable();
        while old.peek().is_some() {
            let mut batch = Batch::default();
            for endpoint in old.by_ref().take(PART) {
                all.push(Some(endpoint.convert(EndpointId(next), &mut self.fleet.sharing, &mut batch)));
                next += 1;
            }
            store.commit(&batch)?;
        }
        Ok((first..next).map(EndpointId))
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
    for (k, v) in of_swap.iter().filter(|(k, _)| k.first() == Some(&generation::CLASS_KEY)) {
        generation::classes(k, v, |id, verdicts| classes.insert(id, if known_pack { verdicts } else { &[] }))?;
    }
    for (k, v) in own {
        let (id, (made_in, verdicts)) = (number(Space::Classes, k)?, class(v));
        if made_in == present {
            classes.insert(id, if known_pack { verdicts } else { &[] });
            classes.record(id);
        } else {
            stale.insert(id);
        }
    }
    Ok((classes, stale))
}

/// Endpoints in the places of their numbers, and their numbers in the order of the parts that they came in.
#[derive(Default)]
struct Placed {
    all: Vec<Option<Endpoint>>,
    numbers: BTreeMap<usize, Vec<EndpointId>>,
}

impl Placed {
    fn put(&mut self, number: usize, part: Vec<(EndpointId, Endpoint)>) -> Result<(), StoreError> {
        self.numbers.insert(number, part.iter().map(|(at, _)| *at).collect());
        let places = part.iter().map(|(at, _)| at.0 as usize + 1).max().unwrap_or(0);
        if self.all.len() < places {
            self.all.resize_with(places, || None);
        }
        for (at, endpoint) in part {
            if let Some(other) = self.all[at.0 as usize].replace(endpoint) {
                return Err(damaged(Space::Endpoints, other.id.as_bytes(), "another endpoint has its number"));
            }
        }
        Ok(())
    }
}

/// Records that are decoded together, in one piece of memory.
#[derive(Default)]
struct Together {
    bytes: Vec<u8>,
    /// Where the key and the value of each end.
    ends: Vec<(usize, usize)>,
}

impl Together {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_ends = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_ends, self.bytes.len()));
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts.zip(&self.ends).map(|(start, (key, end))| (&self.bytes[start..*key], &self.bytes[*key..*end]))
    }
}

/// Every stored endpoint in the place of its number, and the numbers in the order of ids. Reading takes as long as decoding, so they go on beside each other.
fn read_endpoints(
    store: &dyn Store,
    known: &Known,
    old: &mut Vec<OldEndpoint>,
) -> Result<(Vec<Option<Endpoint>>, Vec<EndpointId>), StoreError> {
    let all = Vec::with_capacity(freshness::places(store)?.min(PLACES));
    let placed: Mutex<Result<Placed, StoreError>> = Mutex::new(Ok(Placed { all, ..Placed::default() }));
    let decode = |number: usize, part: Together| {
        let read: Result<Vec<_>, _> = part.iter().map(|(k, v)| known.endpoint(k, v)).collect();
        let mut placed = placed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(all) = &mut *placed
            && let Err(error) = read.and_then(|part| all.put(number, part))
        {
            *placed = Err(error);
        }
    };
    rayon::in_place_scope(|scope| {
        let (mut part, mut number) = (Together::default(), 0);
        let decode = &decode;
        store.each(Space::Endpoints, &mut |k, v| {
            if let Some(endpoint) = OldEndpoint::read(k, v) {
                old.push(endpoint?);
                return Ok(());
            }
            part.push(k, v);
            if part.ends.len() == PART {
                let (full, of) = (std::mem::take(&mut part), number);
                scope.spawn(move |_| decode(of, full));
                number += 1;
            }
            Ok(())
        })?;
        decode(number, part);
        Ok::<_, StoreError>(())
    })?;
    let Placed { all, numbers } = placed.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    Ok((all, numbers.into_values().flatten().collect()))
}

fn damaged(space: Space, key: &[u8], why: &str) -> StoreError {
    StoreError::Damaged { space: space.name(), key: String::from_utf8_lossy(key).into_owned(), why: why.to_owned() }
}

fn number(space: Space, key: &[u8]) -> Result<u32, StoreError> {
    key.try_into().map(u32::from_be_bytes).map_err(|_| damaged(space, key, "its key is not a number"))
}
