//! Dictionaries for uploads: what the scans of an image have in common, known to both sides so that it is not sent. `an image -> raw content for zstd -> who may use it`.
//!
//! Coded as RFC 9842 says (`dcz`): 8 bytes that are always the same, the SHA-256 of the dictionary, a zstd frame. There are few of them; one that nobody has used for
//! a day makes room for another, and who uses it afterwards is told so and sends without. They lie beside the store as files, so that a restart makes none of them unknown.
//!
//! INVARIANT: an endpoint learns nothing of another one. A dictionary has rows of `SHARED` tables only, which say what is installed and how the system is set, and
//! only those that at least `SHARERS` endpoints have; and it is for endpoints that are at an image like the one that it was made of.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use zstd::zstd_safe::DDict;

use crate::fleet::image::ImageId;
use crate::fleet::rows::RowId;
use crate::fleet::{EndpointId, Fleet};
use crate::limits::Limits;
use crate::scan::inflate::{DCZ_MAGIC, DictionaryId as Id, Encoding, InflateError, inflate, inflate_with};
use crate::scan::table::TableId;
use crate::shard::Shard;

/// Tables whose rows are in dictionaries.
const SHARED: [&str; 6] = ["os", "package", "sysctl", "service", "kernel_module", "hotfix"];
const SHARERS: usize = 3;
/// Larger ones win nothing any more.
const BYTES_MAX: usize = 512 << 10;
/// How long one is kept that nobody uses, while there is no room for others.
const IDLE_MS: i64 = 24 * 3_600_000;

/// The id of a dictionary.
pub fn id(dictionary: &[u8]) -> Id {
    Sha256::digest(dictionary).into()
}

/// A body as it is sent with a dictionary.
pub fn compress(body: &[u8], dictionary: &[u8]) -> std::io::Result<Vec<u8>> {
    // The frame says its size, so that the server inflates it at once.
    let frame = zstd::bulk::Compressor::with_dictionary(3, dictionary)?.compress(body)?;
    Ok([&DCZ_MAGIC[..], &id(dictionary), &frame].concat())
}

/// One that the server knows.
pub struct Dictionary {
    pub id: Id,
    /// As it is sent and stored.
    pub zipped: Bytes,
    /// Its bytes.
    pub size: usize,
    digested: DDict<'static>,
    /// The rows of the image that it was made of, as long as they are known: to find one for an image that is like it.
    rows: Box<[RowId]>,
    used_ms: AtomicI64,
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dictionary").field("id", &self.id).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Dictionary {
    fn new(text: &[u8], rows: Box<[RowId]>, now_ms: i64) -> Option<Dictionary> {
        let zipped = zstd::bulk::compress(text, 9).ok()?.into();
        let used_ms = AtomicI64::new(now_ms);
        Some(Dictionary { id: id(text), zipped, size: text.len(), digested: DDict::try_create(text)?, rows, used_ms })
    }

    /// Decompresses a frame that was made with it.
    pub fn inflate(&self, frame: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<(), InflateError> {
        inflate_with(&self.digested, self.size, frame, limits, out)
    }

    fn name(&self) -> String {
        self.id.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn used(&self) -> i64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    /// Whether three quarters of some rows are among its own.
    fn is_like(&self, rows: &[RowId]) -> bool {
        let (mut same, mut own) = (0, self.rows.iter().peekable());
        for row in rows {
            while own.next_if(|o| *o < row).is_some() {}
            same += usize::from(own.next_if_eq(&row).is_some());
        }
        same >= rows.len() - rows.len() / 4
    }
}

/// Those that the server knows.
#[derive(Debug, Default)]
pub struct Dictionaries {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    folder: Option<PathBuf>,
    all: Vec<Arc<Dictionary>>,
}

/// What to make a dictionary of.
pub struct Source {
    rows: Box<[RowId]>,
    text: Vec<u8>,
}

impl Source {
    /// The image of an endpoint, if enough others are at it.
    pub fn of(shard: &Shard, endpoint: &str) -> Option<Source> {
        let fleet = &shard.fleet;
        let held = fleet.get(fleet.find(endpoint)?)?.held.as_ref()?;
        let image = fleet.images.get(held.image)?;
        let (lacks, looked_at) = lacks(fleet, held.image);
        if looked_at < SHARERS {
            return None;
        }
        let mut text = b"{\"format\":\"muster.scan/1\",\"tables\":{".to_vec();
        for table in SHARED.iter().filter_map(|name| TableId::by_name(name)) {
            text.extend_from_slice(format!("\n\"{}\":[", table.name()).as_bytes());
            for row in image.part(table).iter().filter(|row| looked_at >= SHARERS + lacks.get(*row).copied().unwrap_or(0)) {
                let bytes = fleet.rows.bytes(*row);
                if text.len() + bytes.len() > BYTES_MAX {
                    break;
                }
                text.extend_from_slice(b"\n");
                text.extend_from_slice(bytes);
                text.extend_from_slice(b",");
            }
        }
        Some(Source { rows: image.rows.clone(), text })
    }
}

/// How many of some endpoints that are at an image lack rows of it, and how many were looked at.
fn lacks(fleet: &Fleet, image: ImageId) -> (BTreeMap<RowId, usize>, usize) {
    /// Enough to tell what is common.
    const LOOKED_AT: usize = 64;
    let clusters = fleet.index().clusters().filter(|(_, cluster)| cluster.image == image);
    let endpoints = clusters.flat_map(|(_, cluster)| cluster.endpoints.iter()).take(LOOKED_AT);
    let (mut lacks, mut looked_at) = (BTreeMap::new(), 0);
    for held in endpoints.filter_map(|at| fleet.get(EndpointId(at))?.held.as_ref()) {
        looked_at += 1;
        held.minus.iter().for_each(|row| *lacks.entry(*row).or_default() += 1);
    }
    (lacks, looked_at)
}

impl Dictionaries {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what an earlier process left in a folder, and keeps new ones there.
    pub fn open(&self, folder: &Path, limits: &Limits, now_ms: i64) {
        let entries = fs::read_dir(folder).map(|all| all.filter_map(|e| Some(e.ok()?.path())).collect());
        let mut paths: Vec<PathBuf> = entries.unwrap_or_default();
        paths.sort();
        let read = |path: &PathBuf| {
            let (zipped, mut text) = (fs::read(path).ok()?, Vec::new());
            inflate(Encoding::Zstd, &zipped, limits, &mut text).ok()?;
            let made = Dictionary::new(&text, Box::default(), now_ms)?;
            path.file_stem().is_some_and(|stem| stem.to_str() == Some(&made.name())).then_some(made)
        };
        // Each takes some milliseconds.
        let read: Vec<Option<Dictionary>> = paths.par_iter().map(read).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.folder = Some(folder.to_owned());
        for (path, made) in paths.into_iter().zip(read) {
            match made {
                Some(dictionary) if known.all.len() < limits.dictionaries => known.all.push(Arc::new(dictionary)),
                _ => {
                    // Who used it is told that it is not known, and sends without.
                    tracing::warn!(path = %path.display(), "not a dictionary of this server, or one too many; it goes");
                    drop(fs::remove_file(&path));
                }
            }
        }
    }

    /// The one that a body names.
    pub fn find(&self, id: &Id, now_ms: i64) -> Option<Arc<Dictionary>> {
        let found = self.read().all.iter().find(|d| d.id == *id).cloned()?;
        found.used_ms.store(now_ms, Ordering::Relaxed);
        Some(found)
    }

    /// One for the endpoints of an image: made of one like it, or of this one if there is room.
    pub fn offer(&self, source: Source, limits: &Limits, now_ms: i64) -> Option<Arc<Dictionary>> {
        let like = self.read().all.iter().find(|d| d.is_like(&source.rows)).cloned();
        if let Some(like) = like {
            like.used_ms.store(now_ms, Ordering::Relaxed);
            return Some(like);
        }
        let made = Arc::new(Dictionary::new(&source.text, source.rows, now_ms)?);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        // The same text again: after a restart it is not known what rows it was made of.
        known.all.retain(|d| d.id != made.id);
        if known.all.len() >= limits.dictionaries {
            let (at, _) = known.all.iter().enumerate().min_by_key(|(_, d)| d.used()).filter(|(_, d)| now_ms - d.used() > IDLE_MS)?;
            let old = known.all.swap_remove(at);
            if let Some(folder) = &known.folder {
                drop(fs::remove_file(file(folder, &old)));
            }
        }
        if let Some(folder) = &known.folder
            && let Err(error) = keep(folder, &made)
        {
            tracing::warn!(%error, "a dictionary for uploads is not kept; after a restart it will not be known");
        }
        known.all.push(made.clone());
        Some(made)
    }
}

fn file(folder: &Path, dictionary: &Dictionary) -> PathBuf {
    folder.join(format!("{}.zst", dictionary.name()))
}

/// Written aside and renamed in, so that a crash leaves none that is half there.
fn keep(folder: &Path, dictionary: &Dictionary) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut aside = tempfile::NamedTempFile::new_in(folder)?;
    aside.write_all(&dictionary.zipped)?;
    aside.persist(file(folder, dictionary)).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::inflate::split;

    fn source(first: u32) -> Source {
        let text = (0..2000).map(|n| format!("{{\"name\":\"package-{}\",\"version\":\"{first}\"}},\n", n * 7919)).collect::<String>();
        Source { rows: (first..first + 100).collect(), text: text.into_bytes() }
    }

    #[test]
    fn what_is_compressed_with_one_comes_back_and_is_small() {
        let (all, limits) = (Dictionaries::default(), Limits::default());
        let text = source(1).text;
        let made = all.offer(source(1), &limits, 1).expect("made");
        let body = String::from_utf8(text.clone()).expect("text").replace("package-7919\"", "another\"").into_bytes();
        let sent = compress(&body, &text).expect("compressed");
        assert!(sent.len() < 1000, "{}", sent.len());
        let (id, frame) = split(&sent).expect("split");
        let found = all.find(&id, 2).expect("known");
        assert_eq!((found.id, found.size), (made.id, text.len()));
        let mut out = Vec::new();
        found.inflate(frame, &limits, &mut out).expect("inflated");
        assert!(out == body);
        assert!(found.inflate(&frame[..frame.len() / 2], &limits, &mut out).is_err() && out.is_empty());
        let small = Limits { inflated_bytes: 1000, ..Limits::default() };
        let refused = found.inflate(frame, &small, &mut out).expect_err("a bomb").to_string();
        assert!(refused.contains("limits.inflated_bytes"), "{refused}");
        let zeros = compress(&vec![0; 40 << 20], &text).expect("compressed");
        let refused = found.inflate(&zeros[40..], &limits, &mut out).expect_err("a bomb").to_string();
        assert!(refused.contains("limits.inflate_ratio"), "{refused}");
        assert!(split(&sent[..39]).is_none() && split(b"").is_none() && split(&sent[1..]).is_none());
    }

    #[test]
    fn they_are_shared_bounded_kept_and_given_up_when_idle() {
        let folder = tempfile::tempdir().expect("folder");
        let limits = Limits { dictionaries: 2, ..Limits::default() };
        let all = Dictionaries::default();
        all.open(&folder.path().join("d"), &limits, 0);
        let (a, b) = (all.offer(source(1), &limits, 1).expect("a"), all.offer(source(1000), &limits, 2).expect("b"));
        let like = Source { rows: (20..120).collect(), text: b"not looked at".to_vec() };
        assert_eq!(all.offer(like, &limits, 3).map(|d| d.id), Some(a.id), "three quarters are the same");
        assert!(all.offer(source(5000), &limits, IDLE_MS).is_none(), "both were used within a day");
        assert!(all.find(&a.id, IDLE_MS).is_some());
        let c = all.offer(source(5000), &limits, IDLE_MS + 10).expect("c");
        assert!(all.find(&b.id, IDLE_MS).is_none() && all.find(&a.id, IDLE_MS).is_some());
        let again = Dictionaries::default();
        fs::write(folder.path().join("d/00.zst"), "nonsense").expect("written");
        again.open(&folder.path().join("d"), &limits, 0);
        assert!(again.find(&a.id, 1).is_some() && again.find(&c.id, 1).is_some() && again.find(&b.id, 1).is_none());
        assert_eq!(again.offer(source(5000), &limits, 2).map(|d| d.id), Some(c.id), "made anew it is the same one");
        assert_eq!(again.read().all.len(), 2);
        assert_eq!(fs::read_dir(folder.path().join("d")).expect("folder").count(), 2);
    }
}
