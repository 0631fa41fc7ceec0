use super::super::model::{PlatformCheck, PlatformId, PlatformLogic, Tailored};
use super::*;
use crate::limits::Limits;

fn reference(name: &str) -> ContentRef {
    let exports = vec![("xccdf_a_value_1".into(), "oval:a:var:1".into())];
    ContentRef { system: "s".into(), href: "oval.xml".into(), name: name.into(), exports }
}

fn rule(id: &str, check: Option<Check>) -> Item {
    let fix =
        Fix { id: "f".into(), system: "urn:xccdf:fix:script:sh".into(), complexity: "low".into(), text: "a && b".into(), ..Fix::default() };
    let rule = RuleBody {
        severity: RuleSeverity::High,
        idents: vec![("cce".into(), "CCE-1".into())],
        fixes: vec![fix],
        check,
        ..RuleBody::default()
    };
    Item {
        id: format!("xccdf_a_rule_{id}"),
        parent: None,
        title: String::new(),
        description: String::new(),
        weight: 2.5,
        published_weight: 2.5,
        selected: true,
        platforms: vec![PlatformId(0)],
        rule: Some(rule),
    }
}

fn baseline() -> Baseline {
    let definition = |name: &str, negate| Check::Definition { instance: 0, definition: name.into(), negate, reference: reference(name) };
    let complex = Check::Complex { operator: ComplexOperator::Or, negate: true, of: vec![definition("a", true), definition("b", false)] };
    let multi = Check::Document { instance: 0, negate: false, multi: true, reference: reference("") };
    Baseline {
        benchmark_id: "xccdf_a_benchmark_b".into(),
        benchmark_version: "1".into(),
        benchmark_href: "#c".into(),
        profile_id: "xccdf_a_profile_p".into(),
        profile_title: "P & p".into(),
        tailoring: Some(Tailored { id: "xccdf_a_tailoring_t".into(), version: "1".into(), time: String::new(), href: "t.xml".into() }),
        platform_checks: vec![PlatformCheck {
            idref: "cpe:/a".into(),
            title: String::new(),
            logic: PlatformLogic::Unresolved("cpe:/a".into()),
        }],
        items: vec![rule("complex", Some(complex)), rule("multi", Some(multi)), rule("none", None)],
        set_values: vec![("xccdf_a_value_1".into(), vec!["<1>".into()]), ("xccdf_a_value_2".into(), vec!["1".into(), "2".into()])],
        ..Baseline::default()
    }
}

fn written(baseline: &Baseline, within: Option<&str>) -> String {
    let result = |item, verdict, message, definition| RuleResult { item, verdict, message, definition };
    let results = [
        result(0, Verdict::Fail, Some("why & so"), None),
        result(1, Verdict::Pass, None, Some("oval:a:def:9")),
        result(1, Verdict::Error, Some("no"), Some("oval:a:def:8")),
        result(2, Verdict::NotSelected, None, None),
    ];
    let scores = [Scored { system: "urn:xccdf:scoring:default", score: 33.3333333, maximum: 100.0 }];
    let target = Target {
        name: "h".into(),
        addresses: vec!["::1".into(), "10.0.0.1".into()],
        macs: vec!["02:00:00:00:00:01".into()],
        facts: vec![],
    };
    let reports = BTreeMap::from([("oval.xml".to_owned(), "#oval0".to_owned())]);
    let platforms = ["cpe:/a".to_owned()];
    let document = TestResult {
        baseline,
        results: &results,
        scores: &scores,
        target: &target,
        start: "2026-11-21T19:05:02Z",
        end: "2026-11-21T19:05:03Z",
        platforms: &platforms,
        fixes: true,
        asset: Some("asset0"),
        reports: Some(&reports),
    };
    match within {
        Some(text) => document.write_in_benchmark(&Element { text, namespaces: vec![("xmlns", NAMESPACE)] }),
        None => document.write(),
    }
}

#[test]
fn a_result_is_written_in_the_order_of_the_schema() {
    let text = written(&baseline(), None);
    let tree = roxmltree::Document::parse(&text).unwrap();
    let names: Vec<&str> = tree.root_element().children().filter(|n| n.is_element()).map(|n| n.tag_name().name()).collect();
    let expected = "benchmark tailoring-file title profile target target-address target-address target-facts target-id-ref platform set-value \
                    set-complex-value rule-result rule-result rule-result rule-result score";
    assert_eq!(names.join(" "), expected);
    for part in [
        r#"id="xccdf_org.muster_testresult_xccdf_a_profile_p""#,
        r#"test-system="cpe:/a:muster:muster:"#,
        r#"<tailoring-file href="t.xml" id="xccdf_a_tailoring_t" version="1" time="2026-11-21T19:05:03Z"/>"#,
        r#"<set-value idref="xccdf_a_value_1">&lt;1&gt;</set-value>"#,
        r#"<rule-result idref="xccdf_a_rule_complex" role="full" time="2026-11-21T19:05:03Z" severity="high" weight="2.500000">"#,
        r#"<message severity="info">why &amp; so</message>"#,
        r#"<fix id="f" complexity="low" system="urn:xccdf:fix:script:sh">a &amp;&amp; b</fix>"#,
        r#"<complex-check operator="OR" negate="true">"#,
        r#"<check system="s" negate="true">"#,
        r#"<check-export value-id="xccdf_a_value_1" export-name="oval:a:var:1"/>"#,
        r##"<check-content-ref href="#oval0" name="oval:a:def:9"/>"##,
        r#"<score system="urn:xccdf:scoring:default" maximum="100.000000">33.333333</score>"#,
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(text.matches("<fix").count(), 1, "only what fails is to be fixed");
}

#[test]
fn what_is_written_is_read() {
    let text = written(&baseline(), Some("<Benchmark id='b'><Rule id='TestResult'/></Benchmark>"));
    let read = &read_results(&text, &Limits::default()).unwrap()[0];
    assert_eq!(
        (read.benchmark_id.as_str(), read.benchmark_href.as_str(), read.benchmark_version.as_str()),
        ("xccdf_a_benchmark_b", "#c", "1")
    );
    assert_eq!((read.profile.as_str(), read.target.as_str(), read.title.as_str()), ("xccdf_a_profile_p", "h", "Muster: P & p"));
    assert_eq!((read.start.as_str(), read.end.as_str()), ("2026-11-21T19:05:02Z", "2026-11-21T19:05:03Z"));
    assert_eq!(read.target_addresses, ["::1", "10.0.0.1"]);
    assert!(read.scanner.starts_with("cpe:/a:muster:muster:"));
    let rules: Vec<_> = read.rules.iter().map(|r| (r.id.as_str(), r.verdict, r.check.as_str(), r.message.as_str())).collect();
    assert_eq!(
        rules,
        [
            ("xccdf_a_rule_complex", Verdict::Fail, "", "why & so"),
            ("xccdf_a_rule_multi", Verdict::Pass, "oval:a:def:9", ""),
            ("xccdf_a_rule_multi", Verdict::Error, "oval:a:def:8", "no"),
            ("xccdf_a_rule_none", Verdict::NotSelected, "", ""),
        ]
    );
    assert_eq!(read.rules[0].idents, [("cce".to_owned(), "CCE-1".to_owned())]);
    assert_eq!(read.scores, [Score { system: "urn:xccdf:scoring:default".into(), score: 33.333333, maximum: 100.0 }]);
}

#[test]
fn what_is_no_result_is_refused() {
    for (text, why) in [
        ("<Benchmark/>", "line 1: there is no <TestResult> in this document"),
        ("<a><report-requests><TestResult><x/></TestResult></report-requests></a>", "line 1: there is no <TestResult> in this document"),
        ("<TestResult><rule-result/></TestResult>", "line 1: a rule-result without `idref`"),
        ("<TestResult><rule-result idref='r'/></TestResult>", "line 1: the rule-result of r has no result"),
        ("<TestResult><rule-result idref='r'><result>fine</result></rule-result></TestResult>", "line 1: `fine` is not a result of XCCDF"),
        ("<TestResult><score>much</score></TestResult>", "line 1: the score `much` is not a number"),
        ("<TestResult>", "line 1: the document ends inside <TestResult>"),
    ] {
        assert_eq!(read_results(text, &Limits::default()).unwrap_err().to_string(), why);
    }
    let limits = Limits { rows: 1, ..Limits::default() };
    let text = written(&baseline(), None);
    assert!(read_results(&text, &limits).unwrap_err().why.contains("limits.rows"));
}
