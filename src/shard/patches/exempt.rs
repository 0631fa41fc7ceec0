//! Do Not Patch, ready to be asked: which exemption holds for a patch at an endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fleet::Endpoint;
use crate::patch::list::{Decisions, Exemption, Scope};
use crate::policy::Policy;
use crate::rule::pattern::{is_pattern, pattern_matches};

/// The exemptions that hold now, by what they are found by.
#[derive(Clone, Debug, Default)]
pub(super) struct Exempting {
    by_id: BTreeMap<String, Vec<Arc<Exemption>>>,
    by_pattern: Vec<(String, Arc<Exemption>)>,
    everywhere: bool,
    endpoints: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl Exempting {
    pub(super) fn new(decisions: &Decisions, expired: &BTreeSet<String>) -> Exempting {
        let mut out = Exempting::default();
        for exemption in decisions.exemptions.values().filter(|e| !expired.contains(&e.id)) {
            let exemption = Arc::new(exemption.clone());
            match &exemption.scope {
                Scope::Endpoint(id) => drop(out.endpoints.insert(id.clone())),
                Scope::Group(name) => drop(out.groups.insert(name.clone())),
                Scope::Everywhere => out.everywhere = true,
            }
            for patch in &exemption.patches {
                if is_pattern(patch) {
                    out.by_pattern.push((patch.clone(), exemption.clone()));
                } else {
                    out.by_id.entry(patch.clone()).or_default().push(exemption.clone());
                }
            }
        }
        out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.by_pattern.is_empty()
    }

    /// Whether any may hold at an endpoint.
    pub(super) fn any_for(&self, endpoint: &Endpoint, policy: &Policy) -> bool {
        self.everywhere || self.endpoints.contains(&endpoint.id) || self.groups.iter().any(|g| policy.group_holds(g, endpoint))
    }

    /// The exemption of a patch at an endpoint; of several the oldest.
    pub(super) fn of(&self, patch: &str, endpoint: &Endpoint, policy: &Policy) -> Option<&Exemption> {
        let patterns = self.by_pattern.iter().filter(|(pattern, _)| pattern_matches(pattern, patch)).map(|(_, e)| e);
        let all = self.by_id.get(patch).into_iter().flatten().chain(patterns);
        all.filter(|e| in_scope(&e.scope, endpoint, policy)).min_by_key(|e| (e.created_ms, &e.id)).map(|e| &**e)
    }
}

pub(super) fn in_scope(scope: &Scope, endpoint: &Endpoint, policy: &Policy) -> bool {
    match scope {
        Scope::Endpoint(id) => *id == endpoint.id,
        Scope::Group(name) => policy.group_holds(name, endpoint),
        Scope::Everywhere => true,
    }
}

/// Whether an exemption is about a patch, wherever.
pub(super) fn means(exemption: &Exemption, patch: &str) -> bool {
    exemption.patches.iter().any(|p| pattern_matches(p, patch))
}
