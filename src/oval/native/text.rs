//! `textfilecontent54` and `textfilecontent` over the table `text`: an item for each match of a pattern in a file.

use super::super::facts::{Flag, Status};
use super::super::model::Datatype;
use super::super::pattern::{Groups, Pattern};
use super::super::truth::Compat;
use super::item::{Make, Out};
use super::path::{Seen, split};
use super::resolved::Resolved;
use super::types::Type;
use super::want::Want;
use crate::scan::{Row, Value};

pub(super) const TYPES: &[Type] = &[
    Type::rows("textfilecontent54", "text", content54).places().asks(asks).check(check54),
    Type::rows("textfilecontent", "text", lines).places().asks(asks).check(check_lines),
];

pub(super) fn asks(object: &Resolved) -> Vec<String> {
    object.place.as_ref().map(|p| p.asks("")).unwrap_or_default()
}

fn check54(object: &Resolved) -> Result<(), String> {
    object.want("pattern").map(|_| ()).ok_or_else(|| "it has no pattern".to_owned())
}

fn check_lines(object: &Resolved) -> Result<(), String> {
    object.want("line").map(|_| ()).ok_or_else(|| "it has no line".to_owned())
}

/// The content of a row that the object means.
pub(super) fn content<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) -> Option<(&'r str, &'r str)> {
    let path = row.get("path").as_str()?;
    // What `text` holds is no folder.
    let seen = Seen { path, folder: false, to_folder: false, turns: false, real: row.get("real").as_str() };
    if !out.taken(object.place.as_ref()?.meant(seen)) {
        return None;
    }
    match row.get("content") {
        Value::Str(text) => Some((path, text)),
        _ => {
            let why = row.error.as_deref().unwrap_or("it has no content");
            out.fail(Flag::Error, format!("{path}: {why}"));
            None
        }
    }
}

fn content54<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some((path, text)) = content(object, row, out) else { return };
    let Some(want) = object.want("pattern") else { return };
    for pattern in want.patterns() {
        match pattern {
            Ok(pattern) => matches(object, path, text, &pattern, out),
            Err(why) => out.fail(Flag::Error, why),
        }
    }
}

/// All matches of a pattern, from left to right.
fn all(object: &Resolved, path: &str, text: &str, pattern: &Pattern) -> Result<Vec<Groups>, String> {
    let mut found: Vec<Groups> = Vec::new();
    let mut from = 0;
    while let Some(groups) = pattern.captures(text, from).map_err(|e| format!("{path}: {e}"))? {
        let Some(whole) = groups.first().cloned().flatten() else { break };
        if found.len() >= object.limits.object_items {
            return Err(format!("{path}: more than {} matches (limits.object_items)", object.limits.object_items));
        }
        found.push(groups);
        // An empty match is not found twice; OpenSCAP finds one twice that does not begin where it began to look.
        let again = match object.compat {
            Compat::OpenScap => whole.end != from,
            Compat::Specification => !whole.is_empty(),
        };
        from = whole.end;
        if !again {
            let Some(next) = text.get(from..).and_then(|rest| rest.chars().next()) else { break };
            from += next.len_utf8();
        }
    }
    Ok(found)
}

fn matches<'r>(object: &Resolved, path: &'r str, text: &'r str, pattern: &Pattern, out: &mut Out<'r>) {
    let found = match all(object, path, text, pattern) {
        Ok(found) => found,
        Err(why) => return out.fail(Flag::Error, why),
    };
    let instance = object.want("instance");
    let backwards = instance.is_some_and(|w| w.values.first().is_some_and(|v| v.trim_start().starts_with('-')));
    let count = found.len();
    for (at, groups) in found.into_iter().enumerate() {
        let number = i64::try_from(at + 1).unwrap_or(i64::MAX);
        // Minus one is the last match.
        let compared = if backwards { number - 1 - i64::try_from(count).unwrap_or(i64::MAX) } else { number };
        if !wanted(instance, compared, out) {
            continue;
        }
        let source: Box<str> = pattern.source().into();
        let part = |i: usize| groups.get(i).cloned().flatten().and_then(|r| text.get(r));
        let make = placed(Make::new("textfilecontent"), path)
            .text("pattern", source.to_string())
            .int("instance", number)
            .text("line", source.into_string())
            .text("text", part(0).unwrap_or_default());
        // Groups that took no part have no subexpression.
        out.item(make.each("subexpression", (1..groups.len()).filter_map(part)));
    }
}

fn wanted(instance: Option<&Want>, number: i64, out: &mut Out<'_>) -> bool {
    instance.is_none_or(|want| want.nil || out.taken(want.accepts(&number.to_string())))
}

/// `filepath`, `path` and `filename` of a file.
pub(super) fn placed<'r>(make: Make<'r>, path: &'r str) -> Make<'r> {
    let (folder, name) = split(path);
    make.text("filepath", path).text("path", folder).text("filename", name)
}

/// The deprecated test: the pattern is held against each line by itself.
fn lines<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some((path, text)) = content(object, row, out) else { return };
    let Some(want) = object.want("line") else { return };
    for line in text.lines() {
        if out.found.items.len() >= object.limits.object_items {
            let why = format!("{path}: more than {} lines (limits.object_items)", object.limits.object_items);
            return out.fail(Flag::Error, why);
        }
        for pattern in want.patterns() {
            let found = match pattern {
                Ok(pattern) => {
                    pattern.captures(line, 0).map(|g| g.map(|g| (g, pattern.source().to_owned()))).map_err(|e| e.to_string().into())
                }
                Err(why) => Err(why),
            };
            match found {
                Ok(Some((groups, _))) => {
                    let part = |i: usize| groups.get(i).cloned().flatten().and_then(|r| line.get(r));
                    let make = placed(Make::new("textfilecontent"), path).text("line", part(0).unwrap_or_default());
                    let make = if groups.len() > 1 {
                        make.each("subexpression", (1..groups.len()).filter_map(part))
                    } else {
                        make.without("subexpression", Datatype::String, Status::DoesNotExist)
                    };
                    out.item(make);
                }
                Ok(None) => {}
                Err(why) => out.fail(Flag::Error, why),
            }
        }
    }
}
