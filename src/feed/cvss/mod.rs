//! CVSS vectors: text in; metrics and the scores that FIRST's specifications compute from them out. v2, v3.0, v3.1 and v4.0.

mod v2;
mod v3;
mod v4;

use std::fmt;

use super::model::Level;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    V2,
    V30,
    V31,
    V40,
}

impl Version {
    pub fn name(self) -> &'static str {
        match self {
            Version::V2 => "2.0",
            Version::V30 => "3.0",
            Version::V31 => "3.1",
            Version::V40 => "4.0",
        }
    }

    fn metrics(self) -> &'static [Metric] {
        match self {
            Version::V2 => v2::METRICS,
            Version::V30 | Version::V31 => v3::METRICS,
            Version::V40 => v4::METRICS,
        }
    }
}

/// A score in tenths, as published scores are: 98 is 9.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenths(pub u8);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl Tenths {
    /// The nearest tenth of a number of a document; `None` out of 0 to 10.
    pub fn of(score: f64) -> Option<Tenths> {
        (0..=100u8).find(|t| (score * 10.0 - f64::from(*t)).abs() < 1e-6).map(Tenths)
    }

    /// The qualitative rating of v3 and v4. v2 itself has none; NVD's words for it stop at High.
    pub fn level(self, version: Version) -> Level {
        match (self.0, version) {
            (70.., Version::V2) => Level::High,
            (40.., Version::V2) => Level::Medium,
            (_, Version::V2) => Level::Low,
            (90.., _) => Level::Critical,
            (70.., _) => Level::High,
            (40.., _) => Level::Medium,
            (1.., _) => Level::Low,
            (0, _) => Level::None,
        }
    }

    /// Rounds to the nearest tenth, halves up. The formulas have few decimals: what is a hair under a half is a half.
    fn nearest(score: f64) -> Tenths {
        Tenths::whole((score * 10.0 + 0.5 + 1e-8).floor())
    }

    /// A whole number of tenths out of a float.
    fn whole(tenths: f64) -> Tenths {
        Tenths((0..=100u8).rev().find(|t| f64::from(*t) <= tenths).unwrap_or(0))
    }

    fn float(self) -> f64 {
        f64::from(self.0) / 10.0
    }
}

/// One metric of a version: its short name and the values that it may have.
struct Metric {
    name: &'static str,
    values: &'static [&'static str],
    /// The value that it has when it is absent; none: it must be there.
    default: Option<&'static str>,
}

const fn must(name: &'static str, values: &'static [&'static str]) -> Metric {
    Metric { name, values, default: None }
}

const fn may(name: &'static str, values: &'static [&'static str]) -> Metric {
    Metric { name, values, default: Some("X") }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CvssError {
    #[error("not a CVSS vector: it begins with neither CVSS:3.0/, CVSS:3.1/, CVSS:4.0/ nor a metric of version 2")]
    NoVector,
    #[error("metric {0} of CVSS {1} is missing")]
    Missing(&'static str, &'static str),
    #[error("metric {0} is given twice")]
    Twice(&'static str),
    #[error("metric number {0} is none of CVSS {1}, or has a value that it cannot have")]
    Unknown(usize, &'static str),
    #[error("metric {0} stands before one that it must follow")]
    Order(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector {
    version: Version,
    /// As many as the version has metrics; `None`: absent.
    values: Vec<Option<&'static str>>,
}

impl Vector {
    pub fn parse(text: &str) -> Result<Vector, CvssError> {
        let prefixes = [("CVSS:3.0/", Version::V30), ("CVSS:3.1/", Version::V31), ("CVSS:4.0/", Version::V40)];
        let prefixed = prefixes.iter().find_map(|(prefix, version)| text.strip_prefix(prefix).map(|rest| (*version, rest)));
        let (version, rest) = match prefixed {
            Some(found) => found,
            None if text.starts_with("AV:") => (Version::V2, text),
            // NVD wrote parentheses around version 2.
            None => match text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
                Some(inner) => (Version::V2, inner),
                None => return Err(CvssError::NoVector),
            },
        };
        let metrics = version.metrics();
        let mut values = vec![None; metrics.len()];
        let mut last = 0;
        for (number, part) in rest.split('/').enumerate() {
            let found = part.split_once(':').and_then(|(name, value)| {
                let at = metrics.iter().position(|m| m.name == name)?;
                let metric = metrics.get(at)?;
                Some((at, metric, *metric.values.iter().find(|v| **v == value)?))
            });
            let Some((at, metric, value)) = found else { return Err(CvssError::Unknown(number + 1, version.name())) };
            // Version 4 fixes the order; the others recommend one.
            if version == Version::V40 && at < last {
                return Err(CvssError::Order(metric.name));
            }
            last = at;
            if values.get_mut(at).and_then(|slot| slot.replace(value)).is_some() {
                return Err(CvssError::Twice(metric.name));
            }
        }
        let missing = metrics.iter().zip(&values).find(|(m, v)| m.default.is_none() && v.is_none());
        match missing {
            Some((metric, _)) => Err(CvssError::Missing(metric.name, version.name())),
            None => Ok(Vector { version, values }),
        }
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// The value of a metric by its short name, the version's "not defined" where it is absent. Empty for a name that the version has not.
    pub fn get(&self, name: &str) -> &'static str {
        let found = self.version.metrics().iter().zip(&self.values).find(|(m, _)| m.name == name);
        found.and_then(|(m, v)| v.or(m.default)).unwrap_or("")
    }

    /// The value of a metric if the vector itself has it.
    pub fn given(&self, name: &str) -> Option<&'static str> {
        self.version.metrics().iter().zip(&self.values).find(|(m, _)| m.name == name).and_then(|(_, v)| *v)
    }

    /// Whether any of these metrics is there with a value other than "not defined".
    fn says(&self, names: &[&str]) -> bool {
        names.iter().any(|name| !matches!(self.get(name), "X" | "ND" | ""))
    }

    pub fn base(&self) -> Tenths {
        match self.version {
            Version::V2 => v2::base(self),
            Version::V30 | Version::V31 => v3::base(self),
            Version::V40 => v4::score(self, v4::Part::Base),
        }
    }

    /// Versions 2 and 3: the temporal score, whether its metrics are given or not. Version 4: with threat metrics.
    pub fn temporal(&self) -> Tenths {
        match self.version {
            Version::V2 => v2::temporal(self),
            Version::V30 | Version::V31 => v3::temporal(self),
            Version::V40 => v4::score(self, v4::Part::Threat),
        }
    }

    /// With everything that is given.
    pub fn environmental(&self) -> Tenths {
        match self.version {
            Version::V2 => v2::environmental(self),
            Version::V30 | Version::V31 => v3::environmental(self),
            Version::V40 => v4::score(self, v4::Part::All),
        }
    }

    /// The score that the vector as a whole stands for: that of the last group of metrics that it speaks of.
    pub fn overall(&self) -> Tenths {
        match self.version {
            Version::V40 => self.environmental(),
            Version::V2 if self.says(&["CDP", "TD", "CR", "IR", "AR"]) => self.environmental(),
            Version::V2 => self.temporal(),
            _ if self.says(v3::ENVIRONMENTAL) => self.environmental(),
            _ => self.temporal(),
        }
    }
}

/// The weight of a metric's value.
fn weight(vector: &Vector, name: &str, weights: &[(&str, f64)]) -> f64 {
    pick(vector.get(name), weights)
}

fn pick(value: &str, weights: &[(&str, f64)]) -> f64 {
    weights.iter().find(|(v, _)| *v == value).map_or(1.0, |(_, w)| *w)
}

#[cfg(test)]
mod tests;
