//! A typed condition as text again, in the language it was written in: what `rules explain` says of the parts of a check.
//!
//! Macros stay unrolled and constants folded, so it is not the text that was read; reading it gives the same condition.

use std::fmt::{self, Display, Formatter};

use super::ir::{Arith, Cmp, Func, Ir, Quantifier};
use crate::scan::table::{TableId, Type};

/// How tightly an operator binds; operands that bind less get parentheses.
mod level {
    pub(super) const SELECT: u8 = 0;
    pub(super) const OR: u8 = 1;
    pub(super) const AND: u8 = 2;
    pub(super) const COMPARE: u8 = 3;
    pub(super) const ADD: u8 = 4;
    pub(super) const MULTIPLY: u8 = 5;
    pub(super) const UNARY: u8 = 6;
    pub(super) const POSTFIX: u8 = 7;
}

impl Display for Ir {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        show(self, level::SELECT, f)
    }
}

fn show(ir: &Ir, least: u8, f: &mut Formatter<'_>) -> fmt::Result {
    let level = level_of(ir);
    if level < least {
        f.write_str("(")?;
        bare(ir, level, f)?;
        return f.write_str(")");
    }
    bare(ir, level, f)
}

fn level_of(ir: &Ir) -> u8 {
    match ir {
        Ir::Select(..) => level::SELECT,
        Ir::Or(_) => level::OR,
        Ir::And(_) => level::AND,
        Ir::Compare(..) | Ir::In(..) => level::COMPARE,
        Ir::Arith(Arith::Add | Arith::Sub, ..) | Ir::Call(Func::Concat, _) => level::ADD,
        Ir::Arith(..) => level::MULTIPLY,
        Ir::Not(_) | Ir::Negate(_) => level::UNARY,
        _ => level::POSTFIX,
    }
}

fn bare(ir: &Ir, level: u8, f: &mut Formatter<'_>) -> fmt::Result {
    match ir {
        Ir::Bool(b) => write!(f, "{b}"),
        Ir::Int(n) => write!(f, "{n}"),
        Ir::Str(s) => quoted(s, f),
        Ir::List(items) => {
            f.write_str("[")?;
            joined(items, ", ", level::SELECT, f)?;
            f.write_str("]")
        }
        Ir::Column { slot, table, column } => write!(f, "{}.{}", Variable(*slot), column_name(*table, *column)),
        Ir::HasColumn { slot, table, column } => write!(f, "has({}.{})", Variable(*slot), column_name(*table, *column)),
        Ir::Lookup { table, key, column } => {
            keyed(*table, key, f)?;
            if !key.is_empty() && table.table().value == Some(column_name(*table, *column)) {
                return Ok(());
            }
            write!(f, ".{}", column_name(*table, *column))
        }
        Ir::HasRow { table, key } => {
            f.write_str("has(")?;
            keyed(*table, key, f)?;
            f.write_str(")")
        }
        Ir::HasCell { table, key, column } => {
            f.write_str("has(")?;
            keyed(*table, key, f)?;
            write!(f, ".{})", column_name(*table, *column))
        }
        Ir::Call(func, args) => call(*func, args, f),
        Ir::Matches(text, pattern) => {
            show(text, level::POSTFIX, f)?;
            f.write_str(".matches(")?;
            quoted(pattern, f)?;
            f.write_str(")")
        }
        Ir::Version(scheme, text) => match &**text {
            Ir::Str(text) => {
                write!(f, "{}(", scheme.name())?;
                quoted(text, f)?;
                f.write_str(")")
            }
            text => {
                show(text, level::POSTFIX, f)?;
                write!(f, ".{}()", scheme.name())
            }
        },
        Ir::Quant { quantifier, table, slot, body, .. } => {
            let name = match quantifier {
                Quantifier::Exists => "exists",
                Quantifier::All => "all",
                Quantifier::ExistsOne => "exists_one",
            };
            write!(f, "{}.{name}({}, {body})", table.name(), Variable(*slot))
        }
        Ir::Count { table, body, .. } if **body == Ir::Bool(true) => write!(f, "{}.size()", table.name()),
        Ir::Count { table, slot, body, .. } => write!(f, "{}.filter({}, {body}).size()", table.name(), Variable(*slot)),
        operator => operation(operator, level, f),
    }
}

/// What stands between, before or after its operands.
fn operation(ir: &Ir, level: u8, f: &mut Formatter<'_>) -> fmt::Result {
    match ir {
        Ir::Not(a) => prefixed("!", a, f),
        Ir::Negate(a) => prefixed("-", a, f),
        Ir::And(items) if items.is_empty() => f.write_str("true"),
        Ir::Or(items) if items.is_empty() => f.write_str("false"),
        Ir::And(items) => joined(items, " && ", level + 1, f),
        Ir::Or(items) => joined(items, " || ", level + 1, f),
        Ir::Select(condition, then, otherwise) => {
            show(condition, level::OR, f)?;
            f.write_str(" ? ")?;
            show(then, level::OR, f)?;
            f.write_str(" : ")?;
            show(otherwise, level::SELECT, f)
        }
        Ir::Compare(cmp, a, b) => {
            operand(a, b, f)?;
            write!(f, " {} ", symbol(*cmp))?;
            operand(b, a, f)
        }
        Ir::In(item, list) => {
            show(item, level + 1, f)?;
            f.write_str(" in ")?;
            show(list, level + 1, f)
        }
        Ir::Arith(arith, a, b) => {
            show(a, level, f)?;
            write!(f, " {} ", arith_symbol(*arith))?;
            show(b, level + 1, f)
        }
        _ => Err(fmt::Error),
    }
}

fn call(func: Func, args: &[Ir], f: &mut Formatter<'_>) -> fmt::Result {
    let method = match func {
        Func::Concat => return joined(args, " + ", level::MULTIPLY, f),
        Func::ModeOf | Func::IntOf => {
            f.write_str(if func == Func::ModeOf { "mode(" } else { "int(" })?;
            joined(args, ", ", level::SELECT, f)?;
            return f.write_str(")");
        }
        Func::AtMost => "atMost",
        Func::StartsWith => "startsWith",
        Func::EndsWith => "endsWith",
        Func::Contains => "contains",
        Func::Lower => "lowerAscii",
        Func::Trim => "trim",
        Func::StrSize | Func::ListSize => "size",
        Func::Split => "split",
    };
    let Some((of, rest)) = args.split_first() else { return Err(fmt::Error) };
    show(of, level::POSTFIX, f)?;
    write!(f, ".{method}(")?;
    match rest {
        // The bits of a mode are octal for people.
        [Ir::Int(bits)] if func == Func::AtMost => write!(f, "\"{bits:04o}\"")?,
        rest => joined(rest, ", ", level::SELECT, f)?,
    }
    f.write_str(")")
}

/// One side of a comparison; a number that is compared with a file mode is octal.
fn operand(ir: &Ir, other: &Ir, f: &mut Formatter<'_>) -> fmt::Result {
    let of_mode = match other {
        Ir::Column { table, column, .. } | Ir::Lookup { table, column, .. } => {
            table.table().columns.get(usize::from(*column)).is_some_and(|c| c.ty == Type::Mode)
        }
        _ => false,
    };
    match ir {
        Ir::Int(bits) if of_mode => write!(f, "mode(\"{bits:04o}\")"),
        ir => show(ir, level::ADD, f),
    }
}

fn prefixed(sign: &str, ir: &Ir, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(sign)?;
    show(ir, level::UNARY, f)
}

fn joined(items: &[Ir], between: &str, least: u8, f: &mut Formatter<'_>) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        show(item, least, f)?;
    }
    Ok(())
}

fn keyed(table: TableId, key: &[Ir], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(table.name())?;
    key.iter().try_for_each(|part| write!(f, "[{part}]"))
}

/// JSON's strings are strings of the language.
fn quoted(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

fn column_name(table: TableId, column: u8) -> &'static str {
    table.table().columns.get(usize::from(column)).map_or("?", |c| c.name)
}

/// The row variable of a quantifier.
struct Variable(u8);

impl Display for Variable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("r"),
            n => write!(f, "r{n}"),
        }
    }
}

fn symbol(cmp: Cmp) -> &'static str {
    match cmp {
        Cmp::Eq => "==",
        Cmp::Ne => "!=",
        Cmp::Lt => "<",
        Cmp::Le => "<=",
        Cmp::Gt => ">",
        Cmp::Ge => ">=",
    }
}

fn arith_symbol(arith: Arith) -> &'static str {
    match arith {
        Arith::Add => "+",
        Arith::Sub => "-",
        Arith::Mul => "*",
        Arith::Div => "/",
        Arith::Rem => "%",
    }
}

#[cfg(test)]
mod tests {
    use crate::limits::Limits;
    use crate::rule::Collect;
    use crate::rule::check::check;

    fn again(text: &str, collect: &Collect) -> String {
        let ir = check(text, collect).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let shown = ir.to_string();
        let read = check(&shown, collect).unwrap_or_else(|e| panic!("{shown}: {e:?}"));
        assert_eq!(read, ir, "{text}\n{shown}");
        shown
    }

    #[test]
    fn what_is_shown_reads_as_the_same() {
        for (text, shown) in [
            (r#"package.exists(p, p.name == "telnetd" && p.version.dpkg() < dpkg("0.17"))"#, None),
            (r#"file["/etc/shadow"].mode.atMost("0640") || file["/a"].mode == mode("0600")"#, None),
            (r#"!(os.id == "debian" && has(os.version)) ? user.all(u, u.uid != 0 || u.name == "root") : user.size() > 3"#, None),
            (r#"int(config["/etc/login.defs"]["A"]) - (3 - 2 * 5) <= 365"#, None),
            (r#"user.filter(u, group.exists(g, g.gid == u.gid)).size() == 1"#, None),
            (r#""nodev" in mount["/tmp"].options.split(",")"#, Some(r#""nodev" in mount["/tmp"].options.split(",")"#)),
            (r#"["a", "b"].all(i, sysctl["net." + i + ".x"] == "0")"#, Some(r#"sysctl["net.a.x"] == "0" && sysctl["net.b.x"] == "0""#)),
        ] {
            let got = again(text, &Collect::new());
            assert_eq!(shown.unwrap_or(&got), got);
        }
    }

    #[test]
    fn the_shipped_rules_are_shown() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
        for pack in ["linux-server", "windows-server"] {
            // A pack that has problems is another test's matter.
            let (pack, _) = crate::rule::read_folder(&root.join(pack), &Limits::default());
            for rule in pack.iter().flat_map(|p| &p.rules) {
                again(&rule.check_text, &rule.collect);
                rule.when_text.iter().for_each(|w| drop(again(w, &rule.collect)));
            }
        }
    }
}
