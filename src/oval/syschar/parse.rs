//! The one pass over the document.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::facts::{Flag, Item, ItemEntity, Status};
use super::super::model::Datatype;
use super::super::read::datatype;
use super::{Interface, Object, SystemCharacteristics};
use crate::limits::Limits;
use crate::xml::element::Element;
use crate::xml::scan::{ScanError, Scanner, Tag, Token, unescape};

/// Entities, references, messages and values of variables: this many for each row that is allowed.
const PARTS_PER_ROW: usize = 16;

/// An object or an item is about as long, and room is made for so many at once at most.
const OBJECT_BYTES: usize = 256;
const OBJECTS: usize = 1 << 14;

/// System characteristics in one document. A collection has two or three.
const DOCUMENTS: usize = 64;

impl<'x> SystemCharacteristics<'x> {
    /// All there are: one in a document of its own or in OVAL results, several in an ARF (the benchmark's OVAL, the platforms' OVAL).
    pub fn parse(text: &'x str, limits: &Limits) -> Result<Vec<SystemCharacteristics<'x>>, ScanError> {
        let mut parser = Parser {
            scanner: Scanner::new(text, limits),
            rows: limits.rows,
            parts: limits.rows.saturating_mul(PARTS_PER_ROW),
            scratch: Vec::new(),
        };
        let (mut all, mut report) = (Vec::new(), None);
        loop {
            match parser.scanner.next()? {
                Token::Open(tag) if tag.name == "oval_system_characteristics" => {
                    if all.len() == DOCUMENTS {
                        return parser.scanner.refuse(format!("over {DOCUMENTS} <oval_system_characteristics> in one document"));
                    }
                    let from = parser.scanner.tag_position();
                    let namespaces = parser.scanner.namespaces_around(&tag);
                    let mut read = parser.characteristics(&tag)?;
                    read.report = report.clone();
                    read.written = Element { text: parser.scanner.written(from, parser.scanner.position()), namespaces };
                    all.push(read);
                }
                Token::Open(tag) if tag.name == "report" => report = tag.attribute("id"),
                Token::End if all.is_empty() => {
                    return parser.scanner.refuse("there are no <oval_system_characteristics> in this document");
                }
                Token::End => return Ok(all),
                _ => {}
            }
        }
    }
}

struct Parser<'x> {
    scanner: Scanner<'x>,
    /// How many objects and items may still come.
    rows: usize,
    parts: usize,
    scratch: Vec<ItemEntity<'x>>,
}

impl<'x> Parser<'x> {
    fn characteristics(&mut self, tag: &Tag<'x>) -> Result<SystemCharacteristics<'x>, ScanError> {
        let mut read = SystemCharacteristics::default();
        // That none need grow: ids of objects are long to hash again.
        let expected = (self.scanner.left() / OBJECT_BYTES).min(OBJECTS);
        read.by_id.reserve(expected);
        read.objects.reserve(expected);
        self.children(tag, |parser, section| match section.name {
            "system_info" => parser.children(section, |parser, tag| parser.info(tag, &mut read)),
            "collected_objects" => parser.children(section, |parser, tag| match tag.name {
                "object" => parser.object(tag, &mut read),
                _ => parser.scanner.skip(tag),
            }),
            "system_data" => parser.children(section, |parser, tag| parser.item(tag, &mut read)),
            _ => parser.scanner.skip(section),
        })?;
        Ok(read)
    }

    /// Calls for each child element, which the callee must read to its end.
    fn children(&mut self, tag: &Tag<'x>, mut each: impl FnMut(&mut Self, &Tag<'x>) -> Result<(), ScanError>) -> Result<(), ScanError> {
        while let Some(child) = self.scanner.child(tag)? {
            each(self, &child)?;
        }
        Ok(())
    }

    fn info(&mut self, tag: &Tag<'x>, read: &mut SystemCharacteristics<'x>) -> Result<(), ScanError> {
        match tag.name {
            "os_name" => read.os_name = self.scanner.value(tag)?,
            "os_version" => read.os_version = self.scanner.value(tag)?,
            "architecture" => read.architecture = self.scanner.value(tag)?,
            "primary_host_name" => read.primary_host_name = self.scanner.value(tag)?,
            "interfaces" => self.children(tag, |parser, tag| {
                let mut interface = Interface::default();
                parser.part()?;
                parser.children(tag, |parser, tag| {
                    match tag.name {
                        "interface_name" => interface.name = parser.scanner.value(tag)?,
                        "ip_address" => interface.ip_address = parser.scanner.value(tag)?,
                        "mac_address" => interface.mac_address = parser.scanner.value(tag)?,
                        _ => parser.scanner.skip(tag)?,
                    }
                    Ok(())
                })?;
                read.interfaces.push(interface);
                Ok(())
            })?,
            _ => self.scanner.skip(tag)?,
        }
        Ok(())
    }

    fn row(&mut self) -> Result<(), ScanError> {
        match self.rows.checked_sub(1) {
            Some(rows) => self.rows = rows,
            None => return self.scanner.refuse("more objects and items than are taken (limits.rows)"),
        }
        Ok(())
    }

    fn part(&mut self) -> Result<(), ScanError> {
        match self.parts.checked_sub(1) {
            Some(parts) => self.parts = parts,
            None => return self.scanner.refuse(format!("over {PARTS_PER_ROW} times more parts of objects and items than limits.rows")),
        }
        Ok(())
    }

    fn object(&mut self, tag: &Tag<'x>, read: &mut SystemCharacteristics<'x>) -> Result<(), ScanError> {
        self.row()?;
        let (mut id, mut flag, mut version, mut instance) = (None, None, 0, 1);
        for (name, value) in self.scanner.attributes() {
            match name {
                "id" => id = unescape(value).ok(),
                "flag" => flag = Flag::by_name(value),
                "version" => version = value.parse().unwrap_or(0),
                "variable_instance" => instance = value.parse().unwrap_or(1),
                _ => {}
            }
        }
        let Some(id) = id else { return self.scanner.refuse("a collected object without an id") };
        let Some(flag) = flag else { return self.scanner.refuse(format!("the object {id} has no flag, or one that does not exist")) };
        let starts = [here(&read.references), here(&read.messages), here(&read.variable_values)];
        self.children(tag, |parser, tag| {
            parser.part()?;
            match tag.name {
                "reference" => {
                    let number = parser.scanner.attributes().find(|(n, _)| *n == "item_ref").and_then(|(_, v)| v.parse().ok());
                    let Some(number) = number else { return parser.scanner.refuse("a reference without the number of an item") };
                    read.references.push(number);
                    parser.scanner.skip(tag)
                }
                "message" => {
                    read.messages.push(parser.scanner.value(tag)?);
                    Ok(())
                }
                "variable_value" => {
                    let variable = tag.attribute("variable_id").unwrap_or_default();
                    read.variable_values.push((variable, parser.scanner.value(tag)?));
                    Ok(())
                }
                _ => parser.scanner.skip(tag),
            }
        })?;
        let [references, messages, variable_values] = starts;
        let (references, messages) = (references..here(&read.references), messages..here(&read.messages));
        let variable_values = variable_values..here(&read.variable_values);
        let at = here(&read.objects);
        // The newest stands first; order among instances does not matter.
        let next = read.by_id.insert(id.clone(), at);
        read.objects.push(Object { id, version, variable_instance: instance, flag, references, messages, variable_values, next });
        Ok(())
    }

    fn item(&mut self, tag: &Tag<'x>, read: &mut SystemCharacteristics<'x>) -> Result<(), ScanError> {
        self.row()?;
        let (mut number, mut status) = (None, Some(Status::Exists));
        for (name, value) in self.scanner.attributes() {
            match name {
                "id" => number = value.parse::<u64>().ok(),
                "status" => status = Status::by_name(value),
                _ => {}
            }
        }
        let Some(number) = number else { return self.scanner.refuse(format!("<{}> has no number as its id", tag.name)) };
        let Some(status) = status else { return self.scanner.refuse("a status that does not exist") };
        let mut entities = std::mem::take(&mut self.scratch);
        self.children(tag, |parser, tag| {
            let entity = parser.entity(tag, true)?;
            entities.push(entity);
            Ok(())
        })?;
        let kind = Cow::Borrowed(tag.name.strip_suffix("_item").unwrap_or(tag.name));
        let at = here(&read.items);
        // Of just the size that is needed, which the growing one is not.
        let mut exact = Vec::with_capacity(entities.len());
        exact.append(&mut entities);
        self.scratch = entities;
        read.items.push((number, Arc::new(Item { kind, status, entities: exact })));
        if read.by_number.insert(number, at).is_some() {
            return self.scanner.refuse(format!("a second item with the number {number}"));
        }
        Ok(())
    }

    fn entity(&mut self, tag: &Tag<'x>, record: bool) -> Result<ItemEntity<'x>, ScanError> {
        self.part()?;
        let mut entity = ItemEntity {
            name: Cow::Borrowed(tag.name),
            datatype: Datatype::String,
            status: Status::Exists,
            nil: false,
            value: Cow::Borrowed(""),
            fields: Vec::new(),
        };
        for (name, value) in self.scanner.attributes() {
            match name {
                "datatype" => match datatype(value) {
                    Some(datatype) => entity.datatype = datatype,
                    None => return self.scanner.refuse(format!("`{value}` is not a datatype")),
                },
                "status" => match Status::by_name(value) {
                    Some(status) => entity.status = status,
                    None => return self.scanner.refuse(format!("`{value}` is not a status")),
                },
                "nil" => entity.nil = matches!(value, "true" | "1"),
                "name" if !record => entity.name = tag.attribute("name").unwrap_or_default(),
                _ => {}
            }
        }
        if tag.empty {
            return Ok(entity);
        }
        if let Some(value) = self.scanner.leaf()? {
            entity.value = value;
            return Ok(entity);
        }
        loop {
            match self.scanner.next()? {
                Token::Open(field) if record => {
                    let field = self.entity(&field, false)?;
                    entity.fields.push(field);
                }
                Token::Open(other) => self.scanner.skip(&other)?,
                Token::Text(text) => self.scanner.append(&mut entity.value, text)?,
                Token::Close => break,
                Token::End => {}
            }
        }
        if !entity.fields.is_empty() {
            // White space between fields.
            entity.value = Cow::Borrowed("");
        }
        Ok(entity)
    }
}

/// Where the next one will stand. Lists are bounded far below what a u32 counts.
fn here<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}
