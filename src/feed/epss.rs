//! FIRST's exploit prediction scores: the daily CSV in; for each CVE a probability and its rank, with model and day, out.

use std::io::Read;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Reading, Sink, archive, time};
use crate::limits::Limits;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scores {
    pub model: Box<str>,
    pub day: Option<Timestamp>,
    /// Sorted by CVE, each once.
    pub entries: Vec<Epss>,
}

/// In millionths, as exact as the file (five decimals) with room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epss {
    pub cve: Box<str>,
    /// Of being attacked within thirty days.
    pub probability: u32,
    /// The share of all CVEs that are not above it.
    pub percentile: u32,
}

impl Scores {
    pub fn get(&self, cve: &str) -> Option<&Epss> {
        self.entries.binary_search_by(|e| (*e.cve).cmp(cve)).ok().and_then(|at| self.entries.get(at))
    }
}

pub fn read(file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) -> Scores {
    let mut out = Scores::default();
    archive::each(file, bytes, limits, sink, &|name| name.ends_with(".csv"), &mut |reading, input| rows(reading, input, &mut out));
    out.entries.sort_by(|a, b| a.cve.cmp(&b.cve));
    out.entries.dedup_by(|a, b| a.cve == b.cve);
    out
}

/// The first line is `#model_version:v2023.03.01,score_date:...`.
fn rows(reading: &mut Reading, input: &mut dyn Read, out: &mut Scores) {
    let (input, slack) = archive::Leash::new(input);
    let mut csv = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
    let mut record = csv::StringRecord::new();
    let (mut cve, mut epss, mut percentile) = (0, 1, 2);
    loop {
        slack.renew();
        match csv.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return,
            Err(e) => return reading.refuse("csv", "", e.to_string()),
        }
        let line = format!("line {}", record.position().map_or(0, csv::Position::line));
        if record.get(0).is_some_and(|f| f.starts_with('#')) {
            for field in &record {
                match field.trim_start_matches('#').split_once(':') {
                    Some(("model_version", model)) => out.model = model.into(),
                    Some(("score_date", day)) => out.day = time::instant(day),
                    _ => {}
                }
            }
            continue;
        }
        let at = |name| record.iter().position(|f| f == name);
        if let (Some(a), Some(b)) = (at("cve"), at("epss")) {
            (cve, epss, percentile) = (a, b, at("percentile").unwrap_or(usize::MAX));
            continue;
        }
        let id = record.get(cve).unwrap_or("");
        match (record.get(epss).and_then(millionths), record.get(percentile).map_or(Some(0), millionths)) {
            (Some(probability), Some(percentile)) if id.starts_with("CVE-") => {
                if out.entries.len() >= reading.limits.feed_advisories {
                    return reading.refuse("limit", &line, format!("over {} scores (limits.feed_advisories)", out.entries.len()));
                }
                out.entries.push(Epss { cve: id.into(), probability, percentile });
            }
            _ => reading.refuse("epss", &line, "not a CVE with two numbers from 0 to 1"),
        }
    }
}

/// `0.00043` as 430; `None` out of 0 to 1.
fn millionths(text: &str) -> Option<u32> {
    let value: f64 = text.trim().parse().ok()?;
    if !(0.0..=1.0).contains(&value) {
        return None;
    }
    // Through text: a float has no checked way into an integer.
    format!("{:.0}", value * 1e6).parse().ok()
}
