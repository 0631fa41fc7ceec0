//! `xmlfilecontent` over the table `text`: an item for each file in which a path of XPath finds something.

use super::super::facts::Flag;
use super::item::{Make, Out};
use super::resolved::Resolved;
use super::text::{asks, content, placed};
use super::types::Type;
use super::xpath::{self, Found};
use crate::scan::Row;

pub(super) const TYPES: &[Type] = &[Type::rows("xmlfilecontent", "text", found).places().asks(asks).check(check)];

fn check(object: &Resolved) -> Result<(), String> {
    let stated = object.want("xpath").and_then(|w| w.exact()).ok_or("its xpath must be stated")?;
    stated.iter().try_for_each(|x| xpath::parse(x).map(|_| ()))
}

fn found<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some((path, text)) = content(object, row, out) else { return };
    let tree = match crate::xml::tree(text, &object.limits) {
        Ok(tree) => tree,
        Err(why) => return out.fail(Flag::Error, format!("{path}: {why}")),
    };
    for stated in object.want("xpath").and_then(|w| w.exact()).unwrap_or_default() {
        let nodes = match xpath::parse(stated).and_then(|x| xpath::select(&x, tree.root())) {
            Ok(nodes) if nodes.is_empty() => continue,
            Ok(nodes) if nodes.len() > object.limits.object_items => {
                out.fail(Flag::Error, format!("{path}: more than {} nodes (limits.object_items)", object.limits.object_items));
                continue;
            }
            Ok(nodes) => nodes,
            Err(why) => {
                out.fail(Flag::Error, format!("{path}: {why}"));
                continue;
            }
        };
        let mut make = placed(Make::new("xmlfilecontent"), path).text("xpath", stated.to_string());
        for node in nodes {
            // An element has no value: that the item is there says that it is.
            make = match node {
                Found::Attribute(value) | Found::Text(value) => make.text("value_of", value.to_owned()),
                Found::Element(_) => make,
            };
        }
        out.item(make);
    }
}
