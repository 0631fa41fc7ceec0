//! The fleet that is made up: the same every time, shaped as fleets are, and said in scans that the server reads as they are meant.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::document::Identity;
use super::fleet::{Fleet, Options};
use crate::limits::Limits;
use crate::scan::Scan;
use crate::scan::digest::Digest;
use crate::scan::native::{Nothing, decode, decode_scan};
use crate::scan::table::TableId;

fn small(seed: u64) -> Fleet {
    Fleet::new(Options { seed, images: 2, levels: 3, ..Options::default() })
}

fn read(bytes: &[u8]) -> Scan {
    decode_scan(bytes, &Limits::default()).expect("a scan").1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_machine_is_the_same_whatever_was_asked_before(seed in 0u64..4, number in 0u32..100_000, step in 0u32..200) {
        let (one, other) = (small(seed), small(seed));
        other.facts(number + 1, step + 7).document();
        other.facts(number, step + 1).document();
        prop_assert_eq!(one.facts(number, step).document(), other.facts(number, step).document());
        prop_assert_eq!(Identity::of(&one, number), Identity::of(&other, number));
    }

    #[test]
    fn the_digest_is_the_scans_and_changes_lead_from_one_scan_to_the_next(number in 0u32..100_000, step in 0u32..200, later in 1u32..30) {
        let fleet = small(1);
        let (before, after) = (fleet.facts(number, step), fleet.facts(number, step + later));
        let (mut scan, whole) = (read(&before.document()), read(&after.document()));
        prop_assert_eq!(Digest::of_scan(&scan), before.digest());
        prop_assert_eq!(Digest::of_scan(&whole), after.digest());
        let rows: usize = whole.tables.keys().map(|t| whole.rows(*t).len()).sum();
        prop_assert_eq!(rows, after.rows());
        match after.changes(&before) {
            None => prop_assert_eq!(&scan.tables, &whole.tables),
            Some(changes) => {
                let (header, changed) = decode_scan(&changes, &Limits::default()).expect("changes");
                prop_assert_eq!(header.base, Some(before.digest().to_string()));
                prop_assert!(changed.tables.len() < whole.tables.len());
                scan.tables.extend(changed.tables);
                prop_assert_eq!(&scan.tables, &whole.tables);
            }
        }
    }
}

#[test]
fn rows_are_written_as_they_are_kept() {
    let decoded = decode(&small(1).facts(5, 40).document(), &Limits::default(), &mut Nothing).expect("a scan");
    for new in &decoded.new {
        assert_eq!(new.row.canonical(), *new.raw, "{}", new.row);
    }
    let tables: BTreeSet<&str> = decoded.tables.iter().map(|t| t.table.name()).collect();
    assert!(
        tables.is_superset(&BTreeSet::from([
            "os", "package", "sysctl", "file", "config", "service", "user", "mount", "sshd", "pam", "scope"
        ]))
    );
}

#[test]
fn machines_are_as_large_as_those_of_a_fleet() {
    let fleet = Fleet::new(Options::default());
    let package = TableId::by_name("package").expect("package");
    let (mut packages, mut others, mut images) = (0, 0, BTreeMap::new());
    for number in 0..120 {
        let scan = read(&fleet.facts(number, 0).document());
        let of: usize = scan.rows(package).len();
        assert!((1400..2600).contains(&of), "{of}");
        packages += of;
        others += scan.tables.keys().map(|t| scan.rows(*t).len()).sum::<usize>() - of;
        *images.entry(fleet.standing(number, 0).image).or_insert(0) += 1;
    }
    assert!((1850..2250).contains(&(packages / 120)), "{} packages", packages / 120);
    assert!((690..810).contains(&(others / 120)), "{} other rows", others / 120);
    assert!(images.len() > 8 && images[&0] > 15, "{images:?}");
}

#[test]
fn deviations_are_as_many_as_asked_for_and_rows_are_shared() {
    for factor in [1.0, 8.0] {
        let fleet = Fleet::new(Options { deviation: 10.0 * factor, levels: 3, images: 3, ..Options::default() });
        let mut distinct = BTreeSet::new();
        let (mut sum, mut all) = (0, 0);
        for number in 0..300 {
            let facts = fleet.facts(number, 0);
            sum += facts.deviation();
            all += facts.rows();
            for table in facts.tables() {
                distinct.extend(facts.lines(table).map(|l| (table, l.text.clone())));
            }
        }
        let mean = f64::from(u32::try_from(sum).expect("few")) / 300.0;
        assert!((0.75..1.3).contains(&(mean / (10.0 * factor))), "{mean} at {factor}x");
        assert!(distinct.len() * 20 < all, "{} distinct of {all}", distinct.len());
    }
}

#[test]
fn waves_are_taken_by_most_and_stragglers_stay_behind() {
    let fleet = Fleet::new(Options::default());
    let numbers = 0..2000u32;
    let raised = |step: u32| numbers.clone().filter(|n| fleet.standing(*n, step).level > fleet.standing(*n, 0).level).count();
    let (pilots, most, all) = (raised(24), raised(36), raised(47));
    assert!((80..300).contains(&pilots) && (1200..1900).contains(&most) && (1800..1990).contains(&all), "{pilots} {most} {all}");
    let newest = numbers.clone().filter(|n| fleet.standing(*n, 0).level == 24).count();
    let old = numbers.clone().filter(|n| fleet.standing(*n, 0).level < 12).count();
    assert!((600..1200).contains(&newest) && (5..100).contains(&old), "{newest} newest, {old} old");
    let waiting = numbers.filter(|n| fleet.standing(*n, 40).running != fleet.standing(*n, 40).level).count();
    assert!((200..1600).contains(&waiting), "{waiting} wait for a restart");
}

#[test]
fn a_step_changes_little_and_time_drives_machines_apart() {
    let fleet = Fleet::new(Options::default());
    let (mut changed, mut early, mut late) = (0, 0, 0);
    for number in 0..200 {
        let facts = [0, 1, 100].map(|step| fleet.facts(number, step));
        changed += usize::from(facts[1].changes(&facts[0]).is_some());
        early += facts[0].deviation();
        late += facts[2].deviation();
    }
    assert!(changed > 190, "{changed} of 200");
    assert!(late > early * 5 / 4, "{early} {late}");
}
