//! A million endpoints on the real daemon: `cargo bench --bench ratios -- million`, tens of minutes.
//!
//! `MUSTER_MILLION` names a folder, which is kept: rules and advisories are written there, a fleet is built with `muster fleet build` (and one at eight times the
//! deviation), and used again by the next run. `muster serve` is started on it and asked until it is ready; then it is loaded. The fleet's images are unknown to the daemon: it finds them.
//! `-- million once` and `-- million eight` take one of them. `MUSTER_MILLION_ENDPOINTS` makes it smaller, for trying. What was measured is kept in the folder for the whole table.

mod content;
mod load;

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster::simulate::fleet::{Fleet, Options};

use crate::report::{Line, Report, Unit};

const KEYS: [&str; 7] =
    ["million-memory", "million-memory-8x", "million-start", "million-disk", "million-load", "million-same", "million-swap"];
const PROGRAM: &str = env!("CARGO_BIN_EXE_muster");
const READY_WITHIN: Duration = Duration::from_secs(600);

fn folder() -> Option<PathBuf> {
    std::env::var_os("MUSTER_MILLION").map(|f| std::path::absolute(f).unwrap())
}

/// What an earlier run measured.
pub(crate) fn remembered(report: &mut Report) {
    let why = "MUSTER_MILLION names no folder in which `-- million` has run";
    match folder().and_then(|f| std::fs::read(f.join("lines.json")).ok()) {
        Some(lines) => report.take(serde_json::from_slice::<Vec<Line>>(&lines).unwrap()),
        None => report.skip(&KEYS, why),
    }
}

pub(crate) fn run(report: &mut Report) {
    let Some(folder) = folder() else {
        return report.skip(&KEYS, "MUSTER_MILLION names no folder for the fleet");
    };
    let endpoints: u32 = std::env::var_os("MUSTER_MILLION_ENDPOINTS").map_or(1_000_000, |n| n.to_str().unwrap().parse().unwrap());
    Report::head();
    let begun = report.lines().len();
    let only: Vec<String> = std::env::args().filter(|a| ["once", "eight"].contains(&a.as_str())).collect();
    for (name, deviation, memory) in [("once", 1.0, "million-memory"), ("eight", 8.0, "million-memory-8x")] {
        if !only.is_empty() && !only.iter().any(|o| o == name) {
            report.skip(&[memory], "only the other fleet was wanted");
            continue;
        }
        println!("{endpoints} endpoints at {deviation} times the deviation");
        let place = Place { folder: folder.join(name), endpoints, deviation };
        place.prepare();
        let mut daemon = Daemon::start(&place);
        let (started, resident) = (daemon.ready(), daemon.memory("VmRSS:"));
        report.line(memory, &format!("{endpoints} endpoints, resident when ready"), Unit::Bytes, resident, None);
        report.line("", "  the most until then", Unit::Bytes, daemon.memory("VmHWM:"), None);
        if deviation > 1.0 {
            report.line("", "  start to ready at eight times the deviation", Unit::Seconds, started, None);
            continue;
        }
        report.line("million-start", "start to ready", Unit::Seconds, started, Some(read_all(&place.folder.join("data/store"))));
        report.line("million-disk", "on the disk, the store", Unit::Bytes, size(&place.folder.join("data/store")), None);
        let keys = load::keys(&place.folder.join("keys"));
        let machines = load::Machines { fleet: place.fleet(), keys, endpoints, run: place.runs() };
        load::run(&machines, daemon.address, report);
        report.line("", "  resident after the load", Unit::Bytes, daemon.memory("VmRSS:"), None);
        place.swap(&daemon, &machines, report);
        place.simulate(&daemon, report);
    }
    let lines = &report.lines()[begun..];
    std::fs::write(folder.join("lines.json"), serde_json::to_vec_pretty(lines).unwrap()).unwrap();
}

/// Where one fleet lies.
struct Place {
    folder: PathBuf,
    endpoints: u32,
    deviation: f64,
}

impl Place {
    fn fleet(&self) -> Fleet {
        Fleet::new(Options { deviation: 10.0 * self.deviation, ..Options::default() })
    }

    /// Writes content, compiles the feed and builds the fleet, unless that was done.
    fn prepare(&self) {
        let built = self.folder.join("built.json");
        if std::fs::read_to_string(&built).is_ok_and(|b| b.contains(&format!("\"endpoints\": {},", self.endpoints))) {
            return println!("  built before");
        }
        std::fs::create_dir_all(&self.folder).unwrap();
        // What a run left half done.
        for left in ["data", "keys"] {
            let path = self.folder.join(left);
            if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap_or_default() }
        }
        content::write(&self.folder, &self.fleet(), "127.0.0.1:0");
        let config = self.folder.join("muster.toml");
        let config = config.to_str().unwrap();
        let timed = Instant::now();
        command(&["feed", "sync", "--config", config]);
        println!("  feed compiled in {:.0} s", timed.elapsed().as_secs_f64());
        let (endpoints, deviation, keys) = (self.endpoints.to_string(), self.deviation.to_string(), self.folder.join("keys"));
        let mut args = vec!["fleet", "build", "--endpoints", &endpoints, "--deviation", &deviation, "--config", config, "--output", "json"];
        args.extend(["--keys", keys.to_str().unwrap()]);
        let said = command(&args);
        println!("  {}", said.trim().replace('\n', " "));
        std::fs::write(built, said).unwrap();
    }

    /// How many runs loaded this fleet before: the next one takes other machines.
    fn runs(&self) -> u32 {
        let path = self.folder.join("runs");
        let runs = std::fs::read_to_string(&path).ok().and_then(|t| t.parse().ok()).unwrap_or(0);
        std::fs::write(path, (runs + 1).to_string()).unwrap();
        runs
    }

    /// Another 300 rules are taken up while uploads come as fast as they can, and given up again when none do.
    fn swap(&self, daemon: &Daemon, machines: &load::Machines, report: &mut Report) {
        let before = std::fs::read_to_string(self.folder.join("muster.toml")).unwrap();
        let windows = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/windows-server");
        let more = before.replace("packs = [", &format!("packs = [{},", serde_json::json!(windows)));
        let swaps = daemon.swaps();
        load::beside_a_swap(machines, daemon.address, || daemon.reload(&more), || daemon.swaps() > swaps, report);
        daemon.reload(&before);
        while daemon.swaps() < swaps + 2 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// An everyday load by the tool that users have: every send is due at its time, whatever became of those before it.
    fn simulate(&self, daemon: &Daemon, report: &mut Report) {
        let (url, keys) = (format!("http://{}", daemon.address), self.folder.join("keys"));
        let endpoints = self.endpoints.min(10_000).to_string();
        let mut args = vec!["fleet", "simulate", "--server", &url, "--endpoints", &endpoints, "--rate", "300", "--duration", "60s"];
        args.extend(["--changed", "0.3", "--keys", keys.to_str().unwrap(), "--output", "json"]);
        let said: serde_json::Value = serde_json::from_str(&command(&args)).unwrap();
        for (name, at) in [("p50", "/latency/p50_ms"), ("p99", "/latency/p99_ms")] {
            let wait = said.pointer(at).and_then(serde_json::Value::as_f64).unwrap() / 1000.0;
            report.line(
                "",
                &format!("  fleet simulate, 300/s, a third of it changed: {name} from when it was due"),
                Unit::Seconds,
                wait,
                None,
            );
        }
    }
}

/// Runs a command of the program to its end, progress shown; what it printed.
fn command(args: &[&str]) -> String {
    println!("  muster {}", args.join(" "));
    let out = Command::new(PROGRAM).args(args).stderr(Stdio::inherit()).output().unwrap();
    assert!(out.status.success(), "muster {} failed", args.join(" "));
    String::from_utf8(out.stdout).unwrap()
}

/// `muster serve`, killed at the end: the folder is what a crash leaves, and the next start is a recovery.
struct Daemon {
    process: Child,
    address: SocketAddr,
    begun: Instant,
    /// A copy, so that an interrupted run leaves the fleet's own as it was.
    config: PathBuf,
}

impl Daemon {
    fn start(place: &Place) -> Daemon {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = std::fs::File::create(place.folder.join("log")).unwrap();
        let config = place.folder.join("serve.toml");
        std::fs::copy(place.folder.join("muster.toml"), &config).unwrap();
        let begun = Instant::now();
        let mut serve = Command::new(PROGRAM);
        serve.args(["serve", "--listen", &free.to_string(), "--config"]).arg(&config);
        let process = serve.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Daemon { process, address: free, begun, config }
    }

    /// Seconds until it was ready.
    fn ready(&mut self) -> f64 {
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the daemon ended with {status}; its log is in the folder");
            }
            if self.asked("/-/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return self.begun.elapsed().as_secs_f64();
            }
            assert!(self.begun.elapsed() < READY_WITHIN, "not ready within {READY_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn asked(&self, path: &str) -> Option<String> {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// How many times it took up other rules, until that was durable.
    fn swaps(&self) -> u64 {
        let metrics = self.asked("/metrics").unwrap();
        let count = metrics.lines().find_map(|l| l.strip_prefix("muster_swap_duration_seconds_count ")).unwrap();
        count.trim().parse().unwrap()
    }

    /// Another configuration.
    fn reload(&self, text: &str) {
        std::fs::write(&self.config, text).unwrap();
        assert!(Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status().unwrap().success());
    }

    /// Bytes, by a line of its status.
    fn memory(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    entries.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

fn size(folder: &Path) -> f64 {
    files(folder).iter().filter_map(|p| std::fs::metadata(p).ok()).map(|m| m.len() as f64).sum()
}

/// Seconds that reading all files takes.
fn read_all(folder: &Path) -> f64 {
    let begun = Instant::now();
    let mut buffer = vec![0; 1 << 20];
    for path in files(folder) {
        let mut file = std::fs::File::open(path).unwrap();
        while file.read(&mut buffer).unwrap() > 0 {}
    }
    begun.elapsed().as_secs_f64()
}
