//! What was measured, as values, and the one table of it: every goal with what was reached, what it is compared with, and whether that is enough.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::median;

/// Rounds of a pair.
const ROUNDS: usize = 15;

/// What is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// Ours by the anchor's is at most this.
    Ratio(f64),
    /// Rates: ours by the anchor's is at least this.
    Rate(f64),
    /// Ours is at most this by itself, in the unit of the line.
    Within(f64),
    /// Told, not judged.
    Told,
}

/// A row of the table: what must be reached.
pub(crate) struct Row {
    pub(crate) key: &'static str,
    pub(crate) work: &'static str,
    pub(crate) against: &'static str,
    pub(crate) goal: Goal,
    pub(crate) says: &'static str,
}

const fn row(key: &'static str, work: &'static str, against: &'static str, goal: Goal, says: &'static str) -> Row {
    Row { key, work, against, goal, says }
}

/// A hundredth and a thousandth are written so, for that is how one speaks of them.
pub(crate) const ROWS: &[Row] = &[
    row(
        "changed",
        "one changed scan, 1,000 checks and 300,000 advisories, image known",
        "serde_json, borrowed, same bytes",
        Goal::Ratio(0.25),
        "<= 0.25x",
    ),
    row("fresh-image", "the same from an image never seen", "the same", Goal::Ratio(1.5), "<= 1.5x"),
    row("zstd", "inflate, parse, judge, diff, encode, changed", "bare zstd decompression", Goal::Ratio(1.5), "<= 1.5x"),
    row(
        "patch-loop",
        "matching a changed scan with 300,000 advisories",
        "hash by name, compare every range",
        Goal::Ratio(0.001),
        "<= 1/1,000",
    ),
    row("rules-x10", "300,000 advisories, an upload", "30,000", Goal::Ratio(1.1), "<= 1.1x"),
    row("endpoints-x10", "20,000 endpoints, an upload", "2,000", Goal::Ratio(1.1), "<= 1.1x"),
    row("oval-command", "OVAL, a host never seen, content compiled", "oscap oval analyse", Goal::Ratio(1.0 / 150.0), "<= 1/150"),
    row("oval-library", "the same", "libopenscap's parse and evaluate", Goal::Ratio(0.1), "<= 1/10"),
    row("http-zstd", "daemon, durable: changed scans, zstd", "hyper, reads and inflates", Goal::Rate(0.7), ">= 0.7x"),
    row("http-raw", "daemon, durable: changed scans, raw JSON", "hyper, reads", Goal::Rate(0.6), ">= 0.6x"),
    row("http-delta", "daemon, durable: one changed table", "hyper, reads", Goal::Rate(0.5), ">= 0.5x"),
    row("http-check-in", "daemon: check-in, a digest without tables", "hyper, reads", Goal::Rate(0.5), ">= 0.5x"),
    row("http-same", "daemon: the same bytes again", "hyper, reads", Goal::Rate(0.5), ">= 0.5x"),
    row("commit", "group commit, 16 to 256 in a batch", "append and fdatasync", Goal::Ratio(2.0), "<= 2x the time"),
    row("commit-cpu", "its processor time a put, at 64", "append and fdatasync", Goal::Within(5e-6), "<= 5 us"),
    row("advisory", "a new advisory over 1,000,000 endpoints, counted", "a scan of all columns", Goal::Within(1e-3), "<= 1 ms"),
    row("ten", "ten conditions ANDed", "ten scans", Goal::Within(5e-3), "<= 5 ms"),
    row("baseline", "a new baseline of 300 rules, counted", "300 scans", Goal::Within(1.0), "<= 1 s"),
    row("million-memory", "1,000,000 endpoints, resident", "row to endpoints bitmaps alone", Goal::Within(1e9), "<= 1 GB"),
    row("million-memory-8x", "the same at eight times the deviation", "the same", Goal::Within(2e9), "<= 2 GB"),
    row("million-start", "the same, start to ready", "reading the store's files", Goal::Within(5.0), "<= 5 s"),
    row("million-disk", "the same, on the disk", "", Goal::Told, ""),
    row("million-load", "the same, loaded: changed scans, zstd", "hyper, reads and inflates", Goal::Rate(0.7), ">= 0.7x"),
    row("million-same", "the same, loaded: the same bytes again", "hyper, reads", Goal::Rate(0.5), ">= 0.5x"),
    row("million-swap", "the same, loaded, 300 rules taken up meanwhile: changed scans, zstd", "without", Goal::Rate(0.5), ">= 0.5x"),
    row("catalog", "300,000 advisories opened", "a tenth of them rebuilt from JSON", Goal::Ratio(0.01), "<= 1/100"),
    row(
        "cel-first",
        "first scan of a fleet, these rules",
        "interpreter of the crate `cel`, scan parsed, programs compiled",
        Goal::Told,
        "",
    ),
    row("cel-changed", "changed scan, these rules", "the same", Goal::Told, ""),
    row("rego-first", "first scan of a fleet, these rules", "`regorus`, scan parsed, policy compiled", Goal::Told, ""),
    row("rego-changed", "changed scan, these rules", "the same", Goal::Told, ""),
    row(
        "trivy",
        "a host's packages, none seen before, 300,000 advisories",
        "Trivy, 707 packages, 8,940 advisories, processor time",
        Goal::Told,
        "",
    ),
];

/// One thing that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Of which row; none for what only explains.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) ours: f64,
    pub(crate) anchor: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    Seconds,
    PerSecond,
    Bytes,
}

impl Unit {
    fn text(self, value: f64) -> String {
        match self {
            Unit::Seconds if value < 1e-5 => format!("{:.2} us", value * 1e6),
            Unit::Seconds if value < 1e-3 => format!("{:.1} us", value * 1e6),
            Unit::Seconds if value < 1.0 => format!("{:.2} ms", value * 1e3),
            Unit::Seconds => format!("{value:.2} s"),
            Unit::PerSecond => format!("{value:.0}/s"),
            Unit::Bytes => format!("{:.2} GB", value / 1e9),
        }
    }
}

impl Line {
    /// No number if there is nothing to compare with.
    fn ratio(&self) -> f64 {
        self.anchor.map_or(f64::NAN, |anchor| self.ours / anchor)
    }

    fn meets(&self, goal: Goal) -> Option<bool> {
        match goal {
            Goal::Ratio(most) => Some(self.ratio() <= most),
            Goal::Rate(least) => Some(self.ratio() >= least),
            Goal::Within(most) => Some(self.ours <= most),
            Goal::Told => None,
        }
    }

    fn anchor(&self) -> String {
        self.anchor.map_or(String::new(), |anchor| self.unit.text(anchor))
    }

    /// How one would say it.
    fn reached(&self) -> String {
        match self.ratio() {
            r if r.is_nan() => String::new(),
            r if self.unit == Unit::PerSecond || r >= 0.02 => format!("{r:.2}x"),
            r => format!("1/{:.0}", 1.0 / r),
        }
    }
}

/// All of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    skipped: Vec<(&'static str, String)>,
}

impl Report {
    pub(crate) fn head() {
        println!("{:<66} {:>12} {:>12} {:>9}  goal", "work", "this", "anchor", "ratio");
    }

    /// Times two things in turn, A B A B ..., and keeps their medians.
    pub(crate) fn pair(&mut self, key: &str, name: &str, mut this: impl FnMut() -> Duration, mut anchor: impl FnMut() -> Duration) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        this();
        anchor();
        for _ in 0..ROUNDS {
            a.push(this());
            b.push(anchor());
        }
        self.line(key, name, Unit::Seconds, median(a).as_secs_f64(), median(b).as_secs_f64());
    }

    /// Keeps what was measured, and prints it.
    pub(crate) fn line(&mut self, key: &str, name: &str, unit: Unit, ours: f64, anchor: impl Into<Option<f64>>) {
        let anchor = anchor.into();
        let line = Line { key: key.to_owned(), name: name.to_owned(), unit, ours, anchor };
        let goal = ROWS.iter().find(|r| r.key == key).map_or("", |r| r.says);
        println!("{name:<66} {:>12} {:>12} {:>9}  {goal}", unit.text(ours), line.anchor(), line.reached());
        self.lines.push(line);
    }

    /// Says why some rows have nothing.
    pub(crate) fn skip(&mut self, keys: &[&'static str], why: &str) {
        println!("skipped: {}: {why}", keys.join(", "));
        self.skipped.extend(keys.iter().map(|key| (*key, why.to_owned())));
    }

    /// The lines that another run left.
    pub(crate) fn take(&mut self, lines: Vec<Line>) {
        self.lines.extend(lines);
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The table, all rows in order or those that there is something of. A row of several lines has met its goal when all of them have.
    pub(crate) fn table(&self, whole: bool) -> String {
        let mut out = String::from("| work | against | goal | this | anchor | reached | |\n|---|---|---|---|---|---|---|\n");
        for row in ROWS {
            let lines: Vec<&Line> = self.lines.iter().filter(|l| l.key == row.key).collect();
            let why = self.skipped.iter().find(|(key, _)| *key == row.key).map_or("skipped: not run", |(_, why)| why);
            if lines.is_empty() && (!whole && why == "skipped: not run") {
                continue;
            }
            let each = |text: &dyn Fn(&Line) -> String| lines.iter().map(|l| text(l)).collect::<Vec<_>>().join("; ");
            let met = match lines.iter().map(|l| l.meets(row.goal)).collect::<Option<Vec<bool>>>() {
                _ if lines.is_empty() => why.to_owned(),
                Some(met) if met.iter().all(|m| *m) => "met".to_owned(),
                Some(_) => "**missed**".to_owned(),
                None => String::new(),
            };
            let cells = [
                row.work.to_owned(),
                row.against.to_owned(),
                row.says.to_owned(),
                each(&|l| l.unit.text(l.ours)),
                each(&|l| l.anchor()),
                each(&|l| l.reached()),
                met,
            ];
            out.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        out
    }
}

/// Where a page keeps the table.
const FROM: &str = "<!-- figures: from here -->\n";
const TO: &str = "<!-- figures: to here -->";

/// Writes the table to a file: between its marks if it has them.
pub(crate) fn write(path: &std::path::Path, table: &str) {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    let text = match (old.find(FROM), old.find(TO)) {
        (Some(from), Some(to)) => format!("{}{table}{}", &old[..from + FROM.len()], &old[to..]),
        _ => table.to_owned(),
    };
    std::fs::write(path, text).unwrap();
}
