//! The same answers without images, sums or anything kept: every row of an endpoint is asked again, and everything is added up from the start.

use std::collections::BTreeMap;

use muster::feed::model::Level;
use muster::fleet::Endpoint;
use muster::limits::Limits;
use muster::patch::list::{Exemption, Scope};
use muster::patch::{Note, PatchId, Says, State};
use muster::policy::Policy;
use muster::scan::Scan;
use muster::shard::{PatchTotals, Posture, Shard};

use super::table;

/// What the definition says of one patch at an endpoint: before people decided, and after; and who decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stood {
    pub(super) raw: State,
    pub(super) state: State,
    pub(super) exemption: Option<String>,
    pub(super) offered: Option<bool>,
}

pub(super) struct Endpointed {
    pub(super) stands: BTreeMap<PatchId, Stood>,
    pub(super) not_collected: bool,
}

fn not_collected(scan: &Scan) -> bool {
    let windows = scan.rows(table("os")).iter().any(|r| r.get("family").as_str() == Some("windows"));
    let collected = |name: &str| matches!(scan.tables.get(&table(name)), Some(muster::scan::TableData::Rows(_)));
    if windows { !collected("hotfix") } else { !collected("package") }
}

/// By the words of `patch::stand`, written a second time.
fn state(notes: &[Note], not_collected: bool) -> State {
    let any = |wanted: &[Says]| notes.iter().any(|n| wanted.contains(&n.says()));
    let top = |wanted: &[Says]| notes.iter().any(|n| wanted.contains(&n.says()) && !n.superseded());
    let has = any(&[Says::Has]);
    let needed: &[Says] = if has { &[Says::Lacks] } else { &[Says::Lacks, Says::Wants, Says::Old] };
    if any(needed) {
        if not_collected && !any(&[Says::Lacks]) {
            return State::NotChecked;
        }
        return if top(needed) { State::Missing } else { State::Superseded };
    }
    for (says, state) in [
        (Says::Old, State::PendingReboot),
        (Says::NoFix, State::NoFix),
        (Says::WillNotFix, State::WillNotFix),
        (Says::Investigating, State::UnderInvestigation),
        (Says::Wants, State::Installed),
    ] {
        if any(&[says]) {
            return state;
        }
    }
    if not_collected { State::NotChecked } else { State::NotApplicable }
}

fn exempts(e: &Exemption, patch: &str, endpoint: &Endpoint, policy: &Policy, now_ms: i64) -> bool {
    let scoped = match &e.scope {
        Scope::Endpoint(id) => **id == *endpoint.id,
        Scope::Group(name) => policy.groups.iter().any(|g| g.name == *name && g.holds(endpoint)),
        Scope::Everywhere => true,
    };
    let named = e.patches.iter().any(|p| p == patch || p.strip_suffix('*').is_some_and(|start| patch.starts_with(start)));
    scoped && named && e.expires_ms.is_none_or(|at| at > now_ms)
}

/// `ticked_ms`: when time was last looked at.
pub(super) fn endpoint(shard: &Shard, endpoint: &Endpoint, ticked_ms: i64) -> Endpointed {
    let scan = shard.fleet.scan_of(endpoint, &Limits::default());
    let not_collected = not_collected(&scan);
    let mut notes: BTreeMap<PatchId, Vec<Note>> = BTreeMap::new();
    for name in ["os", "package", "update", "hotfix"] {
        for row in scan.rows(table(name)) {
            shard.catalog.ask(row).iter().for_each(|n| notes.entry(n.patch()).or_default().push(*n));
        }
    }
    let offers = scan.tables.contains_key(&table("update"));
    let stands = notes.into_iter().map(|(patch, notes)| {
        let raw = state(&notes, not_collected);
        let (id, _) = shard.catalog.id(patch).unwrap();
        let by = shard.decisions.exemptions.values().filter(|e| exempts(e, id, endpoint, &shard.policy.policy, ticked_ms));
        let by = by.min_by_key(|e| (e.created_ms, &e.id)).filter(|_| matches!(raw, State::Missing | State::Superseded));
        let offered = offers.then(|| notes.iter().any(|n| n.says() == Says::Offers));
        let state = if by.is_some() { State::Exempt } else { raw };
        (patch, Stood { raw, state, exemption: by.map(|e| e.id.clone()), offered })
    });
    Endpointed { stands: stands.collect(), not_collected }
}

pub(super) fn posture(shard: &Shard, of: &Endpointed) -> Posture {
    let mut out = Posture { not_collected: of.not_collected, ..Posture::default() };
    for (patch, stood) in &of.stands {
        let rank = shard.catalog.rank(*patch).unwrap();
        match stood.state {
            State::Missing => {
                out.missing[Level::ALL.iter().position(|l| *l == rank.level).unwrap()] += 1;
                out.missing_exploited += u32::from(rank.exploited);
            }
            State::Superseded => out.superseded += 1,
            State::Exempt => out.exempt += 1,
            State::PendingReboot => out.pending_reboot += 1,
            State::NoFix => out.no_fix += 1,
            State::WillNotFix => out.will_not_fix += 1,
            State::UnderInvestigation => out.under_investigation += 1,
            State::NotApplicable | State::Installed | State::NotChecked => {}
        }
    }
    out
}

/// Everything that the shard says of patches, held against this.
pub(crate) fn check(shard: &Shard, ticked_ms: i64) {
    let mut totals = PatchTotals::default();
    let mut counts: BTreeMap<PatchId, BTreeMap<State, u32>> = BTreeMap::new();
    let mut places: BTreeMap<PatchId, Vec<(String, State)>> = BTreeMap::new();
    for (at, of) in shard.fleet.iter().filter(|(_, e)| e.held.is_some()) {
        let defined = endpoint(shard, of, ticked_ms);
        let got: BTreeMap<PatchId, Stood> = shard
            .patch_states(at)
            .into_iter()
            .map(|s| (s.patch, Stood { raw: s.without_exemption, state: s.state, exemption: s.exemption, offered: s.offered }))
            .collect();
        assert_eq!(got, defined.stands, "{}", of.id);
        let posture = posture(shard, &defined);
        assert_eq!(shard.posture(at), posture, "{}", of.id);
        assert_eq!(shard.not_collected(at), defined.not_collected);
        for (total, n) in totals.missing.iter_mut().zip(posture.missing) {
            *total += u64::from(n);
        }
        PatchTotals::STATES.iter().for_each(|s| totals.states[*s as usize] += u64::from(posture.count_of(*s)));
        totals.endpoints_missing_exploited += u64::from(posture.missing_exploited > 0);
        totals.endpoints_not_collected += u64::from(posture.not_collected);
        for patch in shard.catalog.patches() {
            let silent = if defined.not_collected { State::NotChecked } else { State::NotApplicable };
            let state = defined.stands.get(&patch).map_or(silent, |s| s.state);
            if state != State::NotApplicable {
                *counts.entry(patch).or_default().entry(state).or_default() += 1;
                places.entry(patch).or_default().push((of.id.to_string(), state));
            }
        }
    }
    assert_eq!(*shard.patch_totals(), totals);
    for patch in shard.catalog.patches() {
        assert_eq!(shard.patch_counts(patch), counts.remove(&patch).unwrap_or_default());
        let named = |(at, state)| (shard.fleet.get(at).unwrap().id.to_string(), state);
        let all: Vec<(String, State)> = shard.patch_endpoints(patch, "").map(named).collect();
        let expected = places.remove(&patch).unwrap_or_default();
        assert_eq!(all, expected);
        if let Some((first, _)) = expected.first() {
            assert_eq!(shard.patch_endpoints(patch, first).map(named).collect::<Vec<_>>(), expected[1..]);
        }
    }
    for (alert, missing) in shard.alerts() {
        let patch = super::one(&shard.catalog, &alert.patch);
        assert_eq!(missing, shard.patch_counts(patch).get(&State::Missing).copied().unwrap_or(0), "{}", alert.patch);
        assert!(missing > 0 || alert.unclear, "{} is missing nowhere, and is still open", alert.patch);
    }
}
