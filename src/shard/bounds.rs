//! What an upload may bring: `new rows + what the endpoint holds -> taken, or a refusal that names the limit`; and what is freed to make room.
//!
//! INVARIANT: every limit is enforced before the memory is spent. What one endpoint alone has is bounded, however it is sent; and the last part of what the fleet may hold is for those who bring
//! few rows, so that one who brings many cannot take the room of all others.

use serde_json::json;

use super::upload::Prepared;
use super::{Applied, Refusal, Shard};
use crate::fleet::Held;
use crate::limits::Limits;
use crate::scan::native::NEW;
use crate::state::Space;

/// New rows of an upload that are few.
const FEW: usize = 1000;
/// A document below this cannot hold much that is its endpoint's alone: each table came in one of its own.
const SMALL_DOCUMENT: usize = 1 << 20;

/// Between two sweeps for which only the want of room is a reason.
const SWEEP_MS: i64 = 10_000;

impl Shard {
    /// Frees rows that no endpoint shows any more, when they are many.
    pub(super) fn sweep(&mut self, now_ms: i64, out: &mut Applied) {
        let empty = self.fleet.is_empty();
        let sharing = &mut self.fleet.sharing;
        for id in if empty { sharing.sweep_all() } else { sharing.sweep() } {
            out.batch.delete(Space::Shared, id.to_be_bytes());
        }
        // Rows keep their ids while a swap is under way.
        if self.fleet.is_watched() {
            return;
        }
        let rows = &self.fleet.rows;
        // Decoded uploads are decoded again after a sweep, so that there are not too many of those either.
        let short = self.short_of_rows && now_ms - self.swept_ms >= SWEEP_MS && rows.unreferenced() + rows.aliases() > 0;
        if rows.wants_sweep() || short {
            (self.short_of_rows, self.swept_ms) = (false, now_ms);
            self.joins.forget();
            for id in self.fleet.sweep() {
                out.batch.delete(Space::Rows, id.to_be_bytes());
            }
        }
    }

    /// Says in history that an endpoint sends more than one may.
    pub(super) fn name_limited(&mut self, id: &str, name: &str, limit: u64, after_s: u32, now_ms: i64, out: &mut Applied) {
        if self.fleet.find(id).is_some() {
            let data = json!({"limit": name, "value": limit, "retry_after": after_s});
            self.event("endpoint.limited", Some(id), data, now_ms, true, out);
        }
    }

    /// Whether the new rows of an upload may be kept.
    pub(super) fn within_bounds(&self, prepared: &Prepared, before: Option<&Held>) -> Result<(), Refusal> {
        if prepared.new.is_empty() {
            return Ok(());
        }
        let bytes = prepared.new.iter().map(|r| r.canonical.len() + r.new.raw.len()).sum();
        self.within_fleet(prepared.new.len(), bytes)?;
        self.within_own(prepared, before)
    }

    fn within_fleet(&self, brings: usize, bytes: usize) -> Result<(), Refusal> {
        let (rows, limits) = (&self.fleet.rows, &self.limits);
        let few = brings <= FEW.min(limits.fleet_rows / 32);
        let fits = |used: usize, more: usize, limit: usize| {
            let open = if few { limit } else { limit - limit / 8 };
            used.saturating_add(more) <= open
        };
        if !fits(rows.len(), brings, limits.fleet_rows) || rows.aliases().saturating_add(brings) > limits.fleet_rows {
            return Err(Refusal::FleetFull { name: "fleet_rows", limit: limits.fleet_rows });
        }
        if !fits(rows.text_bytes(), bytes, limits.fleet_row_bytes) {
            return Err(Refusal::FleetFull { name: "fleet_row_bytes", limit: limits.fleet_row_bytes });
        }
        Ok(())
    }

    /// What the endpoint would have and nobody else. Only looked at where it may be much.
    fn within_own(&self, prepared: &Prepared, before: Option<&Held>) -> Result<(), Refusal> {
        let Limits { own_rows, own_bytes, .. } = self.limits;
        let had = before.map_or(0, |held| self.fleet.row_count(held));
        if had + prepared.new.len() <= own_rows && prepared.length <= SMALL_DOCUMENT.min(own_bytes / 32) {
            return Ok(());
        }
        let (mut rows, mut bytes) = (prepared.new.len(), prepared.new.iter().map(|r| r.canonical.len()).sum::<usize>());
        let mut sent: Vec<u32> = prepared.rows.iter().filter(|row| **row & NEW == 0).map(|row| self.fleet.rows.canonical(*row)).collect();
        sent.sort_unstable();
        for row in before.map(|held| self.fleet.alone(held)).unwrap_or_default() {
            let left_out = prepared.header.base.is_some() && self.fleet.rows.table(row).is_some_and(|t| !prepared.sends(t));
            if left_out || sent.binary_search(&row).is_ok() {
                rows += 1;
                bytes += self.fleet.rows.bytes(row).len();
            }
        }
        if rows > own_rows {
            return Err(Refusal::TooManyOwn { name: "own_rows", limit: own_rows });
        }
        if bytes > own_bytes {
            return Err(Refusal::TooManyOwn { name: "own_bytes", limit: own_bytes });
        }
        Ok(())
    }
}
