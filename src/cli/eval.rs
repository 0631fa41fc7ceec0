//! `muster eval`: judges scans without a server, for CI and for trying rules.
//!
//! Verdicts come of the compiled pack, as in the daemon; the rows they rest on come of the definition (`judge::explain`).

mod documents;
mod print;
pub(super) mod read;

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use muster::judge::explain::Explanation;
use muster::judge::{Verdict, forward};
use muster::limits::Limits;
use muster::pack::RuleMeta;
use muster::scan::Scan;
use muster::scan::digest::Digest;
use rayon::prelude::*;

use super::output;
use super::packs::{self, Chosen, Ready, Streams};
use super::{Outcome, Usage};

/// Judge scans against rules, without a server
///
/// Exit code 0 if every rule that applies passes, 2 if one does not, or if no rule applies: no evidence is not compliance.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster scan --rules rules/linux-server --output scan.json
  muster eval --rules rules/linux-server --scan scan.json
  muster eval --rules rules/linux-server --scan scan.json --explain ssh-root-login
  muster eval --rules rules/linux-server --scan scans/*.json.zst --output json
  muster eval --rules ssg-debian12-ds.xml.gz --profile cis_level2_server --scan scan.json --output arf")]
pub(crate) struct Args {
    /// Pack folders, folders of packs, rule files, SCAP content or compiled packs
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Scans in muster.scan/1 JSON, OVAL system characteristics or ARF; plain, gzip, bzip2 or zstd; - is stdin
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    scan: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    streams: Streams,
    /// Judge by this rule alone, and say why
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// For programs.
    Json,
    /// An OVAL results document, of one SCAP content and one scan.
    Oval,
    /// An XCCDF TestResult in its benchmark, of the same.
    Xccdf,
    /// An ARF collection: content, asset, TestResult and OVAL results.
    Arf,
}

/// One scan, judged.
struct Judged<'r> {
    endpoint: String,
    digest: String,
    /// Sorted by rule.
    verdicts: Vec<Answer<'r>>,
}

/// One rule's word on one scan.
struct Answer<'r> {
    meta: &'r RuleMeta,
    verdict: Verdict,
    /// Where it was asked for, or where people will want it.
    why: Option<Explanation>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    if args.scan.iter().filter(|s| *s == Path::new("-")).count() > 1 {
        return Err(Usage("stdin (-) can be read once, it is given several times".to_owned()).into());
    }
    let limits = Limits::default();
    if matches!(args.output, Output::Oval | Output::Xccdf | Output::Arf) {
        if args.explain.is_some() {
            return Err(Usage("--explain is told as table or json".to_owned()).into());
        }
        return documents::run(&args, &limits);
    }
    let ready = packs::ready(&args.rules, &args.streams, &limits)?;
    let rules = match &args.explain {
        Some(id) => vec![ready.find(id)?],
        None => ready.rules(),
    };
    let all_why = args.explain.is_some() || args.output == Output::Json;
    let bar = progress(args.scan.len());
    let one = |path: &PathBuf| {
        let judged = read::scan(path, &limits).map(|scan| judge(&ready, &rules, &scan, path, all_why));
        bar.inc(1);
        judged
    };
    let results: Vec<anyhow::Result<Judged<'_>>> = args.scan.par_iter().map(one).collect();
    bar.finish_and_clear();
    let mut judged = Vec::new();
    let mut failed = 0usize;
    for result in results {
        match result {
            Ok(one) => judged.push(one),
            Err(error) => {
                output::note(format_args!("error: {error:#}"));
                failed += 1;
            }
        }
    }
    match (&args.explain, args.output) {
        (None, Output::Table) => print::tables(&judged)?,
        (None, Output::Json) => print::json(&judged)?,
        (Some(_), Output::Table) => print::explanations(&judged, rules[0])?,
        (Some(_), Output::Json) => print::explanations_json(&judged, rules[0])?,
        (_, Output::Oval | Output::Xccdf | Output::Arf) => anyhow::bail!("result documents are written one at a time"),
    }
    if failed > 0 {
        anyhow::bail!("{failed} of {} scans could not be judged", args.scan.len());
    }
    // Every scan is asked, so that each of them says what it lacks.
    let compliant: Vec<bool> = judged.iter().map(Judged::is_compliant).collect();
    Ok(Outcome::fine_if(compliant.iter().all(|c| *c)))
}

/// On stderr, for many scans, and only on a terminal.
fn progress(scans: usize) -> ProgressBar {
    // indicatif draws nothing where stderr is no terminal.
    if scans < 2 { ProgressBar::hidden() } else { ProgressBar::new(u64::try_from(scans).unwrap_or(u64::MAX)) }
}

fn judge<'r>(ready: &'r Ready, rules: &[Chosen<'r>], scan: &Scan, path: &Path, all_why: bool) -> Judged<'r> {
    let by_pack: Vec<Vec<Verdict>> = ready.packs().iter().map(|p| forward::judge_scan(p, scan, taken(scan))).collect();
    let verdict_of = |chosen: Chosen<'r>| {
        let at = ready.packs().iter().position(|p| std::ptr::eq(p, chosen.pack));
        at.and_then(|p| by_pack[p].get(chosen.rule.index()).copied()).unwrap_or(Verdict::Error)
    };
    let verdicts = rules.iter().map(|chosen| answer(*chosen, verdict_of(*chosen), scan, all_why)).collect();
    let named = [Some(scan.endpoint.as_str()), scan.hostname.as_deref()].into_iter().flatten().find(|n| !n.is_empty());
    Judged {
        endpoint: named.map_or_else(|| path.display().to_string(), str::to_owned),
        digest: Digest::of_scan(scan).to_string(),
        verdicts,
    }
}

fn answer<'r>(chosen: Chosen<'r>, verdict: Verdict, scan: &Scan, all_why: bool) -> Answer<'r> {
    let meta = chosen.pack.meta(chosen.rule);
    let wanted = all_why || (is_applicable(verdict) && !is_pass(verdict));
    let why = wanted.then(|| chosen.pack.explain(chosen.rule, scan, taken(scan)));
    if let Some(why) = why.as_ref().filter(|w| w.verdict != verdict) {
        output::note(format_args!(
            "bug in muster, please report it: rule {} is {verdict} compiled and {} by definition",
            meta.id, why.verdict
        ));
    }
    Answer { meta, verdict, why }
}

/// When the scan was taken, in seconds since 1970, as far as it says so.
fn taken(scan: &Scan) -> i64 {
    let at = scan.collected_at.as_deref().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    at.unwrap_or_else(muster::clock::now).as_second()
}

fn is_applicable(verdict: Verdict) -> bool {
    !matches!(verdict, Verdict::NotApplicable | Verdict::NotSelected | Verdict::Informational)
}

fn is_pass(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::Fixed)
}

impl Judged<'_> {
    fn has_evidence(&self) -> bool {
        self.verdicts.iter().any(|a| is_applicable(a.verdict))
    }

    fn is_compliant(&self) -> bool {
        self.has_evidence() && self.verdicts.iter().filter(|a| is_applicable(a.verdict)).all(|a| is_pass(a.verdict))
    }
}

impl Answer<'_> {
    /// What the verdict rests on: rows, or the reason where it is for want of rows that there is no other.
    fn evidence(&self) -> Vec<&str> {
        let Some(why) = &self.why else { return Vec::new() };
        let reason = why.reason.as_deref().filter(|_| is_applicable(self.verdict) && !is_pass(self.verdict));
        match why.evidence.as_slice() {
            [] => reason.into_iter().collect(),
            rows => rows.iter().map(String::as_str).collect(),
        }
    }
}
