//! The values of variables: constants, bound externals, and the functions of local variables over objects and other variables.

mod date;
mod function;
mod glob;

use std::sync::Arc;

use super::facts::{Collected, Flag, Item, ItemEntity, Status, Values};
use super::model::{Component, Datatype, ObjectId, OvalResult, Restriction, Source, Variable, VariableId};
use super::pattern::Pattern;
use super::truth::{self, Compat, Counts};
use super::value::{self, Stated};

/// A variable's values with what only the evaluator needs to know of them.
#[derive(Clone, Debug)]
pub struct Computed {
    pub values: Values,
    /// Of each value; they differ from the variable's own where it is a component's.
    pub datatypes: Box<[Datatype]>,
    /// Why there are no values.
    pub why: Option<Box<str>>,
}

/// What a component came to.
#[derive(Clone, Debug, PartialEq)]
struct Bag {
    flag: Flag,
    values: Vec<Value>,
    why: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Value {
    datatype: Datatype,
    text: Box<str>,
}

impl Bag {
    fn of(datatype: Datatype, texts: impl IntoIterator<Item = String>) -> Bag {
        let values = texts.into_iter().map(|text| Value { datatype, text: text.into() }).collect();
        Bag { flag: Flag::Complete, values, why: None }
    }

    fn error(why: impl Into<Box<str>>) -> Bag {
        Bag { flag: Flag::Error, values: Vec::new(), why: Some(why.into()) }
    }

    fn has_values(&self) -> bool {
        matches!(self.flag, Flag::Complete | Flag::Incomplete)
    }
}

/// What bounds and colours the computation of variables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) compat: Compat,
    pub(super) now_s: i64,
    pub(super) values: usize,
    pub(super) bytes: usize,
}

/// What components refer to.
pub(super) trait Env<'x> {
    fn settings(&self) -> Settings;
    fn variable(&mut self, variable: VariableId) -> Arc<Computed>;
    fn object(&mut self, object: ObjectId) -> Option<Arc<Collected<'x>>>;
    fn pattern(&mut self, pattern: &str) -> Result<Arc<Pattern>, String>;
}

/// Computes a variable. `bound` are the values given to an external one.
pub(super) fn compute<'x>(variable: &Variable, bound: Option<&[String]>, env: &mut dyn Env<'x>) -> Computed {
    let settings = env.settings();
    let bag = match &variable.source {
        Source::Constant(values) => Bag::of(variable.datatype, values.iter().map(ToString::to_string)),
        Source::External { possible_values, restrictions } => match bound {
            Some(bound) => external(variable, possible_values, restrictions, bound, env),
            None => unbound(variable, settings.compat),
        },
        Source::Local(component) => function::component(component, env),
    };
    finish(variable, bag, settings)
}

/// A variable whose computation is refused.
pub(super) fn refused(variable: &Variable, why: &str, settings: Settings) -> Computed {
    finish(variable, Bag::error(why), settings)
}

fn finish(variable: &Variable, mut bag: Bag, settings: Settings) -> Computed {
    if bag.has_values() && bag.values.is_empty() {
        bag = Bag::error(format!("variable {} has no values", variable.id));
    }
    // OpenSCAP: values are what they are, whatever the variable's datatype says.
    if settings.compat == Compat::Specification && bag.has_values() {
        let odd = bag.values.iter().find(|v| v.datatype != variable.datatype && !value::fits(variable.datatype, &v.text));
        let odd = odd.or_else(|| bag.values.iter().find(|v| v.datatype == variable.datatype && !value::fits(v.datatype, &v.text)));
        if let Some(odd) = odd {
            let short: String = odd.text.chars().take(60).collect();
            let name = value::datatype_name(variable.datatype);
            bag = Bag::error(format!("variable {}: {short:?} is no {name}", variable.id));
        }
    }
    if let Some(why) = over(&bag.values, settings) {
        bag = Bag::error(format!("variable {} has {why}", variable.id));
    }
    if !bag.has_values() {
        bag.values.clear();
    }
    let datatypes = bag.values.iter().map(|v| v.datatype).collect();
    let values: Arc<[Box<str>]> = bag.values.into_iter().map(|v| v.text).collect();
    Computed { values: Values { flag: bag.flag, datatype: variable.datatype, values }, datatypes, why: bag.why }
}

fn over(values: &[Value], settings: Settings) -> Option<String> {
    if values.len() > settings.values {
        return Some(format!("more than {} values (limits.variable_values)", settings.values));
    }
    let bytes: usize = values.iter().map(|v| v.text.len()).sum();
    (bytes > settings.bytes).then(|| format!("values of more than {} bytes together (limits.variable_bytes)", settings.bytes))
}

fn unbound(variable: &Variable, compat: Compat) -> Bag {
    let flag = match compat {
        Compat::Specification => Flag::Error,
        // OpenSCAP: an external variable that nobody bound was not collected.
        Compat::OpenScap => Flag::NotCollected,
    };
    Bag { flag, ..Bag::error(format!("external variable {} was given no value", variable.id)) }
}

fn external<'x>(variable: &Variable, possible: &[Box<str>], restrictions: &[Restriction], bound: &[String], env: &mut dyn Env<'x>) -> Bag {
    let free = possible.is_empty() && restrictions.is_empty();
    for value in bound {
        let listed = || possible.iter().any(|p| **p == **value);
        if free || listed() || restrictions.iter().any(|r| satisfies(variable.datatype, r, value, env)) {
            continue;
        }
        let short: String = value.chars().take(60).collect();
        let why = format!("external variable {} was given {short:?}, which its definition does not allow", variable.id);
        let flag = match env.settings().compat {
            Compat::Specification => Flag::Error,
            // OpenSCAP: a value that is not allowed makes the variable one that does not exist.
            Compat::OpenScap => Flag::DoesNotExist,
        };
        return Bag { flag, ..Bag::error(why) };
    }
    Bag::of(variable.datatype, bound.iter().cloned())
}

fn satisfies<'x>(datatype: Datatype, restriction: &Restriction, value: &str, env: &mut dyn Env<'x>) -> bool {
    let compat = env.settings().compat;
    let mut counts = Counts::default();
    for (operation, stated) in &restriction.conditions {
        let stated = Stated::new(datatype, *operation, stated, compat, &mut |p| env.pattern(p));
        counts.add(stated.compare(value, compat));
    }
    truth::operator(&counts, restriction.operator) == OvalResult::True
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dependency<'c> {
    Object(ObjectId),
    Variable(VariableId),
    Pattern(&'c str),
    Now,
}

/// What a component depends on; without an object, a variable and the present, it is the same everywhere and always.
pub(super) fn depends_on<'c>(component: &'c Component, on: &mut dyn FnMut(Dependency<'c>)) {
    match component {
        Component::Object { object, .. } => on(Dependency::Object(*object)),
        Component::Variable(variable) => on(Dependency::Variable(*variable)),
        Component::RegexCapture { pattern, .. } => on(Dependency::Pattern(pattern)),
        Component::TimeDifference { of, .. } if of.len() < 2 => on(Dependency::Now),
        _ => {}
    }
    parts(component).iter().for_each(|part| depends_on(part, on));
}

/// How deep a component is nested.
pub(super) fn depth(component: &Component) -> usize {
    1 + parts(component).iter().map(depth).max().unwrap_or(0)
}

fn parts(component: &Component) -> &[Component] {
    match component {
        Component::Literal { .. } | Component::Object { .. } | Component::Variable(_) => &[],
        Component::Arithmetic { of, .. }
        | Component::Concat(of)
        | Component::Count(of)
        | Component::Merge(of)
        | Component::TimeDifference { of, .. }
        | Component::Unique(of) => of,
        Component::Begin { of, .. }
        | Component::End { of, .. }
        | Component::EscapeRegex(of)
        | Component::GlobToRegex { of, .. }
        | Component::RegexCapture { of, .. }
        | Component::Split { of, .. }
        | Component::Substring { of, .. } => std::slice::from_ref(of),
    }
}

/// The values that a field has in the items of an object.
fn object_values(collected: Option<&Collected<'_>>, field: &str, record_field: Option<&str>, compat: Compat) -> Bag {
    let Some(collected) = collected else {
        return Bag::error("nothing is known of the object that its values come from");
    };
    let mut values = Vec::new();
    for item in &collected.items {
        if let Err(why) = item_values(item, field, record_field, compat, &mut values) {
            return Bag::error(why);
        }
    }
    let why = match collected.flag {
        Flag::Complete | Flag::Incomplete => None,
        _ => Some(collected.message.clone().unwrap_or_else(|| "the object that its values come from has no items".into())),
    };
    Bag { flag: collected.flag, values, why }
}

fn item_values(item: &Item<'_>, field: &str, record_field: Option<&str>, compat: Compat, values: &mut Vec<Value>) -> Result<(), String> {
    let mut found = false;
    for entity in item.entities.iter().filter(|e| e.name == field) {
        found = true;
        match (entity.datatype, record_field) {
            (Datatype::Record, Some(name)) => {
                let before = values.len();
                entity.fields.iter().filter(|f| f.name == name).for_each(|f| push(f, compat, values));
                if values.len() == before {
                    return Err(format!("an item of type {} has no field {name} in {field}", item.kind));
                }
            }
            (Datatype::Record, None) => return Err(format!("entity {field} of type {} is a record: name a field of it", item.kind)),
            (_, Some(_)) => return Err(format!("entity {field} of type {} is no record", item.kind)),
            (_, None) => push(entity, compat, values),
        }
    }
    if found { Ok(()) } else { Err(format!("an item of type {} has no entity {field}", item.kind)) }
}

fn push(entity: &ItemEntity<'_>, compat: Compat, values: &mut Vec<Value>) {
    // OpenSCAP: takes the text of an entity whatever its status.
    if compat == Compat::OpenScap || entity.status == Status::Exists && !entity.nil {
        values.push(Value { datatype: entity.datatype, text: entity.value.as_ref().into() });
    }
}
