//! `muster whatif`: what would turn at the fleet of a server, were the rules others. Nothing is changed.

use std::io::Write;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use muster::limits::Limits;
use muster::pack::Pack;
use muster::question::whatif::Body;
use serde_json::Value;

use super::fleet::ScopeArgs;
use super::output::{self, Format, Out, plain};
use super::packs::{self, Streams};
use super::server::Remote;
use super::{Outcome, Usage};

/// Ask a server what would turn if these rules were taken, before they are
///
/// Rules of the same id take the place of those that there are, others are added; with --replace they are all that there would be. Exit code 2 if some endpoint would
/// begin to fail a rule, or the configuration would not be taken.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster whatif --rules rules/linux-server --server URL --token-file FILE
  muster whatif --rules new/ssh-root-login.yaml --group web --server URL --token-file FILE --output json
  muster whatif --rules ssg-debian12-ds.xml.gz --profile cis_level2_server --replace --server URL --token-file FILE")]
pub(crate) struct Args {
    /// Pack folders, folders of packs, rule files, SCAP content or one compiled pack
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// They are all rules that there would be
    #[arg(long)]
    replace: bool,
    /// Rules that are listed at most, those first that would open most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    streams: Streams,
    #[command(flatten)]
    remote: Remote,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let Some(server) = args.remote.connect()? else {
        return Err(Usage("give the server whose fleet is meant: --server and --token-file".to_owned()).into());
    };
    let ready = packs::ready(&args.rules, &args.streams, &Limits::default())?;
    let [pack] = ready.packs() else {
        return Err(Usage("give one compiled pack, or only what is to be compiled".to_owned()).into());
    };
    let told = server.send(Method::POST, "/v1/whatif", Some(&serde_json::to_value(args.body(pack)?)?))?;
    let mut out = output::stdout();
    match args.output {
        Format::Json => out.json(&told)?,
        Format::Table => print(&told, &mut out)?,
    }
    out.flush()?;
    let problems = told.get("problems").and_then(Value::as_array).is_some_and(|p| !p.is_empty());
    Ok(Outcome::fine_if(number(&told, "/summary/opens") == 0 && !problems))
}

impl Args {
    fn body(&self, pack: &Pack) -> Result<Body, Usage> {
        Ok(Body {
            compiled: Some(STANDARD.encode(pack.as_bytes())),
            replace: self.replace,
            group: self.scope.group.clone(),
            labels: self.scope.labels()?,
            platform: self.scope.platform.clone(),
            fresh: self.scope.fresh.clone(),
            limit: self.limit,
            ..Body::default()
        })
    }
}

fn number(value: &Value, place: &str) -> u64 {
    value.pointer(place).and_then(Value::as_u64).unwrap_or(0)
}

fn text(value: &Value, name: &str) -> String {
    plain(value.get(name).and_then(Value::as_str).unwrap_or_default()).into_owned()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn print(told: &Value, out: &mut Out) -> anyhow::Result<()> {
    let sum = |name: &str| number(told, &format!("/summary/{name}"));
    writeln!(
        out,
        "{} endpoints asked, {} rules differ, {} do not",
        number(told, "/endpoints/asked"),
        list(told, "rules").len(),
        number(told, "/unchanged")
    )?;
    writeln!(
        out,
        "{} endpoints would begin to fail some rule ({} by rule), {} failures would end",
        sum("endpoints_failing_anew"),
        sum("opens"),
        sum("resolves")
    )?;
    writeln!(
        out,
        "{} open episodes would end, {} tasks be queued, {} tasks end",
        sum("episodes_end"),
        sum("tasks_queued"),
        sum("tasks_ended")
    )?;
    for (sink, events) in told.pointer("/summary/sinks").and_then(Value::as_object).into_iter().flatten() {
        writeln!(out, "sink {}: {events} events", plain(sink))?;
    }
    for (group, of) in told.get("groups").and_then(Value::as_object).into_iter().flatten() {
        writeln!(out, "group {}: {} begin to fail, {} end", plain(group), number(of, "/opens"), number(of, "/resolves"))?;
    }
    for problem in list(told, "problems").iter().filter_map(Value::as_str) {
        writeln!(out, "the configuration would not be taken: {}", plain(problem))?;
    }
    let mut table = output::table(&["rule", "severity", "change", "turns", "endpoints", "such as"]);
    for rule in list(told, "rules") {
        let head = [text(rule, "rule"), text(rule, "severity"), text(rule, "change")];
        if let Some(why) = rule.get("unanswered").and_then(Value::as_str) {
            table.add_row(head.iter().cloned().chain(["not answered".to_owned(), String::new(), plain(why).into_owned()]));
        }
        for turn in list(rule, "turned") {
            let side = |name: &str| turn.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
            let examples: Vec<&str> = list(turn, "examples").iter().filter_map(Value::as_str).take(3).collect();
            let turned = format!("{} -> {}", side("from"), side("to"));
            let cells = [turned, number(turn, "/count").to_string(), plain(&examples.join(", ")).into_owned()];
            table.add_row(head.iter().cloned().chain(cells));
        }
    }
    if table.row_count() > 0 {
        writeln!(out)?;
        out.table(&table)?;
    }
    if number(told, "/left_out") > 0 {
        writeln!(out, "and {} more rules: --limit N lists more of them", number(told, "/left_out"))?;
    }
    Ok(())
}
