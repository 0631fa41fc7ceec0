//! Any text as system characteristics: refused or read, and where a tree can be made of it, as the tree says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster::limits::Limits;
use muster::oval::read;
use muster::oval::syschar::{SystemCharacteristics, bind};

const OPEN: &str = r#"<oval_system_characteristics xmlns:i="x" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">"#;
const CONTENT: &str = r#"<oval_definitions><objects><file_object xmlns="x#unix" id="o:1" version="1"/></objects></oval_definitions>"#;

fuzz_target!(|text: &str| {
    let limits = Limits::default();
    let content = read::read_text(CONTENT, "f", &limits).expect("a fixed content");
    for text in [text.to_owned(), format!("{OPEN}{text}</oval_system_characteristics>")] {
        let read = SystemCharacteristics::parse(&text, &limits);
        if let Ok(read) = &read {
            bind(read, &content);
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
