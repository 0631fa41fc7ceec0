//! RPM versions, `[epoch:]version[-release]`, in the order of `rpm.vercmp`: two texts in, their order out.

use std::cmp::Ordering;

use super::{compare_digits, split_digits};

/// A missing epoch is 0. A missing release sorts before every release, as in `rpm.vercmp`:
/// were it equal to each of them, this would be no order (`1-1` = `1` = `1-2`).
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    a.compare_version(&b).then_with(|| match (a.release, b.release) {
        (Some(x), Some(y)) => compare_part(x, y),
        (x, y) => x.is_some().cmp(&y.is_some()),
    })
}

/// What rpmbuild takes as epoch, version and release.
pub fn accepts(version: &str) -> bool {
    let rest = match version.split_once(':') {
        Some((epoch, rest)) => {
            if !epoch.bytes().all(|c| c.is_ascii_digit()) || epoch.parse::<u32>().is_err() {
                return false;
            }
            rest
        }
        None => version,
    };
    let field = |s: &str| !s.is_empty() && !s.contains("..") && s.bytes().all(|c| c.is_ascii_alphanumeric() || b"._+~^".contains(&c));
    match rest.split_once('-') {
        Some((version, release)) => field(version) && field(release),
        None => field(rest),
    }
}

struct Parts<'a> {
    epoch: &'a [u8],
    version: &'a [u8],
    release: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Parts<'a> {
        let bytes = text.as_bytes();
        let (epoch, rest) = match split_digits(bytes) {
            (digits, [b':', rest @ ..]) => (digits, rest),
            _ => (&bytes[..0], bytes),
        };
        match rest.iter().rposition(|&c| c == b'-') {
            Some(at) => Parts { epoch, version: &rest[..at], release: Some(&rest[at + 1..]) },
            None => Parts { epoch, version: rest, release: None },
        }
    }

    fn compare_version(&self, other: &Parts) -> Ordering {
        compare_digits(self.epoch, other.epoch).then_with(|| compare_part(self.version, other.version))
    }
}

/// A piece of a version or release, in ascending order: whatever else stands there only separates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Segment<'a> {
    Tilde,
    End,
    Caret,
    Letters(&'a [u8]),
    Number(&'a [u8]),
}

impl Segment<'_> {
    fn rank(self) -> u8 {
        match self {
            Segment::Tilde => 0,
            Segment::End => 1,
            Segment::Caret => 2,
            Segment::Letters(_) => 3,
            Segment::Number(_) => 4,
        }
    }

    fn compare(self, other: Segment) -> Ordering {
        match (self, other) {
            (Segment::Letters(x), Segment::Letters(y)) => x.cmp(y),
            (Segment::Number(x), Segment::Number(y)) => compare_digits(x, y),
            (x, y) => x.rank().cmp(&y.rank()),
        }
    }
}

/// The first segment and what follows it.
fn next(text: &[u8]) -> (Segment<'_>, &[u8]) {
    let start = text.iter().position(|c| c.is_ascii_alphanumeric() || *c == b'~' || *c == b'^').unwrap_or(text.len());
    let text = &text[start..];
    match text {
        [] => (Segment::End, text),
        [b'~', rest @ ..] => (Segment::Tilde, rest),
        [b'^', rest @ ..] => (Segment::Caret, rest),
        [c, ..] if c.is_ascii_digit() => {
            let (digits, rest) = split_digits(text);
            (Segment::Number(digits), rest)
        }
        _ => {
            let (letters, rest) = text.split_at(text.iter().take_while(|c| c.is_ascii_alphabetic()).count());
            (Segment::Letters(letters), rest)
        }
    }
}

fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let (x, y);
        (x, a) = next(a);
        (y, b) = next(b);
        match x.compare(y) {
            Ordering::Equal if x == Segment::End => return Ordering::Equal,
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rpmvercmp_order() {
        let ascending = ["1.0~rc1", "1.0~rc1^git1", "1.0", "1.0^", "1.0^20240501", "1.0a", "1.0.1", "1.1", "1.10", "1:0.1"];
        for (i, a) in ascending.iter().enumerate() {
            for b in &ascending[i + 1..] {
                assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
                assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
            }
        }
    }

    #[test]
    fn separators_zeros_and_missing_parts() {
        for (a, b) in [("1.0", "0:1.0"), ("1.05", "1.5"), ("1_0", "1.0"), ("1.0.", "1.0"), ("5.14.0-362.el9", "5.14.0-362_el9")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
        assert_eq!(compare("1.0", "1.0-1"), Ordering::Less);
        assert_eq!(compare("5.14.0-362.el9", "5.14.0-427.el9"), Ordering::Less);
    }

    #[test]
    fn takes_what_rpmbuild_takes() {
        for good in ["1.0", "1.0-1.fc40", "2:8.2.4~rc1^git1-1", "5.14.0-362.8.1.el9_3"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "1-", "-1", "a:1", ":1", "1..2", "1-2-3", "1 0", "4294967296:1"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
