//! Unit tests of the evaluator over content made by hand.
