//! The orders of PyPI, RubyGems, Maven and Arch held against `packaging`, `Gem::Version`, Maven's `ComparableVersion` and libalpm: every pair of versions
//! that are put together here from what each grammar has.

use std::cmp::Ordering;
use std::path::Path;
use std::process::{Command, Stdio};

use muster::version::Scheme;
use muster::version::arch::compare_dependency;

use super::{peer, skip};

/// Each beginning with each ending.
fn product(beginnings: &[&str], endings: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = beginnings.iter().flat_map(|b| endings.iter().map(move |e| format!("{b}{e}"))).collect();
    out.sort();
    out.dedup();
    out
}

/// The answers of a peer that reads versions by line and writes a line for each: `<`, `=` or `>` for how it compares with every one of them, `.` where it
/// takes one of both for no version.
fn table(program: &str, args: &[&str], versions: &[String]) -> Option<Vec<Vec<u8>>> {
    let answer = peer(program, args, &versions.join("\n"))?;
    let rows: Vec<Vec<u8>> = answer.lines().map(|line| line.as_bytes().to_vec()).collect();
    assert!(rows.len() == versions.len() && rows.iter().all(|r| r.len() == versions.len()), "{program} left out some");
    Some(rows)
}

fn sign(order: Ordering) -> u8 {
    match order {
        Ordering::Less => b'<',
        Ordering::Equal => b'=',
        Ordering::Greater => b'>',
    }
}

/// Holds every pair, and what the peer takes, against ours.
fn hold(scheme: Scheme, versions: &[String], theirs: &[Vec<u8>]) {
    let mut wrong = Vec::new();
    for (i, a) in versions.iter().enumerate() {
        assert_eq!(scheme.accepts(a), theirs[i][i] == b'=', "{scheme} {a:?}");
        for (j, b) in versions.iter().enumerate() {
            let answer = char::from(theirs[i][j]);
            if answer != '.' && sign(scheme.compare(a, b)) != theirs[i][j] {
                wrong.push(format!("{a} {answer} {b}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{scheme}: the peer says otherwise {} times, first {:?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}

/// A Python that has what the program needs: Debian's modules are its own Python's.
fn python(needs: &str) -> Option<&'static str> {
    let has = |python: &&str| {
        let ran = Command::new(python).args(["-c", needs]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has);
    if found.is_none() {
        skip(&format!("no Python that can `{needs}`"));
    }
    found
}

#[test]
fn pypi_orders_and_takes_versions_as_packaging_does() {
    let Some(python) = python("from packaging.version import Version") else { return };
    let beginnings = ["0", "1", "1.0", "v1.0.0", "1.0.1", "01.1", "1.10", "2024.1", "1!0.1", "99999999999999999999", "a", ""];
    let endings = [
        "",
        "a",
        "a1",
        ".b2",
        "-RC.3",
        "pre",
        "_preview_4",
        "c0",
        ".post",
        "-1",
        "-r2",
        ".rev3",
        ".dev",
        ".dev0",
        "a1.dev2",
        "rc1.post2.dev3",
        ".post1.dev1",
        "+abc",
        "+1",
        "+a.1",
        "+A-b_2",
        "+10",
        ".x",
        "-",
        ".",
        "+",
        "a.",
        "-1-2",
        " ",
        "!1",
        "rc-",
        "a1b2",
    ];
    let script = "import sys
from packaging.version import Version, InvalidVersion
def read(text):
    try: return Version(text)
    except InvalidVersion: return None
vs = [read(line) for line in sys.stdin.read().split('\\n')]
for a in vs: print(''.join('.' if a is None or b is None else '<' if a < b else '>' if a > b else '=' for b in vs))";
    let versions = product(&beginnings, &endings);
    let Some(theirs) = table(python, &["-c", script], &versions) else { return };
    hold(Scheme::Pep440, &versions, &theirs);
}

#[test]
fn rubygems_orders_and_takes_versions_as_we_do() {
    let beginnings = ["0", "1", "1.0", "1.0.0", "1.0.1", "1.01", "1.10", "2.0.0.0", "20240101", "1.a", "1.0.b.0", "x"];
    let endings = [
        "",
        ".a",
        ".b1",
        ".pre",
        ".pre.1",
        ".rc.0",
        ".rc.0.0.1",
        ".a.0.b",
        ".0",
        ".0.0",
        "-1",
        "-x86",
        "-a.b-c",
        ".B",
        "a",
        ".",
        "-",
        "..1",
        "+1",
        " ",
        ".10.beta.2",
    ];
    let script = "vs = STDIN.read.split(\"\\n\", -1).map { |t| Gem::Version.correct?(t) && !t.empty? ? Gem::Version.new(t) : nil }
vs.each { |a| puts vs.map { |b| a && b ? '<=>'[(a <=> b) + 1] : '.' }.join }";
    let versions = product(&beginnings, &endings);
    let Some(theirs) = table("ruby", &["-e", script], &versions) else { return };
    hold(Scheme::Rubygems, &versions, &theirs);
}

#[test]
fn arch_orders_versions_as_we_do() {
    let Some(python) = python("import ctypes, ctypes.util; ctypes.CDLL(ctypes.util.find_library('alpm') or '-').alpm_pkg_vercmp") else {
        return;
    };
    let beginnings =
        ["0", "1", "1.0", "1_0", "1.00.0", "1.10", "1..0", "1.0a", "1.0.a", "20240101", "1:0", ":1.0", "0:1.0.1", "a", "1.0+b"];
    let endings =
        ["", "a", "b2", "rc1", ".rc1", "rc10", "..x", ".1", ".r15.gabcdef", "~1", "^1", "-1", "-2", "-1.1", "-10", "-a", "a-1", ".0-1"];
    let script = "import ctypes, ctypes.util, sys
alpm = ctypes.CDLL(ctypes.util.find_library('alpm'))
vs = [line.encode() for line in sys.stdin.read().split('\\n')]
for a in vs: print(''.join('<=>'[alpm.alpm_pkg_vercmp(a, b) + 1] for b in vs))";
    let versions = product(&beginnings, &endings);
    let Some(theirs) = table(python, &["-c", script], &versions) else { return };
    for (i, a) in versions.iter().enumerate() {
        for (j, b) in versions.iter().enumerate() {
            let (asked, theirs) = (format!("{a} {} {b}", char::from(theirs[i][j])), theirs[i][j]);
            // vercmp takes a missing release for any, which makes no order.
            assert_eq!(sign(compare_dependency(a, b)), theirs, "{asked}");
            if a.contains('-') == b.contains('-') {
                assert_eq!(sign(Scheme::Arch.compare(a, b)), theirs, "{asked}");
            }
        }
    }
}

/// Where Debian's packages put Maven's class.
const MAVEN: &str = "/usr/share/java/maven-artifact-3.x.jar:/usr/share/java/commons-lang3.jar";

#[test]
fn maven_orders_versions_as_we_do() {
    if !MAVEN.split(':').all(|jar| Path::new(jar).exists()) {
        skip("Maven's ComparableVersion is not installed");
        return;
    }
    let beginnings = ["1", "1.0", "1.0.0", "1.0.1", "1.10", "2.0-1", "20240101"];
    // Without a qualifier between dots and a number after it: there Maven's implementations have cycles.
    let endings = [
        "",
        "-alpha",
        "-alpha-1",
        "-a2",
        "-BETA3",
        "-beta-10",
        "-milestone-1",
        "-M2",
        "-rc1",
        "-CR2",
        "-SNAPSHOT",
        "-rc1-SNAPSHOT",
        ".Final",
        "-ga",
        "-RELEASE",
        "-sp",
        "-sp1",
        "-jre",
        "-android",
        "-redhat-1",
        ".Final-redhat-00002",
        "-1",
        "-20240101.120000-1",
        "b",
        "_1",
    ];
    let versions = product(&beginnings, &endings);
    let mut args = vec!["-cp", MAVEN, "org.apache.maven.artifact.versioning.ComparableVersion"];
    // The program compares each argument with the one before.
    for (i, a) in versions.iter().enumerate() {
        args.extend(versions[i..].iter().flat_map(|b| [a.as_str(), b.as_str()]));
    }
    let Some(answer) = peer("java", &args, "") else { return };
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in answer.lines() {
        if let [a, op @ ("<" | "==" | ">"), b] = line.split_whitespace().collect::<Vec<_>>()[..] {
            compared += 1;
            if !op.as_bytes().starts_with(&[sign(Scheme::Maven.compare(a, b))]) {
                wrong.push(format!("{a} {op} {b}"));
            }
        }
    }
    assert!(compared > versions.len() * versions.len() / 2, "{compared} comparisons");
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "Maven says otherwise {} times, first {:?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}
