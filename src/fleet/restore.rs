//! A stored fleet, put back at once: `rows, images, endpoints as stored -> the fleet as it was`.
//!
//! One endpoint after the other would cost a million of them many seconds; so references are counted, and the index is sorted together, over all of them.

use hashbrown::HashMap;
use rayon::prelude::*;

use super::classes::ClassId;
use super::image::{Image, ImageId};
use super::names::Names;
use super::rows::RowId;
use super::{Endpoint, EndpointId, Fleet, name};
use crate::scan::table::TableId;

impl Fleet {
    /// Puts stored rows back under their numbers.
    pub fn restore_rows(&mut self, stored: Vec<(RowId, TableId, Box<[u8]>)>) {
        stored.iter().for_each(|(id, table, _)| self.index.restored(*id, *table));
        self.rows.restore(stored);
    }

    /// Puts stored images back. Their rows are there already.
    pub fn restore_images(&mut self, stored: Vec<(ImageId, Vec<RowId>)>) {
        let rows = &self.rows;
        let made: Vec<(ImageId, Image)> = stored.into_par_iter().map(|(id, order)| (id, Image::new(order, rows))).collect();
        self.index.restore_images(made.iter().map(|(id, image)| (*id, &*image.rows)));
        made.into_iter().for_each(|(id, image)| self.images.restore(id, image, &mut self.rows));
    }

    /// Puts stored endpoints back, each in the place of its number. Everything that they hold is there already, and no other endpoint is. `numbers`: all of them, which takes no sorting if
    /// it is in the order of ids.
    pub fn restore_endpoints(&mut self, stored: Vec<Option<Endpoint>>, numbers: Vec<EndpointId>) {
        self.endpoints = stored;
        self.free = (0..).zip(&self.endpoints).filter(|(_, e)| e.is_none()).map(|(at, _)| at).collect();
        let Fleet { endpoints, index, .. } = self;
        let (counts, (names, ())) = rayon::join(
            || Counts::of(endpoints),
            || rayon::join(|| Names::of(numbers, |at| name(endpoints, at)), || index.restore_endpoints(endpoints)),
        );
        self.names = names;
        let Fleet { rows, images, classes, index, .. } = self;
        rayon::join(
            || rows.retain_many(index.plus_counts()),
            || {
                counts.images.into_iter().for_each(|(image, endpoints)| images.join_many(image, endpoints));
                classes.join_all(counts.classes);
                classes.forget_empty();
            },
        );
    }
}

/// How many endpoints hold what.
#[derive(Default)]
struct Counts {
    images: HashMap<ImageId, u32>,
    classes: HashMap<ClassId, u32>,
}

impl Counts {
    fn of(endpoints: &[Option<Endpoint>]) -> Counts {
        let mut counts = Counts::default();
        for held in endpoints.iter().flatten().filter_map(|e| e.held.as_ref()) {
            *counts.images.entry(held.image).or_default() += 1;
            *counts.classes.entry(held.class).or_default() += 1;
        }
        counts
    }
}
