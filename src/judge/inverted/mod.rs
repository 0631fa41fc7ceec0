//! A question meets all endpoints: its predicates are asked of distinct rows, and what those say is followed to images, deviations and endpoints.
//!
//! `pack -> `[`Asked`]` (what the fleet's distinct rows say) -> `[`answer`]` (one rule: verdict sets and exact counts)`. No endpoint's rows are looked at: all endpoints of an
//! image have one answer, but for those by whose deviations the question is touched, and most of these deviate alike. INVARIANT: the verdicts are those of
//! [`super::explain`] and [`super::forward`]; tests/inverted.rs and the fuzz target hold it.
//!
//! The fleet is locked for a look at a time. Rows that no index finds are copied a slice at a time and asked beside the lock; what came meanwhile is caught up with under
//! the lock in which the answer is given, so that an answer is of one instant.

mod answer;
mod joined;
mod turned;

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::fleet::Fleet;
use crate::fleet::index::column::{ABSENT, Hashed, fold, hashed};
use crate::fleet::rows::{RowId, parse};
use crate::limits::Limits;
use crate::pack::predicate::Hit;
use crate::pack::{Pack, RuleId, TermId, WHOLE_KEY};
use crate::scan::Row;
use crate::scan::table::TableId;

pub use answer::{Answer, Counts, answer};
pub use joined::{TooManyJoins, Walk};
pub use turned::{Turn, turned};

/// Rows that are parsed and asked at most while the fleet is locked.
const INLINE: usize = 1024;
/// Rows whose kept answers are gathered at most under one lock.
const GATHERED: usize = 200_000;
/// Rows of a slice.
const SLICE: usize = 8192;

fn place(n: u32) -> usize {
    n as usize
}

/// What the distinct rows of a fleet say to some rules of a pack.
#[derive(Debug)]
pub struct Asked {
    pack: Arc<Pack>,
    /// The pack is the fleet's own: what rows say to it is kept with them.
    kept: bool,
    /// By term: whether its answers are heard.
    wanted: Vec<bool>,
    /// By term: whether rows are asked. What they say to the others that are wanted comes by [`Asked::hear`].
    asks: Arc<[bool]>,
    tables: Vec<TableId>,
    /// Under which ids of rows it was asked; others mean other rows.
    epoch: Option<u64>,
    /// How many rows of each table, in the order in which they came, were asked.
    done: BTreeMap<TableId, usize>,
    /// By term.
    said: Vec<Vec<(RowId, u32)>>,
    /// Values met on the way by which later questions find their rows.
    columns: BTreeMap<(TableId, u8), Vec<(Hashed, RowId)>>,
}

/// How far the asking is.
#[derive(Debug)]
pub enum Progress {
    /// Every row was asked.
    Ready,
    /// These rows are next: to be asked beside the lock, and given to [`Asked::take`].
    Behind(Slice),
    /// More rows are to be looked at, under another lock.
    More,
}

/// Rows of one table, copied.
#[derive(Debug)]
pub struct Slice {
    epoch: u64,
    table: TableId,
    from: usize,
    columns: Vec<u8>,
    asks: Arc<[bool]>,
    ids: Vec<RowId>,
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// What the rows of a slice say.
#[derive(Debug)]
pub struct Told {
    epoch: u64,
    table: TableId,
    from: usize,
    columns: Vec<u8>,
    /// For each row its answers and its values in the columns.
    rows: Vec<(RowId, Vec<Hit>, Vec<Hashed>)>,
}

impl Slice {
    /// Asks the rows, in parallel. INVARIANT: called beside the lock, as the threads of the common pool may wait for it.
    pub fn ask(self, pack: &Pack, limits: &Limits) -> Told {
        let rows = self.parts().into_par_iter().map(|part| self.ask_one(pack, part, limits)).collect();
        self.told(rows)
    }

    /// The same on this thread only, for who must leave the others to uploads.
    pub fn ask_alone(self, pack: &Pack, limits: &Limits) -> Told {
        let rows = self.parts().into_iter().map(|part| self.ask_one(pack, part, limits)).collect();
        self.told(rows)
    }

    fn parts(&self) -> Vec<(RowId, usize, usize)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        self.ids.iter().zip(starts.zip(&self.ends)).map(|(id, (start, end))| (*id, start, *end)).collect()
    }

    fn ask_one(&self, pack: &Pack, (id, start, end): (RowId, usize, usize), limits: &Limits) -> (RowId, Vec<Hit>, Vec<Hashed>) {
        match self.text.get(start..end).and_then(|t| parse(self.table, t, limits)) {
            Some(row) => (id, ask_wanted(pack, &self.asks, &row), self.columns.iter().map(|c| hashed(&row, *c)).collect()),
            None => (id, Vec::new(), vec![ABSENT; self.columns.len()]),
        }
    }

    fn told(self, rows: Vec<(RowId, Vec<Hit>, Vec<Hashed>)>) -> Told {
        Told { epoch: self.epoch, table: self.table, from: self.from, columns: self.columns, rows }
    }
}

fn ask_wanted(pack: &Pack, asks: &[bool], row: &Row) -> Vec<Hit> {
    pack.ask_of(row, |term| asks.get(place(term)).is_some_and(|asked| *asked))
}

impl Asked {
    /// Asks these rules of a pack that the fleet has not met.
    pub fn new(pack: Arc<Pack>, rules: &[RuleId]) -> Asked {
        Asked::of(pack, rules, false)
    }

    /// Gathers what rows say to these rules of the fleet's own pack. The caller sees to it that the pack is that of the fleet, under every lock.
    pub fn kept(pack: Arc<Pack>, rules: &[RuleId]) -> Asked {
        Asked::of(pack, rules, true)
    }

    fn of(pack: Arc<Pack>, rules: &[RuleId], kept: bool) -> Asked {
        let mut wanted = vec![false; pack.term_count()];
        let mut tables = Vec::new();
        for term in rules.iter().flat_map(|rule| pack.read_by(*rule)) {
            wanted[place(*term)] = true;
            tables.push(pack.term(*term).table);
        }
        let asks = wanted.as_slice().into();
        Asked::with(pack, kept, wanted, asks, tables)
    }

    /// Asks some terms, and hears what rows say to these and to others.
    pub(crate) fn terms(pack: Arc<Pack>, asks: &[bool], wanted: Vec<bool>) -> Asked {
        let tables = pack.terms().zip(asks).filter(|(_, asked)| **asked).map(|((_, term), _)| term.table).collect();
        Asked::with(pack, false, wanted, asks.into(), tables)
    }

    fn with(pack: Arc<Pack>, kept: bool, wanted: Vec<bool>, asks: Arc<[bool]>, mut tables: Vec<TableId>) -> Asked {
        tables.sort_unstable();
        tables.dedup();
        Asked { pack, kept, wanted, asks, tables, epoch: None, done: BTreeMap::new(), said: Vec::new(), columns: BTreeMap::new() }
    }

    /// How many rows of a table, from the first on, were asked; nothing if the table is of no interest.
    pub(crate) fn done(&self, table: TableId) -> Option<usize> {
        self.tables.contains(&table).then(|| self.done.get(&table).copied().unwrap_or(0))
    }

    pub fn pack(&self) -> &Arc<Pack> {
        &self.pack
    }

    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// What rows say to a term.
    pub(crate) fn said(&self, term: TermId) -> &[(RowId, u32)] {
        self.said.get(place(term)).map_or(&[], Vec::as_slice)
    }

    /// Whether every row of the fleet was asked, as it is now.
    pub fn is_ready(&self, fleet: &Fleet) -> bool {
        self.epoch == Some(fleet.rows.epoch()) && self.tables.iter().all(|t| self.behind(fleet, *t) == 0)
    }

    fn behind(&self, fleet: &Fleet, table: TableId) -> usize {
        fleet.index().rows(table).len().saturating_sub(self.done.get(&table).copied().unwrap_or(0))
    }

    /// Goes on under a lock, as far as that may take.
    pub fn advance(&mut self, fleet: &Fleet, limits: &Limits) -> Progress {
        if self.epoch != Some(fleet.rows.epoch()) {
            self.begin(fleet, limits);
        }
        if self.kept {
            return self.gather(fleet);
        }
        let tables = self.tables.clone();
        if tables.iter().map(|t| self.behind(fleet, *t)).sum::<usize>() > INLINE
            && let Some(table) = tables.iter().find(|t| self.behind(fleet, **t) > 0)
        {
            return Progress::Behind(self.slice(fleet, *table));
        }
        for table in tables {
            let from = self.done.get(&table).copied().unwrap_or(0);
            let rows = fleet.index().rows(table);
            for id in rows.get(from..).unwrap_or_default() {
                if let Some(row) = parse(table, fleet.rows.bytes(*id), limits) {
                    self.hear(*id, &ask_wanted(&self.pack, &self.asks, &row));
                    self.note(*id, &row);
                }
            }
            self.done.insert(table, rows.len());
        }
        for ((table, column), entries) in std::mem::take(&mut self.columns) {
            fleet.index().keep_column(table, column, entries, limits.index_entries);
        }
        Progress::Ready
    }

    /// Starts over: finds the rows that columns find, and leaves the others to be walked.
    fn begin(&mut self, fleet: &Fleet, limits: &Limits) {
        self.epoch = Some(fleet.rows.epoch());
        self.said = vec![Vec::new(); self.wanted.len()];
        self.columns.clear();
        self.done.clear();
        for table in self.tables.clone() {
            let Some(values) = self.pack.finds(table, |term| self.asks[place(term)]) else { continue };
            let Some(rows) = self.find(fleet, table, &values) else { continue };
            for id in rows {
                if self.kept {
                    self.hear(id, fleet.rows.hits(id));
                } else if let Some(row) = parse(table, fleet.rows.bytes(id), limits) {
                    self.hear(id, &ask_wanted(&self.pack, &self.asks, &row));
                }
            }
            self.done.insert(table, fleet.index().rows(table).len());
        }
    }

    /// The rows of a table with one of these values; nothing if a column is not kept yet, or they are too many to be asked under the lock.
    fn find(&mut self, fleet: &Fleet, table: TableId, values: &[(u8, u64)]) -> Option<Vec<RowId>> {
        let (most, index) = (if self.kept { GATHERED } else { INLINE }, fleet.index());
        let mut rows: Vec<RowId> = Vec::new();
        let mut unknown = false;
        for column in values.chunk_by(|a, b| a.0 == b.0) {
            let Some((number, _)) = column.first().copied() else { continue };
            let Some(known) = index.column(table, number) else {
                if !self.kept {
                    self.columns.insert((table, number), Vec::new());
                }
                unknown = true;
                continue;
            };
            column.iter().for_each(|(_, hash)| rows.extend(known.rows(fold(*hash)).take(most + 1)));
            if number != WHOLE_KEY {
                rows.extend(known.rows(ABSENT).take(most + 1));
            }
        }
        rows.sort_unstable();
        rows.dedup();
        (!unknown && rows.len() <= most).then_some(rows)
    }

    /// Copies the next rows of a table.
    fn slice(&self, fleet: &Fleet, table: TableId) -> Slice {
        let from = self.done.get(&table).copied().unwrap_or(0);
        let ids: Vec<RowId> = fleet.index().rows(table).iter().skip(from).take(SLICE).copied().collect();
        let (mut text, mut ends) = (Vec::new(), Vec::with_capacity(ids.len()));
        for id in &ids {
            text.extend_from_slice(fleet.rows.bytes(*id));
            ends.push(text.len());
        }
        let columns = self.columns.keys().filter(|(t, _)| *t == table).map(|(_, column)| *column).collect();
        Slice { epoch: fleet.rows.epoch(), table, from, columns, asks: self.asks.clone(), ids, text, ends }
    }

    /// Takes what a slice came to. It is dropped if it was overtaken.
    pub fn take(&mut self, told: Told) {
        let Told { epoch, table, from, columns, rows } = told;
        if self.epoch != Some(epoch) || self.done.get(&table).copied().unwrap_or(0) != from {
            return;
        }
        self.done.insert(table, from + rows.len());
        for (id, hits, values) in rows {
            self.hear(id, &hits);
            for (column, value) in columns.iter().zip(values) {
                if let Some(entries) = self.columns.get_mut(&(table, *column)) {
                    entries.push((value, id));
                }
            }
        }
    }

    /// Gathers what is kept with the rows.
    fn gather(&mut self, fleet: &Fleet) -> Progress {
        let mut left = GATHERED;
        for table in self.tables.clone() {
            let from = self.done.get(&table).copied().unwrap_or(0);
            let rows = fleet.index().rows(table).get(from..).unwrap_or_default();
            let now = rows.get(..left.min(rows.len())).unwrap_or_default();
            now.iter().for_each(|id| self.hear(*id, fleet.rows.hits(*id)));
            self.done.insert(table, from + now.len());
            left -= now.len();
            if now.len() < rows.len() {
                return Progress::More;
            }
        }
        Progress::Ready
    }

    /// Takes what a row says.
    pub(crate) fn hear(&mut self, id: RowId, hits: &[Hit]) {
        for hit in hits {
            if self.wanted.get(place(hit.term)).is_some_and(|w| *w)
                && let Some(said) = self.said.get_mut(place(hit.term))
            {
                said.push((id, hit.answer));
            }
        }
    }

    fn note(&mut self, id: RowId, row: &Row) {
        for ((table, column), entries) in &mut self.columns {
            if *table == row.table {
                entries.push((hashed(row, *column), id));
            }
        }
    }
}
