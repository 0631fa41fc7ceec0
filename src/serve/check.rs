//! Whether a store is whole: `the data folder of a stopped daemon -> what is kept, and everything that is wrong with it`.
//!
//! Nothing is repaired and nothing is written, but for what opening the store always does after a crash. What can be computed a second way is: digests from rows,
//! the index from the fleet, and for some endpoints verdicts from the definition.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::{ServeError, packs};
use crate::fleet::image::{Image, ImageId};
use crate::fleet::rows::RowId;
use crate::fleet::{EndpointId, Fleet, Held};
use crate::judge::Verdict;
use crate::limits::Limits;
use crate::pack::Pack;
use crate::scan::digest::Digest;
use crate::shard::Shard;
use crate::state::embedded::EmbeddedStore;
use crate::state::{Reader, Space, Store, StoreError, split_pair};

/// Problems that are said one by one; all are counted.
const NAMED_MAX: usize = 100;
/// Events that are read at once.
const PAGE: usize = 10_000;

/// What is in a store, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub endpoints: usize,
    pub rows: usize,
    pub images: usize,
    pub verdict_classes: usize,
    pub events: u64,
    /// What waits for sinks.
    pub deliveries: usize,
    /// The digest of the rules that the verdicts were given by; `None` if there are none.
    pub pack: Option<String>,
    /// Endpoints whose verdicts were held against the definition.
    pub explained: usize,
    /// Not wrong, and worth knowing.
    pub notes: Vec<String>,
    /// The first ones of all.
    pub problems: Vec<String>,
    pub problems_total: usize,
}

impl Checked {
    fn problem(&mut self, what: String) {
        self.problems_total += 1;
        if self.problems.len() < NAMED_MAX {
            self.problems.push(what);
        }
    }
}

/// Loads the store of a data folder and holds it against itself; so many endpoints' verdicts against the definition.
pub fn check(data: &Path, sample: usize) -> Result<Checked, ServeError> {
    let folder = data.join("store");
    if !folder.is_dir() {
        let why = "there is no store here; `--data` names the folder of the daemon's `data`".to_owned();
        return Err(StoreError::Open { path: folder, why }.into());
    }
    let mut store = EmbeddedStore::open(&folder, 0)?;
    let meta = meta(&store)?;
    let mut out = Checked { pack: meta.get("pack").cloned(), ..Checked::default() };
    if !meta.contains_key("id") {
        out.problem("the store has no id: no daemon ever served from it".to_owned());
        return Ok(out);
    }
    let empty = Pack::from_bytes(crate::pack::compile(&[], &[])).map_err(|e| ServeError::Problems(vec![e.to_string()]))?;
    let known = meta.get("pack").and_then(|digest| packs::stored(data, digest));
    let judged = known.is_some();
    let mut shard = Shard::load(&mut store, Limits::default(), "check", |_| known, Arc::new(empty))?;
    check_fleet(&shard.fleet, &mut out);
    check_keys(&store, &shard, &mut out)?;
    check_events(&*store.reader(), &shard, &mut out)?;
    if judged {
        check_verdicts(&mut shard, sample, &mut out);
    } else if let Some(pack) = &out.pack {
        out.notes
            .push(format!("the compiled rules {pack} are not in `packs`: verdicts were not looked at, the next start gives them anew"));
    }
    Ok(out)
}

fn meta(store: &EmbeddedStore) -> Result<BTreeMap<String, String>, StoreError> {
    let mut meta = BTreeMap::new();
    store.each(Space::Meta, &mut |k, v| {
        meta.insert(String::from_utf8_lossy(k).into_owned(), String::from_utf8_lossy(v).into_owned());
        Ok(())
    })?;
    Ok(meta)
}

/// References, counts, digests, the index.
fn check_fleet(fleet: &Fleet, out: &mut Checked) {
    (out.endpoints, out.rows, out.images, out.verdict_classes) = (fleet.len(), fleet.rows.len(), fleet.images.len(), fleet.classes.len());
    let mut sums: BTreeMap<ImageId, (Digest, u32)> = BTreeMap::new();
    for (id, image) in fleet.images.iter() {
        let missing = image.rows.iter().filter(|row| fleet.rows.table(**row).is_none()).count();
        if missing > 0 {
            out.problem(format!("image {id} names {missing} rows that are not there"));
        }
        sums.insert(id, (sum(fleet, &image.rows), 0));
    }
    for (_, endpoint) in fleet.iter() {
        let Some(held) = &endpoint.held else { continue };
        let Some((digest, endpoints)) = sums.get_mut(&held.image) else {
            out.problem(format!("endpoint `{}` is of image {}, which is not there", endpoint.id, held.image));
            continue;
        };
        *endpoints += 1;
        let image = fleet.images.get(held.image);
        if let Some(why) = image.and_then(|image| deviates_wrongly(fleet, image, held)) {
            out.problem(format!("endpoint `{}`: {why}", endpoint.id));
            continue;
        }
        let mut digest = *digest;
        digest.add(&sum(fleet, &held.plus));
        digest.subtract(&sum(fleet, &held.minus));
        digest.add(&held.tables.digest());
        if digest != held.digest {
            out.problem(format!("endpoint `{}`: its scan is {}, and its rows are {digest}", endpoint.id, held.digest));
        }
        if !fleet.classes.contains(held.class) {
            out.problem(format!("endpoint `{}` has the verdicts {}, which are not there", endpoint.id, held.class));
        }
    }
    for (id, image) in fleet.images.iter() {
        let endpoints = sums.get(&id).map_or(0, |s| s.1);
        if endpoints != image.endpoints || endpoints == 0 {
            out.problem(format!("image {id} counts {} endpoints, and {endpoints} are of it", image.endpoints));
        }
    }
    if let Some(what) = fleet.index().difference(&fleet.index_anew()) {
        out.problem(format!("the index is not what the fleet makes of it: {what}"));
    }
    if fleet.rows.unreferenced() > 0 {
        out.notes.push(format!("{} rows are shown by nobody any more; they are freed when they are many", fleet.rows.unreferenced()));
    }
}

fn sum(fleet: &Fleet, rows: &[RowId]) -> Digest {
    let mut sum = Digest::default();
    rows.iter().for_each(|row| sum.add(&fleet.rows.digest(*row)));
    sum
}

/// Rows beside the image that are in it or nowhere, rows that are lacking and were never there.
fn deviates_wrongly(fleet: &Fleet, image: &Image, held: &Held) -> Option<String> {
    let sorted = |rows: &[RowId]| rows.is_sorted_by(|a, b| a < b);
    if !sorted(&held.plus) || !sorted(&held.minus) {
        return Some("its deviations are not in order".to_owned());
    }
    if let Some(row) = held.plus.iter().find(|row| fleet.rows.table(**row).is_none()) {
        return Some(format!("it names the row {row}, which is not there"));
    }
    if let Some(row) = held.plus.iter().find(|row| image.rows.binary_search(row).is_ok()) {
        return Some(format!("it has the row {row} beside an image that holds it"));
    }
    let never_there = held.minus.iter().find(|row| image.rows.binary_search(row).is_err());
    never_there.map(|row| format!("it lacks the row {row} of an image that does not hold it"))
}

/// What is kept under an endpoint's id is of an endpoint that is there.
fn check_keys(store: &EmbeddedStore, shard: &Shard, out: &mut Checked) -> Result<(), StoreError> {
    for space in [Space::Episodes, Space::Tasks] {
        let mut lost = Vec::new();
        store.each(space, &mut |key, _| {
            let id = split_pair(key).map(|(id, _)| id);
            if id.is_none_or(|id| shard.fleet.find(id).is_none()) {
                lost.push(String::from_utf8_lossy(key).replace('\0', " "));
            }
            Ok(())
        })?;
        for key in lost {
            out.problem(format!("`{key}` in `{}` is of an endpoint that is not there", space.name()));
        }
    }
    Ok(())
}

/// Events are numbered upwards, and what waits for sinks can be read.
fn check_events(reader: &dyn Reader, shard: &Shard, out: &mut Checked) -> Result<(), StoreError> {
    let mut from = 0;
    loop {
        let page = reader.events(from, PAGE)?;
        for (key, value) in &page {
            let number = key.as_slice().try_into().map(u64::from_be_bytes).unwrap_or(0);
            if number < from || number > shard.last_seq() {
                out.problem(format!("event {number} comes where {from} or a later one should"));
            }
            if serde_json::from_slice::<crate::event::Event>(value).is_err() {
                out.problem(format!("event {number} cannot be read"));
            }
            from = number.saturating_add(1).max(from);
            out.events += 1;
        }
        if page.len() < PAGE {
            break;
        }
    }
    out.deliveries = shard.outbox.len();
    let mut lost = 0_usize;
    for (_, seq, pending) in shard.outbox.iter() {
        lost += usize::from(reader.event(seq, pending.at_ms)?.is_none());
    }
    if lost > 0 {
        out.notes.push(format!("{lost} of what waits for sinks is no longer in history; it will be given up"));
    }
    Ok(())
}

/// Holds the verdicts of some endpoints, from all over the fleet, against the definition.
fn check_verdicts(shard: &mut Shard, sample: usize, out: &mut Checked) {
    let all: Vec<(EndpointId, String)> =
        shard.fleet.iter().filter(|(_, e)| e.held.is_some()).map(|(at, e)| (at, e.id.to_string())).collect();
    let every = all.len().div_ceil(sample.max(1)).max(1);
    for (at, id) in all.into_iter().step_by(every).take(sample) {
        let Some(class) = shard.fleet.get(at).and_then(|e| e.held.as_ref()).map(|h| h.class) else { continue };
        out.explained += 1;
        for rule in shard.pack.rules() {
            let kept = shard.fleet.classes.verdict(class, rule);
            // What the configuration leaves out is not asked.
            if kept == Verdict::NotSelected {
                continue;
            }
            let defined = shard.explain(at, rule).map(|e| e.verdict);
            if defined != Some(kept) {
                let defined = defined.map_or("nothing", Verdict::name);
                out.problem(format!(
                    "endpoint `{id}`: the verdict on `{}` is {kept}, and the definition says {defined}",
                    shard.pack.rule_id(rule)
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::serve::build::{Building, Newcomer};
    use crate::simulate::document::Identity;
    use crate::simulate::fleet::{Fleet as Made, Options};
    use crate::state::Batch;

    fn built(folder: &Path) {
        let made = Made::new(Options { images: 2, levels: 2, ..Options::default() });
        let new = |number: u32| {
            let Identity { id, hostname, labels } = Identity::of(&made, number);
            Newcomer { id, hostname, labels, key_hash: [7; 32], document: made.facts(number, 0).document() }
        };
        let rules = folder.join("rules");
        std::fs::create_dir(&rules).expect("rules");
        let rule = "id: is-linux\ntitle: It is Linux\nseverity: low\nplatforms: [linux]\nrationale: it is a test\ncheck: os.id != \"other\"\nmissing: fail\n\
            remediation: none\ntests:\n  - {pass: {os: [{family: linux, id: debian}]}}\n  - {fail: {os: [{family: linux, id: other}]}}\n";
        std::fs::write(rules.join("pack.yaml"), "id: p\ntitle: t\nversion: 1.0.0\ndescription: d\n").expect("pack");
        std::fs::write(rules.join("is-linux.yaml"), rule).expect("rule");
        let config = Config { data: folder.to_owned(), packs: vec![rules], ..Config::default() };
        let mut building = Building::open(&config, false, 1).expect("open");
        building.add((0..4).map(new).collect(), 1).expect("added");
        building.close().expect("closed");
    }

    #[test]
    fn what_is_whole_is_fine_and_what_is_damaged_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        assert!(check(folder.path(), 10).is_err(), "there is nothing");
        built(folder.path());
        let fine = check(folder.path(), 10).expect("checked");
        assert_eq!((fine.endpoints, fine.explained, fine.problems_total), (4, 4, 0), "{fine:?}");
        let mut store = EmbeddedStore::open(&folder.path().join("store"), 0).expect("open");
        let mut row = None;
        store
            .each(Space::Rows, &mut |k, v| {
                row.get_or_insert_with(|| (k.to_vec(), v.to_vec()));
                Ok(())
            })
            .expect("rows");
        let (key, mut value) = row.expect("a row");
        let at = value.iter().rposition(u8::is_ascii_alphanumeric).expect("a letter");
        value[at] = if value[at] == b'x' { b'y' } else { b'x' };
        let mut damage = Batch::default();
        damage.put(Space::Rows, key, value);
        damage.put(Space::Tasks, crate::state::pair_key("nobody", b"package:x"), "");
        store.commit(&damage).expect("commit");
        drop(store);
        let damaged = check(folder.path(), 10);
        // The task cannot be read at all.
        assert!(matches!(damaged, Err(ServeError::Load(_))), "{damaged:?}");
        let mut store = EmbeddedStore::open(&folder.path().join("store"), 0).expect("open");
        let mut less = Batch::default();
        less.delete(Space::Tasks, crate::state::pair_key("nobody", b"package:x"));
        store.commit(&less).expect("commit");
        drop(store);
        let damaged = check(folder.path(), 10).expect("checked");
        assert!(damaged.problems.iter().any(|p| p.contains("its rows are")), "{damaged:?}");
    }
}
