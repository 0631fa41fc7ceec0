//! Order keys: numbers and texts written so that two keys compare as bytes, whatever follows in either.
//!
//! A scheme gives each thing that can stand at a place a code of its own, in ascending order; a number takes `NUMBERS` codes from a base on, so that
//! the numbers that versions are made of cost one byte, and years two.

use std::cmp::Ordering;

use super::strip_zeros;

/// How many codes a number takes from its base on.
pub(super) const NUMBERS: u8 = HUGE + 1;

const SMALL: u64 = 100;
const MEDIUM: u64 = SMALL + 16 * 256;
/// The codes after the small and medium numbers: one for each length in bytes from 2 to 8, then what no u64 holds.
const LONG: u8 = 116;
const HUGE: u8 = LONG + 7;

/// A run of ASCII digits as a number of any size; none is 0.
pub(super) fn number(out: &mut Vec<u8>, base: u8, digits: &[u8]) {
    let digits = strip_zeros(digits);
    let value = digits.iter().try_fold(0u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit & 0xf)));
    match value {
        Some(n) => integer(out, base, n),
        None => {
            out.push(base + HUGE);
            integer(out, 0, u64::try_from(digits.len()).unwrap_or(u64::MAX));
            out.extend_from_slice(digits);
        }
    }
}

pub(super) fn integer(out: &mut Vec<u8>, base: u8, n: u64) {
    if n < SMALL {
        let [.., low] = n.to_be_bytes();
        out.push(base + low);
    } else if n < MEDIUM {
        let [.., high, low] = (n - SMALL).to_be_bytes();
        out.extend_from_slice(&[base + 100 + high, low]);
    } else {
        let bytes = n.to_be_bytes();
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        let length = bytes[zeros..].len();
        out.push(base + LONG + u8::try_from(length).unwrap_or(8) - 2);
        out.extend_from_slice(&bytes[zeros..]);
    }
}

/// Bytes of UTF-8 and their end, which is less than each of them.
pub(super) fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    // No byte of UTF-8 is above 0xf4.
    out.extend(bytes.iter().map(|b| b.saturating_add(1)));
    out.push(0);
}

/// As [`text`], with ASCII letters in lower case.
pub(super) fn folded_text(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    text(out, bytes);
    for b in &mut out[start..] {
        *b = b.wrapping_sub(1).to_ascii_lowercase().wrapping_add(1);
    }
}

/// Whatever follows the part that a scheme knows: words, in any case, and numbers, with whatever else only between them. Ends with the key.
pub(super) fn tail(out: &mut Vec<u8>, mut rest: &[u8]) {
    const WORD: u8 = 0;
    const NUMBER: u8 = 1;
    while let [c, after @ ..] = rest {
        let run = |is: fn(&u8) -> bool| rest.split_at(rest.iter().take_while(|c| is(c)).count());
        if c.is_ascii_digit() {
            let (digits, after) = run(u8::is_ascii_digit);
            number(out, NUMBER, digits);
            rest = after;
        } else if c.is_ascii_alphabetic() || !c.is_ascii() {
            let (word, after) = run(|c| c.is_ascii_alphabetic() || !c.is_ascii());
            out.push(WORD);
            folded_text(out, word);
            rest = after;
        } else {
            rest = after;
        }
    }
}

/// The order of a scheme that has no other than its key's.
pub(super) fn compare(write: fn(&str, &mut Vec<u8>), a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (mut x, mut y) = (Vec::with_capacity(24), Vec::with_capacity(24));
    write(a, &mut x);
    write(b, &mut y);
    x.cmp(&y)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::version::compare_digits;

    fn key(digits: &str) -> Vec<u8> {
        let mut out = Vec::new();
        number(&mut out, 7, digits.as_bytes());
        out
    }

    proptest! {
        #[test]
        fn numbers_of_any_size(a in "[0-9]{1,6}|[0-9]{17,23}", b in "[0-9]{1,6}|[0-9]{17,23}") {
            prop_assert_eq!(key(&a).cmp(&key(&b)), compare_digits(a.as_bytes(), b.as_bytes()));
        }

        #[test]
        fn texts(a in "\\PC{0,4}", b in "\\PC{0,4}") {
            let key = |t: &str| { let mut out = Vec::new(); text(&mut out, t.as_bytes()); out };
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.as_bytes().cmp(b.as_bytes()));
        }
    }

    #[test]
    fn no_number_is_the_beginning_of_another() {
        let edges = ["0", "99", "100", "355", "356", "4195", "4196", "65535", "65536", "18446744073709551615", "18446744073709551616"];
        for pair in edges.windows(2) {
            assert!(key(pair[0]) < key(pair[1]) && !key(pair[1]).starts_with(&key(pair[0])), "{pair:?}");
        }
        assert_eq!(key("99").len(), 1);
        assert_eq!(key("2024").len(), 2);
        assert!(edges.iter().all(|n| key(n)[0] < 7 + NUMBERS));
    }
}
