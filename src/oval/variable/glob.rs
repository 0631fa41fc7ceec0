//! `glob_to_regex`: a shell's pattern to a regular expression that matches the whole path.
//!
//! `*` and `?` match no slash, and at the start of a path's part no dot.

/// `None`: a `[` that no `]` closes.
pub(super) fn to_regex(glob: &str, noescape: bool) -> Option<String> {
    let mut out = String::with_capacity(glob.len() + 8);
    out.push('^');
    let mut chars = glob.chars();
    let mut at_start = true;
    while let Some(c) = chars.next() {
        let starts = std::mem::replace(&mut at_start, c == '/');
        match c {
            '?' if starts => out.push_str("[^./]"),
            '?' => out.push_str("[^/]"),
            '*' if starts => out.push_str("(?=[^.])[^/]*"),
            '*' => out.push_str("[^/]*"),
            '[' => class(&mut chars, noescape, &mut out)?,
            '\\' if noescape => out.push_str(r"\\"),
            '\\' => match chars.next() {
                Some(c @ ('?' | '*' | '[' | ']')) => out.extend(['\\', c]),
                Some(c) => out.extend(['\\', '\\', c]),
                None => out.push_str(r"\\"),
            },
            '.' | '|' | '^' | '(' | ')' | '{' | '}' | '+' | '$' => out.extend(['\\', c]),
            other => out.push(other),
        }
    }
    out.push('$');
    Some(out)
}

/// The first character of a class is one of it even if it is `]`.
fn class(chars: &mut std::str::Chars<'_>, noescape: bool, out: &mut String) -> Option<()> {
    out.push('[');
    match chars.next()? {
        '!' => out.push('^'),
        c => out.push(c),
    }
    loop {
        match chars.next()? {
            '\\' if noescape => out.push_str(r"\\"),
            c => {
                out.push(c);
                if c == ']' {
                    return Some(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::to_regex;

    #[test]
    fn globs_become_patterns() {
        let pairs = [
            ("", "^$"),
            ("/etc/*.conf", r"^/etc/(?=[^.])[^/]*\.conf$"),
            ("a*b?c", "^a[^/]*b[^/]c$"),
            ("?x", "^[^./]x$"),
            ("/?x", "^/[^./]x$"),
            ("[abc]x", "^[abc]x$"),
            ("[!abc]x", "^[^abc]x$"),
            ("[]x]", "^[]x]$"),
            ("/[ab]", "^/[ab]$"),
            ("{a,b}(c)+$", r"^\{a,b\}\(c\)\+\$$"),
            ("~/x", "^~/x$"),
            ("x[[:digit:]].c", r"^x[[:digit:]]\.c$"),
        ];
        for (glob, regex) in pairs {
            assert_eq!(to_regex(glob, false).as_deref(), Some(regex), "{glob}");
            assert_eq!(to_regex(glob, true).as_deref(), Some(regex), "{glob}");
        }
    }

    #[test]
    fn a_backslash_escapes_or_is_one() {
        assert_eq!(to_regex(r"a\*b", false).as_deref(), Some(r"^a\*b$"));
        assert_eq!(to_regex(r"a\*b", true).as_deref(), Some(r"^a\\[^/]*b$"));
        assert_eq!(to_regex(r"a\nb", false).as_deref(), Some(r"^a\\nb$"));
        assert_eq!(to_regex(r"[a\n]", false).as_deref(), Some(r"^[a\n]$"));
        assert_eq!(to_regex(r"[a\n]", true).as_deref(), Some(r"^[a\\n]$"));
        assert_eq!(to_regex("a\\", false).as_deref(), Some(r"^a\\$"));
    }

    #[test]
    fn a_class_that_does_not_end_is_an_error() {
        for glob in ["a*b?[", "[", "[]", "[!", "x[abc"] {
            assert_eq!(to_regex(glob, false), None, "{glob}");
        }
    }
}
