//! Tests of vulnerabilities against themselves: 6.1.6, 6.1.23, 6.1.24, 6.1.29, 6.1.32, 6.1.33, 6.1.35, 6.1.36.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::super::json::{list, short, text, texts};
use super::super::document::Document;
use super::Findings;

/// The groups that exclude each other, by the name that the standard gives them.
pub(super) const GROUPS: [(&str, &[&str]); 5] = [
    ("affected", &["first_affected", "known_affected", "last_affected"]),
    ("not affected", &["known_not_affected"]),
    ("fixed", &["first_fixed", "fixed"]),
    ("under investigation", &["under_investigation"]),
    ("unknown", &["unknown"]),
];

/// Product -> groups that it is in.
fn groups_of(vulnerability: &Value) -> BTreeMap<&str, BTreeSet<&'static str>> {
    let mut out: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let Some(status) = vulnerability.get("product_status") else { return out };
    for (group, keys) in GROUPS {
        for (_, id) in keys.iter().flat_map(|key| texts(status, key)) {
            out.entry(id).or_default().insert(group);
        }
    }
    out
}

pub(super) fn contradicting(document: &Document, out: &mut Findings) {
    for (place, vulnerability) in document.vulnerabilities() {
        for (id, groups) in groups_of(vulnerability).iter().filter(|(_, groups)| groups.len() > 1) {
            let groups: Vec<&str> = groups.iter().copied().collect();
            out.add("6.1.6", format!("{place}/product_status"), format!("product `{}` is {} at once", short(id), groups.join(" and ")));
        }
    }
}

pub(super) fn cve_twice(document: &Document, out: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (place, vulnerability) in document.vulnerabilities() {
        let cve = text(vulnerability, "cve");
        if !cve.is_empty() && !seen.insert(cve) {
            out.add("6.1.23", format!("{place}/cve"), format!("{} has an entry already", short(cve)));
        }
    }
}

pub(super) fn involvements(document: &Document, out: &mut Findings) {
    for (place, vulnerability) in document.vulnerabilities() {
        let mut seen: BTreeSet<(&str, &str, BTreeSet<&str>)> = BTreeSet::new();
        for (at, item) in list(vulnerability, "involvements").iter().enumerate() {
            if !seen.insert((text(item, "party"), text(item, "date"), document.meant(item))) {
                out.add("6.1.24", format!("{place}/involvements/{at}"), "the same party at the same date stands there already");
            }
        }
    }
}

pub(super) fn without_product(document: &Document, out: &mut Findings) {
    for (place, vulnerability) in document.vulnerabilities() {
        for (code, key) in [("6.1.29", "remediations"), ("6.1.32", "flags")] {
            for (at, item) in list(vulnerability, key).iter().enumerate() {
                if item.get("group_ids").is_none() && item.get("product_ids").is_none() {
                    out.add(code, format!("{place}/{key}/{at}"), "says for no product that it is about it");
                }
            }
        }
    }
}

pub(super) fn several_flags(document: &Document, out: &mut Findings) {
    for (place, vulnerability) in document.vulnerabilities() {
        let mut seen = BTreeSet::new();
        for (at, flag) in list(vulnerability, "flags").iter().enumerate() {
            for id in document.meant(flag) {
                if !seen.insert(id) {
                    out.add("6.1.33", format!("{place}/flags/{at}"), format!("product `{}` has another justification already", short(id)));
                }
            }
        }
    }
}

/// The table of remediations that exclude each other for one product.
fn exclude(a: &str, b: &str) -> bool {
    let soft = |c: &str| matches!(c, "workaround" | "mitigation");
    match (a, b) {
        _ if a == b || (soft(a) && soft(b)) => false,
        ("optional_patch" | "none_available", _) | (_, "optional_patch" | "none_available") => true,
        _ => !soft(a) && !soft(b),
    }
}

/// The table of remediations that a product in a status group must not have.
fn forbidden(remediation: &str, group: &str) -> bool {
    match remediation {
        "workaround" | "mitigation" | "vendor_fix" | "none_available" => matches!(group, "not affected" | "fixed"),
        "optional_patch" => group == "affected",
        "fix_planned" | "no_fix_planned" => group == "fixed",
        _ => false,
    }
}

pub(super) fn remediations(document: &Document, out: &mut Findings) {
    for (place, vulnerability) in document.vulnerabilities() {
        let groups = groups_of(vulnerability);
        let mut had: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (at, item) in list(vulnerability, "remediations").iter().enumerate() {
            let place = format!("{place}/remediations/{at}");
            let category = text(item, "category");
            for id in document.meant(item) {
                let had = had.entry(id).or_default();
                if let Some(other) = had.iter().find(|other| exclude(other, category)) {
                    out.add("6.1.35", place.clone(), format!("product `{}` has {category} and {other}", short(id)));
                }
                had.insert(category);
                if let Some(group) = groups.get(id).into_iter().flatten().find(|group| forbidden(category, group)) {
                    out.add("6.1.36", place.clone(), format!("product `{}` is {group} and has {category}", short(id)));
                }
            }
        }
    }
}
