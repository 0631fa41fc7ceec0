//! A typed condition as Rego, for engines that know only that.
//!
//! Rego has no third truth value: what cannot be had is undefined, and `not undefined` is true. So a condition is written twice, as what must hold for it to be
//! true and as what must hold for it to be false; where neither does, it is as abnormal as with us.

use std::collections::BTreeMap;

use muster::rule::Rule;
use muster::rule::ir::{Arith, Cmp, Func, Ir, Patterns, Quantifier};
use muster::scan::table::TableId;

/// How a table is looked at: its rows (those that match patterns, if there are any), or by key, the whole row or the column that is meant without a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    Rows(TableId, Patterns),
    Keyed(TableId),
    Values(TableId),
}

/// The views that some rule needs, numbered.
#[derive(Debug, Default)]
pub(crate) struct Views(pub(crate) BTreeMap<View, usize>);

impl Views {
    /// A name for it.
    pub(crate) fn name(&mut self, view: View) -> String {
        let next = self.0.len();
        format!("v{}", self.0.entry(view).or_insert(next))
    }
}

/// What has no counterpart.
pub(crate) type Written<T> = Result<T, &'static str>;

#[derive(Debug)]
pub(crate) struct Rego<'v> {
    pub(crate) views: &'v mut Views,
    /// Helpers, one for each disjunction.
    helpers: String,
    count: usize,
    /// Of the rule.
    number: usize,
    /// Names of the rows that quantifiers around are at.
    rows: Vec<String>,
}

impl<'v> Rego<'v> {
    pub(crate) fn new(views: &'v mut Views, number: usize) -> Rego<'v> {
        Rego { views, helpers: String::new(), count: 0, number, rows: Vec::new() }
    }

    /// `v_N`: "p" if the rule passes, "f" if it fails, "n" if it does not apply, "m" if it cannot be told.
    pub(crate) fn rule(&mut self, rule: &Rule) -> Written<String> {
        let number = self.number;
        let (when, mut out) = match &rule.when {
            Some(when) => (format!("a_{number}; "), format!("a_{number} if {}\n", block(&self.condition(when, true)?))),
            None => ("true; ".to_owned(), String::new()),
        };
        for (name, want) in [("t", true), ("f", false)] {
            out.push_str(&format!("{name}_{number} if {}\n", block(&self.condition(&rule.check, want)?)));
        }
        out.push_str(&format!(
            "v_{number} := \"p\" if {{ {when}t_{number} }} else := \"f\" if {{ {when}f_{number} }} else := \"m\" if {{ {when}true }} else := \"n\"\n"
        ));
        Ok(std::mem::take(&mut self.helpers) + &out)
    }

    fn fresh(&mut self, letter: char) -> String {
        self.count += 1;
        format!("{letter}{}_{}", self.number, self.count)
    }

    /// One of several: a helper with a body for each, given the rows around.
    fn either(&mut self, bodies: &[Vec<String>]) -> String {
        let name = self.fresh('h');
        let call = if self.rows.is_empty() { name } else { format!("{name}({})", self.rows.join(", ")) };
        for body in bodies {
            self.helpers.push_str(&format!("{call} if {}\n", block(body)));
        }
        call
    }

    /// What must hold, all of it, for a condition to be true, or to be false.
    fn condition(&mut self, ir: &Ir, want: bool) -> Written<Vec<String>> {
        Ok(match ir {
            Ir::Bool(b) => vec![(*b == want).to_string()],
            Ir::Not(a) => self.condition(a, !want)?,
            Ir::And(items) | Ir::Or(items) => {
                let each: Vec<Vec<String>> = items.iter().map(|i| self.condition(i, want)).collect::<Written<_>>()?;
                if matches!(ir, Ir::And(_)) == want { each.concat() } else { vec![self.either(&each)] }
            }
            Ir::Select(condition, then, otherwise) => {
                let then = [self.condition(condition, true)?, self.condition(then, want)?].concat();
                let otherwise = [self.condition(condition, false)?, self.condition(otherwise, want)?].concat();
                vec![self.either(&[then, otherwise])]
            }
            Ir::Compare(op, a, b) => vec![format!("{} {} {}", self.value(a)?, sign(*op, want), self.value(b)?)],
            Ir::In(item, list) => vec![format!("({} in {}) == {want}", self.value(item)?, self.value(list)?)],
            Ir::Matches(text, pattern) => vec![format!("regex.match({}, {}) == {want}", quoted(pattern), self.value(text)?)],
            Ir::Call(..) | Ir::Column { .. } | Ir::Lookup { .. } => vec![format!("{} == {want}", self.value(ir)?)],
            Ir::HasColumn { slot, column, table } => {
                let row = self.row(*slot)?;
                vec![format!("object.get({row}, {}, null) {} null", column_of(*table, *column), if want { "!=" } else { "==" })]
            }
            Ir::HasRow { table, key } => self.has(*table, key, None, want)?,
            Ir::HasCell { table, key, column } => self.has(*table, key, Some(*column), want)?,
            Ir::Quant { quantifier, table, only, body, .. } => self.quantifier(*quantifier, *table, only, body, want)?,
            _ => return Err("a condition of another kind"),
        })
    }

    fn has(&mut self, table: TableId, key: &[Ir], column: Option<u8>, want: bool) -> Written<Vec<String>> {
        let mut path: Vec<String> = key.iter().map(|k| self.value(k)).collect::<Written<_>>()?;
        path.extend(column.map(|c| column_of(table, c)));
        let view = self.views.name(View::Keyed(table));
        Ok(vec![format!("object.get(input.{view}, [{}], null) {} null", path.join(", "), if want { "!=" } else { "==" })])
    }

    fn quantifier(&mut self, quantifier: Quantifier, table: TableId, only: &Patterns, body: &Ir, want: bool) -> Written<Vec<String>> {
        if quantifier == Quantifier::ExistsOne {
            return Ok(vec![format!("{} {} 1", self.count(table, only, body)?, if want { "==" } else { "!=" })]);
        }
        let (row, inner, view) = self.over(table, only, body, want)?;
        Ok(if (quantifier == Quantifier::Exists) == want {
            [vec![format!("some {row} in input.{view}")], inner].concat()
        } else {
            vec![format!("every {row} in input.{view} {}", block(&inner))]
        })
    }

    /// A variable for a row, what must hold of it, and the rows.
    fn over(&mut self, table: TableId, only: &Patterns, body: &Ir, want: bool) -> Written<(String, Vec<String>, String)> {
        let view = self.views.name(View::Rows(table, only.clone()));
        let row = self.fresh('r');
        self.rows.push(row.clone());
        let inner = self.condition(body, want);
        self.rows.pop();
        Ok((row, inner?, view))
    }

    fn count(&mut self, table: TableId, only: &Patterns, body: &Ir) -> Written<String> {
        let (row, inner, view) = self.over(table, only, body, true)?;
        Ok(format!("count([1 | some {row} in input.{view};\n{}])", inner.join(";\n")))
    }

    fn row(&self, slot: u8) -> Written<String> {
        self.rows.get(usize::from(slot)).cloned().ok_or("a row of no quantifier")
    }

    fn value(&mut self, ir: &Ir) -> Written<String> {
        Ok(match ir {
            Ir::Bool(b) => b.to_string(),
            Ir::Int(n) => n.to_string(),
            Ir::Str(s) => quoted(s),
            Ir::List(items) => format!("{{{}}}", items.iter().map(|i| self.value(i)).collect::<Written<Vec<_>>>()?.join(", ")),
            Ir::Column { slot, table, column } => format!("{}[{}]", self.row(*slot)?, column_of(*table, *column)),
            Ir::Lookup { table, key, column } => {
                let view = self.views.name(View::Keyed(*table));
                let keys: Vec<String> = key.iter().map(|k| Ok(format!("[{}]", self.value(k)?))).collect::<Written<_>>()?;
                format!("input.{view}{}[{}]", keys.concat(), column_of(*table, *column))
            }
            Ir::Arith(op, a, b) => {
                let op = match op {
                    Arith::Add => "+",
                    Arith::Sub => "-",
                    Arith::Mul => "*",
                    Arith::Div | Arith::Rem => return Err("division, which Rego does not do in whole numbers"),
                };
                format!("({} {op} {})", self.value(a)?, self.value(b)?)
            }
            Ir::Negate(a) => format!("(0 - {})", self.value(a)?),
            Ir::Call(func, args) => {
                let args: Vec<String> = args.iter().map(|a| self.value(a)).collect::<Written<_>>()?;
                match (func, args.as_slice()) {
                    (Func::StartsWith, [a, b]) => format!("startswith({a}, {b})"),
                    (Func::EndsWith, [a, b]) => format!("endswith({a}, {b})"),
                    (Func::Contains, [a, b]) => format!("contains({a}, {b})"),
                    (Func::Concat, [a, b]) => format!("concat(\"\", [{a}, {b}])"),
                    (Func::StrSize | Func::ListSize, [a]) => format!("count({a})"),
                    (Func::IntOf, [a]) => format!("to_number(trim_space({a}))"),
                    _ => return Err("a function that CEL itself has not"),
                }
            }
            Ir::Count { table, only, body, .. } => self.count(*table, only, body)?,
            _ => return Err("a value of another kind"),
        })
    }
}

fn block(lines: &[String]) -> String {
    format!("{{ {} }}", lines.join(";\n"))
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn column_of(table: TableId, column: u8) -> String {
    quoted(table.table().columns[usize::from(column)].name)
}

fn sign(op: Cmp, want: bool) -> &'static str {
    match (op, want) {
        (Cmp::Eq, true) | (Cmp::Ne, false) => "==",
        (Cmp::Ne, true) | (Cmp::Eq, false) => "!=",
        (Cmp::Lt, true) | (Cmp::Ge, false) => "<",
        (Cmp::Ge, true) | (Cmp::Lt, false) => ">=",
        (Cmp::Le, true) | (Cmp::Gt, false) => "<=",
        (Cmp::Gt, true) | (Cmp::Le, false) => ">",
    }
}
