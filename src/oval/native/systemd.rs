//! `systemdunitproperty` and `systemdunitdependency` over the table `systemd`.

use super::Select;
use super::asks::keys;
use super::item::{Make, Out};
use super::resolved::Resolved;
use super::types::{Type, by_key};
use crate::scan::Row;

pub(super) const TYPES: &[Type] = &[
    Type::rows("systemdunitproperty", "systemd", property).select(by_unit).asks(properties).check(stated),
    Type::rows("systemdunitdependency", "systemd", dependency).select(by_unit).asks(dependencies),
];

/// The property that a unit's dependencies are collected under.
const DEPENDENCIES: &str = "Dependencies";

fn by_unit(object: &Resolved) -> Select {
    by_key(object, "unit")
}

fn stated(object: &Resolved) -> Result<(), String> {
    match object.want("property").and_then(|w| w.exact()) {
        Some(names) if names.iter().all(|n| !n.contains(char::is_whitespace)) => Ok(()),
        _ => Err("only properties that are stated are collected".to_owned()),
    }
}

fn properties(object: &Resolved) -> Vec<String> {
    let (Some(unit), Some(names)) = (object.want("unit"), object.want("property").and_then(|w| w.exact())) else { return Vec::new() };
    let units = keys(unit);
    names.iter().flat_map(|n| units.iter().map(move |u| format!("{n} {u}"))).collect()
}

fn dependencies(object: &Resolved) -> Vec<String> {
    let units = object.want("unit").map(keys).unwrap_or_default();
    units.into_iter().map(|u| format!("{DEPENDENCIES} {u}")).collect()
}

fn property<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let (Some(unit), Some(name)) = (row.get("unit").as_str(), row.get("property").as_str()) else { return };
    if name == DEPENDENCIES || !object.takes("unit", unit, out) || !object.takes("property", name, out) {
        return;
    }
    let make = Make::new("systemdunitproperty").text("unit", unit).text("property", name);
    out.item(match row.get("value").as_str() {
        // An empty list has no value; an empty text is one.
        Some(value) => make.each("value", value.split('\n')),
        None => make.column("value", row, "value", super::super::model::Datatype::String, super::super::facts::Status::NotCollected),
    });
}

fn dependency<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(unit) = row.get("unit").as_str() else { return };
    if row.get("property").as_str() != Some(DEPENDENCIES) || !object.takes("unit", unit, out) {
        return;
    }
    let make = Make::new("systemdunitdependency").text("unit", unit);
    let values = row.get("value").as_str().unwrap_or_default();
    out.item(make.each("dependency", values.split('\n').filter(|v| !v.is_empty())));
}
