//! A patch scanner for one host beside us: Trivy's whole command, by `benches/peers.py`.

use std::path::Path;
use std::process::Command;

use crate::corpus::Corpus;
use crate::each;
use crate::report::{Report, Unit};

pub(crate) fn run(corpus: &Corpus, report: &mut Report) {
    if std::env::var_os("MUSTER_DATA").is_none() {
        return report.skip(&["trivy"], "MUSTER_DATA names no folder with feeds");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers.py");
    let Ok(out) = Command::new("python3").arg(script).args(["5", "trivy"]).output() else {
        return report.skip(&["trivy"], "python3 is not installed");
    };
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let trivy = text.lines().find(|l| l.starts_with("trivy")).and_then(|l| l.rsplit('\t').next()?.parse::<f64>().ok());
    let Some(trivy) = trivy else {
        return report.skip(&["trivy"], "trivy is not installed; MUSTER_TRIVY names it");
    };
    let all = corpus.catalogs();
    let ours = each(5, |_| all.rows.iter().map(|r| all.large.ask(r).len()).sum::<usize>());
    report.line(
        "trivy",
        "2,286 packages that nobody has shown before; trivy rootfs for 707",
        Unit::Seconds,
        ours.as_secs_f64(),
        trivy / 1000.0,
    );
}
