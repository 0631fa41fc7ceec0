//! Why a test is unknown or in error, in words.

use super::super::facts::{Collected, Flag, Item, Status};
use super::super::model::{OvalResult, StateId, TestId, VariableId};
use super::super::truth::Compat;
use super::prepare::Want;
use super::run::Evaluation;

impl Evaluation<'_, '_, '_> {
    /// `None` for tests that are true, false, or not applicable.
    pub fn why(&mut self, id: TestId) -> Option<String> {
        let result = self.test(id);
        if matches!(result, OvalResult::True | OvalResult::False | OvalResult::NotApplicable) {
            return None;
        }
        let prepared = self.prepared;
        if let Some(why) = prepared.refused.test(id) {
            return Some(why.to_string());
        }
        let test = &prepared.content.tests[id.index()];
        let Some(object) = test.object else {
            let problem = prepared.content.problem(&test.id).map(ToString::to_string);
            return Some(problem.unwrap_or_else(|| "the test asks for nothing that can be collected".to_string()));
        };
        let name = &prepared.content.objects[object.index()].id;
        let Some(collected) = self.object(object) else { return Some(format!("the upload says nothing of object {name}")) };
        let said = collected.message.as_deref().map(|m| format!(": {m}")).unwrap_or_default();
        match collected.flag {
            Flag::Error => return Some(format!("object {name} was not collected because of an error{said}")),
            Flag::NotCollected => return Some(format!("object {name} was not collected{said}")),
            _ => {}
        }
        let of_items = self.why_items(&collected, &test.states, result);
        match (of_items, collected.flag) {
            (Some(why), _) => Some(why),
            (None, Flag::Incomplete) => Some(format!("object {name} was collected only in part{said}")),
            (None, _) => Some(format!("object {name} has no items that the test could be decided by")),
        }
    }

    fn why_items(&mut self, collected: &Collected<'_>, states: &[StateId], result: OvalResult) -> Option<String> {
        for item in &collected.items {
            match item.status {
                Status::Error => return Some(format!("an item of type {} was not collected because of an error", item.kind)),
                Status::NotCollected => return Some(format!("an item of type {} was not collected", item.kind)),
                _ => {}
            }
            for state in states {
                self.fill(*state);
                if self.prepared.state(*state, item, &self.slots) == result
                    && let Some(why) = self.why_state(*state, item)
                {
                    return Some(why);
                }
            }
        }
        None
    }

    fn why_state(&mut self, id: StateId, item: &Item<'_>) -> Option<String> {
        let prepared = self.prepared;
        let name = &prepared.content.states[id.index()].id;
        if let Some(why) = prepared.refused.state(id) {
            return Some(format!("state {name}: {why}"));
        }
        for wanted in &prepared.prepared_state(id)?.entities {
            let mut same = item.entities.iter().filter(|e| *e.name == *wanted.name).peekable();
            if same.peek().is_none() {
                return Some(format!("state {name} asks for {}, which an item of type {} does not have", wanted.name, item.kind));
            }
            if let Want::Slot(at) = wanted.want
                && let Some(why) = self.why_variable(prepared.slots[at].variable)
            {
                return Some(format!("state {name}: {why}"));
            }
            for entity in same {
                let status = match entity.status {
                    Status::Error if prepared.compat == Compat::Specification => Some("is in error"),
                    Status::NotCollected if prepared.compat == Compat::Specification => Some("was not collected"),
                    Status::Exists if entity.nil => Some("is nil"),
                    _ => None,
                };
                let why = status.map(String::from).or_else(|| self.slots.why(wanted, entity, prepared.compat));
                if let Some(why) = why {
                    return Some(format!("state {name}, {}: {why}", wanted.name));
                }
            }
        }
        None
    }

    /// Why a variable has no values.
    pub fn why_variable(&mut self, id: VariableId) -> Option<String> {
        let computed = super::super::variable::Env::variable(self, id);
        let flag = computed.values.flag;
        if matches!(flag, Flag::Complete | Flag::Incomplete) {
            return None;
        }
        let name = &self.prepared.content.variables[id.index()].id;
        Some(match &computed.why {
            Some(why) => format!("variable {name}: {why}"),
            None => format!("variable {name} has no values"),
        })
    }
}
