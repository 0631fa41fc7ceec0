//! Ranges of versions as CSAF's product trees name them: `vers:deb/>=1.0|<2.0`, and what people write instead (`>= V7.80 < V9.30`, `All versions`).
//!
//! Text in, [`Versions`] out. What is not understood is kept as a text that is shown and never judged.

use super::model::{End, Range, Start, Versions};
use crate::version::{Scheme, ecosystem};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// The order that a type of a `vers:` or of a package URL stands for.
pub(crate) fn scheme(kind: &str) -> Option<Scheme> {
    if kind == "intdot" { Some(Scheme::Dotted) } else { ecosystem::of_purl(kind) }
}

/// The type and the constraints of a `vers:`; `None`: it is none.
pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("vers:")?.split_once('/')
}

pub(crate) fn read(text: &str) -> Versions {
    let (kind, constraints) = split(text).unwrap_or(("", text));
    let trimmed = constraints.trim();
    let lower = trimmed.to_ascii_lowercase();
    let said = ["all versions", "all version", "versions"].iter().find(|w| lower.starts_with(**w)).map_or(0, |w| w.len());
    let rest = trimmed.get(said..).unwrap_or("").trim();
    if rest == "*" || (rest.is_empty() && said > 0) || lower == "all" {
        return Versions::all(scheme(kind));
    }
    let Some(constraints) = tokens(rest) else { return Versions { text: text.into(), ..Versions::default() } };
    // Numbers with dots, whatever letter stands before them, have one order only.
    let plain = |v: &str| Scheme::Windows.accepts(v);
    let numbers: Vec<(Op, &str)> =
        constraints.iter().map(|(op, v)| (*op, v.strip_prefix(['v', 'V']).filter(|v| plain(v)).unwrap_or(v))).collect();
    let scheme = scheme(kind).or_else(|| numbers.iter().all(|(_, v)| plain(v)).then_some(Scheme::Dotted));
    let constraints = if scheme == Some(Scheme::Dotted) { numbers } else { constraints };
    match ranges(&constraints) {
        Some((ranges, mut exact)) => {
            exact.sort();
            exact.dedup();
            let text = if scheme.is_none() { text.into() } else { "".into() };
            Versions { scheme, ranges, exact, text }
        }
        None => Versions { scheme, text: text.into(), ..Versions::default() },
    }
}

/// A single version as a product tree names it.
pub(crate) fn read_one(text: &str) -> Versions {
    let bare = text.strip_prefix(['v', 'V']).filter(|v| Scheme::Windows.accepts(v)).unwrap_or(text);
    Versions::exactly(Scheme::Windows.accepts(bare).then_some(Scheme::Dotted), bare)
}

/// Operators with their versions. `None`: there is text that no operator explains.
pub(crate) fn tokens(text: &str) -> Option<Vec<(Op, &str)>> {
    let mut out = Vec::new();
    for part in text.split('|') {
        let mut rest = part.trim();
        // Without any operator it is a version by itself.
        if !rest.contains(['<', '>', '=']) {
            if rest.is_empty() || rest.contains(char::is_whitespace) {
                return None;
            }
            out.push((Op::Eq, rest));
            continue;
        }
        while !rest.is_empty() {
            let (op, after) = operator(rest)?;
            let after = after.trim_start();
            let end = after.find(['<', '>', '=', '!']).unwrap_or(after.len());
            let (version, more) = after.split_at_checked(end)?;
            let version = version.trim().trim_end_matches(',').trim_end();
            // `V9 Update 2` is one version to whoever wrote it, and none to any order.
            if version.is_empty() || version.contains(char::is_whitespace) {
                return None;
            }
            out.push((op, version));
            rest = more;
        }
    }
    (!out.is_empty()).then_some(out)
}

fn operator(text: &str) -> Option<(Op, &str)> {
    let table = [("<=", Op::Le), (">=", Op::Ge), ("!=", Op::Ne), ("<", Op::Lt), (">", Op::Gt), ("=", Op::Eq)];
    table.iter().find_map(|(sign, op)| text.strip_prefix(sign).map(|rest| (*op, rest)))
}

/// Pairs bounds in the order in which they stand, which the canonical form sorts. `None`: a form that is no union of ranges.
fn ranges(constraints: &[(Op, &str)]) -> Option<(Vec<Range>, Vec<Box<str>>)> {
    let (mut ranges, mut exact) = (Vec::new(), Vec::new());
    let mut open: Option<Start> = None;
    for (op, version) in constraints {
        let version: Box<str> = (*version).into();
        match op {
            Op::Eq if open.is_none() => exact.push(version),
            Op::Ge | Op::Gt if open.is_none() => open = Some(if *op == Op::Ge { Start::At(version) } else { Start::After(version) }),
            Op::Lt | Op::Le => {
                let start = open.take().unwrap_or(Start::Open);
                // Two upper bounds in a row say nothing that is sure.
                if start == Start::Open && !ranges.is_empty() {
                    return None;
                }
                ranges.push(Range { start, end: if *op == Op::Lt { End::Before(version) } else { End::Through(version) } });
            }
            // A hole: what was open ends before it, and goes on after it.
            Op::Ne => {
                if let Some(start) = open.replace(Start::After(version.clone())) {
                    ranges.push(Range { start, end: End::Before(version) });
                } else if ranges.is_empty() {
                    ranges.push(Range { start: Start::Open, end: End::Before(version) });
                } else {
                    return None;
                }
            }
            _ => return None,
        }
    }
    if let Some(start) = open {
        ranges.push(Range { start, end: End::Open });
    }
    Some((ranges, exact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_and_what_is_out() {
        for (text, inside, outside) in [
            ("vers:all/*", &["1", "x"][..], &[][..]),
            ("vers:deb/>=1.0|<2.0", &["1.0", "1.5-1"], &["2.0", "1.0~rc1"]),
            ("vers:npm/1.2.3|>=2.0.0|<5.0.0", &["1.2.3", "2.0.0"], &["1.2.4", "5.0.0"]),
            ("vers:npm/>=2.2.0|!=2.2.1|<2.3.0", &["2.2.0", "2.2.2"], &["2.2.1", "2.3.0"]),
            ("vers:all/<V7.0.3", &["7.0.2"], &["7.0.3"]),
            (">= V7.80 < V9.30", &["7.80", "9.29.1"], &["9.30", "7.79"]),
            ("All versions < V4.33", &["4.32"], &["4.33"]),
            ("<=1.6", &["1.6", "0"], &["1.6.1"]),
            (">5|<=6", &["5.1", "6"], &["5", "6.1"]),
            ("All versions", &["anything"], &[]),
            (">= 4.4 | <= 4.12", &["4.4", "4.12"], &["4.13"]),
        ] {
            let versions = read(text);
            for v in inside {
                assert_eq!(versions.contains(v), Some(true), "{text}: {v}");
            }
            for v in outside {
                assert_eq!(versions.contains(v), Some(false), "{text}: {v}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_not_judged() {
        let odd = ["prior to 4.2", "< V9 Update 2", "<=the_first_5_digits_of_serial_number_24031", "<", "<1.0|<2.0", "vers:unheard/>=a|<b"];
        for text in odd {
            let versions = read(text);
            assert_eq!((versions.contains("1"), &*versions.text), (None, text), "{text}");
        }
    }
}
