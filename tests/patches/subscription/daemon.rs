//! Feeds in the daemon: synced, brought through the API, taken up from another process, taken from a new configuration.

use std::process::Command;

use hyper::header::HeaderMap;
use serde_json::{Value, json};

use super::server::{Reply, Server, file};
use super::{dsa, kev};
use crate::server::harness::{Home, Server as Daemon, document};

fn feeds(server: &Server) -> String {
    format!(
        "[[feed]]\nname = \"dsa\"\nformat = \"dsa-list\"\nurl = \"{}\"\n[[feed]]\nname = \"kev\"\nformat = \"kev\"\n",
        server.url("list?token=secret")
    )
}

async fn put(daemon: &Daemon, path: &str, body: String) -> crate::server::harness::Got {
    daemon.send("PUT", path, &daemon.admin, HeaderMap::new(), body).await
}

async fn metrics(daemon: &Daemon) -> String {
    daemon.send("GET", "/metrics", "", HeaderMap::new(), "").await.body.as_str().unwrap().to_owned()
}

async fn events(daemon: &Daemon, kind: &str) -> Vec<Value> {
    daemon.get(&format!("/v1/events?type={kind}&limit=1000")).await["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_keeps_feeds_up_to_date_and_says_what_is_new() {
    let server = Server::start(|request, _| file(request, "\"1\"", dsa(10, 0).as_bytes()));
    let home = Home::new(&feeds(&server));
    let daemon = home.start().await;
    let got = daemon.until("/v1/feeds/dsa", |f| f["state"]["revision"] == 1 && f["syncing"] == false).await;
    assert_eq!((&got["state"]["entries"], &got["details"]["history"][0]["outcome"]), (&json!(10), &json!("changed")));
    assert!(!got.to_string().contains("secret") && got["next_at"].is_string(), "{got}");
    assert_eq!(got["details"]["files"][0]["etag"], "\"1\"");
    let list = daemon.get("/v1/feeds").await;
    assert_eq!((list["items"].as_array().map(Vec::len), &list["items"][1]["source"]), (Some(2), &json!({"imported": true})));

    // A fleet is held against it at once.
    let key = daemon.enroll("web-1").await;
    let package = json!({"name": "package-1", "version": "0.9-1", "format": "deb", "source": "package-1", "release": "debian:12"});
    let scan = json!({"os": [{"family": "linux", "id": "debian", "version": "12"}], "package": [package]});
    daemon.upload("web-1", &key, document(&scan)).await;

    // What changed is an event, after a sync that somebody asked for.
    server.now(|request, _| file(request, "\"2\"", dsa(12, 1).as_bytes()));
    let got = daemon.post("/v1/feeds/dsa/sync", &daemon.admin, json!(null)).await;
    assert_eq!((got.status, &got.body["started"]), (202, &json!(true)));
    daemon.until("/v1/feeds/dsa", |f| f["state"]["revision"] == 2).await;
    let told = daemon
        .until("/v1/events?type=feed.updated", |e| {
            e["items"].as_array().is_some_and(|i| i.last().is_some_and(|e| e["data"]["entries"] == 12))
        })
        .await;
    let last = told["items"].as_array().unwrap().last().unwrap();
    assert_eq!(last["data"]["counts"], json!({"added": 2, "changed": 1, "withdrawn": 0}));

    // A failure is said once, and changes nothing.
    server.now(|_, _| Reply::status(404));
    for _ in 0..2 {
        let before = daemon.get("/v1/feeds/dsa").await["state"]["attempted_at"].clone();
        assert_eq!(daemon.post("/v1/feeds/dsa/sync", &daemon.admin, json!(null)).await.status, 202);
        daemon.until("/v1/feeds/dsa", |f| f["state"]["attempted_at"] != before && f["syncing"] == false).await;
    }
    let got = daemon.get("/v1/feeds/dsa").await;
    assert_eq!((&got["state"]["failures"], &got["state"]["entries"]), (&json!(2), &json!(12)));
    let failed = events(&daemon, "feed.failed").await;
    assert!(failed.len() == 1 && failed[0]["data"]["error"].as_str().unwrap().contains("404"), "{failed:?}");
    let counted = metrics(&daemon).await;
    for line in [
        "muster_feed_entries{feed=\"dsa\"} 12",
        "muster_feed_sync_total{feed=\"dsa\",outcome=\"changed\"} 2",
        "muster_feed_sync_total{feed=\"dsa\",outcome=\"failed\"} 2",
        "muster_feed_sync_total{feed=\"kev\",outcome=\"changed\"} 0",
        "muster_feed_problems{feed=\"dsa\"} 0",
        "muster_feed_last_success_timestamp_seconds{feed=\"kev\"} 0",
        "muster_patches 12",
    ] {
        assert!(counted.contains(line), "{line} in\n{counted}");
    }

    // After a restart it is all there, and nothing is told again.
    let before = (events(&daemon, "feed.updated").await.len(), events(&daemon, "feed.failed").await.len());
    daemon.stop().await;
    let daemon = home.start().await;
    let counted = metrics(&daemon).await;
    assert!(counted.contains("muster_patches 12"), "the catalog is there before anything is answered");
    assert_eq!((events(&daemon, "feed.updated").await.len(), events(&daemon, "feed.failed").await.len()), before);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_through_the_api_and_from_other_processes() {
    let home = Home::new(
        "[[feed]]\nname = \"dsa\"\nformat = \"dsa-list\"\n[[feed]]\nname = \"kev\"\nformat = \"kev\"\n[limits]\nfeed_upload_bytes = 100000\n",
    );
    let daemon = home.start().await;
    for (method, path, status, problem) in [
        ("GET", "/v1/feeds/dsb", 404, "unknown-feed"),
        ("POST", "/v1/feeds/dsb/sync", 404, "unknown-feed"),
        ("PUT", "/v1/feeds/dsb/content", 404, "unknown-feed"),
        ("POST", "/v1/feeds/dsa/sync", 422, "feed-refused"),
        ("POST", "/v1/feeds/dsa/sync?force=maybe", 400, "bad-request"),
        ("PUT", "/v1/feeds/dsa/content?fil=x", 400, "bad-request"),
        ("PUT", "/v1/feeds/dsa/content?file=a%0Ab", 400, "bad-request"),
    ] {
        let got = daemon.send(method, path, &daemon.admin, HeaderMap::new(), "x").await;
        assert_eq!((got.status, got.problem()), (status, problem), "{method} {path}: {got:?}");
    }
    assert_eq!(daemon.send("GET", "/v1/feeds", "", HeaderMap::new(), "").await.status, 401);
    let got = put(&daemon, "/v1/feeds/dsa/content?file=list", dsa(20, 0)).await;
    assert_eq!((got.status, &got.body["state"]["entries"], &got.body["last"]["imported"]), (200, &json!(20), &json!(true)), "{got:?}");
    let counted = metrics(&daemon).await;
    assert!(counted.contains("muster_patches 20"), "in use when it is answered");
    let got = put(&daemon, "/v1/feeds/dsa/content?file=more&add=true", dsa(1, 0).replace("DSA-1-1", "DSA-99-1")).await;
    assert_eq!(got.body["state"]["entries"], 21);
    let got = put(&daemon, "/v1/feeds/dsa/content?file=list", dsa(2, 0)).await;
    assert_eq!((got.status, got.problem(), &got.body["before"], &got.body["now"]), (422, "feed-refused", &json!(21), &json!(2)));
    let got = put(&daemon, "/v1/feeds/dsa/content?file=list&force=true", dsa(2, 0)).await;
    assert_eq!((&got.body["state"]["entries"], &got.body["state"]["withdrawn"]), (&json!(2), &json!(19)));
    let got = put(&daemon, "/v1/feeds/dsa/content", "x".repeat(100_001)).await;
    assert_eq!((got.status, got.problem()), (413, "body-too-large"));
    assert_eq!(std::fs::read_dir(home.path("data/feeds/dsa/partial")).unwrap().count(), 0);

    // The command line works on the same folder; the daemon notices.
    std::fs::write(home.path("kev.json"), kev(&[1000], "Known")).unwrap();
    let muster = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_muster")).arg("feed").args(arguments).current_dir(home.folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    muster(&["import", "kev", "kev.json", "--config", "muster.toml"]);
    daemon.until("/v1/feeds/kev", |f| f["state"]["entries"] == 1).await;
    let told = daemon
        .until("/v1/events?type=feed.updated&limit=1000", |e| {
            e["items"].as_array().is_some_and(|i| i.iter().any(|e| e["data"]["feed"] == "kev"))
        })
        .await;
    assert!(told.to_string().contains("CVE-2024-1000"));

    // And through the API, with the same words.
    std::fs::write(home.path("token"), &daemon.admin).unwrap();
    std::fs::write(home.path("list"), dsa(3, 0)).unwrap();
    let (url, home_path) = (daemon.url.clone(), home.folder.path().to_owned());
    let outputs = tokio::task::spawn_blocking(move || {
        ["list --output json", "import dsa list --output json", "status dsa"].map(|line| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
            let arguments = line.split(' ').chain(["--server", &url, "--token-file", "token"]);
            let output = command.arg("feed").args(arguments).current_dir(&home_path).output().unwrap();
            assert!(output.status.success(), "{line}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        })
    });
    let [list, imported, status] = outputs.await.unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["items"][0]["state"]["entries"], 2);
    let imported: Value = serde_json::from_str(&imported).unwrap();
    assert_eq!((&imported["items"][0]["outcome"], &imported["items"][0]["state"]["entries"]), (&json!("changed"), &json!(3)));
    assert!(status.starts_with("dsa: dsa-list, fine"), "{status}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_the_daemon_was_away_is_told_when_it_is_back() {
    let home = Home::new("[[feed]]\nname = \"dsa\"\nformat = \"dsa-list\"\n");
    let import = |count: usize| {
        std::fs::write(home.path("list"), dsa(count, 0)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(["feed", "import", "dsa", "list", "--config", "muster.toml"])
            .current_dir(home.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    // What lies there at the very first start is where it begins.
    import(5);
    let daemon = home.start().await;
    assert_eq!(events(&daemon, "feed.*").await, Vec::<Value>::new());
    daemon.stop().await;
    import(6);
    import(8);
    let daemon = home.start().await;
    let told = events(&daemon, "feed.updated").await;
    assert_eq!((told.len(), &told[0]["data"]["counts"]["added"], &told[0]["data"]["entries"]), (1, &json!(3), &json!(8)));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_are_taken_from_a_new_configuration() {
    let server = Server::start(|request, _| file(request, "\"1\"", dsa(4, 0).as_bytes()));
    let home = Home::new("");
    let daemon = home.start().await;
    assert_eq!(daemon.get("/v1/feeds").await["items"], json!([]));
    home.configure(&feeds(&server));
    assert_eq!(daemon.reload.reload().await.unwrap(), Vec::<String>::new());
    daemon.until("/v1/feeds/dsa", |f| f["state"]["entries"] == 4).await;
    home.configure(&feeds(&server).replace("format = \"dsa-list\"\n", "format = \"dsa-list\"\nenabled = false\n"));
    daemon.reload.reload().await.unwrap();
    assert!(metrics(&daemon).await.contains("muster_patches 0"), "a feed that is disabled says nothing");
    assert_eq!(daemon.get("/v1/feeds/dsa").await["next_at"], Value::Null);
    home.configure("");
    daemon.reload.reload().await.unwrap();
    assert!(!metrics(&daemon).await.contains("feed=\"dsa\""));
    home.configure(&feeds(&server));
    daemon.reload.reload().await.unwrap();
    assert!(metrics(&daemon).await.contains("muster_patches 4"), "what was kept is there again");
    daemon.stop().await;
}
