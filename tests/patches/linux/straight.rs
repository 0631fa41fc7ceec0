//! The definition without a catalog: every advisory is looked at for every row. Slow, and short enough to be read at once.

use std::collections::{BTreeMap, BTreeSet};

use muster::feed::model::{Advisory, Affected, FixState, Package, PackageKind, Target};
use muster::scan::Row;
use muster::version::Scheme;

use super::Found;

fn text<'r>(row: &'r Row, column: &str) -> &'r str {
    row.get(column).as_str().unwrap_or_default()
}

/// Of a module's package if the entry is, and of the same stream, which the row says itself, or its version where that of the fix begins with it.
fn is_of_module(package: &Package, entry: &Affected, row: &Row) -> bool {
    if entry.versions.scheme != Some(Scheme::Rpm) {
        return true;
    }
    let (version, of) = (text(row, "version"), text(row, "module"));
    let Some(module) = &package.module else { return of.is_empty() && !version.contains(".module") };
    if of.is_empty() || module.name.is_empty() {
        let begins = |version: &str| {
            let plain = version.split_once(':').map_or(version, |(_, v)| v);
            plain.strip_prefix(&*module.stream).is_some_and(|rest| rest.starts_with(['.', '-']))
        };
        let told = module.stream.starts_with(|c: char| c.is_ascii_digit()) && entry.fixes.iter().any(|f| begins(&f.version));
        return (!of.is_empty() || version.contains(".module")) && (!told || begins(version));
    }
    of == format!("{}:{}", module.name, module.stream)
}

/// The version that an entry judges of a row; `None`: the entry is not about it.
fn judged<'r>(package: &Package, entry: &Affected, row: &'r Row) -> Option<&'r str> {
    if !package.platform.as_ref().is_none_or(|p| p.covers(text(row, "release"))) {
        return None;
    }
    if !package.arches.is_empty() && !package.arches.iter().any(|a| **a == *text(row, "arch")) {
        return None;
    }
    if !is_of_module(package, entry, row) {
        return None;
    }
    let source = if text(row, "source").is_empty() { text(row, "name") } else { text(row, "source") };
    let by_name = package.kind != PackageKind::Source && *package.name == *text(row, "name");
    let by_source = package.kind != PackageKind::Binary && *package.name == *source;
    match (by_name, by_source, row.get("source_version").as_str()) {
        (true, _, _) | (_, true, None) => Some(text(row, "version")),
        (_, true, version) => version,
        _ => None,
    }
}

fn cves(advisory: &Advisory, entry: Option<&Affected>) -> BTreeSet<String> {
    match entry {
        Some(entry) if !entry.about.is_empty() => entry.about.iter().map(|c| c.to_string()).collect(),
        _ => advisory.cves().map(str::to_owned).collect(),
    }
}

/// Advisory and package, for every row that is affected.
pub(super) fn affected(advisories: &[Advisory], rows: &[Row]) -> Found {
    let mut index: BTreeMap<&str, Vec<(&Advisory, &Affected, &Package)>> = BTreeMap::new();
    for advisory in advisories.iter().filter(|a| a.withdrawn.is_none()) {
        for entry in &advisory.affected {
            if let Target::Package(package) = &entry.target {
                index.entry(&package.name).or_default().push((advisory, entry, package));
            }
        }
    }
    let mut found = Found::new();
    for row in rows {
        let names = BTreeSet::from([text(row, "name"), text(row, "source")]);
        let about = names.iter().flat_map(|n| index.get(n).into_iter().flatten());
        let held: Vec<(&Advisory, &Affected)> = about
            .filter(|(_, entry, package)| judged(package, entry, row).is_some_and(|v| entry.versions.contains(v) == Some(true)))
            .map(|(advisory, entry, _)| (*advisory, *entry))
            .collect();
        let not = held.iter().filter(|(_, e)| e.state == FixState::NotAffected);
        let cleared: BTreeSet<String> = not.flat_map(|(a, e)| cves(a, Some(e))).collect();
        for (advisory, _) in held.iter().filter(|(_, e)| e.state != FixState::NotAffected) {
            let about = cves(advisory, None);
            if about.is_empty() || !about.is_subset(&cleared) {
                found.insert((advisory.id.to_string(), text(row, "name").to_owned()));
            }
        }
    }
    found
}
