//! What Red Hat writes inside CSAF and OSV: product CPEs, package names with epoch, module streams. Text in, parts of the model out.

use super::model::{Module, Platform};
use super::purl::Purl;

/// The release that a product CPE is of. The CPE itself is the channel: a fix for one product is not a fix in another's repositories.
pub fn platform(cpe: &str) -> Platform {
    let parts: Vec<&str> = match cpe.strip_prefix("cpe:2.3:") {
        Some(rest) => rest.split(':').map(|p| if p == "*" || p == "-" { "" } else { p }).collect(),
        None => cpe.strip_prefix("cpe:/").unwrap_or(cpe).split(':').collect(),
    };
    let [product, version] = [2, 3].map(|at| parts.get(at).copied().unwrap_or(""));
    let os = matches!(
        product,
        "enterprise_linux" | "enterprise_linux_eus" | "rhel_eus" | "rhel_aus" | "rhel_e4s" | "rhel_els" | "rhel_tus" | "rhel_eus_long_life"
    );
    let (id, release) = match product {
        _ if os => ("rhel", version),
        "fedora" => ("fedora", version),
        // `openshift:4.12::el8`: the edition says for which release it is built.
        _ => (
            "rhel",
            parts.iter().skip(4).find_map(|p| p.strip_prefix("el")).filter(|v| v.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(""),
        ),
    };
    Platform::new(id, release.trim_end_matches(".*"), cpe)
}

/// `kernel-0:3.10.0-693.112.1.el7.src`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nevra {
    pub name: String,
    /// With the epoch where one is given: an epoch that is not known is not 0.
    pub evr: String,
    pub arch: String,
}

impl Nevra {
    pub fn parse(text: &str) -> Option<Nevra> {
        let (rest, arch) = text.rsplit_once('.')?;
        let (rest, release) = rest.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        let number = version.split_once(':').map_or(version, |(_, v)| v);
        let fits = !name.is_empty() && !arch.is_empty() && number.starts_with(|c: char| c.is_ascii_digit()) && !release.is_empty();
        let arch_fits = arch.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && arch.starts_with(|c: char| c.is_ascii_alphabetic());
        (fits && arch_fits).then(|| Nevra { name: name.into(), evr: format!("{version}-{release}"), arch: arch.into() })
    }

    /// Of a `pkg:rpm/...`: the epoch stands in a qualifier.
    pub(super) fn of_purl(purl: &Purl) -> Nevra {
        let epoch = purl.qualifier("epoch");
        let evr = if epoch.is_empty() || purl.version.contains(':') || purl.version.is_empty() {
            purl.version.clone()
        } else {
            format!("{epoch}:{}", purl.version)
        };
        Nevra { name: purl.name.clone(), evr, arch: purl.qualifier("arch").into() }
    }
}

/// `nodejs:20:8090020231228:abc`: name and stream, whatever follows.
pub fn module(text: &str) -> Option<Module> {
    let mut parts = text.split(':');
    match (parts.next(), parts.next()) {
        (Some(name), Some(stream)) if !name.is_empty() && !stream.is_empty() => Some(Module { name: name.into(), stream: stream.into() }),
        _ => None,
    }
}

/// The modules that an advisory is of whose fix is modular, by its title: `Low: virt:rhel and virt-devel:rhel security and bug fix update`. One without a name if
/// the title names none.
pub(super) fn modules_of_title(title: &str) -> Vec<Module> {
    let mut found: Vec<Module> = Vec::new();
    for word in title.split([' ', ',']) {
        let Some((name, stream)) = word.split_once(':') else { continue };
        // `Moderate:`, `ALSA-2022:5468:`
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) && !name.contains("://");
        let is_stream = !stream.is_empty() && stream.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'));
        if is_name && is_stream {
            found.push(Module { name: name.into(), stream: stream.into() });
        }
    }
    if found.is_empty() {
        found.push(Module::unnamed());
    }
    found
}

/// Such a version is of a module's package.
pub(super) fn is_modular(version: &str) -> bool {
    version.contains(".module")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpes() {
        for (cpe, id, version) in [
            ("cpe:/o:redhat:enterprise_linux:8::baseos", "rhel", "8"),
            ("cpe:/a:redhat:rhel_eus:8.6::appstream", "rhel", "8.6"),
            ("cpe:2.3:a:redhat:enterprise_linux:9:*:appstream:*:*:*:*:*", "rhel", "9"),
            ("cpe:/a:redhat:openshift:4.12::el8", "rhel", "8"),
            ("cpe:/o:redhat:enterprise_linux", "rhel", ""),
            ("", "rhel", ""),
        ] {
            assert_eq!(platform(cpe), Platform::new(id, version, cpe), "{cpe}");
        }
    }

    #[test]
    fn modules_of_titles() {
        let named = |title: &str| modules_of_title(title).iter().map(|m| format!("{}:{}", m.name, m.stream)).collect::<Vec<_>>();
        assert_eq!(named("Low: virt:rhel and virt-devel:rhel security and bug fix update"), ["virt:rhel", "virt-devel:rhel"]);
        assert_eq!(named("ALSA-2022:5468: php:8.0 security update (Important)"), ["php:8.0"]);
        assert_eq!(named("Moderate: 389-ds:1.4 security update"), ["389-ds:1.4"]);
        assert_eq!(named("Moderate: container-tools security update"), [":"]);
    }

    #[test]
    fn names_with_epoch() {
        let n = Nevra::parse("kernel-rt-core-0:3.10.0-693.112.1.el7.src").expect("nevra");
        assert_eq!((&*n.name, &*n.evr, &*n.arch), ("kernel-rt-core", "0:3.10.0-693.112.1.el7", "src"));
        assert_eq!(Nevra::parse("bash-5.1-2.el9.x86_64").map(|n| n.evr).as_deref(), Some("5.1-2.el9"));
        for none in ["kernel", "kernel-rt", "red-hat-enterprise.linux", "a-b-c.d", ""] {
            assert_eq!(Nevra::parse(none), None, "{none}");
        }
        let purl = Purl::parse("pkg:rpm/redhat/bind@9.11-3.el8?arch=src&epoch=32").expect("purl");
        assert_eq!(Nevra::of_purl(&purl).evr, "32:9.11-3.el8");
        assert_eq!(module("nodejs:20:809:a").map(|m| m.stream).as_deref(), Some("20"));
        assert_eq!(module("nodejs"), None);
    }
}
