//! NuGet versions, up to four numbers and a prerelease such as `1.2.3.4-beta.2`: a text in, its key out.
//!
//! The order of semantic versions, but for a fourth number and that the case of a prerelease does not count.

use super::semver;

pub fn accepts(version: &str) -> bool {
    let version = version.trim_ascii();
    let (core, rest) = version.split_at_checked(version.find(['-', '+']).unwrap_or(version.len())).unwrap_or((version, ""));
    let number = |s: &str| !s.is_empty() && s.bytes().all(|c| c.is_ascii_digit());
    core.split('.').count() <= 4 && core.split('.').all(number) && semver::accepts_suffix(rest, true)
}

pub fn write_key(version: &str, out: &mut Vec<u8>) {
    semver::write(version.trim_ascii(), true, out);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ascending, same};
    use super::*;
    use crate::version::Scheme;

    #[test]
    fn four_numbers_and_no_case() {
        ascending(
            Scheme::Nuget,
            &[
                "1.0.0-alpha",
                "1.0.0-Beta",
                "1.0.0-beta.2",
                "1.0.0-beta.10",
                "1.0.0-beta2",
                "1.0.0-RC",
                "1",
                "1.0.0.1-a",
                "1.0.0.1",
                "1.0.1",
            ],
        );
        for (a, b) in [("1.0", "1.0.0.0"), ("1.0-RC", "1.0-rc"), ("1.0+a", "1.0+b"), ("1.01", "1.1")] {
            same(Scheme::Nuget, a, b);
        }
    }

    #[test]
    fn takes_what_nuget_takes() {
        for good in ["1", "1.2.3.4", "1.0.0-beta.01", "1.0-a+b", "01.2"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "1.2.3.4.5", "1.0-", "1.0+", "1.a", "1.0rc1"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
