//! Profiles, tailoring, platforms and scores against `oscap xccdf`.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::judge::Verdict;
use muster::limits::Limits;
use muster::oval::eval::Evaluation;
use muster::oval::syschar::{Bound, SystemCharacteristics, bind};
use muster::oval::truth::Compat;
use muster::xccdf::datastream::Source;
use muster::xccdf::judge::{Judge, RuleResult};
use muster::xccdf::model::Baseline;
use muster::xccdf::resolve::{Choice, resolve};
use muster::xccdf::score::scores;

use super::content::{data, unpacked};

fn judged(baseline: Baseline, facts: &[SystemCharacteristics], now: i64) -> (Arc<Baseline>, Vec<RuleResult>) {
    let judge = Judge::new(Arc::new(baseline), Compat::OpenScap, &Limits::default());
    let bound: Vec<Bound> = judge.prepared().iter().map(|p| bind(facts, p.content())).collect();
    let mut evaluations: Vec<Evaluation> = judge.prepared().iter().zip(&bound).map(|(p, b)| Evaluation::new(p, b, now)).collect();
    let results = judge.judge(&mut |instance, id| evaluations[usize::try_from(instance).unwrap()].definition(id));
    (Arc::clone(judge.baseline()), results)
}

fn profile(name: &str) -> Choice {
    Choice { profile: Some(name.to_owned()), ..Choice::default() }
}

#[test]
fn the_results_and_the_score_of_a_real_report() {
    let Some(data) = data("the ARF of CIS level 2") else { return };
    let limits = Limits { inflate_ratio: 10_000, ..Limits::default() };
    let source = Source::read("ds.xml", &std::fs::read(data.join("scap/ssg-debian12-ds-0.1.82.xml.gz")).unwrap(), &limits).unwrap();
    let (baseline, problems) = resolve(&source, &profile("cis_level2_server"), &limits).unwrap();
    assert!(problems.iter().all(|p| p.what.contains("not checked")), "{problems:?}");
    let arf = unpacked(&data.join("syschar/bookworm.cis_level2_server.arf.xml.gz"));
    let facts = SystemCharacteristics::parse(&arf, &limits).unwrap();
    assert_eq!(facts.len(), 2);
    let (baseline, results) = judged(baseline, &facts, 0);
    let expected = std::fs::read_to_string(data.join("syschar/bookworm.cis_level2_server.rules.tsv")).unwrap();
    let expected: BTreeMap<&str, &str> = expected.lines().filter_map(|l| l.split_once('\t')).collect();
    let got: BTreeMap<&str, &str> =
        results.iter().map(|r| (baseline.items[usize::try_from(r.item).unwrap()].id.as_str(), r.verdict.name())).collect();
    let differs: Vec<_> = expected.iter().filter(|(id, v)| got.get(*id) != Some(v)).map(|(id, v)| (id, v, got.get(id))).collect();
    assert_eq!(differs, [], "{} of {}", differs.len(), expected.len());
    assert_eq!(got.len(), expected.len());
    let count = |v| results.iter().filter(|r| r.verdict == v).count();
    assert_eq!([Verdict::Pass, Verdict::Fail, Verdict::NotApplicable, Verdict::Unknown].map(count), [134, 18, 354, 1]);
    // OpenSCAP adds in single precision.
    assert!((scores(&baseline, &results)[0].score - 65.394844).abs() < 1e-4);
}
