//! Profiles, tailoring, platforms and scores against `oscap xccdf`.

mod bench;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use muster::judge::Verdict;
use muster::limits::Limits;
use muster::oval::eval::Evaluation;
use muster::oval::syschar::{Bound, SystemCharacteristics, bind};
use muster::oval::truth::Compat;
use muster::xccdf::datastream::Source;
use muster::xccdf::judge::{Judge, RuleResult};
use muster::xccdf::model::Baseline;
use muster::xccdf::resolve::{Choice, resolve};
use muster::xccdf::score::scores;
use muster::xccdf::tailoring;

use super::content::{data, unpacked};

fn judged(baseline: Baseline, facts: &[SystemCharacteristics], now: i64) -> (Arc<Baseline>, Vec<RuleResult>) {
    let judge = Judge::new(Arc::new(baseline), Compat::OpenScap, &Limits::default());
    let bound: Vec<Bound> = judge.prepared().iter().map(|p| bind(facts, p.content())).collect();
    let mut evaluations: Vec<Evaluation> = judge.prepared().iter().zip(&bound).map(|(p, b)| Evaluation::new(p, b, now)).collect();
    let results = judge.judge(&mut |instance, id| evaluations[usize::try_from(instance).unwrap()].definition(id));
    (Arc::clone(judge.baseline()), results)
}

fn profile(name: &str) -> Choice {
    Choice { profile: Some(name.to_owned()), ..Choice::default() }
}

#[test]
fn the_results_and_the_score_of_a_real_report() {
    let Some(data) = data("the ARF of CIS level 2") else { return };
    let limits = Limits { inflate_ratio: 10_000, ..Limits::default() };
    let source = Source::read("ds.xml", &std::fs::read(data.join("scap/ssg-debian12-ds-0.1.82.xml.gz")).unwrap(), &limits).unwrap();
    let (baseline, problems) = resolve(&source, &profile("cis_level2_server"), &limits).unwrap();
    assert!(problems.iter().all(|p| p.what.contains("not checked")), "{problems:?}");
    let arf = unpacked(&data.join("syschar/bookworm.cis_level2_server.arf.xml.gz"));
    let facts = SystemCharacteristics::parse(&arf, &limits).unwrap();
    assert_eq!(facts.len(), 2);
    let (baseline, results) = judged(baseline, &facts, 0);
    let expected = std::fs::read_to_string(data.join("syschar/bookworm.cis_level2_server.rules.tsv")).unwrap();
    let expected: BTreeMap<&str, &str> = expected.lines().filter_map(|l| l.split_once('\t')).collect();
    let got: BTreeMap<&str, &str> =
        results.iter().map(|r| (baseline.items[usize::try_from(r.item).unwrap()].id.as_str(), r.verdict.name())).collect();
    let differs: Vec<_> = expected.iter().filter(|(id, v)| got.get(*id) != Some(v)).map(|(id, v)| (id, v, got.get(id))).collect();
    assert_eq!(differs, [], "{} of {}", differs.len(), expected.len());
    assert_eq!(got.len(), expected.len());
    let count = |v| results.iter().filter(|r| r.verdict == v).count();
    assert_eq!([Verdict::Pass, Verdict::Fail, Verdict::NotApplicable, Verdict::Unknown].map(count), [134, 18, 354, 1]);
    // OpenSCAP adds in single precision.
    assert!((scores(&baseline, &results, Compat::OpenScap)[0].score - 65.394844).abs() < 1e-4);
}

/// Whether `oscap` is here; says so if not, or fails where peers are required.
fn oscap() -> bool {
    if Command::new("oscap").arg("--version").output().is_ok() {
        return true;
    }
    #[allow(clippy::disallowed_methods, reason = "a test's own switch")]
    let required = std::env::var_os("MUSTER_REQUIRE_PEERS").is_some();
    assert!(!required, "oscap is missing and MUSTER_REQUIRE_PEERS is set");
    #[allow(clippy::print_stderr, reason = "what was skipped is said out loud")]
    {
        eprintln!("skipped: oscap is not installed");
    }
    false
}

/// What one evaluation says: results by rule in document order, scores by system.
#[derive(Debug, Default, PartialEq)]
struct Report {
    results: Vec<(String, String)>,
    scores: Vec<(String, f64, f64)>,
    values: Vec<(String, String)>,
}

fn reported(xml: &str) -> Report {
    let tree = roxmltree::Document::parse(xml).unwrap();
    let result = tree.descendants().find(|n| n.tag_name().name() == "TestResult").unwrap();
    let mut out = Report::default();
    for node in result.children().filter(roxmltree::Node::is_element) {
        let text = |n: roxmltree::Node| n.text().unwrap_or_default().to_owned();
        match node.tag_name().name() {
            "rule-result" => {
                let verdict = node.children().find(|n| n.tag_name().name() == "result").unwrap();
                out.results.push((node.attribute("idref").unwrap().to_owned(), text(verdict)));
            }
            "score" => {
                let maximum = node.attribute("maximum").unwrap().parse().unwrap();
                out.scores.push((node.attribute("system").unwrap().to_owned(), text(node).parse().unwrap(), maximum));
            }
            "set-value" => out.values.push((node.attribute("idref").unwrap().to_owned(), text(node))),
            _ => {}
        }
    }
    out.scores.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

/// `oscap xccdf eval`: its report, and the ARF with the facts.
fn evaluated(folder: &Path, arguments: &[&str]) -> (Report, String) {
    let arf = folder.join("arf.xml");
    let mut command = Command::new("oscap");
    command.current_dir(folder).args(["xccdf", "eval", "--skip-validation", "--results-arf", "arf.xml"]).args(arguments);
    // On a busy machine its threads now and then trip over a mutex ("DESC_WUNLOCK failed") and it gives up: asked again, it answers.
    let mut output = command.output().unwrap();
    for _ in 0..3 {
        if !String::from_utf8_lossy(&output.stderr).contains("failed to unlock a mutex") {
            break;
        }
        output = command.output().unwrap();
    }
    assert!(matches!(output.status.code(), Some(0 | 2)), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let arf = std::fs::read_to_string(arf).unwrap();
    (reported(&arf), arf)
}

fn ours(baseline: Baseline, arf: &str) -> Report {
    let values = baseline.set_values.iter().map(|(id, v)| (id.clone(), v.join("|"))).collect();
    let facts = SystemCharacteristics::parse(arf, &Limits::default()).unwrap();
    let (baseline, results) = judged(baseline, &facts, 0);
    let id = |r: &RuleResult| baseline.items[usize::try_from(r.item).unwrap()].id.clone();
    let mut scores: Vec<_> =
        scores(&baseline, &results, Compat::OpenScap).iter().map(|s| (s.system.to_owned(), s.score, s.maximum)).collect();
    scores.sort_by(|a, b| a.0.cmp(&b.0));
    Report { results: results.iter().map(|r| (id(r), r.verdict.name().to_owned())).collect(), scores, values }
}

fn compare(what: &str, ours: &Report, theirs: &Report) -> Vec<String> {
    let mut differs = Vec::new();
    // OpenSCAP gives the results of a multi-check in the order of its hash table.
    let sorted = |report: &Report| {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for (id, verdict) in &report.results {
            match groups.last_mut() {
                Some((last, verdicts)) if last == id => verdicts.push(verdict.clone()),
                _ => groups.push((id.clone(), vec![verdict.clone()])),
            }
        }
        groups.iter_mut().for_each(|(_, verdicts)| verdicts.sort());
        groups
    };
    let (own, other) = (sorted(ours), sorted(theirs));
    let (mut a, mut b) = (own.iter().peekable(), other.iter().peekable());
    while a.peek().is_some() || b.peek().is_some() {
        let (own, other) = (a.next(), b.next());
        if own != other {
            differs.push(format!("{what}: ours {own:?}, oscap {other:?}"));
        }
    }
    for (own, other) in ours.scores.iter().zip(&theirs.scores) {
        // OpenSCAP adds in single precision.
        if own.0 != other.0 || (own.1 - other.1).abs() > 1e-3 || (own.2 - other.2).abs() > 1e-3 {
            differs.push(format!("{what}: ours {own:?}, oscap {other:?}"));
        }
    }
    if ours.scores.len() != theirs.scores.len() {
        differs.push(format!("{what}: {} scores, oscap has {}", ours.scores.len(), theirs.scores.len()));
    }
    let known: BTreeMap<&str, &str> = theirs.values.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    for (id, value) in &ours.values {
        if known.get(id.as_str()) != Some(&value.as_str()) {
            differs.push(format!("{what}: value {id} is ours {value:?}, oscap {:?}", known.get(id.as_str())));
        }
    }
    differs
}

/// The benchmark as files.
fn written(folder: &Path, platform: &str) -> Source {
    let files = [
        ("bench.xml", bench::benchmark(platform)),
        ("oval.xml", bench::checks()),
        ("whole.xml", bench::whole("w", true)),
        ("mixed.xml", bench::whole("x", false)),
        ("cpe-oval.xml", bench::whole("p", false)),
        ("dict.xml", bench::dictionary()),
        ("tailoring.xml", bench::tailoring()),
    ];
    let limits = Limits::default();
    let mut source = Source::default();
    for (name, text) in files {
        // OpenSCAP passes over the element that follows an empty one without white space.
        let text = text.replace("><", ">\n<");
        std::fs::write(folder.join(name), &text).unwrap();
        if name != "tailoring.xml" {
            source = source.with_file(name, text.as_bytes(), &limits).unwrap();
        }
    }
    source
}

#[test]
fn every_construct_as_oscap_has_it() {
    if !oscap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits::default();
    let mut differs = Vec::new();
    for platform in ["", "cpe:/o:muster:true", "cpe:/o:muster:false:1"] {
        let source = written(folder.path(), platform);
        let tailoring = tailoring::read("tailoring.xml", bench::tailoring().as_bytes(), &limits).unwrap();
        let mut runs: Vec<(Vec<String>, Choice)> = vec![(Vec::new(), Choice::default())];
        if platform.is_empty() {
            for name in std::iter::once("(all)".to_owned()).chain(bench::PROFILES.iter().map(|n| bench::id("profile", n))) {
                runs.push((vec!["--profile".to_owned(), name.clone()], profile(&name)));
            }
            for name in bench::TAILORED.iter().map(|n| bench::id("profile", n)) {
                let choice = Choice { tailoring: Some(tailoring.clone()), ..profile(&name) };
                runs.push((["--tailoring-file", "tailoring.xml", "--profile", &name].map(str::to_owned).to_vec(), choice));
            }
        }
        for (arguments, choice) in runs {
            let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            arguments.extend(["--cpe", "dict.xml", "bench.xml"]);
            let (theirs, arf) = evaluated(folder.path(), &arguments);
            let (baseline, _) = resolve(&source, &choice, &limits).unwrap();
            differs.extend(compare(&format!("{platform} {:?}", choice.profile), &ours(baseline, &arf), &theirs));
        }
    }
    assert!(differs.is_empty(), "{} differences:\n{}", differs.len(), differs.join("\n"));
}

fn run(folder: &Path, arguments: &[&str]) {
    let output = Command::new("oscap").current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_data_stream_that_oscap_composed_gives_the_same() {
    if !oscap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits::default();
    written(folder.path(), "");
    run(folder.path(), &["ds", "sds-compose", "--skip-validation", "bench.xml", "ds.xml"]);
    run(folder.path(), &["ds", "sds-add", "--skip-validation", "dict.xml", "ds.xml"]);
    let source = Source::read("ds.xml", &std::fs::read(folder.path().join("ds.xml")).unwrap(), &limits).unwrap();
    let benchmarks = source.benchmarks();
    assert_eq!(benchmarks.len(), 1, "{benchmarks:?}");
    assert!(!benchmarks[0].datastream.is_empty());
    let (theirs, arf) = evaluated(folder.path(), &["--profile", &bench::id("profile", "second"), "ds.xml"]);
    let (baseline, _) = resolve(&source, &profile("second"), &limits).unwrap();
    // The text of a component is a document of its own, and the same benchmark.
    let text = source.component_text(&baseline.benchmark_href).unwrap();
    let again = Source::read("again.xml", text.as_bytes(), &limits).unwrap();
    assert_eq!(again.benchmarks()[0].id, benchmarks[0].id);
    let differs = compare("composed", &ours(baseline, &arf), &theirs);
    assert!(differs.is_empty(), "{} differences:\n{}", differs.len(), differs.join("\n"));
    // The report carries the data stream: it is a source too.
    let carried = Source::read("arf.xml", arf.as_bytes(), &limits).unwrap();
    assert_eq!(carried.benchmarks(), benchmarks);
}

/// The rules that `oscap xccdf eval` takes up, in order. It looks at an empty root: what they come to does not matter here.
fn taken(folder: &Path, file: &Path, profile: &str) -> Vec<String> {
    let mut command = Command::new("oscap");
    command.current_dir(folder).env("OSCAP_PROBE_ROOT", folder).args(["xccdf", "eval", "--skip-validation"]);
    if !profile.is_empty() {
        command.args(["--profile", profile]);
    }
    let output = command.arg(file).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 2)), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|l| l.strip_prefix("Rule\r\t")).map(str::to_owned).collect()
}

#[test]
fn profiles_of_real_content_select_what_oscap_selects() {
    let Some(data) = data("the data streams' profiles") else { return };
    if !oscap() {
        return;
    }
    let limits = Limits { inflate_ratio: 10_000, ..Limits::default() };
    let folder = tempfile::tempdir().unwrap();
    let mut files: Vec<_> = std::fs::read_dir(data.join("scap")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for packed in files {
        let source = Source::read("ds.xml", &std::fs::read(&packed).unwrap(), &limits).unwrap();
        let file = tempfile::Builder::new().suffix(".xml").tempfile().unwrap();
        std::fs::write(file.path(), unpacked(&packed)).unwrap();
        let profiles = source.profiles(None, &limits).unwrap();
        let listed = Command::new("oscap").args(["info", "--profiles"]).arg(file.path()).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let ours: Vec<String> = profiles.iter().filter(|p| !p.id.is_empty()).map(|p| format!("{}:{}", p.id, p.title)).collect();
        assert_eq!(ours, listed.lines().collect::<Vec<_>>(), "{}", packed.display());
        // All of them take minutes: the benchmark's own selection and every sixth profile.
        for info in profiles.iter().step_by(6) {
            let (baseline, _) = resolve(&source, &Choice { profile: Some(info.id.clone()), ..Choice::default() }, &limits).unwrap();
            let own: Vec<String> = baseline.items.iter().filter(|i| i.selected && i.rule.is_some()).map(|i| i.id.clone()).collect();
            assert_eq!(own, taken(folder.path(), file.path(), &info.id), "{} {}", packed.display(), info.id);
            assert_eq!(own.len(), info.selected);
        }
    }
}
