//! One endpoint's scan as facts: every object that is no set, resolved on demand. Sets are left to the evaluation.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::eval::Prepared;
use super::super::facts::{Collected, Facts, Flag, Item, Values, Variables};
use super::super::model::{Body, DefinitionId, ObjectId, VariableId};
use super::item::Make;
use super::resolved::{Resolved, Settings, Unresolved};
use super::{Collection, Native, Plan, RowItems, Scope, Select, asks, closure};
use crate::limits::Limits;
use crate::rule::Collect;
use crate::scan::table::{Extent, TableId};
use crate::scan::{Row, Scan, TableData};

/// Rows by the value of one column.
type Index<'s> = BTreeMap<&'s str, Vec<&'s Row>>;

pub struct Tables<'s> {
    prepared: &'s Prepared,
    native: &'s Native,
    scan: &'s Scan,
    limits: &'s Limits,
    indexes: RefCell<BTreeMap<(TableId, usize), Arc<Index<'s>>>>,
    scope: OnceCell<BTreeMap<(&'s str, &'s str), Scope<'s>>>,
    known: RefCell<BTreeMap<ObjectId, Arc<Collected<'s>>>>,
    /// What the objects that were resolved needed to have looked at.
    asked: RefCell<Collect>,
}

impl<'s> Facts<'s> for Tables<'s> {
    fn collected(&self, object: ObjectId, variables: &mut dyn Variables) -> Option<Arc<Collected<'s>>> {
        if let Some(known) = self.known.borrow().get(&object) {
            return Some(known.clone());
        }
        let body = self.prepared.content().objects.get(object.index()).map(|o| &o.body);
        if matches!(body, None | Some(Body::Set(_))) {
            return None;
        }
        let collected = Arc::new(self.resolve(object, variables));
        self.known.borrow_mut().insert(object, collected.clone());
        Some(collected)
    }
}

impl<'s> Tables<'s> {
    pub fn new(prepared: &'s Prepared, native: &'s Native, scan: &'s Scan, limits: &'s Limits) -> Tables<'s> {
        Tables {
            prepared,
            native,
            scan,
            limits,
            indexes: RefCell::default(),
            scope: OnceCell::new(),
            known: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    /// What the objects that were resolved so far needed of tables that hold only what was asked. A collector that has this content
    /// evaluates, collects what is new here, and does so again until nothing is: paths may be values of variables over what was found.
    pub fn asked(&self) -> Collect {
        let mut asked = self.asked.borrow().clone();
        asks::tidy(&mut asked);
        asked
    }

    fn resolve(&self, id: ObjectId, variables: &mut dyn Variables) -> Collected<'s> {
        match self.native.plan(id) {
            Plan::Unsupported { why } => nothing(Flag::NotCollected, why.clone()),
            Plan::Variable { variable, .. } => self.variable(id, *variable, variables),
            Plan::Rows { .. } => match self.native.resolved(id) {
                Some(resolved) => self.rows(id, resolved, variables),
                None => nothing(Flag::NotCollected, "it was not planned".into()),
            },
            Plan::PerEndpoint { .. } => self.late(id, variables),
        }
    }

    /// An object that needs the endpoint's own values.
    fn late(&self, id: ObjectId, variables: &mut dyn Variables) -> Collected<'s> {
        let content = self.prepared.content();
        let Some(object) = content.objects.get(id.index()) else { return nothing(Flag::NotCollected, "no such object".into()) };
        if let Some(variable) = closure::named_variable(content, object) {
            return self.variable(id, variable, variables);
        }
        let settings = Settings { compat: self.prepared.compat(), limits: self.limits.clone() };
        match Resolved::new(object, self.native.read(id), settings, |v| Some(variables.values(v))) {
            Ok(resolved) => self.rows(id, &resolved, variables),
            Err(Unresolved { variable, why }) => nothing(variable.unwrap_or(Flag::NotCollected), why),
        }
    }

    fn rows(&self, id: ObjectId, resolved: &Resolved, variables: &mut dyn Variables) -> Collected<'s> {
        let table = resolved.table();
        if table.table().extent == Extent::Asked {
            self.asked.borrow_mut().entry(table).or_default().extend(resolved.asks().iter().cloned());
        }
        let collection = match self.scan.tables.get(&table) {
            None => Collection::Absent,
            Some(TableData::Failed(why)) => Collection::Failed(why),
            Some(TableData::Rows(_)) => Collection::Rows,
        };
        let RowItems { mut items, flag } = self.items(resolved);
        items.retain(|item| self.prepared.passes_all_filters(id, item, variables));
        let scope = |item: &str| self.scope().get(&(table.name(), item)).copied().unwrap_or(Scope::Unasked);
        let (flag, message) = resolved.flag(collection, scope, !items.is_empty(), flag);
        Collected { flag, items, message }
    }

    fn items(&self, resolved: &Resolved) -> RowItems<'s> {
        let rows = self.scan.rows(resolved.table());
        let (column, values) = match resolved.select() {
            _ if resolved.is_whole() => return resolved.items_of_rows(&mut rows.iter()),
            Select::Each => return resolved.items_of_rows(&mut rows.iter()),
            Select::Key(values) => (0, values),
            Select::Equal { column, values } => (column, values),
        };
        let index = self.index(resolved.table(), column);
        let fold = resolved.table().table().fold_case;
        let mut keys: Vec<String> = values.iter().map(|v| if fold { v.to_lowercase() } else { v.to_string() }).collect();
        keys.sort();
        keys.dedup();
        resolved.items_of_rows(&mut keys.iter().filter_map(|k| index.get(k.as_str())).flatten().copied())
    }

    fn index(&self, table: TableId, column: usize) -> Arc<Index<'s>> {
        let mut indexes = self.indexes.borrow_mut();
        let index = indexes.entry((table, column)).or_insert_with(|| {
            let mut index = Index::new();
            for row in self.scan.rows(table) {
                if let Some(value) = row.values.get(column).and_then(|v| v.as_str()) {
                    index.entry(value).or_default().push(row);
                }
            }
            Arc::new(index)
        });
        index.clone()
    }

    fn scope(&self) -> &BTreeMap<(&'s str, &'s str), Scope<'s>> {
        self.scope.get_or_init(|| {
            let Some(table) = TableId::by_name("scope") else { return BTreeMap::new() };
            let rows = self.scan.rows(table).iter();
            rows.filter_map(|row| Some(((row.get("table").as_str()?, row.get("item").as_str()?), looked(row)))).collect()
        })
    }

    fn variable(&self, id: ObjectId, variable: VariableId, variables: &mut dyn Variables) -> Collected<'s> {
        let values = variables.values(variable);
        let flag = match values.flag {
            Flag::Complete | Flag::Incomplete => values.flag,
            Flag::Error => return nothing(Flag::Error, "the variable is an error".into()),
            _ => return nothing(Flag::DoesNotExist, "the variable has no values".into()),
        };
        let name = self.prepared.content().variables.get(variable.index()).map_or("", |v| &v.id);
        let item = variable_item(name, &values);
        if self.prepared.passes_all_filters(id, &item, variables) {
            Collected { flag, items: vec![Arc::new(item)], message: None }
        } else {
            Collected { flag: if flag == Flag::Complete { Flag::DoesNotExist } else { flag }, items: Vec::new(), message: None }
        }
    }
}

/// The item of a `variable_object`.
pub fn variable_item<'x>(name: &str, values: &Values) -> Item<'x> {
    let mut make = Make::new("variable").text("var_ref", name.to_owned());
    for value in values.values.iter() {
        make = make.typed("value", values.datatype, value.to_string());
    }
    make.done()
}

/// What a row of `scope` says.
pub fn looked(row: &Row) -> Scope<'_> {
    match row.get("state").as_str() {
        Some("present" | "absent") => Scope::Looked,
        _ => Scope::Failed(row.get("message").as_str().unwrap_or("it could not be looked at")),
    }
}

fn nothing<'x>(flag: Flag, why: Box<str>) -> Collected<'x> {
    Collected { flag, items: Vec::new(), message: Some(why) }
}

/// What is still to be collected before these definitions can be judged: what they turn out to need when they are evaluated over what
/// was collected already. A collector asks again until this is empty.
pub fn still_asked(
    prepared: &Prepared,
    native: &Native,
    scan: &Scan,
    definitions: impl IntoIterator<Item = DefinitionId>,
    now_s: i64,
    limits: &Limits,
) -> Collect {
    let tables = Tables::new(prepared, native, scan, limits);
    let mut evaluation = super::super::eval::Evaluation::new(prepared, &tables, now_s);
    for object in closure::objects(prepared.content(), definitions) {
        // Every object is resolved, not only those that a result came to depend on.
        evaluation.object(object);
    }
    let scope = tables.scope();
    let mut asked = tables.asked();
    for (table, items) in &mut asked {
        items.retain(|item| !scope.contains_key(&(table.name(), item.as_str())));
    }
    asked.retain(|_, items| !items.is_empty());
    asked
}
