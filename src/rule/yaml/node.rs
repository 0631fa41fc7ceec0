//! YAML as a tree with the place of everything: `text -> Node`. Reading on from a tree, all problems of a file can be told at once.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, Spanned};

/// Nesting of a rule file; a rule needs 6.
const MAX_DEPTH: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) data: Data,
}

/// From 1; columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    /// A fraction, or an int over 64 bits: nothing in a rule is one.
    Number,
    Str(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Data {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Data::Null => "nothing",
            Data::Bool(_) => "a bool",
            Data::Int(_) => "an int",
            Data::Number => "a number",
            Data::Str(_) => "a string",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }
}

/// Reads one document. The error has its place, or none where there is none.
pub(super) fn parse(text: &str) -> Result<Node, (Place, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_anchors: 64 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        // `no` in a string column must be seen as the trap it is, not as the string that this parser could make of it.
        strict_booleans: false,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map(place_of).unwrap_or_default();
        (place, message_of(&error))
    })
}

/// The parser's words, without the place, which is given beside them, and without advice to programmers.
fn message_of(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => format!("field `{key}` is given twice"),
        serde_saphyr::Error::MultipleDocuments { .. } => "a second document begins here (`---`), a file holds one".to_owned(),
        other => {
            let text = other.to_string();
            let text = text.lines().next().unwrap_or_default();
            text.split(" at line ").next().unwrap_or_default().to_owned()
        }
    }
}

fn place_of(location: serde_saphyr::Location) -> Place {
    let small = |n: u64| u32::try_from(n).unwrap_or(0);
    Place { line: small(location.line()), column: small(location.column()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Data>::deserialize(de)?;
        Ok(Node { place: place_of(spanned.defined), data: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Data, D::Error> {
        de.deserialize_any(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_unit<E>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_none<E>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Data, E> {
        Ok(Data::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Data, E> {
        Ok(Data::Int(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Data, E> {
        Ok(i64::try_from(n).map_or(Data::Number, Data::Int))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Data, E> {
        Ok(Data::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Data, E> {
        Ok(Data::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Data, E> {
        Ok(Data::Number)
    }

    fn visit_str<E>(self, s: &str) -> Result<Data, E> {
        Ok(Data::Str(s.to_owned()))
    }

    fn visit_string<E>(self, s: String) -> Result<Data, E> {
        Ok(Data::Str(s))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Data::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push((Key { place: place_of(key.defined), text: key.value }, value));
        }
        Ok(Data::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_types() {
        let text = "a: no\nbü: {c: 'x', d: [1, 0640, 1.5, ~]}\ne: |\n  text\nf: \"no\"\n";
        let node = parse(text).unwrap();
        let Data::Map(entries) = node.data else { panic!("map") };
        let seen: Vec<String> = entries
            .iter()
            .map(|(k, v)| format!("{}@{}:{} {}@{}:{}", k.text, k.place.line, k.place.column, v.data.kind(), v.place.line, v.place.column))
            .collect();
        assert_eq!(seen, ["a@1:1 a bool@1:4", "bü@2:1 a map@2:5", "e@3:1 a string@4:3", "f@5:1 a string@5:4"]);
        let Data::Map(inner) = &entries[1].1.data else { panic!("map") };
        assert_eq!(inner[0].1.place, Place { line: 2, column: 9 });
        let Data::List(items) = &inner[1].1.data else { panic!("list") };
        let kinds: Vec<_> = items.iter().map(|i| i.data.kind()).collect();
        assert_eq!(kinds, ["an int", "a number", "a number", "nothing"]);
    }

    #[test]
    fn problems_have_places() {
        for (text, line, column, message) in [
            ("a: [1", 1, 4, "unclosed bracket '['"),
            ("a: 1\na: 2\n", 2, 1, "field `a` is given twice"),
            ("a: b: c\n", 1, 5, "mapping values are not allowed in this context"),
            ("a: \"nodev\" in x\n", 1, 12, "invalid trailing content after double-quoted scalar"),
            ("a: *b", 1, 4, "alias references unknown anchor"),
            ("a: 1\n---\nb: 2\n", 3, 1, "a second document begins here (`---`), a file holds one"),
        ] {
            let (place, said) = parse(text).unwrap_err();
            assert_eq!((place.line, place.column, said.as_str()), (line, column, message), "{text}");
        }
        assert!(parse(&"[".repeat(10_000)).is_err());
    }
}
