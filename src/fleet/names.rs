//! Endpoints by their ids: found by a hash, walked in order; the ids themselves lie with the endpoints and nowhere else.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use rayon::prelude::*;

use super::EndpointId;

/// Endpoints in one piece of the order. A piece is moved when one comes in between, so it is small.
const PIECE: usize = 512;

/// Every function is given what tells the id of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// INVARIANT: a hash is never proof; every find compares the id. The hash is keyed for this process.
    by_hash: HashTable<EndpointId>,
    hasher: RandomState,
    /// In the order of ids, in pieces that are never empty.
    order: Vec<Vec<EndpointId>>,
}

impl Names {
    /// Of endpoints that each have an id of their own.
    pub(super) fn of<'i>(mut all: Vec<EndpointId>, of: impl Fn(EndpointId) -> &'i str + Sync) -> Names {
        let hasher = RandomState::default();
        let mut by_hash = HashTable::with_capacity(all.len());
        let hash = |at: &EndpointId| hasher.hash_one(of(*at));
        let hashes: Vec<u64> = all.par_iter().map(hash).collect();
        for (at, hashed) in all.iter().zip(hashes) {
            by_hash.insert_unique(hashed, *at, hash);
        }
        // A store has them in order.
        if !all.par_windows(2).all(|two| two.is_sorted_by_key(|at| of(*at))) {
            all.par_sort_unstable_by_key(|at| of(*at));
        }
        Names { by_hash, hasher, order: all.chunks(PIECE).map(<[EndpointId]>::to_vec).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(super) fn find<'i>(&self, id: &str, of: impl Fn(EndpointId) -> &'i str) -> Option<EndpointId> {
        self.by_hash.find(self.hasher.hash_one(id), |at| of(*at) == id).copied()
    }

    /// Takes an endpoint whose id is not there yet.
    pub(super) fn insert<'i>(&mut self, at: EndpointId, of: impl Fn(EndpointId) -> &'i str) {
        let (id, hasher) = (of(at), &self.hasher);
        self.by_hash.insert_unique(hasher.hash_one(id), at, |other| hasher.hash_one(of(*other)));
        let Some((piece, place)) = self.place(id, &of) else {
            self.order.push(vec![at]);
            return;
        };
        let last = piece + 1 == self.order.len();
        let pieces = &mut self.order;
        if pieces[piece].len() < PIECE {
            pieces[piece].insert(place, at);
        } else if last && place == PIECE {
            // They come in order: full pieces, one after the other.
            pieces.push(vec![at]);
        } else {
            let mut second = pieces[piece].split_off(PIECE / 2);
            match place.checked_sub(PIECE / 2) {
                Some(place) => second.insert(place, at),
                None => pieces[piece].insert(place, at),
            }
            pieces.insert(piece + 1, second);
        }
    }

    /// Forgets an endpoint, whose id can still be told.
    pub(super) fn remove<'i>(&mut self, at: EndpointId, of: impl Fn(EndpointId) -> &'i str) {
        let id = of(at);
        if let Ok(found) = self.by_hash.find_entry(self.hasher.hash_one(id), |other| *other == at) {
            found.remove();
        }
        if let Some((piece, place)) = self.place(id, &of)
            && self.order[piece].get(place) == Some(&at)
        {
            self.order[piece].remove(place);
            if self.order[piece].is_empty() {
                self.order.remove(piece);
            }
        }
    }

    /// Where an id is in the order, or would be. `None`: there is nothing.
    fn place<'i>(&self, id: &str, of: impl Fn(EndpointId) -> &'i str) -> Option<(usize, usize)> {
        let piece = self.order.partition_point(|piece| piece.first().is_some_and(|first| of(*first) <= id)).saturating_sub(1);
        let place = self.order.get(piece)?.partition_point(|other| of(*other) < id);
        Some((piece, place))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = EndpointId> {
        self.order.iter().flatten().copied()
    }

    /// Where the ids after one begin, which need not be there: for [`Names::from`].
    pub(super) fn after<'i>(&self, id: &str, of: impl Fn(EndpointId) -> &'i str) -> (usize, usize) {
        let (piece, place) = self.place(id, &of).unwrap_or_default();
        let found = self.order.get(piece).and_then(|p| p.get(place)).is_some_and(|at| of(*at) == id);
        (piece, place + usize::from(found))
    }

    pub(super) fn from(&self, (piece, place): (usize, usize)) -> impl Iterator<Item = EndpointId> {
        self.order.iter().skip(piece).flatten().skip(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn they_are_as_a_map_by_id(steps in prop::collection::vec((0u32..3000, prop::bool::weighted(0.7)), 0..4000), asked in prop::collection::vec(0u32..3100, 20)) {
            let ids: Vec<String> = (0..3100u32).map(|n| format!("e{}", n * 7919 % 3100)).collect();
            let of = |at: EndpointId| ids[at.0 as usize].as_str();
            let (mut names, mut map) = (Names::default(), BTreeMap::new());
            for (n, comes) in steps {
                let at = EndpointId(n);
                if comes {
                    if map.insert(of(at), at).is_none() {
                        names.insert(at, of);
                    }
                } else if map.remove(of(at)).is_some() {
                    names.remove(at, of);
                }
            }
            prop_assert_eq!(names.len(), map.len());
            prop_assert!(names.iter().eq(map.values().copied()));
            for n in asked {
                let id = of(EndpointId(n));
                prop_assert_eq!(names.find(id, of), map.get(id).copied());
                use std::ops::Bound;
                let after = map.range::<str, _>((Bound::Excluded(id), Bound::Unbounded)).map(|(_, at)| *at);
                prop_assert!(names.from(names.after(id, of)).eq(after));
            }
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_pieces() {
        let ids: Vec<String> = (0..5000u32).map(|n| format!("e{n:05}")).collect();
        let of = |at: EndpointId| ids[at.0 as usize].as_str();
        let mut names = Names::default();
        (0..5000).for_each(|n| names.insert(EndpointId(n), of));
        assert_eq!(names.order.len(), 5000usize.div_ceil(PIECE));
        assert!(names.iter().map(|at| at.0).eq(0..5000));
    }
}
