//! `muster fleet build` and `muster fleet simulate`, as a user runs them: a store that a daemon starts on, and load over real connections.

use std::process::{Command, Output};

use serde_json::Value;

use super::harness::Home;

async fn muster(home: &Home, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.arg("fleet").args(arguments).current_dir(home.folder.path());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const KIND: [&str; 8] = ["--endpoints", "24", "--images", "2", "--levels", "2", "--seed", "7"];

#[tokio::test(flavor = "multi_thread")]
async fn a_built_fleet_is_served_and_sends_on() {
    let home = Home::new("");
    let build = [&["build", "--config", "muster.toml", "--keys", "keys", "--output", "json"][..], &KIND].concat();
    let built = json(&muster(&home, &build).await);
    assert_eq!(built["endpoints"], 24);
    assert!(built["rows"].as_u64().unwrap() > 24 * 2000 && built["distinct_rows"].as_u64().unwrap() < 24 * 1000, "{built}");
    let again = muster(&home, &build).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("24 endpoints already"), "{}", String::from_utf8_lossy(&again.stderr));

    let server = home.start().await;
    let busy = muster(&home, &[&build[..], &["--add"]].concat()).await;
    assert!(String::from_utf8_lossy(&busy.stderr).contains("in use"), "{}", String::from_utf8_lossy(&busy.stderr));
    let status = server.get("/v1/status").await;
    assert_eq!((&status["fleet"]["endpoints"], &status["fleet"]["with_scan"]), (&24.into(), &24.into()));
    assert!(server.get("/v1/endpoints?limit=5").await["items"].as_array().unwrap().iter().all(|e| e["labels"]["role"].is_string()));

    std::fs::write(home.path("secret"), &server.secret).unwrap();
    let load =
        ["simulate", "--server", &server.url, "--keys", "keys", "--enroll-secret-file", "secret", "--output", "json", "--rate", "60"];
    let more = ["--duration", "3s", "--changed", "0.5", "--delta", "0.5", "--outage", "1s:1s", "--connections", "4", "--ahead", "16"];
    let mut kind = KIND;
    kind[1] = "30";
    let report = json(&muster(&home, &[&load[..], &more, &kind].concat()).await);
    let accepted = |what: &str| report["accepted"][what].as_u64().unwrap_or(0);
    assert_eq!(accepted("first"), 6, "those that were not built: {report}");
    assert!(accepted("changed") > 20 && accepted("unchanged") > 20, "{report}");
    assert_eq!(
        (&report["lost"], &report["unanswered"], &report["resent_whole"]),
        (&serde_json::json!({}), &0.into(), &0.into()),
        "{report}"
    );
    assert_eq!(report["errors"], serde_json::json!({}), "a machine has one exchange after the other: {report}");
    assert_eq!(report["latency"]["count"], report["sent"]);
    assert!(report["herd"]["count"].as_u64().unwrap() > 10 && !report["interrupted"].as_bool().unwrap(), "{report}");
    assert_eq!(std::fs::read_to_string(home.path("keys")).unwrap().lines().count(), 30);
    assert_eq!(server.get("/v1/status").await["fleet"]["with_scan"], 30);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_busy_server_refuses_comes_again_or_is_said_to_be_lost() {
    let home = Home::new("[limits]\nuploads_in_flight = 1\nuploads_waiting = 1\nuploads_reading = 2\n");
    let server = home.start().await;
    std::fs::write(home.path("secret"), &server.secret).unwrap();
    let arguments =
        ["simulate", "--server", &server.url, "--enroll-secret-file", "secret", "--output", "json", "--rate", "200", "--duration", "1s"];
    let report = json(
        &muster(&home, &[&arguments[..], &["--connections", "32", "--attempts", "2", "--encoding", "identity"], &KIND].concat()).await,
    );
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    assert!(number(&report["errors"]["503 busy"]) > 0, "{report}");
    let accepted: u64 = report["accepted"].as_object().unwrap().values().map(number).sum();
    let lost: u64 = report["lost"].as_object().unwrap().values().map(number).sum();
    assert_eq!(number(&report["sent"]), accepted + lost + number(&report["unanswered"]), "{report}");
    assert_eq!(number(&report["unanswered"]), 0, "{report}");
    let nobody = muster(&home, &[&["simulate", "--server", &server.url][..], &KIND].concat()).await;
    assert_eq!(nobody.status.code(), Some(2), "no keys and no secret is wrong usage");
    server.stop().await;
}
