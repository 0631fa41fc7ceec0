//! The text of an image: its rows one after the other in one block, as an upload most likely brings them. `text of an upload -> how many rows are as expected`.
//!
//! Rows lie where they were allocated when they were new, so that comparing an upload with them row by row meets memory that no cache has. A block is read as fast
//! as memory can be. It is a copy, kept for images that uploads come for and as long as there is room (`limits.image_text_bytes`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::rows::{RowId, Rows};

/// What our own collectors, and most other writers, put between two rows.
const BETWEEN: &[u8] = b",\n";

#[derive(Debug)]
pub struct Template {
    text: Box<[u8]>,
    /// Where each row ends; the next begins after [`BETWEEN`].
    ends: Box<[u32]>,
}

impl Template {
    /// The text of rows in an order; `None` for one that is larger than any upload.
    fn of(order: &[RowId], rows: &Rows) -> Option<Template> {
        let length: usize = order.iter().map(|row| rows.bytes(*row).len() + BETWEEN.len()).sum();
        u32::try_from(length).ok()?;
        let (mut text, mut ends) = (Vec::with_capacity(length), Vec::with_capacity(order.len()));
        for row in order {
            text.extend_from_slice(rows.bytes(*row));
            ends.push(u32::try_from(text.len()).ok()?);
            text.extend_from_slice(BETWEEN);
        }
        Some(Template { text: text.into(), ends: ends.into() })
    }

    fn bytes(&self) -> usize {
        self.text.len() + 4 * self.ends.len()
    }

    /// How many rows from one place on, and before another, an upload goes on with, and how many bytes of it they are. Rows are whole JSON objects, so a text
    /// that begins with one has that object there.
    pub fn run(&self, from: usize, to: usize, upload: &[u8]) -> (usize, usize) {
        let start = from.checked_sub(1).map_or(0, |before| self.end(before) + BETWEEN.len());
        let Some(ends) = self.ends.get(from..to) else { return (0, 0) };
        let Some(part) = ends.last().and_then(|end| self.text.get(start..*end as usize)) else { return (0, 0) };
        let same = start + common(part, upload);
        let count = ends.partition_point(|end| *end as usize <= same);
        let length = count.checked_sub(1).and_then(|last| ends.get(last)).map_or(0, |end| *end as usize - start);
        (count, length)
    }

    fn end(&self, place: usize) -> usize {
        self.ends.get(place).map_or(0, |end| *end as usize)
    }
}

/// How many bytes two texts begin with alike. Block by block, as comparing is fastest; then within the block that differs.
fn common(a: &[u8], b: &[u8]) -> usize {
    let end = a.len().min(b.len());
    let (mut at, mut size) = (0, 1024);
    while size > 0 {
        while at + size <= end && a[at..at + size] == b[at..at + size] {
            at += size;
        }
        size /= 4;
    }
    at
}

/// The place for an image's template.
#[derive(Debug, Default)]
pub(super) struct Place {
    template: OnceLock<Option<Template>>,
    /// Since [`Room::forget`] looked last.
    used: AtomicBool,
}

impl Place {
    pub(super) fn get(&self) -> Option<&Template> {
        let template = self.template.get()?.as_ref();
        // Read first: a store would take the line from the other readers.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        template
    }
}

/// How much all templates may take.
#[derive(Debug, Default)]
pub(super) struct Room {
    taken: AtomicUsize,
    /// Calls of [`Room::forget`] that found too little room.
    full: u32,
}

impl Room {
    /// Makes the template of an image, if it has none and there is room.
    pub(super) fn make(&self, place: &Place, order: &[RowId], rows: &Rows, limit: usize) {
        if place.template.get().is_some() || self.taken.load(Ordering::Relaxed) >= limit {
            return;
        }
        place.template.get_or_init(|| {
            let template = Template::of(order, rows)?;
            self.taken.fetch_add(template.bytes(), Ordering::Relaxed);
            Some(template)
        });
    }

    /// An image, or only its template, goes.
    pub(super) fn drop(&self, place: &mut Place) {
        if let Some(Some(template)) = place.template.take() {
            self.taken.fetch_sub(template.bytes(), Ordering::Relaxed);
        }
    }

    /// Makes room, when most of it is taken: templates that nothing came for since the last time go. Called every second, it looks once a minute: making one costs as much as
    /// it saves with a few uploads.
    pub(super) fn forget<'p>(&mut self, places: impl Iterator<Item = &'p mut Place>, limit: usize) {
        if self.taken.load(Ordering::Relaxed) < limit / 8 * 7 {
            return;
        }
        self.full = (self.full + 1) % 60;
        if self.full != 1 {
            return;
        }
        for place in places {
            if !std::mem::take(place.used.get_mut()) {
                self.drop(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::rows::Said;
    use crate::scan::native::NewRow;
    use crate::scan::table::TableId;

    fn known(keys: &[&str]) -> (Rows, Vec<RowId>) {
        let table = TableId::by_name("sysctl").expect("sysctl");
        let mut rows = Rows::default();
        let ids = keys.iter().map(|key| {
            let row = crate::scan::Row::new(table).with("key", *key).with("value", "1");
            let canonical = row.canonical();
            rows.intern(&NewRow { row, raw: canonical.clone().into() }, &canonical, Said::default()).0
        });
        let ids = ids.collect();
        (rows, ids)
    }

    #[test]
    fn a_run_ends_where_the_first_row_differs_or_is_cut_off() {
        let long = "x".repeat(3000);
        let (rows, order) = known(&["a", "b", &long, "d"]);
        let template = Template::of(&order, &rows).expect("template");
        let texts: Vec<&[u8]> = order.iter().map(|id| rows.bytes(*id)).collect();
        let whole = texts.join(&b",\n"[..]);
        assert_eq!(template.run(0, 4, &whole), (4, whole.len()));
        assert_eq!(template.run(0, 3, &whole), (3, whole.len() - texts[3].len() - 2));
        assert_eq!(template.run(1, 4, &whole), (0, 0));
        assert_eq!(template.run(1, 4, &whole[texts[0].len() + 2..]), (3, whole.len() - texts[0].len() - 2));
        for cut in 0..whole.len() {
            let (count, length) = template.run(0, 4, &whole[..cut]);
            assert_eq!(length, texts[..count].join(&b",\n"[..]).len());
            assert!(length <= cut && (count == 4 || length + 2 + texts[count].len() > cut || count == 0 && cut < texts[0].len()), "{cut}");
        }
        for other in 0..whole.len() {
            let mut changed = whole.clone();
            changed[other] ^= 1;
            let (count, length) = template.run(0, 4, &changed);
            assert!(length <= other && (count == 4 || length + 2 + texts[count].len() > other), "{other}: {count}");
        }
        assert_eq!(template.run(0, 0, &whole), (0, 0));
        assert_eq!(template.run(0, 5, &whole), (0, 0));
    }

    #[test]
    fn templates_that_nobody_uses_make_room_for_others() {
        let (rows, order) = known(&["a", "b"]);
        let (mut room, mut places) = (Room::default(), [Place::default(), Place::default(), Place::default()]);
        let one = Template::of(&order, &rows).expect("template").bytes();
        let limit = 2 * one;
        places.iter().for_each(|place| room.make(place, &order, &rows, limit));
        let there = |places: &[Place; 3]| places.each_ref().map(|p| p.template.get().is_some());
        assert_eq!(there(&places), [true, true, false], "there is room for two");
        places[1].get().expect("a template");
        room.forget(places.iter_mut(), limit);
        assert_eq!(there(&places), [false, true, false]);
        room.make(&places[2], &order, &rows, limit);
        assert_eq!(there(&places), [false, true, true]);
        (0..60).for_each(|_| room.forget(places.iter_mut(), limit));
        assert_eq!(there(&places), [false, false, false], "none was used since");
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}
