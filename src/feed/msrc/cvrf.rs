//! CVRF documents of Microsoft's security update guide. JSON and XML say the same in two spellings: both are read into one shape, and that into advisories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::model::{Advisory, Affected, Fix, FixState, Restart, Score, Severity, Source, Target, Versions, Windows};
use super::super::{Reading, Sink, archive, cvss, time};
use super::{kb, kbs};
use crate::limits::Limits;
use crate::xml;

pub fn read(file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) {
    let wanted = |name: &str| name.ends_with(".json") || name.ends_with(".xml");
    archive::each_whole(file, bytes, limits, sink, &wanted, &mut |reading, bytes| {
        let xml = bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'<');
        let read = if xml { from_xml(reading, bytes) } else { serde_json::from_slice(bytes).map_err(|e| ("json", e.to_string())) };
        match read {
            Ok(document) => advisories(reading, &document),
            Err((code, why)) => reading.refuse(code, "", why),
        }
    });
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(default)]
    product_tree: Tree,
    #[serde(default)]
    vulnerability: Vec<Vulnerability>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Tree {
    full_product_name: Vec<FullName>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct FullName {
    #[serde(rename = "ProductID")]
    id: String,
    value: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Valued {
    value: Option<String>,
}

impl Valued {
    fn text(&self) -> &str {
        self.value.as_deref().unwrap_or("").trim()
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Vulnerability {
    #[serde(rename = "CVE")]
    cve: String,
    title: Valued,
    product_statuses: Vec<Products>,
    threats: Vec<Threat>,
    #[serde(rename = "CVSSScoreSets")]
    scores: Vec<ScoreSet>,
    remediations: Vec<Remediation>,
    revision_history: Vec<Revision>,
    #[serde(rename = "Notes")]
    _notes: IgnoredAny,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Products {
    #[serde(rename = "ProductID")]
    products: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Threat {
    description: Valued,
    #[serde(rename = "ProductID")]
    products: Vec<String>,
    /// 0 impact, 1 exploit status, 3 severity
    #[serde(rename = "Type")]
    kind: u8,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ScoreSet {
    vector: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Remediation {
    description: Valued,
    #[serde(rename = "URL")]
    url: Option<String>,
    supercedence: Option<String>,
    #[serde(rename = "ProductID")]
    products: Vec<String>,
    /// 2 vendor fix, 5 known issue
    #[serde(rename = "Type")]
    kind: u8,
    sub_type: Option<String>,
    fixed_build: Option<String>,
    restart_required: Valued,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Revision {
    date: String,
}

const VENDOR_FIX: u8 = 2;

type Failure = (&'static str, String);

fn from_xml(reading: &Reading, bytes: &[u8]) -> Result<Document, Failure> {
    let limits = Limits { content_bytes: reading.limits.feed_document_bytes, ..reading.limits.clone() };
    let text = xml::text(bytes, &limits).map_err(|e| ("xml", e.to_string()))?;
    let tree = xml::tree(&text, &limits).map_err(|e| ("xml", e.to_string()))?;
    let root = tree.root_element();
    if root.tag_name().name() != "cvrfdoc" {
        return Err(("xml", format!("the root is <{}>, not <cvrfdoc>", root.tag_name().name())));
    }
    let named =
        |node: roxmltree::Node, name: &str| node.descendants().filter(|n| n.tag_name().name() == name).map(|n| n.id()).collect::<Vec<_>>();
    let full_product_name = named(root, "FullProductName")
        .into_iter()
        .filter_map(|id| tree.get_node(id))
        .map(|n| FullName { id: n.attribute("ProductID").unwrap_or("").into(), value: n.text().unwrap_or("").into() })
        .collect();
    let vulnerability = root.children().filter(|n| n.tag_name().name() == "Vulnerability").map(vulnerability_of_xml).collect();
    Ok(Document { product_tree: Tree { full_product_name }, vulnerability })
}

fn child<'a>(node: roxmltree::Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.children().find(|n| n.tag_name().name() == name).and_then(|n| n.text())
}

fn vulnerability_of_xml(node: roxmltree::Node) -> Vulnerability {
    let all = |name: &'static str| node.descendants().filter(move |n| n.tag_name().name() == name);
    let valued = |node, name| Valued { value: child(node, name).map(Into::into) };
    let products = |node: roxmltree::Node| -> Vec<String> {
        let of = node.children().filter(|n| n.tag_name().name() == "ProductID").filter_map(|n| n.text());
        of.map(|t| t.trim().to_owned()).collect()
    };
    Vulnerability {
        cve: child(node, "CVE").unwrap_or("").into(),
        title: valued(node, "Title"),
        product_statuses: all("Status").map(|n| Products { products: products(n) }).collect(),
        threats: all("Threat")
            .map(|n| Threat {
                description: valued(n, "Description"),
                products: products(n),
                kind: match n.attribute("Type") {
                    Some("Exploit Status") => 1,
                    Some("Severity") => 3,
                    _ => 0,
                },
            })
            .collect(),
        scores: all("ScoreSet").map(|n| ScoreSet { vector: child(n, "Vector").map(Into::into) }).collect(),
        remediations: all("Remediation")
            .map(|n| Remediation {
                description: valued(n, "Description"),
                url: child(n, "URL").map(Into::into),
                supercedence: child(n, "Supercedence").map(Into::into),
                products: products(n),
                kind: if n.attribute("Type") == Some("Vendor Fix") { VENDOR_FIX } else { 5 },
                sub_type: child(n, "SubType").map(Into::into),
                fixed_build: child(n, "FixedBuild").map(Into::into),
                restart_required: valued(n, "RestartRequired"),
            })
            .collect(),
        revision_history: all("Revision").map(|n| Revision { date: child(n, "Date").unwrap_or("").into() }).collect(),
        _notes: IgnoredAny,
    }
}

fn advisories(reading: &mut Reading, document: &Document) {
    let names: BTreeMap<&str, Arc<str>> =
        document.product_tree.full_product_name.iter().map(|p| (&*p.id, Arc::from(p.value.trim()))).collect();
    for (at, vulnerability) in document.vulnerability.iter().enumerate() {
        let place = format!("/Vulnerability/{at}");
        if vulnerability.cve.is_empty() {
            reading.refuse("cvrf", &place, "a vulnerability without its CVE");
            continue;
        }
        let advisory = advisory(reading, vulnerability, &names, &place);
        reading.emit(advisory);
    }
}

fn advisory(reading: &mut Reading, v: &Vulnerability, names: &BTreeMap<&str, Arc<str>>, place: &str) -> Advisory {
    let mut out = Advisory::new(Source::Msrc, "Microsoft", &v.cve);
    out.title = v.title.text().into();
    out.references = vec![format!("https://msrc.microsoft.com/update-guide/vulnerability/{}", v.cve).into()];
    let dates = v.revision_history.iter().filter_map(|r| time::instant(&r.date));
    (out.published, out.modified) = (dates.clone().min(), dates.max());
    for vector in v.scores.iter().filter_map(|s| s.vector.as_deref()).filter(|v| !v.trim().is_empty()) {
        match cvss::Vector::parse(vector.trim()) {
            Ok(_) if out.scores.iter().any(|s| &*s.vector == vector.trim()) => {}
            Ok(_) => out.scores.push(Score { vector: vector.trim().into(), about: Vec::new(), by: "".into() }),
            Err(e) => reading.leave_out("cvss", place, e.to_string()),
        }
    }
    let mut severities: BTreeMap<&str, &str> = BTreeMap::new();
    for threat in &v.threats {
        match threat.kind {
            1 => exploit_status(&mut out, threat.description.text()),
            3 => severities.extend(threat.products.iter().map(|p| (p.as_str(), threat.description.text()))),
            _ => {}
        }
    }
    out.severity = severities.values().filter_map(|s| Severity::of(s)).max_by_key(|s| s.level);
    let mut fixed: BTreeSet<&str> = BTreeSet::new();
    for (at, remediation) in v.remediations.iter().enumerate().filter(|(_, r)| r.kind == VENDOR_FIX) {
        fixed.extend(remediation.products.iter().map(String::as_str));
        let place = format!("{place}/Remediations/{at}");
        let fix = fix(reading, remediation, &place);
        by_severity(reading, &mut out, &remediation.products, &severities, names, &place, FixState::Fixed, Some(&fix));
    }
    let known = v.product_statuses.iter().flat_map(|s| &s.products).filter(|p| !fixed.contains(p.as_str()));
    let open: BTreeSet<String> = known.cloned().collect();
    let open: Vec<String> = open.into_iter().collect();
    by_severity(reading, &mut out, &open, &severities, names, place, FixState::NoFix, None);
    out
}

/// `Publicly Disclosed:No;Exploited:Yes;Latest Software Release:...`
fn exploit_status(out: &mut Advisory, text: &str) {
    let says = |key: &str| {
        let value = text.split(';').filter_map(|p| p.split_once(':')).find(|(k, _)| k.trim().eq_ignore_ascii_case(key))?.1;
        match value.trim().to_ascii_lowercase().as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    };
    // A yes for any product stays one.
    let join = |old: Option<bool>, new: Option<bool>| old.max(new);
    out.exploitation.exploited = join(out.exploitation.exploited, says("Exploited"));
    out.exploitation.disclosed = join(out.exploitation.disclosed, says("Publicly Disclosed"));
}

fn fix(reading: &mut Reading, r: &Remediation, place: &str) -> Fix {
    let text = r.description.text();
    let kb = kb(text);
    let (supersedes, clean) = kbs(r.supercedence.as_deref().unwrap_or(""));
    if !clean {
        reading.note("cvrf", place, "Supercedence is not a list of KBs");
    }
    let build = r.fixed_build.as_deref().unwrap_or("").trim();
    let restart = match r.restart_required.text().to_ascii_lowercase().as_str() {
        "yes" => Some(Restart::Yes),
        "no" => Some(Restart::No),
        "maybe" => Some(Restart::Maybe),
        _ => None,
    };
    let kind = r.sub_type.as_deref().filter(|s| !s.is_empty()).unwrap_or(if kb.is_none() { text } else { "" });
    Fix {
        kb: kb.unwrap_or_default(),
        version: "".into(),
        build: build.into(),
        supersedes,
        kind: kind.into(),
        url: r.url.as_deref().unwrap_or("").into(),
        restart,
    }
}

#[expect(clippy::too_many_arguments, reason = "one call site for each of the two states")]
fn by_severity(
    reading: &mut Reading,
    out: &mut Advisory,
    products: &[String],
    severities: &BTreeMap<&str, &str>,
    names: &BTreeMap<&str, Arc<str>>,
    place: &str,
    state: FixState,
    fix: Option<&Fix>,
) {
    let mut groups: BTreeMap<&str, BTreeSet<Arc<str>>> = BTreeMap::new();
    for id in products {
        match names.get(id.as_str()) {
            Some(name) => {
                groups.entry(severities.get(id.as_str()).copied().unwrap_or("")).or_default().insert(name.clone());
            }
            None => reading.leave_out("cvrf", place, format!("product {id} is not in the product tree")),
        }
    }
    for (severity, products) in groups {
        let target = Target::Windows(Windows { products: products.into_iter().collect(), component: "".into() });
        let mut entry = Affected::new(target, Versions::all(None), state);
        entry.fixes.extend(fix.cloned());
        entry.severity = Severity::of(severity);
        out.affected.push(entry);
    }
}
