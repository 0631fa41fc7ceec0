//! The demo's fleet: machines made from this host's scan, each with its key, speaking to the daemon as agents do.

use std::path::PathBuf;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use muster::agent::Server;
use muster::client::Client;
use muster::collect::{Root, collect};
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::scan::inflate::Encoding;
use muster::scan::table::TableId;
use muster::scan::{Scan, TableData, native};
use muster::simulate::{self, Past, Random};
use tokio::task::JoinSet;

use crate::cli::output;

/// Machines that talk to the daemon at once.
const AT_ONCE: usize = 8;

/// Packages that a baseline would want and that hosts often lack.
const WANTED: [&str; 2] = ["chrony", "needrestart"];

/// One machine with its credentials.
pub(super) struct Machine {
    pub(super) scan: Scan,
    server: Server,
}

pub(super) struct Fleet {
    client: Client,
    url: String,
    secret: String,
    pub(super) host: Scan,
    past: Arc<Past>,
    machines: Vec<Machine>,
    count: u32,
    seed: u64,
}

/// Says what is going on: a bar on a terminal, a line otherwise.
pub(super) struct Stage {
    bar: ProgressBar,
}

impl Stage {
    pub(super) fn new() -> Stage {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg:48} {wide_bar} {pos}/{len}") {
            bar.set_style(style);
        }
        Stage { bar }
    }

    pub(super) fn begin(&self, what: &'static str) {
        self.count(what, 0);
    }

    fn count(&self, what: &'static str, of: usize) {
        if self.bar.is_hidden() {
            output::note(format_args!("{what}"));
        }
        self.bar.set_length(u64::try_from(of).unwrap_or(0));
        self.bar.set_position(0);
        self.bar.set_message(what);
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// This host, with everything that the rules want to know of it.
pub(super) fn scan_host(rules: &[PathBuf]) -> anyhow::Result<Scan> {
    let limits = Limits::default();
    let mut packs = Vec::new();
    for path in rules {
        match muster::rule::read_folder(path, &limits) {
            (Some(pack), problems) if problems.is_empty() => packs.push(pack),
            (_, problems) => anyhow::bail!("{}", problems.iter().map(|p| format!("{p}\n")).collect::<String>()),
        }
    }
    let pack = Pack::from_bytes(compile(&packs, &[]))?;
    let mut scan = collect(&Root::new("/"), &pack.asks(), &limits);
    scan.endpoint = scan.hostname.clone().unwrap_or_else(|| "this-host".to_owned());
    scan.collected_at = Some(muster::clock::now().to_string());
    Ok(scan)
}

/// The packages of the demo's mandatory baseline: what hosts often lack, and this host's own OpenSSL at least as new as here.
pub(super) fn must_have(host: &Scan) -> String {
    let mut out: Vec<String> = WANTED.iter().map(|name| format!("{{ name = \"{name}\" }}")).collect();
    let package = TableId::by_name("package").map(|t| host.rows(t)).unwrap_or_default();
    let core = package.iter().find(|r| ["openssl", "libc6", "glibc", "libcrypto3"].iter().any(|n| r.get("name").as_str() == Some(n)));
    if let Some((name, version, format)) =
        core.and_then(|r| Some((r.get("name").as_str()?, r.get("version").as_str()?, r.get("format").as_str()?)))
    {
        let scheme = match format {
            "deb" => "dpkg",
            "apk" => "apk",
            _ => "rpm",
        };
        out.push(format!("{{ name = \"{name}\", minimum = \"{version}\", scheme = \"{scheme}\" }}"));
    }
    out.join(", ")
}

impl Fleet {
    pub(super) fn new(client: Client, url: &str, secret: &str, host: Scan, past: Past, count: u32, seed: u64) -> Fleet {
        Fleet { client, url: url.to_owned(), secret: secret.to_owned(), host, past: Arc::new(past), machines: Vec::new(), count, seed }
    }

    /// This host first, then the machines like it.
    pub(super) async fn enroll(&mut self, stage: &Stage) -> anyhow::Result<()> {
        stage.count("enrolling this host and the fleet", usize::try_from(self.count).unwrap_or(0) + 1);
        let scans =
            std::iter::once(self.host.clone()).chain((0..self.count).map(|n| simulate::machine(&self.host, &self.past, n, self.seed)));
        let mut waiting: Vec<Scan> = scans.collect();
        waiting.reverse();
        let mut running = JoinSet::new();
        while !waiting.is_empty() || !running.is_empty() {
            while running.len() < AT_ONCE
                && let Some(scan) = waiting.pop()
            {
                let (mut server, secret) = (Server::new(self.client.clone(), &self.url, None)?, self.secret.clone());
                running.spawn(async move {
                    server.enroll(&secret, &scan.endpoint, scan.hostname.as_deref()).await?;
                    Ok::<_, anyhow::Error>(Machine { scan, server })
                });
            }
            if let Some(done) = running.join_next().await {
                self.machines.push(done??);
                stage.bar.inc(1);
            }
        }
        let host = self.host.endpoint.clone();
        self.machines.sort_by_key(|m| (m.scan.endpoint != host, m.scan.endpoint.clone()));
        Ok(())
    }

    pub(super) async fn upload_all(&mut self, stage: &Stage) -> anyhow::Result<()> {
        self.each(stage, "uploading their scans", |_, _| true, |_| {}).await
    }

    /// A third of the fleet changes.
    pub(super) async fn drift_some(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let mut random = Random::new(self.seed ^ 0xd41f7);
        let drifts: Vec<bool> = self.machines.iter().map(|_| random.percent(33)).collect();
        let own = self.seed;
        let change = move |m: &mut Machine| {
            let mut random = Random::new(own ^ hash(&m.scan.endpoint));
            simulate::drift(&mut m.scan, &mut random);
        };
        // This host is what it is; only machines made from it drift.
        self.each(stage, "letting some of them drift", |n, _| n > 0 && drifts[n], change).await
    }

    /// Some of those are put right again.
    pub(super) async fn mend_some(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let (host, past, seed) = (self.host.clone(), self.past.clone(), self.seed);
        let mut numbers = Random::new(seed ^ 0x3e4d);
        let mends: Vec<bool> = self.machines.iter().map(|_| numbers.percent(15)).collect();
        let change = move |m: &mut Machine| {
            if let Some(number) = m.scan.endpoint.strip_prefix("demo-").and_then(|n| n.parse().ok()) {
                m.scan = simulate::machine(&host, &past, number, seed);
            }
        };
        self.each(stage, "putting some of them right", |n, _| n > 0 && mends[n], change).await
    }

    /// Half of the fleet does what the baseline asks for, and scans again. Nothing is installed on this host.
    pub(super) async fn carry_out_tasks(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let half = self.machines.len() / 2;
        stage.count("carrying out tasks on half of the fleet", half);
        let mut running = JoinSet::new();
        let mut waiting: Vec<Machine> = self.machines.drain(half + 1..).collect();
        while !waiting.is_empty() || !running.is_empty() {
            while running.len() < AT_ONCE
                && let Some(mut machine) = waiting.pop()
            {
                running.spawn(async move {
                    machine.carry_out().await?;
                    Ok::<_, anyhow::Error>(machine)
                });
            }
            if let Some(done) = running.join_next().await {
                self.machines.push(done??);
                stage.bar.inc(1);
            }
        }
        Ok(())
    }

    pub(super) async fn one_drifts(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let at = 1 + random.below(self.machines.len().saturating_sub(1));
        if let Some(machine) = self.machines.get_mut(at) {
            simulate::drift(&mut machine.scan, random);
            machine.upload().await?;
        }
        Ok(())
    }

    /// Changes the machines that are chosen and uploads their scans, a few at a time.
    async fn each(
        &mut self,
        stage: &Stage,
        what: &'static str,
        chosen: impl Fn(usize, &Machine) -> bool,
        change: impl Fn(&mut Machine) + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let change = Arc::new(change);
        let (mut waiting, mut rest) = (Vec::new(), Vec::new());
        for (n, machine) in self.machines.drain(..).enumerate() {
            if chosen(n, &machine) { waiting.push(machine) } else { rest.push(machine) }
        }
        stage.count(what, waiting.len());
        let mut running = JoinSet::new();
        while !waiting.is_empty() || !running.is_empty() {
            while running.len() < AT_ONCE
                && let Some(mut machine) = waiting.pop()
            {
                let change = change.clone();
                running.spawn(async move {
                    change(&mut machine);
                    machine.upload().await?;
                    Ok::<_, anyhow::Error>(machine)
                });
            }
            if let Some(done) = running.join_next().await {
                rest.push(done??);
                stage.bar.inc(1);
            }
        }
        let host = self.host.endpoint.clone();
        rest.sort_by_key(|m| (m.scan.endpoint != host, m.scan.endpoint.clone()));
        self.machines = rest;
        Ok(())
    }
}

impl Machine {
    async fn upload(&mut self) -> anyhow::Result<()> {
        let document = native::encode(&self.scan, None, |_| true);
        self.server.upload(&self.scan.endpoint, &document, Encoding::Zstd).await?;
        Ok(())
    }

    /// What an agent does with its tasks, on facts: the package is there afterwards.
    async fn carry_out(&mut self) -> anyhow::Result<()> {
        let tasks = self.server.fetch_tasks(&self.scan.endpoint).await?;
        for task in &tasks {
            for package in task.action.patch.iter().flat_map(|p| &p.packages) {
                if let Some(minimum) = &package.minimum {
                    simulate::upgrade(&mut self.scan, &package.name, minimum);
                }
            }
            match task.action.state {
                _ if task.action.patch.is_some() => {}
                muster::rule::FixState::Installed => {
                    simulate::install(&mut self.scan, &task.action.package, task.action.minimum.as_deref().unwrap_or("1.0-1"));
                }
                muster::rule::FixState::Removed => simulate::remove(&mut self.scan, &task.action.package),
            }
            self.server.report_result(&task.id, true, "done by the demo's simulated agent").await?;
        }
        if tasks.is_empty() { Ok(()) } else { self.upload().await }
    }
}

/// Rows of a table, for the summary.
pub(super) fn rows(scan: &Scan) -> (usize, usize) {
    let of = |data: &TableData| if let TableData::Rows(rows) = data { rows.len() } else { 0 };
    let packages = TableId::by_name("package").and_then(|t| scan.tables.get(&t)).map_or(0, of);
    (packages, scan.tables.values().map(of).sum())
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
