//! Objects over the tables of native scans.
