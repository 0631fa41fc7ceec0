//! Files of a feed in; definitions, a compiled segment and what changed out. No network and no state: the same files and the same present segments give the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::folder::{IoError, Place};
use super::threats::Part;
use super::{FeedError, FileRecord, Format, News, Speaks};
use crate::feed::model::Advisory;
use crate::feed::{Batch, Problem, Weight};
use crate::limits::Limits;
use crate::patch::catalog::{self, Segment};
use crate::patch::define::{Definition, define};

/// What is there already.
pub(super) struct Present {
    pub segments: Vec<Arc<Segment>>,
    /// Their file names.
    pub names: Vec<String>,
    pub threats: Option<Part>,
}

/// What the files come to.
#[derive(Debug)]
pub(super) struct Built {
    pub entries: usize,
    pub news: News,
    pub problems: Vec<String>,
    pub more_problems: usize,
    pub cycles: Vec<String>,
    pub segments: Vec<String>,
    pub evidence: String,
}

/// With `expected`, the entries that there were, what is suspicious is refused before anything is written.
pub(super) fn build(
    place: &Place,
    format: Format,
    files: &[FileRecord],
    present: Present,
    expected: Option<usize>,
    limits: &Limits,
) -> Result<Built, FeedError> {
    match format.speaks() {
        Speaks::Products => products(place, format, files, present, expected, limits),
        Speaks::Cves => cves(place, format, files, present, expected, limits),
    }
}

/// Vendors' files are cut off more often than halved.
fn plausible(expected: Option<usize>, now: usize, problems: &[String], more: usize) -> Result<(), FeedError> {
    let Some(before) = expected else { return Ok(()) };
    let problem_count = problems.len() + more;
    if now == 0 && (problem_count > 0 || before == 0) {
        return Err(FeedError::Nothing { problems: problem_count, first: problems.first().cloned() });
    }
    if now < before.div_ceil(2) { Err(FeedError::Suspicious { before, now }) } else { Ok(()) }
}

/// INVARIANT: content lies under its digest; what does not fit it any more is not read.
fn content(place: &Place, file: &FileRecord) -> Result<Vec<u8>, FeedError> {
    let path = place.content(&file.sha256);
    let bytes = std::fs::read(&path).map_err(|source| IoError { path, source })?;
    if super::verify::sha256(&bytes) != file.sha256 {
        return Err(FeedError::Damaged { file: file.name.clone() });
    }
    Ok(bytes)
}

/// A file of which nothing can be used fails the sync; a document of a list stands for itself.
fn usable(file: &FileRecord, batch: &Batch) -> Result<(), FeedError> {
    let whole = |p: &&Problem| p.weight == Weight::Refused && p.place.is_empty() && *p.document == *file.short();
    match batch.problems.iter().find(whole).filter(|_| file.listed.is_none()) {
        Some(p) => Err(FeedError::Unusable { file: file.name.clone(), why: p.message.clone() }),
        None => Ok(()),
    }
}

struct Read {
    advisories: Vec<Advisory>,
    problems: Vec<Problem>,
    more: usize,
}

fn read(place: &Place, format: Format, files: &[FileRecord], limits: &Limits) -> Result<Vec<Read>, FeedError> {
    let one = |file: &FileRecord| {
        let mut batch = Batch::new(limits);
        format.read(file.short(), &content(place, file)?, limits, &mut batch);
        usable(file, &batch)?;
        Ok(Read { advisories: batch.advisories, problems: batch.problems, more: batch.more_problems })
    };
    files.par_iter().map(one).collect()
}

/// Which files each advisory is from.
fn origins(read: &[Read]) -> BTreeMap<Box<str>, Vec<usize>> {
    let mut from: BTreeMap<Box<str>, Vec<usize>> = BTreeMap::new();
    for (at, file) in read.iter().enumerate() {
        for advisory in &file.advisories {
            let files = from.entry(advisory.id.clone()).or_default();
            if files.last() != Some(&at) {
                files.push(at);
            }
        }
    }
    from
}

/// Where documents are whole statements, what several files say under one id is the word of the one that was changed last: vendors publish an advisory in
/// archives and by itself. Microsoft's months, by contrast, may each say something of a CVE.
fn settle(read: &mut [Read], from: &mut BTreeMap<Box<str>, Vec<usize>>) {
    for (id, files) in from.iter_mut().filter(|(_, files)| files.len() > 1) {
        let modified = |at: &usize| read.get(*at).and_then(|f| f.advisories.iter().filter(|a| a.id == *id).map(|a| a.modified).max());
        let Some(latest) = files.iter().copied().max_by_key(|at| (modified(at), *at)) else { continue };
        for at in files.iter().filter(|at| **at != latest) {
            if let Some(file) = read.get_mut(*at) {
                file.advisories.retain(|a| a.id != *id);
            }
        }
        *files = vec![latest];
    }
}

fn products(
    place: &Place,
    format: Format,
    files: &[FileRecord],
    present: Present,
    expected: Option<usize>,
    limits: &Limits,
) -> Result<Built, FeedError> {
    let mut read = read(place, format, files, limits)?;
    let mut from = if files.len() > 1 { origins(&read) } else { BTreeMap::new() };
    if matches!(format, Format::Osv | Format::Csaf | Format::Openvex) {
        settle(&mut read, &mut from);
    }
    let count: usize = read.iter().map(|r| r.advisories.len()).sum();
    if count > limits.feed_advisories {
        return Err(FeedError::TooManyAdvisories { limit: limits.feed_advisories });
    }
    let (mut advisories, mut problems, mut more_problems) = (Vec::with_capacity(count), Vec::new(), 0);
    for file in read {
        advisories.extend(file.advisories);
        problems.extend(file.problems.iter().filter(|p| p.weight != Weight::Note).map(ToString::to_string));
        more_problems += file.more;
    }
    let defined = define(advisories, limits)?;
    plausible(expected, defined.definitions.len(), &problems, more_problems)?;
    let cycles = defined.cycles.iter().map(|c| {
        if let [alone] = c.members.as_slice() {
            return format!("{alone} supersedes itself, which does not count");
        }
        let dropped: Vec<String> = c.dropped.iter().map(|(newer, older)| format!("{newer} over {older}")).collect();
        format!("{} supersede each other; left out: {}", c.members.join(", "), dropped.join(", "))
    });
    let compiled = catalog::compile(&defined.definitions, &present.segments);
    let same = compiled.added.is_empty() && compiled.changed.is_empty() && compiled.removed.is_empty();
    let segments = if same && !present.names.is_empty() {
        present.names.clone()
    } else {
        let mut names: Vec<String> = present.names.first().filter(|_| compiled.delta).cloned().into_iter().collect();
        place.room(u64::try_from(compiled.bytes.len()).unwrap_or(u64::MAX), limits)?;
        names.push(place.keep_compiled(&compiled.bytes, SEGMENT)?);
        names
    };
    let evidence = match files.len() {
        0 | 1 => String::new(),
        _ => place.keep_compiled(evidence(&defined.definitions, &from).as_bytes(), EVIDENCE)?,
    };
    Ok(Built {
        entries: defined.definitions.len(),
        news: News { added: compiled.added, changed: compiled.changed, withdrawn: compiled.removed },
        cycles: cycles.collect(),
        problems,
        more_problems,
        segments,
        evidence,
    })
}

pub(super) const SEGMENT: &str = "patches";
pub(super) const EVIDENCE: &str = "evidence";
pub(super) const NEWS: &str = "news";
pub(super) const THREATS: &str = "threats";

/// A line for each definition: its id, and the positions of its files in the state.
fn evidence(definitions: &[Arc<Definition>], from: &BTreeMap<Box<str>, Vec<usize>>) -> String {
    let mut out = String::new();
    for definition in definitions {
        let ids = std::iter::once(&definition.id).chain(&definition.advisories);
        let files: BTreeSet<usize> = ids.filter_map(|id| from.get(id)).flatten().copied().collect();
        let files: Vec<String> = files.iter().map(ToString::to_string).collect();
        // Ids are the vendor's: what would break a line is no id that anybody asks for.
        out.push_str(&format!("{}\t{}\n", definition.id.replace(['\t', '\n'], " "), files.join(",")));
    }
    out
}

/// The positions that [`evidence`] wrote for a definition.
pub(super) fn files_of(path: &Path, id: &str) -> Result<Vec<usize>, IoError> {
    let text = std::fs::read_to_string(path).map_err(|source| IoError { path: path.to_owned(), source })?;
    let line = text.lines().find_map(|l| l.split_once('\t').filter(|(name, _)| *name == id));
    Ok(line.map(|(_, files)| files.split(',').filter_map(|f| f.parse().ok()).collect()).unwrap_or_default())
}

fn cves(
    place: &Place,
    format: Format,
    files: &[FileRecord],
    present: Present,
    expected: Option<usize>,
    limits: &Limits,
) -> Result<Built, FeedError> {
    let mut part = Part::empty(format);
    let (mut problems, mut more_problems) = (Vec::new(), 0);
    for file in files {
        let mut batch = Batch::new(limits);
        part.read(file.short(), &content(place, file)?, limits, &mut batch);
        usable(file, &batch)?;
        problems.extend(batch.problems.iter().filter(|p| p.weight != Weight::Note).map(ToString::to_string));
        more_problems += batch.more_problems;
    }
    plausible(expected, part.len(), &problems, more_problems)?;
    let bytes = part.to_bytes().map_err(|why| FeedError::Unusable { file: format.name().to_owned(), why })?;
    let before = present.threats.unwrap_or_else(|| Part::empty(format));
    let (old, new) = (before.said(), part.said());
    let news = News {
        added: new.keys().filter(|k| !old.contains_key(*k)).map(|k| (*k).into()).collect(),
        changed: new.iter().filter(|(k, v)| old.get(*k).is_some_and(|o| o != *v)).map(|(k, _)| (*k).into()).collect(),
        withdrawn: old.keys().filter(|k| !new.contains_key(*k)).map(|k| (*k).into()).collect(),
    };
    Ok(Built {
        entries: part.len(),
        news,
        problems,
        more_problems,
        cycles: Vec::new(),
        segments: vec![place.keep_compiled(&bytes, THREATS)?],
        evidence: String::new(),
    })
}

/// A compiled file of KEV or EPSS.
pub(super) fn open_threats(path: PathBuf) -> Result<Part, String> {
    let bytes = std::fs::read(&path).map_err(|e| format!("`{}`: {e}", path.display()))?;
    Part::of(&bytes).map_err(|e| format!("`{}`: {e}", path.display()))
}
