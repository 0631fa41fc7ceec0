//! SCAP data streams, and what stands for one: components and how they refer to each other.
//!
//! ```text
//! data-stream-collection ─┐
//! bare Benchmark, OVAL ───┴─> components (read into plain data) + streams (which href means which component)
//! ```

mod component;
mod splice;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use roxmltree::Node;

pub use component::{Body, Component};

use super::platform::{Dictionary, Named};
use super::read::{Benchmark, Budget, Problem};
use super::resolve::{self, Choice, ResolveError};
use super::tailoring::Tailoring;
use crate::limits::Limits;
use crate::oval::model::Content;
use crate::xml::{self, XmlError};

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{name}: {error}")]
    Xml { name: String, error: XmlError },
    #[error(
        "{name}: the root element is `{root}`; a SCAP data stream, an XCCDF benchmark, OVAL definitions or a CPE dictionary is expected"
    )]
    NotContent { name: String, root: String },
    #[error("{name}: {problem}")]
    Content { name: String, problem: Problem },
}

/// What a content file holds, read.
#[derive(Clone, Debug, Default)]
pub struct Source {
    files: Vec<String>,
    streams: Vec<Stream>,
    components: Vec<Component>,
    problems: Vec<Problem>,
}

/// One `data-stream`; files without one are a stream whose names are the files'.
#[derive(Clone, Debug, Default)]
struct Stream {
    id: String,
    references: Vec<Reference>,
    /// Component-ref -> its position.
    ids: BTreeMap<String, usize>,
    /// All catalogs as one; the first of a name stays.
    names: BTreeMap<String, String>,
}

impl Stream {
    fn push(&mut self, reference: Reference) {
        self.ids.entry(reference.id.clone()).or_insert(self.references.len());
        for (name, uri) in &reference.catalog {
            self.names.entry(name.clone()).or_insert_with(|| uri.clone());
        }
        self.references.push(reference);
    }
}

/// A `component-ref`.
#[derive(Clone, Debug)]
struct Reference {
    id: String,
    /// `checklists`, `checks`, `dictionaries`, `extended-components`
    list: String,
    target: Target,
    /// Name -> `#component-ref`
    catalog: BTreeMap<String, String>,
    /// `rewriteURI`: what names start with -> what stands there instead.
    rewrites: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum Target {
    Component(usize),
    /// Somewhere else; nothing is fetched.
    Remote(String),
}

/// Where an href leads.
#[derive(Clone, Copy, Debug)]
pub enum Found<'s> {
    Component(&'s Component),
    Remote(&'s str),
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchmarkInfo {
    /// Empty for a file without data streams.
    pub datastream: String,
    /// The component-ref, or the file.
    pub component: String,
    pub id: String,
    pub version: String,
    pub title: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileInfo {
    pub datastream: String,
    pub benchmark: String,
    /// Empty: the benchmark's own selection.
    pub id: String,
    pub title: String,
    pub description: String,
    /// Rules that it selects, after groups, requirements and conflicts.
    pub selected: usize,
}

impl Source {
    /// Reads a file, plain or compressed.
    pub fn read(name: &str, bytes: &[u8], limits: &Limits) -> Result<Source, SourceError> {
        let mut out = Source::default();
        out.add(name, bytes, limits)?;
        Ok(out)
    }

    /// Adds a file that another one names: the OVAL, the CPE dictionary of a bare benchmark.
    pub fn with_file(mut self, name: &str, bytes: &[u8], limits: &Limits) -> Result<Source, SourceError> {
        self.add(name, bytes, limits)?;
        Ok(self)
    }

    fn add(&mut self, name: &str, bytes: &[u8], limits: &Limits) -> Result<(), SourceError> {
        let failed = |error| SourceError::Xml { name: name.to_owned(), error };
        let text = xml::text(bytes, limits).map_err(failed)?;
        {
            let tree = xml::tree(&text, limits).map_err(failed)?;
            let root = tree.root_element();
            let collection = match root.tag_name().name() {
                "data-stream-collection" => Some(root),
                // An ARF carries the data stream that it was made with.
                "asset-report-collection" => root.descendants().find(|n| n.tag_name().name() == "data-stream-collection"),
                _ => None,
            };
            match collection {
                Some(collection) => self.collection(collection, name, limits)?,
                None => self.bare(root, name, limits)?,
            }
        }
        self.files.push(text);
        Ok(())
    }

    fn collection(&mut self, node: Node, name: &str, limits: &Limits) -> Result<(), SourceError> {
        let first = self.components.len();
        let file = self.files.len();
        for child in node.children().filter(Node::is_element) {
            if !matches!(child.tag_name().name(), "component" | "extended-component") {
                continue;
            }
            let id = child.attribute("id").unwrap_or_default().to_owned();
            if let Some(root) = child.first_element_child() {
                let read = Component::read(id, root, file, limits);
                self.components.push(read.map_err(|problem| SourceError::Content { name: name.to_owned(), problem })?);
            }
        }
        let new = self.components.iter().enumerate().skip(first);
        let components: BTreeMap<&str, usize> = new.map(|(n, c)| (c.id.as_str(), n)).collect();
        for stream in node.children().filter(|n| n.tag_name().name() == "data-stream") {
            let (read, problems) = stream_of(stream, &components);
            self.streams.push(read);
            self.problems.extend(problems);
        }
        Ok(())
    }

    fn bare(&mut self, root: Node, name: &str, limits: &Limits) -> Result<(), SourceError> {
        let read = Component::read(name.to_owned(), root, self.files.len(), limits);
        let component = read.map_err(|problem| SourceError::Content { name: name.to_owned(), problem })?;
        let list = match component.body {
            Body::Benchmark(_) | Body::Tailoring(_) => "checklists",
            Body::Oval(_) => "checks",
            Body::Dictionary(_) | Body::Language(_) => "dictionaries",
            Body::Other(_) => {
                return Err(SourceError::NotContent { name: name.to_owned(), root: root.tag_name().name().to_owned() });
            }
        };
        let target = Target::Component(self.components.len());
        self.components.push(component);
        let reference = Reference { id: name.to_owned(), list: list.to_owned(), target, catalog: BTreeMap::new(), rewrites: Vec::new() };
        match self.streams.iter_mut().find(|s| s.id.is_empty()) {
            Some(stream) => stream.push(reference),
            None => {
                self.streams.push(Stream::default());
                if let Some(stream) = self.streams.last_mut() {
                    stream.push(reference);
                }
            }
        }
        Ok(())
    }

    /// What is wrong with the content whatever is chosen of it.
    pub fn problems(&self) -> Vec<Problem> {
        let of = self.components.iter().filter_map(|c| match &c.body {
            Body::Benchmark(b) => Some(b.problems.clone()),
            _ => None,
        });
        of.flatten().chain(self.problems.iter().cloned()).collect()
    }

    /// Benchmarks by data stream, in document order.
    pub fn benchmarks(&self) -> Vec<BenchmarkInfo> {
        let mut budget = Budget::new(&Limits::default());
        let mut out = Vec::new();
        for (stream, reference, benchmark) in self.checklists() {
            let values = |id: &str, _: bool| benchmark.plain_texts.get(id).cloned();
            out.push(BenchmarkInfo {
                datastream: stream.to_owned(),
                component: reference.to_owned(),
                id: benchmark.id.clone(),
                version: benchmark.version.clone(),
                title: benchmark.title.fill(&mut budget, &values).unwrap_or_default(),
            });
        }
        out
    }

    /// The profiles that can be chosen, each benchmark's own selection first. `tailoring` adds its own.
    pub fn profiles(&self, tailoring: Option<&Tailoring>, limits: &Limits) -> Result<Vec<ProfileInfo>, ResolveError> {
        let mut out = Vec::new();
        for (stream, _, benchmark) in self.checklists() {
            resolve::profiles(benchmark, stream, tailoring, limits, &mut out)?;
        }
        Ok(out)
    }

    /// The tailoring components of a data stream, by component id.
    pub fn tailoring(&self, id: &str) -> Option<&Tailoring> {
        let id = id.strip_prefix('#').unwrap_or(id);
        let component = self.component(id)?;
        if let Body::Tailoring(t) = &component.body { Some(t) } else { None }
    }

    /// The XML of a component as it stands in its file, made a document of its own: namespaces from around it are declared on its root.
    /// `href` names it as result documents do: a component, a component-ref, a name of a catalog, a file.
    pub fn component_text(&self, href: &str) -> Option<String> {
        let component = self.component(href.strip_prefix('#').unwrap_or(href))?;
        let text = self.files.get(component.file)?;
        splice::document(text.get(component.range.clone())?, &component.namespaces)
    }

    fn component(&self, name: &str) -> Option<&Component> {
        if let Some(found) = self.components.iter().find(|c| c.id == name) {
            return Some(found);
        }
        for stream in &self.streams {
            if let Found::Component(c) = self.find(stream, None, name) {
                return Some(c);
            }
        }
        None
    }

    /// (stream, component-ref, benchmark)
    fn checklists(&self) -> impl Iterator<Item = (&str, &str, &Arc<Benchmark>)> {
        self.streams.iter().flat_map(move |s| s.references.iter().map(move |r| (s, r))).filter_map(|(s, r)| match r.target {
            Target::Component(n) => match self.components.get(n).map(|c| &c.body) {
                Some(Body::Benchmark(b)) => Some((s.id.as_str(), r.id.as_str(), b)),
                _ => None,
            },
            Target::Remote(_) => None,
        })
    }

    /// Follows an href: through the catalog of the component that has it, else a component-ref of that id, else any catalog of the stream.
    fn find<'s>(&'s self, stream: &'s Stream, from: Option<usize>, href: &str) -> Found<'s> {
        let own = from.and_then(|n| stream.references.get(n));
        if let Some(uri) = own.and_then(|r| r.mapped(href)) {
            return self.referred(stream, &uri);
        }
        let plain = href.strip_prefix("./").unwrap_or(href);
        let known = self.referred(stream, plain);
        if !matches!(known, Found::Nothing) {
            return known;
        }
        match stream.names.get(href) {
            Some(uri) => self.referred(stream, uri),
            None => Found::Nothing,
        }
    }

    fn referred<'s>(&'s self, stream: &'s Stream, uri: &str) -> Found<'s> {
        let id = uri.strip_prefix('#').unwrap_or(uri);
        match stream.ids.get(id).and_then(|n| stream.references.get(*n)).map(|r| &r.target) {
            Some(Target::Component(n)) => self.components.get(*n).map_or(Found::Nothing, Found::Component),
            Some(Target::Remote(at)) => Found::Remote(at),
            None => Found::Nothing,
        }
    }
}

impl Reference {
    fn mapped(&self, href: &str) -> Option<String> {
        if let Some(uri) = self.catalog.get(href) {
            return Some(uri.clone());
        }
        let (start, with) = self.rewrites.iter().filter(|(s, _)| href.starts_with(s.as_str())).max_by_key(|(s, _)| s.len())?;
        href.strip_prefix(start.as_str()).map(|rest| format!("{with}{rest}"))
    }
}

fn stream_of(node: Node, components: &BTreeMap<&str, usize>) -> (Stream, Vec<Problem>) {
    let mut out = Stream { id: node.attribute("id").unwrap_or_default().to_owned(), ..Stream::default() };
    let mut problems = Vec::new();
    for list in node.children().filter(Node::is_element) {
        for child in list.children().filter(|n| n.tag_name().name() == "component-ref") {
            let href = child.attributes().find(|a| a.name() == "href").map(|a| a.value()).unwrap_or_default();
            let id = child.attribute("id").unwrap_or_default().to_owned();
            let target = match href.strip_prefix('#') {
                Some(local) => match components.get(local) {
                    Some(n) => Target::Component(*n),
                    None => {
                        problems.push(Problem {
                            line: 0,
                            what: format!("component-ref `{id}`: no component `{local}`; what needs it is not checked"),
                        });
                        continue;
                    }
                },
                None => Target::Remote(href.to_owned()),
            };
            let (catalog, rewrites) = catalog(child);
            out.push(Reference { id, list: list.tag_name().name().to_owned(), target, catalog, rewrites });
        }
    }
    (out, problems)
}

fn catalog(reference: Node) -> (BTreeMap<String, String>, Vec<(String, String)>) {
    let pair =
        |n: Node<'_, '_>, a: &str, b: &str| (n.attribute(a).unwrap_or_default().to_owned(), n.attribute(b).unwrap_or_default().to_owned());
    let (mut names, mut rewrites) = (BTreeMap::new(), Vec::new());
    for node in reference.descendants() {
        match node.tag_name().name() {
            "uri" => {
                let (name, uri) = pair(node, "name", "uri");
                names.entry(name).or_insert(uri);
            }
            "rewriteURI" => rewrites.push(pair(node, "uriStartString", "rewritePrefix")),
            _ => {}
        }
    }
    (names, rewrites)
}

/// Languages and dictionaries, each with the position of the component-ref whose catalog it uses.
pub(super) type Around<'s> = (Vec<(usize, &'s [Named])>, Vec<(usize, &'s Dictionary)>);

/// One benchmark in one stream, with its surroundings; what [`resolve::resolve`] works on.
pub(super) struct View<'s> {
    source: &'s Source,
    stream: &'s Stream,
    /// Position of the checklist's component-ref; `None` where there is no benchmark.
    own: Option<usize>,
}

impl<'s> View<'s> {
    /// The stream and the benchmark that are chosen, or the only ones, or the first.
    pub(super) fn choose(source: &'s Source, choice: &Choice) -> Result<View<'s>, ResolveError> {
        let mut fallback = None;
        let mut known = Vec::new();
        for stream in source.streams.iter().filter(|s| choice.datastream.as_ref().is_none_or(|id| *id == s.id)) {
            fallback.get_or_insert(stream);
            for (n, reference) in stream.references.iter().enumerate() {
                let Target::Component(at) = reference.target else { continue };
                let Some(component) = source.components.get(at) else { continue };
                let Body::Benchmark(benchmark) = &component.body else { continue };
                let wanted = choice.benchmark.as_ref().map(|b| b.strip_prefix('#').unwrap_or(b));
                if wanted.is_none_or(|w| w == benchmark.id || w == reference.id || w == component.id) {
                    return Ok(View { source, stream, own: Some(n) });
                }
                known.push(benchmark.id.clone());
            }
        }
        match (fallback, &choice.benchmark) {
            (None, _) => {
                let known = source.streams.iter().map(|s| s.id.clone()).collect();
                Err(ResolveError::Unknown { what: "data stream", id: choice.datastream.clone().unwrap_or_default(), known })
            }
            (Some(_), Some(id)) => Err(ResolveError::Unknown { what: "benchmark", id: id.clone(), known }),
            (Some(stream), None) => Ok(View { source, stream, own: None }),
        }
    }

    fn body(&self, reference: &Reference) -> Option<&'s Component> {
        match reference.target {
            Target::Component(n) => self.source.components.get(n),
            Target::Remote(_) => None,
        }
    }

    pub(super) fn benchmark(&self) -> Option<(&'s Component, &'s Benchmark)> {
        let component = self.body(self.stream.references.get(self.own?)?)?;
        if let Body::Benchmark(b) = &component.body { Some((component, b)) } else { None }
    }

    /// Whether the file is a data stream, where results refer to components by `#id`.
    pub(super) fn in_stream(&self) -> bool {
        !self.stream.id.is_empty()
    }

    /// What following one href costs.
    pub(super) fn rewrites(&self) -> usize {
        self.own.and_then(|n| self.stream.references.get(n)).map_or(0, |r| r.rewrites.len())
    }

    pub(super) fn own(&self) -> usize {
        self.own.unwrap_or(0)
    }

    /// OVAL of the stream, for baselines without a benchmark.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&'s str, &'s Result<Arc<Content>, String>)> + '_ {
        self.stream.references.iter().filter_map(|r| match &self.body(r)?.body {
            Body::Oval(content) => Some((r.id.as_str(), content)),
            _ => None,
        })
    }

    pub(super) fn find(&self, from: usize, href: &str) -> Found<'s> {
        self.source.find(self.stream, Some(from), href)
    }

    /// Languages and dictionaries beside the benchmark's own.
    pub(super) fn dictionaries(&self) -> Around<'s> {
        let (mut languages, mut dictionaries) = (Vec::new(), Vec::new());
        for (n, reference) in self.stream.references.iter().enumerate().filter(|(_, r)| r.list == "dictionaries") {
            match self.body(reference).map(|c| &c.body) {
                Some(Body::Dictionary(d)) => dictionaries.push((n, &**d)),
                Some(Body::Language(l)) => languages.push((n, l.as_slice())),
                _ => {}
            }
        }
        (languages, dictionaries)
    }
}

/// Bytes of a component within its file.
type Bytes = Range<usize>;
