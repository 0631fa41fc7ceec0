//! The part of an upload that computes: `body -> inflated -> rows -> new rows asked what the rules want to know`, against the fleet as it is.

use std::cell::RefCell;

use super::admission::Admitted;
use super::{Ingest, IngestError};
use crate::fleet::follow::{Follower, Way};
use crate::fleet::rows::Said;
use crate::fleet::{EndpointId, Held};
use crate::scan::inflate::{Encoding, InflateError, inflate, inflated_size, split};
use crate::scan::native::{self, DecodeError, Decoded, NewRow};
use crate::scan::scap;
use crate::shard::{BodyHash, Prepared, PreparedRow, Refusal, Shard};

/// Bytes, sent and inflated, of an upload that is decoded by the thread that received it: what is recognised so soon that handing it to another thread would take longer, and find it in that
/// one's cache no more.
const HERE_BYTES: usize = 1 << 20;
/// New rows that are asked there; more are the work of the pool.
pub(super) const HERE_NEW: usize = 64;

/// Memory for an inflated document, which the thread uses again.
struct Text(Vec<u8>);

thread_local! {
    static TEXTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// So many are kept for a thread: more than one is in use where uploads wait for the state. And one huge upload does not keep its memory for ever.
const TEXTS_MAX: usize = 4;
const TEXT_BYTES: usize = 4 << 20;

impl Text {
    fn new() -> Text {
        Text(TEXTS.with_borrow_mut(Vec::pop).unwrap_or_default())
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.0);
        let keep = |texts: &RefCell<Vec<Vec<u8>>>| {
            let mut texts = texts.borrow_mut();
            if texts.len() < TEXTS_MAX && text.capacity() <= TEXT_BYTES {
                texts.push(text);
            }
        };
        // A thread that ends keeps nothing.
        TEXTS.try_with(keep).unwrap_or_default();
    }
}

/// An upload whose rows are known, or known to be new.
pub(super) struct Read {
    pub(super) decoded: Decoded,
    pub(super) way: Way,
    pub(super) epoch: u64,
    /// Bytes of the document.
    pub(super) length: usize,
}

/// Whose upload it is, and how many rows it may bring that the fleet has never shown.
#[derive(Clone, Debug)]
pub(super) struct Bill {
    pub(super) endpoint: String,
    pub(super) key: u64,
    pub(super) now_ms: i64,
    pub(super) most_new: usize,
    /// Fewer than any endpoint may, because of what this one brought before.
    pub(super) by_budget: bool,
}

impl Ingest {
    pub(super) fn bill(&self, admitted: &Admitted<'_>, endpoint: &str, now_ms: i64) -> Bill {
        let key = admitted.key();
        let (most_new, by_budget) = self.admission.new_rows(key, now_ms);
        Bill { endpoint: endpoint.to_owned(), key, now_ms, most_new, by_budget }
    }

    /// What is said to an endpoint whose upload cannot be decoded.
    pub(super) fn undecoded(&self, bill: &Bill, error: IngestError) -> IngestError {
        match error {
            IngestError::Decode(DecodeError::TooManyNew(_)) if bill.by_budget => {
                self.admission.over_rows(bill.key, &bill.endpoint, bill.now_ms).into()
            }
            other => other,
        }
    }

    /// Settles what was taken of a budget for an upload that was not kept.
    pub(super) fn refused(&self, bill: &Bill, brought: usize, error: &IngestError) {
        let IngestError::Refused(refusal) = error else { return };
        match refusal {
            Refusal::FleetFull { name, .. } => {
                self.metrics.uploads_refused.with_label_values(&[name]).inc();
                self.admission.refund_rows(bill.key, brought, bill.now_ms);
            }
            Refusal::TooManyOwn { name, limit } => self.admission.over_own(bill.key, &bill.endpoint, name, *limit, bill.now_ms),
            _ => {}
        }
    }

    /// Prepares an upload here, if it is one of those that take no time: of an endpoint that sent one before, small enough, mostly known. No thread waits.
    pub(super) async fn prepare_here(
        &self,
        bill: &Bill,
        encoding: Encoding,
        body: &[u8],
        hash: BodyHash,
    ) -> Option<Result<Prepared, IngestError>> {
        if inflated_size(encoding, body).is_none_or(|size| size.max(body.len()) > HERE_BYTES) {
            return None;
        }
        let timer = self.metrics.prepare_seconds.start_timer();
        let mut text = Text::new();
        let prepared = match self.text(bill, encoding, body, &mut text.0) {
            Ok(document) if scap::is_xml(document) => None,
            Ok(document) => self.look(|shard| self.prepare_known(shard, bill, document, hash)).await,
            Err(e) => Some(Err(e)),
        };
        match prepared {
            Some(_) => timer.observe_duration(),
            None => drop(timer.stop_and_discard()),
        }
        prepared
    }

    fn prepare_known(&self, shard: &Shard, bill: &Bill, document: &[u8], hash: BodyHash) -> Option<Result<Prepared, IngestError>> {
        held(shard, &bill.endpoint)?;
        match read(shard, &bill.endpoint, document, bill.most_new) {
            Ok(read) => (read.decoded.new.len() <= HERE_NEW).then(|| Ok(ask(shard, read, hash))),
            Err(e) => Some(Err(self.undecoded(bill, e))),
        }
    }

    /// Prepares any upload; and whether it was us who named its base.
    pub(super) fn prepare(&self, bill: &Bill, encoding: Encoding, body: &[u8], hash: BodyHash) -> Result<(Prepared, bool), IngestError> {
        let timer = self.metrics.prepare_seconds.start_timer();
        let mut text = Text::new();
        let document = self.text(bill, encoding, body, &mut text.0)?;
        let shard = self.read();
        let ours = scap::is_xml(document);
        let read = if ours {
            read(&shard, &bill.endpoint, &native_of(&shard, &bill.endpoint, document)?, bill.most_new)
        } else {
            read(&shard, &bill.endpoint, document, bill.most_new)
        };
        let prepared = ask(&shard, read.map_err(|e| self.undecoded(bill, e))?, hash);
        timer.observe_duration();
        Ok((prepared, ours))
    }

    fn text<'t>(&self, bill: &Bill, encoding: Encoding, body: &'t [u8], text: &'t mut Vec<u8>) -> Result<&'t [u8], IngestError> {
        if encoding == Encoding::Identity {
            return Ok(body);
        }
        let inflated = if encoding == Encoding::Dcz {
            let found = split(body).and_then(|(id, frame)| Some((self.dictionaries.find(&id, bill.now_ms)?, frame)));
            let (dictionary, frame) = found.ok_or(InflateError::UnknownDictionary)?;
            dictionary.inflate(frame, &self.limits, text)
        } else {
            inflate(encoding, body, &self.limits, text)
        };
        // What could not be inflated took as long as what could.
        let bytes = if inflated.is_ok() { text.len() } else { self.limits.inflated_bytes };
        self.admission.charge_bytes(bill.key, bytes, bill.now_ms);
        inflated?;
        Ok(text)
    }
}

/// The last scan of an endpoint.
pub(super) fn held<'s>(shard: &'s Shard, endpoint: &str) -> Option<&'s Held> {
    shard.fleet.find(endpoint).and_then(|at: EndpointId| shard.fleet.get(at)).and_then(|e| e.held.as_ref())
}

/// What a SCAP collector wrote as a native document: the tables that it brings replace those of the endpoint's last scan, the others stay.
fn native_of(shard: &Shard, endpoint: &str, document: &[u8]) -> Result<Vec<u8>, IngestError> {
    let mut scan = scap::read(document, shard.limits())?;
    scan.endpoint = endpoint.to_owned();
    let base = held(shard, endpoint).map(|held| held.digest.to_string());
    Ok(native::encode(&scan, base.as_deref(), |_| true))
}

/// Decodes an upload against what the fleet has shown; pure.
pub fn prepare(shard: &Shard, endpoint: &str, document: &[u8], body: BodyHash) -> Result<Prepared, IngestError> {
    Ok(ask(shard, read(shard, endpoint, document, shard.limits().new_rows)?, body))
}

/// With so many rows at most that the fleet has never shown.
fn read(shard: &Shard, endpoint: &str, document: &[u8], most_new: usize) -> Result<Read, IngestError> {
    let mut follower = follower(shard, endpoint);
    let decoded = native::decode_within(document, shard.limits(), most_new, &mut follower)?;
    Ok(finish(shard, decoded, follower, document.len()))
}

/// Follows an upload along the image of its endpoint, or of the endpoint that came last.
pub(super) fn follower<'s>(shard: &'s Shard, endpoint: &str) -> Follower<'s> {
    let fleet = &shard.fleet;
    let image = held(shard, endpoint).map(|h| h.image).or(fleet.images.latest());
    let image = image.and_then(|id| Some((id, fleet.images.get(id)?)));
    Follower::new(&fleet.rows, image)
}

pub(super) fn finish(shard: &Shard, decoded: Decoded, follower: Follower<'_>, length: usize) -> Read {
    let whole = decoded.header.base.is_none();
    let way = follower.finish(|table| whole || decoded.tables.iter().any(|t| t.table == table));
    Read { decoded, way, epoch: shard.fleet.rows.epoch(), length }
}

/// Asks the new rows.
pub(super) fn ask(shard: &Shard, read: Read, body: BodyHash) -> Prepared {
    let Read { decoded, way, epoch, length } = read;
    let ask = |new: NewRow| {
        let said = Said::of(&shard.pack, &shard.catalog, &new.row);
        PreparedRow { canonical: new.row.canonical(), said, new }
    };
    let new = decoded.new.into_iter().map(ask).collect();
    let (pack, catalog) = (shard.pack.digest().to_owned(), shard.catalog_digest().to_owned());
    Prepared { header: decoded.header, tables: decoded.tables, rows: decoded.rows, new, way, epoch, pack, catalog, body, length }
}
