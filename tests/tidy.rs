//! Style as tests: documents that are written from code, files that stay rooms, no paths of a machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use muster::scan::table::{Extent, TABLES};

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("folder").map(|e| e.expect("entry").path()) {
            if entry.is_dir() && !entry.ends_with("target") {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == ending) {
                out.push(entry);
            }
        }
    }
    out.sort();
    out
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("text")
}

/// docs/TABLES.md is the table definitions, for people. `MUSTER_WRITE_DOCS=1 cargo test --test main tidy` writes it.
#[test]
fn the_tables_are_documented() {
    let mut out = String::from(
        "# Tables\n\nWhat a scan can hold. Written from `src/scan/table.rs`; edit that file.\n\n\
         A row is self-contained and is stored once for the whole fleet, so no column holds what changes by itself. Beside the columns below every\n\
         row may carry `error`: why its other columns could not be read. `mode` is octal text (`\"0640\"`) in JSON. Key columns are **bold**; they are\n\
         always given. A table that is not in a scan was not collected; `{\"error\": \"...\"}` in place of its rows says that it failed.\n",
    );
    for t in TABLES {
        let extent = match t.extent {
            Extent::Single => "one row",
            Extent::Complete => "complete: a row that is not there does not exist",
            Extent::Asked => "only what was asked; `scope` says what was looked at",
        };
        let fold = if t.fold_case { "; keys in lower case" } else { "" };
        write!(out, "\n## {}\n\n{}\n\n{extent}{fold}. Filled by: {}.\n\n| column | type | |\n|---|---|---|\n", t.name, t.doc, t.collectors)
            .expect("text");
        for (i, c) in t.columns.iter().enumerate() {
            let name = if i < t.key { format!("**{}**", c.name) } else { c.name.to_owned() };
            writeln!(out, "| {name} | {} | {} |", c.ty.name(), c.doc).expect("text");
        }
    }
    let path = Path::new("docs/TABLES.md");
    if std::env::var_os("MUSTER_WRITE_DOCS").is_some() {
        std::fs::write(path, &out).expect("written");
    }
    assert!(text(path) == out, "docs/TABLES.md is not what the tables are; MUSTER_WRITE_DOCS=1 cargo test --test main tidy");
}

#[test]
fn a_file_is_a_room() {
    for path in files("src", "rs") {
        let source = text(&path);
        let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        assert!(code <= 620, "{} has {code} lines without its tests; split it", path.display());
        let test = path.ends_with("tests.rs");
        assert!(test || source.starts_with("//!"), "{} does not say what it is for", path.display());
    }
}

#[test]
fn unsafe_code_is_in_one_file() {
    // The compiler denies it elsewhere; this holds who may ask for an exception.
    let with: Vec<_> = files("src", "rs").into_iter().filter(|p| text(p).contains("expect(unsafe_code")).collect();
    assert_eq!(with, [PathBuf::from("src/pack/map.rs")]);
}

#[test]
fn no_path_of_a_machine_is_committed() {
    let own = ["/wo", "rk/"].concat();
    let home = ["/ro", "ot/"].concat();
    for path in ["src", "tests", "benches", "docs", "fuzz"].iter().flat_map(|f| ["rs", "md", "toml", "sh"].map(|e| files(f, e))).flatten() {
        let source = text(&path);
        for wrong in [&own, &home] {
            let bad = source.lines().find(|l| l.contains(wrong.as_str()) && !l.contains(&format!("{wrong}.")) && !l.contains("home"));
            assert!(bad.is_none(), "{}: {bad:?}", path.display());
        }
    }
}

/// Every rule of the shipped packs names a NIST control and explains itself in a few words of its own.
#[test]
fn shipped_packs_are_whole() {
    let limits = muster::limits::Limits::default();
    for (folder, least) in [("rules/linux-server", 120), ("rules/windows-server", 60)] {
        let (pack, problems) = muster::rule::read_folder(Path::new(folder), &limits);
        assert!(problems.is_empty(), "{}", problems.iter().map(|p| format!("{p}\n")).collect::<String>());
        let pack = pack.expect("a pack");
        assert!(pack.rules.len() >= least, "{folder} has {}", pack.rules.len());
        for rule in &pack.rules {
            assert!(rule.controls.contains_key("nist-800-53r5"), "{} names no NIST control", rule.id);
            assert!(rule.rationale.len() > 30 && rule.remediation.len() > 10, "{} explains too little", rule.id);
        }
    }
}
