//! The same rules over the same scan in other engines: the interpreter of the crate `cel` and `regorus`, a process of their own (`benches/peers`).
//!
//! They are given the scan as they like it (parsed, tables as lists and as maps by key, programs compiled) and only evaluate. We are given the bytes of an upload, and parse, intern, judge,
//! compare and encode for the store. Answers must be equal.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::ingest::prepare;
use muster::judge::Verdict;
use muster::judge::explain::{Judged, explain};
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::patch::catalog::{Catalog, Threats};
use muster::rule::ir::{Func, Ir};
use muster::rule::pattern::pattern_matches;
use muster::rule::{Rule, RulePack};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, TableData, Value};
use muster::shard::{BodyHash, Input, Shard};
use serde_json::{Value as Json, json};

use crate::corpus::Corpus;
use crate::rego::{Rego, View, Views};
use crate::report::Report;
use crate::{each, stages};

const KEYS: [&str; 4] = ["cel-first", "cel-changed", "rego-first", "rego-changed"];

pub(crate) fn run(corpus: &Corpus, report: &mut Report) {
    let (pack, _) = muster::rule::read_folder(std::path::Path::new("rules/linux-server"), &Limits::default());
    let pack = pack.unwrap();
    let (mut views, mut rego, mut rules, mut left_out) = (Views::default(), String::new(), Vec::new(), BTreeMap::<&str, usize>::new());
    for rule in pack.rules.iter().filter(|r| r.platforms.iter().all(|p| p.id == "linux" && p.version.is_none())) {
        let written =
            lacking(rule).map_or(Ok(()), Err).and_then(|()| Ok((bound(rule, &mut views)?, Rego::new(&mut views, rules.len()).rule(rule)?)));
        match written {
            Ok((bind, text)) => {
                rego.push_str(&text);
                rules.push((rule.clone(), bind));
            }
            Err(why) => *left_out.entry(why).or_default() += 1,
        }
    }
    println!("  {} of {} rules; left out: {left_out:?}", rules.len(), pack.rules.len());
    let names: Vec<String> = (0..rules.len()).map(|n| format!("v_{n}")).collect();
    let policy = format!("package muster\nimport rego.v1\n{rego}verdicts := [{}]\n", names.join(",\n"));
    let scans = [corpus.drifted(0), corpus.drifted(1)];
    let given = json!({
        "scans": scans.each_ref().map(|s| shown(s, &views)),
        "rules": rules.iter().map(|(r, bind)| json!({"when": r.when_text.as_deref().map(standard), "check": standard(&r.check_text), "bind": bind})).collect::<Vec<_>>(),
        "rego": policy,
    });
    let mut peers = match Peers::start(&given) {
        Ok(peers) => peers,
        Err(why) => return report.skip(&KEYS, &why),
    };
    let rules: Vec<Rule> = rules.into_iter().map(|(rule, _)| rule).collect();
    equal(&mut peers, &rules, &scans);
    let made = RulePack { rules, ..pack };
    let pack = Arc::new(Pack::from_bytes(compile(&[made], &[])).unwrap());
    measure(corpus, &pack, &mut peers, report);
}

/// Why the text cannot be run by a CEL as it is.
fn lacking(rule: &Rule) -> Option<&'static str> {
    let mut lacks = None;
    let mut see = |node: &Ir| match node {
        Ir::Call(Func::Lower | Func::Trim | Func::Split | Func::AtMost | Func::ModeOf, _) => lacks = Some("functions that CEL has not"),
        Ir::Version(..) => lacks = Some("versions"),
        _ => {}
    };
    rule.check.walk(&mut see);
    rule.when.iter().for_each(|when| when.walk(&mut see));
    lacks
}

/// A table, as CEL can name it: `package` is a word of its grammar.
const PACKAGE: (&str, &str) = ("package", "package_");

/// `has(table["key"])`, which CEL allows of fields only, as it would be written there.
fn standard(text: &str) -> String {
    let replaced = |pattern: &str, text: &str, by: &str| regex::Regex::new(pattern).unwrap().replace_all(text, by).into_owned();
    let named = replaced(r"\bpackage([.\[])", text, "package_$1");
    let named = replaced(r#"has\((\w+)\[("[^"]*"|\w+)\]\[("[^"]*"|\w+)\]\)"#, &named, "($2 in $1 && $3 in $1[$2])");
    replaced(r#"has\((\w+)\[("[^"]*"|\w+)\]\)"#, &named, "($2 in $1)")
}

/// What a rule's tables stand for in its text: rows or a map.
fn bound(rule: &Rule, views: &mut Views) -> Result<BTreeMap<&'static str, String>, &'static str> {
    let mut tables: BTreeMap<TableId, View> = BTreeMap::new();
    let mut twice = false;
    let mut see = |node: &Ir| {
        let (table, view) = match node {
            Ir::Quant { table, only, .. } | Ir::Count { table, only, .. } => (*table, View::Rows(*table, only.clone())),
            Ir::Lookup { table, .. } | Ir::HasRow { table, .. } | Ir::HasCell { table, .. } => {
                (*table, if table.table().value.is_some() { View::Values(*table) } else { View::Keyed(*table) })
            }
            _ => return,
        };
        twice |= tables.insert(table, view.clone()).is_some_and(|before| before != view);
    };
    rule.check.walk(&mut see);
    rule.when.iter().for_each(|when| when.walk(&mut see));
    if twice {
        return Err("a table that is a list and a map at once");
    }
    let spelled = |name: &'static str| if name == PACKAGE.0 { PACKAGE.1 } else { name };
    Ok(tables.into_iter().map(|(table, view)| (spelled(table.name()), views.name(view))).collect())
}

/// A scan as the views of it.
fn shown(scan: &Scan, views: &Views) -> Json {
    let rows = |table: TableId| match scan.tables.get(&table) {
        Some(TableData::Rows(rows)) => Some(rows),
        _ => None,
    };
    let view = |view: &View| match view {
        View::Rows(table, only) => {
            let wanted = |row: &&Row| only.is_empty() || row.values[0].as_str().is_some_and(|p| only.iter().any(|o| pattern_matches(o, p)));
            rows(*table).map(|rows| rows.iter().filter(wanted).map(object).collect())
        }
        View::Keyed(table) => rows(*table).map(|rows| keyed(*table, rows, object)),
        View::Values(table) => {
            let value = table.table().value.unwrap_or_default();
            rows(*table).map(|rows| keyed(*table, rows, |row| cell(row.get(value))))
        }
    };
    let all: serde_json::Map<String, Json> = views.0.iter().filter_map(|(v, n)| Some((format!("v{n}"), view(v)?))).collect();
    Json::Object(all)
}

fn cell(value: &Value) -> Json {
    match value {
        Value::Str(s) => json!(s),
        Value::Int(n) => json!(n),
        Value::Bool(b) => json!(b),
        Value::Null => Json::Null,
    }
}

fn object(row: &Row) -> Json {
    let columns = row.table.table().columns.iter().zip(&row.values).filter(|(_, v)| **v != Value::Null);
    Json::Object(columns.map(|(c, v)| (c.name.to_owned(), cell(v))).collect())
}

fn keyed(table: TableId, rows: &[Row], value: impl Fn(&Row) -> Json) -> Json {
    let mut out = json!({});
    for row in rows.iter() {
        let mut at = &mut out;
        for key in &row.values[..table.table().key] {
            at = &mut at[key.as_str().unwrap_or_default()];
        }
        *at = value(row);
    }
    out
}

/// The other engines, which do what they are told line by line.
struct Peers {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peers {
    fn start(given: &Json) -> Result<Peers, String> {
        let here = env!("CARGO_MANIFEST_DIR");
        let place = [
            "--manifest-path".to_owned(),
            format!("{here}/benches/peers/Cargo.toml"),
            "--target-dir".to_owned(),
            format!("{here}/target/peers"),
        ];
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(&cargo).args(["build", "--release", "--locked", "--quiet"]).args(&place).output();
        match built {
            Ok(out) if out.status.success() => {}
            Ok(out) => {
                let why =
                    String::from_utf8_lossy(&out.stderr).lines().find(|l| l.contains("error")).unwrap_or("no reason given").to_owned();
                return Err(format!("benches/peers cannot be built: {why}"));
            }
            Err(e) => return Err(format!("benches/peers cannot be built without cargo: {e}")),
        }
        let mut run = Command::new(cargo);
        run.args(["run", "--release", "--locked", "--quiet"]).args(&place).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = run.spawn().map_err(|e| e.to_string())?;
        let (mut to, from) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        writeln!(to, "{given}").map_err(|e| e.to_string())?;
        Ok(Peers { process, to, from })
    }

    fn ask(&mut self, question: &str) -> String {
        writeln!(self.to, "{question}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn time(&mut self, engine: &str, scan: usize) -> Duration {
        Duration::from_nanos(self.ask(&format!("{engine} {scan} time")).parse().unwrap())
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Holds the engines' answers against the definition; what differs is told.
fn equal(peers: &mut Peers, rules: &[Rule], scans: &[Scan]) {
    for engine in ["cel", "rego"] {
        let mut different = Vec::new();
        for (number, scan) in scans.iter().enumerate() {
            let answers: Vec<String> = serde_json::from_str(&peers.ask(&format!("{engine} {number} answers"))).unwrap();
            assert_eq!(answers.len(), rules.len());
            for (rule, said) in rules.iter().zip(answers) {
                let applies = rule.when.clone().unwrap_or(Ir::Bool(true));
                // A key that is missing is told from a verdict by what no rule asks for.
                let ours = explain(Judged { applies: &applies, check: &rule.check, missing: Verdict::Informational }, scan).verdict;
                let ours = match ours {
                    Verdict::Pass => "p",
                    Verdict::Fail => "f",
                    Verdict::NotApplicable => "n",
                    _ => "m",
                };
                if said != ours {
                    different.push(format!("{}: {said} for {ours}", rule.id));
                }
            }
        }
        different.sort();
        different.dedup();
        println!("  {engine}: {} of {} answers differ from ours", different.len(), rules.len());
        different.iter().for_each(|d| println!("    {d}"));
    }
}

fn measure(corpus: &Corpus, pack: &Arc<Pack>, peers: &mut Peers, report: &mut Report) {
    let none = Arc::new(Catalog::new(Vec::new(), Arc::new(Threats::default())));
    let shard = |endpoints| {
        let mut shard = stages::shard(corpus, endpoints, &none);
        shard.apply(vec![Input::Swap { pack: pack.clone(), policy: Box::default() }], 1);
        shard
    };
    let documents: Vec<Vec<u8>> = (0..8).map(|n| stages::without_id(&corpus.drifted_document(n))).collect();
    let mut known = shard(64);
    for i in 0..64 {
        upload(&mut known, i, &documents[i % 8]);
    }
    for (engine, first, changed) in [("cel", "cel-first", "cel-changed"), ("rego", "rego-first", "rego-changed")] {
        let fresh = || {
            let mut shard = shard(1);
            let start = Instant::now();
            upload(&mut shard, 0, &documents[0]);
            start.elapsed()
        };
        report.pair(first, &format!("first scan of a fleet, from its bytes; {engine} evaluates it"), fresh, || peers.time(engine, 0));
        let mut turn = 0;
        let again = || {
            turn += 1;
            each(64, |i| {
                let i = usize::try_from(i).unwrap();
                upload(&mut known, i, &documents[(i + turn) % 8])
            })
        };
        report.pair(changed, &format!("changed scan, from its bytes; {engine} evaluates it"), again, || peers.time(engine, 1));
    }
}

fn upload(shard: &mut Shard, endpoint: usize, document: &[u8]) {
    let id = format!("e{endpoint}");
    let prepared = prepare(shard, &id, document, BodyHash::of(b"")).unwrap();
    let applied = shard.apply(vec![Input::Upload { endpoint: id, prepared: Box::new(prepared) }], 2);
    assert!(applied.replies[0].is_ok(), "{:?}", applied.replies[0]);
}
