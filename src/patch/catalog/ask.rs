//! What a row says, by the index: the groups that its keys name, the records of those groups, and of these what stands after all of the feed has spoken.
//!
//! [`crate::patch::explain`] is the definition of each step. INVARIANT: whatever the bytes of a segment are, a row is asked in bounded time: [`STEPS`].

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::compile::{kind_from_u8, state_from_u8};
use super::key::{self, Key};
use super::wire::{ALL, BELOW, Group, KIND, NONE, Record, Section, VULNERABILITY, index, u32_at, u64_at};
use super::{Slot, wire};
use crate::feed::model::{FixState, PackageKind};
use crate::patch::facts::{self, Conditions, Software};
use crate::patch::{Note, PatchId, Says, explain, windows};
use crate::scan::Row;

/// Records, CVEs and bounds that are read for one row of one feed. No real feed comes near; a damaged file may name the same list over and over.
const STEPS: u64 = 1 << 27;

/// What one record says of the row.
struct Hit<'a> {
    slot: &'a Slot,
    record: Record,
    /// `None`: it is not affected.
    says: Option<Says>,
    /// The version that was compared.
    version: &'a str,
    /// The key of the fix.
    fixed: Option<&'a [u8]>,
    channel: &'a str,
    module: &'a str,
}

impl<'a> Hit<'a> {
    fn line(&self) -> Line<'a> {
        (self.version, self.record.scheme, self.record.numbering, self.channel, self.module)
    }

    fn patch(&self) -> PatchId {
        self.slot.first.saturating_add(self.record.definition)
    }

    /// Whether later fixes bring it along.
    fn supersedable(&self) -> bool {
        self.record.flags & VULNERABILITY == 0 && matches!(self.says, Some(Says::Lacks | Says::Wants | Says::Old))
    }
}

/// Fixes are compared where they come from the same place for the same thing.
type Line<'a> = (&'a str, u8, u8, &'a str, &'a str);

/// The number of a line, and a fix.
type InLine<'a> = (usize, &'a [u8]);

/// Asks the segments of one feed, and adds what the row says to `out`.
pub(super) fn ask(slots: &[Slot], row: &Row, fully: bool, out: &mut Vec<Note>) {
    let mut asking = Asking { slots, hits: Vec::new(), versions: Versions::default(), steps: STEPS };
    let (mut software, mut system) = (None, None);
    match row.table.name() {
        "package" | "update" => software = Software::of(row),
        "os" => {
            system = windows::product(row);
            software = Software::running(row).filter(|_| system.is_none());
        }
        "hotfix" => {
            if let Some(id) = facts::hotfix(row) {
                return hotfix(slots, &id, facts::hotfix_system(row).as_deref().unwrap_or(""), out);
            }
        }
        _ => {}
    }
    if let Some(software) = &software {
        asking.software(software, row.table.name(), fully);
    }
    if let Some(system) = &system {
        asking.system(system, facts::build(row.get("build").as_str().unwrap_or("")));
    }
    asking.settle(row.table.name() == "os", system.as_deref(), out);
}

fn hotfix(slots: &[Slot], id: &str, system: &str, out: &mut Vec<Note>) {
    let (mut anywhere, mut here) = (Key::default(), Key::default());
    anywhere.hotfix(id);
    here.hotfix_on(id, system);
    for slot in slots {
        for key in [&anywhere, &here] {
            let Some(group) = slot.segment.group(key.hash(), &key.bytes) else { continue };
            let alive = slot.segment.records(&group).filter(|r| slot.is_alive(r.definition));
            out.extend(alive.map(|r| Note::new(slot.first + r.definition, Says::Has, false)));
        }
    }
}

/// Order keys of the row's versions, each made once.
#[derive(Default)]
struct Versions<'a>(Vec<Version<'a>>);

struct Version<'a> {
    text: &'a str,
    order: (u8, u8),
    key: Vec<u8>,
    prefix: u64,
}

impl<'a> Versions<'a> {
    fn of(&mut self, text: &'a str, record: &Record) -> &Version<'a> {
        let order = (record.scheme, record.numbering);
        let at = match self.0.iter().position(|v| v.order == order && v.text == text) {
            Some(at) => at,
            None => {
                let mut key = Vec::with_capacity(24);
                key::write_version(order.0, order.1, text, &mut key);
                let prefix = key::prefix(&key);
                self.0.push(Version { text, order, key, prefix });
                self.0.len() - 1
            }
        };
        &self.0[at]
    }
}

struct Asking<'a> {
    slots: &'a [Slot],
    hits: Vec<Hit<'a>>,
    versions: Versions<'a>,
    /// What may still be read.
    steps: u64,
}

/// What is asked about: one name of the row.
struct Question<'a, 'q> {
    software: &'q Software<'a>,
    table: &'q str,
    fully: bool,
    version: &'a str,
    /// Kinds of names that an entry may have to be answered under this one.
    kinds: [bool; 3],
}

impl<'a> Asking<'a> {
    fn software(&mut self, software: &Software<'a>, table: &str, fully: bool) {
        let mut key = Key::default();
        let registry = facts::registry(software.format);
        let language = facts::is_language(software.format);
        let spelled: Vec<_> = software.called.iter().map(|c| facts::name_in(&registry, &c.name)).collect();
        for (at, called) in software.called.iter().enumerate() {
            // An entry goes by the first name that it fits.
            let kinds = |same: &dyn Fn(usize) -> bool| {
                [PackageKind::Binary, PackageKind::Source, PackageKind::Either].map(|kind| {
                    let before = software.called.iter().take(at).enumerate();
                    facts::kind_fits(kind, called.source) && !before.into_iter().any(|(i, c)| same(i) && facts::kind_fits(kind, c.source))
                })
            };
            let question = |kinds| Question { software, table, fully, version: called.version, kinds };
            if !software.release.is_empty() && !language {
                let plain = kinds(&|i| software.called.get(i).is_some_and(|c| c.name == called.name));
                for slot in self.slots {
                    let mut groups = Vec::new();
                    key.each_platform(&called.name, &software.release, |hash, key| groups.extend(slot.segment.group(hash, key)));
                    groups.iter().for_each(|group| self.group(slot, group, &question(plain)));
                }
            }
            let name = spelled.get(at).map_or("", |n| n);
            if !software.format.is_empty() {
                key.registry(name, &registry);
                let spelled = kinds(&|i| spelled.get(i).is_some_and(|s| *s == name));
                self.look_up(&key, &question(spelled));
            }
            if at == 0 && table == "package" && !language {
                key.program(&called.name.to_lowercase());
                self.look_up(&key, &question([true; 3]));
            }
        }
    }

    fn look_up(&mut self, key: &Key, question: &Question<'a, '_>) {
        let hash = key.hash();
        for slot in self.slots {
            if let Some(group) = slot.segment.group(hash, &key.bytes) {
                self.group(slot, &group, question);
            }
        }
    }

    fn group(&mut self, slot: &'a Slot, group: &Group, question: &Question<'a, '_>) {
        let mut last: Option<(u32, Option<(&'a str, &'a str)>)> = None;
        for record in slot.segment.records(group) {
            let Some(left) = self.steps.checked_sub(1) else { return };
            self.steps = left;
            let fits =
                kind_from_u8(record.flags & KIND).is_some_and(|_| question.kinds.get(usize::from(record.flags & KIND)) == Some(&true));
            if !fits || !slot.is_alive(record.definition) {
                continue;
            }
            let target = match last {
                Some((known, target)) if known == record.target => target,
                _ => {
                    let target = target(slot, record.target, question.software, &mut self.steps);
                    last = Some((record.target, target));
                    target
                }
            };
            let Some((channel, module)) = target else { continue };
            let Some((says, fixed)) = self.judge(slot, &record, question) else { continue };
            self.hits.push(Hit { slot, record, says, version: question.version, fixed, channel, module });
        }
    }

    /// What a record says of the row, and the key of its fix.
    fn judge(&mut self, slot: &'a Slot, record: &Record, question: &Question<'a, '_>) -> Option<(Option<Says>, Option<&'a [u8]>)> {
        let state = state_from_u8(record.state)?;
        let version = self.versions.of(question.version, record);
        if record.flags & BELOW != 0 && version.prefix > record.prefix && !question.wants_has() && state == FixState::Fixed {
            // Most of all: an ordinary package that has the fix.
            return None;
        }
        let mut bounds = Bounds { bytes: slot.segment.section(Section::Bounds), at: usize::try_from(record.bounds).ok()? };
        let fixed = match bounds.word()? {
            NONE => None,
            len => Some(bounds.take(index(len))?),
        };
        let inside = if record.flags & ALL != 0 {
            true
        } else if record.flags & BELOW != 0 {
            version.key.as_slice() < fixed?
        } else {
            bounds.contain(&version.key, &mut self.steps)?
        };
        // Without an order only the version itself is known to have the fix.
        let past = |fixed: &[u8]| if record.scheme == key::UNKNOWN { version.key == fixed } else { version.key.as_slice() >= fixed };
        let mended = !inside && state == FixState::Fixed && fixed.is_some_and(past);
        let says = match (question.table, inside) {
            ("update", _) => mended.then_some(Some(Says::Offers)),
            ("os", true) => match state {
                FixState::Fixed => Some(Some(Says::Old)),
                FixState::NotAffected => Some(None),
                FixState::NoFix | FixState::WillNotFix | FixState::UnderInvestigation => None,
            },
            ("os", false) => None,
            (_, true) => Some(match state {
                FixState::Fixed if question.software.beside => Some(Says::Wants),
                FixState::Fixed => Some(Says::Lacks),
                other => unfixed(other),
            }),
            (_, false) => (mended && question.wants_has()).then_some(Some(Says::Has)),
        };
        says.map(|says| (says, fixed))
    }

    fn system(&mut self, system: &str, here: Option<[u64; 4]>) {
        let mut key = Key::default();
        key.system(system);
        let hash = key.hash();
        for slot in self.slots {
            let Some(group) = slot.segment.group(hash, &key.bytes) else { continue };
            for record in slot.segment.records(&group).filter(|r| slot.is_alive(r.definition)) {
                let Some(state) = state_from_u8(record.state) else { continue };
                let says = match (state, here, first_build(slot, &record)) {
                    (FixState::Fixed, Some([a, b, c, mine]), Some([x, y, z, first])) if [a, b, c] == [x, y, z] => {
                        Some(if mine < first { Says::Old } else { Says::Has })
                    }
                    (FixState::Fixed, ..) => Some(Says::Wants),
                    (other, ..) => unfixed(other),
                };
                self.hits.push(Hit { slot, record, says, version: "", fixed: None, channel: "", module: "" });
            }
        }
    }

    /// What stands after all have spoken. On a system of Windows one update brings along another.
    fn settle(mut self, system: bool, windows: Option<&str>, out: &mut Vec<Note>) {
        self.take_away();
        let (lines, latest) = self.latest();
        let behind = |at: usize| lines.get(at).copied().flatten().is_some_and(|(line, fixed)| fixed < latest[line]);
        // By patch, the strongest first.
        let mut said: Vec<(PatchId, u8, Says, bool, usize)> = Vec::with_capacity(self.hits.len());
        for (at, hit) in self.hits.iter().enumerate() {
            if let Some(says) = hit.says {
                said.push((hit.patch(), explain::strength(says, system), says, behind(at), at));
            }
        }
        // Not superseded before superseded: one entry that no later one brings along is enough.
        said.sort_unstable();
        said.dedup_by_key(|(patch, ..)| *patch);
        let wanted: BTreeSet<&str> = said
            .iter()
            .filter(|(_, _, says, ..)| windows.is_some() && matches!(says, Says::Wants | Says::Old))
            .filter_map(|(.., at)| self.hits.get(*at))
            .filter_map(|hit| hit.slot.segment.id(hit.record.definition))
            .collect();
        let mut steps = self.steps;
        out.extend(said.iter().filter_map(|(patch, _, says, behind, at)| {
            let hit = self.hits.get(*at)?;
            let mut above = hit.slot.segment.superseded_by(hit.record.definition);
            let replaced = windows.filter(|_| hit.supersedable()).is_some_and(|windows| {
                above.any(|id| {
                    steps = steps.saturating_sub(1);
                    let (id, on) = id.split_once('@').map_or((id, None), |(id, on)| (id, Some(on)));
                    steps > 0 && on.is_none_or(|on| on == windows) && wanted.contains(id)
                })
            });
            Some(Note::new(*patch, *says, *behind || replaced))
        }));
    }

    /// What is not affected takes away what others say of the same CVEs.
    fn take_away(&mut self) {
        let steps = std::cell::Cell::new(self.steps);
        let subjects = |hit: &Hit<'a>| {
            let segment = &hit.slot.segment;
            let list = segment.list(Section::Subjects, hit.record.subjects);
            let steps = &steps;
            list.take_while(move |_| {
                steps.set(steps.get().saturating_sub(1));
                steps.get() > 0
            })
            .map(move |id| segment.string(id).unwrap_or(""))
        };
        let mut denied: BTreeSet<(&str, &str)> = BTreeSet::new();
        for hit in self.hits.iter().filter(|h| h.says.is_none()) {
            denied.extend(subjects(hit).map(|s| (hit.channel, s)));
        }
        if !denied.is_empty() {
            self.hits.retain(|hit| !subjects(hit).all(|s| denied.contains(&(hit.channel, s)) || denied.contains(&("", s))));
        }
        self.steps = steps.get();
    }

    /// The number of each hit's line with its fix, if it is in one; and the highest fix of each line.
    fn latest(&self) -> (Vec<Option<InLine<'a>>>, Vec<&'a [u8]>) {
        let (mut numbers, mut latest, mut last) = (HashMap::new(), Vec::new(), None);
        let number_of = |hit: &Hit<'a>| {
            let fixed = hit.fixed.filter(|_| hit.supersedable() && hit.record.scheme != key::UNKNOWN)?;
            let number = match last {
                Some((line, number)) if is_same_place(&line, &hit.line()) => number,
                _ => *numbers.entry(hit.line()).or_insert(latest.len()),
            };
            if number == latest.len() {
                latest.push(fixed);
            }
            latest[number] = fixed.max(latest[number]);
            last = Some((hit.line(), number));
            Some((number, fixed))
        };
        (self.hits.iter().map(number_of).collect(), latest)
    }
}

/// Whether two lines are the same texts in memory: mostly hits that follow one another are of one line, and comparing texts is most of the work then.
fn is_same_place(a: &Line, b: &Line) -> bool {
    (a.1, a.2) == (b.1, b.2) && std::ptr::eq(a.0, b.0) && std::ptr::eq(a.3, b.3) && std::ptr::eq(a.4, b.4)
}

impl Question<'_, '_> {
    /// Whether it matters that a package has a fix.
    fn wants_has(&self) -> bool {
        self.fully || self.software.beside || self.table == "update"
    }
}

fn unfixed(state: FixState) -> Option<Says> {
    match state {
        FixState::NoFix => Some(Says::NoFix),
        FixState::WillNotFix => Some(Says::WillNotFix),
        FixState::UnderInvestigation => Some(Says::Investigating),
        FixState::Fixed | FixState::NotAffected => None,
    }
}

/// Channel and module of a target that fits; `None` for one that does not.
fn target<'a>(slot: &'a Slot, at: u32, software: &Software, steps: &mut u64) -> Option<(&'a str, &'a str)> {
    let segment = &slot.segment;
    let mut words = segment.list(Section::Targets, at);
    let mut text = || words.next().map(|id| if id == NONE { "" } else { segment.string(id).unwrap_or("") });
    let (channel, module, stream) = (text()?, text()?, text()?);
    let modular = match words.next()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    };
    let vendor = words.next().map(|id| if id == NONE { "" } else { segment.string(id).unwrap_or("") })?;
    let mut arches = Vec::new();
    for id in words {
        *steps = steps.checked_sub(1)?;
        arches.push(segment.string(id).unwrap_or(""));
    }
    let fits = software.fits(&Conditions { arches, modular, stream, module: module.into() }) && facts::vendor_like(vendor, software.vendor);
    fits.then_some((channel, module))
}

fn first_build(slot: &Slot, record: &Record) -> Option<[u64; 4]> {
    let at = usize::try_from(record.bounds).ok()?;
    let bytes = slot.segment.section(Section::Bounds).get(at..)?;
    let number = |n: usize| u64_at(bytes, 1 + n * 8);
    match bytes.first()? {
        1 => Some([number(0)?, number(1)?, number(2)?, number(3)?]),
        _ => None,
    }
}

/// Reads keys of versions.
struct Bounds<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Bounds<'b> {
    fn word(&mut self) -> Option<u32> {
        let word = u32_at(self.bytes, self.at)?;
        self.at += 4;
        Some(word)
    }

    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    /// One end of a range: what it is, and its key.
    fn end(&mut self) -> Option<(u8, &'b [u8])> {
        let [tag] = *self.take(1)?.first_chunk()?;
        let key = if tag == 0 { &[][..] } else { self.sized()? };
        Some((tag, key))
    }

    fn sized(&mut self) -> Option<&'b [u8]> {
        let len = self.word()?;
        self.take(wire::index(len))
    }

    fn contain(&mut self, key: &[u8], steps: &mut u64) -> Option<bool> {
        for _ in 0..self.word()? {
            *steps = steps.checked_sub(1)?;
            let (start, end) = (self.end()?, self.end()?);
            let started = match start {
                (0, _) => true,
                (1, first) => key >= first,
                (_, last) => key > last,
            };
            let inside = match end {
                (0, _) => true,
                (1, first) => key < first,
                (_, last) => key <= last,
            };
            if started && inside {
                return Some(true);
            }
        }
        for _ in 0..self.word()? {
            *steps = steps.checked_sub(1)?;
            if self.sized()? == key {
                return Some(true);
            }
        }
        Some(false)
    }
}
