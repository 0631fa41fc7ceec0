//! What sinks are still to be told. An entry is in the same batch as the event that it is about, and leaves when it was delivered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::{Batch, Space, pair_key};

/// An event that a sink has not got yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// When the event happened, which finds it in history.
    pub at_ms: i64,
    /// Attempts made.
    pub attempts: u32,
    /// Not before.
    pub next_ms: i64,
    /// Given up; a person may send it again.
    pub dead: bool,
    pub error: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Delivered,
    Failed { next_ms: i64, error: String },
    Dead { error: String },
}

#[derive(Debug, Default)]
pub struct Outbox {
    sinks: BTreeMap<String, BTreeMap<u64, Pending>>,
    len: usize,
}

impl Outbox {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// By sink and event number.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64, &Pending)> {
        self.sinks.iter().flat_map(|(sink, queue)| queue.iter().map(move |(seq, p)| (sink.as_str(), *seq, p)))
    }

    /// What may be tried now for a sink, oldest first, and when the next one may if nothing can now.
    pub fn due(&self, sink: &str, now_ms: i64, max: usize) -> (Vec<(u64, Pending)>, Option<i64>) {
        let Some(queue) = self.sinks.get(sink) else { return (Vec::new(), None) };
        let alive = queue.iter().filter(|(_, p)| !p.dead);
        let due: Vec<_> = alive.clone().filter(|(_, p)| p.next_ms <= now_ms).take(max).map(|(seq, p)| (*seq, p.clone())).collect();
        (due, alive.map(|(_, p)| p.next_ms).filter(|n| *n > now_ms).min())
    }

    pub(super) fn push(&mut self, sink: &str, seq: u64, at_ms: i64, batch: &mut Batch) {
        let pending = Pending { at_ms, attempts: 0, next_ms: at_ms, dead: false, error: None };
        batch.put_record(Space::Outbox, key(sink, seq), &pending);
        self.insert(sink, seq, pending);
    }

    pub(super) fn insert(&mut self, sink: &str, seq: u64, pending: Pending) {
        if self.sinks.entry(sink.to_owned()).or_default().insert(seq, pending).is_none() {
            self.len += 1;
        }
    }

    pub(super) fn record(&mut self, sink: &str, seq: u64, attempt: Attempt, now_ms: i64, batch: &mut Batch) {
        let Some(queue) = self.sinks.get_mut(sink) else { return };
        let Some(pending) = queue.get_mut(&seq) else { return };
        pending.attempts += 1;
        match attempt {
            Attempt::Delivered => {
                queue.remove(&seq);
                self.len -= 1;
                batch.delete(Space::Outbox, key(sink, seq));
                return;
            }
            Attempt::Failed { next_ms, error } => {
                pending.next_ms = next_ms.max(now_ms);
                pending.error = Some(error);
            }
            Attempt::Dead { error } => {
                pending.dead = true;
                pending.error = Some(error);
            }
        }
        batch.put_record(Space::Outbox, key(sink, seq), pending);
    }

    /// Tries again what was given up. How many.
    pub(super) fn revive(&mut self, sink: &str, now_ms: i64, batch: &mut Batch) -> usize {
        let mut revived = 0;
        for (seq, pending) in self.sinks.get_mut(sink).into_iter().flatten().filter(|(_, p)| p.dead) {
            *pending = Pending { attempts: 0, next_ms: now_ms, dead: false, ..pending.clone() };
            batch.put_record(Space::Outbox, key(sink, *seq), pending);
            revived += 1;
        }
        revived
    }
}

pub(super) fn key(sink: &str, seq: u64) -> Vec<u8> {
    pair_key(sink, &seq.to_be_bytes())
}
