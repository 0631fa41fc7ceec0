//! Patterns against `pcre2`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use muster::limits::Limits;
use muster::oval::model::{Body, Component, Content, Entity, Operation, Source, Stated};
use muster::oval::pattern::{Flags, Groups, Pattern, PatternError};
use muster::oval::read;
use muster::oval::syschar::SystemCharacteristics;
use muster::xml;
use proptest::prelude::*;

use super::content::{data, unpacked};

/// Chosen for what engines read differently.
const TRICKY: &[&str] = &[
    "",
    "^",
    "$",
    "^$",
    "a$",
    "^a",
    "^a$",
    r"^a\Z",
    r"^a\z",
    r"\Aa",
    "a$\n",
    "a$\nb",
    "(a$|b)",
    "(a$|b)*",
    "(a$)?",
    "(a$)?b?",
    "(?:a|b$)$",
    "$^",
    "^^a$$",
    "a*",
    "a+?b",
    "a??b",
    "(a|ab)(c|bcd)?",
    "(a*)(ab)*b*",
    "(a|b|)+",
    r"[^[\s]+",
    "[]a]+",
    "[^]a]+",
    "[a&&b]+",
    "[a~~b]+",
    "[+--]+",
    "[a-]+",
    "[-a]+",
    r"[\w-]+",
    r"[a\-b]+",
    r"[\]\[]+",
    r"[^\W]+",
    r"[^\W\d]+",
    r"[\D]+",
    r"[\s\S]+",
    "[[:alpha:]]+",
    "[[:^alpha:]_]+",
    "[[:space:][:digit:]]+",
    "[[:punct:]]+",
    r"\w+",
    r"\W+",
    r"\d+",
    r"\D+",
    r"\s+",
    r"\S+",
    r"\h+",
    r"\v+",
    r"\H\V",
    r"\N+",
    r"\R",
    r"\bab\b",
    r"\b",
    r"\B",
    r"a\Bb",
    r"\Ba",
    "(?i)A",
    "a(?i)B",
    "(a(?i)b|c)B",
    "(?i:a)b",
    "(?i)[^a]",
    "(?-i)a",
    "(?m)^a$",
    "(?m)^$",
    "(?m)^",
    "(?m)$",
    "(?m)a$\n^b",
    "(?m)^[ab]*$",
    "(?s)a.b",
    "(?s).*",
    "a.b",
    ".",
    "(?x) a b # comment",
    "(?x)a [ ] b",
    "(?x: a )b",
    "(?U)a+b",
    "(?U)a+?b",
    "(?#comment)a",
    "a{2}",
    "a{2,}",
    "a{1,2}b",
    "a{1,2}?",
    "a{0}b",
    "{",
    "a{",
    "a{x}",
    "a{1",
    "}a",
    "]",
    "(?:a{2}){2}",
    "a++b",
    "a*+a",
    "a?+a",
    "a{1,2}+a",
    "(?>a+)b",
    "(?>a|ab)b",
    "a(?=b)",
    "a(?!b)",
    "(?<=a)b",
    "(?<!a)b",
    "(?<=a|bb)a",
    r"^(?!.*b).*$",
    r"(a)\1",
    r"(a|b)\1+",
    r"(?P<n>a|b)(?P=n)",
    r"(?<n>a|b)\k<n>",
    r"(?'n'a|b)\k'n'",
    r"(a)(b)\g{-1}",
    r"(a)\g1",
    r"(a)\g{1}1",
    r"(a)(?(1)b|c)",
    r"(a)?(?(1)b|1)",
    r"a\Kb",
    r"\Ga",
    r"\141",
    r"\x61",
    r"\x{61}",
    r"\x{e9}",
    r"\o{141}",
    r"\t|\n|\r",
    r"\cJ",
    r"[\n-\r]",
    r"[\x61-\x62]",
    r"\Qa.b\E+",
    r"\Q[a",
    r"\.|\-|\/|\<|\>|\_|\&|\~|\#|\'|\`|\@|\ ",
    r"\pL+",
    r"\p{Lu}|\P{L}",
    r"[\p{Ll}1]+",
    "\u{e9}+",
    "[\u{e0}-\u{ff}]",
    "(?i)\u{c9}",
    "()",
    "()*a",
    "(a*)*b",
    "(a*)+",
    "|a",
    "a|",
    "a||b",
    "((a)|b)+",
    "(?:(a)|b)*",
    "(a)|(b)",
    "(a)?b",
    "^[^#]*a",
    r"^\s*a\s*=\s*(\d+)\s*$",
    r"(?:^|\s)a(?:\s|$)",
    r"^(?:.*\s)?a(?:\s.*)?$",
    r"^.*a.*$",
    r"[^\s]+$",
    r"^\/(?:a|b)\/.*$",
];

/// A group that is repeated and can be empty: PCRE goes one more, empty, round, and the group is where that was. `regex` does not.
const EMPTY_ROUNDS: &[&str] = &["(a*)(ab)*b*", "(a|b|)+", "()*a", "(a*)*b", "(a*)+", "(a$|b)*"];

fn theirs(pattern: &str, flags: Flags) -> Option<pcre2::bytes::Regex> {
    let mut builder = pcre2::bytes::RegexBuilder::new();
    builder.utf(true).caseless(flags.ignore_case).multi_line(flags.multiline).dotall(flags.singleline);
    builder.build(pattern).ok()
}

fn their_groups(regex: &pcre2::bytes::Regex, text: &str) -> Option<Groups> {
    let captures = regex.captures(text.as_bytes()).unwrap()?;
    Some((0..captures.len()).map(|at| captures.get(at).map(|m| m.start()..m.end())).collect())
}

const FLAGS: [Flags; 4] = [
    Flags { ignore_case: false, multiline: false, singleline: false },
    Flags { ignore_case: false, multiline: true, singleline: false },
    Flags { ignore_case: true, multiline: false, singleline: true },
    Flags { ignore_case: true, multiline: true, singleline: true },
];

fn agree(pattern: &str, flags: Flags, ours: &Pattern, theirs: &pcre2::bytes::Regex, text: &str) {
    let matched = theirs.is_match(text.as_bytes()).unwrap();
    assert_eq!(ours.is_match(text), Ok(matched), "{pattern:?} {flags:?} on {text:?}");
    let (mut groups, mut theirs) = (ours.captures(text, 0).unwrap(), their_groups(theirs, text));
    if EMPTY_ROUNDS.contains(&pattern) {
        // Only the whole match.
        groups.iter_mut().chain(theirs.iter_mut()).for_each(|groups| groups.truncate(1));
    }
    assert_eq!(groups, theirs, "{pattern:?} {flags:?} on {text:?}");
}

fn both(pattern: &str, flags: Flags) -> (Pattern, pcre2::bytes::Regex) {
    let theirs = theirs(pattern, flags).unwrap_or_else(|| panic!("{pattern:?} is no pattern of PCRE"));
    let ours = Pattern::new(pattern, flags, &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    ours.compile().unwrap_or_else(|e| panic!("{e}"));
    (ours, theirs)
}

#[test]
fn tricky_patterns_match_as_in_pcre() {
    let all: Vec<_> = TRICKY.iter().flat_map(|p| FLAGS.map(|f| (*p, f, both(p, f)))).collect();
    let mut texts = vec![String::new()];
    let alphabet = ["a", "b", "\n", "A", "1", " ", "-", "[", "\u{e9}"];
    for length in 0..3 {
        let longer: Vec<String> =
            texts.iter().filter(|t| t.chars().count() == length).flat_map(|t| alphabet.map(|c| format!("{t}{c}"))).collect();
        texts.extend(longer);
    }
    texts.extend(
        [
            "a b # comment",
            "aabb",
            "abab\n",
            "a.b",
            "[a",
            "/a/x",
            " a = 12 \n",
            "x a y",
            "a{2}",
            "a{",
            "\t\r\n\x0b",
            "\u{c9}\u{a0}",
            "ab\n\n",
        ]
        .map(String::from),
    );
    for (pattern, flags, (ours, theirs)) in &all {
        texts.iter().for_each(|text| agree(pattern, *flags, ours, theirs, text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tricky_patterns_match_any_text_as_in_pcre(text in "[abAB01 \t\n\r_\\-\\[\\].&~#<>/=\u{e9}\u{a0}\u{664}]{0,12}", nth in 0..TRICKY.len(), flags in 0..4usize) {
        let (pattern, flags) = (TRICKY[nth], FLAGS[flags]);
        let (ours, theirs) = both(pattern, flags);
        agree(pattern, flags, &ours, &theirs, &text);
    }

    /// What is made of pieces at random is either read as PCRE reads it, or refused by both, or refused by us with a reason.
    #[test]
    fn random_patterns_match_as_in_pcre(
        pattern in r"(\^?((a|b|\.|\[ab\]|\[\^a\n\]|\\w|\\s|\\b|\\d|\$|\(a\|b\)|\(\?:ab\|\)|\(b\$\)|\(\?=b\)|\(\?!a\))(\*|\+|\?|\{1,2\}|\+\?|\*\+|)){0,6}\$?)",
        text in "[ab1 \n]{0,8}",
        flags in 0..4usize,
    ) {
        let flags = FLAGS[flags];
        let theirs = theirs(&pattern, flags);
        match Pattern::new(&pattern, flags, &Limits::default()) {
            Ok(ours) => match theirs {
                Some(theirs) => {
                    prop_assert_eq!(ours.is_match(&text), Ok(theirs.is_match(text.as_bytes()).unwrap()), "{:?} {:?}", pattern, flags);
                    let whole = |groups: Option<Groups>| groups.and_then(|g| g[0].clone());
                    prop_assert_eq!(whole(ours.captures(&text, 0).unwrap()), whole(their_groups(&theirs, &text)), "{:?} {:?}", pattern, flags);
                }
                None => prop_assert!(ours.compile().is_err() || ours.is_match(&text).is_ok()),
            },
            Err(_) => prop_assert!(theirs.is_none(), "{pattern:?}"),
        }
    }
}

#[test]
fn what_would_run_for_years_ends() {
    let text = "a".repeat(5_000);
    for (pattern, refused) in [
        ("(a+)+$b", false),
        ("(a|a)*b", false),
        ("(a|aa)+b", false),
        ("(.*)*x", false),
        ("(.*a){25}b", false),
        (r"^(a+)+\1b$", true),
        (r"^(a|a?)+\1b$", true),
        ("^(?=(a+)+b)", false),
        ("^(a+)+(?<!a)$", true),
    ] {
        let started = Instant::now();
        let ours = Pattern::new(pattern, Flags::default(), &Limits::default()).unwrap();
        match ours.is_match(&text) {
            Err(PatternError::Steps { bytes: 5_000, .. }) => {}
            other => assert!(!refused && other == Ok(false), "{pattern}: {other:?}"),
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{pattern} took {:?}", started.elapsed());
    }
    // What is nested, counted or named without end is refused.
    for hostile in ["(".repeat(100_000), "(?:a{999}){999}".into(), "[".repeat(100_000), "a|".repeat(2_000_000), "(?i)".repeat(100_000)] {
        let started = Instant::now();
        if let Ok(pattern) = Pattern::new(&hostile, Flags::default(), &Limits::default()) {
            assert_ne!(pattern.is_match("a"), Ok(false));
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{} bytes took {:?}", hostile.len(), started.elapsed());
    }
    let nested = format!("{}a{}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(Pattern::new(&nested, Flags::default(), &Limits::default()).is_ok_and(|p| p.is_match("a").is_err()));
}

fn of_entities(entities: &[Entity], patterns: &mut BTreeSet<String>) {
    for entity in entities {
        if let (Operation::PatternMatch, Stated::Literal(text)) = (entity.operation, &entity.value) {
            patterns.insert(text.to_string());
        }
        of_entities(&entity.fields, patterns);
    }
}

fn of_content(content: &Content, patterns: &mut BTreeSet<String>) {
    for object in &content.objects {
        if let Body::Entities { entities, .. } = &object.body {
            of_entities(entities, patterns);
        }
    }
    content.states.iter().for_each(|s| of_entities(&s.entities, patterns));
    for variable in &content.variables {
        match &variable.source {
            Source::Constant(values) => patterns.extend(values.iter().map(ToString::to_string)),
            Source::Local(Component::RegexCapture { pattern, .. }) => drop(patterns.insert(pattern.to_string())),
            _ => {}
        }
    }
}

/// A text that a pattern was perhaps made for: its words without what surrounds them.
fn alike(pattern: &str) -> Vec<String> {
    let bare: String = pattern.replace(r"\s", " ").replace(r"\d", "1").chars().filter(|c| !r"\^$()?*+[]{}|".contains(*c)).collect();
    let words = pattern.split(|c: char| !c.is_alphanumeric() && !"_./=- ".contains(c)).filter(|w| w.len() > 1);
    let mut texts: Vec<String> = words.map(String::from).collect();
    texts.push(texts.join(" "));
    texts.push(texts.concat());
    texts.push(format!("# x\n{bare}\n{}\n", texts.join("\n")));
    texts.push(bare);
    texts
}

#[test]
fn the_patterns_of_real_content_match_as_in_pcre() {
    let Some(data) = data("the patterns of real content") else { return };
    let mut patterns = BTreeSet::new();
    for folder in ["oval", "scap"] {
        for file in std::fs::read_dir(data.join(folder)).unwrap() {
            let path = file.unwrap().path();
            // Canonical's feed is 37 MB and has words for patterns.
            if path.to_str().unwrap().contains("ubuntu.bionic") {
                continue;
            }
            let text = unpacked(&path);
            let limits = Limits::default();
            let tree = xml::tree(&text, &limits).unwrap();
            for node in tree.descendants().filter(|n| n.tag_name().name() == "oval_definitions") {
                of_content(&read::read(node, "it", &limits).unwrap(), &mut patterns);
            }
        }
    }
    let characteristics = unpacked(&data.join("syschar/bookworm.debian12-oval.syschar.xml.gz"));
    let systems = SystemCharacteristics::parse(&characteristics, &Limits::default()).unwrap();
    let entities = systems[0].items().flat_map(|(_, item)| item.entities.iter());
    let values: BTreeSet<&str> = entities.map(|e| &*e.value).collect();
    // Every one of some hundred, each pattern another part of them.
    let values: Vec<&str> = values.into_iter().collect();
    let mut compared = 0;
    for (nth, pattern) in patterns.iter().enumerate() {
        for flags in [FLAGS[0], FLAGS[1]] {
            let Some(theirs) = theirs(pattern, flags) else { continue };
            let (ours, _) = both(pattern, flags);
            alike(pattern).iter().for_each(|text| agree(pattern, flags, &ours, &theirs, text));
            values.iter().skip(nth % 20).step_by(20).for_each(|text| agree(pattern, flags, &ours, &theirs, text));
            compared += 1;
        }
    }
    assert!(compared > 4_000, "{compared}");
}
