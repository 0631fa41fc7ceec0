//! `mount`: what is mounted, without what the kernel and containers mount for themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::root::Root;
use super::{Gap, Gathered, Host, row};
use crate::scan::Row;

const MOUNTS: &str = "/proc/self/mounts";

/// Views of the kernel rather than storage; `cgroup` stands for cgroup2 too.
const KERNEL: [&str; 18] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
];

/// Below these, mounts come and go with containers, pods, sessions and services.
const PASSING: [&str; 14] = [
    "/proc/",
    "/run/containerd/",
    "/run/credentials/",
    "/run/docker/",
    "/run/k3s/",
    "/run/netns/",
    "/run/snapd/ns/",
    "/run/user/",
    "/sys/",
    "/var/lib/containerd/",
    "/var/lib/containers/",
    "/var/lib/docker/",
    "/var/lib/kubelet/pods/",
    "/var/lib/lxc",
];

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    match host.root.text(MOUNTS)? {
        Some(text) => Ok(parse(&text)),
        None => Err(Gap::NotHere(MOUNTS)),
    }
}

/// Every mount point, also those that the table leaves out.
pub(super) fn points(root: &Root) -> BTreeSet<String> {
    let text = root.text(MOUNTS).ok().flatten().unwrap_or_default();
    text.lines().filter_map(|l| l.split(' ').nth(1)).map(unescape).collect()
}

fn parse(text: &str) -> Vec<Row> {
    let mut mounts = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let &[device, path, fstype, options, ..] = fields.as_slice() else { continue };
        let path = unescape(path);
        let kept = !KERNEL.contains(&fstype) && fstype != "tracefs" && !PASSING.iter().any(|p| path.starts_with(p));
        if kept {
            let mount = row("mount").with("path", path.as_str()).with("device", unescape(device));
            // Of two mounts in one place the later one is what is seen.
            mounts.insert(path, mount.with("fstype", unescape(fstype)).with("options", unescape(options)));
        }
    }
    mounts.into_values().collect()
}

/// `\040` and the like: three octal digits.
pub(super) fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|d| *first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        let byte = octal.map(|d| d.iter().fold(0u16, |n, b| n * 8 + u16::from(b - b'0'))).and_then(|n| u8::try_from(n).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    super::root::lossy(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_what_is_left_out() {
        let text = "proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw,relatime 0 0\ntmpfs /run/user/1000 tmpfs rw 0 0\n\
            //srv/a\\040b /mnt/c\\134d cifs rw 0 0\noverlay /var/lib/docker/overlay2/x/merged overlay rw 0 0\n\
            tmpfs /dev/shm tmpfs rw 0 0\ntmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec 0 0\nshort\n";
        let got: Vec<_> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(
            got,
            [
                r#"mount{"path":"/","device":"/dev/sda1","fstype":"ext4","options":"rw,relatime"}"#,
                r#"mount{"path":"/dev/shm","device":"tmpfs","fstype":"tmpfs","options":"rw,nosuid,nodev,noexec"}"#,
                r#"mount{"path":"/mnt/c\\d","device":"//srv/a b","fstype":"cifs","options":"rw"}"#,
            ]
        );
        assert_eq!(unescape("a\\9\\777\\04"), "a\\9\\777\\04");
    }
}
