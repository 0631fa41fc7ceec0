//! Orders of datatypes that are compared as text: versions.

use std::cmp::Ordering;

use super::super::truth::Compat;
use super::is_space;
use crate::version::Scheme;

/// The order of a datatype that is compared as text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Numbers,
    Ios,
    Rpm,
    Dpkg,
}

impl Order {
    /// `None`: one of them is no value of this kind.
    pub(super) fn compare(self, a: &str, b: &str, compat: Compat) -> Option<Ordering> {
        match (self, compat) {
            (Order::Dpkg, Compat::OpenScap) if epoch(a).is_some_and(too_large) || epoch(b).is_some_and(too_large) => None,
            (Order::Dpkg, _) => Some(Scheme::Dpkg.compare(a, b)),
            (Order::Rpm, Compat::Specification) => Some(Scheme::Rpm.compare(a, b)),
            // OpenSCAP: (5) no epoch sorts before every epoch.
            (Order::Rpm, Compat::OpenScap) => match (epoch(a), epoch(b)) {
                (Some(_), None) => Some(Ordering::Greater),
                (None, Some(_)) => Some(Ordering::Less),
                _ => Some(Scheme::Rpm.compare(a, b)),
            },
            (Order::Numbers, Compat::Specification) => compare_numbers(a, b),
            (Order::Numbers, Compat::OpenScap) => Some(compare_fields(a.as_bytes(), b.as_bytes())),
            (Order::Ios, _) => compare_ios(a, b),
        }
    }
}

fn epoch(evr: &str) -> Option<&str> {
    evr.split_once(':').map(|(epoch, _)| epoch).filter(|epoch| epoch.bytes().all(|b| b.is_ascii_digit()))
}

fn too_large(epoch: &str) -> bool {
    !epoch.is_empty() && epoch.parse::<i32>().is_err()
}

/// Numbers of any size between single characters that are no digits; what is missing at the end is 0.
fn compare_numbers(a: &str, b: &str) -> Option<Ordering> {
    let numbers = |text: &str| {
        let text = text.trim_matches(is_space);
        text.split(|c: char| !c.is_ascii_digit()).all(|n| !n.is_empty())
    };
    if !numbers(a) || !numbers(b) {
        return None;
    }
    let fields = |text| str::split(str::trim_matches(text, is_space), |c: char| !c.is_ascii_digit()).map(|n| n.trim_start_matches('0'));
    let (mut a, mut b) = (fields(a), fields(b));
    loop {
        let (x, y) = match (a.next(), b.next()) {
            (None, None) => return Some(Ordering::Equal),
            (x, y) => (x.unwrap_or_default(), y.unwrap_or_default()),
        };
        let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        if order.is_ne() {
            return Some(order);
        }
    }
}

/// OpenSCAP: fields are read by C's `atoi`, and a field without digits swallows the number behind it.
fn compare_fields(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let order = leading_int(a).cmp(&leading_int(b));
        if order.is_ne() {
            return order;
        }
        a = next_field(a);
        b = next_field(b);
    }
    Ordering::Equal
}

fn leading_int(text: &[u8]) -> i32 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut value = 0i64;
    for digit in digits.iter().take_while(|d| d.is_ascii_digit()) {
        let digit = i64::from(digit - b'0');
        value = value.saturating_mul(10).saturating_add(if negative { -digit } else { digit });
    }
    u32::try_from(value & 0xffff_ffff).unwrap_or(0).cast_signed()
}

fn next_field(text: &[u8]) -> &[u8] {
    let rest = text.get(1..).unwrap_or_default();
    let digits = rest.iter().take_while(|d| d.is_ascii_digit()).count();
    rest.get(digits + 1..).unwrap_or_default()
}

/// `12.4(19c)T2`: runs of digits as numbers, runs of letters as text; what stands between them only separates.
fn compare_ios(a: &str, b: &str) -> Option<Ordering> {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    if !a.first()?.is_ascii_digit() || !b.first()?.is_ascii_digit() {
        return None;
    }
    loop {
        let ((x, rest_a), (y, rest_b)) = (ios_run(a), ios_run(b));
        let number = |run: &[u8]| run.first().is_some_and(u8::is_ascii_digit);
        let order = match (number(x), number(y)) {
            (true, true) => {
                let strip = |run: &[u8]| run.iter().copied().skip_while(|d| *d == b'0').collect::<Vec<u8>>();
                let (x, y) = (strip(x), strip(y));
                x.len().cmp(&y.len()).then_with(|| x.cmp(&y))
            }
            _ => x.to_ascii_lowercase().cmp(&y.to_ascii_lowercase()),
        };
        if order.is_ne() || x.is_empty() && y.is_empty() {
            return Some(order);
        }
        (a, b) = (rest_a, rest_b);
    }
}

fn ios_run(text: &[u8]) -> (&[u8], &[u8]) {
    let start = text.iter().take_while(|c| !c.is_ascii_alphanumeric()).count();
    let (_, text) = text.split_at(start);
    let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
    let length = if digits > 0 { digits } else { text.iter().take_while(|c| c.is_ascii_alphabetic()).count() };
    text.split_at(length)
}
