//! What turned, written into history in the batch that it turned in.

use super::{Applied, Shard};
use crate::history::{PatchTurn, RuleTurn};

impl Shard {
    /// What a new pack or policy turned, for all endpoints.
    #[expect(dead_code, reason = "the swap calls it")]
    pub(crate) fn record_turns(&mut self, _turns: &[RuleTurn], _now_ms: i64, _out: &mut Applied) {}

    /// What a new catalog or a decision about many endpoints turned.
    #[expect(dead_code, reason = "the swap calls it")]
    pub(crate) fn record_patch_turns(&mut self, _turns: &[PatchTurn], _now_ms: i64, _out: &mut Applied) {}
}
