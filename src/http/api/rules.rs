//! The present pack: its rules, and how the fleet stands to each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::problem::{Kind, Problem};
use super::super::query::{self, SCAN_MAX};
use super::super::{Answer, Call, ok};
use super::endpoints::verdicts_asked;
use super::time;
use crate::fleet::classes::ClassId;
use crate::judge::Verdict;
use crate::pack::RuleId;
use crate::shard::Shard;

/// How many endpoints have each verdict of a rule.
fn counts(shard: &Shard, rule: RuleId) -> BTreeMap<&'static str, u32> {
    Verdict::ALL.into_iter().map(|v| (v.name(), shard.fleet.classes.endpoints(rule, v))).collect()
}

/// Those of the counts that are of endpoints which are stale or silent.
fn stale(shard: &Shard, classes: &BTreeMap<ClassId, u32>, rule: RuleId) -> BTreeMap<&'static str, u32> {
    let mut counts = BTreeMap::new();
    for (class, endpoints) in classes {
        *counts.entry(shard.fleet.classes.verdict(*class, rule).name()).or_default() += endpoints;
    }
    counts
}

fn brief(shard: &Shard, classes: &BTreeMap<ClassId, u32>, rule: RuleId) -> Value {
    let meta = shard.pack.meta(rule);
    json!({
        "id": meta.id, "pack": meta.pack, "title": meta.title, "severity": meta.severity, "controls": meta.controls,
        "verdicts": counts(shard, rule), "stale": stale(shard, classes, rule),
    })
}

fn known(shard: &Shard, id: &str) -> Result<RuleId, Problem> {
    shard.pack.find(id).ok_or_else(|| Problem::new(Kind::UnknownRule, format!("no rule `{id}` in the packs")))
}

/// `GET /v1/rules`
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let (limit, cursor) = (query.limit()?, query.cursor()?);
    let (items, next) = call
        .fleet(move |shard| {
            // Rules are sorted by id.
            let rules = shard.pack.rules().filter(|r| !shard.pack.rule(*r).requirement && shard.pack.rule_id(*r) > cursor.as_str());
            let mut page: Vec<RuleId> = rules.take(limit + 1).collect();
            let more = page.len() > limit;
            page.truncate(limit);
            let next = page.last().filter(|_| more).map(|r| query::cursor(shard.pack.rule_id(*r)));
            let classes = shard.stale_classes();
            (page.into_iter().map(|r| brief(shard, &classes, r)).collect::<Vec<_>>(), next)
        })
        .await?;
    ok(&json!({"items": items, "next_cursor": next}))
}

/// `GET /v1/rules/{rule}`
pub async fn one(call: Call) -> Answer {
    call.query(&[])?;
    let id = call.param(0).to_owned();
    let answer = call
        .fleet(move |shard| {
            let rule = known(shard, &id)?;
            let meta = shard.pack.meta(rule);
            let platforms: Vec<String> =
                meta.platforms.iter().map(|p| p.version.as_ref().map_or_else(|| p.id.clone(), |v| format!("{}:{v}", p.id))).collect();
            let mut answer = brief(shard, &shard.stale_classes(), rule);
            let more = json!({
                "platforms": platforms, "rationale": meta.rationale, "remediation": meta.remediation, "fix": meta.fix, "when": meta.when,
                "check": meta.check, "missing": meta.missing, "asks": meta.asks, "scap": meta.scap, "requirement": shard.pack.rule(rule).requirement,
            });
            if let (Some(answer), Value::Object(more)) = (answer.as_object_mut(), more) {
                answer.extend(more);
            }
            Ok::<_, Problem>(answer)
        })
        .await??;
    ok(&answer)
}

/// `GET /v1/rules/{rule}/endpoints`
pub async fn endpoints(call: Call) -> Answer {
    let query = call.query(&["verdict", "limit", "cursor"])?;
    let (limit, cursor, mut wanted) = (query.limit()?, query.cursor()?, verdicts_asked(&query)?);
    if wanted.is_empty() {
        wanted.push(Verdict::Fail);
    }
    let id = call.param(0).to_owned();
    let (items, count, stale, next) = call
        .fleet(move |shard| {
            let rule = known(shard, &id)?;
            let distinct: std::collections::BTreeSet<Verdict> = wanted.iter().copied().collect();
            let count: u32 = distinct.iter().map(|v| shard.fleet.classes.endpoints(rule, *v)).sum();
            let (mut items, mut last, mut next) = (Vec::new(), None, None);
            let stale = stale(shard, &shard.stale_classes(), rule);
            let stale: u32 = distinct.iter().filter_map(|v| stale.get(v.name())).sum();
            for (looked_at, (at, endpoint)) in shard.fleet.after(&cursor).enumerate() {
                if items.len() == limit || looked_at == SCAN_MAX {
                    next = last.map(query::cursor);
                    break;
                }
                last = Some(&*endpoint.id);
                let Some(held) = &endpoint.held else { continue };
                let verdict = shard.fleet.classes.verdict(held.class, rule);
                if distinct.contains(&verdict) {
                    items.push(json!({"id": endpoint.id, "hostname": endpoint.hostname, "verdict": verdict,
                        "freshness": shard.freshness(at), "received_at": time(held.received_ms)}));
                }
            }
            Ok::<_, Problem>((items, count, stale, next))
        })
        .await??;
    ok(&json!({"items": items, "count": count, "stale": stale, "next_cursor": next}))
}

/// `GET /v1/packs`
pub async fn packs(call: Call) -> Answer {
    call.query(&[])?;
    let answer = call
        .fleet(|shard| {
            let pack = &shard.pack;
            json!({"digest": pack.digest(), "rules": pack.rule_count(), "terms": pack.term_count(), "items": pack.infos()})
        })
        .await?;
    ok(&answer)
}
