//! Linux: real feeds and real package lists against evaluators that we did not write.
