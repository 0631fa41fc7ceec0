//! What was: verdicts, patch states and counts at a past instant, from the turns that are kept as they happen.

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use crate::feed::model::Level;
use crate::judge::Verdict;
use crate::patch::State;

/// Endpoints at which a rule's verdict turned, all in the same way, because the rules changed.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleTurn {
    pub rule: Box<str>,
    /// `None`: the rule is new.
    pub from: Option<Verdict>,
    /// `None`: it is gone.
    pub to: Option<Verdict>,
    /// Their numbers ([`crate::fleet::EndpointId`]).
    pub endpoints: RoaringBitmap,
}

/// How a patch stood at an endpoint, as far as rows note it: what is missing carries how severe it was taken to be then. 0: it was not applicable, installed or not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stood(u8);

/// The states after the ten kinds of missing.
const STATES: [State; 6] =
    [State::Superseded, State::Exempt, State::PendingReboot, State::NoFix, State::WillNotFix, State::UnderInvestigation];

impl Stood {
    /// One more than the highest code.
    pub const CODES: u8 = 17;
    pub const NOTHING: Stood = Stood(0);

    pub fn new(state: State, level: Level, exploited: bool) -> Stood {
        if state == State::Missing {
            return Stood(1 + 2 * (level as u8) + u8::from(exploited));
        }
        let at = STATES.iter().position(|s| *s == state).and_then(|at| u8::try_from(at).ok());
        Stood(at.map_or(0, |at| 11 + at))
    }

    pub fn code(self) -> u8 {
        self.0
    }

    pub fn from_code(code: u8) -> Option<Stood> {
        (code < Stood::CODES).then_some(Stood(code))
    }

    /// `None`: nothing that rows note.
    pub fn state(self) -> Option<State> {
        match self.0 {
            0 => None,
            1..=10 => Some(State::Missing),
            code => STATES.get(usize::from(code) - 11).copied(),
        }
    }

    /// Of what is missing: how severe, and whether it is exploited.
    pub fn weight(self) -> Option<(Level, bool)> {
        let code = self.0.checked_sub(1).filter(|c| *c < 10)?;
        Some((*Level::ALL.iter().find(|l| **l as u8 == code / 2)?, code % 2 == 1))
    }
}

/// Endpoints at which a patch's state turned, all in the same way, because the catalog or what people decided changed. That a patch became exploited, or is
/// taken to be more severe, is a turn of those that miss it.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchTurn {
    pub feed: Box<str>,
    pub patch: Box<str>,
    pub from: Stood,
    pub to: Stood,
    pub endpoints: RoaringBitmap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_is_told_from_its_code() {
        for state in State::ALL {
            for level in Level::ALL {
                for exploited in [false, true] {
                    let stood = Stood::new(state, level, exploited);
                    assert_eq!(Stood::from_code(stood.code()), Some(stood));
                    let silent = matches!(state, State::NotApplicable | State::Installed | State::NotChecked);
                    assert_eq!(stood.state(), (!silent).then_some(state));
                    assert_eq!(stood.weight(), (state == State::Missing).then_some((level, exploited)));
                }
            }
        }
        assert_eq!(Stood::from_code(Stood::CODES), None);
    }
}
