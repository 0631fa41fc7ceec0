//! What SCAP collectors and scanners write, as rows of our tables: system characteristics, ARF, XCCDF results.
//!
//! `XML -> oval_object, xccdf_result`. An object is one row with its items inside, so that equal objects of a fleet are one row, and a test of
//! one object is a question to one row.

use std::collections::{BTreeMap, BTreeSet};

use super::table::TableId;
use super::{Row, Scan, TableData};
use crate::limits::Limits;
use crate::oval::facts::{Flag, Item};
use crate::oval::model::SetOperator;
use crate::oval::syschar::{ScanError, SystemCharacteristics};
use crate::oval::truth;
use crate::xccdf::results::{RuleSummary, TestResultSummary, read_results};

#[derive(Debug, thiserror::Error)]
pub enum ScapError {
    #[error("not UTF-8 text: byte {0}")]
    NotUtf8(usize),
    #[error("the document cannot be read: {0}")]
    Characteristics(#[from] ScanError),
    #[error("neither OVAL system characteristics nor XCCDF results are in it")]
    Nothing,
    #[error("{rows} objects and results, over the limit of {limit} (limits.rows)")]
    Rows { rows: usize, limit: usize },
}

/// Whether a document is XML: what no native scan is.
pub fn is_xml(document: &[u8]) -> bool {
    let text = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    text.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'<')
}

/// Reads a document into a scan of the tables that it brings, and no others.
pub fn read(document: &[u8], limits: &Limits) -> Result<Scan, ScapError> {
    let text = std::str::from_utf8(document).map_err(|e| ScapError::NotUtf8(e.valid_up_to()))?;
    let found = SystemCharacteristics::parse(text, limits)?;
    let results = if text.contains("TestResult") { read_results(text, limits)? } else { Vec::new() };
    if found.is_empty() && results.is_empty() {
        return Err(ScapError::Nothing);
    }
    let mut scan = Scan { hostname: found.iter().map(|c| c.primary_host_name.to_string()).find(|n| !n.is_empty()), ..Scan::default() };
    if !found.is_empty() {
        scan.tables.insert(table("oval_object"), TableData::Rows(objects(&found, limits)));
    }
    if !results.is_empty() {
        let of = |result: &TestResultSummary, rule: &RuleSummary| {
            Row::new(table("xccdf_result"))
                .with("profile", result.profile.as_str())
                .with("rule", rule.id.as_str())
                .with("result", rule.verdict.name())
                .with("benchmark", result.benchmark_id.as_str())
                .with("scanner", result.scanner.as_str())
        };
        let rows: BTreeMap<(&str, &str), Row> =
            results.iter().flat_map(|r| r.rules.iter().map(move |rule| ((r.profile.as_str(), rule.id.as_str()), of(r, rule)))).collect();
        scan.tables.insert(table("xccdf_result"), TableData::Rows(rows.into_values().collect()));
        scan.collector = results.iter().map(|r| r.scanner.clone()).find(|s| !s.is_empty());
        scan.collected_at = results.iter().map(|r| r.end.clone()).filter(|e| !e.is_empty()).max();
    }
    let rows: usize = scan.tables.values().map(|t| if let TableData::Rows(rows) = t { rows.len() } else { 0 }).sum();
    if rows > limits.rows {
        return Err(ScapError::Rows { rows, limit: limits.rows });
    }
    scan.normalise();
    Ok(scan)
}

/// An object under way to its row.
struct Gathered<'s, 'x> {
    flag: Flag,
    numbers: BTreeSet<u64>,
    items: Vec<&'s Item<'x>>,
    messages: Vec<&'s str>,
}

/// One row an object id. What was collected of it several times, with other values of its variables, is one set of items; where several
/// collections of one upload bring it, the first of them says what it is.
fn objects(found: &[SystemCharacteristics<'_>], limits: &Limits) -> Vec<Row> {
    let mut by_id: BTreeMap<&str, Gathered<'_, '_>> = BTreeMap::new();
    for one in found {
        let mut own: BTreeMap<&str, Gathered<'_, '_>> = BTreeMap::new();
        for object in one.objects() {
            let (flag, numbers) = (object.flag, BTreeSet::new());
            let gathered = own.entry(object.id).or_insert(Gathered { flag, numbers, items: Vec::new(), messages: Vec::new() });
            gathered.flag = truth::set_flag(SetOperator::Union, gathered.flag, flag);
            for number in object.references {
                match one.item(*number) {
                    Some(item) if gathered.numbers.insert(*number) => gathered.items.push(item),
                    Some(_) => {}
                    None => gathered.flag = Flag::Incomplete,
                }
            }
            gathered.messages.extend(object.messages.iter().map(AsRef::as_ref));
        }
        for (id, object) in own {
            by_id.entry(id).or_insert(object);
        }
    }
    by_id.into_iter().map(|(id, object)| row(id, &object, limits)).collect()
}

fn row(id: &str, object: &Gathered<'_, '_>, limits: &Limits) -> Row {
    let json = if object.items.is_empty() { String::new() } else { serde_json::to_string(&object.items).unwrap_or_default() };
    let row = Row::new(table("oval_object")).with("id", id);
    // In a row the text is escaped once more.
    let max = limits.value_bytes / 2;
    if json.len() > max {
        let why = format!("its {} items are over the limit of {max} bytes", object.items.len());
        return row.with("flag", Flag::Error.name()).with_error(why);
    }
    let row = row.with("flag", object.flag.name());
    let row = if json.is_empty() { row } else { row.with("items", json) };
    if object.messages.is_empty() { row } else { row.with_error(object.messages.join("; ")) }
}

fn table(name: &str) -> TableId {
    let id = TableId::by_name(name);
    let Some(id) = id else { panic!("no table `{name}`") };
    id
}
