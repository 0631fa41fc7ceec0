//! `dpkginfo` and `rpminfo` over the table `package`.

use super::super::facts::Status;
use super::super::model::Datatype;
use super::Select;
use super::item::{Make, Out};
use super::resolved::Resolved;
use super::types::Type;
use super::want::Accepts;
use crate::scan::Row;
use crate::scan::table::TableId;

pub(super) const TYPES: &[Type] =
    &[Type::rows("dpkginfo", "package", dpkg).select(by_name), Type::rows("rpminfo", "package", rpm).select(by_name).unseen(keys)];

fn by_name(object: &Resolved) -> Select {
    let column = TableId::by_name("package").and_then(|t| t.table().column("name"));
    match (column, object.want("name").and_then(|w| w.exact())) {
        (Some(column), Some(values)) => Select::Equal { column, values: values.to_vec() },
        _ => Select::Each,
    }
}

fn meant<'r>(object: &Resolved, format: &str, row: &'r Row, out: &mut Out<'r>) -> Option<(&'r str, &'r str)> {
    let name = row.get("name").as_str()?;
    if row.get("format").as_str() != Some(format) || !object.takes("name", name, out) {
        return None;
    }
    Some((name, row.get("version").as_str().unwrap_or_default()))
}

/// Epoch, version, release. The release of a dpkg version begins behind its last hyphen; rpm's have one only.
fn split(text: &str) -> (Option<&str>, &str, Option<&str>) {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (Some(epoch), rest),
        None => (None, text),
    };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// A missing epoch is 0, as dpkg compares it.
fn dpkg<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some((name, full)) = meant(object, "deb", row, out) else { return };
    let (epoch, version, release) = split(full);
    let epoch = epoch.unwrap_or("0");
    let release = release.unwrap_or_default();
    let evr = if release.is_empty() { format!("{epoch}:{version}") } else { format!("{epoch}:{version}-{release}") };
    out.item(
        Make::new("dpkginfo")
            .text("name", name)
            .column("arch", row, "arch", Datatype::String, Status::DoesNotExist)
            .text("epoch", epoch)
            .text("release", release)
            .text("version", version)
            .typed("evr", Datatype::DebianEvr, evr),
    );
}

/// A missing epoch is `(none)`, and 0 in `evr` and `extended_name`.
fn rpm<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some((name, full)) = meant(object, "rpm", row, out) else { return };
    let (epoch, version, release) = split(full);
    let release = release.unwrap_or_default();
    let number = epoch.unwrap_or("0");
    let arch = row.get("arch").as_str().unwrap_or("(none)");
    out.item(
        Make::new("rpminfo")
            .text("name", name)
            .text("arch", arch)
            .text("epoch", epoch.unwrap_or("(none)"))
            .text("release", release)
            .text("version", version)
            .typed("evr", Datatype::Evr, format!("{number}:{version}-{release}"))
            // The table has no signatures.
            .without("signature_keyid", Datatype::String, Status::NotCollected)
            .text("extended_name", format!("{name}-{number}:{version}-{release}.{arch}")),
    );
}

/// The keys that rpm keeps as packages are not in the table.
fn keys(object: &Resolved) -> Option<String> {
    let means = object.want("name").is_some_and(|w| w.accepts("gpg-pubkey") == Accepts::Yes);
    means.then(|| "rpm's public keys (gpg-pubkey) are not collected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn versions_split_as_dpkg_and_rpm_do() {
        assert_eq!(split("1:2.0-rc1-3"), (Some("1"), "2.0-rc1", Some("3")));
        assert_eq!(split("12.4"), (None, "12.4", None));
        assert_eq!(split("0:1.0-2.el9"), (Some("0"), "1.0", Some("2.el9")));
    }
}
