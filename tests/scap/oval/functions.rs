//! The functions of local variables: the values that `oscap` computed, as its results list them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use muster::limits::Limits;
use muster::oval::eval::{Compat, Evaluation, Prepared};
use muster::oval::facts::{Flag, Variables};
use muster::oval::model::VariableId;
use muster::oval::read;
use muster::oval::syschar::{SystemCharacteristics, bind};

use super::crafted::{Case, Document, text};
use super::{attribute, oscap_is_here};

fn literal(datatype: &str, value: &str) -> String {
    format!(r#"<literal_component datatype="{datatype}">{value}</literal_component>"#)
}

/// Every function over what it treats in its own way. What `oscap` gets wrong is left out: differences below zero, formats by name,
/// classes at the start of a path's part, text as a number.
fn bodies(several: &str, many: &str) -> Vec<String> {
    let words = ["ab", "", "a,b,,c", ",a", "a.b*c(d)", "/etc/ssh/sshd_config", "x=1;y=22", "0022", "\u{e9}t\u{e9}"];
    let texts: Vec<String> = words.iter().filter(|w| !w.is_empty()).map(|w| literal("string", w)).collect();
    let sources: Vec<&String> = texts.iter().collect();
    let mut out = Vec::new();
    for source in sources.iter().map(|s| s.as_str()).chain([several, many]) {
        out.push(source.to_string());
        for function in [
            r#"begin character="a""#,
            r#"begin character="/etc/""#,
            r#"end character="b""#,
            r#"end character="_config""#,
            "escape_regex",
            r#"split delimiter=",""#,
            r#"split delimiter="b""#,
            r#"split delimiter=",,""#,
            r#"regex_capture pattern="(\d+)""#,
            r#"regex_capture pattern="^([a-z]+)=(\d)""#,
            r#"regex_capture pattern="[a-z](?:,|$)""#,
            r#"regex_capture pattern="(a)?b""#,
            r#"regex_capture pattern="(unclosed""#,
            r#"substring substring_start="1" substring_length="2""#,
            r#"substring substring_start="0" substring_length="1""#,
            r#"substring substring_start="2" substring_length="-1""#,
            r#"substring substring_start="2" substring_length="100""#,
            r#"substring substring_start="3" substring_length="1""#,
            "count",
            "unique",
        ] {
            let name = function.split(' ').next().unwrap();
            // A cut through a character is theirs alone.
            if !(name == "substring" && source.contains('\u{e9}')) {
                out.push(format!("<{function}>{source}</{name}>"));
            }
        }
        for other in [literal("string", "-"), several.to_string()] {
            out.push(format!("<concat>{source}{other}</concat>"));
            out.push(format!("<concat>{other}{source}{other}</concat>"));
            out.push(format!("<count>{source}{other}</count>"));
            out.push(format!("<unique>{source}{other}{source}</unique>"));
        }
    }
    for glob in ["/etc/*.conf", "a*b?c", "?x", "/?x", "[abc]x", "[!abc]x", "{a,b}(c)+$", r"a\*b", r"a\nb", "a*b?[", r"[a\n]", "x|y", "*.*"]
    {
        for noescape in ["true", "false"] {
            out.push(format!(r#"<glob_to_regex glob_noescape="{noescape}">{}</glob_to_regex>"#, literal("string", glob)));
        }
    }
    for (a, b) in
        [(("int", "2"), ("int", "3")), (("int", "2"), ("float", "1.5")), (("float", "0.5"), ("float", "4")), (("int", "-7"), ("int", "5"))]
    {
        for operation in ["add", "multiply"] {
            let pair = literal(a.0, a.1) + &literal(b.0, b.1);
            out.push(format!(r#"<arithmetic arithmetic_operation="{operation}">{pair}</arithmetic>"#));
            let inner = format!("<count>{several}</count>");
            out.push(format!(r#"<arithmetic arithmetic_operation="{operation}">{inner}{pair}</arithmetic>"#));
        }
    }
    for (format, later, earlier) in [
        ("year_month_day", "2009-09-05", "2009-09-01"),
        ("year_month_day", "20090905", "2009/09/01 10:11:12"),
        ("month_day_year", "09/05/2009", "09-01-2009"),
        ("day_month_year", "05/09/2009", "01-09-2009"),
        ("seconds_since_epoch", "1252159200", "1252100000"),
        ("cim_datetime", "20090905140000.000000+000", "2009-09-05 13:00:00:000"),
    ] {
        let pair = literal("string", later) + &literal("string", earlier);
        out.push(format!(r#"<time_difference format_1="{format}" format_2="{format}">{pair}</time_difference>"#));
    }
    out
}

fn unescaped(text: &str) -> String {
    let named = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    named.replace("&#xE9;", "\u{e9}").replace("&amp;", "&")
}

#[test]
fn functions_come_to_the_values_that_oscap_computes() {
    if !oscap_is_here() {
        return;
    }
    let mut document = Document::default();
    let items = [("exists", text("a,b") + &text("")), ("exists", text("12"))];
    let object = document.object(Some("complete"), &items.map(|(status, entities)| (status, entities.replace(&text(""), &text("b")))));
    let several = format!(r#"<object_component object_ref="{object}" item_field="text"/>"#);
    document.variables.push_str(
        r#"<constant_variable id="oval:x:var:0" version="1" datatype="string" comment="c"><value>x</value><value>ab,c</value><value>x</value></constant_variable>"#,
    );
    let many = r#"<variable_component var_ref="oval:x:var:0"/>"#;
    let bodies = bodies(&several, many);
    for (at, body) in (1..).zip(&bodies) {
        let id = format!("oval:x:var:{at}");
        let datatype = if body.starts_with("<count") || body.starts_with("<time") { "int" } else { "string" };
        let datatype = if body.starts_with("<arith") { "float" } else { datatype };
        writeln!(document.variables, r#"<local_variable id="{id}" version="1" datatype="{datatype}" comment="c">{body}</local_variable>"#)
            .unwrap();
        let wanted = format!(r#"<ind:text var_ref="{id}" var_check="at least one"/>"#);
        document.case(body, &Case { states: vec![("AND", wanted)], items: vec![("exists", text("1"))], ..Case::default() });
    }
    let mut compared = 0;
    document.compare_also(&mut |definitions, system, results| {
        let mut theirs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for tag in results.split("<tested_variable").skip(1) {
            let value = tag.split_once('>').unwrap().1.split_once("</tested_variable").map_or("", |(value, _)| value);
            theirs.entry(attribute(tag, "variable_id")).or_default().push(unescaped(value));
        }
        let limits = Limits::default();
        let content = Arc::new(read::read_text(definitions, "it", &limits).unwrap());
        let prepared = Prepared::new(content.clone(), &BTreeMap::new(), Compat::OpenScap, &limits);
        let systems = SystemCharacteristics::parse(system, &limits).unwrap();
        let facts = bind(&systems, &content);
        let mut evaluation = Evaluation::new(&prepared, &facts, 1_700_000_000);
        for (id, variable) in (0..).map(VariableId).zip(&content.variables) {
            // A constant is listed with every test of a variable that uses it.
            if &*variable.id == "oval:x:var:0" {
                continue;
            }
            let ours = evaluation.values(id);
            let Some(theirs) = theirs.get_mut(&*variable.id).filter(|_| ours.flag == Flag::Complete) else { continue };
            let mut ours: Vec<String> = ours.values.iter().map(ToString::to_string).collect();
            ours.sort();
            theirs.sort();
            assert_eq!(&ours, theirs, "{:?}", variable.source);
            compared += 1;
        }
    });
    assert!(compared > 200, "{compared}");
}
