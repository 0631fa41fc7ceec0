//! The distinct rows of the whole fleet: each is kept, parsed and judged once.
//!
//! `raw bytes -> entry -> canonical row`. An entry is a text that some endpoint sent. The canonical form of a row is itself an entry;
//! other spellings of it are aliases that point there. Ids of freed rows are used again, but only after [`Rows::sweep`], which counts up
//! `epoch`: who resolved rows under an earlier epoch resolves them again.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use rayon::prelude::*;

use crate::pack::Pack;
use crate::pack::predicate::Hit;
use crate::patch::Note;
use crate::patch::catalog::Catalog;
use crate::scan::digest::Digest;
use crate::scan::native::NewRow;
use crate::scan::table::TableId;

/// Number of an interned row, or of another spelling of one.
pub type RowId = u32;

#[derive(Debug)]
struct Entry {
    table: TableId,
    bytes: Box<[u8]>,
    /// Itself, or the row that this is another spelling of.
    canonical: RowId,
    /// Images and deviations that hold it; 0 for aliases.
    references: u32,
    /// The row that came after it in the image that was founded last, [`NO_ROW`] if none did. A guess: what it means may have changed.
    next: RowId,
    digest: Digest,
}

/// What a row says: asked once, when it is new, and again under another pack or catalog.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub hits: Box<[Hit]>,
    pub notes: Box<[Note]>,
}

impl Said {
    /// What a row says to a pack and to a catalog.
    pub fn of(pack: &Pack, catalog: &Catalog, row: &crate::scan::Row) -> Said {
        let notes = if super::sums::tells_of_patches(row.table) { catalog.ask(row) } else { Box::default() };
        Said { hits: pack.ask(row).into(), notes }
    }
}

#[derive(Debug)]
pub struct Rows {
    entries: Vec<Option<Entry>>,
    /// What rows say to the terms of the present pack. By row, and apart from them, so that another pack's answers take their place at once.
    hits: Vec<Box<[Hit]>>,
    /// What they say of the patches of the present catalog, sorted, and apart in the same way. Empty, and then without an allocation, for most rows.
    notes: Vec<Box<[Note]>>,
    free: Vec<RowId>,
    /// By table and bytes. INVARIANT: a hash is never proof; every find compares the bytes. The hash is keyed for this process.
    by_bytes: HashTable<RowId>,
    hasher: RandomState,
    aliases: usize,
    unreferenced: usize,
    bytes: Bytes,
    epoch: u64,
    /// What the last sweep freed, sorted.
    freed: Vec<RowId>,
}

/// Bytes of texts.
#[derive(Clone, Copy, Debug, Default)]
struct Bytes {
    all: usize,
    aliases: usize,
    unreferenced: usize,
}

impl Default for Rows {
    fn default() -> Rows {
        Rows {
            entries: Vec::new(),
            hits: Vec::new(),
            notes: Vec::new(),
            free: Vec::new(),
            by_bytes: HashTable::new(),
            hasher: RandomState::default(),
            aliases: 0,
            unreferenced: 0,
            bytes: Bytes::default(),
            epoch: 0,
            freed: Vec::new(),
        }
    }
}

const NO_ROW: RowId = RowId::MAX;

fn slot(id: RowId) -> usize {
    id as usize
}

impl Rows {
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len() - self.aliases
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that nothing holds any more and a sweep would free.
    pub fn unreferenced(&self) -> usize {
        self.unreferenced
    }

    /// Bytes of the texts that are kept, of rows and of other spellings.
    pub fn text_bytes(&self) -> usize {
        self.bytes.all
    }

    /// Whether nothing but one image or one endpoint holds it.
    pub fn is_alone(&self, id: RowId) -> bool {
        self.entry(id).is_some_and(|e| e.references <= 1)
    }

    /// Whether so much is kept that nothing holds, or in so many spellings, that a look at all rows pays. One spelling beside the canonical one is what a collector of
    /// another kind has of each row, and stays.
    pub fn wants_sweep(&self) -> bool {
        const FEW: usize = 4096;
        const SMALL: usize = 16 << 20;
        let (rows, bytes) = (self.len(), self.bytes);
        let many = |n: usize, few: usize, of: usize| n > few && n > of;
        many(self.unreferenced, FEW, rows / 4)
            || many(self.aliases, FEW, rows + rows / 4)
            || many(bytes.unreferenced, SMALL, bytes.all / 4)
            || many(bytes.aliases, SMALL, 2 * (bytes.all - bytes.aliases))
            || (self.unreferenced == rows && self.unreferenced + self.aliases > 0)
    }

    /// Changes whenever ids may have come to mean something else.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether ids that were resolved under an epoch mean the same now: for certain after one sweep at most. Others than ids may be among them.
    pub fn are_still(&self, epoch: u64, ids: &[RowId]) -> bool {
        match self.epoch.checked_sub(epoch) {
            Some(0) => true,
            Some(1) => ids.iter().all(|id| self.freed.binary_search(id).is_err()),
            _ => false,
        }
    }

    fn entry(&self, id: RowId) -> Option<&Entry> {
        self.entries.get(slot(id))?.as_ref()
    }

    /// An entry by the bytes that were sent.
    pub fn find(&self, table: TableId, bytes: &[u8]) -> Option<RowId> {
        let same = |id: &RowId| self.entry(*id).is_some_and(|e| e.table == table && *e.bytes == *bytes);
        self.by_bytes.find(self.hasher.hash_one((table.0, bytes)), same).copied()
    }

    /// Whether a text begins with an entry; its length.
    pub fn begins(&self, id: RowId, table: TableId, text: &[u8]) -> Option<usize> {
        let entry = self.entry(id)?;
        (entry.table == table && text.starts_with(&entry.bytes)).then_some(entry.bytes.len())
    }

    pub fn canonical(&self, id: RowId) -> RowId {
        self.entry(id).map_or(id, |e| e.canonical)
    }

    /// The row that is likely to come after this one.
    pub fn next(&self, id: RowId) -> Option<RowId> {
        self.entry(id).map(|e| e.next).filter(|next| *next != NO_ROW)
    }

    pub fn set_next(&mut self, id: RowId, next: RowId) {
        if let Some(Some(e)) = self.entries.get_mut(slot(id)) {
            e.next = next;
        }
    }

    pub fn table(&self, id: RowId) -> Option<TableId> {
        self.entry(id).map(|e| e.table)
    }

    pub fn bytes(&self, id: RowId) -> &[u8] {
        self.entry(id).map_or(b"", |e| &e.bytes)
    }

    pub fn digest(&self, id: RowId) -> Digest {
        self.entry(id).map_or_else(Digest::default, |e| e.digest)
    }

    pub fn hits(&self, id: RowId) -> &[Hit] {
        self.hits.get(slot(id)).map_or(&[], |hits| hits)
    }

    pub fn notes(&self, id: RowId) -> &[Note] {
        self.notes.get(slot(id)).map_or(&[], |notes| notes)
    }

    /// What all rows say of patches; those that say nothing left out.
    pub fn all_notes(&self) -> impl Iterator<Item = &[Note]> {
        self.notes.iter().map(|notes| &**notes).filter(|n| !n.is_empty())
    }

    /// All canonical rows, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (RowId, TableId, &[u8])> {
        let ids = 0..RowId::MAX;
        ids.zip(&self.entries).filter_map(|(id, e)| e.as_ref().filter(|e| e.canonical == id).map(|e| (id, e.table, &*e.bytes)))
    }

    /// Takes a row that was new when it was decoded. Gives the entry of the text as sent, and whether the row was new to the fleet.
    pub fn intern(&mut self, new: &NewRow, canonical: &[u8], said: Said) -> (RowId, bool) {
        let table = new.row.table;
        if let Some(id) = self.find(table, &new.raw) {
            return (id, false);
        }
        let (row, fresh) = match self.find(table, canonical) {
            Some(id) => (id, false),
            None => {
                let digest = Digest::of_row(table, canonical);
                self.unreferenced += 1;
                self.bytes.unreferenced += canonical.len();
                (self.insert(table, canonical.into(), None, digest, said), true)
            }
        };
        if *new.raw == *canonical {
            return (row, fresh);
        }
        self.aliases += 1;
        self.bytes.aliases += new.raw.len();
        let alias = self.insert(table, new.raw.clone(), Some(row), Digest::default(), Said::default());
        (alias, fresh)
    }

    /// Puts stored rows back under their ids.
    pub(super) fn restore(&mut self, stored: Vec<(RowId, TableId, Box<[u8]>)>) {
        let Rows { entries, hasher, by_bytes, .. } = self;
        let entry = |(id, table, bytes): (RowId, TableId, Box<[u8]>)| {
            let (digest, hash) = (Digest::of_row(table, &bytes), hasher.hash_one((table.0, &*bytes)));
            (hash, id, Entry { table, bytes, canonical: id, references: 0, next: NO_ROW, digest })
        };
        let made: Vec<(u64, RowId, Entry)> = stored.into_par_iter().map(entry).collect();
        let highest = made.iter().map(|(_, id, _)| slot(*id) + 1).max().unwrap_or(0);
        entries.resize_with(highest.max(entries.len()), || None);
        self.unreferenced += made.len();
        by_bytes.reserve(made.len(), |_| 0);
        for (hash, id, entry) in made {
            self.bytes.all += entry.bytes.len();
            self.bytes.unreferenced += entry.bytes.len();
            entries[slot(id)] = Some(entry);
            // There is room, so that nothing is hashed again.
            by_bytes.insert_unique(hash, id, |_| hash);
        }
        let ids = 0..RowId::MAX;
        self.free = ids.zip(&self.entries).filter(|(_, e)| e.is_none()).map(|(id, _)| id).rev().collect();
    }

    fn insert(&mut self, table: TableId, bytes: Box<[u8]>, of: Option<RowId>, digest: Digest, said: Said) -> RowId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            // INVARIANT: limits.fleet_rows is at most 2^30.
            RowId::try_from(self.entries.len() - 1).unwrap_or(RowId::MAX)
        });
        let Said { hits, notes } = said;
        let canonical = of.unwrap_or(id);
        self.bytes.all += bytes.len();
        self.entries[slot(id)] = Some(Entry { table, bytes, canonical, references: 0, next: NO_ROW, digest });
        self.say(id, hits);
        self.note(id, notes);
        self.index(id);
        id
    }

    fn say(&mut self, id: RowId, hits: Box<[Hit]>) {
        if self.hits.len() <= slot(id) {
            self.hits.resize_with(slot(id) + 1, Box::default);
        }
        self.hits[slot(id)] = hits;
    }

    fn note(&mut self, id: RowId, notes: Box<[Note]>) {
        if self.notes.len() <= slot(id) {
            self.notes.resize_with(slot(id) + 1, Box::default);
        }
        self.notes[slot(id)] = notes;
    }

    /// Puts what rows say of another catalog, by row, in the place of what they say now, and gives that.
    pub fn replace_notes(&mut self, notes: Vec<Box<[Note]>>) -> Vec<Box<[Note]>> {
        std::mem::replace(&mut self.notes, notes)
    }

    /// Puts the answers to another pack, by row, in the place of the present ones, and gives those.
    pub fn replace_hits(&mut self, hits: Vec<Box<[Hit]>>) -> Vec<Box<[Hit]>> {
        std::mem::replace(&mut self.hits, hits)
    }

    fn index(&mut self, id: RowId) {
        let Rows { entries, by_bytes, hasher, .. } = self;
        let hash = |id: &RowId| entries.get(slot(*id)).and_then(Option::as_ref).map_or(0, |e| hasher.hash_one((e.table.0, &*e.bytes)));
        by_bytes.insert_unique(hash(&id), id, hash);
    }

    pub fn retain(&mut self, id: RowId) {
        if let Some(Some(e)) = self.entries.get_mut(slot(id)) {
            if e.references == 0 {
                self.unreferenced -= 1;
                self.bytes.unreferenced -= e.bytes.len();
            }
            e.references += 1;
        }
    }

    /// Takes so many more holders of each row, by id.
    pub(super) fn retain_many(&mut self, more: impl Iterator<Item = (RowId, u32)>) {
        for (id, more) in more {
            let Some(Some(entry)) = self.entries.get_mut(slot(id)) else { continue };
            if entry.references == 0 {
                self.unreferenced -= 1;
                self.bytes.unreferenced -= entry.bytes.len();
            }
            entry.references += more;
        }
    }

    pub fn release(&mut self, id: RowId) {
        if let Some(Some(e)) = self.entries.get_mut(slot(id)) {
            debug_assert!(e.references > 0, "row {id} released once too often");
            e.references = e.references.saturating_sub(1);
            if e.references == 0 {
                self.unreferenced += 1;
                self.bytes.unreferenced += e.bytes.len();
            }
        }
    }

    /// Frees the rows that nothing holds, and all other spellings. Gives the freed rows.
    pub fn sweep(&mut self) -> Vec<RowId> {
        self.epoch += 1;
        self.freed.clear();
        let mut freed = Vec::new();
        for id in 0..RowId::try_from(self.entries.len()).unwrap_or(RowId::MAX) {
            let Some(entry) = self.entries[slot(id)].as_ref() else { continue };
            let alias = entry.canonical != id;
            if entry.references > 0 && !alias {
                continue;
            }
            let hash = self.hasher.hash_one((entry.table.0, &*entry.bytes));
            if let Ok(found) = self.by_bytes.find_entry(hash, |other| *other == id) {
                found.remove();
            }
            self.bytes.all -= entry.bytes.len();
            self.entries[slot(id)] = None;
            self.say(id, Box::default());
            self.note(id, Box::default());
            self.free.push(id);
            self.freed.push(id);
            if !alias {
                freed.push(id);
            }
        }
        self.aliases = 0;
        self.unreferenced = 0;
        (self.bytes.aliases, self.bytes.unreferenced) = (0, 0);
        freed
    }

    /// Other spellings kept; they are in the hands of whoever uploads, so the caller sweeps when they are too many.
    pub fn aliases(&self) -> usize {
        self.aliases
    }

    /// Asks every row the terms of a new pack, in parallel: the one time that a rule is evaluated.
    pub fn ask_all(&mut self, pack: &Pack, limits: &crate::limits::Limits) {
        self.hits.resize_with(self.entries.len(), Box::default);
        self.entries.par_iter().zip(&mut self.hits).enumerate().for_each(|(at, (entry, hits))| {
            if let Some(entry) = entry.as_ref().filter(|e| slot(e.canonical) == at) {
                *hits = ask(pack, entry.table, &entry.bytes, limits);
            }
        });
    }

    /// Asks every row what it says of the patches of a new catalog, in parallel.
    pub fn note_all(&mut self, catalog: &Catalog, limits: &crate::limits::Limits) {
        self.notes.resize_with(self.entries.len(), Box::default);
        self.entries.par_iter().zip(&mut self.notes).enumerate().for_each(|(at, (entry, notes))| {
            let Some(entry) = entry else { return };
            if slot(entry.canonical) == at && super::sums::tells_of_patches(entry.table) {
                let row = (!catalog.is_empty()).then(|| parse(entry.table, &entry.bytes, limits)).flatten();
                *notes = row.map(|row| catalog.ask(&row)).unwrap_or_default();
            }
        });
    }
}

/// What a canonical row says to a pack.
pub fn ask(pack: &Pack, table: TableId, canonical: &[u8], limits: &crate::limits::Limits) -> Box<[Hit]> {
    parse(table, canonical, limits).map(|row| pack.ask(&row).into()).unwrap_or_default()
}

/// An interned row, parsed again. INVARIANT: canonical bytes always parse.
pub fn parse(table: TableId, canonical: &[u8], limits: &crate::limits::Limits) -> Option<crate::scan::Row> {
    crate::scan::Row::parse(table, std::str::from_utf8(canonical).ok()?, limits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::scan::Row;

    fn new(key: &str, spaced: bool) -> (NewRow, Vec<u8>) {
        let Some(table) = TableId::by_name("sysctl") else { panic!("sysctl") };
        let row = Row::new(table).with("key", key).with("value", "1");
        let canonical = row.canonical();
        let raw = if spaced { format!("{{ \"key\":\"{key}\", \"value\":\"1\" }}").into_bytes() } else { canonical.clone() };
        (NewRow { row, raw: raw.into() }, canonical)
    }

    #[test]
    fn spellings_are_one_row_and_freed_ids_come_back_with_a_new_epoch() {
        let mut rows = Rows::default();
        let (a, a_bytes) = new("a", false);
        let (a2, _) = new("a", true);
        let (b, b_bytes) = new("b", false);
        let (id, fresh) = rows.intern(&a, &a_bytes, Said::default());
        assert!(fresh);
        let (alias, fresh) = rows.intern(&a2, &a_bytes, Said::default());
        assert!(!fresh && alias != id && rows.canonical(alias) == id);
        assert_eq!((rows.len(), rows.aliases()), (1, 1));
        assert_eq!(rows.find(a.row.table, &a2.raw), Some(alias));
        rows.retain(id);
        let (other, _) = rows.intern(&b, &b_bytes, Said::default());
        assert_eq!(rows.sweep(), vec![other]);
        assert_eq!((rows.len(), rows.aliases(), rows.epoch()), (1, 0, 1));
        assert!(rows.are_still(0, &[id]) && rows.are_still(1, &[other]));
        assert!(!rows.are_still(0, &[id, other]) && !rows.are_still(0, &[alias]));
        assert_eq!(rows.find(b.row.table, &b_bytes), None);
        assert_eq!(rows.find(a.row.table, &a_bytes), Some(id));
        let (again, fresh) = rows.intern(&b, &b_bytes, Said::default());
        assert!(fresh && rows.bytes(again) == b_bytes);
        assert!(parse(a.row.table, rows.bytes(id), &Limits::default()).is_some_and(|r| r == a.row));
    }

    #[test]
    fn the_same_bytes_in_another_table_are_another_row() {
        let mut rows = Rows::default();
        let (a, bytes) = new("a", false);
        let Some(sshd) = TableId::by_name("sshd") else { panic!("sshd") };
        let mut moved = a.clone();
        moved.row = Row::new(sshd).with("key", "a").with("value", "1");
        assert_ne!(rows.intern(&a, &bytes, Said::default()).0, rows.intern(&moved, &bytes, Said::default()).0);
    }
}
