//! Any text as system characteristics: refused, or read and evaluated, and where a tree can be made of it, as the tree says.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use muster::limits::Limits;
use muster::oval::eval::{Compat, Evaluation, Prepared};
use muster::oval::model::DefinitionId;
use muster::oval::read;
use muster::oval::syschar::{SystemCharacteristics, bind};

const OPEN: &str = r#"<oval_system_characteristics xmlns:i="x" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">"#;
const CONTENT: &str = r#"<oval_definitions><definitions><definition id="oval:d:def:1" version="1" class="compliance"><metadata><title/><description/></metadata>
<criteria><criterion test_ref="oval:t:tst:1"/></criteria></definition></definitions>
<tests><file_test xmlns="x#unix" id="oval:t:tst:1" version="1" check="at least one" comment="c"><object object_ref="o:1"/><state state_ref="oval:s:ste:1"/></file_test></tests>
<objects><file_object xmlns="x#unix" id="o:1" version="1"/></objects>
<states><file_state xmlns="x#unix" id="oval:s:ste:1" version="1"><size datatype="int" operation="greater than">3</size>
<owner operation="pattern match" entity_check="only one">^a+$</owner></file_state></states></oval_definitions>"#;

fuzz_target!(|text: &str| {
    let limits = Limits::default();
    let content = Arc::new(read::read_text(CONTENT, "f", &limits).expect("a fixed content"));
    assert!(content.problems.is_empty(), "{:?}", content.problems);
    let prepared = Prepared::new(content.clone(), &BTreeMap::new(), Compat::OpenScap, &limits);
    for text in [text.to_owned(), format!("{OPEN}{text}</oval_system_characteristics>")] {
        let read = SystemCharacteristics::parse(&text, &limits);
        if let Ok(read) = &read {
            let facts = bind(read, &content);
            Evaluation::new(&prepared, &facts, 0).definition(DefinitionId(0));
            let items: usize = read.iter().map(|r| r.items().len()).sum();
            if let Ok(tree) = muster::xml::tree(&text, &limits) {
                let said = tree.descendants().filter(|n| n.is_element() && n.tag_name().name() == "oval_system_characteristics");
                let data = said.filter(|n| n.ancestors().skip(1).all(|a| a.tag_name().name() != "oval_system_characteristics"));
                let data = data.flat_map(|n| n.children().filter(|c| c.tag_name().name() == "system_data"));
                assert_eq!(items, data.flat_map(|d| d.children()).filter(roxmltree::Node::is_element).count());
            }
        }
    }
});
