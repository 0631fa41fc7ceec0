//! The one integration test target.

mod cli;
mod crash;
mod engines;
mod generate;
mod receiver;
mod server;
mod tidy;
mod versions;
