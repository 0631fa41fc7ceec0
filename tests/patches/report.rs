//! `muster patch` and the API say the same.
