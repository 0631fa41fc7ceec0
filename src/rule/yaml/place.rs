//! Where a byte of a YAML string is in its file: `(file, place of the scalar, value, byte) -> Place`.
//!
//! YAML folds lines, drops indentation and reads escapes, so that value and source differ; but what a person sees, the
//! characters that are not blank, stays in order. The search therefore counts those, which is exact for plain, quoted and
//! block scalars as long as the byte in question is not a blank, and no part of an expression begins with one.

use super::node::Place;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Block,
    Single,
    Double,
}

/// The place of a byte of the value of the scalar that begins at `scalar`.
pub(super) fn inside(file: &str, scalar: Place, value: &str, byte: usize) -> Place {
    let Some(start) = offset(file, scalar) else { return scalar };
    let style = style(file, start);
    let quoted = matches!(style, Style::Single | Style::Double);
    let before = value.get(..byte).unwrap_or(value);
    let wanted = before.chars().filter(|c| !c.is_whitespace()).count();
    let mut source = Source { rest: file.get(start..).unwrap_or_default(), place: scalar, style };
    if quoted {
        source.advance();
    }
    // At the end of an expression there is nothing to stand at, so the place is behind its last character.
    let at_end = value.get(byte..).is_none_or(|rest| rest.trim().is_empty());
    let skip = if at_end { wanted.saturating_sub(1) } else { wanted };
    let mut place = scalar;
    for _ in 0..=skip {
        match source.visible() {
            Some(at) => place = at,
            None => return place,
        }
    }
    if at_end && wanted > 0 { Place { column: place.column + 1, ..place } } else { place }
}

/// The source of a plain scalar up to where it surely ends; for messages about values that need quotes.
pub(super) fn word(file: &str, scalar: Place) -> &str {
    let rest = offset(file, scalar).and_then(|o| file.get(o..)).unwrap_or_default();
    rest.split([',', '}', ']', '\n', '\r', '#']).next().unwrap_or_default().trim()
}

/// The line of a place, for hints.
pub(super) fn line(file: &str, place: Place) -> &str {
    let before = usize::try_from(place.line).unwrap_or(0).saturating_sub(1);
    file.lines().nth(before).unwrap_or_default()
}

/// Whether the scalar is without quotes and on a line that goes on with a comment: its end may have been cut off.
pub(super) fn is_cut_by_comment(file: &str, scalar: Place) -> bool {
    offset(file, scalar).is_some_and(|at| style(file, at) == Style::Plain) && line(file, scalar).contains(" #")
}

/// Whether a value carries a YAML tag: `check: !a` and `check: ! a` are `a` with a tag, which is not what was meant.
pub(super) fn has_tag(file: &str, key: Place, scalar: Place) -> bool {
    let between = offset(file, key).zip(offset(file, scalar)).and_then(|(from, to)| file.get(from..to)).unwrap_or_default();
    let mut words = between.split_whitespace().skip(1).take_while(|w| !w.starts_with('#'));
    words.any(|w| w.starts_with('!'))
}

fn offset(file: &str, place: Place) -> Option<usize> {
    let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
    let start = if line == 0 { 0 } else { file.match_indices('\n').nth(line - 1)?.0 + 1 };
    let rest = file.get(start..)?;
    let within = rest.char_indices().map(|(at, _)| at).chain([rest.len()]).nth(column)?;
    Some(start + within)
}

fn style(file: &str, start: usize) -> Style {
    let before = file.get(..start).unwrap_or_default();
    let (lines, indent) = before.rsplit_once('\n').unwrap_or(("", before));
    if indent.trim().is_empty() && lines.lines().rev().find(|l| !l.trim().is_empty()).is_some_and(is_block_header) {
        return Style::Block;
    }
    match file.get(start..).and_then(|rest| rest.chars().next()) {
        Some('"') => Style::Double,
        Some('\'') => Style::Single,
        _ => Style::Plain,
    }
}

/// `key: |`, `- >-`, `key: |2  # comment`
fn is_block_header(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or(line).trim_end();
    let line = line.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
    let Some(before) = line.strip_suffix(['|', '>']) else { return false };
    before.is_empty() || before.ends_with([' ', '\t'])
}

struct Source<'f> {
    rest: &'f str,
    place: Place,
    style: Style,
}

impl Source<'_> {
    /// One character of the file.
    fn advance(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        if c == '\n' {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    /// The place of the next character of the value that is not blank.
    fn visible(&mut self) -> Option<Place> {
        loop {
            let at = self.place;
            let c = self.advance()?;
            let value = match (self.style, c) {
                (Style::Double, '"') => return None,
                (Style::Double, '\\') => self.escaped(),
                (Style::Single, '\'') => {
                    // Two quotes are one; one is the end.
                    if !self.rest.starts_with('\'') {
                        return None;
                    }
                    self.advance()
                }
                _ => Some(c),
            };
            if value.is_some_and(|c| !c.is_whitespace()) {
                return Some(at);
            }
        }
    }

    /// What a backslash makes of the following; nothing at the end of a line.
    fn escaped(&mut self) -> Option<char> {
        let digits = match self.advance()? {
            'n' | 't' | 'r' | 'v' | 'f' | ' ' | 'N' | '_' | 'L' | 'P' | '\n' | '\r' => return Some(' '),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => return Some(other),
        };
        let mut code = 0u32;
        for _ in 0..digits {
            code = code.checked_mul(16)?.checked_add(self.advance()?.to_digit(16)?)?;
        }
        char::from_u32(code)
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::{self, Data};
    use super::*;

    /// The places of every `X` in the value of `k`.
    fn places(file: &str) -> Vec<(u32, u32)> {
        let node = node::parse(file).unwrap();
        let Data::Map(entries) = node.data else { panic!("map") };
        let (_, scalar) = entries.iter().find(|(k, _)| k.text == "k").unwrap();
        let Data::Str(value) = &scalar.data else { panic!("string") };
        value.match_indices('X').map(|(at, _)| inside(file, scalar.place, value, at)).map(|p| (p.line, p.column)).collect()
    }

    #[test]
    fn every_style() {
        assert_eq!(places("k: a X bX\n"), [(1, 6), (1, 9)]);
        assert_eq!(places("k: ü X\n  and X # X\n"), [(1, 6), (2, 7)]);
        assert_eq!(places("{k: 'it''s X', l: X}"), [(1, 12)]);
        assert_eq!(places("k: \"\\\"a\\n \\u00e9 \\x20X\\\n    X\"\n"), [(1, 22), (2, 5)]);
        assert_eq!(places("k: |\n  X\n    \"X\"\n\n  X\n"), [(2, 3), (3, 6), (5, 3)]);
        assert_eq!(places("k: |-  # why\n\n    \"it's\" X\n"), [(3, 12)]);
        assert_eq!(places("a: 1\nk: >\n  \"a\n  X\n\n  'X\n"), [(4, 3), (6, 4)]);
        assert_eq!(places("k:\n  \"X\"\n"), [(2, 4)]);
    }

    #[test]
    fn the_end_and_nonsense() {
        let at = |file: &str, value: &str, byte| {
            let place = inside(file, Place { line: 1, column: 4 }, value, byte);
            (place.line, place.column)
        };
        assert_eq!(at("k: a &&\n", "a &&", 4), (1, 8));
        assert_eq!(at("k: 'a &&'\n", "a &&", 4), (1, 9));
        assert_eq!(at("k: a", "much longer than the file", 20), (1, 4));
        assert_eq!(inside("", Place { line: 7, column: 7 }, "x", 0), Place { line: 7, column: 7 });
        assert_eq!(word("a: [no, 0640 ]", Place { line: 1, column: 9 }), "0640");
    }
}
