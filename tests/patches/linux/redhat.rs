//! Red Hat's OVAL, with and without module tests, over made hosts: `oscap oval analyse` says which definitions are true.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use muster::feed::model::{Advisory, Target};
use muster::feed::oval;
use muster::limits::Limits;
use muster::scan::Row;
use muster::xml;

use super::{Installed, bytes, catalog, data, differences, endpoint, peers, read, row, script};

const HOSTS: usize = 9;

/// The definitions that `oscap` finds true.
fn oscap(definitions: &Path, characteristics: &Path) -> BTreeSet<String> {
    let results = tempfile::NamedTempFile::new().unwrap();
    let run = Command::new("oscap")
        .args(["oval", "analyse", "--results"])
        .arg(results.path())
        .arg(definitions)
        .arg(characteristics)
        .output()
        .unwrap();
    assert!(run.status.success() && run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = std::fs::read_to_string(results.path()).unwrap();
    let tree = xml::tree(&text, &Limits::default()).unwrap();
    let results = tree.descendants().filter(|n| n.tag_name().name() == "definition" && n.attribute("definition_id").is_some());
    results.filter(|n| n.attribute("result") == Some("true")).map(|n| n.attribute("definition_id").unwrap().to_owned()).collect()
}

fn definition(advisory: &Advisory) -> String {
    advisory.aliases.iter().find(|a| a.starts_with("oval:")).unwrap().to_string()
}

/// Whether some package of these is below a fix of its name, and one of both is of a module.
fn of_another_line(advisory: &Advisory, rows: &[Row]) -> bool {
    let is_modular = |version: &str| version.contains(".module");
    advisory.affected.iter().any(|entry| {
        let Target::Package(package) = &entry.target else { panic!("{entry:?}") };
        rows.iter().any(|row| {
            let version = row.get("version").as_str().unwrap();
            row.get("name").as_str() == Some(&*package.name)
                && is_modular(version) != is_modular(&entry.fixes[0].version)
                && entry.versions.contains(version) == Some(true)
        })
    })
}

fn check(feed: &str, count: usize) {
    let Some(data) = data() else { return };
    if !peers(&["python3", "oscap"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let definitions = folder.path().join("definitions.xml");
    let packed = bytes(&data, feed);
    std::fs::write(&definitions, xml::text(&packed, &Limits::default()).unwrap()).unwrap();
    let told = script("rhel.py", &[definitions.to_str().unwrap(), folder.path().to_str().unwrap(), &HOSTS.to_string()]);
    assert!(told.lines().count() == HOSTS && told.lines().all(|n| n.parse::<usize>().unwrap() > 500), "{told}");
    let batch = read(oval::read, feed, &packed);
    assert_eq!((batch.advisories.len(), batch.refused().count()), (count, 0));
    let catalog = catalog(&batch.advisories);
    let mut answers = BTreeSet::new();
    for host in 0..HOSTS {
        let file = |ending: &str| folder.path().join(format!("{host}.{ending}"));
        let theirs = oscap(&definitions, &file("syschar.xml"));
        let list = std::fs::read_to_string(file("list")).unwrap();
        let mut rows: Vec<Row> = list.lines().map(|l| Installed::parse(l).row("rpm")).collect();
        let kernel = std::fs::read_to_string(file("kernel")).unwrap();
        rows.push(
            row("os").with("family", "linux").with("id", "rhel").with("version", "8.1").with("arch", "x86_64").with("kernel", kernel),
        );
        let ids = endpoint(&catalog, &rows);
        let ours: BTreeSet<String> = batch.advisories.iter().filter(|a| ids.contains(&*a.id)).map(definition).collect();
        // A package of a module below a fix that is of none, or the other way round (numpy of python27 under RHSA-2019:3704): definitions without a module test
        // cannot tell them apart, and compare versions of different lines. Ours is right; see [`of_another_line`].
        let more: BTreeSet<String> = theirs.difference(&ours).cloned().collect();
        assert!(
            more.len() < 10 && batch.advisories.iter().filter(|a| more.contains(&definition(a))).all(|a| of_another_line(a, &rows)),
            "{more:?}"
        );
        assert_eq!(differences(&ours, &theirs.difference(&more).cloned().collect()), [""; 0], "host {host}");
        assert!(theirs.len() > count / 4 && theirs.len() < count, "{}", theirs.len());
        answers.insert(theirs);
    }
    assert_eq!(answers.len(), HOSTS, "hosts differ");
}

#[test]
fn definitions_without_module_tests() {
    check("oval/com.redhat.rhsa-RHEL8.xml.gz", 129);
}

#[test]
fn definitions_with_module_tests() {
    check("oval/rhel-8.oval-v2.xml.gz", 181);
}
