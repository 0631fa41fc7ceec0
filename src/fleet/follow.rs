//! Following an upload along the order of its endpoint's image: `text -> rows of the image | rows beside it`, and how it left that way.

use std::ops::Range;

use super::image::{Image, ImageId};
use super::rows::{RowId, Rows};
use crate::scan::table::TableId;

/// How an upload left the way of the image that it was followed along. What it did not leave need not be looked at again: this is what
/// makes the cost of an upload follow its deviations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    pub image: Option<ImageId>,
    /// Rows of the image that were passed over, sorted. Of the tables that were sent, or of all if the upload is a whole scan.
    pub skipped: Vec<RowId>,
    /// Known rows that came beside the way, sorted.
    pub strays: Vec<RowId>,
}

/// How far along an image an upload was followed: what is kept while the rest of it has not come.
#[derive(Debug, Default)]
pub struct Followed {
    way: Way,
    /// The tables that were met.
    met: Vec<TableId>,
    /// The image's rows of the present table that have not come yet, as places in its order.
    ahead: Range<usize>,
    /// The row before.
    last: Option<RowId>,
}

impl Followed {
    /// The image that is followed.
    pub fn image(&self) -> Option<ImageId> {
        self.way.image
    }
}

/// Follows an upload along the order of an image: most rows are the one that is expected next.
#[derive(Debug)]
pub struct Follower<'f> {
    rows: &'f Rows,
    image: Option<&'f Image>,
    at: Followed,
}

/// How far ahead of a mismatch to look before the row is looked up by its hash.
const AHEAD: usize = 3;

impl<'f> Follower<'f> {
    pub fn new(rows: &'f Rows, image: Option<(ImageId, &'f Image)>) -> Follower<'f> {
        let way = Way { image: image.map(|(id, _)| id), ..Way::default() };
        Follower { rows, image: image.map(|(_, image)| image), at: Followed { way, ..Followed::default() } }
    }

    /// Goes on where another one stopped. An image that has gone since is followed no further.
    pub fn resume(rows: &'f Rows, image: Option<&'f Image>, mut at: Followed) -> Follower<'f> {
        if image.is_none() {
            (at.way.image, at.ahead) = (None, 0..0);
        }
        Follower { rows, image, at }
    }

    pub fn stop(self) -> Followed {
        self.at
    }

    /// The way after the last row. The tables that did not come are passed over if `lacks` says that the scan lacks them.
    pub fn finish(mut self, lacks: impl Fn(TableId) -> bool) -> Way {
        self.leave();
        if let Some(image) = self.image {
            for (_, part) in image.tables.iter().filter(|(t, _)| !self.at.met.contains(t) && lacks(*t)) {
                self.at.way.skipped.extend_from_slice(&image.order[part.clone()]);
            }
        }
        self.at.way.skipped.sort_unstable();
        self.at.way.strays.sort_unstable();
        self.at.way.strays.dedup();
        self.at.way
    }

    fn enter(&mut self, table: TableId) {
        self.leave();
        self.at.met.push(table);
        self.at.last = None;
        let part = self.image.and_then(|i| i.tables.iter().find(|(t, _)| *t == table));
        self.at.ahead = part.map_or(0..0, |(_, part)| part.clone());
    }

    /// What is left of a table does not come any more.
    fn leave(&mut self) {
        self.pass(self.at.ahead.end);
    }

    /// Passes over the rows up to a place.
    fn pass(&mut self, to: usize) {
        if let Some(image) = self.image {
            self.at.way.skipped.extend_from_slice(&image.order[self.at.ahead.start..to]);
        }
        self.at.ahead.start = to;
    }

    /// The places where the next row is most likely.
    fn near(&self) -> Range<usize> {
        self.at.ahead.start..self.at.ahead.end.min(self.at.ahead.start + AHEAD)
    }

    /// The rows that the text begins with, as many as come as expected, added to `rows`; their length.
    fn run(&mut self, table: TableId, text: &[u8], most: usize, rows: &mut Vec<u32>) -> Option<usize> {
        if let Some(image) = self.image {
            let template = image.template(self.rows);
            for place in self.near() {
                let to = self.at.ahead.end.min(place.saturating_add(most - rows.len()));
                let (count, len) = template.run(&image.order, place..to, table, text, self.rows);
                if let Some(run) = image.order.get(place..place + count).filter(|run| !run.is_empty()) {
                    self.pass(place);
                    self.at.ahead.start += count;
                    rows.extend_from_slice(run);
                    self.at.last = run.last().copied();
                    return Some(len);
                }
            }
        }
        let (id, len) = self.successor(table, text)?;
        rows.push(id);
        self.at.last = Some(id);
        Some(len)
    }

    /// The row that came after the last one elsewhere, if the text begins with it.
    fn successor(&mut self, table: TableId, text: &[u8]) -> Option<(RowId, usize)> {
        // Beside the way, the row that came after this one elsewhere: so a new mixture of known rows needs few hashes.
        let id = self.rows.next(self.at.last?)?;
        let len = self.rows.begins(id, table, text)?;
        self.beside(id);
        Some((id, len))
    }

    /// A row that was not the next one on the way. If the image has it further on, the way goes on there.
    fn beside(&mut self, id: RowId) {
        let row = self.rows.canonical(id);
        match self.image.and_then(|i| i.place(row)).filter(|place| self.at.ahead.contains(place)) {
            Some(place) => {
                self.pass(place);
                self.at.ahead.start += 1;
            }
            None => self.at.way.strays.push(row),
        }
    }
}

impl crate::scan::native::Known for Follower<'_> {
    fn follow(&mut self, table: TableId, text: &[u8], most: usize, rows: &mut Vec<u32>) -> usize {
        if self.at.met.last() != Some(&table) {
            self.enter(table);
            rows.reserve(self.at.ahead.len());
        }
        let (mut read, mut at) = (0, 0);
        while rows.len() < most
            && let Some(len) = self.run(table, &text[at..], most, rows)
        {
            read = at + len;
            // As our own collector and other plain writers separate rows; other blanks are the reader's.
            at = match text.get(read..) {
                Some([b',', b'\n', b'{', ..]) => read + 2,
                Some([b',', b'{', ..]) => read + 1,
                _ => break,
            };
        }
        read
    }

    fn find(&mut self, table: TableId, raw: &[u8]) -> Option<RowId> {
        self.at.last = self.rows.find(table, raw);
        if let Some(id) = self.at.last {
            self.beside(id);
        }
        self.at.last
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fleet::image::{Images, apply};
    use crate::fleet::rows::Said;
    use proptest::prelude::*;

    fn row(key: u32) -> (crate::scan::native::NewRow, Vec<u8>) {
        let Some(table) = TableId::by_name(if key.is_multiple_of(3) { "sysctl" } else { "sshd" }) else { panic!("a table") };
        let row = crate::scan::Row::new(table).with("key", key.to_string()).with("value", "1");
        let canonical = row.canonical();
        (crate::scan::native::NewRow { row, raw: canonical.clone().into() }, canonical)
    }

    /// A document of rows in any order, some of them twice.
    fn document(keys: &[u32], between: &str) -> Vec<u8> {
        let mut tables: BTreeMap<TableId, Vec<String>> = BTreeMap::new();
        for key in keys {
            let (new, canonical) = row(*key);
            tables.entry(new.row.table).or_default().push(String::from_utf8(canonical).expect("utf-8"));
        }
        let tables: Vec<String> = tables.iter().map(|(t, rows)| format!("\"{}\":[{}]", t.name(), rows.join(between))).collect();
        format!("{{\"format\":\"muster.scan/1\",\"tables\":{{{}}}}}", tables.join(",")).into_bytes()
    }

    proptest! {
        #[test]
        fn a_way_left_anyhow_gives_the_rows_of_the_document(
            image in prop::collection::vec(0u32..60, 0..150),
            between in prop::sample::select(vec![",", ",\n", " , "]),
            moves in prop::collection::vec((0usize..50, 0usize..50), 0..6),
            lacks in prop::collection::btree_set(0u32..60, 0..8),
            more in prop::collection::vec(0u32..90, 0..12),
        ) {
            let mut rows = Rows::default();
            let ids: Vec<RowId> = (0..80).map(|key| { let (new, bytes) = row(key); rows.intern(&new, &bytes, Said::default()).0 }).collect();
            let mut images = Images::default();
            let id = images.found(image.iter().map(|key| ids[*key as usize]).collect(), &mut rows);
            let image_of = images.get(id).expect("founded");
            let mut sent: Vec<u32> = image.into_iter().filter(|key| !lacks.contains(key)).collect();
            for (from, to) in moves.into_iter().filter(|_| !sent.is_empty()).collect::<Vec<_>>() {
                let (from, to) = (from % sent.len(), to % sent.len());
                sent.swap(from, to);
            }
            sent.extend(more);
            let mut follower = Follower::new(&rows, Some((id, image_of)));
            let document = document(&sent, between);
            let decoded = crate::scan::native::decode(&document, &crate::limits::Limits::default(), &mut follower).expect("decoded");
            let way = follower.finish(|_| true);
            let new: Vec<(crate::scan::native::NewRow, Vec<u8>)> = decoded.new.into_iter().map(|n| { let c = n.row.canonical(); (n, c) }).collect();
            let (mut plus, minus) = images.get(id).expect("founded").deviations(way.clone(), &[]);
            let new: Vec<RowId> = new.iter().map(|(n, c)| rows.intern(n, c, Said::default()).0).collect();
            let image_of = images.get(id).expect("founded");
            let (with_new, minus_too) = image_of.deviations(way, &new);
            plus.extend(&new);
            plus.sort_unstable();
            plus.dedup();
            prop_assert_eq!(&with_new, &plus);
            prop_assert_eq!(&minus, &minus_too);
            let mut expected: Vec<RowId> = sent.iter().map(|key| { let (n, c) = row(*key); rows.find(n.row.table, &c).expect("interned") }).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(apply(&image_of.rows, &plus, &minus), expected);
        }
    }
}
