//! `file`: what lstat(2) says of the paths asked for.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::asked::Wish;
use super::root::{Root, is_absent, read_file, why};
use super::{Gathered, Host, asked, row};
use crate::scan::Row;

/// Larger files have no hash: a scan is not an integrity checker.
const HASHED_BYTES: u64 = 1 << 20;
/// Where files grow by themselves: neither size nor hash is a fact about the host that lasts until the next scan.
const MOVING: [&str; 9] = ["/var/log/", "/var/spool/", "/var/cache/", "/var/tmp/", "/var/run/", "/tmp/", "/run/", "/proc/", "/sys/"];

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let mut folders = Folders::default();
    Ok(asked::each(host, "file", |path, wish| match host.root.lstat(path) {
        Ok((real, meta)) => {
            let file = describe(host, path, &real, &meta, wish).with("real", folders.real(host.root, path));
            Ok(Some(vec![file]))
        }
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(why(&e)),
    }))
}

/// Where the folder of the last path really is: paths come folder by folder.
#[derive(Default)]
pub(super) struct Folders {
    path: String,
    real: Option<String>,
}

impl Folders {
    /// The path with the links among its folders followed, where that is another.
    pub(super) fn real(&mut self, root: &Root, path: &str) -> Option<String> {
        let (folder, name) = path.rsplit_once('/')?;
        if folder != self.path {
            folder.clone_into(&mut self.path);
            let real = if folder.is_empty() { None } else { root.canonical(folder).ok() };
            self.real = real.filter(|real| real != folder);
        }
        self.real.as_ref().map(|real| format!("{}/{name}", real.trim_end_matches('/')))
    }
}

fn describe(host: &Host<'_>, path: &str, real: &Path, meta: &Metadata, wish: Wish) -> Row {
    let file = row("file")
        .with("path", path)
        .with("type", kind(meta))
        .with("mode", i64::from(meta.mode() & 0o7777))
        .with("owner", host.names.user(meta.uid()))
        .with("group", host.names.group(meta.gid()))
        .with("uid", i64::from(meta.uid()))
        .with("gid", i64::from(meta.gid()));
    let file = if wish.modified { file.with("modified", meta.mtime()) } else { file };
    if meta.is_symlink() { link(host, file, path, real) } else { content(file, path, real, meta, wish) }
}

fn link(host: &Host<'_>, file: Row, path: &str, real: &Path) -> Row {
    let file = match fs::read_link(real) {
        Ok(target) => file.with("target", target.to_string_lossy().into_owned()),
        Err(e) => file.with_error(format!("target: {}", why(&e))),
    };
    match host.root.canonical(path).and_then(|end| Ok((fs::metadata(host.root.resolve(path)?)?, end))) {
        Ok((meta, end)) if meta.is_dir() && end != "/" => file.with("canonical", end + "/"),
        Ok((_, end)) => file.with("canonical", end),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => file.with_error(format!("canonical: {}", why(&e))),
        // Nothing is there, or the links lead round.
        Err(_) => file.with("canonical", ""),
    }
}

fn content(file: Row, path: &str, real: &Path, meta: &Metadata, wish: Wish) -> Row {
    let mut file = file.with("acl", has_acl(real, meta.is_dir()));
    let moves = MOVING.iter().any(|m| path.starts_with(m));
    if meta.is_file() && (!moves || wish.hash) {
        file = file.with("size", i64::try_from(meta.len()).unwrap_or(i64::MAX));
        if (wish.exact || wish.hash) && meta.len() <= HASHED_BYTES {
            file = match read_file(real, usize::try_from(HASHED_BYTES).unwrap_or(usize::MAX)) {
                Ok(bytes) => file.with("sha256", hash(&bytes)),
                Err(e) => file.with_error(format!("sha256: {}", why(&e))),
            };
        }
    }
    file
}

/// Whether there is an access control list beyond the permission bits, which is when the kernel keeps one. None where the file
/// system has no such lists.
fn has_acl(real: &Path, is_folder: bool) -> Option<bool> {
    let names: &[&str] = if is_folder { &["system.posix_acl_access", "system.posix_acl_default"] } else { &["system.posix_acl_access"] };
    for name in names {
        match rustix::fs::lgetxattr_query(real, *name) {
            Ok(_) => return Some(true),
            Err(rustix::io::Errno::NODATA) => {}
            Err(_) => return None,
        }
    }
    Some(false)
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "symlink",
        () if kind.is_socket() => "socket",
        () if kind.is_fifo() => "fifo",
        () if kind.is_block_device() => "block",
        () => "char",
    }
}

pub(super) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_hex() {
        assert_eq!(hash(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
