//! What the name of an ecosystem means: `AlmaLinux:8` in; the platform, what kind of name its packages have, and how their versions compare out.
//!
//! The orders are [`crate::version::ecosystem`]'s. One that is not known is `None`: then only exact versions and ranges without bounds can be judged, and the
//! reader says so.

use super::model::{PackageKind, Platform};
use crate::version::{Scheme, ecosystem};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ecosystem {
    pub platform: Option<Platform>,
    pub kind: PackageKind,
    pub scheme: Option<Scheme>,
}

/// Name of OSV, os-release id, what its names are the names of.
const DISTRIBUTIONS: &[(&str, &str, PackageKind)] = &[
    ("AlmaLinux", "almalinux", PackageKind::Binary),
    ("Alpaquita", "alpaquita", PackageKind::Source),
    ("Alpine", "alpine", PackageKind::Source),
    ("Azure Linux", "azurelinux", PackageKind::Either),
    ("BellSoft Hardened Containers", "alpaquita", PackageKind::Source),
    ("Chainguard", "chainguard", PackageKind::Source),
    ("Debian", "debian", PackageKind::Source),
    ("Echo", "echo", PackageKind::Source),
    ("Mageia", "mageia", PackageKind::Source),
    ("MinimOS", "minimos", PackageKind::Source),
    ("Photon OS", "photon", PackageKind::Either),
    ("Red Hat", "rhel", PackageKind::Either),
    ("Rocky Linux", "rocky", PackageKind::Source),
    ("SUSE", "sles", PackageKind::Source),
    ("Ubuntu", "ubuntu", PackageKind::Source),
    ("Wolfi", "wolfi", PackageKind::Source),
    ("openEuler", "openEuler", PackageKind::Either),
    ("openSUSE", "opensuse", PackageKind::Source),
];

pub fn of(name: &str) -> Ecosystem {
    let scheme = ecosystem::of_ecosystem(name);
    let (ecosystem, suffix) = name.split_once(':').unwrap_or((name, ""));
    match DISTRIBUTIONS.iter().find(|(n, ..)| *n == ecosystem) {
        Some((_, id, kind)) => Ecosystem { platform: Some(platform(ecosystem, id, suffix)), kind: *kind, scheme },
        // A registry of a language: wherever the package is installed.
        None => Ecosystem { platform: None, kind: PackageKind::Either, scheme },
    }
}

fn platform(name: &str, id: &str, suffix: &str) -> Platform {
    match name {
        "Ubuntu" => {
            // `22.04:LTS`, `Pro:18.04:LTS`, `Pro:FIPS-updates:20.04:LTS`: the number is the release, what is before it the channel.
            let mut parts = suffix.split(':').filter(|p| *p != "LTS");
            let is_release = |p: &&str| p.starts_with(|c: char| c.is_ascii_digit());
            let release = parts.clone().find(is_release).unwrap_or("");
            let channel: Vec<String> = parts.by_ref().filter(|p| !is_release(p)).map(str::to_ascii_lowercase).collect();
            Platform::new(id, release, &channel.join(":"))
        }
        "Alpine" => Platform::new(id, suffix.trim_start_matches('v'), ""),
        // `enterprise_linux:8::baseos`: a product CPE without its beginning.
        "Red Hat" => super::redhat::platform(&format!("cpe:/o:redhat:{suffix}")),
        // A PRETTY_NAME: `Linux Enterprise Server 15 SP5`, `Leap 15.5`, `Tumbleweed`.
        "SUSE" | "openSUSE" => suse(id, suffix),
        _ => Platform::new(id, suffix, ""),
    }
}

fn suse(id: &str, pretty: &str) -> Platform {
    let words: Vec<&str> = pretty.split(' ').collect();
    let number = words.iter().find(|w| w.starts_with(|c: char| c.is_ascii_digit())).copied().unwrap_or("");
    let pack = words.iter().find_map(|w| {
        w.strip_prefix("SP").or_else(|| w.strip_prefix('p')).filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && !n.is_empty())
    });
    let version = match pack {
        Some(pack) => format!("{number}.{pack}"),
        None => number.to_owned(),
    };
    let id = match id {
        "opensuse" if pretty.contains("Leap") => "opensuse-leap",
        "opensuse" if pretty.contains("Tumbleweed") => "opensuse-tumbleweed",
        "opensuse" => "opensuse",
        _ if pretty.contains("Micro") => "sle-micro",
        _ if pretty.contains("Desktop") => "sled",
        _ => id,
    };
    // `Module for Basesystem 15 SP5`: a part of the release, with its own repository.
    let channel = if pretty.contains(" Module ") || pretty.contains("LTSS") { pretty } else { "" };
    Platform::new(id, &version, channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_by_their_names() {
        for (ecosystem, id, version, channel) in [
            ("AlmaLinux:8", "almalinux", "8", ""),
            ("Debian:12", "debian", "12", ""),
            ("Ubuntu:22.04:LTS", "ubuntu", "22.04", ""),
            ("Ubuntu:Pro:18.04:LTS", "ubuntu", "18.04", "pro"),
            ("Ubuntu:Pro:FIPS-updates:20.04:LTS", "ubuntu", "20.04", "pro:fips-updates"),
            ("Alpine:v3.19", "alpine", "3.19", ""),
            ("SUSE:Linux Enterprise Server 15 SP5", "sles", "15.5", ""),
            ("openSUSE:Leap 15.5", "opensuse-leap", "15.5", ""),
            ("Red Hat:enterprise_linux:8::baseos", "rhel", "8", "cpe:/o:redhat:enterprise_linux:8::baseos"),
            ("Debian", "debian", "", ""),
        ] {
            let found = of(ecosystem);
            assert_eq!(found.platform, Some(Platform::new(id, version, channel)), "{ecosystem}");
            assert!(found.scheme.is_some());
        }
    }

    #[test]
    fn registries_have_no_platform() {
        assert_eq!(of("npm"), Ecosystem { platform: None, kind: PackageKind::Either, scheme: Some(Scheme::Semver) });
        assert_eq!(of("Nowhere:1").scheme, None);
    }
}
