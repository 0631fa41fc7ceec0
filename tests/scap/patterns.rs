//! Patterns against `pcre2`.
