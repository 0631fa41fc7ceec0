//! This host: `muster scan --for` a data stream, judged natively, against `oscap xccdf eval` of the same host at the same time.
//!
//! The stream is the one that `MUSTER_SCAP_STREAM` names (with its profile in `MUSTER_SCAP_PROFILE`), or that of Debian 12 below
//! `MUSTER_DATA`, or the one of Debian's package `ssg-debian`, which is for Debian 11 and is told here that Debian 12 is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use muster::limits::Limits;
use muster::oval::eval::{Evaluation, Prepared};
use muster::oval::native::{Native, Tables};
use muster::oval::truth::Compat;
use muster::scan::table::TableId;
use muster::scan::{Scan, TableData, native};
use muster::xccdf::datastream::Source;
use muster::xccdf::judge::Judge;
use muster::xccdf::resolve::{Choice, resolve};

const PACKAGED: &str = "/usr/share/xml/scap/ssg/content/ssg-debian11-ds.xml";

#[allow(clippy::disallowed_methods, reason = "a test's own switches")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[allow(clippy::print_stderr, reason = "what was measured or skipped is said out loud")]
fn say(what: &str) {
    eprintln!("{what}");
}

/// A stream for this host, plain, in a folder of the test, and the profile to take.
fn stream(folder: &Path) -> Option<(PathBuf, String)> {
    let limits = Limits { inflate_ratio: 10_000, ..Limits::default() };
    let text = |path: &Path| muster::xml::text(&std::fs::read(path).unwrap(), &limits).unwrap();
    let data = variable("MUSTER_DATA").map(|d| Path::new(&d).join("scap/ssg-debian12-ds-0.1.82.xml.gz")).filter(|p| p.exists());
    let (text, profile) = if let Some(path) = variable("MUSTER_SCAP_STREAM") {
        (text(Path::new(&path)), variable("MUSTER_SCAP_PROFILE").unwrap_or_else(|| "cis_level2_server".to_owned()))
    } else if let Some(path) = data {
        (text(&path), "cis_level2_server".to_owned())
    } else if Path::new(PACKAGED).exists() {
        // Both judge the same changed stream: what is compared is not what it says of this host.
        (text(Path::new(PACKAGED)).replace("^11.[0-9]+$", "^12.[0-9]+$"), "anssi_np_nt28_high".to_owned())
    } else {
        let required = variable("MUSTER_REQUIRE_PEERS").is_some();
        assert!(!required, "there is no data stream (Debian package ssg-debian) and MUSTER_REQUIRE_PEERS is set");
        say("skipped: this host against oscap; no data stream (MUSTER_SCAP_STREAM, MUSTER_DATA, or Debian's package ssg-debian)");
        return None;
    };
    let path = folder.join("ds.xml");
    std::fs::write(&path, text).unwrap();
    Some((path, profile))
}

fn debian_12() -> bool {
    std::fs::read_to_string("/etc/debian_version").is_ok_and(|v| v.starts_with("12.")) && Path::new("/proc/sys").exists()
}

/// Rule -> verdict of a results document.
fn theirs(xml: &str) -> BTreeMap<String, String> {
    let tree = roxmltree::Document::parse(xml).unwrap();
    let results = tree.descendants().filter(|n| n.tag_name().name() == "rule-result");
    let verdict = |n: roxmltree::Node| n.children().find(|n| n.tag_name().name() == "result")?.text().map(str::to_owned);
    results.filter_map(|n| Some((n.attribute("idref")?.to_owned(), verdict(n)?))).collect()
}

/// Rule -> verdict, and the tables that its definitions read.
type Ours = BTreeMap<String, (String, BTreeSet<TableId>)>;

fn ours(stream: &Path, profile: &str, scan: &Scan, now_s: i64) -> Ours {
    let limits = Limits::default();
    let source = Source::read("ds.xml", &std::fs::read(stream).unwrap(), &limits).unwrap();
    let choice = Choice { profile: Some(profile.to_owned()), ..Choice::default() };
    let (baseline, _) = resolve(&source, &choice, &limits).unwrap();
    let judge = Judge::new(Arc::new(baseline), Compat::OpenScap, &limits);
    let prepared: &[Prepared] = judge.prepared();
    let natives: Vec<Native> = prepared.iter().map(|p| Native::new(p, &limits)).collect();
    let tables: Vec<Tables> = prepared.iter().zip(&natives).map(|(p, n)| Tables::new(p, n, scan, &limits)).collect();
    let mut evaluations: Vec<Evaluation> = prepared.iter().zip(&tables).map(|(p, t)| Evaluation::new(p, t, now_s)).collect();
    let results = judge.judge(&mut |instance, id| evaluations[usize::try_from(instance).unwrap()].definition(id));
    let reads = |item: u32| {
        let of = |(instance, id): (u32, _)| {
            let at = usize::try_from(instance).unwrap();
            natives[at].tables(&prepared[at], [id])
        };
        judge.definitions(item).into_iter().flat_map(of).collect()
    };
    let id = |item: u32| judge.baseline().items[usize::try_from(item).unwrap()].id.clone();
    results.iter().map(|r| (id(r.item), (r.verdict.name().to_owned(), reads(r.item)))).collect()
}

/// Why a rule's verdicts may differ on a host like this one.
fn reason(reads: &BTreeSet<TableId>, scan: &Scan) -> Option<&'static str> {
    let failed = |name: &str| {
        let id = TableId::by_name(name).unwrap();
        reads.contains(&id) && matches!(scan.tables.get(&id), Some(TableData::Failed(_)))
    };
    failed("systemd").then_some("no systemd runs here: neither can say anything of units")
}

#[test]
fn this_host_as_oscap_judges_it() {
    if Command::new("oscap").arg("--version").output().is_err() {
        assert!(variable("MUSTER_REQUIRE_PEERS").is_none(), "oscap is missing and MUSTER_REQUIRE_PEERS is set");
        return say("skipped: this host against oscap; oscap is not installed");
    }
    if !debian_12() || !rustix::process::geteuid().is_root() {
        return say("skipped: this host against oscap; it is not Debian 12, or this is not root");
    }
    let folder = tempfile::tempdir().unwrap();
    let Some((stream, profile)) = stream(folder.path()) else { return };
    let begun = Instant::now();
    let full = format!("xccdf_org.ssgproject.content_profile_{profile}");
    let peer = Command::new("oscap")
        .current_dir(folder.path())
        .args(["xccdf", "eval", "--skip-validation", "--profile", &full, "--results", "results.xml", "ds.xml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let output = Command::new(env!("CARGO_BIN_EXE_muster"))
        .current_dir(folder.path())
        .args(["scan", "--profile", &profile, "--endpoint", "here", "--output", "scan.json", "--for", "ds.xml"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scanned = begun.elapsed();
    let bytes = std::fs::read(folder.path().join("scan.json")).unwrap();
    let (_, scan) = native::decode_scan(&bytes, &Limits::default()).unwrap();
    let now = muster::clock::now().as_second();
    let ours = ours(&stream, &profile, &scan, now);
    let status = peer.and_then(|mut child| child.wait()).unwrap();
    assert!(matches!(status.code(), Some(0 | 2)), "oscap: {status}");
    let took = begun.elapsed();
    let theirs = theirs(&std::fs::read_to_string(folder.path().join("results.xml")).unwrap());
    report(&ours, &theirs, &scan);
    say(&format!("scan {} bytes in {:.1} s, oscap within {:.1} s", bytes.len(), scanned.as_secs_f64(), took.as_secs_f64()));
}

fn report(ours: &Ours, theirs: &BTreeMap<String, String>, scan: &Scan) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    let mut same = 0;
    for (rule, verdict) in theirs {
        let Some((own, reads)) = ours.get(rule) else {
            unexplained.push(format!("{rule}: oscap {verdict}, here nothing"));
            continue;
        };
        if own == verdict {
            same += 1;
            *counts.entry(verdict).or_default() += 1;
            continue;
        }
        match reason(reads, scan) {
            Some(why) => say(&format!("{rule}: oscap {verdict}, here {own}: {why}")),
            None => unexplained
                .push(format!("{rule}: oscap {verdict}, here {own} (reads {:?})", reads.iter().map(|t| t.name()).collect::<Vec<_>>())),
        }
    }
    say(&format!("{same} of {} rules have one verdict: {counts:?}", theirs.len()));
    assert!(counts.len() > 1 && ours.len() == theirs.len(), "{} rules here, {} there, {counts:?}", ours.len(), theirs.len());
    assert!(unexplained.is_empty(), "unexplained:\n{}", unexplained.join("\n"));
}
