//! Definitions in, the bytes of a segment out: everything of a feed, or what changed since its base.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;

use super::Compiled;
use super::key::{self, Key};
use super::wire::{self, ALL, BELOW, Group, NONE, Record, SECTIONS, Section, Segment, VULNERABILITY, word};
use crate::feed::model::{End, FixState, PackageKind, Range, Start, Target};
use crate::patch::define::{Definition, Entry, Kind};
use crate::patch::facts::{self, Conditions};
use crate::patch::{explain, windows};

/// A delta may hold up to this part of what its base holds.
const DELTA: usize = 4;

/// Compiles the definitions of a feed: against the base (and delta) that there is, only what changed since the base, unless that is a quarter or more. What
/// changed is found by comparing the definitions' bytes, and told against what is there now.
pub fn compile(definitions: &[Arc<Definition>], present: &[Arc<Segment>]) -> Compiled {
    let mut sorted: Vec<&Definition> = definitions.iter().map(Arc::as_ref).collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    sorted.dedup_by(|a, b| a.id == b.id);
    let mut out = Compiled::default();
    let mut since_base: Vec<&Definition> = Vec::new();
    let mut bytes = Vec::new();
    let base = present.first().map(Arc::as_ref);
    for definition in &sorted {
        write(definition, &mut bytes);
        match held(present, &definition.id) {
            None => out.added.push(definition.id.clone()),
            Some(there) if there != bytes.as_slice() => out.changed.push(definition.id.clone()),
            Some(_) => {}
        }
        if base.and_then(|b| b.definition_bytes(b.position(&definition.id)?)) != Some(bytes.as_slice()) {
            since_base.push(definition);
        }
    }
    let is_there = |id: &str| sorted.binary_search_by(|d| (*d.id).cmp(id)).is_ok();
    let known = present.iter().flat_map(|s| (0..word(s.len())).filter_map(|at| s.id(at)));
    let gone: BTreeSet<&str> = known.filter(|id| !is_there(id)).collect();
    out.removed = gone.iter().filter(|id| held(present, id).is_some()).map(|id| Box::from(*id)).collect();
    let gone_from_base: Vec<&str> = gone.into_iter().filter(|id| base.is_some_and(|b| b.position(id).is_some())).collect();
    out.delta = base.is_some_and(|b| (since_base.len() + gone_from_base.len()) * DELTA < b.len());
    out.bytes = match base.filter(|_| out.delta) {
        Some(base) => build(&since_base, &gone_from_base, Some(base.digest())),
        None => build(&sorted, &[], None),
    };
    out
}

/// The bytes of a definition as the segments together hold it.
fn held<'s>(present: &'s [Arc<Segment>], id: &str) -> Option<&'s [u8]> {
    for (at, segment) in present.iter().enumerate().rev() {
        if let Some(there) = segment.position(id) {
            return segment.definition_bytes(there);
        }
        if at > 0 && segment.removed().any(|r| r == id) {
            return None;
        }
    }
    None
}

fn write(definition: &Definition, out: &mut Vec<u8>) {
    out.clear();
    // INVARIANT: nothing in a definition refuses to be written, and a Vec takes all bytes.
    *out = postcard::to_extend(definition, std::mem::take(out)).unwrap_or_default();
}

fn build(definitions: &[&Definition], removed: &[&str], base: Option<&str>) -> Vec<u8> {
    let mut builder = Builder::default();
    let mut bytes = Vec::new();
    for definition in definitions {
        write(definition, &mut bytes);
        builder.add(definition, &bytes);
    }
    for id in removed {
        let id = builder.strings.add(id);
        builder.removed.push(id);
    }
    wire::assemble(&builder.sections(), definitions.len(), base)
}

/// Strings, each once.
#[derive(Default)]
struct Strings {
    known: HashMap<Box<str>, u32>,
    bytes: Vec<u8>,
    ends: Vec<u64>,
}

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        if let Some(id) = self.known.get(text) {
            return *id;
        }
        let id = word(self.ends.len());
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len() as u64);
        self.known.insert(text.into(), id);
        id
    }

    /// Nothing for an empty one.
    fn some(&mut self, text: &str) -> u32 {
        if text.is_empty() { NONE } else { self.add(text) }
    }
}

/// Byte strings behind one another, each once.
#[derive(Default)]
struct Blobs {
    known: HashMap<Box<[u8]>, u64>,
    bytes: Vec<u8>,
}

impl Blobs {
    fn add(&mut self, blob: &[u8]) -> u64 {
        if let Some(at) = self.known.get(blob) {
            return *at;
        }
        let at = self.bytes.len() as u64;
        self.bytes.extend_from_slice(blob);
        self.known.insert(blob.into(), at);
        at
    }

    /// A list of words behind its length; its place in words.
    fn list(&mut self, words: &[u32]) -> u32 {
        let mut blob = word(words.len()).to_le_bytes().to_vec();
        blob.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        u32::try_from(self.add(&blob) / 4).unwrap_or(NONE)
    }
}

#[derive(Default)]
struct Builder {
    strings: Strings,
    ids: Vec<u32>,
    definitions: Vec<u8>,
    definition_ends: Vec<u64>,
    removed: Vec<u32>,
    /// Key to group.
    groups: HashMap<Box<[u8]>, u32>,
    /// By group: hash and key.
    keys: Vec<(u64, Box<[u8]>)>,
    records: Vec<(u32, Record)>,
    bounds: Blobs,
    targets: Blobs,
    subjects: Blobs,
    superseded: Vec<u32>,
    superseded_ends: Vec<u32>,
    key: Key,
}

impl Builder {
    fn add(&mut self, definition: &Definition, bytes: &[u8]) {
        let number = word(self.ids.len());
        let id = self.strings.add(&definition.id);
        self.ids.push(id);
        self.definitions.extend_from_slice(bytes);
        self.definition_ends.push(self.definitions.len() as u64);
        let somewhere: BTreeMap<&str, &[Box<str>]> = definition.superseded_on.iter().map(|(id, on)| (&**id, on.as_slice())).collect();
        for above in &definition.superseded_by {
            match somewhere.get(&**above) {
                None => self.superseded.push(self.strings.add(above)),
                Some(on) => on.iter().for_each(|on| self.superseded.push(self.strings.add(&wire::replaced_on(above, on)))),
            }
        }
        self.superseded_ends.push(word(self.superseded.len()));
        for entry in &definition.entries {
            self.entry(definition, entry, number);
        }
        if facts::names_hotfix(&definition.id) && !definition.entries.is_empty() {
            let always = definition.superseded_by.iter().filter(|id| !somewhere.contains_key(&***id));
            let having: BTreeSet<&str> = always.chain([&definition.id]).map(|id| &**id).collect();
            let record = Record {
                definition: number,
                target: NONE,
                subjects: NONE,
                state: 0,
                flags: 0,
                scheme: 0,
                numbering: 0,
                prefix: 0,
                bounds: 0,
            };
            for id in having {
                self.key.hotfix(id);
                self.place(record);
            }
            for (id, on) in somewhere {
                for system in on.iter().map(|s| &**s).chain([""]) {
                    self.key.hotfix_on(id, system);
                    self.place(record);
                }
            }
        }
    }

    fn entry(&mut self, definition: &Definition, entry: &Entry, number: u32) {
        let subjects: Vec<u32> = explain::subjects(definition, entry).into_iter().map(|s| self.strings.add(s)).collect();
        let (scheme, numbering) = key::order_to_bytes(entry.order());
        let kind = match &entry.target {
            Target::Package(package) => kind_to_u8(package.kind),
            Target::Windows(_) | Target::Product(_) => kind_to_u8(PackageKind::Either),
        };
        let vulnerability = if definition.kind == Kind::Vulnerability { VULNERABILITY } else { 0 };
        let (shape, prefix, bounds) = self.bounds(entry, scheme, numbering);
        let record = Record {
            definition: number,
            target: self.target(entry),
            subjects: self.subjects.list(&subjects),
            state: state_to_u8(entry.state),
            flags: kind | vulnerability | shape,
            scheme,
            numbering,
            prefix,
            bounds,
        };
        match &entry.target {
            Target::Package(package) => {
                match &package.platform {
                    Some(platform) => self.key.platform(&package.name, &platform.id, &platform.version),
                    None => {
                        let registry = facts::registry(&package.ecosystem);
                        self.key.registry(&facts::name_in(&registry, &package.name), &registry);
                    }
                }
                self.place(record);
            }
            Target::Product(product) => {
                self.key.program(&product.name.to_lowercase());
                self.place(record);
            }
            Target::Windows(of) => {
                let systems: BTreeSet<String> = of
                    .products
                    .iter()
                    .filter(|p| facts::told_by_system(definition, entry, p))
                    .filter_map(|p| windows::system_of(p))
                    .collect();
                let alone = of.products.iter().filter(|p| explain::tells_versions(entry) && windows::system_of(p).is_none());
                let programs: BTreeSet<String> = alone.map(|p| p.to_lowercase()).collect();
                let build = self.build(entry);
                for system in systems {
                    self.key.system(&system);
                    self.place(Record { bounds: build, ..record });
                }
                for program in programs {
                    self.key.program(&program);
                    self.place(record);
                }
            }
        }
    }

    /// Puts a record into the group of the present key.
    fn place(&mut self, record: Record) {
        let group = match self.groups.get(self.key.bytes.as_slice()) {
            Some(group) => *group,
            None => {
                let group = word(self.keys.len());
                self.keys.push((self.key.hash(), self.key.bytes.as_slice().into()));
                self.groups.insert(self.key.bytes.as_slice().into(), group);
                group
            }
        };
        self.records.push((group, record));
    }

    /// What is asked of a row besides: channel, module, beginning of the version, modular or not, vendor; architectures.
    fn target(&mut self, entry: &Entry) -> u32 {
        let conditions = Conditions::of(entry);
        let (channel, module, vendor) = match &entry.target {
            Target::Package(package) => {
                let channel = package.platform.as_ref().map_or("", |p| &*p.channel);
                (channel, &*conditions.module, "")
            }
            Target::Product(product) => ("", "", &*product.vendor),
            Target::Windows(_) => ("", "", ""),
        };
        let modular = conditions.modular.map_or(2, u32::from);
        let mut words = vec![
            self.strings.some(channel),
            self.strings.some(module),
            self.strings.some(conditions.stream),
            modular,
            self.strings.some(vendor),
        ];
        for arch in &conditions.arches {
            words.push(self.strings.add(arch));
        }
        self.targets.list(&words)
    }

    /// Shape of the versions, prefix of the fix, and the rest: the key of the fix behind its length; ranges behind their number, each with what its ends
    /// are and their keys; exact versions likewise.
    fn bounds(&mut self, entry: &Entry, scheme: u8, numbering: u8) -> (u8, u64, u64) {
        let key = |version: &str| {
            let mut out = Vec::new();
            key::write_version(scheme, numbering, version, &mut out);
            out
        };
        // A key may be empty; no fix is told by a length that no key has.
        let fixed = Some(&*entry.fixed).filter(|f| !f.is_empty()).map(key);
        let mut blob = Vec::new();
        match &fixed {
            Some(fixed) => sized(fixed, &mut blob),
            None => blob.extend_from_slice(&NONE.to_le_bytes()),
        }
        let known = scheme != key::UNKNOWN;
        let open = |r: &Range| r.start == Start::Open && r.end == End::Open;
        let shape = match &entry.versions.ranges[..] {
            ranges if ranges.iter().any(open) => ALL,
            [Range { start: Start::Open, end: End::Before(end) }]
                if known && entry.versions.exact.is_empty() && fixed.as_ref() == Some(&key(end)) =>
            {
                BELOW
            }
            _ => 0,
        };
        if shape == 0 {
            // Without an order ranges with ends cannot be judged.
            let ranges = entry.versions.ranges.iter().filter(|_| known);
            blob.extend_from_slice(&word(ranges.clone().count()).to_le_bytes());
            for range in ranges {
                let start = match &range.start {
                    Start::Open => (0, None),
                    Start::At(v) => (1, Some(v)),
                    Start::After(v) => (2, Some(v)),
                };
                let end = match &range.end {
                    End::Open => (0, None),
                    End::Before(v) => (1, Some(v)),
                    End::Through(v) => (2, Some(v)),
                };
                for (tag, version) in [start, end] {
                    blob.push(tag);
                    if let Some(version) = version {
                        sized(&key(version), &mut blob);
                    }
                }
            }
            blob.extend_from_slice(&word(entry.versions.exact.len()).to_le_bytes());
            entry.versions.exact.iter().for_each(|exact| sized(&key(exact), &mut blob));
        }
        (shape, key::prefix(&fixed.unwrap_or_default()), self.bounds.add(&blob))
    }

    /// Of an operating system: whether there is a build that has the fix, and its numbers.
    fn build(&mut self, entry: &Entry) -> u64 {
        let mut blob = Vec::new();
        if let Some(numbers) = facts::build(&entry.build) {
            blob.push(1);
            blob.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        } else {
            blob.push(0);
        }
        self.bounds.add(&blob)
    }

    fn sections(mut self) -> [Vec<u8>; SECTIONS] {
        let mut order: Vec<u32> = (0..word(self.keys.len())).collect();
        let of = |group: u32| self.keys.get(wire::index(group));
        order.sort_by(|a, b| of(*a).cmp(&of(*b)));
        let mut place = vec![0u32; order.len()];
        for (at, group) in order.iter().enumerate() {
            if let Some(slot) = place.get_mut(wire::index(*group)) {
                *slot = word(at);
            }
        }
        let placed = |group: u32| place.get(wire::index(group)).copied().unwrap_or(NONE);
        // Stable: within a group in the order of the definitions.
        self.records.sort_by_key(|(group, _)| placed(*group));
        let mut counts = vec![0u32; order.len()];
        for (group, _) in &self.records {
            if let Some(count) = counts.get_mut(wire::index(placed(*group))) {
                *count += 1;
            }
        }
        let (mut groups, mut keys, mut first, mut hashes) = (Vec::new(), Vec::new(), 0u32, Vec::with_capacity(order.len()));
        for (group, count) in order.iter().zip(&counts) {
            let Some((hash, key)) = of(*group) else { continue };
            let entry = Group { hash: *hash, key: keys.len() as u64, key_len: word(key.len()), first, count: *count };
            entry.write(&mut groups);
            keys.extend_from_slice(key);
            first += count;
            hashes.push(*hash);
        }
        let mut records = Vec::with_capacity(self.records.len() * wire::RECORD);
        self.records.iter().for_each(|(_, record)| record.write(&mut records));
        let words = |list: &[u32]| list.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let ends = |list: &[u64]| [0].iter().chain(list).flat_map(|e| e.to_le_bytes()).collect::<Vec<u8>>();
        let mut out: [Vec<u8>; SECTIONS] = std::array::from_fn(|_| Vec::new());
        let mut put = |section: Section, bytes: Vec<u8>| {
            if let Some(slot) = out.get_mut(section as usize) {
                *slot = bytes;
            }
        };
        put(Section::StringEnds, ends(&self.strings.ends));
        put(Section::Strings, self.strings.bytes);
        put(Section::Ids, words(&self.ids));
        put(Section::DefinitionEnds, ends(&self.definition_ends));
        put(Section::Definitions, self.definitions);
        put(Section::Removed, words(&self.removed));
        put(Section::Directory, directory(&hashes));
        put(Section::Groups, groups);
        put(Section::Keys, keys);
        put(Section::Records, records);
        put(Section::Bounds, self.bounds.bytes);
        put(Section::Targets, self.targets.bytes);
        put(Section::Subjects, self.subjects.bytes);
        put(Section::SupersededEnds, [vec![0; 4], words(&self.superseded_ends)].concat());
        put(Section::Superseded, words(&self.superseded));
        out
    }
}

/// Where the hashes begin that begin with these bits: about one for each slot.
fn directory(hashes: &[u64]) -> Vec<u8> {
    let bits = (hashes.len().max(1)).ilog2().max(1);
    let mut out = Vec::with_capacity((1 << bits) * 4 + 4);
    let mut at = 0;
    for slot in 0..=1u64 << bits {
        while hashes.get(at).is_some_and(|h| h >> (64 - bits) < slot) {
            at += 1;
        }
        out.extend_from_slice(&word(at).to_le_bytes());
    }
    out
}

fn sized(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&word(key.len()).to_le_bytes());
    out.extend_from_slice(key);
}

fn kind_to_u8(kind: PackageKind) -> u8 {
    match kind {
        PackageKind::Binary => 0,
        PackageKind::Source => 1,
        PackageKind::Either => 2,
    }
}

pub(super) fn kind_from_u8(n: u8) -> Option<PackageKind> {
    [PackageKind::Binary, PackageKind::Source, PackageKind::Either].get(usize::from(n)).copied()
}

fn state_to_u8(state: FixState) -> u8 {
    match state {
        FixState::Fixed => 0,
        FixState::WillNotFix => 1,
        FixState::NoFix => 2,
        FixState::NotAffected => 3,
        FixState::UnderInvestigation => 4,
    }
}

pub(super) fn state_from_u8(n: u8) -> Option<FixState> {
    let states = [FixState::Fixed, FixState::WillNotFix, FixState::NoFix, FixState::NotAffected, FixState::UnderInvestigation];
    states.get(usize::from(n)).copied()
}

/// A definition with something in every place, as it is written: another shape has other bytes.
pub(super) fn sample() -> Vec<u8> {
    use crate::feed::model::{Exploitation, Module, Package, Platform, Product, Restart, Score, Severity, Source, Versions, Windows};
    let package = Package {
        ecosystem: "e".into(),
        platform: Some(Platform::new("p", "1", "c")),
        kind: PackageKind::Either,
        name: "n".into(),
        arches: vec!["a".into()],
        module: Some(Module { name: "m".into(), stream: "s".into() }),
    };
    let product =
        Product { vendor: "v".into(), name: "n".into(), cpe: "c".into(), purl: "p".into(), platform: "p".into(), arches: vec!["a".into()] };
    let windows = Windows { products: vec!["p".into()], component: "c".into() };
    let range = Range { start: Start::After("1".into()), end: End::Through("2".into()) };
    let scheme = Some(crate::version::Scheme::Date);
    let entry = |target| Entry {
        target,
        versions: Versions { scheme, ranges: vec![range.clone()], exact: vec!["3".into()], text: "t".into() },
        numbering: crate::version::ecosystem::Numbering::YearMonth,
        state: FixState::UnderInvestigation,
        fixed: "4".into(),
        build: "5".into(),
        about: vec!["CVE".into()],
        reason: "r".into(),
    };
    let definition = Definition {
        id: "i".into(),
        kind: Kind::Vulnerability,
        source: Source::Oval,
        publisher: "p".into(),
        title: "t".into(),
        summary: "s".into(),
        severity: Severity::of("critical"),
        scores: vec![Score { vector: "v".into(), about: vec!["CVE".into()], by: "b".into() }],
        published: Some(jiff::Timestamp::UNIX_EPOCH),
        modified: Some(jiff::Timestamp::UNIX_EPOCH),
        cves: vec!["CVE".into()],
        advisories: vec!["A".into()],
        references: vec!["R".into()],
        exploitation: Exploitation { exploited: Some(true), disclosed: Some(true), exploits: vec!["E".into()] },
        restart: Some(Restart::Yes),
        superseded_by: vec!["S".into()],
        superseded_on: vec![("S".into(), vec!["W".into()])],
        entries: [Target::Package(package), Target::Windows(windows), Target::Product(product)].map(entry).to_vec(),
    };
    let mut out = Vec::new();
    write(&definition, &mut out);
    out
}
