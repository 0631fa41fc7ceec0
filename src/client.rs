//! The HTTP client of webhooks, of `muster scan --server` and of the agent: a request in, a response or an error for people out.
//!
//! Everything about it is bounded: the time of a whole exchange, the response's head and body, idle connections. A download ([`Client::open`]) is bounded by who
//! reads it. Redirects are not followed. Errors name the server and never the path, the query or the headers, for those may hold secrets.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// What we call ourselves.
pub const AGENT: &str = concat!("muster/", env!("CARGO_PKG_VERSION"));

/// Bytes of a response's status line and headers.
const HEAD_MAX: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_PER_HOST: usize = 4;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A PEM file of certificates to trust next to the public ones (`--ca`).
    pub ca: Option<PathBuf>,
}

#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Debug, Error)]
pub enum ClientError {
    #[error("the URL `{url}` cannot be used: {why}")]
    BadUrl { url: String, why: String },
    #[error("nothing listens at `{server}`: is the daemon running there, and is the port right?")]
    Refused { server: String },
    #[error("`{server}` cannot be reached: {why}; check the name, the network and the firewall")]
    Unreachable { server: String, why: String },
    #[error("the certificate of `{server}` is not trusted ({why}): if a private CA signed it, give that CA's certificate with --ca FILE")]
    Certificate { server: String, why: String },
    #[error("TLS with `{server}` failed: {why}; is it https that is spoken at this port?")]
    Tls { server: String, why: String },
    #[error("`{server}` did not answer within {seconds} s: it is overloaded, or a firewall drops the packets")]
    Timeout { server: String, seconds: f64 },
    #[error("the response of `{server}` (status {status}) has more than {limit} bytes; is this the right URL?")]
    TooLarge { server: String, status: StatusCode, limit: usize },
    #[error("the connection to `{server}` broke: {why}; try again")]
    Broken { server: String, why: String },
    #[error("the CA file `{path}` cannot be used: {why}")]
    CaFile { path: PathBuf, why: String },
    #[error("TLS cannot be set up: {why}")]
    Setup { why: String },
}

/// Holds idle connections for reuse. Clones share them.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    pub fn new(options: &Options) -> Result<Client, ClientError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls(options)?).https_or_http().enable_http1().wrap_connector(http);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(HEAD_MAX)
            .build(https);
        Ok(Client { inner })
    }

    /// One exchange, body included, within `timeout`. Any status is a response. Never more than `response_max` bytes are kept.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
        response_max: usize,
    ) -> Result<Response, ClientError> {
        let target = Target::of(url)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.uri;
        *request.headers_mut() = headers;
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        let exchange = async {
            let response = self.inner.request(request).await.map_err(|e| explain(&target.server, &e))?;
            let (head, body) = response.into_parts();
            let body = read(body, response_max).await.map_err(|e| {
                if e.is::<LengthLimitError>() {
                    ClientError::TooLarge { server: target.server.clone(), status: head.status, limit: response_max }
                } else {
                    explain(&target.server, e.as_ref())
                }
            })?;
            Ok(Response { status: head.status, headers: head.headers, body })
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(done) => done,
            Err(_) => Err(ClientError::Timeout { server: target.server.clone(), seconds: timeout.as_secs_f64() }),
        }
    }
}

/// A response whose body is still to come, piece by piece.
#[derive(Debug)]
pub struct Streaming {
    pub status: StatusCode,
    pub headers: HeaderMap,
    server: String,
    body: Incoming,
}

impl Streaming {
    /// The next piece, `None` at the end. A body that breaks off before its announced end is an error.
    pub async fn next(&mut self, idle: Duration) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = tokio::time::timeout(idle, self.body.frame()).await;
            let silent = || ClientError::Timeout { server: self.server.clone(), seconds: idle.as_secs_f64() };
            match frame.map_err(|_| silent())? {
                None => return Ok(None),
                Some(Err(e)) => return Err(explain(&self.server, &e)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// What is left of the body, if it is at most `max` bytes.
    pub async fn whole(mut self, idle: Duration, max: usize) -> Result<Vec<u8>, ClientError> {
        let mut out = Vec::new();
        while let Some(piece) = self.next(idle).await? {
            if piece.len() > max.saturating_sub(out.len()) {
                return Err(ClientError::TooLarge { server: self.server, status: self.status, limit: max });
            }
            out.extend_from_slice(&piece);
        }
        Ok(out)
    }
}

impl Client {
    /// A GET up to the response's head, which must come within `timeout`.
    pub async fn open(&self, url: &str, headers: HeaderMap, timeout: Duration) -> Result<Streaming, ClientError> {
        let Target { uri, server } = Target::of(url)?;
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        let response = match tokio::time::timeout(timeout, self.inner.request(request)).await {
            Ok(response) => response.map_err(|e| explain(&server, &e))?,
            Err(_) => return Err(ClientError::Timeout { server, seconds: timeout.as_secs_f64() }),
        };
        let (head, body) = response.into_parts();
        Ok(Streaming { status: head.status, headers: head.headers, server, body })
    }
}

/// Whether [`Client::send`] would take the URL; for checking a configuration.
pub fn check_url(url: &str) -> Result<(), ClientError> {
    Target::of(url).map(|_| ())
}

struct Target {
    uri: Uri,
    /// Scheme, host and port: what errors say.
    server: String,
}

impl Target {
    fn of(url: &str) -> Result<Target, ClientError> {
        let bad = |why: &str| ClientError::BadUrl { url: origin(url), why: why.to_owned() };
        let scheme = url.split_once("://").map(|(scheme, _)| scheme).unwrap_or_default();
        if !["http", "https"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) {
            return Err(bad("it must begin with http:// or https://"));
        }
        let uri: Uri = url.parse().map_err(|e| bad(&format!("{e}")))?;
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            // They would be ignored in silence.
            return Err(bad("user name and password in a URL are not supported"));
        }
        if authority.host().is_empty() {
            return Err(bad("it names no host"));
        }
        let server = origin(url);
        Ok(Target { uri, server })
    }
}

/// A URL up to its path, without user and password: what may be shown of it. Takes text that is no URL as well.
pub fn origin(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{host}")
}

fn tls(options: &Options) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &options.ca {
        add_ca(&mut roots, path)?;
    }
    // The provider is given here, not left to the process default, which another library could set.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| ClientError::Setup { why: e.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn add_ca(roots: &mut RootCertStore, path: &Path) -> Result<(), ClientError> {
    let bad = |why: String| ClientError::CaFile { path: path.to_owned(), why };
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(pem_error(&e)))? {
        let certificate = certificate.map_err(|e| bad(pem_error(&e)))?;
        roots.add(certificate).map_err(|e| bad(format!("certificate {} in it: {e}", roots.len() - before + 1)))?;
    }
    if roots.len() == before {
        return Err(bad("it holds no certificate (a PEM file with BEGIN CERTIFICATE is expected)".to_owned()));
    }
    Ok(())
}

fn pem_error(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(e) => e.to_string(),
        e => format!("it is not PEM: {e}"),
    }
}

/// A body of at most `max` bytes, or the error of the body or of the limit.
#[expect(clippy::disallowed_methods, reason = "collect is bounded by Limited here")]
async fn read<B>(body: B, max: usize) -> Result<Bytes, Box<dyn StdError + Send + Sync>>
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    Ok(Limited::new(body, max).collect().await?.to_bytes())
}

/// What went wrong, from the innermost error that says it: hyper wraps the connector's errors several times.
fn explain(server: &str, error: &(dyn StdError + 'static)) -> ClientError {
    let server = server.to_owned();
    let mut connecting = false;
    let mut why = error.to_string();
    let mut next = Some(error);
    while let Some(e) = next {
        why = e.to_string();
        connecting |= e.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect);
        next = e.source();
        if let Some(io) = e.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => return ClientError::Refused { server },
                io::ErrorKind::TimedOut if connecting => {
                    return ClientError::Timeout { server, seconds: CONNECT_TIMEOUT.as_secs_f64() };
                }
                _ => {}
            }
            // The source of an io::Error is its cause's source; the cause itself is behind get_ref.
            next = io.get_ref().map(|inner| inner as &(dyn StdError + 'static));
        }
        match e.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(detail)) => return ClientError::Certificate { server, why: certificate(detail) },
            Some(tls) => return ClientError::Tls { server, why: tls.to_string() },
            None => {}
        }
    }
    if connecting { ClientError::Unreachable { server, why } } else { ClientError::Broken { server, why } }
}

fn certificate(error: &rustls::CertificateError) -> String {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer};
    match error {
        UnknownIssuer => "its issuer is unknown".to_owned(),
        Expired | ExpiredContext { .. } => "it has expired".to_owned(),
        NotValidForName | NotValidForNameContext { .. } => "it is for another name".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
