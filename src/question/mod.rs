//! Questions to the fleet: `what is asked (text or JSON) -> pack of one rule -> inverted judging -> counts and members`; and what would be, were the rules others.
//!
//! Nothing here changes anything. The state is looked at under its lock for a few milliseconds at a time ([`Look`]); what takes longer is done in slices, beside the lock.

pub mod asof;
mod run;
mod scope;
mod spec;
pub mod trends;
pub mod whatif;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roaring::RoaringBitmap;
use serde::Serialize;
use serde_json::{Value, json};

use crate::fleet::EndpointId;
use crate::judge::Verdict;
use crate::judge::inverted::{Answer, Asked, TooManyJoins};
use crate::limits::Limits;
use crate::pack::{Pack, RuleId};
use crate::patch::State;
use crate::rule::Diagnostic;
use crate::shard::{Freshness, Shard};

pub use run::Asking;
pub use spec::{PackageQuestion, Query, Scope};

/// The state, for a look at a time.
pub trait Look: Sync {
    fn look<T>(&self, with: impl FnOnce(&Shard) -> T) -> T;
}

/// A fleet that nobody else changes.
impl Look for Shard {
    fn look<T>(&self, with: impl FnOnce(&Shard) -> T) -> T {
        with(self)
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Of the expression or the rules, each with its place.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems { problems: Vec<Diagnostic> },
    #[error("{0}")]
    Bad(String),
    #[error("no rule `{0}` in the packs")]
    UnknownRule(String),
    #[error("no patch `{0}` in the feeds")]
    UnknownPatch(String),
    #[error("it cannot be answered: {0}")]
    TooManyJoins(#[from] TooManyJoins),
    #[error("history reaches back to {reach}; nothing before can be told")]
    TooEarly { reach: jiff::Timestamp },
    #[error("{0}")]
    Unread(String),
    #[error("the packs changed while it was answered; ask again")]
    Swapped,
    #[error("the fleet is being counted, after a start or for a new group; ask again in a second")]
    Counting,
}

impl From<crate::state::StoreError> for QuestionError {
    fn from(error: crate::state::StoreError) -> QuestionError {
        QuestionError::Unread(error.to_string())
    }
}

/// Endpoints of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What was asked, as it was understood.
    pub question: Value,
    pub endpoints: InScope,
    /// Endpoints by verdict, or by state where a patch was asked for; exact, and of all of them.
    pub counts: std::collections::BTreeMap<&'static str, u64>,
    /// Those of the counts that are of endpoints which are stale or silent.
    pub stale: std::collections::BTreeMap<&'static str, u64>,
    /// Which of them the items are.
    pub members: Vec<&'static str>,
    /// How many those are.
    pub count: u64,
    pub items: Vec<Item>,
    pub next_cursor: Option<String>,
}

/// How many endpoints were asked, and how many were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InScope {
    pub asked: u64,
    /// Of those: stale or silent.
    pub stale: u64,
    /// In the scope, and sent no scan yet.
    pub without_scan: u64,
    /// In the scope but for `fresh`: not heard of within that time, and not asked.
    pub unheard: u64,
}

/// An endpoint of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    pub id: String,
    pub hostname: String,
    /// The verdict, or the state of a patch.
    pub verdict: &'static str,
    pub received_at: jiff::Timestamp,
    pub seen_at: jiff::Timestamp,
    pub freshness: Freshness,
}

/// Items of a page at most, and when nobody says.
pub const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;
/// Members that are put in order for a page; with more of them, the fleet is walked in its own order, in which they come soon.
const SORTED: u64 = 20_000;
/// Endpoints that are looked at for one page at most.
const WALKED: usize = 100_000;

/// Answers a query.
pub fn query<L: Look>(look: &L, query: &Query, now_ms: i64) -> Result<Found, QuestionError> {
    let limits = look.look(|shard| shard.limits().clone());
    // The packs may be swapped meanwhile. That is rare, and twice in a row rarer.
    for _ in 0..3 {
        match once(look, query, &limits, now_ms) {
            Err(QuestionError::Swapped) => {}
            answered => return answered,
        }
    }
    Err(QuestionError::Swapped)
}

fn once<L: Look>(look: &L, query: &Query, limits: &Limits, now_ms: i64) -> Result<Found, QuestionError> {
    let wanted = query.read(limits)?;
    let scope = scope::resolve(look, &query.scope(), now_ms)?;
    match wanted {
        spec::Wanted::Rule(id) => of_rule(look, query, &id, &scope, limits),
        spec::Wanted::Check(rule) => of_check(look, query, *rule, &scope, limits),
        spec::Wanted::Patch(id, states) => of_patch(look, query, &id, &states, &scope),
    }
}

fn of_check<L: Look>(
    look: &L,
    query: &Query,
    rule: crate::rule::Rule,
    scope: &scope::Resolved,
    limits: &Limits,
) -> Result<Found, QuestionError> {
    let pack = Arc::new(spec::pack_of(vec![rule]).map_err(|e| QuestionError::Bad(e.to_string()))?);
    let rule = pack.rules().next().ok_or_else(|| QuestionError::Bad("no rule came of it".to_owned()))?;
    let asking = Asking::new(look, Asked::new(pack, &[rule]), limits);
    answered(&asking, query, rule, scope, Verdict::Pass, None)
}

fn of_rule<L: Look>(look: &L, query: &Query, id: &str, scope: &scope::Resolved, limits: &Limits) -> Result<Found, QuestionError> {
    let (pack, rule, selected) = look.look(|shard| {
        let rule = shard.pack.find(id).ok_or_else(|| QuestionError::UnknownRule(id.to_owned()))?;
        Ok::<_, QuestionError>((shard.pack.clone(), rule, shard.policy.selected.get(rule.index()).is_none_or(|s| *s)))
    })?;
    let asking = Asking::new(look, Asked::kept(pack, &[rule]), limits);
    answered(&asking, query, rule, scope, Verdict::Fail, (!selected).then_some(Verdict::NotSelected))
}

/// Counts and a page of members.
fn answered<L: Look>(
    asking: &Asking<'_, L>,
    query: &Query,
    rule: RuleId,
    scope: &scope::Resolved,
    default: Verdict,
    always: Option<Verdict>,
) -> Result<Found, QuestionError> {
    let mut wanted = query.verdicts()?;
    if wanted.is_empty() {
        wanted.push(default);
    }
    let (limit, cursor) = query.page()?;
    let among = scope.endpoints.as_ref();
    asking.answer(rule, among, |shard, answer| {
        let index = shard.fleet.index();
        let uniform = always.map(|verdict| Answer::uniform(verdict, index, among));
        let answer = uniform.as_ref().unwrap_or(answer);
        let members = answer.members(index, |v| wanted.contains(&v), among);
        let verdict = |at: EndpointId| answer.verdict_of(index, at.0).map_or("error", Verdict::name);
        let (items, next_cursor) = page(shard, &members, &cursor, limit, verdict);
        Found {
            question: query.shown(),
            endpoints: scope.counts(answer.counts.iter().sum()),
            counts: Verdict::ALL.into_iter().map(|v| (v.name(), answer.counts[v as usize])).collect(),
            stale: stale_of(shard, answer, among),
            members: wanted.iter().map(|v| v.name()).collect(),
            count: members.len(),
            items,
            next_cursor,
        }
    })
}

/// How many of each verdict are stale.
fn stale_of(shard: &Shard, answer: &Answer, among: Option<&RoaringBitmap>) -> std::collections::BTreeMap<&'static str, u64> {
    if shard.stale().is_empty() {
        return std::collections::BTreeMap::new();
    }
    let given = Verdict::ALL.into_iter().filter(|v| answer.counts[*v as usize] > 0);
    let of = |v: Verdict| answer.members(shard.fleet.index(), |other| other == v, among).intersection_len(shard.stale());
    given.map(|v| (v.name(), of(v))).filter(|(_, n)| *n > 0).collect()
}

/// How a patch stands. Endpoints at which nothing says anything of it are not counted, as with `GET /v1/patches`.
fn of_patch<L: Look>(look: &L, query: &Query, id: &str, states: &[State], scope: &scope::Resolved) -> Result<Found, QuestionError> {
    let (limit, cursor) = query.page()?;
    look.look(|shard| {
        let patches = shard.catalog.find(id);
        if patches.is_empty() {
            return Err(QuestionError::UnknownPatch(id.to_owned()));
        }
        let among = scope.endpoints.as_ref();
        let mut counts: std::collections::BTreeMap<&'static str, u64> = std::collections::BTreeMap::new();
        let mut of: std::collections::BTreeMap<u32, State> = std::collections::BTreeMap::new();
        for patch in patches {
            let noted = shard.patch_endpoints(patch, "").filter(|(at, _)| among.is_none_or(|a| a.contains(at.0)));
            // The feeds that have it may differ; what one of them says is needed is needed.
            noted.for_each(|(at, state)| {
                of.entry(at.0).and_modify(|known| *known = worse(*known, state)).or_insert(state);
            });
        }
        of.values().for_each(|state| *counts.entry(state.name()).or_default() += 1);
        let mut stale: std::collections::BTreeMap<&'static str, u64> = std::collections::BTreeMap::new();
        let old = of.iter().filter(|(at, _)| shard.stale().contains(**at));
        old.for_each(|(_, state)| *stale.entry(state.name()).or_default() += 1);
        let members: RoaringBitmap = of.iter().filter(|(_, state)| states.contains(state)).map(|(at, _)| *at).collect();
        let state = |at: EndpointId| of.get(&at.0).map_or("not_applicable", |s| s.name());
        let (items, next_cursor) = page(shard, &members, &cursor, limit, state);
        let held = shard.fleet.index().held();
        let asked = among.map_or(held.len(), |a| a.intersection_len(&held));
        Ok(Found {
            question: query.shown(),
            endpoints: scope.counts(asked),
            counts,
            stale,
            members: states.iter().map(|s| s.name()).collect(),
            count: members.len(),
            items,
            next_cursor,
        })
    })
}

fn worse(a: State, b: State) -> State {
    let rank = |s: State| match s {
        State::Missing => 0,
        State::Superseded => 1,
        State::PendingReboot => 2,
        State::NoFix => 3,
        State::WillNotFix => 4,
        State::UnderInvestigation => 5,
        State::Exempt => 6,
        State::NotChecked => 7,
        State::Installed => 8,
        State::NotApplicable => 9,
    };
    if rank(a) <= rank(b) { a } else { b }
}

/// Members after an id, in the order of ids.
fn page(
    shard: &Shard,
    members: &RoaringBitmap,
    after: &str,
    limit: usize,
    verdict: impl Fn(EndpointId) -> &'static str,
) -> (Vec<Item>, Option<String>) {
    let cursor = |id: &str| URL_SAFE_NO_PAD.encode(id);
    let item = |at: EndpointId| {
        let endpoint = shard.fleet.get(at)?;
        let held = endpoint.held.as_ref()?;
        let time = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        Some(Item {
            id: endpoint.id.to_string(),
            hostname: endpoint.hostname.to_string(),
            verdict: verdict(at),
            received_at: time(held.received_ms),
            seen_at: time(shard.seen_ms(at)),
            freshness: shard.freshness(at),
        })
    };
    if members.len() > SORTED {
        let (mut items, mut last) = (Vec::new(), None);
        for (looked_at, (at, endpoint)) in shard.fleet.after(after).enumerate() {
            if items.len() == limit || looked_at == WALKED {
                return (items, last.map(cursor));
            }
            last = Some(&*endpoint.id);
            if members.contains(at.0) {
                items.extend(item(at));
            }
        }
        return (items, None);
    }
    let known = members.iter().filter_map(|at| Some((&*shard.fleet.get(EndpointId(at))?.id, EndpointId(at))));
    let mut sorted: Vec<(&str, EndpointId)> = known.filter(|(id, _)| *id > after).collect();
    if sorted.len() > limit {
        sorted.select_nth_unstable(limit);
        sorted.truncate(limit + 1);
    }
    sorted.sort_unstable();
    let more = sorted.len() > limit;
    sorted.truncate(limit);
    let next = sorted.last().filter(|_| more).map(|(id, _)| cursor(id));
    (sorted.into_iter().filter_map(|(_, at)| item(at)).collect(), next)
}

/// Problems as `muster rules check --output json` gives them.
pub fn problems_json(problems: &[Diagnostic]) -> Value {
    let one = |d: &Diagnostic| json!({"code": d.code.name(), "file": d.file, "line": d.line, "column": d.column, "message": d.message});
    problems.iter().map(one).collect()
}

/// The rules of a pack that endpoints are judged by, and not its requirements.
fn rules_of(pack: &Pack) -> impl Iterator<Item = RuleId> + '_ {
    pack.rules().filter(|rule| !pack.rule(*rule).requirement)
}
