//! SCAP content against OpenSCAP: the same definitions over the same system characteristics, the same answers.
//!
//! Needs content and facts: `MUSTER_DATA` names a folder with `oval/`, `scap/` and `syschar/`; and `oscap`. Says so where they are missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::ingest::prepare;
use muster::limits::Limits;
use muster::oval::eval::{Compat, Evaluation, Prepared};
use muster::oval::model::DefinitionId;
use muster::oval::syschar::{SystemCharacteristics, bind};
use muster::pack::{Pack, ScapPack, Sources, compile, merge};
use muster::policy::Policy;
use muster::rule::stream::{Stream, read_stream};
use muster::scan::{native, scap};
use muster::shard::{BodyHash, Input, Shard};
use muster::state::Store;
use muster::state::memory::MemoryStore;
use muster::xml;

use crate::corpus::Corpus;
use crate::report::{Report, Unit};
use crate::{each, median};

pub(crate) fn run(_: &Corpus, report: &mut Report) {
    let Some(data) = std::env::var_os("MUSTER_DATA").map(PathBuf::from) else {
        report.skip(&["oval-command", "oval-library"], "MUSTER_DATA names no folder with content");
        return;
    };
    if Command::new("oscap").arg("--version").output().is_err() {
        report.skip(&["oval-command", "oval-library"], "oscap is not installed");
        return;
    }
    let debian = ("ssg-debian12-oval.xml.gz", "bookworm.debian12-oval.syschar.xml.gz", "SSG Debian 12, 1,012 definitions");
    let bionic = ("com.ubuntu.bionic.cve.oval.xml.bz2", "bionic-texlive.syschar.xml.gz", "Ubuntu bionic, 11,976 definitions");
    let mut inside = Vec::new();
    for (definitions, characteristics, name) in [debian, bionic] {
        inside.push(hosts(&data.join("oval").join(definitions), &data.join("syschar").join(characteristics), name, report));
    }
    fleet(&data, inside[0], report);
    compiled(&data);
}

fn text(path: &Path) -> String {
    xml::text(&std::fs::read(path).unwrap(), &Limits::default()).unwrap()
}

/// One host that was never seen: its system characteristics parsed, all definitions evaluated.
/// What the library takes for it, if it could be asked.
fn hosts(definitions: &Path, characteristics: &Path, name: &str, report: &mut Report) -> Option<Duration> {
    let limits = Limits::default();
    let (definitions, characteristics) = (text(definitions), text(characteristics));
    let content = Arc::new(muster::oval::read::read_text(&definitions, "oval", &limits).unwrap());
    let prepared = Prepared::new(content.clone(), &BTreeMap::new(), Compat::OpenScap, &limits);
    let folder = tempfile::tempdir().unwrap();
    let (defs, chars) = (folder.path().join("definitions.xml"), folder.path().join("characteristics.xml"));
    std::fs::write(&defs, &definitions).unwrap();
    std::fs::write(&chars, &characteristics).unwrap();
    let ours = || {
        each(20, |_| {
            let found = SystemCharacteristics::parse(&characteristics, &limits).unwrap();
            let facts = bind(&found, &content);
            let mut evaluation = Evaluation::new(&prepared, &facts, 0);
            (0..u32::try_from(content.definitions.len()).unwrap())
                .filter(|d| evaluation.definition(DefinitionId(*d)).name() == "true")
                .count()
        })
    };
    let theirs = || {
        let start = Instant::now();
        let mut oscap = Command::new("oscap");
        oscap.args(["oval", "analyse", "--results"]).arg(folder.path().join("results.xml")).arg(&defs).arg(&chars);
        assert!(oscap.output().unwrap().status.success());
        start.elapsed()
    };
    let (mut a, mut b, mut inside) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        a.push(ours());
        b.push(theirs());
        inside.extend(library(&defs, &chars));
    }
    let (a, b) = (median(a), median(b));
    let (a, b) = (a.as_secs_f64(), b.as_secs_f64());
    report.line("oval-command", &format!("{name}: against oscap oval analyse"), Unit::Seconds, a, b);
    if inside.is_empty() {
        report.skip(&["oval-library"], "python3 or libopenscap is not there");
        return None;
    }
    let inside = median(inside);
    let name = format!("{name}: against libopenscap's parse and evaluate");
    report.line("oval-library", &name, Unit::Seconds, a, inside.as_secs_f64());
    Some(inside)
}

/// What libopenscap takes to parse the system characteristics and to evaluate, once the definitions are loaded.
fn library(definitions: &Path, characteristics: &Path) -> Option<Duration> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/openscap.py");
    let out = Command::new("python3").arg(script).arg(definitions).arg(characteristics).arg("2").output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let times: Vec<f64> = text.lines().last()?.split(' ').filter_map(|t| t.parse().ok()).collect();
    let [_, parse, evaluate] = times.as_slice() else { return None };
    Some(Duration::from_secs_f64((parse + evaluate) / 1000.0))
}

fn packs(content: &Path, profile: &str) -> Vec<ScapPack> {
    let stream = Stream { content: content.to_owned(), profiles: vec![profile.to_owned()], compat: Compat::OpenScap, ..Stream::default() };
    let (packs, problems) = read_stream(&stream, &Limits::default());
    assert!(problems.is_empty(), "{problems:?}");
    packs
}

/// A fleet that is judged by a whole profile: the first upload, and one in which a few objects changed.
fn fleet(data: &Path, inside: Option<Duration>, report: &mut Report) {
    let pack = merge(&Sources { scap: &packs(&data.join("scap/ssg-debian12-ds-0.1.82.xml.gz"), "(all)"), ..Sources::default() });
    let pack = Arc::new(Pack::from_bytes(pack).unwrap());
    let mut store: Box<dyn Store> = Box::new(MemoryStore::default());
    let empty = Arc::new(Pack::from_bytes(compile(&[], &[])).unwrap());
    let mut shard = Shard::load(&mut *store, Limits::default(), "bench", |_| None, empty).unwrap();
    shard.apply(vec![Input::Swap { pack, policy: Box::new(Policy::default()) }], 1);
    let id = "e0".to_owned();
    shard.apply(vec![Input::Enroll { id: id.clone(), hostname: id, labels: BTreeMap::new(), key_hash: [0; 32] }], 1);
    let xml = text(&data.join("syschar/bookworm.debian12-oval.syschar.xml.gz"));
    let changed = [
        xml.clone(),
        xml.replacen(">20778:0:99999", ">20779:0:99998", 5).replacen(
            "net.ipv4.ip_forward</unix-sys:name>\n      <unix-sys:value datatype=\"string\">0",
            "net.ipv4.ip_forward</unix-sys:name>\n      <unix-sys:value datatype=\"string\">1",
            1,
        ),
    ];
    let mut upload = |document: &str| {
        let scan = scap::read(document.as_bytes(), &Limits::default()).unwrap();
        let document = native::encode(&scan, None, |_| true);
        let prepared = prepare(&shard, "e0", &document, BodyHash::of(b"")).unwrap();
        let applied = shard.apply(vec![Input::Upload { endpoint: "e0".to_owned(), prepared: Box::new(prepared) }], 2);
        assert!(applied.replies[0].is_ok(), "{:?}", applied.replies[0]);
    };
    upload(&xml);
    let Some(inside) = inside else { return };
    let mut turn = 0;
    let times = (0..15).map(|_| {
        each(4, |_| {
            turn += 1;
            upload(&changed[turn % 2]);
        })
    });
    let ours = median(times.collect()).as_secs_f64();
    report.line("", "the same host again, changed: to durable batch, all rules", Unit::Seconds, ours, inside.as_secs_f64());
}

/// All products at once: what compiling costs, and what the opened pack holds.
fn compiled(data: &Path) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(data.join("scap")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    let start = Instant::now();
    for file in &files {
        all.extend(packs(file, "(all)"));
    }
    let read = start.elapsed();
    let start = Instant::now();
    let bytes = merge(&Sources { scap: &all, ..Sources::default() });
    let merged = start.elapsed();
    let rules: usize = all.iter().map(|p| p.info.rules).sum();
    drop(all);
    let (size, before) = (bytes.len(), resident());
    let start = Instant::now();
    let pack = Pack::from_bytes(bytes).unwrap();
    let opened = start.elapsed();
    println!(
        "all {} products, {rules} rules, {} terms: read {read:.1?}, compiled {merged:.1?}, {} kB on disk, opened in {opened:.1?}, {} kB resident",
        files.len(),
        pack.term_count(),
        size / 1024,
        resident().saturating_sub(before),
    );
}

/// kB of the process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
