//! What Windows prints of itself: `systeminfo` (and `wmic qfe` or `Get-HotFix`) in, a scan with the tables `os` and `hotfix` out.
//!
//! Labels are in the language of the host and lose letters on their way through code pages, so lines are found by their values: a version that repeats its build, the
//! line before it, `x64-based PC`, `KB5031364`. Nothing else is kept of what the file tells.

mod qfe;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::windows;
use crate::scan::table::TableId;
use crate::scan::{Row, Scan, TableData};
use text::Line;

/// What was read, and what to know about it.
#[derive(Debug)]
pub struct Imported {
    /// Without an endpoint's id; `hostname` is what the host calls itself.
    pub scan: Scan,
    pub notes: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SystemInfoError {
    #[error(
        "no line with a version of Windows, such as `10.0.19045 N/A Build 19045`; run `systeminfo > systeminfo.txt` on the host and give that file, whole"
    )]
    NoVersion,
    #[error(
        "no line with the name of the system, such as `Microsoft Windows 10 Pro`; run `systeminfo > systeminfo.txt` on the host and give that file, whole"
    )]
    NoName,
    #[error(
        "`{0}` has no line such as `x64-based PC`, and updates differ by architecture; run `systeminfo > systeminfo.txt` on the host and give that file, whole"
    )]
    NoArchitecture(String),
    #[error("several hosts (`{0}` and `{1}`); give a file for each")]
    SeveralHosts(String, String),
    #[error(
        "no update in the list of updates; run `wmic qfe list > qfe.txt` or `Get-HotFix | Out-File qfe.txt` on the host and give that file"
    )]
    NoUpdates,
}

/// Versions of Windows NT that there are.
const GENERATIONS: [&str; 8] = ["5.0.", "5.1.", "5.2.", "6.0.", "6.1.", "6.2.", "6.3.", "10.0."];

/// `systeminfo` is what it printed, as a table, list or CSV; `updates` is what lists updates and nothing else.
pub fn read(systeminfo: &[u8], updates: Option<&[u8]>) -> Result<Imported, SystemInfoError> {
    let decoded = text::decode(systeminfo);
    let lines = text::lines(&decoded);
    let found = Version::find(&lines)?;
    let (at, name) = name(&lines, found.line).ok_or(SystemInfoError::NoName)?;
    let (os, unknown) = os(&found, &name, arch(&lines))?;
    let mut notes = Vec::new();
    if unknown {
        notes.push(format!(
            "`{name}`, build {}: no product of Microsoft's advisories is known by that, so no update will be missed",
            found.build
        ));
    } else if !found.has_revision {
        notes.push(format!(
            "the revision of build {} is not told, so only installed updates count; `cmd /c ver >> systeminfo.txt` adds it",
            found.build
        ));
    }
    let mut hotfixes: BTreeMap<String, qfe::Hotfix> =
        lines.iter().flat_map(text::updates_of).map(|id| (id, qfe::Hotfix::default())).collect();
    if let Some(updates) = updates {
        let more = qfe::read(&text::decode(updates));
        if more.is_empty() {
            return Err(SystemInfoError::NoUpdates);
        }
        hotfixes.extend(more);
    } else if hotfixes.is_empty() {
        notes.push("no update is listed; --qfe takes the list that `wmic qfe list` or `Get-HotFix` prints".to_owned());
    }
    if updates.is_none()
        && let Some((told, listed)) = cut(&lines)
    {
        notes.push(format!(
            "{listed} of {told} updates are listed: systeminfo cuts long lists; --qfe takes what `wmic qfe list` or `Get-HotFix` prints"
        ));
    }
    let system = windows::product(&os);
    let mut scan = Scan { hostname: hostname(&lines, at), collector: Some("systeminfo".to_owned()), ..Scan::default() };
    if let Some(table) = TableId::by_name("hotfix") {
        // Also without any: the list was there.
        scan.tables.insert(table, TableData::Rows(hotfixes.into_iter().map(|(id, fix)| fix.row(table, &id, system.as_deref())).collect()));
    }
    scan.push(os);
    scan.normalise();
    Ok(Imported { scan, notes })
}

/// The line that tells the version, and what is in it.
struct Version {
    line: usize,
    /// With the revision, if any line has it.
    build: String,
    has_revision: bool,
    pack: Option<String>,
}

impl Version {
    fn find(lines: &[Line<'_>]) -> Result<Version, SystemInfoError> {
        let mut certain: Vec<(usize, &str)> = Vec::new();
        let mut likely = None;
        for (at, line) in lines.iter().enumerate() {
            let mut words = line.value.split_whitespace();
            let Some(version) = words.by_ref().find(|w| is_version(w)) else { continue };
            // No other line says the build twice: drivers and firmware have versions as well.
            if words.any(|w| version.rsplit('.').next() == Some(w)) {
                certain.push((at, version));
            } else if likely.is_none() {
                likely = Some((at, version));
            }
        }
        let (line, version) = match certain.as_slice() {
            [first, .., last] => {
                let host = |at: &(usize, &str)| lines.get(at.0).map_or_else(String::new, |l| l.value.to_string());
                return Err(SystemInfoError::SeveralHosts(host(first), host(last)));
            }
            [one] => *one,
            [] => likely.ok_or(SystemInfoError::NoVersion)?,
        };
        let words = lines.iter().flat_map(|l| l.value.split(|c: char| !(c.is_ascii_digit() || c == '.')));
        let full = words.into_iter().find(|w| is_full(w, version));
        let pack = lines.get(line).and_then(|l| text::service_pack(&l.value));
        Ok(Version { line, build: full.unwrap_or(version).to_owned(), has_revision: full.is_some(), pack })
    }
}

/// `10.0.17763`
fn is_version(word: &str) -> bool {
    let Some(build) = GENERATIONS.iter().find_map(|g| word.strip_prefix(g)) else { return false };
    (4..=5).contains(&build.len()) && build.bytes().all(|b| b.is_ascii_digit())
}

/// `10.0.17763.107` of `10.0.17763`
fn is_full(word: &str, version: &str) -> bool {
    let revision = word.strip_prefix(version).and_then(|rest| rest.strip_prefix('.'));
    revision.is_some_and(|r| (1..=6).contains(&r.len()) && r.bytes().all(|b| b.is_ascii_digit()))
}

/// How many updates the heading of their list counts and how many follow, where these are fewer.
fn cut(lines: &[Line<'_>]) -> Option<(usize, usize)> {
    let numbered = |l: &&Line<'_>| l.label.starts_with('[') && l.label.ends_with(']');
    for (at, heading) in lines.iter().enumerate() {
        let list: Vec<&Line<'_>> = lines.iter().skip(at + 1).take_while(numbered).collect();
        if numbered(&heading) || !list.iter().any(|l| !text::updates_of(l).is_empty()) {
            continue;
        }
        let told = heading.value.split_whitespace().find_map(|w| w.parse::<usize>().ok())?;
        let listed = list.iter().filter(|l| !l.value.is_empty()).count();
        return (listed < told).then_some((told, listed));
    }
    None
}

/// The line with the system's name, and the name. It stands before the version in every language.
fn name(lines: &[Line<'_>], version: usize) -> Option<(usize, String)> {
    let before = version.checked_sub(1);
    let all = before.into_iter().chain(0..lines.len());
    all.filter_map(|at| Some((at, lines.get(at)?))).find(|(_, line)| is_name(&line.value)).map(|(at, line)| {
        let words: Vec<&str> = line.value.split_whitespace().collect();
        (at, words.join(" "))
    })
}

fn is_name(value: &str) -> bool {
    let lower = value.to_lowercase();
    if lower.contains("hyper-v server") {
        return true;
    }
    let Some((_, after)) = lower.split_once("windows") else { return false };
    // Folders, adapters and owners have Windows in their names as well.
    let is_path = lower.contains('\\') || lower.contains("tap-windows");
    !is_path
        && (after.contains("server") || after.contains("vista") || after.contains("xp") || after.contains(|c: char| c.is_ascii_digit()))
}

/// The name of the host stands before that of its system.
fn hostname(lines: &[Line<'_>], name: usize) -> Option<String> {
    let line = lines.get(name.checked_sub(1)?)?;
    let good =
        line.value.contains(char::is_alphanumeric) && line.value.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    (good && !line.label.is_empty()).then(|| line.value.to_string())
}

/// In the words of uname(1).
fn arch(lines: &[Line<'_>]) -> Option<&'static str> {
    let known = |word: &str| match word.to_ascii_lowercase().as_str() {
        "x64" | "amd64" | "em64t" => Some("x86_64"),
        "x86" => Some("x86"),
        "arm64" => Some("aarch64"),
        "ia64" | "itanium" => Some("ia64"),
        _ => None,
    };
    let based = lines.iter().flat_map(|l| l.value.split_whitespace()).find_map(|w| known(w.strip_suffix("-based")?));
    based.or_else(|| {
        // Not every language says it the English way.
        let words = |l: &Line<'_>| l.value.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect::<Vec<_>>();
        lines.iter().map(words).filter(|words| words.iter().any(|w| w == "PC")).find_map(|words| words.iter().find_map(|w| known(w)))
    })
}

/// The row, and whether nothing is known of that system.
fn os(found: &Version, name: &str, arch: Option<&str>) -> Result<(Row, bool), SystemInfoError> {
    let Some(table) = TableId::by_name("os") else { return Err(SystemInfoError::NoVersion) };
    let server = name.to_lowercase().contains("server");
    let row = Row::new(table).with("family", "windows").with("id", if server { "windows-server" } else { "windows" });
    let row = row.with("name", name).with("build", found.build.as_str()).with("arch", arch).with("codename", found.pack.as_deref());
    match windows::product(&row) {
        Some(product) => {
            let (version, release) = windows::version_of(&product);
            Ok((row.with("version", version).with("codename", found.pack.clone().or(release)), false))
        }
        None if arch.is_none() => Err(SystemInfoError::NoArchitecture(name.to_owned())),
        None => Ok((row, true)),
    }
}
