//! Do Not Patch: what is not installed where, by whose decision and until when.

use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::problem::{Kind, Problem};
use super::super::query;
use super::super::{Answer, Call, ok};
use super::patches::ms;
use crate::patch::list::{Exemption, Scope};
use crate::patch::report::ExemptionView;
use crate::shard::{Input, Reply, Shard};

fn shown(shard: &Shard, exemption: &Exemption) -> Value {
    let mut value = serde_json::to_value(ExemptionView::of(exemption)).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("holds".to_owned(), shard.exemption_holds(&exemption.id).into());
    }
    value
}

/// `GET /v1/exemptions`: those that nobody ended; `holds` is false where the time is over.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let (limit, cursor) = (query.limit()?, query.cursor()?);
    let (items, next) = call
        .fleet(move |shard| {
            let after = (std::ops::Bound::Excluded(cursor), std::ops::Bound::Unbounded);
            let mut rest = shard.decisions.exemptions.range::<String, _>(after).map(|(_, e)| e);
            let page: Vec<&Exemption> = rest.by_ref().take(limit).collect();
            let next = page.last().filter(|_| rest.next().is_some()).map(|e| query::cursor(&e.id));
            (page.into_iter().map(|e| shown(shard, e)).collect::<Vec<_>>(), next)
        })
        .await?;
    ok(&json!({"items": items, "next_cursor": next}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    scope: Scope,
    patches: Vec<String>,
    reason: String,
    approver: String,
    expires_at: Option<Timestamp>,
}

/// `POST /v1/exemptions`
pub async fn add(call: Call) -> Answer {
    call.query(&[])?;
    let new: New = call.json().await?;
    let exemption = Exemption {
        // Both are given where it is kept.
        id: String::new(),
        created_ms: 0,
        scope: new.scope,
        patches: new.patches,
        reason: new.reason,
        approver: new.approver,
        expires_ms: new.expires_at.map(ms),
    };
    match call.core()?.ingest.submit(Input::Exempt(exemption)).await? {
        Reply::Exempted(exemption) => {
            tracing::info!(exemption = exemption.id, approver = exemption.approver, "patches are exempt");
            let shown = call.fleet(move |shard| shown(shard, &exemption)).await?;
            super::super::json(StatusCode::CREATED, &shown)
        }
        other => Err(Problem::new(Kind::Internal, format!("not the reply to an exemption: {other:?}"))),
    }
}

/// `DELETE /v1/exemptions/{id}`: ends it now. That it was there stays in history.
pub async fn end(call: Call) -> Answer {
    let query = call.query(&["by"])?;
    let by = query.get("by").unwrap_or("administrator").to_owned();
    let id = call.param(0).to_owned();
    tracing::info!(exemption = id, by, "an exemption is ended");
    call.core()?.ingest.submit(Input::EndExemption { id, by }).await?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
