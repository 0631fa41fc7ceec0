//! CVSS scores held against the `cvss` package of Python's index (Red Hat's), which `tests/data/feeds/cvss.tsv` was made with: random vectors of all
//! versions, their base, temporal and environmental scores. Another such file is read from `MUSTER_CVSS`.

use muster::feed::cvss::{Vector, Version};

#[test]
fn random_vectors_score_as_elsewhere() {
    let mut text = include_str!("../data/feeds/cvss.tsv").to_owned();
    if let Some(more) = std::env::var_os("MUSTER_CVSS") {
        text += &std::fs::read_to_string(more).unwrap();
    }
    let mut wrong = Vec::new();
    for line in text.lines() {
        let [vector, base, temporal, environmental] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let v = Vector::parse(vector).unwrap();
        // Of version 4 there is one score, that of everything given.
        let first = if v.version() == Version::V40 { v.overall() } else { v.base() };
        for (expected, got) in [(base, first), (temporal, v.temporal()), (environmental, v.environmental())] {
            if expected != "-" && expected != got.to_string() {
                wrong.push(format!("{line}: {got} for {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), text.lines().count(), wrong[..wrong.len().min(12)].join("\n"));
    eprintln!("{} vectors", text.lines().count());
}
