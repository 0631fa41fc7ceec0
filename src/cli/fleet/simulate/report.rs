//! What came of a load: counts, and latencies from the moment that each send was due.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::cli::output::{self, Format};

/// Buckets to an octave: what is read off is at most a thirty-second too high.
const FINE: u32 = 5;

/// How often which time was seen, in buckets that grow with it. Small whatever is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    counts: BTreeMap<u64, u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    pub(super) fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        *self.counts.entry(upper(micros)).or_default() += 1;
        self.count += 1;
        self.max = self.max.max(micros);
    }

    /// The time within which so many of a thousand were, in milliseconds.
    fn quantile(&self, of_thousand: u64) -> f64 {
        let wanted = (self.count * of_thousand).div_ceil(1000).max(1);
        let mut seen = 0;
        let found = self.counts.iter().find(|(_, n)| {
            seen += *n;
            seen >= wanted
        });
        millis(found.map_or(0, |(upper, _)| (*upper).min(self.max)))
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            count: self.count,
            p50_ms: self.quantile(500),
            p90_ms: self.quantile(900),
            p99_ms: self.quantile(990),
            p999_ms: self.quantile(999),
            max_ms: millis(self.max),
        }
    }
}

/// The upper end of the bucket of a number.
fn upper(micros: u64) -> u64 {
    let bits = (u64::BITS - micros.leading_zeros()).saturating_sub(FINE + 1);
    ((micros >> bits) + 1).checked_mul(1 << bits).map_or(u64::MAX, |end| end - 1)
}

fn millis(micros: u64) -> f64 {
    // Exact below an hour, and of no interest above.
    f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
}

/// Everything that is counted while a load runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) bytes: u64,
    /// Accepted: by what the server made of it.
    pub(super) accepted: BTreeMap<&'static str, u64>,
    /// Sends that nothing came of, by the last reason.
    pub(super) lost: BTreeMap<String, u64>,
    /// Attempts that failed, by kind; what was tried again and accepted is in here too.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) retries: u64,
    /// Changes of tables that did not fit what the server had, sent again as a whole.
    pub(super) resent_whole: u64,
    /// From when a send was due to its answer, and from its last attempt to its answer.
    pub(super) latency: Histogram,
    pub(super) service: Histogram,
    /// The same for those that an outage had kept.
    pub(super) herd: Histogram,
    /// How much later than due sends were handed over, because this program was busy.
    pub(super) late: Histogram,
}

impl Tally {
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.values().sum()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.values().sum()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) endpoints: u32,
    pub(super) seconds: f64,
    pub(super) asked_rate: f64,
    /// Sends that were due, sends that were accepted, and changed ones of these, a second.
    pub(super) sent_rate: f64,
    pub(super) accepted_rate: f64,
    pub(super) sent: u64,
    pub(super) bytes: u64,
    pub(super) accepted: BTreeMap<&'static str, u64>,
    pub(super) lost: BTreeMap<String, u64>,
    /// Sends that had no answer when it ended.
    pub(super) unanswered: u64,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) retries: u64,
    pub(super) resent_whole: u64,
    pub(super) latency: Summary,
    pub(super) service: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) herd: Option<Summary>,
    pub(super) late: Summary,
    pub(super) interrupted: bool,
}

impl Report {
    pub(super) fn new(tally: Tally, endpoints: u32, asked_rate: f64, took: Duration, interrupted: bool) -> Report {
        let seconds = took.as_secs_f64().max(0.001);
        let rate = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / seconds;
        Report {
            endpoints,
            seconds,
            asked_rate,
            sent_rate: rate(tally.sent),
            accepted_rate: rate(tally.accepted()),
            sent: tally.sent,
            bytes: tally.bytes,
            unanswered: tally.sent.saturating_sub(tally.accepted() + tally.lost()),
            latency: tally.latency.summary(),
            service: tally.service.summary(),
            herd: Some(tally.herd.summary()).filter(|h| h.count > 0),
            late: tally.late.summary(),
            accepted: tally.accepted,
            lost: tally.lost,
            errors: tally.errors,
            retries: tally.retries,
            resent_whole: tally.resent_whole,
            interrupted,
        }
    }

    pub(super) fn print(&self, format: Format) -> anyhow::Result<()> {
        let mut out = output::stdout();
        if format == Format::Json {
            return out.json(self);
        }
        let counts = |of: Vec<(&str, u64)>| of.iter().map(|(k, n)| format!("{n} {k}")).collect::<Vec<_>>().join(", ");
        let named = |of: &BTreeMap<String, u64>| {
            if of.is_empty() { "none".to_owned() } else { counts(of.iter().map(|(k, n)| (k.as_str(), *n)).collect()) }
        };
        let mut table = output::table(&["", ""]);
        table.add_row(["machines".to_owned(), self.endpoints.to_string()]);
        table.add_row(["time".to_owned(), format!("{:.1} s{}", self.seconds, if self.interrupted { ", interrupted" } else { "" })]);
        table.add_row([
            "rate".to_owned(),
            format!("{:.1}/s asked, {:.1}/s sent, {:.1}/s accepted", self.asked_rate, self.sent_rate, self.accepted_rate),
        ]);
        table.add_row(["sent".to_owned(), format!("{}, {}", self.sent, super::super::human(self.bytes))]);
        table.add_row(["accepted".to_owned(), counts(self.accepted.iter().map(|(k, n)| (*k, *n)).collect())]);
        table.add_row(["lost".to_owned(), named(&self.lost)]);
        table.add_row(["unanswered".to_owned(), self.unanswered.to_string()]);
        table.add_row(["failed attempts".to_owned(), named(&self.errors)]);
        table.add_row(["tried again".to_owned(), format!("{}, and {} sent again as a whole", self.retries, self.resent_whole)]);
        out.table(&table)?;
        let mut table = output::table(&["milliseconds", "p50", "p90", "p99", "p99.9", "max"]);
        let lines = [
            ("from due to accepted", Some(&self.latency)),
            ("after the outage", self.herd.as_ref()),
            ("last attempt alone", Some(&self.service)),
            ("sent later than due", Some(&self.late)),
        ];
        for (name, summary) in lines.into_iter().filter_map(|(n, s)| Some((n, s?))) {
            let times = [summary.p50_ms, summary.p90_ms, summary.p99_ms, summary.p999_ms, summary.max_ms];
            table.add_row(std::iter::once(name.to_owned()).chain(times.map(|ms| format!("{ms:.2}"))));
        }
        writeln!(out)?;
        out.table(&table)?;
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_and_never_below() {
        let mut seen = Histogram::default();
        (1..=10_000u64).for_each(|n| seen.record(Duration::from_micros(n)));
        let summary = seen.summary();
        for (got, wanted) in
            [(summary.p50_ms, 5.0), (summary.p90_ms, 9.0), (summary.p99_ms, 9.9), (summary.p999_ms, 9.99), (summary.max_ms, 10.0)]
        {
            assert!(got >= wanted && got <= wanted * 1.033, "{got} for {wanted}");
        }
        assert_eq!(Histogram::default().summary(), Summary::default());
        for n in [0, 1, 31, 32, 33, 63, 64, 1000, u64::MAX] {
            assert!(upper(n) >= n, "{n}");
        }
    }
}
