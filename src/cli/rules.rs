//! `muster rules`: look at rules before a fleet does.

mod explain;
mod test;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use muster::limits::Limits;
use muster::pack::{RuleMeta, wire};
use muster::rule::{Diagnostic, Platform};
use serde_json::{Value, json};

use super::Outcome;
use super::output::{self, Format, Out};
use super::packs::{self, Streams};

/// Check, test, list, explain and compile rules
///
/// A PATH is a pack's folder, a folder of packs, one rule file, or SCAP content. docs/RULES.md says how rules are written, docs/SCAP.md what
/// of SCAP is judged.
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
        /// Pack folders, folders of packs, rule files or SCAP content
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        streams: Streams,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Run each rule's own tests, interpreted and compiled; exit code 2 if any fails
    Test {
        /// Pack folders, folders of packs, rule files or SCAP content
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Print the rules, in the order of their ids
    List {
        /// Pack folders, folders of packs, rule files, SCAP content or compiled packs
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        streams: Streams,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Print how a rule is judged: its parts, how their rows are found, what it collects; without RULE, sum up the packs
    Explain {
        /// Pack folders, folders of packs, rule files, SCAP content or compiled packs; the last may be a rule's id
        #[arg(required = true, value_name = "PATH|RULE")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        streams: Streams,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Compile packs into one file, named after its content, and print its path
    Compile {
        /// Pack folders, folders of packs, rule files or SCAP content
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The folder to write to; made if it is not there
        #[arg(long, value_name = "DIR")]
        output_dir: PathBuf,
        #[command(flatten)]
        streams: Streams,
    },
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let limits = Limits::default();
    let mut out = output::stdout();
    let outcome = match args.command {
        Command::Check { paths, streams, output } => check(&paths, &streams, output, &limits, &mut out),
        Command::Test { paths } => test::run(&paths, &limits, &mut out),
        Command::List { paths, streams, output } => list(&paths, &streams, output, &limits, &mut out),
        Command::Explain { paths, streams, output } => explain::run(&paths, &streams, output, &limits, &mut out),
        Command::Compile { paths, output_dir, streams } => compile(&paths, &streams, &output_dir, &limits, &mut out),
    }?;
    out.flush()?;
    Ok(outcome)
}

fn check(paths: &[PathBuf], streams: &Streams, format: Format, limits: &Limits, out: &mut Out) -> anyhow::Result<Outcome> {
    let sources = packs::read(paths, streams, limits)?;
    match format {
        Format::Json => {
            let notes = sources.notes().map(|(pack, note)| json!({"code": "note", "file": pack, "line": 0, "column": 0, "message": note}));
            out.json(&sources.problems.iter().map(diagnostic_json).chain(notes).collect::<Vec<_>>())?;
        }
        Format::Table => {
            for (pack, note) in sources.notes() {
                writeln!(out, "{pack}: note: {note}")?;
            }
            print_problems(&sources.problems, out)?;
            if sources.problems.is_empty() {
                let packs = sources.packs.len() + sources.scap.len();
                writeln!(out, "{} in {}, no problems", count(sources.rule_count(), "rule"), count(packs, "pack"))?;
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

fn diagnostic_json(d: &Diagnostic) -> Value {
    json!({"code": d.code.name(), "file": d.file, "line": d.line, "column": d.column, "message": d.message})
}

fn list(paths: &[PathBuf], streams: &Streams, format: Format, limits: &Limits, out: &mut Out) -> anyhow::Result<Outcome> {
    let ready = packs::ready(paths, streams, limits)?;
    let rules = ready.rules();
    let metas = rules.iter().map(|c| c.pack.meta(c.rule));
    match format {
        Format::Json => out.json(&metas.map(meta_json).collect::<Vec<_>>())?,
        Format::Table => {
            let mut table = output::table(&["rule", "severity", "platforms", "title", "controls"]);
            for m in metas {
                table.add_row([m.id.clone(), m.severity.to_string(), platforms(&m.platforms), m.title.clone(), controls(m)]);
            }
            out.table(&table)?;
        }
    }
    Ok(Outcome::Fine)
}

/// What people wrote in a rule; what was derived from it, `explain` shows.
fn meta_json(m: &RuleMeta) -> Value {
    json!({
        "id": m.id, "pack": m.pack, "title": m.title, "severity": m.severity,
        "platforms": m.platforms.iter().map(platform).collect::<Vec<_>>(), "controls": m.controls,
        "rationale": m.rationale, "when": m.when, "check": m.check, "missing": m.missing,
        "remediation": m.remediation, "fix": m.fix, "asks": m.asks, "scap": m.scap,
    })
}

/// As it is written: `debian:12`.
fn platform(p: &Platform) -> String {
    p.version.as_ref().map_or_else(|| p.id.clone(), |version| format!("{}:{version}", p.id))
}

fn platforms(all: &[Platform]) -> String {
    all.iter().map(platform).collect::<Vec<_>>().join(" ")
}

fn controls(m: &RuleMeta) -> String {
    let lists = m.controls.iter().map(|(benchmark, numbers)| format!("{benchmark} {}", numbers.join(" ")));
    lists.collect::<Vec<_>>().join("; ")
}

fn compile(paths: &[PathBuf], streams: &Streams, folder: &Path, limits: &Limits, out: &mut Out) -> anyhow::Result<Outcome> {
    let bytes = packs::sound(paths, streams, limits)?.compile();
    writeln!(out, "{}", wire::write_file(folder, &bytes)?.display())?;
    Ok(Outcome::Fine)
}

/// `1 rule`, `2 rules`.
fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
