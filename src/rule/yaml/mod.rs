//! Packs of rules as written: `Source -> RulePack`, or every problem of every file with its place. Pure; `folder` reads files.

mod fields;
mod fixture;
mod node;
mod place;
mod read;

use std::collections::BTreeMap;

use super::{Code, Diagnostic, RulePack};
use crate::limits::Limits;
use fields::{Fields, Report, is_id, text};
use node::Place;

/// One file's text and what to call it in messages. A rule's id is the last part of the path without `.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub path: String,
    pub text: String,
}

/// A pack as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub pack: SourceFile,
    pub rules: Vec<SourceFile>,
}

/// Reads a pack. There is none when any of its files has a problem: half a baseline is not a baseline.
pub fn read_pack(source: &Source, limits: &Limits) -> (Option<RulePack>, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    let mut pack = read_head(&source.pack, &mut problems);
    if source.rules.len() > limits.rules {
        let message = format!("the pack has {} rules, over the limit of {}", source.rules.len(), limits.rules);
        problems.push(Diagnostic { code: Code::Limit, file: source.pack.path.clone(), line: 0, column: 0, message });
        return (None, problems);
    }
    let mut files: BTreeMap<String, &str> = BTreeMap::new();
    let mut rules = Vec::with_capacity(source.rules.len());
    for file in &source.rules {
        let mut report = Report::new(file);
        let rule = read::rule(file, limits, &mut report);
        if let Some(rule) = rule {
            if let Some(other) = files.insert(rule.id.clone(), &file.path) {
                report.say::<()>(Code::Id, Place { line: 1, column: 1 }, format!("id `{}` is used by {other} already", rule.id));
            }
            rules.push(rule);
        }
        problems.append(&mut report.problems);
    }
    problems.sort_by(|a, b| (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code)));
    if !problems.is_empty() {
        return (None, problems);
    }
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(pack) = &mut pack {
        pack.rules = rules;
    }
    (pack, problems)
}

/// `pack.yaml`, without the rules.
fn read_head(file: &SourceFile, problems: &mut Vec<Diagnostic>) -> Option<RulePack> {
    let mut report = Report::new(file);
    let pack = head(file, &mut report);
    problems.append(&mut report.problems);
    pack
}

fn head(file: &SourceFile, report: &mut Report<'_>) -> Option<RulePack> {
    let node = parsed(file, report)?;
    let fields = Fields::read(&node, "a pack", &["id", "title", "version", "description", "benchmarks"], report)?;
    let id = fields.text("id", report);
    if let (Some(id), Some(node)) = (&id, fields.get("id"))
        && !is_id(id)
    {
        report.say::<()>(Code::Id, node.place, format!("`{id}` is no id, write lower case letters, digits and `-`"));
    }
    let title = fields.text("title", report);
    let version = fields.text("version", report);
    let description = match fields.get("description") {
        Some(node) => text(node, "`description`", report)?.to_owned(),
        None => String::new(),
    };
    let benchmarks = fields.get("benchmarks").map(|node| {
        fields::map(node, "`benchmarks`", report, |key, value, report| {
            text(value, &format!("benchmark `{}`", key.text), report).map(str::to_owned)
        })
    });
    Some(RulePack { id: id?, title: title?, version: version?, description, benchmarks: benchmarks.unwrap_or_default(), rules: Vec::new() })
}

/// The tree of a file.
fn parsed(file: &SourceFile, report: &mut Report<'_>) -> Option<node::Node> {
    match node::parse(&file.text) {
        Ok(node) => Some(node),
        Err((place, message)) => {
            let line = place::line(&file.text, place).trim_start();
            let expression = line.starts_with("check:") || line.starts_with("when:");
            let hint = if expression {
                "; an expression that begins with a quote, `[` or `!`, or holds `: ` or ` #`, needs a block (`check: |`)"
            } else {
                ""
            };
            report.say(Code::Yaml, place, format!("{message}{hint}"))
        }
    }
}

#[cfg(test)]
mod tests;
