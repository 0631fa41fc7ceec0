//! CISA's catalogue of known exploited vulnerabilities: JSON in; for each CVE since when, until when, and whether ransomware uses it, out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Reading, Sink, archive, time};
use crate::limits::Limits;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    pub version: Box<str>,
    pub released: Option<Timestamp>,
    /// Sorted by CVE, each once.
    pub entries: Vec<Exploited>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exploited {
    pub cve: Box<str>,
    pub vendor: Box<str>,
    pub product: Box<str>,
    pub name: Box<str>,
    pub added: Option<Timestamp>,
    /// What federal agencies are bound to.
    pub due: Option<Timestamp>,
    pub ransomware: bool,
    pub action: Box<str>,
}

impl Catalog {
    pub fn get(&self, cve: &str) -> Option<&Exploited> {
        self.entries.binary_search_by(|e| (*e.cve).cmp(cve)).ok().and_then(|at| self.entries.get(at))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    catalog_version: String,
    #[serde(default)]
    date_released: String,
    count: Option<usize>,
    vulnerabilities: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Entry {
    #[serde(rename = "cveID")]
    cve: String,
    vendor_project: String,
    product: String,
    vulnerability_name: String,
    date_added: String,
    due_date: String,
    known_ransomware_campaign_use: String,
    required_action: String,
}

/// One catalogue; problems go to the sink, which gets no advisories from this.
pub fn read(file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) -> Catalog {
    let mut out = Catalog::default();
    archive::each_whole(file, bytes, limits, sink, &archive::is_json, &mut |reading, bytes| match serde_json::from_slice(bytes) {
        Ok(document) => fill(reading, document, &mut out),
        Err(e) => reading.refuse("json", "", e.to_string()),
    });
    out
}

fn fill(reading: &mut Reading, document: Document, out: &mut Catalog) {
    if let Some(count) = document.count.filter(|c| *c != document.vulnerabilities.len()) {
        reading.note("kev", "/count", format!("says {count}, and there are {}", document.vulnerabilities.len()));
    }
    out.version = document.catalog_version.as_str().into();
    out.released = time::instant(&document.date_released);
    for (at, value) in document.vulnerabilities.into_iter().enumerate() {
        let place = format!("/vulnerabilities/{at}");
        if at >= reading.limits.feed_advisories {
            return reading.refuse("limit", &place, format!("over {at} entries (limits.feed_advisories)"));
        }
        match serde_json::from_value::<Entry>(value) {
            Ok(entry) if entry.cve.starts_with("CVE-") => out.entries.push(Exploited {
                cve: entry.cve.as_str().into(),
                vendor: entry.vendor_project.into(),
                product: entry.product.into(),
                name: entry.vulnerability_name.into(),
                added: time::instant(&entry.date_added),
                due: time::instant(&entry.due_date),
                ransomware: entry.known_ransomware_campaign_use.eq_ignore_ascii_case("known"),
                action: entry.required_action.into(),
            }),
            Ok(entry) => reading.refuse("kev", &place, format!("`{}` is no CVE", super::json::short(&entry.cve))),
            Err(e) => reading.refuse("kev", &place, e.to_string()),
        }
    }
    out.entries.sort_by(|a, b| a.cve.cmp(&b.cve).then(a.added.cmp(&b.added)));
    out.entries.dedup_by(|a, b| a.cve == b.cve);
}
