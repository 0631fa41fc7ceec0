//! ARF: a collection of results, read and written.
