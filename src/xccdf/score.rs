//! The four scores of XCCDF 1.2 over rule results (NISTIR 7275r4, tables 40 and 41).

use std::collections::BTreeMap;

use super::judge::{RuleResult, both};
use super::model::{Baseline, Item, Role};
use crate::judge::Verdict;
use crate::oval::truth::Compat;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    pub system: &'static str,
    pub score: f64,
    pub maximum: f64,
}

pub const DEFAULT: &str = "urn:xccdf:scoring:default";
pub const FLAT: &str = "urn:xccdf:scoring:flat";
pub const FLAT_UNWEIGHTED: &str = "urn:xccdf:scoring:flat-unweighted";
pub const ABSOLUTE: &str = "urn:xccdf:scoring:absolute";

/// Default, flat, flat-unweighted and absolute. Several results of one rule are combined as by AND. (OpenSCAP takes one of them.)
pub fn scores(baseline: &Baseline, results: &[RuleResult], compat: Compat) -> [Score; 4] {
    let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
    for result in results {
        verdicts.entry(result.item).and_modify(|v| *v = both(*v, result.verdict)).or_insert(result.verdict);
    }
    let passed = |n: u32, item: &Item| -> Option<bool> {
        item.rule.as_ref().filter(|r| r.role(compat) != Role::Unscored)?;
        match verdicts.get(&n)? {
            Verdict::Pass | Verdict::Fixed => Some(true),
            Verdict::Fail | Verdict::Error | Verdict::Unknown => Some(false),
            Verdict::NotSelected | Verdict::NotApplicable | Verdict::Informational | Verdict::NotChecked => None,
        }
    };
    let counted: Vec<Option<bool>> = (0u32..).zip(&baseline.items).map(|(n, item)| passed(n, item)).collect();
    let (mut flat, mut unweighted) = ((0.0, 0.0), (0.0, 0.0));
    for (item, passed) in baseline.items.iter().zip(&counted) {
        let Some(passed) = passed else { continue };
        flat.1 += item.weight(compat);
        unweighted.1 += 1.0;
        if *passed {
            flat.0 += item.weight(compat);
            unweighted.0 += 1.0;
        }
    }
    // Both sums add the same weights in the same order: equality is exact.
    let absolute = if flat.0 == flat.1 { 1.0 } else { 0.0 };
    [
        Score { system: DEFAULT, score: tree(baseline, &counted, compat), maximum: 100.0 },
        Score { system: FLAT, score: flat.0, maximum: flat.1 },
        Score { system: FLAT_UNWEIGHTED, score: unweighted.0, maximum: unweighted.1 },
        Score { system: ABSOLUTE, score: absolute, maximum: flat.1 },
    ]
}

#[derive(Clone, Copy, Default)]
struct Sum {
    score: f64,
    weight: f64,
    count: u32,
}

impl Sum {
    fn normal(self) -> f64 {
        if self.count > 0 && self.weight > 0.0 { self.score / self.weight } else { self.score }
    }

    fn add(&mut self, score: f64, weight: f64) {
        self.score += score * weight;
        self.weight += weight;
        self.count += 1;
    }
}

/// The default score: each group is the weighted mean of what counts within it. Children stand behind their parents, so one pass from the
/// end meets every group when it is complete.
fn tree(baseline: &Baseline, counted: &[Option<bool>], compat: Compat) -> f64 {
    let mut sums = vec![Sum::default(); baseline.items.len()];
    let mut top = Sum::default();
    for (n, item) in baseline.items.iter().enumerate().rev() {
        let own = match (&item.rule, counted.get(n).copied().flatten()) {
            (Some(_), Some(passed)) => Some(if passed { 100.0 } else { 0.0 }),
            (Some(_), None) => None,
            (None, _) => sums.get(n).filter(|s| s.count > 0).map(|s| s.normal()),
        };
        let Some(own) = own else { continue };
        let parent = item.parent.and_then(|p| usize::try_from(p).ok()).filter(|p| *p < n);
        match parent.and_then(|p| sums.get_mut(p)) {
            Some(sum) => sum.add(own, item.weight(compat)),
            None => top.add(own, item.weight(compat)),
        }
    }
    top.normal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xccdf::model::RuleBody;

    /// Two groups of weight 1 and 3, with two rules and one rule; a rule beside them.
    #[test]
    fn groups_are_means_of_what_counts() {
        let item = |parent: Option<u32>, weight: f64, rule: bool, role: Role| Item {
            id: String::new(),
            parent,
            title: String::new(),
            description: String::new(),
            weight,
            published_weight: 1.0,
            selected: true,
            platforms: Vec::new(),
            rule: rule.then(|| RuleBody { role, ..RuleBody::default() }),
        };
        let items = vec![
            item(None, 1.0, false, Role::Full),
            item(Some(0), 1.0, true, Role::Full),
            item(Some(0), 4.0, true, Role::Full),
            item(Some(0), 9.0, true, Role::Unscored),
            item(None, 3.0, false, Role::Full),
            item(Some(4), 1.0, true, Role::Full),
            item(None, 1.0, true, Role::Full),
            item(None, 50.0, false, Role::Full),
        ];
        let baseline = Baseline { items, ..Baseline::default() };
        let verdicts = [(1, Verdict::Pass), (2, Verdict::Error), (3, Verdict::Fail), (5, Verdict::Fixed), (6, Verdict::NotApplicable)];
        let result = |(item, verdict)| RuleResult { item, verdict, message: None, definition: None };
        let results: Vec<RuleResult> = verdicts.into_iter().map(result).collect();
        let got = scores(&baseline, &results, Compat::Specification).map(|s| (s.score, s.maximum));
        // (20 * 1 + 100 * 3) / 4
        assert_eq!(got, [(80.0, 100.0), (2.0, 6.0), (2.0, 3.0), (0.0, 6.0)]);
        let got = scores(&baseline, &results, Compat::OpenScap).map(|s| (s.score, s.maximum));
        assert_eq!(got, [(75.0, 100.0), (2.0, 3.0), (2.0, 3.0), (0.0, 3.0)]);
        // Of several results of a rule, one that fails is enough.
        let twice = [result((1, Verdict::Pass)), result((1, Verdict::Fail)), result((5, Verdict::Pass))];
        assert_eq!(scores(&baseline, &twice, Compat::Specification)[2].score, 1.0);
    }
}
