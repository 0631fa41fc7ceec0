//! Endpoints that are not heard of: nobody is removed too soon, and nobody stays for ever.

use muster::policy::FreshnessPolicy;
use muster::shard::Freshness;

use super::play::Play;

/// Who is due is looked at within so long.
const LATE_MS: i64 = 2 * 60_000;

impl Play {
    /// An endpoint was answered. Whether a crash leaves that it was: the time of a scan is stored with it, that of another that says the same is stored by and by.
    pub(super) fn heard(&mut self, id: &str, at_ms: i64, stored: bool) {
        let Some(known) = self.known.get_mut(id) else { return };
        known.heard_ms = at_ms;
        known.answered_ms = known.answered_ms.max(self.now_ms);
        if stored {
            known.kept_ms = at_ms;
        }
    }

    /// Those that were removed because they were silent.
    pub(super) fn bury(&mut self) {
        for (id, at_ms) in self.hardware.take_culled() {
            let known = self.known.remove(&id).unwrap_or_else(|| panic!("{id} was removed and is not enrolled"));
            let silent_ms = at_ms - known.heard_ms.max(known.kept_ms);
            assert!(silent_ms >= self.world.culled_after_ms(), "{id} was removed after {silent_ms} ms");
            self.bodies.remove(&id);
            self.counts.culled += 1;
        }
    }

    /// After a tick: who is fresh, stale and silent, as far as the clock says so. Silence counts only while the server listens; and where the clock was set back, what is
    /// known of times that are yet to come is true only when they have passed.
    pub(super) fn silence_holds(&mut self) {
        let listens_ms = *self.life.listens_ms.get_or_insert(self.now_ms);
        let shard = self.life.ingest.read();
        let policy = shard.policy.policy.freshness;
        // What another policy makes of it takes as long to be told as anything else; the clock may be set back meanwhile.
        match self.life.aged_by {
            Some((by, from_ms)) if by == policy && self.policy_before == Some(policy) => {
                if self.now_ms - from_ms < LATE_MS || self.now_ms <= self.ahead_ms {
                    return;
                }
            }
            _ => {
                self.life.aged_by = (self.policy_before == Some(policy)).then_some((policy, self.now_ms));
                return;
            }
        }
        let FreshnessPolicy { stale_ms, silent_ms, cull_ms } = policy;
        for (at, endpoint) in shard.fleet.iter() {
            let id = &*endpoint.id;
            let (seen_ms, answered_ms) = (shard.seen_ms(at), self.known.get(id).map_or(0, |k| k.answered_ms));
            let most = self.now_ms - seen_ms;
            let least = self.now_ms - seen_ms.max(answered_ms).max(listens_ms).max(self.ahead_ms) - LATE_MS;
            let freshness = shard.freshness(at);
            assert!(cull_ms == 0 || least < cull_ms, "{id} is still there after {least} ms");
            assert!(least < silent_ms || freshness == Freshness::Silent, "{id} is {freshness:?} after {least} ms");
            assert!(least < stale_ms || freshness != Freshness::Fresh, "{id} is fresh after {least} ms");
            assert!(most >= stale_ms || freshness == Freshness::Fresh, "{id} is {freshness:?} after {most} ms");
        }
    }
}
