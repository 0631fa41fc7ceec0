//! OVAL system characteristics, streamed: collected objects and items as facts.
//!
//! `text -> xml::scan -> SystemCharacteristics (borrows the text) -> bind to content -> facts::Facts`. One pass, no tree; an object's references
//! stand in one list for the whole document, items in one table by number.

mod bind;
mod parse;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use super::facts::{Flag, Item};
use crate::xml::scan::Element;
pub use crate::xml::scan::ScanError;
pub use bind::{Bound, bind};

/// One `oval_system_characteristics` element, wherever it stood.
#[derive(Debug, Default)]
pub struct SystemCharacteristics<'x> {
    /// The `id` of the report that held it, in an ARF.
    pub report: Option<Cow<'x, str>>,
    /// The element as it was written.
    pub written: Element<'x>,
    pub os_name: Cow<'x, str>,
    pub os_version: Cow<'x, str>,
    pub architecture: Cow<'x, str>,
    pub primary_host_name: Cow<'x, str>,
    pub interfaces: Vec<Interface<'x>>,
    objects: Vec<Object<'x>>,
    /// Object id -> the first object of that id.
    by_id: HashMap<Cow<'x, str>, u32, foldhash::fast::RandomState>,
    references: Vec<u64>,
    messages: Vec<Cow<'x, str>>,
    variable_values: Vec<(Cow<'x, str>, Cow<'x, str>)>,
    items: Vec<(u64, Arc<Item<'x>>)>,
    by_number: HashMap<u64, u32, foldhash::fast::RandomState>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface<'x> {
    pub name: Cow<'x, str>,
    pub ip_address: Cow<'x, str>,
    pub mac_address: Cow<'x, str>,
}

#[derive(Debug)]
struct Object<'x> {
    id: Cow<'x, str>,
    version: u64,
    variable_instance: u32,
    flag: Flag,
    references: Range<u32>,
    messages: Range<u32>,
    variable_values: Range<u32>,
    /// The next object of the same id, which was collected with other values of its variables.
    next: Option<u32>,
}

/// A collected object as the document shows it.
#[derive(Clone, Debug)]
pub struct ObjectView<'s, 'x> {
    pub id: &'s str,
    pub version: u64,
    pub variable_instance: u32,
    pub flag: Flag,
    pub messages: &'s [Cow<'x, str>],
    /// (variable, value)
    pub variable_values: &'s [(Cow<'x, str>, Cow<'x, str>)],
    /// Numbers of its items, some of which may not be in the document.
    pub references: &'s [u64],
}

impl<'x> SystemCharacteristics<'x> {
    /// Collected objects in document order.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = ObjectView<'_, 'x>> {
        self.objects.iter().map(|o| self.view(o))
    }

    /// Items in document order, with their numbers.
    pub fn items(&self) -> impl ExactSizeIterator<Item = (u64, &Arc<Item<'x>>)> {
        self.items.iter().map(|(number, item)| (*number, item))
    }

    pub fn item(&self, number: u64) -> Option<&Arc<Item<'x>>> {
        let at = usize::try_from(*self.by_number.get(&number)?).ok()?;
        self.items.get(at).map(|(_, item)| item)
    }

    /// The objects of an id: several where its variables had several sets of values.
    pub fn object(&self, id: &str) -> impl Iterator<Item = ObjectView<'_, 'x>> {
        let first = self.by_id.get(id).and_then(|at| self.at(*at));
        std::iter::successors(first, |o| o.next.and_then(|at| self.at(at))).map(|o| self.view(o))
    }

    fn at(&self, at: u32) -> Option<&Object<'x>> {
        self.objects.get(usize::try_from(at).ok()?)
    }

    fn view<'s>(&'s self, o: &'s Object<'x>) -> ObjectView<'s, 'x> {
        ObjectView {
            id: &o.id,
            version: o.version,
            variable_instance: o.variable_instance,
            flag: o.flag,
            messages: part(&self.messages, &o.messages),
            variable_values: part(&self.variable_values, &o.variable_values),
            references: part(&self.references, &o.references),
        }
    }
}

fn part<'s, T>(list: &'s [T], range: &Range<u32>) -> &'s [T] {
    let wide = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    list.get(wide(range.start)..wide(range.end)).unwrap_or_default()
}
