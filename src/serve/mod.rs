//! The daemon: everything wired together, started, reloaded and stopped.
//!
//! `configuration + listener -> serving until the shutdown`. [`run`] is the whole of it inside a process (tests, `muster demo`);
//! [`daemon`] adds the log, the socket and the signals.

pub mod build;
pub mod check;
pub mod packs;
mod systemd;

use std::fs::DirBuilder;
use std::future::Future;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::access::{self, Access, AccessError};
use crate::clock;
use crate::compute::aside;
use crate::config::{self, Config, LogConfig, LogFormat, Overrides};
use crate::http::{App, Core, LastReload, Phase, listen};
use crate::ingest::{Ingest, IngestError, Writer, pipeline};
use crate::metrics::Metrics;
use crate::notify::dispatch::{self, Dispatch};
use crate::pack::Pack;
use crate::policy::Policy;
use crate::shard::{Input, LoadError, Shard};
use crate::state::embedded::EmbeddedStore;
use crate::state::{Reader, Store, StoreError};
use crate::subscription::Folder;
use crate::subscription::keeper::Keeper;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// `--data DIR`, over the file's `data`.
    pub data: Option<PathBuf>,
    /// `--listen ADDR`, over the file's `listen`.
    pub listen: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Every problem of the configuration and of the packs, a line each.
    #[error("{}", .0.join("\n"))]
    Problems(Vec<String>),
    #[error("cannot listen at `{address}`: {source}")]
    Bind { address: String, source: std::io::Error },
    #[error("the data folder `{}` cannot be used: {source}", path.display())]
    Data { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the first judgement failed: {0}")]
    Judge(#[from] IngestError),
    #[error("the operating system refused: {0}")]
    System(#[from] std::io::Error),
    #[error("the writer ended")]
    Writer,
    #[error("loading ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

/// What a started server tells.
pub struct Started {
    pub address: SocketAddr,
    /// Where the secrets were written when they were made. The administrator may have taken the files away since.
    pub admin_token: PathBuf,
    pub enroll_secret: PathBuf,
    pub reload: Reload,
}

/// Reloads the server while it runs; keeps nothing of it alive.
#[derive(Clone)]
pub struct Reload(Weak<App>);

impl Reload {
    /// What to know about the new configuration, or why the present one stays.
    pub async fn reload(&self) -> Result<Vec<String>, Vec<String>> {
        match self.0.upgrade() {
            Some(app) => reload(&app).await,
            None => Err(vec!["the server has stopped".to_owned()]),
        }
    }
}

/// What a configuration comes to, for `muster config check`.
#[derive(Clone, Debug)]
pub struct Checked {
    pub config: Config,
    /// Rules of its packs, requirements of its baselines not counted.
    pub rules: usize,
}

/// Reads a configuration and its packs as a start would, and changes nothing.
pub fn check_config(options: &Options) -> Result<Checked, ServeError> {
    let config = load_config(options)?;
    let bytes = packs::build(&config).map_err(ServeError::Problems)?;
    let pack = Pack::from_bytes(bytes).map_err(|e| ServeError::Problems(vec![e.to_string()]))?;
    packs::check(&config, &pack).map_err(ServeError::Problems)?;
    let rules = pack.rules().filter(|r| !pack.rule(*r).requirement).count();
    Ok(Checked { config, rules })
}

fn load_config(options: &Options) -> Result<Config, ServeError> {
    let overrides = Overrides { data: options.data.clone(), listen: options.listen.clone() };
    config::load(options.config.as_deref(), overrides).map_err(|p| ServeError::Problems(lines(&p)))
}

fn lines(problems: &[config::ConfigProblem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// So many endpoints are not waited for at a start until new rules have judged them: it goes on with the old ones meanwhile, as with a reload.
const LARGE: usize = 1_000;

/// What lies in the data folder, in memory.
struct Loaded {
    ingest: Ingest,
    writer: Writer,
    reader: Arc<dyn Reader>,
    access: Access,
    pack: Arc<Pack>,
    /// Not what the stored verdicts were judged with.
    swap: Option<Policy>,
    /// Until then it can go on with what they were judged with.
    beside: bool,
    sinks: Vec<Arc<dispatch::Sink>>,
}

fn load(config: &Config, metrics: Arc<Metrics>, wake: Arc<Notify>) -> Result<Loaded, ServeError> {
    let data = |source| ServeError::Data { path: config.data.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(&config.data).map_err(data)?;
    // The store's lock comes first: a second muster on the same folder touches nothing.
    let open = || EmbeddedStore::open(&config.data.join("store"), config.limits.disk_reserve_bytes);
    let (store, built) = rayon::join(open, || packs::build(config));
    let mut store = store?;
    let pack = packs::place_built(config, &built.map_err(ServeError::Problems)?).map_err(ServeError::Problems)?;
    let sinks = dispatch::sinks(&config.sinks).map_err(|e| ServeError::Problems(vec![e.to_string()]))?;
    let access = Access::open(&config.data)?;
    let empty = Pack::from_bytes(crate::pack::compile(&[], &[])).map_err(|e| ServeError::Problems(vec![e.to_string()]))?;
    let present = pack.clone();
    let old = |digest: &str| if present.digest() == digest { Some(present.clone()) } else { packs::stored(&config.data, digest) };
    // Another catalog is taken up in a lane, once there is a writer. What is wrong with one is told then.
    let (catalog, _) = Folder::of(config).catalog();
    let same = |digest: &str| (catalog.digest() == digest).then_some(catalog);
    let mut shard = Shard::load_under(&mut store, config.limits.clone(), &new_store_id()?, old, Arc::new(empty), same)?;
    let swap = shard.resume(&pack, config.policy());
    // An earlier policy is known by its fingerprint alone, and cannot be gone on with.
    let judged = shard.pack.clone();
    let beside =
        swap.is_some() && shard.fleet.len() >= LARGE && judged.rule_count() > 0 && shard.resume(&judged, config.policy()).is_none();
    shard.begin(config.freshness, clock::now_ms());
    let reader: Arc<dyn Reader> = store.reader().into();
    let (ingest, writer) = pipeline(shard, Box::new(store), metrics, wake);
    ingest.dictionaries.open(&config.data.join("dictionaries"), &config.limits, clock::now_ms());
    Ok(Loaded { ingest, writer, reader, access, pack, swap, beside, sinks })
}

/// Names a new store in the ids that it gives out: no two stores give the same.
fn new_store_id() -> Result<String, AccessError> {
    let mut bytes = [0; 5];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Serves on a listener until `shutdown` or the store fails. `ready` is called once, when the fleet is loaded and judged.
pub async fn run(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(Started),
) -> Result<(), ServeError> {
    let metrics = Arc::new(Metrics::new()?);
    let address = listener.local_addr()?;
    let app = Arc::new(App::new(config, metrics, clock::now()));
    let (stop_listening, stopped) = oneshot::channel();
    // From the beginning, so that a long load can be watched at `/-/ready`.
    let listening = tokio::spawn(listen::serve(app.clone(), listener, stopped));
    let started = start(&app).await;
    let result = match started {
        Err(error) => {
            drop(stop_listening);
            listening.await?;
            Err(error)
        }
        Ok(mut running) => {
            let data = app.config.load().data.clone();
            ready(Started {
                address,
                admin_token: data.join(access::ADMIN_FILE),
                enroll_secret: data.join(access::ENROLL_FILE),
                reload: Reload(Arc::downgrade(&app)),
            });
            let ended = tokio::select! {
                () = shutdown => None,
                ended = &mut running.written => Some(ended),
            };
            app.enter(Phase::Draining);
            drop(stop_listening);
            listening.await?;
            running.stop(ended, app).await
        }
    };
    tracing::info!("stopped");
    result
}

type Written = oneshot::Receiver<Result<(), StoreError>>;

/// What works beside the listener.
struct Running {
    written: Written,
    dispatching: JoinHandle<()>,
    stop_dispatching: oneshot::Sender<()>,
    ticking: JoinHandle<()>,
    feeding: JoinHandle<()>,
    feeds: Arc<Keeper>,
}

/// Loads, judges, and starts what works in the background.
async fn start(app: &Arc<App>) -> Result<Running, ServeError> {
    let (config, metrics, wake) = (app.config.load_full(), app.metrics.clone(), Arc::new(Notify::new()));
    let (of, counted, woken) = (config.clone(), metrics.clone(), wake.clone());
    let loaded = tokio::task::spawn_blocking(move || load(&of, counted, woken)).await??;
    let ingest = Arc::new(loaded.ingest);
    let (told, written) = oneshot::channel();
    let writer = loaded.writer;
    // The writer waits for the disk: a thread of its own.
    std::thread::Builder::new().name("writer".to_owned()).spawn(move || drop(told.send(writer.run(clock::now_ms))))?;
    let judged = judge(ingest.clone(), loaded.pack, loaded.swap, config.data.clone());
    let judging = if loaded.beside {
        Some(judged)
    } else {
        judged.await?;
        None
    };
    ingest.settle_later();
    let dispatch = Arc::new(Dispatch::new(ingest.clone(), loaded.reader.clone(), metrics.clone(), wake));
    dispatch.configure(loaded.sinks);
    // Before anything is answered: what the fleet misses is part of what it is.
    let feeds = Arc::new(Keeper::new(&config, ingest.clone(), metrics.clone()));
    feeds.publish().await?;
    // As after a reload: what goes wrong is logged, and what was there stays.
    drop(judging.map(tokio::spawn));
    let feeding = tokio::spawn(feeds.clone().run());
    let (stop_dispatching, stopped) = oneshot::channel();
    let dispatching = tokio::spawn(dispatch.clone().run(stopped));
    let ticking = tokio::spawn(tick(ingest.clone()));
    app.load(Core { ingest, reader: loaded.reader, access: loaded.access, dispatch, feeds: feeds.clone() });
    metrics.config_ok.set(1);
    metrics.config_time.set(clock::now().as_duration().as_secs_f64());
    metrics.start_time.set(clock::now().as_duration().as_secs_f64());
    app.enter(Phase::Ready);
    Ok(Running { written, dispatching, stop_dispatching, ticking, feeding, feeds })
}

/// Takes up a new pack or policy, if there is one; then the compiled packs of before are not needed any more.
async fn judge(ingest: Arc<Ingest>, pack: Arc<Pack>, swap: Option<Policy>, data: PathBuf) -> Result<(), IngestError> {
    if let Some(policy) = swap {
        tracing::info!(pack = pack.digest(), "judging the fleet by a new pack or policy");
        ingest.swap(pack.clone(), policy).await?;
    }
    packs::forget_others(&data, pack.digest());
    Ok(())
}

/// Between two steps of what can wait; and how long of each second there are any.
const TIDY_PAUSE: Duration = Duration::from_millis(20);
const TIDY: Duration = Duration::from_millis(900);

/// Time passes, a second at a time; never two of them in the queue.
async fn tick(ingest: Arc<Ingest>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        if let Err(IngestError::Poisoned | IngestError::Stopping) = ingest.tick().await {
            return;
        }
        let until = tokio::time::Instant::now() + TIDY;
        while tokio::time::Instant::now() < until && matches!(ingest.tidy().await, Ok(true)) {
            tokio::time::sleep(TIDY_PAUSE).await;
        }
    }
}

impl Running {
    /// Stops what works in the background and waits until everything that was taken is written.
    async fn stop(self, ended: Option<Result<Result<(), StoreError>, oneshot::error::RecvError>>, app: Arc<App>) -> Result<(), ServeError> {
        drop(self.stop_dispatching);
        self.ticking.abort();
        self.feeding.abort();
        if ended.is_none()
            && let Some(core) = app.loaded()
        {
            // What it cannot write is what a crash would have forgotten.
            drop(tokio::time::timeout(listen::DRAIN, core.ingest.submit(Input::Stop)).await);
        }
        // How they ended is of no interest.
        drop(self.dispatching.await);
        drop(self.ticking.await);
        drop(self.feeding.await);
        self.feeds.stop().await;
        drop(self.feeds);
        // With the last one who could send it something, the writer ends.
        drop(app);
        let ended = match ended {
            Some(ended) => return Err(ended.ok().and_then(Result::err).map_or(ServeError::Writer, ServeError::Store)),
            None => tokio::time::timeout(listen::DRAIN, self.written).await,
        };
        match ended {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(_)) => Err(ServeError::Writer),
            Err(_) => {
                tracing::warn!("the writer did not end in time; what was answered is on the disk");
                Ok(())
            }
        }
    }
}

/// Reads the configuration and the packs again. On any problem the present ones stay, and all problems are given.
pub async fn reload(app: &Arc<App>) -> Result<Vec<String>, Vec<String>> {
    let _one_at_a_time = app.reloading.lock().await;
    let result = take_anew(app).await;
    let problems = result.as_ref().err().cloned().unwrap_or_default();
    problems.iter().for_each(|problem| tracing::error!(problem, "the configuration was not taken"));
    app.metrics.config_ok.set(i64::from(problems.is_empty()));
    let at = clock::now();
    if problems.is_empty() {
        tracing::info!("the configuration was taken");
        app.metrics.config_time.set(at.as_duration().as_secs_f64());
    }
    *app.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = LastReload { at, problems };
    result
}

async fn take_anew(app: &Arc<App>) -> Result<Vec<String>, Vec<String>> {
    let core = app.core().map_err(|p| vec![p.detail().to_owned()])?;
    let old = app.config.load_full();
    let before = old.clone();
    let read = move || {
        let mut config = before.again().map_err(|p| lines(&p))?;
        let notes = keep_what_needs_a_restart(&before, &mut config);
        let sinks = dispatch::sinks(&config.sinks).map_err(|e| vec![e.to_string()])?;
        let pack = aside(|| packs::place(&config))?;
        Ok::<_, Vec<String>>((config, notes, sinks, pack))
    };
    let (config, notes, sinks, pack) = tokio::task::spawn_blocking(read).await.map_err(|e| vec![e.to_string()])??;
    core.ingest.swap(pack.clone(), config.policy()).await.map_err(|e| vec![e.to_string()])?;
    core.dispatch.configure(sinks);
    core.feeds.configure(&config).await.map_err(|e| vec![e.to_string()])?;
    packs::forget_others(&config.data, pack.digest());
    app.config.store(Arc::new(config));
    Ok(notes)
}

/// What cannot change while the server runs stays, and is said.
fn keep_what_needs_a_restart(before: &Config, config: &mut Config) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |changed: bool, what: &str| {
        if changed {
            notes.push(format!("`{what}` changed: it is taken at the next start"));
        }
    };
    note(before.data != config.data, "data");
    note(before.listen != config.listen, "listen");
    note(before.limits != config.limits, "limits");
    note(before.log != config.log, "log");
    config.data.clone_from(&before.data);
    config.listen.clone_from(&before.listen);
    config.limits.clone_from(&before.limits);
    config.log.clone_from(&before.log);
    notes
}

/// `muster serve`: until a signal says stop.
pub async fn daemon(options: Options) -> Result<(), ServeError> {
    let config = load_config(&options)?;
    init_log(&config.log);
    let bound = TcpListener::bind(&config.listen).await;
    let listener = bound.map_err(|source| ServeError::Bind { address: config.listen.clone(), source })?;
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let watching = tokio::spawn(Signals::new()?.watch(stop, told));
    let shutdown = async {
        // The sender is only gone when there are no signals any more.
        drop(stopped.await);
        systemd::notify("STOPPING=1");
    };
    let result = run(config, listener, shutdown, |started| {
        tracing::info!(address = %started.address, "ready");
        systemd::notify("READY=1");
        drop(tell.send(started.reload));
    })
    .await;
    watching.abort();
    result
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The first stop lets requests finish, the second one ends the process. A hangup reloads.
    async fn watch(mut self, stop: oneshot::Sender<()>, mut told: oneshot::Receiver<Reload>) {
        let mut stop = Some(stop);
        let mut server: Option<Reload> = None;
        loop {
            let stopping = tokio::select! {
                _ = self.terminate.recv() => true,
                _ = self.interrupt.recv() => true,
                _ = self.hangup.recv() => false,
            };
            if stopping {
                match stop.take() {
                    Some(stop) => drop(stop.send(())),
                    None => exit_now(),
                }
                tracing::info!("stopping; a second signal ends the process at once");
                continue;
            }
            server = server.or_else(|| told.try_recv().ok());
            match server.clone() {
                // Beside the signals, for a stop must not wait for it. What went wrong is logged.
                Some(server) => drop(tokio::spawn(async move { server.reload().await })),
                None => tracing::warn!("not reloading: still starting"),
            }
        }
    }
}

#[expect(clippy::exit, reason = "somebody asked twice; what was answered is on the disk")]
fn exit_now() {
    std::process::exit(1);
}

/// Writes the log to standard error. Once a process; later calls change nothing.
pub fn init_log(log: &LogConfig) {
    // INVARIANT: the level was checked when the configuration was read. Later targets win over earlier ones, and the store's own progress
    // is of interest only when something is wrong with it.
    let level = format!("fjall=warn,lsm_tree=warn,{}", log.level);
    let filter: tracing_subscriber::filter::Targets = level.parse().unwrap_or_default();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry();
    let done = match log.format {
        LogFormat::Text => registry.with(layer.with_filter(filter)).try_init(),
        LogFormat::Json => registry.with(layer.json().with_filter(filter)).try_init(),
    };
    if let Err(error) = done {
        tracing::debug!(%error, "the log was set up before");
    }
}
