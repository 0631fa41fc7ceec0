//! CEL as text becomes a tree with the place of every part: `text -> lex -> parse -> Expr`.
//!
//! The whole expression grammar is read; what the rule language leaves out (maps, messages, doubles, unsigned ints, bytes)
//! is refused here with a sentence instead of a riddle. Names are not looked at: that is `check`.

mod lex;
mod parse;

pub use parse::parse;

use super::Code;
use super::ir::{Arith, Cmp};

/// Nesting of an expression, counted in the tree: `a.b.c` nests as deep as `((a))`. Chains of `&&` and `||` are flat.
pub const MAX_DEPTH: u16 = 64;
/// Bytes of an expression.
pub const MAX_LENGTH: usize = 32 << 10;

/// Bytes of the expression, from start to before end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start, end: other.end }
    }
}

/// A problem inside an expression; `yaml` gives it its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: Code,
    pub span: Span,
    pub message: String,
}

impl Problem {
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Problem {
        Problem { code, span, message: message.into() }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub span: Span,
    /// Levels of nodes from here down, at most [`MAX_DEPTH`], so that recursion over the tree is safe.
    pub depth: u16,
    pub node: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Str(String),
    Ident(String),
    List(Vec<Expr>),
    Select(Box<Expr>, Name),
    Index(Box<Expr>, Box<Expr>),
    /// `name(args)` or `target.name(args)`
    Call(Option<Box<Expr>>, Name, Vec<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Arith(Arith, Box<Expr>, Box<Expr>),
    Compare(Cmp, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Ternary(Box<Expr>, Box<Expr>, Box<Expr>),
}

#[cfg(test)]
mod tests;
