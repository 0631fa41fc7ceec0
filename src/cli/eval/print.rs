//! What `muster eval` says, for people and for programs.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Write;

use muster::judge::Verdict;
use muster::rule::Severity;
use serde::Serialize;

use super::super::output::{self, Out, plain};
use super::super::packs::Chosen;
use super::{Answer, Judged, is_applicable, is_pass};

const NO_EVIDENCE: &str = "no evidence: no rule applies to this endpoint";

#[derive(Serialize)]
struct Document<'j> {
    scans: Vec<ScanJson<'j>>,
}

#[derive(Serialize)]
struct ScanJson<'j> {
    endpoint: &'j str,
    digest: &'j str,
    verdicts: Vec<VerdictJson<'j>>,
    summary: BTreeMap<&'static str, usize>,
}

#[derive(Serialize)]
struct VerdictJson<'j> {
    rule: &'j str,
    verdict: Verdict,
    severity: Severity,
    evidence: Vec<&'j str>,
}

pub(super) fn json(judged: &[Judged<'_>]) -> anyhow::Result<()> {
    let scans = judged.iter().map(|j| ScanJson {
        endpoint: &j.endpoint,
        digest: &j.digest,
        verdicts: j.verdicts.iter().map(verdict_json).collect(),
        summary: summary(j),
    });
    let mut out = output::stdout();
    out.json(&Document { scans: scans.collect() })?;
    out.flush()?;
    for j in judged.iter().filter(|j| !j.has_evidence()) {
        output::note(format_args!("{}: {NO_EVIDENCE}", j.endpoint));
    }
    Ok(())
}

fn verdict_json<'j>(a: &'j Answer<'_>) -> VerdictJson<'j> {
    VerdictJson { rule: &a.meta.id, verdict: a.verdict, severity: a.meta.severity, evidence: a.evidence() }
}

/// How many of each of the nine.
fn summary(judged: &Judged<'_>) -> BTreeMap<&'static str, usize> {
    let mut counts: BTreeMap<&'static str, usize> = Verdict::ALL.iter().map(|v| (v.name(), 0)).collect();
    judged.verdicts.iter().for_each(|a| *counts.entry(a.verdict.name()).or_default() += 1);
    counts
}

pub(super) fn tables(judged: &[Judged<'_>]) -> anyhow::Result<()> {
    let mut out = output::stdout();
    for (i, j) in judged.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        of_scan(j, &mut out)?;
    }
    Ok(out.flush()?)
}

/// What does not pass, the worst first, and the numbers.
fn of_scan(judged: &Judged<'_>, out: &mut Out) -> anyhow::Result<()> {
    writeln!(out, "{}  {}", plain(&judged.endpoint), judged.digest)?;
    let mut open: Vec<&Answer<'_>> = judged.verdicts.iter().filter(|a| is_applicable(a.verdict) && !is_pass(a.verdict)).collect();
    open.sort_by_key(|a| (Reverse(a.meta.severity), &a.meta.id));
    if !open.is_empty() {
        let mut table = output::table(&["verdict", "severity", "rule", "title", "evidence"]);
        for a in open {
            let evidence = cut(&plain(a.evidence().first().copied().unwrap_or_default()));
            table.add_row([a.verdict.name(), a.meta.severity.name(), &a.meta.id, &a.meta.title, &evidence]);
        }
        out.table(&table)?;
    }
    if !judged.has_evidence() {
        writeln!(out, "{NO_EVIDENCE}")?;
    }
    writeln!(out, "{}", summary_line(judged))?;
    Ok(())
}

/// `3 pass, 1 fail, 20 notapplicable`, in the verdicts' own order.
fn summary_line(judged: &Judged<'_>) -> String {
    let counts = summary(judged);
    let there = Verdict::ALL.iter().map(|v| (v.name(), counts[v.name()])).filter(|(_, n)| *n > 0);
    let parts: Vec<String> = there.map(|(name, n)| format!("{n} {name}")).collect();
    if parts.is_empty() { "no rules".to_owned() } else { parts.join(", ") }
}

/// Characters of evidence in a table; all of it is in JSON and `--explain`.
const EVIDENCE_CHARS: usize = 120;

fn cut(text: &str) -> String {
    let mut chars = text.chars();
    let mut line: String = chars.by_ref().take(EVIDENCE_CHARS).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}

pub(super) fn explanations(judged: &[Judged<'_>], chosen: Chosen<'_>) -> anyhow::Result<()> {
    let meta = chosen.pack.meta(chosen.rule);
    let mut out = output::stdout();
    writeln!(out, "{}: {} ({})", meta.id, meta.title, meta.severity)?;
    if let Some(when) = &meta.when {
        writeln!(out, "when: {}", when.trim())?;
    }
    writeln!(out, "check: {}", meta.check.trim())?;
    writeln!(out, "missing: {}", meta.missing)?;
    for (j, answer) in judged.iter().flat_map(|j| j.verdicts.iter().map(move |a| (j, a))) {
        writeln!(out, "\n{}: {}", plain(&j.endpoint), answer.verdict)?;
        if let Some(reason) = answer.why.as_ref().and_then(|w| w.reason.as_ref()) {
            writeln!(out, "  reason: {}", plain(reason))?;
        }
        for row in answer.why.iter().flat_map(|w| &w.evidence) {
            writeln!(out, "  evidence: {}", plain(row))?;
        }
        if !is_applicable(answer.verdict) {
            writeln!(out, "  no evidence: the rule does not apply to this endpoint")?;
        }
        if answer.verdict == Verdict::Fail {
            writeln!(out, "  remediation: {}", meta.remediation.trim())?;
        }
    }
    Ok(out.flush()?)
}

#[derive(Serialize)]
struct ExplanationJson<'j> {
    endpoint: &'j str,
    digest: &'j str,
    rule: &'j str,
    verdict: Verdict,
    severity: Severity,
    reason: Option<&'j str>,
    evidence: &'j [String],
    when: Option<&'j str>,
    check: &'j str,
    missing: Verdict,
}

pub(super) fn explanations_json(judged: &[Judged<'_>], chosen: Chosen<'_>) -> anyhow::Result<()> {
    let meta = chosen.pack.meta(chosen.rule);
    let answers = judged.iter().flat_map(|j| j.verdicts.iter().map(move |a| (j, a)));
    let explained: Vec<_> = answers
        .map(|(j, a)| ExplanationJson {
            endpoint: &j.endpoint,
            digest: &j.digest,
            rule: &a.meta.id,
            verdict: a.verdict,
            severity: a.meta.severity,
            reason: a.why.as_ref().and_then(|w| w.reason.as_deref()),
            evidence: a.why.as_ref().map_or(&[], |w| w.evidence.as_slice()),
            when: meta.when.as_deref(),
            check: &meta.check,
            missing: meta.missing,
        })
        .collect();
    let mut out = output::stdout();
    out.json(&serde_json::json!({ "explanations": explained }))?;
    Ok(out.flush()?)
}
