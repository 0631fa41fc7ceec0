//! `systemd`: properties of units, as `systemctl show` prints them.
//!
//! Units are those that have a unit file: content takes a unit without one for one that is not there. Templates (`getty@.service`) are no
//! units. Asked as `PROPERTY UNIT`; `Dependencies` is what is required or wanted, and by way of targets what those require or want,
//! as `systemctl list-dependencies` goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::asked::scope;
use super::command::{self, Silence};
use super::item::Pattern;
use super::{Gap, Gathered, Host, row, table};
use crate::limits::Limits;
use crate::scan::Row;

/// Units of one call, so that its arguments stay short.
const BATCH: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);
const DEPENDENCIES: &str = "Dependencies";
/// Properties that are lists of words.
const LISTS: [&str; 32] = [
    "After",
    "Before",
    "BindsTo",
    "BoundBy",
    "ConflictedBy",
    "Conflicts",
    "ConsistsOf",
    "Documentation",
    "DropInPaths",
    "JoinsNamespaceOf",
    "Names",
    "OnFailure",
    "OnFailureOf",
    "OnSuccess",
    "OnSuccessOf",
    "PartOf",
    "PropagatesReloadTo",
    "PropagatesStopTo",
    "ReloadPropagatedFrom",
    "RequiredBy",
    "Requires",
    "RequiresMountsFor",
    "Requisite",
    "RequisiteOf",
    "SliceOf",
    "StopPropagatedFrom",
    "TriggeredBy",
    "Triggers",
    "UpheldBy",
    "Upholds",
    "WantedBy",
    "Wants",
];

/// `systemctl` with arguments, or another that speaks as it does.
type Run<'a> = &'a dyn Fn(&[&str]) -> Result<String, String>;
/// unit -> property -> value
type Shown = BTreeMap<String, BTreeMap<String, String>>;

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let items = host.asks.get(&table("systemd")).ok_or(Gap::NotAsked)?;
    // systemctl asks the running system, whatever the root.
    if !host.root.is_live() {
        return Err(Gap::NotAsked);
    }
    Ok(rows(items, &systemctl, host.limits)?)
}

/// What an item asks: a property of the units that match.
struct Wanted<'i> {
    item: &'i str,
    property: &'i str,
    units: Vec<&'i str>,
    problem: Option<String>,
}

fn rows(items: &[String], run: Run<'_>, limits: &Limits) -> Result<Vec<Row>, String> {
    let listed = run(&["list-unit-files", "--full", "--no-legend", "--no-pager", "--plain"])?;
    let units = names(&listed);
    let wanted: Vec<Wanted<'_>> = items.iter().map(|item| wanted(item, &units, limits)).collect();
    let mut properties: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for want in wanted.iter().filter(|w| w.property != DEPENDENCIES) {
        for unit in &want.units {
            properties.entry(unit).or_default().insert(want.property);
        }
    }
    let names: BTreeSet<&str> = properties.values().flatten().copied().collect();
    let shown = show(run, &properties.keys().copied().collect::<Vec<_>>(), &names)?;
    let mut known: Shown = BTreeMap::new();
    let mut rows = BTreeMap::new();
    let mut scopes = Vec::new();
    for Wanted { item, property, units, problem } in wanted {
        let mut present = false;
        for unit in units {
            let value = if property == DEPENDENCIES {
                Some(dependencies(run, unit, &mut known)?)
            } else {
                shown.get(unit).and_then(|p| p.get(property)).map(|value| list(property, value))
            };
            if let Some(value) = value {
                present = true;
                let row = row("systemd").with("unit", unit).with("property", property).with("value", value);
                rows.insert((unit, property), row);
            }
        }
        scopes.push(scope("systemd", item, present, problem));
    }
    Ok(rows.into_values().chain(scopes).collect())
}

fn wanted<'i>(item: &'i str, all: &BTreeSet<&'i str>, limits: &Limits) -> Wanted<'i> {
    let mut want = Wanted { item, property: "", units: Vec::new(), problem: None };
    let Some((property, unit)) = item.split_once(' ') else {
        want.problem = Some("not a property and a unit".into());
        return want;
    };
    want.property = property;
    // Times and ids of runs change by themselves.
    let moves = ["Timestamp", "InvocationID", "USec", "PID", "NSec"].iter().any(|part| property.contains(part));
    if property.is_empty() || !property.bytes().all(|b| b.is_ascii_alphanumeric()) || moves {
        want.problem = Some(format!("`{property}` is no property that lasts"));
        return want;
    }
    if !unit.starts_with('^') {
        want.units.extend(all.get(unit));
        return want;
    }
    match Pattern::new(unit, limits) {
        Ok(pattern) => {
            for name in all {
                match pattern.is_match(name) {
                    Ok(true) => want.units.push(name),
                    Ok(false) => {}
                    Err(why) => want.problem = Some(why),
                }
            }
        }
        Err(why) => want.problem = Some(why),
    }
    want
}

/// The first word of each line, without templates.
fn names(listed: &str) -> BTreeSet<&str> {
    let names = listed.lines().filter_map(|l| l.split_whitespace().next());
    names.filter(|n| n.contains('.') && !n.contains("@.") && !n.starts_with('-') || *n == "-.mount" || *n == "-.slice").collect()
}

/// Lists are joined with line feeds.
fn list(property: &str, value: &str) -> String {
    if LISTS.contains(&property) { value.split(' ').collect::<Vec<_>>().join("\n") } else { value.to_owned() }
}

/// Properties of units. A call prints a paragraph for each unit, in the order in which they were named.
fn show(run: Run<'_>, units: &[&str], properties: &BTreeSet<&str>) -> Result<Shown, String> {
    let mut shown = Shown::new();
    let wanted = format!("--property={}", properties.iter().copied().collect::<Vec<_>>().join(","));
    for batch in units.chunks(BATCH) {
        let mut arguments = vec!["show", "--no-pager", "--property=Id", &wanted, "--"];
        arguments.extend(batch);
        let text = run(&arguments)?;
        let paragraphs: Vec<&str> = text.trim_matches('\n').split("\n\n").collect();
        if paragraphs.len() != batch.len() {
            return Err(format!("systemctl show printed {} units of {}", paragraphs.len(), batch.len()));
        }
        for (unit, paragraph) in batch.iter().zip(paragraphs) {
            let lines = paragraph.lines().filter_map(|l| l.split_once('='));
            shown.insert((*unit).to_owned(), lines.map(|(p, v)| (p.to_owned(), v.to_owned())).collect());
        }
    }
    Ok(shown)
}

/// What a target requires or wants and, by way of targets, what those do: sorted, joined with line feeds.
fn dependencies(run: Run<'_>, unit: &str, known: &mut Shown) -> Result<String, String> {
    let mut all = BTreeSet::new();
    let mut next: Vec<String> = vec![unit.to_owned()];
    while !next.is_empty() {
        let targets: Vec<&str> = next.iter().map(String::as_str).filter(|n| n.ends_with(".target") && !known.contains_key(*n)).collect();
        known.extend(show(run, &targets, &BTreeSet::from(["Requires", "Wants"]))?);
        let mut found = Vec::new();
        for name in next.iter().filter(|n| n.ends_with(".target")) {
            let values = known
                .get(name)
                .into_iter()
                .flatten()
                .filter(|(property, _)| matches!(property.as_str(), "Requires" | "Wants"))
                .map(|(_, value)| value);
            for name in values.flat_map(|v| v.split_whitespace()) {
                if all.insert(name.to_owned()) {
                    found.push(name.to_owned());
                }
            }
        }
        next = found;
    }
    Ok(all.into_iter().collect::<Vec<_>>().join("\n"))
}

fn systemctl(arguments: &[&str]) -> Result<String, String> {
    command::ask("systemctl", arguments, PATIENCE).map_err(|silence| match silence {
        Silence::NotThere => "systemctl: not installed".to_owned(),
        Silence::Failed(why) => why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system of a few units.
    fn fake(arguments: &[&str]) -> Result<String, String> {
        if arguments.first() == Some(&"list-unit-files") {
            return Ok("a.service enabled enabled\nb.socket disabled -\ng@.service static -\nm.target static -\nn.target static -\n".into());
        }
        let units = arguments.iter().skip_while(|a| **a != "--").skip(1);
        let mut out = Vec::new();
        for unit in units {
            let requires = match *unit {
                "m.target" => "Requires=n.target\nWants=a.service b.socket",
                "n.target" => "Requires=m.target x.slice\nWants=",
                _ => "Requires=q.service\nWants=",
            };
            let active = if *unit == "a.service" { "active" } else { "inactive" };
            out.push(format!("Id={unit}\nActiveState={active}\nAfter=x.target y.target\n{requires}"));
        }
        Ok(out.join("\n\n") + "\n")
    }

    #[test]
    fn properties_and_dependencies() {
        let items = [
            "ActiveState a.service",
            "ActiveState none.service",
            "After ^(a|b)\\.(service|socket)$",
            "Dependencies m.target",
            "Dependencies a.service",
            "ActiveState ^g",
            "ActiveEnterTimestamp a.service",
            "nonsense",
            "ActiveState ^(",
        ]
        .map(str::to_owned);
        let got: Vec<_> = rows(&items, &fake, &Limits::default()).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            got[..12],
            [
                r#"systemd{"unit":"a.service","property":"ActiveState","value":"active"}"#,
                r#"systemd{"unit":"a.service","property":"After","value":"x.target\ny.target"}"#,
                r#"systemd{"unit":"a.service","property":"Dependencies","value":""}"#,
                r#"systemd{"unit":"b.socket","property":"After","value":"x.target\ny.target"}"#,
                r#"systemd{"unit":"m.target","property":"Dependencies","value":"a.service\nb.socket\nm.target\nn.target\nx.slice"}"#,
                r#"scope{"table":"systemd","item":"ActiveState a.service","state":"present"}"#,
                r#"scope{"table":"systemd","item":"ActiveState none.service","state":"absent"}"#,
                r#"scope{"table":"systemd","item":"After ^(a|b)\\.(service|socket)$","state":"present"}"#,
                r#"scope{"table":"systemd","item":"Dependencies m.target","state":"present"}"#,
                r#"scope{"table":"systemd","item":"Dependencies a.service","state":"present"}"#,
                r#"scope{"table":"systemd","item":"ActiveState ^g","state":"absent"}"#,
                r#"scope{"table":"systemd","item":"ActiveEnterTimestamp a.service","state":"error","message":"`ActiveEnterTimestamp` is no property that lasts"}"#,
            ]
        );
        assert_eq!(got.len(), 14);
        let none = |_: &[&str]| Err("systemctl: System has not been booted with systemd".to_owned());
        assert_eq!(rows(&items, &none, &Limits::default()).unwrap_err(), "systemctl: System has not been booted with systemd");
    }

    #[test]
    fn this_machine() {
        let items = ["LoadState multi-user.target", "Dependencies multi-user.target"].map(str::to_owned);
        match rows(&items, &systemctl, &Limits::default()) {
            Ok(rows) => assert_eq!(rows[1].get("value").as_str(), Some("loaded"), "{rows:?}"),
            Err(why) => crate::collect::tests::not_here(&why),
        }
    }
}
