//! XCCDF results: `baseline + rule results -> TestResult`, and results of other scanners as they come in (`read`).

mod read;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::model::{Baseline, Check, ComplexOperator, ContentRef, Fix, Item, Role, RuleBody, RuleSeverity};
use crate::judge::Verdict;
use crate::xml::scan::Element;
use crate::xml::write::{DECLARATION, Out};
pub use read::{RuleSummary, Score, TestResultSummary, read_results};

pub const NAMESPACE: &str = "http://checklists.nist.gov/xccdf/1.2";

/// The endpoint that was judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    /// IP addresses.
    pub addresses: Vec<String>,
    pub macs: Vec<String>,
    /// (name, value): further facts, of type string.
    pub facts: Vec<(String, String)>,
}

/// One rule result as it is written.
#[derive(Clone, Copy, Debug)]
pub struct RuleResult<'a> {
    /// Position in [`Baseline::items`].
    pub item: u32,
    pub verdict: Verdict,
    pub message: Option<&'a str>,
    /// Of a check with `multi-check`: the definition that this result is of.
    pub definition: Option<&'a str>,
}

/// A score as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    pub system: &'a str,
    pub score: f64,
    pub maximum: f64,
}

/// A result document before it is written.
#[derive(Clone, Copy, Debug)]
pub struct TestResult<'a> {
    pub baseline: &'a Baseline,
    pub results: &'a [RuleResult<'a>],
    pub scores: &'a [Scored<'a>],
    pub target: &'a Target,
    /// RFC 3339.
    pub start: &'a str,
    pub end: &'a str,
    /// The platforms of the baseline that the target is.
    pub platforms: &'a [String],
    /// Whether to repeat the fixes of rules that fail.
    pub fixes: bool,
    /// In a collection: the id of the asset.
    pub asset: Option<&'a str>,
    /// In a collection: what check-content-refs say instead of their href (`#oval0`).
    pub reports: Option<&'a BTreeMap<String, String>>,
}

impl TestResult<'_> {
    /// A document of its own.
    pub fn write(&self) -> String {
        let mut out = Out::document();
        self.write_into(&mut out);
        out.finish()
    }

    /// The benchmark as published, with this result as its last element: what most viewers expect.
    pub fn write_in_benchmark(&self, benchmark: &Element<'_>) -> String {
        let mut own = Out::new();
        self.write_into(&mut own);
        let text = benchmark.standing();
        match text.rfind("</").and_then(|end| text.split_at_checked(end)) {
            Some((before, end)) => format!("{DECLARATION}{before}{}{end}\n", own.finish()),
            None => format!("{DECLARATION}{}", own.finish()),
        }
    }

    pub fn write_into(&self, out: &mut Out) {
        let baseline = self.baseline;
        let profile = not_empty(&baseline.profile_id);
        // Each scanner names its results in its own name space.
        let id = format!("xccdf_org.muster_testresult_{}", profile.unwrap_or("default"));
        out.open(
            "TestResult",
            &[
                ("xmlns", Some(NAMESPACE)),
                ("id", Some(&*id)),
                ("start-time", not_empty(self.start)),
                ("end-time", Some(self.end)),
                ("version", not_empty(&baseline.benchmark_version)),
                ("test-system", Some(concat!("cpe:/a:muster:muster:", env!("CARGO_PKG_VERSION")))),
            ],
        );
        out.empty("benchmark", &[("href", Some(&*baseline.benchmark_href)), ("id", not_empty(&baseline.benchmark_id))]);
        if let Some(tailored) = &baseline.tailoring {
            // All four are required. A file without a time is older than this result.
            let time = not_empty(&tailored.time).unwrap_or(self.end);
            out.empty(
                "tailoring-file",
                &[
                    ("href", Some(&*tailored.href)),
                    ("id", Some(&*tailored.id)),
                    ("version", Some(&*tailored.version)),
                    ("time", Some(time)),
                ],
            );
        }
        out.leaf("title", &[], &format!("Muster: {}", not_empty(&baseline.profile_title).unwrap_or(&baseline.benchmark_title)));
        if let Some(profile) = profile {
            out.empty("profile", &[("idref", Some(profile))]);
        }
        self.target(out);
        for platform in self.platforms {
            out.empty("platform", &[("idref", Some(&**platform))]);
        }
        for (id, values) in &baseline.set_values {
            match values.as_slice() {
                [value] => out.leaf("set-value", &[("idref", Some(&**id))], value),
                values => {
                    out.open("set-complex-value", &[("idref", Some(&**id))]);
                    values.iter().for_each(|v| out.leaf("item", &[], v));
                    out.close();
                }
            }
        }
        for result in self.results {
            let found = usize::try_from(result.item).ok().and_then(|at| baseline.items.get(at));
            if let Some((item, rule)) = found.and_then(|item| Some((item, item.rule.as_ref()?))) {
                self.rule(out, item, rule, result);
            }
        }
        for score in self.scores {
            let (maximum, value) = (decimal(score.maximum), decimal(score.score));
            out.leaf("score", &[("system", Some(score.system)), ("maximum", Some(&*maximum))], &value);
        }
        out.close();
    }

    fn target(&self, out: &mut Out) {
        let target = self.target;
        out.leaf("target", &[], &target.name);
        for address in &target.addresses {
            out.leaf("target-address", &[], address);
        }
        out.open("target-facts", &[]);
        let mut fact = |name: &str, value: &str| out.leaf("fact", &[("name", Some(name)), ("type", Some("string"))], value);
        fact("urn:xccdf:fact:scanner:name", "Muster");
        fact("urn:xccdf:fact:scanner:version", env!("CARGO_PKG_VERSION"));
        fact("urn:xccdf:fact:asset:identifier:host_name", &target.name);
        for mac in &target.macs {
            fact("urn:xccdf:fact:asset:identifier:mac", mac);
        }
        for address in &target.addresses {
            let kind = if address.contains(':') { "ipv6" } else { "ipv4" };
            fact(&format!("urn:xccdf:fact:asset:identifier:{kind}"), address);
        }
        for (name, value) in &target.facts {
            fact(name, value);
        }
        out.close();
        if let Some(asset) = self.asset {
            let system = "http://scap.nist.gov/schema/asset-identification/1.1";
            out.empty("target-id-ref", &[("system", Some(system)), ("name", Some(asset)), ("href", Some(""))]);
        }
    }

    fn rule(&self, out: &mut Out, item: &Item, rule: &RuleBody, result: &RuleResult<'_>) {
        let weight = decimal(item.weight);
        out.open(
            "rule-result",
            &[
                ("idref", Some(&*item.id)),
                ("role", Some(role(rule.role))),
                ("time", Some(self.end)),
                ("severity", Some(severity(rule.severity))),
                ("weight", Some(&*weight)),
                ("version", not_empty(&rule.version)),
            ],
        );
        out.leaf("result", &[], result.verdict.name());
        for (system, value) in &rule.idents {
            out.leaf("ident", &[("system", Some(&**system))], value);
        }
        if let Some(message) = result.message {
            let severity = if result.verdict == Verdict::Error { "error" } else { "info" };
            out.leaf("message", &[("severity", Some(severity))], message);
        }
        if self.fixes && result.verdict == Verdict::Fail {
            rule.fixes.iter().for_each(|f| fix(out, f));
        }
        // What was not selected or does not apply was not checked.
        if !matches!(result.verdict, Verdict::NotSelected | Verdict::NotApplicable)
            && let Some(check) = &rule.check
        {
            self.check(out, check, result.definition);
        }
        out.close();
    }

    fn check(&self, out: &mut Out, check: &Check, definition: Option<&str>) {
        match check {
            Check::Complex { operator, negate, of } => {
                let operator = match operator {
                    ComplexOperator::And => "AND",
                    ComplexOperator::Or => "OR",
                };
                out.open("complex-check", &[("operator", Some(operator)), ("negate", negate.then_some("true"))]);
                of.iter().for_each(|c| self.check(out, c, None));
                out.close();
            }
            Check::Definition { negate, reference, .. } => self.reference(out, reference, *negate, false, None),
            Check::Document { negate, multi, reference, .. } => self.reference(out, reference, *negate, *multi, definition),
            Check::Unsupported { reference, .. } | Check::Unbound { reference, .. } => self.reference(out, reference, false, false, None),
        }
    }

    fn reference(&self, out: &mut Out, reference: &ContentRef, negate: bool, multi: bool, definition: Option<&str>) {
        let flag = |set: bool| set.then_some("true");
        out.open("check", &[("system", Some(&*reference.system)), ("negate", flag(negate)), ("multi-check", flag(multi))]);
        for (value, name) in &reference.exports {
            out.empty("check-export", &[("value-id", Some(&**value)), ("export-name", Some(&**name))]);
        }
        if !reference.href.is_empty() {
            let href = self.reports.and_then(|r| r.get(&reference.href)).unwrap_or(&reference.href);
            out.empty("check-content-ref", &[("href", Some(&**href)), ("name", definition.or(not_empty(&reference.name)))]);
        }
        out.close();
    }
}

fn fix(out: &mut Out, fix: &Fix) {
    out.leaf(
        "fix",
        &[
            ("id", not_empty(&fix.id)),
            ("reboot", fix.reboot.then_some("true")),
            ("disruption", not_empty(&fix.disruption)),
            ("complexity", not_empty(&fix.complexity)),
            ("system", not_empty(&fix.system)),
        ],
        &fix.text,
    );
}

fn not_empty(text: &str) -> Option<&str> {
    Some(text).filter(|t| !t.is_empty())
}

/// As `xsd:decimal`, which knows no infinity.
fn decimal(number: f64) -> String {
    if number.is_finite() { format!("{number:.6}") } else { "0.000000".to_owned() }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Full => "full",
        Role::Unscored => "unscored",
        Role::Unchecked => "unchecked",
    }
}

fn severity(severity: RuleSeverity) -> &'static str {
    match severity {
        RuleSeverity::Unknown => "unknown",
        RuleSeverity::Info => "info",
        RuleSeverity::Low => "low",
        RuleSeverity::Medium => "medium",
        RuleSeverity::High => "high",
    }
}
