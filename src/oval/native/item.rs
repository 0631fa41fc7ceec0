//! Items made of rows.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::facts::{Flag, Item, ItemEntity, Status};
use super::super::model::Datatype;
use super::RowItems;
use super::want::Accepts;
use crate::scan::{Row, Value};

/// An item that is being made, entity by entity.
pub(super) struct Make<'r> {
    item: Item<'r>,
}

impl<'r> Make<'r> {
    pub(super) fn new(kind: &'static str) -> Make<'r> {
        Make { item: Item { kind: Cow::Borrowed(kind), status: Status::Exists, entities: Vec::new() } }
    }

    fn push(mut self, name: Cow<'r, str>, datatype: Datatype, status: Status, value: Cow<'r, str>) -> Make<'r> {
        self.item.entities.push(ItemEntity { name, datatype, status, nil: false, value, fields: Vec::new() });
        self
    }

    pub(super) fn typed(self, name: impl Into<Cow<'r, str>>, datatype: Datatype, value: impl Into<Cow<'r, str>>) -> Make<'r> {
        self.push(name.into(), datatype, Status::Exists, value.into())
    }

    pub(super) fn text(self, name: impl Into<Cow<'r, str>>, value: impl Into<Cow<'r, str>>) -> Make<'r> {
        self.typed(name, Datatype::String, value)
    }

    pub(super) fn int(self, name: &'static str, value: i64) -> Make<'r> {
        self.typed(name, Datatype::Int, value.to_string())
    }

    pub(super) fn bool(self, name: &'static str, value: bool) -> Make<'r> {
        self.typed(name, Datatype::Boolean, if value { "true" } else { "false" })
    }

    /// An entity without a value.
    pub(super) fn without(self, name: &'static str, datatype: Datatype, status: Status) -> Make<'r> {
        self.push(Cow::Borrowed(name), datatype, status, Cow::Borrowed(""))
    }

    /// A column as it is; where it is absent, the row's error or `absent` says why.
    pub(super) fn column(self, name: &'static str, row: &'r Row, column: &str, datatype: Datatype, absent: Status) -> Make<'r> {
        match row.get(column) {
            Value::Str(text) => self.typed(name, datatype, &**text),
            Value::Int(n) => self.typed(name, datatype, n.to_string()),
            Value::Bool(b) => self.typed(name, datatype, if *b { "true" } else { "false" }),
            Value::Null if row.error.is_some() => self.without(name, datatype, Status::Error),
            Value::Null => self.without(name, datatype, absent),
        }
    }

    pub(super) fn each(mut self, name: &'static str, values: impl Iterator<Item = &'r str>) -> Make<'r> {
        for value in values {
            self = self.text(name, value);
        }
        self
    }

    pub(super) fn done(self) -> Item<'r> {
        self.item
    }
}

/// What a row gives, as it is found.
#[derive(Default)]
pub(super) struct Out<'r> {
    pub(super) found: RowItems<'r>,
}

impl<'r> Out<'r> {
    pub(super) fn item(&mut self, make: Make<'r>) {
        self.found.items.push(Arc::new(make.done()));
    }

    /// Something concerns the object and cannot be told. The worst is kept.
    pub(super) fn fail(&mut self, flag: Flag, why: impl Into<Box<str>>) {
        if self.found.flag.as_ref().is_none_or(|(f, _)| *f != Flag::Error) {
            self.found.flag = Some((flag, why.into()));
        }
    }

    pub(super) fn taken(&mut self, accepts: Accepts) -> bool {
        match accepts {
            Accepts::Yes => true,
            Accepts::No => false,
            Accepts::Error(why) => {
                self.fail(Flag::Error, why);
                false
            }
        }
    }
}
