//! `[...]`: to a class without any of the meanings that Rust's syntax adds.

use super::escape;
use super::parse::{Parser, Refusal};

/// A member: a character, which may begin or end a range, or a class of its own.
enum Member {
    Char(char),
    Class(String),
    /// `\E`, which is nothing.
    Nothing,
}

/// What follows a `[`.
pub(super) fn class(parser: &mut Parser<'_>) -> Result<String, Refusal> {
    let mut out = String::from(if parser.take("^") { "[^" } else { "[" });
    let mut first = true;
    let mut before: Option<char> = None;
    loop {
        let c = parser.rest.next().ok_or("a [ that no ] closes")?;
        if c == ']' && !first {
            break;
        }
        first = false;
        if c == '-'
            && let Some(low) = before.take()
            && !parser.rest.as_str().starts_with(']')
        {
            let next = parser.rest.next().ok_or("a [ that no ] closes")?;
            match member(parser, next)? {
                Member::Char(high) if high < low => return Err(format!("the range {low}-{high} runs backwards")),
                Member::Char(high) => {
                    out.push('-');
                    push(&mut out, high);
                }
                other => {
                    push(&mut out, '-');
                    if let Member::Class(class) = other {
                        out.push_str(&class);
                    }
                }
            }
            continue;
        }
        before = match member(parser, c)? {
            Member::Char(c) => {
                push(&mut out, c);
                Some(c)
            }
            Member::Class(class) => {
                out.push_str(&class);
                None
            }
            Member::Nothing => before,
        };
    }
    out.push(']');
    Ok(out)
}

fn member(parser: &mut Parser<'_>, c: char) -> Result<Member, Refusal> {
    match c {
        '[' => Ok(posix(parser).map_or(Member::Char('['), Member::Class)),
        '\\' => {
            let c = parser.rest.next().ok_or("a \\ at the end")?;
            if let Some((members, not)) = escape::members(c) {
                return Ok(Member::Class(if not { format!("[^{members}]") } else { members.to_string() }));
            }
            match c {
                'b' => Ok(Member::Char('\x08')),
                'p' | 'P' => escape::property(parser, c).map(Member::Class),
                'Q' => {
                    let text = parser.rest.as_str();
                    let (quoted, rest) = text.split_once(r"\E").ok_or("a \\E is missing")?;
                    parser.rest = rest.chars();
                    let mut class = String::new();
                    quoted.chars().for_each(|c| push(&mut class, c));
                    Ok(Member::Class(class))
                }
                'E' => Ok(Member::Nothing),
                'B' | 'R' | 'X' | 'N' => Err(format!("\\{c} has no meaning in a class")),
                other => escape::character(parser, other).map(Member::Char),
            }
        }
        other => Ok(Member::Char(other)),
    }
}

/// `[:alpha:]` and `[:^alpha:]`; anything else begins with a `[` that stands for itself.
fn posix(parser: &mut Parser<'_>) -> Option<String> {
    const NAMES: [&str; 14] =
        ["alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit"];
    let (name, rest) = parser.rest.as_str().strip_prefix(':')?.split_once(":]")?;
    let bare = name.strip_prefix('^').unwrap_or(name);
    NAMES.contains(&bare).then(|| {
        parser.rest = rest.chars();
        format!("[:{name}:]")
    })
}

/// A character that stands for itself in the class syntax of both engines.
pub(super) fn push(out: &mut String, c: char) {
    if c.is_ascii_punctuation() || c.is_ascii_control() || c == ' ' {
        out.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
    } else {
        out.push(c);
    }
}
