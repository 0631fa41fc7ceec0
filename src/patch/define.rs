//! What is compiled: advisories in, one [`Definition`] for each thing to install (or vulnerability without one) out.

mod kb;
mod supersede;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::feed::model::{Advisory, Affected, End, Exploitation, FixState, Range, Restart, Score, Severity, Source, Target, Versions};
use crate::feed::supersede::{Cycle, Graph, TooMany};
use crate::limits::Limits;
use crate::version::ecosystem::{Numbering, Order, Products};

/// One patch, whole: what the catalog keeps of it, and what `muster patch show` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// `DSA-5532-1`, `ALSA-2023:0001`, `KB5031364`, `CVE-2024-1234`. Unique in its feed.
    pub id: Box<str>,
    pub kind: Kind,
    pub source: Source,
    pub publisher: Box<str>,
    pub title: Box<str>,
    /// As the vendor wrote it, cut at a length.
    pub summary: Box<str>,
    /// The highest that the vendor gave.
    pub severity: Option<Severity>,
    pub scores: Vec<Score>,
    pub published: Option<Timestamp>,
    pub modified: Option<Timestamp>,
    /// Sorted.
    pub cves: Vec<Box<str>>,
    /// The advisories that it is of, where their ids are not its own (the CVEs of a KB); sorted.
    pub advisories: Vec<Box<str>>,
    pub references: Vec<Box<str>>,
    pub exploitation: Exploitation,
    pub restart: Option<Restart>,
    /// Patches of the same feed that replace this one, directly or through others; sorted.
    pub superseded_by: Vec<Box<str>>,
    /// Those of them that do so on some systems only, though both are for more: which ones, and where (`windows::system_of`); sorted.
    pub superseded_on: Vec<(Box<str>, Vec<Box<str>>)>,
    pub entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something to install.
    Update,
    /// A service pack: comes before everything else.
    ServicePack,
    /// What installs the others must be new enough first (servicing stack).
    ServicingStack,
    /// A vulnerability: what mends it is a newer version, under no name of its own.
    Vulnerability,
}

/// What a patch says of one product: one or two conditions on one row (`feed::model`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    pub target: Target,
    /// Those that are affected; under [`FixState::Fixed`] those that lack the fix.
    pub versions: Versions,
    /// What the vendor did to its numbers; to be undone before versions are compared.
    pub numbering: Numbering,
    pub state: FixState,
    /// The first version that has the fix, if one is known.
    pub fixed: Box<str>,
    /// The first Windows build that has it.
    pub build: Box<str>,
    /// CVEs that this is about, or the advisory where it names none; nothing: all of the patch.
    pub about: Vec<Box<str>>,
    pub reason: Box<str>,
}

/// What a feed comes to.
#[derive(Clone, Debug, Default)]
pub struct Defined {
    /// Sorted by id.
    pub definitions: Vec<Arc<Definition>>,
    pub cycles: Vec<Cycle>,
    /// Advisories that are withdrawn.
    pub withdrawn: usize,
}

/// Characters of a summary that are kept.
const SUMMARY: usize = 400;

impl Definition {
    /// Whether having that one on this system is having this one. Where the system is not told, any will do.
    pub fn is_replaced_by(&self, id: &str, system: Option<&str>) -> bool {
        let on = self.superseded_on.iter().find(|(newer, _)| **newer == *id).map(|(_, on)| on);
        self.superseded_by.iter().any(|newer| **newer == *id)
            && match (on, system) {
                (Some(on), Some(system)) => on.iter().any(|s| **s == *system),
                _ => true,
            }
    }
}

impl Entry {
    /// How the versions of its product compare; `None`: only equality can be told.
    pub fn order(&self) -> Option<Order> {
        self.versions.scheme.map(|scheme| Order { scheme, numbering: self.numbering })
    }
}

/// The definitions of one feed's advisories. The same advisories in any order give the same definitions.
pub fn define(advisories: Vec<Advisory>, limits: &Limits) -> Result<Defined, TooMany> {
    let mut graph = Graph::default();
    let mut systems = supersede::Systems::default();
    advisories.iter().for_each(|a| {
        graph.learn(a);
        systems.learn(a);
    });
    let count = advisories.len();
    let advisories = settled(advisories.into_iter().filter(|a| a.withdrawn.is_none()).collect());
    let live: usize = advisories.iter().map(|(_, parts)| parts).sum();
    let products = Products::default();
    let (mut kbs, mut own) = (kb::Kbs::default(), BTreeMap::<Box<str>, Definition>::new());
    for (mut advisory, _) in advisories {
        let (named, mut rest): (Vec<Affected>, Vec<Affected>) =
            std::mem::take(&mut advisory.affected).into_iter().partition(|e| e.fixes.iter().any(|f| !f.kb.is_empty()));
        kbs.gather(&advisory, &named, &products);
        kb::leave_to_updates(&named, &mut rest);
        if named.is_empty() || !rest.is_empty() {
            if is_kb(&advisory.id) {
                advisory.id = advisory.id.to_uppercase().into();
            }
            let definition = of_advisory(advisory, rest, &products);
            match own.remove(&definition.id) {
                Some(same) => own.insert(definition.id.clone(), merged(same, definition)),
                None => own.insert(definition.id.clone(), definition),
            };
        }
    }
    let closure = graph.closure(limits)?;
    for definition in kbs.definitions(&systems.replaced(limits)?) {
        match own.remove(&definition.id) {
            // An advisory that is called as the update is.
            Some(named) => own.insert(definition.id.clone(), merged(definition, named)),
            None => own.insert(definition.id.clone(), definition),
        };
    }
    Ok(Defined { definitions: own.into_values().map(Arc::new).collect(), cycles: closure.cycles, withdrawn: count - live })
}

/// An update's number, in any case.
fn is_kb(id: &str) -> bool {
    let digits = id.get(..2).filter(|kb| kb.eq_ignore_ascii_case("kb")).and_then(|_| id.get(2..)).unwrap_or("");
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Sorted by id, those of the same id made one; with how many each was.
fn settled(mut advisories: Vec<Advisory>) -> Vec<(Advisory, usize)> {
    advisories.sort_by(|a, b| a.id.cmp(&b.id));
    let mut out: Vec<(Advisory, usize)> = Vec::with_capacity(advisories.len());
    let mut same: Vec<Advisory> = Vec::new();
    let mut close = |same: &mut Vec<Advisory>| {
        if same.len() > 1 {
            // In the order of their contents, whichever came first. Everything that an advisory holds can be written.
            same.sort_by_cached_key(|a| postcard::to_stdvec(a).unwrap_or_default());
        }
        let count = same.len();
        let one = same.drain(..).reduce(joined).map(|mut one| {
            if count > 1 {
                once(&mut one.scores, |s| (s.vector.clone(), s.about.clone(), s.by.clone()));
                once(&mut one.aliases, Clone::clone);
                once(&mut one.references, Clone::clone);
                once(&mut one.exploitation.exploits, Clone::clone);
            }
            (one, count)
        });
        out.extend(one);
    };
    for advisory in advisories {
        if same.last().is_some_and(|last| last.id != advisory.id) {
            close(&mut same);
        }
        same.push(advisory);
    }
    close(&mut same);
    out
}

fn joined(mut a: Advisory, b: Advisory) -> Advisory {
    for (text, other) in [(&mut a.title, b.title), (&mut a.summary, b.summary)] {
        if text.is_empty() {
            *text = other;
        }
    }
    a.severity = worst([a.severity, b.severity].into_iter().flatten());
    a.scores.extend(b.scores);
    a.aliases.extend(b.aliases);
    a.references.extend(b.references);
    a.published = [a.published, b.published].into_iter().flatten().min();
    a.modified = a.modified.max(b.modified);
    attacked(&mut a.exploitation, &b.exploitation);
    a.affected.extend(b.affected);
    a
}

fn merged(mut kb: Definition, named: Definition) -> Definition {
    kb.severity = worst([kb.severity, named.severity].into_iter().flatten());
    kb.scores.extend(named.scores);
    once(&mut kb.scores, |s| (s.vector.clone(), s.about.clone(), s.by.clone()));
    kb.references.extend(named.references);
    once(&mut kb.references, Clone::clone);
    kb.cves.extend(named.cves);
    kb.cves.sort();
    kb.cves.dedup();
    attacked(&mut kb.exploitation, &named.exploitation);
    once(&mut kb.exploitation.exploits, Clone::clone);
    kb.entries.extend(named.entries);
    kb.entries.sort();
    kb.entries.dedup();
    kb
}

/// Without doubles, otherwise as it was.
fn once<T, K: Ord>(list: &mut Vec<T>, key: impl Fn(&T) -> K) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|item| seen.insert(key(item)));
}

fn attacked(all: &mut Exploitation, more: &Exploitation) {
    all.exploited = all.exploited.max(more.exploited);
    all.disclosed = all.disclosed.max(more.disclosed);
    all.exploits.extend(more.exploits.iter().cloned());
}

fn worst(severities: impl Iterator<Item = Severity>) -> Option<Severity> {
    severities.max_by(|a, b| a.level.cmp(&b.level).then_with(|| a.text.cmp(&b.text)))
}

/// The first characters of a text, with a mark where it was cut.
fn cut(text: &str) -> Box<str> {
    match text.char_indices().nth(SUMMARY) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or("").trim_end()).into(),
        None => text.into(),
    }
}

fn of_advisory(advisory: Advisory, affected: Vec<Affected>, products: &Products) -> Definition {
    let mut cves: Vec<Box<str>> = advisory.cves().map(Into::into).collect();
    cves.sort();
    cves.dedup();
    let stated = advisory.severity.clone();
    let severity = worst(stated.into_iter().chain(affected.iter().filter_map(|e| e.severity.clone())));
    let restart = affected.iter().flat_map(|e| &e.fixes).filter_map(|f| f.restart).max();
    let mut entries: Vec<Entry> = affected.into_iter().flat_map(|e| entries(e, products)).collect();
    entries.sort();
    entries.dedup();
    // `UBUNTU-CVE-2024-1` is a vulnerability by another name.
    let kind = if advisory.id.contains("CVE-") { Kind::Vulnerability } else { Kind::Update };
    Definition {
        id: advisory.id,
        kind,
        source: advisory.source,
        publisher: advisory.publisher,
        title: advisory.title,
        summary: cut(&advisory.summary),
        severity,
        scores: advisory.scores,
        published: advisory.published,
        modified: advisory.modified,
        cves,
        advisories: Vec::new(),
        references: advisory.references,
        exploitation: advisory.exploitation,
        restart,
        superseded_by: Vec::new(),
        superseded_on: Vec::new(),
        entries,
    }
}

/// What one affected product says. Ranges that end at fixes of their own (branches) become entries of their own, so that each entry has one fix.
fn entries(affected: Affected, products: &Products) -> Vec<Entry> {
    let Affected { target, mut versions, state, mut about, fixes, reason, .. } = affected;
    let numbering = ordered(&target, &mut versions, products);
    about.sort();
    about.dedup();
    let build = fixes.iter().map(|f| &f.build).filter(|b| !b.is_empty()).min().cloned().unwrap_or_default();
    let mut fixed: Vec<Box<str>> = fixes.iter().map(|f| f.version.clone()).filter(|v| !v.is_empty()).collect();
    let whole = Entry { target, versions, numbering, state, fixed: "".into(), build, about, reason };
    if let Some(order) = whole.order() {
        fixed.sort_by(|a, b| order.compare(a, b).then_with(|| a.cmp(b)));
    }
    fixed.dedup();
    if state != FixState::Fixed {
        return vec![whole];
    }
    let bounds = whole.versions.ranges.iter().filter(|r| matches!(r.end, End::Before(_))).count();
    match whole.order() {
        Some(order) if bounds > 1 => branches(&whole, &fixed, order),
        _ => {
            let bound = whole.versions.ranges.iter().find_map(end);
            let fixed = fixed.into_iter().next().or(bound).unwrap_or_default();
            vec![Entry { fixed, ..whole }]
        }
    }
}

fn end(range: &Range) -> Option<Box<str>> {
    match &range.end {
        End::Before(version) => Some(version.clone()),
        End::Through(_) | End::Open => None,
    }
}

fn branches(whole: &Entry, fixed: &[Box<str>], order: Order) -> Vec<Entry> {
    let part = |ranges: Vec<Range>, exact: Vec<Box<str>>, fixed: Option<Box<str>>| Entry {
        versions: Versions { ranges, exact, ..whole.versions.clone() },
        fixed: fixed.unwrap_or_default(),
        ..whole.clone()
    };
    let mut out = Vec::new();
    for range in &whole.versions.ranges {
        let after = |last: &str| fixed.iter().find(|f| order.compare(f, last).is_gt()).cloned();
        let fix = match &range.end {
            End::Before(version) => Some(version.clone()),
            End::Through(last) => after(last),
            End::Open => None,
        };
        out.push(part(vec![range.clone()], Vec::new(), fix));
    }
    // Versions by name that no range has; under the ranges they say nothing more.
    let inside = |version: &str| out.iter().any(|e| crate::patch::explain::contains(e, version));
    let exact: Vec<Box<str>> = whole.versions.exact.iter().filter(|v| !inside(v)).cloned().collect();
    if !exact.is_empty() {
        out.push(part(Vec::new(), exact, None));
    }
    out
}

/// Gives a product whose vendor numbers in an own way its own order.
fn ordered(target: &Target, versions: &mut Versions, products: &Products) -> Numbering {
    let own = match target {
        Target::Package(package) => products.own(&package.ecosystem, &package.name),
        Target::Product(product) => products.own("windows", &product.name).or_else(|| products.own("generic", &product.name)),
        Target::Windows(_) => None,
    };
    if let Some(order) = own {
        versions.scheme = Some(order.scheme);
    }
    own.map_or(Numbering::Plain, |order| order.numbering)
}

#[cfg(test)]
mod tests;
