//! A disk that fills and is freed again: refusals meanwhile, nothing lost, and on it goes without a restart.

use std::path::Path;
use std::process::Command;

use hyper::{Method, StatusCode};
use muster::client::{Client, Options};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, native};

use crate::crash::{json, start, write_config};
use crate::receiver::Receiver;

/// A small file system for as long as it lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(folder.path()).output();
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

/// Rows that nobody has shown: what fills a disk.
fn scan(number: usize) -> Vec<u8> {
    let row = |t: &str| Row::new(TableId::by_name(t).unwrap());
    let mut scan = Scan::default();
    scan.push(row("os").with("family", "linux").with("id", "debian").with("version", "12"));
    for i in 0..2000 {
        let noise = blake3::hash(format!("{number} {i}").as_bytes()).to_hex().to_string().repeat(4);
        scan.push(row("sysctl").with("key", format!("test.{i}")).with("value", noise));
    }
    native::encode(&scan, None, |_| true)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: a full disk, this user may not mount a small one");
        }
        assert!(std::env::var_os("MUSTER_REQUIRE_PEERS").is_none(), "this run requires it");
        return;
    };
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
