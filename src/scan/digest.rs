//! The digest of a scan: what an endpoint and the server both compute to know that they mean the same facts.
//!
//! A 256-bit sum over the rows' hashes, so that a changed row costs one subtraction and one addition however large the scan is, and the
//! order of rows does not matter. `row hash = blake3("row", table, canonical bytes)`; a collected table adds `blake3("table", name)`, one that
//! failed adds `blake3("failed", name, reason)`; parts are separated by a zero byte. Sums can be made to collide by somebody who
//! tries, but only by lying about their own endpoint, which no digest prevents: facts are equal when their bytes are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::TableId;
use super::{Scan, TableData};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest([u64; 4]);

impl Digest {
    fn hash(kind: &str, name: &str, text: &[u8]) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(kind.as_bytes()).update(&[0]).update(name.as_bytes()).update(&[0]).update(text);
        let bytes = hasher.finalize();
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.as_bytes().chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(chunk);
            *word = u64::from_le_bytes(eight);
        }
        Digest(words)
    }

    pub fn of_row(table: TableId, canonical: &[u8]) -> Digest {
        Digest::hash("row", table.name(), canonical)
    }

    /// Of a table's being there, or of its having failed.
    pub fn of_table(table: TableId, failed: Option<&str>) -> Digest {
        match failed {
            None => Digest::hash("table", table.name(), b""),
            Some(why) => Digest::hash("failed", table.name(), why.as_bytes()),
        }
    }

    pub fn add(&mut self, other: &Digest) {
        let mut carry = false;
        for (a, b) in self.0.iter_mut().zip(other.0) {
            let (sum, over) = a.overflowing_add(b);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            *a = sum;
            carry = over || again;
        }
    }

    pub fn subtract(&mut self, other: &Digest) {
        let mut borrow = false;
        for (a, b) in self.0.iter_mut().zip(other.0) {
            let (rest, under) = a.overflowing_sub(b);
            let (rest, again) = rest.overflowing_sub(u64::from(borrow));
            *a = rest;
            borrow = under || again;
        }
    }

    /// Of a parsed scan: the sum over its tables.
    pub fn of_scan(scan: &Scan) -> Digest {
        let mut sum = Digest::default();
        scan.tables.iter().for_each(|(table, data)| sum.add(&Digest::of_data(*table, data)));
        sum
    }

    /// Of one table of a scan; rows that are there twice count once.
    pub fn of_data(table: TableId, data: &TableData) -> Digest {
        match data {
            TableData::Failed(why) => Digest::of_table(table, Some(why)),
            TableData::Rows(rows) => {
                let mut sum = Digest::of_table(table, None);
                let distinct: std::collections::BTreeSet<Vec<u8>> = rows.iter().map(super::Row::canonical).collect();
                distinct.iter().for_each(|r| sum.add(&Digest::of_row(table, r)));
                sum
            }
        }
    }

    /// 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Digest> {
        let hash = blake3::Hash::from_hex(hex).ok()?;
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(chunk);
            *word = u64::from_le_bytes(eight);
        }
        Some(Digest(words))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().flat_map(|w| w.to_le_bytes()).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_cancel_and_text_comes_back() {
        let Some(table) = TableId::by_name("sysctl") else { panic!("sysctl") };
        let rows: Vec<Digest> = (0..100u32).map(|i| Digest::of_row(table, &i.to_le_bytes())).collect();
        let mut sum = Digest::default();
        rows.iter().for_each(|r| sum.add(r));
        let before = sum;
        assert_eq!(Digest::parse(&sum.to_string()), Some(sum));
        assert_eq!(sum.to_string().len(), 64);
        rows.iter().rev().for_each(|r| sum.subtract(r));
        assert_eq!(sum, Digest::default());
        rows.iter().rev().for_each(|r| sum.add(r));
        assert_eq!(sum, before);
        assert_ne!(Digest::of_table(table, None), Digest::of_table(table, Some("")));
        assert_eq!(Digest::parse("xyz"), None);
    }
}
