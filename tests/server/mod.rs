//! The real server, in this process, on a port of its own and a folder that goes away.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod drift;
mod fleet;
pub(crate) mod harness;
mod hostile;
mod life;
mod patches;
mod questions;
mod reports;
mod scap;
mod uploads;
