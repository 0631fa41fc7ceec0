//! Reading TOML with the place of everything: a table whose fields are taken one by one, every problem collected on the way.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::rule::check::suggest::hint;

/// One problem of the configuration. Lines and columns count from 1, columns in characters; 0 where there is no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Where problems go. Spans are bytes of the text.
pub(super) struct Problems<'t> {
    pub text: &'t str,
    pub found: Vec<(usize, String)>,
}

impl Problems<'_> {
    pub(super) fn add(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.found.push((span.start, message.into()));
    }

    /// In the order of the file.
    pub(super) fn placed(mut self, file: &str) -> Vec<ConfigProblem> {
        self.found.sort();
        let text = self.text;
        let place = |at: usize| {
            let before = text.get(..at.min(text.len())).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
        };
        let problem = |(at, message)| {
            let (line, column) = place(at);
            ConfigProblem { file: file.to_owned(), line, column, message }
        };
        self.found.into_iter().map(problem).collect()
    }
}

pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// A table that is being read. What is left when it is done with is unknown.
pub(super) struct Fields<'t> {
    fields: DeTable<'t>,
    /// Of the whole table, for fields that are missing.
    pub span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    pub(super) fn new(table: DeTable<'t>, span: Range<usize>) -> Fields<'t> {
        Fields { fields: table, span, known: Vec::new() }
    }

    pub(super) fn value(&mut self, name: &'static str) -> Option<Value<'t>> {
        self.known.push(name);
        self.fields.remove(name)
    }

    /// A field of a type; one of another type is a problem and as if absent.
    fn typed<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        problems: &mut Problems<'_>,
        read: impl FnOnce(DeValue<'t>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let value = self.value(name)?;
        let span = value.span();
        let found = value.get_ref().type_str();
        let read = read(value.into_inner());
        if read.is_none() {
            problems.add(&span, format!("`{name}` must be {wanted}, this is of type {found}"));
        }
        read.map(|v| Spanned::new(span, v))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub(super) fn flag(&mut self, name: &'static str, problems: &mut Problems<'_>) -> Option<bool> {
        let read = self.typed(name, "true or false", problems, |v| match v {
            DeValue::Boolean(b) => Some(b),
            _ => None,
        })?;
        Some(read.into_inner())
    }

    pub(super) fn text(&mut self, name: &'static str, problems: &mut Problems<'_>) -> Option<Spanned<String>> {
        let read = self.typed(name, "a string", problems, |v| match v {
            DeValue::String(s) => Some(s.into_owned()),
            _ => None,
        })?;
        if read.get_ref().is_empty() {
            problems.add(&read.span(), format!("`{name}` is empty"));
            return None;
        }
        Some(read)
    }

    pub(super) fn needed_text(&mut self, name: &'static str, problems: &mut Problems<'_>) -> Option<Spanned<String>> {
        let there = self.fields.contains_key(name);
        let text = self.text(name, problems);
        if !there {
            problems.add(&self.span.clone(), format!("`{name}` is missing"));
        }
        text
    }

    pub(super) fn number(&mut self, name: &'static str, problems: &mut Problems<'_>) -> Option<u64> {
        let read = self.typed(name, "a whole number that is not negative", problems, |v| match v {
            DeValue::Integer(n) => u64::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        })?;
        Some(read.into_inner())
    }

    /// A duration such as `10m`, in milliseconds.
    pub(super) fn duration(&mut self, name: &'static str, problems: &mut Problems<'_>) -> Option<Spanned<i64>> {
        let text = self.text(name, problems)?;
        match super::duration(text.get_ref()) {
            Ok(ms) => Some(Spanned::new(text.span(), ms)),
            Err(why) => {
                problems.add(&text.span(), format!("`{name}`: {why}"));
                None
            }
        }
    }

    /// A list of strings; `one` takes a single string for a list of one.
    pub(super) fn texts(&mut self, name: &'static str, one: bool, problems: &mut Problems<'_>) -> Option<Vec<Spanned<String>>> {
        let value = self.value(name)?;
        let span = value.span();
        let items = match value.into_inner() {
            DeValue::Array(items) => items.into_iter().collect(),
            single @ DeValue::String(_) if one => vec![Spanned::new(span, single)],
            other => {
                problems.add(&span, format!("`{name}` must be a list of strings, this is of type {}", other.type_str()));
                return None;
            }
        };
        let mut out = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::String(s) if !s.is_empty() => out.push(Spanned::new(span, s.into_owned())),
                DeValue::String(_) => problems.add(&span, format!("`{name}` holds an empty string")),
                other => problems.add(&span, format!("`{name}` must be a list of strings, this one is of type {}", other.type_str())),
            }
        }
        Some(out)
    }

    /// A table with names of the user's own and strings.
    pub(super) fn map(&mut self, name: &'static str, problems: &mut Problems<'_>) -> Option<Vec<(String, String)>> {
        let table = self.typed(name, "a table of strings", problems, |v| match v {
            DeValue::Table(t) => Some(t),
            _ => None,
        })?;
        let mut out = Vec::new();
        for (key, value) in table.into_inner() {
            match value.get_ref() {
                DeValue::String(s) => out.push((key.into_inner().into_owned(), s.clone().into_owned())),
                other => problems.add(&value.span(), format!("`{name}` must hold strings, this is of type {}", other.type_str())),
            }
        }
        Some(out)
    }

    /// A table of its own; an absent one has no fields.
    pub(super) fn table(&mut self, name: &'static str, problems: &mut Problems<'_>) -> Fields<'t> {
        let span = self.span.clone();
        let table = self.typed(name, "a table", problems, |v| match v {
            DeValue::Table(t) => Some(t),
            _ => None,
        });
        table.map_or_else(|| Fields::new(DeTable::new(), span), Fields::new_spanned)
    }

    fn new_spanned(table: Spanned<DeTable<'t>>) -> Fields<'t> {
        let span = table.span();
        Fields::new(table.into_inner(), span)
    }

    /// A list of tables, written `[[name]]`; `short` reads an item that is no table.
    pub(super) fn tables(&mut self, name: &'static str, problems: &mut Problems<'_>) -> Vec<Fields<'t>> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            problems.add(&span, format!("`{name}` must be a list of tables, each written under `[[{name}]]`"));
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(t) => out.push(Fields::new(t, span)),
                other => problems.add(&span, format!("`{name}` must be a list of tables, this is of type {}", other.type_str())),
            }
        }
        out
    }

    /// Nothing else was to be read: what is left is unknown.
    pub(super) fn done(self, problems: &mut Problems<'_>) {
        for key in self.fields.keys() {
            let name: &str = key.get_ref();
            problems.add(&key.span(), format!("unknown option `{name}`{}", hint(name, self.known.iter().copied())));
        }
    }
}
