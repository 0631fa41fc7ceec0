//! Bytes of unknown encoding in, lines out; and the numbers of updates in them.

use std::borrow::Cow;

/// A label and its value. A list's further values have the label `[02]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'t> {
    pub(super) label: Cow<'t, str>,
    pub(super) value: Cow<'t, str>,
}

/// UTF-8 and UTF-16 by their marks and their looks. Of other bytes the ASCII ones are kept, the rest become blanks: which code page they are of cannot be told, and what is
/// looked for here is ASCII in all of them.
pub(super) fn decode(bytes: &[u8]) -> String {
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => plain(rest),
        _ => {
            let zeros = |at: usize| bytes.iter().skip(at).step_by(2).filter(|b| **b == 0).count();
            let (even, odd) = (zeros(0), zeros(1));
            // A quarter of all bytes, and hardly any of the other half.
            if odd * 4 > bytes.len() && even * 16 < odd {
                utf16(bytes, u16::from_le_bytes)
            } else if even * 4 > bytes.len() && odd * 16 < even {
                utf16(bytes, u16::from_be_bytes)
            } else {
                plain(bytes)
            }
        }
    }
}

/// A byte too many at the end is left out.
fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
    let text = char::decode_utf16(units).map(|c| c.unwrap_or(' '));
    text.filter(|c| *c != '\0' && *c != '\u{FEFF}').collect()
}

fn plain(bytes: &[u8]) -> String {
    // Where output of two programs was put into one file, a part of it may be UTF-16.
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => text.replace('\0', ""),
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().filter(|b| **b != 0).map(|b| if b.is_ascii() { char::from(*b) } else { ' ' }).collect(),
    }
}

/// Lines of the table and list formats, and the cells of CSV.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
    if first.trim_start().starts_with('"') && first.contains("\",\"") {
        return cells(text);
    }
    text.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

fn line(line: &str) -> Line<'_> {
    let (label, value) = line.split_once([':', '：']).unwrap_or(("", line));
    Line { label: label.trim().into(), value: value.trim().into() }
}

/// The first record is the heading, unless it was left out (`/nh`).
fn cells(text: &str) -> Vec<Line<'_>> {
    let mut csv = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.trim_start().as_bytes());
    let records: Vec<csv::StringRecord> = csv.records().map_while(Result::ok).collect();
    let (heading, records) = match records.split_first() {
        Some((heading, rest)) if !rest.is_empty() => (Some(heading), rest),
        _ => (None, records.as_slice()),
    };
    let mut out = Vec::new();
    for record in records {
        for (at, value) in record.iter().enumerate() {
            let label = heading.and_then(|h| h.get(at)).unwrap_or("value");
            out.push(Line { label: label.to_owned().into(), value: value.trim().to_owned().into() });
        }
    }
    out
}

/// The updates that a line names, as `hotfix.id` has them.
pub(super) fn updates_of(line: &Line<'_>) -> Vec<String> {
    let mut out = updates_in(&line.value);
    // A list of updates by bare numbers; addresses of network cards stand in such lists as well.
    let bare = |text: &str| matches!(text.len(), 6 | 7) && text.bytes().all(|b| b.is_ascii_digit());
    let numbered = |label: &str| label.starts_with('[') && label.ends_with(']');
    if numbered(&line.label) && bare(&line.value) {
        out.push(format!("kb{}", line.value));
    }
    let words: Vec<&str> = line.value.split([' ', ',', '\t']).collect();
    for pair in words.windows(2) {
        if let [label, number] = pair
            && label.strip_suffix(':').is_some_and(numbered)
            && bare(number)
        {
            out.push(format!("kb{number}"));
        }
    }
    out
}

/// `KB5031364`, `KB893803v2`, and `Q147222` as they were called before.
pub(super) fn updates_in(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let lower = word.to_ascii_lowercase();
        let Some(number) = lower.strip_prefix("kb").or_else(|| lower.strip_prefix('q')) else { continue };
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        let rest = number.get(digits.len()..).unwrap_or("");
        // Later versions of an update have `v2` behind the number.
        if (5..=8).contains(&digits.len()) && (rest.is_empty() || rest.starts_with('v')) {
            out.push(format!("kb{digits}"));
        }
    }
    out
}

/// `Service Pack 1`, which is English in every language.
pub(super) fn service_pack(text: &str) -> Option<String> {
    let (_, after) = text.split_once("Service Pack ")?;
    let digit = after.chars().next().filter(|c| matches!(c, '1'..='9'))?;
    Some(format!("Service Pack {digit}"))
}
