//! Python versions, `[epoch!]1.2.3[a|b|rc N][.postN][.devN][+local]`, in the order of PEP 440: a text in, its key out.
//!
//! What is no version sorts before all that are, by its text, as `packaging` did with legacy versions.

use super::{Dotted, key, split_digits};

/// What follows the release, in ascending order; a further number of the release sorts after all of them.
mod code {
    pub(super) const DEV: u8 = 0;
    pub(super) const PRE: u8 = 1;
    pub(super) const FINAL: u8 = 4;
    pub(super) const POST: u8 = 5;
    pub(super) const RELEASE: u8 = 6;
}

pub fn accepts(version: &str) -> bool {
    Version::of(version.trim().to_ascii_lowercase().as_bytes()).is_some()
}

pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let text = version.trim().to_ascii_lowercase();
    match Version::of(text.as_bytes()) {
        Some(version) => version.write(out),
        None => {
            out.push(0);
            key::text(out, text.as_bytes());
        }
    }
}

struct Version<'a> {
    epoch: &'a [u8],
    release: &'a [u8],
    /// 0 for alpha, 1 for beta, 2 for a release candidate.
    pre: Option<(u8, &'a [u8])>,
    post: Option<&'a [u8]>,
    dev: Option<&'a [u8]>,
    local: &'a [u8],
}

impl<'a> Version<'a> {
    fn of(text: &'a [u8]) -> Option<Version<'a>> {
        let text = text.strip_prefix(b"v").unwrap_or(text);
        let (epoch, text) = match split_digits(text) {
            (digits @ [_, ..], [b'!', rest @ ..]) => (digits, rest),
            _ => (&text[..0], text),
        };
        let mut release = Dotted::of(text);
        release.next()?;
        while release.next().is_some() {}
        let mut rest = Rest(release.rest);
        let release = &text[..text.len() - rest.0.len()];
        let pre = rest.part(&[("alpha", 0), ("a", 0), ("beta", 1), ("b", 1), ("preview", 2), ("pre", 2), ("rc", 2), ("c", 2)]);
        let post = rest.bare_post().or_else(|| rest.part(&[("post", 0), ("rev", 0), ("r", 0)]).map(|(_, number)| number));
        let dev = rest.part(&[("dev", 0)]).map(|(_, number)| number);
        let local = match rest.0 {
            [] => rest.0,
            [b'+', local @ ..] => local,
            _ => return None,
        };
        let segment = |s: &[u8]| !s.is_empty() && s.iter().all(u8::is_ascii_alphanumeric);
        (rest.0.is_empty() || segments(local).all(segment)).then_some(Version { epoch, release, pre, post, dev, local })
    }

    fn write(&self, out: &mut Vec<u8>) {
        const NONE: u8 = u8::MAX;
        // 0 is what is no version.
        key::number(out, 1, self.epoch);
        Dotted::of(self.release).write(out, code::RELEASE);
        match (self.pre, self.post, self.dev) {
            (None, None, Some(dev)) => {
                out.push(code::DEV);
                key::number(out, 0, dev);
            }
            (None, None, None) => out.push(code::FINAL),
            (pre, post, dev) => {
                match (pre, post) {
                    (Some((which, number)), post) => {
                        out.push(code::PRE + which);
                        key::number(out, 0, number);
                        out.push(u8::from(post.is_some()));
                    }
                    (None, _) => out.push(code::POST),
                }
                if let Some(post) = post {
                    key::number(out, 0, post);
                }
                match dev {
                    Some(dev) => key::number(out, 0, dev),
                    None => out.push(NONE),
                }
            }
        }
        for segment in segments(self.local).filter(|s| !s.is_empty()) {
            if segment.iter().all(u8::is_ascii_digit) {
                key::number(out, 2, segment);
            } else {
                out.push(1);
                key::text(out, segment);
            }
        }
    }
}

fn segments(local: &[u8]) -> impl Iterator<Item = &[u8]> {
    local.split(|c| matches!(c, b'.' | b'-' | b'_'))
}

/// What is not yet read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// `[-_.]name[-_.]number`, where the separators and the number may be missing.
    fn part(&mut self, names: &[(&str, u8)]) -> Option<(u8, &'a [u8])> {
        let text = without_separator(self.0);
        let (rest, which) = names.iter().find_map(|(name, which)| Some((text.strip_prefix(name.as_bytes())?, *which)))?;
        let (number, rest) = split_digits(without_separator(rest));
        self.0 = rest;
        Some((which, number))
    }

    /// `-1`, which means `.post1`.
    fn bare_post(&mut self) -> Option<&'a [u8]> {
        let (number, rest) = split_digits(self.0.strip_prefix(b"-")?);
        (!number.is_empty()).then(|| {
            self.0 = rest;
            number
        })
    }
}

fn without_separator(text: &[u8]) -> &[u8] {
    match text {
        [b'.' | b'-' | b'_', rest @ ..] => rest,
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::super::tests::{ascending, same};
    use super::*;
    use crate::version::Scheme;

    #[test]
    fn pep440_order() {
        ascending(
            Scheme::Pep440,
            &[
                "no version",
                "1.0.dev0",
                "1.0.dev456",
                "1.0a1.dev1",
                "1.0a1",
                "1.0a1.post1.dev2",
                "1.0a1.post1",
                "1.0b2",
                "1.0rc1",
                "1.0",
                "1.0+abc",
                "1.0+abc.5",
                "1.0+5",
                "1.0.post456.dev34",
                "1.0.post456",
                "1.0.1.dev1",
                "1.1",
                "2024.1",
                "1!0.1",
            ],
        );
    }

    #[test]
    fn spellings() {
        for (a, b) in [
            ("1.0", "1.0.0"),
            ("v1.0-ALPHA_1", "1.0a1"),
            ("1.0-1", "1.0.post1"),
            ("1.0c", "1rc0"),
            (" 1.0.r ", "1.post0"),
            ("1+a-B", "1+a.b"),
        ] {
            same(Scheme::Pep440, a, b);
        }
        assert_eq!(Scheme::Pep440.compare("1.0-pre", "1.0"), Ordering::Less);
    }

    #[test]
    fn takes_what_packaging_takes() {
        for good in ["1", "v1.0", "1!2.0rc1.post2.dev3+local.1", "1.0-1", "1.0a.", "2013-10"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "a", "1.", "1..0", "1.0+", "1.0+a..b", "1.0x", "1.0 rc1", "!1", "1.0-rc1-2-3"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
