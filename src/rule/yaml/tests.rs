use super::*;
use crate::judge::Verdict;
use crate::scan::table::TableId;
use crate::scan::{TableData, Value};

const PACK: &str = "id: p\ntitle: P\nversion: 1.0.0\n";

const GOOD: &str = r#"id: r
title: T
severity: high
platforms: [linux]
controls: {nist: [AC-6, "5.1"]}
rationale: Why
check: sshd["permitrootlogin"] in ["no", "prohibit-password"]
missing: fail
remediation: Do
tests:
  - {pass: {sshd: [{key: permitrootlogin, value: "no"}]}}
  - {fail: {sshd: [{key: PermitRootLogin, value: "yes"}]}}
"#;

fn source(pack: &str, rules: &[(&str, &str)]) -> Source {
    let file = |(path, text): &(&str, &str)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() };
    Source { pack: file(&("pack.yaml", pack)), rules: rules.iter().map(file).collect() }
}

fn problems(pack: &str, rules: &[(&str, &str)]) -> Vec<String> {
    let (pack, problems) = read_pack(&source(pack, rules), &Limits::default());
    assert_eq!(pack.is_none(), !problems.is_empty());
    problems.iter().map(ToString::to_string).collect()
}

fn only_rule(text: &str) -> crate::rule::Rule {
    let (pack, problems) = read_pack(&source(PACK, &[("r.yaml", text)]), &Limits::default());
    assert_eq!(problems, []);
    pack.unwrap().rules.remove(0)
}

/// The good rule with one text replaced.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn a_good_rule_is_read() {
    let rule = only_rule(GOOD);
    assert_eq!((rule.id.as_str(), rule.missing, rule.tests.len()), ("r", Verdict::Fail, 2));
    assert_eq!(rule.controls["nist"], ["AC-6", "5.1"]);
    assert_eq!(rule.tests.iter().map(|t| (t.expect, t.line)).collect::<Vec<_>>(), [(Verdict::Pass, 11), (Verdict::Fail, 12)]);
    let os = rule.tests[0].scan.rows(TableId::by_name("os").unwrap());
    assert_eq!(os[0].get("id"), &Value::from("debian"));
    let sshd = rule.tests[1].scan.rows(TableId::by_name("sshd").unwrap());
    assert_eq!(sshd[0].key(), [Value::from("permitrootlogin")]);
}

#[test]
fn rules_are_sorted_and_packs_complete() {
    let other = GOOD.replacen("id: r", "id: a", 1);
    let pack = format!("{PACK}description: D\nbenchmarks: {{b: B 1}}\n");
    let (pack, problems) = read_pack(&source(&pack, &[("x/r.yaml", GOOD), ("x/a.yaml", &other)]), &Limits::default());
    assert_eq!(problems, []);
    let pack = pack.unwrap();
    assert_eq!(pack.rules.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["a", "r"]);
    assert_eq!((pack.version.as_str(), pack.benchmarks["b"].as_str()), ("1.0.0", "B 1"));
}

/// What replaces what in the good rule -> the only problem, from its line on.
const GOLDEN: &[(&str, &str, &str)] = &[
    ("id: r\n", "id: R\n", "1:5: R003: `R` is no id"),
    ("id: r\n", "id: s\n", "1:5: R003: the id is `s` and the file is named `r.yaml`"),
    ("title: T\n", "", "1:1: R002: field `title` is missing"),
    ("title: T\n", "title: \"\"\n", "2:8: R040: `title` is empty"),
    ("title: T\n", "titel: T\n", "2:1: R002: unknown field `titel`; did you mean `title`?"),
    ("missing: fail\n", "mising: fail\n", "8:1: R002: unknown field `mising`; did you mean `missing`?"),
    ("title: T\n", "title: T\ntitel: U\n", "3:1: R002: unknown field `titel`; did you mean `title`?"),
    ("title: T\n", "title: T\ntitle: U\n", "3:1: R002: field `title` is given twice"),
    ("title: T\n", "title: [T]\n", "2:8: R002: `title` is a string, not a list"),
    ("severity: high", "severity: hihg", "3:11: R040: no severity `hihg`; there are info"),
    ("[linux]", "[]", "4:12: R040: `platforms` is empty"),
    ("[linux]", "[Debian 12]", "4:13: R040: `Debian 12` is no platform"),
    ("\"5.1\"", "5.1", "5:25: R002: an item of `nist` is a string, put it in quotes: \"5.1\""),
    ("{nist: [AC-6, \"5.1\"]}", "[a]", "5:11: R002: `controls` is a map, not a list"),
    ("check: sshd", "check: sshdd", "7:8: R011: no table or variable `sshdd`; did you mean `sshd`?"),
    ("in [\"no\", \"prohibit-password\"]", "== 1", "7:8: R012: column `value` is a string"),
    ("in [\"no\", \"prohibit-password\"]", "== \"a # b\"", "7:35: R010: the string is not closed; ` #` begins a comment in YAML"),
    ("in [\"no\", \"prohibit-password\"]", "==", "7:34: R010: the expression ends where a value"),
    (
        "check: sshd[\"permitrootlogin\"] in",
        "check: \"x\" in",
        "7:12: R002: invalid trailing content after double-quoted scalar; an expression that begins",
    ),
    ("check: sshd[\"permitrootlogin\"] in", "check: |\n  true &&\n  sshd[permit] in", "9:8: R011: no table or variable `permit`"),
    ("check: sshd[\"permitrootlogin\"] in", "check: >-\n  true &&\n  sshd[permit] in", "9:8: R011: no table or variable `permit`"),
    ("check: sshd[\"permitrootlogin\"] in", "check: true &&\n  sshd[permit] in", "8:8: R011: no table or variable `permit`"),
    ("check: sshd", "check: ! sshd", "7:1: R002: YAML takes a `!` at the beginning for a tag"),
    ("check: sshd", "check: !(a) && sshd", "7:16: R002: unsupported tag `!(a)`; an expression that begins with"),
    ("check: sshd", "check: !has(sshd[\"a\"]) && sshd", "7:8: R002: while scanning a tag"),
    (
        "in [\"no\", \"prohibit-password\"]",
        "== \"a\" ? true : false",
        "7:46: R002: mapping values are not allowed in this context; an expr",
    ),
    ("missing: fail\n", "", "7:1: R020: `check` reads a key that may be absent"),
    ("missing: fail\n", "missing: error\n", "8:10: R040: `missing` is fail, pass, notapplicable or unknown, not `error`"),
    ("missing: fail\n", "missing: fail\nwhen: 'os.id == \"it''s\" && os.idd == \"\"'\n", "9:31: R011: table `os` has no column `idd`"),
    ("missing: fail\n", "missing: fail\nfix: {package: a, state: gone}\n", "9:26: R040: no state `gone`"),
    ("missing: fail\n", "missing: fail\ncollect: {text: [/etc/x]}\n", "9:11: R021: nothing asks all rows of `text`"),
    ("missing: fail\n", "missing: fail\ncollect: {sshd: [/etc/x]}\n", "9:11: R021: table `sshd` is collected whole"),
    ("check: sshd[\"permitrootlogin\"]", "check: size(sshd) > 0 || os.id", ""),
    ("value: \"no\"", "value: no", "11:50: R030: column `value` is a string, quote it: \"no\""),
    ("value: \"no\"", "value: 1", "11:50: R030: column `value` is a string, quote it: \"1\""),
    ("value: \"no\"", "valeu: \"no\"", "11:43: R030: table `sshd` has no column `valeu`; did you mean `value`?"),
    ("key: permitrootlogin, value: \"no\"", "value: \"no\"", "11:20: R030: a row of table `sshd` needs its key column `key`"),
    ("{sshd: [{key: permitrootlogin, value: \"no\"}]}", "{shd: []}", "11:13: R030: no table `shd`; did you mean `sshd`?"),
    ("{sshd: [{key: permitrootlogin, value: \"no\"}]}", "{sshd: {}}", "11:19: R030: table `sshd` is a list of rows"),
    (
        "{sshd: [{key: permitrootlogin, value: \"no\"}]}",
        "{sshd: [{key: a}, {key: A}]}",
        "11:30: R030: table `sshd` has a row with this key already",
    ),
    (
        "{sshd: [{key: permitrootlogin, value: \"no\"}]}",
        "{user: [{name: a, uid: \"1\"}]}",
        "11:35: R030: column `uid` is an int, write 1 without quotes",
    ),
    (
        "{sshd: [{key: permitrootlogin, value: \"no\"}]}",
        "{file: [{path: /a, mode: 0640}]}",
        "11:37: R030: column `mode` is octal text, quote it: \"0640\"",
    ),
    (
        "{sshd: [{key: permitrootlogin, value: \"no\"}]}",
        "{file: [{path: /a, mode: \"999\"}]}",
        "11:20: R030: invalid value: string \"999\", expected octal text",
    ),
    ("{sshd: [{key: permitrootlogin, value: \"no\"}]}", "{os: []}", "11:17: R030: table `os` has one row, not 0"),
    ("{pass: ", "{unknown: ", "11:3: R030: no test expects `pass`"),
    ("{pass: ", "{passed: ", "11:6: R030: no verdict `passed`"),
    ("}]}}\n  - {fail", "}]}, fail: {}}\n  - {fail", "11:59: R030: a test names one verdict"),
];

#[test]
fn problems_have_their_places() {
    let mut wrong = Vec::new();
    for (from, to, expected) in GOLDEN {
        let found = problems(PACK, &[("r.yaml", &with(from, to))]);
        let fits = match found.as_slice() {
            [] => expected.is_empty(),
            [one] => !expected.is_empty() && one.starts_with(&format!("r.yaml:{expected}")),
            _ => false,
        };
        if !fits {
            wrong.push(format!("{to}\n  expected {expected}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_files_and_all_problems_are_told_in_order() {
    let bad = "id: r\nseverity: high\ncheck: os.idd == 1 && usr.size() > 0\ntests: []\n";
    let found = problems("id: P P\ntitle: 1\n", &[("r.yaml", bad), ("b.yaml", "a: [\n"), ("c.yaml", "")]);
    let starts: Vec<_> = found.iter().map(|p| p.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "b.yaml:1:4 R002",
        "c.yaml:1:1 R002",
        "pack.yaml:1:1 R002",
        "pack.yaml:1:5 R003",
        "pack.yaml:2:8 R002",
        "r.yaml:1:1 R002",
        "r.yaml:1:1 R002",
        "r.yaml:1:1 R002",
        "r.yaml:1:1 R002",
        "r.yaml:3:11 R011",
        "r.yaml:3:23 R011",
        "r.yaml:4:8 R030",
        "r.yaml:4:8 R030",
    ];
    assert_eq!(starts, expected, "{found:#?}");
}

#[test]
fn limits_and_duplicates() {
    let limits = Limits { rules: 1, rule_bytes: 100, ..Limits::default() };
    let (_, found) = read_pack(&source(PACK, &[("r.yaml", GOOD)]), &limits);
    assert!(found[0].to_string().contains("R050: the file has"), "{found:?}");
    let (_, found) = read_pack(&source(PACK, &[("a/r.yaml", "x"), ("b/r.yaml", "x")]), &limits);
    assert!(found[0].to_string().contains("R050: the pack has 2 rules"), "{found:?}");
    let found = problems(PACK, &[("a/r.yaml", GOOD), ("b/r.yaml", GOOD)]);
    assert_eq!(found, ["b/r.yaml:1:1: R003: id `r` is used by a/r.yaml already"]);
}

#[test]
fn missing_that_never_matters_is_refused() {
    let text = with("sshd[\"permitrootlogin\"] in [\"no\", \"prohibit-password\"]", "sshd.size() > 0");
    assert_eq!(problems(PACK, &[("r.yaml", &text)]), ["r.yaml:8:1: R020: nothing that `check` reads can be missing, leave out `missing`"]);
}

#[test]
fn scope_says_what_was_looked_at() {
    let text = with(
        "check: sshd[\"permitrootlogin\"] in [\"no\", \"prohibit-password\"]\n",
        "check: |\n  file[\"/etc/a\"].owner == \"root\" && text.all(t, t.content == \"\")\ncollect: {text: [/etc/b/*]}\n",
    );
    let text = text.replace("sshd: [{key: permitrootlogin, value: \"no\"}]", "file: [{path: /etc/a, owner: root}], text: []");
    let text =
        text.replace("sshd: [{key: PermitRootLogin, value: \"yes\"}]", "file: {error: denied}, text: [{path: /etc/b/c, content: x}]");
    let rule = only_rule(&text);
    let scope = TableId::by_name("scope").unwrap();
    let states = |at: usize| {
        let rows = rule.tests[at].scan.rows(scope).iter();
        rows.map(|r| r.values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(states(0), ["file /etc/a present", "text /etc/b/* absent"]);
    assert_eq!(states(1), ["text /etc/b/* present"]);
    let file = TableId::by_name("file").unwrap();
    assert_eq!(rule.tests[1].scan.tables[&file], TableData::Failed("denied".into()));
}

#[test]
fn platforms_fill_in_the_system() {
    for (platform, family, id, version) in [
        ("linux", "linux", "debian", "12"),
        ("debian:11", "linux", "debian", "11"),
        ("rhel", "linux", "rhel", "1"),
        ("windows", "windows", "windows", "2022"),
        ("windows-server:2019", "windows", "windows-server", "2019"),
        ("macos", "macos", "macos", "14"),
    ] {
        let rule = only_rule(&with("[linux]", &format!("[\"{platform}\"]")));
        let os = &rule.tests[0].scan.rows(TableId::by_name("os").unwrap())[0];
        let got = ["family", "id", "id_like", "version"].map(|c| os.get(c).as_str().unwrap().to_owned());
        assert_eq!(got, [family, id, "", version], "{platform}");
    }
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// A good rule with a piece cut out and another put in: an answer, a place within the file, and no panic.
        #[test]
        fn mutated_rules_are_read_calmly(at in 0usize..500, drop in 0usize..20, with in "[ -~]{0,3}|ü|\n|\t|\\|\n|: |- ") {
            let start = at.min(GOOD.len());
            let end = (start + drop).min(GOOD.len());
            let text = format!("{}{with}{}", GOOD.get(..start).unwrap(), GOOD.get(end..).unwrap());
            let lines = u32::try_from(text.lines().count()).unwrap() + 1;
            let (pack, problems) = read_pack(&source(PACK, &[("r.yaml", &text)]), &Limits::default());
            prop_assert!(pack.is_some() == problems.is_empty());
            prop_assert!(problems.iter().all(|p| p.line <= lines), "{text}: {problems:?}");
        }
    }
}
