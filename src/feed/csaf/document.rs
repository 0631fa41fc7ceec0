//! A CSAF document as a graph: which products it defines, how they are made of others, which groups they are in, and who refers to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::json::{list, pointer, text, texts};

pub(super) struct Document<'v> {
    pub root: &'v Value,
    /// CSAF 2.1, else 2.0.
    pub v21: bool,
    pub category: &'v str,
    /// Every full product name, in document order.
    pub products: Vec<Defined<'v>>,
    pub groups: BTreeMap<&'v str, BTreeSet<&'v str>>,
}

/// A full product name, and how it came to be.
pub(super) struct Defined<'v> {
    pub id: &'v str,
    pub name: &'v str,
    pub place: String,
    /// Its `product_identification_helper`; null where there is none.
    pub helper: &'v Value,
    /// Category and name of each branch on the way to it.
    pub branches: Vec<(&'v str, &'v str)>,
    /// The products that it is made of: the first is the thing itself, each further one what it is part of or installed on.
    pub parts: Vec<&'v str>,
}

impl<'v> Document<'v> {
    pub(crate) fn of(root: &'v Value, v21: bool) -> Document<'v> {
        let tree = root.get("product_tree").unwrap_or(&Value::Null);
        let mut products = Vec::new();
        for (at, full) in list(tree, "full_product_names").iter().enumerate() {
            products.push(defined(full, format!("/product_tree/full_product_names/{at}"), Vec::new(), Vec::new()));
        }
        branches(tree, "/product_tree", &mut Vec::new(), &mut products);
        for (at, relation) in list(tree, "relationships").iter().enumerate() {
            let parts = ["product_reference", "relates_to_product_reference"].map(|k| text(relation, k));
            let place = format!("/product_tree/relationships/{at}/full_product_name");
            products.push(defined(relation.get("full_product_name").unwrap_or(&Value::Null), place, Vec::new(), parts.to_vec()));
        }
        for (at, path) in list(tree, "product_paths").iter().enumerate() {
            let mut parts = vec![text(path, "beginning_product_reference")];
            parts.extend(list(path, "subpaths").iter().map(|s| text(s, "next_product_reference")));
            let place = format!("/product_tree/product_paths/{at}/full_product_name");
            products.push(defined(path.get("full_product_name").unwrap_or(&Value::Null), place, Vec::new(), parts));
        }
        let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for group in list(tree, "product_groups") {
            groups.entry(text(group, "group_id")).or_default().extend(texts(group, "product_ids").map(|(_, id)| id));
        }
        let category = root.get("document").map_or("", |d| text(d, "category"));
        Document { root, v21, category, products, groups }
    }

    pub(crate) fn vulnerabilities(&self) -> impl Iterator<Item = (String, &'v Value)> + use<'v> {
        list(self.root, "vulnerabilities").iter().enumerate().map(|(at, v)| (format!("/vulnerabilities/{at}"), v))
    }

    pub(crate) fn document(&self) -> &'v Value {
        self.root.get("document").unwrap_or(&Value::Null)
    }

    pub(crate) fn tracking(&self) -> &'v Value {
        self.document().get("tracking").unwrap_or(&Value::Null)
    }

    /// The products that an item means by `product_ids`, `products` and, through groups, by `group_ids`.
    pub(crate) fn meant(&self, item: &'v Value) -> BTreeSet<&'v str> {
        let mut out: BTreeSet<&str> = texts(item, "product_ids").chain(texts(item, "products")).map(|(_, id)| id).collect();
        for (_, group) in texts(item, "group_ids") {
            out.extend(self.groups.get(group).into_iter().flatten());
        }
        out
    }

    /// How many products all uses of groups stand for. Groups are the one way in which a small document means much.
    pub(crate) fn spread(&self) -> usize {
        self.references().1.iter().map(|(_, group)| self.groups.get(group).map_or(0, BTreeSet::len)).sum()
    }

    /// Every place that refers to a product, and to a group.
    pub(crate) fn references(&self) -> (Vec<Reference<'v>>, Vec<Reference<'v>>) {
        let (mut products, mut groups) = (Vec::new(), Vec::new());
        refer(self.root, "", "", &mut products, &mut groups);
        (products, groups)
    }
}

pub(super) type Reference<'v> = (String, &'v str);

fn refer<'v>(value: &'v Value, place: &str, under: &str, products: &mut Vec<Reference<'v>>, groups: &mut Vec<Reference<'v>>) {
    match value {
        Value::Array(items) => {
            let ids = match under {
                "product_ids" | "product_status" | "products" => Some(&mut *products),
                "group_ids" => Some(&mut *groups),
                _ => None,
            };
            if let Some(ids) = ids {
                ids.extend(items.iter().enumerate().filter_map(|(at, item)| Some((pointer(place, at), item.as_str()?))));
            }
            for (at, item) in items.iter().enumerate().filter(|(_, item)| !item.is_string()) {
                refer(item, &pointer(place, at), "", products, groups);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                let inner = pointer(place, key);
                match (key.as_str(), field.as_str()) {
                    (
                        "product_reference" | "relates_to_product_reference" | "beginning_product_reference" | "next_product_reference",
                        Some(id),
                    ) => {
                        products.push((inner, id));
                    }
                    // The lists of a product status have other names than it.
                    _ => refer(field, &inner, if under == "product_status" { under } else { key }, products, groups),
                }
            }
        }
        _ => {}
    }
}

fn defined<'v>(full: &'v Value, place: String, branches: Vec<(&'v str, &'v str)>, parts: Vec<&'v str>) -> Defined<'v> {
    let helper = full.get("product_identification_helper").unwrap_or(&Value::Null);
    Defined { id: text(full, "product_id"), name: text(full, "name"), place, helper, branches, parts }
}

/// As deep as the JSON reader goes, which is 128 levels.
fn branches<'v>(node: &'v Value, place: &str, path: &mut Vec<(&'v str, &'v str)>, out: &mut Vec<Defined<'v>>) {
    for (at, branch) in list(node, "branches").iter().enumerate() {
        let place = format!("{place}/branches/{at}");
        path.push((text(branch, "category"), text(branch, "name")));
        if let Some(product) = branch.get("product") {
            out.push(defined(product, format!("{place}/product"), path.clone(), Vec::new()));
        }
        branches(branch, &place, path, out);
        path.pop();
    }
}
