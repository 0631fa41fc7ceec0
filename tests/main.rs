//! The one integration test target.

mod server;
mod versions;
