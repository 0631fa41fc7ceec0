//! `muster demo`: the whole path on this machine, for real. A daemon on loopback with a store in a temporary folder, this host and a small fleet made
//! from its facts, uploads over HTTP, drift, signed webhooks to a receiver of its own, tasks that scans confirm.
//!
//! Nothing printed is made up: every figure is asked of the daemon through its API at the end.

mod fleet;
mod patches;
mod receiver;
mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use muster::client::{Client, Options};
use muster::config::{self, Config, Overrides};
use muster::serve;
use muster::simulate::Random;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Outcome;
use super::output;
use fleet::{Fleet, Stage};

/// Shows the whole path on this machine: scan, judge, drift, webhook, task, confirmation
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing of this machine is changed: it is scanned, its data folder is temporary, tasks for it are shown and not carried out.\n\n\
    Examples:\n  muster demo\n  muster demo --once --output json\n  muster demo --endpoints 1000 --seed 7"
)]
pub(crate) struct Args {
    /// Machines in the fleet beside this host
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    endpoints: u32,
    /// Rule packs to judge with
    #[arg(long, value_name = "PATH", num_args = 1.., default_value = "rules/linux-server")]
    rules: Vec<PathBuf>,
    /// End after the summary instead of staying up
    #[arg(long)]
    once: bool,
    /// How to print the summary
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Another fleet for another number, the same for the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Do not start the webhook receiver, to see deliveries fail
    #[arg(long)]
    without_receiver: bool,
    /// Be the webhook receiver (what the demo starts beside itself)
    #[arg(long, hide = true)]
    receive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// The demo's own webhook secret: the receiver is on loopback and ends with the demo.
const SECRET: &str = "whsec_bXVzdGVyLWRlbW8tc2VjcmV0LW9uLWxvb3BiYWNr";
/// How long deliveries may take to arrive before the summary is printed.
const SETTLE: Duration = Duration::from_secs(20);

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if args.receive {
            return receiver::serve().await;
        }
        demo(args).await
    })
}

async fn demo(args: Args) -> anyhow::Result<Outcome> {
    let folder = tempfile::Builder::new().prefix("muster-demo-").tempdir().context("no temporary folder for the demo's data")?;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no port on loopback for the daemon")?;
    let url = format!("http://{}", listener.local_addr()?);
    let receiver = if args.without_receiver { receiver::Child::absent() } else { receiver::Child::start().await? };
    let stage = Stage::new();

    stage.begin("reading rules and scanning this host");
    let rules = args.rules.clone();
    let (host, feed) = tokio::task::spawn_blocking(move || {
        let host = fleet::scan_host(&rules)?;
        let feed = patches::Feed::of_host(Path::new("/"), &host);
        Ok::<_, anyhow::Error>((host, feed))
    })
    .await??;
    feed.write(&folder.path().join("advisories"))?;
    let config = configuration(&args, &folder, &receiver.url, &host, &feed)?;

    stage.begin("starting the daemon");
    let (ready, started) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve::run(config, listener, async { drop(stopped.await) }, |s| drop(ready.send(s))));
    let started = match started.await {
        Ok(started) => started,
        Err(_) => return Err(serving.await?.err().map_or_else(|| anyhow::anyhow!("the daemon ended"), anyhow::Error::from)),
    };
    let admin = std::fs::read_to_string(&started.admin_token).context("the daemon's admin token")?;
    let secret = std::fs::read_to_string(&started.enroll_secret).context("the daemon's enrolment secret")?;
    let client = Client::new(&Options::default())?;

    let mut fleet = Fleet::new(client.clone(), &url, secret.trim(), host, feed.past.clone(), args.endpoints, args.seed);
    fleet.enroll(&stage).await?;
    fleet.upload_all(&stage).await?;
    let asked = report::Api::new(client, &url, admin.trim());
    if !feed.is_empty() {
        stage.begin("reading the feed and choosing patches");
        asked.wait_for_patches().await?;
        asked.choose_patches(patches::LIST).await?;
    }
    fleet.drift_some(&stage).await?;
    fleet.mend_some(&stage).await?;
    fleet.carry_out_tasks(&stage).await?;
    stage.begin("waiting for the webhooks");
    asked.wait_for_webhooks(SETTLE).await?;
    stage.end();

    let summary = asked.summary(&fleet.host).await?;
    match args.output {
        Format::Json => output::stdout().json(&summary)?,
        Format::Table => report::print(&asked, &summary, feed.real, &receiver, &started.admin_token).await?,
    }
    if !args.once {
        stay_up(fleet, asked, args.seed).await?;
    }
    // If it has stopped already, why is what it answers.
    stop.send(()).ok();
    serving.await??;
    Ok(Outcome::Fine)
}

/// What a user would write into muster.toml for this.
fn configuration(
    args: &Args,
    folder: &tempfile::TempDir,
    receiver: &str,
    host: &muster::scan::Scan,
    feed: &patches::Feed,
) -> anyhow::Result<Config> {
    let packs: Vec<String> =
        args.rules.iter().map(|p| std::path::absolute(p).map(|p| format!("{:?}", p.display().to_string()))).collect::<Result<_, _>>()?;
    // Patches that the demo will choose by a filter, once the fleet is there.
    let feeds = if feed.is_empty() {
        String::new()
    } else {
        let advisories = folder.path().join("advisories").display().to_string();
        format!("lists = [\"{}\"]\n\n[[feed]]\nname = \"{}\"\nformat = \"osv\"\npath = {advisories:?}\n", patches::LIST, feed.name())
    };
    let text = format!(
        "data = {:?}\npacks = [{}]\n\n[log]\nlevel = \"warn\"\n\n[[sink]]\nname = \"demo\"\nurl = \"{receiver}\"\nsecret = \"{SECRET}\"\nevents = [\"*\"]\n\n\
         [[baseline]]\nname = \"must-have\"\npackages = [{}]\n{feeds}",
        folder.path().join("data").display().to_string(),
        packs.join(", "),
        fleet::must_have(host),
    );
    let path = folder.path().join("muster.toml");
    std::fs::write(&path, text).context("the demo's configuration")?;
    let problems = |p: Vec<config::ConfigProblem>| anyhow::anyhow!(p.iter().map(|p| format!("{p}\n")).collect::<String>());
    config::load(Some(&path), Overrides::default()).map_err(problems)
}

/// Until Ctrl-C: every few seconds something happens to a machine.
async fn stay_up(mut fleet: Fleet, asked: report::Api, seed: u64) -> anyhow::Result<()> {
    let mut random = Random::new(seed ^ 0x57a7);
    let mut interval = tokio::time::interval(Duration::from_secs(5));
    interval.tick().await;
    loop {
        tokio::select! {
            done = tokio::signal::ctrl_c() => {
                done?;
                output::note(format_args!("stopping"));
                return Ok(());
            }
            _ = interval.tick() => {
                fleet.one_drifts(&mut random).await?;
                let line = asked.line().await?;
                output::note(format_args!("{line}"));
            }
        }
    }
}
