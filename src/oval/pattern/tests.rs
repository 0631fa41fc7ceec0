use super::*;

fn pattern(source: &str) -> Pattern {
    Pattern::new(source, Flags::default(), &Limits::default()).unwrap()
}

fn is_match(source: &str, text: &str) -> bool {
    pattern(source).is_match(text).unwrap()
}

fn runs_on(source: &str, captures: bool) -> &'static str {
    match pattern(source).build(captures).unwrap() {
        Engine::Plain(_) => "plain",
        Engine::Linear(_) => "linear",
        Engine::Fancy(_) => "fancy",
    }
}

#[test]
fn an_end_is_also_before_the_last_line_end() {
    for source in ["^a$", "^(a)$", "^(?:a|b$)$", r"^a\Z", "^[a]$"] {
        assert!(is_match(source, "a") && is_match(source, "a\n"), "{source}");
        assert!(!is_match(source, "a\n\n") && !is_match(source, "a\nb"), "{source}");
    }
    assert!(!is_match(r"^a\z", "a\n"));
    assert!(is_match("^a$\n", "a\n"));
    assert!(is_match("^$", "") && is_match("^$", "\n") && !is_match("^$", "\n\n"));
    assert!(is_match("", "anything"));
}

#[test]
fn each_pattern_takes_the_cheapest_engine() {
    for (source, matching, capturing) in [
        ("^openssl$", "plain", "plain"),
        (r"\.conf", "plain", "plain"),
        ("^(a|b)$", "linear", "fancy"),
        ("^(a|b)", "linear", "linear"),
        ("(a$|b)c", "fancy", "fancy"),
        ("(a$|b)+", "fancy", "fancy"),
        ("(a$|b)?", "linear", "fancy"),
        ("a(?=b)", "fancy", "fancy"),
        (r"(.)\1", "fancy", "fancy"),
        ("a++b", "fancy", "fancy"),
        (r"(?m)^a$", "linear", "linear"),
        (r"(?m)^a*", "fancy", "fancy"),
    ] {
        assert_eq!((runs_on(source, false), runs_on(source, true)), (matching, capturing), "{source}");
    }
}

#[test]
fn what_rust_reads_otherwise_is_read_as_pcre_does() {
    assert!(is_match(r"[^[\s]", "a") && !is_match(r"^[^[\s]$", "["));
    assert!(is_match(r"^[a&&b]+$", "a&b") && is_match(r"^[+--z]+$", ",-z") && is_match("^[a~~b]$", "~"));
    assert!(!is_match(r"\d", "\u{664}") && !is_match(r"\w", "\u{e9}") && !is_match(r"\s", "\u{a0}"));
    assert!(is_match(r"\<b\>", "<b>") && is_match("a{,3}", "a{,3}") && is_match("{", "{") && is_match("a]}", "a]}"));
    assert!(is_match(r"\Q.*\E", ".*") && is_match(r"^\x41\x{42}\103$", "ABC") && is_match(r"[\101\b]", "A"));
    assert!(is_match("(?x) a b # and\n c", "abc") && is_match("(?#no)a", "a") && is_match("a(?i)b", "aB"));
    assert!(is_match(r"^\h\v$", "\t\n") && is_match("[[:digit:]]", "5") && is_match("[[:^digit:]]", "x"));
}

#[test]
fn what_no_engine_takes_says_why() {
    for (source, why) in [
        ("(a", "closes"),
        ("a)", "opened"),
        ("[a", "closes"),
        ("*a", "nothing to repeat"),
        ("a{3,1}", "counts down"),
        ("[b-a]", "backwards"),
        (r"\2(a)", "not there"),
        ("(?R)", "recursion"),
        ("a\\", "at the end"),
        ("(*COMMIT)a", "backtracking"),
    ] {
        let error = Pattern::new(source, Flags::default(), &Limits::default()).unwrap_err().to_string();
        assert!(error.contains(why), "{source}: {error}");
    }
    let large = pattern("(?:[a-z]{1000}){1000}");
    assert!(matches!(large.compile(), Err(PatternError::Syntax { .. })));
    assert_eq!(large.is_match("a"), Err(large.compile().unwrap_err()));
}

#[test]
fn steps_are_counted() {
    let slow = pattern(r"^(a+)+\1b$");
    let text = "a".repeat(40);
    let error = slow.is_match(&text).unwrap_err();
    assert!(error.to_string().contains("limits.regex_steps"), "{error}");
}

#[test]
fn matches_are_found_one_after_the_other() {
    let flags = Flags { multiline: true, ..Flags::default() };
    let lines = Pattern::new("^([a-z]+)=(.*)$", flags, &Limits::default()).unwrap();
    let text = "a=1\nb=2\n# no\nc=\n";
    let found: Vec<(&str, &str)> = lines
        .captures_iter(text)
        .map(|groups| groups.unwrap())
        .map(|groups| (text.get(groups[1].clone().unwrap()).unwrap(), text.get(groups[2].clone().unwrap()).unwrap()))
        .collect();
    assert_eq!(found, [("a", "1"), ("b", "2"), ("c", "")]);
    assert_eq!(pattern("x*").captures_iter("a\u{e9}").count(), 3);
    let ends = pattern("a$");
    assert_eq!(ends.captures("ba\n", 0).unwrap(), Some(vec![Some(1..2)]));
}
