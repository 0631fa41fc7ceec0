//! `file`, `filehash58` and `symlink` over the table `file`.

use super::super::facts::{Flag, Status};
use super::super::model::Datatype;
use super::item::{Make, Out};
use super::path::{Place, Seen, split};
use super::resolved::Resolved;
use super::types::{Type, by_key};
use crate::scan::{Row, Value};

pub(super) const TYPES: &[Type] = &[
    Type::rows("file", "file", file).places().asks(asks),
    Type::rows("filehash58", "file", hash).places().asks(hash_asks).check(hash_check),
    Type::rows("symlink", "file", symlink).select(|o| by_key(o, "filepath")).asks(symlink_asks).check(symlink_check),
];

fn asks(object: &Resolved) -> Vec<String> {
    let more = if object.read.contains("m_time") { "modified " } else { "" };
    object.place.as_ref().map(|p| p.asks(more)).unwrap_or_default()
}

fn seen(row: &Row) -> Option<Seen<'_>> {
    let path = row.get("path").as_str()?;
    let kind = row.get("type").as_str();
    let real = row.get("real").as_str();
    let end = row.get("canonical").as_str().filter(|c| kind == Some("symlink") && c.ends_with('/'));
    let turns = end.is_some_and(|end| format!("{}/", split(real.unwrap_or(path)).0.trim_end_matches('/')).starts_with(end));
    Some(Seen { path, folder: kind == Some("directory"), to_folder: end.is_some(), turns, real })
}

fn meant<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) -> Option<&'r str> {
    let seen = seen(row)?;
    let meant = object.place.as_ref()?.meant(seen);
    if !out.taken(meant) {
        return None;
    }
    if *row.get("type") == Value::Null {
        out.fail(Flag::Error, format!("{}: {}", seen.path, row.error.as_deref().unwrap_or("it has no type")));
        return None;
    }
    Some(seen.path)
}

const TYPE_NAMES: [(&str, &str); 7] = [
    ("file", "regular"),
    ("directory", "directory"),
    ("symlink", "symbolic link"),
    ("socket", "socket"),
    ("fifo", "named pipe"),
    ("block", "block special"),
    ("char", "character special"),
];

const BITS: [(&str, i64); 12] = [
    ("suid", 0o4000),
    ("sgid", 0o2000),
    ("sticky", 0o1000),
    ("uread", 0o400),
    ("uwrite", 0o200),
    ("uexec", 0o100),
    ("gread", 0o40),
    ("gwrite", 0o20),
    ("gexec", 0o10),
    ("oread", 0o4),
    ("owrite", 0o2),
    ("oexec", 0o1),
];

fn file<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(path) = meant(object, row, out) else { return };
    let make = Make::new("file");
    let mut make = match &object.place {
        Some(Place::In { name: None, .. }) => make.text("path", path).text("filename", ""),
        _ => super::text::placed(make, path),
    };
    let kind = row.get("type").as_str().unwrap_or_default();
    make = make.text("type", TYPE_NAMES.iter().find(|(ours, _)| *ours == kind).map_or(kind, |(_, name)| name));
    make = make
        .column("group_id", row, "gid", Datatype::Int, Status::NotCollected)
        .column("user_id", row, "uid", Datatype::Int, Status::NotCollected)
        // They change by themselves.
        .without("a_time", Datatype::Int, Status::NotCollected)
        .without("c_time", Datatype::Int, Status::NotCollected)
        .column("m_time", row, "modified", Datatype::Int, Status::NotCollected)
        .column("size", row, "size", Datatype::Int, Status::NotCollected);
    let mode = if let Value::Int(mode) = row.get("mode") { Some(*mode) } else { None };
    for (name, bit) in BITS {
        make = match mode {
            Some(mode) => make.bool(name, mode & bit != 0),
            None => make.without(name, Datatype::Boolean, Status::NotCollected),
        };
    }
    out.item(make.column("has_extended_acl", row, "acl", Datatype::Boolean, Status::NotCollected));
}

fn hash_check(object: &Resolved) -> Result<(), String> {
    let wanted = object.want("hash_type").and_then(|w| w.exact());
    match wanted {
        Some(types) if types.iter().all(|t| &**t == "SHA-256") => Ok(()),
        _ => Err("only SHA-256 is collected of files".to_owned()),
    }
}

fn hash_asks(object: &Resolved) -> Vec<String> {
    object.place.as_ref().map(|p| p.asks("hash ")).unwrap_or_default()
}

fn hash<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(path) = meant(object, row, out) else { return };
    if row.get("type").as_str() != Some("file") {
        return;
    }
    let make = super::text::placed(Make::new("filehash58"), path).text("hash_type", "SHA-256");
    out.item(make.column("hash", row, "sha256", Datatype::String, Status::NotCollected));
}

fn symlink_check(object: &Resolved) -> Result<(), String> {
    object.want("filepath").and_then(|w| w.exact()).map(|_| ()).ok_or_else(|| "a symlink's filepath must be stated".to_owned())
}

fn symlink_asks(object: &Resolved) -> Vec<String> {
    let paths = object.want("filepath").and_then(|w| w.exact()).unwrap_or_default();
    paths.iter().filter(|p| p.starts_with('/') && !p.contains(['*', '?'])).map(|p| p.to_string()).collect()
}

/// A file that is no link gives no item; a link that ends nowhere is an error, as nothing can be said of where it leads.
fn symlink<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(path) = row.get("path").as_str() else { return };
    if !object.takes("filepath", path, out) {
        return;
    }
    match (row.get("type").as_str(), row.get("canonical").as_str()) {
        (Some("symlink"), Some("")) => out.fail(Flag::Error, format!("{path}: the link ends nowhere")),
        (Some("symlink"), Some(target)) => {
            let target = if target == "/" { target } else { target.trim_end_matches('/') };
            out.item(Make::new("symlink").text("filepath", path).text("canonical_path", target));
        }
        (Some("symlink"), None) => {
            out.fail(Flag::NotCollected, format!("{path}: {}", row.error.as_deref().unwrap_or("its end is not collected")));
        }
        (None, _) => out.fail(Flag::Error, format!("{path}: {}", row.error.as_deref().unwrap_or("it has no type"))),
        (Some(_), _) => {}
    }
}
