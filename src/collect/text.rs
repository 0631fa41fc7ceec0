//! `text`: small text files, whole.

use std::io::ErrorKind;

use super::root::{is_absent, why};
use super::{Gathered, Host, asked, file, row};

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    // In JSON a text grows (line feeds, quotes), and must stay below the limit of a row.
    let max = host.limits.value_bytes / 2;
    Ok(asked::each(host, "text", |path, exact| match host.root.read(path, max) {
        Ok(bytes) => {
            let content = String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}");
            Ok(Some(vec![row("text").with("path", path).with("sha256", file::hash(&bytes)).with("content", content)]))
        }
        Err(e) if is_absent(&e) => Ok(None),
        // A pattern for files matches folders too, and passes over them.
        Err(e) if is_other(&e) && !host.root.resolve(path).is_ok_and(|p| p.is_file()) => {
            if exact {
                Err(why(&e))
            } else {
                Ok(None)
            }
        }
        // The file is there, but below a folder that may not be entered nobody can say so.
        Err(e) if host.root.lstat(path).is_ok() => Ok(Some(vec![row("text").with("path", path).with_error(why(&e))])),
        Err(e) => Err(why(&e)),
    }))
}

fn is_other(e: &std::io::Error) -> bool {
    e.kind() == ErrorKind::Other
}
