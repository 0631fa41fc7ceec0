//! Debian versions, `[epoch:]upstream[-revision]`, in the order of Debian Policy 5.6.12: two texts in, their order out.

use std::cmp::Ordering;

use super::{compare_digits, key, split_digits};

pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    compare_digits(a.epoch, b.epoch)
        .then_with(|| compare_part(a.upstream, b.upstream))
        .then_with(|| compare_part(a.revision.unwrap_or_default(), b.revision.unwrap_or_default()))
}

/// Bytes that sort as `compare` does.
pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let parts = Parts::of(version);
    key::number(out, 0, parts.epoch);
    write_part(parts.upstream, out);
    write_part(parts.revision.unwrap_or_default(), out);
}

/// What `dpkg --validate-version` takes without a warning.
pub fn accepts(version: &str) -> bool {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (Some(epoch), rest),
        None => (None, version),
    };
    // dpkg keeps an epoch in a C int.
    if epoch.is_some_and(|e| !e.bytes().all(|c| c.is_ascii_digit()) || e.parse::<i32>().is_err()) {
        return false;
    }
    let (upstream, revision) = split_revision(rest.as_bytes());
    upstream.first().is_some_and(u8::is_ascii_digit)
        && upstream.iter().all(|c| c.is_ascii_alphanumeric() || b".-+~:".contains(c))
        && revision.is_none_or(|r| !r.is_empty() && r.iter().all(|c| c.is_ascii_alphanumeric() || b".+~".contains(c)))
}

struct Parts<'a> {
    epoch: &'a [u8],
    upstream: &'a [u8],
    revision: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Parts<'a> {
        let bytes = version.as_bytes();
        // What stands before the colon and is no number is no epoch; then the text is upstream's as a whole.
        let (epoch, rest) = match split_digits(bytes) {
            (digits, [b':', rest @ ..]) => (digits, rest),
            _ => (&bytes[..0], bytes),
        };
        let (upstream, revision) = split_revision(rest);
        Parts { epoch, upstream, revision }
    }
}

fn split_revision(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    match rest.iter().rposition(|&c| c == b'-') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    }
}

/// Runs of non-digits and of digits by turns; a missing revision is empty and so equals `0`.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (weight(a.first()), weight(b.first()));
            if x != y {
                return x.cmp(&y);
            }
            if x == 0 {
                break;
            }
            // Equal and not 0: both begin with the same character that is no digit.
            (a, b) = (&a[1..], &b[1..]);
        }
        let (x, y);
        (x, a) = split_digits(a);
        (y, b) = split_digits(b);
        match compare_digits(x, y) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// `~` sorts before the end, the end and digits before letters, letters before all else.
fn weight(c: Option<&u8>) -> i32 {
    match c {
        None => 0,
        Some(b'~') => -1,
        Some(c) if c.is_ascii_digit() => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    }
}

/// The codes of characters, in the order of their weights; the end and numbers are both of weight 0 and never stand at the same place.
mod code {
    use super::super::key::NUMBERS;

    pub(super) const TILDE: u8 = 0;
    pub(super) const END: u8 = 1;
    pub(super) const NUMBER: u8 = 2;
    pub(super) const LETTER: u8 = NUMBER + NUMBERS;
    pub(super) const OTHER: u8 = LETTER + 2 * 26;
    /// Before each byte that is not ASCII.
    pub(super) const NOT_ASCII: u8 = u8::MAX;
}

fn write_part(mut part: &[u8], out: &mut Vec<u8>) {
    loop {
        while let [c, rest @ ..] = part
            && !c.is_ascii_digit()
        {
            write_char(*c, out);
            part = rest;
        }
        let digits;
        (digits, part) = split_digits(part);
        key::number(out, code::NUMBER, digits);
        if part.is_empty() {
            out.push(code::END);
            return;
        }
    }
}

fn write_char(c: u8, out: &mut Vec<u8>) {
    match c {
        b'~' => out.push(code::TILDE),
        b'A'..=b'Z' => out.push(code::LETTER + (c - b'A')),
        b'a'..=b'z' => out.push(code::LETTER + 26 + (c - b'a')),
        // The rest of ASCII without the digits and letters between.
        0..b'0' => out.push(code::OTHER + c),
        b':'..b'A' => out.push(code::OTHER + (c - 10)),
        b'['..b'a' => out.push(code::OTHER + (c - 36)),
        b'{'..=0x7f => out.push(code::OTHER + (c - 62)),
        _ => out.extend_from_slice(&[code::NOT_ASCII, c]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_order() {
        for pair in ["~~", "~~a", "~", "", "a"].windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        for (a, b) in [
            ("1.0~rc1", "1.0"),
            ("1.0-1", "1.0-1+b1"),
            ("1.9", "1.10"),
            ("9.9", "1:0.1"),
            ("1.0a", "1.0+"),
            ("99999999999999999999998", "99999999999999999999999"),
            ("1.2.3-1~deb12u1", "1.2.3-1"),
        ] {
            assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
            assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
        }
    }

    #[test]
    fn equal_without_being_the_same_text() {
        for (a, b) in [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.01", "1.1"), ("1.0", "1.000"), ("1.", "1.0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn takes_what_dpkg_takes() {
        for good in ["1.0", "1:2:3-1", "2147483647:1", "1-2-3", "1~", "1+b"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "abc", "1-", "-1", "1 0", "1_0", "1:", ":1", "2147483648:1", "+1:1", "a:1", "1.0-a_b", "\u{e9}1"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
