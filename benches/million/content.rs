//! What the daemon of `million` is given: 1,000 checks, 300,000 advisories about what its fleet has, and a configuration that names them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use muster::limits::Limits;
use muster::scan::table::TableId;
use muster::scan::{Row, TableData, native};
use muster::simulate::fleet::Fleet;
use serde_json::json;

const CHECKS: usize = 1_000;
const ADVISORIES: usize = 300_000;
const FILES: usize = 10;
/// Machines of the fleet that are looked at for what there is.
const SAMPLE: u32 = 2_000;

/// Source packages of the fleet by ecosystem and name, each with its versions.
type Versions = BTreeMap<(&'static str, String), BTreeSet<String>>;

/// Writes everything into a folder, beside the data.
pub(super) fn write(folder: &Path, fleet: &Fleet, listen: &str) {
    let (mut versions, mut settings) = (Versions::new(), BTreeSet::new());
    for number in 0..SAMPLE {
        look(&fleet.facts(number * 7, number % 3).document(), &mut versions, &mut settings);
    }
    println!("  {} source packages, {} settings in {SAMPLE} machines", versions.len(), settings.len());
    let rules = folder.join("rules");
    let written = rules_of(&rules, &versions, &settings);
    advisories(folder, &versions);
    let linux = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/linux-server");
    let files: Vec<String> = (0..FILES).map(|n| format!("advisories-{n}.zip")).collect();
    let config = format!(
        "data = \"data\"\nlisten = {}\npacks = {}\n\n[[feed]]\nname = \"made\"\nformat = \"osv\"\npath = {}\nevery = \"366d\"\n",
        json!(listen),
        json!([linux, rules]),
        json!(files)
    );
    std::fs::write(folder.join("muster.toml"), config).unwrap();
    println!("  {} checks, {ADVISORIES} advisories", written + std::fs::read_dir(linux).unwrap().count() - 1);
}

fn look(document: &[u8], versions: &mut Versions, settings: &mut BTreeSet<(String, String)>) {
    let (_, scan) = native::decode_scan(document, &Limits::default()).unwrap();
    let rows = |name: &str| match TableId::by_name(name).and_then(|t| scan.tables.get(&t)) {
        Some(TableData::Rows(rows)) => rows.as_slice(),
        _ => &[],
    };
    let text = |row: &Row, column: &str| row.get(column).as_str().unwrap_or_default().to_owned();
    for row in rows("package") {
        let ecosystem = match text(row, "release").as_str() {
            "debian:12" => "Debian:12",
            "debian:13" => "Debian:13",
            "ubuntu:22.04" => "Ubuntu:22.04:LTS",
            "ubuntu:24.04" => "Ubuntu:24.04:LTS",
            _ => continue,
        };
        let (version, source) = (text(row, "version"), text(row, "source"));
        let version = Some(text(row, "source_version")).filter(|v| !v.is_empty()).unwrap_or(version);
        versions.entry((ecosystem, source)).or_default().insert(version);
    }
    settings.extend(rows("sysctl").iter().map(|row| (text(row, "key"), text(row, "value"))));
}

/// Rule files beside those of `rules/linux-server`; JSON is YAML.
fn rules_of(folder: &Path, versions: &Versions, settings: &BTreeSet<(String, String)>) -> usize {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("pack.yaml"), "id: made\ntitle: Made\nversion: 1.0.0\ndescription: Made to have a thousand.\n").unwrap();
    let there = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/linux-server")).unwrap().count() - 1;
    let (packages, settings): (Vec<_>, Vec<_>) = (versions.iter().collect(), settings.iter().collect());
    let count = CHECKS.saturating_sub(there);
    for number in 0..count {
        let ((_, source), of) = packages[number * 97 % packages.len()];
        let (key, value) = settings[number * 31 % settings.len()];
        let version = of.last().map_or("1", String::as_str);
        let (check, passes, fails) = match number % 3 {
            0 => (
                format!("sysctl[{}] == {}", json!(key), json!(value)),
                json!({"sysctl": [{"key": key, "value": value}]}),
                json!({"sysctl": [{"key": key, "value": format!("{value}x")}]}),
            ),
            1 => (
                format!("!package.exists(p, p.name == {})", json!(format!("{source}-unwanted"))),
                json!({"package": []}),
                json!({"package": [{"name": format!("{source}-unwanted")}]}),
            ),
            _ => (
                format!("package.all(p, p.name != {} || p.version.dpkg() >= dpkg({}))", json!(source), json!(version)),
                json!({"package": []}),
                json!({"package": [{"name": source, "version": "0~~"}]}),
            ),
        };
        let id = format!("made-{number:04}");
        let rule = json!({
            "id": id, "title": "Made", "severity": "low", "platforms": ["linux"], "rationale": "Made to have a thousand.", "check": check,
            "missing": "fail", "remediation": "None.", "tests": [{"pass": passes}, {"fail": fails}],
        });
        // What is not read is left out: an optional field that the check does not need is an error.
        let mut rule = rule;
        if number % 3 == 1 {
            rule.as_object_mut().unwrap().remove("missing");
        }
        std::fs::write(folder.join(format!("{id}.yaml")), serde_json::to_string_pretty(&rule).unwrap()).unwrap();
    }
    count
}

/// OSV archives: every version of every source package mends something, and the oldest one most, so that a machine lacks what came after its patch level.
fn advisories(folder: &Path, versions: &Versions) {
    let all: Vec<(&str, &str, Vec<&String>)> =
        versions.iter().map(|((ecosystem, name), of)| (*ecosystem, name.as_str(), of.iter().collect())).collect();
    let mut number = 0;
    for file in 0..FILES {
        let to = std::fs::File::create(folder.join(format!("advisories-{file}.zip"))).unwrap();
        let mut zip = zip::ZipWriter::new(std::io::BufWriter::new(to));
        for _ in 0..ADVISORIES / FILES {
            let (ecosystem, name, of) = &all[number % all.len()];
            let fixed = of.get(number / all.len()).unwrap_or(&of[0]);
            let id = format!("MADE-{number:07}");
            let document = json!({
                "schema_version": "1.7.0", "id": id, "modified": "2026-11-01T00:00:00Z", "published": "2026-11-01T00:00:00Z",
                "summary": format!("{name} can be made to do what it should not"),
                "affected": [{"package": {"ecosystem": ecosystem, "name": name}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]}],
            });
            zip.start_file(format!("{id}.json"), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(document.to_string().as_bytes()).unwrap();
            number += 1;
        }
        zip.finish().unwrap().flush().unwrap();
    }
}
