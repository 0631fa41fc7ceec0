//! The file of a segment: bytes <-> sections of fixed records. Little-endian.
//!
//! ```text
//! 0   magic "MUSTERCT"         8
//! 8   format version           4
//! 12  number of sections       4
//! 16  print of what the program writes: order keys, definitions            8
//! 24  length of the file       8
//! 32  blake3 of 64 to 104 and of everything from 144 on                   32
//! 64  of a delta, the same of its base; else zeros                        32
//! 96  number of definitions    8
//! 104 blake3 of the header without this, and of the section table         32
//! 136 nothing                  8
//! 144 section table: offset u64, length u64 each
//!     sections, each at a multiple of 8
//! ```
//!
//! Opening looks at the header and the section table alone, so that a segment of any size opens at once. What lies behind is held against its digest
//! when a file is written or brought ([`verify`]); after that every read is checked against its bounds, and what makes no sense matches nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::CatalogError;
use crate::pack::map::map;
use crate::pack::wire::Bytes;
use crate::version::Scheme;

const MAGIC: &[u8; 8] = b"MUSTERCT";
/// Counts up whenever bytes mean something else, or the same row is looked for by other keys.
const VERSION: u32 = 1;
const HEADER: usize = 144;
const PLACE: usize = 16;
/// No string.
pub(super) const NONE: u32 = u32::MAX;

/// Kinds of sections; the number is the place in the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// UTF-8, all strings behind one another.
    Strings = 0,
    /// u64 x (strings + 1): where each ends, from 0.
    StringEnds = 1,
    /// u32, a string each: ids of the definitions, sorted.
    Ids = 2,
    /// postcard, all definitions behind one another.
    Definitions = 3,
    /// u64 x (definitions + 1).
    DefinitionEnds = 4,
    /// u32, a string each: ids in the base that are gone, sorted.
    Removed = 5,
    /// u32 x (2^n + 1): where the groups begin whose hash begins with these n bits.
    Directory = 6,
    /// [`Group`], sorted by hash and key.
    Groups = 7,
    /// Keys of the groups.
    Keys = 8,
    /// [`Record`], those of a group together.
    Records = 9,
    /// Order keys of versions.
    Bounds = 10,
    /// u32 lists, each behind its length: what else is asked of a row.
    Targets = 11,
    /// u32 lists, each behind its length: strings, CVEs.
    Subjects = 12,
    /// u32 x (definitions + 1): where each one's superseding ids end.
    SupersededEnds = 13,
    /// u32, a string each.
    Superseded = 14,
}

pub(super) const SECTIONS: usize = 15;
pub(super) const GROUP: usize = 32;
pub(super) const RECORD: usize = 32;

/// An id with the system where alone it counts.
pub(super) fn replaced_on(id: &str, system: &str) -> String {
    format!("{id}@{system}")
}

/// Entries that a row is looked up for by one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub hash: u64,
    pub key: u64,
    pub key_len: u32,
    pub first: u32,
    pub count: u32,
}

impl Group {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.to_le_bytes());
        out.extend_from_slice(&self.key.to_le_bytes());
        for word in [self.key_len, self.first, self.count, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
}

/// One entry of one definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub definition: u32,
    /// Offset in `Targets`, in words.
    pub target: u32,
    /// Offset in `Subjects`, in words.
    pub subjects: u32,
    pub state: u8,
    pub flags: u8,
    pub scheme: u8,
    pub numbering: u8,
    /// The first eight bytes of the key of the fix.
    pub prefix: u64,
    /// Offset in `Bounds`.
    pub bounds: u64,
}

/// Bits of [`Record::flags`]: the kind of its name (two bits), ...
pub(super) const KIND: u8 = 3;
/// ... that its definition is a vulnerability, ...
pub(super) const VULNERABILITY: u8 = 4;
/// ... that it is about all versions below the fix, ...
pub(super) const BELOW: u8 = 8;
/// ... that it is about all versions.
pub(super) const ALL: u8 = 16;

impl Record {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for word in [self.definition, self.target, self.subjects] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&[self.state, self.flags, self.scheme, self.numbering]);
        out.extend_from_slice(&self.prefix.to_le_bytes());
        out.extend_from_slice(&self.bounds.to_le_bytes());
    }
}

pub(super) fn index(n: u32) -> usize {
    n as usize
}

pub(super) fn word(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(NONE)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|c| u32::from_le_bytes(*c))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|c| u64::from_le_bytes(*c))
}

/// A hash that is the same on every machine. Never proof: the key is compared.
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) fn of(bytes: &[u8]) -> Hash {
        Hash(0xcbf2_9ce4_8422_2325).and(bytes)
    }

    #[must_use]
    pub(super) fn and(self, bytes: &[u8]) -> Hash {
        Hash(bytes.iter().fold(self.0, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// With its upper bits as good as its lower ones.
    pub(super) fn spread(self) -> u64 {
        let h = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        h ^ (h >> 29)
    }
}

/// A compiled file, mapped.
pub struct Segment {
    bytes: Bytes,
    at: [(usize, usize); SECTIONS],
    digest: Box<str>,
    base: Option<Box<str>>,
    len: u32,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({}, {} definitions)", self.digest, self.len)
    }
}

/// What the program writes besides the layout: another order of versions or another shape of a definition is another print.
static PRINT: LazyLock<u64> = LazyLock::new(|| {
    let mut out = Vec::new();
    for scheme in Scheme::ALL {
        for version in ["1.2.3-4", "1:2.0~rc1-1+b2", "2024.10a1.post2", "v1.0.0-alpha.1+x", "10.0.19045.3803", "1^git-1.el9_3", ""] {
            scheme.write_key(version, &mut out);
            out.push(0);
        }
    }
    out.extend(super::compile::sample());
    Hash::of(&out).spread()
});

impl Segment {
    /// Maps a file. Of its content only the header is read; [`verify`] holds all of it against its digest.
    pub fn open(path: &Path) -> Result<Segment, CatalogError> {
        let bytes = map(path).map_err(|source| CatalogError::Io { path: path.to_owned(), source })?;
        Segment::of(&path.display().to_string(), Bytes::Mapped(bytes))
    }

    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Segment, CatalogError> {
        Segment::of(name, Bytes::Owned(bytes))
    }

    fn of(name: &str, bytes: Bytes) -> Result<Segment, CatalogError> {
        let no = |why: &str| CatalogError::NotACatalog(name.to_owned(), why.to_owned());
        let header = bytes.get(..HEADER).filter(|h| h.starts_with(MAGIC)).ok_or_else(|| no("it does not begin with MUSTERCT"))?;
        let number = |at| u64_at(header, at).unwrap_or(0);
        if u32_at(header, 8) != Some(VERSION) || number(16) != *PRINT {
            return Err(CatalogError::OtherVersion(name.to_owned()));
        }
        if number(24) != bytes.len() as u64 {
            return Err(no("its length is not the one it names"));
        }
        let table = bytes.get(HEADER..HEADER + SECTIONS * PLACE).ok_or_else(|| no("its section table"))?;
        if header.get(104..136) != Some(header_sum(header, table).as_slice()) {
            return Err(no("its header is damaged"));
        }
        let mut at = [(0, 0); SECTIONS];
        for (place, entry) in at.iter_mut().zip(table.chunks_exact(PLACE)) {
            let ends = |at| u64_at(entry, at).and_then(|n| usize::try_from(n).ok());
            let (Some(offset), Some(len)) = (ends(0), ends(8)) else { return Err(no("a section's place")) };
            if offset.checked_add(len).is_none_or(|end| end > bytes.len()) {
                return Err(no("a section's place"));
            }
            *place = (offset, len);
        }
        let hex = |at: usize| header.get(at..at + 32).map(|d| d.iter().map(|b| format!("{b:02x}")).collect::<String>().into_boxed_str());
        let base = hex(64).filter(|b| b.bytes().any(|c| c != b'0'));
        let len = u32::try_from(number(96)).map_err(|_| no("its number of definitions"))?;
        let digest = hex(32).unwrap_or_default();
        let segment = Segment { bytes, at, digest, base, len };
        let whole = |section, size: usize, count: usize| segment.section(section).len() == count * size;
        let count = index(len);
        if !whole(Section::Ids, 4, count) || !whole(Section::DefinitionEnds, 8, count + 1) || !whole(Section::SupersededEnds, 4, count + 1)
        {
            return Err(no("the size of a section"));
        }
        Ok(segment)
    }

    /// Names the content.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The digest of the segment that this one stands upon; `None`: it is a base.
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// Definitions in it.
    pub fn len(&self) -> usize {
        index(self.len)
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn section(&self, section: Section) -> &[u8] {
        let (offset, len) = self.at.get(section as usize).copied().unwrap_or_default();
        self.bytes.get(offset..offset + len).unwrap_or_default()
    }

    pub(super) fn string(&self, id: u32) -> Option<&str> {
        let ends = self.section(Section::StringEnds);
        let [from, to] = [0, 8].map(|more| u64_at(ends, index(id).checked_mul(8)? + more).and_then(|n| usize::try_from(n).ok()));
        std::str::from_utf8(self.section(Section::Strings).get(from?..to?)?).ok()
    }

    /// The id of a definition by its position.
    pub fn id(&self, at: u32) -> Option<&str> {
        self.string(u32_at(self.section(Section::Ids), index(at).checked_mul(4)?)?)
    }

    /// The position of the definition of this id.
    pub fn position(&self, id: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.id(middle)?.cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Ids of the base that are gone.
    pub(super) fn removed(&self) -> impl Iterator<Item = &str> {
        self.section(Section::Removed).chunks_exact(4).filter_map(|c| self.string(u32_at(c, 0)?))
    }

    pub(super) fn definition_bytes(&self, at: u32) -> Option<&[u8]> {
        let ends = self.section(Section::DefinitionEnds);
        let [from, to] = [0, 8].map(|more| u64_at(ends, index(at).checked_mul(8)? + more).and_then(|n| usize::try_from(n).ok()));
        self.section(Section::Definitions).get(from?..to?)
    }

    /// Ids of what replaces a definition; those that do so on one system only as [`replaced_on`] writes them.
    pub(super) fn superseded_by(&self, at: u32) -> impl Iterator<Item = &str> {
        let ends = self.section(Section::SupersededEnds);
        let at = index(at).saturating_mul(4);
        let [from, to] = [at, at.saturating_add(4)].map(|at| u32_at(ends, at).map_or(0, index).saturating_mul(4));
        let list = self.section(Section::Superseded).get(from..to).unwrap_or_default();
        list.chunks_exact(4).filter_map(|c| self.string(u32_at(c, 0)?))
    }

    /// The group of a key, by its hash.
    pub(super) fn group(&self, hash: u64, key: &[u8]) -> Option<Group> {
        let directory = self.section(Section::Directory);
        let bits = (directory.len() / 4).checked_sub(1)?.checked_ilog2()?;
        let slot = usize::try_from(hash.checked_shr(64 - bits).unwrap_or(0)).ok()?;
        let last = self.section(Section::Groups).len() / GROUP;
        let mut low = index(u32_at(directory, slot * 4)?);
        let mut high = index(u32_at(directory, slot * 4 + 4)?).min(last);
        while low < high {
            let middle = low + (high - low) / 2;
            let group = self.group_at(middle)?;
            let order = group.hash.cmp(&hash).then_with(|| self.key(&group).cmp(key));
            match order {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(group),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn group_at(&self, at: usize) -> Option<Group> {
        let r = self.section(Section::Groups).get(at.checked_mul(GROUP)?..)?.get(..GROUP)?;
        Some(Group { hash: u64_at(r, 0)?, key: u64_at(r, 8)?, key_len: u32_at(r, 16)?, first: u32_at(r, 20)?, count: u32_at(r, 24)? })
    }

    fn key(&self, group: &Group) -> &[u8] {
        let from = usize::try_from(group.key).unwrap_or(usize::MAX);
        self.section(Section::Keys).get(from..from.saturating_add(index(group.key_len))).unwrap_or_default()
    }

    pub(super) fn records(&self, group: &Group) -> impl Iterator<Item = Record> {
        let from = index(group.first).saturating_mul(RECORD);
        let to = from.saturating_add(index(group.count).saturating_mul(RECORD));
        let all = self.section(Section::Records);
        all.get(from..to.min(all.len())).unwrap_or_default().chunks_exact(RECORD).filter_map(|r| {
            let [state, flags, scheme, numbering] = *r.get(12..)?.first_chunk()?;
            Some(Record {
                definition: u32_at(r, 0)?,
                target: u32_at(r, 4)?,
                subjects: u32_at(r, 8)?,
                state,
                flags,
                scheme,
                numbering,
                prefix: u64_at(r, 16)?,
                bounds: u64_at(r, 24)?,
            })
        })
    }

    /// A list of words behind its length.
    pub(super) fn list(&self, section: Section, at: u32) -> impl Iterator<Item = u32> + Clone {
        let bytes = self.section(section);
        let from = index(at).saturating_mul(4);
        let count = u32_at(bytes, from).map_or(0, index).saturating_mul(4);
        let list = bytes.get(from.saturating_add(4)..).unwrap_or_default();
        list.get(..count).unwrap_or_default().chunks_exact(4).filter_map(|c| u32_at(c, 0))
    }
}

fn header_sum(header: &[u8], table: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header.get(..104).unwrap_or_default()).update(table);
    *hasher.finalize().as_bytes()
}

/// Holds the whole of a compiled file against its digest: where it is written, and where it was brought from elsewhere.
pub fn verify(name: &str, bytes: &[u8]) -> Result<(), CatalogError> {
    if bytes.get(32..64) == Some(digest(bytes).as_bytes().as_slice()) {
        return Ok(());
    }
    Err(CatalogError::NotACatalog(name.to_owned(), "its digest does not fit its content; compile it again from its feed".to_owned()))
}

fn digest(file: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(file.get(64..104).unwrap_or_default()).update(file.get(HEADER..).unwrap_or_default());
    hasher.finalize()
}

/// Puts sections together to a file's bytes. The same sections give the same bytes.
pub(super) fn assemble(contents: &[Vec<u8>; SECTIONS], definitions: usize, base: Option<&str>) -> Vec<u8> {
    let start = HEADER + SECTIONS * PLACE;
    let mut places = Vec::with_capacity(SECTIONS * PLACE);
    let mut offset = start;
    for content in contents {
        offset = offset.next_multiple_of(8);
        places.extend_from_slice(&(offset as u64).to_le_bytes());
        places.extend_from_slice(&(content.len() as u64).to_le_bytes());
        offset += content.len();
    }
    let mut out = Vec::with_capacity(offset);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&word(SECTIONS).to_le_bytes());
    out.extend_from_slice(&PRINT.to_le_bytes());
    out.extend_from_slice(&(offset as u64).to_le_bytes());
    out.resize(HEADER, 0);
    out.extend_from_slice(&places);
    for content in contents {
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend_from_slice(content);
    }
    let base = base.and_then(|b| blake3::Hash::from_hex(b).ok()).map_or([0; 32], |h| *h.as_bytes());
    put(&mut out, 64, &base);
    put(&mut out, 96, &(definitions as u64).to_le_bytes());
    let sum = digest(&out);
    put(&mut out, 32, sum.as_bytes());
    let sum = header_sum(&out, &places);
    put(&mut out, 104, &sum);
    out
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Writes a compiled segment into a folder under the name of its content, aside first and then renamed in, and gives its path.
pub fn write_file(folder: &Path, bytes: &[u8]) -> Result<PathBuf, CatalogError> {
    let name: String = bytes.get(32..64).unwrap_or_default().iter().map(|b| format!("{b:02x}")).collect();
    let path = folder.join(format!("{name}.mustercatalog"));
    let fail = |source| CatalogError::Io { path: path.clone(), source };
    verify(&path.display().to_string(), bytes)?;
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
