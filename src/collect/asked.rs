//! The tables that hold only what was asked: item by item, with a row in `scope` for each.

use std::collections::BTreeMap;

use super::root::{Matches, is_pattern};
use super::{Host, row, table};
use crate::scan::Row;

/// What one path came to: its rows, nothing where there is nothing, or why it could not be looked at.
pub(super) type One = Result<Option<Vec<Row>>, String>;

/// Looks at every path and pattern that was asked of a table. `look` is told whether the path was asked by name.
///
/// Paths asked by name come first, and each path is looked at once: no path has two rows that differ.
pub(super) fn each(host: &Host<'_>, name: &str, look: impl Fn(&str, bool) -> One) -> Vec<Row> {
    let mut rows = Vec::new();
    // What is known of each path: whether it is there.
    let mut seen: BTreeMap<String, Result<bool, String>> = BTreeMap::new();
    let items = host.asks.get(&table(name)).map_or(&[][..], Vec::as_slice);
    let (patterns, paths): (Vec<&String>, Vec<&String>) = items.iter().partition(|item| is_pattern(item));
    for item in paths.into_iter().chain(patterns) {
        let exact = !is_pattern(item);
        let found = match plain(item) {
            Err(why) => Matches { paths: Vec::new(), problem: Some(why) },
            Ok(()) if exact => Matches { paths: vec![item.clone()], problem: None },
            Ok(()) => host.root.expand(item),
        };
        let mut problem = found.problem;
        let mut present = false;
        for path in found.paths {
            let known = seen.entry(path).or_insert_with_key(|path| match look(path, exact) {
                Ok(Some(more)) => {
                    rows.extend(more);
                    Ok(true)
                }
                Ok(None) => Ok(false),
                Err(why) => Err(why),
            });
            match known {
                Ok(there) => present |= *there,
                Err(why) => problem = Some(why.clone()),
            }
        }
        rows.push(scope(name, item, present, problem));
    }
    rows
}

/// Only absolute paths without detours have one spelling.
fn plain(item: &str) -> Result<(), String> {
    let Some(rest) = item.strip_prefix('/') else { return Err("not an absolute path".into()) };
    if item.contains('\0') || rest.split('/').any(|s| matches!(s, "" | "." | "..")) && item != "/" {
        return Err("not a plain path".into());
    }
    Ok(())
}

fn scope(name: &str, item: &str, present: bool, problem: Option<String>) -> Row {
    let state = match (&problem, present) {
        (Some(_), _) => "error",
        (None, true) => "present",
        (None, false) => "absent",
    };
    row("scope").with("table", name).with("item", item).with("state", state).with("message", problem)
}
