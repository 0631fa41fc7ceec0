//! What is known, durably: spaces of keys and values, changed only by whole batches.
//!
//! [`Store`] is the seam: the embedded store below a real daemon, [`memory`] below tests. Everything that one upload changes is one
//! [`Batch`]; a batch is there after a crash as a whole or not at all, and [`Store::commit`] returns when it is on the disk.

pub mod embedded;
pub mod memory;

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A set of keys. Names and encodings are docs/ARCHITECTURE.md's "what is stored".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Name -> value: the store's id, the pack's digest.
    Meta,
    /// Row id -> table name, 0, canonical bytes.
    Rows,
    /// Image id -> row ids in order.
    Images,
    /// Class id -> generation, verdicts: of classes that were made since the last swap.
    Classes,
    /// What the last swap made of classes, and who is in another one since. `shard::swap::stored`.
    Generation,
    /// Number -> labels or tables that endpoints have alike.
    Shared,
    /// Endpoint id -> endpoint.
    Endpoints,
    /// Endpoint id, 0, rule id -> episode.
    Episodes,
    /// Endpoint id, 0, item -> task.
    Tasks,
    /// Sink, 0, event number -> what is still to be delivered.
    Outbox,
    /// Name of a list, 0, version -> the list as it was then.
    Lists,
    /// Id -> exemption.
    Exemptions,
    /// Feed, 0, patch -> alert.
    Alerts,
    /// Kind, number -> name: the rules and patches that history names by numbers.
    Names,
    /// Step, group, 0, time -> what a group came to then.
    Trends,
    /// Number of 4096 endpoints -> when each was last heard of.
    Seen,
    /// Event number -> event, in segments of a week that retention drops whole.
    Events(u32),
    /// Lane, time -> what turned, in segments of a week that retention drops whole.
    History(u32),
}

impl Space {
    /// Of the encoding of its records.
    fn version(self) -> u8 {
        match self {
            // From 2 on an action may be about a patch.
            Space::Tasks => 2,
            // From 2 on what endpoints have alike is in `shared`, and they have numbers.
            Space::Endpoints => 2,
            _ => 1,
        }
    }

    pub const FIXED: [Space; 16] = [
        Space::Meta,
        Space::Rows,
        Space::Images,
        Space::Classes,
        Space::Generation,
        Space::Shared,
        Space::Endpoints,
        Space::Episodes,
        Space::Tasks,
        Space::Outbox,
        Space::Lists,
        Space::Exemptions,
        Space::Alerts,
        Space::Names,
        Space::Trends,
        Space::Seen,
    ];

    pub fn name(self) -> String {
        match self {
            Space::Meta => "meta".to_owned(),
            Space::Rows => "rows".to_owned(),
            Space::Images => "images".to_owned(),
            Space::Classes => "classes".to_owned(),
            Space::Generation => "generation".to_owned(),
            Space::Shared => "shared".to_owned(),
            Space::Endpoints => "endpoints".to_owned(),
            Space::Episodes => "episodes".to_owned(),
            Space::Tasks => "tasks".to_owned(),
            Space::Outbox => "outbox".to_owned(),
            Space::Lists => "lists".to_owned(),
            Space::Exemptions => "exemptions".to_owned(),
            Space::Alerts => "alerts".to_owned(),
            Space::Names => "names".to_owned(),
            Space::Trends => "trends".to_owned(),
            Space::Seen => "seen".to_owned(),
            Space::Events(segment) => format!("events-{segment}"),
            Space::History(segment) => format!("history-{segment}"),
        }
    }
}

/// Milliseconds that one segment of events covers.
pub const SEGMENT_MS: i64 = 7 * 24 * 3600 * 1000;

/// The segment that an event of this time belongs to.
pub fn segment(at_ms: i64) -> u32 {
    u32::try_from(at_ms.max(0) / SEGMENT_MS).unwrap_or(u32::MAX)
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open the store in `{}`: {why}", path.display())]
    Open { path: PathBuf, why: String },
    #[error("`{}` is in use by another muster", path.display())]
    InUse { path: PathBuf },
    #[error("the store could not write: {0}; it takes no more writes until it is opened again")]
    Poisoned(String),
    #[error("the store could not read: {0}")]
    Read(String),
    #[error("the disk has {free} bytes left, fewer than the reserve of {reserve} (limits.disk_reserve_bytes)")]
    Full { free: u64, reserve: u64 },
    #[error("the store's record `{key}` in `{space}` is damaged: {why}")]
    Damaged { space: String, key: String, why: String },
}

/// Changes that happen together. Later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub changes: Vec<(Space, Vec<u8>, Option<Vec<u8>>)>,
    /// Segments of events that retention drops.
    pub drop_segments: Vec<u32>,
    /// Segments of history that retention drops; those that are not there are no error.
    pub drop_history: Vec<u32>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.drop_segments.is_empty() && self.drop_history.is_empty()
    }

    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push((space, key.into(), Some(value.into())));
    }

    pub fn put_record<T: Serialize>(&mut self, space: Space, key: impl Into<Vec<u8>>, record: &T) {
        self.put(space, key, encode(space, record));
    }

    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.changes.push((space, key.into(), None));
    }
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Those of one space, in the order of keys.
pub type Entries = Vec<Entry>;

/// What is done with each key and value.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError> + 'v;

/// The same, until it says `false`.
pub type Take<'v> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StoreError> + 'v;

pub trait Store: Send + Sync {
    /// Visits everything in a space, in the order of keys.
    fn each(&self, space: Space, visit: &mut Visit<'_>) -> Result<(), StoreError>;
    /// The greatest key of a space.
    fn last(&self, space: Space) -> Result<Option<Vec<u8>>, StoreError>;
    /// The segments of events that there are, in order.
    fn segments(&self) -> Vec<u32>;
    /// Whether a commit of about so many bytes would find room; asked before anything changes.
    fn room(&self, bytes: u64) -> Result<(), StoreError>;
    /// Makes a batch durable. INVARIANT: after an error the store takes no more writes.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;
    /// A reader that works beside the writer.
    fn reader(&self) -> Box<dyn Reader>;
}

/// Reads of the cold: history that is not kept in memory.
pub trait Reader: Send + Sync {
    /// Up to `limit` events from a number on, in the order of numbers. INVARIANT: a clock that was set back puts later numbers into earlier segments, and
    /// the order is that of numbers still.
    fn events(&self, from: u64, limit: usize) -> Result<Entries, StoreError>;
    fn event(&self, seq: u64, at_ms: i64) -> Result<Option<Vec<u8>>, StoreError>;
    /// What is in a space from a key on, in the order of keys. A segment that is not there is empty.
    fn range(&self, space: Space, from: &[u8], take: &mut Take<'_>) -> Result<(), StoreError>;
}

/// A record in its stored form: the version of the encoding, then postcard.
pub fn encode<T: Serialize>(space: Space, record: &T) -> Vec<u8> {
    // Records are plain data; there is nothing that postcard cannot write into a Vec.
    postcard::to_extend(record, vec![space.version()]).unwrap_or_default()
}

/// INVARIANT: a record of another version is refused, never read as something else.
pub fn decode<T: DeserializeOwned>(space: Space, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    decode_version(space, space.version(), key, bytes)
}

/// The same for records that an earlier muster wrote.
pub fn decode_version<T: DeserializeOwned>(space: Space, version: u8, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |why: String| StoreError::Damaged { space: space.name(), key: String::from_utf8_lossy(key).into_owned(), why };
    match bytes.split_first() {
        Some((found, rest)) if *found == version => postcard::from_bytes(rest).map_err(|e| damaged(e.to_string())),
        Some((other, _)) => Err(damaged(format!("it has version {other}, this muster reads {version}"))),
        None => Err(damaged("it is empty".to_owned())),
    }
}

/// A key of two texts; ids never hold a zero byte.
pub fn pair_key(first: &str, second: &[u8]) -> Vec<u8> {
    [first.as_bytes(), &[0], second].concat()
}

/// The two parts of such a key.
pub fn split_pair(key: &[u8]) -> Option<(&str, &[u8])> {
    let at = key.iter().position(|b| *b == 0)?;
    Some((std::str::from_utf8(&key[..at]).ok()?, &key[at + 1..]))
}
