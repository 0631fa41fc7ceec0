//! The real binary, killed with SIGKILL while its rules and its catalog are swapped and scans come in: each start goes on with what was answered, under one generation
//! of rules; and the store is whole.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use muster::client::{Client, Options};
use muster::config;
use muster::pack::Pack;
use muster::scan::digest::Digest;
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, native};
use muster::serve::packs;
use serde_json::Value;

use crate::crash::{Daemon, json, start_telling};
use crate::patches::report::advisories;
use crate::receiver::Receiver;

const KILLS: u64 = 20;
const ENDPOINTS: usize = 8;

/// Rules of one generation: how many there are and what they ask depends on its number.
fn write_rules(folder: &Path, generation: u64) -> PathBuf {
    let rules = folder.join(format!("rules-{}", generation % 4));
    std::fs::create_dir_all(&rules).unwrap();
    for old in std::fs::read_dir(&rules).unwrap() {
        std::fs::remove_file(old.unwrap().path()).unwrap();
    }
    std::fs::write(rules.join("pack.yaml"), "id: swap\ntitle: t\nversion: 1.0.0\ndescription: d\n").unwrap();
    for k in 2..5 + generation % 4 {
        let wanted = generation % k;
        let rule = format!(
            "id: number-{k}\ntitle: Generation {generation}\nseverity: high\nplatforms: [linux]\nrationale: it is a test of swaps\n\
            check: int(sysctl[\"test.number\"]) % {k} == {wanted}\nmissing: fail\nremediation: count on\ntests:\n  \
            - {{pass: {{sysctl: [{{key: test.number, value: \"{wanted}\"}}]}}}}\n  - {{fail: {{sysctl: [{{key: test.number, value: \"{}\"}}]}}}}\n",
            wanted + 1
        );
        std::fs::write(rules.join(format!("number-{k}.yaml")), rule).unwrap();
    }
    rules
}

/// The configuration of one generation takes the place of the one before, as a whole.
fn configure(folder: &Path, address: SocketAddr, sink: SocketAddr, generation: u64) -> PathBuf {
    let rules = write_rules(folder, generation);
    let text = format!(
        "listen = \"{address}\"\ndata = \"{}\"\npacks = [\"{}\"]\n[[sink]]\nname = \"receiver\"\nurl = \"http://{sink}/hook\"\nsecret = \"{}\"\nevents = [\"*\"]\n\
         [[feed]]\nname = \"debian\"\nformat = \"osv\"\n[[baseline]]\nname = \"must\"\nrules = []\npackages = [{{ name = \"chrony\", minimum = \"4.{}\", scheme = \"dpkg\" }}]\n",
        folder.join("data").display(),
        rules.display(),
        crate::receiver::SECRET,
        generation % 2,
    );
    let (path, aside) = (folder.join("muster.toml"), folder.join("muster.toml.new"));
    std::fs::write(&aside, text).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    path
}

fn scan(number: usize) -> Scan {
    let row = |t: &str| Row::new(TableId::by_name(t).unwrap());
    let mut scan = Scan::default();
    scan.push(row("os").with("family", "linux").with("id", "debian").with("version", "12"));
    scan.push(row("sysctl").with("key", "test.number").with("value", number.to_string()));
    let package = row("package").with("name", "openssl").with("version", "3.0.11-1").with("arch", "amd64").with("source", "openssl");
    scan.push(package.with("format", "deb").with("release", "debian:12"));
    scan
}

/// What a client was answered, and what it had sent when the daemon died.
#[derive(Clone, Debug, Default)]
struct Known<T> {
    acked: Option<T>,
    under_way: Option<T>,
}

impl<T: PartialEq + Clone + std::fmt::Debug> Known<T> {
    /// What is there now is what was answered, or what was under way.
    fn settle(&mut self, there: Option<T>) {
        assert!(there == self.acked || (there.is_some() && there == self.under_way), "answered {self:?}, there is {there:?}");
        *self = Known { acked: there, under_way: None };
    }
}

/// What everybody in this test works with.
#[derive(Clone)]
struct Fleet {
    folder: Arc<tempfile::TempDir>,
    client: Client,
    address: SocketAddr,
    admin: String,
    keys: Vec<String>,
    sink: SocketAddr,
    generation: Arc<AtomicU64>,
    scans: Vec<Arc<Mutex<Known<usize>>>>,
    feed: Arc<Mutex<Known<bool>>>,
}

impl Fleet {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = json(&self.client, Method::GET, &self.url(path), &self.admin, Vec::new()).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// Uploads until the daemon dies. How many were answered.
    async fn upload(self, endpoint: usize, from: usize) -> usize {
        let url = self.url(&format!("/v1/endpoints/e{endpoint}/scan"));
        let mut count = 0;
        // The first one stays as it is.
        let numbers = if endpoint == 0 { 7..8 } else { from..usize::MAX };
        for number in numbers.step_by(ENDPOINTS) {
            self.scans[endpoint].lock().unwrap().under_way = Some(number);
            match json(&self.client, Method::PUT, &url, &self.keys[endpoint], native::encode(&scan(number), None, |_| true)).await {
                Some((StatusCode::OK, _)) => {
                    *self.scans[endpoint].lock().unwrap() = Known { acked: Some(number), under_way: None };
                    count += 1;
                }
                Some((StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _)) => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                Some((status, answer)) => panic!("{status}: {answer}"),
                None => break,
            }
        }
        count
    }

    /// New rules again and again, until the daemon dies. How many times it was told.
    async fn swap_rules(self, pid: u32) -> usize {
        for count in 0.. {
            let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
            configure(self.folder.path(), self.address, self.sink, generation);
            let told = Command::new("kill").args(["-HUP", &pid.to_string()]).status().unwrap();
            if !told.success() {
                return count;
            }
            // Until it judges by them, or is dead: rules that it reads are not changed under its hands.
            let expected = self.digest();
            loop {
                match json(&self.client, Method::GET, &self.url("/v1/status"), &self.admin, Vec::new()).await {
                    Some((StatusCode::OK, status)) if status["fleet"]["pack"] == expected.as_str() => break,
                    Some(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                    None => return count,
                }
            }
        }
        0
    }

    /// The fix of one advisory moves to and fro past what is installed.
    async fn swap_catalog(self) {
        let url = self.url("/v1/feeds/debian/content?add=true&file=DSA-1-1.json");
        for turn in 0_usize.. {
            let missing = turn.is_multiple_of(2);
            let text = advisories()[0].to_string();
            let text = if missing { text } else { text.replace("3.0.15-1~deb12u1", "3.0.10-1") };
            self.feed.lock().unwrap().under_way = Some(missing);
            match json(&self.client, Method::PUT, &url, &self.admin, text.into_bytes()).await {
                Some((StatusCode::OK, _)) => *self.feed.lock().unwrap() = Known { acked: Some(missing), under_way: None },
                Some((status, answer)) => panic!("{status}: {answer}"),
                None => return,
            }
        }
    }

    /// While all that goes on, an endpoint that stays as it is is shown by one generation of rules or another, never by a mix.
    async fn watch(self) -> usize {
        for count in 0.. {
            let url = self.url("/v1/endpoints/e0/verdicts");
            match json(&self.client, Method::GET, &url, &self.admin, Vec::new()).await {
                Some((StatusCode::OK, answer)) => of_one_generation(&answer, 7),
                // It has no scan yet.
                Some((StatusCode::NOT_FOUND, _)) => {}
                Some((status, answer)) => panic!("{status}: {answer}"),
                None => return count,
            }
        }
        0
    }

    /// The rules that the configuration names, compiled.
    fn pack(&self) -> Pack {
        let config = config::load(Some(&self.folder.path().join("muster.toml")), config::Overrides::default()).unwrap();
        Pack::from_bytes(packs::build(&config).unwrap()).unwrap()
    }

    fn digest(&self) -> String {
        self.pack().digest().to_owned()
    }

    /// After a start: what was answered is there, judged by the rules of the configuration.
    async fn check(&self) {
        let pack = self.pack();
        let status = self.get("/v1/status").await;
        assert_eq!(status["fleet"]["pack"], pack.digest(), "{status}");
        for (i, known) in self.scans.iter().enumerate() {
            let answer = self.get(&format!("/v1/endpoints/e{i}")).await;
            let digest = answer["scan"]["digest"].as_str();
            let mut known = known.lock().unwrap().clone();
            let numbers = [known.acked, known.under_way].into_iter().flatten();
            let there = digest.map(|d| {
                numbers.into_iter().find(|n| Digest::of_scan(&scan(*n)).to_string() == d).unwrap_or_else(|| panic!("e{i}: {answer}"))
            });
            known.settle(there);
            *self.scans[i].lock().unwrap() = known;
            let Some(number) = there else { continue };
            let verdicts = self.get(&format!("/v1/endpoints/e{i}/verdicts")).await;
            of_one_generation(&verdicts, number);
            for item in verdicts["items"].as_array().unwrap() {
                let rule = pack.find(item["rule"].as_str().unwrap()).unwrap();
                assert_eq!(item["verdict"], pack.explain(rule, &scan(number), 0).verdict.name(), "e{i}: {item}");
            }
        }
        let told = self.feed.lock().unwrap().acked.is_some() || self.feed.lock().unwrap().under_way.is_some();
        if told && self.scans[0].lock().unwrap().acked.is_some() {
            let missing = self.get("/v1/endpoints/e0/patches?state=missing").await;
            let there = missing["items"].as_array().unwrap().iter().any(|i| i["id"] == "DSA-1-1");
            let Known { acked, under_way } = self.feed.lock().unwrap().clone();
            // Never imported is not missing.
            assert!(acked.unwrap_or(false) == there || under_way == Some(there), "answered {acked:?}, under way {under_way:?}: {missing}");
            *self.feed.lock().unwrap() = Known { acked: Some(there), under_way: None };
        }
    }
}

/// Every verdict of an answer is that of the generation which its rules name.
fn of_one_generation(answer: &Value, number: usize) {
    let items = answer["items"].as_array().unwrap();
    let generation: u64 = items[0]["title"].as_str().and_then(|t| t.strip_prefix("Generation ")).unwrap().parse().unwrap();
    assert_eq!(items.len() as u64, 3 + generation % 4, "{answer}");
    for (k, item) in (2..).zip(items) {
        assert_eq!(item["rule"], format!("number-{k}"), "{answer}");
        assert_eq!(item["title"], format!("Generation {generation}"), "{answer}");
        let pass = number as u64 % k == generation % k;
        assert_eq!(item["verdict"], if pass { "pass" } else { "fail" }, "{number}: {answer}");
    }
}

/// Starts it with its log beside it: what it says where it does not start.
async fn start(config: &Path, address: SocketAddr, client: &Client) -> Daemon {
    let log = config.with_extension("log");
    let (file, of, client) = (std::fs::File::create(&log).unwrap(), config.to_owned(), client.clone());
    let started = tokio::spawn(async move { start_telling(&of, address, &client, Stdio::from(file)).await }).await;
    started.unwrap_or_else(|e| panic!("{e}: {}", std::fs::read_to_string(&log).unwrap()))
}

async fn fleet() -> (Fleet, Receiver, Daemon) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let receiver = Receiver::start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let config = configure(folder.path(), address, receiver.address, 0);
    let client = Client::new(&Options::default()).unwrap();
    let daemon = start(&config, address, &client).await;
    let read = |name: &str| std::fs::read_to_string(folder.path().join("data").join(name)).unwrap().trim().to_owned();
    let (secret, admin) = (read("enroll.secret"), read("admin.token"));
    let mut keys = Vec::new();
    for i in 0..ENDPOINTS {
        let body = serde_json::json!({"secret": secret, "endpoint": {"id": format!("e{i}"), "hostname": format!("e{i}")}});
        let url = format!("http://{address}/v1/enroll");
        let (status, answer) = json(&client, Method::POST, &url, "", body.to_string().into_bytes()).await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        keys.push(answer["key"].as_str().unwrap().to_owned());
    }
    let scans = (0..ENDPOINTS).map(|_| Arc::default()).collect();
    let sink = receiver.address;
    let fleet = Fleet { folder, client, address, admin, keys, sink, generation: Arc::default(), scans, feed: Arc::default() };
    (fleet, receiver, daemon)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_while_rules_and_catalog_are_swapped() {
    let (fleet, _receiver, mut daemon) = fleet().await;
    let config = fleet.folder.path().join("muster.toml");
    let (mut uploads, mut swaps, mut looks, mut slowest) = (0, 0, 0, Duration::ZERO);
    for kill in 0..KILLS {
        let from = (usize::try_from(kill).unwrap() + 1) * 1_000_000;
        let sending: Vec<_> = (0..ENDPOINTS).map(|i| tokio::spawn(fleet.clone().upload(i, from + i))).collect();
        let swapping = tokio::spawn(fleet.clone().swap_rules(daemon.child.id()));
        let publishing = tokio::spawn(fleet.clone().swap_catalog());
        let watching = tokio::spawn(fleet.clone().watch());
        // No two rounds die at the same point.
        tokio::time::sleep(Duration::from_millis(100 + kill * 97 % 431)).await;
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
        for task in sending {
            uploads += task.await.unwrap();
        }
        swaps += swapping.await.unwrap();
        looks += watching.await.unwrap();
        publishing.await.unwrap();
        if kill % 5 == 4 {
            whole(fleet.folder.path());
        }
        let begun = Instant::now();
        daemon = start(&config, fleet.address, &fleet.client).await;
        slowest = slowest.max(begun.elapsed());
        fleet.check().await;
    }
    drop(daemon);
    whole(fleet.folder.path());
    assert!(uploads >= 20 && swaps > 0 && looks >= 20, "{uploads} uploads, {swaps} swaps and {looks} looks are too few to say something");
    #[expect(clippy::print_stderr, reason = "what was done, for whoever reads the log")]
    {
        eprintln!("{uploads} uploads and {swaps} swaps answered, {looks} looks, {KILLS} kills, the slowest start took {slowest:?}");
    }
}

/// What `muster admin check` says of the store that was left behind.
fn whole(folder: &Path) {
    let mut check = Command::new(env!("CARGO_BIN_EXE_muster"));
    let checked = check.args(["admin", "check", "--output", "json", "--data"]).arg(folder.join("data")).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(answer["problems_total"], 0, "{answer}");
    assert!(answer["explained"].as_u64().unwrap() > 0, "{answer}");
}
