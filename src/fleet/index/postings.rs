//! Under each row a set of numbers: nothing, one, a few, or many of them. A row that nothing is under costs eight bytes, one number nothing more.

use roaring::RoaringBitmap;

use crate::fleet::rows::RowId;

#[derive(Clone, Copy, Debug, Default)]
enum Slot {
    #[default]
    None,
    One(u32),
    /// A place in `lists`.
    List(u32),
}

#[derive(Clone, Debug)]
enum List {
    /// Sorted.
    Few(Vec<u32>),
    Many(RoaringBitmap),
}

/// Numbers that are kept as a plain list at most: a bitmap of a million endpoints has sixteen containers, each with a price of its own.
const FEW: usize = 128;

#[derive(Debug, Default)]
pub struct Postings {
    slots: Vec<Slot>,
    lists: Vec<List>,
    free: Vec<u32>,
}

fn place(row: RowId) -> usize {
    row as usize
}

impl List {
    fn insert(&mut self, n: u32) {
        match self {
            List::Few(few) => {
                // What is loaded comes in order.
                if few.last().is_none_or(|last| *last < n) {
                    few.push(n);
                } else if let Err(at) = few.binary_search(&n) {
                    few.insert(at, n);
                }
                if few.len() > FEW {
                    *self = List::Many(few.iter().copied().collect());
                }
            }
            List::Many(many) => {
                many.insert(n);
            }
        }
    }

    fn remove(&mut self, n: u32) {
        match self {
            List::Few(few) => {
                if let Ok(at) = few.binary_search(&n) {
                    few.remove(at);
                }
            }
            List::Many(many) => {
                many.remove(n);
                if many.len() <= FEW as u64 / 2 {
                    *self = List::Few(many.iter().collect());
                }
            }
        }
    }

    /// The only number, if there is no other.
    fn only(&self) -> Option<u32> {
        match self {
            List::Few(few) => {
                if let [only] = few.as_slice() {
                    Some(*only)
                } else {
                    None
                }
            }
            List::Many(_) => None,
        }
    }
}

fn ascending(numbers: &[u32]) -> RoaringBitmap {
    RoaringBitmap::from_sorted_iter(numbers.iter().copied()).unwrap_or_else(|_| numbers.iter().copied().collect())
}

impl Postings {
    /// Of numbers, ascending, each with the rows that it is under. They are gone through twice: counted, then put where they belong.
    pub fn sorted<'r, I: Iterator<Item = (u32, &'r [RowId])>>(all: impl Fn() -> I) -> Postings {
        let mut ends: Vec<usize> = Vec::new();
        for row in all().flat_map(|(_, rows)| rows) {
            if ends.len() <= place(*row) {
                ends.resize(place(*row) + 1, 0);
            }
            ends[place(*row)] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum - *end;
        }
        let mut numbers = vec![0; sum];
        for (n, rows) in all() {
            for row in rows {
                // From here on where the row's next number goes, and in the end where they end.
                let next = &mut ends[place(*row)];
                numbers[*next] = n;
                *next += 1;
            }
        }
        let mut postings = Postings { slots: Vec::with_capacity(ends.len()), ..Postings::default() };
        let mut from = 0;
        for end in ends {
            let under = numbers.get(from..end).unwrap_or_default();
            from = end;
            let slot = match under {
                [] => Slot::None,
                [one] => Slot::One(*one),
                few => {
                    postings.lists.push(if few.len() <= FEW { List::Few(few.to_vec()) } else { List::Many(ascending(few)) });
                    Slot::List(u32::try_from(postings.lists.len() - 1).unwrap_or(u32::MAX))
                }
            };
            postings.slots.push(slot);
        }
        postings
    }

    pub fn insert(&mut self, row: RowId, n: u32) {
        if self.slots.len() <= place(row) {
            self.slots.resize(place(row) + 1, Slot::None);
        }
        match self.slots[place(row)] {
            Slot::None => self.slots[place(row)] = Slot::One(n),
            Slot::One(one) if one == n => {}
            Slot::One(one) => {
                let list = List::Few(vec![one.min(n), one.max(n)]);
                self.slots[place(row)] = Slot::List(match self.free.pop() {
                    Some(at) => {
                        self.lists[place(at)] = list;
                        at
                    }
                    None => {
                        self.lists.push(list);
                        // INVARIANT: no more lists than rows, which are numbered by u32.
                        u32::try_from(self.lists.len() - 1).unwrap_or(u32::MAX)
                    }
                });
            }
            Slot::List(at) => self.lists[place(at)].insert(n),
        }
    }

    pub fn remove(&mut self, row: RowId, n: u32) {
        let Some(slot) = self.slots.get_mut(place(row)) else { return };
        match *slot {
            Slot::One(one) if one == n => *slot = Slot::None,
            Slot::None | Slot::One(_) => {}
            Slot::List(at) => {
                let list = &mut self.lists[place(at)];
                list.remove(n);
                if let Some(only) = list.only() {
                    *list = List::Few(Vec::new());
                    *slot = Slot::One(only);
                    self.free.push(at);
                }
            }
        }
    }

    /// The numbers under a row, ascending.
    pub fn of(&self, row: RowId) -> Numbers<'_> {
        match self.slots.get(place(row)) {
            None | Some(Slot::None) => Numbers::One(None),
            Some(Slot::One(n)) => Numbers::One(Some(*n)),
            Some(Slot::List(at)) => match &self.lists[place(*at)] {
                List::Few(few) => Numbers::Few(few.iter()),
                List::Many(many) => Numbers::Many(Box::new(many.iter())),
            },
        }
    }

    /// Rows that something is under, and how much.
    pub(in crate::fleet) fn counts(&self) -> impl Iterator<Item = (RowId, u32)> {
        let count = |slot: &Slot| match slot {
            Slot::None => 0,
            Slot::One(_) => 1,
            Slot::List(at) => match &self.lists[place(*at)] {
                List::Few(few) => few.len() as u64,
                List::Many(many) => many.len(),
            },
        };
        let counts = self.slots.iter().map(move |slot| u32::try_from(count(slot)).unwrap_or(u32::MAX));
        (0..).zip(counts).filter(|(_, count)| *count > 0)
    }

    /// Rows that something is under, with it.
    pub fn iter(&self) -> impl Iterator<Item = (RowId, Numbers<'_>)> {
        let used = (0..).zip(&self.slots).filter(|(_, slot)| !matches!(slot, Slot::None));
        used.map(|(row, _)| (row, self.of(row)))
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        let list = |l: &List| match l {
            List::Few(few) => few.capacity() * size_of::<u32>(),
            List::Many(many) => bitmap_bytes(many),
        };
        self.slots.capacity() * size_of::<Slot>()
            + self.lists.capacity() * size_of::<List>()
            + self.free.capacity() * size_of::<u32>()
            + self.lists.iter().map(list).sum::<usize>()
    }
}

/// Bytes that a bitmap takes, about.
pub(super) fn bitmap_bytes(bitmap: &RoaringBitmap) -> usize {
    const CONTAINER: usize = 48;
    let statistics = bitmap.statistics();
    let arrays = u64::from(statistics.n_values_array_containers) * 2;
    let payload = arrays + statistics.n_bytes_run_containers + statistics.n_bytes_bitset_containers;
    usize::try_from(payload).unwrap_or(usize::MAX).saturating_add(statistics.n_containers as usize * CONTAINER)
}

/// Numbers, ascending.
pub enum Numbers<'p> {
    One(Option<u32>),
    Few(std::slice::Iter<'p, u32>),
    Many(Box<roaring::bitmap::Iter<'p>>),
}

impl Iterator for Numbers<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match self {
            Numbers::One(one) => one.take(),
            Numbers::Few(few) => few.next().copied(),
            Numbers::Many(many) => many.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_what_a_map_of_sets_is(steps in prop::collection::vec((0u32..4, 0u32..400, 0u8..3), 0..1500)) {
            let (mut postings, mut model) = (Postings::default(), BTreeMap::<u32, BTreeSet<u32>>::new());
            for (row, n, way) in steps {
                if way == 0 {
                    postings.remove(row, n);
                    model.entry(row).or_default().remove(&n);
                } else {
                    postings.insert(row, n);
                    model.entry(row).or_default().insert(n);
                }
            }
            model.retain(|_, set| !set.is_empty());
            let mut by_number: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            model.iter().for_each(|(row, set)| set.iter().for_each(|n| by_number.entry(*n).or_default().push(*row)));
            let anew = Postings::sorted(|| by_number.iter().map(|(n, rows)| (*n, rows.as_slice())));
            let same = |p: &Postings| p.iter().map(|(row, numbers)| (row, numbers.collect())).collect::<Vec<(u32, Vec<u32>)>>();
            prop_assert_eq!(same(&anew), same(&postings));
            let got: BTreeMap<u32, BTreeSet<u32>> = postings.iter().map(|(row, numbers)| (row, numbers.collect())).collect();
            prop_assert_eq!(&got, &model);
            for (row, set) in &model {
                prop_assert_eq!(postings.of(*row).collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            }
        }
    }
}
