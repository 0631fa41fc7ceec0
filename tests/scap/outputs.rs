//! Result documents against the published schemas and `oscap`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use muster::judge::Verdict;
use muster::limits::Limits;
use muster::oval::facts::{Collected, Facts as _, Flag, Item, Values, Variables};
use muster::oval::model::{Content, Criteria, DefinitionId, Node, ObjectId, OvalResult, TestId, VariableId};
use muster::oval::read;
use muster::oval::results::{Answers, Detail, Document, Facts, Host, Interface};
use muster::oval::syschar::{Bound, SystemCharacteristics, bind};
use muster::xccdf::arf::{ASSET, Collection};
use muster::xccdf::model::{Baseline, Check, ComplexOperator, ContentRef, Fix, Item as Entry, RuleBody, Tailored};
use muster::xccdf::results::{RuleResult, Scored, Target, TestResult, read_results};
use muster::xml::element::Element;

use super::content::{data, unpacked};

const SCHEMAS: &str = "/usr/share/openscap/schemas";

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
/// A tool that is not installed is skipped with a line on stderr, or fails if `MUSTER_REQUIRE_PEERS` is set.
fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = found.is_ok() && Path::new(SCHEMAS).is_dir();
    if !there {
        let required = std::env::var_os("MUSTER_REQUIRE_PEERS").is_some();
        assert!(!required, "MUSTER_REQUIRE_PEERS is set, and {program} or its schemas are not installed");
        eprintln!("skipped: {program} or {SCHEMAS} is not installed");
    }
    there
}

fn run(program: &str, arguments: &[&str], file: &Path) {
    if installed(program) {
        let out = Command::new(program).args(arguments).arg(file).output().unwrap();
        let said: String = String::from_utf8_lossy(&out.stderr).chars().take(3_000).collect();
        assert!(
            out.status.success(),
            "{program} {arguments:?}: {said}{}",
            String::from_utf8_lossy(&out.stdout).chars().take(3_000).collect::<String>()
        );
    }
}

fn saved(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn schema(schema: &str, file: &Path) {
    run("xmllint", &["--noout", "--huge", "--schema", &format!("{SCHEMAS}/{schema}")], file);
}

/// Answers that are not right but complete: the facts as they are, every other thing true.
struct Plain<'b, 'x> {
    content: &'b Content,
    bound: &'b Bound<'x>,
    results: BTreeMap<String, OvalResult>,
}

impl Variables for Plain<'_, '_> {
    fn values(&mut self, _: VariableId) -> Values {
        Values { flag: Flag::Complete, datatype: Default::default(), values: vec!["a\u{1}<b>\r\n".into(), "".into()].into() }
    }
}

impl<'x> Answers<'x> for Plain<'_, 'x> {
    fn definition(&mut self, id: DefinitionId) -> OvalResult {
        self.results.get(&*self.content.definitions[id.index()].id).copied().unwrap_or(OvalResult::True)
    }

    fn node(&mut self, node: &Node) -> OvalResult {
        match node {
            Node::Extend { definition, .. } => self.definition(*definition),
            Node::Criteria(_) | Node::Test { .. } => OvalResult::True,
        }
    }

    fn criteria(&mut self, _: &Criteria) -> OvalResult {
        OvalResult::NotApplicable
    }

    fn test(&mut self, id: TestId) -> OvalResult {
        *OvalResult::ALL.get(id.index() % 6).unwrap()
    }

    fn tested_items(&mut self, id: TestId) -> Vec<(Arc<Item<'x>>, OvalResult)> {
        let collected = self.content.tests[id.index()].object.and_then(|o| self.object(o));
        collected.iter().flat_map(|c| c.items.iter().map(|i| (i.clone(), OvalResult::NotEvaluated))).collect()
    }

    fn object(&mut self, id: ObjectId) -> Option<Arc<Collected<'x>>> {
        self.bound.collected(id, &mut Nothing)
    }

    fn why(&mut self, id: TestId) -> Option<String> {
        (id.index() % 6 > 1).then(|| "because".to_owned())
    }
}

struct Nothing;

impl Variables for Nothing {
    fn values(&mut self, _: VariableId) -> Values {
        unreachable!("system characteristics need no variables")
    }
}

const CONTENT: &str = r#"<?xml version="1.0"?>
<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5"
 xmlns:i="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent">
<generator><oval:schema_version>5.11.2</oval:schema_version><oval:timestamp>2026-11-21T19:05:02</oval:timestamp></generator>
<definitions><definition id="oval:x:def:1" version="2" class="compliance"><metadata><title>t</title><description>d</description></metadata>
<criteria operator="OR" negate="true"><criterion test_ref="oval:x:tst:1" negate="true"/><criteria operator="ONE"><extend_definition definition_ref="oval:x:def:2"
 applicability_check="true"/></criteria></criteria></definition>
<definition id="oval:x:def:2" version="1" class="inventory"><metadata><title>t</title><description>d</description></metadata>
<criteria><criterion test_ref="oval:x:tst:2"/></criteria></definition></definitions>
<tests><i:textfilecontent54_test id="oval:x:tst:1" version="3" check="only one" check_existence="any_exist" state_operator="XOR" comment="c">
<i:object object_ref="oval:x:obj:1"/><i:state state_ref="oval:x:ste:1"/></i:textfilecontent54_test>
<i:family_test id="oval:x:tst:2" version="1" check="all" comment="c"><i:object object_ref="oval:x:obj:2"/></i:family_test></tests>
<objects><i:textfilecontent54_object id="oval:x:obj:1" version="1"><i:filepath>/etc/a</i:filepath><i:pattern operation="pattern match" var_ref="oval:x:var:1"/>
<i:instance datatype="int">1</i:instance></i:textfilecontent54_object><i:family_object id="oval:x:obj:2" version="1"/></objects>
<states><i:textfilecontent54_state id="oval:x:ste:1" version="1"><i:subexpression>x</i:subexpression></i:textfilecontent54_state></states>
<variables><constant_variable id="oval:x:var:1" version="1" datatype="string" comment="c"><value>/a&amp;b</value></constant_variable></variables>
</oval_definitions>"#;

const COLLECTED: &str = r#"<s:oval_system_characteristics xmlns:s="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5"
 xmlns:o="http://oval.mitre.org/XMLSchema/oval-common-5" xmlns:i="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5#independent">
<s:generator><o:schema_version>5.11.2</o:schema_version><o:timestamp>2026-11-21T19:05:02</o:timestamp></s:generator>
<s:system_info><s:os_name>a</s:os_name><s:os_version>1</s:os_version><s:architecture>x</s:architecture><s:primary_host_name>h</s:primary_host_name><s:interfaces/></s:system_info>
<s:collected_objects><s:object id="oval:x:obj:1" version="1" flag="complete"><s:reference item_ref="77"/></s:object>
<s:object id="oval:x:obj:2" version="1" flag="complete"><s:reference item_ref="78"/></s:object></s:collected_objects>
<s:system_data><i:textfilecontent_item id="77"><i:filepath>/etc/a</i:filepath><i:pattern>a</i:pattern><i:instance datatype="int">1</i:instance>
<i:text>a&lt;b</i:text><i:subexpression status="does not exist"/></i:textfilecontent_item><i:family_item id="78"><i:family>unix</i:family></i:family_item></s:system_data>
</s:oval_system_characteristics>"#;

/// OVAL results of the small content, from uploaded or from resolved facts.
fn small(native: bool, detail: Detail) -> String {
    let limits = Limits::default();
    let content = read::read_text(CONTENT, "it", &limits).unwrap();
    let source = Element::find(CONTENT, "oval_definitions", &limits).unwrap();
    let uploaded = SystemCharacteristics::parse(COLLECTED, &limits).unwrap();
    let bound = bind(&uploaded, &content);
    let interfaces = vec![Interface { name: "lo".into(), ip_address: "127.0.0.1".into(), mac_address: "00:00:00:00:00:00".into() }];
    let host = Host { os_name: "a".into(), os_version: "1".into(), architecture: "x".into(), name: "h".into(), interfaces };
    let facts = if native { Facts::Native(&host) } else { Facts::Uploaded(&uploaded[0]) };
    let document = Document { content: &content, source: source.as_ref(), facts, detail, only: None, timestamp: "2026-11-21T19:05:02" };
    document.write(&mut Plain { content: &content, bound: &bound, results: BTreeMap::new() })
}

#[test]
fn oval_results_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    for (name, native, detail) in [("uploaded", false, Detail::Full), ("native", true, Detail::Full), ("thin", true, Detail::Thin)] {
        let file = saved(&folder, name, &small(native, detail));
        schema("oval/5.11.3/oval-results-schema.xsd", &file);
        run("oscap", &["oval", "validate", "--results"], &file);
        run("oscap", &["info"], &file);
        if detail == Detail::Full {
            run("oscap", &["oval", "generate", "report"], &file);
        }
    }
}

#[test]
fn real_oval_results_are_valid() {
    let Some(data) = data("OVAL results of a real host") else { return };
    let limits = Limits::default();
    let text = unpacked(&data.join("oval/ssg-debian12-oval.xml.gz"));
    let collected = unpacked(&data.join("syschar/bookworm.debian12-oval.syschar.xml.gz"));
    let content = read::read_text(&text, "it", &limits).unwrap();
    let uploaded = SystemCharacteristics::parse(&collected, &limits).unwrap();
    let bound = bind(&uploaded, &content);
    let table = std::fs::read_to_string(data.join("syschar/bookworm.debian12-oval.analyse.tsv")).unwrap();
    let result = |name: &str| OvalResult::ALL.into_iter().find(|r| r.name() == name);
    let results: BTreeMap<String, OvalResult> = table
        .lines()
        .filter_map(|l| {
            let mut cells = l.strip_prefix("def\t").or(l.strip_prefix("def "))?.split(['\t', ' ']);
            Some((cells.next()?.to_owned(), result(cells.next()?)?))
        })
        .collect();
    assert_eq!(results.len(), 1_012);
    let source = Element::find(&text, "oval_definitions", &limits).unwrap();
    let facts = Facts::Uploaded(&uploaded[0]);
    let only: BTreeSet<DefinitionId> = (0..200).map(DefinitionId).collect();
    let folder = tempfile::tempdir().unwrap();
    for (name, only) in [("all", None), ("some", Some(&only))] {
        let document =
            Document { content: &content, source: source.as_ref(), facts, detail: Detail::Full, only, timestamp: "2026-11-21T19:05:02" };
        let file = saved(&folder, name, &document.write(&mut Plain { content: &content, bound: &bound, results: results.clone() }));
        run("oscap", &["oval", "validate", "--results", "--skip-schematron"], &file);
        let again = SystemCharacteristics::parse(&std::fs::read_to_string(&file).unwrap(), &limits).unwrap().len();
        assert_eq!(again, 1, "what is written can be uploaded");
    }
}

const BENCHMARK: &str = r#"<?xml version="1.0"?>
<x:Benchmark xmlns:x="http://checklists.nist.gov/xccdf/1.2" id="xccdf_a.b_benchmark_c"><x:status>draft</x:status><x:version>1</x:version>
<x:Profile id="xccdf_a.b_profile_p"><x:title>p</x:title></x:Profile>
<x:Value id="xccdf_a.b_value_1"><x:title>v</x:title><x:value>1</x:value></x:Value>
<x:Rule id="xccdf_a.b_rule_1"><x:title>r</x:title></x:Rule><x:Rule id="xccdf_a.b_rule_2"><x:title>r</x:title></x:Rule>
<x:Rule id="xccdf_a.b_rule_3"><x:title>r</x:title></x:Rule></x:Benchmark>"#;

fn baseline() -> Baseline {
    let system = "http://oval.mitre.org/XMLSchema/oval-definitions-5";
    let exports = vec![("xccdf_a.b_value_1".into(), "oval:x:var:1".into())];
    let reference = |name: &str| ContentRef { system: system.into(), href: "oval.xml".into(), name: name.into(), exports: exports.clone() };
    let one = |name: &str, negate| Check::Definition { instance: 0, definition: name.into(), negate, reference: reference(name) };
    let complex =
        Check::Complex { operator: ComplexOperator::And, negate: true, of: vec![one("oval:x:def:1", false), one("oval:x:def:2", true)] };
    let fix =
        Fix { id: "f".into(), system: "urn:xccdf:fix:script:sh".into(), text: "echo a && echo <b>".into(), reboot: true, ..Fix::default() };
    let rule = |n: u32, check| {
        let idents = vec![("https://ncp.nist.gov/cce".to_owned(), "CCE-1-2".to_owned())];
        let rule = RuleBody { idents, fixes: vec![fix.clone()], check, ..RuleBody::default() };
        let (id, empty) = (format!("xccdf_a.b_rule_{n}"), String::new);
        Entry {
            id,
            parent: None,
            title: empty(),
            description: empty(),
            weight: 1.0,
            published_weight: 1.0,
            selected: true,
            platforms: vec![],
            rule: Some(rule),
        }
    };
    let multi = Check::Document { instance: 0, negate: false, multi: true, reference: reference("") };
    Baseline {
        benchmark_id: "xccdf_a.b_benchmark_c".into(),
        benchmark_version: "1".into(),
        benchmark_href: "b.xml".into(),
        profile_id: "xccdf_a.b_profile_p".into(),
        tailoring: Some(Tailored { id: "xccdf_a.b_tailoring_t".into(), version: "1".into(), time: String::new(), href: "t.xml".into() }),
        items: vec![rule(1, Some(complex)), rule(2, Some(multi)), rule(3, None)],
        set_values: vec![("xccdf_a.b_value_1".into(), vec!["1".into()])],
        ..Baseline::default()
    }
}

/// Calls with a result of the small benchmark.
fn result(baseline: &Baseline, collection: bool, each: impl FnOnce(&TestResult<'_>)) {
    let result = |item, verdict, message, definition| RuleResult { item, verdict, message, definition };
    let results = [
        result(0, Verdict::Fail, Some("why"), None),
        result(1, Verdict::Pass, None, Some("oval:x:def:1")),
        result(1, Verdict::Error, Some("no"), Some("oval:x:def:2")),
        result(2, Verdict::NotApplicable, None, None),
    ];
    let kinds = ["default", "flat", "flat-unweighted", "absolute"].map(|k| format!("urn:xccdf:scoring:{k}"));
    let scores: Vec<Scored<'_>> = kinds.iter().map(|system| Scored { system, score: 50.0, maximum: 100.0 }).collect();
    let addresses = vec!["10.0.0.1".to_owned(), "::1".to_owned()];
    let target =
        Target { name: "h.example".into(), addresses, macs: vec!["02:00:00:00:00:01".into()], facts: vec![("urn:a".into(), "b".into())] };
    let reports = BTreeMap::from([("oval.xml".to_owned(), "#oval0".to_owned())]);
    let (asset, reports) = if collection { (Some(ASSET), Some(&reports)) } else { (None, None) };
    each(&TestResult {
        baseline,
        results: &results,
        scores: &scores,
        target: &target,
        start: "2026-11-21T19:05:02Z",
        end: "2026-11-21T19:05:03Z",
        platforms: &["cpe:/o:debian:debian_linux:12".to_owned()],
        fixes: true,
        asset,
        reports,
    });
}

#[test]
fn test_results_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let benchmark = Element::find(BENCHMARK, "Benchmark", &Limits::default()).unwrap().unwrap();
    result(&baseline(), false, |result| {
        let bare = saved(&folder, "bare.xml", &result.write());
        schema("xccdf/1.2/xccdf_1.2.xsd", &bare);
        let within = saved(&folder, "within.xml", &result.write_in_benchmark(&benchmark));
        schema("xccdf/1.2/xccdf_1.2.xsd", &within);
        run("oscap", &["xccdf", "validate"], &within);
        run("oscap", &["info"], &within);
        run("oscap", &["xccdf", "generate", "report"], &within);
        run("oscap", &["xccdf", "generate", "fix", "--result-id", "xccdf_org.muster_testresult_xccdf_a.b_profile_p"], &within);
    });
}

#[test]
fn collections_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let (limits, oval) = (Limits::default(), small(true, Detail::Full));
    let oval = Element::find(&oval, "oval_results", &limits).unwrap().unwrap();
    let oval = [("oval0".to_owned(), oval.standing().into_owned())];
    let benchmark = Element::find(BENCHMARK, "Benchmark", &limits).unwrap();
    result(&baseline(), true, |result| {
        for source in [None, benchmark.as_ref()] {
            let text = Collection { source, result, oval: &oval }.write();
            let file = saved(&folder, "arf.xml", &text);
            schema("arf/1.1/asset-reporting-format_1.1.0.xsd", &file);
            run("oscap", &["ds", "rds-validate"], &file);
            // The schema has requests as optional; `oscap info` 1.3.7 ends with a segmentation fault without one.
            if source.is_some() {
                run("oscap", &["info"], &file);
            }
            let read = read_results(&text, &limits).unwrap();
            assert_eq!((read.len(), read[0].rules.len(), read[0].rules[1].check.as_str()), (1, 4, "oval:x:def:1"));
            assert_eq!(SystemCharacteristics::parse(&text, &limits).unwrap()[0].report.as_deref(), Some("oval0"));
        }
    });
}

#[test]
fn a_collection_with_a_real_data_stream_is_valid() {
    let Some(data) = data("a collection with a real data stream") else { return };
    let folder = tempfile::tempdir().unwrap();
    let stream = unpacked(&data.join("scap/ssg-debian12-ds-0.1.82.xml.gz"));
    let source = Element::find(&stream, "data-stream-collection", &Limits::default()).unwrap();
    assert!(source.is_some());
    result(&baseline(), true, |result| {
        let file = saved(&folder, "arf.xml", &Collection { source: source.as_ref(), result, oval: &[] }.write());
        run("oscap", &["ds", "rds-validate"], &file);
        run("oscap", &["info"], &file);
    });
}

#[test]
fn a_collection_of_another_scanner_is_read() {
    let Some(data) = data("a collection of oscap") else { return };
    let text = unpacked(&data.join("syschar/bookworm.cis_level2_server.arf.xml.gz"));
    let read = read_results(&text, &Limits::default()).unwrap();
    assert_eq!(read.len(), 1);
    let read = &read[0];
    assert_eq!(read.benchmark_id, "xccdf_org.ssgproject.content_benchmark_DEBIAN-12");
    assert_eq!(read.profile, "xccdf_org.ssgproject.content_profile_cis_level2_server");
    assert_eq!(
        (read.target.as_str(), read.scanner.as_str(), read.end.as_str()),
        ("vm", "cpe:/a:redhat:openscap:1.3.7", "2026-11-21T19:05:03+00:00")
    );
    let count = |v| read.rules.iter().filter(|r| r.verdict == v).count();
    assert_eq!((count(Verdict::Pass), count(Verdict::Fail), count(Verdict::NotApplicable), count(Verdict::Unknown)), (134, 18, 354, 1));
    assert!((read.scores[0].score - 65.394844).abs() < 1e-6, "{:?}", read.scores);
}
