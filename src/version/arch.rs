//! Arch Linux versions, `[epoch:]version[-release]`, in the order of pacman's `vercmp`: a text in, its key out.
//!
//! Unlike rpm a letter directly after a number comes before the end (`1.0rc1` < `1.0`), and the number of separators counts.

use std::cmp::Ordering;

use super::{Parts, key, split_digits};

/// What can stand at a place, in ascending order: with no separator before it, with one, with more.
mod code {
    use super::super::key::NUMBERS;

    pub(super) const LETTERS: u8 = 0;
    pub(super) const END: u8 = 1;
    pub(super) const END_BEFORE_RELEASE: u8 = 2;
    pub(super) const NUMBER: u8 = 3;
    pub(super) const SEPARATED_LETTERS: u8 = NUMBER + NUMBERS;
    /// Nothing, after a separator.
    pub(super) const SEPARATED_END: u8 = SEPARATED_LETTERS + 1;
    pub(super) const SEPARATED_NUMBER: u8 = SEPARATED_END + 1;
    pub(super) const FURTHER: u8 = SEPARATED_NUMBER + NUMBERS;
}

/// What makepkg takes; the release may be missing, as in a dependency.
pub fn accepts(version: &str) -> bool {
    let rest = match version.split_once(':') {
        Some((epoch, rest)) if !epoch.is_empty() && epoch.bytes().all(|c| c.is_ascii_digit()) => rest,
        Some(_) => return false,
        None => version,
    };
    let (version, release) = match rest.split_once('-') {
        Some((version, release)) => (version, Some(release)),
        None => (rest, None),
    };
    let release_number =
        |r: &str| r.split('.').count() <= 2 && r.split('.').all(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()));
    !version.is_empty()
        && version.bytes().all(|c| c.is_ascii_graphic() && !b"/:<>=".contains(&c))
        && version.bytes().any(|c| c.is_ascii_alphanumeric())
        && release.is_none_or(release_number)
}

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

/// As pacman compares a dependency: a missing release is any.
pub fn compare_dependency(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    let write = |parts: &Parts, release: bool| {
        let mut out = Vec::new();
        key::number(&mut out, 0, parts.epoch);
        write_part(parts.version, &mut out);
        out.push(code::END);
        if let Some(text) = parts.release.filter(|_| release) {
            write_part(text, &mut out);
            out.push(code::END);
        }
        out
    };
    let releases = a.release.is_some() && b.release.is_some();
    write(&a, releases).cmp(&write(&b, releases))
}

fn write_part(mut rest: &[u8], out: &mut Vec<u8>) {
    while !rest.is_empty() {
        let separators = rest.iter().take_while(|c| !c.is_ascii_alphanumeric()).count();
        rest = &rest[separators..];
        if separators > 1 {
            out.push(code::FURTHER);
            key::integer(out, 0, u64::try_from(separators).unwrap_or(u64::MAX));
        }
        let (letters, end, number) = match separators {
            0 => (code::LETTERS, None, code::NUMBER),
            _ => (code::SEPARATED_LETTERS, Some(code::SEPARATED_END), code::SEPARATED_NUMBER),
        };
        match rest {
            [] => out.extend(end),
            [c, ..] if c.is_ascii_digit() => {
                let (digits, after) = split_digits(rest);
                key::number(out, number, digits);
                rest = after;
            }
            _ => {
                let (word, after) = rest.split_at(rest.iter().take_while(|c| c.is_ascii_alphabetic()).count());
                out.push(letters);
                key::text(out, word);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ascending, same};
    use super::*;
    use crate::version::Scheme;

    #[test]
    fn vercmp_order() {
        ascending(
            Scheme::Arch,
            &[
                "1.0a", "1.0b", "1.0beta", "1.0p", "1.0pre", "1.0rc", "1.0rc1", "1.0rc10", "1.0", "1.0-1", "1.0-1.1", "1.0-2", "1.0.a",
                "1.0.", "1.0.1", "1.0..a", "1.1", "1.10", "20240101", "1:0.1",
            ],
        );
    }

    #[test]
    fn separators_are_alike() {
        for (a, b) in [("1.0", "1_0"), ("1.0", "0:1.0"), ("1.0", ":1.0"), ("1.01", "1.1"), ("1.0-1", "1.0-01")] {
            same(Scheme::Arch, a, b);
        }
    }

    #[test]
    fn a_missing_release_is_any() {
        assert_eq!(compare_dependency("1.0", "1.0-3"), Ordering::Equal);
        assert_eq!(compare_dependency("1.0-2", "1.0-3"), Ordering::Less);
        assert_eq!(compare_dependency("1:1.0", "1.0-3"), Ordering::Greater);
        assert_eq!(compare_dependency("1.0.1", "1.0-3"), Ordering::Greater);
    }

    #[test]
    fn takes_what_makepkg_takes() {
        for good in ["1.0-1", "1:2.0.r15.gabcdef-1.1", "20240101", "1.0+2~3-1"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "-1", "1-", "1-a", "1-2-3", "a:1", "1/2-1", "1 0", "1-1.1.1", "\u{e9}"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
