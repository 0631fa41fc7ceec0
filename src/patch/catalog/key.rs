//! What a row is looked up by: the same bytes, made of an entry when it is compiled and of a row when it is asked about.
//!
//! A package goes by its name and by every platform that covers its release: of `debian:12.5` these are 12.5, 12 and all of Debian. The name comes first, so
//! that the hashes of those keys have their beginning in common.

use super::wire::Hash;
use crate::version::Scheme;
use crate::version::ecosystem::{Numbering, Order};

/// A name and a platform, or the beginnings of one.
#[derive(Debug, Default)]
pub(super) struct Key {
    pub bytes: Vec<u8>,
}

impl Key {
    /// Lengths stand before what is followed by something else, so that no two keys have the same bytes.
    fn start(&mut self, kind: u8, first: &str, second: &str) {
        self.bytes.clear();
        self.bytes.push(kind);
        for part in [first, second] {
            self.bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            self.bytes.extend_from_slice(part.as_bytes());
        }
    }

    pub(super) fn platform(&mut self, name: &str, id: &str, version: &str) {
        self.start(b'P', name, id);
        self.bytes.extend_from_slice(version.as_bytes());
    }

    /// Calls with each platform that covers a release.
    pub(super) fn each_platform(&mut self, name: &str, release: &str, mut found: impl FnMut(u64, &[u8])) {
        let (id, version) = release.split_once(':').unwrap_or((release, ""));
        self.platform(name, id, version);
        let start = self.bytes.len() - version.len();
        let (head, tail) = self.bytes.split_at(start);
        let mut hash = Hash::of(head);
        found(hash.spread(), head);
        for (at, byte) in tail.iter().enumerate() {
            if *byte == b'.' && at > 0 {
                found(hash.spread(), self.bytes.get(..start + at).unwrap_or(head));
            }
            hash = hash.and(&[*byte]);
        }
        if !tail.is_empty() {
            found(hash.spread(), &self.bytes);
        }
    }

    /// A package of a language's registry.
    pub(super) fn registry(&mut self, name: &str, registry: &str) {
        self.start(b'R', name, registry);
    }

    /// An operating system by Microsoft's name.
    pub(super) fn system(&mut self, name: &str) {
        self.start(b'S', name, "");
    }

    /// A program by its name alone.
    pub(super) fn program(&mut self, name: &str) {
        self.start(b'A', name, "");
    }

    /// An installed update.
    pub(super) fn hotfix(&mut self, id: &str) {
        self.start(b'H', id, "");
    }

    /// An installed update, for what it replaces on one system only; without a system, on any.
    pub(super) fn hotfix_on(&mut self, id: &str, system: &str) {
        self.start(b'h', id, system);
    }

    pub(super) fn hash(&self) -> u64 {
        Hash::of(&self.bytes).spread()
    }
}

/// No scheme.
pub(super) const UNKNOWN: u8 = u8::MAX;

const NUMBERINGS: [Numbering; 3] = [Numbering::Plain, Numbering::ShortYear, Numbering::YearMonth];

/// An order as a record holds it.
pub(super) fn order_to_bytes(order: Option<Order>) -> (u8, u8) {
    let Some(order) = order else { return (UNKNOWN, 0) };
    let scheme = Scheme::ALL.iter().position(|s| *s == order.scheme).and_then(|at| u8::try_from(at).ok());
    let numbering = NUMBERINGS.iter().position(|n| *n == order.numbering).and_then(|at| u8::try_from(at).ok());
    (scheme.unwrap_or(UNKNOWN), numbering.unwrap_or(0))
}

/// The order key of a version; without an order its own bytes, which can only be equal or not.
pub(super) fn write_version(scheme: u8, numbering: u8, version: &str, out: &mut Vec<u8>) {
    match (Scheme::ALL.get(usize::from(scheme)), NUMBERINGS.get(usize::from(numbering))) {
        (Some(scheme), None | Some(Numbering::Plain)) => scheme.write_key(version, out),
        (Some(scheme), Some(numbering)) => Order { scheme: *scheme, numbering: *numbering }.write_key(version, out),
        (None, _) => out.extend_from_slice(version.as_bytes()),
    }
}

/// The first eight bytes of an order key as a number that sorts as they do. Equal ones say nothing.
pub(super) fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(key) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::model::Platform;

    #[test]
    fn keys_of_a_release_are_the_platforms_that_cover_it() {
        let versions = ["", "8", "8.1", "8.10", "8.10.2", "80", ".", "8.", "10"];
        for release in
            ["almalinux:8.10", "almalinux:8", "almalinux", "almalinux:", "almalinux:8.10.2", "almalinux:8..1", "almalinux:.5", "rocky:8.10"]
        {
            let mut key = Key::default();
            let mut found = Vec::new();
            key.each_platform("bash", release, |hash, bytes| found.push((hash, bytes.to_vec())));
            for version in versions {
                key.platform("bash", "almalinux", version);
                let entry = (key.hash(), key.bytes.clone());
                assert_eq!(found.contains(&entry), Platform::new("almalinux", version, "").covers(release), "{version} of {release}");
            }
            let mut once = found.clone();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), found.len(), "{release}");
        }
    }

    #[test]
    fn prefixes_never_say_the_wrong_order() {
        let keys: [&[u8]; 6] = [b"", b"\0", b"ab", b"ab\0", b"abcdefgh", b"abcdefghi"];
        for a in keys {
            for b in keys {
                assert!(prefix(a) == prefix(b) || prefix(a).cmp(&prefix(b)) == a.cmp(b), "{a:?} {b:?}");
            }
        }
    }
}
