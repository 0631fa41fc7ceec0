//! Which groups and rules count: what the profile says, then groups, requirements and conflicts from top to bottom.

use std::collections::BTreeMap;

use super::settings::Settings;
use crate::xccdf::read::{Benchmark, Budget, Entry, Problem, Spent};

/// One answer per entry: selected, and so is every group above it.
///
/// Requirements and conflicts look at selection by id, wherever the item stands, as it is when the one that has them is reached; an
/// item that fails is no longer selected for those after it, nor is anything below it.
pub(super) fn select(
    benchmark: &Benchmark,
    settings: &Settings,
    budget: &mut Budget,
    problems: &mut Vec<Problem>,
) -> Result<Vec<bool>, Spent> {
    let entries = &benchmark.entries;
    let by_id: BTreeMap<&str, usize> = entries.iter().enumerate().map(|(n, e)| (e.id.as_str(), n)).collect();
    let mut own: Vec<bool> = entries.iter().map(|e| settings.select.get(e.id.as_str()).copied().or(e.selected).unwrap_or(true)).collect();
    let mut out = vec![false; entries.len()];
    let mut refused = vec![false; entries.len()];
    for (n, entry) in entries.iter().enumerate() {
        budget.step(1 + entry.conflicts.len() + entry.requires.iter().map(Vec::len).sum::<usize>())?;
        let at = |list: &[bool], n: Option<usize>, top: bool| n.map_or(top, |n| list.get(n).copied().unwrap_or(top));
        if at(&refused, entry.parent, false) {
            set(&mut own, n, false);
            set(&mut refused, n, true);
            continue;
        }
        if !at(&own, Some(n), false) || !at(&out, entry.parent, true) {
            continue;
        }
        if fits(entry, &by_id, &own, problems) {
            set(&mut out, n, true);
        } else {
            set(&mut own, n, false);
            set(&mut refused, n, true);
        }
    }
    Ok(out)
}

fn set(list: &mut [bool], n: usize, value: bool) {
    if let Some(slot) = list.get_mut(n) {
        *slot = value;
    }
}

fn fits(entry: &Entry, by_id: &BTreeMap<&str, usize>, own: &[bool], problems: &mut Vec<Problem>) -> bool {
    let mut selected = |id: &String| match by_id.get(id.as_str()).and_then(|n| own.get(*n)) {
        Some(selected) => *selected,
        None => {
            let what = format!("`{}` requires or conflicts with `{id}`, which is not in the benchmark", entry.id);
            problems.push(Problem { line: entry.line, what });
            false
        }
    };
    if entry.conflicts.iter().any(&mut selected) {
        return false;
    }
    let mut all = true;
    for any in &entry.requires {
        all &= any.iter().any(&mut selected);
    }
    all
}
