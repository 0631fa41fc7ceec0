//! Trivy over the same lists: its database is made of the same feeds (`trivy_db.py`), and it orders versions itself.
//!
//! `MUSTER_TRIVY` names the program where it is not `trivy`.

use std::path::Path;
use std::process::Command;

use muster::feed::model::{Advisory, FixState, Target};
use muster::feed::{debian, osv};
use muster::scan::Row;

use super::lists::made;
use super::{Dice, Found, Installed, asked, bytes, catalog, data, differences, peers, read, script};

fn program() -> String {
    std::env::var_os("MUSTER_TRIVY").map_or("trivy".into(), |p| p.into_string().unwrap())
}

fn trivy(kind: &str, cache: &Path, target: &Path) -> Found {
    let mut run = Command::new(program());
    run.args([
        kind,
        "--skip-db-update",
        "--skip-java-db-update",
        "--offline-scan",
        "--scanners",
        "vuln",
        "--pkg-types",
        "os",
        "--format",
        "json",
        "--quiet",
    ]);
    let output = run.arg("--cache-dir").arg(cache).arg(target).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &serde_json::Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value, name: &str| value[name].as_str().unwrap().to_owned();
    let found = list(&report, "Results").iter().flat_map(|r| list(r, "Vulnerabilities")).collect::<Vec<_>>();
    found.iter().map(|v| (text(v, "VulnerabilityID"), text(v, "PkgName"))).collect()
}

/// What Trivy's database can hold: fixes, of a named module or of none.
fn fixes(mut advisories: Vec<Advisory>) -> Vec<Advisory> {
    for advisory in &mut advisories {
        advisory.affected.retain(|e| {
            let Target::Package(package) = &e.target else { panic!("{e:?}") };
            e.state == FixState::Fixed && package.module.as_ref().is_none_or(|m| !m.name.is_empty())
        });
    }
    advisories
}

fn write(folder: &Path, list: &[Installed]) -> String {
    let file = folder.join("list");
    std::fs::write(&file, list.iter().map(|p| p.line() + "\n").collect::<String>()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn debian_by_its_files() {
    let Some(data) = data() else { return };
    if !peers(&["python3", &program()]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let feed = data.join("feeds/debian-dsa-dla.tar.gz");
    script("trivy_db.py", &["debian", feed.to_str().unwrap(), &path("cache")]);
    let advisories = fixes(read(debian::read_list, "debian", &bytes(&data, "feeds/debian-dsa-dla.tar.gz")).advisories);
    let all = made(&mut Dice(4), &advisories, 4000);
    for (release, codename) in [("debian:11", "bullseye"), ("debian:9", "stretch"), ("debian:7", "wheezy")] {
        // dpkg has one version of a package of one architecture.
        let mut list: Vec<Installed> = all.iter().filter(|p| p.release == release).cloned().collect();
        list.dedup_by(|a, b| a.name == b.name);
        let root = path(codename);
        script("trivy_db.py", &["rootfs", &write(folder.path(), &list), &root, codename]);
        let theirs = trivy("rootfs", &folder.path().join("cache"), Path::new(&root));
        assert!(theirs.len() > 100, "{} of {}", theirs.len(), list.len());
        let rows: Vec<Row> = list.iter().map(|p| p.row("deb")).collect();
        assert_eq!(differences(&asked(&catalog(&advisories), &rows), &theirs), [""; 0], "{codename}");
    }
}

#[test]
fn almalinux_by_a_bill_of_materials() {
    let Some(data) = data() else { return };
    if !peers(&["python3", &program()]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let feed = data.join("feeds/alma-osv.tar.gz");
    script("trivy_db.py", &["alma", feed.to_str().unwrap(), &path("cache")]);
    let advisories = fixes(read(osv::read, "alma", &bytes(&data, "feeds/alma-osv.tar.gz")).advisories);
    let all = made(&mut Dice(5), &advisories, 3000);
    for release in ["almalinux:8", "almalinux:9", "almalinux:10"] {
        // Trivy passes over packages of a module that is not told.
        let told = |p: &&Installed| p.release == release && (!p.module.is_empty() || !p.version.contains(".module"));
        let list: Vec<Installed> = all.iter().filter(told).cloned().collect();
        let document = path("bom.json");
        script("trivy_db.py", &["sbom", &write(folder.path(), &list), &document]);
        let theirs = trivy("sbom", &folder.path().join("cache"), Path::new(&document));
        assert!(theirs.len() > list.len() && list.len() > 20, "{} of {}", theirs.len(), list.len());
        let rows: Vec<Row> = list.iter().map(|p| p.row("rpm")).collect();
        assert_eq!(differences(&asked(&catalog(&advisories), &rows), &theirs), [""; 0], "{release}");
    }
}
