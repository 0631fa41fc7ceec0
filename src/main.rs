//! The command line: arguments in, an exit code out. What commands do is in `cli`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

mod cli;

/// What is taken on one thread is mostly given back on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 0: fine. 1: failed to run. 2: not compliant, or wrong usage.
fn main() -> ExitCode {
    let args = match cli::Cli::try_parse() {
        Ok(args) => args,
        Err(help) => {
            // Also --help and --version; a reader that went away is no error.
            help.print().ok();
            return ExitCode::from(if help.use_stderr() { 2 } else { 0 });
        }
    };
    if let Some(level) = args.log_level() {
        init_log(level);
    }
    match cli::run(args) {
        Ok(cli::Outcome::Fine) => ExitCode::SUCCESS,
        Ok(cli::Outcome::NotCompliant) => ExitCode::from(2),
        Err(error) => {
            cli::output::note(format_args!("error: {error:#}"));
            ExitCode::from(if error.is::<cli::Usage>() { 2 } else { 1 })
        }
    }
}

/// Logs go to stderr; `MUSTER_LOG` chooses them (`debug`, `muster::shard=trace,warn`).
fn init_log(level: LevelFilter) {
    let mut filter = EnvFilter::builder().with_env_var("MUSTER_LOG").with_default_directive(level.into()).from_env_lossy();
    // The store's own progress is of interest only when something is wrong with it, or when it is asked for.
    if !filter.to_string().contains("fjall") {
        let store = level.min(LevelFilter::WARN);
        let quiet = ["fjall", "lsm_tree"].into_iter().filter_map(|of| format!("{of}={store}").parse().ok());
        filter = quiet.fold(filter, EnvFilter::add_directive);
    }
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
}
