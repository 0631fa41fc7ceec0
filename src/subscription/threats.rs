//! KEV and EPSS as they are kept: compiled once when they change, opened without reading JSON or CSV again.
//!
//! `MUSTERTHREATS1\n`, then one [`Part`] in postcard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Format;
use crate::feed::epss::{self, Scores};
use crate::feed::kev::{self, Catalog};
use crate::feed::{Batch, Sink};
use crate::limits::Limits;
use crate::patch::catalog::Threats;

const MAGIC: &[u8] = b"MUSTERTHREATS1\n";

/// What one feed brings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Part {
    Kev(Catalog),
    Epss(Scores),
}

impl Part {
    pub(super) fn empty(format: Format) -> Part {
        if format == Format::Epss { Part::Epss(Scores::default()) } else { Part::Kev(Catalog::default()) }
    }

    /// Reads one file behind what was read before; what both have is the later one's.
    pub(super) fn read(&mut self, file: &str, bytes: &[u8], limits: &Limits, batch: &mut Batch) {
        let sink: &mut dyn Sink = batch;
        match self {
            Part::Kev(all) => {
                let mut new = kev::read(file, bytes, limits, sink);
                let known: Vec<_> = all.entries.drain(..).filter(|e| new.get(&e.cve).is_none()).collect();
                new.entries.extend(known);
                new.entries.sort_by(|a, b| a.cve.cmp(&b.cve));
                *all = new;
            }
            Part::Epss(all) => {
                let mut new = epss::read(file, bytes, limits, sink);
                let known: Vec<_> = all.entries.drain(..).filter(|e| new.get(&e.cve).is_none()).collect();
                new.entries.extend(known);
                new.entries.sort_by(|a, b| a.cve.cmp(&b.cve));
                *all = new;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Part::Kev(c) => c.entries.len(),
            Part::Epss(s) => s.entries.len(),
        }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        postcard::to_extend(self, MAGIC.to_vec()).map_err(|e| e.to_string())
    }

    pub(super) fn of(bytes: &[u8]) -> Result<Part, String> {
        let body = bytes.strip_prefix(MAGIC).ok_or("of another version")?;
        postcard::from_bytes(body).map_err(|e| e.to_string())
    }

    /// What is said of each CVE, to tell what changed. A score that moved by less than a hundredth has not.
    pub(super) fn said(&self) -> BTreeMap<&str, u64> {
        match self {
            Part::Kev(c) => {
                let said = |e: &kev::Exploited| {
                    let due = e.due.map_or(0, |d| u64::try_from(d.as_second()).unwrap_or(0));
                    due << 1 | u64::from(e.ransomware)
                };
                c.entries.iter().map(|e| (&*e.cve, said(e))).collect()
            }
            Part::Epss(s) => s.entries.iter().map(|e| (&*e.cve, u64::from(e.probability / 10_000))).collect(),
        }
    }

    pub(super) fn add_to(self, threats: &mut Threats) {
        match self {
            Part::Kev(new) if threats.kev.entries.is_empty() => threats.kev = new,
            Part::Epss(new) if threats.epss.entries.is_empty() => threats.epss = new,
            Part::Kev(new) => {
                let more: Vec<_> = new.entries.into_iter().filter(|e| threats.kev.get(&e.cve).is_none()).collect();
                threats.kev.entries.extend(more);
                threats.kev.entries.sort_by(|a, b| a.cve.cmp(&b.cve));
            }
            Part::Epss(new) => {
                let more: Vec<_> = new.entries.into_iter().filter(|e| threats.epss.get(&e.cve).is_none()).collect();
                threats.epss.entries.extend(more);
                threats.epss.entries.sort_by(|a, b| a.cve.cmp(&b.cve));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compiled_is_what_was_read() {
        let limits = Limits::default();
        let mut batch = Batch::new(&limits);
        let mut epss = Part::empty(Format::Epss);
        let text =
            "#model_version:v1,score_date:2026-11-01T00:00:00+0000\ncve,epss,percentile\nCVE-2024-2,0.5,0.9\nCVE-2024-1,0.0004,0.1\n";
        epss.read("a.csv", text.as_bytes(), &limits, &mut batch);
        epss.read("b.csv", b"cve,epss,percentile\nCVE-2024-1,0.2,0.5\n", &limits, &mut batch);
        let mut kev = Part::empty(Format::Kev);
        let text = r#"{"vulnerabilities":[{"cveID":"CVE-2024-1","dateAdded":"2024-01-01","dueDate":"2024-02-01","knownRansomwareCampaignUse":"Known"}]}"#;
        kev.read("k.json", text.as_bytes(), &limits, &mut batch);
        assert!(batch.problems.is_empty(), "{:?}", batch.problems);
        let mut threats = Threats::default();
        for part in [epss, kev] {
            let bytes = part.to_bytes().expect("bytes");
            assert_eq!(Part::of(&bytes).expect("read"), part);
            assert!(Part::of(&bytes[..bytes.len() - 1]).is_err() && Part::of(b"MUSTERTHREATS0\n").is_err());
            assert_ne!(part.len(), 0);
            part.add_to(&mut threats);
        }
        assert_eq!(threats.epss.get("CVE-2024-1").map(|e| e.probability), Some(200_000));
        assert_eq!(threats.epss.get("CVE-2024-2").map(|e| e.probability), Some(500_000));
        assert!(threats.kev.get("CVE-2024-1").is_some_and(|e| e.ransomware && e.due.is_some()));
    }
}
