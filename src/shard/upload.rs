//! A scan arrives: rows are interned, the row set replaces the last one, the rules' answers are added up, what turned is told.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::quality::RandomState;
use serde::Serialize;
use serde_json::json;

use super::judge::Judged;
use super::patches::Required;
use super::{Applied, Refusal, Shard};
use crate::deploy::Observation as Seen;
use crate::drift::{self, Cause, Flip, Stand, stand};
use crate::fleet::classes::ClassId;
use crate::fleet::follow::Way;
use crate::fleet::image::{ImageId, difference, is_near, turn};
use crate::fleet::rows::{RowId, Said};
use crate::fleet::{EndpointId, Held, Tables};
use crate::history::trend::OfVerdicts;
use crate::judge::Verdict;
use crate::pack::RuleId;
use crate::scan::digest::Digest;
use crate::scan::native::{DecodedTable, Header, NEW, NewRow};
use crate::scan::table::TableId;
use crate::state::Space;

/// What a body as sent is recognised by: its length and a hash that is keyed for this process. It is not a cryptographic one, which would
/// cost more than reading the rows does, and need not be: as with the digest of a scan, who made two of their bodies collide, which takes
/// the key, would only keep the server from looking at what they themselves send, and they may as well send the first one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHash {
    pub(super) length: u32,
    pub(super) hash: u64,
}

impl BodyHash {
    /// Of a body that was not kept, as which no other one is recognised.
    pub const NONE: BodyHash = BodyHash { length: 0, hash: 0 };

    pub fn of(body: &[u8]) -> BodyHash {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);
        BodyHash { length: u32::try_from(body.len()).unwrap_or(u32::MAX), hash: KEY.hash_one(body) }
    }
}

/// An upload, decoded beside the writer, with what its new rows say to the pack already asked.
#[derive(Debug)]
pub struct Prepared {
    pub header: Header,
    pub tables: Vec<DecodedTable>,
    /// In the order of the document: an entry of the fleet's rows, or [`NEW`] and a place in `new`.
    pub rows: Vec<u32>,
    pub new: Vec<PreparedRow>,
    /// How the rows left the way of the endpoint's image.
    pub way: Way,
    /// Under which rows, pack and catalog it was prepared; under others it must be prepared again.
    pub epoch: u64,
    pub pack: String,
    /// And which catalog of patches.
    pub catalog: String,
    /// Hash of the body as sent.
    pub body: BodyHash,
    /// Bytes of the document.
    pub length: usize,
}

/// A row that the fleet had not shown when it was decoded.
#[derive(Debug)]
pub struct PreparedRow {
    pub new: NewRow,
    pub canonical: Vec<u8>,
    pub said: Said,
}

impl Prepared {
    pub(super) fn sends(&self, table: TableId) -> bool {
        self.tables.iter().any(|t| t.table == table)
    }
}

/// The answer to an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Uploaded {
    /// Digest of the facts.
    pub scan: String,
    pub sequence: u64,
    pub changed: bool,
    pub verdicts: BTreeMap<&'static str, u32>,
    /// Tasks that wait for the endpoint.
    pub tasks: usize,
}

/// What the class said that an endpoint left.
struct Left {
    verdicts: Vec<u8>,
    counted: OfVerdicts,
}

/// The facts of an upload as a whole scan, interned.
struct Facts {
    rows: RowSet,
    tables: Tables,
    digest: Digest,
    added: Vec<RowId>,
    removed: Vec<RowId>,
    /// The rules that those can turn.
    affected: Vec<RuleId>,
}

enum RowSet {
    /// The image that the endpoint has already, with these deviations. Nothing here looks at the rows that are as the image has them.
    Near { plus: Vec<RowId>, minus: Vec<RowId> },
    /// All rows: in the order of the document, and sorted.
    Whole { order: Vec<RowId>, sorted: Vec<RowId> },
}

/// The tables of the scan that an upload makes.
fn brought(prepared: &Prepared, before: Option<&Held>) -> Tables {
    let mut tables = Tables::default();
    if let (Some(before), Some(_)) = (before, &prepared.header.base) {
        tables = Tables::clone(&before.tables);
        tables.collected.retain(|t| !prepared.sends(*t));
        tables.failed.retain(|t, _| !prepared.sends(*t));
    }
    for table in &prepared.tables {
        match &table.error {
            None => tables.collected.push(table.table),
            Some(why) => {
                tables.failed.insert(table.table, why.clone());
            }
        }
    }
    tables.collected.sort_unstable();
    tables
}

impl Shard {
    /// The answer to a body that this endpoint has sent before, if it still says what is known: found without inflating it.
    /// INVARIANT: unchanged means unchanged under these rules; the classes are those of the present pack.
    /// INVARIANT: ack means durable: `durable` is the number of the newest batch on the disk, and what came later is not known yet.
    pub fn recognise(&self, endpoint: EndpointId, body: &BodyHash, durable: u64, now_ms: i64) -> Option<Uploaded> {
        let live = self.live.get(endpoint.0 as usize)?;
        let held = self.fleet.get(endpoint)?.held.as_ref()?;
        if !live.knows(body, held.sequence, durable) || !self.may_be_brief(endpoint) {
            return None;
        }
        live.seen_ms.store(now_ms, std::sync::atomic::Ordering::Relaxed);
        Some(self.uploaded(endpoint, held, false))
    }

    /// Whether an endpoint may be answered beside the writer: no task waits for its scan, and it was heard of lately, so that it is not told to be back.
    fn may_be_brief(&self, at: EndpointId) -> bool {
        !self.tasks.await_scan(at) && !self.stale().contains(at.0)
    }

    /// The same of an upload that was decoded and says what is known: for it nothing is to be written.
    pub fn unchanged(&self, id: &str, prepared: &Prepared, durable: u64, now_ms: i64) -> Option<Uploaded> {
        let at = self.fleet.find(id)?;
        let (live, held) = (self.live.get(at.0 as usize)?, self.fleet.get(at)?.held.as_ref()?);
        if !prepared.new.is_empty() || live.batch > durable || !self.may_be_brief(at) || self.accept(id, prepared, Some(held)).is_err() {
            return None;
        }
        let RowSet::Near { plus, minus } = self.near(prepared.way.clone(), prepared, Some(held), &[])? else { return None };
        if *plus != *held.plus || *minus != *held.minus || brought(prepared, Some(held)) != *held.tables {
            return None;
        }
        live.seen_ms.store(now_ms, std::sync::atomic::Ordering::Relaxed);
        Some(self.uploaded(at, held, false))
    }

    /// The answer to an endpoint that says that its last scan is still the one of this digest; none where a scan must be applied to know what follows.
    pub fn check_in(&self, id: &str, digest: Digest, durable: u64, now_ms: i64) -> Result<Option<Uploaded>, Refusal> {
        let at = self.fleet.find(id).ok_or_else(|| Refusal::UnknownEndpoint(id.to_owned()))?;
        let held = self.fleet.get(at).and_then(|e| e.held.as_ref());
        let Some(held) = held.filter(|h| h.digest == digest) else {
            return Err(Refusal::BaseMismatch { base: digest.to_string(), have: held.map(|h| h.digest) });
        };
        let live = self.live.get(at.0 as usize);
        if !self.may_be_brief(at) || live.is_some_and(|l| l.batch > durable) {
            return Ok(None);
        }
        // Nothing was heard of it since the start: the writer makes a place for it.
        let Some(live) = live else { return Ok(None) };
        live.seen_ms.store(now_ms, std::sync::atomic::Ordering::Relaxed);
        Ok(Some(self.uploaded(at, held, false)))
    }

    fn uploaded(&self, at: EndpointId, held: &Held, changed: bool) -> Uploaded {
        let verdicts = self.verdict_counts(held.class).map(|(verdict, n)| (verdict.name(), n)).collect();
        let tasks = self.open_tasks(at).count();
        Uploaded { scan: held.digest.to_string(), sequence: held.sequence, changed, verdicts, tasks }
    }

    /// How many rules have each verdict in a class; all verdicts, the requirements of baselines left out.
    pub fn verdict_counts(&self, class: ClassId) -> impl Iterator<Item = (Verdict, u32)> {
        Verdict::ALL.into_iter().zip(self.fleet.classes.summary(class))
    }

    /// Asks the new rows of an upload again, if they were asked by another pack or catalog and are few.
    fn ask_again(&self, prepared: &mut Prepared) {
        const FEW: usize = 256;
        if (prepared.pack == self.pack.digest() && prepared.catalog == self.catalog_digest()) || prepared.new.len() > FEW {
            return;
        }
        for row in &mut prepared.new {
            row.said = Said::of(&self.pack, &self.catalog, &row.new.row);
        }
        (prepared.pack, prepared.catalog) = (self.pack.digest().to_owned(), self.catalog_digest().to_owned());
    }

    pub(super) fn upload(&mut self, id: &str, mut prepared: Prepared, now_ms: i64, out: &mut Applied) -> Result<Uploaded, Refusal> {
        let at = self.fleet.find(id).ok_or_else(|| Refusal::UnknownEndpoint(id.to_owned()))?;
        let before = self.fleet.get(at).and_then(|e| e.held.clone());
        self.ask_again(&mut prepared);
        self.accept(id, &prepared, before.as_ref())?;
        self.within_bounds(&prepared, before.as_ref()).inspect_err(|refusal| {
            self.short_of_rows |= matches!(refusal, Refusal::FleetFull { .. });
        })?;
        let body = prepared.body;
        let facts = self.intern(prepared, before.as_ref(), out);
        self.heard(at, id, now_ms, out);
        let batch = self.applied;
        if let Some(held) = before.as_ref().filter(|h| h.digest == facts.digest && facts.added.is_empty() && facts.removed.is_empty()) {
            if self.tasks.await_scan(at) {
                self.check_baselines(at, id, true, now_ms, out);
            }
            self.live_mut(at).keep(&body, held.sequence, batch);
            return Ok(self.uploaded(at, held, false));
        }
        let stood = self.before_turn(before.as_ref(), at, &facts.tables, &facts.added, &facts.removed);
        let (held, left) = self.hold(at, before.as_ref(), &facts, now_ms, out);
        self.live_mut(at).keep(&body, held.sequence, batch);
        self.after_turn(at, id, stood, (&facts.added, &facts.removed), now_ms, out);
        match &before {
            None => {
                self.history_mut().who(crate::history::record::Who::Scanned { number: at.0 });
                self.first_scan(at, id, &held, now_ms, out);
            }
            Some(before) => self.turned(at, id, (before, left), &held, &facts, now_ms, out),
        }
        self.check_baselines(at, id, true, now_ms, out);
        Ok(self.uploaded(at, &held, true))
    }

    /// Whether the upload may change anything. Nothing is changed before this says so.
    fn accept(&self, id: &str, prepared: &Prepared, before: Option<&Held>) -> Result<(), Refusal> {
        if !self.fleet.rows.are_still(prepared.epoch, &prepared.rows)
            || prepared.pack != self.pack.digest()
            || prepared.catalog != self.catalog_digest()
        {
            return Err(Refusal::Stale);
        }
        let said = &prepared.header.endpoint;
        if !said.is_empty() && said != id {
            return Err(Refusal::WrongEndpoint { said: said.clone(), sent: id.to_owned() });
        }
        if let Some(base) = &prepared.header.base {
            let have = before.map(|h| h.digest);
            if have.is_none() || Digest::parse(base) != have {
                return Err(Refusal::BaseMismatch { base: base.clone(), have });
            }
        }
        Ok(())
    }

    /// Interns the new rows and puts the whole scan together: the upload's, and for one that changes a base the tables that it left out.
    fn intern(&mut self, mut prepared: Prepared, before: Option<&Held>, out: &mut Applied) -> Facts {
        let new = std::mem::take(&mut prepared.new).into_iter().map(|row| self.intern_row(row, out)).collect::<Vec<_>>();
        let way = std::mem::take(&mut prepared.way);
        let rows = self.near(way, &prepared, before, &new).unwrap_or_else(|| self.whole(&prepared, before, &new));
        let tables = brought(&prepared, before);
        let (added, removed) = match (&rows, before) {
            (RowSet::Near { plus, minus }, Some(before)) => turn((&before.plus, &before.minus), (plus, minus)),
            (RowSet::Whole { sorted, .. }, Some(before)) => difference(&self.fleet.rows_of(before), sorted),
            (RowSet::Whole { sorted, .. }, None) => (sorted.clone(), Vec::new()),
            (RowSet::Near { plus, .. }, None) => (plus.clone(), Vec::new()),
        };
        let mut digest = before.map_or_else(Digest::default, |h| h.digest);
        if before.is_none_or(|h| *h.tables != tables) {
            digest.subtract(&before.map_or_else(Digest::default, |h| h.tables.digest()));
            digest.add(&tables.digest());
        }
        added.iter().for_each(|r| digest.add(&self.fleet.rows.digest(*r)));
        removed.iter().for_each(|r| digest.subtract(&self.fleet.rows.digest(*r)));
        let affected = if before.is_some() { self.affected(added.iter().chain(&removed)) } else { Vec::new() };
        Facts { rows, tables, digest, added, removed, affected }
    }

    /// The deviations from the image that the endpoint has, if the upload was followed along it and is near it still.
    fn near(&self, way: Way, prepared: &Prepared, before: Option<&Held>, new: &[RowId]) -> Option<RowSet> {
        let before = before.filter(|h| way.image == Some(h.image))?;
        let image = self.fleet.images.get(before.image)?;
        let (mut plus, mut minus) = image.deviations(way, new);
        if prepared.header.base.is_some() {
            let left_out = |r: &&RowId| self.fleet.rows.table(**r).is_some_and(|t| !prepared.sends(t));
            plus.extend(before.plus.iter().filter(left_out));
            minus.extend(before.minus.iter().filter(left_out));
            plus.sort_unstable();
            minus.sort_unstable();
        }
        let rows = image.rows.len() + plus.len() - minus.len();
        let (deviations, had) = (plus.len() + minus.len(), before.plus.len() + before.minus.len());
        // So much at once is a patch wave, and another image may be nearer now.
        let wave = deviations > had + 32 && deviations > rows / 64;
        (is_near(deviations, rows) && !wave).then_some(RowSet::Near { plus, minus })
    }

    /// All rows of a scan.
    fn whole(&self, prepared: &Prepared, before: Option<&Held>, new: &[RowId]) -> RowSet {
        let interned = |row: &u32| if row & NEW == 0 { self.fleet.rows.canonical(*row) } else { new[(row & !NEW) as usize] };
        let mut order: Vec<RowId> = prepared.rows.iter().map(interned).collect();
        if let (Some(before), Some(_)) = (before, &prepared.header.base) {
            let left_out = |r: &RowId| self.fleet.rows.table(*r).is_some_and(|t| !prepared.sends(t));
            order.extend(self.fleet.rows_of(before).into_iter().filter(left_out));
        }
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.dedup();
        RowSet::Whole { order, sorted }
    }

    fn intern_row(&mut self, row: PreparedRow, out: &mut Applied) -> RowId {
        let (entry, fresh) = self.fleet.intern(&row.new, &row.canonical, row.said, &self.limits);
        let id = self.fleet.rows.canonical(entry);
        if fresh {
            let value = [row.new.row.table.name().as_bytes(), &[0], row.canonical.as_slice()].concat();
            out.batch.put(Space::Rows, id.to_be_bytes(), value);
        }
        id
    }

    /// Puts the facts in the place of the last ones, judged; and tells which class it left for another.
    fn hold(&mut self, at: EndpointId, before: Option<&Held>, facts: &Facts, now_ms: i64, out: &mut Applied) -> (Held, Option<Left>) {
        let (image, plus, minus) = self.place(before, &facts.rows, out);
        let sequence = before.map_or(0, |h| h.sequence) + 1;
        let tables = self.share_tables(&facts.tables, out);
        let mut held = Held { image, plus, minus, tables, digest: facts.digest, sequence, received_ms: now_ms, class: 0 };
        let (class, left) = self.classify(before, &held, facts, out);
        held.class = class;
        self.fleet.place(at, held.clone());
        if before.is_none() || left.is_some() {
            self.trend_verdicts(at, left.as_ref().map(|l| l.counted), held.class);
        }
        self.store_endpoint(at, out);
        // Both are to be done: an image more may be one too many.
        if matches!(facts.rows, RowSet::Whole { .. }) && (self.gather(at, out) | self.thin(out)) {
            held = self.fleet.get(at).and_then(|e| e.held.clone()).unwrap_or(held);
        }
        (held, left)
    }

    /// Gives an endpoint and others like it an image of their own, if there are enough of them.
    fn gather(&mut self, at: EndpointId, out: &mut Applied) -> bool {
        let Some(gathered) = self.fleet.gather(at) else { return false };
        self.store_image(gathered.founded, out);
        if let Some(abandoned) = gathered.abandoned {
            out.batch.delete(Space::Images, abandoned.to_be_bytes());
        }
        gathered.moved.iter().for_each(|other| self.store_endpoint(*other, out));
        true
    }

    /// Lets go of images that do not pay, a step at a time; whether endpoints were moved.
    pub(super) fn thin(&mut self, out: &mut Applied) -> bool {
        let Some(thinned) = self.fleet.thin() else { return false };
        if let Some(abandoned) = thinned.abandoned {
            out.batch.delete(Space::Images, abandoned.to_be_bytes());
        }
        thinned.moved.iter().for_each(|other| self.store_endpoint(*other, out));
        true
    }

    fn store_image(&self, id: ImageId, out: &mut Applied) {
        if let Some(image) = self.fleet.images.get(id) {
            out.batch.put_record(Space::Images, id.to_be_bytes(), &image.order.to_vec());
        }
    }

    /// The image and the deviations that the rows are from now on.
    fn place(&mut self, before: Option<&Held>, rows: &RowSet, out: &mut Applied) -> (ImageId, Box<[RowId]>, Box<[RowId]>) {
        let (order, sorted) = match (rows, before) {
            (RowSet::Near { plus, minus }, Some(before)) => {
                self.fleet.shift(before, plus);
                return (before.image, plus.as_slice().into(), minus.as_slice().into());
            }
            (RowSet::Near { plus, .. }, None) => (plus, plus),
            (RowSet::Whole { order, sorted }, _) => (order, sorted),
        };
        let (image, plus, minus, moved) = self.fleet.hold(before, sorted, order);
        if let Some(founded) = moved.founded {
            self.store_image(founded, out);
        }
        if let Some(abandoned) = moved.abandoned {
            out.batch.delete(Space::Images, abandoned.to_be_bytes());
        }
        (image, plus, minus)
    }

    /// Judges the endpoint, and moves it to the class of its verdicts if they turned.
    fn classify(&mut self, before: Option<&Held>, held: &Held, facts: &Facts, out: &mut Applied) -> (ClassId, Option<Left>) {
        let verdicts = match before.filter(|h| h.tables == held.tables) {
            Some(before) => match self.judge_changed(before.class, held, &facts.affected) {
                Judged::Same => return (before.class, None),
                Judged::All(verdicts) => verdicts,
            },
            None => self.judge(held),
        };
        let (class, new_class) = self.fleet.classes.intern(&verdicts);
        self.fleet.classes.join(class);
        if new_class {
            self.store_class(class, &verdicts, out);
        }
        // Taken now: the class before is gone when this was its last endpoint.
        let left = before
            .filter(|h| h.class != class)
            .map(|h| Left { verdicts: self.fleet.classes.verdicts(h.class), counted: self.of_verdicts(h.class) });
        if let Some(before) = before
            && self.fleet.classes.leave(before.class)
        {
            self.drop_class(before.class, out);
        }
        (class, left)
    }

    /// INVARIANT: what an endpoint fails from its first scan on is not written down rule by rule; it is one event.
    fn first_scan(&mut self, at: EndpointId, id: &str, held: &Held, now_ms: i64, out: &mut Applied) {
        const FAILING_MAX: usize = 200;
        let failing: Vec<_> = self
            .pack
            .rules()
            .filter(|r| !self.pack.rule(*r).requirement && self.fleet.classes.verdict(held.class, *r) == Verdict::Fail)
            .map(|r| json!({"rule": self.pack.rule_id(r), "severity": self.pack.rule(r).severity}))
            .take(FAILING_MAX)
            .collect();
        let verdicts: BTreeMap<_, _> = self.verdict_counts(held.class).map(|(v, n)| (v.name(), n)).collect();
        let data = json!({"scan": held.digest.to_string(), "verdicts": verdicts, "failing": failing, "cause": Cause::EndpointChanged,
            "patches": super::patches::shown(&self.posture(at))});
        self.event("endpoint.first_scan", Some(id), data, now_ms, true, out);
    }

    /// What turned between two scans of an endpoint.
    #[expect(clippy::too_many_arguments, reason = "the two states and where the changes go")]
    fn turned(
        &mut self,
        at: EndpointId,
        id: &str,
        (before, left): (&Held, Option<Left>),
        held: &Held,
        facts: &Facts,
        now_ms: i64,
        out: &mut Applied,
    ) {
        let turned = left.map_or_else(Vec::new, |left| drift::diff(&left.verdicts, &self.fleet.classes.verdicts(held.class)));
        let flips: Vec<Flip> = turned.into_iter().filter(|f| !self.pack.rule(f.rule).requirement).collect();
        self.record_flips(at, &flips, &mut out.batch);
        if !flips.is_empty() {
            let told: Vec<_> = flips.iter().map(|f| json!({"rule": self.pack.rule_id(f.rule), "from": f.from, "to": f.to})).collect();
            let data = json!({"scan": held.digest.to_string(), "sequence": held.sequence, "cause": Cause::EndpointChanged, "flips": told});
            self.event("verdicts.changed", Some(id), data, now_ms, true, out);
        }
        for flip in &flips {
            if stand(flip.from) == Stand::Clear && stand(flip.to) != Stand::Failing {
                continue;
            }
            self.observe(at, id, flip.rule, (flip.from, flip.to), now_ms, out);
        }
        self.observe_open(at, id, (before, held), &facts.affected, &flips, now_ms, out);
    }

    /// What the baselines of an endpoint's groups require, held against its verdicts; after a scan of it, or because what is required changed: then what its
    /// tasks came to is for its next scan to say.
    pub(super) fn check_baselines(&mut self, at: EndpointId, id: &str, scanned: bool, now_ms: i64, out: &mut Applied) {
        let Some(endpoint) = self.fleet.get(at) else { return };
        let Some(class) = endpoint.held.as_ref().map(|h| h.class) else { return };
        let required: Vec<_> = self.policy.required(endpoint).into_values().map(|(item, baselines)| (item.clone(), baselines)).collect();
        let mut wanted = BTreeSet::new();
        for (item, baselines) in required {
            let verdict = self.fleet.classes.verdict(class, item.rule);
            wanted.insert(item.id.clone());
            if !scanned && verdict == Verdict::Fail && self.tasks.is_open(at, &item.id) {
                continue;
            }
            self.step_task(at, id, &item.id, |_| item.action.clone(), &baselines, &Seen::Scan { verdict }, now_ms, out);
        }
        for Required { item, patch, places, baselines, verdict } in self.required_patches(at) {
            wanted.insert(item.clone());
            if !scanned && verdict == Verdict::Fail && self.tasks.is_open(at, &item) {
                continue;
            }
            let action = |shard: &Shard| shard.patch_action(at, &patch, &places);
            self.step_task(at, id, &item, action, &baselines, &Seen::Scan { verdict }, now_ms, out);
        }
        self.withdraw(at, id, |item| wanted.contains(item), now_ms, out);
    }
}
