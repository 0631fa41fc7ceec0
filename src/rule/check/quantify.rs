//! Macros: `table.exists(r, ...)`, `all`, `exists_one`, `filter(...).size()`, and the same of a list of constants, written out.

use super::place::{Place, usage};
use super::{Bound, Checker, Found, all_of, any_of, found};
use crate::rule::Code;
use crate::rule::cel::{Expr, Name, Node, Span};
use crate::rule::ir::{Ir, Patterns, Quantifier, Ty};
use crate::scan::table::{Extent, TableId};

impl Checker<'_> {
    pub(super) fn macro_call(&mut self, expr: &Expr, target: &Expr, name: &Name, args: &[Expr]) -> Found {
        match name.text.as_str() {
            "map" => return self.say(Code::Name, name.span, "`map` is not supported, write the condition into `exists` or `all`"),
            "filter" => {
                let message = "the rows of a filter can only be counted, write `table.filter(r, ...).size()` or `table.exists(r, ...)`";
                return self.say(Code::Type, name.span, message);
            }
            _ => {}
        }
        let [variable, body] = self.arguments(name, args, &format!("table.{}(r, r.column == ...)", name.text))?;
        let variable = self.new_variable(variable)?;
        if let Node::Call(Some(_), inner, _) = &target.node
            && inner.text == "filter"
        {
            let joined = if name.text == "all" { "!(filter) || condition" } else { "filter && condition" };
            let message = format!("`filter` before `{}` is not supported, write `table.{}(r, {joined})`", name.text, name.text);
            return self.say(Code::Type, inner.span, message);
        }
        let quantifier = match name.text.as_str() {
            "exists" => Quantifier::Exists,
            "all" => Quantifier::All,
            _ => Quantifier::ExistsOne,
        };
        match self.place(target)? {
            Place::Table(table) => {
                let only = self.quantified(table, target.span, &name.text);
                let (slot, body) = self.body(table, variable, body)?;
                found(Ir::Quant { quantifier, table, only: only?, slot, body: Box::new(body) }, Ty::Bool)
            }
            Place::Value(list) => match (list.ir, quantifier) {
                (Ir::List(items), Quantifier::Exists | Quantifier::All) => self.written_out(expr, quantifier, variable, items, body),
                (Ir::List(_), Quantifier::ExistsOne) => {
                    self.say(Code::Type, name.span, "`exists_one` asks tables only, lists take `exists` and `all`")
                }
                _ if list.ty == Ty::StrList => {
                    let message = format!("`{}` asks tables and lists of constants; ask the parts with `\"x\" in list`", name.text);
                    self.say(Code::Type, target.span, message)
                }
                _ => self.not_rows(target.span, name),
            },
            _ => self.not_rows(target.span, name),
        }
    }

    fn not_rows(&mut self, span: Span, name: &Name) -> Found {
        self.say(Code::Type, span, format!("`{}` asks the rows of a table, or a list of constants", name.text))
    }

    /// `table.size()` and `table.filter(r, ...).size()`; `None` for the size of something else.
    pub(super) fn count(&mut self, of: &Expr) -> Option<Found> {
        if let Node::Ident(name) = &of.node {
            let table = TableId::by_name(name).filter(|_| self.variable(name).is_none())?;
            let only = self.quantified(table, of.span, "size");
            return Some(only.and_then(|only| self.counted(table, only, Ir::Bool(true))));
        }
        let Node::Call(Some(target), name, args) = &of.node else { return None };
        if name.text != "filter" {
            return None;
        }
        Some(self.filtered(target, name, args))
    }

    fn filtered(&mut self, target: &Expr, name: &Name, args: &[Expr]) -> Found {
        let [variable, body] = self.arguments(name, args, "table.filter(r, r.column == ...)")?;
        let variable = self.new_variable(variable)?;
        let Place::Table(table) = self.place(target)? else {
            return self.say(Code::Type, target.span, "`filter` asks the rows of a table");
        };
        let only = self.quantified(table, target.span, "filter");
        let (_, body) = self.body(table, variable, body)?;
        let only = only?;
        self.counted(table, only, body)
    }

    fn counted(&mut self, table: TableId, only: Patterns, body: Ir) -> Found {
        let slot = self.slot()?;
        found(Ir::Count { table, only, slot, body: Box::new(body) }, Ty::Int)
    }

    /// Which rows of a table a quantifier means; refuses tables that it makes no sense for.
    fn quantified(&mut self, table: TableId, span: Span, what: &str) -> Option<Patterns> {
        let t = table.table();
        match t.extent {
            Extent::Complete => Some(Vec::new()),
            Extent::Single => {
                let column = t.columns.first().map_or("column", |c| c.name);
                self.say(Code::Type, span, format!("table `{}` has one row, write `{}.{column}`", t.name, t.name))
            }
            Extent::Asked => match self.collect.get(&table) {
                Some(items) if !items.is_empty() => Some(items.iter().map(|i| i.as_str().into()).collect()),
                _ => {
                    let message = format!(
                        "table `{0}` holds only what was asked: say under `collect` which rows `{what}` means (`collect: {{{0}: [...]}}`), \
                         or name one with `{1}`",
                        t.name,
                        usage(table)
                    );
                    self.say(Code::Collect, span, message)
                }
            },
        }
    }

    fn slot(&mut self) -> Option<u8> {
        let rows = self.vars.iter().filter(|(_, b)| matches!(b, Bound::Row(..))).count();
        // Nesting is bounded by the depth of an expression.
        u8::try_from(rows).ok()
    }

    fn body(&mut self, table: TableId, variable: String, body: &Expr) -> Option<(u8, Ir)> {
        let slot = self.slot()?;
        self.vars.push((variable, Bound::Row(table, slot)));
        let ir = self.of(body, Ty::Bool, "the condition");
        self.vars.pop();
        Some((slot, ir?))
    }

    /// `["a", "b"].all(i, f(i))` is `f("a") && f("b")`.
    fn written_out(&mut self, expr: &Expr, quantifier: Quantifier, variable: String, items: Vec<Ir>, body: &Expr) -> Found {
        let mut parts = Vec::with_capacity(items.len());
        for item in items {
            let ty = if matches!(item, Ir::Int(_)) { Ty::Int } else { Ty::Str };
            self.vars.push((variable.clone(), Bound::Constant(item, ty)));
            let part = self.of(body, Ty::Bool, "the condition");
            self.vars.pop();
            parts.push(part?);
        }
        debug_assert!(!parts.is_empty(), "{:?}: an empty list is refused before", expr.span);
        let ir = if quantifier == Quantifier::All { all_of(parts) } else { any_of(parts) };
        found(ir, Ty::Bool)
    }

    fn new_variable(&mut self, expr: &Expr) -> Option<String> {
        let Node::Ident(name) = &expr.node else {
            return self.say(Code::Syntax, expr.span, "the first argument is a name for the row, such as `r`");
        };
        if TableId::by_name(name).is_some() {
            return self.say(Code::Name, expr.span, format!("`{name}` is a table, choose another name for the row, such as `r`"));
        }
        if self.variable(name).is_some() {
            return self.say(Code::Name, expr.span, format!("`{name}` is used around here already, choose another name"));
        }
        Some(name.clone())
    }
}
