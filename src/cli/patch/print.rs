//! The tables of `muster patch`, made of the same JSON that `--output json` prints.

use std::io::Write;

use serde_json::Value;

use super::super::output::{self, Out, plain};

pub(super) type Table = fn(&Value, &mut Out) -> anyhow::Result<()>;

/// A member as people read it: text as it is, lists with commas, nothing as nothing.
fn text(of: &Value, name: &str) -> String {
    shown(of.get(name).unwrap_or(&Value::Null))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => plain(s).replace('\n', " "),
        Value::Array(all) => all.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn items<'v>(of: &'v Value, name: &str) -> &'v [Value] {
    of.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The words of one list of items, by one of their members.
fn names(of: &Value, list: &str, member: &str) -> String {
    items(of, list).iter().map(|i| text(i, member)).collect::<Vec<_>>().join(", ")
}

/// The ids of the first so many, and how many more there are.
fn few(of: &Value, list: &str, most: usize) -> String {
    let all = items(of, list);
    let first = all.iter().take(most).map(|i| text(i, "id")).collect::<Vec<_>>().join(", ");
    if all.len() > most { format!("{first} and {} more", all.len() - most) } else { first }
}

fn cut(text: String, most: usize) -> String {
    if text.chars().count() <= most { text } else { format!("{}\u{2026}", text.chars().take(most - 1).collect::<String>()) }
}

/// `KEV 2026-11-24, EPSS 43.0 %`
fn threat(of: &Value) -> String {
    let is = |name: &str| of.get(name).and_then(Value::as_bool).unwrap_or(false);
    let due = text(of, "due");
    let known = match (is("exploited"), due.as_str()) {
        (_, due) if !due.is_empty() => Some(format!("KEV {due}")),
        (true, _) => Some("exploited".to_owned()),
        _ => None,
    };
    let epss = of.get("epss").and_then(Value::as_f64).map(|p| format!("EPSS {:.1} %", p * 100.0));
    known.into_iter().chain(epss).collect::<Vec<_>>().join(", ")
}

/// `openssl 3.0.11-1 -> 3.0.15-1`
fn package(of: &Value) -> String {
    let target = [text(of, "fixed"), text(of, "target")].concat();
    let from = format!("{} {}", text(of, "name"), text(of, "installed"));
    let from = from.trim_end();
    if target.is_empty() { from.to_owned() } else { format!("{from} -> {target}") }
}

fn packages(of: &Value) -> String {
    const MOST: usize = 3;
    let all = items(of, "packages");
    let mut shown: Vec<String> = all.iter().take(MOST).map(package).collect();
    if all.len() > MOST {
        shown.push(format!("and {} more", all.len() - MOST));
    }
    shown.join("\n")
}

/// The patches of an endpoint.
pub(super) fn lacking(document: &Value, out: &mut Out) -> anyhow::Result<()> {
    let header = ["PRIORITY", "BAND", "PATCH", "STATE", "SEVERITY", "CVSS", "THREAT", "PACKAGES", "INSTALLABLE"];
    let mut table = output::table(&header);
    for item in items(document, "items") {
        // A patch is as urgent as the worst that it brings along.
        let covers = items(item, "covers").len();
        let id = if covers == 0 { text(item, "id") } else { format!("{} (+{covers})", text(item, "id")) };
        table.add_row([
            text(item, "urgency"),
            text(item, "urgency_band"),
            id,
            text(item, "state"),
            text(item, "severity"),
            text(item, "cvss"),
            threat(item),
            packages(item),
            text(item, "installable"),
        ]);
    }
    let count = items(document, "items").len();
    if count > 0 {
        out.table(&table)?;
        writeln!(out)?;
    }
    let states = document.get("counts").and_then(Value::as_object).into_iter().flatten();
    let states: Vec<String> = states.filter(|(_, n)| n.as_u64() != Some(0)).map(|(state, n)| format!("{n} {state}")).collect();
    let more = if text(document, "next_cursor").is_empty() { "" } else { " (there are more; --limit)" };
    let states = if states.is_empty() { "not affected by any patch".to_owned() } else { states.join(", ") };
    writeln!(out, "{}: {count} shown{more}; {states}", text(document, "endpoint"))?;
    Ok(())
}

/// A page of the catalog.
pub(super) fn catalog(document: &Value, out: &mut Out) -> anyhow::Result<()> {
    let mut table = output::table(&["PATCH", "FEED", "PRIORITY", "BAND", "SEVERITY", "CVSS", "THREAT", "RELEASED", "MISSING", "TITLE"]);
    for item in items(document, "items") {
        let missing = item.get("counts").map(|c| text(c, "missing")).unwrap_or_default();
        table.add_row([
            text(item, "id"),
            text(item, "feed"),
            text(item, "priority"),
            text(item, "band"),
            text(item, "severity"),
            text(item, "cvss"),
            threat(item),
            text(item, "published").chars().take(10).collect(),
            missing,
            cut(text(item, "title"), 60),
        ]);
    }
    let count = items(document, "items").len();
    if count > 0 {
        out.table(&table)?;
    }
    let more = if text(document, "next_cursor").is_empty() { "" } else { " (there are more; --limit)" };
    writeln!(out, "{count} {}{more}", if count == 1 { "patch" } else { "patches" })?;
    Ok(())
}

fn line(out: &mut Out, name: &str, value: &str) -> anyhow::Result<()> {
    if !value.is_empty() {
        writeln!(out, "{name:<15}{value}")?;
    }
    Ok(())
}

fn head(item: &Value, out: &mut Out) -> anyhow::Result<()> {
    let parts = items(item, "rank").iter().map(|p| format!("{} {}", text(p, "name"), text(p, "points"))).collect::<Vec<_>>().join(", ");
    writeln!(out, "{} ({}): {}", text(item, "id"), text(item, "feed"), text(item, "title"))?;
    line(out, "priority", &format!("{} {} ({parts})", text(item, "priority"), text(item, "band")))?;
    line(out, "severity", &text(item, "severity"))?;
    line(out, "cvss", &text(item, "cvss"))?;
    line(out, "threat", &threat(item))?;
    line(out, "kind", &text(item, "kind"))?;
    line(out, "released", &text(item, "published"))?;
    line(out, "restart", &text(item, "restart"))?;
    line(out, "cves", &text(item, "cves"))
}

/// Everything about a patch, once for each feed that has it.
pub(super) fn patch(document: &Value, out: &mut Out) -> anyhow::Result<()> {
    for (at, item) in items(document, "items").iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        head(item, out)?;
        for name in ["advisories", "superseded_by", "supersedes", "references"] {
            line(out, &name.replace('_', " "), &text(item, name))?;
        }
        let counts = item.get("counts").and_then(Value::as_object).into_iter().flatten();
        line(out, "endpoints", &counts.map(|(state, n)| format!("{n} {state}")).collect::<Vec<_>>().join(", "))?;
        let stale = item.get("stale").and_then(Value::as_object).into_iter().flatten();
        line(out, "of them stale", &stale.map(|(state, n)| format!("{n} {state}")).collect::<Vec<_>>().join(", "))?;
        for evidence in items(item, "evidence") {
            line(
                out,
                "evidence",
                &format!("{} of {}, sha256 {}", text(evidence, "file"), text(evidence, "fetched"), text(evidence, "sha256")),
            )?;
        }
        if !text(item, "summary").is_empty() {
            writeln!(out, "\n{}\n", text(item, "summary"))?;
        }
        let mut table = output::table(&["FOR", "PLATFORM", "AFFECTED", "STATE", "FIXED"]);
        for fix in items(item, "fixes") {
            let platform = [text(fix, "platform"), text(fix, "channel"), text(fix, "module")];
            let platform: Vec<String> = platform.into_iter().filter(|p| !p.is_empty()).collect();
            table.add_row([
                cut(text(fix, "names"), 80),
                platform.join(" "),
                cut(text(fix, "affected"), 60),
                text(fix, "state"),
                [text(fix, "fixed"), text(fix, "build")].join(" ").trim().to_owned(),
            ]);
        }
        out.table(&table)?;
    }
    Ok(())
}

/// Why a patch stands as it does at an endpoint; of several scans one after the other.
pub(super) fn why(document: &Value, out: &mut Out) -> anyhow::Result<()> {
    if let Some(documents) = document.as_array() {
        return documents.iter().try_for_each(|d| why(d, out));
    }
    for item in items(document, "items") {
        head(item, out)?;
        line(out, "endpoint", &text(document, "endpoint"))?;
        line(out, "state", &text(item, "state"))?;
        line(out, "because", &text(item, "because"))?;
        line(out, "installable", &text(item, "installable"))?;
        line(out, "brought by", &names(item, "brought_by", "id"))?;
        for row in items(item, "rows") {
            let affected = text(row, "affected");
            let affected = if affected.is_empty() { String::new() } else { format!(" (affected: {affected})") };
            writeln!(
                out,
                "  {}: {}{}{affected}",
                text(row, "says"),
                text(row, "table"),
                plain(&row.get("row").unwrap_or(&Value::Null).to_string())
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The steps of a plan.
pub(super) fn plan(document: &Value, out: &mut Out) -> anyhow::Result<()> {
    for step in items(document, "steps") {
        let restart = match text(step, "restart").as_str() {
            "yes" => ", then restart",
            "maybe" => ", then perhaps restart",
            _ => "",
        };
        let patches = few(step, "patches", 20);
        let patches = if patches.is_empty() { "the system waits for it".to_owned() } else { patches };
        writeln!(
            out,
            "{:>3}. {} [{} {}] {patches}{restart}",
            text(step, "step"),
            text(step, "what"),
            text(step, "priority"),
            text(step, "band")
        )?;
        for upgrade in items(step, "packages") {
            let repository = text(upgrade, "repository");
            let offered = text(upgrade, "offered");
            let offer = if offered.is_empty() { String::new() } else { format!(" ({offered} from {repository})") };
            writeln!(out, "       {}{offer}", package(upgrade))?;
        }
        let covers = few(step, "covers", 8);
        if !covers.is_empty() {
            writeln!(out, "       brings along {covers}")?;
        }
        let also = names(step, "also_brings", "id");
        if !also.is_empty() {
            writeln!(out, "       brings along what is exempt: {also}")?;
        }
        if text(step, "installable") == "no" {
            writeln!(out, "       no repository of this endpoint offers it")?;
        }
        for block in items(step, "blocked_by") {
            match text(block, "reason").as_str() {
                "exempt" => {
                    writeln!(
                        out,
                        "       not to be installed: {} ({}, {})",
                        text(block, "why"),
                        text(block, "approver"),
                        text(block, "exemption")
                    )?;
                }
                _ => writeln!(out, "       after step {}: {}", text(block, "step"), text(block, "patches"))?,
            }
        }
    }
    let (steps, open) = (items(document, "steps").len(), items(document, "no_fix").len());
    let open = if open == 0 { String::new() } else { format!("; {open} affected without a fix") };
    writeln!(out, "{}: {steps} {}{open}", text(document, "endpoint"), if steps == 1 { "step" } else { "steps" })?;
    Ok(())
}

pub(super) fn lists(document: &Value, out: &mut Out) -> anyhow::Result<()> {
    let mut table = output::table(&["LIST", "VERSION", "PATCHES", "AUTHOR", "AT", "FILTER", "NOTE"]);
    for item in items(document, "items") {
        let columns = ["name", "version", "count", "author", "at", "filter", "note"];
        table.add_row(columns.map(|c| text(item, c)));
    }
    Ok(out.table(&table)?)
}

pub(super) fn list(document: &Value, out: &mut Out) -> anyhow::Result<()> {
    for name in ["name", "version", "filter", "author", "at", "note", "resolved", "added", "removed"] {
        line(out, name, &text(document, name))?;
    }
    for patch in items(document, "patches") {
        writeln!(out, "{}", shown(patch))?;
    }
    Ok(())
}

pub(super) fn versions(document: &Value, out: &mut Out) -> anyhow::Result<()> {
    let mut table = output::table(&["VERSION", "AT", "AUTHOR", "PATCHES", "ADDED", "REMOVED", "FILTER", "NOTE"]);
    for item in items(document, "versions") {
        let columns = ["version", "at", "author", "count", "added", "removed", "filter", "note"];
        table.add_row(columns.map(|c| text(item, c)));
    }
    Ok(out.table(&table)?)
}

pub(super) fn exemptions(document: &Value, out: &mut Out) -> anyhow::Result<()> {
    let mut table = output::table(&["EXEMPTION", "HOLDS", "WHERE", "PATCHES", "REASON", "APPROVER", "UNTIL"]);
    for item in items(document, "items") {
        table.add_row([
            text(item, "id"),
            text(item, "holds"),
            scope(item),
            text(item, "patches"),
            text(item, "reason"),
            text(item, "approver"),
            text(item, "expires_at"),
        ]);
    }
    Ok(out.table(&table)?)
}

pub(super) fn exemption(document: &Value, out: &mut Out) -> anyhow::Result<()> {
    line(out, "id", &text(document, "id"))?;
    line(out, "where", &scope(document))?;
    for name in ["patches", "reason", "approver", "created_at", "expires_at"] {
        line(out, name, &text(document, name))?;
    }
    Ok(())
}

fn scope(of: &Value) -> String {
    match of.get("scope") {
        Some(Value::Object(pairs)) => pairs.iter().map(|(kind, name)| format!("{kind} {}", shown(name))).collect(),
        Some(other) => shown(other),
        None => String::new(),
    }
}
