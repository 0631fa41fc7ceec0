//! System characteristics of a native scan, and the numbers of items.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;

use super::super::facts::{Flag, Item, ItemEntity, Status};
use super::super::model::{Datatype, ObjectId, TestId};
use super::super::value::datatype_name;
use super::{Answers, Document, Facts, variables_of_object};
use crate::xml::write::Out;

const SYSTEM: &str = "http://oval.mitre.org/XMLSchema/oval-system-characteristics-5";

/// What a native scan says of the host as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub os_name: String,
    pub os_version: String,
    pub architecture: String,
    pub name: String,
    pub interfaces: Vec<Interface>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub ip_address: String,
    pub mac_address: String,
}

/// Numbers of items, by where they lie in memory: items are shared, and one that several objects have is one item.
pub(super) struct Numbers {
    known: HashMap<usize, u64>,
    /// Of a native scan: an item gets a number when it is first met.
    next: Option<u64>,
}

fn place(item: &Arc<Item<'_>>) -> usize {
    Arc::as_ptr(item).addr()
}

impl Numbers {
    pub(super) fn new(facts: Facts<'_, '_>) -> Numbers {
        match facts {
            Facts::Uploaded(uploaded) => {
                let known = uploaded.items().map(|(number, item)| (place(item), number)).collect();
                Numbers { known, next: None }
            }
            Facts::Native(_) => Numbers { known: HashMap::new(), next: Some(1) },
        }
    }

    pub(super) fn of(&mut self, item: &Arc<Item<'_>>) -> Option<u64> {
        if let Some(next) = self.next {
            let number = *self.known.entry(place(item)).or_insert(next);
            self.next = Some(if number == next { next + 1 } else { next });
            return Some(number);
        }
        self.known.get(&place(item)).copied()
    }
}

impl<'x> Document<'_, 'x> {
    pub(super) fn characteristics(
        &self,
        out: &mut Out,
        host: &Host,
        tests: &BTreeSet<TestId>,
        numbers: &mut Numbers,
        answers: &mut dyn Answers<'x>,
    ) {
        out.open("oval_system_characteristics", &[("xmlns", Some(SYSTEM))]);
        self.generator(out);
        info(out, host);
        let asked = |t: &TestId| self.content.tests.get(t.index()).and_then(|t| t.object);
        let objects: BTreeSet<ObjectId> = tests.iter().filter_map(asked).collect();
        let mut items: Vec<(u64, &str, Arc<Item<'x>>)> = Vec::new();
        let mut seen: BTreeSet<u64> = BTreeSet::new();
        if !objects.is_empty() {
            out.open("collected_objects", &[]);
        }
        for id in &objects {
            let Some(object) = self.content.objects.get(id.index()) else { continue };
            let collected = answers.object(*id);
            let version = object.version.to_string();
            let flag = collected.as_ref().map_or(Flag::NotCollected, |c| c.flag);
            out.open("object", &[("id", Some(&*object.id)), ("version", Some(&*version)), ("flag", Some(flag.name()))]);
            if let Some(message) = collected.as_ref().and_then(|c| c.message.as_ref()) {
                out.leaf("message", &[("level", Some(if flag == Flag::Error { "error" } else { "info" }))], message);
            }
            for variable in variables_of_object(self.content, *id) {
                self.values(out, "variable_value", variable, answers);
            }
            for item in collected.iter().flat_map(|c| &c.items) {
                let Some(number) = numbers.of(item) else { continue };
                out.empty("reference", &[("item_ref", Some(&number.to_string()))]);
                if seen.insert(number) {
                    items.push((number, &object.kind.family, Arc::clone(item)));
                }
            }
            out.close();
        }
        if !objects.is_empty() {
            out.close();
        }
        if !items.is_empty() {
            out.open("system_data", &[]);
            items.sort_by_key(|(number, ..)| *number);
            for (number, family, item) in &items {
                self::item(out, *number, family, item);
            }
            out.close();
        }
        out.close();
    }
}

fn info(out: &mut Out, host: &Host) {
    out.open("system_info", &[]);
    out.leaf("os_name", &[], &host.os_name);
    out.leaf("os_version", &[], &host.os_version);
    out.leaf("architecture", &[], &host.architecture);
    out.leaf("primary_host_name", &[], &host.name);
    out.open("interfaces", &[]);
    for interface in &host.interfaces {
        out.open("interface", &[]);
        out.leaf("interface_name", &[], &interface.name);
        out.leaf("ip_address", &[], &interface.ip_address);
        out.leaf("mac_address", &[], &interface.mac_address);
        out.close();
    }
    out.close();
    out.close();
}

fn item(out: &mut Out, number: u64, family: &str, item: &Item<'_>) {
    let (namespace, number) = (format!("{SYSTEM}#{family}"), number.to_string());
    let attributes = [("xmlns", Some(&*namespace)), ("id", Some(&*number)), ("status", Some(item.status.name()))];
    out.within(&format!("{}_item", item.kind), &attributes, |out| {
        for entity in &item.entities {
            self::entity(out, &entity.name, entity, None);
        }
    });
}

/// An entity, or a field of a record, which says its name in an attribute.
fn entity(out: &mut Out, element: &str, entity: &ItemEntity<'_>, field: Option<&str>) {
    let attributes = [
        ("xmlns", field.map(|_| SYSTEM)),
        ("name", field),
        ("datatype", (entity.datatype != Datatype::String).then(|| datatype_name(entity.datatype))),
        ("status", (entity.status != Status::Exists).then(|| entity.status.name())),
        ("xsi:nil", entity.nil.then_some("true")),
    ];
    if entity.fields.is_empty() {
        return out.leaf(element, &attributes, &entity.value);
    }
    out.within(element, &attributes, |out| {
        for field in &entity.fields {
            self::entity(out, "field", field, Some(&field.name));
        }
    });
}
