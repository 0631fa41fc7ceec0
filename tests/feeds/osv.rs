//! AlmaLinux's OSV: every advisory, every row, as an independent extraction in Python has them (a SHA-256 over the sorted rows).

use jiff::Timestamp;
use muster::feed::model::{Affected, End, FixState, PackageKind, Start, Target};
use muster::feed::osv;

use super::{data, digest, read};

#[test]
fn all_of_almalinux() {
    let Some(bytes) = data("feeds/alma-osv.tar.gz") else { return };
    let batch = read(osv::read, "alma", &bytes);
    assert_eq!((batch.advisories.len(), batch.problems.len()), (5_680, 0));
    let row = |id: &str, published: Option<Timestamp>, entry: &Affected| {
        let Target::Package(package) = &entry.target else { panic!("{entry:?}") };
        let [range] = &entry.versions.ranges[..] else { panic!("{entry:?}") };
        let End::Before(fixed) = &range.end else { panic!("{entry:?}") };
        assert!(range.start == Start::Open && entry.state == FixState::Fixed && package.kind == PackageKind::Binary);
        assert!(package.platform.as_ref().unwrap().covers(&package.ecosystem.replace("AlmaLinux:", "almalinux:")));
        format!("{id}|{}|{}|{fixed}|{}", package.ecosystem, package.name, published.unwrap())
    };
    // What is of two modules has an entry for each.
    let module = |e: &Affected| match &e.target {
        Target::Package(package) => package.module.clone(),
        _ => None,
    };
    let entries = batch.advisories.iter().flat_map(|a| {
        let first = a.affected.iter().find_map(module);
        a.affected.iter().filter(move |e| module(e).is_none() || module(e) == first).map(move |e| (a, e))
    });
    assert_eq!(batch.advisories.iter().flat_map(|a| &a.affected).filter(|e| module(e).is_some_and(|m| m.name.is_empty())).count(), 267);
    let rows = entries.map(|(a, e)| row(&a.id, a.published, e));
    assert_eq!(digest(rows), (71_329, "af2015d1497fd7a7cde4ac6447035e537a8bb15b70c9430319300384277450ad".into()));
}

/// A zip of two, as the bulk downloads are, with a document that is none.
#[test]
fn an_archive_of_a_registry() {
    let mut zip = zip_writer();
    for (name, text) in [
        (
            "GHSA-1.json",
            r#"{"id":"GHSA-1","aliases":["CVE-2024-1"],"affected":[{"package":{"ecosystem":"npm","name":"left"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"last_affected":"1.2.3"}]}],"versions":["0.9.0"]}]}"#,
        ),
        ("bad.json", "{"),
        ("README.md", "not read"),
    ] {
        zip.add(name, text.as_bytes());
    }
    let batch = read(osv::read, "all.zip", &zip.finish());
    let [one] = &batch.advisories[..] else { panic!("{:?}", batch.problems) };
    // The SEMVER range and the list of versions are of two orders.
    let all: Vec<_> = one.affected.iter().map(|e| (e.versions.contains("1.2.3"), e.versions.contains("1.2.4"))).collect();
    assert!(all.contains(&(Some(true), Some(false))), "{all:?}");
    let problems: Vec<String> = batch.problems.iter().map(ToString::to_string).collect();
    assert!(matches!(&problems[..], [p] if p.starts_with("all.zip/bad.json: refused [json]")), "{problems:?}");
}

/// A zip without compression, written here so that the test needs no other.
struct Zip {
    body: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

fn zip_writer() -> Zip {
    Zip { body: Vec::new(), directory: Vec::new(), count: 0 }
}

impl Zip {
    fn add(&mut self, name: &str, bytes: &[u8]) {
        let crc = !bytes
            .iter()
            .fold(!0u32, |crc, b| (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 }));
        let size = u32::try_from(bytes.len()).unwrap();
        let mut common = Vec::new();
        for half in [20u16, 0, 0, 0, 0] {
            common.extend(half.to_le_bytes());
        }
        for word in [crc, size, size] {
            common.extend(word.to_le_bytes());
        }
        common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend([0, 0]);
        self.directory.extend(b"PK\x01\x02\x14\x00");
        self.directory.extend(&common);
        self.directory.extend([0; 10]);
        self.directory.extend(u32::try_from(self.body.len()).unwrap().to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.body.extend(b"PK\x03\x04");
        self.body.extend(&common);
        self.body.extend(name.as_bytes());
        self.body.extend(bytes);
        self.count += 1;
    }

    fn finish(self) -> Vec<u8> {
        let (at, size) = (self.body.len(), self.directory.len());
        let mut out = self.body;
        out.extend(self.directory);
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend([self.count.to_le_bytes(), self.count.to_le_bytes()].concat());
        for word in [size, at] {
            out.extend(u32::try_from(word).unwrap().to_le_bytes());
        }
        out.extend([0, 0]);
        out
    }
}
