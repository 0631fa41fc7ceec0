//! Small content in the shape of each publisher, written here.

use super::super::Batch;
use super::*;
use crate::feed::Weight;

const HEAD: &str = r#"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5"
 xmlns:l="http://oval.mitre.org/XMLSchema/oval-definitions-5#linux" xmlns:i="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent"
 xmlns:u="http://oval.mitre.org/XMLSchema/oval-definitions-5#unix"><generator><oval:schema_version>5.11</oval:schema_version></generator>"#;

fn batch(body: &str, limits: &Limits) -> Batch {
    let mut batch = Batch::new(limits);
    read("it.xml", format!("{HEAD}{body}</oval_definitions>").as_bytes(), limits, &mut batch);
    batch
}

fn of(body: &str) -> Batch {
    batch(body, &Limits::default())
}

fn problems(batch: &Batch) -> Vec<String> {
    batch.problems.iter().map(ToString::to_string).collect()
}

/// `rhel:8 nodejs(nodejs:12)[x86_64] <1:2-3 Fixed`
fn shown(advisory: &Advisory) -> Vec<String> {
    let entry = |affected: &Affected| {
        let Target::Package(p) = &affected.target else { panic!("{affected:?}") };
        let platform = p.platform.as_ref().unwrap();
        let mut out = format!("{}:{} {}", platform.id, platform.version, p.name);
        if let Some(module) = &p.module {
            out += &format!("({}:{})", module.name, module.stream);
        }
        if !p.arches.is_empty() {
            out += &format!("[{}]", p.arches.join("|"));
        }
        for range in &affected.versions.ranges {
            match &range.start {
                Start::Open => {}
                Start::At(v) => out += &format!(" >={v}"),
                Start::After(v) => out += &format!(" >{v}"),
            }
            match &range.end {
                End::Open => {}
                End::Before(v) => out += &format!(" <{v}"),
                End::Through(v) => out += &format!(" <={v}"),
            }
        }
        affected.versions.exact.iter().for_each(|v| out += &format!(" ={v}"));
        let reason = if affected.reason.is_empty() { String::new() } else { format!(" ({})", affected.reason) };
        format!("{out} {:?}{reason}", affected.state)
    };
    advisory.affected.iter().map(entry).collect()
}

fn test(kind: &str, number: u32, comment: &str, state: &str) -> String {
    let state = if state.is_empty() { String::new() } else { format!(r#"<state state_ref="s:{state}"/>"#) };
    format!(
        r#"<{kind}_test id="t:{number}" version="1" check="at least one" comment="{comment}"><object object_ref="o:{number}"/>{state}</{kind}_test>"#
    )
}

fn rpm(number: u32, name: &str) -> String {
    format!(r#"<l:rpminfo_object id="o:{number}" version="1"><l:name>{name}</l:name></l:rpminfo_object>"#)
}

fn state(id: &str, inner: &str) -> String {
    format!(r#"<l:rpminfo_state id="s:{id}" version="1">{inner}</l:rpminfo_state>"#)
}

fn below(id: &str, arch: &str, evr: &str) -> String {
    let arch = if arch.is_empty() { String::new() } else { format!(r#"<l:arch operation="pattern match">{arch}</l:arch>"#) };
    state(id, &format!(r#"{arch}<l:evr datatype="evr_string" operation="less than">{evr}</l:evr>"#))
}

/// A release file, a module, packages below a version and their signatures, a running kernel.
fn red_hat(criteria: &str, id: &str, advisory: &str) -> String {
    format!(
        r#"<definitions><definition class="patch" id="{id}" version="1"><metadata><title>RHSA-2030:0001: nodejs:12 security update (Important)</title>
<affected family="unix"><platform>Red Hat Enterprise Linux 8</platform></affected>
<reference ref_id="RHSA-2030:0001" ref_url="https://example.com/RHSA-2030:0001" source="RHSA"/><reference ref_id="CVE-2030-1" ref_url="https://example.com/1" source="CVE"/>
<description>Words.</description><advisory from="a@example.com"><severity>Important</severity><issued date="2030-01-02"/><updated date="2030-02-03"/>
<cve cvss3="8.8/CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H" href="https://example.com/1" public="20300101">CVE-2030-1</cve><cve cvss3="high">CVE-2030-2</cve>{advisory}</advisory></metadata>
<criteria operator="OR"><criterion comment="Red Hat Enterprise Linux must be installed" test_ref="t:9"/><criteria operator="AND"><criterion comment="Red Hat Enterprise Linux 8 is installed" test_ref="t:8"/>{criteria}</criteria></criteria></definition></definitions>
<tests>{}{}{}{}<l:rpmverifyfile_test id="t:8" version="1" check="at least one" comment="Red Hat Enterprise Linux 8 is installed"><l:object object_ref="o:8"/><l:state state_ref="s:8"/></l:rpmverifyfile_test>
<l:rpmverifyfile_test id="t:9" version="1" check="none satisfy" comment="Red Hat Enterprise Linux must be installed"><l:object object_ref="o:8"/><l:state state_ref="s:9"/></l:rpmverifyfile_test>
{}{}{}</tests><objects>{}{}<l:rpmverifyfile_object id="o:8" version="1"><l:filepath>/etc/redhat-release</l:filepath></l:rpmverifyfile_object>
<i:textfilecontent54_object id="o:5" version="1"><i:filepath>/etc/dnf/modules.d/nodejs.module</i:filepath><i:pattern operation="pattern match">\[nodejs\][\w\W]*</i:pattern><i:instance datatype="int">1</i:instance></i:textfilecontent54_object>
<u:uname_object id="o:6" version="1"/></objects><states>{}{}{}
<l:rpmverifyfile_state id="s:8" version="1"><l:name operation="pattern match">^redhat-release</l:name><l:version operation="pattern match">^8[^\d]</l:version></l:rpmverifyfile_state>
<l:rpmverifyfile_state id="s:9" version="1"><l:name operation="pattern match">^redhat-release</l:name></l:rpmverifyfile_state>
<i:textfilecontent54_state id="s:5" version="1"><i:text operation="pattern match">\nstream\s*=\s*12\b[\w\W]*</i:text></i:textfilecontent54_state>
<u:uname_state id="s:6" version="1"><u:os_release operation="pattern match">4\.18</u:os_release></u:uname_state></states>"#,
        test("l:rpminfo", 1, "nodejs is earlier than 1:12.1-1.module+el8", "1"),
        test("l:rpminfo", 2, "npm is earlier than 1:6-1.module+el8", "2"),
        test("l:rpminfo", 3, "npm is installed", "").replace("o:3", "o:2"),
        test("l:rpminfo", 4, "nodejs is signed with a key", "4").replace("o:4", "o:1"),
        test("i:textfilecontent54", 5, "Module nodejs:12 is enabled", "5"),
        test("u:uname", 6, "kernel earlier than 0:4.18.0-80 is currently running", "6"),
        test("l:rpminfo", 7, "nodejs is installed", "").replace("o:7", "o:1"),
        rpm(1, "nodejs"),
        rpm(2, "npm"),
        below("1", "aarch64|x86_64", "1:12.1-1.module+el8"),
        below("2", "", "1:6-1.module+el8"),
        state("4", "<l:signature_keyid>199e2f91fd431d51</l:signature_keyid>"),
    )
}

fn criterion(number: u32) -> String {
    format!(r#"<criterion test_ref="t:{number}" comment=""/>"#)
}

#[test]
fn red_hat_with_modules_and_signatures() {
    let packages = r#"<criterion test_ref="t:5"/><criteria operator="OR"><criteria operator="AND"><criterion test_ref="t:1"/><criterion test_ref="t:4"/></criteria><criterion test_ref="t:2"/></criteria>"#;
    let batch = of(&red_hat(packages, "oval:com.redhat.rhsa:def:20300001", ""));
    let [advisory] = &batch.advisories[..] else { panic!("{:?}", batch.problems) };
    assert_eq!((&*advisory.id, &*advisory.publisher, advisory.source), ("RHSA-2030:0001", "Red Hat", Source::Oval));
    assert_eq!(
        shown(advisory),
        ["rhel:8 nodejs(nodejs:12)[aarch64|x86_64] <1:12.1-1.module+el8 Fixed", "rhel:8 npm(nodejs:12) <1:6-1.module+el8 Fixed"]
    );
    assert_eq!(&*advisory.affected[0].fixes[0].version, "1:12.1-1.module+el8");
    assert_eq!(advisory.aliases, ["CVE-2030-1".into(), "CVE-2030-2".into(), "oval:com.redhat.rhsa:def:20300001".into()]);
    assert_eq!(advisory.cves().collect::<Vec<_>>(), ["CVE-2030-1", "CVE-2030-2"]);
    assert_eq!((advisory.scores.len(), &*advisory.scores[0].about[0]), (1, "CVE-2030-1"));
    assert_eq!(advisory.published.map(|t| t.to_string()).as_deref(), Some("2030-01-02T00:00:00Z"));
    assert_eq!(advisory.modified.map(|t| t.to_string()).as_deref(), Some("2030-02-03T00:00:00Z"));
    assert_eq!((&*advisory.summary, advisory.severity.as_ref().map(|s| &*s.text)), ("Words.", Some("Important")));
    let weights: Vec<Weight> = batch.problems.iter().map(|p| p.weight).collect();
    assert_eq!(weights, [Weight::Partial, Weight::Note], "{:?}", problems(&batch));
    assert!(problems(&batch)[1].contains("1 tests of signatures"));
}

#[test]
fn red_hat_running_kernels_and_fixes_without_module_test() {
    let packages = r#"<criteria operator="OR"><criterion test_ref="t:6"/></criteria><criterion test_ref="t:1"/>"#;
    let batch = of(&red_hat(packages, "oval:com.redhat.rhsa:def:20300001", ""));
    assert_eq!(shown(&batch.advisories[0]), ["rhel:8 nodejs(:)[aarch64|x86_64] <1:12.1-1.module+el8 Fixed"]);
    assert!(problems(&batch)[1].contains("1 tests of what kernel runs"));
}

#[test]
fn red_hat_without_fix_and_unaffected() {
    let both = r#"<criteria operator="OR"><criterion test_ref="t:3"/><criterion test_ref="t:7"/></criteria>"#;
    let resolution = "<affected><resolution state=\"Will not fix\"><component>nodejs:12/npm</component></resolution><resolution state=\"Under investigation\"><component>nodejs</component></resolution></affected>";
    let batch = of(&red_hat(both, "oval:com.redhat.cve:def:20300001", resolution));
    assert_eq!(
        shown(&batch.advisories[0]),
        ["rhel:8 nodejs UnderInvestigation (Under investigation)", "rhel:8 npm WillNotFix (Will not fix)"]
    );
    let batch = of(&red_hat(both, "oval:com.redhat.unaffected:def:20300001", ""));
    assert_eq!(shown(&batch.advisories[0]), ["rhel:8 nodejs NotAffected", "rhel:8 npm NotAffected"]);
}

#[test]
fn what_does_not_fit_is_left_out_with_its_place() {
    for (criteria, says) in [
        (criterion(1) + &criterion(2), "needs two packages at once (nodejs, npm), which no row decides"),
        (criterion(1).replace("<criterion", "<criterion negate=\"true\""), "is negated"),
        (criterion(77), "cannot be used"),
        (criterion(5), "names no package"),
        ("<criteria operator=\"XOR\">".to_owned() + &criterion(1) + &criterion(2) + "</criteria>", "counts its criteria"),
        ("<criteria operator=\"OR\">".to_owned() + &criterion(1) + &criterion(6) + "</criteria>", "an alternative that no package decides"),
    ] {
        let batch = of(&red_hat(&criteria, "oval:com.redhat.rhsa:def:20300001", ""));
        let told = problems(&batch);
        assert!(batch.advisories.is_empty() && batch.refused().count() == 1, "{told:?}");
        assert!(told.iter().any(|p| p.contains(says) && p.contains("oval:com.redhat.rhsa:def:20300001: refused")), "{says}: {told:?}");
    }
    // One alternative of two.
    let half = "<criteria operator=\"OR\">".to_owned() + &criterion(1) + &criterion(77) + "</criteria>";
    let batch = of(&red_hat(&half, "oval:com.redhat.rhsa:def:20300001", ""));
    assert_eq!(shown(&batch.advisories[0]).len(), 1);
    assert!(problems(&batch).iter().any(|p| p.contains("left out [oval]: `t:77` cannot be used")), "{:?}", problems(&batch));
}

const UBUNTU: &str = r#"<definitions>
<definition class="inventory" id="oval:com.ubuntu.bionic:def:100" version="1"><metadata><title>Ubuntu</title><description/></metadata><criteria><criterion test_ref="t:1" comment="The host is part of the unix family."/><criterion test_ref="t:2" comment="The host is running Ubuntu bionic."/></criteria></definition>
<definition class="vulnerability" id="oval:com.ubuntu.bionic:def:20301" version="1"><metadata><title>CVE-2030-1 on Ubuntu 18.04 LTS (bionic) - low.</title><description>Words</description>
<affected family="unix"><platform>Ubuntu 18.04 LTS</platform></affected><reference source="CVE" ref_id="CVE-2030-1" ref_url="https://example.com/1"/>
<advisory><severity>Low</severity><public_date>2030-01-02 03:04:00 UTC</public_date><ref>https://example.com/2</ref></advisory></metadata>
<criteria><extend_definition definition_ref="oval:com.ubuntu.bionic:def:100" comment="Ubuntu 18.04 LTS (bionic) is installed." applicability_check="true"/><criteria operator="OR">
<criterion test_ref="t:3" comment="gcc package in bionic was vulnerable but has been fixed (note: '4.8-1')."/>
<criterion test_ref="t:4" comment="cross package in bionic is affected and may need fixing."/>
<criterion test_ref="t:5" comment="old: while related to the CVE in some way, a decision has been made to ignore this issue (note: 'end-of-life')."/>
<criterion test_ref="t:6" comment="slow package in bionic is affected, but a decision has been made to defer addressing it (note: '2030-01-01')."/></criteria></criteria></definition>
<definition class="patch" id="oval:com.ubuntu.bionic:def:36001000000" version="1"><metadata><title>USN-3600-1 -- gcc vulnerabilities</title><description/>
<reference source="USN" ref_id="USN-3600-1" ref_url="https://example.com/3"/><reference source="CVE" ref_id="CVE-2030-2"/><reference source="CVE" ref_id="CVE-2030-1"/>
<advisory><severity>Medium</severity><issued date="2030-03-04"/></advisory></metadata><criteria><criterion test_ref="t:3"/></criteria></definition></definitions>
<tests><i:family_test id="t:1" version="1" check="at least one" comment="unix"><i:object object_ref="o:1"/><i:state state_ref="s:1"/></i:family_test>
<i:textfilecontent54_test id="t:2" version="1" check="at least one" comment="Is the host running Ubuntu bionic?"><i:object object_ref="o:2"/><i:state state_ref="s:2"/></i:textfilecontent54_test>
<l:dpkginfo_test id="t:3" version="1" check="at least one" comment="c"><l:object object_ref="o:3"/><l:state state_ref="s:3"/></l:dpkginfo_test>
<l:dpkginfo_test id="t:4" version="1" check="at least one" comment="c"><l:object object_ref="o:4"/></l:dpkginfo_test>
<l:dpkginfo_test id="t:5" version="1" check="at least one" comment="c"><l:object object_ref="o:5"/></l:dpkginfo_test>
<l:dpkginfo_test id="t:6" version="1" check="at least one" comment="c"><l:object object_ref="o:6"/></l:dpkginfo_test></tests>
<objects><i:family_object id="o:1" version="1"/><i:textfilecontent54_object id="o:2" version="1"><i:filepath>/etc/lsb-release</i:filepath><i:pattern operation="pattern match">=([a-z]+)$</i:pattern><i:instance datatype="int">1</i:instance></i:textfilecontent54_object>
<l:dpkginfo_object id="o:3" version="1"><l:name var_ref="v:1" var_check="at least one"/></l:dpkginfo_object><l:dpkginfo_object id="o:4" version="1"><l:name>cross</l:name></l:dpkginfo_object>
<l:dpkginfo_object id="o:5" version="1"><l:name>old</l:name></l:dpkginfo_object><l:dpkginfo_object id="o:6" version="1"><l:name>slow</l:name></l:dpkginfo_object></objects>
<states><i:family_state id="s:1" version="1"><i:family>unix</i:family></i:family_state><i:textfilecontent54_state id="s:2" version="1"><i:subexpression>bionic</i:subexpression></i:textfilecontent54_state>
<l:dpkginfo_state id="s:3" version="1"><l:evr datatype="debian_evr_string" operation="less than">0:4.8-1</l:evr></l:dpkginfo_state></states>
<variables><constant_variable id="v:1" version="1" datatype="string" comment="c"><value>g++</value><value>gcc</value></constant_variable></variables>"#;

#[test]
fn ubuntu_by_cve_and_by_notice() {
    let batch = of(UBUNTU);
    assert_eq!(problems(&batch), [] as [&str; 0]);
    let [cve, notice] = &batch.advisories[..] else { panic!("{:?}", batch.advisories) };
    assert_eq!((&*cve.id, &*notice.id), ("CVE-2030-1", "USN-3600-1"));
    assert_eq!(
        shown(cve),
        [
            "ubuntu:18.04 cross NoFix (may need fixing)",
            "ubuntu:18.04 g++ <4.8-1 Fixed",
            "ubuntu:18.04 gcc <4.8-1 Fixed",
            "ubuntu:18.04 old WillNotFix (end-of-life)",
            "ubuntu:18.04 slow NoFix (deferred 2030-01-01)",
        ]
    );
    assert_eq!(cve.published.map(|t| t.to_string()).as_deref(), Some("2030-01-02T03:04:00Z"));
    assert_eq!(cve.references, ["https://example.com/1".into(), "https://example.com/2".into()]);
    // No test and no `affected` says of which release the notice is: the namespace does.
    assert_eq!(shown(notice), ["ubuntu:18.04 g++ <4.8-1 Fixed", "ubuntu:18.04 gcc <4.8-1 Fixed"]);
    assert_eq!(notice.cves().collect::<Vec<_>>(), ["CVE-2030-1", "CVE-2030-2"]);
}

/// A definition over rpm tests of these numbers, packages and states.
fn rpms(id: &str, metadata: &str, criteria: &str, of: &[(u32, &str, &str, &str)]) -> String {
    let tests: String =
        of.iter().map(|(n, _, comment, state)| test("l:rpminfo", *n, comment, if state.is_empty() { "" } else { state })).collect();
    let objects: String = of.iter().map(|(n, name, ..)| rpm(*n, name)).collect();
    format!(
        r#"<definitions><definition class="patch" id="{id}" version="1"><metadata>{metadata}</metadata>{criteria}</definition></definitions><tests>{tests}</tests><objects>{objects}</objects>"#
    )
}

#[test]
fn suse_with_modules_of_the_release_and_unfixed_packages() {
    let metadata = r#"<title>CVE-2030-1</title><description/><affected family="unix"><platform>SUSE Linux Enterprise Server 15 SP6</platform></affected>
<reference ref_id="Mitre CVE-2030-1" source="CVE"/><reference ref_id="SUSE-SU-2030:1-1" source="SUSE-SU"/>
<advisory><severity>Moderate</severity><issued date="2030-01-01"/><cve cvss3="7.5/CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N">CVE-2030-1 at NVD</cve></advisory>"#;
    let criteria = r#"<criteria operator="OR"><criteria operator="AND"><criteria operator="OR"><criterion test_ref="t:1"/><criterion test_ref="t:2"/></criteria>
<criteria operator="OR"><criterion test_ref="t:4"/><criterion test_ref="t:5"/><criterion test_ref="t:6"/></criteria></criteria>
<criteria operator="AND"><criterion test_ref="t:3"/><criterion test_ref="t:4"/></criteria></criteria>"#;
    let body = rpms(
        "oval:org.opensuse.security:def:20301",
        metadata,
        criteria,
        &[
            (1, "sles-release", "SUSE Linux Enterprise Server 15 SP6 is installed", "r"),
            (2, "sled-release", "SUSE Linux Enterprise Desktop 15 SP6 is installed", "r"),
            (3, "openSUSE-release", "openSUSE Leap 15.6 is installed", "r"),
            (4, "wget", "wget-1.20-3.1 is installed", "b"),
            (5, "curl", "curl is affected", "any"),
            (6, "zsh", "zsh is not affected", "none"),
        ],
    );
    let states = format!(
        "<states>{}{}{}{}</states>",
        state("r", "<l:version>15.6</l:version>"),
        below("b", "(aarch64|x86_64)", "0:1.20-3.1"),
        state("any", r#"<l:evr datatype="evr_string" operation="greater than">0:0-0</l:evr>"#),
        state("none", "<l:version>0</l:version>"),
    );
    let batch = of(&(body + &states));
    assert_eq!(problems(&batch), [] as [&str; 0]);
    let advisory = &batch.advisories[0];
    assert_eq!((&*advisory.id, &*advisory.publisher, &*advisory.scores[0].by), ("CVE-2030-1", "SUSE", "NVD"));
    assert_eq!(advisory.related, ["SUSE-SU-2030:1-1".into()]);
    assert_eq!(
        shown(advisory),
        [
            "opensuse-leap:15.6 wget[aarch64|x86_64] <0:1.20-3.1 Fixed",
            "sled:15.6 curl NoFix",
            "sled:15.6 wget[aarch64|x86_64] <0:1.20-3.1 Fixed",
            "sles:15.6 curl NoFix",
            "sles:15.6 wget[aarch64|x86_64] <0:1.20-3.1 Fixed",
        ]
    );
}

#[test]
fn oracle_by_machine_and_photon() {
    let metadata = r#"<title>ELSA-2030-0001:  bash security update (MODERATE)</title><description/><affected family="unix"><platform>Oracle Linux 9</platform></affected>
<reference source="elsa" ref_id="ELSA-2030-0001" ref_url="https://example.com/e"/><reference source="CVE" ref_id="CVE-2030-1"/><advisory><severity>MODERATE</severity><issued date="2030-01-01"/></advisory>"#;
    let branch = |machine: u32| {
        format!(
            r#"<criteria operator="AND"><criterion test_ref="t:{machine}"/><criteria operator="AND"><criterion test_ref="t:4"/><criterion test_ref="t:5"/></criteria></criteria>"#
        )
    };
    let criteria = format!(
        r#"<criteria operator="AND"><criterion test_ref="t:1"/><criteria operator="OR">{}{}</criteria></criteria>"#,
        branch(2),
        branch(3)
    );
    let body = rpms(
        "oval:com.oracle.elsa:def:20300001",
        metadata,
        &criteria,
        &[
            (1, "oraclelinux-release", "Oracle Linux 9 is installed", "r"),
            (2, "oraclelinux-release", "Oracle Linux arch is x86_64", "x"),
            (3, "oraclelinux-release", "Oracle Linux arch is aarch64", "a"),
            (4, "bash", "bash is earlier than 0:5.1-9.el9", "b"),
            (5, "bash", "bash is signed with the Oracle Linux 9 key", "k"),
        ],
    );
    let arch = |name| format!(r#"<l:arch operation="pattern match">{name}</l:arch>"#);
    let states = format!(
        "<states>{}{}{}{}{}</states>",
        state("r", r#"<l:version operation="pattern match">^9</l:version>"#),
        state("x", &arch("x86_64")),
        state("a", &arch("aarch64")),
        below("b", "", "0:5.1-9.el9"),
        state("k", r#"<l:signature_keyid operation="equals">bc4d06a08d8b756f</l:signature_keyid>"#),
    );
    let batch = of(&(body + &states));
    let advisory = &batch.advisories[0];
    assert_eq!((&*advisory.id, &*advisory.publisher), ("ELSA-2030-0001", "Oracle"));
    assert_eq!(shown(advisory), ["ol:9 bash[aarch64|i386|i486|i586|i686|noarch|x86_64] <0:5.1-9.el9 Fixed"]);

    let metadata = r#"<title>PHSA-2030-4.0-0001</title><description/><affected family="unix"><platform>Photon OS 4.0</platform></affected><reference source="CVE" ref_id="CVE-2030-1"/>"#;
    let criteria = r#"<criteria operator="AND"><criterion test_ref="t:1"/><criterion test_ref="t:4"/></criteria>"#;
    let of_photon = [(1, "photon-release", "", "r"), (4, "curl", "curl is earlier than 0:7.8-1.ph4", "b")];
    let states = format!(
        "<states>{}{}</states>",
        state("r", r#"<l:version operation="pattern match">^4\.0</l:version>"#),
        below("b", "", "0:7.8-1.ph4")
    );
    let batch = of(&(rpms("oval:com.vmware.phsa:def:1", metadata, criteria, &of_photon) + &states));
    assert_eq!(problems(&batch), [] as [&str; 0]);
    assert_eq!((&*batch.advisories[0].id, &*batch.advisories[0].publisher), ("PHSA-2030-4.0-0001", "Photon"));
    assert_eq!(shown(&batch.advisories[0]), ["photon:4.0 curl <0:7.8-1.ph4 Fixed"]);
}

#[test]
fn two_conditions_on_one_version_are_a_range() {
    let metadata = r#"<title>X-1</title><description/><affected family="unix"><platform>Rocky Linux 9</platform></affected>"#;
    let criteria = r#"<criteria operator="AND"><criterion test_ref="t:1"/><criterion test_ref="t:2"/></criteria>"#;
    let tests = [(1, "bash", "from", "from"), (2, "bash", "below", "b")];
    let from = state("from", r#"<l:evr datatype="evr_string" operation="greater than or equal">0:5-1</l:evr>"#);
    let batch = of(&(rpms("oval:x:def:1", metadata, criteria, &tests) + &format!("<states>{from}{}</states>", below("b", "", "0:5-9"))));
    assert_eq!(shown(&batch.advisories[0]), ["rocky:9 bash >=0:5-1 <0:5-9 Fixed"]);
}

/// Alternatives of alternatives: eight ANDs of ten ORs would be a hundred million ways.
#[test]
fn what_multiplies_is_bounded() {
    let metadata = r#"<title>X-1</title><description/><affected family="unix"><platform>Rocky Linux 9</platform></affected>"#;
    let or = format!("<criteria operator=\"OR\">{}</criteria>", "<criterion test_ref=\"t:1\"/>".repeat(10));
    let criteria = format!("<criteria operator=\"AND\">{}</criteria>", or.repeat(8));
    let limits = Limits { feed_rows: 100_000, ..Limits::default() };
    let body =
        rpms("oval:x:def:1", metadata, &criteria, &[(1, "bash", "below", "b")]) + &format!("<states>{}</states>", below("b", "", "0:5-9"));
    let batch = batch(&body, &limits);
    assert!(batch.advisories.is_empty());
    assert_eq!(batch.problems[0].code, "limit");
}

#[test]
fn other_documents_are_refused() {
    for (bytes, says) in [
        (&b"<html/>"[..], "refused [oval]: <html> is not OVAL"),
        (b"<oval_definitions", "refused [xml]"),
        (b"\xff\xfe", "refused [xml]: not UTF-8 text: byte 0"),
    ] {
        let limits = Limits::default();
        let mut batch = Batch::new(&limits);
        read("it.xml", bytes, &limits, &mut batch);
        assert!(batch.advisories.is_empty() && problems(&batch)[0].contains(says), "{:?}", problems(&batch));
    }
    let compliance = of(
        r#"<definitions><definition class="compliance" id="d:1" version="1"><metadata><title>t</title></metadata></definition></definitions>"#,
    );
    assert!(problems(&compliance)[0].contains("judged as SCAP"));
}
