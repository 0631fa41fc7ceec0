//! Feeds in the data folder, without a server.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use indicatif::{HumanBytes, ProgressBar};
use muster::clock;
use muster::config::{self, Config, Overrides};
use muster::http::api::feeds::{details, summary};
use muster::limits::Limits;
use muster::subscription::{Feed, Folder, Import, Progress, Source, Step, shown};
use serde_json::{Value, json};

use super::super::Usage;
use super::{Feeds, From, read};

pub(super) struct Local {
    folder: Arc<Folder>,
    data: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Local {
    /// The feeds of the configuration; without one those that lie in the data folder, and the one that is about to.
    pub(super) fn new(from: &From, named: Option<(&str, Option<read::Feed>)>) -> anyhow::Result<Local> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
        let overrides = Overrides { data: from.data.clone(), listen: None };
        let (folder, data) = match (&from.config, &from.data) {
            (Some(file), _) => {
                let lines = |problems: Vec<config::ConfigProblem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                let config = config::load(Some(file), overrides).map_err(|p| Usage(lines(p)))?;
                if named.is_some_and(|(_, format)| format.is_some()) {
                    return Err(Usage("--format is for a folder without a configuration, which says it".to_owned()).into());
                }
                (Folder::of(&config), config.data)
            }
            (None, Some(data)) => {
                let limits = Limits::default();
                let mut feeds: Vec<Feed> = Folder::found(data, &limits).feeds().iter().map(|f| Feed::clone(f)).collect();
                if let Some((name, format)) = named {
                    of_format(&mut feeds, name, format)?;
                }
                (Folder::new(data, feeds, &limits), data.clone())
            }
            (None, None) => {
                return Err(Usage(format!(
                    "give --config FILE, --data DIR or --server URL (the daemon's default data folder is {})",
                    Config::default().data.display()
                ))
                .into());
            }
        };
        Ok(Local { folder: Arc::new(folder), data, runtime })
    }

    pub(super) fn check(&self) -> Vec<(String, String)> {
        self.folder.check(clock::now())
    }

    fn value(&self, feed: &Feed, with_details: bool) -> anyhow::Result<Value> {
        let state = self.folder.state(feed)?;
        let source = match &feed.source {
            Source::Urls(urls) => json!({"urls": urls.iter().map(|u| shown(u)).collect::<Vec<_>>()}),
            Source::Paths(paths) => json!({"paths": paths}),
            Source::Imported => json!({"imported": true}),
        };
        let mut value = json!({"name": feed.name, "enabled": feed.enabled, "every_seconds": feed.every.as_secs(), "source": source, "state": summary(&state)});
        if let Some(object) = value.as_object_mut().filter(|_| with_details) {
            object.insert("details".to_owned(), details(&state));
        }
        Ok(value)
    }

    /// What another user writes the daemon could not read.
    fn may_write(&self) -> anyhow::Result<()> {
        let Ok(there) = std::fs::metadata(&self.data) else { return Ok(()) };
        let us = rustix::process::geteuid().as_raw();
        if there.uid() != us {
            bail!(
                "`{}` belongs to the user {}, and this is user {us}: run it as that user, as the daemon could not read what is written",
                self.data.display(),
                there.uid()
            );
        }
        Ok(())
    }
}

/// The feed of an import: one that is there, or a new one of a format that was given.
fn of_format(feeds: &mut Vec<Feed>, name: &str, format: Option<read::Feed>) -> anyhow::Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err(Usage(format!("`{name}` is no name: lower case, digits and `-`, at most 64")).into());
    }
    let format = format.and_then(read::Feed::format);
    match (feeds.iter().find(|f| f.name == name), format) {
        (Some(there), Some(format)) if there.format != format => {
            Err(Usage(format!("the feed `{name}` is of the format {}, not {}", there.format.name(), format.name())).into())
        }
        (Some(_), _) => Ok(()),
        (None, Some(format)) => {
            feeds.push(Feed::new(name, format, Source::Imported));
            Ok(())
        }
        (None, None) => Err(Usage(format!("there is no feed `{name}` yet: say with --format what its files are, or give --config")).into()),
    }
}

/// The step that each feed is at, on stderr, where that is a terminal.
fn progress() -> (Progress, ProgressBar) {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let (shown_bar, last) = (bar.clone(), Mutex::new(String::new()));
    let progress: Progress = Arc::new(move |feed: &str, step: Step<'_>| {
        let text = match step {
            Step::Fetching { url, done, total: Some(total) } => {
                format!("{feed}: {} of {} of {}", HumanBytes(done), HumanBytes(total), shown(url))
            }
            Step::Fetching { url, done, total: None } => format!("{feed}: {} of {}", HumanBytes(done), shown(url)),
            Step::Documents { done, total } => format!("{feed}: {done} of {total} documents"),
            Step::Compiling { files } => format!("{feed}: compiling {files} files"),
        };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != text {
            shown_bar.set_message(super::super::output::plain(&text).into_owned());
            *last = text;
        }
    });
    (progress, bar)
}

impl Feeds for Local {
    fn list(&self) -> anyhow::Result<Vec<Value>> {
        self.folder.feeds().iter().map(|f| self.value(f, false)).collect()
    }

    fn one(&self, name: &str) -> anyhow::Result<Value> {
        self.value(self.folder.feed(name)?, true)
    }

    fn sync(&self, name: &str, force: bool) -> anyhow::Result<Value> {
        self.may_write()?;
        let (progress, bar) = progress();
        let result = self.runtime.block_on(self.folder.sync(name, force, &progress));
        bar.finish_and_clear();
        result?;
        self.one(name)
    }

    fn import(&self, name: &str, files: &[PathBuf], add: bool, force: bool) -> anyhow::Result<Value> {
        self.may_write()?;
        let (progress, bar) = progress();
        let files = names(files).into_iter().zip(files).map(|(name, path)| Import { name, path: path.clone() }).collect();
        let result = self.runtime.block_on(self.folder.import(name, files, add, force, &progress));
        bar.finish_and_clear();
        result?;
        self.one(name)
    }
}

/// What files are kept under: their names, and where these are not their own (DSA/list, DLA/list) their paths.
pub(super) fn names(files: &[PathBuf]) -> Vec<String> {
    let short = |path: &PathBuf| path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    let shorts: Vec<String> = files.iter().map(short).collect();
    let is_own = |name: &String| shorts.iter().filter(|s| *s == name).count() == 1;
    shorts.iter().zip(files).map(|(s, path)| if is_own(s) { s.clone() } else { path.display().to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_name_are_kept_under_their_paths() {
        let files = ["a/list", "b/list", "c/kev.json"].map(PathBuf::from);
        assert_eq!(names(&files), ["a/list", "b/list", "kev.json"]);
    }
}
