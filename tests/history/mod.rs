//! History: what is told of a past instant is what the fleet was at that instant.

mod asof;
