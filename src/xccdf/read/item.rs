//! `xccdf:Group` and `xccdf:Rule`, as one list.

use roxmltree::Node;

use super::text::{Localised, Text, flow, verbatim};
use super::{Benchmark, Problem, at, attribute, flag, is_xccdf};
use crate::limits::Limits;
use crate::xccdf::model::{ComplexOperator, Role, RuleSeverity};

#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub id: String,
    pub line: usize,
    /// Position in [`Benchmark::entries`].
    pub parent: Option<usize>,
    pub cluster: Option<String>,
    pub extends: Option<String>,
    pub abstracted: bool,
    pub selected: Option<bool>,
    pub weight: Option<f64>,
    pub title: Text,
    pub title_overrides: bool,
    pub description: Text,
    pub description_overrides: bool,
    pub platforms: Vec<String>,
    /// All of these; of each, one id at least.
    pub requires: Vec<Vec<String>>,
    pub conflicts: Vec<String>,
    /// `None` for a group.
    pub rule: Option<Box<RuleNode>>,
}

#[derive(Clone, Debug, Default)]
pub struct RuleNode {
    pub version: String,
    pub severity: Option<RuleSeverity>,
    pub role: Option<Role>,
    pub multiple: Option<bool>,
    pub rationale: Text,
    pub idents: Vec<(String, String)>,
    pub references: Vec<(String, String)>,
    pub fixes: Vec<FixNode>,
    pub fixtext: Text,
    pub checks: Vec<Simple>,
    /// The first `complex-check`: where there is one, the other checks do not count.
    pub complex: Option<CheckNode>,
}

#[derive(Clone, Debug, Default)]
pub struct FixNode {
    pub id: String,
    pub system: String,
    pub complexity: String,
    pub disruption: String,
    pub reboot: bool,
    pub text: Text,
}

#[derive(Clone, Debug)]
pub enum CheckNode {
    Simple(Simple),
    Complex { operator: ComplexOperator, negate: bool, of: Vec<CheckNode> },
}

/// `xccdf:check`
#[derive(Clone, Debug, Default)]
pub struct Simple {
    pub system: String,
    pub selector: String,
    pub negate: bool,
    pub multi: bool,
    /// (value id, exported name)
    pub exports: Vec<(String, String)>,
    /// (href, name), alternatives in order.
    pub refs: Vec<(String, Option<String>)>,
    /// `check-content`: the check stands within the benchmark.
    pub inline: bool,
}

pub(super) fn weight(node: Node) -> Option<f64> {
    node.attribute("weight").and_then(|w| w.trim().parse::<f64>().ok()).filter(|w| w.is_finite() && *w >= 0.0)
}

pub(super) fn severity(node: Node) -> Option<RuleSeverity> {
    match node.attribute("severity")?.trim() {
        "info" => Some(RuleSeverity::Info),
        "low" => Some(RuleSeverity::Low),
        "medium" => Some(RuleSeverity::Medium),
        "high" => Some(RuleSeverity::High),
        _ => Some(RuleSeverity::Unknown),
    }
}

pub(super) fn role(node: Node) -> Option<Role> {
    match node.attribute("role")?.trim() {
        "full" => Some(Role::Full),
        "unscored" => Some(Role::Unscored),
        "unchecked" => Some(Role::Unchecked),
        _ => None,
    }
}

/// Reads a group or a rule and what is below it. Depth is bounded: the document passed [`crate::xml::check`].
pub(super) fn entries(node: Node, parent: Option<usize>, out: &mut Benchmark, limits: &Limits) -> Result<(), Problem> {
    if out.entries.len() >= limits.rules {
        return Err(Problem {
            line: row(node),
            what: format!("more than {} groups and rules in one benchmark (limits.rules)", limits.rules),
        });
    }
    let is_rule = node.tag_name().name() == "Rule";
    let own = out.entries.len();
    out.entries.push(entry(node, parent, is_rule));
    for child in node.children().filter(|n| n.is_element() && is_xccdf(*n)) {
        match child.tag_name().name() {
            "Value" => out.values.push(super::value::value(child)),
            "Group" | "Rule" if !is_rule => entries(child, Some(own), out, limits)?,
            _ => {}
        }
    }
    Ok(())
}

/// The line of the one problem that ends a reading.
fn row(node: Node) -> usize {
    usize::try_from(node.document().text_pos_at(node.range().start).row).unwrap_or(0)
}

fn entry(node: Node, parent: Option<usize>, is_rule: bool) -> Entry {
    let mut out = Entry {
        id: attribute(node, "id"),
        line: at(node),
        parent,
        cluster: node.attribute("cluster-id").map(str::to_owned),
        extends: node.attribute("extends").map(|e| e.trim().to_owned()),
        abstracted: flag(node, "abstract").unwrap_or(false),
        selected: flag(node, "selected"),
        weight: weight(node),
        rule: is_rule.then(|| Box::new(rule(node))),
        ..Entry::default()
    };
    let (mut titles, mut descriptions) = (Localised::default(), Localised::default());
    for child in node.children().filter(Node::is_element) {
        match child.tag_name().name() {
            "title" => titles.add(child),
            "description" => descriptions.add(child),
            "platform" => out.platforms.push(attribute(child, "idref")),
            "requires" => {
                let any = child.attribute("idref").unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect();
                out.requires.push(any);
            }
            "conflicts" => out.conflicts.push(attribute(child, "idref")),
            _ => {}
        }
    }
    out.title_overrides = titles.overrides();
    out.title = titles.into_title();
    out.description_overrides = descriptions.overrides();
    out.description = described(descriptions.into_text());
    out
}

/// DISA writes markup as text: the discussion alone is meant for people.
fn described(text: Text) -> Text {
    let [super::Piece::Plain(all)] = text.0.as_slice() else { return text };
    let inner = all.split_once("<VulnDiscussion>").and_then(|(_, rest)| rest.split_once("</VulnDiscussion>"));
    match inner {
        Some((discussion, _)) => Text(vec![super::Piece::Plain(discussion.trim().to_owned())]),
        None => text,
    }
}

fn rule(node: Node) -> RuleNode {
    let mut out = RuleNode { severity: severity(node), role: role(node), multiple: flag(node, "multiple"), ..RuleNode::default() };
    let (mut rationales, mut fixtexts) = (Localised::default(), Localised::default());
    for child in node.children().filter(Node::is_element) {
        match child.tag_name().name() {
            "version" => out.version = child.text().unwrap_or_default().trim().to_owned(),
            "rationale" => rationales.add(child),
            "ident" => out.idents.push((attribute(child, "system"), child.text().unwrap_or_default().trim().to_owned())),
            "reference" => out.references.push((attribute(child, "href"), reference(child))),
            "fix" => out.fixes.push(fix(child)),
            "fixtext" => fixtexts.add(child),
            "check" => out.checks.push(simple(child)),
            "complex-check" if out.complex.is_none() => out.complex = Some(complex(child)),
            _ => {}
        }
    }
    out.rationale = rationales.into_text();
    out.fixtext = fixtexts.into_text();
    out
}

/// The text, or of Dublin Core elements the identifier or else the title.
fn reference(node: Node) -> String {
    let part = |name: &str| node.children().find(|n| n.is_element() && n.tag_name().name() == name).and_then(|n| n.text());
    match part("identifier").or_else(|| part("title")) {
        Some(text) => text.trim().to_owned(),
        None => flow(node).0.into_iter().map(|p| if let super::Piece::Plain(t) = p { t } else { String::new() }).collect(),
    }
}

fn fix(node: Node) -> FixNode {
    FixNode {
        id: attribute(node, "id"),
        system: attribute(node, "system"),
        complexity: attribute(node, "complexity"),
        disruption: attribute(node, "disruption"),
        reboot: flag(node, "reboot").unwrap_or(false),
        text: verbatim(node),
    }
}

fn simple(node: Node) -> Simple {
    let mut out = Simple {
        system: attribute(node, "system"),
        selector: attribute(node, "selector"),
        negate: flag(node, "negate").unwrap_or(false),
        multi: flag(node, "multi-check").unwrap_or(false),
        ..Simple::default()
    };
    for child in node.children().filter(Node::is_element) {
        match child.tag_name().name() {
            "check-export" => out.exports.push((attribute(child, "value-id"), attribute(child, "export-name"))),
            "check-content-ref" => {
                out.refs.push((attribute(child, "href"), child.attribute("name").map(|n| n.trim().to_owned())));
            }
            "check-content" => out.inline = true,
            _ => {}
        }
    }
    out
}

fn complex(node: Node) -> CheckNode {
    let operator = if node.attribute("operator") == Some("OR") { ComplexOperator::Or } else { ComplexOperator::And };
    let of = node
        .children()
        .filter(Node::is_element)
        .filter_map(|n| match n.tag_name().name() {
            "check" => Some(CheckNode::Simple(simple(n))),
            "complex-check" => Some(complex(n)),
            _ => None,
        })
        .collect();
    CheckNode::Complex { operator, negate: flag(node, "negate").unwrap_or(false), of }
}

/// Keeps some; what is below one that goes, goes too. Parents are renumbered.
pub(super) fn retain(entries: &mut Vec<Entry>, keep: &[bool]) {
    let mut at: Vec<Option<usize>> = Vec::with_capacity(entries.len());
    let mut kept = Vec::with_capacity(entries.len());
    for (mut entry, keep) in std::mem::take(entries).into_iter().zip(keep) {
        let parent = entry.parent.map(|p| at.get(p).copied().flatten());
        if *keep && parent != Some(None) {
            entry.parent = parent.flatten();
            at.push(Some(kept.len()));
            kept.push(entry);
        } else {
            at.push(None);
        }
    }
    *entries = kept;
}
