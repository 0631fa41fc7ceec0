//! Definitions and their criteria.

use std::collections::BTreeMap;

use roxmltree::Node as Xml;

use super::super::model::{Class, Content, Criteria, Definition, DefinitionId, Kind, Node, Operator, Reference, Test, TestId};
use super::graph::{self, Edges};
use super::part::{self, Fail, child, child_text, choice, elements, fail, flag, required};
use super::{Found, Sections, head};
use crate::limits::Limits;

/// Tests that stand where content names nothing that can be used: unknown, under the name that was asked for. Numbered past the real ones
/// until all are known.
struct Unknown {
    first: usize,
    named: BTreeMap<Box<str>, u32>,
}

impl Unknown {
    fn test(&mut self, id: &str) -> TestId {
        let next = u32::try_from(self.first + self.named.len()).unwrap_or(u32::MAX);
        TestId(*self.named.entry(id.into()).or_insert(next))
    }

    fn criteria(&mut self, id: &str, why: &str) -> Criteria {
        let node = Node::Test { test: self.test(id), negate: false, applicability_check: false, comment: why.into() };
        let (negate, applicability_check) = (false, false);
        Criteria { operator: Operator::And, negate, applicability_check, comment: Box::default(), children: vec![node] }
    }
}

pub(super) fn definitions(sections: &Sections<'_, '_>, content: &mut Content, limits: &Limits, found: &mut Vec<Found>) {
    let mut unknown = Unknown { first: content.tests.len(), named: BTreeMap::new() };
    let mut edges: Edges = Vec::with_capacity(sections.definitions.len());
    for (id, element) in &sections.definitions {
        let mut reader = Reader { sections, unknown: &mut unknown, id, found, edges: Vec::new(), nested: 1 };
        let read = reader.definition(*element);
        let needs = reader.edges;
        let definition = read.unwrap_or_else(|fail| {
            let mut broken = plain(id, *element, found);
            broken.criteria = Some(unknown.criteria(id, &fail.why));
            found.push(Found::new(id, fail));
            broken
        });
        edges.push(if definition.criteria.is_some() { needs } else { Vec::new() });
        content.definitions.push(definition);
    }
    cut(sections, content, &mut edges, &mut unknown, limits, found);
    settle(content, unknown);
}

/// A definition as far as nothing in it can be wrong.
fn plain(id: &str, element: Xml<'_, '_>, found: &mut Vec<Found>) -> Definition {
    let (version, _, _) = head(id, element, "", found);
    let metadata = child(element, "metadata");
    let texts = |name| metadata.map(|m| child_text(m, name)).unwrap_or_default();
    let references = metadata.into_iter().flat_map(elements).filter(|e| e.tag_name().name() == "reference");
    let reference = |r: Xml<'_, '_>| {
        let attribute = |name| Box::from(r.attribute(name).unwrap_or_default());
        Reference { source: attribute("source"), id: attribute("ref_id"), url: attribute("ref_url") }
    };
    Definition {
        id: id.into(),
        version,
        class: Class::Miscellaneous,
        deprecated: false,
        title: texts("title"),
        description: texts("description"),
        references: references.map(reference).collect(),
        criteria: None,
    }
}

struct Reader<'r, 'a, 'i> {
    sections: &'r Sections<'a, 'i>,
    unknown: &'r mut Unknown,
    id: &'r str,
    found: &'r mut Vec<Found>,
    edges: Vec<(usize, usize)>,
    nested: usize,
}

impl Reader<'_, '_, '_> {
    fn definition(&mut self, element: Xml<'_, '_>) -> Result<Definition, Fail> {
        let class = choice(element, "class", None, |v| class(v).map(Some))?;
        let Some(class) = class else { return fail(element, "a definition without a class") };
        let deprecated = flag(element, "deprecated", false)?;
        let criteria = child(element, "criteria").map(|c| self.criteria(c)).transpose()?;
        Ok(Definition { class, deprecated, criteria, ..plain(self.id, element, self.found) })
    }

    fn criteria(&mut self, element: Xml<'_, '_>) -> Result<Criteria, Fail> {
        self.nested += 1;
        let mut children = Vec::new();
        for part in elements(element).filter(|e| e.tag_name().name() != "notes") {
            children.push(self.node(part)?);
        }
        self.nested -= 1;
        Ok(Criteria {
            operator: choice(element, "operator", Operator::And, part::operator)?,
            negate: flag(element, "negate", false)?,
            applicability_check: flag(element, "applicability_check", false)?,
            comment: element.attribute("comment").unwrap_or_default().into(),
            children,
        })
    }

    fn node(&mut self, element: Xml<'_, '_>) -> Result<Node, Fail> {
        let name = element.tag_name().name();
        if name == "criteria" {
            return self.criteria(element).map(Node::Criteria);
        }
        let (negate, applicability_check) = (flag(element, "negate", false)?, flag(element, "applicability_check", false)?);
        let comment: Box<str> = element.attribute("comment").unwrap_or_default().into();
        let (what, id) = match name {
            "criterion" => ("test", required(element, "test_ref")?.trim()),
            "extend_definition" => ("definition", required(element, "definition_ref")?.trim()),
            other => return fail(element, format!("<{other}> cannot stand in criteria")),
        };
        let test = if what == "test" {
            self.sections.test(id)
        } else if let Some(at) = part::position(&self.sections.definitions, id) {
            self.edges.push((at, self.nested));
            let definition = DefinitionId(u32::try_from(at).unwrap_or(u32::MAX));
            return Ok(Node::Extend { definition, negate, applicability_check, comment });
        } else {
            None
        };
        let test = test.unwrap_or_else(|| {
            self.found.push(Found { at: element.range().start, id: self.id.into(), message: format!("there is no {what} `{id}`") });
            self.unknown.test(id)
        });
        Ok(Node::Test { test, negate, applicability_check, comment })
    }
}

fn class(value: &str) -> Option<Class> {
    Some(match value {
        "compliance" => Class::Compliance,
        "inventory" => Class::Inventory,
        "miscellaneous" => Class::Miscellaneous,
        "patch" => Class::Patch,
        "vulnerability" => Class::Vulnerability,
        _ => return None,
    })
}

/// Replaces extensions that lead in a circle, or too deep for whoever recurses, by something unknown.
fn cut(
    sections: &Sections<'_, '_>,
    content: &mut Content,
    edges: &mut Edges,
    unknown: &mut Unknown,
    limits: &Limits,
    found: &mut Vec<Found>,
) {
    let at_element = |at: usize| sections.definitions.get(at).map_or(0, |(_, element)| element.range().start);
    let circle = graph::circular(edges);
    let mut depths = vec![0usize; edges.len()];
    let mut replace = |at: usize, which: &dyn Fn(usize) -> bool, why: String, content: &mut Content| {
        if let Some(definition) = content.definitions.get_mut(at) {
            found.push(Found { at: at_element(at), id: definition.id.clone(), message: why });
            if let Some(criteria) = &mut definition.criteria {
                replace_extensions(criteria, which, sections, unknown);
            }
        }
    };
    for at in &circle {
        let inside = |to: usize| circle.binary_search(&to).is_ok();
        replace(*at, &inside, "extends itself in a circle of extend_definition; these are unknown".to_owned(), content);
        if let Some(edges) = edges.get_mut(*at) {
            edges.retain(|(to, _)| !inside(*to));
        }
    }
    for at in graph::leaves_first(edges) {
        let needs = edges.get(at).map(Vec::as_slice).unwrap_or_default();
        let depth = needs.iter().map(|(to, nested)| depths.get(*to).copied().unwrap_or(0) + nested).max().unwrap_or(0);
        let deep = depth > limits.xml_depth;
        if deep {
            let why = format!("extends others over {} deep (limits.xml_depth); these are unknown", limits.xml_depth);
            replace(at, &|_| true, why, content);
        }
        if let Some(slot) = depths.get_mut(at) {
            *slot = if deep { 0 } else { depth };
        }
    }
}

fn replace_extensions(criteria: &mut Criteria, which: &dyn Fn(usize) -> bool, sections: &Sections<'_, '_>, unknown: &mut Unknown) {
    for node in &mut criteria.children {
        match node {
            Node::Criteria(inner) => replace_extensions(inner, which, sections, unknown),
            Node::Extend { definition, negate, applicability_check, comment } if which(definition.index()) => {
                let test = unknown.test(sections.definitions.get(definition.index()).map_or("", |(id, _)| id));
                let comment = std::mem::take(comment);
                *node = Node::Test { test, negate: *negate, applicability_check: *applicability_check, comment };
            }
            Node::Extend { .. } | Node::Test { .. } => {}
        }
    }
}

/// Gives the unknown tests their place among the others.
fn settle(content: &mut Content, unknown: Unknown) {
    if unknown.named.is_empty() {
        return;
    }
    let mut named: Vec<(u32, Box<str>)> = unknown.named.into_iter().map(|(id, at)| (at, id)).collect();
    named.sort();
    let nothing = |id| Test {
        id,
        version: 0,
        kind: Kind { family: Box::default(), name: "unknown".into() },
        comment: Box::default(),
        check: Default::default(),
        existence: Default::default(),
        state_operator: Default::default(),
        object: None,
        states: Vec::new(),
    };
    content.tests.extend(named.into_iter().map(|(_, id)| nothing(id)));
    let mut order: Vec<usize> = (0..content.tests.len()).collect();
    order.sort_by(|a, b| content.tests.get(*a).map(|t| &t.id).cmp(&content.tests.get(*b).map(|t| &t.id)));
    let mut places = vec![0u32; order.len()];
    for (to, from) in order.iter().enumerate() {
        if let Some(place) = places.get_mut(*from) {
            *place = u32::try_from(to).unwrap_or(u32::MAX);
        }
    }
    content.tests.sort_by(|a, b| a.id.cmp(&b.id));
    for criteria in content.definitions.iter_mut().filter_map(|d| d.criteria.as_mut()) {
        renumber(criteria, &places);
    }
}

fn renumber(criteria: &mut Criteria, places: &[u32]) {
    for node in &mut criteria.children {
        match node {
            Node::Criteria(inner) => renumber(inner, places),
            Node::Test { test, .. } => test.0 = places.get(test.index()).copied().unwrap_or(test.0),
            Node::Extend { .. } => {}
        }
    }
}
