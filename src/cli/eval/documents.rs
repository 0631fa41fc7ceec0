//! Result documents of SCAP: one profile over one scan, as OVAL results, XCCDF TestResult or ARF.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use muster::judge::Verdict;
use muster::limits::Limits;
use muster::oval::eval::{Evaluation, Prepared};
use muster::oval::facts::Facts;
use muster::oval::model::{Content, DefinitionId, OvalResult};
use muster::oval::native::{Native, Tables};
use muster::oval::results::{self, Detail, Document, Host, Interface};
use muster::oval::syschar::{Bound, SystemCharacteristics, bind};
use muster::rule::stream::{Stream, load};
use muster::scan::{Scan, TableData, Value, scap};
use muster::xccdf::arf::{ASSET, Collection};
use muster::xccdf::datastream::Source;
use muster::xccdf::judge::{Judge, RuleResult};
use muster::xccdf::model::{Baseline, Instance};
use muster::xccdf::resolve::{Choice, resolve};
use muster::xccdf::results::{Scored, Target, TestResult};
use muster::xccdf::score::{Score, scores};
use muster::xml::element::Element;

use super::super::output::{note, stdout};
use super::super::{Outcome, Usage};
use super::{Args, Output, read, taken};

/// Whose facts they are: what a SCAP collector wrote, or a native scan.
enum Subject<'t> {
    Uploaded(Vec<SystemCharacteristics<'t>>),
    Native(Box<Scan>),
}

/// One OVAL document of the profile over the host.
struct Part {
    href: String,
    native: Native,
    /// What the profile's rules come to.
    reached: BTreeSet<DefinitionId>,
}

pub(super) fn run(args: &Args, limits: &Limits) -> anyhow::Result<Outcome> {
    let ([content], [scan]) = (args.rules.as_slice(), args.scan.as_slice()) else {
        return Err(Usage("result documents are of one SCAP content and one scan; give one --rules and one --scan".to_owned()).into());
    };
    let stream = args.streams.of(content);
    if stream.profiles.len() > 1 {
        return Err(Usage("result documents are of one profile; give --profile once".to_owned()).into());
    }
    let (source, tailoring) = load(&stream, limits).map_err(|d| anyhow::anyhow!("{d}"))?;
    let choice = Choice { datastream: None, benchmark: stream.benchmark.clone(), profile: stream.profiles.first().cloned(), tailoring };
    let (baseline, problems) = resolve(&source, &choice, limits).with_context(|| format!("`{}`", content.display()))?;
    problems.iter().for_each(|p| note(format_args!("{p}")));
    let text = read::text(scan, limits)?;
    let host = if scap::is_xml(&text) {
        let text = std::str::from_utf8(&text).with_context(|| format!("`{}` is not UTF-8", scan.display()))?;
        Subject::Uploaded(SystemCharacteristics::parse(text, limits).with_context(|| format!("`{}`", scan.display()))?)
    } else {
        Subject::Native(Box::new(read::parsed(&text, scan, limits)?))
    };
    if matches!(&host, Subject::Uploaded(all) if all.is_empty()) {
        bail!("`{}` holds no OVAL system characteristics to judge; `oscap oval collect` and ARF have them", scan.display());
    }
    Profile::new(&stream, &source, std::sync::Arc::new(baseline), limits).write(args, &host, limits)
}

/// A profile ready to be judged over one host.
struct Profile<'a> {
    stream: &'a Stream,
    source: &'a Source,
    judge: Judge,
    parts: Vec<Part>,
}

impl<'a> Profile<'a> {
    fn new(stream: &'a Stream, source: &'a Source, baseline: std::sync::Arc<Baseline>, limits: &Limits) -> Profile<'a> {
        let judge = Judge::new(baseline.clone(), stream.compat, limits);
        let mut reached = vec![BTreeSet::new(); baseline.instances.len()];
        for (item, ..) in judge.rules().filter(|(_, item, _)| item.selected) {
            for (instance, definition) in judge.definitions(item) {
                if let Some(known) = usize::try_from(instance).ok().and_then(|i| reached.get_mut(i)) {
                    known.insert(definition);
                }
            }
        }
        let instances = baseline.instances.iter().zip(judge.prepared()).zip(reached);
        let part = |((instance, prepared), reached): ((&Instance, &Prepared), _)| Part {
            href: instance.href.clone(),
            native: Native::new(prepared, limits),
            reached,
        };
        let parts = instances.map(part).collect();
        Profile { stream, source, judge, parts }
    }

    fn write(&self, args: &Args, host: &Subject<'_>, limits: &Limits) -> anyhow::Result<Outcome> {
        let now = match host {
            Subject::Uploaded(_) => muster::clock::now(),
            Subject::Native(scan) => jiff::Timestamp::from_second(taken(scan))?,
        };
        let bound: Vec<Bound<'_>> = match host {
            Subject::Uploaded(all) => self.judge.prepared().iter().map(|p| bind(all, p.content())).collect(),
            Subject::Native(_) => Vec::new(),
        };
        let tables: Vec<Tables<'_>> = match host {
            Subject::Uploaded(_) => Vec::new(),
            Subject::Native(scan) => {
                self.judge.prepared().iter().zip(&self.parts).map(|(p, part)| Tables::new(p, &part.native, scan, limits)).collect()
            }
        };
        let facts = bound.iter().map(|b| b as &dyn Facts<'_>).chain(tables.iter().map(|t| t as &dyn Facts<'_>));
        let mut evaluations: Vec<Evaluation<'_, '_, '_>> =
            self.judge.prepared().iter().zip(facts).map(|(p, facts)| Evaluation::new(p, facts, now.as_second())).collect();
        let mut ask = |instance: u32, definition| {
            let evaluation = usize::try_from(instance).ok().and_then(|i| evaluations.get_mut(i));
            evaluation.map_or(OvalResult::Error, |e| e.definition(definition))
        };
        let results = self.judge.judge(&mut ask);
        let scores = scores(self.judge.baseline(), &results, self.stream.compat);
        let timestamp = now.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let mut oval = |at: usize| {
            let (part, evaluation) = (self.parts.get(at)?, evaluations.get_mut(at)?);
            self.oval(part, self.judge.prepared().get(at)?.content(), evaluation, host, &timestamp, limits)
        };
        let text = match args.output {
            Output::Oval => {
                let most = (0..self.parts.len()).max_by_key(|at| (self.parts[*at].reached.len(), usize::MAX - at));
                let document = most.and_then(&mut oval).context("the profile has no OVAL checks")?;
                if self.parts.len() > 1 {
                    note(format_args!("OVAL results of `{}`; `--output arf` holds all", most.map_or("", |at| &self.parts[at].href)));
                }
                format!("{}{document}\n", muster::xml::write::DECLARATION)
            }
            Output::Xccdf => self.xccdf(&results, &scores, host, &now.to_string(), None, limits)?,
            Output::Arf => {
                let reports: Vec<(String, String)> =
                    (0..self.parts.len()).filter_map(|at| Some((format!("oval{at}"), oval(at)?))).collect();
                self.xccdf(&results, &scores, host, &now.to_string(), Some(&reports), limits)?
            }
            Output::Table | Output::Json => bail!("not a document"),
        };
        let mut out = stdout();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        let says = |v: &&RuleResult| !matches!(v.verdict, Verdict::NotApplicable | Verdict::NotSelected | Verdict::Informational);
        let applied: Vec<&RuleResult> = results.iter().filter(says).collect();
        if applied.is_empty() {
            note(format_args!("no evidence: no rule applies to this host, which is not compliance"));
        }
        for Score { system, score, maximum } in &scores {
            note(format_args!("{system}: {score:.2} of {maximum:.2}"));
        }
        Ok(Outcome::fine_if(!applied.is_empty() && applied.iter().all(|r| matches!(r.verdict, Verdict::Pass | Verdict::Fixed))))
    }

    fn oval<'x>(
        &self,
        part: &Part,
        content: &Content,
        evaluation: &mut Evaluation<'_, 'x, '_>,
        host: &Subject<'x>,
        timestamp: &str,
        limits: &Limits,
    ) -> Option<String> {
        let native = match host {
            Subject::Native(scan) => Some(described(scan)),
            Subject::Uploaded(_) => None,
        };
        let facts = match (host, &native) {
            (Subject::Uploaded(all), _) => results::Facts::Uploaded(all.iter().max_by_key(|one| one.bind(content).known())?),
            (Subject::Native(_), host) => results::Facts::Native(host.as_ref()?),
        };
        let text = self.source.component_text(&part.href);
        let element = text.as_ref().and_then(|t| Element::find(t, "oval_definitions", limits).ok().flatten());
        let document = Document {
            content,
            source: element.as_ref(),
            facts,
            detail: Detail::Full,
            only: Some(&part.reached).filter(|r| !r.is_empty()),
            timestamp,
        };
        let mut out = muster::xml::write::Out::new();
        document.write_into(&mut out, evaluation);
        Some(out.finish())
    }

    /// A TestResult in its benchmark, or with OVAL results beside it a collection.
    fn xccdf(
        &self,
        results: &[RuleResult],
        scores: &[Score],
        host: &Subject<'_>,
        end: &str,
        oval: Option<&[(String, String)]>,
        limits: &Limits,
    ) -> anyhow::Result<String> {
        let baseline = self.judge.baseline();
        let written: Vec<_> = results.iter().map(rule_result).collect();
        let scores: Vec<_> = scores.iter().map(|s| Scored { system: s.system, score: s.score, maximum: s.maximum }).collect();
        let target = target(host);
        let reports: BTreeMap<String, String> =
            self.parts.iter().zip(oval.unwrap_or_default()).map(|(p, (id, _))| (p.href.clone(), format!("#{id}"))).collect();
        let result = TestResult {
            baseline,
            results: &written,
            scores: &scores,
            target: &target,
            start: "",
            end,
            platforms: &[],
            fixes: true,
            asset: oval.map(|_| ASSET),
            reports: oval.map(|_| &reports),
        };
        let Some(oval) = oval else {
            let text = self.source.component_text(&baseline.benchmark_href);
            let benchmark = text.as_ref().map(|t| Element::find(t, "Benchmark", limits)).transpose()?.flatten();
            return Ok(benchmark.map_or_else(|| result.write(), |b| result.write_in_benchmark(&b)));
        };
        let whole = read::text(Path::new(&self.stream.content), limits)?;
        let whole = std::str::from_utf8(&whole)?;
        let source = Element::find(whole, "data-stream-collection", limits)?;
        Ok(Collection { source: source.as_ref(), result: &result, oval }.write())
    }
}

fn rule_result(result: &RuleResult) -> muster::xccdf::results::RuleResult<'_> {
    muster::xccdf::results::RuleResult {
        item: result.item,
        verdict: result.verdict,
        message: result.message.as_deref(),
        definition: result.definition.as_deref(),
    }
}

fn rows<'s>(scan: &'s Scan, name: &str) -> &'s [muster::scan::Row] {
    let table = muster::scan::table::TableId::by_name(name).and_then(|t| scan.tables.get(&t));
    if let Some(TableData::Rows(rows)) = table { rows } else { &[] }
}

fn said(row: &muster::scan::Row, column: &str) -> String {
    row.get(column).as_str().unwrap_or_default().to_owned()
}

/// The host as system characteristics describe it.
fn described(scan: &Scan) -> Host {
    let os = rows(scan, "os").first();
    let of = |column| os.map(|row| said(row, column)).unwrap_or_default();
    let interface = |row: &muster::scan::Row| Interface {
        name: said(row, "name"),
        ip_address: said(row, "address"),
        mac_address: said(row, "hardware"),
    };
    Host {
        os_name: of("name"),
        os_version: of("version"),
        architecture: of("arch"),
        name: scan.hostname.clone().unwrap_or_default(),
        interfaces: rows(scan, "interface").iter().filter(|r| *r.get("address") != Value::Null).map(interface).collect(),
    }
}

fn target(host: &Subject<'_>) -> Target {
    let described = match host {
        Subject::Native(scan) => described(scan),
        Subject::Uploaded(all) => {
            let first = all.iter().find(|c| !c.primary_host_name.is_empty());
            let interface = |i: &muster::oval::syschar::Interface<'_>| Interface {
                name: i.name.to_string(),
                ip_address: i.ip_address.to_string(),
                mac_address: i.mac_address.to_string(),
            };
            Host {
                name: first.map(|c| c.primary_host_name.to_string()).unwrap_or_default(),
                interfaces: first.map(|c| c.interfaces.iter().map(interface).collect()).unwrap_or_default(),
                ..Host::default()
            }
        }
    };
    let distinct = |of: fn(&Interface) -> &String| {
        let all: BTreeSet<&String> = described.interfaces.iter().map(of).filter(|v| !v.is_empty()).collect();
        all.into_iter().cloned().collect::<Vec<_>>()
    };
    let facts = [("urn:xccdf:fact:scanner:name", "Muster"), ("urn:xccdf:fact:scanner:version", env!("CARGO_PKG_VERSION"))];
    Target {
        name: if described.name.is_empty() { "unknown".to_owned() } else { described.name.clone() },
        addresses: distinct(|i| &i.ip_address),
        macs: distinct(|i| &i.mac_address),
        facts: facts.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
    }
}
