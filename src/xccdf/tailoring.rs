//! Tailoring files: profiles that somebody else wrote for a benchmark.
