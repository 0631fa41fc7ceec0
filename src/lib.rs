//! Muster holds roll-call for a fleet: scans in, verdicts out, and what changed told, kept and mended.
//!
//! Read the modules in this order: it is the way of the data.

pub mod limits;

// 1. What an endpoint said, and how its versions compare.
pub mod scan;

pub mod collect;

pub mod version;

// 2. What is required: written rules, compiled into a pack.
pub mod rule;

pub mod xml;

pub mod oval;

pub mod xccdf;

pub mod feed;

pub mod patch;

pub mod pack;

// 3. Verdicts, over facts that are kept once for the whole fleet.
pub mod fleet;

pub mod judge;

pub mod drift;

// 4. Keep it, tell it, act on it.
pub mod deploy;

pub mod event;

pub mod policy;

pub mod state;

pub mod history;

pub mod shard;

pub mod dictionary;

pub mod ingest;

pub mod question;

pub mod notify;

pub mod client;

pub mod subscription;

pub mod agent;

// 5. The daemon around it: what it is told, who may, how it answers.
pub mod config;

pub mod access;

pub mod http;

pub mod serve;

// 6. What they all stand on.
pub mod clock;
pub mod compute;
pub mod metrics;
pub mod simulate;
