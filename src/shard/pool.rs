//! What is said many times, kept once: `value -> the one that is equal`.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// Looking for those that nobody has any more is not worth it for fewer.
const FEW: usize = 1024;

#[derive(Debug)]
pub(super) struct Pool<T: ?Sized> {
    known: HashSet<Arc<T>>,
    /// How many there were after the last sweep.
    swept: usize,
}

impl<T: ?Sized + Eq + Hash> Default for Pool<T> {
    fn default() -> Pool<T> {
        Pool { known: HashSet::new(), swept: 0 }
    }
}

impl<T: ?Sized + Eq + Hash> Pool<T> {
    pub(super) fn get(&self, value: &T) -> Option<&Arc<T>> {
        self.known.get(value)
    }

    /// The one that is equal, or this one from now on.
    pub(super) fn share(&mut self, value: &T) -> Arc<T>
    where
        T: ToOwned,
        Arc<T>: From<T::Owned>,
    {
        if let Some(known) = self.known.get(value) {
            return known.clone();
        }
        if self.known.len() >= FEW.max(2 * self.swept) {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.swept = self.known.len();
        }
        let shared: Arc<T> = value.to_owned().into();
        self.known.insert(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_kept_once_and_not_for_ever() {
        let mut pool = Pool::<str>::default();
        let (one, again) = (pool.share("one"), pool.share("one"));
        assert!(Arc::ptr_eq(&one, &again));
        (0..100 * FEW).for_each(|n| drop(pool.share(&n.to_string())));
        assert!(pool.known.len() <= FEW, "{} of which one is in use", pool.known.len());
        assert!(Arc::ptr_eq(&one, &pool.share("one")));
        let many: Vec<Arc<str>> = (0..4 * FEW).map(|n| pool.share(&n.to_string())).collect();
        assert!(many.iter().all(|m| pool.get(m).is_some_and(|known| Arc::ptr_eq(known, m))), "those in use stay");
    }
}
