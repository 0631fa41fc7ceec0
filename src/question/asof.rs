//! What was at a past instant: `instant, group, rule or endpoint -> counts, members or one endpoint's state`, under the policy of then.
//!
//! The present is copied under the lock, the records since the instant are read beside it. A record of the copied present may still be on its way to the disk; it is
//! waited for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use roaring::RoaringBitmap;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Look, PAGE, PAGE_MAX, QuestionError, scope};
use crate::feed::model::Level;
use crate::fleet::EndpointId;
use crate::history::Stood;
use crate::history::asof::{Census, Counts, Gone, OfEndpoint, OfRule, PatchCounts, Present, VerdictCounts, was_not_collected};
use crate::history::book::{Head, Kind};
use crate::history::record::{At, Lane, Last, PolicyThen, Turned, Who, key, last_key, read_key};
use crate::judge::Verdict;
use crate::policy::Group;
use crate::rule::Severity;
use crate::rule::check::suggest::hint;
use crate::shard::{PatchTotals, Shard};
use crate::state::{Reader, Space, StoreError, decode, segment};

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub at_ms: i64,
    /// As it was defined then.
    pub group: Option<String>,
    /// Who had these verdicts of it.
    pub rule: Option<String>,
    /// Those that fail, unless given.
    pub verdicts: Vec<Verdict>,
    /// What this one had.
    pub endpoint: Option<String>,
    pub limit: Option<usize>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// What was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    pub at: Timestamp,
    /// What the fleet was held against then.
    pub policy: Value,
    /// Why it is not told how patches stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patches_unknown: Option<String>,
    #[serde(flatten)]
    pub answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Fleet { endpoints: Endpoints, rules: Vec<Rule>, patches: Option<Patches> },
    Rule { endpoints: Endpoints, rule: Rule, members: Vec<&'static str>, count: u64, items: Vec<Item>, next_cursor: Option<String> },
    Endpoint { endpoint: Box<Endpoint> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Enrolled, and of the group.
    pub members: u64,
    /// Of those, that had sent a scan.
    pub scanned: u64,
    /// Of those, that failed no rule of high or critical severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compliant: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub rule: Arc<str>,
    pub severity: Option<Severity>,
    pub counts: BTreeMap<&'static str, i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Patches {
    pub missing: i64,
    pub missing_by_severity: BTreeMap<&'static str, i64>,
    pub missing_exploited: i64,
    pub states: BTreeMap<&'static str, i64>,
    pub endpoints_not_collected: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    pub id: String,
    pub hostname: String,
    pub verdict: &'static str,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    pub groups: Vec<String>,
    /// It had sent a scan.
    pub scanned: bool,
    pub verdicts: Vec<EndpointVerdict>,
    pub patches: Option<Vec<EndpointPatch>>,
    /// What decides most patches was not collected: that nothing is missing says nothing then.
    pub patches_not_collected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointVerdict {
    pub rule: Arc<str>,
    pub severity: Option<Severity>,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EndpointPatch {
    pub feed: String,
    pub patch: String,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exploited: Option<bool>,
}

/// Answers a question about a past instant.
pub fn asof<L: Look>(look: &L, reader: &dyn Reader, question: &Question, now_ms: i64) -> Result<Told, QuestionError> {
    if question.endpoint.is_some() && (question.group.is_some() || question.rule.is_some()) {
        return Err(QuestionError::Bad("an endpoint is asked for by itself, without a group or a rule".to_owned()));
    }
    if question.at_ms > now_ms {
        return Err(QuestionError::Bad(format!("{} has not been yet", time(question.at_ms))));
    }
    // Groups and labels may change meanwhile, which is rare.
    for _ in 0..5 {
        if let Some(then) = Then::read(look, reader, question)? {
            return then.answer(look, question);
        }
    }
    Err(QuestionError::Swapped)
}

/// Everything that is known of the instant.
struct Then<'r> {
    reader: &'r dyn Reader,
    at_ms: i64,
    census: Census,
    present: Present,
    policy: PolicyThen,
    group: Option<Group>,
    members: RoaringBitmap,
    scanned: RoaringBitmap,
    /// What the endpoint that is asked for has now.
    now: Option<Now>,
    patches_unknown: Option<String>,
}

impl<'r> Then<'r> {
    /// `None`: who is asked changed while it was found out.
    fn read<L: Look>(look: &L, reader: &'r dyn Reader, question: &Question) -> Result<Option<Then<'r>>, QuestionError> {
        let at_ms = question.at_ms;
        let head: Head = look.look(|shard| shard.history().head.clone());
        let mut census = Census::default();
        let first = At { ms: at_ms.saturating_add(1), n: 0 };
        settled(reader, head.last)?;
        records(reader, Lane::Who, first, head.last, &mut |at, who: Vec<Who>| {
            who.into_iter().for_each(|w| census.take(at, w));
            Ok(())
        })?;
        let policy = census.policy.clone().unwrap_or_else(|| head.policy.clone());
        let group = question.group.as_deref().map(|name| group_of(&policy, name)).transpose()?;
        // An id never changes, so patterns of ids may be walked at any time.
        let ids = group.as_ref().filter(|g| !g.endpoints.is_empty()).map(|g| Group { labels: BTreeMap::new(), ..g.clone() });
        let named = ids.map(|ids| scope::of_group(look, &ids));
        let labels = group.as_ref().map(|g| g.labels.clone()).unwrap_or_default();
        let relabelled: Vec<u32> = census.labels.keys().copied().collect();
        let (present, now) = look.look(|shard| {
            let present = shard.present(&labels, named.as_ref(), relabelled.iter().copied());
            let now = question.endpoint.as_ref().and_then(|id| now_of(shard, id, &present));
            (present, now)
        });
        settled(reader, present.head.last)?;
        let (mut changed, known) = (false, head.last);
        let rest = first.max(At { ms: known.ms, n: known.n.saturating_add(1) });
        records(reader, Lane::Who, rest, present.head.last, &mut |at, who: Vec<Who>| {
            for who in who {
                changed |= matches!(who, Who::Labelled { .. } | Who::Policy { .. });
                census.take(at, who);
            }
            Ok(())
        })?;
        if changed {
            return Ok(None);
        }
        let (verdicts_ms, patches_ms) = present.head.reach_ms();
        if at_ms < verdicts_ms {
            return Err(QuestionError::TooEarly { reach: time(verdicts_ms) });
        }
        let patches_unknown = (at_ms < patches_ms).then(|| {
            format!("how patches stood is known from {} on: the catalog before was gone when the daemon came back", time(patches_ms))
        });
        let members = census.members(&present, |id, labels| group.as_ref().is_none_or(|g| g.means(id, labels)));
        let scanned = census.scanned(&present, &members);
        Ok(Some(Then { reader, at_ms, census, present, policy, group, members, scanned, now, patches_unknown }))
    }

    fn answer<L: Look>(&self, look: &L, question: &Question) -> Result<Told, QuestionError> {
        let answer = match (&question.rule, &question.endpoint) {
            (Some(rule), _) => self.of_rule(look, question, rule)?,
            (None, Some(id)) => self.of_endpoint(look, id)?,
            (None, None) => self.of_fleet()?,
        };
        Ok(Told { at: time(self.at_ms), policy: self.shown_policy(), patches_unknown: self.patches_unknown.clone(), answer })
    }

    fn shown_policy(&self) -> Value {
        let packs: Vec<Value> = self.policy.packs.iter().map(|(id, version)| json!({"id": id, "version": version})).collect();
        let groups: Vec<&str> = self.policy.groups.iter().map(|g| g.name.as_str()).collect();
        let group = self.group.as_ref().map(|g| json!({"name": g.name, "endpoints": g.endpoints, "labels": g.labels}));
        json!({"since": time(self.policy.since_ms), "pack": self.policy.pack, "packs": packs, "catalog": self.policy.catalog, "group": group,
            "groups": groups, "excluded": self.policy.excluded, "baselines": self.policy.baselines})
    }

    /// What turned since, in order.
    fn turns(&self, take: &mut dyn FnMut(At, &Turned) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let first = At { ms: self.at_ms.saturating_add(1), n: 0 };
        records(self.reader, Lane::Turns, first, self.present.head.last, &mut |at, turned: Vec<Turned>| {
            turned.iter().try_for_each(|t| take(at, t))
        })
    }

    fn lasts(&self) -> Result<BTreeMap<u32, Last>, StoreError> {
        let of = |(number, gone): (&u32, &Gone)| match &gone.last {
            Some(hash) if self.scanned.contains(*number) => Some(last(self.reader, gone.until, hash).map(|l| (*number, l))),
            _ => None,
        };
        self.census.gone.iter().filter_map(of).collect()
    }

    fn endpoints(&self, compliant: Option<usize>) -> Endpoints {
        let compliant = compliant.and_then(|n| u64::try_from(n).ok());
        Endpoints { members: self.members.len(), scanned: self.scanned.len(), compliant }
    }

    fn rule_name(&self, rule: u32) -> Arc<str> {
        self.present.rule_names.get(rule as usize).cloned().unwrap_or_else(|| "".into())
    }

    fn of_fleet(&self) -> Result<Answer, QuestionError> {
        let lasts = self.lasts()?;
        let mut counts = Counts::new(&self.present, &self.census, &self.scanned, |n| lasts.get(&n).cloned());
        self.turns(&mut |at, turned| counts.take(at, turned))?;
        let severities = self.census.severities(&self.present);
        let rule = |(rule, counts): (&u32, &VerdictCounts)| {
            let counts = shown(counts);
            (!counts.is_empty()).then(|| Rule { rule: self.rule_name(*rule), severity: severities.get(rule).copied(), counts })
        };
        let mut rules: Vec<Rule> = counts.rules.iter().filter_map(rule).collect();
        rules.sort_by(|a, b| a.rule.cmp(&b.rule));
        let patches = self.patches_unknown.is_none().then(|| Patches::of(&counts.patches));
        Ok(Answer::Fleet { endpoints: self.endpoints(Some(counts.compliant(&self.scanned))), rules, patches })
    }

    fn of_rule<L: Look>(&self, look: &L, question: &Question, id: &str) -> Result<Answer, QuestionError> {
        let number = self.present.rule_names.iter().position(|name| **name == *id).and_then(|n| u32::try_from(n).ok());
        let number = number.ok_or_else(|| QuestionError::UnknownRule(id.to_owned()))?;
        let lasts = self.lasts()?;
        let mut of = OfRule::new(number, &self.census, &self.scanned);
        self.turns(&mut |at, turned| of.take(at, turned))?;
        let of = of.done(&self.present, &self.census, &self.scanned, |n| lasts.get(&n).cloned());
        let verdicts = if question.verdicts.is_empty() { vec![Verdict::Fail] } else { question.verdicts.clone() };
        let counts = of.iter().map(|(v, e)| (v.name(), i64::try_from(e.len()).unwrap_or(i64::MAX))).collect();
        let severity = self.census.severities(&self.present).get(&number).copied();
        let wanted: Vec<(Verdict, &RoaringBitmap)> = of.iter().filter(|(v, _)| verdicts.contains(v)).map(|(v, e)| (*v, e)).collect();
        let count = wanted.iter().map(|(_, e)| e.len()).sum();
        let (items, next_cursor) = self.page(look, question, &wanted)?;
        let members = verdicts.into_iter().map(Verdict::name).collect();
        let rule = Rule { rule: id.into(), severity, counts };
        Ok(Answer::Rule { endpoints: self.endpoints(None), rule, members, count, items, next_cursor })
    }

    /// Members after an id, in the order of ids.
    fn page<L: Look>(
        &self,
        look: &L,
        question: &Question,
        of: &[(Verdict, &RoaringBitmap)],
    ) -> Result<(Vec<Item>, Option<String>), QuestionError> {
        let limit = question.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(QuestionError::Bad(format!("`limit` is a number from 1 to {PAGE_MAX}, not {limit}")));
        }
        let cursor = question.cursor.as_deref().unwrap_or_default();
        let after = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|b| String::from_utf8(b).ok());
        let after = after.ok_or_else(|| QuestionError::Bad("`cursor` is not one that this server gave".to_owned()))?;
        let mut found: Vec<Item> = look.look(|shard| {
            let item = |(number, verdict): (u32, Verdict)| {
                let (id, hostname) = match self.census.gone.get(&number) {
                    Some(gone) => (gone.id.as_str(), gone.hostname.as_str()),
                    // One that came since this was found out is another.
                    None => shard.fleet.get(EndpointId(number)).filter(|e| e.enrolled_ms <= self.at_ms).map(|e| (&*e.id, &*e.hostname))?,
                };
                (id > after.as_str()).then(|| Item { id: id.to_owned(), hostname: hostname.to_owned(), verdict: verdict.name() })
            };
            of.iter().flat_map(|(verdict, e)| e.iter().map(|n| (n, *verdict))).filter_map(item).collect()
        });
        if found.len() > limit {
            found.select_nth_unstable_by(limit, |a, b| a.id.cmp(&b.id));
            found.truncate(limit + 1);
        }
        found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|item| URL_SAFE_NO_PAD.encode(&item.id));
        Ok((found, next))
    }

    fn of_endpoint<L: Look>(&self, look: &L, id: &str) -> Result<Answer, QuestionError> {
        let unknown = || QuestionError::Bad(format!("no endpoint `{id}` was enrolled at {}", time(self.at_ms)));
        let gone = self.census.gone.iter().find(|(_, gone)| gone.id == id).map(|(n, gone)| (*n, gone));
        let (number, labels, last, names) = match gone {
            Some((number, gone)) => {
                let last = gone.last.map(|hash| last(self.reader, gone.until, &hash)).transpose()?.unwrap_or_default();
                (number, gone.labels.clone(), last, look.look(|s| s.history().names(Kind::Patch).all().to_vec()))
            }
            None => {
                let (number, labels, last, names) = self.now.clone().ok_or_else(unknown)?;
                if !self.census.is_present(number) {
                    return Err(unknown());
                }
                (number, self.census.labels.get(&number).cloned().unwrap_or(labels), last, names)
            }
        };
        let mut of = OfEndpoint::new(number, &self.census);
        self.turns(&mut |at, turned| of.take(at, turned))?;
        let scanned = self.scanned.contains(number);
        let (verdicts, patches) = if scanned { of.done(&last) } else { Default::default() };
        let severities = self.census.severities(&self.present);
        let verdict = |(rule, verdict): (u32, Verdict)| EndpointVerdict {
            rule: self.rule_name(rule),
            severity: severities.get(&rule).copied(),
            verdict,
        };
        let mut verdicts: Vec<EndpointVerdict> = verdicts.into_iter().map(verdict).collect();
        verdicts.sort_by(|a, b| a.rule.cmp(&b.rule));
        let groups = self.policy.groups.iter().filter(|g| g.means(id, &labels)).map(|g| g.name.clone()).collect();
        let known = self.patches_unknown.is_none();
        let endpoint = Endpoint {
            id: id.to_owned(),
            labels,
            groups,
            scanned,
            verdicts,
            patches_not_collected: known && was_not_collected(&patches),
            patches: known.then(|| shown_patches(&patches, &names)),
        };
        Ok(Answer::Endpoint { endpoint: Box::new(endpoint) })
    }
}

type Now = (u32, BTreeMap<String, String>, Last, Vec<Arc<str>>);

/// What an endpoint has now.
fn now_of(shard: &Shard, id: &str, present: &Present) -> Option<Now> {
    let at = shard.fleet.find(id)?;
    let labels = shard.fleet.get(at)?.labels.clone();
    let (last, names) = shard.present_of(at, present);
    Some((at.0, (*labels).clone(), last, names))
}

fn shown_patches(patches: &BTreeMap<u32, Stood>, names: &[Arc<str>]) -> Vec<EndpointPatch> {
    let one = |(number, stood): (&u32, &Stood)| {
        let (feed, patch) = names.get(*number as usize)?.split_once('\0')?;
        let (severity, exploited) = stood.weight().unzip();
        Some(EndpointPatch { feed: feed.to_owned(), patch: patch.to_owned(), state: stood.state()?.name(), severity, exploited })
    };
    let mut out: Vec<EndpointPatch> = patches.iter().filter_map(one).collect();
    out.sort_unstable();
    out
}

fn shown(counts: &VerdictCounts) -> BTreeMap<&'static str, i64> {
    Verdict::ALL.into_iter().map(|v| (v.name(), counts[v as usize])).filter(|(_, n)| *n != 0).collect()
}

impl Patches {
    fn of(counts: &PatchCounts) -> Patches {
        let missing_by_severity: BTreeMap<_, _> = Level::ALL.into_iter().map(|l| (l.name(), counts.missing[l as usize])).collect();
        Patches {
            missing: missing_by_severity.values().sum(),
            missing_by_severity,
            missing_exploited: counts.missing_exploited,
            states: PatchTotals::STATES.into_iter().map(|s| (s.name(), counts.states[s as usize])).collect(),
            endpoints_not_collected: counts.endpoints_not_collected,
        }
    }
}

fn group_of(policy: &PolicyThen, name: &str) -> Result<Group, QuestionError> {
    let found = policy.groups.iter().find(|g| g.name == name).cloned();
    let names = || policy.groups.iter().map(|g| g.name.as_str());
    found.ok_or_else(|| QuestionError::Bad(format!("no group `{name}` was configured then{}", hint(name, names()))))
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

/// Visits the records of a lane from one place to another, both included.
fn records<T: serde::de::DeserializeOwned>(
    reader: &dyn Reader,
    lane: Lane,
    from: At,
    to: At,
    visit: &mut dyn FnMut(At, T) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if from > to {
        return Ok(());
    }
    for week in segment(from.ms)..=segment(to.ms) {
        let space = Space::History(week);
        reader.range(space, &key(lane, from), &mut |k, v| {
            let Some(at) = read_key(lane, k).filter(|at| *at <= to) else { return Ok(false) };
            visit(at, decode(space, k, v)?)?;
            Ok(true)
        })?;
    }
    Ok(())
}

/// What a removed endpoint had at last.
fn last(reader: &dyn Reader, until: At, hash: &[u8; 16]) -> Result<Last, StoreError> {
    let (space, wanted) = (Space::History(segment(until.ms)), last_key(hash));
    let mut found = None;
    reader.range(space, &wanted, &mut |k, v| {
        if k == wanted {
            found = Some(decode(space, k, v)?);
        }
        Ok(false)
    })?;
    let gone = || StoreError::Damaged { space: space.name(), key: "what an endpoint had".to_owned(), why: "it is not there".to_owned() };
    found.ok_or_else(gone)
}

/// Waits until the records up to one are on the disk.
fn settled(reader: &dyn Reader, last: At) -> Result<(), QuestionError> {
    const WAIT: Duration = Duration::from_millis(2);
    const TRIES: usize = 5_000;
    if last == At::default() {
        return Ok(());
    }
    for _ in 0..TRIES {
        let mut there = false;
        for lane in [Lane::Who, Lane::Turns] {
            let wanted = key(lane, last);
            reader.range(Space::History(segment(last.ms)), &wanted, &mut |k, _| {
                there |= k == wanted;
                Ok(false)
            })?;
        }
        if there {
            return Ok(());
        }
        std::thread::sleep(WAIT);
    }
    Err(QuestionError::Swapped)
}
