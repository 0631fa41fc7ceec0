//! How two versions compare, by the ordering of their own ecosystem. One file a scheme.

pub mod apk;
pub mod dpkg;
pub mod rpm;
pub mod semver;
pub mod windows;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An ordering of versions. Adding one: a file, a line in each list below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Dpkg,
    Rpm,
    Apk,
    Semver,
    Windows,
}

impl Scheme {
    pub const ALL: [Scheme; 5] = [Scheme::Dpkg, Scheme::Rpm, Scheme::Apk, Scheme::Semver, Scheme::Windows];

    pub fn name(self) -> &'static str {
        match self {
            Scheme::Dpkg => "dpkg",
            Scheme::Rpm => "rpm",
            Scheme::Apk => "apk",
            Scheme::Semver => "semver",
            Scheme::Windows => "windows",
        }
    }

    pub fn by_name(name: &str) -> Option<Scheme> {
        Scheme::ALL.into_iter().find(|s| s.name() == name)
    }

    /// A total order over all strings: what is no version of the scheme still has a place, so that sorting never fails.
    /// Whether it is one, [`Scheme::accepts`] says.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Scheme::Dpkg => dpkg::compare(a, b),
            Scheme::Rpm => rpm::compare(a, b),
            Scheme::Apk => apk::compare(a, b),
            Scheme::Semver => semver::compare(a, b),
            Scheme::Windows => windows::compare(a, b),
        }
    }

    /// Whether the text is a version that the scheme's own tools would take.
    pub fn accepts(self, version: &str) -> bool {
        match self {
            Scheme::Dpkg => dpkg::accepts(version),
            Scheme::Rpm => rpm::accepts(version),
            Scheme::Apk => apk::accepts(version),
            Scheme::Semver => semver::accepts(version),
            Scheme::Windows => windows::accepts(version),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
