//! AlmaLinux's OSV and Debian's DSA and DLA lists over real and made package lists, against `evaluate.py`, which orders versions with `rpm` and `dpkg` only.

use std::path::Path;
use std::process::Command;

use muster::feed::model::{Advisory, End, Target};
use muster::feed::{debian, osv};
use muster::scan::Row;

use super::{Dice, Fixed, Installed, asked, bytes, catalog, data, differences, pairs, peers, read, script, straight};

/// Versions near `fixed`: below, at and above it, also by what only the order of the packaging system tells apart.
fn near(dice: &mut Dice, fixed: &str) -> String {
    match dice.below(9) {
        0 | 1 => fixed.to_owned(),
        2 => format!("{fixed}~1"),
        3 => format!("{fixed}.1"),
        4 => format!("{fixed}+b1"),
        5 if !fixed.contains(':') => format!("1:{fixed}"),
        6 => fixed.split_once(':').map_or(fixed, |(_, v)| v).to_owned(),
        // `1.2.9-3` -> `1.2.8-3`: the first digit that can be made smaller.
        7 => {
            let first = fixed.chars().position(|c| ('1'..='9').contains(&c));
            let smaller = |c: char| char::from_digit(c.to_digit(10).unwrap() - 1, 10).unwrap();
            fixed.chars().enumerate().map(|(at, c)| if Some(at) == first { smaller(c) } else { c }).collect()
        }
        _ => fixed.replacen('.', ".0", 1),
    }
}

/// What the fixes of a feed are: by platform, module and name.
fn fixes(advisories: &[Advisory]) -> std::collections::BTreeMap<(String, String), Fixed> {
    let mut found = std::collections::BTreeMap::<(String, String), Fixed>::new();
    for entry in advisories.iter().flat_map(|a| &a.affected) {
        let (Target::Package(package), [range]) = (&entry.target, &entry.versions.ranges[..]) else { continue };
        let (Some(platform), End::Before(fixed)) = (&package.platform, &range.end) else { continue };
        let module = package.module.as_ref().map_or(String::new(), |m| format!("{}:{}", m.name, m.stream));
        let of = found.entry((format!("{}:{}", platform.id, platform.version), module)).or_default();
        of.entry(package.name.to_string()).or_default().push(fixed.to_string());
    }
    found
}

/// `count` packages that the feed knows, in versions near those that it names.
pub(super) fn made(dice: &mut Dice, advisories: &[Advisory], count: usize) -> Vec<Installed> {
    let fixes: Vec<_> = fixes(advisories).into_iter().collect();
    let mut list = Vec::new();
    while list.len() < count {
        let ((release, module), of) = dice.one(&fixes).clone();
        let names: Vec<&String> = of.keys().collect();
        let name = (*dice.one(&names)).clone();
        let fixed = dice.one(&of[&name]).clone();
        let version = near(dice, &fixed);
        // A module is told by rows of later collectors only; `:` is one that the feed does not name.
        let module = if module == ":" || dice.below(4) == 0 { String::new() } else { module };
        list.push(Installed { name: name.clone(), version, arch: "x86_64".into(), release, module, ..Installed::default() });
    }
    list.sort();
    list.dedup();
    list
}

fn check(kind: &str, feed: &Path, format: &str, advisories: &[Advisory], list: &[Installed], least: usize) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), list.iter().map(|p| p.line() + "\n").collect::<String>()).unwrap();
    let theirs = pairs(&script("evaluate.py", &[kind, feed.to_str().unwrap(), file.path().to_str().unwrap()]));
    assert!(theirs.len() >= least, "{} found, of at least {least}", theirs.len());
    let rows: Vec<Row> = list.iter().map(|p| p.row(format)).collect();
    assert_eq!(differences(&straight::affected(advisories, &rows), &theirs), [""; 0]);
    assert_eq!(differences(&asked(&catalog(advisories), &rows), &theirs), [""; 0]);
}

#[test]
fn almalinux() {
    let Some(data) = data() else { return };
    if !peers(&["python3", "rpm"]) {
        return;
    }
    let advisories = read(osv::read, "alma", &bytes(&data, "feeds/alma-osv.tar.gz")).advisories;
    let mut list = made(&mut Dice(1), &advisories, 3000);
    // One name at several versions at once, and packages that no advisory knows.
    for (name, version) in [("nodejs", "1:10.24.0-1.el8"), ("nobody", "1-1")] {
        list.push(Installed {
            name: name.into(),
            version: version.into(),
            arch: "x86_64".into(),
            release: "almalinux:8.10".into(),
            ..Installed::default()
        });
    }
    // A stream that no advisory is about.
    let node = "1:1.0-1.module_el8.1.0+1+abc";
    list.push(Installed {
        name: "nodejs".into(),
        version: node.into(),
        release: "almalinux:8".into(),
        module: "nodejs:7".into(),
        ..Installed::default()
    });
    check("alma", &data.join("feeds/alma-osv.tar.gz"), "rpm", &advisories, &list, 5000);
}

/// `dpkg -l` names no sources: names are taken for them, which is what a package without `Source` means.
fn dpkg_l(text: &str, release: &str) -> Vec<Installed> {
    let lines = text.lines().filter(|l| l.starts_with("ii "));
    let fields = lines.map(|l| l.split_whitespace().collect::<Vec<_>>());
    let package = |f: Vec<&str>| Installed {
        name: f[1].split(':').next().unwrap().into(),
        version: f[2].into(),
        arch: f[3].into(),
        release: release.into(),
        ..Installed::default()
    };
    fields.map(package).collect()
}

/// The packages of the machine that the test runs on, with their sources.
fn here(release: &str) -> Vec<Installed> {
    let format = "${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n";
    let output = Command::new("dpkg-query").args(["-W", "-f", format]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|l| Installed::parse(&format!("{l}\t{release}\t"))).collect()
}

#[test]
fn debian_lists() {
    let Some(data) = data() else { return };
    if !peers(&["python3", "dpkg"]) {
        return;
    }
    let feed = data.join("feeds/debian-dsa-dla.tar.gz");
    let advisories = read(debian::read_list, "debian", &bytes(&data, "feeds/debian-dsa-dla.tar.gz")).advisories;
    let real = String::from_utf8(bytes(&data, "inventories/debian-bookworm-707.dpkg-l.txt")).unwrap();
    // The lists end in March 2023, before bookworm: on their own release both hosts are not in it at all; as a bullseye they are past most of its fixes.
    for release in ["debian:12", "debian:11"] {
        let host = dpkg_l(&real, release);
        assert_eq!(host.len(), 707);
        check("debian", &feed, "deb", &advisories, &host, 0);
        check("debian", &feed, "deb", &advisories, &here(release), 0);
    }
    check("debian", &feed, "deb", &advisories, &made(&mut Dice(2), &advisories, 1200), 1000);
    // Binary packages of another version than their source.
    let mut built = made(&mut Dice(3), &advisories, 300);
    for package in &mut built {
        let binary = format!("lib{}1", package.name);
        package.source = std::mem::replace(&mut package.name, binary);
        package.source_version = std::mem::replace(&mut package.version, "9:1-1".into());
    }
    check("debian", &feed, "deb", &advisories, &built, 200);
}
