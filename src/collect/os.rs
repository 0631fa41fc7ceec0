//! `os`: os-release(5), and for the running system uname(2).

use std::collections::BTreeMap;

use super::root::Root;
use super::{Gathered, Host, row};

/// Both places, in the order of os-release(5).
const PLACES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

pub(super) fn read_release(root: &Root) -> BTreeMap<String, String> {
    PLACES.iter().find_map(|path| root.text(path).ok().flatten()).map(|text| parse(&text)).unwrap_or_default()
}

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let get = |key: &str| host.release.get(key).map(String::as_str);
    let mut os = row("os")
        .with("family", "linux")
        .with("id", get("ID"))
        .with("id_like", get("ID_LIKE"))
        .with("name", get("PRETTY_NAME").or_else(|| get("NAME")))
        .with("version", get("VERSION_ID"))
        .with("codename", get("VERSION_CODENAME"));
    if host.root.is_live() {
        let uname = rustix::system::uname();
        let [machine, release, version] = [uname.machine(), uname.release(), uname.version()].map(|t| t.to_string_lossy().into_owned());
        os = os.with("kernel_version", kernel_version(host.root, &machine, &release, &version));
        os = os.with("reboot_required", reboot_required(host.root));
        os = os.with("arch", machine).with("kernel", release);
    } else {
        let kernel = host.root.text("/proc/sys/kernel/osrelease").ok().flatten();
        os = os.with("arch", arch(host.root)).with("kernel", kernel.map(|k| k.trim().to_owned()));
    }
    if host.release.is_empty() {
        os = os.with_error(format!("{} and {}: no os-release could be read", PLACES[0], PLACES[1]));
    }
    Ok(vec![os])
}

/// The version of the package that the running kernel is from. `None` where it does not say so, or is not of this system: a container runs on its host's.
fn kernel_version(root: &Root, machine: &str, release: &str, version: &str) -> Option<String> {
    if !["/lib/modules", "/usr/lib/modules"].into_iter().any(|folder| root.exists(&format!("{folder}/{release}"))) {
        return None;
    }
    // `#1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26)`
    let mut words = version.split_whitespace().skip_while(|w| *w != "Debian");
    if let Some(version) = words.nth(1) {
        return Some(version.to_owned());
    }
    // `Ubuntu 5.15.0-91.101-generic 5.15.131`: the version stands before the flavour.
    if let Some(signature) = root.text("/proc/version_signature").ok().flatten() {
        let name = signature.split_whitespace().nth(1)?;
        let mut parts = name.split('-');
        return Some(format!("{}-{}", parts.next()?, parts.next()?));
    }
    // Kernels of rpm distributions are called by the version of their package and the architecture. Those of SUSE leave a part out.
    release.strip_suffix(machine)?.strip_suffix('.').map(str::to_owned)
}

/// What packages leave behind that wait for a restart; false only where that is in place and says nothing.
fn reboot_required(root: &Root) -> Option<bool> {
    if ["/run/reboot-required", "/var/run/reboot-required", "/run/reboot-needed"].into_iter().any(|path| root.exists(path)) {
        return Some(true);
    }
    root.exists("/usr/share/update-notifier/notify-reboot-required").then_some(false)
}

/// `NAME=value` lines in the shell's quoting.
pub(super) fn parse(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|l| !l.starts_with('#')) {
        if let Some((key, value)) = line.split_once('=') {
            all.insert(key.trim().to_owned(), unquote(value.trim()));
        }
    }
    all
}

fn unquote(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')) {
        return inner.to_owned();
    }
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// `debian:12`; `debian:sid` where a rolling release has no number; `arch` where it has no name either.
pub(super) fn release(of: &BTreeMap<String, String>) -> Option<String> {
    let id = of.get("ID").filter(|id| !id.is_empty())?;
    match of.get("VERSION_ID").or_else(|| of.get("VERSION_CODENAME")) {
        Some(version) => Some(format!("{id}:{version}")),
        None => Some(id.clone()),
    }
}

/// The architecture of a system that does not run: as its package manager writes it down, else what its shell was built for.
fn arch(root: &Root) -> Option<String> {
    for path in ["/var/lib/dpkg/arch", "/etc/apk/arch"] {
        if let Some(text) = root.text(path).ok().flatten()
            && let Some(first) = text.lines().next()
        {
            return Some(kernel_name(first.trim()).to_owned());
        }
    }
    let shell = root.read("/bin/sh", 64 << 20).ok()?;
    elf_arch(&shell).map(str::to_owned)
}

/// Debian's names as uname(1) writes them.
fn kernel_name(arch: &str) -> &str {
    match arch {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "armhf" => "armv7l",
        "i386" => "i686",
        "ppc64el" => "ppc64le",
        other => other,
    }
}

/// `e_machine` of an ELF file, for the machines that distributions are built for.
fn elf_arch(bytes: &[u8]) -> Option<&'static str> {
    bytes.strip_prefix(b"\x7fELF")?;
    let little = *bytes.get(5)? == 1;
    let machine = [*bytes.get(18)?, *bytes.get(19)?];
    let machine = if little { u16::from_le_bytes(machine) } else { u16::from_be_bytes(machine) };
    match (machine, little) {
        (3, _) => Some("i686"),
        (21, true) => Some("ppc64le"),
        (22, false) => Some("s390x"),
        (40, true) => Some("armv7l"),
        (62, _) => Some("x86_64"),
        (183, true) => Some("aarch64"),
        (243, true) => Some("riscv64"),
        (258, true) => Some("loongarch64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_of_os_release() {
        let got = parse("# c\nID=debian\nVERSION_ID=\"12\"\nNAME='It is'\nPRETTY_NAME=\"a \\\"b\\\" \\$c\"\nbroken\n");
        assert_eq!(got.get("PRETTY_NAME").map(String::as_str), Some("a \"b\" $c"));
        assert_eq!(got.get("NAME").map(String::as_str), Some("It is"));
        assert_eq!(release(&got).as_deref(), Some("debian:12"));
        assert_eq!(release(&parse("ID=debian\nVERSION_CODENAME=sid")).as_deref(), Some("debian:sid"));
        assert_eq!(release(&parse("ID=arch\n")).as_deref(), Some("arch"));
        assert_eq!(release(&parse("")), None);
    }

    #[test]
    fn versions_of_running_kernels() {
        let modules = |release: &str| format!("usr/lib/modules/{release}/modules.dep");
        for (release, version, signature, expected) in [
            ("6.1.0-25-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26)", "", Some("6.1.106-3")),
            ("5.15.0-91-generic", "#101-Ubuntu SMP Tue Nov 14", "Ubuntu 5.15.0-91.101-generic 5.15.131\n", Some("5.15.0-91.101")),
            ("5.15.0-91-generic-64k", "#101", "Ubuntu 5.15.0-91.101~20.04.1-generic-64k 5.15.131\n", Some("5.15.0-91.101~20.04.1")),
            ("5.14.0-427.13.1.el9_4.x86_64", "#1 SMP", "", Some("5.14.0-427.13.1.el9_4")),
            ("5.14.21-150500.55.7-default", "#1 SMP", "", None),
        ] {
            let path = modules(release);
            let mut files = vec![(path.as_str(), "")];
            if !signature.is_empty() {
                files.push(("proc/version_signature", signature));
            }
            let tree = crate::collect::tests::Tree::new(&files);
            let root = Root::new(tree.path());
            assert_eq!(kernel_version(&root, "x86_64", release, version).as_deref(), expected, "{release}");
            // In a container.
            assert_eq!(kernel_version(&root, "x86_64", "4.18.0-1.el8.x86_64", version), None);
        }
    }

    #[test]
    fn waiting_for_a_restart() {
        for (file, expected) in
            [("run/reboot-required", Some(true)), ("usr/share/update-notifier/notify-reboot-required", Some(false)), ("x", None)]
        {
            let tree = crate::collect::tests::Tree::new(&[(file, "")]);
            assert_eq!(reboot_required(&Root::new(tree.path())), expected, "{file}");
        }
    }

    #[test]
    fn machines_of_elf_files() {
        let mut elf = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0";
        assert_eq!(elf_arch(&elf), Some("x86_64"));
        elf[18] = 183;
        assert_eq!(elf_arch(&elf), Some("aarch64"));
        assert_eq!(elf_arch(elf.get(..19).unwrap()), None);
        assert_eq!(elf_arch(b"#!/bin/sh"), None);
    }
}
