//! Rules with endpoint-level programs over the fleet: those need several rows of an endpoint at once, so endpoints are walked, and those with the same such rows share
//! what the programs say.

use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;

use super::answer::Kinds;
use super::{Answer, Asked};
use crate::fleet::image::ImageId;
use crate::fleet::rows::RowId;
use crate::fleet::{EndpointId, Fleet, Held};
use crate::judge::Verdict;
use crate::judge::joins::{Joins, Reading};
use crate::limits::Limits;
use crate::pack::predicate::Hit;
use crate::pack::program::Tallies;
use crate::pack::{RuleId, TermKind};

/// The question joins rows of endpoints that have too little in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it joins rows of an endpoint, and the endpoints have more than {limit} different sets of such rows (limits.question_joins); ask fewer endpoints"
)]
pub struct TooManyJoins {
    pub limit: usize,
}

/// Endpoints of one step, and programs run in it, at most: the fleet is locked meanwhile.
const ENDPOINTS: u32 = 8192;
const RUNS: usize = 16;

/// A walk over all endpoints. Each is looked at once, as it is then.
#[derive(Debug)]
pub struct Walk {
    rules: Vec<RuleId>,
    next: u32,
    verdicts: Vec<Vec<(u32, Verdict)>>,
    joins: Joins,
    epoch: u64,
}

impl Walk {
    pub fn new(rules: Vec<RuleId>) -> Walk {
        let verdicts = vec![Vec::new(); rules.len()];
        Walk { rules, next: 0, verdicts, joins: Joins::default(), epoch: 0 }
    }

    /// Goes on under a lock; whether it is through. INVARIANT: every row was asked ([`Asked::is_ready`]).
    pub fn step(&mut self, asked: &Asked, fleet: &Fleet, among: Option<&RoaringBitmap>, limits: &Limits) -> Result<bool, TooManyJoins> {
        if self.epoch != fleet.rows.epoch() {
            // Ids mean other rows now.
            self.joins.forget();
            self.epoch = fleet.rows.epoch();
        }
        // Images come and go between steps, and their ids are not used again.
        let ground = Ground::new(asked, fleet, &self.rules);
        let mut bases: HashMap<ImageId, Base> = HashMap::new();
        let mut tallies = Tallies::default();
        let (end, before) = (fleet.places(), self.joins.runs);
        let last = self.next.saturating_add(ENDPOINTS).min(end);
        while self.next < last && self.joins.runs - before < RUNS {
            let at = self.next;
            self.next += 1;
            if among.is_some_and(|a| !a.contains(at)) {
                continue;
            }
            let Some(held) = fleet.get(EndpointId(at)).and_then(|e| e.held.as_ref()) else { continue };
            let base = bases.entry(held.image).or_insert_with(|| ground.base(held.image));
            let states = held.tables.states();
            let joined = self.joins.say(asked.pack(), fleet, limits, held, |row| ground.joins(row));
            if self.joins.runs > limits.question_joins {
                return Err(TooManyJoins { limit: limits.question_joins });
            }
            for ((number, rule), verdicts) in self.rules.iter().enumerate().zip(&mut self.verdicts) {
                tallies.reset(asked.pack());
                ground.hits(number, base, held).for_each(|hit| tallies.add(asked.pack(), hit));
                verdicts.push((at, tallies.judge(asked.pack(), *rule, &states, &joined)));
            }
        }
        Ok(self.next >= end)
    }

    /// The answers, one a rule. They hold the verdict of each endpoint, so no lock need be kept.
    pub fn answers(self) -> Vec<(RuleId, Answer)> {
        self.rules.into_iter().zip(self.verdicts.into_iter().map(Answer::walked)).collect()
    }
}

/// For each rule what the rows of an image say.
type Base = Vec<Vec<(RowId, Hit)>>;

struct Ground<'a> {
    fleet: &'a Fleet,
    /// For each rule what rows say.
    kinds: Vec<Kinds>,
    concerned: HashSet<RowId>,
    reads: Reading<'a>,
}

impl<'a> Ground<'a> {
    fn new(asked: &'a Asked, fleet: &'a Fleet, rules: &[RuleId]) -> Ground<'a> {
        let pack = asked.pack();
        let concerns = rules.iter().flat_map(|r| pack.read_by(*r)).filter(|t| pack.term(**t).kind == TermKind::Concerns);
        let concerned = concerns.flat_map(|t| asked.said(*t)).map(|(row, _)| *row).collect();
        Ground { fleet, kinds: rules.iter().map(|r| Kinds::of(asked, *r)).collect(), concerned, reads: Reading::of(pack) }
    }

    /// Whether programs read a row.
    fn joins(&self, row: RowId) -> bool {
        self.reads.row(self.fleet.rows.table(row), || self.concerned.contains(&row))
    }

    fn base(&self, image: ImageId) -> Base {
        let rows = self.fleet.images.get(image).map_or(&[][..], |i| &i.rows);
        let said = |kinds: &Kinds| {
            let of = rows.iter().filter_map(|row| Some((*row, kinds.of_row(*row)?)));
            of.flat_map(|(row, kind)| kinds.hits(kind).iter().map(move |hit| (row, *hit))).collect()
        };
        self.kinds.iter().map(said).collect()
    }

    /// What an endpoint's rows say to a rule.
    fn hits<'b>(&'b self, rule: usize, base: &'b Base, held: &'b Held) -> impl Iterator<Item = Hit> + 'b {
        let own = base.get(rule).into_iter().flatten().filter(|(row, _)| held.minus.binary_search(row).is_err()).map(|(_, hit)| *hit);
        let kinds = self.kinds.get(rule);
        let beside = held.plus.iter().filter_map(move |row| Some(kinds?.hits(kinds?.of_row(*row)?)));
        own.chain(beside.flatten().copied())
    }
}
