//! One play: the process with its disk, the clients' knowledge of what was answered, and what is under way between them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use muster::ingest::{Ingest, IngestError, Writer, pipeline};
use muster::limits::Limits;
use muster::metrics::Metrics;
use muster::pack::{Pack, compile};
use muster::policy::FreshnessPolicy;
use muster::scan::Scan;
use muster::scan::digest::Digest;
use muster::shard::{Input, Refusal, Reply, Shard, Uploaded};
use muster::simulate::Random;
use muster::state::{Reader, Store};

use super::counts::Counts;
use super::machines::{SINKS, World};
use super::oracle;
use super::store::{Fault, Hardware};
use super::swaps::Driven;

/// What an endpoint knows of itself: what it was answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) sent: Option<Sent>,
    /// Since when at the latest it was not heard of, and what of that a crash leaves.
    pub(super) heard_ms: i64,
    pub(super) kept_ms: i64,
    /// When it was answered last.
    pub(super) answered_ms: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) scan: Scan,
    pub(super) sequence: u64,
}

/// Something that was begun and not answered yet.
#[derive(Debug)]
pub(super) enum What {
    /// Without a scan it must be refused.
    Upload {
        id: String,
        scan: Option<Scan>,
    },
    Enroll {
        id: String,
    },
    Remove {
        id: String,
    },
    Tick,
    Delivered {
        sink: String,
        seq: u64,
    },
    Swap,
    /// Steps of a swap beside the writer.
    Watch,
    Switch,
    Settle,
    /// May be refused, and the model knows nothing of it.
    Other,
}

pub(super) enum Done {
    Uploaded(Result<Uploaded, IngestError>),
    Replied(Result<Reply, IngestError>),
}

pub(super) struct Flight {
    pub(super) what: What,
    pub(super) begun_ms: i64,
    pub(super) future: Pin<Box<dyn Future<Output = Done>>>,
}

/// One life of the process.
pub(super) struct Life {
    pub(super) ingest: Arc<Ingest>,
    writer: Writer,
    pub(super) reader: Box<dyn Reader>,
    metrics: Arc<Metrics>,
    /// Of the rows when it began.
    epoch: u64,
    /// When the clock was seen for the first time.
    pub(super) listens_ms: Option<i64>,
    /// The policy of the last tick, and since when it is this one.
    pub(super) aged_by: Option<(FreshnessPolicy, i64)>,
}

pub(super) struct Play {
    pub(super) random: Random,
    pub(super) world: World,
    pub(super) hardware: Hardware,
    pub(super) limits: Limits,
    pub(super) life: Life,
    pub(super) flights: Vec<Flight>,
    /// A swap beside the writer.
    pub(super) lane: Option<Driven>,
    pub(super) known: BTreeMap<String, Known>,
    /// The last body of each endpoint.
    pub(super) bodies: BTreeMap<String, Vec<u8>>,
    pub(super) now_ms: i64,
    /// The latest that the clock ever said, and the latest durable tick.
    pub(super) latest_ms: i64,
    /// The latest that it said before it was set back.
    pub(super) ahead_ms: i64,
    ticked_ms: i64,
    /// The policy before the last batch.
    pub(super) policy_before: Option<FreshnessPolicy>,
    /// What the configuration says: rules, policy, catalog.
    pub(super) config: (usize, usize, usize),
    pub(super) sinks_down: BTreeSet<&'static str>,
    pub(super) turn: usize,
    /// Rows come and go by thousands, and are freed.
    pub(super) stormy: bool,
    pub(super) counts: Counts,
}

/// Machines of a fleet.
pub(super) const MACHINES: usize = 10;

impl Play {
    pub(super) fn new(seed: u64) -> Play {
        let mut random = Random::new(seed);
        let mut world = World::new(&mut random);
        let hardware = Hardware::default();
        let stormy = random.percent(15);
        let limits = Limits { new_rows: if stormy { 1500 } else { 200 }, ..Limits::default() };
        let now_ms = 1_750_000_000_000;
        let life = begin(&mut world, &hardware, &limits, (0, 0, 0), false).0;
        let mut play = Play {
            random,
            world,
            hardware,
            limits,
            life,
            flights: Vec::new(),
            lane: None,
            known: BTreeMap::new(),
            bodies: BTreeMap::new(),
            now_ms,
            latest_ms: now_ms,
            ahead_ms: 0,
            ticked_ms: 0,
            policy_before: None,
            config: (0, 0, 0),
            sinks_down: BTreeSet::new(),
            turn: 0,
            stormy,
            counts: Counts::default(),
        };
        play.start();
        play
    }

    pub(super) fn step(&mut self) {
        self.turn += 1;
        self.counts.steps += 1;
        let while_ms = i64::try_from(self.random.below(5_000)).unwrap();
        self.pass(while_ms);
        // Somebody makes room.
        if self.hardware.is_full() && self.random.percent(25) {
            self.hardware.set_full(false);
        }
        for _ in 0..=self.random.below(3) {
            self.act();
        }
        self.drive(3);
        self.poll(70);
        if self.random.percent(75) && !self.write() {
            return;
        }
        self.sample(2);
        if self.turn.is_multiple_of(10) {
            self.check();
        }
    }

    pub(super) fn pass(&mut self, by_ms: i64) {
        if by_ms < 0 {
            self.ahead_ms = self.ahead_ms.max(self.now_ms);
        }
        self.now_ms += by_ms;
        self.latest_ms = self.latest_ms.max(self.now_ms);
    }

    /// Begins something.
    pub(super) fn begin(&mut self, what: What, future: impl Future<Output = Done> + 'static) {
        self.flights.push(Flight { what, begun_ms: self.now_ms, future: Box::pin(future) });
    }

    /// Begins a change that goes to the writer as it is.
    pub(super) fn submit(&mut self, what: What, input: Input) {
        let ingest = self.life.ingest.clone();
        self.begin(what, async move { Done::Replied(ingest.submit(input).await) });
    }

    /// Goes on with so many of a hundred of what is under way.
    pub(super) fn poll(&mut self, share: usize) {
        let mut context = Context::from_waker(Waker::noop());
        for mut flight in std::mem::take(&mut self.flights) {
            if !self.random.percent(share) {
                self.flights.push(flight);
                continue;
            }
            match flight.future.as_mut().poll(&mut context) {
                Poll::Ready(done) => self.finish(flight.what, flight.begun_ms, done),
                Poll::Pending => self.flights.push(flight),
            }
            // What was handed to other threads happens now, on this one.
            while let Some(rayon::Yield::Executed) = rayon::yield_local() {}
        }
    }

    /// The writer takes what is queued, and whoever was answered hears it. Whether the process still lives as it did.
    pub(super) fn write(&mut self) -> bool {
        let images = self.images();
        self.policy_before = Some(self.life.ingest.read().policy.policy.freshness);
        if self.life.writer.step(self.now_ms).is_err() {
            assert!(self.life.ingest.is_poisoned());
            self.counts.failed += 1;
            // Whoever waits hears of a failure, or nothing; never of a success.
            self.crash();
            return false;
        }
        self.count_moved(&images);
        self.bury();
        self.poll(100);
        true
    }

    /// The image of each endpoint, by its number and that of its scan.
    fn images(&self) -> BTreeMap<(u32, u64), u32> {
        let shard = self.life.ingest.read();
        let held = shard.fleet.iter().filter_map(|(at, e)| Some((at.0, e.held.as_ref()?)));
        held.map(|(at, held)| ((at, held.sequence), held.image)).collect()
    }

    /// Endpoints that came to another image without a scan of their own: to one that is new, or to one that others had.
    fn count_moved(&mut self, before: &BTreeMap<(u32, u64), u32>) {
        let known: BTreeSet<u32> = before.values().copied().collect();
        for (held, image) in self.images() {
            if before.get(&held).is_some_and(|b| *b != image) {
                let count = if known.contains(&image) { &mut self.counts.thinned } else { &mut self.counts.gathered };
                *count += 1;
            }
        }
    }

    /// What an answer tells a client.
    fn finish(&mut self, what: What, begun_ms: i64, done: Done) {
        let counts = &mut self.counts;
        match &done {
            Done::Uploaded(Ok(uploaded)) => {
                counts.acked += 1;
                counts.changed += u64::from(uploaded.changed);
            }
            Done::Uploaded(Err(IngestError::Full(_))) | Done::Replied(Err(IngestError::Full(_))) => counts.full += 1,
            Done::Uploaded(Err(_)) | Done::Replied(Err(_)) => counts.refused += 1,
            Done::Replied(Ok(Reply::Swapped)) => counts.swaps += 1,
            Done::Replied(Ok(_)) => {}
        }
        match (what, done) {
            (what @ (What::Watch | What::Switch | What::Settle), Done::Replied(reply)) => self.driven(&what, reply),
            (What::Upload { id, scan: Some(scan) }, Done::Uploaded(Ok(uploaded))) => {
                self.acked(&id, scan, &uploaded);
                // What is said of a scan that was there already is said beside the writer, at the time of who asked.
                self.heard(&id, if uploaded.changed { self.now_ms } else { begun_ms.min(self.now_ms) }, uploaded.changed);
            }
            (What::Upload { id, scan: None }, Done::Uploaded(result)) => assert!(result.is_err(), "{id}: {result:?}"),
            (What::Upload { id, scan: Some(_) }, Done::Uploaded(Err(error))) => assert!(
                matches!(
                    error,
                    IngestError::Full(_)
                        | IngestError::Turned(_)
                        | IngestError::Refused(
                            Refusal::BaseMismatch { .. }
                                | Refusal::UnknownEndpoint(_)
                                | Refusal::TooManyOwn { .. }
                                | Refusal::FleetFull { .. }
                                | Refusal::Stale
                        )
                ),
                "{id}: {error:?}"
            ),
            (What::Enroll { id }, Done::Replied(Ok(Reply::Enrolled { again }))) => {
                assert_eq!(again, self.known.contains_key(&id), "{id}");
                self.known.entry(id.clone()).or_default();
                self.heard(&id, self.now_ms, !again);
            }
            (What::Remove { id }, Done::Replied(Ok(Reply::Removed))) => {
                assert!(self.known.remove(&id).is_some(), "{id}");
                self.bodies.remove(&id);
            }
            // Answered in the step that took it, whose time it is.
            (What::Tick, Done::Replied(Ok(Reply::Done))) => {
                self.ticked_ms = self.ticked_ms.max(self.now_ms);
                self.silence_holds();
            }
            (What::Swap, Done::Replied(Ok(Reply::Swapped))) => self.subscribe(),
            (What::Delivered { .. } | What::Other, Done::Replied(Ok(_))) => {}
            (_, Done::Replied(Err(IngestError::Full(_) | IngestError::Refused(_)))) => {}
            (what, Done::Replied(other)) => panic!("{what:?}: {other:?}"),
            (what, Done::Uploaded(other)) => panic!("{what:?}: {other:?}"),
        }
    }

    fn acked(&mut self, id: &str, scan: Scan, uploaded: &Uploaded) {
        assert_eq!(uploaded.scan, Digest::of_scan(&scan).to_string(), "{id} was answered for another scan");
        let Some(known) = self.known.get_mut(id) else { panic!("{id} was answered and is not enrolled") };
        match &known.sent {
            // Of two that were under way the other one came later.
            Some(sent) if sent.sequence > uploaded.sequence => {}
            Some(sent) if sent.sequence == uploaded.sequence => {
                assert_eq!(Digest::of_scan(&sent.scan), Digest::of_scan(&scan), "{id}: one number, two scans");
            }
            _ => known.sent = Some(Sent { scan, sequence: uploaded.sequence }),
        }
    }

    /// From now on the sinks of the present policy are told.
    pub(super) fn subscribe(&mut self) {
        let shard = self.life.ingest.read();
        self.hardware.subscribe(&shard.policy.policy.subscriptions);
    }

    /// The process dies and is started again; what was acked is there.
    pub(super) fn crash(&mut self) {
        self.account();
        let failed = self.life.ingest.is_poisoned();
        let survived = self.hardware.crash(self.random.percent(50));
        self.counts.crashes += 1;
        self.counts.survived += u64::from(failed && survived);
        let under_way = std::mem::take(&mut self.flights);
        self.lane = None;
        self.bury();
        self.known.values_mut().for_each(|known| known.heard_ms = known.kept_ms);
        if failed && survived && under_way.iter().any(|f| matches!(f.what, What::Tick)) {
            self.ticked_ms = self.ticked_ms.max(self.now_ms);
        }
        let what: Vec<What> = under_way.into_iter().map(|f| f.what).collect();
        // A machine that cannot write cannot be started.
        self.hardware.set_full(false);
        if self.random.percent(30) {
            let away = [60_000, 3_600_000, 2 * 86_400_000][self.random.below(3)];
            self.pass(away);
        }
        let lost = self.random.percent(10);
        let (life, swap) = begin(&mut self.world, &self.hardware, &self.limits, self.config, lost);
        self.life = life;
        self.adopt(&what, survived);
        self.go_on(swap);
    }

    /// Holds what was answered against what is there. What was not answered may be there, if it was written at all.
    fn adopt(&mut self, under_way: &[What], survived: bool) {
        let shard = self.life.ingest.read();
        for what in under_way.iter().filter(|_| survived) {
            match what {
                What::Enroll { id } if shard.fleet.find(id).is_some() => drop(self.known.entry(id.clone()).or_default()),
                What::Remove { id } if shard.fleet.find(id).is_none() => drop(self.known.remove(id)),
                _ => {}
            }
        }
        assert_eq!(shard.fleet.len(), self.known.len(), "endpoints that were acked: {:?}", self.known.keys());
        for (id, known) in &mut self.known {
            let at = shard.fleet.find(id).unwrap_or_else(|| panic!("{id} was acked and is gone"));
            let held = shard.fleet.get(at).and_then(|e| e.held.as_ref());
            let received_ms = held.map_or(0, |h| h.received_ms);
            let held = held.map(|h| (h.digest, h.sequence));
            let acked = known.sent.as_ref().map(|s| (Digest::of_scan(&s.scan), s.sequence));
            if held == acked {
                continue;
            }
            let (digest, sequence) = held.unwrap_or_else(|| panic!("{id}: its acked scan {acked:?} is gone"));
            assert!(survived, "{id}: {held:?} is there, which no commit brought; acked is {acked:?}");
            assert!(sequence > acked.map_or(0, |(_, sequence)| sequence), "{id}: {held:?} is there, acked is {acked:?}");
            let scans = under_way.iter().filter_map(|w| match w {
                What::Upload { id: of, scan: Some(scan) } if of == id => Some(scan),
                _ => None,
            });
            let scan = scans.into_iter().find(|s| Digest::of_scan(s) == digest);
            let scan = scan.unwrap_or_else(|| panic!("{id}: {held:?} is there, which nobody sent")).clone();
            known.sent = Some(Sent { scan, sequence });
            (known.heard_ms, known.kept_ms) = (received_ms, received_ms);
            self.counts.adopted += 1;
        }
    }

    /// What this life did, as its metrics say.
    fn account(&mut self) {
        let Life { metrics, ingest, epoch, .. } = &self.life;
        let outcome = |of: &str| metrics.uploads.with_label_values(&[of]).get();
        let decoded = metrics.prepare_seconds.get_sample_count();
        self.counts.stale += decoded.saturating_sub(outcome("changed") + outcome("unchanged") + outcome("refused") + outcome("failed"));
        self.counts.sweeps += ingest.read().fleet.rows.epoch() - epoch;
    }

    /// What `muster serve` does when it starts, until it is ready.
    fn start(&mut self) {
        let (life, swap) = begin(&mut self.world, &self.hardware, &self.limits, self.config, false);
        self.life = life;
        self.go_on(swap);
    }

    fn go_on(&mut self, swap: Option<Input>) {
        if let Some(swap) = swap {
            self.submit(What::Swap, swap);
        }
        if !self.settle() {
            return;
        }
        self.subscribe();
        self.submit(What::Settle, Input::Settle);
        let catalog = self.world.catalog(self.config.2);
        self.submit(What::Other, Input::Catalog { catalog, news: Vec::new() });
        if !self.settle() || !self.tidy() {
            return;
        }
        self.submit(What::Tick, Input::Tick);
        if self.settle() {
            self.sample(MACHINES);
        }
    }

    /// Until nothing is under way.
    pub(super) fn settle(&mut self) -> bool {
        for _ in 0..50 {
            self.poll(100);
            if self.flights.is_empty() {
                return true;
            }
            if !self.write() {
                return false;
            }
        }
        panic!("{} things are never answered: {:?}", self.flights.len(), self.flights.iter().map(|f| &f.what).collect::<Vec<_>>());
    }

    /// Some endpoints against what they know of themselves.
    fn sample(&mut self, endpoints: usize) {
        let ids: Vec<String> = self.known.keys().cloned().collect();
        let from = self.random.below(ids.len());
        let shard = self.life.ingest.read();
        assert_eq!(shard.fleet.len(), ids.len(), "endpoints");
        for id in ids.iter().cycle().skip(from).take(endpoints.min(ids.len())) {
            let endpoint = shard.fleet.get(shard.fleet.find(id).unwrap()).unwrap();
            let sent = self.known[id].sent.as_ref();
            let held = endpoint.held.as_ref();
            let (expected, found) = (sent.map(|s| (Digest::of_scan(&s.scan), s.sequence)), held.map(|h| (h.digest, h.sequence)));
            assert_eq!(found, expected, "{id}: what is there, and what was acked");
            if let Some(sent) = sent {
                oracle::verdicts_hold(&shard, endpoint, &sent.scan);
            }
        }
        drop(shard);
        let problems = self.hardware.problems();
        assert!(problems.is_empty(), "{problems:#?}");
    }

    /// Everything.
    fn check(&mut self) {
        self.sample(MACHINES);
        let shard = self.life.ingest.read();
        oracle::derived_holds(&shard, self.ticked_ms);
        oracle::stored_is_kept(&shard, &self.hardware, &self.limits, &shard.policy.policy);
    }

    /// The trouble ends, and all that was promised is kept.
    pub(super) fn end(mut self) -> (String, Counts) {
        self.hardware.set_full(false);
        self.hardware.fail_next(None);
        self.sinks_down.clear();
        assert!(self.settle(), "without faults nothing fails");
        while self.lane.is_some() {
            self.drive(100);
            assert!(self.settle());
        }
        for round in 0.. {
            // Past every wait that a failed delivery may have got, and past what the clock was set back by.
            self.pass(25 * 3_600_000);
            for sink in SINKS {
                self.submit(What::Other, Input::Redeliver { sink: sink.to_owned() });
            }
            self.submit(What::Tick, Input::Tick);
            assert!(self.settle());
            while self.dispatch() > 0 {
                assert!(self.settle());
            }
            let waiting = self.hardware.undelivered();
            if waiting.is_empty() {
                break;
            }
            assert!(round < 100, "never delivered: {waiting:?}");
        }
        self.check();
        // And a clean start.
        self.crash();
        self.check();
        let dump = oracle::dump(&self.life.ingest.read());
        [self.counts.returned, self.counts.expired, self.counts.forgotten] = self.hardware.aged();
        let hash = format!("{} {} {}", self.hardware.hash(), self.hardware.commits(), blake3::hash(format!("{dump:?}").as_bytes()));
        (hash, self.counts)
    }

    /// The next commit fails like this.
    pub(super) fn break_disk(&mut self) {
        let fault = [Fault::Before, Fault::Fsync, Fault::After, Fault::Drops][self.random.below(4)];
        self.hardware.fail_next(Some(fault));
    }
}

/// Loads what is on the disk. `lost`: the compiled rules that it was judged by are not there any more.
fn begin(world: &mut World, hardware: &Hardware, limits: &Limits, config: (usize, usize, usize), lost: bool) -> (Life, Option<Input>) {
    let mut store = hardware.store();
    let (pack, policy) = (world.pack(config.0, config.1), world.policy(config.1).clone());
    let empty = Arc::new(Pack::from_bytes(compile(&[], &[])).unwrap());
    let old = |digest: &str| if pack.digest() == digest { Some(pack.clone()) } else { world.compiled(digest).filter(|_| !lost) };
    let mut shard = Shard::load(&mut store, limits.clone(), "simulated", old, empty).unwrap();
    let swap = shard.resume(&pack, policy).map(|policy| Input::Swap { pack, policy: Box::new(policy) });
    shard.fleet.expect_few(2, 2);
    let reader = store.reader();
    let (metrics, epoch) = (Arc::new(Metrics::new().unwrap()), shard.fleet.rows.epoch());
    let (ingest, writer) = pipeline(shard, Box::new(store), metrics.clone(), Arc::default());
    (Life { ingest: Arc::new(ingest), writer, reader, metrics, epoch, listens_ms: None, aged_by: None }, swap)
}
