//! Facts over an endpoint's scan: the objects that a SCAP collector uploaded, and our own tables for those that it did not.

use std::sync::Arc;

use super::facts::{Collected, Facts, Flag, Item, Variables};
use super::model::{Content, ObjectId};
use super::native::Tables;
use crate::scan::table::TableId;
use crate::scan::{Row, Scan, TableData, Value};

/// The tables that say nothing of a system by themselves.
const ASIDE: [&str; 3] = ["oval_object", "xccdf_result", "scope"];

/// An endpoint's facts for one content.
pub struct Scanned<'s> {
    content: &'s Content,
    /// Rows of `oval_object`, sorted by id.
    uploaded: &'s [Row],
    /// `None` where nothing but uploaded objects is there.
    tables: Option<Tables<'s>>,
}

impl<'s> Scanned<'s> {
    /// `scan` is normalised: rows are in order.
    pub fn new(content: &'s Content, scan: &'s Scan, tables: Option<Tables<'s>>) -> Scanned<'s> {
        let rows = TableId::by_name("oval_object").and_then(|t| scan.tables.get(&t));
        let uploaded = match rows {
            Some(TableData::Rows(rows)) => rows.as_slice(),
            _ => &[],
        };
        Scanned { content, uploaded, tables }
    }
}

/// Whether a scan has tables of our own.
pub fn is_native(tables: impl IntoIterator<Item = TableId>) -> bool {
    tables.into_iter().any(|t| !ASIDE.contains(&t.name()))
}

impl<'s> Facts<'s> for Scanned<'s> {
    fn collected(&self, object: ObjectId, variables: &mut dyn Variables) -> Option<Arc<Collected<'s>>> {
        let id = self.content.objects.get(object.index()).map(|o| &*o.id)?;
        let at = self.uploaded.binary_search_by(|row| row.key().first().and_then(Value::as_str).unwrap_or("").cmp(id));
        match at {
            Ok(at) => self.uploaded.get(at).map(|row| Arc::new(of_row(row))),
            Err(_) => self.tables.as_ref()?.collected(object, variables),
        }
    }
}

/// The object that a row of `oval_object` holds. What does not parse is an error, and never less.
pub fn of_row(row: &Row) -> Collected<'_> {
    let flag = row.get("flag").as_str().and_then(Flag::by_name);
    let items = row.get("items").as_str().map_or(Ok(Vec::new()), serde_json::from_str::<Vec<Item<'_>>>);
    match (flag, items) {
        (Some(flag), Ok(items)) => Collected { flag, items: items.into_iter().map(Arc::new).collect(), message: row.error.clone() },
        (None, _) => {
            Collected { flag: Flag::Error, items: Vec::new(), message: Some("the flag of the object is not one of OVAL's".into()) }
        }
        (_, Err(e)) => Collected { flag: Flag::Error, items: Vec::new(), message: Some(format!("the items of the object: {e}").into()) },
    }
}
