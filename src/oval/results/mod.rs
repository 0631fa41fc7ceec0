//! OVAL results documents: `content + what an evaluation answers + system characteristics -> oval_results`.
//!
//! The definitions and uploaded characteristics stand in it as they were written. Characteristics of a native scan are written from the
//! objects that were resolved.

mod characteristics;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::eval::Evaluation;
use super::facts::{Collected, Flag, Item, Variables};
use super::model::{
    Body, Check, Class, Content, Criteria, DefinitionId, Entity, Existence, Node, ObjectId, Operator, OvalResult, Stated, TestId,
    VariableId,
};
use super::syschar::SystemCharacteristics;
use crate::xml::element::Element;
use crate::xml::write::Out;
use characteristics::Numbers;
pub use characteristics::{Host, Interface};

/// Values of a variable that a test repeats. All of them would make a document of the size of tests times values.
const TESTED_VALUES: usize = 1_000;

/// What was evaluated, asked as it is written.
pub trait Answers<'x>: Variables {
    fn definition(&mut self, id: DefinitionId) -> OvalResult;
    /// A node of criteria, negated if it says so.
    fn node(&mut self, node: &Node) -> OvalResult;
    fn criteria(&mut self, criteria: &Criteria) -> OvalResult;
    fn test(&mut self, id: TestId) -> OvalResult;
    /// The items of a test's object, each with its own result.
    fn tested_items(&mut self, id: TestId) -> Vec<(Arc<Item<'x>>, OvalResult)>;
    fn object(&mut self, id: ObjectId) -> Option<Arc<Collected<'x>>>;
    /// Why a test is unknown or in error.
    fn why(&mut self, id: TestId) -> Option<String>;
}

impl<'x> Answers<'x> for Evaluation<'_, 'x, '_> {
    fn definition(&mut self, id: DefinitionId) -> OvalResult {
        Evaluation::definition(self, id)
    }

    fn node(&mut self, node: &Node) -> OvalResult {
        Evaluation::node(self, node)
    }

    fn criteria(&mut self, criteria: &Criteria) -> OvalResult {
        Evaluation::criteria(self, criteria)
    }

    fn test(&mut self, id: TestId) -> OvalResult {
        Evaluation::test(self, id)
    }

    fn tested_items(&mut self, id: TestId) -> Vec<(Arc<Item<'x>>, OvalResult)> {
        Evaluation::tested_items(self, id)
    }

    fn object(&mut self, id: ObjectId) -> Option<Arc<Collected<'x>>> {
        Evaluation::object(self, id)
    }

    fn why(&mut self, id: TestId) -> Option<String> {
        Evaluation::why(self, id)
    }
}

/// Where the facts came from.
#[derive(Clone, Copy, Debug)]
pub enum Facts<'a, 'x> {
    Uploaded(&'a SystemCharacteristics<'x>),
    Native(&'a Host),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// With criteria, tests, items and the definitions themselves.
    Full,
    /// Only the result of each definition.
    Thin,
}

/// A results document before it is written.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a, 'x> {
    pub content: &'a Content,
    /// The `oval_definitions` as published. Left out: the document says so.
    pub source: Option<&'a Element<'a>>,
    pub facts: Facts<'a, 'x>,
    pub detail: Detail,
    /// The definitions to report, with those that they extend. `None`: all.
    pub only: Option<&'a BTreeSet<DefinitionId>>,
    /// `2026-11-21T19:05:02`
    pub timestamp: &'a str,
}

impl<'x> Document<'_, 'x> {
    /// The document with its XML declaration.
    pub fn write(&self, answers: &mut dyn Answers<'x>) -> String {
        let mut out = Out::document();
        self.write_into(&mut out, answers);
        out.finish()
    }

    /// The element alone, for a report in a collection.
    pub fn write_into(&self, out: &mut Out, answers: &mut dyn Answers<'x>) {
        out.open(
            "oval_results",
            &[
                ("xmlns", Some("http://oval.mitre.org/XMLSchema/oval-results-5")),
                ("xmlns:oval", Some("http://oval.mitre.org/XMLSchema/oval-common-5")),
                ("xmlns:xsi", Some("http://www.w3.org/2001/XMLSchema-instance")),
            ],
        );
        self.generator(out);
        let source = self.source.filter(|_| self.detail == Detail::Full);
        self.directives(out, source.is_some());
        if let Some(source) = source {
            out.raw(&source.standing());
        }
        let definitions = self.reported();
        let tests = tests_of(self.content, &definitions);
        out.open("results", &[]);
        out.open("system", &[]);
        self.definitions(out, &definitions, answers);
        let mut numbers = Numbers::new(self.facts);
        if self.detail == Detail::Full {
            self.tests(out, &tests, &mut numbers, answers);
        }
        match self.facts {
            Facts::Uploaded(uploaded) => out.raw(&uploaded.written.standing()),
            Facts::Native(host) => self.characteristics(out, host, &tests, &mut numbers, answers),
        }
        out.close();
        out.close();
        out.close();
    }

    fn generator(&self, out: &mut Out) {
        let version = &*self.content.schema_version;
        out.open("generator", &[]);
        out.leaf("oval:product_name", &[], "cpe:/a:muster:muster");
        out.leaf("oval:product_version", &[], env!("CARGO_PKG_VERSION"));
        out.leaf("oval:schema_version", &[], if version.is_empty() { "5.11.2" } else { version });
        out.leaf("oval:timestamp", &[], self.timestamp);
        out.close();
    }

    fn directives(&self, out: &mut Out, source: bool) {
        let content = if self.detail == Detail::Full { "full" } else { "thin" };
        out.open("directives", &[("include_source_definitions", (!source).then_some("false"))]);
        for result in ["true", "false", "unknown", "error", "not_evaluated", "not_applicable"] {
            out.empty(&format!("definition_{result}"), &[("reported", Some("true")), ("content", Some(content))]);
        }
        out.close();
    }

    fn reported(&self) -> BTreeSet<DefinitionId> {
        let mut all: BTreeSet<DefinitionId> = match self.only {
            Some(only) => only.clone(),
            None => return (0u32..).map(DefinitionId).take(self.content.definitions.len()).collect(),
        };
        let mut left: Vec<DefinitionId> = all.iter().copied().collect();
        while let Some(next) = left.pop() {
            let criteria = self.content.definitions.get(next.index()).and_then(|d| d.criteria.as_ref());
            each_node(criteria, &mut |node| {
                if let Node::Extend { definition, .. } = node
                    && all.insert(*definition)
                {
                    left.push(*definition);
                }
            });
        }
        all
    }

    fn definitions(&self, out: &mut Out, reported: &BTreeSet<DefinitionId>, answers: &mut dyn Answers<'x>) {
        if reported.is_empty() {
            return;
        }
        out.open("definitions", &[]);
        for id in reported {
            let Some(definition) = self.content.definitions.get(id.index()) else { continue };
            let (version, result) = (definition.version.to_string(), answers.definition(*id));
            let attributes = [
                ("definition_id", Some(&*definition.id)),
                ("version", Some(&*version)),
                ("class", Some(class(definition.class))),
                ("result", Some(result.name())),
            ];
            match definition.criteria.as_ref().filter(|c| self.detail == Detail::Full && !c.children.is_empty()) {
                Some(criteria) => {
                    out.open("definition", &attributes);
                    self.criteria(out, criteria, answers);
                    out.close();
                }
                None => out.empty("definition", &attributes),
            }
        }
        out.close();
    }

    fn criteria(&self, out: &mut Out, criteria: &Criteria, answers: &mut dyn Answers<'x>) {
        out.open(
            "criteria",
            &[
                ("applicability_check", criteria.applicability_check.then_some("true")),
                ("operator", Some(operator(criteria.operator))),
                ("negate", criteria.negate.then_some("true")),
                ("result", Some(answers.criteria(criteria).name())),
            ],
        );
        for node in &criteria.children {
            self.node(out, node, answers);
        }
        out.close();
    }

    fn node(&self, out: &mut Out, node: &Node, answers: &mut dyn Answers<'x>) {
        let (name, reference, id, version, negate, applicability) = match node {
            // The schema knows no criteria without children.
            Node::Criteria(criteria) if criteria.children.is_empty() => return,
            Node::Criteria(criteria) => return self.criteria(out, criteria, answers),
            Node::Test { test, negate, applicability_check, .. } => {
                let Some(test) = self.content.tests.get(test.index()) else { return };
                ("criterion", "test_ref", &test.id, test.version, *negate, *applicability_check)
            }
            Node::Extend { definition, negate, applicability_check, .. } => {
                let Some(definition) = self.content.definitions.get(definition.index()) else { return };
                ("extend_definition", "definition_ref", &definition.id, definition.version, *negate, *applicability_check)
            }
        };
        out.empty(
            name,
            &[
                ("applicability_check", applicability.then_some("true")),
                (reference, Some(id)),
                ("version", Some(&version.to_string())),
                ("negate", negate.then_some("true")),
                ("result", Some(answers.node(node).name())),
            ],
        );
    }

    fn tests(&self, out: &mut Out, tests: &BTreeSet<TestId>, numbers: &mut Numbers, answers: &mut dyn Answers<'x>) {
        if tests.is_empty() {
            return;
        }
        out.open("tests", &[]);
        for id in tests {
            let Some(test) = self.content.tests.get(id.index()) else { continue };
            let (version, result) = (test.version.to_string(), answers.test(*id));
            out.open(
                "test",
                &[
                    ("test_id", Some(&*test.id)),
                    ("version", Some(&*version)),
                    ("check_existence", Some(existence(test.existence))),
                    ("check", Some(check(test.check))),
                    ("state_operator", (test.state_operator != Operator::And).then(|| operator(test.state_operator))),
                    ("result", Some(result.name())),
                ],
            );
            if let Some(why) = answers.why(*id) {
                let level = if result == OvalResult::Error { "error" } else { "warning" };
                out.leaf("message", &[("level", Some(level))], &why);
            }
            for (item, result) in answers.tested_items(*id) {
                if let Some(number) = numbers.of(&item) {
                    out.empty("tested_item", &[("item_id", Some(&number.to_string())), ("result", Some(result.name()))]);
                }
            }
            for variable in variables_of(self.content, *id) {
                self.values(out, "tested_variable", variable, answers);
            }
            out.close();
        }
        out.close();
    }

    /// The values of a variable, for a test or a collected object.
    fn values(&self, out: &mut Out, element: &str, variable: VariableId, answers: &mut dyn Answers<'x>) {
        let Some(named) = self.content.variables.get(variable.index()) else { return };
        let values = answers.values(variable);
        if values.flag == Flag::Complete || values.flag == Flag::Incomplete {
            for value in values.values.iter().take(TESTED_VALUES) {
                out.leaf(element, &[("variable_id", Some(&*named.id))], value);
            }
        }
    }
}

fn each_node(criteria: Option<&Criteria>, each: &mut dyn FnMut(&Node)) {
    for node in criteria.map(|c| c.children.as_slice()).unwrap_or_default() {
        each(node);
        if let Node::Criteria(inner) = node {
            each_node(Some(inner), each);
        }
    }
}

fn tests_of(content: &Content, definitions: &BTreeSet<DefinitionId>) -> BTreeSet<TestId> {
    let mut tests = BTreeSet::new();
    for definition in definitions.iter().filter_map(|d| content.definitions.get(d.index())) {
        each_node(definition.criteria.as_ref(), &mut |node| {
            if let Node::Test { test, .. } = node {
                tests.insert(*test);
            }
        });
    }
    tests
}

/// The variables that a test's object and states name themselves.
fn variables_of(content: &Content, test: TestId) -> BTreeSet<VariableId> {
    let Some(test) = content.tests.get(test.index()) else { return BTreeSet::new() };
    let mut found = test.object.map(|o| variables_of_object(content, o)).unwrap_or_default();
    for state in test.states.iter().filter_map(|s| content.states.get(s.index())) {
        variables_in(&state.entities, &mut found);
    }
    found
}

fn variables_of_object(content: &Content, object: ObjectId) -> BTreeSet<VariableId> {
    let mut found = BTreeSet::new();
    if let Some(Body::Entities { entities, .. }) = content.objects.get(object.index()).map(|o| &o.body) {
        variables_in(entities, &mut found);
    }
    found
}

fn variables_in(entities: &[Entity], found: &mut BTreeSet<VariableId>) {
    for entity in entities {
        if let Stated::Variable(variable) = entity.value {
            found.insert(variable);
        }
        variables_in(&entity.fields, found);
    }
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Compliance => "compliance",
        Class::Inventory => "inventory",
        Class::Miscellaneous => "miscellaneous",
        Class::Patch => "patch",
        Class::Vulnerability => "vulnerability",
    }
}

fn operator(operator: Operator) -> &'static str {
    match operator {
        Operator::And => "AND",
        Operator::Or => "OR",
        Operator::One => "ONE",
        Operator::Xor => "XOR",
    }
}

fn check(check: Check) -> &'static str {
    match check {
        Check::All => "all",
        Check::AtLeastOne => "at least one",
        Check::NoneSatisfy => "none satisfy",
        Check::OnlyOne => "only one",
    }
}

fn existence(existence: Existence) -> &'static str {
    match existence {
        Existence::All => "all_exist",
        Existence::Any => "any_exist",
        Existence::AtLeastOne => "at_least_one_exists",
        Existence::None => "none_exist",
        Existence::OnlyOne => "only_one_exists",
    }
}
