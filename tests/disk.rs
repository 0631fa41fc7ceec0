//! A disk that fills and is freed again: refusals meanwhile, nothing lost, and on it goes without a restart.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use muster::client::{Client, Options};
use muster::scan::digest::Digest;
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, native};

use serde_json::Value;

use crate::crash::{Daemon, json, start, start_telling, write_config};
use crate::receiver::Receiver;

/// A small file system for as long as it lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(megabytes: u32) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|m| m.status.success()).then_some(SmallDisk(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap();
    }
}

fn scan(number: usize) -> Vec<u8> {
    native::encode(&rows(number), None, |_| true)
}

/// Rows that nobody has shown: what fills a disk.
fn rows(number: usize) -> Scan {
    let row = |t: &str| Row::new(TableId::by_name(t).unwrap());
    let mut scan = Scan::default();
    scan.push(row("os").with("family", "linux").with("id", "debian").with("version", "12"));
    for i in 0..2000 {
        let noise = blake3::hash(format!("{number} {i}").as_bytes()).to_hex().to_string().repeat(4);
        scan.push(row("sysctl").with("key", format!("test.{i}")).with("value", noise));
    }
    scan
}

/// A small disk, or a word about why there is none.
fn small_disk(megabytes: u32) -> Option<SmallDisk> {
    let disk = SmallDisk::mount(megabytes);
    if disk.is_none() {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: a full disk, this user may not mount a small one");
        }
        assert!(std::env::var_os("MUSTER_REQUIRE_PEERS").is_none(), "this run requires it");
    }
    disk
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let Some(disk) = small_disk(64) else { return };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 24 << 20]).unwrap();
    let receiver = Receiver::start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let config = write_config(disk.path(), address, receiver.address);
    let client = Client::new(&Options::default()).unwrap();
    let mut daemon = start(&config, address, &client).await;
    let secret = std::fs::read_to_string(disk.path().join("data/enroll.secret")).unwrap();
    let admin = std::fs::read_to_string(disk.path().join("data/admin.token")).unwrap();
    let body = serde_json::json!({"secret": secret.trim(), "endpoint": {"id": "full", "hostname": "full"}});
    let (_, answer) = json(&client, Method::POST, &format!("http://{address}/v1/enroll"), "", body.to_string().into_bytes()).await.unwrap();
    let key = answer["key"].as_str().unwrap().to_owned();
    let url = format!("http://{address}/v1/endpoints/full/scan");
    let (mut acked, mut number) = (String::new(), 0);
    let refused = loop {
        number += 1;
        assert!(number < 500, "the disk does not fill");
        let (status, answer) = json(&client, Method::PUT, &url, &key, scan(number)).await.unwrap();
        match status {
            StatusCode::OK => acked = answer["scan"].as_str().unwrap().to_owned(),
            StatusCode::SERVICE_UNAVAILABLE => break answer,
            other => panic!("{other}: {answer}"),
        }
    };
    assert_eq!(refused["type"], "/problems/storage-full", "{refused}");
    assert!(number > 3, "it filled at once");
    let one = format!("http://{address}/v1/endpoints/full");
    let (status, there) = json(&client, Method::GET, &one, admin.trim(), Vec::new()).await.unwrap();
    assert_eq!((status, there["scan"]["digest"].as_str()), (StatusCode::OK, Some(acked.as_str())), "what was answered is there: {there}");
    std::fs::remove_file(&ballast).unwrap();
    let (status, answer) = json(&client, Method::PUT, &url, &key, scan(number)).await.unwrap();
    assert_eq!((status, answer["changed"].as_bool()), (StatusCode::OK, Some(true)), "no restart: {answer}");
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    let daemon = start(&config, address, &client).await;
    let (_, there) = json(&client, Method::GET, &one, admin.trim(), Vec::new()).await.unwrap();
    assert_eq!(there["scan"]["digest"], answer["scan"]);
    // Before the disk that it works on is taken away.
    drop(daemon);
}

/// A daemon on a small disk.
struct Home {
    disk: SmallDisk,
    config: PathBuf,
    address: SocketAddr,
    client: Client,
    admin: String,
    keys: Vec<String>,
}

impl Home {
    async fn start(&self) -> Daemon {
        let log = std::fs::File::create(self.log()).unwrap();
        start_telling(&self.config, self.address, &self.client, log.into()).await
    }

    /// Beside the disk that is full.
    fn log(&self) -> PathBuf {
        self.disk.0.path().with_extension("log")
    }

    async fn enroll(&mut self, endpoints: usize) {
        let secret = std::fs::read_to_string(self.disk.path().join("data/enroll.secret")).unwrap();
        self.admin = std::fs::read_to_string(self.disk.path().join("data/admin.token")).unwrap().trim().to_owned();
        for i in 0..endpoints {
            let body = serde_json::json!({"secret": secret.trim(), "endpoint": {"id": format!("e{i}"), "hostname": format!("e{i}")}});
            let url = format!("http://{}/v1/enroll", self.address);
            let (_, answer) = json(&self.client, Method::POST, &url, "", body.to_string().into_bytes()).await.unwrap();
            self.keys.push(answer["key"].as_str().unwrap().to_owned());
        }
    }

    /// One scan of an endpoint, or nothing if nobody listens any more.
    async fn upload(&self, endpoint: usize, number: usize) -> Option<(StatusCode, Value)> {
        let url = format!("http://{}/v1/endpoints/e{endpoint}/scan", self.address);
        json(&self.client, Method::PUT, &url, &self.keys[endpoint], scan(number)).await
    }

    async fn digest(&self, endpoint: usize) -> String {
        let url = format!("http://{}/v1/endpoints/e{endpoint}", self.address);
        let (status, answer) = json(&self.client, Method::GET, &url, &self.admin, Vec::new()).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["scan"]["digest"].as_str().unwrap_or_default().to_owned()
    }
}

/// Somebody else takes the whole disk, down to the last byte and without warning, while scans come in: what the daemon cannot know before it writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_taken_away_under_load_loses_nothing_that_was_acked() {
    const ENDPOINTS: usize = 4;
    // What three rounds bring takes some 55 MB: with less room it is the store itself that fills the disk.
    let Some(disk) = small_disk(160) else { return };
    let receiver = Receiver::start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let config = write_config(disk.path(), address, receiver.address);
    let client = Client::new(&Options::default()).unwrap();
    let mut home = Home { disk, config, address, client, admin: String::new(), keys: Vec::new() };
    let mut daemon = home.start().await;
    home.enroll(ENDPOINTS).await;
    let ballast = home.disk.path().join("ballast");
    let home = Arc::new(home);
    let mut acked = vec![String::new(); ENDPOINTS];
    let (mut number, mut refused, mut ended) = (0, 0, 0);
    for round in 0..3 {
        // Without an answer, so that nobody knows.
        let mut under_way = vec![String::new(); ENDPOINTS];
        // Room to begin with, then none at all.
        for turn in 0..12 {
            if turn == 3 + round {
                let mut file = std::fs::File::create(&ballast).unwrap();
                while file.write_all(&[1; 64 << 10]).is_ok() {}
            }
            let send = |endpoint: usize, home: Arc<Home>| tokio::spawn(async move { home.upload(endpoint, number + endpoint).await });
            let sent: Vec<_> = (0..ENDPOINTS).map(|e| send(e, home.clone())).collect();
            for (endpoint, answer) in sent.into_iter().enumerate() {
                match answer.await.unwrap() {
                    Some((StatusCode::OK, answer)) => acked[endpoint] = answer["scan"].as_str().unwrap().to_owned(),
                    Some((StatusCode::SERVICE_UNAVAILABLE, answer)) if answer["type"] == "/problems/storage-full" => refused += 1,
                    _ => under_way[endpoint] = Digest::of_scan(&rows(number + endpoint)).to_string(),
                }
            }
            number += ENDPOINTS;
        }
        // The process may be about to end.
        tokio::time::sleep(Duration::from_millis(300)).await;
        if let Some(status) = daemon.child.try_wait().unwrap() {
            ended += 1;
            let log = std::fs::read_to_string(home.log()).unwrap();
            assert_eq!(status.code(), Some(1), "{log}");
            assert!(log.contains("the store could not write"), "{log}");
            std::fs::remove_file(&ballast).unwrap();
            daemon = home.start().await;
        } else {
            assert!(refused > 0, "nothing was refused on a full disk");
            // Reads go on.
            home.digest(0).await;
            std::fs::remove_file(&ballast).unwrap();
        }
        for (endpoint, acked) in acked.iter_mut().enumerate() {
            let there = home.digest(endpoint).await;
            assert!(there == *acked || there == under_way[endpoint], "{endpoint}: acked {acked}, there {there}");
            *acked = there;
        }
        let (status, answer) = home.upload(0, number).await.unwrap();
        number += ENDPOINTS;
        assert_eq!(status, StatusCode::OK, "round {round}: {answer}");
        answer["scan"].as_str().unwrap().clone_into(&mut acked[0]);
    }
    #[expect(clippy::print_stderr, reason = "what was done, for whoever reads the log")]
    {
        eprintln!("{number} uploads, {refused} refused, the daemon ended {ended} times");
    }
    std::fs::remove_file(home.log()).unwrap();
    // Before the disk that it works on is taken away.
    drop(daemon);
}
