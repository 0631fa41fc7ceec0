//! Endpoint-level programs, run once for each set of rows that they read: `an endpoint, which rows programs read -> what they say`.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::fleet::image::ImageId;
use crate::fleet::rows::RowId;
use crate::fleet::{Fleet, Held};
use crate::limits::Limits;
use crate::pack::predicate::Hit;
use crate::pack::program::TableStates;
use crate::pack::{Joined, Pack};
use crate::scan::table::TableId;

const DAY_MS: i64 = 24 * 3_600_000;

/// When a scan was taken, as programs are told, in seconds since 1970. Variables that are differences to it count in seconds, and conditions on them in days.
pub fn day_s(held: &Held) -> i64 {
    held.received_ms.div_euclid(DAY_MS) * (DAY_MS / 1000)
}

/// Which rows endpoint-level programs of a pack read: those of the tables that they join, those that concern OVAL tests, and what was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'p> {
    pack: &'p Pack,
    tests: bool,
    scope: Option<TableId>,
}

impl<'p> Reading<'p> {
    pub fn of(pack: &'p Pack) -> Reading<'p> {
        let tests = pack.has_endpoint_tests();
        Reading { pack, tests, scope: tests.then(|| TableId::by_name("scope")).flatten() }
    }

    /// Whether they read a row of a table, which may concern a test.
    pub fn row(&self, table: Option<TableId>, concerns: impl FnOnce() -> bool) -> bool {
        table.is_some_and(|t| self.pack.join_tables().contains(&t) || Some(t) == self.scope) || (self.tests && concerns())
    }

    /// The same of a row by what it says to the pack.
    pub fn row_that_says(&self, table: Option<TableId>, hits: &[Hit]) -> bool {
        self.row(table, || hits.iter().any(|hit| self.pack.concerns(hit)))
    }
}

/// Which tables were collected, when, and the rows that programs read.
type Read = (TableStates, i64, Box<[RowId]>);

/// What the programs of one pack said. It is to be forgotten when ids of rows change their meaning; those of images never do.
#[derive(Debug, Default)]
pub struct Joins {
    known: HashMap<Read, Arc<Joined>>,
    /// Of endpoints that are as their image in all that is joined.
    plain: HashMap<(ImageId, TableStates, i64), Arc<Joined>>,
    /// The rows of an image that programs read.
    bases: HashMap<ImageId, Box<[RowId]>>,
    /// Times that programs were run.
    pub runs: usize,
}

impl Joins {
    pub fn forget(&mut self) {
        self.known.clear();
        self.plain.clear();
        self.bases.clear();
    }

    /// Starts over when there is much of it.
    pub fn bound(&mut self) {
        /// Answers that are remembered, about.
        const REMEMBERED: usize = 4096;
        if (self.known.len() + self.plain.len()).max(self.bases.len()) > REMEMBERED {
            self.forget();
        }
    }

    /// What the programs say of an endpoint.
    pub fn say(&mut self, pack: &Pack, fleet: &Fleet, limits: &Limits, held: &Held, reads: impl Fn(RowId) -> bool) -> Arc<Joined> {
        let (states, now_s) = (held.tables.states(), if pack.has_endpoint_tests() { day_s(held) } else { 0 });
        let deviates = held.plus.iter().chain(&held.minus).any(|row| reads(*row));
        if !deviates && let Some(known) = self.plain.get(&(held.image, states, now_s)) {
            return known.clone();
        }
        let base = self.bases.entry(held.image).or_insert_with(|| {
            let rows = fleet.images.get(held.image).map_or(&[][..], |image| &image.rows);
            rows.iter().filter(|row| reads(**row)).copied().collect()
        });
        let mut rows: Vec<RowId> = base.iter().filter(|row| held.minus.binary_search(row).is_err()).copied().collect();
        rows.extend(held.plus.iter().filter(|row| reads(**row)));
        rows.sort_unstable();
        let runs = &mut self.runs;
        let said = self.known.entry((states, now_s, rows.into_boxed_slice())).or_insert_with_key(|(_, _, rows)| {
            *runs += 1;
            // Why a table failed is told to programs and is not in the key: no truth of theirs depends on it.
            Arc::new(pack.run_joins(&fleet.scan_from("", rows, &held.tables, None, limits), now_s))
        });
        if !deviates {
            self.plain.insert((held.image, states, now_s), said.clone());
        }
        said.clone()
    }
}
