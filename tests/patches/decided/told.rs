//! What is told of patches, to history and to sinks; and what is decided.

use super::*;

fn openssl(fixed: &str, severity: &str) -> Advisory {
    says("DSA-1", severity, false, &[("openssl", Ok(fixed)), ("libssl3", Ok(fixed))])
}

fn fleet() -> Home {
    let mut home = Home::new(policy(), vec![says("DSA-0", "low", false, &[("bash", Ok("5"))])]);
    for id in ["a", "b"] {
        home.enroll(id, &[]);
        home.upload(id, &Machine::linux(&[("openssl", "1"), ("libssl3", "1"), ("bash", "4")]));
    }
    home
}

#[test]
fn states_of_an_endpoint_and_what_turned_in_one_event() {
    let mut home = fleet();
    let first = &home.history("endpoint.first_scan")[0];
    assert_eq!(first.data["patches"]["missing"], 1);
    assert_eq!(first.data["patches"]["missing_by_severity"]["low"], 1);
    assert!(home.history("patches.changed").is_empty(), "a first scan turns nothing");
    home.swap(
        vec![
            says("DSA-0", "low", false, &[("bash", Ok("5"))]),
            openssl("2", "high"),
            says("CVE-2026-9", "medium", false, &[("bash", Err(FixState::NoFix))]),
            says("DSA-7", "medium", false, &[("nginx", Ok("3"))]),
        ],
        news(&["DSA-1", "CVE-2026-9", "DSA-7"], &[], &[]),
    );
    assert!(home.history("patches.changed").is_empty(), "a catalog is told once a feed, not once an endpoint");
    assert_eq!(home.state("a", "DSA-7"), State::NotApplicable);
    assert_eq!(home.state("a", "CVE-2026-9"), State::NoFix);
    home.upload("a", &Machine::linux(&[("openssl", "2"), ("libssl3", "1"), ("bash", "5")]).offered("libssl3", "2"));
    let at = home.daemon.shard.fleet.find("a").unwrap();
    let stand = home.daemon.shard.patch_stand(at, one(&home.daemon.shard.catalog, "DSA-1"));
    assert_eq!((stand.state, stand.offered), (State::Missing, Some(true)), "one of its packages still lacks it");
    assert_eq!(home.state("a", "DSA-0"), State::Installed);
    home.upload("a", &Machine::linux(&[("openssl", "2"), ("libssl3", "2"), ("nginx", "1")]));
    let changed = home.history("patches.changed");
    assert_eq!(changed.len(), 2);
    assert_eq!(changed[0].data["installed"], serde_json::json!(["DSA-0"]));
    assert_eq!(changed[0].data["counts"], serde_json::json!({"installed": 1}));
    let last = &changed[1].data;
    assert_eq!((&last["installed"], &last["missing"]), (&serde_json::json!(["DSA-1"]), &serde_json::json!(["DSA-7"])));
    assert_eq!(last["not_applicable"], serde_json::json!(["CVE-2026-9"]), "what it was for is gone");
    assert_eq!(last["posture"]["missing"], 1);
    assert_eq!(home.counts("DSA-1"), BTreeMap::from([(State::Missing, 1)]), "b");
}

#[test]
fn what_was_not_collected_is_not_installed() {
    let mut home = fleet();
    let without = Machine::default();
    home.upload("a", &without);
    assert!(home.daemon.shard.not_collected(home.daemon.shard.fleet.find("a").unwrap()));
    assert_eq!(home.state("a", "DSA-0"), State::NotChecked);
    assert_eq!(home.posture("a"), Posture { not_collected: true, ..Posture::default() });
    assert_eq!(home.history("patches.changed")[0].data["not_checked"], serde_json::json!(["DSA-0"]));
    assert_eq!(home.counts("DSA-0"), BTreeMap::from([(State::Missing, 1), (State::NotChecked, 1)]));
    // What an update of Windows needs to know is which updates are installed, not which packages.
    home.swap(vec![update_of_windows("kb5000001", "Windows Server 2022")], news(&[], &[], &[]));
    home.enroll("w", &[]);
    let mut windows = Machine { windows: true, ..Machine::default() };
    home.upload("w", &windows);
    assert_eq!(home.state("w", "KB5000001"), State::NotChecked);
    windows.hotfixes = Some(BTreeSet::new());
    home.upload("w", &windows);
    assert_eq!(home.state("w", "KB5000001"), State::Missing);
    windows.hotfixes = Some(BTreeSet::from(["kb5000001".to_owned()]));
    home.upload("w", &windows);
    assert_eq!(home.state("w", "KB5000001"), State::Installed);
}

#[test]
fn a_critical_patch_is_told_once_and_resolved_when_it_is_everywhere() {
    let mut home = fleet();
    let waiting = home.daemon.shard.outbox.len();
    home.swap(
        vec![openssl("2", "critical"), says("DSA-2", "critical", false, &[("nginx", Ok("3"))])],
        news(&["DSA-1", "DSA-2"], &[], &["DSA-0"]),
    );
    let published = home.history("patch.published");
    assert_eq!(published.len(), 2);
    let (first, second) = (&published[0].data, &published[1].data);
    assert_eq!((&first["patch"], &first["missing"], &first["why"]), (&"DSA-1".into(), &2.into(), &"new".into()));
    assert_eq!((&second["patch"], &second["missing"], &second["alert"]), (&"DSA-2".into(), &0.into(), &serde_json::Value::Null));
    assert_eq!(home.daemon.shard.outbox.len(), waiting + 2, "sinks hear of it");
    let updated = home.history("feed.updated");
    assert_eq!((&updated[0].data["alarming"], &updated[0].data["counts"]["added"]), (&2.into(), &2.into()));
    assert_eq!(updated[0].data["withdrawn"], serde_json::json!(["DSA-0"]));
    let id = home.daemon.shard.alerts().next().unwrap().0.id.clone();
    assert_eq!(first["alert"], id.as_str());
    home.restart();
    home.daemon.apply(Input::Tick);
    assert!(home.daemon.shard.alerts().map(|(a, n)| (a.id.as_str(), n)).eq([(id.as_str(), 2)]), "a restart changes nothing");
    home.upload("a", &Machine::linux(&[("openssl", "2"), ("libssl3", "2")]));
    assert!(home.history("patch.resolved").is_empty());
    home.upload("b", &Machine::linux(&[("openssl", "2"), ("libssl3", "2")]));
    let resolved = home.history("patch.resolved");
    assert_eq!((resolved.len(), &resolved[0].data["cause"], &resolved[0].data["alert"]), (1, &"deployed".into(), &id.as_str().into()));
    assert_eq!(home.daemon.shard.alerts().count(), 0);
    home.restart();
    assert_eq!(home.daemon.shard.alerts().count(), 0);
}

#[test]
fn a_withdrawn_or_changed_advisory_resolves_what_it_opened() {
    let mut home = fleet();
    let attacked = says("DSA-3", "low", true, &[("bash", Ok("5"))]);
    home.swap(vec![openssl("2", "critical"), attacked.clone()], news(&["DSA-1", "DSA-3"], &[], &["DSA-0"]));
    assert_eq!(home.daemon.shard.alerts().count(), 2);
    home.swap(vec![attacked.clone()], news(&[], &[], &["DSA-1"]));
    let causes = |home: &Home| -> Vec<(String, String)> {
        let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
        home.history("patch.resolved").iter().map(|e| (text(&e.data["patch"]), text(&e.data["cause"]))).collect()
    };
    assert_eq!(causes(&home), [("DSA-1".to_owned(), "withdrawn".to_owned())]);
    assert_eq!(home.posture("a").missing_total(), 1);
    // Still low, and nobody attacks it.
    home.swap(vec![says("DSA-3", "low", false, &[("bash", Ok("5"))])], news(&[], &["DSA-3"], &[]));
    assert_eq!(causes(&home)[1], ("DSA-3".to_owned(), "changed".to_owned()));
    assert_eq!(home.daemon.shard.alerts().count(), 0);
    // What becomes exploited is told, and so is the end of it when the vendor says that other versions are concerned.
    home.swap(vec![attacked], news(&[], &["DSA-3"], &[]));
    let again = home.history("patch.published").pop().unwrap();
    assert_eq!((&again.data["why"], &again.data["missing"]), (&"changed".into(), &2.into()));
    home.swap(vec![says("DSA-3", "low", true, &[("bash", Ok("4"))])], news(&[], &["DSA-3"], &[]));
    assert_eq!(causes(&home)[2], ("DSA-3".to_owned(), "changed".to_owned()));
}

#[test]
fn an_alert_is_not_resolved_by_looking_away() {
    let mut home = fleet();
    home.swap(vec![openssl("2", "critical")], news(&["DSA-1"], &[], &[]));
    home.upload("a", &Machine::linux(&[("openssl", "2"), ("libssl3", "2")]));
    home.upload("b", &Machine::default());
    assert!(home.history("patch.resolved").is_empty(), "b is not collected any more");
    assert_eq!(home.daemon.shard.alerts().map(|(a, n)| (a.unclear, n)).collect::<Vec<_>>(), [(true, 0)]);
    home.upload("b", &Machine::linux(&[("openssl", "2")]));
    assert_eq!(home.history("patch.resolved")[0].data["cause"], "deployed");
    home.swap(vec![openssl("3", "critical")], news(&[], &["DSA-1"], &[]));
    assert_eq!(home.history("patch.published").len(), 1, "it was critical before");
}

#[test]
fn the_last_endpoint_that_misses_a_patch_may_go() {
    let mut home = fleet();
    home.swap(vec![openssl("2", "critical")], news(&["DSA-1"], &[], &[]));
    home.upload("a", &Machine::linux(&[("openssl", "2")]));
    home.daemon.apply(Input::Remove { endpoint: "b".into() });
    assert_eq!(home.history("patch.resolved")[0].data["cause"], "endpoint_removed");
    assert_eq!(home.daemon.shard.patch_totals().missing, [0; 5]);
}

#[test]
fn what_a_feed_could_not_bring_is_told_and_changes_nothing() {
    let mut home = fleet();
    let catalog = home.daemon.shard.catalog.clone();
    let failed = FeedNews { feed: "debian".into(), error: Some("no route".into()), ..FeedNews::default() };
    home.daemon.apply(Input::Catalog { catalog, news: vec![failed] });
    assert_eq!(home.history("feed.failed")[0].data, serde_json::json!({"feed": "debian", "error": "no route"}));
    assert_eq!((home.posture("a").missing_total(), home.history("feed.updated").len()), (1, 0));
}

#[test]
fn the_new_rows_of_a_scan_prepared_under_another_catalog_are_asked_again() {
    let mut home = fleet();
    let document = native::encode(&Machine::linux(&[("openssl", "9")]).scan("a"), None, |_| true);
    let hash = muster::shard::BodyHash::of(&document);
    let prepared = muster::ingest::prepare(&home.daemon.shard, "a", &document, hash).unwrap();
    home.swap(vec![openssl("10", "high")], news(&["DSA-1"], &[], &[]));
    home.attempt(Input::Upload { endpoint: "a".into(), prepared: Box::new(prepared) }).unwrap();
    assert_eq!(home.state("a", "DSA-1"), State::Missing, "9 is before 10");
}

#[test]
fn do_not_patch_holds_where_and_while_it_was_decided() {
    let mut home = fleet();
    home.enroll("c", &[("role", "web")]);
    home.upload("c", &Machine::linux(&[("openssl", "1")]));
    home.swap(vec![openssl("2", "critical")], news(&["DSA-1"], &[], &[]));
    let mut here = exemption(Scope::Endpoint("a".into()), vec!["DSA-1".into()], None);
    for (reason, approver) in [("", "b"), ("a", " ")] {
        (here.reason, here.approver) = (reason.into(), approver.into());
        let refused = home.attempt(Input::Exempt(here.clone())).unwrap_err();
        assert!(refused.to_string().starts_with("an exemption needs a `"), "{refused}");
    }
    for (scope, patches, expires) in [
        (Scope::Endpoint("z".into()), vec!["DSA-1".to_owned()], None),
        (Scope::Group("z".into()), vec!["DSA-1".to_owned()], None),
        (Scope::Everywhere, vec![], None),
        (Scope::Everywhere, vec!["DSA-1".to_owned()], Some(1)),
    ] {
        assert!(home.attempt(Input::Exempt(exemption(scope, patches, expires))).is_err());
    }
    let e = home.exempt(Scope::Endpoint("a".into()), &["DSA-1"], None);
    assert_eq!((home.state("a", "DSA-1"), home.state("b", "DSA-1")), (State::Exempt, State::Missing));
    let at = home.daemon.shard.fleet.find("a").unwrap();
    let stand = home.daemon.shard.patch_stand(at, one(&home.daemon.shard.catalog, "DSA-1"));
    assert_eq!((stand.exemption, stand.without_exemption), (Some(e.id.clone()), State::Missing));
    assert_eq!((home.posture("a").exempt, home.posture("a").missing_total()), (1, 0));
    assert_eq!(home.history("exemption.created")[0].data["reason"], "breaks the cash desk");
    let soon = home.daemon.now_ms + 10_000;
    home.exempt(Scope::Group("web".into()), &["DSA-*"], Some(soon));
    home.exempt(Scope::Endpoint("b".into()), &["*"], None);
    assert_eq!(home.counts("DSA-1"), BTreeMap::from([(State::Exempt, 3)]));
    assert_eq!(home.history("patch.resolved")[0].data["cause"], "exempt");
    home.restart();
    assert_eq!(home.counts("DSA-1"), BTreeMap::from([(State::Exempt, 3)]), "a restart gives the same");
    home.daemon.now_ms = soon;
    home.daemon.apply(Input::Tick);
    assert_eq!(home.state("c", "DSA-1"), State::Missing, "its time is over");
    assert_eq!(home.history("exemption.expired").len(), 1);
    home.restart();
    home.daemon.apply(Input::Tick);
    assert_eq!(home.history("exemption.expired").len(), 1, "once");
    assert_eq!(home.state("c", "DSA-1"), State::Missing);
    home.attempt(Input::EndExemption { id: e.id.clone(), by: "somebody".into() }).unwrap();
    assert_eq!(home.state("a", "DSA-1"), State::Missing);
    assert_eq!(home.history("exemption.ended")[0].data["by"], "somebody");
    let again = home.attempt(Input::EndExemption { id: e.id.clone(), by: "somebody".into() });
    assert_eq!(again.err(), Some(Refusal::UnknownExemption(e.id)));
}

#[test]
fn lists_keep_all_their_versions() {
    let mut home = fleet();
    assert!(matches!(home.attempt(Input::KeepList(list("october", 1, &["DSA-1", "DSA-2"]))), Ok(Reply::ListKept { version: 1 })));
    let late = home.attempt(Input::KeepList(list("october", 1, &["DSA-3"])));
    assert_eq!(late.err(), Some(Refusal::ListVersion { name: "october".into(), given: 1, expected: 2 }));
    home.attempt(Input::KeepList(list("october", 2, &["DSA-2", "DSA-3"]))).unwrap();
    let told = &home.history("list.changed")[1].data;
    assert_eq!((&told["added"], &told["removed"]), (&serde_json::json!(["DSA-3"]), &serde_json::json!(["DSA-1"])));
    for bad in ["", "October", "a/b"] {
        assert!(home.attempt(Input::KeepList(list(bad, 1, &[]))).is_err(), "{bad}");
    }
    let before = home.daemon.shard.decisions.clone();
    home.restart();
    assert_eq!(home.daemon.shard.decisions, before);
    assert_eq!(home.daemon.shard.decisions.lists["october"].len(), 2);
}

#[test]
fn decisions_have_limits() {
    let store = MemoryStore::default();
    let pack = Arc::new(Pack::from_bytes(compile_rules(&[], &[])).unwrap());
    let limits = Limits { patch_lists: 1, patch_list_entries: 2, exemptions: 1, ..Limits::default() };
    let mut boxed: Box<dyn Store> = Box::new(store);
    let mut shard = muster::shard::Shard::load(&mut *boxed, limits, "t", |_| None, pack).unwrap();
    let mut refused = |input: Input| shard.apply(vec![input], 5).replies.remove(0).err().map(|e| e.to_string());
    assert_eq!(refused(Input::KeepList(list("a", 1, &["x", "y"]))), None);
    assert_eq!(
        refused(Input::KeepList(list("b", 1, &[]))),
        Some("there are as many lists of patches as may be (limits.patch_lists = 1)".into())
    );
    assert!(refused(Input::KeepList(list("a", 2, &["x", "y", "z"]))).is_some_and(|e| e.contains("limits.patch_list_entries = 2")));
    assert_eq!(refused(Input::Exempt(exemption(Scope::Everywhere, vec!["x".into()], None))), None);
    assert!(
        refused(Input::Exempt(exemption(Scope::Everywhere, vec!["x".into()], None))).is_some_and(|e| e.contains("limits.exemptions = 1"))
    );
}

#[test]
fn one_patch_of_many_packages_is_added_up_at_the_start_as_it_was() {
    // More rows of one part than are added up together, and a few that have to do with none of them.
    let names: Vec<String> = (0..80).map(|n| format!("lib{n}")).collect();
    let packages: Vec<(&str, Result<&str, FixState>)> = names.iter().map(|n| (n.as_str(), Ok("2"))).collect();
    let advisories = vec![says("DSA-1", "high", false, &packages), says("DSA-2", "low", false, &[("bash", Ok("5"))])];
    let mut home = Home::new(policy(), advisories);
    let all = |mended: usize, bash| {
        let version = |n: usize| if n < mended { "2" } else { "1" };
        names.iter().enumerate().map(|(n, name)| (name.as_str(), version(n))).chain([("bash", bash)]).collect::<Vec<_>>()
    };
    let machines = [(0, "4"), (0, "4"), (1, "4"), (79, "5"), (80, "4"), (80, "5")];
    for (n, (mended, bash)) in machines.into_iter().enumerate() {
        let id = format!("e{n}");
        home.enroll(&id, &[]);
        home.upload(&id, &Machine::linux(&all(mended, bash)));
    }
    for again in 0..2 {
        let missing: Vec<u32> = (0..machines.len()).map(|n| home.posture(&format!("e{n}")).missing_total()).collect();
        assert_eq!(missing, [2, 2, 2, 1, 1, 0], "{again}");
        super::model::check(&home.daemon.shard, 0);
        home.restart();
    }
}
