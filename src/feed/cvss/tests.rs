//! The scores that FIRST publishes with its specifications.

use super::*;

fn scores(vector: &str) -> [String; 3] {
    let v = Vector::parse(vector).expect(vector);
    [v.base(), v.temporal(), v.environmental()].map(|t| t.to_string())
}

#[test]
fn version_2_as_its_guide_computes() {
    // CVE-2002-0392, CVE-2003-0818 and CVE-2003-0062, with the environments that give most.
    assert_eq!(scores("AV:N/AC:L/Au:N/C:N/I:N/A:C/E:F/RL:OF/RC:C/CDP:H/TD:H/CR:M/IR:M/AR:H"), ["7.8", "6.4", "9.2"]);
    assert_eq!(scores("AV:N/AC:L/Au:N/C:C/I:C/A:C/E:F/RL:OF/RC:C/CDP:H/TD:H/CR:M/IR:M/AR:L"), ["10.0", "8.3", "9.0"]);
    assert_eq!(scores("AV:L/AC:H/Au:N/C:C/I:C/A:C/E:POC/RL:OF/RC:C/CDP:H/TD:H/CR:M/IR:M/AR:M"), ["6.2", "4.9", "7.5"]);
    assert_eq!(scores("(AV:N/AC:L/Au:N/C:N/I:N/A:N)"), ["0.0", "0.0", "0.0"]);
}

#[test]
fn version_3_as_its_examples_say() {
    for (cve, vector, base) in [
        ("CVE-2013-1937", "AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", "6.1"),
        ("CVE-2013-0375", "AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", "6.4"),
        ("CVE-2014-3566", "AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", "3.1"),
        ("CVE-2012-1516", "AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", "9.9"),
        ("CVE-2009-0783", "AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", "4.2"),
        ("CVE-2012-0384", "AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", "8.8"),
        ("CVE-2015-1098", "AV:L/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H", "7.8"),
        ("CVE-2014-0160", "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", "7.5"),
        ("CVE-2014-6271", "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "9.8"),
        ("CVE-2008-1447", "AV:N/AC:H/PR:N/UI:N/S:C/C:N/I:H/A:N", "6.8"),
        ("CVE-2014-2005", "AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "6.8"),
        ("CVE-2010-0467", "AV:N/AC:L/PR:N/UI:N/S:C/C:L/I:N/A:N", "5.8"),
        ("CVE-2012-1342", "AV:N/AC:L/PR:N/UI:N/S:C/C:N/I:L/A:N", "5.8"),
        ("CVE-2013-6014", "AV:A/AC:L/PR:N/UI:N/S:C/C:H/I:N/A:H", "9.3"),
        ("CVE-2011-1265", "AV:A/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "8.8"),
    ] {
        for version in ["CVSS:3.0/", "CVSS:3.1/"] {
            assert_eq!(scores(&format!("{version}{vector}"))[0], base, "{cve}");
        }
    }
}

#[test]
fn version_4_as_its_examples_say() {
    for (vector, score) in [
        ("AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", "10.0"),
        ("AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:N/SC:N/SI:N/SA:N", "0.0"),
        // CVE-2022-41741 and CVE-2020-3549 of the examples.
        ("AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "7.3"),
        ("AV:N/AC:H/AT:N/PR:N/UI:P/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "7.7"),
    ] {
        assert_eq!(Vector::parse(&format!("CVSS:4.0/{vector}")).expect(vector).overall().to_string(), score, "{vector}");
    }
}

#[test]
fn what_is_no_vector() {
    for (text, says) in [
        ("", "not a CVSS vector"),
        ("9.8", "not a CVSS vector"),
        ("CVSS:3.1/AV:N", "metric AC of CVSS 3.1 is missing"),
        ("CVSS:3.1/AV:N/AV:L", "metric AV is given twice"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:Q", "metric number 8"),
        ("CVSS:4.0/AC:L/AV:N/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", "metric AV stands before"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/", "metric number 9"),
    ] {
        let error = Vector::parse(text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn scores_and_their_words() {
    assert_eq!(Tenths::of(9.8), Some(Tenths(98)));
    assert_eq!(Tenths::of(9.85), None);
    assert_eq!(Tenths::of(-1.0), None);
    assert_eq!(Tenths(90).level(Version::V31), Level::Critical);
    assert_eq!(Tenths(90).level(Version::V2), Level::High);
    assert_eq!(Tenths(0).level(Version::V40), Level::None);
}
