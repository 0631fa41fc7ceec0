//! From a value in a column to the rows that have it: built when a question first wants it, then kept as rows come and go.
//!
//! It holds hashes, and so more rows than those meant may be found. INVARIANT: whoever asks looks at the rows themselves; a hash is never proof.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use hashbrown::HashSet;

use crate::fleet::rows::RowId;
use crate::pack::{WHOLE_KEY, hash_of};
use crate::scan::{Row, Value};

/// A value as it is kept. [`ABSENT`]: there is none.
pub type Hashed = u32;

pub const ABSENT: Hashed = 0;

/// Keyed for this process, so that nobody makes rows whose hashes are alike.
pub fn fold(hash: u64) -> Hashed {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    let [a, b, c, d, ..] = KEY.hash_one(hash).to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).max(1)
}

/// What a row has in a column, or as its key.
pub fn hashed(row: &Row, column: u8) -> Hashed {
    if column == WHOLE_KEY {
        return fold(hash_of(row.key().iter().filter_map(Value::as_str)));
    }
    let text = row.values.get(usize::from(column)).and_then(Value::as_str);
    text.map_or(ABSENT, |text| fold(hash_of([text])))
}

/// The rows of one table by their values in one column.
#[derive(Debug, Default)]
pub struct Column {
    /// By value, then by row.
    sorted: Vec<(Hashed, RowId)>,
    /// Not sorted in yet.
    fresh: Vec<(Hashed, RowId)>,
}

impl Column {
    pub fn new(entries: Vec<(Hashed, RowId)>) -> Column {
        let mut sorted = entries;
        sorted.sort_unstable();
        sorted.shrink_to_fit();
        Column { sorted, fresh: Vec::new() }
    }

    pub fn add(&mut self, value: Hashed, row: RowId) {
        self.fresh.push((value, row));
        if self.fresh.len() > 1024 + self.sorted.len() / 64 {
            self.sorted.append(&mut self.fresh);
            self.sorted.sort_unstable();
        }
    }

    pub fn forget(&mut self, gone: &HashSet<RowId>) {
        self.sorted.retain(|(_, row)| !gone.contains(row));
        self.fresh.retain(|(_, row)| !gone.contains(row));
    }

    pub fn len(&self) -> usize {
        self.sorted.len() + self.fresh.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows with this value, and perhaps some others.
    pub fn rows(&self, value: Hashed) -> impl Iterator<Item = RowId> + '_ {
        let from = self.sorted.partition_point(|(v, _)| *v < value);
        let sorted = self.sorted.get(from..).unwrap_or_default().iter().take_while(move |(v, _)| *v == value);
        sorted.chain(self.fresh.iter().filter(move |(v, _)| *v == value)).map(|(_, row)| *row)
    }

    /// All of it, sorted.
    pub fn entries(&self) -> Vec<(Hashed, RowId)> {
        let mut all = [self.sorted.as_slice(), self.fresh.as_slice()].concat();
        all.sort_unstable();
        all
    }
}
