//! The definition of what a row says: a [`Definition`] and a row in, [`Says`] out, by the words of `feed::model` alone. The catalog is held against it.
//!
//! [`says`] takes one definition by itself; [`notes`] a whole feed, whose definitions also speak about each other: what is not affected takes away what others say,
//! and of several fixes the latest brings the others along.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::define::{Definition, Entry, Kind};
use super::facts::{self, Called, Conditions, Software};
use super::{Says, windows};
use crate::feed::model::{End, FixState, Start, Target};
use crate::scan::Row;
use crate::version::ecosystem::{Numbering, Order};

/// Whether a version is among those of an entry: [`crate::feed::model::Versions::contains`], under the order that the product has.
pub fn contains(entry: &Entry, version: &str) -> bool {
    let order = match entry.order() {
        Some(order) if order.numbering != Numbering::Plain => order,
        _ => return entry.versions.contains(version) == Some(true),
    };
    let started = |start: &Start| match start {
        Start::Open => true,
        Start::At(first) => order.compare(version, first).is_ge(),
        Start::After(last) => order.compare(version, last).is_gt(),
    };
    let ended = |end: &End| match end {
        End::Open => true,
        End::Before(first) => order.compare(version, first).is_lt(),
        End::Through(last) => order.compare(version, last).is_le(),
    };
    entry.versions.exact.iter().any(|e| order.compare(e, version).is_eq())
        || entry.versions.ranges.iter().any(|r| started(&r.start) && ended(&r.end))
}

/// Whether a version has the fix.
fn mended(entry: &Entry, version: &str) -> bool {
    let past = match entry.order() {
        Some(order) => order.compare(version, &entry.fixed).is_ge(),
        None => version == &*entry.fixed,
    };
    entry.state == FixState::Fixed && !entry.fixed.is_empty() && past && !contains(entry, version)
}

/// What one row says of one patch, were it the only one. With `fully` also what a package has already.
pub fn says(definition: &Definition, row: &Row, fully: bool) -> Option<Says> {
    let mut systems = Systems::default();
    let heard = heard(definition, row, fully, &mut systems);
    strongest(row, heard.iter().filter_map(|h| h.says))
}

/// The entry by which a row says this of a patch, and the version of the row that was compared: for showing why. Of several the one that asks for the latest version.
pub fn speaking<'d>(definition: &'d Definition, row: &Row, says: Says) -> Option<(&'d Entry, Box<str>)> {
    let heard = heard(definition, row, true, &mut Systems::default()).into_iter().filter(|h| h.says == Some(says));
    let later = |a: &Heard, b: &Heard| match b.entry.order() {
        Some(order) if !a.entry.fixed.is_empty() => order.compare(&a.entry.fixed, &b.entry.fixed).is_lt(),
        _ => a.entry.fixed.is_empty() && !b.entry.fixed.is_empty(),
    };
    heard.reduce(|a, b| if later(&a, &b) { b } else { a }).map(|h| (h.entry, h.version))
}

/// What a row says of all patches of a feed: position, what, and whether a later one brings it along; sorted.
pub fn notes(definitions: &[Arc<Definition>], row: &Row, fully: bool) -> Vec<(usize, Says, bool)> {
    let mut systems = Systems::default();
    let all: Vec<Vec<Heard>> = definitions.iter().map(|d| heard(d, row, fully, &mut systems)).collect();
    let denied: BTreeSet<(&str, &str)> = definitions
        .iter()
        .zip(&all)
        .flat_map(|(d, list)| list.iter().map(move |h| (d, h)))
        .filter(|(_, h)| h.says.is_none())
        .flat_map(|(d, h)| subjects(d, h.entry).into_iter().map(|s| (channel(h), s)))
        .collect();
    let stands = |definition: &Definition, heard: &Heard| {
        let covered = |s: &str| denied.contains(&(channel(heard), s)) || denied.contains(&("", s));
        !subjects(definition, heard.entry).into_iter().all(covered)
    };
    let standing: Vec<Vec<(&Heard, Says)>> = definitions
        .iter()
        .zip(&all)
        .map(|(d, list)| list.iter().filter(|h| stands(d, h)).filter_map(|h| Some((h, h.says?))).collect())
        .collect();
    let latest = latest(definitions, &standing);
    let mut out = Vec::new();
    for (at, (definition, list)) in definitions.iter().zip(&standing).enumerate() {
        let Some(says) = strongest(row, list.iter().map(|(_, s)| *s)) else { continue };
        let under = |h: &Heard| supersedable(definition, says) && behind(h, &latest);
        let superseded = list.iter().filter(|(_, s)| *s == says).all(|(h, _)| under(h));
        out.push((at, says, superseded));
    }
    // Updates with numbers: one is brought along by another that this system needs too.
    let wanted: BTreeSet<&str> =
        out.iter().filter(|(_, s, _)| matches!(s, Says::Wants | Says::Old)).map(|(at, ..)| &*definitions[*at].id).collect();
    let system = if row.table.name() == "os" { windows::product(row) } else { None };
    for (at, says, superseded) in &mut out {
        let definition = &definitions[*at];
        if let Some(system) = system.as_deref().filter(|_| supersedable(definition, *says)) {
            *superseded |= definition.superseded_by.iter().any(|s| wanted.contains(&**s) && definition.is_replaced_by(s, Some(system)));
        }
    }
    out
}

/// One entry that is about the row.
struct Heard<'d> {
    entry: &'d Entry,
    /// `None`: it is not affected.
    says: Option<Says>,
    /// The version that was compared.
    version: Box<str>,
}

fn heard<'d>(definition: &'d Definition, row: &Row, fully: bool, systems: &mut Systems) -> Vec<Heard<'d>> {
    let hear =
        |entry: &'d Entry, says: Option<Option<Says>>, version: &str| says.map(|says| Heard { entry, says, version: version.into() });
    match row.table.name() {
        "package" => {
            let Some(software) = Software::of(row) else { return Vec::new() };
            let installed = |entry: &'d Entry| {
                let version = version_for(entry, &software)?;
                hear(entry, of_package(entry, version, &software, fully), version)
            };
            definition.entries.iter().filter_map(installed).collect()
        }
        "update" => {
            let Some(software) = Software::of(row) else { return Vec::new() };
            let offered = |entry: &'d Entry| {
                let version = version_for(entry, &software).filter(|_| matches!(entry.target, Target::Package(_)))?;
                hear(entry, mended(entry, version).then_some(Some(Says::Offers)), version)
            };
            definition.entries.iter().filter_map(offered).collect()
        }
        "os" => match (windows::product(row), Software::running(row)) {
            (Some(system), _) => {
                let here = definition.entries.iter().filter(|e| systems.has(definition, e, &system));
                here.filter_map(|entry| hear(entry, of_system(entry, row), "")).collect()
            }
            (None, Some(kernel)) => {
                let runs = |entry: &'d Entry| {
                    let version =
                        version_for(entry, &kernel).filter(|v| contains(entry, v) && matches!(entry.target, Target::Package(_)))?;
                    let says = match entry.state {
                        FixState::Fixed => Some(Some(Says::Old)),
                        FixState::NotAffected => Some(None),
                        FixState::NoFix | FixState::WillNotFix | FixState::UnderInvestigation => None,
                    };
                    hear(entry, says, version)
                };
                definition.entries.iter().filter_map(runs).collect()
            }
            (None, None) => Vec::new(),
        },
        "hotfix" => {
            let has = facts::hotfix(row).filter(|id| {
                let system = facts::hotfix_system(row);
                facts::names_hotfix(&definition.id) && (*id == *definition.id || definition.is_replaced_by(id, system.as_deref()))
            });
            let first = definition.entries.first().filter(|_| has.is_some());
            first.and_then(|entry| hear(entry, Some(Some(Says::Has)), "")).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The version of the row that an entry speaks of; `None` if it speaks of something else.
fn version_for<'r>(entry: &Entry, software: &Software<'r>) -> Option<&'r str> {
    let first = |named: &dyn Fn(&Called) -> bool| software.called.iter().find(|c| named(c)).map(|c| c.version);
    let version = match &entry.target {
        Target::Package(package) => {
            let kind = |c: &Called| facts::kind_fits(package.kind, c.source);
            match &package.platform {
                Some(platform) => {
                    let here = !software.release.is_empty() && !facts::is_language(software.format) && platform.covers(&software.release);
                    first(&|c| kind(c) && *c.name == *package.name).filter(|_| here)
                }
                None => {
                    let registry = facts::registry(&package.ecosystem);
                    let here = !software.format.is_empty() && facts::registry(software.format) == registry;
                    let name = facts::name_in(&registry, &package.name);
                    first(&|c| kind(c) && facts::name_in(&registry, &c.name) == name).filter(|_| here)
                }
            }
        }
        Target::Product(product) => {
            let name = product.name.to_lowercase();
            first(&|c| !c.source && c.name.to_lowercase() == name)
                .filter(|_| !facts::is_language(software.format) && facts::vendor_like(&product.vendor, software.vendor))
        }
        Target::Windows(windows) => {
            let alone = windows.products.iter().filter(|p| windows::system_of(p).is_none());
            let names: Vec<String> = alone.filter(|_| tells_versions(entry)).map(|p| p.to_lowercase()).collect();
            first(&|c| !c.source && names.contains(&c.name.to_lowercase())).filter(|_| !facts::is_language(software.format))
        }
    };
    version.filter(|_| software.fits(&Conditions::of(entry)))
}

/// Whether an entry says something of versions at all. "Office, all versions" is no evidence about one that is installed.
pub(super) fn tells_versions(entry: &Entry) -> bool {
    !entry.versions.exact.is_empty() || entry.versions.ranges.iter().any(|r| r.start != Start::Open || r.end != End::Open)
}

fn of_package(entry: &Entry, version: &str, software: &Software, fully: bool) -> Option<Option<Says>> {
    if contains(entry, version) {
        return Some(match entry.state {
            FixState::Fixed if software.beside => Some(Says::Wants),
            FixState::Fixed => Some(Says::Lacks),
            FixState::NoFix => Some(Says::NoFix),
            FixState::WillNotFix => Some(Says::WillNotFix),
            FixState::UnderInvestigation => Some(Says::Investigating),
            FixState::NotAffected => None,
        });
    }
    ((software.beside || fully) && mended(entry, version)).then_some(Some(Says::Has))
}

fn of_system(entry: &Entry, os: &Row) -> Option<Option<Says>> {
    let here = facts::build(os.get("build").as_str().unwrap_or(""));
    Some(match (entry.state, here, facts::build(&entry.build)) {
        (FixState::Fixed, Some([a, b, c, mine]), Some([x, y, z, first])) if [a, b, c] == [x, y, z] => {
            Some(if mine < first { Says::Old } else { Says::Has })
        }
        (FixState::Fixed, ..) => Some(Says::Wants),
        (FixState::NoFix, ..) => Some(Says::NoFix),
        (FixState::WillNotFix, ..) => Some(Says::WillNotFix),
        (FixState::UnderInvestigation, ..) => Some(Says::Investigating),
        (FixState::NotAffected, ..) => None,
    })
}

/// Systems of products, each worked out once.
#[derive(Default)]
struct Systems(BTreeMap<Arc<str>, Option<String>>);

impl Systems {
    fn has(&mut self, definition: &Definition, entry: &Entry, system: &str) -> bool {
        let Target::Windows(windows) = &entry.target else { return false };
        windows.products.iter().filter(|p| facts::told_by_system(definition, entry, p)).any(|p| {
            let known = self.0.entry(p.clone()).or_insert_with(|| windows::system_of(p));
            known.as_deref() == Some(system)
        })
    }
}

/// Of what several entries say of one patch, what counts. An operating system at the fixed build has it, whatever is said of its parts; a package that is affected
/// under one name is.
fn strongest(row: &Row, says: impl Iterator<Item = Says>) -> Option<Says> {
    let system = row.table.name() == "os";
    says.min_by_key(|s| strength(*s, system))
}

/// Less is stronger.
pub(super) fn strength(says: Says, system: bool) -> u8 {
    match says {
        Says::Lacks => 0,
        Says::Old => 1,
        Says::Has if system => 2,
        Says::Wants => 3,
        Says::NoFix => 4,
        Says::WillNotFix => 5,
        Says::Investigating => 6,
        Says::Has => 7,
        Says::Offers => 8,
    }
}

/// What an entry is about: its CVEs, else those of the patch, else the patch.
pub(super) fn subjects<'d>(definition: &'d Definition, entry: &'d Entry) -> Vec<&'d str> {
    let cves = if entry.about.is_empty() { &definition.cves } else { &entry.about };
    if cves.is_empty() { vec![&definition.id] } else { cves.iter().map(|c| &**c).collect() }
}

fn channel<'d>(heard: &Heard<'d>) -> &'d str {
    match &heard.entry.target {
        Target::Package(package) => package.platform.as_ref().map_or("", |p| &p.channel),
        Target::Windows(_) | Target::Product(_) => "",
    }
}

/// Fixes are compared where they come from the same place for the same thing. A module that has no name is as none: which one it is is not told.
type Line = (Box<str>, (crate::version::Scheme, Numbering), String, String);

fn line(heard: &Heard) -> Option<(Line, Order)> {
    // Of a system no version was compared.
    let compared = !heard.entry.fixed.is_empty() && !heard.version.is_empty();
    let order = heard.entry.order().filter(|_| compared)?;
    let module = Conditions::of(heard.entry).module.into_owned();
    Some(((heard.version.clone(), (order.scheme, order.numbering), channel(heard).to_owned(), module), order))
}

fn supersedable(definition: &Definition, says: Says) -> bool {
    definition.kind != Kind::Vulnerability && matches!(says, Says::Lacks | Says::Wants | Says::Old)
}

/// The highest fix of each line.
fn latest<'d>(definitions: &[Arc<Definition>], standing: &[Vec<(&Heard<'d>, Says)>]) -> BTreeMap<Line, &'d str> {
    let mut out: BTreeMap<Line, &str> = BTreeMap::new();
    for (definition, list) in definitions.iter().zip(standing) {
        for (heard, _) in list.iter().filter(|(_, says)| supersedable(definition, *says)) {
            let (Some((line, order)), fixed) = (line(heard), &*heard.entry.fixed) else { continue };
            out.entry(line)
                .and_modify(|best| {
                    if order.compare(fixed, best).is_gt() {
                        *best = fixed
                    }
                })
                .or_insert(fixed);
        }
    }
    out
}

fn behind(heard: &Heard, latest: &BTreeMap<Line, &str>) -> bool {
    let Some((line, order)) = line(heard) else { return false };
    latest.get(&line).is_some_and(|best| order.compare(&heard.entry.fixed, best).is_lt())
}
