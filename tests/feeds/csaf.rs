//! CSAF: OASIS' own test documents, each parsed or refused for the reason that its test case gives; CISA's advisories.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use muster::feed::csaf;
use muster::feed::model::{FixState, Target};
use muster::scan::inflate;

use super::{data, digest, read};

/// Tests that need what no document holds: the dictionary of CWEs, the registry of SSVC, schemas of extensions.
const NOT_TESTED: [&str; 4] = ["6.1.11", "6.1.48", "6.1.60.2", "6.1.60.3"];

/// Documents that their own list calls valid, and that fail a mandatory test: by their number, that test.
const CONTRADICTORY: [(&str, &str); 16] = [
    // Two MD5 sums of one file.
    ("2_0-2021-6-2-08-02", "6.1.25"),
    ("2_0-2021-6-2-09-02", "6.1.25"),
    ("2_1-2024-6-2-08-02", "6.1.25"),
    ("2_1-2024-6-2-09-02", "6.1.25"),
    // A base score of 9.0 where base is 10.0 and temporal 9.0; one of 0.0 from properties that the vector has not.
    ("2_1-2024-6-1-10-13", "6.1.9"),
    ("2_1-2024-6-2-19-19", "6.1.9"),
    // Ids defined twice, or not at all.
    ("2_1-2024-6-1-27-13-16", "6.1.2"),
    ("2_1-2024-6-1-50-14", "6.1.2"),
    ("2_1-2024-6-1-50-15", "6.1.2"),
    ("2_1-2024-6-2-54-03-01", "6.1.1"),
    ("2_1-2024-6-3-21-01-02", "6.1.1"),
    ("2_1-2024-6-3-21-01-12", "6.1.1"),
    // Revision 6 is older than revision 5.
    ("2_1-2024-6-2-21-02", "6.1.14"),
    // Withdrawn or superseded, without any note that is a description.
    ("2_1-2024-6-2-39-02-01", "6.1.27.14"),
    ("2_1-2024-6-2-39-03-01", "6.1.27.14"),
    // Two package URLs of one product with different versions.
    ("2_1-2024-6-2-42-02", "6.1.42"),
];

/// The lists of test cases, out of the same archive.
fn cases(bytes: &[u8]) -> Vec<(String, serde_json::Value)> {
    let mut tar = Vec::new();
    inflate::stream(bytes, 1 << 30).unwrap().read_to_end(&mut tar).unwrap();
    ["csaf_2.0", "csaf_2.1"]
        .into_iter()
        .map(|version| {
            let folder = format!("{version}/test/validator/data/");
            let name = format!("{folder}testcases.json");
            // The entry's header has the name and, 124 bytes in, the size in octal.
            let at = tar.windows(name.len() + 1).position(|w| w.strip_suffix(b"\0") == Some(name.as_bytes())).unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&tar[at + 124..at + 135]).unwrap().trim(), 8).unwrap();
            (folder, serde_json::from_slice(&tar[at + 512..at + 512 + size]).unwrap())
        })
        .collect()
}

#[test]
fn oasis_documents_are_parsed_or_refused_for_the_stated_reason() {
    let Some(bytes) = data("feeds/oasis-csaf-tests.tar.gz") else { return };
    let batch = read(csaf::read, "oasis", &bytes);
    let mut refused: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for p in batch.refused() {
        refused.entry(&p.document).or_default().insert(p.code);
    }
    let (mut parsed, mut right, mut wrong) = (0, 0, Vec::new());
    for (folder, cases) in cases(&bytes) {
        for case in cases["tests"].as_array().unwrap() {
            let id = case["id"].as_str().unwrap();
            for (kind, document) in
                ["failures", "valid"].iter().flat_map(|k| case[k].as_array().into_iter().flatten().map(move |d| (*k, d)))
            {
                let name = format!("oasis/{folder}{}", document["name"].as_str().unwrap());
                let codes = refused.get(&*name).cloned().unwrap_or_default();
                let known = CONTRADICTORY.iter().find(|(number, _)| name.ends_with(&format!("{number}.json")));
                let good = match (known, document["valid"].as_bool().unwrap()) {
                    (Some((_, code)), _) => codes.contains(code),
                    (None, true) => codes.is_empty(),
                    (None, false) if kind == "failures" && case["group"] == "mandatory" => codes.contains(id) || NOT_TESTED.contains(&id),
                    (None, false) => !codes.is_empty() || NOT_TESTED.contains(&id),
                };
                parsed += usize::from(codes.is_empty());
                right += usize::from(good);
                if !good {
                    wrong.push(format!("{name}: {id} {kind}, {codes:?}"));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    eprintln!("{right} documents as stated, {parsed} of them parsed");
}

#[test]
fn all_of_cisa() {
    let Some(bytes) = data("feeds/cisagov-csaf.tar.gz") else { return };
    let batch = read(csaf::read, "cisa", &bytes);
    assert_eq!((batch.advisories.len(), batch.refused().count()), (2_383, 0));
    // Beside the advisories there are two lists of them.
    assert_eq!(batch.problems.len(), 2, "{:?}", &batch.problems[..3]);
    // Who is affected by what, as an independent extraction in Python has it.
    let said =
        batch.advisories.iter().flat_map(|a| a.affected.iter().map(move |e| (a, e))).filter(|(_, e)| e.state != FixState::NotAffected);
    let rows: BTreeSet<String> = said
        .flat_map(|(a, e)| {
            let Target::Product(product) = &e.target else { panic!("{e:?}") };
            e.about.iter().map(|cve| format!("{}|{cve}|{}|{}", a.id, product.vendor, product.name)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(digest(rows.into_iter()), (38539, "de91c38c77cc2610311d3298a67c4ad87f881bfbf96ee9002301f60cf3b62952".into()));
    let cves: BTreeSet<&str> = batch.advisories.iter().flat_map(muster::feed::model::Advisory::cves).collect();
    let mut states: BTreeMap<FixState, usize> = BTreeMap::new();
    let (mut judged, mut shown) = (0, 0);
    for entry in batch.advisories.iter().flat_map(|a| &a.affected) {
        *states.entry(entry.state).or_default() += 1;
        assert!(matches!(entry.target, Target::Product(_)));
        *(if entry.versions.text.is_empty() { &mut judged } else { &mut shown }) += 1;
    }
    eprintln!("{} CVEs, {states:?}, {judged} ranges understood, {shown} kept as text", cves.len());
}
