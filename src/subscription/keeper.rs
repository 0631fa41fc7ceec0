//! Feeds in the daemon: synced when they are due, taken up when another process changed them, and given to the shard as a new catalog with what is new in it.
//!
//! Nothing here stops the daemon: what fails is in the feed's state, in the log, in the metrics, and one `feed.failed` event when a feed begins to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::state::write_whole;
use super::sync::due_ms;
use super::{Feed, FeedError, Folder, Import, Source, State, silent};
use crate::clock;
use crate::compute::compute;
use crate::config::Config;
use crate::ingest::{Ingest, IngestError};
use crate::metrics::Metrics;
use crate::shard::FeedNews;

/// Between two looks at what other processes did and at what is due.
const LOOK: Duration = Duration::from_secs(2);
/// Feeds that are synced at once.
const AT_ONCE: usize = 4;

/// What the shard was told last.
#[derive(Debug, Default)]
struct Told {
    /// [`Folder::index`] at that time; `None`: it was told nothing yet.
    index: Option<Vec<u8>>,
    /// Revisions of feeds, also across restarts; `None`: never told anything in this data folder.
    seen: Option<BTreeMap<String, u64>>,
    /// Feeds that fail.
    failing: BTreeSet<String>,
    /// Attempts up to here are counted.
    counted: BTreeMap<String, Timestamp>,
}

#[derive(Debug)]
pub struct Keeper {
    folder: ArcSwap<Folder>,
    ingest: Arc<Ingest>,
    metrics: Arc<Metrics>,
    states: Mutex<BTreeMap<String, Arc<State>>>,
    running: Mutex<BTreeSet<String>>,
    tasks: Mutex<JoinSet<()>>,
    wake: Notify,
    told: tokio::sync::Mutex<Told>,
}

impl Keeper {
    pub fn new(config: &Config, ingest: Arc<Ingest>, metrics: Arc<Metrics>) -> Keeper {
        let keeper = Keeper {
            folder: ArcSwap::from_pointee(Folder::of(config)),
            ingest,
            metrics,
            states: Mutex::default(),
            running: Mutex::default(),
            tasks: Mutex::default(),
            wake: Notify::new(),
            told: tokio::sync::Mutex::default(),
        };
        config.feeds.iter().for_each(|f| keeper.metrics.know_feed(&f.name));
        keeper
    }

    pub fn folder(&self) -> Arc<Folder> {
        self.folder.load_full()
    }

    /// As it was when somebody last changed it.
    pub fn state(&self, feed: &Feed) -> Arc<State> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.get(&feed.name).cloned().unwrap_or_else(|| Arc::new(State::new(feed.format)))
    }

    pub fn is_syncing(&self, name: &str) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// When it is synced next; `None` for what is not.
    pub fn due(&self, feed: &Feed) -> Option<Timestamp> {
        let synced = feed.enabled && feed.source != Source::Imported;
        let state = self.state(feed);
        let due = due_ms(feed, &state, clock::now());
        let wait = due.saturating_sub(state.attempted.map_or(due, Timestamp::as_millisecond)).max(0);
        // Up to a tenth later, so that what began together does not stay together; the same for the same attempt.
        let seed = blake3::hash(format!("{} {:?}", feed.name, state.attempted).as_bytes());
        let share = i64::from(seed.as_bytes().first().copied().unwrap_or(0));
        let due = due.saturating_add(wait / 10 * share / 256);
        synced.then(|| Timestamp::from_millisecond(due).unwrap_or(Timestamp::MAX))
    }

    /// Takes the feeds of another configuration.
    pub async fn configure(&self, config: &Config) -> Result<(), IngestError> {
        let old = self.folder();
        let new: Vec<&Feed> = config.feeds.iter().collect();
        if old.feeds().iter().map(Arc::as_ref).eq(new.iter().copied()) {
            return Ok(());
        }
        new.iter().for_each(|f| self.metrics.know_feed(&f.name));
        for gone in old.feeds().iter().filter(|f| !new.iter().any(|n| n.name == f.name)) {
            self.metrics.forget_feed(&gone.name);
        }
        self.folder.store(Arc::new(Folder::of(config)));
        self.publish().await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Gives the shard the catalog as it lies on the disk, and what changed since it was last given one.
    pub async fn publish(&self) -> Result<(), IngestError> {
        let mut told = self.told.lock().await;
        let folder = self.folder();
        // Before the catalog: what changes meanwhile is seen at the next look.
        let index = folder.index();
        let of = folder.clone();
        let read = move || {
            let (catalog, problems) = of.catalog();
            let states: Vec<_> = of.feeds().iter().map(|f| (f.clone(), of.state(f))).collect();
            (catalog, problems, states)
        };
        let (catalog, problems, states) = compute(read).await?;
        problems.iter().for_each(|problem| tracing::warn!(problem, "feeds"));
        let mut known = BTreeMap::new();
        for (feed, state) in states {
            match state {
                Ok(state) => drop(known.insert(feed.name.clone(), Arc::new(state))),
                Err(error) => tracing::warn!(feed = feed.name, %error, "the state of a feed cannot be read"),
            }
        }
        if told.index.is_none() {
            told.seen = read_seen(&folder);
            told.failing = known.iter().filter(|(_, s)| s.failures > 0).map(|(name, _)| name.clone()).collect();
            told.counted = known.iter().filter_map(|(name, s)| Some((name.clone(), s.attempted?))).collect();
        }
        let news = news(&folder, &known, &told);
        self.ingest.swap_catalog(catalog, news).await?;
        self.count(&known, &mut told);
        let seen: BTreeMap<String, u64> = known.iter().map(|(name, s)| (name.clone(), s.revision)).collect();
        if told.seen.as_ref() != Some(&seen) {
            write_seen(&folder, &seen);
        }
        told.failing = known.iter().filter(|(_, s)| s.failures > 0).map(|(name, _)| name.clone()).collect();
        (told.index, told.seen) = (Some(index), Some(seen));
        *self.states.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// The same, if anything changed since.
    pub async fn look(&self) -> Result<(), IngestError> {
        let present = Some(self.folder().index());
        if self.told.lock().await.index != present { self.publish().await } else { Ok(()) }
    }

    fn count(&self, states: &BTreeMap<String, Arc<State>>, told: &mut Told) {
        for (name, state) in states {
            let last = told.counted.get(name).copied().unwrap_or(Timestamp::MIN);
            for attempt in state.history.iter().filter(|a| a.ended > last) {
                self.metrics.feed_syncs.with_label_values(&[name.as_str(), attempt.outcome.name()]).inc();
            }
            told.counted.extend(state.attempted.map(|at| (name.clone(), at)));
            let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            self.metrics.feed_entries.with_label_values(&[name]).set(gauge(state.entries));
            self.metrics.feed_problems.with_label_values(&[name]).set(gauge(state.problem_count + state.notes.len()));
            if let Some(at) = state.succeeded {
                self.metrics.feed_success.with_label_values(&[name]).set(at.as_duration().as_secs_f64());
            }
        }
    }

    /// Begins a sync, unless one is running. Whether it did.
    pub fn begin(self: &Arc<Self>, name: &str, force: bool) -> Result<bool, FeedError> {
        let folder = self.folder();
        let feed = folder.feed(name)?;
        if feed.source == Source::Imported {
            return Err(FeedError::NoSource(name.to_owned()));
        }
        let Some(running) = Running::begin(self, name) else { return Ok(false) };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async move { running.sync(&folder, force).await });
        Ok(true)
    }

    /// Takes a file for a feed's content. When it returns, the fleet is held against it.
    pub async fn import(self: &Arc<Self>, name: &str, file: Import, add: bool, force: bool) -> Result<State, FeedError> {
        let _running = Running::begin(self, name).ok_or_else(|| FeedError::Busy(name.to_owned()))?;
        let result = self.folder().import(name, vec![file], add, force, &silent()).await;
        if let Err(error) = self.look().await {
            tracing::warn!(feed = name, %error, "the new catalog is taken up at the next look");
        }
        result
    }

    /// Syncs what is due and takes up what others changed, until it is aborted.
    pub async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(LOOK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = self.wake.notified() => {}
            }
            match self.look().await {
                Ok(()) => {}
                Err(IngestError::Poisoned | IngestError::Stopping) => return,
                Err(error) => tracing::warn!(%error, "the catalog could not be taken; it is tried again"),
            }
            {
                let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
                while tasks.try_join_next().is_some() {}
            }
            self.begin_due();
        }
    }

    fn begin_due(self: &Arc<Self>) {
        let (folder, now) = (self.folder(), clock::now());
        let mut due: Vec<(Timestamp, &Arc<Feed>)> =
            folder.feeds().iter().filter_map(|f| Some((self.due(f)?, f))).filter(|(at, _)| *at <= now).collect();
        due.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.name.cmp(&b.1.name)));
        for (_, feed) in due {
            if self.running.lock().unwrap_or_else(PoisonError::into_inner).len() >= AT_ONCE {
                return;
            }
            if let Err(error) = self.begin(&feed.name, false) {
                tracing::warn!(feed = feed.name, %error, "not synced");
            }
        }
    }

    /// Ends what runs. What was half way is gone on with at the next start.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

/// A feed's place among those that are worked on.
struct Running {
    keeper: Arc<Keeper>,
    name: String,
}

impl Running {
    fn begin(keeper: &Arc<Keeper>, name: &str) -> Option<Running> {
        let began = keeper.running.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        began.then(|| Running { keeper: keeper.clone(), name: name.to_owned() })
    }

    async fn sync(self, folder: &Arc<Folder>, force: bool) {
        match folder.sync(&self.name, force, &silent()).await {
            Ok(state) => {
                let outcome = state.history.front().map_or("", |a| a.outcome.name());
                tracing::info!(feed = self.name, outcome, entries = state.entries, "synced");
            }
            // The command line is at it; its outcome is seen in the index.
            Err(FeedError::Busy(_)) => tracing::debug!(feed = self.name, "another process works on it"),
            Err(error) => tracing::warn!(feed = self.name, %error, "the feed could not be synced; what was there stays in use"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.keeper.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        self.keeper.wake.notify_one();
    }
}

fn news(folder: &Folder, states: &BTreeMap<String, Arc<State>>, told: &Told) -> Vec<FeedNews> {
    let mut out = Vec::new();
    for (name, state) in states {
        if state.failures > 0 && !told.failing.contains(name) {
            out.push(FeedNews { feed: name.clone(), error: state.error.clone(), ..FeedNews::default() });
        }
        // A data folder that never told anything has no before to compare with, as the first scan of an endpoint has not.
        let Some(seen) = &told.seen else { continue };
        let before = seen.get(name).copied().unwrap_or(0);
        if state.revision > before {
            let news = folder.news_since(name, state, before);
            out.push(FeedNews {
                feed: name.clone(),
                added: news.added,
                changed: news.changed,
                withdrawn: news.withdrawn,
                entries: state.entries,
                digest: state.segments.last().and_then(|s| s.split('.').next()).unwrap_or_default().to_owned(),
                error: None,
            });
        }
    }
    out
}

fn seen_path(folder: &Folder) -> std::path::PathBuf {
    folder.root().join("seen.json")
}

fn read_seen(folder: &Folder) -> Option<BTreeMap<String, u64>> {
    serde_json::from_slice(&std::fs::read(seen_path(folder)).ok()?).ok()
}

fn write_seen(folder: &Folder, seen: &BTreeMap<String, u64>) {
    let path = seen_path(folder);
    let made = path.parent().map_or(Ok(()), |f: &Path| std::fs::create_dir_all(f));
    let written = made.and_then(|()| write_whole(&path, &serde_json::to_vec(seen)?));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "after a restart the last news of feeds may be told again");
    }
}
