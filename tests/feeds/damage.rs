//! Damaged feeds: documents with bytes changed, cut and doubled end in problems, in every reader, and limits end what is too large.

use muster::feed::{Batch, Sink, Weight, csaf, debian, epss, kev, msrc, openvex, osv};
use muster::limits::Limits;

const SEEDS: [&str; 7] = [
    r#"{"schema_version":"1.7.0","id":"A-1","modified":"2024-01-01T00:00:00Z","related":["CVE-2024-1"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
      "affected":[{"package":{"ecosystem":"Debian:12","name":"p"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1:2.0~rc1-1"}]}],"versions":["1.0"]}]}"#,
    r#"{"document":{"category":"csaf_vex","csaf_version":"2.1","title":"T","publisher":{"name":"V"},"tracking":{"id":"V-1","status":"final","version":"1","initial_release_date":"2024-01-01T00:00:00Z",
      "current_release_date":"2024-01-01T00:00:00Z","revision_history":[{"date":"2024-01-01T00:00:00Z","number":"1","summary":"s"}]}},"product_tree":{"branches":[{"category":"vendor","name":"V","branches":[
      {"category":"product_version_range","name":"vers:deb/<2","product":{"product_id":"A","name":"A","product_identification_helper":{"purls":["pkg:deb/debian/a@1?arch=source"]}}}]}],
      "relationships":[{"category":"installed_on","product_reference":"A","relates_to_product_reference":"A","full_product_name":{"product_id":"B","name":"B"}}]},
      "vulnerabilities":[{"cve":"CVE-2024-1","notes":[],"product_status":{"known_affected":["A"]},"remediations":[{"category":"vendor_fix","product_ids":["A"]}]}]}"#,
    r#"{"@context":"https://openvex.dev/ns/v0.2.0","statements":[{"vulnerability":{"name":"CVE-1"},"status":"fixed","products":[{"@id":"pkg:deb/ubuntu/bash@5.0?distro=focal"}]}]}"#,
    r#"{"a":{"CVE-2024-1":{"releases":{"bookworm":{"status":"resolved","fixed_version":"1-2","urgency":"medium**"}}}},"cveID":"CVE-1","vulnerabilities":[{"cveID":"CVE-2024-2","dateAdded":"2024-01-02"}]}"#,
    "[29 Mar 2023] DSA-2-1 x - update\n\t{CVE-2023-2 CVE-2023-1}\n\t[bullseye] - x 2:1.2-3+deb11u1\n\t[jessie] - v <end-of-life> (old)\n",
    "\"DatePosted\",\"CVE\",\"BulletinKB\",\"Title\",\"AffectedProduct\",\"AffectedComponent\",\"Severity\",\"Impact\",\"Supersedes\",\"Exploits\"\n\"20240102\",\"CVE-2024-1\",\"5000002\",\"T\",\"Windows 10\",\"\",\"Low\",\"\",\"5000001<br>5000000\",\"\"\n",
    "<cvrfdoc><ProductTree><FullProductName ProductID=\"1\">W</FullProductName></ProductTree><Vulnerability><CVE>CVE-1</CVE><Remediations><Remediation Type=\"Vendor Fix\"><Description>5000000</Description><ProductID>1</ProductID></Remediation></Remediations></Vulnerability></cvrfdoc>",
];

fn all_readers(bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) {
    osv::read("f", bytes, limits, sink);
    csaf::read("f", bytes, limits, sink);
    openvex::read("f", bytes, limits, sink);
    debian::read_tracker("f", bytes, limits, sink);
    debian::read_list("f", bytes, limits, sink);
    msrc::read_cvrf("f", bytes, limits, sink);
    msrc::read_wesng("f", bytes, limits, sink);
    kev::read("f", bytes, limits, sink);
    epss::read("f", bytes, limits, sink);
}

#[test]
fn no_damage_is_a_panic() {
    let limits = Limits::default();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let (mut kept, mut told) = (0, 0);
    for round in 0..3_000 {
        let mut bytes = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..random(4) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = b"0\"{}[]<>,:|\\\n\xff"[random(14)],
                1 => drop(bytes.drain(at..(at + random(12)).min(bytes.len()))),
                2 => bytes.truncate(at + 1),
                _ => bytes.extend_from_within(at..),
            }
        }
        let mut batch = Batch::new(&limits);
        all_readers(&bytes, &limits, &mut batch);
        kept += batch.advisories.len();
        told += batch.problems.len();
    }
    assert!(kept > 1_000 && told > 3_000, "{kept} advisories, {told} problems");
}

#[test]
fn limits_end_what_is_too_large() {
    let few =
        Limits { feed_document_bytes: 300, feed_affected: 2, feed_rows: 1, feed_advisories: 1, feed_problems: 3, ..Limits::default() };
    let says = |read: fn(&str, &[u8], &Limits, &mut dyn Sink), text: &str, what: &str| {
        let mut batch = Batch::new(&few);
        read("f", text.as_bytes(), &few, &mut batch);
        let found = batch.problems.iter().any(|p| p.weight == Weight::Refused && p.message.contains(what));
        assert!(found, "{what}: {:?}", batch.problems);
        batch
    };
    says(csaf::read, SEEDS[1], "limits.feed_document_bytes");
    let list = format!("{}{}", SEEDS[4], "\t[jessie] - v 1\n".repeat(3));
    says(debian::read_list, &list, "limits.feed_affected");
    says(debian::read_list, &SEEDS[4].repeat(2), "limits.feed_advisories");
    says(debian::read_tracker, &SEEDS[3].replace(r#""bookworm""#, r#""sid":{},"bookworm""#), "limits.feed_rows");
    let row = SEEDS[5].lines().nth(1).unwrap();
    says(msrc::read_wesng, &format!("{}{}\n", SEEDS[5], row.replace("Windows 10", "Windows 11")), "limits.feed_rows");
    // An unclosed quote does not take in the rest of the file.
    says(msrc::read_wesng, &format!("{}\"20240102{}", SEEDS[5], "x\n".repeat(4 << 20)), "is a quote not closed?");
    let noise = says(debian::read_list, &"[bad\n".repeat(10), "not `[day");
    assert_eq!((noise.problems.len(), noise.more_problems), (3, 7));
}
