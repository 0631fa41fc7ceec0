//! What many endpoints have alike beside their rows: the labels that they are enrolled with, the tables that their scans bring.
//!
//! Each is kept once, in memory and in the store, under a number that the endpoints' records name.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Tables;

pub type SharedId = u64;

pub type Labels = BTreeMap<String, String>;

/// Something that is kept once.
pub struct Shared<T>(Arc<(SharedId, T)>);

impl<T> Shared<T> {
    pub fn id(&self) -> SharedId {
        self.0.0
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(self.0.clone())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.1.fmt(f)
    }
}

/// INVARIANT: what is equal is kept once, so that it is the same place in memory; of two fleets, it is compared.
impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Shared<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.1 == other.0.1
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: Ord> PartialOrd for Shared<T> {
    fn partial_cmp(&self, other: &Shared<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> Ord for Shared<T> {
    fn cmp(&self, other: &Shared<T>) -> std::cmp::Ordering {
        self.0.1.cmp(&other.0.1)
    }
}

impl<T> Borrow<T> for Shared<T> {
    fn borrow(&self) -> &T {
        &self.0.1
    }
}

/// How it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    Tables(Tables),
    Labels(Labels),
}

/// Everything that is shared.
#[derive(Debug, Default)]
pub struct Sharing {
    tables: BTreeSet<Shared<Tables>>,
    labels: BTreeSet<Shared<Labels>>,
    next: SharedId,
    /// How many there were after the last sweep.
    swept: usize,
}

/// Sweeping is not worth it for fewer.
const FEW: usize = 256;

impl Sharing {
    /// The one that is equal, or a new one, which is to be stored: then `true`.
    pub fn tables(&mut self, tables: &Tables) -> (Shared<Tables>, bool) {
        share(&mut self.tables, tables, &mut self.next)
    }

    pub fn labels(&mut self, labels: &Labels) -> (Shared<Labels>, bool) {
        share(&mut self.labels, labels, &mut self.next)
    }

    /// Puts a stored one back.
    pub fn restore(&mut self, id: SharedId, stored: Stored) {
        self.next = self.next.max(id + 1);
        match stored {
            Stored::Tables(tables) => drop(self.tables.insert(Shared(Arc::new((id, tables))))),
            Stored::Labels(labels) => drop(self.labels.insert(Shared(Arc::new((id, labels))))),
        }
    }

    /// All that there are, for endpoints that are read back.
    pub fn iter(&self) -> (impl Iterator<Item = &Shared<Tables>>, impl Iterator<Item = &Shared<Labels>>) {
        (self.tables.iter(), self.labels.iter())
    }

    /// Those that no endpoint has any more leave, when they may be many. Their numbers.
    pub fn sweep(&mut self) -> Vec<SharedId> {
        let kept = self.tables.len() + self.labels.len();
        if kept < FEW.max(2 * self.swept) { Vec::new() } else { self.sweep_all() }
    }

    /// The same however few they are.
    pub fn sweep_all(&mut self) -> Vec<SharedId> {
        let mut gone = Vec::new();
        release(&mut self.tables, &mut gone);
        release(&mut self.labels, &mut gone);
        self.swept = self.tables.len() + self.labels.len();
        gone
    }
}

fn share<T: Ord + Clone>(kept: &mut BTreeSet<Shared<T>>, value: &T, next: &mut SharedId) -> (Shared<T>, bool) {
    if let Some(known) = kept.get(value) {
        return (known.clone(), false);
    }
    let shared = Shared(Arc::new((*next, value.clone())));
    *next += 1;
    kept.insert(shared.clone());
    (shared, true)
}

fn release<T: Ord>(kept: &mut BTreeSet<Shared<T>>, gone: &mut Vec<SharedId>) {
    kept.retain(|shared| {
        let used = Arc::strong_count(&shared.0) > 1;
        if !used {
            gone.push(shared.id());
        }
        used
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(n: usize) -> Labels {
        Labels::from([("n".to_owned(), n.to_string())])
    }

    #[test]
    fn what_is_equal_is_kept_once_until_nobody_has_it() {
        let mut sharing = Sharing::default();
        let (a, fresh) = sharing.labels(&labels(0));
        assert!(fresh);
        let (again, fresh) = sharing.labels(&labels(0));
        assert!(!fresh && again.id() == a.id());
        let others: Vec<_> = (1..FEW).map(|n| sharing.labels(&labels(n)).0).collect();
        assert!(sharing.sweep().is_empty(), "all are in use");
        let ids: Vec<SharedId> = others.iter().map(Shared::id).collect();
        drop(others);
        assert!(sharing.sweep().is_empty(), "not yet twice as many");
        let more: Vec<_> = (FEW..2 * FEW).map(|n| sharing.labels(&labels(n)).0).collect();
        let mut gone = sharing.sweep();
        gone.sort_unstable();
        assert_eq!(gone, ids);
        assert_eq!((*sharing.labels(&labels(0)).0).clone(), *a);
        assert!(more.iter().all(|m| m.id() > a.id()));
    }

    #[test]
    fn numbers_go_on_after_a_restart() {
        let mut sharing = Sharing::default();
        sharing.restore(7, Stored::Labels(labels(7)));
        sharing.restore(9, Stored::Tables(Tables::default()));
        assert_eq!(sharing.labels(&labels(7)).0.id(), 7);
        assert_eq!(sharing.tables(&Tables::default()).0.id(), 9);
        assert_eq!(sharing.labels(&labels(8)).0.id(), 10);
    }
}
