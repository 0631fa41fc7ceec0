//! Pieces to the syntax of an engine.

use super::parse::{Group, Open, Piece};
use super::{Flags, Plain, class, escape};

/// A pattern that is a word, perhaps at the start or the end.
pub(super) fn plain(pieces: &[Piece], flags: Flags) -> Option<Plain> {
    if flags.ignore_case {
        return None;
    }
    let (start, pieces) = match pieces {
        [Piece::Start, rest @ ..] => (true, rest),
        _ => (false, pieces),
    };
    let (end, pieces) = match pieces {
        [rest @ .., Piece::End] => (true, rest),
        _ => (false, pieces),
    };
    let word: Option<String> = pieces.iter().map(|p| if let Piece::Char(c) = p { Some(*c) } else { None }).collect();
    // A word with line ends has two ways to end.
    let word = word.filter(|word| !(end && word.contains('\n')))?;
    Some(Plain { start, end, word: word.into() })
}

pub(super) fn has_line_start(pieces: &[Piece]) -> bool {
    pieces.contains(&Piece::LineStart)
}

/// Whether only the backtracking engine can run this. An end that is followed by nothing may take a line's end with it, as long as nobody
/// asks where the match ended.
pub(super) fn needs_fancy(pieces: &[Piece], captures: bool) -> bool {
    (0..).zip(pieces).any(|(at, piece)| match piece {
        Piece::NotWordEdge | Piece::Fancy(_) | Piece::Back(_) => true,
        Piece::Open(Open::Fancy(_) | Open::If(_)) => true,
        Piece::Repeat { possessive, .. } => *possessive,
        Piece::End => captures || !is_last(pieces, at),
        _ => false,
    })
}

/// Whether nothing can be matched behind a piece: only groups end there, and other ways through them are skipped.
fn is_last(pieces: &[Piece], at: usize) -> bool {
    let mut rest = pieces.get(at + 1..).unwrap_or_default().iter().peekable();
    while let Some(piece) = rest.next() {
        match piece {
            Piece::Close => {
                if rest.next_if(|p| matches!(p, Piece::Repeat { .. })).is_some_and(|p| !matches!(p, Piece::Repeat { most: Some(1), .. })) {
                    return false;
                }
            }
            Piece::Bar => {
                // The other alternatives, up to the group's end, which is looked at next.
                let mut depth = 0usize;
                while let Some(next) = rest.peek() {
                    match next {
                        Piece::Open(_) => depth += 1,
                        Piece::Close if depth == 0 => break,
                        Piece::Close => depth -= 1,
                        _ => {}
                    }
                    rest.next();
                }
            }
            _ => return false,
        }
    }
    true
}

pub(super) fn linear(pieces: &[Piece], flags: Flags) -> String {
    render(pieces, flags, |piece| match piece {
        Piece::LineStart => "(?m:^)".into(),
        Piece::End => r"(?:\n?\z)".into(),
        Piece::WordEdge => r"(?-u:\b)".into(),
        _ => String::new(),
    })
}

pub(super) fn fancy(pieces: &[Piece], flags: Flags) -> String {
    let word = escape::WORD;
    render(pieces, flags, |piece| match piece {
        // Behind the last line's end no line starts.
        Piece::LineStart => r"(?:\A|(?<=\n)(?!\z))".into(),
        Piece::End => r"(?=\n?\z)".into(),
        Piece::WordEdge => format!("(?:(?<=[{word}])(?![{word}])|(?<![{word}])(?=[{word}]))"),
        Piece::NotWordEdge => format!("(?:(?<=[{word}])(?=[{word}])|(?<![{word}])(?![{word}]))"),
        _ => String::new(),
    })
}

/// `own` writes the pieces in which engines differ.
fn render(pieces: &[Piece], flags: Flags, own: impl Fn(&Piece) -> String) -> String {
    let mut out = String::from(if flags.ignore_case { "(?i)" } else { "" });
    for piece in pieces {
        match piece {
            Piece::Char(c) => character(&mut out, *c),
            Piece::Class(class) => out.push_str(class),
            Piece::Start => out.push_str(r"\A"),
            Piece::VeryEnd => out.push_str(r"\z"),
            Piece::LineEnd => out.push_str("(?m:$)"),
            Piece::LineStart | Piece::End | Piece::WordEdge | Piece::NotWordEdge => out.push_str(&own(piece)),
            Piece::Fancy(text) => out.push_str(text),
            // What follows could be a digit.
            Piece::Back(Group::Number(number)) => out.push_str(&format!(r"(?:\{number})")),
            Piece::Back(Group::Name(name)) => out.push_str(&format!(r"(?:\k<{name}>)")),
            Piece::Open(open) => out.push_str(&opened(open)),
            Piece::Bar => out.push('|'),
            Piece::Close => out.push(')'),
            Piece::Repeat { least, most, lazy, possessive } => {
                match (least, most) {
                    (0, None) => out.push('*'),
                    (1, None) => out.push('+'),
                    (0, Some(1)) => out.push('?'),
                    (least, None) => out.push_str(&format!("{{{least},}}")),
                    (least, Some(most)) => out.push_str(&format!("{{{least},{most}}}")),
                }
                out.push_str(if *possessive {
                    "+"
                } else if *lazy {
                    "?"
                } else {
                    ""
                });
            }
            Piece::IgnoreCase(true) => out.push_str("(?i)"),
            Piece::IgnoreCase(false) => out.push_str("(?-i)"),
        }
    }
    out
}

fn character(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() || "/\"'_=:;,<>@%!` ".contains(c) { out.push(c) } else { class::push(out, c) }
}

fn opened(open: &Open) -> String {
    match open {
        Open::Plain => "(?:".into(),
        Open::Case(true) => "(?i:".into(),
        Open::Case(false) => "(?-i:".into(),
        Open::Capture => "(".into(),
        Open::Named(name) => format!("(?P<{name}>"),
        Open::Fancy(text) => (*text).into(),
        Open::If(Group::Number(number)) => format!("(?({number})"),
        Open::If(Group::Name(name)) => format!("(?(<{name}>)"),
    }
}
