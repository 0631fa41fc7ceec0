//! Rules with endpoint-level programs over the fleet: those need several rows of an endpoint at once, so endpoints are walked, and those with the same such rows share
//! what the programs say.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;

use super::answer::Kinds;
use super::{Answer, Asked};
use crate::fleet::image::ImageId;
use crate::fleet::rows::RowId;
use crate::fleet::{EndpointId, Fleet, Held};
use crate::judge::Verdict;
use crate::limits::Limits;
use crate::pack::predicate::Hit;
use crate::pack::program::{TableStates, Tallies};
use crate::pack::{Joined, Pack, RuleId, TermKind};
use crate::scan::table::TableId;

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
const DAY_MS: i64 = 24 * 3_600_000;

/// Which tables were collected, the day of the scan, and the rows that endpoint-level programs read.
type Read = (TableStates, i64, Box<[RowId]>);

/// A walk over all endpoints. Each is looked at once, as it is then.
#[derive(Debug)]
pub struct Walk {
    rules: Vec<RuleId>,
    next: u32,
    verdicts: Vec<Vec<(u32, Verdict)>>,
    known: HashMap<Read, Arc<Joined>>,
    /// Of endpoints that are as their image in all that is joined.
    plain: HashMap<(ImageId, TableStates, i64), Arc<Joined>>,
    runs: usize,
    epoch: u64,
}

impl Walk {
    pub fn new(rules: Vec<RuleId>) -> Walk {
        let verdicts = vec![Vec::new(); rules.len()];
        Walk { rules, next: 0, verdicts, known: HashMap::new(), plain: HashMap::new(), runs: 0, epoch: 0 }
    }

    /// Goes on under a lock; whether it is through. INVARIANT: every row was asked ([`Asked::is_ready`]).
    pub fn step(&mut self, asked: &Asked, fleet: &Fleet, among: Option<&RoaringBitmap>, limits: &Limits) -> Result<bool, TooManyJoins> {
        if self.epoch != fleet.rows.epoch() {
            // Ids mean other rows now.
            self.known.clear();
            self.epoch = fleet.rows.epoch();
        }
        // Images come and go between steps, and their ids are not used again.
        let ground = Ground::new(asked, fleet, &self.rules);
        let mut bases: HashMap<ImageId, Base> = HashMap::new();
        let mut tallies = Tallies::default();
        let (end, before) = (fleet.places(), self.runs);
        let last = self.next.saturating_add(ENDPOINTS).min(end);
        while self.next < last && self.runs - before < RUNS {
            let at = self.next;
            self.next += 1;
            if among.is_some_and(|a| !a.contains(at)) {
                continue;
            }
            let Some(held) = fleet.get(EndpointId(at)).and_then(|e| e.held.as_ref()) else { continue };
            let base = bases.entry(held.image).or_insert_with(|| ground.base(held.image));
            let states = held.tables.states();
            let joined = self.joined(&ground, base, held, &states, limits)?;
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

    fn joined(
        &mut self,
        ground: &Ground<'_>,
        base: &Base,
        held: &Held,
        states: &TableStates,
        limits: &Limits,
    ) -> Result<Arc<Joined>, TooManyJoins> {
        // Variables that are differences to the time of the scan count in seconds, and conditions on them in days.
        let day = if ground.pack.has_endpoint_tests() { held.received_ms.div_euclid(DAY_MS) } else { 0 };
        let deviates = held.plus.iter().chain(&held.minus).any(|row| ground.joins(*row));
        if !deviates && let Some(known) = self.plain.get(&(held.image, *states, day)) {
            return Ok(known.clone());
        }
        let mut rows: Vec<RowId> = base.joined.iter().filter(|row| held.minus.binary_search(row).is_err()).copied().collect();
        rows.extend(held.plus.iter().filter(|row| ground.joins(**row)));
        rows.sort_unstable();
        let key = (*states, day, rows.into_boxed_slice());
        let joined = match self.known.get(&key) {
            Some(known) => known.clone(),
            None => {
                self.runs += 1;
                if self.runs > limits.question_joins {
                    return Err(TooManyJoins { limit: limits.question_joins });
                }
                let scan = ground.fleet.scan_from("", &key.2, &held.tables, None, limits);
                let joined = Arc::new(ground.pack.run_joins(&scan, day * (DAY_MS / 1000)));
                self.known.insert(key, joined.clone());
                joined
            }
        };
        if !deviates {
            self.plain.insert((held.image, *states, day), joined.clone());
        }
        Ok(joined)
    }
}

/// What an image brings to the rules.
struct Base {
    /// Its rows that programs join, sorted.
    joined: Vec<RowId>,
    /// For each rule what its rows say.
    hits: Vec<Vec<(RowId, Hit)>>,
}

struct Ground<'a> {
    pack: &'a Pack,
    fleet: &'a Fleet,
    /// For each rule what rows say.
    kinds: Vec<Kinds>,
    concerned: HashSet<RowId>,
    scope: Option<TableId>,
}

impl<'a> Ground<'a> {
    fn new(asked: &'a Asked, fleet: &'a Fleet, rules: &[RuleId]) -> Ground<'a> {
        let pack = asked.pack();
        let concerns = rules.iter().flat_map(|r| pack.read_by(*r)).filter(|t| pack.term(**t).kind == TermKind::Concerns);
        let concerned = concerns.flat_map(|t| asked.said(*t)).map(|(row, _)| *row).collect();
        let scope = TableId::by_name("scope").filter(|_| pack.has_endpoint_tests());
        Ground { pack, fleet, kinds: rules.iter().map(|r| Kinds::of(asked, *r)).collect(), concerned, scope }
    }

    /// Whether programs read a row.
    fn joins(&self, row: RowId) -> bool {
        let table = self.fleet.rows.table(row);
        table.is_some_and(|t| self.pack.join_tables().contains(&t) || Some(t) == self.scope) || self.concerned.contains(&row)
    }

    fn base(&self, image: ImageId) -> Base {
        let rows = self.fleet.images.get(image).map_or(&[][..], |i| &i.rows);
        let joined = rows.iter().filter(|row| self.joins(**row)).copied().collect();
        let said = |kinds: &Kinds| {
            let of = rows.iter().filter_map(|row| Some((*row, kinds.of_row(*row)?)));
            of.flat_map(|(row, kind)| kinds.hits(kind).iter().map(move |hit| (row, *hit))).collect()
        };
        Base { joined, hits: self.kinds.iter().map(said).collect() }
    }

    /// What an endpoint's rows say to a rule.
    fn hits<'b>(&'b self, rule: usize, base: &'b Base, held: &'b Held) -> impl Iterator<Item = Hit> + 'b {
        let own = base.hits.get(rule).into_iter().flatten().filter(|(row, _)| held.minus.binary_search(row).is_err()).map(|(_, hit)| *hit);
        let kinds = self.kinds.get(rule);
        let beside = held.plus.iter().filter_map(move |row| Some(kinds?.hits(kinds?.of_row(*row)?)));
        own.chain(beside.flatten().copied())
    }
}
