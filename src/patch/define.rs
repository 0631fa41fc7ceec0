//! What is compiled: advisories in, one [`Definition`] for each thing to install (or vulnerability without one) out.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::feed::model::{Advisory, Exploitation, FixState, Restart, Score, Severity, Source, Target, Versions};
use crate::feed::supersede::{Cycle, TooMany};
use crate::limits::Limits;

/// One patch, whole: what the catalog keeps of it, and what `muster patch show` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// `DSA-5532-1`, `ALSA-2023:0001`, `KB5031364`, `CVE-2024-1234`. Unique in its feed.
    pub id: Box<str>,
    pub kind: Kind,
    pub source: Source,
    pub publisher: Box<str>,
    pub title: Box<str>,
    /// As the vendor wrote it, cut at a length.
    pub summary: Box<str>,
    /// The highest that the vendor gave.
    pub severity: Option<Severity>,
    pub scores: Vec<Score>,
    pub published: Option<Timestamp>,
    pub modified: Option<Timestamp>,
    /// Sorted.
    pub cves: Vec<Box<str>>,
    /// The advisories that it is of, where their ids are not its own (the CVEs of a KB); sorted.
    pub advisories: Vec<Box<str>>,
    pub references: Vec<Box<str>>,
    pub exploitation: Exploitation,
    pub restart: Option<Restart>,
    /// Patches of the same feed that replace this one, directly or through others; sorted.
    pub superseded_by: Vec<Box<str>>,
    pub entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something to install.
    Update,
    /// A service pack: comes before everything else.
    ServicePack,
    /// What installs the others must be new enough first (servicing stack).
    ServicingStack,
    /// A vulnerability: what mends it is a newer version, under no name of its own.
    Vulnerability,
}

/// What a patch says of one product: one or two conditions on one row (`feed::model`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub target: Target,
    /// Those that are affected; under [`FixState::Fixed`] those that lack the fix.
    pub versions: Versions,
    pub state: FixState,
    /// The first version that has the fix, if one is known.
    pub fixed: Box<str>,
    /// The first Windows build that has it.
    pub build: Box<str>,
    /// CVEs that this is about; none: all of the patch.
    pub about: Vec<Box<str>>,
    pub reason: Box<str>,
}

/// What a feed comes to.
#[derive(Clone, Debug, Default)]
pub struct Defined {
    /// Sorted by id.
    pub definitions: Vec<Arc<Definition>>,
    pub cycles: Vec<Cycle>,
    /// Advisories that are withdrawn.
    pub withdrawn: usize,
}

/// The definitions of one feed's advisories. The same advisories in any order give the same definitions.
pub fn define(advisories: Vec<Advisory>, limits: &Limits) -> Result<Defined, TooMany> {
    let _ = (advisories, limits);
    Ok(Defined::default())
}
