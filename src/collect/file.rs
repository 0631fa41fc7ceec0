//! `file`: what lstat(2) says of the paths asked for.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::root::{is_absent, read_file, why};
use super::{Gathered, Host, asked, row};
use crate::scan::Row;

/// Larger files have no hash: a scan is not an integrity checker.
const HASHED_BYTES: u64 = 1 << 20;
/// Where files grow by themselves: neither size nor hash is a fact about the host that lasts until the next scan.
const MOVING: [&str; 9] = ["/var/log/", "/var/spool/", "/var/cache/", "/var/tmp/", "/var/run/", "/tmp/", "/run/", "/proc/", "/sys/"];

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    Ok(asked::each(host, "file", |path, exact| match host.root.lstat(path) {
        Ok((real, meta)) => Ok(Some(vec![describe(host, path, &real, &meta, exact)])),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(why(&e)),
    }))
}

fn describe(host: &Host<'_>, path: &str, real: &Path, meta: &Metadata, exact: bool) -> Row {
    let mut file = row("file")
        .with("path", path)
        .with("type", kind(meta))
        .with("mode", i64::from(meta.mode() & 0o7777))
        .with("owner", host.names.user(meta.uid()))
        .with("group", host.names.group(meta.gid()));
    if meta.is_symlink() {
        return match fs::read_link(real) {
            Ok(target) => file.with("target", target.to_string_lossy().into_owned()),
            Err(e) => file.with_error(format!("target: {}", why(&e))),
        };
    }
    if meta.is_file() && !MOVING.iter().any(|m| path.starts_with(m)) {
        file = file.with("size", i64::try_from(meta.len()).unwrap_or(i64::MAX));
        if exact && meta.len() <= HASHED_BYTES {
            file = match read_file(real, usize::try_from(HASHED_BYTES).unwrap_or(usize::MAX)) {
                Ok(bytes) => file.with("sha256", hash(&bytes)),
                Err(e) => file.with_error(format!("sha256: {}", why(&e))),
            };
        }
    }
    file
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
