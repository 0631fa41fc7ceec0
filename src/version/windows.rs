//! Windows file, product and build versions, dotted integers such as `10.0.19045.3803`: two texts in, their order out.

use std::cmp::Ordering;

use super::{Dotted, key};

/// By number, missing ones taken as 0; what follows the numbers and is none decides last. Version resources also write commas, `6, 1, 7601, 17514`,
/// and say in parentheses which build it was, `10.0.19041.1 (WinBuild.160101.0800)`: that does not count.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (numbers(a), numbers(b));
    a.compare(&mut b).then_with(|| remark(a.rest).cmp(remark(b.rest)))
}

pub fn accepts(version: &str) -> bool {
    let mut numbers = numbers(version);
    numbers.next().is_some() && {
        while numbers.next().is_some() {}
        remark(numbers.rest).is_empty()
    }
}

/// Bytes that sort as `compare` does.
pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let mut numbers = numbers(version);
    numbers.write(out, 1);
    out.push(0);
    key::text(out, remark(numbers.rest));
}

/// The order of two builds of the same Windows by their last number, the update build revision (UBR); none if they are not of the same Windows,
/// or if one of them is no full build: an update for build 19045 says nothing about 22631.
pub fn compare_builds(a: &str, b: &str) -> Option<Ordering> {
    let (mut a, mut b) = (numbers(a.trim_ascii()), numbers(b.trim_ascii()));
    for _ in 0..3 {
        if super::compare_digits(a.next()?, b.next()?) != Ordering::Equal {
            return None;
        }
    }
    Some(super::compare_digits(a.next()?, b.next()?))
}

fn numbers(version: &str) -> Dotted<'_> {
    Dotted { commas: true, ..Dotted::of(version.as_bytes()) }
}

fn remark(rest: &[u8]) -> &[u8] {
    match rest.trim_ascii_start() {
        [b'(', .., b')'] if rest.starts_with(b" ") => b"",
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_number() {
        let ascending = ["6.1.7601", "10.0.9200", "10.0.19045.3803", "10.0.19045.3930", "10.0.19045.3930 beta", "18446744073709551616"];
        for (i, a) in ascending.iter().enumerate() {
            for b in &ascending[i + 1..] {
                assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
                assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
            }
        }
        for (a, b) in [
            ("1", "1.0.0.0"),
            ("1.02", "1.2"),
            ("", "0"),
            ("6, 1, 7601, 17514", "6.1.7601.17514"),
            ("10.0.19041.1 (WinBuild.160101.0800)", "10.0.19041.1"),
        ] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn takes_dotted_integers() {
        assert!(accepts("10.0.19045.3803") && accepts("7") && accepts("1.2.3.4.5.6"));
        assert!(accepts("6,1,7601") && accepts("10.0.19041.1 (WinBuild.160101.0800)"));
        for bad in ["", "1.", ".1", "1..2", "1.2a", "1, ", "-1", "1.2 beta", "(1)"] {
            assert!(!accepts(bad), "{bad}");
        }
    }

    #[test]
    fn builds_of_the_same_windows() {
        assert_eq!(compare_builds("10.0.19045.3803", "10.0.19045.3930"), Some(Ordering::Less));
        assert_eq!(compare_builds("10.0.19045.3930", "10.0.19045.3930"), Some(Ordering::Equal));
        assert_eq!(compare_builds("10.0.19045.10000", "10.0.19045.3930"), Some(Ordering::Greater));
        for (a, b) in
            [("10.0.19044.3803", "10.0.19045.3930"), ("10.0.19045", "10.0.19045.1"), ("", "10.0.19045.1"), ("10.0.19045.", "10.0.19045.1")]
        {
            assert_eq!(compare_builds(a, b), None, "{a} {b}");
        }
    }
}
