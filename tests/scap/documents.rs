//! `muster eval` with SCAP content as a user runs it: tables and documents, read back by `oscap` and compared with its own answers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

use super::content::data;

fn muster(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_muster")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A benchmark with a profile whose value decides, over one file of two lines.
fn benchmark(folder: &Path) {
    let oval = r#"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5">
<generator><oval:schema_version>5.11</oval:schema_version><oval:timestamp>2026-01-01T00:00:00</oval:timestamp></generator>
<definitions><definition class="compliance" id="oval:t:def:1" version="1"><metadata><title>t</title><description>d</description></metadata><criteria><criterion test_ref="oval:t:tst:1" comment="c"/></criteria></definition></definitions>
<tests><textfilecontent54_test xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent" id="oval:t:tst:1" version="1" comment="the limit is right" check="all"><object object_ref="oval:t:obj:1"/><state state_ref="oval:t:ste:1"/></textfilecontent54_test></tests>
<objects><textfilecontent54_object xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent" id="oval:t:obj:1" version="1"><filepath>/etc/limits.conf</filepath><pattern operation="pattern match">^limit=(\d+)$</pattern><instance datatype="int">1</instance></textfilecontent54_object></objects>
<states><textfilecontent54_state xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent" id="oval:t:ste:1" version="1"><subexpression datatype="int" operation="less than or equal" var_ref="oval:t:var:1"/></textfilecontent54_state></states>
<variables><external_variable id="oval:t:var:1" version="1" datatype="int" comment="v"/></variables></oval_definitions>"#;
    let xccdf = r#"<Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2" id="xccdf_t_benchmark_b"><status>draft</status><title>B</title><version>1</version>
<Profile id="xccdf_t_profile_strict"><title>strict</title><refine-value idref="xccdf_t_value_v" selector="strict"/></Profile>
<Profile id="xccdf_t_profile_lax"><title>lax</title></Profile>
<Value id="xccdf_t_value_v" type="number"><title>v</title><value>100</value><value selector="strict">10</value></Value>
<Rule id="xccdf_t_rule_r" selected="true" severity="high"><title>R</title><ident system="http://cce.mitre.org">CCE-1</ident><check system="http://oval.mitre.org/XMLSchema/oval-definitions-5"><check-export export-name="oval:t:var:1" value-id="xccdf_t_value_v"/><check-content-ref href="oval.xml" name="oval:t:def:1"/></check></Rule></Benchmark>"#;
    let stream = format!(
        r##"<ds:data-stream-collection xmlns:ds="http://scap.nist.gov/schema/scap/source/1.2" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:cat="urn:oasis:names:tc:entity:xmlns:xml:catalog" id="scap_t_collection_c" schematron-version="1.3">
<ds:data-stream id="scap_t_datastream_d" scap-version="1.3" use-case="OTHER"><ds:checklists><ds:component-ref id="scap_t_cref_x" xlink:href="#scap_t_comp_x"><cat:catalog><cat:uri name="oval.xml" uri="#scap_t_cref_o"/></cat:catalog></ds:component-ref></ds:checklists>
<ds:checks><ds:component-ref id="scap_t_cref_o" xlink:href="#scap_t_comp_o"/></ds:checks></ds:data-stream>
<ds:component id="scap_t_comp_x" timestamp="2026-01-01T00:00:00">{xccdf}</ds:component><ds:component id="scap_t_comp_o" timestamp="2026-01-01T00:00:00">{oval}</ds:component></ds:data-stream-collection>"##
    );
    std::fs::write(folder.join("ds.xml"), stream).unwrap();
    let scan = r#"{"format":"muster.scan/1","endpoint":"web-1","hostname":"web-1","collected_at":"2026-11-21T08:00:00Z","tables":{
"os":[{"family":"linux","name":"Debian","version":"12","arch":"x86_64"}],"text":[{"path":"/etc/limits.conf","content":"a\nlimit=50\n"}],
"scope":[{"table":"text","item":"/etc/limits.conf","state":"present"}]}}"#;
    std::fs::write(folder.join("scan.json"), scan).unwrap();
}

#[test]
fn a_profile_decides_and_documents_are_read_by_oscap() {
    let folder = tempfile::tempdir().unwrap();
    benchmark(folder.path());
    let (stream, scan) = (folder.path().join("ds.xml"), folder.path().join("scan.json"));
    let (stream, scan) = (stream.to_str().unwrap(), scan.to_str().unwrap());
    for (profile, verdict, code) in [("strict", "fail", 2), ("lax", "pass", 0)] {
        let out = muster(&["eval", "--rules", stream, "--profile", profile, "--scan", scan, "--output", "json"]);
        assert_eq!(out.status.code(), Some(code), "{}", text(&out.stderr));
        let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(said["scans"][0]["verdicts"][0]["rule"], format!("xccdf_t_rule_r@{profile}"));
        assert_eq!(said["scans"][0]["verdicts"][0]["verdict"], verdict);
        for output in ["oval", "xccdf", "arf"] {
            let out = muster(&["eval", "--rules", stream, "--profile", profile, "--scan", scan, "--output", output]);
            assert_eq!(out.status.code(), Some(code), "{output}: {}", text(&out.stderr));
            let file = folder.path().join(format!("{profile}.{output}.xml"));
            std::fs::write(&file, &out.stdout).unwrap();
            let wanted = if output == "oval" { format!("result=\"{}\"", verdict == "pass") } else { format!("<result>{verdict}</result>") };
            assert!(text(&out.stdout).contains(&wanted), "{output} says {wanted}");
            validated(output, &file);
        }
    }
    let explained = muster(&["rules", "explain", stream, "--profile", "lax", "xccdf_t_rule_r@lax"]);
    let explained = text(&explained.stdout);
    assert!(explained.contains("row by row over `text`, by path = \"/etc/limits.conf\"") && explained.contains("cce CCE-1"), "{explained}");
    let none = muster(&["eval", "--rules", stream, "--profile", "absent", "--scan", scan]);
    assert!(none.status.code() != Some(0) && text(&none.stderr).contains("strict"), "{}", text(&none.stderr));
    let options = muster(&["eval", "--rules", "rules/linux-server", "--profile", "x", "--scan", scan]);
    assert!(text(&options.stderr).contains("--profile is about SCAP content"), "{}", text(&options.stderr));
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn validated(output: &str, file: &Path) {
    let arguments: &[&str] = match output {
        "oval" => &["oval", "validate", "--results"],
        "xccdf" => &["xccdf", "validate"],
        _ => &["ds", "rds-validate"],
    };
    let Ok(out) = Command::new("oscap").args(arguments).arg(file).output() else {
        assert!(std::env::var_os("MUSTER_REQUIRE_PEERS").is_none(), "MUSTER_REQUIRE_PEERS is set: oscap is not installed");
        eprintln!("skipped: oscap is not installed");
        return;
    };
    assert!(out.status.success(), "{output}: {}{}", text(&out.stdout), text(&out.stderr));
}

/// The report of a real host, judged again from its own system characteristics.
#[test]
fn a_real_report_judged_again_is_the_same() {
    let Some(data) = data("a report of a real host judged again by muster eval") else { return };
    let stream = data.join("scap/ssg-debian12-ds-0.1.82.xml.gz");
    let report = data.join("syschar/bookworm.cis_level2_server.arf.xml.gz");
    let (stream, report) = (stream.to_str().unwrap(), report.to_str().unwrap());
    let arguments = ["eval", "--rules", stream, "--profile", "cis_level2_server", "--compat", "openscap", "--scan", report, "--output"];
    let json = muster(&[&arguments[..], &["json"]].concat());
    let said: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let ours: BTreeMap<String, String> = said["scans"][0]["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (v["rule"].as_str().unwrap().split('@').next().unwrap().to_owned(), v["verdict"].as_str().unwrap().to_owned()))
        .collect();
    let theirs = std::fs::read_to_string(data.join("syschar/bookworm.cis_level2_server.rules.tsv")).unwrap();
    let theirs: BTreeMap<String, String> = theirs
        .lines()
        .filter_map(|l| l.split_once('\t'))
        .filter(|(_, verdict)| *verdict != "notselected")
        .map(|(rule, verdict)| (rule.to_owned(), verdict.to_owned()))
        .collect();
    assert_eq!(ours.len(), 507);
    assert_eq!(ours, theirs);
    assert!(!text(&json.stderr).contains("bug in muster"), "{}", text(&json.stderr));
    let xccdf = muster(&[&arguments[..], &["xccdf"]].concat());
    assert!(text(&xccdf.stdout).contains("65.39"), "{}", text(&xccdf.stderr));
    // A host of another kind: nothing applies, which is not compliance.
    let other = data.join("scap/ssg-rhel9-ds-0.1.82.xml.gz");
    let none = muster(&["eval", "--rules", other.to_str().unwrap(), "--profile", "stig", "--scan", report]);
    let mut said = String::new();
    write!(said, "{}{}", text(&none.stdout), text(&none.stderr)).unwrap();
    assert!(none.status.code() == Some(2) && said.contains("no evidence"), "{said}");
}
