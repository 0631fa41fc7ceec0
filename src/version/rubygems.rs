//! Ruby versions, `1.2.3.pre1`, in the order of `Gem::Version`: a text in, its key out.
//!
//! A word makes a prerelease; a hyphen is read as `.pre.`. What is no version sorts before all that are, by its text.

use super::{key, split_digits};

/// What can stand at a place, in ascending order. Zeros count for what follows them, as a missing number is 0.
mod code {
    pub(super) const NO_VERSION: u8 = 0;
    pub(super) const WORD: u8 = 1;
    pub(super) const ZERO_BEFORE_WORD: u8 = 2;
    pub(super) const END: u8 = 3;
    pub(super) const ZERO_BEFORE_NUMBER: u8 = 4;
    pub(super) const NUMBER: u8 = 5;
}

pub fn accepts(version: &str) -> bool {
    let version = version.trim_ascii();
    let (numbers, prerelease) = match version.split_once('-') {
        Some((numbers, prerelease)) => (numbers, Some(prerelease)),
        None => (version, None),
    };
    let word = |s: &str, hyphens: bool| !s.is_empty() && s.bytes().all(|c| c.is_ascii_alphanumeric() || hyphens && c == b'-');
    // An empty text is version 0 there, and no version of anything here.
    numbers.split('.').next().is_some_and(|s| !s.is_empty() && s.bytes().all(|c| c.is_ascii_digit()))
        && numbers.split('.').all(|s| word(s, false))
        && prerelease.is_none_or(|p| p.split('.').all(|s| word(s, true)))
}

pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let text = version.trim_ascii();
    if !text.is_empty() && !accepts(text) {
        out.push(code::NO_VERSION);
        key::text(out, text.as_bytes());
        return;
    }
    let text = text.replace('-', ".pre.");
    let mut rest = text.as_bytes();
    let (mut zeros, mut words) = (0, false);
    while let [c, after @ ..] = rest {
        if c.is_ascii_digit() {
            let (digits, after) = split_digits(rest);
            rest = after;
            if digits.iter().all(|c| *c == b'0') {
                zeros += 1;
                continue;
            }
            out.extend(std::iter::repeat_n(code::ZERO_BEFORE_NUMBER, std::mem::take(&mut zeros)));
            key::number(out, code::NUMBER, digits);
        } else if c.is_ascii_alphabetic() {
            let (word, after) = rest.split_at(rest.iter().take_while(|c| c.is_ascii_alphabetic()).count());
            rest = after;
            // Zeros before the first word are not there at all: 1.0.a is 1.a.
            let zeros = std::mem::take(&mut zeros);
            out.extend(std::iter::repeat_n(code::ZERO_BEFORE_WORD, if words { zeros } else { 0 }));
            words = true;
            out.push(code::WORD);
            key::text(out, word);
        } else {
            rest = after;
        }
    }
    out.push(code::END);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ascending, same};
    use super::*;
    use crate::version::Scheme;

    #[test]
    fn the_order_of_gem_version() {
        ascending(
            Scheme::Rubygems,
            &[
                "~1",
                "0.9",
                "1.0.0.a.0.b",
                "1.a.0.0.b",
                "1.0.a",
                "1.0.a.0.1",
                "1.0.a.1",
                "1.0.b10",
                "1.0.pre",
                "1.0-2",
                "1.0.pre.3",
                "1.0.rc1",
                "1.0",
                "1.0.1",
                "1.9",
                "1.10",
            ],
        );
    }

    #[test]
    fn zeros_that_do_not_count() {
        for (a, b) in [("1", "1.0.0"), ("1.0.a", "1.a.0"), ("1-a", "1.pre.a"), ("", "0"), ("1.b10", "1.b.10"), ("1.02", "1.2")] {
            same(Scheme::Rubygems, a, b);
        }
    }

    #[test]
    fn takes_what_gem_takes() {
        for good in ["1", "1.2.3.pre1", "1.0-rc.1", "1.0-a-b", " 1.0 ", "1.a1b2"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "a", ".1", "1.", "1..2", "1_0", "1-", "1+1", "1 0", "1.a-"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
