//! What people and programs see of patches: a catalog, and the rows of an endpoint in; serialisable views out.
//!
//! `Host --Standing::of--> Standing --> Here, Why` (and the plan, in [`super::plan`]), and without an endpoint `catalog --> PatchView, Brief`. The daemon and the offline
//! command make the same views of the same rows, so they cannot differ.

pub mod page;
mod standing;
mod why;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::catalog::Catalog;
use super::define::{Definition, Entry, Kind};
use super::filter::Subject;
use super::list::{Exemption, Scope};
use super::rank::{Band, Rank};
use super::{PatchId, Says, State};
use crate::feed::model::{End, Exploitation, FixState, Level, PackageKind, Restart, Score, Severity, Source, Start, Target, Versions};
use crate::scan::Row;
use crate::scan::table::TableId;
pub use standing::{Here, Host, Installable, Place, Stand, Standing, TABLES};
pub use why::{Said, Why};

/// A patch by what identifies it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Name {
    pub id: Box<str>,
    pub feed: Box<str>,
}

impl Name {
    pub fn of(catalog: &Catalog, patch: PatchId) -> Option<Name> {
        catalog.id(patch).map(|(id, feed)| Name { id: id.into(), feed: feed.into() })
    }
}

/// A patch in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Brief {
    #[serde(flatten)]
    pub name: Name,
    pub kind: Kind,
    pub title: Box<str>,
    pub priority: u8,
    pub band: Band,
    pub severity: Level,
    pub cvss: Option<f64>,
    pub exploited: bool,
    pub ransomware: bool,
    pub due: Option<Box<str>>,
    pub epss: Option<f64>,
    pub published: Option<Timestamp>,
    pub restart: Option<Restart>,
    pub cves: Vec<Box<str>>,
}

impl Brief {
    pub fn of(name: Name, definition: &Definition, rank: &Rank) -> Brief {
        Brief {
            name,
            kind: definition.kind,
            title: definition.title.clone(),
            priority: rank.priority,
            band: rank.band,
            severity: rank.level,
            cvss: rank.cvss.map(|tenths| f64::from(tenths) / 10.0),
            exploited: rank.exploited,
            ransomware: rank.ransomware,
            due: rank.due.clone(),
            epss: rank.epss.map(|millionths| f64::from(millionths) / 1e6),
            published: definition.published,
            restart: definition.restart,
            cves: definition.cves.clone(),
        }
    }
}

/// An exemption as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExemptionView {
    pub id: String,
    pub scope: Scope,
    pub patches: Vec<String>,
    pub reason: String,
    pub approver: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

impl ExemptionView {
    pub fn of(exemption: &Exemption) -> ExemptionView {
        let at = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default();
        ExemptionView {
            id: exemption.id.clone(),
            scope: exemption.scope.clone(),
            patches: exemption.patches.clone(),
            reason: exemption.reason.clone(),
            approver: exemption.approver.clone(),
            created_at: at(exemption.created_ms),
            expires_at: exemption.expires_ms.map(at),
        }
    }
}

/// What the priority is the sum of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    pub name: Box<str>,
    pub points: i16,
}

/// Everything about a patch, as one feed has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PatchView {
    #[serde(flatten)]
    pub brief: Brief,
    pub rank: Vec<Part>,
    pub source: Source,
    pub publisher: Box<str>,
    pub summary: Box<str>,
    pub vendor_severity: Option<Severity>,
    pub scores: Vec<Score>,
    pub modified: Option<Timestamp>,
    pub advisories: Vec<Box<str>>,
    pub references: Vec<Box<str>>,
    pub exploitation: Exploitation,
    /// Later patches that have what this one has.
    pub superseded_by: Vec<Box<str>>,
    /// Earlier ones whose content it has.
    pub supersedes: Vec<Box<str>>,
    pub fixes: Vec<FixView>,
    /// The files of the feed that say so: name, time of fetching, digest.
    pub evidence: Vec<serde_json::Value>,
    /// Endpoints of the fleet by state; `None`: there is no fleet.
    pub counts: Option<BTreeMap<&'static str, u32>>,
    /// Those of the counts that are of endpoints which were not heard of lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<BTreeMap<&'static str, u32>>,
}

/// What a patch says of one product.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FixView {
    /// `source`, `binary`, `package` (either), `windows` or `product`
    pub what: &'static str,
    pub names: Vec<Box<str>>,
    /// `debian:12`, an ecosystem, a vendor.
    pub platform: Box<str>,
    /// `pro`, a product CPE: what is asked of the endpoint to get the fix.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub channel: Box<str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<Box<str>>,
    /// `nodejs:20`
    #[serde(skip_serializing_if = "str::is_empty")]
    pub module: Box<str>,
    pub state: FixState,
    /// The versions that it is about: `< 3.0.11-1`.
    pub affected: String,
    pub fixed: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub build: Box<str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<Box<str>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Box<str>,
}

impl FixView {
    pub fn of(entry: &Entry) -> FixView {
        let mut view = FixView {
            what: "product",
            names: Vec::new(),
            platform: "".into(),
            channel: "".into(),
            arches: Vec::new(),
            module: "".into(),
            state: entry.state,
            affected: versions(&entry.versions),
            fixed: entry.fixed.clone(),
            build: entry.build.clone(),
            about: entry.about.clone(),
            reason: entry.reason.clone(),
        };
        match &entry.target {
            Target::Package(p) => {
                view.what = match p.kind {
                    PackageKind::Binary => "binary",
                    PackageKind::Source => "source",
                    PackageKind::Either => "package",
                };
                view.names = vec![p.name.clone()];
                view.arches.clone_from(&p.arches);
                view.platform = match &p.platform {
                    Some(platform) if platform.version.is_empty() => (*platform.id).into(),
                    Some(platform) => format!("{}:{}", platform.id, platform.version).into(),
                    None => (*p.ecosystem).into(),
                };
                view.channel = p.platform.as_ref().map_or("".into(), |p| (*p.channel).into());
                view.module = p.module.as_ref().map_or("".into(), |m| format!("{}:{}", m.name, m.stream).into());
            }
            Target::Windows(w) => {
                view.what = "windows";
                view.names = w.products.iter().map(|p| Box::from(&**p)).collect();
                view.platform = (*w.component).into();
            }
            Target::Product(p) => {
                view.names = vec![p.name.clone()];
                view.platform = p.vendor.clone();
                view.arches.clone_from(&p.arches);
            }
        }
        view
    }
}

/// Versions for people: `>= 2 and < 2.5-1, or 7`.
pub fn versions(versions: &Versions) -> String {
    let ranges = versions.ranges.iter().map(|range| {
        let start = match &range.start {
            Start::Open => None,
            Start::At(v) => Some(format!(">= {v}")),
            Start::After(v) => Some(format!("> {v}")),
        };
        let end = match &range.end {
            End::Open => None,
            End::Before(v) => Some(format!("< {v}")),
            End::Through(v) => Some(format!("<= {v}")),
        };
        match (start, end) {
            (None, None) => "all".to_owned(),
            (Some(one), None) | (None, Some(one)) => one,
            (Some(start), Some(end)) => format!("{start} and {end}"),
        }
    });
    let exact = versions.exact.iter().map(|v| v.to_string());
    let text = (!versions.text.is_empty()).then(|| format!("\"{}\"", versions.text));
    ranges.chain(exact).chain(text).collect::<Vec<_>>().join(", or ")
}

/// Everything about a patch but the evidence, which the feed's folder has.
pub fn patch(catalog: &Catalog, patch: PatchId, counts: Option<BTreeMap<&'static str, u32>>) -> Option<PatchView> {
    let (name, definition, rank) = (Name::of(catalog, patch)?, catalog.definition(patch)?, catalog.rank(patch)?);
    let supersedes = supersedes(catalog, &name);
    Some(PatchView {
        brief: Brief::of(name, &definition, &rank),
        rank: parts(&rank),
        source: definition.source,
        publisher: definition.publisher,
        summary: definition.summary,
        vendor_severity: definition.severity,
        scores: definition.scores,
        modified: definition.modified,
        advisories: definition.advisories,
        references: definition.references,
        exploitation: definition.exploitation,
        superseded_by: definition.superseded_by,
        supersedes,
        fixes: definition.entries.iter().map(FixView::of).collect(),
        evidence: Vec::new(),
        counts,
        stale: None,
    })
}

pub fn parts(rank: &Rank) -> Vec<Part> {
    rank.parts.iter().map(|(name, points)| Part { name: name.clone(), points: *points }).collect()
}

/// What a patch replaces. A host that has it as a hotfix has those too, and the catalog can be asked that.
fn supersedes(catalog: &Catalog, name: &Name) -> Vec<Box<str>> {
    let Some(table) = TableId::by_name("hotfix") else { return Vec::new() };
    if !name.id.starts_with("KB") {
        return Vec::new();
    }
    let notes = catalog.ask(&Row::new(table).with("id", &*name.id));
    let had = notes.iter().filter(|n| n.says() == Says::Has).filter_map(|n| Name::of(catalog, n.patch()));
    let mut out: Vec<Box<str>> = had.filter(|n| n.feed == name.feed && n.id != name.id).map(|n| n.id).collect();
    out.sort();
    out.dedup();
    out
}

/// How many endpoints have a patch in each state, of which it can be installed at so many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub states: BTreeMap<State, u32>,
    pub installable: u32,
    /// Groups that have an affected endpoint, of those that were asked about.
    pub groups: std::collections::BTreeSet<String>,
}

impl Tally {
    pub fn count(&self, state: State) -> u32 {
        self.states.get(&state).copied().unwrap_or(0)
    }

    /// Every affected state by name, and what is waiting for a restart.
    pub fn shown(&self) -> BTreeMap<&'static str, u32> {
        State::ALL.into_iter().filter(|s| s.is_affected()).map(|s| (s.name(), self.count(s))).collect()
    }
}

/// A patch of the catalog as a filter looks at it: over the fleet, or (without tallies) by itself.
pub struct InFleet<'c> {
    catalog: &'c Catalog,
    patch: PatchId,
    id: &'c str,
    feed: &'c str,
    tally: Option<&'c Tally>,
    definition: std::cell::OnceCell<Option<Definition>>,
    rank: std::cell::OnceCell<Option<Rank>>,
}

impl<'c> InFleet<'c> {
    pub fn new(catalog: &'c Catalog, patch: PatchId, tally: Option<&'c Tally>) -> Option<InFleet<'c>> {
        let (id, feed) = catalog.id(patch)?;
        let (definition, rank) = Default::default();
        Some(InFleet { catalog, patch, id, feed, tally, definition, rank })
    }

    pub fn brief(&self) -> Option<Brief> {
        Some(Brief::of(Name { id: self.id.into(), feed: self.feed.into() }, self.definition()?, self.rank()?))
    }
}

impl Subject for InFleet<'_> {
    fn id(&self) -> &str {
        self.id
    }

    fn feed(&self) -> &str {
        self.feed
    }

    fn rank(&self) -> Option<&Rank> {
        self.rank.get_or_init(|| self.catalog.rank(self.patch)).as_ref()
    }

    fn definition(&self) -> Option<&Definition> {
        self.definition.get_or_init(|| self.catalog.definition(self.patch)).as_ref()
    }

    fn is_in(&self, state: State) -> bool {
        self.tally.is_some_and(|t| t.count(state) > 0)
    }

    fn is_superseded(&self) -> bool {
        let count = |state| self.tally.map_or(0, |t| t.count(state));
        match (count(State::Missing), count(State::Superseded)) {
            (0, 0) => self.definition().is_some_and(|d| !d.superseded_by.is_empty()),
            (missing, _) => missing == 0,
        }
    }

    fn is_installable(&self) -> bool {
        self.tally.is_some_and(|t| t.installable > 0)
    }

    fn is_of_group(&self, group: &str) -> bool {
        self.tally.is_some_and(|t| t.groups.contains(group))
    }
}
