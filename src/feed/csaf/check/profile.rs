//! Tests of the profiles: 6.1.27.1 to 6.1.27.19.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::super::json::{list, short, text, texts};
use super::super::document::{Defined, Document};
use super::Findings;
use super::form::{english, notes};

pub(super) fn notes_and_references(document: &Document, out: &mut Findings) {
    if !matches!(document.category, "csaf_informational_advisory" | "csaf_security_incident_response") {
        return;
    }
    let says = |n: &Value| matches!(text(n, "category"), "description" | "details" | "general" | "summary");
    if !list(document.document(), "notes").iter().any(says) {
        out.add("6.1.27.1", "/document/notes", "no note describes what this is about");
    }
    if !list(document.document(), "references").iter().any(|r| text(r, "category") == "external") {
        out.add("6.1.27.2", "/document/references", "no reference leads out of the document");
    }
}

fn is_advisory(document: &Document) -> bool {
    matches!(document.category, "csaf_security_advisory" | "csaf_vex")
        || (document.v21 && document.category == "csaf_deprecated_security_advisory")
}

pub(super) fn vulnerabilities(document: &Document, out: &mut Findings) {
    let over = document.v21 && matches!(document.category, "csaf_withdrawn" | "csaf_superseded");
    if (document.category == "csaf_informational_advisory" || over) && document.root.get("vulnerabilities").is_some() {
        out.add("6.1.27.3", "/vulnerabilities", "a document of this category has none");
    }
    if !is_advisory(document) {
        return;
    }
    if document.root.get("product_tree").is_none() {
        out.add("6.1.27.4", "/product_tree", "is missing");
    }
    if document.root.get("vulnerabilities").is_none() {
        out.add("6.1.27.11", "/vulnerabilities", "is missing");
    }
    for (place, vulnerability) in document.vulnerabilities() {
        if vulnerability.get("notes").is_none() {
            out.add("6.1.27.5", format!("{place}/notes"), "is missing");
        }
        if document.category != "csaf_vex" && vulnerability.get("product_status").is_none() {
            out.add("6.1.27.6", format!("{place}/product_status"), "is missing");
        }
    }
}

pub(super) fn vex(document: &Document, out: &mut Findings) {
    if document.category != "csaf_vex" {
        return;
    }
    for (place, vulnerability) in document.vulnerabilities() {
        let status = vulnerability.get("product_status").unwrap_or(&Value::Null);
        if !["fixed", "known_affected", "known_not_affected", "under_investigation"].iter().any(|k| status.get(k).is_some()) {
            out.add("6.1.27.7", format!("{place}/product_status"), "says of no product what it is");
        }
        identified(document, &place, vulnerability, out);
        let about = |key: &str, only: Option<&str>| -> BTreeSet<&str> {
            let items = list(vulnerability, key).iter().filter(|item| only.is_none_or(|c| text(item, "category") == c));
            items.flat_map(|item| document.meant(item)).collect()
        };
        let (flags, impacts, remedies) = (about("flags", None), about("threats", Some("impact")), about("remediations", None));
        for (_, id) in texts(status, "known_not_affected").filter(|(_, id)| !flags.contains(id) && !impacts.contains(id)) {
            out.add(
                "6.1.27.9",
                format!("{place}/product_status/known_not_affected"),
                format!("nothing says why product `{}` is not affected", short(id)),
            );
        }
        for (_, id) in texts(status, "known_affected").filter(|(_, id)| !remedies.contains(id)) {
            out.add(
                "6.1.27.10",
                format!("{place}/product_status/known_affected"),
                format!("nothing says what to do about product `{}`", short(id)),
            );
        }
    }
}

/// 6.1.27.8: the vulnerability, or each of its products, has a name.
fn identified(document: &Document, place: &str, vulnerability: &Value, out: &mut Findings) {
    let ids = list(vulnerability, "ids");
    if vulnerability.get("cve").is_some() {
        return;
    }
    if ids.is_empty() {
        return out.add("6.1.27.8", place, "has neither a CVE nor another id");
    }
    let scoped = |id: &&Value| id.get("product_ids").is_some() || id.get("group_ids").is_some();
    if !document.v21 || !ids.iter().all(|id| scoped(&id)) {
        return;
    }
    let named: BTreeSet<&str> = ids.iter().flat_map(|id| document.meant(id)).collect();
    let status = vulnerability.get("product_status").and_then(Value::as_object);
    let products = status.into_iter().flat_map(|s| s.values()).filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    for id in products.filter(|id| !named.contains(id)) {
        out.add("6.1.27.8", place, format!("no id of the vulnerability is for product `{}`", short(id)));
    }
}

// ---- CSAF 2.1

pub(super) fn withdrawn_and_superseded(document: &Document, out: &mut Findings) {
    let (code, title) = match document.category {
        "csaf_withdrawn" => ("6.1.27.17", "Reasoning for Withdrawal"),
        "csaf_superseded" => ("6.1.27.18", "Reasoning for Supersession"),
        _ => return,
    };
    if !list(document.document(), "notes").iter().any(|n| text(n, "category") == "description") {
        out.add("6.1.27.14", "/document/notes", "no note is a description");
    }
    if document.root.get("product_tree").is_some() {
        out.add("6.1.27.15", "/product_tree", "a document of this category has none");
    }
    if list(document.tracking(), "revision_history").len() < 2 {
        out.add("6.1.27.16", "/document/tracking/revision_history", "one revision: there was nothing before it");
    }
    if !english(document) {
        return;
    }
    let notes = notes(document, title);
    if !matches!(notes[..], [one] if text(one, "category") == "description") {
        out.add(code, "/document/notes", format!("there is not exactly one description with the title `{title}`"));
    }
    let leads = |r: &Value| text(r, "category") == "external" && text(r, "summary").starts_with("Superseding Document");
    if document.category == "csaf_superseded" && !list(document.document(), "references").iter().any(leads) {
        out.add("6.1.27.19", "/document/references", "no external reference is a `Superseding Document`");
    }
}

/// 6.1.27.12 and 6.1.27.13: an advisory says which products are affected, for each that is fixed.
pub(super) fn affected_products(document: &Document, out: &mut Findings) {
    if document.category != "csaf_security_advisory" {
        return;
    }
    // Vendor and name, without the version; of a product made of others, that of the first, with the very others.
    let kinds: BTreeMap<&str, Vec<(&str, &str)>> = document.products.iter().map(|p| (p.id, kind(p))).collect();
    let parts: BTreeMap<&str, &[&str]> = document.products.iter().map(|p| (p.id, &*p.parts)).collect();
    let whole = |id: &str| -> Vec<Vec<(&str, &str)>> {
        let of = parts.get(id).copied().unwrap_or(&[]);
        let (first, rest) = of.split_first().unwrap_or((&id, &[]));
        let first = kinds.get(first).cloned().unwrap_or_default();
        std::iter::once(first).chain(rest.iter().map(|id| vec![("", *id)])).collect()
    };
    for (place, vulnerability) in document.vulnerabilities() {
        let Some(status) = vulnerability.get("product_status") else { continue };
        let place = format!("{place}/product_status/known_affected");
        if status.get("known_affected").is_none() {
            out.add("6.1.27.12", place.clone(), "is missing");
        }
        let affected: BTreeSet<_> =
            ["known_affected", "first_affected", "last_affected"].iter().flat_map(|k| texts(status, k)).map(|(_, id)| whole(id)).collect();
        for (_, id) in texts(status, "fixed") {
            let fixed = whole(id);
            // What the product is installed with need not be named again.
            let shorter = (1..=fixed.len()).filter_map(|n| fixed.get(..n)).any(|some| affected.contains(some));
            if !shorter {
                out.add("6.1.27.13", place.clone(), format!("product `{}` is fixed, and none of its versions is affected", short(id)));
            }
        }
    }
}

fn kind<'v>(product: &Defined<'v>) -> Vec<(&'v str, &'v str)> {
    product.branches.iter().copied().filter(|(category, _)| !matches!(*category, "product_version" | "product_version_range")).collect()
}
