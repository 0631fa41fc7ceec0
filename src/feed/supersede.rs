//! Which patches replace a patch, directly and through others: edges in, the closure and the cycles that stood in its way out.
//!
//! Vendors' data has cycles: an update that replaces itself, two that replace each other. A cycle is broken by age: within it, only an edge from a newer to an
//! older patch stands, by release date and then by number. So what is dropped depends on the data alone, never on the order in which it came.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::model::{Advisory, Fix};
use crate::limits::Limits;

/// Patches and what each replaces. Names are as in [`Fix::kb`].
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Newer -> the ones that it replaces directly.
    edges: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    /// The first date on which a patch was seen.
    dates: BTreeMap<Box<str>, Timestamp>,
}

/// A cycle, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Oldest first.
    pub members: Vec<Box<str>>,
    /// Edges (newer, older) that do not count.
    pub dropped: Vec<(Box<str>, Box<str>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure {
    /// Patch -> all that replace it.
    above: BTreeMap<Box<str>, Vec<Box<str>>>,
    pub cycles: Vec<Cycle>,
    /// How many patches the longest chain has.
    pub longest: usize,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("over {0} pairs of patch and superseding patch (limits.supersedence)")]
pub struct TooMany(pub usize);

impl Closure {
    /// Whatever replaces this patch, directly or through others; sorted. Having any of them is having it.
    pub fn superseding(&self, patch: &str) -> &[Box<str>] {
        self.above.get(patch).map_or(&[], Vec::as_slice)
    }

    /// Every patch that is replaced, with all that replace it; sorted.
    pub fn patches(&self) -> impl Iterator<Item = (&str, &[Box<str>])> {
        self.above.iter().map(|(patch, above)| (&**patch, above.as_slice()))
    }

    pub fn pairs(&self) -> usize {
        self.above.values().map(Vec::len).sum()
    }
}

impl Graph {
    pub fn add(&mut self, newer: &str, older: &str) {
        self.edges.entry(newer.into()).or_default().insert(older.into());
    }

    pub fn date(&mut self, patch: &str, on: Timestamp) {
        let first = self.dates.entry(patch.into()).or_insert(on);
        *first = on.min(*first);
    }

    /// What the fixes of an advisory say.
    pub fn learn(&mut self, advisory: &Advisory) {
        for entry in &advisory.affected {
            let date = entry.published.or(advisory.published);
            for Fix { kb, supersedes, .. } in entry.fixes.iter().filter(|f| !f.kb.is_empty()) {
                if let Some(date) = date {
                    self.date(kb, date);
                }
                supersedes.iter().for_each(|older| self.add(kb, older));
            }
        }
    }

    /// How many direct edges there are.
    pub fn edges(&self) -> usize {
        self.edges.values().map(BTreeSet::len).sum()
    }

    pub fn closure(&self, limits: &Limits) -> Result<Closure, TooMany> {
        let names: BTreeSet<&str> = self.edges.iter().flat_map(|(newer, olders)| olders.iter().chain([newer])).map(|n| &**n).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let index = |name: &str| names.binary_search(&name).unwrap_or(usize::MAX);
        let mut older: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
        for (newer, olders) in &self.edges {
            if let Some(list) = older.get_mut(index(newer)) {
                list.extend(olders.iter().map(|o| index(o)));
            }
        }
        let cycles = self.break_cycles(&names, &mut older);
        let order = newest_first(&older);
        let mut above: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); names.len()];
        let mut chain: Vec<usize> = vec![1; names.len()];
        let mut pairs = 0usize;
        for at in order {
            let mine = above.get(at).cloned().unwrap_or_default();
            pairs += mine.len();
            let depth = chain.get(at).copied().unwrap_or(1);
            for below in older.get(at).into_iter().flatten() {
                if let (Some(set), Some(longest)) = (above.get_mut(*below), chain.get_mut(*below)) {
                    set.insert(at);
                    set.extend(&mine);
                    *longest = (*longest).max(depth + 1);
                }
            }
            if pairs > limits.supersedence {
                return Err(TooMany(limits.supersedence));
            }
        }
        let named = |set: &BTreeSet<usize>| set.iter().filter_map(|i| names.get(*i)).map(|n| Box::from(*n)).collect::<Vec<_>>();
        let above = names.iter().zip(&above).filter(|(_, set)| !set.is_empty()).map(|(n, set)| (Box::from(*n), named(set))).collect();
        Ok(Closure { above, cycles, longest: if names.is_empty() { 0 } else { chain.into_iter().max().unwrap_or(0) } })
    }

    /// Takes the edges out that close a cycle, and says which.
    fn break_cycles(&self, names: &[&str], older: &mut [Vec<usize>]) -> Vec<Cycle> {
        let name = |at: usize| names.get(at).copied().unwrap_or("");
        let age = |at: usize| (self.dates.get(name(at)).copied(), number(name(at)), name(at));
        let mut cycles = Vec::new();
        for mut members in components(older) {
            members.sort_by_key(|m| age(*m));
            let mut dropped = Vec::new();
            for from in &members {
                let Some(list) = older.get_mut(*from) else { continue };
                list.retain(|to| {
                    let stands = !members.contains(to) || age(*from) > age(*to);
                    if !stands {
                        dropped.push((name(*from).into(), name(*to).into()));
                    }
                    stands
                });
            }
            if !dropped.is_empty() {
                cycles.push(Cycle { members: members.iter().map(|m| name(*m).into()).collect(), dropped });
            }
        }
        cycles.sort_by(|a, b| a.members.cmp(&b.members));
        cycles
    }
}

/// The digits of a KB as a number, so that kb999999 is before kb1000000.
fn number(name: &str) -> u64 {
    name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
}

/// Strongly connected components (Kosaraju's, without recursion: chains may be as long as the feed).
fn components(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut back: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (from, list) in edges.iter().enumerate() {
        for to in list {
            if let Some(list) = back.get_mut(*to) {
                list.push(from);
            }
        }
    }
    let mut seen = vec![false; edges.len()];
    let mut out = Vec::new();
    for start in finished(edges).into_iter().rev() {
        let mut component = Vec::new();
        let mut waiting = vec![start];
        while let Some(at) = waiting.pop() {
            if seen.get_mut(at).is_some_and(|s| !std::mem::replace(s, true)) {
                component.push(at);
                waiting.extend(back.get(at).into_iter().flatten());
            }
        }
        if !component.is_empty() {
            out.push(component);
        }
    }
    out
}

/// All nodes, each after those that it leads to (cycles aside).
fn finished(edges: &[Vec<usize>]) -> Vec<usize> {
    let mut seen = vec![false; edges.len()];
    let mut out = Vec::with_capacity(edges.len());
    for start in 0..edges.len() {
        // Each node on the way with the number of its edges that were looked at.
        let mut way = vec![(start, 0)];
        while let Some((at, next)) = way.pop() {
            if next == 0 && seen.get_mut(at).is_none_or(|s| std::mem::replace(s, true)) {
                continue;
            }
            match edges.get(at).and_then(|list| list.get(next)) {
                Some(to) => way.extend([(at, next + 1), (*to, 0)]),
                None => out.push(at),
            }
        }
    }
    out
}

/// Every patch before those that it replaces. The graph has no cycles any more.
fn newest_first(older: &[Vec<usize>]) -> Vec<usize> {
    let mut waiting = vec![0usize; older.len()];
    for to in older.iter().flatten() {
        if let Some(n) = waiting.get_mut(*to) {
            *n += 1;
        }
    }
    let mut ready: BTreeSet<usize> = (0..older.len()).filter(|n| waiting.get(*n) == Some(&0)).collect();
    let mut out = Vec::with_capacity(older.len());
    while let Some(at) = ready.pop_first() {
        out.push(at);
        for to in older.get(at).into_iter().flatten() {
            if let Some(n) = waiting.get_mut(*to) {
                *n -= 1;
                if *n == 0 {
                    ready.insert(*to);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        edges.iter().for_each(|(newer, older)| graph.add(newer, older));
        graph
    }

    #[test]
    fn what_replaces_the_replacement_replaces() {
        let closure = graph(&[("kb4", "kb3"), ("kb3", "kb2"), ("kb2", "kb1"), ("kb5", "kb2")]).closure(&Limits::default()).expect("small");
        assert_eq!(closure.superseding("kb1"), ["kb2", "kb3", "kb4", "kb5"].map(Box::from));
        assert_eq!(closure.superseding("kb4"), []);
        assert_eq!((closure.longest, closure.pairs(), closure.cycles.len()), (4, 4 + 3 + 1, 0));
    }

    #[test]
    fn cycles_break_by_age_in_any_order() {
        let edges = [("kb3", "kb3"), ("kb10", "kb9"), ("kb9", "kb10"), ("kb10", "kb1"), ("kb12", "kb10")];
        let forward = graph(&edges).closure(&Limits::default()).expect("small");
        let mut back = edges;
        back.reverse();
        assert_eq!(graph(&back).closure(&Limits::default()).expect("small"), forward);
        let dropped: Vec<_> = forward.cycles.iter().flat_map(|c| c.dropped.clone()).collect();
        assert_eq!(dropped, [("kb3".into(), "kb3".into()), ("kb9".into(), "kb10".into())]);
        assert_eq!(forward.superseding("kb9"), ["kb10", "kb12"].map(Box::from));
        // A release date counts before the number.
        let mut dated = graph(&edges);
        let day = |n: i64| Timestamp::from_second(n * 86_400).expect("day");
        dated.date("kb9", day(2));
        dated.date("kb10", day(1));
        let closure = dated.closure(&Limits::default()).expect("small");
        assert_eq!(closure.superseding("kb10"), ["kb12", "kb9"].map(Box::from));
    }

    #[test]
    fn a_long_chain_is_no_deep_recursion_and_the_limit_holds() {
        let mut long = Graph::default();
        (0..100_000u32).for_each(|n| long.add(&format!("kb{}", n + 1), &format!("kb{n}")));
        let few = Limits { supersedence: 1_000_000, ..Limits::default() };
        assert_eq!(long.closure(&few), Err(TooMany(1_000_000)));
    }
}
