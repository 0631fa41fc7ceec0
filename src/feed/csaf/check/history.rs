//! Tests of versions and revisions: 6.1.14, 6.1.16 to 6.1.22, 6.1.30; and of dates that are newer than the newest revision: 6.1.45, 6.1.49, 6.1.51 to 6.1.53.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use super::super::super::json::{list, text};
use super::super::super::time;
use super::super::document::Document;
use super::Findings;
use crate::version::Scheme;

/// A version of a document: an integer, or semantic.
#[derive(Clone, Copy)]
struct Number<'v>(&'v str);

impl<'v> Number<'v> {
    fn is_integer(self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|b| b.is_ascii_digit())
    }

    fn without_build(self) -> &'v str {
        self.0.split('+').next().unwrap_or("")
    }

    fn without_pre_release(self) -> &'v str {
        self.without_build().split('-').next().unwrap_or("")
    }

    fn has_pre_release(self) -> bool {
        self.without_build().contains('-')
    }

    fn major(self) -> Option<u64> {
        self.0.split(['.', '-', '+']).next().and_then(|m| m.parse().ok())
    }

    fn compare(self, other: Number) -> Ordering {
        match (self.0.parse::<u64>(), other.0.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => Scheme::Semver.compare(self.without_build(), other.without_build()),
        }
    }
}

pub(super) fn revisions(document: &Document, out: &mut Findings) {
    let tracking = document.tracking();
    const PLACE: &str = "/document/tracking/revision_history";
    let (status, version) = (text(tracking, "status"), Number(text(tracking, "version")));
    let mut sorted: Vec<(Option<Timestamp>, Number)> =
        list(tracking, "revision_history").iter().map(|r| (time::instant(text(r, "date")), Number(text(r, "number")))).collect();
    if sorted.iter().any(|(_, n)| n.is_integer() != version.is_integer()) {
        out.add("6.1.30", PLACE, "some versions are integers and some semantic");
    }
    sorted.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.compare(b.1)));
    let numbers: Vec<Number> = sorted.iter().map(|(_, n)| *n).collect();
    if numbers.windows(2).any(|w| matches!(w, [a, b] if a.compare(*b).is_gt())) {
        out.add("6.1.14", PLACE, "sorted by date, the numbers are not sorted");
    }
    let same = |last: &Number| {
        if status == "draft" {
            last.without_pre_release() == version.without_pre_release()
        } else {
            last.without_build() == version.without_build()
        }
    };
    if !numbers.last().is_some_and(same) {
        out.add("6.1.16", "/document/tracking/version", "is not the number of the newest revision");
    }
    let released = matches!(status, "final" | "interim");
    let zero = |n: &Number| n.major() == Some(0);
    if (zero(&version) || version.has_pre_release()) && status != "draft" {
        out.add("6.1.17", "/document/tracking/status", "a version 0 or a pre-release is a draft");
    }
    if released && numbers.iter().any(zero) {
        out.add("6.1.18", PLACE, "a released document has a revision 0");
    }
    if numbers.iter().any(|n| n.has_pre_release()) {
        out.add("6.1.19", PLACE, "a revision is a pre-release");
    }
    if released && version.has_pre_release() {
        out.add("6.1.20", "/document/tracking/version", "a released document is a pre-release");
    }
    gaps(&numbers, out);
}

fn gaps(numbers: &[Number], out: &mut Findings) {
    const PLACE: &str = "/document/tracking/revision_history";
    let majors: Vec<u64> = numbers.iter().filter_map(|n| n.major()).collect();
    let gap = majors.windows(2).any(|w| matches!(w, [a, b] if *b > a.saturating_add(1)));
    if gap || majors.first().is_some_and(|first| *first > 1) {
        out.add("6.1.21", PLACE, "a version is left out");
    }
    let mut plain: Vec<&str> = numbers.iter().map(|n| n.0).collect();
    plain.sort_unstable();
    if plain.windows(2).any(|w| matches!(w, [a, b] if a == b)) {
        out.add("6.1.22", PLACE, "a version has two revisions");
    }
}

// ---- CSAF 2.1

pub(super) fn newer_than_history(document: &Document, out: &mut Findings) {
    let tracking = document.tracking();
    let released = matches!(text(tracking, "status"), "final" | "interim");
    let newest = list(tracking, "revision_history").iter().filter_map(|r| time::instant(text(r, "date"))).max();
    let newer = |value: &Value, key: &str| released && time::instant(text(value, key)) > newest;
    let clear = document.document().pointer("/distribution/tlp/label").and_then(Value::as_str) == Some("CLEAR");
    for (place, vulnerability) in document.vulnerabilities() {
        if clear && newer(vulnerability, "disclosure_date") {
            out.add("6.1.45", format!("{place}/disclosure_date"), "is newer than the newest revision");
        }
        for (at, metric) in list(vulnerability, "metrics").iter().enumerate() {
            for (code, key) in [("6.1.49", "ssvc_v2"), ("6.1.51", "epss")] {
                if metric.get("content").and_then(|c| c.get(key)).is_some_and(|c| newer(c, "timestamp")) {
                    out.add(code, format!("{place}/metrics/{at}/content/{key}/timestamp"), "is newer than the newest revision");
                }
            }
        }
        for (at, dates) in list(vulnerability, "first_known_exploitation_dates").iter().enumerate() {
            let place = format!("{place}/first_known_exploitation_dates/{at}");
            if newer(dates, "date") || newer(dates, "exploitation_date") {
                out.add("6.1.52", place.clone(), "is newer than the newest revision");
            }
            if let (Some(known), Some(exploited)) = (time::instant(text(dates, "date")), time::instant(text(dates, "exploitation_date")))
                && exploited > known
            {
                out.add("6.1.53", place, "was exploited after it was known to be");
            }
        }
    }
}
