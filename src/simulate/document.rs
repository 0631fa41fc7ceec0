//! A machine's facts as the bytes that its agent sends: a whole scan, or the tables that changed; and what it is called.

use std::collections::BTreeMap;

use super::fleet::{Facts, Fleet};
use super::{below, mix};
use crate::scan::native::FORMAT;
use crate::scan::table::TableId;

/// Why a table is not there on machines whose agent may not look.
pub(super) const REFUSED: &str = "permission denied";
/// When step 0 was, and how long a step is; the server does not look at it.
const FIRST_STEP: i64 = 1_780_000_000;
const STEP_SECONDS: i64 = 300;

const ROLES: [&str; 8] = ["web", "db", "app", "queue", "build", "cache", "proxy", "batch"];
const SITES: [&str; 6] = ["fra", "dub", "iad", "sin", "gru", "syd"];
const RINGS: [&str; 4] = ["pilot", "early", "broad", "late"];

/// What a machine is enrolled as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub id: String,
    pub hostname: String,
    pub labels: BTreeMap<String, String>,
}

impl Identity {
    /// Of the n-th machine of a fleet.
    pub fn of(fleet: &Fleet, number: u32) -> Identity {
        let h = mix(&[fleet.options().seed, 0x1d, u64::from(number)]);
        let (role, site) = (ROLES[fleet.standing(number, 0).image % ROLES.len()], SITES[below(h, SITES.len())]);
        let ring = RINGS[[0, 1, 1, 2, 2, 2, 2, 2, 2, 3][below(mix(&[h]), 10)]];
        let labels = [("role", role), ("site", site), ("ring", ring)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        Identity { id: id(number), hostname: format!("{role}-{site}-{number:07}"), labels: labels.into() }
    }
}

/// The id of the n-th machine.
pub fn id(number: u32) -> String {
    format!("sim-{number:07}")
}

impl Facts {
    /// The whole scan.
    pub fn document(&self) -> Vec<u8> {
        self.write(None, &self.tables())
    }

    /// The tables in which it differs from an earlier scan of the same machine, `None` if it does not differ.
    pub fn changes(&self, base: &Facts) -> Option<Vec<u8>> {
        let ours = self.tables();
        // A table that was there and is not any more cannot be said this way; no machine loses one.
        let changed: Vec<TableId> = ours.into_iter().filter(|t| self.differs(base, *t)).collect();
        (!changed.is_empty()).then(|| self.write(Some(&base.digest().to_string()), &changed))
    }

    fn differs(&self, base: &Facts, table: TableId) -> bool {
        let texts = |facts: &'_ Facts| facts.lines(table).map(|l| l.text.clone()).collect::<Vec<_>>();
        self.failed != base.failed || texts(self) != texts(base)
    }

    fn write(&self, base: Option<&str>, tables: &[TableId]) -> Vec<u8> {
        let mut out = Vec::with_capacity(if base.is_none() { 448 << 10 } else { 16 << 10 });
        let at = jiff::Timestamp::from_second(FIRST_STEP + i64::from(self.step) * STEP_SECONDS).unwrap_or_default();
        // INVARIANT: nothing in here needs escaping.
        out.extend_from_slice(
            format!("{{\"format\":\"{FORMAT}\",\"endpoint\":\"{}\",\"collected_at\":\"{at}\"", id(self.number)).as_bytes(),
        );
        out.extend_from_slice(concat!(",\"collector\":\"muster ", env!("CARGO_PKG_VERSION"), " fleet simulate\"").as_bytes());
        if let Some(base) = base {
            out.extend_from_slice(format!(",\"base\":\"{base}\"").as_bytes());
        }
        out.extend_from_slice(b",\"tables\":{");
        for (n, table) in tables.iter().enumerate() {
            out.extend_from_slice(if n > 0 { b",\n\"" } else { b"\n\"" });
            out.extend_from_slice(table.name().as_bytes());
            out.extend_from_slice(b"\":");
            if self.failed == Some(*table) {
                out.extend_from_slice(format!("{{\"error\":\"{REFUSED}\"}}").as_bytes());
                continue;
            }
            out.push(b'[');
            for (n, line) in self.lines(*table).enumerate() {
                out.extend_from_slice(if n > 0 { b",\n" } else { b"\n" });
                out.extend_from_slice(&line.text);
            }
            out.push(b']');
        }
        out.extend_from_slice(b"}}\n");
        out
    }
}
