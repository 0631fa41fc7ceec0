//! What an endpoint said of itself at one time: tables of rows.

pub mod digest;
pub mod inflate;
pub mod native;
pub mod read;
pub mod row;
pub mod scap;
pub mod table;

use std::collections::BTreeMap;

pub use row::{Row, Value};
use table::TableId;

/// One table of a scan: its rows, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableData {
    Rows(Vec<Row>),
    Failed(Box<str>),
}

/// A scan, parsed. The form that collectors build and `judge::explain` reads; the daemon works on interned rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Who it is about; empty where the upload's address says so.
    pub endpoint: String,
    pub hostname: Option<String>,
    /// RFC 3339, as the collector wrote it.
    pub collected_at: Option<String>,
    pub collector: Option<String>,
    /// A table that is not here was not collected.
    pub tables: BTreeMap<TableId, TableData>,
}

impl Scan {
    /// The rows of a table; none when it was not collected or failed.
    pub fn rows(&self, table: TableId) -> &[Row] {
        match self.tables.get(&table) {
            Some(TableData::Rows(rows)) => rows,
            _ => &[],
        }
    }

    /// Adds a row to its table.
    pub fn push(&mut self, row: Row) {
        match self.tables.entry(row.table).or_insert_with(|| TableData::Rows(Vec::new())) {
            TableData::Rows(rows) => rows.push(row),
            // A table that failed stays failed: half a table is not evidence.
            TableData::Failed(_) => {}
        }
    }

    /// Sorts the rows of every table and drops duplicates: the order in which a collector writes them, so that scans of one
    /// host are alike byte for byte where the host is.
    pub fn normalise(&mut self) {
        for data in self.tables.values_mut() {
            if let TableData::Rows(rows) = data {
                rows.sort();
                rows.dedup();
            }
        }
    }
}
