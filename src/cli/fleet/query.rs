//! `muster fleet query`: which endpoints are such that. Against a server or over scans; both end in the same JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use hyper::Method;
use muster::ingest::prepare;
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::question::{self, PackageQuestion, Query, QuestionError};
use muster::scan::native;
use muster::shard::{BodyHash, Input, Shard};
use muster::state::Store;
use muster::state::memory::MemoryStore;
use serde_json::Value;

use super::super::eval::read;
use super::super::output::{self, Format, Out, plain};
use super::super::server::{Remote, Server};
use super::super::{Outcome, Usage};
use super::ScopeArgs;

/// Ask which endpoints are such that: counts at once, then the endpoints
///
/// CHECK is a condition as rules have it (docs/RULES.md); endpoints for which it is true are listed. Exit code 2 if the question is not well formed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster fleet query 'package.exists(p, p.name == \"openssl\" && p.version.dpkg() < dpkg(\"3.0.15\"))' --server URL --token-file FILE
  muster fleet query --package openssl --scheme dpkg --below 3.0.15 --group web --server URL --token-file FILE
  muster fleet query --rule ssh-root-login --verdict fail,unknown --fresh 7d --server URL --token-file FILE
  muster fleet query --patch DSA-5532-1 --state missing --platform debian:12 --server URL --token-file FILE
  muster fleet query 'sysctl[\"net.ipv4.ip_forward\"] == \"1\"' --scan scans/*.json.zst")]
pub(crate) struct Args {
    /// A condition
    #[arg(value_name = "CHECK", conflicts_with_all = ["rule", "package", "patch"])]
    check: Option<String>,
    /// A rule of the server's packs: endpoints that fail it are listed
    #[arg(long, value_name = "ID", conflicts_with_all = ["package", "patch"])]
    rule: Option<String>,
    /// An installed package
    #[arg(long, value_name = "NAME", conflicts_with = "patch")]
    package: Option<String>,
    /// How versions compare: dpkg, rpm, apk, ...
    #[arg(long, value_name = "NAME", requires = "package")]
    scheme: Option<String>,
    /// Versions below this one
    #[arg(long, value_name = "VERSION", requires = "package")]
    below: Option<String>,
    /// This version
    #[arg(long, value_name = "VERSION", requires = "package")]
    at: Option<String>,
    /// Versions above this one
    #[arg(long, value_name = "VERSION", requires = "package")]
    above: Option<String>,
    /// A patch of the server's feeds: endpoints that miss it are listed
    #[arg(long, value_name = "ID")]
    patch: Option<String>,
    /// The states of the patch that are listed
    #[arg(long, value_name = "STATE", value_delimiter = ',', requires = "patch")]
    state: Vec<String>,
    /// What a quantifier over a table means that holds only what was asked: file=/etc/*.conf
    #[arg(long, value_name = "TABLE=ITEM", requires = "check")]
    collect: Vec<String>,
    /// The verdict where a key is absent: fail, pass, notapplicable or unknown
    #[arg(long, value_name = "VERDICT", requires = "check")]
    missing: Option<String>,
    /// The verdicts that are listed
    #[arg(long, value_name = "VERDICT", value_delimiter = ',')]
    verdict: Vec<String>,
    /// Endpoints that are listed at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    remote: Remote,
    /// Scans to ask in the place of a server; plain, gzip, bzip2 or zstd
    #[arg(long, num_args = 1.., value_name = "FILE", conflicts_with = "server")]
    scan: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let limits = Limits::default();
    let query = args.query()?;
    // Before anybody is asked.
    query.check(&limits).map_err(refused)?;
    let found = match args.remote.connect()? {
        Some(server) => pages(&query, args.limit, |page| remote(&server, page))?,
        None if args.scan.is_empty() => return Err(Usage("give --server and --token-file, or --scan".to_owned()).into()),
        None => {
            let shard = args.offline(&limits)?;
            pages(&query, args.limit, |page| Ok(serde_json::to_value(question::query(&shard, page, 0).map_err(refused)?)?))?
        }
    };
    let mut out = output::stdout();
    match args.output {
        Format::Json => out.json(&found)?,
        Format::Table => print(&found, &mut out)?,
    }
    out.flush()?;
    Ok(Outcome::Fine)
}

/// A question that is not well formed is wrong usage; its problems come with their places, as `muster rules check` gives them.
fn refused(error: QuestionError) -> anyhow::Error {
    match error {
        QuestionError::Problems { .. } | QuestionError::Bad(_) => Usage(error.to_string()).into(),
        other => other.into(),
    }
}

impl Args {
    fn query(&self) -> Result<Query, Usage> {
        let mut collect: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for item in &self.collect {
            let (table, item) = item.split_once('=').ok_or_else(|| Usage(format!("--collect is TABLE=ITEM, not `{item}`")))?;
            collect.entry(table.to_owned()).or_default().push(item.to_owned());
        }
        let package = self.package.clone().map(|name| PackageQuestion {
            name,
            scheme: self.scheme.clone(),
            below: self.below.clone(),
            at: self.at.clone(),
            above: self.above.clone(),
        });
        if self.limit == 0 {
            return Err(Usage("--limit is at least 1".to_owned()));
        }
        Ok(Query {
            check: self.check.clone(),
            collect,
            missing: self.missing.clone(),
            rule: self.rule.clone(),
            package,
            patch: self.patch.clone(),
            state: self.state.clone(),
            group: self.scope.group.clone(),
            labels: self.scope.labels()?,
            platform: self.scope.platform.clone(),
            fresh: self.scope.fresh.clone(),
            verdict: self.verdict.clone(),
            limit: None,
            cursor: None,
        })
    }

    /// A fleet in memory, of the scans.
    fn offline(&self, limits: &Limits) -> anyhow::Result<Shard> {
        if let Some(option) = self.scope.enrolled() {
            return Err(Usage(format!("{option} is about endpoints of a server, and --scan about files")).into());
        }
        if self.rule.is_some() || self.patch.is_some() {
            return Err(Usage("--rule and --patch are about what a server has; ask scans a CHECK or --package".to_owned()).into());
        }
        let mut store: Box<dyn Store> = Box::new(MemoryStore::default());
        let empty = Arc::new(Pack::from_bytes(compile(&[], &[]))?);
        let mut shard = Shard::load(&mut *store, limits.clone(), "offline", |_| None, empty)?;
        let mut known = BTreeSet::new();
        for path in &self.scan {
            let mut scan = read::scan(path, limits)?;
            if scan.endpoint.is_empty() {
                scan.endpoint = path.display().to_string();
            }
            let (id, hostname) = (scan.endpoint.clone(), scan.hostname.clone());
            if !known.insert(id.clone()) {
                bail!("`{}` is a second scan of the endpoint `{id}`; give one of each", path.display());
            }
            let enrolled =
                Input::Enroll { id: id.clone(), hostname: hostname.unwrap_or(id.clone()), labels: BTreeMap::new(), key_hash: [0; 32] };
            shard.apply(vec![enrolled], 0);
            let document = native::encode(&scan, None, |_| true);
            let prepared = prepare(&shard, &id, &document, BodyHash::of(&document))?;
            let applied = shard.apply(vec![Input::Upload { endpoint: id, prepared: Box::new(prepared) }], 0);
            applied
                .replies
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
                .with_context(|| format!("the scan `{}` is refused", path.display()))?;
        }
        Ok(shard)
    }
}

fn remote(server: &Server, query: &Query) -> anyhow::Result<Value> {
    server.send(Method::POST, "/v1/query", Some(&serde_json::to_value(query)?))
}

/// All pages up to a limit, as one.
fn pages(query: &Query, limit: usize, ask: impl Fn(&Query) -> anyhow::Result<Value>) -> anyhow::Result<Value> {
    let page = |limit: usize, cursor: Option<String>| Query { limit: Some(limit.min(question::PAGE_MAX)), cursor, ..query.clone() };
    let mut whole = ask(&page(limit, None))?;
    loop {
        let there = items(&mut whole).map_or(0, |i| i.len());
        let cursor = whole.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        // A page may hold fewer than were asked for, and still have a next one.
        let Some(cursor) = cursor.filter(|_| there < limit) else { return Ok(whole) };
        let mut next = ask(&page(limit - there, Some(cursor)))?;
        let brought = items(&mut next).map(std::mem::take).unwrap_or_default();
        if let Some(all) = items(&mut whole) {
            all.extend(brought);
        }
        if let Some(object) = whole.as_object_mut() {
            object.insert("next_cursor".to_owned(), next.get("next_cursor").cloned().unwrap_or_default());
        }
    }
}

fn items(document: &mut Value) -> Option<&mut Vec<Value>> {
    document.get_mut("items").and_then(Value::as_array_mut)
}

fn print(found: &Value, out: &mut Out) -> anyhow::Result<()> {
    let number = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or(0);
    let scope = |name: &str| number(found.get("endpoints").and_then(|e| e.get(name)));
    let counts = found.get("counts").and_then(Value::as_object).into_iter().flatten();
    let counts: Vec<String> = counts.filter(|(_, n)| n.as_u64() != Some(0)).map(|(name, n)| format!("{name} {n}")).collect();
    let members = found.get("members").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let members: Vec<&str> = members.collect();
    writeln!(out, "{} of {} endpoints: {}", number(found.get("count")), scope("asked"), members.join(", "))?;
    if scope("stale") > 0 {
        let stale = found.get("stale").and_then(Value::as_object).into_iter().flatten();
        let stale: Vec<String> = stale.map(|(name, n)| format!("{name} {n}")).collect();
        writeln!(out, "{} of those asked are stale: {}", scope("stale"), stale.join(", "))?;
    }
    writeln!(out, "{}", if counts.is_empty() { "nothing was asked".to_owned() } else { counts.join(", ") })?;
    for (name, what) in [("without_scan", "have sent no scan yet"), ("unheard", "were not heard of and not asked")] {
        if scope(name) > 0 {
            writeln!(out, "{} more {what}", scope(name))?;
        }
    }
    let mut table = output::table(&["endpoint", "hostname", "verdict", "last scan", "seen", ""]);
    let items = found.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |item: &Value, name: &str| plain(item.get(name).and_then(Value::as_str).unwrap_or_default()).into_owned();
    for item in items {
        let freshness = text(item, "freshness");
        let row = ["id", "hostname", "verdict", "received_at", "seen_at"].map(|name| text(item, name));
        table.add_row(row.into_iter().chain([if freshness == "fresh" { String::new() } else { freshness }]));
    }
    if !items.is_empty() {
        writeln!(out)?;
        out.table(&table)?;
    }
    if found.get("next_cursor").is_some_and(|c| !c.is_null()) {
        writeln!(out, "and more: --limit N lists more of them")?;
    }
    Ok(())
}
