use super::*;
use Compat::{OpenScap, Specification};
use OvalResult::{Error as E, False as F, NotApplicable as NA, NotEvaluated as NE, True as T, Unknown as U};

/// A row of the published tables: how many there may be of each, and what it comes to.
type Row = (&'static str, OvalResult);

/// Columns are true, false, error, unknown, not evaluated, not applicable.
const ALL: [Row; 6] =
    [("1+ 0 0 0 0 0+", T), ("0+ 1+ 0+ 0+ 0+ 0+", F), ("0+ 0 1+ 0+ 0+ 0+", E), ("0+ 0 0 1+ 0+ 0+", U), ("0+ 0 0 0 1+ 0+", NE), NONE];
const ONE_OF: [Row; 6] =
    [("1+ 0+ 0+ 0+ 0+ 0+", T), ("0 1+ 0 0 0 0+", F), ("0 0+ 1+ 0+ 0+ 0+", E), ("0 0+ 0 1+ 0+ 0+", U), ("0 0+ 0 0 1+ 0+", NE), NONE];
const ONLY_ONE: [Row; 7] = [
    ("1 0+ 0 0 0 0+", T),
    ("2+ 0+ 0+ 0+ 0+ 0+", F),
    ("0 1+ 0 0 0 0+", F),
    ("01 0+ 1+ 0+ 0+ 0+", E),
    ("01 0+ 0 1+ 0+ 0+", U),
    ("01 0+ 0 0 1+ 0+", NE),
    NONE,
];
const NONE_OF: [Row; 6] =
    [("0 1+ 0 0 0 0+", T), ("1+ 0+ 0+ 0+ 0+ 0+", F), ("0 0+ 1+ 0+ 0+ 0+", E), ("0 0+ 0 1+ 0+ 0+", U), ("0 0+ 0 0 1+ 0+", NE), NONE];
const XOR: [Row; 6] = [
    ("0 0 0 0 0 1+", NA),
    ("odd 0+ 0 0 0 0+", T),
    ("even 0+ 0 0 0 0+", F),
    ("0+ 0+ 1+ 0+ 0+ 0+", E),
    ("0+ 0+ 0 1+ 0+ 0+", U),
    ("0+ 0+ 0 0 1+ 0+", NE),
];
const NONE: Row = ("0 0 0 0 0 1+", NA);

/// Columns are exists, does not exist, error, not collected.
const ALL_EXIST: [Row; 5] = [("1+ 0 0 0", T), ("0 0 0 0", F), ("0+ 1+ 0+ 0+", F), ("0+ 0 1+ 0+", E), ("0+ 0 0 1+", U)];
const ANY_EXIST: [Row; 3] = [("0+ 0+ 0 0+", T), ("1+ 0+ 1+ 0+", T), ("0 0+ 1+ 0+", E)];
const AT_LEAST_ONE_EXISTS: [Row; 5] = [("1+ 0+ 0+ 0+", T), ("0 1+ 0 0", F), ("0 0+ 1+ 0+", E), ("0 0+ 0 1+", U), ("0 0 0 0", F)];
const NONE_EXIST: [Row; 4] = [("0 0+ 0 0", T), ("1+ 0+ 0+ 0+", F), ("0 0+ 1+ 0+", E), ("0 0+ 0 1+", U)];
const ONLY_ONE_EXISTS: [Row; 5] = [("1 0+ 0 0", T), ("2+ 0+ 0+ 0+", F), ("0 0+ 0 0", F), ("01 0+ 1+ 0+", E), ("01 0+ 0 1+", U)];

fn holds(cell: &str, count: u32) -> bool {
    match cell {
        "0" => count == 0,
        "1" => count == 1,
        "01" => count <= 1,
        "0+" => true,
        "1+" => count >= 1,
        "2+" => count >= 2,
        "odd" => count % 2 == 1,
        "even" => count.is_multiple_of(2),
        other => panic!("{other}"),
    }
}

fn look_up(table: &[Row], counts: &[u32]) -> Option<OvalResult> {
    let row = table.iter().find(|(cells, _)| cells.split(' ').zip(counts).all(|(cell, count)| holds(cell, *count)));
    row.map(|(_, result)| *result)
}

/// Every choice of up to so many of each.
fn every(kinds: usize, most: u32) -> Vec<Vec<u32>> {
    (0..kinds).fold(vec![vec![]], |all, _| all.iter().flat_map(|c| (0..=most).map(move |n| [&c[..], &[n]].concat())).collect())
}

fn counts(of: &[u32]) -> Counts {
    Counts { yes: of[0], no: of[1], error: of[2], unknown: of[3], not_evaluated: of[4], not_applicable: of[5] }
}

fn statuses(of: &[u32]) -> Statuses {
    Statuses { exists: of[0], missing: of[1], error: of[2], not_collected: of[3] }
}

#[test]
fn checks_and_operators_are_the_published_tables() {
    for of in every(6, 3).iter().filter(|of| of.iter().sum::<u32>() > 0) {
        let by_check = |check_by| check(&counts(of), check_by, Specification);
        assert_eq!(Some(by_check(Check::All)), look_up(&ALL, of), "{of:?}");
        assert_eq!(Some(by_check(Check::AtLeastOne)), look_up(&ONE_OF, of), "{of:?}");
        assert_eq!(Some(by_check(Check::OnlyOne)), look_up(&ONLY_ONE, of), "{of:?}");
        assert_eq!(Some(by_check(Check::NoneSatisfy)), look_up(&NONE_OF, of), "{of:?}");
        let by_operator = |by| operator(&counts(of), by);
        assert_eq!(Some(by_operator(Operator::And)), look_up(&ALL, of), "{of:?}");
        assert_eq!(Some(by_operator(Operator::Or)), look_up(&ONE_OF, of), "{of:?}");
        assert_eq!(Some(by_operator(Operator::One)), look_up(&ONLY_ONE, of), "{of:?}");
        assert_eq!(Some(by_operator(Operator::Xor)), look_up(&XOR, of), "{of:?}");
    }
    for all in [Check::All, Check::AtLeastOne, Check::NoneSatisfy, Check::OnlyOne] {
        assert_eq!(check(&Counts::default(), all, Specification), U);
    }
}

#[test]
fn three_of_a_kind_are_as_good_as_more() {
    for of in every(6, 5) {
        let capped: Vec<u32> = of.iter().map(|n| (*n).min(3)).collect();
        for by in [Check::All, Check::AtLeastOne, Check::NoneSatisfy, Check::OnlyOne] {
            for compat in [Specification, OpenScap] {
                assert_eq!(check(&counts(&of), by, compat), check(&counts(&capped), by, compat), "{of:?}");
            }
        }
    }
}

#[test]
fn existence_is_the_published_tables() {
    let tables: [(Existence, &[Row]); 5] = [
        (Existence::All, &ALL_EXIST),
        (Existence::Any, &ANY_EXIST),
        (Existence::AtLeastOne, &AT_LEAST_ONE_EXISTS),
        (Existence::None, &NONE_EXIST),
        (Existence::OnlyOne, &ONLY_ONE_EXISTS),
    ];
    for of in every(4, 3) {
        for (existence, table) in tables {
            let expected = look_up(table, &of);
            assert_eq!(Some(test_existence(&statuses(&of), existence, Specification)), expected, "{existence:?} {of:?}");
            assert_eq!(Some(entity_existence(&statuses(&of), existence, Specification)), expected, "{existence:?} {of:?}");
        }
    }
}

fn test_of(flag: Option<Flag>, of: &[u32], states: Option<&[u32]>, existence: Existence, by: Check, compat: Compat) -> OvalResult {
    test(&Collection { flag, statuses: statuses(of), states: states.map(counts) }, existence, by, compat)
}

#[test]
fn flags_decide_tests_as_published() {
    let existences = [Existence::All, Existence::Any, Existence::AtLeastOne, Existence::None, Existence::OnlyOne];
    let checks = [Check::All, Check::AtLeastOne, Check::NoneSatisfy, Check::OnlyOne];
    for of in every(4, 2) {
        for results in every(2, 2) {
            let results: Vec<u32> = results.into_iter().chain([0; 4]).collect();
            for existence in existences {
                for by in checks {
                    for states in [None, Some(&results[..])] {
                        let result = |flag| test_of(flag, &of, states, existence, by, Specification);
                        let exists = test_existence(&statuses(&of), existence, Specification);
                        let checked = states.map(|s| check(&counts(s), by, Specification));
                        assert_eq!(result(None), U);
                        assert_eq!(result(Some(Flag::Error)), E);
                        assert_eq!(result(Some(Flag::NotCollected)), U);
                        assert_eq!(result(Some(Flag::NotApplicable)), NA);
                        let none = matches!(existence, Existence::None | Existence::Any);
                        assert_eq!(result(Some(Flag::DoesNotExist)), if none { T } else { F });
                        assert_eq!(result(Some(Flag::Complete)), if exists == T { checked.unwrap_or(T) } else { exists });
                        let incomplete = match (existence, checked) {
                            (Existence::None, _) if of[0] > 0 => F,
                            (Existence::OnlyOne, _) if of[0] > 1 => F,
                            (_, Some(F)) if exists == T => F,
                            (_, Some(T)) if exists == T && by == Check::AtLeastOne => T,
                            _ => U,
                        };
                        assert_eq!(result(Some(Flag::Incomplete)), incomplete, "{of:?} {states:?} {existence:?} {by:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn where_openscap_departs() {
    // (1)
    assert_eq!(check(&counts(&[0, 1, 0, 1, 0, 0]), Check::AtLeastOne, Specification), U);
    assert_eq!(check(&counts(&[0, 1, 0, 1, 0, 0]), Check::AtLeastOne, OpenScap), E);
    // (3) and (9)
    assert_eq!(test_existence(&statuses(&[1, 0, 1, 0]), Existence::None, OpenScap), E);
    assert_eq!(test_existence(&statuses(&[0, 0, 0, 1]), Existence::AtLeastOne, OpenScap), F);
    assert_eq!(test_existence(&statuses(&[1, 1, 0, 0]), Existence::All, OpenScap), T);
    // (4)
    for flag in [Flag::Error, Flag::NotCollected, Flag::NotApplicable] {
        assert_eq!(test_of(Some(flag), &[0; 4], None, Existence::Any, Check::All, OpenScap), T);
        assert_ne!(test_of(Some(flag), &[0; 4], Some(&[0; 6]), Existence::Any, Check::All, OpenScap), T);
    }
    // (8)
    assert_eq!(entity_existence(&statuses(&[1, 0, 0, 1]), Existence::OnlyOne, OpenScap), E);
    // One that exists of an incomplete collection, without states.
    assert_eq!(test_of(Some(Flag::Incomplete), &[1, 0, 0, 0], None, Existence::AtLeastOne, Check::All, OpenScap), T);
}

#[test]
fn flags_combine_as_published() {
    use Flag::{Complete as C, DoesNotExist as D, Error as X, Incomplete as I, NotApplicable as A, NotCollected as N};
    for (operator, first, second, expected) in [
        (SetOperator::Union, C, N, I),
        (SetOperator::Union, D, N, I),
        (SetOperator::Union, N, A, N),
        (SetOperator::Union, D, A, D),
        (SetOperator::Union, A, X, X),
        (SetOperator::Intersection, X, D, D),
        (SetOperator::Intersection, I, N, N),
        (SetOperator::Intersection, A, C, C),
        (SetOperator::Complement, D, X, D),
        (SetOperator::Complement, D, A, X),
        (SetOperator::Complement, C, I, X),
        (SetOperator::Complement, I, D, I),
        (SetOperator::Complement, C, N, N),
    ] {
        assert_eq!(set_flag(operator, first, second), expected, "{operator:?} {first:?} {second:?}");
    }
    for flags in every(6, 1).iter().filter(|of| of.iter().sum::<u32>() > 0) {
        let order = [C, I, D, N, A, X];
        let present = order.iter().zip(flags).filter(|(_, n)| **n > 0).map(|(f, _)| *f);
        let gravest = present.clone().next_back();
        assert_eq!(present.reduce(function_flag), gravest);
    }
}
