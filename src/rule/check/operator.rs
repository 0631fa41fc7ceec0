//! Operators: arithmetic, comparison, `in`, and what to write when the types do not fit.

use super::place::Place;
use super::{Checker, Found, Typed, found, is_mode, name, subject, with_article};
use crate::rule::Code;
use crate::rule::cel::{Expr, Node, Span};
use crate::rule::ir::{Arith, Cmp, Func, Ir, Ty};

impl Checker<'_> {
    pub(super) fn arith(&mut self, op: Arith, left_expr: &Expr, right_expr: &Expr) -> Found {
        let (left, right) = (self.value(left_expr), self.value(right_expr));
        let (left, right) = (left?, right?);
        match (op, left.ty, right.ty) {
            (Arith::Add, Ty::Str, Ty::Str) => found(concat(left.ir, right.ir), Ty::Str),
            (_, Ty::Int, Ty::Int) => {
                if let (Arith::Div | Arith::Rem, Ir::Int(0)) = (op, &right.ir) {
                    return self.say(Code::Value, right_expr.span, "division by zero");
                }
                found(Ir::Arith(op, Box::new(left.ir), Box::new(right.ir)), Ty::Int)
            }
            (op, a, b) => {
                let sign = match op {
                    Arith::Add => "+",
                    Arith::Sub => "-",
                    Arith::Mul => "*",
                    Arith::Div => "/",
                    Arith::Rem => "%",
                };
                let hint = match (op, a, b) {
                    (_, Ty::Str, Ty::Int) | (_, Ty::Int, Ty::Str) => ", use int(...) on the string",
                    (Arith::Add, Ty::StrList | Ty::IntList, _) => ", write the lists as one",
                    (_, Ty::Str, Ty::Str) => ", use int(...) on both",
                    _ => "",
                };
                let message = format!("`{sign}` does not take {} and {}{hint}", with_article(a), with_article(b));
                self.say(Code::Type, left_expr.span.to(right_expr.span), message)
            }
        }
    }

    pub(super) fn compare(&mut self, span: Span, op: Cmp, left_expr: &Expr, right_expr: &Expr) -> Found {
        let (left, right) = (self.value(left_expr), self.value(right_expr));
        let (left, right) = (left?, right?);
        if let Some(message) = mode_against_number(&left, right_expr).or_else(|| mode_against_number(&right, left_expr)) {
            return self.say(Code::Type, span, message);
        }
        let equality = matches!(op, Cmp::Eq | Cmp::Ne);
        match (left.ty, right.ty) {
            (Ty::Bool, Ty::Bool) if !equality => return self.say(Code::Type, span, "bools are compared with == and != only"),
            (Ty::Str, Ty::Str) => {
                if !equality && let Some(column) = version_column(&left.ir).or_else(|| version_column(&right.ir)) {
                    let message = format!(
                        "column `{column}` is text here, and \"10\" < \"9\" as text; compare versions: `.{column}.dpkg() < dpkg(\"1.2\")`"
                    );
                    return self.say(Code::Type, span, message);
                }
                self.folded(&left.ir, &right.ir, right_expr.span);
                self.folded(&right.ir, &left.ir, left_expr.span);
            }
            (Ty::StrList | Ty::IntList, _) | (_, Ty::StrList | Ty::IntList) => {
                return self.say(Code::Type, span, "lists are not compared, ask with `x in list` or `list.size()`");
            }
            (a, b) if a == b => {}
            _ => {
                let message = mismatch(&left, &right);
                return self.say(Code::Type, span, message);
            }
        }
        found(Ir::Compare(op, Box::new(left.ir), Box::new(right.ir)), Ty::Bool)
    }

    /// A constant that a column can never equal, as the column is kept in lower case.
    fn folded(&mut self, column: &Ir, constant: &Ir, span: Span) {
        let (Ir::Column { table, column, .. } | Ir::Lookup { table, column, .. }, Ir::Str(text)) = (column, constant) else { return };
        let t = table.table();
        if t.fold_case && usize::from(*column) < t.key && text.to_lowercase() != **text {
            let message = format!("{} is kept in lower case, write \"{}\"", column_name(t, *column), text.to_lowercase());
            self.problems.push(crate::rule::cel::Problem::new(Code::Value, span, message));
        }
    }

    pub(super) fn within(&mut self, span: Span, item_expr: &Expr, list_expr: &Expr) -> Found {
        let Some(place) = self.place(list_expr) else {
            // The list's problem was told; the item may have its own.
            return self.value(item_expr).and(None);
        };
        let list = match place {
            Place::Table(table) => return self.key_in(table, item_expr, span),
            Place::Value(typed) => typed,
            _ => self.read(list_expr)?,
        };
        let item = self.value(item_expr)?;
        let wanted = match list.ty {
            Ty::StrList => Ty::Str,
            Ty::IntList => Ty::Int,
            Ty::Str => {
                let message = format!("`in` needs a list, but {} is a string; use .split(\",\") or .contains(...)", subject(&list.ir));
                return self.say(Code::Type, list_expr.span, message);
            }
            other => {
                let message = format!("`in` needs a list or a table, but {} is {}", subject(&list.ir), with_article(other));
                return self.say(Code::Type, list_expr.span, message);
            }
        };
        if item.ty != wanted {
            let hint = match (wanted, item.ty) {
                (Ty::Int, Ty::Str) => "; put the numbers in quotes, or use int(...)",
                (Ty::Str, Ty::Int) if is_mode(&item.ir) => "; write == mode(\"0640\") || ...",
                (Ty::Str, Ty::Int) => "; write the list without quotes",
                _ => "",
            };
            let message = format!("{} is {}, but the list holds {}s{hint}", subject(&item.ir), with_article(item.ty), name(wanted));
            return self.say(Code::Type, span, message);
        }
        if let Ir::List(items) = &list.ir {
            if is_mode(&item.ir) {
                return self.say(Code::Type, span, "modes are octal; write == mode(\"0640\") || ...");
            }
            items.iter().for_each(|i| self.folded(&item.ir, i, list_expr.span));
        }
        found(Ir::In(Box::new(item.ir), Box::new(list.ir)), Ty::Bool)
    }
}

fn column_name(table: &crate::scan::table::Table, column: u8) -> String {
    format!("column `{}`", table.columns.get(usize::from(column)).map_or("?", |c| c.name))
}

/// Constants are joined at once, so that keys stay constants.
fn concat(left: Ir, right: Ir) -> Ir {
    match (left, right) {
        (Ir::Str(a), Ir::Str(b)) => Ir::Str([&*a, &*b].concat().into()),
        // `x + "a" + "b"`: the constants at the end meet here.
        (left, right) => Ir::Call(Func::Concat, vec![left, right]),
    }
}

/// `mode == 640`: right by type, wrong by meaning.
fn mode_against_number(side: &Typed, other: &Expr) -> Option<String> {
    let Node::Int(n) = other.node else { return None };
    is_mode(&side.ir).then(|| format!("{} is a file mode and `{n}` is decimal, compare with mode(\"{n:04}\")", subject(&side.ir)))
}

/// Columns that hold versions, whose order is not that of text.
fn version_column(ir: &Ir) -> Option<&'static str> {
    let (Ir::Column { table, column, .. } | Ir::Lookup { table, column, .. }) = ir else { return None };
    let name = table.table().columns.get(usize::from(*column))?.name;
    matches!(name, "version" | "source_version" | "build" | "kernel").then_some(name)
}

/// Both types, and what to write instead.
fn mismatch(left: &Typed, right: &Typed) -> String {
    let (a, b) = match (&left.ir, &right.ir) {
        (Ir::Int(_) | Ir::Str(_) | Ir::Bool(_), Ir::Int(_) | Ir::Str(_) | Ir::Bool(_)) => (left, right),
        // The constant is the second in every message.
        (Ir::Int(_) | Ir::Str(_) | Ir::Bool(_), _) => (right, left),
        _ => (left, right),
    };
    let first = format!("{} is {}", subject(&a.ir), with_article(a.ty));
    match (a.ty, b.ty, &b.ir) {
        (Ty::Str, Ty::Int, Ir::Int(n)) => format!("{first}, compare with \"{n}\" or use int(...)"),
        (Ty::Str, Ty::Bool, Ir::Bool(v)) => format!("{first}, compare with \"{v}\""),
        (Ty::Int, Ty::Str, Ir::Str(text)) if is_mode(&a.ir) => {
            format!("{} is a file mode, compare with mode({text:?})", subject(&a.ir))
        }
        (Ty::Int, Ty::Str, Ir::Str(text)) if text.parse::<i64>().is_ok() => format!("{first}, compare with {text} without quotes"),
        (Ty::Bool, Ty::Str, Ir::Str(text)) if matches!(&**text, "true" | "false") => {
            format!("{first}, compare with {text} without quotes")
        }
        (Ty::Version(scheme), Ty::Str, Ir::Str(text)) => format!("{first}, compare with {scheme}({text:?})"),
        (Ty::Version(scheme), Ty::Str, _) => format!("{first}, and {} is a string; use .{scheme}() on it", subject(&b.ir)),
        (Ty::Str, Ty::Version(scheme), _) => format!("{first}, use .{scheme}() on it"),
        (Ty::Str, Ty::Int, _) | (Ty::Int, Ty::Str, _) => {
            format!("{first} and {} is {}, use int(...) on the string", subject(&b.ir), with_article(b.ty))
        }
        _ => format!("{first} and {} is {}, these cannot be compared", subject(&b.ir), with_article(b.ty)),
    }
}
