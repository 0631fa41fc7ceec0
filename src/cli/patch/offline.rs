//! The same answers without a server: scans and feeds read from files, compiled on the spot.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use muster::feed::{Batch, epss, kev};
use muster::http::query::cursor;
use muster::limits::Limits;
use muster::patch::State;
use muster::patch::catalog::{Catalog, Part, Segment, Threats, compile};
use muster::patch::define::define;
use muster::patch::filter::Filter;
use muster::patch::plan::plan;
use muster::patch::report::{self, Host, PatchView, Standing, Why, page};
use muster::subscription::{Folder, Format};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::eval::read::scan;
use super::super::{Usage, output};
use super::{Asked, From, Which};

/// What there is to answer from.
struct Known {
    catalog: Arc<Catalog>,
    /// The feeds of `--feeds`, which keep where what they say was published.
    folder: Option<Folder>,
}

fn known(from: &From, limits: &Limits) -> anyhow::Result<Known> {
    match (&from.feeds, from.advisories.as_slice()) {
        (None, []) => Err(Usage("patches are known from --server, --feeds or --advisories: give one".to_owned()).into()),
        (Some(_), [_, ..]) => Err(Usage("give --feeds or --advisories, not both".to_owned()).into()),
        (None, files) => Ok(Known { catalog: Arc::new(compiled(files, limits)?), folder: None }),
        (Some(feeds), []) => {
            // The folder and the data folder that it is in are both what people give.
            let data = if feeds.file_name().is_some_and(|n| n == "feeds") { feeds.parent().unwrap_or(feeds) } else { feeds };
            if !data.join("feeds").is_dir() {
                bail!("there are no feeds in `{}`; `muster feed sync` and `muster feed import` bring them", feeds.display());
            }
            let folder = Folder::found(data, limits);
            let (catalog, problems) = folder.catalog();
            problems.iter().for_each(|p| output::note(format_args!("{p}")));
            Ok(Known { catalog, folder: Some(folder) })
        }
    }
}

/// Files of vendors, each read, the feeds defined and compiled.
fn compiled(files: &[String], limits: &Limits) -> anyhow::Result<Catalog> {
    let mut feeds: BTreeMap<String, Batch> = BTreeMap::new();
    let mut threats = Threats::default();
    for file in files {
        let (feed, format, path) = named(file)?;
        let bytes = bytes(Path::new(path), limits)?;
        let batch = feeds.entry(feed).or_insert_with(|| Batch::new(limits));
        match format {
            Format::Kev => threats.kev = kev::read(path, &bytes, limits, batch),
            Format::Epss => threats.epss = epss::read(path, &bytes, limits, batch),
            _ => format.read(path, &bytes, limits, batch),
        }
    }
    let mut parts = Vec::new();
    for (feed, batch) in feeds {
        let refused = batch.refused().count() + batch.more_problems;
        if refused > 0 {
            output::note(format_args!("{feed}: {refused} documents or entries could not be used; `muster feed read` names them"));
        }
        let defined = define(batch.advisories, limits).with_context(|| format!("the feed `{feed}`"))?;
        let segment = Segment::from_bytes(&feed, compile(&defined.definitions, &[]).bytes)?;
        parts.push(Part::new(&feed, vec![Arc::new(segment)])?);
    }
    Ok(Catalog::new(parts, Arc::new(threats)))
}

/// `debian=osv:all.zip`, or `osv:all.zip`, whose feed is called as its format.
fn named(text: &str) -> Result<(String, Format, &str), Usage> {
    let wrong = |why: String| Usage(format!("--advisories `{text}`: {why}"));
    let (head, file) = text.split_once(':').ok_or_else(|| wrong("it is FORMAT:FILE or NAME=FORMAT:FILE".to_owned()))?;
    let (feed, format) = head.split_once('=').unwrap_or((head, head));
    let names: Vec<&str> = Format::ALL.iter().map(|(name, _)| *name).collect();
    let unknown = || wrong(format!("`{format}` is no format; there are {}", names.join(", ")));
    Ok((feed.to_owned(), Format::by_name(format).ok_or_else(unknown)?, file))
}

fn bytes(path: &Path, limits: &Limits) -> anyhow::Result<Vec<u8>> {
    let fail = || format!("cannot read `{}`", path.display());
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|f| f.take(limits.feed_bytes).read_to_end(&mut bytes)).with_context(fail)?;
    Ok(bytes)
}

fn hosts(from: &From, limits: &Limits) -> anyhow::Result<Vec<Host>> {
    if from.scan.is_empty() {
        return Err(Usage("an endpoint is given by --scan FILE, or by --server URL and --endpoint ID".to_owned()).into());
    }
    let one = |path: &std::path::PathBuf| {
        let scan = scan(path, limits)?;
        let mut host = Host::of_scan(&scan);
        if host.endpoint.is_empty() {
            host.endpoint = scan.hostname.clone().unwrap_or_else(|| path.display().to_string());
        }
        host.value.clone_from(&from.value);
        Ok(host)
    };
    from.scan.iter().map(one).collect()
}

fn filter(text: &str) -> Result<Filter, Usage> {
    let filter = Filter::read(text, muster::clock::now()).map_err(|e| Usage(e.to_string()))?;
    match filter.groups().first() {
        Some(group) => Err(Usage(format!("which endpoints are of group `{group}` is known to a server; give --server"))),
        None => Ok(filter),
    }
}

fn document(value: &impl Serialize) -> anyhow::Result<Value> {
    serde_json::to_value(value).context("cannot write the answer as JSON")
}

pub(super) fn list(from: &From, text: &str, limit: Option<u16>) -> anyhow::Result<Value> {
    let filter = filter(text)?;
    let limits = Limits::default();
    let known = known(from, &limits)?;
    let most = limit.map_or(usize::MAX, usize::from);
    let mut whole = page::page(&known.catalog, &BTreeMap::new(), &filter, most, "");
    while let Some(cursor) = whole.next_cursor.clone().filter(|_| whole.items.len() < most) {
        let next = page::page(&known.catalog, &BTreeMap::new(), &filter, most - whole.items.len(), &cursor);
        whole.items.extend(next.items);
        whole.next_cursor = next.next_cursor;
    }
    whole.next_cursor = whole.next_cursor.map(|c| cursor(&c));
    document(&whole)
}

pub(super) fn show(from: &From, id: &str, feed: Option<&str>) -> anyhow::Result<Value> {
    let limits = Limits::default();
    let known = known(from, &limits)?;
    let of_feed = |p: &u32| feed.is_none_or(|f| known.catalog.id(*p).is_some_and(|(_, of)| of == f));
    let found: Vec<u32> = known.catalog.find(id).into_iter().filter(of_feed).collect();
    if found.is_empty() {
        bail!("no feed has a patch `{id}`");
    }
    if from.scan.is_empty() {
        let views: Vec<PatchView> = found.into_iter().filter_map(|p| view(&known, p)).collect();
        return document(&json!({"items": views}));
    }
    let mut documents = Vec::new();
    for host in hosts(from, &limits)? {
        let standing = Standing::of(&known.catalog, host, true);
        let whys: Vec<Why> = found.iter().filter_map(|p| standing.why(*p)).collect();
        documents.push(document(&json!({"endpoint": standing.host.endpoint, "items": whys}))?);
    }
    Ok(if documents.len() == 1 { documents.remove(0) } else { Value::from(documents) })
}

fn view(known: &Known, patch: u32) -> Option<PatchView> {
    let mut view = report::patch(&known.catalog, patch, None)?;
    if let Some(folder) = &known.folder {
        let evidence = folder.evidence(&view.brief.name.feed, &view.brief.name.id).unwrap_or_default();
        view.evidence = evidence.iter().filter_map(|e| serde_json::to_value(e).ok()).collect();
    }
    Some(view)
}

pub(super) fn lacking(from: &From, which: &Which, asked: Asked) -> anyhow::Result<Vec<Value>> {
    if which.group.is_some() {
        return Err(Usage("which endpoints are of a group is known to a server; give --server".to_owned()).into());
    }
    let filter = filter(which.filter.as_deref().unwrap_or_default())?;
    let states: &[State] = match asked {
        Asked::Missing => &[State::Missing],
        Asked::Applicable => &State::APPLICABLE,
    };
    let limits = Limits::default();
    let (known, hosts) = (known(from, &limits)?, hosts(from, &limits)?);
    let one = |host: Host| {
        let standing = Standing::of(&known.catalog, host, false);
        tell_unseen(&standing);
        let mut found = page::patches(&standing, states, &filter, which.limit.map_or(usize::MAX, usize::from), "");
        found.next_cursor = found.next_cursor.map(|c| cursor(&c));
        document(&found)
    };
    hosts.into_iter().map(one).collect()
}

/// That nothing is missing says little where no feed speaks of the system.
fn tell_unseen(standing: &Standing<'_>) {
    let releases: BTreeSet<&str> = standing.host.rows.iter().filter_map(|r| r.get("release").as_str()).collect();
    if standing.stands().next().is_none() && !releases.is_empty() {
        let releases: Vec<&str> = releases.into_iter().collect();
        output::note(format_args!("{}: no feed says anything of it ({})", standing.host.endpoint, releases.join(", ")));
    }
}

pub(super) fn plans(from: &From) -> anyhow::Result<Vec<Value>> {
    let limits = Limits::default();
    let (known, hosts) = (known(from, &limits)?, hosts(from, &limits)?);
    let one = |host: Host| {
        let standing = Standing::of(&known.catalog, host, false);
        tell_unseen(&standing);
        document(&plan(&standing))
    };
    hosts.into_iter().map(one).collect()
}
