//! Gauges that step with every turn are what a count of the whole fleet gives, and roll-ups are written, kept and read.

use std::collections::BTreeMap;

use muster::history::trend::{DAY_MS, HOUR_MS, Rollup, Step};
use muster::judge::Verdict;
use muster::policy::{Group, Policy};
use muster::question::trends::{Question, Told, trends};
use muster::shard::Input;
use muster::state::{Space, Store};
use proptest::prelude::*;

use super::asof::{IDS, Life, endpoint, of_group, scan};

/// Gauges of a group, out of the state itself.
fn counted(life: &Life, group: Option<&str>) -> Rollup {
    let shard = &life.daemon.shard;
    let all = IDS.iter().filter_map(|id| Some((*id, endpoint(shard, id)?))).collect();
    let of = of_group(&all, group);
    let mut out = Rollup::default();
    let gauges = &mut out.gauges;
    (gauges.endpoints, gauges.scanned) = (of.endpoints.members, of.endpoints.scanned);
    gauges.compliant = of.endpoints.compliant.unwrap();
    for e in all.values().filter(|e| group.is_none_or(|g| e.groups.iter().any(|of| of == g))) {
        for verdict in &e.verdicts {
            gauges.passing += u64::from(verdict.verdict == Verdict::Pass);
            gauges.failing[verdict.severity.unwrap() as usize] += u64::from(verdict.verdict == Verdict::Fail);
        }
        let at = shard.fleet.find(&e.id).unwrap();
        gauges.endpoints_missing_exploited += u64::from(shard.posture(at).missing_exploited > 0);
        gauges.open_episodes += shard.episodes_of(at).filter(|(_, k)| k.episode.open).count() as u64;
    }
    for (level, n) in muster::feed::model::Level::ALL.into_iter().zip(&mut gauges.missing) {
        *n = of.patches.missing_by_severity[level.name()] as u64;
    }
    gauges.missing_exploited = of.patches.missing_exploited as u64;
    gauges.not_collected = of.patches.endpoints_not_collected as u64;
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::engines::cases() / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gauges_are_what_a_count_gives(seed in any::<u64>()) {
        let mut life = Life::new(seed);
        while !life.daemon.shard.trends_are_exact() {
            life.apply(Input::Settle);
        }
        for _ in 0..60 {
            // Some are counted while others come, turn and go.
            life.step();
            if life.random.percent(60) {
                life.apply(Input::Settle);
            }
            if !life.daemon.shard.trends_are_exact() {
                continue;
            }
            let names: Vec<String> = life.policy.groups.iter().map(|g| g.name.clone()).collect();
            for group in std::iter::once(None).chain(names.iter().map(|n| Some(n.as_str()))) {
                let kept = life.daemon.shard.trend_now(group.unwrap_or_default(), Step::Hour, life.daemon.now_ms).unwrap();
                let mut counted = counted(&life, group).gauges;
                counted.covered = kept.gauges.covered;
                prop_assert_eq!(kept.gauges, counted, "{:?}", group);
            }
        }
    }
}

fn told(life: &Life, group: Option<&str>, step: Step) -> Told {
    let question = Question { group: group.map(str::to_owned), step, from_ms: None, to_ms: None };
    trends(&life.daemon.shard, &*life.daemon.store.reader(), &question, life.daemon.now_ms).unwrap()
}

#[test]
fn hours_and_days_are_written_and_flows_outlive_a_restart() {
    let mut life = Life::new(3);
    let group = |pattern: &str| Group { name: "g".into(), endpoints: vec![pattern.to_owned()], labels: BTreeMap::new() };
    life.policy = Policy { groups: vec![group("web-*")], ..Policy::default() };
    life.swap();
    life.daemon.now_ms = 20_000 * DAY_MS + 5;
    life.apply(Input::Tick);
    for id in ["web-1", "db-1"] {
        life.apply(Input::Enroll { id: id.into(), hostname: id.into(), labels: BTreeMap::new(), key_hash: [0; 32] });
        let document = scan(id, &mut life.random);
        life.daemon.upload(id, &document);
    }
    // Rules turn to and fro, so that episodes open and end.
    for _ in 0..12 {
        let document = scan("web-1", &mut life.random);
        life.daemon.upload("web-1", &document);
    }
    let open = told(&life, Some("g"), Step::Hour).items.pop().unwrap();
    assert!(open.open && open.opened > 0 && open.remediated > 0, "{open:?}");
    assert_eq!((open.endpoints, open.covered, open.coverage), (1, 1, Some(1.0)));
    assert_eq!(open.mean_seconds_to_remediate, Some(open.seconds_to_remediate / open.remediated));
    life.restart();
    life.apply(Input::Tick);
    let again = told(&life, Some("g"), Step::Hour).items.pop().unwrap();
    assert_eq!((again.opened, again.remediated, again.seconds_to_remediate), (open.opened, open.remediated, open.seconds_to_remediate));

    life.daemon.now_ms += HOUR_MS;
    life.apply(Input::Tick);
    let hours = told(&life, Some("g"), Step::Hour).items;
    assert_eq!(hours.iter().map(|i| (i.open, i.opened)).collect::<Vec<_>>(), [(false, open.opened), (true, 0)]);
    let day = told(&life, Some("g"), Step::Day).items.pop().unwrap();
    assert_eq!((day.open, day.opened), (true, open.opened));
    life.daemon.now_ms += DAY_MS;
    life.apply(Input::Tick);
    let days = told(&life, None, Step::Day).items;
    assert_eq!(days.iter().map(|i| (i.open, i.opened, i.endpoints)).collect::<Vec<_>>(), [(false, open.opened, 2), (true, 0, 2)]);
    assert_eq!(days[1].covered, 0, "nobody was heard of for a day");

    // A group that means others is another one.
    life.policy = Policy { groups: vec![group("*")], ..Policy::default() };
    life.swap();
    life.apply(Input::Tick);
    let anew = told(&life, Some("g"), Step::Hour).items;
    assert_eq!(anew.iter().map(|i| (i.open, i.endpoints)).collect::<Vec<_>>(), [(true, 2)]);
    assert!(told(&life, None, Step::Hour).items.len() > 1);
}

#[test]
fn old_hours_are_forgotten() {
    let mut life = Life::new(5);
    life.daemon.now_ms = 20_000 * DAY_MS;
    for _ in 0..30 {
        life.daemon.apply(Input::Tick);
        life.daemon.now_ms += DAY_MS;
    }
    let mut stored = 0;
    let count = &mut |key: &[u8], _: &[u8]| {
        stored += usize::from(key.first() == Some(&(Step::Hour as u8)));
        Ok(())
    };
    life.daemon.store.each(Space::Trends, count).unwrap();
    let groups = 1 + life.policy.groups.len();
    assert!((14 * groups..=15 * groups).contains(&stored), "{stored}");
}
