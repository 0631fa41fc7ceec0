//! `muster fleet simulate`: a made-up fleet that sends to a real server over real connections, each machine when it is due.
//!
//! Open loop: a send is due whether or not those before it were answered, and its time runs from then on. A server that is slow for a second
//! is slow for everybody who would have come in that second.

mod make;
mod plan;
mod report;
mod send;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use muster::agent::read_secret;
use muster::client::{self, Client, check_url};
use muster::config::duration;
use muster::scan::inflate::Encoding;
use tokio::sync::{Notify, Semaphore, oneshot};

use super::{Kind, bar, read_keys, write_keys};
use crate::cli::output::{self, Format};
use crate::cli::{Outcome, Usage};
use make::{Maker, Ready};
use plan::{Load, Plan};
use report::{Report, Tally};
use send::{Machine, Sender};

/// How long answers may take after the last send, and after Ctrl-C.
const SETTLE: Duration = Duration::from_secs(90);
const SETTLE_INTERRUPTED: Duration = Duration::from_secs(3);

/// Lets a made-up fleet send to a server, and says how it fared
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Machines are the same for the same --seed. What a machine sends at its n-th change is the same whatever the load.\n\
    Latencies count from the moment that a send was due, waits for Retry-After and for a connection included.\n\n\
    Examples:\n  muster fleet simulate --server http://127.0.0.1:7311 --enroll-secret-file enroll.secret --endpoints 1000 --interval 1m --duration 5m\n  \
    muster fleet simulate --server http://127.0.0.1:7311 --keys keys --endpoints 100000 --rate 2000 --changed 0.2 --outage 60s:120s --output json"
)]
pub(super) struct Args {
    #[command(flatten)]
    kind: Kind,
    /// The server
    #[arg(long, value_name = "URL")]
    server: String,
    /// The secret to enrol with; needed for machines whose keys are not known
    #[arg(long, value_name = "FILE")]
    enroll_secret_file: Option<PathBuf>,
    /// Keep the keys of the machines in this file, and take those that it has. Without it they are forgotten at the end
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Certificates to trust next to the public ones (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How often each machine sends
    #[arg(long, value_name = "T", default_value = "5m", value_parser = time)]
    interval: Duration,
    /// How many sends there are in a second, whatever interval that is for each machine
    #[arg(long, value_name = "R", conflicts_with = "interval", value_parser = rate)]
    rate: Option<f64>,
    /// How long
    #[arg(long, value_name = "T", default_value = "1m", value_parser = time)]
    duration: Duration,
    /// Which share of the uploads brings something new; the others are the same bytes again
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = share)]
    changed: u32,
    /// Which share of those is sent as the tables that changed
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    delta: u32,
    /// How uploads are compressed
    #[arg(long, value_enum, default_value_t = Compress::Zstd)]
    encoding: Compress,
    /// Level of zstd; agents use 3
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(-7..=19), allow_negative_numbers = true)]
    zstd_level: i32,
    /// Connections that are open at once
    #[arg(long, value_name = "C", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    connections: u32,
    /// When nobody can send, and for how long; then everybody comes who missed a send
    #[arg(long, value_name = "AT:LENGTH", value_parser = outage)]
    outage: Option<(Duration, Duration)>,
    /// Send every machine's first scan before the time begins
    #[arg(long)]
    warm: bool,
    /// Times that a send is tried
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
    /// MiB of bodies that are made before they are due, and as many that are kept to be sent again
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    ahead: u32,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compress {
    Zstd,
    Gzip,
    Identity,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = Duration::from_millis(u64::try_from(duration(text)?).unwrap_or(0));
    if time.is_zero() { Err(format!("`{text}` is no time at all")) } else { Ok(time) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if (0.001..=1_000_000.0).contains(&rate) { Ok(rate) } else { Err(format!("`{text}` is not from 0.001 to 1000000")) }
}

/// A share, in thousandths.
fn share(text: &str) -> Result<u32, String> {
    let share: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
    if (0.0..=1.0).contains(&share) { Ok((share * 1000.0).round() as u32) } else { Err(format!("`{text}` is not from 0 to 1")) }
}

fn outage(text: &str) -> Result<(Duration, Duration), String> {
    let (at, length) = text.split_once(':').ok_or_else(|| format!("`{text}`: write when and how long, such as `60s:2m`"))?;
    Ok((Duration::from_millis(u64::try_from(duration(at)?).unwrap_or(0)), time(length)?))
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    check_url(&args.server)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(simulate(&args));
    // Sends that wait for their time are of no interest any more.
    runtime.shutdown_background();
    outcome
}

async fn simulate(args: &Args) -> anyhow::Result<Outcome> {
    let sender = Arc::new(prepare(args).await?);
    let at_once = usize::try_from(args.connections)?;
    if args.warm {
        let progress = bar(u64::from(args.kind.endpoints));
        progress.set_message("first scans");
        sender.warm_up(at_once, &progress).await?;
        progress.finish_and_clear();
    }
    let load = load(args);
    let (asked, expected) = (load.rate, load.rate * load.duration.as_secs_f64());
    let (pacing, began, over) = start(&sender, Plan::new(load))?;
    let begun = began.await.context("nothing could be made to send")?;
    let progress = progress(expected);
    let ended = tokio::select! {
        interrupted = tokio::signal::ctrl_c() => { interrupted?; true }
        () = tell(&sender, begun, &progress, asked) => false,
        () = over.notified() => false,
    };
    pacing.store(true, Ordering::Relaxed);
    let took = begun.elapsed();
    settle(&sender, if ended { SETTLE_INTERRUPTED } else { SETTLE }).await;
    progress.finish_and_clear();
    let tally = sender.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Report::new(tally, args.kind.endpoints, asked, took, ended).print(args.output)?;
    Ok(Outcome::Fine)
}

fn load(args: &Args) -> Load {
    let rate = args.rate.unwrap_or_else(|| f64::from(args.kind.endpoints) / args.interval.as_secs_f64());
    Load {
        first: args.kind.first,
        endpoints: args.kind.endpoints,
        rate,
        duration: args.duration,
        seed: args.kind.seed,
        changed: args.changed,
        delta: args.delta,
        outage: args.outage,
        warm: args.warm,
    }
}

/// Keys for all machines, and what they send with.
async fn prepare(args: &Args) -> anyhow::Result<Sender> {
    let at_once = usize::try_from(args.connections)?;
    let client = Client::with_idle(&client::Options { ca: args.ca.clone() }, at_once)?;
    let url = args.server.trim_end_matches('/').to_owned();
    let fleet = Arc::new(args.kind.fleet());
    let mut keys = args.keys.as_deref().map(read_keys).transpose()?.unwrap_or_default();
    let missing: Vec<u32> = args.kind.numbers().filter(|n| !keys.contains_key(n)).collect();
    if !missing.is_empty() {
        let of = missing.len();
        let Some(file) = &args.enroll_secret_file else {
            return Err(Usage(format!("{of} machines have no key yet; give --enroll-secret-file, or a --keys file that has them")).into());
        };
        let secret = read_secret(file)?.with_context(|| format!("there is no `{}`", file.display()))?;
        let progress = bar(u64::try_from(of)?);
        progress.set_message("enrolling");
        let new = send::enrol(&client, &url, &secret, &fleet, missing, at_once, &progress).await?;
        progress.finish_and_clear();
        if let Some(path) = &args.keys {
            write_keys(path, new.iter().map(|(n, k)| (*n, &**k)))?;
        }
        keys.extend(new);
    }
    let encoding = match args.encoding {
        Compress::Zstd => Encoding::Zstd,
        Compress::Gzip => Encoding::Gzip,
        Compress::Identity => Encoding::Identity,
    };
    let room = Arc::new(Semaphore::new(usize::try_from(args.ahead)? << 10));
    let maker = Maker { fleet, encoding, level: args.zstd_level, room, keep: usize::try_from(args.ahead)? << 20 };
    Ok(Sender {
        client,
        url,
        keys: args.kind.numbers().map(|n| keys.remove(&n).unwrap_or_default()).collect(),
        first: args.kind.first,
        places: Semaphore::new(at_once),
        attempts: args.attempts,
        seed: args.kind.seed,
        maker,
        machines: args.kind.numbers().map(|_| Machine::default()).collect(),
        tally: Mutex::default(),
    })
}

type Started = (Arc<AtomicBool>, oneshot::Receiver<Instant>, Arc<Notify>);

/// Two threads: one makes bodies, one hands each over when it is due. What stops them, when time began, and that the last one was handed over.
fn start(sender: &Arc<Sender>, plan: Plan) -> anyhow::Result<Started> {
    let runtime = tokio::runtime::Handle::current();
    let (made, ready) = mpsc::channel::<Ready>();
    let (full, go) = mpsc::channel::<()>();
    let (maker, handle) = (sender.clone(), runtime.clone());
    std::thread::Builder::new()
        .name("maker".to_owned())
        .spawn(move || maker.maker.run(plan, &made, &handle, || full.send(()).unwrap_or_default()))?;
    let (stop, over, (begun, began)) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()), oneshot::channel());
    let (sender, stopped, told) = (sender.clone(), stop.clone(), over.clone());
    let pace = move || {
        // Time begins when as many bodies are made as may be.
        go.recv().ok();
        let begin = Instant::now();
        begun.send(begin).ok();
        for ready in ready {
            let due = begin + ready.due.at;
            // In small parts, so that it can be stopped.
            while let Some(rest) = due.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
                std::thread::sleep(rest.min(Duration::from_millis(200)));
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            let sender = sender.clone();
            drop(runtime.spawn(async move { sender.send(ready, due).await }));
        }
        told.notify_one();
    };
    std::thread::Builder::new().name("pacer".to_owned()).spawn(pace)?;
    Ok((stop, began, over))
}

/// Until nothing is on its way, or time is up.
async fn settle(sender: &Sender, longest: Duration) {
    let begun = Instant::now();
    let open = || {
        let tally = sender.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.sent > tally.accepted() + tally.lost()
    };
    // What was handed over last may not have begun yet.
    tokio::time::sleep(Duration::from_millis(20)).await;
    while open() && begun.elapsed() < longest {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn progress(expected: f64) -> ProgressBar {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for a bar")]
    let bar = ProgressBar::new(expected as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len}  {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Says every second how it goes, on a terminal; every ten otherwise. Never ends.
async fn tell(sender: &Sender, begun: Instant, progress: &ProgressBar, asked: f64) {
    let mut interval = tokio::time::interval(Duration::from_secs(if progress.is_hidden() { 10 } else { 1 }));
    interval.tick().await;
    loop {
        interval.tick().await;
        let Tally { sent, latency, errors, retries, .. } = sender.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seconds = begun.elapsed().as_secs_f64();
        let answered = latency.summary();
        let rate = f64::from(u32::try_from(answered.count).unwrap_or(u32::MAX)) / seconds;
        let failed: u64 = errors.values().sum();
        let line = format!(
            "{rate:.0}/s of {asked:.0}/s, p50 {:.1} ms, p99 {:.1} ms, {failed} failed, {retries} again",
            answered.p50_ms, answered.p99_ms
        );
        progress.set_position(sent);
        progress.set_message(line.clone());
        if progress.is_hidden() {
            output::note(format_args!("{seconds:.0} s: {sent} sent, {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        assert_eq!(share("0.25"), Ok(250));
        assert!(share("2").is_err() && share("-0.1").is_err() && share("NaN").is_err());
        assert_eq!(outage("60s:2m"), Ok((Duration::from_secs(60), Duration::from_secs(120))));
        assert!(outage("60s").is_err() && outage("1m:0s").is_err());
        assert!(rate("0").is_err() && rate("1e9").is_err());
    }
}
