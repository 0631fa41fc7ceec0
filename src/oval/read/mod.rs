//! `oval_definitions` XML to the model: names resolved to numbers, every problem with its place.
//!
//! A piece that cannot be used costs what needs it and nothing else. An object, state or variable that is broken, or needs something
//! broken, is emptied, and the tests that need it lose their object, which makes them unknown. A criterion that names nothing becomes
//! a test without an object.

mod criteria;
mod entity;
mod graph;
mod part;
mod variable;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use roxmltree::Node as Xml;

use super::model::{Body, Content, Kind, Object, ObjectId, Problem, Source, State, StateId, Test, TestId, Variable, VariableId};
use crate::limits::Limits;
use crate::xml;
use graph::Edges;
pub(super) use part::datatype;
use part::{Fail, Ids, Listed, Needs, kind, number};

/// Reads a document of its own. Fails as a whole only when it is not OVAL.
pub fn read_text(text: &str, name: &str, limits: &Limits) -> Result<Content, Vec<Problem>> {
    let tree = xml::tree(text, limits).map_err(|e| {
        let line = match &e {
            xml::XmlError::Refused { line, .. } => u32::try_from(*line).unwrap_or(u32::MAX),
            _ => 0,
        };
        let message = match e {
            xml::XmlError::Refused { why, .. } => why,
            other => other.to_string(),
        };
        vec![Problem { line, id: name.into(), message }]
    })?;
    read(tree.root_element(), name, limits)
}

/// Reads an `oval_definitions` element, wherever it stands. Its document must have passed [`xml::check`].
pub fn read(tree: Xml<'_, '_>, name: &str, limits: &Limits) -> Result<Content, Vec<Problem>> {
    let text = tree.document().input_text();
    if tree.tag_name().name() != "oval_definitions" {
        let message = format!("<{}> is not OVAL; the element `oval_definitions` is expected", tree.tag_name().name());
        let found = vec![Found { at: tree.range().start, id: name.into(), message }];
        return Err(with_lines(found, text));
    }
    let mut found = Vec::new();
    let sections = Sections::list(tree, &mut found);
    let mut content = Content { name: name.to_owned(), schema_version: schema_version(tree), ..Content::default() };
    let mut parts = Parts::default();
    parts.read(&sections, &mut content, &mut found);
    let reasons = parts.settle(&sections.ids, &mut content, limits, &mut found);
    tests(&sections, &mut content, &reasons, &mut found);
    criteria::definitions(&sections, &mut content, limits, &mut found);
    content.problems = with_lines(found, text);
    Ok(content)
}

/// A problem before its line is known: counting lines is done once for all of them.
struct Found {
    at: usize,
    id: Box<str>,
    message: String,
}

impl Found {
    fn new(id: &str, fail: Fail) -> Found {
        Found { at: fail.at, id: id.into(), message: fail.why }
    }
}

fn with_lines(mut found: Vec<Found>, text: &str) -> Vec<Problem> {
    found.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    let (mut line, mut seen) = (1u32, 0usize);
    found
        .into_iter()
        .map(|f| {
            let passed = text.as_bytes().get(seen..f.at).unwrap_or_default();
            line = line.saturating_add(u32::try_from(passed.iter().filter(|b| **b == b'\n').count()).unwrap_or(u32::MAX));
            seen = seen.max(f.at);
            Problem { line, id: f.id, message: f.message }
        })
        .collect()
}

fn schema_version(tree: Xml<'_, '_>) -> String {
    let generator = part::child(tree, "generator");
    let mut versions = generator.into_iter().flat_map(part::elements).filter(|v| v.tag_name().name() == "schema_version");
    let found = versions.clone().find(|v| v.attribute("platform").is_none()).or_else(|| versions.next());
    found.map(|v| part::text(v).trim().to_owned()).unwrap_or_default()
}

/// The elements of each section in order of their ids, each id once.
struct Sections<'a, 'i> {
    definitions: Listed<'a, 'i>,
    tests: Listed<'a, 'i>,
    ids: Ids<'a, 'i>,
}

impl<'a, 'i> Sections<'a, 'i> {
    fn list(tree: Xml<'a, 'i>, found: &mut Vec<Found>) -> Sections<'a, 'i> {
        let mut list = |section: &str| {
            let mut all: Listed<'a, 'i> = Vec::new();
            for element in part::elements(tree).filter(|s| s.tag_name().name() == section).flat_map(part::elements) {
                match element.attribute("id") {
                    Some(id) => all.push((id, element)),
                    None => found.push(Found {
                        at: element.range().start,
                        id: section.into(),
                        message: format!("<{}> has no id and cannot be referred to", element.tag_name().name()),
                    }),
                }
            }
            all.sort_by_key(|(id, element)| (*id, element.range().start));
            all.dedup_by(|again, first| {
                let same = again.0 == first.0;
                if same {
                    let message = "this id is taken by an earlier element; this one is left out".to_owned();
                    found.push(Found { at: again.1.range().start, id: again.0.into(), message });
                }
                same
            });
            all
        };
        Sections {
            definitions: list("definitions"),
            tests: list("tests"),
            ids: Ids { objects: list("objects"), states: list("states"), variables: list("variables") },
        }
    }
}

/// Why a piece cannot be used: the id of the piece where it began.
type Reasons = BTreeMap<usize, String>;

/// Objects, states and variables as nodes of one graph: objects first, then states, then variables.
#[derive(Default)]
struct Parts {
    edges: Edges,
    broken: Reasons,
}

impl Parts {
    fn read(&mut self, sections: &Sections<'_, '_>, content: &mut Content, found: &mut Vec<Found>) {
        let ids = &sections.ids;
        for (id, element) in &ids.objects {
            let empty = Body::Entities { entities: Vec::new(), behaviors: Vec::new(), filters: Vec::new() };
            let body = self.keep(id, Needs::of(ids), found, |needs| entity::body(*element, needs)).unwrap_or(empty);
            let (version, kind, comment) = head(id, *element, "_object", found);
            content.objects.push(Object { id: (*id).into(), version, kind, comment, body });
        }
        for (id, element) in &ids.states {
            let read = self.keep(id, Needs::of(ids), found, |needs| entity::state(*element, needs));
            let (operator, entities) = read.unwrap_or_default();
            let (version, kind, comment) = head(id, *element, "_state", found);
            content.states.push(State { id: (*id).into(), version, kind, comment, operator, entities });
        }
        for (id, element) in &ids.variables {
            let read = self.keep(id, Needs::of(ids), found, |needs| variable::variable(*element, needs));
            let (datatype, source) = read.unwrap_or_else(|| (Default::default(), Source::Constant(Vec::new())));
            let (version, _, comment) = head(id, *element, "_variable", found);
            content.variables.push(Variable { id: (*id).into(), version, datatype, comment, source });
        }
    }

    /// Reads one piece and notes what it needs, or that it is broken.
    fn keep<'c, 'a, 'i, T>(
        &mut self,
        id: &str,
        mut needs: Needs<'c, 'a, 'i>,
        found: &mut Vec<Found>,
        read: impl FnOnce(&mut Needs<'c, 'a, 'i>) -> Result<T, Fail>,
    ) -> Option<T> {
        match read(&mut needs) {
            Ok(read) => {
                self.edges.push(needs.into_edges());
                Some(read)
            }
            Err(fail) => {
                self.broken.insert(self.edges.len(), format!("{id}: {}", fail.why));
                self.edges.push(Vec::new());
                found.push(Found::new(id, fail));
                None
            }
        }
    }

    /// Breaks circles and chains that are too long, then all that needs something broken; empties what is broken.
    fn settle(mut self, ids: &Ids<'_, '_>, content: &mut Content, limits: &Limits, found: &mut Vec<Found>) -> Reasons {
        for at in graph::circular(&self.edges) {
            let through = self.edges.get(at).and_then(|e| e.first()).map_or("itself", |(to, _)| ids.piece(*to).0);
            self.refuse(ids, at, format!("refers to itself in a circle, through {through}"), found);
            if let Some(edges) = self.edges.get_mut(at) {
                edges.clear();
            }
        }
        let mut depths = vec![0usize; self.edges.len()];
        for at in graph::leaves_first(&self.edges) {
            let Some(edges) = self.edges.get(at) else { continue };
            if self.broken.contains_key(&at) {
                continue;
            }
            let depth = edges.iter().map(|(to, nested)| depths.get(*to).copied().unwrap_or(0) + nested).max().unwrap_or(0);
            if let Some(slot) = depths.get_mut(at) {
                *slot = depth;
            }
            if let Some(reason) = edges.iter().find_map(|(to, _)| self.broken.get(to)).cloned() {
                self.broken.insert(at, reason);
            } else if depth > limits.xml_depth {
                self.refuse(ids, at, format!("needs others that need others, over {} deep (limits.xml_depth)", limits.xml_depth), found);
            }
        }
        for at in self.broken.keys() {
            empty(ids, content, *at);
        }
        self.broken
    }

    fn refuse(&mut self, ids: &Ids<'_, '_>, at: usize, why: String, found: &mut Vec<Found>) {
        let (id, place) = ids.piece(at);
        self.broken.insert(at, format!("{id}: {why}"));
        found.push(Found { at: place, id: id.into(), message: why });
    }
}

fn empty(ids: &Ids<'_, '_>, content: &mut Content, at: usize) {
    let (states, variables) = (ids.objects.len(), ids.objects.len() + ids.states.len());
    if at < states {
        if let Some(object) = content.objects.get_mut(at) {
            object.body = Body::Entities { entities: Vec::new(), behaviors: Vec::new(), filters: Vec::new() };
        }
    } else if at < variables {
        if let Some(state) = content.states.get_mut(at - states) {
            state.entities.clear();
        }
    } else if let Some(variable) = content.variables.get_mut(at - variables) {
        variable.source = Source::Constant(Vec::new());
    }
}

/// What every piece has. A version that is no number costs nothing but a problem.
fn head(id: &str, element: Xml<'_, '_>, ending: &str, found: &mut Vec<Found>) -> (u64, Kind, Box<str>) {
    let version = number(element, "version", 0).unwrap_or_else(|fail| {
        found.push(Found::new(id, fail));
        0
    });
    (version, kind(element, ending), element.attribute("comment").unwrap_or_default().into())
}

fn tests(sections: &Sections<'_, '_>, content: &mut Content, reasons: &Reasons, found: &mut Vec<Found>) {
    for (id, element) in &sections.tests {
        let (version, kind, comment) = head(id, *element, "_test", found);
        let mut needs = Needs::of(&sections.ids);
        let mut read = entity::test(*element, *kind.name == *"unknown", &mut needs);
        if read.is_ok()
            && let Some((_, reason)) = needs.into_edges().iter().find_map(|(to, _)| reasons.get_key_value(to))
        {
            let why = format!("needs what cannot be used: {reason}");
            read = Err(Fail { at: element.range().start, why });
        }
        let body = read.unwrap_or_else(|fail| {
            found.push(Found::new(id, fail));
            entity::TestBody::default()
        });
        let entity::TestBody { check, existence, state_operator, object, states } = body;
        content.tests.push(Test { id: (*id).into(), version, kind, comment, check, existence, state_operator, object, states });
    }
}

impl Ids<'_, '_> {
    /// Id and place of a node of the graph.
    fn piece(&self, at: usize) -> (&str, usize) {
        let found = match at.checked_sub(self.objects.len() + self.states.len()) {
            Some(variable) => self.variables.get(variable),
            None => match at.checked_sub(self.objects.len()) {
                Some(state) => self.states.get(state),
                None => self.objects.get(at),
            },
        };
        found.map_or(("", 0), |(id, element)| (*id, element.range().start))
    }

    fn object(&self, id: &str) -> Option<(ObjectId, usize)> {
        let at = part::position(&self.objects, id)?;
        Some((ObjectId(u32::try_from(at).ok()?), at))
    }

    fn state(&self, id: &str) -> Option<(StateId, usize)> {
        let at = part::position(&self.states, id)?;
        Some((StateId(u32::try_from(at).ok()?), self.objects.len() + at))
    }

    fn variable(&self, id: &str) -> Option<(VariableId, usize)> {
        let at = part::position(&self.variables, id)?;
        Some((VariableId(u32::try_from(at).ok()?), self.objects.len() + self.states.len() + at))
    }
}

impl Sections<'_, '_> {
    fn test(&self, id: &str) -> Option<TestId> {
        part::position(&self.tests, id).and_then(|at| u32::try_from(at).ok()).map(TestId)
    }
}
