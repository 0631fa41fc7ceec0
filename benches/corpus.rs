//! A real scan: this host, with the packages of a larger one made from its own, and variants of it as a fleet has them.

use std::sync::Arc;

use muster::collect::{Root, collect};
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::scan::table::TableId;
use muster::scan::{Row, Scan, TableData, native};

pub(crate) struct Corpus {
    pub(crate) pack: Arc<Pack>,
    pub(crate) scan: Scan,
    pub(crate) document: Vec<u8>,
}

impl Corpus {
    pub(crate) fn collect() -> Corpus {
        let limits = Limits::default();
        let packs: Vec<_> = ["rules/linux-server", "rules/windows-server"]
            .iter()
            .map(|folder| muster::rule::read_folder(std::path::Path::new(folder), &limits))
            .map(|(pack, problems)| pack.unwrap_or_else(|| panic!("{problems:?}")))
            .collect();
        let pack = Arc::new(Pack::from_bytes(compile(&packs, &[])).unwrap());
        let mut scan = collect(&Root::new("/"), &pack.asks(), &limits);
        scan.endpoint = "bench".to_owned();
        grow(&mut scan, 2286);
        let document = native::encode(&scan, None, |_| true);
        println!(
            "corpus: {} rows, {} bytes; pack: {} rules, {} terms",
            scan.tables.values().map(|d| if let TableData::Rows(r) = d { r.len() } else { 0 }).sum::<usize>(),
            document.len(),
            pack.rule_count(),
            pack.term_count()
        );
        Corpus { pack, scan, document }
    }

    /// The scan with some values changed, as a host drifts: about ten rows for a number above 0.
    pub(crate) fn drifted(&self, number: u32) -> Scan {
        let mut scan = self.scan.clone();
        let package = TableId::by_name("package").unwrap();
        if let Some(TableData::Rows(rows)) = scan.tables.get_mut(&package) {
            let count = u32::try_from(rows.len()).unwrap();
            for i in 0..10 {
                let at = (number.wrapping_mul(7919) + i * 211) % count;
                let row = &rows[usize::try_from(at).unwrap()];
                let version = format!("{}+drift{number}", row.get("version").as_str().unwrap_or("1"));
                rows[usize::try_from(at).unwrap()] = row.clone().with("version", version);
            }
        }
        scan
    }

    pub(crate) fn drifted_document(&self, number: u32) -> Vec<u8> {
        native::encode(&self.drifted(number), None, |_| true)
    }
}

/// Packages of a desktop or a build host: this host's own names with a suffix.
fn grow(scan: &mut Scan, packages: usize) {
    let package = TableId::by_name("package").unwrap();
    let Some(TableData::Rows(rows)) = scan.tables.get_mut(&package) else { return };
    let real: Vec<Row> = rows.clone();
    let mut round = 0;
    while rows.len() < packages && !real.is_empty() {
        round += 1;
        let more = real.iter().map(|r| r.clone().with("name", format!("{}-x{round}", r.get("name").as_str().unwrap_or("p"))));
        rows.extend(more.take(packages - rows.len()));
    }
    scan.normalise();
}
