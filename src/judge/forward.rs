//! A scan meets all rules: adds up what its rows said when they were new, and runs the rules' programs over that.
//!
//! No predicate runs here. INVARIANT: the verdicts are those of [`super::explain`]; tests/engines.rs and the fuzz target hold it.

use super::Verdict;
use super::truth::Truth;
use crate::pack::Joined;
use crate::pack::Pack;
use crate::pack::predicate::Hit;
use crate::pack::program::{TableStates, Tallies};
use crate::scan::{Scan, TableData};

/// Verdicts of all rules of a pack for one endpoint, one byte a rule, into `out`. `joined` holds the answers of [`Pack::run_joins`].
pub fn judge(
    pack: &Pack,
    hits: impl Iterator<Item = Hit>,
    states: &TableStates,
    tallies: &mut Tallies,
    joined: &Joined,
    out: &mut Vec<u8>,
) {
    tallies.reset(pack);
    hits.for_each(|hit| tallies.add(pack, hit));
    out.clear();
    out.extend(pack.rules().map(|rule| tallies.judge(pack, rule, states, joined) as u8));
}

/// The same for a parsed scan that belongs to no fleet: `muster eval`, rule tests.
pub fn judge_scan(pack: &Pack, scan: &Scan, now_s: i64) -> Vec<Verdict> {
    let mut states = TableStates::default();
    let mut hits = Vec::new();
    for (table, data) in &scan.tables {
        match data {
            TableData::Failed(_) => states.set(*table, Truth::Error),
            TableData::Rows(rows) => {
                states.set(*table, Truth::True);
                let distinct: std::collections::BTreeSet<_> = rows.iter().collect();
                hits.extend(distinct.into_iter().map(|r| pack.ask(r)));
            }
        }
    }
    let mut verdicts = Vec::new();
    judge(pack, hits.into_iter().flatten(), &states, &mut Tallies::default(), &pack.run_joins(scan, now_s), &mut verdicts);
    verdicts.into_iter().map(|v| Verdict::from_u8(v).unwrap_or(Verdict::Error)).collect()
}
