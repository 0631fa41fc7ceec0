//! What an evaluation reads: collected objects and their items, wherever they come from.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::model::{Datatype, ObjectId};

/// The `flag` of a collected object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Flag {
    Error,
    Complete,
    Incomplete,
    DoesNotExist,
    NotCollected,
    NotApplicable,
}

impl Flag {
    pub const ALL: [Flag; 6] = [Flag::Error, Flag::Complete, Flag::Incomplete, Flag::DoesNotExist, Flag::NotCollected, Flag::NotApplicable];

    /// As system characteristics write it.
    pub fn name(self) -> &'static str {
        match self {
            Flag::Error => "error",
            Flag::Complete => "complete",
            Flag::Incomplete => "incomplete",
            Flag::DoesNotExist => "does not exist",
            Flag::NotCollected => "not collected",
            Flag::NotApplicable => "not applicable",
        }
    }

    pub fn by_name(name: &str) -> Option<Flag> {
        Flag::ALL.into_iter().find(|f| f.name() == name)
    }
}

/// The `status` of an item or of an item's entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    #[default]
    Exists,
    DoesNotExist,
    Error,
    NotCollected,
}

impl Status {
    pub const ALL: [Status; 4] = [Status::Exists, Status::DoesNotExist, Status::Error, Status::NotCollected];

    /// As system characteristics write it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Exists => "exists",
            Status::DoesNotExist => "does not exist",
            Status::Error => "error",
            Status::NotCollected => "not collected",
        }
    }

    pub fn by_name(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// One thing that was found. Values borrow from the upload where they can.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item<'x> {
    /// The item's type without its ending: `textfilecontent` of `textfilecontent_item`.
    #[serde(borrow)]
    pub kind: Cow<'x, str>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: Status,
    #[serde(borrow, default)]
    pub entities: Vec<ItemEntity<'x>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ItemEntity<'x> {
    #[serde(borrow)]
    pub name: Cow<'x, str>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub datatype: Datatype,
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: Status,
    /// `xsi:nil="true"`: there is none to compare.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nil: bool,
    #[serde(borrow, default)]
    pub value: Cow<'x, str>,
    /// Of a record.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<ItemEntity<'x>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An object as it was collected. Sets and filters have been applied to its items.
#[derive(Clone, Debug, PartialEq)]
pub struct Collected<'x> {
    pub flag: Flag,
    pub items: Vec<Arc<Item<'x>>>,
    /// Why, where the flag alone does not say.
    pub message: Option<Box<str>>,
}

/// Where collected objects come from. `None`: the facts say nothing of this object, its tests are unknown.
///
/// System characteristics answer by the object's id; our own tables resolve the object, and need the values of its variables for it,
/// which `variable` computes.
pub trait Facts<'x> {
    fn collected(&self, object: ObjectId, variables: &mut dyn Variables) -> Option<Arc<Collected<'x>>>;
}

/// The values of variables, computed when asked for.
pub trait Variables {
    fn values(&mut self, variable: super::model::VariableId) -> Values;
}

/// What a variable came to: its values, and as a flag why there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    pub flag: Flag,
    pub datatype: Datatype,
    pub values: Arc<[Box<str>]>,
}
