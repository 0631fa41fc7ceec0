//! Versions of R and Haskell packages, numbers between dots or hyphens such as `1.2-3`: a text in, its key out.
//!
//! A longer list comes after its own beginning: `1.0` < `1.0.0`, unlike in plain dotted versions. What is no number ends the list and decides last.

use super::{key, split_digits};

const NO_NUMBER: u8 = 0;
const NUMBER: u8 = 1;

pub fn accepts(version: &str) -> bool {
    version.split(['.', '-']).all(|field| !field.is_empty() && field.bytes().all(|c| c.is_ascii_digit()))
}

pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let mut rest = version.as_bytes();
    loop {
        let (digits, after) = split_digits(rest);
        if digits.is_empty() {
            break;
        }
        key::number(out, NUMBER, digits);
        rest = after;
        match rest {
            [b'.' | b'-', after @ ..] if after.first().is_some_and(u8::is_ascii_digit) => rest = after,
            _ => break,
        }
    }
    if !rest.is_empty() {
        out.push(NO_NUMBER);
        key::text(out, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ascending, same};
    use super::*;
    use crate::version::Scheme;

    #[test]
    fn lists_of_numbers() {
        ascending(Scheme::Cran, &["", "x", "0.9", "1", "1x", "1.0", "1.0.0", "1.0-1", "1.2-3", "1.2.10", "1.10", "2024.1.1"]);
        same(Scheme::Cran, "1.2-3", "1.2.3");
        assert!(accepts("1.2-3") && accepts("7"));
        for bad in ["", "1.", "-1", "1..2", "1.a"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
