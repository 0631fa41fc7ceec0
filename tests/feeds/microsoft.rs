//! WES-NG's definitions, row by row and edge by edge as an independent extraction in Python has them; CVRF in both spellings from files of our own.

use std::collections::BTreeSet;

use muster::feed::model::{FixState, Restart, Target};
use muster::feed::{msrc, supersede};
use muster::limits::Limits;

use super::{data, digest, read};

#[test]
fn all_of_wes_ng_and_its_supersedence() {
    let Some(bytes) = data("windows/wesng-definitions.zip") else { return };
    let batch = read(msrc::read_wesng, "definitions.zip", &bytes);
    assert_eq!((batch.advisories.len(), batch.refused().count()), (22_180, 0));
    let mut rows = BTreeSet::new();
    let mut groups = 0;
    for a in &batch.advisories {
        for e in &a.affected {
            let Target::Windows(target) = &e.target else { panic!("{e:?}") };
            groups += 1;
            let date = e.published.map_or(String::new(), |d| d.strftime("%Y%m%d").to_string());
            let kb = e.fixes.first().map_or("", |f| &*f.kb);
            let severity = e.severity.as_ref().map_or("", |s| &*s.text);
            rows.extend(target.products.iter().map(|p| format!("{}|{date}|{kb}|{}|{severity}|{p}", a.id, target.component)));
        }
    }
    assert_eq!(groups, 157_462);
    assert_eq!(digest(rows.into_iter()), (423_582, "399ac02f6d41dfaf34efb22bd4b44f2bfefb1307ceb03fd1563567b22e30cab1".into()));

    let fixes = || batch.advisories.iter().flat_map(|a| &a.affected).flat_map(|e| &e.fixes).filter(|f| !f.kb.is_empty());
    let kbs: BTreeSet<&str> = fixes().map(|f| &*f.kb).collect();
    let edges: BTreeSet<String> = fixes().flat_map(|f| f.supersedes.iter().map(|older| format!("{}|{older}", f.kb))).collect();
    assert_eq!(kbs.len(), 7_598);
    assert_eq!(digest(edges.into_iter()), (6_000, "99e5e19979040a9e80060d03237ace413ff6b6642fcc6f7c442f65e56c0c032f".into()));

    let mut graph = supersede::Graph::default();
    batch.advisories.iter().for_each(|a| graph.learn(a));
    assert_eq!(graph.edges(), 6_000);
    let closure = graph.closure(&Limits::default()).unwrap();
    // All six cycles are updates that replace themselves.
    let cycles: Vec<&str> = closure.cycles.iter().map(|c| &*c.members[0]).collect();
    assert_eq!(cycles, ["kb2636927", "kb2687497", "kb3062577", "kb5002191", "kb5077469", "kb975337"]);
    assert!(closure.cycles.iter().all(|c| c.members.len() == 1));
    // 90 updates, 89 steps.
    assert_eq!(closure.longest, 90);
    let pairs = closure.patches().flat_map(|(older, newer)| newer.iter().map(move |n| format!("{older}|{n}")));
    assert_eq!(digest(pairs), (85_481, "6d1cfd865a7806670b25e62799235abc425c68a5cb71d879b72f6406af6a8756".into()));
}

#[test]
fn rows_of_a_small_table() {
    let csv = "\u{feff}\"DatePosted\",\"CVE\",\"BulletinKB\",\"Title\",\"AffectedProduct\",\"AffectedComponent\",\"Severity\",\"Impact\",\"Supersedes\",\"Exploits\"\n\
        # a comment\n\
        \"20240102\",\"CVE-2024-1\",\"5000002\",\"T\",\"Windows 10\",\"\",\"Important\",\"RCE\",\"5000001;None\",\"https://x, https://y\"\n\
        \"20240102\",\"CVE-2024-1\",\"5000002\",\"T\",\"Windows 11\",\"\",\"Important\",\"RCE\",\"5000001;None\",\"\"\n\
        \"20240102\",\"CVE-2024-1\",\"\",\"T, over\ntwo lines\",\"Office\",\"\",\"Critical\",\"\",\"\",\"\"\n\
        \"20240103\",\"\",\"5000003\",\"Pack\",\"Windows 10\",\"\",\"\",\"\",\"\",\"\"\n\
        \"short\"\n\"20240103\",\"\",\"\",\"neither\",\"\",\"\",\"\",\"\",\"\",\"\"\n";
    let batch = read(msrc::read_wesng, "x.csv", csv.as_bytes());
    let [cve, pack] = &batch.advisories[..] else { panic!("{:?}", batch.advisories) };
    assert_eq!((&*cve.id, &*pack.id, cve.exploitation.exploits.len()), ("CVE-2024-1", "kb5000003", 2));
    let states: Vec<_> = cve.affected.iter().map(|e| e.state).collect();
    assert_eq!(states, [FixState::NoFix, FixState::Fixed]);
    let Target::Windows(windows) = &cve.affected[1].target else { panic!() };
    assert_eq!((windows.products.len(), &cve.affected[1].fixes[0].supersedes[..]), (2, &["kb5000001".into()][..]));
    assert_eq!(cve.severity.as_ref().map(|s| &*s.text), Some("Critical"));
    let places: Vec<&str> = batch.problems.iter().map(|p| &*p.place).collect();
    assert_eq!(places, ["line 8", "line 9", "CVE-2024-1"]);
}

const JSON: &str = r#"{"DocumentTitle":{"Value":"t"},"ProductTree":{"FullProductName":[{"ProductID":"11","Value":"Windows 10 Version 22H2 for x64-based Systems"},{"ProductID":"12","Value":"Windows Server 2022"},{"ProductID":"13","Value":"Office"}]},
"Vulnerability":[{"Title":{"Value":"A flaw"},"CVE":"CVE-2023-1","Notes":[{"Title":"x","Type":7}],"ProductStatuses":[{"ProductID":["11","12","13"],"Type":3}],
"Threats":[{"Description":{"Value":"Elevation of Privilege"},"ProductID":["11"],"Type":0},{"Description":{"Value":"Important"},"ProductID":["11"],"Type":3},{"Description":{"Value":"Critical"},"ProductID":["12"],"Type":3},
  {"Description":{"Value":"Publicly Disclosed:No;Exploited:Yes;Latest Software Release:Exploitation Detected"},"Type":1}],
"CVSSScoreSets":[{"BaseScore":7.8,"TemporalScore":6.8,"Vector":"CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H/E:U/RL:O/RC:C","ProductID":["11"]}],
"Remediations":[{"Description":{"Value":"5032189"},"URL":"https://catalog.update.microsoft.com/v7/site/Search.aspx?q=KB5032189","Supercedence":"5031356","ProductID":["11","12","99"],"Type":2,"SubType":"Security Update","FixedBuild":"10.0.19045.3693","RestartRequired":{"Value":"Yes"}},
  {"Description":{"Value":"known issue"},"ProductID":["11"],"Type":5}],
"RevisionHistory":[{"Number":"1.0","Date":"2023-11-14T08:00:00","Description":{"Value":"p"}}]},{"Title":{"Value":"no id"}}]}"#;

const XML: &str = r#"<?xml version="1.0"?><cvrf:cvrfdoc xmlns:cvrf="http://www.icasi.org/CVRF/schema/cvrf/1.1" xmlns:prod="p" xmlns:vuln="v">
<prod:ProductTree><prod:FullProductName ProductID="11">Windows 10 Version 22H2 for x64-based Systems</prod:FullProductName><prod:FullProductName ProductID="12">Windows Server 2022</prod:FullProductName><prod:FullProductName ProductID="13">Office</prod:FullProductName></prod:ProductTree>
<vuln:Vulnerability Ordinal="1"><vuln:Title>A flaw</vuln:Title><vuln:CVE>CVE-2023-1</vuln:CVE>
<vuln:ProductStatuses><vuln:Status Type="Known Affected"><vuln:ProductID>11</vuln:ProductID><vuln:ProductID>12</vuln:ProductID><vuln:ProductID>13</vuln:ProductID></vuln:Status></vuln:ProductStatuses>
<vuln:Threats><vuln:Threat Type="Severity"><vuln:Description>Important</vuln:Description><vuln:ProductID>11</vuln:ProductID></vuln:Threat><vuln:Threat Type="Severity"><vuln:Description>Critical</vuln:Description><vuln:ProductID>12</vuln:ProductID></vuln:Threat>
<vuln:Threat Type="Exploit Status"><vuln:Description>Publicly Disclosed:No;Exploited:Yes;Latest Software Release:Exploitation Detected</vuln:Description></vuln:Threat></vuln:Threats>
<vuln:CVSSScoreSets><vuln:ScoreSet><vuln:BaseScore>7.8</vuln:BaseScore><vuln:Vector>CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H/E:U/RL:O/RC:C</vuln:Vector></vuln:ScoreSet></vuln:CVSSScoreSets>
<vuln:RevisionHistory><vuln:Revision><cvrf:Number>1.0</cvrf:Number><cvrf:Date>2023-11-14T08:00:00</cvrf:Date></vuln:Revision></vuln:RevisionHistory>
<vuln:Remediations><vuln:Remediation Type="Vendor Fix"><vuln:Description>5032189</vuln:Description><vuln:URL>https://catalog.update.microsoft.com/v7/site/Search.aspx?q=KB5032189</vuln:URL><vuln:Supercedence>5031356</vuln:Supercedence><vuln:ProductID>11</vuln:ProductID><vuln:ProductID>12</vuln:ProductID><vuln:ProductID>99</vuln:ProductID><vuln:RestartRequired>Yes</vuln:RestartRequired><vuln:SubType>Security Update</vuln:SubType><vuln:FixedBuild>10.0.19045.3693</vuln:FixedBuild></vuln:Remediation></vuln:Remediations></vuln:Vulnerability>
<vuln:Vulnerability><vuln:Title>no id</vuln:Title></vuln:Vulnerability></cvrf:cvrfdoc>"#;

#[test]
fn both_spellings_of_cvrf_say_the_same() {
    let batches = [("2023-Nov.json", JSON), ("2023-Nov.xml", XML)].map(|(name, text)| read(msrc::read_cvrf, name, text.as_bytes()));
    assert_eq!(batches[0].advisories, batches[1].advisories);
    let [cve] = &batches[0].advisories[..] else { panic!("{:?}", batches[0]) };
    assert_eq!((cve.exploitation.exploited, cve.exploitation.disclosed, cve.scores.len()), (Some(true), Some(false), 1));
    assert_eq!(cve.published.unwrap().to_string(), "2023-11-14T08:00:00Z");
    let [critical, important, open] = &cve.affected[..] else { panic!("{:?}", cve.affected) };
    assert_eq!(critical.severity.as_ref().map(|s| &*s.text), Some("Critical"));
    let fix = &important.fixes[0];
    assert_eq!((&*fix.kb, &*fix.build, fix.restart), ("kb5032189", "10.0.19045.3693", Some(Restart::Yes)));
    assert_eq!((&fix.supersedes[..], open.state), (&["kb5031356".into()][..], FixState::NoFix));
    for batch in &batches {
        // The unknown product, twice the same place at most, and the vulnerability without a CVE.
        assert_eq!(batch.problems.len(), 2, "{:?}", batch.problems);
    }
}
