use super::*;
use crate::rule::ir::{Arith, Cmp, Quantifier};
use crate::scan::table::TableId;
use crate::version::Scheme;

fn collects() -> Collect {
    let table = |name| TableId::by_name(name).unwrap();
    [(table("text"), vec!["/etc/audit/*.rules".to_owned()])].into()
}

fn ir(text: &str) -> Ir {
    check(text, &collects()).unwrap_or_else(|p| panic!("{text}: {p:?}"))
}

fn lookup(table: &str, key: &[&str], column: &str) -> Ir {
    let table = TableId::by_name(table).unwrap();
    let column = u8::try_from(table.table().column(column).unwrap()).unwrap();
    Ir::Lookup { table, key: key.iter().map(|k| Ir::Str((*k).into())).collect(), column }
}

fn equals(a: Ir, b: &str) -> Ir {
    Ir::Compare(Cmp::Eq, Box::new(a), Box::new(Ir::Str(b.into())))
}

#[test]
fn places_become_lookups() {
    assert_eq!(ir(r#"sysctl["a"] == "0""#), equals(lookup("sysctl", &["a"], "value"), "0"));
    assert_eq!(ir(r#"config["/a"]["K"] == "0""#), equals(lookup("config", &["/a", "K"], "value"), "0"));
    assert_eq!(ir(r#"service["SSH.service"].start == "x""#), equals(lookup("service", &["ssh.service"], "start"), "x"));
    assert_eq!(ir(r#"os.id == "debian""#), equals(lookup("os", &[], "id"), "debian"));
    assert_eq!(ir(r#"registry[r"HKLM\A"]["B"] == "0""#), equals(lookup("registry", &[r"hklm\a", "b"], "value"), "0"));
    let sysctl = TableId::by_name("sysctl").unwrap();
    let row = Ir::HasRow { table: sysctl, key: vec![Ir::Str("a".into())] };
    assert_eq!(ir(r#"has(sysctl["a"])"#), row);
    assert_eq!(ir(r#""a" in sysctl"#), row);
    assert!(matches!(ir(r#"has(file["/a"].mode)"#), Ir::HasCell { .. }));
    assert!(matches!(ir("user.exists(u, has(u.hash))"), Ir::Quant { body, .. } if matches!(*body, Ir::HasColumn { slot: 0, .. })));
}

#[test]
fn lists_are_written_out() {
    let one = |i: &str| equals(lookup("sysctl", &[&format!("net.{i}.x")], "value"), "0");
    assert_eq!(ir(r#"["a", "b"].all(i, sysctl["net." + i + ".x"] == "0")"#), Ir::And(vec![one("a"), one("b")]));
    assert_eq!(ir(r#"["a", "b"].exists(i, sysctl["net." + i + ".x"] == "0")"#), Ir::Or(vec![one("a"), one("b")]));
    assert_eq!(ir(r#"["a"].exists(i, sysctl["net." + i + ".x"] == "0")"#), one("a"));
    let nested = ir(r#"["a", "b"].all(i, ["c", "d"].all(j, sysctl[i + j] == "0")) && sysctl["e"] == "0""#);
    assert!(matches!(nested, Ir::And(parts) if parts.len() == 5), "flat");
}

#[test]
fn quantifiers_count_their_rows() {
    let Ir::Quant { slot: 0, body, quantifier: Quantifier::All, .. } = ir("user.all(u, group.exists(g, g.gid == u.gid))") else {
        panic!("quantifier")
    };
    let Ir::Quant { slot: 1, body, .. } = *body else { panic!("inner") };
    let Ir::Compare(_, g, u) = *body else { panic!("comparison") };
    assert!(matches!((*g, *u), (Ir::Column { slot: 1, .. }, Ir::Column { slot: 0, .. })));
    assert!(matches!(ir("package.size() > 0"), Ir::Compare(_, c, _) if matches!(*c, Ir::Count { slot: 0, .. })));
    let counted = ir("user.all(u, user.filter(v, v.uid == u.uid).size() == 1)");
    let Ir::Quant { body, .. } = counted else { panic!("quantifier") };
    assert!(matches!(*body, Ir::Compare(_, c, _) if matches!(*c, Ir::Count { slot: 1, .. })));
    let Ir::Quant { only, .. } = ir(r#"text.exists(t, t.content.contains("x"))"#) else { panic!("quantifier") };
    assert_eq!(only, ["/etc/audit/*.rules".into()]);
}

#[test]
fn modes_and_versions_are_constants() {
    let mode = lookup("file", &["/a"], "mode");
    assert_eq!(ir(r#"file["/a"].mode.atMost("0640")"#), Ir::Call(Func::AtMost, vec![mode.clone(), Ir::Int(0o640)]));
    assert_eq!(ir(r#"file["/a"].mode == mode("0600")"#), Ir::Compare(Cmp::Eq, Box::new(mode), Box::new(Ir::Int(0o600))));
    assert!(check(r#"package.exists(p, p.version.dpkg() < dpkg("3.0.15-1"))"#, &collects()).is_ok());
    for scheme in Scheme::ALL {
        let text = format!(r#"package.exists(p, p.version.{scheme}() < {scheme}("2024.1"))"#);
        assert!(check(&text, &collects()).is_ok(), "{text}");
    }
    assert!(check(r#"user.all(u, file[u.home].mode.atMost("0750"))"#, &collects()).is_err(), "no collect for file");
    assert!(check(r#"user.all(u, service[u.name].state == "running")"#, &collects()).is_ok(), "joins are allowed");
}

#[test]
fn what_missing_is_for() {
    for (text, expected) in [
        (r#"sysctl["a"] == "0""#, MissingUse::Key),
        (r#"has(sysctl["a"]) && os.id == "x""#, MissingUse::Column),
        (r#"has(sysctl["a"])"#, MissingUse::Never),
        ("user.all(u, u.uid > 0)", MissingUse::Column),
        (r#"user.exists(u, u.name == "x")"#, MissingUse::Never),
        ("package.size() > 0", MissingUse::Never),
        (r#"user.all(u, service[u.name].state == "x")"#, MissingUse::Key),
    ] {
        assert_eq!(missing_use(&ir(text)), expected, "{text}");
    }
}

/// Expression, byte of the problem, code, part of the message.
const PROBLEMS: &[(&str, usize, Code, &str)] = &[
    (r#"pakage.exists(p, true)"#, 0, Code::Name, "no table or variable `pakage`; did you mean `package`?"),
    (r#"user.exists(u, u.nmae == "x")"#, 17, Code::Name, "table `user` has no column `nmae`; did you mean `name`?"),
    (r#"user.exists(u, u.zzzzzz == "x")"#, 17, Code::Name, "it has name, uid"),
    (r#"os.id.startWith("x")"#, 6, Code::Name, "did you mean `startsWith`?"),
    (r#"lowerAscii(os.id) == "x""#, 0, Code::Name, "write `x.lowerAscii(...)`"),
    (r#"os.id.int() == 1"#, 6, Code::Name, "write `int(x)`"),
    (r#"sysctl["a"] == 1"#, 0, Code::Type, "column `value` is a string, compare with \"1\" or use int(...)"),
    (r#"1 == sysctl["a"]"#, 0, Code::Type, "column `value` is a string, compare with \"1\" or use int(...)"),
    (r#"user.all(u, u.uid == "0")"#, 12, Code::Type, "column `uid` is an int, compare with 0 without quotes"),
    (r#"file["/a"].mode == "0640""#, 0, Code::Type, "is a file mode, compare with mode(\"0640\")"),
    (r#"file["/a"].mode == 640"#, 0, Code::Type, "`640` is decimal, compare with mode(\"0640\")"),
    (r#"file["/a"].mode.atMost(640)"#, 23, Code::Type, ".atMost(\"0640\")"),
    (r#"file["/a"].mode.atMost("999")"#, 23, Code::Value, "is no file mode"),
    (r#"config["/a"]["UMASK"].atMost("027")"#, 0, Code::Type, "use mode(...) on it"),
    (r#"kernel_module["a"].loaded == "true""#, 0, Code::Type, "column `loaded` is a bool, compare with true without quotes"),
    (r#"package.exists(p, p.version < "2")"#, 18, Code::Type, "`.version.dpkg() < dpkg("),
    (r#"package.exists(p, p.version.dpkg() < "2")"#, 18, Code::Type, "this is a dpkg version, compare with dpkg(\"2\")"),
    (r#"package.exists(p, p.version.dpkg() < rpm("2"))"#, 18, Code::Type, "dpkg version and this is an rpm version"),
    (r#"sysctl["a"]"#, 0, Code::Type, "must be true or false, this is a string"),
    (r#"sysctl["a"] && true"#, 0, Code::Type, "`&&` needs a bool, but column `value` is a string, compare it"),
    (r#"sysctl.a == "0""#, 0, Code::Type, "has many rows, write `sysctl[\"key\"].a`"),
    (r#"sysctl == "0""#, 0, Code::Type, "`sysctl` is a table, write `sysctl[\"key\"]`"),
    (r#"file["/a"] == "0""#, 0, Code::Type, "this is a row of `file`, read a column"),
    (r#"config["/a"] == "0""#, 0, Code::Type, "table `config` has 2 keys"),
    (r#"package["a"].version == "0""#, 0, Code::Type, "has no key, write `package.exists(r, r.name == ...)`"),
    (r#"os["a"] == "0""#, 0, Code::Type, "has one row, write `os.column`"),
    (r#"os.exists(o, true)"#, 0, Code::Type, "has one row"),
    (r#"sysctl["a"]["b"] == "0""#, 12, Code::Type, "no further key"),
    (r#"mount["/tmp"].options.split(",")[0] == "x""#, 0, Code::Type, "only tables take an index"),
    (r#""x" in mount["/tmp"].options"#, 7, Code::Type, ".split("),
    (r#""x" in package"#, 0, Code::Type, "tables with one key"),
    (r#"sysctl["a"] in [1, 2]"#, 0, Code::Type, "the list holds ints"),
    (r#"os.id in ["a", 1]"#, 15, Code::Type, "the list begins with a string, this is an int"),
    (r#"os.id in [os.name]"#, 10, Code::Type, "lists hold constants only"),
    (r#"os.id in []"#, 9, Code::Value, "empty list"),
    (r#"os.id.matches("(")"#, 14, Code::Regex, "does not compile: unclosed group"),
    (r#"os.id.matches("(?=a)")"#, 14, Code::Regex, "look-around"),
    (r#"os.id.matches("\\w{9999}{9999}")"#, 14, Code::Regex, "does not compile"),
    (r#"os.id.matches(os.name)"#, 14, Code::Type, "must be a constant"),
    (r#"user.exists(file, true)"#, 12, Code::Name, "`file` is a table"),
    (r#"user.exists(u, user.exists(u, true))"#, 27, Code::Name, "used around here"),
    (r#"user.exists(u.name, true)"#, 12, Code::Syntax, "a name for the row"),
    (r#"user.exists(u)"#, 5, Code::Type, "takes 2 arguments, not 1"),
    (r#"user.filter(u, true).exists(u, true)"#, 5, Code::Type, "`filter` before `exists` is not supported"),
    (r#"user.filter(u, true)"#, 5, Code::Type, "can only be counted"),
    (r#"user.map(u, u.name) == "x""#, 5, Code::Name, "`map` is not supported"),
    (r#"mount["/"].options.split(",").exists(o, true)"#, 0, Code::Type, "asks tables and lists of constants"),
    (r#"file.all(f, f.owner == "root")"#, 0, Code::Collect, "say under `collect`"),
    (r#"user.all(u, has(file[u.home]))"#, 21, Code::Collect, "known only when a scan is judged"),
    (r#"has(file["etc/passwd"])"#, 9, Code::Value, "not an absolute path"),
    (r#"has(file["/etc/*"])"#, 9, Code::Value, "patterns go under `collect`"),
    (r#"has(registry["HKEY_LOCAL_MACHINE\\A"]["b"])"#, 13, Code::Value, "write `hklm\\...`"),
    (r#"service.exists(s, s.name == "SSH")"#, 28, Code::Value, "kept in lower case, write \"ssh\""),
    (r#"has(sysctl)"#, 4, Code::Type, "write `has(sysctl[\"key\"])`"),
    (r#"has(os.id == "a")"#, 4, Code::Type, "this is a value"),
    (r#"os.id == null"#, 9, Code::Type, "`null` is not supported"),
    (r#"os.id == yes"#, 9, Code::Name, "a string needs quotes"),
    (r#"int("x") == 1"#, 0, Code::Value, "is no number"),
    (r#"user.all(u, int(u.uid) == 1)"#, 12, Code::Type, "leave out int(...)"),
    (r#"string(1) == "1""#, 0, Code::Name, "`string(...)` is not supported"),
    (r#"os.id + 1 == "a""#, 0, Code::Type, "`+` does not take a string and an int"),
    (r#"1 / 0 == 1"#, 4, Code::Value, "division by zero"),
    (r#"true ? 1 : "a""#, 0, Code::Type, "both sides of `:` need one type"),
];

#[test]
fn problems_are_told_where_they_are() {
    for (text, start, code, says) in PROBLEMS {
        let problems = check(text, &Collect::new()).expect_err(text);
        let [problem] = problems.as_slice() else { panic!("{text}: {problems:?}") };
        assert!(problem.message.contains(says), "{text}: {}", problem.message);
        assert_eq!((problem.span.start, problem.code), (*start, *code), "{text}: {}", problem.message);
    }
}

#[test]
fn all_problems_are_told_once() {
    let text = r#"sysctl["a"] == 1 && usr.size() > 0 && ["x", "y"].all(i, os.idd == i) || os.id.matches("(")"#;
    let codes: Vec<_> = check(text, &Collect::new()).unwrap_err().into_iter().map(|p| (p.span.start, p.code)).collect();
    assert_eq!(codes, [(0, Code::Type), (20, Code::Name), (59, Code::Name), (86, Code::Regex)]);
}

#[test]
fn lists_in_lists_are_bounded() {
    let list = format!("[{}]", vec!["\"a\""; 40].join(","));
    let text = format!("{list}.all(i, {list}.all(j, {list}.all(k, sysctl[i + j + k] == \"0\")))");
    let problems = check(&text, &Collect::new()).unwrap_err();
    assert_eq!(problems.iter().map(|p| p.code).collect::<Vec<_>>(), [Code::Limit]);
}

/// What a constant expression comes to; the tests' own small reading of `Ir`.
#[derive(Clone, Debug, PartialEq)]
enum Constant {
    Bool(bool),
    Int(i64),
    Str(String),
    List(Vec<Constant>),
}

fn evaluate(ir: &Ir) -> Option<Constant> {
    use Constant::{Bool, Int, List, Str};
    let boolean = |ir: &Ir| match evaluate(ir) {
        Some(Bool(b)) => Some(b),
        _ => None,
    };
    Some(match ir {
        Ir::Bool(b) => Bool(*b),
        Ir::Int(n) => Int(*n),
        Ir::Str(s) => Str(s.to_string()),
        Ir::List(items) => List(items.iter().map(evaluate).collect::<Option<_>>()?),
        Ir::Not(a) => Bool(!boolean(a)?),
        // `false && error` is false, as in CEL.
        Ir::And(parts) => Bool(decide(parts.iter().map(boolean), false)?),
        Ir::Or(parts) => Bool(decide(parts.iter().map(boolean), true)?),
        Ir::Select(a, b, c) => evaluate(if boolean(a)? { b } else { c })?,
        Ir::Negate(a) => match evaluate(a)? {
            Int(n) => Int(n.checked_neg()?),
            _ => return None,
        },
        Ir::Compare(op, a, b) => Bool(compare(*op, &evaluate(a)?, &evaluate(b)?)?),
        Ir::In(a, b) => match evaluate(b)? {
            List(items) => Bool(items.contains(&evaluate(a)?)),
            _ => return None,
        },
        Ir::Arith(op, a, b) => match (evaluate(a)?, evaluate(b)?) {
            (Int(a), Int(b)) => Int(match op {
                Arith::Add => a.checked_add(b)?,
                Arith::Sub => a.checked_sub(b)?,
                Arith::Mul => a.checked_mul(b)?,
                Arith::Div => a.checked_div(b)?,
                Arith::Rem => a.checked_rem(b)?,
            }),
            _ => return None,
        },
        Ir::Call(func, args) => call(*func, &args.iter().map(evaluate).collect::<Option<Vec<_>>>()?)?,
        Ir::Matches(a, pattern) => match evaluate(a)? {
            Str(text) => Bool(compile_pattern(pattern).ok()?.is_match(text.as_bytes())),
            _ => return None,
        },
        _ => return None,
    })
}

fn decide(parts: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let parts: Vec<_> = parts.collect();
    if parts.contains(&Some(decisive)) {
        return Some(decisive);
    }
    (!parts.contains(&None)).then_some(!decisive)
}

fn compare(op: Cmp, a: &Constant, b: &Constant) -> Option<bool> {
    let order = match (a, b) {
        (Constant::Bool(a), Constant::Bool(b)) => a.cmp(b),
        (Constant::Int(a), Constant::Int(b)) => a.cmp(b),
        (Constant::Str(a), Constant::Str(b)) => a.cmp(b),
        _ => return None,
    };
    Some(match op {
        Cmp::Eq => order.is_eq(),
        Cmp::Ne => order.is_ne(),
        Cmp::Lt => order.is_lt(),
        Cmp::Le => order.is_le(),
        Cmp::Gt => order.is_gt(),
        Cmp::Ge => order.is_ge(),
    })
}

fn call(func: Func, args: &[Constant]) -> Option<Constant> {
    use Constant::{Bool, Int, List, Str};
    Some(match (func, args) {
        (Func::StartsWith, [Str(a), Str(b)]) => Bool(a.starts_with(b)),
        (Func::EndsWith, [Str(a), Str(b)]) => Bool(a.ends_with(b)),
        (Func::Contains, [Str(a), Str(b)]) => Bool(a.contains(b.as_str())),
        (Func::Concat, [Str(a), Str(b)]) => Str(format!("{a}{b}")),
        (Func::StrSize, [Str(a)]) => Int(i64::try_from(a.chars().count()).ok()?),
        (Func::ListSize, [List(a)]) => Int(i64::try_from(a.len()).ok()?),
        (Func::IntOf, [Str(a)]) => Int(a.parse().ok()?),
        _ => return None,
    })
}

fn theirs(text: &str) -> Option<Constant> {
    fn convert(value: cel::Value) -> Option<Constant> {
        Some(match value {
            cel::Value::Bool(b) => Constant::Bool(b),
            cel::Value::Int(n) => Constant::Int(n),
            cel::Value::String(s) => Constant::Str(s.to_string()),
            _ => return None,
        })
    }
    use ::cel;
    convert(cel::Program::compile(text).ok()?.execute(&cel::Context::default()).ok()?)
}

fn ours(text: &str) -> Option<Constant> {
    let (ir, ..) = value(text, &Collect::new()).unwrap_or_else(|p| panic!("{text}: {p:?}"));
    evaluate(&ir)
}

#[test]
fn constants_come_to_what_another_cel_says() {
    for text in [
        "1 + 2 * 3 - 4 / 2",
        "(1 + 2) * 3 % 4",
        "-7 / 2",
        "-7 % 3",
        "7 - 2 - 1",
        "0x10 + 1",
        "-9223372036854775808 < 0",
        "9223372036854775807 + 1 > 0",
        "1 < 2 == true",
        "1 <= 1 && 2 >= 3 || !false",
        "true || 1 / (1 - 1) > 0",
        "1 / (1 - 1) > 0 || true",
        "false && 1 / (1 - 1) > 0",
        "1 / (1 - 1) > 0 && false",
        "true ? 1 : 2",
        "false ? 1 : true ? 2 : 3",
        "\"a\" + 'b' + \"\"\"c\"\"\"",
        r#""\x41\u00e9\n\t\101" + r"\n""#,
        r#""abc".startsWith("a") && "abc".endsWith("c") && "abc".contains("b")"#,
        r#""abc".size() + size("é")"#,
        r#"[1, 2, 3].size()"#,
        r#""a" < "b" && "a" != "b" && "B" <= "a""#,
        r#""b" in ["a", "b"] && !(3 in [1, 2])"#,
        r#"[1, 2, 3].all(i, i > 0) && ["a", "b"].exists(s, s == "b")"#,
        r#"["a", "b"].all(i, ["c"].exists(j, i + j != "bc"))"#,
        r#""abc".matches("^a.c$") && !"abc".matches("^b")"#,
        r#"int("12") + int("-3")"#,
        "-(5) + -(-2)",
        "!(1 > 2) && !!true // and a comment",
    ] {
        assert_eq!(ours(text), theirs(text), "{text}");
    }
}

mod random {
    use super::*;
    use proptest::prelude::*;

    fn int() -> impl Strategy<Value = String> {
        let leaf = (-20i64..20).prop_map(|n| if n < 0 { format!("({n})") } else { n.to_string() });
        leaf.prop_recursive(3, 12, 2, |inner| {
            (inner.clone(), prop_oneof![Just("+"), Just("-"), Just("*"), Just("/"), Just("%")], inner, any::<bool>())
                .prop_filter("a constant zero is refused", |(_, op, b, _)| !(matches!(*op, "/" | "%") && b == "0"))
                .prop_map(|(a, op, b, brackets)| if brackets { format!("({a} {op} {b})") } else { format!("{a} {op} {b}") })
        })
    }

    fn boolean() -> impl Strategy<Value = String> {
        let comparison = prop_oneof![Just("=="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
        let leaf = prop_oneof![
            Just("true".to_owned()),
            Just("false".to_owned()),
            (int(), comparison, int()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                (inner.clone(), prop_oneof![Just("&&"), Just("||")], inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
                inner.clone().prop_map(|a| format!("!({a})")),
                (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn random_constants_come_to_what_another_cel_says(text in boolean()) {
            prop_assume!(!text.contains("/ 0") && !text.contains("% 0"));
            prop_assert_eq!(ours(&text), theirs(&text));
        }

        /// A good expression with one byte replaced: problems within the text, and no panic.
        #[test]
        fn mutated_expressions_are_judged_calmly(at in 0usize..400, with in "[ -~]|ü", drop in 0usize..3) {
            let text = r#"["all", "default"].all(i, sysctl["net." + i + ".x"] == "0") && package.exists(p, p.version.dpkg() < dpkg("1:2-3"))
                || (user.filter(u, u.uid == 0).size() == 1 ? has(file["/etc/shadow"].mode) : file["/etc/shadow"].mode.atMost("0640"))
                && os.id in ["a", "b"] && !os.name.matches(r"^\w+$") && int(config["/a"]["b"]) * -2 + 1 <= 365"#;
            let at = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            let end = (at + drop).min(text.len());
            let mutated = format!("{}{with}{}", text.get(..at).unwrap(), text.get(end..).unwrap_or_default());
            if let Err(problems) = check(&mutated, &Collect::new()) {
                prop_assert!(!problems.is_empty());
                prop_assert!(problems.iter().all(|p| p.span.start <= p.span.end && p.span.end <= mutated.len()), "{}: {:?}", mutated, problems);
            }
        }
    }
}
