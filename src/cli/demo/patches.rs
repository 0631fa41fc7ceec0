//! The demo's feed: what this host's own packages say was fixed in which version, as OSV documents that the daemon reads like any vendor's.
//!
//! Debian and Ubuntu packages carry changelogs that name the CVEs each version fixes. Where a host has none (images often leave documentation out), the
//! advisories are synthetic and say so: "before the version of this host".

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use anyhow::Context;
use muster::scan::table::TableId;
use muster::scan::{Row, Scan};
use muster::simulate::Past;
use serde_json::{Value, json};

/// Bytes of one changelog that are looked at.
const CHANGELOG_MAX: u64 = 8 << 20;
/// Versions that a changelog gives at most, the newest.
const VERSIONS_MAX: usize = 40;
/// Synthetic advisories.
const SYNTHETIC: usize = 60;

/// The patch list of the demo's baseline.
pub(super) const LIST: &str = "must-patch";

pub(super) struct Feed {
    documents: Vec<Value>,
    pub(super) past: Past,
    /// They come of changelogs.
    pub(super) real: bool,
}

/// One version of a changelog.
struct Entry {
    source: String,
    version: String,
    urgency: String,
    at: Option<jiff::Timestamp>,
    text: String,
}

impl Feed {
    /// The advisories of a host whose documentation is below `root`.
    pub(super) fn of_host(root: &Path, host: &Scan) -> Feed {
        let packages = TableId::by_name("package").map(|t| host.rows(t)).unwrap_or_default();
        let Some(ecosystem) = ecosystem(host) else { return Feed { documents: Vec::new(), past: Past::default(), real: false } };
        let mut changelogs: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for row in packages {
            let source = source_of(row);
            if let Some(name) = row.get("name").as_str()
                && !changelogs.contains_key(source)
            {
                changelogs.insert(source.to_owned(), read_changelog(root, name, source));
            }
        }
        let mut feed = Feed { documents: Vec::new(), past: Past::default(), real: true };
        for (source, entries) in &changelogs {
            let documents: Vec<Value> = entries.iter().filter_map(|e| advisory(e, &ecosystem)).collect();
            if !documents.is_empty() {
                feed.past.insert(source.clone(), entries.iter().map(|e| e.version.clone()).collect());
                feed.documents.extend(documents);
            }
        }
        if feed.documents.is_empty() { synthetic(packages, &ecosystem) } else { feed }
    }

    /// Writes one file a document.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).context("the demo's feed")?;
        for document in &self.documents {
            let id = document["id"].as_str().unwrap_or_default();
            std::fs::write(folder.join(format!("{id}.json")), document.to_string()).context("the demo's feed")?;
        }
        Ok(())
    }

    pub(super) fn name(&self) -> &'static str {
        if self.real { "changelogs" } else { "synthetic" }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }
}

fn source_of(row: &Row) -> &str {
    row.get("source").as_str().or_else(|| row.get("name").as_str()).unwrap_or_default()
}

/// What OSV calls this host's distribution.
fn ecosystem(host: &Scan) -> Option<String> {
    let os = host.rows(TableId::by_name("os")?).first()?;
    let (id, version) = (os.get("id").as_str()?, os.get("version").as_str()?);
    let major = version.split('.').next().unwrap_or(version);
    Some(match id {
        "debian" => format!("Debian:{version}"),
        "ubuntu" => format!("Ubuntu:{version}"),
        "almalinux" => format!("AlmaLinux:{major}"),
        "rocky" => format!("Rocky Linux:{major}"),
        "rhel" => format!("Red Hat:enterprise_linux:{major}"),
        "alpine" => format!("Alpine:v{}", version.rsplit_once('.').filter(|(v, _)| v.contains('.')).map_or(version, |(v, _)| v)),
        _ => return None,
    })
}

fn read_changelog(root: &Path, package: &str, source: &str) -> Vec<Entry> {
    let folder = root.join("usr/share/doc").join(package);
    let mut text = String::new();
    for name in ["changelog.Debian.gz", "changelog.gz"] {
        let Ok(file) = std::fs::File::open(folder.join(name)) else { continue };
        let mut bytes = Vec::new();
        // A changelog that cannot be read is one that says nothing.
        if flate2::read::MultiGzDecoder::new(file).take(CHANGELOG_MAX).read_to_end(&mut bytes).is_ok() {
            text = String::from_utf8_lossy(&bytes).into_owned();
            break;
        }
    }
    let mut entries = entries(&text);
    entries.retain(|e| e.source == source);
    entries.truncate(VERSIONS_MAX);
    entries
}

/// The entries of a Debian changelog (deb-changelog(5)), the newest first.
fn entries(text: &str) -> Vec<Entry> {
    let mut out: Vec<Entry> = Vec::new();
    for line in text.lines() {
        if let Some((source, version, urgency)) = heading(line) {
            out.push(Entry { source, version, urgency, at: None, text: String::new() });
        } else if let Some(entry) = out.last_mut() {
            match line.strip_prefix(" -- ").and_then(|l| l.rsplit_once("  ")) {
                Some((_, date)) => entry.at = jiff::fmt::rfc2822::parse(date.trim()).ok().map(|z| z.timestamp()),
                None => {
                    entry.text.push_str(line);
                    entry.text.push('\n');
                }
            }
        }
    }
    out
}

/// `openssl (3.0.19-1~deb12u2) bookworm-security; urgency=medium`
fn heading(line: &str) -> Option<(String, String, String)> {
    if line.starts_with(' ') {
        return None;
    }
    let (source, rest) = line.split_once(" (")?;
    let (version, rest) = rest.split_once(") ")?;
    let (_, keys) = rest.split_once(';')?;
    let urgency = keys.split(',').find_map(|k| k.trim().strip_prefix("urgency="))?;
    Some((source.to_owned(), version.to_owned(), urgency.trim().to_ascii_lowercase()))
}

/// The CVEs that a text names.
fn cves(text: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (at, _) in text.match_indices("CVE-") {
        let id: String = text.get(at..).unwrap_or_default().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let mut parts = id.splitn(3, '-').skip(1);
        let numbers = [parts.next(), parts.next()].map(|p| p.is_some_and(|p| p.len() >= 4 && p.bytes().all(|b| b.is_ascii_digit())));
        if numbers == [true, true] {
            out.insert(id);
        }
    }
    out
}

fn advisory(entry: &Entry, ecosystem: &str) -> Option<Value> {
    let cves = cves(&entry.text);
    if cves.is_empty() {
        return None;
    }
    let severity = match entry.urgency.as_str() {
        "emergency" | "critical" => "critical",
        "high" => "high",
        "low" => "low",
        _ => "medium",
    };
    let at = entry.at.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    Some(document(
        &format!("CHANGELOG-{}-{}", entry.source, entry.version.replace([':', '/'], "_")),
        ecosystem,
        &entry.source,
        &entry.version,
        severity,
        at,
        &json!(cves),
        &format!(
            "{} {} fixes {}",
            entry.source,
            entry.version,
            if cves.len() == 1 { "a vulnerability".into() } else { format!("{} vulnerabilities", cves.len()) }
        ),
    ))
}

#[expect(clippy::too_many_arguments, reason = "the fields of an OSV document")]
fn document(
    id: &str,
    ecosystem: &str,
    package: &str,
    fixed: &str,
    severity: &str,
    at: jiff::Timestamp,
    cves: &Value,
    summary: &str,
) -> Value {
    json!({
        "schema_version": "1.7.0", "id": id, "modified": at, "published": at, "summary": summary, "upstream": cves,
        "database_specific": {"severity": severity},
        "affected": [{
            "package": {"ecosystem": ecosystem, "name": package},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
        }],
    })
}

/// Without changelogs: this host's versions are taken for fixes.
fn synthetic(packages: &[Row], ecosystem: &str) -> Feed {
    let mut feed = Feed { documents: Vec::new(), past: Past::default(), real: false };
    let levels = ["critical", "high", "medium", "low"];
    for row in packages {
        let source = source_of(row);
        let version = row.get("source_version").as_str().or_else(|| row.get("version").as_str()).unwrap_or_default();
        if feed.documents.len() == SYNTHETIC || version.is_empty() || feed.past.contains_key(source) {
            continue;
        }
        let id = format!("SYNTHETIC-{}", feed.documents.len() + 1);
        let severity = levels[feed.documents.len() % levels.len()];
        let summary = format!("Synthetic, for the demo: {source} before the version of this host");
        let at = jiff::Timestamp::UNIX_EPOCH;
        feed.documents.push(document(&id, ecosystem, source, version, severity, at, &json!([]), &summary));
        feed.past.insert(source.to_owned(), vec![version.to_owned(), format!("{version}~1")]);
    }
    feed
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "\
tool (1:2.0-1+deb12u2) bookworm-security; urgency=high

  * Non-maintainer upload.
  * CVE-2031-12345: heap overflow. (Closes: #1) CVE-2031-1 is no id, CVE-2031-99999.

 -- A Person <a@example.org>  Fri, 03 Apr 2026 14:29:32 +0200

tool (1:2.0-1) unstable; urgency=medium

  * New upstream.

 -- A Person <a@example.org>  Sun, 22 Feb 2026 18:36:50 +0100
";

    #[test]
    fn a_changelog_says_what_a_version_fixes() {
        let entries = entries(CHANGELOG);
        assert_eq!(entries.iter().map(|e| e.version.as_str()).collect::<Vec<_>>(), ["1:2.0-1+deb12u2", "1:2.0-1"]);
        let document = advisory(&entries[0], "Debian:12").expect("an advisory");
        assert_eq!(document["id"], "CHANGELOG-tool-1_2.0-1+deb12u2");
        assert_eq!(document["upstream"], json!(["CVE-2031-12345", "CVE-2031-99999"]));
        assert_eq!(document["published"], "2026-04-03T12:29:32Z");
        assert_eq!(document["database_specific"]["severity"], "high");
        assert!(advisory(&entries[1], "Debian:12").is_none());
    }

    #[test]
    fn without_changelogs_this_hosts_versions_are_the_fixes() {
        let row = |t: &str| Row::new(TableId::by_name(t).expect("table"));
        let mut host = Scan::default();
        host.push(row("os").with("family", "linux").with("id", "debian").with("version", "12"));
        host.push(row("package").with("name", "libx1").with("source", "x").with("version", "1.0-1").with("format", "deb"));
        let folder = tempfile::tempdir().expect("folder");
        let feed = Feed::of_host(folder.path(), &host);
        assert!(!feed.real && feed.past["x"] == ["1.0-1", "1.0-1~1"]);
        feed.write(&folder.path().join("feed")).expect("written");
        let bytes = std::fs::read(folder.path().join("feed/SYNTHETIC-1.json")).expect("a document");
        let limits = muster::limits::Limits::default();
        let mut batch = muster::feed::Batch::new(&limits);
        muster::feed::osv::read("x", &bytes, &limits, &mut batch);
        assert!(batch.problems.is_empty(), "{:?}", batch.problems);
        assert_eq!(batch.advisories.len(), 1);
    }
}
