use super::*;
use crate::judge::Verdict;
use crate::oval::model::OvalResult;
use crate::oval::truth::Compat;
use crate::xccdf::datastream::SourceError;
use crate::xccdf::judge::{Judge, any_applied};
use crate::xccdf::model::{Check, Role};
use crate::xccdf::tailoring;
use std::sync::Arc;

fn bench(body: &str) -> String {
    format!(
        "<Benchmark xmlns='http://checklists.nist.gov/xccdf/1.2' xmlns:h='http://www.w3.org/1999/xhtml' id='b'><title>t</title><plain-text id='p'>plain</plain-text>{body}</Benchmark>"
    )
}

const OVAL: &str = "<oval_definitions xmlns='http://oval.mitre.org/XMLSchema/oval-definitions-5'><definitions>
<definition id='oval:m:def:1' version='1' class='compliance'><metadata><title>one</title><description/></metadata><criteria><criterion test_ref='oval:m:tst:1'/></criteria></definition>
<definition id='oval:m:def:2' version='1' class='vulnerability'><metadata><title>two</title><description/></metadata><criteria><criterion test_ref='oval:m:tst:1'/></criteria></definition>
</definitions><tests><unknown_test xmlns='http://oval.mitre.org/XMLSchema/oval-definitions-5#independent' id='oval:m:tst:1' version='1' check='all' comment='t'/></tests>
<variables><external_variable id='oval:m:var:9' version='1' datatype='string' comment='c'/></variables></oval_definitions>";

fn source(body: &str, limits: &Limits) -> Source {
    Source::read("b.xml", bench(body).as_bytes(), limits).unwrap().with_file("o.xml", OVAL.as_bytes(), limits).unwrap()
}

fn baseline(body: &str, profile: &str) -> (Baseline, Vec<Problem>) {
    let limits = Limits::default();
    resolve(&source(body, &limits), &Choice { profile: Some(profile.to_owned()), ..Choice::default() }, &limits).unwrap()
}

fn failing(body: &str, profile: &str, limits: &Limits) -> ResolveError {
    resolve(&source(body, limits), &Choice { profile: Some(profile.to_owned()), ..Choice::default() }, limits).unwrap_err()
}

fn rule(id: &str, body: &str) -> String {
    format!("<Rule id='{id}'><title>{id}</title>{body}</Rule>")
}

fn check(value: &str) -> String {
    let export = if value.is_empty() { String::new() } else { format!("<check-export value-id='{value}' export-name='oval:m:var:9'/>") };
    format!(
        "<check system='http://oval.mitre.org/XMLSchema/oval-definitions-5'>{export}<check-content-ref href='o.xml' name='oval:m:def:1'/></check>"
    )
}

fn instance(baseline: &Baseline, rule: &str) -> Option<u32> {
    let item = baseline.items.iter().find(|i| i.id == rule)?;
    match item.rule.as_ref()?.check.as_ref()? {
        Check::Definition { instance, .. } => Some(*instance),
        _ => None,
    }
}

#[test]
fn instances_are_as_few_as_the_values_allow() {
    let values = "<Value id='a'><value>1</value></Value><Value id='b'><value>2</value><value selector='one'>1</value></Value>";
    let body = format!(
        "{values}<Profile id='x_profile_p'><refine-value idref='b' selector='one'/></Profile>{}{}{}{}",
        rule("r0", &check("")),
        rule("r1", &check("a")),
        rule("r2", &check("b")),
        rule("r3", &check("a"))
    );
    let (out, problems) = baseline(&body, "");
    assert_eq!(problems, []);
    assert_eq!((out.contents.len(), out.instances.len()), (1, 2));
    assert_eq!(["r0", "r1", "r2", "r3"].map(|r| instance(&out, r)), [Some(0), Some(0), Some(1), Some(0)]);
    assert_eq!(out.instances[1].bindings["oval:m:var:9"], ["2"]);
    assert_eq!(out.instances[1].href, "o.xml");
    // The profile makes both values the same.
    let (out, _) = baseline(&body, "p");
    assert_eq!((out.profile_id.as_str(), out.instances.len()), ("x_profile_p", 1));
    assert_eq!(out.set_values, [("a".to_owned(), vec!["1".to_owned()]), ("b".to_owned(), vec!["1".to_owned()])]);
}

#[test]
fn more_instances_than_allowed_are_not_checked() {
    let limits = Limits { content_instances: 2, ..Limits::default() };
    let values: String = (0..3).map(|n| format!("<Value id='v{n}'><value>{n}</value></Value>")).collect();
    let rules: String = (0..3).map(|n| rule(&format!("r{n}"), &check(&format!("v{n}")))).collect();
    let (out, problems) = resolve(&source(&(values + &rules), &limits), &Choice::default(), &limits).unwrap();
    assert_eq!(out.instances.len(), 2);
    assert!(matches!(out.items[2].rule.as_ref().unwrap().check, Some(Check::Unsupported { .. })));
    assert!(problems[0].what.contains("content_instances"), "{problems:?}");
}

#[test]
fn texts_are_filled_in() {
    let body = "<Value id='v'><title>Level</title><value>7</value></Value><Profile id='p'><set-value idref='v'>8</set-value></Profile>
        <Rule id='r'><title>Set <sub idref='v'/></title><description>To <h:b><sub idref='v' use='title'/></h:b>  or <sub idref='p'/></description>
        <fix system='urn:sh' reboot='true'>  level=<sub idref='v'/>\n  run</fix></Rule>";
    let (out, _) = baseline(body, "p");
    let item = &out.items[0];
    assert_eq!((item.title.as_str(), item.description.as_str()), ("Set 8", "To Level or plain"));
    let fix = &item.rule.as_ref().unwrap().fixes[0];
    assert_eq!((fix.text.as_str(), fix.reboot), ("  level=8\n  run", true));
}

#[test]
fn profiles_that_cannot_be_chosen_say_why() {
    let limits = Limits::default();
    let body = "<Profile id='x_profile_a' extends='x_profile_b'/><Profile id='x_profile_b' extends='x_profile_a'/>
        <Profile id='x_profile_c' abstract='true'/><Profile id='x_profile_d' extends='nowhere'/><Profile id='y_profile_d2'/>";
    assert!(matches!(failing(body, "a", &limits), ResolveError::Circle { .. }));
    assert!(matches!(failing(body, "x_profile_c", &limits), ResolveError::Abstract { .. }));
    assert!(matches!(failing(body, "x_profile_d", &limits), ResolveError::NoParent { .. }));
    let ResolveError::Unknown { known, .. } = failing(body, "profile", &limits) else { panic!("found") };
    assert_eq!(known.len(), 5);
    // What cannot be chosen is not listed.
    let listed: Vec<String> = source(body, &limits).profiles(None, &limits).unwrap().into_iter().map(|p| p.id).collect();
    assert_eq!(listed, ["", "y_profile_d2"]);
}

#[test]
fn tailoring_extends_the_benchmark() {
    let limits = Limits::default();
    let body = format!(
        "<Profile id='x_profile_p'><select idref='r1' selected='false'/><refine-rule idref='r2' role='unscored'/></Profile>{}{}{}",
        rule("r1", &check("")),
        rule("r2", &check("")),
        rule("r3", &check(""))
    );
    let file = "<Tailoring xmlns='http://checklists.nist.gov/xccdf/1.2' id='t'><version time='2026-01-01T00:00:00'>5</version>
        <Profile id='x_profile_p' extends='x_profile_p'><title>Ours</title><select idref='r3' selected='false'/><refine-rule idref='r2' severity='low'/></Profile></Tailoring>";
    let tailoring = tailoring::read("t.xml", file.as_bytes(), &limits).unwrap();
    let source = source(&body, &limits);
    let counts: Vec<(String, usize)> =
        source.profiles(Some(&tailoring), &limits).unwrap().into_iter().map(|p| (p.title, p.selected)).collect();
    assert_eq!(counts, [(String::new(), 3), ("Ours".to_owned(), 1)]);
    let choice = Choice { profile: Some("p".to_owned()), tailoring: Some(tailoring), ..Choice::default() };
    let (out, _) = resolve(&source, &choice, &limits).unwrap();
    assert_eq!(out.items.iter().map(|i| i.selected).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(out.tailoring.unwrap().version, "5");
    // The setting of the extending profile takes the place of the other, which gave a role.
    assert_eq!(out.items[1].rule.as_ref().unwrap().role, Role::Full);
}

#[test]
fn what_multiplies_ends() {
    let small = Limits { benchmark_steps: 5_000, content_bytes: 100_000, ..Limits::default() };
    let members: String = (0..100).map(|n| format!("<Rule id='r{n}' cluster-id='c'/>")).collect();
    let selects = "<select idref='c' selected='true'/>".repeat(100);
    let body = format!("<Profile id='p'>{selects}</Profile>{members}");
    assert_eq!(failing(&body, "p", &small), ResolveError::Spent(Spent::Steps(5_000)));
    let body = format!(
        "<Value id='v'><value>{}</value></Value><Rule id='r'><description>{}</description></Rule>",
        "x".repeat(10_000),
        "<sub idref='v'/>".repeat(50)
    );
    assert_eq!(failing(&body, "", &small), ResolveError::Spent(Spent::Bytes(100_000)));
    let chain: String =
        (0..100).map(|n| format!("<Rule id='r{}' extends='r{n}'><description>{}</description></Rule>", n + 1, "x".repeat(500))).collect();
    let text = bench(&format!("{}<Rule id='r0'/>", chain));
    let Err(SourceError::Content { problem, .. }) = Source::read("b.xml", text.as_bytes(), &small) else { panic!("read") };
    assert!(problem.what.contains("content_bytes"), "{problem}");
    let few = Limits { rules: 10, ..Limits::default() };
    assert!(matches!(Source::read("b.xml", bench(&members).as_bytes(), &few), Err(SourceError::Content { .. })));
}

#[test]
fn circles_of_rules_are_told() {
    let limits = Limits::default();
    let body = "<Rule id='a' extends='b'/><Rule id='b' extends='a'/><Rule id='c' extends='nowhere'/><Rule id='c'/><Rule id='d'><requires idref='e'/></Rule><Rule id='e'><requires idref='d'/></Rule>
        <Rule id='f'><requires idref='nowhere'/></Rule>";
    let source = source(body, &limits);
    let told: Vec<String> = source.problems().into_iter().map(|p| p.to_string()).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().any(|t| t.contains("circle")) && told.iter().any(|t| t.contains("`nowhere`")), "{told:?}");
    let (out, problems) = resolve(&source, &Choice::default(), &limits).unwrap();
    let selected: Vec<&str> = out.items.iter().filter(|i| i.selected).map(|i| i.id.as_str()).collect();
    assert_eq!(selected, ["a", "b", "c", "d", "e"]);
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn oval_alone_is_one_rule_a_definition() {
    let limits = Limits::default();
    let source = Source::read("o.xml", OVAL.as_bytes(), &limits).unwrap();
    let (out, problems) = resolve(&source, &Choice::default(), &limits).unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let judge = Judge::new(Arc::new(out), Compat::Specification, &limits);
    let results = judge.judge(&mut |_, _| OvalResult::True);
    assert_eq!(results.iter().map(|r| r.verdict).collect::<Vec<_>>(), [Verdict::Pass, Verdict::Fail]);
}

#[test]
fn content_for_something_else_is_no_evidence() {
    let limits = Limits::default();
    let body = format!("<platform idref='cpe:/o:nobody:knows'/>{}", rule("r", &check("")));
    let (out, _) = resolve(&source(&body, &limits), &Choice::default(), &limits).unwrap();
    let judge = Judge::new(Arc::new(out), Compat::Specification, &limits);
    let results = judge.judge(&mut |_, _| OvalResult::True);
    assert_eq!(results[0].verdict, Verdict::NotApplicable);
    assert!(!any_applied(&results));
}

#[test]
fn what_is_elsewhere_is_not_fetched() {
    let limits = Limits::default();
    let inner = bench(&rule("r", &check("")));
    let text = format!(
        "<ds:data-stream-collection xmlns:ds='http://scap.nist.gov/schema/scap/source/1.2' xmlns:xlink='http://www.w3.org/1999/xlink' xmlns:cat='urn:oasis:names:tc:entity:xmlns:xml:catalog'>
        <ds:data-stream id='s'><ds:checklists><ds:component-ref id='cb' xlink:href='#b'><cat:catalog><cat:uri name='o.xml' uri='#co'/></cat:catalog></ds:component-ref></ds:checklists>
        <ds:checks><ds:component-ref id='co' xlink:href='https://example.com/o.xml'/></ds:checks></ds:data-stream><ds:component id='b'>{inner}</ds:component></ds:data-stream-collection>"
    );
    let source = Source::read("ds.xml", text.as_bytes(), &limits).unwrap();
    let (out, problems) = resolve(&source, &Choice::default(), &limits).unwrap();
    assert_eq!(out.benchmark_href, "#b");
    assert!(problems[0].what.contains("https://example.com/o.xml"), "{problems:?}");
    assert_eq!(out.notes.len(), 1);
    let judge = Judge::new(Arc::new(out), Compat::Specification, &limits);
    assert_eq!(judge.judge(&mut |_, _| OvalResult::True)[0].verdict, Verdict::NotChecked);
    let choice = Choice { datastream: Some("other".to_owned()), ..Choice::default() };
    assert!(matches!(resolve(&source, &choice, &limits), Err(ResolveError::Unknown { .. })));
}
