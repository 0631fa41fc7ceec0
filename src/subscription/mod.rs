//! How vendors' feeds are kept: `[[feed]]` in, files with their evidence and compiled segments on the disk, one [`crate::patch::catalog::Catalog`] out.
//!
//! `gather (fetch, provider, path, import) -> build (read, define, compile) -> state.json renamed in -> catalog`. Each feed has a folder ([`folder`]); the replacement of
//! its `state.json` is the one moment at which another content counts (INVARIANT). Whatever ends before it, killed half way or refused, leaves what was there in
//! use. Command line and daemon use the same folder, one at a time for each feed; the daemon hears of the others' changes through `feeds/index` ([`keeper`]).

mod build;
mod fetch;
pub mod folder;
mod format;
mod gather;
pub mod keeper;
mod provider;
pub mod state;
mod sync;
mod threats;
mod url;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use fetch::{FetchError, Patience};
pub use folder::{Evidence, Folder, Import, IoError};
pub use format::{Format, Speaks};
pub use state::{Attempt, FileRecord, News, Outcome, State, StateError};
pub use url::shown;
pub use verify::VerifyError;

use crate::compute::Panicked;
use crate::feed::supersede::TooMany;

/// `[[feed]]`: what is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// `name`: lower case, digits and `-`; its folder and its metrics are named so.
    pub name: String,
    /// `format`: what its files are.
    pub format: Format,
    /// `url` or `path`, one or a list; without either it is filled by `muster feed import` only.
    pub source: Source,
    /// `every`: how often it is synced (`6h`).
    pub every: Duration,
    /// `ca`: a PEM file of certificates to trust beside the public ones.
    pub ca: Option<PathBuf>,
    /// `checksum`: `sha256:HEX`, `sha512:HEX`, or the URL (with `path`: the path) of a file with one.
    pub checksum: Option<String>,
    /// `signature`: the URL (with `path`: the path) of a detached OpenPGP signature.
    pub signature: Option<String>,
    /// `keyring`: the public keys that signatures are verified by, as `gpgv` takes them.
    pub keyring: Option<PathBuf>,
    /// `enabled`: `false` stops its syncs and takes it out of the catalog; its folder stays.
    pub enabled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Urls(Vec<String>),
    Paths(Vec<PathBuf>),
    Imported,
}

impl Feed {
    pub fn new(name: &str, format: Format, source: Source) -> Feed {
        Feed {
            name: name.to_owned(),
            format,
            source,
            every: EVERY,
            ca: None,
            checksum: None,
            signature: None,
            keyring: None,
            enabled: true,
        }
    }

    /// Whether a URL is of a list of documents, each of which is fetched and checked by itself.
    pub fn is_list(&self, url: &str) -> bool {
        gather::Kind::of(self.format, url) != gather::Kind::File
    }
}

/// Whether a `checksum` is the sum itself.
pub fn is_pinned(checksum: &str) -> bool {
    verify::pinned(checksum).is_some()
}

/// `every`, unless given.
pub const EVERY: Duration = Duration::from_secs(6 * 3600);
/// Vendors do not publish more often, and do not like to be asked more often.
pub const EVERY_LEAST: Duration = Duration::from_secs(300);

/// What a sync is at, for people who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Bytes that have come, and bytes that will.
    Fetching { url: &'a str, done: u64, total: Option<u64> },
    /// Documents of a list that were looked at.
    Documents { done: usize, total: usize },
    /// Reading and compiling so many files.
    Compiling { files: usize },
}

/// Who is told of it: the feed's name and the step.
pub type Progress = Arc<dyn Fn(&str, Step<'_>) + Send + Sync>;

/// Nobody.
pub fn silent() -> Progress {
    Arc::new(|_, _| {})
}

/// Why a sync or an import changed nothing. What was there stays in use.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("no feed is named `{0}`{1}")]
    Unknown(String, String),
    #[error("the feed `{0}` is worked on already, by this or another process; try again when that is done")]
    Busy(String),
    #[error("the feed `{0}` has neither `url` nor `path`; bring its files with `muster feed import {0} FILE`")]
    NoSource(String),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("{failed} of {all} documents could not be fetched, the first: {first}; those that came are kept for the next attempt")]
    Documents { failed: usize, all: usize, first: String },
    #[error("`{url}`: {why}")]
    List { url: String, why: String },
    #[error("`{file}` cannot be used: {why}")]
    Unusable { file: String, why: String },
    #[error("it holds nothing that can be used{}: is `format` right?", first.as_ref().map(|p| format!(" ({problems} problems, the first: {p})")).unwrap_or_default())]
    Nothing { problems: usize, first: Option<String> },
    #[error(
        "it has {now} entries where it had {before}: more than half of them are gone, as if it was cut off; if that is right, sync or import it with --force"
    )]
    Suspicious { before: usize, now: usize },
    #[error("over {limit} files (limits.feed_files)")]
    TooManyFiles { limit: usize },
    #[error("over {limit} advisories (limits.feed_advisories)")]
    TooManyAdvisories { limit: usize },
    #[error(transparent)]
    Supersedence(#[from] TooMany),
    #[error("the content `{file}` is not what it was when it was fetched; it is fetched anew at the next sync")]
    Damaged { file: String },
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Disk(#[from] IoError),
    #[error(transparent)]
    Client(#[from] crate::client::ClientError),
    #[error(transparent)]
    Inside(#[from] Panicked),
}
