//! An object whose entities have their values: which rows it means, what they give it, and whether enough was looked at.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::super::facts::{Flag, Values};
use super::super::model::{Body, Object, Stated, VariableId};
use super::super::pattern::Flags;
use super::super::truth::Compat;
use super::item::Out;
use super::path::Place;
use super::types::{self, Type};
use super::want::Want;
use super::{Collection, RowItems, Scope, Select};
use crate::limits::Limits;
use crate::scan::Row;
use crate::scan::table::TableId;

#[derive(Debug)]
pub(super) struct Resolved {
    ty: &'static Type,
    table: TableId,
    /// Entities, without those that say where files are.
    pub(super) wants: Vec<Want>,
    pub(super) place: Option<Place>,
    pub(super) behaviors: Vec<(Box<str>, Box<str>)>,
    /// Entities of its items that anything reads.
    pub(super) read: BTreeSet<Box<str>>,
    pub(super) limits: Limits,
    pub(super) compat: Compat,
    asks: OnceLock<Vec<String>>,
}

/// How values are compared, and how much is taken.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) compat: Compat,
    pub(super) limits: Limits,
}

/// Why an object was not resolved.
#[derive(Debug)]
pub(super) struct Unresolved {
    /// A variable has no values: `flag` says what the object comes to.
    pub(super) variable: Option<Flag>,
    pub(super) why: Box<str>,
}

impl Resolved {
    /// `values` gives those of variables; none where they are not known yet.
    pub(super) fn new(
        object: &Object,
        read: BTreeSet<Box<str>>,
        settings: Settings,
        mut values: impl FnMut(VariableId) -> Option<Values>,
    ) -> Result<Resolved, Unresolved> {
        let refuse = |why: String| Unresolved { variable: None, why: why.into() };
        let Body::Entities { entities, behaviors, .. } = &object.body else { return Err(refuse("a set".into())) };
        let ty = types::find(&object.kind).map_err(refuse)?;
        let table = TableId::by_name(ty.table).ok_or_else(|| refuse(format!("no table {}", ty.table)))?;
        let flags = flags(behaviors);
        let mut wants = Vec::with_capacity(entities.len());
        for entity in entities {
            let found = match &entity.value {
                Stated::Variable(id) => Some(usable(&entity.name, values(*id))?),
                _ => None,
            };
            // Behaviors change the pattern of a content, not those of its path.
            let flags = match &*entity.name {
                "pattern" | "line" => flags,
                _ => Flags { ignore_case: ty.fold, ..Flags::default() },
            };
            wants.push(Want::new(entity, found.as_ref().map(|v| &*v.values), ty.fold, flags, &settings));
        }
        let place = if ty.places { Some(Place::take(&mut wants, behaviors).map_err(refuse)?) } else { None };
        let Settings { compat, limits } = settings;
        let resolved = Resolved { ty, table, wants, place, behaviors: behaviors.clone(), read, limits, compat, asks: OnceLock::new() };
        (ty.check)(&resolved).map_err(refuse)?;
        Ok(resolved)
    }

    pub(super) fn table(&self) -> TableId {
        self.table
    }

    /// Whether an item of it joins several rows.
    pub(super) fn is_whole(&self) -> bool {
        self.ty.whole.is_some()
    }

    pub(super) fn want(&self, name: &str) -> Option<&Want> {
        self.wants.iter().find(|w| &*w.name == name)
    }

    /// Whether an entity takes a value; an entity that is nil or not there takes any.
    pub(super) fn takes(&self, name: &str, value: &str, out: &mut Out<'_>) -> bool {
        match self.want(name).filter(|w| !w.nil) {
            Some(want) => out.taken(want.accepts(value)),
            None => true,
        }
    }

    pub(super) fn behavior(&self, name: &str) -> Option<&str> {
        self.behaviors.iter().find(|(n, _)| &**n == name).map(|(_, v)| &**v)
    }

    pub(super) fn select(&self) -> Select {
        (self.ty.select)(self)
    }

    pub(super) fn asks(&self) -> &[String] {
        self.asks.get_or_init(|| {
            let mut asks = (self.ty.asks)(self);
            asks.sort();
            asks.dedup();
            asks
        })
    }

    pub(super) fn items_of_row<'r>(&self, row: &'r Row) -> RowItems<'r> {
        let mut out = Out::default();
        (self.ty.items)(self, row, &mut out);
        out.found
    }

    /// What all rows of the table give it.
    pub(super) fn items_of_rows<'r>(&self, rows: &mut dyn Iterator<Item = &'r Row>) -> RowItems<'r> {
        let mut out = Out::default();
        match self.ty.whole {
            Some(whole) => whole(self, &rows.collect::<Vec<_>>(), &mut out),
            None => rows.for_each(|row| (self.ty.items)(self, row, &mut out)),
        }
        out.found
    }

    pub(super) fn flag<'a>(
        &self,
        collection: Collection<'a>,
        scope: impl Fn(&str) -> Scope<'a>,
        items: bool,
        rows: Option<(Flag, Box<str>)>,
    ) -> (Flag, Option<Box<str>>) {
        let gap = match collection {
            Collection::Absent => return (Flag::NotCollected, Some(format!("table {} was not collected", self.ty.table).into())),
            Collection::Failed(why) => return (Flag::Error, Some(format!("table {}: {why}", self.ty.table).into())),
            Collection::Rows => rows.or_else(|| self.gap(scope)),
        };
        match gap {
            Some((_, why)) if items => (Flag::Incomplete, Some(why)),
            Some((flag, why)) => (flag, Some(why)),
            None if items => (Flag::Complete, None),
            None => (Flag::DoesNotExist, None),
        }
    }

    /// What was not looked at.
    fn gap<'a>(&self, scope: impl Fn(&str) -> Scope<'a>) -> Option<(Flag, Box<str>)> {
        let mut gap = None;
        for item in self.asks() {
            match scope(item) {
                Scope::Looked => {}
                Scope::Failed(why) => return Some((Flag::Error, format!("{item}: {why}").into())),
                Scope::Unasked => {
                    gap.get_or_insert_with(|| (Flag::NotCollected, format!("{item} was not looked at").into()));
                }
            }
        }
        gap.or_else(|| (self.ty.unseen)(self).map(|why| (Flag::NotCollected, why.into())))
    }
}

/// The values of an entity's variable. Others make the object one that does not exist, or an error.
fn usable(entity: &str, values: Option<Values>) -> Result<Values, Unresolved> {
    let flag = match values {
        Some(v) if matches!(v.flag, Flag::Complete | Flag::Incomplete) => return Ok(v),
        Some(v) if v.flag == Flag::Error => Flag::Error,
        _ => Flag::DoesNotExist,
    };
    Err(Unresolved { variable: Some(flag), why: format!("the variable of {entity} has no values").into() })
}

fn flags(behaviors: &[(Box<str>, Box<str>)]) -> Flags {
    let get =
        |name: &str, default: bool| behaviors.iter().find(|(n, _)| &**n == name).map_or(default, |(_, v)| matches!(v.trim(), "true" | "1"));
    Flags { ignore_case: get("ignore_case", false), multiline: get("multiline", true), singleline: get("singleline", false) }
}
