//! The regular expressions of SCAP content (PCRE) on engines that cannot hang.

use std::ops::Range;
use std::sync::OnceLock;

use crate::limits::Limits;

/// How `textfilecontent54` behaviors change a pattern. Elsewhere none is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags {
    pub ignore_case: bool,
    pub multiline: bool,
    pub singleline: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("pattern {pattern:?}: {why}")]
    Syntax { pattern: String, why: String },
    #[error("pattern {pattern:?} took more than {steps} steps on a text of {bytes} bytes (limits.regex_steps)")]
    Steps { pattern: String, steps: usize, bytes: usize },
}

/// A pattern whose syntax was understood; its engine is built when it is first asked.
#[derive(Debug)]
pub struct Pattern {
    source: Box<str>,
    engine: OnceLock<Result<regex::Regex, PatternError>>,
}

/// The places of a match in its text: the whole, then the groups.
pub type Groups = Vec<Option<Range<usize>>>;

impl Pattern {
    pub fn new(pattern: &str, _flags: Flags, _limits: &Limits) -> Result<Pattern, PatternError> {
        Ok(Pattern { source: pattern.into(), engine: OnceLock::new() })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    fn engine(&self) -> Result<&regex::Regex, PatternError> {
        self.engine
            .get_or_init(|| {
                regex::Regex::new(&self.source).map_err(|e| PatternError::Syntax { pattern: self.source.to_string(), why: e.to_string() })
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Whether any part of a text matches.
    pub fn is_match(&self, text: &str) -> Result<bool, PatternError> {
        Ok(self.engine()?.is_match(text))
    }

    /// The first match that starts at `from` or behind it.
    pub fn captures(&self, text: &str, from: usize) -> Result<Option<Groups>, PatternError> {
        let found = self.engine()?.captures_at(text, from);
        Ok(found.map(|c| c.iter().map(|m| m.map(|m| m.range())).collect()))
    }

    /// All matches, from left to right.
    pub fn captures_iter<'p, 't>(&'p self, text: &'t str) -> Matches<'p, 't> {
        Matches { pattern: self, text, from: Some(0) }
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
