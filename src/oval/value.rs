//! Datatypes and operations: what was stated against what was collected.
