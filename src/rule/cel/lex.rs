//! Tokens of CEL: `text -> [Token]`, the last one `End`.

use super::{Problem, Span};
use crate::rule::Code;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Ident(String),
    Str(String),
    /// Without its sign, so that the smallest int can be written.
    Int(u64),
    Op(&'static str),
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

/// Longer ones first: the first that fits is taken.
const OPERATORS: [&str; 24] =
    ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}"];

pub(super) fn lex(text: &str) -> Result<Vec<Token>, Problem> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.token()?;
        let end = token.kind == Kind::End;
        tokens.push(token);
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    /// Always on a character boundary.
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn since(&self, start: usize) -> Span {
        Span { start, end: self.at }
    }

    fn wrong(&self, start: usize, message: impl Into<String>) -> Problem {
        Problem::new(Code::Syntax, self.since(start), message)
    }

    fn token(&mut self) -> Result<Token, Problem> {
        loop {
            self.skip_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}'));
            if !self.rest().starts_with("//") {
                break;
            }
            self.skip_while(|c| c != '\n');
        }
        let start = self.at;
        let kind = match self.peek() {
            None => Kind::End,
            Some(c) if c.is_ascii_digit() => self.number()?,
            Some('.') if self.rest().chars().nth(1).is_some_and(|c| c.is_ascii_digit()) => {
                self.at += 1;
                self.skip_while(|c| c.is_ascii_alphanumeric());
                return Err(self.wrong(start, DOUBLE));
            }
            Some('"' | '\'') => Kind::Str(self.string(start, false)?),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.word(start)?,
            Some(_) => self.operator(start)?,
        };
        Ok(Token { kind, span: self.since(start) })
    }

    fn word(&mut self, start: usize) -> Result<Kind, Problem> {
        let word = self.skip_while(|c| c.is_ascii_alphanumeric() || c == '_');
        if matches!(self.peek(), Some('"' | '\'')) {
            match word {
                "r" | "R" => return Ok(Kind::Str(self.string(start, true)?)),
                "b" | "B" | "br" | "rb" | "bR" | "Rb" | "Br" | "rB" | "BR" | "RB" => {
                    return Err(self.wrong(start, "bytes are not supported, write a string without the `b`"));
                }
                _ => {}
            }
        }
        Ok(Kind::Ident(word.to_owned()))
    }

    fn operator(&mut self, start: usize) -> Result<Kind, Problem> {
        if let Some(op) = OPERATORS.into_iter().find(|op| self.rest().starts_with(op)) {
            self.at += op.len();
            return Ok(Kind::Op(op));
        }
        let message = match self.next() {
            Some('=') => "`=` is no operator, write `==`".to_owned(),
            Some('&') => "`&` is no operator, write `&&`".to_owned(),
            Some('|') => "`|` is no operator, write `||`".to_owned(),
            Some('`') => "quoted names are not supported".to_owned(),
            Some(c @ ('\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}')) => format!("`{c}` is a typographic quote, write `\"`"),
            Some(c) if c.is_control() => format!("unexpected character `{}`", c.escape_default()),
            c => format!("unexpected character `{}`", c.unwrap_or(' ')),
        };
        Err(self.wrong(start, message))
    }

    fn number(&mut self) -> Result<Kind, Problem> {
        let start = self.at;
        let hex = self.rest().starts_with("0x") || self.rest().starts_with("0X");
        let (digits, radix) = if hex {
            self.at += 2;
            (self.skip_while(|c| c.is_ascii_hexdigit()), 16)
        } else {
            (self.skip_while(|c| c.is_ascii_digit()), 10)
        };
        let mut following = self.rest().chars();
        let double = match (following.next(), following.next()) {
            (Some('.'), Some(c)) => c.is_ascii_digit(),
            (Some('e' | 'E'), Some(c)) => c.is_ascii_digit() || c == '+' || c == '-',
            _ => false,
        };
        if double && !hex {
            self.at += 1;
            self.skip_while(|c| c.is_ascii_alphanumeric());
            return Err(self.wrong(start, DOUBLE));
        }
        let tail = self.skip_while(|c| c.is_ascii_alphanumeric() || c == '_');
        if tail.eq_ignore_ascii_case("u") {
            return Err(self.wrong(start, "unsigned ints are not supported, leave out the `u`"));
        }
        if !tail.is_empty() || digits.is_empty() {
            return Err(self.wrong(start, "malformed number"));
        }
        if !hex && digits.len() > 1 && digits.starts_with('0') {
            let message = format!("a number with leading zeros would be read as decimal, write mode(\"{digits}\") for a file mode");
            return Err(self.wrong(start, message));
        }
        u64::from_str_radix(digits, radix).map(Kind::Int).map_err(|_| self.wrong(start, TOO_BIG))
    }

    /// Stands at the opening quote; `start` is where the token begins, which for raw strings is the `r`.
    fn string(&mut self, start: usize, raw: bool) -> Result<String, Problem> {
        let quote = if self.rest().starts_with('"') { '"' } else { '\'' };
        let triple = match quote {
            '"' => "\"\"\"",
            _ => "'''",
        };
        let long = self.rest().starts_with(triple);
        self.at += if long { 3 } else { 1 };
        let opened = self.since(start);
        let mut out = String::new();
        loop {
            if long && self.rest().starts_with(triple) {
                self.at += 3;
                return Ok(out);
            }
            let at = self.at;
            match self.next() {
                Some(c) if c == quote && !long => return Ok(out),
                None => return Err(Problem::new(Code::Syntax, opened, "the string is not closed")),
                Some('\n' | '\r') if !long => {
                    return Err(Problem::new(Code::Syntax, opened, "the string is not closed on its line"));
                }
                Some('\\') if !raw => out.push(self.escape(at)?),
                Some(c) => out.push(c),
            }
        }
    }

    /// Stands after a backslash that was at `start`.
    fn escape(&mut self, start: usize) -> Result<char, Problem> {
        let plain = match self.next() {
            Some(c @ ('\\' | '?' | '"' | '\'' | '`')) => c,
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some('x' | 'X') => self.code_point(start, 2, 16)?,
            Some('u') => self.code_point(start, 4, 16)?,
            Some('U') => self.code_point(start, 8, 16)?,
            Some('0'..='3') => {
                self.at -= 1;
                self.code_point(start, 3, 8)?
            }
            Some(c) => {
                let message = format!(
                    "unknown escape `\\{}`, write `\\\\` for a backslash, or r\"...\" for a regular expression",
                    c.escape_default()
                );
                return Err(self.wrong(start, message));
            }
            None => return Err(self.wrong(start, "the string is not closed")),
        };
        Ok(plain)
    }

    fn code_point(&mut self, start: usize, digits: usize, radix: u32) -> Result<char, Problem> {
        let text = self.rest().get(..digits).filter(|t| t.chars().all(|c| c.is_digit(radix)));
        let Some(text) = text else {
            let kind = if radix == 8 { "octal" } else { "hexadecimal" };
            return Err(self.wrong(start, format!("this escape needs {digits} {kind} digits")));
        };
        self.at += digits;
        let code = u32::from_str_radix(text, radix).ok().and_then(char::from_u32);
        code.ok_or_else(|| self.wrong(start, "this escape is no Unicode character"))
    }
}

const DOUBLE: &str = "numbers with a fraction or exponent are not supported, no column holds one";
pub(super) const TOO_BIG: &str = "the number does not fit 64 bits";
