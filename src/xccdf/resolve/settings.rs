//! What a profile sets, its ancestors' settings before its own.

use std::collections::{BTreeMap, BTreeSet};

use super::ResolveError;
use crate::xccdf::model::{Role, RuleSeverity};
use crate::xccdf::read::{Benchmark, Budget, Problem, Profile, Setting, Text};
use crate::xccdf::tailoring::Tailoring;

/// All that is set, the last word for each id.
#[derive(Default)]
pub(super) struct Settings<'s> {
    /// `None`: the benchmark's own selection.
    pub(super) profile: Option<&'s Profile>,
    /// Whether it comes of the tailoring file.
    pub(super) tailored: bool,
    pub(super) title: Option<&'s Text>,
    pub(super) description: Option<&'s Text>,
    pub(super) select: BTreeMap<&'s str, bool>,
    pub(super) values: BTreeMap<&'s str, &'s [String]>,
    pub(super) selectors: BTreeMap<&'s str, Option<&'s str>>,
    pub(super) refined: BTreeMap<&'s str, Refined>,
}

/// `refine-rule`, for one item.
#[derive(Clone, Debug, Default)]
pub(super) struct Refined {
    pub(super) weight: Option<f64>,
    pub(super) severity: Option<RuleSeverity>,
    pub(super) role: Option<Role>,
    pub(super) selector: Option<String>,
}

const ALL: &str = "(all)";

impl<'s> Settings<'s> {
    pub(super) fn of(
        benchmark: &'s Benchmark,
        profile: Option<&str>,
        tailoring: Option<&'s Tailoring>,
        budget: &mut Budget,
        problems: &mut Vec<Problem>,
    ) -> Result<Settings<'s>, ResolveError> {
        let mut out = Settings::default();
        budget.step(benchmark.profiles.len() + benchmark.entries.len() + benchmark.values.len())?;
        let Some(wanted) = profile.filter(|p| !p.is_empty()) else { return Ok(out) };
        if wanted == ALL {
            out.select = benchmark.entries.iter().map(|e| (e.id.as_str(), true)).collect();
            return Ok(out);
        }
        let (chosen, tailored) = choose(benchmark, wanted, tailoring)?;
        if chosen.abstracted {
            return Err(ResolveError::Abstract { id: chosen.id.clone() });
        }
        out.profile = Some(chosen);
        out.tailored = tailored;
        let chain = ancestors(benchmark, chosen, tailored, tailoring)?;
        budget.step(chain.len())?;
        let mut names = Names::new(benchmark);
        // A descendant's setting takes the place of an ancestor's of the same kind and id, also where it says less.
        let mut later: BTreeMap<(u8, &str), usize> = BTreeMap::new();
        for (depth, profile) in chain.iter().enumerate() {
            budget.step(profile.settings.len())?;
            later.extend(profile.settings.iter().map(|s| (s.key(), depth)));
        }
        for (depth, profile) in chain.iter().enumerate() {
            for setting in profile.settings.iter().filter(|s| later.get(&s.key()) == Some(&depth)) {
                out.apply(setting, &mut names, profile, budget, problems)?;
            }
            if !profile.title.is_empty() {
                out.title = Some(&profile.title);
            }
            if !profile.description.is_empty() {
                out.description = Some(&profile.description);
            }
        }
        Ok(out)
    }

    fn apply(
        &mut self,
        setting: &'s Setting,
        names: &mut Names<'s>,
        profile: &Profile,
        budget: &mut Budget,
        problems: &mut Vec<Problem>,
    ) -> Result<(), ResolveError> {
        match setting {
            Setting::Select { id, selected } => {
                let items = names.items(id, profile, problems);
                budget.step(items.len())?;
                self.select.extend(items.iter().map(|i| (*i, *selected)));
            }
            Setting::RefineRule { id, weight, severity, role, selector } => {
                let items = names.items(id, profile, problems);
                budget.step(items.len())?;
                for item in items {
                    let refined = self.refined.entry(item).or_default();
                    refined.weight = weight.or(refined.weight);
                    refined.severity = severity.or(refined.severity);
                    refined.role = role.or(refined.role);
                    if selector.is_some() {
                        refined.selector.clone_from(selector);
                    }
                }
            }
            Setting::SetValue { id, values } => {
                names.value(id, profile, problems);
                self.values.insert(id, values);
            }
            Setting::RefineValue { id, selector } => {
                names.value(id, profile, problems);
                self.selectors.insert(id, selector.as_deref());
            }
        }
        Ok(())
    }
}

/// Who has an id: one item, or all of a cluster.
struct Names<'s> {
    items: BTreeMap<&'s str, Vec<&'s str>>,
    clusters: BTreeMap<&'s str, Vec<&'s str>>,
    values: BTreeSet<&'s str>,
}

impl<'s> Names<'s> {
    fn new(benchmark: &'s Benchmark) -> Names<'s> {
        let mut out = Names {
            items: benchmark.entries.iter().map(|e| (e.id.as_str(), vec![e.id.as_str()])).collect(),
            clusters: BTreeMap::new(),
            values: benchmark.values.iter().map(|v| v.id.as_str()).collect(),
        };
        for entry in &benchmark.entries {
            if let Some(cluster) = &entry.cluster {
                out.clusters.entry(cluster).or_default().push(&entry.id);
            }
        }
        out
    }

    fn items(&mut self, id: &str, profile: &Profile, problems: &mut Vec<Problem>) -> &[&'s str] {
        match self.items.get(id).or_else(|| self.clusters.get(id)) {
            Some(items) => items,
            None => {
                problems.push(unknown(profile, id));
                &[]
            }
        }
    }

    fn value(&self, id: &str, profile: &Profile, problems: &mut Vec<Problem>) {
        if !self.values.contains(id) {
            problems.push(unknown(profile, id));
        }
    }
}

fn unknown(profile: &Profile, id: &str) -> Problem {
    Problem { line: profile.line, what: format!("profile `{}` sets `{id}`, which is not in the benchmark", profile.id) }
}

/// A tailoring file's profiles come before the benchmark's of the same id. Whole ids come before ends of ids.
fn choose<'s>(benchmark: &'s Benchmark, wanted: &str, tailoring: Option<&'s Tailoring>) -> Result<(&'s Profile, bool), ResolveError> {
    let tailored = tailoring.into_iter().flat_map(|t| t.profiles.iter()).map(|p| (p, true));
    let all: Vec<(&Profile, bool)> = tailored.chain(benchmark.profiles.iter().map(|p| (p, false))).collect();
    if let Some(found) = all.iter().find(|(p, _)| p.id == wanted) {
        return Ok(*found);
    }
    let named = format!("_profile_{wanted}");
    for end in [named.as_str(), wanted] {
        let ids: BTreeSet<&str> = all.iter().map(|(p, _)| p.id.as_str()).filter(|id| id.ends_with(end)).collect();
        if let (1, Some(found)) = (ids.len(), all.iter().find(|(p, _)| p.id.ends_with(end))) {
            return Ok(*found);
        }
    }
    let known = all.iter().map(|(p, _)| p.id.clone()).collect();
    Err(ResolveError::Unknown { what: "profile", id: wanted.to_owned(), known })
}

/// From the furthest ancestor to the profile itself. Within a tailoring file, `extends` means another profile of the file, else one of the
/// benchmark; a profile may so extend and shadow the benchmark's of its own id.
fn ancestors<'s>(
    benchmark: &'s Benchmark,
    profile: &'s Profile,
    tailored: bool,
    tailoring: Option<&'s Tailoring>,
) -> Result<Vec<&'s Profile>, ResolveError> {
    let by_id: BTreeMap<&str, &Profile> = benchmark.profiles.iter().rev().map(|p| (p.id.as_str(), p)).collect();
    let beside: BTreeMap<&str, &Profile> =
        tailoring.into_iter().flat_map(|t| t.profiles.iter().rev()).map(|p| (p.id.as_str(), p)).collect();
    let mut chain = vec![profile];
    let mut seen = BTreeSet::from([(tailored, profile.id.as_str())]);
    let (mut at, mut within) = (profile, tailored);
    while let Some(extends) = at.extends.as_deref() {
        let near = beside.get(extends).filter(|p| within && p.id != at.id);
        let Some(parent) = near.or_else(|| by_id.get(extends)) else {
            return Err(ResolveError::NoParent { id: at.id.clone(), extends: extends.to_owned() });
        };
        within = near.is_some();
        if !seen.insert((within, parent.id.as_str())) {
            let through = chain.iter().take(8).map(|p| p.id.clone()).collect();
            return Err(ResolveError::Circle { id: profile.id.clone(), through });
        }
        chain.push(parent);
        at = parent;
    }
    chain.reverse();
    Ok(chain)
}
