//! The four scores.
