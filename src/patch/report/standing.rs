//! How all patches stand at one endpoint: its rows in; for each patch its state, the rows that say so, and what would mend it, out.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::catalog::Catalog;
use super::super::define::{Definition, Entry, Kind};
use super::super::explain::speaking;
use super::super::filter::{Filter, Subject};
use super::super::list::Exemption;
use super::super::rank::{Band, Rank};
use super::super::stand::Sum;
use super::super::{Note, PatchId, Says, State, windows};
use super::{Brief, Name};
use crate::feed::model::Target;
use crate::rule::pattern::pattern_matches;
use crate::scan::table::TableId;
use crate::scan::{Row, Scan, TableData};

/// The tables that patches are judged by.
pub const TABLES: [&str; 4] = ["hotfix", "os", "package", "update"];

/// What of an endpoint bears on patches.
#[derive(Clone, Debug, Default)]
pub struct Host {
    pub endpoint: String,
    /// Its label `value`: how much depends on it.
    pub value: Option<String>,
    pub groups: BTreeSet<String>,
    /// Rows of [`TABLES`], in any order.
    pub rows: Vec<Row>,
    /// The tables that were collected.
    pub collected: BTreeSet<TableId>,
    /// Those that count here and now.
    pub exemptions: Vec<Exemption>,
}

impl Host {
    pub fn of_scan(scan: &Scan) -> Host {
        let mut host = Host { endpoint: scan.endpoint.clone(), ..Host::default() };
        for table in TABLES.into_iter().filter_map(TableId::by_name) {
            if let Some(TableData::Rows(rows)) = scan.tables.get(&table) {
                host.collected.insert(table);
                host.rows.extend(rows.iter().cloned());
            }
        }
        host
    }

    pub fn has(&self, table: &str) -> bool {
        TableId::by_name(table).is_some_and(|t| self.collected.contains(&t))
    }

    pub fn os(&self) -> Option<&Row> {
        self.rows.iter().find(|r| r.table.name() == "os")
    }

    /// The table that decides most patches: installed updates for Windows, packages elsewhere.
    pub fn decisive(&self) -> &'static str {
        if self.os().is_some_and(|os| text(os, "family") == "windows") { "hotfix" } else { "package" }
    }

    pub fn is_undecided(&self) -> bool {
        !self.has(self.decisive())
    }
}

/// Whether a patch that is needed can be had here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Installable {
    /// The repositories of the endpoint offer everything that it takes.
    Yes,
    /// They do not.
    No,
    /// The endpoint did not tell what they offer, or it is nothing that comes from a repository.
    Unknown,
}

/// One patch at the endpoint.
#[derive(Debug)]
pub struct Stand {
    pub patch: PatchId,
    pub state: State,
    pub sum: Sum,
    /// Rows, by their place among those of the host, and what they say.
    pub said: Vec<(usize, Note)>,
    /// Place in the host's exemptions.
    pub exemption: Option<usize>,
    name: Name,
    definition: OnceCell<Option<Definition>>,
    rank: OnceCell<Option<Rank>>,
}

/// A thing that a row says is affected, and what mends it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    pub table: &'static str,
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub arch: String,
    pub installed: String,
    /// The version of the source, where that is what was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    /// The first version that has the fix; empty where none is known.
    pub fixed: String,
    pub says: Says,
    /// A later patch brings it along here.
    pub superseded: bool,
    /// The version that a repository offers, where it is new enough.
    pub offered: Option<String>,
    pub repository: Option<String>,
}

/// One patch at one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Here {
    #[serde(flatten)]
    pub brief: Brief,
    pub state: State,
    pub installable: Installable,
    pub packages: Vec<Place>,
    /// Id of the exemption by which it is exempt.
    pub exemption: Option<String>,
    /// Patches that are needed here too and bring it along.
    pub brought_by: Vec<Name>,
    /// Patches that it brings along.
    pub covers: Vec<Name>,
    /// The highest priority and band of it and of what it brings along: by what it is sorted.
    pub urgency: u8,
    pub urgency_band: Band,
}

/// All patches at one endpoint.
#[derive(Debug)]
pub struct Standing<'c> {
    pub catalog: &'c Catalog,
    pub host: Host,
    stands: BTreeMap<PatchId, Stand>,
    /// For each row what it says of all patches.
    by_row: Vec<Box<[Note]>>,
    covers: OnceCell<BTreeMap<PatchId, Vec<PatchId>>>,
}

impl<'c> Standing<'c> {
    /// Asks every row; patches that are there already are told from those that do not apply only if it is done `fully`.
    pub fn of(catalog: &'c Catalog, host: Host, fully: bool) -> Standing<'c> {
        let mut host = host;
        host.rows.retain(|r| TABLES.contains(&r.table.name()));
        host.rows.sort_by_cached_key(|r| (r.table.name(), r.canonical()));
        // Of several that mean a patch the oldest counts.
        host.exemptions.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        let ask = |row: &Row| if fully { catalog.ask_fully(row).into_boxed_slice() } else { catalog.ask(row) };
        let by_row: Vec<Box<[Note]>> = host.rows.iter().map(ask).collect();
        let mut standing = Standing { catalog, host, stands: BTreeMap::new(), by_row, covers: OnceCell::new() };
        for (at, notes) in standing.by_row.iter().enumerate() {
            for note in notes {
                if let Some(stand) = slot(&mut standing.stands, catalog, note.patch()) {
                    stand.sum.add(*note);
                    stand.said.push((at, *note));
                }
            }
        }
        for stand in standing.stands.values_mut() {
            stand.state = state(&standing.host, stand);
            if matches!(stand.state, State::Missing | State::Superseded) {
                stand.exemption = standing.host.exemptions.iter().position(|e| means(e, &stand.name.id));
                stand.state = stand.exemption.map_or(stand.state, |_| State::Exempt);
            }
        }
        standing
    }

    /// Every patch that a row says something of, in the order of the catalog.
    pub fn stands(&self) -> impl Iterator<Item = &Stand> {
        self.stands.values()
    }

    pub fn stand(&self, patch: PatchId) -> Option<&Stand> {
        self.stands.get(&patch)
    }

    pub fn state(&self, patch: PatchId) -> State {
        self.stands.get(&patch).map_or(State::NotApplicable, |s| s.state)
    }

    pub fn row(&self, at: usize) -> Option<&Row> {
        self.host.rows.get(at)
    }

    pub fn definition<'s>(&'s self, stand: &'s Stand) -> Option<&'s Definition> {
        stand.definition.get_or_init(|| self.catalog.definition(stand.patch)).as_ref()
    }

    /// Its rank, at what this endpoint is worth.
    pub fn rank<'s>(&'s self, stand: &'s Stand) -> Option<&'s Rank> {
        stand.rank.get_or_init(|| self.catalog.rank(stand.patch).map(|r| r.at(self.host.value.as_deref()))).as_ref()
    }

    /// The patches of these states that a filter lets through: the most urgent first, then by id.
    pub fn matching(&self, states: &[State], filter: &Filter) -> Vec<&Stand> {
        let wanted = |s: &&Stand| states.contains(&s.state) && filter.matches(&AtEndpoint { standing: self, stand: s });
        let mut out: Vec<&Stand> = self.stands().filter(wanted).collect();
        out.sort_by_cached_key(|s| self.order(s));
        out
    }

    /// By what pages and plans are sorted: the highest priority of it and of what it brings along, then KEV's date (none last), then the name.
    pub fn order<'s>(&'s self, stand: &'s Stand) -> (Reverse<u8>, (bool, &'s str), &'s Name) {
        let ranks = || self.with_covered(stand).filter_map(|s| self.rank(s));
        let due = ranks().filter_map(|r| r.due.as_deref()).min();
        (Reverse(ranks().map(|r| r.priority).max().unwrap_or(0)), (due.is_none(), due.unwrap_or("")), &stand.name)
    }

    /// How many patches are in each affected state.
    pub fn counts(&self) -> BTreeMap<&'static str, u32> {
        let mut out: BTreeMap<&'static str, u32> = State::ALL.into_iter().filter(|s| s.is_affected()).map(|s| (s.name(), 0)).collect();
        for stand in self.stands() {
            if let Some(count) = out.get_mut(stand.state.name()) {
                *count += 1;
            }
        }
        out
    }

    pub fn here(&self, stand: &Stand) -> Option<Here> {
        let (definition, rank) = (self.definition(stand)?, self.rank(stand)?);
        let packages = self.places(stand);
        Some(Here {
            brief: Brief::of(stand.name.clone(), definition, rank),
            state: stand.state,
            installable: self.installable(stand, &packages),
            packages,
            exemption: stand.exemption.and_then(|at| self.host.exemptions.get(at)).map(|e| e.id.clone()),
            brought_by: self.brought_by(stand),
            covers: self.with_covered(stand).skip(1).map(|s| s.name.clone()).collect(),
            urgency: self.order(stand).0.0,
            urgency_band: self.with_covered(stand).filter_map(|s| self.rank(s)).map(|r| r.band).max().unwrap_or(rank.band),
        })
    }

    /// What is affected, row by row.
    pub fn places(&self, stand: &Stand) -> Vec<Place> {
        let affected = stand.said.iter().filter(|(_, note)| !matches!(note.says(), Says::Has | Says::Offers));
        affected.filter_map(|(at, note)| self.place(stand, *at, *note)).collect()
    }

    fn place(&self, stand: &Stand, at: usize, note: Note) -> Option<Place> {
        let row = self.row(at)?;
        let found = self.definition(stand).and_then(|d| speaking(d, row, note.says()));
        let of_os = row.table.name() == "os";
        let (compared, fixed) = found.as_ref().map_or(("", ""), |(entry, version)| (version, mends(entry)));
        let installed = if of_os { compared } else { text(row, "version") };
        let offer = self.offer(stand, row);
        Some(Place {
            table: row.table.name(),
            name: text(row, "name").to_owned(),
            arch: text(row, "arch").to_owned(),
            installed: installed.to_owned(),
            source_version: Some(compared.to_owned()).filter(|v| !v.is_empty() && v != installed),
            fixed: fixed.to_owned(),
            says: note.says(),
            superseded: note.superseded(),
            offered: offer.map(|o| text(o, "version").to_owned()),
            repository: offer.map(|o| text(o, "repository").to_owned()),
        })
    }

    /// The row of `update` that brings this patch to the package of a row.
    fn offer(&self, stand: &Stand, row: &Row) -> Option<&Row> {
        let same = |offer: &&Row| {
            let (a, b) = (text(offer, "arch"), text(row, "arch"));
            text(offer, "name") == text(row, "name") && (a == b || a.is_empty() || b.is_empty())
        };
        let offers = stand.said.iter().filter(|(_, note)| note.says() == Says::Offers).filter_map(|(at, _)| self.row(*at));
        offers.into_iter().find(same)
    }

    fn installable(&self, stand: &Stand, packages: &[Place]) -> Installable {
        // What comes from a repository is packages; a KB comes from elsewhere.
        let packaged = packages.iter().any(|p| p.table == "package");
        if !self.host.has("update") || !packaged || !matches!(stand.state, State::Missing | State::Superseded | State::Exempt) {
            return Installable::Unknown;
        }
        // A package that stands beside an older one comes under another name, so that any offer counts.
        let lacking = packages.iter().filter(|p| p.says == Says::Lacks).all(|p| p.offered.is_some());
        if lacking && stand.sum.offered() { Installable::Yes } else { Installable::No }
    }

    /// The patches that bring a superseded one along: they speak of the same row, in the same feed, and nothing brings them along.
    pub fn brought_by(&self, stand: &Stand) -> Vec<Name> {
        let names: BTreeSet<&Name> = self.bringers(stand).iter().filter_map(|p| self.stands.get(p)).map(|s| &s.name).collect();
        names.into_iter().cloned().collect()
    }

    fn bringers(&self, stand: &Stand) -> BTreeSet<PatchId> {
        let mut out = BTreeSet::new();
        if !matches!(stand.state, State::Superseded | State::Exempt) {
            return out;
        }
        let Some(definition) = self.definition(stand) else { return out };
        let system = self.host.os().and_then(windows::product);
        for (at, note) in stand.said.iter().filter(|(_, n)| n.superseded()) {
            for other in self.by_row.get(*at).into_iter().flat_map(|notes| notes.iter()) {
                let needed = matches!(other.says(), Says::Lacks | Says::Wants | Says::Old) && !other.superseded();
                let Some(newer) = self.stands.get(&other.patch()).filter(|s| needed && s.name.feed == stand.name.feed) else { continue };
                let named = definition.is_replaced_by(&newer.name.id, system.as_deref());
                let there = matches!(newer.state, State::Missing | State::Exempt);
                if there && (named || self.is_later(stand, *note, newer, *other, *at)) {
                    out.insert(other.patch());
                }
            }
        }
        out
    }

    /// Whether what one patch asks of a package is later than what another does, in the same channel: then it has that too.
    fn is_later(&self, older: &Stand, note: Note, newer: &Stand, other: Note, at: usize) -> bool {
        let Some(row) = self.row(at).filter(|r| r.table.name() == "package") else { return false };
        let entry = |stand, says| self.definition(stand).and_then(|d| Some((d.kind, speaking(d, row, says)?.0)));
        let (Some((_, old)), Some((kind, new))) = (entry(older, note.says()), entry(newer, other.says())) else { return false };
        let later = old.order().is_some_and(|o| o.compare(&new.fixed, &old.fixed).is_gt());
        kind != Kind::Vulnerability && later && channel(old) == channel(new)
    }

    /// What each patch brings along here.
    fn covers(&self) -> &BTreeMap<PatchId, Vec<PatchId>> {
        self.covers.get_or_init(|| {
            let mut out: BTreeMap<PatchId, Vec<PatchId>> = BTreeMap::new();
            for stand in self.stands().filter(|s| s.state == State::Superseded) {
                self.bringers(stand).into_iter().for_each(|by| out.entry(by).or_default().push(stand.patch));
            }
            out
        })
    }

    /// A patch and what it brings along.
    fn with_covered<'s>(&'s self, stand: &'s Stand) -> impl Iterator<Item = &'s Stand> {
        let covered = self.covers().get(&stand.patch).into_iter().flatten().filter_map(|p| self.stands.get(p));
        std::iter::once(stand).chain(covered)
    }
}

pub(super) fn new_stand(name: Name, patch: PatchId) -> Stand {
    let (definition, rank) = Default::default();
    Stand { patch, state: State::NotApplicable, sum: Sum::default(), said: Vec::new(), exemption: None, name, definition, rank }
}

fn slot<'m>(stands: &'m mut BTreeMap<PatchId, Stand>, catalog: &Catalog, patch: PatchId) -> Option<&'m mut Stand> {
    use std::collections::btree_map::Entry::{Occupied, Vacant};
    match stands.entry(patch) {
        Occupied(there) => Some(there.into_mut()),
        Vacant(free) => Some(free.insert(new_stand(Name::of(catalog, patch)?, patch))),
    }
}

/// The sum's state, and what a sum cannot tell: whether what decides was collected, and what is there already.
fn state(host: &Host, stand: &Stand) -> State {
    let says = |says: Says| stand.said.iter().filter(move |(_, n)| n.says() == says);
    let table = |at: &usize| host.rows.get(*at).map_or("", |r| r.table.name());
    match stand.sum.state() {
        // A hotfix stands for every patch that it replaces, also for those that were never meant for this system.
        State::NotApplicable if says(Says::Has).any(|(at, _)| table(at) != "hotfix") => State::Installed,
        State::NotApplicable if host.is_undecided() => State::NotChecked,
        // What is wanted is not missing while nobody looked for it; what a row of its own lacks is.
        State::Missing | State::Superseded if host.is_undecided() && says(Says::Lacks).next().is_none() => State::NotChecked,
        state => state,
    }
}

/// What is asked of an endpoint to get a fix: the fixes of another channel are others.
fn channel(entry: &Entry) -> &str {
    match &entry.target {
        Target::Package(package) => package.platform.as_ref().map_or("", |p| &p.channel),
        Target::Windows(_) | Target::Product(_) => "",
    }
}

/// The first build or version that has the fix.
pub(super) fn mends(entry: &Entry) -> &str {
    if entry.build.is_empty() { &entry.fixed } else { &entry.build }
}

/// A column as text; empty where it is absent.
fn text<'r>(row: &'r Row, column: &str) -> &'r str {
    row.get(column).as_str().unwrap_or("")
}

fn means(exemption: &Exemption, patch: &str) -> bool {
    exemption.patches.iter().any(|p| pattern_matches(p, patch))
}

/// A patch at an endpoint, as a filter looks at it.
struct AtEndpoint<'s, 'c> {
    standing: &'s Standing<'c>,
    stand: &'s Stand,
}

impl Subject for AtEndpoint<'_, '_> {
    fn id(&self) -> &str {
        &self.stand.name.id
    }

    fn feed(&self) -> &str {
        &self.stand.name.feed
    }

    fn rank(&self) -> Option<&Rank> {
        self.standing.rank(self.stand)
    }

    fn definition(&self) -> Option<&Definition> {
        self.standing.definition(self.stand)
    }

    fn is_in(&self, state: State) -> bool {
        self.stand.state == state
    }

    fn is_superseded(&self) -> bool {
        self.stand.state == State::Superseded
    }

    fn is_installable(&self) -> bool {
        let places = self.standing.places(self.stand);
        self.standing.installable(self.stand, &places) == Installable::Yes
    }

    fn is_of_group(&self, group: &str) -> bool {
        self.standing.host.groups.contains(group)
    }
}

impl Stand {
    pub fn name(&self) -> &Name {
        &self.name
    }
}
