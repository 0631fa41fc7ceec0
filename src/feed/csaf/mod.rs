//! CSAF 2.0 and 2.1, security advisories and VEX: a JSON document, or an archive of such, in; one advisory for each document out.
//!
//! A document is first held against the standard's mandatory tests (`check`); one that fails any is refused whole, with the number of the test. Then each
//! product that a vulnerability names is resolved through branches, relationships and product paths (`product`), and equal statements about several CVEs
//! become one [`Affected`].

mod check;
mod document;
mod product;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::json::{list, text, texts};
use super::model::{Advisory, Affected, Fix, FixState, Restart, Score, Severity, Source, Target, Versions};
use super::{Reading, Sink, archive, cvss, time};
use crate::limits::Limits;
use document::Document;
use product::Resolved;
pub(super) use product::of_package_url;

pub fn read(file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) {
    archive::each_whole(file, bytes, limits, sink, &archive::is_json, &mut |reading, bytes| one(reading, bytes));
}

fn one(reading: &mut Reading, bytes: &[u8]) {
    let root: Value = match serde_json::from_slice(bytes) {
        Ok(root) => root,
        Err(e) => return reading.refuse("json", "", e.to_string()),
    };
    // Archives and folders of CSAF have their ROLIE feeds and provider metadata among the documents.
    if root.get("document").is_none() && (root.get("feed").is_some() || root.get("metadata_version").is_some()) {
        return reading.note("csaf", "", "a list of documents, not a document");
    }
    if let Err((place, why)) = check::shape(&root) {
        return reading.refuse("csaf", &place, why);
    }
    let v21 = root.pointer("/document/csaf_version").and_then(Value::as_str) == Some("2.1");
    let document = Document::of(&root, v21);
    let most = reading.limits.feed_affected.saturating_mul(10);
    if document.spread() > most {
        return reading.refuse(
            "limit",
            "/product_tree",
            format!("product groups stand for over {most} products (ten times limits.feed_affected)"),
        );
    }
    let findings = check::all(&document).0;
    if findings.is_empty() {
        let advisory = advisory(reading, &document);
        return reading.emit(advisory);
    }
    for finding in findings {
        reading.refuse(finding.code, &finding.place, finding.message);
    }
}

fn advisory(reading: &mut Reading, document: &Document) -> Advisory {
    let (head, tracking) = (document.document(), document.tracking());
    let publisher = head.get("publisher").map_or("", |p| text(p, "name"));
    let mut out = Advisory::new(Source::Csaf, publisher, text(tracking, "id"));
    out.title = text(head, "title").into();
    let summary = list(head, "notes").iter().find(|n| matches!(text(n, "category"), "summary" | "description"));
    out.summary = summary.map_or("", |n| text(n, "text")).into();
    out.severity = head.get("aggregate_severity").and_then(|s| Severity::of(text(s, "text")));
    out.published = time::instant(text(tracking, "initial_release_date"));
    out.modified = time::instant(text(tracking, "current_release_date"));
    if matches!(document.category, "csaf_withdrawn" | "csaf_superseded") {
        out.withdrawn = out.modified.or(Some(jiff::Timestamp::UNIX_EPOCH));
    }
    out.references = list(head, "references").iter().map(|r| text(r, "url")).filter(|u| !u.is_empty()).map(Into::into).collect();
    let resolver = product::Resolver::of(document);
    let mut entries = Entries::default();
    for (place, vulnerability) in document.vulnerabilities() {
        let ids = list(vulnerability, "ids").iter().map(|id| text(id, "text"));
        let names: Vec<Box<str>> =
            std::iter::once(text(vulnerability, "cve")).chain(ids).filter(|n| !n.is_empty()).map(Into::into).collect();
        let about = names.first().cloned().unwrap_or_else(|| text(vulnerability, "title").into());
        out.aliases.extend(names);
        scores(reading, &mut out, vulnerability, &about, &place);
        let exploited = list(vulnerability, "threats").iter().filter(|t| text(t, "category") == "exploit_status");
        out.exploitation.exploits.extend(exploited.map(|t| text(t, "details").into()));
        if !list(vulnerability, "first_known_exploitation_dates").is_empty() {
            out.exploitation.exploited = Some(true);
        }
        statements(document, &resolver, vulnerability, &about, &mut entries);
    }
    out.exploitation.exploits.sort();
    out.exploitation.exploits.dedup();
    out.affected = entries.merged();
    out
}

fn scores(reading: &mut Reading, out: &mut Advisory, vulnerability: &Value, about: &str, place: &str) {
    for (at, metric, content) in check::metrics(vulnerability) {
        for kind in ["cvss_v2", "cvss_v3", "cvss_v4"] {
            let vector = content.get(kind).map_or("", |c| text(c, "vectorString"));
            if vector.is_empty() {
                continue;
            }
            let score = Score { vector: vector.into(), about: vec![about.into()], by: text(metric, "source").into() };
            match cvss::Vector::parse(vector) {
                Ok(_) if out.scores.contains(&score) => {}
                Ok(_) => out.scores.push(score),
                Err(e) => reading.leave_out("cvss", &format!("{place}{at}"), e.to_string()),
            }
        }
    }
}

/// What is said of products, before equal statements are joined.
#[derive(Default)]
struct Entries {
    about: BTreeMap<Statement, Names>,
}

/// CVEs, or architectures.
type Names = BTreeSet<Box<str>>;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Statement {
    target: Target,
    versions: Versions,
    state: FixState,
    fixes: Vec<Fix>,
    severity: Option<Severity>,
    reason: Box<str>,
}

impl Entries {
    fn merged(self) -> Vec<Affected> {
        // The same of several architectures is one statement with all of them.
        let mut joined: BTreeMap<(Statement, Names), Names> = BTreeMap::new();
        for (mut statement, about) in self.about {
            let arches = match &mut statement.target {
                Target::Package(package) => std::mem::take(&mut package.arches),
                Target::Product(product) => std::mem::take(&mut product.arches),
                Target::Windows(_) => Vec::new(),
            };
            let arches = if arches.is_empty() { vec!["".into()] } else { arches };
            joined.entry((statement, about)).or_default().extend(arches);
        }
        let whole = |((statement, about), arches): ((Statement, Names), Names)| {
            let Statement { mut target, versions, state, fixes, severity, reason } = statement;
            // An entry without a condition on the architecture is for all of them.
            let arches = if arches.contains("") { Vec::new() } else { arches.into_iter().collect() };
            match &mut target {
                Target::Package(package) => package.arches = arches,
                Target::Product(product) => product.arches = arches,
                Target::Windows(_) => {}
            }
            let about = about.into_iter().collect();
            Affected { target, versions, state, about, fixes, severity, published: None, reason }
        };
        joined.into_iter().map(whole).collect()
    }
}

const STATUSES: [(&str, FixState); 7] = [
    ("known_affected", FixState::NoFix),
    ("first_affected", FixState::NoFix),
    ("last_affected", FixState::NoFix),
    ("fixed", FixState::Fixed),
    ("first_fixed", FixState::Fixed),
    ("known_not_affected", FixState::NotAffected),
    ("under_investigation", FixState::UnderInvestigation),
];

fn statements(document: &Document, resolver: &product::Resolver, vulnerability: &Value, about: &str, entries: &mut Entries) {
    let status = vulnerability.get("product_status").unwrap_or(&Value::Null);
    let remediations = About::of(document, list(vulnerability, "remediations"));
    let threats = About::of(document, list(vulnerability, "threats"));
    let flags = About::of(document, list(vulnerability, "flags"));
    // A fixed version of a product that has no order of its own is what ends the affected ones beside it.
    let mut cures: BTreeMap<(&str, &str), Vec<Fix>> = BTreeMap::new();
    for (_, id) in ["fixed", "first_fixed"].iter().flat_map(|key| texts(status, key)) {
        if let Some(Resolved { target: Target::Product(product), versions, .. }) = resolver.get(id) {
            let fixes = versions.exact.iter().map(|v| Fix { version: v.clone(), kind: "vendor_fix".into(), ..Fix::default() });
            cures.entry((&product.vendor, &product.name)).or_default().extend(fixes);
        }
    }
    for (key, state) in STATUSES {
        for (_, id) in texts(status, key) {
            let Some(resolved) = resolver.get(id) else { continue };
            let (versions, mut fixes) = match (state, &resolved.target) {
                (FixState::Fixed, Target::Package(_)) => resolved.lacking(),
                (FixState::Fixed, _) => continue,
                _ => (resolved.versions.clone(), Vec::new()),
            };
            let said = remediations.get(id);
            let of = |category: &str| said.iter().find(|r| text(r, "category") == category);
            let mut state = state;
            if state == FixState::NoFix {
                fixes.extend(said.iter().filter(|r| text(r, "category") == "vendor_fix").map(|r| fix(r)));
                if let Target::Product(product) = &resolved.target {
                    fixes.extend(cures.get(&(&*product.vendor, &*product.name)).into_iter().flatten().cloned());
                }
                state = match (fixes.is_empty(), of("no_fix_planned")) {
                    (false, _) => FixState::Fixed,
                    (true, Some(_)) => FixState::WillNotFix,
                    (true, None) => FixState::NoFix,
                };
            } else if state == FixState::Fixed {
                add_remedies(&mut fixes, said);
            }
            fixes.sort();
            fixes.dedup();
            let impact = threats.get(id).iter().find(|t| text(t, "category") == "impact").map_or("", |t| text(t, "details"));
            let reason = match state {
                FixState::NotAffected => flags.get(id).first().map_or(impact, |f| text(f, "label")),
                FixState::WillNotFix | FixState::NoFix => {
                    ["no_fix_planned", "none_available", "fix_planned"].iter().find_map(|c| of(c)).map_or("", |r| text(r, "details"))
                }
                _ => "",
            };
            let severity = if state == FixState::NotAffected { None } else { Severity::of(impact).filter(|s| s.level.is_some()) };
            let statement = Statement { target: resolved.target.clone(), versions, state, fixes, severity, reason: reason.into() };
            entries.about.entry(statement).or_default().insert(about.into());
        }
    }
}

/// Items by the product that they are about, directly or through groups.
struct About<'v> {
    by_product: BTreeMap<&'v str, Vec<&'v Value>>,
    /// Those that name no product, as threats of 2.0 may: they are about what has nothing of its own.
    general: Vec<&'v Value>,
}

impl<'v> About<'v> {
    fn of(document: &Document<'v>, items: &'v [Value]) -> About<'v> {
        let mut out = About { by_product: BTreeMap::new(), general: Vec::new() };
        for item in items {
            if item.get("product_ids").is_none() && item.get("group_ids").is_none() {
                out.general.push(item);
            }
            document.meant(item).into_iter().for_each(|id| out.by_product.entry(id).or_default().push(item));
        }
        out
    }

    fn get(&self, id: &str) -> &[&'v Value] {
        self.by_product.get(id).unwrap_or(&self.general)
    }
}

fn fix(remediation: &Value) -> Fix {
    let restart = remediation.get("restart_required").map(|r| text(r, "category"));
    Fix {
        kind: text(remediation, "category").into(),
        url: text(remediation, "url").into(),
        restart: restart.and_then(restart_of),
        ..Fix::default()
    }
}

fn restart_of(category: &str) -> Option<Restart> {
    match category {
        "" => None,
        "none" => Some(Restart::No),
        _ => Some(Restart::Yes),
    }
}

/// What the remediations add to a fix that is known by its version.
fn add_remedies(fixes: &mut [Fix], remediations: &[&Value]) {
    let Some(remedy) = remediations.iter().find(|r| text(r, "category") == "vendor_fix").map(|r| fix(r)) else { return };
    for fix in fixes {
        fix.kind = remedy.kind.clone();
        fix.url = remedy.url.clone();
        fix.restart = remedy.restart;
    }
}

#[cfg(test)]
mod tests;
