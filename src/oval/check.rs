//! Whether a stored content holds together: what evaluation relies on, asked once when a pack is opened.
//!
//! The reader makes only such content; a pack's file may be anything.

use super::model::{Body, Component, Content, Criteria, Entity, Filter, Node, Set, SetOperand, Source, Stated};

/// Deepest nesting of criteria, sets and components; limits.xml_depth keeps the reader far below.
const DEPTH_MAX: usize = 1000;

impl Content {
    /// INVARIANT: every number names an entry of its list, lists are sorted by id without doubles, nesting is bounded.
    /// Cycles (extend_definition, variables, sets) are the evaluator's to end.
    pub fn check(&self) -> Result<(), String> {
        sorted("definitions", self.definitions.iter().map(|d| &d.id))?;
        sorted("tests", self.tests.iter().map(|d| &d.id))?;
        sorted("objects", self.objects.iter().map(|d| &d.id))?;
        sorted("states", self.states.iter().map(|d| &d.id))?;
        sorted("variables", self.variables.iter().map(|d| &d.id))?;
        let definitions = self.definitions.iter().filter_map(|d| d.criteria.as_ref()).all(|c| self.criteria(c, 0));
        let tests = self
            .tests
            .iter()
            .all(|t| t.object.is_none_or(|o| o.index() < self.objects.len()) && t.states.iter().all(|s| s.index() < self.states.len()));
        let objects = self.objects.iter().all(|o| match &o.body {
            Body::Set(set) => self.set(set, 0),
            Body::Entities { entities, filters, .. } => self.entities(entities, 0) && self.filters(filters),
        });
        let states = self.states.iter().all(|s| self.entities(&s.entities, 0));
        let variables = self.variables.iter().all(|v| match &v.source {
            Source::Local(component) => self.component(component, 0),
            Source::Constant(_) | Source::External { .. } => true,
        });
        for (what, fine) in [("definition", definitions), ("test", tests), ("object", objects), ("state", states), ("variable", variables)]
        {
            if !fine {
                return Err(format!("a {what} of `{}` names something that is not there, or is nested too deep", self.name));
            }
        }
        Ok(())
    }

    fn criteria(&self, criteria: &Criteria, depth: usize) -> bool {
        depth < DEPTH_MAX
            && criteria.children.iter().all(|node| match node {
                Node::Criteria(inner) => self.criteria(inner, depth + 1),
                Node::Test { test, .. } => test.index() < self.tests.len(),
                Node::Extend { definition, .. } => definition.index() < self.definitions.len(),
            })
    }

    fn set(&self, set: &Set, depth: usize) -> bool {
        depth < DEPTH_MAX
            && self.filters(&set.filters)
            && set.operands.iter().all(|operand| match operand {
                SetOperand::Set(inner) => self.set(inner, depth + 1),
                SetOperand::Object(object) => object.index() < self.objects.len(),
            })
    }

    fn filters(&self, filters: &[Filter]) -> bool {
        filters.iter().all(|f| f.state.index() < self.states.len())
    }

    fn entities(&self, entities: &[Entity], depth: usize) -> bool {
        depth < DEPTH_MAX
            && entities.iter().all(|e| {
                let named = !matches!(e.value, Stated::Variable(v) if v.index() >= self.variables.len());
                named && self.entities(&e.fields, depth + 1)
            })
    }

    fn component(&self, component: &Component, depth: usize) -> bool {
        let all = |of: &[Component]| of.iter().all(|c| self.component(c, depth + 1));
        depth < DEPTH_MAX
            && match component {
                Component::Literal { .. } => true,
                Component::Object { object, .. } => object.index() < self.objects.len(),
                Component::Variable(v) => v.index() < self.variables.len(),
                Component::Arithmetic { of, .. }
                | Component::Concat(of)
                | Component::Count(of)
                | Component::Merge(of)
                | Component::TimeDifference { of, .. }
                | Component::Unique(of) => all(of),
                Component::Begin { of, .. }
                | Component::End { of, .. }
                | Component::EscapeRegex(of)
                | Component::GlobToRegex { of, .. }
                | Component::RegexCapture { of, .. }
                | Component::Split { of, .. }
                | Component::Substring { of, .. } => self.component(of, depth + 1),
            }
    }
}

fn sorted<'i>(what: &str, ids: impl Iterator<Item = &'i Box<str>>) -> Result<(), String> {
    let ids: Vec<&Box<str>> = ids.collect();
    if u32::try_from(ids.len()).is_err() {
        return Err(format!("too many {what}"));
    }
    match ids.array_windows().find(|[a, b]| a >= b) {
        Some([_, b]) => Err(format!("{what} are not in order at `{b}`")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Check, Existence, Kind, ObjectId, Operator, Test};
    use super::*;

    fn test(id: &str, object: Option<u32>) -> Test {
        Test {
            id: id.into(),
            version: 1,
            kind: Kind { family: "independent".into(), name: "family".into() },
            comment: "".into(),
            check: Check::All,
            existence: Existence::AtLeastOne,
            state_operator: Operator::And,
            object: object.map(ObjectId),
            states: Vec::new(),
        }
    }

    #[test]
    fn what_names_nothing_and_what_is_out_of_order_is_found() {
        let fine = Content { tests: vec![test("a", None), test("b", None)], ..Content::default() };
        assert_eq!(fine.check(), Ok(()));
        let double = Content { tests: vec![test("a", None), test("a", None)], ..Content::default() };
        assert!(double.check().is_err_and(|e| e.contains("order")));
        let dangling = Content { tests: vec![test("a", Some(0))], ..Content::default() };
        assert!(dangling.check().is_err_and(|e| e.contains("names something")));
    }
}
