//! Everything on a machine that is not a package: kernel parameters, files, settings, services, accounts, mounts.
//!
//! A [`Spot`] is one fact that machines have in one of a few ways: the first is how it is mostly, the others are how somebody made it.

use super::packages::{RELEASES, kernel, table};
use super::{below, mix};
use crate::scan::{Row, Value};

#[derive(Debug)]
pub(super) struct Spot {
    /// How many of a thousand images have it.
    pub(super) share: u64,
    pub(super) ways: Vec<Row>,
}

/// Kernel parameters: key and values.
const SYSCTL: [(&str, &str); 46] = [
    ("dev.tty.ldisc_autoload", "0|1"),
    ("fs.inotify.max_user_watches", "65536|524288|1048576"),
    ("fs.protected_fifos", "1|2|0"),
    ("fs.protected_hardlinks", "1|0"),
    ("fs.protected_regular", "2|1|0"),
    ("fs.protected_symlinks", "1|0"),
    ("fs.suid_dumpable", "0|2|1"),
    ("kernel.core_pattern", "core|/dev/null"),
    ("kernel.core_uses_pid", "1|0"),
    ("kernel.dmesg_restrict", "1|0"),
    ("kernel.kexec_load_disabled", "0|1"),
    ("kernel.kptr_restrict", "1|2|0"),
    ("kernel.panic", "0|10|60"),
    ("kernel.perf_event_paranoid", "3|2|1"),
    ("kernel.pid_max", "4194304|131072"),
    ("kernel.randomize_va_space", "2|0|1"),
    ("kernel.sysrq", "0|438|1"),
    ("kernel.unprivileged_bpf_disabled", "2|1|0"),
    ("kernel.yama.ptrace_scope", "1|0|2"),
    ("net.core.bpf_jit_harden", "2|0"),
    ("net.core.default_qdisc", "fq_codel|fq"),
    ("net.core.rmem_max", "212992|16777216|33554432"),
    ("net.core.somaxconn", "4096|65535|1024"),
    ("net.core.wmem_max", "212992|16777216"),
    ("net.ipv4.icmp_echo_ignore_broadcasts", "1|0"),
    ("net.ipv4.icmp_ignore_bogus_error_responses", "1|0"),
    ("net.ipv4.ip_forward", "0|1"),
    ("net.ipv4.ip_local_port_range", "32768 60999|1024 65535|10000 65000"),
    ("net.ipv4.tcp_congestion_control", "cubic|bbr"),
    ("net.ipv4.tcp_fin_timeout", "60|30|15"),
    ("net.ipv4.tcp_keepalive_time", "7200|600|300"),
    ("net.ipv4.tcp_max_syn_backlog", "1024|4096|8192"),
    ("net.ipv4.tcp_rfc1337", "0|1"),
    ("net.ipv4.tcp_rmem", "4096 131072 6291456|4096 87380 16777216"),
    ("net.ipv4.tcp_syncookies", "1|0"),
    ("net.ipv4.tcp_tw_reuse", "2|1|0"),
    ("net.ipv4.tcp_wmem", "4096 16384 4194304|4096 65536 16777216"),
    ("vm.dirty_background_ratio", "10|5"),
    ("vm.dirty_ratio", "20|10|40"),
    ("vm.max_map_count", "65530|262144|1048576"),
    ("vm.min_free_kbytes", "67584|45056|90112"),
    ("vm.mmap_min_addr", "65536|4096"),
    ("vm.overcommit_memory", "0|1|2"),
    ("vm.swappiness", "60|10|1"),
    ("vm.unprivileged_userfaultfd", "0|1"),
    ("vm.vfs_cache_pressure", "100|50"),
];

const INTERFACES: [&str; 6] = ["all", "default", "lo", "eth0", "eth1", "docker0"];

/// Parameters of each network interface.
const IPV4_CONF: [(&str, &str); 22] = [
    ("accept_local", "0|1"),
    ("accept_redirects", "0|1"),
    ("accept_source_route", "0|1"),
    ("arp_accept", "0|1"),
    ("arp_announce", "0|2"),
    ("arp_filter", "0|1"),
    ("arp_ignore", "0|1"),
    ("arp_notify", "0|1"),
    ("disable_policy", "0|1"),
    ("disable_xfrm", "0|1"),
    ("drop_gratuitous_arp", "0|1"),
    ("forwarding", "0|1"),
    ("log_martians", "0|1"),
    ("mc_forwarding", "0"),
    ("promote_secondaries", "1|0"),
    ("proxy_arp", "0|1"),
    ("route_localnet", "0|1"),
    ("rp_filter", "2|1|0"),
    ("secure_redirects", "1|0"),
    ("send_redirects", "1|0"),
    ("shared_media", "1|0"),
    ("tag", "0"),
];
const IPV6_CONF: [(&str, &str); 16] = [
    ("accept_ra", "1|0"),
    ("accept_ra_defrtr", "1|0"),
    ("accept_redirects", "1|0"),
    ("accept_source_route", "0|-1"),
    ("addr_gen_mode", "0|1"),
    ("autoconf", "1|0"),
    ("dad_transmits", "1|0"),
    ("disable_ipv6", "0|1"),
    ("forwarding", "0|1"),
    ("hop_limit", "64|255"),
    ("max_addresses", "16"),
    ("mtu", "1500|9000|65536"),
    ("ndisc_notify", "0|1"),
    ("proxy_ndp", "0|1"),
    ("router_solicitations", "-1|3"),
    ("use_tempaddr", "0|2"),
];

const NEIGH: [(&str, &str); 14] = [
    ("anycast_delay", "100"),
    ("app_solicit", "0"),
    ("base_reachable_time_ms", "30000|60000"),
    ("delay_first_probe_time", "5"),
    ("gc_stale_time", "60|120"),
    ("interval_probe_time_ms", "5000"),
    ("locktime", "100|0"),
    ("mcast_resolicit", "0"),
    ("mcast_solicit", "3|6"),
    ("proxy_delay", "80"),
    ("proxy_qlen", "64"),
    ("retrans_time_ms", "1000"),
    ("ucast_solicit", "3"),
    ("unres_qlen_bytes", "212992|1048576"),
];

/// Programs that run as somebody else, whose modes are watched.
const PROGRAMS: [&str; 22] = [
    "chage",
    "chfn",
    "chsh",
    "crontab",
    "dotlockfile",
    "expiry",
    "fusermount3",
    "gpasswd",
    "mount",
    "newgidmap",
    "newgrp",
    "newuidmap",
    "passwd",
    "ping",
    "pkexec",
    "ssh-agent",
    "su",
    "sudoedit",
    "umount",
    "unix_chkpwd",
    "wall",
    "write",
];

/// Settings: file, key and values.
const CONFIG: [(&str, &str, &str); 40] = [
    ("/etc/login.defs", "ENCRYPT_METHOD", "YESCRYPT|SHA512"),
    ("/etc/login.defs", "FAILLOG_ENAB", "yes|no"),
    ("/etc/login.defs", "GID_MAX", "60000"),
    ("/etc/login.defs", "GID_MIN", "1000|500"),
    ("/etc/login.defs", "HOME_MODE", "0700|0750"),
    ("/etc/login.defs", "LOGIN_RETRIES", "5|3"),
    ("/etc/login.defs", "LOGIN_TIMEOUT", "60|30"),
    ("/etc/login.defs", "LOG_OK_LOGINS", "no|yes"),
    ("/etc/login.defs", "PASS_MAX_DAYS", "365|99999|90|60"),
    ("/etc/login.defs", "PASS_MIN_DAYS", "1|0|7"),
    ("/etc/login.defs", "PASS_WARN_AGE", "7|14|3"),
    ("/etc/login.defs", "UID_MAX", "60000"),
    ("/etc/login.defs", "UID_MIN", "1000|500"),
    ("/etc/login.defs", "UMASK", "027|022|077"),
    ("/etc/default/useradd", "INACTIVE", "30|-1|45"),
    ("/etc/default/useradd", "SHELL", "/bin/sh|/bin/bash"),
    ("/etc/security/faillock.conf", "deny", "5|3|10"),
    ("/etc/security/faillock.conf", "unlock_time", "900|600|0"),
    ("/etc/security/faillock.conf", "even_deny_root", "|yes"),
    ("/etc/security/faillock.conf", "root_unlock_time", "60|900"),
    ("/etc/security/pwquality.conf", "difok", "2|1|5"),
    ("/etc/security/pwquality.conf", "dictcheck", "1|0"),
    ("/etc/security/pwquality.conf", "enforce_for_root", "|1"),
    ("/etc/security/pwquality.conf", "maxrepeat", "3|0"),
    ("/etc/security/pwquality.conf", "maxsequence", "3|0"),
    ("/etc/security/pwquality.conf", "minclass", "4|3|0"),
    ("/etc/security/pwquality.conf", "minlen", "14|8|12|16"),
    ("/etc/security/pwhistory.conf", "remember", "24|5|0"),
    ("/etc/audit/auditd.conf", "admin_space_left_action", "single|suspend|halt"),
    ("/etc/audit/auditd.conf", "disk_error_action", "syslog|halt"),
    ("/etc/audit/auditd.conf", "disk_full_action", "halt|suspend|syslog"),
    ("/etc/audit/auditd.conf", "local_events", "yes|no"),
    ("/etc/audit/auditd.conf", "max_log_file", "32|8|100"),
    ("/etc/audit/auditd.conf", "max_log_file_action", "keep_logs|rotate"),
    ("/etc/audit/auditd.conf", "space_left_action", "email|syslog"),
    ("/etc/systemd/journald.conf", "Journal.Compress", "yes|no"),
    ("/etc/systemd/journald.conf", "Journal.Storage", "persistent|auto|volatile"),
    ("/etc/systemd/coredump.conf", "Coredump.ProcessSizeMax", "0|2G"),
    ("/etc/systemd/coredump.conf", "Coredump.Storage", "none|external"),
    ("/etc/systemd/timesyncd.conf", "Time.NTP", "time.example.net|0.pool.example.net 1.pool.example.net|"),
];

const SSHD: [(&str, &str); 30] = [
    ("allowagentforwarding", "yes|no"),
    ("allowgroups", "ssh-users|ssh-users admins"),
    ("allowtcpforwarding", "no|yes"),
    ("banner", "/etc/issue.net|none"),
    ("ciphers", "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com|aes128-ctr,aes256-cbc|aes256-gcm@openssh.com,aes256-ctr"),
    ("clientalivecountmax", "3|0|10"),
    ("clientaliveinterval", "15|0|300"),
    ("gatewayports", "no|yes"),
    ("gssapiauthentication", "no|yes"),
    ("hostbasedauthentication", "no|yes"),
    ("ignorerhosts", "yes|no"),
    ("kbdinteractiveauthentication", "no|yes"),
    ("kexalgorithms", "curve25519-sha256,ecdh-sha2-nistp384|diffie-hellman-group14-sha1,curve25519-sha256"),
    ("listenaddress", "0.0.0.0|::"),
    ("logingracetime", "60|120|30"),
    ("loglevel", "verbose|info|debug"),
    ("macs", "hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com|hmac-sha1,hmac-sha2-256"),
    ("maxauthtries", "4|6|3"),
    ("maxsessions", "10|4|100"),
    ("maxstartups", "10:30:60|10:30:100"),
    ("passwordauthentication", "no|yes"),
    ("permitemptypasswords", "no|yes"),
    ("permitrootlogin", "no|prohibit-password|yes"),
    ("permituserenvironment", "no|yes"),
    ("port", "22|2222|22022"),
    ("printmotd", "no|yes"),
    ("strictmodes", "yes|no"),
    ("subsystem", "sftp /usr/lib/openssh/sftp-server|sftp internal-sftp"),
    ("usepam", "yes|no"),
    ("x11forwarding", "no|yes"),
];

/// Files: path, mode as it should be, modes as it is at times.
const FILES: [(&str, i64, &[i64]); 40] = [
    ("/boot/grub/grub.cfg", 0o600, &[0o644, 0o444]),
    ("/etc/at.allow", 0o640, &[0o644]),
    ("/etc/cron.allow", 0o640, &[0o644]),
    ("/etc/cron.d", 0o755, &[0o700, 0o775]),
    ("/etc/cron.daily", 0o755, &[0o700]),
    ("/etc/cron.hourly", 0o755, &[0o700]),
    ("/etc/cron.monthly", 0o755, &[0o700]),
    ("/etc/cron.weekly", 0o755, &[0o700]),
    ("/etc/crontab", 0o644, &[0o600, 0o664]),
    ("/etc/fstab", 0o644, &[0o664]),
    ("/etc/group", 0o644, &[0o664]),
    ("/etc/group-", 0o644, &[0o600]),
    ("/etc/gshadow", 0o640, &[0o600, 0o644]),
    ("/etc/gshadow-", 0o640, &[0o600]),
    ("/etc/hosts", 0o644, &[0o664]),
    ("/etc/hosts.allow", 0o644, &[0o640]),
    ("/etc/hosts.deny", 0o644, &[0o640]),
    ("/etc/issue", 0o644, &[0o664]),
    ("/etc/issue.net", 0o644, &[0o664]),
    ("/etc/motd", 0o644, &[0o664]),
    ("/etc/passwd", 0o644, &[0o666]),
    ("/etc/passwd-", 0o644, &[0o600]),
    ("/etc/profile", 0o644, &[0o755]),
    ("/etc/rsyslog.conf", 0o644, &[0o640]),
    ("/etc/security/opasswd", 0o600, &[0o644]),
    ("/etc/shadow", 0o640, &[0o600, 0o644]),
    ("/etc/shadow-", 0o640, &[0o600]),
    ("/etc/shells", 0o644, &[0o664]),
    ("/etc/ssh/ssh_host_ecdsa_key", 0o600, &[0o640]),
    ("/etc/ssh/ssh_host_ed25519_key", 0o600, &[0o640]),
    ("/etc/ssh/sshd_config", 0o600, &[0o644, 0o640]),
    ("/etc/sudoers", 0o440, &[0o640]),
    ("/etc/sudoers.d", 0o750, &[0o755]),
    ("/home", 0o755, &[0o711]),
    ("/root", 0o700, &[0o750, 0o755]),
    ("/tmp", 0o1777, &[0o777]),
    ("/usr/bin/sudo", 0o4755, &[0o4111]),
    ("/var/log", 0o755, &[0o775, 0o750]),
    ("/var/log/journal", 0o2755, &[0o755]),
    ("/var/tmp", 0o1777, &[0o777]),
];

const UNITS: [&str; 44] = [
    "apparmor",
    "apt-daily-upgrade",
    "atd",
    "auditd",
    "avahi-daemon",
    "blk-availability",
    "chrony",
    "cloud-final",
    "cloud-init",
    "console-setup",
    "containerd",
    "cron",
    "cups",
    "dbus",
    "dm-event",
    "e2scrub-reap",
    "fail2ban",
    "firewalld",
    "fstrim",
    "getty@tty1",
    "grub-common",
    "haveged",
    "keyboard-setup",
    "kmod-static-nodes",
    "logrotate",
    "lvm2-monitor",
    "man-db",
    "multipathd",
    "networking",
    "nfs-client",
    "nftables",
    "node-exporter",
    "open-vm-tools",
    "polkit",
    "postfix",
    "qemu-guest-agent",
    "rsyslog",
    "smartd",
    "snmpd",
    "ssh",
    "systemd-journald",
    "systemd-timesyncd",
    "ufw",
    "unattended-upgrades",
];

const USERS: [&str; 24] = [
    "_apt",
    "backup",
    "bin",
    "daemon",
    "games",
    "irc",
    "lp",
    "mail",
    "man",
    "messagebus",
    "news",
    "nobody",
    "polkitd",
    "postfix",
    "proxy",
    "root",
    "sshd",
    "sync",
    "sys",
    "systemd-network",
    "systemd-timesync",
    "tss",
    "uucp",
    "www-data",
];
const GROUPS: [&str; 34] = [
    "adm",
    "audio",
    "backup",
    "cdrom",
    "crontab",
    "dialout",
    "dip",
    "disk",
    "fax",
    "floppy",
    "input",
    "kmem",
    "kvm",
    "lp",
    "mail",
    "netdev",
    "operator",
    "plugdev",
    "render",
    "root",
    "sgx",
    "shadow",
    "src",
    "ssh-users",
    "staff",
    "sudo",
    "systemd-journal",
    "tape",
    "tty",
    "users",
    "utmp",
    "video",
    "voice",
    "wheel",
];
const MOUNTS: [(&str, &str, &str); 10] = [
    ("/", "ext4", "rw,relatime,errors=remount-ro|rw,relatime|rw,noatime"),
    ("/boot", "ext4", "rw,nosuid,nodev,relatime|rw,relatime"),
    ("/boot/efi", "vfat", "rw,relatime,fmask=0077,dmask=0077|rw,relatime"),
    ("/dev/shm", "tmpfs", "rw,nosuid,nodev,noexec|rw,nosuid,nodev"),
    ("/home", "ext4", "rw,nosuid,nodev,relatime|rw,relatime"),
    ("/tmp", "tmpfs", "rw,nosuid,nodev,noexec,relatime|rw,nosuid,nodev|rw,relatime"),
    ("/var", "ext4", "rw,nosuid,nodev,relatime|rw,relatime"),
    ("/var/log", "ext4", "rw,nosuid,nodev,noexec,relatime|rw,relatime"),
    ("/var/log/audit", "ext4", "rw,nosuid,nodev,noexec,relatime|rw,relatime"),
    ("/var/tmp", "ext4", "rw,nosuid,nodev,noexec,relatime|rw,relatime"),
];
const MODULES: [&str; 30] = [
    "af_packet",
    "ahci",
    "atm",
    "br_netfilter",
    "can",
    "cramfs",
    "dccp",
    "dm_mod",
    "ext4",
    "firewire_core",
    "freevxfs",
    "hfs",
    "hfsplus",
    "ip_tables",
    "jffs2",
    "kvm",
    "loop",
    "nf_conntrack",
    "nf_tables",
    "overlay",
    "rds",
    "sctp",
    "squashfs",
    "sr_mod",
    "tipc",
    "udf",
    "usb_storage",
    "veth",
    "virtio_net",
    "xfs",
];
const PAM: [(&str, &str, &str, &str, &str); 12] = [
    ("common-account", "account", "[success=1 new_authtok_reqd=done default=ignore]", "pam_unix.so", ""),
    ("common-account", "account", "requisite", "pam_deny.so", ""),
    ("common-auth", "auth", "[success=1 default=ignore]", "pam_unix.so", "nullok|"),
    ("common-auth", "auth", "required", "pam_faillock.so", "preauth silent|preauth silent audit deny=5"),
    ("common-auth", "auth", "requisite", "pam_deny.so", ""),
    ("common-password", "password", "requisite", "pam_pwquality.so", "retry=3|retry=3 enforce_for_root"),
    ("common-password", "password", "[success=1 default=ignore]", "pam_unix.so", "obscure use_authtok yescrypt|obscure sha512"),
    ("common-password", "password", "requisite", "pam_pwhistory.so", "remember=24 use_authtok|remember=5"),
    ("common-session", "session", "required", "pam_unix.so", ""),
    ("common-session", "session", "optional", "pam_systemd.so", ""),
    ("login", "session", "required", "pam_limits.so", ""),
    ("su", "auth", "required", "pam_wheel.so", "use_uid group=sudo|use_uid"),
];

fn row(name: &str) -> Row {
    Row::new(table(name))
}

fn spot(share: u64, ways: impl IntoIterator<Item = Row>) -> Spot {
    Spot { share, ways: ways.into_iter().collect() }
}

fn keyed(name: &'static str, key: String, values: &'static str) -> Spot {
    spot(960, values.split('|').map(move |value| row(name).with("key", key.as_str()).with("value", value)))
}

/// Every fact that images differ in.
pub(super) fn spots() -> Vec<Spot> {
    let mut out: Vec<Spot> = SYSCTL.iter().map(|(key, values)| keyed("sysctl", (*key).to_owned(), values)).collect();
    for interface in INTERFACES {
        let ipv4 = IPV4_CONF.iter().map(|(k, v)| keyed("sysctl", format!("net.ipv4.conf.{interface}.{k}"), v));
        let ipv6 = IPV6_CONF.iter().map(|(k, v)| keyed("sysctl", format!("net.ipv6.conf.{interface}.{k}"), v));
        let neigh = NEIGH.iter().map(|(k, v)| keyed("sysctl", format!("net.ipv4.neigh.{interface}.{k}"), v));
        out.extend(ipv4.chain(ipv6).chain(neigh));
    }
    let setting = |(path, key, values): &(&'static str, &'static str, &'static str)| {
        let (path, key) = (*path, *key);
        spot(920, values.split('|').map(move |v| row("config").with("path", path).with("key", key).with("value", v)))
    };
    out.extend(CONFIG.iter().map(setting));
    out.extend(SSHD.iter().map(|(key, values)| keyed("sshd", (*key).to_owned(), values)));
    out.extend(files());
    out.extend(scopes());
    out.extend(services());
    out.extend(accounts());
    out.extend(mounts());
    out.extend(modules());
    out.extend(pam());
    out.extend(programs());
    out
}

/// A digest as files have it, of nothing real.
fn sha256(of: &str) -> String {
    blake3::hash(of.as_bytes()).to_hex().to_string()
}

fn files() -> Vec<Spot> {
    let of = |(path, mode, others): &(&'static str, i64, &'static [i64])| {
        let folder =
            path.ends_with(".d") || path.contains("/cron.") && !path.ends_with("allow") || !path.get(1..).unwrap_or("").contains('/');
        let way = |n: usize, mode: i64| {
            let row =
                row("file").with("path", *path).with("type", if folder { "directory" } else { "file" }).with("mode", Value::Int(mode));
            let row =
                row.with("owner", "root").with("group", "root").with("uid", Value::Int(0)).with("gid", Value::Int(0)).with("acl", false);
            let size = i64::try_from(200 + 97 * n + path.len() * 31).unwrap_or(0);
            if folder { row } else { row.with("size", size).with("sha256", sha256(&format!("{path} {n}"))) }
        };
        spot(940, (0..3).map(|n| way(n, *mode)).chain(others.iter().map(|m| way(0, *m))).collect::<Vec<_>>())
    };
    let program = |name: &&'static str| {
        let way = |mode: i64| {
            let path = format!("/usr/bin/{name}");
            let row = row("file").with("type", "file").with("mode", Value::Int(mode)).with("owner", "root").with("group", "root");
            row.with("sha256", sha256(&path)).with("path", path).with("uid", Value::Int(0)).with("gid", Value::Int(0)).with("acl", false)
        };
        spot(900, [0o4755, 0o2755, 0o755].map(way))
    };
    FILES.iter().map(of).chain(PROGRAMS.iter().map(program)).collect()
}

fn scopes() -> Vec<Spot> {
    let one = |table: &'static str, item: String| {
        spot(990, ["present", "absent"].map(|state| row("scope").with("table", table).with("item", item.as_str()).with("state", state)))
    };
    let files = FILES.iter().map(|(path, ..)| one("file", (*path).to_owned()));
    let mut paths: Vec<&str> = CONFIG.iter().map(|(path, ..)| *path).collect();
    paths.dedup();
    files.chain(paths.into_iter().map(|path| one("config", path.to_owned()))).collect()
}

fn services() -> Vec<Spot> {
    let way = |name: &str, start: &str, state: &str| {
        row("service").with("name", name).with("start", start).with("state", state).with("user", "root")
    };
    let mut out = Vec::new();
    for unit in UNITS {
        let name = format!("{unit}.service");
        let ways = [("enabled", "running"), ("disabled", "stopped"), ("masked", "stopped"), ("static", "stopped"), ("enabled", "stopped")];
        out.push(spot(800, ways.map(|(start, state)| way(&name, start, state))));
        let timer = format!("{unit}.timer");
        out.push(spot(
            650,
            [
                row("service").with("name", timer.as_str()).with("start", "enabled"),
                row("service").with("name", timer).with("start", "disabled"),
            ],
        ));
    }
    out
}

fn accounts() -> Vec<Spot> {
    let mut out = Vec::new();
    for (n, name) in (0i64..).zip(USERS) {
        let shell = if name == "root" { "/bin/bash" } else { "/usr/sbin/nologin" };
        let way = |date: String, days: i64| {
            let row =
                row("user").with("name", name).with("uid", n).with("gid", n).with("home", format!("/var/lib/{name}")).with("shell", shell);
            let row =
                row.with("password", "locked").with("min_days", Value::Int(0)).with("max_days", days).with("warn_days", Value::Int(7));
            row.with("last_change", date).with("masked", "*").with("field", "x")
        };
        out.push(spot(
            970,
            (1..=12).map(|month| way(format!("2025-{month:02}-{:02}", 1 + (n + month) % 28), if month > 9 { 365 } else { 99_999 })),
        ));
    }
    for (n, name) in (0i64..).zip(GROUPS) {
        let members = ["", "deploy", "deploy,oncall"];
        out.push(spot(960, members.map(|m| row("group").with("name", name).with("gid", n).with("members", m))));
    }
    out
}

fn mounts() -> Vec<Spot> {
    let of = |(path, fstype, options): &(&'static str, &'static str, &'static str)| {
        let (path, fstype) = (*path, *fstype);
        let device = match fstype {
            "tmpfs" => "tmpfs".to_owned(),
            _ => format!("/dev/mapper/vg0-{}", path.trim_matches('/').replace('/', "-")),
        };
        spot(
            700,
            options
                .split('|')
                .map(|o| row("mount").with("path", path).with("device", device.as_str()).with("fstype", fstype).with("options", o)),
        )
    };
    MOUNTS.iter().map(of).collect()
}

fn modules() -> Vec<Spot> {
    let way = |name: &str, loaded: bool, disabled: bool| {
        row("kernel_module").with("name", name).with("loaded", loaded).with("disabled", disabled).with("blacklisted", disabled)
    };
    MODULES.iter().map(|m| spot(850, [way(m, false, true), way(m, true, false), way(m, false, false)])).collect()
}

fn pam() -> Vec<Spot> {
    let of = |(line, (service, ty, control, module, arguments)): (
        i64,
        &(&'static str, &'static str, &'static str, &'static str, &'static str),
    )| {
        spot(
            900,
            arguments.split('|').map(move |a| {
                let row = row("pam").with("service", *service).with("type", *ty).with("control", *control).with("module", *module);
                row.with("arguments", a).with("line", line)
            }),
        )
    };
    (1i64..).zip(&PAM).map(of).collect()
}

/// What runs and listens.
fn programs() -> Vec<Spot> {
    let mut out = Vec::new();
    for unit in UNITS.iter().take(30) {
        let exe = format!("/usr/sbin/{unit}");
        out.push(spot(600, ["root", "nobody"].map(|u| row("process").with("name", *unit).with("user", u).with("exe", exe.as_str()))));
    }
    for (port, process) in
        [(22, "sshd"), (25, "master"), (80, "nginx"), (111, "rpcbind"), (443, "nginx"), (5432, "postgres"), (9100, "node-exporter")]
    {
        let ways = ["0.0.0.0", "127.0.0.1"].map(|address| {
            row("listening").with("protocol", "tcp").with("address", address).with("port", Value::Int(port)).with("process", process)
        });
        out.push(spot(600, ways));
    }
    out
}

/// What somebody adds to a machine: an account, a disk, a port, a service.
pub(super) fn extra(mixed: u64) -> Row {
    let n = below(mix(&[mixed, 1]), 600);
    match mixed % 4 {
        0 => {
            let id = i64::try_from(1000 + n).unwrap_or(1000);
            let name = format!("{}{}", ["adm", "dev", "ops", "svc", "tmp", "usr"][n % 6], n / 6);
            let row = row("user").with("name", name.as_str()).with("uid", id).with("gid", id).with("home", format!("/home/{name}"));
            row.with("shell", "/bin/bash")
                .with("password", "set")
                .with("hash", "yescrypt")
                .with("max_days", Value::Int(99_999))
                .with("field", "x")
        }
        1 => {
            let row = row("mount")
                .with("path", format!("/srv/data{}", n % 90))
                .with("device", format!("/dev/vd{}1", ["b", "c", "d", "e"][n % 4]));
            row.with("fstype", if n.is_multiple_of(3) { "xfs" } else { "ext4" }).with("options", "rw,relatime")
        }
        2 => {
            let row = row("listening").with("protocol", if n.is_multiple_of(5) { "udp" } else { "tcp" }).with("address", "0.0.0.0");
            row.with("port", i64::try_from(3000 + 11 * n).unwrap_or(3000)).with("process", ["java", "python3", "node", "envoy"][n % 4])
        }
        _ => {
            let row = row("service").with("name", format!("app-{n}.service")).with("start", "enabled");
            row.with("state", if n.is_multiple_of(7) { "stopped" } else { "running" }).with("user", "app")
        }
    }
}

/// A row that no other machine has.
pub(super) fn own(number: u32) -> Row {
    let [_, b, c, d] = number.to_be_bytes();
    let row = row("listening").with("protocol", "tcp").with("address", format!("10.{b}.{c}.{d}")).with("port", Value::Int(9100));
    row.with("process", "node-exporter")
}

/// The system: which release, which kernel runs, and whether another one waits for a restart.
pub(super) fn os(release: usize, running: u32, installed: u32) -> Row {
    let known = &RELEASES[release];
    let (kernel_name, kernel_version) = kernel(release, running);
    let row = row("os").with("family", "linux").with("id", known.id).with("name", known.name).with("version", known.version);
    let row =
        row.with("codename", known.codename).with("arch", "x86_64").with("kernel", kernel_name).with("kernel_version", kernel_version);
    row.with("reboot_required", kernel(release, running) != kernel(release, installed))
}
