//! Reading `muster.scan/1`, whole or in the pieces that it arrives in: `bytes -> the steps of the document -> rows`.
//!
//! A step is a field of the header, the name of a table, a run of rows, what follows them. It is taken whole or not at all, so that reading stops before one that is
//! cut off and goes on there with the next piece. Nothing of a piece is kept but what is cut off: a large upload is read while its pieces are in the cache, and takes no memory
//! of its own.

use super::Row;
use super::native::{DecodeError, Decoded, DecodedTable, FORMAT, Known, NEW, NewRow};
use super::table::TableId;
use crate::limits::Limits;

/// Where in the document reading stands: what the next step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Open,
    Field,
    AfterField,
    /// The first table, or the end of an empty list of tables.
    FirstTable,
    Table,
    AfterTable,
    /// The first row of a table, or the end of an empty one.
    FirstRow(TableId),
    Row(TableId),
    AfterRow(TableId),
    End,
}

/// A document that is being read.
#[derive(Debug)]
pub struct Reading {
    next: Next,
    /// Rows that it may bring which are not known.
    most_new: usize,
    /// Fields of the header that have come.
    fields: Vec<String>,
    /// Tables that have come, one bit each.
    collected: u64,
    /// Where the rows of the present table begin in `out.rows`.
    from: usize,
    out: Decoded,
    /// Bytes of the document that were read with earlier pieces.
    before: usize,
}

/// A document that comes in pieces.
#[derive(Debug)]
pub struct Pieces {
    reading: Reading,
    /// The step that the end of the last piece cut off.
    rest: Vec<u8>,
    /// How long it is when it is tried again.
    wanted: usize,
}

impl Pieces {
    /// Of a document that brings not more than so many rows which are not known.
    pub fn within(most_new: usize) -> Pieces {
        Pieces { reading: Reading::within(most_new), rest: Vec::new(), wanted: 0 }
    }

    /// Reads on.
    pub fn take(&mut self, piece: &[u8], limits: &Limits, known: &mut dyn Known) -> Result<(), DecodeError> {
        let mut piece = piece;
        while !piece.is_empty() {
            if self.rest.is_empty() {
                let read = self.reading.read(piece, false, limits, known)?;
                self.keep(piece.get(read..).unwrap_or_default(), limits)?;
                break;
            }
            // What was cut off is completed by a little of the piece, and twice as much each time that this is not enough: whoever sends single bytes must not
            // have all of it read again for each.
            let had = self.rest.len();
            let (more, left) = piece.split_at(self.wanted.saturating_sub(had).min(piece.len()));
            self.rest.extend_from_slice(more);
            if self.rest.len() < self.wanted {
                break;
            }
            let read = self.reading.read(&self.rest, false, limits, known)?;
            if read >= had {
                piece = piece.get(read - had..).unwrap_or_default();
                self.rest.clear();
            } else {
                let rest = std::mem::take(&mut self.rest);
                self.keep(rest.get(read..).unwrap_or_default(), limits)?;
                piece = left;
            }
        }
        Ok(())
    }

    fn keep(&mut self, rest: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        if rest.len() > 2 * limits.row_bytes + STRING_MAX {
            return Err(over("what stands beside the rows", limits.row_bytes, "row_bytes"));
        }
        self.rest.extend_from_slice(rest);
        self.wanted = (2 * rest.len()).max(512);
        Ok(())
    }

    /// Nothing more comes.
    pub fn finish(mut self, limits: &Limits, known: &mut dyn Known) -> Result<Decoded, DecodeError> {
        self.reading.read(&self.rest, true, limits, known)?;
        Ok(self.reading.out)
    }

    /// Its rows so far, as in [`Decoded::rows`].
    pub fn rows(&self) -> &[u32] {
        &self.reading.out.rows
    }

    /// Rows that nobody has shown, so far.
    pub fn new_rows(&self) -> usize {
        self.reading.out.new.len()
    }
}

impl Reading {
    /// Reading goes not further than to one row more than `most_new` that are not known.
    pub fn within(most_new: usize) -> Reading {
        Reading { next: Next::default(), most_new, fields: Vec::new(), collected: 0, from: 0, out: Decoded::default(), before: 0 }
    }

    /// Takes steps as far as the bytes go, which begin where the last ones ended; `last`: nothing comes after them. How many of them were read.
    pub fn read(&mut self, bytes: &[u8], last: bool, limits: &Limits, known: &mut dyn Known) -> Result<usize, DecodeError> {
        let mut reader = Reader { bytes, at: 0, limits, known, doc: self };
        loop {
            let before = reader.at;
            match reader.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(DecodeError::Truncated(_)) if !last => {
                    reader.at = before;
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        let read = reader.at;
        self.before += read;
        Ok(read)
    }

    pub fn into_decoded(self) -> Decoded {
        self.out
    }
}

struct Reader<'d, 'l, 'k, 'r> {
    bytes: &'d [u8],
    at: usize,
    limits: &'l Limits,
    known: &'k mut dyn Known,
    doc: &'r mut Reading,
}

type Done = Result<(), DecodeError>;

impl Reader<'_, '_, '_, '_> {
    /// The next step; whether there may be another one. INVARIANT: one that ends in `Truncated` has changed nothing but `at`.
    fn step(&mut self) -> Result<bool, DecodeError> {
        let next = self.doc.next;
        self.doc.next = match next {
            Next::Open => {
                self.byte(b'{', "`{`")?;
                Next::Field
            }
            Next::Field => self.field()?,
            Next::AfterField => match self.more(b'}', "`,` or `}`")? {
                true => Next::Field,
                false if self.doc.fields.iter().any(|f| f == "tables") => Next::End,
                false => return Err(DecodeError::Syntax { at: self.place(), expected: "a field `tables`" }),
            },
            Next::FirstTable if self.peek()? == b'}' => {
                self.at += 1;
                Next::AfterField
            }
            Next::FirstTable | Next::Table => self.table()?,
            Next::AfterTable => match self.more(b'}', "`,` or `}`")? {
                true => Next::Table,
                false => Next::AfterField,
            },
            Next::FirstRow(table) if self.peek()? == b']' => {
                self.at += 1;
                self.end_table(table, None)
            }
            Next::FirstRow(table) | Next::Row(table) => self.rows(table)?,
            Next::AfterRow(table) => match self.more(b']', "`,` or `]`")? {
                true => Next::Row(table),
                false => self.end_table(table, None),
            },
            Next::End => {
                self.blanks();
                if self.at < self.bytes.len() {
                    return Err(DecodeError::Syntax { at: self.place(), expected: "the end of the document" });
                }
                return Ok(false);
            }
        };
        Ok(true)
    }

    fn field(&mut self) -> Result<Next, DecodeError> {
        let at = self.place();
        let field = self.string("a field name")?;
        if self.doc.fields.contains(&field) {
            return Err(DecodeError::Twice { at, field });
        }
        self.byte(b':', "`:`")?;
        if self.doc.fields.is_empty() != (field == "format") {
            return Err(DecodeError::Syntax { at, expected: "`format` as the first field" });
        }
        let mut next = Next::AfterField;
        match field.as_str() {
            "format" => {
                let format = self.string("the name of the format")?;
                if format != FORMAT {
                    return Err(DecodeError::Format(format));
                }
            }
            "endpoint" => self.doc.out.header.endpoint = self.string("a string")?,
            "hostname" => self.doc.out.header.hostname = self.optional()?,
            "collected_at" => self.doc.out.header.collected_at = self.optional()?,
            "collector" => self.doc.out.header.collector = self.optional()?,
            "base" => self.doc.out.header.base = self.optional()?,
            "tables" => {
                self.byte(b'{', "`{`")?;
                next = Next::FirstTable;
            }
            _ => return Err(DecodeError::Field { at, field }),
        }
        self.doc.fields.push(field);
        Ok(next)
    }

    /// The name of a table, and how what is said of it begins.
    fn table(&mut self) -> Result<Next, DecodeError> {
        const EXPECTED: &str = "a list of rows, or an object with `error`";
        let at = self.place();
        let name = self.string("the name of a table")?;
        let Some(table) = TableId::by_name(&name) else { return Err(DecodeError::Table { at, name }) };
        let bit = 1u64 << table.0;
        if self.doc.collected & bit != 0 {
            return Err(DecodeError::Twice { at, field: name });
        }
        self.byte(b':', "`:`")?;
        let mut error = None;
        match self.peek()? {
            b'[' => self.at += 1,
            b'{' => {
                self.at += 1;
                if self.string("`error`")? != "error" {
                    return Err(DecodeError::Syntax { at: self.place(), expected: EXPECTED });
                }
                self.byte(b':', "`:`")?;
                error = Some(self.string("the reason")?.into());
                self.byte(b'}', "`}`")?;
            }
            _ => return Err(DecodeError::Syntax { at: self.place(), expected: EXPECTED }),
        }
        self.doc.collected |= bit;
        self.doc.from = self.doc.out.rows.len();
        Ok(if error.is_some() { self.end_table(table, error) } else { Next::FirstRow(table) })
    }

    fn end_table(&mut self, table: TableId, error: Option<Box<str>>) -> Next {
        let rows = self.doc.from..self.doc.out.rows.len();
        self.doc.out.tables.push(DecodedTable { table, error, rows });
        Next::AfterTable
    }

    /// The rows that are expected here, or one that is not.
    fn rows(&mut self, table: TableId) -> Result<Next, DecodeError> {
        if self.peek()? != b'{' {
            return Err(DecodeError::Syntax { at: self.place(), expected: "a row (a JSON object)" });
        }
        if self.doc.out.rows.len() >= self.limits.rows {
            return Err(over("the number of rows", self.limits.rows, "rows"));
        }
        // The expected bytes are whole JSON objects, so that a text that begins with them has those objects here.
        match self.known.follow(table, &self.bytes[self.at..], self.limits.rows, &mut self.doc.out.rows) {
            0 => {
                let row = self.row(table)?;
                self.doc.out.rows.push(row);
            }
            len => self.at += len,
        }
        Ok(Next::AfterRow(table))
    }

    /// A row that was not expected here: known by its bytes, or new.
    fn row(&mut self, table: TableId) -> Result<u32, DecodeError> {
        let from = self.at;
        let len = object_length(&self.bytes[from..], self.limits.row_bytes).ok_or_else(|| {
            if self.bytes.len() - from > self.limits.row_bytes {
                over("a row", self.limits.row_bytes, "row_bytes")
            } else {
                DecodeError::Truncated(self.doc.before + self.bytes.len())
            }
        })?;
        let raw = &self.bytes[from..from + len];
        self.at += len;
        if let Some(id) = self.known.find(table, raw) {
            return Ok(id);
        }
        if self.doc.out.new.len() >= self.doc.most_new {
            return Err(DecodeError::TooManyNew(self.doc.most_new));
        }
        let text = self.utf8(from..from + len)?;
        let row = Row::parse(table, text, self.limits).map_err(|e| DecodeError::Row {
            table: table.name(),
            row: self.doc.out.rows.len() - self.doc.from,
            at: self.doc.before + from,
            why: e.to_string(),
        })?;
        let place = u32::try_from(self.doc.out.new.len())
            .ok()
            .filter(|n| *n < NEW)
            .ok_or_else(|| over("the number of rows", self.limits.rows, "rows"))?;
        self.doc.out.new.push(NewRow { row, raw: raw.into() });
        Ok(NEW | place)
    }

    /// Where reading is in the whole document.
    fn place(&self) -> usize {
        self.doc.before + self.at
    }

    fn blanks(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Result<u8, DecodeError> {
        self.blanks();
        self.bytes.get(self.at).copied().ok_or(DecodeError::Truncated(self.place()))
    }

    fn byte(&mut self, wanted: u8, expected: &'static str) -> Done {
        if self.peek()? != wanted {
            return Err(DecodeError::Syntax { at: self.place(), expected });
        }
        self.at += 1;
        Ok(())
    }

    /// A comma: more follows; or the end.
    fn more(&mut self, end: u8, expected: &'static str) -> Result<bool, DecodeError> {
        let found = self.peek()?;
        if found != b',' && found != end {
            return Err(DecodeError::Syntax { at: self.place(), expected });
        }
        self.at += 1;
        self.blanks();
        Ok(found == b',')
    }

    fn string(&mut self, expected: &'static str) -> Result<String, DecodeError> {
        if self.peek()? != b'"' {
            return Err(DecodeError::Syntax { at: self.place(), expected });
        }
        let from = self.at;
        let mut at = from + 1;
        loop {
            match self.bytes.get(at) {
                None => return Err(DecodeError::Truncated(self.doc.before + at)),
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
            }
            if at - from > STRING_MAX {
                return Err(over("a string of the header", STRING_MAX, "(fixed)"));
            }
        }
        self.at = at + 1;
        let literal = self.utf8(from..at + 1)?;
        serde_json::from_str(literal).map_err(|_| DecodeError::Syntax { at: self.doc.before + from, expected: "a JSON string" })
    }

    fn utf8(&self, range: std::ops::Range<usize>) -> Result<&str, DecodeError> {
        let from = self.doc.before + range.start;
        let part = self.bytes.get(range).ok_or(DecodeError::Truncated(self.doc.before + self.bytes.len()))?;
        std::str::from_utf8(part).map_err(|e| DecodeError::NotUtf8(from + e.valid_up_to()))
    }

    fn optional(&mut self) -> Result<Option<String>, DecodeError> {
        if self.peek()? != b'n' {
            return self.string("a string or null").map(Some);
        }
        const NULL: &[u8] = b"null";
        let rest = &self.bytes[self.at..];
        if rest.starts_with(NULL) {
            self.at += NULL.len();
            return Ok(None);
        }
        if NULL.starts_with(rest) {
            return Err(DecodeError::Truncated(self.doc.before + self.bytes.len()));
        }
        Err(DecodeError::Syntax { at: self.place(), expected: "a string or null" })
    }
}

/// Longest name, reason or header value.
const STRING_MAX: usize = 4096;

fn over(what: &str, limit: usize, name: &'static str) -> DecodeError {
    DecodeError::Limit { what: what.to_owned(), limit, name }
}

/// The length of the JSON object at the beginning of the bytes, by its braces outside strings. Whether it is well formed, parsing says.
fn object_length(bytes: &[u8], max: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    let end = bytes.len().min(max);
    while at < end {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < end && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::native::{Nothing, decode};

    const DOCUMENT: &str = r#"{"format":"muster.scan/1","endpoint":"a\"b","hostname":null,"collected_at":"2026","tables":{
        "sysctl":[{"key":"a","value":"1"}, {"value":"}\"","key":"b"}],"user":{"error":"permission denied"},"package":[]}}
    "#;

    fn in_pieces(pieces: &[&[u8]], limits: &Limits) -> Result<Decoded, DecodeError> {
        let mut reading = Pieces::within(usize::MAX);
        for piece in pieces {
            reading.take(piece, limits, &mut Nothing)?;
        }
        reading.finish(limits, &mut Nothing)
    }

    #[test]
    fn a_document_cut_anywhere_is_the_same_document() {
        let (bytes, limits) = (DOCUMENT.as_bytes(), Limits::default());
        let whole = decode(bytes, &limits, &mut Nothing).expect("whole");
        assert_eq!((whole.rows.len(), whole.tables.len()), (2, 3));
        for first in 0..bytes.len() {
            for second in [first, first + 1, first + 7, bytes.len()] {
                let second = second.min(bytes.len());
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(in_pieces(&pieces, &limits).as_ref(), Ok(&whole), "{first} {second}");
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(in_pieces(&single, &limits), Ok(whole));
    }

    #[test]
    fn what_is_wrong_has_the_same_place_in_pieces() {
        let limits = Limits::default();
        for wrong in [
            r#"{"format":"muster.scan/1","tables":{"sysctl":[{"key":"a"},{"key":1}]}}"#,
            r#"{"format":"muster.scan/1","tables":{"sysctl":[{"key":"a"}{"key":"b"}]}}"#,
            r#"{"format":"muster.scan/1","tables":{"packages":[]}}"#,
            r#"{"format":"muster.scan/1","hostname":nil,"tables":{}}"#,
            r#"{"format":"muster.scan/1","tables":{},"tables":{}}"#,
            r#"{"format":"muster.scan/1","tables":{}} x"#,
            r#"{"format":"muster.scan/1","endpoint":"a"}"#,
            r#"{"format":"muster.scan/1","tables":{"os":[]"#,
            r#"{"format":"muster.scan/1","tables":{"sysctl":[{"key":"a"#,
        ] {
            let whole = decode(wrong.as_bytes(), &limits, &mut Nothing).expect_err(wrong);
            for cut in 0..wrong.len() {
                let (a, b) = wrong.as_bytes().split_at(cut);
                assert_eq!(in_pieces(&[a, b], &limits).expect_err(wrong), whole, "{wrong} at {cut}");
            }
        }
    }

    #[test]
    fn a_row_that_never_ends_is_not_waited_for() {
        let limits = Limits { row_bytes: 2000, value_bytes: 1000, ..Limits::default() };
        let mut reading = Pieces::within(usize::MAX);
        reading.take(br#"{"format":"muster.scan/1","tables":{"sysctl":[{"key":""#, &limits, &mut Nothing).expect("begins");
        let refused = (0..100).find_map(|_| reading.take(&[b'x'; 100], &limits, &mut Nothing).err()).expect("refused");
        assert_eq!(refused.to_string(), "a row is over the limit of 2000 (limits.row_bytes)");
        assert!(reading.rest.len() < 4096);
    }
}
