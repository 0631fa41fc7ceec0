//! The sections of muster.toml, one function each: fields in, checked values out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::read::{Fields, Problems};
use super::{Config, LogFormat, SinkConfig};
use crate::client;
use crate::event::{TYPES, subscribed};
use crate::limits::Limits;
use crate::notify::webhook::Secret;
use crate::oval::eval::Compat;
use crate::pack::Requirement;
use crate::policy::{Baseline, Group};
use crate::rule::check::suggest::hint;
use crate::rule::stream::Stream;
use crate::version::Scheme;

/// A year more than anybody needs; sums with the present stay far from overflowing.
const LONGEST_MS: i64 = 100 * 366 * 24 * 3_600_000;

pub(super) fn root(mut fields: Fields<'_>, folder: &Path, config: &mut Config, problems: &mut Problems<'_>) {
    if let Some(listen) = fields.text("listen", problems) {
        let port = listen.get_ref().rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        if port.is_none_or(|(host, _)| host.is_empty()) {
            problems.add(
                &listen.span(),
                format!("`listen` must be an address and a port such as `127.0.0.1:7311`, not `{}`", listen.get_ref()),
            );
        }
        config.listen = listen.into_inner();
    }
    if let Some(data) = fields.text("data", problems) {
        config.data = folder.join(data.get_ref());
    }
    let packs = fields.texts("packs", false, problems).unwrap_or_default();
    config.packs = packs.into_iter().map(|p| folder.join(p.get_ref())).collect();
    for stream in fields.tables("scap", problems) {
        config.scap.extend(self::stream(stream, folder, problems));
    }
    config.exclude = fields.texts("exclude", false, problems).unwrap_or_default().into_iter().map(Spanned::into_inner).collect();
    let mut drift = fields.table("drift", problems);
    span_of_time(&mut drift, "for", &mut config.drift.hold_ms, 0, problems);
    span_of_time(&mut drift, "reopen_within", &mut config.drift.reopen_ms, 0, problems);
    drift.done(problems);
    let mut retention = fields.table("retention", problems);
    span_of_time(&mut retention, "events", &mut config.retention_ms, 24 * 3_600_000, problems);
    span_of_time(&mut retention, "history", &mut config.history_ms, 24 * 3_600_000, problems);
    retention.done(problems);
    let mut enroll = fields.table("enroll", problems);
    if let Some(refuse) = one_of(&mut enroll, "again", &[("replace", false), ("refuse", true)], problems) {
        config.refuse_again = refuse;
    }
    enroll.done(problems);
    for sink in fields.tables("sink", problems) {
        config.sinks.extend(self::sink(sink, folder, problems));
    }
    for feed in fields.tables("feed", problems) {
        config.feeds.extend(super::feeds::feed(feed, folder, problems));
    }
    for group in fields.tables("group", problems) {
        config.groups.extend(self::group(group, problems));
    }
    for baseline in fields.tables("baseline", problems) {
        config.baselines.extend(self::baseline(baseline, &config.groups, problems));
    }
    unique("sink", config.sinks.iter().map(|s| &s.name), problems);
    unique("feed", config.feeds.iter().map(|f| &f.name), problems);
    unique("group", config.groups.iter().map(|g| &g.name), problems);
    unique("baseline", config.baselines.iter().map(|b| &b.name), problems);
    limits(fields.table("limits", problems), &mut config.limits, problems);
    log(fields.table("log", problems), config, problems);
    fields.done(problems);
}

fn span_of_time(fields: &mut Fields<'_>, name: &'static str, into: &mut i64, least_ms: i64, problems: &mut Problems<'_>) {
    let Some(given) = fields.duration(name, problems) else { return };
    if *given.get_ref() < least_ms {
        problems.add(&given.span(), format!("`{name}` must be at least {} h", least_ms / 3_600_000));
    }
    if *given.get_ref() > LONGEST_MS {
        problems.add(&given.span(), format!("`{name}` must be at most a hundred years"));
    }
    *into = given.into_inner();
}

pub(super) fn one_of<T: Copy>(
    fields: &mut Fields<'_>,
    name: &'static str,
    choices: &[(&str, T)],
    problems: &mut Problems<'_>,
) -> Option<T> {
    let text = fields.text(name, problems)?;
    let found = choices.iter().find(|(c, _)| c == text.get_ref()).map(|(_, v)| *v);
    if found.is_none() {
        let names: Vec<String> = choices.iter().map(|(c, _)| format!("`{c}`")).collect();
        problems.add(&text.span(), format!("`{name}` must be {}, not `{}`", names.join(" or "), text.get_ref()));
    }
    found
}

fn unique<'n>(what: &str, names: impl Iterator<Item = &'n String>, problems: &mut Problems<'_>) {
    let mut seen = BTreeSet::new();
    for name in names.filter(|n| !n.is_empty()) {
        if !seen.insert(name) {
            problems.add(&(0..0), format!("two of `[[{what}]]` are named `{name}`"));
        }
    }
}

/// A name that becomes part of keys, paths and metrics.
pub(super) fn name(fields: &mut Fields<'_>, problems: &mut Problems<'_>) -> String {
    let Some(name) = fields.needed_text("name", problems) else { return String::new() };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.get_ref().len() > 64 || !name.get_ref().chars().all(fits) {
        problems.add(&name.span(), format!("`{}` is no name: lower case, digits and `-`, at most 64", name.get_ref()));
    }
    name.into_inner()
}

fn sink(mut fields: Fields<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<SinkConfig> {
    let name = name(&mut fields, problems);
    one_of(&mut fields, "kind", &[("webhook", ())], problems);
    let url = fields.needed_text("url", problems);
    if let Some(url) = &url
        && let Err(e) = client::check_url(url.get_ref())
    {
        problems.add(&url.span(), e.to_string());
    }
    let secrets = secrets(&mut fields, folder, problems);
    let given = fields.texts("events", false, problems);
    for pattern in given.iter().flatten() {
        if !TYPES.iter().any(|(kind, _)| subscribed(std::slice::from_ref(pattern.get_ref()), kind)) {
            let hint = hint(pattern.get_ref(), TYPES.iter().map(|(kind, _)| *kind));
            problems.add(&pattern.span(), format!("no type of event is `{}`{hint}", pattern.get_ref()));
        }
    }
    let default = || ["drift.*", "task.*", "endpoint.*", "patch.*"].map(str::to_owned).to_vec();
    let events = given.map_or_else(default, |g| g.into_iter().map(Spanned::into_inner).collect());
    let mut timeout = Duration::from_secs(15);
    if let Some(given) = fields.duration("timeout", problems) {
        if !(1000..=60_000).contains(given.get_ref()) {
            problems.add(&given.span(), "`timeout` must be from 1s to 60s");
        }
        timeout = Duration::from_millis(u64::try_from(given.into_inner()).unwrap_or(0));
    }
    let ca = fields.text("ca", problems).map(|p| (p.span(), folder.join(p.get_ref())));
    if let Some((span, path)) = &ca
        && let Err(e) = client::Client::new(&client::Options { ca: Some(path.clone()) })
    {
        problems.add(span, e.to_string());
    }
    fields.done(problems);
    Some(SinkConfig { name, url: url?.into_inner(), secrets, events, timeout, ca: ca.map(|(_, path)| path) })
}

/// From `secret` or the lines of `secret_file`. No message quotes any of it.
fn secrets(fields: &mut Fields<'_>, folder: &Path, problems: &mut Problems<'_>) -> Vec<Secret> {
    let mut texts: Vec<Spanned<String>> = fields.texts("secret", true, problems).unwrap_or_default();
    let file = fields.text("secret_file", problems);
    match (&file, texts.is_empty()) {
        (None, true) => problems
            .add(&fields.span.clone(), "`secret` or `secret_file` is missing; make a secret with `echo whsec_$(openssl rand -base64 32)`"),
        (Some(file), false) => problems.add(&file.span(), "give `secret` or `secret_file`, not both"),
        _ => {}
    }
    if let Some(file) = file {
        let path: PathBuf = folder.join(file.get_ref());
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                texts.extend(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| Spanned::new(file.span(), l.to_owned())));
                if texts.is_empty() {
                    problems.add(&file.span(), format!("the secret file `{}` is empty", path.display()));
                }
            }
            Err(e) => problems.add(&file.span(), format!("the secret file `{}` cannot be read: {e}", path.display())),
        }
    }
    let mut out = Vec::new();
    for text in texts {
        match text.get_ref().parse() {
            Ok(secret) => out.push(secret),
            Err(e) => problems.add(&text.span(), format!("{e}")),
        }
    }
    out
}

fn group(mut fields: Fields<'_>, problems: &mut Problems<'_>) -> Option<Group> {
    let name = name(&mut fields, problems);
    let endpoints: Vec<String> =
        fields.texts("endpoints", false, problems).unwrap_or_default().into_iter().map(Spanned::into_inner).collect();
    let labels: BTreeMap<String, String> = fields.map("labels", problems).unwrap_or_default().into_iter().collect();
    if endpoints.is_empty() && labels.is_empty() {
        problems.add(&fields.span.clone(), "a group needs `endpoints` or `labels`; a baseline without `group` is about all endpoints");
    }
    fields.done(problems);
    Some(Group { name, endpoints, labels })
}

/// `[[scap]]`: content of others, and which of its profiles are judged.
fn stream(mut fields: Fields<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<Stream> {
    let content = fields.needed_text("content", problems);
    let profiles = fields.texts("profile", true, problems).unwrap_or_default().into_iter().map(Spanned::into_inner).collect();
    let tailoring = fields.text("tailoring", problems).map(|t| folder.join(t.get_ref()));
    let benchmark = fields.text("benchmark", problems).map(Spanned::into_inner);
    let compat = [("specification", Compat::Specification), ("openscap", Compat::OpenScap)];
    let compat = one_of(&mut fields, "compat", &compat, problems).unwrap_or_default();
    fields.done(problems);
    Some(Stream { content: folder.join(content?.get_ref()), benchmark, profiles, tailoring, compat })
}

fn baseline(mut fields: Fields<'_>, groups: &[Group], problems: &mut Problems<'_>) -> Option<Baseline> {
    let name = name(&mut fields, problems);
    let group = fields.text("group", problems);
    if let Some(group) = &group
        && !groups.iter().any(|g| g.name == *group.get_ref())
    {
        let hint = hint(group.get_ref(), groups.iter().map(|g| g.name.as_str()));
        problems.add(&group.span(), format!("no `[[group]]` is named `{}`{hint}", group.get_ref()));
    }
    let packages: Vec<Requirement> = fields.tables("packages", problems).into_iter().filter_map(|p| requirement(p, problems)).collect();
    let rules: Vec<String> = fields.texts("rules", false, problems).unwrap_or_default().into_iter().map(Spanned::into_inner).collect();
    let mut names =
        |name| -> Vec<String> { fields.texts(name, false, problems).unwrap_or_default().into_iter().map(Spanned::into_inner).collect() };
    let (patches, lists) = (names("patches"), names("lists"));
    if packages.is_empty() && rules.is_empty() && patches.is_empty() && lists.is_empty() {
        problems.add(&fields.span.clone(), "a baseline needs `packages`, `rules`, `patches` or `lists`");
    }
    fields.done(problems);
    Some(Baseline { name, group: group.map(Spanned::into_inner), packages, rules, patches, lists })
}

fn requirement(mut fields: Fields<'_>, problems: &mut Problems<'_>) -> Option<Requirement> {
    let package = fields.needed_text("name", problems);
    let minimum = fields.text("minimum", problems);
    let schemes = Scheme::ALL.map(|s| (s.name(), s));
    let scheme = one_of(&mut fields, "scheme", &schemes, problems);
    if let (Some(minimum), Some(scheme)) = (&minimum, scheme)
        && !scheme.accepts(minimum.get_ref())
    {
        problems.add(&minimum.span(), format!("`{}` is no version in the order of {}", minimum.get_ref(), scheme.name()));
    }
    if minimum.is_some() != scheme.is_some() {
        problems.add(&fields.span.clone(), format!("`minimum` and `scheme` ({}) go together", Scheme::names()));
    }
    fields.done(problems);
    Some(Requirement { package: package?.into_inner(), minimum: scheme.zip(minimum.map(Spanned::into_inner)) })
}

/// Takes each limit that is named, as whatever number it is.
macro_rules! take_limits {
    ($fields:ident, $limits:ident, $problems:ident, $($name:ident),* $(,)?) => {
        $(if let Some(n) = $fields.number(stringify!($name), $problems) {
            match n.try_into() {
                Ok(n) => $limits.$name = n,
                Err(_) => $problems.add(&$fields.span.clone(), format!("limits.{} is too large a number", stringify!($name))),
            }
        })*
    };
}

fn limits(mut fields: Fields<'_>, limits: &mut Limits, problems: &mut Problems<'_>) {
    take_limits!(
        fields,
        limits,
        problems,
        body_bytes,
        inflated_bytes,
        inflate_ratio,
        rows,
        row_bytes,
        value_bytes,
        new_rows,
        fleet_rows,
        endpoints,
        connections,
        uploads_in_flight,
        commit_batch,
        request_seconds,
        disk_reserve_bytes,
        outbox,
        rules,
        rule_bytes,
        feed_document_bytes,
        feed_bytes,
        feed_documents,
        feed_advisories,
        feed_affected,
        feed_rows,
        feed_problems,
        feed_files,
        feed_upload_bytes,
        feed_history,
        supersedence,
        patch_lists,
        patch_list_entries,
        exemptions,
    );
    if let Err(why) = limits.check() {
        problems.add(&fields.span.clone(), why);
    }
    if limits.request_seconds == 0 {
        problems.add(&fields.span.clone(), "limits.request_seconds is 0, it must be at least 1");
    }
    fields.done(problems);
}

fn log(mut fields: Fields<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    if let Some(format) = one_of(&mut fields, "format", &[("text", LogFormat::Text), ("json", LogFormat::Json)], problems) {
        config.log.format = format;
    }
    if let Some(level) = fields.text("level", problems) {
        if let Err(e) = level.get_ref().parse::<tracing_subscriber::filter::Targets>() {
            problems.add(&level.span(), format!("`level` `{}`: {e}", level.get_ref()));
        }
        config.log.level = level.into_inner();
    }
    fields.done(problems);
}
