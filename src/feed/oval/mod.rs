//! OVAL patch and vulnerability definitions of distributions (Red Hat, Ubuntu, Debian, SUSE, Oracle, Photon) in, advisories out: packages below a version on a release.
//!
//! `xml -> oval::read -> criteria taken apart ([criteria]) into ways, each one package on one release ([test] says what a test comes to) -> Affected`.
//! A way that needs more than one package's row, or that something is absent, does not fit: it is left out with its definition's id. Such content is still judged
//! exactly as a SCAP source; this reader is for those who want patches of it.

mod criteria;
mod meta;
mod platform;
mod test;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roxmltree::Node as Xml;

use super::model::{
    Advisory, Affected, End, Fix, FixState, Module, Package, PackageKind, Range, Severity, Source, Start, Target, Versions,
};
use super::{Reading, Sink, archive, redhat};
use crate::limits::Limits;
use crate::oval::model::{Class, Content, Definition};
use crate::oval::read as definitions;
use crate::version::Scheme;
use crate::xml;
use criteria::{Apart, Said, Way};
use platform::Place;
use test::{Installed, Span};

/// Reads definition documents, or archives of them.
pub fn read(file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) {
    archive::each_whole(file, bytes, limits, sink, &|name| name.ends_with(".xml"), &mut document);
}

fn document(reading: &mut Reading, bytes: &[u8]) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => return reading.refuse("xml", "", format!("not UTF-8 text: byte {}", e.valid_up_to())),
    };
    let tree = match xml::tree(text, reading.limits) {
        Ok(tree) => tree,
        Err(e) => return reading.refuse("xml", "", e.to_string()),
    };
    let root = tree.root_element();
    let content = match definitions::read(root, "", reading.limits) {
        Ok(content) => content,
        Err(problems) => {
            for problem in problems {
                reading.refuse("oval", &format!("line {}", problem.line), problem.message);
            }
            return;
        }
    };
    for problem in &content.problems {
        reading.leave_out("oval", &problem.id, format!("line {}: {}", problem.line, problem.message));
    }
    let elements = meta::definitions(root);
    let mut apart = Apart::new(&content, reading.limits);
    for definition in &content.definitions {
        if let Some(element) = elements.get(&*definition.id) {
            one(reading, &mut apart, definition, *element);
        }
    }
    let seen = apart.seen;
    if seen.signatures > 0 {
        reading.note("oval", "", format!("{} tests of signatures are taken as passed: a scan holds none", seen.signatures));
    }
    if seen.kernels > 0 {
        let how = "the running kernel is judged by the packages of its version";
        reading.note("oval", "", format!("{} tests of what kernel runs or boots next are taken as passed: {how}", seen.kernels));
    }
}

fn one(reading: &mut Reading, apart: &mut Apart, definition: &Definition, element: Xml) {
    match definition.class {
        Class::Patch | Class::Vulnerability => {}
        Class::Inventory => return,
        Class::Compliance | Class::Miscellaneous => {
            return reading.refuse("oval", &definition.id, "neither a patch nor a vulnerability; content of this class is judged as SCAP");
        }
    }
    if definition.deprecated {
        return reading.note("oval", &definition.id, "deprecated by its publisher; left out");
    }
    let said = apart.definition(definition);
    for why in apart.take_odd() {
        reading.leave_out("oval", &definition.id, why);
    }
    let ways = match said {
        Ok(Said::Ways(ways)) => ways,
        Ok(Said::Never) => return reading.note("oval", &definition.id, "can never hold on a system that it is for"),
        Ok(Said::Always) => return reading.refuse("oval", &definition.id, "names no package"),
        Err(criteria::Odd::Unfit(why)) => return reading.refuse("oval", &definition.id, why),
        Err(criteria::Odd::Limit) => {
            let most = reading.limits.feed_rows;
            return reading.refuse(
                "limit",
                &definition.id,
                format!("over {most} combinations of conditions in one document (limits.feed_rows)"),
            );
        }
    };
    let meta = meta::Meta::of(definition, element);
    let mut advisory = Advisory::new(Source::Oval, &meta.publisher, &meta.id);
    let entries = match Entries::of(&meta, &ways, reading.limits.feed_affected) {
        Ok(entries) => entries,
        Err((code, why)) => return reading.refuse(code, &definition.id, why),
    };
    advisory.affected = entries.into_affected(&meta);
    advisory.title = definition.title.trim().into();
    advisory.summary = definition.description.trim().into();
    advisory.severity = Severity::of(&meta.severity);
    advisory.scores = meta.scores;
    advisory.published = meta.published;
    advisory.modified = meta.modified;
    advisory.aliases = meta.aliases;
    advisory.related = meta.related;
    advisory.references = meta.references;
    for why in meta.odd {
        reading.leave_out("cvss", &definition.id, why);
    }
    reading.emit(advisory);
}

/// What is said of one package: all but the architectures, which add up.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    place: Place,
    kind: PackageKind,
    name: Box<str>,
    module: Option<Module>,
    versions: Versions,
    state: FixState,
    reason: Box<str>,
}

/// Entries, each with its architectures; none: any.
struct Entries(BTreeMap<Entry, BTreeSet<Box<str>>>);

impl Entries {
    fn of(meta: &meta::Meta, ways: &[Way], most: usize) -> Result<Entries, (&'static str, String)> {
        let mut entries = Entries(BTreeMap::new());
        for way in ways {
            let Some(package) = &way.package else {
                return Err(("oval", "a way to fulfil it names no package".into()));
            };
            let places = match &way.place {
                Some(place) => std::slice::from_ref(place),
                None => &meta.places,
            };
            if places.is_empty() {
                return Err(("oval", "does not say of which distribution and release its packages are".into()));
            }
            for place in places {
                entries.add(meta, way, package, place);
                if entries.0.len() > most {
                    return Err(("limit", format!("over {most} affected products (limits.feed_affected)")));
                }
            }
        }
        Ok(entries)
    }

    fn add(&mut self, meta: &meta::Meta, way: &Way, package: &Installed, place: &Place) {
        let modular = matches!(&package.span, Span::Between(_, End::Before(version)) if redhat::is_modular(version));
        // Content from before module tests does not say which.
        let module = way.module.as_deref().cloned().or_else(|| modular.then(Module::unnamed));
        for name in package.names.iter() {
            let (state, reason) = meta.state(package, name);
            let entry = Entry {
                place: place.clone(),
                kind: PackageKind::Binary,
                name: name.clone(),
                module: module.clone(),
                versions: versions(package.scheme, &package.span),
                state,
                reason,
            };
            let arches = way.arches.as_deref().map(<[Box<str>]>::to_vec).unwrap_or_default();
            match self.0.entry(entry) {
                std::collections::btree_map::Entry::Vacant(vacant) => drop(vacant.insert(arches.into_iter().collect())),
                // Two ways with the same package: whoever fits one of them fits; no architecture means any.
                std::collections::btree_map::Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    if arches.is_empty() {
                        known.clear();
                    } else if !known.is_empty() {
                        known.extend(arches);
                    }
                }
            }
        }
    }

    fn into_affected(self, meta: &meta::Meta) -> Vec<Affected> {
        let url = meta.references.first().cloned().unwrap_or_default();
        let affected = |(entry, arches): (Entry, BTreeSet<Box<str>>)| {
            let fixes: Vec<Fix> = match (entry.state, entry.versions.ranges.first().map(|r| &r.end)) {
                (FixState::Fixed, Some(End::Before(version))) => vec![Fix { version: version.clone(), url: url.clone(), ..Fix::default() }],
                _ => Vec::new(),
            };
            let target = Target::Package(Package {
                ecosystem: Arc::clone(&entry.place.text),
                platform: Some(entry.place.platform),
                kind: entry.kind,
                name: entry.name,
                arches: arches.into_iter().collect(),
                module: entry.module,
            });
            Affected { fixes, reason: entry.reason, ..Affected::new(target, entry.versions, entry.state) }
        };
        self.0.into_iter().map(affected).collect()
    }
}

fn versions(scheme: Scheme, span: &Span) -> Versions {
    match span {
        Span::Any => Versions::all(Some(scheme)),
        Span::Exactly(version) => Versions::exactly(Some(scheme), version),
        Span::Between(start, end) => {
            let range = Range { start: Start::clone(start), end: End::clone(end) };
            Versions { scheme: Some(scheme), ranges: vec![range], ..Versions::default() }
        }
    }
}
