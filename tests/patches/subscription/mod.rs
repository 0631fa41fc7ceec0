//! Feeds fetched from a server that misbehaves, and brought as files.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod daemon;
mod fetch;
mod keep;
mod lists;
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster::limits::Limits;
use muster::patch::catalog::Catalog;
use muster::subscription::{Feed, FeedError, Folder, Format, Import, Outcome, Patience, Source, State, silent};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A data folder with one feed.
struct Data {
    folder: TempDir,
    feed: Feed,
    limits: Limits,
    patience: Patience,
}

impl Data {
    fn new(format: Format, source: Source) -> Data {
        let patience = Patience { attempts: 2, backoff: Duration::from_millis(10), ..Patience::default() };
        Data { folder: tempfile::tempdir().unwrap(), feed: Feed::new("feed", format, source), limits: Limits::default(), patience }
    }

    fn of_url(format: Format, url: String) -> Data {
        Data::new(format, Source::Urls(vec![url]))
    }

    fn open(&self) -> Arc<Folder> {
        Arc::new(Folder::new(self.folder.path(), vec![self.feed.clone()], &self.limits).with_patience(self.patience.clone()))
    }

    async fn sync(&self) -> Result<State, FeedError> {
        self.open().sync("feed", false, &silent()).await
    }

    async fn force(&self) -> Result<State, FeedError> {
        self.open().sync("feed", true, &silent()).await
    }

    async fn import(&self, files: &[(&str, &str)], add: bool) -> Result<State, FeedError> {
        let brought = tempfile::tempdir().unwrap();
        let files = files.iter().enumerate().map(|(at, (name, text))| {
            let path = brought.path().join(at.to_string());
            std::fs::write(&path, text).unwrap();
            Import { name: (*name).to_owned(), path }
        });
        self.open().import("feed", files.collect(), add, false, &silent()).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("feeds/feed").join(name)
    }

    fn state(&self) -> State {
        self.open().state(&self.feed).unwrap()
    }

    fn catalog(&self) -> Arc<Catalog> {
        let (catalog, problems) = self.open().catalog();
        assert_eq!(problems, Vec::<String>::new());
        catalog
    }

    /// Names of the files in one of its folders.
    fn files(&self, folder: &str) -> Vec<String> {
        names(&self.path(folder))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut out: Vec<String> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    out.sort();
    out
}

fn outcome(state: &State) -> Outcome {
    state.history.front().unwrap().outcome
}

/// A list of these many DSAs, the first `changed` of them with another version.
fn dsa(count: usize, changed: usize) -> String {
    let one = |n: usize| {
        let version = if n < changed { "2.0-1" } else { "1.0-1" };
        format!(
            "[01 Jan 2024] DSA-{}-1 package-{n} - security update\n\t{{CVE-2024-{}}}\n\t[bookworm] - package-{n} {version}\n",
            n + 1,
            n + 1000
        )
    };
    (0..count).map(one).collect()
}

fn kev(cves: &[u32], ransomware: &str) -> String {
    let entry = |n: &u32| json!({"cveID": format!("CVE-2024-{n}"), "dateAdded": "2024-01-01", "dueDate": "2024-02-01", "knownRansomwareCampaignUse": ransomware});
    json!({"catalogVersion": "1", "vulnerabilities": cves.iter().map(entry).collect::<Vec<Value>>()}).to_string()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
