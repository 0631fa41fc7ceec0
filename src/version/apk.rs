//! Alpine versions, `1.2.3b_rc4~hash-r5`, in the order of apk-tools 2.14: two texts in, their order out.
//!
//! The commit hash is apk-tools 3's. Both differ in fields with leading zeros (`1.0015` against `1.002`), where 2.14 is followed.

use std::cmp::Ordering;

use super::{compare_digits, key, split_digits};

pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (Tokens::of(a), Tokens::of(b));
    loop {
        let (x, y) = (a.next(), b.next());
        match x.compare(y) {
            Ordering::Equal if x.is_last() => return Ordering::Equal,
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
}

pub fn accepts(version: &str) -> bool {
    let mut tokens = Tokens::of(version);
    loop {
        match tokens.next() {
            Token::End => return true,
            Token::Invalid(_) => return false,
            _ => {}
        }
    }
}

/// Bytes that sort as `compare` does.
pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let mut tokens = Tokens::of(version);
    loop {
        let token = tokens.next();
        token.write(out);
        if token.is_last() {
            return;
        }
    }
}

/// The codes of tokens, in the order of their ranks.
mod code {
    pub(super) const BEFORE: u8 = 0;
    pub(super) const INVALID: u8 = 4;
    pub(super) const END: u8 = 5;
    pub(super) const REVISION: u8 = 6;
    pub(super) const HASH: u8 = 7;
    pub(super) const SUFFIX_NUMBER: u8 = 8;
    pub(super) const AFTER: u8 = 9;
    pub(super) const LETTER: u8 = 14;
    pub(super) const NUMBER: u8 = 40;
    /// A field with two leading zeros or more, with one, with none.
    pub(super) const FIELD_OF_ZEROS: u8 = 41;
    pub(super) const FIELD_OF_ZERO: u8 = 42;
    pub(super) const FIELD: u8 = 43;
}

const BEFORE: [&[u8]; 4] = [b"alpha", b"beta", b"pre", b"rc"];
const AFTER: [&[u8]; 5] = [b"cvs", b"svn", b"git", b"hg", b"p"];

/// A piece of a version, in ascending order: what can follow the same beginning.
#[derive(Clone, Copy)]
enum Token<'a> {
    /// A suffix of what comes before a release, by its place in `BEFORE`.
    Before(usize),
    /// What no rule of the grammar takes, to the end of the text.
    Invalid(&'a [u8]),
    End,
    Revision(&'a [u8]),
    Hash(&'a [u8]),
    SuffixNumber(&'a [u8]),
    After(usize),
    Letter(u8),
    /// The first number, and one after a letter.
    Number(&'a [u8]),
    /// A number after a dot, where leading zeros count as in decimal fractions.
    Field(&'a [u8]),
}

impl Token<'_> {
    fn rank(self) -> u8 {
        match self {
            Token::Before(_) => 0,
            Token::Invalid(_) => 1,
            Token::End => 2,
            Token::Revision(_) => 3,
            Token::Hash(_) => 4,
            Token::SuffixNumber(_) => 5,
            Token::After(_) => 6,
            Token::Letter(_) => 7,
            Token::Number(_) => 8,
            Token::Field(_) => 9,
        }
    }

    fn is_last(self) -> bool {
        matches!(self, Token::End | Token::Invalid(_))
    }

    fn compare(self, other: Token) -> Ordering {
        match (self, other) {
            (Token::Before(x), Token::Before(y)) | (Token::After(x), Token::After(y)) => x.cmp(&y),
            (Token::Letter(x), Token::Letter(y)) => x.cmp(&y),
            (Token::Invalid(x), Token::Invalid(y)) | (Token::Hash(x), Token::Hash(y)) => x.cmp(y),
            (Token::Revision(x), Token::Revision(y))
            | (Token::SuffixNumber(x), Token::SuffixNumber(y))
            | (Token::Number(x), Token::Number(y)) => compare_digits(x, y),
            (Token::Field(x), Token::Field(y)) => compare_field(x, y),
            (x, y) => x.rank().cmp(&y.rank()),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        let coded = |first: u8, place: usize| first + u8::try_from(place).unwrap_or_default();
        match self {
            Token::Before(place) => out.push(coded(code::BEFORE, place)),
            Token::Invalid(text) => {
                out.push(code::INVALID);
                key::text(out, text);
            }
            Token::End => out.push(code::END),
            Token::Revision(digits) => {
                out.push(code::REVISION);
                key::number(out, 0, digits);
            }
            Token::Hash(text) => {
                out.push(code::HASH);
                key::text(out, text);
            }
            Token::SuffixNumber(digits) => {
                out.push(code::SUFFIX_NUMBER);
                key::number(out, 0, digits);
            }
            Token::After(place) => out.push(coded(code::AFTER, place)),
            Token::Letter(letter) => out.push(code::LETTER + letter.saturating_sub(b'a')),
            Token::Number(digits) => {
                out.push(code::NUMBER);
                key::number(out, 0, digits);
            }
            Token::Field(digits) => write_field(digits, out),
        }
    }
}

fn write_field(digits: &[u8], out: &mut Vec<u8>) {
    match leading_zeros(digits) {
        0 => key::number(out, code::FIELD, digits),
        1 => {
            out.push(code::FIELD_OF_ZERO);
            key::number(out, 0, digits);
        }
        zeros => {
            out.push(code::FIELD_OF_ZEROS);
            let start = out.len();
            key::integer(out, 0, u64::try_from(zeros).unwrap_or(u64::MAX));
            // The more the less.
            out[start..].iter_mut().for_each(|b| *b = !*b);
            key::number(out, 0, digits);
        }
    }
}

/// The more leading zeros the less, and any less than none: `1.001` < `1.0` < `1.01` < `1.1`.
fn compare_field(x: &[u8], y: &[u8]) -> Ordering {
    leading_zeros(y).cmp(&leading_zeros(x)).then_with(|| compare_digits(x, y))
}

fn leading_zeros(field: &[u8]) -> usize {
    field.iter().take_while(|&&c| c == b'0').count()
}

/// What the last token was, as far as it decides what may follow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Start,
    Number,
    Letter,
    Suffix,
    SuffixNumber,
    Hash,
    Revision,
}

struct Tokens<'a> {
    rest: &'a [u8],
    stage: Stage,
}

impl<'a> Tokens<'a> {
    fn of(version: &'a str) -> Tokens<'a> {
        Tokens { rest: version.as_bytes(), stage: Stage::Start }
    }

    /// The next token. After an end or an invalid one, the same again.
    fn next(&mut self) -> Token<'a> {
        match self.take() {
            Some((token, stage, rest)) => {
                (self.stage, self.rest) = (stage, rest);
                token
            }
            None if self.rest.is_empty() && self.stage != Stage::Start => Token::End,
            None => Token::Invalid(self.rest),
        }
    }

    fn take(&self) -> Option<(Token<'a>, Stage, &'a [u8])> {
        let digits = |text: &'a [u8], token: fn(&'a [u8]) -> Token<'a>, stage: Stage| {
            let (digits, rest) = split_digits(text);
            (!digits.is_empty()).then(|| (token(digits), stage, rest))
        };
        match (self.rest, self.stage) {
            (text, Stage::Start) => digits(text, Token::Number, Stage::Number),
            ([b'.', rest @ ..], Stage::Number) => digits(rest, Token::Field, Stage::Number),
            ([c, rest @ ..], Stage::Number) if c.is_ascii_lowercase() => Some((Token::Letter(*c), Stage::Letter, rest)),
            ([c, ..], Stage::Letter) if c.is_ascii_digit() => digits(self.rest, Token::Number, Stage::Number),
            ([c, ..], Stage::Suffix) if c.is_ascii_digit() => digits(self.rest, Token::SuffixNumber, Stage::SuffixNumber),
            ([b'_', rest @ ..], stage) if stage <= Stage::SuffixNumber => {
                let (name, rest) = rest.split_at(rest.iter().take_while(|c| c.is_ascii_lowercase()).count());
                let place = |names: &[&[u8]]| names.iter().position(|n| *n == name);
                let token = place(&BEFORE).map(Token::Before).or_else(|| place(&AFTER).map(Token::After))?;
                Some((token, Stage::Suffix, rest))
            }
            ([b'~', rest @ ..], stage) if stage < Stage::Hash => {
                let (hash, rest) = rest.split_at(rest.iter().take_while(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')).count());
                (!hash.is_empty()).then_some((Token::Hash(hash), Stage::Hash, rest))
            }
            ([b'-', b'r', rest @ ..], stage) if stage < Stage::Revision => digits(rest, Token::Revision, Stage::Revision),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apk_order() {
        for ascending in [
            &["1.1_alpha1", "1.1_beta", "1.1_pre3", "1.1_rc1", "1.1", "1.1-r0", "1.1_cvs1", "1.1_svn", "1.1_git", "1.1_hg", "1.1_p9"][..],
            &["1.1_p9-r1", "1.1_p10-r0", "1.1a", "1.1b", "1.1.1", "1.2", "1.10", "006", "20050718-r1", "20050718-r2"],
            &["0.1.0_alpha_pre2", "0.1.0_alpha", "0.1.0_alpha2", "0.1.0", "0.1.1"],
            &["8.2.0", "8.2.01", "8.2.02", "8.2.1", "8.2.9", "8.2.10"],
            &["1.0.0_pre20191002222144-r0", "1.0.0_pre20210530193627-r0", "1.0.0_pre99999999999999999999999-r0"],
            &["1.0~1234-r1", "1.0~2345-r0"],
        ] {
            for (i, a) in ascending.iter().enumerate() {
                for b in &ascending[i + 1..] {
                    assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
                    assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
                }
            }
        }
        assert_eq!(compare("1.2-r03", "1.2-r3"), Ordering::Equal);
    }

    #[test]
    fn takes_what_apk_takes() {
        for good in ["1.2", "0.1_pre2", "0.1_p1_pre2", "0.1_pre2~1234abcd", "2.3.0b-r1", "1.0_git20240101-r5"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "a", ".1", "1.", "0.1bc", "0.1_foobar", "0.1-r", "0.1-r2_pre1", "0.1-r2-r3", "0.1_", "0.1~", "1.0 "] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
