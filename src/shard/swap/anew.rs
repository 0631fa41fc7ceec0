//! What another pack says of endpoints, beside what the present one does: answers of rows carried over or asked anew, and endpoints judged by them one at a time.
//!
//! Rows are asked the terms that the packs have not in common. INVARIANT: what is kept here for a row is what [`Pack::ask`] of the new pack gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::Change;
use crate::fleet::image::{ImageId, Says, said_to};
use crate::fleet::rows::{RowId, ask};
use crate::fleet::{Fleet, Held};
use crate::judge::inverted::Asked;
use crate::judge::joins::{Joins, Reading};
use crate::limits::Limits;
use crate::pack::predicate::Hit;
use crate::pack::program::Tallies;
use crate::pack::{Joined, Pack, RuleId, TermId};
use crate::scan::table::TableId;

/// Rows that are carried over, and that are asked, at most in one look.
const CARRIED: usize = 2048;
const ASKED: usize = 512;
/// Rows of images that are gone through in one look, about.
const IMAGE_ROWS: usize = 16_384;

/// What rows say to the new pack.
#[derive(Default)]
pub(super) struct Anew {
    /// By row.
    pub(super) hits: Vec<Box<[Hit]>>,
    pub(super) says: BTreeMap<ImageId, Says>,
    /// How many rows of each table, from the first on, are in `hits`.
    carried: BTreeMap<TableId, usize>,
    /// What rows said to fresh terms, by row.
    fresh: Vec<(RowId, Hit)>,
    /// The last image that was gone through.
    image: Option<ImageId>,
}

impl Anew {
    /// Takes what rows said to the terms that were asked.
    pub(super) fn take_fresh(&mut self, asked: &Asked, fresh: &[bool]) {
        let terms = (0..).zip(fresh).filter(|(_, fresh)| **fresh).map(|(term, _)| term);
        let hits = |term: TermId| asked.said(term).iter().map(move |(row, answer)| (*row, Hit { term, answer: *answer }));
        self.fresh = terms.flat_map(hits).collect();
        self.fresh.sort_unstable_by_key(|(row, hit)| (*row, hit.term));
    }

    fn fresh_of(&self, row: RowId) -> &[(RowId, Hit)] {
        let from = self.fresh.partition_point(|(other, _)| *other < row);
        let rest = self.fresh.get(from..).unwrap_or_default();
        rest.get(..rest.partition_point(|(other, _)| *other == row)).unwrap_or_default()
    }

    /// Goes on with the rows, as far as one look may take: carries over what they said, and asks those that came after the others were. Whether all are there.
    pub(super) fn carry(&mut self, fleet: &Fleet, change: &Change, asked: &mut Asked, limits: &Limits) -> bool {
        let (mut left, mut asks) = (CARRIED, ASKED);
        for table in TableId::all() {
            let rows = fleet.index().rows(table);
            let from = self.carried.get(&table).copied().unwrap_or(0);
            let were = asked.done(table);
            for (at, row) in rows.iter().enumerate().skip(from) {
                if left == 0 || asks == 0 {
                    return false;
                }
                left -= 1;
                let hits: Box<[Hit]> = if were.is_none_or(|done| at < done) {
                    let carried = self.carried_over(fleet.rows.hits(*row), change, *row);
                    asked.hear(*row, &carried.0);
                    carried.1.into()
                } else {
                    // Only endpoints that were touched have it, and those are judged one by one.
                    asks -= 1;
                    ask(&change.pack, table, fleet.rows.bytes(*row), limits)
                };
                self.put(*row, hits);
                self.carried.insert(table, at + 1);
            }
        }
        true
    }

    /// What a row said to terms that both packs have, and that with what it said to fresh ones.
    fn carried_over(&self, hits: &[Hit], change: &Change, row: RowId) -> (Vec<Hit>, Vec<Hit>) {
        let renumbered = |hit: &Hit| change.same.term(hit.term).map(|term| Hit { term, answer: hit.answer });
        let carried: Vec<Hit> = hits.iter().filter_map(renumbered).collect();
        let mut all = carried.clone();
        all.extend(self.fresh_of(row).iter().map(|(_, hit)| *hit));
        all.sort_unstable_by_key(|hit| hit.term);
        (carried, all)
    }

    fn put(&mut self, row: RowId, hits: Box<[Hit]>) {
        let slot = row as usize;
        if self.hits.len() <= slot {
            self.hits.resize_with(slot + 1, Box::default);
        }
        self.hits[slot] = hits;
    }

    /// Every row was carried over: what fresh terms heard is in `hits` now.
    pub(super) fn carried(&mut self) {
        self.fresh = Vec::new();
    }

    pub(super) fn hits(&self, row: RowId) -> &[Hit] {
        self.hits.get(row as usize).map_or(&[], |hits| hits)
    }

    /// Goes on with the images. Whether all are there.
    pub(super) fn add_images(&mut self, fleet: &Fleet) -> bool {
        let mut rows = 0;
        for (id, image) in fleet.images.after(self.image) {
            if rows > IMAGE_ROWS {
                return false;
            }
            rows += image.rows.len();
            let says = image.said_by(|row| self.hits(row));
            self.says.insert(id, says);
            self.image = Some(id);
        }
        true
    }
}

/// Judges endpoints by the new pack.
#[derive(Default)]
pub(super) struct Judge {
    tallies: Tallies,
    pub(super) joins: Joins,
}

/// What it judges by.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) change: &'a Change,
    pub(super) anew: &'a Anew,
    pub(super) fleet: &'a Fleet,
    pub(super) limits: &'a Limits,
}

impl Ground<'_> {
    fn pack(&self) -> &Pack {
        &self.change.pack
    }

    fn hits(&self, row: RowId) -> &[Hit] {
        self.anew.hits(row)
    }
}

impl Judge {
    /// The verdicts of some rules, which read these terms, for one endpoint. Both lists are sorted.
    pub(super) fn verdicts(&mut self, ground: Ground<'_>, held: &Held, rules: &[RuleId], terms: &[TermId]) -> Vec<u8> {
        let (pack, states) = (ground.pack(), held.tables.states());
        let joins = rules.iter().any(|rule| pack.needs_joins(*rule));
        let joined = if joins { self.joined(ground, held) } else { Arc::default() };
        let tallies = &mut self.tallies;
        tallies.reset(pack);
        let says = ground.anew.says.get(&held.image).map_or(&[][..], |says| says);
        terms.iter().flat_map(|term| said_to(says, *term, &held.minus)).for_each(|(hit, _)| tallies.add(pack, hit));
        let own = held.plus.iter().flat_map(|row| ground.hits(*row)).filter(|hit| terms.binary_search(&hit.term).is_ok());
        own.for_each(|hit| tallies.add(pack, *hit));
        rules.iter().map(|rule| tallies.judge(pack, *rule, &states, &joined) as u8).collect()
    }

    fn joined(&mut self, Ground { change, anew, fleet, limits }: Ground<'_>, held: &Held) -> Arc<Joined> {
        let reads = Reading::of(&change.pack);
        self.joins.bound();
        self.joins.say(&change.pack, fleet, limits, held, |row| reads.row_that_says(fleet.rows.table(row), anew.hits(row)))
    }
}
