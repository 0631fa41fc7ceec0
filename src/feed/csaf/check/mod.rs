//! What must hold of a CSAF document before anything is believed of it: the mandatory tests of CSAF 2.0 and 2.1, section 6.1, by their own numbers.
//!
//! Not tested, because it needs registries that are no part of the document and says nothing of patches: names of CWEs (6.1.11), decision points of SSVC (6.1.48),
//! listed licenses (a part of 6.1.55), schemas and metadata of extensions (6.1.60.2, 6.1.60.3).

mod extras;
mod form;
mod history;
mod products;
mod profile;
mod scores;
mod status;

pub(super) use scores::metrics;

use serde_json::Value;

use super::super::json::text;
use super::document::Document;

/// A test that failed: its number, where, why.
pub(super) struct Finding {
    pub code: &'static str,
    pub place: String,
    pub message: String,
}

#[derive(Default)]
pub(super) struct Findings(pub Vec<Finding>);

impl Findings {
    fn add(&mut self, code: &'static str, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { code, place: place.into(), message: message.into() });
    }
}

type Test = fn(&Document, &mut Findings);

const BOTH: &[Test] = &[
    products::missing,
    products::twice,
    products::circular,
    products::groups,
    products::groups_twice,
    products::purls,
    products::hashes,
    products::version_ranges,
    status::contradicting,
    status::cve_twice,
    status::involvements,
    status::without_product,
    status::several_flags,
    scores::same_version,
    scores::invalid,
    form::languages,
    form::translator,
    form::category,
    history::revisions,
    profile::notes_and_references,
    profile::vulnerabilities,
    profile::vex,
];

const ONLY_21: &[Test] = &[
    products::depth,
    products::same_purls,
    products::stars,
    products::range_rules,
    products::stacked,
    status::remediations,
    form::dates,
    form::sharing_group,
    history::newer_than_history,
    scores::qualitative,
    profile::withdrawn_and_superseded,
    profile::affected_products,
    extras::ssvc,
    extras::license,
    extras::extensions,
];

pub(super) fn all(document: &Document) -> Findings {
    let mut out = Findings::default();
    for test in BOTH {
        test(document, &mut out);
    }
    if document.v21 {
        for test in ONLY_21 {
            test(document, &mut out);
        }
    }
    out
}

/// What the schema asks for and everything else stands on. Found missing, no test means anything.
pub(super) fn shape(root: &Value) -> Result<(), (String, String)> {
    let document = root.get("document").ok_or_else(|| ("/document".to_owned(), "is missing: this is no CSAF document".to_owned()))?;
    let version = text(document, "csaf_version");
    if !matches!(version, "2.0" | "2.1") {
        return Err(("/document/csaf_version".into(), format!("`{version}` is not known here, 2.0 and 2.1 are")));
    }
    for key in ["category", "title"] {
        if text(document, key).is_empty() {
            return Err((format!("/document/{key}"), "is missing".into()));
        }
    }
    let tracking = document.get("tracking").unwrap_or(&Value::Null);
    for key in ["id", "status", "version", "current_release_date", "initial_release_date"] {
        if text(tracking, key).is_empty() {
            return Err((format!("/document/tracking/{key}"), "is missing".into()));
        }
    }
    if !matches!(text(tracking, "status"), "draft" | "interim" | "final") {
        return Err(("/document/tracking/status".into(), "is none of draft, interim and final".into()));
    }
    Ok(())
}
