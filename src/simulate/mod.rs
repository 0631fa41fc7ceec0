//! Fleets that are made up: a small one out of a real scan ([`host`], for the demo), and a big one out of nothing but a seed ([`fleet`]).
//!
//! Pure and deterministic: the same seed gives the same machines, today and on any other computer.

pub mod document;
pub mod fleet;
pub mod host;
mod known;
mod packages;
mod profile;
mod settings;

pub use host::{Past, drift, install, machine, remove, set_source_version, upgrade};

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        usize::try_from(self.draw() % n.max(1)).unwrap_or(0)
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}

/// A number that depends on these and on nothing else, as good as drawn.
pub(crate) fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x6d75_7374_6572, |state, part| Random(state ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93)).draw())
}

/// A mixed number as one below `n`; 0 for 0.
pub(crate) fn below(mixed: u64, n: usize) -> usize {
    let n = u64::try_from(n).unwrap_or(u64::MAX);
    usize::try_from((mixed >> 11) % n.max(1)).unwrap_or(0)
}

/// Whether a mixed number is among so many of a thousand.
pub(crate) fn permille(mixed: u64, share: u64) -> bool {
    (mixed >> 17) % 1000 < share
}

#[cfg(test)]
mod tests;
