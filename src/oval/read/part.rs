//! Attributes, texts and names of XML elements as values of the model, or why they are not.

use roxmltree::Node as Xml;

use super::super::model::{Check, Datatype, Existence, Kind, ObjectId, Operation, Operator, StateId, VariableId};

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Why an element cannot be used, and where it says so.
pub(super) struct Fail {
    pub(super) at: usize,
    pub(super) why: String,
}

pub(super) fn fail<T>(element: Xml<'_, '_>, why: impl Into<String>) -> Result<T, Fail> {
    Err(Fail { at: element.range().start, why: why.into() })
}

/// Elements with their ids, in the order of these.
pub(super) type Listed<'a, 'i> = Vec<(&'a str, Xml<'a, 'i>)>;

pub(super) fn position(list: &Listed<'_, '_>, id: &str) -> Option<usize> {
    list.binary_search_by(|(known, _)| (*known).cmp(id)).ok()
}

/// What objects, states and variables there are.
pub(super) struct Ids<'a, 'i> {
    pub(super) objects: Listed<'a, 'i>,
    pub(super) states: Listed<'a, 'i>,
    pub(super) variables: Listed<'a, 'i>,
}

/// Resolves references of one piece and keeps them as edges of the graph.
pub(super) struct Needs<'c, 'a, 'i> {
    ids: &'c Ids<'a, 'i>,
    edges: Vec<(usize, usize)>,
    /// How deep in the piece's own nesting the reader is.
    pub(super) nested: usize,
}

impl<'c, 'a, 'i> Needs<'c, 'a, 'i> {
    pub(super) fn of(ids: &'c Ids<'a, 'i>) -> Needs<'c, 'a, 'i> {
        Needs { ids, edges: Vec::new(), nested: 1 }
    }

    pub(super) fn into_edges(self) -> Vec<(usize, usize)> {
        self.edges
    }

    fn found<T>(&mut self, element: Xml<'_, '_>, found: Option<(T, usize)>, what: &str, id: &str) -> Result<T, Fail> {
        let Some((found, at)) = found else { return fail(element, format!("there is no {what} `{id}`")) };
        self.edges.push((at, self.nested));
        Ok(found)
    }

    pub(super) fn object(&mut self, element: Xml<'_, '_>, id: &str) -> Result<ObjectId, Fail> {
        self.found(element, self.ids.object(id), "object", id)
    }

    pub(super) fn state(&mut self, element: Xml<'_, '_>, id: &str) -> Result<StateId, Fail> {
        self.found(element, self.ids.state(id), "state", id)
    }

    pub(super) fn variable(&mut self, element: Xml<'_, '_>, id: &str) -> Result<VariableId, Fail> {
        self.found(element, self.ids.variable(id), "variable", id)
    }
}

pub(super) fn elements<'a, 'i>(parent: Xml<'a, 'i>) -> impl Iterator<Item = Xml<'a, 'i>> + Clone {
    parent.children().filter(Xml::is_element)
}

pub(super) fn child<'a, 'i>(parent: Xml<'a, 'i>, name: &str) -> Option<Xml<'a, 'i>> {
    elements(parent).find(|e| e.tag_name().name() == name)
}

/// An element's text as it is, white space too. Comments may split it.
pub(super) fn text(element: Xml<'_, '_>) -> Box<str> {
    let mut parts = element.children().filter(Xml::is_text).filter_map(|t| t.text());
    let first = parts.next().unwrap_or_default();
    match parts.next() {
        None => first.into(),
        Some(second) => std::iter::once(first).chain(std::iter::once(second)).chain(parts).collect::<String>().into(),
    }
}

pub(super) fn child_text(parent: Xml<'_, '_>, name: &str) -> Box<str> {
    child(parent, name).map(text).unwrap_or_default()
}

pub(super) fn is_nil(element: Xml<'_, '_>) -> bool {
    matches!(element.attribute((XSI, "nil")), Some("true" | "1"))
}

/// The name without its ending, and the last part of the namespace.
pub(super) fn kind(element: Xml<'_, '_>, ending: &str) -> Kind {
    let name = element.tag_name().name();
    let family = element.tag_name().namespace().and_then(|n| n.rsplit('#').next()).unwrap_or_default();
    Kind { family: family.into(), name: name.strip_suffix(ending).unwrap_or(name).into() }
}

pub(super) fn required<'a>(element: Xml<'a, '_>, name: &str) -> Result<&'a str, Fail> {
    match element.attribute(name) {
        Some(value) => Ok(value),
        None => fail(element, format!("<{}> has no `{name}`", element.tag_name().name())),
    }
}

pub(super) fn flag(element: Xml<'_, '_>, name: &str, otherwise: bool) -> Result<bool, Fail> {
    let known = |v: &str| match v {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    };
    choice(element, name, otherwise, known)
}

pub(super) fn number<T: std::str::FromStr>(element: Xml<'_, '_>, name: &str, otherwise: T) -> Result<T, Fail> {
    choice(element, name, otherwise, |v| v.trim().parse().ok())
}

/// An attribute out of a list of values; `otherwise` where it is absent.
pub(super) fn choice<T>(element: Xml<'_, '_>, name: &str, otherwise: T, known: impl Fn(&str) -> Option<T>) -> Result<T, Fail> {
    let Some(value) = element.attribute(name) else { return Ok(otherwise) };
    match known(value) {
        Some(value) => Ok(value),
        None => fail(element, format!("`{value}` is not a value of `{name}`")),
    }
}

pub(super) fn operator(value: &str) -> Option<Operator> {
    Some(match value {
        "AND" => Operator::And,
        "OR" => Operator::Or,
        "ONE" => Operator::One,
        "XOR" => Operator::Xor,
        _ => return None,
    })
}

pub(super) fn check(value: &str) -> Option<Check> {
    Some(match value {
        "all" => Check::All,
        "at least one" => Check::AtLeastOne,
        "none satisfy" | "none exist" => Check::NoneSatisfy,
        "only one" => Check::OnlyOne,
        _ => return None,
    })
}

pub(super) fn existence(value: &str) -> Option<Existence> {
    Some(match value {
        "all_exist" => Existence::All,
        "any_exist" => Existence::Any,
        "at_least_one_exists" => Existence::AtLeastOne,
        "none_exist" => Existence::None,
        "only_one_exists" => Existence::OnlyOne,
        _ => return None,
    })
}

pub(in super::super) fn datatype(value: &str) -> Option<Datatype> {
    Some(match value {
        "binary" => Datatype::Binary,
        "boolean" => Datatype::Boolean,
        "debian_evr_string" => Datatype::DebianEvr,
        "evr_string" => Datatype::Evr,
        "fileset_revision" => Datatype::FilesetRevision,
        "float" => Datatype::Float,
        "int" => Datatype::Int,
        "ios_version" => Datatype::Ios,
        "ipv4_address" => Datatype::Ipv4,
        "ipv6_address" => Datatype::Ipv6,
        "record" => Datatype::Record,
        "string" => Datatype::String,
        "version" => Datatype::Version,
        _ => return None,
    })
}

pub(super) fn operation(value: &str) -> Option<Operation> {
    Some(match value {
        "equals" => Operation::Equals,
        "not equal" => Operation::NotEqual,
        "case insensitive equals" => Operation::CaseInsensitiveEquals,
        "case insensitive not equal" => Operation::CaseInsensitiveNotEqual,
        "greater than" => Operation::GreaterThan,
        "less than" => Operation::LessThan,
        "greater than or equal" => Operation::GreaterThanOrEqual,
        "less than or equal" => Operation::LessThanOrEqual,
        "bitwise and" => Operation::BitwiseAnd,
        "bitwise or" => Operation::BitwiseOr,
        "pattern match" => Operation::PatternMatch,
        "subset of" => Operation::SubsetOf,
        "superset of" => Operation::SupersetOf,
        _ => return None,
    })
}
