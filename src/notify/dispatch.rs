//! The outbox worker: due entries of the outbox -> deliveries to sinks -> what became of them, back through the writer.
//!
//! An event is delivered at least once: an attempt counts when its outcome is durable. INVARIANT: only events that can be read back from
//! the disk are delivered, so that no receiver hears of what a crash takes back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use super::webhook::Webhook;
use super::{Outcome, attempt};
use crate::client::{self, Client, ClientError};
use crate::clock;
use crate::config::SinkConfig;
use crate::event::Event;
use crate::ingest::{Ingest, IngestError};
use crate::metrics::Metrics;
use crate::shard::{Attempt, Input, Pending};
use crate::state::Reader;

/// Deliveries to one sink at once.
const PER_SINK: usize = 8;
/// Attempts that are remembered for people.
const LOG: usize = 1000;
/// When to look again for an event that is not on the disk yet, and for a writer that had no room.
const SOON_MS: i64 = 25;
const NO_ROOM: Duration = Duration::from_secs(5);
/// An event that is not in history after this long was dropped by retention.
const LOST_MS: i64 = 10 * 60_000;

/// One attempt, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Attempted {
    pub time: Timestamp,
    pub sink: String,
    /// The event's id.
    pub event: String,
    pub seq: u64,
    #[serde(rename = "type")]
    pub kind: String,
    pub attempt: u32,
    /// `delivered`, `failed` or `dead`.
    pub outcome: &'static str,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub ms: u64,
}

/// A sink, ready to deliver.
pub struct Sink {
    pub config: SinkConfig,
    webhook: Webhook,
    client: Client,
}

impl Sink {
    fn new(config: &SinkConfig) -> Result<Sink, ClientError> {
        let webhook = Webhook { url: config.url.clone(), secrets: config.secrets.clone(), timeout: config.timeout };
        let client = Client::new(&client::Options { ca: config.ca.clone() })?;
        Ok(Sink { config: config.clone(), webhook, client })
    }
}

/// Makes the sinks of a configuration, or says what is wrong.
pub fn sinks(configs: &[SinkConfig]) -> Result<Vec<Arc<Sink>>, ClientError> {
    configs.iter().map(|c| Sink::new(c).map(Arc::new)).collect()
}

#[derive(Default)]
struct State {
    sinks: Vec<Arc<Sink>>,
    /// Sinks that want no more, and what they said.
    gone: BTreeMap<String, String>,
    log: VecDeque<Attempted>,
}

/// What the worker and the API share.
pub struct Dispatch {
    ingest: Arc<Ingest>,
    reader: Arc<dyn Reader>,
    metrics: Arc<Metrics>,
    wake: Arc<Notify>,
    state: Mutex<State>,
}

/// One delivery that the worker has begun.
struct Job {
    sink: Arc<Sink>,
    seq: u64,
    pending: Pending,
}

impl Dispatch {
    pub fn new(ingest: Arc<Ingest>, reader: Arc<dyn Reader>, metrics: Arc<Metrics>, wake: Arc<Notify>) -> Dispatch {
        Dispatch { ingest, reader, metrics, wake, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers to these sinks from now on; one that had gone is tried again.
    pub fn configure(&self, sinks: Vec<Arc<Sink>>) {
        sinks.iter().for_each(|s| self.metrics.know_sink(&s.config.name));
        let mut state = self.state();
        state.sinks = sinks;
        state.gone.clear();
        drop(state);
        self.wake.notify_one();
    }

    pub fn sinks(&self) -> Vec<Arc<Sink>> {
        self.state().sinks.clone()
    }

    /// What a sink said when it wanted no more.
    pub fn gone(&self, sink: &str) -> Option<String> {
        self.state().gone.get(sink).cloned()
    }

    /// A person wants it tried again.
    pub fn resume(&self, sink: &str) {
        self.state().gone.remove(sink);
        self.wake.notify_one();
    }

    /// The newest attempts, newest first.
    pub fn log(&self, sink: Option<&str>, limit: usize) -> Vec<Attempted> {
        self.state().log.iter().rev().filter(|a| sink.is_none_or(|s| a.sink == s)).take(limit).cloned().collect()
    }

    /// Works until `stop` is told or gone. What is on its way then is delivered again after the next start.
    pub async fn run(self: Arc<Self>, mut stop: oneshot::Receiver<()>) {
        let mut jobs = JoinSet::new();
        let mut busy: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        loop {
            let next_ms = self.start_due(&mut jobs, &mut busy);
            let wait = next_ms.map_or(Duration::from_secs(3600), |n| until(n, clock::now_ms()));
            tokio::select! {
                _ = &mut stop => break,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(done) = jobs.join_next() => {
                    // A delivery that panicked stays busy: it is tried again after the next start, not for ever now.
                    if let Ok((sink, seq)) = done {
                        busy.entry(sink).or_default().remove(&seq);
                    }
                }
            }
        }
        jobs.shutdown().await;
    }

    /// Begins what is due, and gives when something else will be.
    fn start_due(self: &Arc<Self>, jobs: &mut JoinSet<(String, u64)>, busy: &mut BTreeMap<String, BTreeSet<u64>>) -> Option<i64> {
        let now_ms = clock::now_ms();
        let mut next: Option<i64> = None;
        for sink in self.sinks() {
            let name = sink.config.name.clone();
            let busy = busy.entry(name.clone()).or_default();
            if busy.len() >= PER_SINK || self.gone(&name).is_some() {
                continue;
            }
            // While the writer is at work there is nothing to say; it will not be long.
            let found = self.ingest.try_read().map(|shard| shard.outbox.due(&name, now_ms, PER_SINK + busy.len()));
            let (due, later) = found.unwrap_or((Vec::new(), Some(now_ms + SOON_MS)));
            next = [next, later].into_iter().flatten().min();
            for (seq, pending) in due {
                if busy.len() < PER_SINK && busy.insert(seq) {
                    let (this, job) = (self.clone(), Job { sink: sink.clone(), seq, pending });
                    jobs.spawn(async move {
                        let done = (job.sink.config.name.clone(), job.seq);
                        this.work(job).await;
                        done
                    });
                }
            }
        }
        next
    }

    /// One attempt, from the disk to the durable outcome.
    async fn work(&self, job: Job) {
        let name = job.sink.config.name.clone();
        let event = match self.event(&job).await {
            Ok(Some(event)) => event,
            Ok(None) if clock::now_ms() - job.pending.at_ms > LOST_MS => {
                return self.record(&job, Attempt::Dead { error: "the event is no longer in history".to_owned() }).await;
            }
            Ok(None) => {
                // Its batch is still being written.
                tokio::time::sleep(until(SOON_MS, 0)).await;
                return;
            }
            Err(error) => {
                tracing::error!(sink = name, seq = job.seq, error, "an event cannot be read");
                tokio::time::sleep(NO_ROOM).await;
                return;
            }
        };
        let began = Instant::now();
        let time = clock::now();
        let outcome = job.sink.webhook.deliver(&job.sink.client, &event.id, Bytes::from(event.webhook_body()), time).await;
        let took = began.elapsed();
        self.metrics.delivery_seconds.with_label_values(&[&name]).observe(took.as_secs_f64());
        let attempt = self.judge(&job, &outcome);
        self.note(&job, &event, &outcome, &attempt, time, took);
        self.record(&job, attempt).await;
    }

    async fn event(&self, job: &Job) -> Result<Option<Event>, String> {
        let (reader, seq, at_ms) = (self.reader.clone(), job.seq, job.pending.at_ms);
        let read = tokio::task::spawn_blocking(move || reader.event(seq, at_ms)).await;
        let bytes = read.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        bytes.map(|b| serde_json::from_slice(&b).map_err(|e| e.to_string())).transpose()
    }

    /// What an outcome means for the entry, and for the sink.
    fn judge(&self, job: &Job, outcome: &Outcome) -> Attempt {
        if let Outcome::Gone { error } = outcome {
            let name = &job.sink.config.name;
            tracing::warn!(sink = name, error, "the sink is paused");
            self.state().gone.insert(name.clone(), error.clone());
        }
        attempt(outcome, job.pending.attempts, job.seq, clock::now_ms())
    }

    /// For people: the log, the metrics.
    fn note(&self, job: &Job, event: &Event, outcome: &Outcome, attempt: &Attempt, time: Timestamp, took: Duration) {
        let (word, error) = match attempt {
            Attempt::Delivered => ("delivered", None),
            Attempt::Failed { error, .. } => ("failed", Some(error.clone())),
            Attempt::Dead { error } => ("dead", Some(error.clone())),
        };
        let name = &job.sink.config.name;
        self.metrics.deliveries.with_label_values(&[name.as_str(), word]).inc();
        if let Some(error) = &error {
            tracing::warn!(sink = name, event = event.id, attempt = job.pending.attempts + 1, outcome = word, error, "not delivered");
        }
        let status = if let Outcome::Delivered { status } = outcome { Some(*status) } else { None };
        let attempted = Attempted {
            time,
            sink: name.clone(),
            event: event.id.clone(),
            seq: event.seq,
            kind: event.kind.clone(),
            attempt: job.pending.attempts + 1,
            outcome: word,
            status,
            error,
            ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        let mut state = self.state();
        if state.log.len() == LOG {
            state.log.pop_front();
        }
        state.log.push_back(attempted);
    }

    /// Makes the outcome durable. While there is no room it waits: trying the delivery again would only repeat it.
    async fn record(&self, job: &Job, attempt: Attempt) {
        loop {
            let input = Input::Delivered { sink: job.sink.config.name.clone(), seq: job.seq, attempt: attempt.clone() };
            match self.ingest.submit(input).await {
                Err(IngestError::Full(_)) => tokio::time::sleep(NO_ROOM).await,
                Err(error) => return tracing::debug!(%error, "the outcome of a delivery was not kept"),
                Ok(_) => return,
            }
        }
    }

    /// Sends a message of type `muster.test` to a sink, once and outside of the outbox.
    pub async fn test(&self, sink: &str) -> Option<Outcome> {
        let sink = self.sinks().into_iter().find(|s| s.config.name == sink)?;
        let now = clock::now();
        let id = format!("test_{}", now.as_microsecond());
        let body = json!({"type": "muster.test", "timestamp": now, "data": {"id": id, "sink": sink.config.name}}).to_string();
        Some(sink.webhook.deliver(&sink.client, &id, Bytes::from(body), now).await)
    }
}

fn until(then_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(then_ms - now_ms).unwrap_or(0))
}
