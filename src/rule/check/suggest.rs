//! The nearest known name for a mistyped one.

/// Longer names are never compared: nothing known is that long, and the comparison is quadratic.
const MAX_NAME: usize = 64;

/// `; did you mean ...?` when a known name is near, else nothing.
pub fn hint<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    nearest(name, known).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default()
}

/// The known name with the fewest edits, when those are few for its length.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > MAX_NAME {
        return None;
    }
    let allowed = match name.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    // min_by_key takes the first of equals, so the order of the known names decides, which is fixed.
    known.into_iter().map(|k| (distance(name, k), k)).filter(|(d, _)| *d <= allowed).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}

/// Edits (insert, delete, replace) between two names, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut before = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let here = (before + usize::from(x != *y)).min(left + 1).min(*cell + 1);
            before = *cell;
            *cell = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in [("", "abc", 3), ("pakage", "package", 1), ("sshd", "sshd", 0), ("kitten", "sitting", 3), ("File", "file", 0)] {
            assert_eq!(distance(a, b), d, "{a} {b}");
            assert_eq!(distance(b, a), d, "{b} {a}");
        }
        assert_eq!(nearest("pakage", ["file", "package"]), Some("package"));
        assert_eq!(nearest("xyzzy", ["file", "package"]), None);
        assert_eq!(hint("startWith", ["startsWith"]), "; did you mean `startsWith`?");
    }
}
