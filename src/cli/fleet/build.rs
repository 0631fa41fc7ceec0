//! `muster fleet build`: a big fleet straight into a store, for `muster serve` to start on.

use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use muster::config::{self, Config, Overrides};
use muster::serve::build::{Building, Built, Newcomer};
use muster::simulate::document::Identity;
use muster::simulate::fleet::Fleet;
use muster::{access, clock};
use rayon::prelude::*;
use serde::Serialize;

use super::{Kind, bar, human, resident, size_of_folder, write_keys};
use crate::cli::Outcome;
use crate::cli::output::{self, Format};

/// Machines that are decoded together and committed as one batch: some 80 MB of scans.
const BATCH: u32 = 256;

/// Puts a made-up fleet into a data folder, without HTTP: a million machines in minutes
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The folder is one that `muster serve` starts on. Give the same rules or the same configuration there, or the fleet is judged again at the start.\n\
    Only state is kept, no history: events are what happens to the fleet from then on.\n\n\
    Examples:\n  muster fleet build --endpoints 100000 --data /tmp/fleet --rules rules/linux-server\n  \
    muster fleet build --endpoints 1000000 --config muster.toml --keys keys --deviation 8x"
)]
pub(super) struct Args {
    #[command(flatten)]
    kind: Kind,
    /// The data folder, if the configuration names none
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    data: Option<PathBuf>,
    /// Rule packs to judge with
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "config")]
    rules: Vec<PathBuf>,
    /// The configuration that the daemon will start with, muster.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the keys of the machines to a file, for `muster fleet simulate --keys`
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Put machines beside those that the store has; those that are there already are left as they are
    #[arg(long)]
    add: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    built: Built,
    seconds: f64,
    /// Of this process, which held the fleet and made it up as well.
    resident_bytes: Option<u64>,
    disk_bytes: u64,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let config = configuration(&args)?;
    let begun = Instant::now();
    let mut building = Building::open(&config, args.add, clock::now_ms())?;
    let fleet = args.kind.fleet();
    let progress = bar(u64::from(args.kind.endpoints));
    progress.set_message("building");
    let (numbers, mut told) = (args.kind.numbers(), Instant::now());
    let batch = |from: u32| from..from.saturating_add(BATCH).min(numbers.end);
    let mut made = make(&building, &fleet, batch(numbers.start))?();
    for from in numbers.clone().step_by(usize::try_from(BATCH)?) {
        let (now, next) = (batch(from), batch(from.saturating_add(BATCH).min(numbers.end)));
        // The next ones are made up while these are put in.
        let make = make(&building, &fleet, next)?;
        let (added, following) = rayon::join(|| add(&mut building, made, &args), make);
        added?;
        made = following;
        progress.inc(u64::from(now.end - now.start));
        if progress.is_hidden() && told.elapsed().as_secs() >= 10 {
            told = Instant::now();
            output::note(format_args!(
                "{} of {} machines, {:.0} s",
                now.end - numbers.start,
                args.kind.endpoints,
                begun.elapsed().as_secs_f64()
            ));
        }
    }
    progress.finish_and_clear();
    let built = building.built();
    let resident_bytes = resident().map(|(now, _)| now);
    building.close()?;
    let report =
        Report { built, seconds: begun.elapsed().as_secs_f64(), resident_bytes, disk_bytes: size_of_folder(&config.data.join("store")) };
    print(&report, args.output)?;
    Ok(Outcome::Fine)
}

fn configuration(args: &Args) -> anyhow::Result<Config> {
    if args.config.is_none() {
        let data = args.data.clone().unwrap_or_default();
        return Ok(Config { data, packs: args.rules.clone(), ..Config::default() });
    }
    let overrides = Overrides { data: args.data.clone(), listen: None };
    config::load(args.config.as_deref(), overrides).map_err(|p| anyhow::anyhow!(p.iter().map(|p| format!("{p}\n")).collect::<String>()))
}

/// A machine with its number and its key.
type Made = (u32, String, Newcomer);

/// What makes up those machines of a range that are not there yet, beside each other.
fn make<'f>(building: &Building, fleet: &'f Fleet, numbers: Range<u32>) -> anyhow::Result<impl FnOnce() -> Vec<Made> + Send + use<'f>> {
    let new = |number: u32| {
        let Identity { id, hostname, labels } = Identity::of(fleet, number);
        if building.has(&id) {
            return Ok(None);
        }
        let (key, key_hash) = access::endpoint_key(&id)?;
        Ok::<_, anyhow::Error>(Some((number, key, Newcomer { id, hostname, labels, key_hash, document: Vec::new() })))
    };
    let new: Vec<Made> = numbers.filter_map(|number| new(number).transpose()).collect::<Result<_, _>>()?;
    let with_scan =
        move |(number, key, newcomer): Made| (number, key, Newcomer { document: fleet.facts(number, 0).document(), ..newcomer });
    Ok(move || new.into_par_iter().map(with_scan).collect())
}

/// Puts machines in.
fn add(building: &mut Building, made: Vec<Made>, args: &Args) -> anyhow::Result<()> {
    let (keys, newcomers): (Vec<(u32, String)>, Vec<Newcomer>) = made.into_iter().map(|(number, key, new)| ((number, key), new)).unzip();
    building.add(newcomers, clock::now_ms())?;
    match &args.keys {
        Some(path) => write_keys(path, keys.iter().map(|(n, k)| (*n, k.as_str()))),
        None => Ok(()),
    }
}

fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if format == Format::Json {
        return out.json(report);
    }
    let Report { built: b, seconds, resident_bytes, disk_bytes } = report;
    let mut table = output::table(&["", ""]);
    let each = |n: u64| n.checked_div(u64::try_from(b.endpoints).unwrap_or(0)).unwrap_or(0);
    table.add_row(["endpoints".to_owned(), b.endpoints.to_string()]);
    table.add_row(["rows".to_owned(), format!("{} ({} each)", b.rows, each(b.rows))]);
    table.add_row(["distinct rows".to_owned(), format!("{}, {}", b.distinct_rows, human(b.distinct_bytes))]);
    table.add_row(["images".to_owned(), format!("{} with {} rows", b.images, b.image_rows)]);
    table.add_row(["deviations".to_owned(), format!("{} ({} each)", b.deviations, each(b.deviations))]);
    table.add_row(["verdict classes".to_owned(), format!("{} of {} rules", b.verdict_classes, b.rules)]);
    table.add_row(["in memory".to_owned(), resident_bytes.map_or("unknown".to_owned(), human)]);
    table.add_row(["on the disk".to_owned(), human(*disk_bytes)]);
    table.add_row(["time".to_owned(), format!("{seconds:.1} s")]);
    out.table(&table)?;
    Ok(out.flush()?)
}
