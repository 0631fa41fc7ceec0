//! Judging one endpoint: all rules over what its rows said when they were new, or only the rules that a change can have turned.

use std::sync::Arc;

use super::Shard;
use crate::fleet::Held;
use crate::fleet::classes::ClassId;
use crate::fleet::rows::RowId;
use crate::judge::joins::Reading;
use crate::judge::{Verdict, forward};
use crate::pack::{Joined, RuleId, TermId};

/// Verdicts after a change.
pub(super) enum Judged {
    Same,
    All(Vec<u8>),
}

impl Shard {
    /// Verdicts of all rules.
    pub(super) fn judge(&mut self, held: &Held) -> Vec<u8> {
        let states = held.tables.states();
        let joined = self.joined(held);
        let Shard { fleet, pack, tallies, policy, .. } = self;
        let mut verdicts = Vec::with_capacity(pack.rule_count());
        forward::judge(pack, fleet.hits_of(held), &states, tallies, &joined, &mut verdicts);
        select(&mut verdicts, &policy.selected);
        verdicts
    }

    /// The verdicts of an endpoint that had those of a class, and the same tables, before rows came or went that affect these rules.
    pub(super) fn judge_changed(&mut self, before: ClassId, held: &Held, rules: &[RuleId]) -> Judged {
        // A class of an unknown pack has no verdicts.
        if self.fleet.classes.rules(before) != self.pack.rule_count() {
            return Judged::All(self.judge(held));
        }
        if rules.is_empty() {
            return Judged::Same;
        }
        let states = held.tables.states();
        let joins = rules.iter().any(|r| self.pack.needs_joins(*r));
        let joined = if joins { self.joined(held) } else { Arc::default() };
        let Shard { fleet, pack, tallies, policy, .. } = self;
        let mut terms: Vec<TermId> = rules.iter().flat_map(|r| pack.read_by(*r)).copied().collect();
        terms.sort_unstable();
        terms.dedup();
        tallies.reset(pack);
        if let Some(image) = fleet.images.get(held.image) {
            terms.iter().flat_map(|term| image.says_to(*term, &held.minus)).for_each(|(hit, _)| tallies.add(pack, hit));
        }
        let own = held.plus.iter().flat_map(|r| fleet.rows.hits(*r)).filter(|hit| terms.binary_search(&hit.term).is_ok());
        own.for_each(|hit| tallies.add(pack, *hit));
        let selected = |rule: RuleId| policy.selected.get(rule.index()).is_none_or(|s| *s);
        let judged = rules.iter().copied().filter(|r| selected(*r)).map(|rule| (rule, tallies.judge(pack, rule, &states, &joined) as u8));
        let turned: Vec<(RuleId, u8)> = judged.filter(|(rule, verdict)| fleet.classes.verdict(before, *rule) as u8 != *verdict).collect();
        if turned.is_empty() {
            return Judged::Same;
        }
        let mut verdicts = fleet.classes.verdicts(before);
        turned.into_iter().for_each(|(rule, verdict)| verdicts[rule.index()] = verdict);
        Judged::All(verdicts)
    }

    /// The rules whose verdict can turn when these rows come or go, sorted. A rule reads nothing but its terms, and a term answers otherwise only when a row that says something
    /// to it comes or goes: all other verdicts are as they were.
    pub(super) fn affected<'r>(&self, touched: impl Iterator<Item = &'r RowId>) -> Vec<RuleId> {
        let mut terms = Vec::new();
        let mut joined = false;
        for row in touched {
            terms.extend(self.fleet.rows.hits(*row).iter().map(|hit| hit.term));
            joined |= self.fleet.rows.table(*row).is_some_and(|t| self.pack.join_tables().contains(&t));
        }
        if terms.is_empty() && !joined {
            return Vec::new();
        }
        // In a patch wave hundreds of rows say something to the same terms, and many rules read those: each is marked, and not sorted among all.
        terms.sort_unstable();
        terms.dedup();
        let mut affected = vec![false; self.pack.rule_count()];
        let joined = if joined { self.pack.joined_rules() } else { &[] };
        terms.iter().flat_map(|term| self.pack.readers(*term)).chain(joined).for_each(|rule| affected[rule.index()] = true);
        self.pack.rules().filter(|rule| affected[rule.index()]).collect()
    }

    /// What the endpoint-level parts of the pack say. Endpoints with the same rows of those that they read share it.
    fn joined(&mut self, held: &Held) -> Arc<Joined> {
        let Shard { fleet, pack, joins, limits, .. } = self;
        let reads = Reading::of(pack);
        joins.bound();
        joins.say(pack, fleet, limits, held, |row| reads.row_that_says(fleet.rows.table(row), fleet.rows.hits(row)))
    }
}

/// The verdict of a rule that the policy leaves out is that it is not selected.
pub(super) fn select(verdicts: &mut [u8], selected: &[bool]) {
    for (verdict, selected) in verdicts.iter_mut().zip(selected) {
        if !selected {
            *verdict = Verdict::NotSelected as u8;
        }
    }
}
