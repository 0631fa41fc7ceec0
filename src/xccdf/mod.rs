//! XCCDF 1.2: benchmarks, profiles and tailoring as published, and the answer for one profile.
//!
//! ```text
//! data stream ─> datastream ─> read ─> model ─┐
//! tailoring.xml ─────────────> tailoring ─────┼─> resolve ─> Baseline (what a pack stores) ─> judge, score
//! CPE dictionary, CPE OVAL ──> platform ──────┘
//! ```

pub mod arf;
pub mod datastream;
pub mod judge;
pub mod model;
pub mod platform;
pub mod read;
pub mod resolve;
pub mod results;
pub mod score;
pub mod tailoring;
