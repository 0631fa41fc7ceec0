//! The daemon itself: whether it lives, what it counts, what it is told.

use std::sync::PoisonError;

use hyper::StatusCode;
use serde_json::json;

use super::super::problem::{Kind, Problem};
use super::super::{Answer, App, Call, Phase, bytes, ok};
use crate::clock;
use crate::deploy::TaskState;
use crate::feed::model::Level;
use crate::judge::Verdict;
use crate::metrics::Metrics;
use crate::rule::Severity;
use crate::serve;
use crate::shard::{Freshness, PatchTotals, Shard};

/// The description of the API. A test holds it against the table of routes.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// `GET /v1/status`
pub async fn status(call: Call) -> Answer {
    call.query(&[])?;
    let app = &call.app;
    let fleet = call
        .fleet(|shard| {
            let counted = TaskState::ALL.into_iter().zip(shard.task_counts());
            let open: u64 = counted.filter(|(state, _)| state.is_open()).map(|(_, n)| n).sum();
            json!({
                "endpoints": shard.fleet.len(), "freshness": shard.freshness_counts(), "with_scan": shard.fleet.classes.held(), "rows": shard.rows().len(),
                "images": shard.fleet.images.len(), "verdict_classes": shard.fleet.classes.len(), "pack": shard.pack.digest(),
                "rules": shard.pack.rules().filter(|r| !shard.pack.rule(*r).requirement).count(), "open_tasks": open,
                "outbox": shard.outbox.len(), "last_event": shard.last_seq(), "store": shard.store_id(),
            })
        })
        .await?;
    let progress = app.metrics.swap_progress.get();
    let swap = (progress < 1.0).then_some(progress);
    let reload = app.last_reload.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let config = app.config.load();
    let standing = call.core()?.ingest.admission.standing(clock::now_ms());
    ok(&json!({
        "version": env!("CARGO_PKG_VERSION"), "started_at": app.started, "ready": app.phase() == Phase::Ready,
        "uptime_seconds": (clock::now().as_millisecond() - app.started.as_millisecond()) / 1000, "fleet": fleet, "swap": swap,
        "uploads": {"reading": standing.reading, "waiting": standing.waiting, "working": standing.working,
            "oldest_wait_seconds": standing.lag_ms / 1000, "endpoints_limited": standing.limited},
        "config": {"file": config.path, "data": config.data, "listen": config.listen, "read_at": reload.at,
            "taken": reload.problems.is_empty(), "problems": reload.problems},
    }))
}

/// `POST /-/reload`: the configuration and the packs, read again. The present ones stay when anything is wrong.
pub async fn reload(call: Call) -> Answer {
    call.core()?;
    match serve::reload(&call.app).await {
        Ok(notes) => ok(&json!({"reloaded": true, "notes": notes})),
        Err(problems) => Err(Problem::new(Kind::ReloadRefused, problems.join("\n")).with("problems", problems)),
    }
}

/// `GET /-/healthy`: the process answers.
pub async fn healthy(_: Call) -> Answer {
    Ok(bytes("ok\n", "text/plain; charset=utf-8"))
}

/// `GET /-/ready`: the fleet is loaded, the store works, nobody has asked to stop.
pub async fn ready(call: Call) -> Answer {
    let poisoned = call.app.loaded().is_some_and(|c| c.ingest.is_poisoned());
    let why = match call.app.phase() {
        Phase::Ready if poisoned => "the store failed\n",
        Phase::Ready => return healthy(call).await,
        Phase::Loading if call.app.metrics.swap_progress.get() < 1.0 => "judging the fleet by another pack or policy\n",
        Phase::Loading => "loading\n",
        Phase::Draining => "stopping\n",
    };
    let mut response = bytes(why, "text/plain; charset=utf-8");
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    Ok(response)
}

/// `GET /metrics`
pub async fn metrics(call: Call) -> Answer {
    if call.core().is_ok() {
        let metrics = call.app.metrics.clone();
        uploads(&call, &metrics)?;
        call.fleet(move |shard| measure(shard, &metrics, clock::now_ms())).await?;
    }
    Ok(bytes(call.app.metrics.encode(), "text/plain; version=0.0.4; charset=utf-8"))
}

/// What is in flight now.
fn uploads(call: &Call, metrics: &Metrics) -> Result<(), Problem> {
    let standing = call.core()?.ingest.admission.standing(clock::now_ms());
    for (stage, n) in [("reading", standing.reading), ("waiting", standing.waiting), ("working", standing.working)] {
        metrics.uploads_in_flight.with_label_values(&[stage]).set(gauge(n));
    }
    metrics.uploads_lag.set(std::time::Duration::from_millis(standing.lag_ms).as_secs_f64());
    metrics.limited.set(gauge(standing.limited));
    Ok(())
}

fn gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Sets the gauges that say what the fleet is.
fn measure(shard: &Shard, metrics: &Metrics, now_ms: i64) {
    let held = shard.fleet.classes.held();
    metrics.endpoints.with_label_values(&["held"]).set(gauge(held));
    metrics.endpoints.with_label_values(&["no_scan"]).set(gauge(shard.fleet.len().saturating_sub(held)));
    metrics.rows.set(gauge(shard.rows().len()));
    metrics.row_bytes.set(gauge(shard.rows().text_bytes()));
    freshness(shard, metrics);
    metrics.images.set(gauge(shard.fleet.images.len()));
    metrics.classes.set(gauge(shard.fleet.classes.len()));
    metrics.events.set(i64::try_from(shard.last_seq()).unwrap_or(i64::MAX));
    let mut verdicts = [[0i64; Verdict::ALL.len()]; Severity::ALL.len()];
    let rules: Vec<_> = shard.pack.rules().filter(|r| !shard.pack.rule(*r).requirement).collect();
    metrics.rules.set(gauge(rules.len()));
    for rule in rules {
        let of_severity = &mut verdicts[shard.pack.rule(rule).severity as usize];
        for verdict in Verdict::ALL {
            of_severity[verdict as usize] += i64::from(shard.fleet.classes.endpoints(rule, verdict));
        }
    }
    for (severity, counts) in Severity::ALL.into_iter().zip(verdicts) {
        for (verdict, count) in Verdict::ALL.into_iter().zip(counts) {
            metrics.verdicts.with_label_values(&[severity.name(), verdict.name()]).set(count);
        }
    }
    for (state, count) in TaskState::ALL.into_iter().zip(shard.task_counts()) {
        metrics.tasks.with_label_values(&[state.name()]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    patches(shard, metrics);
    past(shard, metrics);
    let t = shard.totals;
    for (change, total) in [("opened", t.opened), ("updated", t.updated), ("resolved", t.resolved), ("reopened", t.reopened)] {
        let counter = metrics.drift.with_label_values(&[change]);
        counter.inc_by(total.saturating_sub(counter.get()));
    }
    metrics.outbox_dropped.inc_by(t.outbox_dropped.saturating_sub(metrics.outbox_dropped.get()));
    outbox(shard, metrics, now_ms);
}

/// What trends and history come to now.
fn past(shard: &Shard, metrics: &Metrics) {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    if let Some(gauges) = shard.trend_gauges() {
        metrics.compliant.with_label_values::<&str>(&[]).set(count(gauges.compliant));
        metrics.open_episodes.with_label_values::<&str>(&[]).set(count(gauges.open_episodes));
    }
    let head = &shard.history().head;
    let reach = head.began_ms.map_or(0, |_| head.reach_ms().0);
    metrics.history_reach.set(jiff::SignedDuration::from_millis(reach).as_secs_f64());
}

/// What of the counts is of endpoints that were not heard of lately.
fn freshness(shard: &Shard, metrics: &Metrics) {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let counts = shard.freshness_counts();
    for (freshness, n) in Freshness::ALL.into_iter().zip([counts.fresh, counts.stale, counts.silent]) {
        metrics.freshness.with_label_values(&[freshness.name()]).set(count(n));
    }
    let mut verdicts = [[0i64; Verdict::ALL.len()]; Severity::ALL.len()];
    for (class, endpoints) in shard.stale_classes() {
        for rule in shard.pack.rules().filter(|r| !shard.pack.rule(*r).requirement) {
            let verdict = shard.fleet.classes.verdict(class, rule);
            verdicts[shard.pack.rule(rule).severity as usize][verdict as usize] += i64::from(endpoints);
        }
    }
    for (severity, counts) in Severity::ALL.into_iter().zip(verdicts) {
        for (verdict, count) in Verdict::ALL.into_iter().zip(counts) {
            metrics.verdicts_stale.with_label_values(&[severity.name(), verdict.name()]).set(count);
        }
    }
    for (level, n) in Level::ALL.into_iter().zip(shard.stale_missing()) {
        metrics.patches_missing_stale.with_label_values(&[level.name()]).set(count(n));
    }
}

fn patches(shard: &Shard, metrics: &Metrics) {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let totals = shard.patch_totals();
    metrics.patches.set(gauge(shard.catalog.len()));
    for (level, n) in Level::ALL.into_iter().zip(totals.missing) {
        metrics.patches_missing.with_label_values(&[level.name()]).set(count(n));
    }
    for state in PatchTotals::STATES {
        metrics.patch_states.with_label_values(&[state.name()]).set(count(totals.states[state as usize]));
    }
    metrics.missing_exploited.set(count(totals.endpoints_missing_exploited));
    metrics.patches_not_collected.set(count(totals.endpoints_not_collected));
    metrics.patch_alerts.set(gauge(shard.alerts().count()));
    let all = shard.decisions.exemptions.len();
    let active = shard.decisions.exemptions.keys().filter(|id| shard.exemption_holds(id)).count();
    metrics.exemptions.with_label_values(&["active"]).set(gauge(active));
    metrics.exemptions.with_label_values(&["expired"]).set(gauge(all - active));
}

fn outbox(shard: &Shard, metrics: &Metrics, now_ms: i64) {
    let mut queues: std::collections::BTreeMap<&str, (i64, i64, i64)> =
        shard.policy.policy.subscriptions.iter().map(|s| (s.sink.as_str(), (0, 0, now_ms))).collect();
    for (sink, _, pending) in shard.outbox.iter() {
        let queue = queues.entry(sink).or_insert((0, 0, now_ms));
        if pending.dead {
            queue.1 += 1;
        } else {
            queue.0 += 1;
            queue.2 = queue.2.min(pending.at_ms);
        }
    }
    for (sink, (pending, dead, oldest_ms)) in queues {
        metrics.outbox.with_label_values(&[sink, "pending"]).set(pending);
        metrics.outbox.with_label_values(&[sink, "dead"]).set(dead);
        let age = std::time::Duration::from_millis(u64::try_from(now_ms - oldest_ms).unwrap_or(0));
        metrics.outbox_age.with_label_values(&[sink]).set(age.as_secs_f64());
    }
}

/// `GET /openapi.json`
pub async fn openapi(_: Call) -> Answer {
    Ok(bytes(OPENAPI, "application/json"))
}

/// `GET /`: for people who try the address.
pub async fn index(call: Call) -> Answer {
    Ok(bytes(page(&call.app), "text/html; charset=utf-8"))
}

fn page(app: &App) -> String {
    let state = match app.phase() {
        Phase::Loading => "loading",
        Phase::Ready => "ready",
        Phase::Draining => "stopping",
    };
    let links =
        ["/openapi.json", "/metrics", "/-/healthy", "/-/ready", "/v1/status", "/v1/endpoints", "/v1/rules", "/v1/events", "/v1/tasks"];
    let items: String = links.iter().map(|l| format!("<li><a href=\"{l}\">{l}</a></li>\n")).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Muster</title></head>\n<body>\n<h1>Muster {}</h1>\n\
         <p>The server is {state}. Addresses under <code>/v1</code> need <code>Authorization: Bearer</code> and the administrator's \
         token.</p>\n<ul>\n{items}</ul>\n</body></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}
