//! Random typed conditions and random scans out of a string of bytes: the property test feeds it noise, the fuzz target what libFuzzer finds.
//!
//! The vocabulary is small, so that keys meet rows, equal terms meet each other, and every abnormal state comes up often.

use muster::judge::Verdict;
use muster::rule::ir::{Arith, Cmp, Func, Ir, Quantifier, Ty};
use muster::rule::{Collect, Platform, Rule, RulePack, Severity};
use muster::scan::table::{Extent, TableId, Type};
use muster::scan::{Row, Scan, TableData, Value};
use muster::version::Scheme;

/// Choices out of bytes; zeros for ever when they are used up.
pub(crate) struct Bytes<'b> {
    bytes: &'b [u8],
    at: usize,
}

const TABLES: [&str; 8] = ["os", "sysctl", "file", "package", "config", "user", "registry", "scope"];
const STRINGS: [&str; 12] = ["", "a", "b", "a,b", "1", "22", "-3", "0640", "1.0-1", "1.0~rc1-1", "/etc/a", "/etc/b.conf"];
const PATTERNS: [&str; 4] = ["/etc/*", "/etc/a", "/etc/?.conf", "*"];
const REGEXES: [&str; 4] = ["^a", "[0-9]+", "b$", r"\bconf\b"];
const INTS: [i64; 7] = [0, 1, 2, 22, 0o640, -3, i64::MAX];

impl<'b> Bytes<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Bytes<'b> {
        Bytes { bytes, at: 0 }
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn table(&mut self) -> TableId {
        let name = self.pick(&TABLES);
        TableId::by_name(name).expect("a table")
    }

    fn string(&mut self, table: TableId, column: usize) -> String {
        let spec = table.table();
        let text = match (spec.name, column) {
            ("scope", 0) => self.pick(&["file", "config", "registry"]),
            ("scope", 2) => self.pick(&["present", "absent", "error"]),
            _ => self.pick(&STRINGS),
        };
        if spec.fold_case && column < spec.key { text.to_lowercase() } else { text.to_owned() }
    }

    /// A condition without free row variables.
    pub(crate) fn condition(&mut self, depth: usize, rows: &mut Vec<TableId>) -> Ir {
        if depth == 0 {
            return Ir::Bool(self.below(2) == 1);
        }
        match self.below(12) {
            0 => Ir::Not(Box::new(self.condition(depth - 1, rows))),
            1 => Ir::And((0..self.below(3) + 1).map(|_| self.condition(depth - 1, rows)).collect()),
            2 => Ir::Or((0..self.below(3) + 1).map(|_| self.condition(depth - 1, rows)).collect()),
            3 => Ir::Select(
                Box::new(self.condition(depth - 1, rows)),
                Box::new(self.condition(depth - 1, rows)),
                Box::new(self.condition(depth - 1, rows)),
            ),
            4 | 5 => {
                let quantifier = self.pick(&[Quantifier::Exists, Quantifier::All, Quantifier::ExistsOne]);
                let (table, only, slot, body) = self.over_rows(depth, rows);
                Ir::Quant { quantifier, table, only, slot, body }
            }
            6 => {
                let (table, only, slot, body) = self.over_rows(depth, rows);
                let count = Ir::Count { table, only, slot, body };
                let (cmp, n) = (self.comparison(), Ir::Int(self.pick(&[0, 1, 2])));
                if self.below(2) == 0 {
                    Ir::Compare(cmp, Box::new(count), Box::new(n))
                } else {
                    Ir::Compare(cmp, Box::new(n), Box::new(count))
                }
            }
            7 => {
                let (table, key, column) = self.place(depth, rows);
                if self.below(2) == 0 { Ir::HasRow { table, key } } else { Ir::HasCell { table, key, column } }
            }
            8 => match rows.len() {
                0 => Ir::Bool(true),
                n => {
                    let slot = self.below(n);
                    let table = rows[slot];
                    Ir::HasColumn { slot: small(slot), table, column: small(self.below(table.table().columns.len())) }
                }
            },
            _ => self.leaf(depth, rows),
        }
    }

    fn over_rows(&mut self, depth: usize, rows: &mut Vec<TableId>) -> (TableId, Vec<Box<str>>, u8, Box<Ir>) {
        let table = self.table();
        let asked = table.table().extent == Extent::Asked;
        let only = if asked { (0..self.below(2) + 1).map(|_| self.pick(&PATTERNS).into()).collect() } else { Vec::new() };
        let slot = small(rows.len());
        rows.push(table);
        let body = self.condition(depth - 1, rows);
        rows.pop();
        (table, only, slot, Box::new(body))
    }

    fn place(&mut self, depth: usize, rows: &mut Vec<TableId>) -> (TableId, Vec<Ir>, u8) {
        let mut table = self.table();
        while table.table().key == 0 && table.table().extent != Extent::Single {
            table = TableId::by_name("sysctl").expect("sysctl");
        }
        let key = (0..table.table().key)
            .map(|c| if self.below(8) == 0 { self.value(Ty::Str, depth, rows) } else { Ir::Str(self.string(table, c).into()) })
            .collect();
        (table, key, small(self.below(table.table().columns.len())))
    }

    fn comparison(&mut self) -> Cmp {
        self.pick(&[Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le, Cmp::Gt, Cmp::Ge])
    }

    fn leaf(&mut self, depth: usize, rows: &mut Vec<TableId>) -> Ir {
        let mut value = |bytes: &mut Self, ty| Box::new(bytes.value(ty, depth, rows));
        match self.below(9) {
            0 => Ir::Compare(self.comparison(), value(self, Ty::Int), value(self, Ty::Int)),
            1 | 2 => Ir::Compare(self.comparison(), value(self, Ty::Str), value(self, Ty::Str)),
            3 => {
                let scheme = self.pick(&Scheme::ALL);
                let (a, b) = (value(self, Ty::Str), value(self, Ty::Str));
                Ir::Compare(self.comparison(), Box::new(Ir::Version(scheme, a)), Box::new(Ir::Version(scheme, b)))
            }
            4 => {
                let list = (0..self.below(3) + 1).map(|_| Ir::Str(self.pick(&STRINGS).into())).collect();
                Ir::In(value(self, Ty::Str), Box::new(Ir::List(list)))
            }
            5 => {
                let split = Ir::Call(Func::Split, vec![*value(self, Ty::Str), Ir::Str(",".into())]);
                Ir::In(value(self, Ty::Str), Box::new(split))
            }
            6 => Ir::Matches(value(self, Ty::Str), self.pick(&REGEXES).into()),
            7 => Ir::Call(Func::AtMost, vec![*value(self, Ty::Int), Ir::Int(0o640)]),
            _ => {
                let func = self.pick(&[Func::StartsWith, Func::EndsWith, Func::Contains, Func::Contains]);
                Ir::Call(func, vec![*value(self, Ty::Str), *value(self, Ty::Str)])
            }
        }
    }

    fn value(&mut self, ty: Ty, depth: usize, rows: &mut Vec<TableId>) -> Ir {
        if depth > 0
            && self.below(3) > 0
            && let Some(cell) = self.cell(ty, depth - 1, rows)
        {
            return cell;
        }
        let nested = depth > 1 && self.below(4) == 0;
        match ty {
            Ty::Str if nested => {
                let a = self.value(Ty::Str, depth - 1, rows);
                match self.below(3) {
                    0 => Ir::Call(Func::Lower, vec![a]),
                    1 => Ir::Call(Func::Trim, vec![a]),
                    _ => Ir::Call(Func::Concat, vec![a, Ir::Str(self.pick(&STRINGS).into())]),
                }
            }
            Ty::Str => Ir::Str(self.pick(&STRINGS).into()),
            _ if nested => match self.below(5) {
                0 => Ir::Call(Func::IntOf, vec![self.value(Ty::Str, depth - 1, rows)]),
                1 => Ir::Call(Func::ModeOf, vec![self.value(Ty::Str, depth - 1, rows)]),
                2 => Ir::Call(Func::StrSize, vec![self.value(Ty::Str, depth - 1, rows)]),
                3 => Ir::Negate(Box::new(self.value(Ty::Int, depth - 1, rows))),
                _ => {
                    let op = self.pick(&[Arith::Add, Arith::Sub, Arith::Mul, Arith::Div, Arith::Rem]);
                    Ir::Arith(op, Box::new(self.value(Ty::Int, depth - 1, rows)), Box::new(self.value(Ty::Int, depth - 1, rows)))
                }
            },
            _ => Ir::Int(self.pick(&INTS)),
        }
    }

    /// A column of a row in scope or of a looked-up row, if one has the type.
    fn cell(&mut self, ty: Ty, depth: usize, rows: &mut Vec<TableId>) -> Option<Ir> {
        let fits = |table: TableId| {
            let columns = table.table().columns.iter().enumerate();
            let wanted = |t: Type| if ty == Ty::Str { t == Type::Str } else { matches!(t, Type::Int | Type::Mode) };
            columns.filter(|(_, c)| wanted(c.ty)).map(|(i, _)| i).collect::<Vec<_>>()
        };
        if !rows.is_empty() && self.below(2) == 0 {
            let slot = self.below(rows.len());
            let table = rows[slot];
            let columns = fits(table);
            let column = if columns.is_empty() { return None } else { self.pick(&columns) };
            return Some(Ir::Column { slot: small(slot), table, column: small(column) });
        }
        let (table, key, _) = self.place(depth, rows);
        let columns = fits(table);
        let column = if columns.is_empty() { return None } else { self.pick(&columns) };
        Some(Ir::Lookup { table, key, column: small(column) })
    }

    pub(crate) fn scan(&mut self) -> Scan {
        let mut scan = Scan { endpoint: "e".to_owned(), ..Scan::default() };
        for name in TABLES {
            let table = TableId::by_name(name).expect("a table");
            match self.below(8) {
                0 => continue,
                1 => {
                    scan.tables.insert(table, TableData::Failed("no".into()));
                    continue;
                }
                _ => {
                    scan.tables.insert(table, TableData::Rows(Vec::new()));
                }
            }
            for _ in 0..self.below(6) {
                scan.push(self.row(table));
            }
        }
        scan.normalise();
        scan
    }

    fn row(&mut self, table: TableId) -> Row {
        let mut row = Row::new(table);
        let spec = table.table();
        for (i, column) in spec.columns.iter().enumerate() {
            if i >= spec.key && self.below(3) == 0 {
                continue;
            }
            row.values[i] = match column.ty {
                Type::Str => Value::Str(self.string(table, i).into()),
                Type::Int => Value::Int(self.pick(&INTS)),
                Type::Mode => Value::Int(self.pick(&[0, 0o640, 0o600, 0o4755])),
                Type::Bool => Value::Bool(self.below(2) == 1),
            };
        }
        // A row says something, or why it does not.
        if self.below(6) == 0 || row.values.iter().all(|v| *v == Value::Null) {
            row.error = Some("denied".into());
        }
        row
    }

    /// A pack of a few random rules.
    pub(crate) fn pack(&mut self, rules: usize) -> RulePack {
        let rules = (0..rules)
            .map(|i| {
                let depth = self.below(4) + 1;
                let check = self.condition(depth, &mut Vec::new());
                let when = (self.below(3) == 0).then(|| self.condition(2, &mut Vec::new()));
                Rule {
                    id: format!("rule-{i}"),
                    title: "t".into(),
                    severity: Severity::High,
                    platforms: if self.below(4) == 0 { vec![Platform { id: "a".into(), version: None }] } else { Vec::new() },
                    controls: Default::default(),
                    rationale: "r".into(),
                    remediation: "r".into(),
                    fix: None,
                    when_text: None,
                    check_text: String::new(),
                    when,
                    check,
                    missing: self.pick(&[Verdict::Fail, Verdict::Pass, Verdict::NotApplicable, Verdict::Unknown]),
                    collect: Collect::new(),
                    tests: Vec::new(),
                }
            })
            .collect();
        RulePack {
            id: "random".into(),
            title: String::new(),
            version: "1".into(),
            description: String::new(),
            benchmarks: Default::default(),
            rules,
        }
    }
}

fn small(n: usize) -> u8 {
    u8::try_from(n).expect("small")
}
