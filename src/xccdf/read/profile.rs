//! `xccdf:Profile`, of a benchmark or of a tailoring file.

use roxmltree::Node;

use super::text::{Localised, Text};
use super::value::items;
use super::{at, attribute, flag};
use crate::xccdf::model::{Role, RuleSeverity};

#[derive(Clone, Debug, Default)]
pub struct Profile {
    pub id: String,
    pub line: usize,
    pub extends: Option<String>,
    pub abstracted: bool,
    pub title: Text,
    pub description: Text,
    /// What the author made it for. It decides no result: the benchmark's and the items' platforms do.
    pub platforms: Vec<String>,
    /// In document order.
    pub settings: Vec<Setting>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// The id of an item, or of a cluster of them.
    Select {
        id: String,
        selected: bool,
    },
    SetValue {
        id: String,
        values: Vec<String>,
    },
    RefineValue {
        id: String,
        selector: Option<String>,
    },
    RefineRule {
        id: String,
        weight: Option<f64>,
        severity: Option<RuleSeverity>,
        role: Option<Role>,
        selector: Option<String>,
    },
}

impl Setting {
    /// What a setting of an extending profile replaces: the kind and the id.
    pub fn key(&self) -> (u8, &str) {
        match self {
            Setting::Select { id, .. } => (0, id),
            Setting::SetValue { id, .. } => (1, id),
            Setting::RefineValue { id, .. } => (2, id),
            Setting::RefineRule { id, .. } => (3, id),
        }
    }
}

/// Reads an `xccdf:Profile` element.
pub fn profile(node: Node) -> Profile {
    let mut out = Profile {
        id: attribute(node, "id"),
        line: at(node),
        extends: node.attribute("extends").map(|e| e.trim().to_owned()),
        abstracted: flag(node, "abstract").unwrap_or(false),
        ..Profile::default()
    };
    let (mut titles, mut descriptions) = (Localised::default(), Localised::default());
    for child in node.children().filter(Node::is_element) {
        let id = attribute(child, "idref");
        match child.tag_name().name() {
            "title" => titles.add(child),
            "description" => descriptions.add(child),
            "platform" => out.platforms.push(id),
            "select" => out.settings.push(Setting::Select { id, selected: flag(child, "selected").unwrap_or(true) }),
            "set-value" => {
                let values = vec![child.text().unwrap_or_default().to_owned()];
                out.settings.push(Setting::SetValue { id, values });
            }
            "set-complex-value" => out.settings.push(Setting::SetValue { id, values: items(child) }),
            "refine-value" => {
                let selector = child.attribute("selector").map(str::to_owned);
                out.settings.push(Setting::RefineValue { id, selector });
            }
            "refine-rule" => out.settings.push(Setting::RefineRule {
                id,
                weight: super::item::weight(child),
                severity: super::item::severity(child),
                role: super::item::role(child),
                selector: child.attribute("selector").map(str::to_owned),
            }),
            _ => {}
        }
    }
    out.title = titles.into_title();
    out.description = descriptions.into_text();
    out
}
