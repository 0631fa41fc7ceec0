use super::super::facts::Values;
use super::super::model::Content;
use super::super::read;
use super::super::syschar::SystemCharacteristics;
use super::*;
use crate::limits::Limits;

const CONTENT: &str = r#"<?xml version="1.0"?>
<d:oval_definitions xmlns:d="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:u="http://oval.mitre.org/XMLSchema/oval-definitions-5#unix">
<d:definitions><d:definition id="oval:x:def:1" version="2" class="compliance"><d:criteria operator="OR" negate="true"><d:criterion test_ref="oval:x:tst:1" negate="true"/>
<d:extend_definition definition_ref="oval:x:def:2" applicability_check="true"/></d:criteria></d:definition>
<d:definition id="oval:x:def:2" version="1" class="inventory"/><d:definition id="oval:x:def:3" version="1" class="patch"><d:criteria><d:criterion test_ref="oval:x:tst:2"/></d:criteria></d:definition></d:definitions>
<d:tests><u:file_test id="oval:x:tst:1" version="3" check="only one" check_existence="any_exist" state_operator="XOR"><u:object object_ref="oval:x:obj:1"/></u:file_test>
<u:file_test id="oval:x:tst:2" version="1" check="all"><u:object object_ref="oval:x:obj:1"/></u:file_test></d:tests>
<d:objects><u:file_object id="oval:x:obj:1" version="1"><u:path var_ref="oval:x:var:1"/></u:file_object></d:objects>
<d:variables><d:constant_variable id="oval:x:var:1" version="1" datatype="string"><d:value>/a&amp;b</d:value></d:constant_variable></d:variables>
</d:oval_definitions>"#;

const COLLECTED: &str = r#"<s:oval_system_characteristics xmlns:s="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5" xmlns:u="x#unix">
<s:collected_objects><s:object id="oval:x:obj:1" version="1" flag="complete"><s:reference item_ref="77"/></s:object></s:collected_objects>
<s:system_data><u:file_item id="77"><u:path>/a</u:path></u:file_item></s:system_data></s:oval_system_characteristics>"#;

struct Fixed<'x> {
    item: Arc<Item<'x>>,
}

impl Variables for Fixed<'_> {
    fn values(&mut self, _: VariableId) -> Values {
        Values { flag: Flag::Complete, datatype: Default::default(), values: vec!["/a&b".into()].into() }
    }
}

impl<'x> Answers<'x> for Fixed<'x> {
    fn definition(&mut self, id: DefinitionId) -> OvalResult {
        if id.0 == 1 { OvalResult::NotEvaluated } else { OvalResult::False }
    }
    fn node(&mut self, _: &Node) -> OvalResult {
        OvalResult::True
    }
    fn criteria(&mut self, _: &Criteria) -> OvalResult {
        OvalResult::False
    }
    fn test(&mut self, _: TestId) -> OvalResult {
        OvalResult::Error
    }
    fn tested_items(&mut self, _: TestId) -> Vec<(Arc<Item<'x>>, OvalResult)> {
        vec![(self.item.clone(), OvalResult::True)]
    }
    fn object(&mut self, _: ObjectId) -> Option<Arc<Collected<'x>>> {
        Some(Arc::new(Collected { flag: Flag::Incomplete, items: vec![self.item.clone()], message: Some("m".into()) }))
    }
    fn why(&mut self, _: TestId) -> Option<String> {
        Some("why <not>".into())
    }
}

fn content() -> Content {
    read::read_text(CONTENT, "it", &Limits::default()).unwrap()
}

fn write(document: Document<'_, '_>) -> String {
    let uploaded = SystemCharacteristics::parse(COLLECTED, &Limits::default()).unwrap();
    let item = uploaded[0].item(77).unwrap().clone();
    let text = match document.facts {
        Facts::Uploaded(_) => Document { facts: Facts::Uploaded(&uploaded[0]), ..document }.write(&mut Fixed { item }),
        Facts::Native(_) => document.write(&mut Fixed { item }),
    };
    roxmltree::Document::parse(&text).unwrap();
    text
}

#[test]
fn a_full_document_repeats_its_sources() {
    let (content, limits) = (content(), Limits::default());
    let source = Element::find(CONTENT, "oval_definitions", &limits).unwrap().unwrap();
    let uploaded = SystemCharacteristics::default();
    let facts = Facts::Uploaded(&uploaded);
    let text = write(Document {
        content: &content,
        source: Some(&source),
        facts,
        detail: Detail::Full,
        only: None,
        timestamp: "2026-11-21T19:05:02",
    });
    assert!(text.contains(CONTENT.split_once('\n').unwrap().1) && text.contains(COLLECTED));
    for part in [
        r#"<definition definition_id="oval:x:def:1" version="2" class="compliance" result="false">"#,
        r#"<criteria operator="OR" negate="true" result="false">"#,
        r#"<criterion test_ref="oval:x:tst:1" version="3" negate="true" result="true"/>"#,
        r#"<extend_definition applicability_check="true" definition_ref="oval:x:def:2" version="1" result="true"/>"#,
        r#"<definition definition_id="oval:x:def:2" version="1" class="inventory" result="not evaluated"/>"#,
        r#"<test test_id="oval:x:tst:1" version="3" check_existence="any_exist" check="only one" state_operator="XOR" result="error">"#,
        r#"<message level="error">why &lt;not&gt;</message>"#,
        r#"<tested_item item_id="77" result="true"/>"#,
        r#"<tested_variable variable_id="oval:x:var:1">/a&amp;b</tested_variable>"#,
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn only_what_was_asked_is_reported() {
    let content = content();
    let host = Host { name: "h".into(), interfaces: vec![Interface::default()], ..Host::default() };
    let only = BTreeSet::from([DefinitionId(0)]);
    let document =
        Document { content: &content, source: None, facts: Facts::Native(&host), detail: Detail::Full, only: Some(&only), timestamp: "t" };
    let text = write(document);
    assert!(text.contains("oval:x:def:2") && !text.contains("oval:x:def:3") && !text.contains("oval:x:tst:2"), "{text}");
    assert!(text.contains(r#"<directives include_source_definitions="false">"#), "{text}");
    for part in [
        "<primary_host_name>h</primary_host_name>",
        r#"<object id="oval:x:obj:1" version="1" flag="incomplete">"#,
        r#"<variable_value variable_id="oval:x:var:1">/a&amp;b</variable_value>"#,
        r#"<reference item_ref="1"/>"#,
        r##"<file_item xmlns="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5#unix" id="1" status="exists">"##,
        r#"<tested_item item_id="1" result="true"/>"#,
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let thin = write(Document { detail: Detail::Thin, ..document });
    assert!(thin.contains(r#"content="thin""#) && !thin.contains("<criteria") && !thin.contains("<test "), "{thin}");
}
