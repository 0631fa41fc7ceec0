//! `text`: small text files, whole, without the secrets in them (`secrets`).

use std::io::ErrorKind;

use super::root::{is_absent, why};
use super::{Gathered, Host, asked, file, row, secrets};
use crate::scan::Row;

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    // In JSON a text grows (line feeds, quotes), and must stay below the limit of a row.
    let max = host.limits.value_bytes / 2;
    let mut folders = file::Folders::default();
    Ok(asked::each(host, "text", |path, wish| match host.root.read(path, max) {
        Ok(bytes) => Ok(Some(vec![shown(host, path, &bytes).with("real", folders.real(host.root, path))])),
        Err(e) if is_absent(&e) => Ok(None),
        // A folder is no text. A pattern matches what else is no file too, and passes over it.
        Err(e) if is_other(&e) && !host.root.resolve(path).is_ok_and(|p| p.is_file()) => {
            if wish.exact && !host.root.resolve(path).is_ok_and(|p| p.is_dir()) { Err(why(&e)) } else { Ok(None) }
        }
        // The file is there, but below a folder that may not be entered nobody can say so.
        Err(e) if host.root.lstat(path).is_ok() => Ok(Some(vec![row("text").with("path", path).with_error(why(&e))])),
        Err(e) => Err(why(&e)),
    }))
}

fn shown(host: &Host<'_>, path: &str, bytes: &[u8]) -> Row {
    let whole = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
    let text = row("text").with("path", path);
    if let Some(why) = secrets::withheld(&whole) {
        return text.with_error(why);
    }
    // A link to shadow holds what shadow holds.
    let place = host.root.canonical(path).unwrap_or_default();
    let masked = secrets::mask(path, &secrets::mask(&place, &whole)).into_owned();
    // The digest of what was masked would let a guess be tried.
    let digest = (masked == whole).then(|| file::hash(bytes));
    text.with("sha256", digest).with("content", masked)
}

fn is_other(e: &std::io::Error) -> bool {
    e.kind() == ErrorKind::Other
}
