//! What `muster feed` says, for people and for programs.

use std::io::Write;

use serde_json::{Value, json};

use super::super::Outcome;
use super::super::output::{self, Format, plain};

pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number, a text, or `-`.
fn cell(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::Number(n)) => n.to_string(),
        Some(Value::String(s)) => plain(s).into_owned(),
        _ => "-".to_owned(),
    }
}

/// To the second.
fn time(value: &Value, pointer: &str) -> String {
    match text(value, pointer) {
        "" => "never".to_owned(),
        at => at.split('.').next().unwrap_or(at).trim_end_matches('Z').replace('T', " "),
    }
}

fn how(feed: &Value) -> &'static str {
    let state = |p: &str| feed.pointer(p);
    if feed.pointer("/enabled") == Some(&Value::Bool(false)) {
        "disabled"
    } else if state("/state/error").is_some_and(Value::is_string) {
        "failed"
    } else if state("/state/succeeded_at").is_some_and(Value::is_string) {
        "fine"
    } else {
        "empty"
    }
}

pub(super) fn list(feeds: &[Value], format: Format) -> anyhow::Result<Outcome> {
    let mut out = output::stdout();
    if format == Format::Json {
        out.json(&json!({"items": feeds}))?;
    } else {
        let mut table = output::table(&["FEED", "FORMAT", "STATE", "ENTRIES", "PROBLEMS", "LAST SUCCESS", "BYTES"]);
        for feed in feeds {
            table.add_row([
                cell(feed, "/name"),
                cell(feed, "/state/format"),
                how(feed).to_owned(),
                cell(feed, "/state/entries"),
                cell(feed, "/state/problems"),
                time(feed, "/state/succeeded_at"),
                cell(feed, "/state/bytes"),
            ]);
        }
        out.table(&table)?;
    }
    out.flush()?;
    Ok(Outcome::Fine)
}

/// Of long lists, in a table.
const SHOWN: usize = 10;

pub(super) fn status(feeds: &[Value], format: Format) -> anyhow::Result<Outcome> {
    let mut out = output::stdout();
    if format == Format::Json {
        out.json(&json!({"items": feeds}))?;
        out.flush()?;
        return Ok(Outcome::Fine);
    }
    for feed in feeds {
        let s = |name: &str| cell(feed, &format!("/state/{name}"));
        writeln!(out, "{}: {}, {}", cell(feed, "/name"), s("format"), how(feed))?;
        let source = feed.pointer("/source/urls").or(feed.pointer("/source/paths")).and_then(Value::as_array);
        for from in source.into_iter().flatten().filter_map(Value::as_str) {
            writeln!(out, "  from          {}", plain(from))?;
        }
        writeln!(out, "  last attempt  {}", time(feed, "/state/attempted_at"))?;
        writeln!(out, "  last success  {}", time(feed, "/state/succeeded_at"))?;
        if let Some(error) = feed.pointer("/state/error").and_then(Value::as_str) {
            writeln!(out, "  error         {} (attempts that failed: {})", plain(error), s("failures"))?;
        }
        writeln!(
            out,
            "  entries       {} (last change: {} added, {} changed, {} withdrawn)",
            s("entries"),
            s("added"),
            s("changed"),
            s("withdrawn")
        )?;
        writeln!(out, "  files         {} of {} bytes", s("files"), s("bytes"))?;
        let items = |pointer: &str| feed.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for file in items("/details/files").iter().take(SHOWN) {
            writeln!(out, "    {} {} {}", time(file, "/fetched_at"), cell(file, "/sha256"), cell(file, "/name"))?;
        }
        if s("problems") != "0" {
            writeln!(out, "  problems      {}", s("problems"))?;
        }
        for problem in items("/details/problems").iter().take(SHOWN).filter_map(Value::as_str) {
            writeln!(out, "    {}", plain(problem))?;
        }
        for cycle in items("/details/cycles").iter().filter_map(Value::as_str) {
            writeln!(out, "  cycle         {}", plain(cycle))?;
        }
        for attempt in items("/details/history").iter().take(SHOWN) {
            let error = attempt.pointer("/error").and_then(Value::as_str).map(|e| format!(": {}", plain(e))).unwrap_or_default();
            writeln!(out, "  {}  {}{error}", time(attempt, "/at"), cell(attempt, "/outcome"))?;
        }
    }
    out.flush()?;
    Ok(Outcome::Fine)
}

/// What became of syncs. One that failed is an error of the command.
pub(super) fn synced(done: &[(String, anyhow::Result<Value>)], format: Format) -> anyhow::Result<Outcome> {
    let mut out = output::stdout();
    if format == Format::Json {
        let items: Vec<Value> = done
            .iter()
            .map(|(name, result)| match result {
                Ok(feed) => json!({"feed": name, "outcome": feed.pointer("/details/history/0/outcome"), "error": null, "state": feed.pointer("/state")}),
                Err(error) => json!({"feed": name, "outcome": "failed", "error": format!("{error:#}"), "state": null}),
            })
            .collect();
        out.json(&json!({"items": items}))?;
    } else {
        let mut table = output::table(&["FEED", "OUTCOME", "ENTRIES", "ADDED", "CHANGED", "WITHDRAWN", "PROBLEMS"]);
        for (name, feed) in done.iter().filter_map(|(name, result)| Some((name, result.as_ref().ok()?))) {
            let last = |what: &str| cell(feed, &format!("/details/history/0/{what}"));
            table.add_row([
                name.clone(),
                last("outcome"),
                last("entries"),
                last("added"),
                last("changed"),
                last("withdrawn"),
                cell(feed, "/state/problems"),
            ]);
        }
        if table.row_count() > 0 {
            out.table(&table)?;
        }
    }
    out.flush()?;
    let failed: Vec<String> = done.iter().filter_map(|(name, r)| r.as_ref().err().map(|e| format!("{name}: {e:#}"))).collect();
    match failed.as_slice() {
        [] => Ok(Outcome::Fine),
        [one] => Err(anyhow::anyhow!("{one}")),
        many => Err(anyhow::anyhow!("{} feeds could not be taken; what was there stays in use\n{}", many.len(), many.join("\n"))),
    }
}

pub(super) fn check(wrong: &[(String, String)], format: Format) -> anyhow::Result<Outcome> {
    let mut out = output::stdout();
    if format == Format::Json {
        let items: Vec<Value> = wrong.iter().map(|(feed, what)| json!({"feed": feed, "problem": what})).collect();
        out.json(&json!({"items": items}))?;
    } else if wrong.is_empty() {
        writeln!(out, "fine")?;
    } else {
        for (feed, what) in wrong {
            writeln!(out, "{feed}: {}", plain(what))?;
        }
    }
    out.flush()?;
    Ok(Outcome::fine_if(wrong.is_empty()))
}
