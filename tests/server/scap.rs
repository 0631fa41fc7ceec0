//! SCAP content in the daemon: a profile is a pack, system characteristics are facts, what turns is drift.

use serde_json::Value;

use super::harness::Home;

const OVAL: &str = r#"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5">
<generator><oval:schema_version>5.11</oval:schema_version><oval:timestamp>2026-01-01T00:00:00</oval:timestamp></generator>
<definitions><definition class="compliance" id="oval:t:def:1" version="1"><metadata><title>No forwarding</title><description>d</description></metadata><criteria><criterion test_ref="oval:t:tst:1" comment="c"/></criteria></definition></definitions>
<tests><sysctl_test xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5#unix" id="oval:t:tst:1" version="1" comment="it is off" check="all"><object object_ref="oval:t:obj:1"/><state state_ref="oval:t:ste:1"/></sysctl_test></tests>
<objects><sysctl_object xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5#unix" id="oval:t:obj:1" version="1"><name>net.ipv4.ip_forward</name></sysctl_object></objects>
<states><sysctl_state xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5#unix" id="oval:t:ste:1" version="1"><value datatype="int">0</value></sysctl_state></states></oval_definitions>"#;

fn characteristics(value: &str) -> String {
    format!(
        r#"<oval_system_characteristics xmlns="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5">
<generator><oval:schema_version>5.11</oval:schema_version><oval:timestamp>2026-01-01T00:00:00</oval:timestamp></generator>
<system_info><os_name>Debian</os_name><os_version>12</os_version><architecture>x86_64</architecture><primary_host_name>web-1</primary_host_name><interfaces/></system_info>
<collected_objects><object id="oval:t:obj:1" version="1" flag="complete"><reference item_ref="1"/></object></collected_objects>
<system_data><sysctl_item xmlns="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5#unix" id="1"><name>net.ipv4.ip_forward</name><value>{value}</value></sysctl_item></system_data></oval_system_characteristics>"#
    )
}

fn native(value: &str) -> String {
    format!(
        r#"{{"format":"muster.scan/1","tables":{{"os":[{{"family":"linux"}}],"sysctl":[{{"key":"net.ipv4.ip_forward","value":"{value}"}}]}}}}"#
    )
}

async fn verdict(server: &super::harness::Server, endpoint: &str, rule: &str) -> Value {
    let all = server.get(&format!("/v1/endpoints/{endpoint}/verdicts")).await;
    let found = all["items"].as_array().unwrap().iter().find(|v| v["rule"] == rule).cloned();
    found.unwrap_or_else(|| panic!("{all}"))["verdict"].clone()
}

#[tokio::test]
async fn content_is_judged_over_own_tables_and_over_what_collectors_send() {
    const RULE: &str = "oval:t:def:1";
    let home = Home::new("[[scap]]\ncontent = \"content.xml\"\n");
    std::fs::write(home.path("content.xml"), OVAL).unwrap();
    let server = home.start().await;
    let rule =
        server.get("/v1/rules").await["items"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let rule = rule.into_iter().find(|id| id.contains("def")).expect(RULE);
    assert!(server.get(&format!("/v1/rules/{rule}")).await["scap"].is_object());
    let key = server.enroll("web-1").await;
    server.upload("web-1", &key, native("1")).await;
    assert_eq!(verdict(&server, "web-1", &rule).await, "fail");
    // What a collector says of an object counts before our own table, and leaves that table as it is.
    server.upload("web-1", &key, characteristics("0")).await;
    assert_eq!(verdict(&server, "web-1", &rule).await, "pass");
    assert_eq!(verdict(&server, "web-1", "no-forwarding").await, "fail");
    server.upload("web-1", &key, characteristics("1")).await;
    assert_eq!(verdict(&server, "web-1", &rule).await, "fail");
    let open = server.get("/v1/endpoints/web-1/episodes").await;
    assert!(open["items"].as_array().unwrap().iter().any(|e| e["rule"] == rule.as_str() && e["open"] == true), "{open}");
    // One that has only what a collector sent.
    let key = server.enroll("web-2").await;
    server.upload("web-2", &key, characteristics("0")).await;
    assert_eq!(verdict(&server, "web-2", &rule).await, "pass");
    let refused = server.put("web-2", &key, "identity", "<oval_system_characteristics><object").await;
    assert_eq!((refused.status, refused.body["type"].as_str().map(|t| t.contains("not-a-scan"))), (400, Some(true)), "{:?}", refused.body);
    let refused = server.put("web-2", &key, "identity", "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>").await;
    assert!((400..500).contains(&refused.status), "{:?}", refused.body);
    assert_eq!(verdict(&server, "web-2", &rule).await, "pass");
    server.stop().await;
    let server = home.start().await;
    assert_eq!(verdict(&server, "web-2", &rule).await, "pass");
    server.stop().await;
}
