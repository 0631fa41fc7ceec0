//! Tests of CVSS objects: one of a version for a product and source (6.1.7), valid (6.1.8), computed as the vector says (6.1.9), saying what the vector says
//! (6.1.10); in 2.1, not beside a word of severity (6.1.56).

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::super::cvss::{Tenths, Vector, Version};
use super::super::super::json::{list, short, text};
use super::super::document::Document;
use super::Findings;

const KINDS: [&str; 3] = ["cvss_v2", "cvss_v3", "cvss_v4"];

/// Each item of `scores` (2.0) or of `metrics` (2.1): its place, itself and what holds its CVSS objects.
pub(in super::super) fn metrics(vulnerability: &Value) -> impl Iterator<Item = (String, &Value, &Value)> {
    let old = list(vulnerability, "scores").iter().enumerate().map(|(at, s)| (format!("/scores/{at}"), s, s));
    let new = list(vulnerability, "metrics").iter().enumerate();
    old.chain(new.filter_map(|(at, m)| Some((format!("/metrics/{at}/content"), m, m.get("content")?))))
}

pub(super) fn same_version(document: &Document, out: &mut Findings) {
    for (place, vulnerability) in document.vulnerabilities() {
        let mut seen = BTreeSet::new();
        for (at, metric, content) in metrics(vulnerability) {
            let objects = content.as_object().into_iter().flatten().filter(|(k, v)| k.starts_with("cvss_") && v.is_object());
            for (kind, object) in objects {
                let version = Some(text(object, "version")).filter(|v| !v.is_empty()).unwrap_or(kind);
                for id in document.meant(metric) {
                    if !seen.insert((id, version, text(metric, "source"))) {
                        out.add(
                            "6.1.7",
                            format!("{place}{at}"),
                            format!("product `{}` has another score of CVSS {version} already", short(id)),
                        );
                    }
                }
            }
        }
    }
}

pub(super) fn qualitative(document: &Document, out: &mut Findings) {
    for (place, vulnerability) in document.vulnerabilities() {
        let (mut scored, mut worded) = (BTreeSet::new(), Vec::new());
        for (at, metric, content) in metrics(vulnerability) {
            let ids = document.meant(metric);
            let pairs = ids.iter().map(|id| (*id, text(metric, "source")));
            if content.as_object().into_iter().flatten().any(|(k, _)| k.starts_with("cvss_")) {
                scored.extend(pairs.clone());
            }
            if content.get("qualitative_severity_rating").is_some() {
                worded.extend(pairs.map(|pair| (at.clone(), pair)));
            }
        }
        for (at, (id, _)) in worded.iter().filter(|(_, pair)| scored.contains(pair)) {
            out.add("6.1.56", format!("{place}{at}"), format!("product `{}` has a CVSS score and a severity in words", short(id)));
        }
    }
}

pub(super) fn invalid(document: &Document, out: &mut Findings) {
    for (place, vulnerability) in document.vulnerabilities() {
        for (at, _, content) in metrics(vulnerability) {
            for (kind, object) in KINDS.iter().filter_map(|k| Some((k, content.get(k)?))) {
                let place = format!("{place}{at}/{kind}");
                match valid(kind, object) {
                    Ok(vector) => {
                        computed(&place, &vector, object, out);
                        consistent(&place, &vector, object, out);
                    }
                    Err(why) => out.add("6.1.8", place, why),
                }
            }
        }
    }
}

fn valid(kind: &str, object: &Value) -> Result<Vector, String> {
    let version = text(object, "version");
    let fits = match kind {
        "cvss_v2" => version == "2.0",
        "cvss_v3" => matches!(version, "3.0" | "3.1"),
        _ => version == "4.0",
    };
    if !fits {
        return Err(format!("version `{}` is none of {kind}", short(version)));
    }
    let vector = Vector::parse(text(object, "vectorString")).map_err(|e| e.to_string())?;
    if vector.version().name() != version {
        return Err(format!("the vector is of version {}, the object of {version}", vector.version().name()));
    }
    if !object.get("baseScore").is_some_and(Value::is_number) {
        return Err("baseScore is missing or no number".into());
    }
    if kind != "cvss_v2" && !object.get("baseSeverity").is_some_and(Value::is_string) {
        return Err("baseSeverity is missing or no text".into());
    }
    // Their JSON schemas take words in capital letters only.
    let word = |v: &str| v.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    for (property, _) in properties(vector.version()) {
        let value = text(object, property);
        if kind != "cvss_v4" && !word(value) {
            return Err(format!("{property} has the value `{}`", short(value)));
        }
    }
    // The score of version 4 is that of the whole vector; its schema has no others.
    if let Some(extra) =
        ["threatScore", "threatSeverity", "environmentalScore", "environmentalSeverity"].iter().find(|k| object.get(**k).is_some())
        && kind == "cvss_v4"
    {
        return Err(format!("{extra} is no property of version 4.0"));
    }
    Ok(vector)
}

/// Scores and severities are those of the vector.
fn computed(place: &str, vector: &Vector, object: &Value, out: &mut Findings) {
    let v4 = vector.version() == Version::V40;
    // Version 4 has one score: that of all metrics that are given.
    let base = if v4 { vector.overall() } else { vector.base() };
    let expected = [("base", base), ("temporal", vector.temporal()), ("environmental", vector.environmental())];
    for (name, score) in expected {
        let given = object.get(format!("{name}Score")).and_then(Value::as_f64);
        if let Some(given) = given.filter(|g| Tenths::of(*g) != Some(score)) {
            out.add("6.1.9", format!("{place}/{name}Score"), format!("is {given}, and the vector gives {score}"));
        }
        let word = text(object, &format!("{name}Severity"));
        let of_score = format!("{:?}", score.level(vector.version()));
        if !word.is_empty() && vector.version() != Version::V2 && !word.eq_ignore_ascii_case(&of_score) {
            out.add("6.1.9", format!("{place}/{name}Severity"), format!("is {}, and the score {score} is {of_score}", short(word)));
        }
    }
}

/// Property of the JSON form -> metric of the vector.
const V2: &[(&str, &str)] = &[
    ("accessVector", "AV"),
    ("accessComplexity", "AC"),
    ("authentication", "Au"),
    ("confidentialityImpact", "C"),
    ("integrityImpact", "I"),
    ("availabilityImpact", "A"),
    ("exploitability", "E"),
    ("remediationLevel", "RL"),
    ("reportConfidence", "RC"),
    ("collateralDamagePotential", "CDP"),
    ("targetDistribution", "TD"),
    ("confidentialityRequirement", "CR"),
    ("integrityRequirement", "IR"),
    ("availabilityRequirement", "AR"),
];

const V3: &[(&str, &str)] = &[
    ("attackVector", "AV"),
    ("attackComplexity", "AC"),
    ("privilegesRequired", "PR"),
    ("userInteraction", "UI"),
    ("scope", "S"),
    ("confidentialityImpact", "C"),
    ("integrityImpact", "I"),
    ("availabilityImpact", "A"),
    ("exploitCodeMaturity", "E"),
    ("remediationLevel", "RL"),
    ("reportConfidence", "RC"),
    ("confidentialityRequirement", "CR"),
    ("integrityRequirement", "IR"),
    ("availabilityRequirement", "AR"),
    ("modifiedAttackVector", "MAV"),
    ("modifiedAttackComplexity", "MAC"),
    ("modifiedPrivilegesRequired", "MPR"),
    ("modifiedUserInteraction", "MUI"),
    ("modifiedScope", "MS"),
    ("modifiedConfidentialityImpact", "MC"),
    ("modifiedIntegrityImpact", "MI"),
    ("modifiedAvailabilityImpact", "MA"),
];

const V4: &[(&str, &str)] = &[
    ("attackVector", "AV"),
    ("attackComplexity", "AC"),
    ("attackRequirements", "AT"),
    ("privilegesRequired", "PR"),
    ("userInteraction", "UI"),
    ("vulnConfidentialityImpact", "VC"),
    ("vulnIntegrityImpact", "VI"),
    ("vulnAvailabilityImpact", "VA"),
    ("subConfidentialityImpact", "SC"),
    ("subIntegrityImpact", "SI"),
    ("subAvailabilityImpact", "SA"),
    ("exploitMaturity", "E"),
    ("confidentialityRequirement", "CR"),
    ("integrityRequirement", "IR"),
    ("availabilityRequirement", "AR"),
    ("modifiedAttackVector", "MAV"),
    ("modifiedAttackComplexity", "MAC"),
    ("modifiedAttackRequirements", "MAT"),
    ("modifiedPrivilegesRequired", "MPR"),
    ("modifiedUserInteraction", "MUI"),
    ("modifiedVulnConfidentialityImpact", "MVC"),
    ("modifiedVulnIntegrityImpact", "MVI"),
    ("modifiedVulnAvailabilityImpact", "MVA"),
    ("modifiedSubConfidentialityImpact", "MSC"),
    ("modifiedSubIntegrityImpact", "MSI"),
    ("modifiedSubAvailabilityImpact", "MSA"),
    ("Safety", "S"),
    ("Automatable", "AU"),
    ("Recovery", "R"),
    ("valueDensity", "V"),
    ("vulnerabilityResponseEffort", "RE"),
    ("providerUrgency", "U"),
];

fn properties(version: Version) -> &'static [(&'static str, &'static str)] {
    match version {
        Version::V2 => V2,
        Version::V30 | Version::V31 => V3,
        Version::V40 => V4,
    }
}

fn consistent(place: &str, vector: &Vector, object: &Value, out: &mut Findings) {
    for (property, metric) in properties(vector.version()) {
        let word = text(object, property);
        // What the vector leaves out, a property may add.
        if let Some(value) = vector.given(metric)
            && !word.is_empty()
            && !means(word, value)
        {
            out.add("6.1.10", format!("{place}/{property}"), format!("is {}, and the vector says {metric}:{value}", short(word)));
        }
    }
}

/// Whether a word such as `PROOF_OF_CONCEPT` is what a metric's value abbreviates: `P`, `POC`, `X`, `Red`.
fn means(word: &str, value: &str) -> bool {
    match (word, value) {
        ("NOT_DEFINED", value) => matches!(value, "X" | "ND"),
        (_, "X" | "ND") => false,
        ("UNCONFIRMED", "UC") | ("UNCORROBORATED", "UR") => true,
        (word, value) => {
            let initials: String = word.split('_').filter_map(|w| w.chars().next()).collect();
            word.eq_ignore_ascii_case(value) || initials == value || (value.len() == 1 && word.starts_with(value))
        }
    }
}
