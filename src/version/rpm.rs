//! RPM versions, `[epoch:]version[-release]`, in the order of `rpm.vercmp`: two texts in, their order out.

use std::cmp::Ordering;

use super::{Parts, compare_digits, key, split_digits};

/// A missing epoch is 0. A missing release sorts before every release, as in `rpm.vercmp`:
/// were it equal to each of them, this would be no order (`1-1` = `1` = `1-2`).
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    compare_digits(a.epoch, b.epoch).then_with(|| compare_part(a.version, b.version)).then_with(|| match (a.release, b.release) {
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

/// Bytes that sort as `compare` does.
pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let parts = Parts::of(version);
    key::number(out, 0, parts.epoch);
    write_part(parts.version, out);
    match parts.release {
        None => out.push(code::END),
        Some(release) => {
            out.push(code::END_BEFORE_RELEASE);
            write_part(release, out);
            out.push(code::END);
        }
    }
}

/// The codes of segments, in ascending order.
mod code {
    pub(super) const TILDE: u8 = 1;
    pub(super) const END: u8 = 2;
    pub(super) const END_BEFORE_RELEASE: u8 = 3;
    pub(super) const CARET: u8 = 4;
    pub(super) const LETTERS: u8 = 5;
    pub(super) const NUMBER: u8 = LETTERS + 2 * 26;
}

fn write_part(mut part: &[u8], out: &mut Vec<u8>) {
    loop {
        let segment;
        (segment, part) = next(part);
        match segment {
            Segment::Tilde => out.push(code::TILDE),
            Segment::End => return,
            Segment::Caret => out.push(code::CARET),
            Segment::Letters(letters) => {
                out.extend(letters.iter().map(|c| match c {
                    b'A'..=b'Z' => code::LETTERS + (c - b'A'),
                    _ => code::LETTERS + 26 + c.saturating_sub(b'a'),
                }));
                // Less than a further letter.
                out.push(0);
            }
            Segment::Number(digits) => key::number(out, code::NUMBER, digits),
        }
    }
}

/// As rpm compares what a package requires or an advisory names with what another provides: what is not said is any.
///
/// This is no order (`1-1` = `1` = `1-2`). rpm itself reads a missing epoch as 0; but rows and feeds that leave out epochs altogether do not mean 0,
/// and `epoch_unknown` says that one of both is of that kind: then an epoch that only one of them has does not count.
pub fn compare_dependency(a: &str, b: &str, epoch_unknown: bool) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    let epochs =
        if epoch_unknown && (a.epoch.is_empty() || b.epoch.is_empty()) { Ordering::Equal } else { compare_digits(a.epoch, b.epoch) };
    epochs.then_with(|| compare_part(a.version, b.version)).then_with(|| match (a.release, b.release) {
        (Some(x), Some(y)) => compare_part(x, y),
        _ => Ordering::Equal,
    })
}

/// Whether a package of a modular stream and one that an advisory names may be compared at all: both are of the same stream of a module, or of none.
/// A label is `name:stream` with whatever follows (`nodejs:20:9040020240301:rhel9`); the version and context of a build do not count.
pub fn same_stream(a: Option<&str>, b: Option<&str>) -> bool {
    let stream = |label: &str| {
        let mut fields = label.splitn(3, ':').map(str::to_owned);
        (fields.next().unwrap_or_default(), fields.next().unwrap_or_default())
    };
    a.filter(|l| !l.is_empty()).map(stream) == b.filter(|l| !l.is_empty()).map(stream)
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
