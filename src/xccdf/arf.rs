//! ARF 1.1: a collection of the request (the data stream), the asset, and the reports about it.
//!
//! Results in collections of other scanners are read by [`super::results::read_results`], their system characteristics by
//! [`crate::oval::syschar`].

use std::net::{Ipv4Addr, Ipv6Addr};

use super::results::{Target, TestResult};
use crate::xml::scan::Element;
use crate::xml::write::Out;

/// The id of the one asset, and of the report that holds the `TestResult`.
pub const ASSET: &str = "asset0";
const RESULT: &str = "xccdf1";
const REQUEST: &str = "collection1";

/// A collection before it is written.
#[derive(Clone, Copy, Debug)]
pub struct Collection<'a> {
    /// The data stream collection that was asked for, or whatever the benchmark came in.
    pub source: Option<&'a Element<'a>>,
    /// Its `asset` should be [`ASSET`], and its `reports` name the ids of `oval`.
    pub result: &'a TestResult<'a>,
    /// OVAL results, with the id of their report: elements without XML declaration.
    pub oval: &'a [(String, String)],
}

impl Collection<'_> {
    pub fn write(&self) -> String {
        let mut out = Out::document();
        out.open(
            "arf:asset-report-collection",
            &[
                ("xmlns:arf", Some("http://scap.nist.gov/schema/asset-reporting-format/1.1")),
                ("xmlns:core", Some("http://scap.nist.gov/schema/reporting-core/1.1")),
                ("xmlns:ai", Some("http://scap.nist.gov/schema/asset-identification/1.1")),
            ],
        );
        self.relationships(&mut out);
        if let Some(source) = self.source {
            out.open("arf:report-requests", &[]);
            out.open("arf:report-request", &[("id", Some(REQUEST))]);
            out.open("arf:content", &[]);
            out.raw(&source.standing());
            out.close();
            out.close();
            out.close();
        }
        asset(&mut out, self.result.target);
        out.open("arf:reports", &[]);
        report(&mut out, RESULT, |out| self.result.write_into(out));
        for (id, results) in self.oval {
            report(&mut out, id, |out| out.raw(results));
        }
        out.close();
        out.finish()
    }

    fn relationships(&self, out: &mut Out) {
        let vocabulary = "http://scap.nist.gov/specifications/arf/vocabulary/relationships/1.0#";
        out.open("core:relationships", &[("xmlns:arfvocab", Some(vocabulary))]);
        if self.source.is_some() {
            relationship(out, "arfvocab:createdFor", REQUEST);
        }
        relationship(out, "arfvocab:isAbout", ASSET);
        out.close();
    }
}

fn relationship(out: &mut Out, kind: &str, to: &str) {
    out.open("core:relationship", &[("type", Some(kind)), ("subject", Some(RESULT))]);
    out.leaf("core:ref", &[], to);
    out.close();
}

fn report(out: &mut Out, id: &str, content: impl FnOnce(&mut Out)) {
    out.open("arf:report", &[("id", Some(id))]);
    out.open("arf:content", &[]);
    content(out);
    out.close();
    out.close();
}

/// Addresses that are none, and names that the schema does not take, are left out: the `TestResult` has them as they are.
fn asset(out: &mut Out, target: &Target) {
    out.open("arf:assets", &[]);
    out.open("arf:asset", &[("id", Some(ASSET))]);
    out.open("ai:computing-device", &[]);
    let addresses: Vec<(&str, String)> = target.addresses.iter().filter_map(|a| address(a)).collect();
    let macs: Vec<&String> = target.macs.iter().filter(|m| is_mac(m)).collect();
    if !addresses.is_empty() || !macs.is_empty() {
        out.open("ai:connections", &[]);
        for (kind, address) in &addresses {
            out.open("ai:connection", &[]);
            out.open("ai:ip-address", &[]);
            out.leaf(kind, &[], address);
            out.close();
            out.close();
        }
        for mac in macs {
            out.open("ai:connection", &[]);
            out.leaf("ai:mac-address", &[], mac);
            out.close();
        }
        out.close();
    }
    let label = |l: &str| !l.is_empty() && l.len() < 64 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if target.name.contains('.') && target.name.split('.').all(label) {
        out.leaf("ai:fqdn", &[], &target.name);
    }
    if let Some(host) = target.name.split('.').next().filter(|h| label(h)) {
        out.leaf("ai:hostname", &[], host);
    }
    out.close();
    out.close();
    out.close();
}

/// The schema wants all eight groups of an IPv6 address.
fn address(text: &str) -> Option<(&'static str, String)> {
    let plain = text.split('%').next().unwrap_or(text);
    if let Ok(v4) = plain.parse::<Ipv4Addr>() {
        return Some(("ai:ip-v4", v4.to_string()));
    }
    let v6 = plain.parse::<Ipv6Addr>().ok()?;
    let groups: Vec<String> = v6.segments().iter().map(|s| format!("{s:x}")).collect();
    Some(("ai:ip-v6", groups.join(":")))
}

fn is_mac(text: &str) -> bool {
    let groups: Vec<&str> = text.split(':').collect();
    groups.len() == 6 && groups.iter().all(|g| g.len() == 2 && g.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_schema_wants_them() {
        assert_eq!(address("fe80::1%eth0"), Some(("ai:ip-v6", "fe80:0:0:0:0:0:0:1".to_owned())));
        assert_eq!(address("10.0.0.1"), Some(("ai:ip-v4", "10.0.0.1".to_owned())));
        assert_eq!(address("host"), None);
        assert!(is_mac("02:fC:00:00:00:01") && !is_mac("02:fc") && !is_mac("02:fc:00:00:00:0g"));
    }

    #[test]
    fn an_asset_has_what_can_be_said() {
        let mut out = Out::new();
        asset(&mut out, &Target { name: "a_b".into(), addresses: vec!["x".into()], ..Target::default() });
        assert!(!out.finish().contains("ai:connections"));
        let mut out = Out::new();
        asset(&mut out, &Target { name: "a.b.example".into(), ..Target::default() });
        let text = out.finish();
        assert!(text.contains("<ai:fqdn>a.b.example</ai:fqdn>") && text.contains("<ai:hostname>a</ai:hostname>"), "{text}");
    }
}
