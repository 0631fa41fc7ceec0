//! How rules are judged: the parts of their programs, the plans that find the rows, what is shared.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use muster::limits::Limits;
use muster::pack::{Answer, Pack, Part, Plan, RuleMeta, TermId, TermKind};
use muster::rule::check::{MissingUse, missing_use};
use muster::rule::ir::Ir;
use serde_json::{Value, json};

use super::super::output::{Format, Out};
use super::super::packs::{self, Chosen, Ready, Streams};
use super::{Outcome, controls, meta_json, platforms};

pub(super) fn run(paths: &[PathBuf], streams: &Streams, format: Format, limits: &Limits, out: &mut Out) -> anyhow::Result<Outcome> {
    // The last argument is a rule if nothing has that name: `explain rules/linux-server ssh-root-login`.
    let (paths, rule) = match paths {
        [packs @ .., last] if !packs.is_empty() && !last.exists() => (packs, last.to_str()),
        paths => (paths, None),
    };
    let ready = packs::ready(paths, streams, limits)?;
    match (rule, format) {
        (Some(rule), Format::Table) => print_rule(ready.find(rule)?, out)?,
        (Some(rule), Format::Json) => out.json(&rule_json(ready.find(rule)?))?,
        (None, Format::Table) => print_packs(&ready, out)?,
        (None, Format::Json) => out.json(&ready.packs().iter().map(|p| Summary::of(p).json(p)).collect::<Vec<_>>())?,
    }
    Ok(Outcome::Fine)
}

/// The parts of a rule that its author wrote: the check, and `when` without the platforms, which are told by their names.
fn own_parts(chosen: Chosen<'_>) -> [(&'static str, Vec<Part<'_>>); 2] {
    let parts = chosen.pack.parts(chosen.rule);
    let meta = chosen.pack.meta(chosen.rule);
    let own = if meta.when.is_some() { when_condition(meta) } else { None };
    // They are the same nodes of the same tree, so that where they are tells.
    let mut inside = Vec::new();
    if let Some(own) = own {
        own.walk(&mut |node| inside.push(std::ptr::from_ref(node)));
    }
    let when = parts.applies.into_iter().filter(|p| inside.contains(&std::ptr::from_ref(p.condition))).collect();
    [("when", when), ("check", parts.check)]
}

/// `applies` is platforms && when.
fn when_condition(meta: &RuleMeta) -> Option<&Ir> {
    match &meta.applies_ir {
        Ir::And(items) => items.last(),
        _ => None,
    }
}

fn kind_name(kind: TermKind) -> &'static str {
    match kind {
        TermKind::Exists => "exists",
        TermKind::All => "all",
        TermKind::Count(..) => "count",
        TermKind::Test => "test",
        TermKind::Collected => "collected",
        TermKind::Concerns => "concerns",
        TermKind::Keyed => "keyed",
    }
}

fn missing_words(meta: &RuleMeta) -> String {
    if missing_use(&meta.check_ir) == MissingUse::Never {
        return "nothing that it reads can be missing".to_owned();
    }
    format!("a key or column that was looked for and is not there means {}", meta.missing)
}

fn print_rule(chosen: Chosen<'_>, out: &mut Out) -> anyhow::Result<()> {
    let (pack, meta) = (chosen.pack, chosen.pack.meta(chosen.rule));
    writeln!(out, "{}: {}", meta.id, meta.title)?;
    writeln!(out, "severity:  {}", meta.severity)?;
    writeln!(out, "pack:      {}", meta.pack)?;
    writeln!(out, "platforms: {}", platforms(&meta.platforms))?;
    if !meta.controls.is_empty() {
        writeln!(out, "controls:  {}", controls(meta))?;
    }
    if let Some(when) = &meta.when {
        writeln!(out, "when:      {}", indented(when))?;
    }
    writeln!(out, "check:     {}", indented(&meta.check))?;
    let ways = pack.test_ways(chosen.rule);
    if !ways.is_empty() {
        writeln!(out, "\ntests:")?;
    } else if meta.scap.is_none() {
        writeln!(out, "missing:   {}", missing_words(meta))?;
    }
    for way in &ways {
        writeln!(out, "  {}: {}\n    {}", way.test, way.comment.trim(), way.how)?;
    }
    for (program, parts) in own_parts(chosen) {
        if !parts.is_empty() {
            writeln!(out, "\nparts of `{program}`:")?;
        }
        for part in &parts {
            print_part(pack, part, out)?;
        }
    }
    if !meta.asks.is_empty() {
        writeln!(out, "\ncollects:")?;
        for (table, items) in &meta.asks {
            writeln!(out, "  {table}: {}", items.join(", "))?;
        }
    }
    Ok(())
}

fn print_part(pack: &Pack, part: &Part<'_>, out: &mut Out) -> anyhow::Result<()> {
    let Answer::Term { id, scopes } = &part.answer else {
        writeln!(out, "  run for each endpoint: {}", part.condition)?;
        return Ok(());
    };
    let term = pack.term(*id);
    writeln!(out, "  {}", part.condition)?;
    writeln!(out, "    term {id}: {} over `{}`, {}", kind_name(term.kind), term.table.name(), pack.plan_words(*id))?;
    let items: Vec<&str> = scopes.iter().filter_map(|s| pack.term_key(&pack.term(*s)).last().copied()).collect();
    if !items.is_empty() {
        writeln!(out, "    only if it was looked at: {}", items.join(", "))?;
    }
    Ok(())
}

/// Text of several lines under its first.
fn indented(text: &str) -> String {
    text.trim().replace('\n', "\n           ")
}

fn part_json(pack: &Pack, part: &Part<'_>) -> Value {
    let condition = part.condition.to_string();
    let Answer::Term { id, scopes } = &part.answer else {
        return json!({"condition": condition, "kind": "endpoint", "plan": "run for each endpoint"});
    };
    let term = pack.term(*id);
    let items: Vec<&str> = scopes.iter().filter_map(|s| pack.term_key(&pack.term(*s)).last().copied()).collect();
    json!({
        "condition": condition, "kind": kind_name(term.kind), "term": id, "table": term.table.name(),
        "key": pack.term_key(&term), "plan": pack.plan_words(*id), "looked_at": items,
    })
}

fn rule_json(chosen: Chosen<'_>) -> Value {
    let mut value = meta_json(chosen.pack.meta(chosen.rule));
    if chosen.pack.meta(chosen.rule).scap.is_some() {
        let ways = chosen.pack.test_ways(chosen.rule);
        value["tests"] = ways.iter().map(|w| json!({"test": w.test, "comment": w.comment, "answered": w.how})).collect();
        return value;
    }
    for (program, parts) in own_parts(chosen) {
        value[format!("{program}_parts")] = parts.iter().map(|p| part_json(chosen.pack, p)).collect();
    }
    value
}

/// A pack in numbers.
#[derive(Default)]
struct Summary {
    rules: usize,
    requirements: usize,
    /// Terms that several rules ask.
    shared: usize,
    /// Terms by plan.
    plans: BTreeMap<&'static str, usize>,
    /// Rules with an endpoint-level program.
    joining: Vec<String>,
}

impl Summary {
    fn of(pack: &Pack) -> Summary {
        let mut summary = Summary::default();
        let mut askers: BTreeMap<TermId, usize> = BTreeMap::new();
        for rule in pack.rules() {
            if pack.rule(rule).requirement {
                summary.requirements += 1
            } else {
                summary.rules += 1
            }
            let parts = pack.parts(rule);
            let mut terms: Vec<TermId> = parts.all().flat_map(terms_of).chain(pack.read_by(rule).iter().copied()).collect();
            terms.sort_unstable();
            terms.dedup();
            terms.into_iter().for_each(|t| *askers.entry(t).or_default() += 1);
            if parts.all().any(|p| matches!(p.answer, Answer::Endpoint)) || pack.needs_joins(rule) {
                summary.joining.push(pack.rule_id(rule).to_owned());
            }
        }
        summary.shared = askers.values().filter(|n| **n > 1).count();
        for (_, term) in pack.terms() {
            let plan = match term.plan {
                Plan::Key => "key",
                Plan::Equal(_) => "value",
                Plan::Literal(_) => "literal",
                Plan::Each => "each",
            };
            *summary.plans.entry(plan).or_default() += 1;
        }
        summary
    }

    fn json(&self, pack: &Pack) -> Value {
        json!({
            "digest": pack.digest(), "bytes": pack.as_bytes().len(), "packs": pack.infos(), "rules": self.rules,
            "requirements": self.requirements, "terms": pack.term_count(), "shared_terms": self.shared,
            "plans": self.plans, "joins": pack.join_count(), "joining_rules": self.joining,
        })
    }
}

fn terms_of(part: &Part<'_>) -> Vec<TermId> {
    match &part.answer {
        Answer::Term { id, scopes } => std::iter::once(*id).chain(scopes.iter().copied()).collect(),
        Answer::Endpoint => Vec::new(),
    }
}

fn print_packs(ready: &Ready, out: &mut Out) -> anyhow::Result<()> {
    for pack in ready.packs() {
        let summary = Summary::of(pack);
        for info in pack.infos() {
            writeln!(out, "pack:    {} {}, {} ({} rules)", info.id, info.version, info.title, info.rules)?;
        }
        writeln!(out, "rules:   {}", summary.rules)?;
        if summary.requirements > 0 {
            writeln!(out, "baseline requirements: {}", summary.requirements)?;
        }
        writeln!(out, "terms:   {}, {} of them shared by several rules", pack.term_count(), summary.shared)?;
        let plans: Vec<String> = summary
            .plans
            .iter()
            .map(|(plan, n)| if *plan == "each" { format!("{n} every new row") } else { format!("{n} by {plan}") })
            .collect();
        writeln!(out, "plans:   {}", plans.join(", "))?;
        writeln!(out, "joins:   {} run for each endpoint{}", pack.join_count(), named(&summary.joining))?;
        writeln!(out, "bytes:   {}", pack.as_bytes().len())?;
        writeln!(out, "digest:  {}", pack.digest())?;
    }
    Ok(())
}

fn named(rules: &[String]) -> String {
    if rules.is_empty() { String::new() } else { format!(" (of {})", rules.join(", ")) }
}
