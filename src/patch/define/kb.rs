//! Updates that have a number of their own: what advisories say of products and KBs in, a [`Definition`] for each KB out.
//!
//! A vendor's table has a line for each update, CVE and product. What it says of one product is gathered first, then products about which the same is said; so
//! the definitions do not depend on how the reader had grouped the lines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::supersede::{Replaced, Where};
use super::{Definition, Entry, Kind, attacked, cut, once, ordered, worst};
use crate::feed::model::{Advisory, Affected, Exploitation, FixState, Restart, Score, Severity, Source, Target, Versions, Windows};
use crate::version::ecosystem::{Numbering, Products};

/// References that are kept of an update: each of its CVEs has some.
const REFERENCES: usize = 20;

#[derive(Default)]
pub(super) struct Kbs(BTreeMap<Box<str>, Kb>);

/// One product, and under which condition it lacks the update.
type Cell = (Target, Versions, Numbering, FixState, Box<str>, Box<str>);

/// What is said of a cell: CVEs, and the vendor's reasons.
type Said = (BTreeSet<Box<str>>, BTreeSet<Box<str>>);

struct Kb {
    source: Source,
    publisher: Box<str>,
    kind: Kind,
    /// What the fix is called: `Monthly Rollup`.
    names: BTreeSet<Box<str>>,
    /// By advisory: title and summary.
    advisories: BTreeMap<Box<str>, (Box<str>, Box<str>)>,
    severity: Option<Severity>,
    scores: Vec<Score>,
    published: Option<Timestamp>,
    modified: Option<Timestamp>,
    cves: BTreeSet<Box<str>>,
    references: BTreeSet<Box<str>>,
    exploitation: Exploitation,
    restart: Option<Restart>,
    cells: BTreeMap<Cell, Said>,
}

impl Kb {
    fn new(advisory: &Advisory, id: &str) -> Kb {
        Kb {
            source: advisory.source,
            publisher: advisory.publisher.clone(),
            kind: if id.starts_with("SP") { Kind::ServicePack } else { Kind::Update },
            names: BTreeSet::new(),
            advisories: BTreeMap::new(),
            severity: None,
            scores: Vec::new(),
            published: None,
            modified: None,
            cves: BTreeSet::new(),
            references: BTreeSet::new(),
            exploitation: Exploitation::default(),
            restart: None,
            cells: BTreeMap::new(),
        }
    }

    /// What the advisory says as a whole, once.
    fn learn(&mut self, advisory: &Advisory, id: &str) {
        if self.advisories.contains_key(&advisory.id) {
            return;
        }
        self.advisories.insert(advisory.id.clone(), (advisory.title.clone(), advisory.summary.clone()));
        let title = advisory.title.to_lowercase();
        if title.contains("servicing stack") {
            self.kind = self.kind.max(Kind::ServicingStack);
        } else if self.kind == Kind::Update
            // `SP7X64SP1` is what WES-NG calls the service pack that KB976932 is.
            && (advisory.id.starts_with("SP") || advisory.id.eq_ignore_ascii_case(id) && title.contains("service pack"))
        {
            self.kind = Kind::ServicePack;
        }
        let own = advisory.id.starts_with("CVE-").then(|| advisory.id.clone());
        let scores = advisory.scores.iter().cloned().map(|mut score| {
            if score.about.is_empty() {
                score.about.extend(own.clone());
            }
            score
        });
        self.scores.extend(scores);
        self.modified = self.modified.max(advisory.modified);
        attacked(&mut self.exploitation, &advisory.exploitation);
        if self.references.len() < REFERENCES {
            self.references.extend(advisory.references.iter().cloned());
        }
    }

    fn definition(mut self, id: &str, replaced: Vec<(Box<str>, Where)>) -> Definition {
        let title = self.title();
        let summary = match self.advisories.first_key_value() {
            Some((_, (_, summary))) if self.advisories.len() == 1 => cut(summary),
            _ => "".into(),
        };
        once(&mut self.scores, |s| (s.vector.clone(), s.about.clone(), s.by.clone()));
        self.exploitation.exploits.sort();
        self.exploitation.exploits.dedup();
        let cves: Vec<Box<str>> = self.cves.iter().cloned().collect();
        // Products of which the same is said, together.
        let mut groups: BTreeMap<(Cell, Said), BTreeSet<_>> = BTreeMap::new();
        for ((mut target, versions, numbering, state, fixed, build), (mut about, reasons)) in self.cells {
            let products = match &mut target {
                Target::Windows(windows) => std::mem::take(&mut windows.products),
                Target::Package(_) | Target::Product(_) => Vec::new(),
            };
            if cves.iter().all(|cve| about.contains(cve)) {
                about.clear();
            }
            groups.entry(((target, versions, numbering, state, fixed, build), (about, reasons))).or_default().extend(products);
        }
        let entries = groups.into_iter().map(|((cell, (about, reasons)), products)| {
            let (mut target, versions, numbering, state, fixed, build) = cell;
            if let Target::Windows(windows) = &mut target {
                windows.products = products.into_iter().collect();
            }
            let reasons: Vec<Box<str>> = reasons.into_iter().collect();
            Entry {
                target,
                versions,
                numbering,
                state,
                fixed,
                build,
                about: about.into_iter().collect(),
                reason: reasons.join(", ").into(),
            }
        });
        let mut entries: Vec<Entry> = entries.collect();
        entries.sort();
        Definition {
            id: id.into(),
            kind: self.kind,
            source: self.source,
            publisher: self.publisher,
            title,
            summary,
            severity: self.severity,
            scores: self.scores,
            published: self.published,
            modified: self.modified,
            cves,
            advisories: self.advisories.into_keys().filter(|a| !a.eq_ignore_ascii_case(id)).collect(),
            references: self.references.into_iter().take(REFERENCES).collect(),
            exploitation: self.exploitation,
            restart: self.restart,
            superseded_by: replaced.iter().map(|(id, _)| id.clone()).collect(),
            superseded_on: replaced.into_iter().filter_map(|(id, on)| Some((id, on?))).collect(),
            entries,
        }
    }

    /// Of one advisory its title; of several what they come to.
    fn title(&self) -> Box<str> {
        if let (1, Some((_, (title, _)))) = (self.advisories.len(), self.advisories.first_key_value()) {
            return title.clone();
        }
        let product = self.cells.keys().find_map(|(target, ..)| match target {
            Target::Windows(windows) => windows.products.first().map(|p| &**p),
            Target::Product(product) => Some(&*product.name),
            Target::Package(package) => Some(&*package.name),
        });
        let products: BTreeSet<&Target> = self.cells.keys().map(|(target, ..)| target).collect();
        let name = self.names.first().map_or("Update", |n| n);
        let more = if products.len() > 1 { format!(" and {} more", products.len() - 1) } else { String::new() };
        format!("{name} for {}{more}: {} advisories", product.unwrap_or("no product"), self.advisories.len()).into()
    }
}

impl Kbs {
    /// Takes what an advisory says of products for which an update has a number.
    pub(super) fn gather(&mut self, advisory: &Advisory, named: &[Affected], products: &Products) {
        for affected in named {
            for fix in affected.fixes.iter().filter(|f| !f.kb.is_empty()) {
                let id: Box<str> = fix.kb.to_uppercase().into();
                let kb = self.0.entry(id.clone()).or_insert_with(|| Kb::new(advisory, &id));
                kb.learn(advisory, &id);
                kb.severity = worst([kb.severity.take(), affected.severity.clone().or(advisory.severity.clone())].into_iter().flatten());
                kb.published = [kb.published, affected.published.or(advisory.published)].into_iter().flatten().min();
                kb.modified = kb.modified.max(affected.published);
                kb.restart = kb.restart.max(fix.restart);
                if fix.kind.to_lowercase().contains("servicing stack") {
                    kb.kind = kb.kind.max(Kind::ServicingStack);
                }
                if !fix.kind.is_empty() {
                    kb.names.insert(fix.kind.clone());
                }
                if !fix.url.is_empty() {
                    kb.references.insert(fix.url.clone());
                }
                let about: Vec<Box<str>> =
                    if affected.about.is_empty() { advisory.cves().map(Into::into).collect() } else { affected.about.clone() };
                kb.cves.extend(about.iter().cloned());
                // `ADV180002` is about none of the CVEs that others say of the update.
                let about = if about.is_empty() { vec![advisory.id.clone()] } else { about };
                let mut versions = affected.versions.clone();
                let numbering = ordered(&affected.target, &mut versions, products);
                for target in singly(&affected.target) {
                    let cell = (target, versions.clone(), numbering, affected.state, fix.version.clone(), fix.build.clone());
                    let (cves, reasons) = kb.cells.entry(cell).or_default();
                    cves.extend(about.iter().cloned());
                    if !affected.reason.is_empty() {
                        reasons.insert(affected.reason.clone());
                    }
                }
            }
        }
    }

    /// Sorted by id.
    pub(super) fn definitions(self, replaced: &Replaced) -> Vec<Definition> {
        let known: BTreeSet<Box<str>> = self.0.keys().cloned().collect();
        let superseding = |id: &str| {
            let above = replaced.get(&*id.to_lowercase()).into_iter().flatten();
            let named = above.map(|(newer, on)| (Box::<str>::from(newer.to_uppercase()), on.clone()));
            let mut above: Vec<(Box<str>, Where)> = named.filter(|(newer, _)| known.contains(newer) && **newer != *id).collect();
            above.sort();
            above
        };
        self.0
            .into_iter()
            .map(|(id, kb)| {
                let above = superseding(&id);
                kb.definition(&id, above)
            })
            .collect()
    }
}

/// A product that has a fix has it, though another line of the vendor's table says nothing of one; and an update with a number is told before anything else.
pub(super) fn leave_to_updates(named: &[Affected], rest: &mut Vec<Affected>) {
    fn products<'a>(entries: impl Iterator<Item = &'a Affected>) -> BTreeSet<Arc<str>> {
        let fixed = entries.filter(|e| e.state == FixState::Fixed);
        let of = |entry: &Affected| match &entry.target {
            Target::Windows(windows) => windows.products.clone(),
            Target::Package(_) | Target::Product(_) => Vec::new(),
        };
        fixed.flat_map(of).collect()
    }
    let updated = products(named.iter());
    let fixed = products(named.iter().chain(&*rest));
    rest.retain_mut(|entry| {
        let known = match entry.state {
            FixState::NoFix => &fixed,
            FixState::Fixed if entry.fixes.iter().all(|f| f.build.is_empty() && f.version.is_empty()) => &updated,
            FixState::Fixed | FixState::WillNotFix | FixState::NotAffected | FixState::UnderInvestigation => return true,
        };
        match &mut entry.target {
            Target::Windows(windows) => {
                windows.products.retain(|p| !known.contains(p));
                !windows.products.is_empty()
            }
            Target::Package(_) | Target::Product(_) => true,
        }
    });
}

/// A target for each of its products.
fn singly(target: &Target) -> Vec<Target> {
    match target {
        Target::Windows(windows) => {
            let one = |p: &Arc<str>| Target::Windows(Windows { products: vec![p.clone()], component: windows.component.clone() });
            windows.products.iter().map(one).collect()
        }
        Target::Package(_) | Target::Product(_) => vec![target.clone()],
    }
}
