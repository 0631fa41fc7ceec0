//! Who is told: sinks, what waits for them, what was delivered.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::problem::{Kind, Problem};
use super::super::query::PAGE_MAX;
use super::super::{Answer, Call, ok};
use super::time;
use crate::client;
use crate::notify::Outcome;
use crate::shard::{Input, Reply};

/// What waits for one sink.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    pending: usize,
    dead: usize,
    oldest_ms: Option<i64>,
}

/// `GET /v1/sinks`: those of the configuration, and those that only still have something waiting.
pub async fn list(call: Call) -> Answer {
    call.query(&[])?;
    let mut queues = call
        .fleet(|shard| {
            let mut queues: BTreeMap<String, Queue> = BTreeMap::new();
            for (sink, _, pending) in shard.outbox.iter() {
                if !queues.contains_key(sink) {
                    queues.insert(sink.to_owned(), Queue::default());
                }
                let Some(queue) = queues.get_mut(sink) else { continue };
                if pending.dead {
                    queue.dead += 1;
                } else {
                    queue.pending += 1;
                    queue.oldest_ms = Some(queue.oldest_ms.map_or(pending.at_ms, |o| o.min(pending.at_ms)));
                }
            }
            queues
        })
        .await?;
    let dispatch = &call.core()?.dispatch;
    let waiting = |q: Queue| json!({"pending": q.pending, "dead": q.dead, "oldest_at": q.oldest_ms.map(time)});
    let mut items: Vec<Value> = Vec::new();
    for sink in dispatch.sinks() {
        let config = &sink.config;
        let queue = queues.remove(&config.name).unwrap_or_default();
        // Paths of webhook addresses are often secrets.
        items.push(json!({"name": config.name, "kind": "webhook", "url": client::origin(&config.url), "events": config.events,
            "configured": true, "paused": dispatch.gone(&config.name), "waiting": waiting(queue)}));
    }
    for (name, queue) in queues {
        items.push(
            json!({"name": name, "kind": null, "url": null, "events": [], "configured": false, "paused": null, "waiting": waiting(queue)}),
        );
    }
    ok(&json!({"items": items}))
}

#[derive(Serialize)]
struct Entry {
    sink: String,
    seq: u64,
    event_time: jiff::Timestamp,
    attempts: u32,
    next_at: Option<jiff::Timestamp>,
    dead: bool,
    error: Option<String>,
}

/// `GET /v1/deliveries`: what waits, what was given up, and the newest attempts of this process.
pub async fn deliveries(call: Call) -> Answer {
    let query = call.query(&["sink", "limit"])?;
    let limit = query.limit()?.min(PAGE_MAX);
    let sink = query.get("sink").map(str::to_owned);
    let of = sink.clone();
    let (waiting, dead) = call
        .fleet(move |shard| {
            let (mut waiting, mut dead) = (Vec::new(), Vec::new());
            for (sink, seq, p) in shard.outbox.iter().filter(|(s, _, _)| of.as_ref().is_none_or(|o| o == s)) {
                let into = if p.dead { &mut dead } else { &mut waiting };
                if into.len() < limit {
                    into.push(Entry {
                        sink: sink.to_owned(),
                        seq,
                        event_time: time(p.at_ms),
                        attempts: p.attempts,
                        next_at: (!p.dead).then(|| time(p.next_ms)),
                        dead: p.dead,
                        error: p.error.clone(),
                    });
                }
            }
            (waiting, dead)
        })
        .await?;
    let log = call.core()?.dispatch.log(sink.as_deref(), limit);
    ok(&json!({"waiting": waiting, "dead": dead, "log": log}))
}

/// `POST /v1/sinks/{sink}/redeliver`: what was given up is tried again, and a paused sink goes on.
pub async fn redeliver(call: Call) -> Answer {
    let (core, sink) = (call.core()?, call.param(0).to_owned());
    let of = sink.clone();
    let waits = call.fleet(move |shard| shard.outbox.iter().any(|(s, _, _)| s == of)).await?;
    if !waits && !core.dispatch.sinks().iter().any(|s| s.config.name == sink) {
        return Err(unknown(&sink));
    }
    let reply = core.ingest.submit(Input::Redeliver { sink: sink.clone() }).await?;
    core.dispatch.resume(&sink);
    let count = if let Reply::Redelivered(n) = reply { n } else { 0 };
    ok(&json!({"redelivered": count}))
}

/// `POST /v1/sinks/{sink}/test`: one message of type `muster.test`, now, and what became of it.
pub async fn test(call: Call) -> Answer {
    let sink = call.param(0);
    let outcome = call.core()?.dispatch.test(sink).await.ok_or_else(|| unknown(sink))?;
    ok(&match outcome {
        Outcome::Delivered { status } => json!({"delivered": true, "status": status, "error": null}),
        Outcome::Retry { error, .. } | Outcome::Dead { error } | Outcome::Gone { error } => {
            json!({"delivered": false, "status": null, "error": error})
        }
    })
}

fn unknown(sink: &str) -> Problem {
    Problem::new(Kind::UnknownSink, format!("no `[[sink]]` is named `{sink}`"))
}
