//! Verdicts. [`explain`] is the definition; [`forward`] and [`inverted`] are the fast ways to the same answers:
//! of all rules for one endpoint, and of one rule for all endpoints.

pub mod explain;
pub mod forward;
pub mod inverted;
pub mod joins;
pub mod truth;

use std::fmt;

use serde::{Deserialize, Serialize};

/// XCCDF 1.2's nine results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Verdict {
    Pass = 0,
    Fail = 1,
    Error = 2,
    Unknown = 3,
    NotApplicable = 4,
    NotChecked = 5,
    NotSelected = 6,
    Informational = 7,
    Fixed = 8,
}

impl Verdict {
    pub const ALL: [Verdict; 9] = [
        Verdict::Pass,
        Verdict::Fail,
        Verdict::Error,
        Verdict::Unknown,
        Verdict::NotApplicable,
        Verdict::NotChecked,
        Verdict::NotSelected,
        Verdict::Informational,
        Verdict::Fixed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Error => "error",
            Verdict::Unknown => "unknown",
            Verdict::NotApplicable => "notapplicable",
            Verdict::NotChecked => "notchecked",
            Verdict::NotSelected => "notselected",
            Verdict::Informational => "informational",
            Verdict::Fixed => "fixed",
        }
    }

    pub fn by_name(name: &str) -> Option<Verdict> {
        Verdict::ALL.into_iter().find(|v| v.name() == name)
    }

    pub fn from_u8(n: u8) -> Option<Verdict> {
        Verdict::ALL.get(usize::from(n)).copied()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
