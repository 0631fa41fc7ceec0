//! Patches: what vendors say of installed software, compiled, and what it comes to at one endpoint.
//!
//! `advisories --define--> definitions --catalog--> segment (mapped file)`, and then, as with rules, each distinct row of the fleet is asked **once** what it says of
//! every patch ([`catalog::Catalog::ask`] -> [`Note`]s). A patch's state at an endpoint is the sum of its rows' notes ([`stand`]); no patch is looked at for an endpoint
//! whose rows say nothing of it, so an upload costs the same under 300 advisories and under 300,000.
//!
//! A **definition** is one thing to install (a DSA, an RHSA, a KB), or a vulnerability without one (a CVE of a tracker). What is not noted of a patch is not
//! applicable or installed; the difference is asked for when somebody looks ([`catalog::Catalog::ask_fully`]).

pub mod catalog;
pub mod define;
pub mod explain;
pub mod facts;
pub mod filter;
pub mod list;
pub mod plan;
pub mod rank;
pub mod report;
pub mod stand;
pub mod systeminfo;
pub mod windows;

use serde::{Deserialize, Serialize};

/// Position of a patch in a [`catalog::Catalog`]; another catalog, other positions.
pub type PatchId = u32;

/// What one row says of one patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Says {
    /// This row is affected, and only a newer one in its place mends it: an installed package below the fixed version.
    Lacks = 0,
    /// It is needed, unless another row [`Says::Has`] it: an operating system that a KB is for; an old kernel beside which a new one may be installed.
    Wants = 1,
    /// Here it is: a hotfix (or one that supersedes it), an operating system at or past the fixed build, a fixed kernel package. Ordinary packages that are
    /// fixed are silent.
    Has = 2,
    /// What runs is older than the fix: build or running kernel. As `Wants`; with a `Has` beside it, a reboot is pending.
    Old = 3,
    /// Affected, and there is no fix so far.
    NoFix = 4,
    /// Affected, and the vendor will not fix it.
    WillNotFix = 5,
    /// The vendor is looking into it.
    Investigating = 6,
    /// A repository of this endpoint offers what mends it (table `update`).
    Offers = 7,
}

impl Says {
    pub const ALL: [Says; 8] =
        [Says::Lacks, Says::Wants, Says::Has, Says::Old, Says::NoFix, Says::WillNotFix, Says::Investigating, Says::Offers];

    pub fn from_u8(byte: u8) -> Option<Says> {
        Says::ALL.get(usize::from(byte)).copied()
    }
}

/// What a row says of a patch, as it is kept with the row: 28 bits of patch, one for superseded, three for [`Says`]. Sorts by patch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Note(u32);

/// Patches that one catalog can have.
pub const PATCHES_MAX: u32 = 1 << 28;

impl Note {
    /// INVARIANT: a catalog has fewer than [`PATCHES_MAX`] patches.
    pub fn new(patch: PatchId, says: Says, superseded: bool) -> Note {
        Note((patch & (PATCHES_MAX - 1)) << 4 | u32::from(superseded) << 3 | u32::from(says as u8))
    }

    pub fn patch(self) -> PatchId {
        self.0 >> 4
    }

    /// As one number; those of notes in their order are in order.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// INVARIANT: of [`Note::bits`]; of any other number it is a note all the same.
    pub fn from_bits(bits: u32) -> Note {
        Note(bits)
    }

    /// Needed here, but a later patch that is needed here too brings it along.
    pub fn superseded(self) -> bool {
        self.0 & 8 != 0
    }

    pub fn says(self) -> Says {
        // INVARIANT: made by `new`, from one of eight.
        Says::from_u8((self.0 & 7) as u8).unwrap_or(Says::Investigating)
    }
}

impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{:?}{}", self.patch(), self.says(), if self.superseded() { " superseded" } else { "" })
    }
}

/// How a patch stands at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing here is affected.
    NotApplicable,
    /// It is there, or something later that has it.
    Installed,
    /// It is needed and not there.
    Missing,
    /// It is needed and not there, but a later patch that is needed too brings it along: that one is missing.
    Superseded,
    /// It would be missing or superseded, and somebody decided that it is not installed here (Do Not Patch).
    Exempt,
    /// It is installed, and what runs is older until the next start.
    PendingReboot,
    /// Affected, and there is no fix so far.
    NoFix,
    /// Affected, and the vendor says that there will be none.
    WillNotFix,
    /// The vendor is looking into it.
    UnderInvestigation,
    /// What decides it was not collected.
    NotChecked,
}

impl State {
    pub const ALL: [State; 10] = [
        State::NotApplicable,
        State::Installed,
        State::Missing,
        State::Superseded,
        State::Exempt,
        State::PendingReboot,
        State::NoFix,
        State::WillNotFix,
        State::UnderInvestigation,
        State::NotChecked,
    ];

    /// There is something to install for it, and it is needed or waits for a restart, whatever was decided about it.
    pub const APPLICABLE: [State; 4] = [State::Missing, State::Superseded, State::Exempt, State::PendingReboot];

    pub fn name(self) -> &'static str {
        match self {
            State::NotApplicable => "not_applicable",
            State::Installed => "installed",
            State::Missing => "missing",
            State::Superseded => "superseded",
            State::Exempt => "exempt",
            State::PendingReboot => "pending_reboot",
            State::NoFix => "no_fix",
            State::WillNotFix => "will_not_fix",
            State::UnderInvestigation => "under_investigation",
            State::NotChecked => "not_checked",
        }
    }

    pub fn by_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|s| s.name() == name)
    }

    /// The endpoint is affected today, whatever was decided about it.
    pub fn is_affected(self) -> bool {
        !matches!(self, State::NotApplicable | State::Installed | State::NotChecked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_keeps_what_it_was_made_of() {
        for patch in [0, 1, 299_999, PATCHES_MAX - 1] {
            for says in Says::ALL {
                for superseded in [false, true] {
                    let note = Note::new(patch, says, superseded);
                    assert_eq!((note.patch(), note.says(), note.superseded()), (patch, says, superseded));
                }
            }
        }
        assert!(Note::new(2, Says::Lacks, false) > Note::new(1, Says::Offers, true), "notes sort by patch");
    }

    #[test]
    fn states_have_names() {
        for state in State::ALL {
            assert_eq!(State::by_name(state.name()), Some(state));
        }
    }
}
