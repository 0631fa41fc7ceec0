//! `muster patch` from files: what is missing, why, and the plan. tests/server/patches.rs holds it against the API.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// An advisory of Debian about one source package, in OSV.
fn advisory(id: &str, day: &str, cve: &str, package: &str, fixed: Option<&str>, vector: Option<&str>) -> Value {
    let mut events = vec![json!({"introduced": "0"})];
    events.extend(fixed.map(|f| json!({"fixed": f})));
    json!({
        "schema_version": "1.7.0", "id": id, "modified": format!("{day}T00:00:00Z"), "published": format!("{day}T00:00:00Z"),
        "summary": format!("{package} security update"), "upstream": [cve],
        "severity": vector.map(|v| json!([{"type": "CVSS_V3", "score": v}])).unwrap_or(json!([])),
        "affected": [{"package": {"ecosystem": "Debian:12", "name": package}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}],
    })
}

const CRITICAL: &str = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
const MEDIUM: &str = "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:N/A:N";

/// What the vendor says: an attacked openssl that a later update has too, a kernel, something without a fix, something that is not installed.
pub(crate) fn advisories() -> Vec<Value> {
    vec![
        advisory("DSA-1-1", "2026-11-03", "CVE-2026-1", "openssl", Some("3.0.15-1~deb12u1"), Some(CRITICAL)),
        advisory("DSA-2-1", "2026-11-13", "CVE-2026-2", "openssl", Some("3.0.16-1~deb12u1"), None),
        advisory("DSA-3-1", "2026-10-20", "CVE-2026-3", "curl", Some("7.88.1-10+deb12u8"), Some(MEDIUM)),
        advisory("DSA-4-1", "2026-11-04", "CVE-2026-4", "nginx", Some("1.22.1-9+deb12u2"), Some(CRITICAL)),
        advisory("DSA-5-1", "2026-11-05", "CVE-2026-5", "sudo", Some("1.9.13p3-1+deb12u1"), Some(MEDIUM)),
        advisory("DSA-6-1", "2026-11-06", "CVE-2026-6", "linux", Some("6.1.90-1"), Some(MEDIUM)),
        advisory("CVE-2026-9", "2026-11-07", "CVE-2026-9", "zlib", None, Some(MEDIUM)),
    ]
}

pub(crate) const KEV: &str = r#"{"catalogVersion":"1","dateReleased":"2026-11-10T00:00:00Z","count":1,"vulnerabilities":[{"cveID":"CVE-2026-1",
 "vendorProject":"OpenSSL","product":"OpenSSL","vulnerabilityName":"overflow","dateAdded":"2026-11-05","shortDescription":"","requiredAction":"",
 "dueDate":"2026-11-26","knownRansomwareCampaignUse":"Known"}]}"#;

fn package(name: &str, version: &str, source: &str) -> Value {
    json!({"name": name, "version": version, "arch": "amd64", "source": source, "format": "deb", "release": "debian:12"})
}

/// A Debian that is behind with openssl and curl, and runs an old kernel although a new one is installed.
pub(crate) fn tables() -> Value {
    let offer = |name: &str, version: &str, source: &str| json!({"name": name, "version": version, "arch": "amd64", "source": source, "release": "debian:12", "repository": "bookworm-security/main"});
    json!({
        "os": [{"family": "linux", "id": "debian", "version": "12", "kernel": "6.1.0-18-amd64", "kernel_version": "6.1.76-1"}],
        "package": [
            package("libssl3", "3.0.11-1", "openssl"), package("openssl", "3.0.11-1", "openssl"), package("libcurl4", "7.88.1-10", "curl"),
            package("sudo", "1.9.13p3-1+deb12u1", "sudo"), package("zlib1g", "1:1.2.13.dfsg-1", "zlib"),
            package("linux-image-6.1.0-18-amd64", "6.1.76-1", "linux"), package("linux-image-6.1.0-25-amd64", "6.1.106-3", "linux"),
        ],
        "update": [offer("libssl3", "3.0.16-1~deb12u1", "openssl"), offer("openssl", "3.0.16-1~deb12u1", "openssl")],
    })
}

pub(crate) fn scan(tables: &Value) -> String {
    format!("{{\"format\":\"muster.scan/1\",\"endpoint\":\"web-1\",\"tables\":{tables}}}")
}

pub(crate) struct Folder(pub(crate) TempDir);

pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Done {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("JSON")
    }
}

impl Folder {
    pub(crate) fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().expect("a folder"));
        for advisory in advisories() {
            let id = advisory["id"].as_str().expect("id");
            folder.write(&format!("{id}.json"), &advisory.to_string());
        }
        folder.write("kev.json", KEV);
        folder.write("scan.json", &scan(&tables()));
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("written");
    }

    pub(crate) fn muster(&self, args: &[&str]) -> Done {
        let binary = env!("CARGO_BIN_EXE_muster");
        let done = Command::new(binary).args(args).current_dir(self.path()).stdin(Stdio::null()).output().expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Done { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
    }

    /// Without a server.
    pub(crate) fn patch(&self, args: &[&str]) -> Done {
        let files: Vec<String> = advisories().iter().map(|a| format!("debian=osv:{}.json", a["id"].as_str().expect("id"))).collect();
        let mut all = vec!["patch"];
        all.extend(args);
        all.push("--advisories");
        all.extend(files.iter().map(String::as_str));
        all.push("kev:kev.json");
        self.muster(&all)
    }
}

fn ids(document: &Value, list: &str) -> Vec<String> {
    let items = document[list].as_array().expect("a list");
    items.iter().map(|i| i["id"].as_str().expect("id").to_owned()).collect()
}

#[test]
fn what_is_missing_is_told_with_the_packages_and_by_urgency() {
    let folder = Folder::new();
    let done = folder.patch(&["missing", "--scan", "scan.json"]).expect(2);
    for part in
        ["libssl3 3.0.11-1 -> 3.0.16-1~deb12u1", "DSA-2-1 (+1)", "94", "emergency", "2 missing, 1 no_fix, 1 pending_reboot, 1 superseded"]
    {
        let line = done.out.lines().any(|l| l.contains(part)) || part.split(", ").all(|p| done.out.contains(p));
        assert!(line, "{part}\n{}", done.out);
    }
    let found = folder.patch(&["missing", "--scan", "scan.json", "--output", "json"]).expect(2).json();
    assert_eq!(ids(&found, "items"), ["DSA-2-1", "DSA-3-1"]);
    let first = &found["items"][0];
    assert_eq!((&first["urgency"], &first["priority"], &first["covers"][0]["id"]), (&json!(94), &json!(10), &json!("DSA-1-1")));
    assert_eq!((&first["installable"], &found["items"][1]["installable"]), (&json!("yes"), &json!("no")));
    assert_eq!(first["packages"][1]["repository"], "bookworm-security/main");

    let found = folder.patch(&["applicable", "--scan", "scan.json", "--output", "json"]).expect(2).json();
    assert_eq!(ids(&found, "items"), ["DSA-1-1", "DSA-2-1", "DSA-3-1", "DSA-6-1"]);
    assert_eq!(found["items"][0]["brought_by"], json!([{"id": "DSA-2-1", "feed": "debian"}]));
    assert_eq!(found["items"][3]["state"], "pending_reboot");

    let filtered = |filter: &str| folder.patch(&["applicable", "--scan", "scan.json", "--filter", filter, "--output", "json"]);
    for (filter, expected) in [
        ("exploited", &["DSA-1-1"][..]),
        ("not superseded, package=openssl", &["DSA-2-1"]),
        ("installable", &["DSA-1-1", "DSA-2-1"]),
        ("released>=2026-11-01, released<2026-11-10", &["DSA-1-1", "DSA-6-1"]),
        ("band=emergency or state=pending_reboot", &["DSA-1-1", "DSA-6-1"]),
    ] {
        assert_eq!(ids(&filtered(filter).expect(2).json(), "items"), expected, "{filter}");
    }
    assert_eq!(filtered("severity=low").expect(0).json()["items"], json!([]));
    let wrong = filtered("sevrity=low").expect(2);
    assert!(wrong.err.contains("column 1") && wrong.err.contains("`severity`") && wrong.out.is_empty(), "{}", wrong.err);
    let limited = folder.patch(&["missing", "--scan", "scan.json", "--limit", "1", "--output", "json"]).expect(2).json();
    assert_eq!((ids(&limited, "items"), limited["next_cursor"].is_string()), (vec!["DSA-2-1".to_owned()], true));
}

#[test]
fn a_plan_restarts_first_and_upgrades_each_package_once() {
    let folder = Folder::new();
    let plan = folder.patch(&["plan", "--scan", "scan.json", "--value", "high", "--output", "json"]).expect(2).json();
    let steps: Vec<_> =
        plan["steps"].as_array().expect("steps").iter().map(|s| (s["what"].as_str(), ids(s, "patches"), s["priority"].as_u64())).collect();
    let named = |id: &str| vec![id.to_owned()];
    assert_eq!(
        steps,
        [
            (Some("restart"), named("DSA-6-1"), Some(25)),
            (Some("update"), named("DSA-2-1"), Some(99)),
            (Some("update"), named("DSA-3-1"), Some(25)),
        ]
    );
    let upgrade = &plan["steps"][1];
    assert_eq!((ids(upgrade, "covers"), &upgrade["installable"]), (named("DSA-1-1"), &json!("yes")));
    let targets: Vec<_> =
        upgrade["packages"].as_array().expect("packages").iter().map(|p| (p["name"].as_str(), p["target"].as_str())).collect();
    assert_eq!(targets, [(Some("libssl3"), Some("3.0.16-1~deb12u1")), (Some("openssl"), Some("3.0.16-1~deb12u1"))]);
    assert_eq!(ids(&plan, "no_fix"), ["CVE-2026-9"]);
    let text = folder.patch(&["plan", "--scan", "scan.json"]).expect(2).out;
    assert!(text.contains("1. restart") && text.contains("brings along DSA-1-1") && text.contains("1 affected without a fix"), "{text}");
}

#[test]
fn every_state_has_its_reason() {
    let folder = Folder::new();
    for (id, state, because) in [
        (
            "DSA-1-1",
            "superseded",
            "libssl3 3.0.11-1 is before 3.0.15-1~deb12u1, openssl 3.0.11-1 is before 3.0.15-1~deb12u1; DSA-2-1 brings it along",
        ),
        ("DSA-3-1", "missing", "libcurl4 7.88.1-10 is before 7.88.1-10+deb12u8"),
        ("DSA-4-1", "not_applicable", "nothing that it is about is installed here"),
        ("DSA-5-1", "installed", "it is there, or something later that has it"),
        ("DSA-6-1", "pending_reboot", "what runs is older"),
        ("CVE-2026-9", "no_fix", "there is no fix so far: zlib1g 1:1.2.13.dfsg-1"),
    ] {
        let why = folder.patch(&["show", id, "--scan", "scan.json", "--output", "json"]).expect(0).json();
        let why = &why["items"][0];
        assert_eq!(why["state"], state, "{why:#}");
        assert!(why["because"].as_str().is_some_and(|b| b.contains(because)), "{id}: {}", why["because"]);
        assert_eq!(why["rows"].as_array().map(Vec::is_empty), Some(state == "not_applicable"), "{id}");
    }
    let shown = folder.patch(&["show", "DSA-1-1", "--output", "json"]).expect(0).json();
    let shown = &shown["items"][0];
    assert_eq!((&shown["fixes"][0]["affected"], &shown["fixes"][0]["platform"]), (&json!("< 3.0.15-1~deb12u1"), &json!("debian:12")));
    assert_eq!(shown["rank"][2], json!({"name": "kev", "points": 40}));
    assert!(folder.patch(&["show", "DSA-9-9"]).expect(1).err.contains("no feed has a patch `DSA-9-9`"));
    let listed = folder.patch(&["list", "--filter", "cvss>=9", "--output", "json"]).expect(0).json();
    assert_eq!(ids(&listed, "items"), ["DSA-1-1", "DSA-4-1"]);
}

#[test]
fn what_was_not_collected_is_not_fine() {
    let folder = Folder::new();
    folder.write("scan.json", &scan(&json!({"os": [{"family": "linux", "id": "debian", "version": "12"}]})));
    let done = folder.patch(&["missing", "--scan", "scan.json"]).expect(1);
    assert!(done.err.contains("nothing can be told"), "{}", done.err);
    let why = folder.patch(&["show", "DSA-1-1", "--scan", "scan.json", "--output", "json"]).expect(0).json();
    assert_eq!(why["items"][0]["state"], "not_checked");
    let mut other = package("zlib1g", "1", "zlib");
    other["release"] = json!("debian:11");
    folder.write("scan.json", &scan(&json!({"package": [other]})));
    let done = folder.patch(&["missing", "--scan", "scan.json"]).expect(0);
    assert!(done.err.contains("no feed says anything of it (debian:11)"), "{}", done.err);
    for (args, says) in [
        (&["patch", "missing", "--scan", "scan.json"][..], "give one"),
        (&["patch", "missing", "--advisories", "osv:DSA-1-1.json"], "an endpoint is given by --scan"),
        (&["patch", "missing", "--scan", "scan.json", "--advisories", "ovs:DSA-1-1.json"], "`ovs` is no format"),
        (&["patch", "missing", "--scan", "scan.json", "--advisories", "osv:DSA-1-1.json", "--group", "web"], "--server"),
        (&["patch", "lists"], "kept by a server"),
    ] {
        let done = folder.muster(args).expect(2);
        assert!(done.err.contains(says), "{args:?}: {}", done.err);
    }
}
