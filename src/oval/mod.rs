//! OVAL 5.11/5.12: what a check asks, as published, and its evaluation over what an endpoint brought.
//!
//! ```text
//! definitions.xml ─> read ─> model ─┐
//!                        bindings ──┴─> prepare ─> eval ─> a result per definition
//! system characteristics ─> syschar ─> facts ──────^
//! rows of our own tables ─> native  ─> facts ──────^
//! ```
//!
//! The evaluator is generic over items: it knows field names and datatypes, never test types. Only `native` knows types, as it makes
//! items of rows.

mod check;
pub mod eval;
pub mod facts;
pub mod model;
pub mod native;
pub mod pattern;
pub mod read;
pub mod results;
pub mod syschar;
pub mod truth;
pub mod uploaded;
pub mod value;
pub mod variable;
