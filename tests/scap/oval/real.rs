//! Real content over real system characteristics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster::limits::Limits;
use muster::oval::eval::{Compat, Evaluation, Prepared};
use muster::oval::facts::{Facts, Flag};
use muster::oval::model::{Content, DefinitionId, OvalResult, TestId};
use muster::oval::read;
use muster::oval::syschar::{SystemCharacteristics, bind};
use muster::xml;

use super::super::content::{data, unpacked};
use super::{analyse, differences, evaluate, oscap_is_here, result};

const BOOKWORM: &str = "syschar/bookworm.debian12-oval.syschar.xml.gz";

fn read_content(text: &str) -> Content {
    read::read_text(text, "it", &Limits::default()).unwrap()
}

/// Lines of `def <id> <result>` or `<id> <result>`.
fn table(file: &Path) -> BTreeMap<String, OvalResult> {
    let text = std::fs::read_to_string(file).unwrap();
    let fields = text.lines().map(|line| line.split('\t').collect::<Vec<&str>>()).filter(|fields| fields.len() >= 2);
    let fields = fields.filter(|f| f.len() == 2 || f[0] == "def");
    fields.map(|f| (f[f.len() - 2].to_string(), result(f[f.len() - 1]))).collect()
}

#[test]
fn the_real_debian_12_is_judged_as_oscap_judges_it() {
    let Some(data) = data("Debian 12's OVAL over its system characteristics") else { return };
    let text = unpacked(&data.join("oval/ssg-debian12-oval.xml.gz"));
    let theirs = table(&data.join("syschar/bookworm.debian12-oval.analyse.tsv"));
    assert_eq!(theirs.len(), 1012);
    // None of the departures shows on a real host.
    for compat in [Compat::OpenScap, Compat::Specification] {
        let (ours, _) = evaluate(read_content(&text), &unpacked(&data.join(BOOKWORM)), compat);
        assert_eq!(differences(&ours, &theirs), [""; 0], "{compat:?}");
    }
}

#[test]
fn the_real_bionic_is_judged_as_oscap_judges_it() {
    let Some(data) = data("Canonical's feed over the system characteristics of a bionic") else { return };
    let text = unpacked(&data.join("oval/com.ubuntu.bionic.cve.oval.xml.bz2"));
    let characteristics = unpacked(&data.join("syschar/bionic-texlive.syschar.xml.gz"));
    let theirs = table(&data.join("syschar/bionic-texlive.defresults.tsv"));
    assert_eq!((theirs.len(), theirs.values().filter(|r| **r == OvalResult::True).count()), (11976, 295));
    let (ours, _) = evaluate(read_content(&text), &characteristics, Compat::OpenScap);
    assert_eq!(differences(&ours, &theirs), [""; 0]);
}

/// The text of each OVAL document in a file, on its own: namespaces that it inherits are written into it.
fn components(text: &str) -> Vec<String> {
    let tree = xml::tree(text, &Limits::default()).unwrap();
    let mut found = Vec::new();
    for node in tree.descendants().filter(|n| n.tag_name().name() == "oval_definitions") {
        let source = text.get(node.range()).unwrap();
        let (name, rest) = source.split_at(source.find([' ', '>', '\n']).unwrap());
        let (tag, _) = source.split_once('>').unwrap();
        let own: BTreeSet<&str> = tag.split_whitespace().filter_map(|w| w.split('=').next()).collect();
        let mut declared = String::new();
        for namespace in node.namespaces() {
            let name = namespace.name().map_or("xmlns".to_string(), |name| format!("xmlns:{name}"));
            if !own.contains(&*name) && namespace.name() != Some("xml") {
                declared.push_str(&format!(" {name}=\"{}\"", namespace.uri()));
            }
        }
        found.push(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{name}{declared}{rest}"));
    }
    found
}

#[test]
fn foreign_content_over_the_real_debian_12_is_judged_as_oscap_judges_it() {
    let Some(data) = data("foreign OVAL over Debian 12's system characteristics") else { return };
    if !oscap_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let characteristics = unpacked(&data.join(BOOKWORM));
    let file = folder.path().join("characteristics.xml");
    std::fs::write(&file, &characteristics).unwrap();
    let mut compared = 0;
    for name in [
        "oval/com.redhat.rhsa-RHEL8.xml.gz",
        "oval/rhel-8.oval-v2.xml.gz",
        "scap/disa-stig-win10.xml.gz",
        "scap/disa-stig-rhel9-v2r9.xml.gz",
        "scap/ssg-ubuntu2204-ds-0.1.82.xml.gz",
        "scap/ssg-rhel9-ds-0.1.82.xml.gz",
        "scap/ssg-debian12-ds-0.1.82.xml.gz",
    ] {
        for (at, text) in components(&unpacked(&data.join(name))).iter().enumerate() {
            let definitions: PathBuf = folder.path().join(format!("{at}.xml"));
            std::fs::write(&definitions, text).unwrap();
            let theirs = analyse(&definitions, &file);
            let (ours, content) = evaluate(read_content(text), &characteristics, Compat::OpenScap);
            assert_eq!(theirs.len(), content.definitions.len(), "{name}");
            assert_eq!(differences(&ours, &theirs), [""; 0], "{name}, document {at}");
            compared += theirs.len();
        }
    }
    assert!(compared > 4_000, "{compared}");
}

#[test]
fn sums_over_items_are_the_results_of_tests_and_every_doubt_has_a_reason() {
    let Some(data) = data("Debian 12's OVAL by sums over items") else { return };
    let content = Arc::new(read_content(&unpacked(&data.join("oval/ssg-debian12-oval.xml.gz"))));
    let characteristics = unpacked(&data.join(BOOKWORM));
    let systems = SystemCharacteristics::parse(&characteristics, &Limits::default()).unwrap();
    let facts = bind(&systems, &content);
    for compat in [Compat::Specification, Compat::OpenScap] {
        let prepared = Prepared::new(content.clone(), &BTreeMap::new(), compat, &Limits::default());
        let mut evaluation = Evaluation::new(&prepared, &facts, 1_700_000_000);
        let mut by_rows = 0;
        for (id, test) in (0..).map(TestId).zip(&content.tests) {
            let whole = evaluation.test(id);
            let doubt = !matches!(whole, OvalResult::True | OvalResult::False | OvalResult::NotApplicable);
            assert_eq!(evaluation.why(id).is_some(), doubt, "{} {whole:?}", test.id);
            if !prepared.is_row_level(id) {
                continue;
            }
            by_rows += 1;
            assert!(prepared.object_dependencies(id).contains(&test.object.unwrap()));
            let collected = facts.collected(test.object.unwrap(), &mut evaluation);
            let items = collected.as_ref().map(|c| c.items.clone()).unwrap_or_default();
            let halves = items.split_at(items.len() / 2);
            let tally = prepared.tally(id, halves.1).add(prepared.tally(id, halves.0));
            assert_eq!(prepared.result(id, collected.map(|c| c.flag), tally), whole, "{}", test.id);
        }
        assert!(by_rows > 1_000, "{by_rows}");
        assert!(systems[0].objects().any(|o| o.flag == Flag::Complete));
        let judged = (0..).map(DefinitionId).take(content.definitions.len()).map(|d| evaluation.definition(d));
        assert!(judged.filter(|r| *r == OvalResult::True).count() > 100);
    }
}
