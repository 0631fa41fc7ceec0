//! `sysctl`: the values below `/proc/sys`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::root::{lossy, read_file, why};
use super::{Gap, Gathered, Host, row};
use crate::scan::Row;

/// Folders within folders. The kernel's deepest are five.
const DEPTH: usize = 12;
const VALUE_BYTES: usize = 64 << 10;

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let base = host.root.resolve("/proc/sys").map_err(|_| Gap::NotHere("/proc/sys"))?;
    if !base.is_dir() {
        return Err(Gap::NotHere("/proc/sys"));
    }
    let mut rows = Vec::new();
    walk(&base, "", 0, host.limits.rows, &mut rows)?;
    Ok(rows)
}

fn walk(folder: &Path, prefix: &str, depth: usize, max: usize, rows: &mut Vec<Row>) -> Result<(), String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Interfaces come and go.
        Err(_) if depth > 0 && !folder.exists() => return Ok(()),
        Err(e) => return Err(format!("/proc/sys/{}: {}", prefix.replace('.', "/"), why(&e))),
    };
    for entry in entries.filter_map(Result::ok) {
        let Ok(kind) = entry.file_type() else { continue };
        // sysctl(8) writes a dot in a name as a slash: `net.ipv4.conf.eth0/100.forwarding`.
        let name = entry.file_name().to_string_lossy().replace('.', "/");
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        if changes(&key) || is_secret(&key) {
            continue;
        }
        if kind.is_dir() && depth < DEPTH {
            walk(&entry.path(), &key, depth + 1, max, rows)?;
        } else if kind.is_file() && rows.len() <= max {
            rows.extend(value(&entry.path(), key));
        }
    }
    Ok(())
}

/// A value; none of what can only be written, or is not set to anything (the kernel answers EIO).
fn value(path: &Path, key: String) -> Option<Row> {
    if fs::metadata(path).ok()?.permissions().mode() & 0o444 == 0 {
        return None;
    }
    match read_file(path, VALUE_BYTES) {
        Ok(bytes) => Some(row("sysctl").with("key", key).with("value", fold(&lossy(bytes)))),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Some(row("sysctl").with("key", key).with_error(why(&e))),
        Err(_) => None,
    }
}

fn fold(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c == '\0').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether a value is passed over, for itself or its folder.
pub(super) fn leaves_out(key: &str) -> bool {
    is_secret(key) || key.match_indices('.').filter_map(|(at, _)| key.get(..at)).chain([key]).any(changes)
}

/// Values, and folders of values, that change by themselves or with each boot.
fn changes(key: &str) -> bool {
    const KEYS: [&str; 25] = [
        "fs.aio-nr",
        "fs.binfmt_misc",
        "fs.dentry-state",
        "fs.file-nr",
        "fs.inode-nr",
        "fs.inode-state",
        "fs.quota",
        "kernel.cad_pid",
        "kernel.domainname",
        "kernel.hostname",
        "kernel.hung_task_detect_count",
        "kernel.msg_next_id",
        "kernel.ns_last_pid",
        "kernel.perf_event_max_sample_rate",
        "kernel.pty.nr",
        "kernel.random",
        "kernel.sched_domain",
        "kernel.sem_next_id",
        "kernel.shm_next_id",
        "kernel.spl",
        "net.core.netdev_rss_key",
        "net.netfilter.nf_conntrack_count",
        "net.nf_conntrack_count",
        "sunrpc.transports",
        "vm.stat_refresh",
    ];
    // The host's ends of the interfaces of containers.
    KEYS.contains(&key) || key.rsplit_once('.').is_some_and(|(folder, name)| name.starts_with("veth") && folder.starts_with("net."))
}

/// Keys in the cryptographic sense: a scan is no place for them.
fn is_secret(key: &str) -> bool {
    key == "net.ipv4.tcp_fastopen_key" || key.ends_with(".stable_secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_what_is_left_out() {
        assert_eq!(fold("4096\t131072\t 6291456\n"), "4096 131072 6291456");
        assert_eq!(fold("\n"), "");
        assert!(changes("kernel.random") && changes("net.ipv4.conf.veth12ab"));
        assert!(!changes("kernel.randomize_va_space"));
        assert!(is_secret("net.ipv6.conf.all.stable_secret"));
    }

    #[test]
    fn a_made_up_proc() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("net/ipv4/conf/eth0.7")).unwrap();
        fs::write(dir.path().join("net/ipv4/conf/eth0.7/forwarding"), "1\n").unwrap();
        fs::write(dir.path().join("net/ipv4/flush"), "x").unwrap();
        fs::set_permissions(dir.path().join("net/ipv4/flush"), fs::Permissions::from_mode(0o200)).unwrap();
        let mut rows = Vec::new();
        walk(dir.path(), "", 0, 100, &mut rows).unwrap();
        assert_eq!(rows, [row("sysctl").with("key", "net.ipv4.conf.eth0/7.forwarding").with("value", "1")]);
    }
}
