//! The folder of all feeds, `data/feeds`: what is kept of each, who may write, and the catalog that it all comes to.
//!
//! ```text
//! feeds/index                    changes whenever any feed does
//! feeds/seen.json                what the daemon has told of
//! feeds/NAME/lock                held by who writes
//! feeds/NAME/state.json          what is in use; its replacement is the moment of a change
//! feeds/NAME/content/SHA256      files as they were fetched
//! feeds/NAME/compiled/SHA256.*   segments, threats, evidence
//! feeds/NAME/partial/            what has not come to its end
//! feeds/NAME/pending.jsonl       documents of a list that came before the sync ended
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::build::{self, Present};
use super::state::write_whole;
use super::threats::Part as Threat;
use super::{Feed, FeedError, FileRecord, Format, News, Patience, Source, Speaks, State, StateError};
use crate::clock;
use crate::config::Config;
use crate::limits::Limits;
use crate::patch::catalog::{Catalog, Part, Segment, Threats};
use crate::rule::check::suggest::hint;
use crate::state::embedded::space_left;

/// What files are called until they are whole.
pub(super) const ASIDE: &str = ".aside-";
/// Downloads that nobody went on with.
const PARTIAL_DAYS: u64 = 7;

#[derive(Debug, thiserror::Error)]
#[error("`{}`: {source}", path.display())]
pub struct IoError {
    pub path: PathBuf,
    pub source: std::io::Error,
}

/// The folder of one feed.
#[derive(Clone, Debug)]
pub(super) struct Place(pub PathBuf);

/// A feed's folder is this process' to write, until it is dropped.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone does not give it back while a child that another thread is starting has a copy of the file. What cannot be given back ends
        // with the process.
        self.0.unlock().ok();
    }
}

impl Place {
    pub(super) fn content(&self, sha256: &str) -> PathBuf {
        self.0.join("content").join(sha256)
    }

    pub(super) fn compiled(&self, name: &str) -> PathBuf {
        self.0.join("compiled").join(name)
    }

    pub(super) fn partial(&self) -> PathBuf {
        self.0.join("partial")
    }

    pub(super) fn pending(&self) -> PathBuf {
        self.0.join("pending.jsonl")
    }

    fn state_path(&self) -> PathBuf {
        self.0.join("state.json")
    }

    pub(super) fn make(&self) -> Result<(), IoError> {
        for folder in ["content", "compiled", "partial"] {
            let path = self.0.join(folder);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|source| IoError { path, source })?;
        }
        Ok(())
    }

    /// Held until it is dropped, or the process ends.
    pub(super) fn lock(&self, name: &str) -> Result<Lock, FeedError> {
        let path = self.0.join("lock");
        let fail = |source| IoError { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(FeedError::Busy(name.to_owned())),
            Err(TryLockError::Error(e)) => Err(fail(e).into()),
        }
    }

    pub(super) fn state(&self) -> Result<Option<State>, StateError> {
        State::read(&self.state_path())
    }

    pub(super) fn put(&self, state: &State) -> Result<(), StateError> {
        state.write(&self.state_path())
    }

    /// Moves a whole file to where content lies.
    pub(super) fn take(&self, path: &Path, sha256: &str) -> Result<(), IoError> {
        let to = self.content(sha256);
        std::fs::rename(path, &to).map_err(|source| IoError { path: to, source })
    }

    /// Whether so many bytes more leave the store the room that it keeps free: a feed must not be what stops uploads.
    pub(super) fn room(&self, more: u64, limits: &Limits) -> Result<(), IoError> {
        let Some((free, size)) = space_left(&self.0) else { return Ok(()) };
        let needed = more.saturating_add(limits.disk_reserve_bytes.min(size / 20));
        if free >= needed {
            return Ok(());
        }
        let why = format!("{free} bytes are free and {needed} are needed (with limits.disk_reserve_bytes)");
        Err(IoError { path: self.0.clone(), source: std::io::Error::new(std::io::ErrorKind::StorageFull, why) })
    }

    /// Writes a compiled file under the digest of its bytes and gives its name.
    pub(super) fn keep_compiled(&self, bytes: &[u8], ending: &str) -> Result<String, IoError> {
        let name = format!("{}.{ending}", super::verify::sha256(bytes));
        let path = self.compiled(&name);
        // Damaged is as good as absent.
        if !std::fs::read(&path).is_ok_and(|there| there == bytes) {
            write_whole(&path, bytes).map_err(|source| IoError { path, source })?;
        }
        Ok(name)
    }

    /// Whether the content of a record lies there, by its size.
    pub(super) fn has(&self, file: &FileRecord) -> bool {
        std::fs::metadata(self.content(&file.sha256)).is_ok_and(|m| m.len() == file.bytes)
    }

    /// Documents that came before a sync ended. A line that was cut off is none.
    pub(super) fn pending_records(&self) -> Vec<FileRecord> {
        let text = std::fs::read(self.pending()).unwrap_or_default();
        text.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect()
    }

    /// Removes what neither a state nor the next attempt needs. What somebody has mapped stays readable.
    pub(super) fn sweep(&self, state: &State) {
        let pending = self.pending_records();
        let content: BTreeSet<&str> = state.files.iter().chain(&pending).map(|f| f.sha256.as_str()).collect();
        let made = state.made().map(|(_, news)| news);
        let compiled: BTreeSet<&str> = state.segments.iter().chain([&state.evidence]).chain(made).map(String::as_str).collect();
        let old = Duration::from_secs(PARTIAL_DAYS * 24 * 3600);
        let is_old = |path: &Path| {
            std::fs::metadata(path).and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok()).is_some_and(|age| age > old)
        };
        let remove = |folder: &str, keep: &dyn Fn(&str, &Path) -> bool| {
            for entry in std::fs::read_dir(self.0.join(folder)).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                let stays = name.to_str().is_some_and(|n| keep(n, &path));
                if !stays && let Err(error) = std::fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "an old file of a feed stays");
                }
            }
        };
        remove("content", &|name, _| content.contains(name));
        remove("compiled", &|name, _| compiled.contains(name));
        remove("partial", &|_, path| !is_old(path));
    }
}

/// A file to import, and the name that it is kept under.
#[derive(Debug)]
pub struct Import {
    pub name: String,
    pub path: PathBuf,
}

/// Where what a definition says was published.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Evidence {
    pub feed: String,
    /// URL without its query, path, or the name that it was imported under.
    pub file: String,
    pub fetched: jiff::Timestamp,
    pub sha256: String,
    pub bytes: u64,
}

/// Feeds, and the folder that they are kept in.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    feeds: Vec<Arc<Feed>>,
    pub(super) limits: Limits,
    pub(super) patience: Patience,
    /// Compiled files are named after their content, so what was opened stays true.
    opened: Mutex<BTreeMap<PathBuf, Arc<Segment>>>,
    threats: Mutex<(Vec<PathBuf>, Arc<Threats>)>,
}

impl Folder {
    /// These feeds, under the data folder.
    pub fn new(data: &Path, feeds: Vec<Feed>, limits: &Limits) -> Folder {
        Folder {
            root: data.join("feeds"),
            feeds: feeds.into_iter().map(Arc::new).collect(),
            limits: limits.clone(),
            patience: Patience::default(),
            opened: Mutex::default(),
            threats: Mutex::default(),
        }
    }

    /// The feeds of a configuration.
    pub fn of(config: &Config) -> Folder {
        Folder::new(&config.data, config.feeds.clone(), &config.limits)
    }

    /// The feeds that lie in a data folder, where no configuration says which are meant.
    pub fn found(data: &Path, limits: &Limits) -> Folder {
        let entries = std::fs::read_dir(data.join("feeds")).into_iter().flatten().flatten();
        let feed = |place: PathBuf| {
            let state = Place(place.clone()).state().ok().flatten()?;
            Some(Feed::new(place.file_name()?.to_str()?, state.format, Source::Imported))
        };
        let mut feeds: Vec<Feed> = entries.filter_map(|e| feed(e.path())).collect();
        feeds.sort_by(|a, b| a.name.cmp(&b.name));
        Folder::new(data, feeds, limits)
    }

    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Folder {
        self.patience = patience;
        self
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn feeds(&self) -> &[Arc<Feed>] {
        &self.feeds
    }

    pub fn feed(&self, name: &str) -> Result<&Arc<Feed>, FeedError> {
        let unknown = || FeedError::Unknown(name.to_owned(), hint(name, self.feeds.iter().map(|f| f.name.as_str())));
        self.feeds.iter().find(|f| f.name == name).ok_or_else(unknown)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn place(&self, name: &str) -> Place {
        Place(self.root.join(name))
    }

    /// What is known of a feed; of one that was never synced, that.
    pub fn state(&self, feed: &Feed) -> Result<State, StateError> {
        let state = self.place(&feed.name).state()?;
        Ok(state.filter(|s| s.format == feed.format).unwrap_or_else(|| State::new(feed.format)))
    }

    /// Says that something changed to whoever looks at [`Folder::index`].
    pub(super) fn touch(&self) -> Result<(), IoError> {
        let path = self.root.join("index");
        let mut random = [0; 8];
        // Without it two changes within a millisecond look like one.
        getrandom::fill(&mut random).ok();
        let line = format!("{} {:016x}\n", clock::now(), u64::from_be_bytes(random));
        write_whole(&path, line.as_bytes()).map_err(|source| IoError { path, source })
    }

    /// Another text after each change of any feed, by whichever process.
    pub fn index(&self) -> Vec<u8> {
        std::fs::read(self.root.join("index")).unwrap_or_default()
    }

    /// A folder for a file that is on its way into a feed.
    pub fn landing(&self, name: &str) -> Result<PathBuf, FeedError> {
        let place = self.place(&self.feed(name)?.name);
        place.make()?;
        Ok(place.partial())
    }

    /// Everything that is known of patches, and what could not be opened. A compiled file that is damaged or of another version is compiled again.
    pub fn catalog(&self) -> (Arc<Catalog>, Vec<String>) {
        let (mut parts, mut threats, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        let mut used = BTreeSet::new();
        for feed in self.feeds.iter().filter(|f| f.enabled) {
            let place = self.place(&feed.name);
            match self.compiled(feed, &place) {
                Ok(None) => {}
                Ok(Some(state)) => {
                    let paths: Vec<PathBuf> = state.segments.iter().map(|s| place.compiled(s)).collect();
                    match feed.format.speaks() {
                        Speaks::Cves => threats.extend(paths),
                        Speaks::Products => {
                            let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
                            let segments = paths.iter().filter_map(|p| opened.get(p).cloned()).collect();
                            parts.push(Part { feed: feed.name.as_str().into(), segments });
                            used.extend(paths);
                        }
                    }
                }
                Err(error) => problems.push(format!("the feed `{}` is left out: {error}", feed.name)),
            }
        }
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).retain(|path, _| used.contains(path));
        let threats = self.threats(threats, &mut problems);
        (Arc::new(Catalog::new(parts, threats)), problems)
    }

    /// The state of a feed all of whose compiled files can be opened; `None` for one without content.
    fn compiled(&self, feed: &Feed, place: &Place) -> Result<Option<State>, FeedError> {
        // Another process may replace what the state named; then the state is another one by now.
        for _ in 0..3 {
            let state = self.state(feed)?;
            if state.segments.is_empty() {
                return Ok(None);
            }
            match self.open(feed.format, place, &state) {
                Ok(()) => return Ok(Some(state)),
                Err(why) => tracing::debug!(feed = feed.name, why, "a compiled file cannot be opened"),
            }
            if self.state(feed)?.segments == state.segments {
                break;
            }
        }
        self.rebuild(feed, place).map(Some)
    }

    /// Opens what a state names, unless it is open.
    fn open(&self, format: Format, place: &Place, state: &State) -> Result<(), String> {
        for name in &state.segments {
            let path = place.compiled(name);
            if format.speaks() == Speaks::Cves {
                build::open_threats(path)?;
                continue;
            }
            if self.opened.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&path) {
                continue;
            }
            let segment = Segment::open(&path).map_err(|e| e.to_string())?;
            self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(path, Arc::new(segment));
        }
        Ok(())
    }

    /// Compiles the content that is on the disk again.
    fn rebuild(&self, feed: &Feed, place: &Place) -> Result<State, FeedError> {
        let _lock = place.lock(&feed.name)?;
        let mut state = self.state(feed)?;
        // Who held the lock before may have done it.
        if self.open(feed.format, place, &state).is_ok() {
            return Ok(state);
        }
        tracing::info!(feed = feed.name, "compiling again what is on the disk");
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).retain(|path, _| !path.starts_with(&place.0));
        let present = Present { segments: Vec::new(), names: Vec::new(), threats: None };
        let built = build::build(place, feed.format, &state.files, present, None, &self.limits)?;
        (state.entries, state.segments, state.evidence, state.cycles) = (built.entries, built.segments, built.evidence, built.cycles);
        place.put(&state)?;
        let unreadable = |why| FeedError::Unusable { file: place.0.display().to_string(), why };
        self.open(feed.format, place, &state).map_err(unreadable)?;
        place.sweep(&state);
        self.touch()?;
        Ok(state)
    }

    /// KEV and EPSS of all feeds that have them, read again only when there are others.
    fn threats(&self, paths: Vec<PathBuf>, problems: &mut Vec<String>) -> Arc<Threats> {
        let mut held = self.threats.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 != paths {
            let mut threats = Threats::default();
            for path in &paths {
                match build::open_threats(path.clone()) {
                    Ok(part) => part.add_to(&mut threats),
                    Err(why) => problems.push(why),
                }
            }
            *held = (paths, Arc::new(threats));
        }
        held.1.clone()
    }

    /// What the next compilation starts from.
    pub(super) fn present(&self, format: Format, place: &Place, state: &State) -> Present {
        let none = || Present { segments: Vec::new(), names: Vec::new(), threats: None };
        if self.open(format, place, state).is_err() {
            return none();
        }
        let paths: Vec<PathBuf> = state.segments.iter().map(|s| place.compiled(s)).collect();
        match format.speaks() {
            Speaks::Cves => {
                let threats = paths.first().and_then(|p| build::open_threats(p.clone()).ok());
                Present { threats: threats.or(Some(Threat::empty(format))), ..none() }
            }
            Speaks::Products => {
                let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
                let segments: Vec<Arc<Segment>> = paths.iter().filter_map(|p| opened.get(p).cloned()).collect();
                Present { segments, names: state.segments.clone(), threats: None }
            }
        }
    }

    /// What changed in a feed since a revision of its content.
    pub fn news_since(&self, feed: &str, state: &State, revision: u64) -> News {
        let place = self.place(feed);
        let read = |name: &str| serde_json::from_slice::<News>(&std::fs::read(place.compiled(name)).ok()?).ok();
        state.news_since(revision).into_iter().filter_map(read).fold(News::default(), News::then)
    }

    /// The files that say what a patch of a feed is about; none for a patch that the feed does not have.
    pub fn evidence(&self, feed: &str, patch: &str) -> Result<Vec<Evidence>, FeedError> {
        let feed = self.feed(feed)?;
        let place = self.place(&feed.name);
        let state = self.state(feed)?;
        let files: Vec<usize> = match state.evidence.as_str() {
            "" => (0..state.files.len()).collect(),
            name => build::files_of(&place.compiled(name), patch)?,
        };
        let one = |file: &FileRecord| Evidence {
            feed: feed.name.clone(),
            file: super::shown(&file.name).to_owned(),
            fetched: file.fetched,
            sha256: file.sha256.clone(),
            bytes: file.bytes,
        };
        Ok(files.into_iter().filter_map(|at| state.files.get(at)).map(one).collect())
    }

    /// Everything that is wrong with what is kept: damaged content, compiled files that cannot be opened, feeds that fail or are late.
    pub fn check(&self, now: jiff::Timestamp) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for feed in &self.feeds {
            let mut say = |what: String| out.push((feed.name.clone(), what));
            let place = self.place(&feed.name);
            let state = match self.state(feed) {
                Ok(state) => state,
                Err(error) => {
                    say(error.to_string());
                    continue;
                }
            };
            for file in &state.files {
                match super::verify::sha256_of(&place.content(&file.sha256)) {
                    Ok(found) if found == file.sha256 => {}
                    Ok(_) => say(FeedError::Damaged { file: file.name.clone() }.to_string()),
                    Err(error) => say(format!("{error}; it is fetched anew at the next sync")),
                }
            }
            if let Err(why) = self.open(feed.format, &place, &state) {
                say(format!("{why}; it is compiled again when the catalog is opened"));
            }
            if let Some(error) = &state.error {
                say(format!("{} attempts in a row failed: {error}", state.failures));
            }
            let age = state.succeeded.map(|at| now.duration_since(at).unsigned_abs());
            let late = feed.every.saturating_mul(3);
            match age {
                None if feed.enabled => say("it has no content yet".to_owned()),
                Some(age) if feed.enabled && feed.source != Source::Imported && age > late => {
                    say(format!("its last success is {} h ago", age.as_secs() / 3600));
                }
                _ => {}
            }
        }
        out
    }
}
