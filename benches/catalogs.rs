//! Two catalogs that say the same of the benchmark's host: one of 30,000 advisories, one of 300,000.
//!
//! The advisories are those of AlmaLinux and Debian where `MUSTER_DATA` names a folder with `feeds/`, else made for this host's packages; multiplied with renamed
//! packages until there are enough. So the larger one only holds more.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use muster::feed::model::{Advisory, Affected, Fix, FixState, Package, PackageKind, Platform, Source, Target, Versions};
use muster::feed::{Batch, debian, osv};
use muster::limits::Limits;
use muster::patch::catalog::{Catalog, Part, Segment, Threats, compile, write_file};
use muster::patch::define::{Definition, define};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, TableData};
use muster::version::Scheme;

pub(crate) const FEW: usize = 30_000;
pub(crate) const MANY: usize = 300_000;

pub(crate) struct Catalogs {
    /// The packages of the host.
    pub(crate) rows: Vec<Row>,
    pub(crate) real: Vec<Advisory>,
    pub(crate) few: Vec<Arc<Definition>>,
    pub(crate) few_segment: Arc<Segment>,
    pub(crate) small: Arc<Catalog>,
    pub(crate) large: Arc<Catalog>,
    /// The file of the larger one.
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Catalogs {
    pub(crate) fn new(scan: &Scan) -> Catalogs {
        let rows = packages(scan);
        let real = advisories(&rows);
        println!("  {} advisories, multiplied to {FEW} and {MANY}; {} packages", real.len(), rows.len());
        let folder = tempfile::tempdir().unwrap();
        let few = definitions(&real, FEW);
        let built = Instant::now();
        let bytes = compile(&definitions(&real, MANY), &[]).bytes;
        println!("  {MANY}: defined and compiled in {:.1} s, {} MB", built.elapsed().as_secs_f64(), bytes.len() >> 20);
        let path = write_file(folder.path(), &bytes).unwrap();
        let few_segment = Arc::new(Segment::from_bytes("few", compile(&few, &[]).bytes).unwrap());
        let large = Arc::new(catalog(vec![Arc::new(Segment::open(&path).unwrap())]));
        let small = Arc::new(catalog(vec![few_segment.clone()]));
        let said = |c: &Catalog| rows.iter().map(|r| c.ask(r).len()).sum::<usize>();
        println!("  the host's packages lack {} of them", said(&large));
        assert_eq!(said(&large), said(&small), "the larger catalog says more");
        Catalogs { rows, real, few, few_segment, small, large, path, _folder: folder }
    }
}

fn packages(scan: &Scan) -> Vec<Row> {
    let package = TableId::by_name("package").unwrap();
    match scan.tables.get(&package) {
        Some(TableData::Rows(rows)) => rows.clone(),
        _ => Vec::new(),
    }
}

pub(crate) fn catalog(segments: Vec<Arc<Segment>>) -> Catalog {
    Catalog::new(vec![Part::new("bench", segments).unwrap()], Arc::new(Threats::default()))
}

/// Real ones, or one for every third package of the host.
fn advisories(rows: &[Row]) -> Vec<Advisory> {
    let limits = Limits::default();
    let mut batch = Batch::new(&limits);
    if let Some(data) = std::env::var_os("MUSTER_DATA") {
        let read = |name: &str| std::fs::read(Path::new(&data).join("feeds").join(name)).unwrap();
        osv::read("alma", &read("alma-osv.tar.gz"), &limits, &mut batch);
        debian::read_list("debian", &read("debian-dsa-dla.tar.gz"), &limits, &mut batch);
    } else {
        println!("  without MUSTER_DATA: advisories are made for this host's packages");
    }
    // Some that this host lacks, whatever was read.
    for (number, row) in rows.iter().enumerate().step_by(3) {
        let text = |column: &str| row.get(column).as_str().unwrap_or("").to_owned();
        let (release, version) = (text("release"), text("version"));
        let (id, number_of_release) = release.split_once(':').unwrap_or((&release, ""));
        let target = Target::Package(Package {
            ecosystem: "bench".into(),
            platform: Some(Platform::new(id, number_of_release, "")),
            kind: PackageKind::Binary,
            name: text("name").into(),
            arches: Vec::new(),
            module: None,
        });
        let scheme = if text("format") == "rpm" { Scheme::Rpm } else { Scheme::Dpkg };
        for (step, end) in ["~old", "+fix1", "+fix2"].iter().enumerate() {
            let fixed = format!("{version}{end}");
            let mut advisory = Advisory::new(Source::Osv, "bench", &format!("BENCH-{number}-{step}"));
            let mut entry = Affected::new(target.clone(), Versions::before(scheme, &fixed), FixState::Fixed);
            entry.fixes.push(Fix { version: fixed.into(), ..Fix::default() });
            advisory.affected.push(entry);
            batch.advisories.push(advisory);
        }
    }
    batch.advisories
}

pub(crate) fn multiplied(real: &[Advisory], count: usize) -> Vec<Advisory> {
    let renamed = |(number, advisory): (usize, &Advisory)| {
        let round = number / real.len();
        let mut advisory = advisory.clone();
        if round > 0 {
            advisory.id = format!("{}-r{round}", advisory.id).into();
            for entry in &mut advisory.affected {
                if let Target::Package(package) = &mut entry.target {
                    package.name = format!("{}-r{round}", package.name).into();
                }
            }
        }
        advisory
    };
    let least = count.max(real.len());
    real.iter().cycle().take(least).enumerate().map(renamed).collect()
}

pub(crate) fn definitions(real: &[Advisory], count: usize) -> Vec<Arc<Definition>> {
    define(multiplied(real, count), &Limits::default()).unwrap().definitions
}
