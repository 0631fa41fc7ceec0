//! What items add to the result of a test: small counters that saturate, so that sums of sums in any order are the same.

use super::super::truth::{Counts, Statuses};

/// Ten counters of two bits: items that exist, are missing, in error, not collected; their results true, false, error, unknown, not
/// evaluated, not applicable. 0 is empty. No table of `truth` tells three from more, and none of a `check` tells odd from even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tally(pub u32);

const LOW: u32 = 0x5_5555;

impl Tally {
    pub fn new(statuses: &Statuses, results: &Counts) -> Tally {
        let fields = [
            statuses.exists,
            statuses.missing,
            statuses.error,
            statuses.not_collected,
            results.yes,
            results.no,
            results.error,
            results.unknown,
            results.not_evaluated,
            results.not_applicable,
        ];
        Tally(fields.iter().rev().fold(0, |packed, field| packed << 2 | (*field).min(3)))
    }

    /// Associative and commutative.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "a sum that saturates is not what `+` promises")]
    pub fn add(self, other: Tally) -> Tally {
        let (a, b) = (self.0, other.0);
        let (a0, a1, b0, b1) = (a & LOW, a >> 1 & LOW, b & LOW, b >> 1 & LOW);
        let carry = a0 & b0;
        let (sum0, sum1) = (a0 ^ b0, a1 ^ b1 ^ carry);
        let over = a1 & b1 | a1 & carry | b1 & carry;
        Tally((sum0 | over) | (sum1 | over) << 1)
    }

    pub fn statuses(self) -> Statuses {
        Statuses { exists: self.field(0), missing: self.field(1), error: self.field(2), not_collected: self.field(3) }
    }

    pub fn results(self) -> Counts {
        Counts {
            yes: self.field(4),
            no: self.field(5),
            error: self.field(6),
            unknown: self.field(7),
            not_evaluated: self.field(8),
            not_applicable: self.field(9),
        }
    }

    fn field(self, at: u32) -> u32 {
        self.0 >> (2 * at) & 3
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_saturate_in_any_order(a in 0u32..1 << 20, b in 0u32..1 << 20, c in 0u32..1 << 20) {
            let (a, b, c) = (Tally(a), Tally(b), Tally(c));
            prop_assert_eq!(a.add(b), b.add(a));
            prop_assert_eq!(a.add(b).add(c), a.add(b.add(c)));
            prop_assert_eq!(a.add(Tally::default()), a);
            for at in 0..10 {
                prop_assert_eq!(a.add(b).field(at), (a.field(at) + b.field(at)).min(3));
            }
            prop_assert_eq!(Tally::new(&a.statuses(), &a.results()), a);
        }
    }
}
