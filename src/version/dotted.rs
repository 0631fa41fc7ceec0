//! Plain dotted numbers, `7.4.1`, as products without an ecosystem have them: a text in, its key out.
//!
//! Missing numbers are 0. A letter or word after the numbers is a later patch (`1.0.2` < `1.0.2k`, `9.9` < `9.9p1`): nothing here is a prerelease.

use super::{Dotted, key};

pub fn accepts(version: &str) -> bool {
    let mut dotted = Dotted::of(without_v(version));
    if dotted.next().is_none() {
        return false;
    }
    while dotted.next().is_some() {}
    let letters = dotted.rest.iter().take_while(|c| c.is_ascii_alphabetic()).count();
    let (letters, digits) = dotted.rest.split_at(letters);
    digits.iter().all(u8::is_ascii_digit) && letters.is_empty() <= digits.is_empty()
}

pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let mut dotted = Dotted::of(without_v(version));
    dotted.write(out, 1);
    out.push(0);
    key::tail(out, dotted.rest);
}

fn without_v(version: &str) -> &[u8] {
    let version = version.trim_ascii().as_bytes();
    match version {
        [b'v' | b'V', rest @ ..] if rest.first().is_some_and(u8::is_ascii_digit) => rest,
        version => version,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ascending, same};
    use super::*;
    use crate::version::Scheme;

    #[test]
    fn numbers_then_patches() {
        ascending(
            Scheme::Dotted,
            &[
                "0.9",
                "1",
                "1.0.2",
                "1.0.2k",
                "1.0.2z",
                "1.0.2za",
                "1.0.10",
                "9.9",
                "9.9p1",
                "9.9p2",
                "9.9p10",
                "12.1(3)T",
                "12.1(3)T2",
                "2024.1",
            ],
        );
        for (a, b) in [("1", "1.0.0"), ("v1.2", "1.02"), ("12.1(3)T", "12.1(3t)"), ("1.0.2K", "1.0.2k")] {
            same(Scheme::Dotted, a, b);
        }
    }

    #[test]
    fn takes_numbers_and_a_patch() {
        for good in ["1", "1.2.3.4.5", "v1.2", "1.0.2zh", "9.9p1"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "v", "1.", ".1", "1..2", "1-2", "1.0 beta", "a1"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
