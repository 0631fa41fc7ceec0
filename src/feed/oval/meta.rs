//! What a definition says about itself: names, dates, scores, platforms, and how unfixed packages stand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use roxmltree::Node as Xml;

use super::super::model::{FixState, Score};
use super::super::{cvss, time};
use super::platform::{self, Place};
use super::test::{Installed, Span};
use super::{Definition, End};

pub(super) struct Meta {
    pub(super) id: Box<str>,
    pub(super) publisher: Box<str>,
    pub(super) aliases: Vec<Box<str>>,
    pub(super) related: Vec<Box<str>>,
    pub(super) severity: String,
    pub(super) scores: Vec<Score>,
    pub(super) published: Option<Timestamp>,
    pub(super) modified: Option<Timestamp>,
    pub(super) references: Vec<Box<str>>,
    /// Of `affected/platform`, for packages whose way names no release.
    pub(super) places: Vec<Place>,
    /// What could not be used.
    pub(super) odd: Vec<String>,
    unaffected: bool,
    /// Red Hat's `resolution`: by component, and of all if there is one only.
    resolutions: BTreeMap<Box<str>, Box<str>>,
    resolution: Option<Box<str>>,
}

/// The elements of all definitions, by id; the first of each, as the reader of definitions takes it.
pub(super) fn definitions<'a, 'i>(root: Xml<'a, 'i>) -> BTreeMap<&'a str, Xml<'a, 'i>> {
    let mut found = BTreeMap::new();
    for element in children(root, "definitions").flat_map(|d| children(d, "definition")) {
        if let Some(id) = element.attribute("id") {
            found.entry(id).or_insert(element);
        }
    }
    found
}

fn children<'a, 'i>(of: Xml<'a, 'i>, name: &'static str) -> impl Iterator<Item = Xml<'a, 'i>> {
    of.children().filter(move |c| c.is_element() && c.tag_name().name() == name)
}

fn text(of: Xml) -> String {
    of.descendants().filter_map(|n| if n.is_text() { n.text() } else { None }).collect::<String>().trim().to_owned()
}

fn child_text(of: Option<Xml>, name: &'static str) -> String {
    of.and_then(|o| children(o, name).next()).map(text).unwrap_or_default()
}

impl Meta {
    pub(super) fn of(definition: &Definition, element: Xml) -> Meta {
        let metadata = children(element, "metadata").next();
        let advisory = metadata.and_then(|m| children(m, "advisory").next());
        let date = |name| advisory.and_then(|a| children(a, name).next()).and_then(|e| e.attribute("date")).and_then(time::instant);
        let public = || time::instant(child_text(advisory, "public_date").trim_end_matches(" UTC").replace(' ', "T").as_str());
        let debian = || metadata.and_then(|m| children(m, "debian").next());
        let mut meta = Meta {
            id: id(definition),
            publisher: publisher(&definition.id).into(),
            aliases: vec![definition.id.clone()],
            related: Vec::new(),
            severity: child_text(advisory, "severity"),
            scores: Vec::new(),
            published: date("issued").or_else(public).or_else(|| time::instant(&child_text(debian(), "date"))),
            modified: date("updated"),
            references: definition.references.iter().filter(|r| !r.url.is_empty()).map(|r| r.url.clone()).collect(),
            places: places(definition, metadata),
            odd: Vec::new(),
            unaffected: definition.id.contains(".unaffected:"),
            resolutions: BTreeMap::new(),
            resolution: None,
        };
        for reference in &definition.references {
            match cve(&reference.id) {
                Some(cve) => meta.aliases.push(cve.into()),
                None if *reference.id != *meta.id && !reference.id.is_empty() => meta.related.push(reference.id.clone()),
                None => {}
            }
        }
        if let Some(advisory) = advisory {
            children(advisory, "ref").for_each(|r| meta.references.push(text(r).into()));
            children(advisory, "cve").for_each(|c| meta.cve(c));
            meta.resolutions(advisory);
        }
        meta
    }

    /// `<cve cvss3="8.8/CVSS:3.0/AV:N/...">CVE-2019-9788</cve>`; SUSE writes `CVE-2019-9788 at NVD`.
    fn cve(&mut self, element: Xml) {
        let said = text(element);
        let Some(cve) = cve(&said) else { return };
        self.aliases.push(cve.into());
        let by = said.split_once(" at ").map_or("", |(_, who)| who.trim());
        for name in ["cvss2", "cvss3", "cvss4", "cvss_vector"] {
            let Some(value) = element.attribute(name).map(str::trim).filter(|v| !v.is_empty()) else { continue };
            let vector = value.split_once('/').filter(|(score, _)| score.parse::<f32>().is_ok()).map_or(value, |(_, vector)| vector);
            match cvss::Vector::parse(vector) {
                Ok(_) => self.scores.push(Score { vector: vector.into(), about: vec![cve.into()], by: by.into() }),
                Err(e) => self.odd.push(format!("{cve}: {e}")),
            }
        }
    }

    fn resolutions(&mut self, advisory: Xml) {
        let all: Vec<Xml> = children(advisory, "affected").flat_map(|a| children(a, "resolution")).collect();
        for resolution in &all {
            let state: Box<str> = resolution.attribute("state").unwrap_or_default().into();
            for component in children(*resolution, "component") {
                let name = text(component);
                // `nodejs:16/npm`: a package of a module.
                let name = name.rsplit_once('/').map_or(&*name, |(_, package)| package);
                self.resolutions.insert(name.into(), state.clone());
            }
            self.resolution = (all.len() == 1).then_some(state);
        }
    }

    /// How a package stands that fulfils a way, and the publisher's reason.
    pub(super) fn state(&self, package: &Installed, name: &str) -> (FixState, Box<str>) {
        if self.unaffected {
            return (FixState::NotAffected, "".into());
        }
        if matches!(&package.span, Span::Between(_, End::Before(_) | End::Through(_))) {
            return (FixState::Fixed, "".into());
        }
        if let Some(word) = self.resolutions.get(name).or(self.resolution.as_ref()) {
            let state = match &*word.to_ascii_lowercase() {
                "will not fix" | "out of support scope" => FixState::WillNotFix,
                "under investigation" => FixState::UnderInvestigation,
                "not affected" => FixState::NotAffected,
                _ => FixState::NoFix,
            };
            return (state, word.clone());
        }
        worded(&package.comment)
    }
}

/// Ubuntu's words: `... a decision has been made to ignore this issue (note: '...')`, `... may need fixing`.
fn worded(comment: &str) -> (FixState, Box<str>) {
    let note = comment.split_once("(note: '").and_then(|(_, n)| n.rsplit_once('\'')).map_or("", |(n, _)| n);
    let or_note = |words: &'static str| if note.is_empty() { words } else { note };
    if comment.contains("decision has been made to ignore") {
        (FixState::WillNotFix, or_note("ignored").into())
    } else if comment.contains("defer") {
        (FixState::NoFix, format!("deferred {note}").trim().into())
    } else if comment.contains("may need fixing") {
        (FixState::NoFix, "may need fixing".into())
    } else {
        (FixState::NoFix, note.into())
    }
}

fn places(definition: &Definition, metadata: Option<Xml>) -> Vec<Place> {
    let named = metadata.into_iter().flat_map(|m| children(m, "affected")).flat_map(|a| children(a, "platform"));
    let mut places: Vec<Place> = named.flat_map(|p| platform::by_name(&text(p))).collect();
    if places.is_empty() {
        places.extend(platform::by_namespace(&definition.id));
    }
    places.sort();
    places.dedup();
    places
}

/// The first CVE in a text: `Mitre CVE-2020-1`, `CVE-2020-1 at SUSE`.
fn cve(text: &str) -> Option<&str> {
    let found = text.split([' ', ',', '(', ')']).find(|w| w.starts_with("CVE-"))?;
    found.bytes().skip(4).all(|b| b.is_ascii_digit() || b == b'-').then_some(found)
}

/// `RHSA-2019:0966`, `USN-3600-1`: a name with a number.
fn is_id(word: &str) -> bool {
    let (letters, rest) = word.split_once('-').unwrap_or((word, ""));
    !letters.is_empty() && letters.bytes().all(|b| b.is_ascii_uppercase()) && rest.bytes().any(|b| b.is_ascii_digit())
}

/// The name that the title begins with; else the publisher's reference, else the only CVE, else the id of the definition.
fn id(definition: &Definition) -> Box<str> {
    let first = definition.title.split_whitespace().next().unwrap_or_default().trim_end_matches(':');
    let references = || definition.references.iter().map(|r| &*r.id);
    if is_id(first) {
        // SUSE's titles leave out the beginning of the name.
        let longer = references().find(|r| r.len() > first.len() && r.ends_with(first) && is_id(r) && cve(r).is_none());
        return longer.unwrap_or(first).into();
    }
    let cves: Vec<&str> = references().filter_map(cve).collect();
    let own = references().find(|r| cve(r).is_none() && is_id(r));
    match (own, &cves[..]) {
        (Some(own), _) => own.into(),
        (None, [cve]) => (*cve).into(),
        _ => definition.id.clone(),
    }
}

fn publisher(id: &str) -> &str {
    let namespace = id.split(':').nth(1).unwrap_or_default();
    let known = [
        ("com.redhat", "Red Hat"),
        ("com.ubuntu", "Ubuntu"),
        ("org.debian", "Debian"),
        ("org.opensuse", "SUSE"),
        ("com.suse", "SUSE"),
        ("com.oracle", "Oracle"),
        ("com.vmware", "Photon"),
        ("org.almalinux", "AlmaLinux"),
        ("org.rockylinux", "Rocky Linux"),
        ("com.microsoft", "Microsoft"),
    ];
    known.iter().find(|(start, _)| namespace.starts_with(start)).map_or(namespace, |(_, name)| name)
}
