//! How results and flags combine: the tables of the specification, and where OpenSCAP departs from them.
