//! Patches: from vendors' feeds to what an endpoint lacks.

mod catalog;
pub(crate) mod decided;
mod linux;
pub(crate) mod report;
mod subscription;
mod windows;
