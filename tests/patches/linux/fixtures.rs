//! Feeds that are not among the real data here, in small: Debian's tracker, OSV of Debian and Ubuntu, Ubuntu's notices as OVAL would have them. What a row is
//! affected by was written down by hand.

use std::collections::BTreeSet;

use muster::feed::{debian, osv};
use muster::scan::Row;

use super::{Installed, Reader, asked, catalog, endpoint, read, straight};

fn deb(name: &str, version: &str, source: &str, source_version: &str, release: &str) -> Row {
    let text = |t: &str| t.to_owned();
    Installed {
        name: text(name),
        version: text(version),
        source: text(source),
        source_version: text(source_version),
        release: text(release),
        ..Installed::default()
    }
    .row("deb")
}

fn check(reader: Reader, documents: &[&str], cases: &[(Row, &[&str])]) {
    let advisories: Vec<_> = documents
        .iter()
        .flat_map(|d| {
            let batch = read(reader, "small", d.as_bytes());
            assert_eq!(batch.problems, []);
            batch.advisories
        })
        .collect();
    let catalog = catalog(&advisories);
    for (row, expected) in cases {
        let expected: BTreeSet<String> = expected.iter().map(|e| (*e).to_owned()).collect();
        let rows = std::slice::from_ref(row);
        let ids = |found: super::Found| found.into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>();
        assert_eq!(ids(asked(&catalog, rows)), expected, "{row:?}");
        assert_eq!(ids(straight::affected(&advisories, rows)), expected, "{row:?}");
        assert_eq!(endpoint(&catalog, rows), expected, "{row:?}");
    }
}

#[test]
fn debian_tracker() {
    let tracker = r#"{"openssl":{
        "CVE-2030-1":{"releases":{"bookworm":{"status":"resolved","fixed_version":"3.0.9-1+deb12u1","urgency":"medium"},
            "trixie":{"status":"resolved","fixed_version":"0","urgency":"unimportant"}}},
        "CVE-2030-2":{"releases":{"bookworm":{"status":"open","urgency":"low"},"trixie":{"status":"open","urgency":"low","nodsa":"Minor issue","nodsa_reason":"ignored"}}}},
      "curl":{"CVE-2030-1":{"releases":{"bookworm":{"status":"resolved","fixed_version":"7.88.1-10+deb12u1","urgency":"high"}}}}}"#;
    let ssl = |version, source_version, release| deb("libssl3", version, "openssl", source_version, release);
    check(
        debian::read_tracker,
        &[tracker],
        &[
            (ssl("3.0.9-1", "", "debian:12"), &["CVE-2030-1", "CVE-2030-2"]),
            (ssl("3.0.9-1+deb12u1", "", "debian:12"), &["CVE-2030-2"]),
            (ssl("3.0.9-1+deb12u1~bpo1", "", "debian:12"), &["CVE-2030-1", "CVE-2030-2"]),
            // Built again: the binary's own version is past the fix, its source's is not.
            (ssl("3.0.9-1+deb12u1+b9", "3.0.9-1", "debian:12"), &["CVE-2030-1", "CVE-2030-2"]),
            (ssl("3.0.9-1", "", "debian:13"), &["CVE-2030-2"]),
            (ssl("3.0.9-1", "", "debian:11"), &[]),
            (ssl("3.0.9-1", "", "ubuntu:12"), &[]),
            (deb("curl", "7.88.1-10", "", "", "debian:12"), &["CVE-2030-1"]),
            // The tracker speaks of sources: a package that only has the name of one is not of it.
            (deb("openssl", "1-1", "other", "", "debian:12"), &[]),
        ],
    );
}

#[test]
fn osv_of_ubuntu_and_debian() {
    let ubuntu = r#"{"schema_version":"1.7.0","id":"USN-9000-1","upstream":["CVE-2030-1"],"affected":[
        {"package":{"ecosystem":"Ubuntu:22.04:LTS","name":"bash"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"5.1-6ubuntu1.1"}]}]},
        {"package":{"ecosystem":"Ubuntu:Pro:18.04:LTS","name":"bash"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"4.4.18-2ubuntu1.3+esm1"}]}]}]}"#;
    let unfixed = r#"{"schema_version":"1.7.0","id":"UBUNTU-CVE-2030-2","upstream":["CVE-2030-2"],"affected":[
        {"package":{"ecosystem":"Ubuntu:22.04:LTS","name":"bash"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}],"versions":["5.1-6ubuntu1"]}]}"#;
    let debian = r#"{"schema_version":"1.7.0","id":"DSA-9000-1","upstream":["CVE-2030-1"],"affected":[
        {"package":{"ecosystem":"Debian:12","name":"bash"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"5.2~rc1-1"},{"fixed":"5.2.15-2+deb12u1"}]}]}]}"#;
    let withdrawn = r#"{"schema_version":"1.7.0","id":"DSA-9001-1","withdrawn":"2030-01-01T00:00:00Z","affected":[
        {"package":{"ecosystem":"Debian:12","name":"bash"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}"#;
    let bash = |version, release| deb("bash", version, "", "", release);
    check(
        osv::read,
        &[ubuntu, unfixed, debian, withdrawn],
        &[
            (bash("5.1-6ubuntu1", "ubuntu:22.04"), &["USN-9000-1", "UBUNTU-CVE-2030-2"]),
            (bash("5.1-6ubuntu1.1", "ubuntu:22.04"), &["UBUNTU-CVE-2030-2"]),
            // The fix is in a channel that asks for a subscription; affected is the package all the same.
            (bash("4.4.18-2ubuntu1.3", "ubuntu:18.04"), &["USN-9000-1"]),
            (bash("4.4.18-2ubuntu1.3+esm1", "ubuntu:18.04"), &[]),
            (bash("5.2~beta-1", "debian:12"), &[]),
            (bash("5.2~rc1-1", "debian:12"), &["DSA-9000-1"]),
            (bash("5.2.15-2+b7", "debian:12"), &["DSA-9000-1"]),
            (bash("5.2.15-2+deb12u1", "debian:12"), &[]),
        ],
    );
}
