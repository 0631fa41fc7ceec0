//! The one integration test target.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod cli;
mod crash;
mod engines;
mod generate;
mod receiver;
mod server;
mod tidy;
mod versions;
