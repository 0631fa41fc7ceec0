//! One leaf of a condition to one term: its predicate's code and the plan that finds its rows; or nothing, when it joins rows.

use super::Compiler;
use crate::judge::explain;
use crate::judge::truth::Truth;
use crate::pack::code::{func, op, scheme_to_u8};
use crate::pack::wire::cmp_to_u8;
use crate::pack::{Plan, TermKind};
use crate::rule::ir::{Arith, Cmp, Func, Ir, Quantifier};
use crate::scan::table::{TableId, Type};

/// A term in the making.
pub(super) struct Lowered {
    pub(super) kind: TermKind,
    pub(super) table: TableId,
    pub(super) key: Vec<String>,
    pub(super) only: Vec<String>,
    pub(super) code: Vec<u8>,
    pub(super) plan: PlanFor,
    /// Asks only whether the keyed row is there.
    pub(super) exists: bool,
}

/// A plan with what its index needs.
#[derive(Clone, Debug)]
pub(in crate::pack) enum PlanFor {
    Key,
    Equal(u8, Vec<String>),
    Literal(u8, String),
    Each,
}

impl PlanFor {
    pub(super) fn kind(&self) -> Plan {
        match self {
            PlanFor::Key => Plan::Key,
            PlanFor::Equal(column, _) => Plan::Equal(*column),
            PlanFor::Literal(column, _) => Plan::Literal(*column),
            PlanFor::Each => Plan::Each,
        }
    }
}

/// `None`: the leaf needs several rows at once, or a form that predicates do not have.
pub(super) fn lower(c: &mut Compiler, leaf: &Ir) -> Option<Lowered> {
    match leaf {
        Ir::Quant { quantifier, table, only, slot, body } => {
            let kind = match quantifier {
                Quantifier::Exists => TermKind::Exists,
                Quantifier::All => TermKind::All,
                Quantifier::ExistsOne => TermKind::Count(Cmp::Eq, 1),
            };
            over_rows(c, kind, *table, only, *slot, body)
        }
        Ir::Compare(cmp, a, b) => match (&**a, &**b) {
            (Ir::Count { table, only, slot, body }, Ir::Int(n)) => over_rows(c, TermKind::Count(*cmp, *n), *table, only, *slot, body),
            (Ir::Int(n), Ir::Count { table, only, slot, body }) => {
                over_rows(c, TermKind::Count(mirrored(*cmp), *n), *table, only, *slot, body)
            }
            _ => keyed(c, leaf),
        },
        _ => keyed(c, leaf),
    }
}

fn mirrored(cmp: Cmp) -> Cmp {
    match cmp {
        Cmp::Lt => Cmp::Gt,
        Cmp::Le => Cmp::Ge,
        Cmp::Gt => Cmp::Lt,
        Cmp::Ge => Cmp::Le,
        same => same,
    }
}

fn over_rows(c: &mut Compiler, kind: TermKind, table: TableId, only: &[Box<str>], slot: u8, body: &Ir) -> Option<Lowered> {
    let mut code = Vec::new();
    if !only.is_empty() {
        code.push(op::ONLY);
        code.extend_from_slice(&u16::try_from(only.len()).ok()?.to_le_bytes());
        for pattern in only {
            code.extend_from_slice(&c.string(pattern).to_le_bytes());
        }
    }
    Emit { c, row: RowOf::Slot(slot), code: &mut code }.value(body)?;
    // A universal is decided by the rows that violate it.
    let plan = plan(body, kind != TermKind::All, table, slot);
    let only = only.iter().map(|p| p.to_string()).collect();
    Some(Lowered { kind, table, key: Vec::new(), only, code, plan, exists: false })
}

/// A leaf about the one row that its lookups name.
fn keyed(c: &mut Compiler, leaf: &Ir) -> Option<Lowered> {
    let mut target: Option<(TableId, &[Ir])> = None;
    let mut several = false;
    leaf.walk(&mut |node| {
        // Without the row the whole leaf is what the row's absence is, so that nothing in it may decide or fail by itself.
        several |= !std::ptr::eq(node, leaf) && !is_strict(node);
        if let Ir::Lookup { table, key, .. } | Ir::HasRow { table, key } | Ir::HasCell { table, key, .. } = node {
            match target {
                None => target = Some((*table, key)),
                Some(t) => several |= t != (*table, key.as_slice()),
            }
        }
    });
    let (table, key_ir) = target?;
    let key = key_ir.iter().map(|k| if let Ir::Str(s) = k { Some(s.to_string()) } else { None }).collect::<Option<Vec<_>>>()?;
    if several || key.len() > 2 {
        return None;
    }
    let mut code = Vec::new();
    let exists = match leaf {
        Ir::HasRow { .. } => {
            code.extend_from_slice(&[op::TRUTH, Truth::True as u8]);
            true
        }
        Ir::HasCell { column, .. } => {
            code.extend_from_slice(&[op::HAS_COLUMN, *column]);
            true
        }
        _ => {
            Emit { c, row: RowOf::Key, code: &mut code }.value(leaf)?;
            false
        }
    };
    Some(Lowered { kind: TermKind::Keyed, table, key, only: Vec::new(), code, plan: PlanFor::Key, exists })
}

/// Whether a part of a keyed leaf is abnormal exactly when the row is.
fn is_strict(node: &Ir) -> bool {
    match node {
        Ir::And(_) | Ir::Or(_) | Ir::Select(..) | Ir::HasRow { .. } | Ir::HasCell { .. } | Ir::Quant { .. } | Ir::Count { .. } => false,
        Ir::Call(..) | Ir::Arith(..) | Ir::Negate(_) => {
            let mut reads = false;
            node.walk(&mut |n| reads |= matches!(n, Ir::Lookup { .. }));
            reads || !explain::is_abnormal(node)
        }
        _ => true,
    }
}

/// The cheapest index over the rows of which the body may be other than the contrary of `holds`: those that satisfy it, or those that violate it, and in both cases
/// those of which it is abnormal.
fn plan(body: &Ir, holds: bool, table: TableId, slot: u8) -> PlanFor {
    let mut conditions = Vec::new();
    required(body, holds, &mut conditions);
    let text_column = |ir: &Ir| match ir {
        Ir::Column { slot: s, column, .. } if *s == slot && table.table().columns[usize::from(*column)].ty == Type::Str => Some(*column),
        _ => None,
    };
    let equal = |(condition, holds): &(&Ir, bool)| match condition {
        Ir::Compare(cmp, a, b) if *cmp == if *holds { Cmp::Eq } else { Cmp::Ne } => {
            [(a, b), (b, a)].into_iter().find_map(|(column, constant)| match (text_column(column), &**constant) {
                (Some(column), Ir::Str(s)) => Some(PlanFor::Equal(column, vec![s.to_string()])),
                _ => None,
            })
        }
        Ir::In(item, list) if *holds => match (text_column(item), &**list) {
            (Some(column), Ir::List(items)) => {
                let values = items.iter().map(|i| if let Ir::Str(s) = i { Some(s.to_string()) } else { None });
                Some(PlanFor::Equal(column, values.collect::<Option<_>>()?))
            }
            _ => None,
        },
        _ => None,
    };
    let literal = |(condition, holds): &(&Ir, bool)| match condition {
        Ir::Call(Func::Contains, args) if *holds => match args.as_slice() {
            [text, Ir::Str(literal)] if !literal.is_empty() => Some(PlanFor::Literal(text_column(text)?, literal.to_string())),
            _ => None,
        },
        _ => None,
    };
    conditions.iter().find_map(equal).or_else(|| conditions.iter().find_map(literal)).unwrap_or(PlanFor::Each)
}

/// What must hold, or not hold, of every such row.
fn required<'i>(body: &'i Ir, holds: bool, out: &mut Vec<(&'i Ir, bool)>) {
    match body {
        Ir::And(items) if holds => items.iter().for_each(|item| required(item, holds, out)),
        Ir::Or(items) if !holds => items.iter().for_each(|item| required(item, holds, out)),
        Ir::Not(inner) => required(inner, !holds, out),
        other => out.push((other, holds)),
    }
}

/// Which row a predicate's columns are of.
#[derive(Clone, Copy)]
enum RowOf {
    Slot(u8),
    Key,
}

struct Emit<'c, 'o> {
    c: &'c mut Compiler,
    row: RowOf,
    code: &'o mut Vec<u8>,
}

impl Emit<'_, '_> {
    fn value(&mut self, ir: &Ir) -> Option<()> {
        match ir {
            Ir::Bool(b) => self.code.extend_from_slice(&[op::TRUTH, Truth::of(*b) as u8]),
            Ir::Int(n) => {
                self.code.push(op::INT);
                self.code.extend_from_slice(&n.to_le_bytes());
            }
            Ir::Str(s) => self.with_string(op::STR, s),
            Ir::Column { slot, column, .. } => self.column(op::COLUMN, RowOf::Slot(*slot), *column)?,
            Ir::HasColumn { slot, column, .. } => self.column(op::HAS_COLUMN, RowOf::Slot(*slot), *column)?,
            Ir::Lookup { column, .. } => self.column(op::COLUMN, RowOf::Key, *column)?,
            Ir::Not(a) => {
                self.value(a)?;
                self.code.push(op::NOT);
            }
            Ir::And(items) => self.chain(items, Truth::False, op::AND)?,
            Ir::Or(items) => self.chain(items, Truth::True, op::OR)?,
            Ir::Select(a, b, c) => {
                for part in [a, b, c] {
                    self.value(part)?;
                }
                self.code.push(op::SELECT);
            }
            Ir::Compare(cmp, a, b) => self.compare(*cmp, a, b)?,
            Ir::In(item, list) => self.member(item, list)?,
            Ir::Arith(arith, a, b) => {
                self.value(a)?;
                self.value(b)?;
                let number = match arith {
                    Arith::Add => 0,
                    Arith::Sub => 1,
                    Arith::Mul => 2,
                    Arith::Div => 3,
                    Arith::Rem => 4,
                };
                self.code.extend_from_slice(&[op::ARITHMETIC, number]);
            }
            Ir::Negate(a) => {
                self.value(a)?;
                self.code.push(op::NEGATE);
            }
            Ir::Call(function, args) => self.call(*function, args)?,
            Ir::Matches(text, pattern) => {
                self.value(text)?;
                let pattern = self.c.pattern(pattern);
                self.code.push(op::MATCHES);
                self.code.extend_from_slice(&pattern.to_le_bytes());
            }
            // Another row, or a form of its own that is handled where it stands.
            Ir::HasRow { .. } | Ir::HasCell { .. } | Ir::Quant { .. } | Ir::Count { .. } | Ir::List(_) | Ir::Version(..) => return None,
        }
        Some(())
    }

    fn with_string(&mut self, instruction: u8, s: &str) {
        let id = self.c.string(s);
        self.code.push(instruction);
        self.code.extend_from_slice(&id.to_le_bytes());
    }

    fn column(&mut self, instruction: u8, of: RowOf, column: u8) -> Option<()> {
        match (self.row, of) {
            (RowOf::Slot(mine), RowOf::Slot(wanted)) if mine == wanted => {}
            (RowOf::Key, RowOf::Key) => {}
            _ => return None,
        }
        self.code.extend_from_slice(&[instruction, column]);
        Some(())
    }

    /// Operands behind one another, each followed by a branch past the rest when it decides.
    fn chain(&mut self, items: &[Ir], decisive: Truth, join: u8) -> Option<()> {
        let (first, rest) = match items {
            [] => {
                self.code.extend_from_slice(&[op::TRUTH, !decisive as u8]);
                return Some(());
            }
            [first, rest @ ..] => (first, rest),
        };
        self.value(first)?;
        let mut branches = Vec::new();
        for item in rest {
            self.code.extend_from_slice(&[op::BRANCH, decisive as u8, 0, 0, 0, 0]);
            branches.push(self.code.len());
            self.value(item)?;
            self.code.push(join);
        }
        for after in branches {
            let skip = u32::try_from(self.code.len() - after).ok()?;
            self.code[after - 4..after].copy_from_slice(&skip.to_le_bytes());
        }
        Some(())
    }

    fn compare(&mut self, cmp: Cmp, a: &Ir, b: &Ir) -> Option<()> {
        if let (Ir::Version(scheme, a), Ir::Version(_, b)) = (a, b) {
            self.value(a)?;
            self.value(b)?;
            self.code.extend_from_slice(&[op::COMPARE_VERSION, scheme_to_u8(*scheme), cmp_to_u8(cmp)]);
            return Some(());
        }
        self.value(a)?;
        self.value(b)?;
        self.code.extend_from_slice(&[op::COMPARE, cmp_to_u8(cmp)]);
        Some(())
    }

    fn member(&mut self, item: &Ir, list: &Ir) -> Option<()> {
        self.value(item)?;
        match list {
            Ir::Call(Func::Split, args) => {
                args.iter().try_for_each(|a| self.value(a))?;
                self.code.push(op::IN_SPLIT);
            }
            Ir::List(items) => {
                let n = u16::try_from(items.len()).ok()?.to_le_bytes();
                let strings: Option<Vec<&str>> = items.iter().map(|i| if let Ir::Str(s) = i { Some(&**s) } else { None }).collect();
                if let Some(strings) = strings {
                    self.code.push(op::IN_STRINGS);
                    self.code.extend_from_slice(&n);
                    for s in strings {
                        let id = self.c.string(s);
                        self.code.extend_from_slice(&id.to_le_bytes());
                    }
                } else {
                    self.code.push(op::IN_INTS);
                    self.code.extend_from_slice(&n);
                    for i in items {
                        let Ir::Int(n) = i else { return None };
                        self.code.extend_from_slice(&n.to_le_bytes());
                    }
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn call(&mut self, function: Func, args: &[Ir]) -> Option<()> {
        if let (Func::ListSize, [Ir::Call(Func::Split, args)]) = (function, args) {
            args.iter().try_for_each(|a| self.value(a))?;
            self.code.push(op::SPLIT_SIZE);
            return Some(());
        }
        let number = match function {
            Func::StartsWith => func::STARTS_WITH,
            Func::EndsWith => func::ENDS_WITH,
            Func::Contains => func::CONTAINS,
            Func::Lower => func::LOWER,
            Func::Trim => func::TRIM,
            Func::Concat => func::CONCAT,
            Func::StrSize => func::SIZE,
            Func::AtMost => func::AT_MOST,
            Func::ModeOf => func::MODE_OF,
            Func::IntOf => func::INT_OF,
            Func::ListSize | Func::Split => return None,
        };
        args.iter().try_for_each(|a| self.value(a))?;
        self.code.extend_from_slice(&[op::CALL, number]);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Collect;
    use crate::rule::check::check;

    fn plan_of(text: &str) -> String {
        let Ok(Ir::Quant { quantifier, table, slot, body, .. }) = check(text, &Collect::new()) else { panic!("{text}") };
        let column = |column: u8| table.table().columns[usize::from(column)].name;
        match plan(&body, quantifier != Quantifier::All, table, slot) {
            PlanFor::Key => "key".to_owned(),
            PlanFor::Equal(at, values) => format!("{} = {}", column(at), values.join("|")),
            PlanFor::Literal(at, text) => format!("{} has {text}", column(at)),
            PlanFor::Each => "each".to_owned(),
        }
    }

    #[test]
    fn rows_that_decide_are_found_by_what_they_must_have() {
        for (text, plan) in [
            ("package.exists(p, p.name == \"x\" && p.format == \"deb\")", "name = x"),
            ("package.exists(p, p.name in [\"x\", \"y\"])", "name = x|y"),
            ("package.exists(p, p.name.contains(\"x\"))", "name has x"),
            ("package.exists(p, !(p.name != \"x\" || p.format == \"rpm\"))", "name = x"),
            ("package.exists(p, p.name != \"x\")", "each"),
            ("package.exists(p, p.name == \"x\" || p.name == \"y\")", "each"),
            // A universal: those that violate it.
            ("package.all(p, p.name != \"x\")", "name = x"),
            ("package.all(p, p.name != \"x\" || p.version.dpkg() >= dpkg(\"2\"))", "name = x"),
            ("package.all(p, !(p.name == \"x\" && p.format == \"deb\"))", "name = x"),
            ("package.all(p, !(p.name in [\"x\", \"y\"]))", "name = x|y"),
            ("package.all(p, !p.name.contains(\"x\"))", "name has x"),
            ("package.all(p, p.name == \"x\")", "each"),
            ("package.all(p, p.name != \"x\" && p.name != \"y\")", "each"),
        ] {
            assert_eq!(plan_of(text), plan, "{text}");
        }
    }
}
