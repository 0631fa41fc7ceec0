//! Benchmarks and data streams, as any text and as pieces put together: refused, or every profile of them resolves within its limits and is
//! judged to one result a rule.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use muster::limits::Limits;
use muster::oval::model::OvalResult;
use muster::oval::truth::Compat;
use muster::xccdf::datastream::Source;
use muster::xccdf::judge::Judge;
use muster::xccdf::model::Check;
use muster::xccdf::resolve::{Choice, resolve};
use muster::xccdf::score::scores;
use muster::xccdf::tailoring;

const OPEN: &str = r#"<Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2" xmlns:c="http://cpe.mitre.org/language/2.0" id="b">"#;
const OVAL: &str = r#"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5"><definitions><definition id="d0" version="1" class="compliance"><metadata><title>t</title></metadata></definition><definition id="d1" version="1" class="patch"><metadata><title>t</title></metadata></definition></definitions><variables><external_variable id="v0" version="1" datatype="string" comment="c"/></variables></oval_definitions>"#;

/// Few names, so that they meet.
const PIECES: [&str; 32] = [
    "<Group id='g#'>",
    "</Group>",
    "<Rule id='r#'>",
    "<Rule id='r#' selected='false' cluster-id='k#' weight='#.5'>",
    "<Rule id='r#' extends='r%' abstract='#' role='unscored'>",
    "</Rule>",
    "<requires idref='r# g%'/>",
    "<conflicts idref='r#'/>",
    "<platform idref='#p%'/>",
    "<title>t <sub idref='v#'/></title>",
    "<check system='http://oval.mitre.org/XMLSchema/oval-definitions-5' selector='s#'>",
    "<check system='http://oval.mitre.org/XMLSchema/oval-definitions-5' negate='#' multi-check='%'>",
    "</check>",
    "<check-export value-id='v#' export-name='v%'/>",
    "<check-content-ref href='o' name='d#'/>",
    "<check-content-ref href='o'/>",
    "<complex-check operator='OR' negate='#'>",
    "<complex-check operator='AND'>",
    "</complex-check>",
    "<Value id='v#' extends='v%'><value selector='s#'>#</value></Value>",
    "<Value id='v#'><value>#</value><value selector='s%'>%</value></Value>",
    "<Profile id='f#' extends='f%'>",
    "<Profile id='f#'>",
    "</Profile>",
    "<select idref='r#' selected='%'/>",
    "<select idref='k#' selected='%'/>",
    "<refine-value idref='v#' selector='s%'/>",
    "<set-value idref='v#'>%</set-value>",
    "<refine-rule idref='r#' selector='s%' weight='%'/>",
    "<refine-rule idref='g#' role='unchecked'/>",
    "<c:platform-specification><c:platform id='p#'><c:logical-test operator='OR' negate='%'><c:check-fact-ref href='o' id-ref='d#'/></c:logical-test></c:platform></c:platform-specification>",
    "<description><p xmlns='x'>a<br/> b</p></description>",
];

/// One byte a piece; the next two are its numbers. What is open at the end is closed.
fn composed(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut open: Vec<&str> = Vec::new();
    for chunk in bytes.chunks(3) {
        let at = |n: usize| chunk.get(n).copied().unwrap_or(0);
        let piece = PIECES[usize::from(at(0)) % PIECES.len()];
        if let Some(name) = piece.strip_prefix("</").and_then(|p| p.strip_suffix('>')) {
            if open.last() != Some(&name) {
                continue;
            }
            open.pop();
        } else if !piece.contains("</") && !piece.contains("/>") {
            let name = piece[1..].split([' ', '>']).next().unwrap_or_default();
            open.push(name);
        }
        out += &piece.replace('#', &(at(1) % 4).to_string()).replace('%', &(at(2) % 4).to_string());
    }
    for name in open.iter().rev() {
        out += &format!("</{name}>");
    }
    out
}

fn read(text: &str) {
    let limits = Limits { benchmark_steps: 200_000, content_bytes: 1 << 20, content_instances: 3, ..Limits::default() };
    let Ok(source) = Source::read("b", text.as_bytes(), &limits) else { return };
    let source = source.with_file("o", OVAL.as_bytes(), &limits).expect("our own OVAL");
    for info in source.benchmarks() {
        assert!(source.component_text(&info.component).is_some());
    }
    let Ok(profiles) = source.profiles(None, &limits) else { return };
    for info in profiles {
        let choice = Choice { datastream: Some(info.datastream), benchmark: Some(info.benchmark), profile: Some(info.id), tailoring: None };
        let Ok((baseline, _)) = resolve(&source, &choice, &limits) else { continue };
        assert_eq!(baseline.items.iter().filter(|i| i.selected && i.rule.is_some()).count(), info.selected);
        assert!((0u32..).zip(&baseline.items).all(|(n, i)| i.parent.is_none_or(|p| p < n)));
        let multi = baseline.items.iter().any(|i| matches!(i.rule.as_ref().and_then(|r| r.check.as_ref()), Some(Check::Document { multi: true, .. })));
        let rules = baseline.items.iter().filter(|i| i.rule.is_some()).count();
        let judge = Judge::new(Arc::new(baseline), Compat::Specification, &limits);
        let results = judge.judge(&mut |_, id| OvalResult::ALL[id.index() % 6]);
        assert!(results.len() == rules || multi);
        assert!(scores(judge.baseline(), &results, Compat::Specification).iter().all(|s| s.score >= 0.0 && s.score <= s.maximum + 1e-6));
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        read(text);
        read(&format!("{OPEN}{text}</Benchmark>"));
        let _ = tailoring::read("t", bytes, &Limits::default());
    }
    read(&format!("{OPEN}{}</Benchmark>", composed(bytes)));
});
