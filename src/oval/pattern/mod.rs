//! The regular expressions of SCAP content (PCRE) on engines that cannot hang.
//!
//! `text -> parse (pieces) -> emit (the syntax of an engine) -> engine`. Plain words are compared without an engine, most patterns run on
//! `regex` in linear time, and what needs looking around, back-references or no backtracking runs on `fancy-regex` with a step limit.

mod class;
mod emit;
mod escape;
mod parse;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::OnceLock;

use crate::limits::Limits;
use parse::Piece;

/// What one compiled pattern may take.
const COMPILED_BYTES: usize = 4 << 20;
/// What its automaton may remember.
const AUTOMATON_BYTES: usize = 1 << 20;

/// How `textfilecontent54` behaviors change a pattern. Elsewhere none is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags {
    pub ignore_case: bool,
    /// `^` and `$` match at every line.
    pub multiline: bool,
    /// `.` matches the end of a line.
    pub singleline: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("pattern {pattern:?}: {why}")]
    Syntax { pattern: String, why: String },
    #[error("pattern {pattern:?} took more than {steps} steps on a text of {bytes} bytes (limits.regex_steps)")]
    Steps { pattern: String, steps: usize, bytes: usize },
}

/// A pattern whose syntax was understood. Its engines are built when they are first asked.
#[derive(Debug)]
pub struct Pattern {
    source: Box<str>,
    pieces: Vec<Piece>,
    flags: Flags,
    steps: usize,
    matcher: OnceLock<Result<Engine, PatternError>>,
    capturer: OnceLock<Result<Engine, PatternError>>,
}

#[derive(Debug)]
enum Engine {
    Plain(Plain),
    Linear(regex::Regex),
    Fancy(Box<fancy_regex::Regex>),
}

/// A word, perhaps at the start or the end of a text.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    start: bool,
    end: bool,
    word: Box<str>,
}

/// The places of a match in its text: the whole, then the groups.
pub type Groups = Vec<Option<Range<usize>>>;

impl Pattern {
    pub fn new(pattern: &str, flags: Flags, limits: &Limits) -> Result<Pattern, PatternError> {
        let pieces = parse::pieces(pattern, flags).map_err(|why| PatternError::Syntax { pattern: shortened(pattern), why })?;
        Ok(Pattern {
            source: pattern.into(),
            pieces,
            flags,
            steps: limits.regex_steps,
            matcher: OnceLock::new(),
            capturer: OnceLock::new(),
        })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// Builds the engine now; what it does not take is an error of every match too.
    pub fn compile(&self) -> Result<(), PatternError> {
        self.matcher().map(|_| ())
    }

    fn matcher(&self) -> Result<&Engine, PatternError> {
        self.matcher.get_or_init(|| self.build(false)).as_ref().map_err(Clone::clone)
    }

    fn capturer(&self) -> Result<&Engine, PatternError> {
        self.capturer.get_or_init(|| self.build(true)).as_ref().map_err(Clone::clone)
    }

    fn build(&self, captures: bool) -> Result<Engine, PatternError> {
        if let Some(plain) = emit::plain(&self.pieces, self.flags) {
            return Ok(Engine::Plain(plain));
        }
        if !emit::needs_fancy(&self.pieces, captures) {
            let linear = regex::RegexBuilder::new(&emit::linear(&self.pieces, self.flags))
                .size_limit(COMPILED_BYTES)
                .dfa_size_limit(AUTOMATON_BYTES)
                .build()
                .map_err(|e| self.syntax(&e.to_string()))?;
            // At the end of a text that ends in a line's end, `^` would match behind it too; only what can be empty would tell.
            if !(emit::has_line_start(&self.pieces) && linear.is_match("")) {
                return Ok(Engine::Linear(linear));
            }
        }
        fancy_regex::RegexBuilder::new(&emit::fancy(&self.pieces, self.flags))
            .backtrack_limit(self.steps)
            .delegate_size_limit(COMPILED_BYTES)
            .delegate_dfa_size_limit(AUTOMATON_BYTES)
            .build()
            .map(|fancy| Engine::Fancy(Box::new(fancy)))
            .map_err(|e| self.syntax(&e.to_string()))
    }

    fn syntax(&self, why: &str) -> PatternError {
        // Engines print the pattern again over several lines; what they say of it is on the last.
        let why = why.lines().last().unwrap_or(why).trim_start_matches("error: ").to_string();
        PatternError::Syntax { pattern: shortened(&self.source), why }
    }

    fn steps(&self, text: &str) -> PatternError {
        PatternError::Steps { pattern: shortened(&self.source), steps: self.steps, bytes: text.len() }
    }

    /// Whether any part of a text matches.
    pub fn is_match(&self, text: &str) -> Result<bool, PatternError> {
        match self.matcher()? {
            Engine::Plain(plain) => Ok(plain.find(text, 0).is_some()),
            Engine::Linear(linear) => Ok(linear.is_match(text)),
            Engine::Fancy(fancy) => fancy.is_match(text).map_err(|_| self.steps(text)),
        }
    }

    /// The first match that starts at `from` or behind it.
    pub fn captures(&self, text: &str, from: usize) -> Result<Option<Groups>, PatternError> {
        if !text.is_char_boundary(from) {
            return Ok(None);
        }
        match self.capturer()? {
            Engine::Plain(plain) => Ok(plain.find(text, from).map(|range| vec![Some(range)])),
            Engine::Linear(linear) => Ok(linear.captures_at(text, from).map(|c| c.iter().map(|m| m.map(|m| m.range())).collect())),
            Engine::Fancy(fancy) => match fancy.captures_from_pos(text, from) {
                Ok(found) => Ok(found.map(|c| c.iter().map(|m| m.map(|m| m.range())).collect())),
                Err(_) => Err(self.steps(text)),
            },
        }
    }

    /// All matches, from left to right.
    pub fn captures_iter<'p, 't>(&'p self, text: &'t str) -> Matches<'p, 't> {
        Matches { pattern: self, text, from: Some(0) }
    }
}

fn shortened(pattern: &str) -> String {
    let mut short: String = pattern.chars().take(120).collect();
    if short.len() < pattern.len() {
        short.push_str("...");
    }
    short
}

impl Plain {
    fn find(&self, text: &str, from: usize) -> Option<Range<usize>> {
        let rest = text.get(from..)?;
        let word = &*self.word;
        // An end is also before the end of the last line.
        let ends = |at: usize| !self.end || matches!(text.get(at..), Some("" | "\n"));
        let at = if self.start {
            (from == 0 && rest.starts_with(word)).then_some(0)
        } else if self.end {
            let last = |text: &str| text.ends_with(word).then(|| text.len() - word.len());
            rest.strip_suffix('\n').and_then(last).or_else(|| last(rest))
        } else {
            rest.find(word)
        };
        let at = from + at?;
        ends(at + word.len()).then(|| at..at + word.len())
    }
}

pub struct Matches<'p, 't> {
    pattern: &'p Pattern,
    text: &'t str,
    from: Option<usize>,
}

impl Iterator for Matches<'_, '_> {
    type Item = Result<Groups, PatternError>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.from.take()?;
        match self.pattern.captures(self.text, from) {
            Err(why) => Some(Err(why)),
            Ok(None) => None,
            Ok(Some(groups)) => {
                let whole = groups.first().cloned().flatten()?;
                // An empty match is not found twice.
                self.from = if whole.is_empty() {
                    let step = self.text.get(whole.end..).and_then(|rest| rest.chars().next()).map(char::len_utf8);
                    step.map(|step| whole.end + step)
                } else {
                    Some(whole.end)
                };
                Some(Ok(groups))
            }
        }
    }
}
