//! Definitions over results of tests that somebody else has: a fleet adds up what rows said.

use super::super::model::{Criteria, DefinitionId, Node, OvalResult, TestId};
use super::super::truth::{self, Counts};
use super::prepare::Prepared;

impl Prepared {
    /// The result of a definition. `memo` has a place for each definition of the content.
    pub fn definition_by(
        &self,
        id: DefinitionId,
        memo: &mut [Option<OvalResult>],
        test: &mut dyn FnMut(TestId) -> OvalResult,
    ) -> OvalResult {
        if let Some(known) = memo.get(id.index()).copied().flatten() {
            return known;
        }
        // INVARIANT: what refers to itself is refused, so that this ends.
        let result = match self.content.definitions.get(id.index()) {
            Some(definition) if self.refused.definition(id).is_none() => {
                definition.criteria.as_ref().map_or(OvalResult::NotEvaluated, |c| self.criteria_by(c, memo, test))
            }
            _ => OvalResult::Error,
        };
        if let Some(place) = memo.get_mut(id.index()) {
            *place = Some(result);
        }
        result
    }

    fn criteria_by(&self, criteria: &Criteria, memo: &mut [Option<OvalResult>], test: &mut dyn FnMut(TestId) -> OvalResult) -> OvalResult {
        let mut counts = Counts::default();
        for child in &criteria.children {
            let (result, negate) = match child {
                Node::Criteria(inner) => (self.criteria_by(inner, memo, test), false),
                Node::Test { test: id, negate, .. } => (self.test_by(*id, test), *negate),
                Node::Extend { definition, negate, .. } => (self.definition_by(*definition, memo, test), *negate),
            };
            counts.add(if negate { truth::negate(result) } else { result });
        }
        let result = truth::operator(&counts, criteria.operator);
        if criteria.negate { truth::negate(result) } else { result }
    }

    fn test_by(&self, id: TestId, test: &mut dyn FnMut(TestId) -> OvalResult) -> OvalResult {
        if self.refused.test(id).is_some() { OvalResult::Error } else { test(id) }
    }
}
