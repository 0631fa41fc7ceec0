//! PHP versions, `v1.2.3.4-beta1`, `1.2.x-dev`, in the order of Composer: a text in, its key out.
//!
//! What is no version, and a branch such as `dev-main`, sorts before all that are, by its text.

use super::{key, split_digits};

/// What can stand at a place, in ascending order.
mod code {
    pub(super) const NO_VERSION: u8 = 0;
    pub(super) const DEV: u8 = 1;
    pub(super) const RELEASE: u8 = 5;
    pub(super) const PATCH: u8 = 6;
    pub(super) const NUMBER: u8 = 7;
}

/// After a stability: a development version of it, itself, its numbers.
mod after {
    pub(super) const DEV: u8 = 0;
    pub(super) const END: u8 = 1;
    pub(super) const NUMBER: u8 = 2;
}

/// Longer names before their own beginnings.
const STABILITIES: [(&str, u8); 9] = [
    ("alpha", 2),
    ("a", 2),
    ("beta", 3),
    ("b", 3),
    ("rc", 4),
    ("stable", code::RELEASE),
    ("patch", code::PATCH),
    ("pl", code::PATCH),
    ("p", code::PATCH),
];

/// What Composer puts for the `x` of a branch.
const ANY: &[u8] = b"9999999";

pub fn accepts(version: &str) -> bool {
    let version = version.trim_ascii().to_ascii_lowercase();
    let branch = version.strip_prefix("dev-").is_some_and(|name| !name.is_empty() && !name.contains(|c: char| c.is_whitespace()));
    branch || Version::of(version.as_bytes()).is_some()
}

pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let text = version.trim_ascii().to_ascii_lowercase();
    let Some(version) = Version::of(text.as_bytes()) else {
        out.push(code::NO_VERSION);
        key::text(out, text.as_bytes());
        return;
    };
    let last = version.numbers.iter().rposition(|n| n.iter().any(|c| *c != b'0')).map_or(0, |at| at + 1);
    version.numbers.iter().take(last).for_each(|n| key::number(out, code::NUMBER, n));
    match (version.stability, version.dev) {
        (code::RELEASE, true) => out.push(code::DEV),
        (code::RELEASE, false) => out.push(code::RELEASE),
        (stability, dev) => {
            out.push(stability);
            version.stability_numbers.iter().for_each(|n| key::number(out, after::NUMBER, n));
            out.push(if dev { after::DEV } else { after::END });
        }
    }
}

struct Version<'a> {
    numbers: Vec<&'a [u8]>,
    stability: u8,
    stability_numbers: Vec<&'a [u8]>,
    dev: bool,
}

impl<'a> Version<'a> {
    /// From text in lower case.
    fn of(text: &'a [u8]) -> Option<Version<'a>> {
        let text = text.strip_prefix(b"v").unwrap_or(text);
        let text = text.split(|c| *c == b'+').next()?;
        let (first, mut rest) = split_digits(text);
        let mut numbers = vec![first];
        let mut open = false;
        while let [b'.', after @ ..] = rest {
            let (number, after) = match after {
                [b'x' | b'*', after @ ..] => (ANY, after),
                after => split_digits(after),
            };
            if number.is_empty() {
                break;
            }
            open |= number == ANY;
            numbers.push(number);
            rest = after;
        }
        let mut version = Version { numbers, stability: code::RELEASE, stability_numbers: Vec::new(), dev: false };
        // Dates are written with hyphens too: their fields are numbers like any.
        while let [b'-', after @ ..] = rest
            && after.first().is_some_and(u8::is_ascii_digit)
            && version.numbers.iter().all(|n| *n != ANY)
        {
            let (number, after) = split_digits(after);
            version.numbers.push(number);
            rest = after;
        }
        rest = version.read_stability(rest);
        if let Some(after) = without(rest, b".-").strip_prefix(b"dev") {
            (version.dev, rest) = (true, after);
        }
        let whole = rest.is_empty() && !first.is_empty() && (version.dev || !open);
        whole.then_some(version)
    }

    fn read_stability(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let text = without(rest, b"._-");
        let Some((mut rest, stability)) = STABILITIES.iter().find_map(|(name, code)| Some((text.strip_prefix(name.as_bytes())?, *code)))
        else {
            return rest;
        };
        self.stability = stability;
        loop {
            let (number, after) = split_digits(without(rest, b".-"));
            if number.is_empty() {
                return rest;
            }
            self.stability_numbers.push(number);
            rest = after;
        }
    }
}

fn without<'a>(text: &'a [u8], separators: &[u8]) -> &'a [u8] {
    match text {
        [c, rest @ ..] if separators.contains(c) => rest,
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ascending, same};
    use super::*;
    use crate::version::Scheme;

    #[test]
    fn stabilities() {
        ascending(
            Scheme::Packagist,
            &[
                "dev-main",
                "1.0-dev",
                "1.0-alpha",
                "1.0a1-dev",
                "1.0a1",
                "1.0-alpha2",
                "1.0-beta-dev",
                "1.0-beta",
                "1.0-beta2",
                "1.0-RC1",
                "1.0-rc.2",
                "1.0",
                "1.0-p1",
                "1.0.0.1",
                "1.1",
                "1.1.x-dev",
                "1.10",
                "2024-01-02",
                "20240102",
            ],
        );
        for (a, b) in [("1.0", "v1.0.0.0"), ("1.0-stable", "1"), ("1.0b2", "1.0.0-BETA.2"), ("1.0+a", "1.0"), ("1.0pl1", "1.0-patch1")] {
            same(Scheme::Packagist, a, b);
        }
    }

    #[test]
    fn takes_what_composer_takes() {
        for good in ["1", "v1.2.3.4", "1.0-beta1", "1.0.x-dev", "dev-feature/a", "1.0-RC1-dev", "2024.01.02"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "a", "1.", "1.x", "dev-", "1.0-foo", "1.0 beta"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
