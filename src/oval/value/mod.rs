//! Datatypes and operations: what was stated, cast once, against what was collected.
//!
//! "Greater than" means that the collected value is greater. What cannot be cast, and an operation that its datatype does not have, is an
//! error with a reason.

mod order;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::model::{Datatype, Operation, OvalResult};
use super::pattern::Pattern;
use super::truth::Compat;
use order::Order;

/// A stated value, ready to be compared.
#[derive(Clone, Debug)]
pub struct Stated {
    operation: Operation,
    literal: Literal,
}

#[derive(Clone, Debug)]
enum Literal {
    Text(Box<str>),
    Pattern(Arc<Pattern>),
    Binary(Box<str>),
    Boolean(bool),
    Int(i128),
    Float(f64),
    Net(Net),
    Version(Order, Box<str>),
    /// No evaluator of this kind: not evaluated.
    Skipped,
    /// Why every comparison is an error.
    Bad(Box<str>),
}

/// An address with its prefix; a single address has a full one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Net {
    four: bool,
    address: u128,
    mask: u128,
}

impl Stated {
    /// `pattern` compiles, or finds what was compiled.
    pub fn new(
        datatype: Datatype,
        operation: Operation,
        text: &str,
        compat: Compat,
        pattern: &mut dyn FnMut(&str) -> Result<Arc<Pattern>, String>,
    ) -> Stated {
        let literal = if !allowed(datatype, operation) && !skipped(datatype, compat) {
            Literal::Bad(format!("datatype {} has no operation {}", datatype_name(datatype), operation_name(operation)).into())
        } else if operation == Operation::PatternMatch && !skipped(datatype, compat) {
            pattern(text).map_or_else(|why| Literal::Bad(why.into()), Literal::Pattern)
        } else {
            cast(datatype, text, compat)
        };
        Stated { operation, literal }
    }

    /// An error whatever was collected.
    pub fn bad(why: &str) -> Stated {
        Stated { operation: Operation::Equals, literal: Literal::Bad(why.into()) }
    }

    /// Why every comparison is an error.
    pub fn problem(&self) -> Option<&str> {
        match &self.literal {
            Literal::Bad(why) => Some(why),
            _ => None,
        }
    }

    pub fn pattern(&self) -> Option<&Arc<Pattern>> {
        match &self.literal {
            Literal::Pattern(pattern) => Some(pattern),
            _ => None,
        }
    }

    pub fn compare(&self, collected: &str, compat: Compat) -> OvalResult {
        match self.holds(collected, compat) {
            Some(true) => OvalResult::True,
            Some(false) => OvalResult::False,
            None if matches!(self.literal, Literal::Skipped) => OvalResult::NotEvaluated,
            None => OvalResult::Error,
        }
    }

    /// Why [`Stated::compare`] is an error for this value, if it is.
    pub fn why(&self, collected: &str, compat: Compat) -> Option<String> {
        if self.holds(collected, compat).is_some() {
            return None;
        }
        Some(match &self.literal {
            Literal::Bad(why) => why.to_string(),
            Literal::Skipped => "OpenSCAP does not evaluate this datatype".to_string(),
            Literal::Pattern(pattern) => match pattern.is_match(collected) {
                Err(why) => why.to_string(),
                Ok(_) => String::new(),
            },
            Literal::Int(_) => format!("{} is no integer", quoted(collected)),
            Literal::Float(_) => format!("{} is no number", quoted(collected)),
            Literal::Boolean(_) => format!("{} is no boolean", quoted(collected)),
            Literal::Binary(_) => format!("{} is no sequence of bytes in hexadecimal digits", quoted(collected)),
            Literal::Net(_) => format!("{} is no address of the wanted kind and prefix", quoted(collected)),
            Literal::Text(_) | Literal::Version(..) => format!("{} cannot be compared", quoted(collected)),
        })
    }

    fn holds(&self, collected: &str, compat: Compat) -> Option<bool> {
        match &self.literal {
            Literal::Text(stated) => text_holds(self.operation, stated, collected, compat),
            Literal::Pattern(pattern) => pattern.is_match(collected).ok(),
            Literal::Binary(stated) => {
                let equal = match compat {
                    Compat::Specification => &**stated == hexadecimal(collected)?,
                    // OpenSCAP: (10) any text, its case ignored.
                    Compat::OpenScap => stated.eq_ignore_ascii_case(collected),
                };
                Some(equal == (self.operation == Operation::Equals))
            }
            Literal::Boolean(stated) => Some((boolean(collected, compat)? == *stated) == (self.operation == Operation::Equals)),
            Literal::Int(stated) => int_holds(self.operation, *stated, int(collected, compat)?),
            Literal::Float(stated) => float_holds(self.operation, *stated, float(collected, compat)?, compat),
            Literal::Net(stated) => net_holds(self.operation, stated, &net(collected, stated.four)?),
            Literal::Version(order, stated) => ordered(self.operation, order.compare(collected, stated, compat)?),
            Literal::Skipped | Literal::Bad(_) => None,
        }
    }
}

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("{short:?}...") } else { format!("{short:?}") }
}

/// OpenSCAP: these datatypes are not evaluated.
fn skipped(datatype: Datatype, compat: Compat) -> bool {
    compat == Compat::OpenScap && matches!(datatype, Datatype::Ios | Datatype::FilesetRevision)
}

/// Whether a datatype has an operation.
pub fn allowed(datatype: Datatype, operation: Operation) -> bool {
    use Operation as O;
    match operation {
        O::Equals => true,
        O::NotEqual => datatype != Datatype::Record,
        O::CaseInsensitiveEquals | O::CaseInsensitiveNotEqual | O::PatternMatch => datatype == Datatype::String,
        O::GreaterThan | O::LessThan | O::GreaterThanOrEqual | O::LessThanOrEqual => {
            !matches!(datatype, Datatype::String | Datatype::Binary | Datatype::Boolean | Datatype::Record)
        }
        O::BitwiseAnd | O::BitwiseOr => datatype == Datatype::Int,
        O::SubsetOf | O::SupersetOf => matches!(datatype, Datatype::Ipv4 | Datatype::Ipv6),
    }
}

/// Whether a value is one of its datatype.
pub fn fits(datatype: Datatype, text: &str) -> bool {
    !matches!(cast(datatype, text, Compat::Specification), Literal::Bad(_))
}

fn cast(datatype: Datatype, text: &str, compat: Compat) -> Literal {
    let literal = match datatype {
        _ if skipped(datatype, compat) => Some(Literal::Skipped),
        Datatype::String => Some(Literal::Text(text.into())),
        Datatype::Binary if compat == Compat::OpenScap => Some(Literal::Binary(text.into())),
        Datatype::Binary => hexadecimal(text).map(|t| Literal::Binary(t.into())),
        Datatype::Boolean => boolean(text, compat).map(Literal::Boolean),
        Datatype::Int => int(text, compat).map(Literal::Int),
        Datatype::Float => float(text, compat).map(Literal::Float),
        Datatype::Ipv4 => net(text, true).map(Literal::Net),
        Datatype::Ipv6 => net(text, false).map(Literal::Net),
        Datatype::Evr => Some(Literal::Version(Order::Rpm, text.into())),
        Datatype::DebianEvr => Some(Literal::Version(Order::Dpkg, text.into())),
        Datatype::Version | Datatype::FilesetRevision => Some(Literal::Version(Order::Numbers, text.into())),
        Datatype::Ios => Some(Literal::Version(Order::Ios, text.into())),
        Datatype::Record => None,
    };
    let literal = literal.filter(|l| match l {
        Literal::Version(order, text) => order.compare(text, text, compat).is_some(),
        _ => true,
    });
    literal.unwrap_or_else(|| Literal::Bad(format!("{} is no {}", quoted(text), datatype_name(datatype)).into()))
}

fn ordered(operation: Operation, order: Ordering) -> Option<bool> {
    Some(match operation {
        Operation::Equals => order.is_eq(),
        Operation::NotEqual => order.is_ne(),
        Operation::GreaterThan => order.is_gt(),
        Operation::GreaterThanOrEqual => order.is_ge(),
        Operation::LessThan => order.is_lt(),
        Operation::LessThanOrEqual => order.is_le(),
        _ => return None,
    })
}

fn text_holds(operation: Operation, stated: &str, collected: &str, compat: Compat) -> Option<bool> {
    let alike = || {
        // OpenSCAP: only the letters of ASCII.
        stated.eq_ignore_ascii_case(collected)
            || compat == Compat::Specification
                && !(stated.is_ascii() && collected.is_ascii())
                && stated.to_lowercase() == collected.to_lowercase()
    };
    match operation {
        Operation::Equals => Some(stated == collected),
        Operation::NotEqual => Some(stated != collected),
        Operation::CaseInsensitiveEquals => Some(alike()),
        Operation::CaseInsensitiveNotEqual => Some(!alike()),
        _ => None,
    }
}

fn int_holds(operation: Operation, stated: i128, collected: i128) -> Option<bool> {
    match operation {
        Operation::BitwiseAnd => Some(collected & stated == stated),
        Operation::BitwiseOr => Some(collected | stated == stated),
        other => ordered(other, collected.cmp(&stated)),
    }
}

fn float_holds(operation: Operation, stated: f64, collected: f64, compat: Compat) -> Option<bool> {
    let close = |a: f64, b: f64| ((a - b) / if a.abs() > b.abs() { a } else { b }).abs() <= 1e-9;
    // OpenSCAP: (10) equal but for a billionth.
    if compat == Compat::OpenScap && close(collected, stated) {
        return ordered(operation, Ordering::Equal);
    }
    match collected.partial_cmp(&stated) {
        Some(order) => ordered(operation, order),
        None => Some(operation == Operation::NotEqual),
    }
}

fn hexadecimal(text: &str) -> Option<&str> {
    let text = text.trim_matches(is_space);
    (text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit())).then_some(text)
}

fn boolean(text: &str, compat: Compat) -> Option<bool> {
    match (text, compat) {
        ("true" | "1", _) => Some(true),
        ("false" | "0", _) => Some(false),
        // OpenSCAP: (10) whatever is not true is false.
        (_, Compat::OpenScap) => Some(false),
        (_, Compat::Specification) => match text.trim_matches(is_space) {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
    }
}

/// White space of XML.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// A number's text without the white space that does not count.
fn start(text: &str, compat: Compat) -> &str {
    match compat {
        Compat::Specification => text.trim_matches(is_space),
        // OpenSCAP: only what stands before it, as C's functions do.
        Compat::OpenScap => text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']),
    }
}

pub(super) fn int(text: &str, compat: Compat) -> Option<i128> {
    let value: i128 = start(text, compat).parse().ok()?;
    // OpenSCAP: (10) past 64 bits it is an error.
    (compat == Compat::Specification || i64::try_from(value).is_ok()).then_some(value)
}

pub(super) fn float(text: &str, compat: Compat) -> Option<f64> {
    let text = start(text, compat);
    let value: f64 = text.parse().ok()?;
    // A number too large for a double is no infinity.
    (value.is_finite() || !text.bytes().any(|b| b.is_ascii_digit())).then_some(value)
}

fn net(text: &str, four: bool) -> Option<Net> {
    let text = text.trim_matches(is_space);
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let (address, width) = match four {
        true => (u128::from(u32::from(address.parse::<Ipv4Addr>().ok()?)), 32u32),
        false => (u128::from(address.parse::<Ipv6Addr>().ok()?), 128),
    };
    let all = if four { u128::from(u32::MAX) } else { u128::MAX };
    let mask = match prefix {
        None => all,
        Some(prefix) if four && prefix.contains('.') => u128::from(u32::from(prefix.parse::<Ipv4Addr>().ok()?)),
        Some(prefix) => {
            let length = prefix.parse::<u32>().ok().filter(|l| *l <= width && prefix.bytes().all(|b| b.is_ascii_digit()))?;
            all & all.checked_shl(width - length).unwrap_or(0)
        }
    };
    Some(Net { four, address, mask })
}

/// Order is defined only between addresses of the same prefix.
fn net_holds(operation: Operation, stated: &Net, collected: &Net) -> Option<bool> {
    let inside = |small: &Net, large: &Net| large.mask <= small.mask && small.address & large.mask == large.address & large.mask;
    match operation {
        Operation::Equals => Some(stated == collected),
        Operation::NotEqual => Some(stated != collected),
        Operation::SubsetOf => Some(inside(collected, stated)),
        Operation::SupersetOf => Some(inside(stated, collected)),
        _ if stated.mask != collected.mask => None,
        other => ordered(other, (collected.address & collected.mask).cmp(&(stated.address & stated.mask))),
    }
}

pub fn datatype_name(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Binary => "binary",
        Datatype::Boolean => "boolean",
        Datatype::DebianEvr => "debian_evr_string",
        Datatype::Evr => "evr_string",
        Datatype::FilesetRevision => "fileset_revision",
        Datatype::Float => "float",
        Datatype::Int => "int",
        Datatype::Ios => "ios_version",
        Datatype::Ipv4 => "ipv4_address",
        Datatype::Ipv6 => "ipv6_address",
        Datatype::Record => "record",
        Datatype::String => "string",
        Datatype::Version => "version",
    }
}

pub fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Equals => "equals",
        Operation::NotEqual => "not equal",
        Operation::CaseInsensitiveEquals => "case insensitive equals",
        Operation::CaseInsensitiveNotEqual => "case insensitive not equal",
        Operation::GreaterThan => "greater than",
        Operation::LessThan => "less than",
        Operation::GreaterThanOrEqual => "greater than or equal",
        Operation::LessThanOrEqual => "less than or equal",
        Operation::BitwiseAnd => "bitwise and",
        Operation::BitwiseOr => "bitwise or",
        Operation::PatternMatch => "pattern match",
        Operation::SubsetOf => "subset of",
        Operation::SupersetOf => "superset of",
    }
}
