//! Which entry of a definition speaks of a row: for showing why, after the catalog has decided.

use super::super::Says;
use super::super::define::{Definition, Entry};
use super::super::explain::contains;
use super::super::windows;
use crate::feed::model::{FixState, Package, PackageKind, Target};
use crate::scan::Row;

/// A column as text; empty where it is absent.
pub(super) fn text<'r>(row: &'r Row, column: &str) -> &'r str {
    row.get(column).as_str().unwrap_or("")
}

/// The entry by which a row says this of a patch, and the version of the row that was compared.
pub fn place_of<'d, 'r>(definition: &'d Definition, row: &'r Row, says: Says) -> Option<(&'d Entry, &'r str)> {
    let fits = definition.entries.iter().filter(|e| state_fits(e, says)).filter_map(|e| version_of(e, row).map(|v| (e, v)));
    match says {
        Says::Has | Says::Offers => fits.into_iter().next(),
        // Entries of one patch may differ by release or stream; the one that holds of the version is the one that spoke.
        _ => fits.clone().find(|(e, v)| contains(e, v)).or_else(|| fits.into_iter().next()),
    }
}

fn state_fits(entry: &Entry, says: Says) -> bool {
    match says {
        Says::Lacks | Says::Wants | Says::Has | Says::Old | Says::Offers => entry.state == FixState::Fixed,
        Says::NoFix => entry.state == FixState::NoFix || entry.state == FixState::Fixed,
        Says::WillNotFix => entry.state == FixState::WillNotFix,
        Says::Investigating => entry.state == FixState::UnderInvestigation,
    }
}

fn version_of<'r>(entry: &Entry, row: &'r Row) -> Option<&'r str> {
    match (&entry.target, row.table.name()) {
        (Target::Package(p), "package" | "update") => package_version(p, row),
        (Target::Package(p), "os") => {
            let release = format!("{}:{}", text(row, "id"), text(row, "version"));
            let version = [text(row, "kernel_version"), text(row, "kernel")].into_iter().find(|v| !v.is_empty())?;
            p.platform.as_ref().is_none_or(|platform| platform.covers(&release)).then_some(version)
        }
        (Target::Product(p), "package") => p.name.eq_ignore_ascii_case(text(row, "name")).then(|| text(row, "version")),
        (Target::Windows(w), "os") => {
            let system = windows::product(row)?;
            let of = |product: &str| windows::system_of(product).is_some_and(|s| s == system);
            w.products.iter().any(|p| of(p)).then(|| text(row, "build"))
        }
        (Target::Windows(w), "package") => {
            w.products.iter().any(|p| p.eq_ignore_ascii_case(text(row, "name"))).then(|| text(row, "version"))
        }
        (Target::Windows(_), "hotfix") => Some(text(row, "id")),
        _ => None,
    }
}

fn package_version<'r>(package: &Package, row: &'r Row) -> Option<&'r str> {
    let (name, source) = (text(row, "name"), text(row, "source"));
    let by_name = package.kind != PackageKind::Source && *package.name == *name;
    let by_source = package.kind != PackageKind::Binary && *package.name == *(if source.is_empty() { name } else { source });
    let covered = package.platform.as_ref().is_none_or(|p| p.covers(text(row, "release")));
    let arch = text(row, "arch");
    let fits = package.arches.is_empty() || arch.is_empty() || package.arches.iter().any(|a| **a == *arch);
    if !covered || !fits || !(by_name || by_source) {
        return None;
    }
    // The table `update` has no version of the source of its own.
    let of_source = if by_source && row.table.name() == "package" { text(row, "source_version") } else { "" };
    Some(if of_source.is_empty() { text(row, "version") } else { of_source })
}
