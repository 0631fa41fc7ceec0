//! A server that a command asks as its administrator: a body in, the answer's JSON or an error for people out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use muster::agent::read_secret;
use muster::client::{Client, Options};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of one answer.
const ANSWER_MAX: usize = 256 << 20;

pub(crate) struct Server {
    runtime: tokio::runtime::Runtime,
    client: Client,
    url: String,
    headers: HeaderMap,
}

/// Which server, and who asks.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Remote {
    /// The server to ask
    #[arg(long, value_name = "URL", requires = "token_file")]
    pub(crate) server: Option<String>,
    /// A file with the administrator's token
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) token_file: Option<PathBuf>,
    /// A PEM file of certificates to trust beside the public ones
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) ca: Option<PathBuf>,
}

impl Remote {
    /// The server, if one is named.
    pub(crate) fn connect(&self) -> anyhow::Result<Option<Server>> {
        let (Some(url), Some(token_file)) = (&self.server, &self.token_file) else { return Ok(None) };
        Server::new(url, token_file, self.ca.as_deref()).map(Some)
    }
}

impl Server {
    fn new(url: &str, token_file: &Path, ca: Option<&Path>) -> anyhow::Result<Server> {
        let token = read_secret(token_file)?.with_context(|| format!("there is no file `{}`", token_file.display()))?;
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {token}")).context("the token holds characters that a header may not have")?;
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer), (CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        let client = Client::new(&Options { ca: ca.map(Path::to_owned) })?;
        Ok(Server { runtime, client, url: url.trim_end_matches('/').to_owned(), headers })
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let sent = self.client.send(Method::POST, &url, self.headers.clone(), body.to_string().into(), TIMEOUT, ANSWER_MAX);
        let response = self.runtime.block_on(sent)?;
        let Ok(answer) = serde_json::from_slice::<Value>(&response.body) else {
            bail!("the answer of `{}` (status {}) is no JSON; is this the URL of a muster server?", self.url, response.status);
        };
        if response.status.is_success() {
            return Ok(answer);
        }
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        bail!("{}: {}", text("title"), text("detail"))
    }
}
