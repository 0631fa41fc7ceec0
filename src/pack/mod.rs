//! Rules compiled: predicates on rows, programs over their answers, indexes. Immutable, shared, memory-mapped.
//!
//! `rules --compile--> bytes --wire--> Pack`. The file holds the rules' own texts beside what was derived from them, so that
//! `explain` needs nothing else and a later format can be built from an earlier file.
//!
//! A **term** is one question about one table that each row answers by itself: is there a row such that, do all rows, how many,
//! what does the row with this key say. Its **predicate** is byte code over one row ([`predicate`]), asked once for each distinct row
//! of the fleet. A rule is two **programs** over term answers ([`program`]): does it apply, does it hold.

pub mod code;
pub mod compile;
pub(crate) mod map;
mod matcher;
pub mod predicate;
pub mod program;
mod reads;
mod same;
mod scap;
mod walk;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::judge::Verdict;
use crate::judge::explain::{self, Explanation, Judged, Unread};
use crate::rule::ir::{Cmp, Ir};
use crate::rule::{Fix, Platform, Severity};
use crate::scan::Scan;
use crate::scan::table::TableId;
use wire::{Bytes, Section};

pub use compile::{Requirement, Sources, compile, merge};
pub use same::Same;
pub use scap::{Joined, ScapPack, ScapRule, TestWay};
pub use walk::{Answer, Part, Parts};
pub use wire::{KEY_SLOT as WHOLE_KEY, PackError, stable_hash as hash_of};

/// Position of a rule in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u16);

impl RuleId {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Position of a term in its pack.
pub type TermId = u32;

/// What a term asks of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermKind {
    /// True if the predicate is for some row.
    Exists,
    /// True if the predicate is for every row.
    All,
    /// Compares how many rows satisfy the predicate with a constant.
    Count(Cmp, i64),
    /// What the predicate says of the one row with the term's key; `None` when there is none.
    Keyed,
    /// What the items of rows add to an OVAL test (`pack::scap`).
    Test,
    /// The result of an OVAL test by the one uploaded object that it is about.
    Collected,
    /// Whether a row gives an item to an OVAL object, whose tests are run for each endpoint.
    Concerns,
}

/// How the rows that a term is about are found when a row is new. Chosen when compiled, shown by `rules explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// By the row's key.
    Key,
    /// By the value of a column that the predicate requires.
    Equal(u8),
    /// By a literal that the predicate requires in a column, all such literals in one pass.
    Literal(u8),
    /// Every new row of the table is asked.
    Each,
}

#[derive(Clone, Copy, Debug)]
pub struct Term {
    pub kind: TermKind,
    pub table: TableId,
    pub plan: Plan,
    key: [u32; 2],
    code: (u32, u32),
}

/// A rule as the hot path sees it.
#[derive(Clone, Copy, Debug)]
pub struct RuleRef {
    pub severity: Severity,
    pub missing: Verdict,
    /// A requirement of a mandatory baseline: judged like a rule, not counted or shown among the rules.
    pub requirement: bool,
    /// A rule of a SCAP profile: the baseline and the item there. It has no programs.
    pub scap: Option<(u32, u32)>,
    id: u32,
    meta: u32,
    applies: (u32, u32),
    check: (u32, u32),
}

/// Everything about a rule that people and later compilers want: the pack's stable part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleMeta {
    pub id: String,
    pub pack: String,
    pub title: String,
    pub severity: Severity,
    pub platforms: Vec<Platform>,
    pub controls: BTreeMap<String, Vec<String>>,
    pub rationale: String,
    pub remediation: String,
    pub fix: Option<Fix>,
    pub when: Option<String>,
    pub check: String,
    pub missing: Verdict,
    /// What it needs to have collected: table -> items.
    pub asks: BTreeMap<String, Vec<String>>,
    pub applies_ir: Ir,
    pub check_ir: Ir,
    /// Of a rule that is not ours but of a SCAP profile.
    #[serde(default)]
    pub scap: Option<ScapRule>,
}

impl RuleMeta {
    pub fn judged(&self) -> Judged<'_> {
        Judged { applies: &self.applies_ir, check: &self.check_ir, missing: self.missing }
    }

    /// The same in a pack that has other baselines before its own.
    fn moved(&self, baselines: usize) -> RuleMeta {
        let mut meta = self.clone();
        if let Some(scap) = &mut meta.scap {
            scap.baseline = scap.baseline.saturating_add(u32::try_from(baselines).unwrap_or(wire::NONE));
        }
        meta
    }
}

/// One source folder of the compiled pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackInfo {
    pub id: String,
    pub title: String,
    pub version: String,
    pub description: String,
    pub benchmarks: BTreeMap<String, String>,
    pub rules: usize,
}

/// A compiled pack, checked when opened: afterwards no offset is out of place and no program can go wrong.
pub struct Pack {
    bytes: Bytes,
    sections: wire::Sections,
    digest: String,
    infos: Vec<PackInfo>,
    matcher: matcher::Matcher,
    joins: Vec<Ir>,
    join_tables: BTreeSet<TableId>,
    metas: Vec<OnceLock<Box<RuleMeta>>>,
    by_id: BTreeMap<String, RuleId>,
    reads: reads::Reads,
    scap: scap::Scap,
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pack({}, {} rules, {} terms)", self.digest, self.rule_count(), self.term_count())
    }
}

impl Pack {
    /// Maps a compiled pack from a file.
    pub fn open(path: &Path) -> Result<Pack, PackError> {
        Pack::check(Bytes::Mapped(map::map(path).map_err(|source| PackError::Io { path: path.to_owned(), source })?))
    }

    /// Takes a compiled pack from memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Pack, PackError> {
        Pack::check(Bytes::Owned(bytes))
    }

    fn check(bytes: Bytes) -> Result<Pack, PackError> {
        let sections = wire::Sections::check(&bytes)?;
        let mut pack = Pack {
            digest: wire::digest(&bytes),
            bytes,
            sections,
            infos: Vec::new(),
            matcher: matcher::Matcher::default(),
            joins: Vec::new(),
            join_tables: BTreeSet::new(),
            metas: Vec::new(),
            by_id: BTreeMap::new(),
            reads: reads::Reads::default(),
            scap: scap::Scap::default(),
        };
        wire::check_contents(&pack)?;
        pack.infos = wire::parse_json(pack.string(pack.u32_at(Section::Info, 0)), "pack information")?;
        pack.matcher = matcher::Matcher::build(&pack)?;
        pack.joins = (0..pack.count(Section::Joins))
            .map(|i| wire::parse_json(pack.string(pack.u32_at(Section::Joins, i)), "endpoint-level program"))
            .collect::<Result<_, _>>()?;
        pack.check_conditions()?;
        pack.join_tables = pack.joins.iter().flat_map(Ir::tables).collect();
        for rule in pack.rules() {
            pack.by_id.insert(pack.rule_id(rule).to_owned(), rule);
            pack.metas.push(OnceLock::new());
        }
        pack.scap = scap::Scap::open(&pack)?;
        pack.reads = reads::Reads::of(&pack);
        Ok(pack)
    }

    /// INVARIANT: what rules say of themselves can be read, and their conditions name only what there is. Read anew when it is asked for.
    fn check_conditions(&self) -> Result<(), PackError> {
        let sound = |what: &str, ir: &Ir| if ir.is_sound(&[]) { Ok(()) } else { Err(PackError::Damaged(format!("a condition of {what}"))) };
        self.joins.iter().try_for_each(|join| sound("an endpoint-level program", join))?;
        let rules: Vec<RuleId> = self.rules().collect();
        rules.par_iter().try_for_each(|rule| {
            let what = format!("rule {}", rule.0);
            let meta: RuleMeta = wire::parse_json(self.string(self.rule(*rule).meta), &what)?;
            sound(&what, &meta.applies_ir)?;
            sound(&what, &meta.check_ir)
        })
    }

    /// Names the content: same rules, same digest.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn infos(&self) -> &[PackInfo] {
        &self.infos
    }

    pub fn rule_count(&self) -> usize {
        self.count(Section::Rules)
    }

    pub fn term_count(&self) -> usize {
        self.count(Section::Terms)
    }

    pub fn rules(&self) -> impl Iterator<Item = RuleId> + use<> {
        // INVARIANT: at most u16::MAX rules, checked when opened.
        (0..u16::try_from(self.rule_count()).unwrap_or(u16::MAX)).map(RuleId)
    }

    pub fn find(&self, id: &str) -> Option<RuleId> {
        self.by_id.get(id).copied()
    }

    pub fn rule(&self, id: RuleId) -> RuleRef {
        wire::rule(self.section(Section::Rules), id.index())
    }

    pub fn rule_id(&self, id: RuleId) -> &str {
        self.string(self.rule(id).id)
    }

    /// The stable part of a rule, read on first use.
    pub fn meta(&self, id: RuleId) -> &RuleMeta {
        self.metas[id.index()].get_or_init(|| match serde_json::from_str(self.string(self.rule(id).meta)) {
            Ok(meta) => Box::new(meta),
            // INVARIANT: it was read when the pack was opened.
            Err(e) => panic!("rule {} of pack {}: {e}", id.0, self.digest),
        })
    }

    pub fn term(&self, id: TermId) -> Term {
        wire::term(self.section(Section::Terms), wire::index(id))
    }

    pub fn term_key(&self, term: &Term) -> Vec<&str> {
        term.key.iter().filter(|k| **k != wire::NONE).map(|k| self.string(*k)).collect()
    }

    /// What the rules need to have collected: table -> paths, patterns, keys.
    pub fn asks(&self) -> crate::rule::Collect {
        let mut asks = crate::rule::Collect::new();
        for rule in self.rules() {
            for (table, items) in &self.meta(rule).asks {
                if let Some(table) = TableId::by_name(table) {
                    asks.entry(table).or_default().extend(items.iter().cloned());
                }
            }
        }
        for items in asks.values_mut() {
            items.sort();
            items.dedup();
        }
        asks
    }

    /// The tables whose rows endpoint-level programs need in parsed form.
    pub fn join_tables(&self) -> &BTreeSet<TableId> {
        &self.join_tables
    }

    /// The tables that a rule reads.
    pub fn tables_of(&self, rule: RuleId) -> BTreeSet<TableId> {
        if self.rule(rule).scap.is_some() {
            return TableId::all().collect();
        }
        let meta = self.meta(rule);
        meta.applies_ir.tables().into_iter().chain(meta.check_ir.tables()).collect()
    }

    /// Runs the endpoint-level programs: what needs several rows at once is the definition itself, run for each endpoint.
    /// `now_s` is when the scan was taken, seconds since 1970: some OVAL variables are differences to it.
    pub fn run_joins(&self, scan: &Scan, now_s: i64) -> Joined {
        let truths = self.joins.iter().map(|join| explain::truth(join, scan)).collect();
        Joined { truths, results: self.scap.run(scan, now_s) }
    }

    /// The definition's answer for a rule over a parsed scan.
    pub fn explain(&self, rule: RuleId, scan: &Scan, now_s: i64) -> Explanation {
        match self.rule(rule).scap {
            Some(place) => self.scap.explain(place, scan, now_s),
            None => explain::explain(self.meta(rule).judged(), scan),
        }
    }

    /// The same of a rule that reads rows one by one, from the rows that say something to its terms.
    pub fn explain_part(&self, rule: RuleId, scan: &Scan, unread: &Unread) -> Explanation {
        explain::explain_part(self.meta(rule).judged(), scan, unread)
    }

    /// The tests of a rule of a SCAP profile, and how each is answered.
    pub fn test_ways(&self, rule: RuleId) -> Vec<TestWay> {
        self.rule(rule).scap.map(|place| self.scap.ways(self, place)).unwrap_or_default()
    }

    /// Whether a row says anything to an endpoint-level OVAL test.
    pub fn concerns(&self, hit: &predicate::Hit) -> bool {
        self.term(hit.term).kind == TermKind::Concerns
    }

    /// Whether some rows matter to endpoint-level OVAL tests.
    pub fn has_endpoint_tests(&self) -> bool {
        self.scap.has_endpoint_tests()
    }

    fn section(&self, section: Section) -> &[u8] {
        self.sections.bytes(&self.bytes, section)
    }

    fn count(&self, section: Section) -> usize {
        self.sections.count(section)
    }

    fn u32_at(&self, section: Section, at: usize) -> u32 {
        wire::u32_at(self.section(section), at * 4)
    }

    fn string(&self, id: u32) -> &str {
        let at = wire::index(id);
        let (from, to) = (self.u32_at(Section::StringEnds, at), self.u32_at(Section::StringEnds, at + 1));
        // INVARIANT: UTF-8 was checked when opened.
        std::str::from_utf8(&self.section(Section::Strings)[wire::index(from)..wire::index(to)]).unwrap_or_default()
    }

    fn code(&self, (offset, len): (u32, u32)) -> &[u8] {
        let from = wire::index(offset);
        &self.section(Section::Code)[from..from + wire::index(len)]
    }
}
