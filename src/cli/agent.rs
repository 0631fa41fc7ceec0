//! `muster agent`: the endpoint's side, in a loop.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use muster::access::key_endpoint;
use muster::agent::install::System;
use muster::agent::run::{Agent, Enrolment, How, Round, Setup, Stop};
use muster::agent::{Server, read_secret};
use muster::client::{Client, Options};
use muster::collect::{Root, hostname};
use muster::limits::Limits;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::output;
use super::{Outcome, Usage};

/// Longer than this is a mistake.
const INTERVAL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Scan this host again and again, upload what changed, carry out tasks
///
/// It asks the server what to collect, scans, uploads, and deals with the tasks that wait for this host. Without --apply it only prints what it
/// would run. SIGTERM and Ctrl-C end it, SIGHUP begins the next round at once. Scanning needs no privileges; --apply needs root.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster agent --server https://muster.example --enroll-secret-file /etc/muster/enroll
  muster agent --server https://muster.example --once
  muster agent --server https://muster.example --interval 15m --apply

The first enrols this host and then stays, every hour; once there is a key no secret is needed.
--once is for a timer. --apply, as root, installs what baselines require and the host lacks.")]
pub(crate) struct Args {
    /// The server
    #[arg(long, value_name = "URL")]
    server: String,
    /// This host's key; written when it enrols [default: /var/lib/muster-agent/key for root, else
    /// $XDG_STATE_HOME/muster-agent/key]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The secret to enrol with when there is no key yet
    #[arg(long, value_name = "FILE")]
    enroll_secret_file: Option<PathBuf>,
    /// The endpoint's id [default: the one of the key, or the host name to enrol by]
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// From round to round, a tenth more or less (30s, 15m, 1h)
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = interval)]
    interval: Duration,
    /// One round, at once
    #[arg(long)]
    once: bool,
    /// Carry tasks out with the package manager of this host, instead of printing them; needs root
    #[arg(long)]
    apply: bool,
    /// Certificates to trust next to the public ones (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The system to collect, if it is not the running one (a mounted image, a container's root)
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = Duration::from_millis(u64::try_from(muster::config::duration(text)?).unwrap_or(0));
    if (Duration::from_secs(1)..=INTERVAL_MAX).contains(&interval) { Ok(interval) } else { Err(format!("`{text}` is not from 1s to 366d")) }
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    if !args.root.is_dir() {
        return Err(Usage(format!("--root `{}` is not a folder", args.root.display())).into());
    }
    if args.apply && args.root != Path::new("/") {
        return Err(Usage("--apply installs on the running system, it does not go with --root".to_owned()).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(serve(&args));
    // A scan that nobody waits for any more is not waited for.
    runtime.shutdown_background();
    result.map(|()| Outcome::Fine)
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let key_file = match &args.key_file {
        Some(file) => file.clone(),
        None => default_key_file().ok_or_else(|| Usage("there is no home folder to keep the key in, give --key-file".to_owned()))?,
    };
    let _lock = lock(&key_file)?;
    let (stopper, stop) = Stop::new();
    let wake = Arc::new(Notify::new());
    watch(stopper, wake.clone())?;
    let (server, setup) = prepare(args, &key_file)?;
    let mut agent = Agent::new(server, setup, System::default(), stop);
    let mut printed = BTreeSet::new();
    if args.once {
        let round = agent.run_once().await?;
        return tell(&round, &mut printed);
    }
    let mut result = Ok(());
    agent
        .run(args.interval, &wake, |round| {
            let told = tell(round, &mut printed);
            if result.is_ok() {
                result = told;
            }
        })
        .await;
    tracing::info!("stopped");
    result
}

/// Who this host is, to whom.
fn prepare(args: &Args, key_file: &Path) -> anyhow::Result<(Server, Setup)> {
    let root = Root::new(&args.root);
    let key = read_secret(key_file)?;
    let mut enrolment = None;
    if key.is_none() {
        let Some(secret_file) = args.enroll_secret_file.clone() else {
            bail!("there is no key in `{}`; give --enroll-secret-file to enrol this host", key_file.display());
        };
        enrolment = Some(Enrolment { secret_file, key_file: key_file.to_owned() });
    }
    let known = args.endpoint.clone().or_else(|| key.as_deref().and_then(key_endpoint)).or_else(|| hostname(&root));
    let Some(endpoint) = known.filter(|id| !id.is_empty()) else {
        return Err(Usage("this host has no name, give --endpoint".to_owned()).into());
    };
    let client = Client::new(&Options { ca: args.ca.clone() })?;
    let server = Server::new(client, &args.server, key)?;
    Ok((server, Setup { endpoint, root, limits: Limits::default(), apply: args.apply, enrolment }))
}

fn default_key_file() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/muster-agent/key"));
    }
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("muster-agent/key"))
}

/// One agent a key: two of them would undo each other's uploads and install at the same time. Held until the process ends.
fn lock(key_file: &Path) -> anyhow::Result<File> {
    let mut name = key_file.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    }
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.with_context(|| format!("cannot open `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another agent runs with the key `{}`", key_file.display()),
        Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock `{}`", path.display())),
    }
}

/// SIGTERM and Ctrl-C stop, SIGHUP wakes.
fn watch(stopper: watch::Sender<bool>, wake: Arc<Notify>) -> anyhow::Result<()> {
    let register = |kind| signal(kind).context("cannot wait for signals");
    let mut terminate = register(SignalKind::terminate())?;
    let mut interrupt = register(SignalKind::interrupt())?;
    let mut hangup = register(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {
                    wake.notify_one();
                    continue;
                }
            }
            tracing::info!("stopping; what is being installed is waited for");
            stopper.send_replace(true);
        }
    });
    Ok(())
}

/// One line to the log, and on stdout what would be run that was not printed before.
fn tell(round: &Round, printed: &mut BTreeSet<(String, String)>) -> anyhow::Result<()> {
    let count = |verdict: &str| round.uploaded.verdicts.get(verdict).copied().unwrap_or(0);
    tracing::info!(
        endpoint = round.endpoint,
        changed = round.changed,
        sequence = round.uploaded.sequence,
        failing = count("fail"),
        passing = count("pass"),
        tasks = round.uploaded.tasks,
        "checked in"
    );
    let mut out = output::stdout();
    for handled in &round.tasks {
        if let How::Would(command) = &handled.how
            && printed.insert((handled.task.clone(), command.clone()))
        {
            let (task, item, command) = (output::plain(&handled.task), output::plain(&handled.item), output::plain(command));
            writeln!(out, "task {task} ({item}), with --apply: {command}")?;
        }
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_bounded() {
        assert_eq!(interval("15m"), Ok(Duration::from_secs(900)));
        for wrong in ["0s", "999ms", "20000d", "soon", ""] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_has_one_agent() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("state/agent/key");
        let held = lock(&key).unwrap();
        let error = lock(&key).unwrap_err().to_string();
        assert!(error.contains("another agent runs with the key"), "{error}");
        drop(held);
        lock(&key).unwrap();
    }
}
