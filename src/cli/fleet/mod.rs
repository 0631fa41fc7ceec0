//! `muster fleet`: a fleet made for trying, and questions to the fleet that there is.

mod build;
mod query;
mod simulate;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use muster::simulate::document::id;
use muster::simulate::fleet::{Fleet, Options};

use super::{Outcome, Usage};

/// Make a fleet to try with, or ask the fleet that there is
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Simulate(simulate::Args),
    Build(build::Args),
    Query(Box<query::Args>),
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.command {
        Command::Simulate(args) => simulate::run(args),
        Command::Build(args) => build::run(args),
        Command::Query(args) => query::run(&args),
    }
}

/// What kind of fleet is made up.
#[derive(Clone, Debug, clap::Args)]
struct Kind {
    /// Machines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    endpoints: u32,
    /// The number of the first machine, for a fleet that is made in parts
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    first: u32,
    /// Another fleet for another number, the same for the same
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Golden images that the machines are made from
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=1000))]
    images: u16,
    /// Patch levels that machines are at
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000))]
    levels: u16,
    /// How far machines deviate from their image: times ten rows on average
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = factor)]
    deviation: f64,
    /// How many of a hundred machines have a row that no other one has
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    own: u8,
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.trim_end_matches('x').parse().map_err(|_| format!("`{text}` is no number"))?;
    if (0.0..=16.0).contains(&factor) { Ok(factor) } else { Err(format!("`{text}` is not from 0 to 16")) }
}

impl Kind {
    fn fleet(&self) -> Fleet {
        Fleet::new(Options {
            seed: self.seed,
            images: usize::from(self.images),
            levels: u32::from(self.levels),
            deviation: 10.0 * self.deviation,
            own: u64::from(self.own),
            ..Options::default()
        })
    }

    /// The numbers of its machines.
    fn numbers(&self) -> std::ops::Range<u32> {
        self.first..self.first.saturating_add(self.endpoints)
    }
}

/// A bar on a terminal.
fn bar(of: u64) -> ProgressBar {
    let bar = ProgressBar::new(of);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// The keys of machines by their numbers, from a file of ids and keys; none if there is no such file.
fn read_keys(path: &Path) -> anyhow::Result<BTreeMap<u32, Box<str>>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(e).with_context(|| format!("the keys in `{}`", path.display())),
    };
    let mut keys = BTreeMap::new();
    for (n, line) in text.lines().enumerate() {
        let read = line.split_once(' ').and_then(|(name, key)| {
            let number: u32 = name.rsplit_once('-')?.1.parse().ok()?;
            (id(number) == name).then_some((number, key))
        });
        let (number, key) = read.with_context(|| format!("`{}`, line {}: expected an id and a key", path.display(), n + 1))?;
        keys.insert(number, key.into());
    }
    Ok(keys)
}

/// Adds keys to such a file, which only its owner may read.
fn write_keys<'k>(path: &Path, keys: impl IntoIterator<Item = (u32, &'k str)>) -> anyhow::Result<()> {
    let write = || {
        let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let mut out = std::io::BufWriter::new(file);
        keys.into_iter().try_for_each(|(number, key)| writeln!(out, "{} {key}", id(number)))?;
        out.flush()
    };
    write().with_context(|| format!("the keys cannot be written to `{}`", path.display()))
}

/// Bytes that this process has in memory, and the most that it had.
fn resident() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let of = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some((of("VmRSS:")?, of("VmHWM:")?))
}

/// Bytes of the files in a folder.
fn size_of_folder(path: &Path) -> u64 {
    let mut sum = 0;
    let mut folders: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => sum += meta.len(),
                Err(_) => {}
            }
        }
    }
    sum
}

/// Bytes for people.
fn human(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// Which endpoints are asked.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Endpoints")]
pub(crate) struct ScopeArgs {
    /// Only those of a group of the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Only those with a label; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Only those of a platform: linux, debian, debian:12
    #[arg(long, value_name = "NAME")]
    pub(crate) platform: Option<String>,
    /// Only those heard of within this time: 7d, 12h
    #[arg(long, value_name = "TIME")]
    pub(crate) fresh: Option<String>,
}

impl ScopeArgs {
    pub(crate) fn labels(&self) -> Result<BTreeMap<String, String>, Usage> {
        let pair = |text: &String| {
            let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| Usage(format!("--label is NAME=VALUE, not `{text}`")))
        };
        self.label.iter().map(pair).collect()
    }

    /// The first option that only a server has an answer to.
    fn enrolled(&self) -> Option<&'static str> {
        let given = [(self.group.is_some(), "--group"), (!self.label.is_empty(), "--label"), (self.fresh.is_some(), "--fresh")];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_their_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("keys");
        assert!(read_keys(&path).expect("none").is_empty());
        write_keys(&path, [(3, "mep_a.b"), (12, "mep_c.d")]).expect("written");
        write_keys(&path, [(4, "mep_e.f")]).expect("written");
        let keys = read_keys(&path).expect("read");
        assert_eq!(keys.iter().map(|(n, k)| (*n, &**k)).collect::<Vec<_>>(), [(3, "mep_a.b"), (4, "mep_e.f"), (12, "mep_c.d")]);
        std::fs::write(&path, "what is this\n").expect("written");
        assert!(read_keys(&path).expect_err("no keys").to_string().contains("line 1"));
    }

    #[test]
    fn factors_are_numbers_that_make_sense() {
        assert_eq!(factor("8x"), Ok(8.0));
        assert!(factor("-1").is_err() && factor("much").is_err() && factor("NaN").is_err());
    }
}
