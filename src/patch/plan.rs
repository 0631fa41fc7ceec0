//! What to do at an endpoint, in order: its patches as they stand in, steps out.
//!
//! The minimum standard comes first: a restart that is pending, service packs, what installs the others. Then by rank. What a later patch brings along is no step of
//! its own, and lends that patch its priority; patches that upgrade the same package are one step, so that each package is upgraded once. What is not to be
//! installed comes last, with what waits for it.

mod arrange;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;

use super::define::Kind;
use super::explain::speaking;
use super::rank::Band;
use super::report::{Brief, Here, Installable, Name, Place, Stand, Standing};
use super::{Says, State};
use crate::feed::model::Restart;
use crate::scan::row::Value;
use crate::version::ecosystem::Order;
use arrange::{Draft, Need, arrange};

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Restart,
    ServicePack,
    ServicingStack,
    Update,
}

/// A patch that comes with a step without being asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Covered {
    #[serde(flatten)]
    pub name: Name,
    pub priority: u8,
    pub title: Box<str>,
}

/// A package of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Upgrade {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// The oldest version that is installed.
    pub installed: String,
    /// At least this is needed; empty where the feed does not say.
    pub target: String,
    /// It is installed beside the old one (kernels), not in its place.
    pub beside: bool,
    /// What a repository offers, where that is enough for every patch of the step.
    pub offered: Option<String>,
    pub repository: Option<String>,
}

/// Why a step cannot be taken as it is, or not yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Block {
    /// Somebody decided that it is not installed here.
    Exempt { patch: Box<str>, exemption: String, why: String, approver: String },
    /// Another step comes first.
    Prerequisite { step: usize, patches: Vec<Box<str>> },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// From 1.
    pub step: usize,
    pub what: What,
    /// The highest of its patches and of those that it covers.
    pub priority: u8,
    pub band: Band,
    pub patches: Vec<Brief>,
    pub covers: Vec<Covered>,
    pub packages: Vec<Upgrade>,
    pub kbs: Vec<Box<str>>,
    /// Whether a restart is needed afterwards.
    pub restart: Option<Restart>,
    pub installable: Installable,
    pub blocked_by: Vec<Block>,
    /// Patches that are exempt here and upgrade the same packages: they come along all the same.
    pub also_brings: Vec<Name>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub endpoint: String,
    pub value: Option<String>,
    /// The system says that it waits for a restart.
    pub reboot_required: bool,
    /// The scan lacks the table that decides most patches: that there are no steps says nothing then.
    pub not_collected: bool,
    pub steps: Vec<Step>,
    /// Affected, and nothing to install.
    pub no_fix: Vec<Here>,
}

/// The plan of an endpoint.
pub fn plan(standing: &Standing<'_>) -> Plan {
    let in_states = |states: &[State]| {
        let mut stands: Vec<&Stand> = standing.stands().filter(|s| states.contains(&s.state)).collect();
        stands.sort_by_cached_key(|s| standing.order(s));
        stands
    };
    let reboot_required = standing.host.os().is_some_and(|os| *os.get("reboot_required") == Value::Bool(true));
    let mut steps = Vec::new();
    let pending = in_states(&[State::PendingReboot]);
    if reboot_required || !pending.is_empty() {
        steps.push(restart(standing, &pending));
    }
    let first = steps.len() + 1;
    let stands = in_states(&[State::Missing, State::Superseded, State::Exempt]);
    let needs: Vec<Need> = stands.iter().map(|s| need(standing, s)).collect();
    let drafts = arrange(&needs);
    steps.extend(drafts.iter().enumerate().map(|(at, draft)| step(standing, &stands, &drafts, draft, at + first, first)));
    let no_fix = in_states(&[State::NoFix, State::WillNotFix, State::UnderInvestigation]);
    Plan {
        endpoint: standing.host.endpoint.clone(),
        value: standing.host.value.clone(),
        reboot_required,
        not_collected: standing.host.is_undecided(),
        steps,
        no_fix: no_fix.iter().filter_map(|s| standing.here(s)).collect(),
    }
}

fn need(standing: &Standing<'_>, stand: &Stand) -> Need {
    let places = standing.places(stand);
    Need {
        name: stand.name().clone(),
        kind: standing.definition(stand).map_or(Kind::Update, |d| d.kind),
        priority: standing.rank(stand).map_or(0, |r| r.priority),
        due: standing.rank(stand).and_then(|r| r.due.clone()),
        packages: places.iter().filter(|p| upgrades(p)).map(|p| (p.name.clone(), p.arch.clone())).collect(),
        brought_by: if stand.state == State::Superseded { standing.brought_by(stand) } else { Vec::new() },
        exempt: stand.state == State::Exempt,
    }
}

fn upgrades(place: &Place) -> bool {
    place.table == "package" && matches!(place.says, Says::Lacks | Says::Wants)
}

fn restart(standing: &Standing<'_>, pending: &[&Stand]) -> Step {
    let patches: Vec<Brief> = pending.iter().filter_map(|s| brief(standing, s)).collect();
    Step {
        step: 1,
        what: What::Restart,
        priority: patches.iter().map(|p| p.priority).max().unwrap_or(0),
        band: patches.iter().map(|p| p.band).max().unwrap_or(Band::Routine),
        patches,
        covers: Vec::new(),
        packages: Vec::new(),
        kbs: Vec::new(),
        restart: Some(Restart::Yes),
        installable: Installable::Yes,
        blocked_by: Vec::new(),
        also_brings: Vec::new(),
    }
}

fn brief(standing: &Standing<'_>, stand: &Stand) -> Option<Brief> {
    Some(Brief::of(stand.name().clone(), standing.definition(stand)?, standing.rank(stand)?))
}

fn step(standing: &Standing<'_>, stands: &[&Stand], drafts: &[Draft], draft: &Draft, number: usize, first: usize) -> Step {
    let of = |indexes: &[usize]| indexes.iter().filter_map(|at| stands.get(*at).copied()).collect::<Vec<&Stand>>();
    let (own, covered) = (of(&draft.needs), of(&draft.covers));
    let patches: Vec<Brief> = own.iter().filter_map(|s| brief(standing, s)).collect();
    let covers: Vec<Brief> = covered.iter().filter_map(|s| brief(standing, s)).collect();
    let packages = packages(standing, &own);
    let needs_restart =
        own.iter().any(|s| standing.places(s).iter().any(|p| matches!(p.says, Says::Old | Says::Wants) && p.table == "package"))
            || own.iter().any(|s| s.said.iter().any(|(_, n)| n.says() == Says::Old));
    let said = patches.iter().chain(&covers).filter_map(|p| p.restart).max();
    Step {
        step: number,
        what: draft.what,
        priority: draft.priority,
        band: patches.iter().chain(&covers).map(|p| p.band).max().unwrap_or(Band::Routine),
        kbs: patches.iter().filter(|p| p.name.id.starts_with("KB")).map(|p| p.name.id.clone()).collect(),
        restart: if needs_restart { Some(Restart::Yes) } else { said },
        installable: installable(standing, &own, &packages),
        blocked_by: blocks(standing, &own, drafts, draft, first, stands),
        also_brings: of(&draft.also_brings).iter().map(|s| s.name().clone()).collect(),
        covers: covers.into_iter().map(|b| Covered { name: b.name, priority: b.priority, title: b.title }).collect(),
        patches,
        packages,
    }
}

/// The packages of a step, each once, at the highest version that any of its patches asks for.
fn packages(standing: &Standing<'_>, own: &[&Stand]) -> Vec<Upgrade> {
    let mut out: BTreeMap<(String, String), (Upgrade, Option<Order>)> = BTreeMap::new();
    for stand in own {
        let scheme = |place: &Place| {
            let rows = stand.said.iter().filter_map(|(at, note)| Some((standing.row(*at)?, note)));
            let mut of_place = rows.filter(|(row, _)| row.get("name").as_str() == Some(&*place.name));
            let (row, note) = of_place.next()?;
            speaking(standing.definition(stand)?, row, note.says())?.0.order()
        };
        for place in standing.places(stand).into_iter().filter(upgrades) {
            let scheme = scheme(&place);
            let upgrade = Upgrade {
                name: place.name.clone(),
                arch: place.arch.clone(),
                installed: place.installed,
                target: place.fixed,
                beside: place.says == Says::Wants,
                offered: place.offered,
                repository: place.repository,
            };
            match out.get_mut(&(place.name.clone(), place.arch.clone())) {
                None => drop(out.insert((place.name, place.arch), (upgrade, scheme))),
                Some((there, known)) => {
                    let scheme = scheme.or(*known);
                    if older(scheme, &there.target, &upgrade.target) {
                        there.target = upgrade.target;
                    }
                    if older(scheme, &upgrade.installed, &there.installed) {
                        there.installed = upgrade.installed;
                    }
                    // What is offered has to do for all.
                    if upgrade.offered.is_none() {
                        (there.offered, there.repository) = (None, None);
                    }
                }
            }
        }
    }
    out.into_values().map(|(upgrade, _)| upgrade).collect()
}

fn older(scheme: Option<Order>, a: &str, b: &str) -> bool {
    match scheme {
        _ if a.is_empty() || b.is_empty() => a.is_empty() && !b.is_empty(),
        Some(order) => order.compare(a, b) == Ordering::Less,
        None => false,
    }
}

fn installable(standing: &Standing<'_>, own: &[&Stand], packages: &[Upgrade]) -> Installable {
    let each: Vec<Installable> = own.iter().filter_map(|s| standing.here(s)).map(|h| h.installable).collect();
    let offered = packages.iter().all(|p| p.offered.is_some() || p.beside);
    match each.iter().max() {
        Some(Installable::Yes) if !offered => Installable::No,
        Some(worst) => *worst,
        None => Installable::Unknown,
    }
}

fn blocks(standing: &Standing<'_>, own: &[&Stand], drafts: &[Draft], draft: &Draft, first: usize, stands: &[&Stand]) -> Vec<Block> {
    let exempt = own.iter().filter_map(|s| {
        let e = standing.host.exemptions.get(s.exemption?)?;
        let (why, approver) = (e.reason.clone(), e.approver.clone());
        Some(Block::Exempt { patch: s.name().id.clone(), exemption: e.id.clone(), why, approver })
    });
    let before = draft.after.iter().filter_map(|at| {
        let patches = drafts.get(*at)?.needs.iter().filter_map(|n| stands.get(*n)).map(|s| s.name().id.clone()).collect();
        Some(Block::Prerequisite { step: at + first, patches })
    });
    exempt.chain(before).collect()
}
