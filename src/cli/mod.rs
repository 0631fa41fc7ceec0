//! The commands, one file each. A command reads its arguments, calls the library and prints.
//!
//! To add one: a file with `Args` and `run`, a variant in [`Command`] and its line in [`run`].

mod admin;
mod agent;
mod demo;
mod eval;
mod feed;
mod fleet;
pub(crate) mod output;
mod packs;
mod patch;
mod report;
mod rules;
mod scan;
mod serve;
mod server;
mod whatif;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

/// Holds roll-call for a fleet: judges uploaded scans against configuration baselines, says what changed, and has what is missing
/// deployed.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    max_term_width = 120,
    after_help = "Exit codes: 0 fine, 1 failed to run, 2 not compliant or wrong usage.\nMUSTER_LOG chooses what is logged to stderr (debug, muster::shard=trace, ...)."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Admin(admin::Args),
    Demo(demo::Args),
    Serve(serve::Args),
    Agent(agent::Args),
    Rules(rules::Args),
    Eval(eval::Args),
    Feed(feed::Args),
    Fleet(fleet::Args),
    Patch(Box<patch::Args>),
    Report(Box<report::Args>),
    Scan(Box<scan::Args>),
    Whatif(Box<whatif::Args>),
}

/// How a command ended that could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fine,
    /// Exit code 2: a rule did not pass, a rule file has problems.
    NotCompliant,
}

impl Outcome {
    fn fine_if(fine: bool) -> Outcome {
        if fine { Outcome::Fine } else { Outcome::NotCompliant }
    }
}

/// Arguments that are well formed and make no sense: exit code 2, as for those that clap refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

impl Cli {
    /// What is logged unless `MUSTER_LOG` says otherwise; `None` for the daemon, whose configuration says.
    pub(crate) fn log_level(&self) -> Option<LevelFilter> {
        match self.command {
            Command::Serve(_) => None,
            // Its daemon is in the same process, and the summary is what it is for.
            Command::Demo(_) | Command::Fleet(_) => Some(LevelFilter::WARN),
            _ => Some(LevelFilter::INFO),
        }
    }
}

pub(crate) fn run(cli: Cli) -> anyhow::Result<Outcome> {
    match cli.command {
        Command::Admin(args) => admin::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Agent(args) => agent::run(args),
        Command::Rules(args) => rules::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Feed(args) => feed::run(args),
        Command::Fleet(args) => fleet::run(args),
        Command::Patch(args) => patch::run(*args),
        Command::Report(args) => report::run(&args),
        Command::Scan(args) => scan::run(*args),
        Command::Whatif(args) => whatif::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
