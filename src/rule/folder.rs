//! Packs on disk: `path -> Source`. A path is a pack's folder, or one rule file, which then is a pack by itself.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::yaml::{Source, SourceFile, read_pack};
use super::{Code, Diagnostic, RulePack};
use crate::limits::Limits;

const PACK_FILE: &str = "pack.yaml";

/// Reads a pack from disk, problems of reading and of what was read together.
pub fn read_folder(path: &Path, limits: &Limits) -> (Option<RulePack>, Vec<Diagnostic>) {
    let (source, mut problems) = load_folder(path, limits);
    let (pack, mut more) = read_pack(&source, limits);
    // Of a file that cannot be read, its emptiness is no news.
    more.retain(|m| !problems.iter().any(|p| p.file == m.file));
    problems.append(&mut more);
    problems.sort_by(|a, b| (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code)));
    (pack.filter(|_| problems.is_empty()), problems)
}

/// The texts of a pack. What cannot be read is missing in them and said beside.
pub fn load_folder(path: &Path, limits: &Limits) -> (Source, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    let source = match path.parent() {
        Some(parent) if path.file_name().is_some_and(|n| n == PACK_FILE) => folder(parent, limits, &mut problems),
        _ if path.is_dir() => folder(path, limits, &mut problems),
        _ => single(path, limits, &mut problems),
    };
    (source, problems)
}

fn folder(path: &Path, limits: &Limits, problems: &mut Vec<Diagnostic>) -> Source {
    let head = path.join(PACK_FILE);
    let pack = read(&head, limits, problems).unwrap_or_else(|| SourceFile { path: head.display().to_string(), text: String::new() });
    let mut paths = Vec::new();
    match fs::read_dir(path) {
        Err(error) => problems.push(unreadable(path, &error.to_string())),
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) => paths.push(entry.path()),
                    Err(error) => problems.push(unreadable(path, &error.to_string())),
                }
            }
        }
    }
    paths.sort();
    let mut rules = Vec::new();
    for path in paths.iter().filter(|p| p.file_name().is_some_and(|n| n != PACK_FILE)) {
        match path.extension().and_then(|e| e.to_str()) {
            Some("yaml") => rules.extend(read(path, limits, problems)),
            // Skipping it in silence would be a rule that nobody misses.
            Some("yml") => problems.push(unreadable(path, "rule files end in `.yaml`, rename it")),
            _ => {}
        }
    }
    Source { pack, rules }
}

/// One rule as a pack of its own.
fn single(path: &Path, limits: &Limits, problems: &mut Vec<Diagnostic>) -> Source {
    let rules: Vec<_> = read(path, limits, problems).into_iter().collect();
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let allowed = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let id: String = stem.chars().map(allowed).collect();
    let id = id.trim_start_matches('-');
    let id = if id.is_empty() { "rule" } else { id };
    let text = format!("id: \"{id}\"\ntitle: \"{id}\"\nversion: \"0.0.0\"\n");
    Source { pack: SourceFile { path: format!("(pack of {})", path.display()), text }, rules }
}

fn read(path: &Path, limits: &Limits, problems: &mut Vec<Diagnostic>) -> Option<SourceFile> {
    let limit = u64::try_from(limits.rule_bytes).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let result = fs::File::open(path).and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes));
    if let Err(error) = result {
        problems.push(unreadable(path, &error.to_string()));
        return None;
    }
    if bytes.len() > limits.rule_bytes {
        let message = format!("the file is over the limit of {limit} bytes");
        problems.push(Diagnostic { code: Code::Limit, ..unreadable(path, &message) });
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(SourceFile { path: path.display().to_string(), text }),
        Err(error) => {
            problems.push(unreadable(path, &format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to())));
            None
        }
    }
}

fn unreadable(path: &Path, message: &str) -> Diagnostic {
    Diagnostic { code: Code::Unreadable, file: path.display().to_string(), line: 0, column: 0, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "id: a\ntitle: T\nseverity: low\nplatforms: [linux]\nrationale: W\ncheck: sshd.size() > 0\nremediation: D\n\
                        tests: [{pass: {sshd: [{key: a}]}}, {fail: {sshd: []}}]\n";

    #[test]
    fn folders_and_single_rules() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let limits = Limits::default();
        fs::write(path("a.yaml"), RULE).unwrap();
        fs::write(path("README.md"), "x").unwrap();
        let (pack, problems) = read_folder(&path("a.yaml"), &limits);
        assert_eq!(problems, []);
        let pack = pack.unwrap();
        assert_eq!((pack.id.as_str(), pack.version.as_str(), pack.rules.len()), ("a", "0.0.0", 1));

        let (pack, problems) = read_folder(folder.path(), &limits);
        assert!(pack.is_none());
        assert_eq!(problems.iter().map(|p| (p.code, p.line)).collect::<Vec<_>>(), [(Code::Unreadable, 0)], "{problems:?}");

        fs::write(path("pack.yaml"), "id: p\ntitle: P\nversion: 1.0.0\n").unwrap();
        for named in [folder.path().to_owned(), path("pack.yaml")] {
            let (pack, problems) = read_folder(&named, &limits);
            assert_eq!(problems, []);
            assert_eq!(pack.unwrap().id, "p");
        }

        fs::write(path("b.yml"), RULE).unwrap();
        fs::write(path("c.yaml"), [0xff, 0xfe]).unwrap();
        let (pack, problems) = read_folder(folder.path(), &limits);
        assert!(pack.is_none());
        let said: Vec<_> = problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(said, ["rule files end in `.yaml`, rename it", "not UTF-8 from byte 0 on"]);

        let (_, problems) = load_folder(&path("a.yaml"), &Limits { rule_bytes: 10, ..limits });
        assert_eq!(problems.iter().map(|p| p.code).collect::<Vec<_>>(), [Code::Limit]);
        assert!(read_folder(&path("gone"), &Limits::default()).0.is_none());
    }
}
