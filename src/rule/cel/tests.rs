use super::*;
use proptest::prelude::*;

/// The tree with every operator in brackets.
fn show(expr: &Expr) -> String {
    let join = |items: &[Expr], by: &str| items.iter().map(show).collect::<Vec<_>>().join(by);
    match &expr.node {
        Node::Null => "null".into(),
        Node::Bool(b) => b.to_string(),
        Node::Int(n) => n.to_string(),
        Node::Str(s) => format!("{s:?}"),
        Node::Ident(name) => name.clone(),
        Node::List(items) => format!("[{}]", join(items, ", ")),
        Node::Select(target, name) => format!("{}.{}", show(target), name.text),
        Node::Index(target, index) => format!("{}[{}]", show(target), show(index)),
        Node::Call(target, name, args) => {
            let target = target.as_ref().map(|t| show(t) + ".").unwrap_or_default();
            format!("{target}{}({})", name.text, join(args, ", "))
        }
        Node::Not(inner) => format!("!{}", show(inner)),
        Node::Negate(inner) => format!("-{}", show(inner)),
        Node::Arith(op, a, b) => format!("({} {op:?} {})", show(a), show(b)),
        Node::Compare(op, a, b) => format!("({} {op:?} {})", show(a), show(b)),
        Node::In(a, b) => format!("({} in {})", show(a), show(b)),
        Node::And(parts) => format!("({})", join(parts, " && ")),
        Node::Or(parts) => format!("({})", join(parts, " || ")),
        Node::Ternary(a, b, c) => format!("({} ? {} : {})", show(a), show(b), show(c)),
    }
}

#[test]
fn precedence_and_literals() {
    for (text, expected) in [
        ("a || b && c || d", "(a || (b && c) || d)"),
        ("a && (b && c)", "(a && (b && c))"),
        ("1 + 2 * 3 - 4", "((1 Add (2 Mul 3)) Sub 4)"),
        ("-1 - -x", "(-1 Sub -x)"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("!a.b && !!c", "(!a.b && !!c)"),
        ("a ? b : c ? d : e", "(a ? b : (c ? d : e))"),
        ("a < b == c", "((a Lt b) Eq c)"),
        ("a in b.c[\"d\"].split(\",\")", "(a in b.c[\"d\"].split(\",\"))"),
        ("has(a.b) // why\n || f()", "(has(a.b) || f())"),
        ("[1, 0x1F, 'x',]", "[1, 31, \"x\"]"),
        (r#"r"\d\"[0]"#, r#""\\d\\"[0]"#),
        (r#"'\x41\u00e9\U0001F600\101\n\\\''"#, r#""Aé😀A\n\\'""#),
        ("'''it's\n\"so\"'''", r#""it's\n\"so\"""#),
        (r#""""a"b""""#, r#""a\"b""#),
        ("package.exists(p, p.name == \"x\")", "package.exists(p, (p.name Eq \"x\"))"),
    ] {
        assert_eq!(parse(text).map(|e| show(&e)).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn problems_have_a_place_and_advice() {
    for (text, start, says) in [
        ("", 0, "ends where a value is expected"),
        ("a &&", 4, "ends where a value is expected"),
        ("a = 1", 2, "write `==`"),
        ("a & b", 2, "write `&&`"),
        ("a and b", 2, "write `&&`"),
        ("not a", 0, "write `!`"),
        ("a b", 2, "`b` where an operator or the end is expected"),
        ("1.5", 0, "fraction or exponent"),
        ("1e5", 0, "fraction or exponent"),
        ("12u", 0, "leave out the `u`"),
        ("x == 0640", 5, "mode(\"0640\")"),
        ("99999999999999999999", 0, "does not fit 64 bits"),
        ("b'x'", 0, "bytes are not supported"),
        ("{'a': 1}", 0, "maps (`{...}`) are not supported"),
        ("Foo{a: 1}", 3, "messages (`Type{...}`) are not supported"),
        ("a.matches(\"\\.\")", 11, "unknown escape `\\.`"),
        ("a == \"x", 5, "the string is not closed"),
        ("a == \"x\ny\"", 5, "not closed on its line"),
        ("'\\ud800'", 1, "no Unicode character"),
        ("(a", 2, "ends where `)` is expected"),
        ("f(a,)", 4, "`)` where a value is expected"),
        ("a.in", 2, "`in` where a name is expected"),
        ("“a”", 0, "typographic quote"),
    ] {
        let problem = parse(text).unwrap_err();
        assert!(problem.message.contains(says), "{text}: {}", problem.message);
        assert_eq!(problem.span.start, start, "{text}: {}", problem.message);
    }
}

#[test]
fn depth_is_bounded_and_chains_are_flat() {
    let deep = |open: &str, close: &str, n: usize| format!("{}a{}", open.repeat(n), close.repeat(n));
    for (open, close) in
        [("(", ")"), ("!", ""), ("-", ""), ("[", "]"), ("f(", ")"), ("", ".b"), ("", "[0]"), ("", " + 1"), ("a ? b : ", "")]
    {
        assert!(parse(&deep(open, close, 50)).is_ok(), "{open}{close}");
        let problem = parse(&deep(open, close, 5_000)).unwrap_err();
        assert_eq!(problem.code, Code::Limit, "{open}{close}: {}", problem.message);
    }
    assert!(parse(&deep("", " && a || b", 2_000)).is_ok());
    let flat = parse(&deep("", " && a", 4_000)).unwrap();
    assert!(flat.depth == 2 && matches!(flat.node, Node::And(parts) if parts.len() == 4_001));
    assert_eq!(parse(&"a".repeat(MAX_LENGTH + 1)).unwrap_err().code, Code::Limit);
}

proptest! {
    /// Pieces of the language in any order, so that the parser's inside is reached and not only its first complaint.
    #[test]
    fn no_input_panics(pieces in proptest::collection::vec(prop_oneof![
        Just("a"), Just("package"), Just("."), Just("exists"), Just("("), Just(")"), Just("["), Just("]"), Just(","), Just("&&"), Just("||"),
        Just("!"), Just("-"), Just("=="), Just("in"), Just("?"), Just(":"), Just("1"), Just("0x"), Just("\"x\""), Just("'"), Just("r\""),
        Just("\\"), Just("\\x4"), Just(" "), Just("\n"), Just("//"), Just("ü"), Just("{"), Just("sysctl[\"a\"]"), Just("has("), Just("9223372036854775808"),
    ], 0..40)) {
        let text = pieces.concat();
        let length = text.len();
        if let Err(problem) = parse(&text) {
            prop_assert!(problem.span.start <= problem.span.end && problem.span.end <= length, "{text}: {problem:?}");
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        drop(parse(&text));
    }
}
