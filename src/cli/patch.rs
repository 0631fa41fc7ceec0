//! `muster patch`: which patches there are, which are missing and why, and in what order to install them.
//!
//! Against a server, or offline from scans and feeds: both ways end in the same JSON document, of which the tables are made.

mod decide;
mod offline;
mod print;
pub(super) mod server;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

use super::output::{self, Format};
use super::{Outcome, Usage};
use server::{Server, query};

/// Look at patches: those that there are, those that an endpoint lacks, and in what order to install them
///
/// Exit code 0 if nothing is missing, 2 if something is, 1 if it could not be told. docs/PATCHES.md has the states, the filters and the formula.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster patch missing --scan scan.json --advisories osv:debian.zip kev:kev.json
  muster patch missing --scan scan.json --feeds /var/lib/muster/feeds --filter 'severity>=high, installable'
  muster patch plan --server https://muster.example --token-file admin.token --endpoint web-1
  muster patch show DSA-5532-1 --server https://muster.example --token-file admin.token --endpoint web-1
  muster patch list --filter 'critical, not superseded, released since 1st, applicable' --server ...")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The patches of all feeds, by id
    List {
        #[command(flatten)]
        from: From,
        #[command(flatten)]
        which: Which,
    },
    /// Everything about a patch; with --endpoint or --scan how it stands there, and why
    Show {
        /// The patch's id (DSA-5532-1, KB5031364, CVE-2024-1234)
        id: String,
        /// Only as this feed has it
        #[arg(long, value_name = "NAME")]
        feed: Option<String>,
        #[command(flatten)]
        from: From,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// What is needed and not there, the most urgent first; exit code 2 if there is anything
    Missing {
        #[command(flatten)]
        from: From,
        #[command(flatten)]
        which: Which,
    },
    /// The same with what a later patch brings along, what is exempt and what waits for a restart
    Applicable {
        #[command(flatten)]
        from: From,
        #[command(flatten)]
        which: Which,
    },
    /// The steps that mend an endpoint, in their order; exit code 2 if there are any
    Plan {
        #[command(flatten)]
        from: From,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Named lists of patches, with their history (on a server)
    Lists(decide::ListArgs),
    /// Do Not Patch: what is not installed where, why and until when (on a server)
    Exempt(decide::ExemptArgs),
}

/// Where patches and endpoints are looked for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Where to look")]
struct From {
    /// Ask this server
    #[arg(long, value_name = "URL", requires = "token_file", conflicts_with_all = ["scan", "feeds", "advisories"])]
    server: Option<String>,
    /// The administrator's token
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// Certificates to trust next to the public ones (PEM)
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
    /// The endpoint, on a server
    #[arg(long, value_name = "ID", requires = "server")]
    endpoint: Option<String>,
    /// Without a server: scans in muster.scan/1 JSON, plain, gzip, bzip2 or zstd; - is stdin
    #[arg(long, num_args = 1.., value_name = "FILE")]
    scan: Vec<PathBuf>,
    /// Without a server: the feeds that a daemon or `muster feed` keeps, in the folder `feeds` of its data
    #[arg(long, value_name = "DIR")]
    feeds: Option<PathBuf>,
    /// Without a server: files of vendors, with their format (as in `muster feed read`) and, if need be, the name of the feed that they are of
    #[arg(long, num_args = 1.., value_name = "[NAME=]FORMAT:FILE")]
    advisories: Vec<String>,
    /// Without a server: how much depends on the endpoint (its label `value`): low, medium, high, critical
    #[arg(long, value_name = "WORD", conflicts_with = "server")]
    value: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Which patches: 'severity>=high, not superseded' (docs/PATCHES.md)
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only at endpoints of this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What of an endpoint's patches is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Missing,
    Applicable,
}

impl Asked {
    fn name(self) -> &'static str {
        match self {
            Asked::Missing => "missing",
            Asked::Applicable => "applicable",
        }
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.command {
        Command::List { from, which } => {
            let found = list(&from, &which, None)?;
            show(&found, which.output, print::catalog)?;
            Ok(Outcome::Fine)
        }
        Command::Show { id, feed, from, output } => one(&id, feed.as_deref(), &from, output),
        Command::Missing { from, which } => lacking(&from, &which, Asked::Missing),
        Command::Applicable { from, which } => lacking(&from, &which, Asked::Applicable),
        Command::Plan { from, output } => plan(&from, output),
        Command::Lists(args) => decide::lists(args),
        Command::Exempt(args) => decide::exempt(args),
    }
}

fn show(document: &Value, output: Format, table: fn(&Value, &mut output::Out) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut out = output::stdout();
    match output {
        Format::Json => out.json(document)?,
        Format::Table => table(document, &mut out)?,
    }
    Ok(std::io::Write::flush(&mut out)?)
}

/// A page of the catalog, or all of it.
fn list(from: &From, which: &Which, asked: Option<Asked>) -> anyhow::Result<Value> {
    let mut filter = which.filter.clone().unwrap_or_default();
    let mut add = |condition: String| filter = if filter.trim().is_empty() { condition } else { format!("{condition}, {filter}") };
    if let Some(group) = &which.group {
        add(format!("group=\"{group}\""));
    }
    if let Some(asked) = asked {
        add(asked.name().to_owned());
    }
    match Server::of(from)? {
        Some(server) => server.pages(&format!("/v1/patches{}", query(&[("filter", &filter)])), which.limit),
        None => offline::list(from, &filter, which.limit),
    }
}

fn one(id: &str, feed: Option<&str>, from: &From, output: Format) -> anyhow::Result<Outcome> {
    let found = match (Server::of(from)?, &from.endpoint) {
        (Some(server), Some(endpoint)) => server.get(&server::path(&["endpoints", endpoint, "patches", id], &[("feed", feed)]))?,
        (Some(server), None) => server.get(&server::path(&["patches", id], &[("feed", feed)]))?,
        (None, _) => offline::show(from, id, feed)?,
    };
    let here = from.endpoint.is_some() || !from.scan.is_empty();
    show(&found, output, if here { print::why } else { print::patch })?;
    Ok(Outcome::Fine)
}

fn lacking(from: &From, which: &Which, asked: Asked) -> anyhow::Result<Outcome> {
    let documents = match Server::of(from)? {
        Some(server) => match &from.endpoint {
            None => {
                // Over the fleet: what is missing anywhere.
                let found = list(from, which, Some(asked))?;
                show(&found, which.output, print::catalog)?;
                return Ok(Outcome::fine_if(is_empty(&found, "items")));
            }
            Some(_) if which.group.is_some() => return Err(Usage("--group is for a fleet, --endpoint for one of it".to_owned()).into()),
            Some(endpoint) => {
                let filter = which.filter.as_deref().filter(|f| !f.is_empty());
                vec![server.pages(
                    &server::path(&["endpoints", endpoint, "patches"], &[("state", Some(asked.name())), ("filter", filter)]),
                    which.limit,
                )?]
            }
        },
        None => offline::lacking(from, which, asked)?,
    };
    print_each(&documents, which.output, print::lacking)?;
    ended(&documents, "items")
}

fn plan(from: &From, output: Format) -> anyhow::Result<Outcome> {
    let documents = match (Server::of(from)?, &from.endpoint) {
        (Some(server), Some(endpoint)) => vec![server.get(&server::path(&["endpoints", endpoint, "plan"], &[]))?],
        (Some(_), None) => return Err(Usage("a plan is of one endpoint: give --endpoint".to_owned()).into()),
        (None, _) => offline::plans(from)?,
    };
    print_each(&documents, output, print::plan)?;
    ended(&documents, "steps")
}

/// Something is missing, nothing is, or it cannot be told: what was not collected is not fine.
fn ended(documents: &[Value], list: &str) -> anyhow::Result<Outcome> {
    let unknown = |d: &&Value| is_empty(d, list) && d.get("not_collected") == Some(&Value::Bool(true));
    let unknown: Vec<&str> = documents.iter().filter(unknown).filter_map(|d| d.get("endpoint")?.as_str()).collect();
    if documents.iter().all(|d| is_empty(d, list)) && !unknown.is_empty() {
        anyhow::bail!("{}: the scan lacks the table that decides (package; of Windows hotfix), nothing can be told", unknown.join(", "));
    }
    Ok(Outcome::fine_if(documents.iter().all(|d| is_empty(d, list))))
}

/// One document as it is, several as an array or one table after the other.
fn print_each(documents: &[Value], output: Format, table: fn(&Value, &mut output::Out) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if let ([_, _, ..], Format::Json) = (documents, output) {
        return show(&Value::from(documents.to_vec()), output, table);
    }
    documents.iter().try_for_each(|d| show(d, output, table))
}

fn is_empty(document: &Value, list: &str) -> bool {
    document.get(list).and_then(Value::as_array).is_none_or(Vec::is_empty)
}
