//! What a Linux host says of itself: one file a table, everything read from a root folder.
//!
//! `Root` (root.rs) -> `Host` (here: what several tables need) -> one collector a table (`COLLECTORS`) -> `Scan`.
//!
//! Collectors hold to this:
//! * No privileges are needed. What may not be read is said: a table that cannot be read at all is `Failed` with the path and the
//!   reason, a row that is known in part carries `error`. Nothing is silently left empty.
//! * Nothing in a row changes by itself (no process ids, counters, free space), so two scans of an unchanged host are alike byte
//!   for byte.
//! * What is read is bounded, and what was read is never trusted: parsing functions take text or bytes and return rows.
//! * A table that only a running system has (sysctl, mount, listening, process) is left out where the root has no `/proc`.
//!
//! To add a table: one file with `collect(&Host) -> Gathered`, and one line in `COLLECTORS`.

mod account;
mod apk;
mod asked;
mod command;
mod config;
mod dpkg;
mod environment;
mod file;
mod interface;
mod item;
mod kernel_module;
pub mod leaves_out;
mod listening;
mod mount;
mod os;
mod package;
mod pam;
mod process;
mod root;
mod rpm;
pub mod scap;
mod secrets;
mod selinux_boolean;
mod service;
mod sshd;
mod sysctl;
mod systemd;
mod text;
mod update;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use root::Root;

use crate::limits::Limits;
use crate::rule::Collect;
use crate::scan::table::TableId;
use crate::scan::{Row, Scan, TableData, Value};
use account::Names;

/// The rows of a table, or why there are none.
type Gathered = Result<Vec<Row>, Gap>;

#[derive(Debug)]
enum Gap {
    /// Only a running system has it, and this root is none: the table is left out. Holds the path that was looked for.
    NotHere(&'static str),
    /// Nobody asked for it.
    NotAsked,
    Failed(String),
}

impl From<String> for Gap {
    fn from(why: String) -> Gap {
        Gap::Failed(why)
    }
}

/// What collectors are given.
struct Host<'a> {
    root: &'a Root,
    asks: &'a Collect,
    limits: &'a Limits,
    /// os-release(5); empty where there is none.
    release: BTreeMap<String, String>,
    names: Names,
    /// Whether a row of a file that only a walk found is of use.
    keep: &'a dyn Fn(&Row) -> bool,
}

type Collector = fn(&Host<'_>) -> Gathered;

/// In the order in which they run. Rows may be of the table named or of `scope`.
const COLLECTORS: &[(&str, Collector)] = &[
    ("os", os::collect),
    ("package", package::collect),
    ("update", update::collect),
    ("sysctl", sysctl::collect),
    ("file", file::collect),
    ("text", text::collect),
    ("config", config::collect),
    ("sshd", sshd::collect),
    ("pam", pam::collect),
    ("service", service::collect),
    ("user", account::users),
    ("group", account::groups),
    ("mount", mount::collect),
    ("kernel_module", kernel_module::collect),
    ("listening", listening::collect),
    ("process", process::collect),
    ("systemd", systemd::collect),
    ("environment", environment::collect),
    ("interface", interface::collect),
    ("selinux_boolean", selinux_boolean::collect),
];

/// Collects the Linux tables of the system below `root`, and what `asks` names of the tables that hold only what was asked.
///
/// `interface` and the column `process.command` are collected where `asks` has an entry for their table, whatever is in it.
///
/// The caller adds the endpoint's name and the time.
pub fn collect(root: &Root, asks: &Collect, limits: &Limits) -> Scan {
    collect_kept(root, asks, limits, &|_| true)
}

/// The same, but of the files that only walks find those that `keep` takes: what content asks of a whole disk concerns few of its files.
pub fn collect_kept(root: &Root, asks: &Collect, limits: &Limits, keep: &dyn Fn(&Row) -> bool) -> Scan {
    let mut scan = Scan { hostname: hostname(root), collector: Some(format!("muster {}", env!("CARGO_PKG_VERSION"))), ..Scan::default() };
    scan.tables.insert(table("scope"), TableData::Rows(Vec::new()));
    fill(&mut scan, root, asks, limits, keep, &|_| true);
    scan
}

/// Collects some tables once more.
fn collect_some(root: &Root, asks: &Collect, limits: &Limits, keep: &dyn Fn(&Row) -> bool, tables: &BTreeSet<TableId>) -> Scan {
    let mut scan = Scan::default();
    fill(&mut scan, root, asks, limits, keep, &|id| tables.contains(&id));
    scan
}

fn fill(scan: &mut Scan, root: &Root, asks: &Collect, limits: &Limits, keep: &dyn Fn(&Row) -> bool, is_wanted: &dyn Fn(TableId) -> bool) {
    let host = Host { root, asks, limits, release: os::read_release(root), names: Names::read(root), keep };
    for (name, gather) in COLLECTORS.iter().filter(|(name, _)| is_wanted(table(name))) {
        match gather(&host).and_then(|rows| bounded(rows, limits)) {
            Ok(rows) => {
                scan.tables.insert(table(name), TableData::Rows(Vec::new()));
                rows.into_iter().for_each(|row| scan.push(row));
            }
            Err(Gap::Failed(why)) => {
                scan.tables.insert(table(name), TableData::Failed(why.into()));
            }
            Err(Gap::NotHere(path)) if root.is_live() => {
                scan.tables.insert(table(name), TableData::Failed(format!("{path}: not there").into()));
            }
            Err(Gap::NotHere(_) | Gap::NotAsked) => {}
        }
    }
    scan.normalise();
}

/// What the host calls itself.
pub fn hostname(root: &Root) -> Option<String> {
    let read = |path| root.text(path).ok().flatten();
    let text = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"))?;
    let name = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'))?;
    Some(name.to_owned())
}

fn table(name: &str) -> TableId {
    let id = TableId::by_name(name);
    let Some(id) = id else { panic!("no table `{name}`") };
    id
}

fn row(name: &str) -> Row {
    Row::new(table(name))
}

/// Holds rows to what the daemon takes, so that one monstrous value costs its row a column and not the host its scan.
fn bounded(mut rows: Vec<Row>, limits: &Limits) -> Gathered {
    if rows.len() > limits.rows {
        return Err(Gap::Failed(format!("{} rows, over the limit of {}", rows.len(), limits.rows)));
    }
    for row in &mut rows {
        let key = row.table.table().key;
        if row.key().iter().any(|v| v.as_str().is_some_and(|s| s.len() > limits.value_bytes)) {
            return Err(Gap::Failed(format!("a key is over the limit of {} bytes", limits.value_bytes)));
        }
        // A row is over its limit only where a text has many characters that JSON escapes.
        let whole = size(row) > limits.value_bytes && row.canonical().len() > limits.row_bytes;
        let max = if whole { 4096 } else { limits.value_bytes };
        for value in row.values.iter_mut().skip(key) {
            if value.as_str().is_some_and(|s| s.len() > max) {
                *value = Value::Null;
                row.error = Some(format!("over the limit of {} bytes", limits.value_bytes).into());
            }
        }
    }
    Ok(rows)
}

/// At most six bytes of JSON come of one byte here.
fn size(row: &Row) -> usize {
    row.values.iter().filter_map(Value::as_str).map(|s| s.len().saturating_mul(6)).sum()
}
