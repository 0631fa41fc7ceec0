//! `process`: the distinct programs that run.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::root::{is_absent, lossy, read_file, why};
use super::{Gap, Gathered, Host, row, secrets, table};
use crate::scan::Row;

/// Command lines may be long; content asks for how they begin.
const CMDLINE_BYTES: u64 = 8 << 10;
/// The kernel cuts names off here.
const COMM: usize = 15;

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let pids = pids(host)?;
    if pids.is_empty() {
        return Err(Gap::NotHere("/proc"));
    }
    // A process table without its first process was mounted with hidepid.
    if host.root.is_live() && !pids.contains(&1) {
        return Err(Gap::Failed("/proc: other users' processes are hidden".into()));
    }
    let mut rows = Vec::new();
    for pid in pids.into_iter().filter(|pid| *pid != std::process::id()) {
        match one(host, pid) {
            Ok(found) => rows.extend(found),
            // Processes end while we look.
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(Gap::Failed(format!("/proc/<pid>/status: {}", why(&e)))),
        }
    }
    Ok(rows)
}

/// The ids of all processes, in order.
pub(super) fn pids(host: &Host<'_>) -> Result<Vec<u32>, String> {
    let mut pids: Vec<u32> = host.root.names("/proc")?.iter().filter_map(|n| n.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

pub(super) fn is_gone(e: &io::Error) -> bool {
    is_absent(e) || e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn one(host: &Host<'_>, pid: u32) -> io::Result<Option<Row>> {
    let folder = host.root.resolve(&format!("/proc/{pid}"))?;
    let status = lossy(read_file(&folder.join("status"), 1 << 20)?);
    let (exe, problem) = match std::fs::read_link(folder.join("exe")) {
        Ok(exe) => (Some(exe.to_string_lossy().trim_end_matches(" (deleted)").to_owned()), None),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => (None, Some("exe: permission denied")),
        Err(_) => (None, None),
    };
    let words = cmdline(&folder)?;
    let argv0 = words.first().map(String::as_str).unwrap_or_default();
    // Kernel threads have neither; so do zombies.
    if exe.is_none() && argv0.is_empty() {
        return Ok(None);
    }
    let Some((comm, uid)) = parse_status(&status) else { return Ok(None) };
    let mut process = row("process").with("name", name(comm, argv0, exe.as_deref())).with("user", host.names.user(uid));
    process = process.with("exe", exe);
    // Command lines are where people put secrets: only where somebody asks, and without arguments that say they are some.
    if host.asks.contains_key(&table("process")) {
        process = process.with("command", secrets::mask_command(&words.join(" ")));
    }
    if host.root.exists("/sys/fs/selinux/enforce") {
        process = process.with("domain", domain(&folder));
    }
    Ok(Some(match problem {
        Some(why) => process.with_error(why),
        None => process,
    }))
}

/// The words of a command line.
fn cmdline(folder: &Path) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    File::open(folder.join("cmdline"))?.take(CMDLINE_BYTES).read_to_end(&mut bytes)?;
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    Ok(if bytes.is_empty() { Vec::new() } else { bytes.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect() })
}

/// The SELinux domain: the type in the label `user:role:type:range`.
fn domain(folder: &Path) -> Option<String> {
    let label = lossy(read_file(&folder.join("attr/current"), 4096).ok()?);
    let label = label.trim_matches(['\0', '\n']);
    label.split(':').nth(2).map(str::to_owned)
}

/// The name and the effective user of `/proc/PID/status`.
fn parse_status(text: &str) -> Option<(&str, u32)> {
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    Some((field("Name")?, field("Uid")?.split_whitespace().nth(1)?.parse().ok()?))
}

/// The kernel's name of a process, made whole where it was cut off.
pub(super) fn name(comm: &str, argv0: &str, exe: Option<&str>) -> String {
    if comm.len() >= COMM {
        for path in [exe.unwrap_or_default(), argv0] {
            if let Some(whole) = path.rsplit('/').next().filter(|n| n.starts_with(comm)) {
                // Programs write on into their first argument (`nginx: master process`).
                return whole.split([' ', ':']).next().unwrap_or(whole).to_owned();
            }
        }
    }
    comm.to_owned()
}

/// The name of a process for other tables.
pub(super) fn name_of(folder: &Path) -> Option<String> {
    let status = lossy(read_file(&folder.join("status"), 1 << 20).ok()?);
    let (comm, _) = parse_status(&status)?;
    let exe = std::fs::read_link(folder.join("exe")).ok().map(|e| e.to_string_lossy().trim_end_matches(" (deleted)").to_owned());
    let words = cmdline(folder).unwrap_or_default();
    Some(name(comm, words.first().map(String::as_str).unwrap_or_default(), exe.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::Tree;

    #[test]
    fn names_are_made_whole() {
        assert_eq!(name("sshd", "sshd: a", Some("/usr/sbin/sshd")), "sshd");
        assert_eq!(name("systemd-timesyn", "/lib/systemd/systemd-timesyncd", None), "systemd-timesyncd");
        assert_eq!(name("fail2ban-server", "/usr/bin/python3", Some("/usr/bin/python3.11")), "fail2ban-server");
    }

    #[test]
    fn a_made_up_proc() {
        let status = |name: &str| format!("Name:\t{name}\nState:\tS\nUid:\t0\t7\t0\t0\n");
        let tree = Tree::new(&[
            ("etc/passwd", "d:x:7:7::/:\n"),
            ("proc/1/status", &status("init")),
            ("proc/1/cmdline", "/sbin/init\0--x\0"),
            ("proc/2/status", &status("kthreadd")),
            ("proc/2/cmdline", ""),
        ]);
        let rows = tree.with_host(|host| collect(host).unwrap());
        assert_eq!(rows, [row("process").with("name", "init").with("user", "d")]);
        let rows = tree.with_asks(&[("process", &[])], |host| collect(host).unwrap());
        assert_eq!(rows, [row("process").with("name", "init").with("user", "7").with("command", "/sbin/init --x")]);
    }

    #[test]
    fn domains_where_there_is_selinux() {
        let tree = Tree::new(&[
            ("sys/fs/selinux/enforce", "1"),
            ("proc/1/status", "Name:\tinit\nUid:\t0\t0\t0\t0\n"),
            ("proc/1/cmdline", "/sbin/init\0"),
            ("proc/1/attr/current", "system_u:system_r:init_t:s0\0"),
        ]);
        let rows = tree.with_host(|host| collect(host).unwrap());
        assert_eq!(rows[0].get("domain").as_str(), Some("init_t"));
        assert!(rows[0].get("command").as_str().is_none());
    }
}
