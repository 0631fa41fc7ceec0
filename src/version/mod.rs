//! How two versions compare, by the ordering of their own ecosystem: a scheme and two texts in, their order out, or a text in, its order key out.
//!
//! One file a scheme, [`ecosystem`] says whose is which. Each order is total over all strings, and its keys compare as bytes as the versions do (the
//! tests here); `tests/versions.rs` holds them against the real tools.

pub mod apk;
pub mod arch;
pub mod cran;
pub mod date;
pub mod dotted;
pub mod dpkg;
pub mod ecosystem;
mod key;
pub mod maven;
pub mod nuget;
pub mod packagist;
pub mod pep440;
pub mod rpm;
pub mod rubygems;
pub mod semver;
pub mod windows;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An ordering of versions. Adding one: a file, a line in each list below. New ones come last: packs know them by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Dpkg,
    Rpm,
    Apk,
    Semver,
    Windows,
    Pep440,
    Maven,
    Rubygems,
    Nuget,
    Packagist,
    Cran,
    Arch,
    Dotted,
    Date,
}

impl Scheme {
    pub const ALL: [Scheme; 14] = [
        Scheme::Dpkg,
        Scheme::Rpm,
        Scheme::Apk,
        Scheme::Semver,
        Scheme::Windows,
        Scheme::Pep440,
        Scheme::Maven,
        Scheme::Rubygems,
        Scheme::Nuget,
        Scheme::Packagist,
        Scheme::Cran,
        Scheme::Arch,
        Scheme::Dotted,
        Scheme::Date,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Scheme::Dpkg => "dpkg",
            Scheme::Rpm => "rpm",
            Scheme::Apk => "apk",
            Scheme::Semver => "semver",
            Scheme::Windows => "windows",
            Scheme::Pep440 => "pep440",
            Scheme::Maven => "maven",
            Scheme::Rubygems => "rubygems",
            Scheme::Nuget => "nuget",
            Scheme::Packagist => "packagist",
            Scheme::Cran => "cran",
            Scheme::Arch => "arch",
            Scheme::Dotted => "dotted",
            Scheme::Date => "date",
        }
    }

    pub fn by_name(name: &str) -> Option<Scheme> {
        Scheme::ALL.into_iter().find(|s| s.name() == name)
    }

    /// The names of all, for messages.
    pub fn names() -> String {
        Scheme::ALL.map(Scheme::name).join(", ")
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
            _ => key::compare(self.key_writer(), a, b),
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
            Scheme::Pep440 => pep440::accepts(version),
            Scheme::Maven => maven::accepts(version),
            Scheme::Rubygems => rubygems::accepts(version),
            Scheme::Nuget => nuget::accepts(version),
            Scheme::Packagist => packagist::accepts(version),
            Scheme::Cran => cran::accepts(version),
            Scheme::Arch => arch::accepts(version),
            Scheme::Dotted => dotted::accepts(version),
            Scheme::Date => date::accepts(version),
        }
    }

    /// Bytes that compare as the versions do: `a.key() < b.key()` where `a` is less than `b`, and equal where neither is. One byte for most numbers,
    /// so usually less than the text. Keys are no format: they are made anew whenever the program changes.
    pub fn key(self, version: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        self.write_key(version, &mut out);
        out
    }

    /// As [`Scheme::key`], at the end of a buffer.
    pub fn write_key(self, version: &str, out: &mut Vec<u8>) {
        self.key_writer()(version, out);
    }

    fn key_writer(self) -> fn(&str, &mut Vec<u8>) {
        match self {
            Scheme::Dpkg => dpkg::write_key,
            Scheme::Rpm => rpm::write_key,
            Scheme::Apk => apk::write_key,
            Scheme::Semver => semver::write_key,
            Scheme::Windows => windows::write_key,
            Scheme::Pep440 => pep440::write_key,
            Scheme::Maven => maven::write_key,
            Scheme::Rubygems => rubygems::write_key,
            Scheme::Nuget => nuget::write_key,
            Scheme::Packagist => packagist::write_key,
            Scheme::Cran => cran::write_key,
            Scheme::Arch => arch::write_key,
            Scheme::Dotted => dotted::write_key,
            Scheme::Date => date::write_key,
        }
    }

    /// As the ecosystem's own tools compare what is required with what is there: where one of both says no release, every release is meant (rpm,
    /// Arch). No order: `1-1` = `1` = `1-2`.
    pub fn compare_dependency(self, a: &str, b: &str) -> Ordering {
        match self {
            Scheme::Rpm => rpm::compare_dependency(a, b, false),
            Scheme::Arch => arch::compare_dependency(a, b),
            _ => self.compare(a, b),
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
    /// Whether a comma, and blanks after it, separate too.
    commas: bool,
}

impl<'a> Dotted<'a> {
    fn of(text: &'a [u8]) -> Dotted<'a> {
        Dotted { rest: text, first: true, commas: false }
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = match self.rest {
            text if self.first => text,
            [b'.', text @ ..] => text,
            [b',', text @ ..] if self.commas => text.trim_ascii_start(),
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

    /// Reads to the `rest` and writes the numbers but for zeros at their end. What comes next in the key must be less than `base`.
    fn write(&mut self, out: &mut Vec<u8>, base: u8) {
        let mut zeros = 0;
        while let Some(digits) = self.next() {
            if strip_zeros(digits).is_empty() {
                zeros += 1;
                continue;
            }
            out.extend(std::iter::repeat_n(base, std::mem::take(&mut zeros)));
            key::number(out, base, digits);
        }
    }
}

/// `[epoch:]version[-release]`, as rpm and pacman take them apart.
struct Parts<'a> {
    epoch: &'a [u8],
    version: &'a [u8],
    release: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Parts<'a> {
        let bytes = text.as_bytes();
        let (epoch, rest) = match split_digits(bytes) {
            (digits, [b':', rest @ ..]) => (digits, rest),
            _ => (&bytes[..0], bytes),
        };
        match rest.iter().rposition(|&c| c == b'-') {
            Some(at) => Parts { epoch, version: &rest[..at], release: Some(&rest[at + 1..]) },
            None => Parts { epoch, version: rest, release: None },
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
            Scheme::Windows => "[0-2]([.][0-1]{1,3}|, [0-1]){0,4}( [(][a-b]?[)])?",
            Scheme::Pep440 => {
                "v?([0-1]!)?[0-1]([.][0-2]){0,2}([-_.]?(a|alpha|b|rc|pre)[-.]?[0-1]?)?(-[0-1]|[.]?post[0-1]?)?([.]?dev[0-1]?)?([+][0-1a]{1,2}([.][0-1a]){0,2})?"
            }
            Scheme::Maven => "[0-1]([-.]?(0|1|a|b|m|alpha|rc|snapshot|final|ga|sp|foo)){0,5}",
            Scheme::Rubygems => "[0-1]([.](0|1|2|a|b|pre)){0,5}(-[0-1a-b])?",
            Scheme::Nuget => "[0-1]([.][0-1]{1,2}){0,3}(-[0-1abAB]{1,2}([.][0-1abAB]{1,2}){0,2})?([+][a-b])?",
            Scheme::Packagist => "v?[0-1]([.][0-1x]){0,3}([-.]?(alpha|beta|b|RC|p|stable)[.]?[0-1]?([.][0-1])?)?(-dev)?",
            Scheme::Cran => "[0-1]([-.][0-2]{1,2}){0,4}[a-b]?",
            Scheme::Arch => "([0-1]:)?[0-1]([._]{0,2}([0-1]{1,2}|[a-b]{1,2})){0,3}[.]?(-[0-1]([.][0-1])?)?",
            Scheme::Dotted => "v?[0-1]([.][0-1]{1,2}){0,3}([a-b]|p[0-2]|-[0-2])?",
            Scheme::Date => {
                "(r|RELEASE[.])?(19|20)?(23|24)[-.]?(0|1)?[0-2]([-.]?[0-3]?[0-2])?(T[0-1]{2}:?[0-1]{2}Z?)?([.][0-1a])?|[0-1]?[1-2]/[1-2]/20(23|24)"
            }
        }
    }

    /// Versions, near versions and noise. The alphabets are small so that equal beginnings are common.
    fn texts() -> impl Strategy<Value = (Scheme, [String; 3])> {
        prop::sample::select(&Scheme::ALL[..]).prop_flat_map(|scheme| {
            let text = prop_oneof![4 => plausible(scheme), 3 => "[0-1a-br.~^+:_ v-]{0,7}", 2 => mutated(scheme), 1 => "\\PC{0,6}"];
            (Just(scheme), [text.clone(), text.clone(), text])
        })
    }

    /// Versions with a piece taken out, doubled, or put elsewhere.
    fn mutated(scheme: Scheme) -> impl Strategy<Value = String> {
        (plausible(scheme), 0usize..8, 0usize..8, "[-.~^+:0-9a-zA-Z]?").prop_map(|(version, from, to, piece)| {
            let chars: Vec<char> = version.chars().collect();
            let (from, to) = (from.min(chars.len()), to.min(chars.len()));
            chars[..from].iter().collect::<String>() + &piece + &chars[to..].iter().collect::<String>()
        })
    }

    /// Holds that each of the versions is less than every one after it.
    pub(super) fn ascending(scheme: Scheme, versions: &[&str]) {
        for (i, a) in versions.iter().enumerate() {
            for b in &versions[i + 1..] {
                assert_eq!(scheme.compare(a, b), Ordering::Less, "{a} {b}");
                assert_eq!(scheme.compare(b, a), Ordering::Greater, "{b} {a}");
            }
        }
    }

    pub(super) fn same(scheme: Scheme, a: &str, b: &str) {
        assert_eq!(scheme.compare(a, b), Ordering::Equal, "{a} {b}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8192))]

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
            prop_assert_eq!(scheme.key(&a).cmp(&scheme.key(&b)), cmp(&a, &b));
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
        assert_eq!(Scheme::by_name("debian"), None);
    }

    #[test]
    fn keys_are_short() {
        for (scheme, version, longest) in [
            (Scheme::Dpkg, "1:2.36-9+deb12u4", 24),
            (Scheme::Dpkg, "5.2.15-2+b7", 16),
            (Scheme::Rpm, "5.14.0-427.13.1.el9_4", 16),
            (Scheme::Apk, "1.2.4_git20230717-r4", 17),
            (Scheme::Semver, "1.2.3", 4),
            (Scheme::Windows, "10.0.19045.3930", 10),
            (Scheme::Pep440, "2024.1.2", 6),
            (Scheme::Maven, "2.17.1", 4),
            (Scheme::Rubygems, "7.0.4.3", 5),
            (Scheme::Arch, "6.6.1.arch1-1", 20),
        ] {
            let key = scheme.key(version);
            assert!(key.len() <= longest, "{scheme} {version}: {} bytes", key.len());
        }
    }
}
