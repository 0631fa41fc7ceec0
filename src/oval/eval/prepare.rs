//! Content made ready: bindings applied, variables that depend on no object folded, literals cast, patterns understood and shared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::facts::{Collected, Flag, Item, Values, Variables};
use super::super::model::{
    Body, Check, Content, Datatype, DefinitionId, Entity, Existence, ObjectId, Operation, Operator, OvalResult, Source, State, StateId,
    Stated as Said, Test, TestId, VariableId,
};
use super::super::pattern::{Flags, Pattern};
use super::super::truth::{self, Collection, Compat, Counts, Statuses};
use super::super::value::Stated;
use super::super::variable::{self, Computed, Dependency, Env, Settings};
use super::graph::{self, Refused};
use super::state::{Slots, item_status};
use super::tally::Tally;
use crate::limits::Limits;

/// Content ready to be evaluated for any number of hosts.
#[derive(Debug)]
pub struct Prepared {
    pub(super) content: Arc<Content>,
    pub(super) compat: Compat,
    pub(super) limits: Limits,
    pub(super) states: Vec<PreparedState>,
    /// What a variable's values are compared as, for the states' entities that refer to one which is no constant.
    pub(super) slots: Vec<Slot>,
    pub(super) refused: Refused,
    pub(super) patterns: Patterns,
    constants: Vec<Option<Arc<Computed>>>,
    /// Equal ones are one: what many tests depend on may be much.
    dependencies: Vec<Arc<BTreeSet<ObjectId>>>,
    row_level: Vec<bool>,
    problems: Vec<Problem>,
}

/// What cannot be evaluated as it was meant; the results that depend on it are errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    pub why: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Definition(DefinitionId),
    Test(TestId),
    Object(ObjectId),
    State(StateId),
    Variable(VariableId),
}

impl Place {
    /// The id of what is there.
    pub fn id(self, content: &Content) -> String {
        let id = match self {
            Place::Definition(d) => content.definitions.get(d.index()).map(|d| &d.id),
            Place::Test(t) => content.tests.get(t.index()).map(|t| &t.id),
            Place::Object(o) => content.objects.get(o.index()).map(|o| &o.id),
            Place::State(s) => content.states.get(s.index()).map(|s| &s.id),
            Place::Variable(v) => content.variables.get(v.index()).map(|v| &v.id),
        };
        id.map(ToString::to_string).unwrap_or_default()
    }
}

#[derive(Debug)]
pub(super) struct PreparedState {
    pub(super) operator: Operator,
    pub(super) entities: Vec<PreparedEntity>,
    /// Whether a variable of it is no constant.
    pub(super) dynamic: bool,
    pub(super) refused: bool,
}

#[derive(Debug)]
pub(super) struct PreparedEntity {
    pub(super) name: Box<str>,
    pub(super) existence: Existence,
    pub(super) entity_check: Check,
    pub(super) var_check: Check,
    pub(super) want: Want,
}

#[derive(Debug)]
pub(super) enum Want {
    One(Stated),
    /// The values of a constant variable.
    Many(Box<[Stated]>),
    /// Every comparison is an error.
    Error(Box<str>),
    /// The values of a variable, by the place of its slot.
    Slot(usize),
    Record(Vec<PreparedEntity>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) variable: VariableId,
    pub(super) datatype: Datatype,
    pub(super) operation: Operation,
}

/// Equal patterns are one.
#[derive(Debug, Default)]
pub(super) struct Patterns(BTreeMap<Box<str>, Result<Arc<Pattern>, String>>);

impl Patterns {
    pub(super) fn get(&mut self, pattern: &str, limits: &Limits) -> Result<Arc<Pattern>, String> {
        if let Some(known) = self.0.get(pattern) {
            return known.clone();
        }
        let made = Pattern::new(pattern, Flags::default(), limits).map(Arc::new).map_err(|why| why.to_string());
        self.0.insert(pattern.into(), made.clone());
        made
    }

    pub(super) fn known(&self, pattern: &str) -> Option<Result<Arc<Pattern>, String>> {
        self.0.get(pattern).cloned()
    }
}

/// Values of a variable as what an entity compares with.
pub(super) fn stated(
    (datatype, operation): (Datatype, Operation),
    values: &Values,
    datatypes: &[Datatype],
    compat: Compat,
    pattern: &mut dyn FnMut(&str) -> Result<Arc<Pattern>, String>,
) -> Option<Box<[Stated]>> {
    if !matches!(values.flag, Flag::Complete | Flag::Incomplete) {
        return None;
    }
    let cast = |(at, text): (usize, &str)| {
        let datatype = match compat {
            Compat::Specification => datatype,
            // OpenSCAP: (7) the datatype of the variable's value decides.
            Compat::OpenScap => datatypes.get(at).copied().unwrap_or(values.datatype),
        };
        Stated::new(datatype, operation, text, compat, pattern)
    };
    Some(values.values.iter().map(|text| &**text).enumerate().map(cast).collect())
}

impl Prepared {
    /// Never fails: what cannot be prepared is a problem, and an error result of what depends on it.
    pub fn new(content: Arc<Content>, bindings: &BTreeMap<String, Vec<String>>, compat: Compat, limits: &Limits) -> Prepared {
        let refused = graph::check(&content);
        let mut folding = Folding {
            content: &content,
            bindings,
            settings: Settings { compat, now_s: 0, values: limits.variable_values, bytes: limits.variable_bytes },
            limits,
            refused: &refused,
            patterns: Patterns::default(),
            constant: vec![None; content.variables.len()],
            values: vec![None; content.variables.len()],
        };
        for id in ids(content.variables.len()).map(VariableId) {
            if folding.is_constant(id) {
                folding.variable(id);
            }
        }
        let mut slots = Vec::new();
        let states: Vec<PreparedState> = (0..).zip(&content.states).map(|(at, s)| folding.state(StateId(at), s, &mut slots)).collect();
        let problems = folding.problems(&states);
        let row_level = content.tests.iter().map(|t| folding.is_row_level(t, &states)).collect();
        let Folding { patterns, values: constants, .. } = folding;
        let mut known: BTreeSet<Arc<BTreeSet<ObjectId>>> = BTreeSet::new();
        let shared = |id: u32| {
            let objects = refused.objects_of(&content, TestId(id));
            known.get(&objects).cloned().unwrap_or_else(|| {
                let objects = Arc::new(objects);
                known.insert(objects.clone());
                objects
            })
        };
        let dependencies = ids(content.tests.len()).map(shared).collect();
        let limits = limits.clone();
        Prepared { content, compat, limits, states, slots, refused, patterns, constants, dependencies, row_level, problems }
    }

    pub fn content(&self) -> &Arc<Content> {
        &self.content
    }

    pub fn compat(&self) -> Compat {
        self.compat
    }

    /// The values of a variable that depends on no object.
    pub fn constant(&self, variable: VariableId) -> Option<&Values> {
        self.folded(variable).map(|c| &c.values)
    }

    pub(super) fn folded(&self, variable: VariableId) -> Option<&Arc<Computed>> {
        self.constants.get(variable.index()).and_then(Option::as_ref)
    }

    /// Every object whose collection the result of a test depends on: its own, operands of sets, and those behind variables.
    pub fn object_dependencies(&self, test: TestId) -> &BTreeSet<ObjectId> {
        const NONE: &BTreeSet<ObjectId> = &BTreeSet::new();
        self.dependencies.get(test.index()).map_or(NONE, |d| d)
    }

    /// Whether a test's result is a sum over items: its object is no set, all variables of object, filters and states are constants.
    pub fn is_row_level(&self, test: TestId) -> bool {
        self.row_level.get(test.index()).copied().unwrap_or(false)
    }

    /// What items add to the result of a row-level test.
    pub fn tally(&self, test: TestId, items: &[Arc<Item<'_>>]) -> Tally {
        let Some(test) = self.content.tests.get(test.index()) else { return Tally::default() };
        let (mut statuses, mut results) = (Statuses::default(), Counts::default());
        for item in items {
            statuses.add(item.status);
            if let Some(result) = self.item(test, item, &Slots::default()) {
                results.add(result);
            }
        }
        Tally::new(&statuses, &results)
    }

    /// The result of a row-level test, of its object's flag and the sum over its items.
    pub fn result(&self, test: TestId, flag: Option<Flag>, tally: Tally) -> OvalResult {
        match (self.content.tests.get(test.index()), self.refused.test(test)) {
            (Some(test), None) => self.conclude(test, flag, tally.statuses(), tally.results()),
            _ => OvalResult::Error,
        }
    }

    pub(super) fn conclude(&self, test: &Test, flag: Option<Flag>, statuses: Statuses, results: Counts) -> OvalResult {
        let states = (!test.states.is_empty()).then_some(results);
        let flag = flag.filter(|_| test.object.is_some());
        truth::test(&Collection { flag, statuses, states }, test.existence, test.check, self.compat)
    }

    /// The result of one item against a test's states; `None`: it has no part in it.
    pub(super) fn item(&self, test: &Test, item: &Item<'_>, slots: &Slots) -> Option<OvalResult> {
        if test.states.is_empty() {
            return None;
        }
        item_status(item.status, self.compat).unwrap_or_else(|| {
            if let [only] = test.states.as_slice() {
                return Some(self.state(*only, item, slots));
            }
            let results = Counts::of(test.states.iter().map(|s| self.state(*s, item, slots)));
            Some(truth::operator(&results, test.state_operator))
        })
    }

    /// Whether the filters of an object let an item through, those whose states are constant.
    pub fn passes_filters(&self, object: ObjectId, item: &Item<'_>) -> bool {
        self.filters(object, |state| (!self.is_dynamic(state)).then(|| self.state(state, item, &Slots::default())))
    }

    /// Whether the filters of an object let an item through, those with variables too.
    pub fn passes_all_filters(&self, object: ObjectId, item: &Item<'_>, variables: &mut dyn Variables) -> bool {
        self.filters(object, |state| {
            let mut slots = Slots::default();
            self.fill(state, &mut slots, &mut |variable| {
                let values = variables.values(variable);
                let datatypes = vec![values.datatype; values.values.len()].into();
                Arc::new(Computed { values, datatypes, why: None })
            });
            Some(self.state(state, item, &slots))
        })
    }

    fn filters(&self, object: ObjectId, mut state: impl FnMut(StateId) -> Option<OvalResult>) -> bool {
        match self.content.objects.get(object.index()).map(|o| &o.body) {
            Some(Body::Entities { filters, .. }) => {
                filters.iter().all(|f| state(f.state).is_none_or(|result| (result == OvalResult::True) == f.include))
            }
            _ => true,
        }
    }

    fn is_dynamic(&self, state: StateId) -> bool {
        self.states.get(state.index()).is_some_and(|s| s.dynamic)
    }

    /// What cannot be evaluated as it was meant, by place.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

pub(super) fn ids(count: usize) -> impl Iterator<Item = u32> {
    (0u32..).take(count)
}

/// The preparation under way.
struct Folding<'a> {
    content: &'a Content,
    bindings: &'a BTreeMap<String, Vec<String>>,
    settings: Settings,
    limits: &'a Limits,
    refused: &'a Refused,
    patterns: Patterns,
    constant: Vec<Option<bool>>,
    values: Vec<Option<Arc<Computed>>>,
}

impl Env<'static> for Folding<'_> {
    fn settings(&self) -> Settings {
        self.settings
    }

    fn variable(&mut self, id: VariableId) -> Arc<Computed> {
        if let Some(known) = self.values.get(id.index()).cloned().flatten() {
            return known;
        }
        let content = self.content;
        let variable = &content.variables[id.index()];
        let computed = match self.refused.variable(id) {
            Some(why) => variable::refused(variable, why, self.settings),
            None => variable::compute(variable, self.bindings.get(&*variable.id).map(Vec::as_slice), self),
        };
        let computed = Arc::new(computed);
        self.values[id.index()] = Some(computed.clone());
        computed
    }

    /// Only what depends on no object is folded.
    fn object(&mut self, _: ObjectId) -> Option<Arc<Collected<'static>>> {
        None
    }

    fn pattern(&mut self, pattern: &str) -> Result<Arc<Pattern>, String> {
        self.patterns.get(pattern, self.limits)
    }
}

impl Folding<'_> {
    fn is_constant(&mut self, id: VariableId) -> bool {
        if let Some(known) = self.constant.get(id.index()).copied().flatten() {
            return known;
        }
        let content = self.content;
        let constant = match content.variables.get(id.index()).map(|v| &v.source) {
            Some(Source::Local(component)) if self.refused.variable(id).is_none() => {
                let mut constant = true;
                variable::depends_on(component, &mut |on| match on {
                    Dependency::Object(_) | Dependency::Now => constant = false,
                    Dependency::Variable(other) => constant &= self.is_constant(other),
                    Dependency::Pattern(_) => {}
                });
                constant
            }
            Some(_) => true,
            None => return true,
        };
        self.constant[id.index()] = Some(constant);
        constant
    }

    fn state(&mut self, id: StateId, state: &State, slots: &mut Vec<Slot>) -> PreparedState {
        let before = slots.len();
        // The item that both text file tests share names a line its text.
        let line = &*state.kind.name == "textfilecontent";
        let entities = state.entities.iter().map(|e| self.entity(e, line, slots)).collect();
        let refused = self.refused.state(id).is_some();
        PreparedState { operator: state.operator, entities, dynamic: slots.len() > before, refused }
    }

    fn entity(&mut self, entity: &Entity, line: bool, slots: &mut Vec<Slot>) -> PreparedEntity {
        let Settings { compat, .. } = self.settings;
        let kind = (entity.datatype, entity.operation);
        let want = match &entity.value {
            _ if entity.datatype == Datatype::Record && entity.operation != Operation::Equals => {
                Want::Error("records have no operation but equals".into())
            }
            _ if entity.datatype == Datatype::Record => Want::Record(entity.fields.iter().map(|f| self.entity(f, false, slots)).collect()),
            Said::Nil => Want::One(Stated::new(entity.datatype, entity.operation, "", compat, &mut |p| self.pattern(p))),
            Said::Literal(text) => Want::One(Stated::new(entity.datatype, entity.operation, text, compat, &mut |p| self.pattern(p))),
            Said::Variable(variable) if self.is_constant(*variable) && variable.index() < self.values.len() => {
                let computed = self.variable(*variable);
                match stated(kind, &computed.values, &computed.datatypes, compat, &mut |p| self.pattern(p)) {
                    Some(stated) => Want::Many(stated),
                    None => Want::Error(computed.why.clone().unwrap_or_else(|| "its variable has no values".into())),
                }
            }
            Said::Variable(variable) => {
                slots.push(Slot { variable: *variable, datatype: entity.datatype, operation: entity.operation });
                Want::Slot(slots.len() - 1)
            }
        };
        let name = if line && &*entity.name == "line" { "text".into() } else { entity.name.clone() };
        let Entity { existence, entity_check, var_check, .. } = *entity;
        PreparedEntity { name, existence, entity_check, var_check, want }
    }

    fn is_row_level(&mut self, test: &Test, states: &[PreparedState]) -> bool {
        let fixed = |state: &StateId| states.get(state.index()).is_some_and(|s| !s.dynamic);
        let body = test.object.and_then(|o| self.content.objects.get(o.index())).map(|o| &o.body);
        match body {
            Some(Body::Entities { entities, filters, .. }) => {
                test.states.iter().all(fixed) && filters.iter().all(|f| fixed(&f.state)) && self.are_constant(entities)
            }
            _ => false,
        }
    }

    fn are_constant(&mut self, entities: &[Entity]) -> bool {
        entities.iter().all(|e| match e.value {
            Said::Variable(variable) => self.is_constant(variable),
            _ => self.are_constant(&e.fields),
        })
    }

    fn problems(&mut self, states: &[PreparedState]) -> Vec<Problem> {
        let (content, refused) = (self.content, self.refused);
        let mut problems = Vec::new();
        let mut add = |place, why: Option<&str>| problems.extend(why.map(|why| Problem { place, why: why.into() }));
        for id in ids(content.definitions.len()).map(DefinitionId) {
            add(Place::Definition(id), refused.definition(id));
        }
        for id in ids(content.tests.len()).map(TestId) {
            add(Place::Test(id), refused.test(id));
        }
        for (id, object) in ids(content.objects.len()).map(ObjectId).zip(&content.objects) {
            add(Place::Object(id), refused.object(id));
            let Body::Entities { entities, .. } = &object.body else { continue };
            for entity in entities {
                if let (Said::Literal(text), Operation::PatternMatch) = (&entity.value, entity.operation) {
                    add(Place::Object(id), self.pattern(text).err().as_deref());
                }
            }
        }
        for (id, state) in ids(states.len()).map(StateId).zip(states) {
            add(Place::State(id), refused.state(id));
            state.entities.iter().for_each(|e| e.want.problems(&mut |why| add(Place::State(id), Some(why))));
        }
        for (id, variable) in ids(content.variables.len()).map(VariableId).zip(&content.variables) {
            let folded = self.values[id.index()].as_ref().and_then(|c| c.why.clone());
            add(Place::Variable(id), folded.as_deref().or_else(|| refused.variable(id)));
            if let (None, Source::Local(component)) = (folded, &variable.source) {
                variable::depends_on(component, &mut |on| {
                    if let Dependency::Pattern(pattern) = on {
                        add(Place::Variable(id), self.pattern(pattern).err().as_deref());
                    }
                });
            }
        }
        problems
    }
}

impl Want {
    fn problems(&self, add: &mut dyn FnMut(&str)) {
        match self {
            Want::One(stated) => stated.problem().into_iter().for_each(add),
            Want::Many(many) => many.iter().filter_map(Stated::problem).for_each(add),
            Want::Error(why) => add(why),
            Want::Slot(_) => {}
            Want::Record(fields) => fields.iter().for_each(|f| f.want.problems(add)),
        }
    }
}
