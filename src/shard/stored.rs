//! An endpoint as it is stored under its id. What it shares with others is stored once, and named by its number.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::fleet::classes::ClassId;
use crate::fleet::image::ImageId;
use crate::fleet::rows::RowId;
use crate::fleet::shared::{Labels, Shared, SharedId, Sharing};
use crate::fleet::{Endpoint, Held, Tables};
use crate::scan::digest::Digest;
use crate::state::{Space, StoreError, decode, encode};

#[derive(Serialize, Deserialize)]
struct StoredEndpoint {
    hostname: Box<str>,
    labels: SharedId,
    key_hash: [u8; 32],
    enrolled_ms: i64,
    held: Option<StoredScan>,
}

#[derive(Serialize, Deserialize)]
struct StoredScan {
    image: ImageId,
    plus: Box<[RowId]>,
    minus: Box<[RowId]>,
    tables: SharedId,
    digest: Digest,
    sequence: u64,
    received_ms: i64,
    class: ClassId,
}

/// The record of an endpoint.
pub(super) fn record(endpoint: &Endpoint) -> Vec<u8> {
    let scan = |h: &Held| StoredScan {
        image: h.image,
        plus: h.plus.clone(),
        minus: h.minus.clone(),
        tables: h.tables.id(),
        digest: h.digest,
        sequence: h.sequence,
        received_ms: h.received_ms,
        class: h.class,
    };
    let Endpoint { hostname, labels, key_hash, enrolled_ms, held, .. } = endpoint;
    let held = held.as_ref().map(scan);
    let stored = StoredEndpoint { hostname: hostname.clone(), labels: labels.id(), key_hash: *key_hash, enrolled_ms: *enrolled_ms, held };
    encode(Space::Endpoints, &stored)
}

/// The record of a class begins with this, which is no verdict: an earlier muster wrote nothing but the verdicts.
const CLASS: u8 = 0x20;

/// The record of one class.
pub(super) fn class_record(generation: u32, verdicts: &[u8]) -> Vec<u8> {
    [&[CLASS][..], &generation.to_be_bytes(), verdicts].concat()
}

/// The generation and the verdicts of a record.
pub(super) fn class(record: &[u8]) -> (u32, &[u8]) {
    match record {
        [CLASS, a, b, c, d, verdicts @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), verdicts),
        verdicts => (0, verdicts),
    }
}

/// What stored endpoints name, by number.
pub(super) struct Known {
    tables: HashMap<SharedId, Shared<Tables>>,
    labels: HashMap<SharedId, Shared<Labels>>,
}

impl Known {
    pub(super) fn of(sharing: &Sharing) -> Known {
        let (tables, labels) = sharing.iter();
        Known { tables: tables.map(|t| (t.id(), t.clone())).collect(), labels: labels.map(|l| (l.id(), l.clone())).collect() }
    }

    /// Reads a record.
    pub(super) fn endpoint(&self, key: &[u8], bytes: &[u8]) -> Result<Endpoint, StoreError> {
        let damaged = |why: &str| StoreError::Damaged {
            space: Space::Endpoints.name(),
            key: String::from_utf8_lossy(key).into_owned(),
            why: why.to_owned(),
        };
        let StoredEndpoint { hostname, labels, key_hash, enrolled_ms, held } = decode(Space::Endpoints, key, bytes)?;
        let held = held.map(|h| {
            let StoredScan { image, plus, minus, tables, digest, sequence, received_ms, class } = h;
            let tables = self.tables.get(&tables).cloned().ok_or_else(|| damaged("its tables are not there"))?;
            Ok::<_, StoreError>(Held { image, plus, minus, tables, digest, sequence, received_ms, class })
        });
        Ok(Endpoint {
            id: std::str::from_utf8(key).map_err(|_| damaged("its id is not text"))?.into(),
            hostname,
            labels: self.labels.get(&labels).cloned().ok_or_else(|| damaged("its labels are not there"))?,
            key_hash,
            enrolled_ms,
            held: held.transpose()?,
        })
    }
}
