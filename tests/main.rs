//! The one integration test target.

mod agent;
mod cli;
mod crash;
mod engines;
mod generate;
mod receiver;
mod tidy;
mod versions;
