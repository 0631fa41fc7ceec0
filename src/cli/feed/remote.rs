//! Feeds of a server, through its API.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use muster::agent::read_secret;
use muster::client::{Client, Options};
use serde_json::Value;

use super::{Feeds, From, local, print};

const TIMEOUT: Duration = Duration::from_secs(60);
/// For a file and what is compiled of it.
const IMPORT: Duration = Duration::from_secs(3600);
const ANSWER_MAX: usize = 64 << 20;
const LOOK: Duration = Duration::from_millis(500);

pub(super) struct Remote {
    runtime: tokio::runtime::Runtime,
    client: Client,
    url: String,
    headers: HeaderMap,
}

impl Remote {
    pub(super) fn new(url: &str, from: &From) -> anyhow::Result<Remote> {
        let file = from.token_file.as_ref().context("--server needs --token-file")?;
        let token = read_secret(file)?.with_context(|| format!("there is no file `{}`", file.display()))?;
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {token}")).context("the token holds characters that a header may not have")?;
        bearer.set_sensitive(true);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        let client = Client::new(&Options { ca: from.ca.clone() })?;
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
        Ok(Remote { runtime, client, url: url.trim_end_matches('/').to_owned(), headers })
    }

    fn send(&self, method: Method, path: &str, body: Bytes, timeout: Duration) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let response = self.runtime.block_on(self.client.send(method, &url, self.headers.clone(), body, timeout, ANSWER_MAX))?;
        let Ok(answer) = serde_json::from_slice::<Value>(&response.body) else {
            bail!("the answer of `{}` (status {}) is no JSON; is this the URL of a muster server?", self.url, response.status);
        };
        if !response.status.is_success() {
            bail!("{}: {}", print::text(&answer, "/title"), print::text(&answer, "/detail"));
        }
        Ok(answer)
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, Bytes::new(), TIMEOUT)
    }
}

fn escape(text: &str) -> String {
    let byte = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

impl Feeds for Remote {
    fn list(&self) -> anyhow::Result<Vec<Value>> {
        let mut answer = self.get("/v1/feeds")?;
        Ok(answer.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default())
    }

    fn one(&self, name: &str) -> anyhow::Result<Value> {
        self.get(&format!("/v1/feeds/{}", escape(name)))
    }

    fn sync(&self, name: &str, force: bool) -> anyhow::Result<Value> {
        let before = self.one(name)?;
        let path = format!("/v1/feeds/{}/sync?force={force}", escape(name));
        self.send(Method::POST, &path, Bytes::new(), TIMEOUT)?;
        loop {
            let now = self.one(name)?;
            let attempted = |v: &Value| v.pointer("/state/attempted_at").cloned();
            if now.pointer("/syncing") == Some(&Value::Bool(false)) && attempted(&now) != attempted(&before) {
                return match now.pointer("/state/error").and_then(Value::as_str) {
                    Some(error) => bail!("{error}"),
                    None => Ok(now),
                };
            }
            std::thread::sleep(LOOK);
        }
    }

    fn import(&self, name: &str, files: &[PathBuf], add: bool, force: bool) -> anyhow::Result<Value> {
        for (at, (file, path)) in local::names(files).iter().zip(files).enumerate() {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            // The first takes the place of what is there, the others stand beside it.
            let add = add || at > 0;
            let path = format!("/v1/feeds/{}/content?file={}&add={add}&force={force}", escape(name), escape(file));
            self.send(Method::PUT, &path, bytes.into(), IMPORT)?;
        }
        self.one(name)
    }
}
