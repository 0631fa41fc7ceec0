//! What Ubuntu says beside OSV and OpenVEX: its releases by codename, and what is in an OSV entry's `ecosystem_specific`.

use super::model::{Affected, FixState, Platform, Target};
use super::osv::Product;

const RELEASES: &[(&str, &str)] = &[
    ("trusty", "14.04"),
    ("xenial", "16.04"),
    ("bionic", "18.04"),
    ("focal", "20.04"),
    ("jammy", "22.04"),
    ("mantic", "23.10"),
    ("noble", "24.04"),
    ("oracular", "24.10"),
    ("plucky", "25.04"),
    ("questing", "25.10"),
    ("resolute", "26.04"),
];

/// The platform of a codename, or of `esm-infra/focal`, `fips-updates/jammy`.
pub fn platform(codename: &str) -> Option<Platform> {
    let (channel, name) = codename.rsplit_once('/').unwrap_or(("", codename));
    let version = RELEASES.iter().find(|(n, _)| *n == name)?.1;
    Some(Platform::new("ubuntu", version, channel))
}

/// Ubuntu lists a package of a release that gets no fix without a fixed version. Where a subscription would bring one, it says so in
/// `availability`; the release's own entry then stays without.
pub(super) fn refine(entry: &mut Affected, product: &Product) {
    let Target::Package(package) = &entry.target else { return };
    let Some(platform) = package.platform.as_ref().filter(|p| &*p.id == "ubuntu") else { return };
    if let Some(availability) = product.ecosystem_specific.get("availability").and_then(|a| a.as_str()) {
        entry.reason = availability.into();
    }
    if entry.state == FixState::Fixed && entry.fixes.is_empty() {
        entry.state = FixState::NoFix;
    }
    if !platform.channel.is_empty() {
        for fix in &mut entry.fixes {
            fix.kind = "Ubuntu Pro".into();
        }
    }
}
