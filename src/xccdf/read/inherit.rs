//! `extends` of rules and values: what is inherited, then what is abstract goes. (XCCDF 1.2 has no `extends` on groups any more.)

use std::collections::{BTreeMap, BTreeSet};

use super::item::{Entry, RuleNode, retain};
use super::text::Text;
use super::{Benchmark, Budget, Problem, Spent, Value};

pub(super) fn inherit(out: &mut Benchmark, budget: &mut Budget) -> Result<(), Problem> {
    let spent = |e: Spent| Problem { line: 0, what: e.to_string() };
    let Benchmark { entries, values, problems, .. } = out;
    let all: Vec<usize> = (0..entries.len()).filter(|n| entries.get(*n).is_some_and(|e| e.rule.is_some())).collect();
    let links = |e: &Entry| (e.id.clone(), e.extends.clone(), e.line);
    for (child, parent) in order(&all, |n| entries.get(n).map(links), problems) {
        let Some(from) = entries.get(parent).cloned() else { continue };
        budget.step(1).and_then(|()| budget.text(weigh(&from))).map_err(spent)?;
        if let Some(to) = entries.get_mut(child) {
            entry(to, from);
        }
    }
    let all: Vec<usize> = (0..values.len()).collect();
    let links = |v: &Value| (v.id.clone(), v.extends.clone(), v.line);
    for (child, parent) in order(&all, |n| values.get(n).map(links), problems) {
        let Some(from) = values.get(parent).cloned() else { continue };
        budget.step(1 + from.choices.len()).map_err(spent)?;
        if let Some(to) = values.get_mut(child) {
            value(to, from);
        }
    }
    let keep: Vec<bool> = entries.iter().map(|e| !e.abstracted).collect();
    retain(entries, &keep);
    values.retain(|v| !v.abstracted);
    Ok(())
}

/// Pairs (child, parent), parents done before their children. Cycles and unknown names become problems and are left as they are.
fn order(all: &[usize], of: impl Fn(usize) -> Option<(String, Option<String>, usize)>, problems: &mut Vec<Problem>) -> Vec<(usize, usize)> {
    let nodes: Vec<(usize, String, Option<String>, usize)> =
        all.iter().filter_map(|n| of(*n).map(|(id, extends, line)| (*n, id, extends, line))).collect();
    let by_id: BTreeMap<&str, usize> = nodes.iter().map(|(n, id, ..)| (id.as_str(), *n)).collect();
    let mut parents = BTreeMap::new();
    for (n, id, extends, line) in &nodes {
        let Some(extends) = extends else { continue };
        match by_id.get(extends.as_str()) {
            Some(parent) => {
                parents.insert(*n, *parent);
            }
            None => {
                problems.push(Problem { line: *line, what: format!("`{id}` extends `{extends}`, which is not there; it stays as it is") })
            }
        }
    }
    let mut out = Vec::new();
    let mut done: BTreeMap<usize, bool> = BTreeMap::new();
    for (n, id, _, line) in &nodes {
        let mut chain = Vec::new();
        let mut at = *n;
        // Walk up to what is done or extends nothing; meeting our own chain is a cycle.
        while let Some(parent) = parents.get(&at) {
            match done.get(&at) {
                Some(true) => break,
                Some(false) => {
                    problems.push(Problem { line: *line, what: format!("what `{id}` extends goes in a circle; it stays as it is") });
                    chain.clear();
                    break;
                }
                None => {
                    done.insert(at, false);
                    chain.push((at, *parent));
                    at = *parent;
                }
            }
        }
        for (child, parent) in chain.into_iter().rev() {
            done.insert(child, true);
            out.push((child, parent));
        }
    }
    out
}

fn weigh(entry: &Entry) -> usize {
    let rule = entry.rule.as_deref().map_or(0, |r| {
        let lists = r.idents.len() + r.references.len() + r.checks.len() + r.fixes.len();
        r.rationale.bytes() + r.fixtext.bytes() + r.fixes.iter().map(|f| f.text.bytes()).sum::<usize>() + 64 * lists
    });
    entry.title.bytes() + entry.description.bytes() + rule + 64 * (entry.platforms.len() + entry.conflicts.len() + entry.requires.len())
}

/// The parent's text goes before the child's, unless that overrides it.
fn text(to: &mut Text, overrides: bool, mut from: Text) {
    if !overrides {
        from.0.append(&mut to.0);
        *to = from;
    }
}

fn entry(to: &mut Entry, from: Entry) {
    to.selected = to.selected.or(from.selected);
    to.weight = to.weight.or(from.weight);
    text(&mut to.title, to.title_overrides, from.title);
    text(&mut to.description, to.description_overrides, from.description);
    to.platforms.extend(from.platforms);
    to.requires.extend(from.requires);
    to.conflicts.extend(from.conflicts);
    if let (Some(to), Some(from)) = (to.rule.as_deref_mut(), from.rule) {
        rule(to, *from);
    }
}

fn rule(to: &mut RuleNode, from: RuleNode) {
    if to.version.is_empty() {
        to.version = from.version;
    }
    to.severity = to.severity.or(from.severity);
    to.role = to.role.or(from.role);
    to.multiple = to.multiple.or(from.multiple);
    text(&mut to.rationale, false, from.rationale);
    text(&mut to.fixtext, false, from.fixtext);
    let own: BTreeSet<(String, String)> = to.idents.iter().cloned().collect();
    to.idents.extend(from.idents.into_iter().filter(|i| !own.contains(i)));
    to.references.extend(from.references);
    to.fixes.extend(from.fixes);
    if to.checks.is_empty() && to.complex.is_none() {
        to.checks = from.checks;
        to.complex = from.complex;
    }
}

fn value(to: &mut Value, from: Value) {
    let own: BTreeMap<String, usize> = to.choices.iter().enumerate().map(|(n, (s, _))| (s.clone(), n)).collect();
    for (selector, values) in from.choices {
        match own.get(&selector).and_then(|n| to.choices.get_mut(*n)) {
            Some((_, own)) if own.is_none() => *own = values,
            Some(_) => {}
            None => to.choices.push((selector, values)),
        }
    }
    text(&mut to.title, false, from.title);
}
