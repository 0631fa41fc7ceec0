//! Benchmarks as published, before a profile is chosen: an XCCDF tree becomes plain data, with `extends` of groups, rules and values done.
//!
//! Only what judging and reporting need is kept. Whoever reads on may rely on: ids are unique, parents stand before their children,
//! nothing abstract is left, no chain of `extends` is open.

mod budget;
mod inherit;
mod item;
mod profile;
mod text;
mod value;

use std::collections::BTreeMap;
use std::fmt;

use roxmltree::Node;

pub use budget::{Budget, Spent};
pub use item::{CheckNode, Entry, FixNode, RuleNode, Simple};
pub use profile::{Profile, Setting, profile};
pub use text::{Piece, Text};
pub use value::{ChosenValue, Value};

use super::platform::{self, Dictionary, Named};
use crate::limits::Limits;

/// Something in the content that is not as it should be: where, and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 0 where no line is known.
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

/// An `xccdf:Benchmark`.
#[derive(Clone, Debug, Default)]
pub struct Benchmark {
    pub id: String,
    pub version: String,
    pub title: Text,
    /// `plain-text`, for `sub`.
    pub plain_texts: BTreeMap<String, String>,
    pub platforms: Vec<String>,
    /// `cpe-lang:platform-specification` within the benchmark.
    pub language: Vec<Named>,
    /// A `cpe-list` within the benchmark.
    pub dictionary: Option<Dictionary>,
    /// Groups and rules in document order.
    pub entries: Vec<Entry>,
    pub values: Vec<Value>,
    pub profiles: Vec<Profile>,
    pub problems: Vec<Problem>,
}

/// The namespaces of XCCDF 1.2 and, as far as they agree, of 1.1.
pub(super) fn is_xccdf(node: Node) -> bool {
    node.tag_name().namespace().is_some_and(|ns| ns.starts_with("http://checklists.nist.gov/xccdf/"))
}

/// Where a node is, as its first byte; [`settle`] makes lines of all of them in one pass over the text.
pub(super) fn at(node: Node) -> usize {
    node.range().start
}

/// Turns byte positions into line numbers.
fn settle(text: &str, mut places: Vec<&mut usize>) {
    places.sort();
    let (mut line, mut seen) = (1usize, 0usize);
    for place in places {
        let passed = text.as_bytes().get(seen..*place).unwrap_or_default();
        line += passed.iter().filter(|b| **b == b'\n').count();
        seen = seen.max(*place);
        *place = line;
    }
}

/// A profile that stands by itself, with its line.
pub(super) fn settle_profiles(text: &str, profiles: &mut [Profile]) {
    settle(text, profiles.iter_mut().map(|p| &mut p.line).collect());
}

pub(super) fn attribute(node: Node, name: &str) -> String {
    node.attribute(name).unwrap_or_default().trim().to_owned()
}

/// `xsd:boolean`
pub(super) fn flag(node: Node, name: &str) -> Option<bool> {
    match node.attribute(name)?.trim() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Reads an `xccdf:Benchmark` element.
pub fn benchmark(node: Node, limits: &Limits) -> Result<Benchmark, Problem> {
    let mut out = Benchmark { id: attribute(node, "id"), ..Benchmark::default() };
    let mut titles = text::Localised::default();
    for child in node.children().filter(Node::is_element) {
        match child.tag_name().name() {
            "title" => titles.add(child),
            "version" => out.version = child.text().unwrap_or_default().trim().to_owned(),
            "plain-text" => {
                out.plain_texts.insert(attribute(child, "id"), child.text().unwrap_or_default().to_owned());
            }
            "platform" => out.platforms.push(attribute(child, "idref")),
            "platform-specification" => out.language.extend(platform::language(child)),
            "cpe-list" => out.dictionary = Some(platform::dictionary(child)),
            "Profile" if is_xccdf(child) => out.profiles.push(profile(child)),
            "Value" if is_xccdf(child) => out.values.push(value::value(child)),
            "Group" | "Rule" if is_xccdf(child) => item::entries(child, None, &mut out, limits)?,
            _ => {}
        }
    }
    out.title = titles.into_title();
    let places = out.entries.iter_mut().map(|e| &mut e.line).chain(out.values.iter_mut().map(|v| &mut v.line));
    settle(node.document().input_text(), places.chain(out.profiles.iter_mut().map(|p| &mut p.line)).collect());
    unique(&mut out);
    let mut budget = Budget::new(limits);
    inherit::inherit(&mut out, &mut budget)?;
    Ok(out)
}

/// The second of two with one id is not reachable by it; it is left out, and told.
fn unique(out: &mut Benchmark) {
    let mut seen = BTreeMap::new();
    let mut problems = Vec::new();
    for (id, line) in out.values.iter().map(|v| (&v.id, v.line)).chain(out.entries.iter().map(|e| (&e.id, e.line))) {
        if let Some(first) = seen.insert(id.clone(), line) {
            problems.push(Problem { line, what: format!("`{id}` is defined here and on line {first}; the first one is used") });
            seen.insert(id.clone(), first);
        }
    }
    let mut taken = std::collections::BTreeSet::new();
    out.values.retain(|v| taken.insert(v.id.clone()));
    let keep: Vec<bool> = out.entries.iter().map(|e| taken.insert(e.id.clone())).collect();
    item::retain(&mut out.entries, &keep);
    let mut taken = std::collections::BTreeSet::new();
    out.profiles.retain(|p| taken.insert(p.id.clone()));
    out.problems.extend(problems);
}
