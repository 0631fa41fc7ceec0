//! What happened in a play.

/// How often what happened: a play in which nothing fails proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) steps: u64,
    /// Uploads that were answered, and how many of them changed something.
    pub(super) acked: u64,
    pub(super) changed: u64,
    pub(super) refused: u64,
    /// Uploads that were decoded again, since rows, rules or catalog changed meanwhile.
    pub(super) stale: u64,
    /// Changes that found the disk full.
    pub(super) full: u64,
    pub(super) crashes: u64,
    /// Commits that failed, and those of them that were there after the crash.
    pub(super) failed: u64,
    pub(super) survived: u64,
    /// Scans that nobody was answered for and that were there.
    pub(super) adopted: u64,
    pub(super) swaps: u64,
    pub(super) delivered: u64,
    pub(super) undelivered: u64,
    /// Sweeps that freed rows.
    pub(super) sweeps: u64,
    /// Swaps that were made ready beside the writer, of rules and of catalogs; and those that the state went on without.
    pub(super) lanes: u64,
    pub(super) catalog_lanes: u64,
    pub(super) overtaken: u64,
    /// Endpoints that were silent for so long that they were removed, and those that were heard of again before.
    pub(super) culled: u64,
    pub(super) returned: u64,
    /// Times that old events were dropped, and old history.
    pub(super) expired: u64,
    pub(super) forgotten: u64,
    /// Endpoints that were gathered under a new image, and those whose image was given up.
    pub(super) gathered: u64,
    pub(super) thinned: u64,
}

impl Counts {
    fn all(&mut self) -> [(&'static str, &mut u64); 23] {
        let Counts {
            steps,
            acked,
            changed,
            refused,
            stale,
            full,
            crashes,
            failed,
            survived,
            adopted,
            swaps,
            delivered,
            undelivered,
            sweeps,
            lanes,
            catalog_lanes,
            overtaken,
            culled,
            returned,
            expired,
            forgotten,
            gathered,
            thinned,
        } = self;
        [
            ("steps", steps),
            ("acked", acked),
            ("changed", changed),
            ("refused", refused),
            ("stale", stale),
            ("full", full),
            ("crashes", crashes),
            ("failed", failed),
            ("survived", survived),
            ("adopted", adopted),
            ("swaps", swaps),
            ("delivered", delivered),
            ("undelivered", undelivered),
            ("sweeps", sweeps),
            ("lanes", lanes),
            ("catalog_lanes", catalog_lanes),
            ("overtaken", overtaken),
            ("culled", culled),
            ("returned", returned),
            ("expired", expired),
            ("forgotten", forgotten),
            ("gathered", gathered),
            ("thinned", thinned),
        ]
    }

    pub(super) fn add(&mut self, other: &Counts) {
        let mut other = *other;
        for ((_, sum), (_, more)) in self.all().into_iter().zip(other.all()) {
            *sum += *more;
        }
    }

    /// What never happened, of all that forty seeds show often enough: that an image is given up takes thousands of endpoints, and happens to ten by chance.
    pub(super) fn never(&self) -> Vec<&'static str> {
        let mut counts = *self;
        counts.all().into_iter().filter(|(what, n)| **n == 0 && *what != "thinned").map(|(what, _)| what).collect()
    }
}
