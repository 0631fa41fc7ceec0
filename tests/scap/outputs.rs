//! Result documents against the published schemas and `oscap`.
