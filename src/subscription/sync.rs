//! One sync or import of one feed, from the lock to the new `state.json`: gathered, built, held against what was there, and only then in use.

use std::sync::Arc;

use jiff::Timestamp;

use super::build::{Built, NEWS, build};
use super::folder::{Folder, Import, IoError, Place};
use super::gather::{Gathered, Gatherer, Job};
use super::state::PROBLEMS;
use super::{Attempt, Feed, FeedError, News, Outcome, Progress, State, Step};
use crate::clock;
use crate::compute::compute;

/// What an attempt found, before it counts.
struct Found {
    gathered: Gathered,
    /// `None`: the content is what it was.
    built: Option<Built>,
}

impl Folder {
    /// Brings a feed up to date from where it is published. With `force` also what would be refused as suspicious is taken, and nothing is taken for
    /// unchanged.
    pub async fn sync(self: &Arc<Self>, name: &str, force: bool, progress: &Progress) -> Result<State, FeedError> {
        self.work(name, Job::Sync, force, progress).await
    }

    /// Takes files for a feed's content; with `add` beside those that are there under other names.
    pub async fn import(
        self: &Arc<Self>,
        name: &str,
        files: Vec<Import>,
        add: bool,
        force: bool,
        progress: &Progress,
    ) -> Result<State, FeedError> {
        self.work(name, Job::Import(files, add), force, progress).await
    }

    async fn work(self: &Arc<Self>, name: &str, job: Job, force: bool, progress: &Progress) -> Result<State, FeedError> {
        let feed = self.feed(name)?.clone();
        let place = self.place(&feed.name);
        place.make()?;
        let _lock = place.lock(&feed.name)?;
        let mut state = match self.state(&feed) {
            Ok(state) => state,
            // What it named is of no use without it; everything is fetched anew.
            Err(error @ super::StateError::Damaged { .. }) => {
                tracing::warn!(feed = feed.name, %error, "starting anew");
                State::new(feed.format)
            }
            Err(error) => return Err(error.into()),
        };
        let (at, imported) = (clock::now(), matches!(job, Job::Import(..)));
        let attempt = self.attempt(&feed, &place, &state, job, force, progress).await;
        let mut sync = Attempt {
            at,
            ended: clock::now(),
            outcome: Outcome::Failed,
            imported,
            files: 0,
            bytes: 0,
            entries: state.entries,
            added: 0,
            changed: 0,
            withdrawn: 0,
            problems: 0,
            error: None,
            made: None,
        };
        match attempt {
            Ok(found) => {
                take(&place, &mut state, &mut sync, found)?;
                self.commit(&place, &mut state, sync)?;
                place.sweep(&state);
                Ok(state)
            }
            Err(error) => {
                sync.error = Some(error.to_string());
                state.remember(sync, self.limits.feed_history);
                place.put(&state)?;
                self.touch()?;
                place.sweep(&state);
                Err(error)
            }
        }
    }

    fn commit(&self, place: &Place, state: &mut State, sync: Attempt) -> Result<(), FeedError> {
        state.remember(sync, self.limits.feed_history);
        // INVARIANT: from here on the new content is in use; before it, nothing that the old state names was touched.
        place.put(state)?;
        std::fs::remove_file(place.pending()).ok();
        Ok(self.touch()?)
    }

    async fn attempt(
        self: &Arc<Self>,
        feed: &Arc<Feed>,
        place: &Place,
        state: &State,
        job: Job,
        force: bool,
        progress: &Progress,
    ) -> Result<Found, FeedError> {
        let gatherer = Arc::new(Gatherer::new(self, feed, state, force, progress)?);
        let gathered = gatherer.run(job).await?;
        let content = |files: &[super::FileRecord]| files.iter().map(|f| (f.name.clone(), f.sha256.clone())).collect::<Vec<_>>();
        if !force && state.revision > 0 && content(&gathered.files) == content(&state.files) {
            return Ok(Found { gathered, built: None });
        }
        progress(&feed.name, Step::Compiling { files: gathered.files.len() });
        let (folder, at, format, old) = (self.clone(), place.clone(), feed.format, state.clone());
        let (gathered, built) = compute(move || {
            let present = folder.present(format, &at, &old);
            let expected = if force { None } else { Some(old.entries) };
            let built = build(&at, format, &gathered.files, present, expected, &folder.limits);
            (gathered, built)
        })
        .await?;
        Ok(Found { gathered, built: Some(built?) })
    }
}

fn take(place: &Place, state: &mut State, sync: &mut Attempt, found: Found) -> Result<(), FeedError> {
    let Found { gathered, built } = found;
    (sync.files, sync.bytes) = gathered.came;
    state.files = gathered.files;
    state.notes = gathered.notes;
    state.notes.truncate(PROBLEMS);
    sync.outcome = Outcome::Unchanged;
    if let Some(built) = built {
        let News { added, changed, withdrawn } = &built.news;
        let counts = (added.len(), changed.len(), withdrawn.len());
        if state.revision == 0 || counts != (0, 0, 0) || state.segments != built.segments {
            sync.outcome = Outcome::Changed;
            state.revision += 1;
            (state.added, state.changed, state.withdrawn) = counts;
            (sync.added, sync.changed, sync.withdrawn) = counts;
            let news = serde_json::to_vec(&built.news).map_err(|e| IoError { path: place.compiled(NEWS), source: e.into() })?;
            sync.made = Some((state.revision, place.keep_compiled(&news, NEWS)?));
        }
        state.entries = built.entries;
        state.cycles = built.cycles;
        state.segments = built.segments;
        state.evidence = built.evidence;
        state.tell_problems(built.problems.into_iter(), built.more_problems);
    }
    (sync.entries, sync.problems) = (state.entries, state.problem_count);
    Ok(())
}

/// When a feed is to be synced next, in milliseconds since 1970: `every` after the last attempt, sooner after a failure.
pub(super) fn due_ms(feed: &Feed, state: &State, now: Timestamp) -> i64 {
    let every = i64::try_from(feed.every.as_millis()).unwrap_or(i64::MAX);
    let Some(attempted) = state.attempted else { return now.as_millisecond() };
    let wait = match state.failures {
        0 => every,
        // 15 minutes, then twice as long each time.
        n => every.min((15 * 60_000i64).saturating_mul(1 << n.saturating_sub(1).min(10))),
    };
    attempted.as_millisecond().saturating_add(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::{EVERY, Format, Source};

    #[test]
    fn failures_are_tried_sooner_but_not_at_once() {
        let feed = Feed::new("kev", Format::Kev, Source::Imported);
        let mut state = State::new(Format::Kev);
        let now = Timestamp::from_second(1_000_000).expect("a time");
        assert_eq!(due_ms(&feed, &state, now), now.as_millisecond());
        state.attempted = Some(now);
        let after = |state: &State| due_ms(&feed, state, now) - now.as_millisecond();
        assert_eq!(u128::try_from(after(&state)).expect("later"), EVERY.as_millis());
        let mut waits = Vec::new();
        for failures in [1, 2, 3, 30] {
            state.failures = failures;
            waits.push(after(&state) / 60_000);
        }
        assert_eq!(waits, [15, 30, 60, 360]);
    }
}
