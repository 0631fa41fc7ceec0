//! `muster scan`: collects this host, and keeps or uploads what it found.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use muster::agent::{KeySlot, Server, Uploaded, compress, read_secret};
use muster::client::{Client, Options};
use muster::collect::scap::{Wanted, gather};
use muster::collect::{Root, collect};
use muster::limits::Limits;
use muster::oval::truth::Compat;
use muster::rule::Collect;
use muster::rule::stream::is_xml;
use muster::scan::digest::Digest;
use muster::scan::inflate::Encoding;
use muster::scan::{Scan, TableData, native};
use muster::xccdf::datastream::Source;
use muster::xccdf::judge::Judge;
use muster::xccdf::resolve::{Choice, resolve};
use muster::xccdf::tailoring;

use super::output::{self, note};
use super::{Outcome, Usage, packs};

/// Collect this host, to a file or to a server
///
/// No privileges are needed: what may not be read is said in the scan. The tables `file`, `text`, `config`, `systemd` and `environment` hold
/// what rules ask for; the rules are those given, or the server's. SCAP content is asked until it has no further questions, as some of
/// them depend on what was found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster scan --rules rules/linux-server --output scan.json
  muster scan --for ssg-debian12-ds.xml.gz --profile cis_level2_server --output scan.json
  muster scan --rules rules/linux-server | muster eval --rules rules/linux-server --scan -
  muster scan --server https://muster.example --key-file /var/lib/muster/key --enroll-secret-file /etc/muster/enroll")]
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
    /// The endpoint's id [default: the host name]
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Where to write the scan; - is stdout [default: stdout, or nowhere with --server]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The system to collect, if it is not the running one (a mounted image, a container's root)
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Upload to this server
    #[arg(long, value_name = "URL", requires = "key_file")]
    server: Option<String>,
    /// The endpoint's key; written when it enrols
    #[arg(long, value_name = "FILE", requires = "server")]
    key_file: Option<PathBuf>,
    /// The secret to enrol with when there is no key yet
    #[arg(long, value_name = "FILE", requires = "server")]
    enroll_secret_file: Option<PathBuf>,
    /// Certificates to trust next to the public ones (PEM)
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
    /// Print the server's answer as JSON
    #[arg(long, requires = "server")]
    json: bool,
    /// How to compress the scan [default: zstd to a server, none to a file]
    #[arg(long, value_enum)]
    compress: Option<Compress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compress {
    Zstd,
    Gzip,
    None,
}

impl Compress {
    fn encoding(self) -> Encoding {
        match self {
            Compress::Zstd => Encoding::Zstd,
            Compress::Gzip => Encoding::Gzip,
            Compress::None => Encoding::Identity,
        }
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let limits = Limits::default();
    if !args.root.is_dir() {
        return Err(Usage(format!("--root `{}` is not a folder", args.root.display())).into());
    }
    match &args.server {
        None => to_file(&args, &limits)?,
        Some(url) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
            runtime.block_on(to_server(&args, url, &limits))?;
        }
    }
    Ok(Outcome::Fine)
}

fn to_file(args: &Args, limits: &Limits) -> anyhow::Result<()> {
    if args.rules.is_empty() && args.content.is_empty() {
        note(format_args!("the tables file, text and config hold what rules ask for, and no rules were given (--rules, --for)"));
    }
    let scan = collected(args, &Wish::of(args, limits)?, limits)?;
    let output = args.output.as_deref().unwrap_or(Path::new("-"));
    keep(&native::encode(&scan, None, |_| true), output, args.compress)
}

async fn to_server(args: &Args, url: &str, limits: &Limits) -> anyhow::Result<()> {
    let Some(key_file) = &args.key_file else { bail!("--server needs --key-file") };
    let client = Client::new(&Options { ca: args.ca.clone() })?;
    let key = read_secret(key_file)?;
    let is_known = key.is_some();
    let mut server = Server::new(client, url, key)?;
    let endpoint = if is_known { None } else { Some(enroll(args, &mut server, key_file).await?) };
    let wish = if args.rules.is_empty() && args.content.is_empty() {
        Wish { asks: server.fetch_asks().await.context("cannot ask the server what to collect")?.asks, content: None }
    } else {
        Wish::of(args, limits)?
    };
    let mut scan = collected(args, &wish, limits)?;
    if let Some(endpoint) = endpoint {
        scan.endpoint = endpoint;
    }
    let body = native::encode(&scan, None, |_| true);
    if let Some(output) = &args.output {
        keep(&body, output, args.compress)?;
    }
    let encoding = args.compress.map_or(Encoding::Zstd, Compress::encoding);
    let uploaded = server.upload(&scan.endpoint, &body, encoding).await.context("the upload failed")?;
    print_answer(&uploaded, args.json)
}

/// Makes this host known to the server and keeps its key. The id that the server gave it.
async fn enroll(args: &Args, server: &mut Server, key_file: &Path) -> anyhow::Result<String> {
    let Some(secret_file) = &args.enroll_secret_file else {
        bail!("there is no key in `{}`; give --enroll-secret-file to enrol this host", key_file.display());
    };
    let secret = read_secret(secret_file)?.with_context(|| format!("there is no file `{}`", secret_file.display()))?;
    // Before the server is asked, so that no key is given out that cannot be kept.
    let slot = KeySlot::prepare(key_file)?;
    let hostname = muster::collect::hostname(&Root::new(&args.root));
    let endpoint = endpoint_id(args, hostname.as_deref())?;
    let enrolled = server.enroll(&secret, &endpoint, hostname.as_deref()).await.context("the enrolment failed")?;
    slot.keep(&enrolled.key)?;
    note(format_args!("enrolled as {}, the key is in {}", enrolled.endpoint, key_file.display()));
    if enrolled.endpoint != endpoint {
        note(format_args!("from now on give --endpoint {}", enrolled.endpoint));
    }
    Ok(enrolled.endpoint)
}

fn endpoint_id(args: &Args, hostname: Option<&str>) -> Result<String, Usage> {
    let id = args.endpoint.as_deref().or(hostname).filter(|id| !id.is_empty());
    id.map(str::to_owned).ok_or_else(|| Usage("this host has no name, give --endpoint".to_owned()))
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
    scan.endpoint = endpoint_id(args, scan.hostname.as_deref())?;
    // Whole seconds: nobody asks for more, and they are easier to read.
    let now = muster::clock::now();
    scan.collected_at = Some(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string());
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

fn keep(scan: &[u8], output: &Path, how: Option<Compress>) -> anyhow::Result<()> {
    let bytes = compress(scan, how.map_or(Encoding::Identity, Compress::encoding)).context("cannot compress the scan")?;
    if output == Path::new("-") {
        let mut out = output::stdout();
        out.write_all(&bytes)?;
        return Ok(out.flush()?);
    }
    std::fs::write(output, bytes).with_context(|| format!("cannot write `{}`", output.display()))
}

fn print_answer(uploaded: &Uploaded, json: bool) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if json {
        out.json(uploaded)?;
        return Ok(out.flush()?);
    }
    let there = uploaded.verdicts.iter().filter(|(_, n)| **n > 0);
    let verdicts: Vec<String> = there.map(|(verdict, n)| format!("{n} {verdict}")).collect();
    writeln!(out, "scan:     {}", uploaded.scan)?;
    writeln!(out, "sequence: {}{}", uploaded.sequence, if uploaded.changed { "" } else { " (nothing changed)" })?;
    writeln!(out, "verdicts: {}", if verdicts.is_empty() { "none".to_owned() } else { verdicts.join(", ") })?;
    writeln!(out, "tasks:    {} waiting", uploaded.tasks)?;
    Ok(out.flush()?)
}
