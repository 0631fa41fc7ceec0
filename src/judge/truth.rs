//! The six truth values of a condition, and how they combine.
//!
//! Beside true and false a condition can be in one of four abnormal states. They travel like errors in CEL: a decisive operand
//! absorbs them, and where two meet the worse one wins, so that `&&` and `||` do not depend on the order of their operands.

use super::Verdict;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Truth {
    False = 0,
    True = 1,
    /// A key or column that was looked for is not there.
    Missing = 2,
    /// The table, or the asked item, was not uploaded.
    NotCollected = 3,
    /// It was looked at and could not be read.
    Unknown = 4,
    /// The table failed, or the expression cannot be computed.
    Error = 5,
}

impl Truth {
    pub fn of(b: bool) -> Truth {
        if b { Truth::True } else { Truth::False }
    }

    pub fn from_u8(n: u8) -> Option<Truth> {
        Some(match n {
            0 => Truth::False,
            1 => Truth::True,
            2 => Truth::Missing,
            3 => Truth::NotCollected,
            4 => Truth::Unknown,
            5 => Truth::Error,
            _ => return None,
        })
    }

    pub fn is_abnormal(self) -> bool {
        self > Truth::True
    }

    pub fn and(self, other: Truth) -> Truth {
        if self == Truth::False || other == Truth::False { Truth::False } else { self.max(other) }
    }

    pub fn or(self, other: Truth) -> Truth {
        if self == Truth::True || other == Truth::True { Truth::True } else { self.max(other) }
    }
}

impl std::ops::Not for Truth {
    type Output = Truth;
    fn not(self) -> Truth {
        match self {
            Truth::False => Truth::True,
            Truth::True => Truth::False,
            abnormal => abnormal,
        }
    }
}

/// The verdict of a rule from whether it applies, what its check says, and what a missing key means for it.
pub fn verdict(applies: Truth, check: Truth, missing: Verdict) -> Verdict {
    match applies {
        // A thing that is not there is a thing that the rule is not about.
        Truth::False | Truth::Missing => return Verdict::NotApplicable,
        Truth::True => {}
        abnormal => return abnormal_verdict(abnormal),
    }
    match check {
        Truth::True => Verdict::Pass,
        Truth::False => Verdict::Fail,
        Truth::Missing => missing,
        abnormal => abnormal_verdict(abnormal),
    }
}

/// INVARIANT: not collected is not compliant. No abnormal state becomes a pass here.
fn abnormal_verdict(truth: Truth) -> Verdict {
    match truth {
        Truth::NotCollected => Verdict::NotChecked,
        Truth::Error => Verdict::Error,
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Truth; 6] = [Truth::False, Truth::True, Truth::Missing, Truth::NotCollected, Truth::Unknown, Truth::Error];

    #[test]
    fn and_or_are_commutative_associative_and_dual() {
        for a in ALL {
            assert_eq!(!!a, a);
            for b in ALL {
                assert_eq!(a.and(b), b.and(a));
                assert_eq!(a.or(b), b.or(a));
                assert_eq!(!a.and(b), (!a).or(!b));
                for c in ALL {
                    assert_eq!(a.and(b).and(c), a.and(b.and(c)));
                    assert_eq!(a.or(b).or(c), a.or(b.or(c)));
                }
            }
        }
    }

    #[test]
    fn only_true_passes() {
        for applies in ALL {
            for check in ALL {
                let v = verdict(applies, check, Verdict::Fail);
                assert_eq!(v == Verdict::Pass, applies == Truth::True && check == Truth::True);
            }
        }
    }
}
