//! Variables: constant, external, local with all functions.
