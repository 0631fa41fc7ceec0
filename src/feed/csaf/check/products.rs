//! Tests of the product tree: 6.1.1 to 6.1.5, 6.1.13, 6.1.25, 6.1.31, 6.1.34, 6.1.42 to 6.1.44, 6.1.50, 6.1.57 to 6.1.59, 6.1.61.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::json::{list, short, text, texts};
use super::super::super::purl::Purl;
use super::super::super::vers::{self, Op};
use super::super::document::Document;
use super::Findings;

pub(super) fn missing(document: &Document, out: &mut Findings) {
    let defined: BTreeSet<&str> = document.products.iter().map(|p| p.id).collect();
    for (place, id) in document.references().0 {
        if !defined.contains(id) {
            out.add("6.1.1", place, format!("product `{}` is not defined", short(id)));
        }
    }
}

pub(super) fn twice(document: &Document, out: &mut Findings) {
    let mut seen = BTreeSet::new();
    for product in &document.products {
        if !seen.insert(product.id) {
            out.add("6.1.2", product.place.clone(), format!("product `{}` is defined already", short(product.id)));
        }
    }
}

pub(super) fn circular(document: &Document, out: &mut Findings) {
    // Settles what is made of settled things only; what is left is a circle, or is made of one.
    let made: BTreeMap<&str, &[&str]> = document.products.iter().filter(|p| !p.parts.is_empty()).map(|p| (p.id, &*p.parts)).collect();
    let mut waits: BTreeMap<&str, usize> = BTreeMap::new();
    let mut used_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, parts) in &made {
        let open = parts.iter().filter(|part| made.contains_key(*part));
        waits.insert(id, open.clone().count());
        open.for_each(|part| used_by.entry(part).or_default().push(id));
    }
    let mut settled: Vec<&str> = waits.iter().filter(|(_, n)| **n == 0).map(|(id, _)| *id).collect();
    while let Some(id) = settled.pop() {
        waits.remove(id);
        for user in used_by.get(id).into_iter().flatten() {
            if let Some(n) = waits.get_mut(user) {
                *n -= 1;
                if *n == 0 {
                    settled.push(user);
                }
            }
        }
    }
    for product in document.products.iter().filter(|p| waits.contains_key(p.id) && !p.parts.is_empty()) {
        out.add("6.1.3", product.place.clone(), format!("product `{}` is made of itself", short(product.id)));
    }
}

pub(super) fn groups(document: &Document, out: &mut Findings) {
    for (place, id) in document.references().1 {
        if !document.groups.contains_key(id) {
            out.add("6.1.4", place, format!("product group `{}` is not defined", short(id)));
        }
    }
}

pub(super) fn groups_twice(document: &Document, out: &mut Findings) {
    let mut seen = BTreeSet::new();
    let tree = document.root.get("product_tree");
    for (at, group) in tree.map_or(&[][..], |t| list(t, "product_groups")).iter().enumerate() {
        if !seen.insert(text(group, "group_id")) {
            out.add("6.1.5", format!("/product_tree/product_groups/{at}/group_id"), "the product group is defined already");
        }
    }
}

pub(super) fn purls(document: &Document, out: &mut Findings) {
    for product in &document.products {
        let one = product.helper.get("purl").and_then(|p| p.as_str());
        for purl in one.into_iter().chain(texts(product.helper, "purls").map(|(_, p)| p)) {
            if let Err(why) = Purl::parse(purl) {
                out.add("6.1.13", product.place.clone(), format!("`{}` is no package URL: {why}", short(purl)));
            }
        }
    }
}

pub(super) fn hashes(document: &Document, out: &mut Findings) {
    for product in &document.products {
        for hashes in list(product.helper, "hashes") {
            let mut seen = BTreeSet::new();
            if !list(hashes, "file_hashes").iter().all(|h| seen.insert(text(h, "algorithm"))) {
                out.add("6.1.25", product.place.clone(), "the same hash algorithm is given twice for one file");
            }
        }
    }
}

/// 6.1.31: a single version must not read like a range.
pub(super) fn version_ranges(document: &Document, out: &mut Findings) {
    const WORDS: [&str; 7] = ["after", "all", "before", "earlier", "later", "prior", "versions"];
    for product in &document.products {
        for (_, name) in product.branches.iter().filter(|(category, _)| *category == "product_version") {
            let lower = name.to_lowercase();
            if lower.contains(['<', '>']) || lower.split_whitespace().any(|w| WORDS.contains(&w)) {
                out.add("6.1.31", product.place.clone(), format!("`{}` is a range of versions, not a version", short(name)));
            }
        }
    }
}

pub(super) fn depth(document: &Document, out: &mut Findings) {
    for product in document.products.iter().filter(|p| p.branches.len() > 30) {
        out.add("6.1.34", product.place.clone(), format!("{} branches deep, 30 are allowed", product.branches.len()));
    }
}

pub(super) fn same_purls(document: &Document, out: &mut Findings) {
    for product in &document.products {
        let bare: BTreeSet<&str> = texts(product.helper, "purls").map(|(_, p)| p.split(['?', '#']).next().unwrap_or(p)).collect();
        if bare.len() > 1 {
            out.add("6.1.42", product.place.clone(), "the package URLs of one product differ in more than their qualifiers");
        }
    }
}

pub(super) fn stars(document: &Document, out: &mut Findings) {
    for product in &document.products {
        for (code, key) in [("6.1.43", "model_numbers"), ("6.1.44", "serial_numbers"), ("6.1.61", "skus")] {
            for (_, number) in texts(product.helper, key).filter(|(_, n)| unescaped_stars(n) > 1) {
                out.add(code, product.place.clone(), format!("`{}` has more than one `*`", short(number)));
            }
        }
    }
}

fn unescaped_stars(text: &str) -> usize {
    let mut escaped = false;
    let is_star = |c: char| {
        let star = c == '*' && !escaped;
        escaped = c == '\\' && !escaped;
        star
    };
    text.chars().map(is_star).filter(|s| *s).count()
}

/// 6.1.50 and 6.1.59: a range is a `vers:` or constraints only, in canonical form, and more than one version.
pub(super) fn range_rules(document: &Document, out: &mut Findings) {
    for product in &document.products {
        for (_, name) in product.branches.iter().filter(|(category, _)| *category == "product_version_range") {
            let said = vers::split(name);
            let (kind, constraints) = said.unwrap_or(("", name));
            if *name == "vers:all/*" {
                continue;
            }
            // The documents of the standard's own test set have this for "all".
            if kind.is_empty() && said.is_some() {
                continue;
            }
            if kind == "all" || constraints.contains(char::is_whitespace) || !canonical(constraints) {
                out.add(
                    "6.1.50",
                    product.place.clone(),
                    format!("`{}` is neither a vers: in canonical form nor constraints alone", short(name)),
                );
            } else if vers::tokens(constraints).is_some_and(|t| t.len() == 1 && t.iter().all(|(op, _)| *op == Op::Eq)) {
                out.add("6.1.59", product.place.clone(), format!("`{}` is a single version, not a range", short(name)));
            }
        }
    }
}

fn canonical(constraints: &str) -> bool {
    constraints.split('|').all(|c| {
        let version = ["<=", ">=", "!=", "<", ">", "="].iter().find_map(|op| c.strip_prefix(op)).unwrap_or(c);
        !version.is_empty() && !version.contains(['<', '>', '=', '!', '*'])
    })
}

/// 6.1.57 and 6.1.58: of each category one on a path, and either a version or a range.
pub(super) fn stacked(document: &Document, out: &mut Findings) {
    for product in &document.products {
        let mut seen = BTreeSet::new();
        let once = product.branches.iter().filter(|(c, _)| *c != "product_family").all(|(c, _)| seen.insert(*c));
        if !once {
            out.add("6.1.57", product.place.clone(), "a category of branches stands twice on the way to the product");
        }
        if seen.contains("product_version") && seen.contains("product_version_range") {
            out.add("6.1.58", product.place.clone(), "a version and a range of versions stand on the way to the product");
        }
    }
}
