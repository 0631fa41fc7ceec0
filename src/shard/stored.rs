//! An endpoint as it is stored under its id. What it shares with others is stored once, and named by its number.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::fleet::classes::ClassId;
use crate::fleet::image::ImageId;
use crate::fleet::rows::RowId;
use crate::fleet::shared::{self, Labels, Shared, SharedId, Sharing};
use crate::fleet::{Endpoint, EndpointId, Held, Tables};
use crate::scan::digest::Digest;
use crate::state::{Batch, Space, StoreError, decode, decode_version, encode};

#[derive(Serialize, Deserialize)]
struct StoredEndpoint {
    number: EndpointId,
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
pub(super) fn record(number: EndpointId, endpoint: &Endpoint) -> Vec<u8> {
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
    let (hostname, key_hash, enrolled_ms) = (hostname.clone(), *key_hash, *enrolled_ms);
    let stored = StoredEndpoint { number, hostname, labels: labels.id(), key_hash, enrolled_ms, held };
    encode(Space::Endpoints, &stored)
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

    /// Reads a record: the endpoint and its number.
    pub(super) fn endpoint(&self, key: &[u8], bytes: &[u8]) -> Result<(EndpointId, Endpoint), StoreError> {
        let StoredEndpoint { number, hostname, labels, key_hash, enrolled_ms, held } = decode(Space::Endpoints, key, bytes)?;
        if number.0 >= NUMBERS {
            return Err(damaged(key, "its number is too high"));
        }
        let held = held.map(|h| {
            let StoredScan { image, plus, minus, tables, digest, sequence, received_ms, class } = h;
            let tables = self.tables.get(&tables).cloned().ok_or_else(|| damaged(key, "its tables are not there"))?;
            Ok::<_, StoreError>(Held { image, plus, minus, tables, digest, sequence, received_ms, class })
        });
        let labels = self.labels.get(&labels).cloned().ok_or_else(|| damaged(key, "its labels are not there"))?;
        Ok((number, Endpoint { id: id_of(key)?, hostname, labels, key_hash, enrolled_ms, held: held.transpose()? }))
    }
}

/// No store gives higher numbers: what is damaged shall not take all memory.
const NUMBERS: u32 = 1 << 28;

fn damaged(key: &[u8], why: &str) -> StoreError {
    StoreError::Damaged { space: Space::Endpoints.name(), key: String::from_utf8_lossy(key).into_owned(), why: why.to_owned() }
}

fn id_of(key: &[u8]) -> Result<Box<str>, StoreError> {
    std::str::from_utf8(key).map(Into::into).map_err(|_| damaged(key, "its id is not text"))
}

/// An endpoint as it was stored before what endpoints have alike was shared, and before they had numbers.
#[derive(Serialize, Deserialize)]
pub(super) struct OldEndpoint {
    id: String,
    hostname: String,
    labels: Labels,
    key_hash: [u8; 32],
    enrolled_ms: i64,
    held: Option<OldScan>,
}

#[derive(Serialize, Deserialize)]
struct OldScan {
    image: ImageId,
    plus: Box<[RowId]>,
    minus: Box<[RowId]>,
    tables: Tables,
    digest: Digest,
    sequence: u64,
    received_ms: i64,
    class: ClassId,
}

impl OldEndpoint {
    /// Reads a record of version 1; `None` for any other.
    pub(super) fn read(key: &[u8], bytes: &[u8]) -> Option<Result<OldEndpoint, StoreError>> {
        (bytes.first() == Some(&1)).then(|| decode_version(Space::Endpoints, 1, key, bytes))
    }

    /// Writes it as endpoints are stored now, under this number.
    pub(super) fn convert(self, at: EndpointId, sharing: &mut Sharing, batch: &mut Batch) -> Endpoint {
        let OldEndpoint { id, hostname, labels, key_hash, enrolled_ms, held } = self;
        let (labels, fresh) = sharing.labels(&labels);
        if fresh {
            batch.put_record(Space::Shared, labels.id().to_be_bytes(), &shared::Stored::Labels((*labels).clone()));
        }
        let held = held.map(|h| {
            let OldScan { image, plus, minus, tables, digest, sequence, received_ms, class } = h;
            let (tables, fresh) = sharing.tables(&tables);
            if fresh {
                batch.put_record(Space::Shared, tables.id().to_be_bytes(), &shared::Stored::Tables((*tables).clone()));
            }
            Held { image, plus, minus, tables, digest, sequence, received_ms, class }
        });
        let endpoint = Endpoint { id: id.into(), hostname: hostname.into(), labels, key_hash, enrolled_ms, held };
        batch.put(Space::Endpoints, endpoint.id.as_bytes(), record(at, &endpoint));
        endpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::table::TableId;
    use std::collections::BTreeMap;

    #[test]
    fn endpoints_of_an_earlier_muster_are_read_and_written_anew() {
        let tables = Tables { collected: vec![TableId(1)], failed: BTreeMap::from([(TableId(2), "no".into())]) };
        let held = OldScan {
            image: 0,
            plus: Box::default(),
            minus: Box::default(),
            tables: tables.clone(),
            digest: Digest::default(),
            sequence: 3,
            received_ms: 4,
            class: 5,
        };
        let labels = Labels::from([("a".to_owned(), "b".to_owned())]);
        let old = OldEndpoint {
            id: "e".into(),
            hostname: "h".into(),
            labels: labels.clone(),
            key_hash: [7; 32],
            enrolled_ms: 2,
            held: Some(held),
        };
        let mut bytes = encode(Space::Endpoints, &old);
        assert!(OldEndpoint::read(b"e", &bytes).is_none());
        bytes[0] = 1;
        let old = OldEndpoint::read(b"e", &bytes).expect("version 1").expect("read");
        let (mut sharing, mut batch) = (Sharing::default(), Batch::default());
        let converted = old.convert(EndpointId(6), &mut sharing, &mut batch);
        let (_, _, written) = batch.changes.last().expect("written");
        let (number, read) = Known::of(&sharing).endpoint(b"e", written.as_ref().expect("a record")).expect("read again");
        assert_eq!((number, &read), (EndpointId(6), &converted));
        let held = read.held.expect("a scan");
        assert_eq!((&*read.labels, &*held.tables, held.sequence, held.received_ms, held.class), (&labels, &tables, 3, 4, 5));
    }
}
