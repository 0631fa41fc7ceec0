//! Runs the tests that rules carry: by the definition of a verdict and by the compiled pack, which must agree.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use muster::judge::explain::{Judged, explain};
use muster::judge::{Verdict, forward};
use muster::limits::Limits;
use muster::pack::compile::applies;
use muster::pack::{Pack, compile};
use muster::rule::{Rule, RulePack, RuleTest};
use rayon::prelude::*;

use super::super::output::Out;
use super::super::packs::{self, Source};
use super::{Outcome, count, print_problems};

pub(super) fn run(paths: &[PathBuf], limits: &Limits, out: &mut Out) -> anyhow::Result<Outcome> {
    let sources = packs::read(paths, &packs::Streams::default(), limits)?;
    if !sources.problems.is_empty() {
        print_problems(&sources.problems, out)?;
        return Ok(Outcome::NotCompliant);
    }
    let rule_packs: Vec<RulePack> = sources.packs.iter().map(|s| s.pack.clone()).collect();
    let pack = Pack::from_bytes(compile(&rule_packs, &[]))?;
    let rules: Vec<(&Source, &Rule)> = sources.rules().collect();
    let failures: Vec<String> = rules.par_iter().flat_map_iter(|(source, rule)| of_rule(source, rule, &pack)).collect();
    for failure in &failures {
        writeln!(out, "{failure}")?;
    }
    let tests: usize = rules.iter().map(|(_, r)| r.tests.len()).sum();
    let all = format!("{} of {}", count(tests, "test"), count(rules.len(), "rule"));
    match failures.len() {
        0 => writeln!(out, "{all} passed")?,
        failed => writeln!(out, "{failed} of {all} failed")?,
    }
    Ok(Outcome::fine_if(failures.is_empty()))
}

fn of_rule<'a>(source: &'a Source, rule: &'a Rule, pack: &'a Pack) -> impl Iterator<Item = String> + 'a {
    let applies = applies(&rule.platforms, rule.when.as_ref());
    rule.tests.iter().filter_map(move |test| {
        let judged = Judged { applies: &applies, check: &rule.check, missing: rule.missing };
        let place = format!("{}:{}: {}", source.file_of(&rule.id).display(), test.line, rule.id);
        failure(judged, test, compiled(pack, rule, test)).map(|why| format!("{place}: {why}"))
    })
}

fn compiled(pack: &Pack, rule: &Rule, test: &RuleTest) -> Option<Verdict> {
    let verdicts = forward::judge_scan(pack, &test.scan, 0);
    pack.find(&rule.id).and_then(|id| verdicts.get(id.index()).copied())
}

/// What is wrong, with what led to the verdict.
fn failure(judged: Judged<'_>, test: &RuleTest, compiled: Option<Verdict>) -> Option<String> {
    let explanation = explain(judged, &test.scan);
    let mut out = String::new();
    if explanation.verdict != test.expect {
        write!(out, "expected {}, got {}", test.expect, explanation.verdict).ok()?;
    } else if compiled != Some(test.expect) {
        write!(out, "expected {}, and the rule says so, but compiled it does not", test.expect).ok()?;
    } else {
        return None;
    }
    if compiled != Some(explanation.verdict) {
        let said = compiled.map_or("nothing", Verdict::name);
        write!(out, "\n    bug in muster, please report it: compiled the verdict is {said}").ok()?;
    }
    if let Some(reason) = &explanation.reason {
        write!(out, "\n    reason: {reason}").ok()?;
    }
    for row in &explanation.evidence {
        write!(out, "\n    evidence: {row}").ok()?;
    }
    Some(out)
}
