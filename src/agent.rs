//! An endpoint's side of the API: enrol, ask what to collect, upload, fetch tasks, report results.
//!
//! `Server` + what to say -> HTTP through `client` -> what the server answered, typed, or an error for people. Used by
//! `muster scan --server`, the agent and the demo.

pub mod install;
mod key;
pub mod pace;
pub mod run;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::{Client, ClientError, Response, check_url};
use crate::deploy::{Action, TaskState};
use crate::dictionary;
use crate::limits::Limits;
use crate::rule::Collect;
use crate::scan::inflate::{Encoding, inflate};
use crate::scan::table::TableId;

pub use key::{KeyError, KeySlot, read_secret};

/// A whole exchange; an upload is judged and durable when it is answered.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer: the tasks of one endpoint, what to collect.
const ANSWER_MAX: usize = 4 << 20;

/// How often, and how long, an upload waits for a server that is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts in all.
    pub attempts: u32,
    /// The first wait where the server names none; it doubles.
    pub first: Duration,
    /// No wait is longer; who is told to stay away for longer gives up for now, and says how long.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { attempts: 5, first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// A server, and the key that it knows this endpoint by.
#[derive(Clone)]
pub struct Server {
    client: Client,
    url: String,
    key: Option<String>,
    pub patience: Patience,
}

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What a `application/problem+json` says.
    #[error("{title}: {detail}")]
    Refused { status: StatusCode, title: String, detail: String, after: Option<Duration> },
    #[error("the answer of `{url}` (status {status}) is not the one of a muster server: {why}; is this the right URL?")]
    Answer { url: String, status: StatusCode, why: String },
    #[error("the key cannot be sent: it holds characters that a header may not have")]
    Key,
}

impl AgentError {
    /// How long the server wants to be left alone.
    pub fn after(&self) -> Option<Duration> {
        match self {
            AgentError::Refused { after, .. } => *after,
            AgentError::Answer { .. } | AgentError::Client(_) | AgentError::Key => None,
        }
    }

    /// The status that the server refused with.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            AgentError::Refused { status, .. } | AgentError::Answer { status, .. } => Some(*status),
            AgentError::Client(_) | AgentError::Key => None,
        }
    }
}

/// What enrolment gave.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Enrolled {
    pub endpoint: String,
    pub key: String,
}

/// What a server's rules need to have collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asks {
    pub asks: Collect,
    /// The digest of the pack that asks.
    pub pack: String,
}

/// The answer to an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// The digest of the facts.
    pub scan: String,
    pub sequence: u64,
    pub changed: bool,
    pub verdicts: BTreeMap<String, u64>,
    /// How many tasks wait for the endpoint.
    pub tasks: u64,
}

/// A task as the API shows it: what an agent needs of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Task {
    pub id: String,
    /// The rule or requirement that the endpoint must satisfy.
    pub item: String,
    pub action: Action,
    pub state: TaskState,
}

impl Server {
    pub fn new(client: Client, url: &str, key: Option<String>) -> Result<Server, AgentError> {
        check_url(url)?;
        Ok(Server { client, url: url.trim_end_matches('/').to_owned(), key, patience: Patience::default() })
    }

    /// Whether it has a key: before it is enrolled it has none.
    pub fn is_enrolled(&self) -> bool {
        self.key.is_some()
    }

    /// Makes the endpoint known by the secret that enrols, and uses its new key from then on. A host without a name is called by its id.
    pub async fn enroll(&mut self, secret: &str, endpoint: &str, hostname: Option<&str>) -> Result<Enrolled, AgentError> {
        let hostname = hostname.unwrap_or(endpoint);
        let body = json!({"secret": secret, "endpoint": {"id": endpoint, "hostname": hostname}});
        let response = self.exchange(Method::POST, "/v1/enroll", None, body.to_string().into()).await?;
        let enrolled: Enrolled = self.answer(&response)?;
        self.key = Some(enrolled.key.clone());
        Ok(enrolled)
    }

    /// What to collect. Tables that this version does not know are left out, and said in the log.
    pub async fn fetch_asks(&self) -> Result<Asks, AgentError> {
        #[derive(Deserialize)]
        struct Answer {
            asks: BTreeMap<String, Vec<String>>,
            pack: String,
        }
        let response = self.exchange(Method::GET, "/v1/collect", None, Bytes::new()).await?;
        let answer: Answer = self.answer(&response)?;
        let mut asks = Collect::new();
        for (table, items) in answer.asks {
            match TableId::by_name(&table) {
                Some(id) => drop(asks.insert(id, items)),
                None => tracing::warn!(table, "the server asks for a table that this version does not know, it is not collected"),
            }
        }
        Ok(Asks { asks, pack: answer.pack })
    }

    /// Puts a whole scan. A server that is busy (429, 503) is asked again, a bounded number of times.
    pub async fn upload(&self, endpoint: &str, scan: &[u8], encoding: Encoding) -> Result<Uploaded, AgentError> {
        let body = Bytes::from(compress(scan, encoding).map_err(|e| ClientError::Setup { why: format!("compression: {e}") })?);
        let path = format!("/v1/endpoints/{}/scan", segment(endpoint));
        self.patiently(Method::PUT, &path, Some(encoding), body).await
    }

    /// Says that the last scan is still the one of this digest.
    pub async fn check_in(&self, endpoint: &str, digest: &str) -> Result<Uploaded, AgentError> {
        let path = format!("/v1/endpoints/{}/checkin?scan={}", segment(endpoint), segment(digest));
        self.patiently(Method::POST, &path, None, Bytes::new()).await
    }

    /// Puts a scan, or the changed tables of one, compressed with a dictionary.
    pub async fn upload_with(&self, endpoint: &str, scan: &[u8], dictionary: &[u8]) -> Result<Uploaded, AgentError> {
        let body = dictionary::compress(scan, dictionary).map_err(|e| ClientError::Setup { why: format!("compression: {e}") })?;
        let path = format!("/v1/endpoints/{}/scan", segment(endpoint));
        self.patiently(Method::PUT, &path, Some(Encoding::Dcz), body.into()).await
    }

    /// The dictionary that the server has for endpoints like this one, if it has one.
    pub async fn fetch_dictionary(&self, limits: &Limits) -> Result<Option<Vec<u8>>, AgentError> {
        let response = self.exchange(Method::GET, "/v1/dictionary", None, Bytes::new()).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !response.status.is_success() {
            return Err(self.refusal(&response));
        }
        let mut dictionary = Vec::new();
        inflate(Encoding::Zstd, &response.body, limits, &mut dictionary).map_err(|e| self.strange(&response, &e.to_string()))?;
        Ok(Some(dictionary))
    }

    async fn patiently(&self, method: Method, path: &str, encoding: Option<Encoding>, body: Bytes) -> Result<Uploaded, AgentError> {
        let mut wait = self.patience.first;
        let mut attempt = 1;
        loop {
            let response = self.exchange(method.clone(), path, encoding, body.clone()).await?;
            let busy = matches!(response.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            let asked = retry_after(&response);
            if !busy || attempt >= self.patience.attempts || asked.is_some_and(|a| a > self.patience.longest) {
                return self.answer(&response);
            }
            let pause = jittered(asked.unwrap_or(wait), self.patience.longest);
            tracing::info!(status = response.status.as_u16(), attempt, "the server is busy, the upload waits {:.1} s", pause.as_secs_f64());
            tokio::time::sleep(pause).await;
            wait = wait.saturating_mul(2);
            attempt += 1;
        }
    }

    /// The tasks that wait for the endpoint.
    pub async fn fetch_tasks(&self, endpoint: &str) -> Result<Vec<Task>, AgentError> {
        #[derive(Deserialize)]
        struct Answer {
            items: Vec<Task>,
        }
        let path = format!("/v1/endpoints/{}/tasks", segment(endpoint));
        let response = self.exchange(Method::GET, &path, None, Bytes::new()).await?;
        self.answer::<Answer>(&response).map(|a| a.items)
    }

    /// Says how a task went. The next scan says whether it did.
    pub async fn report_result(&self, task: &str, ok: bool, message: &str) -> Result<(), AgentError> {
        let body = json!({"ok": ok, "message": message});
        let path = format!("/v1/tasks/{}/result", segment(task));
        let response = self.exchange(Method::POST, &path, None, body.to_string().into()).await?;
        if response.status.is_success() { Ok(()) } else { Err(self.refusal(&response)) }
    }

    async fn exchange(&self, method: Method, path: &str, encoding: Option<Encoding>, body: Bytes) -> Result<Response, AgentError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let mut bearer = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| AgentError::Key)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        match encoding {
            Some(Encoding::Gzip) => drop(headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"))),
            Some(Encoding::Zstd) => drop(headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"))),
            Some(Encoding::Dcz) => drop(headers.insert(CONTENT_ENCODING, HeaderValue::from_static("dcz"))),
            Some(Encoding::Bzip2) => drop(headers.insert(CONTENT_ENCODING, HeaderValue::from_static("bzip2"))),
            Some(Encoding::Xz) => drop(headers.insert(CONTENT_ENCODING, HeaderValue::from_static("xz"))),
            Some(Encoding::Identity) | None => {}
        }
        let url = format!("{}{path}", self.url);
        Ok(self.client.send(method, &url, headers, body, TIMEOUT, ANSWER_MAX).await?)
    }

    fn answer<T: DeserializeOwned>(&self, response: &Response) -> Result<T, AgentError> {
        if !response.status.is_success() {
            return Err(self.refusal(response));
        }
        serde_json::from_slice(&response.body).map_err(|e| self.strange(response, &e.to_string()))
    }

    fn refusal(&self, response: &Response) -> AgentError {
        #[derive(Deserialize)]
        struct Problem {
            title: String,
            detail: Option<String>,
        }
        match serde_json::from_slice::<Problem>(&response.body) {
            Ok(Problem { title, detail }) => {
                let detail = detail.unwrap_or_else(|| format!("status {}", response.status));
                AgentError::Refused { status: response.status, title, detail, after: retry_after(response) }
            }
            Err(_) => self.strange(response, "it refuses without saying why"),
        }
    }

    fn strange(&self, response: &Response, why: &str) -> AgentError {
        AgentError::Answer { url: self.url.clone(), status: response.status, why: why.to_owned() }
    }
}

/// A scan as it is sent or kept.
pub fn compress(bytes: &[u8], encoding: Encoding) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Identity => Ok(bytes.to_vec()),
        Encoding::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            writer.write_all(bytes)?;
            writer.finish()
        }
        Encoding::Bzip2 | Encoding::Xz | Encoding::Dcz => Err(io::Error::new(io::ErrorKind::Unsupported, "only gzip and zstd are written")),
        // The frame says its size, so that the server inflates it at once.
        Encoding::Zstd => zstd::bulk::compress(bytes, 3),
    }
}

/// The wait that the server asks for, in seconds; the form with a date is not used among us.
fn retry_after(response: &Response) -> Option<Duration> {
    response.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Up to half as long again, so that a fleet which was refused together does not come back together.
fn jittered(wait: Duration, longest: Duration) -> Duration {
    // Where there is no randomness the fleet comes back together; nothing else is lost.
    let share = getrandom::u32().unwrap_or(0) % 1000;
    (wait + wait * share / 2000).min(longest)
}

/// One segment of a path: what is not unreserved in RFC 3986 is escaped.
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
