//! The release that content is for: `SUSE Linux Enterprise Server 15 SP3 is installed`, `Ubuntu 18.04 LTS`, `com.ubuntu.bionic` in, a platform out.

use std::sync::Arc;

use super::super::model::Platform;
use super::super::{debian, ecosystem, ubuntu};

/// A platform, and how the content calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) platform: Platform,
    pub(super) text: Arc<str>,
}

impl Place {
    fn new(id: &str, version: &str, text: &str) -> Place {
        Place { platform: Platform::new(id, version, ""), text: text.into() }
    }

    /// Both at once: a release and a part of it (a module of SUSE's with a repository of its own) are the release with that channel.
    pub(super) fn and(&self, other: &Place) -> Option<Place> {
        let (a, b) = (&self.platform, &other.platform);
        if a.version != b.version {
            return None;
        }
        match (a.id == b.id, a.channel.is_empty(), b.channel.is_empty()) {
            (true, true, _) => Some(other.clone()),
            (true, false, _) => Some(self.clone()),
            // The same part of the release, on another edition of it.
            (false, true, false) => {
                Some(Place { platform: Platform { channel: b.channel.clone(), ..a.clone() }, text: Arc::clone(&other.text) })
            }
            (false, false, true) => {
                Some(Place { platform: Platform { channel: a.channel.clone(), ..b.clone() }, text: Arc::clone(&self.text) })
            }
            _ => None,
        }
    }
}

/// Beginnings of names, and the id in os-release; the longest that fits comes first.
const NAMES: &[(&str, &str)] = &[
    ("Red Hat Enterprise Linux CoreOS", "rhcos"),
    ("Red Hat CoreOS", "rhcos"),
    ("Red Hat Enterprise Linux", "rhel"),
    ("AlmaLinux OS", "almalinux"),
    ("AlmaLinux", "almalinux"),
    ("Alma Linux", "almalinux"),
    ("Rocky Linux", "rocky"),
    ("CentOS Stream", "centos"),
    ("CentOS Linux", "centos"),
    ("CentOS", "centos"),
    ("Oracle Linux", "ol"),
    ("Fedora", "fedora"),
    ("Amazon Linux", "amzn"),
    ("Photon OS", "photon"),
    ("Photon", "photon"),
    ("CBL-Mariner", "mariner"),
    ("Azure Linux", "azurelinux"),
    ("openEuler", "openEuler"),
    ("Debian GNU/Linux", "debian"),
    ("Debian", "debian"),
    ("Ubuntu", "ubuntu"),
];

/// Editions of one SUSE release that its modules can be installed on.
const EDITIONS: [&str; 3] = ["sles", "sled", "sle_hpc"];

/// The platforms that a name means: one, or the editions that a part of SUSE's releases can be on.
pub(super) fn by_name(text: &str) -> Vec<Place> {
    let text = text.trim().trim_end_matches('.').trim_end_matches(" is installed").trim();
    let text = text.split_once(" is running ").map_or(text, |(_, name)| name).trim();
    if let Some(rest) = text.strip_prefix("SUSE ") {
        // `15 SP1-LTSS`: a word of its own says what is beside the release.
        return suse(text, &format!("SUSE:{}", rest.replace('-', " ")));
    }
    if let Some(rest) = text.strip_prefix("openSUSE ") {
        return suse(text, &format!("openSUSE:{rest}"));
    }
    for (name, id) in NAMES {
        let Some(rest) = text.strip_prefix(name) else { continue };
        // `Server 7`, `OS 4.0`, `bionic`, `18.04 LTS`, `8 is installed`
        let number = rest.split([' ', '(', ')']).find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
        let code = || rest.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        return match (number, *id) {
            (Some(number), _) => vec![Place::new(id, number.trim_end_matches(['.', ',', ':']), text)],
            (None, "ubuntu") => codename(&code()).into_iter().map(|p| Place { text: text.into(), ..p }).collect(),
            (None, "debian") => codename(&code()).into_iter().map(|p| Place { text: text.into(), ..p }).collect(),
            (None, _) => Vec::new(),
        };
    }
    Vec::new()
}

fn suse(text: &str, name: &str) -> Vec<Place> {
    let Some(found) = ecosystem::of(name).platform else { return Vec::new() };
    if found.version.is_empty() && &*found.id != "opensuse-tumbleweed" {
        return Vec::new();
    }
    let module = found.channel.contains(" Module ");
    let editions: &[&str] = if module { &EDITIONS } else { &[] };
    let id = match text {
        t if t.contains("High Performance Computing") => "sle_hpc",
        _ => &*found.id,
    };
    let own = Place { platform: Platform { id: id.into(), ..found.clone() }, text: text.into() };
    let others = editions.iter().filter(|e| **e != id);
    let others = others.map(|e| Place { platform: Platform { id: (*e).into(), ..found.clone() }, text: text.into() });
    std::iter::once(own.clone()).chain(others).collect()
}

/// `bionic`, `bookworm`
pub(super) fn codename(name: &str) -> Option<Place> {
    let platform = ubuntu::platform(name).or_else(|| debian::platform(name))?;
    let text = format!("{}:{}", platform.id, platform.version).into();
    Some(Place { platform, text })
}

/// Of a definition's id: `oval:com.ubuntu.bionic:def:100`.
pub(super) fn by_namespace(id: &str) -> Option<Place> {
    let namespace = id.split(':').nth(1)?;
    namespace.split('.').find_map(codename)
}

/// Of a package that holds a release's own files.
pub(super) fn by_package(package: &str, version: &str) -> Option<Place> {
    let id = match package.trim_start_matches('^') {
        "redhat-release" | "redhat-release-server" | "redhat-release-client" | "redhat-release-workstation" => "rhel",
        "oraclelinux-release" => "ol",
        "almalinux-release" => "almalinux",
        "rocky-release" => "rocky",
        "centos-release" => "centos",
        "fedora-release" => "fedora",
        "photon-release" => "photon",
        "sles-release" => "sles",
        "sled-release" => "sled",
        _ => return None,
    };
    let digits = |c: &char| c.is_ascii_digit() || *c == '.';
    // `8`, `^8`, `^8[^\d]`, `15.3`
    let number: String = version.trim_start_matches('^').replace("\\.", ".").chars().take_while(digits).collect();
    let number = number.trim_end_matches('.');
    if number.is_empty() { None } else { Some(Place::new(id, number, &format!("{id}:{number}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_releases() {
        for (text, id, version, channel) in [
            ("Red Hat Enterprise Linux 8 is installed", "rhel", "8", ""),
            ("Red Hat Enterprise Linux 8", "rhel", "8", ""),
            ("Ubuntu 18.04 LTS", "ubuntu", "18.04", ""),
            ("The host is running Ubuntu bionic.", "ubuntu", "18.04", ""),
            ("Debian GNU/Linux 12", "debian", "12", ""),
            ("Debian bookworm", "debian", "12", ""),
            ("Oracle Linux 9 is installed", "ol", "9", ""),
            ("Photon OS 4.0", "photon", "4.0", ""),
            ("SUSE Linux Enterprise Server 15 SP3 is installed", "sles", "15.3", ""),
            ("SUSE Linux Enterprise Server 15 SP1-LTSS", "sles", "15.1", "Linux Enterprise Server 15 SP1 LTSS"),
            ("SUSE Linux Enterprise High Performance Computing 15 SP6", "sle_hpc", "15.6", ""),
            ("openSUSE Leap 15.5", "opensuse-leap", "15.5", ""),
            ("openSUSE Tumbleweed is installed", "opensuse-tumbleweed", "", ""),
        ] {
            let found: Vec<Platform> = by_name(text).into_iter().map(|p| p.platform).collect();
            assert_eq!(found, [Platform::new(id, version, channel)], "{text}");
        }
        for nothing in ["bash is installed", "Red Hat Enterprise Linux must be installed", "SUSE Manager", ""] {
            assert_eq!(by_name(nothing), [], "{nothing}");
        }
        assert_eq!(by_package("oraclelinux-release", "^8").map(|p| p.platform), Some(Platform::new("ol", "8", "")));
        assert_eq!(by_namespace("oval:com.ubuntu.bionic:def:1").map(|p| p.platform), Some(Platform::new("ubuntu", "18.04", "")));
    }

    #[test]
    fn a_module_is_on_every_edition_and_with_one_of_it() {
        let module = by_name("SUSE Linux Enterprise Module for Basesystem 15 SP3 is installed");
        assert_eq!(module.iter().map(|p| &*p.platform.id).collect::<Vec<_>>(), ["sles", "sled", "sle_hpc"]);
        let server = &by_name("SUSE Linux Enterprise Server 15 SP3")[0];
        let both: Vec<Place> = module.iter().filter_map(|m| server.and(m)).collect();
        assert!(both.iter().all(|p| *p.platform.id == *"sles" && !p.platform.channel.is_empty()), "{both:?}");
        assert_eq!(server.and(&by_name("SUSE Linux Enterprise Server 15 SP2")[0]), None);
    }
}
