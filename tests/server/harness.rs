//! A server with a small pack, and a client for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderMap};
use muster::client::{Client, Options};
use muster::config::{self, Overrides};
use muster::serve::{ServeError, Started, run};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const RULE: &str = r#"
id: no-forwarding
title: The system does not route
severity: high
platforms: [linux]
rationale: Because.
check: sysctl["net.ipv4.ip_forward"] == "0"
missing: fail
remediation: Turn it off.
tests:
  - {pass: {sysctl: [{key: net.ipv4.ip_forward, value: "0"}]}}
  - {fail: {sysctl: [{key: net.ipv4.ip_forward, value: "1"}]}}
"#;

/// A folder with a pack and a configuration.
pub(crate) struct Home {
    pub(crate) folder: TempDir,
}

impl Home {
    pub(crate) fn new(more: &str) -> Home {
        let home = Home { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(home.path("rules")).unwrap();
        std::fs::write(home.path("rules/pack.yaml"), "id: small\ntitle: Small\nversion: 1.0.0\n").unwrap();
        std::fs::write(home.path("rules/no-forwarding.yaml"), RULE).unwrap();
        home.configure(more);
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn configure(&self, more: &str) {
        let text = format!("data = \"data\"\npacks = [\"rules\"]\n{more}");
        std::fs::write(self.path("muster.toml"), text).unwrap();
    }

    pub(crate) async fn start(&self) -> Server {
        Server::start(&self.path("muster.toml")).await
    }
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) admin: String,
    pub(crate) secret: String,
    pub(crate) reload: muster::serve::Reload,
    client: Client,
    stop: oneshot::Sender<()>,
    done: JoinHandle<Result<(), ServeError>>,
}

/// An answer: status, headers, JSON (or the text as a JSON string).
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Got {
    /// The slug of a problem.
    pub(crate) fn problem(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default().trim_start_matches("/problems/")
    }
}

impl Server {
    pub(crate) async fn start(file: &Path) -> Server {
        let config = config::load(Some(file), Overrides::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel::<Started>();
        let shutdown = async { drop(stopped.await) };
        let mut done = tokio::spawn(run(config, listener, shutdown, |started| drop(tell.send(started))));
        let started = tokio::select! {
            started = told => started.unwrap(),
            ended = &mut done => panic!("the server did not start: {}", ended.unwrap().unwrap_err()),
        };
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        Server {
            url: format!("http://{}", started.address),
            admin: read(&started.admin_token),
            secret: read(&started.enroll_secret),
            reload: started.reload,
            client: Client::new(&Options::default()).unwrap(),
            stop,
            done,
        }
    }

    /// Stops it and waits until all is written.
    pub(crate) async fn stop(self) {
        drop(self.client);
        drop(self.stop);
        tokio::time::timeout(Duration::from_secs(20), self.done).await.expect("it stops").unwrap().unwrap();
    }

    pub(crate) async fn send(&self, method: &str, path: &str, token: &str, headers: HeaderMap, body: impl Into<Bytes>) -> Got {
        let mut headers = headers;
        if !token.is_empty() {
            headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}{path}", self.url);
        let response = self.client.send(method, &url, headers, body.into(), Duration::from_secs(30), 64 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&response.body).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Got { status: response.status.as_u16(), headers: response.headers, body }
    }

    /// A GET as the administrator that must work.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let got = self.send("GET", path, &self.admin, HeaderMap::new(), "").await;
        assert_eq!(got.status, 200, "{path}: {got:?}");
        got.body
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Got {
        self.send("POST", path, token, HeaderMap::new(), body.to_string()).await
    }

    /// Enrols an endpoint and gives its key.
    pub(crate) async fn enroll(&self, id: &str) -> String {
        let body =
            json!({"secret": self.secret, "endpoint": {"id": id, "hostname": format!("{id}.example.org"), "labels": {"env": "test"}}});
        let got = self.post("/v1/enroll", "", body).await;
        assert_eq!(got.status, 201, "{got:?}");
        got.body["key"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn put(&self, id: &str, key: &str, encoding: &str, body: impl Into<Bytes>) -> Got {
        let mut headers = HeaderMap::new();
        if !encoding.is_empty() {
            headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
        }
        self.send("PUT", &format!("/v1/endpoints/{id}/scan"), key, headers, body).await
    }

    /// An upload that must work.
    pub(crate) async fn upload(&self, id: &str, key: &str, scan: String) -> Value {
        let got = self.put(id, key, "", scan).await;
        assert_eq!(got.status, 200, "{got:?}");
        got.body
    }

    /// Sends bytes as they are and gives what comes back until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        drop(tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("an answer"));
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Waits until a GET gives what is wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let got = self.get(path).await;
            if wanted(&got) {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{path} did not come to what is wanted: {}", self.get(path).await);
    }
}

/// A scan of a Debian with this setting and these packages.
pub(crate) fn scan(forward: &str, packages: &[&str]) -> String {
    let packages: Vec<Value> = packages.iter().map(|p| json!({"name": p, "version": "1.0-1", "format": "deb"})).collect();
    let tables = json!({
        "os": [{"family": "linux", "id": "debian", "version": "12"}],
        "sysctl": [{"key": "net.ipv4.ip_forward", "value": forward}],
        "package": packages,
    });
    document(&tables)
}

pub(crate) fn document(tables: &Value) -> String {
    format!("{{\"format\":\"muster.scan/1\",\"tables\":{tables}}}")
}
