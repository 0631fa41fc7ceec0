//! What refers to what: circles and chains too deep are found before anything is evaluated, so that evaluation may recurse.

use std::collections::BTreeSet;

use super::super::model::{
    Body, Content, Criteria, DefinitionId, Entity, Filter, Node, Object, ObjectId, Set, SetOperand, Source, StateId, Stated, TestId,
    VariableId,
};
use super::super::variable::{Dependency, depends_on, depth};

/// How deep references and nesting may go together.
const DEEP: usize = 300;

const CIRCLE: &str = "it refers to itself, directly or through others";
const TOO_DEEP: &str = "it refers to others through too many levels";

/// Why things cannot be evaluated; in the order of [`Places`].
#[derive(Debug)]
pub(super) struct Refused {
    places: Places,
    reasons: Vec<Option<&'static str>>,
}

/// Everything of a content in one numbering.
#[derive(Clone, Copy, Debug)]
struct Places {
    tests: usize,
    objects: usize,
    states: usize,
    variables: usize,
    all: usize,
}

impl Refused {
    pub(super) fn definition(&self, id: DefinitionId) -> Option<&'static str> {
        self.at(id.index())
    }

    pub(super) fn test(&self, id: TestId) -> Option<&'static str> {
        self.at(self.places.tests + id.index())
    }

    pub(super) fn object(&self, id: ObjectId) -> Option<&'static str> {
        self.at(self.places.objects + id.index())
    }

    pub(super) fn state(&self, id: StateId) -> Option<&'static str> {
        self.at(self.places.states + id.index())
    }

    pub(super) fn variable(&self, id: VariableId) -> Option<&'static str> {
        self.at(self.places.variables + id.index())
    }

    /// Every object that a test's result depends on, through sets, filters, states and variables.
    pub(super) fn objects_of(&self, content: &Content, test: TestId) -> BTreeSet<ObjectId> {
        let mut objects = BTreeSet::new();
        let mut known = BTreeSet::new();
        let mut open = vec![self.places.tests + test.index()];
        while let Some(place) = open.pop() {
            if place >= self.places.all || !known.insert(place) {
                continue;
            }
            if (self.places.objects..self.places.states).contains(&place) {
                objects.extend(u32::try_from(place - self.places.objects).ok().map(ObjectId));
            }
            open.extend(self.places.step(content, place).next);
        }
        objects
    }

    fn at(&self, place: usize) -> Option<&'static str> {
        // What is not there is nothing that a reader could have resolved.
        self.reasons.get(place).copied().unwrap_or(Some("it is not in this content"))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Seen {
    No,
    /// On the way to the one that is looked at.
    Open,
    Done,
}

/// One that is looked at, and which of those that it refers to comes next.
struct Step {
    place: usize,
    own: usize,
    next: Vec<usize>,
    deepest: usize,
}

pub(super) fn check(content: &Content) -> Refused {
    let places = Places::of(content);
    let mut reasons = vec![None; places.all];
    let mut seen = vec![Seen::No; places.all];
    let mut height = vec![0usize; places.all];
    let mut way: Vec<Step> = Vec::new();
    for start in 0..places.all {
        if seen[start] == Seen::No {
            seen[start] = Seen::Open;
            way.push(places.step(content, start));
        }
        while let Some(step) = way.last_mut() {
            let place = step.place;
            match step.next.pop() {
                Some(to) => match seen.get(to).copied() {
                    Some(Seen::No) => {
                        seen[to] = Seen::Open;
                        way.push(places.step(content, to));
                    }
                    Some(Seen::Open) => {
                        way.iter().rev().take_while(|s| s.place != to).for_each(|s| reasons[s.place] = Some(CIRCLE));
                        reasons[to] = Some(CIRCLE);
                    }
                    Some(Seen::Done) => step.deepest = step.deepest.max(height[to]),
                    None => {}
                },
                None => {
                    let total = step.own + step.deepest;
                    if total > DEEP {
                        reasons[place].get_or_insert(TOO_DEEP);
                    }
                    // Whoever is refused answers without asking further.
                    height[place] = if reasons[place].is_some() { 1 } else { total };
                    seen[place] = Seen::Done;
                    let done = height[place];
                    way.pop();
                    if let Some(above) = way.last_mut() {
                        above.deepest = above.deepest.max(done);
                    }
                }
            }
        }
    }
    Refused { places, reasons }
}

/// The variable that a `variable_object` is about: it is named in a text, not in a `var_ref` attribute.
fn variable_named(content: &Content, object: &Object) -> Option<VariableId> {
    let Body::Entities { entities, .. } = &object.body else { return None };
    let named = entities.iter().find(|e| &*e.name == "var_ref").filter(|_| &*object.kind.name == "variable")?;
    match &named.value {
        Stated::Literal(id) => content.variable(id.trim()),
        Stated::Variable(id) => Some(*id),
        Stated::Nil => None,
    }
}

impl Places {
    fn of(content: &Content) -> Places {
        let tests = content.definitions.len();
        let objects = tests + content.tests.len();
        let states = objects + content.objects.len();
        let variables = states + content.states.len();
        Places { tests, objects, states, variables, all: variables + content.variables.len() }
    }

    fn step(&self, content: &Content, place: usize) -> Step {
        let mut next = Vec::new();
        let own = if let Some(test) = place.checked_sub(self.tests) {
            match place {
                _ if place < self.objects => self.of_test(content, test, &mut next),
                _ if place < self.states => self.of_object(content, place - self.objects, &mut next),
                _ if place < self.variables => self.of_state(content, place - self.states, &mut next),
                _ => self.of_variable(content, place - self.variables, &mut next),
            }
        } else {
            content.definitions[place].criteria.as_ref().map_or(1, |c| 1 + self.of_criteria(c, &mut next))
        };
        Step { place, own, next, deepest: 0 }
    }

    fn of_criteria(&self, criteria: &Criteria, next: &mut Vec<usize>) -> usize {
        let mut deepest = 0;
        for node in &criteria.children {
            match node {
                Node::Criteria(inner) => deepest = deepest.max(self.of_criteria(inner, next)),
                Node::Test { test, .. } => next.push(self.tests + test.index()),
                Node::Extend { definition, .. } => next.push(definition.index()),
            }
        }
        1 + deepest
    }

    fn of_test(&self, content: &Content, at: usize, next: &mut Vec<usize>) -> usize {
        let test = &content.tests[at];
        next.extend(test.object.map(|o| self.objects + o.index()));
        next.extend(test.states.iter().map(|s| self.states + s.index()));
        1
    }

    fn of_object(&self, content: &Content, at: usize, next: &mut Vec<usize>) -> usize {
        match &content.objects[at].body {
            Body::Set(set) => self.of_set(set, next),
            Body::Entities { entities, filters, .. } => {
                self.of_entities(entities, next);
                self.of_filters(filters, next);
                next.extend(variable_named(content, &content.objects[at]).map(|v| self.variables + v.index()));
                1
            }
        }
    }

    fn of_set(&self, set: &Set, next: &mut Vec<usize>) -> usize {
        self.of_filters(&set.filters, next);
        let mut deepest = 0;
        for operand in &set.operands {
            match operand {
                SetOperand::Set(inner) => deepest = deepest.max(self.of_set(inner, next)),
                SetOperand::Object(object) => next.push(self.objects + object.index()),
            }
        }
        1 + deepest
    }

    fn of_filters(&self, filters: &[Filter], next: &mut Vec<usize>) {
        next.extend(filters.iter().map(|f| self.states + f.state.index()));
    }

    fn of_state(&self, content: &Content, at: usize, next: &mut Vec<usize>) -> usize {
        self.of_entities(&content.states[at].entities, next);
        1
    }

    fn of_entities(&self, entities: &[Entity], next: &mut Vec<usize>) {
        for entity in entities {
            if let Stated::Variable(variable) = entity.value {
                next.push(self.variables + variable.index());
            }
            self.of_entities(&entity.fields, next);
        }
    }

    fn of_variable(&self, content: &Content, at: usize, next: &mut Vec<usize>) -> usize {
        let Source::Local(component) = &content.variables[at].source else { return 1 };
        depends_on(component, &mut |on| match on {
            Dependency::Object(object) => next.push(self.objects + object.index()),
            Dependency::Variable(variable) => next.push(self.variables + variable.index()),
            Dependency::Pattern(_) | Dependency::Now => {}
        });
        1 + depth(component)
    }
}
