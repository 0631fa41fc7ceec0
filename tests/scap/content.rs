//! Real and hostile content through both parsers.
