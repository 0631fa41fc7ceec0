//! Which fixes a row has: an installed package, a system at the fixed build. Rows do not note it, for it is most of what there is to say of them, and seldom asked.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::fleet::rows::{RowId, parse};
use crate::patch::{PatchId, Says};
use crate::scan::table::TableId;
use crate::shard::Shard;

/// Fixes that are remembered at most, of all rows together; then it starts over.
const REMEMBERED_MAX: usize = 1 << 20;

/// What rows were asked for lately: in a patch wave many endpoints come with the same ones. INVARIANT: of one catalog, and of ids that mean the same.
#[derive(Debug, Default)]
pub(super) struct Having {
    catalog: String,
    epoch: u64,
    /// Sorted.
    rows: HashMap<RowId, Box<[PatchId]>>,
    patches: usize,
}

impl Shard {
    /// Those of these patches, which are sorted, that one of the rows has. A hotfix alone is none, for one that replaces updates of many systems has them all.
    pub(super) fn having(&self, rows: &[RowId], patches: &[PatchId]) -> BTreeSet<PatchId> {
        let has = rows.iter().flat_map(|row| self.fixes_of(*row));
        has.filter(|p| patches.binary_search(p).is_ok()).collect()
    }

    /// The same for the writer, which remembers it.
    pub(super) fn having_lately(&mut self, rows: &[RowId], patches: &[PatchId]) -> BTreeSet<PatchId> {
        let mut having = std::mem::take(&mut self.patches.having);
        if having.epoch != self.fleet.rows.epoch() || having.catalog != self.patches.digest || having.patches > REMEMBERED_MAX {
            having = Having { catalog: self.patches.digest.clone(), epoch: self.fleet.rows.epoch(), ..Having::default() };
        }
        let mut out = BTreeSet::new();
        for row in rows {
            let fixes = having.rows.entry(*row).or_insert_with(|| {
                let fixes = self.fixes_of(*row);
                having.patches += fixes.len();
                fixes.into()
            });
            // A wave brings hundreds of rows and ends hundreds of patches, and few of them are the same one's: the shorter list is gone through.
            let (few, many): (&[PatchId], &[PatchId]) = if fixes.len() < patches.len() { (fixes, patches) } else { (patches, fixes) };
            out.extend(few.iter().filter(|p| many.binary_search(p).is_ok()));
        }
        self.patches.having = having;
        out
    }

    /// The patches whose fix a row has, sorted.
    fn fixes_of(&self, row: RowId) -> Vec<PatchId> {
        let tables = ["os", "package"].map(TableId::by_name);
        let table = self.fleet.rows.table(row).filter(|t| tables.contains(&Some(*t)));
        let Some(row) = table.and_then(|t| parse(t, self.fleet.rows.bytes(row), &self.limits)) else { return Vec::new() };
        let has = self.catalog.ask_fully(&row).into_iter().filter(|n| n.says() == Says::Has);
        let mut patches: Vec<PatchId> = has.map(|n| n.patch()).collect();
        patches.sort_unstable();
        patches.dedup();
        patches
    }
}
