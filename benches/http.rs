//! The whole daemon over loopback, durable and judged, against a server that reads the same bodies and throws them away.
//!
//! Both serve in this process and are loaded by the same clients over kept connections, one endpoint each, in turn. Requests a second, so
//! that more is better.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, HOST};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use muster::config::Config;
use muster::scan::digest::Digest;
use muster::scan::native;
use muster::scan::table::TableId;
use muster::scan::{Scan, TableData};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::corpus::Corpus;
use crate::median_of;
use crate::report::{Report, Unit};

/// Kept connections, each with an endpoint of its own.
const CLIENTS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1200);

/// What a client sends, one after the other and again from the beginning. Each changes what its predecessor left.
struct Load {
    key: &'static str,
    name: &'static str,
    /// What the other server does: read, or read and inflate.
    anchor: &'static str,
    encoding: Option<&'static str>,
    /// Sent once before.
    first: Bytes,
    bodies: Vec<Bytes>,
}

pub(crate) fn run(corpus: &Corpus, report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (told, ready) = oneshot::channel();
        let config = Config {
            data: folder.path().join("data"),
            packs: ["rules/linux-server", "rules/windows-server"].map(Into::into).to_vec(),
            // A few clients send as fast as they can, each for one endpoint.
            limits: muster::limits::Limits { endpoint_uploads: 0, endpoint_bytes: 0, ..Default::default() },
            ..Config::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = tokio::spawn(muster::serve::run(config, listener, async { drop(stopped.await) }, |started| {
            drop(told.send((started.address, started.enroll_secret)))
        }));
        let (address, secret) = ready.await.unwrap();
        let other = discarding().await;
        let mut clients = Vec::new();
        let secret = std::fs::read_to_string(secret).unwrap();
        for number in 0..CLIENTS {
            clients.push(Client::enroll(number, address, other, secret.trim()).await);
        }
        // `http raw`: that line alone.
        let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-') && a != "table").collect();
        let (mut some, all): (Vec<Load>, Vec<Load>) =
            loads(corpus).into_iter().partition(|l| wanted.iter().any(|w| l.name.contains(w.as_str())));
        if some.is_empty() {
            some = all;
        }
        for load in some {
            clients = measure(load, clients, report).await;
        }
        drop(clients);
        drop(stop);
        serving.await.unwrap().unwrap();
    });
}

fn loads(corpus: &Corpus) -> Vec<Load> {
    let scans: Vec<Scan> = (0..8).map(|n| without_id(corpus.drifted(n))).collect();
    let raw: Vec<Bytes> = scans.iter().map(|s| native::encode(s, None, |_| true).into()).collect();
    let zipped: Vec<Bytes> = raw.iter().map(|b| zstd::bulk::compress(b, 3).unwrap().into()).collect();
    let sysctl = TableId::by_name("sysctl").unwrap();
    let mut other = scans[0].clone();
    if let Some(TableData::Rows(rows)) = other.tables.get_mut(&sysctl) {
        rows.iter_mut().take(3).for_each(|row| *row = row.clone().with("value", "bench"));
    }
    let change = |from: &Scan, to: &Scan| {
        let base = Digest::of_scan(from).to_string();
        Bytes::from(native::encode(to, Some(&base), |t| t == sysctl))
    };
    let deltas = vec![change(&scans[0], &other), change(&other, &scans[0])];
    // What an endpoint says that has nothing new: the digest of its scan. Two spellings, or it would be the same bytes again.
    let base = Digest::of_scan(&scans[0]).to_string();
    let check_in: Vec<Bytes> =
        ["", " "].map(|space| format!("{{\"format\":\"muster.scan/1\",{space}\"base\":\"{base}\",\"tables\":{{}}}}").into()).to_vec();
    let load = |key, name, anchor, encoding, first: &Bytes, bodies| Load { key, name, anchor, encoding, first: first.clone(), bodies };
    vec![
        load("http-zstd", "changed scans, zstd / read and inflate", "/inflate", Some("zstd"), &raw[7], zipped.clone()),
        load("http-raw", "changed scans, raw JSON / read", "/read", None, &raw[7], raw.clone()),
        load("http-same", "the same zstd bytes again / read", "/read", Some("zstd"), &raw[7], vec![zipped[0].clone()]),
        load("http-delta", "one changed table of a known scan / read", "/read", None, &raw[0], deltas),
        load("http-check-in", "a digest without tables / read", "/read", None, &raw[0], check_in),
    ]
}

fn without_id(mut scan: Scan) -> Scan {
    scan.endpoint.clear();
    scan
}

/// Rounds of both servers in turn; the ratio of the medians.
async fn measure(load: Load, mut clients: Vec<Client>, report: &mut Report) -> Vec<Client> {
    let load = Arc::new(load);
    for client in &mut clients {
        client.turn = 0;
        assert_eq!(client.send(None, &load.first).await, StatusCode::OK);
    }
    let (mut this, mut anchor) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        for discard in [false, true] {
            let begun = Instant::now();
            let running: Vec<_> =
                clients.into_iter().map(|client| tokio::spawn(client.run(load.clone(), discard, begun + ROUND))).collect();
            clients = Vec::new();
            let mut sent = 0u32;
            for client in running {
                let (client, n) = client.await.unwrap();
                clients.push(client);
                sent += n;
            }
            // The first round warms up.
            if round > 0 {
                let rate = f64::from(sent) / begun.elapsed().as_secs_f64();
                if discard { anchor.push(rate) } else { this.push(rate) }
            }
        }
    }
    let (this, anchor) = (median_of(this), median_of(anchor));
    report.line(load.key, load.name, Unit::PerSecond, this, anchor);
    clients
}

struct Client {
    path: String,
    key: String,
    muster: SendRequest<Full<Bytes>>,
    other: SendRequest<Full<Bytes>>,
    turn: usize,
}

impl Client {
    async fn enroll(number: usize, address: SocketAddr, other: SocketAddr, secret: &str) -> Client {
        let (mut muster, other) = (connect(address).await, connect(other).await);
        let body = serde_json::json!({"secret": secret, "endpoint": {"id": format!("e{number}"), "hostname": format!("e{number}")}});
        let request = Request::post("/v1/enroll").header(HOST, "bench").body(Full::from(body.to_string())).unwrap();
        let (status, answer) = exchange(&mut muster, request).await;
        assert_eq!(status, StatusCode::CREATED);
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let key = format!("Bearer {}", answer["key"].as_str().unwrap());
        Client { path: format!("/v1/endpoints/e{number}/scan"), key, muster, other, turn: 0 }
    }

    async fn run(mut self, load: Arc<Load>, discard: bool, until: Instant) -> (Client, u32) {
        let mut sent = 0;
        while Instant::now() < until {
            let body = &load.bodies[self.turn % load.bodies.len()];
            let status = if discard {
                let request = self.request(load.anchor, load.encoding, body);
                exchange(&mut self.other, request).await.0
            } else {
                self.turn += 1;
                self.send(load.encoding, body).await
            };
            assert_eq!(status, StatusCode::OK);
            sent += 1;
        }
        (self, sent)
    }

    async fn send(&mut self, encoding: Option<&str>, body: &Bytes) -> StatusCode {
        let request = self.request(&self.path, encoding, body);
        exchange(&mut self.muster, request).await.0
    }

    fn request(&self, path: &str, encoding: Option<&str>, body: &Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(Method::PUT).uri(path).header(HOST, "bench").header(AUTHORIZATION, &self.key);
        if let Some(encoding) = encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        request.body(Full::new(body.clone())).unwrap()
    }
}

pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) async fn exchange(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> (StatusCode, Vec<u8>) {
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (status, mut body, mut answer) = (response.status(), response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.unwrap().into_data() {
            answer.extend_from_slice(&data);
        }
    }
    (status, answer)
}

/// A server that reads bodies, inflates them at `/inflate`, and forgets them.
pub(crate) async fn discarding() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            // The same buffers as the daemon's.
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.max_buf_size(128 << 10);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(discard)));
        }
    });
    address
}

thread_local! {
    static INFLATE: std::cell::RefCell<(zstd::bulk::Decompressor<'static>, Vec<u8>)> =
        std::cell::RefCell::new((zstd::bulk::Decompressor::new().unwrap(), vec![0; 4 << 20]));
}

async fn discard(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let inflates = request.uri().path() == "/inflate";
    let (mut body, mut whole) = (request.into_body(), Vec::new());
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref().filter(|_| inflates) {
            whole.extend_from_slice(data);
        }
    }
    if inflates {
        INFLATE.with_borrow_mut(|(inflater, out)| std::hint::black_box(inflater.decompress_to_buffer(&whole, out).unwrap()));
    }
    Ok(Response::new(Full::from("{}")))
}
