//! Patches over HTTP: the same answers as from files, lists and exemptions, and what the fleet's sums say of them.

use hyper::header::HeaderMap;
use serde_json::{Value, json};

use super::harness::{Got, Home, Server, document};
use crate::patches::report::{Folder, KEV, advisories, tables};

const FEEDS: &str = "[[feed]]\nname = \"debian\"\nformat = \"osv\"\n[[feed]]\nname = \"kev\"\nformat = \"kev\"\n\
                     [[group]]\nname = \"web\"\nendpoints = [\"web-*\"]\n";

async fn put(server: &Server, path: &str, body: String) -> Got {
    server.send("PUT", path, &server.admin, HeaderMap::new(), body).await
}

/// A server that knows the feeds and two endpoints, one of which lacks nothing of openssl.
async fn fleet(home: &Home) -> Server {
    let server = home.start().await;
    for advisory in advisories() {
        let path = format!("/v1/feeds/debian/content?add=true&file={}.json", advisory["id"].as_str().unwrap());
        let got = put(&server, &path, advisory.to_string()).await;
        assert_eq!(got.status, 200, "{got:?}");
    }
    assert_eq!(put(&server, "/v1/feeds/kev/content?file=kev.json", KEV.to_owned()).await.status, 200);
    let key = server.enroll("web-1").await;
    server.upload("web-1", &key, document(&tables())).await;
    let mut newer = tables();
    newer["package"].as_array_mut().unwrap().drain(..2);
    let key = server.enroll("db-1").await;
    server.upload("db-1", &key, document(&newer)).await;
    server
}

/// `muster patch` against the server.
async fn patch(home: &Home, server: &Server, args: &[&str], code: i32) -> Value {
    let token = home.path("data/admin.token").display().to_string();
    let (url, mut all) = (server.url.clone(), vec!["patch".to_owned()]);
    all.extend(args.iter().map(|a| (*a).to_owned()));
    all.extend(["--server".to_owned(), url, "--token-file".to_owned(), token, "--output".to_owned(), "json".to_owned()]);
    let run = move || Folder::new().muster(&all.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap().expect(code).json()
}

fn ids(document: &Value) -> Vec<&str> {
    document["items"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_what_the_command_says_of_files() {
    let home = Home::new(FEEDS);
    let server = fleet(&home).await;
    let folder = tokio::task::spawn_blocking(|| {
        let folder = Folder::new();
        let run = |args: &[&str], code: i32| folder.patch(args).expect(code).json();
        [
            run(&["missing", "--scan", "scan.json", "--output", "json"], 2),
            run(&["applicable", "--scan", "scan.json", "--filter", "not superseded", "--output", "json"], 2),
            run(&["plan", "--scan", "scan.json", "--output", "json"], 2),
            run(&["show", "DSA-1-1", "--scan", "scan.json", "--output", "json"], 0),
            run(&["missing", "--scan", "scan.json", "--limit", "1", "--output", "json"], 2),
        ]
    });
    let offline = folder.await.unwrap();
    let addresses = [
        "/v1/endpoints/web-1/patches?state=missing",
        "/v1/endpoints/web-1/patches?state=applicable&filter=not+superseded",
        "/v1/endpoints/web-1/plan",
        "/v1/endpoints/web-1/patches/DSA-1-1",
        "/v1/endpoints/web-1/patches?state=missing&limit=1",
    ];
    for (path, offline) in addresses.into_iter().zip(&offline) {
        assert_eq!(server.get(path).await, *offline, "{path}");
    }
    let args: [(&[&str], i32); 5] = [
        (&["missing", "--endpoint", "web-1"], 2),
        (&["applicable", "--endpoint", "web-1", "--filter", "not superseded"], 2),
        (&["plan", "--endpoint", "web-1"], 2),
        (&["show", "DSA-1-1", "--endpoint", "web-1"], 0),
        (&["missing", "--endpoint", "web-1", "--limit", "1"], 2),
    ];
    for ((args, code), offline) in args.into_iter().zip(&offline) {
        assert_eq!(patch(&home, &server, args, code).await, *offline, "{args:?}");
    }
    // Page by page it is the same list.
    let first = server.get("/v1/endpoints/web-1/patches?limit=2").await;
    let rest = server.get(&format!("/v1/endpoints/web-1/patches?cursor={}", first["next_cursor"].as_str().unwrap())).await;
    let all = server.get("/v1/endpoints/web-1/patches").await;
    assert_eq!([ids(&first), ids(&rest)].concat(), ids(&all));
    assert_eq!(ids(&all), ["DSA-1-1", "DSA-2-1", "CVE-2026-9", "DSA-3-1", "DSA-6-1"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_is_counted_as_each_endpoint_is() {
    let home = Home::new(FEEDS);
    let server = fleet(&home).await;
    let listed = server.get("/v1/patches?filter=missing").await;
    assert_eq!(ids(&listed), ["DSA-2-1", "DSA-3-1"]);
    assert_eq!((&listed["items"][0]["counts"]["missing"], &listed["items"][1]["counts"]["missing"]), (&json!(1), &json!(2)));
    assert_eq!(ids(&server.get("/v1/patches?filter=critical,+not+superseded").await), ["DSA-4-1"]);
    assert_eq!(ids(&server.get("/v1/patches?filter=installable,+group%3Dweb").await), ["DSA-1-1", "DSA-2-1"]);
    assert_eq!(ids(&server.get("/v1/patches?limit=3").await), ["CVE-2026-9", "DSA-1-1", "DSA-2-1"]);
    for (filter, problem) in [("sevrity%3Dhigh", "bad-filter"), ("group%3Dwbe", "bad-filter")] {
        let got = server.send("GET", &format!("/v1/patches?filter={filter}"), &server.admin, HeaderMap::new(), "").await;
        assert_eq!((got.status, got.problem()), (400, problem), "{got:?}");
    }
    let shown = server.get("/v1/patches/DSA-3-1").await;
    assert_eq!(shown["items"][0]["counts"]["missing"], 2);
    assert_eq!(shown["items"][0]["evidence"][0]["file"], "DSA-3-1.json");
    let got = server.send("GET", "/v1/patches/DSA-9-9", &server.admin, HeaderMap::new(), "").await;
    assert_eq!((got.status, got.problem()), (404, "unknown-patch"));
    let endpoints = server.get("/v1/patches/DSA-3-1/endpoints?state=missing&limit=1").await;
    assert_eq!((ids(&endpoints), &endpoints["count"]), (vec!["db-1"], &json!(2)));
    let next = format!("/v1/patches/DSA-3-1/endpoints?state=missing&cursor={}", endpoints["next_cursor"].as_str().unwrap());
    assert_eq!(ids(&server.get(&next).await), ["web-1"]);
    let installed = server.get("/v1/endpoints/web-1/patches?state=installed").await;
    assert_eq!(ids(&installed), ["DSA-5-1"]);

    // What the shard keeps of an endpoint is what its rows say when they are asked again.
    for id in ["web-1", "db-1"] {
        let (kept, asked) = (server.get(&format!("/v1/endpoints/{id}")).await, server.get(&format!("/v1/endpoints/{id}/patches")).await);
        for (state, count) in asked["counts"].as_object().unwrap() {
            assert_eq!(kept["patches"][state], *count, "{id}: {state}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_made_of_filters_and_keep_their_history() {
    let home = Home::new(FEEDS);
    let server = fleet(&home).await;
    let made =
        patch(&home, &server, &["lists", "make", "november", "--filter", "applicable, released>=2026-11-01", "--author", "ada"], 0).await;
    assert_eq!((&made["resolved"], &made["patches"], &made["version"]), (&json!(3), &json!(["DSA-1-1", "DSA-2-1", "DSA-6-1"]), &json!(1)));
    let edited = patch(
        &home,
        &server,
        &["lists", "edit", "november", "--add", "DSA-3-1", "--remove", "DSA-6-1", "--author", "bob", "--note", "no restart before Monday"],
        0,
    )
    .await;
    assert_eq!((&edited["added"], &edited["removed"], &edited["version"]), (&json!(["DSA-3-1"]), &json!(["DSA-6-1"]), &json!(2)));
    assert_eq!(server.get("/v1/patch-lists/november").await["patches"], json!(["DSA-1-1", "DSA-2-1", "DSA-3-1"]));
    let history = patch(&home, &server, &["lists", "history", "november"], 0).await;
    let versions: Vec<_> = history["versions"].as_array().unwrap().iter().map(|v| (v["author"].as_str(), v["count"].as_u64())).collect();
    assert_eq!(versions, [(Some("bob"), Some(3)), (Some("ada"), Some(3))]);
    assert_eq!(server.get("/v1/patch-lists").await["items"][0]["filter"], "applicable, released>=2026-11-01");
    for (body, problem) in
        [(json!({"filter": "x", "author": "a"}), "bad-filter"), (json!({"author": " "}), "invalid"), (json!({}), "invalid")]
    {
        let got = put(&server, "/v1/patch-lists/november", body.to_string()).await;
        assert_eq!(got.problem(), problem, "{got:?}");
    }
    let got = server.send("GET", "/v1/patch-lists/december", &server.admin, HeaderMap::new(), "").await;
    assert_eq!(got.problem(), "unknown-list");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exempt_is_not_missing_and_says_why() {
    let home = Home::new(FEEDS);
    let server = fleet(&home).await;
    let args =
        ["exempt", "add", "--patch", "DSA-3-*", "--group", "web", "--reason", "breaks the proxy", "--approver", "ada", "--until", "30d"];
    let exemption = patch(&home, &server, &args, 0).await;
    let id = exemption["id"].as_str().unwrap();
    assert_eq!((&exemption["scope"], &exemption["holds"]), (&json!({"group": "web"}), &json!(true)));
    assert_eq!(ids(&server.get("/v1/endpoints/web-1/patches?state=missing").await), ["DSA-2-1"]);
    assert_eq!(ids(&server.get("/v1/endpoints/db-1/patches?state=missing").await), ["DSA-3-1"]);
    let why = server.get("/v1/endpoints/web-1/patches/DSA-3-1").await;
    let why = &why["items"][0];
    assert_eq!(
        (&why["state"], &why["decided"]["reason"], why["exemption"].as_str()),
        (&json!("exempt"), &json!("breaks the proxy"), Some(id))
    );
    let plan = server.get("/v1/endpoints/web-1/plan").await;
    let last = plan["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["patches"][0]["id"], &last["blocked_by"][0]["reason"]), (&json!("DSA-3-1"), &json!("exempt")));
    assert_eq!(server.get("/v1/endpoints/web-1").await["patches"]["exempt"], 1);
    assert_eq!(server.get("/v1/patches?filter=id%3DDSA-3-1").await["items"][0]["counts"]["exempt"], 1);
    let listed = server.get("/v1/exemptions").await;
    assert_eq!(ids(&listed), [id]);
    let ended = server.send("DELETE", &format!("/v1/exemptions/{id}?by=bob"), &server.admin, HeaderMap::new(), "").await;
    assert_eq!(ended.status, 204);
    assert_eq!(ids(&server.get("/v1/endpoints/web-1/patches?state=missing").await), ["DSA-2-1", "DSA-3-1"]);
    let events = server.get("/v1/events?type=exemption.*").await;
    assert_eq!(events["items"].as_array().map(Vec::len), Some(2));
    let again = server.send("DELETE", &format!("/v1/exemptions/{id}"), &server.admin, HeaderMap::new(), "").await;
    assert_eq!(again.problem(), "unknown-exemption");
    let nothing = json!({"scope": "everywhere", "patches": ["*"], "reason": "", "approver": "ada"});
    assert_eq!(server.post("/v1/exemptions", &server.admin, nothing).await.status, 422);
    server.stop().await;
}
