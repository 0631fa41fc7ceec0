//! The functions of local variables.

use super::super::facts::Flag;
use super::super::model::{Arithmetic, Component, Datatype, TimeFormat};
use super::super::truth::{Compat, function_flag};
use super::super::value;
use super::{Bag, Env, Settings, Value, date, glob, object_values, over};

pub(super) fn component<'x>(component: &Component, env: &mut dyn Env<'x>) -> Bag {
    match component {
        Component::Literal { datatype, value } => literal(*datatype, value, env.settings().compat),
        Component::Object { object, field, record_field } => {
            object_values(env.object(*object).as_deref(), field, record_field.as_deref(), env.settings().compat)
        }
        Component::Variable(variable) => {
            let computed = env.variable(*variable);
            let values = computed.values.values.iter().zip(&computed.datatypes);
            let values = values.map(|(text, datatype)| Value { datatype: *datatype, text: text.clone() }).collect();
            Bag { flag: computed.values.flag, values, why: computed.why.clone() }
        }
        Component::Begin { character, of } => {
            map(of, env, |text| Ok(vec![if text.starts_with(&**character) { text.to_string() } else { format!("{character}{text}") }]))
        }
        Component::End { character, of } => {
            map(of, env, |text| Ok(vec![if text.ends_with(&**character) { text.to_string() } else { format!("{text}{character}") }]))
        }
        Component::EscapeRegex(of) => map(of, env, |text| Ok(vec![escape(text)])),
        Component::GlobToRegex { noescape, of } => map(of, env, |text| {
            glob::to_regex(text, *noescape).map(|regex| vec![regex]).ok_or_else(|| format!("glob {text:?} has a [ that no ] closes"))
        }),
        Component::Split { delimiter, of } => map(of, env, |text| Ok(split(text, delimiter))),
        Component::Substring { start, length, of } => map(of, env, |text| substring(text, *start, *length).map(|s| vec![s])),
        Component::RegexCapture { pattern, of } => match env.pattern(pattern) {
            Err(why) => Bag::error(why),
            Ok(pattern) => map(of, env, |text| {
                let groups = pattern.captures(text, 0).map_err(|why| why.to_string())?;
                let first = groups.and_then(|g| g.get(1).cloned().flatten()).and_then(|range| text.get(range));
                Ok(vec![first.unwrap_or_default().to_string()])
            }),
        },
        Component::Concat(of) => concat(of, env),
        Component::Merge(of) => gather(of, env, |values| values),
        Component::Unique(of) => gather(of, env, unique),
        Component::Count(of) => gather(of, env, |values| vec![Value { datatype: Datatype::Int, text: values.len().to_string().into() }]),
        Component::Arithmetic { operation, of } => arithmetic(*operation, of, env),
        Component::TimeDifference { first, second, of } => time_difference(*first, *second, of, env),
    }
}

fn literal(datatype: Datatype, text: &str, compat: Compat) -> Bag {
    if compat == Compat::Specification && !value::fits(datatype, text) {
        let short: String = text.chars().take(60).collect();
        return Bag::error(format!("literal {short:?} is no {}", value::datatype_name(datatype)));
    }
    Bag::of(datatype, [text.to_string()])
}

/// A function of one component, value by value. What comes out is text.
fn map<'x>(of: &Component, env: &mut dyn Env<'x>, each: impl Fn(&str) -> Result<Vec<String>, String>) -> Bag {
    let settings = env.settings();
    let bag = component(of, env);
    if !bag.has_values() {
        return bag;
    }
    let mut out: Vec<Value> = Vec::with_capacity(bag.values.len());
    let mut room = Room::new(settings);
    for value in &bag.values {
        let texts = match each(&value.text) {
            Ok(texts) => texts,
            Err(why) => return Bag::error(why),
        };
        for text in texts {
            if let Err(why) = room.take(text.len()) {
                return Bag::error(why);
            }
            out.push(Value { datatype: Datatype::String, text: text.into() });
        }
    }
    Bag { values: out, ..bag }
}

/// The room that values may still take.
struct Room {
    settings: Settings,
    values: usize,
    bytes: usize,
}

impl Room {
    fn new(settings: Settings) -> Room {
        Room { settings, values: settings.values, bytes: settings.bytes }
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        match (self.values.checked_sub(1), self.bytes.checked_sub(bytes)) {
            (Some(values), Some(bytes)) => {
                (self.values, self.bytes) = (values, bytes);
                Ok(())
            }
            (None, _) => Err(format!("a function has more than {} values (limits.variable_values)", self.settings.values)),
            (_, None) => Err(format!("the values of a function have more than {} bytes (limits.variable_bytes)", self.settings.bytes)),
        }
    }
}

/// All components, and the flag and reason of them together.
fn all<'x>(of: &[Component], env: &mut dyn Env<'x>) -> (Vec<Vec<Value>>, Flag, Option<Box<str>>) {
    let (mut flag, mut why) = (Flag::Complete, None);
    let mut lists = Vec::with_capacity(of.len());
    for part in of {
        let bag = component(part, env);
        let combined = function_flag(flag, bag.flag);
        if combined != flag || why.is_none() {
            why = bag.why;
        }
        flag = combined;
        lists.push(bag.values);
    }
    (lists, flag, why)
}

fn gather<'x>(of: &[Component], env: &mut dyn Env<'x>, make: impl Fn(Vec<Value>) -> Vec<Value>) -> Bag {
    let (lists, flag, why) = all(of, env);
    let bag = Bag { flag, values: Vec::new(), why };
    if !bag.has_values() {
        return bag;
    }
    let values: Vec<Value> = lists.into_iter().flatten().collect();
    match over(&values, env.settings()) {
        Some(why) => Bag::error(format!("a function has {why}")),
        None => Bag { values: make(values), ..bag },
    }
}

fn unique(values: Vec<Value>) -> Vec<Value> {
    let mut seen = std::collections::BTreeSet::new();
    let mut out: Vec<Value> = Vec::new();
    for value in values {
        if seen.insert(value.text.clone()) {
            out.push(Value { datatype: Datatype::String, text: value.text });
        }
    }
    out
}

/// Calls `each` with every combination of one value of each list, the first list's turning slowest.
fn combinations(lists: &[Vec<Value>], mut each: impl FnMut(&[&Value]) -> Result<(), String>) -> Result<(), String> {
    if lists.iter().any(Vec::is_empty) {
        return Ok(());
    }
    let mut places = vec![0usize; lists.len()];
    loop {
        let chosen: Vec<&Value> = lists.iter().zip(&places).filter_map(|(list, place)| list.get(*place)).collect();
        each(&chosen)?;
        let turned = places.iter_mut().zip(lists).rev().find_map(|(place, list)| {
            *place += 1;
            if *place < list.len() {
                return Some(());
            }
            *place = 0;
            None
        });
        if turned.is_none() {
            return Ok(());
        }
    }
}

fn concat<'x>(of: &[Component], env: &mut dyn Env<'x>) -> Bag {
    let (mut lists, flag, why) = all(of, env);
    let mut bag = Bag { flag, values: Vec::new(), why };
    if !bag.has_values() {
        return bag;
    }
    if env.settings().compat == Compat::OpenScap {
        // OpenSCAP: a component without values adds nothing, and is no reason to have none.
        lists.retain(|list| !list.is_empty());
    }
    let mut room = Room::new(env.settings());
    let made = combinations(&lists, |chosen| {
        room.take(chosen.iter().map(|v| v.text.len()).sum())?;
        let text: String = chosen.iter().map(|v| &*v.text).collect();
        bag.values.push(Value { datatype: Datatype::String, text: text.into() });
        Ok(())
    });
    made.map_or_else(Bag::error, |()| bag)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if r"^$\.[](){}*+?|".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn split(text: &str, delimiter: &str) -> Vec<String> {
    if delimiter.is_empty() {
        return text.chars().map(String::from).collect();
    }
    text.split(delimiter).map(String::from).collect()
}

/// `start` counts from 1; what is less means 1. A negative length, or one past the end, means all the rest.
fn substring(text: &str, start: i64, length: i64) -> Result<String, String> {
    let skip = usize::try_from(start.saturating_sub(1)).unwrap_or(0);
    if skip >= text.chars().count() {
        let short: String = text.chars().take(60).collect();
        return Err(format!("substring starts at {start}, behind the end of {short:?}"));
    }
    Ok(text.chars().skip(skip).take(usize::try_from(length).unwrap_or(usize::MAX)).collect())
}

#[derive(Clone, Copy)]
enum Number {
    Int(i128),
    Float(f64),
}

fn number(value: &Value) -> Result<Number, String> {
    let int = || value::int(&value.text, Compat::Specification).map(Number::Int);
    let float = || value::float(&value.text, Compat::Specification).map(Number::Float);
    let number = match value.datatype {
        Datatype::Float => float(),
        _ => int().or_else(float),
    };
    number.ok_or_else(|| {
        let short: String = value.text.chars().take(60).collect();
        format!("arithmetic: {short:?} is no number")
    })
}

fn as_float(number: Number) -> f64 {
    match number {
        #[expect(clippy::cast_precision_loss, reason = "beside a float an integer becomes one")]
        Number::Int(int) => int as f64,
        Number::Float(float) => float,
    }
}

fn calculate(operation: Arithmetic, a: Number, b: Number) -> Result<Number, String> {
    if let (Number::Int(x), Number::Int(y)) = (a, b) {
        let result = match operation {
            Arithmetic::Add => x.checked_add(y),
            Arithmetic::Multiply => x.checked_mul(y),
        };
        return result.map(Number::Int).ok_or_else(|| format!("arithmetic: {x} and {y} are too large"));
    }
    let (x, y) = (as_float(a), as_float(b));
    Ok(Number::Float(match operation {
        Arithmetic::Add => x + y,
        Arithmetic::Multiply => x * y,
    }))
}

fn arithmetic<'x>(operation: Arithmetic, of: &[Component], env: &mut dyn Env<'x>) -> Bag {
    let (lists, flag, why) = all(of, env);
    let mut bag = Bag { flag, values: Vec::new(), why };
    if !bag.has_values() {
        return bag;
    }
    let settings = env.settings();
    let mut room = Room::new(settings);
    let made = combinations(&lists, |chosen| {
        let mut result: Option<Number> = None;
        for value in chosen {
            let next = number(value)?;
            result = Some(match result {
                Some(so_far) => calculate(operation, so_far, next)?,
                None => next,
            });
        }
        let value = match result {
            Some(Number::Int(int)) => Value { datatype: Datatype::Int, text: int.to_string().into() },
            // OpenSCAP: six decimals.
            Some(Number::Float(f)) if settings.compat == Compat::OpenScap => {
                Value { datatype: Datatype::Float, text: format!("{f:.6}").into() }
            }
            Some(Number::Float(f)) => Value { datatype: Datatype::Float, text: f.to_string().into() },
            None => return Ok(()),
        };
        room.take(value.text.len())?;
        bag.values.push(value);
        Ok(())
    });
    made.map_or_else(Bag::error, |()| bag)
}

fn time_difference<'x>(first: TimeFormat, second: TimeFormat, of: &[Component], env: &mut dyn Env<'x>) -> Bag {
    let settings = env.settings();
    let (mut lists, flag, why) = all(of, env);
    let mut bag = Bag { flag, values: Vec::new(), why };
    if !bag.has_values() {
        return bag;
    }
    let mut first = first;
    match lists.len() {
        // The present is the first of two, so the format of the only one is the second's.
        1 => {
            lists.insert(0, vec![Value { datatype: Datatype::Int, text: settings.now_s.to_string().into() }]);
            first = TimeFormat::SecondsSinceEpoch;
        }
        2 => {}
        other => return Bag::error(format!("time_difference of {other} components: it takes one or two")),
    }
    let mut room = Room::new(settings);
    let made = combinations(&lists, |chosen| {
        let [a, b] = chosen else { return Ok(()) };
        let difference = i128::from(date::seconds(&a.text, first)?) - i128::from(date::seconds(&b.text, second)?);
        let text = difference.to_string();
        room.take(text.len())?;
        bag.values.push(Value { datatype: Datatype::Int, text: text.into() });
        Ok(())
    });
    made.map_or_else(Bag::error, |()| bag)
}
