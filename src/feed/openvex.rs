//! OpenVEX documents (Ubuntu's among them): statements about package URLs in, an advisory for each vulnerability out.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{list, short, text, texts};
use super::model::{Advisory, Affected, Fix, FixState, Source, Target, Versions};
use super::purl::Purl;
use super::{Reading, Sink, archive, csaf, time};
use crate::limits::Limits;

pub fn read(file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) {
    archive::each_whole(file, bytes, limits, sink, &archive::is_json, &mut |reading, bytes| match serde_json::from_slice(bytes) {
        Ok(root) => document(reading, &root),
        Err(e) => reading.refuse("json", "", e.to_string()),
    });
}

fn document(reading: &mut Reading, root: &Value) {
    if !text(root, "@context").starts_with("https://openvex.dev/ns") {
        return reading.refuse("openvex", "/@context", "does not name https://openvex.dev/ns: this is no OpenVEX document");
    }
    let author = text(root, "author");
    let mut by_id: BTreeMap<&str, Advisory> = BTreeMap::new();
    for (at, statement) in list(root, "statements").iter().enumerate() {
        let place = format!("/statements/{at}");
        // Before 0.2.0 the vulnerability was a text.
        let vulnerability = statement.get("vulnerability").unwrap_or(&Value::Null);
        let id = vulnerability.as_str().unwrap_or_else(|| match text(vulnerability, "name") {
            "" => text(vulnerability, "@id"),
            name => name,
        });
        if id.is_empty() {
            reading.refuse("openvex", &place, "a statement without a vulnerability");
            continue;
        }
        let Some(state) = state(statement) else {
            reading.leave_out("openvex", &place, format!("status `{}` is not known here", short(text(statement, "status"))));
            continue;
        };
        let advisory = by_id.entry(id).or_insert_with(|| Advisory::new(Source::OpenVex, author, id));
        advisory.aliases.extend(texts(vulnerability, "aliases").map(|(_, a)| a.into()));
        if advisory.summary.is_empty() {
            advisory.summary = text(vulnerability, "description").into();
        }
        let url = text(vulnerability, "@id");
        if url.starts_with("http") {
            advisory.references.push(url.into());
        }
        let times = [statement, root].map(|of| time::instant(text(of, "timestamp")));
        let first = times.iter().flatten().min();
        advisory.published = [advisory.published.as_ref(), first].into_iter().flatten().min().copied();
        let last =
            [statement, root].into_iter().find_map(|of| time::instant(text(of, "last_updated"))).or(times.iter().flatten().max().copied());
        advisory.modified = advisory.modified.max(last);
        for (at, product) in list(statement, "products").iter().enumerate() {
            about(reading, advisory, statement, product, state, &format!("{place}/products/{at}"));
        }
    }
    by_id.into_values().for_each(|advisory| reading.emit(advisory));
}

fn state(statement: &Value) -> Option<FixState> {
    match text(statement, "status") {
        "not_affected" => Some(FixState::NotAffected),
        "affected" => Some(FixState::NoFix),
        "fixed" => Some(FixState::Fixed),
        "under_investigation" => Some(FixState::UnderInvestigation),
        _ => None,
    }
}

fn about(reading: &mut Reading, advisory: &mut Advisory, statement: &Value, product: &Value, state: FixState, place: &str) {
    // With subcomponents it is they that are affected, inside of the product.
    let inner = list(product, "subcomponents");
    let named: Vec<&Value> = if inner.is_empty() { vec![product] } else { inner.iter().collect() };
    for item in named {
        let identifiers = item.get("identifiers").unwrap_or(&Value::Null);
        let candidates = [text(identifiers, "purl"), item.as_str().unwrap_or_else(|| text(item, "@id"))];
        let Some(written) = candidates.into_iter().find(|c| c.starts_with("pkg:")) else {
            reading.leave_out("openvex", place, "names its product by no package URL");
            continue;
        };
        let purl = match Purl::parse(written) {
            Ok(purl) => purl,
            Err(why) => {
                reading.leave_out("purl", place, format!("`{}` is no package URL: {why}", short(written)));
                continue;
            }
        };
        let Some((target, versions, version)) = csaf::of_package_url(&purl) else {
            reading.leave_out("purl", place, format!("`{}` is no package of a system", short(written)));
            continue;
        };
        let mut entry = Affected::new(target, versions, state);
        judged(&mut entry, &version);
        let justification = text(statement, "justification");
        entry.reason = if justification.is_empty() { text(statement, "impact_statement") } else { justification }.into();
        if entry.reason.is_empty() && state == FixState::NoFix {
            entry.reason = text(statement, "action_statement").into();
        }
        if !advisory.affected.contains(&entry) {
            advisory.affected.push(entry);
        }
    }
}

/// A distribution's package that is fixed in a version lacks the fix in those before it. One that is affected in the archive's present
/// version, as Ubuntu lists it, is so in the older ones that are installed.
fn judged(entry: &mut Affected, version: &str) {
    let Target::Package(package) = &entry.target else { return };
    let Some(scheme) = entry.versions.scheme else { return };
    if version.is_empty() {
        return;
    }
    match entry.state {
        FixState::Fixed => {
            entry.versions = Versions::before(scheme, version);
            entry.fixes.push(Fix { version: version.into(), ..Fix::default() });
        }
        FixState::NoFix if package.platform.is_some() => entry.versions = Versions::all(Some(scheme)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Batch;
    use crate::feed::model::{PackageKind, Platform};

    #[test]
    fn a_document_as_ubuntu_writes_it() {
        let json = r#"{"@context":"https://openvex.dev/ns/v0.2.0","author":"Canonical Ltd.","timestamp":"2024-05-01T00:00:00Z","statements":[
          {"vulnerability":{"@id":"https://ubuntu.com/security/CVE-2024-1","name":"CVE-2024-1","description":"d"},"status":"fixed",
           "products":[{"@id":"pkg:deb/ubuntu/bash@5.0-6ubuntu1.2?arch=source&distro=focal"},{"@id":"pkg:deb/ubuntu/bash@5.0-6ubuntu1.2?arch=amd64&distro=esm-infra/focal"}]},
          {"vulnerability":{"name":"CVE-2024-1"},"status":"affected","products":[{"@id":"pkg:deb/ubuntu/bash@4.4?arch=source&distro=bionic"}]},
          {"vulnerability":{"name":"CVE-2024-1"},"status":"not_affected","justification":"vulnerable_code_not_present","products":[{"@id":"pkg:deb/ubuntu/bash?arch=source&distro=noble"},{"@id":"urn:x"}]},
          {"vulnerability":{},"status":"fixed"},{"vulnerability":{"name":"CVE-2"},"status":"odd"}]}"#;
        let limits = Limits::default();
        let mut batch = Batch::new(&limits);
        read("v.json", json.as_bytes(), &limits, &mut batch);
        let a = &batch.advisories[0];
        assert_eq!((&*a.id, a.affected.len(), batch.advisories.len()), ("CVE-2024-1", 4, 1));
        let Target::Package(p) = &a.affected[0].target else { panic!() };
        assert_eq!((p.kind, p.platform.clone()), (PackageKind::Source, Some(Platform::new("ubuntu", "20.04", ""))));
        assert_eq!(a.affected[0].versions.contains("5.0-6ubuntu1.1"), Some(true));
        assert_eq!(a.affected[0].versions.contains("5.0-6ubuntu1.2"), Some(false));
        let Target::Package(pro) = &a.affected[1].target else { panic!() };
        assert_eq!((pro.arches.len(), pro.platform.clone()), (1, Some(Platform::new("ubuntu", "20.04", "esm-infra"))));
        assert_eq!(a.affected[2].versions.contains("4.3"), Some(true));
        assert_eq!((a.affected[3].state, &*a.affected[3].reason), (FixState::NotAffected, "vulnerable_code_not_present"));
        assert_eq!(batch.problems.len(), 3);
    }
}
