//! Rules to bytes: each condition is cut into terms, equal terms are shared, each term gets a plan.
//!
//! `RulePack x n + requirements -> bytes of a compiled pack`. Deterministic: the same rules give the same bytes.

use std::collections::BTreeMap;

use super::code::op;
use super::program::op as step;
use super::scap::{self, ScapPack, Stored};
use super::wire::{self, NONE, Section, assemble};
use super::{Pack, PackInfo, RuleMeta, RuleRef, Term, TermId, TermKind};
use crate::judge::Verdict;
use crate::judge::truth::Truth;
use crate::rule::ir::{Cmp, Func, Ir, Quantifier};
use crate::rule::{Fix, FixState, Platform, Rule, RulePack, Severity};
use crate::scan::table::{Extent, TableId};
use crate::version::Scheme;

pub(super) mod lower;

use lower::Lowered;

/// A package that a mandatory baseline wants at every endpoint of a group, at least at a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub package: String,
    pub minimum: Option<(Scheme, String)>,
}

impl Requirement {
    /// The id of the rule that stands for the requirement; equal requirements of several baselines share it.
    pub fn rule_id(&self) -> String {
        match &self.minimum {
            None => format!("package:{}", self.package),
            Some((scheme, version)) => format!("package:{}>={version}:{scheme}", self.package),
        }
    }

    fn check(&self) -> Ir {
        let table = TableId::by_name("package").unwrap_or(TableId(0));
        let column = |name: &str| {
            let at = table.table().column(name).and_then(|c| u8::try_from(c).ok()).unwrap_or(0);
            Ir::Column { slot: 0, table, column: at }
        };
        let mut body = vec![Ir::Compare(Cmp::Eq, Box::new(column("name")), Box::new(Ir::Str(self.package.as_str().into())))];
        if let Some((scheme, version)) = &self.minimum {
            let have = Ir::Version(*scheme, Box::new(column("version")));
            let want = Ir::Version(*scheme, Box::new(Ir::Str(version.as_str().into())));
            body.push(Ir::Compare(Cmp::Ge, Box::new(have), Box::new(want)));
        }
        Ir::Quant { quantifier: Quantifier::Exists, table, only: Vec::new(), slot: 0, body: Box::new(Ir::And(body)) }
    }
}

/// Everything that goes into one compiled pack.
#[derive(Clone, Copy, Default)]
pub struct Sources<'s> {
    pub written: &'s [RulePack],
    pub scap: &'s [ScapPack],
    /// Their rules without the requirements of their baselines.
    pub compiled: &'s [Pack],
    pub requirements: &'s [Requirement],
}

/// Compiles packs, and the package requirements of mandatory baselines, into one file's bytes.
/// INVARIANT: rule ids are unique over the packs; `rule::folder` reports those that are not.
pub fn compile(packs: &[RulePack], requirements: &[Requirement]) -> Vec<u8> {
    merge(&Sources { written: packs, requirements, ..Sources::default() })
}

/// The same of all kinds of sources.
pub fn merge(sources: &Sources<'_>) -> Vec<u8> {
    let mut c = Compiler::default();
    let mut metas: Vec<(RuleMeta, bool)> = Vec::new();
    let mut stored = Vec::new();
    for pack in sources.written {
        metas.extend(pack.rules.iter().map(|r| (meta(pack, r), false)));
    }
    for pack in sources.compiled {
        let before = stored.len();
        metas.extend(pack.rules().filter(|r| !pack.rule(*r).requirement).map(|r| (pack.meta(r).moved(before), false)));
        stored.extend(pack.scap.stored());
    }
    for pack in sources.scap {
        let own = Stored { compat: pack.compat, baseline: pack.baseline.clone() };
        metas.extend(scap::metas(&pack.info, &own, stored.len()).into_iter().map(|m| (m, false)));
        stored.push(own);
    }
    metas.extend(sources.requirements.iter().map(|r| (requirement_meta(r), true)));
    metas.sort_by(|a, b| a.0.id.cmp(&b.0.id));
    metas.dedup_by(|a, b| a.0.id == b.0.id);
    for (meta, requirement) in &metas {
        c.rule(meta, *requirement);
    }
    scap::compile(&mut c, &stored);
    let written = sources.written.iter().map(info).chain(sources.scap.iter().map(|p| p.info.clone()));
    let mut infos: Vec<PackInfo> = written.chain(sources.compiled.iter().flat_map(|p| p.infos().iter().cloned())).collect();
    infos.sort_by(|a, b| a.id.cmp(&b.id));
    c.finish(&infos)
}

fn info(pack: &RulePack) -> PackInfo {
    PackInfo {
        id: pack.id.clone(),
        title: pack.title.clone(),
        version: pack.version.clone(),
        description: pack.description.clone(),
        benchmarks: pack.benchmarks.clone(),
        rules: pack.rules.len(),
    }
}

fn meta(pack: &RulePack, rule: &Rule) -> RuleMeta {
    RuleMeta {
        id: rule.id.clone(),
        pack: pack.id.clone(),
        title: rule.title.clone(),
        severity: rule.severity,
        platforms: rule.platforms.clone(),
        controls: rule.controls.clone(),
        rationale: rule.rationale.clone(),
        remediation: rule.remediation.clone(),
        fix: rule.fix.clone(),
        when: rule.when_text.clone(),
        check: rule.check_text.clone(),
        missing: rule.missing,
        asks: rule.asks().into_iter().map(|(t, items)| (t.name().to_owned(), items)).collect(),
        applies_ir: applies(&rule.platforms, rule.when.as_ref()),
        check_ir: rule.check.clone(),
        scap: None,
    }
}

fn requirement_meta(requirement: &Requirement) -> RuleMeta {
    let wanted = match &requirement.minimum {
        None => format!("package {} is installed", requirement.package),
        Some((scheme, version)) => format!("package {} is installed at {version} or later ({scheme} order)", requirement.package),
    };
    RuleMeta {
        id: requirement.rule_id(),
        pack: "baseline".to_owned(),
        title: wanted.clone(),
        severity: Severity::High,
        platforms: Vec::new(),
        controls: BTreeMap::new(),
        rationale: "required by a mandatory baseline".to_owned(),
        remediation: format!("install it: {wanted}"),
        fix: Some(Fix { package: requirement.package.clone(), state: FixState::Installed }),
        when: None,
        check: wanted,
        missing: Verdict::Fail,
        asks: BTreeMap::new(),
        applies_ir: Ir::Bool(true),
        check_ir: requirement.check(),
        scap: None,
    }
}

/// Whether a rule is about an endpoint: one of its platforms, and its `when`.
pub fn applies(platforms: &[Platform], when: Option<&Ir>) -> Ir {
    let Some(table) = TableId::by_name("os") else { return Ir::Bool(false) };
    let column = |name: &str| table.table().column(name).and_then(|c| u8::try_from(c).ok()).unwrap_or(0);
    let has = |name| Ir::HasCell { table, key: Vec::new(), column: column(name) };
    let cell = |name| Box::new(Ir::Lookup { table, key: Vec::new(), column: column(name) });
    let is = |name, value: &str| Ir::And(vec![has(name), Ir::Compare(Cmp::Eq, cell(name), Box::new(Ir::Str(value.into())))]);
    let one = |p: &Platform| {
        let words = Ir::Call(Func::Split, vec![*cell("id_like"), Ir::Str(" ".into())]);
        let like = Ir::And(vec![has("id_like"), Ir::In(Box::new(Ir::Str(p.id.as_str().into())), Box::new(words))]);
        let named = Ir::Or(vec![is("family", &p.id), is("id", &p.id), like]);
        let Some(version) = &p.version else { return named };
        let minor = Ir::Call(Func::StartsWith, vec![*cell("version"), Ir::Str(format!("{version}.").into())]);
        let right_version = Ir::Or(vec![is("version", version), Ir::And(vec![has("version"), minor])]);
        Ir::And(vec![named, right_version])
    };
    let mut conditions = Vec::new();
    if !platforms.is_empty() {
        conditions.push(Ir::Or(platforms.iter().map(one).collect()));
    }
    conditions.extend(when.cloned());
    Ir::And(conditions)
}

#[derive(Default)]
pub(super) struct Compiler {
    strings: Vec<String>,
    string_ids: BTreeMap<String, u32>,
    terms: Vec<Term>,
    /// Equal terms are one: kind, table, key and code decide.
    term_ids: BTreeMap<(String, Vec<u8>), TermId>,
    code: Vec<u8>,
    code_at: BTreeMap<Vec<u8>, u32>,
    patterns: Vec<u32>,
    joins: Vec<u32>,
    baselines: Vec<u32>,
    rules: Vec<RuleRef>,
    index: Vec<(u32, u64, TermId)>,
    each: Vec<(u32, TermId)>,
    literals: Vec<(u32, u32, TermId)>,
}

impl Compiler {
    pub(super) fn string(&mut self, s: &str) -> u32 {
        if let Some(id) = self.string_ids.get(s) {
            return *id;
        }
        // INVARIANT: limits.rules and limits.rule_bytes keep every count far below u32::MAX.
        let id = u32::try_from(self.strings.len()).unwrap_or(NONE);
        self.strings.push(s.to_owned());
        self.string_ids.insert(s.to_owned(), id);
        id
    }

    fn place(&mut self, code: &[u8]) -> (u32, u32) {
        let len = u32::try_from(code.len()).unwrap_or(0);
        if let Some(at) = self.code_at.get(code) {
            return (*at, len);
        }
        let at = u32::try_from(self.code.len()).unwrap_or(0);
        self.code.extend_from_slice(code);
        self.code_at.insert(code.to_vec(), at);
        (at, len)
    }

    fn pattern(&mut self, pattern: &str) -> u32 {
        let string = self.string(pattern);
        let at = self.patterns.iter().position(|p| *p == string).unwrap_or_else(|| {
            self.patterns.push(string);
            self.patterns.len() - 1
        });
        u32::try_from(at).unwrap_or(0)
    }

    fn rule(&mut self, meta: &RuleMeta, requirement: bool) {
        let text = serde_json::to_string(meta).unwrap_or_default();
        let (id, text) = (self.string(&meta.id), self.string(&text));
        let mut applies = Vec::new();
        self.condition(&meta.applies_ir, &mut applies);
        let mut check = Vec::new();
        self.condition(&meta.check_ir, &mut check);
        let (applies, check) = (self.place(&applies), self.place(&check));
        let scap = meta.scap.as_ref().map(|s| (s.baseline, s.item));
        self.rules.push(RuleRef { severity: meta.severity, missing: meta.missing, requirement, scap, id, meta: text, applies, check });
    }

    /// Lowers a condition on an endpoint to program steps.
    fn condition(&mut self, ir: &Ir, out: &mut Vec<u8>) {
        match ir {
            Ir::Bool(b) => out.extend_from_slice(&[step::CONST, Truth::of(*b) as u8]),
            Ir::Not(a) => {
                self.condition(a, out);
                out.push(step::NOT);
            }
            Ir::And(items) => self.chain(items, Truth::True, step::AND, out),
            Ir::Or(items) => self.chain(items, Truth::False, step::OR, out),
            Ir::Select(a, b, c) => {
                for part in [a, b, c] {
                    self.condition(part, out);
                }
                out.push(step::SELECT);
            }
            leaf => match lower::lower(self, leaf) {
                Some(lowered) => self.emit(lowered, out),
                None => {
                    // Joins rows: run for each endpoint.
                    let text = serde_json::to_string(leaf).unwrap_or_default();
                    let string = self.string(&text);
                    out.push(step::JOIN);
                    out.extend_from_slice(&u32::try_from(self.joins.len()).unwrap_or(0).to_le_bytes());
                    self.joins.push(string);
                }
            },
        }
    }

    fn chain(&mut self, items: &[Ir], unit: Truth, join: u8, out: &mut Vec<u8>) {
        if items.is_empty() {
            out.extend_from_slice(&[step::CONST, unit as u8]);
        }
        for (i, item) in items.iter().enumerate() {
            self.condition(item, out);
            if i > 0 {
                out.push(join);
            }
        }
    }

    fn emit(&mut self, lowered: Lowered, out: &mut Vec<u8>) {
        let id = self.term(lowered.kind, lowered.table, &lowered.key, &lowered.code, &lowered.plan);
        let asked = lowered.table.table().extent == Extent::Asked;
        match lowered.kind {
            TermKind::Keyed if asked => {
                let item = lowered.key.first().cloned().unwrap_or_default();
                let scope = self.scope_term(lowered.table, &item);
                out.push(step::ASKED);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&scope.to_le_bytes());
                out.push(u8::from(lowered.exists));
            }
            TermKind::Keyed => {
                out.push(step::KEYED);
                out.extend_from_slice(&id.to_le_bytes());
                out.push(u8::from(lowered.exists));
            }
            _ if lowered.only.is_empty() => {
                out.push(step::TERM);
                out.extend_from_slice(&id.to_le_bytes());
            }
            _ => {
                let scopes: Vec<TermId> = lowered.only.iter().map(|item| self.scope_term(lowered.table, item)).collect();
                out.push(step::GUARDED);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&u16::try_from(scopes.len()).unwrap_or(0).to_le_bytes());
                scopes.iter().for_each(|s| out.extend_from_slice(&s.to_le_bytes()));
            }
        }
    }

    /// The term that says whether an item was looked at: true, or unknown when that failed.
    pub(super) fn scope_term(&mut self, table: TableId, item: &str) -> TermId {
        let Some(scope) = TableId::by_name("scope") else { return 0 };
        let state = scope.table().column("state").and_then(|c| u8::try_from(c).ok()).unwrap_or(0);
        let error = self.string("error");
        let mut code = vec![op::HAS_COLUMN, state, op::COLUMN, state, op::STR];
        code.extend_from_slice(&error.to_le_bytes());
        code.extend_from_slice(&[op::COMPARE, wire::cmp_to_u8(Cmp::Eq), op::AND]);
        code.extend_from_slice(&[op::TRUTH, Truth::Unknown as u8, op::TRUTH, Truth::True as u8, op::SELECT]);
        self.term(TermKind::Keyed, scope, &[table.name().to_owned(), item.to_owned()], &code, &lower::PlanFor::Key)
    }

    fn term(&mut self, kind: TermKind, table: TableId, key: &[String], code: &[u8], plan: &lower::PlanFor) -> TermId {
        let identity = (format!("{kind:?} {} {key:?}", table.0), code.to_vec());
        if let Some(id) = self.term_ids.get(&identity) {
            return *id;
        }
        let placed = self.place(code);
        let id = self.add_term(kind, table, key, placed, plan);
        self.term_ids.insert(identity, id);
        id
    }

    /// A term whatever others there are, and its entries in the indexes.
    pub(super) fn add_term(&mut self, kind: TermKind, table: TableId, key: &[String], code: (u32, u32), plan: &lower::PlanFor) -> TermId {
        let id = TermId::try_from(self.terms.len()).unwrap_or(NONE);
        let mut keys = [NONE; 2];
        for (slot, part) in keys.iter_mut().zip(key) {
            *slot = self.string(part);
        }
        match plan {
            lower::PlanFor::Key if key.is_empty() => self.each.push((u32::from(table.0), id)),
            lower::PlanFor::Key => {
                let hash = wire::stable_hash(key.iter().map(String::as_str));
                self.index.push((wire::slot(table, wire::KEY_SLOT), hash, id));
            }
            lower::PlanFor::Equal(column, values) => {
                for value in values {
                    self.index.push((wire::slot(table, *column), wire::stable_hash([value.as_str()]), id));
                }
            }
            lower::PlanFor::Literal(column, literal) => {
                let literal = self.string(literal);
                self.literals.push((wire::slot(table, *column), literal, id));
            }
            lower::PlanFor::Each => self.each.push((u32::from(table.0), id)),
        }
        self.terms.push(Term { kind, table, plan: plan.kind(), key: keys, code });
        id
    }

    /// A baseline as the file holds it.
    pub(super) fn baseline(&mut self, json: &str) {
        let string = self.string(json);
        self.baselines.push(string);
    }

    fn finish(mut self, infos: &[PackInfo]) -> Vec<u8> {
        let info = serde_json::to_string(infos).unwrap_or_default();
        let info = self.string(&info);
        let mut contents: [Vec<u8>; wire::SECTIONS.len()] = Default::default();
        let words = |ids: &[u32]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
        let mut end = 0u32;
        let mut ends = vec![0u32];
        for s in &self.strings {
            end += u32::try_from(s.len()).unwrap_or(0);
            ends.push(end);
        }
        self.index.sort_unstable();
        self.each.sort_unstable();
        self.literals.sort_unstable();
        contents[Section::Strings as usize] = self.strings.concat().into_bytes();
        contents[Section::StringEnds as usize] = words(&ends);
        self.terms.iter().for_each(|t| wire::write_term(t, &mut contents[Section::Terms as usize]));
        contents[Section::Code as usize] = self.code;
        for (slot, hash, term) in self.index {
            let record = &mut contents[Section::Index as usize];
            record.extend_from_slice(&slot.to_le_bytes());
            record.extend_from_slice(&term.to_le_bytes());
            record.extend_from_slice(&hash.to_le_bytes());
        }
        contents[Section::Each as usize] = self.each.iter().flat_map(|(slot, term)| words(&[*slot, *term])).collect();
        contents[Section::Literals as usize] =
            self.literals.iter().flat_map(|(slot, string, term)| words(&[*slot, *string, *term])).collect();
        contents[Section::Patterns as usize] = words(&self.patterns);
        self.rules.iter().for_each(|r| wire::write_rule(r, &mut contents[Section::Rules as usize]));
        contents[Section::Joins as usize] = words(&self.joins);
        contents[Section::Info as usize] = words(&[info]);
        contents[Section::Baselines as usize] = words(&self.baselines);
        assemble(contents)
    }
}
