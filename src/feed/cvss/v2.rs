//! CVSS version 2: the equations of its complete guide, section 3.2.

use super::{Metric, Tenths, Vector, must, weight};

const REQUIREMENT: &[&str] = &["L", "M", "H", "ND"];

const fn may(name: &'static str, values: &'static [&'static str]) -> Metric {
    Metric { name, values, default: Some("ND") }
}

pub(super) const METRICS: &[Metric] = &[
    must("AV", &["L", "A", "N"]),
    must("AC", &["H", "M", "L"]),
    must("Au", &["M", "S", "N"]),
    must("C", &["N", "P", "C"]),
    must("I", &["N", "P", "C"]),
    must("A", &["N", "P", "C"]),
    may("E", &["U", "POC", "F", "H", "ND"]),
    may("RL", &["OF", "TF", "W", "U", "ND"]),
    may("RC", &["UC", "UR", "C", "ND"]),
    may("CDP", &["N", "L", "LM", "MH", "H", "ND"]),
    may("TD", &["N", "L", "M", "H", "ND"]),
    may("CR", REQUIREMENT),
    may("IR", REQUIREMENT),
    may("AR", REQUIREMENT),
];

fn impact(v: &Vector, with_requirements: bool) -> f64 {
    let loss = |metric: &str, requirement: &str| {
        let of = weight(v, metric, &[("N", 0.0), ("P", 0.275), ("C", 0.66)]);
        let by = if with_requirements { weight(v, requirement, &[("L", 0.5), ("H", 1.51)]) } else { 1.0 };
        1.0 - of * by
    };
    let impact = 10.41 * (1.0 - loss("C", "CR") * loss("I", "IR") * loss("A", "AR"));
    if with_requirements { impact.min(10.0) } else { impact }
}

/// To one decimal, halves up. Not yet [`Tenths`]: with low requirements the adjusted base is below 0, and what is computed from it counts on that.
fn rounded(score: f64) -> f64 {
    (score * 10.0 + 0.5 + 1e-8).floor() / 10.0
}

fn base_of(v: &Vector, impact: f64) -> f64 {
    let exploitability = 20.0
        * weight(v, "AV", &[("L", 0.395), ("A", 0.646), ("N", 1.0)])
        * weight(v, "AC", &[("H", 0.35), ("M", 0.61), ("L", 0.71)])
        * weight(v, "Au", &[("M", 0.45), ("S", 0.56), ("N", 0.704)]);
    let f = if impact == 0.0 { 0.0 } else { 1.176 };
    rounded((0.6 * impact + 0.4 * exploitability - 1.5) * f)
}

fn temporal_of(v: &Vector, base: f64) -> f64 {
    rounded(
        base * weight(v, "E", &[("U", 0.85), ("POC", 0.9), ("F", 0.95)])
            * weight(v, "RL", &[("OF", 0.87), ("TF", 0.9), ("W", 0.95)])
            * weight(v, "RC", &[("UC", 0.9), ("UR", 0.95)]),
    )
}

pub(super) fn base(v: &Vector) -> Tenths {
    Tenths::nearest(base_of(v, impact(v, false)))
}

pub(super) fn temporal(v: &Vector) -> Tenths {
    Tenths::nearest(temporal_of(v, base_of(v, impact(v, false))))
}

pub(super) fn environmental(v: &Vector) -> Tenths {
    let adjusted = temporal_of(v, base_of(v, impact(v, true)));
    let damage = weight(v, "CDP", &[("N", 0.0), ("L", 0.1), ("LM", 0.3), ("MH", 0.4), ("H", 0.5), ("ND", 0.0)]);
    let spread = weight(v, "TD", &[("N", 0.0), ("L", 0.25), ("M", 0.75)]);
    Tenths::nearest((adjusted + (10.0 - adjusted) * damage) * spread)
}
