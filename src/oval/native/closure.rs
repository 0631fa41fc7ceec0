//! What an object or definition leans on: a walk over definitions, tests, objects, filters, states and variables, each visited once.

use std::collections::{BTreeMap, BTreeSet};

use super::super::model::{
    Body, Component, Content, Criteria, DefinitionId, Entity, Node, Object, ObjectId, Set, SetOperand, Source, StateId, Stated, TestId,
    VariableId,
};
use super::types;
use crate::scan::table::TableId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Definition(DefinitionId),
    Test(TestId),
    Object(ObjectId),
    State(StateId),
    Variable(VariableId),
}

/// Everything that `from` leads to, itself included.
fn reach(content: &Content, from: impl IntoIterator<Item = Thing>) -> BTreeSet<Thing> {
    let mut seen = BTreeSet::new();
    let mut todo: Vec<Thing> = from.into_iter().collect();
    while let Some(thing) = todo.pop() {
        if seen.insert(thing) {
            lead(content, thing, &mut todo);
        }
    }
    seen
}

fn lead(content: &Content, thing: Thing, todo: &mut Vec<Thing>) {
    match thing {
        Thing::Definition(id) => {
            if let Some(criteria) = content.definitions.get(id.index()).and_then(|d| d.criteria.as_ref()) {
                of_criteria(criteria, todo);
            }
        }
        Thing::Test(id) => {
            let Some(test) = content.tests.get(id.index()) else { return };
            todo.extend(test.object.map(Thing::Object));
            todo.extend(test.states.iter().copied().map(Thing::State));
        }
        Thing::Object(id) => match content.objects.get(id.index()).map(|o| (&o.body, &*o.kind.name)) {
            Some((Body::Set(set), _)) => of_set(set, todo),
            Some((Body::Entities { entities, filters, .. }, kind)) => {
                entities.iter().for_each(|e| of_entity(e, todo));
                todo.extend(filters.iter().map(|f| Thing::State(f.state)));
                if kind == "variable" {
                    todo.extend(referred(content, entities).map(Thing::Variable));
                }
            }
            None => {}
        },
        Thing::State(id) => {
            if let Some(state) = content.states.get(id.index()) {
                state.entities.iter().for_each(|e| of_entity(e, todo));
            }
        }
        Thing::Variable(id) => {
            if let Some(Source::Local(component)) = content.variables.get(id.index()).map(|v| &v.source) {
                each_component(component, &mut |c| match c {
                    Component::Object { object, .. } => todo.push(Thing::Object(*object)),
                    Component::Variable(id) => todo.push(Thing::Variable(*id)),
                    _ => {}
                });
            }
        }
    }
}

fn of_criteria(criteria: &Criteria, todo: &mut Vec<Thing>) {
    for node in &criteria.children {
        match node {
            Node::Criteria(inner) => of_criteria(inner, todo),
            Node::Test { test, .. } => todo.push(Thing::Test(*test)),
            Node::Extend { definition, .. } => todo.push(Thing::Definition(*definition)),
        }
    }
}

fn of_set(set: &Set, todo: &mut Vec<Thing>) {
    todo.extend(set.filters.iter().map(|f| Thing::State(f.state)));
    for operand in &set.operands {
        match operand {
            SetOperand::Set(inner) => of_set(inner, todo),
            SetOperand::Object(id) => todo.push(Thing::Object(*id)),
        }
    }
}

fn of_entity(entity: &Entity, todo: &mut Vec<Thing>) {
    if let Stated::Variable(id) = entity.value {
        todo.push(Thing::Variable(id));
    }
    entity.fields.iter().for_each(|f| of_entity(f, todo));
}

fn each_component(component: &Component, visit: &mut dyn FnMut(&Component)) {
    visit(component);
    match component {
        Component::Literal { .. } | Component::Object { .. } | Component::Variable(_) => {}
        Component::Begin { of, .. }
        | Component::End { of, .. }
        | Component::EscapeRegex(of)
        | Component::GlobToRegex { of, .. }
        | Component::RegexCapture { of, .. }
        | Component::Split { of, .. }
        | Component::Substring { of, .. } => each_component(of, visit),
        Component::Arithmetic { of, .. }
        | Component::Concat(of)
        | Component::Count(of)
        | Component::Merge(of)
        | Component::TimeDifference { of, .. }
        | Component::Unique(of) => of.iter().for_each(|c| each_component(c, visit)),
    }
}

/// Every object that definitions lean on.
pub(super) fn objects(content: &Content, definitions: impl IntoIterator<Item = DefinitionId>) -> Vec<ObjectId> {
    let seen = reach(content, definitions.into_iter().map(Thing::Definition));
    seen.into_iter().filter_map(|t| if let Thing::Object(id) = t { Some(id) } else { None }).collect()
}

/// Every table that an object leans on.
pub(super) fn tables(content: &Content, object: ObjectId) -> BTreeSet<TableId> {
    let seen = reach(content, [Thing::Object(object)]);
    let of = |t: Thing| match t {
        Thing::Object(id) => content.objects.get(id.index()).and_then(|o| types::table(&o.kind)),
        _ => None,
    };
    seen.into_iter().filter_map(of).collect()
}

/// The variable that a `variable_object` names.
pub(super) fn named_variable(content: &Content, object: &Object) -> Option<VariableId> {
    match &object.body {
        Body::Entities { entities, .. } if &*object.kind.name == "variable" => referred(content, entities),
        _ => None,
    }
}

fn referred(content: &Content, entities: &[Entity]) -> Option<VariableId> {
    match &entities.iter().find(|e| &*e.name == "var_ref")?.value {
        Stated::Literal(id) => content.variable(id.trim()),
        Stated::Variable(id) => Some(*id),
        Stated::Nil => None,
    }
}

/// The first variable of a state for which `wanted` holds.
pub(super) fn variable_of_state(content: &Content, state: StateId, wanted: impl Fn(VariableId) -> bool) -> Option<VariableId> {
    let mut todo = Vec::new();
    content.states.get(state.index())?.entities.iter().for_each(|e| of_entity(e, &mut todo));
    todo.into_iter().find_map(|t| match t {
        Thing::Variable(id) if wanted(id) => Some(id),
        _ => None,
    })
}

/// Which entities of an object's items anything reads: states of its tests, filters, components of variables. What costs a collector
/// something is asked only then.
#[derive(Debug, Default)]
pub(super) struct Read {
    by_object: BTreeMap<ObjectId, BTreeSet<Box<str>>>,
}

impl Read {
    pub(super) fn of(content: &Content) -> Read {
        let mut read = Read::default();
        for test in &content.tests {
            if let Some(object) = test.object {
                test.states.iter().for_each(|s| read.state(content, object, *s));
            }
        }
        for variable in &content.variables {
            if let Source::Local(component) = &variable.source {
                each_component(component, &mut |c| {
                    if let Component::Object { object, field, .. } = c {
                        read.by_object.entry(*object).or_default().insert(field.clone());
                    }
                });
            }
        }
        for (id, object) in (0u32..).map(ObjectId).zip(&content.objects) {
            match &object.body {
                Body::Entities { filters, .. } => filters.iter().for_each(|f| read.state(content, id, f.state)),
                Body::Set(_) => {}
            }
        }
        read.through_sets(content);
        read
    }

    pub(super) fn of_object(&self, object: ObjectId) -> BTreeSet<Box<str>> {
        self.by_object.get(&object).cloned().unwrap_or_default()
    }

    fn state(&mut self, content: &Content, object: ObjectId, state: StateId) {
        let Some(state) = content.states.get(state.index()) else { return };
        self.by_object.entry(object).or_default().extend(state.entities.iter().map(|e| e.name.clone()));
    }

    /// What is read of a set is read of every object that it is made of.
    fn through_sets(&mut self, content: &Content) {
        for (id, object) in (0u32..).map(ObjectId).zip(&content.objects) {
            let Body::Set(set) = &object.body else { continue };
            let mut todo = Vec::new();
            of_set(set, &mut todo);
            let mut fields = self.of_object(id);
            for thing in &todo {
                if let Thing::State(s) = thing {
                    let names = content.states.get(s.index()).into_iter().flat_map(|s| s.entities.iter().map(|e| e.name.clone()));
                    fields.extend(names);
                }
            }
            let parts = reach_sets(content, todo);
            for part in parts {
                self.by_object.entry(part).or_default().extend(fields.iter().cloned());
            }
        }
    }
}

/// Objects and sets below a set.
fn reach_sets(content: &Content, from: Vec<Thing>) -> BTreeSet<ObjectId> {
    let mut seen = BTreeSet::new();
    let mut todo = from;
    while let Some(thing) = todo.pop() {
        let Thing::Object(id) = thing else { continue };
        if seen.insert(id)
            && let Some(Body::Set(set)) = content.objects.get(id.index()).map(|o| &o.body)
        {
            of_set(set, &mut todo);
        }
    }
    seen
}
