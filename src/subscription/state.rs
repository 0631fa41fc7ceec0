//! What is known of one feed: the content of `state.json`, whose replacement is the moment at which a sync counts.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Format;

/// Problems that are kept; further ones are counted.
pub(super) const PROBLEMS: usize = 100;
/// Of this shape; another one is refused and the feed is synced anew.
const VERSION: u32 = 1;

/// One file of a feed, as it was fetched: the evidence behind what is said by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its URL, its path, or the name that it was imported under. Unique in its feed.
    pub name: String,
    pub fetched: Timestamp,
    /// Of the bytes as fetched; they lie under this name.
    pub sha256: String,
    pub bytes: u64,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// Of a document that a list names: the date that the list gives it. Such documents stand each for itself.
    pub listed: Option<String>,
}

impl FileRecord {
    /// The last part of its name: what problems call it.
    pub fn short(&self) -> &str {
        let name = self.name.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        name.rsplit('/').next().unwrap_or(name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Another content than before is in use.
    Changed,
    /// There is nothing new.
    Unchanged,
    /// What was there stays in use.
    Failed,
}

/// What a sync can come to, for metrics.
pub const OUTCOMES: [&str; 3] = ["changed", "unchanged", "failed"];

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Changed => "changed",
            Outcome::Unchanged => "unchanged",
            Outcome::Failed => "failed",
        }
    }
}

/// One sync or import, for history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Timestamp,
    pub ended: Timestamp,
    pub outcome: Outcome,
    /// Brought as files.
    pub imported: bool,
    /// Fetched or brought, unchanged ones not counted.
    pub files: usize,
    pub bytes: u64,
    pub entries: usize,
    pub added: usize,
    pub changed: usize,
    /// No longer there, or marked as withdrawn by the vendor.
    pub withdrawn: usize,
    pub problems: usize,
    pub error: Option<String>,
    /// The revision of the content that it made, and the compiled file with its [`News`].
    pub made: Option<(u64, String)>,
}

/// What a change of the content brought, by the ids of patches (of CVEs, for KEV and EPSS).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    pub added: Vec<Box<str>>,
    pub changed: Vec<Box<str>>,
    pub withdrawn: Vec<Box<str>>,
}

impl News {
    /// What both changes come to, this one first.
    #[must_use]
    pub fn then(self, later: News) -> News {
        let mut all: BTreeMap<Box<str>, (bool, bool)> = BTreeMap::new();
        // Whether it was there before, and whether it is after.
        for news in [self, later] {
            let kinds = [(news.added, false, true), (news.changed, true, true), (news.withdrawn, true, false)];
            for (ids, before, after) in kinds {
                for id in ids {
                    all.entry(id).and_modify(|e| e.1 = after).or_insert((before, after));
                }
            }
        }
        let mut out = News::default();
        for (id, there) in all {
            match there {
                (false, true) => out.added.push(id),
                (true, true) => out.changed.push(id),
                (true, false) => out.withdrawn.push(id),
                (false, false) => {}
            }
        }
        out
    }
}

/// Changes whose news are kept, for a daemon that hears of them later.
const NEWS: usize = 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    pub format: Format,
    pub attempted: Option<Timestamp>,
    /// Also when there was nothing new.
    pub succeeded: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// Counts the changes of the content.
    pub revision: u64,
    pub entries: usize,
    /// Of the last change.
    pub added: usize,
    pub changed: usize,
    pub withdrawn: usize,
    /// What could not be used of the present content, the first of them.
    pub problems: Vec<String>,
    /// All of them, counted.
    pub problem_count: usize,
    /// What was odd about the last fetch: documents that could not be had, and the like; the first of them.
    pub notes: Vec<String>,
    /// Supersedence that goes round in circles, and what was done about it.
    pub cycles: Vec<String>,
    pub files: Vec<FileRecord>,
    /// Compiled files, the base first.
    pub segments: Vec<String>,
    /// Which definition is from which file; empty where there is one file.
    pub evidence: String,
    /// Newest first.
    pub history: VecDeque<Attempt>,
}

impl State {
    pub fn new(format: Format) -> State {
        State {
            version: VERSION,
            format,
            attempted: None,
            succeeded: None,
            error: None,
            failures: 0,
            revision: 0,
            entries: 0,
            added: 0,
            changed: 0,
            withdrawn: 0,
            problems: Vec::new(),
            problem_count: 0,
            notes: Vec::new(),
            cycles: Vec::new(),
            files: Vec::new(),
            segments: Vec::new(),
            evidence: String::new(),
            history: VecDeque::new(),
        }
    }

    /// `None`: there is none. A damaged one is an error with a place.
    pub fn read(path: &Path) -> Result<Option<State>, StateError> {
        let fail = |source| StateError::Io { path: path.to_owned(), source };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        let damaged = |why: String| StateError::Damaged { path: path.to_owned(), why };
        let state: State = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if state.version != VERSION {
            return Err(damaged(format!("version {} is not known here", state.version)));
        }
        Ok(Some(state))
    }

    /// INVARIANT: whole or not at all, also when the power fails.
    pub fn write(&self, path: &Path) -> Result<(), StateError> {
        let fail = |source| StateError::Io { path: path.to_owned(), source };
        let bytes = serde_json::to_vec_pretty(self).map_err(|e| fail(e.into()))?;
        write_whole(path, &bytes).map_err(fail)
    }

    pub fn tell_problems(&mut self, problems: impl Iterator<Item = String>, more: usize) {
        let (mut kept, mut count) = (Vec::new(), more);
        for problem in problems {
            count += 1;
            if kept.len() < PROBLEMS {
                kept.push(problem);
            }
        }
        (self.problems, self.problem_count) = (kept, count);
    }

    /// Notes an attempt, keeping the newest `most`.
    pub fn remember(&mut self, sync: Attempt, most: usize) {
        self.attempted = Some(sync.ended);
        self.error.clone_from(&sync.error);
        if sync.outcome == Outcome::Failed {
            self.failures = self.failures.saturating_add(1);
        } else {
            (self.failures, self.succeeded) = (0, Some(sync.ended));
        }
        self.history.push_front(sync);
        self.history.truncate(most.max(1));
    }

    /// The compiled files with the news of changes after a revision, oldest first.
    pub fn news_since(&self, revision: u64) -> Vec<&str> {
        let mut made: Vec<&(u64, String)> = self.made().filter(|(r, _)| *r > revision).collect();
        made.reverse();
        made.into_iter().map(|(_, file)| file.as_str()).collect()
    }

    /// Newest first.
    pub(super) fn made(&self) -> impl Iterator<Item = &(u64, String)> {
        self.history.iter().filter_map(|a| a.made.as_ref()).take(NEWS)
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("`{}` is damaged ({why}); sync or import the feed anew and it is written again", path.display())]
    Damaged { path: PathBuf, why: String },
}

/// Writes aside, syncs and renames in.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut aside = tempfile::Builder::new().prefix(super::folder::ASIDE).tempfile_in(folder)?;
    aside.write_all(bytes)?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|e| e.error)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(second: i64, outcome: Outcome) -> Attempt {
        let at = Timestamp::from_second(second).expect("a time");
        let error = (outcome == Outcome::Failed).then(|| "no".to_owned());
        Attempt {
            at,
            ended: at,
            outcome,
            imported: false,
            files: 0,
            bytes: 0,
            entries: 0,
            added: 0,
            changed: 0,
            withdrawn: 0,
            problems: 0,
            error,
            made: None,
        }
    }

    #[test]
    fn a_state_comes_back_and_history_is_bounded() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("state.json");
        assert_eq!(State::read(&path).expect("none"), None);
        let mut state = State::new(Format::Kev);
        state.remember(sync(1, Outcome::Changed), 3);
        (2..=5).for_each(|s| state.remember(sync(s, Outcome::Failed), 3));
        assert_eq!((state.failures, state.history.len()), (4, 3));
        assert_eq!(state.succeeded.map(|t| t.as_second()), Some(1));
        assert_eq!(state.attempted.map(|t| t.as_second()), Some(5));
        state.tell_problems((0..150).map(|n| n.to_string()), 7);
        assert_eq!((state.problems.len(), state.problem_count), (100, 157));
        state.write(&path).expect("written");
        assert_eq!(State::read(&path).expect("read"), Some(state.clone()));
        state.remember(sync(6, Outcome::Unchanged), 3);
        assert_eq!((state.failures, &state.error), (0, &None));
        for damaged in ["", "{", "{\"version\":2}"] {
            std::fs::write(&path, damaged).expect("written");
            let error = State::read(&path).expect_err("damaged").to_string();
            assert!(error.contains("is damaged") && error.contains("state.json"), "{error}");
        }
    }

    #[test]
    fn news_of_two_changes() {
        let news = |added: &[&str], changed: &[&str], withdrawn: &[&str]| {
            let of = |ids: &[&str]| ids.iter().map(|i| Box::from(*i)).collect();
            News { added: of(added), changed: of(changed), withdrawn: of(withdrawn) }
        };
        let first = news(&["a", "b"], &["c", "d"], &["e", "f"]);
        let later = news(&["e"], &["a", "c"], &["b", "d"]);
        assert_eq!(first.then(later), news(&["a"], &["c", "e"], &["d", "f"]));
        let mut state = State::new(Format::Kev);
        for n in 1..=15u64 {
            let attempt = Attempt { made: Some((n, format!("{n}.news"))), ..sync(1, Outcome::Changed) };
            state.remember(attempt, 100);
        }
        assert_eq!(state.news_since(13), ["14.news", "15.news"]);
        assert_eq!(state.news_since(0).len(), NEWS);
    }

    #[test]
    fn files_have_short_names() {
        for (name, short) in [
            ("https://h/osv/all.zip?token=1", "all.zip"),
            ("/in/DSA/list", "list"),
            ("kev.json", "kev.json"),
            ("https://h/updates/", "updates"),
        ] {
            let at = Timestamp::UNIX_EPOCH;
            let file = FileRecord {
                name: name.to_owned(),
                fetched: at,
                sha256: String::new(),
                bytes: 0,
                etag: None,
                last_modified: None,
                listed: None,
            };
            assert_eq!(file.short(), short);
        }
    }
}
