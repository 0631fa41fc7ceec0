//! Windows versions, dotted integers such as `10.0.19045.3803`: two texts in, their order out.

use std::cmp::Ordering;

use super::Dotted;

/// By number, missing ones taken as 0; what follows the numbers and is none decides last.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (Dotted::of(a.as_bytes()), Dotted::of(b.as_bytes()));
    a.compare(&mut b).then_with(|| a.rest.cmp(b.rest))
}

pub fn accepts(version: &str) -> bool {
    version.split('.').all(|field| !field.is_empty() && field.bytes().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_number() {
        let ascending = ["6.1.7601", "10.0.9200", "10.0.19045.3803", "10.0.19045.3930", "10.0.19045.3930 (beta)", "18446744073709551616"];
        for (i, a) in ascending.iter().enumerate() {
            for b in &ascending[i + 1..] {
                assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
                assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
            }
        }
        for (a, b) in [("1", "1.0.0.0"), ("1.02", "1.2"), ("", "0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn takes_dotted_integers() {
        assert!(accepts("10.0.19045.3803") && accepts("7") && accepts("1.2.3.4.5.6"));
        for bad in ["", "1.", ".1", "1..2", "1.2a", "1,2", "-1"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
