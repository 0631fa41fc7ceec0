//! `muster fleet`: a fleet made for trying, and questions to the fleet that there is.

use clap::Subcommand;

use super::Outcome;

/// Make a fleet to try with, or ask the fleet that there is
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.command {}
}
