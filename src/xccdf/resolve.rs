//! One profile of a benchmark: selection, values, checks.
