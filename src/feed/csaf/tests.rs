//! Documents in small: what becomes of statuses, remediations and products, and what is refused.

use super::*;
use crate::feed::Batch;
use crate::feed::model::{End, Module, PackageKind, Platform};

fn document(version: &str, category: &str, rest: &str) -> String {
    format!(
        r#"{{"document":{{"category":"{category}","csaf_version":"{version}","title":"T","publisher":{{"name":"V","category":"vendor","namespace":"https://v.example"}},
        "aggregate_severity":{{"text":"Moderate"}},"references":[{{"url":"https://v.example/1"}}],"distribution":{{"tlp":{{"label":"CLEAR"}}}},
        "tracking":{{"id":"V-1","status":"final","version":"1","initial_release_date":"2024-01-01T00:00:00Z","current_release_date":"2024-01-01T00:00:00Z",
        "revision_history":[{{"date":"2024-01-01T00:00:00Z","number":"1","summary":"s"}}]}}}},{rest}}}"#
    )
}

fn run(json: &str) -> Batch {
    let limits = Limits::default();
    let mut batch = Batch::new(&limits);
    read("d.json", json.as_bytes(), &limits, &mut batch);
    batch
}

/// A VEX in the manner of Red Hat: packages as components of products, a module, one without a fix.
fn red_hat() -> String {
    let full = |id: &str, helper: &str| format!(r#"{{"product_id":"{id}","name":"{id}","product_identification_helper":{{{helper}}}}}"#);
    let relation = |part: &str, of: &str| {
        format!(
            r#"{{"category":"default_component_of","product_reference":"{part}","relates_to_product_reference":"{of}","full_product_name":{{"product_id":"{of}:{part}","name":"n"}}}}"#
        )
    };
    let products = [
        full("BaseOS-8", r#""cpe":"cpe:/o:redhat:enterprise_linux:8::baseos""#),
        full("kernel-0:4.18.0-513.el8.x86_64", r#""purl":"pkg:rpm/redhat/kernel@4.18.0-513.el8?arch=x86_64""#),
        full("kernel-0:4.18.0-513.el8.aarch64", r#""purl":"pkg:rpm/redhat/kernel@4.18.0-513.el8?arch=aarch64""#),
        full("bind-32:9.11-3.el8.src", r#""purl":"pkg:rpm/redhat/bind@9.11-3.el8?arch=src&epoch=32""#),
        full("nodejs", r#""purl":"pkg:rpm/redhat/nodejs@20.9-1.module+el8?arch=x86_64&rpmmod=nodejs:20:809:a""#),
        full("emacs", r#""purl":"pkg:rpm/redhat/emacs?arch=src""#),
        full("grub2-1:2.02-1.el8.src", r#""cpe":"x""#),
    ];
    let parts = ["kernel-0:4.18.0-513.el8.x86_64", "kernel-0:4.18.0-513.el8.aarch64", "bind-32:9.11-3.el8.src", "nodejs", "emacs"];
    let relations: Vec<String> = parts.iter().map(|p| relation(p, "BaseOS-8")).collect();
    let of = |n: usize| format!("\"BaseOS-8:{}\"", parts[n]);
    document(
        "2.0",
        "csaf_vex",
        &format!(
            r#""product_tree":{{"full_product_names":[{}],"relationships":[{}]}},"vulnerabilities":[{{"cve":"CVE-2024-1","notes":[{{"category":"summary","text":"t"}}],
            "product_status":{{"fixed":[{},{},{},{}],"known_affected":[{}]}},
            "scores":[{{"products":[{}],"cvss_v3":{{"version":"3.1","vectorString":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H","baseScore":9.8,"baseSeverity":"CRITICAL"}}}}],
            "threats":[{{"category":"impact","details":"Important","product_ids":[{}]}}],
            "remediations":[{{"category":"vendor_fix","details":"d","url":"https://v.example/RHSA","product_ids":[{}]}},{{"category":"no_fix_planned","details":"Out of support","product_ids":[{}]}}]}}]"#,
            products.join(","),
            relations.join(","),
            of(0),
            of(1),
            of(2),
            of(3),
            of(4),
            of(4),
            of(4),
            of(0),
            of(4)
        ),
    )
}

#[test]
fn packages_of_red_hat() {
    let batch = run(&red_hat());
    assert_eq!(batch.problems, []);
    let a = &batch.advisories[0];
    assert_eq!((&*a.id, &a.aliases[..], a.scores.len()), ("V-1", &["CVE-2024-1".into()][..], 1));
    let entry = |name: &str| {
        let found = a.affected.iter().filter(|e| matches!(&e.target, Target::Package(p) if &*p.name == name));
        let all: Vec<_> = found.map(|e| if let Target::Package(p) = &e.target { (p, e) } else { panic!() }).collect();
        all
    };
    // x86_64 has a remediation with a URL, aarch64 has not: two statements.
    let kernels = entry("kernel");
    assert_eq!(kernels.iter().map(|(p, _)| p.arches.len()).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(kernels[0].1.versions.ranges[0].end, End::Before("4.18.0-513.el8".into()));
    let (bind, _) = entry("bind")[0];
    assert_eq!(
        (bind.kind, bind.platform.clone()),
        (PackageKind::Source, Some(Platform::new("rhel", "8", "cpe:/o:redhat:enterprise_linux:8::baseos")))
    );
    assert_eq!(entry("bind")[0].1.versions.contains("32:9.11-2.el8"), Some(true));
    assert_eq!(entry("bind")[0].1.versions.contains("32:9.11-3.el8"), Some(false));
    assert_eq!(entry("nodejs")[0].0.module, Some(Module { name: "nodejs".into(), stream: "20".into() }));
    let (_, emacs) = entry("emacs")[0];
    assert_eq!((emacs.state, &*emacs.reason, emacs.versions.contains("1:1-1")), (FixState::WillNotFix, "Out of support", Some(true)));
    assert_eq!(emacs.severity.as_ref().map(|s| &*s.text), Some("Important"));
}

const APPLIANCE: &str = r#""product_tree":{"branches":[{"category":"vendor","name":"V","branches":[{"category":"product_name","name":"Router","branches":[
    {"category":"product_version_range","name":"vers:intdot/<2.1","product":{"product_id":"A","name":"Router < 2.1"}},
    {"category":"product_version","name":"2.1","product":{"product_id":"B","name":"Router 2.1"}},
    {"category":"product_version","name":"3.0","product":{"product_id":"C","name":"Router 3.0"}}]}]}],
    "product_groups":[{"group_id":"G","product_ids":["A","B"]}]},
    "vulnerabilities":[{"cve":"CVE-2024-1","notes":[{"category":"summary","text":"t"}],"product_status":{"known_affected":["A"],"fixed":["B"],"known_not_affected":["C"]},
      "flags":[{"label":"vulnerable_code_not_present","product_ids":["C"]}],"remediations":[{"category":"mitigation","details":"d","product_ids":["A"]}]},
     {"cve":"CVE-2024-2","notes":[{"category":"summary","text":"t"}],"product_status":{"known_affected":["A"],"fixed":["B"]},"remediations":[{"category":"mitigation","details":"d","product_ids":["A"]}]}]"#;

#[test]
fn two_vulnerabilities_with_one_statement() {
    for (version, rest) in [("2.0", APPLIANCE.to_owned()), ("2.1", APPLIANCE.to_owned())] {
        let batch = run(&document(version, "csaf_security_advisory", &rest));
        assert_eq!(batch.problems, []);
        let [not, affected] = &batch.advisories[0].affected[..] else { panic!("{:?}", batch.advisories) };
        let (affected, not) = if affected.state == FixState::Fixed { (affected, not) } else { (not, affected) };
        assert_eq!((affected.about.len(), affected.state, &*affected.fixes[0].version), (2, FixState::Fixed, "2.1"));
        assert_eq!((affected.versions.contains("2.0.9"), affected.versions.contains("2.1")), (Some(true), Some(false)));
        assert_eq!((not.state, &*not.reason), (FixState::NotAffected, "vulnerable_code_not_present"));
    }
}

/// A small change of a valid document, and the test that it fails.
#[test]
fn refused_with_the_number_of_the_test() {
    let valid = document("2.1", "csaf_security_advisory", APPLIANCE);
    for (from, to, code) in [
        (r#""known_affected":["A"],"fixed":["B"],"#, r#""known_affected":["X"],"fixed":["B"],"#, "6.1.1"),
        (r#""product_id":"C""#, r#""product_id":"A""#, "6.1.2"),
        (r#""product_ids":["C"]"#, r#""group_ids":["H"]"#, "6.1.4"),
        (r#""fixed":["B"],"known"#, r#""fixed":["A","B"],"known"#, "6.1.6"),
        (r#""status":"final","version":"1""#, r#""status":"final","version":"2""#, "6.1.16"),
        ("CVE-2024-2", "CVE-2024-1", "6.1.23"),
        (r#""name":"3.0""#, r#""name":"3.0 and later""#, "6.1.31"),
        (
            r#""category":"mitigation","details":"d","product_ids":["A"]}]},"#,
            r#""category":"vendor_fix","details":"d","product_ids":["A","B"]}]},"#,
            "6.1.36",
        ),
        (r#""initial_release_date":"2024-01-01T00:00:00Z""#, r#""initial_release_date":"2024-01-01 00:00:00Z""#, "6.1.37"),
        ("vers:intdot/<2.1", "all versions < 2.1", "6.1.50"),
        (r#""name":"Router","branches""#, r#""name":"Router","x_extensions":[{}],"branches""#, "6.1.60.1"),
    ] {
        let batch = run(&valid.replacen(from, to, 1));
        let codes: Vec<&str> = batch.problems.iter().map(|p| p.code).collect();
        assert!(batch.advisories.is_empty() && codes.contains(&code), "{code}: {codes:?}");
    }
    for (json, place) in [("{}", "/document"), (r#"{"document":{"csaf_version":"1.2"}}"#, "/document/csaf_version"), ("[", "")] {
        assert_eq!(&*run(json).problems[0].place, place);
    }
    assert_eq!(run(r#"{"feed":{}}"#).refused().count(), 0);
}
