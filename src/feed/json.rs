//! Reaching into JSON whose shape cannot be trusted: what is absent or of another type is empty.

use serde_json::Value;

pub(crate) fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

/// The texts of a list, with their positions.
pub(crate) fn texts<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = (usize, &'v str)> {
    list(value, key).iter().enumerate().filter_map(|(i, v)| Some((i, v.as_str()?)))
}

/// At most this many characters of a long text, for a message.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A path such as `/vulnerabilities/0/cve` out of what leads there.
pub(crate) fn pointer(parent: &str, step: impl std::fmt::Display) -> String {
    format!("{parent}/{step}")
}
