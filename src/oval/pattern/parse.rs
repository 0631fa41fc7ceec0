//! PCRE syntax to pieces. The options `m`, `s`, `x` and `U` are resolved here, so that only `i` is left to an engine.

use super::Flags;
use super::class;
use super::escape;

/// What a pattern consists of, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Char(char),
    /// A class, in the syntax that both engines share.
    Class(String),
    /// `^` of a text, and of its lines.
    Start,
    LineStart,
    /// `$` and `\Z` of a text: at its end and before a line's end there. `$` of its lines.
    End,
    LineEnd,
    /// `\z`
    VeryEnd,
    WordEdge,
    NotWordEdge,
    /// What only the backtracking engine has, in its syntax.
    Fancy(&'static str),
    Back(Group),
    Open(Open),
    Bar,
    Close,
    Repeat {
        least: u32,
        most: Option<u32>,
        lazy: bool,
        possessive: bool,
    },
    /// `i` is switched for the rest of the group.
    IgnoreCase(bool),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Number(u32),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Plain,
    /// With `i` on or off.
    Case(bool),
    Capture,
    Named(String),
    /// `(?=`, `(?!`, `(?<=`, `(?<!`, `(?>`
    Fancy(&'static str),
    /// `(?(1)`
    If(Group),
}

#[derive(Clone, Copy)]
pub(super) struct Options {
    ignore_case: bool,
    multiline: bool,
    dot_all: bool,
    extended: bool,
    ungreedy: bool,
}

pub(super) struct Parser<'p> {
    pub(super) rest: std::str::Chars<'p>,
    pub(super) pieces: Vec<Piece>,
    options: Options,
    /// Options outside of each open group.
    outer: Vec<Options>,
    /// How many groups capture in the whole pattern, and so far.
    pub(super) groups: u32,
    pub(super) seen: u32,
}

/// What of a pattern is not a pattern, or not one that any engine here can run.
pub(super) type Refusal = String;

pub(super) fn pieces(pattern: &str, flags: Flags) -> Result<Vec<Piece>, Refusal> {
    let options =
        Options { ignore_case: flags.ignore_case, multiline: flags.multiline, dot_all: flags.singleline, extended: false, ungreedy: false };
    let groups = count_groups(pattern);
    let mut parser = Parser { rest: pattern.chars(), pieces: Vec::new(), options, outer: Vec::new(), groups, seen: 0 };
    while parser.take("(*UTF8)") || parser.take("(*UTF)") {}
    while let Some(c) = parser.rest.next() {
        parser.piece(c)?;
    }
    match parser.outer.len() {
        0 => Ok(parser.pieces),
        _ => Err("a ( that no ) closes".into()),
    }
}

/// Groups that capture: needed before a back-reference can be told from a number in octal.
fn count_groups(pattern: &str) -> u32 {
    let mut count = 0;
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' if !in_class => {
                in_class = true;
                chars.next_if_eq(&'^');
                chars.next_if_eq(&']');
            }
            ']' => in_class = false,
            '(' if !in_class => {
                let mut ahead = chars.clone();
                let plain = ahead.next() != Some('?');
                let named = match (ahead.next(), ahead.next()) {
                    (Some('P'), Some('<')) | (Some('\''), _) => true,
                    (Some('<'), Some(next)) => next != '=' && next != '!',
                    _ => false,
                };
                count += u32::from(plain || named);
            }
            _ => {}
        }
    }
    count
}

impl Parser<'_> {
    pub(super) fn take(&mut self, text: &str) -> bool {
        match self.rest.as_str().strip_prefix(text) {
            Some(rest) => {
                self.rest = rest.chars();
                true
            }
            None => false,
        }
    }

    /// What stands before an end, which is taken too.
    pub(super) fn until(&mut self, end: &str) -> Result<String, Refusal> {
        let (text, rest) = self.rest.as_str().split_once(end).ok_or_else(|| format!("a {end} is missing"))?;
        self.rest = rest.chars();
        Ok(text.to_string())
    }

    fn piece(&mut self, c: char) -> Result<(), Refusal> {
        let piece = match c {
            '\\' => return escape::outside(self),
            '[' => Piece::Class(class::class(self)?),
            '.' if self.options.dot_all => Piece::Class(r"[\x{0}-\x{10FFFF}]".into()),
            '.' => Piece::Class(r"[^\n]".into()),
            '^' if self.options.multiline => Piece::LineStart,
            '^' => Piece::Start,
            '$' if self.options.multiline => Piece::LineEnd,
            '$' => Piece::End,
            '|' => Piece::Bar,
            '(' => return self.open(),
            ')' => {
                self.options = self.outer.pop().ok_or("a ) that no ( opened")?;
                Piece::Close
            }
            '*' => return self.repeat(0, None),
            '+' => return self.repeat(1, None),
            '?' => return self.repeat(0, Some(1)),
            '{' => match self.counts() {
                Some((least, most)) => return self.repeat(least, most),
                None => Piece::Char('{'),
            },
            '#' if self.options.extended => {
                // A comment may be the last line.
                self.rest = self.rest.as_str().split_once('\n').map_or("", |(_, rest)| rest).chars();
                return Ok(());
            }
            c if self.options.extended && (c.is_ascii_whitespace() || c == '\x0b') => return Ok(()),
            c => Piece::Char(c),
        };
        self.pieces.push(piece);
        Ok(())
    }

    /// `n}`, `n,}` or `n,m}`; anything else is text.
    fn counts(&mut self) -> Option<(u32, Option<u32>)> {
        let (inner, rest) = self.rest.as_str().split_once('}')?;
        let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok()).flatten();
        let counts = match inner.split_once(',') {
            None => (number(inner)?, Some(number(inner)?)),
            Some((least, "")) => (number(least)?, None),
            Some((least, most)) => (number(least)?, Some(number(most)?)),
        };
        self.rest = rest.chars();
        Some(counts)
    }

    fn repeat(&mut self, least: u32, most: Option<u32>) -> Result<(), Refusal> {
        match self.pieces.last() {
            None | Some(Piece::Open(_) | Piece::Bar | Piece::IgnoreCase(_)) => return Err("nothing to repeat".into()),
            _ => {}
        }
        if most.is_some_and(|most| most < least) {
            return Err(format!("{{{least},{}}} counts down", most.unwrap_or(0)));
        }
        if least.max(most.unwrap_or(0)) > 65_535 {
            return Err("a count above 65535".into());
        }
        let possessive = self.take("+");
        let lazy = !possessive && self.take("?") != self.options.ungreedy;
        let at = self.atom_start();
        if matches!(self.pieces.get(at), Some(Piece::Open(Open::Fancy("(?=" | "(?!" | "(?<=" | "(?<!")))) {
            // To look often is to look once; to look perhaps matters only to what is captured.
            if least == 0 {
                self.pieces.insert(at, Piece::Open(Open::Plain));
                self.pieces.extend([Piece::Bar, Piece::Close]);
            }
            return Ok(());
        }
        if matches!(self.pieces.last(), Some(Piece::Repeat { .. })) {
            // A count of what is counted.
            self.pieces.insert(at, Piece::Open(Open::Plain));
            self.pieces.push(Piece::Close);
        }
        self.pieces.push(Piece::Repeat { least, most, lazy, possessive });
        Ok(())
    }

    /// Where what the last repetition repeats begins.
    fn atom_start(&self) -> usize {
        let mut at = self.pieces.len();
        let mut depth = 0usize;
        while at > 0 {
            at -= 1;
            match self.pieces[at] {
                Piece::Close => depth += 1,
                Piece::Open(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && !matches!(self.pieces[at], Piece::Repeat { .. }) {
                break;
            }
        }
        at
    }

    fn open(&mut self) -> Result<(), Refusal> {
        let open = if self.take("?#") {
            self.until(")")?;
            return Ok(());
        } else if self.take("*") {
            return Err("control of backtracking, (*...), is not supported".into());
        } else if !self.take("?") {
            self.seen += 1;
            Open::Capture
        } else if self.take(":") {
            Open::Plain
        } else if self.take("=") {
            Open::Fancy("(?=")
        } else if self.take("!") {
            Open::Fancy("(?!")
        } else if self.take("<=") {
            Open::Fancy("(?<=")
        } else if self.take("<!") {
            Open::Fancy("(?<!")
        } else if self.take(">") {
            Open::Fancy("(?>")
        } else if self.take("P=") {
            let name = self.until(")")?;
            self.pieces.push(Piece::Back(Group::Name(name)));
            return Ok(());
        } else if self.take("P<") || self.take("<") {
            self.seen += 1;
            Open::Named(self.name(">")?)
        } else if self.take("'") {
            self.seen += 1;
            Open::Named(self.name("'")?)
        } else if self.take("(") {
            Open::If(self.condition()?)
        } else {
            return self.switches();
        };
        self.outer.push(self.options);
        self.pieces.push(Piece::Open(open));
        Ok(())
    }

    pub(super) fn name(&mut self, end: &str) -> Result<String, Refusal> {
        let name = self.until(end)?;
        let good = !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if good && !name.is_empty() { Ok(name) } else { Err(format!("{name:?} is no name of a group")) }
    }

    fn condition(&mut self) -> Result<Group, Refusal> {
        let inner = self.until(")")?;
        let name = inner.trim_matches(['<', '>', '\'']);
        match name.parse() {
            Ok(number) => Ok(Group::Number(number)),
            Err(_) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && name != "R" => {
                Ok(Group::Name(name.to_string()))
            }
            Err(_) => Err("a condition that is no group, (?(...), is not supported".into()),
        }
    }

    /// `(?i-s)` and `(?i-s:`
    fn switches(&mut self) -> Result<(), Refusal> {
        let before = self.options;
        let mut on = true;
        loop {
            match self.rest.next() {
                Some('-') => on = false,
                Some('i') => self.options.ignore_case = on,
                Some('m') => self.options.multiline = on,
                Some('s') => self.options.dot_all = on,
                Some('x') => self.options.extended = on,
                Some('U') => self.options.ungreedy = on,
                Some(')') => {
                    if self.options.ignore_case != before.ignore_case {
                        self.pieces.push(Piece::IgnoreCase(self.options.ignore_case));
                    }
                    return Ok(());
                }
                Some(':') => {
                    self.outer.push(before);
                    self.pieces.push(Piece::Open(Open::Case(self.options.ignore_case)));
                    return Ok(());
                }
                Some('R' | '&' | '+' | '0'..='9' | 'P') => return Err("recursion is not supported".into()),
                Some('|') => return Err("groups that share numbers, (?|...), are not supported".into()),
                Some(c) => return Err(format!("(?{c} is not known")),
                None => return Err("a ( that no ) closes".into()),
            }
        }
    }
}
