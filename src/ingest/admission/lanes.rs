//! Places that uploads wait for in order, and how uploads come along.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::lock;

/// Uploads a second that any machine can take.
const LEAST_RATE: u64 = 20;

/// Places that are waited for in order.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) places: Semaphore,
    most_waiting: usize,
    waiting: Mutex<(u64, BTreeMap<u64, Instant>)>,
}

/// A place in the queue, given back when it is left, also by a client that has gone.
struct Ticket<'l>(&'l Lane, u64);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).1.remove(&self.1);
    }
}

impl Lane {
    pub(super) fn new(places: usize, most_waiting: usize) -> Lane {
        Lane { places: Semaphore::new(places.max(1)), most_waiting, waiting: Mutex::default() }
    }

    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        let _ticket = {
            let mut waiting = lock(&self.waiting);
            if waiting.1.len() >= self.most_waiting {
                return None;
            }
            waiting.0 += 1;
            let number = waiting.0;
            waiting.1.insert(number, Instant::now());
            Ticket(self, number)
        };
        self.places.acquire().await.ok()
    }

    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiting).1.len()
    }

    /// Age of the oldest that waits, in milliseconds.
    pub(super) fn lag_ms(&self) -> u64 {
        let oldest = lock(&self.waiting).1.first_key_value().map(|(_, since)| *since);
        oldest.map_or(0, |since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// How uploads come along, a second at a time.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pub(super) taken: AtomicU64,
    pub(super) refused: AtomicU64,
    /// The most that were taken in a second, forgotten over minutes; and those that were refused in about the last eight seconds.
    lately: Mutex<(u64, u64)>,
}

impl Pace {
    pub(super) fn tick(&self) {
        let mut lately = lock(&self.lately);
        let (taken, refused) = (self.taken.swap(0, Ordering::Relaxed), self.refused.swap(0, Ordering::Relaxed));
        *lately = (taken.max(lately.0 - lately.0.div_ceil(64)), lately.1 - lately.1.div_ceil(8) + refused);
    }

    /// Seconds that it would take to do what was refused lately.
    pub(super) fn behind_s(&self) -> u64 {
        let (most, refused) = *lock(&self.lately);
        let most = most.max(self.taken.load(Ordering::Relaxed)).max(LEAST_RATE);
        (refused + self.refused.load(Ordering::Relaxed)) / most
    }
}
