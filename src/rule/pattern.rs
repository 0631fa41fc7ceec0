//! Patterns of `collect`: `*` is any run of characters within a path segment, `?` any one; everything else is itself.

/// Whether a pattern means a path. A segment ends at `/` or, for Windows paths and registry keys, at `\`.
pub fn pattern_matches(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split(is_separator);
    let mut names = path.split(is_separator);
    // The separators themselves must agree as well: `/a` is not `\a`.
    if !pattern.chars().filter(|c| is_separator(*c)).eq(path.chars().filter(|c| is_separator(*c))) {
        return false;
    }
    loop {
        match (parts.next(), names.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if segment_matches(part, name) => {}
            _ => return false,
        }
    }
}

/// Whether a string is a pattern and not a plain path.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

fn is_separator(c: char) -> bool {
    c == '/' || c == '\\'
}

/// The classic two-pointer match: on a mismatch only the last `*` takes one more character, so the time is at most the
/// product of the lengths.
fn segment_matches(pattern: &str, name: &str) -> bool {
    let (mut p, mut n) = (pattern.chars(), name.chars());
    // Behind the last `*`, and where in the name it stopped taking.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let rest = n.clone();
        match (p.next(), n.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                n = rest.clone();
                retry = Some((p.clone(), rest));
            }
            (Some('?'), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => {
                let Some((after, mut taken)) = retry.take() else { return false };
                if taken.next().is_none() {
                    return false;
                }
                p = after.clone();
                n = taken.clone();
                retry = Some((after, taken));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("/etc/shadow", "/etc/shadow", true),
            ("/etc/shadow", "/etc/shadow-", false),
            ("/etc/cron.d/*", "/etc/cron.d/x", true),
            ("/etc/cron.d/*", "/etc/cron.d/", true),
            ("/etc/cron.d/*", "/etc/cron.d", false),
            ("/etc/cron.d/*", "/etc/cron.d/a/b", false),
            ("/etc/*/*.conf", "/etc/a/b.conf", true),
            ("/etc/*/*.conf", "/etc/a/b.confx", false),
            ("/home/?", "/home/a", true),
            ("/home/?", "/home/ü", true),
            ("/home/?", "/home/ab", false),
            ("/home/?", "/home/", false),
            ("/a*b*c", "/aXbYbZc", true),
            ("/a*b*c", "/aXbYbZ", false),
            ("/a[b]", "/ab", false),
            ("/a[b]", "/a[b]", true),
            (r"hklm\software\*", r"hklm\software\x", true),
            (r"hklm\software\*", "hklm/software/x", false),
            ("", "", true),
            ("*", "", true),
            ("*", "abc", true),
            ("*", "a/c", false),
        ] {
            assert_eq!(pattern_matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn many_stars_end_in_time() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!pattern_matches(&pattern, &"a".repeat(4_000)));
    }
}
