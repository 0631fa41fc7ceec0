//! One shape for what every vendor says: an [`Advisory`], and per product that it names an [`Affected`].
//!
//! # How an advisory compiles to row predicates
//!
//! Each `Affected` is one or two conditions on **one row** of one table, and a state to report where they hold; nothing in it needs a join.
//!
//! | target | table | condition on the row |
//! |---|---|---|
//! | [`Target::Package`] | `package` | `release` is covered by `platform` ([`Platform::covers`]); `name` (binary) or `source` (source) equals `name`; `arch` is in `arches`, if there are any; the version is in `versions`. The version is `version`; where the name was found in `source`, `source_version` if the row has one |
//! | [`Target::Windows`] | `os`, `package` | the product name is one of `products`: an operating system is told by the `os` row (`name`, `build`, `arch`), another product by a `package` row |
//! | [`Target::Product`] | `package` | `name` equals `name` and `vendor` is like `vendor`, or the CPE that the row is known by |
//!
//! `versions` is a union of [`Range`]s and of exact texts: `v >= start && v < end` under the row's [`Scheme`], so a compiler emits one comparison for each bound and
//! groups by (platform, name), the hash key of a row. [`Versions::contains`] is the definition. A module condition ([`Module`]) is a condition on the
//! same row too: a row is modular if its `version` contains `.module` or it has a `module`. An entry with a module fits modular rows only, of that stream where the
//! row's `module` says which, or its version does; an entry without one fits the others only. Readers see to it that an entry whose fix is modular has a module,
//! one without a name if the feed does not say which.
//!
//! A [`Fix`] says what ends it. With a `build` the Windows condition is on the `os` row alone: same first three numbers of `build`, fourth below. With a
//! `kb`, it is "no `hotfix` row with `id` in the set of the KB and all that supersede it" ([`super::supersede`] makes the set at compile time); the absence of a row is one
//! term over the table, an index lookup at judging. Of several fixes of one entry any one is enough.
//!
//! The state to report follows from [`FixState`]: `Fixed` becomes missing or installed; `NoFix`, `WillNotFix` and `UnderInvestigation` become "affected, no fix yet" with
//! their reason; `NotAffected` takes away what a less precise statement about the same product and CVE says. An advisory with `withdrawn` compiles to nothing and resolves
//! what it opened.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::version::Scheme;

/// Whose format it was read from. The publisher is in [`Advisory::publisher`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Osv,
    Csaf,
    OpenVex,
    DebianTracker,
    DebianList,
    Msrc,
    WesNg,
    Oval,
}

/// A vendor's statement: "these products are affected by this, and that fixes it".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advisory {
    pub source: Source,
    /// Who says so: an ecosystem, a vendor, `Debian`.
    pub publisher: Box<str>,
    pub id: Box<str>,
    /// Other names of it, and the CVEs that it is about; sorted.
    pub aliases: Vec<Box<str>>,
    /// Advisories that are near it and not it; sorted.
    pub related: Vec<Box<str>>,
    pub title: Box<str>,
    pub summary: Box<str>,
    pub severity: Option<Severity>,
    pub scores: Vec<Score>,
    pub published: Option<Timestamp>,
    pub modified: Option<Timestamp>,
    /// Set: it counts no more, and what it opened is resolved.
    pub withdrawn: Option<Timestamp>,
    pub references: Vec<Box<str>>,
    pub exploitation: Exploitation,
    pub affected: Vec<Affected>,
}

impl Advisory {
    pub fn new(source: Source, publisher: &str, id: &str) -> Advisory {
        Advisory {
            source,
            publisher: publisher.into(),
            id: id.into(),
            aliases: Vec::new(),
            related: Vec::new(),
            title: "".into(),
            summary: "".into(),
            severity: None,
            scores: Vec::new(),
            published: None,
            modified: None,
            withdrawn: None,
            references: Vec::new(),
            exploitation: Exploitation::default(),
            affected: Vec::new(),
        }
    }

    /// The CVEs that it is about, its own id among them.
    pub fn cves(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.id).chain(&self.aliases).map(|a| &**a).filter(|a| a.starts_with("CVE-"))
    }

    /// Lists in a fixed order, without doubles.
    pub(super) fn settle(&mut self) {
        for list in [&mut self.aliases, &mut self.related] {
            list.sort();
            list.dedup();
        }
        self.aliases.retain(|a| *a != self.id);
        let mut seen = std::collections::BTreeSet::new();
        self.references.retain(|r| seen.insert(r.clone()));
    }
}

/// The vendor's word, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Severity {
    pub text: Box<str>,
    pub level: Option<Level>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    None,
    Low,
    Medium,
    High,
    Critical,
}

impl Level {
    pub const ALL: [Level; 5] = [Level::None, Level::Low, Level::Medium, Level::High, Level::Critical];

    pub fn name(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Low => "low",
            Level::Medium => "medium",
            Level::High => "high",
            Level::Critical => "critical",
        }
    }
}

impl Severity {
    /// `None` for an empty text. Words that no vendor's scale has keep their text and have no level.
    pub fn of(text: &str) -> Option<Severity> {
        let text = text.trim();
        let level = match text.to_ascii_lowercase().as_str() {
            "" => return None,
            "none" | "unimportant" | "informational" => Some(Level::None),
            "low" | "negligible" | "minor" => Some(Level::Low),
            "medium" | "moderate" => Some(Level::Medium),
            "high" | "important" => Some(Level::High),
            "critical" => Some(Level::Critical),
            _ => None,
        };
        Some(Severity { text: text.into(), level })
    }
}

/// A CVSS vector as given; it parses ([`super::cvss::Vector::parse`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    pub vector: Box<str>,
    /// The CVEs that it is of; none: the advisory as a whole.
    pub about: Vec<Box<str>>,
    /// Who scored, where it was not the publisher.
    pub by: Box<str>,
}

/// What the vendor knows of attacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exploitation {
    /// Attacked already; `None`: nothing was said.
    pub exploited: Option<bool>,
    /// Known to the public before the fix.
    pub disclosed: Option<bool>,
    /// Exploits that can be had, as URLs or as the vendor's words.
    pub exploits: Vec<Box<str>>,
}

/// What one advisory says of one product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affected {
    pub target: Target,
    /// The versions that the state is about. Under [`FixState::Fixed`] these are those that lack the fix.
    pub versions: Versions,
    pub state: FixState,
    /// The CVEs that this entry is about; none: all of the advisory.
    pub about: Vec<Box<str>>,
    /// What ends it; any one is enough.
    pub fixes: Vec<Fix>,
    /// Where it differs from the advisory's.
    pub severity: Option<Severity>,
    /// Where it differs from the advisory's.
    pub published: Option<Timestamp>,
    /// The vendor's reason: a VEX justification, "end of life", "Minor issue".
    pub reason: Box<str>,
}

impl Affected {
    pub fn new(target: Target, versions: Versions, state: FixState) -> Affected {
        let (about, fixes) = (Vec::new(), Vec::new());
        Affected { target, versions, state, about, fixes, severity: None, published: None, reason: "".into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FixState {
    /// There is a fix for it.
    Fixed,
    /// Affected, and the vendor says that it stays so.
    WillNotFix,
    /// Affected, without a fix so far.
    NoFix,
    NotAffected,
    UnderInvestigation,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    Package(Package),
    Windows(Windows),
    Product(Product),
}

/// A package of a distribution or of a language's registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Package {
    /// As the feed writes it: `AlmaLinux:8`, `Ubuntu:Pro:18.04:LTS`, `PyPI`.
    pub ecosystem: Arc<str>,
    /// `None`: wherever it is installed.
    pub platform: Option<Platform>,
    pub kind: PackageKind,
    pub name: Box<str>,
    /// Empty: any.
    pub arches: Vec<Box<str>>,
    pub module: Option<Module>,
}

/// What the name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageKind {
    Binary,
    Source,
    /// The feed has both.
    Either,
}

/// Which distribution, in the words of os-release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `debian`, `almalinux`, `rhel`
    pub id: Arc<str>,
    /// `12`, `22.04`, `3.19`; empty: all of them.
    pub version: Arc<str>,
    /// What is beside the release itself and asks for a subscription or a repository: `pro` (Ubuntu), a product CPE (Red Hat). Empty: the release.
    pub channel: Arc<str>,
}

impl Platform {
    pub fn new(id: &str, version: &str, channel: &str) -> Platform {
        Platform { id: id.into(), version: version.into(), channel: channel.into() }
    }

    /// Whether a `package.release` such as `almalinux:8.10` is of it. A version covers its minor releases.
    pub fn covers(&self, release: &str) -> bool {
        let (id, version) = release.split_once(':').unwrap_or((release, ""));
        id == &*self.id
            && match version.strip_prefix(&*self.version) {
                Some(rest) => self.version.is_empty() || rest.is_empty() || rest.starts_with('.'),
                None => false,
            }
    }
}

/// A stream of a Red Hat module: `nodejs:20`. Without a name: some module, the feed does not say which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Module {
    pub name: Box<str>,
    pub stream: Box<str>,
}

impl Module {
    pub fn unnamed() -> Module {
        Module { name: "".into(), stream: "".into() }
    }
}

/// Products by the names that Microsoft gives them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Windows {
    /// `Windows 10 Version 1809 for x64-based Systems`; sorted.
    pub products: Vec<Arc<str>>,
    /// `Microsoft .NET Framework 4.8`, where it is a part of the product.
    pub component: Arc<str>,
}

/// Something that no package manager knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Product {
    pub vendor: Box<str>,
    pub name: Box<str>,
    pub cpe: Box<str>,
    pub purl: Box<str>,
    /// What it runs on or is part of, as the document says it.
    pub platform: Box<str>,
    pub arches: Vec<Box<str>>,
}

/// A set of versions: a union of ranges and of versions by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Versions {
    /// How they compare; `None`: nobody said, and only `exact` and ranges without bounds can be judged.
    pub scheme: Option<Scheme>,
    pub ranges: Vec<Range>,
    /// Equal as texts. Sorted.
    pub exact: Vec<Box<str>>,
    /// A condition that the vendor wrote for people and that no reader understands; kept to be shown, never judged.
    pub text: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Range {
    pub start: Start,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Start {
    Open,
    /// The first version that is in the range.
    At(Box<str>),
    /// The last version before it.
    After(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum End {
    Open,
    /// The first version that is not in the range.
    Before(Box<str>),
    /// The last version that is.
    Through(Box<str>),
}

impl Versions {
    pub fn all(scheme: Option<Scheme>) -> Versions {
        Versions { scheme, ranges: vec![Range { start: Start::Open, end: End::Open }], ..Versions::default() }
    }

    pub fn before(scheme: Scheme, fixed: &str) -> Versions {
        Versions { scheme: Some(scheme), ranges: vec![Range { start: Start::Open, end: End::Before(fixed.into()) }], ..Versions::default() }
    }

    pub fn exactly(scheme: Option<Scheme>, version: &str) -> Versions {
        Versions { scheme, exact: vec![version.into()], ..Versions::default() }
    }

    /// The definition. `None`: it depends on an order that is not known.
    pub fn contains(&self, version: &str) -> Option<bool> {
        if self.exact.iter().any(|e| &**e == version) {
            return Some(true);
        }
        let mut unknown = false;
        for range in &self.ranges {
            match (self.scheme, range) {
                (_, Range { start: Start::Open, end: End::Open }) => return Some(true),
                (None, _) => unknown = true,
                (Some(scheme), range) if range.contains(scheme, version) => return Some(true),
                _ => {}
            }
        }
        // An exact version in another spelling is still that version.
        if let Some(scheme) = self.scheme
            && self.exact.iter().any(|e| scheme.compare(e, version).is_eq())
        {
            return Some(true);
        }
        if unknown || !self.text.is_empty() { None } else { Some(false) }
    }
}

impl Range {
    pub fn contains(&self, scheme: Scheme, version: &str) -> bool {
        let started = match &self.start {
            Start::Open => true,
            Start::At(v) => scheme.compare(version, v).is_ge(),
            Start::After(v) => scheme.compare(version, v).is_gt(),
        };
        started
            && match &self.end {
                End::Open => true,
                End::Before(v) => scheme.compare(version, v).is_lt(),
                End::Through(v) => scheme.compare(version, v).is_le(),
            }
    }
}

/// One thing to install.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fix {
    /// `kb5031364`, as `hotfix.id` has it.
    pub kb: Box<str>,
    /// The first version that has the fix.
    pub version: Box<str>,
    /// The first Windows build that has it: `10.0.19045.3803`.
    pub build: Box<str>,
    /// KBs that it replaces directly; sorted.
    pub supersedes: Vec<Box<str>>,
    /// `Security Update`, `Monthly Rollup`, `vendor_fix`, `workaround`
    pub kind: Box<str>,
    pub url: Box<str>,
    pub restart: Option<Restart>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    No,
    Maybe,
    Yes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_covers_its_minor_releases() {
        let alma = Platform::new("almalinux", "8", "");
        for (release, covered) in
            [("almalinux:8", true), ("almalinux:8.10", true), ("almalinux:80", false), ("almalinux:9.8", false), ("rocky:8.1", false)]
        {
            assert_eq!(alma.covers(release), covered, "{release}");
        }
        assert!(Platform::new("arch", "", "").covers("arch"));
        assert!(!Platform::new("alpine", "3.1", "").covers("alpine:3.19.1"));
    }

    #[test]
    fn versions_are_ranges_and_names() {
        let versions = Versions {
            scheme: Some(Scheme::Dpkg),
            ranges: vec![
                Range { start: Start::Open, end: End::Before("1.0~rc1".into()) },
                Range { start: Start::At("2".into()), end: End::Through("2.5-1".into()) },
            ],
            exact: vec!["7".into()],
            text: "".into(),
        };
        for (version, inside) in [
            ("0.9", true),
            ("1.0~beta", true),
            ("1.0~rc1", false),
            ("1.0", false),
            ("2", true),
            ("2.5-1", true),
            ("2.5-1+b1", false),
            ("7", true),
            ("07", true),
        ] {
            assert_eq!(versions.contains(version), Some(inside), "{version}");
        }
        assert_eq!(Versions { scheme: None, ..versions.clone() }.contains("0.9"), None);
        assert_eq!(Versions { scheme: None, ..versions }.contains("7"), Some(true));
        assert_eq!(Versions::all(None).contains("anything"), Some(true));
    }

    #[test]
    fn words_of_severity_keep_their_text() {
        assert_eq!(Severity::of("Important").and_then(|s| s.level), Some(Level::High));
        assert_eq!(Severity::of("System.Object[]").map(|s| s.level), Some(None));
        assert_eq!(Severity::of(" "), None);
    }
}
