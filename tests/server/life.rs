//! The daemon's life: restarts, reloads, what it counts.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use hyper::header::HeaderMap;
use muster::serve::build::{Building, Newcomer};
use muster::serve::{self, Options, ServeError};
use serde_json::json;

use super::harness::{Home, scan};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let home = Home::new("[[baseline]]\nname = \"base\"\npackages = [{name = \"chrony\"}]\n");
    let server = home.start().await;
    let key = server.enroll("web-1").await;
    server.upload("web-1", &key, scan("0", &[])).await;
    server.upload("web-1", &key, scan("1", &[])).await;
    let paths = [
        "/v1/endpoints/web-1/episodes",
        "/v1/endpoints/web-1/tasks",
        "/v1/endpoints/web-1/verdicts",
        "/v1/events",
        "/v1/endpoints/web-1/scan",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(server.get(path).await);
    }
    let endpoint = server.get("/v1/endpoints/web-1").await;
    server.stop().await;

    let server = home.start().await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(server.get(path).await, before, "{path}");
    }
    let after = server.get("/v1/endpoints/web-1").await;
    assert_eq!((&after["scan"], &after["verdicts"]), (&endpoint["scan"], &endpoint["verdicts"]));
    // The key still works, and what is known is known.
    let again = server.upload("web-1", &key, scan("1", &[])).await;
    assert_eq!((again["changed"].as_bool(), &again["sequence"]), (Some(false), &endpoint["scan"]["sequence"]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_muster_a_folder() {
    let home = Home::new("");
    let server = home.start().await;
    let config = muster::config::load(Some(&home.path("muster.toml")), Default::default()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = serve::run(config, listener, std::future::pending(), |_| panic!("started")).await;
    assert!(matches!(second, Err(ServeError::Store(muster::state::StoreError::InUse { .. }))), "{second:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_or_pack_changes_nothing() {
    let home = Home::new("");
    let server = home.start().await;
    let key = server.enroll("web-1").await;
    server.upload("web-1", &key, scan("1", &[])).await;
    let rule = std::fs::read_to_string(home.path("rules/no-forwarding.yaml")).unwrap();
    home.configure("lisen = \"x\"\n[drift]\nfor = 3\n");
    let got = server.post("/-/reload", &server.admin, json!({})).await;
    assert_eq!((got.status, got.problem(), got.body["problems"].as_array().map(Vec::len)), (422, "reload-refused", Some(2)));
    home.configure("");
    std::fs::write(home.path("rules/no-forwarding.yaml"), "id: no-forwarding\n").unwrap();
    assert!(server.reload.reload().await.is_err());
    assert_eq!(server.get("/v1/status").await["config"]["taken"], false);
    assert!(metrics(&server).await.contains("muster_config_last_reload_successful 0"));
    assert_eq!(server.get("/v1/endpoints/web-1/verdicts").await["summary"]["fail"], 1);

    // Mended and changed: the fleet is judged by it at once, and the endpoint that turned is in one event.
    std::fs::write(
        home.path("rules/no-forwarding.yaml"),
        rule.replace("== \"0\"", "!= \"0\"").replace("pass:", "x:").replace("fail:", "pass:").replace("{x:", "{fail:"),
    )
    .unwrap();
    home.configure("[drift]\nfor = \"1m\"\n[limits]\nrows = 5\n");
    let notes = server.reload.reload().await.unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(server.get("/v1/endpoints/web-1/verdicts").await["summary"]["pass"], 1);
    let changed = server.get("/v1/events?type=drift.rule_changed").await;
    assert_eq!((changed["items"][0]["data"]["resolved"].as_u64(), &changed["items"][0]["data"]["endpoints"]), (Some(1), &json!(["web-1"])));
    assert_eq!(std::fs::read_dir(home.path("data/packs")).unwrap().count(), 1);
    server.stop().await;
}

#[test]
fn a_configuration_is_checked_without_starting() {
    let home = Home::new("exclude = [\"no-such-rule\"]\n");
    let options = Options { config: Some(home.path("muster.toml")), ..Options::default() };
    let error = serve::check_config(&options).unwrap_err().to_string();
    assert!(error.contains("no rule `no-such-rule`"), "{error}");
    home.configure("");
    assert_eq!(serve::check_config(&options).unwrap().rules, 1);
    assert!(!home.path("data").exists());
}

async fn metrics(server: &super::harness::Server) -> String {
    server.send("GET", "/metrics", "", HeaderMap::new(), "").await.body.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_and_whether_it_lives() {
    let home = Home::new("");
    let server = home.start().await;
    let key = server.enroll("web-1").await;
    server.upload("web-1", &key, scan("1", &[])).await;
    for (path, text) in [("/-/healthy", "ok\n"), ("/-/ready", "ok\n"), ("/livez", "ok\n"), ("/readyz", "ok\n"), ("/healthz", "ok\n")] {
        let got = server.send("GET", path, "", HeaderMap::new(), "").await;
        assert_eq!((got.status, got.body.as_str()), (200, Some(text)), "{path}");
    }
    assert!(server.send("GET", "/", "", HeaderMap::new(), "").await.body.as_str().unwrap().contains("/openapi.json"));
    let text = metrics(&server).await;
    for line in [
        "muster_endpoints{state=\"held\"} 1",
        "muster_verdicts{severity=\"high\",verdict=\"fail\"} 1",
        "muster_uploads_total{outcome=\"changed\"} 1",
        "muster_http_requests_total{route=\"PUT /v1/endpoints/{id}/scan\",status=\"2xx\"} 1",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let documented = include_str!("../../docs/OPERATIONS.md");
    for name in text.lines().filter_map(|l| l.strip_prefix("# HELP ")).filter_map(|l| l.split(' ').next()) {
        assert!(documented.contains(&format!("`{name}")), "docs/OPERATIONS.md lacks {name}");
    }
    check_with_promtool(&text);
    server.stop().await;
}

/// The judge of our metrics that is not ours.
fn check_with_promtool(text: &str) {
    let spawned =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        assert!(std::env::var_os("MUSTER_REQUIRE_PEERS").is_none(), "promtool is not installed");
        eprintln!("skipped: promtool is not installed");
        return;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_fleet_is_there_before_changed_rules_have_judged_it() {
    let home = Home::new("[[baseline]]\nname = \"base\"\npackages = [{name = \"chrony\"}]\n");
    let config = muster::config::load(Some(&home.path("muster.toml")), Default::default()).unwrap();
    let document = scan("1", &[]);
    let new = |n: u32| {
        let id = format!("web-{n}");
        Newcomer { hostname: id.clone(), id, labels: Default::default(), key_hash: [7; 32], document: document.clone().into_bytes() }
    };
    let mut building = Building::open(&config, false, 1).unwrap();
    building.add((0..1_000).map(new).collect(), 2).unwrap();
    building.close().unwrap();
    let rule = std::fs::read_to_string(home.path("rules/no-forwarding.yaml")).unwrap();
    std::fs::write(home.path("rules/forwarding.yaml"), rule.replace("id: no-", "id: ")).unwrap();

    let server = home.start().await;
    let mut waited = 0;
    loop {
        // What the policy wants is not forgotten meanwhile.
        let status = server.get("/v1/status").await;
        assert_eq!(status["fleet"]["open_tasks"], 1_000);
        if status["fleet"]["rules"] == 2 && status["swap"].is_null() {
            break;
        }
        waited += 1;
        assert!(waited < 1_200, "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.get("/v1/endpoints/web-7/verdicts").await["summary"]["fail"], 2);
    let packs = || std::fs::read_dir(home.path("data/packs")).unwrap().count();
    while packs() > 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;
}
