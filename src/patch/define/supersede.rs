//! What replaces an update, by system: advisories in, for each update the later ones, and where they do.
//!
//! Vendors say for each product what an update replaces, and it differs: on one system an update has all files of an earlier one, on another it has not. So chains are
//! followed within one system, and what holds wherever both are for is told from what holds somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::feed::model::{Advisory, Target};
use crate::feed::supersede::{Graph, TooMany};
use crate::limits::Limits;
use crate::patch::windows;

/// The graph of each system, or product that is of none.
#[derive(Default)]
pub(super) struct Systems {
    graphs: BTreeMap<Arc<str>, Graph>,
    /// Systems that an update is for.
    listed: BTreeMap<Box<str>, BTreeSet<Arc<str>>>,
    /// Of each product name, worked out once.
    names: BTreeMap<Arc<str>, Arc<str>>,
}

/// The systems where an update replaces another; `None` where that is wherever both are for.
pub(super) type Where = Option<Vec<Box<str>>>;

/// Update -> what replaces it -> where.
pub(super) type Replaced = BTreeMap<Box<str>, BTreeMap<Box<str>, Where>>;

/// An update, and one that replaces it.
type Pair = (Box<str>, Box<str>);

impl Systems {
    pub(super) fn learn(&mut self, advisory: &Advisory) {
        for entry in &advisory.affected {
            let fixes: Vec<_> = entry.fixes.iter().filter(|f| !f.kb.is_empty()).collect();
            if fixes.is_empty() {
                continue;
            }
            let date = entry.published.or(advisory.published);
            for system in self.systems(&entry.target) {
                let graph = self.graphs.entry(system.clone()).or_default();
                for fix in &fixes {
                    match self.listed.get_mut(&fix.kb) {
                        Some(systems) if systems.contains(&system) => {}
                        Some(systems) => {
                            systems.insert(system.clone());
                        }
                        None => {
                            self.listed.insert(fix.kb.clone(), BTreeSet::from([system.clone()]));
                        }
                    }
                    if let Some(date) = date {
                        graph.date(&fix.kb, date);
                    }
                    fix.supersedes.iter().for_each(|older| graph.add(&fix.kb, older));
                }
            }
        }
    }

    fn systems(&mut self, target: &Target) -> BTreeSet<Arc<str>> {
        match target {
            Target::Windows(windows) => {
                let name = |product: &Arc<str>| match self.names.get(product) {
                    Some(known) => known.clone(),
                    None => {
                        let system = windows::system_of(product).map_or_else(|| product.clone(), Arc::from);
                        self.names.insert(product.clone(), system.clone());
                        system
                    }
                };
                windows.products.iter().map(name).collect()
            }
            Target::Package(package) => BTreeSet::from([package.ecosystem.clone()]),
            Target::Product(product) => BTreeSet::from([Arc::from(&*product.name)]),
        }
    }

    pub(super) fn replaced(&self, limits: &Limits) -> Result<Replaced, TooMany> {
        let mut places: BTreeMap<Pair, Vec<&Arc<str>>> = BTreeMap::new();
        let mut pairs = 0usize;
        for (system, graph) in &self.graphs {
            let closure = graph.closure(limits)?;
            pairs = pairs.saturating_add(closure.pairs());
            if pairs > limits.supersedence {
                return Err(TooMany(limits.supersedence));
            }
            let here = |kb: &str| self.listed.get(kb).is_some_and(|systems| systems.contains(system));
            for (older, above) in closure.patches().filter(|(older, _)| here(older)) {
                for newer in above.iter().filter(|newer| here(newer)) {
                    places.entry((older.into(), newer.clone())).or_default().push(system);
                }
            }
        }
        let mut out = Replaced::new();
        for ((older, newer), systems) in places {
            let (Some(mine), Some(others)) = (self.listed.get(&older), self.listed.get(&newer)) else { continue };
            let everywhere = mine.intersection(others).count() == systems.len();
            let on = (!everywhere).then(|| systems.into_iter().map(|s| Box::from(&**s)).collect());
            out.entry(older).or_default().insert(newer, on);
        }
        Ok(out)
    }
}
