//! `config`: settings in configuration files of the usual kind.
//!
//! Lines are `key value`, `key = value` or `key=value`; `#` and `;` begin comment lines; below `[section]` the key is
//! `section.key` and only `=` parts it from its value. A keyword alone has the value "". The last line for a key wins.
//!
//! Drop-ins, `<path>.d/*.conf` in order of name, are read after the file (before it where the program does so) and reported under the
//! file's path, as the programs that read such files do. For files in /etc/systemd the folders of the same name below /usr/lib, /usr/local/lib and /run
//! count too, in the precedence of systemd (of two drop-ins with one name, the one in /etc wins).

use std::collections::BTreeMap;

use super::root::{is_absent, lossy, why};
use super::{Gathered, Host, asked, row, secrets};
use crate::scan::Row;

const FILE_BYTES: usize = 1 << 20;
/// Programs that read their drop-ins first, so that the main file overrides them (libpwquality's settings.c).
const MAIN_FILE_LAST: [&str; 1] = ["/etc/security/pwquality.conf"];
/// Settings in one file with its drop-ins.
const SETTINGS: usize = 10_000;

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    Ok(asked::each(host, "config", |path, _| {
        let mut settings = BTreeMap::new();
        let mut any = false;
        for file in files(host, path)? {
            match host.root.read(&file, FILE_BYTES) {
                Ok(bytes) => settings.extend(parse(&secrets::mask(&file, &lossy(bytes)))),
                Err(e) if is_absent(&e) => continue,
                Err(e) => return Err(format!("{file}: {}", why(&e))),
            }
            any = true;
        }
        if settings.len() > SETTINGS {
            return Err(format!("more than {SETTINGS} settings"));
        }
        Ok(any.then(|| to_rows(path, settings)))
    }))
}

fn to_rows(path: &str, settings: BTreeMap<String, String>) -> Vec<Row> {
    settings.into_iter().map(|(key, value)| row("config").with("path", path).with("key", key).with("value", value)).collect()
}

/// The file and its drop-ins, in the order in which they are read.
fn files(host: &Host<'_>, path: &str) -> Result<Vec<String>, String> {
    let Some(name) = path.strip_prefix("/etc/systemd/") else {
        let drop_ins = host.root.names(&format!("{path}.d"))?;
        let drop_ins = drop_ins.into_iter().filter(|n| n.ends_with(".conf")).map(|n| format!("{path}.d/{n}"));
        let main = [path.to_owned()].into_iter();
        return Ok(if MAIN_FILE_LAST.contains(&path) { drop_ins.chain(main).collect() } else { main.chain(drop_ins).collect() });
    };
    let layers = ["/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd"];
    let main = layers.iter().rev().map(|l| format!("{l}/{name}")).find(|p| host.root.exists(p)).unwrap_or_else(|| path.to_owned());
    let mut drop_ins = BTreeMap::new();
    for layer in layers {
        for file in host.root.names(&format!("{layer}/{name}.d"))?.into_iter().filter(|n| n.ends_with(".conf")) {
            let place = format!("{layer}/{name}.d/{file}");
            drop_ins.insert(file, place);
        }
    }
    Ok([main].into_iter().chain(drop_ins.into_values()).collect())
}

/// Keys and values in the order of the lines.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    let mut section: Option<&str> = None;
    let mut settings = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = Some(name.trim());
            continue;
        }
        let (key, value) = split(line, section.is_some());
        if !key.is_empty() {
            let key = section.map_or_else(|| key.to_owned(), |s| format!("{s}.{key}"));
            settings.push((key, unquote(value).to_owned()));
        }
    }
    settings
}

fn split(line: &str, in_section: bool) -> (&str, &str) {
    if in_section && let Some((key, value)) = line.split_once('=') {
        return (key.trim(), value.trim());
    }
    let Some((key, rest)) = line.split_once(|c: char| c == '=' || c.is_whitespace()) else { return (line, "") };
    // What parted them may be the sign itself, or blanks before it.
    let signed = line.strip_prefix(key).is_some_and(|r| r.starts_with('='));
    let rest = if signed { rest } else { rest.trim_start().strip_prefix('=').unwrap_or(rest) };
    (key, rest.trim())
}

fn unquote(value: &str) -> &str {
    let inner = |q: char| value.strip_prefix(q).and_then(|v| v.strip_suffix(q)).filter(|v| !v.contains(q));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        parse(text).into_iter().map(|(k, v)| format!("{k}={v}|")).collect()
    }

    #[test]
    fn the_usual_kinds_of_lines() {
        assert_eq!(of("PASS_MAX_DAYS\t99999\nUMASK\t\t022\n# c\n  ; c\n"), "PASS_MAX_DAYS=99999|UMASK=022|");
        assert_eq!(of("minlen = 14\nenforce_for_root\ndcredit=-1\n"), "minlen=14|enforce_for_root=|dcredit=-1|");
        assert_eq!(of("a = \"x y\"\nb='z'\nc=\"a\" \"b\"\nd=\n=e\n"), "a=x y|b=z|c=\"a\" \"b\"|d=|");
        assert_eq!(of("GRUB_CMDLINE=\"audit=1 quiet\"\n"), "GRUB_CMDLINE=audit=1 quiet|");
        assert_eq!(of("key value=x\nk ==y\nk==z"), "key=value=x|k==y|k==z|");
        assert_eq!(of("active = yes\r\n"), "active=yes|");
    }

    #[test]
    fn sections() {
        assert_eq!(of("[Journal]\n#Storage=auto\nStorage=persistent\n[ X ]\na b = c\nd\n"), "Journal.Storage=persistent|X.a b=c|X.d=|");
    }
}
