//! What was and how it came along, over HTTP, from the command line, and after a restart.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Home, Server, scan};

const GROUP: &str = "[[group]]\nname = \"web\"\nendpoints = [\"web-*\"]\n";

/// An instant between what was and what comes.
async fn instant() -> String {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let now = muster::clock::now().to_string();
    tokio::time::sleep(Duration::from_millis(20)).await;
    now
}

async fn asof(server: &Server, at: &str, more: &str) -> Value {
    server.get(&format!("/v1/asof?at={at}{more}")).await
}

fn ids(told: &Value) -> Vec<&str> {
    told["items"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap()).collect()
}

/// The command beside the server.
async fn muster(home: &Home, args: Vec<String>) -> Output {
    let folder = home.path("");
    let run = move || Command::new(env!("CARGO_BIN_EXE_muster")).args(args).current_dir(folder).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_instant_is_told_as_it_was_also_after_a_restart() {
    let home = Home::new(GROUP);
    let server = home.start().await;
    let keys = [server.enroll("web-1").await, server.enroll("db-1").await];
    server.upload("web-1", &keys[0], scan("1", &["openssl"])).await;
    server.upload("db-1", &keys[1], scan("0", &["openssl"])).await;
    let first = instant().await;
    server.upload("web-1", &keys[0], scan("0", &["openssl"])).await;
    assert_eq!(server.send("DELETE", "/v1/endpoints/db-1", &server.admin, Default::default(), "").await.status, 204);
    home.configure("exclude = [\"no-forwarding\"]\n[[group]]\nname = \"web\"\nendpoints = [\"db-*\"]\n");
    server.reload.reload().await.unwrap();
    let second = instant().await;

    let check = async |server: &Server| {
        let told = asof(server, &first, "").await;
        assert_eq!(told["endpoints"], json!({"members": 2, "scanned": 2, "compliant": 1}), "{told}");
        assert_eq!(told["rules"], json!([{"rule": "no-forwarding", "severity": "high", "counts": {"pass": 1, "fail": 1}}]));
        assert_eq!((&told["policy"]["packs"], &told["policy"]["excluded"]), (&json!([{"id": "small", "version": "1.0.0"}]), &json!([])));
        let told = asof(server, &first, "&group=web&rule=no-forwarding").await;
        assert_eq!((ids(&told), &told["policy"]["group"]["endpoints"]), (vec!["web-1"], &json!(["web-*"])));
        let told = asof(server, &first, "&rule=no-forwarding&verdict=pass,fail&limit=1").await;
        assert_eq!((ids(&told), &told["count"]), (vec!["db-1"], &json!(2)));
        let next = told["next_cursor"].as_str().unwrap();
        assert_eq!(ids(&asof(server, &first, &format!("&rule=no-forwarding&verdict=pass,fail&limit=1&cursor={next}")).await), ["web-1"]);
        let told = asof(server, &first, "&endpoint=db-1").await;
        assert_eq!((&told["endpoint"]["groups"], &told["endpoint"]["verdicts"][0]["verdict"]), (&json!([]), &json!("pass")), "{told}");
        let told = asof(server, &second, "").await;
        assert_eq!((&told["endpoints"]["members"], &told["rules"][0]["counts"]), (&json!(1), &json!({"notselected": 1})), "{told}");
    };
    check(&server).await;
    server.stop().await;
    let server = home.start().await;
    check(&server).await;
    for (query, status, problem) in [
        ("", 400, "bad-request"),
        ("at=yesterday", 400, "bad-request"),
        ("at=2000-01-01T00:00:00Z", 422, "bad-question"),
        ("at=2100-01-01T00:00:00Z", 422, "bad-question"),
        (&format!("at={first}&group=wib"), 422, "bad-question"),
        (&format!("at={first}&rule=gone"), 404, "unknown-rule"),
        (&format!("at={first}&rule=no-forwarding&verdict=good"), 422, "bad-question"),
        (&format!("at={second}&endpoint=db-1"), 422, "bad-question"),
    ] {
        let got = server.send("GET", &format!("/v1/asof?{query}"), &server.admin, Default::default(), "").await;
        assert_eq!((got.status, got.problem()), (status, problem), "{query} {got:?}");
    }
    let got = server.send("GET", "/v1/asof?at=2000-01-01T00:00:00Z", &server.admin, Default::default(), "").await;
    assert!(got.body["reach"].is_string(), "{got:?}");
    assert_eq!(server.send("GET", &format!("/v1/asof?at={first}"), "", Default::default(), "").await.status, 401);

    std::fs::write(home.path("token"), &server.admin).unwrap();
    let run = |more: &[&str]| {
        let at = ["report", "asof", "--at", &first, "--server", &server.url, "--token-file", "token"];
        at.iter().chain(more).map(|a| (*a).to_owned()).collect::<Vec<_>>()
    };
    let text = |done: Output| String::from_utf8(done.stdout).unwrap();
    let got = text(muster(&home, run(&[])).await);
    assert!(
        got.contains("packs: small 1.0.0")
            && got.contains("2 endpoints, 2 had sent a scan\n1 failed no rule")
            && got.contains("no-forwarding"),
        "{got}"
    );
    let got = text(muster(&home, run(&["--rule", "no-forwarding", "--verdict", "pass,fail", "--output", "csv"])).await);
    assert_eq!(got, "endpoint,hostname,verdict\ndb-1,db-1.example.org,pass\nweb-1,web-1.example.org,fail\n");
    let got = text(muster(&home, run(&["--endpoint", "web-1"])).await);
    assert!(got.contains("web-1, of groups: web") && got.contains("no-forwarding"), "{got}");
    let got: Value = serde_json::from_str(&text(muster(&home, run(&["--output", "json"])).await)).unwrap();
    assert_eq!(got, asof(&server, &first, "").await);
    assert_eq!(muster(&home, vec!["report".into(), "asof".into(), "--at".into(), first.clone()]).await.status.code(), Some(2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trends_are_told_of_the_fleet_and_of_groups() {
    let home = Home::new(GROUP);
    let server = home.start().await;
    for (id, forward) in [("web-1", "0"), ("web-2", "1"), ("db-1", "1")] {
        let key = server.enroll(id).await;
        server.upload(id, &key, scan(forward, &["openssl"])).await;
    }
    let of = |told: &Value| {
        let last = told["items"].as_array().unwrap().last().unwrap().clone();
        (
            last["open"].clone(),
            last["endpoints"].clone(),
            last["coverage"].clone(),
            last["compliant_share"].clone(),
            last["failing_by_severity"]["high"].clone(),
        )
    };
    let told = server.until("/v1/trends?group=web&step=hour", |told| told["items"][0]["scanned"] == 2).await;
    assert_eq!(of(&told), (json!(true), json!(2), json!(1.0), json!(0.5), json!(1)));
    assert_eq!(of(&server.get("/v1/trends").await), (json!(true), json!(3), json!(1.0), json!(0.3333), json!(2)));
    for query in ["group=wib", "step=week", "from=soon"] {
        let got = server.send("GET", &format!("/v1/trends?{query}"), &server.admin, Default::default(), "").await;
        assert!(matches!(got.status, 400 | 422), "{query} {got:?}");
    }
    std::fs::write(home.path("token"), &server.admin).unwrap();
    let args = |more: &[&str]| {
        let at = ["report", "trends", "--server", &server.url, "--token-file", "token"];
        at.iter().chain(more).map(|a| (*a).to_owned()).collect::<Vec<_>>()
    };
    let table = String::from_utf8(muster(&home, args(&["--group", "web"])).await.stdout).unwrap();
    assert!(table.contains("compliant_share") && table.contains("0.5"), "{table}");
    let csv = String::from_utf8(muster(&home, args(&["--output", "csv"])).await.stdout).unwrap();
    assert!(csv.starts_with("from,endpoints,") && csv.lines().nth(1).is_some_and(|l| l.contains(",3,3,3,1.0,1,0.3333,")), "{csv}");
    let metrics = server.get("/metrics").await;
    assert!(metrics.as_str().unwrap().contains("muster_endpoints_compliant 1\n"), "{metrics}");
    server.stop().await;
}
