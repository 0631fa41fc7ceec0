//! `package`: every package database that is there, together.

use super::{Gap, Gathered, Host, apk, dpkg, os, row, rpm};
use crate::scan::Row;

/// One installed package, as any of the package managers knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) arch: Option<String>,
    pub(super) source: Option<String>,
    /// Only where it differs from `version`.
    pub(super) source_version: Option<String>,
    pub(super) vendor: Option<String>,
    /// `nodejs:20`
    pub(super) module: Option<String>,
}

/// The packages of a database; none where there is no such database.
pub(super) type Database = Result<Option<Vec<Package>>, String>;

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let release = os::release(&host.release);
    let mut rows = Vec::new();
    let mut found = Vec::new();
    for (manager, format, read) in
        [("dpkg", "deb", dpkg::read as fn(&Host<'_>) -> Database), ("rpm", "rpm", rpm::read), ("apk", "apk", apk::read)]
    {
        // One broken database fails the table: half of the packages is no evidence that the others are not there.
        let Some(packages) = read(host)? else { continue };
        found.push(manager);
        rows.extend(packages.into_iter().map(|p| to_row(p, format, release.as_deref())));
    }
    if found.is_empty() {
        return Err(Gap::Failed("no package database found (dpkg, rpm, apk)".into()));
    }
    if rows.is_empty() {
        return Err(Gap::Failed(format!("no installed package in the database of {}", found.join(", "))));
    }
    Ok(rows)
}

fn to_row(package: Package, format: &str, release: Option<&str>) -> Row {
    row("package")
        .with("name", package.name)
        .with("version", package.version)
        .with("arch", package.arch)
        .with("source", package.source)
        .with("source_version", package.source_version)
        .with("format", format)
        .with("release", release)
        .with("vendor", package.vendor)
        .with("module", package.module)
}
