//! `muster feed`: what vendors publish: subscriptions, how they stand, and a look at files before anything is judged by them.

mod local;
mod print;
mod read;
mod remote;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

use super::output::Format;
use super::{Outcome, Usage};

/// Vendors' feeds: how subscriptions stand, bring them up to date, look at files
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster feed sync --config /etc/muster/muster.toml
  muster feed status alma --config /etc/muster/muster.toml
  muster feed import kev known_exploited_vulnerabilities.json --config /etc/muster/muster.toml
  muster feed import dsa DSA/list DLA/list --format dsa-list --data /var/lib/muster
  muster feed sync alma --server https://muster.example --token-file admin.token
  muster feed read --format osv almalinux.zip

Without --server they work on the data folder, with or without a running daemon, which notices within seconds.
Run them as the user that the daemon runs as.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Subscriptions in a table
    List {
        #[command(flatten)]
        from: From,
    },
    /// All that is known of feeds: files, problems, history
    Status {
        /// One feed [default: all]
        name: Option<String>,
        #[command(flatten)]
        from: From,
    },
    /// Bring feeds up to date; exit code 1 if one could not be
    Sync {
        /// These feeds [default: all that are enabled and have an address]
        names: Vec<String>,
        /// Take also a content that is suspicious: empty, or less than half of what was there; and take nothing for unchanged
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        from: From,
    },
    /// Take files for a feed's content, where there is no network
    Import {
        /// The feed
        name: String,
        /// The files that are its content from now on
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Keep the files that are there under other names
        #[arg(long)]
        add: bool,
        /// Take also a content that is suspicious
        #[arg(long)]
        force: bool,
        /// What the files are, where no configuration says so
        #[arg(long, value_enum)]
        format: Option<read::Feed>,
        #[command(flatten)]
        from: From,
    },
    /// Hold what is kept against its digests, and feeds against their schedule; exit code 2 if anything is wrong
    Check {
        #[command(flatten)]
        from: From,
    },
    /// Read files and print what they hold, and every document or part that cannot be used; exit code 2 if there is one
    Read {
        /// Documents, or zip and tar archives of them; plain, gzip, bzip2, zstd or xz
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[arg(long, value_enum)]
        format: read::Feed,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
}

/// Where the feeds are.
#[derive(Debug, clap::Args)]
struct From {
    /// The daemon's configuration, muster.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder, whatever the configuration says; without one the feeds that lie there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Ask this server instead
    #[arg(long, value_name = "URL", requires = "token_file", conflicts_with_all = ["config", "data"])]
    server: Option<String>,
    /// The administrator's token
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// Certificates to trust next to the public ones (PEM)
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Here or at a server: both say the same in the same words.
trait Feeds {
    fn list(&self) -> anyhow::Result<Vec<Value>>;
    fn one(&self, name: &str) -> anyhow::Result<Value>;
    /// What became of a sync: the feed after it, or why it failed.
    fn sync(&self, name: &str, force: bool) -> anyhow::Result<Value>;
    fn import(&self, name: &str, files: &[PathBuf], add: bool, force: bool) -> anyhow::Result<Value>;
}

fn feeds(from: &From, named: Option<(&str, Option<read::Feed>)>) -> anyhow::Result<Box<dyn Feeds>> {
    Ok(match &from.server {
        Some(url) => Box::new(remote::Remote::new(url, from)?),
        None => Box::new(local::Local::new(from, named)?),
    })
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.command {
        Command::Read { files, format, output } => read::run(&files, format, output),
        Command::List { from } => print::list(&feeds(&from, None)?.list()?, from.output),
        Command::Status { name, from } => {
            let feeds = feeds(&from, None)?;
            let names = match name {
                Some(name) => vec![name],
                None => feeds.list()?.iter().map(|f| print::text(f, "/name").to_owned()).collect(),
            };
            let all: Vec<Value> = names.iter().map(|n| feeds.one(n)).collect::<anyhow::Result<_>>()?;
            print::status(&all, from.output)
        }
        Command::Sync { names, force, from } => sync(&names, force, &from),
        Command::Import { name, files, add, force, format, from } => {
            if from.server.is_some() && format.is_some() {
                return Err(Usage("--format is for a folder without a configuration; a server has one".to_owned()).into());
            }
            let feeds = feeds(&from, Some((&name, format)))?;
            let done = feeds.import(&name, &files, add, force)?;
            print::synced(&[(name, Ok(done))], from.output)
        }
        Command::Check { from } => {
            if from.server.is_some() {
                return Err(Usage(
                    "the files are checked where they lie; a server tells how its feeds stand with `muster feed status`".to_owned(),
                )
                .into());
            }
            print::check(&local::Local::new(&from, None)?.check(), from.output)
        }
    }
}

fn sync(names: &[String], force: bool, from: &From) -> anyhow::Result<Outcome> {
    let feeds = feeds(from, None)?;
    let mut names = names.to_vec();
    if names.is_empty() {
        let all = feeds.list()?;
        let has_address = |f: &&Value| f.pointer("/enabled") == Some(&Value::Bool(true)) && f.pointer("/source/imported").is_none();
        names = all.iter().filter(has_address).map(|f| print::text(f, "/name").to_owned()).collect();
        if names.is_empty() {
            return Err(Usage("no enabled [[feed]] has a `url` or a `path`".to_owned()).into());
        }
    }
    // One that fails does not keep the others from their sync.
    let done: Vec<(String, anyhow::Result<Value>)> = names.into_iter().map(|n| (n.clone(), feeds.sync(&n, force))).collect();
    print::synced(&done, from.output)
}
