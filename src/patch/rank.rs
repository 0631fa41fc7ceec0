//! Which patches matter first: a documented formula over what is published of a patch, and the endpoint's own value.
//!
//! docs/PATCHES.md has the formula for users; it is this file in words.

use serde::{Deserialize, Serialize};

use crate::feed::model::Level;

/// Where a patch stands among all, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// 0 to 100.
    pub priority: u8,
    pub band: Band,
    /// The vendor's word, or what the CVSS score comes to.
    pub level: Level,
    /// Base score in tenths, the highest of all.
    pub cvss: Option<u8>,
    /// In KEV, or said by the vendor.
    pub exploited: bool,
    pub ransomware: bool,
    /// KEV's date, `2026-11-20`.
    pub due: Option<Box<str>>,
    /// Probability in millionths, the highest of its CVEs.
    pub epss: Option<u32>,
    /// What the priority is the sum of, in the order of the formula: name and points.
    pub parts: Vec<(Box<str>, i16)>,
}

/// In the words of NIST SP 800-40r4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Band {
    Routine,
    Soon,
    Emergency,
}
