//! The real binary, killed with SIGKILL at random moments while it takes scans: nothing that was answered is lost, nothing is done twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use muster::client::{Client, Options};
use muster::scan::digest::Digest;
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, native};
use serde_json::Value;

use crate::receiver::Receiver;

const KILLS: usize = 20;
const UPLOADS: usize = 5_000;
const ENDPOINTS: usize = 16;

/// What the daemon answered 200 to last, for one endpoint, and what was under way when it died.
#[derive(Clone, Debug, Default)]
struct Acked {
    digest: Option<String>,
    sequence: u64,
    under_way: Option<String>,
}

pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Daemon {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn write_config(folder: &Path, address: SocketAddr, sink: SocketAddr) -> PathBuf {
    let rules = folder.join("pack");
    std::fs::create_dir_all(&rules).unwrap();
    std::fs::write(rules.join("pack.yaml"), "id: crash\ntitle: t\nversion: 1.0.0\ndescription: d\n").unwrap();
    let rule = "id: number-even\ntitle: The number is even\nseverity: high\nplatforms: [linux]\nrationale: it is a test of crashes\n\
        check: int(sysctl[\"test.number\"]) % 2 == 0\nmissing: fail\nremediation: count on\ntests:\n  \
        - {pass: {sysctl: [{key: test.number, value: \"2\"}]}}\n  - {fail: {sysctl: [{key: test.number, value: \"1\"}]}}\n";
    std::fs::write(rules.join("number-even.yaml"), rule).unwrap();
    let config = format!(
        "listen = \"{address}\"\ndata = \"{}\"\npacks = [\"{}\"]\n[[sink]]\nname = \"receiver\"\nurl = \"http://{sink}/hook\"\nsecret = \"{}\"\nevents = [\"*\"]\n\
         [[baseline]]\nname = \"must\"\npackages = [{{ name = \"chrony\", minimum = \"4.3\", scheme = \"dpkg\" }}]\n",
        folder.join("data").display(),
        rules.display(),
        crate::receiver::SECRET,
    );
    let path = folder.join("muster.toml");
    std::fs::write(&path, config).unwrap();
    path
}

pub(crate) async fn start(config: &Path, address: SocketAddr, client: &Client) -> Daemon {
    start_telling(config, address, client, Stdio::null()).await
}

/// The same with its log going somewhere.
pub(crate) async fn start_telling(config: &Path, address: SocketAddr, client: &Client, log: Stdio) -> Daemon {
    let mut child = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["serve", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    loop {
        let url = format!("http://{address}/-/ready");
        let answer = client.send(Method::GET, &url, HeaderMap::new(), Bytes::new(), Duration::from_secs(2), 4096).await;
        if answer.is_ok_and(|r| r.status == StatusCode::OK) {
            return Daemon { child, address };
        }
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "the daemon does not start again: {ended:?}");
        // Debug builds on busy machines.
        assert!(begun.elapsed() < Duration::from_secs(180), "the daemon is not ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

pub(crate) async fn json(client: &Client, method: Method, url: &str, token: &str, body: Vec<u8>) -> Option<(StatusCode, Value)> {
    let response = client.send(method, url, bearer(token), body.into(), Duration::from_secs(10), 8 << 20).await.ok()?;
    Some((response.status, serde_json::from_slice(&response.body).unwrap_or(Value::Null)))
}

fn scan(number: usize) -> Scan {
    let row = |t: &str| Row::new(TableId::by_name(t).unwrap());
    let mut scan = Scan::default();
    scan.push(row("os").with("family", "linux").with("id", "debian").with("version", "12"));
    scan.push(row("sysctl").with("key", "test.number").with("value", number.to_string()));
    scan.push(row("package").with("name", "base-files").with("version", "12"));
    scan
}

/// Uploads until the daemon dies. How many were answered.
async fn upload_until_dead(client: Client, address: SocketAddr, id: String, key: String, acked: Arc<Mutex<Acked>>, from: usize) -> usize {
    let url = format!("http://{address}/v1/endpoints/{id}/scan");
    let mut count = 0;
    for number in from.. {
        let scan = scan(number);
        let digest = Digest::of_scan(&scan).to_string();
        acked.lock().unwrap().under_way = Some(digest.clone());
        match json(&client, Method::PUT, &url, &key, native::encode(&scan, None, |_| true)).await {
            Some((StatusCode::OK, answer)) => {
                assert_eq!(answer["scan"], digest.as_str());
                let sequence = answer["sequence"].as_u64().unwrap();
                *acked.lock().unwrap() = Acked { digest: Some(digest), sequence, under_way: None };
                count += 1;
            }
            Some((StatusCode::SERVICE_UNAVAILABLE, _)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Some((status, answer)) => panic!("{status}: {answer}"),
            None => break,
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_nothing_acked_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let config = write_config(folder.path(), address, receiver.address);
    let client = Client::new(&Options::default()).unwrap();
    let mut daemon = start(&config, address, &client).await;
    let secret = std::fs::read_to_string(folder.path().join("data/enroll.secret")).unwrap();
    let admin = std::fs::read_to_string(folder.path().join("data/admin.token")).unwrap();
    let mut keys = Vec::new();
    for i in 0..ENDPOINTS {
        let body = serde_json::json!({"secret": secret.trim(), "endpoint": {"id": format!("e{i}"), "hostname": format!("e{i}")}});
        let url = format!("http://{address}/v1/enroll");
        let (status, answer) = json(&client, Method::POST, &url, "", body.to_string().into_bytes()).await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        keys.push(answer["key"].as_str().unwrap().to_owned());
    }
    let acked: Vec<Arc<Mutex<Acked>>> = (0..ENDPOINTS).map(|_| Arc::default()).collect();
    let (mut kills, mut uploads, mut number) = (0, 0, 1);
    while kills < KILLS || uploads < UPLOADS {
        number += 1_000_000;
        let running: Vec<_> = (0..ENDPOINTS)
            .map(|i| {
                tokio::spawn(upload_until_dead(
                    client.clone(),
                    daemon.address,
                    format!("e{i}"),
                    keys[i].clone(),
                    acked[i].clone(),
                    number + i,
                ))
            })
            .collect();
        // No two rounds die at the same point.
        let share = UPLOADS.saturating_sub(uploads) / (KILLS.saturating_sub(kills)).max(1);
        let until = Instant::now() + Duration::from_millis(u64::try_from(120 + share + kills * 37 % 211).unwrap());
        tokio::time::sleep_until(until.into()).await;
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
        kills += 1;
        for task in running {
            uploads += task.await.unwrap();
        }
        daemon = start(&config, address, &client).await;
        for (i, acked) in acked.iter().enumerate() {
            let url = format!("http://{address}/v1/endpoints/e{i}");
            let (status, answer) = json(&client, Method::GET, &url, admin.trim(), Vec::new()).await.unwrap();
            assert_eq!(status, StatusCode::OK, "{answer}");
            let acked = acked.lock().unwrap().clone();
            let digest = answer["scan"]["digest"].as_str().map(str::to_owned);
            let there = digest == acked.digest || (digest.is_some() && digest == acked.under_way);
            assert!(there, "kill {kills}, e{i}: answered {acked:?}, there is {answer}");
            assert!(answer["scan"]["sequence"].as_u64().unwrap_or(0) >= acked.sequence, "kill {kills}: {answer}");
        }
    }
    let events = all_events(&client, address, admin.trim()).await;
    check_events(&events);
    check_deliveries(&receiver, &events).await;
    for i in 0..ENDPOINTS {
        let url = format!("http://{address}/v1/endpoints/e{i}/tasks?state=all");
        let (_, tasks) = json(&client, Method::GET, &url, admin.trim(), Vec::new()).await.unwrap();
        assert_eq!(tasks["items"].as_array().map(Vec::len), Some(1), "one task an item: {tasks}");
    }
    #[expect(clippy::print_stderr, reason = "what was done, for whoever reads the log")]
    {
        eprintln!("{uploads} uploads answered, {kills} kills, {} events, {} deliveries", events.len(), receiver.count());
    }
}

async fn all_events(client: &Client, address: SocketAddr, admin: &str) -> Vec<Value> {
    let (mut out, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let url = format!("http://{address}/v1/events?limit=1000&cursor={cursor}");
        let (status, page) = json(client, Method::GET, &url, admin, Vec::new()).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{page}");
        let items = page["items"].as_array().unwrap().clone();
        out.extend(items.iter().cloned());
        let next = page["next_cursor"].as_str().unwrap().to_owned();
        if next == cursor {
            return out;
        }
        cursor = next;
    }
}

/// Numbers without gaps, ids of their own, one task queued an endpoint.
fn check_events(events: &[Value]) {
    let mut queued: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ids = std::collections::BTreeSet::new();
    for (i, event) in events.iter().enumerate() {
        assert_eq!(event["seq"].as_u64(), u64::try_from(i + 1).ok(), "{event}");
        assert!(ids.insert(event["id"].as_str().unwrap()), "{event}");
        if event["type"] == "task.queued" {
            *queued.entry(event["endpoint"].as_str().unwrap()).or_default() += 1;
        }
    }
    assert!(queued.len() == ENDPOINTS && queued.values().all(|n| *n == 1), "{queued:?}");
}

/// What was delivered is what is in history, under the same id, however often it came. Every event comes in the end.
async fn check_deliveries(receiver: &Receiver, events: &[Value]) {
    let begun = Instant::now();
    loop {
        let delivered = receiver.delivered();
        if delivered.len() >= events.len() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{} of {} events delivered", delivered.len(), events.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let by_id: BTreeMap<&str, &Value> = events.iter().map(|e| (e["id"].as_str().unwrap(), e)).collect();
    for (id, body) in receiver.delivered() {
        let event = by_id.get(id.as_str()).unwrap_or_else(|| panic!("{id} is not in history"));
        assert_eq!(body["type"], event["type"]);
        assert_eq!(body["data"]["seq"], event["seq"]);
    }
}
