use super::*;
use crate::limits::Limits;
use crate::oval::pattern::Flags;
use OvalResult::{Error as E, False as F, NotEvaluated as NE, True as T};

fn compare(datatype: Datatype, operation: Operation, collected: &str, stated: &str, compat: Compat) -> OvalResult {
    let mut pattern = |p: &str| Pattern::new(p, Flags::default(), &Limits::default()).map(Arc::new).map_err(|why| why.to_string());
    let stated = Stated::new(datatype, operation, stated, compat, &mut pattern);
    let result = stated.compare(collected, compat);
    assert_eq!(stated.why(collected, compat).is_some(), matches!(result, E | NE), "{collected} {operation:?} {stated:?}");
    result
}

#[test]
fn each_datatype_has_its_order() {
    use Datatype as D;
    for (datatype, small, large) in [
        (D::Int, "-1", "0"),
        (D::Int, "9223372036854775807", "9223372036854775808"),
        (D::Float, "1", "1.0000000001"),
        (D::Float, "-INF", "1e3"),
        (D::Version, "1.9", "1.10"),
        (D::Version, "1.2", "1.2.0.1"),
        (D::Version, "1-99999999999999999998", "1.99999999999999999999"),
        (D::Evr, "1.0-1", "1:0.1-1"),
        (D::Evr, "0:1.0~rc1-1", "1.0-1"),
        (D::DebianEvr, "1.0~rc1-1", "1.0-1"),
        (D::DebianEvr, "1.0-1", "1:0.1-1"),
        (D::FilesetRevision, "5.1.0.9", "5.1.0.10"),
        (D::Ios, "12.4(2)T", "12.4(19)T"),
        (D::Ios, "12.4(19a)", "12.4(19b)"),
        (D::Ipv4, "10.0.0.2", "10.0.0.10"),
        (D::Ipv4, "10.1.0.0/16", "10.2.9.9/255.255.0.0"),
        (D::Ipv6, "::2", "::a"),
    ] {
        for (operation, up, same, down) in [
            (Operation::Equals, F, T, F),
            (Operation::NotEqual, T, F, T),
            (Operation::GreaterThan, T, F, F),
            (Operation::GreaterThanOrEqual, T, T, F),
            (Operation::LessThan, F, F, T),
            (Operation::LessThanOrEqual, F, T, T),
        ] {
            let of = |collected, stated| compare(datatype, operation, collected, stated, Compat::Specification);
            assert_eq!((of(large, small), of(small, small), of(small, large)), (up, same, down), "{datatype:?} {operation:?} {small}");
        }
    }
}

#[test]
fn the_same_may_be_written_otherwise() {
    use Datatype as D;
    for (datatype, a, b) in [
        (D::Int, " 7 ", "007"),
        (D::Float, "1e3", "1000"),
        (D::Boolean, "true", "1"),
        (D::Version, "1.2", "1-2.0"),
        (D::Evr, "1.0-1", "0:1.0-1"),
        (D::DebianEvr, "1.0", "0:1.0-0"),
        (D::Ipv4, "10.0.0.0/8", "10.0.0.0/255.0.0.0"),
        (D::Ipv6, "FE80::1", "fe80:0::1"),
    ] {
        assert_eq!(compare(datatype, Operation::Equals, a, b, Compat::Specification), T, "{datatype:?} {a} {b}");
    }
}

#[test]
fn operations_of_their_own() {
    use Datatype as D;
    use Operation as O;
    for (datatype, operation, collected, stated, result) in [
        (D::Int, O::BitwiseAnd, "6", "2", T),
        (D::Int, O::BitwiseAnd, "5", "2", F),
        (D::Int, O::BitwiseOr, "2", "6", T),
        (D::Int, O::BitwiseOr, "9", "6", F),
        (D::String, O::PatternMatch, "xaby", "a.", T),
        (D::String, O::PatternMatch, "x", "[", E),
        (D::String, O::CaseInsensitiveEquals, "\u{c9}t\u{e9}", "\u{e9}T\u{c9}", T),
        (D::String, O::CaseInsensitiveNotEqual, "A", "a", F),
        (D::Ipv4, O::SubsetOf, "10.1.2.3", "10.0.0.0/8", T),
        (D::Ipv4, O::SubsetOf, "10.0.0.0/8", "10.0.0.0/16", F),
        (D::Ipv4, O::SubsetOf, "11.0.0.0/8", "0.0.0.0/0", T),
        (D::Ipv6, O::SupersetOf, "fe80::/10", "fe80::1/64", T),
        (D::Ipv6, O::SupersetOf, "::/0", "fe80::1", T),
        (D::Ipv4, O::GreaterThan, "10.0.0.0/8", "10.0.0.0/16", E),
        (D::Binary, O::Equals, "00ff", "00FF", F),
        (D::Binary, O::NotEqual, "00ff", "00fe", T),
    ] {
        assert_eq!(compare(datatype, operation, collected, stated, Compat::Specification), result, "{collected} {operation:?} {stated}");
    }
}

#[test]
fn what_cannot_be_cast_or_asked_is_an_error() {
    use Datatype as D;
    use Operation as O;
    for (datatype, operation, good, bad) in [
        (D::Int, O::Equals, "1", "1.0"),
        (D::Float, O::Equals, "1", "one"),
        (D::Float, O::Equals, "1", "1e400"),
        (D::Boolean, O::Equals, "true", "yes"),
        (D::Binary, O::Equals, "00", "0"),
        (D::Version, O::Equals, "1.0", "1.a"),
        (D::Ios, O::Equals, "12.4", "T"),
        (D::Ipv4, O::Equals, "10.0.0.1", "10.0.0.1/33"),
        (D::Ipv4, O::Equals, "10.0.0.1", "10.0.0.256"),
        (D::Ipv6, O::Equals, "::1", "10.0.0.1"),
    ] {
        assert_eq!(compare(datatype, operation, good, bad, Compat::Specification), E, "{bad}");
        assert_eq!(compare(datatype, operation, bad, good, Compat::Specification), E, "{bad}");
        assert!(fits(datatype, good) && !fits(datatype, bad));
    }
    for (datatype, operation) in [
        (D::String, O::GreaterThan),
        (D::Int, O::PatternMatch),
        (D::Boolean, O::LessThan),
        (D::Version, O::SubsetOf),
        (D::Float, O::BitwiseAnd),
        (D::Evr, O::CaseInsensitiveEquals),
    ] {
        assert!(!allowed(datatype, operation));
        assert_eq!(compare(datatype, operation, "1", "1", Compat::Specification), E);
    }
}

#[test]
fn where_openscap_departs() {
    use Datatype as D;
    use Operation as O;
    for (datatype, operation, collected, stated, published, openscap) in [
        (D::Evr, O::Equals, "0:1.0-1", "1.0-1", T, F),
        (D::Evr, O::GreaterThan, "0:1.0-1", "1.0-1", F, T),
        (D::Float, O::Equals, "1000.0000000001", "1000", F, T),
        (D::Binary, O::Equals, "00ff", "00FF", F, T),
        (D::Boolean, O::Equals, "no", "false", E, T),
        (D::Int, O::GreaterThan, "9223372036854775808", "1", T, E),
        (D::Ios, O::Equals, "12.4", "12.4", T, NE),
        (D::Version, O::Equals, "1.a", "1.0", E, T),
    ] {
        assert_eq!(compare(datatype, operation, collected, stated, Compat::Specification), published, "{collected} {stated}");
        assert_eq!(compare(datatype, operation, collected, stated, Compat::OpenScap), openscap, "{collected} {stated}");
    }
}
