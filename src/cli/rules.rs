//! `muster rules`: look at rules before a fleet does.

mod test;

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use muster::limits::Limits;
use muster::rule::Diagnostic;
use serde_json::json;

use super::output::{self, Format, Out};
use super::{Outcome, packs};

/// Check, test, list, explain and compile rules
///
/// A PATH is a pack's folder, a folder of packs, or one rule file. docs/RULES.md says how rules are written.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  muster rules check rules/linux-server\n  muster rules test rules/linux-server/ssh-root-login.yaml\n  muster rules explain rules/linux-server ssh-root-login"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print every problem of the rules with its place; exit code 2 if there are any
    Check {
        /// Pack folders, folders of packs, or rule files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Run each rule's own tests, interpreted and compiled; exit code 2 if any fails
    Test {
        /// Pack folders, folders of packs, or rule files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let limits = Limits::default();
    let mut out = output::stdout();
    let outcome = match args.command {
        Command::Check { paths, output } => check(&paths, output, &limits, &mut out),
        Command::Test { paths } => test::run(&paths, &limits, &mut out),
    }?;
    out.flush()?;
    Ok(outcome)
}

fn check(paths: &[PathBuf], format: Format, limits: &Limits, out: &mut Out) -> anyhow::Result<Outcome> {
    let sources = packs::read(paths, limits)?;
    match format {
        Format::Json => out.json(&sources.problems.iter().map(diagnostic_json).collect::<Vec<_>>())?,
        Format::Table => {
            print_problems(&sources.problems, out)?;
            if sources.problems.is_empty() {
                let (rules, packs) = (sources.rules().count(), sources.packs.len());
                writeln!(out, "{} in {}, no problems", count(rules, "rule"), count(packs, "pack"))?;
            }
        }
    }
    Ok(Outcome::fine_if(sources.problems.is_empty()))
}

/// One a line, then how many.
fn print_problems(problems: &[Diagnostic], out: &mut Out) -> anyhow::Result<()> {
    for problem in problems {
        writeln!(out, "{problem}")?;
    }
    if !problems.is_empty() {
        writeln!(out, "{}", count(problems.len(), "problem"))?;
    }
    Ok(())
}

fn diagnostic_json(d: &Diagnostic) -> serde_json::Value {
    json!({"code": d.code.name(), "file": d.file, "line": d.line, "column": d.column, "message": d.message})
}

/// `1 rule`, `2 rules`.
fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
