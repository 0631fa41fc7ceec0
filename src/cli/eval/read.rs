//! A file to a scan: bounded, decompressed by its content, decoded. XML is what SCAP collectors write.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use muster::limits::Limits;
use muster::scan::inflate::{Encoding, inflate};
use muster::scan::native::{DecodeError, decode_scan};
use muster::scan::{Scan, native, scap};

/// What a file holds, decompressed.
pub(super) fn text(path: &Path, limits: &Limits) -> anyhow::Result<Vec<u8>> {
    let name = name(path);
    let sent = bytes(path, limits).with_context(|| format!("cannot read {name}"))?;
    let mut text = Vec::new();
    inflate(Encoding::sniff(&sent), &sent, limits, &mut text).with_context(|| format!("cannot decompress {name}"))?;
    Ok(text)
}

fn name(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { format!("`{}`", path.display()) }
}

pub(in crate::cli) fn scan(path: &Path, limits: &Limits) -> anyhow::Result<Scan> {
    parsed(&text(path, limits)?, path, limits)
}

/// A document that was read from `path`.
pub(super) fn parsed(text: &[u8], path: &Path, limits: &Limits) -> anyhow::Result<Scan> {
    let name = name(path);
    if scap::is_xml(text) {
        return scap::read(text, limits).with_context(|| format!("the upload {name} is refused"));
    }
    let (header, scan) = match decode_scan(text, limits) {
        Ok(decoded) => decoded,
        Err(e @ (DecodeError::Syntax { .. } | DecodeError::Format(_) | DecodeError::NotUtf8(_) | DecodeError::Truncated(_))) => {
            bail!("{name} is no {} document: {e}; `muster scan --output FILE` writes one", native::FORMAT);
        }
        Err(e) => return Err(e).with_context(|| format!("the scan {name} is refused")),
    };
    if let Some(base) = header.base {
        bail!("{name} holds only what changed since the scan {base}; eval needs a whole scan");
    }
    Ok(scan)
}

/// At most one byte over the limit is read.
fn bytes(path: &Path, limits: &Limits) -> anyhow::Result<Vec<u8>> {
    let limit = u64::try_from(limits.inflated_bytes).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    if bytes.len() > limits.inflated_bytes {
        bail!("it is larger than {limit} bytes (limits.inflated_bytes)");
    }
    Ok(bytes)
}
