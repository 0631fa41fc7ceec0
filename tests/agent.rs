//! `muster agent` against a real server: what it prints, that unchanged scans are cheap check-ins, and a task from queued to confirmed.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use muster::agent::install::{CommandLine, Ran, Runner};
use muster::agent::run::{Agent, Enrolment, How, Setup, Stop};
use muster::agent::{Server, read_secret};
use muster::client::{Client, Options};
use muster::collect::Root;
use muster::config;
use muster::limits::Limits;
use muster::scan::inflate::Encoding;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const RULE: &str = "id: bash-there\ntitle: Bash is there\nseverity: low\nplatforms: [linux]\nrationale: it is a test of the agent\n\
    check: package.exists(p, p.name == \"bash\")\nmissing: fail\nremediation: install bash\ntests:\n  \
    - {pass: {package: [{name: bash}]}}\n  - {fail: {package: [{name: zsh}]}}\n";
const STATUS: &str = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-2\n\n";
const CHRONY: &str = "Package: chrony\nStatus: install ok installed\nArchitecture: amd64\nVersion: 4.3-2\n\n";

/// A server in this process, a host in a folder, and a program `apt-get` that writes down that it was run.
struct World {
    folder: TempDir,
    url: String,
    client: Client,
    /// Dropped, it stops, and then the other one ends.
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

const CONFIG: &str = "data = \"data\"\npacks = [\"pack\"]\n[[baseline]]\nname = \"must\"\n\
    packages = [{ name = \"chrony\", minimum = \"4.3\", scheme = \"dpkg\" }]\n";

/// A server over a folder: where it listens, what stops it, and when it has.
async fn serve(folder: &Path, at: &str) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let config = config::parse(CONFIG, &folder.join("muster.toml")).unwrap();
    let listener = TcpListener::bind(at).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let shutdown = async { drop(stopped.await) };
    let ended = tokio::spawn(async {
        muster::serve::run(config, listener, shutdown, |started| tell.send(started.address).unwrap()).await.unwrap();
    });
    (told.await.unwrap(), stop, ended)
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("pack/pack.yaml", "id: small\ntitle: Small\nversion: 1.0.0\n");
        write("pack/bash-there.yaml", RULE);
        write("root/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
        write("root/etc/hostname", "web-1\n");
        write("root/var/lib/dpkg/status", STATUS);
        write("bin/apt-get", &format!("#!/bin/sh\necho run >> {}\n", folder.path().join("ran").display()));
        fs::set_permissions(folder.path().join("bin/apt-get"), fs::Permissions::from_mode(0o755)).unwrap();
        let (address, stop, ended) = serve(folder.path(), "127.0.0.1:0").await;
        World { folder, url: format!("http://{address}"), client: Client::new(&Options::default()).unwrap(), stop, ended }
    }

    /// The server stops, something happens to its folder, and it is back at the same address.
    async fn restart(&mut self, meanwhile: impl FnOnce(&Path)) {
        drop(std::mem::replace(&mut self.stop, oneshot::channel().0));
        (&mut self.ended).await.unwrap();
        meanwhile(self.folder.path());
        (_, self.stop, self.ended) = serve(self.folder.path(), self.url.trim_start_matches("http://")).await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn muster(&self, more: &[&str]) -> Command {
        self.muster_at(&self.url, more)
    }

    fn muster_at(&self, url: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        let path = std::env::join_paths(std::iter::once(self.path("bin")).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())));
        command.env("PATH", path.unwrap()).args(["agent", "--server", url]);
        for (option, name) in [("--key-file", "state/key"), ("--enroll-secret-file", "data/enroll.secret"), ("--root", "root")] {
            command.arg(option).arg(self.path(name));
        }
        command.args(more).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Exit code, stdout and stderr.
    async fn once(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let output = self.muster(more).arg("--once").output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    async fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    async fn text(&self, path: &str) -> String {
        let token = read_secret(&self.path("data/admin.token")).unwrap().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        let url = format!("{}{path}", self.url);
        let response = self.client.send(Method::GET, &url, headers, Bytes::new(), Duration::from_secs(10), 1 << 20).await.unwrap();
        String::from_utf8(response.body.to_vec()).unwrap()
    }

    async fn task(&self) -> Value {
        self.get("/v1/endpoints/web-1/tasks").await["items"][0].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_apply_nothing_is_done_and_an_unchanged_scan_is_a_check_in() {
    let world = World::new().await;
    let (code, out, err) = world.once(&[]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("task tsk_") && out.lines().count() == 1, "{out}");
    assert!(out.contains("(package:chrony>=4.3:dpkg), with --apply: DEBIAN_FRONTEND=noninteractive apt-get update -q; "), "{out}");
    assert!(out.trim_end().ends_with("-- chrony"), "{out}");
    assert!(err.contains("checked in") && err.lines().count() == 2, "enrolled, checked in: {err}");
    let (code, again, err) = world.once(&[]).await;
    assert_eq!((code, again), (Some(0), out), "{err}");
    assert!(!world.path("ran").exists());
    let endpoint = world.get("/v1/endpoints/web-1").await;
    assert_eq!(endpoint["scan"]["sequence"], 1, "{endpoint}");
    let task = world.task().await;
    assert_eq!((task["state"].as_str(), task["message"].as_str()), (Some("queued"), None));
    let (code, _, err) = world.once(&["--apply"]).await;
    assert!(code == Some(2) && err.contains("does not go with --root"), "{err}");
}

/// Installs into the folder that is the host.
struct Fake {
    status: PathBuf,
    ran: Vec<String>,
    refuses: Option<String>,
}

impl Runner for &mut Fake {
    fn refuses(&self) -> Option<String> {
        self.refuses.clone()
    }

    fn has(&self, program: &str) -> bool {
        program == "apt-get"
    }

    async fn run(&mut self, command: &CommandLine) -> Ran {
        self.ran.push(command.to_string());
        let installs = command.args[0] == "install";
        if installs {
            fs::write(&self.status, format!("{STATUS}{CHRONY}")).unwrap();
        }
        Ran { ok: installs, message: format!("`{command}` ended") }
    }
}

fn agent<'r>(world: &World, runner: &'r mut Fake) -> Agent<&'r mut Fake> {
    let server = Server::new(world.client.clone(), &world.url, None).unwrap();
    let enrolment = Enrolment { secret_file: world.path("data/enroll.secret"), key_file: world.path("key") };
    let root = Root::new(world.path("root"));
    let setup = Setup { endpoint: "web-1".to_owned(), root, limits: Limits::default(), apply: true, enrolment: Some(enrolment) };
    Agent::new(server, setup, runner, Stop::new().1)
}

fn fake(root: &Path) -> Fake {
    Fake { status: root.join("var/lib/dpkg/status"), ran: Vec::new(), refuses: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_carried_out_and_confirmed_by_the_next_scan() {
    let world = World::new().await;
    let mut runner = fake(&world.path("root"));
    let mut agent = agent(&world, &mut runner);
    let round = agent.run_once().await.unwrap();
    assert!(round.changed && round.uploaded.sequence == 2 && round.uploaded.tasks == 0, "{round:?}");
    assert!(matches!(&round.tasks[0].how, How::Did(ran) if ran.ok), "{round:?}");
    let task = world.task().await;
    assert_eq!(task["state"], "confirmed", "{task}");
    assert!(task["message"].as_str().unwrap().contains("-- chrony` ended"), "{task}");
    // Check-ins from now on, also when the package database is written anew with the same content.
    for _ in 0..2 {
        let round = agent.run_once().await.unwrap();
        assert!(!round.changed && round.uploaded.sequence == 2 && round.tasks.is_empty(), "{round:?}");
    }
    let metrics = world.text("/metrics").await;
    assert!(metrics.contains("{outcome=\"recognised\"} 2"), "check-ins apply nothing:\n{metrics}");
    // Somebody else uploads for the endpoint: the base is refused, and the whole scan goes.
    fs::write(world.path("root/etc/os-release"), "ID=debian\nVERSION_ID=\"13\"\n").unwrap();
    let key = read_secret(&world.path("key")).unwrap();
    let other = Server::new(world.client.clone(), &world.url, key).unwrap();
    let scan = br#"{"format":"muster.scan/1","tables":{"os":[{"family":"linux"}]}}"#;
    assert_eq!(other.upload("web-1", scan, Encoding::Identity).await.unwrap().sequence, 3);
    let round = agent.run_once().await.unwrap();
    assert!(round.changed && round.uploaded.sequence == 4, "{round:?}");
    // A table that changed goes by itself, on the base of what the server has.
    fs::write(world.path("root/var/lib/dpkg/status"), CHRONY).unwrap();
    let round = agent.run_once().await.unwrap();
    assert!(round.changed && round.uploaded.sequence == 5 && round.uploaded.verdicts["fail"] == 1, "{round:?}");
    drop(agent);
    assert_eq!(runner.ran.len(), 2, "{:?}", runner.ran);
    assert!(runner.ran[0].ends_with("apt-get update -q"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_reported_and_tried_again() {
    let world = World::new().await;
    let mut runner = fake(&world.path("root"));
    runner.refuses = Some("to install needs root".to_owned());
    let mut agent = agent(&world, &mut runner);
    agent.run_once().await.unwrap();
    let task = world.task().await;
    assert_eq!((task["state"].as_str(), task["message"].as_str()), (Some("failed"), Some("to install needs root")));
    // The scan that shows nothing new queues the task again, and it is tried again.
    let round = agent.run_once().await.unwrap();
    assert!(!round.changed && round.tasks.len() == 1, "{round:?}");
    let task = world.task().await;
    assert_eq!((task["state"].as_str(), task["attempts"].as_u64()), (Some("failed"), Some(1)), "{task}");
    drop(agent);
    assert!(runner.ran.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_wake_and_stop_it() {
    let world = World::new().await;
    let log = world.path("log");
    let mut child = world.muster(&["--interval", "4m"]).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    let begun = Instant::now();
    let rounds = || fs::read_to_string(&log).unwrap().matches("checked in").count();
    let wait = async |n: usize| {
        while rounds() < n {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", fs::read_to_string(&log).unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    wait(1).await;
    let (code, _, err) = world.once(&[]).await;
    assert!(code == Some(1) && err.contains("another agent runs with the key"), "{err}");
    kill_process(pid, Signal::HUP).unwrap();
    wait(2).await;
    kill_process(pid, Signal::TERM).unwrap();
    let status = child.wait().await.unwrap();
    assert!(status.success(), "{status}: {}", fs::read_to_string(&log).unwrap());
    assert_eq!(rounds(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_said_once_and_found_again() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let log = world.path("log");
    let mut command = world.muster_at(&format!("http://{address}"), &["--interval", "1s"]);
    let mut child = command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(fs::read_to_string(&log).unwrap().matches("the round failed").count(), 1);
    // What listens there now hands on to the server.
    let listener = TcpListener::bind(address).await.unwrap();
    let to = world.url.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                let mut to = tokio::net::TcpStream::connect(to).await.unwrap();
                tokio::io::copy_bidirectional(&mut from, &mut to).await.ok();
            });
        }
    });
    let begun = Instant::now();
    while !fs::read_to_string(&log).unwrap().contains("it works again") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", fs::read_to_string(&log).unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().await.unwrap();
}

/// So many packages that a scan is worth a dictionary. One of them is at this version.
fn install_many(world: &World, last: u32) {
    let package = |n: u32| {
        let version = if n == 0 { last } else { n * 7919 % 613 };
        format!("Package: part-{n:03}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}.{n}-1\n\n")
    };
    fs::write(world.path("root/var/lib/dpkg/status"), (0..600).map(package).collect::<String>()).unwrap();
}

/// Others with what the server has of the host: only what many have is in a dictionary.
async fn others_alike(world: &World) {
    let mut scan = world.get("/v1/endpoints/web-1/scan").await;
    scan.as_object_mut().unwrap().remove("endpoint");
    let secret = read_secret(&world.path("data/enroll.secret")).unwrap().unwrap();
    for n in 0..32 {
        let (id, mut server) = (format!("other-{n}"), Server::new(world.client.clone(), &world.url, None).unwrap());
        server.enroll(&secret, &id, None).await.unwrap();
        server.upload(&id, scan.to_string().as_bytes(), Encoding::Zstd).await.unwrap();
    }
}

/// A metric of the server, by all that stands before the number.
async fn counted(world: &World, metric: &str) -> u64 {
    let metrics = world.text("/metrics").await;
    let value = metrics.lines().find_map(|l| l.strip_prefix(metric)?.strip_prefix(' '));
    value.map_or(0, |v| v.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_uploads_are_compressed_with_what_machines_have_in_common() {
    let world = World::new().await;
    let sent = async || counted(&world, "muster_upload_bytes_total").await;
    let mut runner = fake(&world.path("root"));
    runner.refuses = Some("to install needs root".to_owned());
    install_many(&world, 1);
    assert_eq!(agent(&world, &mut runner).run_once().await.unwrap().uploaded.sequence, 1);
    let alone = sent().await;
    others_alike(&world).await;
    let before = sent().await;
    install_many(&world, 2);
    let round = agent(&world, &mut runner).run_once().await.unwrap();
    assert!(round.changed && round.uploaded.sequence == 2, "{round:?}");
    let with = sent().await - before;
    assert!(with * 3 < alone, "{with} bytes with a dictionary, {alone} without");
    assert_eq!(fs::read_dir(world.path("data/dictionaries")).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dictionary_that_the_server_lost_is_forgotten() {
    let mut world = World::new().await;
    let mut runner = fake(&world.path("root"));
    runner.refuses = Some("to install needs root".to_owned());
    install_many(&world, 1);
    agent(&world, &mut runner).run_once().await.unwrap();
    others_alike(&world).await;
    // This one has the dictionary from its first upload on.
    let mut agent = agent(&world, &mut runner);
    install_many(&world, 2);
    assert_eq!(agent.run_once().await.unwrap().uploaded.sequence, 2);
    let dictionaries = |folder: &Path| fs::read_dir(folder.join("data/dictionaries")).map_or(0, Iterator::count);
    assert_eq!(dictionaries(world.folder.path()), 1);
    world.restart(|folder| fs::remove_dir_all(folder.join("data/dictionaries")).unwrap()).await;
    let refused = r#"muster_http_requests_total{route="PUT /v1/endpoints/{id}/scan",status="4xx"}"#;
    for (version, sequence) in [(3, 3), (4, 4)] {
        install_many(&world, version);
        let round = agent.run_once().await.unwrap();
        assert!(round.changed && round.uploaded.sequence == sequence, "{round:?}");
        assert_eq!(counted(&world, refused).await, 1, "the first one is refused and sent again, the next one goes without");
    }
    assert_eq!(dictionaries(world.folder.path()), 0, "nobody asked for another one");
}
