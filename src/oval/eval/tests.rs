//! Unit tests of the evaluator over small content, as published.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::facts::{Collected, Facts, Flag, Item, ItemEntity, Status, Values, Variables};
use super::super::model::{Component, Content, Datatype, ObjectId, OvalResult, Source, TestId, Variable, VariableId};
use super::super::read;
use super::*;
use crate::limits::Limits;
use OvalResult::{Error as E, False as F, NotEvaluated as NE, True as T, Unknown as U};

/// Facts by the object's id.
#[derive(Default)]
struct Known {
    content: Arc<Content>,
    objects: BTreeMap<String, Arc<Collected<'static>>>,
}

impl Facts<'static> for Known {
    fn collected(&self, object: ObjectId, _: &mut dyn Variables) -> Option<Arc<Collected<'static>>> {
        self.objects.get(&*self.content.objects[object.index()].id).cloned()
    }
}

impl Known {
    fn with(mut self, id: &str, flag: Flag, items: &[Item<'static>]) -> Known {
        let items = items.iter().cloned().map(Arc::new).collect();
        self.objects.insert(format!("oval:x:obj:{id}"), Arc::new(Collected { flag, items, message: None }));
        self
    }
}

fn entity(name: &'static str, value: &'static str, status: Status) -> ItemEntity<'static> {
    ItemEntity { name: name.into(), datatype: Datatype::String, status, nil: false, value: value.into(), fields: Vec::new() }
}

fn item(text: &'static str) -> Item<'static> {
    item_with(vec![entity("text", text, Status::Exists)])
}

fn item_with(entities: Vec<ItemEntity<'static>>) -> Item<'static> {
    Item { kind: "textfilecontent".into(), status: Status::Exists, entities }
}

fn object(id: &str) -> String {
    format!(
        r#"<ind:textfilecontent54_object id="oval:x:obj:{id}" version="1"><ind:filepath>/x</ind:filepath><ind:pattern operation="pattern match">x</ind:pattern><ind:instance datatype="int">1</ind:instance></ind:textfilecontent54_object>"#
    )
}

fn set(id: &str, body: &str) -> String {
    format!(
        r#"<ind:textfilecontent54_object id="oval:x:obj:{id}" version="1" xmlns:d="http://oval.mitre.org/XMLSchema/oval-definitions-5">{}</ind:textfilecontent54_object>"#,
        body.replace("<", "<d:").replace("<d:/", "</d:")
    )
}

fn state(id: &str, entities: &str) -> String {
    format!(r#"<ind:textfilecontent54_state id="oval:x:ste:{id}" version="1">{entities}</ind:textfilecontent54_state>"#)
}

/// Test 1 is of object 1 and, if there is one, state 1.
fn content(attributes: &str, objects: &str, states: &str, variables: &str) -> Arc<Content> {
    let section = |name: &str, of: &str| if of.is_empty() { String::new() } else { format!("<{name}>{of}</{name}>") };
    let of_state = if states.contains("ste:1\"") { r#"<ind:state state_ref="oval:x:ste:1"/>"# } else { "" };
    let text = format!(
        r#"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5" xmlns:ind="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><generator><oval:schema_version>5.11</oval:schema_version><oval:timestamp>2024-01-01T00:00:00</oval:timestamp></generator><tests><ind:textfilecontent54_test id="oval:x:tst:1" version="1" comment="c" {attributes}><ind:object object_ref="oval:x:obj:1"/>{of_state}</ind:textfilecontent54_test></tests>{}{}{}</oval_definitions>"#,
        section("objects", objects),
        section("states", states),
        section("variables", variables)
    );
    let content = read::read_text(&text, "it", &Limits::default()).unwrap();
    assert_eq!(content.problems, []);
    Arc::new(content)
}

fn judge(content: &Arc<Content>, known: Known) -> (OvalResult, Option<String>) {
    let prepared = Prepared::new(content.clone(), &BTreeMap::new(), Compat::Specification, &Limits::default());
    let known = Known { content: content.clone(), ..known };
    let mut evaluation = Evaluation::new(&prepared, &known, 1_700_000_000);
    (evaluation.test(TestId(0)), evaluation.why(TestId(0)))
}

const ALL: &str = r#"check="all""#;

#[test]
fn statuses_of_items_and_entities() {
    let wanted = |attributes: &str| state("1", &format!("<ind:text {attributes}>a</ind:text>"));
    let with = |attributes: &str, entities: Vec<ItemEntity<'static>>| {
        let content = content(ALL, &object("1"), &wanted(attributes), "");
        judge(&content, Known::default().with("1", Flag::Complete, &[item_with(entities)])).0
    };
    let of = |value, status| entity("text", value, status);
    assert_eq!(with("", vec![of("a", Status::Exists)]), T);
    assert_eq!(with("", vec![of("b", Status::Exists)]), F);
    assert_eq!(with("", vec![]), U);
    assert_eq!(with("", vec![of("", Status::Error)]), E);
    assert_eq!(with("", vec![of("", Status::NotCollected)]), U);
    assert_eq!(with("", vec![of("", Status::DoesNotExist)]), F);
    assert_eq!(with("", vec![of("a", Status::Exists), of("", Status::DoesNotExist)]), F);
    assert_eq!(with(r#"check_existence="none_exist""#, vec![of("", Status::DoesNotExist)]), T);
    assert_eq!(with(r#"check_existence="none_exist""#, vec![of("a", Status::Exists)]), F);
    assert_eq!(with(r#"check_existence="only_one_exists""#, vec![of("a", Status::Exists), entity("line", "a", Status::Exists)]), T);
    assert_eq!(with(r#"entity_check="at least one""#, vec![of("b", Status::Exists), of("a", Status::Exists)]), T);
    assert_eq!(with("", vec![ItemEntity { nil: true, ..of("a", Status::Exists) }]), NE);

    let content = content(r#"check="all" check_existence="any_exist""#, &object("1"), &wanted(""), "");
    let statuses = |statuses: &[Status]| {
        let items: Vec<Item<'static>> = statuses.iter().map(|status| Item { status: *status, ..item("a") }).collect();
        judge(&content, Known::default().with("1", Flag::Complete, &items)).0
    };
    assert_eq!(statuses(&[Status::Exists, Status::DoesNotExist]), T);
    assert_eq!(statuses(&[Status::Exists, Status::NotCollected]), U);
    assert_eq!(statuses(&[Status::Exists, Status::Error]), E);
}

#[test]
fn sets_are_resolved_where_facts_do_not_know_them() {
    let objects = |body: &str| set("1", body) + &object("2") + &object("3");
    let both = "<object_reference>oval:x:obj:2</object_reference><object_reference>oval:x:obj:3</object_reference>";
    let known = |second: Flag| {
        Known::default().with("2", Flag::Complete, &[item("a"), item("b"), item("a")]).with("3", second, &[item("b"), item("c")])
    };
    let count = |body: &str, second: Flag| {
        let content = content(r#"check="all""#, &objects(body), &state("2", "<ind:text>b</ind:text>"), "");
        let prepared = Prepared::new(content.clone(), &BTreeMap::new(), Compat::Specification, &Limits::default());
        assert_eq!(prepared.object_dependencies(TestId(0)).len(), if body.contains("obj:3") { 3 } else { 2 });
        assert!(!prepared.is_row_level(TestId(0)));
        let known = Known { content: content.clone(), ..known(second) };
        let collected = Evaluation::new(&prepared, &known, 0).object(ObjectId(0)).unwrap();
        let texts: Vec<String> = collected.items.iter().map(|i| i.entities[0].value.to_string()).collect();
        (collected.flag, texts.concat())
    };
    let set_of = |operator: &str| format!(r#"<set set_operator="{operator}">{both}</set>"#);
    assert_eq!(count(&set_of("UNION"), Flag::Complete), (Flag::Complete, "abc".into()));
    assert_eq!(count(&set_of("UNION"), Flag::Incomplete), (Flag::Incomplete, "abc".into()));
    assert_eq!(count(&set_of("INTERSECTION"), Flag::Complete), (Flag::Complete, "b".into()));
    assert_eq!(count(&set_of("COMPLEMENT"), Flag::Complete), (Flag::Complete, "a".into()));
    let filtered = |action: &str, both: &str| format!(r#"<set>{both}<filter action="{action}">oval:x:ste:2</filter></set>"#);
    assert_eq!(count(&filtered("exclude", both), Flag::Complete), (Flag::Complete, "ac".into()));
    assert_eq!(count(&filtered("include", both), Flag::Complete), (Flag::Complete, "b".into()));
    let one = "<object_reference>oval:x:obj:2</object_reference>";
    assert_eq!(count(&format!("<set>{one}</set>"), Flag::Complete), (Flag::Complete, "ab".into()));
    let inner = filtered("include", one);
    let nested = format!("<set set_operator=\"COMPLEMENT\">{inner}{}</set>", format_args!("<set>{one}</set>"));
    assert_eq!(count(&nested, Flag::Complete), (Flag::DoesNotExist, String::new()));

    let unknown = content(ALL, &objects(&set_of("UNION")), "", "");
    let (result, why) = judge(&unknown, Known::default().with("2", Flag::Complete, &[item("a")]));
    assert_eq!((result, why.unwrap().contains("says nothing of object")), (U, true));
}

fn local(id: &str, datatype: &str, body: &str) -> String {
    format!(r#"<local_variable id="oval:x:var:{id}" version="1" datatype="{datatype}" comment="c">{body}</local_variable>"#)
}

fn values(variables: &str, known: Known, limits: &Limits) -> (Values, Option<String>) {
    let content = content(ALL, &(object("1") + &object("2")), "", variables);
    let prepared = Prepared::new(content.clone(), &BTreeMap::new(), Compat::Specification, limits);
    let known = Known { content: content.clone(), ..known };
    let mut evaluation = Evaluation::new(&prepared, &known, 1_700_000_000);
    (evaluation.values(VariableId(0)), evaluation.why_variable(VariableId(0)))
}

#[test]
fn variables_of_objects_and_the_present() {
    let of = r#"<object_component object_ref="oval:x:obj:1" item_field="text"/>"#;
    let two = || Known::default().with("1", Flag::Complete, &[item("2"), item("3")]);
    let get = |datatype: &str, body: &str| values(&local("1", datatype, body), two(), &Limits::default());
    let texts = |values: Values| values.values.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(get("int", of).0), ["2", "3"]);
    let sum =
        format!(r#"<arithmetic arithmetic_operation="add">{of}<literal_component datatype="float">0.5</literal_component></arithmetic>"#);
    assert_eq!(texts(get("float", &sum).0), ["2.5", "3.5"]);
    let since = r#"<time_difference format_2="seconds_since_epoch"><literal_component datatype="int">1699999990</literal_component></time_difference>"#;
    assert_eq!(texts(get("int", since).0), ["10"]);
    let before = r#"<time_difference format_1="month_day_year" format_2="month_day_year"><literal_component>Sep, 05 2009</literal_component><literal_component>09/06/2009</literal_component></time_difference>"#;
    assert_eq!(texts(get("int", before).0), ["-86400"]);
    let merged = "<merge><literal_component>a</literal_component><literal_component>b</literal_component></merge>";
    assert_eq!(texts(get("string", merged).0), ["a", "b"]);

    let (none, why) = get("boolean", of);
    assert_eq!((none.flag, texts(none)), (Flag::Error, vec![]));
    assert!(why.unwrap().contains("is no boolean"));
    let (missing, why) = get("string", &of.replace("\"text\"", "\"line\""));
    assert_eq!((missing.flag, why.unwrap().contains("no entity line")), (Flag::Error, true));
    let (unknown, _) = get("string", &of.replace("obj:1", "obj:2"));
    assert_eq!(unknown.flag, Flag::Error);
}

#[test]
fn what_grows_without_end_is_an_error() {
    let ten = "<literal_component>a,b,c,d,e,f,g,h,i,j</literal_component>";
    let split = format!(r#"<split delimiter=",">{ten}</split>"#);
    let (large, why) =
        values(&local("1", "string", &format!("<concat>{}</concat>", split.repeat(9))), Known::default(), &Limits::default());
    assert_eq!(large.flag, Flag::Error);
    assert!(why.unwrap().contains("limits.variable_values"));
    let tight = Limits { variable_bytes: 1_000, ..Limits::default() };
    let (long, why) = values(&local("1", "string", &format!("<concat>{}</concat>", split.repeat(3))), Known::default(), &tight);
    assert_eq!(long.flag, Flag::Error);
    assert!(why.unwrap().contains("limits.variable_bytes"));
}

#[test]
fn chains_too_deep_and_circles_are_errors_and_end() {
    // The reader refuses both already; whoever makes a model otherwise meets the same answer.
    let content = content(ALL, &object("1"), "", &local("1", "string", "<literal_component>a</literal_component>"));
    let chain = |last: Option<u32>| {
        let mut content = (*content).clone();
        let literal = content.variables[0].clone();
        let to = |next: u32| Variable { source: Source::Local(Component::Variable(VariableId(next))), ..literal.clone() };
        content.variables = (0..2_000).map(|n| to(n + 1)).collect();
        content.variables.push(last.map_or(literal.clone(), to));
        Prepared::new(Arc::new(content), &BTreeMap::new(), Compat::Specification, &Limits::default())
    };
    let deep = chain(None);
    assert_eq!(deep.constant(VariableId(1_990)).unwrap().flag, Flag::Complete);
    assert_eq!(deep.constant(VariableId(0)).unwrap().flag, Flag::Error);
    assert!(deep.problems().iter().any(|p| p.why.contains("too many levels")));
    let circle = chain(Some(1_000));
    assert!(circle.problems().iter().any(|p| p.why.contains("refers to itself")));
    assert!((0..2_001).all(|n| circle.constant(VariableId(n)).unwrap().flag == Flag::Error));
}

#[test]
fn a_test_is_a_sum_over_items_if_nothing_else_decides_it() {
    let variable = local("1", "string", r#"<object_component object_ref="oval:x:obj:2" item_field="text"/>"#);
    let constant = local("1", "string", "<literal_component>a</literal_component>");
    let by_variable = state("1", r#"<ind:text var_ref="oval:x:var:1"/>"#);
    for (variable, row_level) in [(&variable, false), (&constant, true)] {
        let content = content(ALL, &(object("1") + &object("2")), &by_variable, variable);
        let prepared = Prepared::new(content.clone(), &BTreeMap::new(), Compat::Specification, &Limits::default());
        assert_eq!(prepared.is_row_level(TestId(0)), row_level);
        assert_eq!(prepared.object_dependencies(TestId(0)).len(), if row_level { 1 } else { 2 });
        let known = || Known::default().with("1", Flag::Complete, &[item("a")]);
        assert_eq!(judge(&content, known().with("2", Flag::Complete, &[item("a")])).0, T);
        let (result, why) = judge(&content, known().with("2", Flag::DoesNotExist, &[]));
        assert_eq!((result, why.is_some()), if row_level { (T, false) } else { (E, true) });
    }
}

#[test]
fn bindings_are_held_against_what_is_allowed() {
    let external = r#"<external_variable id="oval:x:var:1" version="1" datatype="int" comment="c"><possible_value hint="h">5</possible_value><possible_restriction hint="h"><restriction operation="greater than">10</restriction><restriction operation="less than">20</restriction></possible_restriction></external_variable>"#;
    let content = content(ALL, &object("1"), "", external);
    let flag = |values: Option<&[&str]>| {
        let bindings = values.map(|v| ("oval:x:var:1".to_string(), v.iter().map(ToString::to_string).collect())).into_iter().collect();
        let prepared = Prepared::new(content.clone(), &bindings, Compat::Specification, &Limits::default());
        prepared.constant(VariableId(0)).unwrap().flag
    };
    assert_eq!(flag(Some(&["5"])), Flag::Complete);
    assert_eq!(flag(Some(&["15", "5"])), Flag::Complete);
    assert_eq!(flag(Some(&["5", "25"])), Flag::Error);
    assert_eq!(flag(Some(&["x"])), Flag::Error);
    assert_eq!(flag(None), Flag::Error);
}

#[test]
fn problems_have_a_place() {
    let states = state("1", r#"<ind:text operation="pattern match">(a</ind:text><ind:text datatype="int">one</ind:text>"#);
    let content = content(ALL, &object("1"), &states, "");
    let prepared = Prepared::new(content.clone(), &BTreeMap::new(), Compat::Specification, &Limits::default());
    let found: Vec<(Place, bool)> = prepared.problems().iter().map(|p| (p.place, p.why.contains("closes"))).collect();
    let place = Place::State(super::super::model::StateId(0));
    assert_eq!(found, [(place, true), (place, false)]);
    let (result, why) = judge(&content, Known::default().with("1", Flag::Complete, &[item("a")]));
    assert_eq!((result, why.unwrap().contains("oval:x:ste:1")), (E, true));
}
