//! Load on a daemon that holds a big fleet: machines' next scans over kept connections, each body made before, beside a server that reads and forgets them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, HOST};
use hyper::{Request, StatusCode};
use muster::limits::Limits;
use muster::scan::inflate::{Encoding, inflate};
use muster::simulate::document::id;
use muster::simulate::fleet::Fleet;
use rayon::prelude::*;

use crate::http::{connect, discarding, exchange};
use crate::median_of;
use crate::report::{Report, Unit};

const CLIENTS: usize = 64;
const ROUNDS: u32 = 5;
/// Machines that send in a round, each once. Those of a round are others than those of the others, and of other runs.
const SENDERS: u32 = 4_000;
/// Rounds in which they send as `muster agent` does.
const AGENTS: u32 = 3;
/// Rounds of a run: those of [`run`] with the one that warms up and the one after a wave, the one beside a swap, those of agents.
const IN_A_RUN: u32 = ROUNDS + 3 + AGENTS;
/// Steps of a machine from one patch wave to the next.
const WAVE: u32 = 24;

/// Who sends.
pub(super) struct Machines {
    pub fleet: Fleet,
    pub keys: HashMap<String, String>,
    pub endpoints: u32,
    /// How many runs loaded this fleet before.
    pub run: u32,
}

impl Machines {
    /// How many send in a round.
    fn senders(&self) -> u32 {
        SENDERS.min(self.endpoints / IN_A_RUN).max(1)
    }

    /// How many runs find machines that have sent nothing since the fleet was built. A run that sent for the same ones again would measure another thing each time: by and by they take patch
    /// waves, and deviate more.
    fn runs(&self) -> u32 {
        (self.endpoints / (self.senders() * IN_A_RUN)).max(1)
    }

    /// How many times all machines had their turn before.
    fn turn(&self) -> u32 {
        self.run / self.runs()
    }

    /// The step that is one change further than what the machines of this run sent before.
    fn step(&self) -> u32 {
        self.turn() + 1
    }

    /// A step at which all have taken one more patch wave than when they sent before.
    fn after_a_wave(&self) -> u32 {
        (self.turn() + 2) * WAVE - 1
    }

    /// The number of a machine that sends in a round: far from each other in the fleet.
    fn number(&self, round: u32, n: u32) -> u32 {
        let place = (self.run % self.runs() * IN_A_RUN + round) * self.senders() + n;
        u32::try_from(u64::from(place) * 7_919 % u64::from(self.endpoints)).unwrap()
    }
}

struct Body {
    path: String,
    key: String,
    encoding: &'static str,
    bytes: Bytes,
}

impl Body {
    /// To the daemon, or to a path of the other server.
    fn request(&self, path: Option<&str>) -> Request<Full<Bytes>> {
        let request = Request::put(path.unwrap_or(&self.path)).header(HOST, "bench").header(AUTHORIZATION, &self.key);
        request.header(CONTENT_ENCODING, self.encoding).body(Full::new(self.bytes.clone())).unwrap()
    }
}

/// The keys of machines, as `muster fleet build --keys` wrote them.
pub(super) fn keys(path: &Path) -> HashMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter_map(|l| l.split_once(' ')).map(|(id, key)| (id.to_owned(), format!("Bearer {key}"))).collect()
}

/// What machines send in a round, at a step of theirs.
fn bodies(machines: &Machines, round: u32, step: u32) -> Vec<Body> {
    encoded(machines, round, step, |_, document| ("zstd", zstd::bulk::compress(document, 3).unwrap()))
}

fn encoded(machines: &Machines, round: u32, step: u32, encode: impl Fn(usize, &[u8]) -> (&'static str, Vec<u8>) + Sync) -> Vec<Body> {
    let Machines { fleet, keys, .. } = machines;
    let made = Instant::now();
    let body = |n: u32| {
        let number = machines.number(round, n);
        let document = fleet.facts(number, step).document();
        let id = id(number);
        let key = keys[&id].clone();
        let (encoding, bytes) = encode(usize::try_from(n).unwrap(), &document);
        Body { path: format!("/v1/endpoints/{id}/scan"), key, encoding, bytes: bytes.into() }
    };
    let bodies: Vec<Body> = (0..machines.senders()).into_par_iter().map(body).collect();
    let (count, kilobytes, seconds) = (bodies.len(), bodies[0].bytes.len() >> 10, made.elapsed().as_secs_f64());
    println!("  round {round}: {count} bodies of {kilobytes} kB made in {seconds:.1} s");
    bodies
}

/// Rounds of changed scans, each followed by the same bytes again, at both servers in turn. Each machine is one change further; and others send what they have after a wave.
pub(super) fn run(machines: &Machines, daemon: SocketAddr, report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let other = runtime.block_on(discarding());
    let (mut changed, mut same, mut changed_anchor, mut same_anchor) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut waits, mut waits_same) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let bodies = Arc::new(bodies(machines, round, machines.step()));
        let ours = runtime.block_on(send(bodies.clone(), daemon, None));
        let anchor = runtime.block_on(send(bodies.clone(), other, Some("/inflate")));
        let ours_same = runtime.block_on(send(bodies.clone(), daemon, None));
        let anchor_same = runtime.block_on(send(bodies, other, Some("/read")));
        // The first round warms up.
        if round > 0 {
            changed.push(ours.0);
            changed_anchor.push(anchor.0);
            same.push(ours_same.0);
            same_anchor.push(anchor_same.0);
            waits.extend(ours.1);
            waits_same.extend(ours_same.1);
        }
    }
    report.line(
        "million-load",
        "loaded: changed scans, zstd / read and inflate",
        Unit::PerSecond,
        median_of(changed),
        median_of(changed_anchor),
    );
    report.line("million-same", "loaded: the same bytes again / read", Unit::PerSecond, median_of(same), median_of(same_anchor));
    for (name, mut waits) in [("changed scans", waits), ("the same bytes again", waits_same)] {
        waits.sort_unstable();
        let of = |thousandths: usize| waits[(waits.len() - 1) * thousandths / 1000].as_secs_f64();
        report.line("", &format!("  {name} at that rate: p50 of an answer"), Unit::Seconds, of(500), None);
        report.line("", &format!("  {name} at that rate: p99 of an answer"), Unit::Seconds, of(990), None);
    }
    let bodies = Arc::new(bodies(machines, ROUNDS + 1, machines.after_a_wave()));
    let ours = runtime.block_on(send(bodies.clone(), daemon, None)).0;
    let anchor = runtime.block_on(send(bodies, other, Some("/inflate"))).0;
    report.line("", "  scans after a patch wave, zstd / read and inflate", Unit::PerSecond, ours, Some(anchor));
    as_agents(machines, daemon, other, report);
}

/// Changed scans as agents send them: with the dictionary that each was offered, if there is one for it.
fn as_agents(machines: &Machines, daemon: SocketAddr, other: SocketAddr, report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (mut ours, mut anchor, mut offered, mut sizes) = (Vec::new(), Vec::new(), 0, [0; 2]);
    for round in ROUNDS + 3..ROUNDS + 3 + AGENTS {
        let plain = bodies(machines, round, machines.step());
        let dictionaries = runtime.block_on(dictionaries(&plain, daemon));
        offered += dictionaries.iter().flatten().count();
        let bodies = encoded(machines, round, machines.step(), |at, document| match &dictionaries[at] {
            Some(dictionary) => ("dcz", muster::dictionary::compress(document, dictionary).unwrap()),
            None => ("zstd", zstd::bulk::compress(document, 3).unwrap()),
        });
        for (size, bodies) in sizes.iter_mut().zip([&plain, &bodies]) {
            *size += bodies.iter().map(|b| b.bytes.len()).sum::<usize>() / bodies.len() / usize::try_from(AGENTS).unwrap();
        }
        ours.push(runtime.block_on(send(Arc::new(bodies), daemon, None)).0);
        anchor.push(runtime.block_on(send(Arc::new(plain), other, Some("/inflate"))).0);
    }
    println!("  {offered} were offered a dictionary: {} bytes instead of {}", sizes[1], sizes[0]);
    let name = "  changed scans, zstd with a dictionary / plain zstd read and inflated";
    report.line("", name, Unit::PerSecond, median_of(ours), median_of(anchor));
}

/// What each sender is offered.
async fn dictionaries(senders: &[Body], daemon: SocketAddr) -> Vec<Option<Arc<Vec<u8>>>> {
    let (mut sender, mut known, mut all) = (connect(daemon).await, HashMap::new(), Vec::new());
    for body in senders {
        let request = Request::get("/v1/dictionary").header(HOST, "bench").header(AUTHORIZATION, &body.key).body(Full::default()).unwrap();
        let (status, zipped) = exchange(&mut sender, request).await;
        all.push((status == StatusCode::OK).then(|| {
            let read = || {
                let mut text = Vec::new();
                inflate(Encoding::Zstd, &zipped, &Limits::default(), &mut text).unwrap();
                Arc::new(text)
            };
            known.entry(zipped.clone()).or_insert_with(read).clone()
        }));
    }
    println!("  {} dictionaries", known.len());
    all
}

/// What is answered without and during a swap, while machines send as fast as they can: each goes to and fro between two steps, so that every scan is a changed one.
pub(super) fn beside_a_swap(machines: &Machines, daemon: SocketAddr, begin: impl Fn(), ended: impl Fn() -> bool, report: &mut Report) {
    let steps = machines.turn() * 2;
    let mut all = bodies(machines, ROUNDS + 2, steps + 1);
    all.extend(bodies(machines, ROUNDS + 2, steps + 2));
    let (bodies, count, stop) = (Arc::new(all), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let next = Arc::new(AtomicUsize::new(0));
    let client = |_| {
        let (bodies, next, count, stop) = (bodies.clone(), next.clone(), count.clone(), stop.clone());
        runtime.spawn(async move {
            let mut sender = connect(daemon).await;
            while !stop.load(Ordering::Relaxed) {
                let body = &bodies[next.fetch_add(1, Ordering::Relaxed) % bodies.len()];
                let (status, answer) = exchange(&mut sender, body.request(None)).await;
                assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer));
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    // How many a second, second by second.
    let rates = |enough: &dyn Fn(usize) -> bool| {
        let (mut rates, mut before, mut at) = (Vec::new(), count.load(Ordering::Relaxed), Instant::now());
        while !enough(rates.len()) {
            std::thread::sleep(Duration::from_secs(1));
            let (now, sent) = (Instant::now(), count.load(Ordering::Relaxed));
            rates.push(f64::from(u32::try_from(sent - before).unwrap()) / (now - at).as_secs_f64());
            (before, at) = (sent, now);
        }
        rates
    };
    rates(&|seconds| seconds == 2);
    let without = rates(&|seconds| seconds == 8);
    begin();
    let during = rates(&|_| ended());
    stop.store(true, Ordering::Relaxed);
    // One that was refused has failed.
    clients.into_iter().for_each(|client| runtime.block_on(client).unwrap());
    println!("  second by second: {}", during.iter().map(|r| format!("{r:.0}")).collect::<Vec<_>>().join(" "));
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    let worst = during.iter().copied().fold(f64::INFINITY, f64::min);
    let without = mean(&without);
    report.line("million-swap", "loaded, 300 rules taken up meanwhile / without", Unit::PerSecond, mean(&during), without);
    report.line("", "  the worst second of it", Unit::PerSecond, worst, without);
    report.line("", "  until they were durable", Unit::Seconds, during.len() as f64, None);
}

/// Sends all bodies over so many connections: a second how many, and how long each took.
async fn send(bodies: Arc<Vec<Body>>, to: SocketAddr, path: Option<&'static str>) -> (f64, Vec<Duration>) {
    let mut senders: Vec<SendRequest<Full<Bytes>>> = Vec::new();
    for _ in 0..CLIENTS {
        senders.push(connect(to).await);
    }
    let (next, begun) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let one = |mut sender: SendRequest<Full<Bytes>>| {
        let (bodies, next) = (bodies.clone(), next.clone());
        tokio::spawn(async move {
            let mut waits = Vec::new();
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let sent = Instant::now();
                let (status, answer) = exchange(&mut sender, body.request(path)).await;
                assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer));
                waits.push(sent.elapsed());
            }
            waits
        })
    };
    let running: Vec<_> = senders.into_iter().map(one).collect();
    let mut waits = Vec::new();
    for client in running {
        waits.extend(client.await.unwrap());
    }
    (f64::from(u32::try_from(waits.len()).unwrap()) / begun.elapsed().as_secs_f64(), waits)
}
