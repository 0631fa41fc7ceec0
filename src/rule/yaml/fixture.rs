//! A rule's own tests: `tests` items -> scans, with `os` and `scope` filled in.

use std::collections::BTreeSet;

use super::fields::{Fields, Report};
use super::node::{Data, Key, Node, Place};
use super::place::word;
use crate::judge::Verdict;
use crate::limits::Limits;
use crate::rule::check::suggest::hint;
use crate::rule::pattern::{is_pattern, pattern_matches};
use crate::rule::{Code, Collect, Platform, Rule, RuleTest};
use crate::scan::table::{Column, ERROR_COLUMN, Extent, TableId, Type};
use crate::scan::{Row, Scan, TableData, Value};

/// The verdicts that judging gives.
const EXPECTABLE: [Verdict; 6] =
    [Verdict::Pass, Verdict::Fail, Verdict::Error, Verdict::Unknown, Verdict::NotApplicable, Verdict::NotChecked];

pub(super) fn tests(fields: &Fields<'_>, rule: &Rule, limits: &Limits, report: &mut Report<'_>) -> Vec<RuleTest> {
    let Some(node) = fields.required("tests", report) else { return Vec::new() };
    let Data::List(items) = &node.data else {
        report.say::<()>(Code::Test, node.place, format!("`tests` is a list of `verdict: {{tables}}`, not {}", node.data.kind()));
        return Vec::new();
    };
    let asks = rule.asks();
    let told = report.problems.len();
    let tests: Vec<_> = items.iter().filter_map(|item| test(item, rule, &asks, limits, report)).collect();
    // A test that could not be read may have been the one.
    let all_read = report.problems.len() == told;
    for needed in [Verdict::Pass, Verdict::Fail] {
        if all_read && !tests.iter().any(|t| t.expect == needed) {
            report.say::<()>(Code::Test, node.place, format!("no test expects `{needed}`; a rule needs one for pass and one for fail"));
        }
    }
    tests
}

fn test(node: &Node, rule: &Rule, asks: &Collect, limits: &Limits, report: &mut Report<'_>) -> Option<RuleTest> {
    let (key, tables) = match &node.data {
        Data::Map(entries) => match entries.as_slice() {
            [(key, tables)] => (key, tables),
            [] => return report.say(Code::Test, node.place, "a test is `verdict: {tables}`, this is empty"),
            [_, (second, _), ..] => {
                let message = format!("a test names one verdict; put `{}` into a test of its own (`- {{...}}`)", second.text);
                return report.say(Code::Test, second.place, message);
            }
        },
        other => return report.say(Code::Test, node.place, format!("a test is `verdict: {{tables}}`, not {}", other.kind())),
    };
    let expect = EXPECTABLE.into_iter().find(|v| v.name() == key.text);
    if expect.is_none() {
        let known = EXPECTABLE.map(Verdict::name);
        report.say::<()>(Code::Test, key.place, format!("no verdict `{}`; a test expects {}", key.text, known.join(", ")));
    }
    let Data::Map(entries) = &tables.data else {
        let message = format!("the tables of a scan are a map, not {}; `{{}}` is a scan without any", tables.data.kind());
        return report.say(Code::Test, tables.place, message);
    };
    let mut scan = Scan::default();
    for (name, content) in entries {
        if let Some((id, data)) = table(name, content, limits, report) {
            scan.tables.insert(id, data);
        }
    }
    fill_os(&mut scan, rule.platforms.first());
    fill_scope(&mut scan, asks);
    Some(RuleTest { expect: expect?, scan, line: node.place.line })
}

fn table(name: &Key, content: &Node, limits: &Limits, report: &mut Report<'_>) -> Option<(TableId, TableData)> {
    let Some(id) = TableId::by_name(&name.text) else {
        let near = hint(&name.text, TableId::all().map(TableId::name));
        return report.say(Code::Test, name.place, format!("no table `{}`{near}", name.text));
    };
    let items = match &content.data {
        Data::List(items) => items,
        Data::Map(entries) => {
            if let [(key, Node { data: Data::Str(why), .. })] = entries.as_slice()
                && key.text == ERROR_COLUMN
            {
                return Some((id, TableData::Failed(why.as_str().into())));
            }
            let message = format!("table `{}` is a list of rows (`[{{...}}]`), or `{{error: \"why\"}}` when it failed", name.text);
            return report.say(Code::Test, content.place, message);
        }
        other => {
            let message = format!("table `{}` is a list of rows, not {}; `[]` is a table without any", name.text, other.kind());
            return report.say(Code::Test, content.place, message);
        }
    };
    if id.table().extent == Extent::Single && items.len() != 1 {
        report.say::<()>(Code::Test, content.place, format!("table `{}` has one row, not {}", name.text, items.len()));
    }
    let mut keys = BTreeSet::new();
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        let Some(row) = row(id, item, limits, report) else { continue };
        if !row.key().is_empty() && !keys.insert(row.key().to_vec()) {
            report.say::<()>(Code::Test, item.place, format!("table `{}` has a row with this key already", name.text));
        }
        rows.push(row);
    }
    Some((id, TableData::Rows(rows)))
}

/// By the same reader as every scan, once the cells are what YAML means and not what it guesses.
fn row(id: TableId, node: &Node, limits: &Limits, report: &mut Report<'_>) -> Option<Row> {
    let t = id.table();
    let Data::Map(entries) = &node.data else {
        return report.say(Code::Test, node.place, format!("a row of `{}` is a map of columns, not {}", t.name, node.data.kind()));
    };
    let told = report.problems.len();
    let mut json = serde_json::Map::new();
    for (key, value) in entries {
        let column = t.columns.iter().find(|c| c.name == key.text).map(|c| (c.name, c.ty));
        let Some((name, ty)) = column.or((key.text == ERROR_COLUMN).then_some((ERROR_COLUMN, Type::Str))) else {
            let near = hint(&key.text, t.columns.iter().map(|c| c.name));
            let known: Vec<_> = t.columns.iter().map(|c: &Column| c.name).collect();
            let near = if near.is_empty() { format!("; it has {}", known.join(", ")) } else { near };
            report.say::<()>(Code::Test, key.place, format!("table `{}` has no column `{}`{near}", t.name, key.text));
            continue;
        };
        match cell(ty, &value.data) {
            Ok(cell) => {
                json.insert(name.to_owned(), cell);
            }
            Err(expected) => {
                let message = complaint(name, expected, value.place, &value.data, &report.file.text);
                report.say::<()>(Code::Test, value.place, message);
            }
        }
    }
    if report.problems.len() > told {
        return None;
    }
    match Row::parse(id, &serde_json::Value::Object(json).to_string(), limits) {
        Ok(row) => Some(row),
        Err(error) => {
            // The place is one in the JSON that nobody wrote.
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(m, _)| m).to_owned();
            report.say(Code::Test, node.place, message)
        }
    }
}

fn cell(ty: Type, data: &Data) -> Result<serde_json::Value, Type> {
    match (ty, data) {
        (_, Data::Null) => Ok(serde_json::Value::Null),
        (Type::Str | Type::Mode, Data::Str(text)) => Ok(text.as_str().into()),
        (Type::Int, Data::Int(n)) => Ok((*n).into()),
        (Type::Bool, Data::Bool(b)) => Ok((*b).into()),
        _ => Err(ty),
    }
}

fn complaint(name: &str, expected: Type, place: Place, data: &Data, file: &str) -> String {
    match (expected, data) {
        (Type::Str, Data::Bool(_) | Data::Int(_) | Data::Number) => {
            format!("column `{name}` is a string, quote it: \"{}\"", word(file, place))
        }
        (Type::Mode, Data::Int(_) | Data::Number) => format!("column `{name}` is octal text, quote it: \"{}\"", word(file, place)),
        (Type::Int | Type::Bool, Data::Str(text)) => format!("column `{name}` is {}, write {text} without quotes", article(expected)),
        (_, other) => format!("column `{name}` is {}, not {}", article(expected), other.kind()),
    }
}

fn article(ty: Type) -> &'static str {
    match ty {
        Type::Str => "a string",
        Type::Int => "an int",
        Type::Bool => "a bool",
        Type::Mode => "octal text such as \"0640\"",
    }
}

/// The system that the rule's first platform means.
fn fill_os(scan: &mut Scan, platform: Option<&Platform>) {
    let (Some(os), Some(platform)) = (TableId::by_name("os"), platform) else { return };
    if scan.tables.contains_key(&os) {
        return;
    }
    let id = platform.id.as_str();
    let (family, id, version) = match id {
        "linux" => ("linux", "debian", "12"),
        "windows" => ("windows", "windows", "2022"),
        "macos" => ("macos", "macos", "14"),
        _ if id.starts_with("windows") => ("windows", id, "2022"),
        _ => ("linux", id, "1"),
    };
    let version = platform.version.as_deref().unwrap_or(version);
    scan.push(Row::new(os).with("family", family).with("id", id).with("id_like", "").with("version", version));
}

/// Everything was looked at in the tables that are given: what has a row is present, the rest absent.
fn fill_scope(scan: &mut Scan, asks: &Collect) {
    let Some(scope) = TableId::by_name("scope").filter(|s| !scan.tables.contains_key(s)) else { return };
    let mut rows = Vec::new();
    for (table, items) in asks {
        // What is not given was not collected, and what failed was not looked at.
        let Some(TableData::Rows(given)) = scan.tables.get(table) else { continue };
        for item in items {
            let means = |row: &Row| match row.key().first().and_then(Value::as_str) {
                Some(key) if is_pattern(item) => pattern_matches(item, key),
                Some(key) => key == item,
                None => false,
            };
            let state = if given.iter().any(means) { "present" } else { "absent" };
            rows.push(Row::new(scope).with("table", table.name()).with("item", item.as_str()).with("state", state));
        }
    }
    if !rows.is_empty() {
        scan.tables.insert(scope, TableData::Rows(rows));
    }
}
