//! Which endpoints a new catalog turns, patch by patch, as bitmaps: `what an image's patches come to, what an endpoint has otherwise -> marks -> endpoints of each`.
//!
//! Most endpoints are as their image in most patches. So an endpoint is a member of its image, and named by itself only at the patches that its own rows note; what all members
//! have alike is added up once an image. Endpoints that were touched since they were taken are taken again at the end, and count for what they are then.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;

use super::PatchId;
use crate::fleet::image::ImageId;
use crate::history::Stood;
use crate::patch::catalog::{Catalog, Common};
use crate::patch::{PATCHES_MAX, State};

/// A patch of either catalog: its position in the new one; of those that are gone, that in the old one, beyond all positions.
pub(super) type Place = u32;

/// What is noted of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    Turned {
        patch: Place,
        from: Stood,
        to: Stood,
    },
    /// Of patches that somebody must look at.
    Missing(PatchId),
}

/// The patches of two catalogs by their names.
#[derive(Debug)]
pub(super) struct Places {
    old: Arc<Catalog>,
    new: Arc<Catalog>,
    pub(super) common: Common,
    places: HashMap<PatchId, Place>,
    were: HashMap<Place, Option<PatchId>>,
}

fn named(catalog: &Catalog, name: Option<(&str, &str)>) -> Option<PatchId> {
    let (id, _) = name?;
    catalog.find(id).into_iter().find(|p| catalog.id(*p) == name)
}

impl Places {
    pub(super) fn new(old: Arc<Catalog>, new: Arc<Catalog>) -> Places {
        let common = Common::new(&old, &new);
        Places { old, new, common, places: HashMap::new(), were: HashMap::new() }
    }

    pub(super) fn old(&self) -> &Arc<Catalog> {
        &self.old
    }

    /// Of a patch of the old catalog.
    pub(super) fn of_old(&mut self, patch: PatchId) -> Place {
        let Places { old, new, common, places, .. } = self;
        *places.entry(patch).or_insert_with(|| common.place(patch).or_else(|| named(new, old.id(patch))).unwrap_or(PATCHES_MAX + patch))
    }

    /// Where the old catalog had it.
    pub(super) fn was(&mut self, place: Place) -> Option<PatchId> {
        if place >= PATCHES_MAX {
            return Some(place - PATCHES_MAX);
        }
        let Places { old, new, were, .. } = self;
        *were.entry(place).or_insert_with(|| named(old, new.id(place)))
    }

    /// Name and feed.
    pub(super) fn name(&self, place: Place) -> Option<(&str, &str)> {
        if place >= PATCHES_MAX { self.old.id(place - PATCHES_MAX) } else { self.new.id(place) }
    }
}

/// What to note of how patches stood and stand.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Whether turns are written down.
    pub(super) turns: bool,
    /// Patches of which it is counted who misses them.
    pub(super) missing: HashSet<PatchId>,
}

impl Wanted {
    pub(super) fn marks<'a>(&'a self, both: &'a BTreeMap<Place, (Stood, Stood)>) -> impl Iterator<Item = (Place, Mark)> + 'a {
        both.iter().flat_map(|(patch, (from, to))| {
            let turned = (self.turns && from != to).then_some(Mark::Turned { patch: *patch, from: *from, to: *to });
            let misses = to.state() == Some(State::Missing) && self.missing.contains(patch);
            let missing = misses.then_some(Mark::Missing(*patch));
            turned.into_iter().chain(missing).map(|mark| (*patch, mark))
        })
    }
}

/// One endpoint: its image, unless everything of it is its own; the patches that are, and what is noted of those.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) image: Option<ImageId>,
    pub(super) own: Vec<Place>,
    pub(super) marks: Vec<Mark>,
}

pub(super) type Marked = BTreeMap<Mark, RoaringBitmap>;

#[derive(Debug, Default)]
struct Members {
    all: RoaringBitmap,
    /// Those that have a patch otherwise than their image, which has a mark of it.
    but: HashMap<Place, RoaringBitmap>,
}

#[derive(Debug, Default)]
pub(super) struct Marks {
    images: BTreeMap<ImageId, BTreeMap<Place, Vec<Mark>>>,
    members: BTreeMap<ImageId, Members>,
    marked: Marked,
    again: BTreeMap<u32, Taken>,
    touched: RoaringBitmap,
}

impl Marks {
    pub(super) fn image(&mut self, id: ImageId, marks: impl Iterator<Item = (Place, Mark)>) {
        let mut by_patch: BTreeMap<Place, Vec<Mark>> = BTreeMap::new();
        marks.for_each(|(place, mark)| by_patch.entry(place).or_default().push(mark));
        self.images.insert(id, by_patch);
    }

    /// Endpoints are taken from the beginning.
    pub(super) fn anew(&mut self) {
        (self.members, self.marked, self.again) = Default::default();
        self.touched.clear();
    }

    pub(super) fn take(&mut self, at: u32, taken: Taken) {
        if let Some(image) = taken.image {
            let members = self.members.entry(image).or_default();
            members.all.insert(at);
            if let Some(marks) = self.images.get(&image).filter(|m| !m.is_empty()) {
                for place in taken.own.iter().filter(|p| marks.contains_key(*p)) {
                    members.but.entry(*place).or_default().insert(at);
                }
            }
        }
        for mark in taken.marks {
            self.marked.entry(mark).or_default().insert(at);
        }
    }

    /// Takes one again that was touched; nothing, if it holds no scan any more.
    pub(super) fn retake(&mut self, at: u32, taken: Option<Taken>) {
        self.touched.insert(at);
        match taken {
            Some(taken) => drop(self.again.insert(at, taken)),
            None => drop(self.again.remove(&at)),
        }
    }

    /// Adds the members of the next image up. Whether there are no more.
    pub(super) fn fold(&mut self) -> bool {
        let Some((image, Members { all, but })) = self.members.pop_first() else { return true };
        for (place, marks) in self.images.get(&image).into_iter().flatten() {
            let endpoints = but.get(place).map(|but| &all - but);
            for mark in marks {
                *self.marked.entry(*mark).or_default() |= endpoints.as_ref().unwrap_or(&all);
            }
        }
        false
    }

    /// About how many bytes the bitmaps have.
    pub(super) fn bytes(&self) -> usize {
        self.marked.values().map(RoaringBitmap::serialized_size).sum()
    }

    /// The endpoints of each mark, with those that were touched as they are now.
    pub(super) fn finish(&mut self) -> Marked {
        while !self.fold() {}
        let touched = std::mem::take(&mut self.touched);
        if !touched.is_empty() {
            self.marked.values_mut().for_each(|endpoints| *endpoints -= &touched);
            std::mem::take(&mut self.again).into_iter().for_each(|(at, taken)| self.take(at, taken));
            while !self.fold() {}
        }
        std::mem::take(&mut self.marked)
    }
}
