//! Random OVAL content and scans for it: for property tests and fuzzing.

use std::fmt::Write;

use muster::limits::Limits;
use muster::oval::eval::Compat;
use muster::pack::{Pack, Sources, merge};
use muster::rule::stream::{Stream, baselines};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, TableData};
use muster::xccdf::datastream::Source;

use crate::generate::Bytes;

const HEAD: &str = r#"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5">
<generator><oval:schema_version>5.11</oval:schema_version><oval:timestamp>2026-01-01T00:00:00</oval:timestamp></generator>"#;
const IND: &str = "xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5#independent\"";
const UNIX: &str = "xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5#unix\"";
const LINUX: &str = "xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5#linux\"";
const PATHS: [&str; 3] = ["/etc/a.conf", "/etc/b.conf", "/etc/d/c.conf"];
const WORDS: [&str; 4] = ["no", "yes", "1", "07"];

fn one<'a>(bytes: &mut Bytes<'_>, of: &[&'a str]) -> &'a str {
    of[bytes.below(of.len())]
}

/// Objects 0 to 5 of different kinds, a set of two text objects, and one whose value comes of a variable.
fn objects(bytes: &mut Bytes<'_>) -> String {
    let mut out = String::from("<objects>");
    for n in 0..3 {
        let path = match bytes.below(3) {
            0 => format!("<filepath>{}</filepath>", one(bytes, &PATHS)),
            1 => "<filepath operation=\"pattern match\">^/etc/[ab]\\.conf$</filepath>".to_owned(),
            _ => format!("<path>/etc</path><filename operation=\"{}\">a.conf</filename>", one(bytes, &["equals", "not equal"])),
        };
        let filter = if bytes.below(3) == 0 {
            "<filter xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5\" action=\"include\">oval:t:ste:0</filter>"
        } else {
            ""
        };
        let instance = one(bytes, &["greater than or equal", "equals"]);
        write!(out, "<textfilecontent54_object {IND} id=\"oval:t:obj:{n}\" version=\"1\">{path}<pattern operation=\"pattern match\">^k=(\\w+)$</pattern><instance datatype=\"int\" operation=\"{instance}\">1</instance>{filter}</textfilecontent54_object>").unwrap();
    }
    write!(out, "<file_object {UNIX} id=\"oval:t:obj:3\" version=\"1\"><filepath>{}</filepath></file_object>", one(bytes, &PATHS)).unwrap();
    write!(out, "<sysctl_object {UNIX} id=\"oval:t:obj:4\" version=\"1\"><name>net.{}</name></sysctl_object>", one(bytes, &["a", "b"]))
        .unwrap();
    write!(
        out,
        "<dpkginfo_object {LINUX} id=\"oval:t:obj:5\" version=\"1\"><name>{}</name></dpkginfo_object>",
        one(bytes, &["bash", "zsh"])
    )
    .unwrap();
    let operator = one(bytes, &["UNION", "INTERSECTION", "COMPLEMENT"]);
    write!(out, "<textfilecontent54_object {IND} id=\"oval:t:obj:6\" version=\"1\"><set xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5\" set_operator=\"{operator}\"><object_reference>oval:t:obj:0</object_reference><object_reference>oval:t:obj:1</object_reference></set></textfilecontent54_object>").unwrap();
    write!(out, "<sysctl_object {UNIX} id=\"oval:t:obj:7\" version=\"1\"><name var_ref=\"oval:t:var:1\" var_check=\"at least one\"/></sysctl_object>").unwrap();
    write!(out, "<variable_object {IND} id=\"oval:t:obj:8\" version=\"1\"><var_ref>oval:t:var:0</var_ref></variable_object>").unwrap();
    out + "</objects>"
}

fn states(bytes: &mut Bytes<'_>) -> String {
    let mut out = String::from("<states>");
    let check = |bytes: &mut Bytes<'_>| one(bytes, &["all", "at least one", "none satisfy", "only one"]);
    write!(out, "<textfilecontent54_state {IND} id=\"oval:t:ste:0\" version=\"1\"><subexpression operation=\"{}\" entity_check=\"{}\">{}</subexpression></textfilecontent54_state>",
        one(bytes, &["equals", "not equal", "pattern match"]), check(bytes), one(bytes, &WORDS)).unwrap();
    write!(out, "<textfilecontent54_state {IND} id=\"oval:t:ste:1\" version=\"1\"><subexpression var_ref=\"oval:t:var:0\" var_check=\"{}\"/></textfilecontent54_state>", check(bytes)).unwrap();
    write!(out, "<file_state {UNIX} id=\"oval:t:ste:2\" version=\"1\" operator=\"{}\"><user_id datatype=\"int\">0</user_id><uwrite datatype=\"boolean\">true</uwrite></file_state>", one(bytes, &["AND", "OR", "ONE", "XOR"])).unwrap();
    write!(
        out,
        "<sysctl_state {UNIX} id=\"oval:t:ste:3\" version=\"1\"><value datatype=\"int\" operation=\"{}\">1</value></sysctl_state>",
        one(bytes, &["equals", "greater than", "less than or equal"])
    )
    .unwrap();
    write!(out, "<dpkginfo_state {LINUX} id=\"oval:t:ste:4\" version=\"1\"><evr datatype=\"debian_evr_string\" operation=\"less than\">0:5.1-2</evr></dpkginfo_state>").unwrap();
    write!(
        out,
        "<variable_state {IND} id=\"oval:t:ste:5\" version=\"1\"><value entity_check=\"{}\">{}</value></variable_state>",
        check(bytes),
        one(bytes, &WORDS)
    )
    .unwrap();
    out + "</states>"
}

/// A test of every object, with random checks.
fn tests(bytes: &mut Bytes<'_>) -> String {
    let kinds = [
        ("textfilecontent54", IND, &["0", "1", ""][..]),
        ("textfilecontent54", IND, &["0", "1", ""]),
        ("textfilecontent54", IND, &["0", ""]),
        ("file", UNIX, &["2", ""]),
        ("sysctl", UNIX, &["3", ""]),
        ("dpkginfo", LINUX, &["4", ""]),
        ("textfilecontent54", IND, &["0", "1", ""]),
        ("sysctl", UNIX, &["3", ""]),
        ("variable", IND, &["5", ""]),
    ];
    let mut out = String::from("<tests>");
    for (n, (kind, namespace, states)) in kinds.iter().enumerate() {
        let check = one(bytes, &["all", "at least one", "none satisfy", "only one"]);
        let existence = one(bytes, &["at_least_one_exists", "all_exist", "any_exist", "none_exist", "only_one_exists"]);
        let state = match one(bytes, states) {
            "" => String::new(),
            state => format!("<state state_ref=\"oval:t:ste:{state}\"/>"),
        };
        write!(out, "<{kind}_test {namespace} id=\"oval:t:tst:{n}\" version=\"1\" comment=\"test {n}\" check=\"{check}\" check_existence=\"{existence}\"><object object_ref=\"oval:t:obj:{n}\"/>{state}</{kind}_test>").unwrap();
    }
    out + "</tests>"
}

/// A definition of each test, and one over all.
fn content(bytes: &mut Bytes<'_>) -> String {
    let mut out = format!("{HEAD}<definitions>");
    for n in 0..9 {
        write!(out, "<definition class=\"compliance\" id=\"oval:t:def:{n}\" version=\"1\"><metadata><title>d{n}</title><description>d</description></metadata><criteria><criterion negate=\"{}\" test_ref=\"oval:t:tst:{n}\"/></criteria></definition>", bytes.below(2) == 0).unwrap();
    }
    let all: String = (0..9).map(|n| format!("<extend_definition definition_ref=\"oval:t:def:{n}\"/>")).collect();
    write!(out, "<definition class=\"compliance\" id=\"oval:t:def:9\" version=\"1\"><metadata><title>all</title><description>d</description></metadata><criteria operator=\"{}\">{all}</criteria></definition></definitions>", one(bytes, &["AND", "OR", "ONE", "XOR"])).unwrap();
    let (tests, objects, states) = (tests(bytes), objects(bytes), states(bytes));
    let component = "<object_component object_ref=\"oval:t:obj:2\" item_field=\"subexpression\"/>";
    let variables = format!(
        "<variables><local_variable id=\"oval:t:var:0\" version=\"1\" datatype=\"string\" comment=\"v\">{component}</local_variable><local_variable id=\"oval:t:var:1\" version=\"1\" datatype=\"string\" comment=\"v\"><concat><literal_component>net.</literal_component><literal_component>b</literal_component></concat></local_variable></variables>"
    );
    format!("{out}{tests}{objects}{states}{variables}</oval_definitions>")
}

/// A pack's file of random content.
pub(crate) fn file(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let compat = if bytes.below(2) == 0 { Compat::Specification } else { Compat::OpenScap };
    let limits = Limits::default();
    let source = Source::read("content.xml", content(bytes).as_bytes(), &limits).expect("readable content");
    let (packs, problems) = baselines(&Stream { compat, ..Stream::default() }, &source, None, &limits);
    assert!(problems.is_empty(), "{problems:?}");
    let file = merge(&Sources { scap: &packs, ..Sources::default() });
    assert_eq!(file, merge(&Sources { scap: &packs, ..Sources::default() }), "the same content gives the same bytes");
    file
}

fn row(name: &str) -> Row {
    Row::new(TableId::by_name(name).expect("a table"))
}

/// Some of the tables, some of their rows; what the pack asks was looked at, or failed, or nobody looked.
pub(crate) fn scan(bytes: &mut Bytes<'_>, pack: &Pack) -> Scan {
    let mut scan = Scan::default();
    for (name, rows) in [("text", texts(bytes)), ("file", files(bytes)), ("sysctl", sysctls(bytes)), ("package", packages(bytes))] {
        let table = TableId::by_name(name).expect("a table");
        match bytes.below(8) {
            0 => {}
            1 => drop(scan.tables.insert(table, TableData::Failed("it failed".into()))),
            _ => drop(scan.tables.insert(table, TableData::Rows(rows))),
        }
    }
    let mut scopes = Vec::new();
    for (table, items) in pack.asks() {
        for item in items {
            let state = one(bytes, &["present", "present", "absent", "error", ""]);
            if !state.is_empty() {
                scopes.push(row("scope").with("table", table.name()).with("item", item).with("state", state));
            }
        }
    }
    scan.tables.insert(TableId::by_name("scope").expect("a table"), TableData::Rows(scopes));
    if bytes.below(3) == 0 {
        scan.tables.insert(TableId::by_name("oval_object").expect("a table"), TableData::Rows(uploaded(bytes)));
    }
    scan.normalise();
    scan
}

fn texts(bytes: &mut Bytes<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for path in PATHS {
        let line = |bytes: &mut Bytes<'_>| format!("k={}\n", one(bytes, &WORDS));
        match bytes.below(5) {
            0 => {}
            1 => rows.push(row("text").with("path", path).with_error("may not be read")),
            n => rows.push(row("text").with("path", path).with("content", (2..n).map(|_| line(bytes)).collect::<String>())),
        }
    }
    rows
}

fn files(bytes: &mut Bytes<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for path in PATHS {
        let mode = i64::from(u32::try_from(bytes.below(512)).expect("small"));
        let uid = i64::from(u32::try_from(bytes.below(2)).expect("small"));
        match bytes.below(4) {
            0 => {}
            1 => rows.push(row("file").with("path", path).with_error("may not be read")),
            _ => rows.push(row("file").with("path", path).with("type", "file").with("mode", mode).with("uid", uid).with("gid", 0i64)),
        }
    }
    rows
}

fn sysctls(bytes: &mut Bytes<'_>) -> Vec<Row> {
    ["net.a", "net.b"]
        .into_iter()
        .filter(|_| bytes.below(3) > 0)
        .collect::<Vec<_>>()
        .into_iter()
        .map(|k| row("sysctl").with("key", k).with("value", one(bytes, &["0", "1", "2", "x"])))
        .collect()
}

fn packages(bytes: &mut Bytes<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for name in ["bash", "zsh"] {
        if bytes.below(3) > 0 {
            rows.push(
                row("package")
                    .with("name", name)
                    .with("version", one(bytes, &["5.1-1", "5.1-2", "1:1"]))
                    .with("arch", "amd64")
                    .with("format", "deb"),
            );
        }
    }
    rows
}

/// What a SCAP collector said of some of the objects.
fn uploaded(bytes: &mut Bytes<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for n in [0, 2, 4, 6] {
        let flag = one(bytes, &["complete", "incomplete", "does not exist", "not collected", "error", "not applicable"]);
        let (kind, name) = if n == 4 { ("sysctl", "value") } else { ("textfilecontent", "subexpression") };
        let items: Vec<String> = (0..bytes.below(3))
            .map(|_| format!(r#"{{"kind":"{kind}","entities":[{{"name":"{name}","value":"{}"}}]}}"#, one(bytes, &WORDS)))
            .collect();
        if bytes.below(2) == 0 {
            rows.push(
                row("oval_object").with("id", format!("oval:t:obj:{n}")).with("flag", flag).with("items", format!("[{}]", items.join(","))),
            );
        }
    }
    rows
}
