//! Images that do not pay: `an image of few endpoints -> deviations of theirs from another one`.
//!
//! The first endpoint of its kind founds an image, and a kind may turn out to be small, or to be followed by one that is nearer to most. An image takes some hundred kilobytes with what its
//! rows say, a deviation eight bytes. So whenever there are half as many images again as were worth having, all are gone through, a step at a time, and those whose endpoints cost less as deviations
//! from another image are given up. No row set changes.

use super::gather::DEVIATION_BYTES;
use super::image::ImageId;
use super::{EndpointId, Fleet};

/// So many images are always worth having.
const FEW: usize = 64;
/// Images that are looked at in one step at most, and endpoints that are moved.
const LOOKS: usize = 4;
const MOVES: usize = 64;

/// How far the images have been gone through.
#[derive(Debug)]
pub(super) struct Review {
    /// So many are always worth having.
    few: usize,
    /// How many there were in the end of the last time.
    kept: usize,
    under_way: bool,
    last: Option<ImageId>,
}

impl Default for Review {
    fn default() -> Review {
        Review { few: FEW, kept: 0, under_way: false, last: None }
    }
}

/// What one step changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Thinned {
    pub abandoned: Option<ImageId>,
    pub moved: Vec<EndpointId>,
}

impl Fleet {
    /// Whether there is a step to take.
    pub fn is_thinning(&self) -> bool {
        self.review.under_way || self.images.len() >= self.review.few.max(self.review.kept + self.review.kept / 2)
    }

    /// As few endpoints as these make an image, and more images than these are gone through: what happens to thousands, for tests that have ten.
    pub fn expect_few(&mut self, endpoints: usize, images: usize) {
        (self.gathering.alike_least, self.review.few) = (endpoints, images);
    }

    /// A step, if there are too many images: the endpoints that were moved.
    pub fn thin(&mut self) -> Option<Thinned> {
        if !self.is_thinning() {
            return None;
        }
        if !self.review.under_way {
            self.review = Review { under_way: true, kept: 0, last: None, ..self.review };
        }
        for _ in 0..LOOKS {
            let Some(id) = self.images.after(self.review.last).map(|(id, _)| id).next() else {
                self.review = Review { under_way: false, kept: self.images.len(), last: None, ..self.review };
                return None;
            };
            let thinned = self.better(id).map(|other| self.give_up(id, other)).filter(|t| !t.moved.is_empty());
            if thinned.is_some() {
                return thinned;
            }
            self.review.last = Some(id);
        }
        None
    }

    /// The image that the endpoints of another had better have. INVARIANT: it has more of them, so that no two images are given up for each other.
    fn better(&self, id: ImageId) -> Option<ImageId> {
        let image = self.images.get(id)?;
        let bigger = |other: ImageId| self.images.get(other).is_some_and(|o| o.endpoints > image.endpoints);
        let (distance, other) = self.images.nearest_of(&image.rows, bigger)?;
        let price = distance * DEVIATION_BYTES * usize::try_from(image.endpoints).unwrap_or(usize::MAX);
        // Twice as far they would hardly be near it, and upload whole scans again and again.
        (price < image.bytes() && super::is_near(2 * distance, image.rows.len())).then_some(other)
    }

    /// Moves endpoints of one image to another: all, or as many as one step may.
    fn give_up(&mut self, id: ImageId, other: ImageId) -> Thinned {
        let here = self.index.clusters().filter(|(_, cluster)| cluster.image == id).flat_map(|(_, cluster)| &cluster.endpoints);
        let some: Vec<EndpointId> = here.take(MOVES).map(EndpointId).collect();
        let mut thinned = Thinned { abandoned: None, moved: Vec::with_capacity(some.len()) };
        for at in some {
            if let Some(left) = self.move_to(at, other) {
                thinned.abandoned = left.or(thinned.abandoned);
                thinned.moved.push(at);
            }
        }
        thinned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::gather::tests::{assert_counted, fleet, put};
    use crate::fleet::rows::RowId;

    const ROWS: u32 = 2000;

    /// An image's rows with some of them, from one on, replaced by others.
    fn kind(from: u32, changed: u32) -> Vec<RowId> {
        (0..ROWS).filter(|row| !(from..from + changed).contains(row)).chain((from..from + changed).map(|row| ROWS + row)).collect()
    }

    fn thin_all(fleet: &mut Fleet) -> usize {
        fleet.review = Review { under_way: true, ..Review::default() };
        let mut moved = 0;
        while fleet.review.under_way {
            let images = fleet.images.len();
            let Some(thinned) = fleet.thin() else { continue };
            assert!(thinned.moved.len() <= MOVES);
            assert_eq!(thinned.abandoned.is_some(), fleet.images.len() < images);
            moved += thinned.moved.len();
        }
        moved
    }

    #[test]
    fn images_of_few_are_given_up_and_no_row_set_changes() {
        let mut fleet = fleet(3 * ROWS);
        // Far from each other, so that each is founded; and by and by one that lies between.
        let mut sets = Vec::new();
        let mut add = |fleet: &mut Fleet, name: u32, rows: Vec<RowId>| sets.push((put(fleet, name, &rows), rows));
        (0..40).for_each(|n| add(&mut fleet, n, kind(0, 0)));
        (40..44).for_each(|n| add(&mut fleet, n, kind(0, 350)));
        (44..134).for_each(|n| add(&mut fleet, n, kind(0, 200)));
        (134..140).for_each(|n| add(&mut fleet, n, (2 * ROWS..3 * ROWS).collect()));
        let before = fleet.images.len();
        let moved = thin_all(&mut fleet);
        assert!(fleet.images.len() < before && moved > 0, "{before} images, {moved} endpoints moved");
        // What others were moved to may be bigger than before; in the end nothing moves.
        assert!((0..before).any(|_| thin_all(&mut fleet) == 0));
        for (at, rows) in &sets {
            let held = fleet.get(*at).and_then(|e| e.held.as_ref()).expect("held");
            assert_eq!(fleet.rows_of(held), *rows);
        }
        // What has nothing in common with the others stays.
        let alone = fleet.get(sets[134].0).and_then(|e| e.held.as_ref()).expect("held");
        assert_eq!((alone.plus.len(), alone.minus.len()), (0, 0));
        assert_counted(&fleet, 3 * ROWS);
        // Rows were put into this fleet beside its index.
        assert!(fleet.index().difference(&fleet.index_anew()).is_none_or(|d| d == "rows of tables"));
    }

    #[test]
    fn images_are_gone_through_when_they_are_half_as_many_again() {
        const EACH: u32 = 100;
        let few = u32::try_from(FEW).expect("small");
        let mut fleet = fleet(few * 9 / 4 * EACH);
        // Nothing in common: each is worth it.
        let add = |fleet: &mut Fleet, n: u32| put(fleet, n, &(n * EACH..(n + 1) * EACH).collect::<Vec<_>>());
        for n in 0..few * 9 / 4 {
            add(&mut fleet, n);
            let wanted = n + 1 == few || n + 1 == few + few / 2 || n + 1 == few * 9 / 4;
            assert_eq!(fleet.thin(), None);
            assert_eq!(fleet.review.under_way, wanted, "{} images", n + 1);
            while fleet.review.under_way {
                assert_eq!(fleet.thin(), None);
            }
        }
        assert_eq!((fleet.images.len(), fleet.review.kept), (FEW * 9 / 4, FEW * 9 / 4));
    }
}
