//! The one integration test target.

mod versions;
