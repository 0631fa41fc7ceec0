//! The definition of what a row says: a [`super::define::Definition`] and a row in, [`super::Says`] out, by the words of `feed::model` alone. The catalog is held against it.

use super::define::Entry;

/// Whether a version is among those of an entry: [`crate::feed::model::Versions::contains`], under the order that the product has.
pub fn contains(entry: &Entry, version: &str) -> bool {
    use crate::feed::model::{End, Start};
    use crate::version::ecosystem::Numbering;

    let order = match entry.order() {
        Some(order) if order.numbering != Numbering::Plain => order,
        _ => return entry.versions.contains(version) == Some(true),
    };
    let started = |start: &Start| match start {
        Start::Open => true,
        Start::At(first) => order.compare(version, first).is_ge(),
        Start::After(last) => order.compare(version, last).is_gt(),
    };
    let ended = |end: &End| match end {
        End::Open => true,
        End::Before(first) => order.compare(version, first).is_lt(),
        End::Through(last) => order.compare(version, last).is_le(),
    };
    entry.versions.exact.iter().any(|e| order.compare(e, version).is_eq())
        || entry.versions.ranges.iter().any(|r| started(&r.start) && ended(&r.end))
}
