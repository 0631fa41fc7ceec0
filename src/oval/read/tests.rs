use super::super::model::*;
use super::*;

fn document(inner: &str) -> String {
    format!(
        r##"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:o="http://oval.mitre.org/XMLSchema/oval-common-5"
 xmlns:i="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<generator><o:schema_version platform="x">1</o:schema_version><o:schema_version>5.11.2</o:schema_version></generator>
{inner}
</oval_definitions>"##
    )
}

fn content(inner: &str) -> Content {
    read_text(&document(inner), "it.xml", &Limits::default()).unwrap()
}

fn definition(id: &str, criteria: &str) -> String {
    format!(r#"<definition id="{id}" version="1" class="compliance"><metadata><title>t</title></metadata>{criteria}</definition>"#)
}

fn first(content: &Content) -> &Criteria {
    content.definitions[0].criteria.as_ref().unwrap()
}

#[test]
fn every_part_of_a_test_is_read() {
    let content = content(
        r#"<definitions><definition id="d:2" version="7" class="patch" deprecated="true"><metadata><title>T &amp; t</title>
<reference source="CVE" ref_id="CVE-1" ref_url="u"/><description>d</description></metadata>
<criteria operator="OR" negate="1" comment="c"><criterion test_ref="t:1" negate="true" applicability_check="true"/><criteria operator="XOR">
<extend_definition definition_ref="d:1"/></criteria></criteria></definition><definition id="d:1" version="1" class="inventory"/></definitions>
<tests><textfilecontent54_test xmlns="http://x/y#independent" id="t:1" version="2" check="none exist" check_existence="only_one_exists" state_operator="ONE" comment="c">
<object object_ref="o:1"/><state state_ref="s:2"/><state state_ref="s:1"/></textfilecontent54_test>
<i:unknown_test id="t:0" version="1" check="all" comment="by hand"/></tests>
<objects><i:textfilecontent54_object id="o:1" version="1"><notes><note>n</note></notes><i:behaviors ignore_case="true" max_depth="1"/>
<i:path operation="pattern match" var_ref="v:1" var_check="at least one"/><i:filename xsi:nil="true"/><i:pattern> a<!-- no -->b<![CDATA[<c>]]> </i:pattern>
<i:instance datatype="int" operation="greater than or equal">1</i:instance><filter action="include">s:1</filter><filter>s:2</filter></i:textfilecontent54_object></objects>
<states><i:textfilecontent54_state id="s:1" version="1" operator="OR"><i:text mask="true" entity_check="only one" check_existence="any_exist">x</i:text></i:textfilecontent54_state>
<i:sql57_state id="s:2" version="1"><i:result datatype="record"><field name="a" datatype="int" operation="bitwise and">3</field></i:result></i:sql57_state></states>
<variables><constant_variable id="v:1" version="1" datatype="string" comment="c"><value> a</value><value/></constant_variable></variables>"#,
    );
    assert_eq!(content.problems, []);
    assert_eq!((content.name.as_str(), content.schema_version.as_str()), ("it.xml", "5.11.2"));
    let definition = &content.definitions[1];
    assert_eq!((definition.version, definition.class, definition.deprecated, &*definition.title), (7, Class::Patch, true, "T & t"));
    assert_eq!(definition.references[0], Reference { source: "CVE".into(), id: "CVE-1".into(), url: "u".into() });
    assert_eq!(content.definitions[0].criteria, None);
    let criteria = definition.criteria.as_ref().unwrap();
    assert_eq!((criteria.operator, criteria.negate, criteria.children.len()), (Operator::Or, true, 2));
    assert!(matches!(criteria.children[0], Node::Test { test: TestId(1), negate: true, applicability_check: true, .. }));
    assert!(
        matches!(&criteria.children[1], Node::Criteria(c) if matches!(c.children[0], Node::Extend { definition: DefinitionId(0), .. }))
    );
    let test = &content.tests[1];
    assert_eq!((&*test.kind.family, &*test.kind.name), ("independent", "textfilecontent54"));
    assert_eq!((test.check, test.existence, test.state_operator), (Check::NoneSatisfy, Existence::OnlyOne, Operator::One));
    assert_eq!((test.object, &*test.states), (Some(ObjectId(0)), &[StateId(1), StateId(0)][..]));
    assert_eq!(content.tests[0].object, None);
    let Body::Entities { entities, behaviors, filters } = &content.objects[0].body else { panic!("a set") };
    assert_eq!(behaviors[1], ("max_depth".into(), "1".into()));
    assert_eq!(filters[..], [Filter { state: StateId(0), include: true }, Filter { state: StateId(1), include: false }]);
    assert_eq!(entities[0].value, Stated::Variable(VariableId(0)));
    assert_eq!((entities[0].operation, entities[0].var_check), (Operation::PatternMatch, Check::AtLeastOne));
    assert_eq!(entities[1].value, Stated::Nil);
    assert_eq!(entities[2].value, Stated::Literal(" ab<c> ".into()));
    assert_eq!((entities[3].datatype, entities[3].operation), (Datatype::Int, Operation::GreaterThanOrEqual));
    let text = &content.states[0].entities[0];
    assert_eq!((content.states[0].operator, text.mask), (Operator::Or, true));
    assert_eq!((text.entity_check, text.existence), (Check::OnlyOne, Existence::Any));
    let record = &content.states[1].entities[0];
    assert_eq!((record.datatype, &*record.fields[0].name, record.fields[0].operation), (Datatype::Record, "a", Operation::BitwiseAnd));
    assert_eq!(content.variables[0].source, Source::Constant(vec![" a".into(), "".into()]));
}

#[test]
fn sets_and_functions_are_read() {
    let content = content(
        r#"<objects><i:file_object id="o:1" version="1"><set set_operator="COMPLEMENT"><set><object_reference> o:2 </object_reference></set>
<set set_operator="INTERSECTION"><object_reference>o:2</object_reference><object_reference>o:3</object_reference><filter>s:1</filter></set></set></i:file_object>
<i:file_object id="o:2" version="1"/><i:variable_object id="o:3" version="1"><i:var_ref>v:1</i:var_ref></i:variable_object></objects>
<states><i:file_state id="s:1" version="1"/></states><variables>
<local_variable id="v:1" version="1" datatype="int" comment="c"><arithmetic arithmetic_operation="add"><literal_component datatype="int">1</literal_component>
<count><merge><object_component object_ref="o:2" item_field="f" record_field="r"/></merge></count></arithmetic></local_variable>
<local_variable id="v:2" version="1" datatype="string" comment="c"><concat><begin character="/"><end character="x"><variable_component var_ref="v:1"/></end></begin>
<split delimiter=","><substring substring_start="2" substring_length="-1"><regex_capture pattern="(a)"><escape_regex><glob_to_regex glob_noescape="true">
<literal_component> a</literal_component></glob_to_regex></escape_regex></regex_capture></substring></split>
<unique><time_difference format_2="seconds_since_epoch"><literal_component>1</literal_component></time_difference></unique></concat></local_variable>
<external_variable id="v:3" version="1" datatype="int" comment="c"><possible_value hint="h">1</possible_value>
<possible_restriction operator="OR"><restriction operation="greater than">3</restriction></possible_restriction></external_variable></variables>"#,
    );
    assert_eq!(content.problems, []);
    let Body::Set(set) = &content.objects[0].body else { panic!("no set") };
    assert_eq!((set.operator, set.operands.len()), (SetOperator::Complement, 2));
    assert!(matches!(&set.operands[1], SetOperand::Set(s) if s.filters.len() == 1 && s.operands[1] == SetOperand::Object(ObjectId(2))));
    let Source::Local(Component::Arithmetic { operation: Arithmetic::Add, of }) = &content.variables[0].source else { panic!("no sum") };
    let object = Component::Object { object: ObjectId(1), field: "f".into(), record_field: Some("r".into()) };
    assert_eq!(of[1], Component::Count(vec![Component::Merge(vec![object])]));
    let text = format!("{:?}", content.variables[1].source);
    assert!(
        text.contains(
            "Substring { start: 2, length: -1, of: RegexCapture { pattern: \"(a)\", of: EscapeRegex(GlobToRegex { noescape: true"
        ),
        "{text}"
    );
    assert!(text.contains("TimeDifference { first: YearMonthDay, second: SecondsSinceEpoch"), "{text}");
    let restriction = Restriction { operator: Operator::Or, conditions: vec![(Operation::GreaterThan, "3".into())] };
    assert_eq!(content.variables[2].source, Source::External { possible_values: vec!["1".into()], restrictions: vec![restriction] });
}

#[test]
fn what_names_nothing_is_unknown_and_the_rest_stays() {
    let criteria = r#"<criteria><criterion test_ref="t:0"/><criterion test_ref="t:9"/><criterion test_ref="t:1"/></criteria>"#;
    let content = content(&format!(
        r#"<definitions>{}{}</definitions>
<tests><i:file_test id="t:1" version="1" check="all" comment="c"><object object_ref="o:1"/></i:file_test>
<i:file_test id="t:2" version="1" check="some" comment="c"><object object_ref="o:2"/></i:file_test>
<i:file_test id="t:3" version="1" check="all" comment="c"><object object_ref="o:2"/><state state_ref="s:1"/></i:file_test>
<i:file_test id="t:3" version="1" check="all" comment="c"><object object_ref="o:2"/></i:file_test>
<i:file_test id="t:4" version="x" check="all" comment="c"><object object_ref="o:2"/></i:file_test></tests>
<objects><i:file_object id="o:1" version="1"><i:path var_ref="v:1"/></i:file_object><i:file_object id="o:2" version="1"/></objects>
<states><i:file_state id="s:1" version="1"><i:size datatype="number">1</i:size></i:file_state></states>
<variables><local_variable id="v:1" version="1" datatype="string" comment="c"><rot13/></local_variable></variables>"#,
        definition("d:1", criteria),
        definition("d:2", "<criteria operator=\"NAND\"><criterion test_ref=\"t:4\"/></criteria>"),
    ));
    let problems: Vec<String> = content.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "line 4: d:1: there is no test `t:0`",
            "line 4: d:1: there is no test `t:9`",
            "line 4: d:2: `NAND` is not a value of `operator`",
            "line 5: t:1: needs what cannot be used: v:1: <rot13> is not a function or component that this version knows",
            "line 6: t:2: `some` is not a value of `check`",
            "line 7: t:3: needs what cannot be used: s:1: `number` is not a value of `datatype`",
            "line 8: t:3: this id is taken by an earlier element; this one is left out",
            "line 9: t:4: `x` is not a value of `version`",
            "line 11: s:1: `number` is not a value of `datatype`",
            "line 12: v:1: <rot13> is not a function or component that this version knows",
        ]
    );
    let objects: Vec<(&str, Option<ObjectId>)> = content.tests.iter().map(|t| (&*t.id, t.object)).collect();
    let known = Some(ObjectId(1));
    assert_eq!(objects, [("d:2", None), ("t:0", None), ("t:1", None), ("t:2", None), ("t:3", None), ("t:4", known), ("t:9", None)]);
    let named: Vec<&str> = first(&content)
        .children
        .iter()
        .map(|n| if let Node::Test { test, .. } = n { &*content.tests[test.index()].id } else { panic!("no test") })
        .collect();
    assert_eq!(named, ["t:0", "t:9", "t:1"]);
    assert!(content.problem("t:1").is_some() && content.problem("o:2").is_none());
}

#[test]
fn circles_are_cut() {
    let extend = |to: &str| format!(r#"<criteria><extend_definition definition_ref="{to}"/><criterion test_ref="t:1"/></criteria>"#);
    let content = content(&format!(
        r#"<definitions>{}{}{}</definitions>
<tests><i:file_test id="t:1" version="1" check="all" comment="c"><object object_ref="o:1"/></i:file_test>
<i:file_test id="t:2" version="1" check="all" comment="c"><object object_ref="o:2"/></i:file_test></tests>
<objects><i:file_object id="o:1" version="1"><i:path var_ref="v:1"/></i:file_object>
<i:file_object id="o:2" version="1"><set><object_reference>o:2</object_reference></set></i:file_object></objects><states/>
<variables><local_variable id="v:1" version="1" datatype="string" comment="c"><object_component object_ref="o:1" item_field="path"/></local_variable></variables>"#,
        definition("d:1", &extend("d:2")),
        definition("d:2", &extend("d:1")),
        definition("d:3", &extend("d:1")),
    ));
    let problems: Vec<&str> = content.problems.iter().map(|p| &*p.id).collect();
    assert_eq!(problems, ["d:1", "d:2", "t:1", "t:2", "o:1", "o:2", "v:1"]);
    assert!(content.tests.iter().all(|t| t.object.is_none()));
    assert!(matches!(first(&content).children[0], Node::Test { .. }));
    let outside = content.definitions[2].criteria.as_ref().unwrap();
    assert!(matches!(outside.children[0], Node::Extend { definition: DefinitionId(0), .. }), "not in the circle, so it stays");
}

#[test]
fn chains_are_bounded() {
    let definitions: String = (1..3000)
        .map(|n| definition(&format!("d:{n:04}"), &format!(r#"<criteria><extend_definition definition_ref="d:{:04}"/></criteria>"#, n + 1)))
        .collect();
    let variables: String = (1..3000)
        .map(|n| {
            let of = format!(r#"<variable_component var_ref="v:{:04}"/>"#, n + 1);
            format!(r#"<local_variable id="v:{n:04}" version="1" datatype="int" comment="c">{of}</local_variable>"#)
        })
        .collect();
    let last = r#"<constant_variable id="v:3000" version="1" datatype="int" comment="c"><value>1</value></constant_variable>"#;
    let content =
        content(&format!("<definitions>{definitions}{}</definitions><variables>{variables}{last}</variables>", definition("d:3000", "")));
    assert!(content.problems.iter().any(|p| p.message.contains("extends others over 200 deep")));
    assert_eq!(content.problems.iter().filter(|p| p.id.starts_with("v:")).count(), 1, "the others need it, which is no news");
    let used = content.variables.iter().filter(|v| matches!(v.source, Source::Local(_))).count();
    assert_eq!(used, 200);
}

#[test]
fn another_document_is_no_content() {
    let problems = read_text("<html/>", "it.xml", &Limits::default()).unwrap_err();
    assert_eq!(problems[0].to_string(), "line 1: it.xml: <html> is not OVAL; the element `oval_definitions` is expected");
    let problems = read_text("<oval_definitions>\n<tests>", "it.xml", &Limits::default()).unwrap_err();
    assert_eq!(problems[0].to_string(), "line 2: it.xml: the document ends inside an element");
}
