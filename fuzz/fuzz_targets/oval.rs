//! Any text as OVAL definitions: refused, or content in which every number leads somewhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster::limits::Limits;
use muster::oval::model::{Content, Criteria, Node};
use muster::oval::read;

const OPEN: &str = r#"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:i="x#independent">"#;

fn whole(content: &Content, criteria: &Criteria) {
    for node in &criteria.children {
        match node {
            Node::Criteria(inner) => whole(content, inner),
            Node::Test { test, .. } => assert!(test.index() < content.tests.len()),
            Node::Extend { definition, .. } => assert!(definition.index() < content.definitions.len()),
        }
    }
}

fuzz_target!(|text: &str| {
    let limits = Limits::default();
    for text in [text.to_owned(), format!("{OPEN}{text}</oval_definitions>")] {
        if let Ok(content) = read::read_text(&text, "f", &limits) {
            content.definitions.iter().filter_map(|d| d.criteria.as_ref()).for_each(|c| whole(&content, c));
            assert!(content.tests.iter().all(|t| t.object.is_none_or(|o| o.index() < content.objects.len())));
            assert!(content.tests.is_sorted_by(|a, b| a.id <= b.id));
        }
    }
});
