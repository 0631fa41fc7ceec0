//! Why a rule of a SCAP profile has its verdict: the evaluator over the parsed scan, which is the definition, and the tests that decided.

use super::judge::facts;
use super::{Own, Scap, Way};
use crate::judge::Verdict;
use crate::judge::explain::Explanation;
use crate::oval::eval::Evaluation;
use crate::oval::model::{Content, DefinitionId, OvalResult, TestId};
use crate::oval::native::Plan;
use crate::pack::Pack;
use crate::pack::wire::index;
use crate::scan::Scan;
use crate::xccdf::model::Check;

/// Tests shown at most.
const EVIDENCE_MAX: usize = 8;

impl Scap {
    pub(in crate::pack) fn explain(&self, place: (u32, u32), scan: &Scan, now_s: i64) -> Explanation {
        let Some(opened) = self.opened.get(index(place.0)) else {
            return Explanation { verdict: Verdict::Error, reason: Some("the pack has no such baseline".to_owned()), evidence: Vec::new() };
        };
        let facts: Vec<_> = opened.profile.parts().map(|(p, n)| (p, facts(p, n, scan, &self.limits))).collect();
        let mut evaluations: Vec<_> = facts.iter().map(|(p, f)| Evaluation::new(p, f, now_s)).collect();
        let mut ask = |instance, definition| match evaluations.get_mut(index(instance)) {
            Some(evaluation) => evaluation.definition(definition),
            None => OvalResult::Error,
        };
        let verdict = opened.profile.judge.verdict(place.1, &mut ask);
        let messages = opened.profile.judge.judge_one(place.1, &mut ask);
        let reason = messages.into_iter().find_map(|r| r.message);
        let mut evidence = Vec::new();
        let check = opened.stored.baseline.items.get(index(place.1)).and_then(|i| i.rule.as_ref()?.check.as_ref());
        if let (Some(check), false) = (check, matches!(verdict, Verdict::NotApplicable | Verdict::NotSelected)) {
            let mut named = Vec::new();
            definitions(check, &mut named);
            for (instance, id) in named {
                let Some(evaluation) = evaluations.get_mut(index(instance)) else { continue };
                let content = opened.profile.prepared(instance).map(|p| p.content().clone()).unwrap_or_default();
                if let Some(definition) = content.definition(id) {
                    tests(&content, definition, evaluation, &mut evidence);
                }
            }
        }
        Explanation { verdict, reason, evidence }
    }
}

fn definitions<'c>(check: &'c Check, out: &mut Vec<(u32, &'c str)>) {
    match check {
        Check::Complex { of, .. } => of.iter().for_each(|c| definitions(c, out)),
        Check::Definition { instance, definition, .. } => out.push((*instance, definition)),
        Check::Document { .. } | Check::Unsupported { .. } | Check::Unbound { .. } => {}
    }
}

/// The tests of a definition with their results and reasons, those that are not true first.
fn tests(content: &Content, definition: DefinitionId, evaluation: &mut Evaluation<'_, '_, '_>, evidence: &mut Vec<String>) {
    let all: Vec<TestId> = super::compile::tests_of(content, [definition]).into_iter().collect();
    let mut judged: Vec<(TestId, OvalResult)> = all.into_iter().map(|t| (t, evaluation.test(t))).collect();
    judged.sort_by_key(|(_, result)| *result == OvalResult::True);
    for (test, result) in judged {
        if evidence.len() >= EVIDENCE_MAX {
            return;
        }
        let Some(about) = content.tests.get(test.index()) else { continue };
        let why = evaluation.why(test).map(|why| format!(" ({why})")).unwrap_or_default();
        evidence.push(format!("{}: {}: {}{why}", result.name(), about.id, about.comment));
    }
}

/// One test of a rule, and how it is answered: what `rules explain` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestWay {
    pub test: String,
    pub comment: String,
    pub how: String,
}

impl Scap {
    pub(in crate::pack) fn ways(&self, pack: &Pack, place: (u32, u32)) -> Vec<TestWay> {
        let Some(opened) = self.opened.get(index(place.0)) else { return Vec::new() };
        let mut out = Vec::new();
        for (instance, definitions) in opened.profile.reached(std::iter::once(place.1)) {
            let (Some((prepared, native)), Some(ways)) = (opened.profile.part(instance), opened.instances.get(index(instance))) else {
                continue;
            };
            for test in super::compile::tests_of(prepared.content(), definitions) {
                let Some(about) = prepared.content().tests.get(test.index()) else { continue };
                let how = match ways.ways.get(&test) {
                    Some(Way::Rows { own: Own::Term { term, table, .. }, .. }) => {
                        format!("row by row over `{}`, {}", table.name(), pack.plan_words(*term))
                    }
                    Some(Way::Rows { own: Own::Never(_), .. }) => {
                        let why = about.object.map(|o| native.plan(o));
                        let why = if let Some(Plan::Unsupported { why }) = why { why } else { "no table shows it" };
                        format!("only from uploads of SCAP collectors: {why}")
                    }
                    Some(Way::Endpoint(_)) | None => match about.object.map(|o| native.plan(o)) {
                        Some(Plan::PerEndpoint { why, .. }) => format!("run for each endpoint: {why}"),
                        Some(Plan::Variable { .. }) => "run for each endpoint: the values of a variable".to_owned(),
                        Some(Plan::Unsupported { why }) => format!("only from uploads of SCAP collectors: {why}"),
                        Some(Plan::Rows { .. }) => {
                            "run for each endpoint: its states compare with values that other objects give".to_owned()
                        }
                        None => "unknown: the test has no object".to_owned(),
                    },
                };
                out.push(TestWay { test: about.id.to_string(), comment: about.comment.to_string(), how });
            }
        }
        out
    }
}
