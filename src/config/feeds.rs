//! `[[feed]]` of muster.toml: fields in, a checked subscription out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::read::{Fields, Problems};
use super::sections::{name, one_of};
use crate::client;
use crate::subscription::{EVERY, EVERY_LEAST, Feed, Format, Source, is_pinned};

/// Longer than this is no subscription.
const EVERY_MOST: Duration = Duration::from_secs(366 * 24 * 3600);

pub(super) fn feed(mut fields: Fields<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<Feed> {
    let name = name(&mut fields, problems);
    let there = fields.has("format");
    let format = one_of(&mut fields, "format", &Format::ALL, problems);
    if !there {
        let names: Vec<&str> = Format::ALL.iter().map(|(name, _)| *name).collect();
        problems.add(&fields.span.clone(), format!("`format` is missing: {}", names.join(", ")));
    }
    let urls = fields.texts("url", true, problems);
    let paths = fields.texts("path", true, problems);
    for url in urls.iter().flatten() {
        if let Err(e) = client::check_url(url.get_ref()) {
            problems.add(&url.span(), e.to_string());
        }
    }
    if urls.is_some() && paths.is_some() {
        problems.add(&fields.span.clone(), "give `url` or `path`, not both; without either the feed is filled by `muster feed import`");
    }
    let source = match (urls, paths) {
        (Some(urls), _) => Source::Urls(urls.into_iter().map(Spanned::into_inner).collect()),
        (None, Some(paths)) => Source::Paths(paths.into_iter().map(|p| folder.join(p.get_ref())).collect()),
        (None, None) => Source::Imported,
    };
    let mut feed = Feed::new(&name, format.unwrap_or(Format::Osv), source);
    every(&mut fields, &mut feed, problems);
    let ca = fields.text("ca", problems).map(|p| (p.span(), folder.join(p.get_ref())));
    if let Some((span, path)) = &ca
        && let Err(e) = client::Client::new(&client::Options { ca: Some(path.clone()) })
    {
        problems.add(span, e.to_string());
    }
    feed.ca = ca.map(|(_, path)| path);
    evidence(&mut fields, folder, &mut feed, problems);
    feed.enabled = fields.flag("enabled", problems).unwrap_or(true);
    fields.done(problems);
    format.map(|_| feed)
}

fn every(fields: &mut Fields<'_>, feed: &mut Feed, problems: &mut Problems<'_>) {
    let Some(given) = fields.duration("every", problems) else {
        feed.every = EVERY;
        return;
    };
    feed.every = Duration::from_millis(u64::try_from(*given.get_ref()).unwrap_or(0));
    if !(EVERY_LEAST..=EVERY_MOST).contains(&feed.every) {
        problems.add(&given.span(), "`every` must be from 5m to 366d");
    }
}

/// `checksum`, `signature` and `keyring`: what a file is held against.
fn evidence(fields: &mut Fields<'_>, folder: &Path, feed: &mut Feed, problems: &mut Problems<'_>) {
    let (checksum, signature) = (fields.text("checksum", problems), fields.text("signature", problems));
    let keyring = fields.text("keyring", problems);
    let several = match &feed.source {
        Source::Urls(urls) => urls.len() != 1 || urls.iter().any(|u| feed.is_list(u)),
        Source::Paths(paths) => paths.len() != 1 || paths.iter().any(|p| p.is_dir()),
        Source::Imported => false,
    };
    let local = matches!(feed.source, Source::Paths(_));
    for (option, given) in [("checksum", &checksum), ("signature", &signature)] {
        let Some(given) = given else { continue };
        if several {
            problems.add(
                &given.span(),
                format!("`{option}` is of one file; documents of a list are checked by their own, and several files are several feeds"),
            );
        } else if matches!(feed.source, Source::Imported) && !is_pinned(given.get_ref()) {
            problems.add(&given.span(), format!("a feed that is imported has no address to fetch `{option}` from"));
        } else if !(local || option == "checksum" && is_pinned(given.get_ref()))
            && let Err(e) = client::check_url(given.get_ref())
        {
            let or = if option == "checksum" { "`sha256:` with 64 hex digits, or " } else { "" };
            problems.add(&given.span(), format!("`{option}` must be {or}a URL: {e}"));
        }
    }
    if signature.is_some() && keyring.is_none() {
        problems.add(&fields.span.clone(), "`signature` needs `keyring`, the file with the public keys that may have signed it");
    }
    if let Some(keyring) = &keyring {
        let path = folder.join(keyring.get_ref());
        if let Err(e) = std::fs::File::open(&path) {
            problems.add(&keyring.span(), format!("the keyring `{}` cannot be read: {e}", path.display()));
        }
        feed.keyring = Some(path);
    }
    let placed = |text: String| if local && !is_pinned(&text) { folder.join(PathBuf::from(text)).display().to_string() } else { text };
    feed.checksum = checksum.map(|c| placed(c.into_inner()));
    feed.signature = signature.map(|s| placed(s.into_inner()));
}
