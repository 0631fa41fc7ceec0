//! Documents: what the API answers with and `muster patch --output json` prints, from the views.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::super::catalog::Catalog;
use super::super::filter::{Filter, Subject};
use super::super::{PatchId, State};
use super::{Brief, Here, InFleet, Standing, Tally};

/// Patches that are looked at for one page at most.
pub const LOOK_MAX: usize = 50_000;

/// Patches of one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Patches {
    pub endpoint: String,
    /// How many patches of the endpoint are in each affected state, whatever was asked for.
    pub counts: BTreeMap<&'static str, u32>,
    /// The scan lacks the table that decides most patches: that nothing is missing says nothing then.
    pub not_collected: bool,
    /// The most urgent first.
    pub items: Vec<Here>,
    /// The place of the last item, if there are more.
    pub next_cursor: Option<String>,
}

/// Those of these states that a filter lets through, after the place that a page before ended with.
pub fn patches(standing: &Standing<'_>, states: &[State], filter: &Filter, limit: usize, after: &str) -> Patches {
    let all = standing.matching(states, filter);
    let begun = after_place(after);
    let mut rest = all.into_iter().skip_while(|s| {
        begun.as_ref().is_some_and(|(priority, due, id, feed)| {
            let (Reverse(p), (none, d), name) = standing.order(s);
            (Reverse(p), none, d, &*name.id, &*name.feed) <= (Reverse(*priority), due.is_empty(), due.as_str(), id.as_str(), feed.as_str())
        })
    });
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let place = |s: &&super::Stand| {
        let (Reverse(priority), (_, due), name) = standing.order(s);
        format!("{priority}\n{due}\n{}\n{}", name.id, name.feed)
    };
    Patches {
        endpoint: standing.host.endpoint.clone(),
        counts: standing.counts(),
        not_collected: standing.host.is_undecided(),
        next_cursor: page.last().filter(|_| more).map(place),
        items: page.into_iter().filter_map(|s| standing.here(s)).collect(),
    }
}

fn after_place(text: &str) -> Option<(u8, String, String, String)> {
    let mut parts = text.split('\n');
    let priority = parts.next()?.parse().ok()?;
    Some((priority, parts.next()?.to_owned(), parts.next()?.to_owned(), parts.next()?.to_owned()))
}

/// A patch of the catalog in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    #[serde(flatten)]
    pub brief: Brief,
    pub superseded_by: Vec<Box<str>>,
    /// Endpoints by state; absent without a fleet.
    pub counts: Option<BTreeMap<&'static str, u32>>,
    /// Those of the counts that are of endpoints which were not heard of lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<BTreeMap<&'static str, u32>>,
}

/// A page of the catalog, by id and feed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Page {
    pub items: Vec<Listed>,
    pub next_cursor: Option<String>,
    /// Where the items are in the catalog.
    #[serde(skip)]
    pub patches: Vec<PatchId>,
}

/// The patches of a catalog that a filter lets through, in the order of their ids. `tallies` are of those that some endpoint has something to say of.
pub fn page(catalog: &Catalog, tallies: &BTreeMap<PatchId, Tally>, filter: &Filter, limit: usize, after: &str) -> Page {
    let after = after.split_once('\n').unwrap_or(("", ""));
    let mut rest: Vec<(&str, &str, PatchId)> = candidates(catalog, tallies, filter).filter(|(id, feed, _)| (*id, *feed) > after).collect();
    rest.sort_unstable();
    let mut out = Page::default();
    let mut last = None;
    for (looked_at, (id, feed, patch)) in rest.into_iter().enumerate() {
        if out.items.len() == limit || looked_at == LOOK_MAX {
            out.next_cursor = last;
            return out;
        }
        last = Some(format!("{id}\n{feed}"));
        let Some(subject) = InFleet::new(catalog, patch, tallies.get(&patch)) else { continue };
        if !filter.matches(&subject) {
            continue;
        }
        let superseded_by = subject.definition().map(|d| d.superseded_by.clone()).unwrap_or_default();
        if let Some(brief) = subject.brief() {
            out.items.push(Listed { brief, superseded_by, counts: None, stale: None });
            out.patches.push(patch);
        }
    }
    out
}

fn candidates<'c>(
    catalog: &'c Catalog,
    tallies: &'c BTreeMap<PatchId, Tally>,
    filter: &Filter,
) -> Box<dyn Iterator<Item = (&'c str, &'c str, PatchId)> + 'c> {
    let named = |patch: PatchId| catalog.id(patch).map(|(id, feed)| (id, feed, patch));
    if filter.asks_for_affected() {
        Box::new(tallies.keys().copied().filter_map(named))
    } else {
        Box::new(catalog.patches().filter_map(named))
    }
}

/// Ids of all patches of a catalog that a filter lets through: what a list is made of.
pub fn resolve(catalog: &Catalog, tallies: &BTreeMap<PatchId, Tally>, filter: &Filter) -> std::collections::BTreeSet<String> {
    let matches = |patch: PatchId| InFleet::new(catalog, patch, tallies.get(&patch)).is_some_and(|s| filter.matches(&s));
    candidates(catalog, tallies, filter).filter(|(_, _, patch)| matches(*patch)).map(|(id, _, _)| id.to_owned()).collect()
}
