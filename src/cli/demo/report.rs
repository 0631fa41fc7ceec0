//! The demo's summary, asked of the daemon through its API.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use muster::client::Client;
use muster::scan::Scan;
use serde::Serialize;
use serde_json::{Value, json};

use super::fleet;
use super::receiver::Child;
use crate::cli::output;

pub(super) struct Api {
    client: Client,
    url: String,
    token: String,
}

/// The summary, as `--output json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    endpoints: u64,
    rules: u64,
    verdicts: BTreeMap<String, u64>,
    drift: BTreeMap<&'static str, u64>,
    webhooks: BTreeMap<&'static str, u64>,
    tasks: BTreeMap<&'static str, u64>,
    /// Sums over the endpoints, and how many patches the feed has.
    patches: BTreeMap<&'static str, u64>,
    host: Host,
}

#[derive(Debug, Serialize)]
struct Host {
    id: String,
    packages: usize,
    rows: usize,
}

/// States of patches that the summary counts.
const STATES: [&str; 3] = ["missing", "superseded", "exempt"];
/// Items of the must-have baseline in the summary.
const TASKS_SHOWN: usize = 12;
/// How long reading the demo's feed may take.
const FEED_READ: Duration = Duration::from_secs(60);

/// A rule with how many endpoints fail it.
struct Worst {
    rule: String,
    severity: String,
    title: String,
    fail: u64,
    pass: u64,
}

impl Api {
    pub(super) fn new(client: Client, url: &str, token: &str) -> Api {
        Api { client, url: url.to_owned(), token: token.to_owned() }
    }

    async fn text(&self, path: &str) -> anyhow::Result<Bytes> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {}", self.token))?);
        let url = format!("{}{path}", self.url);
        let response = self.client.send(Method::GET, &url, headers, Bytes::new(), Duration::from_secs(30), 32 << 20).await?;
        anyhow::ensure!(response.status.is_success(), "{path}: {}", String::from_utf8_lossy(&response.body));
        Ok(response.body)
    }

    async fn json(&self, path: &str) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.text(path).await?).with_context(|| path.to_owned())
    }

    async fn put(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {}", self.token))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (url, body) = (format!("{}{path}", self.url), Bytes::from(body.to_string()));
        let response = self.client.send(Method::PUT, &url, headers, body, Duration::from_secs(60), 32 << 20).await?;
        anyhow::ensure!(response.status.is_success(), "{path}: {}", String::from_utf8_lossy(&response.body));
        Ok(())
    }

    /// Until the daemon has compiled the feed.
    pub(super) async fn wait_for_patches(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.metric("muster_patches", "").await? == 0 {
            anyhow::ensure!(begun.elapsed() < FEED_READ, "the daemon did not read the demo's feed: {}", self.json("/v1/feeds").await?);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// What a patch manager does: chooses by a filter what must be installed.
    pub(super) async fn choose_patches(&self, list: &str) -> anyhow::Result<()> {
        let filter = "applicable, not superseded, severity>=medium";
        let body = json!({"filter": filter, "author": "demo", "note": "what the fleet lacks"});
        self.put(&format!("/v1/patch-lists/{list}"), &body).await
    }

    /// The patches that the fleet lacks, the most urgent first.
    async fn urgent(&self, most: usize) -> anyhow::Result<Vec<Value>> {
        let mut patches = self.all("/v1/patches?filter=applicable%2C%20not%20superseded").await?;
        patches.retain(|p| p["counts"]["missing"].as_u64().unwrap_or(0) > 0);
        patches.sort_by_key(|p| {
            let number = |v: &Value| std::cmp::Reverse(v.as_u64().unwrap_or(0));
            (number(&p["priority"]), number(&p["counts"]["missing"]), p["id"].as_str().unwrap_or_default().to_owned())
        });
        patches.truncate(most);
        Ok(patches)
    }

    /// All items of a resource, page by page.
    async fn all(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let (mut out, mut cursor) = (Vec::new(), String::new());
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let mut page = self.json(&format!("{path}{joint}limit=1000{cursor}")).await?;
            out.extend(page["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
            // Events always have a cursor, for asking again later: it stays where it is when nothing is newer.
            let next = page["next_cursor"].as_str().map(|next| format!("&cursor={next}"));
            match next {
                Some(next) if next != cursor => cursor = next,
                _ => return Ok(out),
            }
        }
    }

    async fn events(&self, kind: &str) -> anyhow::Result<u64> {
        Ok(u64::try_from(self.all(&format!("/v1/events?type={kind}")).await?.len())?)
    }

    /// The sum of a metric's samples whose labels contain a text.
    async fn metric(&self, name: &str, label: &str) -> anyhow::Result<u64> {
        let text = self.text("/metrics").await?;
        let text = std::str::from_utf8(&text)?;
        let of = |l: &&str| l.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let samples = text.lines().filter(of).filter(|l| l.contains(label));
        let values = samples.filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter of the demo")]
        Ok(values.sum::<f64>() as u64)
    }

    /// Until nothing waits that has not been tried, or time is up.
    pub(super) async fn wait_for_webhooks(&self, longest: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < longest {
            let waiting = self.metric("muster_outbox_pending", "state=\"pending\"").await?;
            let failed = self.metric("muster_deliveries_total", "outcome=\"failed\"").await?;
            if waiting == 0 || failed >= waiting {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    pub(super) async fn summary(&self, host: &Scan) -> anyhow::Result<Summary> {
        let status = self.json("/v1/status").await?;
        let mut verdicts: BTreeMap<String, u64> = BTreeMap::new();
        let rules = self.all("/v1/rules").await?;
        for (verdict, n) in rules.iter().filter_map(|r| r["verdicts"].as_object()).flatten() {
            *verdicts.entry(verdict.clone()).or_default() += n.as_u64().unwrap_or(0);
        }
        let (packages, rows) = fleet::rows(host);
        let mut patches = BTreeMap::from([("known", self.metric("muster_patches", "").await?)]);
        for state in STATES {
            patches.insert(state, self.metric("muster_patch_states", &format!("state=\"{state}\"")).await?);
        }
        Ok(Summary {
            patches,
            endpoints: status["fleet"]["endpoints"].as_u64().context("the number of endpoints")?,
            rules: status["fleet"]["rules"].as_u64().context("the number of rules")?,
            verdicts,
            drift: BTreeMap::from([
                ("opened", self.events("drift.opened").await? + self.events("drift.reopened").await?),
                ("resolved", self.events("drift.resolved").await?),
            ]),
            webhooks: BTreeMap::from([
                ("delivered", self.metric("muster_deliveries_total", "outcome=\"delivered\"").await?),
                ("failed", self.metric("muster_deliveries_total", "outcome=\"failed\"").await?),
            ]),
            tasks: BTreeMap::from([("queued", self.events("task.queued").await?), ("confirmed", self.events("task.confirmed").await?)]),
            host: Host { id: host.endpoint.clone(), packages, rows },
        })
    }

    async fn worst(&self, most: usize) -> anyhow::Result<Vec<Worst>> {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let mut rules: Vec<Worst> = self
            .all("/v1/rules")
            .await?
            .iter()
            .map(|r| Worst {
                rule: text(&r["id"]),
                severity: text(&r["severity"]),
                title: text(&r["title"]),
                fail: r["verdicts"]["fail"].as_u64().unwrap_or(0),
                pass: r["verdicts"]["pass"].as_u64().unwrap_or(0),
            })
            .collect();
        let weight = |s: &str| ["info", "low", "medium", "high", "critical"].iter().position(|n| *n == s).unwrap_or(0);
        rules.sort_by_key(|w| (std::cmp::Reverse((weight(&w.severity), w.fail)), w.rule.clone()));
        rules.retain(|w| w.fail > 0);
        rules.truncate(most);
        Ok(rules)
    }

    /// How things stand, in a line.
    pub(super) async fn line(&self) -> anyhow::Result<String> {
        let delivered = self.metric("muster_deliveries_total", "outcome=\"delivered\"").await?;
        let failed = self.metric("muster_deliveries_total", "outcome=\"failed\"").await?;
        let open = self.metric("muster_drift_total", "opened").await?;
        let resolved = self.metric("muster_drift_total", "change=\"resolved\"").await?;
        Ok(format!("drift: {open} opened, {resolved} resolved; webhooks: {delivered} delivered, {failed} failed"))
    }
}

fn counts<K: std::fmt::Display>(of: &BTreeMap<K, u64>) -> String {
    of.iter().filter(|(_, n)| **n > 0).map(|(k, n)| format!("{n} {k}")).collect::<Vec<_>>().join(", ")
}

pub(super) async fn print(api: &Api, s: &Summary, feed_is_real: bool, receiver: &Child, token: &Path) -> anyhow::Result<()> {
    let worst = api.worst(12).await?;
    let drift = api.all("/v1/events?type=drift.opened").await?;
    let tasks = api.all("/v1/tasks?state=queued").await?;
    let mut out = output::stdout();
    writeln!(
        out,
        "\n{} endpoints, {} rules; this host is {} ({} packages, {} rows)\n",
        s.endpoints, s.rules, s.host.id, s.host.packages, s.host.rows
    )?;
    let mut table = output::table(&["severity", "fail", "pass", "rule", "title"]);
    for w in &worst {
        table.add_row([w.severity.clone(), w.fail.to_string(), w.pass.to_string(), w.rule.clone(), w.title.clone()]);
    }
    writeln!(out, "The worst rules")?;
    out.table(&table)?;
    let urgent = api.urgent(10).await?;
    if !urgent.is_empty() {
        let mut table = output::table(&["priority", "missing at", "patch", "title"]);
        for p in &urgent {
            let cell = |v: &Value| output::plain(v.as_str().unwrap_or_default()).into_owned();
            let priority = format!("{} {}", p["priority"], cell(&p["band"]));
            table.add_row([priority, p["counts"]["missing"].to_string(), cell(&p["id"]), cell(&p["title"])]);
        }
        writeln!(
            out,
            "\nPatches that matter first{}",
            if feed_is_real { ", by the changelogs of this host's packages" } else { " (synthetic: this host's versions taken for fixes)" }
        )?;
        out.table(&table)?;
    }
    let mut table = output::table(&["endpoint", "severity", "rule", "evidence"]);
    for event in drift.iter().rev().take(8) {
        let data = &event["data"];
        let evidence = data["evidence"][0].as_str().unwrap_or_default();
        let cell = |v: &Value| output::plain(v.as_str().unwrap_or_default()).into_owned();
        let shown: String = evidence.chars().take(70).collect();
        table.add_row([cell(&event["endpoint"]), cell(&data["severity"]), cell(&data["rule"]), output::plain(&shown).into_owned()]);
    }
    writeln!(out, "\nDrift, the latest")?;
    out.table(&table)?;
    let mut by_item: BTreeMap<String, u64> = BTreeMap::new();
    for task in &tasks {
        *by_item.entry(task["item"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let mut waiting: Vec<(String, u64)> = by_item.into_iter().collect();
    waiting.sort_by_key(|(item, n)| (std::cmp::Reverse(*n), item.clone()));
    let more = waiting.len().saturating_sub(TASKS_SHOWN);
    waiting.truncate(TASKS_SHOWN);
    let mut table = output::table(&["endpoints", "must have"]);
    for (item, n) in waiting {
        table.add_row([n.to_string(), item]);
    }
    if more > 0 {
        table.add_row(["".to_owned(), format!("and {more} more")]);
    }
    writeln!(out, "\nTasks that wait")?;
    out.table(&table)?;
    writeln!(out, "\nverdicts  {}", counts(&s.verdicts))?;
    writeln!(out, "patches   {}", counts(&s.patches))?;
    writeln!(out, "drift     {}", counts(&s.drift))?;
    writeln!(out, "webhooks  {}", counts(&s.webhooks))?;
    writeln!(out, "tasks     {}", counts(&s.tasks))?;
    writeln!(out, "\n{}/          what there is\n{}/metrics   Prometheus", api.url, api.url)?;
    writeln!(out, "curl -H \"Authorization: Bearer $(cat {})\" {}/v1/endpoints", token.display(), api.url)?;
    if let Some(pid) = receiver.pid {
        writeln!(out, "webhook receiver: {} (pid {pid}; kill it and deliveries fail)", receiver.url)?;
    }
    Ok(())
}
