//! Bodies ahead of their time: while one is sent the next ones are made, so that making them is not measured.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use muster::agent::compress;
use muster::scan::inflate::Encoding;
use muster::simulate::fleet::Fleet;
use rayon::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::plan::{Due, Plan, What};

/// Sends whose bodies are made beside each other.
const TOGETHER: usize = 16;

/// A send with its body.
pub(super) struct Ready {
    pub(super) due: Due,
    pub(super) body: Bytes,
    /// Its part of the memory that bodies may take.
    _room: Option<OwnedSemaphorePermit>,
}

impl Ready {
    /// Of a body that is made when it is sent.
    pub(super) fn new(due: Due, body: Bytes) -> Ready {
        Ready { due, body, _room: None }
    }
}

pub(super) struct Maker {
    pub(super) fleet: Arc<Fleet>,
    pub(super) encoding: Encoding,
    pub(super) level: i32,
    /// KiB that bodies may take; those that wait to be sent, and those that are sent.
    pub(super) room: Arc<Semaphore>,
    /// Bytes of bodies that are kept to be sent again.
    pub(super) keep: usize,
}

/// Bodies of whole scans that machines sent last.
#[derive(Default)]
struct Kept {
    bodies: HashMap<u32, (u32, Bytes)>,
    bytes: usize,
}

impl Kept {
    fn find(&self, due: &Due) -> Option<Bytes> {
        self.bodies
            .get(&due.number)
            .filter(|(step, _)| *step == due.step && !matches!(due.what, What::Delta { .. }))
            .map(|(_, body)| body.clone())
    }

    fn keep(&mut self, due: &Due, body: &Bytes, most: usize) {
        if matches!(due.what, What::Delta { .. }) {
            return;
        }
        if let Some((_, old)) = self.bodies.remove(&due.number) {
            self.bytes -= old.len();
        }
        if self.bytes + body.len() <= most {
            self.bytes += body.len();
            self.bodies.insert(due.number, (due.step, body.clone()));
        }
    }
}

impl Maker {
    /// The body of a whole scan.
    pub(super) fn whole(&self, number: u32, step: u32) -> Bytes {
        self.pack(self.fleet.facts(number, step).document())
    }

    fn body(&self, due: &Due) -> Bytes {
        if let What::Delta { since } = due.what
            && let Some(changes) = self.fleet.facts(due.number, due.step).changes(&self.fleet.facts(due.number, since))
        {
            return self.pack(changes);
        }
        self.whole(due.number, due.step)
    }

    fn pack(&self, document: Vec<u8>) -> Bytes {
        let packed = match self.encoding {
            Encoding::Identity => return document.into(),
            Encoding::Zstd => zstd::bulk::compress(&document, self.level),
            other => compress(&document, other),
        };
        // Compressing into memory does not fail; if it did, the server would say what it thinks of the text.
        packed.unwrap_or(document).into()
    }

    /// Makes the bodies of a plan in its order until it ends or nobody takes them. `full` is called once, when there is no more room or
    /// nothing more to make.
    pub(super) fn run(&self, plan: Plan, out: &mpsc::Sender<Ready>, runtime: &tokio::runtime::Handle, full: impl FnOnce()) {
        let (mut kept, mut plan, mut full) = (Kept::default(), plan.peekable(), Some(full));
        while plan.peek().is_some() {
            let dues: Vec<(Due, Option<Bytes>)> = plan.by_ref().take(TOGETHER).map(|due| (due, kept.find(&due))).collect();
            let made: Vec<(Due, Bytes)> = dues.into_par_iter().map(|(due, body)| (due, body.unwrap_or_else(|| self.body(&due)))).collect();
            for (due, body) in made {
                kept.keep(&due, &body, self.keep);
                let kib = u32::try_from(body.len() / 1024 + 1).unwrap_or(u32::MAX);
                let room = self.room.clone().try_acquire_many_owned(kib).or_else(|_| {
                    if let Some(tell) = full.take() {
                        tell();
                    }
                    runtime.block_on(self.room.clone().acquire_many_owned(kib))
                });
                // The room is closed when it is over.
                let Ok(room) = room else { return };
                if out.send(Ready { due, body, _room: Some(room) }).is_err() {
                    return;
                }
            }
        }
        if let Some(tell) = full.take() {
            tell();
        }
    }
}
