//! The interned fleet: distinct rows, the images that share them, and endpoints as an image with deviations.
//!
//! Memory follows distinct facts and deviations, not endpoints times facts.

pub mod classes;
pub mod follow;
pub mod gather;
pub mod image;
pub mod index;
mod names;
pub mod notes;
mod restore;
pub mod rows;
pub mod shared;
pub mod sums;
mod template;
pub mod thin;

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::scan::digest::Digest;
use crate::scan::native::NewRow;
use crate::scan::table::TableId;
use classes::ClassId;
use image::{ImageId, Images, is_near};
use index::Index;
use names::Names;
use rows::{RowId, Rows, Said};
use shared::{Labels, Shared, Sharing};

/// The number of an endpoint, for as long as it is enrolled: its position in [`Fleet`], and stored with it. Numbers of endpoints that were removed are given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EndpointId(pub u32);

/// The last scan of an endpoint, as the fleet keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub image: ImageId,
    /// Rows beside the image's, sorted.
    pub plus: Box<[RowId]>,
    /// Rows of the image that it lacks, sorted.
    pub minus: Box<[RowId]>,
    pub tables: Shared<Tables>,
    pub digest: Digest,
    /// Counts the scans of this endpoint that changed something, from 1.
    pub sequence: u64,
    /// Milliseconds since 1970, when the scan arrived that brought these facts.
    pub received_ms: i64,
    /// Verdicts under the present pack.
    pub class: ClassId,
}

/// Which tables a scan brought, and why some failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tables {
    /// Sorted.
    pub collected: Vec<TableId>,
    pub failed: BTreeMap<TableId, Box<str>>,
}

impl Tables {
    pub fn states(&self) -> crate::pack::program::TableStates {
        use crate::judge::truth::Truth;
        let mut states = crate::pack::program::TableStates::default();
        self.collected.iter().for_each(|t| states.set(*t, Truth::True));
        self.failed.keys().for_each(|t| states.set(*t, Truth::Error));
        states
    }

    /// The tables of which one of both is collected, failed or absent, and the other one not.
    pub fn otherwise(&self, other: &Tables) -> BTreeSet<TableId> {
        if self == other {
            return BTreeSet::new();
        }
        let (a, b) = (self.states(), other.states());
        TableId::all().filter(|t| a.get(*t) != b.get(*t)).collect()
    }

    pub fn digest(&self) -> Digest {
        let mut sum = Digest::default();
        self.collected.iter().for_each(|t| sum.add(&Digest::of_table(*t, None)));
        self.failed.iter().for_each(|(t, why)| sum.add(&Digest::of_table(*t, Some(why))));
        sum
    }
}

/// There may be millions: what many have alike is shared, and nothing has room that it does not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub id: Box<str>,
    pub hostname: Box<str>,
    pub labels: Shared<Labels>,
    /// SHA-256 of its key.
    pub key_hash: [u8; 32],
    pub enrolled_ms: i64,
    pub held: Option<Held>,
}

/// All endpoints of a shard and what they share.
#[derive(Debug, Default)]
pub struct Fleet {
    pub rows: Rows,
    pub images: Images,
    pub classes: classes::Classes,
    /// What endpoints have alike beside their rows.
    pub sharing: Sharing,
    gathering: gather::Gathering,
    review: thin::Review,
    index: Index,
    endpoints: Vec<Option<Endpoint>>,
    /// Numbers below the highest that no endpoint has.
    free: RoaringBitmap,
    names: Names,
    watch: Option<Watch>,
    watches: u64,
}

/// Endpoints that came, changed or went since somebody began to look, in the order in which they did.
#[derive(Debug)]
struct Watch {
    number: u64,
    touched: Vec<EndpointId>,
}

/// What [`Fleet::hold`] changed beside the endpoint.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub founded: Option<ImageId>,
    pub abandoned: Option<ImageId>,
}

fn slot(id: EndpointId) -> usize {
    id.0 as usize
}

/// The id of an endpoint that is there.
fn name(endpoints: &[Option<Endpoint>], at: EndpointId) -> &str {
    endpoints.get(slot(at)).and_then(Option::as_ref).map_or("", |e| &e.id)
}

impl Fleet {
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.len() == 0
    }

    pub fn find(&self, id: &str) -> Option<EndpointId> {
        self.names.find(id, |at| name(&self.endpoints, at))
    }

    pub fn get(&self, id: EndpointId) -> Option<&Endpoint> {
        self.endpoints.get(slot(id))?.as_ref()
    }

    pub fn get_mut(&mut self, id: EndpointId) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(slot(id))?.as_mut()
    }

    /// All endpoints by id.
    pub fn iter(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        self.names.iter().filter_map(|at| Some((at, self.get(at)?)))
    }

    /// Those after an id, in the order of ids: for pages.
    pub fn after<'f>(&'f self, id: &str) -> impl Iterator<Item = (EndpointId, &'f Endpoint)> + use<'f> {
        let from = self.names.after(id, |at| name(&self.endpoints, at));
        self.names.from(from).filter_map(|at| Some((at, self.get(at)?)))
    }

    /// Adds an endpoint, or replaces one of the same id that holds nothing yet.
    pub fn insert(&mut self, endpoint: Endpoint) -> EndpointId {
        let known = self.find(&endpoint.id);
        // INVARIANT: the lowest number that is free, whatever happened before a restart; and limits.endpoints is far below 2^32.
        let at = known.or_else(|| self.free.min().map(EndpointId));
        self.put(at.unwrap_or_else(|| EndpointId(u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX))), known, endpoint)
    }

    fn put(&mut self, at: EndpointId, known: Option<EndpointId>, endpoint: Endpoint) -> EndpointId {
        if self.endpoints.len() <= slot(at) {
            self.endpoints.resize_with(slot(at) + 1, || None);
        }
        self.free.remove(at.0);
        let Some(place) = self.endpoints.get_mut(slot(at)) else { return at };
        let before = place.take();
        let labels = before.as_ref().map(|e| &*e.labels);
        self.index.labelled_anew(at, labels.unwrap_or(&Labels::new()), &endpoint.labels);
        self.index.moved(at, before.as_ref().and_then(|e| e.held.as_ref()), endpoint.held.as_ref());
        *place = Some(endpoint);
        self.touch(at);
        if known.is_none() {
            let endpoints = &self.endpoints;
            self.names.insert(at, |at| name(endpoints, at));
        }
        at
    }

    /// An endpoint that is there says anew what it is.
    pub fn describe(&mut self, id: EndpointId, hostname: Box<str>, labels: Shared<Labels>, key_hash: [u8; 32]) {
        if let Some(Some(endpoint)) = self.endpoints.get_mut(slot(id)) {
            self.index.labelled_anew(id, &endpoint.labels, &labels);
            (endpoint.hostname, endpoint.labels, endpoint.key_hash) = (hostname, labels, key_hash);
            self.touch(id);
        }
    }

    /// The last scan of an endpoint is this one from now on.
    pub fn place(&mut self, id: EndpointId, held: Held) {
        if let Some(Some(endpoint)) = self.endpoints.get_mut(slot(id)) {
            let before = endpoint.held.replace(held);
            self.index.moved(id, before.as_ref(), endpoint.held.as_ref());
            self.touch(id);
        }
    }

    /// Notes from now on which endpoints are touched. The number of this watch; one before it ends.
    pub fn watch(&mut self) -> u64 {
        self.watches += 1;
        self.watch = Some(Watch { number: self.watches, touched: Vec::new() });
        self.watches
    }

    pub fn unwatch(&mut self) {
        self.watch = None;
    }

    pub fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// The endpoints that were touched since a watch began, some of them again and again; nothing if it has ended.
    pub fn touched(&self, watch: u64) -> Option<&[EndpointId]> {
        self.watch.as_ref().filter(|w| w.number == watch).map(|w| w.touched.as_slice())
    }

    fn touch(&mut self, at: EndpointId) {
        const ROUNDS: usize = 4;
        let most = ROUNDS * self.endpoints.len() + (1 << 16);
        if let Some(watch) = &mut self.watch {
            watch.touched.push(at);
            // Whoever watches is far too slow, or has gone.
            if watch.touched.len() > most {
                self.watch = None;
            }
        }
    }

    /// One more than the highest number of an endpoint.
    pub fn places(&self) -> u32 {
        u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX)
    }

    /// Who has what.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The same, made of the whole fleet: what [`Fleet::index`] must be.
    pub fn index_anew(&self) -> Index {
        let mut index = Index::default();
        self.rows.iter().for_each(|(id, table, _)| index.restored(id, table));
        self.images.iter().for_each(|(id, image)| index.founded(id, &image.rows));
        for (at, endpoint) in self.iter() {
            index.labelled_anew(at, &Labels::new(), &endpoint.labels);
            index.moved(at, None, endpoint.held.as_ref());
        }
        index
    }

    /// Takes a row as [`Rows::intern`] does.
    pub fn intern(&mut self, new: &NewRow, canonical: &[u8], said: Said, limits: &Limits) -> (RowId, bool) {
        let (entry, fresh) = self.rows.intern(new, canonical, said);
        if fresh {
            self.index.came(self.rows.canonical(entry), &new.row, limits.index_entries);
        }
        (entry, fresh)
    }

    /// Frees rows as [`Rows::sweep`] does.
    pub fn sweep(&mut self) -> Vec<RowId> {
        let freed = self.rows.sweep();
        self.index.freed(&freed);
        freed
    }

    /// Takes an endpoint out. Its image, if that was the last one there.
    pub fn remove(&mut self, id: EndpointId) -> Option<(Endpoint, Moved)> {
        self.get(id)?;
        let endpoints = &self.endpoints;
        self.names.remove(id, |at| name(endpoints, at));
        let endpoint = self.endpoints.get_mut(slot(id))?.take()?;
        self.touch(id);
        self.free.insert(id.0);
        let mut moved = Moved::default();
        self.index.labelled_anew(id, &endpoint.labels, &Labels::new());
        self.index.moved(id, endpoint.held.as_ref(), None);
        if let Some(held) = &endpoint.held {
            held.plus.iter().for_each(|r| self.rows.release(*r));
            self.classes.leave(held.class);
            moved.abandoned = self.leave_image(held.image);
        }
        Some((endpoint, moved))
    }

    /// The rows of an endpoint's last scan, sorted by id.
    pub fn rows_of(&self, held: &Held) -> Vec<RowId> {
        self.images.get(held.image).map(|i| image::apply(&i.rows, &held.plus, &held.minus)).unwrap_or_default()
    }

    /// How many rows they are.
    pub fn row_count(&self, held: &Held) -> usize {
        self.images.get(held.image).map_or(0, |i| (i.rows.len() + held.plus.len()).saturating_sub(held.minus.len()))
    }

    /// The rows that an endpoint has and nobody else.
    pub fn alone(&self, held: &Held) -> Vec<RowId> {
        let alone = |row: &&RowId| self.rows.is_alone(**row);
        let mut rows: Vec<RowId> = held.plus.iter().filter(alone).copied().collect();
        if let Some(image) = self.images.get(held.image).filter(|i| i.endpoints <= 1) {
            rows.extend(image.rows.iter().filter(alone).filter(|r| held.minus.binary_search(r).is_err()));
        }
        rows
    }

    /// What an endpoint's rows say to the terms of the present pack.
    pub fn hits_of<'f>(&'f self, held: &'f Held) -> impl Iterator<Item = crate::pack::predicate::Hit> + 'f {
        let image = self.images.get(held.image).into_iter().flat_map(|i| i.says(&held.minus));
        image.chain(held.plus.iter().flat_map(|r| self.rows.hits(*r)).copied())
    }

    /// Keeps an endpoint at its image with other deviations.
    pub fn shift(&mut self, before: &Held, plus: &[RowId]) {
        plus.iter().for_each(|r| self.rows.retain(*r));
        before.plus.iter().for_each(|r| self.rows.release(*r));
    }

    /// Asks every row the terms of a new pack.
    pub fn ask_all(&mut self, pack: &crate::pack::Pack, limits: &crate::limits::Limits) {
        self.rows.ask_all(pack, limits);
        self.images.ask_all(&self.rows);
    }

    /// Asks every row what it says of the patches of a new catalog.
    pub fn note_all(&mut self, catalog: &crate::patch::catalog::Catalog, limits: &crate::limits::Limits) {
        self.rows.note_all(catalog, limits);
        self.images.note_all(&self.rows);
    }

    /// Expresses a sorted row set as an image and deviations: the nearest known image if one is near, else a new one in the order of the upload. The image that
    /// the endpoint has already is left only for one that is clearly nearer. The rows that it deviates by are held.
    pub fn hold(&mut self, before: Option<&Held>, sorted: &[RowId], order: &[RowId]) -> (ImageId, Box<[RowId]>, Box<[RowId]>, Moved) {
        let near = |images: &Images, id: ImageId| {
            let image = images.get(id)?;
            let (plus, minus) = image::difference(&image.rows, sorted);
            is_near(plus.len() + minus.len(), sorted.len()).then_some((id, plus, minus))
        };
        let mut moved = Moved::default();
        let present = before.and_then(|h| near(&self.images, h.image));
        let nearest = self.images.nearest(sorted).filter(|id| present.as_ref().is_none_or(|p| p.0 != *id));
        let chosen = match (present, nearest.and_then(|id| near(&self.images, id))) {
            (Some(present), Some(other)) => {
                let far = |(_, plus, minus): &(ImageId, Vec<RowId>, Vec<RowId>)| plus.len() + minus.len();
                Some(if far(&other) + far(&other) / 4 + 8 < far(&present) { other } else { present })
            }
            (present, other) => present.or(other),
        };
        let (image, plus, minus) = chosen.unwrap_or_else(|| {
            let id = self.images.found(order.to_vec(), &mut self.rows);
            if let Some(image) = self.images.get(id) {
                self.index.founded(id, &image.rows);
            }
            moved.founded = Some(id);
            (id, Vec::new(), Vec::new())
        });
        plus.iter().for_each(|r| self.rows.retain(*r));
        self.images.join(image);
        if let Some(before) = before {
            before.plus.iter().for_each(|r| self.rows.release(*r));
            moved.abandoned = self.leave_image(before.image);
        }
        (image, plus.into(), minus.into(), moved)
    }

    /// An endpoint is no more at an image. The image, if it was the last one there.
    fn leave_image(&mut self, image: ImageId) -> Option<ImageId> {
        if let Some(last) = self.images.get(image).filter(|i| i.endpoints <= 1) {
            self.index.abandoned(image, &last.rows);
        }
        let gone = self.images.leave(image, &mut self.rows);
        if gone {
            self.gathering.forget(image);
        }
        gone.then_some(image)
    }

    /// An endpoint's last scan in parsed form, for the definition of a verdict and for people.
    pub fn scan_of(&self, endpoint: &Endpoint, limits: &crate::limits::Limits) -> crate::scan::Scan {
        let Some(held) = &endpoint.held else { return crate::scan::Scan { endpoint: endpoint.id.to_string(), ..Default::default() } };
        self.scan_from(&endpoint.id, &self.rows_of(held), &held.tables, None, limits)
    }

    /// The same from a row set; with the rows of only some tables, if that is all that is read.
    pub fn scan_from(
        &self,
        endpoint: &str,
        rows: &[RowId],
        tables: &Tables,
        only: Option<&BTreeSet<TableId>>,
        limits: &crate::limits::Limits,
    ) -> crate::scan::Scan {
        use crate::scan::{Scan, TableData};
        let mut scan = Scan { endpoint: endpoint.to_owned(), ..Scan::default() };
        scan.tables.extend(tables.collected.iter().map(|t| (*t, TableData::Rows(Vec::new()))));
        scan.tables.extend(tables.failed.iter().map(|(t, why)| (*t, TableData::Failed(why.clone()))));
        for id in rows {
            if let Some(table) = self.rows.table(*id)
                && only.is_none_or(|o| o.contains(&table))
                && let Some(row) = rows::parse(table, self.rows.bytes(*id), limits)
            {
                scan.push(row);
            }
        }
        scan.normalise();
        scan
    }
}
