//! The agent: rounds of ask, scan, upload, carry out, and pauses between them.
//!
//! A round is `what to collect -> scan -> upload -> tasks -> results`, and after a task that went well scan and upload again, so that the server
//! sees at once what was done. Between rounds is the interval, after a failure a pause that grows; a server that is away never ends the agent.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::{Notify, watch};

use super::install::{InstallError, Manager, Plan, Ran, Runner};
use super::{AgentError, KeyError, KeySlot, Server, Task, Uploaded, pace, read_secret};
use crate::clock;
use crate::collect::{Root, collect, hostname};
use crate::limits::Limits;
use crate::rule::Collect;
use crate::scan::digest::Digest;
use crate::scan::inflate::Encoding;
use crate::scan::table::TableId;
use crate::scan::{Scan, native};

/// What an agent is told.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The id to enrol by; afterwards the one that the server knows.
    pub endpoint: String,
    pub root: Root,
    pub limits: Limits,
    /// Whether tasks are carried out; else only what would be done is told.
    pub apply: bool,
    /// For a host that has no key yet.
    pub enrolment: Option<Enrolment>,
}

#[derive(Clone, Debug)]
pub struct Enrolment {
    pub secret_file: PathBuf,
    pub key_file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    #[error(transparent)]
    Server(#[from] AgentError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("there is no enrolment secret in `{}`", .0.display())]
    NoSecret(PathBuf),
    #[error("the collector ended: {0}")]
    Collector(#[from] tokio::task::JoinError),
    #[error("stopped")]
    Stopped,
}

/// What a round came to.
#[derive(Clone, Debug)]
pub struct Round {
    pub endpoint: String,
    /// Of the last upload.
    pub uploaded: Uploaded,
    /// Whether any upload of the round changed what the server knows.
    pub changed: bool,
    pub tasks: Vec<Handled>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    pub task: String,
    pub item: String,
    pub how: How,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Not carried out: the command that would be run, or why none would.
    Would(String),
    Did(Ran),
}

impl Handled {
    fn went_well(&self) -> bool {
        matches!(&self.how, How::Did(ran) if ran.ok)
    }
}

/// The wish to stop. Waiting is given up for it, installing is not.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// What stops, by sending true, and what is stopped.
    pub fn new() -> (watch::Sender<bool>, Stop) {
        let (sender, receiver) = watch::channel(false);
        (sender, Stop(receiver))
    }

    pub async fn wait(&mut self) {
        if self.0.wait_for(|stop| *stop).await.is_err() {
            // Nobody can stop it any more.
            std::future::pending::<()>().await;
        }
    }

    async fn or<T>(&mut self, work: impl Future<Output = T>) -> Result<T, RoundError> {
        tokio::select! {
            done = work => Ok(done),
            () = self.wait() => Err(RoundError::Stopped),
        }
    }
}

/// A scan that the server has, by its digest and those of its tables.
struct Acked {
    digest: String,
    tables: BTreeMap<TableId, Digest>,
}

/// The dictionary that large uploads are compressed with.
#[derive(Default)]
struct Learnt {
    dictionary: Option<Vec<u8>>,
    /// Large uploads until the server is asked for one again: fleets move on.
    good_for: u32,
}

/// Bytes of an upload that is worth a dictionary, and how many of them are sent before another one is asked for.
const LARGE: usize = 32 << 10;
const GOOD_FOR: u32 = 24;

pub struct Agent<R> {
    server: Server,
    setup: Setup,
    runner: R,
    stop: Stop,
    /// The last good answer.
    asks: Option<Collect>,
    acked: Option<Acked>,
    dictionary: Learnt,
    /// Rounds that failed since the last one that did not.
    failures: u32,
}

impl<R: Runner> Agent<R> {
    pub fn new(server: Server, setup: Setup, runner: R, stop: Stop) -> Agent<R> {
        Agent { server, setup, runner, stop, asks: None, acked: None, dictionary: Learnt::default(), failures: 0 }
    }

    /// One round.
    pub async fn run_once(&mut self) -> Result<Round, RoundError> {
        if !self.server.is_enrolled() {
            self.enroll().await?;
        }
        self.ask().await?;
        let scan = self.scan().await?;
        let mut uploaded = self.upload(&scan).await?;
        let mut changed = uploaded.changed;
        let mut tasks = Vec::new();
        if uploaded.tasks > 0 {
            tasks = self.handle(&scan).await?;
        }
        if tasks.iter().any(Handled::went_well) {
            let scan = self.scan().await?;
            uploaded = self.upload(&scan).await?;
            changed |= uploaded.changed;
        }
        Ok(Round { endpoint: self.setup.endpoint.clone(), uploaded, changed, tasks })
    }

    /// Rounds until it is stopped. `wake` begins the next one at once. `tell` hears of those that worked.
    pub async fn run(&mut self, interval: Duration, wake: &Notify, mut tell: impl FnMut(&Round)) {
        // A host that is new is shown at once; somebody may be waiting for it.
        let mut pause = if self.server.is_enrolled() { pace::first(&self.setup.endpoint, interval) } else { Duration::ZERO };
        if !pause.is_zero() {
            tracing::info!("the first round is in {} min, SIGHUP begins it now", pause.as_secs() / 60);
        }
        let mut said = None;
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = wake.notified() => {}
                () = stop.wait() => return,
            }
            // Without randomness the pauses are the same each time, which only a large fleet would mind.
            let random = getrandom::u32().unwrap_or(0);
            match self.run_once().await {
                Ok(round) => {
                    if said.take().is_some() {
                        tracing::info!(failures = self.failures, "it works again");
                    }
                    self.failures = 0;
                    tell(&round);
                    pause = pace::jittered(interval, random);
                }
                Err(RoundError::Stopped) => return,
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    let asked = if let RoundError::Server(e) = &error { e.after() } else { None };
                    pause = pace::told(asked, pace::back_off(self.failures, interval, random), interval, random);
                    let error = error.to_string();
                    if said.as_ref() != Some(&error) {
                        tracing::warn!(error, "the round failed, it is tried again until it works");
                        said = Some(error);
                    }
                }
            }
        }
    }

    async fn enroll(&mut self) -> Result<(), RoundError> {
        let Some(Enrolment { secret_file, key_file }) = self.setup.enrolment.clone() else { return Ok(()) };
        let secret = read_secret(&secret_file)?.ok_or(RoundError::NoSecret(secret_file))?;
        // Before the server is asked, so that no key is given out that cannot be kept.
        let slot = KeySlot::prepare(&key_file)?;
        let name = hostname(&self.setup.root);
        let enrolling = self.server.enroll(&secret, &self.setup.endpoint, name.as_deref());
        let enrolled = self.stop.or(enrolling).await??;
        slot.keep(&enrolled.key)?;
        tracing::info!(endpoint = enrolled.endpoint, key = %key_file.display(), "enrolled");
        self.setup.endpoint = enrolled.endpoint;
        Ok(())
    }

    /// Learns what to collect. Where that fails the last answer holds, once: while the server stays away there is no use in scanning.
    async fn ask(&mut self) -> Result<(), RoundError> {
        match self.stop.or(self.server.fetch_asks()).await? {
            Ok(answer) => self.asks = Some(answer.asks),
            Err(error) if self.asks.is_some() && self.failures == 0 => {
                tracing::debug!(%error, "what to collect is what it was");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn scan(&mut self) -> Result<Scan, RoundError> {
        let (root, limits, asks) = (self.setup.root.clone(), self.setup.limits.clone(), self.asks.clone().unwrap_or_default());
        let collecting = tokio::task::spawn_blocking(move || collect(&root, &asks, &limits));
        let mut scan = self.stop.or(collecting).await??;
        scan.endpoint.clone_from(&self.setup.endpoint);
        // Whole seconds: nobody asks for more, and they are easier to read.
        let now = clock::now();
        scan.collected_at = Some(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string());
        Ok(scan)
    }

    /// Sends what the server does not have: the tables that changed since the scan that it acknowledged last.
    async fn upload(&mut self, scan: &Scan) -> Result<Uploaded, RoundError> {
        let tables: BTreeMap<TableId, Digest> = scan.tables.iter().map(|(t, data)| (*t, Digest::of_data(*t, data))).collect();
        // That a table is gone can only be said by a whole scan.
        let base = self.acked.take().filter(|acked| acked.tables.keys().all(|t| tables.contains_key(t)));
        let mut partial = None;
        if let Some(base) = &base {
            let sent = if base.tables == tables {
                self.stop.or(self.server.check_in(&self.setup.endpoint, &base.digest)).await?.map_err(RoundError::from)
            } else {
                self.send(&native::encode(scan, Some(&base.digest), |t| base.tables.get(&t) != tables.get(&t))).await
            };
            partial = match sent {
                // The server lost the scan or has another one since; or it is an old one that knows no check-ins.
                Err(RoundError::Server(e)) if matches!(e.status(), Some(StatusCode::CONFLICT | StatusCode::NOT_FOUND)) => None,
                result => Some(result),
            };
        }
        let result = match partial {
            Some(result) => result,
            None => self.send(&native::encode(scan, None, |_| true)).await,
        };
        match result {
            Ok(uploaded) => {
                let mut digest = Digest::default();
                tables.values().for_each(|t| digest.add(t));
                // Another digest is another understanding of the scan, and no base to build on.
                self.acked = (uploaded.scan == digest.to_string()).then(|| Acked { digest: uploaded.scan.clone(), tables });
                Ok(uploaded)
            }
            Err(error) => {
                // If it was taken all the same, the next one is refused with 409.
                self.acked = base;
                Err(error)
            }
        }
    }

    async fn send(&mut self, body: &[u8]) -> Result<Uploaded, RoundError> {
        if body.len() >= LARGE {
            self.learn().await?;
            if let Some(dictionary) = &self.dictionary.dictionary {
                let sending = self.server.upload_with(&self.setup.endpoint, body, dictionary);
                match self.stop.or(sending).await? {
                    // The server has it no more.
                    Err(e) if e.status() == Some(StatusCode::UNSUPPORTED_MEDIA_TYPE) => self.dictionary.dictionary = None,
                    result => return Ok(result?),
                }
            }
        }
        let sending = self.server.upload(&self.setup.endpoint, body, Encoding::Zstd);
        Ok(self.stop.or(sending).await??)
    }

    /// Asks for a dictionary from time to time. Nothing depends on having one.
    async fn learn(&mut self) -> Result<(), RoundError> {
        if let Some(left) = self.dictionary.good_for.checked_sub(1) {
            self.dictionary.good_for = left;
            return Ok(());
        }
        match self.stop.or(self.server.fetch_dictionary(&self.setup.limits)).await? {
            Ok(dictionary) => self.dictionary = Learnt { dictionary, good_for: GOOD_FOR },
            Err(error) => {
                tracing::debug!(%error, "uploads go without a dictionary");
                self.dictionary.good_for = GOOD_FOR;
            }
        }
        Ok(())
    }

    /// Deals with the tasks that wait, one after the other.
    async fn handle(&mut self, scan: &Scan) -> Result<Vec<Handled>, RoundError> {
        let waiting = self.stop.or(self.server.fetch_tasks(&self.setup.endpoint)).await??;
        let packages = TableId::by_name("package").map(|t| scan.rows(t)).unwrap_or_default();
        let format = packages.first().and_then(|row| row.get("format").as_str());
        let manager = Manager::find(format, |program| self.runner.has(program));
        let mut handled = Vec::new();
        let mut refreshed = false;
        for Task { id, item, action, .. } in waiting {
            let plan = manager.clone().and_then(|manager| manager.plan(&action));
            let how = if self.setup.apply {
                let ran = self.carry_out(plan, &mut refreshed).await;
                self.report(&id, &ran).await?;
                How::Did(ran)
            } else {
                How::Would(shown(plan))
            };
            handled.push(Handled { task: id, item, how });
            if *self.stop.0.borrow() {
                return Err(RoundError::Stopped);
            }
        }
        Ok(handled)
    }

    /// Never given up half way.
    async fn carry_out(&mut self, plan: Result<Plan, InstallError>, refreshed: &mut bool) -> Ran {
        let plan = match plan {
            Ok(plan) => plan,
            Err(e) => return Ran { ok: false, message: e.to_string() },
        };
        if let Some(message) = self.runner.refuses() {
            return Ran { ok: false, message };
        }
        let mut failed = None;
        if let Some(refresh) = plan.refresh.as_ref().filter(|_| !*refreshed) {
            *refreshed = true;
            failed = Some(self.runner.run(refresh).await).filter(|ran| !ran.ok);
        }
        let mut ran = self.runner.run(&plan.command).await;
        if let Some(failed) = failed {
            ran.message = format!("{}\n{}", ran.message, failed.message);
        }
        ran
    }

    async fn report(&self, task: &str, ran: &Ran) -> Result<(), RoundError> {
        let first = ran.message.lines().next().unwrap_or_default();
        if ran.ok {
            tracing::info!(task, "{first}");
        } else {
            tracing::warn!(task, "{first}");
        }
        match self.server.report_result(task, ran.ok, &ran.message).await {
            // Nobody wants it any more.
            Err(e) if e.status() == Some(StatusCode::NOT_FOUND) => Ok(()),
            result => Ok(result?),
        }
    }
}

fn shown(plan: Result<Plan, InstallError>) -> String {
    match plan {
        Ok(Plan { refresh: None, command }) => command.to_string(),
        Ok(Plan { refresh: Some(refresh), command }) => format!("{refresh}; {command}"),
        Err(e) => format!("nothing: {e}"),
    }
}
