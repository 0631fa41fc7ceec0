//! A URL in, a whole file on the disk out: conditional, resumed where a connection broke, bounded in bytes and in time.
//!
//! What arrives lies under `partial/` until its end has come; nothing here touches what is in use. A broken download is gone on with by `Range` and `If-Range`,
//! in this process or the next one, and only where the server says by a strong `ETag` (or by `Last-Modified`) that it is still the same file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::folder::IoError;
use super::url::{is_https, join, shown};
use crate::client::{Client, ClientError, Streaming};
use crate::limits::Limits;
use crate::state::embedded::space_left;

/// How long is waited for what, and how often it is tried.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For the head of a response.
    pub head: Duration,
    /// Without a byte.
    pub idle: Duration,
    /// In each such time...
    pub window: Duration,
    /// ...at least so many bytes must come.
    pub window_bytes: u64,
    pub attempts: u32,
    /// Before the second attempt; four times as long before each further one.
    pub backoff: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            head: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            window: Duration::from_secs(60),
            window_bytes: 64 << 10,
            attempts: 4,
            backoff: Duration::from_secs(1),
        }
    }
}

const REDIRECTS: usize = 5;
/// What a server may ask us to wait before the next attempt; who asks for more is asked again at the next sync.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
/// Between two looks at the free space of the disk.
const ROOM_EVERY: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("`{url}` answered {status}{}", hint(*status))]
    Status { url: String, status: StatusCode },
    #[error("`{url}` leads to more than {REDIRECTS} other addresses, at last `{last}`; give the one where the file is")]
    Redirects { url: String, last: String },
    #[error("`{url}` leads from https to `{to}`, which anybody on the way could change; it is not followed")]
    Downgrade { url: String, to: String },
    #[error("`{url}` is over {limit} bytes ({name})")]
    TooLarge { url: String, limit: u64, name: &'static str },
    #[error("`{url}` sent under {bytes} bytes within {seconds} s; the download was given up, what came is kept for the next attempt")]
    TooSlow { url: String, bytes: u64, seconds: u64 },
    #[error("`{url}` {why}")]
    Odd { url: String, why: String },
    #[error("no room for `{url}` in `{}`: {free} bytes are free and {needed} are needed (with limits.disk_reserve_bytes)", folder.display())]
    NoRoom { url: String, folder: PathBuf, free: u64, needed: u64 },
    #[error(transparent)]
    Disk(#[from] IoError),
}

fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => ": it is not for everybody, or it refuses this network or client",
        404 | 410 => ": nothing is there (any more); the vendor may have moved it",
        429 => ": we came too often; `every` may be too short",
        500.. => ": the vendor's server has a problem",
        _ => "",
    }
}

/// Whether another attempt may help, and when.
struct Failed {
    error: FetchError,
    again: Option<Option<Duration>>,
}

impl From<FetchError> for Failed {
    fn from(error: FetchError) -> Failed {
        use ClientError::{Broken, Refused, Timeout, Unreachable};
        let again = match &error {
            FetchError::Client(Refused { .. } | Unreachable { .. } | Timeout { .. } | Broken { .. }) => Some(None),
            FetchError::Status { status, .. } if matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504) => Some(None),
            FetchError::TooSlow { .. } | FetchError::Odd { .. } => Some(None),
            _ => None,
        };
        Failed { error, again }
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Failed {
        FetchError::from(error).into()
    }
}

impl From<IoError> for Failed {
    fn from(error: IoError) -> Failed {
        FetchError::from(error).into()
    }
}

/// What tells one content of a URL from the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

impl Validators {
    fn of(headers: &HeaderMap) -> Validators {
        let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Validators { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }

    /// What `If-Range` takes: a strong ETag, or a date where there is no ETag at all.
    fn strong(&self) -> Option<&str> {
        match &self.etag {
            Some(etag) => Some(etag.as_str()).filter(|e| e.starts_with('"')),
            None => self.last_modified.as_deref(),
        }
    }
}

/// What is asked for.
pub(super) struct Ask<'a> {
    pub url: &'a str,
    /// Of the content that is in use already.
    pub known: Option<Validators>,
    pub accept: Option<&'static str>,
    /// Bytes that it may have, and the limit that says so.
    pub most: (u64, &'static str),
}

#[derive(Debug)]
pub(super) enum Fetched {
    /// The content that is in use is still the present one.
    NotModified,
    /// A whole file, to be moved or removed by the caller.
    File { path: PathBuf, validators: Validators },
}

/// Bytes that have come, and bytes that will, where it is known.
pub(super) type Told<'a> = &'a (dyn Fn(u64, Option<u64>) + Send + Sync);

pub(super) struct Fetcher {
    client: Client,
    patience: Patience,
    /// The folder of what has not come to its end.
    partial: PathBuf,
    reserve: u64,
}

/// A download that has begun: `<hash of the URL>` holds the bytes, `<hash>.json` what they are of.
struct Partial {
    path: PathBuf,
    note: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Note {
    url: String,
    validators: Validators,
}

impl Partial {
    fn of(folder: &Path, url: &str) -> Partial {
        let name = super::verify::sha256(url.as_bytes());
        let name = name.get(..32).unwrap_or(&name);
        Partial { path: folder.join(name), note: folder.join(format!("{name}.json")) }
    }

    /// Where to go on, if it is known of what.
    fn begun(&self, url: &str) -> Option<(u64, Validators)> {
        let note: Note = serde_json::from_slice(&std::fs::read(&self.note).ok()?).ok()?;
        let length = std::fs::metadata(&self.path).ok()?.len();
        (note.url == url && length > 0 && note.validators.strong().is_some()).then_some((length, note.validators))
    }

    fn forget(&self) {
        // What is not there needs not be removed, and what cannot be is written over.
        std::fs::remove_file(&self.note).ok();
        std::fs::remove_file(&self.path).ok();
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// `bytes 5-9/10` as where it begins and how long the whole is.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?;
    let (range, whole) = text.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    Some((from.trim().parse().ok()?, whole.trim().parse().ok()))
}

/// Attempts that are left, and how long is waited before the next.
struct Attempts {
    left: u32,
    wait: Duration,
}

impl Attempts {
    fn of(patience: &Patience) -> Attempts {
        Attempts { left: patience.attempts, wait: patience.backoff }
    }

    /// Waits until it may be tried again, or gives the error.
    async fn wait(&mut self, failed: Failed) -> Result<(), FetchError> {
        self.left = self.left.saturating_sub(1);
        let Failed { error, again } = failed;
        match again {
            Some(asked) if self.left > 0 && asked.is_none_or(|a| a <= RETRY_AFTER_MAX) => {
                tracing::debug!(%error, left = self.left, "a fetch is tried again");
                tokio::time::sleep(asked.unwrap_or_default().max(self.wait)).await;
                self.wait = self.wait.saturating_mul(4);
                Ok(())
            }
            _ => Err(error),
        }
    }
}

impl Fetcher {
    pub(super) fn new(client: Client, patience: Patience, partial: PathBuf, limits: &Limits) -> Fetcher {
        // Twice what the store keeps free: a feed must not be what stops uploads.
        Fetcher { client, patience, partial, reserve: limits.disk_reserve_bytes.saturating_mul(2) }
    }

    /// A small text such as a list or a checksum.
    pub(super) async fn text(&self, url: &str, limits: &Limits) -> Result<String, FetchError> {
        let mut attempts = Attempts::of(&self.patience);
        let bytes = loop {
            match self.try_text(url, limits.feed_document_bytes).await {
                Ok(bytes) => break bytes,
                Err(failed) => attempts.wait(failed).await?,
            }
        };
        String::from_utf8(bytes).map_err(|_| FetchError::Odd { url: shown(url).to_owned(), why: "is not text".to_owned() })
    }

    async fn try_text(&self, url: &str, most: usize) -> Result<Vec<u8>, Failed> {
        let (response, at) = self.follow(url, HeaderMap::new()).await?;
        if response.status != StatusCode::OK {
            return Err(status_failed(&at, &response));
        }
        match response.whole(self.patience.idle, most).await {
            Err(ClientError::TooLarge { .. }) => {
                let limit = u64::try_from(most).unwrap_or(u64::MAX);
                Err(FetchError::TooLarge { url: shown(url).to_owned(), limit, name: "limits.feed_document_bytes" }.into())
            }
            other => Ok(other?),
        }
    }

    /// The same, `None` where nothing is at the URL.
    pub(super) async fn text_if_there(&self, url: &str, limits: &Limits) -> Result<Option<String>, FetchError> {
        match self.text(url, limits).await {
            Err(FetchError::Status { status: StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// A file of any size.
    pub(super) async fn file(&self, ask: &Ask<'_>, told: Told<'_>) -> Result<Fetched, FetchError> {
        let mut attempts = Attempts::of(&self.patience);
        loop {
            match self.try_file(ask, told).await {
                Ok(fetched) => return Ok(fetched),
                Err(failed) => attempts.wait(failed).await?,
            }
        }
    }

    /// Sends a GET, and again where it is led elsewhere. Gives the address that answered, too.
    async fn follow(&self, url: &str, headers: HeaderMap) -> Result<(Streaming, String), Failed> {
        let mut at = url.to_owned();
        for _ in 0..=REDIRECTS {
            let response = self.client.open(&at, headers.clone(), self.patience.head).await?;
            if !matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((response, at));
            }
            let Some(location) = response.headers.get(LOCATION).and_then(|l| l.to_str().ok()) else {
                return Err(status_failed(&at, &response));
            };
            let to = join(&at, location);
            if is_https(&at) && !is_https(&to) {
                return Err(FetchError::Downgrade { url: shown(&at).to_owned(), to: shown(&to).to_owned() }.into());
            }
            at = to;
        }
        Err(FetchError::Redirects { url: shown(url).to_owned(), last: shown(&at).to_owned() }.into())
    }

    async fn try_file(&self, ask: &Ask<'_>, told: Told<'_>) -> Result<Fetched, Failed> {
        let partial = Partial::of(&self.partial, ask.url);
        let begun = partial.begun(ask.url);
        let mut headers = HeaderMap::new();
        if let Some(accept) = ask.accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        if let Some(known) = &ask.known {
            match (&known.etag, &known.last_modified) {
                (Some(etag), _) => set(&mut headers, IF_NONE_MATCH, etag),
                (None, Some(date)) => set(&mut headers, IF_MODIFIED_SINCE, date),
                (None, None) => {}
            }
        }
        if let Some((length, validators)) = &begun {
            set(&mut headers, RANGE, &format!("bytes={length}-"));
            set(&mut headers, IF_RANGE, validators.strong().unwrap_or_default());
        }
        let (response, at) = self.follow(ask.url, headers).await?;
        let validators = Validators::of(&response.headers);
        let odd = |why: &str| FetchError::Odd { url: shown(&at).to_owned(), why: why.to_owned() };
        let from = match (response.status, &begun) {
            (StatusCode::NOT_MODIFIED, _) if ask.known.is_some() => {
                partial.forget();
                return Ok(Fetched::NotModified);
            }
            (StatusCode::OK, _) => 0,
            (StatusCode::PARTIAL_CONTENT, Some((length, before))) => {
                let same = validators.etag == before.etag && (before.etag.is_some() || validators.last_modified == before.last_modified);
                if content_range(&response.headers).map(|r| r.0) != Some(*length) || !same {
                    partial.forget();
                    return Err(odd("gave a part of another file than the one that was begun; it is fetched from its beginning").into());
                }
                *length
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
                partial.forget();
                return Err(odd("has less than was fetched before; it is fetched from its beginning").into());
            }
            (StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED, _) => {
                return Err(odd(&format!("answered {} without being asked for it", response.status)).into());
            }
            _ => return Err(status_failed(&at, &response)),
        };
        self.receive(ask, told, response, from, &partial, &validators).await?;
        // It is whole: nothing is to be gone on with.
        std::fs::remove_file(&partial.note).ok();
        Ok(Fetched::File { path: partial.path, validators })
    }

    /// Writes what comes behind the first `from` bytes.
    async fn receive(
        &self,
        ask: &Ask<'_>,
        told: Told<'_>,
        mut response: Streaming,
        from: u64,
        partial: &Partial,
        validators: &Validators,
    ) -> Result<(), Failed> {
        let fail = |source| IoError { path: partial.path.clone(), source };
        let total = match response.status {
            StatusCode::PARTIAL_CONTENT => content_range(&response.headers).and_then(|r| r.1),
            _ => number(&response.headers, CONTENT_LENGTH),
        };
        let (most, name) = ask.most;
        let too_large = || FetchError::TooLarge { url: shown(ask.url).to_owned(), limit: most, name };
        if total.is_some_and(|t| t > most) {
            partial.forget();
            return Err(too_large().into());
        }
        self.room(ask.url, total.unwrap_or(0).saturating_sub(from))?;
        if from == 0 {
            // In this order: bytes are never taken for those of another file.
            partial.forget();
            let note = Note { url: ask.url.to_owned(), validators: validators.clone() };
            let note = serde_json::to_vec(&note).map_err(|e| fail(e.into()))?;
            std::fs::write(&partial.note, note).map_err(fail)?;
        }
        let file = tokio::fs::OpenOptions::new().create(true).append(true).open(&partial.path).await.map_err(fail)?;
        let mut file = tokio::io::BufWriter::with_capacity(256 << 10, file);
        let received = self.pour(ask, told, &mut response, &mut file, (from, total)).await;
        // Also what came before it broke is of use to the next attempt.
        let flushed = file.flush().await.map_err(fail);
        if let Err(failed) = received {
            if matches!(failed.error, FetchError::TooLarge { .. }) || validators.strong().is_none() {
                partial.forget();
            }
            return Err(failed);
        }
        flushed?;
        file.into_inner().sync_all().await.map_err(fail)?;
        Ok(())
    }

    async fn pour(
        &self,
        ask: &Ask<'_>,
        told: Told<'_>,
        response: &mut Streaming,
        file: &mut tokio::io::BufWriter<tokio::fs::File>,
        (from, total): (u64, Option<u64>),
    ) -> Result<(), Failed> {
        let fail = |source| IoError { path: self.partial.clone(), source };
        let (most, name) = ask.most;
        let mut length = from;
        let mut looked_at = from;
        let (mut since, mut since_length) = (Instant::now(), from);
        while let Some(piece) = response.next(self.patience.idle).await? {
            length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            if length > most {
                return Err(FetchError::TooLarge { url: shown(ask.url).to_owned(), limit: most, name }.into());
            }
            if length - looked_at > ROOM_EVERY {
                self.room(ask.url, total.unwrap_or(length).saturating_sub(length))?;
                looked_at = length;
            }
            file.write_all(&piece).await.map_err(fail)?;
            told(length, total);
            if since.elapsed() >= self.patience.window {
                if length - since_length < self.patience.window_bytes {
                    let seconds = self.patience.window.as_secs();
                    return Err(FetchError::TooSlow { url: shown(ask.url).to_owned(), bytes: self.patience.window_bytes, seconds }.into());
                }
                (since, since_length) = (Instant::now(), length);
            }
        }
        if total.is_some_and(|t| t != length) {
            let why = format!("ended after {length} of {} bytes", total.unwrap_or(0));
            return Err(FetchError::Odd { url: shown(ask.url).to_owned(), why }.into());
        }
        Ok(())
    }

    fn room(&self, url: &str, more: u64) -> Result<(), FetchError> {
        let Some((free, size)) = space_left(&self.partial) else { return Ok(()) };
        let needed = more.saturating_add(self.reserve.min(size / 10));
        if free >= needed {
            return Ok(());
        }
        Err(FetchError::NoRoom { url: shown(url).to_owned(), folder: self.partial.clone(), free, needed })
    }
}

fn status_failed(url: &str, response: &Streaming) -> Failed {
    let failed: Failed = FetchError::Status { url: shown(url).to_owned(), status: response.status }.into();
    // Seconds; a date is as good as nothing said, for our clock may be another one.
    let asked = number(&response.headers, RETRY_AFTER).map(Duration::from_secs);
    Failed { again: failed.again.map(|_| asked), ..failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_validators() {
        let mut headers = HeaderMap::new();
        for (text, range) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */10", None),
            ("pages 5-9/10", None),
            ("bytes 99999999999999999999-9/10", None),
        ] {
            set(&mut headers, CONTENT_RANGE, text);
            assert_eq!(content_range(&headers), range, "{text}");
        }
        let validators =
            |etag: Option<&str>, date: Option<&str>| Validators { etag: etag.map(str::to_owned), last_modified: date.map(str::to_owned) };
        assert_eq!(validators(Some("\"a\""), Some("d")).strong(), Some("\"a\""));
        assert_eq!(validators(Some("W/\"a\""), Some("d")).strong(), None);
        assert_eq!(validators(None, Some("d")).strong(), Some("d"));
    }
}
