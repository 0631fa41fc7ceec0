//! Evaluation: definitions, criteria, tests, states, sets over facts.
//!
//! `Prepared` is content made ready once; an `Evaluation` is one host's, and asks each thing at most once. The answer to a test whose own
//! object is no set, and whose variables are all constants, is a sum over items: a `Tally`.

mod graph;
mod prepare;
mod run;
mod set;
mod state;
mod tally;
#[cfg(test)]
mod tests;
mod why;

pub use super::truth::Compat;
pub use prepare::{Place, Prepared, Problem};
pub use run::Evaluation;
pub use tally::Tally;
