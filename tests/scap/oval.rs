//! Evaluation against `oscap oval analyse`: crafted documents for every cell of the truth tables, and real content.
