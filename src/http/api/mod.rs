//! The handlers, one file a resource: a [`super::Call`] in, an [`super::Answer`] out.

pub mod endpoint_patches;
pub mod endpoints;
pub mod events;
pub mod exemptions;
pub mod feeds;
pub mod patch_lists;
pub mod patches;
pub mod questions;
pub mod reports;
pub mod rules;
pub mod sinks;
pub mod system;
pub mod tasks;
pub mod uploads;

use jiff::Timestamp;

/// Milliseconds since 1970 as RFC 3339.
fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}
