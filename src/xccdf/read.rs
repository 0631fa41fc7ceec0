//! Benchmarks as published, before a profile is chosen.
