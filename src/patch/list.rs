//! What people decide about patches: named lists, and Do Not Patch.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Patches under a name: from a filter, then edited by hand. Every edit is a new version; none is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchList {
    pub name: String,
    /// Counts from 1.
    pub version: u32,
    /// The filter that it was made from, as written; empty: by hand.
    pub filter: String,
    pub patches: BTreeSet<String>,
    /// Who made this version, and why.
    pub author: String,
    pub note: String,
    pub at_ms: i64,
}

/// Do Not Patch: at these endpoints these patches are not installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exemption {
    /// `exm_<store>_<number>`
    pub id: String,
    /// An endpoint's id, or a group's name.
    pub scope: Scope,
    /// Ids of patches; `*` and `?` as elsewhere.
    pub patches: Vec<String>,
    pub reason: String,
    pub approver: String,
    pub created_ms: i64,
    /// From then on it does not count. `None`: until somebody ends it.
    pub expires_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Endpoint(String),
    Group(String),
    Everywhere,
}

/// All of them, as the shard keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// By name, all versions, oldest first. A list whose last version has no patches is still there.
    pub lists: BTreeMap<String, Vec<PatchList>>,
    pub exemptions: BTreeMap<String, Exemption>,
}

impl Decisions {
    /// The list as it is now.
    pub fn list(&self, name: &str) -> Option<&PatchList> {
        self.lists.get(name)?.last()
    }
}
