//! Why a verdict is what it is: the definition over an endpoint's last scan.
//!
//! The writer asks for every verdict that turns, so no more rows are parsed than say something to the rule; of the others it is enough how many they are.

use super::Shard;
use crate::fleet::rows::RowId;
use crate::fleet::{EndpointId, Held};
use crate::judge::explain::{Explanation, Unread};
use crate::judge::joins::day_s;
use crate::pack::RuleId;
use crate::rule::ir::Ir;
use crate::scan::table::TableId;

impl Shard {
    /// The definition's answer for an endpoint's last scan.
    pub fn explain(&self, at: EndpointId, rule: RuleId) -> Option<Explanation> {
        let held = self.fleet.get(at)?.held.as_ref()?;
        if self.pack.rule(rule).scap.is_some() || self.pack.needs_joins(rule) {
            let wanted = self.pack.tables_of(rule);
            let scan = self.fleet.scan_from("", &self.fleet.rows_of(held), &held.tables, Some(&wanted), &self.limits);
            return Some(self.pack.explain(rule, &scan, day_s(held)));
        }
        let (rows, unread) = self.rows_for(held, rule);
        let scan = self.fleet.scan_from("", &rows, &held.tables, None, &self.limits);
        Some(self.pack.explain_part(rule, &scan, &unread))
    }

    /// The rows that a rule's verdict rests on, and how many others the tables have that it reads. INVARIANT: a row that says nothing to the terms of a rule that
    /// joins no rows does not decide any of its conditions.
    fn rows_for(&self, held: &Held, rule: RuleId) -> (Vec<RowId>, Unread) {
        let terms = self.pack.read_by(rule);
        let Some(image) = self.fleet.images.get(held.image) else { return (Vec::new(), Unread::new()) };
        let mut rows: Vec<RowId> = terms.iter().flat_map(|term| image.says_to(*term, &held.minus)).map(|(_, row)| row).collect();
        let says = |row: &&RowId| self.fleet.rows.hits(**row).iter().any(|hit| terms.binary_search(&hit.term).is_ok());
        rows.extend(held.plus.iter().filter(says));
        let in_table = |row: &RowId, table: TableId| self.fleet.rows.table(*row) == Some(table);
        let (whole, counted) = self.tables_counted(rule);
        for table in whole {
            rows.extend(image.part(table).iter().filter(|row| held.minus.binary_search(row).is_err()));
            rows.extend(held.plus.iter().filter(|row| in_table(row, table)));
        }
        rows.sort_unstable();
        rows.dedup();
        let count = |of: &[RowId], table| of.iter().filter(|row| in_table(row, table)).count();
        let unread =
            |table: TableId| (image.part(table).len() + count(&held.plus, table)) - count(&held.minus, table) - count(&rows, table);
        let unread = counted.into_iter().map(|table| (table, unread(table))).collect();
        (rows, unread)
    }

    /// Of the tables that a rule's quantifiers range over: those that it needs whole, because which rows they range over takes a look at each, and the others.
    fn tables_counted(&self, rule: RuleId) -> (Vec<TableId>, Vec<TableId>) {
        let (mut whole, mut counted) = (Vec::new(), Vec::new());
        let meta = self.pack.meta(rule);
        let mut see = |node: &Ir| {
            if let Ir::Quant { table, only, .. } | Ir::Count { table, only, .. } = node {
                if only.is_empty() { counted.push(*table) } else { whole.push(*table) }
            }
        };
        meta.applies_ir.walk(&mut see);
        meta.check_ir.walk(&mut see);
        (whole, counted)
    }
}
