//! The evaluation of one host: each thing is asked at most once.

use std::sync::Arc;

use super::super::facts::{Collected, Facts, Flag, Item, Values, Variables};
use super::super::model::{Body, Criteria, DefinitionId, Node, ObjectId, OvalResult, StateId, TestId, VariableId};
use super::super::pattern::Pattern;
use super::super::truth::{self, Counts, Statuses};
use super::super::variable::{self, Computed, Env, Settings};
use super::prepare::Prepared;
use super::state::Slots;

pub struct Evaluation<'p, 'x, 'f> {
    pub(super) prepared: &'p Prepared,
    facts: &'f dyn Facts<'x>,
    now_s: i64,
    definitions: Vec<Option<OvalResult>>,
    tests: Vec<Option<OvalResult>>,
    /// The outer `None`: not asked yet.
    objects: Vec<Option<Option<Arc<Collected<'x>>>>>,
    variables: Vec<Option<Arc<Computed>>>,
    pub(super) slots: Slots,
    patterns: super::prepare::Patterns,
}

impl<'p, 'x, 'f> Evaluation<'p, 'x, 'f> {
    pub fn new(prepared: &'p Prepared, facts: &'f dyn Facts<'x>, now_s: i64) -> Evaluation<'p, 'x, 'f> {
        let content = &prepared.content;
        Evaluation {
            prepared,
            facts,
            now_s,
            definitions: vec![None; content.definitions.len()],
            tests: vec![None; content.tests.len()],
            objects: vec![None; content.objects.len()],
            variables: vec![None; content.variables.len()],
            slots: Slots::default(),
            patterns: Default::default(),
        }
    }

    pub fn definition(&mut self, id: DefinitionId) -> OvalResult {
        if let Some(known) = self.definitions.get(id.index()).copied().flatten() {
            return known;
        }
        let prepared = self.prepared;
        if prepared.refused.definition(id).is_some() {
            return OvalResult::Error;
        }
        let definition = &prepared.content.definitions[id.index()];
        let result = definition.criteria.as_ref().map_or(OvalResult::NotEvaluated, |c| self.criteria(c));
        self.definitions[id.index()] = Some(result);
        result
    }

    /// The result of a node of criteria, negated if it says so.
    pub fn node(&mut self, node: &Node) -> OvalResult {
        let (result, negated) = match node {
            Node::Criteria(criteria) => return self.criteria(criteria),
            Node::Test { test, negate, .. } => (self.test(*test), *negate),
            Node::Extend { definition, negate, .. } => (self.definition(*definition), *negate),
        };
        if negated { truth::negate(result) } else { result }
    }

    pub fn criteria(&mut self, criteria: &Criteria) -> OvalResult {
        let mut counts = Counts::default();
        for child in &criteria.children {
            counts.add(self.node(child));
        }
        let result = truth::operator(&counts, criteria.operator);
        if criteria.negate { truth::negate(result) } else { result }
    }

    pub fn test(&mut self, id: TestId) -> OvalResult {
        if let Some(known) = self.tests.get(id.index()).copied().flatten() {
            return known;
        }
        let prepared = self.prepared;
        if prepared.refused.test(id).is_some() {
            return OvalResult::Error;
        }
        let test = &prepared.content.tests[id.index()];
        let collected = test.object.and_then(|o| self.object(o));
        let (mut statuses, mut results) = (Statuses::default(), Counts::default());
        if let Some(collected) = &collected
            && matches!(collected.flag, Flag::Complete | Flag::Incomplete)
        {
            test.states.iter().for_each(|s| self.fill(*s));
            for item in &collected.items {
                statuses.add(item.status);
                if let Some(result) = prepared.item(test, item, &self.slots) {
                    results.add(result);
                }
            }
        }
        let result = prepared.conclude(test, collected.map(|c| c.flag), statuses, results);
        self.tests[id.index()] = Some(result);
        result
    }

    /// The items of a test's object, each with its own result: not evaluated where the test has no states or did not come to them.
    pub fn tested_items(&mut self, id: TestId) -> Vec<(Arc<Item<'x>>, OvalResult)> {
        let prepared = self.prepared;
        let Some(test) = prepared.content.tests.get(id.index()).filter(|_| prepared.refused.test(id).is_none()) else {
            return Vec::new();
        };
        let Some(collected) = test.object.and_then(|o| self.object(o)) else { return Vec::new() };
        let statuses = Statuses::of(collected.items.iter().map(|i| i.status));
        let compared = match collected.flag {
            Flag::Complete => truth::test_existence(&statuses, test.existence, prepared.compat) == OvalResult::True,
            Flag::Incomplete => true,
            _ => false,
        };
        if compared {
            test.states.iter().for_each(|s| self.fill(*s));
        }
        let result =
            |item: &Arc<Item<'x>>| compared.then(|| prepared.item(test, item, &self.slots)).flatten().unwrap_or(OvalResult::NotEvaluated);
        collected.items.iter().map(|item| (item.clone(), result(item))).collect()
    }

    /// An object as it was collected, or a set of such.
    pub fn object(&mut self, id: ObjectId) -> Option<Arc<Collected<'x>>> {
        if let Some(known) = self.objects.get(id.index())? {
            return known.clone();
        }
        let (prepared, facts) = (self.prepared, self.facts);
        let collected = match (prepared.refused.object(id), &prepared.content.objects[id.index()].body) {
            (Some(why), _) => Some(Arc::new(Collected { flag: Flag::Error, items: Vec::new(), message: Some(why.into()) })),
            (None, body) => match (facts.collected(id, self), body) {
                (None, Body::Set(set)) => self.set(set).map(Arc::new),
                (collected, _) => collected,
            },
        };
        self.objects[id.index()] = Some(collected.clone());
        collected
    }

    pub(super) fn fill(&mut self, state: StateId) {
        let prepared = self.prepared;
        if !prepared.prepared_state(state).is_some_and(|s| s.dynamic) {
            return;
        }
        let mut slots = std::mem::take(&mut self.slots);
        prepared.fill(state, &mut slots, &mut |variable| self.variable(variable));
        self.slots = slots;
    }
}

impl Variables for Evaluation<'_, '_, '_> {
    fn values(&mut self, variable: VariableId) -> Values {
        self.variable(variable).values.clone()
    }
}

impl<'x> Env<'x> for Evaluation<'_, 'x, '_> {
    fn settings(&self) -> Settings {
        let limits = &self.prepared.limits;
        Settings { compat: self.prepared.compat, now_s: self.now_s, values: limits.variable_values, bytes: limits.variable_bytes }
    }

    fn variable(&mut self, id: VariableId) -> Arc<Computed> {
        let prepared = self.prepared;
        if let Some(known) = prepared.folded(id).or_else(|| self.variables.get(id.index()).and_then(Option::as_ref)) {
            return known.clone();
        }
        let content = &prepared.content;
        let computed = Arc::new(match prepared.refused.variable(id) {
            Some(why) => variable::refused(&content.variables[id.index()], why, self.settings()),
            None => variable::compute(&content.variables[id.index()], None, self),
        });
        self.variables[id.index()] = Some(computed.clone());
        computed
    }

    fn object(&mut self, object: ObjectId) -> Option<Arc<Collected<'x>>> {
        Evaluation::object(self, object)
    }

    fn pattern(&mut self, pattern: &str) -> Result<Arc<Pattern>, String> {
        self.prepared.patterns.known(pattern).unwrap_or_else(|| self.patterns.get(pattern, &self.prepared.limits))
    }
}
