//! SCAP content on disk: `path + profiles -> ScapPack x n`, every problem said with its place.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Code, Diagnostic};
use crate::limits::Limits;
use crate::oval::eval::Compat;
use crate::pack::{PackInfo, ScapPack};
use crate::scan::inflate::Encoding;
use crate::xccdf::datastream::Source;
use crate::xccdf::model::Baseline;
use crate::xccdf::resolve::{self, resolve};
use crate::xccdf::tailoring::{self, Tailoring};

/// A content file and what of it is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// A data stream, a benchmark or OVAL definitions; plain, gzip, bzip2 or zstd.
    pub content: PathBuf,
    /// The benchmark, where the file holds several.
    pub benchmark: Option<String>,
    /// Ids, or their last parts where that is unique; none: what the benchmark itself selects.
    pub profiles: Vec<String>,
    pub tailoring: Option<PathBuf>,
    pub compat: Compat,
}

/// Whether a file is XML, plain or compressed: by its content, as such files have any name.
pub fn is_xml(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = fs::File::open(path).and_then(|f| f.take(64 << 10).read_to_end(&mut start));
    if read.is_err() {
        return false;
    }
    let looks = |bytes: &[u8]| {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'<')
    };
    match Encoding::sniff(&start) {
        Encoding::Identity => looks(&start),
        // Neither rules nor compiled packs are ever compressed; scans are never given as rules.
        Encoding::Gzip | Encoding::Bzip2 | Encoding::Zstd | Encoding::Dcz | Encoding::Xz => true,
    }
}

/// Reads the profiles of a stream as sources of rules. What cannot be evaluated is no problem but a note of the baseline.
pub fn read_stream(stream: &Stream, limits: &Limits) -> (Vec<ScapPack>, Vec<Diagnostic>) {
    match load(stream, limits) {
        Ok((source, tailoring)) => baselines(stream, &source, tailoring.as_ref(), limits),
        Err(problem) => (Vec::new(), vec![problem]),
    }
}

/// The content and the tailoring, read.
pub fn load(stream: &Stream, limits: &Limits) -> Result<(Source, Option<Tailoring>), Diagnostic> {
    let name = stream.content.display().to_string();
    let source = Source::read(&name, &bytes(&stream.content, limits)?, limits).map_err(|e| said(&stream.content, &e.to_string()))?;
    let Some(path) = &stream.tailoring else { return Ok((source, None)) };
    let read = tailoring::read(&path.display().to_string(), &bytes(path, limits)?, limits);
    Ok((source, Some(read.map_err(|e| said(path, &e.to_string()))?)))
}

/// The profiles of content that was read.
pub fn baselines(stream: &Stream, source: &Source, tailoring: Option<&Tailoring>, limits: &Limits) -> (Vec<ScapPack>, Vec<Diagnostic>) {
    let (mut packs, mut problems) = (Vec::new(), Vec::new());
    let wanted: Vec<Option<&String>> = if stream.profiles.is_empty() { vec![None] } else { stream.profiles.iter().map(Some).collect() };
    for profile in wanted {
        let choice = resolve::Choice {
            datastream: None,
            benchmark: stream.benchmark.clone(),
            profile: profile.cloned(),
            tailoring: tailoring.cloned(),
        };
        match resolve(source, &choice, limits) {
            Ok((baseline, found)) => {
                let mut baseline = baseline;
                baseline.notes.extend(found.iter().map(ToString::to_string));
                packs.push(pack(baseline, stream.compat, limits));
            }
            Err(e) => problems.push(said(&stream.content, &e.to_string())),
        }
    }
    (packs, problems)
}

fn pack(mut baseline: Baseline, compat: Compat, limits: &Limits) -> ScapPack {
    let rules = baseline.items.iter().filter(|i| i.rule.is_some() && i.selected).count();
    let benchmark = short(&baseline.benchmark_id, "_benchmark_");
    let id = match short(&baseline.profile_id, "_profile_") {
        "" => slug(benchmark),
        profile => slug(&format!("{benchmark}-{profile}")),
    };
    let title = [baseline.benchmark_title.as_str(), &baseline.profile_title].map(str::trim).join(": ");
    let info = PackInfo {
        id,
        title: title.trim_end_matches(": ").to_owned(),
        version: baseline.benchmark_version.clone(),
        description: baseline.profile_description.clone(),
        benchmarks: std::iter::once((baseline.benchmark_id.clone(), baseline.benchmark_version.clone())).collect(),
        rules,
    };
    baseline.notes.sort();
    baseline.notes.dedup();
    let mut pack = ScapPack { info, baseline: Arc::new(baseline), compat, notes: Vec::new() };
    pack.notes = pack.unseen(limits);
    pack
}

/// The part that people say: `cis_level2_server` of `xccdf_org.ssgproject.content_profile_cis_level2_server`.
pub fn short<'i>(id: &'i str, marker: &str) -> &'i str {
    id.split_once(marker).map_or(id, |(_, last)| last)
}

fn slug(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c.to_ascii_lowercase() } else { '-' });
    plain.collect()
}

/// The bytes of a file, inflated nowhere yet; at most one over the limit is read.
fn bytes(path: &Path, limits: &Limits) -> Result<Vec<u8>, Diagnostic> {
    let unreadable = |e: std::io::Error| Diagnostic {
        code: Code::Unreadable,
        file: path.display().to_string(),
        line: 0,
        column: 0,
        message: e.to_string(),
    };
    let limit = u64::try_from(limits.content_bytes).unwrap_or(u64::MAX);
    let mut out = Vec::new();
    fs::File::open(path).map_err(unreadable)?.take(limit.saturating_add(1)).read_to_end(&mut out).map_err(unreadable)?;
    if out.len() > limits.content_bytes {
        let message = format!("larger than {limit} bytes (limits.content_bytes)");
        return Err(Diagnostic { code: Code::Limit, file: path.display().to_string(), line: 0, column: 0, message });
    }
    Ok(out)
}

fn said(path: &Path, message: &str) -> Diagnostic {
    Diagnostic { code: Code::Scap, file: path.display().to_string(), line: 0, column: 0, message: message.to_owned() }
}
