//! From where a feed is published to whole, checked files under their digests: URLs, lists of documents, paths, imports. What is in use is not touched.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fetch::{Ask, Fetched, Fetcher, Validators};
use super::folder::{Folder, Import, IoError, Place};
use super::{Feed, FeedError, FileRecord, Format, Progress, Source, State, Step, verify};
use crate::client::{Client, Options};
use crate::clock;
use crate::limits::Limits;

/// What a URL leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    /// A CSAF provider's metadata.
    Provider,
    /// A CSAF provider's list of documents.
    Rolie,
    /// The `changes.csv` or `index.txt` of a CSAF provider's folder.
    Directory,
    /// Microsoft's list of months.
    Updates,
}

impl Kind {
    pub(super) fn of(format: Format, url: &str) -> Kind {
        let path = super::shown(url).trim_end_matches('/');
        let last = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        match (format, last.as_str()) {
            (Format::Csaf, "provider-metadata.json") => Kind::Provider,
            (Format::Csaf, "changes.csv" | "index.txt") => Kind::Directory,
            (Format::Csaf, last) if last.starts_with("csaf-feed") && last.ends_with(".json") => Kind::Rolie,
            (Format::MsrcCvrf, "updates") => Kind::Updates,
            _ => Kind::File,
        }
    }
}

/// What is there now, all of it whole and checked.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub files: Vec<FileRecord>,
    /// What is odd and keeps nobody from using the rest.
    pub notes: Vec<String>,
    /// Files that came, and their bytes.
    pub came: (usize, u64),
}

/// How a feed is brought up to date.
#[derive(Debug)]
pub(super) enum Job {
    Sync,
    /// These files are the content; with `true` beside those that are there under other names.
    Import(Vec<Import>, bool),
}

/// Everything that a task of one sync needs.
pub(super) struct Gatherer {
    pub feed: Arc<Feed>,
    pub place: Place,
    pub limits: Limits,
    pub fetcher: Fetcher,
    /// What is there, by name; without what has to be fetched whatever the server says.
    pub known: BTreeMap<String, FileRecord>,
    pub progress: Progress,
}

impl Gatherer {
    pub(super) fn new(folder: &Folder, feed: &Arc<Feed>, state: &State, force: bool, progress: &Progress) -> Result<Gatherer, FeedError> {
        let place = folder.place(&feed.name);
        let client = Client::new(&Options { ca: feed.ca.clone() })?;
        let known = state.files.iter().filter(|f| !force && place.has(f)).map(|f| (f.name.clone(), f.clone()));
        Ok(Gatherer {
            feed: feed.clone(),
            limits: folder.limits.clone(),
            fetcher: Fetcher::new(client, folder.patience.clone(), place.partial(), &folder.limits),
            known: known.collect(),
            progress: progress.clone(),
            place,
        })
    }

    pub(super) async fn run(self: &Arc<Self>, job: Job) -> Result<Gathered, FeedError> {
        match (job, &self.feed.source) {
            (Job::Import(files, add), _) => {
                let this = self.clone();
                blocking(move || this.import(files, add)).await
            }
            (Job::Sync, Source::Imported) => Err(FeedError::NoSource(self.feed.name.clone())),
            (Job::Sync, Source::Paths(paths)) => {
                let (this, paths) = (self.clone(), paths.clone());
                let (gathered, first) = blocking(move || this.paths(&paths)).await?;
                if let (Some(first), Some(signature), Some(keyring)) = (first, &self.feed.signature, &self.feed.keyring) {
                    let file = first.display().to_string();
                    verify::signed(keyring, Path::new(signature), &first, &file).await?;
                }
                Ok(gathered)
            }
            (Job::Sync, Source::Urls(urls)) => {
                let mut all = Gathered::default();
                for url in urls {
                    let one = match Kind::of(self.feed.format, url) {
                        Kind::File => self.url(url).await?,
                        kind => self.list(kind, url).await?,
                    };
                    all.files.extend(one.files);
                    all.notes.extend(one.notes);
                    all.came = (all.came.0 + one.came.0, all.came.1 + one.came.1);
                }
                self.few_enough(all.files.len())?;
                Ok(all)
            }
        }
    }

    fn few_enough(&self, files: usize) -> Result<(), FeedError> {
        let limit = self.limits.feed_files;
        if files > limit { Err(FeedError::TooManyFiles { limit }) } else { Ok(()) }
    }

    async fn url(&self, url: &str) -> Result<Gathered, FeedError> {
        let known = self.known.get(url);
        let validators = known.map(|k| Validators { etag: k.etag.clone(), last_modified: k.last_modified.clone() });
        let most = (self.limits.feed_bytes, "limits.feed_bytes");
        let ask = Ask { url, known: validators, accept: accept(self.feed.format), most };
        let told = |done, total| (self.progress)(&self.feed.name, Step::Fetching { url, done, total });
        match (self.fetcher.file(&ask, &told).await?, known) {
            (Fetched::NotModified, Some(known)) => Ok(Gathered { files: vec![known.clone()], ..Gathered::default() }),
            (Fetched::NotModified, None) => {
                Err(FeedError::List { url: url.to_owned(), why: "answered 304 without being asked for it".to_owned() })
            }
            (Fetched::File { path, validators }, _) => {
                let checked = self.check(url, &path).await;
                if checked.is_err() {
                    // What is wrong is not gone on with.
                    std::fs::remove_file(&path).ok();
                }
                checked?;
                let record = self.keep(url, path, validators, None).await?;
                let came = (1, record.bytes);
                Ok(Gathered { files: vec![record], came, ..Gathered::default() })
            }
        }
    }

    /// Holds a fetched file against its published checksum and signature.
    async fn check(&self, url: &str, path: &Path) -> Result<(), FeedError> {
        let name = short(url);
        if let Some(checksum) = &self.feed.checksum {
            let wanted = match verify::pinned(checksum) {
                Some(wanted) => wanted,
                None => {
                    let text = self.fetcher.text(checksum, &self.limits).await?;
                    let none = || verify::VerifyError::NoChecksum { at: super::shown(checksum).to_owned(), file: name.clone() };
                    verify::published(&text, &name).ok_or_else(none)?
                }
            };
            let (path, name) = (path.to_owned(), name.clone());
            blocking(move || Ok(verify::check(&path, &name, &wanted)?)).await?;
        }
        if let (Some(signature), Some(keyring)) = (&self.feed.signature, &self.feed.keyring) {
            self.signed(signature, keyring, path, &name).await?;
        }
        Ok(())
    }

    pub(super) async fn signed(&self, signature: &str, keyring: &Path, path: &Path, name: &str) -> Result<(), FeedError> {
        let ask = Ask { url: signature, known: None, accept: None, most: (1 << 20, "a signature's size") };
        match self.fetcher.file(&ask, &|_, _| {}).await? {
            Fetched::File { path: signature, .. } => {
                let verified = verify::signed(keyring, &signature, path, name).await;
                std::fs::remove_file(&signature).ok();
                Ok(verified?)
            }
            Fetched::NotModified => Ok(()),
        }
    }

    /// Moves a whole file to the content and notes it.
    pub(super) async fn keep(
        &self,
        name: &str,
        path: PathBuf,
        validators: Validators,
        listed: Option<String>,
    ) -> Result<FileRecord, FeedError> {
        let (place, name, fetched) = (self.place.clone(), name.to_owned(), clock::now());
        blocking(move || {
            let bytes = std::fs::metadata(&path).map_err(|source| IoError { path: path.clone(), source })?.len();
            let sha256 = verify::sha256_of(&path)?;
            place.take(&path, &sha256)?;
            let Validators { etag, last_modified } = validators;
            Ok(FileRecord { name, fetched, sha256, bytes, etag, last_modified, listed })
        })
        .await
    }

    /// Copies a file to the content, unless it is there.
    fn copy(&self, name: &str, path: &Path, most: u64) -> Result<(FileRecord, bool), FeedError> {
        let fail = |source| IoError { path: path.to_owned(), source };
        let mut from = std::fs::File::open(path).map_err(fail)?;
        self.place.room(from.metadata().map_err(fail)?.len(), &self.limits)?;
        let mut aside = tempfile::Builder::new().prefix(super::folder::ASIDE).tempfile_in(self.place.partial()).map_err(fail)?;
        let bytes = std::io::copy(&mut (&mut from).take(most.saturating_add(1)), &mut aside).map_err(fail)?;
        if bytes > most {
            let (url, name) = (path.display().to_string(), "limits.feed_bytes");
            return Err(super::FetchError::TooLarge { url, limit: most, name }.into());
        }
        aside.flush().and_then(|()| aside.as_file().sync_all()).map_err(fail)?;
        let sha256 = verify::sha256_of(aside.path())?;
        let known = self.known.get(name).filter(|k| k.sha256 == sha256);
        if let Some(known) = known {
            return Ok((known.clone(), false));
        }
        let to = self.place.content(&sha256);
        aside.persist(&to).map_err(|e| IoError { path: to, source: e.error })?;
        let (name, fetched) = (name.to_owned(), clock::now());
        Ok((FileRecord { name, fetched, sha256, bytes, etag: None, last_modified: None, listed: None }, true))
    }

    /// Files and folders of this machine; a folder stands for the documents in it. Also gives the file, where there is one.
    fn paths(&self, paths: &[PathBuf]) -> Result<(Gathered, Option<PathBuf>), FeedError> {
        let mut found = Vec::new();
        for path in paths {
            walk(path, &mut found, self.limits.feed_files)?;
        }
        self.few_enough(found.len())?;
        found.sort();
        found.dedup();
        let mut out = Gathered::default();
        for path in &found {
            let name = path.display().to_string();
            if let Some(checksum) = &self.feed.checksum {
                check_beside(path, &name, checksum)?;
            }
            let (record, came) = self.copy(&name, path, self.limits.feed_bytes)?;
            if came {
                out.came = (out.came.0 + 1, out.came.1 + record.bytes);
            }
            out.files.push(record);
            (self.progress)(&self.feed.name, Step::Documents { done: out.files.len(), total: found.len() });
        }
        Ok((out, found.into_iter().next()))
    }

    fn import(&self, files: Vec<Import>, add: bool) -> Result<Gathered, FeedError> {
        let mut out = Gathered::default();
        let mut all: BTreeMap<String, FileRecord> = if add { self.known.clone() } else { BTreeMap::new() };
        for Import { name, path } in files {
            if let Some(wanted) = self.feed.checksum.as_deref().and_then(verify::pinned) {
                verify::check(&path, &name, &wanted)?;
            }
            let (record, came) = self.copy(&name, &path, self.limits.feed_bytes)?;
            if came {
                out.came = (out.came.0 + 1, out.came.1 + record.bytes);
            }
            all.insert(name, record);
        }
        out.files = all.into_values().collect();
        self.few_enough(out.files.len())?;
        Ok(out)
    }
}

/// Runs what waits for the disk off the threads that wait for the network.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, FeedError> + Send + 'static) -> Result<T, FeedError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(IoError { path: PathBuf::new(), source: std::io::Error::other(error) }.into()),
    }
}

pub(super) fn accept(format: Format) -> Option<&'static str> {
    // XML is what Microsoft sends unless asked.
    (format == Format::MsrcCvrf).then_some("application/json")
}

pub(super) fn short(url: &str) -> String {
    super::shown(url).trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
}

fn check_beside(path: &Path, name: &str, checksum: &str) -> Result<(), FeedError> {
    let short = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let wanted = match verify::pinned(checksum) {
        Some(wanted) => wanted,
        None => {
            let at = PathBuf::from(checksum);
            let text = std::fs::read_to_string(&at).map_err(|source| IoError { path: at, source })?;
            let none = || verify::VerifyError::NoChecksum { at: checksum.to_owned(), file: short.clone() };
            verify::published(&text, &short).ok_or_else(none)?
        }
    };
    Ok(verify::check(path, name, &wanted)?)
}

/// What lies beside documents and is none.
const BESIDE: [&str; 5] = ["sha256", "sha512", "asc", "sig", "txt"];

fn walk(path: &Path, out: &mut Vec<PathBuf>, most: usize) -> Result<(), FeedError> {
    let fail = |source| IoError { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(fail)?.is_dir() {
        out.push(path.to_owned());
        return Ok(());
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let fail = |source| IoError { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(fail)?);
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let beside = path.extension().and_then(|e| e.to_str()).is_some_and(|e| BESIDE.contains(&e));
            let list = matches!(entry.file_name().to_str(), Some("changes.csv" | "deletions.csv" | "provider-metadata.json"));
            if hidden {
                continue;
            }
            // Links to folders are not followed: they may go round.
            if kind.is_dir() {
                folders.push(path);
            } else if !beside && !list && path.is_file() {
                out.push(path);
            }
            if out.len() > most {
                return Err(FeedError::TooManyFiles { limit: most });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_tell_what_they_lead_to() {
        for (format, url, kind) in [
            (Format::Csaf, "https://h/.well-known/csaf/provider-metadata.json", Kind::Provider),
            (Format::Csaf, "https://h/csaf/white/changes.csv?x", Kind::Directory),
            (Format::Csaf, "https://h/csaf/csaf-feed-tlp-white.json", Kind::Rolie),
            (Format::Csaf, "https://h/csaf/2024/rhsa-1.json", Kind::File),
            (Format::Osv, "https://h/provider-metadata.json", Kind::File),
            (Format::MsrcCvrf, "https://h/cvrf/v3.0/updates", Kind::Updates),
            (Format::MsrcCvrf, "https://h/cvrf/v3.0/Updates/", Kind::Updates),
            (Format::MsrcCvrf, "https://h/cvrf/v3.0/cvrf/2024-Nov", Kind::File),
        ] {
            assert_eq!(Kind::of(format, url), kind, "{url}");
        }
    }
}
