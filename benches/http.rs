//! The whole daemon over loopback, durable and judged, against a server that reads the same bodies and throws them away.
//!
//! Both serve in this process and are loaded by the same clients over kept connections, one endpoint each, in turn. Requests a second, so
//! that more is better; and the processor time of the process for a request, clients included, which neighbours disturb less.

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
use muster::limits::Limits;
use muster::scan::digest::Digest;
use muster::scan::inflate::{Encoding, inflate};
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
    /// What follows the address of the endpoint; a scan is put, other things are posted.
    path: String,
    /// Sent once before.
    first: Bytes,
    bodies: Vec<Bytes>,
    /// What the other server gets instead, if it is not the same.
    anchor_bodies: Option<Vec<Bytes>>,
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
        if wanted.is_empty() || wanted.iter().any(|w| w == "dictionary") {
            let load = with_dictionary(corpus, &mut clients).await;
            measure(load, clients, report).await;
        } else {
            drop(clients);
        }
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
    let load = |key, name, anchor, encoding, first: &Bytes, bodies| Load {
        key,
        name,
        anchor,
        encoding,
        path: "scan".to_owned(),
        first: first.clone(),
        bodies,
        anchor_bodies: None,
    };
    let check_in = Load {
        path: format!("checkin?scan={}", Digest::of_scan(&scans[7])),
        ..load("http-check-in", "digest check-in without a body / read", "/read", None, &raw[7], vec![Bytes::new()])
    };
    vec![
        check_in,
        load("http-zstd", "changed scans, zstd / read and inflate", "/inflate", Some("zstd"), &raw[7], zipped.clone()),
        load("http-raw", "changed scans, raw JSON / read", "/read", None, &raw[7], raw.clone()),
        load("http-same", "the same zstd bytes again / read", "/read", Some("zstd"), &raw[7], vec![zipped[0].clone()]),
        load("http-delta", "one changed table of a known scan / read", "/read", None, &raw[0], deltas),
    ]
}

/// The changed scans again, compressed with what the daemon offers once it knows the endpoints.
async fn with_dictionary(corpus: &Corpus, clients: &mut [Client]) -> Load {
    let Some(mut load) = loads(corpus).into_iter().find(|l| l.encoding == Some("zstd") && l.bodies.len() > 1) else { panic!("a load") };
    for client in clients.iter_mut() {
        assert_eq!(client.send("scan", None, &load.first).await, StatusCode::OK);
    }
    let request =
        Request::get("/v1/dictionary").header(HOST, "bench").header(AUTHORIZATION, &clients[0].key).body(Full::default()).unwrap();
    let (status, zipped) = exchange(&mut clients[0].muster, request).await;
    assert_eq!(status, StatusCode::OK);
    let mut dictionary = Vec::new();
    inflate(Encoding::Zstd, &zipped, &Limits::default(), &mut dictionary).unwrap();
    let raw = (0..8).map(|n| native::encode(&without_id(corpus.drifted(n)), None, |_| true));
    let bodies: Vec<Bytes> = raw.map(|raw| muster::dictionary::compress(&raw, &dictionary).unwrap().into()).collect();
    println!("  with a dictionary of {} bytes a body has {} instead of {}", dictionary.len(), bodies[1].len(), load.bodies[1].len());
    load.anchor_bodies = Some(std::mem::replace(&mut load.bodies, bodies));
    Load { key: "http-dictionary", name: "changed scans, zstd with a dictionary / zstd read and inflated", encoding: Some("dcz"), ..load }
}

fn without_id(mut scan: Scan) -> Scan {
    scan.endpoint.clear();
    scan
}

/// Rounds of both servers in turn; the ratio of the medians.
async fn measure(load: Load, mut clients: Vec<Client>, report: &mut Report) -> Vec<Client> {
    let load = Arc::new(load);
    for client in &mut clients {
        client.turns = [0; 2];
        assert_eq!(client.send("scan", None, &load.first).await, StatusCode::OK);
    }
    let (mut this, mut anchor) = (Vec::new(), Vec::new());
    let (mut this_cost, mut anchor_cost) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        for discard in [false, true] {
            let (begun, spent) = (Instant::now(), processor_seconds());
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
                let cost = (processor_seconds() - spent) / f64::from(sent) * 1e6;
                if discard {
                    anchor.push(rate)
                } else {
                    this.push(rate)
                }
                if discard { anchor_cost.push(cost) } else { this_cost.push(cost) }
            }
        }
    }
    let (this, anchor) = (median_of(this), median_of(anchor));
    report.line(load.key, load.name, Unit::PerSecond, this, anchor);
    let (this, anchor) = (median_of(this_cost), median_of(anchor_cost));
    println!("  processor time: {this:.0} us, the anchor's {anchor:.0} us: {:.2} of ours", anchor / this);
    clients
}

/// What this process has had of the processors, in steps of 10 ms.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // User and system time; the name of the program, which may hold blanks, ends with the last bracket.
    let ticks = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|t| t.parse::<f64>().unwrap()).sum::<f64>();
    ticks / 100.0
}

struct Client {
    path: String,
    key: String,
    muster: SendRequest<Full<Bytes>>,
    other: SendRequest<Full<Bytes>>,
    /// What is sent next to the one and to the other.
    turns: [usize; 2],
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
        Client { path: format!("/v1/endpoints/e{number}"), key, muster, other, turns: [0; 2] }
    }

    async fn run(mut self, load: Arc<Load>, discard: bool, until: Instant) -> (Client, u32) {
        let mut sent = 0;
        while Instant::now() < until {
            let bodies = load.anchor_bodies.as_ref().filter(|_| discard).unwrap_or(&load.bodies);
            // INVARIANT: each server is sent all of them in order, whatever the other was sent: a change says what it is based on.
            let turn = &mut self.turns[usize::from(discard)];
            let body = &bodies[*turn % bodies.len()];
            *turn += 1;
            let status = if discard {
                let request = self.request(Method::PUT, load.anchor, load.encoding, body);
                exchange(&mut self.other, request).await.0
            } else {
                self.send(&load.path, load.encoding, body).await
            };
            assert_eq!(status, StatusCode::OK);
            sent += 1;
        }
        (self, sent)
    }

    async fn send(&mut self, path: &str, encoding: Option<&str>, body: &Bytes) -> StatusCode {
        let method = if path == "scan" { Method::PUT } else { Method::POST };
        let request = self.request(method, &format!("{}/{path}", self.path), encoding, body);
        let (status, answer) = exchange(&mut self.muster, request).await;
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer));
        status
    }

    fn request(&self, method: Method, path: &str, encoding: Option<&str>, body: &Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "bench").header(AUTHORIZATION, &self.key);
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
