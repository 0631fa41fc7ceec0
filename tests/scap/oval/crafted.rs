//! Documents made for every cell of the tables: `oscap` and we must say the same of each definition.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use muster::limits::Limits;
use muster::oval::eval::Compat;
use muster::oval::read;

use super::{analyse, differences, evaluate, oscap_is_here};

const NAMESPACES: &str = concat!(
    r#"xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5" "#,
    r#"xmlns:ind="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent" "#,
    r#"xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance""#
);
const SYSTEM_NAMESPACES: &str = concat!(
    r#"xmlns="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5" "#,
    r#"xmlns:ind="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5#independent" "#,
    r#"xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance""#
);
const GENERATOR: &str =
    "<generator><oval:schema_version>5.11</oval:schema_version><oval:timestamp>2024-01-01T00:00:00</oval:timestamp></generator>";
const CHECKS: [&str; 4] = ["all", "at least one", "none satisfy", "only one"];
const EXISTENCES: [&str; 5] = ["all_exist", "any_exist", "at_least_one_exists", "none_exist", "only_one_exists"];
const OPERATORS: [&str; 4] = ["AND", "OR", "ONE", "XOR"];
const STATUSES: [&str; 4] = ["exists", "does not exist", "error", "not collected"];
const FLAGS: [&str; 6] = ["error", "complete", "incomplete", "does not exist", "not collected", "not applicable"];

/// One test of one object, and a definition that asks for it.
pub(super) struct Case<'c> {
    pub(super) existence: &'c str,
    pub(super) check: &'c str,
    pub(super) state_operator: &'c str,
    /// The operator and the entities of each.
    pub(super) states: Vec<(&'c str, String)>,
    /// Without one the object is not in the system characteristics.
    pub(super) flag: Option<&'c str>,
    /// The status and the entities of each.
    pub(super) items: Vec<(&'c str, String)>,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Case {
            existence: "at_least_one_exists",
            check: "all",
            state_operator: "AND",
            states: Vec::new(),
            flag: Some("complete"),
            items: Vec::new(),
        }
    }
}

/// Definitions and system characteristics under construction. `oscap` loses what follows an element without content on the same line.
#[derive(Default)]
pub(super) struct Document {
    definitions: String,
    tests: String,
    objects: String,
    states: String,
    pub(super) variables: String,
    collected: String,
    items: String,
    count: usize,
    states_count: usize,
    items_count: usize,
    /// What each definition is about.
    labels: BTreeMap<String, String>,
}

impl Document {
    /// A definition of its own criteria.
    fn definition(&mut self, label: &str, criteria: &str) -> String {
        let id = format!("oval:x:def:{}", self.labels.len() + 1);
        write!(
            self.definitions,
            r#"<definition id="{id}" version="1" class="miscellaneous"><metadata><title>t</title><description>d</description></metadata>{criteria}</definition>"#
        )
        .unwrap();
        self.labels.insert(id.clone(), label.to_string());
        id
    }

    /// An object and what was collected of it.
    pub(super) fn object(&mut self, flag: Option<&str>, items: &[(&str, String)]) -> String {
        self.count += 1;
        let id = format!("oval:x:obj:{}", self.count);
        write!(
            self.objects,
            r#"<ind:textfilecontent54_object id="{id}" version="1"><ind:filepath>/x</ind:filepath><ind:pattern operation="pattern match">x</ind:pattern><ind:instance datatype="int">1</ind:instance></ind:textfilecontent54_object>"#
        )
        .unwrap();
        let mut references = String::new();
        for (status, entities) in items {
            self.items_count += 1;
            let item = self.items_count;
            write!(references, r#"<reference item_ref="{item}"/>"#).unwrap();
            if entities.is_empty() {
                writeln!(self.items, r#"<ind:textfilecontent_item id="{item}" status="{status}"/>"#).unwrap();
            } else {
                writeln!(self.items, r#"<ind:textfilecontent_item id="{item}" status="{status}">{entities}</ind:textfilecontent_item>"#)
                    .unwrap();
            }
        }
        if let Some(flag) = flag {
            if references.is_empty() {
                writeln!(self.collected, r#"<object flag="{flag}" id="{id}" version="1"/>"#).unwrap();
            } else {
                writeln!(self.collected, r#"<object flag="{flag}" id="{id}" version="1">{references}</object>"#).unwrap();
            }
        }
        id
    }

    pub(super) fn case(&mut self, label: &str, case: &Case<'_>) -> String {
        let object = self.object(case.flag, &case.items);
        let mut states = String::new();
        for (operator, entities) in &case.states {
            self.states_count += 1;
            let id = format!("oval:x:ste:{}", self.states_count);
            write!(states, r#"<ind:state state_ref="{id}"/>"#).unwrap();
            write!(
                self.states,
                r#"<ind:textfilecontent54_state id="{id}" version="1" operator="{operator}">{entities}</ind:textfilecontent54_state>"#
            )
            .unwrap();
        }
        let id = format!("oval:x:tst:{}", self.count);
        let Case { existence, check, state_operator, .. } = case;
        write!(
            self.tests,
            r#"<ind:textfilecontent54_test id="{id}" version="1" comment="c" check_existence="{existence}" check="{check}" state_operator="{state_operator}"><ind:object object_ref="{object}"/>{states}</ind:textfilecontent54_test>"#
        )
        .unwrap();
        self.definition(label, &format!(r#"<criteria><criterion test_ref="{id}"/></criteria>"#))
    }

    fn section(name: &str, content: &str) -> String {
        if content.is_empty() { String::new() } else { format!("<{name}>{content}</{name}>") }
    }

    pub(super) fn texts(&self) -> (String, String) {
        let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<oval_definitions {NAMESPACES}>{GENERATOR}");
        let sections = [
            ("definitions", &self.definitions),
            ("tests", &self.tests),
            ("objects", &self.objects),
            ("states", &self.states),
            ("variables", &self.variables),
        ];
        sections.iter().for_each(|(name, content)| out.push_str(&Document::section(name, content)));
        out.push_str("</oval_definitions>");
        let system = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<oval_system_characteristics {SYSTEM_NAMESPACES}>{GENERATOR}<system_info><os_name>x</os_name><os_version>1</os_version><architecture>x</architecture><primary_host_name>x</primary_host_name><interfaces/></system_info>{}{}</oval_system_characteristics>",
            Document::section("collected_objects", &self.collected),
            Document::section("system_data", &self.items)
        );
        (out, system)
    }

    /// Asks both, and forgets what was asked.
    pub(super) fn compare(&mut self) -> usize {
        self.compare_also(&mut |_, _, _| {})
    }

    /// With a look at the definitions, the system characteristics and their results.
    pub(super) fn compare_also(&mut self, look: &mut dyn FnMut(&str, &str, &str)) -> usize {
        let document = std::mem::take(self);
        let (definitions, system) = document.texts();
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("definitions.xml"), folder.path().join("system.xml")];
        std::fs::write(&files[0], &definitions).unwrap();
        std::fs::write(&files[1], &system).unwrap();
        let theirs = analyse(&files[0], &files[1]);
        look(&definitions, &system, &std::fs::read_to_string(files[1].with_extension("results")).unwrap());
        let content = read::read_text(&definitions, "it", &Limits::default()).unwrap();
        assert_eq!(content.problems, []);
        let (ours, _) = evaluate(content, &system, Compat::OpenScap);
        assert_eq!(theirs.len(), document.labels.len());
        let found = differences(&ours, &theirs);
        let named: Vec<String> =
            found.iter().map(|line| format!("{line}; {}", document.labels[line.rsplit_once(": ours").unwrap().0])).collect();
        assert!(named.is_empty(), "{} of {}:\n{}", named.len(), theirs.len(), named.join("\n"));
        theirs.len()
    }

    pub(super) fn compare_if_full(&mut self, compared: &mut usize) {
        if self.labels.len() >= 600 {
            *compared += self.compare();
        }
    }
}

/// Every choice of up to so many, in which order does not count.
fn multisets<'t>(of: &[&'t str], least: usize, most: usize) -> Vec<Vec<&'t str>> {
    let mut all = vec![vec![]];
    let mut found = Vec::new();
    for length in 0..=most {
        if length >= least {
            found.extend(all.iter().cloned());
        }
        let longer = all.iter().flat_map(|chosen: &Vec<&str>| {
            let from = chosen.last().map_or(0, |last| of.iter().position(|o| o == last).unwrap());
            of[from..].iter().map(move |next| [&chosen[..], &[next]].concat())
        });
        all = longer.collect();
    }
    found
}

pub(super) fn text(value: &str) -> String {
    format!("<ind:text>{value}</ind:text>")
}

fn int_state(value: &str) -> String {
    format!(r#"<ind:text datatype="int">{value}</ind:text>"#)
}

/// An item whose comparison with the number 1 has this result.
fn item_of(result: &str) -> (&'static str, String) {
    match result {
        "true" => ("exists", text("1")),
        "false" => ("exists", text("2")),
        "error" => ("exists", text("x")),
        "unknown" => ("exists", r#"<ind:text status="not collected">1</ind:text>"#.into()),
        "missing" => ("does not exist", String::new()),
        other => panic!("{other}"),
    }
}

#[test]
fn existence_over_flags_and_statuses() {
    if !oscap_is_here() {
        return;
    }
    let (mut document, mut compared) = (Document::default(), 0);
    for statuses in multisets(&STATUSES, 0, 3) {
        for flag in FLAGS.iter().map(|f| Some(*f)).chain([None]) {
            for existence in EXISTENCES {
                for states in [vec![], vec![("AND", int_state("1"))], vec![("AND", int_state("2"))]] {
                    let items = statuses.iter().map(|s| (*s, text("1"))).collect();
                    let label = format!("{existence} of {statuses:?}, {flag:?}, {states:?}");
                    document.case(&label, &Case { existence, states, flag, items, ..Case::default() });
                    document.compare_if_full(&mut compared);
                }
            }
        }
    }
    compared += document.compare();
    assert_eq!(compared, 35 * 7 * 5 * 3);
}

#[test]
fn checks_over_results_of_items() {
    if !oscap_is_here() {
        return;
    }
    let (mut document, mut compared) = (Document::default(), 0);
    for results in multisets(&["true", "false", "error", "unknown", "missing"], 0, 4) {
        for check in CHECKS {
            for flag in ["complete", "incomplete"] {
                for existence in ["any_exist", "at_least_one_exists"] {
                    let items = results.iter().map(|r| item_of(r)).collect();
                    let label = format!("{check}, {existence} of {results:?}, {flag}");
                    let states = vec![("AND", int_state("1"))];
                    document.case(&label, &Case { existence, check, states, flag: Some(flag), items, ..Case::default() });
                    document.compare_if_full(&mut compared);
                }
            }
        }
    }
    compared += document.compare();
    assert_eq!(compared, 126 * 4 * 2 * 2);
}

/// A definition of each result.
fn of_each_result(document: &mut Document) -> [(&'static str, String); 6] {
    let states = || vec![("AND", int_state("1"))];
    let mut of = |result: &str| document.case(result, &Case { states: states(), items: vec![item_of(result)], ..Case::default() });
    let known = [("true", of("true")), ("false", of("false")), ("error", of("error")), ("unknown", of("unknown"))];
    let not_applicable = document.case("not applicable", &Case { flag: Some("not applicable"), ..Case::default() });
    // A datatype that oscap does not evaluate.
    let states = vec![("AND", r#"<ind:text datatype="fileset_revision">1.2.3.4</ind:text>"#.to_string())];
    let not_evaluated = document.case("not evaluated", &Case { states, items: vec![item_of("true")], ..Case::default() });
    let [t, f, e, u] = known;
    [t, f, e, u, ("not evaluated", not_evaluated), ("not applicable", not_applicable)]
}

#[test]
fn operators_over_results_of_criteria() {
    if !oscap_is_here() {
        return;
    }
    let (mut document, mut compared) = (Document::default(), 0);
    let names = ["true", "false", "error", "unknown", "not evaluated", "not applicable"];
    for operator in OPERATORS {
        let known = BTreeMap::from(of_each_result(&mut document));
        for results in multisets(&names, 1, 3) {
            for negate in [false, true] {
                let children: String = results.iter().map(|r| format!(r#"<extend_definition definition_ref="{}"/>"#, known[r])).collect();
                let criteria = format!(r#"<criteria operator="{operator}" negate="{negate}">{children}</criteria>"#);
                document.definition(&format!("{operator} of {results:?}, negated {negate}"), &criteria);
            }
        }
        for (result, id) in &known {
            let criteria = format!(r#"<criteria><extend_definition definition_ref="{id}" negate="true"/></criteria>"#);
            document.definition(&format!("not {result}"), &criteria);
        }
        compared += document.compare();
    }
    assert_eq!(compared, 4 * (6 + 83 * 2 + 6));
}

#[test]
fn operators_over_entities_and_states() {
    if !oscap_is_here() {
        return;
    }
    // Entities of one item by their result against the number 1.
    let entity = |name: &str, result: &str| match result {
        "true" => format!("<ind:{name}>1</ind:{name}>"),
        "false" => format!("<ind:{name}>2</ind:{name}>"),
        "error" => format!("<ind:{name}>x</ind:{name}>"),
        "missing" => format!(r#"<ind:{name} status="does not exist"/>"#),
        _ => String::new(),
    };
    let (mut document, mut compared) = (Document::default(), 0);
    for results in multisets(&["true", "false", "error", "unknown", "missing"], 1, 3) {
        let names = ["text", "subexpression", "instance"];
        let items = || vec![("exists", results.iter().zip(names).map(|(r, name)| entity(name, r)).collect::<String>())];
        for operator in OPERATORS {
            let wanted = |name: &str| format!(r#"<ind:{name} datatype="int">1</ind:{name}>"#);
            let together = names.iter().take(results.len()).map(|n| wanted(n)).collect();
            let label = format!("entities {operator} of {results:?}");
            document.case(&label, &Case { states: vec![(operator, together)], items: items(), ..Case::default() });
            let apart = names.iter().take(results.len()).map(|n| ("AND", wanted(n))).collect();
            let label = format!("states {operator} of {results:?}");
            document.case(&label, &Case { states: apart, state_operator: operator, items: items(), ..Case::default() });
        }
        document.compare_if_full(&mut compared);
    }
    compared += document.compare();
    assert_eq!(compared, 55 * 4 * 2);
}

#[test]
fn checks_and_existence_over_entities_of_one_name() {
    if !oscap_is_here() {
        return;
    }
    let (mut document, mut compared) = (Document::default(), 0);
    let entities = [
        "<ind:text>1</ind:text>",
        "<ind:text>2</ind:text>",
        "<ind:text>x</ind:text>",
        r#"<ind:text status="does not exist">1</ind:text>"#,
        r#"<ind:text status="error">1</ind:text>"#,
        r#"<ind:text status="not collected">1</ind:text>"#,
        "<ind:line>1</ind:line>",
        r#"<ind:line status="not collected">1</ind:line>"#,
    ];
    for chosen in multisets(&entities, 0, 3) {
        for check in CHECKS {
            for existence in EXISTENCES {
                // Most combinations of three are like one of two.
                if chosen.len() == 3 && check != "all" && existence != "at_least_one_exists" {
                    continue;
                }
                let wanted = format!(r#"<ind:text datatype="int" entity_check="{check}" check_existence="{existence}">1</ind:text>"#);
                let label = format!("entity {check}, {existence} of {chosen:?}");
                let items = vec![("exists", chosen.concat())];
                document.case(&label, &Case { states: vec![("AND", wanted)], items, ..Case::default() });
                document.compare_if_full(&mut compared);
            }
        }
    }
    compared += document.compare();
    assert!(compared > 1_500, "{compared}");
}

#[test]
fn checks_over_values_of_variables() {
    if !oscap_is_here() {
        return;
    }
    let (mut document, mut compared, mut count) = (Document::default(), 0, 0);
    for values in multisets(&["1", "2", "x"], 1, 3) {
        for datatype in ["int", "string"] {
            count += 1;
            let id = format!("oval:x:var:{count}");
            let values_xml: String = values.iter().map(|v| format!("<value>{v}</value>")).collect();
            write!(
                document.variables,
                r#"<constant_variable id="{id}" version="1" datatype="{datatype}" comment="c">{values_xml}</constant_variable>"#
            )
            .unwrap();
            for check in CHECKS {
                for operation in ["equals", "not equal", "greater than"] {
                    for (entity_check, item) in [("all", text("1")), ("at least one", text("2") + &text("1")), ("all", text("y"))] {
                        let wanted = format!(
                            r#"<ind:text datatype="int" operation="{operation}" var_ref="{id}" var_check="{check}" entity_check="{entity_check}"/>"#
                        );
                        let label = format!("{operation} {check} of {datatype} {values:?}, {entity_check} of {item}");
                        let items = vec![("exists", item)];
                        document.case(&label, &Case { states: vec![("AND", wanted)], items, ..Case::default() });
                    }
                }
            }
        }
        if document.labels.len() >= 400 {
            compared += document.compare();
        }
    }
    // Variables without values: of an object by its flag, not bound, of a function over them.
    for flag in FLAGS {
        for items in [vec![], vec![("exists", text("1"))], vec![("exists", "<ind:line>1</ind:line>".to_string())]] {
            let object = document.object(Some(flag), &items);
            count += 1;
            let of = format!(r#"<object_component object_ref="{object}" item_field="text"/>"#);
            let literal = "<literal_component>1</literal_component>";
            for body in [
                of.clone(),
                format!("<concat>{of}{literal}</concat>"),
                format!("<count>{of}{literal}</count>"),
                format!("<unique>{literal}{of}</unique>"),
                format!("<split delimiter=\",\">{of}</split>"),
            ] {
                count += 1;
                let id = format!("oval:x:var:{count}");
                let variable = format!(r#"<local_variable id="{id}" version="1" datatype="string" comment="c">{body}</local_variable>"#);
                document.variables.push_str(&variable);
                let wanted = format!(r#"<ind:text var_ref="{id}" var_check="at least one"/>"#);
                for value in ["1", "11", "2"] {
                    let states = vec![("AND", wanted.clone())];
                    let items = vec![("exists", text(value))];
                    document.case(&format!("{value} in {body} of {flag}, {items:?}"), &Case { states, items, ..Case::default() });
                }
            }
        }
    }
    document.variables.push_str(r#"<external_variable id="oval:x:var:0" version="1" datatype="int" comment="c"/>"#);
    let states = vec![("AND", r#"<ind:text datatype="int" var_ref="oval:x:var:0"/>"#.to_string())];
    document.case("unbound", &Case { states, items: vec![("exists", text("1"))], ..Case::default() });
    compared += document.compare();
    assert!(compared > 1_500, "{compared}");
}

#[test]
fn records() {
    if !oscap_is_here() {
        return;
    }
    let field = |name: &str, value: &str| {
        format!(
            r#"<oval:field xmlns:oval="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5" name="{name}">{value}</oval:field>"#
        )
    };
    let (mut document, mut compared) = (Document::default(), 0);
    let fields = [("a", "1"), ("a", "2"), ("a", "x"), ("b", "1"), ("b", "3")].map(|(name, value)| field(name, value));
    let names: Vec<&str> = fields.iter().map(String::as_str).collect();
    for chosen in multisets(&names, 0, 3) {
        for check in CHECKS {
            for operation in ["equals", "greater than"] {
                let wanted = format!(
                    r#"<ind:text datatype="record"><field name="a" datatype="int" operation="{operation}" entity_check="{check}">1</field><field name="b" datatype="int">1</field></ind:text>"#
                );
                let item = format!(r#"<ind:text datatype="record">{}</ind:text>"#, chosen.concat());
                let label = format!("record {check} {operation} of {chosen:?}");
                document.case(&label, &Case { states: vec![("AND", wanted)], items: vec![("exists", item)], ..Case::default() });
                document.compare_if_full(&mut compared);
            }
        }
    }
    compared += document.compare();
    assert_eq!(compared, 56 * 4 * 2);
}
