//! What addresses say: percent-decoding, query parameters, pages. Parameters that nobody asked for are errors, for they would be ignored in silence.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::{Kind, Problem};
use crate::rule::check::suggest::hint;

/// Items of a page at most, and when nobody says.
pub const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;
/// What is looked at for one page at most, while the fleet waits.
pub const SCAN_MAX: usize = 100_000;

/// Percent-decodes; `None` for what is not UTF-8 or breaks off.
pub fn decode(text: &str, plus_is_blank: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit(bytes.next()?)? * 16 + digit(bytes.next()?)?
            }
            b'+' if plus_is_blank => b' ',
            b => b,
        });
    }
    String::from_utf8(out).ok()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string that may have these parameters.
    pub fn parse(text: &str, known: &[&str]) -> Result<Query, Problem> {
        let mut out = Vec::new();
        for pair in text.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) else {
                return Err(Problem::new(Kind::BadRequest, format!("the parameter `{pair}` is not percent-encoded UTF-8")));
            };
            if !known.contains(&name.as_str()) {
                let hint = hint(&name, known.iter().copied());
                return Err(Problem::new(Kind::BadRequest, format!("unknown parameter `{name}`{hint}")));
            }
            out.push((name, value));
        }
        Ok(Query(out))
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a parameter that may be repeated or be a list with commas, each as what `read` makes of it.
    pub fn list<T>(&self, name: &str, known: &[&str], read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Problem> {
        let one = |text: &str| {
            let unknown = || Problem::new(Kind::BadRequest, format!("`{name}` is one of {}, not `{text}`", known.join(", ")));
            read(text).ok_or_else(unknown)
        };
        self.all(name).flat_map(|v| v.split(',')).filter(|v| !v.is_empty()).map(one).collect()
    }

    /// Items of the page.
    pub fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.get("limit") else { return Ok(PAGE) };
        let limit = text.parse::<usize>().ok().filter(|n| (1..=PAGE_MAX).contains(n));
        limit.ok_or_else(|| Problem::new(Kind::BadRequest, format!("`limit` is a number from 1 to {PAGE_MAX}, not `{text}`")))
    }

    /// What the page before ended with; empty for the first page.
    pub fn cursor(&self) -> Result<String, Problem> {
        let Some(text) = self.get("cursor") else { return Ok(String::new()) };
        let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|b| String::from_utf8(b).ok());
        decoded.ok_or_else(|| Problem::new(Kind::BadRequest, "`cursor` is not one that this server gave"))
    }
}

/// The cursor of the page after the one that ended with this.
pub fn cursor(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let query = Query::parse("limit=7&label=env%3Dprod&label=a%20b+c&cursor=d2ViLTE", &["limit", "label", "cursor"]).unwrap();
        assert_eq!(query.limit().unwrap(), 7);
        assert_eq!(query.all("label").collect::<Vec<_>>(), ["env=prod", "a b c"]);
        assert_eq!(query.cursor().unwrap(), "web-1");
        assert_eq!(cursor("web-1"), "d2ViLTE");
        let unknown = Query::parse("limt=1", &["limit"]).unwrap_err();
        assert_eq!(unknown.detail(), "unknown parameter `limt`; did you mean `limit`?");
        for wrong in ["limit=0", "limit=1001", "limit=x"] {
            assert!(Query::parse(wrong, &["limit"]).unwrap().limit().is_err(), "{wrong}");
        }
        assert!(Query::parse("a=%zz", &["a"]).is_err() && Query::parse("a=%f", &["a"]).is_err());
        assert!(Query::parse("cursor=*", &["cursor"]).unwrap().cursor().is_err());
    }
}
