//! History: what is told of a past instant is what the fleet was at that instant, and trends are what counts give.

mod asof;
mod trends;
