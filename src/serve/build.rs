//! Straight into a store: many machines at once, without HTTP and without waiting for the disk after each of them.
//!
//! `configuration + machines with their scans -> a data folder that muster serve starts on`. The same judging and the same records as by the
//! way of uploads; only history is not kept, for a fleet that is made up has none.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::{ServeError, new_store_id, packs};
use crate::access::Access;
use crate::config::Config;
use crate::ingest::{IngestError, prepare};
use crate::pack::Pack;
use crate::shard::{BodyHash, Input, Prepared, Refusal, Shard};
use crate::state::embedded::EmbeddedStore;
use crate::state::{Batch, Space, Store, StoreError};
use crate::subscription::Folder;

/// A machine that is to be enrolled, and its first scan.
#[derive(Clone, Debug)]
pub struct Newcomer {
    pub id: String,
    pub hostname: String,
    pub labels: BTreeMap<String, String>,
    pub key_hash: [u8; 32],
    /// `muster.scan/1`.
    pub document: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store has {0} endpoints already; with --add the new ones come beside them")]
    NotEmpty(usize),
    #[error("the scan of `{endpoint}` is refused: {why}")]
    Scan { endpoint: String, why: IngestError },
    #[error("a machine is refused: {0}")]
    Refused(#[from] Refusal),
}

/// What a fleet comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Built {
    pub endpoints: usize,
    /// Rows of all endpoints together, and distinct ones.
    pub rows: u64,
    pub distinct_rows: usize,
    pub distinct_bytes: u64,
    pub images: usize,
    /// Rows of all images together.
    pub image_rows: u64,
    /// Rows by which endpoints deviate from their images, all together.
    pub deviations: u64,
    pub verdict_classes: usize,
    pub rules: usize,
}

/// A store that machines are put into.
pub struct Building {
    shard: Shard,
    store: EmbeddedStore,
}

impl Building {
    /// Opens a data folder as a start of the daemon would, and judges what is there by the configuration's rules.
    pub fn open(config: &Config, add: bool, now_ms: i64) -> Result<Building, BuildError> {
        let data = |source| ServeError::Data { path: config.data.clone(), source };
        std::fs::create_dir_all(&config.data).map_err(data)?;
        // The store's lock comes first: what a running daemon has is not touched.
        let mut store = EmbeddedStore::open(&config.data.join("store"), config.limits.disk_reserve_bytes)?;
        let pack = packs::place(config).map_err(ServeError::Problems)?;
        Access::open(&config.data).map_err(ServeError::from)?;
        let empty = Pack::from_bytes(crate::pack::compile(&[], &[])).map_err(|e| ServeError::Problems(vec![e.to_string()]))?;
        let present = pack.clone();
        let old = |digest: &str| if present.digest() == digest { Some(present.clone()) } else { packs::stored(&config.data, digest) };
        let id = new_store_id().map_err(ServeError::from)?;
        let (catalog, problems) = Folder::of(config).catalog();
        if !problems.is_empty() {
            return Err(ServeError::Problems(problems).into());
        }
        let same = |digest: &str| (catalog.digest() == digest).then(|| catalog.clone());
        let shard = Shard::load_under(&mut store, config.limits.clone(), &id, old, Arc::new(empty), same).map_err(ServeError::from)?;
        if !add && !shard.fleet.is_empty() {
            return Err(BuildError::NotEmpty(shard.fleet.len()));
        }
        let mut building = Building { shard, store };
        if building.shard.catalog_digest() != catalog.digest() {
            building.commit(vec![Input::Catalog { catalog, news: Vec::new() }], now_ms)?;
        }
        if let Some(policy) = building.shard.resume(&pack, config.policy()) {
            building.commit(vec![Input::Swap { pack: pack.clone(), policy: Box::new(policy) }], now_ms)?;
        }
        packs::forget_others(&config.data, pack.digest());
        Ok(building)
    }

    /// Whether a machine of this id is there.
    pub fn has(&self, id: &str) -> bool {
        self.shard.fleet.find(id).is_some()
    }

    /// Puts machines in: their scans are decoded beside each other, then applied and committed as one batch.
    pub fn add(&mut self, newcomers: Vec<Newcomer>, now_ms: i64) -> Result<(), BuildError> {
        let shard = &self.shard;
        let take = |new: Newcomer| {
            let hash = BodyHash::of(&new.document);
            match prepare(shard, &new.id, &new.document, hash) {
                Ok(prepared) => Ok((new, prepared)),
                Err(why) => Err(BuildError::Scan { endpoint: new.id, why }),
            }
        };
        let taken: Vec<(Newcomer, Prepared)> = newcomers.into_par_iter().map(take).collect::<Result<_, _>>()?;
        let mut inputs = Vec::with_capacity(2 * taken.len());
        for (Newcomer { id, hostname, labels, key_hash, .. }, prepared) in taken {
            inputs.push(Input::Enroll { id: id.clone(), hostname, labels, key_hash });
            inputs.push(Input::Upload { endpoint: id, prepared: Box::new(prepared) });
        }
        self.commit(inputs, now_ms)
    }

    fn commit(&mut self, inputs: Vec<Input>, now_ms: i64) -> Result<(), BuildError> {
        self.store.room(inputs.iter().map(Input::bytes).sum())?;
        let mut applied = self.shard.apply(inputs, now_ms);
        // INVARIANT: numbers of events go on counting where they would be, as when old segments are dropped.
        applied.batch.changes.retain(|(space, ..)| !matches!(space, Space::Events(_) | Space::Outbox));
        applied.batch.put(Space::Meta, "seq", self.shard.last_seq().to_string());
        self.store.commit(&applied.batch)?;
        applied.replies.into_iter().find_map(Result::err).map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// What is in the store now.
    pub fn built(&self) -> Built {
        let fleet = &self.shard.fleet;
        let held = || fleet.iter().filter_map(|(_, e)| e.held.as_ref());
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let rows_of = |image| fleet.images.get(image).map_or(0, |i| i.rows.len());
        Built {
            endpoints: fleet.len(),
            rows: held().map(|h| count((rows_of(h.image) + h.plus.len()).saturating_sub(h.minus.len()))).sum(),
            distinct_rows: fleet.rows.len(),
            distinct_bytes: fleet.rows.iter().map(|(_, _, bytes)| count(bytes.len())).sum(),
            images: fleet.images.len(),
            image_rows: fleet.images.iter().map(|(_, i)| count(i.rows.len())).sum(),
            deviations: held().map(|h| count(h.plus.len() + h.minus.len())).sum(),
            verdict_classes: fleet.classes.len(),
            rules: self.shard.pack.rules().filter(|r| !self.shard.pack.rule(*r).requirement).count(),
        }
    }

    /// Ends with everything on the disk.
    pub fn close(mut self) -> Result<(), BuildError> {
        // A batch that changes nothing would not be written.
        let mut batch = Batch::default();
        batch.put(Space::Meta, "seq", self.shard.last_seq().to_string());
        Ok(self.store.commit(&batch)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::digest::Digest;
    use crate::simulate::document::Identity;
    use crate::simulate::fleet::{Fleet, Options};

    #[test]
    fn what_is_built_is_there_for_a_daemon_and_not_built_over() {
        let folder = tempfile::tempdir().expect("folder");
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        let fleet = Fleet::new(Options { images: 2, levels: 2, ..Options::default() });
        let new = |number: u32| {
            let Identity { id, hostname, labels } = Identity::of(&fleet, number);
            Newcomer { id, hostname, labels, key_hash: [7; 32], document: fleet.facts(number, 0).document() }
        };
        let mut building = Building::open(&config, false, 1).expect("open");
        assert!(matches!(Building::open(&config, true, 1), Err(BuildError::Store(StoreError::InUse { .. }))));
        building.add((0..3).map(new).collect(), 1).expect("added");
        building.add((3..6).map(new).collect(), 2).expect("added");
        let built = building.built();
        assert_eq!(built.endpoints, 6);
        assert_eq!(built.rows, (0..6).map(|n| fleet.facts(n, 0).rows() as u64).sum::<u64>());
        building.close().expect("closed");
        assert!(matches!(Building::open(&config, false, 3), Err(BuildError::NotEmpty(6))));
        let again = Building::open(&config, true, 3).expect("open again");
        assert_eq!(again.built(), built);
        let at = again.shard.fleet.find("sim-0000004").expect("the machine");
        let held = again.shard.fleet.get(at).and_then(|e| e.held.as_ref()).expect("its scan");
        assert_eq!(held.digest, fleet.facts(4, 0).digest());
        assert_ne!(held.digest, Digest::default());
    }
}
