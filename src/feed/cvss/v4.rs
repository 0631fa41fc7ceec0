//! CVSS version 4.0: section 8 of its specification. A vector lies in a macro vector, which has a looked-up score; how far it lies below the
//! macro vector's highest vectors takes a share of the way to the next lower macro vectors off it. Computed in whole numbers, so that halves are halves.

use super::{Metric, Tenths, Vector, may, must};

const IMPACT: &[&str] = &["H", "L", "N"];
const MODIFIED: &[&str] = &["X", "H", "L", "N"];
const REQUIREMENT: &[&str] = &["X", "H", "M", "L"];

pub(super) const METRICS: &[Metric] = &[
    must("AV", &["N", "A", "L", "P"]),
    must("AC", &["L", "H"]),
    must("AT", &["N", "P"]),
    must("PR", &["N", "L", "H"]),
    must("UI", &["N", "P", "A"]),
    must("VC", IMPACT),
    must("VI", IMPACT),
    must("VA", IMPACT),
    must("SC", IMPACT),
    must("SI", IMPACT),
    must("SA", IMPACT),
    may("E", &["X", "A", "P", "U"]),
    may("CR", REQUIREMENT),
    may("IR", REQUIREMENT),
    may("AR", REQUIREMENT),
    may("MAV", &["X", "N", "A", "L", "P"]),
    may("MAC", &["X", "L", "H"]),
    may("MAT", &["X", "N", "P"]),
    may("MPR", &["X", "N", "L", "H"]),
    may("MUI", &["X", "N", "P", "A"]),
    may("MVC", MODIFIED),
    may("MVI", MODIFIED),
    may("MVA", MODIFIED),
    may("MSC", MODIFIED),
    may("MSI", &["X", "S", "H", "L", "N"]),
    may("MSA", &["X", "S", "H", "L", "N"]),
    may("S", &["X", "N", "P"]),
    may("AU", &["X", "N", "Y"]),
    may("R", &["X", "A", "U", "I"]),
    may("V", &["X", "D", "C"]),
    may("RE", &["X", "L", "M", "H"]),
    may("U", &["X", "Clear", "Green", "Amber", "Red"]),
];

/// Which groups of metrics a score takes into account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Base,
    Threat,
    All,
}

/// Scores of the macro vectors in tenths: a row for each EQ1, EQ2 and pair of EQ3 and EQ6 (00 01 10 11 21), in it EQ4 and EQ5.
#[rustfmt::skip]
const SCORES: [[u8; 9]; 30] = [
    [100, 98, 95, 100, 93, 91, 93, 89, 81],
    [99, 95, 92, 96, 87, 81, 90, 80, 68],
    [98, 95, 90, 93, 89, 81, 88, 78, 69],
    [95, 92, 84, 92, 81, 65, 80, 70, 48],
    [92, 82, 72, 79, 69, 50, 69, 55, 27],
    [99, 95, 92, 95, 90, 84, 92, 82, 72],
    [97, 92, 85, 91, 83, 71, 81, 71, 53],
    [95, 92, 85, 92, 80, 70, 84, 71, 50],
    [93, 85, 73, 82, 72, 59, 70, 52, 30],
    [86, 75, 52, 71, 52, 29, 63, 29, 17],
    [98, 94, 91, 94, 86, 77, 87, 74, 63],
    [95, 87, 81, 89, 74, 64, 75, 63, 49],
    [94, 88, 76, 86, 74, 59, 72, 57, 52],
    [89, 77, 67, 76, 58, 50, 57, 52, 25],
    [83, 70, 54, 65, 58, 26, 53, 21, 13],
    [95, 88, 76, 90, 75, 61, 77, 68, 52],
    [90, 76, 70, 77, 62, 53, 66, 59, 30],
    [89, 76, 62, 74, 57, 47, 61, 57, 24],
    [78, 67, 58, 59, 57, 23, 52, 29, 16],
    [71, 59, 30, 58, 26, 15, 23, 13, 6],
    [93, 86, 75, 86, 74, 56, 70, 52, 40],
    [87, 72, 58, 74, 61, 34, 54, 40, 22],
    [85, 74, 62, 72, 55, 46, 53, 34, 19],
    [75, 55, 51, 57, 41, 19, 36, 19, 8],
    [64, 51, 20, 47, 21, 11, 24, 9, 4],
    [88, 73, 60, 73, 59, 41, 54, 45, 20],
    [75, 53, 50, 55, 40, 20, 43, 22, 11],
    [75, 58, 40, 61, 48, 20, 46, 17, 8],
    [55, 45, 21, 51, 18, 9, 18, 7, 2],
    [53, 24, 14, 24, 12, 5, 10, 3, 1],
];

/// How far a value lies below the worst one, in steps.
fn step(metric: &str, value: &str) -> i64 {
    let order: &[&str] = match metric {
        "AV" => &["N", "A", "L", "P"],
        "PR" => &["N", "L", "H"],
        "UI" => &["N", "P", "A"],
        "AC" => &["L", "H"],
        "AT" => &["N", "P"],
        "SC" | "SI" | "SA" => &["S", "H", "L", "N"],
        "CR" | "IR" | "AR" => &["H", "M", "L"],
        _ => &["H", "L", "N"],
    };
    order.iter().zip(0..).find(|(v, _)| **v == value).map_or(0, |(_, n)| n)
}

struct Effective<'a> {
    vector: &'a Vector,
    part: Part,
}

impl Effective<'_> {
    fn get(&self, name: &str) -> &'static str {
        if self.part == Part::All {
            let modified = match name {
                "AV" => "MAV",
                "AC" => "MAC",
                "AT" => "MAT",
                "PR" => "MPR",
                "UI" => "MUI",
                "VC" => "MVC",
                "VI" => "MVI",
                "VA" => "MVA",
                "SC" => "MSC",
                "SI" => "MSI",
                "SA" => "MSA",
                _ => "",
            };
            let value = self.vector.get(modified);
            if !matches!(value, "" | "X") {
                return value;
            }
        }
        let given = match name {
            "CR" | "IR" | "AR" if self.part != Part::All => "X",
            "E" if self.part == Part::Base => "X",
            _ => self.vector.get(name),
        };
        match (name, given) {
            ("E", "X") => "A",
            ("CR" | "IR" | "AR", "X") => "H",
            _ => given,
        }
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    /// EQ1 to EQ6 of section 8.2.
    fn macro_vector(&self) -> [u8; 6] {
        let open = [self.is("AV", "N"), self.is("PR", "N"), self.is("UI", "N")];
        let eq1 = match (open.iter().all(|x| *x), open.iter().any(|x| *x) && !self.is("AV", "P")) {
            (true, _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        let eq2 = u8::from(!(self.is("AC", "L") && self.is("AT", "N")));
        let (c, i, a) = (self.is("VC", "H"), self.is("VI", "H"), self.is("VA", "H"));
        let eq3 = match (c && i, c || i || a) {
            (true, _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        let eq4 = if self.is("SI", "S") || self.is("SA", "S") {
            0
        } else if ["SC", "SI", "SA"].iter().any(|m| self.is(m, "H")) {
            1
        } else {
            2
        };
        let eq5 = match self.get("E") {
            "A" => 0,
            "P" => 1,
            _ => 2,
        };
        let eq6 = u8::from(!((self.is("CR", "H") && c) || (self.is("IR", "H") && i) || (self.is("AR", "H") && a)));
        [eq1, eq2, eq3, eq4, eq5, eq6]
    }

    /// Steps below the first highest vector that is not below this one anywhere.
    fn distance(&self, highest: &[&[(&str, &str)]]) -> i64 {
        let steps = |top: &&[(&str, &str)]| -> Option<i64> {
            top.iter().map(|(metric, value)| Some(step(metric, self.get(metric)) - step(metric, value)).filter(|d| *d >= 0)).sum()
        };
        highest.iter().find_map(steps).unwrap_or(0)
    }
}

type Highest = &'static [&'static [(&'static str, &'static str)]];

fn highest_eq1(eq1: u8) -> (Highest, i64) {
    match eq1 {
        0 => (&[&[("AV", "N"), ("PR", "N"), ("UI", "N")]], 1),
        1 => (
            &[&[("AV", "A"), ("PR", "N"), ("UI", "N")], &[("AV", "N"), ("PR", "L"), ("UI", "N")], &[("AV", "N"), ("PR", "N"), ("UI", "P")]],
            4,
        ),
        _ => (&[&[("AV", "P"), ("PR", "N"), ("UI", "N")], &[("AV", "A"), ("PR", "L"), ("UI", "P")]], 5),
    }
}

fn highest_eq2(eq2: u8) -> (Highest, i64) {
    match eq2 {
        0 => (&[&[("AC", "L"), ("AT", "N")]], 1),
        _ => (&[&[("AC", "H"), ("AT", "N")], &[("AC", "L"), ("AT", "P")]], 2),
    }
}

#[rustfmt::skip]
fn highest_eq3_eq6(eq3: u8, eq6: u8) -> (Highest, i64) {
    match (eq3, eq6) {
        (0, 0) => (&[&[("VC", "H"), ("VI", "H"), ("VA", "H"), ("CR", "H"), ("IR", "H"), ("AR", "H")]], 7),
        (0, _) => (&[
            &[("VC", "H"), ("VI", "H"), ("VA", "L"), ("CR", "M"), ("IR", "M"), ("AR", "H")],
            &[("VC", "H"), ("VI", "H"), ("VA", "H"), ("CR", "M"), ("IR", "M"), ("AR", "M")],
        ], 6),
        (1, 0) => (&[
            &[("VC", "L"), ("VI", "H"), ("VA", "H"), ("CR", "H"), ("IR", "H"), ("AR", "H")],
            &[("VC", "H"), ("VI", "L"), ("VA", "H"), ("CR", "H"), ("IR", "H"), ("AR", "H")],
        ], 8),
        (1, _) => (&[
            &[("VC", "L"), ("VI", "H"), ("VA", "L"), ("CR", "H"), ("IR", "M"), ("AR", "H")],
            &[("VC", "L"), ("VI", "H"), ("VA", "H"), ("CR", "H"), ("IR", "M"), ("AR", "M")],
            &[("VC", "H"), ("VI", "L"), ("VA", "H"), ("CR", "M"), ("IR", "H"), ("AR", "M")],
            &[("VC", "H"), ("VI", "L"), ("VA", "L"), ("CR", "M"), ("IR", "H"), ("AR", "H")],
            &[("VC", "L"), ("VI", "L"), ("VA", "H"), ("CR", "H"), ("IR", "H"), ("AR", "M")],
        ], 8),
        _ => (&[&[("VC", "L"), ("VI", "L"), ("VA", "L"), ("CR", "H"), ("IR", "H"), ("AR", "H")]], 10),
    }
}

fn highest_eq4(eq4: u8) -> (Highest, i64) {
    match eq4 {
        0 => (&[&[("SC", "H"), ("SI", "S"), ("SA", "S")]], 6),
        1 => (&[&[("SC", "H"), ("SI", "H"), ("SA", "H")]], 5),
        _ => (&[&[("SC", "L"), ("SI", "L"), ("SA", "L")]], 4),
    }
}

/// The score of a macro vector in tenths; `None`: there is no such.
fn lookup([eq1, eq2, eq3, eq4, eq5, eq6]: [u8; 6]) -> Option<i64> {
    let pair = match (eq3, eq6) {
        (0, 0) => 0,
        (0, 1) => 1,
        (1, 0) => 2,
        (1, 1) => 3,
        (2, 1) => 4,
        _ => return None,
    };
    if eq1 > 2 || eq2 > 1 || eq4 > 2 || eq5 > 2 {
        return None;
    }
    let row = SCORES.get((usize::from(eq1) * 2 + usize::from(eq2)) * 5 + pair)?;
    row.get(usize::from(eq4) * 3 + usize::from(eq5)).map(|s| i64::from(*s))
}

pub(super) fn score(vector: &Vector, part: Part) -> Tenths {
    let v = Effective { vector, part };
    if ["VC", "VI", "VA", "SC", "SI", "SA"].iter().all(|m| v.is(m, "N")) {
        return Tenths(0);
    }
    let at @ [eq1, eq2, eq3, eq4, eq5, eq6] = v.macro_vector();
    let value = lookup(at).unwrap_or(0);
    // EQ3 and EQ6 go down together; from 00 there are two ways, and the higher one counts.
    let lower_pair = match (eq3, eq6) {
        (0, 0) => lookup([eq1, eq2, 0, eq4, eq5, 1]).max(lookup([eq1, eq2, 1, eq4, eq5, 0])),
        (1, 0) => lookup([eq1, eq2, 1, eq4, eq5, 1]),
        (_, _) => lookup([eq1, eq2, eq3 + 1, eq4, eq5, eq6]),
    };
    let ways = [
        (lookup([eq1 + 1, eq2, eq3, eq4, eq5, eq6]), highest_eq1(eq1)),
        (lookup([eq1, eq2 + 1, eq3, eq4, eq5, eq6]), highest_eq2(eq2)),
        (lower_pair, highest_eq3_eq6(eq3, eq6)),
        (lookup([eq1, eq2, eq3, eq4 + 1, eq5, eq6]), highest_eq4(eq4)),
        // Within EQ5 there is one vector only: always at the top.
        (lookup([eq1, eq2, eq3, eq4, eq5 + 1, eq6]), (&[], 1)),
    ];
    // Every depth divides this; the mean of the shares is then a fraction over `count * WHOLE`.
    const WHOLE: i64 = 840;
    let existing = ways.iter().filter_map(|(lower, (highest, depth))| lower.map(|l| (value - l) * v.distance(highest) * (WHOLE / depth)));
    let (count, sum) = existing.fold((0, 0), |(n, sum), share| (n + 1, sum + share));
    let over = count.max(1) * WHOLE;
    let tenths = (2 * (value * over - sum) + over).div_euclid(2 * over).clamp(0, 100);
    Tenths(u8::try_from(tenths).unwrap_or(0))
}
