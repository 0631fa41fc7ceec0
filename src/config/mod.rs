//! `muster.toml -> Config`: every option checked, all problems at once, each with its place and what to write instead.
//!
//! docs/OPERATIONS.md lists the options from the comments here. Without a file everything has its default.

mod feeds;
mod read;
mod sections;

pub use read::ConfigProblem;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::drift::DriftPolicy;
use crate::limits::Limits;
use crate::notify::webhook::Secret;
use crate::policy::{Baseline, Group, Policy, Subscription};
use read::{Fields, Problems};

/// What the daemon is told. Secrets show themselves nowhere.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from.
    pub path: Option<PathBuf>,
    /// What was given beside the file and wins over it, also when the file is read again.
    pub overrides: Overrides,
    /// `listen`: address and port, `127.0.0.1:7311` unless given. TLS is a reverse proxy's work.
    pub listen: String,
    /// `data`: the folder of everything that is kept, `/var/lib/muster` unless given.
    pub data: PathBuf,
    /// `packs`: folders of rules, or compiled files; relative to the configuration's folder.
    pub packs: Vec<PathBuf>,
    /// `[[scap]]`: SCAP content and the profiles of it that are judged.
    pub scap: Vec<crate::rule::stream::Stream>,
    /// `[[feed]]`: what vendors publish that is subscribed to.
    pub feeds: Vec<crate::subscription::Feed>,
    /// `exclude`: ids of rules whose verdict is `notselected`.
    pub exclude: BTreeSet<String>,
    /// `[drift]`: `for`, how long a rule must fail before sinks hear of it (`0s`), and `reopen_within`, how long after it was resolved an
    /// episode opens again under its id (`24h`).
    pub drift: DriftPolicy,
    /// `[retention] events`: how long events are kept (`400d`).
    pub retention_ms: i64,
    /// `[retention] history`: how long what turned is kept, which is how far back questions about a past instant reach (`400d`).
    pub history_ms: i64,
    /// `[enroll] again`: an id that is enrolled already gets a new key (`replace`) or is refused (`refuse`).
    pub refuse_again: bool,
    /// `[[sink]]`
    pub sinks: Vec<SinkConfig>,
    /// `[[group]]`: `name`, `endpoints` (ids with `*` and `?`), `labels` (all must fit).
    pub groups: Vec<Group>,
    /// `[[baseline]]`: `name`, `group` (all endpoints unless given), `packages` (`{name, minimum, scheme}`), `rules` (ids with a `fix`).
    pub baselines: Vec<Baseline>,
    /// `[limits]`: see [`Limits`].
    pub limits: Limits,
    /// `[log]`
    pub log: LogConfig,
}

/// From the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub data: Option<PathBuf>,
    pub listen: Option<String>,
}

/// One receiver of events.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// `name`: lower case, digits and `-`; what waits for the sink is kept under it.
    pub name: String,
    /// `url`: where events are posted. `kind` is `webhook`.
    pub url: String,
    /// `secret`, or `secret_file` with one a line: `whsec_...`; several while one is changed for the next.
    pub secrets: Vec<Secret>,
    /// `events`: types, `drift.*` for all that begin so, `*` for all. `drift.*`, `task.*`, `endpoint.*` and `patch.*` unless given.
    pub events: Vec<String>,
    /// `timeout` of one attempt (`15s`).
    pub timeout: Duration,
    /// `ca`: a PEM file of certificates to trust beside the public ones.
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `format`: `text` or `json`.
    pub format: LogFormat,
    /// `level`: `error`, `warn`, `info`, `debug`, `trace`, or levels by target (`info,muster::http=debug`).
    /// The store's own messages are shown from `warn` on unless its targets (`fjall`, `lsm_tree`) are named.
    pub level: String,
}

impl Default for Config {
    fn default() -> Config {
        let policy = Policy::default();
        Config {
            path: None,
            overrides: Overrides::default(),
            listen: "127.0.0.1:7311".to_owned(),
            data: PathBuf::from("/var/lib/muster"),
            packs: Vec::new(),
            scap: Vec::new(),
            feeds: Vec::new(),
            exclude: BTreeSet::new(),
            drift: policy.drift,
            retention_ms: policy.retention_ms,
            history_ms: policy.history_ms,
            refuse_again: policy.refuse_again,
            sinks: Vec::new(),
            groups: Vec::new(),
            baselines: Vec::new(),
            limits: Limits::default(),
            log: LogConfig { format: LogFormat::Text, level: "info".to_owned() },
        }
    }
}

impl Config {
    /// What the fleet is held against.
    pub fn policy(&self) -> Policy {
        Policy {
            groups: self.groups.clone(),
            baselines: self.baselines.clone(),
            subscriptions: self.sinks.iter().map(|s| Subscription { sink: s.name.clone(), events: s.events.clone() }).collect(),
            drift: self.drift,
            excluded: self.exclude.clone(),
            retention_ms: self.retention_ms,
            history_ms: self.history_ms,
            refuse_again: self.refuse_again,
        }
    }

    /// Reads the same file again.
    pub fn again(&self) -> Result<Config, Vec<ConfigProblem>> {
        match &self.path {
            Some(path) => load(Some(path), self.overrides.clone()),
            None => Ok(self.clone()),
        }
    }

    fn override_with(&mut self, overrides: Overrides) {
        if let Some(data) = &overrides.data {
            self.data.clone_from(data);
        }
        if let Some(listen) = &overrides.listen {
            self.listen.clone_from(listen);
        }
        self.overrides = overrides;
    }
}

/// The configuration of a file, or the defaults without one.
pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<Config, Vec<ConfigProblem>> {
    let mut config = match path {
        None => Config::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| {
                let message = format!("cannot be read: {e}");
                vec![ConfigProblem { file: path.display().to_string(), line: 0, column: 0, message }]
            })?;
            parse(&text, path)?
        }
    };
    config.override_with(overrides);
    Ok(config)
}

/// The configuration that a text means. Paths in it are relative to the folder of `path`.
pub fn parse(text: &str, path: &Path) -> Result<Config, Vec<ConfigProblem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems = Problems { text, found: Vec::new() };
    for error in &errors {
        problems.add(&error.span().unwrap_or(0..0), error.message().replace('\n', ", "));
    }
    let mut config = Config { path: Some(path.to_owned()), ..Config::default() };
    // What is half understood would only be reported twice.
    if errors.is_empty() {
        let span = 0..0;
        let folder = path.parent().unwrap_or(Path::new(""));
        sections::root(Fields::new(table.into_inner(), span), folder, &mut config, &mut problems);
    }
    let found = problems.placed(&path.display().to_string());
    if found.is_empty() { Ok(config) } else { Err(found) }
}

const UNITS: [(&str, i64); 6] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 24 * 3_600_000), ("w", 7 * 24 * 3_600_000)];

/// `10m`, `24h`, `1h30m`, `400d` in milliseconds.
pub fn duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no duration; write a number and a unit (ms, s, m, h, d, w), such as `10m` or `1h30m`");
    let mut rest = text.trim();
    let mut sum = 0i64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, f)| *f).ok_or_else(wrong)?;
        let part = number.parse::<i64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)?;
        sum = sum.checked_add(part).ok_or_else(wrong)?;
        rest = after.trim_start();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
