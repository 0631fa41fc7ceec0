//! Deployment tasks: fetched by endpoints, answered by them, looked at by people.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::problem::{Kind, Problem};
use super::super::query::{self, Query, SCAN_MAX};
use super::super::{Answer, Call, ok};
use crate::access::Who;
use crate::deploy::{Task, TaskState};
use crate::fleet::EndpointId;
use crate::shard::{Input, Refusal, Reply, Shard};

/// Bytes of a message that are kept.
const MESSAGE_MAX: usize = 4096;

/// Which tasks are meant: states, `open` or `all`.
struct Wanted(Vec<TaskState>);

impl Wanted {
    fn of(query: &Query, unless_said: &[TaskState]) -> Result<Wanted, Problem> {
        let open: Vec<TaskState> = TaskState::ALL.into_iter().filter(|s| s.is_open()).collect();
        let names: Vec<&str> = TaskState::ALL.iter().map(|s| s.name()).chain(["open", "all"]).collect();
        let sets = query.list("state", &names, |name| match name {
            "open" => Some(open.clone()),
            "all" => Some(TaskState::ALL.to_vec()),
            name => TaskState::ALL.into_iter().find(|s| s.name() == name).map(|s| vec![s]),
        })?;
        Ok(Wanted(if sets.is_empty() { unless_said.to_vec() } else { sets.concat() }))
    }

    fn means(&self, task: &Task) -> bool {
        self.0.contains(&task.state)
    }
}

/// `GET /v1/endpoints/{id}/tasks`: for the endpoint itself what it is to do now, unless it asks for more.
pub async fn of_endpoint(call: Call) -> Answer {
    let query = call.query(&["state"])?;
    let unless_said: &[TaskState] = if call.who == Who::Admin { &TaskState::ALL } else { &[TaskState::Queued] };
    let wanted = Wanted::of(&query, unless_said)?;
    let id = call.param(0).to_owned();
    let items = call
        .fleet(move |shard| {
            let at = shard.fleet.find(&id).ok_or(Refusal::UnknownEndpoint(id))?;
            Ok::<_, Refusal>(shard.tasks_of(at).filter(|t| wanted.means(t)).map(|t| t.shown()).collect::<Vec<_>>())
        })
        .await??;
    ok(&json!({"items": items}))
}

/// `GET /v1/tasks`: those of all endpoints, by endpoint and item.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["state", "limit", "cursor"])?;
    let wanted = Wanted::of(&query, &TaskState::ALL)?;
    let (limit, cursor) = (query.limit()?, query.cursor()?);
    let (items, next) = call.fleet(move |shard| page(shard, &wanted, limit, &cursor)).await?;
    ok(&json!({"items": items, "next_cursor": next}))
}

/// One page. The cursor is the last endpoint that was looked at, with the last item of it if it has more.
fn page(shard: &Shard, wanted: &Wanted, limit: usize, cursor: &str) -> (Vec<Value>, Option<String>) {
    let (from, mut after) = cursor.split_once('\n').map_or((cursor, None), |(id, item)| (id, Some(item)));
    let begun = after.and_then(|_| shard.fleet.find(from)).map(|at| (at, from));
    let rest = shard.fleet.after(from).map(|(at, e)| (at, &*e.id));
    let (mut items, mut last) = (Vec::new(), String::new());
    for (looked_at, (at, id)) in begun.into_iter().chain(rest).enumerate() {
        if looked_at == SCAN_MAX {
            return (items, Some(query::cursor(&last)));
        }
        let after = after.take();
        for task in shard.tasks_of(at).filter(|t| after.is_none_or(|a| t.item.as_str() > a) && wanted.means(t)) {
            if items.len() == limit {
                return (items, Some(query::cursor(&last)));
            }
            items.push(of(shard, at, &task));
            last = format!("{id}\n{}", task.item);
        }
        if items.len() < limit {
            last = id.to_owned();
        }
    }
    (items, None)
}

fn of(shard: &Shard, at: EndpointId, task: &Task) -> Value {
    let mut shown = task.shown();
    if let (Some(object), Some(endpoint)) = (shown.as_object_mut(), shard.fleet.get(at)) {
        object.insert("endpoint".to_owned(), (*endpoint.id).into());
    }
    shown
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    ok: bool,
    #[serde(default)]
    message: String,
}

/// `POST /v1/tasks/{task}/result`: what the endpoint says; the next scan decides.
pub async fn result(call: Call) -> Answer {
    let Who::Endpoint(endpoint) = call.who.clone() else { return Err(Problem::new(Kind::Forbidden, "only an endpoint reports")) };
    let mut report: Report = call.json().await?;
    let end = report.message.floor_char_boundary(MESSAGE_MAX);
    report.message.truncate(end);
    let input = Input::Report { task: call.param(0).to_owned(), endpoint, ok: report.ok, message: report.message };
    match call.core()?.ingest.submit(input).await? {
        Reply::Reported(task) => ok(&task.shown()),
        other => Err(Problem::new(Kind::Internal, format!("not the reply to a report: {other:?}"))),
    }
}
