//! Types an expression: `Expr -> Ir`, with all problems that it has and not only the first.
//!
//! Names become tables, columns and row variables; macros over lists of constants are written out; constant keys are
//! joined and folded to the table's case; every operand has the type that its operator needs, or a problem says what to write.

mod call;
mod operator;
mod place;
mod quantify;
pub mod suggest;

pub use place::unfit_pattern;

use super::cel::{self, Expr, Node, Problem, Span};
use super::ir::{Func, Ir, Ty};
use super::{Code, Collect};

/// Nodes of a typed expression. Lists within lists are written out, so a short text could become a long expression.
pub const MAX_NODES: usize = 20_000;
/// Bytes of a compiled regular expression.
const PATTERN_BYTES: usize = 1 << 20;

/// Reads and types `when` or `check`. `collect` is the rule's own: what a quantifier over an asked table means.
pub fn check(text: &str, collect: &Collect) -> Result<Ir, Vec<Problem>> {
    let (ir, ty, span) = value(text, collect)?;
    if ty != Ty::Bool {
        let message = format!("the expression must be true or false, this is {}", with_article(ty));
        return Err(vec![Problem::new(Code::Type, span, message)]);
    }
    Ok(ir)
}

/// Reads and types an expression of any type.
fn value(text: &str, collect: &Collect) -> Result<(Ir, Ty, Span), Vec<Problem>> {
    let expr = cel::parse(text).map_err(|p| vec![p])?;
    let mut checker = Checker { collect, vars: Vec::new(), problems: Vec::new(), nodes: 0 };
    let typed = checker.value(&expr);
    // A macro that is written out meets the same problem once an item.
    let mut problems = checker.problems;
    problems.sort_by(|a, b| (a.span, a.code, &a.message).cmp(&(b.span, b.code, &b.message)));
    problems.dedup_by(|a, b| a.span == b.span && a.code == b.code);
    match typed {
        Some(typed) if problems.is_empty() => Ok((typed.ir, typed.ty, expr.span)),
        _ => Err(problems),
    }
}

/// The regular expressions of `matches`: bytes, ASCII classes, bounded.
pub fn compile_pattern(pattern: &str) -> Result<regex::bytes::Regex, String> {
    regex::bytes::RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_BYTES).build().map_err(|e| match e {
        regex::Error::CompiledTooBig(limit) => format!("it would take more than {limit} bytes"),
        // The crate draws a picture of several lines; the last one says it.
        e => e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

/// Whether `missing` has a say in an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingUse {
    /// Nothing in it can be missing.
    Never,
    /// It reads columns that a row may lack.
    Column,
    /// It reads a key that a table may lack.
    Key,
}

pub fn missing_use(ir: &Ir) -> MissingUse {
    let mut found = MissingUse::Never;
    ir.walk(&mut |node| {
        found = found.max(match node {
            Ir::Lookup { key, .. } if !key.is_empty() => MissingUse::Key,
            Ir::Lookup { .. } => MissingUse::Column,
            Ir::Column { table, column, .. } if usize::from(*column) >= table.table().key => MissingUse::Column,
            _ => MissingUse::Never,
        });
    });
    found
}

/// What a name stands for inside a macro.
enum Bound {
    Row(crate::scan::table::TableId, u8),
    Constant(Ir, Ty),
}

#[derive(Clone)]
struct Typed {
    ir: Ir,
    ty: Ty,
}

/// `None` is a part whose problem was told; what is around it stays silent about it.
type Found = Option<Typed>;

fn found(ir: Ir, ty: Ty) -> Found {
    Some(Typed { ir, ty })
}

struct Checker<'c> {
    collect: &'c Collect,
    vars: Vec<(String, Bound)>,
    problems: Vec<Problem>,
    nodes: usize,
}

impl Checker<'_> {
    fn say<T>(&mut self, code: Code, span: Span, message: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::new(code, span, message));
        None
    }

    fn value(&mut self, expr: &Expr) -> Found {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            // Said once: from here on everything is over the limit.
            if self.nodes == MAX_NODES + 1 {
                self.problems.push(Problem::new(Code::Limit, expr.span, format!("the expression grows over {MAX_NODES} parts")));
            }
            return None;
        }
        match &expr.node {
            Node::Null => self.say(Code::Type, expr.span, "`null` is not supported, ask with has(...) whether something is there"),
            Node::Bool(b) => found(Ir::Bool(*b), Ty::Bool),
            Node::Int(n) => found(Ir::Int(*n), Ty::Int),
            Node::Str(s) => found(Ir::Str(s.as_str().into()), Ty::Str),
            Node::Ident(_) | Node::Select(..) | Node::Index(..) => self.read(expr),
            Node::List(items) => self.list(expr.span, items),
            Node::Call(target, name, args) => self.call(expr, target.as_deref(), name, args),
            Node::Not(inner) => {
                let inner = self.of(inner, Ty::Bool, "`!`")?;
                found(Ir::Not(Box::new(inner)), Ty::Bool)
            }
            Node::Negate(inner) => {
                let inner = self.of(inner, Ty::Int, "`-`")?;
                found(Ir::Negate(Box::new(inner)), Ty::Int)
            }
            Node::Arith(op, left, right) => self.arith(*op, left, right),
            Node::Compare(op, left, right) => self.compare(expr.span, *op, left, right),
            Node::In(item, list) => self.within(expr.span, item, list),
            Node::And(parts) => self.chain(parts, "`&&`").map(|parts| Typed { ir: all_of(parts), ty: Ty::Bool }),
            Node::Or(parts) => self.chain(parts, "`||`").map(|parts| Typed { ir: any_of(parts), ty: Ty::Bool }),
            Node::Ternary(condition, then, otherwise) => self.ternary(expr.span, condition, then, otherwise),
        }
    }

    /// A part that must have one type; `what` is the operator or function that wants it.
    fn of(&mut self, expr: &Expr, ty: Ty, what: &str) -> Option<Ir> {
        let typed = self.value(expr)?;
        if typed.ty == ty {
            return Some(typed.ir);
        }
        let hint = match (ty, typed.ty) {
            (Ty::Bool, Ty::Str) => ", compare it with something",
            (Ty::Int, Ty::Str) => ", use int(...)",
            (Ty::Str, Ty::Int) if is_mode(&typed.ir) => ", use .atMost(\"0640\") or compare with mode(\"0640\")",
            (Ty::Str, Ty::Int) if matches!(typed.ir, Ir::Int(_)) => ", put it in quotes",
            _ => "",
        };
        let message = format!("{what} needs {}, but {} is {}{hint}", with_article(ty), subject(&typed.ir), with_article(typed.ty));
        self.say(Code::Type, expr.span, message)
    }

    /// Parts of `&&` or `||`, all typed before giving up, chains within chains flattened by the caller.
    fn chain(&mut self, parts: &[Expr], what: &str) -> Option<Vec<Ir>> {
        let typed: Vec<_> = parts.iter().map(|p| self.of(p, Ty::Bool, what)).collect();
        typed.into_iter().collect()
    }

    fn list(&mut self, span: Span, items: &[Expr]) -> Found {
        let typed: Vec<_> = items.iter().map(|i| Some((i.span, self.value(i)?))).collect();
        let typed: Vec<_> = typed.into_iter().collect::<Option<_>>()?;
        let Some((_, first)) = typed.first() else {
            return self.say(Code::Value, span, "an empty list holds nothing");
        };
        let ty = match first.ty {
            Ty::Str => Ty::StrList,
            Ty::Int => Ty::IntList,
            other => return self.say(Code::Type, span, format!("a list of strings or ints is needed here, this holds a {}", name(other))),
        };
        let of = first.ty;
        for (at, item) in &typed {
            if item.ty != of {
                let message = format!("the list begins with {}, this is {}", with_article(of), with_article(item.ty));
                return self.say(Code::Type, *at, message);
            }
            if !matches!(item.ir, Ir::Str(_) | Ir::Int(_)) {
                let message = format!("lists hold constants only, but {} is read from the scan; write == and ||", subject(&item.ir));
                return self.say(Code::Type, *at, message);
            }
        }
        found(Ir::List(typed.into_iter().map(|(_, t)| t.ir).collect()), ty)
    }

    fn ternary(&mut self, span: Span, condition: &Expr, then: &Expr, otherwise: &Expr) -> Found {
        let condition = self.of(condition, Ty::Bool, "`?:`");
        let (then, otherwise) = (self.value(then), self.value(otherwise));
        let (condition, then, otherwise) = (condition?, then?, otherwise?);
        if then.ty != otherwise.ty {
            let message =
                format!("both sides of `:` need one type, these are {} and {}", with_article(then.ty), with_article(otherwise.ty));
            return self.say(Code::Type, span, message);
        }
        found(Ir::Select(Box::new(condition), Box::new(then.ir), Box::new(otherwise.ir)), then.ty)
    }

    fn variable(&self, name: &str) -> Option<&Bound> {
        self.vars.iter().rev().find(|(n, _)| n == name).map(|(_, bound)| bound)
    }
}

/// Flat, and a single part is itself.
fn all_of(parts: Vec<Ir>) -> Ir {
    flat(parts, Ir::And, |part| match part {
        Ir::And(inner) => Ok(inner),
        other => Err(other),
    })
}

fn any_of(parts: Vec<Ir>) -> Ir {
    flat(parts, Ir::Or, |part| match part {
        Ir::Or(inner) => Ok(inner),
        other => Err(other),
    })
}

fn flat(parts: Vec<Ir>, node: fn(Vec<Ir>) -> Ir, open: fn(Ir) -> Result<Vec<Ir>, Ir>) -> Ir {
    let mut out = Vec::with_capacity(parts.len());
    for part in parts {
        match open(part) {
            Ok(inner) => out.extend(inner),
            Err(part) => out.push(part),
        }
    }
    match out.pop() {
        Some(only) if out.is_empty() => only,
        Some(last) => {
            out.push(last);
            node(out)
        }
        None => node(out),
    }
}

fn name(ty: Ty) -> String {
    match ty {
        Ty::Bool => "bool".into(),
        Ty::Int => "int".into(),
        Ty::Str => "string".into(),
        Ty::StrList => "list of strings".into(),
        Ty::IntList => "list of ints".into(),
        Ty::Version(scheme) => format!("{scheme} version"),
    }
}

fn with_article(ty: Ty) -> String {
    let name = name(ty);
    let article = if name.starts_with(['i', 'a']) || name.starts_with("rpm") { "an" } else { "a" };
    format!("{article} {name}")
}

/// How a message calls a typed part.
fn subject(ir: &Ir) -> String {
    match ir {
        Ir::Column { table, column, .. } | Ir::Lookup { table, column, .. } => {
            let column = table.table().columns.get(usize::from(*column)).map_or("?", |c| c.name);
            format!("column `{column}`")
        }
        Ir::Str(text) => format!("`{text:?}`"),
        Ir::Int(n) => format!("`{n}`"),
        Ir::Bool(b) => format!("`{b}`"),
        Ir::Call(Func::IntOf, _) => "int(...)".to_owned(),
        _ => "this".to_owned(),
    }
}

/// Whether an int is a file mode read from a table.
fn is_mode(ir: &Ir) -> bool {
    let (Ir::Column { table, column, .. } | Ir::Lookup { table, column, .. }) = ir else { return false };
    table.table().columns.get(usize::from(*column)).is_some_and(|c| c.ty == crate::scan::table::Type::Mode)
}

#[cfg(test)]
mod tests;
