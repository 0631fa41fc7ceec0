//! The file of a compiled pack: bytes <-> sections of fixed records. Little-endian, offsets checked once when opened.
//!
//! ```text
//! 0   magic "MUSTERPK"         8
//! 8   format version           4
//! 12  number of sections       4
//! 16  schema: hash of the table definitions that column numbers refer to   8
//! 24  length of the file       8
//! 32  blake3 of everything from 64 on, keyed with nothing                 32
//! 64  section table: kind u32, count u32, offset u64, length u64 each
//!     sections, each at a multiple of 8
//! ```

use std::io::Write as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{Pack, Plan, RuleRef, Term, TermKind, code, program};
use crate::judge::Verdict;
use crate::rule::Severity;
use crate::rule::ir::Cmp;
use crate::scan::table::{TABLES, TableId};

pub const MAGIC: &[u8; 8] = b"MUSTERPK";
pub const VERSION: u32 = 2;
pub(super) const HEADER: usize = 64;
const ENTRY: usize = 24;
/// No string.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot read `{}`: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("not a compiled pack: {0}")]
    NotAPack(String),
    #[error("the compiled pack is damaged: {0}; compile it again from its rules")]
    Damaged(String),
    #[error("the pack was compiled by another version of muster: {0}; compile it again from its rules")]
    OtherVersion(String),
}

/// Kinds of sections; the number is the one in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// UTF-8, all strings behind one another.
    Strings = 0,
    /// u32 x (strings + 1): where each ends, from 0.
    StringEnds = 1,
    Terms = 2,
    Code = 3,
    /// Which terms to ask for a value in a column: slot u32, term u32, hash u64; sorted.
    Index = 4,
    /// Which terms to ask for every row: table u32, term u32; sorted.
    Each = 5,
    /// Which terms to ask when a literal is in a column: slot u32, string u32, term u32; sorted.
    Literals = 6,
    /// Strings: regular expressions.
    Patterns = 7,
    Rules = 8,
    /// Strings: typed conditions as JSON.
    Joins = 9,
    /// One string: JSON of the packs.
    Info = 10,
    /// Strings: SCAP baselines as JSON.
    Baselines = 11,
}

pub(super) const SECTIONS: [(Section, usize); 12] = [
    (Section::Strings, 1),
    (Section::StringEnds, 4),
    (Section::Terms, TERM),
    (Section::Code, 1),
    (Section::Index, 16),
    (Section::Each, 8),
    (Section::Literals, 12),
    (Section::Patterns, 4),
    (Section::Rules, RULE),
    (Section::Joins, 4),
    (Section::Info, 4),
    (Section::Baselines, 4),
];
pub(super) const TERM: usize = 32;
pub(super) const RULE: usize = 40;

/// The bytes of a pack, wherever they live.
pub enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(m) => m,
            Bytes::Owned(v) => v,
        }
    }
}

pub(super) fn index(n: u32) -> usize {
    n as usize
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Which part of a column an index entry is about: the table, and the column or [`KEY_SLOT`].
pub(super) fn slot(table: TableId, column: u8) -> u32 {
    u32::from(table.0) << 8 | u32::from(column)
}

/// The whole key instead of one column.
pub const KEY_SLOT: u8 = 255;

/// A hash that is the same on every machine, for the index. Never proof: the predicate compares the bytes.
pub fn stable_hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325u64;
    for part in parts {
        for b in part.bytes().chain([0xff]) {
            h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    h
}

/// Column numbers in a pack mean nothing under other table definitions.
pub(super) fn schema() -> u64 {
    let mut text = String::new();
    for table in TABLES {
        text.push_str(table.name);
        text.push_str(&format!("/{:?}/{}/{}", table.extent, table.key, table.fold_case));
        for column in table.columns {
            text.push_str(&format!(",{}:{}", column.name, column.ty.name()));
        }
        text.push(';');
    }
    stable_hash([text.as_str()])
}

#[derive(Debug, Default)]
pub(super) struct Sections {
    /// offset, length, count.
    at: [(usize, usize, usize); SECTIONS.len()],
}

impl Sections {
    /// Checks the header and the section table.
    pub(super) fn check(bytes: &[u8]) -> Result<Sections, PackError> {
        if bytes.len() < HEADER || bytes.get(..8) != Some(MAGIC.as_slice()) {
            return Err(PackError::NotAPack("it does not begin with MUSTERPK".to_owned()));
        }
        if u32_at(bytes, 8) != VERSION {
            return Err(PackError::OtherVersion(format!("format {}, this one reads {VERSION}", u32_at(bytes, 8))));
        }
        if u64_at(bytes, 16) != schema() {
            return Err(PackError::OtherVersion("it knows other tables".to_owned()));
        }
        let damaged = |what: &str| Err(PackError::Damaged(what.to_owned()));
        if u64_at(bytes, 24) != bytes.len() as u64 {
            return damaged("its length is not the one it names");
        }
        if blake3::hash(&bytes[HEADER..]).as_bytes() != &bytes[32..64] {
            return damaged("its checksum does not fit its content");
        }
        if index(u32_at(bytes, 12)) != SECTIONS.len() || bytes.len() < HEADER + SECTIONS.len() * ENTRY {
            return damaged("its section table");
        }
        let mut sections = Sections::default();
        for (i, (kind, size)) in SECTIONS.iter().enumerate() {
            let entry = HEADER + i * ENTRY;
            let (count, offset, len) = (index(u32_at(bytes, entry + 4)), u64_at(bytes, entry + 8), u64_at(bytes, entry + 16));
            let (Ok(offset), Ok(len)) = (usize::try_from(offset), usize::try_from(len)) else { return damaged("a section's place") };
            let fits = offset.checked_add(len).is_some_and(|end| end <= bytes.len()) && offset >= HEADER + SECTIONS.len() * ENTRY;
            if u32_at(bytes, entry) != *kind as u32 || !fits || count.checked_mul(*size) != Some(len) {
                return damaged("a section's place");
            }
            sections.at[i] = (offset, len, count);
        }
        Ok(sections)
    }

    pub(super) fn bytes<'b>(&self, bytes: &'b [u8], section: Section) -> &'b [u8] {
        let (offset, len, _) = self.at[section as usize];
        &bytes[offset..offset + len]
    }

    pub(super) fn count(&self, section: Section) -> usize {
        self.at[section as usize].2
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

pub(super) fn parse_json<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, PackError> {
    serde_json::from_str(text).map_err(|e| PackError::Damaged(format!("{what}: {e}")))
}

pub(super) fn cmp_to_u8(op: Cmp) -> u8 {
    match op {
        Cmp::Eq => 0,
        Cmp::Ne => 1,
        Cmp::Lt => 2,
        Cmp::Le => 3,
        Cmp::Gt => 4,
        Cmp::Ge => 5,
    }
}

pub(super) fn cmp_from_u8(n: u8) -> Option<Cmp> {
    [Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le, Cmp::Gt, Cmp::Ge].get(usize::from(n)).copied()
}

/// Term record: kind, table, comparison, plan (u8 each); plan's column u8 + 3 spare; key u32 x 2; code offset, length u32; number i64.
pub(super) fn write_term(t: &Term, out: &mut Vec<u8>) {
    let (kind, op, n) = match t.kind {
        TermKind::Exists => (0, 0, 0),
        TermKind::All => (1, 0, 0),
        TermKind::Count(op, n) => (2, cmp_to_u8(op), n),
        TermKind::Keyed => (3, 0, 0),
        TermKind::Test => (4, 0, 0),
        TermKind::Collected => (5, 0, 0),
        TermKind::Concerns => (6, 0, 0),
    };
    let (plan, column) = match t.plan {
        Plan::Key => (0, 0),
        Plan::Equal(c) => (1, c),
        Plan::Literal(c) => (2, c),
        Plan::Each => (3, 0),
    };
    out.extend_from_slice(&[kind, t.table.0, op, plan, column, 0, 0, 0]);
    for word in [t.key[0], t.key[1], t.code.0, t.code.1] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&n.to_le_bytes());
}

pub(super) fn term(section: &[u8], at: usize) -> Term {
    let r = &section[at * TERM..(at + 1) * TERM];
    let number = i64::from_le_bytes(u64_at(r, 24).to_le_bytes());
    let kind = match r[0] {
        0 => TermKind::Exists,
        1 => TermKind::All,
        2 => TermKind::Count(cmp_from_u8(r[2]).unwrap_or(Cmp::Eq), number),
        4 => TermKind::Test,
        5 => TermKind::Collected,
        6 => TermKind::Concerns,
        _ => TermKind::Keyed,
    };
    let plan = match r[3] {
        0 => Plan::Key,
        1 => Plan::Equal(r[4]),
        2 => Plan::Literal(r[4]),
        _ => Plan::Each,
    };
    Term { kind, table: TableId(r[1]), plan, key: [u32_at(r, 8), u32_at(r, 12)], code: (u32_at(r, 16), u32_at(r, 20)) }
}

/// Rule record: id, meta u32; applies, check offset and length u32; severity, missing, flags u8; 5 spare; SCAP baseline, item u32.
pub(super) fn write_rule(r: &RuleRef, out: &mut Vec<u8>) {
    for word in [r.id, r.meta, r.applies.0, r.applies.1, r.check.0, r.check.1] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&[r.severity as u8, r.missing as u8, u8::from(r.requirement), 0, 0, 0, 0, 0]);
    let (baseline, item) = r.scap.unwrap_or((NONE, NONE));
    out.extend_from_slice(&baseline.to_le_bytes());
    out.extend_from_slice(&item.to_le_bytes());
}

pub(super) fn rule(section: &[u8], at: usize) -> RuleRef {
    let r = &section[at * RULE..(at + 1) * RULE];
    RuleRef {
        id: u32_at(r, 0),
        meta: u32_at(r, 4),
        applies: (u32_at(r, 8), u32_at(r, 12)),
        check: (u32_at(r, 16), u32_at(r, 20)),
        severity: Severity::ALL.get(usize::from(r[24])).copied().unwrap_or(Severity::Info),
        missing: Verdict::from_u8(r[25]).unwrap_or(Verdict::Unknown),
        requirement: r[26] & 1 == 1,
        scap: Some((u32_at(r, 32), u32_at(r, 36))).filter(|(baseline, _)| *baseline != NONE),
    }
}

/// One ordered pass after which accessors may index.
///
/// INVARIANT: every id and offset in the file is below its bound, every predicate and program leaves exactly one value of the
/// right type and reads nothing outside its row.
pub(super) fn check_contents(pack: &Pack) -> Result<(), PackError> {
    let damaged = |what: String| Err(PackError::Damaged(what));
    check_strings(pack)?;
    let strings = pack.count(Section::StringEnds) - 1;
    let is_string = |id: u32| index(id) < strings;
    if pack.rule_count() > usize::from(u16::MAX) || pack.count(Section::Info) != 1 {
        return damaged("a section's size".to_owned());
    }
    for section in [Section::Patterns, Section::Joins, Section::Info, Section::Baselines] {
        if !(0..pack.count(section)).all(|i| is_string(pack.u32_at(section, i))) {
            return damaged(format!("{section:?} names no string"));
        }
    }
    let code_len = pack.count(Section::Code);
    let in_code = |(from, len): (u32, u32)| index(from).checked_add(index(len)).is_some_and(|end| end <= code_len);
    let bounds = code::Bounds { strings, patterns: pack.count(Section::Patterns) };
    for i in 0..pack.term_count() {
        let record = &pack.section(Section::Terms)[i * TERM..(i + 1) * TERM];
        if record[0] > 6 || record[2] > 5 || record[3] > 3 || usize::from(record[1]) >= TABLES.len() {
            return damaged(format!("term {i}"));
        }
        let term = term(pack.section(Section::Terms), i);
        let keys = term.key.iter().filter(|k| **k != NONE).count();
        let keyed = matches!(term.kind, TermKind::Keyed | TermKind::Collected);
        // The code of SCAP's terms is a place in a baseline, which is checked when those are opened.
        let own = matches!(term.kind, TermKind::Test | TermKind::Collected | TermKind::Concerns);
        if (!own && !in_code(term.code))
            || !term.key.iter().all(|k| *k == NONE || is_string(*k))
            || (keyed && keys != term.table.table().key)
        {
            return damaged(format!("term {i}"));
        }
        if own {
            continue;
        }
        code::check(pack.code(term.code), term.table, &bounds).map_err(|e| PackError::Damaged(format!("term {i}: {e}")))?;
    }
    for rule in pack.rules() {
        let r = pack.rule(rule);
        if !is_string(r.id) || !is_string(r.meta) || !in_code(r.applies) || !in_code(r.check) {
            return damaged(format!("rule {}", rule.0));
        }
        for part in [r.applies, r.check] {
            program::check(pack.code(part), pack.term_count(), pack.count(Section::Joins))
                .map_err(|e| PackError::Damaged(format!("rule {}: {e}", rule.0)))?;
        }
    }
    check_indexes(pack, strings)
}

fn check_strings(pack: &Pack) -> Result<(), PackError> {
    let damaged = |what: &str| Err(PackError::Damaged(what.to_owned()));
    let ends = pack.count(Section::StringEnds);
    let blob = pack.section(Section::Strings);
    let Ok(text) = std::str::from_utf8(blob) else { return damaged("its strings are not UTF-8") };
    if ends == 0 || pack.u32_at(Section::StringEnds, 0) != 0 || index(pack.u32_at(Section::StringEnds, ends - 1)) != blob.len() {
        return damaged("the ends of its strings");
    }
    for i in 1..ends {
        let (before, end) = (pack.u32_at(Section::StringEnds, i - 1), pack.u32_at(Section::StringEnds, i));
        if end < before || index(end) > blob.len() || !text.is_char_boundary(index(end)) {
            return damaged("the ends of its strings");
        }
    }
    Ok(())
}

fn check_indexes(pack: &Pack, strings: usize) -> Result<(), PackError> {
    let terms = pack.term_count();
    let fine = |section: Section, size: usize, term_at: usize, string_at: Option<usize>| {
        let bytes = pack.section(section);
        let records = bytes.chunks_exact(size);
        let ids = records.clone().all(|r| index(u32_at(r, term_at)) < terms && string_at.is_none_or(|s| index(u32_at(r, s)) < strings));
        let sorted = records.clone().zip(records.clone().skip(1)).all(|(a, b)| u32_at(a, 0) <= u32_at(b, 0));
        let places = section == Section::Each
            || records.clone().all(|r| {
                let [column, table, _, _] = u32_at(r, 0).to_le_bytes();
                let columns = TABLES.get(usize::from(table)).map(|t| t.columns.len());
                columns.is_some_and(|n| usize::from(column) < n || column == KEY_SLOT)
            });
        ids && sorted && places
    };
    if !fine(Section::Index, 16, 4, None) || !fine(Section::Each, 8, 4, None) || !fine(Section::Literals, 12, 8, Some(4)) {
        return Err(PackError::Damaged("an index".to_owned()));
    }
    Ok(())
}

/// Puts sections together to a file's bytes. The same sections give the same bytes.
pub(super) fn assemble(contents: [Vec<u8>; SECTIONS.len()]) -> Vec<u8> {
    let mut offset = HEADER + SECTIONS.len() * ENTRY;
    let mut table = Vec::new();
    let mut body = Vec::new();
    for ((kind, size), content) in SECTIONS.iter().zip(&contents) {
        let padding = offset.next_multiple_of(8) - offset;
        body.resize(body.len() + padding, 0);
        offset += padding;
        table.extend_from_slice(&(*kind as u32).to_le_bytes());
        table.extend_from_slice(&u32::try_from(content.len() / size).unwrap_or(u32::MAX).to_le_bytes());
        table.extend_from_slice(&(offset as u64).to_le_bytes());
        table.extend_from_slice(&(content.len() as u64).to_le_bytes());
        body.extend_from_slice(content);
        offset += content.len();
    }
    let mut out = Vec::with_capacity(HEADER + table.len() + body.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&u32::try_from(SECTIONS.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&schema().to_le_bytes());
    out.extend_from_slice(&((HEADER + table.len() + body.len()) as u64).to_le_bytes());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&table).update(&body);
    out.extend_from_slice(hasher.finalize().as_bytes());
    out.extend_from_slice(&table);
    out.extend_from_slice(&body);
    out
}

/// Writes a compiled pack into a folder under the name of its content, aside first and then renamed in, and gives its path.
pub fn write_file(folder: &Path, bytes: &[u8]) -> Result<PathBuf, PackError> {
    let path = folder.join(format!("{}.musterpack", digest(bytes)));
    let fail = |source| PackError::Io { path: path.clone(), source };
    std::fs::create_dir_all(folder).map_err(fail)?;
    if std::fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(path);
    }
    let mut aside = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    aside.write_all(bytes).map_err(fail)?;
    aside.as_file().sync_all().map_err(fail)?;
    aside.persist(&path).map_err(|e| fail(e.error))?;
    std::fs::File::open(folder).and_then(|d| d.sync_all()).map_err(fail)?;
    Ok(path)
}
