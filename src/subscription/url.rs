//! URLs as far as fetching needs them: what a link on a page means, and whether it may be followed.

/// What a reference means on the page of a URL (RFC 3986, section 5.2, for http and https).
pub(super) fn join(base: &str, reference: &str) -> String {
    let reference = reference.trim().split('#').next().unwrap_or_default();
    if reference.is_empty() {
        return base.to_owned();
    }
    if scheme(reference).is_some() {
        return reference.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
    if let Some(rest) = reference.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let rest_without_query = rest.split('?').next().unwrap_or_default();
    let (authority, path) = rest_without_query.split_once('/').unwrap_or((rest_without_query, ""));
    if reference.starts_with('?') {
        return format!("{scheme}://{authority}/{path}{reference}");
    }
    let (given, query) = match reference.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (reference, String::new()),
    };
    let whole = match given.strip_prefix('/') {
        Some(path) => path.to_owned(),
        None => match path.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{given}"),
            None => given.to_owned(),
        },
    };
    format!("{scheme}://{authority}/{}{query}", without_dots(&whole))
}

/// The scheme that a reference begins with.
fn scheme(reference: &str) -> Option<&str> {
    let (scheme, _) = reference.split_once(':')?;
    let first = scheme.chars().next()?.is_ascii_alphabetic();
    (first && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))).then_some(scheme)
}

fn without_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let parts: Vec<&str> = path.split('/').collect();
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        match *part {
            ".." => {
                out.pop();
            }
            "." => {}
            part => {
                out.push(part);
                continue;
            }
        }
        if last {
            out.push("");
        }
    }
    out.join("/")
}

pub(super) fn is_https(url: &str) -> bool {
    scheme(url).is_some_and(|s| s.eq_ignore_ascii_case("https"))
}

/// What may be shown of a URL: a query may hold a secret.
pub fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_mean_what_they_mean_to_browsers() {
        let base = "https://h:8/a/b/c.json?q=1#f";
        for (reference, url) in [
            ("d.json", "https://h:8/a/b/d.json"),
            ("./d.json", "https://h:8/a/b/d.json"),
            ("../d/e.json?x=/y", "https://h:8/a/d/e.json?x=/y"),
            ("../../../../d", "https://h:8/d"),
            ("/d", "https://h:8/d"),
            ("//other/d", "https://other/d"),
            ("http://other/d", "http://other/d"),
            ("?p=2", "https://h:8/a/b/c.json?p=2"),
            ("", base),
            ("d/..", "https://h:8/a/b/"),
            ("2024/a:b.json", "https://h:8/a/b/2024/a:b.json"),
        ] {
            assert_eq!(join(base, reference), url, "{reference}");
        }
        assert_eq!(join("http://h", "x"), "http://h/x");
        assert!(is_https("HTTPS://h/") && !is_https("http://h/https://"));
        assert_eq!(shown("https://h/p?token=1"), "https://h/p");
    }
}
