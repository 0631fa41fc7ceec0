//! Semantic Versioning 2.0 with a leading `v` tolerated and missing parts taken as 0: two texts in, their order out.

use std::cmp::Ordering;

use super::{Dotted, compare_digits, key};

/// What follows the numbers and is no build metadata counts as a prerelease, with or without its hyphen,
/// so that `1.2.3rc1`, which is no semantic version, still comes before `1.2.3`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (core(a), core(b));
    a.compare(&mut b).then_with(|| match (prerelease(a.rest), prerelease(b.rest)) {
        (Some(x), Some(y)) => compare_prerelease(x, y),
        (x, y) => x.is_none().cmp(&y.is_none()),
    })
}

pub fn accepts(version: &str) -> bool {
    let version = version.strip_prefix('v').unwrap_or(version);
    let (core, suffix) = version.split_at_checked(version.find(['-', '+']).unwrap_or(version.len())).unwrap_or((version, ""));
    core.split('.').count() <= 3 && core.split('.').all(is_number) && accepts_suffix(suffix, false)
}

/// A prerelease and build metadata, each with its sign. NuGet takes prereleases that are numbers with leading zeros.
pub(super) fn accepts_suffix(suffix: &str, leading_zeros: bool) -> bool {
    let (prerelease, build) = match suffix.split_once('+') {
        Some((prerelease, build)) => (prerelease, Some(build)),
        None => (suffix, None),
    };
    let identifier = |s: &str| !s.is_empty() && s.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let words = |p: &str| p.split('.').all(|s| identifier(s) && (leading_zeros || !s.bytes().all(|c| c.is_ascii_digit()) || is_number(s)));
    (prerelease.is_empty() || prerelease.strip_prefix('-').is_some_and(words)) && build.is_none_or(|b| b.split('.').all(identifier))
}

/// A number of semver has no leading zero.
fn is_number(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|c| c.is_ascii_digit()) && (s == "0" || !s.starts_with('0'))
}

/// Bytes that sort as `compare` does.
pub fn write_key(version: &str, out: &mut Vec<u8>) {
    write(version, false, out);
}

/// The codes of what can stand at a place, in ascending order.
mod code {
    pub(super) const PRERELEASE: u8 = 0;
    pub(super) const RELEASE: u8 = 1;
    pub(super) const NUMBER: u8 = 2;
    pub(super) const WORD: u8 = u8::MAX;
}

/// The key, with words of a prerelease in any case where `fold` says so.
pub(super) fn write(version: &str, fold: bool, out: &mut Vec<u8>) {
    let mut core = core(version);
    core.write(out, code::NUMBER);
    let Some(prerelease) = prerelease(core.rest) else {
        out.push(code::RELEASE);
        return;
    };
    out.push(code::PRERELEASE);
    for identifier in prerelease.split(|&c| c == b'.') {
        match (identifier, fold) {
            ([_, ..], _) if identifier.iter().all(u8::is_ascii_digit) => key::number(out, code::NUMBER, identifier),
            (word, false) => {
                out.push(code::WORD);
                key::text(out, word);
            }
            (word, true) => {
                out.push(code::WORD);
                key::folded_text(out, word);
            }
        }
    }
}

fn core(version: &str) -> Dotted<'_> {
    let text = version.strip_prefix('v').unwrap_or(version);
    Dotted::of(text.split('+').next().unwrap_or_default().as_bytes())
}

fn prerelease(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] => None,
        [b'-', rest @ ..] => Some(rest),
        rest => Some(rest),
    }
}

/// Identifier by identifier; numbers before words, and the longer list after its own beginning.
fn compare_prerelease(a: &[u8], b: &[u8]) -> Ordering {
    let number = |s: &[u8]| !s.is_empty() && s.iter().all(u8::is_ascii_digit);
    let (mut a, mut b) = (a.split(|&c| c == b'.'), b.split(|&c| c == b'.'));
    loop {
        let (x, y) = match (a.next(), b.next()) {
            (Some(x), Some(y)) => (x, y),
            (x, y) => return x.is_some().cmp(&y.is_some()),
        };
        let order = match (number(x), number(y)) {
            (true, true) => compare_digits(x, y),
            (false, false) => x.cmp(y),
            (x_is_number, y_is_number) => y_is_number.cmp(&x_is_number),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_specification() {
        let ascending = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "v1.0.1",
            "1.2",
            "1.10",
            "2",
            "2.0.18446744073709551616",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for b in &ascending[i + 1..] {
                assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
                assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
            }
        }
    }

    #[test]
    fn what_does_not_count() {
        for (a, b) in [("1.0.0+a", "1.0.0+b"), ("v1.0.0", "1.0.0"), ("1", "1.0.0"), ("1.2-rc.1", "1.2.0-rc.1")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
        assert_eq!(compare("1.2.3rc1", "1.2.3"), Ordering::Less);
    }

    #[test]
    fn takes_what_the_specification_takes() {
        for good in ["1", "1.2", "1.2.3", "v1.2.3", "1.0.0-alpha.1+001", "1.0.0--.x-y", "1.0.0-0a", "1.0.0+21AF26D3--117B344092BD"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "v", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3+", "1.2.3-a..b", "1.2.3rc1", "a.b.c", "1.2.3-\u{e9}"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
