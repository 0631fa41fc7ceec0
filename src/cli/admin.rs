//! `muster admin`: what is done to a data folder beside its daemon.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use muster::serve::check::{Checked, check};

use super::Outcome;
use super::output::{self, Format};

/// Looks after the data folder of a daemon that is stopped
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Check(Check),
}

/// Holds a store against itself: references, digests, the index, and verdicts against the definition
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The daemon must be stopped. Nothing is changed. Exit codes: 0 the store is whole, 1 it is not, or cannot be read.\n\n\
    Examples:\n  muster admin check --data /var/lib/muster\n  muster admin check --data backup --sample 10000 --output json"
)]
struct Check {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/muster")]
    data: PathBuf,
    /// Endpoints whose verdicts are given a second time, by the definition
    #[arg(long, value_name = "N", default_value_t = 200)]
    sample: usize,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let Command::Check(args) = args.command;
    let begun = Instant::now();
    let checked = check(&args.data, args.sample)?;
    let mut out = output::stdout();
    if args.output == Format::Json {
        out.json(&checked)?;
    } else {
        out.table(&table(&checked, begun.elapsed().as_secs_f64()))?;
        for note in &checked.notes {
            writeln!(out, "note: {}", output::plain(note))?;
        }
        for problem in &checked.problems {
            writeln!(out, "problem: {}", output::plain(problem))?;
        }
    }
    out.flush()?;
    if checked.problems_total > 0 {
        bail!("the store is not whole: {} problems; bring back a backup, or remove the endpoints that are named", checked.problems_total);
    }
    Ok(Outcome::Fine)
}

fn table(checked: &Checked, seconds: f64) -> comfy_table::Table {
    let mut table = output::table(&["", ""]);
    let rules = checked.pack.as_deref().map_or("none", |digest| digest.get(..12).unwrap_or(digest));
    for (what, value) in [
        ("endpoints", checked.endpoints.to_string()),
        ("distinct rows", checked.rows.to_string()),
        ("images", checked.images.to_string()),
        ("verdict classes", checked.verdict_classes.to_string()),
        ("rules", rules.to_owned()),
        ("events", checked.events.to_string()),
        ("waiting for sinks", checked.deliveries.to_string()),
        ("verdicts explained", format!("of {} endpoints", checked.explained)),
        ("problems", checked.problems_total.to_string()),
        ("time", format!("{seconds:.1} s")),
    ] {
        table.add_row([what.to_owned(), value]);
    }
    table
}
