//! Named lists of patches: from a filter, then edited by hand; every edit is a version that stays.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::problem::{Kind, Problem};
use super::super::query;
use super::super::{Answer, Call, ok};
use super::patches::{filter_of, tallied};
use super::time;
use crate::compute::compute;
use crate::patch::list::PatchList;
use crate::patch::report::page;
use crate::shard::{Input, Reply};

fn head(list: &PatchList) -> Value {
    json!({
        "name": list.name, "version": list.version, "filter": list.filter, "count": list.patches.len(), "author": list.author,
        "note": list.note, "at": time(list.at_ms),
    })
}

fn with(mut value: Value, members: Value) -> Value {
    if let (Some(object), Value::Object(members)) = (value.as_object_mut(), members) {
        object.extend(members);
    }
    value
}

fn whole(list: &PatchList) -> Value {
    with(head(list), json!({"patches": list.patches}))
}

fn unknown(name: &str) -> Problem {
    Problem::new(Kind::UnknownList, format!("no list of patches is named `{name}`; PUT makes one"))
}

/// `GET /v1/patch-lists`: the last version of each, without its patches.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let (limit, cursor) = (query.limit()?, query.cursor()?);
    let (items, next) = call
        .fleet(move |shard| {
            let after = (std::ops::Bound::Excluded(cursor), std::ops::Bound::Unbounded);
            let mut rest = shard.decisions.lists.range::<String, _>(after).filter_map(|(_, versions)| versions.last());
            let page: Vec<&PatchList> = rest.by_ref().take(limit).collect();
            let next = page.last().filter(|_| rest.next().is_some()).map(|l| query::cursor(&l.name));
            (page.into_iter().map(head).collect::<Vec<_>>(), next)
        })
        .await?;
    ok(&json!({"items": items, "next_cursor": next}))
}

/// `GET /v1/patch-lists/{name}`
pub async fn one(call: Call) -> Answer {
    call.query(&[])?;
    let name = call.param(0).to_owned();
    ok(&call.fleet(move |shard| shard.decisions.list(&name).map(whole).ok_or_else(|| unknown(&name))).await??)
}

/// `GET /v1/patch-lists/{name}/versions`: the newest first, each with what it changed.
pub async fn versions(call: Call) -> Answer {
    call.query(&[])?;
    let name = call.param(0).to_owned();
    let versions = call.fleet(move |shard| shard.decisions.lists.get(&name).cloned().ok_or_else(|| unknown(&name))).await??;
    let none = BTreeSet::new();
    let before = std::iter::once(&none).chain(versions.iter().map(|v| &v.patches));
    let mut shown: Vec<Value> =
        versions.iter().zip(before).map(|(list, before)| with(head(list), changes(&list.patches, before))).collect();
    shown.reverse();
    ok(&json!({"name": call.param(0), "versions": shown}))
}

fn changes(now: &BTreeSet<String>, before: &BTreeSet<String>) -> Value {
    json!({"added": now.difference(before).collect::<Vec<_>>(), "removed": before.difference(now).collect::<Vec<_>>()})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// Resolved now; its patches take the place of those of the version before.
    filter: Option<String>,
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
    author: String,
    #[serde(default)]
    note: String,
}

/// `PUT /v1/patch-lists/{name}`: a new version.
pub async fn keep(call: Call) -> Answer {
    call.query(&[])?;
    let edit: Edit = call.json().await?;
    if edit.author.trim().is_empty() {
        return Err(Problem::new(Kind::Invalid, "a version needs an `author`"));
    }
    let name = call.param(0).to_owned();
    let last = call.fleet(move |shard| shard.decisions.list(&name).cloned()).await?;
    let before = last.as_ref().map(|l| l.patches.clone()).unwrap_or_default();
    let (mut patches, filter, resolved) = match &edit.filter {
        None => (before.clone(), last.as_ref().map(|l| l.filter.clone()).unwrap_or_default(), None),
        Some(text) => {
            let filter = filter_of(&call, text).await?;
            let found = tallied(&call, &filter).await?;
            let text = filter.text().to_owned();
            let patches = compute(move || page::resolve(&found.catalog, &found.tallies, &filter)).await?;
            let count = patches.len();
            (patches, text, Some(count))
        }
    };
    patches.extend(edit.add);
    patches.retain(|p| !edit.remove.contains(p));
    let changes = changes(&patches, &before);
    let version = last.map_or(1, |l| l.version.saturating_add(1));
    // Its time is given where it is kept.
    let list = PatchList { name: call.param(0).to_owned(), version, filter, patches, author: edit.author, note: edit.note, at_ms: 0 };
    match call.core()?.ingest.submit(Input::KeepList(list)).await? {
        Reply::ListKept { version } => tracing::info!(list = call.param(0), version, "a list of patches was kept"),
        other => return Err(Problem::new(Kind::Internal, format!("not the reply to a list: {other:?}"))),
    }
    let name = call.param(0).to_owned();
    let kept = call
        .fleet(move |shard| {
            let versions = shard.decisions.lists.get(&name)?;
            versions.iter().find(|l| l.version == version).map(whole)
        })
        .await?;
    ok(&with(kept.unwrap_or_default(), with(changes, json!({"resolved": resolved}))))
}
