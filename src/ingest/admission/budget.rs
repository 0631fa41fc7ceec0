//! What one endpoint may take: `used until, units -> used until`. A budget is one instant, and fills up with time.

/// A budget that fills up with time: `used_us` is the instant at which all that was taken is there again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) name: &'static str,
    /// What one unit costs is `per_us / rate`; 0: there is no such budget.
    pub(super) rate: u64,
    pub(super) per_us: i64,
    /// Units that may be taken at once.
    pub(super) most: u64,
}

impl Budget {
    pub(super) fn cost_us(&self, units: u64) -> i64 {
        let cost = u128::from(units) * u128::from(self.per_us.unsigned_abs()) / u128::from(self.rate.max(1));
        i64::try_from(cost).unwrap_or(i64::MAX)
    }

    pub(super) fn take(&self, used_us: &mut i64, units: u64, now_us: i64) {
        if self.rate > 0 {
            *used_us = (*used_us).max(now_us).saturating_add(self.cost_us(units));
        }
    }

    pub(super) fn left(&self, used_us: i64, now_us: i64) -> u64 {
        if self.rate == 0 {
            return u64::MAX;
        }
        let free_us = self.cost_us(self.most) - (used_us - now_us).max(0);
        let left = u128::from(free_us.max(0).unsigned_abs()) * u128::from(self.rate) / u128::from(self.per_us.unsigned_abs().max(1));
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    /// Seconds until so many units are there.
    pub(super) fn wait_s(&self, used_us: i64, units: u64, now_us: i64) -> u32 {
        let free_at_us = used_us - self.cost_us(self.most.saturating_sub(units.min(self.most)));
        u32::try_from((free_at_us - now_us).max(0).div_euclid(1_000_000) + 1).unwrap_or(u32::MAX)
    }

    /// As many units as make it worth to come again.
    pub(super) fn worth(&self) -> u64 {
        (self.most / 8).max(1)
    }
}
