//! Everything on a machine that is not a package: kernel parameters, files, settings, services, accounts, mounts.
//!
//! A [`Spot`] is one fact that machines have in one of a few ways: the first is how it is mostly, the others are how somebody made it.

use super::known::{
    CONFIG, FILES, GROUPS, INTERFACES, IPV4_CONF, IPV6_CONF, MODULES, MOUNTS, NEIGH, PAM, PROGRAMS, SSHD, SYSCTL, UNITS, USERS,
};
use super::packages::{RELEASES, kernel, table};
use super::{below, mix};
use crate::scan::{Row, Value};

#[derive(Debug)]
pub(super) struct Spot {
    /// How many of a thousand images have it.
    pub(super) share: u64,
    pub(super) ways: Vec<Row>,
}

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
