//! What another pack and policy change: which rules must be judged anew, and which verdicts are carried over.

use std::sync::Arc;

use crate::judge::Verdict;
use crate::pack::{Pack, RuleId, Same, TermId};
use crate::policy::Resolved;
use crate::shard::Shard;

pub(super) struct Change {
    pub(super) old: Arc<Pack>,
    pub(super) pack: Arc<Pack>,
    pub(super) same: Same,
    /// By rule of the new pack: the one of the old pack whose verdicts are its own.
    pub(super) kept: Vec<Option<RuleId>>,
    /// Rules to judge, sorted: those that rows answer, and those that need endpoint-level programs.
    pub(super) plain: Vec<RuleId>,
    pub(super) joined: Vec<RuleId>,
    pub(super) judged: Vec<RuleId>,
    /// Rules whose verdicts may turn, on both sides: judged anew, left out, or gone. By id.
    pub(super) turning: Vec<Turning>,
    /// The terms that the rules to judge read, all of them and those of the joined ones only.
    pub(super) terms: Vec<TermId>,
    pub(super) joined_terms: Vec<TermId>,
}

/// At which endpoints a rule has the verdict that it is not selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    Nowhere,
    Somewhere,
    Everywhere,
}

impl LeftOut {
    pub(super) fn of(shard: &Shard) -> Vec<LeftOut> {
        let classes = &shard.fleet.classes;
        let held = classes.held();
        // Endpoints that come while a lane is under way are judged by the present policy, whatever those say that are there.
        let selected = |rule: RuleId| shard.policy.selected.get(rule.index()).is_none_or(|s| *s);
        let of = |rule: RuleId| match classes.endpoints(rule, Verdict::NotSelected) as usize {
            0 if selected(rule) => LeftOut::Nowhere,
            all if all == held && !selected(rule) => LeftOut::Everywhere,
            _ => LeftOut::Somewhere,
        };
        shard.pack.rules().map(of).collect()
    }
}

/// A rule before and after.
pub(super) struct Turning {
    pub(super) id: Box<str>,
    pub(super) old: Option<RuleId>,
    pub(super) new: Option<RuleId>,
}

impl Change {
    pub(super) fn new(old: Arc<Pack>, before: &[LeftOut], pack: Arc<Pack>, after: &Resolved) -> Change {
        let same = Same::of(&old, &pack);
        let selected = |rule: RuleId| after.selected.get(rule.index()).is_none_or(|s| *s);
        // What is left out of verdicts is what these say, not a policy: the one before a restart is not known.
        let stays = |old: &RuleId, rule: RuleId| match before.get(old.index()) {
            Some(LeftOut::Nowhere) | None => selected(rule),
            Some(LeftOut::Everywhere) => !selected(rule),
            Some(LeftOut::Somewhere) => false,
        };
        let kept: Vec<Option<RuleId>> = pack.rules().map(|rule| same.rule(rule).filter(|old| stays(old, rule))).collect();
        let changed = || pack.rules().zip(&kept).filter(|(_, kept)| kept.is_none()).map(|(rule, _)| rule);
        let judged: Vec<RuleId> = changed().filter(|rule| selected(*rule)).collect();
        let (joined, plain): (Vec<RuleId>, Vec<RuleId>) = judged.iter().partition(|rule| pack.needs_joins(**rule));
        let terms_of = |rules: &[RuleId]| {
            let mut terms: Vec<TermId> = rules.iter().flat_map(|rule| pack.read_by(*rule)).copied().collect();
            terms.sort_unstable();
            terms.dedup();
            terms
        };
        let (terms, joined_terms) = (terms_of(&judged), terms_of(&joined));
        let mut turning: Vec<Turning> =
            changed().map(|rule| Turning { id: pack.rule_id(rule).into(), old: old.find(pack.rule_id(rule)), new: Some(rule) }).collect();
        let gone = old.rules().filter(|rule| pack.find(old.rule_id(*rule)).is_none());
        turning.extend(gone.map(|rule| Turning { id: old.rule_id(rule).into(), old: Some(rule), new: None }));
        turning.sort_by(|a, b| a.id.cmp(&b.id));
        Change { old, pack, same, kept, plain, joined, judged, turning, terms, joined_terms }
    }

    /// Whether rows say the same as before under the same numbers.
    pub(super) fn same_pack(&self) -> bool {
        self.old.digest() == self.pack.digest()
    }

    /// Whether verdict vectors stay what they are.
    pub(super) fn is_quiet(&self) -> bool {
        self.same_pack() && self.turning.is_empty()
    }

    /// By term: whether the rules that are judged by rows read it.
    pub(super) fn heard(&self) -> Vec<bool> {
        let mut heard = vec![false; self.pack.term_count()];
        let fresh = (0..).zip(self.same.fresh()).filter(|(_, fresh)| **fresh).map(|(term, _)| term);
        let read = self.plain.iter().flat_map(|rule| self.pack.read_by(*rule)).copied();
        for term in fresh.chain(read) {
            if let Some(heard) = heard.get_mut(term as usize) {
                *heard = true;
            }
        }
        heard
    }

    /// Whether a rule of the new pack is judged or left out anew.
    pub(super) fn turns(&self, rule: RuleId) -> bool {
        self.kept.get(rule.index()).is_none_or(Option::is_none)
    }

    /// Whether a rule of this id is among those that turn.
    pub(super) fn turns_id(&self, id: &str) -> bool {
        self.turning.binary_search_by(|t| (*t.id).cmp(id)).is_ok()
    }
}
