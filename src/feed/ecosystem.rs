//! What the name of an ecosystem means: `AlmaLinux:8` in; the platform, what kind of name its packages have, and how their versions compare out.
//!
//! The one table of it. A scheme that is not known is `None`: then only exact versions and ranges without bounds can be judged, and the reader says so.

use super::model::{PackageKind, Platform};
use crate::version::Scheme;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ecosystem {
    pub platform: Option<Platform>,
    pub kind: PackageKind,
    pub scheme: Option<Scheme>,
    /// A registry or distribution that is known here.
    pub known: bool,
}

/// Name of OSV, os-release id, names of packages, scheme.
const DISTRIBUTIONS: &[(&str, &str, PackageKind, Scheme)] = &[
    ("AlmaLinux", "almalinux", PackageKind::Binary, Scheme::Rpm),
    ("Alpaquita", "alpaquita", PackageKind::Source, Scheme::Apk),
    ("Alpine", "alpine", PackageKind::Source, Scheme::Apk),
    ("Azure Linux", "azurelinux", PackageKind::Either, Scheme::Rpm),
    ("BellSoft Hardened Containers", "alpaquita", PackageKind::Source, Scheme::Apk),
    ("Chainguard", "chainguard", PackageKind::Source, Scheme::Apk),
    ("Debian", "debian", PackageKind::Source, Scheme::Dpkg),
    ("Echo", "echo", PackageKind::Source, Scheme::Dpkg),
    ("Mageia", "mageia", PackageKind::Source, Scheme::Rpm),
    ("MinimOS", "minimos", PackageKind::Source, Scheme::Apk),
    ("Photon OS", "photon", PackageKind::Either, Scheme::Rpm),
    ("Red Hat", "rhel", PackageKind::Either, Scheme::Rpm),
    ("Rocky Linux", "rocky", PackageKind::Source, Scheme::Rpm),
    ("SUSE", "sles", PackageKind::Source, Scheme::Rpm),
    ("Ubuntu", "ubuntu", PackageKind::Source, Scheme::Dpkg),
    ("Wolfi", "wolfi", PackageKind::Source, Scheme::Apk),
    ("openEuler", "openEuler", PackageKind::Either, Scheme::Rpm),
    ("openSUSE", "opensuse", PackageKind::Source, Scheme::Rpm),
];

/// Registries of languages: wherever the package is installed.
const REGISTRIES: &[(&str, Option<Scheme>)] = &[
    ("Bioconductor", None),
    ("Bitnami", Some(Scheme::Semver)),
    ("CRAN", None),
    ("ConanCenter", None),
    ("GHC", None),
    ("GitHub Actions", Some(Scheme::Semver)),
    ("Go", Some(Scheme::Semver)),
    ("Hackage", None),
    ("Hex", Some(Scheme::Semver)),
    ("Julia", Some(Scheme::Semver)),
    ("Maven", None),
    ("NuGet", None),
    ("Packagist", None),
    ("Pub", Some(Scheme::Semver)),
    ("PyPI", None),
    ("RubyGems", None),
    ("SwiftURL", Some(Scheme::Semver)),
    ("crates.io", Some(Scheme::Semver)),
    ("npm", Some(Scheme::Semver)),
];

pub fn of(ecosystem: &str) -> Ecosystem {
    let (name, suffix) = ecosystem.split_once(':').unwrap_or((ecosystem, ""));
    if let Some((_, id, kind, scheme)) = DISTRIBUTIONS.iter().find(|(n, ..)| *n == name) {
        return Ecosystem { platform: Some(platform(name, id, suffix)), kind: *kind, scheme: Some(*scheme), known: true };
    }
    let registry = REGISTRIES.iter().find(|(n, _)| *n == name);
    Ecosystem { platform: None, kind: PackageKind::Either, scheme: registry.and_then(|(_, s)| *s), known: registry.is_some() }
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
    let pack = words.iter().find_map(|w| w.strip_prefix("SP").or_else(|| w.strip_prefix('p')).filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && !n.is_empty()));
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
            assert!(found.known && found.scheme.is_some());
        }
    }

    #[test]
    fn registries_have_no_platform() {
        assert_eq!(of("npm"), Ecosystem { platform: None, kind: PackageKind::Either, scheme: Some(Scheme::Semver), known: true });
        assert!(!of("Nowhere:1").known);
    }
}
