//! How two versions compare, by the ordering of their own ecosystem: a scheme and two texts in, their order out.
//!
//! One file a scheme. Each order is total over all strings (the tests here); `tests/versions.rs` holds them against the real tools.

pub mod apk;
pub mod dpkg;
pub mod rpm;
pub mod semver;
pub mod windows;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An ordering of versions. Adding one: a file, a line in each list below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Dpkg,
    Rpm,
    Apk,
    Semver,
    Windows,
}

impl Scheme {
    pub const ALL: [Scheme; 5] = [Scheme::Dpkg, Scheme::Rpm, Scheme::Apk, Scheme::Semver, Scheme::Windows];

    pub fn name(self) -> &'static str {
        match self {
            Scheme::Dpkg => "dpkg",
            Scheme::Rpm => "rpm",
            Scheme::Apk => "apk",
            Scheme::Semver => "semver",
            Scheme::Windows => "windows",
        }
    }

    pub fn by_name(name: &str) -> Option<Scheme> {
        Scheme::ALL.into_iter().find(|s| s.name() == name)
    }

    /// A total order over all strings: what is no version of the scheme still has a place, so that sorting never fails.
    /// Whether it is one, [`Scheme::accepts`] says.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Scheme::Dpkg => dpkg::compare(a, b),
            Scheme::Rpm => rpm::compare(a, b),
            Scheme::Apk => apk::compare(a, b),
            Scheme::Semver => semver::compare(a, b),
            Scheme::Windows => windows::compare(a, b),
        }
    }

    /// Whether the text is a version that the scheme's own tools would take.
    pub fn accepts(self, version: &str) -> bool {
        match self {
            Scheme::Dpkg => dpkg::accepts(version),
            Scheme::Rpm => rpm::accepts(version),
            Scheme::Apk => apk::accepts(version),
            Scheme::Semver => semver::accepts(version),
            Scheme::Windows => windows::accepts(version),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The digits that a text begins with, and the rest.
fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|c| c.is_ascii_digit()).count())
}

fn strip_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&c| c == b'0').count();
    &digits[zeros..]
}

/// Runs of digits as numbers of any size, which no integer type holds: a date with a commit count has 20 digits and more.
fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (strip_zeros(a), strip_zeros(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The dotted numbers that a text begins with. `rest` is what is not yet read.
struct Dotted<'a> {
    rest: &'a [u8],
    first: bool,
}

impl<'a> Dotted<'a> {
    fn of(text: &'a [u8]) -> Dotted<'a> {
        Dotted { rest: text, first: true }
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = match self.rest {
            text if self.first => text,
            [b'.', text @ ..] => text,
            _ => return None,
        };
        let (digits, rest) = split_digits(text);
        if digits.is_empty() {
            return None;
        }
        (self.rest, self.first) = (rest, false);
        Some(digits)
    }

    /// Number by number, a missing one taken as 0. Where they are equal, both are read to their `rest`.
    fn compare(&mut self, other: &mut Dotted) -> Ordering {
        loop {
            let (x, y) = (self.next(), other.next());
            if x.is_none() && y.is_none() {
                return Ordering::Equal;
            }
            match compare_digits(x.unwrap_or_default(), y.unwrap_or_default()) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What versions of a scheme look like.
    fn plausible(scheme: Scheme) -> &'static str {
        match scheme {
            Scheme::Dpkg => "([0-2]:)?[0-2]([.][0-1]{1,2}|[a-b+~]){0,3}(-[0-1]([a-b~.][0-1]){0,2})?",
            Scheme::Rpm => "([0-2]:)?[0-2]([.][0-1]{1,2}|[a-b~^]){0,3}(-[0-1]([a-b~.][0-1]){0,2})?",
            Scheme::Apk => "[0-2]([.][0-2]{1,3}){0,2}[a-b]?(_(alpha|rc|p)[0-2]{0,2}){0,2}(~[0-1a]{1,2})?(-r[0-2])?",
            Scheme::Semver => "v?[0-1]([.][0-1]{1,2}){0,3}(-[0-1a-b]{1,2}([.][0-1a-b]{1,2}){0,2})?([+][a-b])?",
            Scheme::Windows => "[0-2]([.][0-1]{1,3}){0,4}",
        }
    }

    /// Versions, near versions and noise. The alphabets are small so that equal beginnings are common.
    fn texts() -> impl Strategy<Value = (Scheme, [String; 3])> {
        prop::sample::select(&Scheme::ALL[..]).prop_flat_map(|scheme| {
            let text = prop_oneof![4 => plausible(scheme), 3 => "[0-1a-br.~^+:_ v-]{0,7}", 1 => "\\PC{0,6}"];
            (Just(scheme), [text.clone(), text.clone(), text])
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn every_order_is_total((scheme, [a, b, c]) in texts()) {
            let cmp = |x: &str, y: &str| scheme.compare(x, y);
            prop_assert_eq!(cmp(&a, &a), Ordering::Equal);
            prop_assert_eq!(cmp(&a, &b), cmp(&b, &a).reverse());
            if cmp(&a, &b) != Ordering::Greater && cmp(&b, &c) != Ordering::Greater {
                prop_assert_ne!(cmp(&a, &c), Ordering::Greater);
            }
            // Equal ones stand on the same side of everything.
            if cmp(&a, &b) == Ordering::Equal {
                prop_assert_eq!(cmp(&a, &c), cmp(&b, &c));
            }
            scheme.accepts(&a);
        }

        #[test]
        fn digits_compare_as_numbers(a: u64, b: u64, zeros in 0usize..4) {
            let padded = format!("{}{a}", "0".repeat(zeros));
            prop_assert_eq!(compare_digits(padded.as_bytes(), b.to_string().as_bytes()), a.cmp(&b));
        }
    }

    #[test]
    fn names_lead_back_to_their_schemes() {
        for scheme in Scheme::ALL {
            assert_eq!(Scheme::by_name(scheme.name()), Some(scheme));
        }
        assert_eq!(Scheme::by_name("pep440"), None);
    }
}
