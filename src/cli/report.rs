//! `muster report`: what a server's fleet was at a past instant, and how it came along. `options -> one request -> table, JSON or CSV`.

use std::io::Write;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use hyper::Method;
use serde_json::Value;

use super::output::{self, Out, plain};
use super::server::{Remote, query};
use super::{Outcome, Usage};

/// Report on the fleet of a server: at a past instant, or over time
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Asof(AsOf),
    Trends(Trends),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people.
    #[default]
    Table,
    /// For programs: the answer as the server gave it.
    Json,
    /// For spreadsheets.
    Csv,
}

/// What verdicts and patches were at a past instant, under the policy of then
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster report asof --at 2026-03-31T00:00:00Z --server URL --token-file FILE
  muster report asof --at 2026-03-31T00:00:00Z --group web --rule ssh-root-login --output csv --server URL --token-file FILE
  muster report asof --at 2026-03-31T00:00:00Z --endpoint web-7 --server URL --token-file FILE")]
struct AsOf {
    /// The instant
    #[arg(long, value_name = "TIME")]
    at: String,
    /// Only endpoints that were of this group, as it was defined then
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Who failed this rule
    #[arg(long, value_name = "ID", conflicts_with = "endpoint")]
    rule: Option<String>,
    /// With --rule: who had one of these verdicts instead
    #[arg(long, value_name = "VERDICT,...", requires = "rule")]
    verdict: Option<String>,
    /// What this endpoint had
    #[arg(long, value_name = "ID", conflicts_with = "group")]
    endpoint: Option<String>,
    #[command(flatten)]
    remote: Remote,
    #[arg(long, value_enum, default_value_t)]
    output: Shape,
}

/// How the fleet or a group came along: coverage, compliance, missing patches, open episodes, times to remediate and to patch
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster report trends --server URL --token-file FILE
  muster report trends --group web --step hour --from 2026-03-30T00:00:00Z --output csv --server URL --token-file FILE")]
struct Trends {
    /// The group; the whole fleet unless given
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// From this instant on
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this instant
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// `hour` or `day`
    #[arg(long, default_value = "day", value_name = "STEP")]
    step: String,
    #[command(flatten)]
    remote: Remote,
    #[arg(long, value_enum, default_value_t)]
    output: Shape,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut out = output::stdout();
    match &args.command {
        Command::Asof(args) => args.run(&mut out)?,
        Command::Trends(args) => args.run(&mut out)?,
    }
    out.flush()?;
    Ok(Outcome::Fine)
}

/// One request, or all pages of it as one answer.
fn ask(remote: &Remote, path: &str, parameters: &[(&str, Option<&String>)]) -> anyhow::Result<Value> {
    let Some(server) = remote.connect()? else {
        return Err(Usage("give the server whose fleet is meant: --server and --token-file".to_owned()).into());
    };
    let given: Vec<(&str, &str)> = parameters.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?.as_str()))).collect();
    let mut whole = server.send(Method::GET, &format!("{path}{}", query(&given)), None)?;
    while let Some(cursor) = whole.get("next_cursor").and_then(Value::as_str).map(str::to_owned) {
        let more: Vec<(&str, &str)> = given.iter().copied().chain([("cursor", cursor.as_str())]).collect();
        let mut next = server.send(Method::GET, &format!("{path}{}", query(&more)), None)?;
        let brought = next.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        let whole = whole.as_object_mut().context("the answer is no object")?;
        if let Some(items) = whole.get_mut("items").and_then(Value::as_array_mut) {
            items.extend(brought);
        }
        whole.insert("next_cursor".to_owned(), next.get("next_cursor").cloned().unwrap_or_default());
    }
    Ok(whole)
}

/// What is at a place of an answer, as a cell.
fn cell(value: &Value, place: &str) -> String {
    match value.pointer(place) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn list<'v>(value: &'v Value, place: &str) -> &'v [Value] {
    value.pointer(place).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Rows under a header, for people or for spreadsheets.
fn rows(shape: Shape, header: &[&str], rows: &[Vec<String>], out: &mut Out) -> anyhow::Result<()> {
    if shape == Shape::Csv {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(header)?;
        rows.iter().try_for_each(|row| csv.write_record(row))?;
        return Ok(csv.flush()?);
    }
    let mut table = output::table(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell).into_owned()));
    }
    if !rows.is_empty() {
        writeln!(out)?;
        out.table(&table)?;
    }
    Ok(())
}

/// The verdicts that a table of rules shows.
const VERDICTS: [&str; 5] = ["pass", "fail", "error", "notchecked", "notapplicable"];

impl AsOf {
    fn run(&self, out: &mut Out) -> anyhow::Result<()> {
        let limit = "1000".to_owned();
        let parameters = [
            ("at", Some(&self.at)),
            ("group", self.group.as_ref()),
            ("rule", self.rule.as_ref()),
            ("verdict", self.verdict.as_ref()),
            ("endpoint", self.endpoint.as_ref()),
            ("limit", Some(&limit)),
        ];
        let told = ask(&self.remote, "/v1/asof", &parameters)?;
        match self.output {
            Shape::Json => return out.json(&told),
            Shape::Table => Self::head(&told, out)?,
            Shape::Csv => {}
        }
        if told.get("endpoint").is_some() {
            self.endpoint(&told, out)
        } else if told.get("rule").is_some() {
            let of = |item: &Value| ["/id", "/hostname", "/verdict"].map(|place| cell(item, place)).to_vec();
            let found: Vec<Vec<String>> = list(&told, "/items").iter().map(of).collect();
            rows(self.output, &["endpoint", "hostname", "verdict"], &found, out)
        } else {
            self.fleet(&told, out)
        }
    }

    fn head(told: &Value, out: &mut Out) -> anyhow::Result<()> {
        let packs: Vec<String> =
            list(told, "/policy/packs").iter().map(|p| format!("{} {}", cell(p, "/id"), cell(p, "/version"))).collect();
        let shown = |text: String| plain(&text).into_owned();
        writeln!(out, "at {}, under the policy since {}", cell(told, "/at"), cell(told, "/policy/since"))?;
        writeln!(out, "packs: {} ({})", shown(packs.join(", ")), cell(told, "/policy/pack"))?;
        if told.get("endpoints").is_some() {
            let n = |name: &str| cell(told, &format!("/endpoints/{name}"));
            writeln!(out, "{} endpoints, {} had sent a scan", n("members"), n("scanned"))?;
            if told.pointer("/endpoints/compliant").is_some() {
                writeln!(out, "{} failed no rule of high or critical severity", n("compliant"))?;
            }
        }
        if let Some(why) = told.get("patches_unknown").and_then(Value::as_str) {
            writeln!(out, "patches are not told: {}", plain(why))?;
        }
        if let Some(patches) = told.get("patches").filter(|p| !p.is_null()) {
            let n = |name: &str| cell(patches, &format!("/missing_by_severity/{name}"));
            let (all, exploited) = (cell(patches, "/missing"), cell(patches, "/missing_exploited"));
            let (critical, high, medium, low) = (n("critical"), n("high"), n("medium"), n("low"));
            writeln!(out, "missing patches: {all} ({critical} critical, {high} high, {medium} medium, {low} low), {exploited} exploited")?;
        }
        Ok(())
    }

    fn fleet(&self, told: &Value, out: &mut Out) -> anyhow::Result<()> {
        let of = |rule: &Value| {
            let count = |verdict: &&str| rule.pointer(&format!("/counts/{verdict}")).and_then(Value::as_i64).unwrap_or(0).to_string();
            [cell(rule, "/rule"), cell(rule, "/severity")].into_iter().chain(VERDICTS.iter().map(count)).collect()
        };
        let found: Vec<Vec<String>> = list(told, "/rules").iter().map(of).collect();
        let header: Vec<&str> = ["rule", "severity"].into_iter().chain(VERDICTS).collect();
        rows(self.output, &header, &found, out)
    }

    fn endpoint(&self, told: &Value, out: &mut Out) -> anyhow::Result<()> {
        let verdicts = list(told, "/endpoint/verdicts").iter();
        let verdict = |v: &Value| vec!["rule".to_owned(), cell(v, "/rule"), cell(v, "/severity"), cell(v, "/verdict")];
        let patch = |p: &Value| vec!["patch".to_owned(), cell(p, "/patch"), cell(p, "/severity"), cell(p, "/state")];
        let patches = list(told, "/endpoint/patches").iter().map(patch);
        let found: Vec<Vec<String>> = verdicts.map(verdict).chain(patches).collect();
        if self.output == Shape::Table {
            let groups: Vec<String> = list(told, "/endpoint/groups").iter().filter_map(|g| Some(g.as_str()?.to_owned())).collect();
            writeln!(out, "{}, of groups: {}", plain(&cell(told, "/endpoint/id")), plain(&groups.join(", ")))?;
            if told.pointer("/endpoint/scanned") == Some(&Value::Bool(false)) {
                writeln!(out, "it had not sent a scan yet")?;
            }
        }
        rows(self.output, &["kind", "id", "severity", "was"], &found, out)
    }
}

/// Columns of trends: the header and where the answer has it.
const COLUMNS: [(&str, &str); 19] = [
    ("from", "/from"),
    ("endpoints", "/endpoints"),
    ("scanned", "/scanned"),
    ("covered", "/covered"),
    ("coverage", "/coverage"),
    ("compliant", "/compliant"),
    ("compliant_share", "/compliant_share"),
    ("pass_share", "/pass_share"),
    ("failing_critical", "/failing_by_severity/critical"),
    ("failing_high", "/failing_by_severity/high"),
    ("missing", "/missing"),
    ("missing_critical", "/missing_by_severity/critical"),
    ("missing_exploited", "/missing_exploited"),
    ("open_episodes", "/open_episodes"),
    ("opened", "/opened"),
    ("remediated", "/remediated"),
    ("mean_seconds_to_remediate", "/mean_seconds_to_remediate"),
    ("patched", "/patched"),
    ("mean_seconds_to_patch", "/mean_seconds_to_patch"),
];
/// Those of them that a table shows.
const SHOWN: [usize; 10] = [0, 1, 4, 6, 7, 10, 12, 13, 16, 18];
/// And those whose course is drawn.
const DRAWN: [usize; 5] = [4, 6, 7, 10, 13];

impl Trends {
    fn run(&self, out: &mut Out) -> anyhow::Result<()> {
        let step = self.step.clone();
        let parameters = [("group", self.group.as_ref()), ("from", self.from.as_ref()), ("to", self.to.as_ref()), ("step", Some(&step))];
        let told = ask(&self.remote, "/v1/trends", &parameters)?;
        let items = list(&told, "/items");
        let cells = |item: &Value, columns: &[usize]| -> Vec<String> {
            columns.iter().filter_map(|c| COLUMNS.get(*c)).map(|(_, place)| cell(item, place)).collect()
        };
        let header = |columns: &[usize]| -> Vec<&str> { columns.iter().filter_map(|c| COLUMNS.get(*c)).map(|(name, _)| *name).collect() };
        match self.output {
            Shape::Json => out.json(&told),
            Shape::Csv => {
                let all: Vec<usize> = (0..COLUMNS.len()).collect();
                let found: Vec<Vec<String>> = items.iter().map(|i| cells(i, &all)).collect();
                rows(self.output, &header(&all), &found, out)
            }
            Shape::Table => {
                for (name, place) in DRAWN.iter().filter_map(|c| COLUMNS.get(*c)) {
                    let course: Vec<Option<f64>> = items.iter().map(|i| i.pointer(place).and_then(Value::as_f64)).collect();
                    writeln!(out, "{name:>16} {}", spark(&course))?;
                }
                let found: Vec<Vec<String>> = items.iter().map(|i| cells(i, &SHOWN)).collect();
                rows(self.output, &header(&SHOWN), &found, out)
            }
        }
    }
}

/// A course as a line of blocks, from its least to its most; a blank where nothing is known.
fn spark(course: &[Option<f64>]) -> String {
    const BLOCKS: [char; 8] = ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];
    let known = || course.iter().flatten().copied();
    let (least, most) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    // Each block stands for an eighth of the way.
    let height = |n: f64| {
        (1..BLOCKS.len())
            .filter(|i| i32::try_from(*i).is_ok_and(|i| (n - least) * 8.0 >= f64::from(i) * (most - least) && most > least))
            .count()
    };
    course.iter().map(|n| n.map_or(' ', |n| BLOCKS.get(height(n)).copied().unwrap_or(' '))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_is_drawn_between_its_least_and_its_most() {
        assert_eq!(spark(&[Some(0.0), Some(0.5), None, Some(1.0)]), "\u{2581}\u{2585} \u{2588}");
        assert_eq!(spark(&[Some(7.0), Some(7.0)]), "\u{2581}\u{2581}");
        assert_eq!(spark(&[None]), " ");
    }
}
