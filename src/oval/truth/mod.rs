//! How results and flags combine: counts of single results in, one result out. The tables of the OVAL specification, 5.3, and where
//! OpenSCAP departs from them.
//!
//! Each departure is marked `OpenSCAP:`; those of comparisons are in `value`, those of a state's entities in `eval`.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::facts::{Flag, Status};
use super::model::{Check, Existence, Operator, OvalResult, SetOperator};

/// Whose answers are wanted where the specification and the common evaluator differ.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compat {
    #[default]
    Specification,
    OpenScap,
}

/// How many results there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub yes: u32,
    pub no: u32,
    pub error: u32,
    pub unknown: u32,
    pub not_evaluated: u32,
    pub not_applicable: u32,
}

impl Counts {
    pub fn add(&mut self, result: OvalResult) {
        let count = match result {
            OvalResult::True => &mut self.yes,
            OvalResult::False => &mut self.no,
            OvalResult::Error => &mut self.error,
            OvalResult::Unknown => &mut self.unknown,
            OvalResult::NotEvaluated => &mut self.not_evaluated,
            OvalResult::NotApplicable => &mut self.not_applicable,
        };
        *count = count.saturating_add(1);
    }

    pub fn of(results: impl IntoIterator<Item = OvalResult>) -> Counts {
        let mut counts = Counts::default();
        for result in results {
            counts.add(result);
        }
        counts
    }

    /// What is neither true nor false, the gravest first.
    fn doubt(&self) -> Option<OvalResult> {
        if self.error > 0 {
            Some(OvalResult::Error)
        } else if self.unknown > 0 {
            Some(OvalResult::Unknown)
        } else if self.not_evaluated > 0 {
            Some(OvalResult::NotEvaluated)
        } else {
            None
        }
    }

    /// Without anything that counts, no table has a row.
    fn nothing(&self) -> Option<OvalResult> {
        if self.yes > 0 || self.no > 0 || self.doubt().is_some() {
            None
        } else if self.not_applicable > 0 {
            Some(OvalResult::NotApplicable)
        } else {
            Some(OvalResult::Unknown)
        }
    }
}

fn truth(yes: bool) -> OvalResult {
    if yes { OvalResult::True } else { OvalResult::False }
}

pub fn negate(result: OvalResult) -> OvalResult {
    match result {
        OvalResult::True => OvalResult::False,
        OvalResult::False => OvalResult::True,
        other => other,
    }
}

/// `operator`, `state_operator`.
pub fn operator(counts: &Counts, operator: Operator) -> OvalResult {
    if let Some(result) = counts.nothing() {
        return result;
    }
    match operator {
        Operator::And if counts.no > 0 => OvalResult::False,
        Operator::Or if counts.yes > 0 => OvalResult::True,
        Operator::One if counts.yes > 1 => OvalResult::False,
        Operator::And => counts.doubt().unwrap_or(OvalResult::True),
        Operator::Or => counts.doubt().unwrap_or(OvalResult::False),
        Operator::One => counts.doubt().unwrap_or(truth(counts.yes == 1)),
        Operator::Xor => counts.doubt().unwrap_or(truth(counts.yes % 2 == 1)),
    }
}

/// `check`, `entity_check`, `var_check`. Counts past two make no difference.
pub fn check(counts: &Counts, check: Check, compat: Compat) -> OvalResult {
    if let Some(result) = counts.nothing() {
        return result;
    }
    match check {
        Check::All if counts.no > 0 => OvalResult::False,
        Check::AtLeastOne if counts.yes > 0 => OvalResult::True,
        Check::NoneSatisfy if counts.yes > 0 => OvalResult::False,
        Check::OnlyOne if counts.yes > 1 => OvalResult::False,
        // OpenSCAP: (1) a false one beside one that is unknown or was not evaluated makes an error.
        Check::AtLeastOne if compat == Compat::OpenScap && counts.no > 0 && counts.doubt().is_some() => OvalResult::Error,
        Check::All => counts.doubt().unwrap_or(OvalResult::True),
        Check::AtLeastOne => counts.doubt().unwrap_or(OvalResult::False),
        Check::NoneSatisfy => counts.doubt().unwrap_or(OvalResult::True),
        Check::OnlyOne => counts.doubt().unwrap_or(truth(counts.yes == 1)),
    }
}

/// How many items or entities there are of each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    pub exists: u32,
    pub missing: u32,
    pub error: u32,
    pub not_collected: u32,
}

impl Statuses {
    pub fn add(&mut self, status: Status) {
        let count = match status {
            Status::Exists => &mut self.exists,
            Status::DoesNotExist => &mut self.missing,
            Status::Error => &mut self.error,
            Status::NotCollected => &mut self.not_collected,
        };
        *count = count.saturating_add(1);
    }

    pub fn of(statuses: impl IntoIterator<Item = Status>) -> Statuses {
        let mut counts = Statuses::default();
        for status in statuses {
            counts.add(status);
        }
        counts
    }

    fn doubt(&self) -> Option<OvalResult> {
        if self.error > 0 {
            Some(OvalResult::Error)
        } else if self.not_collected > 0 {
            Some(OvalResult::Unknown)
        } else {
            None
        }
    }

    fn existence(&self, existence: Existence) -> OvalResult {
        match existence {
            Existence::All if self.missing > 0 => OvalResult::False,
            Existence::AtLeastOne if self.exists > 0 => OvalResult::True,
            Existence::None if self.exists > 0 => OvalResult::False,
            Existence::OnlyOne if self.exists > 1 => OvalResult::False,
            Existence::All => self.doubt().unwrap_or(truth(self.exists > 0)),
            Existence::Any if self.error > 0 && self.exists == 0 => OvalResult::Error,
            Existence::Any => OvalResult::True,
            Existence::AtLeastOne => self.doubt().unwrap_or(OvalResult::False),
            Existence::None => self.doubt().unwrap_or(OvalResult::True),
            Existence::OnlyOne => self.doubt().unwrap_or(truth(self.exists == 1)),
        }
    }
}

/// `check_existence` of a test.
pub fn test_existence(statuses: &Statuses, existence: Existence, compat: Compat) -> OvalResult {
    match compat {
        // The text says that "all exist" of a test means "at least one exists", the table that a missing item makes it false: the table.
        Compat::Specification => statuses.existence(existence),
        Compat::OpenScap => {
            // OpenSCAP: (3) items that were not collected do not count, (9) nor do missing ones for "all exist".
            let seen = Statuses { missing: 0, not_collected: 0, ..*statuses };
            match existence {
                // OpenSCAP: (3) existing items beside ones in error.
                Existence::None if seen.error > 0 => OvalResult::Error,
                other => seen.existence(other),
            }
        }
    }
}

/// `check_existence` of a state's entity.
pub fn entity_existence(statuses: &Statuses, existence: Existence, compat: Compat) -> OvalResult {
    if compat == Compat::Specification {
        return statuses.existence(existence);
    }
    let Statuses { exists, error, not_collected, .. } = *statuses;
    match existence {
        Existence::AtLeastOne if exists == 0 && error == 0 && not_collected == 0 => OvalResult::Unknown,
        // OpenSCAP: (8) one that was not collected makes an error, unless it is all there is.
        Existence::OnlyOne if exists <= 1 && error == 0 => match (exists, not_collected) {
            (1, 0) => OvalResult::True,
            (0, 1) => OvalResult::False,
            (0, 0) => OvalResult::Unknown,
            _ => OvalResult::Error,
        },
        other => statuses.existence(other),
    }
}

/// What the items of a test's object came to.
#[derive(Clone, Copy, Debug)]
pub struct Collection {
    /// `None`: nothing is known of the object.
    pub flag: Option<Flag>,
    pub statuses: Statuses,
    /// The results of the items against the states; `None` if there are no states.
    pub states: Option<Counts>,
}

/// The result of a test.
pub fn test(collection: &Collection, existence: Existence, by: Check, compat: Compat) -> OvalResult {
    let Collection { flag, statuses, states } = collection;
    // OpenSCAP: (4) "any exist" without states is true whatever happened to the collection.
    let anything = compat == Compat::OpenScap && existence == Existence::Any && states.is_none();
    match flag {
        None => OvalResult::Unknown,
        Some(Flag::Error | Flag::NotCollected | Flag::NotApplicable) if anything => OvalResult::True,
        Some(Flag::Error) => OvalResult::Error,
        Some(Flag::NotCollected) => OvalResult::Unknown,
        Some(Flag::NotApplicable) => OvalResult::NotApplicable,
        Some(Flag::DoesNotExist) => truth(matches!(existence, Existence::None | Existence::Any)),
        Some(Flag::Complete) => match (test_existence(statuses, existence, compat), states) {
            (OvalResult::True, Some(counts)) => check(counts, by, compat),
            (result, _) => result,
        },
        Some(Flag::Incomplete) => incomplete(statuses, *states, existence, by, compat),
    }
}

/// There may be more items than were seen: what more of them could turn is unknown.
fn incomplete(statuses: &Statuses, states: Option<Counts>, existence: Existence, by: Check, compat: Compat) -> OvalResult {
    match existence {
        Existence::None if statuses.exists > 0 => return OvalResult::False,
        Existence::OnlyOne if statuses.exists > 1 => return OvalResult::False,
        _ => {}
    }
    let exists = match compat {
        Compat::Specification => test_existence(statuses, existence, compat) == OvalResult::True,
        // OpenSCAP: what is in error does not count here, and only these two can hold.
        Compat::OpenScap => existence == Existence::Any || existence == Existence::AtLeastOne && statuses.exists > 0,
    };
    match states {
        _ if !exists => OvalResult::Unknown,
        // The specification excepts only what a check decides, and without states there is none.
        None if compat == Compat::Specification => OvalResult::Unknown,
        // OpenSCAP: more items could not turn it.
        None => OvalResult::True,
        Some(counts) => match check(&counts, by, compat) {
            OvalResult::False => OvalResult::False,
            OvalResult::True if by == Check::AtLeastOne => OvalResult::True,
            _ => OvalResult::Unknown,
        },
    }
}

/// Columns are the first operand's flag, rows the second's, both in the order error, complete, incomplete, does not exist, not collected,
/// not applicable.
type Flags = [&'static [u8; 6]; 6];
const UNION: Flags = [b"EEEEEE", b"ECICIC", b"EIIIII", b"ECIDID", b"EIIINN", b"ECIDNA"];
const INTERSECTION: Flags = [b"EEEDEE", b"ECIDNC", b"EIIDNI", b"DDDDDD", b"ENNDNN", b"ECIDNA"];
const COMPLEMENT: Flags = [b"EEEDEE", b"ECIDNE", b"EEEDNE", b"ECIDNE", b"ENNDNE", b"EEEEEE"];

/// The flag of a set of the flags of its two operands.
pub fn set_flag(operator: SetOperator, first: Flag, second: Flag) -> Flag {
    let place = |flag: Flag| match flag {
        Flag::Error => 0,
        Flag::Complete => 1,
        Flag::Incomplete => 2,
        Flag::DoesNotExist => 3,
        Flag::NotCollected => 4,
        Flag::NotApplicable => 5,
    };
    let table = match operator {
        SetOperator::Union => UNION,
        SetOperator::Intersection => INTERSECTION,
        SetOperator::Complement => COMPLEMENT,
    };
    match table[place(second)][place(first)] {
        b'C' => Flag::Complete,
        b'I' => Flag::Incomplete,
        b'D' => Flag::DoesNotExist,
        b'N' => Flag::NotCollected,
        b'A' => Flag::NotApplicable,
        _ => Flag::Error,
    }
}

/// The flag of a function of the flags of its operands.
pub fn function_flag(first: Flag, second: Flag) -> Flag {
    let weight = |flag: Flag| match flag {
        Flag::Complete => 0,
        Flag::Incomplete => 1,
        Flag::DoesNotExist => 2,
        Flag::NotCollected => 3,
        Flag::NotApplicable => 4,
        Flag::Error => 5,
    };
    if weight(second) > weight(first) { second } else { first }
}
