//! How XCCDF makes results of OVAL's, and combines them (NISTIR 7275r4, tables 12 to 14).

use crate::judge::Verdict;
use crate::oval::model::{Class, OvalResult};
use crate::oval::truth::Compat;

/// For a vulnerability or a missing patch, true is bad.
pub(super) fn verdict(result: OvalResult, class: Class) -> Verdict {
    let bad = matches!(class, Class::Vulnerability | Class::Patch);
    match result {
        OvalResult::True if bad => Verdict::Fail,
        OvalResult::False if bad => Verdict::Pass,
        OvalResult::True => Verdict::Pass,
        OvalResult::False => Verdict::Fail,
        OvalResult::Unknown => Verdict::Unknown,
        OvalResult::Error => Verdict::Error,
        OvalResult::NotEvaluated => Verdict::NotChecked,
        OvalResult::NotApplicable => Verdict::NotApplicable,
    }
}

pub(super) fn negate(verdict: Verdict, negate: bool) -> Verdict {
    match verdict {
        Verdict::Pass if negate => Verdict::Fail,
        Verdict::Fail if negate => Verdict::Pass,
        other => other,
    }
}

/// `None` if there is nothing to combine.
pub(super) fn and(all: impl IntoIterator<Item = Verdict>, compat: Compat) -> Option<Verdict> {
    use Verdict::{Error, Fail, Pass, Unknown};
    all.into_iter().reduce(|a, b| combine(a, b, [Fail, Unknown, Error, Pass], compat))
}

/// `None` if there is nothing to combine.
pub(super) fn or(all: impl IntoIterator<Item = Verdict>, compat: Compat) -> Option<Verdict> {
    use Verdict::{Error, Fail, Pass, Unknown};
    all.into_iter().reduce(|a, b| combine(a, b, [Pass, Unknown, Error, Fail], compat))
}

/// The first of `order` that is there; what is not in it gives way to what is.
fn combine(a: Verdict, b: Verdict, order: [Verdict; 4], compat: Compat) -> Verdict {
    if compat == Compat::OpenScap
        && let Some(result) = swapped(a, b, order)
    {
        return result;
    }
    let rank = |v: Verdict| order.iter().position(|o| *o == v).unwrap_or(order.len());
    // Of those that say nothing, OpenSCAP's order: notapplicable, notchecked, notselected, informational.
    if rank(a) == rank(b) {
        a.min(b)
    } else if rank(a) < rank(b) {
        a
    } else {
        b
    }
}

/// OpenSCAP has the rows of error and unknown in each other's place: with one of them on the left, the result is the other one.
fn swapped(a: Verdict, b: Verdict, order: [Verdict; 4]) -> Option<Verdict> {
    let decisive = order.first().copied()?;
    match a {
        _ if b == decisive => None,
        Verdict::Error => Some(Verdict::Unknown),
        Verdict::Unknown if b == Verdict::Unknown => Some(Verdict::Unknown),
        Verdict::Unknown => Some(Verdict::Error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Error as E, Fail as F, NotChecked as N, Pass as P, Unknown as U};

    #[test]
    fn the_published_tables() {
        let all = [P, F, U, E, N];
        let table = [[P, F, U, E, P], [F, F, F, F, F], [U, F, U, U, U], [E, F, U, E, E], [P, F, U, E, N]];
        for (a, row) in all.iter().zip(table) {
            for (b, want) in all.iter().zip(row) {
                assert_eq!(and([*a, *b], Compat::Specification), Some(want), "{a} and {b}");
            }
        }
        let table = [[P, P, P, P, P], [P, F, U, E, F], [P, U, U, U, U], [P, E, U, E, E], [P, F, U, E, N]];
        for (a, row) in all.iter().zip(table) {
            for (b, want) in all.iter().zip(row) {
                assert_eq!(or([*a, *b], Compat::Specification), Some(want), "{a} or {b}");
            }
        }
        assert_eq!(and([], Compat::Specification), None);
        assert_eq!(and([N, Verdict::NotApplicable], Compat::Specification), Some(Verdict::NotApplicable));
    }

    #[test]
    fn what_is_bad_when_true() {
        assert_eq!(verdict(OvalResult::True, Class::Patch), F);
        assert_eq!(verdict(OvalResult::False, Class::Vulnerability), P);
        assert_eq!(verdict(OvalResult::False, Class::Inventory), F);
        assert_eq!(negate(E, true), E);
        assert_eq!(negate(P, true), F);
    }
}
