//! What can be wrong with a rule, as a closed list of stable codes, each problem with its place.

use std::fmt;

/// Codes never change their meaning; a retired one is not used again. docs/RULES.md does not repeat them: `rules check` says all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A file or folder cannot be read.
    Unreadable,
    /// The file is not the YAML that a rule or pack is made of (syntax, unknown, missing or wrongly typed field).
    Yaml,
    /// The id is malformed, differs from the file's name, or is used twice.
    Id,
    /// The expression is not CEL.
    Syntax,
    /// A table, column, function or variable that does not exist.
    Name,
    /// An operand has the wrong type.
    Type,
    /// A regular expression that does not compile.
    Regex,
    /// `missing` is needed and not given, or given and never used.
    Missing,
    /// A quantifier over a table that holds only what was asked, without `collect`, or a `collect` that nothing uses.
    Collect,
    /// A test's scan does not fit the tables, or pass or fail has no test.
    Test,
    /// Text that must not be empty, too long, an unknown platform form, ...
    Value,
    /// Something over a limit of `limits.rs`.
    Limit,
    /// SCAP content that is not what the specifications say, or a profile that it does not have.
    Scap,
}

impl Code {
    pub const ALL: [Code; 13] = [
        Code::Unreadable,
        Code::Yaml,
        Code::Id,
        Code::Syntax,
        Code::Name,
        Code::Type,
        Code::Regex,
        Code::Missing,
        Code::Collect,
        Code::Test,
        Code::Value,
        Code::Limit,
        Code::Scap,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Code::Unreadable => "R001",
            Code::Yaml => "R002",
            Code::Id => "R003",
            Code::Syntax => "R010",
            Code::Name => "R011",
            Code::Type => "R012",
            Code::Regex => "R013",
            Code::Missing => "R020",
            Code::Collect => "R021",
            Code::Test => "R030",
            Code::Value => "R040",
            Code::Limit => "R050",
            Code::Scap => "R060",
        }
    }
}

/// One problem: code, place, what and what to do. Lines and columns count from 1, columns in characters; 0 where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}: {}", self.code.name(), self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_places_come_first() {
        let mut names: Vec<_> = Code::ALL.iter().map(|c| c.name()).collect();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        let d = Diagnostic { code: Code::Name, file: "r/a.yaml".into(), line: 3, column: 8, message: "no table `pakage`".into() };
        assert_eq!(d.to_string(), "r/a.yaml:3:8: R011: no table `pakage`");
    }
}
