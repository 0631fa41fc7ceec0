//! The one integration test target.

mod engines;
mod generate;
mod tidy;
mod versions;
