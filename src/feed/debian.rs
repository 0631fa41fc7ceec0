//! Debian: the security tracker's JSON (what each CVE means for each release) and its DSA and DLA lists (what was published) in, advisories out.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, MapAccess, Visitor};

use super::model::{Advisory, Affected, Fix, FixState, Package, PackageKind, Platform, Severity, Source, Target, Versions};
use super::{Reading, Sink, archive, time};
use crate::limits::Limits;
use crate::version::Scheme;

const RELEASES: &[(&str, &str)] = &[
    ("woody", "3.0"),
    ("sarge", "3.1"),
    ("etch", "4.0"),
    ("lenny", "5.0"),
    ("squeeze", "6.0"),
    ("wheezy", "7"),
    ("jessie", "8"),
    ("stretch", "9"),
    ("buster", "10"),
    ("bullseye", "11"),
    ("bookworm", "12"),
    ("trixie", "13"),
    ("forky", "14"),
    ("duke", "15"),
    ("sid", "sid"),
];

/// The platform of a codename; `None` for one that is not known.
pub fn platform(codename: &str) -> Option<Platform> {
    let version = RELEASES.iter().find(|(name, _)| *name == codename)?.1;
    Some(Platform::new("debian", version, ""))
}

fn package(codename: &str, platform: Platform, source: &str) -> Target {
    Target::Package(Package {
        ecosystem: Arc::from(format!("Debian:{codename}")),
        platform: Some(platform),
        kind: PackageKind::Source,
        name: source.into(),
        arches: Vec::new(),
        module: None,
    })
}

fn fixed(codename: &str, platform: Platform, source: &str, version: &str) -> Affected {
    let mut entry = Affected::new(package(codename, platform, source), Versions::before(Scheme::Dpkg, version), FixState::Fixed);
    entry.fixes.push(Fix { version: version.into(), ..Fix::default() });
    entry
}

// ---- the tracker

#[derive(Deserialize)]
struct Issue {
    #[serde(default)]
    description: String,
    #[serde(default)]
    releases: BTreeMap<String, Release>,
}

#[derive(Deserialize)]
struct Release {
    #[serde(default)]
    status: String,
    #[serde(default)]
    fixed_version: Option<String>,
    #[serde(default)]
    urgency: String,
    #[serde(default)]
    nodsa: Option<String>,
    #[serde(default)]
    nodsa_reason: Option<String>,
}

/// The tracker's `data/json`: one advisory for each CVE, over all source packages. It is read as a stream, one issue at a time.
pub fn read_tracker(file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) {
    archive::each(file, bytes, limits, sink, &archive::is_json, &mut |reading, input| {
        let mut by_cve = BTreeMap::new();
        let mut json = serde_json::Deserializer::from_reader(BufReader::new(input));
        let read = Packages { rows: 0, reading, by_cve: &mut by_cve }.deserialize(&mut json).and_then(|()| json.end());
        if let Err(e) = read {
            // Half of the packages would look like fixes of the other half.
            return reading.refuse("json", "", e.to_string());
        }
        by_cve.into_values().for_each(|advisory| reading.emit(advisory));
    });
}

struct Packages<'a, 'r> {
    /// Statements so far, over all packages.
    rows: usize,
    reading: &'a mut Reading<'r>,
    by_cve: &'a mut BTreeMap<Box<str>, Advisory>,
}

impl<'de> DeserializeSeed<'de> for Packages<'_, '_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Packages<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of source packages")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(source) = map.next_key::<String>()? {
            map.next_value_seed(Issues { packages: &mut self, source: &source })?;
        }
        Ok(())
    }
}

struct Issues<'a, 'b, 'r> {
    packages: &'a mut Packages<'b, 'r>,
    source: &'a str,
}

impl<'de> DeserializeSeed<'de> for Issues<'_, '_, '_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Issues<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of issues")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Packages { rows, reading, by_cve } = self.packages;
        while let Some((id, issue)) = map.next_entry::<String, Issue>()? {
            if by_cve.len() >= reading.limits.feed_advisories && !by_cve.contains_key(id.as_str()) {
                return Err(serde::de::Error::custom(format!("over {} advisories (limits.feed_advisories)", by_cve.len())));
            }
            *rows += issue.releases.len();
            if *rows > reading.limits.feed_rows {
                return Err(serde::de::Error::custom(format!("over {} statements (limits.feed_rows)", reading.limits.feed_rows)));
            }
            let advisory = by_cve.entry(id.as_str().into()).or_insert_with(|| Advisory::new(Source::DebianTracker, "Debian", &id));
            if advisory.summary.is_empty() {
                advisory.summary = issue.description.as_str().into();
                advisory.references = vec![format!("https://security-tracker.debian.org/tracker/{id}").into()];
            }
            for (codename, release) in &issue.releases {
                let place = format!("/{}/{id}/releases/{codename}", self.source);
                track(reading, advisory, &place, self.source, codename, release);
            }
        }
        Ok(())
    }
}

fn track(reading: &mut Reading, advisory: &mut Advisory, place: &str, source: &str, codename: &str, release: &Release) {
    let Some(platform) = platform(codename) else {
        return reading.leave_out("release", place, format!("`{codename}` is no release of Debian that is known here"));
    };
    let mut entry = match (release.status.as_str(), release.fixed_version.as_deref()) {
        // What the tracker has not decided is no answer.
        ("undetermined", _) => return,
        ("resolved", Some("0")) => {
            Affected::new(package(codename, platform, source), Versions::all(Some(Scheme::Dpkg)), FixState::NotAffected)
        }
        ("resolved", Some(version)) => fixed(codename, platform, source, version),
        ("open", _) => {
            let ends = release.urgency == "end-of-life" || release.nodsa.is_some();
            let state = if ends { FixState::WillNotFix } else { FixState::NoFix };
            Affected::new(package(codename, platform, source), Versions::all(Some(Scheme::Dpkg)), state)
        }
        (status, _) => return reading.leave_out("debian", place, format!("status `{status}` without a version says nothing")),
    };
    let urgency = release.urgency.trim_end_matches('*').trim();
    entry.severity = if matches!(urgency, "not yet assigned" | "end-of-life") { None } else { Severity::of(urgency) };
    entry.reason = match (&release.nodsa, &release.nodsa_reason) {
        (Some(text), Some(reason)) if !reason.is_empty() => format!("{text} ({reason})").into(),
        (Some(text), _) => text.as_str().into(),
        (None, _) if urgency == "end-of-life" => "end-of-life".into(),
        (None, _) => "".into(),
    };
    advisory.affected.push(entry);
}

// ---- the lists

/// `data/DSA/list`, `data/DLA/list`, or an archive that has them. Testing's own list (DTSA) has the same form.
pub fn read_list(file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) {
    let wanted = |name: &str| ["DSA/list", "DLA/list"].iter().any(|end| name.ends_with(end));
    archive::each(file, bytes, limits, sink, &wanted, &mut |reading, input| list(reading, input));
}

/// Bytes of a line: the longest real one names some hundred CVEs.
const LINE: u64 = 1 << 20;

fn list(reading: &mut Reading, input: &mut dyn Read) {
    let mut input = BufReader::new(input);
    let mut current: Option<Advisory> = None;
    let mut bytes = Vec::new();
    for number in 1usize.. {
        bytes.clear();
        let place = format!("line {number}");
        match input.by_ref().take(LINE).read_until(b'\n', &mut bytes) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) => return reading.refuse("list", &place, e.to_string()),
        }
        let Ok(line) = std::str::from_utf8(&bytes) else {
            reading.leave_out("list", &place, "not UTF-8 text");
            continue;
        };
        if line.starts_with('[') {
            if let Some(whole) = current.take() {
                reading.emit(whole);
            }
            current = headline(line);
            if current.is_none() {
                reading.refuse("list", &place, "not `[day month year] name package - title`");
            }
            continue;
        }
        let text = line.trim();
        if text.is_empty() || text.starts_with("NOTE:") {
            continue;
        }
        let Some(advisory) = &mut current else {
            // What belongs to a refused headline, or stands before all of them.
            reading.leave_out("list", &place, "belongs to no advisory");
            continue;
        };
        if advisory.affected.len().max(advisory.aliases.len()) > reading.limits.feed_affected {
            return reading.refuse(
                "limit",
                &place,
                format!("over {} lines of one advisory (limits.feed_affected)", reading.limits.feed_affected),
            );
        }
        if let Err(why) = detail(advisory, text) {
            reading.leave_out("list", &place, why);
        }
    }
    if let Some(whole) = current {
        reading.emit(whole);
    }
}

/// `[29 Mar 2023] DSA-5380-1 xorg-server - security update`
fn headline(line: &str) -> Option<Advisory> {
    let (date, rest) = line.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim();
    let (id, title) = rest.split_once(' ').unwrap_or((rest, ""));
    if !id.contains('-') {
        return None;
    }
    let mut advisory = Advisory::new(Source::DebianList, "Debian", id);
    advisory.title = title.trim().into();
    advisory.published = Some(time::written_date(date)?);
    advisory.references = vec![format!("https://security-tracker.debian.org/tracker/{id}").into()];
    Some(advisory)
}

/// `{CVE-... CVE-...}` or `[bullseye] - package version`
fn detail(advisory: &mut Advisory, text: &str) -> Result<(), String> {
    if let Some(ids) = text.strip_prefix('{') {
        let ids = ids.strip_suffix('}').ok_or("a list of CVEs that does not end with }")?;
        advisory.aliases.extend(ids.split_whitespace().map(Box::from));
        return Ok(());
    }
    let parts = text.strip_prefix('[').and_then(|t| t.split_once(']'));
    let (codename, rest) = parts.ok_or("neither CVEs, nor a package, nor a NOTE")?;
    let platform = platform(codename).ok_or_else(|| format!("`{codename}` is no release of Debian that is known here"))?;
    let mut words = rest.split_whitespace();
    let (Some("-"), Some(source), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err("not `[release] - package version`".into());
    };
    let comment = text.split_once('(').map_or("", |(_, c)| c.trim_end_matches(')'));
    let state = match version {
        "<not-affected>" => FixState::NotAffected,
        "<end-of-life>" | "<ignored>" | "<no-dsa>" => FixState::WillNotFix,
        "<unfixed>" | "<postponed>" => FixState::NoFix,
        "<undetermined>" => FixState::UnderInvestigation,
        // Was never in the release, or is not any more.
        "<removed>" | "<itp>" => return Ok(()),
        tag if tag.starts_with('<') => return Err(format!("`{tag}` is not known here")),
        version if Scheme::Dpkg.accepts(version) => {
            advisory.affected.push(fixed(codename, platform, source, version));
            return Ok(());
        }
        version => return Err(format!("`{version}` is no version of a Debian package")),
    };
    let mut entry = Affected::new(package(codename, platform, source), Versions::all(Some(Scheme::Dpkg)), state);
    if state == FixState::NotAffected {
        // Only this advisory is not for that release: another one may be about the same CVE there (DSA-222 and DSA-226, xpdf in woody).
        entry.about = vec![advisory.id.clone()];
    }
    entry.reason = if comment.is_empty() { version.trim_matches(['<', '>']).into() } else { comment.into() };
    advisory.affected.push(entry);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Batch;

    fn run(read: fn(&str, &[u8], &Limits, &mut dyn Sink), text: &str) -> Batch {
        let limits = Limits::default();
        let mut batch = Batch::new(&limits);
        read("d", text.as_bytes(), &limits, &mut batch);
        batch
    }

    #[test]
    fn a_list_with_the_spellings_of_the_real_one() {
        let text = "[29 Mar 2023] DSA-2-1 x - security update\n\t{CVE-2023-2 CVE-2023-1 }\n\t[bullseye] - x  2:1.2-3+deb11u1\n        [buster] - y 1.0-1 (high)\n\tNOTE: nothing\n\
                    \n[1 Apr 2003] DSA-1-1 z\n \t[woody] - z <not-affected> (code not present)\n\t[nowhere] - z 1\n\t[jessie] - v <end-of-life>\nnonsense\n[no date] DSA-0 q\n\t{CVE-1-1}\n";
        let batch = run(read_list, text);
        let [two, one] = &batch.advisories[..] else { panic!("{:?}", batch.advisories) };
        assert_eq!((&*two.id, &*two.title, two.aliases.len()), ("DSA-2-1", "x - security update", 2));
        assert_eq!(two.affected[0].versions.contains("2:1.2-3"), Some(true));
        assert_eq!(two.affected[0].versions.contains("2:1.2-3+deb11u1"), Some(false));
        assert_eq!(one.affected.iter().map(|a| a.state).collect::<Vec<_>>(), [FixState::NotAffected, FixState::WillNotFix]);
        assert_eq!(&*one.affected[0].reason, "code not present");
        assert_eq!((&*one.affected[0].about, one.affected[1].about.len()), (&["DSA-1-1".into()][..], 0));
        let places: Vec<&str> = batch.problems.iter().map(|p| &*p.place).collect();
        assert_eq!(places, ["line 9", "line 11", "line 12", "line 13"]);
    }

    #[test]
    fn the_tracker_by_cve() {
        let text = r#"{"a":{"CVE-2024-1":{"description":"d","releases":{
              "bookworm":{"status":"resolved","repositories":{"bookworm":"1-1"},"fixed_version":"1-2","urgency":"medium**"},
              "trixie":{"status":"resolved","fixed_version":"0","urgency":"unimportant"},
              "bullseye":{"status":"open","urgency":"low","nodsa":"Minor issue","nodsa_reason":"postponed"},
              "sid":{"status":"undetermined","urgency":"not yet assigned"}}}},
            "b":{"CVE-2024-1":{"releases":{"bookworm":{"status":"open","urgency":"not yet assigned"},"potato2":{"status":"open","urgency":""}}},"TEMP-0-1":{}}}"#;
        let batch = run(read_tracker, text);
        let cve = &batch.advisories[0];
        assert_eq!((batch.advisories.len(), &*cve.id, cve.affected.len()), (2, "CVE-2024-1", 4));
        let states: Vec<FixState> = cve.affected.iter().map(|a| a.state).collect();
        assert_eq!(states, [FixState::Fixed, FixState::WillNotFix, FixState::NotAffected, FixState::NoFix]);
        assert_eq!(&*cve.affected[1].reason, "Minor issue (postponed)");
        assert_eq!(batch.problems.len(), 1);
        // Cut in the middle, nothing is told, for nothing of it is sure.
        let cut = run(read_tracker, text.strip_suffix("}}}").expect("its end"));
        assert!(cut.advisories.is_empty() && cut.refused().count() == 1);
    }
}
