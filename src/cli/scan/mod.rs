//! `muster scan`: collects this host, or takes over what another printed of itself, and keeps or uploads it.

mod deliver;
mod import;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Subcommand;
use muster::collect::scap::{Wanted, gather};
use muster::collect::{Root, collect};
use muster::limits::Limits;
use muster::oval::truth::Compat;
use muster::rule::Collect;
use muster::rule::stream::is_xml;
use muster::scan::digest::Digest;
use muster::scan::{Scan, TableData};
use muster::xccdf::datastream::Source;
use muster::xccdf::judge::Judge;
use muster::xccdf::resolve::{Choice, resolve};
use muster::xccdf::tailoring;

use super::output::note;
use super::{Outcome, Usage, packs};
use deliver::Deliver;

/// Collect this host, to a file or to a server
///
/// No privileges are needed: what may not be read is said in the scan. The tables `file`, `text`, `config`, `systemd` and `environment` hold
/// what rules ask for; the rules are those given, or the server's. SCAP content is asked until it has no further questions, as some of
/// them depend on what was found.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  muster scan --rules rules/linux-server --output scan.json
  muster scan --for ssg-debian12-ds.xml.gz --profile cis_level2_server --output scan.json
  muster scan --rules rules/linux-server | muster eval --rules rules/linux-server --scan -
  muster scan --server https://muster.example --key-file /var/lib/muster/key --enroll-secret-file /etc/muster/enroll
  muster scan import systeminfo systeminfo.txt --output windows.json"
)]
pub(crate) struct Args {
    /// What to collect for: pack folders, folders of packs, rule files or compiled packs
    #[arg(long, num_args = 1.., value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// The same, and SCAP content: data streams, benchmarks and the files that they name; plain, gzip, bzip2, zstd or xz
    #[arg(long = "for", num_args = 1.., value_name = "PATH")]
    content: Vec<PathBuf>,
    /// The profile of SCAP content: its id, or an end of it that no other has; `(all)` for every rule [default: what the benchmark selects]
    #[arg(long, value_name = "ID", requires = "content")]
    profile: Option<String>,
    /// A tailoring file for SCAP content
    #[arg(long, value_name = "FILE", requires = "content")]
    tailoring: Option<PathBuf>,
    /// The system to collect, if it is not the running one (a mounted image, a container's root)
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[command(flatten)]
    deliver: Deliver,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(subcommand)]
    Import(import::Kind),
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let limits = Limits::default();
    if let Some(Command::Import(kind)) = args.command {
        import::run(kind, &limits)?;
        return Ok(Outcome::Fine);
    }
    if !args.root.is_dir() {
        return Err(Usage(format!("--root `{}` is not a folder", args.root.display())).into());
    }
    if !args.deliver.is_upload() {
        if args.rules.is_empty() && args.content.is_empty() {
            note(format_args!("the tables file, text and config hold what rules ask for, and no rules were given (--rules, --for)"));
        }
        let scan = collected(&args, &Wish::of(&args, &limits)?, &limits)?;
        args.deliver.to_file(&scan)?;
        return Ok(Outcome::Fine);
    }
    args.deliver.upload(muster::collect::hostname(&Root::new(&args.root)), async |server| {
        let wish = if args.rules.is_empty() && args.content.is_empty() {
            Wish { asks: server.fetch_asks().await.context("cannot ask the server what to collect")?.asks, content: None }
        } else {
            Wish::of(&args, &limits)?
        };
        collected(&args, &wish, &limits)
    })?;
    Ok(Outcome::Fine)
}

fn asks(rules: &[PathBuf], limits: &Limits) -> anyhow::Result<Collect> {
    let mut asks = Collect::new();
    for pack in packs::ready(rules, &packs::Streams::default(), limits)?.packs() {
        for (table, items) in pack.asks() {
            let all = asks.entry(table).or_default();
            all.extend(items);
            all.sort();
            all.dedup();
        }
    }
    Ok(asks)
}

/// What to collect: what rules ask, and content that has questions of its own.
struct Wish {
    asks: Collect,
    content: Option<Wanted>,
}

impl Wish {
    fn of(args: &Args, limits: &Limits) -> anyhow::Result<Wish> {
        // By their content, as everywhere that rules are given.
        let is_xml = |path: &PathBuf| path.is_file() && is_xml(path);
        let (content, mut rules): (Vec<PathBuf>, Vec<PathBuf>) = args.content.iter().cloned().partition(is_xml);
        rules.extend(args.rules.iter().cloned());
        let asks = if rules.is_empty() { Collect::new() } else { asks(&rules, limits)? };
        let content = if content.is_empty() { None } else { Some(wanted(&content, args, limits)?) };
        if content.is_none() && (args.profile.is_some() || args.tailoring.is_some()) {
            return Err(Usage("--profile and --tailoring are for SCAP content, and --for names none".to_owned()).into());
        }
        Ok(Wish { asks, content })
    }
}

/// The content of a profile.
fn wanted(paths: &[PathBuf], args: &Args, limits: &Limits) -> anyhow::Result<Wanted> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()));
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut source = Source::default();
    for path in paths {
        source = source.with_file(&name(path), &read(path)?, limits).with_context(|| format!("`{}`", path.display()))?;
    }
    let tailoring = args.tailoring.as_deref().map(|path| tailoring::read(&name(path), &read(path)?, limits).map_err(anyhow::Error::from));
    let choice = Choice { profile: args.profile.clone(), tailoring: tailoring.transpose()?, ..Choice::default() };
    let (baseline, problems) = resolve(&source, &choice, limits)?;
    for problem in &problems {
        note(format_args!("{problem}"));
    }
    // How results combine does not change what is asked.
    Ok(Wanted::new(&Judge::new(baseline.into(), Compat::default(), limits), Compat::default(), limits))
}

/// Collects, and sums up on stderr.
fn collected(args: &Args, wish: &Wish, limits: &Limits) -> anyhow::Result<Scan> {
    let started = Instant::now();
    let root = Root::new(&args.root);
    let mut scan = match &wish.content {
        None => collect(&root, &wish.asks, limits),
        Some(content) => gather(&root, &wish.asks, content, muster::clock::now().as_second(), limits).scan,
    };
    let seconds = started.elapsed().as_secs_f64();
    scan.endpoint = args.deliver.endpoint_id(scan.hostname.as_deref())?;
    scan.collected_at = Some(now());
    let mut sizes = Vec::new();
    for (table, data) in &scan.tables {
        match data {
            TableData::Rows(rows) => sizes.push(format!("{} {}", table.name(), rows.len())),
            TableData::Failed(why) => note(format_args!("table {} could not be collected: {why}", table.name())),
        }
    }
    note(format_args!("{}: {}", scan.endpoint, sizes.join(", ")));
    note(format_args!("{seconds:.1} s, digest {}", Digest::of_scan(&scan)));
    Ok(scan)
}

/// Whole seconds: nobody asks for more, and they are easier to read.
fn now() -> String {
    let now = muster::clock::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
