//! `muster fleet`: a fleet made for trying, and questions to the fleet that there is.

mod query;

use std::collections::BTreeMap;

use clap::Subcommand;

use super::{Outcome, Usage};

/// Make a fleet to try with, or ask the fleet that there is
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Query(Box<query::Args>),
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.command {
        Command::Query(args) => query::run(&args),
    }
}

/// Which endpoints are asked.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Endpoints")]
pub(crate) struct ScopeArgs {
    /// Only those of a group of the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Only those with a label; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Only those of a platform: linux, debian, debian:12
    #[arg(long, value_name = "NAME")]
    pub(crate) platform: Option<String>,
    /// Only those heard of within this time: 7d, 12h
    #[arg(long, value_name = "TIME")]
    pub(crate) fresh: Option<String>,
}

impl ScopeArgs {
    pub(crate) fn labels(&self) -> Result<BTreeMap<String, String>, Usage> {
        let pair = |text: &String| {
            let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| Usage(format!("--label is NAME=VALUE, not `{text}`")))
        };
        self.label.iter().map(pair).collect()
    }

    /// The first option that only a server has an answer to.
    fn enrolled(&self) -> Option<&'static str> {
        let given = [(self.group.is_some(), "--group"), (!self.label.is_empty(), "--label"), (self.fresh.is_some(), "--fresh")];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }
}
