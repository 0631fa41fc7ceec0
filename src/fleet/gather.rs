//! Images that fit: endpoints of one image that deviate from it alike get an image of their own.
//!
//! The first endpoint of its kind founds an image as it is, its own quirks included, and endpoints that are one patch level further on join the image of the level before as long as nothing
//! nearer is known. So an image remembers who joined it lately with more deviations than most. When enough of them deviate alike, what most of them have becomes a new image: the quirks of
//! each are in none. Nobody need look at the whole fleet for it, and what cannot be gathered (deviations that nobody shares) costs nothing.

use std::collections::BTreeMap;

use super::image::{ImageId, apply, difference};
use super::rows::{RowId, Rows};
use super::{EndpointId, Fleet, Held, slot};

/// Endpoints that an image remembers.
const REMEMBERED: usize = 64;
/// Endpoints alike that make an image, more where there are many images already.
const ALIKE_LEAST: usize = 8;
const ALIKE_MOST: usize = 48;
const IMAGES_FOR_ONE_MORE: usize = 64;
/// A fleet has so many times the endpoints by and by: those who come first are not moved again.
const GROWTH: usize = 4;
/// Of one row by which an endpoint deviates, with its place in the index.
pub(super) const DEVIATION_BYTES: usize = 2 * size_of::<RowId>();
/// Deviations that an endpoint must be rid of by it. Fewer do if most leave the image that they have, and any if it is needed no more then.
const GAIN: usize = 32;
const GAIN_OF_MOST: usize = 6;
const GAIN_IN_PLACE: usize = 2;

/// Who joined an image lately.
#[derive(Debug, Default)]
struct Joined {
    latest: Vec<EndpointId>,
    next: usize,
    /// Of all who joined: how many, and their deviations together.
    count: u64,
    deviations: u64,
}

#[derive(Debug)]
pub(super) struct Gathering {
    of: BTreeMap<ImageId, Joined>,
    pub(super) alike_least: usize,
}

impl Default for Gathering {
    fn default() -> Gathering {
        Gathering { of: BTreeMap::new(), alike_least: ALIKE_LEAST }
    }
}

/// A new image and who has it now.
#[derive(Debug, PartialEq, Eq)]
pub struct Gathered {
    pub founded: ImageId,
    pub abandoned: Option<ImageId>,
    pub moved: Vec<EndpointId>,
}

impl Gathering {
    pub(super) fn forget(&mut self, image: ImageId) {
        self.of.remove(&image);
    }

    /// Takes an endpoint that joined an image. Those who joined before it, if it is to be held against them: it deviates more than most, or the image is young.
    fn join(&mut self, at: EndpointId, held: &Held) -> Option<Vec<EndpointId>> {
        let joined = self.of.entry(held.image).or_default();
        let deviations = u64::try_from(held.plus.len() + held.minus.len()).unwrap_or(u64::MAX);
        joined.count += 1;
        joined.deviations += deviations;
        let young = joined.count <= u64::try_from(REMEMBERED).unwrap_or(0);
        if !young && deviations * joined.count * 2 < joined.deviations * 3 {
            return None;
        }
        let before = joined.latest.clone();
        match joined.latest.get_mut(joined.next) {
            Some(oldest) => *oldest = at,
            None => joined.latest.push(at),
        }
        joined.next = (joined.next + 1) % REMEMBERED;
        Some(before)
    }
}

impl Fleet {
    /// After an endpoint has come to an image by [`Fleet::hold`]: the image that is made for it and others, if there are enough of its kind. No row set changes.
    pub fn gather(&mut self, at: EndpointId) -> Option<Gathered> {
        let held = self.endpoints.get(slot(at))?.as_ref()?.held.as_ref()?;
        let before = self.gathering.join(at, held)?;
        let looked = before.len() + 1;
        let of = |other: EndpointId| self.get(other)?.held.as_ref().filter(|h| h.image == held.image);
        let mut alike: Vec<EndpointId> = before.into_iter().filter(|o| *o != at && of(*o).is_some_and(|h| are_alike(held, h))).collect();
        alike.push(at);
        alike.sort_unstable();
        alike.dedup();
        let image = self.images.get(held.image)?;
        let endpoints = usize::try_from(image.endpoints).unwrap_or(usize::MAX);
        let (all, most_of) = (endpoints == alike.len(), alike.len() * 4 >= endpoints.saturating_mul(3));
        let least = self.gathering.alike_least;
        let wanted = if all { least } else { (self.images.len() / IMAGES_FOR_ONE_MORE).clamp(least, ALIKE_MOST) };
        if alike.len() < wanted {
            return None;
        }
        let most = |rows: fn(&Held) -> &[RowId]| {
            let all = alike.iter().filter_map(|o| of(*o)).flat_map(rows);
            more_than(alike.len() / 2, all.copied().collect())
        };
        let (plus, minus) = (most(|h| &h.plus), most(|h| &h.minus));
        let gain = match (all, most_of) {
            (true, _) => GAIN_IN_PLACE,
            (false, true) => GAIN_OF_MOST,
            (false, false) => GAIN,
        };
        let gained = plus.len() + minus.len();
        // As many of all that the image has as of those that were looked at: one more image must save more than it takes, once the fleet has grown some.
        let kin = endpoints * alike.len() / looked;
        if gained < gain || (!all && !most_of && kin * gained * DEVIATION_BYTES * GROWTH < image.bytes()) {
            return None;
        }
        let order = with(&image.order, plus, &minus, &self.rows);
        let founded = self.images.found(order, &mut self.rows);
        if let Some(image) = self.images.get(founded) {
            self.index.founded(founded, &image.rows);
        }
        let mut gathered = Gathered { founded, abandoned: None, moved: Vec::with_capacity(alike.len()) };
        for other in alike {
            if let Some(left) = self.move_to(other, founded) {
                gathered.abandoned = left.or(gathered.abandoned);
                gathered.moved.push(other);
            }
        }
        Some(gathered)
    }

    /// The same rows, as deviations from another image. The image that it had, if it was the last one there.
    pub(super) fn move_to(&mut self, at: EndpointId, image: ImageId) -> Option<Option<ImageId>> {
        let before = self.get(at)?.held.clone()?;
        let all = apply(&self.images.get(before.image)?.rows, &before.plus, &before.minus);
        let (plus, minus) = difference(&self.images.get(image)?.rows, &all);
        plus.iter().for_each(|r| self.rows.retain(*r));
        before.plus.iter().for_each(|r| self.rows.release(*r));
        self.images.join(image);
        let left = self.leave_image(before.image);
        self.place(at, Held { image, plus: plus.into(), minus: minus.into(), ..before });
        Some(left)
    }
}

/// A third of what one deviates by, and a few rows at least, are deviations of the other.
fn are_alike(one: &Held, other: &Held) -> bool {
    let common = common(&one.plus, &other.plus) + common(&one.minus, &other.minus);
    let fewest = (one.plus.len() + one.minus.len()).min(other.plus.len() + other.minus.len());
    common >= (fewest / 3).max(GAIN_IN_PLACE)
}

/// How many rows two sorted lists have in common.
fn common(a: &[RowId], b: &[RowId]) -> usize {
    let (mut i, mut j, mut n) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        i += usize::from(x <= y);
        j += usize::from(y <= x);
        n += usize::from(x == y);
    }
    n
}

/// The rows that are there more than so many times, sorted.
fn more_than(times: usize, mut rows: Vec<RowId>) -> Vec<RowId> {
    rows.sort_unstable();
    rows.chunk_by(|a, b| a == b).filter(|same| same.len() > times).filter_map(|same| same.first().copied()).collect()
}

/// An order without some rows and with others, each where it belongs if the rows of its table are in the order of their bytes.
fn with(order: &[RowId], mut plus: Vec<RowId>, minus: &[RowId], rows: &Rows) -> Vec<RowId> {
    let place = |row: &RowId| (rows.table(*row), rows.bytes(*row));
    plus.sort_by(|a, b| place(a).cmp(&place(b)));
    let mut plus = plus.into_iter().peekable();
    let mut out = Vec::with_capacity(order.len() + plus.len());
    for row in order.iter().filter(|row| minus.binary_search(row).is_err()) {
        while let Some(new) = plus.next_if(|new| place(new) < place(row)) {
            out.push(new);
        }
        out.push(*row);
    }
    out.extend(plus);
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::fleet::rows::Said;
    use crate::fleet::{Endpoint, Tables};
    use crate::scan::Row;
    use crate::scan::digest::Digest;
    use crate::scan::native::NewRow;
    use crate::scan::table::TableId;
    use crate::simulate::Random;

    /// A fleet of which row n is row n.
    pub(in crate::fleet) fn fleet(rows: u32) -> Fleet {
        let mut fleet = Fleet::default();
        let table = TableId::by_name("sysctl").expect("sysctl");
        for n in 0..rows {
            let row = Row::new(table).with("key", format!("{n:06}")).with("value", "1");
            let canonical = row.canonical();
            let (id, fresh) = fleet.rows.intern(&NewRow { row, raw: canonical.clone().into() }, &canonical, Said::default());
            assert!(fresh && id == n);
        }
        fleet
    }

    pub(in crate::fleet) fn put(fleet: &mut Fleet, name: u32, rows: &[RowId]) -> EndpointId {
        let labels = fleet.sharing.labels(&Default::default()).0;
        let id = format!("e{name}").into_boxed_str();
        let at = fleet.find(&id).unwrap_or_else(|| {
            fleet.insert(Endpoint { id: id.clone(), hostname: id, labels, key_hash: [0; 32], enrolled_ms: 0, held: None })
        });
        let before = fleet.get(at).and_then(|e| e.held.clone());
        let (image, plus, minus, _) = fleet.hold(before.as_ref(), rows, rows);
        let tables = fleet.sharing.tables(&Tables::default()).0;
        let held = Held { image, plus, minus, tables, digest: Digest::default(), sequence: 1, received_ms: 0, class: 0 };
        fleet.place(at, held);
        fleet.gather(at);
        at
    }

    /// What is held is what references say: each image its rows, each endpoint the rows beside.
    pub(in crate::fleet) fn assert_counted(fleet: &Fleet, all: u32) {
        let mut used: Vec<RowId> = fleet.images.iter().flat_map(|(_, i)| i.rows.to_vec()).collect();
        used.extend(fleet.iter().filter_map(|(_, e)| e.held.as_ref()).flat_map(|h| h.plus.to_vec()));
        used.sort_unstable();
        used.dedup();
        assert_eq!(fleet.rows.unreferenced(), all as usize - used.len());
        for (id, image) in fleet.images.iter() {
            let held = fleet.iter().filter(|(_, e)| e.held.as_ref().is_some_and(|h| h.image == id)).count();
            assert_eq!(image.endpoints as usize, held, "image {id}");
            assert!(held > 0);
        }
    }

    #[test]
    fn kinds_are_found_without_the_quirks_of_those_who_came_first() {
        const ROWS: u32 = 12_000;
        let mut fleet = fleet(ROWS);
        let mut random = Random::new(5);
        let mut below = |n: u32| u32::try_from(random.below(n as usize)).expect("small");
        // Four levels of one image: each changes forty rows of the one before; and twelve quirks each.
        let kind = |level: u32| (0..2000u32).filter(move |n| n / 40 >= level).chain((0..level * 40).map(|n| 2000 + n));
        let mut sets = Vec::new();
        for name in 0..600 {
            let mut rows: Vec<RowId> = kind(below(4)).collect();
            for _ in 0..6 {
                let at = below(2000) as usize;
                let at = at % rows.len();
                rows[at] = 3000 + below(9000);
            }
            rows.sort_unstable();
            rows.dedup();
            let at = put(&mut fleet, name, &rows);
            sets.push((at, rows));
        }
        for (at, rows) in &sets {
            let held = fleet.get(*at).and_then(|e| e.held.as_ref()).expect("held");
            assert_eq!(fleet.rows_of(held), *rows);
        }
        assert_counted(&fleet, ROWS);
        let deviations: usize = fleet.iter().filter_map(|(_, e)| e.held.as_ref()).map(|h| h.plus.len() + h.minus.len()).sum();
        let shape: Vec<(u32, usize)> = fleet
            .images
            .iter()
            .map(|(id, i)| {
                let here = fleet.iter().filter_map(|(_, e)| e.held.as_ref()).filter(|h| h.image == id);
                (i.endpoints, here.map(|h| h.plus.len() + h.minus.len()).sum())
            })
            .collect();
        assert!(deviations < 600 * 16, "{} each, of 12: {shape:?}", deviations / 600);
        assert!(fleet.images.len() <= 10, "{} images", fleet.images.len());
    }

    #[test]
    fn deviations_that_nobody_shares_make_no_images() {
        const ROWS: u32 = 40_000;
        let mut fleet = fleet(ROWS);
        let mut random = Random::new(9);
        for name in 0..300 {
            let mut rows: Vec<RowId> = (0..2000).collect();
            for _ in 0..60 {
                rows[random.below(2000)] = 2000 + u32::try_from(random.below(38_000)).expect("small");
            }
            rows.sort_unstable();
            rows.dedup();
            put(&mut fleet, name, &rows);
        }
        assert!(fleet.images.len() <= 3, "{} images", fleet.images.len());
        assert_counted(&fleet, ROWS);
    }
}
