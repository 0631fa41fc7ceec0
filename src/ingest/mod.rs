//! THE pipeline: `body -> admit -> recognise | inflate -> decode -> [writer: apply -> commit] -> ack`.
//!
//! Everything up to the writer runs beside each other, reading the fleet as it is. One writer applies what has gathered and makes it durable as
//! one batch; then, and only then, the answers go out (INVARIANT: ack means durable). While a batch is being written the next one gathers:
//! idle, an upload is committed at once; busy, many share an fsync, and wait up to a millisecond for others that are on their way.

pub mod admission;
mod arrive;
mod read;
mod swap;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use admission::{Admission, Admitted, Named, TurnedAway};

use crate::compute::{Panicked, compute};
use crate::dictionary::Dictionaries;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::scan::Scan;
use crate::scan::digest::Digest;
use crate::scan::inflate::{Encoding, InflateError};
use crate::scan::native::{self, DecodeError};
use crate::scan::scap::ScapError;
use crate::shard::{BodyHash, Input, Refusal, Reply, Shard, Uploaded};
use crate::state::{Batch, Space, Store, StoreError};

pub use arrive::Arriving;
pub use read::prepare;

/// Why a change was not made. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error(transparent)]
    Turned(#[from] TurnedAway),
    #[error(transparent)]
    Inflate(#[from] InflateError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Scap(#[from] ScapError),
    #[error(transparent)]
    Refused(Refusal),
    /// The disk is full; it takes writes again when there is room.
    #[error("no room to keep it: {0}")]
    Full(String),
    /// The store failed; the process is about to end.
    #[error("the store failed")]
    Poisoned,
    #[error("the server is stopping")]
    Stopping,
    #[error(transparent)]
    Inside(#[from] Panicked),
}

type Answer = Result<Reply, IngestError>;

struct Job {
    input: Input,
    answer: oneshot::Sender<Answer>,
}

/// The way in. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Ingest {
    shard: Arc<RwLock<Shard>>,
    jobs: mpsc::Sender<Job>,
    pub admission: Admission,
    limits: Limits,
    metrics: Arc<Metrics>,
    poisoned: Arc<AtomicBool>,
    /// Number of the newest batch on the disk.
    durable: Arc<AtomicU64>,
    /// Told whenever the writer has applied a batch.
    applied: Arc<Notify>,
    /// One swap at a time.
    swapping: tokio::sync::Mutex<()>,
    /// What uploads may be compressed with.
    pub dictionaries: Dictionaries,
}

/// What the writer thread works with.
pub struct Writer {
    shard: Arc<RwLock<Shard>>,
    store: Box<dyn Store>,
    jobs: mpsc::Receiver<Job>,
    limits: Limits,
    metrics: Arc<Metrics>,
    poisoned: Arc<AtomicBool>,
    durable: Arc<AtomicU64>,
    applied: Arc<Notify>,
    /// Uploads that are not answered yet.
    in_flight: Arc<AtomicUsize>,
    /// Told when there is something new to deliver.
    wake: Arc<Notify>,
}

/// A pipeline around a loaded shard and its store. The writer is to be run on a thread of its own.
pub fn pipeline(shard: Shard, store: Box<dyn Store>, metrics: Arc<Metrics>, wake: Arc<Notify>) -> (Ingest, Writer) {
    let limits = shard.limits().clone();
    let shard = Arc::new(RwLock::new(shard));
    let poisoned = Arc::new(AtomicBool::new(false));
    let durable = Arc::new(AtomicU64::new(0));
    let applied = Arc::new(Notify::new());
    // As many as may be admitted, and some for everything else that changes state.
    let (sender, jobs) = mpsc::channel(2 * limits.uploads_in_flight + 256);
    let admission = Admission::new(&limits, metrics.clone());
    let in_flight = admission.in_flight();
    let ingest = Ingest {
        shard: shard.clone(),
        jobs: sender,
        admission,
        limits: limits.clone(),
        metrics: metrics.clone(),
        poisoned: poisoned.clone(),
        durable: durable.clone(),
        applied: applied.clone(),
        swapping: tokio::sync::Mutex::new(()),
        dictionaries: Dictionaries::default(),
    };
    (ingest, Writer { shard, store, jobs, limits, metrics, poisoned, durable, applied, in_flight, wake })
}

impl Ingest {
    /// The state as it is. May be ahead of the disk by the batch that is being written; nothing that was answered is.
    pub fn read(&self) -> RwLockReadGuard<'_, Shard> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same where nobody waits for the writer: nothing while it applies a batch, which may judge the whole fleet.
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, Shard>> {
        match self.shard.try_read() {
            Ok(shard) => Some(shard),
            Err(TryLockError::Poisoned(e)) => Some(e.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Looks at the state from a task, as soon as the writer is not changing it. Nobody's thread is held up meanwhile.
    pub async fn look<T>(&self, look: impl FnOnce(&Shard) -> T) -> T {
        loop {
            // Before it is tried: who is let in while it is tried is told as well.
            let applied = self.applied.notified();
            if let Some(shard) = self.try_read() {
                return look(&shard);
            }
            applied.await;
        }
    }

    /// Number of the newest batch on the disk.
    fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The store failed, and the process should end.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// Asks whether an endpoint may send a body of this length now. To be held while the body is read and until it is answered.
    pub fn admit(&self, endpoint: &str, length: Option<u64>, now_ms: i64) -> Result<Admitted<'_>, IngestError> {
        let admitted = self.admission.admit(endpoint, length, now_ms);
        Ok(admitted.inspect_err(|turned| self.metrics.uploads.with_label_values(&[outcome_of(turned)]).inc())?)
    }

    /// A scan of an endpoint, from the body to the durable answer. The caller has checked who sends it.
    pub async fn upload(self: &Arc<Self>, endpoint: &str, encoding: Encoding, body: Bytes, now_ms: i64) -> Result<Uploaded, IngestError> {
        let admitted = self.admit(endpoint, u64::try_from(body.len()).ok(), now_ms)?;
        self.upload_admitted(admitted, endpoint, encoding, body, now_ms).await
    }

    /// The same of one that was admitted before its body was read.
    pub async fn upload_admitted(
        self: &Arc<Self>,
        mut admitted: Admitted<'_>,
        endpoint: &str,
        encoding: Encoding,
        body: Bytes,
        now_ms: i64,
    ) -> Result<Uploaded, IngestError> {
        let timer = self.metrics.upload_seconds.start_timer();
        self.metrics.upload_bytes.inc_by(body.len() as u64);
        let result = self.take(&mut admitted, endpoint, encoding, body, now_ms).await;
        timer.observe_duration();
        result.map(|ended| self.counted(ended)).inspect_err(|e| self.count_refused(e))
    }

    /// Counts what an upload came to. True: it was recognised without being applied.
    fn counted(&self, (uploaded, recognised): (Uploaded, bool)) -> Uploaded {
        let outcome = match (recognised, uploaded.changed) {
            (true, _) => "recognised",
            (false, true) => "changed",
            (false, false) => "unchanged",
        };
        self.metrics.uploads.with_label_values(&[outcome]).inc();
        uploaded
    }

    fn count_refused(&self, error: &IngestError) {
        let outcome = match error {
            IngestError::Poisoned | IngestError::Inside(_) | IngestError::Full(_) => "failed",
            IngestError::Turned(turned) => outcome_of(turned),
            _ => "refused",
        };
        self.metrics.uploads.with_label_values(&[outcome]).inc();
    }

    /// A second has passed: those who were refused for what they send are named, what was held back is told.
    pub async fn tick(&self) -> Result<(), IngestError> {
        for Named { endpoint, name, limit, after_s } in self.admission.tick() {
            self.submit(Input::Limited { endpoint, name, limit, after_s }).await?;
        }
        self.submit(Input::Tick).await.map(|_| ())
    }

    /// Whether changes wait for the writer.
    fn others_wait(&self) -> bool {
        self.jobs.capacity() < self.jobs.max_capacity()
    }

    /// In a moment in which nothing else waits, a step of what can wait. Whether there is more of it.
    pub async fn tidy(&self) -> Result<bool, IngestError> {
        let next = self.try_read().and_then(|shard| {
            // Also what a decision about many endpoints left, which nobody settles.
            let doubtful = !shard.trends_are_exact();
            if doubtful { Some(Input::Settle) } else { shard.fleet.is_thinning().then_some(Input::Thin) }
        });
        let Some(next) = next else { return Ok(false) };
        if !self.others_wait() {
            self.submit(next).await?;
        }
        Ok(true)
    }

    async fn take<'a>(
        self: &'a Arc<Self>,
        admitted: &mut Admitted<'a>,
        endpoint: &str,
        encoding: Encoding,
        body: Bytes,
        now_ms: i64,
    ) -> Result<(Uploaded, bool), IngestError> {
        let hash = BodyHash::of(&body);
        let known = self.look(|shard| shard.fleet.find(endpoint).and_then(|at| shard.recognise(at, &hash, self.durable(), now_ms))).await;
        if let Some(known) = known {
            self.admission.recognised();
            return Ok((known, true));
        }
        let _place = self.admission.work(admitted, body.len(), now_ms).await?;
        let bill = self.bill(admitted, endpoint, now_ms);
        let mut brought = 0;
        // Rows or pack may change between decoding and applying; then it is decoded again. That is rare, and twice in a row rarer.
        for _ in 0..5 {
            let (prepared, ours) = match self.prepare_here(&bill, encoding, &body, hash).await {
                Some(prepared) => (prepared?, false),
                None => {
                    let (ingest, of, bytes) = (self.clone(), bill.clone(), body.clone());
                    compute(move || ingest.prepare(&of, encoding, &bytes, hash)).await??
                }
            };
            self.admission.charge_rows(bill.key, prepared.new.len().saturating_sub(brought), now_ms);
            brought = brought.max(prepared.new.len());
            match self.submit(Input::Upload { endpoint: endpoint.to_owned(), prepared: Box::new(prepared) }).await {
                Ok(Reply::Uploaded(uploaded)) => return Ok((uploaded, false)),
                Err(IngestError::Refused(Refusal::Stale)) => {}
                // The base was ours to name.
                Err(IngestError::Refused(Refusal::BaseMismatch { .. })) if ours => {}
                Ok(_) => return Err(IngestError::Stopping),
                Err(e) => {
                    self.refused(&bill, brought, &e);
                    return Err(e);
                }
            }
        }
        Err(IngestError::Refused(Refusal::Stale))
    }

    /// The endpoint's last scan is still this one: an upload without a body.
    pub async fn check_in(self: &Arc<Self>, endpoint: &str, digest: Digest, now_ms: i64) -> Result<Uploaded, IngestError> {
        let mut admitted = self.admit(endpoint, Some(0), now_ms)?;
        let known = self.look(|shard| shard.check_in(endpoint, digest, self.durable(), now_ms)).await;
        let result = match known {
            Err(refusal) => Err(IngestError::Refused(refusal)),
            Ok(Some(known)) => {
                self.admission.recognised();
                Ok((known, true))
            }
            // No table follows: nothing has changed since. Applied, it waits for the batch that brought the scan, and answers tasks.
            Ok(None) => {
                let document = native::encode(&Scan::default(), Some(&digest.to_string()), |_| false);
                self.take(&mut admitted, endpoint, Encoding::Identity, document.into(), now_ms).await
            }
        };
        result.map(|ended| self.counted(ended)).inspect_err(|e| self.count_refused(e))
    }

    /// Hands a change to the writer and waits until it is durable.
    pub async fn submit(&self, input: Input) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.metrics.queue.inc();
        let sent = self.jobs.send(Job { input, answer }).await;
        if sent.is_err() {
            self.metrics.queue.dec();
            return Err(if self.is_poisoned() { IngestError::Poisoned } else { IngestError::Stopping });
        }
        answered.await.unwrap_or(Err(IngestError::Poisoned))
    }
}

fn outcome_of(turned: &TurnedAway) -> &'static str {
    match turned {
        TurnedAway::Busy { .. } => "busy",
        TurnedAway::Limited { .. } => "limited",
    }
}

impl crate::question::Look for Ingest {
    fn look<T>(&self, with: impl FnOnce(&Shard) -> T) -> T {
        with(&self.read())
    }
}

/// INVARIANT: what computes in parallel while the state is locked does so on threads of its own. Those of the common pool wait for the
/// lock when they prepare uploads, and would wait for ever.
fn apply(shard: &mut Shard, inputs: Vec<Input>, now_ms: i64) -> crate::shard::Applied {
    if !inputs.iter().any(|i| shard.computes_in_parallel(i)) {
        return shard.apply(inputs, now_ms);
    }
    match rayon::ThreadPoolBuilder::new().thread_name(|n| format!("swap-{n}")).build() {
        Ok(pool) => pool.install(|| shard.apply(inputs, now_ms)),
        // No thread can be had; the common ones may do if they are not all waiting.
        Err(_) => shard.apply(inputs, now_ms),
    }
}

/// Tells those who wait when it is dropped.
struct Tell<'n>(&'n Notify);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// How long a batch waits for more uploads at most, looked at so often, and how many are enough. Each batch costs an `fdatasync`, a switch of threads and a moment in which
/// nobody reads the state: changed zstd scans come a sixth faster in batches of twenty than in batches of five.
const WAIT: Duration = Duration::from_millis(1);
const LOOK_AGAIN: Duration = Duration::from_micros(100);
const ENOUGH: usize = 32;

impl Writer {
    /// Runs until every [`Ingest`] is gone, or the store fails. `clock` gives the time of a batch.
    pub fn run(mut self, clock: impl Fn() -> i64) -> Result<(), StoreError> {
        let mut shared = false;
        while let Some(first) = self.jobs.blocking_recv() {
            self.metrics.queue.dec();
            let mut gathered = vec![first];
            self.gather(&mut gathered);
            if shared {
                self.gather_more(&mut gathered);
            }
            shared = gathered.len() > 1;
            self.write(gathered, clock())?;
        }
        Ok(())
    }

    /// Where uploads come faster than the disk takes batches: waits a moment for those that are on their way.
    fn gather_more(&mut self, gathered: &mut Vec<Job>) {
        let begun = Instant::now();
        while gathered.len() < ENOUGH.min(self.in_flight.load(Ordering::Relaxed)) && begun.elapsed() < WAIT {
            std::thread::sleep(LOOK_AGAIN);
            self.gather(gathered);
        }
    }

    /// Writes what is queued, and does not wait when nothing is: [`Writer::run`] for who has no threads. How many changes it took.
    pub fn step(&mut self, now_ms: i64) -> Result<usize, StoreError> {
        let mut gathered = Vec::new();
        self.gather(&mut gathered);
        let count = gathered.len();
        if count > 0 {
            self.write(gathered, now_ms)?;
        }
        Ok(count)
    }

    /// And what else is queued, as far as a batch takes it.
    fn gather(&mut self, gathered: &mut Vec<Job>) {
        while gathered.len() < self.limits.commit_batch
            && let Ok(next) = self.jobs.try_recv()
        {
            self.metrics.queue.dec();
            gathered.push(next);
        }
    }

    fn write(&mut self, gathered: Vec<Job>, now_ms: i64) -> Result<(), StoreError> {
        self.batch(gathered, now_ms).inspect_err(|error| {
            // INVARIANT: a failed fsync poisons the store. Memory is ahead of the disk now, so nothing may be answered from it.
            self.poisoned.store(true, Ordering::Relaxed);
            tracing::error!(%error, "the store failed; ending, the next start recovers");
        })
    }

    /// One batch: applied, made durable, answered.
    fn batch(&mut self, jobs: Vec<Job>, now_ms: i64) -> Result<(), StoreError> {
        if let Err(full) = self.store.room(jobs.iter().map(|j| j.input.bytes()).sum()) {
            // Before anything has changed: the clients keep their data and come again.
            tracing::warn!(error = %full, refused = jobs.len(), "refusing changes");
            let poisoned = matches!(full, StoreError::Poisoned(_));
            for job in jobs {
                let error = if poisoned { IngestError::Poisoned } else { IngestError::Full(full.to_string()) };
                drop(job.answer.send(Err(error)));
            }
            return if poisoned { Err(full) } else { Ok(()) };
        }
        let (inputs, answers): (Vec<_>, Vec<_>) = jobs.into_iter().map(|j| (j.input, j.answer)).unzip();
        let ticks = inputs.iter().any(|i| matches!(i, Input::Tick));
        let count = inputs.len() as u64;
        let mut applied = {
            // Dropped after the lock, also where something panics.
            let _applied = Tell(&self.applied);
            let mut shard = self.shard.write().unwrap_or_else(PoisonError::into_inner);
            let mut applied = apply(&mut shard, inputs, now_ms);
            if ticks {
                shard.expire(&self.store.segments(), now_ms, &mut applied.batch);
            }
            applied
        };
        // Before those who wait hear that there is no answer.
        self.commit(&applied.batch, count).inspect_err(|_| self.poisoned.store(true, Ordering::Relaxed))?;
        self.durable.store(applied.number, Ordering::Release);
        if applied.wake_sinks {
            self.wake.notify_one();
        }
        for (answer, reply) in answers.into_iter().zip(applied.replies.drain(..)) {
            // A client that has gone does not change that its scan is kept.
            drop(answer.send(reply.map_err(IngestError::Refused)));
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch, inputs: u64) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let timer = self.metrics.commit_seconds.start_timer();
        self.store.commit(batch)?;
        timer.observe_duration();
        self.metrics.commits.inc();
        self.metrics.commit_inputs.inc_by(inputs);
        let rows = batch.changes.iter().filter(|(space, _, value)| *space == Space::Rows && value.is_some());
        self.metrics.rows_new.inc_by(rows.count() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
