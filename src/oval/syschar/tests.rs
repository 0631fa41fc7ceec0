use super::super::facts::{Collected, Facts, Status, Values, Variables};
use super::super::model::{Content, Datatype, ObjectId, VariableId};
use super::super::read;
use super::*;
use crate::limits::Limits;

const DOCUMENT: &str = r#"<?xml version="1.0"?>
<oval_system_characteristics xmlns="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5" xmlns:i="x#independent" xmlns:xsi="y">
<generator/>
<system_info><os_name>A &amp; B</os_name><os_version>12</os_version><architecture>x86_64</architecture><primary_host_name>h</primary_host_name>
<interfaces><interface><interface_name>lo</interface_name><ip_address>127.0.0.1</ip_address><mac_address>0</mac_address></interface></interfaces></system_info>
<collected_objects>
<object id="o:1" version="3" flag="complete"><reference item_ref="7"/><reference item_ref="8"/></object>
<object id="o:2" version="1" variable_instance="2" flag="error"><message level="error">no</message><variable_value variable_id="v:1"> a</variable_value></object>
<object id="o:2" version="1" flag="complete"><reference item_ref="8"></reference></object>
<object id="o:3" version="1" flag="does not exist"/>
<object id="o:4" version="1" flag="complete"><reference item_ref="99"/></object>
</collected_objects>
<system_data>
<i:textfilecontent_item id="7"><i:path>/etc</i:path><i:text datatype="string" status="does not exist"/><i:line xsi:nil="true"/></i:textfilecontent_item>
<i:sql57_item id="8" status="error"><i:result datatype="record">
 <field name="n" datatype="int">3</field> <field name="m"> <![CDATA[<]]></field></i:result></i:sql57_item>
</system_data>
</oval_system_characteristics>"#;

fn parse(text: &str) -> Result<Vec<SystemCharacteristics<'_>>, ScanError> {
    SystemCharacteristics::parse(text, &Limits::default())
}

fn content() -> Content {
    let objects: String = (1..6).map(|n| format!("<file_object xmlns='x#unix' id='o:{n}' version='1'/>")).collect();
    read::read_text(&format!("<oval_definitions><objects>{objects}</objects></oval_definitions>"), "it", &Limits::default()).unwrap()
}

struct NoVariables;

impl Variables for NoVariables {
    fn values(&mut self, _: VariableId) -> Values {
        panic!("system characteristics need no variables")
    }
}

fn collected<'x>(bound: &Bound<'x>, object: u32) -> Option<Arc<Collected<'x>>> {
    bound.collected(ObjectId(object), &mut NoVariables)
}

#[test]
fn a_document_is_read() {
    let read = &parse(DOCUMENT).unwrap()[0];
    assert_eq!((&*read.os_name, &*read.os_version, &*read.architecture, &*read.primary_host_name), ("A & B", "12", "x86_64", "h"));
    assert_eq!(read.interfaces, [Interface { name: "lo".into(), ip_address: "127.0.0.1".into(), mac_address: "0".into() }]);
    assert!(
        read.written.text.starts_with("<oval_system_characteristics ") && read.written.text.ends_with("</oval_system_characteristics>")
    );
    assert_eq!((read.objects().len(), read.items().len()), (5, 2));
    let first = read.objects().next().unwrap();
    assert_eq!(
        (first.id, first.version, first.variable_instance, first.flag, first.references),
        ("o:1", 3, 1, Flag::Complete, &[7, 8][..])
    );
    let second = read.objects().nth(1).unwrap();
    assert_eq!((second.variable_instance, second.messages), (2, &["no".into()][..]));
    assert_eq!(second.variable_values, [("v:1".into(), " a".into())]);
    assert_eq!(read.object("o:2").count(), 2);
    let text = read.item(7).unwrap();
    assert_eq!((&*text.kind, text.status, text.entities.len()), ("textfilecontent", Status::Exists, 3));
    assert!(matches!(text.entities[0].value, Cow::Borrowed("/etc")));
    assert_eq!((text.entities[1].status, text.entities[1].nil, text.entities[2].nil), (Status::DoesNotExist, false, true));
    let record = read.item(8).unwrap();
    assert_eq!((record.status, record.entities[0].datatype, &*record.entities[0].value), (Status::Error, Datatype::Record, ""));
    let fields: Vec<_> = record.entities[0].fields.iter().map(|f| (&*f.name, f.datatype, &*f.value)).collect();
    assert_eq!(fields, [("n", Datatype::Int, "3"), ("m", Datatype::String, " <")]);
}

#[test]
fn objects_are_found_by_number() {
    let read = parse(DOCUMENT).unwrap();
    let bound = read[0].bind(&content());
    assert_eq!(bound.known(), 4);
    let first = collected(&bound, 0).unwrap();
    assert_eq!((first.flag, first.items.len()), (Flag::Complete, 2));
    let both = collected(&bound, 1).unwrap();
    assert_eq!((both.flag, both.items.len(), both.message.as_deref()), (Flag::Error, 1, Some("no")));
    assert!(Arc::ptr_eq(&first.items[1], &both.items[0]), "one item of two objects is kept once");
    assert_eq!(collected(&bound, 2).unwrap().flag, Flag::DoesNotExist);
    let dangling = collected(&bound, 3).unwrap();
    assert_eq!((dangling.flag, dangling.message.as_deref()), (Flag::Incomplete, Some("its item 99 is not in the document")));
    assert_eq!(collected(&bound, 4), None);
}

#[test]
fn every_report_of_a_collection_is_read() {
    let inner = DOCUMENT.split_once("?>").unwrap().1;
    let other = "<oval_system_characteristics><collected_objects><object id='o:5' flag='not applicable'/></collected_objects></oval_system_characteristics>";
    let text = format!(
        "<c><data><collected_objects/></data><reports><report id='r&amp;1'><content><oval_results><results><system>{other}</system></results></oval_results></content></report>
<report id='r2'>{inner}</report></reports></c>"
    );
    let read = parse(&text).unwrap();
    assert_eq!(read.iter().map(|r| r.report.as_deref().unwrap()).collect::<Vec<_>>(), ["r&1", "r2"]);
    assert_eq!(read[0].written.text, other);
    let bound = bind(&read, &content());
    assert_eq!((bound.known(), collected(&bound, 4).unwrap().flag), (5, Flag::NotApplicable));
}

#[test]
fn what_cannot_be_read_is_told() {
    let document = |objects: &str, items: &str| {
        format!(
            "<oval_system_characteristics>\n<collected_objects>{objects}</collected_objects><system_data>{items}</system_data></oval_system_characteristics>"
        )
    };
    for (text, why) in [
        ("<a/>".to_owned(), "line 1: there are no <oval_system_characteristics> in this document"),
        (document("<object flag='error'/>", ""), "line 2: a collected object without an id"),
        (document("<object id='o' flag='fine'/>", ""), "line 2: the object o has no flag, or one that does not exist"),
        (document("<object id='o' flag='error'><reference/></object>", ""), "line 2: a reference without the number of an item"),
        (document("", "<a_item id='x'/>"), "line 2: <a_item> has no number as its id"),
        (document("", "<a_item id='1' status='x'/>"), "line 2: a status that does not exist"),
        (document("", "<a_item id='1'/>\n<a_item id='1'/>"), "line 3: a second item with the number 1"),
        (document("", "<a_item id='1'><b datatype='x'/></a_item>"), "line 2: `x` is not a datatype"),
        (document("", "<a_item id='1'><b status='x'/></a_item>"), "line 2: `x` is not a status"),
        ("<oval_system_characteristics><collected_objects>".to_owned(), "line 1: the document ends inside <collected_objects>"),
    ] {
        assert_eq!(parse(&text).unwrap_err().to_string(), why);
    }
    let often = format!("<a>{}</a>", "<oval_system_characteristics/>".repeat(65));
    assert_eq!(parse(&often).unwrap_err().why, "over 64 <oval_system_characteristics> in one document");
    let limits = Limits { rows: 2, ..Limits::default() };
    assert_eq!(SystemCharacteristics::parse(DOCUMENT, &limits).unwrap_err().why, "more objects and items than are taken (limits.rows)");
    let many = document("", &format!("<a_item id='1'>{}</a_item>", "<b/>".repeat(40)));
    assert!(SystemCharacteristics::parse(&many, &limits).unwrap_err().why.starts_with("over 16 times more parts"));
}
