//! `muster feed read`: files of feeds in, what they hold and what is wrong with it out; nothing is kept.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use muster::feed::{Batch, Weight, csaf, debian, epss, kev, msrc, openvex, osv, oval};
use muster::limits::Limits;
use muster::subscription;
use serde_json::json;

use super::super::Outcome;
use super::super::output::{self, Format};

/// What the files are: not guessed, as a feed in another's place would be read as empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Feed {
    /// OSV 1.7, any ecosystem
    Osv,
    /// CSAF 2.0 and 2.1, advisories and VEX
    Csaf,
    /// OpenVEX
    Openvex,
    /// OVAL patch and vulnerability definitions of a distribution
    Oval,
    /// The JSON of Debian's security tracker
    DebianTracker,
    /// Debian's DSA/list and DLA/list
    DsaList,
    /// Microsoft's CVRF
    MsrcCvrf,
    /// The definitions of WES-NG
    Wesng,
    /// CISA's known exploited vulnerabilities
    Kev,
    /// EPSS scores
    Epss,
}

impl Feed {
    pub(super) fn format(self) -> Option<subscription::Format> {
        self.to_possible_value().and_then(|v| subscription::Format::by_name(v.get_name()))
    }
}

/// What was read, whatever it was.
struct Found {
    batch: Batch,
    /// Of feeds that speak of CVEs instead of products.
    entries: Vec<serde_json::Value>,
}

pub(super) fn run(files: &[PathBuf], format: Feed, output: Format) -> anyhow::Result<Outcome> {
    let limits = Limits::default();
    let mut found = Found { batch: Batch::new(&limits), entries: Vec::new() };
    for file in files {
        read(file, format, &limits, &mut found)?;
    }
    let mut out = output::stdout();
    let Found { batch, entries } = &found;
    match output {
        Format::Json => {
            let problems: Vec<_> = batch
                .problems
                .iter()
                .map(|p| json!({"document": *p.document, "place": p.place, "code": p.code, "weight": weight(p.weight), "message": p.message}))
                .collect();
            out.json(
                &json!({"advisories": batch.advisories, "entries": entries, "problems": problems, "more_problems": batch.more_problems}),
            )?;
        }
        Format::Table => {
            for problem in &batch.problems {
                writeln!(out, "{problem}")?;
            }
            let affected: usize = batch.advisories.iter().map(|a| a.affected.len()).sum();
            let withdrawn = batch.advisories.iter().filter(|a| a.withdrawn.is_some()).count();
            if entries.is_empty() {
                writeln!(out, "{} advisories ({withdrawn} withdrawn) about {affected} products", batch.advisories.len())?;
            } else {
                writeln!(out, "{} entries", entries.len())?;
            }
            writeln!(out, "{} problems", batch.problems.len() + batch.more_problems)?;
        }
    }
    out.flush()?;
    let used = batch.more_problems == 0 && batch.problems.iter().all(|p| p.weight == Weight::Note);
    Ok(Outcome::fine_if(used))
}

fn weight(weight: Weight) -> &'static str {
    match weight {
        Weight::Note => "note",
        Weight::Partial => "left out",
        Weight::Refused => "refused",
    }
}

fn read(file: &Path, format: Feed, limits: &Limits, found: &mut Found) -> anyhow::Result<()> {
    let fail = || format!("cannot read `{}`", file.display());
    let mut bytes = Vec::new();
    std::fs::File::open(file).and_then(|f| f.take(limits.feed_bytes).read_to_end(&mut bytes)).with_context(fail)?;
    let name = file.display().to_string();
    let Found { batch, entries } = found;
    match format {
        Feed::Osv => osv::read(&name, &bytes, limits, batch),
        Feed::Csaf => csaf::read(&name, &bytes, limits, batch),
        Feed::Openvex => openvex::read(&name, &bytes, limits, batch),
        Feed::Oval => oval::read(&name, &bytes, limits, batch),
        Feed::DebianTracker => debian::read_tracker(&name, &bytes, limits, batch),
        Feed::DsaList => debian::read_list(&name, &bytes, limits, batch),
        Feed::MsrcCvrf => msrc::read_cvrf(&name, &bytes, limits, batch),
        Feed::Wesng => msrc::read_wesng(&name, &bytes, limits, batch),
        Feed::Kev => entries.extend(kev::read(&name, &bytes, limits, batch).entries.iter().map(|e| json!(e))),
        Feed::Epss => entries.extend(epss::read(&name, &bytes, limits, batch).entries.iter().map(|e| json!(e))),
    }
    Ok(())
}
