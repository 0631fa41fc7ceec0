//! Questions over HTTP and from the command line, and what new rules would do.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::harness::{Home, Server, scan};

const GROUPS: &str = "[[group]]\nname = \"web\"\nendpoints = [\"web-*\"]\n[[group]]\nname = \"db\"\nendpoints = [\"db-*\"]\n";

/// Five web servers that route, of which two have telnetd, and two databases that do not; one more has sent nothing.
async fn started(home: &Home) -> Server {
    let server = home.start().await;
    for i in 0..5 {
        let key = server.enroll(&format!("web-{i}")).await;
        let packages: &[&str] = if i < 2 { &["openssl", "telnetd"] } else { &["openssl"] };
        server.upload(&format!("web-{i}"), &key, scan("1", packages)).await;
    }
    for i in 0..2 {
        let key = server.enroll(&format!("db-{i}")).await;
        server.upload(&format!("db-{i}"), &key, scan("0", &["openssl", "postgresql"])).await;
    }
    server.enroll("web-silent").await;
    server
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap()).collect()
}

async fn ask(server: &Server, body: Value) -> Value {
    let got = server.post("/v1/query", &server.admin, body).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.body
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_counted_and_paged() {
    let home = Home::new(GROUPS);
    let server = started(&home).await;
    let telnetd = json!({"check": "package.exists(p, p.name == \"telnetd\")"});
    let found = ask(&server, telnetd.clone()).await;
    assert_eq!((found["count"].as_u64(), ids(&found)), (Some(2), vec!["web-0", "web-1"]));
    assert_eq!(
        found["counts"],
        json!({"pass": 2, "fail": 5, "error": 0, "unknown": 0, "notapplicable": 0, "notchecked": 0, "notselected": 0,
        "informational": 0, "fixed": 0})
    );
    assert_eq!(found["endpoints"], json!({"asked": 7, "without_scan": 1, "stale": 0, "unheard": 0}));
    // Of the column that the first question made.
    assert_eq!(ask(&server, telnetd).await, found);

    let bounds = |below: &str| json!({"package": {"name": "openssl", "scheme": "dpkg", "below": below}, "group": "db"});
    let found = ask(&server, bounds("1.0-2")).await;
    assert_eq!(
        (ids(&found), &found["endpoints"]),
        (vec!["db-0", "db-1"], &json!({"asked": 2, "without_scan": 0, "stale": 0, "unheard": 0}))
    );
    assert_eq!(ask(&server, bounds("1.0-1")).await["count"], 0);

    let rule = json!({"rule": "no-forwarding", "limit": 2, "labels": {"env": "test"}, "platform": "debian:12", "fresh": "1h"});
    let mut all = Vec::new();
    let mut page = rule.clone();
    loop {
        let found = ask(&server, page).await;
        assert_eq!((&found["counts"]["fail"], &found["count"]), (&json!(5), &json!(5)));
        all.extend(ids(&found).into_iter().map(str::to_owned));
        let Some(cursor) = found["next_cursor"].as_str() else { break };
        page = rule.clone();
        page["cursor"] = cursor.into();
    }
    assert_eq!(all, ["web-0", "web-1", "web-2", "web-3", "web-4"]);
    let passing = json!({"rule": "no-forwarding", "verdict": ["pass"]});
    assert_eq!(ids(&ask(&server, passing).await), ["db-0", "db-1"]);
    assert_eq!(ask(&server, json!({"rule": "no-forwarding", "platform": "fedora"})).await["endpoints"]["asked"], 0);
    assert_eq!(ask(&server, json!({"rule": "no-forwarding", "labels": {"env": "prod"}})).await["endpoints"]["asked"], 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_are_refused_with_their_places() {
    let home = Home::new(GROUPS);
    let server = started(&home).await;
    let got = server.post("/v1/query", &server.admin, json!({"check": "true &&\n pakage.size() > 0"})).await;
    assert_eq!((got.status, got.problem()), (422, "bad-question"));
    let problem = &got.body["problems"][0];
    assert_eq!((&problem["code"], &problem["line"], &problem["column"]), (&json!("R011"), &json!(2), &json!(2)), "{got:?}");
    for (body, status, problem) in [
        (json!({}), 422, "bad-question"),
        (json!({"check": "package.size() > 0", "group": "wib"}), 422, "bad-question"),
        (json!({"check": "package.size() > 0", "platform": "debian:"}), 422, "bad-question"),
        (json!({"check": "package.size() > 0", "fresh": "soon"}), 422, "bad-question"),
        (json!({"check": "package.size() > 0", "limit": 0}), 422, "bad-question"),
        (json!({"check": "package.size() > 0", "verdict": ["good"]}), 422, "bad-question"),
        (json!({"rule": "gone"}), 404, "unknown-rule"),
        (json!({"patch": "DSA-1"}), 404, "unknown-patch"),
        (json!({"chek": "x"}), 422, "invalid"),
    ] {
        let got = server.post("/v1/query", &server.admin, body.clone()).await;
        assert_eq!((got.status, got.problem()), (status, problem), "{body} {got:?}");
    }
    assert_eq!(server.post("/v1/query", "", json!({"rule": "no-forwarding"})).await.status, 401);
    server.stop().await;
}

fn new_rule(check: &str) -> Value {
    let text = format!(
        "id: no-telnetd\ntitle: No telnet server\nseverity: high\nplatforms: [linux]\nrationale: It speaks in the clear.\ncheck: {check}\n\
         remediation: Remove it.\ntests:\n  - {{pass: {{package: [{{name: a}}]}}}}\n  - {{fail: {{package: [{{name: telnetd}}]}}}}\n"
    );
    json!({"rules": [{"file": "no-telnetd.yaml", "text": text}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_if_says_what_would_turn_and_writes_nothing() {
    let home = Home::new(GROUPS);
    let server = started(&home).await;
    let before = server.get("/v1/status").await["fleet"]["last_event"].clone();
    let body = new_rule("package.all(p, p.name != \"telnetd\")");
    let got = server.post("/v1/whatif", &server.admin, body.clone()).await;
    assert_eq!(got.status, 200, "{got:?}");
    let told = &got.body;
    assert_eq!(
        (&told["summary"]["opens"], &told["summary"]["endpoints_failing_anew"], &told["unchanged"]),
        (&json!(2), &json!(2), &json!(1))
    );
    assert_eq!(told["groups"], json!({"web": {"opens": 2, "resolves": 0}}));
    let rule = &told["rules"][0];
    assert_eq!((&rule["rule"], &rule["change"], &rule["counts"]["pass"]), (&json!("no-telnetd"), &json!("new"), &json!(5)));
    assert_eq!(rule["turned"], json!([{"from": null, "to": "fail", "count": 2, "groups": {"web": 2}, "examples": ["web-0", "web-1"]}]));
    let mut replacing = body.clone();
    (replacing["replace"], replacing["group"]) = (json!(true), json!("db"));
    let got = server.post("/v1/whatif", &server.admin, replacing).await;
    assert_eq!((&got.body["endpoints"]["asked"], &got.body["summary"]["opens"]), (&json!(2), &json!(0)), "{got:?}");
    assert_eq!(got.body["rules"].as_array().unwrap().len(), 2);
    let got = server.post("/v1/whatif", &server.admin, new_rule("package.all(p, p.nam != \"telnetd\")")).await;
    assert_eq!((got.status, got.problem()), (422, "bad-question"));
    assert_eq!(got.body["problems"][0]["file"], "no-telnetd.yaml");
    assert_eq!(server.post("/v1/whatif", &server.admin, json!({})).await.problem(), "bad-question");
    assert_eq!(server.get("/v1/status").await["fleet"]["last_event"], before);
    assert_eq!(server.get("/v1/rules").await["items"].as_array().unwrap().len(), 1);
    server.stop().await;
}

/// Runs the command beside the server.
async fn muster(home: &Home, args: &[&str]) -> Output {
    let (folder, args): (_, Vec<String>) = (home.path(""), args.iter().map(|a| (*a).to_owned()).collect());
    let run = move || Command::new(env!("CARGO_BIN_EXE_muster")).args(args).current_dir(folder).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_asks_the_same() {
    let home = Home::new(GROUPS);
    let server = started(&home).await;
    std::fs::write(home.path("token"), &server.admin).unwrap();
    let check = "package.exists(p, p.name == \"telnetd\")";
    let at = ["--server", &server.url, "--token-file", "token"];
    let query =
        |more: &[&'static str]| [&["fleet", "query", check][..], &at, more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let run = async |args: Vec<String>| muster(&home, &args.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let got = run(query(&["--output", "json"])).await;
    let found: Value = serde_json::from_slice(&got.stdout).unwrap_or_else(|e| panic!("{e}: {got:?}"));
    assert_eq!((got.status.code(), found), (Some(0), ask(&server, json!({"check": check})).await));
    let got = run(query(&["--group", "web", "--limit", "1"])).await;
    let text = String::from_utf8(got.stdout).unwrap();
    assert!(text.starts_with("2 of 5 endpoints: pass\nfail 3, pass 2\n1 more have sent no scan yet\n") && text.contains("web-0"), "{text}");
    assert!(text.contains("and more"), "{text}");
    let got = run([&["fleet", "query", "pakage.size() > 0"][..], &at].concat().into_iter().map(str::to_owned).collect()).await;
    assert_eq!(got.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&got.stderr).contains("check:1:1: R011: "), "{got:?}");

    std::fs::create_dir(home.path("new")).unwrap();
    let text = new_rule("package.all(p, p.name != \"telnetd\")")["rules"][0]["text"].as_str().unwrap().to_owned();
    std::fs::write(home.path("new/no-telnetd.yaml"), text).unwrap();
    let got = run([&["whatif", "--rules", "new/no-telnetd.yaml"][..], &at].concat().into_iter().map(str::to_owned).collect()).await;
    let text = String::from_utf8_lossy(&got.stdout).into_owned();
    assert_eq!(got.status.code(), Some(2), "{got:?}");
    assert!(text.contains("2 endpoints would begin to fail some rule") && text.contains("- -> fail"), "{text}");
    server.stop().await;
}
