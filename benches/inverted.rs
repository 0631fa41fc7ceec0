//! Questions over a million endpoints, against a scan of all endpoints' columns: image and deviations, one after the other.
//!
//! The fleet is made straight into memory: 24 systems at 25 patch levels, about 2,000 packages and 750 other rows each, about ten deviations an endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::fleet::rows::{RowId, Said};
use muster::fleet::shared::{Labels, Shared};
use muster::fleet::{Endpoint, EndpointId, Fleet, Held, Tables};
use muster::judge::Verdict;
use muster::judge::inverted::{Answer, Asked, Progress, answer};
use muster::limits::Limits;
use muster::pack::{Pack, RuleId, compile};
use muster::rule::check::check;
use muster::rule::ir::Ir;
use muster::rule::{Collect, RulePack};
use muster::scan::Row;
use muster::scan::digest::Digest;
use muster::scan::native::NewRow;
use muster::scan::table::TableId;
use rayon::prelude::*;

use crate::corpus::rule;
use crate::report::Report;

const ENDPOINTS: u32 = 1_000_000;
const SYSTEMS: u32 = 24;
const LEVELS: u32 = 25;
const NAMES: u32 = 30_000;
const PACKAGES: u32 = 2_000;
const OTHERS: u32 = 750;
const VERSIONS: u32 = 8;

/// Deterministic and cheap; good enough for choosing rows.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap()
    }

    fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }
}

/// The fleet, and the same as plain columns.
struct Made {
    fleet: Fleet,
    images: Vec<u32>,
    /// Where each endpoint's deviations end.
    ends: Vec<usize>,
    /// Rows; the top bit says that it is lacking.
    deviations: Vec<u32>,
}

const LACKS: u32 = 1 << 31;

fn place(n: u32) -> usize {
    n as usize
}

fn version(name: u32, level: u32) -> u32 {
    // A package changes at a few of the levels.
    (level * (1 + name % 5) / LEVELS + name % 3).min(VERSIONS - 1)
}

impl Made {
    fn new(endpoints: u32) -> Made {
        let (mut fleet, limits, mut random) = (Fleet::default(), Limits::default(), Random(7));
        let (package, sysctl) = (TableId::by_name("package").unwrap(), TableId::by_name("sysctl").unwrap());
        let intern = |fleet: &mut Fleet, row: Row| {
            let canonical = row.canonical();
            fleet.intern(&NewRow { row, raw: canonical.clone().into() }, &canonical, Said::default(), &limits).0
        };
        let mut packages = Vec::new();
        for name in 0..NAMES {
            for v in 0..VERSIONS {
                let row = Row::new(package)
                    .with("name", format!("package-{name}"))
                    .with("version", format!("1.{v}-{}", name % 9))
                    .with("format", "deb");
                packages.push(intern(&mut fleet, row));
            }
        }
        let others: Vec<RowId> = (0..OTHERS * 8)
            .map(|i| intern(&mut fleet, Row::new(sysctl).with("key", format!("key.{}", i / 8)).with("value", format!("{}", i % 8))))
            .collect();
        let (mut names, mut images): (Vec<Vec<u32>>, Vec<_>) = (Vec::new(), Vec::new());
        for system in 0..SYSTEMS {
            // Half of the names are everywhere.
            let mut own: Vec<u32> =
                (0..PACKAGES / 2).chain((0..PACKAGES / 2).map(|_| PACKAGES / 2 + random.below(NAMES - PACKAGES / 2))).collect();
            own.sort_unstable();
            own.dedup();
            for level in 0..LEVELS {
                let row = |name: &u32| packages[place(name * VERSIONS + version(*name, level))];
                let order = own.iter().map(row).chain((0..OTHERS).map(|key| others[place(key * 8 + (key + system) % 4)])).collect();
                images.push((system * LEVELS + level, order));
            }
            names.push(own);
        }
        fleet.restore_images(images);
        let tables = Tables { collected: vec![package.min(sysctl), package.max(sysctl)], failed: BTreeMap::new() };
        let (tables, labels) = (fleet.sharing.tables(&tables).0, fleet.sharing.labels(&Labels::new()).0);
        let mut made = Made { fleet, images: Vec::new(), ends: Vec::new(), deviations: Vec::new() };
        let mut all = Vec::new();
        for number in 0..endpoints {
            let (system, level) = (random.below(SYSTEMS).min(random.below(SYSTEMS)), random.below(LEVELS).max(random.below(LEVELS)));
            let (mut plus, mut minus) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                let own = &names[place(system)];
                let name = own[place(random.below(u32::try_from(own.len()).unwrap()))];
                let have = version(name, level);
                minus.push(packages[place(name * VERSIONS + have)]);
                plus.push(packages[place(name * VERSIONS + (have + 1 + random.below(VERSIONS - 1)) % VERSIONS)]);
            }
            minus.sort_unstable();
            minus.dedup();
            plus.sort_unstable();
            plus.dedup();
            let held = made.add(system * LEVELS + level, plus, minus, &tables);
            let id = format!("endpoint-{number:07}").into_boxed_str();
            let labels = labels.clone();
            let endpoint = Endpoint { hostname: id.clone(), id, labels, key_hash: [0; 32], enrolled_ms: 0, held: Some(held) };
            all.push(Some(endpoint));
        }
        made.fleet.restore_endpoints(all, (0..endpoints).map(EndpointId).collect());
        made
    }

    fn add(&mut self, image: u32, plus: Vec<RowId>, minus: Vec<RowId>, tables: &Shared<Tables>) -> Held {
        self.images.push(image);
        self.deviations.extend(plus.iter().copied().chain(minus.iter().map(|row| row | LACKS)));
        self.ends.push(self.deviations.len());
        let (plus, minus, tables) = (plus.into(), minus.into(), tables.clone());
        Held { image, plus, minus, tables, digest: Digest::default(), sequence: 1, received_ms: 0, class: 0 }
    }

    /// How many endpoints have one of these rows: all columns are read.
    fn scan(&self, rows: &[RowId]) -> u64 {
        let mut wanted = vec![false; self.fleet.rows.len()];
        rows.iter().for_each(|row| wanted[place(*row)] = true);
        let has: BTreeMap<u32, i32> = self
            .fleet
            .images
            .iter()
            .map(|(id, image)| (id, i32::try_from(image.rows.iter().filter(|row| wanted[place(**row)]).count()).unwrap()))
            .collect();
        let has: Vec<i32> = has.into_values().collect();
        let (mut from, mut count) = (0, 0);
        for (image, end) in self.images.iter().zip(&self.ends) {
            let mut rows = has[place(*image)];
            for row in &self.deviations[from..*end] {
                if wanted[place(row & !LACKS)] {
                    rows += if row & LACKS == 0 { 1 } else { -1 };
                }
            }
            from = *end;
            count += u64::from(rows > 0);
        }
        count
    }
}

fn rules(checks: Vec<Ir>) -> Arc<Pack> {
    let pack = RulePack {
        id: "bench".into(),
        title: String::new(),
        version: "1".into(),
        description: String::new(),
        benchmarks: BTreeMap::new(),
        rules: checks.into_iter().enumerate().map(|(number, check)| rule(&format!("rule-{number}"), check)).collect(),
    };
    Arc::new(Pack::from_bytes(compile(&[pack], &[])).unwrap())
}

fn advisory(name: u32) -> String {
    format!("package.exists(p, p.name == \"package-{name}\" && p.version.dpkg() < dpkg(\"1.3\"))")
}

fn expression(text: &str) -> Ir {
    check(text, &Collect::new()).unwrap_or_else(|p| panic!("{p:?}"))
}

/// Everything that an answer takes but compiling the question: its rows are found and asked, images and deviations followed.
fn asked(pack: &Arc<Pack>, fleet: &Fleet, limits: &Limits) -> Asked {
    let rules: Vec<RuleId> = pack.rules().collect();
    let mut asked = Asked::new(pack.clone(), &rules);
    while let Progress::Behind(slice) = asked.advance(fleet, limits) {
        asked.take(slice.ask(pack, limits));
    }
    asked
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed()
}

pub(crate) fn run(_: &crate::corpus::Corpus, report: &mut Report) {
    let start = Instant::now();
    let made = Made::new(ENDPOINTS);
    let (fleet, limits) = (&made.fleet, Limits::default());
    println!(
        "  {ENDPOINTS} endpoints, {} images, {} distinct rows, {} deviations made in {:.1} s; index {} MB",
        fleet.images.len(),
        fleet.rows.len(),
        made.deviations.len(),
        start.elapsed().as_secs_f64(),
        fleet.index().bytes() >> 20
    );
    let below = |name: u32| (0..3).map(|v| row_of(fleet, name, v)).collect::<Vec<RowId>>();
    let first = |pack: &Arc<Pack>| answer(&asked(pack, fleet, &limits), RuleId(0), fleet, None);
    let passes = |answer: &Answer| answer.counts[Verdict::Pass as usize];

    let one = rules(vec![expression(&advisory(17))]);
    println!("  the first question of a column: {:.1} ms", timed(|| first(&one)).as_secs_f64() * 1e3);
    println!("  compiling one: {:.3} ms", timed(|| rules(vec![expression(&advisory(18))])).as_secs_f64() * 1e3);
    assert_eq!(passes(&first(&one)), made.scan(&below(17)));
    report.pair(
        "advisory",
        "a new advisory over 1,000,000 endpoints, exact counts",
        || timed(|| first(&one)),
        || timed(|| made.scan(&below(17))),
    );

    let ten: Vec<String> = (0..10).map(|i| advisory(i * 31)).collect();
    let ten = rules(vec![expression(&ten.join(" && "))]);
    let scans = || (0..10).map(|i| made.scan(&below(i * 31))).sum::<u64>();
    report.pair("ten", "ten conditions ANDed", || timed(|| first(&ten)), || timed(scans));

    let members = |answer: &Answer| answer.members(fleet.index(), |v| v == Verdict::Pass, None);
    let answered = first(&one);
    println!("  its {} members as a bitmap: {:.1} ms", members(&answered).len(), timed(|| members(&answered)).as_secs_f64() * 1e3);

    let checks = (0..300).map(|i| match i % 3 {
        0 => expression(&advisory(i * 7)),
        1 => expression(&format!("sysctl[\"key.{i}\"] in [\"{}\", \"{}\"]", i % 4, (i + 1) % 4)),
        _ => expression(&format!("package.all(p, p.name != \"package-{i}\" || p.version.dpkg() >= dpkg(\"1.2\"))")),
    });
    let baseline = rules(checks.collect());
    let all = || {
        let asked = asked(&baseline, fleet, &limits);
        let rules: Vec<RuleId> = baseline.rules().collect();
        rules.into_par_iter().map(|rule| answer(&asked, rule, fleet, None).counts).collect::<Vec<_>>()
    };
    // A tenth of it, for a scan for each rule takes seconds.
    let anchor = || (0..30).map(|i| made.scan(&below(i * 7))).sum::<u64>();
    report.pair("baseline", "a new baseline of 300 rules, exact counts", || timed(all), || timed(anchor) * 10);
    crate::swap::run(made.fleet, &baseline);
}

fn row_of(fleet: &Fleet, name: u32, v: u32) -> RowId {
    let package = TableId::by_name("package").unwrap();
    let row =
        Row::new(package).with("name", format!("package-{name}")).with("version", format!("1.{v}-{}", name % 9)).with("format", "deb");
    fleet.rows.find(package, &row.canonical()).unwrap()
}
