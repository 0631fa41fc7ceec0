//! What a feed's files are: the name of a format in, the reader for it out.

use serde::{Deserialize, Serialize};

use crate::feed::{Sink, csaf, debian, epss, kev, msrc, openvex, osv, oval};
use crate::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Osv,
    Csaf,
    Openvex,
    DebianTracker,
    DsaList,
    MsrcCvrf,
    Wesng,
    Oval,
    Kev,
    Epss,
}

/// What the files of a format speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Products: advisories, compiled into a segment.
    Products,
    /// CVEs wherever they are: KEV and EPSS.
    Cves,
}

impl Format {
    pub const ALL: [(&'static str, Format); 10] = [
        ("osv", Format::Osv),
        ("csaf", Format::Csaf),
        ("openvex", Format::Openvex),
        ("debian-tracker", Format::DebianTracker),
        ("dsa-list", Format::DsaList),
        ("msrc-cvrf", Format::MsrcCvrf),
        ("wesng", Format::Wesng),
        ("oval", Format::Oval),
        ("kev", Format::Kev),
        ("epss", Format::Epss),
    ];

    pub fn name(self) -> &'static str {
        Format::ALL.iter().find(|(_, f)| *f == self).map_or("", |(name, _)| name)
    }

    pub fn by_name(name: &str) -> Option<Format> {
        Format::ALL.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
    }

    pub fn speaks(self) -> Speaks {
        match self {
            Format::Kev | Format::Epss => Speaks::Cves,
            _ => Speaks::Products,
        }
    }

    /// Reads one file; nothing of formats that speak of CVEs, which `threats` reads.
    pub fn read(self, file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) {
        match self {
            Format::Osv => osv::read(file, bytes, limits, sink),
            Format::Csaf => csaf::read(file, bytes, limits, sink),
            Format::Openvex => openvex::read(file, bytes, limits, sink),
            Format::DebianTracker => debian::read_tracker(file, bytes, limits, sink),
            Format::DsaList => debian::read_list(file, bytes, limits, sink),
            Format::MsrcCvrf => msrc::read_cvrf(file, bytes, limits, sink),
            Format::Wesng => msrc::read_wesng(file, bytes, limits, sink),
            Format::Oval => oval::read(file, bytes, limits, sink),
            Format::Kev => drop(kev::read(file, bytes, limits, sink)),
            Format::Epss => drop(epss::read(file, bytes, limits, sink)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_configuration() {
        for (name, format) in Format::ALL {
            assert_eq!((Format::by_name(name), format.name()), (Some(format), name));
            assert_eq!(serde_json::to_string(&format).expect("json"), format!("\"{name}\""));
        }
        assert_eq!(Format::by_name("cvrf"), None);
    }
}
