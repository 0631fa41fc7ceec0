//! What turned at an endpoint: an upload's rows in, postures, totals and one event out. And everything from the start, for a new catalog.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::{AlertCause, Counted, Counts, Ground, Posture, Tally, Weight};
use crate::fleet::rows::RowId;
use crate::fleet::sums::patches_of;
use crate::fleet::{Endpoint, EndpointId, Held, Tables};
use crate::history::Stood;
use crate::history::record::COLLECTED;
use crate::patch::stand::{Sum, sums};
use crate::patch::{PatchId, State};
use crate::scan::table::TableId;
use crate::shard::history::{Own, Standing};
use crate::shard::{Applied, Shard};

/// Patches that an event names of each state; the counts are of all.
const NAMED_MAX: usize = 200;

/// A patch whose state turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) patch: PatchId,
    pub(super) from: State,
    pub(super) to: State,
}

/// How the patches stood that a change can turn.
#[derive(Debug)]
pub(in crate::shard) struct Before {
    /// Sorted.
    patches: Vec<PatchId>,
    /// Of each of them.
    sums: Vec<Sum>,
    states: Vec<State>,
    /// An endpoint that held nothing.
    first: bool,
}

impl Shard {
    /// Before the rows of an endpoint change: the patches that those which come or go note, and how they stand now. Others cannot turn, unless it turns what was
    /// collected at all.
    pub(in crate::shard) fn before_turn(
        &mut self,
        before: Option<&Held>,
        at: EndpointId,
        tables: &Tables,
        added: &[RowId],
        removed: &[RowId],
    ) -> Before {
        let os = TableId::by_name("os");
        let touched = added.iter().chain(removed);
        let decides = before.is_some_and(|h| *h.tables != *tables) || touched.clone().any(|r| self.fleet.rows.table(*r) == os);
        let mut patches = patches_of(&self.fleet.rows, touched);
        self.weigh(&patches);
        if let Some(held) = before.filter(|_| decides) {
            patches.extend(self.fleet.sums(held).into_iter().map(|(p, _)| p));
            patches.sort_unstable();
            patches.dedup();
        }
        let (sums, states) = match self.ground(at) {
            Some(ground) => {
                let sums = ground.noted.sums_of(ground.held, &patches);
                let states = ground.states_by(&patches, &sums);
                (sums, states)
            }
            None => (Vec::new(), vec![State::NotApplicable; patches.len()]),
        };
        Before { patches, sums, states, first: before.is_none() }
    }

    /// After they changed.
    pub(in crate::shard) fn after_turn(
        &mut self,
        at: EndpointId,
        id: &str,
        before: Before,
        (added, removed): (&[RowId], &[RowId]),
        now_ms: i64,
        out: &mut Applied,
    ) {
        let Some(ground) = self.ground_anew(at) else { return };
        let sums = if before.first {
            ground.noted.sums_of(ground.held, &before.patches)
        } else {
            let mut sums = before.sums;
            ground.noted.step(&mut sums, &before.patches, removed, added);
            // INVARIANT: what was, less what went, and what came, is what is.
            debug_assert_eq!(sums, ground.noted.sums_of(ground.held, &before.patches));
            sums
        };
        let (not_collected, now) = (ground.not_collected, ground.states_by(&before.patches, &sums));
        let turns: Vec<Turn> = before
            .patches
            .iter()
            .zip(before.states.iter().zip(now))
            .filter(|(_, (from, to))| *from != to)
            .map(|(patch, (from, to))| Turn { patch: *patch, from: *from, to })
            .collect();
        if !before.first {
            self.record_patches(at, &turns, not_collected, out);
        }
        self.take_turns(at, &turns, not_collected, out);
        if !turns.is_empty() && !before.first {
            self.tell_turns(at, id, &turns, added, now_ms, out);
        }
        self.end_alerts(AlertCause::Deployed, now_ms, out);
    }

    /// INVARIANT: one event an upload, whatever turned; names are bounded.
    fn tell_turns(&mut self, at: EndpointId, id: &str, turns: &[Turn], added: &[RowId], now_ms: i64, out: &mut Applied) {
        let silent: Vec<PatchId> = turns.iter().filter(|t| t.to == State::NotApplicable).map(|t| t.patch).collect();
        // What came says whether a patch that no row notes any more was installed, or what it was for went.
        let installed = if silent.is_empty() { BTreeSet::new() } else { self.having_lately(added, &silent) };
        let mended = |t: &&Turn| {
            matches!(t.from, State::Missing | State::PendingReboot) && (t.to == State::Installed || installed.contains(&t.patch))
        };
        let mended: Vec<PatchId> = turns.iter().filter(mended).map(|t| t.patch).collect();
        self.trend_patched(at, &mended, now_ms);
        let mut names: BTreeMap<State, BTreeSet<&str>> = BTreeMap::new();
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for turn in turns {
            let state = if installed.contains(&turn.patch) { State::Installed } else { turn.to };
            // What was never affected and is not now is no news, such as an offer of what is installed.
            if !turn.from.is_affected() && !turn.to.is_affected() && turn.from != State::NotChecked && turn.to != State::NotChecked {
                continue;
            }
            *counts.entry(state.name()).or_default() += 1;
            let named = names.entry(state).or_default();
            if named.len() < NAMED_MAX
                && let Some((name, _)) = self.catalog.id(turn.patch)
            {
                named.insert(name);
            }
        }
        if counts.is_empty() {
            return;
        }
        let held = self.fleet.get(at).and_then(|e| e.held.as_ref());
        let mut data: Map<String, Value> = names.into_iter().map(|(state, ids)| (state.name().to_owned(), json!(ids))).collect();
        data.insert("scan".to_owned(), json!(held.map(|h| h.digest.to_string())));
        data.insert("sequence".to_owned(), json!(held.map(|h| h.sequence)));
        data.insert("counts".to_owned(), json!(counts));
        data.insert("posture".to_owned(), shown(&self.posture(at)));
        self.event("patches.changed", Some(id), Value::Object(data), now_ms, true, out);
    }

    /// Takes turns into the posture, the totals and the counts of alerts.
    pub(super) fn take_turns(&mut self, at: EndpointId, turns: &[Turn], not_collected: bool, out: &mut Applied) {
        let mut posture = self.posture(at);
        for turn in turns {
            let weight = self.weight(turn.patch);
            posture.step(turn.from, weight, false);
            posture.step(turn.to, weight, true);
            self.watch_turn(turn, out);
        }
        posture.not_collected = not_collected;
        self.trend_posture(at, &self.posture(at), &posture);
        self.set_posture(at, posture);
    }

    /// Writes turns at one endpoint into history, before the posture takes them.
    pub(super) fn record_patches(&mut self, at: EndpointId, turns: &[Turn], not_collected: bool, out: &mut Applied) {
        let mut stood = Vec::with_capacity(turns.len());
        for turn in turns {
            let Weight { level, exploited } = self.weight(turn.patch);
            let (from, to) = (Stood::new(turn.from, level, exploited), Stood::new(turn.to, level, exploited));
            if from != to {
                let number = self.history.patch_of(turn.patch, &self.catalog, &mut out.batch);
                stood.extend(number.map(|number| (number, from, to)));
            }
        }
        let collected = |is: bool| crate::history::record::not_collected(is);
        stood.push((COLLECTED, collected(self.posture(at).not_collected), collected(not_collected)));
        self.record_stood(at, &stood);
    }

    /// How the patches stand that an endpoint's rows note.
    pub(in crate::shard) fn all_stood(&self, at: EndpointId) -> Vec<(PatchId, Stood)> {
        let weighed = |(patch, state): (PatchId, State)| {
            let Weight { level, exploited } = self.weight(patch);
            (patch, Stood::new(state, level, exploited))
        };
        self.all_states(at).into_iter().map(weighed).collect()
    }

    /// How patches stand over the fleet now, by the numbers of history.
    pub(in crate::shard) fn standing(&mut self, out: &mut Applied) -> Standing {
        let mut numbers: BTreeMap<PatchId, u32> = BTreeMap::new();
        for patch in self.fleet.noted() {
            if let Some((name, feed)) = self.catalog.id(patch) {
                numbers.insert(patch, self.history.patch(feed, name, &mut out.batch));
            }
        }
        let numbered = |(patch, state): (PatchId, State)| {
            let Weight { level, exploited } = self.weight(patch);
            Some((*numbers.get(&patch)?, Stood::new(state, level, exploited)))
        };
        let mut standing = Standing::default();
        for (id, image) in self.fleet.images.iter() {
            let states = sums(image.notes().iter()).into_iter().map(|(p, sum)| (p, sum.state()));
            standing.images.insert(id, states.filter_map(numbered).filter(|(_, s)| *s != Stood::NOTHING).collect());
        }
        for (at, endpoint) in self.fleet.iter() {
            let Some(held) = &endpoint.held else { continue };
            let ground = Ground::new(self, at, endpoint, held);
            let all = ground.is_special();
            let states = if all {
                ground.states()
            } else {
                let own = ground.noted.deviating(held);
                let states = ground.states_of(&own);
                own.into_iter().zip(states).collect()
            };
            let mut patches: Vec<(u32, Stood)> = states.into_iter().filter_map(numbered).collect();
            if ground.not_collected {
                patches.push((COLLECTED, crate::history::record::not_collected(true)));
            }
            patches.sort_unstable();
            standing.endpoints.insert(at.0, Own { image: (!all).then_some(held.image), patches });
        }
        standing
    }

    /// Writes into history what turned since, for all endpoints.
    pub(in crate::shard) fn record_standing(&mut self, before: &Standing, out: &mut Applied) {
        let now = self.standing(out);
        for ((patch, from, to), endpoints) in before.turns(&now) {
            self.history.patch_turn_of(patch, from, to, &endpoints);
        }
    }

    pub(super) fn set_posture(&mut self, at: EndpointId, posture: Posture) {
        let index = at.0 as usize;
        let patches = &mut self.patches;
        if patches.postures.len() <= index {
            patches.postures.resize(index + 1, Posture::default());
        }
        patches.totals.step(&patches.postures[index], false);
        patches.totals.step(&posture, true);
        patches.postures[index] = posture;
    }

    /// States of all patches that an endpoint's rows note, for [`Shard::turn_all`].
    pub(in crate::shard) fn all_states(&self, at: EndpointId) -> Vec<(PatchId, State)> {
        self.ground(at).map(|g| g.states()).unwrap_or_default()
    }

    /// Something else than its rows changed at an endpoint, or it is going: holds all its patches against how they stood.
    pub(in crate::shard) fn turn_all(
        &mut self,
        at: EndpointId,
        before: Vec<(PatchId, State)>,
        cause: AlertCause,
        now_ms: i64,
        out: &mut Applied,
    ) {
        let (now, not_collected) = self.ground_anew(at).map_or_else(|| (Vec::new(), false), |g| (g.states(), g.not_collected));
        let mut both: BTreeMap<PatchId, (State, State)> =
            before.into_iter().map(|(patch, from)| (patch, (from, State::NotApplicable))).collect();
        now.into_iter().for_each(|(patch, to)| both.entry(patch).or_insert((State::NotApplicable, to)).1 = to);
        let turns: Vec<Turn> =
            both.into_iter().filter(|(_, (from, to))| from != to).map(|(patch, (from, to))| Turn { patch, from, to }).collect();
        // One that goes is written down as a whole.
        if self.fleet.get(at).is_some() {
            self.record_patches(at, &turns, not_collected, out);
        }
        self.take_turns(at, &turns, not_collected, out);
        self.end_alerts(cause, now_ms, out);
    }

    pub(super) fn weight(&self, patch: PatchId) -> Weight {
        self.patches.weights.get(&patch).copied().unwrap_or_else(|| Weight::of(&self.catalog, patch))
    }

    fn weigh(&mut self, patches: &[PatchId]) {
        for patch in patches {
            self.patches.weights.entry(*patch).or_insert_with(|| Weight::of(&self.catalog, *patch));
        }
    }

    /// Counts of some patches over the fleet, in parallel: for the writer only, which has threads of its own then.
    pub(super) fn tally(&self, patches: Vec<PatchId>) -> Vec<Counted> {
        let tally = Tally::new(self, patches);
        let all: Vec<(EndpointId, &Endpoint)> = self.fleet.iter().collect();
        let take = |mut counts: Counts, (at, endpoint): (EndpointId, &Endpoint)| {
            tally.take(at, endpoint, &mut counts);
            counts
        };
        let counts = all.into_par_iter().fold(|| tally.empty(), take).reduce(|| tally.empty(), Tally::merge);
        tally.add_images(counts)
    }
}

/// A posture as events and the API show it.
pub(in crate::shard) fn shown(posture: &Posture) -> Value {
    let [none, low, medium, high, critical] = posture.missing;
    json!({
        "missing": posture.missing_total(),
        "missing_by_severity": {"critical": critical, "high": high, "medium": medium, "low": low, "none": none},
        "missing_exploited": posture.missing_exploited,
        "superseded": posture.superseded,
        "exempt": posture.exempt,
        "pending_reboot": posture.pending_reboot,
        "no_fix": posture.no_fix,
        "will_not_fix": posture.will_not_fix,
        "under_investigation": posture.under_investigation,
        "not_collected": posture.not_collected,
    })
}
