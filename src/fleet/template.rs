//! What tells that an upload goes on as its image does: of each run of the image's rows, the length and a hash of their text. `text of an upload -> how many rows are as expected`.
//!
//! Rows lie where they were allocated when they were new, so that comparing an upload with them row by row meets memory that no cache has. A copy of their text, one after the other,
//! is no faster than hashes, and takes a hundred times their memory.

use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::quality::RandomState;

use super::rows::{RowId, Rows};
use crate::scan::table::TableId;

/// What our own collectors, and most other writers, put between two rows.
const BETWEEN: &[u8] = b",\n";

/// Rows of a run. More make fewer hashes, but where one of them is another, the rows of its run are compared one by one.
const RUN: usize = 16;

#[derive(Debug)]
pub(super) struct Template {
    /// One after the other, none with rows of two tables.
    runs: Box<[Run]>,
    /// Keyed for this image. Who made another text collide, which takes the key, would have rows taken for theirs that they may as well send.
    key: RandomState,
}

#[derive(Debug)]
struct Run {
    /// Its first row; the next run begins after its last one.
    from: u32,
    /// Of the rows and what stands between them.
    length: u32,
    hash: u64,
}

impl Template {
    /// Of rows in an order, in which each table has a part.
    pub(super) fn of(order: &[RowId], tables: &[(TableId, Range<usize>)], rows: &Rows) -> Template {
        let key = RandomState::default();
        let (mut runs, mut text) = (Vec::with_capacity(order.len() / RUN + tables.len()), Vec::new());
        for (_, part) in tables {
            for from in part.clone().step_by(RUN) {
                text.clear();
                for row in &order[from..part.end.min(from + RUN)] {
                    text.extend_from_slice(if text.is_empty() { b"" } else { BETWEEN });
                    text.extend_from_slice(rows.bytes(*row));
                }
                // INVARIANT: an image has fewer rows than u32 counts. A run that is longer than any upload is never met; its rows are compared one by one.
                let [from, length] = [from, text.len()].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
                runs.push(Run { from, length, hash: key.hash_one(&*text) });
            }
        }
        Template { runs: runs.into(), key }
    }

    /// How many rows of the order from one place on, and before another in the same table, an upload goes on with, and how many bytes of it they are. Rows are whole JSON
    /// objects, so a text that begins with one has that object there.
    pub(super) fn run(&self, order: &[RowId], part: Range<usize>, table: TableId, upload: &[u8], rows: &Rows) -> (usize, usize) {
        let (mut place, mut end) = (part.start, 0);
        let mut ahead = self.runs.partition_point(|run| (run.from as usize) < place);
        while place < part.end {
            let at = if place == part.start { 0 } else { end + BETWEEN.len() };
            let Some(text) = upload.get(at..).filter(|_| at == 0 || upload[end..].starts_with(BETWEEN)) else { break };
            let mut known = None;
            if let Some(run) = self.runs.get(ahead).filter(|run| run.from as usize == place) {
                ahead += 1;
                let next = self.runs.get(ahead).map_or(order.len(), |run| run.from as usize);
                let same = next <= part.end && text.get(..run.length as usize).is_some_and(|text| self.key.hash_one(text) == run.hash);
                known = same.then_some((next, run.length as usize));
            }
            let one = || Some((place + 1, rows.begins(*order.get(place)?, table, text)?));
            let Some((next, length)) = known.or_else(one) else { break };
            (place, end) = (next, at + length);
        }
        (place - part.start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::rows::Said;
    use crate::scan::native::NewRow;

    fn known(keys: &[String]) -> (Rows, Vec<RowId>, TableId) {
        let table = TableId::by_name("sysctl").expect("sysctl");
        let mut rows = Rows::default();
        let ids = keys.iter().map(|key| {
            let row = crate::scan::Row::new(table).with("key", key.as_str()).with("value", "1");
            let canonical = row.canonical();
            rows.intern(&NewRow { row, raw: canonical.clone().into() }, &canonical, Said::default()).0
        });
        let ids = ids.collect();
        (rows, ids, table)
    }

    #[test]
    fn a_run_ends_where_the_first_row_differs_or_is_cut_off() {
        let mut keys: Vec<String> = (0..2 * RUN + 3).map(|n| n.to_string()).collect();
        keys[RUN + 1] = "x".repeat(3000);
        let (rows, order, table) = known(&keys);
        let template = Template::of(&order, &[(table, 0..order.len())], &rows);
        assert_eq!(template.runs.len(), 3);
        let texts: Vec<&[u8]> = order.iter().map(|id| rows.bytes(*id)).collect();
        let joined = |part: Range<usize>| texts[part].join(BETWEEN);
        let run = |part, text: &[u8]| template.run(&order, part, table, text, &rows);
        let whole = joined(0..texts.len());
        for from in 0..order.len() {
            for to in from..=order.len() {
                assert_eq!(run(from..to, &joined(from..texts.len())), (to - from, joined(from..to).len()), "{from}..{to}");
            }
            assert_eq!(run(from..order.len(), b"{}"), (0, 0));
        }
        // The first row that is cut off, or that a changed byte is in or before.
        let rows_before = |at: usize| (0..=texts.len()).rev().find(|n| joined(0..*n).len() <= at).expect("some");
        for cut in 0..=whole.len() {
            let count = rows_before(cut);
            assert_eq!(run(0..order.len(), &whole[..cut]), (count, joined(0..count).len()), "{cut}");
        }
        for other in 0..whole.len() {
            let mut changed = whole.clone();
            changed[other] ^= 1;
            let count = rows_before(other);
            assert_eq!(run(0..order.len(), &changed), (count, joined(0..count).len()), "{other}");
        }
        let compact = texts.join(&b","[..]);
        assert_eq!(run(0..order.len(), &compact), (1, texts[0].len()), "other writers' rows one by one");
    }
}
