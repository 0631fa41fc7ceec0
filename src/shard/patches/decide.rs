//! What people decide: lists of patches, and Do Not Patch. Each decision is in the state, in history and, at once, in how endpoints stand.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::exempt::{Exempting, in_scope, means};
use super::turn::Turn;
use super::{AlertCause, Ground, PatchId};
use crate::fleet::EndpointId;
use crate::patch::State;
use crate::patch::list::{Exemption, PatchList, Scope};
use crate::shard::{Applied, Refusal, Reply, Shard};
use crate::state::{Space, pair_key};

/// Patches that an event about a list names; the counts are of all.
const NAMED_MAX: usize = 100;
/// Bytes of a name, a reason, a note.
const TEXT_MAX: usize = 4096;

/// An exemption in the store.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::shard) struct StoredExemption {
    exemption: Exemption,
    /// It was told that it is over.
    expired: bool,
}

impl Shard {
    /// Whether an exemption counts: it is there and not over.
    pub fn exemption_holds(&self, id: &str) -> bool {
        self.decisions.exemptions.contains_key(id) && !self.patches.expired.contains(id)
    }

    pub(in crate::shard) fn keep_list(&mut self, list: PatchList, now_ms: i64, out: &mut Applied) -> Result<Reply, Refusal> {
        let list = PatchList { at_ms: now_ms, ..list };
        let last = self.decisions.list(&list.name);
        let expected = last.map_or(0, |l| l.version) + 1;
        if list.version != expected {
            return Err(Refusal::ListVersion { name: list.name, given: list.version, expected });
        }
        self.fits(&list, last.is_none())?;
        let (added, removed) = {
            let none = std::collections::BTreeSet::new();
            let before = last.map_or(&none, |l| &l.patches);
            let named = |a: &std::collections::BTreeSet<String>, b: &std::collections::BTreeSet<String>| -> (usize, Vec<String>) {
                (a.difference(b).count(), a.difference(b).take(NAMED_MAX).cloned().collect())
            };
            (named(&list.patches, before), named(before, &list.patches))
        };
        out.batch.put_record(Space::Lists, pair_key(&list.name, &list.version.to_be_bytes()), &list);
        let data = json!({"list": list.name, "version": list.version, "author": list.author, "note": list.note, "filter": list.filter,
            "patches": list.patches.len(), "counts": {"added": added.0, "removed": removed.0}, "added": added.1, "removed": removed.1});
        let (name, version) = (list.name.clone(), list.version);
        self.decisions.lists.entry(list.name.clone()).or_default().push(list);
        self.event("list.changed", None, data, now_ms, true, out);
        self.resolve_items();
        self.check_patches(|b| b.lists.contains(&name), now_ms, out);
        Ok(Reply::ListKept { version })
    }

    fn fits(&self, list: &PatchList, new: bool) -> Result<(), Refusal> {
        let limits = &self.limits;
        let name = !list.name.is_empty()
            && list.name.len() <= 64
            && list.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !name {
            return Err(Refusal::BadDecision(format!(
                "`{}` is no name for a list: lower case, digits and `-`, at most 64",
                shortened(&list.name)
            )));
        }
        for (what, text) in [("author", &list.author), ("note", &list.note), ("filter", &list.filter)] {
            bounded(what, text)?;
        }
        list.patches.iter().try_for_each(|p| patch_name(p))?;
        if new && self.decisions.lists.len() >= limits.patch_lists {
            return Err(Refusal::TooMany { what: "lists of patches", name: "patch_lists", limit: limits.patch_lists });
        }
        if list.patches.len() > limits.patch_list_entries {
            return Err(Refusal::TooMany { what: "patches of one list", name: "patch_list_entries", limit: limits.patch_list_entries });
        }
        Ok(())
    }

    pub(in crate::shard) fn exempt(&mut self, exemption: Exemption, now_ms: i64, out: &mut Applied) -> Result<Reply, Refusal> {
        let id = format!("exm_{}_{}", self.store_id, self.next_seq);
        let exemption = Exemption { id, created_ms: now_ms, ..exemption };
        for (what, text) in [("reason", &exemption.reason), ("approver", &exemption.approver)] {
            if text.trim().is_empty() {
                return Err(Refusal::BadDecision(format!("an exemption needs a `{what}`: it is shown wherever the exemption counts")));
            }
            bounded(what, text)?;
        }
        if exemption.patches.is_empty() {
            return Err(Refusal::BadDecision("an exemption needs `patches`: ids, or patterns with `*` and `?`".to_owned()));
        }
        exemption.patches.iter().try_for_each(|p| patch_name(p))?;
        if exemption.patches.len() > self.limits.patch_list_entries {
            return Err(Refusal::TooMany {
                what: "patches of one exemption",
                name: "patch_list_entries",
                limit: self.limits.patch_list_entries,
            });
        }
        if exemption.expires_ms.is_some_and(|at| at <= now_ms) {
            return Err(Refusal::BadDecision("the exemption would be over already: `expires` is not in the future".to_owned()));
        }
        match &exemption.scope {
            Scope::Endpoint(id) if self.fleet.find(id).is_none() => return Err(Refusal::UnknownEndpoint(id.clone())),
            Scope::Group(name) if !self.policy.policy.groups.iter().any(|g| g.name == *name) => {
                return Err(Refusal::BadDecision(format!("no `[[group]]` of the configuration is named `{}`", shortened(name))));
            }
            _ => {}
        }
        if self.decisions.exemptions.len() >= self.limits.exemptions {
            return Err(Refusal::TooMany { what: "exemptions", name: "exemptions", limit: self.limits.exemptions });
        }
        self.store_exemption(&exemption, false, out);
        self.decisions.exemptions.insert(exemption.id.clone(), exemption.clone());
        self.tell_exemption("exemption.created", &exemption, None, now_ms, out);
        self.exempt_anew(&exemption, AlertCause::Exempt, now_ms, out);
        Ok(Reply::Exempted(Box::new(exemption)))
    }

    pub(in crate::shard) fn end_exemption(&mut self, id: &str, by: &str, now_ms: i64, out: &mut Applied) -> Result<Reply, Refusal> {
        bounded("by", by)?;
        let exemption = self.decisions.exemptions.remove(id).ok_or_else(|| Refusal::UnknownExemption(shortened(id)))?;
        self.patches.expired.remove(id);
        out.batch.delete(Space::Exemptions, id);
        self.tell_exemption("exemption.ended", &exemption, Some(by), now_ms, out);
        self.exempt_anew(&exemption, AlertCause::Changed, now_ms, out);
        Ok(Reply::ExemptionEnded)
    }

    /// Time passes: exemptions that are over count no more, and are forgotten when their events are.
    pub(in crate::shard) fn expire_exemptions(&mut self, now_ms: i64, out: &mut Applied) {
        let all = &self.decisions.exemptions;
        let over = |e: &&Exemption| e.expires_ms.is_some_and(|at| at <= now_ms) && !self.patches.expired.contains(&e.id);
        let over: Vec<Exemption> = all.values().filter(over).cloned().collect();
        let retention_ms = self.policy.policy.retention_ms;
        let old = |e: &&Exemption| e.expires_ms.is_some_and(|at| now_ms.saturating_sub(at) > retention_ms);
        let old: Vec<String> = all.values().filter(old).map(|e| e.id.clone()).collect();
        for exemption in over {
            self.patches.expired.insert(exemption.id.clone());
            self.store_exemption(&exemption, true, out);
            self.tell_exemption("exemption.expired", &exemption, None, now_ms, out);
            self.exempt_anew(&exemption, AlertCause::Changed, now_ms, out);
        }
        for id in old {
            self.decisions.exemptions.remove(&id);
            self.patches.expired.remove(&id);
            out.batch.delete(Space::Exemptions, id);
        }
    }

    fn store_exemption(&self, exemption: &Exemption, expired: bool, out: &mut Applied) {
        let stored = StoredExemption { exemption: exemption.clone(), expired };
        out.batch.put_record(Space::Exemptions, exemption.id.as_bytes(), &stored);
    }

    pub(in crate::shard) fn restore_exemption(&mut self, stored: StoredExemption) {
        if stored.expired {
            self.patches.expired.insert(stored.exemption.id.clone());
        }
        self.decisions.exemptions.insert(stored.exemption.id.clone(), stored.exemption);
    }

    /// After the last [`Shard::restore_exemption`].
    pub(in crate::shard) fn restored_exemptions(&mut self) {
        self.patches.exempting = Exempting::new(&self.decisions, &self.patches.expired);
    }

    fn tell_exemption(&mut self, kind: &str, e: &Exemption, by: Option<&str>, now_ms: i64, out: &mut Applied) {
        let time = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        let mut data = json!({"exemption": e.id, "scope": e.scope, "patches": e.patches.iter().take(NAMED_MAX).collect::<Vec<_>>(),
            "reason": e.reason, "approver": e.approver, "created": time(e.created_ms), "expires": e.expires_ms.map(time)});
        if let (Some(by), Value::Object(data)) = (by, &mut data) {
            data.insert("by".to_owned(), json!(by));
        }
        let endpoint = match &e.scope {
            Scope::Endpoint(id) => Some(id.as_str()),
            _ => None,
        };
        self.event(kind, endpoint, data, now_ms, true, out);
    }

    /// An exemption came or went: looks at the patches that it is about, at the endpoints that it is about.
    fn exempt_anew(&mut self, exemption: &Exemption, cause: AlertCause, now_ms: i64, out: &mut Applied) {
        let new = Exempting::new(&self.decisions, &self.patches.expired);
        let old = std::mem::replace(&mut self.patches.exempting, new);
        self.patches.decided += 1;
        let noted = self.fleet.noted();
        let patches: Vec<PatchId> = noted.into_iter().filter(|p| self.catalog.id(*p).is_some_and(|(id, _)| means(exemption, id))).collect();
        let all: Vec<EndpointId> = match &exemption.scope {
            Scope::Endpoint(id) => self.fleet.find(id).into_iter().collect(),
            scope => self.fleet.iter().filter(|(_, e)| in_scope(scope, e, &self.policy.policy)).map(|(at, _)| at).collect(),
        };
        let mut touched = Vec::new();
        for at in all {
            let (turns, not_collected) = self.exempt_turns(at, &patches, &old);
            if !turns.is_empty() {
                self.record_patches(at, &turns, not_collected, out);
                self.take_turns(at, &turns, not_collected, out);
                touched.push(at);
            }
        }
        self.end_alerts(cause, now_ms, out);
        for at in touched {
            let id = self.fleet.get(at).map(|e| e.id.clone()).unwrap_or_default();
            if self.requires_patches(at) {
                self.check_baselines(at, &id, false, now_ms, out);
            }
        }
    }

    fn exempt_turns(&self, at: EndpointId, patches: &[PatchId], old: &Exempting) -> (Vec<Turn>, bool) {
        let Some(ground) = self.ground(at) else { return (Vec::new(), false) };
        let now = ground.states_of(patches);
        let not_collected = ground.not_collected;
        let before: Vec<State> = Ground { exempting: old, ..ground }.states_of(patches);
        let turns = patches.iter().zip(before.into_iter().zip(now));
        (turns.filter(|(_, (from, to))| from != to).map(|(patch, (from, to))| Turn { patch: *patch, from, to }).collect(), not_collected)
    }

    /// Whether anything is decided that depends on who an endpoint is: its labels, its groups.
    pub(in crate::shard) fn has_exemptions(&self) -> bool {
        !self.patches.exempting.is_empty()
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

fn bounded(what: &str, text: &str) -> Result<(), Refusal> {
    if text.len() > TEXT_MAX {
        return Err(Refusal::BadDecision(format!("`{what}` has {} bytes, at most {TEXT_MAX} are taken", text.len())));
    }
    Ok(())
}

/// An id or a pattern of ids.
fn patch_name(patch: &str) -> Result<(), Refusal> {
    if patch.is_empty() || patch.len() > 256 || patch.chars().any(char::is_control) {
        return Err(Refusal::BadDecision(format!("`{}` is no id of a patch", shortened(patch).escape_debug())));
    }
    Ok(())
}
