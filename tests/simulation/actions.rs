//! What happens: clients, people, the clock, the disk, receivers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use muster::event::Event;
use muster::notify::{attempt, classify};
use muster::patch::list::{Exemption, PatchList, Scope};
use muster::scan::digest::Digest;
use muster::scan::inflate::Encoding;
use muster::scan::{Scan, native};
use muster::shard::{Attempt, Input};

use super::machines::{CATALOGS, PACKS, POLICIES, SINKS, flood, noise};
use super::play::{Done, MACHINES, Play, What};
use super::swaps::To;
use crate::patches::decided::random::news_between;

/// After so long the dispatcher gives up an event that is not in history.
const LOST_MS: i64 = 10 * 60_000;

impl Play {
    pub(super) fn act(&mut self) {
        let id = format!("m{}", self.random.below(MACHINES));
        if self.stormy && self.random.percent(4) {
            return self.flood(&id);
        }
        match self.random.below(100) {
            0..=9 => self.enroll(&id),
            10..=49 => self.upload(&id),
            50..=53 => self.upload_again(&id),
            54..=58 => self.upload_nonsense(&id),
            59 => self.flood(&id),
            60..=61 => self.remove(&id),
            62..=65 => self.report(&id),
            66..=69 => self.reload(),
            70..=71 => self.publish(),
            72..=73 => self.decide(&id),
            74..=78 => self.submit(What::Tick, Input::Tick),
            79..=80 => drop(self.tidy()),
            81..=83 => self.set_clock(),
            84..=90 => drop(self.dispatch()),
            91..=92 => self.receivers(),
            93..=94 => self.hardware.set_full(true),
            95..=96 => self.break_disk(),
            97 => self.crash(),
            _ => self.poll(50),
        }
    }

    /// Whether something under way says that an endpoint comes or goes, or sends; the clients' knowledge would be a guess then.
    fn busy(&self, id: &str, uploads: bool) -> bool {
        self.flights.iter().any(|f| match &f.what {
            What::Enroll { id: of } | What::Remove { id: of } => of == id,
            What::Upload { id: of, .. } => uploads && of == id,
            _ => false,
        })
    }

    fn enroll(&mut self, id: &str) {
        if self.busy(id, true) {
            return;
        }
        let role = ["web", "db", ""][self.random.below(3)];
        let labels = BTreeMap::from([("role".to_owned(), role.to_owned())]);
        let key_hash = [u8::try_from(self.random.below(256)).unwrap(); 32];
        let input = Input::Enroll { id: id.to_owned(), hostname: format!("{id}.example"), labels, key_hash };
        self.submit(What::Enroll { id: id.to_owned() }, input);
    }

    fn remove(&mut self, id: &str) {
        if !self.busy(id, true) {
            self.submit(What::Remove { id: id.to_owned() }, Input::Remove { endpoint: id.to_owned() });
        }
    }

    fn send(&mut self, id: &str, scan: Option<Scan>, body: Vec<u8>, encoding: Encoding) {
        let (ingest, endpoint, now_ms) = (self.life.ingest.clone(), id.to_owned(), self.now_ms);
        self.begin(What::Upload { id: id.to_owned(), scan }, async move {
            Done::Uploaded(ingest.upload(&endpoint, encoding, Bytes::from(body), now_ms).await)
        });
    }

    /// A whole scan, or what changed since the one that was acked.
    fn upload(&mut self, id: &str) {
        if self.busy(id, false) || (!self.known.contains_key(id) && !self.random.percent(5)) {
            return self.enroll(id);
        }
        let before = self.known.get(id).and_then(|k| k.sent.as_ref()).map(|s| s.scan.clone());
        let scan = match &before {
            Some(before) => self.world.later(before, &mut self.random),
            None => self.world.machine(id, &mut self.random),
        };
        let base = before.filter(|b| b.tables.keys().all(|t| scan.tables.contains_key(t))).filter(|_| self.random.percent(50));
        let body = match base {
            Some(base) => {
                let digest = Digest::of_scan(&base).to_string();
                native::encode(&scan, Some(&digest), |t| scan.tables.get(&t) != base.tables.get(&t))
            }
            None => {
                let whole = native::encode(&scan, None, |_| true);
                self.bodies.insert(id.to_owned(), whole.clone());
                whole
            }
        };
        let scan = self.known.contains_key(id).then_some(scan);
        self.send(id, scan, body, Encoding::Identity);
    }

    /// The same bytes as some time before, whole.
    fn upload_again(&mut self, id: &str) {
        let Some(body) = self.bodies.get(id).cloned().filter(|_| self.known.contains_key(id) && !self.busy(id, false)) else { return };
        let (_, scan) = native::decode_scan(&body, &self.limits).unwrap();
        self.send(id, Some(scan), body, Encoding::Identity);
    }

    fn upload_nonsense(&mut self, id: &str) {
        let body = match self.bodies.get(id) {
            Some(body) => body.clone(),
            None => br#"{"format":"muster.scan/1","tables":{}}"#.to_vec(),
        };
        match self.random.below(5) {
            0 => {
                let noise = noise(&mut self.random, 200);
                self.send(id, None, noise, Encoding::Identity);
            }
            1 => {
                let cut = self.random.below(body.len());
                self.send(id, None, body[..cut].to_vec(), Encoding::Identity);
            }
            // Not the bytes that it sent last, which are recognised before they are inflated.
            2 => self.send(id, None, [b" ", body.as_slice()].concat(), Encoding::Zstd),
            3 => {
                let other = Scan { endpoint: "somebody-else".to_owned(), ..Scan::default() };
                self.send(id, None, native::encode(&other, None, |_| true), Encoding::Identity);
            }
            _ => {
                let scan = Scan { endpoint: id.to_owned(), ..Scan::default() };
                let base = Digest::of_scan(&flood(id, self.turn, 1)).to_string();
                self.send(id, None, native::encode(&scan, Some(&base), |_| true), Encoding::Identity);
            }
        }
    }

    /// More new rows than anybody should bring, within the limit and past it.
    fn flood(&mut self, id: &str) {
        if self.busy(id, false) || !self.known.contains_key(id) {
            return;
        }
        let past = self.random.percent(30);
        let scan = flood(id, self.turn, self.limits.new_rows + usize::from(past));
        let body = native::encode(&scan, None, |_| true);
        self.send(id, (!past).then_some(scan), body, Encoding::Identity);
    }

    fn report(&mut self, id: &str) {
        let task = {
            let shard = self.life.ingest.read();
            let tasks: Vec<String> = shard.tasks().map(|(_, t)| t.id.clone()).collect();
            if tasks.is_empty() { "tsk_none".to_owned() } else { tasks[self.random.below(tasks.len())].clone() }
        };
        let endpoint = {
            let shard = self.life.ingest.read();
            // Now and then somebody else's.
            let of = shard.task(&task).and_then(|(at, _)| shard.fleet.get(at)).map(|e| e.id.to_string());
            of.filter(|_| !self.random.percent(10)).unwrap_or_else(|| id.to_owned())
        };
        let ok = self.random.percent(70);
        self.submit(What::Other, Input::Report { task, endpoint, ok, message: "as it went".into() });
    }

    /// The configuration is another one.
    fn reload(&mut self) {
        // One at a time; that something comes in between all the same must not harm a lane.
        if self.flights.iter().any(|f| matches!(f.what, What::Swap)) || (self.lane.is_some() && !self.random.percent(10)) {
            return;
        }
        self.config.0 = self.random.below(PACKS);
        self.config.1 = if self.random.percent(60) { self.config.1 } else { self.random.below(POLICIES) };
        let pack = self.world.pack(self.config.0, self.config.1);
        let policy = self.world.policy(self.config.1).clone();
        if self.lane.is_none() && self.random.percent(70) {
            return self.begin_lane(To::Pack(pack, policy));
        }
        self.submit(What::Swap, Input::Swap { pack, policy: Box::new(policy) });
    }

    /// A feed was fetched.
    fn publish(&mut self) {
        if self.lane.is_some() {
            return;
        }
        self.config.2 = self.random.below(CATALOGS);
        let catalog = self.world.catalog(self.config.2);
        if self.random.percent(70) {
            return self.begin_lane(To::Catalog(catalog));
        }
        let news = news_between(&self.life.ingest.read().catalog, &catalog);
        self.submit(What::Other, Input::Catalog { catalog, news: vec![news] });
    }

    fn decide(&mut self, id: &str) {
        let (exemptions, version): (Vec<String>, u32) = {
            let shard = self.life.ingest.read();
            (shard.decisions.exemptions.keys().cloned().collect(), shard.decisions.list("october").map_or(0, |l| l.version))
        };
        match self.random.below(4) {
            0 if !exemptions.is_empty() => {
                let id = exemptions[self.random.below(exemptions.len())].clone();
                self.submit(What::Other, Input::EndExemption { id, by: "a. person".into() });
            }
            1 => {
                let patches: BTreeSet<String> = (0..self.random.below(4)).map(|_| format!("DSA-2026-{}", self.random.below(12))).collect();
                let list = PatchList {
                    name: "october".into(),
                    version: version + 1,
                    filter: String::new(),
                    patches,
                    author: "a. person".into(),
                    note: String::new(),
                    at_ms: 0,
                };
                self.submit(What::Other, Input::KeepList(list));
            }
            _ => {
                let scope = [Scope::Endpoint(id.to_owned()), Scope::Group("web".into()), Scope::Everywhere][self.random.below(3)].clone();
                let pattern = ["DSA-*", "CVE-2026-1*", "*", "DSA-2026-3", "CVE-2026-5"][self.random.below(5)];
                // After everything that the clock has said, so that a clock that is set back revives nothing.
                let for_ms = 1 + 3_600_000 * i64::try_from(self.random.below(60)).unwrap();
                let expires_ms = self.random.percent(50).then_some(self.latest_ms + for_ms);
                let exemption = Exemption {
                    id: String::new(),
                    scope,
                    patches: vec![pattern.to_owned()],
                    reason: "breaks the cash desk".into(),
                    approver: "a. person".into(),
                    created_ms: 0,
                    expires_ms,
                };
                self.submit(What::Other, Input::Exempt(exemption));
            }
        }
    }

    /// An hour, a day, weeks; now and then back.
    fn set_clock(&mut self) {
        const HOUR_MS: i64 = 3_600_000;
        let by = [1, 25, 4 * 24, 8 * 24, 20 * 24, -1, -30, -15 * 24][self.random.below(8)];
        self.pass(by * HOUR_MS);
    }

    /// In a moment in which nothing else waits: images that do not pay are given up. Whether the process still lives as it did.
    pub(super) fn tidy(&mut self) -> bool {
        for _ in 0..4 {
            if !self.life.ingest.read().fleet.is_thinning() {
                break;
            }
            self.submit(What::Other, Input::Thin);
            self.poll(100);
            if !self.write() {
                return false;
            }
        }
        true
    }

    fn receivers(&mut self) {
        let sink = SINKS[self.random.below(SINKS.len())];
        if !self.sinks_down.remove(sink) {
            self.sinks_down.insert(sink);
        } else if self.random.percent(30) {
            self.submit(What::Other, Input::Redeliver { sink: sink.to_owned() });
        }
    }

    /// One round of the dispatcher: what is due is sent, and the outcome handed to the writer. How much was due.
    pub(super) fn dispatch(&mut self) -> usize {
        let mut begun = 0;
        for sink in SINKS {
            let due = self.life.ingest.read().outbox.due(sink, self.now_ms, 8).0;
            for (seq, pending) in due {
                let under_way = |w: &What| matches!(w, What::Delivered { sink: of, seq: n } if of == sink && *n == seq);
                if self.flights.iter().any(|f| under_way(&f.what)) {
                    continue;
                }
                let found = self.life.reader.event(seq, pending.at_ms).unwrap();
                let attempt = match found.map(|bytes| serde_json::from_slice::<Event>(&bytes).unwrap()) {
                    Some(event) => self.deliver(sink, event, pending.attempts),
                    None if self.now_ms - pending.at_ms > LOST_MS => {
                        self.hardware.lose(sink, seq);
                        Attempt::Dead { error: "the event is no longer in history".to_owned() }
                    }
                    None => continue,
                };
                begun += 1;
                let count = if attempt == Attempt::Delivered { &mut self.counts.delivered } else { &mut self.counts.undelivered };
                *count += 1;
                let input = Input::Delivered { sink: sink.to_owned(), seq, attempt };
                self.submit(What::Delivered { sink: sink.to_owned(), seq }, input);
            }
        }
        begun
    }

    fn deliver(&mut self, sink: &'static str, event: Event, made: u32) -> Attempt {
        let (seq, time) = (event.seq, event.time);
        let status = if self.sinks_down.contains(sink) { [500, 429, 404, 410][self.random.below(4)] } else { 204 };
        // Received, and the receiver died before it said so.
        let heard = status == 204 || self.random.percent(10);
        if heard {
            self.hardware.deliver(sink, event);
        }
        attempt(&classify(status, None, time), made, seq, self.now_ms)
    }
}
