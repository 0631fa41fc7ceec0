//! The orders of versions held against the tools that define them: dpkg and rpm here, over every pair of two lists, over what is installed, and over
//! the versions of real feeds where `MUSTER_DATA` says where they are; those of languages in a file of their own.
//!
//! A tool that is not installed is skipped with a line on stderr, or fails if `MUSTER_REQUIRE_PEERS` is set.

#![expect(clippy::unwrap_used, reason = "the allowance for tests stops at helper functions of an integration test")]

use std::cmp::Ordering;
use std::io::Write;
use std::process::{Command, Stdio};

use muster::version::Scheme;

mod languages;

const DPKG: &[&str] = &[
    "0",
    "0~",
    "0~~",
    "00",
    "0.0",
    "0-0",
    "0:0-0",
    "1",
    "01",
    "1.",
    "1-",
    "1-0",
    "1-0.0",
    "1~",
    "1~~",
    "1~~a",
    "1~a",
    "1~-1",
    "1-1~",
    "1a",
    "1b",
    "1A",
    "1Z",
    "1a1",
    "1a01",
    "1a1b",
    "1+",
    "1+a",
    "1+b1",
    "1.a",
    "1.~",
    "1..0",
    "1.0",
    "1.00",
    "1.0.0",
    "1.0a",
    "1.0-1",
    "1.0-01",
    "1.0-1.1",
    "1.0-1+b1",
    "1.0-1+deb12u1",
    "1.0-1~bpo12+1",
    "1.0-1-1",
    "1.0~rc1-1",
    "1.0+dfsg-1",
    "1.0+git20240101.abcdef0-1",
    "1.2.3",
    "1.02.3",
    "1.10",
    "1.9",
    "10",
    "9",
    "99999999999999999999998",
    "99999999999999999999999",
    "099999999999999999999999",
    "1:0",
    "1:0.9-1",
    "01:0.9-1",
    "2:1.0",
    "10:1.0",
    "2147483647:1",
    "2147483648:1",
    "1:2:3",
    "1_0",
    "a",
    "a1",
    "~1",
    "+1",
    ":1",
    "1:",
    "x:1",
    "-1",
];

const RPM: &[&str] = &[
    "0",
    "00",
    "0~",
    "1",
    "01",
    "1.",
    "1.0",
    "1.00",
    "1_0",
    "1..0",
    "1.0.0",
    "1.0a",
    "1.0.a",
    "1.0b",
    "1.0B",
    "1.0ab",
    "1.0a.b",
    "1.0a1",
    "1.0a01",
    "1a",
    "a1",
    "a",
    "aa",
    "1.0~",
    "1.0~~",
    "1.0~rc1",
    "1.0~rc2",
    "1.0~rc10",
    "1.0~rc1^git1",
    "1.0~^",
    "1.0^",
    "1.0^^",
    "1.0^~",
    "1.0^git1",
    "1.0^git1~pre",
    "1.0^20240101",
    "1.0.1^",
    "1.0+",
    "1.0+git",
    "1.9",
    "1.10",
    "99999999999999999999998",
    "99999999999999999999999",
    "1-1",
    "1-01",
    "1-1.fc40",
    "1-2.fc40",
    "1-10.fc40",
    "1-1.el9_3",
    "1-1.el9_3.1",
    "1-1~rc",
    "1-1^post",
    "1:1",
    "0:1",
    "0:1-1",
    "2:0.1-1",
    "10:0.1-1",
    "1:1.0~rc1-1.fc40",
    "5.14.0-362.8.1.el9_3",
    "5.14.0-427.el9",
    "\u{e9}1",
];

/// Text of a program that reads `input`; `None` if there is no such program and none is required.
fn peer(program: &str, args: &[&str], input: &str) -> Option<String> {
    let spawned = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            skip(&format!("{program}: {error}"));
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // In a thread: the output may fill its pipe before the input is read.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{program}: {}", output.status);
    Some(String::from_utf8(output.stdout).unwrap())
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn skip(why: &str) {
    assert!(std::env::var_os("MUSTER_REQUIRE_PEERS").is_none(), "MUSTER_REQUIRE_PEERS is set: {why}");
    eprintln!("skipped: {why}");
}

fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        skip(&format!("{program} is not installed"));
    }
    found.is_ok()
}

/// Every two of the list, and each with itself.
fn pairs<'a>(list: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    list.iter().enumerate().flat_map(|(i, a)| list[i..].iter().map(|b| (*a, *b))).collect()
}

#[test]
fn dpkg_orders_and_takes_versions_as_we_do() {
    if !installed("dpkg") {
        return;
    }
    let packages = peer("dpkg-query", &["-W", "-f", "${Version}\n"], "").unwrap_or_default();
    let packages: Vec<&str> = packages.lines().filter(|v| !v.is_empty()).collect();
    // What dpkg refuses to read, it does not order.
    let read: Vec<&str> = DPKG.iter().copied().filter(|v| !["1-", ":1", "1:", "x:1", "-1", "2147483648:1"].contains(v)).collect();
    let mut asked = pairs(&read);
    asked.extend(packages.windows(2).take(300).map(|two| (two[0], two[1])));
    // Our answer goes along, so that one process confirms or denies a pair.
    let mut lines: Vec<String> = asked
        .iter()
        .map(|(a, b)| match Scheme::Dpkg.compare(a, b) {
            Ordering::Less => format!("{a} lt {b}"),
            Ordering::Equal => format!("{a} eq {b}"),
            Ordering::Greater => format!("{a} gt {b}"),
        })
        .collect();
    let compare = r#"while read -r a op b; do dpkg --compare-versions "$a" "$op" "$b" || echo "$a $op $b"; done"#;
    // Two shells: starting a process is all the time that this takes.
    let second = lines.split_off(lines.len() / 2);
    let wrong = std::thread::scope(|scope| {
        let halves = [lines, second].map(|half| scope.spawn(move || peer("sh", &["-c", compare], &(half.join("\n") + "\n")).unwrap()));
        halves.map(|half| half.join().unwrap()).concat()
    });
    assert_eq!(wrong, "", "dpkg denies these");

    let all: Vec<&str> = DPKG.iter().chain(packages.iter().take(100)).copied().collect();
    let validate = r#"while read -r v; do dpkg --validate-version -- "$v" && echo "$v"; done; true"#;
    let taken = peer("sh", &["-c", validate], &(all.join("\n") + "\n")).unwrap();
    let ours: Vec<&str> = all.into_iter().filter(|v| Scheme::Dpkg.accepts(v)).collect();
    assert_eq!(taken.lines().collect::<Vec<_>>(), ours);
}

#[test]
fn rpm_orders_versions_as_we_do() {
    if !installed("rpm") {
        return;
    }
    rpm_agrees(RPM);
}

fn rpm_agrees(versions: &[&str]) {
    let asked = pairs(versions);
    let list = versions.iter().map(|v| format!("\"{v}\"")).collect::<Vec<_>>().join(",");
    // In one expression, with the pairs in the order of `pairs`. rpm expands macros first, and none of the versions has a percent sign.
    let script = format!("%{{lua: local v={{{list}}} for i=1,#v do for j=i,#v do print(rpm.vercmp(v[i],v[j]) .. \" \") end end}}");
    let Some(answer) = peer("rpm", &["--eval", &script], "") else { return };
    let theirs: Vec<Ordering> = answer.split_whitespace().map(|n| n.parse::<i32>().unwrap().cmp(&0)).collect();
    assert_eq!(theirs.len(), asked.len());
    let wrong: Vec<_> = asked.iter().zip(theirs).filter(|((a, b), theirs)| Scheme::Rpm.compare(a, b) != *theirs).collect();
    assert!(wrong.is_empty(), "rpm says otherwise: {wrong:?}");
}

/// Text of an archive's members in a feed's folder, if there is one.
fn feed(name: &str, members: &[&str]) -> Option<String> {
    let Some(data) = std::env::var_os("MUSTER_DATA") else {
        skip_data(name);
        return None;
    };
    let archive = std::path::Path::new(&data).join("feeds").join(name);
    if !archive.exists() {
        skip_data(name);
        return None;
    }
    let archive = archive.display().to_string();
    peer("tar", &[&["-xzOf", archive.as_str()][..], members].concat(), "")
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn skip_data(name: &str) {
    eprintln!("without real data: MUSTER_DATA has no feeds/{name}");
}

/// Every few of the distinct ones, in our order.
fn sample(scheme: Scheme, versions: impl Iterator<Item = String>, most: usize) -> Vec<String> {
    let distinct: std::collections::BTreeSet<String> = versions.collect();
    let step = distinct.len().div_ceil(most).max(1);
    let mut out: Vec<String> = distinct.into_iter().step_by(step).collect();
    out.sort_by(|a, b| scheme.compare(a, b));
    out
}

#[test]
fn dpkg_orders_the_versions_of_security_advisories_as_we_do() {
    if !installed("dpkg") {
        return;
    }
    let Some(lists) = feed("debian-dsa-dla.tar.gz", &["data/DSA/list", "data/DLA/list"]) else { return };
    let fixed = lists.lines().filter_map(|line| line.trim().strip_prefix('[')?.split_once("] - ")?.1.split_whitespace().nth(1));
    let fixed = fixed.filter(|v| v.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned);
    let versions = sample(Scheme::Dpkg, fixed, 2000);
    assert!(versions.len() > 1000, "{} versions", versions.len());
    // Both orders are transitive, so neighbours say it all.
    let lines: String = versions
        .windows(2)
        .map(|two| format!("{} {} {}\n", two[0], if Scheme::Dpkg.compare(&two[0], &two[1]).is_eq() { "eq" } else { "lt" }, two[1]))
        .collect();
    let compare = r#"while read -r a op b; do dpkg --compare-versions "$a" "$op" "$b" || echo "$a $op $b"; done"#;
    assert_eq!(peer("sh", &["-c", compare], &lines).unwrap(), "", "dpkg denies these");
}

#[test]
fn rpm_orders_the_versions_of_advisories_as_we_do() {
    if !installed("rpm") {
        return;
    }
    let Some(advisories) = feed("alma-osv.tar.gz", &[]) else { return };
    let fixed = advisories.lines().filter_map(|line| line.trim().strip_prefix("\"fixed\": \"")?.split('"').next());
    let versions = sample(Scheme::Rpm, fixed.map(str::to_owned), 1000);
    assert!(versions.len() > 500, "{} versions", versions.len());
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    rpm_agrees(&versions);
}
