//! Which patches matter first: a documented formula over what is published of a patch, and the endpoint's own value.
//!
//! docs/PATCHES.md has the formula for users; it is this file in words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::catalog::Threats;
use super::define::Definition;
use crate::feed::cvss::{Vector, Version};
use crate::feed::model::Level;

/// Where a patch stands among all, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// 0 to 100.
    pub priority: u8,
    pub band: Band,
    /// The vendor's word, or what the CVSS score comes to.
    pub level: Level,
    /// Base score in tenths, the highest of all.
    pub cvss: Option<u8>,
    /// In KEV, or said by the vendor.
    pub exploited: bool,
    pub ransomware: bool,
    /// KEV's date, `2026-11-20`.
    pub due: Option<Box<str>>,
    /// Probability in millionths, the highest of its CVEs.
    pub epss: Option<u32>,
    /// What the priority is the sum of, in the order of the formula: name and points.
    pub parts: Vec<(Box<str>, i16)>,
}

/// In the words of NIST SP 800-40r4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Band {
    Routine,
    Soon,
    Emergency,
}

impl Band {
    fn of(priority: u8) -> Band {
        match priority {
            70.. => Band::Emergency,
            35.. => Band::Soon,
            _ => Band::Routine,
        }
    }
}

/// The name of the part that is the endpoint's own.
const VALUE: &str = "value";

/// The priority of a patch whatever the endpoint.
pub fn rank(definition: &Definition, threats: &Threats) -> Rank {
    let scored = score(definition);
    let stated = definition.severity.as_ref().and_then(|s| s.level);
    let level = stated.or(scored.map(|(tenths, version)| crate::feed::cvss::Tenths(tenths).level(version)));
    let known = definition.cves.iter().filter_map(|cve| threats.kev.get(cve));
    let kev = known.clone().next().is_some();
    let ransomware = known.clone().any(|k| k.ransomware);
    let due = known.filter_map(|k| k.due).min().map(|t| t.strftime("%Y-%m-%d").to_string().into());
    let epss = definition.cves.iter().filter_map(|cve| threats.epss.get(cve)).map(|e| e.probability).max();
    let said = definition.exploitation.exploited == Some(true);
    let mut parts: Vec<(Box<str>, i16)> = Vec::new();
    let mut part = |name: &str, points: i16| parts.push((name.into(), points));
    match level {
        Some(Level::Critical) => part("severity", 40),
        Some(Level::High) => part("severity", 30),
        Some(Level::Medium) => part("severity", 15),
        Some(Level::Low) => part("severity", 5),
        Some(Level::None) => {}
        None => part("severity unknown", 10),
    }
    if let Some((tenths, _)) = scored.filter(|(tenths, _)| *tenths >= 10) {
        part("cvss", i16::from(tenths / 10));
    }
    match (kev, said) {
        (true, _) => part("kev", 40),
        (false, true) => part("exploited", 35),
        (false, false) => {}
    }
    if ransomware {
        part("ransomware", 5);
    }
    match epss {
        Some(500_000..) => part("epss", 15),
        Some(100_000..) => part("epss", 10),
        Some(10_000..) => part("epss", 5),
        _ => {}
    }
    if !definition.exploitation.exploits.is_empty() {
        part("exploit", 5);
    }
    if definition.exploitation.disclosed == Some(true) {
        part("disclosed", 5);
    }
    let cvss = scored.map(|(tenths, _)| tenths);
    let level = level.unwrap_or(Level::None);
    let mut rank = Rank { priority: 0, band: Band::Routine, level, cvss, exploited: kev || said, ransomware, due, epss, parts };
    rank.add_up();
    rank
}

impl Rank {
    /// The same at an endpoint whose label `value` is this; words other than `low`, `medium`, `high` and `critical` count as `medium`.
    #[must_use]
    pub fn at(&self, value: Option<&str>) -> Rank {
        let mut rank = self.clone();
        rank.parts.retain(|(name, _)| &**name != VALUE);
        let points = match value.map(|v| v.trim().to_ascii_lowercase()).as_deref() {
            Some("low") => -10,
            Some("high") => 5,
            Some("critical") => 10,
            _ => 0,
        };
        if points != 0 {
            rank.parts.push((VALUE.into(), points));
        }
        rank.add_up();
        rank
    }

    fn add_up(&mut self) {
        let sum: i16 = self.parts.iter().map(|(_, points)| points).sum();
        self.priority = u8::try_from(sum.clamp(0, 100)).unwrap_or(100);
        self.band = Band::of(self.priority);
    }
}

/// The highest base score in tenths. Where a CVE is scored by several versions of CVSS, the newest counts.
fn score(definition: &Definition) -> Option<(u8, Version)> {
    let mut newest: BTreeMap<&[Box<str>], (Version, u8)> = BTreeMap::new();
    for score in &definition.scores {
        let Ok(vector) = Vector::parse(&score.vector) else { continue };
        let found = (vector.version(), vector.base().0);
        newest.entry(&score.about).and_modify(|best| *best = found.max(*best)).or_insert(found);
    }
    newest.into_values().map(|(version, tenths)| (tenths, version)).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::model::{Advisory, Score, Severity, Source};
    use crate::feed::{epss, kev};
    use crate::limits::Limits;

    const NINE_EIGHT: &str = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";

    fn definition(severity: &str, vectors: &[&str]) -> Definition {
        let mut advisory = Advisory::new(Source::Osv, "test", "X-1");
        advisory.aliases = vec!["CVE-2024-1".into(), "CVE-2024-2".into()];
        advisory.severity = Severity::of(severity);
        advisory.scores = vectors.iter().map(|v| Score { vector: (*v).into(), about: Vec::new(), by: "".into() }).collect();
        let defined = crate::patch::define::define(vec![advisory], &Limits::default()).unwrap();
        Definition::clone(&defined.definitions[0])
    }

    fn threats(known: bool, ransomware: bool, probability: u32) -> Threats {
        let entry = |cve: &str| kev::Exploited {
            cve: cve.into(),
            vendor: "".into(),
            product: "".into(),
            name: "".into(),
            added: None,
            due: "2024-03-01T00:00:00Z".parse().ok(),
            ransomware,
            action: "".into(),
        };
        let kev = kev::Catalog { entries: if known { vec![entry("CVE-2024-2")] } else { Vec::new() }, ..kev::Catalog::default() };
        let scores = vec![epss::Epss { cve: "CVE-2024-1".into(), probability, percentile: 0 }];
        Threats { kev, epss: epss::Scores { entries: scores, ..epss::Scores::default() } }
    }

    #[test]
    fn bands_hold_their_promises() {
        for value in [None, Some("low"), Some("critical")] {
            let critical = rank(&definition("critical", &[]), &threats(true, false, 0)).at(value);
            assert_eq!(critical.band, Band::Emergency, "KEV and critical at {value:?}");
            for severity in ["low", "", "none", "unheard of"] {
                let quiet = rank(&definition(severity, &[]), &threats(false, false, 9_999)).at(value);
                assert_eq!(quiet.band, Band::Routine, "{severity} without threat at {value:?}");
            }
            let known = rank(&definition("low", &[]), &threats(true, false, 0)).at(value);
            assert!(known.band >= Band::Soon, "whatever is attacked, at {value:?}: {known:?}");
        }
    }

    #[test]
    fn the_newest_version_of_cvss_counts() {
        let v2 = "AV:N/AC:L/Au:N/C:C/I:C/A:C";
        let v4 = "CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N";
        assert_eq!(rank(&definition("", &[v2]), &Threats::default()).cvss, Some(100));
        assert_eq!(rank(&definition("", &[NINE_EIGHT, v2]), &Threats::default()).cvss, Some(98));
        let low = rank(&definition("", &[v2, v4, NINE_EIGHT]), &Threats::default());
        assert_eq!((low.cvss, low.level), (Some(48), Level::Medium));
        let mut two = definition("", &[v4, NINE_EIGHT]);
        two.scores[0].about = vec!["CVE-2024-1".into()];
        assert_eq!(rank(&two, &Threats::default()).cvss, Some(98), "of different CVEs the highest counts");
    }

    /// The examples of docs/PATCHES.md: each is a line `| part | points |` a part, under a heading.
    #[test]
    fn the_examples_of_the_document_are_what_is_computed() {
        let document = include_str!("../../docs/PATCHES.md");
        let example = |title: &str| {
            let section = document.split_once(title).unwrap().1;
            let rows = section.lines().skip_while(|l| !l.starts_with("|---")).skip(1).take_while(|l| l.starts_with('|'));
            rows.map(|l| {
                let cells: Vec<&str> = l.trim_matches('|').split('|').map(str::trim).collect();
                (cells[0].to_owned(), cells[1].parse::<i16>().unwrap(), cells[2].to_owned())
            })
            .collect::<Vec<_>>()
        };
        let check = |title: &str, rank: &Rank| {
            let rows = example(title);
            let (sum, parts) = rows.split_last().unwrap();
            let computed: Vec<(String, i16)> = rank.parts.iter().map(|(name, points)| (name.to_string(), *points)).collect();
            assert_eq!(parts.iter().map(|(name, points, _)| (name.clone(), *points)).collect::<Vec<_>>(), computed, "{title}");
            let band = serde_json::to_value(rank.band).unwrap();
            assert_eq!((sum.0.as_str(), sum.1, sum.2.as_str()), ("priority", i16::from(rank.priority), band.as_str().unwrap()));
        };
        let mut attacked = definition("critical", &[NINE_EIGHT]);
        attacked.exploitation.exploits = vec!["https://example.org/poc".into()];
        check("### Attacked already", &rank(&attacked, &threats(true, true, 940_000)).at(Some("low")));
        check(
            "### An ordinary update",
            &rank(&definition("moderate", &["CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:N/A:N"]), &threats(false, false, 20_000))
                .at(Some("high")),
        );
    }
}
