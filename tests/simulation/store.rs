//! A disk under a store, both made up: fills, fails, loses at a crash what it had not made durable; and watches what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster::event::{Event, subscribed};
use muster::policy::Subscription;
use muster::state::{Batch, Entries, Reader, Space, Store, StoreError, Take, Visit, segment, split_pair};

type Contents = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

/// How the next commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing was written.
    Before,
    /// Written, and the fsync failed: a crash keeps it or loses it, as a whole, for what is torn is cut off when the store is opened.
    Fsync,
    /// Durable, and the process hears of a failure.
    After,
    /// Durable, but for the segments that were to be dropped.
    Drops,
}

#[derive(Default)]
struct Disk {
    durable: Contents,
    /// Written, and not known to be durable.
    written: Option<Batch>,
    /// What a failed commit wrote is not there, whatever happens.
    nothing: bool,
    full: bool,
    fault: Option<Fault>,
    /// Of everything that was committed, in order.
    hasher: blake3::Hasher,
    commits: u64,
    watch: Watch,
}

/// What must be true of everything that becomes durable.
#[derive(Default)]
struct Watch {
    last_seq: u64,
    ids: BTreeSet<String>,
    tasks: BTreeSet<String>,
    /// What was ever to be delivered.
    wanted: BTreeSet<(String, u64)>,
    /// What sinks were given, with what it said.
    delivered: BTreeMap<(String, u64), Event>,
    /// Events that retention dropped. A clock that was set back may begin their segment anew.
    dropped: BTreeSet<u64>,
    /// Entries that the dispatcher gave up because history had dropped their events.
    lost: BTreeSet<(String, u64)>,
    /// Endpoints that were removed because they were silent, and when; and how many were heard of again.
    culled: Vec<(String, i64)>,
    returned: u64,
    /// Times that old events or old history were dropped.
    expired: [u64; 2],
    subscriptions: Vec<Subscription>,
    problems: Vec<String>,
}

/// The disk as the simulation sees it; it outlives the stores on it.
#[derive(Clone, Default)]
pub(super) struct Hardware(Arc<Mutex<Disk>>);

/// The store of one life of the process.
pub(super) struct FaultyStore {
    disk: Hardware,
    poisoned: bool,
}

impl Hardware {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn store(&self) -> FaultyStore {
        FaultyStore { disk: self.clone(), poisoned: false }
    }

    /// A store on a copy of what is durable, for a look.
    pub(super) fn copy(&self) -> FaultyStore {
        let disk = Disk { durable: self.disk().durable.clone(), ..Disk::default() };
        FaultyStore { disk: Hardware(Arc::new(Mutex::new(disk))), poisoned: false }
    }

    pub(super) fn set_full(&self, full: bool) {
        self.disk().full = full;
    }

    pub(super) fn is_full(&self) -> bool {
        self.disk().full
    }

    pub(super) fn fail_next(&self, fault: Option<Fault>) {
        self.disk().fault = fault;
    }

    /// The process dies. What was written and not durable stays or goes. Whether a batch whose commit failed is there.
    pub(super) fn crash(&self, survives: bool) -> bool {
        let mut disk = self.disk();
        disk.fault = None;
        let nothing = std::mem::take(&mut disk.nothing);
        match disk.written.take() {
            Some(batch) if survives => disk.keep(&batch, true),
            Some(_) => return false,
            None => {}
        }
        !nothing
    }

    /// What sinks want from now on, as far as it is durable.
    pub(super) fn subscribe(&self, subscriptions: &[Subscription]) {
        self.disk().watch.subscriptions = subscriptions.to_vec();
    }

    pub(super) fn deliver(&self, sink: &str, event: Event) {
        let mut disk = self.disk();
        let known = disk.watch.delivered.insert((sink.to_owned(), event.seq), event.clone());
        if known.is_some_and(|k| k != event) {
            disk.watch.problems.push(format!("{sink} was told two things under one id: {event:?}"));
        }
    }

    pub(super) fn lose(&self, sink: &str, seq: u64) {
        self.disk().watch.lost.insert((sink.to_owned(), seq));
    }

    /// Endpoints that were removed since the last time, since they were silent.
    pub(super) fn take_culled(&self) -> Vec<(String, i64)> {
        std::mem::take(&mut self.disk().watch.culled)
    }

    /// How many were heard of again after a long time, and how often old events and old history were dropped.
    pub(super) fn aged(&self) -> [u64; 3] {
        let Watch { returned, expired: [events, history], .. } = self.disk().watch;
        [returned, events, history]
    }

    pub(super) fn hash(&self) -> String {
        self.disk().hasher.finalize().to_hex().to_string()
    }

    pub(super) fn commits(&self) -> u64 {
        self.disk().commits
    }

    /// What should have been delivered in the end and was not.
    pub(super) fn undelivered(&self) -> Vec<(String, u64)> {
        let Watch { wanted, delivered, lost, .. } = &self.disk().watch;
        wanted.iter().filter(|w| !delivered.contains_key(w) && !lost.contains(w)).cloned().collect()
    }

    /// What was wrong with what was written; and with what sinks were told, which must be in history under its number.
    pub(super) fn problems(&self) -> Vec<String> {
        let disk = self.disk();
        let mut problems = disk.watch.problems.clone();
        for ((sink, seq), event) in &disk.watch.delivered {
            let segment = segment(event.time.as_millisecond());
            let there = disk.durable.get(&(Space::Events(segment), seq.to_be_bytes().to_vec()));
            if there.is_none() && !disk.watch.dropped.contains(seq) {
                problems.push(format!("{sink} was told of an event that is not in history: {event:?}"));
            }
            if there.is_some_and(|bytes| serde_json::from_slice::<Event>(bytes).ok().as_ref() != Some(event)) {
                problems.push(format!("{sink} was told {event:?}, and history says something else"));
            }
        }
        problems
    }
}

impl Disk {
    fn segments(&self) -> BTreeSet<u32> {
        self.durable.keys().filter_map(|(s, _)| if let Space::Events(n) = s { Some(*n) } else { None }).collect()
    }

    fn keep(&mut self, batch: &Batch, drops: bool) {
        self.commits += 1;
        self.watch.see(batch);
        for (space, key, value) in &batch.changes {
            self.hasher.update(format!("{space:?} {key:?} {value:?}\n").as_bytes());
            match value {
                Some(value) => self.durable.insert((*space, key.clone()), value.clone()),
                None => self.durable.remove(&(*space, key.clone())),
            };
        }
        self.hasher.update(format!("{:?} {:?} {drops}\n", batch.drop_segments, batch.drop_history).as_bytes());
        let dropped = [&batch.drop_segments, &batch.drop_history].map(|segments| u64::from(drops && !segments.is_empty()));
        self.watch.expired.iter_mut().zip(dropped).for_each(|(all, n)| *all += n);
        if drops {
            self.durable.retain(|(space, _), _| !matches!(space, Space::History(n) if batch.drop_history.contains(n)));
        }
        if drops && !batch.drop_segments.is_empty() {
            let watch = &mut self.watch;
            self.durable.retain(|(space, key), _| {
                let dropped = matches!(space, Space::Events(n) if batch.drop_segments.contains(n));
                watch.dropped.extend(dropped.then(|| u64::from_be_bytes(key.as_slice().try_into().unwrap())));
                !dropped
            });
        }
    }
}

impl Watch {
    fn see(&mut self, batch: &Batch) {
        let mut queued: BTreeSet<(String, u64)> = BTreeSet::new();
        // Another policy may have other sinks; which event came before it is not written down.
        let policy = batch.changes.iter().any(|(space, key, _)| *space == Space::Meta && key == b"policy");
        for (space, key, value) in &batch.changes {
            let entry = || split_pair(key).and_then(|(sink, seq)| Some((sink.to_owned(), u64::from_be_bytes(seq.try_into().ok()?))));
            match (space, value) {
                (Space::Outbox, Some(_)) => queued.extend(entry()),
                (Space::Outbox, None) => {
                    let Some(entry) = entry() else { continue };
                    if !self.delivered.contains_key(&entry) {
                        self.problems.push(format!("{entry:?} left the outbox and was not delivered"));
                    }
                }
                _ => {}
            }
        }
        self.wanted.extend(queued.iter().cloned());
        for (space, key, value) in &batch.changes {
            let (Space::Events(segment), Some(value)) = (space, value) else { continue };
            let event: Event = serde_json::from_slice(value).unwrap();
            self.last_seq += 1;
            if event.seq != self.last_seq || key.as_slice() != event.seq.to_be_bytes() {
                self.problems.push(format!("event {} comes as number {}", event.id, self.last_seq));
            }
            if *segment != muster::state::segment(event.time.as_millisecond()) {
                self.problems.push(format!("event {} lies in the wrong segment", event.id));
            }
            match (event.kind.as_str(), &event.endpoint) {
                ("endpoint.culled", Some(id)) => self.culled.push((id.clone(), event.time.as_millisecond())),
                ("endpoint.returned", _) => self.returned += 1,
                _ => {}
            }
            if !self.ids.insert(event.id.clone()) {
                self.problems.push(format!("a second event {}", event.id));
            }
            if event.kind == "task.queued" && !self.tasks.insert(event.data["task"]["id"].to_string()) {
                self.problems.push(format!("a task was queued twice: {}", event.data));
            }
            // A drift is told when it has lasted.
            let held = event.kind.starts_with("drift.") && event.kind != "drift.rule_changed";
            for sink in self.subscriptions.iter().filter(|s| !policy && !held && subscribed(&s.events, &event.kind)) {
                if !queued.contains(&(sink.sink.clone(), event.seq)) {
                    self.problems.push(format!("{} wants {} and nothing was queued", sink.sink, event.id));
                }
            }
        }
    }
}

impl Store for FaultyStore {
    fn each(&self, space: Space, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let from = (space, Vec::new());
        let disk = self.disk.disk();
        disk.durable.range(from..).take_while(|((s, _), _)| *s == space).try_for_each(|((_, k), v)| visit(k, v))
    }

    fn last(&self, space: Space) -> Result<Option<Vec<u8>>, StoreError> {
        let disk = self.disk.disk();
        Ok(disk.durable.range((space, Vec::new())..).take_while(|((s, _), _)| *s == space).last().map(|((_, k), _)| k.clone()))
    }

    fn segments(&self) -> Vec<u32> {
        self.disk.disk().segments().into_iter().collect()
    }

    fn room(&self, _: u64) -> Result<(), StoreError> {
        if self.disk.is_full() { Err(StoreError::Full { free: 0, reserve: 1 }) } else { Ok(()) }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let failed = |why: &str| Err(StoreError::Poisoned(why.to_owned()));
        let mut disk = self.disk.disk();
        if self.poisoned {
            disk.watch.problems.push("a store that failed was written to".to_owned());
            return failed("it failed before");
        }
        let fault = disk.fault.take();
        self.poisoned = fault.is_some();
        match fault {
            None => disk.keep(batch, true),
            Some(Fault::Before) => disk.nothing = true,
            Some(Fault::Fsync) => disk.written = Some(batch.clone()),
            Some(Fault::After) => disk.keep(batch, true),
            Some(Fault::Drops) => disk.keep(batch, false),
        }
        if self.poisoned { failed("told to fail") } else { Ok(()) }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(self.disk.clone())
    }
}

impl Reader for Hardware {
    fn events(&self, from: u64, limit: usize) -> Result<Entries, StoreError> {
        let disk = self.disk();
        let events =
            disk.durable.iter().filter(|((s, k), _)| matches!(s, Space::Events(_)) && k.as_slice() >= from.to_be_bytes().as_slice());
        let mut events: Entries = events.map(|((_, k), v)| (k.clone(), v.clone())).collect();
        events.sort_unstable();
        events.truncate(limit);
        Ok(events)
    }

    fn event(&self, seq: u64, at_ms: i64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.disk().durable.get(&(Space::Events(segment(at_ms)), seq.to_be_bytes().to_vec())).cloned())
    }

    fn range(&self, space: Space, from: &[u8], take: &mut Take<'_>) -> Result<(), StoreError> {
        let found: Entries = {
            let disk = self.disk();
            let all = disk.durable.range((space, from.to_vec())..).take_while(|((s, _), _)| *s == space);
            all.map(|((_, k), v)| (k.clone(), v.clone())).collect()
        };
        for (key, value) in found {
            if !take(&key, &value)? {
                break;
            }
        }
        Ok(())
    }
}
