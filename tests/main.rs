//! The one integration test target.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod advisories;
mod agent;
mod cli;
mod content;
mod crash;
mod crash_swap;
mod disk;
mod engines;
mod evidence;
mod feeds;
mod freshness;
mod generate;
mod history;
mod images;
mod inverted;
mod patches;
mod receiver;
mod scap;
mod server;
mod shard;
mod simulation;
mod swap;
mod tidy;
mod versions;
