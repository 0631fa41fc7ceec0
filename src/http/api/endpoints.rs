//! The fleet: its endpoints, their last scans and verdicts, what turned at them.

use std::collections::BTreeMap;

use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::problem::{Kind, Problem};
use super::super::query::{self, SCAN_MAX};
use super::super::{Answer, Call, bytes, ok};
use super::patches::posture;
use super::time;
use crate::compute::compute;
use crate::drift::Episode;
use crate::fleet::rows;
use crate::fleet::{Endpoint, EndpointId, Held};
use crate::judge::Verdict;
use crate::scan::native;
use crate::scan::table::TableId;
use crate::scan::{Scan, TableData};
use crate::shard::{Freshness, Input, Refusal, Shard};

/// An endpoint in a list.
#[derive(Serialize)]
pub struct Shown {
    id: String,
    hostname: String,
    labels: BTreeMap<String, String>,
    enrolled_at: jiff::Timestamp,
    seen_at: jiff::Timestamp,
    freshness: Freshness,
    scan: Option<Value>,
    verdicts: Option<BTreeMap<&'static str, u32>>,
    patches: Option<Value>,
    /// Open ones.
    tasks: usize,
}

pub fn shown(shard: &Shard, at: EndpointId, endpoint: &Endpoint) -> Shown {
    Shown {
        id: endpoint.id.to_string(),
        hostname: endpoint.hostname.to_string(),
        labels: BTreeMap::clone(&endpoint.labels),
        enrolled_at: time(endpoint.enrolled_ms),
        seen_at: time(shard.seen_ms(at)),
        freshness: shard.freshness(at),
        scan: endpoint.held.as_ref().map(scan_of),
        verdicts: endpoint.held.as_ref().map(|h| summary(shard, h)),
        patches: endpoint.held.as_ref().map(|_| posture(&shard.posture(at))),
        tasks: shard.open_tasks(at).count(),
    }
}

fn scan_of(held: &Held) -> Value {
    json!({"digest": held.digest.to_string(), "sequence": held.sequence, "received_at": time(held.received_ms)})
}

fn summary(shard: &Shard, held: &Held) -> BTreeMap<&'static str, u32> {
    shard.verdict_counts(held.class).map(|(v, n)| (v.name(), n)).collect()
}

/// An endpoint by id, or the problem that there is none.
fn known<'s>(shard: &'s Shard, id: &str) -> Result<(EndpointId, &'s Endpoint), Problem> {
    let found = shard.fleet.find(id).and_then(|at| Some((at, shard.fleet.get(at)?)));
    found.ok_or_else(|| Refusal::UnknownEndpoint(id.to_owned()).into())
}

fn held(endpoint: &Endpoint) -> Result<&Held, Problem> {
    let no_scan = || Problem::new(Kind::NoScan, format!("`{}` has sent no scan yet", endpoint.id));
    endpoint.held.as_ref().ok_or_else(no_scan)
}

pub fn verdicts_asked(query: &query::Query) -> Result<Vec<Verdict>, Problem> {
    query.list("verdict", &Verdict::ALL.map(Verdict::name), Verdict::by_name)
}

/// `GET /v1/endpoints`
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["limit", "cursor", "label", "freshness"])?;
    let (limit, cursor) = (query.limit()?, query.cursor()?);
    let mut labels = Vec::new();
    for label in query.all("label") {
        let pair =
            label.split_once('=').ok_or_else(|| Problem::new(Kind::BadRequest, format!("`label` is `name=value`, not `{label}`")))?;
        labels.push((pair.0.to_owned(), pair.1.to_owned()));
    }
    let wanted = query.list("freshness", &Freshness::ALL.map(Freshness::name), Freshness::by_name)?;
    let (counts, (items, next)) =
        call.fleet(move |shard| (shard.freshness_counts(), page(shard, &wanted, &labels, limit, &cursor))).await?;
    ok(&json!({"items": items, "counts": counts, "next_cursor": next}))
}

fn page(shard: &Shard, wanted: &[Freshness], labels: &[(String, String)], limit: usize, cursor: &str) -> (Vec<Shown>, Option<String>) {
    let (mut items, mut last) = (Vec::new(), None);
    for (looked_at, (at, endpoint)) in shard.fleet.after(cursor).enumerate() {
        if items.len() == limit || looked_at == SCAN_MAX {
            return (items, last.map(query::cursor));
        }
        last = Some(&*endpoint.id);
        let is_wanted = wanted.is_empty() || wanted.contains(&shard.freshness(at));
        if is_wanted && labels.iter().all(|(k, v)| endpoint.labels.get(k) == Some(v)) {
            items.push(shown(shard, at, endpoint));
        }
    }
    (items, None)
}

/// `GET /v1/endpoints/{id}`
pub async fn one(call: Call) -> Answer {
    call.query(&[])?;
    let id = call.param(0).to_owned();
    let answer = call
        .fleet(move |shard| {
            let (at, endpoint) = known(shard, &id)?;
            let groups: Vec<String> = shard.policy.policy.groups.iter().filter(|g| g.holds(endpoint)).map(|g| g.name.clone()).collect();
            let tables = endpoint.held.as_ref().map(|h| tables(shard, h));
            Ok::<_, Problem>((shown(shard, at, endpoint), groups, tables))
        })
        .await??;
    #[derive(Serialize)]
    struct One {
        #[serde(flatten)]
        shown: Shown,
        groups: Vec<String>,
        tables: Option<Vec<Value>>,
    }
    ok(&One { shown: answer.0, groups: answer.1, tables: answer.2 })
}

/// Each table of a scan with how many rows it has, or why it has none.
fn tables(shard: &Shard, held: &Held) -> Vec<Value> {
    let mut counts: BTreeMap<TableId, usize> = held.tables.collected.iter().map(|t| (*t, 0)).collect();
    for row in shard.fleet.rows_of(held) {
        if let Some(table) = shard.rows().table(row) {
            *counts.entry(table).or_default() += 1;
        }
    }
    let collected = counts.into_iter().map(|(t, rows)| json!({"table": t.name(), "rows": rows, "error": null}));
    let failed = held.tables.failed.iter().map(|(t, why)| json!({"table": t.name(), "rows": null, "error": why}));
    collected.chain(failed).collect()
}

/// `DELETE /v1/endpoints/{id}`
pub async fn remove(call: Call) -> Answer {
    let endpoint = call.param(0).to_owned();
    tracing::info!(endpoint, "removing");
    call.core()?.ingest.submit(Input::Remove { endpoint }).await?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// `GET /v1/endpoints/{id}/scan`: the facts as `muster.scan/1`.
pub async fn scan(call: Call) -> Answer {
    call.query(&[])?;
    let id = call.param(0).to_owned();
    // Copied under the lock, parsed and written after it.
    let (mut scan, copied, limits) = call
        .fleet(move |shard| {
            let (_, endpoint) = known(shard, &id)?;
            let held = held(endpoint)?;
            let rows = shard.rows();
            let copy = |row| Some((rows.table(row)?, rows.bytes(row).to_vec()));
            let copied: Vec<(TableId, Vec<u8>)> = shard.fleet.rows_of(held).into_iter().filter_map(copy).collect();
            let mut scan = Scan { endpoint: endpoint.id.to_string(), hostname: Some(endpoint.hostname.to_string()), ..Scan::default() };
            scan.tables.extend(held.tables.collected.iter().map(|t| (*t, TableData::Rows(Vec::new()))));
            scan.tables.extend(held.tables.failed.iter().map(|(t, why)| (*t, TableData::Failed(why.clone()))));
            Ok::<_, Problem>((scan, copied, shard.limits().clone()))
        })
        .await??;
    let body = compute(move || {
        copied.iter().filter_map(|(table, row)| rows::parse(*table, row, &limits)).for_each(|row| scan.push(row));
        scan.normalise();
        native::encode(&scan, None, |_| true)
    })
    .await?;
    Ok(bytes(body, "application/json"))
}

/// `GET /v1/endpoints/{id}/verdicts`
pub async fn verdicts(call: Call) -> Answer {
    let query = call.query(&["verdict"])?;
    let wanted = verdicts_asked(&query)?;
    let id = call.param(0).to_owned();
    let (items, summary) = call
        .fleet(move |shard| {
            let (at, endpoint) = known(shard, &id)?;
            let held = held(endpoint)?;
            let open: BTreeMap<&str, i64> = shard.open_episodes_of(at).collect();
            let mut items = Vec::new();
            for rule in shard.pack.rules().filter(|r| !shard.pack.rule(*r).requirement) {
                let verdict = shard.fleet.classes.verdict(held.class, rule);
                if !wanted.is_empty() && !wanted.contains(&verdict) {
                    continue;
                }
                let meta = shard.pack.meta(rule);
                let since = open.get(meta.id.as_str()).map(|ms| time(*ms));
                items.push(json!({"rule": meta.id, "verdict": verdict, "severity": meta.severity, "title": meta.title, "since": since}));
            }
            Ok::<_, Problem>((items, summary(shard, held)))
        })
        .await??;
    ok(&json!({"items": items, "summary": summary}))
}

/// `GET /v1/endpoints/{id}/verdicts/{rule}/explain`
pub async fn explain(call: Call) -> Answer {
    call.query(&[])?;
    let (id, rule_id) = (call.param(0).to_owned(), call.param(1).to_owned());
    let answer = call
        .fleet(move |shard| {
            let (at, endpoint) = known(shard, &id)?;
            let held = held(endpoint)?;
            let unknown = || Problem::new(Kind::UnknownRule, format!("no rule `{rule_id}` in the packs"));
            let rule = shard.pack.find(&rule_id).ok_or_else(unknown)?;
            let verdict = shard.fleet.classes.verdict(held.class, rule);
            let mut explained = shard.explain(at, rule).ok_or_else(unknown)?;
            if verdict == Verdict::NotSelected {
                explained.reason = Some("left out by `exclude` in the configuration".to_owned());
            }
            let meta = shard.pack.meta(rule);
            Ok::<_, Problem>(json!({
                "endpoint": endpoint.id, "rule": meta.id, "verdict": verdict, "reason": explained.reason, "evidence": explained.evidence,
                "when": meta.when, "check": meta.check, "missing": meta.missing, "title": meta.title, "severity": meta.severity,
                "rationale": meta.rationale, "remediation": meta.remediation, "pack": shard.pack.digest(), "scan": scan_of(held),
            }))
        })
        .await??;
    ok(&answer)
}

/// `GET /v1/endpoints/{id}/episodes`
pub async fn episodes(call: Call) -> Answer {
    call.query(&[])?;
    let id = call.param(0).to_owned();
    let items = call
        .fleet(move |shard| {
            let (at, _) = known(shard, &id)?;
            Ok::<_, Problem>(shard.episodes_of(at).map(|(rule, kept)| episode(rule, &kept.episode)).collect::<Vec<_>>())
        })
        .await??;
    ok(&json!({"items": items}))
}

fn episode(rule: &str, e: &Episode) -> Value {
    json!({
        "id": e.id, "rule": rule, "open": e.open, "cause": e.cause, "opened_at": time(e.opened_ms), "changed_at": time(e.changed_ms),
        "reopened": e.reopened, "evidence": e.evidence, "told": e.told, "tell_at": e.tell_ms.map(time),
    })
}
