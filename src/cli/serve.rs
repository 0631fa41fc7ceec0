//! `muster serve`: the daemon.

use std::io::Write as _;
use std::path::PathBuf;

use muster::serve::{Options, ServeError, check_config, daemon};

use super::Outcome;
use super::output;

/// Runs the daemon until SIGTERM or Ctrl-C. SIGHUP reloads the configuration and the rules.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without a configuration it listens at 127.0.0.1:7311, keeps its data in /var/lib/muster and has no rules.\n\
    At its first start it writes admin.token and enroll.secret into the data folder and says where.\n\n\
    Examples:\n  muster serve --config muster.toml --check-config\n  muster serve --config muster.toml\n  \
    muster serve --data /tmp/muster --listen 127.0.0.1:0")]
pub(crate) struct Args {
    /// The configuration, muster.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the data in this folder, whatever the configuration says
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Listen here, whatever the configuration says
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Read the configuration and its rules, say what is wrong, and end: 0 fine, 2 problems
    #[arg(long)]
    check_config: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let options = Options { config: args.config, data: args.data, listen: args.listen };
    let result = if args.check_config {
        check_config(&options).map(Some)
    } else {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(daemon(options)).map(|()| None)
    };
    match result {
        Ok(Some(checked)) => {
            let (data, listen) = (checked.config.data.display(), &checked.config.listen);
            writeln!(output::stdout(), "fine: {} rules, data in {data}, listening at {listen}", checked.rules)?;
            Ok(Outcome::Fine)
        }
        Ok(None) => Ok(Outcome::Fine),
        Err(ServeError::Problems(problems)) => {
            problems.iter().for_each(|p| output::note(format_args!("{p}")));
            Ok(Outcome::NotCompliant)
        }
        Err(e) => Err(e.into()),
    }
}
