//! One rule: `file -> Rule`. Fields are read one by one and all of them, whatever is wrong with the one before.

use super::fields::{Fields, Report, is_id, map, text, texts};
use super::node::{Data, Node, Place};
use super::{SourceFile, fixture, parsed, place};
use crate::judge::Verdict;
use crate::limits::Limits;
use crate::rule::check::suggest::hint;
use crate::rule::check::{MissingUse, check, missing_use, unfit_pattern};
use crate::rule::ir::Ir;
use crate::rule::{Code, Collect, Fix, FixState, Platform, Rule, Severity};
use crate::scan::table::{Extent, TableId};

const FIELDS: [&str; 13] =
    ["id", "title", "severity", "platforms", "controls", "rationale", "when", "check", "missing", "remediation", "fix", "collect", "tests"];

pub(super) fn rule(file: &SourceFile, limits: &Limits, report: &mut Report<'_>) -> Option<Rule> {
    if file.text.len() > limits.rule_bytes {
        let message = format!("the file has {} bytes, over the limit of {}", file.text.len(), limits.rule_bytes);
        return report.say(Code::Limit, Place { line: 1, column: 1 }, message);
    }
    let node = parsed(file, report)?;
    let fields = Fields::read(&node, "a rule", &FIELDS, report)?;
    let id = rule_id(&fields, report);
    let title = fields.text("title", report);
    let severity = severity(&fields, report);
    let platforms = platforms(&fields, report);
    let controls = fields.get("controls").map(|node| {
        map(node, "`controls`", report, |key, value, report| {
            let items = texts(value, &format!("`{}`", key.text), report)?;
            Some(items.into_iter().map(|(_, t)| t).collect())
        })
    });
    let rationale = fields.text("rationale", report);
    let remediation = fields.text("remediation", report);
    let fix = fields.get("fix").and_then(|node| fix(node, report));
    let collect = collect(&fields, report);
    let when = fields.get("when").map(|node| expression(&fields, "when", node, &collect, report));
    let check = fields.required("check", report).and_then(|node| expression(&fields, "check", node, &collect, report));
    let missing = missing(&fields, check.as_ref().map(|(_, ir)| ir), report);
    if let (Some((_, check)), None | Some(Some(_))) = (&check, &when) {
        unused_collect(&fields, check, when.as_ref().and_then(|w| w.as_ref()).map(|(_, ir)| ir), report);
    }
    // The tests are looked at even when the rest is wrong, with what is known of it.
    let (when_text, when) = when.flatten().unzip();
    let (check_text, check_ir) = check.unzip();
    let mut rule = Rule {
        id: id.unwrap_or_default(),
        title: title.unwrap_or_default(),
        severity: severity.unwrap_or(Severity::Info),
        platforms: platforms.unwrap_or_default(),
        controls: controls.unwrap_or_default(),
        rationale: rationale.unwrap_or_default(),
        remediation: remediation.unwrap_or_default(),
        fix,
        when_text,
        check_text: check_text.unwrap_or_default(),
        when,
        check: check_ir.unwrap_or(Ir::Bool(false)),
        missing,
        collect,
        tests: Vec::new(),
    };
    rule.tests = fixture::tests(&fields, &rule, limits, report);
    // Whatever was left empty above was told.
    report.problems.is_empty().then_some(rule)
}

fn rule_id(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<String> {
    let node = fields.required("id", report)?;
    let id = text(node, "`id`", report)?;
    let name = report.file.path.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = name.strip_suffix(".yaml").unwrap_or(name);
    if !is_id(id) {
        return report.say(Code::Id, node.place, format!("`{id}` is no id, write lower case letters, digits and `-`"));
    }
    if id != stem {
        return report.say(Code::Id, node.place, format!("the id is `{id}` and the file is named `{name}`, these must agree"));
    }
    Some(id.to_owned())
}

fn severity(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Severity> {
    let node = fields.required("severity", report)?;
    let name = text(node, "`severity`", report)?;
    let found = Severity::ALL.into_iter().find(|s| s.name() == name);
    if found.is_none() {
        return report.say(Code::Value, node.place, format!("no severity `{name}`; there are info, low, medium, high, critical"));
    }
    found
}

fn platforms(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Vec<Platform>> {
    let node = fields.required("platforms", report)?;
    let items = texts(node, "`platforms`", report)?;
    let read: Vec<_> = items.into_iter().map(|(place, text)| platform(place, &text, report)).collect();
    read.into_iter().collect()
}

fn platform(place: Place, text: &str, report: &mut Report<'_>) -> Option<Platform> {
    let (id, version) = match text.split_once(':') {
        Some((id, version)) => (id, Some(version)),
        None => (text, None),
    };
    let well_formed = |part: &str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) && part.chars().all(allowed)
    };
    if !well_formed(id) || version.is_some_and(|v| !well_formed(v)) {
        return report.say(Code::Value, place, format!("`{text}` is no platform, write `linux`, `debian` or `debian:12`"));
    }
    Some(Platform { id: id.to_owned(), version: version.map(str::to_owned) })
}

fn fix(node: &Node, report: &mut Report<'_>) -> Option<Fix> {
    let fields = Fields::read(node, "`fix`", &["package", "state"], report)?;
    let package = fields.text("package", report);
    let state = fields.required("state", report)?;
    let state = match text(state, "`state`", report)? {
        "installed" => FixState::Installed,
        "removed" => FixState::Removed,
        other => return report.say(Code::Value, state.place, format!("no state `{other}`; there are installed, removed")),
    };
    Some(Fix { package: package?, state })
}

fn collect(fields: &Fields<'_>, report: &mut Report<'_>) -> Collect {
    let mut collect = Collect::new();
    let Some(node) = fields.get("collect") else { return collect };
    let asked = || TableId::all().filter(|t| t.table().extent == Extent::Asked).map(|t| -> &str { t.name() });
    let tables = map(node, "`collect`", report, |key, value, report| {
        let table = TableId::by_name(&key.text).filter(|t| t.table().extent == Extent::Asked);
        if table.is_none() {
            let known: Vec<_> = asked().collect();
            let message = match TableId::by_name(&key.text) {
                Some(_) => format!("table `{}` is collected whole; `collect` is for {}", key.text, known.join(", ")),
                None => format!("no table `{}`{}", key.text, hint(&key.text, asked())),
            };
            return report.say(Code::Collect, key.place, message);
        }
        Some((table?, texts(value, &format!("`{}`", key.text), report)?))
    });
    for (table, items) in tables.into_values() {
        let mut kept = Vec::with_capacity(items.len());
        for (place, item) in items {
            if let Some(why) = unfit_pattern(table, &item) {
                report.say::<()>(Code::Value, place, why);
            }
            kept.push(if table.table().fold_case { item.to_lowercase() } else { item });
        }
        collect.insert(table, kept);
    }
    collect
}

/// An expression and its text; its problems get their places in the file.
fn expression(fields: &Fields<'_>, name: &str, node: &Node, collect: &Collect, report: &mut Report<'_>) -> Option<(String, Ir)> {
    let what = format!("`{name}`");
    if let Some(key) = fields.key(name)
        && place::has_tag(&report.file.text, key.place, node.place)
    {
        let message = format!("YAML takes a `!` at the beginning for a tag and drops it, write a block (`{name}: |`)");
        return report.say(Code::Yaml, key.place, message);
    }
    if let Data::Bool(b) = node.data {
        return report.say(Code::Value, node.place, format!("{what} is always {b}, it must look at a table"));
    }
    let written = text(node, &what, report)?;
    match check(written, collect) {
        Ok(ir) => Some((written.trim().to_owned(), ir)),
        Err(problems) => {
            let cut = place::is_cut_by_comment(&report.file.text, node.place);
            for problem in problems {
                let at = place::inside(&report.file.text, node.place, written, problem.span.start);
                let hint =
                    if cut && problem.code == Code::Syntax { "; ` #` begins a comment in YAML, write a block (`check: |`)" } else { "" };
                report.say::<()>(problem.code, at, format!("{}{hint}", problem.message));
            }
            None
        }
    }
}

fn missing(fields: &Fields<'_>, check: Option<&Ir>, report: &mut Report<'_>) -> Verdict {
    // Not collected is not compliant: where nothing is said, absence proves nothing.
    let default = Verdict::Unknown;
    let node = fields.get("missing");
    let given = node.and_then(|node| {
        let name = text(node, "`missing`", report)?;
        match Verdict::by_name(name) {
            Some(v @ (Verdict::Fail | Verdict::Pass | Verdict::NotApplicable | Verdict::Unknown)) => Some(v),
            _ => report.say(Code::Value, node.place, format!("`missing` is fail, pass, notapplicable or unknown, not `{name}`")),
        }
    });
    match (check.map(missing_use), node) {
        (Some(MissingUse::Key), None) if !fields.meant("missing") => {
            let place = fields.key("check").map_or(fields.place, |k| k.place);
            let message = "`check` reads a key that may be absent, say what that means: `missing: fail` (or pass, notapplicable, unknown)";
            report.say::<()>(Code::Missing, place, message);
        }
        (Some(MissingUse::Never), Some(_)) => {
            let place = fields.key("missing").map_or(fields.place, |k| k.place);
            report.say::<()>(Code::Missing, place, "nothing that `check` reads can be missing, leave out `missing`");
        }
        _ => {}
    }
    given.unwrap_or(default)
}

/// A `collect` entry is used by a quantifier over its table, or by a key that is known only when judged.
fn unused_collect(fields: &Fields<'_>, check: &Ir, when: Option<&Ir>, report: &mut Report<'_>) {
    let Some(Data::Map(entries)) = fields.get("collect").map(|n| &n.data) else { return };
    let mut used = Vec::new();
    for ir in [Some(check), when].into_iter().flatten() {
        ir.walk(&mut |node| match node {
            Ir::Quant { table, .. } | Ir::Count { table, .. } => used.push(*table),
            Ir::Lookup { table, key, .. } | Ir::HasRow { table, key } | Ir::HasCell { table, key, .. }
                if key.first().is_some_and(|k| !matches!(k, Ir::Str(_))) =>
            {
                used.push(*table);
            }
            _ => {}
        });
    }
    for (key, _) in entries {
        if TableId::by_name(&key.text).is_some_and(|t| t.table().extent == Extent::Asked && !used.contains(&t)) {
            let message = format!(
                "nothing asks all rows of `{0}`, as `{0}.all(r, ...)` would; keys that the rule names are collected by themselves",
                key.text
            );
            report.say::<()>(Code::Collect, key.place, message);
        }
    }
}
