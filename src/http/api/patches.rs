//! The patches that feeds speak of, and how the fleet stands to each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::problem::{Kind, Problem};
use super::super::query::{self, SCAN_MAX};
use super::super::{Answer, Call, ok};
use super::time;
use crate::clock;
use crate::compute::compute;
use crate::fleet::Endpoint;
use crate::patch::catalog::Catalog;
use crate::patch::filter::{Filter, FilterError};
use crate::patch::report::{self, Tally, page};
use crate::patch::{PatchId, State};
use crate::shard::{PatchStand, Posture, Shard};

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Problem {
        Problem::new(Kind::BadFilter, error.to_string()).with("column", error.column)
    }
}

/// The filter of a query; groups that it names must be there.
pub(super) async fn filter_of(call: &Call, text: &str) -> Result<Filter, Problem> {
    let filter = Filter::read(text, clock::now())?;
    let named: Vec<String> = filter.groups().into_iter().map(str::to_owned).collect();
    if !named.is_empty() {
        let unknown = call
            .fleet(move |shard| {
                let groups: Vec<&str> = shard.policy.policy.groups.iter().map(|g| g.name.as_str()).collect();
                let unknown = named.into_iter().find(|n| !groups.contains(&n.as_str()))?;
                Some(format!("no `[[group]]` is named `{unknown}`; there are {}", groups.join(", ")))
            })
            .await?;
        if let Some(what) = unknown {
            return Err(Problem::new(Kind::BadFilter, what));
        }
    }
    Ok(filter)
}

/// The patches of an id, of one feed if it is named.
pub(super) fn found(catalog: &Catalog, id: &str, feed: Option<&str>) -> Result<Vec<PatchId>, Problem> {
    let of_feed = |p: &PatchId| feed.is_none_or(|f| catalog.id(*p).is_some_and(|(_, of)| of == f));
    let found: Vec<PatchId> = catalog.find(id).into_iter().filter(of_feed).collect();
    let here = feed.map_or(String::new(), |f| format!(" of the feed `{f}`"));
    if found.is_empty() { Err(Problem::new(Kind::UnknownPatch, format!("no patch `{id}`{here}"))) } else { Ok(found) }
}

/// How the fleet stands to all patches that it has something to say of, and the catalog that they are of.
pub(super) struct Tallied {
    pub(super) catalog: Arc<Catalog>,
    pub(super) tallies: BTreeMap<PatchId, Tally>,
}

/// Endpoints of a patch by state.
type ByState = BTreeMap<State, u32>;

/// What of the fleet a filter asks about.
#[derive(Clone, Default)]
struct Wanted {
    groups: BTreeSet<String>,
    within: BTreeSet<String>,
}

/// Endpoints that are looked at while the writer waits.
const CHUNK: usize = 2_000;
/// The catalog may be replaced while the fleet is looked at; it is not replaced all the time.
const ATTEMPTS: usize = 4;

/// The tallies that a filter needs: of the whole fleet, or none where it asks nothing of endpoints.
pub(super) async fn tallied(call: &Call, filter: &Filter) -> Result<Tallied, Problem> {
    let wanted = Wanted {
        groups: filter.groups().into_iter().map(str::to_owned).collect(),
        within: filter.within().into_iter().map(str::to_owned).collect(),
    };
    'again: for _ in 0..ATTEMPTS {
        let catalog = call.fleet(|shard| shard.catalog.clone()).await?;
        let (mut tallies, mut after) = (BTreeMap::new(), Some(String::new()));
        if !filter.asks_about_endpoints() {
            return Ok(Tallied { catalog, tallies });
        }
        while let Some(from) = after.take() {
            let (same, wanted, mut so_far) = (catalog.clone(), wanted.clone(), std::mem::take(&mut tallies));
            let step = call
                .fleet(move |shard| {
                    let same = Arc::ptr_eq(&same, &shard.catalog);
                    same.then(|| {
                        let next = chunk(shard, &wanted, &from, &mut so_far);
                        (so_far, next)
                    })
                })
                .await?;
            match step {
                Some((counted, next)) => (tallies, after) = (counted, next),
                None => continue 'again,
            }
        }
        return Ok(Tallied { catalog, tallies });
    }
    Err(Problem::new(Kind::Busy, "the feeds change faster than the fleet can be looked at; come again"))
}

/// Counts a piece of the fleet; the id that the next piece comes after.
fn chunk(shard: &Shard, wanted: &Wanted, after: &str, tallies: &mut BTreeMap<PatchId, Tally>) -> Option<String> {
    // Without exemptions the same facts stand alike.
    let alike = shard.decisions.exemptions.is_empty() && wanted.groups.is_empty();
    let mut known: BTreeMap<String, Vec<PatchStand>> = BTreeMap::new();
    let mut last = None;
    for (looked_at, (at, endpoint)) in shard.fleet.after(after).enumerate() {
        if looked_at == CHUNK {
            return last;
        }
        last = Some(endpoint.id.to_string());
        let Some(held) = &endpoint.held else { continue };
        let groups = groups_of(shard, endpoint);
        if !wanted.within.is_subset(&groups) {
            continue;
        }
        if alike {
            let stands = known.entry(held.digest.to_string()).or_insert_with(|| shard.patch_states(at));
            count(stands, &BTreeSet::new(), tallies);
        } else {
            let groups: BTreeSet<String> = groups.intersection(&wanted.groups).cloned().collect();
            count(&shard.patch_states(at), &groups, tallies);
        }
    }
    None
}

fn count(stands: &[PatchStand], groups: &BTreeSet<String>, tallies: &mut BTreeMap<PatchId, Tally>) {
    for stand in stands.iter().filter(|s| !matches!(s.state, State::NotApplicable)) {
        let tally = tallies.entry(stand.patch).or_default();
        *tally.states.entry(stand.state).or_default() += 1;
        let needed = matches!(stand.state, State::Missing | State::Superseded | State::Exempt);
        tally.installable += u32::from(needed && stand.offered == Some(true));
        if stand.state.is_affected() {
            tally.groups.extend(groups.iter().cloned());
        }
    }
}

pub(super) fn groups_of(shard: &Shard, endpoint: &Endpoint) -> BTreeSet<String> {
    shard.policy.policy.groups.iter().filter(|g| g.holds(endpoint)).map(|g| g.name.clone()).collect()
}

/// Endpoints of a patch by state, in the words of the API.
fn counts(counted: &BTreeMap<State, u32>) -> BTreeMap<&'static str, u32> {
    Tally { states: counted.clone(), ..Tally::default() }.shown()
}

/// The same without the states that none is in.
fn named(counted: &BTreeMap<State, u32>) -> BTreeMap<&'static str, u32> {
    counted.iter().filter(|(_, n)| **n > 0).map(|(state, n)| (state.name(), *n)).collect()
}

/// `GET /v1/patches`
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["filter", "limit", "cursor"])?;
    let (limit, cursor) = (query.limit()?, query.cursor()?);
    let filter = filter_of(&call, query.get("filter").unwrap_or_default()).await?;
    let Tallied { catalog, tallies } = tallied(&call, &filter).await?;
    let same = catalog.clone();
    let mut found = compute(move || page::page(&same, &tallies, &filter, limit, &cursor)).await?;
    found.next_cursor = found.next_cursor.map(|c| query::cursor(&c));
    let patches = found.patches.clone();
    // Of the whole fleet, whatever part of it the filter is about.
    let both = move |shard: &Shard| (shard.patch_counts_of(&patches), shard.stale_patch_counts_of(&patches));
    let counted = call.fleet(move |shard| Arc::ptr_eq(&catalog, &shard.catalog).then(|| both(shard))).await?;
    let (all, stale) = counted.unwrap_or_default();
    for (item, (all, stale)) in found.items.iter_mut().zip(all.into_iter().zip(stale)) {
        (item.counts, item.stale) = (Some(counts(&all)), Some(named(&stale)));
    }
    ok(&found)
}

/// `GET /v1/patches/{id}`: as every feed has it that has it.
pub async fn one(call: Call) -> Answer {
    let query = call.query(&["feed"])?;
    let (id, feed) = (call.param(0).to_owned(), query.get("feed").map(str::to_owned));
    let (catalog, found) = call
        .fleet(move |shard| {
            let found = found(&shard.catalog, &id, feed.as_deref())?;
            let counted = shard.patch_counts_of(&found).into_iter().zip(shard.stale_patch_counts_of(&found));
            Ok::<_, Problem>((shard.catalog.clone(), found.iter().copied().zip(counted).collect::<Vec<_>>()))
        })
        .await??;
    let folder = call.core()?.feeds.folder();
    let views = compute(move || {
        let view = |(patch, (counted, stale)): &(PatchId, (ByState, ByState))| {
            let mut view = report::patch(&catalog, *patch, Some(counts(counted)))?;
            view.stale = Some(named(stale));
            // A feed that was taken away since has none.
            let evidence = folder.evidence(&view.brief.name.feed, &view.brief.name.id).unwrap_or_default();
            view.evidence = evidence.iter().filter_map(|e| serde_json::to_value(e).ok()).collect();
            Some(view)
        };
        found.iter().filter_map(view).collect::<Vec<_>>()
    })
    .await?;
    ok(&json!({"items": views}))
}

/// States that a query asks for: names, `affected`, `applicable` or `all`.
pub(super) fn states(query: &query::Query, unless_said: &[State]) -> Result<Vec<State>, Problem> {
    let affected: Vec<State> = State::ALL.into_iter().filter(|s| s.is_affected()).collect();
    let names: Vec<&str> = State::ALL.iter().map(|s| s.name()).chain(["affected", "applicable", "all"]).collect();
    let sets = query.list("state", &names, |name| match name {
        "affected" => Some(affected.clone()),
        "applicable" => Some(State::APPLICABLE.to_vec()),
        "all" => Some(State::ALL.to_vec()),
        name => State::by_name(name).map(|s| vec![s]),
    })?;
    Ok(if sets.is_empty() { unless_said.to_vec() } else { sets.concat() })
}

/// `GET /v1/patches/{id}/endpoints`
pub async fn endpoints(call: Call) -> Answer {
    let query = call.query(&["feed", "state", "limit", "cursor"])?;
    let (limit, cursor) = (query.limit()?, query.cursor()?);
    let wanted = states(&query, &State::ALL.into_iter().filter(|s| s.is_affected()).collect::<Vec<_>>())?;
    let (id, feed) = (call.param(0).to_owned(), query.get("feed").map(str::to_owned));
    let answer = call
        .fleet(move |shard| {
            let found = found(&shard.catalog, &id, feed.as_deref())?;
            let [patch] = found[..] else {
                let feeds: Vec<&str> = found.iter().filter_map(|p| shard.catalog.id(*p)).map(|(_, feed)| feed).collect();
                let what = format!("several feeds have `{id}`; say `feed=` one of {}", feeds.join(", "));
                return Err(Problem::new(Kind::BadRequest, what).with("feeds", feeds));
            };
            Ok(of_patch(shard, patch, &wanted, limit, &cursor))
        })
        .await??;
    ok(&answer)
}

fn of_patch(shard: &Shard, patch: PatchId, wanted: &[State], limit: usize, cursor: &str) -> Value {
    let (mut items, mut last, mut next): (Vec<Value>, Option<String>, Option<String>) = (Vec::new(), None, None);
    for (looked_at, (at, state)) in shard.patch_endpoints(patch, cursor).enumerate() {
        if items.len() == limit || looked_at == SCAN_MAX {
            next = last.as_deref().map(query::cursor);
            break;
        }
        let Some(endpoint) = shard.fleet.get(at) else { continue };
        last = Some(endpoint.id.to_string());
        if wanted.contains(&state) {
            let received_at = endpoint.held.as_ref().map(|h| time(h.received_ms));
            items.push(json!({"id": endpoint.id, "hostname": endpoint.hostname, "state": state,
                "freshness": shard.freshness(at), "received_at": received_at}));
        }
    }
    let (id, feed) = shard.catalog.id(patch).unwrap_or_default();
    let stale = shard.stale_patch_counts_of(&[patch]).into_iter().flatten();
    let stale: u32 = stale.filter(|(s, _)| wanted.contains(s)).map(|(_, n)| n).sum();
    let count: u32 = shard.patch_counts(patch).into_iter().filter(|(s, _)| wanted.contains(s)).map(|(_, n)| n).sum();
    json!({"id": id, "feed": feed, "items": items, "count": count, "stale": stale, "next_cursor": next})
}

/// How an endpoint stands, in its view.
pub(super) fn posture(posture: &Posture) -> Value {
    let [none, low, medium, high, critical] = posture.missing;
    json!({
        "missing": posture.missing_total(),
        "missing_by_severity": {"critical": critical, "high": high, "medium": medium, "low": low, "none": none},
        "missing_exploited": posture.missing_exploited,
        "superseded": posture.superseded, "exempt": posture.exempt, "pending_reboot": posture.pending_reboot, "no_fix": posture.no_fix,
        "will_not_fix": posture.will_not_fix, "under_investigation": posture.under_investigation, "not_collected": posture.not_collected,
    })
}

/// Milliseconds since 1970 of an instant.
pub(super) fn ms(at: Timestamp) -> i64 {
    at.as_millisecond()
}
