//! `muster.scan/1`: JSON bytes -> rows, one pass, rows that are known already recognised by their raw bytes before they are parsed.
//!
//! ```json
//! {"format":"muster.scan/1","endpoint":"web-1","hostname":"web-1","collected_at":"2026-11-21T08:00:00Z","collector":"muster 0.1.0",
//!  "base":"<digest, if only changed tables follow>",
//!  "tables":{"os":[{"family":"linux"}],"package":[{"name":"openssl","version":"3.0.15-1"}],"user":{"error":"permission denied"}}}
//! ```
//!
//! A scan nests as deep as this shape and no deeper: rows are flat, and what is nested in one is refused where it begins. `format` comes first. A table is a list of rows or an object with the reason why it could not be collected.

use serde::Serialize;

use super::read::Reading;
use super::table::{TABLES, TableId};
use super::{Row, Scan, TableData};
use crate::limits::Limits;

pub const FORMAT: &str = "muster.scan/1";

/// What is wrong with an upload, and where.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    #[error("not a scan at byte {at}: expected {expected}")]
    Syntax { at: usize, expected: &'static str },
    #[error("the document ends at byte {0}, in the middle")]
    Truncated(usize),
    #[error("unknown format `{0}`: this server reads `muster.scan/1`")]
    Format(String),
    #[error("unknown field `{field}` at byte {at}: a scan has format, endpoint, hostname, collected_at, collector, base and tables")]
    Field { at: usize, field: String },
    #[error("field `{field}` at byte {at} is given twice")]
    Twice { at: usize, field: String },
    #[error("unknown table `{name}` at byte {at}; this server knows {}", TABLES.iter().map(|t| t.name).collect::<Vec<_>>().join(", "))]
    Table { at: usize, name: String },
    #[error("table `{table}`, row {row}, at byte {at}: {why}")]
    Row { table: &'static str, row: usize, at: usize, why: String },
    /// More than the caller takes.
    #[error("the scan brings more than {0} rows that the fleet has never shown")]
    TooManyNew(usize),
    #[error("{what} is over the limit of {limit} (limits.{name})")]
    Limit { what: String, limit: usize, name: &'static str },
}

/// What is known of rows already: recognises runs of rows in the order that is expected, and finds rows by their bytes.
pub trait Known {
    /// Reads rows of a table from the beginning of the text on, while they are the expected ones and at most until there are `most`:
    /// adds them to `rows`, and gives the bytes up to the end of the last one, 0 if there was none. One call for a run of rows, as a
    /// call for each would cost more than comparing its bytes.
    fn follow(&mut self, table: TableId, text: &[u8], most: usize, rows: &mut Vec<u32>) -> usize;
    /// A row by its raw bytes, where [`Known::follow`] did not go on.
    fn find(&mut self, table: TableId, raw: &[u8]) -> Option<u32>;
}

/// Knows nothing: every row is parsed.
pub struct Nothing;

impl Known for Nothing {
    fn follow(&mut self, _: TableId, _: &[u8], _: usize, _: &mut Vec<u32>) -> usize {
        0
    }
    fn find(&mut self, _: TableId, _: &[u8]) -> Option<u32> {
        None
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    pub endpoint: String,
    pub hostname: Option<String>,
    pub collected_at: Option<String>,
    pub collector: Option<String>,
    /// The digest of the scan that this one changes: only changed tables follow.
    pub base: Option<String>,
}

/// Marks a number in [`Decoded::rows`] as a place in [`Decoded::new`]. INVARIANT: limits.fleet_rows keeps row ids below it.
pub const NEW: u32 = 1 << 31;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    pub row: Row,
    /// As sent.
    pub raw: Box<[u8]>,
}

/// An upload, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    pub header: Header,
    /// In the order of the document; a failed table has its reason and no rows.
    pub tables: Vec<DecodedTable>,
    /// In the order of the document: a row as [`Known`] numbers it, or [`NEW`] and a place in `new`.
    pub rows: Vec<u32>,
    pub new: Vec<NewRow>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedTable {
    pub table: TableId,
    pub error: Option<Box<str>>,
    /// Where its rows are in [`Decoded::rows`].
    pub rows: std::ops::Range<usize>,
}

/// Reads an upload.
pub fn decode(bytes: &[u8], limits: &Limits, known: &mut dyn Known) -> Result<Decoded, DecodeError> {
    decode_within(bytes, limits, limits.rows, known)
}

/// The same, and not further than to one row more than `most_new` that are not known.
pub fn decode_within(bytes: &[u8], limits: &Limits, most_new: usize, known: &mut dyn Known) -> Result<Decoded, DecodeError> {
    let mut reading = Reading::within(most_new);
    // Only strings and rows that are new are checked to be UTF-8: all else is ASCII, or equal to rows that were checked. A document that
    // cannot be read is looked at as a whole, so that this comes first of what may be wrong with it.
    match reading.read(bytes, true, limits, known) {
        Ok(_) => Ok(reading.into_decoded()),
        Err(e) => Err(std::str::from_utf8(bytes).err().map_or(e, |e| DecodeError::NotUtf8(e.valid_up_to()))),
    }
}

/// Reads an upload as a parsed scan, for tools that hold no fleet.
pub fn decode_scan(bytes: &[u8], limits: &Limits) -> Result<(Header, Scan), DecodeError> {
    let decoded = decode(bytes, limits, &mut Nothing)?;
    let header = decoded.header;
    let mut scan = Scan {
        endpoint: header.endpoint.clone(),
        hostname: header.hostname.clone(),
        collected_at: header.collected_at.clone(),
        collector: header.collector.clone(),
        ..Scan::default()
    };
    for table in decoded.tables {
        let data = match table.error {
            Some(why) => TableData::Failed(why),
            None => TableData::Rows(Vec::new()),
        };
        scan.tables.insert(table.table, data);
    }
    decoded.new.into_iter().for_each(|new| scan.push(new.row));
    scan.normalise();
    Ok((header, scan))
}

/// Writes a scan in the form whose rows are recognised: canonical rows, tables in the order of their definitions.
/// `only` leaves tables out, for an upload that changes the scan `base`.
pub fn encode(scan: &Scan, base: Option<&str>, only: impl Fn(TableId) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 << 10);
    out.extend_from_slice(b"{\"format\":\"muster.scan/1\"");
    let fields = [
        ("endpoint", Some(scan.endpoint.as_str()).filter(|e| !e.is_empty())),
        ("hostname", scan.hostname.as_deref()),
        ("collected_at", scan.collected_at.as_deref()),
        ("collector", scan.collector.as_deref()),
        ("base", base),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            write_string(value, &mut out);
        }
    }
    out.extend_from_slice(b",\"tables\":{");
    let mut first = true;
    for (table, data) in scan.tables.iter().filter(|(t, _)| only(**t)) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(format!("\n\"{}\":", table.name()).as_bytes());
        match data {
            TableData::Failed(why) => {
                out.extend_from_slice(b"{\"error\":");
                write_string(why, &mut out);
                out.push(b'}');
            }
            TableData::Rows(rows) => {
                out.push(b'[');
                for (i, row) in rows.iter().enumerate() {
                    out.extend_from_slice(if i > 0 { b",\n" } else { b"\n" });
                    row.write_canonical(&mut out);
                }
                out.push(b']');
            }
        }
    }
    out.extend_from_slice(b"}}\n");
    out
}

fn write_string(s: &str, out: &mut Vec<u8>) {
    if serde_json::to_writer(&mut *out, s).is_err() {
        out.extend_from_slice(b"\"\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"format":"muster.scan/1","endpoint":"a","collected_at":null,"tables":{
        "sysctl":[{"key":"a","value":"1"}, {"value":"2","key":"b"}],"user":{"error":"permission denied"},"package":[]}}"#;

    fn read(text: &str) -> Result<Decoded, String> {
        decode(text.as_bytes(), &Limits::default(), &mut Nothing).map_err(|e| e.to_string())
    }

    #[test]
    fn reads_and_writes_back() {
        let (header, scan) = decode_scan(SMALL.as_bytes(), &Limits::default()).expect("scan");
        assert_eq!(header.endpoint, "a");
        assert_eq!(scan.tables.len(), 3);
        let written = encode(&scan, None, |_| true);
        assert_eq!(decode_scan(&written, &Limits::default()).expect("again"), (header, scan));
    }

    #[test]
    fn every_prefix_is_refused_and_nothing_panics() {
        for end in 0..SMALL.len() {
            let prefix = SMALL.get(..end).expect("ASCII");
            assert!(read(prefix).is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, says) in [
            ("", "ends at byte 0"),
            ("[1]", "at byte 0: expected `{`"),
            (r#"{"format":"x"}"#, "unknown format `x`"),
            (r#"{"endpoint":"a"}"#, "`format` as the first field"),
            (r#"{"format":"muster.scan/1"}"#, "a field `tables`"),
            (r#"{"format":"muster.scan/1","tabels":{}}"#, "unknown field `tabels` at byte 26"),
            (r#"{"format":"muster.scan/1","tables":{},"tables":{}}"#, "`tables` at byte 38 is given twice"),
            (
                r#"{"format":"muster.scan/1","tables":{"packages":[]}}"#,
                "unknown table `packages` at byte 36; this server knows os, package",
            ),
            (r#"{"format":"muster.scan/1","tables":{"os":[],"os":[]}}"#, "given twice"),
            (
                r#"{"format":"muster.scan/1","tables":{"sysctl":[{"key":"a"},{"key":1}]}}"#,
                "table `sysctl`, row 1, at byte 58: invalid type",
            ),
            (r#"{"format":"muster.scan/1","tables":{"sysctl":[{"key":{"key":"a"}}]}}"#, "invalid type: map"),
            (r#"{"format":"muster.scan/1","tables":{"sysctl":[[[[[[]]]]]]}}"#, "a row (a JSON object)"),
            (r#"{"format":"muster.scan/1","tables":{}} x"#, "the end of the document"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(says), "{text}\n{error}");
        }
        assert_eq!(decode(b"{\"\xff", &Limits::default(), &mut Nothing), Err(DecodeError::NotUtf8(2)));
        let limits = Limits { rows: 1, ..Limits::default() };
        let error = decode(SMALL.as_bytes(), &limits, &mut Nothing).expect_err("too many rows").to_string();
        assert_eq!(error, "the number of rows is over the limit of 1 (limits.rows)");
    }
}
