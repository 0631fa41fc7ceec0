//! Places: tables, rows and columns, `sysctl["a"]`, `file["/x"].mode`, `os.id`, `r.name`, and whether they are there.

use super::suggest::hint;
use super::{Bound, Checker, Found, Typed, found};
use crate::rule::Code;
use crate::rule::cel::{Expr, Name, Node, Span};
use crate::rule::ir::{Func, Ir, Ty};
use crate::scan::table::{Extent, TableId, Type};

/// Something in a scan, or on the way to it.
pub(super) enum Place {
    Table(TableId),
    /// A table with some of its keys, not yet all.
    Partial(TableId, Vec<Ir>),
    /// One row by key.
    Row(TableId, Vec<Ir>),
    /// The row that a quantifier is at.
    Variable(TableId, u8),
    /// A column of a row by key.
    Cell(TableId, Vec<Ir>, u8),
    /// A column of a quantifier's row.
    Column(TableId, u8, u8),
    /// No place: a constant or a computed value.
    Value(Typed),
}

fn type_of(table: TableId, column: u8) -> Ty {
    match table.table().columns.get(usize::from(column)).map(|c| c.ty) {
        Some(Type::Int | Type::Mode) => Ty::Int,
        Some(Type::Bool) => Ty::Bool,
        Some(Type::Str) | None => Ty::Str,
    }
}

/// `sysctl["key"]`, with as many keys as the table has.
pub(super) fn usage(table: TableId) -> String {
    let t = table.table();
    let keys: String = t.key_columns().iter().map(|c| format!("[\"{}\"]", c.name)).collect();
    format!("{}{keys}", t.name)
}

fn columns(table: TableId) -> String {
    table.table().columns.iter().map(|c| c.name).collect::<Vec<_>>().join(", ")
}

impl Checker<'_> {
    /// What an expression names. `None`: its problem was told.
    pub(super) fn place(&mut self, expr: &Expr) -> Option<Place> {
        match &expr.node {
            Node::Ident(name) => self.root(name, expr.span),
            Node::Index(target, key) => {
                let place = self.place(target)?;
                self.index(place, target, key)
            }
            Node::Select(target, name) => {
                let place = self.place(target)?;
                self.select(place, target, name)
            }
            _ => self.value(expr).map(Place::Value),
        }
    }

    fn root(&mut self, name: &str, span: Span) -> Option<Place> {
        match self.variable(name) {
            Some(Bound::Row(table, slot)) => return Some(Place::Variable(*table, *slot)),
            Some(Bound::Constant(ir, ty)) => return Some(Place::Value(Typed { ir: ir.clone(), ty: *ty })),
            None => {}
        }
        if let Some(table) = TableId::by_name(name) {
            return Some(Place::Table(table));
        }
        let known: Vec<String> = self.vars.iter().map(|(n, _)| n.clone()).collect();
        let known = known.iter().map(String::as_str).chain(TableId::all().map(|t| -> &str { t.name() }));
        let mut message = format!("no table or variable `{name}`{}", hint(name, known));
        if matches!(name, "yes" | "no" | "on" | "off") {
            message = format!("no table or variable `{name}`; a string needs quotes");
        }
        self.say(Code::Name, span, message)
    }

    fn index(&mut self, place: Place, target: &Expr, key: &Expr) -> Option<Place> {
        let (table, mut keys) = match place {
            Place::Table(table) => (table, Vec::new()),
            Place::Partial(table, keys) => (table, keys),
            Place::Row(table, _) => {
                let message = format!("`{}` has no further key; a column is read as `.column`: {}", usage(table), columns(table));
                return self.say(Code::Type, key.span, message);
            }
            Place::Variable(..) => {
                return self.say(Code::Type, key.span, "a column of a row is read as `.column`");
            }
            Place::Cell(..) | Place::Column(..) | Place::Value(_) => {
                return self.say(Code::Type, target.span, "only tables take an index; ask a list with `in`");
            }
        };
        let t = table.table();
        if t.key == 0 {
            let message = match t.extent {
                Extent::Single => format!("table `{}` has one row, write `{}.column`", t.name, t.name),
                _ => format!("table `{}` has no key, write `{}.exists(r, r.{} == ...)`", t.name, t.name, first_column(table)),
            };
            return self.say(Code::Type, target.span, message);
        }
        let ir = self.key(table, keys.len(), key)?;
        keys.push(ir);
        Some(if keys.len() == t.key { Place::Row(table, keys) } else { Place::Partial(table, keys) })
    }

    /// The key number `at` of a table, folded as the table's rows are.
    pub(super) fn key(&mut self, table: TableId, at: usize, expr: &Expr) -> Option<Ir> {
        let ir = self.of(expr, Ty::Str, "a key")?;
        let t = table.table();
        let asked = t.extent == Extent::Asked && at == 0;
        match ir {
            Ir::Str(text) => {
                let text = if t.fold_case { text.to_lowercase().into() } else { text };
                if let (true, Some(why)) = (asked, unfit(table, &text)) {
                    return self.say(Code::Value, expr.span, why);
                }
                Some(Ir::Str(text))
            }
            _ if asked && !self.collect.contains_key(&table) => {
                let message = format!(
                    "this key is known only when a scan is judged, so the rule says under `collect` what to look at: `collect: {{{}: [...]}}`",
                    t.name
                );
                self.say(Code::Collect, expr.span, message)
            }
            // Rows keep their keys in lower case, so what is looked up in them must be, too.
            other if t.fold_case => Some(Ir::Call(Func::Lower, vec![other])),
            other => Some(other),
        }
    }

    fn select(&mut self, place: Place, target: &Expr, name: &Name) -> Option<Place> {
        match place {
            Place::Variable(table, slot) => Some(Place::Column(table, slot, self.column(table, name)?)),
            Place::Row(table, keys) => Some(Place::Cell(table, keys, self.column(table, name)?)),
            Place::Table(table) if table.table().extent == Extent::Single => {
                Some(Place::Cell(table, Vec::new(), self.column(table, name)?))
            }
            Place::Table(table) => {
                let t = table.table();
                let write = if t.key > 0 {
                    format!("`{}.{}` or `{}.exists(r, ...)`", usage(table), name.text, t.name)
                } else {
                    format!("`{}.exists(r, r.{} == ...)`", t.name, first_column(table))
                };
                self.say(Code::Type, target.span, format!("table `{}` has many rows, write {write}", t.name))
            }
            Place::Partial(table, _) => {
                let message = format!("table `{}` has {} keys, write `{}`", table.name(), table.table().key, usage(table));
                self.say(Code::Type, target.span, message)
            }
            Place::Cell(..) | Place::Column(..) | Place::Value(_) => {
                let message = format!("`.{}` of a value: only rows have columns, and functions are called with `()`", name.text);
                self.say(Code::Type, name.span, message)
            }
        }
    }

    fn column(&mut self, table: TableId, name: &Name) -> Option<u8> {
        let t = table.table();
        let at = t.column(&name.text).and_then(|c| u8::try_from(c).ok());
        if at.is_none() {
            let near = hint(&name.text, t.columns.iter().map(|c| c.name));
            let near = if near.is_empty() { format!("; it has {}", columns(table)) } else { near };
            return self.say(Code::Name, name.span, format!("table `{}` has no column `{}`{near}", t.name, name.text));
        }
        at
    }

    /// The value at a place.
    pub(super) fn read(&mut self, expr: &Expr) -> Found {
        match self.place(expr)? {
            Place::Value(typed) => Some(typed),
            Place::Column(table, slot, column) => found(Ir::Column { slot, table, column }, type_of(table, column)),
            Place::Cell(table, key, column) => found(Ir::Lookup { table, key, column }, type_of(table, column)),
            Place::Row(table, key) => {
                let t = table.table();
                let Some(column) = t.value.and_then(|v| t.column(v)).and_then(|c| u8::try_from(c).ok()) else {
                    let message = format!("this is a row of `{}`, read a column of it: {}", t.name, columns(table));
                    return self.say(Code::Type, expr.span, message);
                };
                found(Ir::Lookup { table, key, column }, type_of(table, column))
            }
            Place::Variable(table, _) => {
                let message = format!("this is a row of `{}`, read a column of it: {}", table.name(), columns(table));
                self.say(Code::Type, expr.span, message)
            }
            Place::Partial(table, _) => {
                let message = format!("table `{}` has {} keys, write `{}`", table.name(), table.table().key, usage(table));
                self.say(Code::Type, expr.span, message)
            }
            Place::Table(table) => {
                let t = table.table();
                let write = match (t.extent, t.key) {
                    (Extent::Single, _) => format!("{}.{}", t.name, first_column(table)),
                    (_, 0) => format!("{}.exists(r, ...)", t.name),
                    _ => usage(table),
                };
                self.say(Code::Type, expr.span, format!("`{}` is a table, write `{write}`", t.name))
            }
        }
    }

    /// `has(...)`
    pub(super) fn has(&mut self, expr: &Expr) -> Found {
        let ir = match self.place(expr)? {
            Place::Row(table, key) => Ir::HasRow { table, key },
            Place::Cell(table, key, column) => Ir::HasCell { table, key, column },
            Place::Column(table, slot, column) => Ir::HasColumn { slot, table, column },
            Place::Table(table) | Place::Partial(table, _) => {
                let write = match (table.table().extent, table.table().key) {
                    (Extent::Single, _) => format!("has({}.{})", table.name(), first_column(table)),
                    (_, 0) => format!("{}.size() > 0", table.name()),
                    _ => format!("has({})", usage(table)),
                };
                return self.say(Code::Type, expr.span, format!("`has` asks for a row or a column, write `{write}`"));
            }
            Place::Variable(..) => return self.say(Code::Type, expr.span, "`has` asks for a column of the row, write `has(r.column)`"),
            Place::Value(_) => return self.say(Code::Type, expr.span, "`has` asks for a row or a column, this is a value"),
        };
        found(ir, Ty::Bool)
    }

    /// `"key" in table`
    pub(super) fn key_in(&mut self, table: TableId, item: &Expr, span: Span) -> Found {
        let t = table.table();
        if t.key != 1 {
            let write = if t.key == 0 { format!("{}.exists(r, ...)", t.name) } else { format!("has({})", usage(table)) };
            return self.say(Code::Type, span, format!("`in` asks tables with one key, write `{write}`"));
        }
        let key = self.key(table, 0, item)?;
        found(Ir::HasRow { table, key: vec![key] }, Ty::Bool)
    }
}

fn first_column(table: TableId) -> &'static str {
    table.table().columns.first().map_or("column", |c| c.name)
}

/// Why a key of an asked table, or an entry of `collect`, cannot be what a collector looks for.
pub(super) fn unfit(table: TableId, item: &str) -> Option<String> {
    if item.is_empty() {
        return Some("an empty path names nothing".into());
    }
    if item.contains(['*', '?']) {
        return Some(format!("a key is one path; patterns go under `collect`, with `{}.all(r, ...)`", table.name()));
    }
    unfit_pattern(table, item)
}

/// The same for a pattern.
pub fn unfit_pattern(table: TableId, item: &str) -> Option<String> {
    if table.name() == "registry" {
        let long = [("hkey_local_machine\\", "hklm\\"), ("hkey_current_user\\", "hkcu\\"), ("hkey_users\\", "hku\\")];
        if let Some((_, short)) = long.into_iter().find(|(long, _)| item.to_lowercase().starts_with(long)) {
            return Some(format!("hives are abbreviated, write `{short}...`"));
        }
        return item.contains('/').then(|| "registry paths are written with backslashes, in a raw string: r\"hklm\\software\"".into());
    }
    let mut chars = item.chars();
    let drive = matches!((chars.next(), chars.next()), (Some(c), Some(':')) if c.is_ascii_alphabetic());
    (!item.starts_with('/') && !drive).then(|| format!("`{item}` is not an absolute path"))
}
