//! Machines as agents are: they enrol, send, and come again when they are told to, each at its own time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};
use indicatif::ProgressBar;
use muster::client::{Client, ClientError, Response};
use muster::compute::compute;
use muster::scan::inflate::Encoding;
use muster::simulate::Random;
use muster::simulate::document::{Identity, id};
use muster::simulate::fleet::Fleet;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::make::{Maker, Ready};
use super::plan::{Due, What};
use super::report::Tally;

const TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_MAX: usize = 64 << 10;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The machines' side of the wire.
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) url: String,
    /// By number, from the first one on.
    pub(super) keys: Vec<Box<str>>,
    pub(super) first: u32,
    /// As many exchanges at once as there may be connections.
    pub(super) places: Semaphore,
    pub(super) attempts: u32,
    pub(super) seed: u64,
    pub(super) maker: Maker,
    /// By number, as the keys are.
    pub(super) machines: Vec<Machine>,
    pub(super) tally: Mutex<Tally>,
}

/// What an agent knows of its own sends.
#[derive(Default)]
pub(super) struct Machine {
    /// The newest step that it has begun to send, plus one: who has something newer does not come again with the old.
    newest: AtomicU32,
    /// It has one exchange after the other, also where the one after an outage and the next one of its round come together.
    exchange: tokio::sync::Mutex<()>,
}

/// What came of an attempt.
enum Outcome {
    Accepted(&'static str),
    /// The server has another scan than the one that this changes.
    OtherBase,
    /// Not now: why, and how long the server wants to be left alone.
    Later(String, Option<Duration>),
    Refused(String),
}

impl Sender {
    fn tally(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn machine(&self, number: u32) -> Option<&Machine> {
        self.machines.get(usize::try_from(number - self.first).ok()?)
    }

    /// One send, from when it was due to its last answer.
    pub(super) async fn send(&self, ready: Ready, due: Instant) {
        let Ready { due: what, mut body, .. } = ready;
        self.tally(|t| {
            t.sent += 1;
            t.late.record(due.elapsed());
        });
        let machine = self.machine(what.number);
        let mine = what.step.saturating_add(1);
        machine.map(|m| m.newest.fetch_max(mine, Ordering::Relaxed));
        let mut random = Random::new(self.seed ^ u64::from(what.number) << 20 ^ u64::from(what.step));
        let (mut attempt, mut wait, mut delta) = (1, FIRST_WAIT, matches!(what.what, What::Delta { .. }));
        loop {
            let (outcome, took) = self.attempt(what.number, &body).await;
            let why = match outcome {
                Outcome::Accepted(how) => return self.tally(|t| t.accept(how, due.elapsed(), took, what.herd)),
                Outcome::OtherBase if delta => {
                    delta = false;
                    self.tally(|t| t.resent_whole += 1);
                    body = self.maker.whole(what.number, what.step);
                    continue;
                }
                Outcome::OtherBase => return self.tally(|t| t.lose("409 base-mismatch".to_owned())),
                Outcome::Refused(why) => {
                    return self.tally(|t| {
                        *t.errors.entry(why.clone()).or_default() += 1;
                        t.lose(why);
                    });
                }
                Outcome::Later(why, asked) => {
                    let pause = asked.unwrap_or(wait).min(LONGEST_WAIT);
                    // Up to half as long again, so that those who were refused together do not come back together.
                    wait = wait.saturating_mul(2);
                    self.tally(|t| *t.errors.entry(why.clone()).or_default() += 1);
                    if attempt < self.attempts {
                        tokio::time::sleep(pause + pause * u32::try_from(random.below(500)).unwrap_or(0) / 1000).await;
                    }
                    why
                }
            };
            if attempt >= self.attempts {
                return self.tally(|t| t.lose(why));
            }
            if machine.is_some_and(|m| m.newest.load(Ordering::Relaxed) > mine) {
                return self.tally(|t| t.lose("superseded".to_owned()));
            }
            attempt += 1;
            self.tally(|t| t.retries += 1);
        }
    }

    /// One attempt, and how long it took once it had a connection.
    async fn attempt(&self, number: u32, body: &Bytes) -> (Outcome, Duration) {
        let _alone = match self.machine(number) {
            Some(machine) => Some(machine.exchange.lock().await),
            None => None,
        };
        // The places are never closed.
        let _place = self.places.acquire().await;
        let begun = Instant::now();
        self.tally(|t| t.bytes += u64::try_from(body.len()).unwrap_or(0));
        let key = self.keys.get(usize::try_from(number - self.first).unwrap_or(usize::MAX)).map_or("", |k| k);
        let mut headers = HeaderMap::new();
        if let Ok(bearer) = HeaderValue::try_from(format!("Bearer {key}")) {
            headers.insert(AUTHORIZATION, bearer);
        }
        let encoding = match self.maker.encoding {
            Encoding::Gzip => Some("gzip"),
            Encoding::Zstd => Some("zstd"),
            _ => None,
        };
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let url = format!("{}/v1/endpoints/{}/scan", self.url, id(number));
        let result = self.client.send(Method::PUT, &url, headers, body.clone(), TIMEOUT, ANSWER_MAX).await;
        let outcome = match &result {
            Ok(response) => read(response),
            Err(error) => Outcome::Later(kind(error).to_owned(), None),
        };
        (outcome, begun.elapsed())
    }

    /// Sends the first scan of every machine, each connection one after the other.
    pub(super) async fn warm_up(self: &Arc<Sender>, at_once: usize, progress: &ProgressBar) -> anyhow::Result<()> {
        let (next, mut running) = (Arc::new(AtomicU32::new(0)), JoinSet::new());
        let of = u32::try_from(self.keys.len())?;
        for _ in 0..at_once {
            let (this, next, progress) = (self.clone(), next.clone(), progress.clone());
            running.spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= of {
                        return;
                    }
                    let due = Due { at: Duration::ZERO, number: this.first + n, step: 0, what: What::Whole, herd: false };
                    let made = this.clone();
                    let Ok(body) = compute(move || made.maker.whole(due.number, 0)).await else { return };
                    this.send(Ready::new(due, body), Instant::now()).await;
                    progress.inc(1);
                }
            });
        }
        while let Some(done) = running.join_next().await {
            done?;
        }
        let tally = std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        anyhow::ensure!(tally.accepted() == u64::from(of), "not all first scans were taken: {:?}", tally.lost);
        Ok(())
    }
}

impl Tally {
    fn accept(&mut self, how: &'static str, latency: Duration, service: Duration, herd: bool) {
        *self.accepted.entry(how).or_default() += 1;
        self.latency.record(latency);
        self.service.record(service);
        if herd {
            self.herd.record(latency);
        }
    }

    fn lose(&mut self, why: String) {
        *self.lost.entry(why).or_default() += 1;
    }
}

/// What an answer says.
fn read(response: &Response) -> Outcome {
    #[derive(Deserialize)]
    struct Uploaded {
        changed: bool,
        sequence: u64,
    }
    if response.status.is_success() {
        return match serde_json::from_slice::<Uploaded>(&response.body) {
            Ok(Uploaded { changed: true, sequence: 1 }) => Outcome::Accepted("first"),
            Ok(Uploaded { changed: true, .. }) => Outcome::Accepted("changed"),
            Ok(_) => Outcome::Accepted("unchanged"),
            Err(_) => Outcome::Refused("not an answer of muster".to_owned()),
        };
    }
    let why = format!("{} {}", response.status.as_u16(), slug(&response.body));
    match response.status {
        StatusCode::CONFLICT => Outcome::OtherBase,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let seconds = response.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
            Outcome::Later(why, seconds.map(Duration::from_secs))
        }
        _ => Outcome::Refused(why),
    }
}

/// The kind of a problem, as its type names it.
fn slug(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        #[serde(rename = "type")]
        kind: String,
    }
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    problem.and_then(|p| p.kind.rsplit('/').next().map(str::to_owned)).unwrap_or_default()
}

/// What went wrong on the way, as one word.
fn kind(error: &ClientError) -> &'static str {
    match error {
        ClientError::Refused { .. } => "refused",
        ClientError::Unreachable { .. } => "unreachable",
        ClientError::Timeout { .. } => "timeout",
        ClientError::Broken { .. } => "broken",
        ClientError::TooLarge { .. } => "too large",
        ClientError::Certificate { .. } | ClientError::Tls { .. } => "tls",
        ClientError::BadUrl { .. } | ClientError::CaFile { .. } | ClientError::Setup { .. } => "setup",
    }
}

/// Enrols machines, so many at once, and gives their keys.
pub(super) async fn enrol(
    client: &Client,
    url: &str,
    secret: &str,
    fleet: &Arc<Fleet>,
    numbers: Vec<u32>,
    at_once: usize,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<(u32, Box<str>)>> {
    let numbers = Arc::new(Mutex::new(numbers.into_iter()));
    let mut running = JoinSet::new();
    for _ in 0..at_once {
        let (client, url, secret, progress) = (client.clone(), url.to_owned(), secret.to_owned(), progress.clone());
        let (fleet, numbers) = (fleet.clone(), numbers.clone());
        running.spawn(async move {
            let mut keys = Vec::new();
            while let Some(number) = next(&numbers) {
                keys.push((number, enrol_one(&client, &url, &secret, Identity::of(&fleet, number)).await?));
                progress.inc(1);
            }
            anyhow::Ok(keys)
        });
    }
    let mut keys = Vec::new();
    while let Some(done) = running.join_next().await {
        keys.extend(done??);
    }
    Ok(keys)
}

fn next(numbers: &Mutex<impl Iterator<Item = u32>>) -> Option<u32> {
    numbers.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// The server may be busy for a while, and is then asked again.
async fn enrol_one(client: &Client, url: &str, secret: &str, who: Identity) -> anyhow::Result<Box<str>> {
    #[derive(Deserialize)]
    struct Enrolled {
        key: Box<str>,
    }
    const ATTEMPTS: u32 = 20;
    let body =
        Bytes::from(json!({"secret": secret, "endpoint": {"id": who.id, "hostname": who.hostname, "labels": who.labels}}).to_string());
    let mut attempt = 1;
    loop {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let sent = client.send(Method::POST, &format!("{url}/v1/enroll"), headers, body.clone(), TIMEOUT, ANSWER_MAX).await;
        let pause = match &sent {
            Ok(response) if response.status.is_success() => {
                let enrolled: Enrolled = serde_json::from_slice(&response.body).context("the answer to an enrolment")?;
                return Ok(enrolled.key);
            }
            Ok(response) => match read(response) {
                Outcome::Later(_, asked) if attempt < ATTEMPTS => asked.unwrap_or(FIRST_WAIT),
                _ => anyhow::bail!("`{}` cannot be enrolled: {} {}", who.id, response.status, String::from_utf8_lossy(&response.body)),
            },
            Err(ClientError::Broken { .. } | ClientError::Timeout { .. }) if attempt < ATTEMPTS => FIRST_WAIT,
            Err(error) => anyhow::bail!("`{}` cannot be enrolled: {error}", who.id),
        };
        tokio::time::sleep(pause.min(LONGEST_WAIT)).await;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Response {
        let headers = headers.iter().map(|(k, v)| (k.parse().expect("name"), HeaderValue::from_static(v))).collect();
        Response { status: StatusCode::from_u16(status).expect("status"), headers, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn answers_are_read_as_agents_read_them() {
        assert!(matches!(read(&response(200, &[], r#"{"changed":true,"sequence":1}"#)), Outcome::Accepted("first")));
        assert!(matches!(read(&response(200, &[], r#"{"changed":false,"sequence":9}"#)), Outcome::Accepted("unchanged")));
        assert!(matches!(read(&response(200, &[], "hello")), Outcome::Refused(_)));
        assert!(matches!(read(&response(409, &[], "{}")), Outcome::OtherBase));
        let busy = response(503, &[("retry-after", "7")], r#"{"type":"/problems/busy"}"#);
        let Outcome::Later(why, asked) = read(&busy) else { panic!("to come later") };
        assert_eq!((why.as_str(), asked), ("503 busy", Some(Duration::from_secs(7))));
        assert!(
            matches!(read(&response(422, &[], r#"{"type":"/problems/over-limit"}"#)), Outcome::Refused(why) if why == "422 over-limit")
        );
    }
}
