//! A believable small fleet out of one real scan: golden images, patch lag, own deviations, drift. Deterministic by seed; pure.
//!
//! `(scan of a real host, number) -> scan of a machine like it`. What is changed are facts of the kinds that machines of one fleet really
//! differ in; everything else is the real host's.

use std::collections::BTreeMap;

use crate::scan::table::TableId;
use crate::scan::{Row, Scan, TableData, Value};

/// Versions that source packages had, the newest first: what a machine that lags behind has.
pub type Past = BTreeMap<String, Vec<String>>;

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        usize::try_from(self.draw() % n.max(1)).unwrap_or(0)
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}

/// Kinds of machines in the fleet: each image lacks some of the host's packages and has settings of its own.
const IMAGES: usize = 4;

/// A setting that administrators change by hand, by which rules pass or fail.
struct Tweak {
    table: &'static str,
    key: &'static [&'static str],
    column: &'static str,
    values: &'static [&'static str],
}

const TWEAKS: [Tweak; 9] = [
    Tweak { table: "sysctl", key: &["net.ipv4.ip_forward"], column: "value", values: &["0", "1"] },
    Tweak { table: "sysctl", key: &["net.ipv4.conf.all.accept_redirects"], column: "value", values: &["0", "1"] },
    Tweak { table: "sysctl", key: &["net.ipv4.conf.all.log_martians"], column: "value", values: &["0", "1"] },
    Tweak { table: "sysctl", key: &["kernel.randomize_va_space"], column: "value", values: &["2", "0"] },
    Tweak { table: "sysctl", key: &["kernel.dmesg_restrict"], column: "value", values: &["0", "1"] },
    Tweak { table: "sysctl", key: &["fs.suid_dumpable"], column: "value", values: &["0", "2"] },
    Tweak { table: "config", key: &["/etc/login.defs", "PASS_MAX_DAYS"], column: "value", values: &["365", "99999", "90"] },
    Tweak { table: "config", key: &["/etc/login.defs", "UMASK"], column: "value", values: &["027", "022"] },
    Tweak { table: "config", key: &["/etc/login.defs", "PASS_MIN_DAYS"], column: "value", values: &["1", "0"] },
];

/// Files whose owner or mode somebody gets wrong.
const FILES: [(&str, i64); 4] = [("/etc/shadow", 0o644), ("/etc/passwd", 0o666), ("/etc/crontab", 0o644), ("/etc/group", 0o664)];

/// The machine with a number, as it stands before anything happens to it.
pub fn machine(host: &Scan, past: &Past, number: u32, seed: u64) -> Scan {
    let mut scan = host.clone();
    scan.endpoint = format!("demo-{number:04}");
    scan.hostname = Some(scan.endpoint.clone());
    let mut own = Random::new(seed ^ (u64::from(number) << 20) ^ 0x5eed);
    let image = own.below(IMAGES);
    let mut shared = Random::new(seed ^ u64::try_from(image).unwrap_or(0) << 40);
    // What the machines of an image have in common.
    drop_packages(&mut scan, &mut shared, 4 * image);
    for tweak in &TWEAKS {
        if shared.percent(40) {
            set(&mut scan, tweak, tweak.values[shared.below(tweak.values.len())]);
        }
    }
    // How far behind its image this machine's packages are, and what somebody changed on it.
    let behind = own.below(5) * 3;
    age_packages(&mut scan, past, &mut shared, behind);
    let changes = own.below(3);
    for _ in 0..changes {
        let tweak = &TWEAKS[own.below(TWEAKS.len())];
        set(&mut scan, tweak, tweak.values[own.below(tweak.values.len())]);
    }
    scan.normalise();
    scan
}

/// Something happens to a machine: a setting is changed, a file's mode, or a service package comes in.
pub fn drift(scan: &mut Scan, random: &mut Random) {
    for _ in 0..=random.below(2) {
        match random.below(4) {
            0 => {
                let (path, mode) = FILES[random.below(FILES.len())];
                set_cell(scan, "file", &[path], "mode", Value::Int(mode));
            }
            1 => install(scan, ["telnetd", "rsh-server", "tftpd-hpa", "nis"][random.below(4)], "0.17-44"),
            _ => {
                let tweak = &TWEAKS[random.below(TWEAKS.len())];
                set(scan, tweak, tweak.values[random.below(tweak.values.len())]);
            }
        }
    }
    scan.normalise();
}

/// A package is installed, as the agent would do it.
pub fn install(scan: &mut Scan, name: &str, version: &str) {
    let Some(TableData::Rows(rows)) = table(scan, "package") else { return };
    let Some(like) = rows.first().cloned() else { return };
    rows.retain(|r| r.get("name").as_str() != Some(name));
    rows.push(like.with("name", name).with("version", version).with("source", Value::Null).with("source_version", Value::Null));
    scan.normalise();
}

/// An installed package is at a version afterwards, as the agent would do it.
pub fn upgrade(scan: &mut Scan, name: &str, version: &str) {
    if let Some(TableData::Rows(rows)) = table(scan, "package") {
        for row in rows.iter_mut().filter(|r| r.get("name").as_str() == Some(name)) {
            *row = row.clone().with("version", version).with("source_version", Value::Null);
        }
    }
    scan.normalise();
}

pub fn remove(scan: &mut Scan, name: &str) {
    if let Some(TableData::Rows(rows)) = table(scan, "package") {
        rows.retain(|r| r.get("name").as_str() != Some(name));
    }
}

fn table<'s>(scan: &'s mut Scan, name: &str) -> Option<&'s mut TableData> {
    scan.tables.get_mut(&TableId::by_name(name)?)
}

fn set(scan: &mut Scan, tweak: &Tweak, value: &str) {
    set_cell(scan, tweak.table, tweak.key, tweak.column, value.into());
}

/// Changes a cell of a row that is there; a fact that the host does not have is not made up.
fn set_cell(scan: &mut Scan, name: &str, key: &[&str], column: &str, value: Value) {
    let Some(TableData::Rows(rows)) = table(scan, name) else { return };
    let found = rows.iter_mut().find(|r| r.key().iter().map(Value::as_str).eq(key.iter().map(|k| Some(*k))));
    if let Some(row) = found {
        *row = row.clone().with(column, value);
    }
}

fn drop_packages(scan: &mut Scan, random: &mut Random, count: usize) {
    if let Some(TableData::Rows(rows)) = table(scan, "package") {
        for _ in 0..count.min(rows.len() / 2) {
            let at = random.below(rows.len());
            rows.swap_remove(at);
        }
    }
}

/// Some packages at an earlier version: one that they had, where that is known.
fn age_packages(scan: &mut Scan, past: &Past, random: &mut Random, count: usize) {
    let Some(TableData::Rows(rows)) = table(scan, "package") else { return };
    let known: Vec<(&String, &Vec<String>)> = past.iter().filter(|(_, versions)| versions.len() > 1).collect();
    for _ in 0..count {
        if !known.is_empty() {
            let (source, versions) = known[random.below(known.len())];
            let older = &versions[1 + random.below(versions.len() - 1)];
            set_source_version(rows, source, older);
            continue;
        }
        let at = random.below(rows.len());
        if let Some(row) = rows.get_mut(at) {
            *row = older(row);
        }
    }
}

/// All packages of a source at a version of it.
pub fn set_source_version(rows: &mut [Row], source: &str, version: &str) {
    for row in rows {
        let own = row.get("source").as_str().or_else(|| row.get("name").as_str());
        if own == Some(source) {
            *row = row.clone().with("version", version).with("source_version", Value::Null);
        }
    }
}

fn older(row: &Row) -> Row {
    let version = row.get("version").as_str().unwrap_or_default();
    row.clone().with("version", format!("{version}~1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::digest::Digest;

    fn host() -> Scan {
        let mut scan = Scan::default();
        let row = |t: &str| Row::new(TableId::by_name(t).expect("table"));
        for i in 0..50 {
            scan.push(row("package").with("name", format!("p{i}")).with("version", "1.0-1").with("format", "deb"));
        }
        scan.push(row("sysctl").with("key", "net.ipv4.ip_forward").with("value", "0"));
        scan.push(row("file").with("path", "/etc/shadow").with("mode", Value::Int(0o640)));
        scan
    }

    #[test]
    fn machines_are_alike_different_and_the_same_again() {
        let host = host();
        let past = Past::from([("p3".to_owned(), vec!["1.0-1".to_owned(), "0.9-2".to_owned()])]);
        let fleet: Vec<Scan> = (0..20).map(|n| machine(&host, &past, n, 1)).collect();
        let digests: std::collections::BTreeSet<String> = fleet.iter().map(|s| Digest::of_scan(s).to_string()).collect();
        assert!(digests.len() > 4);
        assert_eq!(fleet[7], machine(&host, &past, 7, 1));
        let has = |scan: &Scan, version: &str| {
            scan.rows(TableId::by_name("package").expect("package")).iter().any(|r| r.get("version").as_str() == Some(version))
        };
        assert!(fleet.iter().any(|s| has(s, "0.9-2")) && fleet.iter().any(|s| !has(s, "0.9-2")), "some lag behind");
        assert!(fleet.iter().all(|s| s.rows(TableId::by_name("package").expect("package")).len() >= 25));
    }

    #[test]
    fn drift_changes_facts_and_an_installed_package_is_there() {
        let mut random = Random::new(3);
        let mut scan = host();
        let before = Digest::of_scan(&scan);
        for _ in 0..4 {
            drift(&mut scan, &mut random);
        }
        assert_ne!(Digest::of_scan(&scan), before);
        install(&mut scan, "auditd", "1:3");
        let packages = scan.rows(TableId::by_name("package").expect("package"));
        assert!(packages.iter().any(|r| r.get("name").as_str() == Some("auditd")));
    }
}
