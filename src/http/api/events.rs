//! History, from the disk: only what is durable is ever shown.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::problem::{Kind, Problem};
use super::super::{Answer, Call, ok};
use crate::event::{TYPES, subscribed};

/// Events that are looked at for one page at most.
const LOOK_AT: usize = 10_000;
/// Events read from the disk at once.
const READ: usize = 1000;

#[derive(Deserialize)]
struct Head<'e> {
    #[serde(rename = "type")]
    kind: &'e str,
    endpoint: Option<String>,
}

/// `GET /v1/events`: after the number in `cursor`, oldest first. `next_cursor` is there also when nothing is newer, for asking again later.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["cursor", "limit", "type", "endpoint"])?;
    let limit = query.limit()?;
    let cursor = query.get("cursor").unwrap_or("0");
    let wrong = || Problem::new(Kind::BadRequest, format!("`cursor` is the number of the last event that you have, not `{cursor}`"));
    let mut cursor: u64 = cursor.parse().map_err(|_| wrong())?;
    let kinds: Vec<String> = query.all("type").flat_map(|v| v.split(',')).map(str::to_owned).collect();
    if let Some(none) = kinds.iter().find(|k| !TYPES.iter().any(|(kind, _)| subscribed(std::slice::from_ref(*k), kind))) {
        return Err(Problem::new(Kind::BadRequest, format!("no type of event is `{none}`")));
    }
    let endpoint = query.get("endpoint").map(str::to_owned);
    let reader = call.core()?.reader.clone();
    let read = move || {
        let mut items: Vec<Box<RawValue>> = Vec::new();
        let mut looked_at = 0;
        while items.len() < limit && looked_at < LOOK_AT {
            let entries = reader.events(cursor.saturating_add(1), READ)?;
            if entries.is_empty() {
                break;
            }
            for (key, value) in entries {
                if items.len() == limit {
                    break;
                }
                looked_at += 1;
                cursor = key.try_into().map_or(cursor, u64::from_be_bytes);
                let Ok(head) = serde_json::from_slice::<Head<'_>>(&value) else { continue };
                let wanted = kinds.is_empty() || subscribed(&kinds, head.kind);
                if wanted && endpoint.as_ref().is_none_or(|e| head.endpoint.as_ref() == Some(e)) {
                    items.extend(serde_json::from_slice::<Box<RawValue>>(&value).ok());
                }
            }
        }
        Ok::<_, crate::state::StoreError>((items, cursor))
    };
    // Reading waits for the disk.
    let joined = tokio::task::spawn_blocking(read).await;
    let (items, next) = joined.map_err(|e| Problem::new(Kind::Internal, format!("reading history ended: {e}")))??;
    ok(&json!({"items": items, "next_cursor": next.to_string()}))
}
