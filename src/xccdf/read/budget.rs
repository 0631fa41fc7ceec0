//! How much work one benchmark may make: content is a stranger's, and `extends`, clusters and `sub` multiply.

use crate::limits::Limits;

/// Counts steps and bytes of text; past the limits, work stops with [`Spent`].
#[derive(Clone, Debug)]
pub struct Budget {
    steps: usize,
    bytes: usize,
    of: (usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Spent {
    #[error("the benchmark asks for more than {0} steps to resolve (limits.benchmark_steps)")]
    Steps(usize),
    #[error("the benchmark's texts grow over {0} bytes when they are resolved (limits.content_bytes)")]
    Bytes(usize),
}

impl Budget {
    pub fn new(limits: &Limits) -> Budget {
        Budget { steps: limits.benchmark_steps, bytes: limits.content_bytes, of: (limits.benchmark_steps, limits.content_bytes) }
    }

    pub fn step(&mut self, n: usize) -> Result<(), Spent> {
        self.steps = self.steps.checked_sub(n).ok_or(Spent::Steps(self.of.0))?;
        Ok(())
    }

    pub fn text(&mut self, n: usize) -> Result<(), Spent> {
        self.bytes = self.bytes.checked_sub(n).ok_or(Spent::Bytes(self.of.1))?;
        Ok(())
    }
}
