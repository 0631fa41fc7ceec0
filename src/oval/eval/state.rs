//! One item against one state.

use std::sync::Arc;

use super::super::facts::{Item, ItemEntity, Status};
use super::super::model::{Datatype, Existence, OvalResult, StateId, VariableId};
use super::super::truth::{self, Compat, Counts, Statuses};
use super::super::value::Stated;
use super::super::variable::Computed;
use super::prepare::{Patterns, Prepared, PreparedEntity, PreparedState, Want, stated};

/// The values that slots are filled with. `None` in a slot: its variable has none, every comparison is an error.
#[derive(Debug, Default)]
pub(super) struct Slots {
    filled: Vec<Option<Filled>>,
    patterns: Patterns,
}

type Filled = Option<Arc<[Stated]>>;

/// The result of an item by its status alone; the outer `None`: it is to be compared, the inner: it has no part in the result.
pub(super) fn item_status(status: Status, compat: Compat) -> Option<Option<OvalResult>> {
    match (status, compat) {
        (Status::Exists, _) => None,
        (Status::DoesNotExist, Compat::Specification) => Some(None),
        (Status::NotCollected, Compat::Specification) => Some(Some(OvalResult::Unknown)),
        // OpenSCAP: (2) a missing item is false, one that was not collected an error.
        (Status::DoesNotExist, Compat::OpenScap) => Some(Some(OvalResult::False)),
        (Status::NotCollected, Compat::OpenScap) | (Status::Error, _) => Some(Some(OvalResult::Error)),
    }
}

impl Prepared {
    /// Fills the slots of a state.
    pub(super) fn fill(&self, state: StateId, slots: &mut Slots, values: &mut dyn FnMut(VariableId) -> Arc<Computed>) {
        match self.states.get(state.index()) {
            Some(state) if state.dynamic && !state.refused => state.entities.iter().for_each(|e| self.fill_entity(e, slots, values)),
            _ => {}
        }
    }

    fn fill_entity(&self, entity: &PreparedEntity, slots: &mut Slots, values: &mut dyn FnMut(VariableId) -> Arc<Computed>) {
        match &entity.want {
            Want::Record(fields) => fields.iter().for_each(|f| self.fill_entity(f, slots, values)),
            Want::Slot(at) => {
                if slots.filled.is_empty() {
                    slots.filled.resize(self.slots.len(), None);
                }
                if slots.filled[*at].is_some() {
                    return;
                }
                let slot = self.slots[*at];
                let computed = values(slot.variable);
                let patterns = &mut slots.patterns;
                let filled = stated((slot.datatype, slot.operation), &computed.values, &computed.datatypes, self.compat, &mut |p| {
                    self.patterns.known(p).unwrap_or_else(|| patterns.get(p, &self.limits))
                });
                slots.filled[*at] = Some(filled.map(Arc::from));
            }
            _ => {}
        }
    }

    pub(super) fn state(&self, state: StateId, item: &Item<'_>, slots: &Slots) -> OvalResult {
        match self.states.get(state.index()) {
            Some(state) if !state.refused => match state.entities.as_slice() {
                [only] => self.entity(only, item, slots),
                entities => truth::operator(&Counts::of(entities.iter().map(|e| self.entity(e, item, slots))), state.operator),
            },
            _ => OvalResult::Error,
        }
    }

    fn entity(&self, wanted: &PreparedEntity, item: &Item<'_>, slots: &Slots) -> OvalResult {
        let (mut statuses, mut results) = (Statuses::default(), Counts::default());
        for entity in &item.entities {
            let same = *entity.name == *wanted.name;
            // OpenSCAP: (6) existence counts all entities of the item.
            if same || self.compat == Compat::OpenScap {
                statuses.add(entity.status);
            }
            if same {
                results.add(self.one(wanted, entity, slots));
            }
        }
        if self.compat == Compat::Specification && statuses == Statuses::default() {
            // What an item does not say of itself was not collected.
            statuses.add(Status::NotCollected);
        }
        match truth::entity_existence(&statuses, wanted.existence, self.compat) {
            // That none exists leaves nothing to be compared.
            OvalResult::True if self.compat == Compat::Specification && wanted.existence == Existence::None => OvalResult::True,
            OvalResult::True => truth::check(&results, wanted.entity_check, self.compat),
            result => result,
        }
    }

    fn one(&self, wanted: &PreparedEntity, entity: &ItemEntity<'_>, slots: &Slots) -> OvalResult {
        match (entity.status, self.compat) {
            (Status::DoesNotExist, _) => return OvalResult::False,
            (Status::Error, Compat::Specification) => return OvalResult::Error,
            (Status::NotCollected, Compat::Specification) => return OvalResult::Unknown,
            (Status::Exists, Compat::Specification) if entity.nil => return OvalResult::NotEvaluated,
            // OpenSCAP: what is in error or was not collected is compared as what it says.
            _ => {}
        }
        match &wanted.want {
            Want::One(stated) => stated.compare(&entity.value, self.compat),
            Want::Many(many) => self.many(many, wanted, entity),
            Want::Error(_) => OvalResult::Error,
            Want::Slot(at) => match slots.filled.get(*at) {
                Some(Some(Some(many))) => self.many(many, wanted, entity),
                _ => OvalResult::Error,
            },
            Want::Record(fields) => self.record(fields, entity, slots),
        }
    }

    fn many(&self, many: &[Stated], wanted: &PreparedEntity, entity: &ItemEntity<'_>) -> OvalResult {
        let results = Counts::of(many.iter().map(|s| s.compare(&entity.value, self.compat)));
        truth::check(&results, wanted.var_check, self.compat)
    }

    /// All fields that the state names must hold; one that the item does not have is an error.
    fn record(&self, fields: &[PreparedEntity], entity: &ItemEntity<'_>, slots: &Slots) -> OvalResult {
        if self.compat == Compat::Specification && entity.datatype != Datatype::Record {
            return OvalResult::Error;
        }
        let field = |wanted: &PreparedEntity| {
            let mut same = entity.fields.iter().filter(|f| *f.name == *wanted.name).peekable();
            if same.peek().is_none() {
                return OvalResult::Error;
            }
            let results = match self.compat {
                Compat::Specification => Counts::of(same.map(|f| self.one(wanted, f, slots))),
                // OpenSCAP: the status of a field does not count.
                Compat::OpenScap => Counts::of(same.map(|f| self.one(wanted, &ItemEntity { status: Status::Exists, ..f.clone() }, slots))),
            };
            truth::check(&results, wanted.entity_check, self.compat)
        };
        truth::operator(&Counts::of(fields.iter().map(field)), Default::default())
    }

    pub(super) fn prepared_state(&self, state: StateId) -> Option<&PreparedState> {
        self.states.get(state.index())
    }
}

impl Slots {
    /// Why an entity of an item is in error against what is wanted of it, if a reason can be told.
    pub(super) fn why(&self, wanted: &PreparedEntity, entity: &ItemEntity<'_>, compat: Compat) -> Option<String> {
        match &wanted.want {
            Want::One(stated) => stated.why(&entity.value, compat),
            Want::Many(many) => many.iter().find_map(|s| s.why(&entity.value, compat)),
            Want::Error(why) => Some(why.to_string()),
            Want::Slot(at) => match self.filled.get(*at) {
                Some(Some(Some(many))) => many.iter().find_map(|s| s.why(&entity.value, compat)),
                _ => Some("its variable has no values".to_string()),
            },
            Want::Record(fields) => fields.iter().find_map(|wanted| match entity.fields.iter().find(|f| *f.name == *wanted.name) {
                Some(field) => self.why(wanted, field, compat),
                None => Some(format!("the record has no field {}", wanted.name)),
            }),
        }
    }
}
