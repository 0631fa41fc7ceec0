//! Who has what: `row -> images and deviations -> endpoints`, kept as endpoints come, change and go.
//!
//! An endpoint is an image with rows beside it (plus) and rows that it lacks (minus), and so is the index: under each image the endpoints that have it, as a bitmap;
//! under each row the images that hold it, the endpoints that have it beside their image, and those that lack it. That takes a few bytes a deviation, whatever the
//! number of rows an endpoint has. Beside it: endpoints by labels, rows by table, and by their values in columns that questions have wanted (`column`).
//!
//! INVARIANT: it is what [`super::Fleet::index_anew`] makes of the fleet; tests/inverted.rs holds it.

pub mod column;
pub mod postings;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;

use super::image::ImageId;
use super::rows::RowId;
use super::shared::{Labels, SharedId};
use super::{Endpoint, EndpointId, Held};
use crate::pack::WHOLE_KEY;
use crate::pack::program::TableStates;
use crate::scan::Row;
use crate::scan::table::{TABLES, TableId};
use column::{Column, Hashed, hashed};
use postings::{Numbers, Postings, bitmap_bytes};

/// Position of a [`Cluster`]; others get it when the cluster is empty.
pub type ClusterId = u32;

/// No cluster: an endpoint without a scan.
pub const NONE: ClusterId = ClusterId::MAX;

/// Endpoints of one image whose tables were collected alike: beside their deviations, every question has one answer for them.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub image: ImageId,
    pub states: TableStates,
    pub endpoints: RoaringBitmap,
}

#[derive(Debug, Default)]
pub struct Index {
    clusters: Vec<Cluster>,
    free: Vec<ClusterId>,
    by_place: HashMap<(ImageId, TableStates), ClusterId>,
    /// Of each endpoint.
    of: Vec<ClusterId>,
    images: Postings,
    plus: Postings,
    minus: Postings,
    labels: BTreeMap<Box<str>, BTreeMap<Box<str>, RoaringBitmap>>,
    /// The rows of each table, as they came.
    tables: Vec<Vec<RowId>>,
    columns: Columns,
}

fn slot(n: u32) -> usize {
    n as usize
}

impl Index {
    pub fn clusters(&self) -> impl Iterator<Item = (ClusterId, &Cluster)> {
        (0..).zip(&self.clusters).filter(|(_, c)| !c.endpoints.is_empty())
    }

    /// One more than the highest position of a cluster.
    pub fn cluster_places(&self) -> usize {
        self.clusters.len()
    }

    pub fn cluster(&self, id: ClusterId) -> Option<&Cluster> {
        self.clusters.get(slot(id))
    }

    /// The cluster of an endpoint, or [`NONE`].
    pub fn cluster_of(&self, endpoint: u32) -> ClusterId {
        self.of.get(slot(endpoint)).copied().unwrap_or(NONE)
    }

    /// Endpoints that have sent a scan.
    pub fn held(&self) -> RoaringBitmap {
        use roaring::MultiOps;
        self.clusters.iter().map(|c| &c.endpoints).union()
    }

    /// Images that hold a row.
    pub fn images_with(&self, row: RowId) -> Numbers<'_> {
        self.images.of(row)
    }

    /// Endpoints that have a row beside their image.
    pub fn plus(&self, row: RowId) -> Numbers<'_> {
        self.plus.of(row)
    }

    /// Endpoints whose image holds a row that they lack.
    pub fn minus(&self, row: RowId) -> Numbers<'_> {
        self.minus.of(row)
    }

    /// How many endpoints have each row beside their image.
    pub(super) fn plus_counts(&self) -> impl Iterator<Item = (RowId, u32)> {
        self.plus.counts()
    }

    /// Endpoints with a label.
    pub fn labelled(&self, name: &str, value: &str) -> Option<&RoaringBitmap> {
        self.labels.get(name)?.get(value)
    }

    /// The rows of a table, in the order in which they came. INVARIANT: the ones that were there stay at the front, until the epoch of the rows changes.
    pub fn rows(&self, table: TableId) -> &[RowId] {
        self.tables.get(usize::from(table.0)).map_or(&[], Vec::as_slice)
    }

    pub fn column(&self, table: TableId, column: u8) -> Option<&Column> {
        self.columns.at(table, column)?.get()
    }

    /// Keeps a column from now on, of all rows that the table has; unless columns take more than they may.
    pub fn keep_column(&self, table: TableId, column: u8, entries: Vec<(Hashed, RowId)>, most: usize) {
        if !self.columns.full && entries.len() == self.rows(table).len() && self.columns.entries() + entries.len() <= most {
            // Another question may have been faster.
            if let Some(at) = self.columns.at(table, column) {
                at.get_or_init(|| Column::new(entries));
            }
        }
    }

    /// A row that is there from now on.
    pub(super) fn came(&mut self, id: RowId, row: &Row, most: usize) {
        self.restored(id, row.table);
        self.columns.add(id, row, most);
    }

    /// The same of one that was stored; no question has been asked yet.
    pub(super) fn restored(&mut self, id: RowId, table: TableId) {
        if self.tables.len() < TABLES.len() {
            self.tables.resize_with(TABLES.len(), Vec::new);
        }
        if let Some(rows) = self.tables.get_mut(usize::from(table.0)) {
            rows.push(id);
        }
    }

    /// Rows that nothing holds any more.
    pub(super) fn freed(&mut self, rows: &[RowId]) {
        let gone: HashSet<RowId> = rows.iter().copied().collect();
        self.tables.iter_mut().for_each(|rows| rows.retain(|row| !gone.contains(row)));
        self.columns.forget(&gone);
    }

    /// All images that are stored.
    pub(super) fn restore_images<'i>(&mut self, images: impl Iterator<Item = (ImageId, &'i [RowId])> + Clone) {
        self.images = Postings::sorted(|| images.clone());
    }

    /// All endpoints that are stored, in the places of their numbers.
    pub(super) fn restore_endpoints(&mut self, endpoints: &[Option<Endpoint>]) {
        let there = || (0..).zip(endpoints).filter_map(|(at, e)| Some((at, e.as_ref()?)));
        let held = || there().filter_map(|(at, e): (u32, &Endpoint)| Some((at, e.held.as_ref()?)));
        let sort = || {
            rayon::join(
                || Postings::sorted(|| held().map(|(at, h)| (at, &*h.plus))),
                || Postings::sorted(|| held().map(|(at, h)| (at, &*h.minus))),
            )
        };
        let (_, (plus, minus)) = rayon::join(|| self.restore_clusters(endpoints), sort);
        (self.plus, self.minus) = (plus, minus);
    }

    /// Who is where, and has which labels.
    fn restore_clusters(&mut self, endpoints: &[Option<Endpoint>]) {
        let there = || (0..).zip(endpoints).filter_map(|(at, e)| Some((at, e.as_ref()?)));
        let held = there().filter_map(|(at, e): (u32, &Endpoint)| Some((at, e.held.as_ref()?)));
        self.of.reserve(endpoints.len());
        held.for_each(|(at, h)| self.settle(at, Some((h.image, h.tables.states()))));
        let mut alike: HashMap<SharedId, (&Labels, RoaringBitmap)> = HashMap::new();
        for (at, endpoint) in there() {
            let of = alike.entry(endpoint.labels.id()).or_insert_with(|| (&endpoint.labels, RoaringBitmap::new()));
            push(&mut of.1, at);
        }
        for (labels, endpoints) in alike.values() {
            for (name, value) in *labels {
                let values = self.labels.entry(name.as_str().into()).or_default();
                *values.entry(value.as_str().into()).or_default() |= endpoints;
            }
        }
        self.compact();
    }

    /// An image that is there from now on.
    pub(super) fn founded(&mut self, image: ImageId, rows: &[RowId]) {
        rows.iter().for_each(|row| self.images.insert(*row, image));
    }

    pub(super) fn abandoned(&mut self, image: ImageId, rows: &[RowId]) {
        rows.iter().for_each(|row| self.images.remove(*row, image));
    }

    /// The last scan of an endpoint is another one.
    pub(super) fn moved(&mut self, at: EndpointId, from: Option<&Held>, to: Option<&Held>) {
        let EndpointId(at) = at;
        let (empty, stays): (&[RowId], bool) = (&[], from.map(|h| h.image) == to.map(|h| h.image));
        if !stays || from.map(|h| &h.tables) != to.map(|h| &h.tables) {
            self.settle(at, to.map(|h| (h.image, h.tables.states())));
        }
        let before = from.map_or((empty, empty), |h| (&*h.plus, &*h.minus));
        let after = to.map_or((empty, empty), |h| (&*h.plus, &*h.minus));
        replace(&mut self.plus, at, before.0, after.0);
        replace(&mut self.minus, at, before.1, after.1);
    }

    /// Moves an endpoint to another cluster.
    fn settle(&mut self, at: u32, to: Option<(ImageId, TableStates)>) {
        if self.of.len() <= slot(at) {
            self.of.resize(slot(at) + 1, NONE);
        }
        let next = to.map_or(NONE, |to| self.cluster_at(to));
        let before = std::mem::replace(&mut self.of[slot(at)], next);
        if before == next {
            return;
        }
        if let Some(cluster) = self.clusters.get_mut(slot(next)) {
            push(&mut cluster.endpoints, at);
        }
        if let Some(cluster) = self.clusters.get_mut(slot(before)) {
            cluster.endpoints.remove(at);
            if cluster.endpoints.is_empty() {
                self.by_place.remove(&(cluster.image, cluster.states));
                self.free.push(before);
            }
        }
    }

    fn cluster_at(&mut self, place: (ImageId, TableStates)) -> ClusterId {
        if let Some(id) = self.by_place.get(&place) {
            return *id;
        }
        let cluster = Cluster { image: place.0, states: place.1, endpoints: RoaringBitmap::new() };
        let id = match self.free.pop() {
            Some(id) => {
                self.clusters[slot(id)] = cluster;
                id
            }
            None => {
                self.clusters.push(cluster);
                // INVARIANT: no more clusters than endpoints, which are numbered by u32.
                u32::try_from(self.clusters.len() - 1).unwrap_or(NONE)
            }
        };
        self.by_place.insert(place, id);
        id
    }

    /// An endpoint has other labels.
    pub(super) fn labelled_anew(&mut self, at: EndpointId, from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) {
        for (name, value) in from.iter().filter(|(name, value)| to.get(*name) != Some(value)) {
            let Some(values) = self.labels.get_mut(name.as_str()) else { continue };
            if let Some(endpoints) = values.get_mut(value.as_str()) {
                endpoints.remove(at.0);
                if endpoints.is_empty() {
                    values.remove(value.as_str());
                }
            }
            if values.is_empty() {
                self.labels.remove(name.as_str());
            }
        }
        for (name, value) in to.iter().filter(|(name, value)| from.get(*name) != Some(value)) {
            if !self.labels.contains_key(name.as_str()) {
                self.labels.insert(name.as_str().into(), BTreeMap::new());
            }
            let Some(values) = self.labels.get_mut(name.as_str()) else { continue };
            match values.get_mut(value.as_str()) {
                Some(endpoints) => drop(endpoints.insert(at.0)),
                None => drop(values.insert(value.as_str().into(), [at.0].into_iter().collect())),
            }
        }
    }

    /// After much has come at once: endpoints that were enrolled behind one another are stored as runs.
    fn compact(&mut self) {
        for cluster in &mut self.clusters {
            cluster.endpoints.optimize();
        }
        self.labels.values_mut().flat_map(BTreeMap::values_mut).for_each(|e| {
            e.optimize();
        });
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        let clusters: usize = self.clusters.iter().map(|c| size_of::<Cluster>() + bitmap_bytes(&c.endpoints)).sum();
        let labels = self.labels.values().flat_map(|values| values.iter().map(|(v, e)| v.len() + 64 + bitmap_bytes(e)));
        let tables: usize = self.tables.iter().map(|rows| rows.capacity() * size_of::<RowId>()).sum();
        clusters
            + labels.sum::<usize>()
            + tables
            + self.of.capacity() * size_of::<ClusterId>()
            + [&self.images, &self.plus, &self.minus].into_iter().map(Postings::bytes).sum::<usize>()
            + self.columns.entries() * size_of::<(Hashed, RowId)>()
    }

    /// What this index has and another one has not, or the other way round: where both are of one fleet, nothing.
    pub fn difference(&self, other: &Index) -> Option<String> {
        let clusters = |index: &Index| -> BTreeMap<(ImageId, TableStates), RoaringBitmap> {
            index.clusters().map(|(_, c)| ((c.image, c.states), c.endpoints.clone())).collect()
        };
        let postings = |p: &Postings| p.iter().map(|(row, n)| (row, n.collect())).collect::<Vec<(RowId, Vec<u32>)>>();
        let tables = |index: &Index| {
            let mut tables: Vec<Vec<RowId>> = TableId::all().map(|t| index.rows(t).to_vec()).collect();
            tables.iter_mut().for_each(|rows| rows.sort_unstable());
            tables
        };
        let places = |index: &Index| {
            let of = (0..).zip(&index.of).filter(|(_, id)| **id != NONE);
            of.map(|(at, id)| (at, index.cluster(*id).map(|c| (c.image, c.states)))).collect::<Vec<(u32, _)>>()
        };
        let differs = [
            ("endpoints of images", clusters(self) != clusters(other)),
            ("images of endpoints", places(self) != places(other)),
            ("images that hold rows", postings(&self.images) != postings(&other.images)),
            ("rows beside images", postings(&self.plus) != postings(&other.plus)),
            ("rows that are lacking", postings(&self.minus) != postings(&other.minus)),
            ("labels", self.labels != other.labels),
            ("rows of tables", tables(self) != tables(other)),
        ];
        differs.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what.to_owned())
    }

    /// The columns that are kept.
    pub fn columns(&self) -> impl Iterator<Item = (TableId, u8, &Column)> {
        self.columns.iter()
    }
}

/// Adds a number, which mostly is higher than all that are there.
fn push(numbers: &mut RoaringBitmap, n: u32) {
    if numbers.try_push(n).is_err() {
        numbers.insert(n);
    }
}

/// Under each row that only the second list has, adds a number; under each that only the first has, takes it away. Both are sorted.
fn replace(postings: &mut Postings, n: u32, before: &[RowId], after: &[RowId]) {
    before.iter().filter(|row| after.binary_search(row).is_err()).for_each(|row| postings.remove(*row, n));
    after.iter().filter(|row| before.binary_search(row).is_err()).for_each(|row| postings.insert(*row, n));
}

/// One place for each column of each table, and for its key.
#[derive(Debug)]
struct Columns {
    tables: Vec<Vec<OnceLock<Column>>>,
    /// They took more than they may, and none is kept until rows are freed.
    full: bool,
}

impl Default for Columns {
    fn default() -> Columns {
        let places = |t: TableId| std::iter::repeat_with(OnceLock::new).take(t.table().columns.len() + 1).collect();
        Columns { tables: TableId::all().map(places).collect(), full: false }
    }
}

/// Where a column is among the places of its table; the key is the first.
fn column_place(column: u8) -> usize {
    if column == WHOLE_KEY { 0 } else { usize::from(column) + 1 }
}

impl Columns {
    fn at(&self, table: TableId, column: u8) -> Option<&OnceLock<Column>> {
        self.tables.get(usize::from(table.0))?.get(column_place(column))
    }

    fn iter(&self) -> impl Iterator<Item = (TableId, u8, &Column)> {
        TableId::all().zip(&self.tables).flat_map(|(table, columns)| {
            let numbers = std::iter::once(WHOLE_KEY).chain(0..);
            numbers.zip(columns).filter_map(move |(number, column)| Some((table, number, column.get()?)))
        })
    }

    fn entries(&self) -> usize {
        self.iter().map(|(.., column)| column.len()).sum()
    }

    fn add(&mut self, id: RowId, row: &Row, most: usize) {
        let Some(columns) = self.tables.get_mut(usize::from(row.table.0)) else { return };
        let mut added = false;
        for (number, column) in std::iter::once(WHOLE_KEY).chain(0..).zip(columns) {
            if let Some(column) = column.get_mut() {
                column.add(hashed(row, number), id);
                added = true;
            }
        }
        // Rows are in the hands of whoever uploads. Questions are slower without columns, and have the same answers.
        if added && id.is_multiple_of(1024) && self.entries() > most {
            *self = Columns { full: true, ..Columns::default() };
        }
    }

    fn forget(&mut self, gone: &HashSet<RowId>) {
        self.full = false;
        self.tables.iter_mut().flatten().filter_map(OnceLock::get_mut).for_each(|column| column.forget(gone));
    }
}
