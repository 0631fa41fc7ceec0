//! `xccdf:Value`: what a variable of the checks may be, by selector.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::text::{Localised, Text};
use super::{at, attribute, flag};

#[derive(Clone, Debug, Default)]
pub struct Value {
    pub id: String,
    pub line: usize,
    pub extends: Option<String>,
    pub abstracted: bool,
    pub title: Text,
    /// (selector, values) in document order. Several values: a `complex-value`.
    pub choices: Vec<(String, Option<Vec<String>>)>,
}

/// What [`Value::choose`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenValue<'v> {
    Values(&'v [String]),
    /// The selector has bounds or choices but no value.
    Empty,
    NoSuchSelector,
}

impl Value {
    /// The value for a selector. Without one: that without selector, else the first.
    pub fn choose(&self, selector: Option<&str>) -> ChosenValue<'_> {
        let selector = selector.unwrap_or_default();
        let found = self.choices.iter().find(|(s, _)| s == selector);
        let found = if selector.is_empty() { found.or(self.choices.first()) } else { found };
        match found {
            Some((_, Some(values))) => ChosenValue::Values(values),
            Some((_, None)) => ChosenValue::Empty,
            None => ChosenValue::NoSuchSelector,
        }
    }
}

pub(super) fn value(node: Node) -> Value {
    let mut out = Value {
        id: attribute(node, "id"),
        line: at(node),
        extends: node.attribute("extends").map(str::to_owned),
        abstracted: flag(node, "abstract").unwrap_or(false),
        ..Value::default()
    };
    let mut titles = Localised::default();
    let mut places = BTreeMap::new();
    for child in node.children().filter(Node::is_element) {
        let given = match child.tag_name().name() {
            "title" => {
                titles.add(child);
                continue;
            }
            "value" => Some(vec![child.text().unwrap_or_default().to_owned()]),
            "complex-value" => Some(items(child)),
            "default" | "complex-default" | "match" | "lower-bound" | "upper-bound" | "choices" => None,
            _ => continue,
        };
        let selector = attribute(child, "selector");
        let at = *places.entry(selector.clone()).or_insert(out.choices.len());
        match out.choices.get_mut(at) {
            Some((_, values)) if given.is_some() => *values = given,
            Some(_) => {}
            None => out.choices.push((selector, given)),
        }
    }
    out.title = titles.into_title();
    out
}

/// `item` of a list.
pub(super) fn items(node: Node) -> Vec<String> {
    node.children().filter(|n| n.has_tag_name_local("item")).map(|n| n.text().unwrap_or_default().to_owned()).collect()
}

/// The name without its namespace.
pub(super) trait LocalName {
    fn has_tag_name_local(&self, name: &str) -> bool;
}

impl LocalName for Node<'_, '_> {
    fn has_tag_name_local(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}
