//! OSV (schema 1.7 and before): JSON of one vulnerability, or an archive of such, in; advisories out.
//!
//! The events of a range become intervals here, sorted by the ecosystem's own order, as the schema's evaluation algorithm reads them.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::model::{Advisory, Affected, End, Fix, FixState, Module, Package, Range, Score, Severity, Source, Start, Target, Versions};
use super::{Reading, Sink, archive, cvss, ecosystem, redhat, time, ubuntu};
use crate::limits::Limits;
use crate::version::Scheme;

/// Reads one document or an archive of documents.
pub fn read(file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) {
    archive::each_whole(file, bytes, limits, sink, &archive::is_json, &mut |reading, bytes| document(reading, bytes));
}

#[derive(Deserialize)]
pub(super) struct Vulnerability<'a> {
    #[serde(borrow, default)]
    schema_version: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    modified: Cow<'a, str>,
    #[serde(borrow, default)]
    published: Cow<'a, str>,
    #[serde(borrow, default)]
    withdrawn: Cow<'a, str>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    upstream: Vec<String>,
    #[serde(default)]
    related: Vec<String>,
    #[serde(borrow, default)]
    summary: Cow<'a, str>,
    #[serde(borrow, default)]
    details: Cow<'a, str>,
    #[serde(default)]
    severity: Vec<Grade>,
    #[serde(default)]
    affected: Vec<Product>,
    #[serde(default)]
    references: Vec<Reference>,
    #[serde(default)]
    database_specific: Value,
}

#[derive(Deserialize)]
struct Grade {
    #[serde(rename = "type")]
    kind: String,
    score: String,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    url: String,
}

#[derive(Deserialize)]
pub(super) struct Product {
    package: Option<Name>,
    #[serde(default)]
    severity: Vec<Grade>,
    #[serde(default)]
    ranges: Vec<Span>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    pub(super) ecosystem_specific: Value,
}

#[derive(Deserialize)]
struct Name {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct Span {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
    limit: Option<String>,
}

fn document(reading: &mut Reading, bytes: &[u8]) {
    let read: Vulnerability = match serde_json::from_slice(bytes) {
        Ok(read) => read,
        Err(e) => return reading.refuse("json", "", e.to_string()),
    };
    if read.id.is_empty() {
        return reading.refuse("osv", "/id", "an advisory needs an id");
    }
    let major = read.schema_version.split('.').next().unwrap_or("");
    if !matches!(major, "" | "1") {
        return reading.refuse("osv", "/schema_version", format!("schema {} is not known here, 1 is", read.schema_version));
    }
    let publisher = read.affected.first().and_then(|a| a.package.as_ref()).map_or("", |p| &p.ecosystem);
    let mut out = Advisory::new(Source::Osv, publisher.split(':').next().unwrap_or(""), &read.id);
    let mut instant = |text: &str, place| {
        let at = time::instant(text);
        if at.is_none() && !text.is_empty() {
            reading.note("date", place, format!("`{text}` is no RFC 3339 instant"));
        }
        at
    };
    out.published = instant(&read.published, "/published");
    out.modified = instant(&read.modified, "/modified");
    out.withdrawn = instant(&read.withdrawn, "/withdrawn");
    if !read.withdrawn.is_empty() && out.withdrawn.is_none() {
        // It was withdrawn whenever it was: firing on would be the worse mistake.
        out.withdrawn = out.modified.or(Some(jiff::Timestamp::UNIX_EPOCH));
    }
    out.title = read.summary.as_ref().into();
    out.summary = read.details.as_ref().into();
    // The upstream CVEs are what a distribution's advisory is about, as aliases are. AlmaLinux and Rocky name them as related.
    let cves_of_distribution = |id: &String| id.starts_with("CVE-");
    let (about, near): (Vec<String>, Vec<String>) = read.related.iter().cloned().partition(cves_of_distribution);
    out.aliases = read.aliases.iter().chain(&read.upstream).chain(&about).map(|a| a.as_str().into()).collect();
    out.related = near.iter().map(|a| a.as_str().into()).collect();
    out.references = read.references.iter().filter(|r| !r.url.is_empty()).map(|r| r.url.as_str().into()).collect();
    grades(reading, &mut out, &read.severity, "/severity");
    if out.severity.is_none() {
        out.severity = read.database_specific.get("severity").and_then(Value::as_str).and_then(Severity::of);
    }
    if out.severity.is_none() {
        // `Important: nodejs:20 security update`
        let word = out.title.split_once(':').map_or("", |(word, _)| word);
        out.severity = Severity::of(word).filter(|s| s.level.is_some());
    }
    for (at, product) in read.affected.iter().enumerate() {
        affected(reading, &mut out, product, &format!("/affected/{at}"));
    }
    reading.emit(out);
}

fn grades(reading: &mut Reading, out: &mut Advisory, grades: &[Grade], place: &str) {
    for grade in grades {
        match grade.kind.as_str() {
            "CVSS_V2" | "CVSS_V3" | "CVSS_V4" => match cvss::Vector::parse(&grade.score) {
                Ok(_) => {
                    let score = Score { vector: grade.score.as_str().into(), about: Vec::new(), by: "".into() };
                    if !out.scores.contains(&score) {
                        out.scores.push(score);
                    }
                }
                Err(e) => reading.leave_out("cvss", place, e.to_string()),
            },
            // `Ubuntu`, and whatever else a publisher grades by.
            _ => out.severity = Severity::of(&grade.score).or(out.severity.take()),
        }
    }
}

fn affected(reading: &mut Reading, out: &mut Advisory, product: &Product, place: &str) {
    let Some(name) = product.package.as_ref().filter(|n| !n.name.is_empty()) else {
        return reading.note("osv", place, "names no package, only a repository");
    };
    let ecosystem = ecosystem::of(&name.ecosystem);
    if ecosystem.scheme.is_none() && !product.ranges.is_empty() {
        reading.note("ecosystem", place, format!("the order of versions of ecosystem `{}` is not known here", name.ecosystem));
    }
    grades(reading, out, &product.severity, place);
    let mut versions = Versions { scheme: ecosystem.scheme, ..Versions::default() };
    let mut semver = Versions { scheme: Some(Scheme::Semver), ..Versions::default() };
    let mut git = false;
    for span in &product.ranges {
        match span.kind.as_str() {
            "SEMVER" => intervals(&span.events, Some(Scheme::Semver), &mut semver.ranges),
            "ECOSYSTEM" => intervals(&span.events, ecosystem.scheme, &mut versions.ranges),
            "GIT" => git = true,
            other => reading.leave_out("osv", place, format!("range of unknown type `{other}`")),
        }
    }
    versions.exact = product.versions.iter().map(|v| v.as_str().into()).collect();
    versions.exact.sort();
    versions.exact.dedup();
    if git && versions.ranges.is_empty() && semver.ranges.is_empty() && versions.exact.is_empty() {
        return reading.note("osv", place, "has only commits: no version of a package to compare");
    }
    let target = |module: Option<Module>| {
        Target::Package(Package {
            ecosystem: Arc::from(name.ecosystem.as_str()),
            platform: ecosystem.platform.clone(),
            kind: ecosystem.kind,
            name: name.name.as_str().into(),
            arches: Vec::new(),
            module,
        })
    };
    for versions in [versions, semver] {
        if versions.ranges.is_empty() && versions.exact.is_empty() {
            continue;
        }
        let fixes = fixes(&versions);
        let state = if fixes.is_empty() && versions.ranges.iter().any(|r| r.end == End::Open) { FixState::NoFix } else { FixState::Fixed };
        for module in modules(&fixes, &out.title, ecosystem.scheme) {
            let mut entry = Affected::new(target(module), versions.clone(), state);
            entry.fixes.clone_from(&fixes);
            ubuntu::refine(&mut entry, product);
            out.affected.push(entry);
        }
    }
}

/// OSV has no field for the module of an rpm: that there is one stands in the fixed version, which one in the title.
fn modules(fixes: &[Fix], title: &str, scheme: Option<Scheme>) -> Vec<Option<Module>> {
    if scheme == Some(Scheme::Rpm) && fixes.iter().any(|f| redhat::is_modular(&f.version)) {
        redhat::modules_of_title(title).into_iter().map(Some).collect()
    } else {
        vec![None]
    }
}

fn fixes(versions: &Versions) -> Vec<Fix> {
    let ends = versions.ranges.iter().filter_map(|r| match &r.end {
        End::Before(version) => Some(Fix { version: version.clone(), ..Fix::default() }),
        _ => None,
    });
    ends.collect()
}

/// Sorted events, read as switches: introduced turns on, fixed and last_affected turn off. "0" is before all versions.
fn intervals(events: &[Event], scheme: Option<Scheme>, out: &mut Vec<Range>) {
    enum Switch<'e> {
        On,
        Before(&'e str),
        Through(&'e str),
    }
    let mut switches: Vec<(&str, Switch)> = Vec::new();
    let mut limits: Vec<&str> = Vec::new();
    for event in events {
        if let Some(v) = &event.introduced {
            switches.push((v, Switch::On));
        }
        if let Some(v) = &event.fixed {
            switches.push((v, Switch::Before(v)));
        }
        if let Some(v) = &event.last_affected {
            switches.push((v, Switch::Through(v)));
        }
        limits.extend(event.limit.as_deref().filter(|l| *l != "*"));
    }
    let order = |a: &str, b: &str| match (a == "0", b == "0", scheme) {
        (true, true, _) | (_, _, None) => std::cmp::Ordering::Equal,
        (true, false, _) => std::cmp::Ordering::Less,
        (false, true, _) => std::cmp::Ordering::Greater,
        (_, _, Some(scheme)) => scheme.compare(a, b),
    };
    // Stable: of events at one version the document's order decides; without a known order of versions it decides everywhere.
    switches.sort_by(|a, b| order(a.0, b.0));
    // A version past every limit is out.
    let limit = limits.into_iter().max_by(|a, b| order(a, b));
    let end = |end: End| match (limit, end) {
        (Some(limit), End::Open) => End::Before(limit.into()),
        (Some(limit), End::Before(v)) if order(limit, &v).is_lt() => End::Before(limit.into()),
        (Some(limit), End::Through(v)) if order(limit, &v).is_le() => End::Before(limit.into()),
        (_, end) => end,
    };
    let mut on: Option<&str> = None;
    let mut close = |on: &mut Option<&str>, last: End| {
        if let Some(from) = on.take() {
            let start = if from == "0" { Start::Open } else { Start::At(from.into()) };
            out.push(Range { start, end: end(last) });
        }
    };
    for (version, switch) in switches {
        match switch {
            Switch::On => on = on.or(Some(version)),
            Switch::Before(v) => close(&mut on, End::Before(v.into())),
            Switch::Through(v) => close(&mut on, End::Through(v.into())),
        }
    }
    close(&mut on, End::Open);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Batch;

    fn one(json: &str) -> Batch {
        let limits = Limits::default();
        let mut batch = Batch::new(&limits);
        read("x.json", json.as_bytes(), &limits, &mut batch);
        batch
    }

    fn ranges(events: &str) -> Vec<String> {
        let json = format!(
            r#"{{"id":"A","affected":[{{"package":{{"ecosystem":"npm","name":"p"}},"ranges":[{{"type":"SEMVER","events":{events}}}]}}]}}"#
        );
        let batch = one(&json);
        assert_eq!(batch.problems, []);
        let show = |r: &Range| {
            let from = match &r.start {
                Start::Open => "",
                Start::At(v) | Start::After(v) => v,
            };
            match &r.end {
                End::Open => format!("[{from},"),
                End::Before(v) => format!("[{from},{v})"),
                End::Through(v) => format!("[{from},{v}]"),
            }
        };
        batch.advisories[0].affected.iter().flat_map(|a| &a.versions.ranges).map(show).collect()
    }

    #[test]
    fn events_become_intervals_whatever_their_order() {
        assert_eq!(ranges(r#"[{"introduced":"0"},{"fixed":"1.2.0"}]"#), ["[,1.2.0)"]);
        assert_eq!(
            ranges(r#"[{"fixed":"10.0.0"},{"introduced":"9.0.0"},{"last_affected":"2.0.0"},{"introduced":"0"}]"#),
            ["[,2.0.0]", "[9.0.0,10.0.0)"]
        );
        assert_eq!(ranges(r#"[{"introduced":"1.0.0"},{"introduced":"1.1.0"},{"fixed":"2.0.0"},{"fixed":"3.0.0"}]"#), ["[1.0.0,2.0.0)"]);
        assert_eq!(ranges(r#"[{"introduced":"1.0.0"}]"#), ["[1.0.0,"]);
        assert_eq!(ranges(r#"[{"introduced":"1.0.0"},{"limit":"1.5.0"},{"fixed":"2.0.0"}]"#), ["[1.0.0,1.5.0)"]);
        assert_eq!(ranges(r#"[{"introduced":"1.0.0-rc.1"},{"fixed":"1.0.0"}]"#), ["[1.0.0-rc.1,1.0.0)"]);
    }

    #[test]
    fn withdrawn_and_graded() {
        let batch = one(
            r#"{"schema_version":"1.7.0","id":"GHSA-1","withdrawn":"2024-01-01T00:00:00Z","upstream":["CVE-2024-2"],"aliases":["CVE-2024-1"],"unheard_of":{},
               "severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},{"type":"CVSS_V3","score":"9.8"},{"type":"Ubuntu","score":"medium"}]}"#,
        );
        let a = &batch.advisories[0];
        assert!(a.withdrawn.is_some() && a.scores.len() == 1);
        assert_eq!(a.aliases, ["CVE-2024-1".into(), "CVE-2024-2".into()]);
        assert_eq!(a.severity.as_ref().and_then(|s| s.level), Some(crate::feed::model::Level::Medium));
        assert_eq!(batch.problems.len(), 1);
    }

    #[test]
    fn refusals_name_their_place() {
        for (json, says) in [
            ("{\"id\":\n1}", "line 2"),
            (r#"{"id":"","affected":[]}"#, "/id"),
            (r#"{"id":"A","schema_version":"2.0.0"}"#, "/schema_version"),
        ] {
            let batch = one(json);
            assert!(batch.advisories.is_empty() && batch.problems[0].to_string().contains(says), "{:?}", batch.problems);
        }
    }
}
