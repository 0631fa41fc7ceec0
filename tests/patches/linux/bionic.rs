//! Canonical's feed for Ubuntu 18.04 over a real host of 357 packages: 11,976 definitions, of which `oscap` found 295 true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use muster::collect::{Root, collect};
use muster::feed::oval;
use muster::judge::{Verdict, forward};
use muster::limits::Limits;
use muster::oval::eval::Compat;
use muster::pack::{Pack, Sources, merge};
use muster::rule::Collect;
use muster::rule::stream::{Stream, baselines};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan};
use muster::xccdf::datastream::Source;
use muster::xml;

use super::{asked, bytes, catalog, data, differences, endpoint, read, straight};

const FEED: &str = "oval/com.ubuntu.bionic.cve.oval.xml.bz2";

/// The files of such a host that are looked at, in a folder; its own package database, as dpkg left it.
fn host(data: &Path, asks: &Collect) -> Scan {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, content: &[u8]| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    put("var/lib/dpkg/status", &bytes(data, "inventories/ubuntu-bionic-357.dpkg-status"));
    put("etc/os-release", b"NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"18.04\"\n");
    put(
        "etc/lsb-release",
        b"DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=18.04\nDISTRIB_CODENAME=bionic\nDISTRIB_DESCRIPTION=\"Ubuntu 18.04 LTS\"\n",
    );
    collect(&Root::new(root.path()), asks, &Limits::default())
}

fn packages(scan: &Scan) -> Vec<Row> {
    let rows = scan.rows(TableId::by_name("package").unwrap()).to_vec();
    assert_eq!(rows.len(), 357);
    assert!(rows.iter().all(|r| r.get("release").as_str() == Some("ubuntu:18.04") && r.get("format").as_str() == Some("deb")));
    rows
}

/// What `oscap` said, by definition.
fn truth(data: &Path) -> BTreeMap<String, bool> {
    let text = String::from_utf8(bytes(data, "syschar/bionic-texlive.defresults.tsv")).unwrap();
    let truth: BTreeMap<String, bool> =
        text.lines().filter_map(|l| l.split_once('\t')).map(|(id, result)| (id.to_owned(), result == "true")).collect();
    assert_eq!((truth.len(), truth.values().filter(|t| **t).count()), (11_976, 295));
    truth
}

#[test]
fn every_definition_from_native_rows() {
    let Some(data) = data() else { return };
    let limits = Limits::default();
    let text = xml::text(&bytes(&data, FEED), &limits).unwrap();
    let source = Source::read("bionic.xml", text.as_bytes(), &limits).unwrap();
    let (packs, problems) = baselines(&Stream { compat: Compat::OpenScap, ..Stream::default() }, &source, None, &limits);
    assert!(problems.is_empty(), "{problems:?}");
    let pack = Pack::from_bytes(merge(&Sources { scap: &packs, ..Sources::default() })).unwrap();
    let scan = host(&data, &pack.asks());
    packages(&scan);
    let verdicts = forward::judge_scan(&pack, &scan, 0);
    let rule = |id| pack.meta(id).scap.as_ref().unwrap().rule.clone();
    // A vulnerability that is there fails; an inventory that is there passes.
    let ours: BTreeMap<String, Verdict> = pack.rules().zip(verdicts).map(|(id, verdict)| (rule(id), verdict)).collect();
    let truth = truth(&data);
    assert_eq!(ours.len(), truth.len());
    for (id, is_true) in &truth {
        let inventory = id.ends_with(":def:100");
        let expected = if *is_true == inventory { Verdict::Pass } else { Verdict::Fail };
        assert_eq!(ours.get(id), Some(&expected), "{id}");
    }
}

#[test]
fn every_definition_as_an_advisory() {
    let Some(data) = data() else { return };
    let batch = read(oval::read, "bionic", &bytes(&data, FEED));
    assert_eq!((batch.advisories.len(), batch.problems.len()), (11_975, 0));
    let rows = packages(&host(&data, &Collect::new()));
    let truth = truth(&data);
    let definition = |a: &muster::feed::model::Advisory| a.aliases.iter().find(|n| n.starts_with("oval:")).unwrap().to_string();
    let theirs: BTreeSet<String> =
        batch.advisories.iter().filter(|a| truth.get(&definition(a)) == Some(&true)).map(|a| a.id.to_string()).collect();
    // The 295th is the inventory definition, which is no vulnerability.
    assert_eq!(theirs.len(), 294);
    let by_package = straight::affected(&batch.advisories, &rows);
    let ids: BTreeSet<String> = by_package.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(differences(&ids, &theirs), [""; 0]);
    let catalog = catalog(&batch.advisories);
    assert_eq!(catalog.len(), 11_975);
    assert_eq!(differences(&asked(&catalog, &rows), &by_package), [""; 0]);
    assert_eq!(differences(&endpoint(&catalog, &rows), &theirs), [""; 0]);
    // The same packages on another release are not what the feed is about.
    let elsewhere: Vec<Row> = rows.into_iter().map(|r| r.with("release", "ubuntu:20.04")).collect();
    assert_eq!(endpoint(&catalog, &elsewhere), BTreeSet::new());
}
