//! What turns, who is told, and what is deployed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::header::HeaderMap;
use muster::clock;
use muster::notify::webhook::{Secret, verify};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::harness::{Home, scan};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that verifies what comes, and answers with the statuses that it is given, then with 204.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Value>>>,
    statuses: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook/secret-path", listener.local_addr().unwrap());
        let (got, statuses) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let receiver = Receiver { url, got: got.clone(), statuses: statuses.clone() };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (got, statuses) = (got.clone(), statuses.clone());
                tokio::spawn(async move {
                    let (headers, body) = request(&mut stream).await;
                    let secret: Secret = SECRET.parse().unwrap();
                    verify(&[secret], &headers, &body, clock::now().as_second()).unwrap();
                    let mut message: Value = serde_json::from_slice(&body).unwrap();
                    message["webhook-id"] = headers["webhook-id"].to_str().unwrap().into();
                    let status = statuses.lock().unwrap().pop().unwrap_or(204);
                    if status == 204 {
                        got.lock().unwrap().push(message);
                    }
                    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        receiver
    }

    fn sink(&self) -> String {
        format!("[[sink]]\nname = \"tickets\"\nurl = \"{}\"\nsecret = \"{SECRET}\"\n", self.url)
    }

    async fn wait(&self, kind: &str) -> Value {
        for _ in 0..400 {
            if let Some(found) = self.got.lock().unwrap().iter().find(|m| m["type"] == kind) {
                return found.clone();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("no {kind} in {:?}", self.got.lock().unwrap());
    }
}

async fn request(stream: &mut tokio::net::TcpStream) -> (HeaderMap, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in head.lines().skip(1).filter_map(|l| l.split_once(": ")) {
            headers.insert(hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        if bytes.len() >= end + 4 + length {
            return (headers, bytes[end + 4..].to_vec());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_opens_and_resolves_and_a_receiver_hears_of_it() {
    let receiver = Receiver::start().await;
    let home = Home::new(&receiver.sink());
    let server = home.start().await;
    let key = server.enroll("web-1").await;
    server.upload("web-1", &key, scan("0", &[])).await;
    server.upload("web-1", &key, scan("1", &[])).await;
    let opened = receiver.wait("drift.opened").await;
    assert_eq!((opened["data"]["rule"].as_str(), opened["data"]["endpoint"].as_str()), (Some("no-forwarding"), Some("web-1")));
    assert_eq!(opened["data"]["id"], opened["webhook-id"]);
    let open = server.get("/v1/endpoints/web-1/episodes").await;
    assert_eq!((open["items"][0]["id"].as_str(), open["items"][0]["open"].as_bool()), (opened["data"]["episode"].as_str(), Some(true)));
    assert!(server.get("/v1/endpoints/web-1/verdicts").await["items"][0]["since"].is_string());
    server.upload("web-1", &key, scan("0", &[])).await;
    let resolved = receiver.wait("drift.resolved").await;
    assert_eq!(resolved["data"]["episode"], opened["data"]["episode"]);
    let log = server.until("/v1/deliveries", |d| d["waiting"].as_array().unwrap().is_empty()).await;
    assert!(log["log"].as_array().unwrap().iter().all(|a| a["outcome"] == "delivered" && a["status"] == 204), "{log}");
    let sinks = server.get("/v1/sinks").await;
    assert!(!sinks.to_string().contains("secret-path") && sinks["items"][0]["waiting"]["pending"] == 0, "{sinks}");
    assert_eq!(server.post("/v1/sinks/tickets/test", &server.admin, json!({})).await.body["delivered"], true);
    receiver.wait("muster.test").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_tried_again_and_one_that_is_gone_is_left_alone() {
    let receiver = Receiver::start().await;
    *receiver.statuses.lock().unwrap() = vec![410, 500];
    let home = Home::new(&format!("{}events = [\"endpoint.*\"]\n", receiver.sink()));
    let server = home.start().await;
    let key = server.enroll("web-1").await;
    let log = server.until("/v1/deliveries", |d| d["waiting"][0]["attempts"] == 1).await;
    assert_eq!(log["log"][0]["outcome"], "failed");
    server.upload("web-1", &key, scan("0", &[])).await;
    server.until("/v1/sinks", |s| s["items"][0]["paused"].is_string()).await;
    let key = server.enroll("web-2").await;
    server.upload("web-2", &key, scan("0", &[])).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.get("/v1/deliveries").await["log"].as_array().unwrap().len(), 2, "paused");
    server.post("/-/reload", &server.admin, json!({})).await;
    receiver.wait("endpoint.first_scan").await;
    assert_eq!(server.post("/v1/sinks/nobody/redeliver", &server.admin, json!({})).await.problem(), "unknown-sink");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_baseline_lacks_is_queued_reported_and_shown_by_a_scan() {
    let home = Home::new("[[baseline]]\nname = \"base\"\npackages = [{name = \"chrony\"}]\n");
    let server = home.start().await;
    let (key, other) = (server.enroll("web-1").await, server.enroll("db-1").await);
    let uploaded = server.upload("web-1", &key, scan("0", &[])).await;
    assert_eq!(uploaded["tasks"], 1);
    let fetch = async || server.send("GET", "/v1/endpoints/web-1/tasks", &key, HeaderMap::new(), "").await.body["items"].clone();
    let task = fetch().await[0].clone();
    assert_eq!((task["action"]["package"].as_str(), task["state"].as_str()), (Some("chrony"), Some("queued")));
    assert!(task["created_at"].as_str().unwrap().ends_with('Z'));
    let result = format!("/v1/tasks/{}/result", task["id"].as_str().unwrap());
    let report = json!({"ok": true, "message": "installed"});
    assert_eq!(server.post(&result, &other, report.clone()).await.problem(), "unknown-task");
    assert_eq!(server.post(&result, &server.admin, report.clone()).await.problem(), "forbidden");
    assert_eq!(server.post(&result, &key, json!({"fine": true})).await.problem(), "invalid");
    assert_eq!(server.post(&result, &key, report.clone()).await.body["state"], "reported");
    assert_eq!(fetch().await, json!([]), "nothing to do until a scan says so");
    server.upload("web-1", &key, scan("1", &[])).await;
    assert_eq!(fetch().await[0]["attempts"], 1, "the scan did not show it");
    server.post(&result, &key, report).await;
    server.upload("web-1", &key, scan("1", &["chrony"])).await;
    let all = server.get("/v1/tasks?state=confirmed").await;
    assert_eq!((all["items"][0]["endpoint"].as_str(), all["items"][0]["id"].as_str()), (Some("web-1"), task["id"].as_str()));
    let events = server.get("/v1/events?type=task.*").await;
    let kinds: Vec<_> = events["items"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["task.queued", "task.reported", "task.reopened", "task.reported", "task.confirmed"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_by_number() {
    let home = Home::new("");
    let server = home.start().await;
    for id in ["a", "b", "c"] {
        server.enroll(id).await;
    }
    let first = server.get("/v1/events?limit=2").await;
    assert_eq!((first["items"].as_array().unwrap().len(), first["next_cursor"].as_str()), (2, Some("2")));
    let rest = server.get("/v1/events?cursor=2").await;
    assert_eq!((rest["items"][0]["endpoint"].as_str(), rest["next_cursor"].as_str()), (Some("c"), Some("3")));
    let none = server.get("/v1/events?cursor=3").await;
    assert_eq!((none["items"].as_array().unwrap().len(), none["next_cursor"].as_str()), (0, Some("3")));
    assert_eq!(server.get("/v1/events?endpoint=b").await["items"].as_array().unwrap().len(), 1);
    server.stop().await;
}
