//! Debian's lists and CISA's catalogue, row by row as an independent extraction in Python has them; EPSS from a file of our own.

use muster::feed::model::{FixState, Target};
use muster::feed::{Batch, debian, epss, kev};
use muster::limits::Limits;

use super::{data, digest, read};

#[test]
fn all_of_dsa_and_dla() {
    let Some(bytes) = data("feeds/debian-dsa-dla.tar.gz") else { return };
    let batch = read(debian::read_list, "debian", &bytes);
    assert_eq!(batch.advisories.len(), 8_940);
    // One line of 2002 has the package's name in place of its version.
    let problems: Vec<(&str, &str)> = batch.problems.iter().map(|p| (&*p.document, &*p.place)).collect();
    assert_eq!(problems, [("debian/data/DSA/list", "line 17244")]);
    assert_eq!(batch.advisories.iter().map(|a| a.aliases.len()).sum::<usize>(), 29_130);
    let entries = batch.advisories.iter().flat_map(|a| a.affected.iter().map(move |e| (&a.id, e)));
    assert_eq!(entries.clone().filter(|(_, e)| e.state != FixState::Fixed).count(), 63);
    let rows = entries.map(|(id, entry)| {
        let Target::Package(package) = &entry.target else { panic!("{entry:?}") };
        let version = match (entry.state, &entry.fixes[..]) {
            (FixState::Fixed, [fix]) => fix.version.to_string(),
            (FixState::NotAffected, []) => "<not-affected>".into(),
            (FixState::WillNotFix, []) => "<end-of-life>".into(),
            (FixState::NoFix, []) => "<unfixed>".into(),
            _ => panic!("{entry:?}"),
        };
        format!("{id}|{}|{}|{version}", package.ecosystem.strip_prefix("Debian:").unwrap(), package.name)
    });
    assert_eq!(digest(rows), (10_522, "3f4cd99b73fe497caff1068e820fa5d46f07d1bd1d361e270c03c758cc86f79f".into()));
}

#[test]
fn all_of_kev() {
    let Some(bytes) = data("feeds/kev.json.gz") else { return };
    let limits = Limits::default();
    let mut batch = Batch::new(&limits);
    let catalog = kev::read("kev.json", &bytes, &limits, &mut batch);
    assert_eq!((batch.problems.len(), &*catalog.version), (0, "2025.08.25"));
    let date = |t: Option<jiff::Timestamp>| t.unwrap().strftime("%Y-%m-%d").to_string();
    let python = |yes: bool| if yes { "True" } else { "False" };
    let rows = catalog.entries.iter().map(|e| format!("{}|{}|{}|{}", e.cve, date(e.added), date(e.due), python(e.ransomware)));
    assert_eq!(digest(rows), (1_404, "8e25d7cc08ba9749f8b9e5c9a53b4072634185c378cfe3d3d8e1ac8eab16a50a".into()));
    assert_eq!(catalog.get("CVE-2021-44228").map(|e| e.ransomware), Some(true));
    assert_eq!(catalog.get("CVE-2021-44229"), None);
}

#[test]
fn a_catalogue_with_faults() {
    let limits = Limits::default();
    let mut batch = Batch::new(&limits);
    let json = r#"{"catalogVersion":"1","count":5,"vulnerabilities":[{"cveID":"CVE-2024-2","dateAdded":"2024-01-02","knownRansomwareCampaignUse":"Unknown"},{"cveID":"x"},{"cveID":1}]}"#;
    let catalog = kev::read("kev.json", json.as_bytes(), &limits, &mut batch);
    assert_eq!((catalog.entries.len(), catalog.entries[0].ransomware), (1, false));
    let places: Vec<&str> = batch.problems.iter().map(|p| &*p.place).collect();
    assert_eq!(places, ["/count", "/vulnerabilities/1", "/vulnerabilities/2"]);
}

#[test]
fn scores_of_a_day() {
    let limits = Limits::default();
    let mut batch = Batch::new(&limits);
    let csv = "#model_version:v2023.03.01,score_date:2025-02-25T00:00:00+0000\ncve,epss,percentile\nCVE-2024-2,0.97565,1.0\nCVE-1999-0001,0.00043,0.1\nCVE-1,2,0\nx,0.1,0.1\nCVE-3\n";
    let scores = epss::read("epss.csv", csv.as_bytes(), &limits, &mut batch);
    assert_eq!((&*scores.model, scores.day.unwrap().to_string()), ("v2023.03.01", "2025-02-25T00:00:00Z".into()));
    assert_eq!(scores.get("CVE-2024-2").map(|e| (e.probability, e.percentile)), Some((975_650, 1_000_000)));
    assert_eq!(scores.entries[0].probability, 430);
    let places: Vec<&str> = batch.problems.iter().map(|p| &*p.place).collect();
    assert_eq!(places, ["line 5", "line 6", "line 7"]);
}
