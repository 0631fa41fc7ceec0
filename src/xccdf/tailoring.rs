//! Tailoring files: profiles that somebody else wrote for a benchmark, read into the same profiles that a benchmark has.

use roxmltree::Node;

use super::model::Tailored;
use super::read::{Profile, profile, settle_profiles};
use crate::limits::Limits;
use crate::xml::{self, XmlError};

/// An `xccdf:Tailoring`.
#[derive(Clone, Debug, Default)]
pub struct Tailoring {
    pub about: Tailored,
    /// The benchmark that it names, if it does.
    pub benchmark: String,
    pub profiles: Vec<Profile>,
}

#[derive(Debug, thiserror::Error)]
pub enum TailoringError {
    #[error("{name}: {error}")]
    Xml { name: String, error: XmlError },
    #[error("{name}: the root element is `{root}`; a tailoring file has `Tailoring`")]
    NotTailoring { name: String, root: String },
}

/// Reads a file; `name` becomes its href in result documents.
pub fn read(name: &str, bytes: &[u8], limits: &Limits) -> Result<Tailoring, TailoringError> {
    let failed = |error| TailoringError::Xml { name: name.to_owned(), error };
    let text = xml::text(bytes, limits).map_err(failed)?;
    let tree = xml::tree(&text, limits).map_err(failed)?;
    let root = tree.root_element();
    if root.tag_name().name() != "Tailoring" {
        return Err(TailoringError::NotTailoring { name: name.to_owned(), root: root.tag_name().name().to_owned() });
    }
    Ok(tailoring(root, name))
}

/// Reads an `xccdf:Tailoring` element.
pub fn tailoring(node: Node, href: &str) -> Tailoring {
    let mut out = Tailoring::default();
    out.about.id = node.attribute("id").unwrap_or_default().trim().to_owned();
    href.clone_into(&mut out.about.href);
    for child in node.children().filter(Node::is_element) {
        match child.tag_name().name() {
            "benchmark" => out.benchmark = child.attribute("href").unwrap_or_default().to_owned(),
            "version" => {
                out.about.version = child.text().unwrap_or_default().trim().to_owned();
                out.about.time = child.attribute("time").unwrap_or_default().to_owned();
            }
            "Profile" => out.profiles.push(profile(child)),
            _ => {}
        }
    }
    settle_profiles(node.document().input_text(), &mut out.profiles);
    out
}
