//! Every operation over every datatype, compared with `oscap`.

use super::crafted::{Case, Document, text};
use super::oscap_is_here;

const ALL: &[&str] = &[
    "equals",
    "not equal",
    "case insensitive equals",
    "case insensitive not equal",
    "greater than",
    "less than",
    "greater than or equal",
    "less than or equal",
    "bitwise and",
    "bitwise or",
    "pattern match",
    "subset of",
    "superset of",
];
const RELATIONS: &[&str] =
    &["equals", "not equal", "greater than", "less than", "greater than or equal", "less than or equal", "pattern match"];
const OF_ADDRESSES: &[&str] =
    &["equals", "not equal", "greater than", "less than", "greater than or equal", "less than or equal", "subset of", "superset of"];

/// Values that are compared with each other. What `oscap` ends itself over is left out: operations that addresses do not have, prefixes
/// of 0 and above 128, and empty texts.
const DATATYPES: [(&str, &[&str], &[&str]); 12] = [
    ("string", ALL, &["a", "A", "ab", "^a", "b$", "[", "\u{e9}", "\u{c9}", " a"]),
    ("int", ALL, &["0", "1", "-1", "+1", " 1", "1 ", "007", "6", "1.0", "x", "9223372036854775807", "9223372036854775808"]),
    ("float", ALL, &["0", "1", "1.0", "-1.5", "1e3", "1000", "1000.0000000001", "1000.1", "x", "1e400", " 2", "2 "]),
    ("boolean", ALL, &["true", "false", "1", "0", "TRUE", "x"]),
    ("binary", ALL, &["00ff", "00FF", "00fe", "0", "xy"]),
    ("version", RELATIONS, &["1", "1.0", "1.1", "1.10", "1.2", "01.1", "1-1", "1.a", "a", "1..1", "1.2.3.4", "1.2147483648", "1a2"]),
    (
        "evr_string",
        RELATIONS,
        &[
            "1.0-1",
            "0:1.0-1",
            "1:1.0-1",
            "1.0",
            "0:1.0",
            "1.0-2",
            "1.0~rc1-1",
            "1.0^git-1",
            "1.10-1",
            "1.a-1",
            "00:1.0-1",
            ":1.0-1",
            "1.0-1-1",
        ],
    ),
    (
        "debian_evr_string",
        RELATIONS,
        &[
            "1.0-1",
            "0:1.0-1",
            "1:1.0-1",
            "1.0",
            "1.0-0",
            "1.0~rc1-1",
            "1.0+b1",
            "1.10-1",
            "1.a-1",
            "99999999999:1",
            "2147483647:1",
            ":1.0",
            "a:1",
        ],
    ),
    ("fileset_revision", RELATIONS, &["1.2.3.4", "1.2.3.5"]),
    ("ios_version", RELATIONS, &["12.4(19c)T", "12.4(2)"]),
    (
        "ipv4_address",
        OF_ADDRESSES,
        &[
            "10.0.0.1",
            "10.0.0.2",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3/16",
            "10.0.0.0/255.0.0.0",
            "11.0.0.0/8",
            "10.0.0.1/33",
            "x",
            "010.0.0.1",
        ],
    ),
    (
        "ipv6_address",
        OF_ADDRESSES,
        &["::1", "::2", "fe80::/10", "fe80::1/64", "fe80::1", "fe80:0:0:0::2/64", "FE80::1/64", "::ffff:10.0.0.1", "x", "1::2::3"],
    ),
];

#[test]
fn operations_over_datatypes() {
    if !oscap_is_here() {
        return;
    }
    let (mut document, mut compared) = (Document::default(), 0);
    for (datatype, operations, values) in DATATYPES {
        for stated in values {
            for collected in values {
                for operation in operations {
                    let wanted = format!(r#"<ind:text datatype="{datatype}" operation="{operation}">{stated}</ind:text>"#);
                    let label = format!("{datatype} {collected:?} {operation} {stated:?}");
                    let items = vec![("exists", text(collected))];
                    document.case(&label, &Case { states: vec![("AND", wanted)], items, ..Case::default() });
                    document.compare_if_full(&mut compared);
                }
            }
        }
    }
    compared += document.compare();
    assert!(compared > 10_000, "{compared}");
}
