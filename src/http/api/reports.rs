//! Reports: what was at a past instant, and how groups came along. Both read history from the disk.

use jiff::Timestamp;

use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::super::{Answer, Call, ok};
use crate::clock;
use crate::history::trend::Step;
use crate::question::asof::{self, asof};
use crate::question::trends::{self, trends};

/// `GET /v1/asof`
pub async fn as_of(call: Call) -> Answer {
    let query = call.query(&["at", "group", "rule", "verdict", "endpoint", "limit", "cursor"])?;
    let text = |name: &str| query.get(name).filter(|v| !v.is_empty()).map(str::to_owned);
    let at_ms =
        time(&query, "at")?.ok_or_else(|| Problem::new(Kind::BadRequest, "`at` is missing: the instant, such as 2026-03-31T00:00:00Z"))?;
    let question = asof::Question {
        at_ms,
        group: text("group"),
        rule: text("rule"),
        verdicts: asof::verdicts(query.get("verdict").unwrap_or_default())?,
        endpoint: text("endpoint"),
        limit: Some(query.limit()?),
        cursor: text("cursor"),
    };
    let (ingest, reader) = (call.core()?.ingest.clone(), call.core()?.reader.clone());
    ok(&read(move || asof(&*ingest, &*reader, &question, clock::now_ms())).await??)
}

/// `GET /v1/trends`
pub async fn over_time(call: Call) -> Answer {
    let query = call.query(&["group", "from", "to", "step"])?;
    let step = query.get("step").unwrap_or("day");
    let step = Step::by_name(step).ok_or_else(|| Problem::new(Kind::BadRequest, format!("`step` is `hour` or `day`, not `{step}`")))?;
    let group = query.get("group").filter(|v| !v.is_empty()).map(str::to_owned);
    let question = trends::Question { group, step, from_ms: time(&query, "from")?, to_ms: time(&query, "to")? };
    let (ingest, reader) = (call.core()?.ingest.clone(), call.core()?.reader.clone());
    ok(&read(move || trends(&*ingest, &*reader, &question, clock::now_ms())).await??)
}

/// Reading waits for the disk.
async fn read<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|e| Problem::new(Kind::Internal, format!("reading history ended: {e}")))
}

fn time(query: &Query, name: &str) -> Result<Option<i64>, Problem> {
    let Some(text) = query.get(name).filter(|t| !t.is_empty()) else { return Ok(None) };
    let wrong = || Problem::new(Kind::BadRequest, format!("`{name}` is an instant such as 2026-03-31T00:00:00Z, not `{text}`"));
    text.parse::<Timestamp>().map(|t| Some(t.as_millisecond())).map_err(|_| wrong())
}
