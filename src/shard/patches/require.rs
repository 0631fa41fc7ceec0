//! Patches that mandatory baselines require, by name or by list: each is an item such as a package is, and what an endpoint lacks becomes a task.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ground, PatchId};
use crate::deploy::{Action, PatchAction, PatchPackage};
use crate::feed::model::{FixState, Target};
use crate::fleet::EndpointId;
use crate::fleet::rows::parse;
use crate::fleet::sums::about;
use crate::judge::Verdict;
use crate::patch::define::{Definition, Kind};
use crate::patch::{Says, State};
use crate::scan::Row;
use crate::scan::table::TableId;
use crate::shard::Shard;

/// A patch that is required of an endpoint.
#[derive(Clone, Debug)]
pub(in crate::shard) struct Required {
    /// `patch:DSA-5532-1`
    pub(in crate::shard) item: String,
    pub(in crate::shard) patch: String,
    pub(in crate::shard) places: Vec<PatchId>,
    pub(in crate::shard) baselines: Vec<String>,
    pub(in crate::shard) verdict: Verdict,
}

impl Shard {
    /// Finds what the baselines name in the catalog: after a new policy, catalog or list.
    pub(in crate::shard) fn resolve_items(&mut self) {
        let of = |b: &crate::policy::Baseline| {
            let listed = b.lists.iter().filter_map(|l| self.decisions.list(l)).flat_map(|l| &l.patches);
            let ids: BTreeSet<&String> = b.patches.iter().chain(listed).collect();
            ids.into_iter().map(|id| (id.clone(), self.catalog.find(id))).collect()
        };
        self.patches.items = self.policy.policy.baselines.iter().map(of).collect();
    }

    pub(in crate::shard) fn requires_patches(&self, at: EndpointId) -> bool {
        let Some(endpoint) = self.fleet.get(at) else { return false };
        let policy = &self.policy.policy;
        policy.baselines.iter().zip(&self.patches.items).any(|(b, items)| !items.is_empty() && policy.is_about(b, endpoint))
    }

    /// What the baselines of an endpoint's groups require of patches, held against how they stand, by patch.
    pub(in crate::shard) fn required_patches(&self, at: EndpointId) -> Vec<Required> {
        let Some(ground) = self.ground(at).filter(|_| self.requires_patches(at)) else { return Vec::new() };
        let policy = &self.policy.policy;
        let mut wanted: BTreeMap<&str, (&[PatchId], Vec<String>)> = BTreeMap::new();
        for (baseline, items) in policy.baselines.iter().zip(&self.patches.items).filter(|(b, _)| policy.is_about(b, ground.endpoint)) {
            for (id, places) in items {
                wanted.entry(id).or_insert_with(|| (places, Vec::new())).1.push(baseline.name.clone());
            }
        }
        let mut all: Vec<PatchId> = wanted.values().flat_map(|(places, _)| *places).copied().collect();
        all.sort_unstable();
        all.dedup();
        let states: BTreeMap<PatchId, State> = all.iter().copied().zip(ground.states_of(&all)).collect();
        let awaited = |id: &str| self.open_tasks(at).any(|item| item.strip_prefix("patch:") == Some(id));
        let silent = |p: &PatchId| states.get(p) == Some(&State::NotApplicable);
        let mut asked: Vec<PatchId> =
            wanted.iter().filter(|(id, _)| awaited(id)).flat_map(|(_, (places, _))| *places).copied().filter(silent).collect();
        asked.sort_unstable();
        // Only whether a task is done makes it worth to ask what says nothing by itself.
        let has = if asked.is_empty() { BTreeSet::new() } else { self.having(&self.fleet.rows_of(ground.held), &asked) };
        let required = |(id, (places, baselines)): (&str, (&[PatchId], Vec<String>))| {
            let stand =
                |p: &PatchId| if has.contains(p) { State::Installed } else { states.get(p).copied().unwrap_or(State::NotApplicable) };
            let verdict = self.verdict(places.iter().map(stand));
            Required { item: format!("patch:{id}"), patch: id.to_owned(), places: places.to_vec(), baselines, verdict }
        };
        wanted.into_iter().map(required).collect()
    }

    /// The verdict of a required patch, from how it stands in each feed that has it.
    fn verdict(&self, states: impl Iterator<Item = State>) -> Verdict {
        let states: BTreeSet<State> = states.collect();
        let any = |wanted: &[State]| wanted.iter().any(|s| states.contains(s));
        if any(&[State::Missing]) {
            Verdict::Fail
        } else if any(&[State::NotChecked]) || self.catalog.is_empty() {
            // Without any catalog nothing was looked at.
            Verdict::NotChecked
        } else if any(&[State::Installed, State::PendingReboot]) {
            Verdict::Pass
        } else {
            // Superseded: what supersedes it is required by its own right. Exempt, not applicable, withdrawn, no fix: there is nothing to do.
            Verdict::NotApplicable
        }
    }

    /// What to do at an endpoint for a patch that it misses.
    pub(in crate::shard) fn patch_action(&self, at: EndpointId, id: &str, places: &[PatchId]) -> Action {
        let mut action = PatchAction { id: id.to_owned(), packages: Vec::new(), kbs: Vec::new() };
        if let Some(ground) = self.ground(at) {
            for patch in places {
                self.lacking(&ground, *patch, &mut action);
            }
        }
        action.packages.sort_by(|a, b| a.name.cmp(&b.name));
        action.packages.dedup_by(|a, b| a.name == b.name);
        Action::of_patch(action)
    }

    /// Adds the packages that lack a patch, with the versions that have it, and the updates that the system wants.
    fn lacking(&self, ground: &Ground<'_>, patch: PatchId, action: &mut PatchAction) {
        let Some(definition) = self.catalog.definition(patch) else { return };
        let installed = TableId::by_name("package").map(|t| (t, self.fleet.rows_in(ground.held, t)));
        let Some((table, rows)) = installed else { return };
        let wants = |notes: &[crate::patch::Note]| about(notes, patch).iter().any(|n| matches!(n.says(), Says::Lacks | Says::Wants));
        for row in rows.iter().filter(|r| wants(self.fleet.rows.notes(**r))) {
            let Some(row) = parse(table, self.fleet.rows.bytes(*row), &self.limits) else { continue };
            let Some(name) = row.get("name").as_str() else { continue };
            let fixed = fixed(&definition, &row);
            let upgraded = beside(name).filter(|meta| self.is_installed(table, &rows, meta));
            // A package beside which the new one is installed is brought by the one that depends on it.
            let package = match upgraded {
                Some(meta) => PatchPackage { name: meta, minimum: None, scheme: None },
                None => PatchPackage { name: name.to_owned(), minimum: fixed.as_ref().map(|f| f.0.clone()), scheme: fixed.map(|f| f.1) },
            };
            action.packages.push(package);
        }
        let kb = definition.id.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("kb"));
        if kb && definition.kind != Kind::Vulnerability && !action.kbs.contains(&definition.id.to_string()) {
            action.kbs.push(definition.id.to_string());
        }
    }

    fn is_installed(&self, table: TableId, rows: &[crate::fleet::rows::RowId], name: &str) -> bool {
        let spelled = format!("\"{name}\"");
        let may = |r: &&crate::fleet::rows::RowId| memchr::memmem::find(self.fleet.rows.bytes(**r), spelled.as_bytes()).is_some();
        rows.iter()
            .filter(may)
            .any(|r| parse(table, self.fleet.rows.bytes(*r), &self.limits).is_some_and(|row| row.get("name").as_str() == Some(name)))
    }
}

/// The first version of a package that has the fix, and its order; of several the highest.
fn fixed(definition: &Definition, row: &Row) -> Option<(String, crate::version::Scheme)> {
    let text = |column: &str| row.get(column).as_str().unwrap_or_default().to_owned();
    let (name, source, release, vendor) = (text("name"), text("source"), text("release"), text("vendor"));
    let fits = |target: &Target| match target {
        Target::Package(p) => p.platform.as_ref().is_none_or(|o| o.covers(&release)) && (*p.name == *name || *p.name == *source),
        Target::Product(p) => {
            p.name.eq_ignore_ascii_case(&name) && (p.vendor.is_empty() || vendor.to_lowercase().contains(&p.vendor.to_lowercase()))
        }
        Target::Windows(_) => false,
    };
    let entries = definition.entries.iter().filter(|e| e.state == FixState::Fixed && !e.fixed.is_empty() && fits(&e.target));
    let ordered = entries.filter_map(|e| Some((e, e.order()?)));
    let highest = ordered.reduce(|a, b| if b.1.compare(&b.0.fixed, &a.0.fixed).is_gt() { b } else { a });
    highest.map(|(e, order)| (e.fixed.to_string(), order.scheme))
}

/// The package that brings newer ones of a package that stands beside others of its kind: `linux-image-amd64` for `linux-image-6.1.0-13-amd64`.
fn beside(name: &str) -> Option<String> {
    let (kind, rest) = ["linux-image-", "linux-headers-", "linux-modules-"].iter().find_map(|k| Some((*k, name.strip_prefix(k)?)))?;
    let number = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
    let flavour: Vec<&str> = rest.split('-').skip_while(number).collect();
    (!flavour.is_empty() && rest.starts_with(|c: char| c.is_ascii_digit())).then(|| format!("{kind}{}", flavour.join("-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_brought_by_the_package_that_follows_them() {
        for (name, brings) in [
            ("linux-image-6.1.0-13-amd64", Some("linux-image-amd64")),
            ("linux-image-5.15.0-91-generic", Some("linux-image-generic")),
            ("linux-headers-6.1.0-13-cloud-amd64", Some("linux-headers-cloud-amd64")),
            ("linux-image-amd64", None),
            ("linux-image-6.1.0-13", None),
            ("openssl", None),
        ] {
            assert_eq!(beside(name).as_deref(), brings, "{name}");
        }
    }
}
