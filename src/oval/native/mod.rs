//! Objects resolved against the tables of a native scan.
//!
//! ```text
//! object ─ variables filled in ─> Resolved ─ plan ──> which rows concern it
//!                                          ─ items ─> what one row gives it, filters applied
//!                                          ─ asks ──> what must have been looked at ─ scope rows ─> its flag
//! ```
//!
//! [`Native`] knows every object of one content. An object whose entities are constants is a question about single rows, and is asked
//! once per distinct row of a fleet. Others (sets, variables that come from other objects, items that join rows) are resolved for each
//! endpoint by [`Tables`], the [`Facts`](super::facts::Facts) over one scan; both ways end in the same functions.

mod account;
pub mod asks;
mod closure;
mod files;
mod item;
mod network;
mod package;
mod path;
mod question;
mod resolved;
mod system;
mod systemd;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod types;
mod want;
mod windows;
mod xml;
mod xpath;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use question::Question;
pub use tables::{Tables, looked, still_asked, variable_item};

use super::eval::Prepared;
use super::facts::{Flag, Item};
use super::model::{Body, Content, DefinitionId, ObjectId, VariableId};
use crate::limits::Limits;
use crate::rule::Collect;
use crate::scan::Row;
use crate::scan::table::TableId;
use resolved::{Resolved, Settings};

/// Tables that everybody reads whole, but that are collected only where somebody asks for them.
pub const ON_REQUEST: [&str; 2] = ["interface", "process"];

/// How an object finds the rows of its table that may concern it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// By values of the first key column; in lower case where the table folds case.
    Key(Vec<Box<str>>),
    /// By values of another column.
    Equal { column: usize, values: Vec<Box<str>> },
    /// Any row may.
    Each,
}

/// How an object is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Row by row: [`Native::items_of_row`].
    Rows { table: TableId, select: Select },
    /// The values of a variable.
    Variable { variable: VariableId, tables: BTreeSet<TableId> },
    /// Not collected, ever.
    Unsupported { why: Box<str> },
    /// By [`Tables`], for each endpoint.
    PerEndpoint { why: Box<str>, tables: BTreeSet<TableId> },
}

/// What one row gives an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowItems<'r> {
    pub items: Vec<Arc<Item<'r>>>,
    /// What the row takes from the object's flag, and why: it could not be read, or gives more than can be taken.
    pub flag: Option<(Flag, Box<str>)>,
}

/// What an endpoint says of a table as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection<'a> {
    Absent,
    Failed(&'a str),
    Rows,
}

/// What an endpoint says of one item that was asked of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// No row in `scope`: nobody looked.
    Unasked,
    Looked,
    Failed(&'a str),
}

/// Every object of one content. Built once with a pack.
#[derive(Debug)]
pub struct Native {
    objects: Vec<(Plan, Option<Resolved>)>,
    /// Which entities of an object's items anything reads.
    read: closure::Read,
    /// The plan of what is no object here.
    none: Plan,
}

impl Native {
    pub fn new(prepared: &Prepared, limits: &Limits) -> Native {
        let content = prepared.content();
        let read = closure::Read::of(content);
        let mut ids: Vec<ObjectId> = Vec::with_capacity(content.objects.len());
        ids.extend((0u32..).map(ObjectId).take(content.objects.len()));
        let objects = ids.into_iter().map(|id| planned(prepared, limits, &read, id)).collect();
        Native { objects, read, none: Plan::Unsupported { why: "no such object".into() } }
    }

    pub fn plan(&self, object: ObjectId) -> &Plan {
        self.objects.get(object.index()).map_or(&self.none, |(plan, _)| plan)
    }

    fn resolved(&self, object: ObjectId) -> Option<&Resolved> {
        self.objects.get(object.index())?.1.as_ref()
    }

    fn read(&self, object: ObjectId) -> BTreeSet<Box<str>> {
        self.read.of_object(object)
    }

    /// The items that one row gives an object, filters applied. For objects that are planned by rows; nothing for others.
    pub fn items_of_row<'r>(&self, prepared: &Prepared, object: ObjectId, row: &'r Row) -> RowItems<'r> {
        let Some(resolved) = self.resolved(object).filter(|r| r.table() == row.table) else { return RowItems::default() };
        let mut found = resolved.items_of_row(row);
        found.items.retain(|item| prepared.passes_filters(object, item));
        found
    }

    /// The flag of an object that is planned by rows.
    pub fn flag<'a>(
        &self,
        object: ObjectId,
        collection: Collection<'a>,
        scope: impl Fn(&str) -> Scope<'a>,
        items: bool,
        rows: Option<(Flag, Box<str>)>,
    ) -> (Flag, Option<Box<str>>) {
        match self.objects.get(object.index()) {
            Some((_, Some(resolved))) => resolved.flag(collection, scope, items, rows),
            Some((Plan::Unsupported { why }, _)) => (Flag::NotCollected, Some(why.clone())),
            _ => (Flag::NotCollected, None),
        }
    }

    /// The items of `scope` that an object needs, and their table; for objects that are planned by rows.
    pub fn asked(&self, object: ObjectId) -> Option<(TableId, &[String])> {
        let resolved = self.resolved(object)?;
        Some((resolved.table(), resolved.asks()))
    }

    /// What must be collected for these definitions, as far as it does not depend on what is found first.
    pub fn asks(&self, prepared: &Prepared, definitions: impl IntoIterator<Item = DefinitionId>) -> Collect {
        let mut asks = Collect::new();
        for object in closure::objects(prepared.content(), definitions) {
            if let Some((table, items)) = self.asked(object).filter(|(_, items)| !items.is_empty()) {
                asks.entry(table).or_default().extend(items.iter().cloned());
            }
        }
        asks::tidy(&mut asks);
        asks
    }
}

fn planned(prepared: &Prepared, limits: &Limits, read: &closure::Read, id: ObjectId) -> (Plan, Option<Resolved>) {
    let content = prepared.content();
    let Some(object) = content.objects.get(id.index()) else { return (Plan::Unsupported { why: "no such object".into() }, None) };
    let per_endpoint = |why: &str| (Plan::PerEndpoint { why: why.into(), tables: closure::tables(content, id) }, None);
    let Body::Entities { filters, .. } = &object.body else { return per_endpoint("a set") };
    if &*object.kind.name == "variable" {
        return match closure::named_variable(content, object) {
            Some(variable) if filters.is_empty() => (Plan::Variable { variable, tables: closure::tables(content, id) }, None),
            Some(_) => per_endpoint("the values of a variable, filtered"),
            None => (Plan::Unsupported { why: "names no variable of its document".into() }, None),
        };
    }
    if let Some(why) = filters.iter().find_map(|f| closure::variable_of_state(content, f.state, |v| prepared.constant(v).is_none())) {
        return per_endpoint(&format!("a filter with variable {}", variable_id(content, why)));
    }
    let mut waits = None;
    let settings = Settings { compat: prepared.compat(), limits: limits.clone() };
    let resolved = Resolved::new(object, read.of_object(id), settings, |v| {
        let constant = prepared.constant(v).cloned();
        waits = waits.or(constant.is_none().then_some(v));
        constant
    });
    match (resolved, waits) {
        (_, Some(variable)) => per_endpoint(&format!("variable {}", variable_id(content, variable))),
        // A constant variable that is an error says so at each endpoint.
        (Err(why), None) if why.variable.is_some() => per_endpoint(&why.why),
        (Err(why), None) => (Plan::Unsupported { why: why.why }, None),
        (Ok(resolved), None) if resolved.is_whole() => per_endpoint("its items join rows"),
        (Ok(resolved), None) => (Plan::Rows { table: resolved.table(), select: resolved.select() }, Some(resolved)),
    }
}

fn variable_id(content: &Content, id: VariableId) -> &str {
    content.variables.get(id.index()).map_or("?", |v| &v.id)
}
