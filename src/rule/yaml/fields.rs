//! Reading fields out of a YAML tree, every problem collected.

use std::collections::BTreeMap;

use super::node::{Data, Key, Node, Place};
use super::place::word;
use crate::rule::check::suggest::{hint, nearest};
use crate::rule::{Code, Diagnostic};

/// The problems of one file.
pub(super) struct Report<'f> {
    pub(super) file: &'f super::SourceFile,
    pub(super) problems: Vec<Diagnostic>,
}

impl<'f> Report<'f> {
    pub(super) fn new(file: &'f super::SourceFile) -> Report<'f> {
        Report { file, problems: Vec::new() }
    }

    pub(super) fn say<T>(&mut self, code: Code, place: Place, message: impl Into<String>) -> Option<T> {
        let Place { line, column } = place;
        self.problems.push(Diagnostic { code, file: self.file.path.clone(), line, column, message: message.into() });
        None
    }
}

/// A map whose keys are known.
pub(super) struct Fields<'n> {
    pub(super) place: Place,
    entries: &'n [(Key, Node)],
    /// Known fields that an unknown one was probably meant to be: they are not missing as well.
    meant: Vec<String>,
}

impl<'n> Fields<'n> {
    pub(super) fn read(node: &'n Node, what: &str, known: &[&str], report: &mut Report<'_>) -> Option<Fields<'n>> {
        let Data::Map(entries) = &node.data else {
            return report.say(Code::Yaml, node.place, format!("{what} is a map of {}, not {}", known.join(", "), node.data.kind()));
        };
        let mut meant = Vec::new();
        for (key, _) in entries.iter().filter(|(k, _)| !known.contains(&k.text.as_str())) {
            let near = hint(&key.text, known.iter().copied());
            let near = if near.is_empty() { format!("; there are {}", known.join(", ")) } else { near };
            report.say::<()>(Code::Yaml, key.place, format!("unknown field `{}`{near}", key.text));
            meant.extend(nearest(&key.text, known.iter().copied()).map(str::to_owned));
        }
        Some(Fields { place: node.place, entries, meant })
    }

    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(k, _)| k.text == name).map(|(_, node)| node)
    }

    pub(super) fn key(&self, name: &str) -> Option<&'n Key> {
        self.entries.iter().find(|(k, _)| k.text == name).map(|(key, _)| key)
    }

    pub(super) fn required(&self, name: &str, report: &mut Report<'_>) -> Option<&'n Node> {
        let node = self.get(name);
        if node.is_none() && !self.meant(name) {
            report.say::<()>(Code::Yaml, self.place, format!("field `{name}` is missing"));
        }
        node
    }

    pub(super) fn meant(&self, name: &str) -> bool {
        self.meant.iter().any(|m| m == name)
    }

    /// A required string that says something.
    pub(super) fn text(&self, name: &str, report: &mut Report<'_>) -> Option<String> {
        let node = self.required(name, report)?;
        text(node, &format!("`{name}`"), report).map(str::to_owned)
    }
}

/// A string that is not blank.
pub(super) fn text<'n>(node: &'n Node, what: &str, report: &mut Report<'_>) -> Option<&'n str> {
    match &node.data {
        Data::Str(text) if !text.trim().is_empty() => Some(text),
        Data::Str(_) | Data::Null => report.say(Code::Value, node.place, format!("{what} is empty")),
        Data::Bool(_) | Data::Int(_) | Data::Number => {
            let message = format!("{what} is a string, put it in quotes: \"{}\"", word(&report.file.text, node.place));
            report.say(Code::Yaml, node.place, message)
        }
        other => report.say(Code::Yaml, node.place, format!("{what} is a string, not {}", other.kind())),
    }
}

/// A list of strings with at least one.
pub(super) fn texts(node: &Node, what: &str, report: &mut Report<'_>) -> Option<Vec<(Place, String)>> {
    let Data::List(items) = &node.data else {
        return report.say(Code::Yaml, node.place, format!("{what} is a list of strings, not {}", node.data.kind()));
    };
    if items.is_empty() {
        return report.say(Code::Value, node.place, format!("{what} is empty"));
    }
    let read: Vec<_> = items.iter().map(|i| text(i, &format!("an item of {what}"), report).map(|t| (i.place, t.to_owned()))).collect();
    read.into_iter().collect()
}

/// A map from names to something.
pub(super) fn map<'n, T>(
    node: &'n Node,
    what: &str,
    report: &mut Report<'_>,
    mut read: impl FnMut(&'n Key, &'n Node, &mut Report<'_>) -> Option<T>,
) -> BTreeMap<String, T> {
    let Data::Map(entries) = &node.data else {
        report.say::<()>(Code::Yaml, node.place, format!("{what} is a map, not {}", node.data.kind()));
        return BTreeMap::new();
    };
    entries.iter().filter_map(|(key, value)| Some((key.text.clone(), read(key, value, report)?))).collect()
}

/// Ids of packs, rules and platforms: `[a-z0-9][a-z0-9-]*`
pub(super) fn is_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && !text.starts_with('-') && text.len() <= 128 && text.chars().all(allowed)
}
