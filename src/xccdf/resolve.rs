//! One profile of a benchmark, everything resolved: selection, values, checks, platforms. The result is what a pack stores.
//!
//! ```text
//! Source + Choice ─> settings (profile, extends, tailoring) ─> select ─> values ─> checks ─> platforms ─> Baseline
//! ```
//!
//! What follows OpenSCAP where the specification leaves room: of several candidate checks the last OVAL one is taken; a setting of an
//! extending profile replaces the one of the same kind and id as a whole; an item that names an unknown requirement is not selected.

mod checks;
mod definitions;
mod select;
mod settings;
#[cfg(test)]
mod tests;
mod values;

use super::datastream::{Around, ProfileInfo, Source, View};
use super::model::{Baseline, Fix, Item, PlatformLogic, RuleBody};
use super::platform::Platforms;
use super::read::{Benchmark, Budget, Entry, Problem, RuleNode, Spent, Text};
use super::tailoring::Tailoring;
use crate::limits::Limits;
use checks::Checks;
use settings::Settings;
use values::Values;

/// What is wanted of a source. All `None`: the first benchmark as it selects its rules itself.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub datastream: Option<String>,
    /// A benchmark's id, or the component (or its reference) that it is.
    pub benchmark: Option<String>,
    /// An id, or the end of one that no other has: `cis_level2_server`. `(all)`: every rule.
    pub profile: Option<String>,
    pub tailoring: Option<Tailoring>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("there is no {what} `{id}`; there are: {}", .known.join(", "))]
    Unknown { what: &'static str, id: String, known: Vec<String> },
    #[error("profile `{id}` is abstract; choose one that extends it")]
    Abstract { id: String },
    #[error("profile `{id}` extends itself through: {}", .through.join(" -> "))]
    Circle { id: String, through: Vec<String> },
    #[error("profile `{id}` extends `{extends}`, which is not there")]
    NoParent { id: String, extends: String },
    #[error("the file has neither a benchmark nor OVAL definitions")]
    Nothing,
    #[error(transparent)]
    Spent(#[from] Spent),
}

/// Resolves one profile. Problems are things left out or not found; none of them makes a rule pass.
pub fn resolve(source: &Source, choice: &Choice, limits: &Limits) -> Result<(Baseline, Vec<Problem>), ResolveError> {
    let view = View::choose(source, choice)?;
    let Some((component, benchmark)) = view.benchmark() else {
        return definitions::baseline(&view, choice);
    };
    let mut budget = Budget::new(limits);
    let mut problems = Vec::new();
    let settings = Settings::of(benchmark, choice.profile.as_deref(), choice.tailoring.as_ref(), &mut budget, &mut problems)?;
    let selected = select::select(benchmark, &settings, &mut budget, &mut problems)?;
    let values = Values::new(benchmark, &settings);
    let mut checks = Checks::new(&view, &values, limits);
    let (languages, dictionaries) = surroundings(&view, benchmark);
    let mut platforms = Platforms::new(languages, dictionaries);

    let mut out = Baseline {
        benchmark_id: benchmark.id.clone(),
        benchmark_version: benchmark.version.clone(),
        benchmark_title: values.text(&benchmark.title, &mut budget)?,
        benchmark_href: if view.in_stream() { format!("#{}", component.id) } else { component.id.clone() },
        ..Baseline::default()
    };
    profile_of(&mut out, &settings, choice, &values, &mut budget)?;
    // Checks first: an instance that rules give values to is the one that platforms share.
    for (entry, selected) in benchmark.entries.iter().zip(&selected) {
        out.items.push(item(entry, *selected, &settings, &values, &mut checks, &mut budget)?);
    }
    let mut find = |from: usize, href: &str, id: &str| -> Option<PlatformLogic> { checks.platform(from, href, id) };
    for idref in &benchmark.platforms {
        out.platforms.push(platforms.id(idref, &mut find, &mut budget)?);
    }
    for (item, (entry, selected)) in out.items.iter_mut().zip(benchmark.entries.iter().zip(&selected)) {
        // Groups keep theirs: what is selected below them needs it.
        if *selected || item.rule.is_none() {
            for idref in &entry.platforms {
                item.platforms.push(platforms.id(idref, &mut find, &mut budget)?);
            }
        }
    }
    out.platform_checks = platforms.checks;
    out.set_values = values.list();
    checks.into_baseline(&mut out, &mut problems);
    Ok((out, problems))
}

/// The benchmark's own language and dictionary stand before those beside it.
fn surroundings<'s>(view: &View<'s>, benchmark: &'s Benchmark) -> Around<'s> {
    let (mut languages, mut dictionaries) = view.dictionaries();
    languages.insert(0, (view.own(), &benchmark.language));
    if let Some(own) = &benchmark.dictionary {
        dictionaries.insert(0, (view.own(), own));
    }
    (languages, dictionaries)
}

fn profile_of(out: &mut Baseline, settings: &Settings, choice: &Choice, values: &Values, budget: &mut Budget) -> Result<(), Spent> {
    let Some(profile) = settings.profile else { return Ok(()) };
    out.profile_id.clone_from(&profile.id);
    out.profile_title = settings.title.map_or(Ok(String::new()), |t| values.text(t, budget))?;
    out.profile_description = settings.description.map_or(Ok(String::new()), |t| values.text(t, budget))?;
    if settings.tailored {
        out.tailoring = choice.tailoring.as_ref().map(|t| t.about.clone());
    }
    Ok(())
}

fn item(
    entry: &Entry,
    selected: bool,
    settings: &Settings,
    values: &Values,
    checks: &mut Checks,
    budget: &mut Budget,
) -> Result<Item, Spent> {
    let refined = settings.refined.get(entry.id.as_str());
    let wanted = selected || entry.rule.is_none();
    let text = |t: &Text, budget: &mut Budget| if wanted { values.text(t, budget) } else { Ok(String::new()) };
    Ok(Item {
        id: entry.id.clone(),
        parent: entry.parent.and_then(|p| u32::try_from(p).ok()),
        title: values.text(&entry.title, budget)?,
        description: text(&entry.description, budget)?,
        weight: refined.and_then(|r| r.weight).or(entry.weight).unwrap_or(1.0),
        published_weight: entry.weight.unwrap_or(1.0),
        selected,
        platforms: Vec::new(),
        rule: match &entry.rule {
            Some(rule) => Some(body(rule, selected, refined, values, checks, budget)?),
            None => None,
        },
    })
}

/// Of a rule that is not selected, what results documents repeat is kept.
fn body(
    rule: &RuleNode,
    selected: bool,
    refined: Option<&settings::Refined>,
    values: &Values,
    checks: &mut Checks,
    budget: &mut Budget,
) -> Result<RuleBody, Spent> {
    let mut out = RuleBody {
        version: rule.version.clone(),
        severity: refined.and_then(|r| r.severity).or(rule.severity).unwrap_or_default(),
        role: refined.and_then(|r| r.role).or(rule.role).unwrap_or_default(),
        role_forgotten: refined.is_some_and(|r| r.role.is_none()),
        idents: rule.idents.clone(),
        multiple: rule.multiple.unwrap_or(false),
        ..RuleBody::default()
    };
    if !selected {
        return Ok(out);
    }
    out.rationale = values.text(&rule.rationale, budget)?;
    out.fixtext = values.text(&rule.fixtext, budget)?;
    out.references.clone_from(&rule.references);
    for fix in &rule.fixes {
        out.fixes.push(Fix {
            id: fix.id.clone(),
            system: fix.system.clone(),
            complexity: fix.complexity.clone(),
            disruption: fix.disruption.clone(),
            reboot: fix.reboot,
            text: values.text(&fix.text, budget)?,
        });
    }
    out.check = checks.of(rule, refined.and_then(|r| r.selector.as_deref()), budget)?;
    Ok(out)
}

/// The profiles of one benchmark that can be chosen, with how many rules each selects.
pub(super) fn profiles(
    benchmark: &Benchmark,
    datastream: &str,
    tailoring: Option<&Tailoring>,
    limits: &Limits,
    out: &mut Vec<ProfileInfo>,
) -> Result<(), ResolveError> {
    let mut budget = Budget::new(limits);
    let mut ignored = Vec::new();
    let own = benchmark.profiles.iter().filter(|p| !p.abstracted);
    let tailored = tailoring.into_iter().flat_map(|t| t.profiles.iter()).filter(|p| !p.abstracted);
    let mut seen = std::collections::BTreeSet::new();
    for id in std::iter::once(None).chain(own.chain(tailored).map(|p| Some(p.id.as_str()))) {
        if !seen.insert(id) {
            continue;
        }
        let settings = match Settings::of(benchmark, id, tailoring, &mut budget, &mut ignored) {
            Ok(settings) => settings,
            Err(ResolveError::Spent(e)) => return Err(e.into()),
            // A profile that cannot be chosen is not listed; choosing it says why.
            Err(_) => continue,
        };
        let selected = select::select(benchmark, &settings, &mut budget, &mut ignored)?;
        let values = Values::new(benchmark, &settings);
        out.push(ProfileInfo {
            datastream: datastream.to_owned(),
            benchmark: benchmark.id.clone(),
            id: id.unwrap_or_default().to_owned(),
            title: settings.title.map_or(Ok(String::new()), |t| values.text(t, &mut budget))?,
            description: settings.description.map_or(Ok(String::new()), |t| values.text(t, &mut budget))?,
            selected: benchmark.entries.iter().zip(&selected).filter(|(e, s)| **s && e.rule.is_some()).count(),
        });
        ignored.clear();
    }
    Ok(())
}
