//! Who may send now: `endpoint, bytes -> a place`, or a refusal that says when to come again. Before a body is read, and before it is inflated.
//!
//! Places are what the machine has: so many bodies are read at once, so many uploads judged, and a bounded number waits for that in the order in which they came. What is small
//! does not wait for what is big: check-ins and big uploads have places of their own, and big ones never take more than half of the processors. Who finds no place is told to come again
//! (503) at a moment that the hash of its id spreads over a window; the window grows with the lag and with how many were refused, so that a herd comes back as a stream.
//!
//! Budgets are what an endpoint may take of it: uploads, inflated bytes, rows that nobody has shown. They fill up with time; who has used one up is refused (429), named once an hour, and for a
//! while its bodies are not read at all. Only endpoints that were busy lately are remembered, in parts by hash, so that nobody waits for anybody.

mod budget;
mod lanes;

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use tokio::sync::{Semaphore, SemaphorePermit};

use budget::Budget;
use lanes::{Lane, Pace};

use crate::limits::Limits;
use crate::metrics::Metrics;

/// Not now. Nothing of the upload was kept, and nothing is lost if it comes again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnedAway {
    /// The machine has no place.
    #[error("more uploads come than can be taken at once (limits.{name} = {limit}); come again in {after_s} s")]
    Busy { name: &'static str, limit: usize, after_s: u32 },
    /// The endpoint has had its share.
    #[error("the endpoint sends more than one may (limits.{name} = {limit}); come again in {after_s} s")]
    Limited { name: &'static str, limit: u64, after_s: u32 },
}

/// An endpoint that was refused for what it sends, to be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub endpoint: String,
    /// The limit, without `limits.`.
    pub name: &'static str,
    pub limit: u64,
    pub after_s: u32,
}

/// Bytes of an upload as sent that cannot hold much: a check-in, or a change of a few rows.
const QUICK_BYTES: usize = 4 << 10;
/// Parts of what is remembered of endpoints.
const PARTS: u64 = 64;
/// Seconds over which refused uploads are spread, at least and at most.
const WINDOW_S: (u64, u64) = (4, 300);
/// An endpoint that used up a budget is not listened to for so long, or until it may come again.
const CLOSED_S: u32 = 60;
const NAME_AGAIN_MS: i64 = 3_600_000;
/// Names that wait to be told; past it only the log and the metrics say that more were refused.
const NAMES_MAX: usize = 1_000;
const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is remembered of an endpoint that was busy lately.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    in_flight: usize,
    uploads_us: i64,
    bytes_us: i64,
    rows_us: i64,
    /// Until then its bodies are not read, for the sake of this budget.
    closed_ms: i64,
    closed_by: u8,
    /// Until then it is one of those that are limited.
    limited_ms: i64,
    named_ms: i64,
}

impl Recent {
    fn is_idle(&self, now_us: i64) -> bool {
        let now_ms = now_us / 1000;
        self.in_flight == 0
            && self.uploads_us.max(self.bytes_us).max(self.rows_us) <= now_us
            && self.closed_ms.max(self.limited_ms) <= now_ms
            && (self.named_ms == 0 || self.named_ms + NAME_AGAIN_MS <= now_ms)
    }
}

#[derive(Debug, Default)]
struct Part {
    recent: HashMap<u64, Recent>,
    /// Looked through for idle ones when there are more than this.
    most: usize,
}

impl Part {
    fn of(&mut self, key: u64, now_us: i64) -> &mut Recent {
        if self.recent.len() > self.most {
            self.recent.retain(|_, r| !r.is_idle(now_us));
            // Twice as many as are busy: looking through them costs each a constant.
            self.most = (2 * self.recent.len()).max(64);
        }
        self.recent.entry(key).or_default()
    }
}

/// What is in flight, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub reading: usize,
    pub waiting: usize,
    pub working: usize,
    /// Age of the oldest that waits, in milliseconds.
    pub lag_ms: u64,
    /// Endpoints that have used up a budget.
    pub limited: usize,
}

#[derive(Debug)]
pub struct Admission {
    metrics: Arc<Metrics>,
    small: Semaphore,
    big: Semaphore,
    quick: Lane,
    usual: Lane,
    heavy: Lane,
    sizes: Sizes,
    uploads: Budget,
    bytes: Budget,
    rows: Budget,
    parts: Box<[Mutex<Part>]>,
    hasher: RandomState,
    pace: Pace,
    names: Mutex<Vec<Named>>,
    /// Uploads that were admitted and are not answered yet.
    in_flight: Arc<AtomicUsize>,
}

/// How many places there are.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    reading: usize,
    big: usize,
    big_bytes: usize,
    working: [usize; 3],
    waiting: usize,
    in_flight: usize,
    new_rows: usize,
}

/// An upload that may be read. Its endpoint has one fewer until it is dropped.
#[derive(Debug)]
pub struct Admitted<'a> {
    admission: &'a Admission,
    key: u64,
    /// Given back when the body is read; a big one keeps it, as it keeps its memory.
    place: Option<SemaphorePermit<'a>>,
    big: bool,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.admission.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut part = self.admission.part(self.key);
        if let Some(recent) = part.recent.get_mut(&self.key) {
            recent.in_flight = recent.in_flight.saturating_sub(1);
        }
    }
}

impl Admitted<'_> {
    /// The endpoint, as budgets know it.
    pub fn key(&self) -> u64 {
        self.key
    }
}

impl Admission {
    pub fn new(limits: &Limits, metrics: Arc<Metrics>) -> Admission {
        let in_flight = limits.uploads_in_flight;
        let processors = rayon::current_num_threads();
        let working = [in_flight.div_ceil(4), in_flight, (processors / 2).max(1).min(in_flight)];
        let sizes = Sizes {
            reading: limits.uploads_reading,
            big: in_flight.div_ceil(4),
            big_bytes: limits.big_upload_bytes,
            working,
            waiting: limits.uploads_waiting,
            in_flight: limits.endpoint_in_flight,
            new_rows: limits.new_rows,
        };
        let budget = |name, rate, per_us, most| Budget { name, rate, per_us, most };
        let new_rows = u64::try_from(limits.new_rows).unwrap_or(u64::MAX);
        Admission {
            metrics,
            small: Semaphore::new(sizes.reading),
            big: Semaphore::new(sizes.big),
            quick: Lane::new(working[0], sizes.waiting),
            usual: Lane::new(working[1], sizes.waiting),
            // They hold places among the big ones, so that they are not many.
            heavy: Lane::new(working[2], sizes.big + sizes.reading),
            sizes,
            uploads: budget("endpoint_uploads", limits.endpoint_uploads, MINUTE_US, limits.endpoint_uploads),
            bytes: budget("endpoint_bytes", limits.endpoint_bytes, HOUR_US, limits.endpoint_bytes),
            rows: budget("endpoint_new_rows", limits.endpoint_new_rows, HOUR_US, new_rows),
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            pace: Pace::default(),
            names: Mutex::default(),
            in_flight: Arc::default(),
        }
    }

    /// How many uploads were admitted and are not answered yet, now and later.
    pub fn in_flight(&self) -> Arc<AtomicUsize> {
        self.in_flight.clone()
    }

    /// Whether there are any now.
    pub fn are_coming(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    fn part(&self, key: u64) -> MutexGuard<'_, Part> {
        let at = usize::try_from(key % PARTS).unwrap_or(0);
        // INVARIANT: there are PARTS of them.
        lock(&self.parts[at])
    }

    /// Asks for a place to read a body of this length; without one it may be a big one.
    pub fn admit(&self, endpoint: &str, length: Option<u64>, now_ms: i64) -> Result<Admitted<'_>, TurnedAway> {
        let key = self.hasher.hash_one(endpoint);
        let big = length.is_none_or(|n| n > u64::try_from(self.sizes.big_bytes).unwrap_or(u64::MAX));
        self.count(key, endpoint, now_ms)?;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let mut admitted = Admitted { admission: self, key, place: None, big };
        let (places, limit) = if big { (&self.big, self.sizes.big) } else { (&self.small, self.sizes.reading) };
        let name = if big { "uploads_in_flight" } else { "uploads_reading" };
        admitted.place = Some(places.try_acquire().map_err(|_| self.busy(key, "reading", name, limit, now_ms))?);
        Ok(admitted)
    }

    /// Whether the endpoint may send one more.
    fn count(&self, key: u64, endpoint: &str, now_ms: i64) -> Result<(), TurnedAway> {
        let now_us = now_ms.saturating_mul(1000);
        let mut part = self.part(key);
        let recent = part.of(key, now_us);
        if recent.closed_ms > now_ms {
            let over = [self.uploads, self.bytes, self.rows][usize::from(recent.closed_by.min(2))];
            let after_s = u32::try_from((recent.closed_ms - now_ms).div_euclid(1000) + 1).unwrap_or(u32::MAX);
            return Err(self.limited(over.name, over.rate, after_s));
        }
        if recent.in_flight >= self.sizes.in_flight {
            let limit = u64::try_from(self.sizes.in_flight).unwrap_or(u64::MAX);
            return Err(self.limited("endpoint_in_flight", limit, 1 + u32::try_from(mixed(key, now_ms) % 4).unwrap_or(0)));
        }
        for (by, over, used_us) in [(0, self.uploads, recent.uploads_us), (1, self.bytes, recent.bytes_us)] {
            if over.left(used_us, now_us) == 0 {
                let after_s = over.wait_s(used_us, over.worth(), now_us);
                self.close(recent, by, over, endpoint, after_s, now_ms);
                return Err(self.limited(over.name, over.rate, after_s));
            }
        }
        self.uploads.take(&mut recent.uploads_us, 1, now_us);
        recent.in_flight += 1;
        Ok(())
    }

    /// A place to inflate and judge a body, which is held until it is durable. The place to read it is given back.
    pub async fn work<'a>(&'a self, admitted: &mut Admitted<'a>, bytes: usize, now_ms: i64) -> Result<SemaphorePermit<'a>, TurnedAway> {
        if !admitted.big {
            admitted.place = None;
        }
        let lane = match bytes {
            0..=QUICK_BYTES => &self.quick,
            n if n > self.sizes.big_bytes => &self.heavy,
            _ => &self.usual,
        };
        let place = lane.enter().await.ok_or_else(|| self.busy(admitted.key, "waiting", "uploads_waiting", self.sizes.waiting, now_ms))?;
        self.pace.taken.fetch_add(1, Ordering::Relaxed);
        Ok(place)
    }

    /// An upload was answered without any work.
    pub fn recognised(&self) {
        self.pace.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Rows that the fleet has never shown which an endpoint may bring now, and whether that is because of what it brought before.
    pub fn new_rows(&self, key: u64, now_ms: i64) -> (usize, bool) {
        let now_us = now_ms.saturating_mul(1000);
        let left = self.rows.left(self.part(key).of(key, now_us).rows_us, now_us);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        (left.min(self.sizes.new_rows), left < self.sizes.new_rows)
    }

    /// Takes bytes that were inflated.
    pub fn charge_bytes(&self, key: u64, bytes: usize, now_ms: i64) {
        let now_us = now_ms.saturating_mul(1000);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.take(&mut self.part(key).of(key, now_us).bytes_us, bytes, now_us);
    }

    /// Takes rows that were brought.
    pub fn charge_rows(&self, key: u64, rows: usize, now_ms: i64) {
        if rows > 0 {
            let now_us = now_ms.saturating_mul(1000);
            self.rows.take(&mut self.part(key).of(key, now_us).rows_us, u64::try_from(rows).unwrap_or(u64::MAX), now_us);
        }
    }

    /// Gives rows back that were not taken in for a reason which is not the endpoint's.
    pub fn refund_rows(&self, key: u64, rows: usize, now_ms: i64) {
        let now_us = now_ms.saturating_mul(1000);
        let cost_us = self.rows.cost_us(u64::try_from(rows).unwrap_or(u64::MAX));
        let mut part = self.part(key);
        let recent = part.of(key, now_us);
        recent.rows_us = recent.rows_us.saturating_sub(cost_us);
    }

    /// The endpoint brings more new rows than it may now.
    pub fn over_rows(&self, key: u64, endpoint: &str, now_ms: i64) -> TurnedAway {
        let now_us = now_ms.saturating_mul(1000);
        let mut part = self.part(key);
        let recent = part.of(key, now_us);
        let left = self.rows.left(recent.rows_us, now_us);
        let after_s = self.rows.wait_s(recent.rows_us, left.saturating_mul(2).max(self.rows.worth()), now_us);
        self.close(recent, 2, self.rows, endpoint, after_s, now_ms);
        self.limited(self.rows.name, self.rows.rate, after_s)
    }

    /// The endpoint holds more by itself than it may.
    pub fn over_own(&self, key: u64, endpoint: &str, name: &'static str, limit: usize, now_ms: i64) {
        let mut part = self.part(key);
        let recent = part.of(key, now_ms.saturating_mul(1000));
        recent.limited_ms = recent.limited_ms.max(now_ms + i64::from(CLOSED_S) * 1000);
        self.name(
            recent,
            Named { endpoint: endpoint.to_owned(), name, limit: u64::try_from(limit).unwrap_or(u64::MAX), after_s: 0 },
            now_ms,
        );
        self.metrics.uploads_refused.with_label_values(&[name]).inc();
    }

    /// For a while its bodies are not read.
    fn close(&self, recent: &mut Recent, by: u8, over: Budget, endpoint: &str, after_s: u32, now_ms: i64) {
        recent.closed_by = by;
        recent.closed_ms = now_ms + i64::from(after_s.min(CLOSED_S)) * 1000;
        recent.limited_ms = now_ms + i64::from(after_s) * 1000;
        self.name(recent, Named { endpoint: endpoint.to_owned(), name: over.name, limit: over.rate, after_s }, now_ms);
    }

    /// Names it, once an hour.
    fn name(&self, recent: &mut Recent, named: Named, now_ms: i64) {
        if recent.named_ms != 0 && recent.named_ms + NAME_AGAIN_MS > now_ms {
            return;
        }
        recent.named_ms = now_ms;
        let Named { endpoint, name, limit, .. } = &named;
        tracing::warn!(
            endpoint,
            limit = format!("limits.{name} = {limit}"),
            "the endpoint sends more than one may, and is refused for a while"
        );
        let mut names = lock(&self.names);
        if names.len() < NAMES_MAX {
            names.push(named);
        }
    }

    fn limited(&self, name: &'static str, limit: u64, after_s: u32) -> TurnedAway {
        self.metrics.uploads_refused.with_label_values(&[name]).inc();
        TurnedAway::Limited { name, limit, after_s }
    }

    fn busy(&self, key: u64, reason: &str, name: &'static str, limit: usize, now_ms: i64) -> TurnedAway {
        self.metrics.uploads_refused.with_label_values(&[reason]).inc();
        self.pace.refused.fetch_add(1, Ordering::Relaxed);
        TurnedAway::Busy { name, limit, after_s: self.spread(key, now_ms) }
    }

    /// When one that finds no place should come again.
    pub fn spread(&self, key: u64, now_ms: i64) -> u32 {
        let lag_s = self.usual.lag_ms().max(self.quick.lag_ms()) / 1000;
        let window = (WINDOW_S.0 + 2 * lag_s + self.pace.behind_s()).min(WINDOW_S.1);
        1 + u32::try_from(mixed(key, now_ms) % window).unwrap_or(0)
    }

    /// A second has passed. Whom to name.
    pub fn tick(&self) -> Vec<Named> {
        self.pace.tick();
        std::mem::take(&mut *lock(&self.names))
    }

    pub fn standing(&self, now_ms: i64) -> Standing {
        let used = |of: usize, left: &Semaphore| of.saturating_sub(left.available_permits());
        let lanes = [&self.quick, &self.usual, &self.heavy];
        let limited = |part: &Mutex<Part>| lock(part).recent.values().filter(|r| r.limited_ms > now_ms).count();
        Standing {
            reading: used(self.sizes.reading, &self.small) + used(self.sizes.big, &self.big),
            waiting: lanes.iter().map(|l| l.waiting()).sum(),
            working: lanes.iter().zip(self.sizes.working).map(|(lane, of)| used(of.max(1), &lane.places)).sum(),
            lag_ms: lanes.iter().map(|l| l.lag_ms()).max().unwrap_or(0),
            limited: self.parts.iter().map(limited).sum(),
        }
    }

    /// Endpoints that are remembered.
    pub fn remembered(&self) -> usize {
        self.parts.iter().map(|part| lock(part).recent.len()).sum()
    }
}

/// A number that is another one each second, so that who met once does not always meet.
fn mixed(key: u64, now_ms: i64) -> u64 {
    let seed = key ^ now_ms.div_euclid(1000).unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (seed ^ (seed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 29)) >> 8
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn admission(limits: Limits) -> Admission {
        Admission::new(&limits, Arc::new(Metrics::new().expect("metrics")))
    }

    fn seconds(turned: &TurnedAway) -> i64 {
        match turned {
            TurnedAway::Busy { after_s, .. } | TurnedAway::Limited { after_s, .. } => i64::from(*after_s),
        }
    }

    #[test]
    fn an_endpoint_has_one_upload_in_flight_and_so_many_a_minute() {
        let a = admission(Limits { endpoint_uploads: 10, ..Limits::default() });
        let first = a.admit("e", Some(1), NOW).expect("a place");
        assert!(matches!(a.admit("e", Some(1), NOW), Err(TurnedAway::Limited { name: "endpoint_in_flight", .. })));
        assert!(a.admit("f", Some(1), NOW).is_ok(), "another one is not concerned");
        drop(first);
        (1..10).for_each(|_| drop(a.admit("e", Some(1), NOW).expect("one of ten")));
        let turned = a.admit("e", Some(1), NOW).expect_err("the eleventh");
        assert!(matches!(turned, TurnedAway::Limited { name: "endpoint_uploads", limit: 10, .. }), "{turned:?}");
        assert_eq!(a.standing(NOW).limited, 1);
        assert_eq!(a.tick().len(), 1);
        let again = NOW + seconds(&turned) * 1000;
        assert!(a.admit("e", Some(1), again - 1000).is_err());
        assert!(a.admit("e", Some(1), again).is_ok(), "when it was told to come");
        assert_eq!(a.standing(again).limited, 0);
        assert!(a.tick().is_empty(), "it is named once an hour");
    }

    #[test]
    fn new_rows_fill_up_again() {
        let a = admission(Limits { new_rows: 1000, endpoint_new_rows: 3600, ..Limits::default() });
        let key = a.admit("e", Some(1), NOW).expect("a place").key();
        assert_eq!(a.new_rows(key, NOW), (1000, false));
        a.charge_rows(key, 1000, NOW);
        assert_eq!(a.new_rows(key, NOW), (0, true));
        let turned = a.over_rows(key, "e", NOW);
        assert_eq!(seconds(&turned), 126, "an eighth of a thousand, one a second");
        assert!(a.admit("e", Some(1), NOW + 1000).is_err(), "its bodies are not read meanwhile");
        assert_eq!(a.new_rows(key, NOW + 126_000), (126, true));
        assert!(a.admit("e", Some(1), NOW + 126_000).is_ok());
        a.refund_rows(key, 1000, NOW);
        assert_eq!(a.new_rows(key, NOW), (1000, false));
        let free = admission(Limits { endpoint_new_rows: 0, ..Limits::default() });
        free.charge_rows(1, usize::MAX, NOW);
        assert_eq!(free.new_rows(1, NOW), (Limits::default().new_rows, false));
    }

    #[test]
    fn only_those_are_remembered_that_were_busy_lately() {
        let a = admission(Limits::default());
        for n in 0..200_000i64 {
            // A thousand a second, each once.
            let admitted = a.admit(&format!("e{n}"), Some(1), NOW + n).expect("a place");
            a.charge_bytes(admitted.key(), 400_000, NOW + n);
            a.charge_rows(admitted.key(), 2, NOW + n);
        }
        assert!(a.remembered() < 20_000, "{}", a.remembered());
    }

    #[test]
    fn those_who_are_refused_come_back_one_after_the_other() {
        let a = admission(Limits { uploads_reading: 1, ..Limits::default() });
        let held = a.admit("first", Some(1), NOW).expect("the one place");
        let mut seen = BTreeMap::new();
        for n in 0..20_000 {
            let turned = a.admit(&format!("e{n}"), Some(1), NOW).expect_err("no place");
            *seen.entry(seconds(&turned)).or_insert(0) += 1;
            if n % 2_000 == 0 {
                a.tick();
            }
        }
        drop(held);
        assert!(seen.keys().next_back().is_some_and(|last| *last > 200), "the window grew: {seen:?}");
        assert!(seen.values().all(|n| *n < 2_000), "nobody's herd: {seen:?}");
        assert!(a.admit("e1", Some(1), NOW).is_ok(), "a place that was given back");
    }

    #[tokio::test]
    async fn small_ones_do_not_wait_for_big_ones() {
        let a = admission(Limits { uploads_in_flight: 4, uploads_waiting: 1, ..Limits::default() });
        let mut big = a.admit("big", None, NOW).expect("a place");
        assert!(matches!(a.admit("big2", None, NOW), Err(TurnedAway::Busy { name: "uploads_in_flight", limit: 1, .. })));
        let _working = a.work(&mut big, 10 << 20, NOW).await.expect("the heavy lane");
        let mut usual = Vec::new();
        for n in 0..4 {
            let mut admitted = a.admit(&format!("e{n}"), Some(50_000), NOW).expect("a place");
            usual.push(a.work(&mut admitted, 50_000, NOW).await.expect("the usual lane"));
        }
        let mut waits = a.admit("w", Some(50_000), NOW).expect("a place");
        let mut waiting = Box::pin(a.work(&mut waits, 50_000, NOW));
        assert!(futures_poll(&mut waiting).await.is_none(), "it waits");
        assert_eq!((a.standing(NOW).waiting, a.standing(NOW).working), (1, 5));
        let mut more = a.admit("m", Some(50_000), NOW).expect("a place");
        assert!(matches!(a.work(&mut more, 50_000, NOW).await, Err(TurnedAway::Busy { name: "uploads_waiting", .. })));
        let mut quick = a.admit("q", Some(100), NOW).expect("a place");
        assert!(a.work(&mut quick, 100, NOW).await.is_ok(), "a check-in does not wait");
        usual.pop();
        assert!(futures_poll(&mut waiting).await.is_some_and(|place| place.is_ok()), "who waited comes next");
    }

    /// What a future gives now, if it is ready.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            ready = future => Some(ready),
            () = tokio::task::yield_now() => None,
        }
    }
}
