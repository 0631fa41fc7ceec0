//! CVSS versions 3.0 and 3.1: the equations of their section 7. They differ in rounding and in the environmental impact.

use super::{Metric, Tenths, Vector, Version, may, must, pick, weight};

const IMPACT: &[&str] = &["N", "L", "H"];
const MODIFIED: &[&str] = &["X", "N", "L", "H"];
const REQUIREMENT: &[&str] = &["X", "L", "M", "H"];

pub(super) const METRICS: &[Metric] = &[
    must("AV", &["N", "A", "L", "P"]),
    must("AC", &["L", "H"]),
    must("PR", &["N", "L", "H"]),
    must("UI", &["N", "R"]),
    must("S", &["U", "C"]),
    must("C", IMPACT),
    must("I", IMPACT),
    must("A", IMPACT),
    may("E", &["X", "U", "P", "F", "H"]),
    may("RL", &["X", "O", "T", "W", "U"]),
    may("RC", &["X", "U", "R", "C"]),
    may("CR", REQUIREMENT),
    may("IR", REQUIREMENT),
    may("AR", REQUIREMENT),
    may("MAV", &["X", "N", "A", "L", "P"]),
    may("MAC", &["X", "L", "H"]),
    may("MPR", MODIFIED),
    may("MUI", &["X", "N", "R"]),
    may("MS", &["X", "U", "C"]),
    may("MC", MODIFIED),
    may("MI", MODIFIED),
    may("MA", MODIFIED),
];

pub(super) const ENVIRONMENTAL: &[&str] = &["CR", "IR", "AR", "MAV", "MAC", "MPR", "MUI", "MS", "MC", "MI", "MA"];

/// The smallest tenth that is not below the score. 3.1 first drops what lies past the fifth decimal.
fn roundup(version: Version, score: f64) -> Tenths {
    let tenths = if version == Version::V31 { (score * 100_000.0).round() / 10_000.0 } else { score * 10.0 - 1e-8 };
    Tenths::whole(tenths.ceil())
}

/// A base metric, or what the environment makes of it.
fn get(v: &Vector, modified: Option<&'static str>, name: &str) -> &'static str {
    match modified.map(|m| v.get(m)) {
        None | Some("X") => v.get(name),
        Some(value) => value,
    }
}

fn exploitability(v: &Vector, env: bool, changed: bool) -> f64 {
    let of = |modified: &'static str, name: &str| get(v, env.then_some(modified), name);
    let rights = if changed { [("N", 0.85), ("L", 0.68), ("H", 0.5)] } else { [("N", 0.85), ("L", 0.62), ("H", 0.27)] };
    8.22 * pick(of("MAV", "AV"), &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])
        * pick(of("MAC", "AC"), &[("L", 0.77), ("H", 0.44)])
        * pick(of("MPR", "PR"), &rights)
        * pick(of("MUI", "UI"), &[("N", 0.85), ("R", 0.62)])
}

const LOSS: &[(&str, f64)] = &[("N", 0.0), ("L", 0.22), ("H", 0.56)];
const REQUIRED: &[(&str, f64)] = &[("L", 0.5), ("H", 1.5)];

fn combine(version: Version, impact: f64, exploitability: f64, changed: bool) -> Tenths {
    if impact <= 0.0 {
        return Tenths(0);
    }
    let sum = impact + exploitability;
    roundup(version, if changed { 1.08 * sum } else { sum }.min(10.0))
}

fn temporal_factor(v: &Vector) -> f64 {
    weight(v, "E", &[("F", 0.97), ("P", 0.94), ("U", 0.91)])
        * weight(v, "RL", &[("W", 0.97), ("T", 0.96), ("O", 0.95)])
        * weight(v, "RC", &[("R", 0.96), ("U", 0.92)])
}

pub(super) fn base(v: &Vector) -> Tenths {
    let keeps = |name: &str| 1.0 - weight(v, name, LOSS);
    let iss = 1.0 - keeps("C") * keeps("I") * keeps("A");
    let changed = v.get("S") == "C";
    let impact = if changed { 7.52 * (iss - 0.029) - 3.25 * (iss - 0.02).powi(15) } else { 6.42 * iss };
    combine(v.version, impact, exploitability(v, false, changed), changed)
}

pub(super) fn temporal(v: &Vector) -> Tenths {
    roundup(v.version, base(v).float() * temporal_factor(v))
}

pub(super) fn environmental(v: &Vector) -> Tenths {
    let keeps = |modified: &'static str, name: &str, requirement: &str| {
        1.0 - pick(get(v, Some(modified), name), LOSS) * weight(v, requirement, REQUIRED)
    };
    let miss = (1.0 - keeps("MC", "C", "CR") * keeps("MI", "I", "IR") * keeps("MA", "A", "AR")).min(0.915);
    let changed = get(v, Some("MS"), "S") == "C";
    let impact = match (changed, v.version) {
        (false, _) => 6.42 * miss,
        (true, Version::V31) => 7.52 * (miss - 0.029) - 3.25 * (miss * 0.9731 - 0.02).powi(13),
        (true, _) => 7.52 * (miss - 0.029) - 3.25 * (miss - 0.02).powi(15),
    };
    let modified = combine(v.version, impact, exploitability(v, true, changed), changed);
    roundup(v.version, modified.float() * temporal_factor(v))
}
