//! Feeds that are many documents: a CSAF provider's metadata, ROLIE feeds or folder, and Microsoft's list of months. Only what is new or changed is fetched.
//!
//! Each document stands for itself: one that cannot be fetched leaves its older version in use and is a problem of the feed, until too many fail. What came is noted
//! in `pending.jsonl` as it comes, so that a sync that is killed goes on where it was.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;

use super::fetch::{Ask, Fetched, Validators};
use super::folder::IoError;
use super::gather::{Gathered, Gatherer, Kind, accept, blocking, short};
use super::url::{is_https, join};
use super::{FeedError, FileRecord, Format, Step, verify};

/// Documents that are fetched at once.
const AT_ONCE: usize = 4;
/// Where so many of the documents that were asked for failed, and a tenth of them, something is wrong with the server.
const FAILURES: usize = 10;

/// A document, as a list names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub url: String,
    /// Another text when the document changed; empty where the list does not say.
    pub updated: String,
    pub checksum: Option<String>,
    pub signature: Option<String>,
}

/// The documents of a list, by URL; and what is left out of it.
#[derive(Debug, Default)]
struct Listing {
    documents: BTreeMap<String, Listed>,
    notes: Vec<String>,
}

impl Listing {
    /// Of two entries of one document the later one counts. A list that came by https names nothing that comes by http.
    fn add(&mut self, list: &str, listed: Listed) {
        if is_https(list) && !is_https(&listed.url) {
            self.notes.push(format!("`{}` is not fetched: `{list}` came by https and it would come by http", listed.url));
            return;
        }
        match self.documents.get_mut(&listed.url) {
            Some(there) if there.updated >= listed.updated => {}
            _ => drop(self.documents.insert(listed.url.clone(), listed)),
        }
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn items<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn json(url: &str, bytes: &str) -> Result<Value, FeedError> {
    let bytes = bytes.strip_prefix('\u{feff}').unwrap_or(bytes);
    serde_json::from_str(bytes)
        .map_err(|e| FeedError::List { url: super::shown(url).to_owned(), why: format!("it is not the JSON that was expected: {e}") })
}

/// Feeds that anybody may read; the others need a certificate or a password.
fn is_public(feed: &Value) -> bool {
    let label = text(feed, "tlp_label");
    label.is_empty() || ["WHITE", "CLEAR", "UNLABELED"].iter().any(|l| label.eq_ignore_ascii_case(l))
}

/// The documents that a ROLIE feed names.
fn rolie(listing: &mut Listing, url: &str, feed: &Value) {
    for entry in items(feed, "/feed/entry") {
        let links = items(entry, "/link");
        let link = |rel: &str, ending: &str| {
            let hrefs = links.iter().filter(|l| text(l, "rel") == rel).map(|l| text(l, "href"));
            hrefs.filter(|h| h.ends_with(ending)).map(|h| join(url, h)).next()
        };
        let source = entry.pointer("/content/src").and_then(Value::as_str).filter(|s| !s.is_empty()).map(|s| join(url, s));
        let Some(document) = link("self", ".json").or(source) else {
            listing.notes.push(format!("`{}`: the entry `{}` names no document", super::shown(url), text(entry, "id")));
            continue;
        };
        let checksum = link("hash", ".sha512").or_else(|| link("hash", ".sha256")).or_else(|| link("hash", ""));
        let signature = link("signature", "");
        listing.add(url, Listed { url: document, updated: text(entry, "updated").to_owned(), checksum, signature });
    }
}

/// `"2024/x.json","2024-05-01T10:00:00Z"` a line, or names alone.
fn directory(listing: &mut Listing, url: &str, list: &str) {
    let mut csv = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(list.as_bytes());
    for record in csv.records() {
        let Ok(record) = record else {
            listing.notes.push(format!("`{}` has a line that is no CSV", super::shown(url)));
            continue;
        };
        let name = record.get(0).unwrap_or_default().trim();
        if name.to_ascii_lowercase().ends_with(".json") {
            let updated = record.get(1).unwrap_or_default().trim().to_owned();
            listing.add(url, Listed { url: join(url, name), updated, checksum: None, signature: None });
        }
    }
}

/// Microsoft's months, each with the date of its last change.
fn months(listing: &mut Listing, url: &str, list: &Value) {
    for month in items(list, "/value") {
        let (id, at) = (text(month, "ID"), text(month, "CvrfUrl"));
        let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let document = match (at, plain) {
            ("", false) => {
                listing.notes.push(format!("`{}` has a month without a name", super::shown(url)));
                continue;
            }
            ("", true) => join(url, &format!("cvrf/{id}")),
            (at, _) => join(url, at),
        };
        listing.add(url, Listed { url: document, updated: text(month, "CurrentReleaseDate").to_owned(), checksum: None, signature: None });
    }
}

/// What one document came to: its record, and whether it was held against a checksum.
type Done = (Listed, Result<Option<(FileRecord, bool)>, FeedError>);

impl Gatherer {
    pub(super) async fn list(self: &Arc<Self>, kind: Kind, url: &str) -> Result<Gathered, FeedError> {
        let mut listing = Listing::default();
        match kind {
            Kind::Provider => self.provider(&mut listing, url).await?,
            Kind::Rolie => rolie(&mut listing, url, &json(url, &self.fetcher.text(url, &self.limits).await?)?),
            Kind::Directory => directory(&mut listing, url, &self.fetcher.text(url, &self.limits).await?),
            // The list is not large, but JSON only for those who ask for it.
            Kind::Updates | Kind::File => months(&mut listing, url, &json(url, &self.json_text(url).await?)?),
        }
        if listing.documents.len() > self.limits.feed_files {
            return Err(FeedError::TooManyFiles { limit: self.limits.feed_files });
        }
        self.documents(listing).await
    }

    async fn json_text(&self, url: &str) -> Result<String, FeedError> {
        let most = (u64::try_from(self.limits.feed_document_bytes).unwrap_or(u64::MAX), "limits.feed_document_bytes");
        let ask = Ask { url, known: None, accept: Some("application/json"), most };
        match self.fetcher.file(&ask, &|_, _| {}).await? {
            Fetched::NotModified => Ok(String::new()),
            Fetched::File { path, .. } => {
                let text = std::fs::read_to_string(&path);
                std::fs::remove_file(&path).ok();
                Ok(text.map_err(|source| IoError { path, source })?)
            }
        }
    }

    /// ROLIE feeds where there are any, else folders.
    async fn provider(&self, listing: &mut Listing, url: &str) -> Result<(), FeedError> {
        let metadata = json(url, &self.fetcher.text(url, &self.limits).await?)?;
        let (mut feeds, mut folders) = (Vec::new(), Vec::new());
        for distribution in items(&metadata, "/distributions") {
            for feed in items(distribution, "/rolie/feeds") {
                match text(feed, "url") {
                    "" => {}
                    at if is_public(feed) => feeds.push(join(url, at)),
                    at => listing.notes.push(format!(
                        "`{}` is not for everybody (TLP:{}) and left out",
                        super::shown(at),
                        text(feed, "tlp_label")
                    )),
                }
            }
            match text(distribution, "directory_url") {
                "" => {}
                at => folders.push(join(url, &format!("{}/", at.trim_end_matches('/')))),
            }
        }
        if feeds.is_empty() && folders.is_empty() {
            let why = "it names no ROLIE feed and no folder: is it the `provider-metadata.json` of a CSAF provider?".to_owned();
            return Err(FeedError::List { url: super::shown(url).to_owned(), why });
        }
        if let Some(lead) = feeds.iter().chain(&folders).find(|lead| is_https(url) && !is_https(lead)) {
            return Err(super::FetchError::Downgrade { url: super::shown(url).to_owned(), to: super::shown(lead).to_owned() }.into());
        }
        for feed in &feeds {
            rolie(listing, feed, &json(feed, &self.fetcher.text(feed, &self.limits).await?)?);
        }
        // The same documents lie in folders as well.
        for folder in folders.iter().filter(|_| feeds.is_empty()) {
            let (changes, index) = (join(folder, "changes.csv"), join(folder, "index.txt"));
            match self.fetcher.text_if_there(&changes, &self.limits).await? {
                Some(list) => directory(listing, &changes, &list),
                None => directory(listing, &index, &self.fetcher.text(&index, &self.limits).await?),
            }
        }
        Ok(())
    }

    /// Fetches what is new or changed.
    async fn documents(self: &Arc<Self>, listing: Listing) -> Result<Gathered, FeedError> {
        let mut known = self.known.clone();
        let here = self.pending(&listing);
        known.extend(here.into_iter().map(|r| (r.name.clone(), r)));
        let mut out = Gathered { notes: listing.notes, ..Gathered::default() };
        let total = listing.documents.len();
        let mut waiting = Vec::new();
        for (url, listed) in listing.documents {
            match known.get(&url) {
                Some(known) if !listed.updated.is_empty() && known.listed.as_deref() == Some(listed.updated.as_str()) => {
                    out.files.push(known.clone())
                }
                known => waiting.push((listed, known.cloned())),
            }
        }
        waiting.reverse();
        let asked = waiting.len();
        let (mut running, mut failed, mut unchecked) = (JoinSet::<Done>::new(), Vec::new(), 0usize);
        let (mut journal, mut given_up) = (None, false);
        while !waiting.is_empty() || !running.is_empty() {
            while running.len() < AT_ONCE
                && let Some((listed, known)) = waiting.pop()
            {
                let this = self.clone();
                running.spawn(async move {
                    let result = this.document(&listed, known.as_ref()).await;
                    (listed, result)
                });
            }
            let Some(done) = running.join_next().await else { break };
            let inside = |e| IoError { path: self.place.pending(), source: std::io::Error::other(e) };
            let (listed, result) = done.map_err(inside)?;
            match result {
                Ok(None) => out.notes.push(format!("`{}` is listed and not there", super::shown(&listed.url))),
                Ok(Some((record, checked))) => {
                    unchecked += usize::from(!checked);
                    self.note(&mut journal, &record)?;
                    if known.get(&record.name).is_none_or(|k| k.sha256 != record.sha256) {
                        out.came = (out.came.0 + 1, out.came.1 + record.bytes);
                    }
                    out.files.push(record);
                }
                Err(error) => {
                    out.files.extend(known.get(&listed.url).cloned());
                    failed.push(format!("`{}`: {error}", super::shown(&listed.url)));
                    // Those that are being fetched are still taken: the next sync goes on from them.
                    if failed.len() >= FAILURES.min(asked) && failed.len() >= asked / 10 {
                        given_up = true;
                        waiting.clear();
                    }
                }
            }
            let done = total - waiting.len() - running.len();
            (self.progress)(&self.feed.name, Step::Documents { done, total });
        }
        if given_up {
            let first = failed.swap_remove(0);
            return Err(FeedError::Documents { failed: failed.len() + 1, all: asked, first });
        }
        out.files.sort_by(|a, b| a.name.cmp(&b.name));
        failed.sort();
        out.notes.extend(failed);
        if unchecked > 0 {
            out.notes.push(format!("{unchecked} documents have neither a .sha256 nor a .sha512 beside them"));
        }
        Ok(out)
    }

    /// Appends to what came before the sync ended.
    fn note(&self, journal: &mut Option<std::fs::File>, record: &FileRecord) -> Result<(), FeedError> {
        let path = self.place.pending();
        let fail = |source| IoError { path: path.clone(), source };
        let file = match journal {
            Some(file) => file,
            None => journal.insert(std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(fail)?),
        };
        let mut line = serde_json::to_vec(record).map_err(|e| fail(e.into()))?;
        line.push(b'\n');
        Ok(file.write_all(&line).map_err(fail)?)
    }

    /// What an earlier sync fetched before it ended, of these documents.
    fn pending(&self, listing: &Listing) -> Vec<FileRecord> {
        self.place.pending_records().into_iter().filter(|r| listing.documents.contains_key(&r.name) && self.place.has(r)).collect()
    }

    /// One document; `None` if it is listed and not there.
    async fn document(&self, listed: &Listed, known: Option<&FileRecord>) -> Result<Option<(FileRecord, bool)>, FeedError> {
        let url = listed.url.as_str();
        let validators = known.map(|k| Validators { etag: k.etag.clone(), last_modified: k.last_modified.clone() });
        let most = (u64::try_from(self.limits.feed_document_bytes).unwrap_or(u64::MAX), "limits.feed_document_bytes");
        let ask = Ask { url, known: validators, accept: accept(self.feed.format), most };
        let (path, validators) = match (self.fetcher.file(&ask, &|_, _| {}).await, known) {
            (Ok(Fetched::NotModified), Some(known)) => {
                return Ok(Some((FileRecord { listed: Some(listed.updated.clone()), ..known.clone() }, true)));
            }
            (Ok(Fetched::NotModified), None)
            | (Err(super::FetchError::Status { status: hyper::StatusCode::NOT_FOUND | hyper::StatusCode::GONE, .. }), _) => {
                return Ok(None);
            }
            (Err(error), _) => return Err(error.into()),
            (Ok(Fetched::File { path, validators }), _) => (path, validators),
        };
        match self.check_document(listed, &path).await {
            Ok(checked) => {
                let record = self.keep(url, path, validators, Some(listed.updated.clone())).await?;
                Ok(Some((record, checked)))
            }
            Err(error) => {
                std::fs::remove_file(&path).ok();
                Err(error)
            }
        }
    }

    /// Whether a document is whole and what was published. Gives whether there was a checksum.
    async fn check_document(&self, listed: &Listed, path: &Path) -> Result<bool, FeedError> {
        let name = short(&listed.url);
        let mut checked = self.feed.format != Format::Csaf;
        if self.feed.format == Format::Csaf {
            let beside = [format!("{}.sha256", listed.url), format!("{}.sha512", listed.url)];
            let mut found = None;
            match &listed.checksum {
                Some(at) => found = Some((at.clone(), self.fetcher.text(at, &self.limits).await?)),
                None => {
                    for at in beside {
                        if found.is_none() {
                            found = self.fetcher.text_if_there(&at, &self.limits).await?.map(|text| (at, text));
                        }
                    }
                }
            }
            if let Some((at, text)) = found {
                let none = || verify::VerifyError::NoChecksum { at: super::shown(&at).to_owned(), file: name.clone() };
                let wanted = verify::published(&text, &name).ok_or_else(none)?;
                verify::check(path, &name, &wanted)?;
                checked = true;
            }
            if let Some(keyring) = &self.feed.keyring {
                let at = listed.signature.clone().unwrap_or_else(|| format!("{}.asc", listed.url));
                self.signed(&at, keyring, path, &name).await?;
            }
        }
        let (path, url) = (path.to_owned(), super::shown(&listed.url).to_owned());
        blocking(move || {
            let bytes = std::fs::read(&path).map_err(|source| IoError { path, source })?;
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            let whole = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
            whole.map(drop).map_err(|e| FeedError::Unusable { file: url, why: format!("it is no JSON document: {e}") })
        })
        .await?;
        Ok(checked)
    }
}
