//! The catalog against the definition, over random advisories and rows.
