//! The administrator's side of the API, for commands: an address in, its JSON or an error for people out.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use muster::agent::read_secret;
use muster::client::{Client, Options};
use serde_json::Value;

use super::super::Usage;
use super::From;

const TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of one answer.
const ANSWER_MAX: usize = 256 << 20;
/// Items of a page, where all are wanted.
const PAGE: u16 = 1000;

pub(in crate::cli) struct Server {
    runtime: tokio::runtime::Runtime,
    client: Client,
    url: String,
    headers: HeaderMap,
}

impl Server {
    /// The server that is meant; none: what is asked is answered from files.
    pub(super) fn of(from: &From) -> anyhow::Result<Option<Server>> {
        let (Some(url), Some(token)) = (&from.server, &from.token_file) else { return Ok(None) };
        Server::new(url, token, from.ca.as_deref()).map(Some)
    }

    pub(in crate::cli) fn new(url: &str, token_file: &Path, ca: Option<&Path>) -> anyhow::Result<Server> {
        let token = read_secret(token_file)?.with_context(|| format!("there is no file `{}`", token_file.display()))?;
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {token}")).context("the token holds characters that a header may not have")?;
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer), (CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        let client = Client::new(&Options { ca: ca.map(Path::to_owned) })?;
        Ok(Server { runtime, client, url: url.trim_end_matches('/').to_owned(), headers })
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, None)
    }

    pub(in crate::cli) fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let body = body.map(Value::to_string).unwrap_or_default();
        let sent = self.client.send(method, &url, self.headers.clone(), body.into(), TIMEOUT, ANSWER_MAX);
        let response = self.runtime.block_on(sent)?;
        if response.status.is_success() && response.body.is_empty() {
            return Ok(Value::Null);
        }
        let Ok(answer) = serde_json::from_slice::<Value>(&response.body) else {
            bail!("the answer of `{}` (status {}) is no JSON; is this the URL of a muster server?", self.url, response.status);
        };
        if response.status.is_success() {
            return Ok(answer);
        }
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        bail!("{}: {}", text("title"), text("detail"))
    }

    /// A document with items: one page, or without a limit all pages in one.
    pub(super) fn pages(&self, path: &str, limit: Option<u16>) -> anyhow::Result<Value> {
        let more = if path.contains('?') { '&' } else { '?' };
        let mut whole = self.get(&format!("{path}{more}limit={}", limit.unwrap_or(PAGE)))?;
        loop {
            let there = items(&mut whole).map_or(0, |i| i.len());
            let cursor = whole.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            let left = limit.map_or(PAGE, |l| l.saturating_sub(u16::try_from(there).unwrap_or(u16::MAX)));
            // A page may hold fewer than were asked for, and still have a next one.
            let Some(cursor) = cursor.filter(|_| left > 0) else { return Ok(whole) };
            let mut next = self.get(&format!("{path}{more}limit={left}&cursor={cursor}"))?;
            let brought = items(&mut next).map(std::mem::take).unwrap_or_default();
            if let Some(all) = items(&mut whole) {
                all.extend(brought);
            }
            if let Some(object) = whole.as_object_mut() {
                object.insert("next_cursor".to_owned(), next.get("next_cursor").cloned().unwrap_or_default());
            }
        }
    }
}

fn items(document: &mut Value) -> Option<&mut Vec<Value>> {
    document.get_mut("items").and_then(Value::as_array_mut)
}

/// The server, for what only a server has.
pub(super) fn needed(url: Option<&str>, token_file: Option<&Path>, ca: Option<&Path>) -> anyhow::Result<Server> {
    let (Some(url), Some(token)) = (url, token_file) else {
        return Err(Usage("lists and exemptions are kept by a server: give --server and --token-file".to_owned()).into());
    };
    Server::new(url, token, ca)
}

/// `/v1/` and escaped segments, with the parameters that there are.
pub(super) fn path(segments: &[&str], parameters: &[(&str, Option<&str>)]) -> String {
    let given: Vec<(&str, &str)> = parameters.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
    let escaped: Vec<String> = segments.iter().map(|s| escape(s)).collect();
    format!("/v1/{}{}", escaped.join("/"), query(&given))
}

/// `?name=value&...` of those that are not empty.
pub(in crate::cli) fn query(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        parameters.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={}", escape(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// What is not unreserved in RFC 3986, percent-encoded.
fn escape(text: &str) -> String {
    let byte = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}
