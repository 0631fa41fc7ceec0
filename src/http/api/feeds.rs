//! What vendors publish: subscriptions, how they stand, and files brought by hand.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::super::{Answer, Call, json as answer, ok};
use crate::compute::compute;
use crate::subscription::keeper::Keeper;
use crate::subscription::{Feed, FeedError, Import, IoError, Source, State, shown};

/// Files of a feed that are shown; all are counted.
const FILES: usize = 1000;
const NAME_MAX: usize = 255;

fn brief(keeper: &Keeper, feed: &Feed) -> Value {
    json!({
        "name": feed.name, "enabled": feed.enabled, "every_seconds": feed.every.as_secs(), "next_at": keeper.due(feed),
        "syncing": keeper.is_syncing(&feed.name), "source": source(feed), "state": summary(&keeper.state(feed)),
    })
}

/// Addresses without what may be secret in them.
fn source(feed: &Feed) -> Value {
    match &feed.source {
        Source::Urls(urls) => json!({"urls": urls.iter().map(|u| shown(u)).collect::<Vec<_>>()}),
        Source::Paths(paths) => json!({"paths": paths}),
        Source::Imported => json!({"imported": true}),
    }
}

/// How a feed stands. The command line shows the same.
pub fn summary(state: &State) -> Value {
    json!({
        "format": state.format, "attempted_at": state.attempted, "succeeded_at": state.succeeded, "error": state.error,
        "failures": state.failures, "revision": state.revision, "entries": state.entries, "added": state.added, "changed": state.changed,
        "withdrawn": state.withdrawn, "problems": state.problem_count + state.notes.len(), "files": state.files.len(), "bytes": state.bytes(),
    })
}

/// What there is to say beside it.
pub fn details(state: &State) -> Value {
    let files = state.files.iter().take(FILES).map(|f| {
        json!({"name": shown(&f.name), "fetched_at": f.fetched, "sha256": f.sha256, "bytes": f.bytes, "etag": f.etag, "last_modified": f.last_modified})
    });
    let history = state.history.iter().map(|a| {
        json!({
            "at": a.at, "ended_at": a.ended, "outcome": a.outcome, "imported": a.imported, "files": a.files, "bytes": a.bytes,
            "entries": a.entries, "added": a.added, "changed": a.changed, "withdrawn": a.withdrawn, "problems": a.problems, "error": a.error,
        })
    });
    json!({
        "problems": state.notes.iter().chain(&state.problems).collect::<Vec<_>>(), "cycles": state.cycles,
        "files": files.collect::<Vec<_>>(), "history": history.collect::<Vec<_>>(),
    })
}

/// `GET /v1/feeds`
pub async fn list(call: Call) -> Answer {
    call.query(&[])?;
    let keeper = call.core()?.feeds.clone();
    let items = compute(move || keeper.folder().feeds().iter().map(|f| brief(&keeper, f)).collect::<Vec<_>>()).await?;
    ok(&json!({"items": items}))
}

/// `GET /v1/feeds/{feed}`
pub async fn one(call: Call) -> Answer {
    call.query(&[])?;
    let (keeper, name) = (call.core()?.feeds.clone(), call.param(0).to_owned());
    let found = compute(move || {
        let folder = keeper.folder();
        let feed = folder.feed(&name)?;
        let mut answer = brief(&keeper, feed);
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("details".to_owned(), details(&keeper.state(feed)));
        }
        Ok::<_, FeedError>(answer)
    });
    ok(&found.await??)
}

fn flag(query: &Query, name: &str) -> Result<bool, Problem> {
    match query.get(name) {
        None | Some("false") => Ok(false),
        Some("" | "true") => Ok(true),
        Some(other) => Err(Problem::new(Kind::BadRequest, format!("`{name}` is true or false, not `{other}`"))),
    }
}

/// `POST /v1/feeds/{feed}/sync`: begins one; what others changed on the disk is taken up before.
pub async fn sync(call: Call) -> Answer {
    let force = flag(&call.query(&["force"])?, "force")?;
    let (keeper, name) = (&call.core()?.feeds, call.param(0));
    keeper.folder().feed(name)?;
    keeper.look().await?;
    let started = keeper.begin(name, force)?;
    answer(StatusCode::ACCEPTED, &json!({"feed": name, "started": started}))
}

/// `PUT /v1/feeds/{feed}/content`: a file of the feed, in use when it is answered.
pub async fn content(call: Call) -> Answer {
    let query = call.query(&["file", "add", "force"])?;
    let (add, force) = (flag(&query, "add")?, flag(&query, "force")?);
    let keeper: Arc<Keeper> = call.core()?.feeds.clone();
    let feed = call.param(0).to_owned();
    let name = query.get("file").unwrap_or("content").to_owned();
    if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(Problem::new(Kind::BadRequest, format!("`file` is the name of the file, of 1 to {NAME_MAX} bytes")));
    }
    let limit = keeper.folder().limits().feed_upload_bytes;
    let landing = keeper.folder().landing(&feed)?;
    let fail = |source| FeedError::from(IoError { path: landing.clone(), source });
    // Removed when it goes out of scope: also when the client goes away.
    let aside = tempfile::Builder::new().prefix("upload-").tempfile_in(&landing).map_err(fail)?;
    let mut file = tokio::fs::File::from_std(aside.reopen().map_err(fail)?);
    call.body_into(&mut file, limit).await?;
    drop(file);
    let state = keeper.import(&feed, Import { name, path: aside.path().to_owned() }, add, force).await?;
    ok(&json!({"feed": feed, "state": summary(&state), "last": details(&state)["history"][0]}))
}
