//! What the shard is asked to do and what it answers: everything that changes the state is one of these.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Attempt, CatalogLane, FeedNews, Lane, Prepared, Spent, Uploaded, Watching};
use crate::deploy::Task;
use crate::pack::Pack;
use crate::patch::catalog::Catalog;
use crate::patch::list::{Exemption, PatchList};
use crate::policy::Policy;
use crate::scan::digest::Digest;
use crate::state::Batch;

/// Something to apply.
#[derive(Debug)]
pub enum Input {
    Enroll {
        id: String,
        hostname: String,
        labels: BTreeMap<String, String>,
        key_hash: [u8; 32],
    },
    Upload {
        endpoint: String,
        prepared: Box<Prepared>,
    },
    Report {
        task: String,
        endpoint: String,
        ok: bool,
        message: String,
    },
    Remove {
        endpoint: String,
    },
    Delivered {
        sink: String,
        seq: u64,
        attempt: Attempt,
    },
    /// Puts everything that a sink gave up back into its queue.
    Redeliver {
        sink: String,
    },
    Swap {
        pack: Arc<Pack>,
        policy: Box<Policy>,
    },
    /// A swap begins beside the writer: what it must take up is noted from now on.
    Watch,
    /// It does not go on.
    Unwatch,
    /// It is made ready.
    Finish(Box<Lane>),
    /// So is another catalog.
    FinishCatalog(Box<CatalogLane>),
    /// Goes on with what a swap left to be done in small batches.
    Settle,
    /// Another catalog of patches, and what became of the feeds that it is of; or only the latter, with the catalog as it is.
    Catalog {
        catalog: Arc<Catalog>,
        news: Vec<FeedNews>,
    },
    /// A new version of a list: the one after the last.
    KeepList(PatchList),
    /// Do Not Patch. Its id and time are given here.
    Exempt(Exemption),
    EndExemption {
        id: String,
        by: String,
    },
    /// An endpoint was refused for what it sends: by which limit, and for how many seconds.
    Limited {
        endpoint: String,
        name: &'static str,
        limit: u64,
        after_s: u32,
    },
    /// Time passes: what was held back is told, what is old is dropped.
    Tick,
    /// Nothing else is to be done: a step of letting go of images that do not pay.
    Thin,
    /// The server stops: what is known only in memory is written.
    Stop,
}

impl Input {
    /// About how much it may make the store write.
    pub fn bytes(&self) -> u64 {
        const SMALL: u64 = 16 << 10;
        let rows = match self {
            Input::Upload { prepared, .. } => prepared.new.iter().map(|r| r.canonical.len() + 64).sum::<usize>() + 8 * prepared.rows.len(),
            Input::Finish(lane) => return SMALL.saturating_add(lane.bytes()),
            Input::FinishCatalog(lane) => return SMALL.saturating_add(lane.bytes()),
            Input::KeepList(list) => list.patches.iter().map(|p| p.len() + 8).sum(),
            _ => 0,
        };
        SMALL + u64::try_from(rows).unwrap_or(u64::MAX)
    }
}

#[derive(Debug)]
pub enum Reply {
    Enrolled {
        again: bool,
    },
    Uploaded(Uploaded),
    Reported(Box<Task>),
    Removed,
    Redelivered(usize),
    Swapped,
    Watching(Watching),
    /// With what is in use no more.
    Switched(Box<Spent>),
    Settled {
        left: u64,
    },
    ListKept {
        version: u32,
    },
    Exempted(Box<Exemption>),
    ExemptionEnded,
    Done,
}

/// Why an input changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no endpoint `{0}` is enrolled here")]
    UnknownEndpoint(String),
    #[error("the scan says that it is about `{said}`, but was sent for `{sent}`")]
    WrongEndpoint { said: String, sent: String },
    #[error("the scan changes `{base}`, but this endpoint's last scan here is {}", have.as_ref().map_or("none".to_owned(), |d| format!("`{d}`")))]
    BaseMismatch { base: String, have: Option<Digest> },
    #[error(
        "the fleet holds as much as it may of what differs from endpoint to endpoint (limits.{name} = {limit}); the last of it is for scans that bring few rows"
    )]
    FleetFull { name: &'static str, limit: usize },
    #[error("the endpoint would have more that nobody else has than one may (limits.{name} = {limit})")]
    TooManyOwn { name: &'static str, limit: usize },
    #[error("endpoint `{0}` is enrolled already, and `enroll.again` is \"refuse\"; an administrator can remove it first")]
    AlreadyEnrolled(String),
    #[error("as many endpoints are enrolled as may be (limits.endpoints = {0})")]
    EndpointsFull(usize),
    #[error("no task `{0}` for this endpoint")]
    UnknownTask(String),
    #[error("list `{name}` is at version {}: the next is {expected}, and {given} was sent; read it again and make the change anew", expected - 1)]
    ListVersion { name: String, given: u32, expected: u32 },
    #[error("there are as many {what} as may be (limits.{name} = {limit})")]
    TooMany { what: &'static str, name: &'static str, limit: usize },
    /// A list or an exemption that cannot be kept, and why.
    #[error("{0}")]
    BadDecision(String),
    #[error("no exemption `{0}`")]
    UnknownExemption(String),
    /// It was decoded under rows, a pack or a catalog that have changed since. Decode it again.
    #[error("decoded too long ago")]
    Stale,
}

/// What [`apply`](super::Shard::apply) gives: a reply for each input, in order, and what must become durable before they are sent.
#[derive(Debug, Default)]
pub struct Applied {
    pub replies: Vec<Result<Reply, Refusal>>,
    pub batch: Batch,
    /// There is something new to deliver.
    pub wake_sinks: bool,
    /// Counts the calls, from 1: what [`recognise`](super::Shard::recognise) compares with what is durable.
    pub number: u64,
}
