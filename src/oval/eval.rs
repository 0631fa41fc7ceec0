//! Evaluation: definitions, criteria, tests, states, sets over facts.
