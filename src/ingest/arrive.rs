//! A scan that is decoded while it arrives: `pieces of a body -> rows`. Each piece is read while it is in the cache of the thread that received it, and not kept.

use std::sync::Arc;

use bytes::Bytes;

use super::admission::Admitted;
use super::read::{Bill, HERE_NEW, Read, ask, finish, follower, held};
use super::{Ingest, IngestError};
use crate::compute::compute;
use crate::fleet::follow::{Followed, Follower};
use crate::scan::read::Pieces;
use crate::scan::scap;
use crate::shard::{BodyHash, Input, Prepared, Refusal, Reply, Shard, Uploaded};

/// An upload of which a part has come.
#[derive(Debug)]
pub struct Arriving {
    bill: Bill,
    pieces: Pieces,
    followed: Followed,
    /// Of the fleet's rows when the last piece was read.
    epoch: u64,
    bytes: usize,
}

impl Arriving {
    fn take(&mut self, shard: &Shard, piece: &[u8]) -> Result<(), IngestError> {
        let mut follower = self.follower(shard)?;
        let taken = self.pieces.take(piece, shard.limits(), &mut follower);
        self.followed = follower.stop();
        Ok(taken?)
    }

    fn follower<'s>(&mut self, shard: &'s Shard) -> Result<Follower<'s>, IngestError> {
        let fleet = &shard.fleet;
        if !fleet.rows.are_still(self.epoch, self.pieces.rows()) {
            return Err(IngestError::Refused(Refusal::Stale));
        }
        self.epoch = fleet.rows.epoch();
        let followed = std::mem::take(&mut self.followed);
        let image = followed.image().and_then(|id| fleet.images.get(id));
        Ok(Follower::resume(&fleet.rows, image, followed))
    }

    fn finish(mut self, shard: &Shard) -> Result<Box<Prepared>, IngestError> {
        let mut follower = self.follower(shard)?;
        let decoded = self.pieces.finish(shard.limits(), &mut follower)?;
        let read: Read = finish(shard, decoded, follower, self.bytes);
        Ok(Box::new(ask(shard, read, BodyHash::NONE)))
    }
}

impl Ingest {
    /// Begins with an uncompressed upload whose rows are most likely known, as its endpoint has sent a scan before. Others are to be read whole.
    pub async fn arrive(&self, admitted: &Admitted<'_>, endpoint: &str, first: &[u8], now_ms: i64) -> Option<Arriving> {
        if scap::is_xml(first) {
            return None;
        }
        let begin = |shard: &Shard| held(shard, endpoint).map(|_| (follower(shard, endpoint).stop(), shard.fleet.rows.epoch()));
        let (followed, epoch) = self.look(begin).await?;
        let bill = self.bill(admitted, endpoint, now_ms);
        let pieces = Pieces::within(bill.most_new);
        Some(Arriving { bill, pieces, followed, epoch, bytes: 0 })
    }

    /// The next piece.
    pub async fn take_piece(self: &Arc<Self>, mut arriving: Arriving, piece: Bytes) -> Result<Arriving, IngestError> {
        arriving.bytes += piece.len();
        let bill = arriving.bill.clone();
        let taken = if arriving.pieces.new_rows() > HERE_NEW {
            let ingest = self.clone();
            compute(move || arriving.take(&ingest.read(), &piece).map(|()| arriving)).await?
        } else {
            self.look(|shard| arriving.take(shard, &piece)).await.map(|()| arriving)
        };
        taken.map_err(|e| self.turned_back(&bill, 0, e))
    }

    /// All has come: what it comes to, once it is durable.
    pub async fn arrived<'a>(
        self: &'a Arc<Self>,
        admitted: &mut Admitted<'a>,
        arriving: Arriving,
        now_ms: i64,
    ) -> Result<Uploaded, IngestError> {
        let timer = self.metrics.upload_seconds.start_timer();
        self.metrics.upload_bytes.inc_by(arriving.bytes as u64);
        let (bill, mut brought) = (arriving.bill.clone(), 0);
        let ended = self.end(admitted, arriving, &mut brought, now_ms).await;
        timer.observe_duration();
        ended.map(|ended| self.counted(ended)).map_err(|e| self.turned_back(&bill, brought, e))
    }

    async fn end<'a>(
        self: &'a Arc<Self>,
        admitted: &mut Admitted<'a>,
        arriving: Arriving,
        brought: &mut usize,
        now_ms: i64,
    ) -> Result<(Uploaded, bool), IngestError> {
        let (bill, bytes) = (arriving.bill.clone(), arriving.bytes);
        let ended = self.end_here(arriving, now_ms).await?;
        if let Ended::Known(known) = ended {
            self.admission.recognised();
            return Ok((known, true));
        }
        let _place = self.admission.work(admitted, bytes, now_ms).await?;
        let prepared = match ended {
            Ended::Known(known) => return Ok((known, true)),
            Ended::Prepared(prepared) => prepared,
            Ended::NotHere(arriving) => {
                let ingest = self.clone();
                compute(move || arriving.finish(&ingest.read())).await??
            }
        };
        *brought = prepared.new.len();
        self.admission.charge_rows(bill.key, *brought, now_ms);
        match self.submit(Input::Upload { endpoint: bill.endpoint, prepared }).await? {
            Reply::Uploaded(uploaded) => Ok((uploaded, false)),
            _ => Err(IngestError::Stopping),
        }
    }

    async fn end_here(&self, arriving: Arriving, now_ms: i64) -> Result<Ended, IngestError> {
        if arriving.pieces.new_rows() > HERE_NEW {
            return Ok(Ended::NotHere(Box::new(arriving)));
        }
        let endpoint = arriving.bill.endpoint.clone();
        let end = |shard: &Shard| {
            let prepared = arriving.finish(shard)?;
            let known = shard.unchanged(&endpoint, &prepared, self.durable(), now_ms);
            Ok(known.map_or(Ended::Prepared(prepared), Ended::Known))
        };
        self.look(end).await
    }

    /// What was read under rows that are gone cannot be read again: its bytes are not kept. Its sender has them, and comes again.
    fn turned_back(&self, bill: &Bill, brought: usize, error: IngestError) -> IngestError {
        let error = self.undecoded(bill, error);
        self.refused(bill, brought, &error);
        self.count_refused(&error);
        error
    }
}

enum Ended {
    /// It says what is known, and that is durable.
    Known(Uploaded),
    Prepared(Box<Prepared>),
    /// It is not for the thread that waits.
    NotHere(Box<Arriving>),
}
