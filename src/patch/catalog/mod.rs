//! Definitions compiled: immutable segments, shared and memory-mapped, one or two a feed, and what is known of CVEs beside them.
//!
//! A feed has a **base** segment; an update that changes little adds a **delta**, whose patches stand in the place of the base's and which names those that are
//! gone. So an update compiles what changed.

use std::path::Path;
use std::sync::Arc;

use super::define::Definition;
use super::rank::Rank;
use super::{Note, PatchId};
use crate::scan::Row;

/// A compiled file, mapped.
#[derive(Debug)]
pub struct Segment;

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("cannot read `{}`: {source}", path.display())]
    Io { path: std::path::PathBuf, source: std::io::Error },
    #[error("`{0}` is no compiled catalog: {1}")]
    NotACatalog(String, String),
    #[error("`{0}` was compiled by another version of muster; it is compiled again from its feed")]
    OtherVersion(String),
}

/// What compiling a feed came to.
#[derive(Debug, Default)]
pub struct Compiled {
    /// The segment's bytes.
    pub bytes: Vec<u8>,
    /// It stands upon the base that was given; else it is a base itself.
    pub delta: bool,
    pub added: Vec<Box<str>>,
    pub changed: Vec<Box<str>>,
    pub removed: Vec<Box<str>>,
}

/// Compiles the definitions of a feed: against the base (and delta) that there is, only what changed since the base, unless that is much.
pub fn compile(definitions: &[Arc<Definition>], present: &[Arc<Segment>]) -> Compiled {
    let _ = (definitions, present);
    Compiled::default()
}

impl Segment {
    pub fn open(path: &Path) -> Result<Segment, CatalogError> {
        let _ = path;
        Ok(Segment)
    }

    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Segment, CatalogError> {
        let _ = (name, bytes);
        Ok(Segment)
    }

    /// Names the content.
    pub fn digest(&self) -> &str {
        ""
    }
}

/// One feed in a catalog: its name and its segments, the base first.
#[derive(Clone, Debug)]
pub struct Part {
    pub feed: Arc<str>,
    pub segments: Vec<Arc<Segment>>,
}

/// What is published of CVEs whatever the product: KEV and EPSS.
#[derive(Clone, Debug, Default)]
pub struct Threats {
    pub kev: crate::feed::kev::Catalog,
    pub epss: crate::feed::epss::Scores,
}

/// All that is known of patches.
#[derive(Debug, Default)]
pub struct Catalog {
    parts: Vec<Part>,
    threats: Arc<Threats>,
}

impl Catalog {
    pub fn new(parts: Vec<Part>, threats: Arc<Threats>) -> Catalog {
        Catalog { parts, threats }
    }

    /// The same for the same segments and threats.
    pub fn digest(&self) -> String {
        let _ = (&self.parts, &self.threats);
        String::new()
    }

    /// Patches that count.
    pub fn len(&self) -> usize {
        0
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All patches that count, in the order of their positions. Positions of patches that a delta replaced are skipped.
    pub fn patches(&self) -> impl Iterator<Item = PatchId> + '_ {
        std::iter::empty()
    }

    /// The patches of this id: one a feed that has it.
    pub fn find(&self, id: &str) -> Vec<PatchId> {
        let _ = id;
        Vec::new()
    }

    /// Id of a patch, and the feed that it is of.
    pub fn id(&self, patch: PatchId) -> Option<(&str, &str)> {
        let _ = patch;
        None
    }

    /// Everything about it, read from the segment.
    pub fn definition(&self, patch: PatchId) -> Option<Definition> {
        let _ = patch;
        None
    }

    pub fn rank(&self, patch: PatchId) -> Option<Rank> {
        let _ = patch;
        None
    }

    /// What a row says of all patches, to be kept with it: sorted. Ordinary packages that are fixed are silent.
    pub fn ask(&self, row: &Row) -> Box<[Note]> {
        let _ = row;
        Box::default()
    }

    /// The same, and [`super::Says::Has`] also of every patch that a package has already.
    pub fn ask_fully(&self, row: &Row) -> Vec<Note> {
        let _ = row;
        Vec::new()
    }
}
