//! Maven versions in the order that Maven's POM reference specifies: a text in, its key out.
//!
//! Numbers and qualifiers, separated by dots, hyphens and each change between digits and others. The specification is followed and not one of its
//! implementations, as each of those has cycles (`1` < `1.sp.1` < `1-alpha` < `1`): a qualifier after a dot is one after a hyphen, and what counts as
//! nothing (`0`, `ga`, `final`, `release`) is dropped before a hyphen or a qualifier and at the end.

use super::{key, split_digits};

/// What can stand at a place, in ascending order. The end of a version stands where a release does.
mod code {
    pub(super) const RELEASE: u8 = 5;
    pub(super) const UNKNOWN: u8 = 7;
    pub(super) const AFTER_HYPHEN: u8 = 8;
    pub(super) const AFTER_DOT: u8 = 9;
}

const QUALIFIERS: [(&str, u8); 10] = [
    ("alpha", 0),
    ("beta", 1),
    ("milestone", 2),
    ("rc", 3),
    ("cr", 3),
    ("snapshot", 4),
    ("ga", code::RELEASE),
    ("final", code::RELEASE),
    ("release", code::RELEASE),
    ("sp", 6),
];

/// Maven orders every text; a version names a file, which forbids some characters.
pub fn accepts(version: &str) -> bool {
    !version.is_empty() && !version.contains(|c: char| c.is_whitespace() || c.is_control() || "\\/:\"<>|?*[](),".contains(c))
}

pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let version = version.to_lowercase();
    let mut kept: Vec<Token> = Vec::new();
    let tokens = Tokens { rest: version.as_bytes(), hyphen: false };
    for token in tokens {
        if token.hyphen || token.code.is_some() {
            drop_nothing(&mut kept);
        }
        kept.push(token);
    }
    drop_nothing(&mut kept);
    for token in kept {
        match token.code {
            Some(code::UNKNOWN) => {
                out.push(code::UNKNOWN);
                key::text(out, token.text);
            }
            Some(known) => out.push(known),
            None if token.hyphen => {
                out.push(code::AFTER_HYPHEN);
                key::number(out, 0, token.text);
            }
            None => key::number(out, code::AFTER_DOT, token.text),
        }
    }
    out.push(code::RELEASE);
}

fn drop_nothing(kept: &mut Vec<Token>) {
    while kept.pop_if(|last| last.is_nothing()).is_some() {}
}

struct Token<'a> {
    text: &'a [u8],
    /// After a hyphen, or after a change between digits and others; else after a dot.
    hyphen: bool,
    /// Of a qualifier; none of a number.
    code: Option<u8>,
}

impl Token<'_> {
    fn is_nothing(&self) -> bool {
        match self.code {
            Some(code) => code == code::RELEASE,
            None => self.text.iter().all(|c| *c == b'0'),
        }
    }
}

struct Tokens<'a> {
    rest: &'a [u8],
    hyphen: bool,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let [first, ..] = self.rest else { return None };
        let hyphen = self.hyphen;
        let (text, rest) = if first.is_ascii_digit() {
            split_digits(self.rest)
        } else {
            self.rest.split_at(self.rest.iter().take_while(|c| !c.is_ascii_digit() && !matches!(c, b'.' | b'-')).count())
        };
        (self.hyphen, self.rest) = match rest {
            [b'.', rest @ ..] => (false, rest),
            [b'-', rest @ ..] => (true, rest),
            rest => (true, rest),
        };
        // Nothing between two separators is 0.
        let is_number = text.first().is_none_or(u8::is_ascii_digit);
        let directly_before_digit = rest.first().is_some_and(u8::is_ascii_digit);
        Some(Token { text, hyphen, code: (!is_number).then(|| qualifier(text, directly_before_digit)) })
    }
}

fn qualifier(text: &[u8], before_digit: bool) -> u8 {
    let name = match text {
        b"a" if before_digit => b"alpha",
        b"b" if before_digit => b"beta".as_slice(),
        b"m" if before_digit => b"milestone",
        text => text,
    };
    QUALIFIERS.iter().find(|(known, _)| known.as_bytes() == name).map_or(code::UNKNOWN, |(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ascending, same};
    use super::*;
    use crate::version::Scheme;

    #[test]
    fn the_order_of_the_specification() {
        ascending(
            Scheme::Maven,
            &[
                "beta",
                "1-alpha-1-snapshot",
                "1-alpha1",
                "1.0.0.Beta1",
                "1.0-M2",
                "1.0.CR1",
                "1.0-rc2",
                "1.0-SNAPSHOT",
                "1.0.0.Final",
                "1.0-sp1",
                "1-jre8",
                "1-redhat-1",
                "1-1",
                "1-1.foo",
                "1-2",
                "1.1-android",
                "1.2",
                "1.10",
                "2.0.20240101",
                "99999999999999999999999",
            ],
        );
    }

    #[test]
    fn what_counts_as_nothing() {
        for (a, b) in [
            ("1", "1.0.0"),
            ("1.0.0.RELEASE", "1"),
            ("1.0.0-foo.0.0", "1-foo"),
            ("1-a1", "1.0-ALPHA-1"),
            ("1cr", "1.rc"),
            ("1.0.0.Final-redhat-00002", "1-redhat-2"),
            ("1x2", "1-x-2"),
            ("", "0"),
        ] {
            same(Scheme::Maven, a, b);
        }
    }

    #[test]
    fn takes_names_of_files() {
        assert!(accepts("1.0.0.Final") && accepts("r09") && accepts("2.12_1.0+b"));
        for bad in ["", "1 0", "[1,2)", "1/2", "1:2"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
