//! A check after it was parsed and typed: what `judge::explain` interprets and `pack::compile` lowers.
//!
//! `CEL text -> ast -> ir`: names are resolved to tables, columns and row variables, macros over key lists are unrolled,
//! constant keys are folded to the table's case, every operand has the type its operator needs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::scan::table::{Extent, TableId};
use crate::version::Scheme;

/// The type of a typed expression. File modes are `Int`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    Bool,
    Int,
    Str,
    /// List of strings.
    StrList,
    /// List of ints.
    IntList,
    Version(Scheme),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arith {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Quantifier {
    Exists,
    All,
    ExistsOne,
}

/// Functions of values; the number and types of arguments were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Func {
    /// (Str, Str) -> Bool
    StartsWith,
    /// (Str, Str) -> Bool
    EndsWith,
    /// (Str, Str) -> Bool
    Contains,
    /// (Str) -> Str
    Lower,
    /// (Str) -> Str
    Trim,
    /// (Str, Str) -> Str
    Concat,
    /// (Str) -> Int, in characters as CEL counts them
    StrSize,
    /// (StrList | IntList) -> Int
    ListSize,
    /// (Str, Str) -> StrList; an empty string gives one empty part
    Split,
    /// (Int, Int) -> Bool: the first has no bit that the second lacks
    AtMost,
    /// (Str) -> Int, octal text
    ModeOf,
    /// (Str) -> Int, decimal text
    IntOf,
}

/// Which rows of a table that holds only what was asked a quantifier means: those that match a pattern of the rule's `collect`.
/// Empty for the other tables.
pub type Patterns = Vec<Box<str>>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ir {
    Bool(bool),
    Int(i64),
    Str(Box<str>),
    /// Constants of one type, `Str` or `Int`.
    List(Vec<Ir>),
    /// A column of the row that quantifier number `slot` (0 = outermost) is at.
    Column {
        slot: u8,
        table: TableId,
        column: u8,
    },
    /// `has(r.column)`
    HasColumn {
        slot: u8,
        table: TableId,
        column: u8,
    },
    /// A column of the row with this key; `key` is as long as the table's key (empty for a single-row table).
    Lookup {
        table: TableId,
        key: Vec<Ir>,
        column: u8,
    },
    /// `has(table[key])`, `key in table`: whether there is such a row.
    HasRow {
        table: TableId,
        key: Vec<Ir>,
    },
    /// `has(table[key].column)`: whether there is such a row and it has the column.
    HasCell {
        table: TableId,
        key: Vec<Ir>,
        column: u8,
    },
    Not(Box<Ir>),
    And(Vec<Ir>),
    Or(Vec<Ir>),
    /// `condition ? then : otherwise`
    Select(Box<Ir>, Box<Ir>, Box<Ir>),
    /// Operands of one type: Int, Str, Bool (`Eq`, `Ne` only) or Version of one scheme.
    Compare(Cmp, Box<Ir>, Box<Ir>),
    /// An Int or Str in a list of the same.
    In(Box<Ir>, Box<Ir>),
    Arith(Arith, Box<Ir>, Box<Ir>),
    Negate(Box<Ir>),
    Call(Func, Vec<Ir>),
    /// (Str, a constant pattern that compiles) -> Bool
    Matches(Box<Ir>, Box<str>),
    /// A Str read as a version of a scheme.
    Version(Scheme, Box<Ir>),
    /// A Bool over the rows of a table.
    Quant {
        quantifier: Quantifier,
        table: TableId,
        only: Patterns,
        slot: u8,
        body: Box<Ir>,
    },
    /// An Int: how many rows satisfy the body.
    Count {
        table: TableId,
        only: Patterns,
        slot: u8,
        body: Box<Ir>,
    },
}

impl Ir {
    /// The tables that it reads, with `scope` where an absent row of an asked table must be told from one that was never looked for.
    pub fn tables(&self) -> BTreeSet<TableId> {
        let mut out = BTreeSet::new();
        self.walk(&mut |node| {
            let (Ir::Lookup { table, .. }
            | Ir::HasRow { table, .. }
            | Ir::HasCell { table, .. }
            | Ir::Quant { table, .. }
            | Ir::Count { table, .. }) = node
            else {
                return;
            };
            out.insert(*table);
            if table.table().extent == Extent::Asked {
                out.extend(TableId::by_name("scope"));
            }
        });
        out
    }

    /// Whether every column, key and row variable that it names is there: of a condition that was read from a file. `rows` are the
    /// tables of the quantifiers around it.
    pub fn is_sound(&self, rows: &[TableId]) -> bool {
        let all = |items: &[Ir]| items.iter().all(|i| i.is_sound(rows));
        let has = |table: &TableId, column: &u8| usize::from(*column) < table.table().columns.len();
        match self {
            Ir::Bool(_) | Ir::Int(_) | Ir::Str(_) => true,
            Ir::Column { slot, table, column } | Ir::HasColumn { slot, table, column } => {
                rows.get(usize::from(*slot)) == Some(table) && has(table, column)
            }
            Ir::Lookup { table, key, column } | Ir::HasCell { table, key, column } => {
                key.len() == table.table().key && has(table, column) && all(key)
            }
            Ir::HasRow { table, key } => key.len() == table.table().key && all(key),
            Ir::List(items) | Ir::And(items) | Ir::Or(items) | Ir::Call(_, items) => all(items),
            Ir::Not(a) | Ir::Negate(a) | Ir::Matches(a, _) | Ir::Version(_, a) => a.is_sound(rows),
            Ir::Compare(_, a, b) | Ir::In(a, b) | Ir::Arith(_, a, b) => a.is_sound(rows) && b.is_sound(rows),
            Ir::Select(a, b, c) => a.is_sound(rows) && b.is_sound(rows) && c.is_sound(rows),
            Ir::Quant { slot, table, body, .. } | Ir::Count { slot, table, body, .. } => {
                usize::from(*slot) == rows.len() && body.is_sound(&[rows, &[*table]].concat())
            }
        }
    }

    /// Calls `see` on this node and on all below it.
    pub fn walk<'a>(&'a self, see: &mut impl FnMut(&'a Ir)) {
        see(self);
        match self {
            Ir::Bool(_) | Ir::Int(_) | Ir::Str(_) | Ir::Column { .. } | Ir::HasColumn { .. } => {}
            Ir::List(items) | Ir::And(items) | Ir::Or(items) | Ir::Call(_, items) => items.iter().for_each(|i| i.walk(see)),
            Ir::Lookup { key, .. } | Ir::HasRow { key, .. } | Ir::HasCell { key, .. } => key.iter().for_each(|i| i.walk(see)),
            Ir::Not(a) | Ir::Negate(a) | Ir::Matches(a, _) | Ir::Version(_, a) => a.walk(see),
            Ir::Compare(_, a, b) | Ir::In(a, b) | Ir::Arith(_, a, b) => {
                a.walk(see);
                b.walk(see);
            }
            Ir::Select(a, b, c) => {
                a.walk(see);
                b.walk(see);
                c.walk(see);
            }
            Ir::Quant { body, .. } | Ir::Count { body, .. } => body.walk(see),
        }
    }
}
