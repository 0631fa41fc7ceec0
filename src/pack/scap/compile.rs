//! A baseline to a pack's rules and terms: `items -> RuleMeta`, `tests -> terms with the plans that find their rows`.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::{ScapPack, ScapRule, Stored, code};
use crate::judge::Verdict;
use crate::limits::Limits;
use crate::oval::eval::{Place, Prepared};
use crate::oval::model::{Body, Content, Criteria, DefinitionId, Node, ObjectId, StateId, TestId};
use crate::oval::native::asks::is_whole_disk;
use crate::oval::native::{Native, ON_REQUEST, Plan, Select};
use crate::pack::compile::Compiler;
use crate::pack::compile::lower::PlanFor;
use crate::pack::wire::index;
use crate::pack::{PackInfo, RuleMeta, TermKind};
use crate::rule::ir::Ir;
use crate::rule::stream::short;
use crate::rule::{Collect, Severity};
use crate::scan::table::TableId;
use crate::xccdf::judge::Judge;
use crate::xccdf::model::{Check, ComplexOperator, Item, RuleBody, RuleSeverity};

/// The rules of a baseline as a pack tells them. Ids carry the profile, as one rule may stand in several with other values.
pub(in crate::pack) fn metas(info: &PackInfo, stored: &Stored, number: usize) -> Vec<RuleMeta> {
    let baseline = &stored.baseline;
    let read = Profile::new(stored, &Limits::default());
    let profile = short(&baseline.profile_id, "_profile_");
    let rules = baseline.items.iter().enumerate().filter(|(_, item)| item.selected);
    let one = |(at, item): (usize, &Item)| {
        let body = item.rule.as_ref()?;
        let (number, at) = (u32::try_from(number).ok()?, u32::try_from(at).ok()?);
        let suffix = if profile.is_empty() { String::new() } else { format!("@{profile}") };
        Some(RuleMeta {
            id: format!("{}{suffix}", item.id),
            pack: info.id.clone(),
            title: item.title.clone(),
            severity: severity(body.severity),
            platforms: Vec::new(),
            controls: controls(body),
            rationale: if body.rationale.is_empty() { item.description.clone() } else { body.rationale.clone() },
            remediation: remediation(body),
            fix: None,
            when: None,
            check: body.check.as_ref().map(check_text).unwrap_or_default(),
            missing: Verdict::NotChecked,
            asks: read.asks(at).into_iter().map(|(table, items)| (table.name().to_owned(), items)).collect(),
            applies_ir: Ir::Bool(true),
            check_ir: Ir::Bool(true),
            scap: Some(ScapRule {
                baseline: number,
                item: at,
                benchmark: baseline.benchmark_id.clone(),
                profile: baseline.profile_id.clone(),
                rule: item.id.clone(),
                idents: body.idents.clone(),
            }),
        })
    };
    rules.filter_map(one).collect()
}

/// XCCDF knows no critical, and an unknown one is nobody's word that it matters little.
fn severity(of: RuleSeverity) -> Severity {
    match of {
        RuleSeverity::Info => Severity::Info,
        RuleSeverity::Low => Severity::Low,
        RuleSeverity::Medium | RuleSeverity::Unknown => Severity::Medium,
        RuleSeverity::High => Severity::High,
    }
}

/// References and idents under the names that our own rules use, where the publisher is known; else under the publisher's address.
fn controls(body: &RuleBody) -> BTreeMap<String, Vec<String>> {
    const KNOWN: [(&str, &str); 12] = [
        ("cisecurity.org/controls", "cis-controls"),
        ("cisecurity.org", "cis"),
        ("800-53", "nist-800-53"),
        ("800-171", "nist-800-171"),
        ("nistspecialpublication800-53", "nist-800-53"),
        ("cce.mitre.org", "cce"),
        ("ncp.nist.gov/cce", "cce"),
        ("stigs/srg", "stig-srg"),
        ("stigs", "stig"),
        ("cyber.mil/cci", "cci"),
        ("pcisecuritystandards", "pci-dss"),
        ("ssi.gouv.fr", "anssi"),
    ];
    let name = |system: &str| {
        let lower = system.to_ascii_lowercase();
        KNOWN.iter().find(|(part, _)| lower.contains(part)).map_or_else(|| system.to_owned(), |(_, name)| (*name).to_owned())
    };
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (system, value) in body.references.iter().chain(&body.idents) {
        if !value.is_empty() {
            out.entry(name(system)).or_default().push(value.clone());
        }
    }
    out.values_mut().for_each(|values| {
        values.sort();
        values.dedup();
    });
    out
}

/// What a person reads first: the text for people, else the script.
fn remediation(body: &RuleBody) -> String {
    if !body.fixtext.is_empty() {
        return body.fixtext.clone();
    }
    let shell = body.fixes.iter().find(|f| f.system.ends_with(":sh"));
    shell.or(body.fixes.first()).map(|f| f.text.trim().to_owned()).unwrap_or_default()
}

fn check_text(check: &Check) -> String {
    match check {
        Check::Complex { operator, negate, of } => {
            let word = if *operator == ComplexOperator::And { " && " } else { " || " };
            let parts = of.iter().map(check_text).collect::<Vec<_>>().join(word);
            if *negate { format!("!({parts})") } else { format!("({parts})") }
        }
        Check::Definition { definition, negate, .. } => format!("{}{definition}", if *negate { "!" } else { "" }),
        Check::Document { reference, negate, .. } => format!("{}{}", if *negate { "!" } else { "" }, reference.href),
        Check::Unsupported { system, why, .. } => format!("{system}: {why}"),
        Check::Unbound { why, .. } => why.clone(),
    }
}

/// All tests that definitions come to, extended ones included.
pub(super) fn tests_of(content: &Content, definitions: impl IntoIterator<Item = DefinitionId>) -> BTreeSet<TestId> {
    fn walk(criteria: &Criteria, tests: &mut BTreeSet<TestId>, next: &mut Vec<DefinitionId>) {
        for node in &criteria.children {
            match node {
                Node::Criteria(inner) => walk(inner, tests, next),
                Node::Test { test, .. } => {
                    tests.insert(*test);
                }
                Node::Extend { definition, .. } => next.push(*definition),
            }
        }
    }
    let mut next: Vec<DefinitionId> = definitions.into_iter().collect();
    let (mut seen, mut tests) = (BTreeSet::new(), BTreeSet::new());
    while let Some(definition) = next.pop() {
        let criteria = content.definitions.get(definition.index()).and_then(|d| d.criteria.as_ref());
        if let (true, Some(criteria)) = (seen.insert(definition), criteria) {
            walk(criteria, &mut tests, &mut next);
        }
    }
    tests
}

impl ScapPack {
    /// What selected rules ask that can never be answered in full, and why: patterns that do not compile, objects that no table of ours shows.
    pub(crate) fn unseen(&self, limits: &Limits) -> Vec<String> {
        let stored = Stored { compat: self.compat, baseline: self.baseline.clone() };
        let profile = Profile::new(&stored, limits);
        let mut why: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for (instance, tests) in profile.tests_by_instance() {
            let Some((prepared, native)) = profile.part(instance) else { continue };
            let content = prepared.content();
            let objects: BTreeSet<ObjectId> = tests.iter().flat_map(|t| prepared.object_dependencies(*t)).copied().collect();
            for object in &objects {
                if let (Plan::Unsupported { why: reason }, Some(about)) = (native.plan(*object), content.objects.get(object.index())) {
                    why.entry((format!("{} objects", about.kind.name), reason.to_string())).or_default().insert(about.id.to_string());
                }
            }
            let states: BTreeSet<StateId> =
                tests.iter().filter_map(|t| content.tests.get(t.index())).flat_map(|t| &t.states).copied().collect();
            let broken = prepared.problems().iter().filter(|p| match p.place {
                Place::Object(object) => objects.contains(&object),
                Place::Test(test) => tests.contains(&test),
                Place::State(state) => states.contains(&state),
                // Whatever reads it says so itself.
                Place::Definition(_) | Place::Variable(_) => false,
            });
            let broken = broken.map(|p| (p.why.to_string(), p.place.id(content)));
            let unusable = tests.iter().filter_map(|t| content.problem(&content.tests.get(t.index())?.id));
            for (reason, id) in broken.chain(unusable.map(|p| (p.message.clone(), p.id.to_string()))) {
                why.entry(("content".to_owned(), reason)).or_default().insert(id);
            }
        }
        let line = |((what, why), ids): ((String, String), BTreeSet<String>)| {
            let first = ids.iter().next().cloned().unwrap_or_default();
            let more = if ids.len() > 1 { format!(" and {} more", ids.len() - 1) } else { String::new() };
            format!("{what}: {why} ({first}{more})")
        };
        why.into_iter().map(line).collect()
    }
}

/// The terms of all baselines.
pub(in crate::pack) fn compile(c: &mut Compiler, stored: &[Stored]) {
    for (number, one) in stored.iter().enumerate() {
        c.baseline(&serde_json::to_string(one).unwrap_or_default());
        let profile = Profile::new(one, &Limits::default());
        for (instance, tests) in profile.tests_by_instance() {
            let Some((prepared, native)) = profile.part(instance) else { continue };
            let id_of = |object: ObjectId| prepared.content().objects.get(object.index()).map(|o| o.id.to_string()).unwrap_or_default();
            let mut concerned: BTreeSet<ObjectId> = BTreeSet::new();
            for test in tests {
                let Some((object, wanted)) = profile.row_level(instance, test) else {
                    concerned.extend(prepared.object_dependencies(test));
                    continue;
                };
                let place = code(number, instance, test.0);
                c.add_term(TermKind::Collected, uploaded_table(), &[id_of(object)], place, &PlanFor::Key);
                if let Some((table, plan)) = wanted {
                    c.add_term(TermKind::Test, table, &[], place, &plan);
                    for item in native.asked(object).map(|(_, items)| items).unwrap_or_default() {
                        c.scope_term(table, item);
                    }
                }
            }
            for object in concerned {
                let (table, items) = native.asked(object).unwrap_or((uploaded_table(), &[]));
                for item in items {
                    c.scope_term(table, item);
                }
                let place = code(number, instance, object.0);
                c.add_term(TermKind::Concerns, uploaded_table(), &[id_of(object)], place, &PlanFor::Key);
                for (table, plan) in profile.rows_of(instance, object) {
                    c.add_term(TermKind::Concerns, table, &[], place, &plan);
                }
            }
        }
    }
}

pub(super) fn uploaded_table() -> TableId {
    TableId::by_name("oval_object").unwrap_or(TableId(0))
}

/// A stored baseline, made ready: what the compiler cuts into terms, and what judging asks.
pub(super) struct Profile {
    pub(super) judge: Judge,
    /// By instance, as the judge's contents are.
    natives: Vec<Native>,
}

/// The object of a test that rows answer one by one, and how rows of our own tables are found for it, if they can be.
type RowLevel = (ObjectId, Option<(TableId, PlanFor)>);

impl Profile {
    pub(super) fn new(stored: &Stored, limits: &Limits) -> Profile {
        let judge = Judge::new(stored.baseline.clone(), stored.compat, limits);
        let natives = judge.prepared().par_iter().map(|prepared| Native::new(prepared, limits)).collect();
        Profile { judge, natives }
    }

    pub(super) fn part(&self, instance: u32) -> Option<(&Prepared, &Native)> {
        let at = index(instance);
        Some((self.judge.prepared().get(at)?, self.natives.get(at)?))
    }

    pub(super) fn prepared(&self, instance: u32) -> Option<&Prepared> {
        self.part(instance).map(|(prepared, _)| prepared)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = (&Prepared, &Native)> {
        self.judge.prepared().iter().zip(&self.natives)
    }

    /// What one rule needs to have collected: for its checks and its platforms.
    fn asks(&self, item: u32) -> Collect {
        let mut out = Collect::new();
        for (instance, definitions) in self.reached(std::iter::once(item)) {
            let Some((prepared, native)) = self.part(instance) else { continue };
            // These are collected only where somebody asks for the table.
            for table in native.tables(prepared, definitions.iter().copied()).into_iter().filter(|t| ON_REQUEST.contains(&t.name())) {
                out.entry(table).or_default();
            }
            for (table, items) in native.asks(prepared, definitions) {
                // Who has only the asks cannot tell which of all files some object is about, and would upload every one of them. Without a row
                // in `scope` such an object was not looked at, which is what its rules say. `collect::scap` has the content and walks.
                let items: Vec<String> = items.into_iter().filter(|item| !is_whole_disk(item)).collect();
                if !items.is_empty() {
                    out.entry(table).or_default().extend(items);
                }
            }
        }
        out.values_mut().for_each(|items| {
            items.sort();
            items.dedup();
        });
        out
    }

    /// The definitions that items refer to, by instance.
    pub(super) fn reached(&self, items: impl Iterator<Item = u32>) -> BTreeMap<u32, BTreeSet<DefinitionId>> {
        let mut out: BTreeMap<u32, BTreeSet<DefinitionId>> = BTreeMap::new();
        for (instance, definition) in items.flat_map(|item| self.judge.definitions(item)) {
            out.entry(instance).or_default().insert(definition);
        }
        out
    }

    /// The tests that selected rules come to, for every instance.
    pub(super) fn tests_by_instance(&self) -> Vec<(u32, BTreeSet<TestId>)> {
        let selected = self.judge.rules().filter(|(_, item, _)| item.selected).map(|(at, _, _)| at);
        let mut reached = self.reached(selected);
        let one = |(instance, (prepared, _)): (u32, (&Prepared, &Native))| {
            (instance, tests_of(prepared.content(), reached.remove(&instance).unwrap_or_default()))
        };
        (0..).zip(self.parts()).map(one).collect()
    }

    pub(super) fn row_level(&self, instance: u32, test: TestId) -> Option<RowLevel> {
        let (prepared, native) = self.part(instance)?;
        let object = prepared.content().tests.get(test.index())?.object?;
        if !prepared.is_row_level(test) {
            return None;
        }
        match native.plan(object) {
            Plan::Rows { table, select } => Some((object, Some((*table, plan_for(select))))),
            Plan::Unsupported { .. } => Some((object, None)),
            Plan::Variable { .. } | Plan::PerEndpoint { .. } => None,
        }
    }

    /// The tables whose rows may give an object items, and how those are found.
    fn rows_of(&self, instance: u32, object: ObjectId) -> Vec<(TableId, PlanFor)> {
        let Some((prepared, native)) = self.part(instance) else { return Vec::new() };
        match native.plan(object) {
            Plan::Rows { table, select } => vec![(*table, plan_for(select))],
            // The operands of a set are objects of their own.
            Plan::PerEndpoint { .. } if prepared.content().objects.get(object.index()).is_some_and(|o| matches!(o.body, Body::Set(_))) => {
                Vec::new()
            }
            Plan::PerEndpoint { tables, .. } => tables.iter().map(|table| (*table, PlanFor::Each)).collect(),
            Plan::Variable { .. } | Plan::Unsupported { .. } => Vec::new(),
        }
    }
}

fn plan_for(select: &Select) -> PlanFor {
    let strings = |values: &[Box<str>]| values.iter().map(|v| v.to_string()).collect();
    match select {
        Select::Key(values) => PlanFor::Equal(0, strings(values)),
        Select::Equal { column, values } => match u8::try_from(*column) {
            Ok(column) => PlanFor::Equal(column, strings(values)),
            Err(_) => PlanFor::Each,
        },
        Select::Each => PlanFor::Each,
    }
}
