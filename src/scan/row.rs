//! One row: typed values in the table's column order, and its canonical bytes.
//!
//! The canonical form is JSON with the columns in the table's order, absent ones left out, no blanks, keys of
//! case-folding tables in lower case. Two rows are the same fact exactly when their canonical bytes are equal, and a
//! collector that writes the canonical form has its rows recognised by their raw bytes.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::table::{ERROR_COLUMN, Table, TableId, Type};
use crate::limits::Limits;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Null,
    Str(Box<str>),
    /// Also file modes.
    Int(i64),
    Bool(bool),
}

impl Value {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    pub table: TableId,
    /// As many as the table has columns.
    pub values: Box<[Value]>,
    /// Why the absent columns could not be read.
    pub error: Option<Box<str>>,
}

impl Row {
    pub fn new(table: TableId) -> Row {
        Row { table, values: vec![Value::Null; table.table().columns.len()].into(), error: None }
    }

    /// Sets a column by name. For collectors: panics on a column that the table does not have, as any test of the collector shows.
    #[must_use]
    pub fn with(mut self, column: &str, value: impl Into<Value>) -> Row {
        let table = self.table.table();
        let at = table.column(column);
        let Some(at) = at else { panic!("table `{}` has no column `{column}`", table.name) };
        self.values[at] = fold(table, at, value.into());
        self
    }

    #[must_use]
    pub fn with_error(mut self, why: impl Into<Box<str>>) -> Row {
        self.error = Some(why.into());
        self
    }

    pub fn get(&self, column: &str) -> &Value {
        self.table.table().column(column).map_or(&Value::Null, |c| &self.values[c])
    }

    /// The values of the key columns.
    pub fn key(&self) -> &[Value] {
        &self.values[..self.table.table().key]
    }

    /// Appends the canonical form.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        let table = self.table.table();
        out.push(b'{');
        let start = out.len();
        for (column, value) in table.columns.iter().zip(&self.values) {
            if *value == Value::Null {
                continue;
            }
            write_name(out, start, column.name);
            match value {
                Value::Null => {}
                Value::Str(s) => write_json(out, &**s),
                Value::Int(mode) if column.ty == Type::Mode => out.extend_from_slice(format!("\"{mode:04o}\"").as_bytes()),
                Value::Int(n) => write_json(out, n),
                Value::Bool(b) => write_json(out, b),
            }
        }
        if let Some(error) = &self.error {
            write_name(out, start, ERROR_COLUMN);
            write_json(out, &**error);
        }
        out.push(b'}');
    }

    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.write_canonical(&mut out);
        out
    }

    /// Reads one JSON object as a row of the table. Duplicate, unknown and wrongly typed columns are errors; `null` is absence.
    pub fn parse(table: TableId, json: &str, limits: &Limits) -> Result<Row, serde_json::Error> {
        let mut de = serde_json::Deserializer::from_str(json);
        let row = RowSeed { table, limits }.deserialize(&mut de)?;
        de.end()?;
        Ok(row)
    }
}

fn write_name(out: &mut Vec<u8>, start: usize, name: &str) {
    if out.len() > start {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Strings, integers and booleans always serialise, and a Vec always takes the bytes.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.extend_from_slice(b"null");
    }
}

fn fold(table: &Table, column: usize, value: Value) -> Value {
    match value {
        Value::Str(s) if table.fold_case && column < table.key => Value::Str(s.to_lowercase().into()),
        other => other,
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.table.name(), String::from_utf8_lossy(&self.canonical()))
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Value {
        Value::Str(s.into())
    }
}
impl From<String> for Value {
    fn from(s: String) -> Value {
        Value::Str(s.into())
    }
}
impl From<i64> for Value {
    fn from(n: i64) -> Value {
        Value::Int(n)
    }
}
impl From<u32> for Value {
    fn from(n: u32) -> Value {
        Value::Int(n.into())
    }
}
impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Value {
        v.map_or(Value::Null, Into::into)
    }
}

/// Deserialises one row of a known table.
pub struct RowSeed<'l> {
    pub table: TableId,
    pub limits: &'l Limits,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Row;
    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<Row, D::Error> {
        de.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row of table `{}` (a JSON object)", self.table.name())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let table = self.table.table();
        let mut row = Row::new(self.table);
        let mut seen = 0u32;
        while let Some(at) = map.next_key_seed(ColumnSeed { table })? {
            let name = table.columns.get(at).map_or(ERROR_COLUMN, |c| c.name);
            let bit = 1u32 << at;
            if seen & bit != 0 {
                return Err(A::Error::custom(format_args!("column `{name}` is given twice")));
            }
            seen |= bit;
            let ty = table.columns.get(at).map_or(Type::Str, |c| c.ty);
            let value = map.next_value_seed(CellSeed { name, ty, max: self.limits.value_bytes })?;
            match (row.values.get_mut(at), value) {
                (Some(cell), value) => *cell = fold(table, at, value),
                (None, Value::Str(why)) => row.error = Some(why),
                (None, _) => row.error = None,
            }
        }
        if let Some(column) = table.key_columns().iter().zip(row.key()).find(|(_, v)| **v == Value::Null).map(|(c, _)| c) {
            return Err(A::Error::custom(format_args!("a row of table `{}` needs its key column `{}`", table.name, column.name)));
        }
        if seen == 0 {
            return Err(A::Error::custom(format_args!("a row of table `{}` has no column at all", table.name)));
        }
        Ok(row)
    }
}

fn unknown_column<E: serde::de::Error>(table: &Table, name: &str) -> E {
    let known: Vec<_> = table.columns.iter().map(|c| c.name).collect();
    E::custom(format_args!("table `{}` has no column `{name}`; it has {}", table.name, known.join(", ")))
}

/// Where the error column's bit is; tables have fewer columns.
const ERROR_AT: usize = 31;

/// A column's name, as its place.
struct ColumnSeed {
    table: &'static Table,
}

impl<'de> DeserializeSeed<'de> for ColumnSeed {
    type Value = usize;
    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<usize, D::Error> {
        de.deserialize_str(self)
    }
}

impl Visitor<'_> for ColumnSeed {
    type Value = usize;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a column")
    }
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        if name == ERROR_COLUMN {
            return Ok(ERROR_AT);
        }
        let shown: String = name.chars().take(64).collect();
        self.table.column(name).ok_or_else(|| unknown_column(self.table, &shown))
    }
}

struct CellSeed<'n> {
    name: &'n str,
    ty: Type,
    max: usize,
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<Value, D::Error> {
        de.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ty {
            Type::Mode => write!(f, "octal text such as \"0640\" for column `{}`", self.name),
            ty => write!(f, "a {} for column `{}`", ty.name(), self.name),
        }
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, b: bool) -> Result<Value, E> {
        match self.ty {
            Type::Bool => Ok(Value::Bool(b)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(b), &self)),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Value, E> {
        match self.ty {
            Type::Int => Ok(Value::Int(n)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Signed(n), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Value, E> {
        match (self.ty, i64::try_from(n)) {
            (Type::Int, Ok(n)) => Ok(Value::Int(n)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Unsigned(n), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Value, E> {
        if s.len() > self.max {
            return Err(E::custom(format_args!("column `{}` holds {} bytes, over the limit of {}", self.name, s.len(), self.max)));
        }
        match self.ty {
            Type::Str => Ok(Value::Str(s.into())),
            Type::Mode => parse_mode(s).map(Value::Int).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(s), &self)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Str(s), &self)),
        }
    }
}

/// Octal text of at most 07777, as `chmod` takes it.
pub fn parse_mode(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return None;
    }
    i64::from_str_radix(text, 8).ok().filter(|m| *m <= 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(table: &str, json: &str) -> Result<String, String> {
        let id = TableId::by_name(table).expect("table");
        let row = Row::parse(id, json, &Limits::default()).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(row.canonical()).expect("utf-8"))
    }

    #[test]
    fn canonical_form_is_ordered_folded_and_stable() {
        let got = parse("file", r#" { "mode":"0640", "owner":"root", "path":"/etc/shadow","size":null } "#).expect("row");
        assert_eq!(got, r#"{"path":"/etc/shadow","mode":"0640","owner":"root"}"#);
        assert_eq!(parse("file", &got).as_deref(), Ok(got.as_str()));
        assert_eq!(
            parse("registry", r#"{"path":"HKLM\\Software\\X","name":"Foo","value":"Bar"}"#).as_deref(),
            Ok(r#"{"path":"hklm\\software\\x","name":"foo","value":"Bar"}"#)
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (table, json, says) in [
            ("sysctl", r#"{"key":"a","value":1}"#, "a string for column `value`"),
            ("sysctl", r#"{"value":"1"}"#, "needs its key column `key`"),
            ("sysctl", r#"{"key":"a","key":"b"}"#, "given twice"),
            ("sysctl", r#"{"key":"a","valeu":"1"}"#, "no column `valeu`; it has key, value"),
            ("sysctl", "{}", "needs its key column"),
            ("file", r#"{"path":"/x","mode":"9999"}"#, "octal text"),
            ("listening", r#"{"port":"22"}"#, "a int for column `port`"),
            ("sysctl", r#"{"key":"a"} x"#, "trailing characters"),
        ] {
            let error = parse(table, json).expect_err(json);
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
