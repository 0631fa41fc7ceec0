//! What follows a backslash.

use super::parse::{Group, Parser, Piece, Refusal};

/// Characters of the classes that PCRE has as escapes, without UCP: those of ASCII, but for blanks.
pub(super) const DIGIT: &str = "0-9";
pub(super) const WORD: &str = "0-9A-Za-z_";
pub(super) const SPACE: &str = r"\t-\r\x{20}";
const BLANK: &str = r"\t\x{20}\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}";
const BREAK: &str = r"\n-\r\x{85}\x{2028}\x{2029}";

/// The members of an escape's class, and whether they are what it leaves out.
pub(super) fn members(c: char) -> Option<(&'static str, bool)> {
    let members = match c.to_ascii_lowercase() {
        'd' => DIGIT,
        'w' => WORD,
        's' => SPACE,
        'h' => BLANK,
        'v' => BREAK,
        _ => return None,
    };
    Some((members, c.is_ascii_uppercase()))
}

pub(super) fn outside(parser: &mut Parser<'_>) -> Result<(), Refusal> {
    let c = parser.rest.next().ok_or("a \\ at the end")?;
    if let Some((members, not)) = members(c) {
        // Without regard to case, Rust would count U+017F as an s and U+212A as a k of these.
        parser.pieces.push(Piece::Class(format!("(?-i:[{}{members}])", if not { "^" } else { "" })));
        return Ok(());
    }
    let piece = match c {
        'b' => Piece::WordEdge,
        'B' => Piece::NotWordEdge,
        'A' => Piece::Start,
        'Z' => Piece::End,
        'z' => Piece::VeryEnd,
        'G' => Piece::Fancy(r"\G"),
        'K' => Piece::Fancy(r"\K"),
        'N' => Piece::Class(r"[^\n]".into()),
        'R' => Piece::Fancy(r"(?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}])"),
        'p' | 'P' => Piece::Class(property(parser, c)?),
        'Q' => {
            let text = parser.rest.as_str();
            let (quoted, rest) = text.split_once(r"\E").unwrap_or((text, ""));
            parser.pieces.extend(quoted.chars().map(Piece::Char));
            parser.rest = rest.chars();
            return Ok(());
        }
        'E' => return Ok(()),
        'g' => Piece::Back(relative(parser)?),
        'k' => Piece::Back(Group::Name(named(parser)?)),
        '1'..='9' => return number(parser, c),
        'C' | 'X' | 'L' | 'U' | 'l' | 'u' => return Err(format!("\\{c} is not supported")),
        other => Piece::Char(character(parser, other)?),
    };
    parser.pieces.push(piece);
    Ok(())
}

/// `\1` to `\9` refer to groups; of more digits, what no group has is a character in octal.
fn number(parser: &mut Parser<'_>, first: char) -> Result<(), Refusal> {
    let text = parser.rest.as_str();
    let more = text.bytes().take_while(u8::is_ascii_digit).count().min(3);
    let (digits, rest) = text.split_at_checked(more).unwrap_or((text, ""));
    let whole: u32 = format!("{first}{digits}").parse().unwrap_or(u32::MAX);
    if whole < 10 || whole <= parser.groups {
        parser.rest = rest.chars();
        if whole > parser.groups {
            return Err(format!("\\{whole} refers to a group that is not there"));
        }
        parser.pieces.push(Piece::Back(Group::Number(whole)));
        return Ok(());
    }
    let code = octal(parser, first)?;
    parser.pieces.push(Piece::Char(code));
    Ok(())
}

fn octal(parser: &mut Parser<'_>, first: char) -> Result<char, Refusal> {
    if !('0'..='7').contains(&first) {
        return Ok(first);
    }
    let mut value = first.to_digit(8).unwrap_or(0);
    for _ in 0..2 {
        let Some(digit) = parser.rest.clone().next().and_then(|c| c.to_digit(8)) else { break };
        value = value * 8 + digit;
        parser.rest.next();
    }
    code(value)
}

fn code(value: u32) -> Result<char, Refusal> {
    char::from_u32(value).ok_or_else(|| format!("{value:#x} is no character"))
}

/// A single character, in a class or outside.
pub(super) fn character(parser: &mut Parser<'_>, c: char) -> Result<char, Refusal> {
    Ok(match c {
        'a' => '\x07',
        'e' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '0'..='7' => octal(parser, c)?,
        'o' if parser.take("{") => {
            let digits = parser.until("}")?;
            code(u32::from_str_radix(&digits, 8).map_err(|_| format!("\\o{{{digits}}} is no character"))?)?
        }
        'x' if parser.take("{") => {
            let digits = parser.until("}")?;
            code(u32::from_str_radix(&digits, 16).map_err(|_| format!("\\x{{{digits}}} is no character"))?)?
        }
        'x' => {
            let mut value = 0;
            for _ in 0..2 {
                let Some(digit) = parser.rest.clone().next().and_then(|c| c.to_digit(16)) else { break };
                value = value * 16 + digit;
                parser.rest.next();
            }
            code(value)?
        }
        'c' => match parser.rest.next().filter(char::is_ascii) {
            Some(c) => code(u32::from(c.to_ascii_uppercase()) ^ 64)?,
            None => return Err("\\c without a character".into()),
        },
        // Whatever has no meaning stands for itself.
        other => other,
    })
}

/// `\p{L}`, `\pL`, `\p{^L}`
pub(super) fn property(parser: &mut Parser<'_>, c: char) -> Result<String, Refusal> {
    let name = if parser.take("{") { parser.until("}")? } else { parser.rest.next().map(String::from).ok_or("\\p without a property")? };
    let (name, turned) = name.strip_prefix('^').map_or((&*name, false), |name| (name, true));
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || name.is_empty() {
        return Err(format!("{name:?} is no property of characters"));
    }
    let not = (c == 'P') != turned;
    Ok(format!("[{}\\p{{{name}}}]", if not { "^" } else { "" }))
}

/// `\g1`, `\g{1}`, `\g{-1}`, `\g{name}`
fn relative(parser: &mut Parser<'_>) -> Result<Group, Refusal> {
    let text = if parser.take("{") {
        parser.until("}")?
    } else {
        let text = parser.rest.as_str();
        let length = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'-').count();
        let (digits, rest) = text.split_at_checked(length).unwrap_or((text, ""));
        parser.rest = rest.chars();
        digits.to_string()
    };
    let group = match text.strip_prefix('-') {
        Some(back) => back.parse().ok().filter(|n| *n > 0).and_then(|n| (parser.seen + 1).checked_sub(n)),
        None => match text.parse::<u32>() {
            Ok(number) => Some(number),
            Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => return Ok(Group::Name(text)),
            Err(_) => None,
        },
    };
    match group {
        Some(number) if (1..=parser.groups).contains(&number) => Ok(Group::Number(number)),
        _ => Err(format!("\\g{{{text}}} refers to a group that is not there")),
    }
}

/// `\k<name>`, `\k'name'`, `\k{name}`
fn named(parser: &mut Parser<'_>) -> Result<String, Refusal> {
    if parser.take("<") {
        parser.name(">")
    } else if parser.take("'") {
        parser.name("'")
    } else if parser.take("{") {
        parser.name("}")
    } else {
        Err("\\k without a name".into())
    }
}
