//! One component: what it is, read, and where it stands.

use std::sync::Arc;

use roxmltree::Node;

use super::Bytes;
use crate::limits::Limits;
use crate::oval;
use crate::oval::model::Content;
use crate::xccdf::platform::{self, Dictionary, Named};
use crate::xccdf::read::{self, Benchmark, Problem};
use crate::xccdf::tailoring::{self, Tailoring};

#[derive(Clone, Debug)]
pub struct Component {
    pub id: String,
    pub body: Body,
    pub(super) file: usize,
    pub(super) range: Bytes,
    /// What is in scope at its root: (prefix, uri).
    pub(super) namespaces: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub enum Body {
    Benchmark(Arc<Benchmark>),
    /// Or why it cannot be read: what needs it is not checked.
    Oval(Result<Arc<Content>, String>),
    Dictionary(Arc<Dictionary>),
    Language(Vec<Named>),
    Tailoring(Arc<Tailoring>),
    /// The name of its root element: scripts, questionnaires, catalogs of who knows what.
    Other(String),
}

impl Component {
    pub(super) fn read(id: String, root: Node, file: usize, limits: &Limits) -> Result<Component, Problem> {
        let name = root.tag_name().name();
        let body = match name {
            "Benchmark" if read::is_xccdf(root) => Body::Benchmark(Arc::new(read::benchmark(root, limits)?)),
            "oval_definitions" => Body::Oval(definitions(root, &id, limits)),
            "cpe-list" => Body::Dictionary(Arc::new(platform::dictionary(root))),
            "platform-specification" => Body::Language(platform::language(root)),
            "Tailoring" => Body::Tailoring(Arc::new(tailoring::tailoring(root, &format!("#{id}")))),
            other => Body::Other(other.to_owned()),
        };
        let namespaces = root.namespaces().map(|n| (n.name().unwrap_or_default().to_owned(), n.uri().to_owned())).collect();
        Ok(Component { id, body, file, range: root.range(), namespaces })
    }
}

fn definitions(root: Node, name: &str, limits: &Limits) -> Result<Arc<Content>, String> {
    oval::read::read(root, name, limits)
        .map(Arc::new)
        .map_err(|problems| problems.first().map_or_else(|| "it is not OVAL".to_owned(), ToString::to_string))
}
