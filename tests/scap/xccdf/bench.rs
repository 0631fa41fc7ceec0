//! A benchmark of our own that uses every construct of XCCDF once, over OVAL that is decided without looking at the host.

use std::fmt::Write;

const OVAL_SYSTEM: &str = "http://oval.mitre.org/XMLSchema/oval-definitions-5";

/// Definitions by number: what they come to.
const TRUE: u32 = 1;
const FALSE: u32 = 2;
const UNKNOWN: u32 = 3;
const ERROR: u32 = 4;
const NOT_EVALUATED: u32 = 5;
const VULNERABLE: u32 = 6;
const PATCHED: u32 = 7;
/// True if the external variable is `alpha`, or one of `alpha` and `beta`.
const ALPHA: u32 = 8;
const ALPHA_OR_BETA: u32 = 9;

fn oval(namespace: &str, body: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<oval_definitions xmlns="{OVAL_SYSTEM}" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5"
  xmlns:ind="{OVAL_SYSTEM}#independent">
  <generator><oval:schema_version>5.11</oval:schema_version><oval:timestamp>2026-01-01T00:00:00</oval:timestamp></generator>
  <!-- {namespace} -->{body}
</oval_definitions>"#
    )
}

fn definition(space: &str, n: u32, class: &str, criteria: &str) -> String {
    let criteria = if criteria.is_empty() { String::new() } else { format!("<criteria>{criteria}</criteria>") };
    format!(
        "<definition id=\"oval:{space}:def:{n}\" version=\"1\" class=\"{class}\"><metadata><title>d{n}</title><description>d</description></metadata>{criteria}</definition>"
    )
}

/// The main document: definitions 1 to 9.
pub(super) fn checks() -> String {
    let test = |n: u32| format!("<criterion test_ref=\"oval:m:tst:{n}\"/>");
    let mut out = String::from("<definitions>");
    for (n, class, criteria) in [
        (TRUE, "compliance", test(1)),
        (FALSE, "compliance", test(2)),
        (UNKNOWN, "compliance", test(3)),
        (ERROR, "compliance", test(4)),
        (NOT_EVALUATED, "compliance", String::new()),
        (VULNERABLE, "vulnerability", test(1)),
        (PATCHED, "patch", test(2)),
        (ALPHA, "compliance", test(5)),
        (ALPHA_OR_BETA, "compliance", test(6)),
    ] {
        out.push_str(&definition("m", n, class, &criteria));
    }
    out.push_str("</definitions><tests>");
    for n in [1, 2, 4, 5, 6] {
        write!(
            out,
            "<ind:variable_test id=\"oval:m:tst:{n}\" version=\"1\" check=\"all\" comment=\"t\"><ind:object object_ref=\"oval:m:obj:{n}\"/><ind:state state_ref=\"oval:m:ste:{n}\"/></ind:variable_test>"
        )
        .unwrap();
    }
    out.push_str("<ind:unknown_test id=\"oval:m:tst:3\" version=\"1\" check=\"all\" comment=\"t\"/></tests><objects>");
    for (n, variable) in [(1, 1), (2, 1), (4, 1), (5, 2), (6, 3)] {
        write!(out, "<ind:variable_object id=\"oval:m:obj:{n}\" version=\"1\"><ind:var_ref>oval:m:var:{variable}</ind:var_ref></ind:variable_object>").unwrap();
    }
    out.push_str("</objects><states>");
    for (n, value) in [
        (1, "<ind:value>yes</ind:value>"),
        (2, "<ind:value>no</ind:value>"),
        (4, "<ind:value datatype=\"int\">5</ind:value>"),
        (5, "<ind:value var_ref=\"oval:m:var:9\" var_check=\"all\"/>"),
        (6, "<ind:value var_ref=\"oval:m:var:9\" var_check=\"at least one\"/>"),
    ] {
        write!(out, "<ind:variable_state id=\"oval:m:ste:{n}\" version=\"1\">{value}</ind:variable_state>").unwrap();
    }
    out.push_str("</states><variables>");
    for (n, values) in [(1, &["yes"][..]), (2, &["alpha"]), (3, &["alpha"])] {
        write!(out, "<constant_variable id=\"oval:m:var:{n}\" version=\"1\" datatype=\"string\" comment=\"c\">").unwrap();
        for value in values {
            write!(out, "<value>{value}</value>").unwrap();
        }
        out.push_str("</constant_variable>");
    }
    out.push_str("<external_variable id=\"oval:m:var:9\" version=\"1\" datatype=\"string\" comment=\"c\"/></variables>");
    oval("m", &out)
}

/// A document that is asked as a whole: two definitions are true, a third is as `third` says.
pub(super) fn whole(space: &str, third: bool) -> String {
    let criterion = |n: u32| format!("<criterion test_ref=\"oval:{space}:tst:{n}\"/>");
    let mut out = String::from("<definitions>");
    for (n, of) in [(1, 1), (2, 1), (3, if third { 1 } else { 2 })] {
        out.push_str(&definition(space, n, "inventory", &criterion(of)));
    }
    out.push_str("</definitions><tests>");
    for n in [1, 2] {
        write!(
            out,
            "<ind:variable_test id=\"oval:{space}:tst:{n}\" version=\"1\" check=\"all\" comment=\"t\"><ind:object object_ref=\"oval:{space}:obj:1\"/><ind:state state_ref=\"oval:{space}:ste:{n}\"/></ind:variable_test>"
        )
        .unwrap();
    }
    write!(
        out,
        "</tests><objects><ind:variable_object id=\"oval:{space}:obj:1\" version=\"1\"><ind:var_ref>oval:{space}:var:1</ind:var_ref></ind:variable_object></objects><states><ind:variable_state id=\"oval:{space}:ste:1\" version=\"1\"><ind:value>yes</ind:value></ind:variable_state><ind:variable_state id=\"oval:{space}:ste:2\" version=\"1\"><ind:value>no</ind:value></ind:variable_state></states><variables><constant_variable id=\"oval:{space}:var:1\" version=\"1\" datatype=\"string\" comment=\"c\"><value>yes</value></constant_variable></variables>"
    )
    .unwrap();
    oval(space, &out)
}

/// `true` and `false` are platforms that do and do not hold; `double` stands twice, once with each.
pub(super) fn dictionary() -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<cpe-list xmlns=\"http://cpe.mitre.org/dictionary/2.0\">");
    for (name, n) in [
        ("cpe:/o:muster:true:1", 1),
        ("cpe:/o:muster:false:1", 3),
        ("cpe:/o:muster:double:1", 3),
        ("cpe:/o:muster:double:2", 1),
        ("cpe:/o:muster:edition:1::~~lts~~~", 1),
    ] {
        write!(out, "<cpe-item name=\"{name}\"><title xml:lang=\"en-us\">{name}</title><check system=\"{OVAL_SYSTEM}\" href=\"cpe-oval.xml\">oval:p:def:{n}</check></cpe-item>").unwrap();
    }
    out.push_str("</cpe-list>");
    out
}

pub(super) fn id(kind: &str, name: &str) -> String {
    format!("xccdf_muster_{kind}_{name}")
}

fn check(n: u32) -> String {
    format!("<check system=\"{OVAL_SYSTEM}\"><check-content-ref href=\"oval.xml\" name=\"oval:m:def:{n}\"/></check>")
}

fn check_with(n: u32, attributes: &str, exports: &[&str]) -> String {
    let exports: String =
        exports.iter().map(|e| format!("<check-export value-id=\"{}\" export-name=\"oval:m:var:9\"/>", id("value", e))).collect();
    format!("<check system=\"{OVAL_SYSTEM}\" {attributes}>{exports}<check-content-ref href=\"oval.xml\" name=\"oval:m:def:{n}\"/></check>")
}

fn content(attributes: &str, refs: &str) -> String {
    format!("<check system=\"{OVAL_SYSTEM}\" {attributes}>{refs}</check>")
}

fn rule(name: &str, attributes: &str, body: &str) -> String {
    format!("<Rule id=\"{}\" {attributes}><title>{name}</title>{body}</Rule>\n", id("rule", name))
}

fn group(name: &str, attributes: &str, body: &str) -> String {
    format!("<Group id=\"{}\" {attributes}><title>{name}</title>{body}</Group>\n", id("group", name))
}

fn platform(idref: &str) -> String {
    format!("<platform idref=\"{idref}\"/>")
}

fn requires(names: &[&str]) -> String {
    format!("<requires idref=\"{}\"/>", names.iter().map(|n| id("rule", n)).collect::<Vec<_>>().join(" "))
}

fn conflicts(name: &str) -> String {
    format!("<conflicts idref=\"{}\"/>", id("rule", name))
}

fn results() -> String {
    let mut out = String::new();
    for (name, n) in [
        ("true", TRUE),
        ("false", FALSE),
        ("unknown", UNKNOWN),
        ("error", ERROR),
        ("not_evaluated", NOT_EVALUATED),
        ("vulnerable", VULNERABLE),
        ("patched", PATCHED),
    ] {
        out += &rule(name, "", &check(n));
        out += &rule(&format!("negated_{name}"), "", &check_with(n, "negate=\"true\"", &[]));
        out += &rule(&format!("unscored_{name}"), "role=\"unscored\" severity=\"info\"", &check(n));
    }
    out += &rule("unscored_negated", "role=\"unscored\"", &check_with(TRUE, "negate=\"true\"", &[]));
    out += &rule("unscored_missing", "role=\"unscored\"", &content("", "<check-content-ref href=\"oval.xml\" name=\"oval:m:def:99\"/>"));
    out += &rule("unscored_without", "role=\"unscored\"", "");
    out += &rule("unscored_complex", "role=\"unscored\"", &format!("<complex-check operator=\"AND\">{}</complex-check>", check(TRUE)));
    out += &rule("unchecked", "role=\"unchecked\"", &check(FALSE));
    out += &rule("unchecked_elsewhere", "role=\"unchecked\"", &(platform("cpe:/o:muster:false:1") + &check(FALSE)));
    out += &rule("heavy", "weight=\"7.5\"", &check(TRUE));
    out += &rule("weightless", "weight=\"0.0\"", &check(TRUE));
    out
}

/// Every pair of results under each operator, and deeper ones.
fn complex() -> String {
    let all = [("t", TRUE), ("f", FALSE), ("u", UNKNOWN), ("e", ERROR), ("n", NOT_EVALUATED)];
    let mut out = String::new();
    for operator in ["AND", "OR"] {
        for (a, first) in all {
            for (b, second) in all {
                let name = format!("{}_{a}_{b}", operator.to_lowercase());
                let body = format!("<complex-check operator=\"{operator}\">{}{}</complex-check>", check(first), check(second));
                out += &rule(&name, "", &body);
            }
        }
    }
    let nested = |negate: &str| {
        format!(
            "<complex-check operator=\"AND\" negate=\"{negate}\">{}<complex-check operator=\"OR\">{}{}</complex-check>{}</complex-check>",
            check(TRUE),
            check(FALSE),
            check_with(FALSE, "negate=\"true\"", &[]),
            content("", "<check-content-ref href=\"elsewhere.xml\" name=\"oval:m:def:1\"/>")
        )
    };
    out += &rule("nested", "", &nested("false"));
    out += &rule("nested_negated", "", &nested("true"));
    out += &rule("complex_before_check", "", &format!("{}<complex-check operator=\"OR\">{}</complex-check>", check(FALSE), check(TRUE)));
    out += &rule(
        "complex_unbound",
        "",
        &format!("<complex-check operator=\"OR\">{}{}</complex-check>", check_with(ALPHA, "", &["absent"]), check(FALSE)),
    );
    out += &rule(
        "complex_whole",
        "",
        &format!("<complex-check operator=\"AND\">{}</complex-check>", content("", "<check-content-ref href=\"mixed.xml\"/>")),
    );
    out
}

fn candidates() -> String {
    let other = "<check system=\"urn:muster:other\"><check-content-ref href=\"x\"/></check>";
    let refs = |list: &[(&str, u32)]| {
        list.iter().map(|(href, n)| format!("<check-content-ref href=\"{href}\" name=\"oval:m:def:{n}\"/>")).collect::<String>()
    };
    let mut out = String::new();
    out += &rule("no_check", "", "");
    out += &rule("other_system", "", other);
    out += &rule("other_then_oval", "", &(other.to_owned() + &check(TRUE)));
    out += &rule("oval_then_other", "", &(check(TRUE) + other));
    out += &rule("two_ovals", "", &(check(TRUE) + &check(FALSE)));
    out +=
        &rule("alternatives", "", &content("", &refs(&[("elsewhere.xml", 1), ("oval.xml", 99), ("oval.xml", TRUE), ("oval.xml", FALSE)])));
    out += &rule("nothing_there", "", &content("", &refs(&[("elsewhere.xml", 1), ("oval.xml", 99)])));
    out += &rule("not_evaluated_first", "", &content("", &refs(&[("oval.xml", NOT_EVALUATED), ("oval.xml", TRUE)])));
    let selected = |s: &str, n: u32| check_with(n, &format!("selector=\"{s}\""), &[]);
    out += &rule("selectors", "", &(selected("a", TRUE) + &selected("b", FALSE) + &selected("", UNKNOWN)));
    out += &rule("selectors_only", "", &(selected("a", TRUE) + &selected("b", FALSE)));
    for (name, file) in [("all", "whole.xml"), ("mixed", "mixed.xml")] {
        let reference = format!("<check-content-ref href=\"{file}\"/>");
        out += &rule(&format!("whole_{name}"), "", &content("", &reference));
        out += &rule(&format!("whole_{name}_negated"), "", &content("negate=\"true\"", &reference));
        // Scores of results that differ are ours alone: OpenSCAP takes whichever stands first.
        let role = if name == "all" { "" } else { "role=\"unscored\"" };
        out += &rule(&format!("multi_{name}"), role, &content("multi-check=\"true\"", &reference));
        out += &rule(&format!("multi_{name}_negated"), role, &content("multi-check=\"true\" negate=\"true\"", &reference));
    }
    out += &rule("multi_named", "", &content("multi-check=\"true\"", "<check-content-ref href=\"whole.xml\" name=\"oval:w:def:1\"/>"));
    out
}

fn selection() -> String {
    let mut out = String::new();
    out += &rule("off", "selected=\"false\"", &check(TRUE));
    out += &rule("needs_on", "", &(requires(&["true"]) + &check(TRUE)));
    out += &rule("needs_off", "", &(requires(&["off"]) + &check(TRUE)));
    out += &rule("needs_any", "", &(requires(&["off", "true"]) + &check(TRUE)));
    out += &rule("needs_both", "", &(requires(&["off"]) + &requires(&["true"]) + &check(TRUE)));
    out += &rule("needs_refused", "", &(requires(&["needs_off"]) + &check(TRUE)));
    out += &rule("needs_each_other", "", &(requires(&["needs_back"]) + &check(TRUE)));
    out += &rule("needs_back", "", &(requires(&["needs_each_other"]) + &check(TRUE)));
    out += &rule("against_on", "", &(conflicts("true") + &check(TRUE)));
    out += &rule("against_off", "", &(conflicts("off") + &check(TRUE)));
    out += &rule("against_refused", "", &(conflicts("needs_off") + &check(TRUE)));
    out += &rule("left", "", &(conflicts("right") + &check(TRUE)));
    out += &rule("right", "", &(conflicts("left") + &check(TRUE)));
    out +=
        &group("off", "selected=\"false\"", &(rule("in_off", "", &check(TRUE)) + &rule("in_off_too", "selected=\"true\"", &check(TRUE))));
    out += &rule("needs_in_off", "", &(requires(&["in_off"]) + &check(TRUE)));
    out += &group(
        "refused",
        "",
        &(requires(&["off"]) + &rule("in_refused", "", &check(TRUE)) + &group("deep", "", &rule("deep_in_refused", "", &check(TRUE)))),
    );
    out += &rule("needs_in_refused", "", &(requires(&["deep_in_refused"]) + &check(TRUE)));
    out += &rule("against_in_refused", "", &(conflicts("in_refused") + &check(TRUE)));
    out += &rule("cluster_one", "cluster-id=\"cluster\" selected=\"false\"", &check(TRUE));
    out += &rule("cluster_two", "cluster-id=\"cluster\"", &check(FALSE));
    out += &rule("base", "abstract=\"true\" weight=\"3.0\" role=\"unscored\" severity=\"high\"", &check(TRUE));
    out += &rule("child", &format!("extends=\"{}\"", id("rule", "base")), "");
    out += &rule("child_own", &format!("extends=\"{}\" role=\"full\" weight=\"2.0\"", id("rule", "base")), &check(FALSE));
    out += &rule("grandchild", &format!("extends=\"{}\"", id("rule", "child_own")), "");
    out += &rule("visible", &format!("extends=\"{}\" selected=\"false\"", id("rule", "true")), "");
    out
}

fn values() -> String {
    let mut out = String::new();
    let value = |name: &str, attributes: &str, body: &str| {
        format!("<Value id=\"{}\" type=\"string\" {attributes}><title>{name}</title>{body}</Value>\n", id("value", name))
    };
    out += &value("plain", "", "<value>alpha</value>");
    out += &value("other", "", "<value>beta</value>");
    out += &value("chosen", "", "<value>gamma</value><value selector=\"a\">alpha</value><value selector=\"b\">beta</value>");
    out += &value("unnamed", "", "<value selector=\"a\">alpha</value><value selector=\"b\">beta</value>");
    out += &value("defaulted", "", "<value>alpha</value><default>beta</default>");
    out += &value("parent", "abstract=\"true\"", "<value>alpha</value><value selector=\"b\">beta</value>");
    out += &value("heir", &format!("extends=\"{}\"", id("value", "parent")), "<value>beta</value><value selector=\"c\">gamma</value>");
    for name in ["plain", "other", "chosen", "unnamed", "defaulted", "heir"] {
        out += &rule(&format!("value_{name}"), "", &check_with(ALPHA, "", &[name]));
    }
    out += &rule("value_none", "", &check(ALPHA_OR_BETA));
    out += &rule("value_both", "", &check_with(ALPHA_OR_BETA, "", &["plain", "other"]));
    out += &rule("value_both_all", "", &check_with(ALPHA, "", &["plain", "other"]));
    out += &rule("value_again", "", &check_with(ALPHA, "", &["plain"]));
    out += &rule("value_absent", "", &check_with(ALPHA, "", &["absent"]));
    out += &rule("value_absent_unscored", "role=\"unscored\"", &check_with(ALPHA, "", &["absent"]));
    out
}

fn platforms() -> String {
    let mut out = String::new();
    for (name, idrefs) in [
        ("holds", &["cpe:/o:muster:true:1"][..]),
        ("shorter", &["cpe:/o:muster:true"]),
        ("other_case", &["cpe:/o:Muster:TRUE:1"]),
        ("longer", &["cpe:/o:muster:true:1:sp1"]),
        ("not", &["cpe:/o:muster:false:1"]),
        ("unheard_of", &["cpe:/o:muster:nothing:1"]),
        ("any", &["cpe:/o:muster:false:1", "cpe:/o:muster:true:1"]),
        ("double", &["cpe:/o:muster:double"]),
        ("double_first", &["cpe:/o:muster:double:1"]),
        ("gap", &["cpe:/o:muster::1"]),
        ("vendor", &["cpe:/o:muster"]),
        ("edition", &["cpe:/o:muster:edition:1::~~lts~~~"]),
        ("edition_other", &["cpe:/o:muster:edition:1::~~esm~~~"]),
        ("edition_open", &["cpe:/o:muster:edition:1"]),
        ("string", &["cpe:2.3:o:muster:true:1:*:*:*:*:*:*:*"]),
        ("lang", &["#and_true"]),
        ("lang_bare", &["and_true"]),
        ("lang_false", &["#and_false"]),
        ("lang_or", &["#or"]),
        ("lang_not", &["#not"]),
        ("lang_not_unknown", &["#not_missing"]),
        ("lang_name", &["#name"]),
        ("lang_name_unheard", &["#name_unheard"]),
        ("lang_nested", &["#nested"]),
        ("lang_absent", &["#absent"]),
    ] {
        let body: String = idrefs.iter().map(|i| platform(i)).collect();
        out += &rule(&format!("platform_{name}"), "", &(body + &check(TRUE)));
    }
    let inner = rule("in_elsewhere", "", &check(TRUE)) + &rule("in_elsewhere_here", "", &(platform("cpe:/o:muster:true:1") + &check(TRUE)));
    out += &group("elsewhere", "", &(platform("cpe:/o:muster:false:1") + &inner));
    out += &group(
        "here",
        "weight=\"4.0\"",
        &(platform("cpe:/o:muster:true:1") + &rule("in_here", "", &check(TRUE)) + &rule("in_here_not", "", &check(FALSE))),
    );
    out
}

fn language() -> String {
    let fact = |n: u32| format!("<cpe:check-fact-ref system=\"{OVAL_SYSTEM}\" href=\"cpe-oval.xml\" id-ref=\"oval:p:def:{n}\"/>");
    let (yes, no, missing) = (fact(1), fact(3), fact(99));
    let name = |n: &str| format!("<cpe:fact-ref name=\"{n}\"/>");
    let logical = |operator: &str, negate: bool, of: &str| {
        format!("<cpe:logical-test operator=\"{operator}\" negate=\"{negate}\">{of}</cpe:logical-test>")
    };
    let mut out = String::from("<cpe:platform-specification>");
    for (id, test) in [
        ("and_true", logical("AND", false, &format!("{yes}{yes}"))),
        ("and_false", logical("AND", false, &format!("{yes}{no}"))),
        ("or", logical("OR", false, &format!("{no}{yes}"))),
        ("not", logical("AND", true, &no)),
        ("not_missing", logical("AND", true, &missing)),
        ("name", logical("AND", false, &name("cpe:/o:muster:true:1"))),
        ("name_unheard", logical("OR", false, &format!("{}{yes}", name("cpe:/o:muster:nothing:1")))),
        ("nested", logical("AND", false, &format!("{yes}{}", logical("OR", true, &format!("{no}{no}"))))),
    ] {
        write!(out, "<cpe:platform id=\"{id}\">{test}</cpe:platform>").unwrap();
    }
    out.push_str("</cpe:platform-specification>");
    out
}

fn profile(name: &str, attributes: &str, body: &str) -> String {
    format!("<Profile id=\"{}\" {attributes}><title>{name}</title>{body}</Profile>\n", id("profile", name))
}

fn select(kind: &str, name: &str, selected: bool) -> String {
    let idref = if kind.is_empty() { name.to_owned() } else { id(kind, name) };
    format!("<select idref=\"{idref}\" selected=\"{selected}\"/>")
}

fn refine(name: &str, attributes: &str) -> String {
    format!("<refine-rule idref=\"{}\" {attributes}/>", id("rule", name))
}

fn refine_value(name: &str, selector: &str) -> String {
    format!("<refine-value idref=\"{}\" selector=\"{selector}\"/>", id("value", name))
}

fn set_value(name: &str, value: &str) -> String {
    format!("<set-value idref=\"{}\">{value}</set-value>", id("value", name))
}

pub(super) const PROFILES: [&str; 6] = ["first", "second", "third", "values", "refined", "clustered"];

fn profiles() -> String {
    let extends = |name: &str| format!("extends=\"{}\"", id("profile", name));
    let mut out = String::new();
    let first = select("rule", "off", true)
        + &select("rule", "true", false)
        + &refine("selectors", "selector=\"a\"")
        + &refine_value("chosen", "a");
    out += &profile("first", "", &first);
    let second =
        select("rule", "true", true) + &select("group", "off", true) + &select("rule", "in_off_too", false) + &refine_value("chosen", "b");
    out += &profile("second", &extends("first"), &second);
    out += &profile("third", &extends("second"), &(refine("selectors", "selector=\"b\"") + &select("rule", "left", false)));
    let values = refine_value("chosen", "a")
        + &refine_value("unnamed", "b")
        + &refine_value("heir", "b")
        + &set_value("other", "alpha")
        + &refine_value("plain", "none")
        + &set_value("plain", "alpha")
        + &set_value("defaulted", "gamma");
    out += &profile("values", "", &values);
    let refined = refine("true", "role=\"unchecked\"")
        + &refine("false", "role=\"unscored\"")
        + &refine("selectors", "selector=\"nowhere\"")
        + &refine("selectors_only", "selector=\"b\"")
        + &refine("heavy", "weight=\"2.0\"")
        + &refine("unchecked_elsewhere", "severity=\"low\"")
        + &refine("unchecked", "role=\"full\"");
    out += &profile("refined", "", &refined);
    let clustered = select("", "cluster", true) + &select("rule", "cluster_two", false) + &select("rule", "visible", true);
    out += &profile("clustered", "", &clustered);
    out += &profile("abstract", "abstract=\"true\"", &select("rule", "true", false));
    out
}

/// One profile that extends the benchmark's, one that extends the first, one that takes the place of the benchmark's.
pub(super) fn tailoring() -> String {
    let extends = |name: &str| format!("extends=\"{}\"", id("profile", name));
    let one = select("rule", "false", false) + &set_value("chosen", "alpha") + &refine("unknown", "role=\"unchecked\"");
    let two = select("rule", "error", false) + &select("rule", "false", true);
    let shadow = select("rule", "vulnerable", false);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Tailoring xmlns=\"http://checklists.nist.gov/xccdf/1.2\" id=\"{}\"><benchmark href=\"bench.xml\"/><version time=\"2026-01-01T00:00:00\">3</version>{}{}{}</Tailoring>",
        "xccdf_muster_tailoring_t",
        profile("one", &extends("second"), &one),
        profile("two", &extends("one"), &two),
        profile("first", &extends("first"), &shadow),
    )
}

pub(super) const TAILORED: [&str; 3] = ["one", "two", "first"];

/// `of`: a platform of the whole benchmark.
pub(super) fn benchmark(of: &str) -> String {
    let models: String =
        ["default", "flat", "flat-unweighted", "absolute"].iter().map(|m| format!("<model system=\"urn:xccdf:scoring:{m}\"/>")).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Benchmark xmlns=\"http://checklists.nist.gov/xccdf/1.2\" xmlns:cpe=\"http://cpe.mitre.org/language/2.0\" id=\"{}\" xml:lang=\"en\">\n<status>draft</status><title>t</title><description>d</description><plain-text id=\"plain\">text</plain-text>{}{}<version>1</version>{models}\n{}{}{}{}{}{}{}</Benchmark>",
        id("benchmark", "b"),
        language(),
        if of.is_empty() { String::new() } else { platform(of) },
        profiles(),
        values(),
        group("results", "weight=\"2.0\"", &results()),
        group("complex", "", &complex()),
        group("candidates", "", &candidates()),
        selection(),
        group("platforms", "", &platforms()),
    )
}
